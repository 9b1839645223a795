package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// Calls that ask for a key.

// asks makes a verification one that is approved by a key.
func asks(v *verify.Verification) {
	v.Channel, v.Approval, v.Asker = verify.ChannelVoice, verify.ApprovalByKey, "Shop"
}

// pressed is the report of a call whose callee said something.
func (k *kit) pressed(v *verify.Verification, what verify.Verdict) verify.Settlement {
	end := k.sent(v)
	end.Verdict = what
	if what != verify.VerdictApproves {
		end.Outcome, end.Reason = verify.AttemptRefused, verify.ReasonNoKey
	}
	return end
}

// answers settles a call, and demands what becomes of its verification.
func (k *kit) answers(v *verify.Verification, what verify.Verdict, status verify.Status, delivery verify.DeliveryState) {
	k.t.Helper()
	got, err := k.Settle(ctx, k.pressed(v, what))
	if err != nil || got.Status != status || got.Delivery != delivery {
		k.t.Fatalf("%v: got %+v, %v; want it %v, its message %v", what, got, err, status, delivery)
	}
	stored := k.stored(v.ID)
	stored.Superseded = got.Superseded // what was read in between
	equal(k.t, "what is stored", stored, got)
}

func aKeyApprovesOnce(t *testing.T, s suite) {
	k := s.open(t)
	other := k.start(number(0))
	k.check(wrong(other), wrongWith(2))
	v := k.start(number(0), asks)
	equal(t, "what was started", k.stored(v.ID), v)
	k.check(wrong(v), verify.Outcome{GuessesLeft: 2, Channel: verify.ChannelVoice})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := k.Settle(ctx, k.pressed(v, verify.VerdictApproves)); err != nil || got.Status != verify.StatusApproved {
				t.Errorf("settle: got %+v, %v", got, err)
			}
		})
	}
	all.Wait()
	got := k.stored(v.ID)
	if got.Guesses != 2 || got.SealedCode != nil || got.Delivery != verify.DeliveryDelivered {
		t.Errorf("got %d guesses, sealed code %q, message %v; want 2 of them, none, and delivered", got.Guesses, got.SealedCode, got.Delivery)
	}
	equal(t, "failures of the number", k.destination(v.To).Failures, 0)
	equal(t, "attempts", len(k.deliveries(v.ID)), 1)
	_, err := k.Check(ctx, right(v))
	wantError(t, "its code", err, verify.ErrApproved)
	k.reopen(t)
	equal(t, "verification", k.stored(v.ID), got)
}

// Whoever comes first, at a row that all of them want.
func aKeyAmongOthersIsDecidedInOrder(t *testing.T, s suite) {
	k := s.open(t)
	yes := func(v *verify.Verification, want *verify.Status) func() {
		return func() {
			if got, err := k.Settle(ctx, k.pressed(v, verify.VerdictApproves)); err != nil {
				t.Errorf("settle: %v", err)
			} else {
				*want = got.Status
			}
		}
	}
	types := func(g verify.Guess, err *error) func() { return func() { _, *err = k.Check(ctx, g) } }
	cancels := func(v *verify.Verification, err *error) func() {
		return func() { *err = k.Cancel(ctx, project, v.ID) }
	}
	for i, test := range []struct {
		name     string
		attempts int
		run      func(v *verify.Verification, status *verify.Status, err *error) []func()
		status   verify.Status
		err      error
		guesses  int
		failures int
	}{
		{"key, last wrong guess", 1, func(v *verify.Verification, s *verify.Status, err *error) []func() {
			return []func(){yes(v, s), types(wrong(v), err)}
		}, verify.StatusApproved, verify.ErrApproved, 1, 0},
		{"last wrong guess, key", 1, func(v *verify.Verification, s *verify.Status, err *error) []func() {
			return []func(){types(wrong(v), err), yes(v, s)}
		}, verify.StatusExhausted, nil, 1, 1},
		{"wrong guess, key", 3, func(v *verify.Verification, s *verify.Status, err *error) []func() {
			return []func(){types(wrong(v), err), yes(v, s)}
		}, verify.StatusApproved, nil, 2, 0},
		{"key, right code", 3, func(v *verify.Verification, s *verify.Status, err *error) []func() {
			return []func(){yes(v, s), types(right(v), err)}
		}, verify.StatusApproved, verify.ErrApproved, 1, 0},
		{"right code, key", 3, func(v *verify.Verification, s *verify.Status, err *error) []func() {
			return []func(){types(right(v), err), yes(v, s)}
		}, verify.StatusApproved, nil, 1, 0},
		{"key, cancel", 3, func(v *verify.Verification, s *verify.Status, err *error) []func() {
			return []func(){yes(v, s), cancels(v, err)}
		}, verify.StatusApproved, verify.ErrApproved, 1, 0},
		{"cancel, key", 3, func(v *verify.Verification, s *verify.Status, err *error) []func() {
			return []func(){cancels(v, err), yes(v, s)}
		}, verify.StatusCanceled, nil, 0, 0},
	} {
		v := k.start(number(i), asks, allows(test.attempts))
		var status verify.Status
		var err error
		k.together(test.run(v, &status, &err)...)
		wantError(t, test.name, err, test.err)
		got := k.stored(v.ID)
		if status != test.status || got.Status != test.status || got.Guesses != test.guesses || k.destination(v.To).Failures != test.failures {
			t.Errorf("%s: got %v, stored %v after %d guesses, %d failures; want %v, %d, %d",
				test.name, status, got.Status, got.Guesses, k.destination(v.To).Failures, test.status, test.guesses, test.failures)
		}
	}

	// Its time may be over as well.
	v := k.start(number(100), asks, lives(lease/2))
	k.clock.advance(lease / 2)
	got, err := k.Settle(ctx, k.pressed(v, verify.VerdictApproves))
	if err != nil || got.StatusAt(k.clock.Now()) != verify.StatusExpired || got.Guesses != 0 {
		t.Errorf("key at the instant of expiry: got %+v, %v", got, err)
	}
}

// One process hears the key while another reads the code: one of them approves, and one guess is spent.
func aKeyAndACodeInTwoProcessesApproveOnce(t *testing.T, s suite) {
	k := s.open(t)
	other := k.Again(t, k.clock.Now, k.gate.commit)
	defer other.Close()
	var all sync.WaitGroup
	for i := range 20 {
		v := k.start(number(i), asks)
		all.Go(func() {
			if got, err := k.Settle(ctx, k.pressed(v, verify.VerdictApproves)); err != nil || got.Status != verify.StatusApproved {
				t.Errorf("settle: got %+v, %v", got, err)
			}
		})
		all.Go(func() {
			if out, err := other.Check(ctx, right(v)); !out.Approved && !errors.Is(err, verify.ErrApproved) {
				t.Errorf("check: got %+v, %v", out, err)
			}
		})
	}
	all.Wait()
	for i := range 20 {
		if got := k.stored(k.destination(number(i)).Latest); got.Status != verify.StatusApproved || got.Guesses != 1 || got.Delivery != verify.DeliveryDelivered {
			t.Errorf("got %v after %d guesses, its message %v; want approved after one, and delivered", got.Status, got.Guesses, got.Delivery)
		}
	}
}

func aKeyFromWhoLostTheLeaseIsNothing(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0), asks)
	frozen := *v
	k.clock.advance(lease)
	_, err := k.Settle(ctx, k.pressed(&frozen, verify.VerdictApproves))
	wantError(t, "a key at the lease's end", err, verify.ErrLeaseLost)
	_, err = k.Settle(ctx, k.pressed(&frozen, verify.VerdictRejects))
	wantError(t, "a no at the lease's end", err, verify.ErrLeaseLost)
	equal(t, "verification", k.stored(v.ID), v)
	k.sweep()
	due := k.due()
	if len(due) != 1 {
		t.Fatalf("due: got %v, want one", due)
	}
	second := k.claim(due[0])
	if second == nil {
		t.Fatal("claim: got none")
	}
	for _, what := range []verify.Verdict{verify.VerdictApproves, verify.VerdictRejects} {
		_, err = k.Settle(ctx, k.pressed(&frozen, what))
		wantError(t, "a key in attempt 1", err, verify.ErrLeaseLost)
	}
	equal(t, "verification", k.stored(v.ID), second)
	k.answers(second, verify.VerdictApproves, verify.StatusApproved, verify.DeliveryDelivered)
}

func aKeyTellsTheUser(t *testing.T, s suite) {
	k := s.open(t)
	p := k.person(k.application(project), "Kola", number(0))
	p.edits = append(p.edits, asks)
	v := p.associate()
	k.clock.advance(time.Second)
	k.answers(v, verify.VerdictApproves, verify.StatusApproved, verify.DeliveryDelivered)
	p.is(verify.UserValidated, string(p.to), v.ID, 2)

	login := p.login()
	k.answers(login, verify.VerdictUnanswered, verify.StatusPending, verify.DeliveryFailed)
	p.is(verify.UserValidated, string(p.to), login.ID, 2)
	login = p.login()
	k.answers(login, verify.VerdictApproves, verify.StatusApproved, verify.DeliveryDelivered)
	p.is(verify.UserValidated, string(p.to), login.ID, 3)
	u, err := p.User(ctx, p.key)
	if err != nil || !u.UpdatedAt.Equal(k.clock.Now()) {
		t.Errorf("user: got %+v, %v; want that he changed now", u, err)
	}
	_, err = p.types(secret)
	wantError(t, "the code of a call that was approved", err, verify.ErrApproved)
}

func aKeyForASupersededCallIsNothing(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	p := k.person(a, "Kola", number(0))
	p.edits = append(p.edits, asks)
	old := p.associate()
	k.clock.advance(time.Second)
	newer := p.associate()
	k.answers(old, verify.VerdictApproves, verify.StatusPending, verify.DeliverySent)
	p.is(verify.UserPending, string(p.to), newer.ID, 1)
	equal(t, "status", k.stored(old.ID).StatusAt(k.clock.Now()), verify.StatusSuperseded)
	k.answers(newer, verify.VerdictApproves, verify.StatusApproved, verify.DeliveryDelivered)
	p.is(verify.UserValidated, string(p.to), newer.ID, 2)

	// In one group: the newer one begins before the key is read.
	old = p.login()
	k.clock.advance(time.Second)
	var began, settled error
	k.together(
		func() { newer, began = p.begin(verify.UserStart{}) },
		func() { _, settled = k.Settle(ctx, k.pressed(old, verify.VerdictApproves)) },
	)
	wantError(t, "login", errors.Join(began, settled), nil)
	p.is(verify.UserValidated, string(p.to), newer.ID, 2)
	equal(t, "status", k.stored(old.ID).StatusAt(k.clock.Now()), verify.StatusSuperseded)

	// Nor does one approve anything whose user or application is gone.
	wantError(t, "delete user", p.DeleteUser(ctx, p.key), nil)
	k.answers(newer, verify.VerdictApproves, verify.StatusCanceled, verify.DeliverySent)
	last := p.associate()
	wantError(t, "delete application", k.DeleteApplication(ctx, project, a.ID, 0), nil)
	k.answers(last, verify.VerdictApproves, verify.StatusCanceled, verify.DeliverySent)
}

func noByKeyCancels(t *testing.T, s suite) {
	k := s.open(t)
	p := k.person(k.application(project), "Kola", number(0))
	p.edits = append(p.edits, asks)
	v := p.associate()
	before := k.destination(v.To)
	k.answers(v, verify.VerdictRejects, verify.StatusCanceled, verify.DeliveryFailed)
	got := k.stored(v.ID)
	if got.Reason != verify.ReasonRejected || got.SealedCode != nil {
		t.Errorf("got reason %q, sealed code %q", got.Reason, got.SealedCode)
	}
	equal(t, "destination", k.destination(v.To), before)
	p.is(verify.UserPending, string(p.to), v.ID, 1)
	_, err := p.types(secret)
	wantError(t, "its code", err, verify.ErrCanceled)
}

func failedCommitOfAKeyApprovesNothing(t *testing.T, s suite) {
	k := s.open(t)
	p := k.person(k.application(project), "Kola", number(0))
	p.edits = append(p.edits, asks)
	v := p.associate()
	destination := k.destination(v.To)
	k.gate.fail()
	if _, err := k.Settle(ctx, k.pressed(v, verify.VerdictApproves)); err == nil {
		t.Error("settle: got no error")
	}
	equal(t, "verification", k.stored(v.ID), v)
	equal(t, "destination", k.destination(v.To), destination)
	p.is(verify.UserPending, string(p.to), v.ID, 1)

	k.gate.failAfter() // and it had happened: the next report changes nothing
	k.Settle(ctx, k.pressed(v, verify.VerdictApproves))
	k.answers(v, verify.VerdictApproves, verify.StatusApproved, verify.DeliveryDelivered)
	p.is(verify.UserValidated, string(p.to), v.ID, 2)
	equal(t, "guesses", k.stored(v.ID).Guesses, 1)
}
