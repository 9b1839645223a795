package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/testsize"
)

// ends is what a generated client prints that tells all ends of a verification apart.
const ends = `wrong false pending wrong_code
right true approved -
again false approved already_approved
last false exhausted wrong_code
exhausted false exhausted exhausted
canceled false canceled canceled
conflict 409 canceled
superseded false superseded superseded
expired false expired expired
absent 404 not_found
invalid 422 invalid to
list pending superseded
`

// Generators make clients of the description. These compile, and drive the real server.
func TestAGeneratedClientTellsEveryEndApart(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "builds generators and two clients")
	description, err := filepath.Abs(filepath.Join(repository, "docs", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, generator := range []struct {
		language, missing string
		there             func(dir string) bool
		make              [][]string
		run               []string
	}{
		{
			"ts", "there is no openapi-typescript; install it: npm ci --prefix cmd/countersign/testdata/generated/ts",
			func(dir string) bool {
				_, err := os.Stat(filepath.Join(dir, "node_modules", ".bin", "openapi-typescript"))
				return err == nil
			},
			[][]string{{"node_modules/.bin/openapi-typescript", "--default-non-nullable=false", description, "-o", "schema.ts"}, {"node_modules/.bin/tsc", "-p", "."}},
			[]string{"node", "out/main.js"},
		},
		{
			"go", "the modules of oapi-codegen can't be downloaded; try: go mod download, in cmd/countersign/testdata/generated/go",
			func(dir string) bool {
				return runIn(dir, "go", "mod", "download") == nil
			},
			[][]string{{"go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", "client.gen.go", description}, {"go", "build", "-o", "generated", "."}},
			[]string{"./generated"},
		},
	} {
		t.Run(generator.language, func(t *testing.T) {
			t.Parallel()
			source, err := filepath.Abs(filepath.Join("testdata", "generated", generator.language))
			if err != nil {
				t.Fatal(err)
			}
			if !generator.there(source) {
				if os.Getenv(requireAll) != "" {
					t.Fatal(generator.missing)
				}
				t.Skip("NOT RUN: " + generator.missing)
			}
			dir := copyOf(t, source)
			for _, args := range generator.make {
				if err := runIn(dir, args...); err != nil {
					t.Fatal(err)
				}
			}
			p := startDev(t, nil)
			cmd := exec.CommandContext(t.Context(), generator.run[0], append(generator.run[1:], p.URL, p.Token)...)
			cmd.Dir, cmd.WaitDelay = dir, time.Second
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(ends, string(out)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// runIn runs a program in a folder. Its error has what the program printed.
func runIn(dir string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// copyOf copies the files of a folder to a temporary one, where node's modules are linked.
func copyOf(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		from, to := filepath.Join(source, e.Name()), filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = os.Symlink(from, to)
		} else {
			var text []byte
			if text, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(to, text, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
