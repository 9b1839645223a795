// Package request reads the body of a request into named fields, as strictly as two readers of one
// request need to agree on what it says, and as generously about types as published clients need.
// What the fields mean, and which there are, is a face's business.
package request

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxBody is the largest body that is read, in bytes.
const MaxBody = 64 << 10

// Large reports whether a request may be larger than nearly all are: its body takes a place while it is
// read. One that doesn't say how large it is may be.
func Large(r *http.Request) bool { return r.ContentLength < 0 || r.ContentLength > 4<<10 }

// Errors of reading a request, each with its status.
var (
	ErrUnreadable = errors.New("unreadable body")          // 400
	ErrTooLarge   = errors.New("body too large")           // 413
	ErrMediaType  = errors.New("unsupported content type") // 415

	// ErrEmpty is an ErrUnreadable, for a face that can do without a body.
	ErrEmpty = fmt.Errorf("%w: it is empty", ErrUnreadable)
)

// The media types that a face may accept.
const (
	JSON = "application/json"
	Form = "application/x-www-form-urlencoded"
)

// CodeOf is a word for an error of [Read]; "" for others.
func CodeOf(err error) string {
	switch {
	case errors.Is(err, ErrUnreadable):
		return "unreadable"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrMediaType):
		return "media_type"
	}
	return ""
}

// Fields are a request's attributes by their published names, as JSON, and what was wrong with
// those that were asked for. Names are case-sensitive; unknown ones are ignored; null is absent.
// The zero Fields are none.
type Fields struct {
	// Problems says what is wrong with a field, without its name: "must be a string".
	Problems map[string]string

	raw  map[string]json.RawMessage
	form bool // every value came as text
}

// Read reads a request's body, of one of the given types. Without a content type it is taken for JSON, and
// without a charset for UTF-8. Others are refused: what two readers take for different texts may pass the one
// and reach the other.
func Read(r *http.Request, types ...string) (Fields, error) {
	var params map[string]string
	kind := cmp.Or(r.Header.Get("Content-Type"), JSON)
	if !slices.Contains(types, kind) { // most clients write one just so
		var err error
		if kind, params, err = mime.ParseMediaType(kind); err != nil || !slices.Contains(types, kind) {
			return Fields{}, ErrMediaType
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return Fields{}, ErrTooLarge
	}
	if err != nil {
		return Fields{}, ErrUnreadable
	}
	if !readable(params["charset"], body) {
		return Fields{}, ErrMediaType
	}
	if len(body) == 0 {
		return Fields{}, ErrEmpty
	}
	f := Fields{form: kind == Form}
	if f.form {
		f.raw, err = form(body)
	} else {
		f.raw, err = object(body)
	}
	return f, err
}

// readable reports whether a text of a charset reads the same in UTF-8.
func readable(charset string, text []byte) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8":
		return true
	case "us-ascii", "iso-8859-1": // what some libraries write, whatever the text is
		return !bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
	}
	return false
}

// object reads one JSON object. A name that stands in it twice is refused: which of the two counts
// would be our guess, and a proxy's before us may differ.
func object(body []byte) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if json.Unmarshal(body, &all) != nil || all == nil || !utf8.Valid(body) || members(body) != len(all) {
		return nil, ErrUnreadable
	}
	maps.DeleteFunc(all, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	return all, nil
}

// members counts what stands in a valid JSON object, names that stand there twice as well: every
// member has one colon outside of strings and of what is nested.
func members(object []byte) (n int) {
	depth, quoted := 0, false
	for i := 0; i < len(object); i++ {
		switch c := object[i]; {
		case quoted && c == '\\':
			i++ // what is escaped ends no string
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ':' && depth == 1:
			n++
		}
	}
	return n
}

// formPlus gives a number its plus back, of which a form that wasn't escaped makes a space. No calling code
// begins with 0, as national numbers do.
func formPlus(s string) string {
	if rest, ok := strings.CutPrefix(s, " "); ok && rest != "" && '1' <= rest[0] && rest[0] <= '9' {
		return "+" + rest
	}
	return s
}

// form reads a form as if each value were a JSON string.
func form(body []byte) (map[string]json.RawMessage, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, ErrUnreadable
	}
	all := map[string]json.RawMessage{}
	for name, v := range values {
		if len(v) > 1 || !utf8.ValidString(v[0]) {
			return nil, ErrUnreadable
		}
		if name == "to" || name == "from" {
			v[0] = formPlus(v[0])
		}
		if all[name], err = json.Marshal(v[0]); err != nil {
			return nil, ErrUnreadable
		}
	}
	return all, nil
}

// Wrong notes a problem with a field, in the place of one that was noted before.
func (f *Fields) Wrong(name, problem string) {
	if f.Problems == nil {
		f.Problems = map[string]string{}
	}
	f.Problems[name] = problem
}

// Raw returns a field as JSON, or nil where there is none.
func (f *Fields) Raw(name string) json.RawMessage { return f.raw[name] }

// Text returns a string, or "" where there is none.
func (f *Fields) Text(name string) (s string) {
	raw, ok := f.raw[name]
	switch {
	case !ok:
	case raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0: // as most are: what stands between the quotes
		s = string(raw[1 : len(raw)-1])
	case json.Unmarshal(raw, &s) != nil:
		f.Wrong(name, "must be a string")
	}
	return s
}

// Integer returns a number, given as such or as a string, or nil where there is none.
func (f *Fields) Integer(name string) *int {
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
		f.Wrong(name, "must be an integer")
	default:
		f.Wrong(name, "is not a number")
	}
	return nil
}

func isNumber(s string) bool {
	var n json.Number
	return json.Unmarshal([]byte(s), &n) == nil && n != ""
}

// Boolean returns a boolean, given as such or as a string in any case, or nil where there is none.
func (f *Fields) Boolean(name string) *bool {
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
	f.Wrong(name, "must be true or false")
	return nil
}
