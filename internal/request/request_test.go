package request

import (
	"bytes"
	"encoding/json"
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

// given returns the fields of a request with that body.
func given(t *testing.T, body string, asForm bool) Fields {
	t.Helper()
	f := Fields{form: asForm}
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
		if got := f.Text("message"); got != test.want || f.Problems["message"] != test.problem {
			t.Errorf("%s: got %q, problem %q\nwant %q, problem %q", test.value, got, f.Problems["message"], test.want, test.problem)
		}
	}
	absent := given(t, `{}`, false)
	if got := absent.Text("message"); got != "" || len(absent.Problems) != 0 {
		t.Errorf("absent: got %q, problems %v", got, absent.Problems)
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
		got := f.Integer("token_length")
		if diff := cmp.Diff(test.want, got); diff != "" || f.Problems["token_length"] != test.problem {
			t.Errorf("%s: problem %q, want %q (-want +got):\n%s", test.value, f.Problems["token_length"], test.problem, diff)
		}
	}
	empty := given(t, `token_length=`, true)
	if got := empty.Integer("token_length"); got != nil || len(empty.Problems) != 0 {
		t.Errorf("an empty form input: got %v, problems %v, want none", got, empty.Problems)
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
		got := f.Boolean("allow_alphas")
		if diff := cmp.Diff(test.want, got); diff != "" || f.Problems["allow_alphas"] != test.problem {
			t.Errorf("%s: problem %q, want %q (-want +got):\n%s", test.value, f.Problems["allow_alphas"], test.problem, diff)
		}
	}
	for body, want := range map[string]bool{"allow_alphas=": false, "allow_alphas=true": true, "allow_alphas": false} {
		f := given(t, body, true)
		if got := f.Boolean("allow_alphas"); got == nil || *got != want || len(f.Problems) != 0 {
			t.Errorf("%s: got %v, problems %v, want %v", body, got, f.Problems, want)
		}
	}
}

func TestReadTellsWhatIsWrongWithABody(t *testing.T) {
	t.Parallel()
	big := `{"x":"` + strings.Repeat("x", MaxBody-len(`{"x":""}`)) + `"}`
	for name, test := range map[string]struct {
		contentType string
		body        io.Reader
		want        error
	}{
		"JSON":                       {JSON, strings.NewReader(`{}`), nil},
		"JSON by default":            {"", strings.NewReader(`{}`), nil},
		"a form":                     {Form, strings.NewReader(`a=b`), nil},
		"a form where JSON is said":  {JSON, strings.NewReader(`a=b`), ErrUnreadable},
		"nothing":                    {JSON, strings.NewReader(``), ErrEmpty},
		"an empty form":              {Form, strings.NewReader(``), ErrEmpty},
		"as much as there may be":    {JSON, strings.NewReader(big), nil},
		"a byte more":                {JSON, strings.NewReader(big + " "), ErrTooLarge},
		"a connection that breaks":   {JSON, io.MultiReader(strings.NewReader(`{}`), iotest.ErrReader(io.ErrUnexpectedEOF)), ErrUnreadable},
		"a type that we don't speak": {"application/xml", strings.NewReader(`<a/>`), ErrMediaType},
		"a type that is none":        {";", strings.NewReader(`{}`), ErrMediaType},
		"UTF-8":                      {JSON + "; charset=Utf-8", strings.NewReader(`{"a":"é"}`), nil},
		"UTF-16, and looks so":       {JSON + "; charset=utf-16", strings.NewReader(`{}`), ErrMediaType},
		"a form in UTF-7":            {Form + ";charset=\"UTF-7\"", strings.NewReader(`a=b`), ErrMediaType},
		"ASCII in Latin-1":           {JSON + "; charset=ISO-8859-1", strings.NewReader(`{}`), nil},
		"Latin-1":                    {JSON + "; charset=ISO-8859-1", strings.NewReader(`{"a":"é"}`), ErrMediaType},
		"no ASCII":                   {JSON + "; charset=us-ascii", strings.NewReader("{\"a\":\"\xe9\"}"), ErrMediaType},
	} {
		r := httptest.NewRequest("POST", "/", test.body)
		r.Header.Del("Content-Type")
		if test.contentType != "" {
			r.Header.Set("Content-Type", test.contentType)
		}
		if _, err := Read(r, JSON, Form); err != test.want {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

// topNames lists the names of a valid JSON object, including duplicates. It is independent of the
// tested code: it skips each value token by token.
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
		if err != nil && err != ErrUnreadable {
			t.Fatalf("%q: got error %v, want ErrUnreadable", body, err)
		}
		// The oracle is the standard library, together with what it fails to
		// refuse.
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
		readAll(t, Fields{raw: got})
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
		if err != nil && err != ErrUnreadable {
			t.Fatalf("%q: got error %v, want ErrUnreadable", body, err)
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
		in := Fields{raw: got, form: true}
		for name := range values {
			want := values.Get(name)
			if name == "to" || name == "from" {
				want = formPlus(want)
			}
			if text := in.Text(name); text != want {
				t.Fatalf("%q: %q is read as %q, want %q", body, name, text, want)
			}
		}
		if len(got) != len(values) || len(in.Problems) != 0 {
			t.Fatalf("%q: got %d fields and problems %v, want %d and none", body, len(got), in.Problems, len(values))
		}
		readAll(t, in)
	})
}

// names are names that occur in the seeds.
var names = []string{"to", "message", "token_length", "valid_for", "max_attempts", "allow_alphas", "a", "token", ""}

// readAll reads some fields as each kind. A value is of one kind or is a problem, and nothing
// panics.
func readAll(t *testing.T, in Fields) {
	t.Helper()
	for _, name := range names {
		_, there := in.raw[name]
		delete(in.Problems, name)
		if n := in.Integer(name); n != nil && in.Problems[name] != "" || !there && (n != nil || in.Problems[name] != "") {
			t.Fatalf("%s = %s: got %v and problem %q", name, in.raw[name], n, in.Problems[name])
		}
		delete(in.Problems, name)
		if b := in.Boolean(name); (b != nil) != (there && in.Problems[name] == "") {
			t.Fatalf("%s = %s: got %v and problem %q", name, in.raw[name], b, in.Problems[name])
		}
		delete(in.Problems, name)
		if s := in.Text(name); s != "" && (in.Problems[name] != "" || !there || !utf8.ValidString(s)) {
			t.Fatalf("%s = %s: got %q and problem %q", name, in.raw[name], s, in.Problems[name])
		}
	}
}

// A national number with a leading space must not become another country's number, so JSON keeps its
// spaces.
func TestAFormsSpaceBeforeANumberIsAPlus(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"to=+12025550100": "+12025550100", "from=+12025550100": "+12025550100", "to=%2B12025550100": "+12025550100",
		"to=+020": " 020", "to=++1": "  1", "to=+": " ", "token=+123456": " 123456",
	} {
		all, err := form([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range all {
			if got := string(raw); got != `"`+want+`"` {
				t.Errorf("%s: got %s, want %q", body, got, want)
			}
		}
	}
	all, err := object([]byte(`{"to":" 2025550100"}`))
	if err != nil || string(all["to"]) != `" 2025550100"` {
		t.Errorf("JSON: got %s, %v; want the space kept", all["to"], err)
	}
}
