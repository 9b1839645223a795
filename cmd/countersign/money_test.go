package main

import (
	"bytes"
	"database/sql"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// A ledgerTest has servers that send for a prepaid project and are killed.
type ledgerTest struct {
	t            *testing.T
	data, driver string
	source       string // of the raw rows
	options      store.Options
	running      []atomic.Pointer[process]
	begin        func(i int)
}

// The balance, the ledger and the messages add up to the millionth after each SIGKILL, and usage to what is counted again. An
// independent script computes the same invoice from the raw rows.
func TestMoneyAddsUpAfterKills(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		data := filepath.Join(t.TempDir(), "data")
		l := &ledgerTest{t: t, data: data, driver: "sqlite", source: filepath.Join(data, system.DatabaseFile)}
		l.addUp(1, func(phones string, life int) *process {
			return startDev(t, []string{runAs + "=" + crashRole, crashPhoneURL + "=" + phones, fmt.Sprintf("%s=%d", crashLife, life), crashPrices + "=1"},
				"--data", data, "--project", "crash", "--token", "crash-test-token")
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		url := storetest.Lent(t)
		data := filepath.Join(t.TempDir(), "data")
		l := &ledgerTest{t: t, data: data, driver: "pgx", source: url, options: store.Options{Postgres: &store.Postgres{URL: url, Writers: 1, Conns: 2, Timeout: 15 * time.Second}}}
		l.addUp(replicas, func(phones string, life int) *process {
			return devReplica(t, data, url, phones, life, crashPrices+"=1")
		})
	})
}

func (l *ledgerTest) addUp(servers int, start func(phones string, life int) *process) {
	const clients, credit = 20, 1000 * money.Amount(1_000_000)
	t, kills := l.t, testsize.Multiple(50)
	if testing.Short() && !testsize.Long() { // each takes a second of CPU
		kills = 4
	}
	var asked atomic.Int64
	var codes sync.Map // by verification
	phones := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m handedOver
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		switch n := asked.Add(1); {
		case n%7 == 0:
			w.WriteHeader(answerFailed)
			return
		case n%11 == 0:
			w.WriteHeader(answerLost)
		}
		codes.Store(m.Verification, codeIn(m.Body))
	}))
	defer phones.Close()
	l.running = make([]atomic.Pointer[process], servers)
	life := 0
	l.begin = func(i int) { life++; l.running[i].Store(start(phones.URL, life)) }
	for i := range servers {
		l.begin(i)
	}
	l.open(func(st *store.Store) error {
		if _, err := st.ChangeBudget(t.Context(), "crash", func(b *verify.Budget) ([]store.Audit, error) {
			b.DayMessages, b.Prepaid, b.Currency = 1_000_000, true, "EUR"
			return nil, nil
		}); err != nil {
			return err
		}
		_, err := st.AddCredit(t.Context(), "crash", verify.LedgerEntry{Kind: verify.LedgerTopUp, Amount: credit, Actor: "test"})
		return err
	})
	time.Sleep(2 * time.Second) // servers believe what they know of a project for a second

	var started, approved atomic.Int64
	over := make(chan struct{})
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			last := ""
			for {
				select {
				case <-over:
					return
				default:
				}
				p := l.running[i%servers].Load()
				resp, body, err := p.post("sms", fmt.Sprintf(`{"to":%q}`, newNumber()))
				if err != nil || resp.StatusCode != 200 {
					if err == nil && resp.StatusCode != 503 {
						t.Errorf("start: got %d %s", resp.StatusCode, body)
						return
					}
					time.Sleep(5 * time.Millisecond)
					continue
				}
				started.Add(1)
				var v struct{ ID string }
				json.Unmarshal([]byte(body), &v)
				if code, ok := codes.Load(last); ok { // of the start before, whose message has gone out by now
					if resp, body, err := p.post(last+"/verify", fmt.Sprintf(`{"token":%q}`, code)); err == nil && resp.StatusCode == 200 && strings.Contains(body, "true") {
						approved.Add(1)
					}
				}
				last = v.ID
			}
		})
	}
	var spent verify.Spending
	for killed := 0; killed < kills; {
		at := started.Load()
		if !within(patience, func() bool { return started.Load() >= at+60 }) {
			t.Fatalf("%d starts in time, want %d", started.Load()-at, 60)
		}
		for i := range l.running {
			l.running[i].Load().kill()
			killed++
		}
		spent = l.check()
		for i := range l.running {
			l.begin(i)
		}
	}
	close(over)
	all.Wait()
	for i := range l.running {
		l.running[i].Load().stop()
	}
	spent = l.check()
	t.Logf("%d kills: %d starts answered, %d approved, %d messages and %v EUR spent of %v, balance %v", kills, started.Load(), approved.Load(), spent.Messages, spent.Amount, credit, credit-spent.Amount)
	l.invoice()
}

func (l *ledgerTest) open(f func(*store.Store) error) {
	l.t.Helper()
	st, err := system.OpenStore(l.t.Context(), l.data, l.options)
	if err == nil {
		err = f(st)
		st.Close()
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// raw reads rows as they are stored.
func (l *ledgerTest) raw(text string, f func(rows *sql.Rows) error) {
	l.t.Helper()
	db, err := sql.Open(l.driver, l.source)
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(text)
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		l.t.Fatal(err)
	}
}

// check compares, while no server runs, what the project has spent with what its verifications and messages came to, and its
// usage with what is counted again.
func (l *ledgerTest) check() (spent verify.Spending) {
	t := l.t
	t.Helper()
	l.open(func(st *store.Store) error {
		b, err := st.Budget(t.Context(), "crash")
		spent = b.Ever
		if err != nil {
			return err
		}
		return st.Recount(t.Context(), time.Time{}, func(k verify.UsageKey, counted, again verify.Usage) {
			t.Errorf("usage of %+v: counted %+v, again %+v", k, counted, again)
		})
	})
	var want verify.Spending
	number := func(text string, at int) (n money.Amount) {
		if words := strings.Fields(text); len(words) > at {
			if _, err := fmt.Sscan(words[at], &n); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	l.raw(`SELECT fee, held FROM verification`, func(rows *sql.Rows) error {
		var fee, held string
		err := rows.Scan(&fee, &held)
		want.Amount += number(fee, 0) + number(held, 1)
		if held != "" {
			want.Messages++
		}
		return err
	})
	l.raw(`SELECT outcome, charge FROM delivery WHERE ended_at <> 0`, func(rows *sql.Rows) error {
		var outcome verify.AttemptOutcome
		var charge string
		err := rows.Scan(&outcome, &charge)
		want.Amount += number(charge, 2)
		if outcome == verify.AttemptAccepted || outcome == verify.AttemptUnknown || charge != "" {
			want.Messages++
		}
		return err
	})
	if spent != want {
		t.Errorf("spent: got %+v, want %+v as the rows say", spent, want)
	}
	return spent
}

// invoice exports a month's invoice, and has a script that knows nothing of the program compute it from the raw rows.
func (l *ledgerTest) invoice() {
	t := l.t
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("NOT RUN: it needs python3")
	}
	var in bytes.Buffer
	line := func(v any) {
		if err := json.NewEncoder(&in).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	l.raw(`SELECT id, fee FROM verification`, func(rows *sql.Rows) error {
		var id []byte
		var fee string
		err := rows.Scan(&id, &fee)
		line(map[string]any{"verification": hex.EncodeToString(id), "fee": fee})
		return err
	})
	l.raw(`SELECT verification, carrier, outcome, charge FROM delivery WHERE ended_at <> 0`, func(rows *sql.Rows) error {
		var id []byte
		var carrier, charge string
		var outcome int
		err := rows.Scan(&id, &carrier, &outcome, &charge)
		line(map[string]any{"verification": hex.EncodeToString(id), "carrier": carrier, "outcome": outcome, "charge": charge})
		return err
	})
	script := exec.Command(python, filepath.Join("testdata", "invoice.py"))
	script.Stdin = &in
	want, err := script.Output()
	if err != nil {
		t.Fatalf("the script: %v", err)
	}
	var rows []verify.UsageRow
	l.open(func(st *store.Store) (err error) {
		rows, err = st.Usage(t.Context(), verify.UsageQuery{Project: "crash", From: time.Now().AddDate(0, -2, 0), Until: time.Now().AddDate(0, 0, 2), Step: verify.StepMonth, By: []verify.UsagePart{verify.PartCarrier}})
		return err
	})
	got := [][]string{{"month", "carrier", "currency", "started", "messages", "segments", "cost", "price"}}
	for _, u := range rows {
		millionths := func(a money.Amount) string { return fmt.Sprintf("%d.%06d", a/1_000_000, a%1_000_000) }
		got = append(got, []string{u.Begin.Format(time.DateOnly), u.Carrier, string(u.Currency), fmt.Sprint(u.Started), fmt.Sprint(u.Messages), fmt.Sprint(u.Segments), millionths(u.Cost), millionths(u.Price)})
	}
	recomputed, err := csv.NewReader(bytes.NewReader(want)).ReadAll()
	if err != nil || !slices.EqualFunc(got, recomputed, slices.Equal) {
		t.Errorf("invoice: got\n%v\nthe script has\n%v, %v", got, recomputed, err)
	}
	t.Logf("invoice: %v", got)
}

// This test prints how much CPU time prices, a budget and a country's limit add to a start: the median of some runs without and
// with them. It demands nothing, because other work on the machine changes both.
func TestWhatMoneyCosts(t *testing.T) {
	testsize.Full(t, "measures CPU time")
	const starts, clients, runs = 3000, 20, 3
	phones := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer phones.Close()
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		var of [2][]time.Duration // without money, and with it
		for run := range 2 * runs {
			bound := run % 2
			env := []string{runAs + "=" + crashRole, crashPhoneURL + "=" + phones.URL, crashLife + "=1"}
			if bound == 1 {
				env = append(env, crashPrices+"=1")
			}
			l := &ledgerTest{t: t, data: filepath.Join(t.TempDir(), "data")}
			args := []string{"--data", l.data, "--project", "crash", "--token", "crash-test-token"}
			if engine == "PostgreSQL" {
				url := storetest.Lent(t)
				l.options.Postgres = &store.Postgres{URL: url, Writers: 1, Conns: 2, Timeout: 15 * time.Second}
				args = append(args, "--database", url)
			}
			p := startDev(t, env, args...)
			if bound == 1 {
				l.open(func(st *store.Store) error {
					_, err := st.ChangeBudget(t.Context(), "crash", func(b *verify.Budget) ([]store.Audit, error) {
						b.DayMessages, b.MonthAmount, b.Currency = 100_000, 100_000_000_000, "EUR"
						return nil, nil
					})
					if err == nil {
						_, err = st.ChangeCountryLimit(t.Context(), "", "US", func(l *verify.CountryLimit) ([]store.Audit, error) { l.HourMessages = 100_000; return nil, nil })
					}
					return err
				})
				time.Sleep(2 * time.Second)
			}
			var next atomic.Int64
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					for next.Add(1) <= starts {
						if resp, body, err := p.post("sms", fmt.Sprintf(`{"to":%q}`, newNumber())); err != nil || resp.StatusCode != 200 {
							t.Errorf("start: got %s, %v", body, err)
							return
						}
					}
				})
			}
			all.Wait()
			p.stop()
			of[bound] = append(of[bound], (p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime())/starts)
		}
		for i := range of {
			slices.Sort(of[i])
		}
		without, with := of[0][runs/2], of[1][runs/2]
		t.Logf("%s: %v of CPU for a start and its message without money, %v with prices, a budget and a country's limit: %+.1f %%; all runs %v", engine, without, with, 100*float64(with-without)/float64(without), of)
	}
}
