package provider

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// A reader reads an answer into what [find] finds values in. It returns nil for an answer of another form.
type reader func(answer []byte) any

// reader returns the reader of the API's answers.
func (s Spec) reader() (reader, error) {
	switch s.Answers {
	case "xml":
		return parseXML, nil
	case "text":
		pattern, err := regexp.Compile(s.Pattern)
		if err != nil {
			return nil, fmt.Errorf("pattern: not a regular expression: %w", err)
		}
		if strings.Join(pattern.SubexpNames(), "") == "" {
			return nil, fmt.Errorf("pattern: needs a named group, such as (?P<id>[0-9]+)")
		}
		return func(answer []byte) any { return parseText(pattern, answer) }, nil
	}
	return parse, nil
}

// parseText returns what the named groups of a pattern match.
func parseText(pattern *regexp.Regexp, answer []byte) any {
	found := pattern.FindSubmatch(answer)
	if found == nil {
		return nil
	}
	doc := map[string]any{}
	for i, name := range pattern.SubexpNames() {
		if name != "" && found[i] != nil {
			doc[name] = string(found[i])
		}
	}
	return doc
}

type (
	// An element is one of XML with attributes or other elements in it, by their names: "@id" is an attribute, "" the text.
	// Elements of one name are a list.
	element map[string]any
	// A text is an element of XML that holds nothing else.
	text string
)

// maxDepth bounds how deep elements are read.
const maxDepth = 32

// parseXML reads XML. It knows the five entities of XML only, reads no document types, and gives up at the first error.
func parseXML(answer []byte) any {
	d := xml.NewDecoder(bytes.NewReader(answer))
	d.CharsetReader = charset
	root := element{}
	open := []element{root}
	var names []string
	for {
		token, err := d.Token()
		if err == io.EOF && len(names) == 0 && len(root) > 0 {
			return root
		}
		if err != nil {
			return nil
		}
		switch token := token.(type) {
		case xml.StartElement:
			if len(open) > maxDepth {
				return nil
			}
			e := element{}
			for _, a := range token.Attr {
				e["@"+a.Name.Local] = text(a.Value)
			}
			open, names = append(open, e), append(names, token.Name.Local)
		case xml.EndElement:
			e, name := open[len(open)-1], names[len(names)-1]
			open, names = open[:len(open)-1], names[:len(names)-1]
			open[len(open)-1].add(name, e.plain())
		case xml.CharData:
			in := open[len(open)-1]
			before, _ := in[""].(text)
			in[""] = before + text(token)
		}
	}
}

// add adds an inner element.
func (e element) add(name string, inner any) {
	switch before := e[name].(type) {
	case nil:
		e[name] = inner
	case []any:
		e[name] = append(before, inner)
	default:
		e[name] = []any{before, inner}
	}
}

// plain returns an element as a text, if it is one.
func (e element) plain() any {
	inner, _ := e[""].(text)
	inner = text(strings.TrimSpace(string(inner)))
	if len(e) == 0 || len(e) == 1 && e[""] != nil {
		return inner
	}
	e[""] = inner
	return e
}

// charset reads the encodings in which an answer's values are bytes of ASCII. Others fail.
func charset(name string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "us-ascii", "ascii", "utf8":
		return in, nil
	case "iso-8859-1", "latin1", "windows-1252":
		all, err := io.ReadAll(in)
		var b strings.Builder
		for _, c := range all {
			b.WriteRune(rune(c))
		}
		return strings.NewReader(b.String()), err
	}
	return nil, fmt.Errorf("the encoding isn't known")
}
