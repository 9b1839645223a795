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

// Docs are the doc comments of a configuration's fields, by type and field name.
type Docs map[string]string

// ParseDocs reads them from the Go source that declares the types, so that there is one text.
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

// text is a field's comment in the words of the file: it begins with the key, not with Go's name.
func (d Docs) text(t reflect.Type, f reflect.StructField) string {
	text := d[t.Name()+"."+f.Name]
	if rest, ok := strings.CutPrefix(text, f.Name+" "); ok {
		text = f.Tag.Get("yaml") + " " + rest
	}
	return text
}

// Print writes a configuration as YAML, each key with its comment. With examples, empty keys that
// have an example tag show that, and empty lists of structs one entry.
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

// fields writes a struct's keys; the first line's indent may hold a list's dash.
func (p *printer) fields(v reflect.Value, indent, lead string) {
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		if indent == "" && i > 0 {
			p.out.WriteByte('\n')
		}
		for _, line := range strings.Split(p.docs.text(v.Type(), t), "\n") {
			p.out.WriteString(strings.TrimRight(indent+"# "+line, " ") + "\n")
		}
		if lead != "" { // a comment stands before the dash
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
	if example := t.Tag.Get("example"); v.Len() == 0 && p.examples {
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

// quote writes a string so that no YAML reader takes it for anything else.
func quote(s string) string { return strconv.Quote(s) }

// Table writes the reference: a Markdown table of all keys.
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
