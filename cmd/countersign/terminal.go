package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal is the descriptor of a terminal that a stream leads to, or false.
func terminal(stream any) (fd int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// progress draws a bar on standard error, on one line. Only a terminal gets it: a log or a mail of cron would
// fill with it.
func (w world) progress(what, unit string) func(done, all int) {
	if _, ok := terminal(w.stderr); !ok {
		return func(int, int) {}
	}
	return func(done, all int) {
		const width = 30
		full := width
		if all > 0 {
			full = width * done / all
		}
		fmt.Fprintf(w.stderr, "\r[%s%s] %s %d of %d %s", strings.Repeat("#", full), strings.Repeat(".", width-full), what, done, all, unit)
		if done == all {
			fmt.Fprintln(w.stderr)
		}
	}
}
