package dispatch_test

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// commits counts the groups and the operations that a kit commits.
type commits struct{ groups, ops atomic.Int64 }

func (c *commits) commit(ops int, commit func() error) error {
	c.groups.Add(1)
	c.ops.Add(int64(ops))
	return commit()
}

// tape is a carrier that notes the projects or numbers of its messages, in order.
type tape struct {
	name string
	send func(m verify.Message) error

	mu  sync.Mutex // guards all
	all []verify.Message
}

func (c *tape) Name() string { return c.name }

func (c *tape) Send(_ context.Context, m verify.Message) (carrier.Result, error) {
	c.mu.Lock()
	c.all = append(c.all, m)
	c.mu.Unlock()
	if c.send != nil {
		return carrier.Result{}, c.send(m)
	}
	return carrier.Result{}, nil
}

func (c *tape) got() []verify.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]verify.Message(nil), c.all...)
}

// orphan starts a verification whose replica dies over it.
func orphan(t testing.TB, k *countersigntest.Kit, p verify.ProjectID, to phone.Number) verify.ID {
	t.Helper()
	keys := keysOf(t, k)
	v := &verify.Verification{
		ID: verify.NewID(k.Store.Now()), Project: p, Application: k.Account().Application.ID, Purpose: verify.PurposeMFA,
		Terms: verify.Terms{Channel: verify.ChannelSMS, To: to, Text: "Code {code}", Format: "numeric", Length: 6, MaxAttempts: 3, ExpiresAt: k.Store.Now().Add(10 * time.Hour)},
		Code:  verify.Code{KeyID: keys.Primary(), CodeMAC: []byte{1}},
	}
	var err error
	if v.SealedCode, err = keys.Seal(v.KeyID, v.Binding(), "493817"); err != nil {
		t.Fatal(err)
	}
	if err := k.Store.Start(context.Background(), v, verify.Limits{}, lease); err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// A message that its first carrier refuses goes on by the lease that the refusal's commit takes: nobody
// looks for it, and nothing is committed that a first attempt doesn't commit.
func TestARefusedMessageGoesOnWithoutThePoller(t *testing.T) {
	t.Parallel()
	var c commits
	a := &tape{name: "a", send: func(verify.Message) error { return carrier.Refused(errDown) }}
	b := &tape{name: "b"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}, Unattended: true, Commit: c.commit})
	k.Account()
	before := c.ops.Load()
	v := quiet(t, k, k.Start("+12025550123", ""))
	if v.Delivery != verify.DeliverySent || v.Attempt != 2 || len(a.got()) != 1 || len(b.got()) != 1 {
		t.Errorf("got %v after attempt %d, %d and %d calls; want sent after attempt 2, one call each", v.Delivery, v.Attempt, len(a.got()), len(b.got()))
	}
	if got := c.ops.Load() - before; got != 3 {
		t.Errorf("got %d operations, want 3: the start and two settlements", got)
	}
}

// Due messages are claimed in groups, whatever the project and the carrier.
func TestDueMessagesShareCommits(t *testing.T) {
	t.Parallel()
	const n = 100
	var c commits
	a := &tape{name: "a"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a}, Unattended: true, Commit: c.commit})
	for i := range n {
		orphan(t, k, "test", phone.Number("+1202555"+string([]byte{'0', '1', '0' + byte(i/10), '0' + byte(i%10)})))
	}
	k.Clock.Advance(time.Minute)
	if err := k.Store.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := c.groups.Load()
	if err := k.Dispatch.Poll(context.Background()); err != nil {
		t.Fatal(err)
	}
	k.Await("all messages", func() bool { return len(a.got()) == n })
	// The settlements of 16 workers come in between.
	if got := c.groups.Load() - before; got > n/2 {
		t.Errorf("got %d commits for %d claims and settlements, want at most %d", got, n, n/2)
	}
}

// The due messages of a carrier that is full, however many, hold up nobody else's.
func TestAFullCarriersMessagesHoldUpNoOthers(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	full := &tape{name: "full", send: func(verify.Message) error { <-let; return nil }}
	free := &tape{name: "free"}
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{full, free}, Unattended: true,
		Lines: map[string]dispatch.Line{"full": {Queue: 1, Concurrency: 1}},
		Rules: []route.Rule{{Countries: []string{"GB"}, Carriers: []route.Choice{{Carrier: "free"}}}, {Carriers: []route.Choice{{Carrier: "full"}}}},
	})
	defer close(let)
	for i := range 600 { // more than one step
		orphan(t, k, "test", phone.Number("+1202555"+string([]byte{'0', '0' + byte(i/100), '0' + byte(i/10%10), '0' + byte(i%10)})))
	}
	k.Clock.Advance(time.Second)
	orphan(t, k, "test", "+447700900123")
	k.Advance(time.Minute)
	k.Await("the message of the free carrier", func() bool { return len(free.got()) == 1 })
}

// A project with many due messages leaves every other place to one with few.
func TestProjectsTakeTurns(t *testing.T) {
	t.Parallel()
	a := &tape{name: "a"}
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a}, Unattended: true,
		Lines: map[string]dispatch.Line{"a": {Queue: 4, Concurrency: 1}},
	})
	for i := range 20 {
		orphan(t, k, "flood", phone.Number("+1202555010"+string(rune('0'+i%10))))
	}
	k.Clock.Advance(time.Second)
	quietOnes := map[verify.ID]bool{orphan(t, k, "quiet", "+12025550150"): true, orphan(t, k, "quiet", "+12025550151"): true}
	k.Advance(time.Minute)
	k.Await("four messages", func() bool { return len(a.got()) == 4 })
	got := 0
	for _, m := range a.got() {
		if quietOnes[m.Verification] {
			got++
		}
	}
	if got != 2 {
		t.Errorf("got %d of 4 places for the quiet project, want 2", got)
	}
}

// A row that can't be read hides no other, and isn't logged at each look.
func TestADamagedRowHidesNoOther(t *testing.T) {
	t.Parallel()
	a, log := &tape{name: "a"}, &buffer{}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a}, Unattended: true, Log: log})
	damaged, whole := orphan(t, k, "test", "+12025550123"), orphan(t, k, "test", "+12025550124")
	k.Clock.Advance(time.Minute)
	if err := k.Store.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+k.Data+"/"+system.DatabaseFile+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE verification SET fallbacks = '{' WHERE id = ?`, damaged[:]); err != nil {
		t.Fatal(err)
	}
	if err := k.Dispatch.Poll(context.Background()); err != nil {
		t.Fatal(err)
	}
	k.Await("the other message", func() bool { return len(a.got()) == 1 })
	if got := a.got()[0].Verification; got != whole {
		t.Errorf("got %v, want %v", got, whole)
	}
	due, _, err := k.Store.Due(context.Background(), verify.Hint{}, 10, nil)
	if err != nil || len(due) != 1 || due[0].Damaged == nil {
		t.Errorf("due: got %v, %v; want the damaged one", due, err)
	}
	for range 3 {
		if err := k.Dispatch.Poll(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if lines := log.about(t, damaged.String()); len(lines) != 1 {
		t.Errorf("four looks within a minute logged %q, want one line", lines)
	}
}

// A sweep that was late leaves hints that were due long ago, behind where looks begin. Also a look that fails
// forgets none of them.
func TestHintsOfALateSweepAreSeen(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, fail := range map[string]func(*countersigntest.Kit, *away) error{
		"at once":                    func(*countersigntest.Kit, *away) error { return nil },
		"when the hints can be read": func(k *countersigntest.Kit, _ *away) error { return k.Dispatch.Poll(canceled) },
		"when the database is back": func(k *countersigntest.Kit, db *away) error {
			db.Store(true)
			defer db.Store(false)
			return k.Dispatch.Poll(context.Background())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			a, db := &tape{name: "a"}, new(away)
			k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a}, Unattended: true, Commit: db.commit})
			id := orphan(t, k, "test", "+12025550123")
			k.Clock.Advance(2 * time.Hour)
			for range 2 {
				if err := k.Dispatch.Poll(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := k.Store.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
			if err := fail(k, db); (err != nil) != (name != "at once") {
				t.Fatalf("the look before: %v", err)
			}
			if err := k.Dispatch.Poll(ctx); err != nil {
				t.Fatal(err)
			}
			if v := k.Verification(id.String()); v.Attempt != 2 {
				t.Fatalf("the message is at attempt %d, %v; want it claimed", v.Attempt, v.Delivery)
			}
			k.Await("the message", func() bool { return len(a.got()) == 1 })
		})
	}
}
