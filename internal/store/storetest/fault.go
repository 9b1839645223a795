package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// crowd is a group of each kind of operation, for a commit that goes wrong.
type crowd struct {
	k                                             *kit
	started, checked, settled, claimed, receipted *verify.Verification
	overdue                                       verify.Overdue
}

func newCrowd(k *kit) *crowd {
	k.t.Helper()
	c := &crowd{k: k, claimed: k.start(number(3))}
	k.clock.advance(lease)
	k.sweep()
	c.overdue = k.due()[0]
	c.started, c.checked, c.settled, c.receipted = k.fresh(number(0)), k.start(number(1)), k.start(number(2)), k.start(number(4))
	return c
}

// call makes all calls in one group, whose commit meets a fault, and returns their errors.
func (c *crowd) call(fault func()) []error {
	c.k.t.Helper()
	errs := make([]error, 6)
	n := c.k.gate.count()
	let := c.k.occupy()
	fault()
	var all sync.WaitGroup
	c.k.queue(&all,
		func() { errs[0] = c.k.Start(ctx, c.started, verify.DefaultLimits, lease) },
		func() { _, errs[1] = c.k.Check(ctx, wrong(c.checked)) },
		func() { _, errs[2] = c.k.Settle(ctx, c.k.sent(c.settled)) },
		func() { _, _, errs[3] = c.k.Claim(ctx, c.overdue, lease) },
		func() {
			_, _, errs[4] = c.k.Receive(ctx, verify.Receipt{Verification: c.receipted.ID, Attempt: 1, Delivered: true})
		},
		func() { _, errs[5] = c.k.Check(ctx, wrong(c.checked)) },
	)
	close(let)
	all.Wait()
	if groups := c.k.gate.since(n); slices.Max(groups) < len(errs) {
		c.k.t.Errorf("groups: got %v, want one of %d", groups, len(errs))
	}
	return errs
}

// image is all that is stored of a crowd.
type image struct {
	Verifications []*verify.Verification
	Deliveries    [][]verify.Delivery
	Destinations  []verify.Destination
	Hints         []Hint
}

func (c *crowd) image() (i image) {
	c.k.t.Helper()
	for _, v := range []*verify.Verification{c.checked, c.settled, c.claimed, c.receipted} {
		i.Verifications = append(i.Verifications, c.k.stored(v.ID))
		i.Deliveries = append(i.Deliveries, c.k.deliveries(v.ID))
	}
	var err error
	if i.Destinations, err = c.k.Destinations(ctx); err != nil {
		c.k.t.Fatal(err)
	}
	i.Hints = c.k.hints()
	return i
}

func failedCommitStoresNothing(t *testing.T, s suite) {
	k := s.open(t)
	c := newCrowd(k)
	before, given := c.image(), *c.started

	for i, err := range c.call(k.gate.fail) {
		wantError(t, fmt.Sprint("operation ", i), err, verify.ErrNoStore)
		wantError(t, fmt.Sprint("operation ", i), err, errDisk)
	}
	k.countedRight("after a commit that failed")
	equal(t, "all rows", c.image(), before)
	equal(t, "the caller's verification", *c.started, given)
	k.gone(c.started.ID)

	// It works again, and nothing of the failure is left. Who starts again makes another id.
	c.started = k.fresh(number(0))
	for i, err := range c.call(k.gate.pass) {
		wantError(t, fmt.Sprintf("operation %d again", i), err, nil)
	}
	c.happened()
	equal(t, "status of the started one", k.stored(c.started.ID).Status, verify.StatusPending)
}

func failedCommitThatHappenedStoresOnce(t *testing.T, s suite) {
	k := s.open(t)
	c := newCrowd(k)
	for i, err := range c.call(k.gate.failAfter) {
		wantError(t, fmt.Sprint("operation ", i), err, verify.ErrNoStore)
	}
	c.happened()
	k.canceled(c.started)

	// Whoever got the error may report again. An attempt ends once.
	after := c.image()
	again := k.sent(c.settled)
	again.Again = true
	if _, err := k.Settle(ctx, again); err != nil {
		t.Errorf("settle again: %v", err)
	}
	equal(t, "deliveries after settling again", k.deliveries(c.settled.ID), after.Deliveries[1])
	if err := k.Start(ctx, c.started, verify.DefaultLimits, lease); err == nil {
		t.Error("start again: got no error")
	}
	if v := k.claim(c.overdue); v != nil {
		t.Errorf("claim again: got %+v, want none", v)
	}
	equal(t, "all rows after doing all again", c.image(), after)
	k.countedRight("after a commit that happened and failed")
}

// happened demands that each of the calls happened, once.
func (c *crowd) happened() {
	c.k.t.Helper()
	t, k := c.k.t, c.k
	equal(t, "sends of its number", len(k.destination(c.started.To).Sends), 1)
	equal(t, "latest of its number", k.destination(c.started.To).Latest, c.started.ID)
	equal(t, "guesses", k.stored(c.checked.ID).Guesses, 2)
	equal(t, "failures", k.destination(c.checked.To).Failures, 2)
	equal(t, "delivery of the settled one", k.stored(c.settled.ID).Delivery, verify.DeliverySent)
	equal(t, "deliveries of the settled one", len(k.deliveries(c.settled.ID)), 1)
	equal(t, "attempt of the claimed one", k.stored(c.claimed.ID).Attempt, 2)
	equal(t, "deliveries of the claimed one", len(k.deliveries(c.claimed.ID)), 1)
	equal(t, "delivery after the receipt", k.stored(c.receipted.ID).Delivery, verify.DeliveryDelivered)
}

// canceled demands that a verification is soon canceled, and its message failed.
func (k *kit) canceled(v *verify.Verification) {
	k.t.Helper()
	until(k.t, "the cancellation", func() bool { return k.stored(v.ID).Status == verify.StatusCanceled })
	after := k.stored(v.ID)
	equal(k.t, "delivery", after.Delivery, verify.DeliveryFailed)
	equal(k.t, "sealed code", after.SealedCode, []byte(nil))
}

// neverSent demands that nobody can claim a verification's message, however long it takes.
func (k *kit) neverSent(v *verify.Verification) {
	k.t.Helper()
	k.clock.advance(2 * lease)
	k.sweep()
	k.clock.advance(2 * lease) // a row that appeared late waits for a moment more
	for _, o := range k.due() {
		if o.Verification.ID == v.ID && k.claim(o) != nil {
			k.t.Errorf("%v was claimed after it was canceled", v.ID)
		}
	}
}

// A start whose COMMIT got no answer was refused, and its caller asks again. If it happened all the same, nobody
// knows its id: it is canceled before anything is sent. So is a user's login.
func startWithoutAnAnswerIsCanceled(t *testing.T, s suite) {
	k := s.open(t)
	v := k.fresh(number(0))
	k.gate.failAfter()
	wantError(t, "start", k.Start(ctx, v, verify.Limits{}, lease), verify.ErrNoStore)
	k.canceled(v)
	k.neverSent(v)

	p := k.person(k.application(project), "Kola", number(1))
	k.gate.failAfter()
	v, err := p.begin(verify.UserStart{Associate: true})
	wantError(t, "associate", err, verify.ErrNoStore)
	k.canceled(v)
	k.neverSent(v)
	again := p.associate()
	equal(t, "status of the next one", k.stored(again.ID).StatusAt(k.clock.Now()), verify.StatusPending)

	call := func() *verify.Verification {
		v := k.fresh(number(2))
		v.Channel, v.Calling = verify.ChannelVoice, time.Minute
		return v
	}
	v = call()
	k.gate.failAfter()
	wantError(t, "call", k.Start(ctx, v, verify.Limits{}, lease), verify.ErrNoStore)
	k.canceled(v)
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		err := k.Start(ctx, call(), verify.Limits{}, lease)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("call again: %v; want the phone to be free", err)
		}
	}
}

func failedCommitOfAnAdministratorStoresNothing(t *testing.T, s suite) {
	k := s.open(t)
	p := verify.Project{ID: project, Name: "One", Profile: verify.ProfileCompat}
	k.gate.fail()
	wantError(t, "create project", k.CreateProject(ctx, p), verify.ErrNoStore)
	if all, err := k.Projects(ctx); err != nil || len(all) != 0 {
		t.Errorf("projects: got %v, %v; want none", all, err)
	}
	if err := k.CreateProject(ctx, p); err != nil {
		t.Errorf("create project again: %v", err)
	}

	v := k.start(number(0), lives(0))
	k.clock.advance(lease)
	k.gate.fail()
	wantError(t, "sweep", k.Sweep(ctx), verify.ErrNoStore)
	if swept, err := k.Swept(ctx); err != nil || !swept.IsZero() {
		t.Errorf("swept: got %v, %v; want nothing", swept, err)
	}
	for range 4 { // each step is tried so often
		k.gate.fail()
	}
	deleted, err := k.Retain(ctx, k.clock.Now())
	wantError(t, "retain", err, verify.ErrNoStore)
	equal(t, "deleted", deleted, 0)
	equal(t, "verification", k.stored(v.ID), v)
	if deleted, err = k.Retain(ctx, k.clock.Now()); deleted != 1 || err != nil {
		t.Errorf("retain again: got %d, %v; want 1", deleted, err)
	}
}
