package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// output is the flag of every command that prints facts.
type output struct {
	JSON bool `name:"json" help:"Print JSON, for programs."`
}

// A field is one fact: people find it under a heading, programs under a name. One that only one of
// them is told lacks the other.
type field struct {
	heading, name string
	value         any
}

// A row is one line of a table, and one JSON object.
type row []field

func (r row) object() map[string]any {
	o := map[string]any{}
	for _, f := range r {
		if f.name != "" {
			o[f.name] = forPrograms(f.value)
		}
	}
	return o
}

// objects are rows for programs.
func objects[T any](all []T, toRow func(T) row) []map[string]any {
	made := make([]map[string]any, 0, len(all))
	for _, v := range all {
		made = append(made, toRow(v).object())
	}
	return made
}

// line is what people read of a row, and where.
func (r row) line() (headings, cells []string) {
	for _, f := range r {
		if f.heading != "" {
			headings, cells = append(headings, f.heading), append(cells, forPeople(f.value))
		}
	}
	return headings, cells
}

// printRows writes a table, or an array of JSON objects. The table's head is that of a row without
// values.
func printRows[T any](w world, asJSON bool, all []T, toRow func(T) row) error {
	if asJSON {
		return printJSON(w, objects(all, toRow))
	}
	var none T
	headings, _ := toRow(none).line()
	lines := [][]string{headings}
	for _, v := range all {
		_, cells := toRow(v).line()
		lines = append(lines, cells)
	}
	return printTable(w, lines)
}

// printOne writes a table of one line, or a JSON object.
func printOne(w world, asJSON bool, r row) error {
	if asJSON {
		return printJSON(w, r.object())
	}
	headings, cells := r.line()
	return printTable(w, [][]string{headings, cells})
}

// printSettings writes a line for each setting, or a JSON object.
func printSettings(w world, asJSON bool, r row) error {
	if asJSON {
		return printJSON(w, r.object())
	}
	lines := [][]string{{"SETTING", "VALUE"}}
	names, values := r.line()
	for i := range names {
		lines = append(lines, []string{names[i], values[i]})
	}
	return printTable(w, lines)
}

// printDone writes a sentence about what was done, or a JSON object.
func printDone(w world, asJSON bool, r row, sentence string, operands ...any) error {
	if asJSON {
		return printJSON(w, r.object())
	}
	_, err := fmt.Fprintf(w.stdout, sentence+"\n", operands...)
	return err
}

func printJSON(w world, v any) error { return json.NewEncoder(w.stdout).Encode(v) }

func printTable(w world, lines [][]string) error {
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for _, cells := range lines {
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

// forPrograms is a value as JSON has it: times as RFC 3339 or null, durations in seconds.
func forPrograms(v any) any {
	switch v := v.(type) {
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return stamp(v)
	case time.Duration:
		return v.Seconds()
	}
	return v
}

// forPeople is a value as a table has it.
func forPeople(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return stamp(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	text := fmt.Sprint(v)
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) { // it would move the cursor
		return strconv.Quote(text)
	}
	return text
}

// stamp writes an instant for people and programs.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
