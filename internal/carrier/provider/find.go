package provider

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// parse reads a JSON text; nil if it is none. Numbers stay as they are written.
func parse(text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc any
	if d.Decode(&doc) != nil {
		return nil
	}
	return doc
}

// at returns what stands at a path: names and indexes with dots between; nil if nothing does.
func at(doc any, path string) any {
	if path == "" {
		return doc
	}
	for step := range strings.SplitSeq(path, ".") {
		switch in := doc.(type) {
		case map[string]any:
			doc = in[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(in) {
				return nil
			}
			doc = in[i]
		default:
			return nil
		}
	}
	return doc
}

// find returns the text of a single value at a path; "" if there is none.
func find(doc any, path string) string {
	if path == "" {
		return ""
	}
	switch v := at(doc, path).(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	default:
		return ""
	}
}

// fits reports whether a rule is about an answer. What it matched is one of the rule's own values.
func (r RuleSpec) fits(status int, doc any) (matched string, ok bool) {
	text := strconv.Itoa(status)
	if len(r.Status) > 0 && !slices.ContainsFunc(r.Status, func(p string) bool {
		return p == text || p[1:] == "xx" && p[0] == text[0]
	}) {
		return "", false
	}
	if r.Path == "" {
		return "", true
	}
	value := find(doc, r.Path)
	switch {
	case value == "":
		return "", false
	case len(r.Values) == 0:
		return "", true
	}
	return value, slices.Contains(r.Values, value)
}
