package manual

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A description is what a page shows of an OpenAPI document.
type description struct {
	Title, Version, Text string
	Auth                 []string // how callers say who they are
	Groups               []group
	Schemas              []schema
}

// A group is the operations on one kind of thing.
type group struct {
	Name       string
	Operations []operation
}

type operation struct {
	ID, Method, Path, Summary, Text string
	Parameters                      []field
	Body                            *body
	Answers                         []answer
	Problems                        []answer
	Curl                            string
}

// A body is what callers send.
type body struct {
	Types  string
	Schema string // its name; "" has none
	Fields []field
}

// An answer is one status of an operation.
type answer struct {
	Status, Text, Schema, Example string
}

type schema struct {
	Name, Text string
	Fields     []field
	Example    string
}

// A field of a body or an answer, or a parameter.
type field struct {
	Name, In, Type, Link, Text string
	Required                   bool
	Bounds                     []string
}

// The parts of an OpenAPI document that a page shows.
type document struct {
	Info       struct{ Title, Version, Description string }
	Paths      map[string]map[string]described
	Components struct {
		Schemas         map[string]*jsonSchema
		SecuritySchemes map[string]struct{ Type, Scheme, Description string }
	}
}

type described struct {
	OperationID, Summary, Description string
	Tags                              []string
	Parameters                        []struct {
		Name, In, Description string
		Required              bool
		Schema                *jsonSchema
	}
	RequestBody *struct{ Content map[string]content }
	Responses   map[string]struct {
		Description string
		Content     map[string]content
	}
}

type content struct {
	Schema  *jsonSchema
	Example any
}

type jsonSchema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Format, Pattern      string
	Description          string
	Enum, Examples       []any
	Default, Const       any
	Minimum, Maximum     *float64
	MinLength, MaxLength *int
	MinItems, MaxItems   *int
	MaxProperties        *int
	Items                *jsonSchema
	Properties           map[string]*jsonSchema
	AdditionalProperties any
	Required             []string
	OneOf, AnyOf         []*jsonSchema
}

func readDescription(text []byte) (*description, error) {
	var from document
	if err := json.Unmarshal(text, &from); err != nil {
		return nil, err
	}
	d := &description{Title: from.Info.Title, Version: from.Info.Version, Text: from.Info.Description}
	for _, name := range slices.Sorted(maps.Keys(from.Components.SecuritySchemes)) {
		s := from.Components.SecuritySchemes[name]
		d.Auth = append(d.Auth, strings.TrimSpace(strings.ToUpper(s.Scheme[:1])+s.Scheme[1:]+": "+s.Description))
	}
	groups := map[string]int{}
	for _, path := range slices.Sorted(maps.Keys(from.Paths)) {
		for _, method := range slices.SortedFunc(maps.Keys(from.Paths[path]), byMethod) {
			o := from.Paths[path][method]
			name := groupOf(path, o.Tags)
			at, ok := groups[name]
			if !ok {
				at = len(d.Groups)
				groups[name], d.Groups = at, append(d.Groups, group{Name: name})
			}
			d.Groups[at].Operations = append(d.Groups[at].Operations, from.operation(strings.ToUpper(method), path, o))
		}
	}
	slices.SortStableFunc(d.Groups, func(a, b group) int { return cmp.Compare(rank(a.Name), rank(b.Name)) })
	for _, name := range slices.Sorted(maps.Keys(from.Components.Schemas)) {
		s := from.Components.Schemas[name]
		d.Schemas = append(d.Schemas, schema{name, s.Description, from.fields(s), pretty(from.example(s, 0))})
	}
	return d, nil
}

// rank puts the groups that everybody needs before the others.
func rank(name string) int {
	if i := slices.Index([]string{"Verifications", "Checks"}, name); i >= 0 {
		return i
	}
	return 2
}

// byMethod orders a path's methods as people read them.
func byMethod(a, b string) int {
	order := []string{"post", "get", "put", "patch", "delete"}
	return cmp.Compare(slices.Index(order, a), slices.Index(order, b))
}

// groupOf names the group of an operation: its tag, or the first word of its path behind the API's prefix.
func groupOf(path string, tags []string) string {
	if len(tags) > 0 {
		return tags[0]
	}
	for _, part := range strings.Split(strings.Trim(path, "/"), "/")[1:] {
		return strings.ToUpper(part[:1]) + strings.ReplaceAll(part[1:], "_", " ")
	}
	return path
}

func (d *document) operation(method, path string, from described) operation {
	o := operation{ID: from.OperationID, Method: method, Path: path, Summary: from.Summary, Text: from.Description}
	for _, p := range from.Parameters {
		f := d.field(p.Name, p.Schema, p.Required)
		f.In, f.Text = p.In, cmp.Or(p.Description, f.Text)
		o.Parameters = append(o.Parameters, f)
	}
	if from.RequestBody != nil {
		o.Body = &body{Types: strings.Join(slices.Sorted(maps.Keys(from.RequestBody.Content)), ", ")}
		for _, kind := range slices.Sorted(maps.Keys(from.RequestBody.Content)) {
			s := from.RequestBody.Content[kind].Schema
			o.Body.Schema, o.Body.Fields = s.name(), d.fields(s)
			break
		}
	}
	for _, status := range slices.Sorted(maps.Keys(from.Responses)) {
		r := from.Responses[status]
		a := answer{Status: status, Text: r.Description}
		for _, c := range r.Content {
			a.Schema = c.Schema.name()
			if a.Example = pretty(d.example(c.Schema, 0)); c.Example != nil {
				a.Example = pretty(c.Example)
			}
		}
		if n, err := strconv.Atoi(status); err == nil && n >= http.StatusBadRequest {
			o.Problems = append(o.Problems, a)
		} else {
			o.Answers = append(o.Answers, a)
		}
	}
	o.Curl = d.curl(method, path, from)
	return o
}

// curl is a call of an operation, as somebody would try it.
func (d *document) curl(method, path string, from described) string {
	b := "curl -s"
	if from.RequestBody == nil && method != http.MethodGet {
		b += " -X " + method
	}
	for _, s := range d.Components.SecuritySchemes {
		if s.Scheme == "basic" {
			b += ` -u "$PROJECT:$TOKEN"`
		} else {
			b += ` -H "Authorization: Bearer $TOKEN"`
		}
		break
	}
	if from.RequestBody != nil {
		if method != http.MethodPost {
			b += " -X " + method
		}
		if c, ok := from.RequestBody.Content["application/json"]; ok {
			var compact bytes.Buffer
			json.Compact(&compact, []byte(pretty(d.required(c.Schema))))
			b += " \\\n  -H 'Content-Type: application/json' -d '" + compact.String() + "'"
		}
	}
	return b + " \\\n  \"$URL" + strings.NewReplacer("{", "$", "}", "").Replace(path) + "\""
}

// fields are those of an object, the required ones first.
func (d *document) fields(s *jsonSchema) (all []field) {
	s = d.resolve(s)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		all = append(all, d.field(name, s.Properties[name], slices.Contains(s.Required, name)))
	}
	slices.SortStableFunc(all, func(a, b field) int {
		switch {
		case a.Required == b.Required:
			return 0
		case a.Required:
			return -1
		}
		return 1
	})
	return all
}

func (d *document) field(name string, s *jsonSchema, required bool) field {
	f := field{Name: name, Required: required, Text: s.Description}
	f.Type, f.Link = s.typeName()
	if f.Text == "" && s.Ref != "" {
		f.Text = d.resolve(s).Description
	}
	f.Bounds = s.bounds()
	return f
}

func (d *document) resolve(s *jsonSchema) *jsonSchema {
	for s != nil && s.Ref != "" {
		s = d.Components.Schemas[s.name()]
	}
	if s == nil {
		return &jsonSchema{}
	}
	return s
}

// name is that of the schema that s refers to; "" is none.
func (s *jsonSchema) name() string {
	if s == nil {
		return ""
	}
	return s.Ref[strings.LastIndex(s.Ref, "/")+1:]
}

// kind is the type, without null.
func (s *jsonSchema) kind() string {
	switch t := s.Type.(type) {
	case string:
		return t
	case []any:
		for _, one := range t {
			if one != "null" {
				return fmt.Sprint(one)
			}
		}
	}
	return ""
}

// typeName is a schema's type in words, and the schema that they link to.
func (s *jsonSchema) typeName() (name, link string) {
	switch {
	case s.Ref != "":
		return s.name(), s.name()
	case s.kind() == "array" && s.Items != nil:
		name, link = s.Items.typeName()
		return "list of " + name, link
	case s.Format == "date-time":
		return "time", ""
	case s.Format == "uuid":
		return "id", ""
	case s.kind() == "" && len(s.OneOf)+len(s.AnyOf) > 0:
		for _, one := range append(s.OneOf, s.AnyOf...) {
			if n, _ := one.typeName(); n != "null" {
				name += " or " + n
			}
		}
		return strings.TrimPrefix(name, " or "), ""
	}
	if more, ok := s.AdditionalProperties.(map[string]any); ok && len(s.Properties) == 0 {
		return fmt.Sprintf("object of %vs", cmp.Or(more["type"], any("value"))), ""
	}
	return cmp.Or(s.kind(), "any value"), ""
}

// bounds are what a value must keep.
func (s *jsonSchema) bounds() (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if len(s.Enum) > 0 {
		words := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			words[i] = "`" + fmt.Sprint(v) + "`"
		}
		add("one of %s", strings.Join(words, ", "))
	}
	between(add, number(s.Minimum), number(s.Maximum), "")
	between(add, count(s.MinLength), count(s.MaxLength), " characters")
	between(add, count(s.MinItems), count(s.MaxItems), " items")
	if s.MaxProperties != nil {
		add("at most %d members", *s.MaxProperties)
	}
	if s.Pattern != "" {
		add("like `%s`", s.Pattern)
	}
	if s.Default != nil {
		add("default `%v`", s.Default)
	}
	return all
}

func between(add func(string, ...any), low, high, unit string) {
	switch {
	case low != "" && high != "":
		add("%s to %s%s", low, high, unit)
	case low != "" && low != "0":
		add("at least %s%s", low, unit)
	case high != "":
		add("at most %s%s", high, unit)
	}
}

func number(n *float64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatFloat(*n, 'f', -1, 64)
}

func count(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// example is a value of a schema.
func (d *document) example(s *jsonSchema, depth int) any {
	s = d.resolve(s)
	switch {
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	case len(s.OneOf) > 0:
		return d.example(s.OneOf[0], depth)
	case len(s.AnyOf) > 0:
		return d.example(s.AnyOf[0], depth)
	}
	switch s.kind() {
	case "object":
		o := ordered{}
		for _, f := range d.fields(s) {
			if depth < 4 {
				o = append(o, member{f.Name, d.example(s.Properties[f.Name], depth+1)})
			}
		}
		return o
	case "array":
		if s.Items == nil || depth > 4 {
			return []any{}
		}
		return []any{d.example(s.Items, depth+1)}
	case "integer", "number":
		if s.Minimum != nil {
			return *s.Minimum
		}
		return 1
	case "boolean":
		return false
	case "string":
		switch s.Format {
		case "date-time":
			return "2026-01-31T12:00:00Z"
		case "uuid":
			return "01a20001-6a64-717b-aab1-8ad86b1658e8"
		}
		return "…"
	}
	return nil
}

// required is an example of an object's required fields.
func (d *document) required(s *jsonSchema) any {
	o := ordered{}
	for _, f := range d.fields(s) {
		if f.Required {
			o = append(o, member{f.Name, d.example(d.resolve(s).Properties[f.Name], 1)})
		}
	}
	return o
}

// ordered is an object whose members keep their order.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements [json.Marshaler].
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", m.name, plain(m.value))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// plain is JSON that leaves < and & as they are.
func plain(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // decoded from JSON
	}
	return bytes.TrimSpace(b.Bytes())
}

func pretty(v any) string {
	if v == nil {
		return ""
	}
	var b bytes.Buffer
	json.Indent(&b, plain(v), "", "  ")
	return b.String()
}
