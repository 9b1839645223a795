package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// What PostgreSQL has to do beside what every store does: several replicas, and a server that goes
// away, comes back, or is another one.

// replica opens a database as one of several processes does.
func replica(t *testing.T, url string, edits ...func(*store.Options)) *store.Store {
	t.Helper()
	o := store.Options{Postgres: &store.Postgres{URL: url, Timeout: 10 * time.Second}}
	for _, edit := range edits {
		edit(&o)
	}
	for end := time.Now().Add(time.Minute); ; {
		s, err := store.Open(ctx, o)
		if err == nil {
			t.Cleanup(func() { s.Close() })
			return s
		}
		if !store.Passing(err) || time.Now().After(end) { // a busy machine may need longer than a test's limit
			t.Fatal(err)
		}
	}
}

func number(i int) phone.Number { return phone.Number(fmt.Sprintf("+1202%07d", 2000000+i)) }

func query[T any](t *testing.T, url, text string, args ...any) (value T) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(text, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

// Calls to one number by several projects, on three replicas at once: one of them holds the phone, as long as
// it lasts, and after a crash until its hold runs out.
func TestReplicasCallOneAtATime(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	var by atomic.Int64 // how far the clocks are ahead, all alike
	now := func() time.Time { return time.Now().Add(time.Duration(by.Load())) }
	var replicas []*store.Store
	for range 3 {
		replicas = append(replicas, replica(t, url, func(o *store.Options) { o.Now = now }))
	}
	const numbers, starts = 4, 12
	calls := func(when string, want int) (held []*verify.Verification) {
		t.Helper()
		var mu sync.Mutex // guards held
		var all sync.WaitGroup
		for i := range numbers * starts {
			all.Go(func() {
				v := pending(now(), number(i%numbers))
				v.Project = verify.ProjectID(fmt.Sprintf("project-%d", i))
				v.Channel, v.Calling = verify.ChannelVoice, 2*time.Minute
				switch err := replicas[i%3].Start(ctx, v, verify.Limits{}, 20*time.Second); {
				case err == nil:
					mu.Lock()
					defer mu.Unlock()
					held = append(held, v)
				case !errors.Is(err, verify.ErrCalling) && !errors.Is(err, verify.ErrTooSoon):
					t.Errorf("%s: start: %v", when, err)
				}
			})
		}
		all.Wait()
		if len(held) != want {
			t.Errorf("%s: %d calls to %d numbers, want %d", when, len(held), numbers, want)
		}
		return held
	}
	first := calls("at first", numbers)
	calls("beside them", 0)
	for i, v := range first[:2] {
		if _, err := replicas[i].Settle(ctx, verify.Settlement{Called: v.To, Delivery: verify.Delivery{
			Verification: v.ID, Attempt: 1, Channel: verify.ChannelVoice, Carrier: "a", Outcome: verify.AttemptErrored, Reason: verify.ReasonNoAnswer, StartedAt: now(),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	by.Store(int64(time.Minute))
	calls("after the ends of two", 2)
	by.Store(int64(140 * time.Second))
	calls("when the holds of the others have run out", 2)
}

// Numbers that nobody has sent to before, wrong and right guesses, claims and settlements, on three
// replicas at once: what a limit allows, and no deadlock.
func TestReplicasShareLimitsAndGuesses(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	deadlocks := func() int {
		return query[int](t, url, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
	}
	before := deadlocks() // of tests that had the database
	shareLimitsAndGuesses(t, [3]*store.Store{replica(t, url), replica(t, url), replica(t, url)})
	if got := deadlocks() - before; got != 0 {
		t.Errorf("got %d deadlocks, want none", got)
	}
}

func shareLimitsAndGuesses(t *testing.T, replicas [3]*store.Store) {
	t.Helper()
	const numbers, starts, allowed, attempts = 12, 20, 3, 4
	limits := verify.Limits{Burst: allowed, Interval: time.Hour}
	var mu sync.Mutex // guards started
	var started []*verify.Verification
	var limited atomic.Int64
	var all sync.WaitGroup
	for i := range numbers * starts {
		all.Go(func() {
			v := pending(time.Now(), number(i%numbers))
			v.MaxAttempts = attempts
			switch err := replicas[i%3].Start(ctx, v, limits, time.Minute); {
			case err == nil:
				mu.Lock()
				defer mu.Unlock()
				started = append(started, v)
			case errors.Is(err, verify.ErrTooManySends):
				limited.Add(1)
			default:
				t.Errorf("start: %v", err)
			}
		})
	}
	all.Wait()
	if len(started) != numbers*allowed || limited.Load() != numbers*(starts-allowed) {
		t.Errorf("got %d starts and %d refused, want %d and %d", len(started), limited.Load(), numbers*allowed, numbers*(starts-allowed))
	}

	var wrong, right, over, settled atomic.Int64
	for i, v := range started {
		for n := range 3 * attempts {
			all.Go(func() {
				typed := "000000"
				if i%2 == 0 {
					typed = "483920"
				}
				switch out, err := replicas[(i+n)%3].Check(ctx, guess(v, typed)); {
				case err == nil && out.Approved:
					right.Add(1)
				case err == nil:
					wrong.Add(1)
				case errors.Is(err, verify.ErrApproved), errors.Is(err, verify.ErrGuessesSpent):
					over.Add(1)
				default:
					t.Errorf("check: %v", err)
				}
			})
		}
		all.Go(func() {
			st := verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, StartedAt: time.Now()}}
			if _, err := replicas[i%3].Settle(ctx, st); err != nil {
				t.Errorf("settle: %v", err)
			}
			settled.Add(1)
		})
	}
	all.Wait()
	half := int64(len(started) / 2)
	if right.Load() != half || wrong.Load() != half*attempts || over.Load() != half*(3*attempts-1)+half*2*attempts {
		t.Errorf("got %d approvals, %d wrong guesses and %d refused, want %d, %d and %d",
			right.Load(), wrong.Load(), over.Load(), half, half*attempts, half*(3*attempts-1)+half*2*attempts)
	}
	t.Logf("%d starts of %d numbers: %d of %d allowed; %d guesses: %d approved, %d of %d wrong ones allowed", numbers*starts, numbers,
		len(started), numbers*allowed, 3*attempts*len(started), right.Load(), wrong.Load(), half*attempts)
}

// Two replicas start for a number that neither knows yet. Who comes second must decide again, on the row of
// the first: the limit is one for both.
func TestANewNumberOfTwoReplicasIsOne(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	decided, let := make(chan struct{}), make(chan struct{})
	var tries int
	slow := replica(t, url, func(o *store.Options) {
		o.Commit = func(_ int, commit func() error) error {
			if tries++; tries == 1 {
				close(decided)
				<-let
			}
			return commit()
		}
		o.Postgres.Writers = 1
	})
	quick := replica(t, url)
	limits := verify.Limits{Burst: 1, Interval: time.Hour}
	second := make(chan error)
	go func() { second <- slow.Start(ctx, pending(time.Now(), number(1)), limits, time.Minute) }()
	<-decided
	first := pending(time.Now(), number(1))
	if err := quick.Start(ctx, first, limits, time.Minute); err != nil {
		t.Errorf("first start: %v", err)
	}
	close(let)
	if err := <-second; !errors.Is(err, verify.ErrTooManySends) {
		t.Errorf("second start: got error %v, want %v", err, verify.ErrTooManySends)
	}
	if d, err := quick.Destination(ctx, "p", number(1)); err != nil || d.Latest != first.ID {
		t.Errorf("destination: got %+v, %v; want that of the first start", d, err)
	}
}

// A right guess of a number without failures leaves its row as it is: that is a third of what a login writes.
func TestARightGuessWritesNoDestinationThatHasNothingToForget(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	s := replica(t, url)
	v := pending(time.Now(), number(1))
	if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	version := func() string { return query[string](t, url, `SELECT ctid::text FROM destination`) }
	started := version()
	if out, err := s.Check(ctx, guess(v, "483920")); err != nil || !out.Approved {
		t.Fatalf("check: got %+v, %v; want it approved", out, err)
	}
	if got := version(); got != started {
		t.Errorf("the destination was written: its row moved from %s to %s", started, got)
	}
}

// What a replica has read and not yet written, another one must not read.
func TestARowThatAnotherReplicaHoldsIsWaitedFor(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	wrongly := func(s *store.Store, v *verify.Verification) error {
		_, err := s.Check(ctx, guess(v, "000000"))
		return err
	}
	for n, test := range []struct {
		what              string
		holder, other     func(s *store.Store, first, second *verify.Verification) error
		delivery          verify.DeliveryState // of the first verification
		guesses, failures int                  // of it, and of their number
	}{
		{"a number, for guesses at two of its verifications",
			func(s *store.Store, first, _ *verify.Verification) error { return wrongly(s, first) },
			func(s *store.Store, _, second *verify.Verification) error { return wrongly(s, second) }, verify.DeliverySending, 1, 2},
		{"a verification, for a guess beside its settlement",
			func(s *store.Store, first, _ *verify.Verification) error {
				_, err := s.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{Verification: first.ID, Attempt: 1, StartedAt: time.Now()}})
				return err
			},
			func(s *store.Store, first, _ *verify.Verification) error { return wrongly(s, first) }, verify.DeliverySent, 1, 1},
	} {
		t.Run(test.what, func(t *testing.T) {
			other := replica(t, url)
			first, second := pending(time.Now(), number(n)), pending(time.Now(), number(n))
			for _, v := range []*verify.Verification{first, second} {
				if err := other.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			read, let := make(chan struct{}), make(chan struct{})
			holder := replica(t, url, func(o *store.Options) {
				o.Commit = func(_ int, commit func() error) error {
					close(read)
					<-let
					return commit()
				}
			})
			held, waited := make(chan error, 1), make(chan error, 1)
			go func() { held <- test.holder(holder, first, second) }()
			<-read
			go func() { waited <- test.other(other, first, second) }()
			for len(waited) == 0 && query[int](t, url, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0 {
				time.Sleep(time.Millisecond)
			}
			close(let)
			if err := errors.Join(<-held, <-waited); err != nil {
				t.Fatal(err)
			}
			if got, err := other.Verification(ctx, first.ID); err != nil || got.Guesses != test.guesses || got.Delivery != test.delivery {
				t.Errorf("got %+v, %v; want %d guesses, and it %v", got, err, test.guesses, test.delivery)
			}
			if d, err := other.Destination(ctx, "p", number(n)); err != nil || d.Failures != test.failures {
				t.Errorf("got %+v, %v; want %d failures", d, err, test.failures)
			}
		})
	}
}

// The last room of a project is not taken by two replicas.
func TestReplicasShareAProjectsRoom(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	now := time.Now()
	if err := replica(t, url).CreateProject(ctx, verify.Project{ID: "p", Name: "p", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what   string
		create func(*store.Store) error
		full   error
	}{
		{"application", func(s *store.Store) error {
			return s.CreateApplication(ctx, verify.Application{ID: verify.NewID(now), Project: "p", Name: "shop", Version: 1}, false, 1)
		}, verify.ErrTooManyApplications},
		{"template", func(s *store.Store) error {
			id := verify.NewID(now)
			return s.CreateTemplate(ctx, verify.MessageTemplate{ID: id, Project: "p", Name: id.Base62(), Version: 1}, 1)
		}, verify.ErrTooManyTemplates},
		{"text", func(s *store.Store) error {
			id := verify.NewID(now)
			return s.CreateText(ctx, verify.TextTemplate{ID: id, Project: "p", Name: id.Base62(), Version: 1}, 1)
		}, verify.ErrTooManyTemplates},
	} {
		db, err := sql.Open("pgx", url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(`UPDATE project SET id = id WHERE id = 'p'`); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 2)
		for range cap(done) {
			s := replica(t, url)
			go func() { done <- test.create(s) }()
		}
		for len(done) == 0 && query[int](t, url, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) < cap(done) {
			time.Sleep(time.Millisecond)
		}
		if len(done) > 0 {
			t.Errorf("%s: counted without the project's lock", test.what)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		first, second := <-done, <-done
		if first != nil {
			first, second = second, first
		}
		if first != nil || !errors.Is(second, test.full) {
			t.Errorf("%s: got errors %v and %v, want one of them nil, and %v", test.what, first, second, test.full)
		}
	}
}

// A migration may change a column's type while we run, and an administrator may discard what is prepared.
func TestStatementsThatBecameUselessArePreparedAnew(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	s := replica(t, url, func(o *store.Options) { o.Postgres.Writers = 1 })
	login := func(n int) {
		t.Helper()
		v := pending(time.Now(), number(n))
		if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
			t.Fatal(err)
		}
		if out, err := s.Check(ctx, guess(v, "483920")); err != nil || !out.Approved {
			t.Fatalf("check: got %+v, %v; want it approved", out, err)
		}
	}
	login(1)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`ALTER TABLE verification ALTER COLUMN reason TYPE varchar(1000)`); err != nil {
		t.Fatal(err)
	}
	login(2)
	if err := s.Discard(ctx); err != nil {
		t.Fatal(err)
	}
	login(3)
}

// Rows that are there already are changed by several replicas at once, each in another way.
func TestReplicasLoseNoUpdate(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	var replicas []*store.Store
	for range 3 {
		replicas = append(replicas, replica(t, url))
	}
	begin := func(s *store.Store, n int) *verify.Verification {
		v := pending(time.Now(), number(n))
		v.MaxAttempts = 20
		if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
			t.Errorf("start: %v", err)
		}
		return v
	}
	const rounds, guesses = 30, 4
	for n := range rounds {
		first, second := begin(replicas[0], n), begin(replicas[1], n)
		var all sync.WaitGroup
		for i := range guesses {
			for j, v := range []*verify.Verification{first, second} {
				all.Go(func() {
					if _, err := replicas[(i+j)%3].Check(ctx, guess(v, "000000")); err != nil {
						t.Errorf("check: %v", err)
					}
				})
			}
			all.Go(func() { begin(replicas[i%3], n) })
		}
		for j, v := range []*verify.Verification{first, second} {
			all.Go(func() {
				st := verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, StartedAt: time.Now()}}
				if _, err := replicas[2-j].Settle(ctx, st); err != nil {
					t.Errorf("settle: %v", err)
				}
			})
		}
		all.Wait()
		for _, v := range []*verify.Verification{first, second} {
			if got, err := replicas[0].Verification(ctx, v.ID); err != nil || got.Guesses != guesses || got.Delivery != verify.DeliverySent {
				t.Errorf("round %d: got %+v, %v; want %d guesses, and it sent", n, got, err, guesses)
			}
		}
		d, err := replicas[0].Destination(ctx, "p", number(n))
		if err != nil || d.Failures != 2*guesses {
			t.Errorf("round %d: destination: got %d failures, %v; want %d", n, d.Failures, err, 2*guesses)
		}
		if history, err := replicas[0].History(ctx, d, 100); err != nil || len(history) != 2+guesses {
			t.Errorf("round %d: the number's history has %d verifications, %v; want %d", n, len(history), err, 2+guesses)
		}
	}
}

// Random operations on few rows, from three replicas, with sweeps and retention among them.
func TestReplicasDoNotDeadlock(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t, "deadlock_timeout = 200ms")
	url := c.Database(t, "")
	const callers, each = 24, 60
	var mu sync.Mutex // guards ids
	var ids []*verify.Verification
	some := func(r *rand.Rand) *verify.Verification {
		mu.Lock()
		defer mu.Unlock()
		if len(ids) == 0 {
			return pending(time.Now(), number(0))
		}
		return ids[r.IntN(len(ids))]
	}
	var all sync.WaitGroup
	for i := range 3 {
		// Its leases are over at once, so that there is something to sweep and to claim.
		s := replica(t, url, func(o *store.Options) {
			o.Now = func() time.Time { return time.Now().Add(time.Duration(i) * 3 * time.Second) }
		})
		for n := range callers / 3 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				for range each {
					v, err := some(r), error(nil)
					switch r.IntN(8) {
					case 0, 1:
						v = pending(time.Now().Add(-time.Duration(r.IntN(4000))*time.Millisecond+time.Duration(i)*3*time.Second), number(r.IntN(5)))
						if err = s.Start(ctx, v, verify.Limits{}, time.Millisecond); err == nil {
							mu.Lock()
							ids = append(ids, v)
							mu.Unlock()
						}
					case 2, 3:
						_, err = s.Check(ctx, guess(v, "000000"))
					case 4:
						_, err = s.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, Outcome: verify.AttemptErrored}, Retry: true})
					case 5:
						s.Sweep(ctx) // who meets another sweeper tries again with the next tick
					case 6:
						var due []verify.Overdue
						if due, _, err = s.Due(ctx, verify.Hint{}, 20, nil); err == nil {
							for _, o := range due {
								s.Claim(ctx, o, time.Millisecond)
							}
						}
					case 7:
						s.Retain(ctx, time.Now().Add(-time.Second)) // the same
						s.FoldUsage(ctx)
					}
					if errors.Is(err, verify.ErrNoStore) {
						t.Errorf("got error %v", err)
					}
				}
			})
		}
	}
	all.Wait()
	if got := query[int](t, url, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); got != 0 {
		t.Errorf("got %d deadlocks, want none\n%s", got, c.Log())
	}
	if len(ids) < 100 {
		t.Errorf("got %d starts: too few to show anything", len(ids))
	}
}

// A start whose commit takes long must not appear behind the sweeper without a hint.
func TestSweeperWaitsForStartsThatAreUnderWay(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	now := time.Now()
	begun, let := make(chan struct{}), make(chan struct{})
	slow := replica(t, url, func(o *store.Options) {
		o.Now = func() time.Time { return now }
		o.Commit = func(_ int, commit func() error) error {
			close(begun)
			<-let
			return commit()
		}
	})
	var offset atomic.Int64
	other := replica(t, url, func(o *store.Options) { o.Now = func() time.Time { return now.Add(time.Duration(offset.Load())) } })
	late, next := pending(now, number(0)), pending(now.Add(time.Millisecond), number(1))
	started := make(chan error)
	go func() { started <- slow.Start(ctx, late, verify.Limits{}, time.Second) }()
	<-begun
	if err := other.Start(ctx, next, verify.Limits{}, time.Second); err != nil {
		t.Fatal(err)
	}
	offset.Store(int64(time.Minute))
	swept := make(chan error)
	go func() { swept <- other.Sweep(ctx) }()
	// The sweep that waits holds up no start.
	for i := range 20 {
		if err := other.Start(ctx, pending(now.Add(time.Minute), number(i+10)), verify.Limits{}, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-swept:
		close(let)
		<-started
		t.Fatalf("the sweep didn't wait for the start that hangs: got %v", err)
	case <-time.After(300 * time.Millisecond): // or it hasn't begun yet, on a slow machine
	}
	close(let)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if err := <-swept; err != nil {
		t.Fatal(err)
	}
	offset.Add(int64(10 * time.Second)) // rows that appear late wait for a moment
	if due, _, err := other.Due(ctx, verify.Hint{}, 10, nil); err != nil || len(due) != 2 {
		t.Errorf("due: got %v, %v; want both", due, err)
	}

	// Now the sweeper has passed. Who starts there leaves a hint, by any clock.
	offset.Store(0)
	behind := pending(now.Add(-time.Second), number(2))
	if err := other.Start(ctx, behind, verify.Limits{}, time.Second); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, url, `SELECT count(*) FROM retry WHERE id = $1`, behind.ID[:]); got != 1 {
		t.Errorf("a start behind the sweeper has %d hints, want 1", got)
	}
}

// A COMMIT whose answer got lost may still be under way at the server. When its row appears, the replica that was
// told nothing cancels it, and no other replica sends it before.
func TestACommitThatComesLateIsCanceled(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	var lose atomic.Bool
	s := replica(t, url, func(o *store.Options) {
		o.Commit = func(_ int, commit func() error) error {
			if lose.Load() {
				return errors.New("no answer")
			}
			return commit()
		}
	})
	v := pending(time.Now(), number(0))
	unheard := *v
	lose.Store(true)
	if err := s.Start(ctx, v, verify.Limits{}, time.Millisecond); !errors.Is(err, verify.ErrNoStore) {
		t.Fatalf("start: got error %v, want %v", err, verify.ErrNoStore)
	}
	lose.Store(false)
	other := replica(t, url, func(o *store.Options) { o.Now = func() time.Time { return v.ID.Time() } })
	if err := other.Start(ctx, &unheard, verify.Limits{}, time.Millisecond); err != nil { // stands for the server
		t.Fatal(err)
	}
	later := replica(t, url, func(o *store.Options) {
		o.Now = func() time.Time { return v.ID.Time().Add(6 * time.Second) }
	})
	if err := later.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if due, _, err := later.Due(ctx, verify.Hint{}, 10, nil); err != nil || len(due) != 0 {
		t.Errorf("due at once: got %v, %v; want none", due, err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got, err := other.Verification(ctx, v.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status == verify.StatusCanceled && got.Delivery == verify.DeliveryFailed {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the late row is %v, %v; want it canceled and failed", got.Status, got.Delivery)
		}
	}
}

func TestFailoverVoidsWhatIsPending(t *testing.T) {
	t.Parallel()
	primary := pgtest.New(t)
	base := primary.Database(t, "")
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	s := replica(t, base)
	used, waiting := pending(time.Now(), number(0)), pending(time.Now(), number(1))
	for _, v := range []*verify.Verification{used, waiting} {
		if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	standby := primary.Standby(t)
	standby.Detach(t)
	if out, err := s.Check(ctx, guess(used, "483920")); err != nil || !out.Approved {
		t.Fatalf("check: got %+v, %v", out, err)
	}
	s.Close()
	primary.Kill(t)
	standby.Promote(t)

	// To whom says that nothing is lost, the lost approval is news.
	lossless := replica(t, standby.URL(name), func(o *store.Options) { o.Postgres.SynchronousStandby = true })
	if v, err := lossless.Verification(ctx, used.ID); err != nil || v.Status != verify.StatusPending {
		t.Fatalf("verification on the standby: got %+v, %v; want it pending", v, err)
	}
	lossless.Close()

	var replicas []*store.Store
	for range 3 {
		replicas = append(replicas, replica(t, standby.URL(name)))
	}
	for i, s := range replicas {
		for _, v := range []*verify.Verification{used, waiting} {
			if _, err := s.Check(ctx, guess(v, "483920")); !errors.Is(err, verify.ErrCanceled) {
				t.Errorf("replica %d: check after the failover: got error %v, want %v", i, err, verify.ErrCanceled)
			}
		}
	}
	if v, err := replicas[0].Verification(ctx, used.ID); err != nil || v.Status != verify.StatusCanceled || v.SealedCode != nil {
		t.Errorf("verification after the check: got %+v, %v; want it canceled and wiped", v, err)
	}
	// A clock that is behind makes ids that are void already.
	early := pending(waiting.ID.Time().Add(-time.Second), number(2))
	if err := replicas[1].Start(ctx, early, verify.Limits{}, time.Minute); !errors.Is(err, verify.ErrBusy) {
		t.Errorf("start with an id that is void: got error %v, want %v", err, verify.ErrBusy)
	}
	v := pending(time.Now(), number(3))
	if err := replicas[1].Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	// The next connections find the same server again.
	last := replica(t, standby.URL(name))
	if out, err := last.Check(ctx, guess(v, "483920")); err != nil || !out.Approved {
		t.Errorf("check of a new one: got %+v, %v; want it approved", out, err)
	}
}

// A primary that is gone without a word doesn't keep us from the next host.
func TestSilentHostIsPassedOver(t *testing.T) {
	t.Parallel()
	direct := storetest.Lent(t)
	silent, other := pgtest.WireTo(t, direct), pgtest.WireTo(t, direct)
	first, err := url.Parse(silent.URL(direct))
	if err != nil {
		t.Fatal(err)
	}
	second, err := url.Parse(other.URL(direct))
	if err != nil {
		t.Fatal(err)
	}
	both := strings.Replace(first.String(), first.Host, first.Host+","+second.Host, 1)
	s := replica(t, both, func(o *store.Options) { o.Postgres.Timeout = 3 * time.Second })
	v := pending(time.Now(), number(0))
	if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup // so that the pool has several connections
	for range 8 {
		all.Go(func() { s.Ready(ctx) })
	}
	all.Wait()
	silent.Cut(true)
	var out verify.Outcome
	for end := time.Now().Add(time.Minute); ; {
		if out, err = s.Check(ctx, guess(v, "483920")); err == nil {
			break
		}
		if !errors.Is(err, verify.ErrNoStore) || time.Now().After(end) {
			t.Fatalf("check: %v", err)
		}
	}
	if !out.Approved {
		t.Errorf("check: got %+v, want it approved", out)
	}
	// Not each of the connections that lead nowhere makes somebody wait. On a busy machine they may be gone by now.
	tries := 1
	for s.Ready(ctx) != nil && tries < 8 {
		tries++
	}
	if tries > 4 {
		t.Errorf("it was ready when asked the %dth time, want within four", tries)
	}
}

func TestServerThatLosesCommitsIsRefused(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"fsync = off", "full_page_writes = off"} {
		c := pgtest.New(t, setting)
		s, err := store.Open(ctx, store.Options{Postgres: &store.Postgres{URL: c.URL("postgres"), Timeout: time.Minute}})
		if err == nil {
			s.Close()
			t.Errorf("%s: got no error", setting)
		} else if !strings.Contains(err.Error(), setting) {
			t.Errorf("got error %v, want one that says %s", err, setting)
		}
	}
}

func TestCommitsAreSynchronousWhateverTheServerSays(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t, "synchronous_commit = off")
	s := replica(t, c.URL("postgres"))
	for _, setting := range []string{"synchronous_commit", "fsync", "full_page_writes"} {
		if got, err := s.Setting(ctx, setting); err != nil || got != "on" {
			t.Errorf("%s: got %q, %v; want on", setting, got, err)
		}
	}
}

func TestTextThatPostgresRefusesIsMended(t *testing.T) {
	t.Parallel()
	s := replica(t, storetest.Lent(t))
	v := pending(time.Now(), number(0))
	v.Text = "your\x00code {code}"
	if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	st := verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, Ref: "a\x00b\xff", StartedAt: time.Now()}}
	if _, err := s.Settle(ctx, st); err != nil {
		t.Fatal(err)
	}
	all, err := s.Deliveries(ctx, v.ID)
	if err != nil || len(all) != 1 || all[0].Ref != "a\uFFFDb\uFFFD" {
		t.Errorf("deliveries: got %+v, %v; want the ref with replacements", all, err)
	}
}

func TestNoSecretAndNoCodeStandsInPostgres(t *testing.T) {
	t.Parallel()
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	c := pgtest.New(t)
	s := replica(t, c.URL("postgres"))
	secret := account.NewSecret()
	if err := s.CreateProject(ctx, verify.Project{ID: "p", Name: "One", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	key := account.Key{ID: verify.NewID(time.Now()), Project: "p", Hash: account.HashKey(secret)}
	if err := s.CreateKey(ctx, key); err != nil {
		t.Fatal(err)
	}
	// Twenty characters of our own choice, so that no bytes look like them by chance.
	const code, typed = "KNOWNCODEKNOWNCODE23", "TYPEDCODETYPEDCODE45"
	v := pending(time.Now(), number(0))
	v.KeyID = keys.Primary()
	if v.CodeMAC, err = keys.MAC(v.KeyID, v.Binding(), code); err != nil {
		t.Fatal(err)
	}
	if v.SealedCode, err = keys.Seal(v.KeyID, v.Binding(), code); err != nil {
		t.Fatal(err)
	}
	sealed := v.SealedCode
	if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{typed, code} {
		if _, err := s.Check(ctx, verify.Guess{Project: "p", ID: v.ID, Profile: verify.ProfileCompat, Matches: func(v *verify.Verification) (bool, error) {
			mac, err := keys.MAC(v.KeyID, v.Binding(), text)
			return bytes.Equal(mac, v.CodeMAC), err
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := query[bool](t, c.URL("postgres"), `SELECT code_sealed IS NULL FROM verification WHERE id = $1`, v.ID[:]); !got {
		t.Error("the sealed code isn't NULL after the approval")
	}
	data := c.Contents(t)
	for _, hidden := range []string{secret.Reveal(), strings.TrimPrefix(secret.Reveal(), "cs_"), code, typed} {
		if bytes.Contains(data, []byte(hidden)) {
			t.Errorf("the files hold %q", hidden)
		}
	}
	for name, shown := range map[string][]byte{"the key's hash": key.Hash[:], "the code, sealed, in the log": sealed} {
		if !bytes.Contains(data, shown) {
			t.Errorf("the files don't hold %s: was the right place searched?", name)
		}
	}
}

func TestSeveralProcessesOpenANewDatabase(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, "")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			s, err := store.Open(ctx, store.Options{Postgres: &store.Postgres{URL: url, Timeout: time.Minute}})
			if err != nil {
				t.Errorf("process %d: %v", i, err)
				return
			}
			defer s.Close()
			if err := s.CreateProject(ctx, verify.Project{ID: verify.ProjectID(fmt.Sprint(i))}); err != nil {
				t.Errorf("process %d: create project: %v", i, err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(ctx, store.Options{Postgres: &store.Postgres{URL: url, Timeout: time.Minute}})
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "version 9999") || !strings.Contains(err.Error(), "newer countersign") {
		t.Errorf("a newer schema: got error %v, want one that names the version 9999 and a newer countersign", err)
	}
}

// The two engines' schemas are one: the same tables with the same columns, at the same version.
func TestEnginesHaveTheSameSchema(t *testing.T) {
	t.Parallel()
	pg := storetest.Lent(t)
	columns := func(driver, name, text string) (all []string) {
		t.Helper()
		db, err := sql.Open(driver, name)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		rows, err := db.Query(text)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var column string
			if err := rows.Scan(&column); err != nil {
				t.Fatal(err)
			}
			all = append(all, column)
		}
		return all
	}
	const except = `('server', 'sweep_gate', 'moving', 'goose_db_version', 'sqlite_sequence')`
	want := columns("sqlite", newFile(t), `SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT IN `+except+` ORDER BY 1`)
	got := columns("pgx", pg, `SELECT table_name || '.' || column_name FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name NOT IN `+except+` ORDER BY (table_name || '.' || column_name) COLLATE "C"`)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("columns: -SQLite +PostgreSQL\n%s", d)
	}
	const version = `SELECT max(version_id) FROM goose_db_version`
	sqlite, err := sql.Open("sqlite", newFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer sqlite.Close()
	var has int
	if err := sqlite.QueryRow(version).Scan(&has); err != nil || has != query[int](t, pg, version) {
		t.Errorf("schema version: SQLite %d (%v), PostgreSQL %d", has, err, query[int](t, pg, version))
	}
}

// patience is what a caller waits for at most while the database is away: 2½ times a store's limit.
const patience = 5 * time.Second

// Not parallel: it counts goroutines, of which others have their own.
func TestCallersDoNotWaitForADatabaseThatIsAway(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(t *testing.T, c *pgtest.Cluster, w *pgtest.Wire)
		mend func(t *testing.T, c *pgtest.Cluster, w *pgtest.Wire)
	}{
		{"stopped", func(t *testing.T, c *pgtest.Cluster, _ *pgtest.Wire) { c.Kill(t) }, func(t *testing.T, c *pgtest.Cluster, _ *pgtest.Wire) { c.Start(t) }},
		{"cut off", func(_ *testing.T, _ *pgtest.Cluster, w *pgtest.Wire) { w.Cut(true) }, func(_ *testing.T, _ *pgtest.Cluster, w *pgtest.Wire) { w.Cut(false) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			const conns = 2 + 12
			const more = 20 + 4*conns // goroutines: the wire has four for each connection
			c := pgtest.New(t)
			w := pgtest.NewWire(t, c)
			u := w.URL(c.URL("postgres"))
			s := replica(t, u, func(o *store.Options) { o.Postgres.Timeout = 2 * patience / 5 })
			v := pending(time.Now(), number(0))
			if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
				t.Fatal(err)
			}
			goroutines := runtime.NumGoroutine()
			test.fail(t, c, w)
			var all sync.WaitGroup
			call := func(name string, f func() error) {
				all.Go(func() {
					for range 4 {
						began := time.Now()
						err := f()
						if took := time.Since(began); took > patience {
							t.Errorf("%s took %v, want at most %v", name, took, patience)
						}
						if !errors.Is(err, verify.ErrNoStore) && !errors.Is(err, verify.ErrBusy) {
							t.Errorf("%s: got error %v, want %v", name, err, verify.ErrNoStore)
						}
					}
				})
			}
			for i := range 200 { // more than one group for each writer
				call("start", func() error { return s.Start(ctx, pending(time.Now(), number(i)), verify.Limits{}, time.Minute) })
				call("check", func() error { _, err := s.Check(ctx, guess(v, "483920")); return err })
			}
			for range 20 {
				call("account", func() error { _, err := s.Account(ctx, account.KeyHash{}); return err })
				call("ready", func() error { return s.Ready(ctx) })
				call("create project", func() error { return s.CreateProject(ctx, verify.Project{ID: "p"}) })
			}
			all.Wait()

			test.mend(t, c, w)
			for end := time.Now().Add(2 * time.Minute); s.Ready(ctx) != nil; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("it isn't ready again")
				}
			}
			var out verify.Outcome
			for end := time.Now().Add(2 * time.Minute); ; {
				var err error
				if out, err = s.Check(ctx, guess(v, "483920")); err == nil {
					break
				}
				if !errors.Is(err, verify.ErrNoStore) || time.Now().After(end) {
					t.Fatalf("check: %v", err)
				}
			}
			if !out.Approved {
				t.Errorf("check: got %+v, want it approved", out)
			}
			for end := time.Now().Add(2 * time.Minute); runtime.NumGoroutine() > goroutines+more; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("there are %d goroutines, %d before", runtime.NumGoroutine(), goroutines)
				}
			}
			if got := query[int](t, c.URL("postgres"), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'countersign'`); got > conns {
				t.Errorf("the server has %d connections of ours, want at most %d", got, conns)
			}
		})
	}
}

// A step of retention is as many ways to the server and back for 500 rows as for one.
func TestRetentionGetsOnOverASlowNetwork(t *testing.T) {
	t.Parallel()
	direct := storetest.Lent(t)
	old := time.Now().Add(-40 * 24 * time.Hour)
	past := replica(t, direct, func(o *store.Options) { o.Now = func() time.Time { return old } })
	var all sync.WaitGroup
	for i := range 501 {
		all.Go(func() {
			if err := past.Start(ctx, pending(old, number(i)), verify.Limits{}, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w := pgtest.WireTo(t, direct)
	s := replica(t, w.URL(direct), func(o *store.Options) { o.Postgres.Timeout = 8 * time.Second })
	w.Delay(20 * time.Millisecond) // 501 statements would take 10 s
	if n, err := s.Retain(ctx, time.Now().Add(-30*24*time.Hour)); n != 501 || err != nil {
		t.Errorf("retain: got %d, %v; want 501", n, err)
	}
	if left := query[int](t, direct, `SELECT count(*) FROM destination`); left != 0 {
		t.Errorf("%d numbers are left, want none", left)
	}
}

// Operators' changes on two replicas are made one after the other: each builds on the one before.
func TestReplicasChangeAProjectOneAfterTheOther(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, "")
	a := replica(t, url)
	b := replica(t, url)
	if err := a.CreateProject(ctx, verify.Project{ID: "p", Name: "P", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	const each = 20
	var all sync.WaitGroup
	var made atomic.Int64
	for _, s := range []*store.Store{a, b} {
		for range each {
			all.Go(func() {
				_, err := s.ChangeProject(ctx, "p", func(p *verify.Project) ([]store.Audit, error) { p.Limits.Daily++; return nil, nil })
				if err != nil {
					t.Log(err) // it may have lost too many races
					return
				}
				made.Add(1)
			})
		}
	}
	all.Wait()
	got, err := a.Projects(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := int(made.Load()); got[0].Limits.Daily != n || n < each {
		t.Errorf("%d of %d changes were made, and %d are there", n, 2*each, got[0].Limits.Daily)
	}
}
