package wording

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// codeNames are the names of the code in a template: the one in the documentation, and those that
// people who wrote for other systems try.
var codeNames = []string{"validation_code", "token", "auth_token", "auth_code", "code"}

// HasCode reports whether the template contains one of the code's names.
func (t Template) HasCode() bool { return slices.ContainsFunc(codeNames, t.Has) }

// Facts are what a template may say beside the code.
type Facts struct {
	DisplayName   string        // of the sender
	Life          time.Duration // how long the code can be used
	Amount, Payee string        // of a payment; "": there is none
}

// Frame renders the template, with a mark in the places of the code: spelled if it is spoken.
func (t Template) Frame(m Medium, f Facts) string {
	mark := CodeMark
	if m == Spoken {
		mark = SpellMark
	}
	values := map[string]string{
		"validity_minutes": strconv.Itoa(max(1, int(f.Life/time.Minute))), // rounded down; 0 would say that it is over
		"display_name":     f.DisplayName,
	}
	if f.Amount != "" {
		values["amount"], values["payee"] = f.Amount, f.Payee
	}
	for _, name := range codeNames {
		values[name] = mark
	}
	return t.Render(values)
}

// link is what a phone makes a link of, and what is no company's name: a scheme, www., or a domain
// with a port, a path, a query or a fragment. The dots are those that browsers take for one (UTS #46),
// and what can't be seen doesn't part a name from its path.
var link = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://\S*|\bwww[.．。｡]\S*|[\pL\pN\pM\p{Cf}_-]+([.．。｡][\pL\pN\pM\p{Cf}_-]+)+[.．。｡]?(/|:[0-9]|[?#]\S)\S*`)

// Name is a display name as a message has it: in one line, without links, and without marks that
// turn the direction of what follows, which may be the code. A text comes from a sender that people
// trust, and a name from whoever fills in a form somewhere.
func Name(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp):
			return ' '
		}
		return r
	}, name)
	for { // what is left of one link may be another
		next := link.ReplaceAllString(name, " ")
		if next == name {
			return strings.Join(strings.Fields(name), " ")
		}
		name = next
	}
}
