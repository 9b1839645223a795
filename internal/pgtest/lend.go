package pgtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Lend lends a copy of a template to a test. When the test ends, the database gets the template's rows again, and the next
// test has it. Its URL leads over a pool, which keeps the server's processes for the next ones who connect: their start is
// most of what a test costs.
//
// A database is dropped instead if its test failed, changed more than rows, or left a connection open: what still has one
// may write. On somebody else's server, Lend is [Database].
func Lend(t testing.TB, template string) (databaseURL string) {
	t.Helper()
	if commons.cluster == nil {
		return Database(t, template)
	}
	commons.use(t)
	p, err := commons.pool()
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.borrow(template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() && p.unused(l.url) && l.reset() == nil && p.unused(l.url) {
			p.giveBack(template, l)
			return
		}
		p.forget(l.url)
		if err := commons.drop(l.url); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return l.url
}

// pool returns the pool of the shared server.
func (c *common) pool() (*pool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.backends != nil {
		return c.backends, nil
	}
	p := &pool{
		server: filepath.Join(c.cluster.dir, socketName), dir: filepath.Join(c.cluster.dir, "pool"),
		idle: map[string][]*backend{}, clients: map[string]int{}, free: map[string][]lent{},
	}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return nil, err
	}
	if err := c.cluster.give(p.dir); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", filepath.Join(p.dir, socketName))
	if err != nil {
		return nil, err
	}
	c.backends = p
	go func() {
		for {
			client, err := l.Accept()
			if err == nil {
				go p.serve(client)
			}
		}
	}()
	return p, nil
}

// socketName is that of a server on the default port, in its folder.
const socketName = ".s.PGSQL.5432"

// A pool passes on what clients say to a server, and keeps its processes when clients leave.
type pool struct {
	server, dir string // the server's socket, and the folder of the pool's own

	mu      sync.Mutex            // guards the fields below
	idle    map[string][]*backend // by what their clients began with
	clients map[string]int        // that are connected, by database
	free    map[string][]lent     // databases, by template
}

// A lent database has its template's rows again after the statements of clean.
type lent struct{ url, clean string }

// A backend is a process of the server.
type backend struct {
	conn     net.Conn
	greeting []byte // what it says to whoever connects
}

func (p *pool) borrow(template string) (lent, error) {
	p.mu.Lock()
	if n := len(p.free[template]); n > 0 {
		l := p.free[template][n-1]
		p.free[template] = p.free[template][:n-1]
		p.mu.Unlock()
		return l, nil
	}
	p.mu.Unlock()
	made, err := database(commons.execute, commons.url, template)
	if err != nil {
		return lent{}, err
	}
	u, err := url.Parse(made)
	if err != nil {
		return lent{}, err
	}
	q := u.Query()
	q.Set("host", p.dir)
	u.RawQuery = q.Encode()
	l := lent{url: u.String()}
	if l.clean, err = clean(l.url); err != nil {
		return lent{}, err
	}
	p.unused(l.url) // so that the test gets the process that clean had
	return l, nil
}

func (p *pool) giveBack(template string, l lent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free[template] = append(p.free[template], l)
}

// unused reports whether nobody is connected to a database. It waits for those who are leaving, until their processes are
// idle.
func (p *pool) unused(databaseURL string) bool {
	name, err := databaseName(databaseURL)
	if err != nil {
		return false
	}
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		n := p.clients[name]
		p.mu.Unlock()
		if n == 0 || time.Now().After(end) {
			return n == 0
		}
	}
}

// maxIdle is how many processes the pool keeps: few beside those that the server may have.
const maxIdle = 100

// keep keeps a process for the next client that begins with the same words. If there are too many, others end.
func (p *pool) keep(key string, b *backend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, all := range p.idle {
		n += len(all)
	}
	for other, all := range p.idle { // in random order
		if n < maxIdle {
			break
		}
		n -= len(all)
		p.closeIdle(other)
	}
	p.idle[key] = append(p.idle[key], b)
}

// closeIdle ends the idle processes of a key. The caller holds the lock.
func (p *pool) closeIdle(key string) {
	for _, b := range p.idle[key] {
		b.conn.Close()
	}
	delete(p.idle, key)
}

// end waits until the process has ended: it may still carry out what its client said before it left.
func (b *backend) end() {
	defer b.conn.Close()
	if conn, ok := b.conn.(*net.UnixConn); ok {
		conn.CloseWrite()
	}
	b.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	io.Copy(io.Discard, b.conn)
}

// forget closes the idle connections to a database.
func (p *pool) forget(databaseURL string) {
	name, _ := databaseName(databaseURL)
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.idle {
		if strings.HasPrefix(key, name+"\x00") {
			p.closeIdle(key)
		}
	}
}

// shape is a number that changes with the tables, their columns, defaults, indexes, triggers and constraints, the functions,
// the schemas, and the settings of the database. A transaction that changes one of them leaves its number at it.
var shape = `(SELECT md5(concat_ws(' ', string_agg(concat_ws(' ', c.oid, relname, relfilenode, relchecks), ',' ORDER BY c.oid),
	(SELECT count(*) FROM pg_db_role_setting WHERE setdatabase <> 0)` +
	latest("pg_attribute", "pg_attrdef", "pg_trigger", "pg_proc", "pg_constraint", "pg_namespace") + `))
	FROM pg_class c WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace, 'information_schema'::regnamespace))`

// latest selects, of each catalog, how many rows it has and which transaction was the latest at them.
func latest(catalogs ...string) (columns string) {
	for _, c := range catalogs {
		columns += ", (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM " + c + ")"
	}
	return columns
}

// clean returns the statements that give all tables of a database the rows that they have now. They fail if its shape isn't
// the same.
func clean(databaseURL string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`)
	if err != nil {
		return "", err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", err
	}
	var now string
	if err := conn.QueryRow(ctx, "SELECT "+shape).Scan(&now); err != nil {
		return "", err
	}
	var all strings.Builder
	all.WriteString("SELECT 1 / (" + shape + " = '" + now + "')::int;\n") // a division by 0
	all.WriteString("SET LOCAL session_replication_role = replica;\n")    // no triggers
	for _, table := range tables {
		var restore *string
		if err := conn.QueryRow(ctx, `SELECT format('INSERT INTO `+table+` SELECT * FROM json_populate_recordset(NULL::`+table+`, %L);', json_agg(t)) FROM `+table+` t HAVING count(*) > 0`).
			Scan(&restore); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return "", fmt.Errorf("%s: %w", table, err)
		}
		all.WriteString("DELETE FROM " + table + ";\n")
		if restore != nil {
			all.WriteString(*restore + "\n")
		}
	}
	return all.String(), nil
}

func (l lent) reset() error { return execute(l.url, l.clean) }

// serve speaks with a client until it leaves.
func (p *pool) serve(client net.Conn) {
	defer client.Close()
	began, err := begin(client)
	if err != nil {
		return
	}
	switch m := began.(type) {
	case *pgproto3.CancelRequest:
		p.cancel(m)
	case *pgproto3.StartupMessage:
		name := m.Parameters["database"]
		p.count(name, 1)
		defer p.count(name, -1)
		b, key, err := p.take(m)
		if err != nil {
			return
		}
		client.Write(b.greeting)
		if b.ready() && b.pass(client) && b.discard() {
			p.keep(key, b)
		} else {
			b.end()
		}
	}
}

// begin reads what a client wants.
func begin(client net.Conn) (pgproto3.FrontendMessage, error) {
	from := pgproto3.NewBackend(client, client)
	for {
		m, err := from.ReceiveStartupMessage()
		if err != nil {
			return nil, err
		}
		switch m.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			if _, err := client.Write([]byte("N")); err != nil { // no
				return nil, err
			}
		default:
			return m, nil
		}
	}
}

func (p *pool) count(database string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[database] += n
}

// cancel passes a request on. Whoever sends one closes the connection that it is about, so that nobody else gets it.
func (p *pool) cancel(m *pgproto3.CancelRequest) {
	conn, err := net.Dial("unix", p.server)
	if err != nil {
		return
	}
	defer conn.Close()
	if said, err := m.Encode(nil); err == nil {
		conn.Write(said)
		io.Copy(io.Discard, conn) // until the server has done it
	}
}

// take returns a process for a client: one whose client began with the same words, or a new one.
func (p *pool) take(m *pgproto3.StartupMessage) (b *backend, key string, err error) {
	said, err := m.Encode(nil)
	if err != nil {
		return nil, "", err
	}
	key = m.Parameters["database"] + "\x00" + fmt.Sprint(m.Parameters) // fmt sorts them
	p.mu.Lock()
	if n := len(p.idle[key]); n > 0 {
		b = p.idle[key][n-1]
		p.idle[key] = p.idle[key][:n-1]
		p.mu.Unlock()
		return b, key, nil
	}
	p.mu.Unlock()
	conn, err := net.Dial("unix", p.server)
	if err != nil {
		return nil, "", err
	}
	if _, err := conn.Write(said); err != nil {
		conn.Close()
		return nil, "", err
	}
	var greeting bytes.Buffer
	for {
		kind, err := passFrame(&greeting, conn)
		if err != nil || kind == 'E' || kind == 'Z' {
			return &backend{conn: conn, greeting: greeting.Bytes()}, key, nil // with the error that the server says
		}
	}
}

// ready reports whether the process has let its first client in.
func (b *backend) ready() bool {
	n := len(b.greeting)
	return n > 6 && b.greeting[n-6] == 'Z'
}

// pass lets a client and a process speak, and reports whether the client left in order, with nothing under way.
func (b *backend) pass(client net.Conn) bool {
	var open atomic.Int64 // what the client awaits an end of
	var state atomic.Int32
	state.Store('I')
	done := make(chan error, 1)
	go func() {
		from, to := bufio.NewReaderSize(b.conn, 16<<10), bufio.NewWriterSize(client, 16<<10)
		done <- passFrames(to, from, func(kind byte, body []byte) bool {
			if kind == 'Z' && len(body) == 1 {
				state.Store(int32(body[0]))
				open.Add(-1)
			}
			return true
		})
		client.Close() // a client whose process has ended isn't left waiting
	}()
	left := false
	passFrames(bufio.NewWriterSize(b.conn, 16<<10), bufio.NewReaderSize(client, 16<<10), func(kind byte, _ []byte) bool {
		switch kind {
		case 'Q', 'S', 'F':
			open.Add(1)
		case 'X':
			left = true
		}
		return !left
	})
	b.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the other one
	err := <-done
	b.conn.SetReadDeadline(time.Time{})
	return left && open.Load() == 0 && state.Load() == 'I' && errors.Is(err, os.ErrDeadlineExceeded)
}

// errCut says that a message ended in its middle.
var errCut = errors.New("a message was cut")

// passFrames passes messages on until seen returns false or there are no more. Its error is the reason.
func passFrames(to *bufio.Writer, from *bufio.Reader, seen func(kind byte, body []byte) bool) error {
	for {
		head, err := from.Peek(5)
		if err != nil {
			if len(head) > 0 {
				return errCut
			}
			return err
		}
		size := int(binary.BigEndian.Uint32(head[1:]))
		kind := head[0]
		message := make([]byte, 1+size)
		if _, err := io.ReadFull(from, message); err != nil {
			return errCut
		}
		if !seen(kind, message[5:]) {
			return nil
		}
		if _, err := to.Write(message); err != nil {
			return err
		}
		if from.Buffered() == 0 {
			if err := to.Flush(); err != nil {
				return err
			}
		}
	}
}

// passFrame passes one message on, and nothing after it.
func passFrame(to io.Writer, from io.Reader) (kind byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return 0, err
	}
	if _, err := to.Write(head[:]); err != nil {
		return 0, err
	}
	_, err = io.CopyN(to, from, int64(binary.BigEndian.Uint32(head[1:]))-4)
	return head[0], err
}

// discard makes a process forget what its client has set, and reports whether it did.
func (b *backend) discard() bool {
	b.conn.SetDeadline(time.Now().Add(30 * time.Second))
	defer b.conn.SetDeadline(time.Time{})
	said, err := (&pgproto3.Query{String: "DISCARD ALL"}).Encode(nil)
	if err != nil {
		return false
	}
	if _, err := b.conn.Write(said); err != nil {
		return false
	}
	for {
		var answer bytes.Buffer
		switch kind, err := passFrame(&answer, b.conn); {
		case err != nil || kind == 'E':
			return false
		case kind == 'Z':
			return answer.Bytes()[5] == 'I'
		}
	}
}
