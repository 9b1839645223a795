package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// A world is a database whose clock a test sets by hand, and machines whose clocks go on with it.
type world struct {
	t   *testing.T
	url string
	db  *sql.DB

	mu   sync.Mutex // guards all below; while it is held no machine's clock can be read
	now  time.Time  // as the database has it
	mono time.Duration
	wall time.Time // of a machine that is right at first
}

// handClock takes the place of PostgreSQL's own function, where the search path says so.
const handClock = `CREATE TABLE hand_clock (at TIMESTAMPTZ);
	CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM public.hand_clock'`

func newWorld(t *testing.T) *world {
	t.Helper()
	url := storetest.Lent(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{t: t, url: url + "&search_path=public,pg_catalog", db: db, now: countersigntest.Start, wall: countersigntest.Start}
	w.exec(handClock)
	w.exec(`INSERT INTO hand_clock VALUES ($1)`, w.now)
	return w
}

func (w *world) exec(text string, args ...any) {
	w.t.Helper()
	if _, err := w.db.Exec(text, args...); err != nil {
		w.t.Fatalf("%s: %v", text, err)
	}
}

// advance lets time pass everywhere; more is how much further the database's clock moves.
func (w *world) advance(d, more time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.wall, w.mono = w.now.Add(d+more), w.wall.Add(d), w.mono+d
	w.exec(`UPDATE hand_clock SET at = $1`, w.now)
}

// time is what the database's clock shows.
func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// A machine is ahead of the world by a time that a test changes.
type machine struct {
	*world
	ahead atomic.Int64
}

func (w *world) machine(ahead time.Duration) *machine {
	m := &machine{world: w}
	m.ahead.Store(int64(ahead))
	return m
}

func (m *machine) read() store.Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	return store.Reading{Wall: m.wall.Add(time.Duration(m.ahead.Load())), Mono: m.mono}
}

func (m *machine) replica() *store.Store {
	m.t.Helper()
	return replica(m.t, m.url, func(o *store.Options) { o.Machine = m.read })
}

// pass lets time pass in steps, in each of which replicas look at the database.
func (w *world) pass(d time.Duration, replicas ...*store.Store) {
	w.t.Helper()
	for ; d > 0; d -= step {
		w.advance(min(d, step), 0)
		w.look(replicas...)
	}
}

const step = 2 * time.Second

func (w *world) look(replicas ...*store.Store) {
	w.t.Helper()
	for _, s := range replicas {
		if err := s.Watch(ctx); err != nil {
			w.t.Fatal(err)
		}
	}
}

// start starts a verification as a service would, by the replica's time.
func (w *world) start(s *store.Store, n int) *verify.Verification {
	w.t.Helper()
	v := pending(s.Now(), number(n))
	if err := s.Start(ctx, v, verify.Limits{}, lease); err != nil {
		w.t.Fatalf("start: %v", err)
	}
	return v
}

const lease = 20 * time.Second

// hints are how many hints there are of a verification.
func (w *world) hints(v *verify.Verification) int {
	w.t.Helper()
	return query[int](w.t, w.url, `SELECT count(*) FROM retry WHERE id = $1`, v.ID[:])
}

// takesOver tries to take over a message, as seen by the replica now.
func (w *world) takesOver(s *store.Store, v *verify.Verification) bool {
	w.t.Helper()
	seen, err := s.Verification(ctx, v.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	claimed, _, err := s.Claim(ctx, verify.Overdue{Hint: seen.DueAt, Verification: seen, By: verify.ChannelSMS}, lease)
	if err != nil {
		w.t.Fatal(err)
	}
	if claimed != nil && !s.JudgesLeases() {
		w.t.Error("a lease was taken over by a replica that doesn't judge leases")
	}
	return claimed != nil
}

// offsets are how far a machine's clock is ahead.
var offsets = []time.Duration{
	0, 4 * time.Second, -4 * time.Second, 8 * time.Second, 13 * time.Second, 20 * time.Second, -20 * time.Second, 30 * time.Second, -30 * time.Second, time.Hour, -time.Hour,
}

// Whatever its machine's clock shows, and however that steps, a replica has the database's time. A lease ends
// at the same instant for all.
func TestReplicasHaveTheDatabasesTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(0)
	other := m.replica()
	w.pass(20*time.Second, other)
	for n, ahead := range []time.Duration{4 * time.Second, 13 * time.Second, -20 * time.Second, time.Hour, -time.Hour} {
		s := w.machine(ahead).replica()
		m.ahead.Store(int64(ahead))
		w.pass(20*time.Second, s, other)
		for name, s := range map[string]*store.Store{"from its start": s, "by a step": other} {
			if got, want := s.Now(), w.time(); !got.Equal(want) {
				t.Errorf("%v ahead %s: the time is %v, want %v", ahead, name, got, want)
			}
			if got := s.ClockOffset(); got != ahead {
				t.Errorf("%v ahead %s: the offset is %v", ahead, name, got)
			}
		}
		m.ahead.Store(0)
		w.look(other)
		v := w.start(other, n)
		w.pass(lease-time.Second, s, other)
		if w.takesOver(s, v) {
			t.Errorf("%v ahead: a lease was taken over before its end", ahead)
		}
		w.pass(time.Second, s, other)
		if !w.takesOver(s, v) {
			t.Errorf("%v ahead: a lease that has ended wasn't taken over", ahead)
		}
		s.Close()
	}
}

// A lease that looks ended may hold: a clock stepped, the database was away, or the replica has just started.
func TestLeasesAreJudgedAfterFreshComparisonsOnly(t *testing.T) {
	t.Parallel()
	for name, happens := range map[string]func(w *world, s *store.Store) *store.Store{
		"the database's clock steps": func(w *world, s *store.Store) *store.Store {
			w.advance(0, 10*time.Minute)
			w.look(s)
			return s
		},
		"the database was away": func(w *world, s *store.Store) *store.Store {
			w.advance(lease, 0) // without a look
			w.look(s)
			return s
		},
		"a replica starts": func(w *world, _ *store.Store) *store.Store {
			w.advance(lease, 0)
			return w.machine(0).replica()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			holder, s := w.machine(0).replica(), w.machine(30*time.Second).replica()
			w.pass(20*time.Second, holder, s)
			held, lost := w.start(holder, 0), w.start(holder, 1)
			s = happens(w, s)
			for range 3 {
				if w.takesOver(s, held) {
					t.Fatal("it was taken over, and its holder may not have renewed yet")
				}
				w.pass(4*time.Second, s)
			}
			w.look(holder)
			if _, err := holder.Renew(ctx, held.ID, 1, lease); err != nil {
				t.Fatal(err)
			}
			w.pass(5*time.Second, s)
			if w.takesOver(s, held) {
				t.Error("it was taken over, although its holder has renewed")
			}
			if !w.takesOver(s, lost) {
				t.Error("a lease that nobody renewed wasn't taken over")
			}
		})
	}
}

// A machine that was suspended, its monotonic clock with it, asks for the time before it decides anything.
func TestASuspendedMachineAsksForTheTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(0)
	s := m.replica()
	v := pending(s.Now(), number(0))
	v.ExpiresAt = v.ID.Time().Add(time.Minute)
	if err := s.Start(ctx, v, verify.Limits{}, lease); err != nil {
		t.Fatal(err)
	}
	w.advance(0, time.Minute) // for the database, and for the wall clock that the machine finds
	m.ahead.Store(int64(time.Minute))
	if out, err := s.Check(ctx, guess(v, "483920")); !errors.Is(err, verify.ErrExpired) {
		t.Errorf("check: got %+v, %v; want error %v", out, err, verify.ErrExpired)
	}
}

// Ids carry the database's time: no start appears behind the sweeper, whatever the machine's clock shows, and
// none leaves a hint.
func TestStartsLeaveNoHintsWhateverTheWallClockShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	right, m := w.machine(0).replica(), w.machine(0)
	s := m.replica()
	for n, ahead := range offsets {
		m.ahead.Store(0)
		w.look(s)
		w.start(right, 100+n)
		w.pass(6*time.Second, right, s)
		if err := right.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		m.ahead.Store(int64(ahead)) // nobody has noticed it yet
		v := w.start(s, n)
		if got := v.ID.Time(); !got.Equal(w.time()) {
			t.Errorf("%v ahead: the id is of %v, want %v", ahead, got, w.time())
		}
		if got := w.hints(v); got != 0 {
			t.Errorf("%v ahead: a start left %d hints, want none", ahead, got)
		}
	}
}

// Nothing starts on a machine whose clock is wrong. Guesses are evaluated still, by the database's time.
func TestNothingStartsWhileTheClockIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(0)
	s := m.replica()
	for n, ahead := range []time.Duration{6 * time.Second, -6 * time.Second, time.Hour, -time.Hour} {
		v := w.start(s, n)
		m.ahead.Store(int64(ahead))
		w.look(s)
		if err := s.Start(ctx, pending(s.Now(), number(100+n)), verify.Limits{}, lease); !errors.Is(err, verify.ErrClock) {
			t.Errorf("%v ahead: start: got error %v, want %v", ahead, err, verify.ErrClock)
		}
		if out, err := s.Check(ctx, guess(v, "483920")); err != nil || !out.Approved {
			t.Errorf("%v ahead: check: got %+v, %v; want it approved", ahead, out, err)
		}
		m.ahead.Store(int64(ahead / 2))
		if ahead.Abs() > 10*time.Second {
			m.ahead.Store(0)
		}
		w.look(s)
	}
}

// A server of another version, whose clock was an hour ahead, has left verifications of the future. After a
// failover they are void, and the mark doesn't keep the next hour from starting anything.
func TestAFailoverVoidsTheFutureAndStopsNoStart(t *testing.T) {
	t.Parallel()
	for _, many := range []int{0, 6000} {
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.machine(0).replica()
			past := w.start(s, 0)
			other := replica(t, w.url, func(o *store.Options) {
				o.Now = func() time.Time { return w.time().Add(time.Hour) }
			})
			future, queued := w.start(other, 1), w.start(other, 2)
			if _, err := other.Settle(ctx, verify.Settlement{Retry: true, Delivery: verify.Delivery{Verification: queued.ID, Attempt: 1, Outcome: verify.AttemptErrored}}); err != nil {
				t.Fatal(err)
			}
			w.exec(`INSERT INTO verification SELECT (jsonb_populate_record(v, jsonb_build_object('id', set_byte(set_byte(set_byte(v.id, 13, get_byte(v.id, 13) # 1), 14, n / 256), 15, n % 256)))).*
				FROM verification v, generate_series(1, $2) n WHERE v.id = $1`, future.ID[:], many)
			other.Close()
			w.advance(time.Second, 0)
			for round := range 2 {
				w.exec(`UPDATE server SET timeline = '00000000'`) // as a standby has it that is promoted
				w.look(s)
				if mark := query[[]byte](t, w.url, `SELECT id FROM watermark WHERE name = 'void'`); bytes.Compare(mark, verifyID(w.time().Add(time.Millisecond))) > 0 {
					t.Errorf("round %d: the void mark %x lies ahead of the database's time", round, mark)
				}
				w.advance(time.Millisecond, 0)
				v := w.start(s, 10+round) // at once
				if out, err := s.Check(ctx, guess(v, "483920")); err != nil || !out.Approved {
					t.Errorf("round %d: check of a new one: got %+v, %v; want it approved", round, out, err)
				}
			}
			for _, v := range []*verify.Verification{past, future, queued} {
				if _, err := s.Check(ctx, guess(v, "483920")); !errors.Is(err, verify.ErrCanceled) {
					t.Errorf("check: got error %v, want %v", err, verify.ErrCanceled)
				}
			}
			if got := query[int](t, w.url, `SELECT count(*) FROM verification WHERE status = 0`); got != 0 {
				t.Errorf("%d verifications are pending, want none", got)
			}
			w.isCanceled(s, past, future)
			if got, err := s.Verification(ctx, queued.ID); err != nil || got.Delivery != verify.DeliveryFailed || got.Reason != verify.ReasonCanceled || !got.DueAt.IsZero() {
				t.Errorf("a message that waited: got %+v, %v; want it failed", got, err)
			}
		})
	}
}

// The database's clock is set back behind the void mark: starts go on, what was void stays so, and what wasn't lives.
func TestAClockSetBackTakesTheVoidMarkAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.machine(0).replica()
	void := w.start(s, 0)
	w.advance(time.Second, 0)
	w.exec(`UPDATE server SET timeline = '00000000'`)
	w.look(s)
	w.advance(time.Second, 0)
	alive := w.start(s, 1)
	w.advance(0, -10*time.Minute)
	slow := w.machine(-10 * time.Minute).replica() // its clock is as the database's
	v := w.start(slow, 2)
	for _, v := range []*verify.Verification{v, alive} {
		if out, err := slow.Check(ctx, guess(v, "483920")); err != nil || !out.Approved {
			t.Errorf("check: got %+v, %v; want it approved", out, err)
		}
	}
	if _, err := slow.Check(ctx, guess(void, "483920")); !errors.Is(err, verify.ErrCanceled) {
		t.Errorf("check of one that was void: got error %v, want %v", err, verify.ErrCanceled)
	}
}

// isCanceled compares a verification that was canceled in advance with one that was canceled when it was used.
func (w *world) isCanceled(s *store.Store, used, ahead *verify.Verification) {
	w.t.Helper()
	want, err := s.Verification(ctx, used.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	got, err := s.Verification(ctx, ahead.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	want.ID, want.To, want.ExpiresAt, want.DueAt = got.ID, got.To, got.ExpiresAt, got.DueAt
	if got.EndedAt.IsZero() {
		w.t.Error("it has ended at no time")
	}
	want.EndedAt = got.EndedAt
	if d := cmp.Diff(want, got); d != "" {
		w.t.Errorf("canceled in advance: -want +got\n%s", d)
	}
}

func verifyID(at time.Time) []byte {
	id := verify.FirstID(at)
	return id[:]
}

// A slow carrier's messages are under way until a test ends them.
type slow struct {
	limit time.Duration // 0: as the dispatcher has it
	ends  chan struct{}

	under, sent atomic.Int64
}

func (c *slow) Name() string { return "a" }

func (c *slow) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	c.sent.Add(1)
	c.under.Add(1)
	defer c.under.Add(-1)
	select {
	case <-c.ends:
		return carrier.Result{}, nil
	case <-c.hangsUp(ctx):
		return carrier.Result{}, carrier.Unknown(ctx.Err())
	}
}

// hangsUp is when a call must end. A message has a time limit by the real clock, which a test may exceed.
func (c *slow) hangsUp(ctx context.Context) <-chan struct{} {
	if c.limit == 0 {
		return nil
	}
	return ctx.Done()
}

// A caller is a slow carrier whose calls take longer than a lease.
type caller struct{ *slow }

func (c caller) Limit() time.Duration { return c.limit }

// servers are three on one database.
type servers struct {
	*world
	machines [3]*machine
	kits     [3]*countersigntest.Kit
	carriers [3]*slow
}

func newServers(t *testing.T, limit time.Duration, ahead ...time.Duration) *servers {
	t.Helper()
	c := &servers{world: newWorld(t)}
	data := t.TempDir()
	for i := range c.kits {
		c.machines[i] = c.machine(ahead[i])
		c.carriers[i] = &slow{limit: limit, ends: make(chan struct{})}
		var by carrier.Carrier = c.carriers[i]
		if limit > 0 {
			by = caller{c.carriers[i]}
		}
		c.kits[i] = countersigntest.New(t, countersigntest.Options{Data: data, Database: c.url, Machine: c.machines[i].read, Carriers: []carrier.Carrier{by}, Queue: 100, BreakAfter: -1})
	}
	c.pass(20 * time.Second)
	return c
}

// pass lets time pass for all. Leases that must be renewed are, before it goes on.
func (c *servers) pass(d time.Duration) {
	c.t.Helper()
	for ; d > 0; d -= step {
		c.world.pass(min(d, step), c.kits[0].Store, c.kits[1].Store, c.kits[2].Store)
		c.kits[0].Await("leases that were renewed", func() bool {
			return query[int](c.t, c.url, `SELECT count(*) FROM verification WHERE delivery = 1 AND due_at < $1`, c.time().Add(step).UnixMilli()) == 0
		})
	}
}

// sent is how many messages all servers have sent, and under how many of them are under way.
func (c *servers) sent() (sent, under int) {
	for _, by := range c.carriers {
		sent, under = sent+int(by.sent.Load()), under+int(by.under.Load())
	}
	return sent, under
}

// finish ends all that is under way, and waits until everything is settled.
func (c *servers) finish() {
	c.t.Helper()
	for _, by := range c.carriers {
		close(by.ends)
	}
	c.kits[0].Await("all messages", func() bool {
		return query[int](c.t, c.url, `SELECT count(*) FROM verification WHERE delivery IN (0, 1)`) == 0
	})
}

// ready asks a server's probe.
func ready(k *countersigntest.Kit) (status int, text string) {
	r := httptest.NewRecorder()
	k.Operations().ServeHTTP(r, httptest.NewRequest("GET", "http://localhost/readyz", nil))
	return r.Code, r.Body.String()
}

// Three servers, whose machines' clocks differ and step while messages and calls are under way: each message
// goes out once, each call is placed once.
func TestServersWhoseClocksDifferSendOnce(t *testing.T) {
	t.Parallel()
	const long = 10 * time.Minute // by the real clock
	apart := map[time.Duration][]time.Duration{8 * time.Second: {long}, 13 * time.Second: {long}, 20 * time.Second: {0}, 30 * time.Second: {0}, time.Hour: {0, long}}
	if testing.Short() { // each takes seconds of CPU
		apart = map[time.Duration][]time.Duration{13 * time.Second: {long}, 20 * time.Second: {0}}
	}
	for ahead, limits := range apart {
		for _, limit := range limits {
			what := map[bool]string{true: "calls", false: "messages"}[limit > 0]
			t.Run(fmt.Sprint(what, " ", ahead), func(t *testing.T) {
				t.Parallel()
				c := newServers(t, limit, 0, ahead, -ahead)
				const starts = 6
				for i := range starts {
					c.kits[0].Start(string(number(i)), "")
				}
				all := func(when string, want int) {
					t.Helper()
					c.kits[0].Await("messages under way", func() bool { _, under := c.sent(); return under >= want })
					if sent, under := c.sent(); sent != want || under != want {
						t.Fatalf("%s: %d messages were sent and %d are under way, want %d", when, sent, under, want)
					}
				}
				all("at first", starts)
				lasts := lease - 4*time.Second // less than a call of a carrier and its margin
				if limit > 0 {
					lasts = 2 * lease
				}
				c.pass(lasts / 2)
				all("later", starts)
				// The clock of the one that sends steps, and those of the others.
				for _, m := range c.machines {
					m.ahead.Add(int64(ahead))
				}
				c.pass(lasts / 4)
				all("after steps forward", starts)
				for _, m := range c.machines {
					m.ahead.Add(int64(-2 * ahead))
				}
				c.pass(lasts / 4)
				all("after steps back", starts)
				c.finish()
				c.pass(lease + 6*time.Second)
				if sent, _ := c.sent(); sent != starts {
					t.Errorf("in the end %d messages were sent, want %d", sent, starts)
				}
				if got := query[int](t, c.url, `SELECT count(*) FROM delivery WHERE outcome <> 0`); got != 0 {
					t.Errorf("%d attempts failed, want none", got)
				}
			})
		}
	}
}

// A server whose clock is more than 5 s off says so and starts nothing; codes are checked. It is ready again
// when the clock is right. A failover meanwhile costs nobody a 503.
func TestAServerWhoseClockIsWrongIsNotReady(t *testing.T) {
	t.Parallel()
	c := newServers(t, 0, 0, 4900*time.Millisecond, 0)
	for _, by := range c.carriers {
		close(by.ends)
	}
	k, m := c.kits[1], c.machines[1]
	start := func(k *countersigntest.Kit, n int) int {
		status, _ := k.Post("sms", fmt.Sprintf(`{"to":%q}`, number(n)))
		return status
	}
	set := func(ahead time.Duration) {
		m.ahead.Store(int64(ahead))
		// A comparison that began before may come between, and one that takes a second on a busy machine says nothing.
		k.Await("a comparison of the clocks", func() bool {
			c.look(k.Store)
			return (k.Store.ClockOffset() - ahead).Abs() < time.Second
		})
	}
	if status, text := ready(k); status != http.StatusOK {
		t.Errorf("4.9 s ahead: /readyz answers %d %s", status, text)
	}
	id := k.Start(string(number(0)), "")
	for n, ahead := range []time.Duration{6 * time.Second, -6 * time.Second, time.Hour, -time.Hour} {
		set(ahead)
		direction := map[bool]string{true: "ahead of", false: "behind"}[ahead > 0]
		if status, text := ready(k); status != http.StatusServiceUnavailable || !strings.Contains(text, direction) || !strings.Contains(text, "NTP") {
			t.Errorf("%v ahead: /readyz answers %d %s", ahead, status, text)
		}
		if got := start(k, 10*n); got != http.StatusServiceUnavailable {
			t.Errorf("%v ahead: a start is answered %d, want 503", ahead, got)
		}
		if got := k.Check(id, "0"); got != "wrong" && got != "gone" {
			t.Errorf("%v ahead: a guess is answered %s, want wrong", ahead, got)
		}
		c.exec(`UPDATE server SET timeline = '00000000'`)
		for i, k := range c.kits {
			c.look(k.Store)
			if i != 1 {
				if got := start(k, 10*n+1+i); got != http.StatusOK {
					t.Errorf("%v ahead: after a failover, server %d answers %d, want 200", ahead, i, got)
				}
			}
		}
		set(0)
		if status, text := ready(k); status != http.StatusOK {
			t.Errorf("right again: /readyz answers %d %s", status, text)
		}
		if got := start(k, 10*n+9); got != http.StatusOK {
			t.Errorf("right again: a start is answered %d, want 200", got)
		}
	}
}
