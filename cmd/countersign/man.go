package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/countersign/countersign/internal/config"
)

// writeManual writes the pages of the manual into a folder of man(1), in man1 and man5: one of the program, one of each
// command, which says what its subcommands do, and one of the configuration. They are what --help says.
func writeManual(dir string, app *kong.Node) error {
	pages := map[string]string{"countersign.1": programPage(app), "countersign.yaml.5": configPage()}
	for _, c := range visible(app.Children) {
		pages[program+"-"+c.Name+".1"] = commandPage(c)
	}
	for name, text := range pages {
		section := filepath.Join(dir, "man"+name[len(name)-1:])
		if err := os.MkdirAll(section, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(section, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// visible are the commands that --help lists.
func visible(all []*kong.Node) []*kong.Node {
	return slices.DeleteFunc(slices.Clone(all), func(n *kong.Node) bool { return n.Hidden })
}

// A page is a page of the manual in the language of man(7).
type page struct{ strings.Builder }

// newPage begins a page. Its date is that of SOURCE_DATE_EPOCH, so that two builds give the same bytes.
func newPage(name string, section int, what string) *page {
	date := ""
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date = time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	}
	p := new(page)
	p.line(".TH %s %d %q %q Countersign", strings.ToUpper(roff(name)), section, date, "countersign "+roff(version()))
	p.line(".nh\n.ad l") // no hyphens: they would be in what people copy
	p.section("Name")
	p.line(`%s \- %s`, roff(name), roff(lowerFirst(strings.TrimSuffix(what, "."))))
	return p
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) section(name string) { p.line(".SH %s", strings.ToUpper(name)) }

// text writes paragraphs. Lines that are indented stay as they are.
func (p *page) text(text string) {
	for i, block := range blocks(text) {
		switch indented := strings.HasPrefix(block[0], "  "); {
		case indented:
			p.line(".sp\n.RS 2\n.nf")
			for _, line := range block {
				p.line("%s", roff(strings.TrimPrefix(line, "  ")))
			}
			p.line(".fi\n.RE")
		default:
			if i > 0 {
				p.line(".PP")
			}
			p.line("%s", roff(strings.Join(block, "\n")))
		}
	}
}

// blocks are the paragraphs of a text, and its indented parts.
func blocks(text string) (all [][]string) {
	last := ""
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		fresh := last == "" || strings.HasPrefix(line, "  ") != strings.HasPrefix(last, "  ")
		if last = line; line == "" {
			continue
		}
		if fresh {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], line)
	}
	return all
}

// programPage is countersign(1).
func programPage(app *kong.Node) string {
	p := newPage(program, 1, "a self-hosted verification server")
	p.section("Synopsis")
	p.line(".B %s\n.I command\n.RI [ flags ]", program)
	p.section("Description")
	p.text(app.Help)
	p.section("Commands")
	for _, c := range visible(app.Children) {
		p.line(".TP\n.BR %s (1)\n%s", roff(program+"-"+c.Name), roff(c.Help))
	}
	p.section("Options")
	p.flags(app.Flags)
	p.section("Environment")
	for _, v := range [][2]string{
		{"COUNTERSIGN_CONFIG", "Configuration file of commands without --config; else countersign.yaml in the working folder."},
		{"COUNTERSIGN_DATA", "Folder of the database of commands without --data and --config."},
		{tokenVariable, "API key with which commands ask a running server."},
	} {
		p.line(".TP\n.B %s\n%s", roff(v[0]), roff(v[1]))
	}
	p.section("Exit status")
	p.text("0 for success, 1 for a failure, 2 for a command line or a configuration that is wrong.")
	p.section("See also")
	p.line(".BR countersign.yaml (5)")
	return p.String()
}

// commandPage is the page of one command and its subcommands.
func commandPage(c *kong.Node) string {
	p := newPage(program+"-"+c.Name, 1, c.Help)
	leaves := leavesOf(c)
	p.section("Synopsis")
	for i, leaf := range leaves {
		if i > 0 {
			p.line(".br")
		}
		p.synopsis(leaf)
	}
	p.section("Description")
	p.text(c.Help + "\n\n" + c.Detail)
	if len(leaves) == 1 && leaves[0] == c {
		p.section("Options")
		p.arguments(c)
	} else {
		p.section("Commands")
		for _, leaf := range leaves {
			p.line(".SS %s", roff(leaf.FullPath()))
			p.text(leaf.Help + "\n\n" + leaf.Detail)
			p.arguments(leaf)
		}
	}
	p.section("See also")
	p.line(".BR countersign (1),\n.BR countersign.yaml (5)")
	return p.String()
}

// leavesOf are the commands that can be run below one, or that one itself.
func leavesOf(c *kong.Node) (leaves []*kong.Node) {
	for _, child := range visible(c.Children) {
		leaves = append(leaves, leavesOf(child)...)
	}
	if len(leaves) == 0 {
		return []*kong.Node{c}
	}
	return leaves
}

func (p *page) synopsis(leaf *kong.Node) {
	p.line(".B %s", roff(leaf.FullPath()))
	for _, a := range leaf.Positional {
		p.line(".I %s", roff(a.Summary()))
	}
	for _, f := range leaf.Flags {
		if f.Required {
			p.line(".B %s", roff(f.Summary()))
		}
	}
	p.line(".RI [ flags ]")
}

// arguments are what stands behind a command, those of the commands above it too, but not --help.
func (p *page) arguments(leaf *kong.Node) {
	for _, a := range leaf.Positional {
		p.line(".TP\n.I %s\n%s", roff(a.Summary()), roff(a.Help))
	}
	for n := leaf; n != nil && n.Type == kong.CommandNode; n = n.Parent {
		p.flags(n.Flags)
	}
}

func (p *page) flags(all []*kong.Flag) {
	for _, f := range all {
		if f.Hidden {
			continue
		}
		name := f.Summary()
		if f.Short != 0 {
			name = fmt.Sprintf("-%c, %s", f.Short, name)
		}
		p.line(".TP\n.B %s\n%s", roff(name), roff(f.Help))
	}
}

// configPage is countersign.yaml(5): the file with every key, its meaning and its default.
func configPage() string {
	p := newPage("countersign.yaml", 5, "the configuration of countersign")
	p.section("Description")
	p.text(`"countersign serve" reads one YAML file. An unknown key, a wrong type or a value out of its range is an error; all of
them are told together, with their lines. "countersign config check" says whether a file is right. Secrets don't stand in
the file: it names files or environment variables.

These are all keys, with their meanings and their defaults. Most are optional: "countersign config example" prints a
small file to begin with.`)
	p.section("Keys")
	p.line(".nf")
	for line := range strings.Lines(config.Example()) {
		p.line("%s", roff(strings.TrimRight(line, "\n")))
	}
	p.line(".fi")
	p.section("See also")
	p.line(".BR countersign (1),\n.BR countersign\\-config (1)")
	return p.String()
}

// roff writes a text so that roff shows it as it is.
func roff(text string) string {
	var b strings.Builder
	for i, r := range strings.TrimRight(text, " ") {
		switch {
		case i == 0 && (r == '.' || r == '\''):
			b.WriteString(`\&`)
			b.WriteString(map[rune]string{'.': ".", '\'': `\(aq`}[r])
		case r == '\n': // in a help text, which goes on
			b.WriteByte(' ')
		case escapes[r] != "":
			b.WriteString(escapes[r])
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// escapes are the characters that roff would show as others.
var escapes = map[rune]string{'\\': `\e`, '-': `\-`, '\'': `\(aq`, '`': `\(ga`, '^': `\(ha`, '~': `\(ti`}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
