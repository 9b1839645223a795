package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// A block is a fenced block of a page.
type block struct {
	page, lang, text string
	line             int
}

func (b block) String() string {
	first, _, _ := strings.Cut(b.text, "\n")
	return fmt.Sprintf("%s:%d: %s", b.page, b.line, first)
}

// In a nested list, a block is indented.
var fenced = regexp.MustCompile("(?ms)^( *)```([a-z]*)\n(.*?)^ *```$")

func blocksOf(page, text string) (all []block) {
	for _, m := range fenced.FindAllStringSubmatchIndex(text, -1) {
		all = append(all, block{page, text[m[4]:m[5]], text[m[6]:m[7]], 1 + strings.Count(text[:m[0]], "\n")})
	}
	return all
}

// A reader runs the blocks of one page from top to bottom, in one folder, as somebody who pastes each of them would.
// A block of commands must succeed, and the block below it is what it printed. The maps' keys are the beginnings of
// blocks, or of single command lines.
type reader struct {
	t         *testing.T
	home      string // the home folder
	dir       string // the working folder
	settings  string // the folder of the configuration
	here      []standIn
	before    map[string]func()        // runs before the command: it may wait until the person has a message
	after     map[string]func()        // runs after the command
	instead   map[string]func() string // runs in place of a command that doesn't end, and returns the output
	prints    map[string]func() string // returns the output for a block that follows no command
	typed     map[string]func() string // returns the answer that the reader types when a command asks
	takes     map[string]func(string)  // takes a block that is a file
	around    map[string]string        // the text that makes a part of a configuration whole
	unchecked map[string]bool          // a part that isn't right yet
	keeps     bool                     // the configuration keeps the parts that the page shows
	refused   map[string]string        // a command that is refused here, and what it must say
	variables string
	printed   *string // which a block may be compared with
	last      string  // the output of the last command
}

// A standIn is a text of the page, and this machine's text for it now.
type standIn struct {
	page string
	here func() string
}

func newReader(t *testing.T) *reader {
	r := &reader{
		t: t, dir: t.TempDir(), before: map[string]func(){}, after: map[string]func(){}, instead: map[string]func() string{},
		prints: map[string]func() string{}, takes: map[string]func(string){}, around: map[string]string{}, unchecked: map[string]bool{}, typed: map[string]func() string{}, refused: map[string]string{},
	}
	r.home, r.settings = r.dir, r.dir
	programs := filepath.Join(r.home, ".programs")
	if err := os.Mkdir(programs, 0o700); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\n" + runAs + "=command exec " + shellQuote(os.Args[0]) + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(programs, "countersign"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reader) is(page, here string) { r.isNow(page, func() string { return here }) }

func (r *reader) isNow(page string, here func() string) {
	r.here = append(r.here, standIn{page, here})
	slices.SortStableFunc(r.here, func(a, b standIn) int { return len(b.page) - len(a.page) })
}

// fill says what a text of the page is here.
func (r *reader) fill(text string) string {
	for _, s := range r.here {
		if strings.Contains(text, s.page) {
			text = strings.ReplaceAll(text, s.page, s.here())
		}
	}
	return text
}

// write makes a file for its owner only.
func (r *reader) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.settings, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// find is the entry with the longest key that begins a text.
func find[V any](in map[string]V, text string) (found V, ok bool) {
	longest := -1
	for start, v := range in {
		if strings.HasPrefix(text, start) && len(start) > longest {
			found, ok, longest = v, true, len(start)
		}
	}
	return found, ok
}

// command matches the first line of a block of commands.
var command = regexp.MustCompile(`^(countersign|curl|go|make|export|cd|mkdir|install|sed|apt-get|npx|grep|cat|kubectl|createuser|runuser|useradd|createdb|systemctl|[A-Z]+=\S*)( |$|\n)`)

// read runs a block, or compares it with what was printed.
func (r *reader) read(b block) {
	r.t.Helper()
	prints, hasPrints := find(r.prints, b.text)
	takes, hasTakes := find(r.takes, b.text)
	switch {
	case hasTakes:
		r.expectNothing()
		takes(b.text)
	case b.lang == "yaml":
		r.expectNothing()
		r.configure(b)
	case b.lang == "js":
		r.expectNothing()
		r.parseJavaScript(b)
	case command.MatchString(b.text):
		r.expectNothing()
		printed := ""
		for _, line := range commandsOf(b.text) {
			printed += r.run(b, line)
		}
		r.printed = &printed
	case hasPrints:
		r.expectNothing()
		r.compare(b, prints())
	case r.printed != nil:
		r.compare(b, *r.printed)
		r.printed = nil
	default:
		r.t.Errorf("%v: nothing prints this; say in the test what does, or why it can't be run", b)
	}
}

// expectNothing looks at what was printed where the page doesn't show it: no API refused anything.
func (r *reader) expectNothing() {
	r.t.Helper()
	if r.printed != nil && strings.Contains(*r.printed, `"detail":`) {
		r.t.Errorf("the command before was refused: %s", *r.printed)
	}
	r.printed = nil
}

// commandsOf are a block's lines, where each of them is a command. Otherwise the block is one.
func commandsOf(text string) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range lines {
		if !command.MatchString(line) {
			return []string{text}
		}
	}
	return lines
}

var assignment = regexp.MustCompile(`^(cd \S+|export .*)$|^[A-Z_]+=[^ ]*( [A-Z_]+=[^ ]*)*( *#.*)?$`)

// run runs a command line, and returns what it printed.
func (r *reader) run(b block, line string) (printed string) {
	r.t.Helper()
	if do, ok := find(r.before, line); ok {
		do()
	}
	if do, ok := find(r.instead, line); ok {
		r.last = do()
	} else {
		r.last = r.paste(b, line)
	}
	if do, ok := find(r.after, line); ok {
		do()
	}
	return r.last
}

func (r *reader) paste(b block, asShown string) (printed string) {
	r.t.Helper()
	line := r.fill(asShown)
	if assignment.MatchString(line) {
		r.variables += line + "\n"
		return ""
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(r.t.Context(), "sh", "-ec", r.variables+line)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = r.dir, &out, &out, time.Second
	cmd.Env = append(os.Environ(), "HOME="+r.home, "PATH="+filepath.Join(r.home, ".programs")+":"+os.Getenv("PATH"))
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if typed, ok := find(r.typed, asShown); ok {
		io.WriteString(stdin, typed()+"\n")
	}
	stdin.Close()
	err = cmd.Wait()
	if want, ok := find(r.refused, asShown); ok {
		if !strings.Contains(out.String(), want) {
			r.t.Errorf("%v: %s: got %v %s, want that it says %q", b, line, err, &out, want)
		}
		return ""
	}
	if err != nil {
		r.t.Errorf("%v: %s: %v\n%s", b, line, err, &out)
	}
	return out.String()
}

// masks are the parts of what is printed that differ each time, and what stands for them. The bar of progress is for
// terminals only.
var masks = []struct {
	pattern *regexp.Regexp
	mask    string
}{
	{regexp.MustCompile(`(?m)^\[#+\] .*\n`), ""},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "ID"},
	{regexp.MustCompile(`\bcs_[0-9A-Za-z_-]{43}`), "TOKEN"},
	{regexp.MustCompile(`\b[0-9A-Za-z]{22}\b|\b[0-9]{13}\b`), "ID"},
	{regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{8,}(Z| UTC)`), "TIME"},
	{regexp.MustCompile(`\b[0-9]{6}\b|\b[A-Z0-9]{4}-[A-Z0-9]{4}-[A-Z0-9]{4}\b`), "CODE"},
	{regexp.MustCompile(`\b[0-9]{8,10}\b`), "KEY"},
	{regexp.MustCompile(`(127\.0\.0\.1|\[::\]|\[::1\]):[0-9]+`), "ADDRESS"},
	{regexp.MustCompile(`("version":)"[^"]*"`), "${1}VERSION"},
	{regexp.MustCompile(`("took_ms":)[0-9.]+`), "${1}MS"},
	{regexp.MustCompile(`\b[0-9]+\.[0-9]s\b`), "SECONDS"},
	{regexp.MustCompile(`\bline [0-9]+:`), "line N:"},
	{regexp.MustCompile(`\bup to [0-9]+:`), "up to N:"},
	{regexp.MustCompile(`\bVoided [0-9]+ `), "Voided N "},
	{regexp.MustCompile(`(?m)^([a-z_]+) +[0-9]+$`), "$1 N"},
	{regexp.MustCompile(`/tmp/[^\s"]+`), "FOLDER"},
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`(?m) $`), ""},
}

func masked(text string) string {
	text = strings.TrimSpace(text)
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.mask)
	}
	return text
}

// inOrder sorts the lines of a log: which of two concurrent things is logged first differs each time.
func inOrder(text string) string {
	lines := strings.Split(text, "\n")
	if strings.HasPrefix(text, `{"time":`) {
		slices.Sort(lines)
	}
	return strings.Join(lines, "\n")
}

// compare holds a block to what was printed. … in the block stands for anything.
func (r *reader) compare(b block, printed string) {
	r.t.Helper()
	got, want := inOrder(masked(strings.NewReplacer(r.dir+"/", "", r.home+"/", "").Replace(printed))), inOrder(masked(b.text))
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", "(?s:.*)")
	if !regexp.MustCompile(`\A` + pattern + `\z`).MatchString(got) {
		r.t.Errorf("%v: the page doesn't show what is printed\ngot:\n%s\nwant:\n%s\nas printed:\n%s", b, got, want, printed)
	}
}

// parseJavaScript holds a part of a program to the language only.
func (r *reader) parseJavaScript(b block) {
	r.t.Helper()
	needProgram(r.t, "node")
	r.write("part.mjs", b.text)
	if text, err := exec.Command("node", "--check", filepath.Join(r.settings, "part.mjs")).CombinedOutput(); err != nil {
		r.t.Errorf("%v: %v, %s", b, err, text)
	}
}

// configure puts a part of a configuration into the reader's, which must be right then. It stays there on pages that
// go on with it.
func (r *reader) configure(b block) {
	r.t.Helper()
	text := b.text
	if around, ok := find(r.around, text); ok {
		text = around + text
	}
	var part map[string]any
	if err := yaml.Unmarshal([]byte(text), &part); err != nil {
		r.t.Fatalf("%v: %v", b, err)
	}
	before := r.config()
	r.merge(part)
	if _, ok := find(r.unchecked, b.text); !ok {
		if text, err := r.countersign("config", "check").CombinedOutput(); err != nil {
			r.t.Errorf("%v: %v, %s", b, err, text)
		}
	}
	if !r.keeps {
		r.write("countersign.yaml", before)
	}
}

func (r *reader) config() string {
	text, err := os.ReadFile(filepath.Join(r.settings, "countersign.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// merge changes the reader's configuration. A carrier without a kind is the one of its name, or else the receiver.
func (r *reader) merge(part map[string]any) {
	r.t.Helper()
	var whole map[string]any
	if err := yaml.Unmarshal([]byte(r.config()), &whole); err != nil {
		r.t.Fatal(err)
	}
	join(whole, part)
	text, err := yaml.Marshal(whole)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.settings, "countersign.yaml"), text, 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func join(whole, part map[string]any) {
	for key, value := range part {
		switch v := value.(type) {
		case map[string]any:
			if inner, ok := whole[key].(map[string]any); ok && key != "channels" {
				join(inner, v)
				continue
			}
		case []any:
			if key == "carriers" {
				all, _ := whole[key].([]any)
				whole[key] = joinCarriers(all, v)
				continue
			}
		}
		whole[key] = value
	}
}

func joinCarriers(all, more []any) []any {
	for _, m := range more {
		m := m.(map[string]any)
		i := slices.IndexFunc(all, func(c any) bool { return c.(map[string]any)["name"] == m["name"] })
		if i < 0 {
			all = append(all, m)
			continue
		}
		join(all[i].(map[string]any), m)
	}
	return all
}

// countersign is the program in the reader's folder.
func (r *reader) countersign(args ...string) *exec.Cmd {
	cmd := theProgram(r.t)(args...)
	cmd.Dir = r.settings
	cmd.Env = append(cmd.Env, "TRUNK_PASSWORD=secret", "TWILIO_TOKEN=secret")
	return cmd
}
