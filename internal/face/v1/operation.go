package v1

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// An operation is one thing that the API does, with what its description says.
type operation struct {
	method, path  string
	summary, text string
	endpointOf
}

// An endpointOf answers requests. It has the types that it reads and writes.
type endpointOf struct {
	answer    func(face.Call) (any, error)
	status    int // of a success
	in, out   reflect.Type
	fromQuery bool          // in is read from the query, not from a body
	needs     verify.Scopes // of a key
}

func describe(method, path, summary, text string, e endpointOf) operation {
	return operation{method, path, summary, text, e}
}

// needing says which scopes an operation needs. One without is for keys that have all of them.
func (o operation) needing(scopes verify.Scopes) operation {
	o.needs = scopes
	return o
}

func (o *operation) scopes() verify.Scopes { return cmp.Or(o.needs, verify.AllScopes) }

// endpoint makes an endpoint of a function. rules, if given, says all else that is wrong with a request whose
// fields can't all be read.
func endpoint[In, Out any](s *Server, status int, f func(face.Call, In) (Out, error), rules ...func(face.Call, In) error) endpointOf {
	return endpointOf{status: status, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), answer: func(c face.Call) (any, error) {
		if body, ok := c.Body.(*keyedBody); ok {
			return s.once(c, body, func(c face.Call) (any, error) { return answer(s, c, f, rules...) })
		}
		return answer(s, c, f, rules...)
	}}
}

// query makes an endpoint of a function whose input is the request's query.
func query[In, Out any](s *Server, f func(face.Call, In) (Out, error)) endpointOf {
	return endpointOf{status: http.StatusOK, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), fromQuery: true, answer: func(c face.Call) (any, error) {
		var err error
		if c.In, err = request.Query(c.Request); err != nil {
			return nil, err
		}
		return answer(s, c, f)
	}}
}

func answer[In, Out any](s *Server, c face.Call, f func(face.Call, In) (Out, error), rules ...func(face.Call, In) error) (any, error) {
	var in In
	decode(&c.In, &in)
	if len(c.In.Problems) == 0 {
		out, err := f(c, in)
		if _, empty := any(out).(none); empty {
			return nil, err
		}
		return out, err
	}
	var broken error
	for _, rule := range rules {
		broken = rule(c, in)
	}
	return nil, s.Invalid(c.In, broken)
}

// decode reads fields into a struct. It notes the problem of each field that has another type or another value than
// the struct's tags allow, of each that is missing, and of each that nobody knows. All other bounds are the
// service's.
func decode(in *request.Fields, into any) {
	v := reflect.ValueOf(into).Elem()
	known := make([]string, v.NumField())
	for i := range known {
		field := v.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		known[i] = name
		raw := in.Raw(name)
		switch {
		case raw == nil && options == "":
			in.Wrong(name, "is required")
		case raw == nil:
		case in.AsText() && string(raw) == `""`:
			in.Wrong(name, "must not be empty; leave it out")
		case halved(raw):
			in.Wrong(name, "has half of a surrogate pair, such as \\ud83d without what follows it: send whole characters")
		case isList(field.Type):
			decodeList(in, name, raw, v.Field(i))
		case json.Unmarshal(number(in, field.Type, raw), v.Field(i).Addr().Interface()) != nil:
			in.Wrong(name, "must be "+typeName(field.Type))
		case !allowed(field.Tag.Get("enum"), v.Field(i)):
			in.Wrong(name, "must be one of: "+strings.ReplaceAll(field.Tag.Get("enum"), ",", ", "))
		}
	}
	unknown := slices.DeleteFunc(in.Names(), func(name string) bool { return slices.Contains(known, name) })
	for i, name := range unknown[:min(len(unknown), maxUnknown)] {
		if len(name) > maxUnknown {
			name = strings.ToValidUTF8(name[:maxUnknown], "") + "…"
		}
		problem := "is unknown"
		if i == 0 {
			problem += "; known: " + strings.Join(known, ", ")
		}
		in.Wrong(name, problem)
	}
}

// isList reports whether a type is a list of objects.
func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

// decodeList reads a list of objects into a slice, each as [decode] reads a body.
func decodeList(in *request.Fields, name string, raw []byte, into reflect.Value) {
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil {
		in.Wrong(name, "must be an array of objects")
		return
	}
	if len(elements) > maxElements {
		in.Wrong(name, "is too long (maximum is "+strconv.Itoa(maxElements)+" objects)")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(elements), len(elements)))
	for i, element := range elements {
		at := name + "[" + strconv.Itoa(i) + "]"
		one, err := request.Object(element)
		if err != nil {
			in.Wrong(at, "must be an object that has no name twice")
			continue
		}
		decode(&one, into.Index(i).Addr().Interface())
		for part, problem := range one.Problems {
			in.Wrong(at+"."+part, problem)
		}
	}
}

// maxElements is how many objects a list may have. The service bounds each list as well.
const maxElements = 256

// halved reports whether a valid JSON text has an escape of one half of a surrogate pair. Decoding would replace it by
// U+FFFD, so that what is stored isn't what was sent.
func halved(raw []byte) bool {
	pending := false // a first half
	for i := 0; ; {
		at := bytes.IndexByte(raw[i:], '\\')
		if pending && at != 0 {
			return true
		}
		if at < 0 {
			return false
		}
		if i += at; raw[i+1] != 'u' {
			if pending {
				return true
			}
			i += 2
			continue
		}
		unit, _ := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
		second := 0xDC00 <= unit && unit < 0xE000
		if second != pending {
			return true
		}
		pending = 0xD800 <= unit && unit < 0xDC00
		i += 6
	}
}

// maxUnknown is how many unknown fields are told, and how many bytes of a name are repeated.
const maxUnknown = 32

// number takes a number of a query out of its quotes.
func number(in *request.Fields, t reflect.Type, raw []byte) []byte {
	if in.AsText() && t == reflect.TypeFor[*int]() {
		return raw[1 : len(raw)-1]
	}
	return raw
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "an array of strings"
	case reflect.Map:
		return "an object of strings"
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Int:
		return "an integer"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct:
		return "a time like 2026-01-31T12:00:00Z"
	}
	return "an " + t.Kind().String()
}

func allowed(enum string, v reflect.Value) bool {
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			if !allowed(enum, v.Index(i)) {
				return false
			}
		}
		return true
	}
	return enum == "" || slices.Contains(strings.Split(enum, ","), v.String())
}
