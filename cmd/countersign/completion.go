package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help explains more than a line can.
func (completionCommand) Help() string {
	return `Prints what makes the Tab key complete commands and flags:

  bash   source <(countersign completion bash)                                  in ~/.bashrc
  zsh    source <(countersign completion zsh)                                   in ~/.zshrc, behind compinit
  fish   countersign completion fish > ~/.config/fish/completions/countersign.fish`
}

// shells are the scripts: each asks the program for the words that fit. File names are left to the shell.
var shells = map[string]string{
	"bash": `_countersign() {
  local IFS=$'\n'
  COMPREPLY=($(compgen -W "$(countersign complete -- "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _countersign countersign
`,
	"zsh": `_countersign() {
  local -a found
  found=(${(f)"$(countersign complete -- ${words[2,CURRENT-1]} 2>/dev/null)"})
  compadd -a found || _files
}
compdef _countersign countersign
`,
	"fish": `complete -c countersign -a '(countersign complete -- (commandline -opc)[2..] 2>/dev/null)'
`,
}

// Run implements the command.
func (c *completionCommand) Run(w world) error {
	_, err := fmt.Fprint(w.stdout, shells[c.Shell])
	return err
}

// completeCommand answers the scripts.
type completeCommand struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run implements the command.
func (c *completeCommand) Run(w world, k *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	_, err := fmt.Fprint(w.stdout, strings.Join(candidates(k.Model.Node, words), "\n"), "\n")
	return err
}

// candidates are the words that may follow others: the values of a flag, or commands, choices and flags.
func candidates(n *kong.Node, words []string) (found []string) {
	var open *kong.Flag // wants a value
	for _, word := range words {
		if open != nil {
			open = nil
			continue
		}
		if name, isFlag := strings.CutPrefix(word, "--"); isFlag {
			open = flagOf(n, name)
			continue
		}
		if i := slices.IndexFunc(n.Children, func(c *kong.Node) bool { return c.Name == word }); i >= 0 {
			n = n.Children[i]
		}
	}
	if open != nil {
		return choices(open.Value)
	}
	for _, c := range visible(n.Children) {
		found = append(found, c.Name)
	}
	for _, p := range n.Positional {
		found = append(found, choices(p)...)
	}
	for _, f := range slices.Concat(n.AllFlags(true)...) {
		found = append(found, "--"+f.Name)
	}
	return found
}

// flagOf is the flag of a command that takes the next word as its value, or nil.
func flagOf(n *kong.Node, name string) *kong.Flag {
	for _, f := range slices.Concat(n.AllFlags(true)...) {
		if f.Name == name && !f.IsBool() {
			return f
		}
	}
	return nil
}

func choices(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return slices.DeleteFunc(strings.Split(v.Enum, ","), func(s string) bool { return s == "" })
}
