package signalwire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/verify"
)

// maxBody is the largest body that is read, in bytes.
const maxBody = 64 << 10

// Errors of reading a request, each with its status.
var (
	errUnreadable = errors.New("unreadable body")          // 400
	errTooLarge   = errors.New("body too large")           // 413
	errMediaType  = errors.New("unsupported content type") // 415
)

// fields are a request's attributes by their published names, as JSON, and what was wrong with
// those that were asked for. Names are case-sensitive; unknown ones are ignored; null is absent.
type fields struct {
	raw      map[string]json.RawMessage
	form     bool // every value came as text
	problems map[string]string
}

// read reads a request's body as JSON or as a form. Without a content type it is taken for JSON.
func read(r *http.Request) (fields, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Header.Get("Content-Type") == "" {
		kind, err = "application/json", nil
	}
	if err != nil || kind != "application/json" && kind != "application/x-www-form-urlencoded" {
		return fields{}, errMediaType
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fields{}, errTooLarge
	}
	if err != nil || len(body) == 0 {
		return fields{}, errUnreadable
	}
	f := fields{problems: map[string]string{}}
	if kind == "application/json" {
		f.raw, err = object(body)
	} else {
		f.form = true
		f.raw, err = form(body)
	}
	return f, err
}

// object reads one JSON object. A name that stands in it twice is refused: which of the two counts
// would be our guess, and a proxy's before us may differ.
func object(body []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') || !utf8.Valid(body) {
		return nil, errUnreadable
	}
	all := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, errUnreadable
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errUnreadable
		}
		key := name.(string) // the decoder takes nothing else for a name
		if _, twice := all[key]; twice {
			return nil, errUnreadable
		}
		all[key] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, errUnreadable
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errUnreadable
	}
	maps.DeleteFunc(all, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	return all, nil
}

// form reads a form as if each value were a JSON string.
func form(body []byte) (map[string]json.RawMessage, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errUnreadable
	}
	all := map[string]json.RawMessage{}
	for name, v := range values {
		if len(v) > 1 || !utf8.ValidString(v[0]) {
			return nil, errUnreadable
		}
		if all[name], err = json.Marshal(v[0]); err != nil {
			return nil, errUnreadable
		}
	}
	return all, nil
}

func (f *fields) wrong(name, problem string) { f.problems[name] = problem }

// text returns a string, or "" where there is none.
func (f *fields) text(name string) (s string) {
	if raw, ok := f.raw[name]; ok && json.Unmarshal(raw, &s) != nil {
		f.wrong(name, "must be a string")
	}
	return s
}

// integer returns a number, given as such or as a string, or nil where there is none.
func (f *fields) integer(name string) *int {
	raw, ok := f.raw[name]
	if !ok {
		return nil
	}
	literal := string(raw)
	if raw[0] == '"' {
		json.Unmarshal(raw, &literal)
		literal = strings.TrimSpace(literal)
		if literal == "" && f.form {
			return nil // an input left empty
		}
	}
	n, err := strconv.Atoi(literal)
	switch {
	case err == nil, errors.Is(err, strconv.ErrRange): // then n is the nearest, out of every range
		return &n
	case isNumber(literal):
		f.wrong(name, "must be an integer")
	default:
		f.wrong(name, "is not a number")
	}
	return nil
}

func isNumber(s string) bool {
	var n json.Number
	return json.Unmarshal([]byte(s), &n) == nil && n != ""
}

// boolean returns a boolean, given as such or as a string in any case, or nil where there is none.
func (f *fields) boolean(name string) *bool {
	raw, ok := f.raw[name]
	if !ok {
		return nil
	}
	var b bool
	var s string
	switch {
	case json.Unmarshal(raw, &b) == nil:
		return &b
	case json.Unmarshal(raw, &s) == nil && strings.EqualFold(s, "true"):
		b = true
		return &b
	case s != "" && strings.EqualFold(s, "false"), s == "" && f.form:
		return &b
	}
	f.wrong(name, "must be true or false")
	return nil
}

// order is that of the published table of attributes.
var order = []string{"to", "from", "message", "token_length", "valid_for", "max_attempts", "allow_alphas", "allow_alpha", "token"}

// mistyped is the error that names every bad attribute: those that could not be read, and those
// that the service's rules refuse.
func (f *fields) mistyped(rules error) error {
	var refused *verify.Error
	if errors.As(rules, &refused) {
		for _, p := range refused.Problems {
			if name := attributes[p.Field]; f.problems[name] == "" {
				f.wrong(name, p.Message)
			}
		}
	}
	return &invalid{f.problems}
}

// invalid is a request with bad attributes, by their published names.
type invalid struct{ problems map[string]string }

func (e *invalid) Error() string { return "bad attributes" }

// details are the sentences for the caller, in the order of the published table.
func (e *invalid) details() []string {
	var all []string
	for _, name := range order {
		if problem, ok := e.problems[name]; ok {
			all = append(all, humanize(name)+" "+problem)
		}
	}
	return all
}
