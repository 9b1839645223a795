package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/internal/carrier/provider"
)

// schemaOf compiles a schema of ours, as an editor does.
func schemaOf(t *testing.T, api bool) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema(api)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// valid says what the schema says of a file.
func valid(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	j, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// An editor accepts what the server accepts.
func TestTheSchemaAcceptsRightFiles(t *testing.T) {
	t.Parallel()
	s := schemaOf(t, false)
	texts := map[string]string{"the example": Example()}
	for _, name := range Beginnings() {
		texts["the beginning with "+name] = Beginning{Carrier: name}.Example().Text()
	}
	files, err := filepath.Glob("testdata/right-*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	for name, text := range texts {
		if err := valid(t, s, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	api := schemaOf(t, true)
	for _, name := range provider.Presets() {
		text, err := provider.PresetText(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(t, api, text); err != nil {
			t.Errorf("the preset %s: %v", name, err)
		}
	}
}

// An editor marks a typo and a value of another type, and says what a key means.
func TestTheSchemaRefusesWrongFiles(t *testing.T) {
	t.Parallel()
	s := schemaOf(t, false)
	for text, want := range map[string]string{
		"public_sendr: x":                                    "public_sendr",
		"carriers: [{name: a, htp: {}}]":                     "htp",
		"carriers: {name: a}":                                "array",
		"max_segments: many":                                 "integer",
		"strict_senders: maybe":                              "boolean",
		"carriers: [{name: a, receipt_timeout: 10}]":         "got number, want null or string",
		"carriers: [{name: a, receipt_timeout: 10 minutes}]": "pattern",
		"public: [1]":                                        "object",
	} {
		switch err := valid(t, s, text); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	if text := string(Schema(false)); !strings.Contains(text, `"description": "max_segments is how many SMS segments`) || !strings.Contains(text, `"default": 3`) {
		t.Error("the schema doesn't say what a key means, and its default")
	}
}
