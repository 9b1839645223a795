package provider

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/carrier"
)

// parse parses a JSON text, keeping numbers as written. It returns nil if the
// text isn't JSON.
func parse(text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc any
	if d.Decode(&doc) != nil {
		return nil
	}
	return doc
}

// at returns the value at a path of names and indexes with dots between them, or nil if there
// is none. In XML, one element is like a list of one.
func at(doc any, path string) any {
	if path == "" {
		return doc
	}
	for step := range strings.SplitSeq(path, ".") {
		switch in := doc.(type) {
		case element:
			inner, ok := in[step]
			if !ok && step == "0" {
				continue
			}
			doc = inner
		case text:
			if step != "0" {
				return nil
			}
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

// find returns the single value at a path as text, or "" if there is none.
func find(doc any, path string) string {
	if path == "" {
		return ""
	}
	switch v := at(doc, path).(type) {
	case string:
		return v
	case text:
		return string(v)
	case element:
		inner, _ := v[""].(text)
		return string(inner)
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	default:
		return ""
	}
}

// fits reports whether a rule applies to an answer. matched is the value of the rule that the
// answer holds, if the rule has values, as the rule writes it: the answer may hold more.
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
	i := slices.IndexFunc(r.Values, func(v string) bool {
		end, ok := strings.CutPrefix(v, "*")
		return value == v || ok && strings.HasSuffix(value, end)
	})
	if i < 0 {
		return "", false
	}
	return r.Values[i], true
}

// usualCodes are the paths at which providers often have the code of an error.
var usualCodes = []string{"code", "error.code", "errors.0.code", "error_code", "errorCode", "type"}

// errorCode returns the provider's own code in an answer that a rule fits, or "" if there is none.
func (s Spec) errorCode(rule RuleSpec, doc any) string {
	paths := []string{s.Code, rule.Path}
	for _, r := range s.Rules {
		paths = append(paths, r.Path)
	}
	for _, path := range append(paths, usualCodes...) {
		if code := codeAt(doc, path); code != "" {
			return code
		}
	}
	return ""
}

// codeAt returns the code at a path. A truth value is none.
func codeAt(doc any, path string) string {
	if code := carrier.CleanCode(find(doc, path)); code != "true" && code != "false" {
		return code
	}
	return ""
}
