package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// RFC 6238, appendix B, the six last digits of SHA-1's column.
func TestCodesAreThoseOfTheRFC(t *testing.T) {
	seed := Seed("12345678901234567890")
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		if got := totp(seed, int(at/stepSeconds)); got != want {
			t.Errorf("code at %d: got %s, want %s", at, got, want)
		}
		for d, ok := range map[int64]bool{-60: false, -30: true, 0: true, 30: true, 60: false} {
			if at+d < 0 {
				continue // before the first step
			}
			step := MatchCode(seed, verify.Secret(want[:3]+" "+want[3:]), time.Unix(at+d, 0))
			if (step == int(at/stepSeconds)) != ok {
				t.Errorf("code of %d typed %d s later: got step %d, want a match %t", at, d, step, ok)
			}
		}
	}
	for _, typed := range []verify.Secret{"", "0", "28708", "2870822", "abcdef"} {
		if step := MatchCode(seed, typed, time.Unix(59, 0)); step != 0 {
			t.Errorf("a wrong code matches step %d", step)
		}
	}
}

func TestPasswordsAreHashed(t *testing.T) {
	h, ctx := NewHasher(), context.Background()
	phc, err := h.Hash(ctx, "a long password")
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("hash: got %.32s, %v", phc, err)
	}
	old := hash("a long password", cost{KiB: 64, Passes: 1, Lanes: 1})
	for _, test := range []struct {
		stored, typed string
		right, again  bool
	}{
		{phc, "a long password", true, false},
		{phc, "a long passwore", false, false},
		{phc, "", false, false},
		{old, "a long password", true, true},
		{old, "another", false, false},
		{"", "", false, false},
	} {
		right, again, err := h.Match(ctx, test.stored, verify.Secret(test.typed))
		if err != nil || right != test.right || (again != "") != test.again {
			t.Errorf("match %.20q: got %t, again %t, %v; want %t, %t", test.stored, right, again != "", err, test.right, test.again)
		}
	}
	for _, damaged := range []string{"x", "$argon2id$v=19$m=9999999,t=2,p=1$AAAA$AAAA", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", strings.Replace(old, "t=1", "t=0", 1)} {
		if right, _, err := h.Match(ctx, damaged, "x"); err == nil || right || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("damaged hash: got %t, %v", right, err)
		}
	}
}

// Sign-ins can't take all memory: only so many hashes are made at a time.
func TestHashesAreBounded(t *testing.T) {
	h := NewHasher()
	var leave []func()
	for range hashers {
		l, err := h.slots.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Hash(ctx, "a long password"); !errors.Is(err, context.Canceled) {
		t.Errorf("one hash too many: got %v", err)
	}
	for _, l := range leave {
		l()
	}
	if _, err := h.Hash(t.Context(), "a long password"); err != nil {
		t.Error(err)
	}
}

func TestAnAttemptIsDecided(t *testing.T) {
	right := Attempt{Right: true, Password: "h", Step: 8}
	with := func(change func(*Attempt)) Attempt { a := right; change(&a); return a }
	for _, test := range []struct {
		name     string
		a        Attempt
		o        Operator
		want     Reason
		failures int
	}{
		{"all right", right, Operator{Password: "h", Step: 7, Failures: 3}, "", 0},
		{"wrong password", with(func(a *Attempt) { a.Right = false }), Operator{Password: "h"}, ReasonWrongPassword, 0},
		{"password changed meanwhile", right, Operator{Password: "i"}, ReasonWrongPassword, 0},
		{"no password yet", with(func(a *Attempt) { a.Password = "" }), Operator{}, ReasonWrongPassword, 0},
		{"wrong code", with(func(a *Attempt) { a.Step = 0 }), Operator{Password: "h"}, ReasonWrongCode, 1},
		{"used code", right, Operator{Password: "h", Step: 8}, ReasonUsedCode, 1},
		{"older code", right, Operator{Password: "h", Step: 9}, ReasonUsedCode, 1},
		{"waits", right, Operator{Password: "h", Failures: 5, WaitUntil: noon.Add(1)}, ReasonWaits, 5},
		{"waited", right, Operator{Password: "h", Failures: 5, WaitUntil: noon}, "", 0},
	} {
		if got := test.o.Decide(test.a, noon); got != test.want || test.o.Failures != test.failures {
			t.Errorf("%s: got %q, %d failures; want %q, %d", test.name, got, test.o.Failures, test.want, test.failures)
		}
	}
}

// The waits grow, end by themselves, and an address's own success takes back one attempt only.
func TestWaitsGrow(t *testing.T) {
	var s Source
	now := noon
	var got []string
	for range 12 {
		if wait, _ := s.Waits(now); wait != 0 {
			t.Fatalf("after the wait: got wait %v", wait)
		}
		s.Charge(now)
		wait := max(0, s.WaitUntil.Sub(now))
		for i := range min(3, int(wait)) {
			if left, first := s.Waits(now.Add(wait - 1)); left != 1 || first != (i == 0) {
				t.Errorf("attempt %d in the last moment of a wait of %v: got %v, first %t", i, wait, left, first)
			}
		}
		got = append(got, fmt.Sprint(wait))
		now = now.Add(wait)
	}
	if want := "[0s 0s 0s 0s 30s 1m0s 2m0s 4m0s 8m0s 15m0s 15m0s 15m0s]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	s.Refund()
	if s.Failures != 11 {
		t.Errorf("after a success: got %d failures, want 11", s.Failures)
	}
	if s.Charge(now.Add(SourceMemory)); s.Failures != 1 {
		t.Errorf("after a day: got %d failures, want 1", s.Failures)
	}
}

func TestSourcesAreNetworks(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64", "": "unknown",
	} {
		if got := SourceOf(remote); got != want {
			t.Errorf("%q: got %s, want %s", remote, got, want)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	s, token := newSession(verify.ID{1}, "a", strings.Repeat("x", 300)+"\n", noon)
	if len(token) != 46 || len(s.Agent) != maxAgent || strings.Contains(string(s.Hash), token.Reveal()) {
		t.Errorf("got a token of %d, an agent of %d", len(token), len(s.Agent))
	}
	for after, want := range map[time.Duration]bool{0: true, Idle - 1: true, Idle: false} {
		if got := s.Live(noon.Add(after)); got != want {
			t.Errorf("idle for %v: got live %t", after, got)
		}
	}
	s.UsedAt = s.EndsAt
	if s.Live(s.EndsAt) || !s.Live(s.EndsAt.Add(-1)) {
		t.Error("a used session doesn't end at its end")
	}
}

// A seed that is copied to another operator's row opens for nobody.
func TestSeedsAreSealedForTheirOperator(t *testing.T) {
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	o := Operator{ID: verify.NewID(noon), Name: "ann"}
	seed := NewSeed()
	if err := o.Seal(keys, seed, noon); err != nil {
		t.Fatal(err)
	}
	if got, err := o.Open(keys); err != nil || string(got) != string(seed) {
		t.Errorf("open: %v", err)
	}
	o.ID = verify.NewID(noon)
	if _, err := o.Open(keys); err == nil {
		t.Error("another operator's seed was opened")
	}
	if text := fmt.Sprintf("%v %s", seed, seed); strings.Contains(text, string(seed)) {
		t.Error("a seed prints")
	}
}

func TestProblems(t *testing.T) {
	for name, ok := range map[string]bool{"ann": true, "ann.b@x.example": true, "": false, "Ann": false, "a b": false, "-a": false, "a\n": false, strings.Repeat("a", 65): false} {
		o := Operator{Name: name, Role: RoleAdmin}
		if got := o.Problems(); (len(got) == 0) != ok {
			t.Errorf("name %q: got %v", name, got)
		}
	}
	if len(Role("root").Problems()) != 1 {
		t.Error("an unknown role is accepted")
	}
	for password, ok := range map[string]bool{"correct horse battery": true, "elevenchars": false, "aaaaaaaaaaaaa": false, "anna-is-my-name": false, strings.Repeat("ab", 65): false, "пароль-двенадцать": true} {
		if got := passwordProblems("anna", verify.Secret(password)); (len(got) == 0) != ok {
			t.Errorf("password %q: got %v", password, got)
		}
	}
}
