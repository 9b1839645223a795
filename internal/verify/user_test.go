package verify

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func (u *User) clone() *User {
	c := *u
	c.Sends = slices.Clone(u.Sends)
	return &c
}

// forUser is a new verification of the user that the tests have.
func forUser(now time.Time) *Verification {
	v := begun(NewID(now))
	v.User, v.MaxAttempts, v.ExpiresAt = "kola", 5, v.ID.Time().Add(10*time.Minute)
	return v
}

// starting is the start of a user's verification without limits.
func starting(associate bool, address string) UserStart {
	return UserStart{Associate: associate, Address: address, Lease: lease}
}

// Each row is a state of a user, each column an event. (That nothing happens to who isn't there is the
// store's.)
func TestAUsersStatesAndEvents(t *testing.T) {
	t.Parallel()
	type event struct {
		err     error // of the event
		status  UserStatus
		address string
		version int
	}
	same := func(err error, s UserStatus, address string) event { return event{err, s, address, 7} }
	const old, moved = number1, "+12025550101"
	for _, tt := range []struct {
		name                                                         string
		status                                                       UserStatus
		live                                                         bool
		associate, move, right, wrong, login, elsewhere, dissociated event
	}{
		{
			name: "new", status: 0,
			associate: event{nil, UserPending, old, 8}, move: event{nil, UserPending, moved, 8},
			right: same(ErrNoCode, 0, old), wrong: same(ErrNoCode, 0, old), login: same(ErrNotValidated, 0, old), elsewhere: same(ErrNotValidated, 0, old),
			dissociated: event{nil, UserInitial, "", 8},
		}, {
			name: "pending", status: UserPending, live: true,
			associate: same(nil, UserPending, old), move: event{nil, UserPending, moved, 8},
			right: event{nil, UserValidated, old, 8}, wrong: same(nil, UserPending, old),
			login: same(ErrNotValidated, UserPending, old), elsewhere: same(ErrNotValidated, UserPending, old),
			dissociated: event{nil, UserInitial, "", 8},
		}, {
			name: "validated, without a code", status: UserValidated,
			associate: event{nil, UserPending, old, 8}, move: event{nil, UserPending, moved, 8},
			right: same(ErrNoCode, UserValidated, old), wrong: same(ErrNoCode, UserValidated, old),
			login: same(nil, UserValidated, old), elsewhere: same(ErrStale, UserValidated, old),
			dissociated: event{nil, UserInitial, "", 8},
		}, {
			name: "validated, with a login's code", status: UserValidated, live: true,
			associate: event{nil, UserPending, old, 8}, move: event{nil, UserPending, moved, 8},
			right: same(nil, UserValidated, old), wrong: same(nil, UserValidated, old),
			login: same(nil, UserValidated, old), elsewhere: same(ErrStale, UserValidated, old),
			dissociated: event{nil, UserInitial, "", 8},
		},
	} {
		now := t0.Add(time.Minute)
		for name, e := range map[string]struct {
			want   event
			happen func(u *User, v *Verification, d *Destination) error
		}{
			"associate": {tt.associate, func(u *User, v *Verification, d *Destination) error {
				return u.Begin(forUser(now), d, starting(true, old), now)
			}},
			"move": {tt.move, func(u *User, v *Verification, d *Destination) error {
				return u.Begin(forUser(now), d, starting(true, moved), now)
			}},
			"login": {tt.login, func(u *User, v *Verification, d *Destination) error {
				return u.Begin(forUser(now), d, starting(false, old), now)
			}},
			"login there": {tt.elsewhere, func(u *User, v *Verification, d *Destination) error {
				return u.Begin(forUser(now), d, starting(false, moved), now)
			}},
			"right": {tt.right, func(u *User, v *Verification, d *Destination) error {
				if v == nil {
					return ErrNoCode // a store's answer
				}
				_, err := u.Check(v, d, guess(true), now)
				return err
			}},
			"wrong": {tt.wrong, func(u *User, v *Verification, d *Destination) error {
				if v == nil {
					return ErrNoCode
				}
				_, err := u.Check(v, d, guess(false), now)
				return err
			}},
			"dissociate": {tt.dissociated, func(u *User, v *Verification, d *Destination) error { u.Dissociate(v, now); return nil }},
		} {
			u := &User{Name: "kola", Address: old, Status: tt.status, CreatedAt: t0, UpdatedAt: t0, Version: 7}
			var v *Verification
			if tt.live {
				v = started()
				v.User, u.Current = u.Name, v.ID
			}
			before := u.clone()
			err := e.happen(u, v, destination())
			if !errors.Is(err, e.want.err) || (err == nil) != (e.want.err == nil) {
				t.Errorf("%s, %s: got %v, want %v", tt.name, name, err, e.want.err)
			}
			if err != nil {
				if diff := cmp.Diff(before, u); diff != "" {
					t.Errorf("%s, %s: %v, and the user changed (-before +after)\n%s", tt.name, name, err, diff)
				}
				continue
			}
			if got := (event{nil, u.Status, u.Address, u.Version}); got != e.want {
				t.Errorf("%s, %s: got %+v, want %+v", tt.name, name, got, e.want)
			}
			if changed := u.Version != 7; u.UpdatedAt.Equal(now) != changed {
				t.Errorf("%s, %s: version %d, changed at %v", tt.name, name, u.Version, u.UpdatedAt)
			}
			begins := name == "associate" || name == "move" || name == "login"
			if begins == (u.Current == before.Current) && name != "dissociate" {
				t.Errorf("%s, %s: his current verification went from %v to %v", tt.name, name, before.Current, u.Current)
			}
			if name == "dissociate" && (!u.Current.IsZero() || v != nil && (v.Status != StatusCanceled || v.SealedCode != nil)) {
				t.Errorf("%s, dissociate: current %v, %+v", tt.name, u.Current, v)
			}
		}
	}
}

// What time had ended before the next code began stays expired: an ended verification never changes.
func TestANewerCodeSupersedesALiveOne(t *testing.T) {
	t.Parallel()
	v := forUser(t0)
	for _, tt := range []struct {
		name    string
		current ID
		want    bool
	}{
		{"his own", v.ID, false},
		{"a newer one", NewID(t0.Add(time.Minute)), true},
		{"one that began just before it expired", NewID(v.ExpiresAt.Add(-time.Millisecond)), true},
		{"one that began as it expired", NewID(v.ExpiresAt), false},
		{"one of an earlier time", NewID(t0.Add(-time.Minute)), true}, // the clock was set back
		{"none any more", ID{}, true},
	} {
		u := User{Current: tt.current}
		if got := u.Supersedes(v); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestNothingMoreHappensToASupersededVerification(t *testing.T) {
	t.Parallel()
	now := t0.Add(time.Second)
	for name, state := range map[string]DeliveryState{"queued": DeliveryQueued, "sending": DeliverySending, "sent": DeliverySent} {
		v := with(state)
		v.Superseded = true
		before := v.clone()
		if got := v.StatusAt(now); got != StatusSuperseded {
			t.Errorf("%s: got %v, want superseded", name, got)
		}
		if _, err := v.Check(destination(), unasked(t), now); !errors.Is(err, ErrSuperseded) {
			t.Errorf("%s: check: got %v", name, err)
		}
		if err := v.Cancel(now); !errors.Is(err, ErrSuperseded) {
			t.Errorf("%s: cancel: got %v", name, err)
		}
		if state == DeliverySending {
			if err := v.Renew(v.Attempt, lease, now); !errors.Is(err, ErrSuperseded) {
				t.Errorf("%s: renew: got %v", name, err)
			}
		}
		if diff := cmp.Diff(before, v); diff != "" {
			t.Errorf("%s: it changed (-before +after)\n%s", name, diff)
		}
		if v.Open() {
			if _, claimed := v.Claim(lease, t0.Add(time.Hour)); claimed || v.Delivery != DeliveryFailed || v.Reason.String() != "superseded" {
				t.Errorf("%s: claimed %t, %v, %q; want failed, superseded", name, claimed, v.Delivery, v.Reason)
			}
		}
	}
	// What was approved stays so, whoever gets the next code.
	v := with(DeliveryDelivered)
	v.Status, v.Superseded = StatusApproved, true
	if got := v.StatusAt(now); got != StatusApproved {
		t.Errorf("got %v, want approved", got)
	}
}

func TestAUserGetsOneCodeEachIntervalAndSoManyInAPeriod(t *testing.T) {
	t.Parallel()
	limits := DefaultUserLimits
	for _, tt := range []struct {
		name   string
		limits UserLimits
		sends  []time.Duration // that passed, from t0
		at     time.Duration
		wait   time.Duration
	}{
		{"first", limits, nil, 0, 0},
		{"at once again", limits, []time.Duration{0}, 0, 30 * time.Second},
		{"a millisecond short", limits, []time.Duration{0}, 30*time.Second - time.Millisecond, time.Millisecond},
		{"then", limits, []time.Duration{0}, 30 * time.Second, 0},
		{"the fifth", limits, []time.Duration{0, 1 * time.Minute, 2 * time.Minute, 3 * time.Minute}, 4 * time.Minute, 0},
		{"the sixth", limits, []time.Duration{0, 1 * time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute}, 5 * time.Minute, 5 * time.Minute},
		{"the sixth, too soon for both", limits, []time.Duration{0, 1 * time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute}, 4*time.Minute + time.Second, 6*time.Minute - time.Second},
		{"the sixth, when the first is over", limits, []time.Duration{0, 1 * time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute}, 10 * time.Minute, 0},
		{"the longer of both waits", limits, []time.Duration{0, 1, 2, 3, 9*time.Minute + 50*time.Second}, 9*time.Minute + 55*time.Second, 25 * time.Second},
		{"no limits", UserLimits{}, []time.Duration{0, 0, 0}, 0, 0},
		{"no interval", UserLimits{Max: 2, Period: time.Minute}, []time.Duration{0}, 0, 0},
		{"no interval, the third", UserLimits{Max: 2, Period: time.Minute}, []time.Duration{0, 0}, time.Second, 59 * time.Second},
		{"only an interval", UserLimits{Interval: time.Minute}, []time.Duration{0}, time.Second, 59 * time.Second},
		{"only an interval, over", UserLimits{Interval: time.Minute}, []time.Duration{0}, time.Minute, 0},
	} {
		u := &User{Name: "kola"}
		for _, at := range tt.sends {
			u.Sends = append(u.Sends, t0.Add(at))
		}
		now := t0.Add(tt.at)
		before := u.clone()
		r := starting(true, number1)
		r.UserLimits = tt.limits
		err := u.Begin(forUser(now), destination(), r, now)
		if got := retryAfter(err); got != tt.wait || (err == nil) != (tt.wait == 0) || err != nil && !errors.Is(err, ErrTooManySends) {
			t.Errorf("%s: got %v, wait %v; want %v", tt.name, err, got, tt.wait)
		}
		if diff := cmp.Diff(before, u); err != nil && diff != "" {
			t.Errorf("%s: refused, and the user changed (-before +after)\n%s", tt.name, diff)
		}
		if err == nil && tt.limits != (UserLimits{}) && (len(u.Sends) == 0 || !u.Sends[len(u.Sends)-1].Equal(now)) {
			t.Errorf("%s: the send isn't counted: %v", tt.name, u.Sends)
		}
	}
}

// Whatever happens to a user in any order, he has one live code at most, no code validates twice, and
// his status and version follow the table.
func TestWhateverHappensToAUserTheRulesHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u, d, now := &User{Name: "kola", CreatedAt: t0}, destination(), t0
		all := map[ID]*Verification{}
		approvals := map[ID]int{}
		var before User
		var failedAt time.Time

		begin := func(t *rapid.T, associate bool) {
			address := rapid.SampledFrom([]string{number1, "+12025550101"}).Draw(t, "address")
			v := forUser(now)
			err := u.Begin(v, d, starting(associate, address), now)
			var want error
			switch {
			case !associate && before.Status != UserValidated:
				want = ErrNotValidated
			case !associate && before.Address != address:
				want = ErrStale
			}
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Fatalf("%v at %q, associate %t: got %v, want %v", before.Status, before.Address, associate, err, want)
			}
			if err == nil {
				all[v.ID] = v
			}
			for _, v := range all { // as a store does when it loads one
				v.Superseded = u.Supersedes(v)
			}
		}
		check := func(t *rapid.T, right bool) {
			v := all[u.Current]
			if v == nil {
				t.Skip("no code")
			}
			waits := now.Before(d.WaitUntil) || d.Failures >= MaxFailures-Reserve
			fresh := v.Guesses == 0 && v.ID.Time().After(failedAt)
			live := v.StatusAt(now) == StatusPending && d.Failures < MaxFailures && (!waits || fresh)
			if live && !right {
				failedAt = now
			}
			out, err := u.Check(v, d, guess(right), now)
			if (err == nil) != live || out.Approved != (live && right) {
				t.Fatalf("live %t, right %t: got %+v, %v", live, right, out, err)
			}
			if out.Approved {
				approvals[v.ID]++
				if u.Status != UserValidated {
					t.Fatalf("approved, and the user is %v", u.Status)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"associate":  func(t *rapid.T) { begin(t, true) },
			"login":      func(t *rapid.T) { begin(t, false) },
			"right":      func(t *rapid.T) { check(t, true) },
			"wrong":      func(t *rapid.T) { check(t, false) },
			"dissociate": func(t *rapid.T) { u.Dissociate(all[u.Current], now) },
			"time": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Minute, 10 * time.Minute}).Draw(t, "step"))
			},
			"": func(t *rapid.T) {
				pending := 0
				for id, v := range all {
					if v.StatusAt(now) == StatusPending {
						pending++
						if id != u.Current {
							t.Fatalf("%v is pending, the current one is %v", id, u.Current)
						}
					}
					if approvals[id] > 1 {
						t.Fatalf("%v was approved %d times", id, approvals[id])
					}
				}
				if pending > 1 {
					t.Fatalf("%d codes are live", pending)
				}
				if (u.Status == UserInitial || u.Status == 0) != (u.Address == "") || u.Address == "" && !u.Current.IsZero() {
					t.Fatalf("%v with address %q, current %v", u.Status, u.Address, u.Current)
				}
				changed := before.Status != u.Status || before.Address != u.Address
				if steps := u.Version - before.Version; changed != (steps == 1) || steps > 1 || steps < 0 || changed && !u.UpdatedAt.Equal(now) {
					t.Fatalf("from %+v to %+v", before, *u)
				}
				before = *u.clone()
			},
		})
	})
}

func TestUsersNamesHaveAForm(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"kola": "", "Kola": "", "a b": "", "ü@例.com": "", strings.Repeat("ü", 255): "", "%2F": "", ".": "",
		"":                       "can't be blank",
		strings.Repeat("ü", 256): "is too long (maximum is 255 characters)",
		"a/b":                    "has a slash or a control character",
		"a\nb":                   "has a slash or a control character",
		"a\x00b":                 "has a control character; has a slash or a control character",
		"a\u0085b":               "has a slash or a control character",
		"\xff":                   "is not valid UTF-8",
	} {
		k, err := userKey(account(ProfileCompat), ID{1}, name)
		var got []string
		for _, p := range found(t, err) {
			got = append(got, p.Message)
			if p.Field != FieldUser || p.TooLong != strings.HasPrefix(p.Message, "is too long") {
				t.Errorf("%q: got problem %+v", name, p)
			}
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%q: got %q, want %q", name, strings.Join(got, "; "), want)
		}
		if k != (UserKey{"project", ID{1}, name}) {
			t.Errorf("%q: got %+v", name, k)
		}
	}
}

func TestAnAddressSaysWhomAndMaybeHow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want address
		bad  bool
	}{
		{"+14085551212", address{"", "+14085551212"}, false},
		{" +1 (408) 555-1212 ", address{"", "+14085551212"}, false},
		{"voice:+14085551212", address{ChannelVoice, "+14085551212"}, false},
		{"VOICE: +1-408-555-1212", address{ChannelVoice, "+14085551212"}, false},
		{"push:token@app@FCM", address{}, true},
		{"psh:fcm@sender@token", address{}, true},
		{"sms:+14085551212", address{}, true}, // nobody publishes it
		{"mailto:a@example.com", address{}, true},
		{"4085551212", address{}, true}, // of which country?
		{"+123456", address{}, true},
		{"+1234567890123456", address{}, true},
		{"", address{}, true},
		{"voice:", address{ChannelVoice, ""}, true},
		{strings.Repeat(" ", 256) + "+14085551212", address{}, true},
	} {
		var p problems
		got := p.address(tt.text, &Project{Profile: ProfileCompat})
		if got != tt.want || (len(p) > 0) != tt.bad || len(p) > 1 {
			t.Errorf("%q: got %+v with %v; want %+v", tt.text, got, p, tt.want)
		}
		for _, problem := range p {
			if problem.Field != FieldAddress {
				t.Errorf("%q: got a problem with %s", tt.text, problem.Field)
			}
		}
	}
}

func TestTheChannelIsTheRequestsElseTheAddresssElseThePreferredOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		channels []Channel
		asked    Channel
		address  Channel
		want     Channel
		field    Field // of a problem
	}{
		{nil, "", "", ChannelSMS, ""},
		{nil, ChannelSMS, "", ChannelSMS, ""},
		{nil, ChannelVoice, "", ChannelSMS, FieldChannel},
		{nil, "", ChannelVoice, ChannelSMS, FieldAddress},
		{[]Channel{ChannelVoice, ChannelSMS}, "", "", ChannelVoice, ""},
		{[]Channel{ChannelVoice, ChannelSMS}, ChannelSMS, "", ChannelSMS, ""},
		{[]Channel{ChannelSMS, ChannelVoice}, "", ChannelVoice, ChannelVoice, ""},
		{[]Channel{ChannelSMS, ChannelVoice}, ChannelSMS, ChannelVoice, ChannelSMS, ""},
		{[]Channel{ChannelSMS}, ChannelSMS, ChannelVoice, ChannelSMS, ""},
		{[]Channel{ChannelSMS, ChannelVoice}, ChannelPush, "", ChannelSMS, FieldChannel},
		{[]Channel{ChannelVoice, ChannelSMS}, "fax", "", ChannelVoice, FieldChannel},
	} {
		var p problems
		a := Application{Channels: tt.channels}
		got := a.channel(tt.asked, address{channel: tt.address}, false, &p)
		field := Field("")
		if len(p) > 0 {
			field = p[0].Field
		}
		if got != tt.want || field != tt.field {
			t.Errorf("%v, asked %q, address %q: got %q with %v; want %q, problem with %q", tt.channels, tt.asked, tt.address, got, p, tt.want, tt.field)
		}
	}
}
