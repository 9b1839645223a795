package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// A budget of messages is spent by 40 clients: all of it, and no more, by the carrier's count. While servers are killed, and the
// carrier fails, never more is sent, and what a dead server had for itself is spent by the others.
func TestServersKeepToABudget(t *testing.T) {
	t.Parallel()
	for name, disturbed := range map[string]bool{"undisturbed": false, "killed": true} {
		t.Run("SQLite "+name, func(t *testing.T) {
			t.Parallel()
			keepToBudget(t, disturbed, 1, func(data, phones string, life int) *process {
				return startDev(t, []string{runAs + "=" + crashRole, crashPhoneURL + "=" + phones, fmt.Sprintf("%s=%d", crashLife, life)},
					"--data", data, "--project", "crash", "--token", "crash-test-token")
			}, func(data string) store.Options { return store.Options{} })
		})
		t.Run("PostgreSQL "+name, func(t *testing.T) {
			t.Parallel()
			url := storetest.Lent(t)
			keepToBudget(t, disturbed, replicas, func(data, phones string, life int) *process { return devReplica(t, data, url, phones, life) },
				func(string) store.Options {
					return store.Options{Postgres: &store.Postgres{URL: url, Writers: 1, Conns: 2, Timeout: 15 * time.Second}}
				})
		})
	}
}

func keepToBudget(t *testing.T, disturbed bool, servers int, start func(data, phones string, life int) *process, options func(data string) store.Options) {
	const clients = 40
	most, kills := testsize.Times(1000), 0
	if disturbed {
		kills = testsize.Times(5)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))

	var asked, sent atomic.Int64
	phones := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m handedOver
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		if asked.Add(1)%7 == 0 && disturbed { // it isn't sent, and goes out again
			w.WriteHeader(answerFailed)
			return
		}
		sent.Add(1)
	}))
	defer phones.Close()
	data, life := filepath.Join(t.TempDir(), "data"), 0
	running := make([]atomic.Pointer[process], servers)
	begin := func(i int) {
		life++
		running[i].Store(start(data, phones.URL, life))
	}
	for i := range servers {
		begin(i)
	}
	change := func(f func(*store.Store) error) {
		t.Helper()
		st, err := system.OpenStore(t.Context(), data, options(data))
		if err == nil {
			err = f(st)
			st.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	change(func(st *store.Store) error {
		_, err := st.ChangeBudget(t.Context(), "crash", func(b *verify.Budget) ([]store.Audit, error) { b.MonthMessages = most; return nil, nil })
		return err
	})
	time.Sleep(2 * time.Second) // servers believe what they know of a project for a second

	var started, refused atomic.Int64
	var all sync.WaitGroup
	over, deadline := make(chan struct{}), time.Now().Add(patience)
	for i := range clients {
		all.Go(func() {
			for time.Now().Before(deadline) {
				resp, body, err := running[i%servers].Load().post("sms", fmt.Sprintf(`{"to":%q}`, newNumber()))
				switch {
				case err != nil, resp.StatusCode == 503: // it was killed, or is busy
				case resp.StatusCode == 200:
					started.Add(1)
				case resp.StatusCode == 422 && strings.Contains(body, "no_credit"):
					refused.Add(1)
					select {
					case <-over:
						return
					case <-time.After(100 * time.Millisecond):
					}
				default:
					t.Errorf("start: got %d %s", resp.StatusCode, body)
					return
				}
			}
			t.Error("the budget isn't used up in time")
		})
	}
	for n := range kills {
		if at := int64(1 + rnd.IntN(most/kills)*(n+1)); !within(patience, func() bool { return started.Load() >= min(at, int64(most)/2) }) {
			t.Errorf("%d of %d messages were started", started.Load(), most)
		}
		running[n%servers].Load().kill()
		begin(n % servers)
	}
	spent := func() (b verify.BudgetState) {
		change(func(st *store.Store) (err error) { b, err = st.Budget(t.Context(), "crash"); return err })
		return b
	}
	// A failed hand-over gives its message back, and another start spends it.
	if !within(patience, func() bool { return refused.Load() >= clients && spent().Month.Messages == most }) {
		t.Errorf("spent %d of %d messages, %d starts refused", spent().Month.Messages, most, refused.Load())
	}
	close(over)
	all.Wait()
	for i := range running {
		running[i].Load().stop()
	}
	if n := sent.Load(); n > int64(most) || !disturbed && n < int64(most) {
		t.Errorf("%d messages were sent, %d were allowed", n, most)
	}
	b := spent()
	t.Logf("%d messages sent, %d starts answered, %d refused, %d spent of %d, %d kills", sent.Load(), started.Load(), refused.Load(), b.Month.Messages, most, kills)
	if b.Month.Messages > most || b.Month.Messages < most*9/10 {
		t.Errorf("%d messages are spent, %d were allowed", b.Month.Messages, most)
	}
}

// A country that is stopped by command gets nothing more from any replica, once they have looked: within a second. What a replica
// held of a budget when it died is spent by the others.
func TestReplicasStopACountryAndSpendWhatADeadOneHeld(t *testing.T) {
	t.Parallel()
	const most, clients = 300, 20
	url := storetest.Lent(t)
	data := filepath.Join(t.TempDir(), "data")
	var mu sync.Mutex // guards last and sent
	var last time.Time
	var sent int
	phones := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		last, sent = time.Now(), sent+1
	}))
	defer phones.Close()
	running := make([]*process, replicas)
	for i := range running {
		running[i] = devReplica(t, data, url, phones.URL, i+1)
	}
	st, err := system.OpenStore(t.Context(), data, store.Options{Postgres: &store.Postgres{URL: url, Writers: 1, Conns: 2, Timeout: 15 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var started atomic.Int64
	over := make(chan struct{})
	var all sync.WaitGroup
	load := func(servers []*process, answers func(resp *http.Response, body string) (goOn bool)) {
		for i := range clients {
			all.Go(func() {
				for {
					select {
					case <-over:
						return
					default:
					}
					resp, body, err := servers[i%len(servers)].post("sms", fmt.Sprintf(`{"to":%q}`, newNumber()))
					if err == nil && resp.StatusCode == 200 {
						started.Add(1)
					} else if err == nil && !answers(resp, body) {
						return
					}
				}
			})
		}
	}
	refused := make([]atomic.Bool, replicas)
	load(running, func(resp *http.Response, body string) bool {
		if strings.Contains(body, "has stopped messages") {
			for i, p := range running {
				if strings.HasPrefix(resp.Request.URL.String(), p.URL) {
					refused[i].Store(true)
				}
			}
			time.Sleep(time.Millisecond)
		}
		return true
	})
	if !within(patience, func() bool { return started.Load() > 100 }) {
		t.Fatalf("%d starts in time", started.Load())
	}
	if err := st.Stop(t.Context(), verify.Stop{Kind: verify.StopCountry, Name: "US", Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	if !within(patience, func() bool { return refused[0].Load() && refused[1].Load() && refused[2].Load() }) {
		t.Fatal("a replica goes on")
	}
	took := time.Since(stopped)
	if !within(patience, func() bool { _, sending := underWay(storedIn(t, url)); return sending == 0 }) {
		t.Fatal("hand-overs that were under way have no end")
	}
	mu.Lock()
	before, after := sent, last.Sub(stopped)
	mu.Unlock()
	if !within(patience, func() bool { s := started.Load(); time.Sleep(200 * time.Millisecond); return started.Load() == s }) {
		t.Error("starts go on")
	}
	close(over)
	all.Wait()
	mu.Lock()
	if sent != before {
		t.Errorf("%d messages after the country was stopped everywhere, want none", sent-before)
	}
	mu.Unlock()
	t.Logf("all replicas refuse %v after the command, under the load of %d clients; the last message went out %v after it", took, clients, after)

	if err := st.Allow(t.Context(), verify.StopCountry, "US"); err != nil {
		t.Fatal(err)
	}
	if _, err := st.ChangeBudget(t.Context(), "crash", func(b *verify.Budget) ([]store.Audit, error) {
		b.MonthMessages = most + int(started.Load())
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	spent := func() (b verify.BudgetState) {
		b, err := st.Budget(t.Context(), "crash")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, p := range running { // each takes a share
		if !within(patience, func() bool {
			resp, _, err := p.post("sms", fmt.Sprintf(`{"to":%q}`, newNumber()))
			return err == nil && resp.StatusCode == 200 && spent().Month.Messages > 0
		}) {
			t.Fatal("a replica starts nothing")
		}
	}
	running[0].kill()
	died := time.Now()
	over = make(chan struct{})
	load(running[1:], func(_ *http.Response, body string) bool {
		return !strings.Contains(body, "no_credit") || spent().Month.Messages < spent().MonthMessages
	})
	if !within(patience, func() bool { b := spent(); return b.Month.Messages == b.MonthMessages }) {
		t.Errorf("spent %+v of %+v", spent().Month, spent().MonthMessages)
	}
	t.Logf("the others have spent all %v after a replica was killed", time.Since(died))
	close(over)
	all.Wait()
}

// Every server follows a change by an operator within a second, under load: three replicas, and one server with an SQLite file, beside
// which a command writes. The durations are logged, for a busy machine measures itself.
func TestWhatOperatorsChangeHoldsOnEveryServer(t *testing.T) {
	t.Parallel()
	for engine, servers := range map[string]int{"SQLite": 1, "PostgreSQL": replicas} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			var sent atomic.Int64
			phones := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent.Add(1) }))
			defer phones.Close()
			o, running := store.Options{}, make([]*process, servers)
			stored := func() map[string]storedVerification { return readVerifications(t, data) }
			if engine == "PostgreSQL" {
				url := storetest.Lent(t)
				stored = func() map[string]storedVerification { return storedIn(t, url) }
				o.Postgres = &store.Postgres{URL: url, Writers: 1, Conns: 2, Timeout: 15 * time.Second}
				for i := range running {
					running[i] = devReplica(t, data, url, phones.URL, i+1)
				}
			} else {
				running[0] = startDev(t, []string{runAs + "=" + crashRole, crashPhoneURL + "=" + phones.URL, crashLife + "=1"}, "--data", data, "--project", "crash", "--token", "crash-test-token")
			}
			st, err := system.OpenStore(t.Context(), data, o)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			a, by := admin.New(st), admin.Actor("test")
			// answers counts what each server says: [0] a start, [1] a refusal.
			answers := make([][2]atomic.Int64, servers)
			over := make(chan struct{})
			var all sync.WaitGroup
			clients, pause := 4, time.Duration(0) // of each server, and between the requests of each
			if testing.Short() {
				clients, pause = 1, 5*time.Millisecond
			}
			for i := range clients * servers {
				all.Go(func() {
					for n := i % servers; ; {
						select {
						case <-over:
							return
						default:
						}
						resp, body, err := running[n].post("sms", fmt.Sprintf(`{"to":%q}`, newNumber()))
						switch {
						case err != nil:
						case strings.Contains(body, verify.ErrBusy.Message), strings.Contains(body, verify.ErrNoStore.Message): // it says nothing of the change
							time.Sleep(time.Millisecond)
						case resp.StatusCode == http.StatusOK:
							answers[n][0].Add(1)
							time.Sleep(pause)
						default:
							answers[n][1].Add(1)
							time.Sleep(time.Millisecond)
						}
					}
				})
			}
			defer all.Wait()
			defer close(over)
			// every waits until each server has said something again, and says how long that took.
			every := func(what string, said int) time.Duration {
				t.Helper()
				began, before := time.Now(), make([]int64, servers)
				for n := range before {
					before[n] = answers[n][said].Load()
				}
				if !within(patience, func() bool {
					for n := range before {
						if answers[n][said].Load() == before[n] {
							return false
						}
					}
					return true
				}) {
					t.Fatalf("%s: a server goes on as before", what)
				}
				return time.Since(began)
			}
			none, any := 0, verify.NoCap
			noPrice := money.Amount(verify.NoCap)
			for _, change := range []struct {
				name     string
				holds    bool // the change also keeps queued messages back
				set, end func() error
			}{
				{"a country is stopped", true, func() error { return a.StopCountry(t.Context(), by, "US", "") }, func() error { return a.AllowCountry(t.Context(), by, "US") }},
				{"a carrier is drained", true, func() error { return a.DrainCarrier(t.Context(), by, "simulator", "") }, func() error { return a.ResumeCarrier(t.Context(), by, "simulator") }},
				{"a country is limited", false, func() error {
					_, err := a.LimitCountry(t.Context(), by, "", "US", admin.CountryLimitChange{DayMessages: &none})
					return err
				}, func() error {
					_, err := a.LimitCountry(t.Context(), by, "", "US", admin.CountryLimitChange{DayMessages: &any, MaxPrice: &noPrice})
					return err
				}},
				{"a project is capped", false, func() error {
					_, err := a.ChangeBudget(t.Context(), by, "crash", admin.BudgetChange{DayMessages: &none})
					return err
				}, func() error {
					_, err := a.ChangeBudget(t.Context(), by, "crash", admin.BudgetChange{DayMessages: &any})
					return err
				}},
			} {
				every("before "+change.name, 0)
				if err := change.set(); err != nil {
					t.Fatalf("%s: %v", change.name, err)
				}
				took := every(change.name, 1)
				if !within(patience, func() bool {
					queued, sending := underWay(stored())
					return sending == 0 && (queued == 0 || change.holds)
				}) {
					t.Errorf("%s: what was started before isn't sent", change.name)
				}
				before := sent.Load()
				every(change.name+", again", 1)
				if n := sent.Load() - before; n != 0 {
					t.Errorf("%s: %d messages after every server knew it, want none", change.name, n)
				}
				if err := change.end(); err != nil {
					t.Fatalf("the end of %s: %v", change.name, err)
				}
				t.Logf("%s: every server refuses after %v, and starts again after %v", change.name, took.Round(time.Millisecond), every("the end of "+change.name, 0).Round(time.Millisecond))
			}
		})
	}
}
