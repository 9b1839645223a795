package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// outcomesFollowTheStateMachine makes random calls, one by one and in groups, and compares what
// they answer and what is stored with rows in memory to which the pure functions of package
// verify were applied in the same order. What is stored is read now and then, which is slow, and
// always before retention deletes and at the end: a difference stays until then.
func outcomesFollowTheStateMachine(t *testing.T, s suite) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{outer: t, kit: &kit{t: rt, clock: &clock{now: start}, gate: newGate()}, model: newModel(), touched: map[verify.ID]bool{}, late: map[verify.ID]time.Time{}}
		m.Store = s.engine(t, m.clock.Now, m.gate.commit)
		defer m.end()
		for range 2 {
			a := m.application(project)
			m.applications = append(m.applications, a)
			m.model.applications[a.ID] = a.Project
		}
		rt.Repeat(map[string]func(*rapid.T){
			"calls":   m.calls,
			"calls 2": m.calls, // more of these
			"calls 3": m.calls,
			"time":    m.passes,
			"poll":    m.poll,
			"read":    m.read,
			"upkeep":  m.upkeep,
			"delete":  m.deleteApplication,
		})
		m.compare(rt)
	})
}

// A model is what should be stored.
type model struct {
	ids           []verify.ID // all that ever were, in the order of their starts
	verifications map[verify.ID]verify.Verification
	deliveries    map[verify.ID][]verify.Delivery // that ended, without their receipts
	receipts      map[attempt]verify.Delivery     // of which only the receipts count
	destinations  map[destination]verify.Destination
	applications  map[verify.ID]verify.ProjectID
	users         map[userOf]verify.User
	phones        map[phone.Number]verify.Phone
}

// userOf names a user's row.
type userOf struct {
	application verify.ID
	name        string
}

type attempt struct {
	id verify.ID
	n  int
}

type destination struct {
	project verify.ProjectID
	number  phone.Number
}

func newModel() *model {
	return &model{
		nil, map[verify.ID]verify.Verification{}, map[verify.ID][]verify.Delivery{}, map[attempt]verify.Delivery{}, map[destination]verify.Destination{},
		map[verify.ID]verify.ProjectID{}, map[userOf]verify.User{}, map[phone.Number]verify.Phone{},
	}
}

func (m *model) destination(p verify.ProjectID, n phone.Number) verify.Destination {
	d, ok := m.destinations[destination{p, n}]
	if !ok {
		d = verify.Destination{Project: p, Number: n}
	}
	return d
}

// verification is one as a store reads it: superseded unless it is its user's current one.
func (m *model) verification(id verify.ID) (v verify.Verification, ok bool) {
	v, ok = m.verifications[id]
	if v.User != "" {
		u, there := m.users[userOf{v.Application, v.User}]
		_, applies := m.applications[v.Application]
		v.Superseded = !there || !applies || u.Supersedes(&v)
	}
	return v, ok
}

// callings are how long calls may take; most messages are none.
var callings = rapid.SampledFrom([]time.Duration{0, 0, 10 * time.Second, 2 * time.Minute})

// withPhone lets f decide on a destination together with its phone, if it makes a call.
func (m *model) withPhone(d *verify.Destination, call bool, f func() error) error {
	if !call {
		return f()
	}
	p := m.phones[d.Number]
	p.Number, d.Phone = d.Number, &p
	err := f()
	d.Phone = nil
	if err == nil {
		m.phones[d.Number] = p
	}
	return err
}

func (m *model) owned(id verify.ID, p verify.ProjectID) (verify.Verification, error) {
	v, ok := m.verification(id)
	if !ok || v.Project != p {
		return v, verify.ErrNotFound
	}
	return v, nil
}

// change applies f to a verification, of whatever project.
func (m *model) change(id verify.ID, f func(v *verify.Verification) error) (any, error) {
	v, ok := m.verification(id)
	if !ok {
		return nil, verify.ErrNotFound
	}
	if err := f(&v); err != nil {
		return nil, err
	}
	m.verifications[id] = v
	return v, nil
}

// ended records an attempt's end, and who had v's message by it. An attempt ends once.
func (m *model) ended(v *verify.Verification, d verify.Delivery) {
	all := m.deliveries[d.Verification]
	if !slices.ContainsFunc(all, func(o verify.Delivery) bool { return o.Attempt == d.Attempt }) {
		m.deliveries[d.Verification] = append(slices.Clip(all), d)
		v.Bear(&d)
	}
}

// attempt is what is known of an attempt: its end, its receipt, or both.
func (m *model) attempt(id verify.ID, n int) verify.Delivery {
	d := verify.Delivery{Verification: id, Attempt: n}
	for _, ended := range m.deliveries[id] {
		if ended.Attempt == n {
			d = ended
		}
	}
	r := m.receipts[attempt{id, n}]
	d.Receipt, d.ReceiptAt, d.ReceiptReason, d.ReceiptCode = r.Receipt, r.ReceiptAt, r.ReceiptReason, r.ReceiptCode
	return d
}

// history is what should be read of a verification's attempts.
func (m *model) history(id verify.ID) []verify.Delivery {
	var all []verify.Delivery
	for _, ended := range m.deliveries[id] {
		all = append(all, m.attempt(id, ended.Attempt))
	}
	return all
}

func (m *model) retain(before, now time.Time) (gone []verify.ID) {
	for id, v := range m.verifications {
		v.Superseded = false // its row doesn't say
		if compare(id, verify.FirstID(before)) >= 0 || v.StatusAt(now) == verify.StatusPending {
			continue
		}
		gone = append(gone, id)
		delete(m.verifications, id)
		delete(m.deliveries, id)
	}
	for key, d := range m.destinations {
		if _, there := m.verifications[d.Latest]; !there && d.Idle(now) {
			delete(m.destinations, key)
		}
	}
	return gone
}

// A call is one operation, on the store and on the model, and what each of them answers. It runs
// in a goroutine, so it doesn't draw.
type call struct {
	name string
	id   verify.ID // what it touches
	real func() (any, error)
	want func(m *model, now time.Time) (any, error)
}

type machine struct {
	*kit
	outer   *testing.T
	model   *model
	touched map[verify.ID]bool      // since they were compared
	late    map[verify.ID]time.Time // when the sweeper met those first that it met late
	due     []verify.Overdue        // that were read some time

	applications []verify.Application
}

var (
	projects  = rapid.SampledFrom([]verify.ProjectID{project, project, "q"})
	leases    = rapid.SampledFrom([]time.Duration{time.Second, lease, 30 * time.Second})
	manyLimit = rapid.SampledFrom([]verify.Limits{{}, {}, verify.DefaultLimits, {Burst: 2, Interval: 30 * time.Second}, {Daily: 3}})
)

// calls makes one call, or several in one group.
func (m *machine) calls(rt *rapid.T) {
	m.kit.t = rt
	kinds := []func(*rapid.T) call{m.start, m.start, m.check, m.check, m.check, m.cancel, m.settle, m.settle, m.claim, m.claim, m.renew, m.receive, m.receive, m.postpone,
		m.startUser, m.startUser, m.startUser, m.checkUser, m.checkUser, m.dissociate, m.deleteUser}
	group := make([]call, rapid.SampledFrom([]int{1, 1, 2, 3, 8}).Draw(rt, "calls"))
	for i := range group {
		group[i] = rapid.SampledFrom(kinds).Draw(rt, "kind")(rt)
		m.touched[group[i].id] = true
	}
	type answer struct {
		value any
		err   error
	}
	got := make([]answer, len(group))
	var calls []func()
	for i, c := range group {
		calls = append(calls, func() { got[i].value, got[i].err = c.real() })
	}
	if len(calls) == 1 {
		calls[0]()
	} else {
		m.together(calls...)
	}
	now := m.clock.Now().Truncate(time.Millisecond)
	for i, c := range group {
		want, err := c.want(m.model, now)
		if !sameError(got[i].err, err) {
			rt.Errorf("%s, number %d of %d: got error %v, want %v", c.name, i+1, len(group), got[i].err, err)
		} else if err == nil {
			equal(rt, c.name, got[i].value, want)
		}
	}
}

// sameError compares what callers may see of errors, and the identity of others.
func sameError(got, want error) bool {
	var g, w *verify.Error
	if errors.As(want, &w) {
		return errors.As(got, &g) && cmp.Equal(g, w)
	}
	return errors.Is(got, want)
}

// known draws a verification that was started, or seldom none that ever was.
func (m *machine) known(rt *rapid.T) verify.ID {
	if len(m.model.ids) == 0 || rapid.IntRange(0, 19).Draw(rt, "unknown") == 19 {
		return verify.NewID(m.clock.Now())
	}
	return m.model.ids[len(m.model.ids)-1-rapid.IntRange(0, min(len(m.model.ids), 6)-1).Draw(rt, "verification, from the last")]
}

func (m *machine) start(rt *rapid.T) call {
	v := m.fresh(number(rapid.IntRange(0, 2).Draw(rt, "number")))
	v.Project = projects.Draw(rt, "project")
	v.ID = verify.NewID(m.clock.Now().Add(-rapid.SampledFrom([]time.Duration{0, 0, 0, time.Second, 4999 * time.Millisecond, 5 * time.Second}).Draw(rt, "age")))
	v.ExpiresAt = v.ID.Time().Add(rapid.SampledFrom([]time.Duration{0, 30 * time.Second, time.Hour, 7 * 24 * time.Hour}).Draw(rt, "life"))
	v.MaxAttempts = rapid.IntRange(1, 5).Draw(rt, "attempts")
	v.Calling = callings.Draw(rt, "calling")
	asksSome(rt, v)
	limits, lease := manyLimit.Draw(rt, "limits"), leases.Draw(rt, "lease")
	given := *v
	m.model.ids = append(m.model.ids, v.ID)
	return call{"start", v.ID,
		func() (any, error) { err := m.Start(ctx, v, limits, lease); return *v, err },
		func(model *model, now time.Time) (any, error) {
			d := model.destination(given.Project, given.To)
			err := model.withPhone(&d, given.Calling > 0, func() error { return given.Begin(&d, limits, lease, now) })
			if err != nil {
				return nil, err
			}
			answer := given
			given.Calling = 0 // it isn't stored
			model.verifications[given.ID] = given
			model.destinations[destination{given.Project, given.To}] = d
			return answer, nil
		},
	}
}

// asksSome lets a verification be one that asks for a key, or not.
func asksSome(rt *rapid.T, v *verify.Verification) {
	if rapid.Bool().Draw(rt, "by key") {
		asks(v)
	}
}

var errNoKey = errors.New("the key is missing")

func (m *machine) check(rt *rapid.T) call {
	g := verify.Guess{
		Project: projects.Draw(rt, "project"),
		ID:      m.known(rt),
		Profile: rapid.SampledFrom([]verify.Profile{verify.ProfileCompat, verify.ProfileStandard}).Draw(rt, "profile"),
	}
	typed := rapid.SampledFrom([]string{secret, "000000", "000000", "000000", ""}).Draw(rt, "typed")
	g.Matches = func(v *verify.Verification) (bool, error) {
		if typed == "" {
			return false, errNoKey
		}
		return string(v.CodeMAC) == typed, nil
	}
	return call{"check", g.ID,
		func() (any, error) { return m.Check(ctx, g) },
		func(model *model, now time.Time) (any, error) {
			v, err := model.owned(g.ID, g.Project)
			if err != nil {
				return nil, err
			}
			return model.check(v, g, now)
		},
	}
}

// check spends a guess, and tells the verification's user.
func (m *model) check(v verify.Verification, g verify.Guess, now time.Time) (verify.Outcome, error) {
	d := m.destination(v.Project, v.To)
	u, there := m.users[userOf{v.Application, v.User}]
	out, err := u.Check(&v, &d, g, now)
	if err != nil {
		return out, err
	}
	m.verifications[v.ID] = v
	// A success says nothing of a number whose row is gone.
	if _, known := m.destinations[destination{v.Project, v.To}]; known || d.Failures > 0 {
		m.destinations[destination{v.Project, v.To}] = d
	}
	if there {
		m.users[userOf{v.Application, v.User}] = u
	}
	return out, nil
}

func (m *machine) cancel(rt *rapid.T) call {
	p, id := projects.Draw(rt, "project"), m.known(rt)
	return call{"cancel", id,
		func() (any, error) { return nil, m.Cancel(ctx, p, id) },
		func(model *model, now time.Time) (any, error) {
			v, err := model.owned(id, p)
			if err != nil {
				return nil, err
			}
			if err := v.Cancel(now); err != nil {
				return nil, err
			}
			model.verifications[id] = v
			return nil, nil
		},
	}
}

// attempt draws the number of a verification's latest attempt, or seldom of the one before.
func (m *machine) attempt(rt *rapid.T, id verify.ID) int {
	return m.model.verifications[id].Attempt - rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "attempts ago")
}

func (m *machine) settle(rt *rapid.T) call {
	id := m.known(rt)
	now := m.clock.Now().Truncate(time.Millisecond)
	s := verify.Settlement{Delivery: verify.Delivery{
		Verification: id, Attempt: m.attempt(rt, id), Carrier: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "carrier"),
		Outcome: verify.AttemptOutcome(rapid.IntRange(0, 4).Draw(rt, "outcome")), Ref: "ref", StartedAt: now,
	}}
	if rapid.Bool().Draw(rt, "watch") {
		s.Watch = rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 2 * time.Hour}).Draw(rt, "watch for")
	}
	if rapid.Bool().Draw(rt, "key") {
		s.Verdict = rapid.SampledFrom([]verify.Verdict{verify.VerdictApproves, verify.VerdictApproves, verify.VerdictRejects, verify.VerdictUnanswered}).Draw(rt, "verdict")
	}
	if s.Outcome != verify.AttemptAccepted {
		s.Reason = verify.ReasonNetwork
		s.Retry = rapid.Bool().Draw(rt, "retry")
		s.RetryAt = now.Add(rapid.SampledFrom([]time.Duration{-time.Hour, 0, time.Second, time.Minute}).Draw(rt, "wait"))
		s.Next = rapid.SampledFrom([]time.Duration{0, lease}).Draw(rt, "next")
	}
	if rapid.Bool().Draw(rt, "a call") {
		s.Called = m.model.verifications[id].To
	}
	return call{"settle", id,
		func() (any, error) { return got(m.Settle(ctx, s)) },
		func(model *model, now time.Time) (any, error) {
			s := s
			v, err := model.change(id, func(v *verify.Verification) error {
				if err := model.settle(v, &s, now); err != nil {
					return err
				}
				model.ended(v, s.Delivery)
				return nil
			})
			if err == nil {
				if p, ok := model.phones[s.Called]; ok && p.Settle(&s, now) {
					model.phones[s.Called] = p
				}
			}
			return v, err
		},
	}
}

// settle records an attempt's end, and what a callee said.
func (m *model) settle(v *verify.Verification, s *verify.Settlement, now time.Time) error {
	if s.Verdict == verify.NoVerdict {
		return v.Settle(s, now)
	}
	d := m.destination(v.Project, v.To)
	u, there := m.users[userOf{v.Application, v.User}]
	approved, err := u.Answer(v, &d, s, now)
	if approved {
		m.destinations[destination{v.Project, v.To}] = d
	}
	if approved && there {
		m.users[userOf{v.Application, v.User}] = u
	}
	return err
}

// overdue draws a message that was due some time, or any.
func (m *machine) overdue(rt *rapid.T) verify.Overdue {
	if len(m.due) > 0 && rapid.Bool().Draw(rt, "was due") {
		return rapid.SampledFrom(m.due).Draw(rt, "overdue")
	}
	v, _ := m.model.verification(m.known(rt))
	return verify.Overdue{Hint: v.DueAt, Verification: &v}
}

func (m *machine) claim(rt *rapid.T) call {
	o := m.overdue(rt)
	lease := leases.Draw(rt, "lease")
	if o.Calling = callings.Draw(rt, "calling"); o.Calling > 0 {
		o.By = verify.ChannelVoice
	} else if rapid.Bool().Draw(rt, "sends") {
		o.By = verify.ChannelSMS
	}
	return call{"claim", o.Verification.ID,
		func() (any, error) { return m.claimNow(o, lease) },
		func(model *model, now time.Time) (any, error) {
			claimed := false
			v, err := model.change(o.Verification.ID, func(v *verify.Verification) error {
				d := model.destination(v.Project, v.To)
				model.withPhone(&d, o.By.IsCall(), func() error {
					var lost *verify.Delivery
					if lost, claimed = o.Claim(v, &d, verify.Limits{}, lease, now); lost != nil {
						model.ended(v, *lost)
					}
					return nil
				})
				if key := (destination{v.Project, v.To}); o.By != "" && (len(d.Sends) > 0 || !d.TAT.IsZero()) {
					model.destinations[key] = d
				}
				return nil
			})
			if !claimed {
				return nil, err
			}
			return v, err
		},
	}
}

func (m *machine) renew(rt *rapid.T) call {
	id := m.known(rt)
	attempt, lease := m.attempt(rt, id), leases.Draw(rt, "lease")
	return call{"renew", id,
		func() (any, error) { return got(m.Renew(ctx, id, attempt, lease)) },
		func(model *model, now time.Time) (any, error) {
			return model.change(id, func(v *verify.Verification) error { return v.Renew(attempt, lease, now) })
		},
	}
}

func (m *machine) receive(rt *rapid.T) call {
	id := m.known(rt)
	r := verify.Receipt{Verification: id, Attempt: m.attempt(rt, id), Delivered: rapid.Bool().Draw(rt, "delivered")}
	if !r.Delivered {
		r.Reason, r.Retry = verify.ReasonUnreachable, rapid.Bool().Draw(rt, "retry")
	}
	type answer struct {
		Verification verify.Verification
		News         *verify.Delivery
	}
	return call{"receive", r.Verification,
		func() (any, error) {
			v, d, err := m.Receive(ctx, r)
			if err != nil {
				return nil, err
			}
			return answer{*v, d}, nil
		},
		func(model *model, now time.Time) (any, error) {
			d := model.attempt(id, r.Attempt)
			news := false
			v, err := model.change(r.Verification, func(v *verify.Verification) error { news = r.Settle(v, &d, now); return nil })
			switch {
			case err != nil:
				return nil, err
			case news:
				model.receipts[attempt{id, r.Attempt}] = d
				return answer{v.(verify.Verification), &d}, nil
			}
			return answer{v.(verify.Verification), nil}, nil
		},
	}
}

func (m *machine) postpone(rt *rapid.T) call {
	o := m.overdue(rt)
	until := time.Time{}
	if rapid.Bool().Draw(rt, "until") {
		until = m.clock.Now().Add(rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(rt, "wait"))
	}
	return call{"postpone", o.Verification.ID,
		func() (any, error) { return nil, m.Postpone(ctx, o, until) },
		func(model *model, now time.Time) (any, error) {
			_, err := model.change(o.Verification.ID, func(v *verify.Verification) error { o.Postpone(v, until, now); return nil })
			return nil, err
		},
	}
}

// names are those of the users.
var names = []string{"kola", "Kola"}

// someone draws a user, seldom of a project that he isn't of.
func (m *machine) someone(rt *rapid.T) verify.UserKey {
	a := rapid.SampledFrom(m.applications).Draw(rt, "application")
	return verify.UserKey{Project: projects.Draw(rt, "project"), Application: a.ID, Name: rapid.SampledFrom(names).Draw(rt, "name")}
}

// user is a user's row, or the error that says why there is none.
func (m *model) user(k verify.UserKey) (verify.User, error) {
	if owner, ok := m.applications[k.Application]; !ok || owner != k.Project {
		return verify.User{}, verify.ErrNoApplication
	}
	u, ok := m.users[userOf{k.Application, k.Name}]
	if !ok {
		return u, verify.ErrNoUser
	}
	return u, nil
}

func (m *machine) startUser(rt *rapid.T) call {
	k := m.someone(rt)
	r := verify.UserStart{
		Associate: rapid.Bool().Draw(rt, "associate"), Address: rapid.SampledFrom([]string{"+1", "+2"}).Draw(rt, "address"),
		Limits: manyLimit.Draw(rt, "limits"), UserLimits: rapid.SampledFrom([]verify.UserLimits{{}, {}, verify.DefaultUserLimits}).Draw(rt, "user's limits"),
		Lease: leases.Draw(rt, "lease"),
	}
	v := m.fresh(number(rapid.IntRange(0, 2).Draw(rt, "number")))
	v.Project, v.Application, v.User, v.Prefix = k.Project, k.Application, k.Name, "G-"
	v.ExpiresAt = v.ID.Time().Add(rapid.SampledFrom([]time.Duration{30 * time.Second, time.Hour}).Draw(rt, "life"))
	asksSome(rt, v)
	given := *v
	m.model.ids = append(m.model.ids, v.ID)
	return call{"start of a user's", v.ID,
		func() (any, error) { err := m.StartUser(ctx, v, r); return *v, err },
		func(model *model, now time.Time) (any, error) {
			u, err := model.user(k)
			if errors.Is(err, verify.ErrNoUser) && r.Associate {
				u, err = verify.User{Application: k.Application, Name: k.Name, CreatedAt: now}, nil
			}
			if err != nil {
				return nil, err
			}
			d := model.destination(given.Project, given.To)
			if err := u.Begin(&given, &d, r, now); err != nil {
				return nil, err
			}
			model.verifications[given.ID] = given
			model.destinations[destination{given.Project, given.To}] = d
			model.users[userOf{k.Application, k.Name}] = u
			return given, nil
		},
	}
}

func (m *machine) checkUser(rt *rapid.T) call {
	k := m.someone(rt)
	g := guess(&verify.Verification{Project: k.Project}, rapid.SampledFrom([]string{secret, "000000"}).Draw(rt, "typed"))
	return call{"check of a user's", m.model.users[userOf{k.Application, k.Name}].Current,
		func() (any, error) { return m.CheckUser(ctx, k, g) },
		func(model *model, now time.Time) (any, error) {
			u, err := model.user(k)
			if err != nil {
				return nil, err
			}
			v, ok := model.verification(u.Current)
			if !ok {
				return nil, verify.ErrNoCode
			}
			out, err := model.check(v, g, now)
			out.Verification = v.ID
			return out, err
		},
	}
}

func (m *machine) dissociate(rt *rapid.T) call {
	k := m.someone(rt)
	return call{"dissociate", m.model.users[userOf{k.Application, k.Name}].Current,
		func() (any, error) { return nil, m.Dissociate(ctx, k) },
		func(model *model, now time.Time) (any, error) {
			return nil, model.leave(k, func(u *verify.User, v *verify.Verification) {
				u.Dissociate(v, now)
				model.users[userOf{k.Application, k.Name}] = *u
			})
		},
	}
}

func (m *machine) deleteUser(rt *rapid.T) call {
	k := m.someone(rt)
	return call{"delete user", m.model.users[userOf{k.Application, k.Name}].Current,
		func() (any, error) { return nil, m.DeleteUser(ctx, k) },
		func(model *model, now time.Time) (any, error) {
			return nil, model.leave(k, func(u *verify.User, v *verify.Verification) {
				u.Drop(v, now)
				delete(model.users, userOf{k.Application, k.Name})
			})
		},
	}
}

// leave applies f to a user and his current verification, if there is one.
func (m *model) leave(k verify.UserKey, f func(*verify.User, *verify.Verification)) error {
	u, err := m.user(k)
	if err != nil {
		return err
	}
	v, ok := m.verification(u.Current)
	if !ok {
		f(&u, nil)
		return nil
	}
	f(&u, &v)
	m.verifications[v.ID] = v
	return nil
}

// deleteApplication deletes one, seldom, and makes another.
func (m *machine) deleteApplication(rt *rapid.T) {
	m.kit.t = rt
	if rapid.IntRange(0, 3).Draw(rt, "delete") > 0 {
		rt.Skip("seldom")
	}
	m.compare(rt)
	i := rapid.IntRange(0, len(m.applications)-1).Draw(rt, "application")
	id, now := m.applications[i].ID, m.clock.Now().Truncate(time.Millisecond)
	wantError(rt, "delete application", m.DeleteApplication(ctx, project, id, 0), nil)
	for _, name := range names {
		m.touched[m.model.users[userOf{id, name}].Current] = true
		m.model.leave(verify.UserKey{Project: project, Application: id, Name: name}, func(u *verify.User, v *verify.Verification) { u.Drop(v, now) })
		delete(m.model.users, userOf{id, name})
	}
	delete(m.touched, verify.ID{})
	delete(m.model.applications, id)
	for id := range m.model.verifications { // all of its verifications read otherwise now
		m.touched[id] = true
	}
	m.compare(rt)
	m.applications[i] = m.application(project)
	m.model.applications[m.applications[i].ID] = project
}

// got makes a verification comparable with the model's.
func got(v *verify.Verification, err error) (any, error) {
	if v == nil {
		return nil, err
	}
	return *v, err
}

func (m *machine) passes(rt *rapid.T) {
	m.clock.advance(rapid.SampledFrom([]time.Duration{
		time.Microsecond, time.Millisecond, time.Second, lag, lease, 30 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour,
	}).Draw(rt, "time"))
}

// poll sweeps, and looks at what is due: it must be all that is.
func (m *machine) poll(rt *rapid.T) {
	m.kit.t = rt
	m.sweep()
	due, now := m.kit.due(), m.clock.Now()
	seen := map[verify.ID]bool{}
	for _, o := range due {
		seen[o.Verification.ID] = true
		if o.Hint.After(now) {
			rt.Errorf("due: got a message with a hint at %v, it is %v", o.Hint, now)
		}
		want, _ := m.model.verification(o.Verification.ID)
		equal(rt, "due verification", *o.Verification, want)
		equal(rt, "due deliveries", o.Deliveries, m.model.history(o.Verification.ID))
	}
	for id, v := range m.model.verifications {
		if (v.Watched() || v.Open() && now.Sub(id.Time()) >= lag) && !v.DueAt.After(now) && !seen[id] {
			if m.mayWait(id, v.DueAt, now) {
				continue
			}
			rt.Errorf("due: didn't get %v, whose message is %v since %v; it is %v", id, v.Delivery, v.DueAt, now)
		}
	}
	m.due = due

	// Once somebody has looked at all of them, nothing is due.
	if rapid.Bool().Draw(rt, "look") {
		for _, o := range due {
			m.touched[o.Verification.ID] = true
			real, err := m.claimNow(o, lease)
			v, _ := m.model.verification(o.Verification.ID)
			lost, claimed := v.Claim(lease, now.Truncate(time.Millisecond))
			if lost != nil {
				m.model.ended(&v, *lost)
			}
			m.model.verifications[v.ID] = v
			if (real != nil) != claimed || err != nil {
				rt.Errorf("claim: got %+v, %v; want one: %v", real, err, claimed)
			}
		}
		equal(rt, "due after all were looked at", m.kit.due(), []verify.Overdue(nil))
	}
}

// appears is how long an engine may leave a row alone that the sweeper meets for the first time long after its
// lease ended: for all that the sweeper knows, its COMMIT came late.
const appears = 6 * time.Second

func (m *machine) mayWait(id verify.ID, due, now time.Time) bool {
	met, again := m.late[id]
	if !again && due.Before(now.Add(time.Millisecond-lag)) { // an id is of its millisecond, a lease's end of its instant
		met, again = now, true
		m.late[id] = now
	}
	return again && now.Before(met.Add(appears))
}

// upkeep deletes what is old, or seldom closes the store and opens it again.
func (m *machine) upkeep(rt *rapid.T) {
	if rapid.IntRange(0, 7).Draw(rt, "reopen") == 7 {
		m.kit.t = rt
		m.reopen(m.outer)
		m.compare(rt)
		return
	}
	m.compare(rt)
	now := m.clock.Now()
	before := now.Add(-rapid.SampledFrom([]time.Duration{0, time.Minute, 24 * time.Hour}).Draw(rt, "kept"))
	n, err := m.Retain(ctx, before)
	gone := m.model.retain(before, now.Truncate(time.Millisecond))
	if n != len(gone) || err != nil {
		rt.Errorf("retain: got %d, %v; want %d", n, err, len(gone))
	}
	for _, id := range gone {
		m.touched[id] = true
	}
	m.compare(rt)
}

func (m *machine) read(rt *rapid.T) { m.compare(rt) }

// compare compares what is stored with the model, as far as it was touched.
func (m *machine) compare(rt *rapid.T) {
	m.kit.t = rt
	for id := range m.touched {
		want, exists := m.model.verification(id)
		if !exists {
			m.gone(id)
		} else {
			equal(rt, "verification", *m.stored(id), want)
		}
		equal(rt, "deliveries", m.kit.deliveries(id), m.model.history(id))
	}
	clear(m.touched)
	got, err := m.Destinations(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	var want []verify.Destination
	for _, d := range m.model.destinations {
		want = append(want, d)
	}
	for i, a := range m.applications {
		for _, name := range names {
			k := verify.UserKey{Project: a.Project, Application: a.ID, Name: name}
			want, there := m.model.users[userOf{a.ID, name}]
			got, err := m.User(ctx, k)
			switch _, applies := m.model.applications[a.ID]; {
			case !applies:
				wantError(rt, "user of a deleted application", err, verify.ErrNoApplication)
			case !there:
				wantError(rt, "user", err, verify.ErrNoUser)
			default:
				wantError(rt, "user", err, nil)
				equal(rt, fmt.Sprint("user ", name, " of application ", i), got, want)
			}
		}
	}
	slices.SortFunc(want, func(a, b verify.Destination) int {
		if c := strings.Compare(string(a.Project), string(b.Project)); c != 0 {
			return c
		}
		return strings.Compare(string(a.Number), string(b.Number))
	})
	equal(rt, "destinations", got, want)
	var all []*verify.Verification
	for _, v := range m.model.verifications {
		all = append(all, &v)
	}
	m.nothingForgotten(all)
}

func (m *machine) claimNow(o verify.Overdue, lease time.Duration) (any, error) {
	v, _, err := m.Claim(ctx, o, lease)
	return got(v, err)
}
