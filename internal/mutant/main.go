// Mutant checks that the tests notice the faults they exist for. It applies one fault at a time to a
// copy of the tree, runs the tests that should notice it, and names the test that did: see [mutants].
// There are twice as many copies as processors, each with a fault of its own, because a failing test
// spends most of its time waiting.
//
//	go run ./internal/mutant             all faults
//	go run ./internal/mutant -run lease  those with "lease" in their name
//	go run ./internal/mutant -sample 24  24 of them, which differ from commit to commit
//
// It fails if a mutant survives. It also fails if a mutant can't be judged: its text isn't in its
// file exactly once, it doesn't compile, or its tests fail without it.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"
)

var (
	choose  = flag.String("run", "", "judge only mutants whose name matches this regular expression")
	sample  = flag.Int("sample", 0, "judge at most this many of them, chosen by the id of the commit, so that commits differ; 0 is all")
	copies  = flag.Int("p", 2*runtime.GOMAXPROCS(0), "number of mutants to judge concurrently, each in a copy of the tree")
	verbose = flag.Bool("v", false, "show the output of the tests")
	asJSON  = flag.Bool("json", false, "write JSON instead of a table")
)

// testTimeout bounds one mutant's tests, because a fault may make them wait for an event
// that never comes.
const testTimeout = 2 * time.Minute

// A mutant is one seeded fault.
type mutant struct {
	name   string
	breaks string // the promise that the fault breaks, as a sentence that is true without it
	edits  []edit // most faults need one
	test   test
}

// An edit replaces a text that is in a file exactly once.
type edit struct{ file, old, new string }

// A test is a "go test" that fails with the mutant and passes without it.
type test struct{ pkg, run string }

// A result is the result of one mutant. A mutant without a problem was killed.
type result struct {
	Mutant   string   `json:"mutant"`
	Breaks   string   `json:"breaks"`
	KilledBy []string `json:"killed_by"` // the tests that failed
	Problem  string   `json:"problem,omitempty"`
	Seconds  float64  `json:"seconds"`
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := run(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := write(os.Stdout, results); err != nil {
		log.Fatal(err)
	}
	if slices.ContainsFunc(results, func(r result) bool { return r.Problem != "" }) {
		os.Exit(1)
	}
}

func run(ctx context.Context) ([]result, error) {
	if *copies < 1 {
		return nil, fmt.Errorf("-p: %d is less than 1", *copies)
	}
	if *sample < 0 {
		return nil, fmt.Errorf("-sample: %d is less than 0", *sample)
	}
	chosen, err := selected(*choose)
	if err != nil {
		return nil, err
	}
	root, err := output(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	if *sample > 0 {
		tree, err := output(ctx, ".", "git", "rev-parse", "HEAD^{tree}")
		if err != nil {
			return nil, err
		}
		chosen = sampled(chosen, *sample, string(tree))
	}
	tmp, err := os.MkdirTemp("", "countersign-mutant-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	trees := make([]tree, min(*copies, len(chosen)))
	for i := range trees {
		trees[i] = tree(filepath.Join(tmp, strconv.Itoa(i)))
		if err := trees[i].fill(ctx, strings.TrimSpace(string(root))); err != nil {
			return nil, fmt.Errorf("copy the tree: %w", err)
		}
	}
	sound := byPackage(chosen)
	if err := each(trees, len(sound), func(t tree, i int) error { return t.sound(ctx, sound[i]) }); err != nil {
		return nil, err
	}
	results := make([]result, len(chosen))
	var judged atomic.Int64
	err = each(trees, len(chosen), func(t tree, i int) error {
		results[i] = t.judge(ctx, chosen[i])
		if err := ctx.Err(); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%d/%d %s: %s\n", judged.Add(1), len(chosen), chosen[i].name, results[i].verdict())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// each calls do n times, concurrently but only once at a time per tree. After an error it starts
// no further calls.
func each(trees []tree, n int, do func(t tree, i int) error) error {
	errs := make([]error, len(trees))
	var next atomic.Int64
	var work sync.WaitGroup
	for i, t := range trees {
		work.Go(func() {
			for k := int(next.Add(1) - 1); k < n; k = int(next.Add(1) - 1) {
				if errs[i] = do(t, k); errs[i] != nil {
					next.Store(int64(n))
				}
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

// selected returns the mutants whose name matches a pattern.
func selected(pattern string) (chosen []mutant, err error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	seen := map[string]bool{}
	for _, m := range mutants {
		if seen[m.name] {
			return nil, fmt.Errorf("two mutants have the name %s", m.name)
		}
		seen[m.name] = true
		if re.MatchString(m.name) {
			chosen = append(chosen, m)
		}
	}
	if chosen == nil {
		return nil, fmt.Errorf("no mutant's name matches %q", pattern)
	}
	return chosen, nil
}

// sampled returns n of the mutants, or all if there are fewer. Only the seed determines
// which.
func sampled(all []mutant, n int, seed string) []mutant {
	sum := func(m mutant) [sha256.Size]byte { return sha256.Sum256([]byte(seed + m.name)) }
	all = slices.SortedFunc(slices.Values(all), func(a, b mutant) int {
		x, y := sum(a), sum(b)
		return bytes.Compare(x[:], y[:])
	})
	return all[:min(n, len(all))]
}

// A tree is the folder of a copy of the tree. The checkout itself is only read.
type tree string

// fill copies the files that git tracks or would track, including uncommitted changes.
func (t tree) fill(ctx context.Context, root string) error {
	list, err := output(ctx, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		from, to := filepath.Join(root, name), t.path(name)
		info, err := os.Stat(from)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, but not yet in git
		}
		if err != nil {
			return err
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

func (t tree) path(name string) string { return filepath.Join(string(t), filepath.FromSlash(name)) }

// byPackage combines the tests of the mutants to one run per package.
func byPackage(chosen []mutant) (all []test) {
	patterns := map[string][]string{}
	for _, m := range chosen {
		patterns[m.test.pkg] = append(patterns[m.test.pkg], m.test.run)
	}
	for _, pkg := range slices.Sorted(maps.Keys(patterns)) {
		all = append(all, test{pkg, strings.Join(patterns[pkg], "|")})
	}
	return all
}

// sound runs tests without any mutant, because a test that fails anyway can't
// kill one.
func (t tree) sound(ctx context.Context, which test) error {
	o, err := t.run(ctx, which)
	if err == nil && !o.passed {
		err = fmt.Errorf("without any mutant, the tests in %s don't pass: %v\n%s", which.pkg, o.failed, o.text)
	}
	return err
}

// judge applies a mutant to the copy, runs its tests, and restores the copy.
func (t tree) judge(ctx context.Context, m mutant) result {
	began := time.Now()
	r := result{Mutant: m.name, Breaks: m.breaks}
	o, err := t.infect(ctx, m)
	r.Seconds = time.Since(began).Seconds()
	r.KilledBy = o.failed
	switch {
	case err != nil:
		r.Problem = err.Error()
	case o.notBuilt:
		r.Problem = "doesn't compile"
	case o.passed:
		r.Problem = "survived"
	case o.failed == nil:
		r.Problem = "no test failed, but the run did" // a timeout, or a panic outside of a test
	}
	if *verbose || r.Problem != "" {
		os.Stderr.WriteString(o.text)
	}
	return r
}

func (t tree) infect(ctx context.Context, m mutant) (outcome, error) {
	whole := map[string][]byte{}
	defer func() {
		for name, content := range whole {
			if err := os.WriteFile(t.path(name), content, 0); err != nil { // an existing file keeps its mode
				log.Fatal(err) // every later result would be wrong
			}
		}
	}()
	for _, e := range m.edits {
		content, err := os.ReadFile(t.path(e.file))
		if err != nil {
			return outcome{}, errors.New("no longer applies: there is no " + e.file)
		}
		if n := strings.Count(string(content), e.old); n != 1 {
			return outcome{}, fmt.Errorf("no longer applies: %q is in %s %d times", e.old, e.file, n)
		}
		if _, ok := whole[e.file]; !ok {
			whole[e.file] = content
		}
		if err := os.WriteFile(t.path(e.file), []byte(strings.Replace(string(content), e.old, e.new, 1)), 0); err != nil {
			return outcome{}, err
		}
	}
	return t.run(ctx, m.test)
}

// An outcome is the result of a "go test".
type outcome struct {
	passed   bool
	notBuilt bool
	failed   []string // without tests that failed only because of a subtest
	text     string
}

// run runs tests in the copy. It leaves the paths of the folders out of the binaries, so that all
// copies and runs share one build cache.
func (t tree) run(ctx context.Context, which test) (o outcome, err error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-vet=off", "-trimpath",
		"-timeout", testTimeout.String(), "-run", which.run, which.pkg)
	cmd.Dir, cmd.Stderr = string(t), &stderr
	// An interrupted "go test" would leave its tests running, so kill its whole process
	// group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	stdout, err := cmd.Output()
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return o, ctx.Err()
	}
	if err != nil && !errors.As(err, &exit) {
		return o, fmt.Errorf("go test %s: %w", which.pkg, err)
	}
	ran, failed := 0, map[string]bool{}
	var text strings.Builder
	for dec := json.NewDecoder(bytes.NewReader(stdout)); ; {
		var event struct{ Action, Test, Output string }
		if err := dec.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return o, fmt.Errorf("go test -json: %w\n%s", err, &stderr)
		}
		text.WriteString(event.Output)
		switch {
		case event.Action == "build-fail":
			o.notBuilt = true
		case event.Test != "" && event.Action == "run":
			ran++
		case event.Test != "" && event.Action == "fail":
			failed[event.Test] = true
		}
	}
	o.text = text.String() + stderr.String()
	if ran == 0 && !o.notBuilt {
		return o, fmt.Errorf("go test -run '%s' %s runs no test", which.run, which.pkg)
	}
	o.passed = exit == nil && len(failed) == 0
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		deeper := func(other string) bool { return strings.HasPrefix(other, name+"/") }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(failed)), deeper) {
			o.failed = append(o.failed, name)
		}
	}
	return o, nil
}

// output runs a command and returns its standard output.
func output(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return out, nil
}

// verdict returns one of the tests that failed, and the number of others.
func (r result) verdict() string {
	switch n := len(r.KilledBy); {
	case r.Problem != "":
		return "NOT KILLED: " + r.Problem
	case n == 1:
		return r.KilledBy[0]
	default:
		return fmt.Sprintf("%s and %d more", r.KilledBy[0], n-1)
	}
}

func write(w io.Writer, results []result) error {
	if *asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(results)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MUTANT\tBREAKS\tKILLED BY\tTIME")
	killed := 0
	for _, r := range results {
		if r.Problem == "" {
			killed++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.1f s\n", r.Mutant, r.Breaks, r.verdict(), r.Seconds)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	end := fmt.Sprintf("\n%d of %d killed\n", killed, len(results))
	for _, r := range results { // repeat them at the end, where readers look first
		if r.Problem != "" {
			end += r.Mutant + ": " + r.verdict() + "\n"
		}
	}
	_, err := io.WriteString(w, end)
	return err
}
