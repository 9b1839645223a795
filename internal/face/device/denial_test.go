package device_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// denials are the audit log's.
func (k kit) denials() (all []string) {
	k.t.Helper()
	entries, err := k.Store.Audits(k.t.Context(), 100)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Action == "prompt deny" {
			all = append(all, e.Actor+" "+e.Detail)
		}
	}
	return all
}

func code(err error) string {
	if p, ok := err.(*api.Problem); ok {
		return p.Code
	}
	return ""
}

// "It wasn't me" is written down, and counts also where the verification has ended: once, and for a day.
func TestADenialIsWrittenDown(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		d := k.enrol(k.client, k.app, "ada")
		asks := func() error {
			k.Clock.Advance(31 * time.Second)
			_, err := k.client.StartFor(t.Context(), k.app, "ada", api.UserVerification{Mode: api.Approve})
			return err
		}
		v := k.start("ada", api.UserVerification{})
		if a := k.send(d.sign(t, v.ID, k.question(v.ID).Challenge, "deny")); !a.Accepted {
			t.Fatalf("a denial: %+v", a)
		}
		if all := k.denials(); len(all) != 1 || !strings.Contains(all[0], d.id) || !strings.Contains(all[0], v.ID) {
			t.Errorf("the audit log has %v", all)
		}
		if err := k.client.ResetPrompts(t.Context(), k.app, "ada"); err != nil {
			t.Fatal(err)
		}

		// Somebody approved it, and then its person looks.
		k.Clock.Advance(31 * time.Second)
		v = k.start("ada", api.UserVerification{})
		k.send(d.sign(t, v.ID, k.question(v.ID).Challenge, v.Show))
		late := d.sign(t, v.ID, k.question(v.ID).Challenge, "deny")
		if a := k.send(late); a.Accepted || a.Reason != "ended" || a.Status != "approved" {
			t.Errorf("a late denial: %+v", a)
		}
		if err := asks(); code(err) != "prompts_denied" || len(k.denials()) != 2 {
			t.Errorf("a start after it: %v, and the audit log has %v", err, k.denials())
		}

		// It counts once: whoever repeats it after an operator's word changes nothing.
		if err := k.client.ResetPrompts(t.Context(), k.app, "ada"); err != nil {
			t.Fatal(err)
		}
		k.send(late)
		if err := asks(); err != nil || len(k.denials()) != 2 {
			t.Errorf("after a repeat: %v, and the audit log has %v", err, k.denials())
		}

		// After a day it says nothing.
		k.Clock.Advance(31 * time.Second)
		v = k.start("ada", api.UserVerification{})
		old := d.sign(t, v.ID, k.question(v.ID).Challenge, "deny")
		k.Clock.Advance(25 * time.Hour)
		k.send(old)
		if err := asks(); err != nil || len(k.denials()) != 2 {
			t.Errorf("after a denial of yesterday's: %v, and the audit log has %v", err, k.denials())
		}
		if a := k.send(device{d.id, newKey(t)}.sign(t, v.ID, "", "deny")); a.HTTP != 404 {
			t.Errorf("a late denial by a stranger: %+v", a)
		}
	})
}

// A denial is committed with its entry in the audit log: a crash between them would leave a user without prompts, and
// nobody would know why.
func TestADenialIsCommittedWithItsEntry(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		d := k.enrol(k.client, k.app, "ada")
		v := k.start("ada", api.UserVerification{})
		id, device := parse(t, v.ID), parse(t, d.id)
		a := verify.PromptAnswer{Verification: id, Device: device, Challenge: k.question(v.ID).Challenge, Denied: true}
		if out, err := k.Store.AnswerPrompt(t.Context(), "test", &a); err != nil || !out.Denied {
			t.Fatalf("a denial: %+v, %v", out, err)
		}
		if all := k.denials(); len(all) != 1 || !strings.Contains(all[0], d.id) || !strings.Contains(all[0], v.ID) {
			t.Errorf("the audit log has %v", all)
		}
	})
}

func parse(t *testing.T, id string) verify.ID {
	t.Helper()
	parsed, err := verify.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// A start for a user without a device that can answer isn't one of the three prompts.
func TestAPromptThatNobodyGetsDoesNotCount(t *testing.T) {
	t.Parallel()
	k := newKitOfAda(t, countersigntest.Options{}, "push,sms")
	for range 4 {
		if v := k.start("ada", api.UserVerification{}); v.Show != "" {
			t.Errorf("the page is to show %q, which nobody is asked for", v.Show)
		}
		k.Clock.Advance(time.Hour)
	}
	k.enrol(k.client, k.app, "ada")
	for n := 1; n <= 4; n++ {
		if v := k.start("ada", api.UserVerification{}); (v.Show != "") != (n <= 3) {
			t.Errorf("start %d shows %q", n, v.Show)
		}
		k.Clock.Advance(time.Hour)
	}
}

// A prompt that certainly no service took isn't one of the three either: else an outage of a push service would leave its
// users without prompts. Once one takes it, it counts.
func TestAPromptThatNoServiceTakesDoesNotCount(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push,sms")
		k.enrol(k.client, k.app, "ada")
		k.pushes.fail(carrier.Refused(io.EOF))
		for range 4 {
			v := k.start("ada", api.UserVerification{})
			if v.Show == "" {
				t.Error("the user isn't asked")
			}
			k.texted("+12025550100", v.ID)
			k.Clock.Advance(time.Hour)
		}
		k.pushes.fail(nil)
		for n := 1; n <= 4; n++ {
			v := k.start("ada", api.UserVerification{})
			if (v.Show != "") != (n <= 3) {
				t.Errorf("start %d after the outage shows %q", n, v.Show)
			}
			if v.Show != "" {
				k.Await("the push", func() bool { return k.Verification(v.ID).Delivery == verify.DeliverySent })
			}
			k.Clock.Advance(time.Hour)
		}
	})
}

// A service that takes a prompt after it was away for a while makes it count.
func TestAPromptThatIsTakenLaterCounts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		k.enrol(k.client, k.app, "ada")
		for n := 1; n <= 3; n++ {
			k.pushes.fail(carrier.Later(time.Second, io.EOF))
			v := k.start("ada", api.UserVerification{})
			k.Await("the failure", func() bool { return k.Verification(v.ID).Delivery == verify.DeliveryQueued })
			k.pushes.fail(nil)
			k.Await("the push", func() bool { k.Clock.Advance(time.Second); return k.Verification(v.ID).Delivery == verify.DeliverySent })
			k.Clock.Advance(time.Hour)
		}
		if _, err := k.client.StartFor(t.Context(), k.app, "ada", api.UserVerification{Mode: api.Approve}); code(err) != "prompts_spent" {
			t.Errorf("the fourth prompt: got %v, want prompts_spent", err)
		}
	})
}

// A resend that names no channel goes on by the next one when the prompts are spent.
func TestAResendGoesOnWithoutPrompts(t *testing.T) {
	t.Parallel()
	k := newKitOfAda(t, countersigntest.Options{}, "push,sms")
	k.enrol(k.client, k.app, "ada")
	v := k.start("ada", api.UserVerification{})
	for n := 1; n <= 3; n++ {
		k.Await("a push", func() bool { return k.Verification(v.ID).Delivery == verify.DeliverySent })
		k.Clock.Advance(2 * time.Minute)
		if _, err := k.client.Resend(t.Context(), v.ID, ""); err != nil {
			t.Fatalf("resend %d: %v", n, err)
		}
	}
	if k.texted("+12025550100", v.ID) == "" || len(k.pushes.of(v.ID)) != 3 {
		t.Errorf("%d pushes, want 3 and an SMS", len(k.pushes.of(v.ID)))
	}
}

// Nobody holds more places with bodies that don't come than one client may have.
func TestSlowBodiesHoldFewPlaces(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{}, "push")
	addr := strings.TrimPrefix(k.URL, "http://")
	for range web.MaxUnprovenOfOne {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "POST /device/v1/answers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	}
	k.Await("a refusal", func() bool {
		resp, err := http.Post(k.URL+"/device/v1/answers", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != ""
	})
	resp, err := http.Post(k.URL+"/device/v1/answers", "application/json", strings.NewReader(strings.Repeat("x", 5000)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 5000 bytes: %d", resp.StatusCode)
	}
}
