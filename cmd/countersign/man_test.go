package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// manual writes the manual, and returns its pages by their names.
func manual(t *testing.T) (folder string, pages map[string]string) {
	t.Helper()
	folder = t.TempDir()
	if exit := run(world{context.Background(), strings.NewReader(""), io.Discard, io.Discard}, []string{"help", "--man", folder}); exit != 0 {
		t.Fatalf("it exits with %d", exit)
	}
	files, err := filepath.Glob(filepath.Join(folder, "man[15]", "*"))
	if err != nil {
		t.Fatal(err)
	}
	pages = map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages[filepath.Base(file)] = string(text)
	}
	return folder, pages
}

// Each command that --help lists has a page, and the page lists each of the command's flags.
func TestTheManualHasAllCommands(t *testing.T) {
	t.Parallel()
	_, pages := manual(t)
	for _, c := range visible(commandLine(world{}, new(commands), func(int) {}).Model.Children) {
		text, ok := pages["countersign-"+c.Name+".1"]
		if !ok {
			t.Errorf("%s has no page", c.Name)
		}
		for _, leaf := range leavesOf(c) {
			if !strings.Contains(text, "\n.B "+roff(leaf.FullPath())+"\n") {
				t.Errorf("the page of %s lacks %s", c.Name, leaf.FullPath())
			}
			for _, f := range leaf.Flags {
				if !f.Hidden && !strings.Contains(text, roff("--"+f.Name)) {
					t.Errorf("the page of %s lacks --%s", c.Name, f.Name)
				}
			}
		}
		if !strings.Contains(pages["countersign.1"], "\n.BR "+roff("countersign-"+c.Name)+" (1)\n") {
			t.Errorf("countersign(1) doesn't list %s", c.Name)
		}
	}
	if !strings.Contains(pages["countersign.yaml.5"], "\npublic_sender: ") {
		t.Error("countersign.yaml(5) lacks public_sender")
	}
}

func TestTheManualIsRightRoff(t *testing.T) {
	t.Parallel()
	folder, pages := manual(t)
	for _, lint := range [][]string{{"groff", "-man", "-ww", "-Tutf8", "-z"}, {"mandoc", "-T", "lint", "-W", "error"}} {
		t.Run(lint[0], func(t *testing.T) {
			t.Parallel()
			needProgram(t, lint[0])
			for name := range pages {
				if text, err := exec.Command(lint[0], append(lint[1:len(lint):len(lint)], filepath.Join(folder, "man"+name[len(name)-1:], name))...).CombinedOutput(); err != nil || len(text) > 0 {
					t.Errorf("%s: %v, %s", name, err, text)
				}
			}
		})
	}
}

func TestRoffShowsATextAsItIs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		".dot":        `\&.dot`,
		"'quoted'":    `\&\(aqquoted\(aq`,
		`a\b`:         `a\eb`,
		"--flag":      `\-\-flag`,
		"two\nlines":  "two lines",
		"`~^ é":       `\(ga\(ti\(ha \[u00E9]`,
		"not at .dot": "not at .dot",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// needProgram skips a test whose program isn't there, or fails it where all must run.
func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	missing := "NOT RUN: there is no " + name + " on PATH"
	if os.Getenv(requireAll) == "all" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}

// Each command's help has an example, and each is a command line of its own command.
func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	parser := commandLine(world{stdout: io.Discard, stderr: io.Discard}, new(commands), func(int) {})
	known := map[string]bool{}
	for _, leaf := range leavesOf(parser.Model.Node) {
		name := strings.TrimPrefix(leaf.FullPath(), program+" ")
		known[name] = true
		lines := regexp.MustCompile(`(?m)^ +countersign .*$`).FindAllString(leaf.Detail, -1)
		if !slices.ContainsFunc(lines, func(line string) bool {
			return strings.HasPrefix(strings.TrimSpace(line)+" ", program+" "+strings.TrimSuffix(name, " move")+" ")
		}) {
			t.Errorf("%s has no example: %q", name, lines)
		}
		for i, line := range lines {
			if slices.Contains(lines[:i], line) {
				t.Errorf("%s: %s stands there twice", name, line)
			}
			if _, err := parser.Parse(splitWords(strings.ReplaceAll(line, "'", `"`))[1:]); err != nil {
				t.Errorf("%s: %s: %v", name, line, err)
			}
		}
	}
	for name := range examples {
		if !known[name] {
			t.Errorf("%s: there is no such command", name)
		}
	}
}
