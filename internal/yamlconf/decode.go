// Package yamlconf reads a configuration struct from YAML and reports all problems together, with
// their lines. It also prints a configuration as YAML, with the struct's doc comments as the
// explanation.
//
// A field's yaml tag is its key, and its default tag its default. A field is a string, an int, a
// float64, a bool, an [encoding.TextUnmarshaler], a struct of such fields, or a slice of strings or
// structs.
package yamlconf

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A Problem is one error in a file.
type Problem struct {
	Line    int    // from 1; 0 if the file doesn't contain the key
	Key     string // such as carriers[0].http.url; "" for the whole file
	Message string
}

// Problems holds all errors in a file.
type Problems struct {
	List  []Problem
	lines map[string]int
}

// Check records a problem with a key unless ok is true. It records only the first problem of a
// key and of the keys around it: a value that couldn't be read can't be checked for its range.
func (p *Problems) Check(key string, ok bool, format string, args ...any) {
	if ok || !p.Fine(key) {
		return
	}
	p.List = append(p.List, Problem{p.line(key), key, fmt.Sprintf(format, args...)})
}

// Fine reports whether the given keys, and the keys around them, have no recorded
// problem.
func (p *Problems) Fine(keys ...string) bool {
	return !slices.ContainsFunc(p.List, func(q Problem) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return within(key, q.Key) })
	})
}

// within reports whether a key equals another one or is inside it.
func within(key, other string) bool {
	rest, ok := strings.CutPrefix(key, other)
	return ok && (other == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// line returns the line of a key, or else of the nearest key around it.
func (p *Problems) line(key string) int {
	for key != "" {
		if n := p.lines[key]; n > 0 {
			return n
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 0
}

// Describe returns all problems as one text, in the order of their lines.
func (p *Problems) Describe(file string) string {
	slices.SortStableFunc(p.List, func(a, b Problem) int { return a.Line - b.Line })
	var b strings.Builder
	fmt.Fprintf(&b, "%s is wrong:", file)
	for _, q := range p.List {
		b.WriteString("\n  ")
		if q.Line > 0 {
			fmt.Fprintf(&b, "line %d: ", q.Line)
		}
		if q.Key != "" {
			b.WriteString(q.Key + ": ")
		}
		b.WriteString(q.Message)
	}
	return b.String()
}

// A Duration is a time.Duration as a file writes it: 10s, 2m, 720h.
type Duration time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("must be a duration such as 10s, 2m or 720h")
	}
	*d = Duration(v)
	return nil
}

// String formats the duration without the trailing zero units of
// [time.Duration.String].
func (d Duration) String() string {
	s := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = strings.TrimSuffix(s, zero[1:])
		}
	}
	return s
}

// Decode sets the struct that into points to, first to its defaults, then from the text.
func Decode(text []byte, into any) Problems {
	d := decoder{Problems{lines: map[string]int{}}}
	v := reflect.ValueOf(into).Elem()
	preset(v)
	text = bytes.TrimPrefix(text, []byte("\ufeff"))                        // some editors begin files with a byte order mark
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey()) // mapping reports duplicate keys itself
	if err != nil {
		d.List = append(d.List, unreadable(err))
		return d.Problems
	}
	if len(file.Docs) > 1 {
		d.List = append(d.List, Problem{Message: "has more than one document"})
		return d.Problems
	}
	if len(file.Docs) == 1 && file.Docs[0].Body != nil {
		d.value("", file.Docs[0].Body, v)
	}
	return d.Problems
}

// unreadable returns the parser's message without the lines of the file that it quotes,
// because they may hold a secret.
func unreadable(err error) Problem {
	var located yaml.Error
	if !errors.As(err, &located) {
		return Problem{Message: "not YAML"}
	}
	p := Problem{Message: "not YAML: " + located.GetMessage()}
	if t := located.GetToken(); t != nil && t.Position != nil {
		p.Line = t.Position.Line
	}
	return p
}

// preset sets the defaults of a struct.
func preset(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		if text := v.Type().Field(i).Tag.Get("default"); text != "" {
			if err := scalar(text, f); err != nil {
				panic(fmt.Sprintf("default of %s: %v", v.Type().Field(i).Name, err))
			}
		} else if f.Kind() == reflect.Struct {
			preset(f)
		}
	}
}

type decoder struct{ Problems }

// value decodes any node.
func (d *decoder) value(key string, n ast.Node, v reflect.Value) {
	if n.Type() == ast.NullType {
		return // null means absent
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.Check(key, false, "must be written out: anchors, aliases and tags mean nothing here")
		return
	}
	switch {
	case v.Kind() == reflect.Struct:
		d.mapping(key, n, v)
	case v.Kind() == reflect.Slice:
		d.sequence(key, n, v)
	default:
		s, ok := n.(ast.ScalarNode)
		if !ok {
			d.Check(key, false, "must be a single value")
			return
		}
		text := s.GetToken().Value
		if block, ok := n.(*ast.LiteralNode); ok { // the token is only the | or >
			text = block.Value.Value
		}
		if err := scalar(text, v); err != nil {
			d.Check(key, false, "%v", err)
		}
	}
}

func (d *decoder) mapping(key string, n ast.Node, v reflect.Value) {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		d.Check(key, false, "must be a group of keys")
		return
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		name := pair.Key.GetToken().Value
		child := strings.TrimPrefix(key+"."+name, ".")
		line := pair.Key.GetToken().Position.Line
		field, ok := fieldNamed(v, name)
		switch {
		case !ok:
			d.List = append(d.List, Problem{line, child, "there is no such key" + suggest(name, v.Type())})
			continue
		case seen[name]:
			d.List = append(d.List, Problem{line, child, "stands here twice"})
			continue
		}
		seen[name] = true
		d.lines[child] = line
		d.value(child, pair.Value, field)
	}
}

func (d *decoder) sequence(key string, n ast.Node, v reflect.Value) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.Check(key, false, "must be a list")
		return
	}
	for i, item := range s.Values {
		child := fmt.Sprintf("%s[%d]", key, i)
		d.lines[child] = item.GetToken().Position.Line
		element := reflect.New(v.Type().Elem()).Elem()
		if element.Kind() == reflect.Struct {
			preset(element)
		}
		d.value(child, item, element)
		v.Set(reflect.Append(v, element))
	}
}

// scalar sets a single value from its text.
func scalar(text string, v reflect.Value) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("must be a whole number")
		}
		v.SetInt(int64(n))
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("must be a number")
		}
		v.SetFloat(n)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("must be true or false")
		}
		v.SetBool(text == "true")
	default:
		panic("yamlconf: a configuration has a " + v.Type().String())
	}
	return nil
}

func fieldNamed(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// suggest returns the key that was probably meant, or the valid keys.
func suggest(name string, t reflect.Type) string {
	best, least := "", 3
	var all []string
	for i := range t.NumField() {
		known := t.Field(i).Tag.Get("yaml")
		all = append(all, known)
		if n := distance(strings.ToLower(name), known); n < least && n < len(known) {
			best, least = known, n
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return "; here stand " + strings.Join(all, ", ")
}

// distance returns the Levenshtein distance: the number of letters to add, drop
// or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
