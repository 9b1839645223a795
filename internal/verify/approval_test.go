package verify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/wording"
)

// asking is a call that asks for a key, under way.
func asking() *Verification {
	v := started()
	v.Channel, v.Text, v.Approval, v.Asker = ChannelVoice, wording.Approved.Spoken, ApprovalByKey, "The Shop"
	return v
}

// pressed is the end of a call whose callee said something.
func pressed(v *Verification, what Verdict) *Settlement {
	s := &Settlement{Delivery: Delivery{Verification: v.ID, Attempt: v.Attempt}, Verdict: what}
	if what != VerdictApproves {
		s.Outcome, s.Reason = AttemptRefused, ReasonNoKey
	}
	return s
}

func TestAKeyApprovesAsARightCodeDoes(t *testing.T) {
	t.Parallel()
	v, d := asking(), destination()
	v.Guesses, d.Failures = 1, 4
	byCode, cleared := v.clone(), d.clone()
	if _, err := byCode.Check(cleared, guess(true), t0); err != nil {
		t.Fatal(err)
	}
	s := pressed(v, VerdictApproves)
	if approved, err := v.Answer(d, s, t0); !approved || err != nil {
		t.Fatalf("got %t, %v", approved, err)
	}
	if diff := cmp.Diff(byCode, v) + cmp.Diff(cleared, d); diff != "" {
		t.Errorf("otherwise than by a code (-code +key)\n%s", diff)
	}
	if v.Status != StatusApproved || v.Guesses != 2 || v.SealedCode != nil || v.Delivery != DeliveryDelivered || d.Failures != 0 || !s.EndedAt.Equal(t0) {
		t.Errorf("got %+v, %+v, ended at %v", v, d, s.EndedAt)
	}
	again := v.clone()
	if approved, err := v.Answer(d, pressed(v, VerdictApproves), t0.Add(time.Second)); approved || err != nil {
		t.Errorf("again: got %t, %v", approved, err)
	}
	if _, err := v.Check(d, unasked(t), t0); !errors.Is(err, ErrApproved) {
		t.Errorf("a code after it: got %v", err)
	}
	if diff := cmp.Diff(again, v); diff != "" {
		t.Errorf("it changed once more (-before +after)\n%s", diff)
	}
}

func TestWhereAKeyApprovesNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit func(*Verification, *Destination, *Settlement)
		at   time.Duration
		lost bool
	}{
		"no key":                  {edit: func(_ *Verification, _ *Destination, s *Settlement) { s.Verdict = VerdictUnanswered }},
		"not asked":               {edit: func(_ *Verification, _ *Destination, s *Settlement) { s.Verdict = NoVerdict }},
		"a code was told":         {edit: func(v *Verification, _ *Destination, _ *Settlement) { v.Approval = ApprovalByCode }},
		"not a call":              {edit: func(v *Verification, _ *Destination, _ *Settlement) { v.Channel = ChannelSMS }},
		"expired":                 {edit: func(v *Verification, _ *Destination, _ *Settlement) { v.ExpiresAt = t0 }},
		"superseded":              {edit: func(v *Verification, _ *Destination, _ *Settlement) { v.Superseded = true }},
		"canceled":                {edit: func(v *Verification, _ *Destination, _ *Settlement) { v.Cancel(t0) }},
		"exhausted":               {edit: func(v *Verification, d *Destination, _ *Settlement) { v.MaxAttempts = 1; v.Check(d, guess(false), t0) }},
		"the number has to wait":  {edit: func(_ *Verification, d *Destination, _ *Settlement) { d.WaitUntil = t0.Add(1) }},
		"the number is locked":    {edit: func(_ *Verification, d *Destination, _ *Settlement) { d.Failures = MaxFailures }},
		"settled before":          {edit: func(v *Verification, _ *Destination, _ *Settlement) { v.Delivery = DeliverySent }},
		"an earlier attempt":      {edit: func(_ *Verification, _ *Destination, s *Settlement) { s.Attempt-- }, lost: true},
		"at the end of its lease": {edit: func(*Verification, *Destination, *Settlement) {}, at: 20 * time.Second, lost: true},
	} {
		v, d := asking(), destination()
		s, now := pressed(v, VerdictApproves), t0.Add(tt.at)
		tt.edit(v, d, s)
		vBefore, dBefore := v.clone(), d.clone()
		approved, err := v.Answer(d, s, now)
		if approved || (err != nil) != tt.lost || tt.lost && !errors.Is(err, ErrLeaseLost) {
			t.Errorf("%s: got %t, %v", name, approved, err)
		}
		vBefore.Delivery, vBefore.Reason, vBefore.DueAt = v.Delivery, v.Reason, v.DueAt // an attempt has ended
		if diff := cmp.Diff(vBefore, v) + cmp.Diff(dBefore, d); diff != "" {
			t.Errorf("%s: more than the delivery changed (-before +after)\n%s", name, diff)
		}
	}
}

func TestNoByKeyCancels(t *testing.T) {
	t.Parallel()
	v, d := asking(), destination()
	d.Failures, d.WaitUntil = 7, t0.Add(time.Minute) // a no needs no patience
	before := d.clone()
	if approved, err := v.Answer(d, pressed(v, VerdictRejects), t0); approved || err != nil {
		t.Fatalf("got %t, %v", approved, err)
	}
	if v.Status != StatusCanceled || v.Delivery != DeliveryFailed || v.Reason != ReasonRejected || v.SealedCode != nil || v.Guesses != 0 || !v.DueAt.IsZero() {
		t.Errorf("got %+v", v)
	}
	if diff := cmp.Diff(before, d); diff != "" {
		t.Errorf("the number changed (-before +after)\n%s", diff)
	}
	if _, err := v.Check(d, unasked(t), t0); !errors.Is(err, ErrCanceled) {
		t.Errorf("a code after it: got %v", err)
	}
	// What others decided first stands.
	ended := asking()
	if _, err := ended.Check(destination(), guess(true), t0); err != nil {
		t.Fatal(err)
	}
	same := ended.clone()
	if approved, err := ended.Answer(d, pressed(ended, VerdictRejects), t0); approved || err != nil || ended.Status != StatusApproved {
		t.Errorf("after an approval: got %t, %v, %v", approved, err, ended.Status)
	}
	if diff := cmp.Diff(same, ended); diff != "" {
		t.Errorf("an approved one changed (-before +after)\n%s", diff)
	}
}

func TestAnUnansweredQuestionIsAFailedDelivery(t *testing.T) {
	t.Parallel()
	v, d := asking(), destination()
	if approved, err := v.Answer(d, pressed(v, VerdictUnanswered), t0); approved || err != nil || v.Status != StatusPending || v.Delivery != DeliveryFailed || v.Reason.String() != "no_key" {
		t.Errorf("got %t, %v, %+v", approved, err, v)
	}
	if out, err := v.Check(d, guess(true), t0); err != nil || !out.Approved {
		t.Errorf("its code: got %+v, %v; want that it is checked as ever", out, err)
	}
}

func TestAYesValidatesTheUser(t *testing.T) {
	t.Parallel()
	for _, status := range []UserStatus{UserPending, UserValidated} {
		v, d := asking(), destination()
		u := User{Status: status, Address: number1, Current: v.ID, UpdatedAt: t0, Version: 3}
		now := t0.Add(time.Second)
		for _, no := range []Verdict{VerdictUnanswered, VerdictRejects} {
			same := u
			if approved, err := same.Answer(v.clone(), d, pressed(v, no), now); approved || err != nil || same.Version != 3 || same.Status != status {
				t.Errorf("%v of one who is %v: got %t, %v, %+v", no, status, approved, err, same)
			}
		}
		if approved, err := u.Answer(v, d, pressed(v, VerdictApproves), now); !approved || err != nil {
			t.Fatalf("got %t, %v", approved, err)
		}
		if u.Status != UserValidated || u.Version != 4 || !u.UpdatedAt.Equal(now) || u.Address != number1 {
			t.Errorf("one who was %v: got %+v, want that he changed", status, u)
		}
	}
}

// The code of a verification that is approved by a key is told to nobody.
func TestACallForAKeyTellsNoCode(t *testing.T) {
	t.Parallel()
	const secret = "493817"
	v := asking()
	m := v.Message(v.Channel, secret)
	if !m.ByKey || m.Asker != "The Shop" || m.Code != "" || m.Text != "" ||
		m.Body != "You have a verification request from The Shop. To approve it, press 1. If this wasn't you, press 9 or hang up." {
		t.Errorf("got %q by key: %t, of %q, code %q, text %q", m.Body.Reveal(), m.ByKey, m.Asker, m.Code.Reveal(), m.Text)
	}
	v.Asker = ""
	if got := v.Message(v.Channel, secret).Body.Reveal(); !strings.HasPrefix(got, "You have a verification request. ") {
		t.Errorf("of nobody: got %q", got)
	}
	v.Channel, v.Text = ChannelSMS, wording.Approved.Written
	if m := v.Message(v.Channel, secret); m.ByKey || m.Asker != "" || m.Code != secret {
		t.Errorf("by another channel: got %+v, want an ordinary code", m)
	}
}

// An application's calls ask for a key if its operator says so. It is frozen, and other channels get
// a code.
func TestAnApplicationsCallsAskForAKey(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.acct.Project.PublicText = true
	a := e.application(t, func(a *Application) {
		a.Channels, a.DisplayName, a.AssociateTemplate = []Channel{ChannelVoice, ChannelSMS}, "The\nShop", "Hello, your code is $code"
	})
	a.Calls.ByKey = true
	e.store.applications[a.ID] = a
	for _, tt := range []struct {
		channel Channel
		name    string
		asks    bool
		asker   string
		locale  string
	}{
		{ChannelVoice, "", true, "The Shop", "de"},
		{ChannelVoice, "The Bank, see www.bank.example", true, "The Bank, see", "de"},
		{ChannelSMS, "", false, "", ""},
	} {
		if err := e.Associate(t.Context(), e.acct, a.ID, "kola", AssociateRequest{Address: "+4930901820", Channel: tt.channel, DisplayName: tt.name}); err != nil {
			t.Fatal(err)
		}
		m := e.latest()
		if m.ByKey != tt.asks || m.Asker != tt.asker || m.Locale != tt.locale {
			t.Errorf("%s: got %t, %q in %q; want %t, %q in %q", tt.channel, m.ByKey, m.Asker, m.Locale, tt.asks, tt.asker, tt.locale)
		}
		if secret := e.sealed(t); tt.asks == (strings.Contains(m.Body.Reveal(), secret) || strings.Contains(m.Code.Reveal(), secret)) {
			t.Errorf("%s: the message tells the code, or no code: %t", tt.channel, !tt.asks)
		}
	}
	v := e.outbox.verifications[0]
	a.Calls.ByKey = false
	e.store.applications[a.ID] = a
	if !v.Message(v.Channel, "1").ByKey {
		t.Error("a call that is made again asks for no key: it isn't frozen")
	}
	if got := e.validate(t, a, e.sealed(t), false); got != "right" {
		t.Errorf("the code that a text message told: got %q", got)
	}
}

func TestStandardSaysACodeAfterAKeyAndTakesNoneInstead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		profile Profile
		channel Channel
		after   bool
	}{{ProfileCompat, ChannelVoice, false}, {ProfileStandard, ChannelVoice, true}, {ProfileStandard, ChannelSMS, false}} {
		e := newEngine(t)
		e.acct.Project.Profile = tt.profile
		if _, err := e.Start(t.Context(), e.acct, StartRequest{Channel: tt.channel, To: number1}); err != nil {
			t.Fatal(err)
		}
		if m := e.latest(); m.AfterKey != tt.after || m.ByKey || m.Code == "" {
			t.Errorf("%s by %s: got %+v, want the code after a key: %t", tt.profile, tt.channel, m, tt.after)
		}
	}
	for _, profile := range []Profile{ProfileCompat, ProfileStandard} {
		e := newEngine(t)
		e.acct.Project.Profile = profile
		a := e.application(t, func(a *Application) { a.Channels = []Channel{ChannelSMS, ChannelVoice} })
		a.Calls.ByKey = true
		e.store.applications[a.ID] = a
		by := func(c Channel) error {
			return e.Associate(t.Context(), e.acct, a.ID, "kola", AssociateRequest{Address: number1, Channel: c})
		}
		err := by(ChannelVoice)
		if allowed := profile == ProfileCompat; allowed && err != nil || !allowed && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "approved by a key")) {
			t.Errorf("%s: a call that is approved by a key: got %v", profile, err)
		}
		if profile == ProfileCompat && !e.latest().ByKey {
			t.Error("compat: the call doesn't ask for a key")
		}
		if err := by(ChannelSMS); profile == ProfileStandard && err != nil {
			t.Errorf("standard: its text: %v", err)
		}
	}
}
