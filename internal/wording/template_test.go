package wording

import (
	"regexp"
	"strings"
	"testing"
)

var values = map[string]string{"code": "123456", "name": "The Shop", "empty": "", "sly": "$code ${name} \\$", "": "never"}

func TestRender(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"hello", "hello"},
		{"$code", "123456"},
		{"${code}", "123456"},
		{"$code is your $name code.", "123456 is your The Shop code."},
		{"$code$code", "123456123456"},
		{"${code}x", "123456x"},
		{"<$code>", "<123456>"},
		{"a${empty}b", "ab"},

		// A name is as long as possible.
		{"$codex", "$codex"},
		{"$code_", "$code_"},
		{"$code1", "$code1"},
		{"$code-1", "123456-1"},
		{"$codeé", "123456é"},
		{"$Code", "$Code"},

		// Unknown names, and texts that aren't names, stay unchanged.
		{"$other ${other}", "$other ${other}"},
		{"it costs $5, or 5$", "it costs $5, or 5$"},
		{"$", "$"},
		{"$$", "$$"},
		{"$$code", "$123456"},
		{"${", "${"},
		{"${}", "${}"},
		{"${code", "${code"},
		{"${code }", "${code }"},
		{"${co${code}", "${co123456"},
		{"{code}", "{code}"},
		{"$!code", "$!code"},
		{"#set($code)", "#set(123456)"},

		// The escape is for the dollar sign only.
		{`\$code`, "$code"},
		{`\${code}`, "${code}"},
		{`\\$code`, `\$code`},
		{`\$$code`, "$123456"},
		{`a\b\`, `a\b\`},
		{`$code\`, `123456\`},

		// A value isn't parsed as a template.
		{"$sly", "$code ${name} \\$"},
	} {
		if got := Parse(test.text).Render(values); got != test.want {
			t.Errorf("%q:\ngot  %q\nwant %q", test.text, got, test.want)
		}
	}
}

func TestHas(t *testing.T) {
	t.Parallel()
	tmpl := Parse(`$code, ${name} and $code; \$escaped $5 ${open`)
	for name, want := range map[string]bool{"code": true, "name": true, "5": true, "escaped": false, "open": false, "Code": false, "": false} {
		if got := tmpl.Has(name); got != want {
			t.Errorf("Has(%q) is %v, want %v", name, got, want)
		}
	}
	if got := (Template{}).Render(values); got != "" {
		t.Errorf("the zero template renders %q", got)
	}
}

// reading is the package's comment as a regular expression: an escape, or a reference in one of
// its two forms.
var reading = regexp.MustCompile(`\\\$|\$\{([A-Za-z0-9_]+)\}|\$([A-Za-z0-9_]+)`)

func FuzzRender(f *testing.F) {
	for _, s := range []string{
		"", "$code is your $name code.", "${code}${name}", `\$code`, `\\$code`, `\$\$`, "$", "$$code", "${", "${}", "${code", "$code$", "${co${code}}",
		"$codex", "$Code", "$sly", "${sly}x", "\xff$code\xff", "$codeé", "$\xc3code", "$5 ${5}", "\\", "$\\$code", "{code}", strings.Repeat("$", 50),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var names []string
		want := reading.ReplaceAllStringFunc(text, func(found string) string {
			m := reading.FindStringSubmatch(found)
			name := m[1] + m[2]
			if name == "" {
				return "$"
			}
			names = append(names, name)
			if value, ok := values[name]; ok {
				return value
			}
			return found
		})
		tmpl := Parse(text)
		if got := tmpl.Render(values); got != want {
			t.Fatalf("%q:\ngot  %q\nwant %q", text, got, want)
		}
		for _, name := range names {
			if !tmpl.Has(name) {
				t.Fatalf("%q hasn't %q", text, name)
			}
		}
	})
}
