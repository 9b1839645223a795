package yamlconf

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
)

// Docs holds the doc comments of a configuration's fields, by type and field
// name.
type Docs map[string]string

// ParseDocs reads the doc comments from the Go source that declares the types, so that code
// and documentation share one text.
func ParseDocs(source []byte) (Docs, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	docs := Docs{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					docs[spec.Name.Name+"."+name.Name] = strings.TrimSpace(f.Doc.Text())
				}
			}
		}
		return false
	})
	return docs, nil
}

// text returns a field's comment as the file shows it: it begins with the key instead of the Go
// name.
func (d Docs) text(t reflect.Type, f reflect.StructField) string {
	text := d[t.Name()+"."+f.Name]
	if rest, ok := strings.CutPrefix(text, f.Name+" "); ok {
		text = f.Tag.Get("yaml") + " " + rest
	}
	return text
}

// Print formats a configuration as YAML, each key below its comment. If examples is true, an
// empty key with an example tag shows the example, and an empty list of structs shows one entry,
// unless its examples tag is none: where an entry changes what everything else means.
func (d Docs) Print(config any, examples bool) string {
	p := printer{docs: d, examples: examples}
	p.fields(reflect.ValueOf(config), "", "")
	return p.out.String()
}

type printer struct {
	docs     Docs
	examples bool
	out      strings.Builder
}

// fields writes a struct's keys. lead replaces the first key's indent; it may
// hold a list's dash.
func (p *printer) fields(v reflect.Value, indent, lead string) {
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		if indent == "" && i > 0 {
			p.out.WriteByte('\n')
		}
		for _, line := range strings.Split(p.docs.text(v.Type(), t), "\n") {
			p.out.WriteString(strings.TrimRight(indent+"# "+line, " ") + "\n")
		}
		if lead != "" { // the comment is above the dash
			fmt.Fprintf(&p.out, "%s%s:", lead, t.Tag.Get("yaml"))
			lead = ""
		} else {
			fmt.Fprintf(&p.out, "%s%s:", indent, t.Tag.Get("yaml"))
		}
		p.value(f, t, indent)
	}
}

func (p *printer) value(v reflect.Value, t reflect.StructField, indent string) {
	switch v.Kind() {
	case reflect.Struct:
		p.out.WriteByte('\n')
		p.fields(v, indent+"  ", "")
	case reflect.Slice:
		p.list(v, t, indent)
	default:
		text := fmt.Sprint(v.Interface())
		if p.examples && text == "" {
			text = t.Tag.Get("example")
		}
		if v.Kind() == reflect.String {
			text = quote(text)
		}
		fmt.Fprintf(&p.out, " %s\n", text)
	}
}

func (p *printer) list(v reflect.Value, t reflect.StructField, indent string) {
	if example := t.Tag.Get("example"); v.Len() == 0 && p.examples && t.Tag.Get("examples") != "none" {
		one := reflect.New(v.Type().Elem()).Elem()
		if one.Kind() == reflect.Struct {
			preset(one)
			v = reflect.Append(v, one)
		} else if example != "" {
			one.SetString(example)
			v = reflect.Append(v, one)
		}
	}
	if v.Len() == 0 {
		p.out.WriteString(" []\n")
		return
	}
	p.out.WriteByte('\n')
	for i := range v.Len() {
		if e := v.Index(i); e.Kind() == reflect.Struct {
			p.fields(e, indent+"    ", indent+"  - ")
		} else {
			fmt.Fprintf(&p.out, "%s  - %s\n", indent, quote(e.String()))
		}
	}
}

// quote formats a string so that every YAML reader reads it as that string.
func quote(s string) string { return strconv.Quote(s) }

// Table returns the reference of all keys as a Markdown table.
func (d Docs) Table(config any) string {
	var b strings.Builder
	b.WriteString("| key | default | meaning |\n|---|---|---|\n")
	d.rows(&b, reflect.ValueOf(config).Type(), "")
	return b.String()
}

func (d Docs) rows(b *strings.Builder, t reflect.Type, prefix string) {
	for i := range t.NumField() {
		f := t.Field(i)
		key, kind := prefix+f.Tag.Get("yaml"), f.Type
		preset := ""
		if text := f.Tag.Get("default"); text != "" {
			preset = "`" + text + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, preset, strings.NewReplacer("\n", " ", "|", `\|`).Replace(d.text(t, f)))
		switch {
		case kind.Kind() == reflect.Slice && kind.Elem().Kind() == reflect.Struct:
			d.rows(b, kind.Elem(), key+"[].")
		case kind.Kind() == reflect.Struct:
			d.rows(b, kind, key+".")
		}
	}
}
