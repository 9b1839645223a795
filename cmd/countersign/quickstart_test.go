package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// goHead is what the Go program on the page needs around it.
const goHead = `package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/countersign/countersign/api"
)

`

// A language is one of those in which the page has a program of about ten lines.
type language struct {
	name, file, head string
	run              func(file string) []string
	needs            [][]string // command lines of which one must succeed, so that it can run
	missing          string
}

var languages = []language{
	{"sh", "quick.sh", "", func(f string) []string { return []string{"sh", f} }, [][]string{{"curl", "--version"}}, "install curl"},
	{"go", "main.go", goHead, func(f string) []string { return []string{"go", "run", f} }, [][]string{{"go", "version"}}, "install Go"},
	{"js", "quick.mjs", "", func(f string) []string { return []string{"node", f} }, [][]string{{"node", "--version"}}, "install Node.js"},
	{"python", "quick.py", "", nil, [][]string{{"python3", "-c", "import requests"}, {"/usr/bin/python3", "-c", "import requests"}}, "install Python and requests (apt-get install python3-requests)"},
	{"php", "quick.php", "", func(f string) []string { return []string{"php", f} }, [][]string{{"php", "--version"}}, "install PHP (apt-get install php-cli)"},
}

// Each program on the API's page verifies a number on the real server.
func TestTheProgramsOnTheAPIsPageVerifyANumber(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(pages(t)["docs/api.md"], "\n## In ten lines\n")
	section, _, _ = strings.Cut(section, "\n## ")
	programs := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```").FindAllStringSubmatch(section, -1) {
		programs[m[1]] = m[2]
		if lines := len(regexp.MustCompile(`(?m)^.*\S.*$`).FindAllString(m[2], -1)); lines > 10 {
			t.Errorf("the program in %s has %d lines, want ten at most", m[1], lines)
		}
	}
	if len(programs) != len(languages) {
		t.Errorf("the page has %d programs, want %d", len(programs), len(languages))
	}
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			var first []string
			for _, line := range l.needs {
				if exec.Command(line[0], line[1:]...).Run() == nil {
					first = line
					break
				}
			}
			if first == nil {
				if os.Getenv(requireAll) != "" {
					t.Fatal(l.missing)
				}
				t.Skip("NOT RUN: " + l.missing)
			}
			file := filepath.Join(t.TempDir(), l.file)
			if err := os.WriteFile(file, []byte(l.head+programs[l.name]), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{first[0], file} // the Python that has requests
			if l.run != nil {
				args = l.run(file)
			}
			p := startDev(t, nil)
			var out bytes.Buffer
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Env = append(os.Environ(), "COUNTERSIGN_URL="+p.URL, "COUNTERSIGN_TOKEN="+p.Token)
			cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
			typed, err := cmd.StdinPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			code := "none"
			if within(patience, func() bool {
				all := p.messages("+12025550100")
				if len(all) > 0 {
					code = codeInBody.FindString(all[0].Body)
				}
				return len(all) > 0
			}) {
				io.WriteString(typed, code+"\n")
			}
			typed.Close()
			if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "approved") {
				t.Errorf("got %v, want that the code %s is right:\n%s", err, code, &out)
			}
		})
	}
}
