// Package request reads the body of an HTTP request into named fields. It is strict where two
// readers of one request could disagree on its meaning, and lenient about types where published
// clients need that. Each face defines its own fields and their meaning.
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

// MaxBody is the size of the largest accepted body, in bytes.
const MaxBody = 64 << 10

// Large reports whether a request may be larger than nearly all requests are. A request without a
// length may be. The body of a large request takes a place while it is read.
func Large(r *http.Request) bool { return r.ContentLength < 0 || r.ContentLength > 4<<10 }

// Errors of [Read], each with its HTTP status.
var (
	ErrUnreadable = errors.New("unreadable body")          // 400
	ErrTooLarge   = errors.New("body too large")           // 413
	ErrMediaType  = errors.New("unsupported content type") // 415

	// ErrEmpty is an ErrUnreadable, for faces that accept a request without a
	// body.
	ErrEmpty = fmt.Errorf("%w: it is empty", ErrUnreadable)
)

// The media types that a face may accept.
const (
	JSON = "application/json"
	Form = "application/x-www-form-urlencoded"
)

// CodeOf returns a short code for an error of [Read], and "" for any other
// error.
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

// Fields holds a request's attributes by their published names, as JSON, and the problems found
// while reading them. Names are case-sensitive; unknown names are ignored; null counts as
// absent. The zero Fields is empty.
type Fields struct {
	// Problems maps a field to its problem, without the field's name: "must be a
	// string".
	Problems map[string]string

	raw  map[string]json.RawMessage
	form bool // every value was sent as text
}

// Read reads a request's body, which must have one of the given media types. The default type is JSON, and
// the default charset is UTF-8. Read refuses texts that two readers could read differently: one reader might
// let a text pass that the next one understands as another.
func Read(r *http.Request, types ...string) (Fields, error) {
	var params map[string]string
	kind := cmp.Or(r.Header.Get("Content-Type"), JSON)
	if !slices.Contains(types, kind) { // most clients write a type exactly like this
		var err error
		if kind, params, err = mime.ParseMediaType(kind); err != nil || !slices.Contains(types, kind) {
			return Fields{}, ErrMediaType
		}
	}
	body, err := whole(r)
	if err != nil {
		return Fields{}, err
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

// whole reads a body. Most requests announce its length.
func whole(r *http.Request) (body []byte, err error) {
	if n := r.ContentLength; 0 < n && n <= MaxBody {
		body = make([]byte, n)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, ErrTooLarge
	case err != nil:
		return nil, ErrUnreadable
	}
	return body, nil
}

// readable reports whether a text of a charset reads the same in UTF-8.
func readable(charset string, text []byte) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8":
		return true
	case "us-ascii", "iso-8859-1": // some libraries write these, whatever the text is
		return !bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
	}
	return false
}

// object reads one JSON object. It refuses duplicate names: readers differ on which of the two
// counts, so we and a proxy before us may disagree. Once the whole text is known to be valid, one pass finds
// the members, at a fraction of what decoding them costs.
func object(body []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(body) || !utf8.Valid(body) || bytes.TrimSpace(body)[0] != '{' {
		return nil, ErrUnreadable
	}
	all := make(map[string]json.RawMessage, 4)
	depth, quoted := 0, false
	begin, colon := 0, 0 // of the current member
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++ // an escaped character doesn't end a string
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ':' && depth == 1:
			colon = i
		case depth == 1 && (c == ',' || c == '}') && colon > begin:
			name := memberName(body[begin:colon])
			if _, twice := all[name]; twice {
				return nil, ErrUnreadable
			}
			all[name] = bytes.TrimSpace(body[colon+1 : i])
			begin = i + 1
		case c == '{' || c == '[':
			if depth++; depth == 1 {
				begin = i + 1
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	maps.DeleteFunc(all, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	return all, nil
}

// memberName decodes a member's name, which may have space around it.
func memberName(raw []byte) (name string) {
	raw = bytes.TrimSpace(raw)
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	json.Unmarshal(raw, &name)
	return name
}

// formPlus restores the plus of a number that was sent in a form without escaping, which turns the plus
// into a space. A digit from 1 to 9 must follow, because no calling code begins with 0, as national numbers
// do.
func formPlus(s string) string {
	if rest, ok := strings.CutPrefix(s, " "); ok && rest != "" && '1' <= rest[0] && rest[0] <= '9' {
		return "+" + rest
	}
	return s
}

// Query reads a request's query as a form is read. It fails with [ErrUnreadable].
func Query(r *http.Request) (f Fields, err error) {
	f.form = true
	f.raw, err = form([]byte(r.URL.RawQuery))
	return f, err
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

// Object reads one JSON object that is part of a body, as a body is read. It fails with [ErrUnreadable].
func Object(raw json.RawMessage) (f Fields, err error) {
	f.raw, err = object(raw)
	return f, err
}

// Wrong records a problem with a field, replacing an earlier one.
func (f *Fields) Wrong(name, problem string) {
	if f.Problems == nil {
		f.Problems = map[string]string{}
	}
	f.Problems[name] = problem
}

// AsText reports whether every value was sent as text: in a form, or in a query.
func (f *Fields) AsText() bool { return f.form }

// JSONAsForm reports whether the body is JSON that was sent as a form, as curl -d does without a header.
func (f *Fields) JSONAsForm() bool {
	for name := range f.raw {
		if f.form && strings.HasPrefix(strings.TrimSpace(name), "{") {
			return true
		}
	}
	return false
}

// Names returns the fields' names, sorted.
func (f *Fields) Names() []string { return slices.Sorted(maps.Keys(f.raw)) }

// Raw returns a field as JSON, or nil if it is absent.
func (f *Fields) Raw(name string) json.RawMessage { return f.raw[name] }

// Text returns a string field, or "" if it is absent.
func (f *Fields) Text(name string) (s string) {
	raw, ok := f.raw[name]
	switch {
	case !ok:
	case raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0: // most strings have no escapes, so the text between the quotes is the value
		s = string(raw[1 : len(raw)-1])
	case json.Unmarshal(raw, &s) != nil:
		f.Wrong(name, "must be a string")
	}
	return s
}

// Integer returns an integer field, sent as a number or as a string, or nil if it is
// absent.
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
			return nil // an input that was left empty
		}
	}
	n, err := strconv.Atoi(literal)
	switch {
	case err == nil, errors.Is(err, strconv.ErrRange): // out of range, n is the nearest int, which every bound refuses
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

// Boolean returns a boolean field, sent as a boolean or as a string in any case, or nil if it is
// absent.
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
