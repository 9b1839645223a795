package v1_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// onBoth runs a test over both engines.
func onBoth(t *testing.T, test func(t *testing.T, o countersigntest.Options)) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, countersigntest.Options{}) })
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, countersigntest.Options{Database: storetest.Lent(t)})
	})
}

// sent waits until the message of a start, and of each resend, has been handed over.
func (k kit) sent(id string, n int) {
	k.t.Helper()
	k.Await(strconv.Itoa(n)+" messages of "+id, func() bool {
		v := k.read(id)
		return v.Delivery != "sending" && v.Delivery != "queued" && len(v.Deliveries) >= n
	})
}

func (k kit) resend(id, body string) api.Verification {
	k.t.Helper()
	return read[api.Verification](k.t, k.call("", "POST", "/v1/verifications/"+id+"/resend", body, 200))
}

// refused wants a resend to be refused.
func (k kit) refused(id, body string, status int, code string) {
	k.t.Helper()
	if p := read[api.Problem](k.t, k.call("", "POST", "/v1/verifications/"+id+"/resend", body, status)); p.Code != code {
		k.t.Errorf("a resend is refused as %s, want %s", p.Code, code)
	}
}

// bodies are the messages to a number that the simulator got, by their ids.
func (k kit) bodies(to string) (bodies []string, ids map[string]bool) {
	ids = map[string]bool{}
	for _, m := range k.Sim.Messages(phone.Number(to)) {
		bodies, ids[m.ID] = append(bodies, m.Channel+" "+m.Body), true
	}
	return bodies, ids
}

func TestAResendWaits(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		v := k.start(to, "")
		k.sent(v.ID, 1)
		for n, wait := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute} {
			want := k.Clock.Now().Add(wait)
			if seen := k.read(v.ID); seen.ResendAfter == nil || !seen.ResendAfter.Equal(want) {
				t.Errorf("before resend %d: resend_after is %v, want %v", n+1, seen.ResendAfter, want)
			}
			k.Advance(wait - time.Millisecond)
			status, header, answer := k.Call("", "POST", "/v1/verifications/"+v.ID+"/resend", "")
			if p := read[api.Problem](t, answer); status != 429 || p.Code != "too_soon" || header.Get("Retry-After") != "1" {
				t.Errorf("a millisecond before resend %d may be: %d %s, Retry-After %s; want 429 too_soon, 1", n+1, status, answer, header.Get("Retry-After"))
			}
			k.Advance(time.Millisecond)
			again := k.resend(v.ID, "")
			if last := n == 3; (again.ResendAfter == nil) != last {
				t.Errorf("resend %d: resend_after is %v", n+1, again.ResendAfter)
			}
			k.sent(v.ID, n+2)
		}
		k.Advance(20 * time.Minute)
		k.refused(v.ID, "", 409, "no_resends_left")
		bodies, ids := k.bodies(to)
		if len(bodies) != 5 || len(ids) != 5 {
			t.Errorf("got %d messages with %d ids, want 5 of each: a receiver drops one that it knows", len(bodies), len(ids))
		}
		for _, body := range bodies {
			if body != bodies[0] {
				t.Errorf("got the message %q, then %q: want the same code", bodies[0], body)
			}
		}
	})
}

func TestAResendGivesNeitherGuessesNorTime(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		v := k.start(to, `,"max_attempts":2,"valid_for":60`)
		code := k.Code(to, v.ID)
		k.check(v.ID, countersigntest.Wrong(code))
		k.sent(v.ID, 1)
		k.Advance(30 * time.Second)
		if again := k.resend(v.ID, ""); again.AttemptsRemaining != 1 || !again.ExpiresAt.Equal(v.ExpiresAt) || again.ResendAfter != nil {
			t.Errorf("after the resend: %+v, want one guess left, its end as before, and no more resends in time", again)
		}
		k.sent(v.ID, 2)
		if r := k.check(v.ID, countersigntest.Wrong(code)); r.Status != "exhausted" {
			t.Errorf("the second wrong guess: %+v, want it exhausted", r)
		}

		other := k.start(other, `,"valid_for":60`)
		k.sent(other.ID, 1)
		k.Advance(30 * time.Second)
		k.resend(other.ID, "")
		k.Advance(30 * time.Second)
		if seen := k.read(other.ID); seen.Status != "expired" {
			t.Errorf("at its end: %s, want expired", seen.Status)
		}
	})
}

func TestAnEndedVerificationIsNotSentAgain(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	for i, test := range []struct {
		code  string
		bring func(v api.Verification, code string)
	}{
		{"approved", func(v api.Verification, code string) { k.check(v.ID, code) }},
		{"guesses_spent", func(v api.Verification, code string) { k.check(v.ID, countersigntest.Wrong(code)) }},
		{"canceled", func(v api.Verification, _ string) { k.call("", "POST", "/v1/verifications/"+v.ID+"/cancel", "", 200) }},
		{"superseded", func(v api.Verification, _ string) { k.start(v.To, "") }},
		{"expired", func(api.Verification, string) { k.Advance(time.Minute) }},
	} {
		number := to[:len(to)-1] + strconv.Itoa(i)
		v := k.start(number, `,"max_attempts":1,"valid_for":60`)
		k.sent(v.ID, 1)
		code := k.Code(number, v.ID)
		k.Advance(30 * time.Second)
		test.bring(v, code)
		k.refused(v.ID, "", 409, test.code)
		if seen := k.read(v.ID); seen.ResendAfter != nil {
			t.Errorf("%s: resend_after is %v, want none", test.code, seen.ResendAfter)
		}
		if stored := k.Verification(v.ID); test.code != "expired" && stored.SealedCode != nil {
			t.Errorf("%s: the sealed code is still there", test.code)
		}
	}
	k.refused(verify.NewID(k.Clock.Now()).String(), "", 404, "not_found")
}

func TestAResendIsCharged(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Limits = verify.Limits{Burst: 2, Interval: time.Hour}
		k := newKit(t, o)
		v := k.start(to, "")
		k.sent(v.ID, 1)
		k.Advance(30 * time.Second)
		k.resend(v.ID, "")
		k.sent(v.ID, 2)
		k.Advance(time.Minute)
		k.refused(v.ID, "", 429, "too_many_sends")
		if stored := k.Verification(v.ID); stored.Resent.Count != 1 || stored.Attempt != 2 {
			t.Errorf("after a refused resend: %+v, want one resend and two attempts", stored.Progress)
		}
	})
}

func TestTwinsOfAResendSendOneMessage(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		v := k.start(to, "")
		k.sent(v.ID, 1)
		k.Advance(30 * time.Second)
		var all sync.WaitGroup
		var won, waits atomic.Int32
		for range 100 {
			all.Go(func() {
				switch status, _, answer := k.Call("", "POST", "/v1/verifications/"+v.ID+"/resend", ""); status {
				case 200:
					won.Add(1)
				case 429:
					waits.Add(1)
				default:
					t.Errorf("a twin got %d %s", status, answer)
				}
			})
		}
		all.Wait()
		k.sent(v.ID, 2)
		if bodies, _ := k.bodies(to); won.Load() != 1 || waits.Load() != 99 || len(bodies) != 2 {
			t.Errorf("%d twins were told yes and %d to wait, and %d messages went out; want 1, 99 and 2", won.Load(), waits.Load(), len(bodies))
		}
	})
}

func TestAResendByAnotherChannelSaysTheSame(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	v := k.start(to, `,"text":"Your login code is: "`)
	k.sent(v.ID, 1)
	k.Advance(30 * time.Second)
	k.refused(v.ID, `{"channel":"voice"}`, 429, "too_soon") // somebody reads the text
	k.Advance(30 * time.Second)
	if again := k.resend(v.ID, `{"channel":"voice"}`); again.Channel != "sms" || again.Delivery != "sending" {
		t.Errorf("got %+v, want it sending, and its channel as it was started", again)
	}
	k.sent(v.ID, 2)
	code := k.Code(to, v.ID)
	bodies, _ := k.bodies(to)
	if diff := cmp.Diff([]string{"voice Your login code is: " + code, "sms Your login code is: " + code}, bodies); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d := k.read(v.ID).Deliveries; d[1].Channel != "voice" || d[1].Attempt != 2 {
		t.Errorf("got the deliveries %+v, want the second by voice", d)
	}
	if p := read[api.Problem](t, k.call("", "POST", "/v1/verifications/"+v.ID+"/resend", `{"channel":"fax"}`, 422)); len(p.Errors) != 1 || p.Errors[0].Field != "channel" {
		t.Errorf("by fax: %+v", p)
	}
	long := k.start(other, `,"text":"`+strings.Repeat("a", 160)+`","channel":"voice"`)
	k.sent(long.ID, 1)
	k.Advance(2 * time.Minute)
	if p := read[api.Problem](t, k.call("", "POST", "/v1/verifications/"+long.ID+"/resend", `{"channel":"sms"}`, 422)); len(p.Errors) != 1 || p.Errors[0].Field != "channel" {
		t.Errorf("a text that fits no message: %+v", p)
	}
}

// An answered resend is on disk: though the server that committed it dies, another sends it when the lease is over.
func TestAResendSurvivesItsServer(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		var k kit
		var resends atomic.Pointer[string] // the verification whose resend nobody hears of
		o.Commit = func(_ int, commit func() error) error {
			err := commit()
			// The sweeper commits too, and may come between.
			if id := resends.Load(); err == nil && id != nil && k.Verification(*id).Resent.Count == 1 {
				resends.Store(nil)
				return errors.New("the server died before it said so")
			}
			return err
		}
		k = newKit(t, o)
		v := k.start(to, "")
		k.sent(v.ID, 1)
		k.Advance(30 * time.Second)
		resends.Store(&v.ID)
		k.call("", "POST", "/v1/verifications/"+v.ID+"/resend", "", 503)
		if bodies, _ := k.bodies(to); len(bodies) != 1 {
			t.Errorf("%d messages went out before the lease ended, want the first", len(bodies))
		}
		k.Advance(time.Minute)
		k.Await("the resent message", func() bool { bodies, _ := k.bodies(to); return len(bodies) == 2 })
		k.sent(v.ID, 3) // the first, the lost one, and the one in its place
		if stored := k.Verification(v.ID); stored.Resent.Count != 1 || stored.Attempt != 3 {
			t.Errorf("got %+v, want one resend and three attempts", stored.Progress)
		}
	})
}

// A named carrier is the simulator by another name.
type named struct {
	carrier.Carrier
	name string
}

func (n named) Name() string { return n.name }

// A resend goes by a carrier that hasn't had the message, where there is one: the first may have lost it.
func TestAResendPrefersAnotherCarrier(t *testing.T) {
	t.Parallel()
	first, second := new(sink), new(sink)
	k := newKit(t, countersigntest.Options{Carriers: []carrier.Carrier{named{first, "first"}, named{second, "second"}}})
	v := k.start(to, "")
	k.sent(v.ID, 1)
	for n, wait := range []time.Duration{30 * time.Second, time.Minute} {
		k.Advance(wait)
		k.resend(v.ID, "")
		k.sent(v.ID, n+2)
	}
	var got []string
	for _, d := range k.read(v.ID).Deliveries {
		got = append(got, d.Carrier)
	}
	if diff := cmp.Diff([]string{"first", "second", "first"}, got); diff != "" {
		t.Errorf("carriers (-want +got):\n%s", diff)
	}
}

// A sink takes all messages.
type sink struct{}

func (*sink) Name() string { return "sink" }

func (*sink) Send(context.Context, verify.Message) (carrier.Result, error) {
	return carrier.Result{}, nil
}

// A hangingCarrier has each text until it may let it go, however long that takes, and takes calls.
type hangingCarrier struct{ let chan struct{} }

func (hangingCarrier) Name() string { return "hanging" }

func (h hangingCarrier) Send(_ context.Context, m verify.Message) (carrier.Result, error) {
	if m.Channel == verify.ChannelSMS {
		<-h.let
	}
	return carrier.Result{}, nil
}

// While a carrier has the text, nobody knows whether it goes out. A resend beside it, by whichever channel, might send the
// code twice at the same time, so it waits, and is told for how long.
func TestAResendWaitsForAMessageThatIsUnderWay(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		h := hangingCarrier{make(chan struct{})}
		let := sync.OnceFunc(func() { close(h.let) })
		defer let()
		o.Carriers = []carrier.Carrier{h}
		k := newKit(t, o)
		v := k.start(to, "")
		k.Advance(time.Minute)
		for _, body := range []string{`{"channel":"voice"}`, `{"channel":"sms"}`, ""} {
			status, header, answer := k.Call("", "POST", "/v1/verifications/"+v.ID+"/resend", body)
			if p := read[api.Problem](t, answer); status != 429 || p.Code != "too_soon" || header.Get("Retry-After") != "5" {
				t.Errorf("resend %s while the text is under way: %d %s, Retry-After %s; want 429 too_soon, 5", body, status, answer, header.Get("Retry-After"))
			}
		}
		if seen := k.read(v.ID); seen.Delivery != "sending" || k.Verification(v.ID).Resent.Count != 0 {
			t.Errorf("after refused resends: %+v, want it sending as before", seen)
		}
		let()
		k.sent(v.ID, 1)
		k.Advance(time.Minute) // somebody reads the text
		k.resend(v.ID, `{"channel":"voice"}`)
		k.sent(v.ID, 2)
		if d := k.read(v.ID).Deliveries; d[0].Channel != "sms" || d[1].Channel != "voice" {
			t.Errorf("got the deliveries %+v, want the text and then the call", d)
		}
	})
}
