package countersigntest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// tally counts answers from many goroutines.
type tally struct{ right, wrong, gone, wait, other atomic.Int64 }

func (c *tally) add(a countersigntest.Answer) {
	switch a {
	case "right":
		c.right.Add(1)
	case "wrong":
		c.wrong.Add(1)
	case "gone":
		c.gone.Add(1)
	case "wait":
		c.wait.Add(1)
	default:
		c.other.Add(1)
	}
}

func (c *tally) String() string {
	return fmt.Sprintf("%d right, %d wrong, %d gone, %d wait, %d other", c.right.Load(), c.wrong.Load(), c.gone.Load(), c.wait.Load(), c.other.Load())
}

// at runs f n times at once, and waits.
func at(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// number is the i-th of many numbers.
func number(i int) string { return fmt.Sprintf("+1202%07d", 2000000+i) }

const parallel = 50 // guesses at one verification at once

// A started verification is one that any way of guessing reaches.
type startedBy struct {
	k               *countersigntest.Kit
	to, id, purpose string
}

// startBy starts a verification by SignalWire's API, or by /v1.
func startBy(k *countersigntest.Kit, v1 bool, to string, attempts int) startedBy {
	if !v1 {
		return startedBy{k, to, k.Start(to, fmt.Sprintf(`"max_attempts":%d`, attempts)), "mfa"}
	}
	_, _, answer := k.Call("", "POST", "/v1/verifications", fmt.Sprintf(`{"to":%q,"purpose":"login","max_attempts":%d}`, to, attempts))
	var v struct{ ID string }
	json.Unmarshal([]byte(answer), &v) // what isn't one has no id
	return startedBy{k, to, v.ID, "login"}
}

// check guesses by SignalWire's API, by /v1 with the id, or by /v1 with the number, in turn.
func (s startedBy) check(turn int, code string) countersigntest.Answer {
	switch turn % 3 {
	case 1:
		return checkV1(s.k, "/v1/verifications/"+s.id+"/check", fmt.Sprintf(`{"code":%q}`, code))
	case 2:
		return checkV1(s.k, "/v1/checks", fmt.Sprintf(`{"to":%q,"purpose":%q,"code":%q}`, s.to, s.purpose, code))
	}
	return s.k.Check(s.id, code)
}

func checkV1(k *countersigntest.Kit, path, body string) countersigntest.Answer {
	status, _, answer := k.Call("", "POST", path, body)
	var r struct {
		Valid  bool
		Reason string
	}
	if err := json.Unmarshal([]byte(answer), &r); err != nil {
		return countersigntest.Answer(answer)
	}
	switch {
	case status == 200 && r.Valid:
		return "right"
	case status == 200 && r.Reason == "wrong_code":
		return "wrong"
	case status == 200, status == 404:
		return "gone"
	case status == 429:
		return "wait"
	}
	return countersigntest.Answer(answer)
}

func TestParallelWrongGuessesAreEachCharged(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{})
	var evaluated atomic.Int64
	at(8, func(worker int) {
		for i := range testsize.Times(200) / 8 {
			attempts := 1 + (i+worker)%20
			to := number(worker*100_000 + i)
			v := startBy(k, i%2 == 0, to, attempts)
			id := v.id
			wrong := countersigntest.Wrong(k.Code(to, id))
			var c tally
			at(parallel, func(n int) { c.add(v.check(n, wrong)) })
			if got := c.wrong.Load(); got != int64(attempts) || c.gone.Load() != int64(parallel-attempts) {
				t.Errorf("%d attempts: %v; want %d wrong and the rest gone", attempts, &c, attempts)
			}
			if v := k.Verification(id); v.Guesses != attempts || v.Status != verify.StatusExhausted || v.SealedCode != nil {
				t.Errorf("stored: %d guesses, %v, sealed copy %v; want %d, exhausted, none", v.Guesses, v.Status, v.SealedCode != nil, attempts)
			}
			evaluated.Add(c.wrong.Load())
		}
	})
	t.Logf("%d verifications, %d guesses each, %d evaluated", testsize.Times(200), parallel, evaluated.Load())
}

func TestParallelRightCodesApproveOnce(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{})
	at(8, func(worker int) {
		for i := range testsize.Times(200) / 8 {
			to := number(worker*100_000 + i)
			v := startBy(k, i%2 == 0, to, 20)
			id := v.id
			code := k.Code(to, id)
			var c tally
			at(parallel, func(n int) { c.add(v.check(n, code)) })
			if c.right.Load() != 1 || c.gone.Load() != parallel-1 {
				t.Errorf("%v; want 1 right and the rest gone", &c)
			}
			for turn := range 3 {
				if got := v.check(turn, code); got != "gone" {
					t.Errorf("used code: %s", got)
				}
			}
		}
	})
}

// Many clients share one number's failures, whatever verifications they ask for.
func TestGuessesAtOneNumberAreCappedOverAllVerifications(t *testing.T) {
	t.Parallel()
	for profile, free := range map[verify.Profile]int64{verify.ProfileCompat: 20, verify.ProfileStandard: 5} {
		k := countersigntest.New(t, countersigntest.Options{Profile: profile})
		var c tally
		at(40, func(int) {
			for range 3 {
				id := k.Start("+12025550100", "")
				c.add(k.Check(id, countersigntest.Wrong(k.Code("+12025550100", id))))
			}
		})
		if c.wrong.Load() != free || c.wait.Load() != 120-free {
			t.Errorf("%s: %v; want %d wrong and the rest to wait", profile, &c, free)
		}
	}
}

// One number guessed at by all three APIs has one bound.
func TestGuessesAtOneNumberAreCappedOverAllAPIs(t *testing.T) { onEach(t, guessesAtOneNumberAreCapped) }

func guessesAtOneNumberAreCapped(t *testing.T, options func() countersigntest.Options) {
	const free, none = 20, "12345" // which no code can be
	k := countersigntest.New(t, options())
	_, _, answer := k.Call("", "POST", "applications", `{"name":"Shop"}`)
	var app struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &app); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	var c, users tally
	at(30, func(client int) {
		user := fmt.Sprintf("applications/%s/users/user%d/", app.ID, client)
		for range 3 {
			if client%3 < 2 {
				c.add(startBy(k, client%3 == 1, "+12025550100", 3).check(client, none))
				continue
			}
			k.Call("", "POST", user+"associate", `{"address":"+12025550100"}`)
			if status, _, _ := k.Call("", "POST", user+"validate", `{"validation_code":"`+none+`"}`); status == 429 {
				users.add("wait")
			} else {
				users.add("wrong")
			}
		}
	})
	d, err := k.Store.Destination(context.Background(), "test", "+12025550100")
	if err != nil || d.Failures != free || c.wrong.Load()+users.wrong.Load() != free || c.other.Load() > 0 {
		t.Errorf("SignalWire's and ours: %v; Syniverse's: %v; %d failures are stored (%v); want %d of 90 evaluated", &c, &users, d.Failures, err, free)
	}
}
