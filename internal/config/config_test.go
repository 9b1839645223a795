package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/yamlconf"
)

var update = flag.Bool("update", false, "write what is got into testdata/*.golden")

// The secrets of these tests. None of them may appear in any output.
var (
	rightSecret = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("right"), 6))
	shortSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("short"))
	wrongSecret = "whsec_" + strings.Repeat("!wrong?", 5)
	// of providers, which have forms of their own
	providerSecret = "the-token-of-an-account"
	callbackSecret = strings.Repeat("0123456789abcdef", 2)
)

// configFolder makes a folder with all that the files of testdata name, and sets the
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

// testCertificate writes a certificate and its key.
func testCertificate(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Each wrong file of testdata is refused with what the golden file beside it says. To write those anew:
// go test ./internal/config -run TestLoad -update
func TestLoadSaysAllThatIsWrong(t *testing.T) { // not parallel: it sets the environment
	dir := configFolder(t)
	files, err := filepath.Glob("testdata/*.yaml")
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
			c, err := Load(path)
			if strings.HasPrefix(name, "right-") {
				if err != nil {
					t.Fatal(err)
				}
				printsTheSame(t, text, c.Print())
				return
			}
			if wrong := new(Error); !errors.As(err, &wrong) {
				t.Fatalf("got %v, want an Error", err)
			}
			wantNoSecrets(t, "Load", err.Error())
			got := strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
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
		})
	}
}

// printsTheSame fails unless what is printed of a file is the same configuration, without secrets.
func printsTheSame(t *testing.T, text []byte, printed string) {
	t.Helper()
	wantNoSecrets(t, "Print", printed)
	var before, after Config
	if p := yamlconf.Decode(text, &before); len(p.List) > 0 {
		t.Fatal(p.Describe("the file"))
	}
	if p := yamlconf.Decode([]byte(printed), &after); len(p.List) > 0 {
		t.Fatalf("what was printed is wrong: %s\n%s", p.Describe("it"), printed)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("what was printed is another configuration (-file +printed):\n%s", diff)
	}
}

func TestTheExampleIsPrintedAsTheSame(t *testing.T) {
	t.Parallel()
	var c Config
	if p := yamlconf.Decode([]byte(Example()), &c); len(p.List) > 0 {
		t.Fatal(p.Describe("the example"))
	}
	printsTheSame(t, []byte(Example()), c.Print())
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
	docs, keys := docsOf(source), configKeys(reflect.TypeFor[Config](), "")
	described, specKeys := docsOf(provider.Source), configKeys(reflect.TypeFor[provider.Spec](), "")
	if len(keys) < 30 {
		t.Fatalf("got %d keys: were all found?", len(keys))
	}
	example, reference, printed := Example(), Reference(), preset().Print()
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
		for where, text := range map[string]string{"Example": example, "Print": printed} {
			if where == "Print" && strings.Contains(k.path, "[]") {
				continue // an empty list shows nothing of what would be in it
			}
			if strings.HasPrefix(k.path, "database.shards[]") {
				continue // the example has one database
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
	c := Loaded{Config: Config{Locale: "pt-BR"}}
	if got := c.Settings().Locale; got != "pt-BR" {
		t.Errorf("got %q, want pt-BR", got)
	}
}

// Nobody waits behind calls, which take a minute each.
func TestATrunksQueueIsItsCalls(t *testing.T) {
	t.Parallel()
	cc := carrierConfig{Concurrency: 64, Queue: 1024, SIP: sipConfig{Trunk: "sip.example.com", Calls: 50}}
	if l := cc.line(nil); l.Queue != 50 || l.Concurrency != 50 {
		t.Errorf("queue %d, concurrency %d; want 50 of each", l.Queue, l.Concurrency)
	}
	cc.Queue = 10
	if l := cc.line(nil); l.Queue != 10 {
		t.Errorf("queue %d, want the smaller one that was configured: 10", l.Queue)
	}
}
