package yamlconf

import (
	"encoding/json"
	"reflect"
	"strconv"
)

// A schema is a JSON Schema of one value. Its fields are in the order in which people read them.
type schema struct {
	Dialect     string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        []string           `json:"type,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Default     any                `json:"default,omitempty"`
	Examples    []string           `json:"examples,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Additional  *bool              `json:"additionalProperties,omitempty"`
	Items       *schema            `json:"items,omitempty"`
}

// Schema returns the JSON Schema of a configuration, for editors: its keys, their meanings, types and defaults. It
// accepts what [Decode] accepts, but that a whole number, a truth or a list must be written as one, and knows no
// bounds. Source: json-schema.org/draft/2020-12.
func (d Docs) Schema(config any, title string) []byte {
	s := d.object(reflect.ValueOf(config).Type())
	s.Dialect, s.Title = "https://json-schema.org/draft/2020-12/schema", title
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // it holds texts, numbers and lists of them
	}
	return append(text, '\n')
}

// object is the schema of a group of keys. A key without a value is as one that isn't there.
func (d Docs) object(t reflect.Type) *schema {
	s := &schema{Type: []string{"object", "null"}, Properties: map[string]*schema{}, Additional: new(bool)}
	for i := range t.NumField() {
		f := t.Field(i)
		of := d.of(f.Type, f.Tag.Get("default"))
		of.Description = d.text(t, f)
		if example := f.Tag.Get("example"); example != "" {
			of.Examples = []string{example}
		}
		s.Properties[f.Tag.Get("yaml")] = of
	}
	return s
}

// of is the schema of a value.
func (d Docs) of(t reflect.Type, preset string) *schema {
	switch {
	case t == reflect.TypeFor[Duration]():
		return &schema{Type: []string{"string", "null"}, Pattern: `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`, Default: textual(preset)}
	case t.Kind() == reflect.Struct:
		return d.object(t)
	case t.Kind() == reflect.Slice:
		return &schema{Type: []string{"array", "null"}, Items: d.of(t.Elem(), "")}
	case t.Kind() == reflect.Int:
		n, err := strconv.Atoi(preset)
		return &schema{Type: []string{"integer", "null"}, Default: unless(err != nil, n)}
	case t.Kind() == reflect.Float64:
		n, err := strconv.ParseFloat(preset, 64)
		return &schema{Type: []string{"number", "null"}, Default: unless(err != nil, n)}
	case t.Kind() == reflect.Bool:
		return &schema{Type: []string{"boolean", "null"}, Default: unless(preset == "", preset == "true")}
	default: // a text may be written without quotation marks
		return &schema{Type: []string{"string", "number", "boolean", "null"}, Default: textual(preset)}
	}
}

func textual(preset string) any { return unless(preset == "", preset) }

// unless is a default, or none.
func unless(none bool, value any) any {
	if none {
		return nil
	}
	return value
}
