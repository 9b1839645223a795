package account

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

func TestAConsumerReplacesItsToken(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	first := e.open("project")
	name, secret := NewConsumer()
	e.store.consumers[name] = Key{ID: verify.NewID(t0), Project: "project", Hash: HashKey(first), Consumer: name, ConsumerSecret: HashKey(secret)}
	refresh := func(old verify.Secret, validity time.Duration) Token {
		t.Helper()
		got, err := e.RefreshToken(t.Context(), RefreshRequest{ConsumerKey: name, ConsumerSecret: secret, OldToken: old, Validity: validity, Never: validity == 0})
		if err != nil {
			t.Fatalf("refresh: %v", err)
		}
		return got
	}
	opens := func(what string, key verify.Secret, want error) {
		t.Helper()
		acct, err := e.AuthenticateKey(t.Context(), key)
		if !errors.Is(err, want) || err == nil && acct.Project.ID != "project" {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	opens("the first", first, nil)
	if got := refresh(first, 0); got != (Token{first, 0}) {
		t.Error("a token that works for ever is asked to, and was replaced")
	}
	if got := refresh(first, time.Hour); got != (Token{first, 0}) {
		t.Error("a token that works for ever is asked to work for an hour, and was replaced")
	}

	second := refresh("another", time.Hour)
	if second.Secret == first || second.Remaining != time.Hour {
		t.Errorf("got %v, the same %t; want another one for an hour", second.Remaining, second.Secret == first)
	}
	opens("the first, at once", first, verify.ErrUnauthenticated)
	opens("the second", second.Secret, nil)

	e.clock = t0.Add(15 * time.Minute)
	if got := refresh(second.Secret, 45*time.Minute); got != (Token{second.Secret, 45 * time.Minute}) {
		t.Errorf("what is left of the second: got %v", got.Remaining)
	}
	third := refresh(second.Secret, 45*time.Minute+time.Second)
	if third.Secret == second.Secret || third.Remaining != 45*time.Minute+time.Second {
		t.Errorf("a second more than what is left: got %v", third.Remaining)
	}
	e.clock = e.clock.Add(third.Remaining - 1)
	opens("just before its end", third.Secret, nil)
	e.clock = e.clock.Add(1) // its account is still kept
	opens("at its end", third.Secret, verify.ErrUnauthenticated)
	fourth := refresh(third.Secret, 15*time.Minute)
	if fourth.Secret == third.Secret {
		t.Error("a token that is over was answered again")
	}
	if fifth := refresh(fourth.Secret, 0); fifth.Secret == fourth.Secret || fifth.Remaining != 0 {
		t.Errorf("for ever: got %v", fifth.Remaining)
	}
}

func TestNobodyElseReplacesAToken(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	first := e.open("project")
	name, secret := NewConsumer()
	k := Key{ID: verify.NewID(t0), Project: "project", Hash: HashKey(first), Consumer: name, ConsumerSecret: HashKey(secret)}
	for _, tt := range []struct {
		name       string
		consumer   string
		secret     verify.Secret
		revoked    time.Time
		fail, want error
	}{
		{name: "no consumer", consumer: "", secret: secret, want: verify.ErrUnauthenticated},
		{name: "another consumer", consumer: name + "x", secret: secret, want: verify.ErrUnauthenticated},
		{name: "a consumer that no database finds", consumer: name + "\x00", secret: secret, want: verify.ErrUnauthenticated},
		{name: "another secret", consumer: name, secret: secret + "x", want: verify.ErrUnauthenticated},
		{name: "no secret", consumer: name, secret: "", want: verify.ErrUnauthenticated},
		{name: "revoked", consumer: name, secret: secret, revoked: t0, want: verify.ErrUnauthenticated},
		{name: "no store", consumer: name, secret: secret, fail: verify.ErrNoStore, want: verify.ErrNoStore},
		{name: "right", consumer: name, secret: secret},
	} {
		k.RevokedAt = tt.revoked
		e.store.consumers[name], e.store.fail = k, tt.fail
		before := e.store.lookups
		_, err := e.RefreshToken(t.Context(), RefreshRequest{ConsumerKey: tt.consumer, ConsumerSecret: tt.secret, OldToken: first, Never: true})
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if e.store.lookups != before+1 {
			t.Errorf("%s: %d lookups, want one each", tt.name, e.store.lookups-before)
		}
	}
}

// A client's threads all meet the end of the same token. Each must come back with one that works.
func TestThoseWhoReplaceTheSameTokenGetTheSame(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	first := e.open("project")
	name, secret := NewConsumer()
	e.store.consumers[name] = Key{ID: verify.NewID(t0), Project: "project", Hash: HashKey(first), Consumer: name, ConsumerSecret: HashKey(secret), ExpiresAt: t0.Add(time.Second)}
	refresh := func(old verify.Secret, validity time.Duration) verify.Secret {
		got, err := e.RefreshToken(t.Context(), RefreshRequest{ConsumerKey: name, ConsumerSecret: secret, OldToken: old, Validity: validity})
		if err != nil {
			t.Errorf("refresh: %v", err)
		}
		return got.Secret
	}
	got := make([]verify.Secret, 20)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() { got[i] = refresh(first, time.Hour) })
	}
	all.Wait()
	for _, token := range got {
		if token != got[0] || token == first {
			t.Fatal("two of them got different tokens, or the old one")
		}
	}
	if _, err := e.AuthenticateKey(t.Context(), got[0]); err != nil {
		t.Errorf("their token: %v", err)
	}

	if longer := refresh(first, 2*time.Hour); longer == got[0] {
		t.Error("who asked for longer got the same")
	}
	if again := refresh(got[0], time.Hour); again == got[0] {
		t.Error("a token that was replaced twice is answered")
	}
	latest := refresh("lost", time.Hour)
	e.clock = e.clock.Add(refreshLife)
	if late := refresh(got[0], time.Minute); late == latest || late == got[0] {
		t.Error("a minute later, the old token still names a newer one")
	}
}
