// Command testrun runs go test. It shows a line for each package, the output of the failed tests, and
// at the end a list of the tests that didn't run, with the reasons. Its arguments are those of go
// test.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	began := time.Now()
	// Ctrl-C also reaches go test and its tests. Ignore it here, to show how they
	// end.
	signal.Ignore(os.Interrupt)
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(1)
	}
	r := newReport(os.Stdout)
	r.read(events)
	err = cmd.Wait()
	r.end(time.Since(began), err == nil)
	if err != nil {
		os.Exit(1)
	}
}

// An event is one line of go test -json: see go doc test2json.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// A report collects the output of each test until the test's result decides whether to show
// it.
type report struct {
	to      io.Writer
	output  map[[2]string][]string // by package and test
	skipped map[string][]string    // tests, by reason
	passed  int
	failed  []string
}

func newReport(to io.Writer) *report {
	return &report{to: to, output: map[[2]string][]string{}, skipped: map[string][]string{}}
}

// read reads events until go test ends.
func (r *report) read(events io.Reader) {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		switch {
		case json.Unmarshal(line, &e) == nil:
			r.add(e)
		case len(line) > 0: // not an event, but output of go test itself
			r.to.Write(line)
		}
		if err != nil {
			return
		}
	}
}

func (r *report) add(e event) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.to, e.Output)
	case "output":
		if e.Test != "" {
			r.output[key] = append(r.output[key], e.Output)
		} else if shown(e.Output) {
			fmt.Fprint(r.to, e.Output)
		}
	case "pass":
		if e.Test == "" {
			break
		}
		r.passed++
		delete(r.output, key)
	case "skip":
		if e.Test == "" {
			break
		}
		why := reason(r.output[key])
		r.skipped[why] = append(r.skipped[why], e.Test)
		delete(r.output, key)
	case "fail":
		if e.Test == "" {
			r.unfinished(e.Package)
			break
		}
		r.failed = append(r.failed, e.Package+" "+e.Test)
		r.show(key)
	}
}

// shown reports whether to show a line. It hides the lines that go test writes
// only because of -json.
func shown(line string) bool {
	return line != "PASS\n" && !strings.HasPrefix(line, "testing: warning") && !strings.Contains(line, "[no test files]")
}

func (r *report) show(key [2]string) {
	for _, line := range r.output[key] {
		fmt.Fprint(r.to, line)
	}
	delete(r.output, key)
}

// unfinished shows the output of the tests without a result, because their program ended.
func (r *report) unfinished(pkg string) {
	var all [][2]string
	for key := range r.output {
		if key[0] == pkg {
			all = append(all, key)
		}
	}
	slices.SortFunc(all, func(a, b [2]string) int { return strings.Compare(a[1], b[1]) })
	for _, key := range all {
		r.show(key)
	}
}

// reason returns the last message of a test before it was skipped.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if _, said, ok := strings.Cut(line, ".go:"); ok {
			_, line, _ = strings.Cut(said, ": ")
		}
		return strings.TrimPrefix(line, "NOT RUN: ")
	}
	return "the test doesn't say why"
}

// end lists the tests that didn't run and those that failed.
func (r *report) end(took time.Duration, ok bool) {
	n := 0
	var reasons []string
	for why, tests := range r.skipped {
		reasons = append(reasons, why)
		n += len(tests)
	}
	slices.Sort(reasons)
	for _, why := range reasons {
		slices.Sort(r.skipped[why])
		fmt.Fprintf(r.to, "NOT RUN: %s\n    %s\n", why, strings.Join(slices.Compact(r.skipped[why]), "\n    "))
	}
	for _, test := range r.failed {
		fmt.Fprintln(r.to, "FAILED:", test)
	}
	result := "passed"
	if !ok {
		result = "FAILED"
	}
	fmt.Fprintf(r.to, "The tests %s in %v: %d passed, %d failed, %d not run.\n", result, took.Round(time.Second), r.passed, len(r.failed), n)
}
