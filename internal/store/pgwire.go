package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/internal/verify"
)

// A bundle is statements that travel together: all are sent before the first answer is read, and after
// one that fails the server carries out none. It goes to pgx's lower layer directly, for above it each
// value is looked at by reflection, twice. What a bundle holds is used again for the next one.
type bundle struct {
	asks   []ask
	tables []*table
	used   int // of the tables

	prepared map[string]*pgconn.StatementDescription // on this connection, by their text
	named    int                                     // statements that got a name so far
	pushed   map[string]string                       // statements in the form that Citus pushes down; nil without it
}

// An ask is a statement. Its parameters are whole columns, in the binary format.
type ask struct {
	text   string
	params [][]byte
	read   func(c *cells) error // is called for each row; nil if there is none of interest
}

// allBinary is the format of all parameters, and of all columns.
var allBinary = []int16{1}

// connected forgets what the connection before knew.
func (b *bundle) connected(citus bool) {
	b.prepared, b.pushed = map[string]*pgconn.StatementDescription{}, nil
	if citus {
		b.pushed = map[string]string{}
	}
}

// reset empties the bundle.
func (b *bundle) reset() {
	clear(b.asks)
	b.asks, b.used = b.asks[:0], 0
}

// add adds a statement whose parameters are the tables' columns.
func (b *bundle) add(text string, read func(*cells) error, of ...*table) {
	a := ask{text: b.form(text), read: read}
	for _, t := range of {
		for i := range t.columns {
			a.params = append(a.params, t.columns[i].array())
		}
	}
	b.asks = append(b.asks, a)
}

// form is the form that a statement has on this connection.
func (b *bundle) form(text string) string {
	if b.pushed == nil {
		return text
	}
	form, ok := b.pushed[text]
	if !ok {
		form = pushed(text)
		b.pushed[text] = form
	}
	return form
}

// addRows adds a statement on rows that are written, unless there are none.
func (b *bundle) addRows(text string, t *table) {
	if t.rows > 0 {
		b.add(text, nil, t)
	}
}

// table returns an empty one. It needs its columns' kinds if it may stay so.
func (b *bundle) table(kinds ...uint32) *table {
	if b.used == len(b.tables) {
		b.tables = append(b.tables, &table{})
	}
	t := b.tables[b.used]
	b.used++
	t.columns, t.next, t.rows = t.columns[:0], 0, 0
	for _, kind := range kinds {
		t.column().kind = kind
	}
	t.next = 0
	return t
}

// send sends all and reads the answers. It returns the last one's tag; or, with an error, how many
// statements had succeeded.
func (b *bundle) send(ctx context.Context, conn *pgconn.PgConn) (tag pgconn.CommandTag, succeeded int, err error) {
	if err := b.prepare(ctx, conn); err != nil {
		return tag, 0, err
	}
	p := conn.StartPipeline(ctx)
	for _, a := range b.asks {
		p.SendQueryStatement(b.prepared[a.text], a.params, allBinary, allBinary)
	}
	err = p.Sync()
	for i := 0; err == nil && i < len(b.asks); i++ {
		if tag, err = b.asks[i].answer(p); err == nil {
			succeeded++
		}
	}
	if end := p.Close(); err == nil {
		err = end
	}
	return tag, succeeded, err
}

// answer reads what the server says to the statement.
func (a *ask) answer(p *pgconn.Pipeline) (pgconn.CommandTag, error) {
	results, err := p.GetResults()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	rows, ok := results.(*pgconn.ResultReader)
	if !ok {
		return pgconn.CommandTag{}, fmt.Errorf("the server answers %T to a statement", results)
	}
	for rows.NextRow() {
		if a.read == nil {
			continue
		}
		c := cells{values: rows.Values()}
		if err = a.read(&c); err == nil {
			err = c.err
		}
		if err != nil {
			rows.Close()
			return pgconn.CommandTag{}, err
		}
	}
	return rows.Close()
}

// prepare makes the server know the statements that it hasn't seen on this connection.
func (b *bundle) prepare(ctx context.Context, conn *pgconn.PgConn) error {
	var unknown, names []string
	for _, a := range b.asks {
		if b.prepared[a.text] == nil && !slices.Contains(unknown, a.text) {
			b.named++
			unknown, names = append(unknown, a.text), append(names, "group_"+strconv.Itoa(b.named))
		}
	}
	if unknown == nil {
		return nil
	}
	p := conn.StartPipeline(ctx)
	for i, text := range unknown {
		p.SendPrepare(names[i], text, nil)
	}
	err := p.Sync()
	for i := 0; err == nil && i < len(unknown); i++ {
		var results any
		if results, err = p.GetResults(); err != nil {
			break
		}
		known, ok := results.(*pgconn.StatementDescription)
		if !ok {
			err = fmt.Errorf("the server answers %T to the preparation of a statement", results)
			break
		}
		known.Name = names[i]
		b.prepared[unknown[i]] = known
	}
	if end := p.Close(); err == nil {
		err = end
	}
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return nil
}

// A table is rows as parameters: an array for each column. Its methods add the columns of one row in
// their order, and end it.
type table struct {
	columns []column
	next    int // column of the row under way
	rows    int
}

// A column is an array in PostgreSQL's binary format (array_recv): a head, which array fills in, and the values.
type column struct {
	values []byte
	rows   int
	kind   uint32 // the OID of the values' type
}

// OIDs of types, from pg_type.dat.
const (
	oidBytea = 17
	oidInt8  = 20
	oidText  = 25
)

// arrayHead is the length of an array's head: dimensions, whether there are NULLs, type, rows, first index.
const arrayHead = 5 * 4

// array returns the column as a parameter.
func (c *column) array() []byte {
	if c.rows == 0 { // no dimension at all
		return binary.BigEndian.AppendUint32(make([]byte, 8, 12), c.kind)
	}
	head := c.values[:0]
	for _, n := range [arrayHead / 4]uint32{1, 1, c.kind, uint32(c.rows), 1} {
		head = binary.BigEndian.AppendUint32(head, n)
	}
	return c.values
}

// column returns the next one.
func (t *table) column() *column {
	switch n := len(t.columns); {
	case t.next < n:
	case n < cap(t.columns): // as it was used before
		t.columns = t.columns[:n+1]
		t.columns[n].rows = 0
	default:
		t.columns = append(t.columns, column{})
	}
	t.next++
	return &t.columns[t.next-1]
}

// value begins a value of so many bytes in the next column; -1: NULL.
func (t *table) value(kind uint32, size int) *column {
	c := t.column()
	if c.rows == 0 {
		var head [arrayHead]byte
		c.kind, c.values = kind, append(c.values[:0], head[:]...)
	}
	c.rows++
	c.values = binary.BigEndian.AppendUint32(c.values, uint32(size))
	return c
}

func (t *table) text(s string) {
	s = mended(s)
	c := t.value(oidText, len(s))
	c.values = append(c.values, s...)
}

// mended is a text as PostgreSQL takes it: without a byte 0, and in UTF-8. What comes from outside, as a
// carrier's reference, must not fail a write for ever.
func mended(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func (t *table) number(n int64) {
	c := t.value(oidInt8, 8)
	c.values = binary.BigEndian.AppendUint64(c.values, uint64(n))
}

// blob adds a value, or NULL.
func (t *table) blob(p []byte) {
	if p == nil {
		t.value(oidBytea, -1)
		return
	}
	c := t.value(oidBytea, len(p))
	c.values = append(c.values, p...)
}

func (t *table) hint(h hint) {
	t.number(millis(h.due))
	t.blob(h.id[:])
	t.end()
}

func (t *table) end() { t.next, t.rows = 0, t.rows+1 }

// cells are a row's columns in the binary format. Its methods read them in their order.
type cells struct {
	values [][]byte
	n      int
	err    error // the first
}

func (c *cells) next() []byte {
	if c.n == len(c.values) {
		c.fail("a column is missing")
		return nil
	}
	c.n++
	return c.values[c.n-1]
}

func (c *cells) fail(why string) {
	if c.err == nil {
		c.err = fmt.Errorf("column %d of the server's answer: %s", c.n, why)
	}
}

func (c *cells) text() string { return string(c.next()) }

func (c *cells) number() int64 {
	p := c.next()
	if len(p) != 8 {
		c.fail("it is no bigint")
		return 0
	}
	return int64(binary.BigEndian.Uint64(p))
}

// xid reads the number of a transaction.
func (c *cells) xid() int64 {
	p := c.next()
	if len(p) != 4 {
		c.fail("it is no transaction")
		return 0
	}
	return int64(binary.BigEndian.Uint32(p))
}

func (c *cells) id(id *verify.ID) {
	if copy(id[:], c.next()) != len(id) {
		c.fail("it is no id")
	}
}

func (c *cells) blob() []byte { return append([]byte(nil), c.next()...) }
