package main

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/yamlconf"
)

var update = flag.Bool("update", false, "write what is got into testdata/config/*.golden")

// The secrets of these tests. None of them may appear in any output.
var (
	rightSecret = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("right"), 6))
	shortSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("short"))
	wrongSecret = "whsec_" + strings.Repeat("!wrong?", 5)
	// of providers, which have forms of their own
	providerSecret = "the-token-of-an-account"
	callbackSecret = strings.Repeat("0123456789abcdef", 2)
)

// configFolder makes a folder with all that the files of testdata/config name, and sets the
// variables that they name.
func configFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	testCertificate(t, dir, "this machine") // tls.crt and tls.key
	other := t.TempDir()
	testCertificate(t, other, "another one")
	if err := os.Rename(filepath.Join(other, "tls.key"), filepath.Join(dir, "other.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := keyset.Create(filepath.Join(dir, "keyset.json")); err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(filepath.Join(dir, "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"gateway.secret": {rightSecret + "\n", 0o600},
		"open.secret":    {rightSecret + "\n", 0o644},
		"short.secret":   {shortSecret, 0o600},
		"wrong.secret":   {wrongSecret, 0o600},
		"empty.secret":   {"", 0o600},
		"open.json":      {string(keys), 0o640},
		"wrong.json":     {`{"primaryKeyId":1,"key":[{"keyData":{"value":"` + rightSecret + `"}}]}`, 0o600},
		"wrong.pem":      {"no certificate\n", 0o600},

		"provider.secret": {providerSecret + "\n", 0o600},
		"callback.secret": {callbackSecret + "\n", 0o600},
		"gateway.api": {`url: https://{{.Host}}/send
headers: [{name: Content-Type, value: application/json}]
body: '{"to":{{json .To}},"text":{{json .Text}}}'
auth: {kind: header, header: X-Api-Key}
needs: [host]
`, 0o644},
		"careless.api": {`body: 'To={{query .To}}&Body={{.Text}}'` + "\n", 0o644},
		"unknown.api":  {"urls: https://gateway.example\nrules: 400\n", 0o644},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(file.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, file.mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"TEST_CONFIG_SECRET": rightSecret, "TEST_CONFIG_SHORT": shortSecret, "TEST_CONFIG_WRONG": wrongSecret,
		"TEST_CONFIG_PROVIDER": providerSecret, "TEST_CONFIG_CALLBACK": callbackSecret,
		"TEST_CONFIG_KEYSET": string(keys), "TEST_CONFIG_WRONG_KEYSET": `{"key":"` + rightSecret + `"}`, "TEST_CONFIG_UNSET": "",
	} {
		t.Setenv(name, value)
	}
	return dir
}

// wantNoSecrets fails where a text holds one of this file's.
func wantNoSecrets(t *testing.T, what, text string) {
	t.Helper()
	for _, secret := range []string{rightSecret, shortSecret, wrongSecret, providerSecret, callbackSecret} {
		if strings.Contains(text, strings.TrimPrefix(secret, "whsec_")) {
			t.Errorf("%s shows a secret:\n%s", what, text)
		}
	}
}

// Each file of testdata/config is checked; what is said is in the golden file beside it. To write
// those anew: go test ./cmd/countersign -run TestConfigCheck -update
func TestConfigCheckSaysAllThatIsWrong(t *testing.T) { // not parallel: it sets the environment
	dir := configFolder(t)
	files, err := filepath.Glob("testdata/config/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name+".yaml")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			exit, stdout, stderr := runHere(t, "config", "check", "--config", path)
			wantNoSecrets(t, "config check", stdout+stderr)
			if wantExit := 0; strings.HasPrefix(name, "right-") != (exit == wantExit) || exit != 0 && exit != 2 {
				t.Errorf("got exit %d, want 0 for what begins with right- and else 2", exit)
			}
			got := strings.ReplaceAll(fmt.Sprintf("exit %d\n%s%s", exit, stdout, stderr), dir, "DIR")
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v\ngot:\n%s", err, got)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}

			// The other commands that need a right configuration say the same.
			exit, printed, said := runHere(t, "config", "print", "--config", path)
			wantNoSecrets(t, "config print", printed+said)
			if strings.Contains(stderr, " is wrong:\n") {
				if exit != 2 || said != stderr || printed != "" {
					t.Errorf("config print: got exit %d\n%s%s\nwant exit 2\n%s", exit, printed, said, stderr)
				}
				if exit, out, said := runHere(t, "serve", "--config", path); exit != 2 || said != stderr || out != "" {
					t.Errorf("serve: got exit %d\n%s%s\nwant exit 2\n%s", exit, out, said, stderr)
				}
				return
			}
			// What is printed is the same configuration.
			var before, after Config
			if p := yamlconf.Decode(text, &before); len(p.List) > 0 {
				t.Fatal(p.Describe(file))
			}
			if p := yamlconf.Decode([]byte(printed), &after); len(p.List) > 0 {
				t.Fatalf("what config print prints is wrong: %s\n%s", p.Describe("it"), printed)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("what config print prints is another configuration (-file +printed):\n%s", diff)
			}
		})
	}
}

func TestAConfigurationThatIsNotThereIsExplained(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "countersign.yaml")
	for _, command := range [][]string{{"config", "check"}, {"config", "print"}, {"serve"}} {
		exit, stdout, stderr := runHere(t, append(command, "--config", path)...)
		want := fmt.Sprintf("countersign: open %s: no such file or directory\nTo begin with one: countersign config example > %s\n", path, path)
		if exit != 2 || stdout != "" || stderr != want {
			t.Errorf("%v: got exit %d\n%s%s\nwant exit 2\n%s", command, exit, stdout, stderr, want)
		}
	}
}

func TestAConfigurationThatCannotBeReadIsNotReplaced(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	exit, stdout, stderr := runHere(t, "config", "check", "--config", path)
	if want := fmt.Sprintf("countersign: read %s: is a directory\n", path); exit != 2 || stdout != "" || stderr != want {
		t.Errorf("got exit %d\n%s%s\nwant exit 2\n%s", exit, stdout, stderr, want)
	}
}

// Three commands, and the example is right.
func TestTheExampleIsRightOnceItsFilesExist(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "countersign.yaml")
	exit, example, stderr := runHere(t, "config", "example")
	if exit != 0 {
		t.Fatalf("config example: exit %d\n%s", exit, stderr)
	}
	if err := os.WriteFile(path, []byte(example), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(wantExit int, want string) {
		t.Helper()
		exit, stdout, stderr := runHere(t, "config", "check", "--config", path)
		if got := strings.ReplaceAll(stdout+stderr, dir, "DIR"); exit != wantExit || got != want {
			t.Errorf("got exit %d\n%s\nwant exit %d\n%s", exit, got, wantExit, want)
		}
	}
	lineOf := func(key string) int { return 1 + strings.Count(example[:strings.Index(example, key+":")], "\n") }
	noKeyset := fmt.Sprintf("  line %d: keyset.file: there is none at DIR/keyset.json; if this is a new installation, make one and keep a copy in a safe place: countersign keyset create DIR/keyset.json\n", lineOf("\n  file")+1)
	noSecret := fmt.Sprintf("  line %d: carriers[0].http.secret: stat DIR/gateway.secret: no such file or directory; to make it: countersign secret create DIR/gateway.secret\n", lineOf("secret"))
	check(2, "countersign: DIR/countersign.yaml is wrong:\n"+noKeyset+noSecret)
	if exit, _, stderr := runHere(t, "secret", "create", filepath.Join(dir, "gateway.secret")); exit != 0 {
		t.Fatal(stderr)
	}
	check(2, "countersign: DIR/countersign.yaml is wrong:\n"+noKeyset)
	if exit, _, stderr := runHere(t, "keyset", "create", filepath.Join(dir, "keyset.json")); exit != 0 {
		t.Fatal(stderr)
	}
	check(0, "DIR/countersign.yaml is right.\n")

	// Printing it changes nothing, however often.
	exit, printed, stderr := runHere(t, "config", "print", "--config", path)
	if exit != 0 {
		t.Fatal(stderr)
	}
	var first, second Config
	if p := yamlconf.Decode([]byte(example), &first); len(p.List) > 0 {
		t.Fatal(p.Describe("the example"))
	}
	if p := yamlconf.Decode([]byte(printed), &second); len(p.List) > 0 {
		t.Fatal(p.Describe("what was printed"))
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("printed, the example is another configuration (-example +printed):\n%s", diff)
	}
	if err := os.WriteFile(path, []byte(printed), 0o644); err != nil {
		t.Fatal(err)
	}
	check(0, "DIR/countersign.yaml is right.\n")
	if _, again, _ := runHere(t, "config", "print", "--config", path); again != printed {
		t.Errorf("printed twice (-once +twice):\n%s", cmp.Diff(printed, again))
	}
}

// configKey is a key of Config: its path, its default, and the Go name of its comment.
type configKey struct{ path, preset, comment string }

func configKeys(t reflect.Type, prefix string) (all []configKey) {
	for i := range t.NumField() {
		f := t.Field(i)
		path, below := prefix+f.Tag.Get("yaml"), f.Type
		all = append(all, configKey{path, f.Tag.Get("default"), t.Name() + "." + f.Name})
		if below.Kind() == reflect.Slice {
			below, path = below.Elem(), path+"[]"
		}
		if below.Kind() == reflect.Struct {
			all = append(all, configKeys(below, path+".")...)
		}
	}
	return all
}

// Every key is explained wherever the program shows the configuration.
func TestEveryKeyIsExplainedEverywhere(t *testing.T) {
	t.Parallel()
	docs, keys := configDocs(), configKeys(reflect.TypeFor[Config](), "")
	described, specKeys := docsOf(provider.Source), configKeys(reflect.TypeFor[provider.Spec](), "")
	if len(keys) < 30 {
		t.Fatalf("got %d keys: were all found?", len(keys))
	}
	_, example, _ := runHere(t, "config", "example")
	_, reference, _ := runHere(t, "config", "reference")
	printed := docs.Print(preset(), false)
	for _, k := range keys {
		comment := docs[k.comment]
		name := k.path[strings.LastIndex(k.path, ".")+1:]
		goName := k.comment[strings.Index(k.comment, ".")+1:]
		if !strings.HasPrefix(comment, goName+" ") && !strings.HasPrefix(comment, goName+".") || len(comment) < len(goName)+10 || !strings.HasSuffix(comment, ".") {
			t.Errorf("%s: got the comment %q, want a sentence that begins with %s", k.path, comment, goName)
		}
		said := strings.TrimPrefix(comment, goName)
		row := fmt.Sprintf("| `%s` | %s | %s%s |\n", k.path, map[bool]string{true: "", false: "`" + k.preset + "`"}[k.preset == ""], name, strings.ReplaceAll(said, "\n", " "))
		if !strings.Contains(reference, row) {
			t.Errorf("the reference has no row %s", row)
		}
		// In YAML it stands above the key.
		block := regexp.MustCompile(`(?m)^ *# ` + regexp.QuoteMeta(name+strings.Split(said, "\n")[0]) + `$(\n *# .*)*\n *(- )?` + regexp.QuoteMeta(name) + `:( |$)`)
		for where, text := range map[string]string{"config example": example, "config print": printed} {
			if where == "config print" && strings.Contains(k.path, "[]") {
				continue // an empty list shows nothing of what would be in it
			}
			if !block.MatchString(text) {
				t.Errorf("%s doesn't explain %s: nothing matches %s", where, k.path, block)
			}
		}
	}
	for _, k := range specKeys {
		name := k.path[strings.LastIndex(k.path, ".")+1:]
		_, said, ok := strings.Cut(described[k.comment], " ")
		if row := fmt.Sprintf("| `%s` |  | %s %s |\n", k.path, name, strings.ReplaceAll(said, "\n", " ")); !ok || !strings.Contains(reference, row) {
			t.Errorf("the reference has no row %s", row)
		}
	}
	if rows := strings.Count(reference, "\n| `"); rows != len(keys)+len(specKeys) {
		t.Errorf("the reference has %d rows, want %d", rows, len(keys)+len(specKeys))
	}
}

func TestTheServersLanguageReachesItsCalls(t *testing.T) {
	t.Parallel()
	c := loadedConfig{Config: Config{Locale: "pt-BR"}}
	if got := c.settings().Locale; got != "pt-BR" {
		t.Errorf("got %q, want pt-BR", got)
	}
}
