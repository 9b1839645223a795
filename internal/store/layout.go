package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// A layout describes columns of a table: their names and kinds, and where a T holds them. Select lists, question
// marks, unnested arrays, reads and writes of both engines come from it. A new column needs a line in a layout and
// the two migrations.
type layout[T any] []field[T]

// A field is one column.
type field[T any] struct {
	name  string
	kind  columnKind
	read  func(fields, *T) error
	write func(parameters, *T) error
}

// A columnKind is what a column holds.
type columnKind int

const (
	textKind   columnKind = iota
	numberKind            // times are milliseconds since 1970, 0 for none; spans are milliseconds
	blobKind
)

// arrayTypes and zeros are how PostgreSQL names an array of a kind, and how both engines write its zero value.
var (
	arrayTypes = [...]string{textKind: "text[]", numberKind: "bigint[]", blobKind: "bytea[]"}
	zeros      = [...]string{textKind: "''", numberKind: "0", blobKind: "NULL"}
)

// Fields are the columns of one row, as an engine returns them: each call reads the next one.
type fields interface {
	text() string
	number() int64
	blob() []byte // nil: NULL, or nothing
	id(*verify.ID)
}

// Parameters are those of a statement, for one row: each call adds the next column, as an engine takes it.
type parameters interface {
	text(s string)
	number(n int64)
	blob(p []byte) // nil: NULL
}

// The columns of a kind. Each is given its name and where a T has it.

func textColumn[T any, S ~string](name string, at func(*T) *S) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) error { *at(v) = S(c.text()); return nil },
		func(p parameters, v *T) error { p.text(string(*at(v))); return nil }}
}

func numberColumn[T any, N ~int | ~uint8 | ~uint32](name string, at func(*T) *N) field[T] {
	return field[T]{name, numberKind,
		func(c fields, v *T) error { *at(v) = N(c.number()); return nil },
		func(p parameters, v *T) error { p.number(int64(*at(v))); return nil }}
}

func truthColumn[T any](name string, at func(*T) *bool) field[T] {
	return field[T]{name, numberKind,
		func(c fields, v *T) error { *at(v) = c.number() != 0; return nil },
		func(p parameters, v *T) error {
			n := int64(0)
			if *at(v) {
				n = 1
			}
			p.number(n)
			return nil
		}}
}

func timeColumn[T any](name string, at func(*T) *time.Time) field[T] {
	return field[T]{name, numberKind,
		func(c fields, v *T) error { *at(v) = fromMillis(c.number()); return nil },
		func(p parameters, v *T) error { p.number(millis(*at(v))); return nil }}
}

func spanColumn[T any](name string, at func(*T) *time.Duration) field[T] {
	return field[T]{name, numberKind,
		func(c fields, v *T) error { *at(v) = span(c.number()); return nil },
		func(p parameters, v *T) error { p.number(at(v).Milliseconds()); return nil }}
}

func idColumn[T any](name string, at func(*T) *verify.ID) field[T] {
	return field[T]{name, blobKind,
		func(c fields, v *T) error { c.id(at(v)); return nil },
		func(p parameters, v *T) error { p.blob(at(v)[:]); return nil }}
}

func blobColumn[T any](name string, at func(*T) *[]byte) field[T] {
	return field[T]{name, blobKind,
		func(c fields, v *T) error { *at(v) = c.blob(); return nil },
		func(p parameters, v *T) error { p.blob(*at(v)); return nil }}
}

// logColumn is never NULL.
func logColumn[T any](name string, at func(*T) *limit.Log) field[T] {
	return field[T]{name, blobKind,
		func(c fields, v *T) (err error) { *at(v), err = limit.ParseLog(c.blob()); return err },
		func(p parameters, v *T) error {
			sends, err := at(v).AppendBinary([]byte{})
			p.blob(sends)
			return err
		}}
}

// names lists the columns: "a, b".
func (l layout[T]) names() string { return l.list(func(_ int, f field[T]) string { return f.name }) }

// of lists them as a table's with another name: "t.a, t.b".
func (l layout[T]) of(table string) string {
	return l.list(func(_ int, f field[T]) string { return table + "." + f.name })
}

// dollars are parameters for all columns of a row, for both engines: "$1, $2". SQLite numbers them as they appear.
func (l layout[T]) dollars() string {
	return l.list(func(i int, _ field[T]) string { return "$" + strconv.Itoa(i+1) })
}

// arrays are parameters for all columns of many rows: "unnest($1::text[]), unnest($2::bigint[])".
func (l layout[T]) arrays() string {
	return l.list(func(i int, f field[T]) string { return fmt.Sprintf("unnest($%d::%s)", i+1, arrayTypes[f.kind]) })
}

// named are the same with the columns' names: "unnest($1::text[]) AS a, unnest($2::bigint[]) AS b".
func (l layout[T]) named() string {
	return l.list(func(i int, f field[T]) string {
		return fmt.Sprintf("unnest($%d::%s) AS %s", i+1, arrayTypes[f.kind], f.name)
	})
}

// set takes the columns from a row with another name: "a = n.a, b = n.b".
func (l layout[T]) set(from string) string {
	return l.list(func(_ int, f field[T]) string { return f.name + " = " + from + "." + f.name })
}

// setMarks takes them from parameters behind n others: "a = ?2, b = ?3".
func (l layout[T]) setMarks(n int) string {
	return l.list(func(i int, f field[T]) string { return f.name + " = ?" + strconv.Itoa(n+i+1) })
}

// setDollars takes all columns from parameters, for both engines: "a = $1, b = $2".
func (l layout[T]) setDollars() string {
	return l.list(func(i int, f field[T]) string { return f.name + " = $" + strconv.Itoa(i+1) })
}

// zeros are values of rows that don't have them yet: "”, 0".
func (l layout[T]) zeros() string {
	return l.list(func(_ int, f field[T]) string { return zeros[f.kind] })
}

func (l layout[T]) list(each func(int, field[T]) string) string {
	all := make([]string, len(l))
	for i, f := range l {
		all[i] = each(i, f)
	}
	return strings.Join(all, ", ")
}

// read reads the columns into v. It reads all of them and returns the first error, so that a damaged row still
// says which one it is.
func (l layout[T]) read(c fields, v *T) (first error) {
	for i := range l {
		if err := l[i].read(c, v); err != nil && first == nil {
			first = fmt.Errorf("column %s: %w", l[i].name, err)
		}
	}
	return first
}

// write adds the columns of v.
func (l layout[T]) write(p parameters, v *T) error {
	for i := range l {
		if err := l[i].write(p, v); err != nil {
			return fmt.Errorf("column %s: %w", l[i].name, err)
		}
	}
	return nil
}

// scan reads a row of database/sql.
func (l layout[T]) scan(row pool.Row) (v T, err error) {
	cells := make([]cell, len(l))
	into := make([]any, len(l))
	for i := range cells {
		into[i] = &cells[i]
	}
	if err := row.Scan(into...); err != nil {
		return v, err
	}
	c := scanned{cells: cells}
	err = l.read(&c, &v)
	if c.err != nil {
		err = c.err
	}
	return v, err
}

// A cell is a value as a driver returns it.
type cell struct{ value any }

// Scan implements [database/sql.Scanner].
func (c *cell) Scan(value any) error {
	if p, ok := value.([]byte); ok {
		value = append([]byte(nil), p...) // the driver's, until the next row
	}
	c.value = value
	return nil
}

// scanned reads cells in their order.
type scanned struct {
	cells []cell
	n     int
	err   error // the first
}

func (s *scanned) next() any {
	s.n++
	return s.cells[s.n-1].value
}

func (s *scanned) fail(value any, want string) {
	if s.err == nil {
		s.err = fmt.Errorf("column %d is %T, want %s", s.n, value, want)
	}
}

func (s *scanned) text() string {
	value := s.next()
	text, ok := value.(string)
	if !ok {
		s.fail(value, "a text")
	}
	return text
}

func (s *scanned) number() int64 {
	value := s.next()
	n, ok := value.(int64)
	if !ok {
		s.fail(value, "a number")
	}
	return n
}

func (s *scanned) blob() []byte {
	value := s.next()
	p, ok := value.([]byte)
	if !ok && value != nil {
		s.fail(value, "bytes")
	}
	if len(p) == 0 {
		return nil
	}
	return p
}

func (s *scanned) id(id *verify.ID) {
	value := s.next()
	if p, ok := value.([]byte); !ok || copy(id[:], p) != len(id) {
		s.fail(value, "an id")
	}
}

// arguments are the columns of v for database/sql. They have no column whose writing fails.
func (l layout[T]) arguments(v *T) []any {
	var a arguments
	if err := l.write(&a, v); err != nil {
		panic(err)
	}
	return a
}

type arguments []any

func (a *arguments) text(s string)  { *a = append(*a, s) }
func (a *arguments) number(n int64) { *a = append(*a, n) }
func (a *arguments) blob(p []byte)  { *a = append(*a, p) }
