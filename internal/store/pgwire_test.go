package store

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/verify"
)

// newBundle is an empty bundle, and a connection for it.
func newBundle(t *testing.T) (*bundle, *pgconn.PgConn) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, pgtest.Database(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(ctx) })
	b := &bundle{}
	b.connected(false)
	return b, conn
}

// What goes to the server as arrays comes back as it was, also in tables that were longer and wider before.
func TestTablesArriveAsTheyWereMade(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b, conn := newBundle(t)
	type line struct {
		text   string
		number int64
		blob   []byte
		id     verify.ID
	}
	const text = `SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bytea[]), unnest($4::bytea[])`
	for _, want := range [][]line{
		{{"a", 1, []byte{0}, verify.NewID(time.Now())}, {"", -1, nil, verify.ID{}}, {"\u00e9\U0001F511", 1 << 62, bytes.Repeat([]byte{0xff}, 70_000), verify.ID{1}}},
		nil,
		{{strings.Repeat("long", 10_000), -1 << 63, []byte("x"), verify.ID{15: 1}}},
	} {
		b.reset()
		sent := b.table(oidText, oidInt8, oidBytea, oidBytea)
		for _, l := range want {
			sent.text(l.text)
			sent.number(l.number)
			sent.blob(l.blob)
			sent.blob(l.id[:])
			sent.end()
		}
		var got []line
		b.add(text, func(c *cells) error {
			l := line{text: c.text(), number: c.number(), blob: c.blob()}
			c.id(&l.id)
			got = append(got, l)
			return nil
		}, sent)
		other := b.table()
		other.number(7)
		other.end()
		var sum int64
		b.add(`SELECT sum(n)::bigint FROM unnest($1::bigint[]) AS n`, func(c *cells) error { sum = c.number(); return nil }, other)
		if tag, n, err := b.send(ctx, conn); err != nil || n != 2 || tag.String() != "SELECT 1" {
			t.Fatalf("send: got %s, %d, %v; want SELECT 1, 2", tag, n, err)
		}
		if len(got) != len(want) || sum != 7 {
			t.Fatalf("got %d rows and the sum %d, want %d and 7", len(got), sum, len(want))
		}
		for i, l := range want {
			if g := got[i]; g.text != l.text || g.number != l.number || !bytes.Equal(g.blob, l.blob) || g.id != l.id {
				t.Errorf("row %d: got %.60v, want %.60v", i, g, l)
			}
		}
	}
}

// A statement that fails says how many succeeded before it, and the connection goes on.
func TestABundleEndsAtTheStatementThatFails(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b, conn := newBundle(t)
	number := func(c *cells) error { c.number(); return nil }
	for _, test := range []struct {
		what, text string
		read       func(c *cells) error
		want       string
	}{
		{"the server refuses it", `SELECT 1::bigint / 0`, number, "22012"},
		{"a column has another type", `SELECT 1::int`, number, "column 1 of the server's answer: it is no bigint"},
		{"a column is missing", `SELECT 1::bigint`, func(c *cells) error { c.number(); c.number(); return nil }, "column 1 of the server's answer: a column is missing"},
		{"an id has another length", `SELECT '\x01'::bytea`, func(c *cells) error { c.id(&verify.ID{}); return nil }, "it is no id"},
		{"it can't be prepared", `SELECT nothing`, nil, "42703"},
	} {
		b.reset()
		b.add(`SELECT 1::bigint`, number)
		b.add(test.text, test.read)
		b.add(`SELECT 2::bigint`, func(*cells) error { t.Errorf("%s: the statement after it ran", test.what); return nil })
		want := 1
		if test.read == nil {
			want = 0
		}
		if _, n, err := b.send(ctx, conn); err == nil || !strings.Contains(err.Error(), test.want) || n != want {
			t.Errorf("%s: got %v after %d statements, want %q after %d", test.what, err, n, test.want, want)
		}
	}
	b.reset()
	b.add(`SELECT 3::bigint`, number)
	if _, n, err := b.send(ctx, conn); err != nil || n != 1 {
		t.Errorf("afterwards: got %d, %v; want 1", n, err)
	}
}

// What groups insert reads a row on Citus, and inserts the same rows as without.
func TestInsertsArePushedDown(t *testing.T) {
	t.Parallel()
	all := []string{
		pgInsertPhones, pgInsertKept, pgInsertDestinations, pgInsertVerifications, pgInsertUsers, pgInsertDeliveries, pgInsertCalls,
		pgInsertReceipts, pgInsertAudits, pgInsertHints, pgAddUsed, pgAddSpent,
	}
	const row = ` FROM watermark WHERE name = 'void'`
	for _, text := range all {
		if got := pushed(text); strings.Count(got, row) != 1 || strings.Replace(got, row, "", 1) != text {
			t.Errorf("%s: got %s", text, got)
		}
	}
	for _, text := range []string{pgUpdatePhones, pgDeleteHints, pgMarks} {
		if got := pushed(text); got != text {
			t.Errorf("%s: got %s, want it as it is", text, got)
		}
	}
	for text, want := range map[string]string{
		`INSERT INTO a (b) SELECT unnest($1::text[])`:                                    `INSERT INTO a (b) SELECT unnest($1::text[])` + row,
		`INSERT INTO a (b) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING`:             `INSERT INTO a (b) SELECT unnest($1::text[])` + row + ` ON CONFLICT DO NOTHING`,
		`INSERT INTO a (b) SELECT b FROM (SELECT unnest($1::text[]) AS b) r ON CONFLICT`: `INSERT INTO a (b) SELECT b FROM (SELECT unnest($1::text[]) AS b` + row + `) r ON CONFLICT`,
	} {
		if got := pushed(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
