package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// moved are the tables of an installation, those first that others refer to. The watermark is no row
// to copy.
var moved = []string{
	"project", "application", "deleted_application", "api_key", "message_template", "text_template", "app_user", "device", "enrolment",
	"destination", "phone", "verification", "delivery", "retry", "audit", "made_with",
	"kept_answer", "kept_count", "usage_hour", "usage_day", "budget", "spending", "ledger", "stop", "weight", "operator", "operator_session", "operator_passkey",
}

// moveStep is how many rows are committed together.
const moveStep = 2000

// A Moved is what was copied of a table.
type Moved struct {
	Table string
	Rows  int
}

// Move copies a whole installation from an SQLite file into an empty PostgreSQL database, row for row.
// Nobody can write to the file meanwhile or afterwards, see [mark]. What it commits says how far it has
// come, so that it goes on from there when it is run again; until it is through, the database is opened by
// nobody else. It calls progress with the rows copied so far and in all.
func Move(ctx context.Context, path string, to *Postgres, progress func(done, all int)) ([]Moved, error) {
	m := &move{path: path, name: to.name(), progress: progress}
	if err := m.open(ctx, to); err != nil {
		return nil, errors.Join(err, m.close())
	}
	err := m.run(ctx)
	return m.tables, errors.Join(err, m.close())
}

// move is one run of [Move].
type move struct {
	path     string
	name     string // of the database
	mark     mark   // of the file
	progress func(done, all int)
	db       *sql.DB
	from     *sql.Tx
	to       *pgx.Conn
	server   *server // that to is connected to

	tables    []Moved
	done, all int
}

func (m *move) open(ctx context.Context, to *Postgres) error {
	// Both have the same tables when both are up to date.
	s, err := Open(ctx, Options{Path: m.path, Witness: filepath.Join(filepath.Dir(m.path), WitnessFile), Migrate: true, moved: true})
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if m.path, err = filepath.Abs(m.path); err != nil {
		return err
	}
	if m.db, err = sql.Open("sqlite", dsn(m.path, writing...)+"&_txlock=immediate"); err != nil {
		return err
	}
	c, err := to.config()
	if err != nil {
		return err
	}
	db, err := preparePostgres(ctx, c, Options{Postgres: to, Migrate: true})
	if err == nil {
		err = db.Close()
	}
	if err == nil {
		m.to, err = pgx.ConnectConfig(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("open database %s: %w", to.name(), err)
	}
	m.server = &server{timeout: time.Hour, clock: newClock(nil, nil), witness: &witness{}}
	_, err = m.server.admit(ctx, m.to)
	return err
}

func (m *move) close() (err error) {
	if m.to != nil {
		err = m.to.Close(context.Background())
	}
	if m.from != nil {
		m.from.Rollback() // it has only read, or was committed
	}
	if m.db != nil {
		err = errors.Join(err, m.db.Close())
	}
	return err
}

func (m *move) run(ctx context.Context) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	for _, name := range moved {
		var n int
		if err := m.from.QueryRowContext(ctx, `SELECT count(*) FROM `+name).Scan(&n); err != nil {
			return err
		}
		m.tables = append(m.tables, Moved{name, n})
		m.all += n
	}
	for _, t := range m.tables {
		if err := m.table(ctx, t.Table); err != nil {
			return fmt.Errorf("move table %s: %w", t.Table, err)
		}
	}
	m.progress(m.done, m.all)
	return m.finish(ctx)
}

// begin marks the file and the database as what is moved, or finds that both are marked by the same move.
// Then it locks the file.
func (m *move) begin(ctx context.Context) error {
	found, err := readMark(ctx, m.db)
	if err != nil {
		return err
	}
	var from, token string
	err = m.to.QueryRow(ctx, `SELECT p.last, coalesce(t.last, '') FROM moving p LEFT JOIN moving t ON t.name = 'token' WHERE p.name = ''`).Scan(&from, &token)
	switch {
	case errors.Is(err, pgx.ErrNoRows) && found != nil && found.moved:
		return found.refusal()
	case errors.Is(err, pgx.ErrNoRows):
		err = m.beginAnew(ctx)
	case err != nil:
	case from != m.path:
		err = fmt.Errorf("this database is half moved from %s: go on with that one, or begin with an empty database", from)
	case found == nil || found.token != token:
		err = fmt.Errorf("this database is half moved from an earlier state of %s, which went on since: begin with an empty database", from)
	default:
		m.mark = *found
	}
	if err != nil {
		return err
	}
	if m.from, err = m.db.BeginTx(ctx, nil); err != nil {
		return fmt.Errorf("lock %s: %w", m.path, err)
	}
	return nil
}

// beginAnew marks the file before the database: what isn't marked there begins anew once more.
func (m *move) beginAnew(ctx context.Context) error {
	for _, name := range moved {
		var used bool
		if err := m.to.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM `+name+`)`).Scan(&used); err != nil {
			return err
		}
		if used {
			return fmt.Errorf("the database isn't empty: its table %s has rows", name)
		}
	}
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("lock %s: %w", m.path, err)
	}
	defer tx.Rollback()
	if err := m.mark.begin(ctx, tx, m.name, time.Now()); err != nil {
		return fmt.Errorf("mark %s as moving: %w", m.path, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("mark %s as moving: %w", m.path, err)
	}
	_, err = m.to.Exec(ctx, `INSERT INTO moving (name, last) VALUES ('', $1), ('token', $2)`, m.path, m.mark.token)
	return err
}

// finish takes over how far the sweeper was, and lets others in. Before that the file is marked as moved:
// from then on the two may differ.
func (m *move) finish(ctx context.Context) error {
	var swept []byte
	if err := m.from.QueryRowContext(ctx, `SELECT id FROM watermark WHERE name = 'sweep'`).Scan(&swept); err != nil {
		return err
	}
	if _, err := m.from.ExecContext(ctx, `INSERT INTO moving (name, last) VALUES ('moved', '') ON CONFLICT DO NOTHING`); err != nil {
		return err
	}
	if err := m.from.Commit(); err != nil {
		return fmt.Errorf("mark %s as moved: %w", m.path, err)
	}
	return pgx.BeginFunc(ctx, m.to, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE watermark SET id = $1 WHERE name IN ('sweep', 'announced')`, swept); err != nil {
			return err
		}
		if m.server.citus.Load() != nil {
			if err := sumCitusUsage(ctx, tx); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `DELETE FROM moving`)
		return err
	})
}

// table copies what is missing of a table, in the order of its key.
func (m *move) table(ctx context.Context, name string) error {
	columns, err := m.columns(ctx, name)
	if err != nil {
		return err
	}
	last, err := m.last(ctx, name, columns)
	if err != nil {
		return err
	}
	for {
		rows, err := m.read(ctx, name, columns, last)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		last = keyOf(columns, rows[len(rows)-1])
		if err := m.write(ctx, name, columns, rows, last); err != nil {
			return err
		}
		m.done += len(rows)
		m.progress(m.done, m.all)
	}
}

// A moveColumn is one column of a table. Those of the key come first.
type moveColumn struct {
	name    string
	key     bool
	boolean bool // in PostgreSQL
}

func (m *move) columns(ctx context.Context, table string) (all []moveColumn, err error) {
	booleans := map[string]bool{}
	found, err := m.to.Query(ctx, `SELECT column_name FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name = $1 AND data_type = 'boolean'`, table)
	if err != nil {
		return nil, err
	}
	var name string
	if _, err := pgx.ForEachRow(found, []any{&name}, func() error { booleans[name] = true; return nil }); err != nil {
		return nil, err
	}
	return query(ctx, m.from, func(row scanner) (c moveColumn, err error) {
		err = row.Scan(&c.name, &c.key)
		c.boolean = booleans[c.name]
		return c, err
	}, `SELECT name, pk > 0 FROM pragma_table_info($1) ORDER BY pk = 0, pk, cid`, table)
}

// last is the key of the last row that was moved before, or nil.
func (m *move) last(ctx context.Context, table string, columns []moveColumn) (key []any, err error) {
	var text string
	err = m.to.QueryRow(ctx, `SELECT last FROM moving WHERE name = $1`, table).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if key, err = parseKey(text); err != nil {
		return nil, err
	}
	var before int
	err = m.from.QueryRowContext(ctx, `SELECT count(*) FROM `+table+` WHERE (`+names(columns, true)+`) <= (`+params(len(key))+`)`, key...).Scan(&before)
	m.done += before
	return key, err
}

func (m *move) read(ctx context.Context, table string, columns []moveColumn, after []any) ([][]any, error) {
	text := `SELECT ` + names(columns, false) + ` FROM ` + table
	if after != nil {
		text += ` WHERE (` + names(columns, true) + `) > (` + params(len(after)) + `)`
	}
	return query(ctx, m.from, func(row scanner) ([]any, error) {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		err := row.Scan(into...)
		return values, err
	}, text+` ORDER BY `+names(columns, true)+` LIMIT `+strconv.Itoa(moveStep), after...)
}

// write commits rows, and how far that is.
func (m *move) write(ctx context.Context, table string, columns []moveColumn, rows [][]any, last []any) error {
	text, err := formatKey(last)
	if err != nil {
		return err
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return pgx.BeginFunc(ctx, m.to, func(tx pgx.Tx) error {
		source := pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return converted(columns, rows[i]), nil })
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{table}, names, source); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO moving (name, last) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET last = excluded.last`, table, text)
		return err
	})
}

// converted makes of SQLite's values what PostgreSQL takes.
func converted(columns []moveColumn, row []any) []any {
	for i, c := range columns {
		switch v := row[i].(type) {
		case int64:
			if c.boolean {
				row[i] = v != 0
			}
		case string:
			row[i] = mended(v)
		case []byte:
			row[i] = append([]byte{}, v...) // what is empty isn't NULL
		}
	}
	return row
}

func keyOf(columns []moveColumn, row []any) (key []any) {
	for i, c := range columns {
		if c.key {
			key = append(key, row[i])
		}
	}
	return key
}

// A key is kept as JSON: numbers, texts, and bytes as {"b": base64}.
type keyPart struct {
	Number *int64  `json:"n,omitempty"`
	Text   *string `json:"t,omitempty"`
	Bytes  []byte  `json:"b,omitempty"`
}

func formatKey(key []any) (string, error) {
	parts := make([]keyPart, len(key))
	for i, v := range key {
		switch v := v.(type) {
		case int64:
			parts[i].Number = &v
		case string:
			parts[i].Text = &v
		case []byte:
			parts[i].Bytes = v
		default:
			return "", fmt.Errorf("a key of type %T", v)
		}
	}
	text, err := json.Marshal(parts)
	return string(text), err
}

func parseKey(text string) (key []any, err error) {
	var parts []keyPart
	if err := json.Unmarshal([]byte(text), &parts); err != nil {
		return nil, err
	}
	for _, p := range parts {
		switch {
		case p.Number != nil:
			key = append(key, *p.Number)
		case p.Text != nil:
			key = append(key, *p.Text)
		default:
			key = append(key, p.Bytes)
		}
	}
	return key, nil
}

// names lists columns, all of them or those of the key.
func names(columns []moveColumn, key bool) string {
	var list []string
	for _, c := range columns {
		if c.key || !key {
			list = append(list, c.name)
		}
	}
	return strings.Join(list, ", ")
}

// params are n parameters: $1, $2, ...
func params(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = "$" + strconv.Itoa(i+1)
	}
	return strings.Join(list, ", ")
}
