package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// aMove says what the tests are that a newcomer can do without.
const aMove = "moves a project between shards in one more way"

// A moveTest has two shards, a and b. A project p, with something in every table, and a project q are on a, and a project r is on b.
type moveTest struct {
	t      *testing.T
	shards map[string]store.Shard
	stores map[string]*store.Store
	key    account.KeyHash // of p
	open   *verify.Verification

	workers map[string]string // the URLs of those that hold the shards on Citus
}

// twoShards makes them: two schemas of one database, or two databases.
func twoShards(t *testing.T, databases int) *moveTest {
	t.Helper()
	return twoShardsOf(t, databases, storetest.LentSchema)
}

// twoShardsOf makes them of databases that are lent, or of new ones.
func twoShardsOf(t *testing.T, databases int, make func(t testing.TB, schemas ...string) (databaseURL string)) *moveTest {
	t.Helper()
	m := &moveTest{t: t, shards: map[string]store.Shard{}, stores: map[string]*store.Store{}, workers: map[string]string{}}
	if layout, on := onCitus(t); on {
		m.placeOnCitus(layout)
	} else if databases > 1 {
		m.addShard("a", make(t, "verify_a"))
		m.addShard("b", make(t, "verify_b"))
	} else {
		url := make(t, "verify_a", "verify_b")
		m.addShard("a", url)
		m.addShard("b", url)
	}
	for project, shard := range map[verify.ProjectID]string{"p": "a", "q": "a", "r": "b"} {
		m.fill(project, shard)
	}
	return m
}

// addShard opens a shard that is there.
func (m *moveTest) addShard(name, url string) {
	m.t.Helper()
	m.shards[name] = store.Shard{Name: name, Postgres: &store.Postgres{URL: url, Schema: "verify_" + name, Timeout: 10 * time.Second}}
	m.stores[name] = m.replica(name)
}

// third adds a shard c, in a's database.
func (m *moveTest) third() {
	m.t.Helper()
	url := m.shards["a"].URL
	fillSchema(m.t, url, "verify_c")
	m.addShard("c", url)
}

// replica opens a shard as one more server does.
func (m *moveTest) replica(shard string, edits ...func(*store.Options)) *store.Store {
	m.t.Helper()
	return replica(m.t, m.shards[shard].URL, append(edits, func(o *store.Options) { o.Postgres.Schema = "verify_" + shard })...)
}

func (m *moveTest) demand(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *moveTest) db(shard string) *sql.DB {
	m.t.Helper()
	db, err := sql.Open("pgx", pgtest.InSchema(m.shards[shard].URL, "verify_"+shard))
	m.demand(err)
	m.t.Cleanup(func() { db.Close() })
	return db
}

// fill makes a project with something in every table.
func (m *moveTest) fill(p verify.ProjectID, shard string) {
	m.t.Helper()
	s := m.stores[shard]
	m.demand(s.CreateProject(ctx, verify.Project{ID: p, Name: "Project " + string(p), Profile: verify.ProfileCompat, PublicText: true}, store.Audit{Actor: "a", Action: "b"}))
	key := account.HashKey(verify.Secret("key of " + string(p)))
	if p == "p" {
		m.key = key
	}
	m.demand(s.CreateKey(ctx, account.Key{ID: verify.NewID(time.Now()), Project: p, Hash: key, Consumer: "consumer-" + string(p), Scopes: verify.AllScopes}))
	m.demand(s.CreateText(ctx, verify.TextTemplate{ID: verify.NewID(time.Now()), Project: p, Name: "t", Texts: []verify.Text{{Text: "{code}"}}, Version: 1}, 1))
	m.demand(s.CreateTemplate(ctx, verify.MessageTemplate{ID: verify.NewID(time.Now()), Project: p, Name: "t", Pattern: "{code}", Version: 1}, 1))
	app := verify.Application{ID: verify.NewID(time.Now()), Project: p, Name: "app", Version: 1}
	m.demand(s.CreateApplication(ctx, app, true, 1))
	user := pending(time.Now(), number(0))
	user.Project, user.Application, user.User = p, app.ID, "somebody"
	m.demand(s.StartUser(ctx, user, verify.UserStart{Associate: true, Address: string(number(0)), Lease: time.Hour}))
	k := verify.UserKey{Project: p, Application: app.ID, Name: "somebody"}
	m.demand(s.AddDevice(ctx, k, verify.Device{ID: verify.NewID(time.Now()), Application: app.ID, User: "somebody", Kind: verify.DeviceWebPush, Fingerprint: []byte{1}, KeyID: 7, Sealed: []byte{2}}, 1, verify.ID{}))
	m.demand(s.AddEnrolment(ctx, k, verify.Enrolment{Hash: []byte("enrolment of " + p), ExpiresAt: time.Now().Add(time.Hour)}))
	_, err := s.ChangeBudget(ctx, p, func(b *verify.Budget) ([]store.Audit, error) {
		b.DayMessages, b.Currency = 1000, "EUR"
		return nil, nil
	})
	m.demand(err)
	_, err = s.AddCredit(ctx, p, verify.LedgerEntry{Kind: verify.LedgerTopUp, Amount: money.Amount(1_000_000), Actor: "a"})
	m.demand(err)
	_, err = s.ChangeCountryLimit(ctx, p, "US", func(l *verify.CountryLimit) ([]store.Audit, error) { l.DayMessages = 900; return nil, nil })
	m.demand(err)
	for i := range 6 {
		v := pending(time.Now(), number(i))
		v.Project, v.KeyID = p, 7
		v.Toll.Bound = true
		if i == 1 {
			v.Channel, v.Calling = verify.ChannelVoice, time.Hour
			v.To = number(100 + int(p[0]))
		}
		m.demand(s.Start(ctx, v, verify.Limits{Daily: 5}, time.Hour))
		switch i {
		case 2, 3: // sent, or to be tried again
			st := verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, Carrier: "c", Ref: "r", StartedAt: time.Now()}}
			if i == 3 {
				st.Outcome, st.Retry, st.RetryAt = verify.AttemptErrored, true, time.Now().Add(time.Hour)
			}
			_, err := s.Settle(ctx, st)
			m.demand(err)
		case 4:
			_, err := s.Check(ctx, guess(v, "483920"))
			m.demand(err)
		case 5:
			_, err := s.Check(ctx, guess(v, "000000"))
			m.demand(err)
			if p == "p" {
				m.open = v
			}
		}
	}
	db := m.db(shard)
	for _, text := range []string{
		`INSERT INTO kept_answer (name, id, key_id, request, sealed, expires_at, project) VALUES (convert_to('PROJECT', 'UTF8'), '\x02', 7, '\x03', '\x04', 4000000000000, 'PROJECT')`,
		`INSERT INTO kept_count (project, hour, n) VALUES ('PROJECT', 1, 2)`,
		`INSERT INTO made_with (key_id, print, used_at) VALUES (7, '\x07', 1) ON CONFLICT DO NOTHING`,
		`INSERT INTO usage_day (project, day, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price)
			SELECT 'PROJECT', 20000 + d, '\x01', '', 'sms', 'US', 'carrier of PROJECT', '', 1, 2, 3, 0, 1, 1, 5, 7 FROM generate_series(1, 40) d`,
	} {
		_, err := db.Exec(strings.ReplaceAll(text, "PROJECT", string(p)))
		m.demand(err)
	}
	if len(m.workers) > 0 { // Citus has no triggers
		m.demand(store.SumUsage(ctx, m.shards[shard].Postgres))
	}
}

// rows are a project's rows in a shard, by table. What a move writes about itself isn't among them.
func (m *moveTest) rows(p verify.ProjectID, shard string) map[string][]string {
	m.t.Helper()
	db, all := m.db(shard), map[string][]string{}
	for table, where := range store.MovedTables(p) {
		switch table {
		case "usage_month", "usage_sum":
			where = "project = '" + string(p) + "'"
		case "retry":
			where = "id IN (SELECT id FROM verification WHERE project = '" + string(p) + "')"
		case "audit":
			where += " AND action <> 'project move'"
		}
		if where == "" {
			continue
		}
		rows, err := db.Query(`SELECT row_to_json(t)::text FROM ` + table + ` t WHERE ` + where + ` ORDER BY 1`)
		m.demand(err)
		for rows.Next() {
			var text string
			m.demand(rows.Scan(&text))
			all[table] = append(all[table], text)
		}
		m.demand(rows.Err())
	}
	return all
}

// sums are those of all projects' usage in a shard that aren't zero.
func (m *moveTest) sums(shard string) string {
	m.t.Helper()
	return query[string](m.t, pgtest.InSchema(m.shards[shard].URL, "verify_"+shard),
		`SELECT coalesce(string_agg(row_to_json(s)::text, E'\n' ORDER BY row_to_json(s)::text), '') FROM usage_sum s WHERE project = ''`)
}

func (m *moveTest) moving(from, to string) store.ProjectMoving {
	w := store.ProjectMoving{Project: "p", From: m.shards[from], To: m.shards[to], Actor: "somebody"}
	w.Settle(time.Millisecond)
	return w
}

// here reports whether a shard decides on p, and whether its key is known there.
func (m *moveTest) here(s *store.Store) (decides bool, key error) {
	m.t.Helper()
	_, key = s.Account(ctx, m.key)
	v := pending(time.Now(), number(50))
	switch err := s.Start(ctx, v, verify.Limits{}, time.Hour); {
	case err == nil:
		m.demand(s.Cancel(ctx, "p", v.ID))
		return true, key
	case !errors.Is(err, verify.ErrMoving):
		m.t.Errorf("a start: got %v", err)
	}
	return false, key
}

func (m *moveTest) same(what string, got, want map[string][]string) {
	m.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		m.t.Errorf("%s: -want +got\n%.3000s", what, d)
	}
}

// Each table is in the list that says what a move does with its rows.
func TestAMoveKnowsEveryTable(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("pgx", storetest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname <> 'goose_db_version'`)
	if err != nil {
		t.Fatal(err)
	}
	listed := store.MovedTables("p")
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		known, _, why := store.MovedTable(name)
		if !known {
			t.Errorf("table %s: movedTables doesn't say whether a project that moves takes its rows along", name)
		} else if (listed[name] == "") != (why != "") {
			t.Errorf("table %s: say by which condition its rows are a project's, or why they aren't copied", name)
		}
		delete(listed, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for name := range listed {
		t.Errorf("there is no table %s", name)
	}
}

// All of a project arrives, nothing of it is left, and what others have stays as it is. It goes back as well.
func TestMoveProjectBringsAll(t *testing.T) {
	t.Parallel()
	for _, databases := range []int{1, 2} {
		t.Run(fmt.Sprint(databases), func(t *testing.T) {
			t.Parallel()
			if databases > 1 {
				testsize.Quarter(t, aMove)
			}
			if _, on := onCitus(t); on && databases > 1 {
				t.Skip("it's the same there")
			}
			m := twoShards(t, databases)
			want, others, sums := m.rows("p", "a"), m.rows("q", "a"), [2]string{m.sums("a"), m.sums("b")}
			for table, where := range store.MovedTables("p") {
				if where != "" && len(want[table]) == 0 {
					t.Errorf("table %s has no rows of the project: this shows nothing of it", table)
				}
			}
			hints := 0
			m.demand(m.db("a").QueryRow(`SELECT count(*) FROM verification WHERE project = 'p' AND (delivery IN (0, 1) OR due_at <> 0)`).Scan(&hints))
			for _, way := range [][2]string{{"a", "b"}, {"b", "a"}} {
				done, err := store.MoveProject(ctx, m.moving(way[0], way[1]))
				m.demand(err)
				got := m.rows("p", way[1])
				if len(got["retry"]) != hints {
					t.Errorf("hints of open messages: got %d, want %d", len(got["retry"]), hints)
				}
				delete(got, "retry")
				delete(want, "retry")
				m.same("rows that arrived", got, want)
				left := m.rows("p", way[0])
				delete(left, "audit")
				m.same("rows that are left", left, map[string][]string{})
				m.same("rows of another project", m.rows("q", "a"), others)
				if done.Rows == 0 || done.Fenced == 0 {
					t.Errorf("it says that it moved %+v", done)
				}
				var audits int
				for shard, n := range map[string]int{way[0]: 2, way[1]: 1} {
					m.demand(m.db(shard).QueryRow(`SELECT count(*) FROM audit WHERE action = 'project move' AND detail LIKE '%from shard ` + way[0] + ` %'`).Scan(&audits))
					if audits < n {
						t.Errorf("shard %s has %d entries about the move in its audit log, want %d", shard, audits, n)
					}
				}
				if decides, err := m.here(m.stores[way[0]]); decides || !errors.Is(err, verify.ErrUnauthenticated) {
					t.Errorf("shard %s, which it left: decides: %t, its key: %v", way[0], decides, err)
				}
				if decides, err := m.here(m.stores[way[1]]); !decides || err != nil {
					t.Errorf("shard %s, where it is: decides: %t, its key: %v", way[1], decides, err)
				}
				// As m.here has changed something:
				want, others = m.rows("p", way[1]), m.rows("q", "a")
				m.demand(m.db(way[1]).QueryRow(`SELECT count(*) FROM verification WHERE project = 'p' AND (delivery IN (0, 1) OR due_at <> 0)`).Scan(&hints))
			}
			if got := [2]string{m.sums("a"), m.sums("b")}; got != sums {
				t.Errorf("sums of all projects' usage: got\n%s\nwant\n%s", got, sums)
			}
			if got := query[string](t, pgtest.InSchema(m.shards["a"].URL, "verify_a"), `SELECT status || ' ' || guesses FROM verification WHERE id = $1`, m.open.ID[:]); got != "0 1" {
				t.Errorf("the guesses that are spent: got status and guesses %s, want 0 1", got)
			}
			if out, err := m.stores["a"].Check(ctx, guess(m.open, "483920")); err != nil || !out.Approved {
				t.Errorf("the right code: got %+v, %v", out, err)
			}
			if out, err := m.stores["a"].Check(ctx, guess(m.open, "483920")); err == nil {
				t.Errorf("the right code once more: got %+v", out)
			}
		})
	}
}

// A move that was stopped at any step goes on, or is undone before the turn. In between, the project is decided on in one shard at
// most.
func TestMoveProjectGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	var steps []string
	m := twoShards(t, 1)
	w := m.moving("a", "b")
	w.Progress = func(step string) { steps = append(steps, step) }
	_, err := store.MoveProject(ctx, w)
	m.demand(err)
	if _, on := onCitus(t); on || testing.Short() { // those between which something differs
		steps = slices.DeleteFunc(steps, func(step string) bool {
			return strings.Contains(step, " ") && !slices.Contains([]string{"copied project", "copied verification", "copied audit", "cleared retry", "cleared verification", "cleared project"}, step)
		})
	}
	turned := slices.Index(steps, "turned")
	if turned < 0 || steps[len(steps)-1] != "done" {
		t.Fatalf("steps: %q", steps)
	}
	crash := func(from, to, at string) {
		t.Helper()
		w := m.moving(from, to)
		w.At(func(step string) error {
			if step == at {
				return errors.New(step)
			}
			return nil
		})
		if _, err := store.MoveProject(ctx, w); !errors.Is(err, store.ErrCrash) {
			t.Fatalf("a move that crashes at %q: got %v", at, err)
		}
	}
	from, to := "b", "a"
	for i, step := range steps {
		want := m.rows("p", from)
		crash(from, to, step)
		at := from
		if i >= turned {
			at = to
		}
		for name, s := range m.stores {
			decides, key := m.here(s)
			switch {
			case name != at && decides, decides != (key == nil):
				t.Errorf("after %q, shard %s: decides: %t, its key: %v; it is on %s", step, name, decides, key, at)
			case name == at && !decides && (i >= turned || step == "expected"):
				t.Errorf("after %q, shard %s, where it is, doesn't decide: %v", step, name, key)
			}
		}
		if i < turned && i%2 == 0 && step != "expected" {
			m.demand(store.AbortProjectMove(ctx, m.moving(from, to)))
			m.same("rows after an abort at "+step, m.rows("p", from), want)
			if decides, key := m.here(m.stores[from]); !decides || key != nil {
				t.Errorf("after an abort at %q: decides: %t, its key: %v", step, decides, key)
			}
			if decides, _ := m.here(m.stores[to]); decides {
				t.Errorf("after an abort at %q: the other shard decides", step)
			}
			want = m.rows("p", from)
		} else if i >= turned && step != "done" {
			if err := store.AbortProjectMove(ctx, m.moving(from, to)); !errors.Is(err, store.ErrTurned) {
				t.Errorf("abort after %q: got %v, want %v", step, err, store.ErrTurned)
			}
		}
		if step == "done" {
			break
		}
		if i >= turned || step == "expected" { // m.here has changed something
			want = m.rows("p", at)
		}
		_, err := store.MoveProject(ctx, m.moving(from, to))
		m.demand(err)
		got := m.rows("p", to)
		delete(got, "retry")
		delete(want, "retry")
		m.same("rows after a crash at "+step, got, want)
		from, to = to, from
	}
}

// What was under way when the fence was put up is committed before the project is copied, and moves with it.
func TestMoveProjectWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	begun, let := make(chan struct{}, 1), make(chan struct{})
	var hold, committed atomic.Bool
	slow := m.replica("a", func(o *store.Options) {
		o.Commit = func(_ int, commit func() error) error {
			if hold.CompareAndSwap(true, false) {
				begun <- struct{}{}
				<-let
				defer committed.Store(true)
			}
			return commit()
		}
	})
	_, citus := onCitus(t)
	for name, write := range map[string]func() error{
		"a group": func() error { _, err := slow.Check(ctx, guess(m.open, "000000")); return err },
		"what is alone": func() error {
			_, err := slow.ChangeProject(ctx, "p", func(p *verify.Project) ([]store.Audit, error) { p.Name += "!"; return nil, nil })
			return err
		},
	} {
		before := m.rows("p", "a")
		committed.Store(false)
		hold.Store(true)
		let = make(chan struct{})
		wrote := make(chan error, 1)
		end := sync.OnceFunc(func() {
			time.AfterFunc(200*time.Millisecond, func() { close(let) }) // a move that doesn't wait is through by then
		})
		w := m.moving("a", "b")
		w.At(func(step string) error {
			switch step {
			case "expected": // the move has looked for a backup before
				go func() { wrote <- write() }()
				<-begun
				if citus && name == "what is alone" { // the fence itself waits for it
					end()
				}
			case "fenced":
				end()
			case "alone":
				if !committed.Load() {
					t.Errorf("%s: the move goes on before it is committed", name)
				}
			}
			return nil
		})
		_, err := store.MoveProject(ctx, w)
		m.demand(err)
		if err := <-wrote; err != nil {
			t.Errorf("%s: got %v", name, err)
		}
		if after := m.rows("p", "b"); cmp.Equal(after["verification"], before["verification"]) && cmp.Equal(after["project"], before["project"]) {
			t.Errorf("%s: what it wrote is lost", name)
		}
		_, err = store.MoveProject(ctx, m.moving("b", "a"))
		m.demand(err)
	}
}

// A replica that knows nothing of a move, because it stood still meanwhile, decides nothing about the project.
func TestAReplicaThatMissedAMoveDecidesNothing(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	late := m.replica("a")
	m.demand(late.Cancel(ctx, "q", m.started(late, "q", number(60)))) // its connection is there
	sending := m.started(late, "p", number(61))
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	m.demand(late.Watch(ctx)) // its last decision was about the project
	before := m.rows("p", "b")
	for name, try := range map[string]func() error{
		"a start":  func() error { return late.Start(ctx, pending(time.Now(), number(62)), verify.Limits{}, time.Hour) },
		"a guess":  func() error { _, err := late.Check(ctx, guess(m.open, "483920")); return err },
		"a cancel": func() error { return late.Cancel(ctx, "p", m.open.ID) },
		"a change": func() error {
			_, err := late.ChangeProject(ctx, "p", func(p *verify.Project) ([]store.Audit, error) { p.Name = "x"; return nil, nil })
			return err
		},
		"a key": func() error { return late.CreateKey(ctx, account.Key{ID: verify.NewID(time.Now()), Project: "p"}) },
		"a credit": func() error {
			_, err := late.AddCredit(ctx, "p", verify.LedgerEntry{Kind: verify.LedgerTopUp, Amount: 1})
			return err
		},
	} {
		if err := try(); !errors.Is(err, verify.ErrMoving) {
			t.Errorf("%s: got %v, want %v", name, err, verify.ErrMoving)
		}
	}
	if _, err := late.Renew(ctx, sending, 1, time.Hour); err == nil {
		t.Error("it renews a lease of a message that has moved, and may send it")
	}
	m.same("rows", m.rows("p", "b"), before)
	m.demand(late.Cancel(ctx, "q", m.started(late, "q", number(63)))) // others go on
	m.demand(m.stores["b"].Watch(ctx))
	if n := query[int](t, pgtest.InSchema(m.shards["a"].URL, "verify_a"), `SELECT count(*) FROM audit WHERE action = 'void'`); n != 0 {
		t.Error("what is pending in the shard that the project left was voided: its verifications are taken for lost")
	}
}

// started starts a message that is being sent.
func (m *moveTest) started(s *store.Store, p verify.ProjectID, to phone.Number) verify.ID {
	m.t.Helper()
	v := pending(time.Now(), to)
	v.Project = p
	m.demand(s.Start(ctx, v, verify.Limits{}, time.Hour))
	return v.ID
}

// What was void stays so. What would be void in the other shard keeps the project from moving.
func TestMoveProjectKeepsWhatIsVoid(t *testing.T) {
	t.Parallel()
	m := twoShards(t, 1)
	if _, err := m.db("a").Exec(`UPDATE watermark SET id = $1 WHERE name = 'void'`, m.open.ID[:]); err != nil {
		t.Fatal(err)
	}
	newer := m.started(m.stores["a"], "p", number(64))
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	if out, err := m.stores["b"].Check(ctx, guess(m.open, "483920")); err == nil {
		t.Errorf("a code that was void: got %+v", out)
	}
	if _, err := m.db("a").Exec(`UPDATE watermark SET id = $1 WHERE name = 'void'`, newer[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := store.MoveProject(ctx, m.moving("b", "a")); err == nil || !strings.Contains(err.Error(), "1 codes of the project would be void there") {
		t.Errorf("a move to where a pending code is void: got %v", err)
	}
	if decides, key := m.here(m.stores["b"]); !decides || key != nil {
		t.Errorf("after that: decides: %t, its key: %v", decides, key)
	}
}

// Of two commands at a time, one moves the project.
func TestTwoCommandsMoveAProjectOnce(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 2)
	want := m.rows("p", "a")
	var all sync.WaitGroup
	var moved atomic.Int32
	for range 3 {
		all.Go(func() {
			if _, err := store.MoveProject(ctx, m.moving("a", "b")); err == nil {
				moved.Add(1)
			}
		})
	}
	all.Wait()
	if moved.Load() == 0 { // they may have stopped each other
		_, err := store.MoveProject(ctx, m.moving("a", "b"))
		m.demand(err)
	}
	got := m.rows("p", "b")
	delete(got, "retry")
	delete(want, "retry")
	m.same("rows", got, want)
	if decides, key := m.here(m.stores["b"]); !decides || key != nil {
		t.Errorf("shard b: decides: %t, its key: %v", decides, key)
	}
	if decides, _ := m.here(m.stores["a"]); decides {
		t.Error("shard a decides")
	}
}

// serves has a server say that it runs on a shard, and serves others as well.
func (m *moveTest) serves(shard string, server byte, all ...string) {
	m.t.Helper()
	h := keyset.Holder{Server: [16]byte{server}, Prints: []keyset.Print{{ID: 7, Sum: [16]byte{7}}}, Host: "host" + shard}
	for _, name := range all {
		h.Serves = append(h.Serves, m.stores[name].Database())
	}
	_, err := m.stores[shard].HoldKeys(h, func([]keyset.Holder) uint32 { return 7 })
	m.demand(err)
}

// A project moves only where each server that runs on one of the shards serves both, and knows that projects move.
func TestMoveProjectNeedsServersOfBothShards(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	m.serves("a", 1, "a", "b")
	m.serves("b", 1, "a", "b")
	old := func(shard string) {
		m.t.Helper()
		_, err := m.db(shard).Exec(`INSERT INTO key_holder (server, keys, makes, seen_at) VALUES ('\x02', '', 0, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)`)
		m.demand(err)
	}
	for want, run := range map[string]func(){
		"older version, which doesn't know that projects move, runs on shard a": func() { old("a") },
		"older version, which doesn't know that projects move, runs on shard b": func() { old("b") },
		"server on hostb serves shard b, and lacks key 7": func() {
			_, err := m.stores["b"].HoldKeys(keyset.Holder{Server: [16]byte{2}, Prints: []keyset.Print{{ID: 7, Sum: [16]byte{8}}}, Host: "hostb", Serves: []string{m.stores["a"].Database(), m.stores["b"].Database()}}, func([]keyset.Holder) uint32 { return 0 })
			m.demand(err)
		},
		"server on hosta serves shard a, but not shard b": func() { m.serves("a", 2, "a") },
		"server on hostb serves shard b, but not shard a": func() { m.serves("b", 2, "b") },
	} {
		for _, when := range []string{"expected", "fenced"} { // the first one is after servers were looked at, too
			w := m.moving("a", "b")
			w.Tell(time.Millisecond)
			w.At(func(step string) error {
				if step == when {
					run()
				}
				return nil
			})
			if _, err := store.MoveProject(ctx, w); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a server that is started when the move is %s: got %v, want %q", when, err, want)
			}
			w.At(nil)
			if _, err := store.MoveProject(ctx, w); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a server that runs: got %v, want %q", err, want)
			}
			if decides, key := m.here(m.stores["a"]); !decides || key != nil {
				t.Errorf("after that: decides: %t, its key: %v", decides, key)
			}
			for name := range m.stores {
				_, err := m.db(name).Exec(`DELETE FROM key_holder WHERE get_byte(server, 0) = 2`)
				m.demand(err)
			}
		}
	}
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
}

// Where the other shard has lost the project when the rows are being deleted, nothing more is deleted, and the rest isn't copied as if it
// were all.
func TestMoveProjectStopsWhereTheTurnIsLost(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	for _, step := range []string{"left", "cleared verification"} {
		m := twoShards(t, 2)
		m.stopAt("a", "b", step)
		kept := m.rows("p", "b")
		if _, err := m.db("b").Exec(`UPDATE project_move SET state = 'arriving' WHERE project = 'p'`); err != nil { // as it was before the turn
			t.Fatal(err)
		}
		left := m.rows("p", "a")
		if _, err := store.MoveProject(ctx, m.moving("a", "b")); !errors.Is(err, store.ErrLostTurn) {
			t.Errorf("run again after %q: got %v, want %v", step, err, store.ErrLostTurn)
		}
		if err := store.AbortProjectMove(ctx, m.moving("a", "b")); !errors.Is(err, store.ErrTurned) {
			t.Errorf("abort after %q: got %v, want %v", step, err, store.ErrTurned)
		}
		m.same("rows that are left", m.rows("p", "a"), left)
		if decides, _ := m.here(m.stores["a"]); decides {
			t.Errorf("after %q, the shard that the project left decides", step)
		}
		if _, err := m.db("b").Exec(`UPDATE project_move SET state = 'arrived' WHERE project = 'p'`); err != nil { // it was restored
			t.Fatal(err)
		}
		_, err := store.MoveProject(ctx, m.moving("a", "b"))
		m.demand(err)
		m.same("rows", m.rows("p", "b"), kept)
		gone := m.rows("p", "a")
		delete(gone, "audit")
		m.same("rows that are left in the end", gone, map[string][]string{})
	}
}

// A shard that was brought back to before a project left it gives the project up again, and what it has of it is deleted by another run.
func TestAShardThatLostTheFenceYields(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 2)
	yield := func(from, to string) []verify.ProjectID {
		t.Helper()
		arrived, err := m.stores[to].Arrivals(ctx)
		m.demand(err)
		yielded, err := m.stores[from].Yield(ctx, to, arrived)
		m.demand(err)
		return yielded
	}
	// It goes, comes back, is nearly moved again, and goes.
	ways := [][2]string{{"a", "b"}, {"b", "a"}, {"a", "b"}}
	for i, way := range ways {
		for _, step := range []string{"fenced", "turned"} {
			m.stopAt(way[0], way[1], step)
			for _, ends := range [][2]string{way, {way[1], way[0]}} {
				if got := yield(ends[0], ends[1]); len(got) > 0 {
					t.Errorf("shard %s yields %v after %q from %s to %s", ends[0], got, step, way[0], way[1])
				}
			}
			if step == "fenced" {
				m.demand(store.AbortProjectMove(ctx, m.moving(way[0], way[1])))
			}
		}
		if i < len(ways)-1 {
			_, err := store.MoveProject(ctx, m.moving(way[0], way[1]))
			m.demand(err)
		}
	}
	for _, state := range []string{
		`DELETE FROM project_move`, // before it left for the first time
		`INSERT INTO project_move (project, state, id, other, began_at) VALUES ('p', 'arrived', '\x01', 'b', 1) ON CONFLICT (project) DO UPDATE SET state = excluded.state, id = excluded.id, began_at = excluded.began_at`,
		`UPDATE project_move SET state = 'moving', id = '\x01', began_at = 1`, // in the middle of an earlier move
	} {
		for _, text := range []string{state, `UPDATE watermark SET id = id WHERE name = 'void'`} {
			if _, err := m.db("a").Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		if decides, _ := m.here(m.stores["a"]); decides == strings.Contains(state, "moving") {
			t.Error("this shows nothing")
		}
		if got := yield("a", "b"); !slices.Equal(got, []verify.ProjectID{"p"}) {
			t.Errorf("it yields %v, want p", got)
		}
		if got := yield("b", "a"); len(got) > 0 {
			t.Errorf("the shard where it is yields %v", got)
		}
		if decides, key := m.here(m.stores["a"]); decides || !errors.Is(key, verify.ErrMoving) {
			t.Errorf("the shard that it left: decides: %t, its key: %v", decides, key)
		}
		if decides, key := m.here(m.stores["b"]); !decides || key != nil {
			t.Errorf("the shard where it is: decides: %t, its key: %v", decides, key)
		}
	}
	want := m.rows("p", "b")
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	left := m.rows("p", "a")
	delete(left, "audit")
	m.same("rows that are left", left, map[string][]string{})
	m.same("rows where it is", m.rows("p", "b"), want)
}

// A move that goes on waits as long as one that has just begun for servers to forget what they remember of the project.
func TestMoveProjectLetsServersForgetWhenItGoesOn(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	m.stopAt("a", "b", "fenced")
	w := m.moving("a", "b")
	w.Settle(time.Hour)
	hurry, stop := context.WithCancel(ctx)
	defer stop()
	w.At(func(step string) error {
		switch step {
		case "fitted":
			time.AfterFunc(100*time.Millisecond, stop) // one that doesn't wait is through by then
		case "turned":
			t.Error("the project is there before servers have forgotten that it was here")
		}
		return nil
	})
	if _, err := store.MoveProject(hurry, w); err == nil {
		t.Error("it didn't wait")
	}
	if decides, key := m.here(m.stores["a"]); !decides || key != nil {
		t.Errorf("after that: decides: %t, its key: %v", decides, key)
	}
}

// A command that finds that its move was aborted, and another one begun, leaves that alone.
func TestAMoveLeavesAnothersFence(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	w := m.moving("a", "b")
	w.At(func(step string) error {
		if step != "alone" {
			return nil
		}
		m.demand(store.AbortProjectMove(ctx, m.moving("a", "b")))
		m.stopAt("a", "b", "fenced")
		return nil
	})
	if _, err := store.MoveProject(ctx, w); err == nil || !strings.Contains(err.Error(), "aborted") {
		t.Errorf("a move that was aborted: got %v", err)
	}
	for shard, want := range map[string]string{"a": "moving", "b": "arriving"} {
		if moves, err := m.stores[shard].ProjectMoves(ctx); err != nil || len(moves) != 1 || moves[0].State != want {
			t.Errorf("shard %s: got %+v, %v; want the project %s", shard, moves, err, want)
		}
	}
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
}

// What arrives by another move isn't taken for what this one brings.
func TestAMoveBringsNothingIntoAnothers(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	w := m.moving("a", "b")
	w.At(func(step string) error {
		if step == "alone" {
			_, err := m.db("b").Exec(`UPDATE project_move SET id = '\x01'`)
			m.demand(err)
		}
		return nil
	})
	if _, err := store.MoveProject(ctx, w); err == nil || !strings.Contains(err.Error(), "another command") {
		t.Errorf("got %v", err)
	}
	if decides, key := m.here(m.stores["a"]); !decides || key != nil {
		t.Errorf("after that: decides: %t, its key: %v", decides, key)
	}
	if moves, err := m.stores["b"].ProjectMoves(ctx); err != nil || len(moves) != 1 || moves[0].State != "arriving" {
		t.Errorf("the other command's row: got %+v, %v", moves, err)
	}
}

// A kept answer goes along also where one of an earlier stay is left under its name. The later one stays.
func TestAMoveKeepsTheLaterAnswer(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	const put = `INSERT INTO kept_answer (name, id, key_id, request, sealed, expires_at, project) VALUES ($1, '\x02', 7, $2, $2, $3, $4)`
	for _, row := range []struct {
		shard, name string
		text        string
		expires     int64
		project     string
	}{
		{"a", "n1", "new", 4000000000002, "p"}, {"b", "n1", "old", 4000000000001, ""},
		{"a", "n2", "old", 4000000000001, ""}, {"b", "n2", "new", 4000000000002, "p"},
	} {
		_, err := m.db(row.shard).Exec(put, []byte(row.name), []byte(row.text), row.expires, row.project)
		m.demand(err)
	}
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	for _, name := range []string{"n1", "n2"} {
		if got := query[string](t, pgtest.InSchema(m.shards["b"].URL, "verify_b"), `SELECT convert_from(sealed, 'UTF8') || ' ' || project FROM kept_answer WHERE name = $1`, []byte(name)); got != "new p" {
			t.Errorf("answer %s: got %q, want the new one", name, got)
		}
	}
}

// While a backup of the shard is being made, a project isn't fenced for nothing: the move gives up before.
func TestMoveProjectGivesUpBesideABackup(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	backup, err := m.db("a").Begin()
	m.demand(err)
	defer backup.Rollback()
	_, err = backup.Exec(`LOCK TABLE project_move, watermark IN ACCESS SHARE MODE`) // as pg_dump does
	m.demand(err)
	w := m.moving("a", "b")
	w.Progress = func(step string) { t.Errorf("step %q", step) }
	if _, err := store.MoveProject(ctx, w); err == nil || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("got %v", err)
	}
	m.demand(backup.Rollback())
	_, err = store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
}

// Neither database ends the move because the other one takes long, whatever limits a role has.
func TestMoveProjectHasNoTimeLimit(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShardsOf(t, 2, storetest.SchemaIn) // processes of before don't have the settings
	for _, shard := range []string{"a", "b"} {
		_, err := m.db(shard).Exec(`DO $$ BEGIN
			EXECUTE format('ALTER DATABASE %I SET statement_timeout = 1', current_database());
			EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = 1', current_database()); END $$`)
		m.demand(err)
	}
	m.stands("a", "b")
}

// stands has a move stand still while it copies for longer than it may elsewhere.
func (m *moveTest) stands(from, to string) {
	m.t.Helper()
	const limit = 3 * time.Second
	w := m.moving(from, to)
	w.Stand(limit)
	w.At(func(step string) error {
		if step == "copied made_with" || step == "fitted" { // both are in their transactions
			time.Sleep(limit + time.Second)
		}
		return nil
	})
	_, err := store.MoveProject(ctx, w)
	m.demand(err)
}

// What others do in the shard to which a project moves doesn't wait for its copy.
func TestOthersDoNotWaitForAMove(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	_, err := m.db("b").Exec(`INSERT INTO usage_hour (project, hour, application, purpose, channel, country, carrier, currency, writer, started, messages, segments, minutes, delivered, approved, cost, price)
		SELECT 'r', (20000 + d) * 24, '\x01', '', 'sms', 'US', 'carrier of p', '', 5, 1, 2, 3, 0, 1, 1, 5, 7 FROM generate_series(1, 40) d`)
	m.demand(err)
	w := m.moving("a", "b")
	tried := false
	w.At(func(step string) error {
		if step != "fitted" { // the copy is there but for what others write
			return nil
		}
		tried = true
		m.demand(m.stores["b"].FoldUsage(ctx))
		m.serves("b", 1, "a", "b")
		v := pending(time.Now(), number(100+int('p')))
		v.Project, v.Channel, v.Calling = "r", verify.ChannelVoice, time.Hour
		if err := m.stores["b"].Start(ctx, v, verify.Limits{}, time.Hour); err != nil && !errors.Is(err, verify.ErrCalling) {
			t.Errorf("a call to a telephone that the project calls: got %v", err)
		}
		return nil
	})
	_, err = store.MoveProject(ctx, w)
	m.demand(err)
	if !tried {
		t.Error("this shows nothing")
	}
}

// Usage that is folded while the old rows are being deleted isn't left.
func TestMoveProjectDeletesWhatIsFoldedMeanwhile(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	w := m.moving("a", "b")
	w.At(func(step string) error {
		if step == "cleared usage_hour" {
			_, err := m.db("a").Exec(`INSERT INTO usage_hour (project, hour, application, purpose, channel, country, carrier, currency, writer, started, messages, segments, minutes, delivered, approved, cost, price)
				VALUES ('p', 20001 * 24, '\x01', '', 'sms', 'US', 'carrier of p', '', 5, 1, 2, 3, 0, 1, 1, 5, 7)`)
			m.demand(err)
			m.demand(m.stores["a"].FoldUsage(ctx))
		}
		return nil
	})
	sums := m.sums("a")
	_, err := store.MoveProject(ctx, w)
	m.demand(err)
	left := m.rows("p", "a")
	delete(left, "audit")
	m.same("rows that are left", left, map[string][]string{})
	_, err = store.MoveProject(ctx, m.moving("b", "a"))
	m.demand(err)
	if got := m.sums("a"); got != sums {
		t.Errorf("sums of all projects' usage: got\n%s\nwant\n%s", got, sums)
	}
}

// What runs alone as on Citus, where no lock is older than its snapshot, doesn't pass a fence that came after that.
func TestAnOldSnapshotPassesNoFence(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	s := m.replica("a")
	s.SpeakAsOnCitus("verify_a")
	begin := func() *sql.Tx {
		tx, err := m.db("a").BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		m.demand(err)
		t.Cleanup(func() { tx.Rollback() })
		return tx
	}
	old := begin()
	_, err := old.Exec(`SELECT FROM project`)
	m.demand(err)
	_, err = store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	if err := store.BeginOf(ctx, s, old, "p"); !store.Raced(err) {
		t.Errorf("with a snapshot from before the fence: got %v, want it run again", err)
	}
	if err := store.BeginOf(ctx, s, begin(), "p"); !errors.Is(err, verify.ErrMoving) {
		t.Errorf("after the fence: got %v, want %v", err, verify.ErrMoving)
	}
	m.demand(store.BeginOf(ctx, s, begin(), "q"))
}

// All tables are copied as of one moment: usage that is folded meanwhile isn't there twice.
func TestACopyIsOfOneMoment(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	_, err := m.db("a").Exec(`INSERT INTO usage_hour (project, hour, application, purpose, channel, country, carrier, currency, writer, started, messages, segments, minutes, delivered, approved, cost, price)
		VALUES ('p', 20001 * 24, '\x01', '', 'sms', 'US', 'late', '', 5, 1, 2, 3, 0, 1, 1, 5, 7)`)
	m.demand(err)
	w := m.moving("a", "b")
	w.At(func(step string) error {
		if step == "copied usage_hour" {
			m.demand(m.stores["a"].FoldUsage(ctx))
		}
		return nil
	})
	_, err = store.MoveProject(ctx, w)
	m.demand(err)
	m.demand(m.stores["b"].FoldUsage(ctx))
	if got := query[string](t, pgtest.InSchema(m.shards["b"].URL, "verify_b"), `SELECT string_agg(started || ' ' || cost, ', ') FROM usage_day WHERE project = 'p' AND carrier = 'late'`); got != "1 5" {
		t.Errorf("usage that was folded while it was copied: got %s, want 1 5", got)
	}
}

// What is left of a project in the shard that it has left is old, and isn't shown.
func TestWhatAProjectLeavesIsNotRead(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	m.stopAt("a", "b", "left")
	if _, err := m.stores["b"].Check(ctx, guess(m.open, "483920")); err != nil {
		t.Fatal(err)
	}
	if v, err := m.stores["a"].Verification(ctx, m.open.ID); !errors.Is(err, verify.ErrNotFound) {
		t.Errorf("where it was: got %+v, %v", v, err)
	}
	if v, err := m.stores["b"].Verification(ctx, m.open.ID); err != nil || v.Status != verify.StatusApproved {
		t.Errorf("where it is: got %+v, %v", v, err)
	}
}

// The slower of two commands that move a project to different shards leaves nothing behind in its own.
func TestTheSlowerOfTwoMovesLeavesNothing(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	m.third()
	slow := m.moving("a", "c")
	slow.At(func(step string) error {
		if step == "expected" {
			m.stopAt("a", "b", "fenced")
		}
		return nil
	})
	if _, err := store.MoveProject(ctx, slow); err == nil || !strings.Contains(err.Error(), "another command") {
		t.Errorf("the slower one: got %v", err)
	}
	if moves, err := m.stores["c"].ProjectMoves(ctx); err != nil || len(moves) != 1 || moves[0].State != "moved" {
		t.Errorf("its shard: got %+v, %v; want the project moved", moves, err)
	}
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	_, err = store.MoveProject(ctx, m.moving("b", "c"))
	m.demand(err)
}

// stopAt runs a move up to a step, as if the command had ended there.
func (m *moveTest) stopAt(from, to, step string) {
	m.t.Helper()
	m.stop(m.moving(from, to), step)
}

// stop does so with any move.
func (m *moveTest) stop(w store.ProjectMoving, step string) {
	m.t.Helper()
	w.At(func(at string) error {
		if at == step {
			return errors.New("crash")
		}
		return nil
	})
	if _, err := store.MoveProject(ctx, w); !errors.Is(err, store.ErrCrash) {
		m.t.Fatalf("a move that stops at %q: got %v", step, err)
	}
}

// A command that stood still while another one went on, and the project came back, deletes nothing of it.
func TestAMoveThatStoodStillDeletesNothing(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	for _, step := range []string{"left", "cleared destination", "cleared project"} {
		m := twoShards(t, 1)
		w := m.moving("a", "b")
		var want map[string][]string
		w.At(func(at string) error {
			if at != step || want != nil {
				return nil
			}
			for _, way := range [][2]string{{"a", "b"}, {"b", "a"}} {
				_, err := store.MoveProject(ctx, m.moving(way[0], way[1]))
				m.demand(err)
			}
			want = m.rows("p", "a")
			return nil
		})
		if _, err := store.MoveProject(ctx, w); err == nil || !strings.Contains(err.Error(), "another command was faster") {
			t.Errorf("a command that stood still at %q: got %v", step, err)
		}
		m.same("rows after it stood still at "+step, m.rows("p", "a"), want)
		if decides, key := m.here(m.stores["a"]); !decides || key != nil {
			t.Errorf("after it stood still at %q: decides: %t, its key: %v", step, decides, key)
		}
	}
}

// To abort a move names the shard to which it goes: another one can't tell whether the project is there.
func TestAnAbortNamesTheMovesShard(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	m.third()
	m.stopAt("a", "b", "turned")
	if err := store.AbortProjectMove(ctx, m.moving("a", "c")); err == nil || !strings.Contains(err.Error(), "to shard b") {
		t.Errorf("an abort of a move to another shard: got %v", err)
	}
	if decides, _ := m.here(m.stores["a"]); decides {
		t.Error("the shard that the project left decides")
	}
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
}

// An abort that stood still while the move was aborted, and another one was done, leaves the project where it is.
func TestAnAbortThatComesLateFencesNothing(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	m.stopAt("a", "b", "fenced")
	id := query[[]byte](t, pgtest.InSchema(m.shards["a"].URL, "verify_a"), `SELECT id FROM project_move`)
	m.demand(store.AbortProjectMove(ctx, m.moving("a", "b")))
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	// As the late one has seen it:
	_, err = m.db("a").Exec(`UPDATE project_move SET state = 'moving', id = $1`, id)
	m.demand(err)
	if err := store.AbortProjectMove(ctx, m.moving("a", "b")); err == nil {
		t.Error("it aborts what was aborted")
	}
	if decides, key := m.here(m.stores["b"]); !decides || key != nil {
		t.Errorf("shard b, where it is: decides: %t, its key: %v", decides, key)
	}
}

// Where the other shard has lost the turn before that was written down, codes that may have been used there are void.
func TestCodesAreVoidWhereTheTurnIsLost(t *testing.T) {
	t.Parallel()
	const promoted, empty = `UPDATE project_move SET state = 'arriving'`, `DELETE FROM project_move`
	for name, tt := range map[string]struct {
		lose  string
		abort bool
	}{
		"a promoted standby":           {promoted, false},
		"a promoted standby, an abort": {promoted, true},
		"an empty database, an abort":  {empty, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.abort {
				testsize.Quarter(t, aMove)
			}
			m := twoShards(t, 2)
			m.stopAt("a", "b", "turned")
			if out, err := m.stores["b"].Check(ctx, guess(m.open, "483920")); err != nil || !out.Approved {
				t.Fatalf("the code, where the project is: got %+v, %v", out, err)
			}
			tables := []string{"retry", "usage_month", "usage_sum"}
			for table, where := range store.MovedTables("p") {
				if where != "" {
					tables = append(tables, table)
				}
			}
			for _, text := range []string{tt.lose, `TRUNCATE ` + strings.Join(tables, ", ") + ` CASCADE`, `UPDATE server SET timeline = 'another'`} {
				_, err := m.db("b").Exec(text)
				m.demand(err)
			}
			at := "b"
			switch {
			case tt.lose == empty:
				if _, err := store.MoveProject(ctx, m.moving("a", "b")); err == nil || !strings.Contains(err.Error(), "doesn't know of this move") {
					t.Errorf("a move to an empty database, once more: got %v", err)
				}
				if decides, _ := m.here(m.stores["a"]); decides {
					t.Error("the project is decided on where it was, though nobody has said that it isn't elsewhere")
				}
			case !tt.abort:
				_, err := store.MoveProject(ctx, m.moving("a", "b"))
				m.demand(err)
			}
			if tt.abort {
				at = "a"
				m.demand(store.AbortProjectMove(ctx, m.moving("a", "b")))
			}
			fresh := m.replica(at) // which remembers no decision
			if decides, key := m.here(fresh); !decides || key != nil {
				t.Errorf("after that, shard %s: decides: %t, its key: %v", at, decides, key)
			}
			if out, err := fresh.Check(ctx, guess(m.open, "483920")); err == nil {
				t.Errorf("a code that was used already: got %+v", out)
			}
		})
	}
}

// A standby that was promoted, and had all, voids nothing because a project moves.
func TestAMoveForgivesAStandbyThatHadAll(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	for name, s := range m.shards {
		m.demand(m.stores[name].Close()) // they don't know that the standby had all
		promote := `UPDATE server SET timeline = 'another', incarnation =
			concat_ws('.', (SELECT oid FROM pg_database WHERE datname = current_database()), to_regclass('verification')::oid, mod(txid_current(), 4294967296))`
		if _, on := onCitus(t); on {
			promote = `UPDATE server SET timeline = 'another' WHERE name = 'primary'`
		}
		_, err := m.db(name).Exec(promote)
		m.demand(err)
		p := *s.Postgres
		p.SynchronousStandby = true
		m.shards[name] = store.Shard{Name: name, Postgres: &p}
	}
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	for _, name := range []string{"a", "b"} {
		if n := query[int](t, pgtest.InSchema(m.shards[name].URL, "verify_"+name), `SELECT count(*) FROM audit WHERE action = 'void'`); n != 0 {
			t.Errorf("what is pending on shard %s was voided", name)
		}
	}
}

// However long the copy takes, whoever sends a message has time after the turn to record its end: nobody sends it again meanwhile.
func TestAMessageUnderWayGetsALeaseFromTheTurnOn(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	sending := m.started(m.stores["a"], "p", number(61))
	_, err := m.db("a").Exec(`UPDATE verification SET due_at = 1 WHERE id = $1`, sending[:])
	m.demand(err)
	w := m.moving("a", "b")
	w.Settle(3 * time.Second) // so long takes what comes behind the messages
	_, err = store.MoveProject(ctx, w)
	m.demand(err)
	const read = `SELECT v.due_at - m.began_at FROM verification v JOIN project_move m ON m.project = v.project WHERE v.id = $1`
	if got := query[int64](t, pgtest.InSchema(m.shards["b"].URL, "verify_b"), read, sending[:]); got < store.ArrivedLease.Milliseconds() {
		t.Errorf("its lease ends %d ms after the turn, want at least %v", got, store.ArrivedLease)
	}
	if got := query[int64](t, pgtest.InSchema(m.shards["b"].URL, "verify_b"), `SELECT due - due_at FROM verification v JOIN retry USING (id) WHERE id = $1`, sending[:]); got != 0 {
		t.Errorf("somebody looks after it %d ms after its lease", got)
	}
}

// A database ends a transaction of a move that stands still, because other transactions wait for the rows that the move locks. Only the copy
// has no limit.
func TestAMoveStandsStillForAShortTime(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	short, telling, copying, err := m.moving("a", "b").StandsAtMost(ctx)
	m.demand(err)
	if short != "30s" || telling != "2s" || copying != "0" {
		t.Errorf("got limits of %s, of %s where void is written, and of %s while it copies; want 30s, 2s and 0", short, telling, copying)
	}
}

// A project doesn't move while another one moves the other way: the two would wait for each other. A move that was killed is in nobody's way, and
// is taken back by --abort, also before its fence.
func TestProjectsDoNotMoveBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	other := m.moving("b", "a")
	other.Project = "r"
	stop := func(at string) {
		t.Helper()
		m.stop(other, at)
	}
	refused := func(want string) {
		t.Helper()
		if _, err := store.MoveProject(ctx, m.moving("a", "b")); err == nil || !strings.Contains(err.Error(), "project r is being moved "+want) {
			t.Errorf("got %v, want that it is being moved %s", err, want)
		}
		if decides, err := m.here(m.stores["a"]); !decides || err != nil {
			t.Errorf("after that the project decides: %t, its key: %v", decides, err)
		}
	}
	old := func(shard string) { // it was killed long ago
		t.Helper()
		_, err := m.db(shard).Exec(`UPDATE project_move SET began_at = 1 WHERE project = 'r'`)
		m.demand(err)
	}
	allowed := func() {
		t.Helper()
		m.stopAt("a", "b", "fenced")
		m.demand(store.AbortProjectMove(ctx, m.moving("a", "b")))
	}

	stop("expected")
	refused("to shard a")
	old("a")
	allowed()
	m.demand(store.AbortProjectMove(ctx, other))
	if err := store.AbortProjectMove(ctx, other); err == nil || !strings.Contains(err.Error(), "isn't being moved") {
		t.Errorf("an abort once more: got %v", err)
	}

	stop("fenced")
	refused("to shard a")
	old("a")
	refused("from shard b")
	old("b")
	allowed()
	runs, err := m.db("b").Begin()
	m.demand(err)
	_, err = runs.Exec(`SELECT FROM project_move WHERE project = 'r' FOR SHARE`) // as it copies
	m.demand(err)
	refused("from shard b")
	m.demand(runs.Rollback())
	m.demand(store.AbortProjectMove(ctx, other))

	// Of two that begin together, one at least is refused.
	w := m.moving("a", "b")
	w.At(func(step string) error {
		if step == "expected" {
			_, err := m.db("a").Exec(`INSERT INTO project_move (project, state, id, other, began_at) VALUES ('r', 'arriving', '\x01', 'b', $1) ON CONFLICT (project) DO UPDATE SET state = 'arriving', began_at = excluded.began_at`, time.Now().UnixMilli())
			return err
		}
		return nil
	})
	if _, err := store.MoveProject(ctx, w); err == nil || !strings.Contains(err.Error(), "project r is being moved to shard a") {
		t.Errorf("got %v, want that another project is being moved", err)
	}
	m.demand(store.AbortProjectMove(ctx, other))

	// A killed move that goes on isn't young any more. It gives up while another move runs the other way, and takes its fence down.
	stop("fenced")
	old("a")
	old("b")
	w = m.moving("a", "b")
	w.At(func(step string) error {
		if step == "fitted" {
			if _, err := store.MoveProject(ctx, other); err == nil || !strings.Contains(err.Error(), "project p is being moved") || !strings.Contains(err.Error(), "stays on shard b") {
				t.Errorf("a move that goes on the other way: got %v", err)
			}
		}
		return nil
	})
	_, err = store.MoveProject(ctx, w)
	m.demand(err)
	_, err = store.MoveProject(ctx, other)
	m.demand(err)
}

// Usage that is folded between two steps of its deletion is taken out of the sums before its day is deleted.
func TestMoveProjectTakesALateFoldOutOfTheSums(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, aMove)
	m := twoShards(t, 1)
	sums := m.sums("a")
	for _, text := range []string{
		`CREATE TABLE folds (n int)`,
		`CREATE FUNCTION fold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NOT EXISTS (SELECT FROM verify_a.folds) AND EXISTS (SELECT FROM verify_a.usage_day WHERE project = 'p' AND started = 0) THEN
				INSERT INTO verify_a.folds VALUES (1);
				INSERT INTO verify_a.usage_day (project, day, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price)
					VALUES ('p', 20100, '\x01', '', 'sms', 'US', 'late', '', 1, 2, 3, 0, 1, 1, 5, 7);
			END IF;
			RETURN NULL;
		END $$`,
		`CREATE TRIGGER fold AFTER UPDATE ON usage_day FOR EACH STATEMENT EXECUTE FUNCTION fold()`,
	} {
		_, err := m.db("a").Exec(text)
		m.demand(err)
	}
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	if n := query[int](t, pgtest.InSchema(m.shards["a"].URL, "verify_a"), `SELECT count(*) FROM folds`); n != 1 {
		t.Fatalf("%d folds: this shows nothing", n)
	}
	_, err = m.db("a").Exec(`DROP TRIGGER fold ON usage_day`)
	m.demand(err)
	_, err = store.MoveProject(ctx, m.moving("b", "a"))
	m.demand(err)
	if got := m.sums("a"); got != sums {
		t.Errorf("sums of all projects' usage: got\n%s\nwant\n%s", got, sums)
	}
}
