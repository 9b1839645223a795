package wording

import (
	"regexp"
	"strings"
)

// A Template is a parsed text with names in it, which values replace:
//
//	$name       the value of that name
//	${name}     the same, where a letter, a digit or _ follows
//	\$          a dollar sign
//
// A name is a run of the characters A-Z a-z 0-9 and _, as long as possible. Case matters.
// Everything else is text, including a name without a value, with its dollar sign and braces: a
// text about a price stays one. There are no directives, so every text is a valid template. Values
// are never parsed as templates. The zero Template is an empty text.
type Template struct{ parts []part }

// A part is a literal text, or a name together with the reference as it was
// written.
type part struct{ name, text string }

// Parse parses a template. Every text is valid.
func Parse(text string) Template {
	var t Template
	for text != "" {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			t.literal(text)
			break
		}
		if i > 0 && text[i-1] == '\\' {
			t.literal(text[:i-1] + "$")
			text = text[i+1:]
			continue
		}
		t.literal(text[:i])
		name, size := reference(text[i:])
		if name == "" {
			t.literal("$")
		} else {
			t.parts = append(t.parts, part{name, text[i : i+size]})
		}
		text = text[i+size:]
	}
	return t
}

// names are those that a text of [ParseText] may have, and what they are called in a [Template].
var names = map[string]string{"code": "code", "minutes": "validity_minutes", "amount": "amount", "payee": "payee"}

var braced = regexp.MustCompile(`\{\{([a-z_]+)\}\}|\{([a-z_]+)\}`)

// ParseText parses a text with names in braces: {code}, or {{code}}, {minutes}, {amount} and {payee}. Every other
// word in braces is unknown: a mistyped name would go out as it is. All else is text.
func ParseText(text string) (t Template, unknown []string) {
	end := 0
	for _, at := range braced.FindAllStringSubmatchIndex(text, -1) {
		from, to := max(at[2], at[4]), max(at[3], at[5])
		name, ok := names[text[from:to]]
		if !ok {
			unknown = append(unknown, text[from:to])
			continue
		}
		t.literal(text[end:at[0]])
		t.parts = append(t.parts, part{name, text[at[0]:at[1]]})
		end = at[1]
	}
	t.literal(text[end:])
	return t, unknown
}

// literal appends literal text, joining it to the last part if that is literal
// too.
func (t *Template) literal(text string) {
	if last := len(t.parts) - 1; last >= 0 && t.parts[last].name == "" {
		t.parts[last].text += text
	} else if text != "" {
		t.parts = append(t.parts, part{text: text})
	}
}

// reference reads the reference that text begins with, and returns the name and the size in
// bytes. If no name follows the dollar sign, it returns "" and the size of the dollar sign.
func reference(text string) (name string, size int) {
	rest, braced := strings.CutPrefix(text[1:], "{")
	end := strings.IndexFunc(rest, func(r rune) bool { return !inName(r) })
	if end < 0 {
		end = len(rest)
	}
	switch {
	case end == 0, braced && !strings.HasPrefix(rest[end:], "}"):
		return "", 1
	case braced:
		return rest[:end], len("${") + end + len("}")
	}
	return rest[:end], len("$") + end
}

func inName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
}

// Has reports whether the template contains a name.
func (t Template) Has(name string) bool {
	for _, p := range t.parts {
		if p.name == name && name != "" {
			return true
		}
	}
	return false
}

// Render replaces the names in the template by their values.
func (t Template) Render(values map[string]string) string {
	var b strings.Builder
	for _, p := range t.parts {
		if value, ok := values[p.name]; ok && p.name != "" {
			b.WriteString(value)
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}
