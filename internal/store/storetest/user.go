package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// The users of applications.

// plenty is more applications, and more templates, than a test makes.
const plenty = 1000

// application makes an application of a project, which it makes if need be.
func (k *kit) application(p verify.ProjectID, edits ...func(*verify.Application)) verify.Application {
	k.t.Helper()
	k.CreateProject(ctx, verify.Project{ID: p, Name: string(p), Profile: verify.ProfileCompat}) // or it is there
	now := k.clock.Now()
	a := verify.Application{
		ID: verify.NewID(now), Project: p, Name: "shop", Description: "The shop", Format: code.Complex, Length: 8, Life: 90 * time.Second, Attempts: 5,
		Prefix: "G-", Channels: []verify.Channel{verify.ChannelVoice, verify.ChannelSMS}, AssociateTemplate: "$code", LoginTemplate: "login", DisplayName: "The Shop",
		From: "channel:x", Calls: verify.CallSettings{Locale: "de", ByKey: true}, CreatedAt: now, UpdatedAt: now, Version: 1,
	}
	for _, edit := range edits {
		edit(&a)
	}
	if err := k.CreateApplication(ctx, a, false, plenty); err != nil {
		k.t.Fatalf("create application: %v", err)
	}
	return a
}

// A person is a user of an application, with what the tests need to act for him.
type person struct {
	*kit
	key   verify.UserKey
	to    phone.Number
	edits []func(*verify.Verification) // of his verifications
}

func (k *kit) person(a verify.Application, name string, to phone.Number) *person {
	return &person{kit: k, key: verify.UserKey{Project: a.Project, Application: a.ID, Name: name}, to: to}
}

// begin starts a verification of the user.
func (p *person) begin(r verify.UserStart) (*verify.Verification, error) {
	v := p.fresh(p.to)
	v.Project, v.Application, v.User, v.Prefix, v.MaxAttempts = p.key.Project, p.key.Application, p.key.Name, "G-", 5
	for _, edit := range p.edits {
		edit(v)
	}
	r.Address, r.Lease = string(p.to), lease
	return v, p.StartUser(ctx, v, r)
}

func (p *person) associate() *verify.Verification {
	p.t.Helper()
	v, err := p.begin(verify.UserStart{Associate: true})
	if err != nil {
		p.t.Fatalf("associate: %v", err)
	}
	return v
}

func (p *person) login() *verify.Verification {
	p.t.Helper()
	v, err := p.begin(verify.UserStart{})
	if err != nil {
		p.t.Fatalf("login: %v", err)
	}
	return v
}

// types guesses at the user's current code.
func (p *person) types(typed string) (verify.Outcome, error) {
	return p.CheckUser(ctx, p.key, guess(&verify.Verification{Project: p.key.Project}, typed))
}

// validates types the right code, which must be right.
func (p *person) validates() {
	p.t.Helper()
	if out, err := p.types(secret); err != nil || !out.Approved {
		p.t.Fatalf("validate: got %+v, %v", out, err)
	}
}

// is demands what is stored of the user, but for his times and sends.
func (p *person) is(status verify.UserStatus, address string, current verify.ID, version int) {
	p.t.Helper()
	got, err := p.User(ctx, p.key)
	if err != nil {
		p.t.Fatalf("user: %v", err)
	}
	got.CreatedAt, got.UpdatedAt, got.VerifiedAt, got.Sends = time.Time{}, time.Time{}, time.Time{}, nil
	equal(p.t, "user", got, verify.User{Application: p.key.Application, Name: p.key.Name, Status: status, Address: address, NumberKey: phone.Number(address), Current: current, Version: version})
}

// every tells the four operations on a user that is there what they must say.
func (p *person) every(want error) {
	p.t.Helper()
	_, err := p.begin(verify.UserStart{Associate: true})
	wantError(p.t, "associate", err, want)
	p.everyOther(want)
}

// everyOther is the same for those that don't make a user.
func (p *person) everyOther(want error) {
	p.t.Helper()
	_, err := p.begin(verify.UserStart{})
	wantError(p.t, "login", err, want)
	_, err = p.types(secret)
	wantError(p.t, "validate", err, want)
	wantError(p.t, "dissociate", p.Dissociate(ctx, p.key), want)
	wantError(p.t, "delete", p.DeleteUser(ctx, p.key), want)
	_, err = p.User(ctx, p.key)
	wantError(p.t, "user", err, want)
}

// wiped demands that a verification was canceled, and its sealed code with it.
func (k *kit) wiped(v *verify.Verification) {
	k.t.Helper()
	got := k.stored(v.ID)
	if got.Status != verify.StatusCanceled || got.SealedCode != nil {
		k.t.Errorf("verification: got status %v, sealed code %q; want canceled without", got.Status, got.SealedCode)
	}
}

func usersLifeIsKept(t *testing.T, s suite) {
	k := s.open(t)
	p := k.person(k.application(project), "Kola", number(0))
	p.everyOther(verify.ErrNoUser)
	began := k.clock.Now()
	first := p.associate()
	p.is(verify.UserPending, string(p.to), first.ID, 1)
	_, err := p.begin(verify.UserStart{})
	wantError(t, "login before validation", err, verify.ErrNotValidated)
	guessed := wrongWith(4)
	guessed.Verification = first.ID
	if out, err := p.types("000000"); err != nil || out != guessed {
		t.Errorf("a wrong code: got %+v, %v; want %+v", out, err, guessed)
	}
	p.is(verify.UserPending, string(p.to), first.ID, 1)
	k.clock.advance(time.Minute)
	p.validates()
	p.is(verify.UserValidated, string(p.to), first.ID, 2)
	out, err := p.types(secret)
	wantError(t, "the same code again", err, verify.ErrApproved)
	equal(t, "whose code was guessed again", out.Verification, first.ID)

	second := p.login()
	p.is(verify.UserValidated, string(p.to), second.ID, 2)
	p.validates()
	p.is(verify.UserValidated, string(p.to), second.ID, 2)
	u, err := p.User(ctx, p.key)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "when he was made", u.CreatedAt.UTC(), began)
	equal(t, "when he changed", u.UpdatedAt.UTC(), began.Add(time.Minute))

	other := *p
	other.to = number(1)
	_, err = other.begin(verify.UserStart{})
	wantError(t, "login at another address", err, verify.ErrStale)
	moved := other.associate()
	p.is(verify.UserPending, string(other.to), moved.ID, 3)
	k.reopen(t)
	p.is(verify.UserPending, string(other.to), moved.ID, 3)
	wantError(t, "dissociate", p.Dissociate(ctx, p.key), nil)
	p.is(verify.UserInitial, "", verify.ID{}, 4)
	k.wiped(moved)
	wantError(t, "dissociate again", p.Dissociate(ctx, p.key), nil)
	p.is(verify.UserInitial, "", verify.ID{}, 4)
	_, err = p.types(secret)
	wantError(t, "validate without a code", err, verify.ErrNoCode)
	last := p.associate()
	p.is(verify.UserPending, string(p.to), last.ID, 5)
	wantError(t, "delete", p.DeleteUser(ctx, p.key), nil)
	k.wiped(last)
	p.everyOther(verify.ErrNoUser)
	equal(t, "the prefix that is frozen", k.stored(first.ID).Prefix, "G-")

	// His name is as it was written.
	p.associate()
	k.person(verify.Application{ID: p.key.Application, Project: project}, "kola", p.to).everyOther(verify.ErrNoUser)
}

// unwritten demands that a verification's row is as it was but for what its user makes of it.
func (k *kit) unwritten(before *verify.Verification) {
	k.t.Helper()
	now := k.stored(before.ID)
	if !now.Superseded {
		k.t.Errorf("verification %v: not superseded", now.ID)
	}
	now.Superseded = before.Superseded
	equal(k.t, "the superseded verification's row", now, before)
}

func newerCodeSupersedesTheOlder(t *testing.T, s suite) {
	k := s.open(t)
	p := k.person(k.application(project), "Kola", number(0))
	old := k.stored(p.associate().ID)
	equal(t, "status", old.StatusAt(k.clock.Now()), verify.StatusPending)
	k.clock.advance(time.Second)
	now := p.associate()
	k.unwritten(old)
	equal(t, "status", k.stored(old.ID).StatusAt(k.clock.Now()), verify.StatusSuperseded)

	_, err := k.Check(ctx, right(old))
	wantError(t, "check by id", err, verify.ErrSuperseded)
	wantError(t, "cancel by id", k.Cancel(ctx, project, old.ID), verify.ErrSuperseded)
	_, err = k.Renew(ctx, old.ID, 1, lease)
	wantError(t, "renew", err, verify.ErrSuperseded)
	k.unwritten(old)
	p.validates() // the newer one's: both have the same here
	equal(t, "the newer one's status", k.stored(now.ID).Status, verify.StatusApproved)
	k.reopen(t)
	k.unwritten(old)
}

func nothingIsSentForASupersededCode(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	failed := func(v *verify.Verification, reason verify.Reason) {
		t.Helper()
		if got := k.stored(v.ID); got.Delivery != verify.DeliveryFailed || got.Reason != reason {
			t.Errorf("got %v, reason %q; want failed, %q", got.Delivery, got.Reason, reason)
		}
	}
	retry := func(v *verify.Verification) verify.Settlement {
		end := k.sent(v)
		end.Outcome, end.Reason, end.Retry = verify.AttemptErrored, verify.ReasonBusy, true
		return end
	}

	// An attempt that ends after the newer one began isn't made again.
	p := k.person(a, "one", number(0))
	old := p.associate()
	p.associate()
	if _, err := k.Settle(ctx, retry(old)); err != nil {
		t.Fatal(err)
	}
	failed(old, verify.ReasonBusy)

	// Nor is one that already waits for its next attempt, or whose holder died.
	p = k.person(a, "two", number(1))
	waits := p.associate()
	if _, err := k.Settle(ctx, retry(waits)); err != nil {
		t.Fatal(err)
	}
	k.clock.advance(time.Second)
	lost := p.associate()
	last := p.associate()
	k.clock.advance(lease)
	k.sweep()
	for _, o := range k.due() {
		v := k.claim(o)
		if (v != nil) != (o.Verification.ID == last.ID) && v != nil && o.Verification.User == "two" {
			t.Errorf("claimed %+v", v)
		}
	}
	failed(waits, verify.ReasonSuperseded)
	failed(lost, verify.ReasonSuperseded)

	// A receipt that asks for another carrier gets none.
	p = k.person(a, "three", number(2))
	sent := p.associate()
	if _, err := k.Settle(ctx, k.sent(sent)); err != nil {
		t.Fatal(err)
	}
	p.associate()
	if _, _, err := k.Receive(ctx, verify.Receipt{Verification: sent.ID, Attempt: 1, Reason: verify.ReasonUnreachable, Retry: true}); err != nil {
		t.Fatal(err)
	}
	failed(sent, verify.ReasonUnreachable)
}

// What happens to a user in a group shows to what comes after it in the same one.
func aGroupSeesWhatItDidToAUser(t *testing.T, s suite) {
	k := s.open(t)
	p := k.person(k.application(project), "Kola", number(0))
	old := p.associate()

	var guessed, checked, claimed, validated error
	var newer *verify.Verification
	k.together(
		func() { _, guessed = p.types("000000") }, // so that the older one's row is to be written
		func() { newer, _ = p.begin(verify.UserStart{Associate: true}) },
		func() { _, checked = k.Check(ctx, right(old)) },
		func() { _, claimed = k.Renew(ctx, old.ID, 1, lease) },
		func() { _, validated = p.types(secret) },
	)
	wantError(t, "guess at the older one", guessed, nil)
	wantError(t, "check the older one", checked, verify.ErrSuperseded)
	wantError(t, "renew the older one", claimed, verify.ErrSuperseded)
	wantError(t, "validate", validated, nil)
	p.is(verify.UserValidated, string(p.to), newer.ID, 2)

	var gone, again, after error
	var fresh *verify.Verification
	k.together(
		func() { gone = p.DeleteUser(ctx, p.key) },
		func() { _, after = p.types(secret) },
		func() { fresh, again = p.begin(verify.UserStart{Associate: true}) },
		func() { _, validated = p.types("000000") },
	)
	wantError(t, "delete", gone, nil)
	wantError(t, "validate the deleted one", after, verify.ErrNoUser)
	wantError(t, "associate him again", again, nil)
	wantError(t, "a wrong code", validated, nil)
	p.is(verify.UserPending, string(p.to), fresh.ID, 1)

	// One who came and went in the same group leaves nothing.
	q := k.person(verify.Application{ID: p.key.Application, Project: project}, "Nobody", number(1))
	var brief *verify.Verification
	k.together(
		func() { brief, _ = q.begin(verify.UserStart{Associate: true}) },
		func() { gone = q.DeleteUser(ctx, q.key) },
	)
	wantError(t, "delete", gone, nil)
	q.everyOther(verify.ErrNoUser)
	k.wiped(brief)
}

func aCheckByIDTellsTheUser(t *testing.T, s suite) {
	k := s.open(t)
	p := k.person(k.application(project), "Kola", number(0))
	v := p.associate()
	if out, err := k.Check(ctx, right(v)); err != nil || !out.Approved {
		t.Fatalf("check: got %+v, %v", out, err)
	}
	p.is(verify.UserValidated, string(p.to), v.ID, 2)
	_, err := p.types(secret)
	wantError(t, "validate", err, verify.ErrApproved)
}

func guessesAtAUserShareTheAttempts(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	p, q := k.person(a, "right", number(0)), k.person(a, "wrong", number(1))
	p.associate()
	q.associate()
	var approved, evaluated, refused atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			switch out, err := p.types(secret); {
			case err == nil && out.Approved:
				approved.Add(1)
			case !errors.Is(err, verify.ErrApproved):
				t.Errorf("right: got %+v, %v", out, err)
			}
		})
		all.Go(func() {
			switch out, err := q.types("000000"); {
			case err == nil && !out.Approved:
				evaluated.Add(1)
			case errors.Is(err, verify.ErrGuessesSpent):
				refused.Add(1)
			default:
				t.Errorf("wrong: got %+v, %v", out, err)
			}
		})
	}
	all.Wait()
	equal(t, "approvals", approved.Load(), int64(1))
	equal(t, "guesses evaluated", evaluated.Load(), int64(5))
	equal(t, "guesses refused", refused.Load(), int64(45))
	_, err := q.types(secret)
	wantError(t, "the right code after five wrong ones", err, verify.ErrGuessesSpent)
}

func anotherProjectsUserDoesNotExist(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	p := k.person(a, "Kola", number(0))
	v := p.associate()
	k.application("q") // that project exists, too
	theirs := *p
	theirs.key.Project = "q"
	theirs.every(verify.ErrNoApplication)
	_, _, err := k.Users(ctx, "q", a.ID, verify.UserFilter{}, verify.Page{Limit: 10})
	wantError(t, "users", err, verify.ErrNoApplication)
	k.person(verify.Application{ID: verify.NewID(start), Project: project}, "Kola", number(0)).every(verify.ErrNoApplication)

	// A default application has no users.
	acct := account.Key{ID: verify.NewID(start), Project: project, Hash: account.HashKey("word")}
	wantError(t, "create key", k.CreateKey(ctx, acct), nil)
	opened, err := k.Account(ctx, acct.Hash)
	if err != nil {
		t.Fatal(err)
	}
	opened.Application.Project = project
	k.person(opened.Application, "Kola", number(0)).every(verify.ErrNoApplication)
	p.is(verify.UserPending, string(p.to), v.ID, 1)
}

func deletedApplicationLeavesNothing(t *testing.T, s suite) {
	k := s.open(t)
	a, other := k.application(project), k.application(project)
	const users = 250 // more than a step
	var people [users]*person
	var live [users]*verify.Verification
	var all sync.WaitGroup
	for i := range users {
		people[i] = k.person(a, fmt.Sprint("user ", i), number(i))
		all.Go(func() { live[i] = people[i].associate() })
	}
	all.Wait()
	bystander := k.person(other, "user 0", number(0))
	kept := bystander.associate()

	wantError(t, "another project's", k.DeleteApplication(ctx, "q", a.ID, 0), verify.ErrNoApplication)
	wantError(t, "delete", k.DeleteApplication(ctx, project, a.ID, 0), nil)
	wantError(t, "delete again", k.DeleteApplication(ctx, project, a.ID, 0), verify.ErrNoApplication)
	for i := range users {
		k.wiped(live[i])
	}
	people[0].every(verify.ErrNoApplication)
	bystander.is(verify.UserPending, string(bystander.to), kept.ID, 1)
	equal(t, "the bystander's", k.stored(kept.ID).StatusAt(k.clock.Now()), verify.StatusPending)
}

// A crash behind the first commit leaves users of an application that is gone.
func crashedDeletionIsFinished(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	p := k.person(a, "Kola", number(0))
	v := p.associate()
	k.gate.pass()
	k.gate.fail()
	wantError(t, "delete", k.DeleteApplication(ctx, project, a.ID, 0), nil)

	// From the first commit on it is gone, whatever is left of it.
	p.every(verify.ErrNoApplication)
	_, err := k.Check(ctx, right(v))
	wantError(t, "check by id", err, verify.ErrSuperseded)
	equal(t, "status", k.stored(v.ID).StatusAt(k.clock.Now()), verify.StatusSuperseded)
	if k.stored(v.ID).SealedCode == nil {
		t.Error("the crash left nothing: this tests nothing")
	}
	k.reopen(t)
	if err := k.FinishDeletions(ctx); err != nil {
		t.Fatalf("finish: %v", err)
	}
	k.wiped(v)
	before := k.gate.count()
	if err := k.FinishDeletions(ctx); err != nil || k.gate.count() != before {
		t.Errorf("finish again: %v, %d commits; want none", err, k.gate.count()-before)
	}
}

// A user or an application that is deleted while people log in leaves nothing that validates.
func deletionAmongLoginsLeavesNothing(t *testing.T, s suite) {
	for _, what := range []string{"user", "application"} {
		k := s.open(t)
		a := k.application(project)
		const users = 8
		var logins, deletions sync.WaitGroup
		var begun [users][]*verify.Verification
		deleted := make(chan struct{})
		for i := range users {
			p := k.person(a, fmt.Sprint(i), number(i))
			p.associate()
			p.validates()
			logins.Go(func() {
				for range 40 {
					v, err := p.begin(verify.UserStart{})
					if err != nil {
						return // gone
					}
					begun[i] = append(begun[i], v)
				}
			})
			deletions.Go(func() {
				<-deleted
				if what == "user" {
					wantError(t, "delete", k.DeleteUser(ctx, p.key), nil)
				}
			})
		}
		deletions.Go(func() {
			<-deleted
			if what == "application" {
				wantError(t, "delete", k.DeleteApplication(ctx, project, a.ID, 0), nil)
			}
		})
		close(deleted)
		deletions.Wait()
		logins.Wait()
		for i := range users {
			p := k.person(a, fmt.Sprint(i), number(i))
			if _, err := p.types(secret); err == nil {
				t.Errorf("%s: validated after the deletion", what)
			}
			for _, v := range begun[i] {
				if _, err := k.Check(ctx, right(v)); err == nil {
					t.Errorf("%s: a code that began before the deletion is approved after it", what)
				}
				if got := k.stored(v.ID).StatusAt(k.clock.Now()); got == verify.StatusPending {
					t.Errorf("%s: a verification is pending after the deletion", what)
				}
			}
		}
	}
}

func usersLimitsAreExact(t *testing.T, s suite) {
	k := s.open(t)
	p := k.person(k.application(project), "Kola", number(0))
	limits := verify.DefaultUserLimits
	try := func() error {
		_, err := p.begin(verify.UserStart{Associate: true, UserLimits: limits})
		return err
	}
	for i := range 5 {
		var passed atomic.Int64
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if err := try(); err == nil {
					passed.Add(1)
				} else if !errors.Is(err, verify.ErrTooManySends) {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
		equal(t, fmt.Sprintf("codes at once, time %d", i), passed.Load(), int64(1))
		k.clock.advance(limits.Interval)
	}
	u, err := p.User(ctx, p.key)
	if err != nil {
		t.Fatal(err)
	}
	var want limit.Log
	for i := range 5 {
		want = append(want, start.Add(time.Duration(i)*limits.Interval))
	}
	for i := range u.Sends {
		u.Sends[i] = u.Sends[i].UTC()
	}
	equal(t, "sends", u.Sends, want)

	var e *verify.Error
	if err := try(); !errors.As(err, &e) || e.RetryAfter != limits.Period-5*limits.Interval {
		t.Errorf("the sixth: got %#v, want to wait for the first to be %v ago", err, limits.Period)
	}
	k.clock.set(start.Add(limits.Period - time.Millisecond))
	wantError(t, "just before", try(), verify.ErrTooManySends)
	k.clock.advance(time.Millisecond)
	wantError(t, "then", try(), nil)

	// What his number's limits refuse isn't counted against him.
	daily := verify.UserStart{Associate: true, UserLimits: limits, Limits: verify.Limits{Daily: 1}}
	k.clock.advance(24 * time.Hour)
	_, err = p.begin(daily)
	wantError(t, "the number's only one", err, nil)
	k.clock.advance(time.Minute)
	v, err := p.begin(daily)
	wantError(t, "number's limit", err, verify.ErrTooManySends)
	k.gone(v.ID)
	wantError(t, "after it", try(), nil)
}

func usersAreListed(t *testing.T, s suite) {
	k := s.open(t)
	a, other := k.application(project), k.application(project)
	for i, name := range []string{"b", "a", "d", "c", "B"} { // made in this order
		p := k.person(a, name, number(9-i))
		p.associate()
		k.clock.advance(time.Second)
		if i < 2 {
			p.validates()
		}
		if i == 2 {
			wantError(t, "dissociate", p.Dissociate(ctx, p.key), nil)
		}
	}
	k.person(other, "other", number(0)).associate()

	for _, tt := range []struct {
		name   string
		filter verify.UserFilter
		page   verify.Page
		want   string
		total  int
	}{
		{"all", verify.UserFilter{}, verify.Page{Limit: 100}, "b a d c B", 5},
		{"the newest first", verify.UserFilter{}, verify.Page{Descending: true, Limit: 100}, "B c d a b", 5},
		{"by name", verify.UserFilter{}, verify.Page{Order: verify.OrderByName, Limit: 100}, "B a b c d", 5},
		{"by name, backwards", verify.UserFilter{}, verify.Page{Order: verify.OrderByName, Descending: true, Limit: 100}, "d c b a B", 5},
		{"by address", verify.UserFilter{}, verify.Page{Order: verify.OrderByAddress, Limit: 100}, "d B c a b", 5},
		{"by status, then name", verify.UserFilter{}, verify.Page{Order: verify.OrderByStatus, Limit: 100}, "d B c a b", 5},
		{"by change", verify.UserFilter{}, verify.Page{Order: verify.OrderByUpdate, Limit: 100}, "b a c d B", 5},
		{"by version", verify.UserFilter{}, verify.Page{Order: verify.OrderByVersion, Limit: 100}, "B c a b d", 5},
		{"a page", verify.UserFilter{}, verify.Page{Offset: 1, Limit: 2}, "a d", 5},
		{"none of it", verify.UserFilter{}, verify.Page{}, "", 5},
		{"past the end", verify.UserFilter{}, verify.Page{Offset: 5, Limit: 2}, "", 5},
		{"of a name", verify.UserFilter{Name: "b"}, verify.Page{Limit: 100}, "b", 1},
		{"of a status", verify.UserFilter{Status: verify.UserValidated}, verify.Page{Limit: 100}, "b a", 2},
		{"of a status, a page", verify.UserFilter{Status: verify.UserPending}, verify.Page{Offset: 1, Limit: 1}, "B", 2},
		{"made then", verify.UserFilter{CreatedAt: start.Add(time.Second)}, verify.Page{Limit: 100}, "a", 1},
		{"changed then", verify.UserFilter{UpdatedAt: start.Add(3 * time.Second)}, verify.Page{Limit: 100}, "d c", 2},
		{"all at once", verify.UserFilter{Name: "a", Status: verify.UserValidated, CreatedAt: start.Add(time.Second), UpdatedAt: start.Add(2 * time.Second)}, verify.Page{Limit: 100}, "a", 1},
		{"nobody", verify.UserFilter{Name: "b", Status: verify.UserInitial}, verify.Page{Limit: 100}, "", 0},
	} {
		list, total, err := k.Users(ctx, project, a.ID, tt.filter, tt.page)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		names := ""
		for i, u := range list {
			if i > 0 {
				names += " "
			}
			names += u.Name
		}
		if names != tt.want || total != tt.total {
			t.Errorf("%s: got %q of %d, want %q of %d", tt.name, names, total, tt.want, tt.total)
		}
	}
	if _, _, err := k.Users(ctx, project, a.ID, verify.UserFilter{}, verify.Page{Order: "name; DROP TABLE app_user", Limit: 1}); err == nil {
		t.Error("an unknown order is no error")
	}
}
