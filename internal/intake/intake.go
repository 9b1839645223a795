// Package intake reads what somebody brings from another service: a table of objects, as CSV or as JSON lines. It keeps
// the number of each object's line, so that every later error can name it.
package intake

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/request"
)

// A Row is an object of the table.
type Row struct {
	Line int // where it begins, from 1
	request.Fields
}

// An Error is what is wrong with a line.
type Error struct {
	Line    int
	Field   string // "": the whole line
	Problem string
}

func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("line %d: %s", e.Line, e.Problem)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Field, e.Problem)
}

// Errors are the problems that were noted in the row's fields, in the order of their names.
func (r *Row) Errors() (all []error) {
	for _, field := range slices.Sorted(maps.Keys(r.Problems)) {
		all = append(all, &Error{r.Line, field, r.Problems[field]})
	}
	return all
}

// maxLine bounds a line of JSON, and maxRows a table: all of it is held in memory.
const (
	maxLine = 1 << 20
	maxRows = 10_000_000
)

var bom = []byte("\ufeff")

// Read reads a table whose objects have some of the known fields. A text that begins with { is JSON lines: an object a
// line. Anything else is CSV, whose first line names the fields; an empty cell is an absent field. Read returns all
// that is wrong, as errors that are each an [*Error], and else the rows.
func Read(r io.Reader, known []string) ([]Row, error) {
	in := bufio.NewReaderSize(r, maxLine)
	if start, _ := in.Peek(len(bom)); bytes.Equal(start, bom) {
		in.Discard(len(bom))
	}
	start, err := first(in)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	case start == '{':
		return readLines(in, known)
	}
	return readCSV(in, known)
}

// first returns the first byte that isn't space, and reads nothing.
func first(in *bufio.Reader) (byte, error) {
	for n := 1; ; n++ {
		start, err := in.Peek(n)
		if err != nil {
			return 0, err
		}
		if c := start[n-1]; !strings.ContainsRune(" \t\r\n", rune(c)) {
			return c, nil
		}
	}
}

func readLines(in io.Reader, known []string) (rows []Row, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var wrong []error
	line := 0
	for lines.Scan() {
		line++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		if rows, wrong = add(rows, wrong, line, slices.Clone(text), known); len(rows) > maxRows {
			return nil, &Error{Line: line, Problem: fmt.Sprintf("is one too many (maximum is %d); split the file", maxRows)}
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, &Error{Line: line + 1, Problem: fmt.Sprintf("is too long (maximum is %d bytes)", maxLine)}
	case err != nil:
		return nil, err
	}
	return rows, errors.Join(wrong...)
}

func add(rows []Row, wrong []error, line int, text []byte, known []string) ([]Row, []error) {
	if !utf8.Valid(text) {
		return rows, append(wrong, &Error{Line: line, Problem: "isn't UTF-8"})
	}
	fields, err := request.Object(text)
	if err != nil {
		return rows, append(wrong, &Error{Line: line, Problem: "must be one JSON object that has no name twice"})
	}
	for _, name := range fields.Names() {
		if !slices.Contains(known, name) {
			wrong = append(wrong, &Error{line, name, "is unknown; known: " + strings.Join(known, ", ")})
		}
	}
	return append(rows, Row{line, fields}), wrong
}

func readCSV(in io.Reader, known []string) (rows []Row, err error) {
	table := csv.NewReader(in)
	table.ReuseRecord = true
	head, err := table.Read()
	if err != nil {
		return nil, csvError(err)
	}
	head = slices.Clone(head)
	for i, name := range head {
		head[i] = strings.TrimSpace(name)
		switch {
		case !slices.Contains(known, head[i]):
			return nil, &Error{1, head[i], "is unknown; known: " + strings.Join(known, ", ")}
		case slices.Contains(head[:i], head[i]):
			return nil, &Error{1, head[i], "is there twice"}
		}
	}
	var wrong []error
	for {
		cells, err := table.Read()
		switch {
		case errors.Is(err, io.EOF):
			return rows, errors.Join(wrong...)
		case err != nil:
			return nil, errors.Join(append(wrong, csvError(err))...) // where the next line begins, nobody knows
		}
		object := map[string]string{}
		for i, cell := range cells {
			if cell = strings.TrimSpace(cell); cell != "" {
				object[head[i]] = cell
			}
		}
		line, _ := table.FieldPos(0)
		if slices.ContainsFunc(cells, func(s string) bool { return !utf8.ValidString(s) }) {
			wrong = append(wrong, &Error{Line: line, Problem: "isn't UTF-8"})
			continue
		}
		text, err := json.Marshal(object)
		if err != nil {
			return nil, err
		}
		if rows, wrong = add(rows, wrong, line, text, known); len(rows) > maxRows {
			return nil, &Error{Line: line, Problem: fmt.Sprintf("is one too many (maximum is %d); split the file", maxRows)}
		}
	}
}

func csvError(err error) error {
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		return &Error{Line: bad.StartLine, Problem: bad.Err.Error()}
	}
	return err
}
