package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The commands that need a configuration report all of its errors.
func TestConfigCheckSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "countersign.yaml")
	if err := os.WriteFile(path, []byte("keyset: {file: none.json}\npublic_sender: +12025550199\nmax_messages: 0\nretentoin: 24h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`countersign: %[1]s/countersign.yaml: 3 errors:
  line 1: keyset.file: there is none at %[1]s/none.json; if this is a new installation, make one and keep a copy in a safe place: countersign keyset create %[1]s/none.json
  line 3: max_messages: must be 1 to 10
  line 4: retentoin: there is no such key; did you mean retention?
`, dir)
	for _, command := range [][]string{{"config", "check"}, {"config", "print"}, {"serve"}} {
		exit, stdout, stderr := runHere(t, append(command, "--config", path)...)
		if exit != 2 || stdout != "" || stderr != want {
			t.Errorf("%v: got exit %d\n%s%s\nwant exit 2\n%s", command, exit, stdout, stderr, want)
		}
	}
}

func TestAConfigurationThatIsNotThereIsExplained(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "countersign.yaml")
	for _, command := range [][]string{{"config", "check"}, {"config", "print"}, {"serve"}} {
		exit, stdout, stderr := runHere(t, append(command, "--config", path)...)
		want := fmt.Sprintf("countersign: open %s: no such file or directory\nTo begin with one: countersign init, or countersign config example > %s\n", path, path)
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
	exit, example, stderr := runHere(t, "config", "example", "--all")
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
	noSecret := fmt.Sprintf("  line %d: carriers[0].http.secret: stat DIR/gateway.secret: no such file or directory; to make it: countersign secret create DIR/gateway.secret\n", lineOf(" secret"))
	check(2, "countersign: DIR/countersign.yaml: 2 errors:\n"+noKeyset+noSecret)
	if exit, _, stderr := runHere(t, "secret", "create", filepath.Join(dir, "gateway.secret")); exit != 0 {
		t.Fatal(stderr)
	}
	check(2, "countersign: DIR/countersign.yaml: 1 error:\n"+noKeyset)
	if exit, _, stderr := runHere(t, "keyset", "create", filepath.Join(dir, "keyset.json")); exit != 0 {
		t.Fatal(stderr)
	}
	check(0, "DIR/countersign.yaml is right.\n")

	// Printing it changes nothing, however often.
	exit, printed, stderr := runHere(t, "config", "print", "--config", path)
	if exit != 0 {
		t.Fatal(stderr)
	}
	if err := os.WriteFile(path, []byte(printed), 0o644); err != nil {
		t.Fatal(err)
	}
	check(0, "DIR/countersign.yaml is right.\n")
	if _, again, _ := runHere(t, "config", "print", "--config", path); again != printed {
		t.Errorf("printed twice (-once +twice):\n%s", cmp.Diff(printed, again))
	}
}
