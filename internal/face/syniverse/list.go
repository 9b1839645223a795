package syniverse

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/request"
)

// A list is one page of entries. A page past the end is empty.
type list[T any] struct {
	List   []T `json:"list"`
	Total  int `json:"total"` // on all pages
	Limit  int `json:"limit"`
	Offset int `json:"offset"`
}

// The default and the largest size of a page. A larger limit counts as the largest, as on the
// platform.
const (
	defaultLimit = 50
	maxLimit     = 100
)

// A query selects a part of a list. Without a sort field, the oldest entries come first.
type query struct {
	limit, offset int
	sort          string // a field's name
	descending    bool
	filters       url.Values // one value per field name; entries must match them all
}

// parse parses a request's query. filters and orders are the names of the fields to filter and to
// sort by. parse ignores other names and empty values. It refuses duplicate names, as in a body.
func parse(raw string, filters, orders []string) (query, error) {
	q := query{limit: defaultLimit, sort: "created_date", filters: url.Values{}}
	var bad request.Fields
	given, err := url.ParseQuery(raw)
	if err != nil {
		bad.Wrong("the query", "can't be read")
		return q, invalidFrom(bad, nil)
	}
	one := func(name string) string {
		values := given[name]
		switch {
		case len(values) > 1:
			bad.Wrong(name, "is there twice")
		case len(values) == 1 && (!utf8.ValidString(values[0]) || strings.Contains(values[0], "\x00")):
			bad.Wrong(name, "is not a text") // a database may refuse it
		case len(values) == 1:
			return values[0]
		}
		return ""
	}
	number := func(name string, preset, least int) int {
		text := one(name)
		if text == "" {
			return preset
		}
		n, err := strconv.Atoi(text)
		if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range, n is the nearest int
			bad.Wrong(name, "must be an integer")
		} else if n < least {
			bad.Wrong(name, "must be greater than or equal to "+strconv.Itoa(least))
		}
		return n
	}
	q.limit = min(number("limit", defaultLimit, 1), maxLimit)
	q.offset = number("offset", 0, 0)
	if by, descending := strings.CutPrefix(one("sort"), "-"); by != "" || descending {
		q.sort, q.descending = by, descending
		if !slices.Contains(orders, by) {
			bad.Wrong("sort", "must be one of "+strings.Join(orders, ", ")+", with - before it for the reverse order")
		}
	}
	for _, name := range filters {
		if value := one(name); value != "" {
			q.filters.Set(name, value)
		}
	}
	if bad.Problems != nil {
		return q, invalidFrom(bad, nil)
	}
	return q, nil
}

// A field is a field of entries that they can be filtered and sorted by.
type field[T any] struct {
	name    string
	filter  func(value string) (func(T) bool, error) // an error explains why no entry can have the value
	compare func(a, b T) int
}

// by returns a field. of returns an entry's value, and read parses one in a query.
func by[T any, V cmp.Ordered](name string, of func(T) V, read func(string) (V, error)) field[T] {
	return field[T]{
		name: name,
		filter: func(value string) (func(T) bool, error) {
			want, err := read(value)
			return func(entry T) bool { return of(entry) == want }, err
		},
		compare: func(a, b T) int { return cmp.Compare(of(a), of(b)) },
	}
}

func names[T any](fields []field[T]) []string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.name
	}
	return all
}

// page returns the entries that a query selects, from all entries in the order of their
// ids.
func page[T any](raw string, fields []field[T], all []T) (entries []T, q query, total int, err error) {
	q, err = parse(raw, names(fields), names(fields))
	if err != nil {
		return nil, q, 0, err
	}
	var bad request.Fields
	for _, f := range fields {
		if value := q.filters.Get(f.name); value != "" {
			matches, err := f.filter(value)
			if err != nil {
				bad.Wrong(f.name, err.Error())
				continue
			}
			all = slices.DeleteFunc(all, func(entry T) bool { return !matches(entry) })
		}
		if f.name == q.sort {
			slices.SortStableFunc(all, func(a, b T) int {
				if q.descending {
					return f.compare(b, a)
				}
				return f.compare(a, b)
			})
		}
	}
	if bad.Problems != nil {
		return nil, q, 0, invalidFrom(bad, nil)
	}
	first := min(q.offset, len(all))
	return all[first:min(first+q.limit, len(all))], q, len(all), nil
}

// answerPage returns the page that a call asks for. wire converts an entry to its form on the
// wire.
func answerPage[T, W any](r *http.Request, fields []field[T], all []T, wire func(T) W) (any, error) {
	entries, q, total, err := page(r.URL.RawQuery, fields, all)
	if err != nil {
		return nil, err
	}
	return listOf(entries, q, total, wire), nil
}

func listOf[T, W any](entries []T, q query, total int, wire func(T) W) list[W] {
	answer := list[W]{List: make([]W, len(entries)), Total: total, Limit: q.limit, Offset: q.offset}
	for i, entry := range entries {
		answer.List[i] = wire(entry)
	}
	return answer
}

// Functions that parse values in a query.

func asText(s string) (string, error) { return s, nil }

func asInteger(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range, n is the nearest int, which no entry has
		return 0, errors.New("must be an integer")
	}
	return n, nil
}

// asDate parses a date in either form that we write, and returns milliseconds since 1970.
func asDate(s string) (int64, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UnixMilli(), nil
	}
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errors.New("must be a date, as milliseconds since 1970 or as 2026-11-21T21:27:02.500Z")
	}
	return ms, nil
}

// date returns a date in its form on the wire.
func (s *Server) date(t time.Time) any {
	if s.options.ISODates {
		return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	return t.UnixMilli()
}
