package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func newSim() *Simulator { return New(func() time.Time { return noon }) }

func message(to phone.Number, text string) verify.Message {
	return verify.Message{
		ID: verify.NewID(noon), Verification: verify.NewID(noon), Channel: verify.ChannelSMS,
		To: to, From: "+12025550199", Body: verify.Secret(text), Attempt: 1,
	}
}

func send(t *testing.T, s *Simulator, m verify.Message) {
	t.Helper()
	r, err := s.Send(context.Background(), m)
	if err != nil || r.Ref != m.ID.String() {
		t.Fatalf("send to %s: got %q, %v, want its id", m.To, r.Ref, err)
	}
}

func bodies(all []Message) (b []string) {
	for _, m := range all {
		b = append(b, m.Body)
	}
	return b
}

func TestWhatWasSentIsKeptNewestFirst(t *testing.T) {
	t.Parallel()
	s := newSim()
	first, second, other := message("+12025550101", "first"), message("+12025550101", "second"), message("+12025550102", "other")
	second.Channel = verify.ChannelVoice
	for _, m := range []verify.Message{first, second, other} {
		send(t, s, m)
	}
	want := []Message{
		{ID: second.ID.String(), Verification: second.Verification.String(), Channel: "voice", To: "+12025550101", From: "+12025550199", Body: "second", CreatedAt: noon},
		{ID: first.ID.String(), Verification: first.Verification.String(), Channel: "sms", To: "+12025550101", From: "+12025550199", Body: "first", CreatedAt: noon},
	}
	if diff := cmp.Diff(want, s.Messages("+12025550101")); diff != "" {
		t.Errorf("one number's messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"other", "second", "first"}, bodies(s.Messages(""))); diff != "" {
		t.Errorf("all messages (-want +got):\n%s", diff)
	}
	if got := s.Messages("+12025550103"); got == nil || len(got) != 0 {
		t.Errorf("a number without messages: got %#v, want an empty list", got)
	}
}

func TestTheOldestMessagesAreForgotten(t *testing.T) {
	t.Parallel()
	s := newSim()
	const sent = keep + keep/2
	for i := range sent {
		send(t, s, message("+12025550101", fmt.Sprint(i)))
	}
	all := s.Messages("")
	if len(all) > keep || len(all) < keep*9/10 {
		t.Errorf("got %d messages, want at most %d and not many less", len(all), keep)
	}
	for i, m := range all {
		if want := fmt.Sprint(sent - 1 - i); m.Body != want {
			t.Fatalf("message %d is %s, want %s: the newest, without a gap", i, m.Body, want)
		}
	}
}

// outcome is what a number with a meaning does.
type outcome struct {
	Outcome verify.AttemptOutcome // Accepted where there is no error
	Reason  verify.Reason
	Took    time.Duration
	Kept    int
}

func TestNumbersWithAMeaning(t *testing.T) {
	t.Parallel()
	want := map[phone.Number]outcome{
		RefusedNumber:       {verify.AttemptRefused, verify.ReasonRefused, 0, 0},
		UnreachableNumber:   {verify.AttemptErrored, verify.ReasonUnreachable, 0, 0},
		SlowNumber:          {verify.AttemptAccepted, verify.NoReason, 2 * time.Second, 1},
		FailedReceiptNumber: {verify.AttemptAccepted, verify.NoReason, 0, 1},
		SilentNumber:        {verify.AttemptUnknown, verify.ReasonUnknown, 10 * time.Second, 0},
		"+15550100006":      {verify.AttemptAccepted, verify.NoReason, 0, 1},
		"+12025550101":      {verify.AttemptAccepted, verify.NoReason, 0, 1},
	}
	for to, want := range want {
		t.Run(string(to), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, began := New(time.Now), time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), s.Limit())
				defer cancel()
				_, err := s.Send(ctx, message(to, "123456"))
				got := outcome{Took: time.Since(began), Kept: len(s.Messages(to))}
				if err != nil {
					d := carrier.Decision(err)
					got.Outcome, got.Reason = d.Outcome, d.Reason
					if strings.Contains(err.Error(), string(to)[1:]) || strings.Contains(err.Error(), "123456") {
						t.Errorf("the error holds the number or the code: %v", err)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
	for _, o := range Outcomes {
		if _, tested := want[o.Number]; !tested || o.Meaning == "" {
			t.Errorf("%s is documented as %q and not tested", o.Number, o.Meaning)
		}
		if n, err := phone.Parse(string(o.Number)); err != nil || n != o.Number {
			t.Errorf("%s is no canonical number: %s, %v", o.Number, n, err)
		}
	}
	if len(Outcomes) != 5 {
		t.Errorf("got %d documented numbers, want 5", len(Outcomes))
	}
}

func TestASlowSendEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := newSim()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Send(ctx, message(SlowNumber, "x"))
	if got := carrier.Decision(err).Outcome; err == nil || got != verify.AttemptUnknown || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v, want unknown: it may have been sent", got, err)
	}
	if got := len(s.Messages("")); got != 0 {
		t.Errorf("got %d messages, want none", got)
	}
}

func TestAFailedReceiptComesBehindItsMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSim()
		receipts := make(chan carrier.Receipt, 2)
		s.OnReceipt(func(_ context.Context, r carrier.Receipt) error {
			receipts <- r
			return nil
		})
		failing, fine := message(FailedReceiptNumber, "x"), message("+12025550101", "x")
		send(t, s, failing)
		send(t, s, fine)
		if len(receipts) != 0 {
			t.Errorf("a receipt came before the send had ended")
		}
		s.Close() // waits for it
		close(receipts)
		var got []carrier.Receipt
		for r := range receipts {
			got = append(got, r)
		}
		want := []carrier.Receipt{{Carrier: Name, Verification: failing.Verification, Attempt: failing.Attempt, Delivered: false, Reason: verify.ReasonUnreachable}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("receipts (-want +got):\n%s", diff)
		}
	})
}

func TestWithoutAReceiverAReceiptIsLost(t *testing.T) {
	t.Parallel()
	s := newSim()
	send(t, s, message(FailedReceiptNumber, "x"))
	s.Close()
}

// get asks the simulator, from this machine unless the request says otherwise.
func get(s *Simulator, path, host, remote string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Host, r.RemoteAddr = host, remote
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

const here, local = "127.0.0.1:40000", "localhost:8080"

func TestAProgramReadsMessagesByNumberInAnySpelling(t *testing.T) {
	t.Parallel()
	s := newSim()
	m := message("+442079460018", `<b>"1" & 2`)
	send(t, s, m)
	send(t, s, message("+12025550101", "other"))
	type list struct {
		Messages []map[string]string `json:"messages"`
	}
	want := list{[]map[string]string{{
		"id": m.ID.String(), "verification_id": m.Verification.String(), "channel": "sms", "to": "+442079460018", "from": "+12025550199",
		"body": `<b>"1" & 2`, "created_at": "2026-05-04T12:00:00Z",
	}}}
	for _, to := range []string{"%2B442079460018", "+442079460018", url.QueryEscape("+44 (0)20 7946 0018"), "00442079460018"} {
		w := get(s, "/simulator/messages?to="+to, local, here)
		var got list
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		if diff := cmp.Diff(want, got); diff != "" || w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s (-want +got):\n%s", to, w.Code, w.Header().Get("Content-Type"), diff)
		}
	}
	for path, want := range map[string]string{
		"/simulator/messages?to=%2B12025550109": `{"messages":[]}`,
		"/simulator/messages?to=nobody":         `{"error":"to: not an E.164 number: + and 7 to 15 digits"}`,
	} {
		if got := strings.TrimSpace(get(s, path, local, here).Body.String()); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if got := get(s, "/simulator/messages?to=nobody", local, here).Code; got != 400 {
		t.Errorf("no number: got %d, want 400", got)
	}
	if got := strings.Count(get(s, "/simulator/messages", local, here).Body.String(), `"id"`); got != 2 {
		t.Errorf("without a number: got %d messages, want all 2", got)
	}
}

func TestTheSimulatorAnswersOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	s := newSim()
	send(t, s, message("+12025550101", "123456"))
	for _, path := range []string{"/simulator/messages", "/simulator/messages?to=%2B12025550101"} {
		for _, from := range []struct {
			host, remote string
			want         int
		}{
			{local, here, 200}, {"127.0.0.1", here, 200}, {"[::1]:8080", "[::1]:40000", 200},
			{"evil.example", here, 403}, {"evil.example:8080", here, 403}, {"", here, 403}, {"127.0.0.1.evil.example", here, 403},
			{local, "192.0.2.1:40000", 403}, {"192.0.2.1", "192.0.2.1:40000", 403}, {local, "", 403},
		} {
			w := get(s, path, from.host, from.remote)
			if w.Code != from.want || w.Code == 403 && strings.Contains(w.Body.String(), "123456") {
				t.Errorf("%s as %q from %q: got %d %.60s, want %d", path, from.host, from.remote, w.Code, w.Body, from.want)
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s can be read by pages of others", path)
			}
		}
	}
}

// What can be heard is what a trunk would get, sample for sample; of a text message there is nothing.
func TestACallCanBeHeard(t *testing.T) {
	t.Parallel()
	s := newSim()
	call, text := message("+12025550101", "Your Personal Authorization Code is 493817"), message("+12025550101", "493817")
	call.Channel, call.Code, call.Locale = verify.ChannelVoice, "493817", "de-AT"
	send(t, s, call)
	send(t, s, text)

	voice, err := speech.New(speech.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := speech.WAV(voice.Script(t.Context(), "de", nil, "493817").All())
	path := func(m verify.Message) string { return "/simulator/messages/" + m.ID.String() + "/audio" }
	w := get(s, path(call), "localhost", "127.0.0.1:1")
	if w.Code != 200 || w.Header().Get("Content-Type") != "audio/wav" || !bytes.Equal(w.Body.Bytes(), want) {
		t.Errorf("got %d %s, %d bytes, want the %d of a German call", w.Code, w.Header().Get("Content-Type"), w.Body.Len(), len(want))
	}
	for _, p := range []string{path(text), path(message("+12025550101", "")), "/simulator/messages/x/audio"} {
		if w := get(s, p, "localhost", "127.0.0.1:1"); w.Code != 404 {
			t.Errorf("%s: got %d, want 404", p, w.Code)
		}
	}
	if w := get(s, path(call), "localhost", "192.0.2.1:1"); w.Code != 403 {
		t.Errorf("from another machine: got %d, want 403", w.Code)
	}
}
