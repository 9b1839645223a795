package signalwire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// given is a request's fields as they are after reading.
func given(t *testing.T, body string, asForm bool) fields {
	t.Helper()
	f := fields{form: asForm, problems: map[string]string{}}
	var err error
	if asForm {
		f.raw, err = form([]byte(body))
	} else {
		f.raw, err = object([]byte(body))
	}
	if err != nil {
		t.Fatalf("read %s: %v", body, err)
	}
	return f
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ value, want, problem string }{
		{`"abc"`, "abc", ""},
		{`""`, "", ""},
		{`" "`, " ", ""},
		{`"\u00e9\n\u0000"`, "é\n\x00", ""},
		{`"\ud83d\udd11"`, "🔑", ""},
		{`"\ud800"`, "\ufffd", ""}, // half of a character
		{`null`, "", ""},
		{`1`, "", "must be a string"},
		{`true`, "", "must be a string"},
		{`[]`, "", "must be a string"},
		{`["abc"]`, "", "must be a string"},
		{`{}`, "", "must be a string"},
	} {
		f := given(t, `{"message":`+test.value+`}`, false)
		if got := f.text("message"); got != test.want || f.problems["message"] != test.problem {
			t.Errorf("%s: got %q, problem %q\nwant %q, problem %q", test.value, got, f.problems["message"], test.want, test.problem)
		}
	}
	absent := given(t, `{}`, false)
	if got := absent.text("message"); got != "" || len(absent.problems) != 0 {
		t.Errorf("absent: got %q, problems %v", got, absent.problems)
	}
}

func TestInteger(t *testing.T) {
	t.Parallel()
	n := func(n int) *int { return &n }
	const notOne, notWhole = "is not a number", "must be an integer"
	for _, test := range []struct {
		value   string
		want    *int
		problem string
	}{
		{`6`, n(6), ""}, {`0`, n(0), ""}, {`-1`, n(-1), ""}, {`-0`, n(0), ""},
		{`"6"`, n(6), ""}, {`" 6\t"`, n(6), ""}, {`"-1"`, n(-1), ""}, {`"+6"`, n(6), ""}, {`"006"`, n(6), ""},
		{`9223372036854775808`, n(1<<63 - 1), ""}, {`"-9223372036854775809"`, n(-1 << 63), ""}, // the nearest, out of every range
		{`null`, nil, ""},
		{`6.5`, nil, notWhole}, {`6.0`, nil, notWhole}, {`6e0`, nil, notWhole}, {`"6.5"`, nil, notWhole}, {`"1e400"`, nil, notWhole},
		{`""`, nil, notOne}, {`" "`, nil, notOne}, {`"abc"`, nil, notOne}, {`"0x6"`, nil, notOne}, {`"6_0"`, nil, notOne}, {`"null"`, nil, notOne},
		{`"٦"`, nil, notOne}, {`"6 6"`, nil, notOne}, {`true`, nil, notOne}, {`[6]`, nil, notOne}, {`{"n":6}`, nil, notOne}, {`"NaN"`, nil, notOne},
	} {
		f := given(t, `{"token_length":`+test.value+`}`, false)
		got := f.integer("token_length")
		if diff := cmp.Diff(test.want, got); diff != "" || f.problems["token_length"] != test.problem {
			t.Errorf("%s: problem %q, want %q (-want +got):\n%s", test.value, f.problems["token_length"], test.problem, diff)
		}
	}
	empty := given(t, `token_length=`, true)
	if got := empty.integer("token_length"); got != nil || len(empty.problems) != 0 {
		t.Errorf("an empty form input: got %v, problems %v, want none", got, empty.problems)
	}
}

func TestBoolean(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	const neither = "must be true or false"
	for _, test := range []struct {
		value   string
		want    *bool
		problem string
	}{
		{`true`, &yes, ""}, {`false`, &no, ""}, {`"true"`, &yes, ""}, {`"false"`, &no, ""}, {`"TRUE"`, &yes, ""}, {`"False"`, &no, ""},
		{`null`, nil, ""},
		{`""`, nil, neither}, {`" true"`, nil, neither}, {`"maybe"`, nil, neither}, {`"1"`, nil, neither}, {`"yes"`, nil, neither},
		{`1`, nil, neither}, {`0`, nil, neither}, {`[]`, nil, neither}, {`[true]`, nil, neither}, {`{}`, nil, neither},
	} {
		f := given(t, `{"allow_alphas":`+test.value+`}`, false)
		got := f.boolean("allow_alphas")
		if diff := cmp.Diff(test.want, got); diff != "" || f.problems["allow_alphas"] != test.problem {
			t.Errorf("%s: problem %q, want %q (-want +got):\n%s", test.value, f.problems["allow_alphas"], test.problem, diff)
		}
	}
	for body, want := range map[string]bool{"allow_alphas=": false, "allow_alphas=true": true, "allow_alphas": false} {
		f := given(t, body, true)
		if got := f.boolean("allow_alphas"); got == nil || *got != want || len(f.problems) != 0 {
			t.Errorf("%s: got %v, problems %v, want %v", body, got, f.problems, want)
		}
	}
}

func TestDetailsAreInThePublishedOrder(t *testing.T) {
	t.Parallel()
	f := given(t, `{"allow_alpha":1,"max_attempts":"x","to":5,"token":7,"from":[]}`, false)
	f.boolean("allow_alpha")
	f.integer("max_attempts")
	f.text("token")
	f.text("from")
	f.text("to")
	var bad *invalid
	if !errors.As(f.mistyped(nil), &bad) {
		t.Fatal("bad fields aren't an error")
	}
	want := []string{"To must be a string", "From must be a string", "Max attempts is not a number", "Allow alpha must be true or false", "Token must be a string"}
	if diff := cmp.Diff(want, bad.details()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadTellsWhatIsWrongWithABody(t *testing.T) {
	t.Parallel()
	const jsonType, formType = "application/json", "application/x-www-form-urlencoded"
	big := `{"x":"` + strings.Repeat("x", maxBody-len(`{"x":""}`)) + `"}`
	for name, test := range map[string]struct {
		contentType string
		body        io.Reader
		want        error
	}{
		"JSON":                       {jsonType, strings.NewReader(`{}`), nil},
		"JSON by default":            {"", strings.NewReader(`{}`), nil},
		"a form":                     {formType, strings.NewReader(`a=b`), nil},
		"a form where JSON is said":  {jsonType, strings.NewReader(`a=b`), errUnreadable},
		"nothing":                    {jsonType, strings.NewReader(``), errUnreadable},
		"an empty form":              {formType, strings.NewReader(``), errUnreadable},
		"as much as there may be":    {jsonType, strings.NewReader(big), nil},
		"a byte more":                {jsonType, strings.NewReader(big + " "), errTooLarge},
		"a connection that breaks":   {jsonType, io.MultiReader(strings.NewReader(`{}`), iotest.ErrReader(io.ErrUnexpectedEOF)), errUnreadable},
		"a type that we don't speak": {"application/xml", strings.NewReader(`<a/>`), errMediaType},
		"a type that is none":        {";", strings.NewReader(`{}`), errMediaType},
	} {
		r := httptest.NewRequest("POST", "/", test.body)
		r.Header.Del("Content-Type")
		if test.contentType != "" {
			r.Header.Set("Content-Type", test.contentType)
		}
		if _, err := read(r); err != test.want {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

// topNames lists the names of a valid JSON object, repeated ones too. It is independent of what it
// tests: each value is skipped token by token.
func topNames(body []byte) (names []string) {
	dec := json.NewDecoder(bytes.NewReader(body))
	depth, atName := 0, false // in how many braces and brackets; the next token is a name of the outermost
	for {
		token, err := dec.Token()
		switch {
		case err != nil: // the end
			return names
		case token == json.Delim('{') || token == json.Delim('['):
			depth++
		case token == json.Delim('}') || token == json.Delim(']'):
			depth--
		case atName:
			names = append(names, token.(string))
			atName = false
			continue
		}
		atName = depth == 1
	}
}

func FuzzObject(f *testing.F) {
	for _, s := range []string{
		`{}`, ` {"to" : "+12025550100" , "token_length": 6 } `, `{"a":null}`, `{"a":null,"a":1}`, `{"a":1,"a":null}`, `{"a":1,"\u0061":2}`,
		`{"a":{"b":[1,{"a":2}]}}`, `{"a":1}x`, `{"a":1}{}`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1]`, `{]`, `{1:2}`, `{"a":`,
		`[]`, `null`, `"a"`, `1`, ``, ` `, "{\"a\":\"\xff\"}", "\ufeff{}", `{"":""}`, `{"a":"\ud800"}`, `{"a":1e999}`, `{"a":NaN}`, `{"a":-}`, `{{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := object(body)
		if err != nil && err != errUnreadable {
			t.Fatalf("%q: got error %v, want errUnreadable", body, err)
		}
		// The oracle is the standard library's, plus what it lets pass.
		var want map[string]json.RawMessage
		ok := json.Unmarshal(body, &want) == nil && want != nil && utf8.Valid(body)
		if ok {
			names := topNames(body)
			slices.Sort(names)
			ok = len(slices.Compact(names)) == len(names)
		}
		if ok != (err == nil) {
			t.Fatalf("%q: got error %v, want it accepted: %v", body, err, ok)
		}
		if !ok {
			return
		}
		for name, value := range want {
			if string(value) == "null" {
				delete(want, name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", body, diff)
		}
		readAll(t, fields{raw: got, problems: map[string]string{}})
	})
}

func FuzzForm(f *testing.F) {
	for _, s := range []string{
		`to=%2B12025550100`, `to=+12025550100&token_length=6`, `to=`, `to`, `&`, `=`, `a=1&a=2`, `a;b`, `a=%`, `a=%zz`, `a=%ff`, `%ff=a`, `a=%00`, `a=b=c`, `a=%22%5c`, ``,
		`allow_alphas=true&valid_for=&max_attempts=1.5`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := form(body)
		if err != nil && err != errUnreadable {
			t.Fatalf("%q: got error %v, want errUnreadable", body, err)
		}
		values, errParse := url.ParseQuery(string(body))
		ok := errParse == nil
		for _, v := range values {
			ok = ok && len(v) == 1 && utf8.ValidString(v[0])
		}
		if ok != (err == nil) {
			t.Fatalf("%q: got error %v, want it accepted: %v", body, err, ok)
		}
		if !ok {
			return
		}
		in := fields{raw: got, form: true, problems: map[string]string{}}
		for name := range values {
			if text := in.text(name); text != values.Get(name) {
				t.Fatalf("%q: %q is read as %q, want %q", body, name, text, values.Get(name))
			}
		}
		if len(got) != len(values) || len(in.problems) != 0 {
			t.Fatalf("%q: got %d fields and problems %v, want %d and none", body, len(got), in.problems, len(values))
		}
		readAll(t, in)
	})
}

// readAll reads every attribute as each kind: a value is one kind, or a problem, and nothing panics.
func readAll(t *testing.T, in fields) {
	t.Helper()
	for _, name := range order {
		_, there := in.raw[name]
		delete(in.problems, name)
		if n := in.integer(name); n != nil && in.problems[name] != "" || !there && (n != nil || in.problems[name] != "") {
			t.Fatalf("%s = %s: got %v and problem %q", name, in.raw[name], n, in.problems[name])
		}
		delete(in.problems, name)
		if b := in.boolean(name); (b != nil) != (there && in.problems[name] == "") {
			t.Fatalf("%s = %s: got %v and problem %q", name, in.raw[name], b, in.problems[name])
		}
		delete(in.problems, name)
		if s := in.text(name); s != "" && (in.problems[name] != "" || !there || !utf8.ValidString(s)) {
			t.Fatalf("%s = %s: got %q and problem %q", name, in.raw[name], s, in.problems[name])
		}
	}
}
