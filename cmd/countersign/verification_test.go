package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// shownVerification is what programs are told of one.
type shownVerification struct {
	ID, Project, Application, Number, Status, Delivery, Reason string
	Key                                                        string
	KeyName                                                    string `json:"key_name"`
	Address                                                    string
	Guesses                                                    int
	MaxAttempts                                                int        `json:"max_attempts"`
	NextAt                                                     *time.Time `json:"next_at"`
	EndedAt                                                    *time.Time `json:"ended_at"`
	Timeline                                                   []shownEvent
}

type shownEvent struct {
	Time                            time.Time
	Event, Carrier, Reason, Channel string
	Attempt                         int
}

// story is a timeline without its times, which must be in order.
func (s *shownVerification) story(t *testing.T) (all []string) {
	t.Helper()
	for i, e := range s.Timeline {
		if i > 0 && e.Time.Before(s.Timeline[i-1].Time) {
			t.Errorf("%s was before %s", e.Event, s.Timeline[i-1].Event)
		}
		all = append(all, words(e.Event, e.Attempt, e.Carrier, e.Reason))
	}
	return all
}

func words(event string, attempt int, carrier, reason string) string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s %d %s %s", event, attempt, carrier, reason)), " ")
}

// loggedStory is the same story as the log tells it: all lines with an id, as grep finds them.
func loggedStory(t *testing.T, log, id string) (all []string) {
	t.Helper()
	for text := range strings.Lines(log) {
		if !strings.Contains(text, id) {
			continue
		}
		var line struct {
			Msg, Route, Verification, Carrier, Outcome, Reason, Key, Code string
			Status, Attempt                                               int
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.Verification != id {
			t.Errorf("the line doesn't have the id as verification: %s (%v)", text, err)
		}
		switch line.Msg {
		case "request":
			if strings.HasSuffix(line.Route, "/sms") {
				all = append(all, words("started", 0, "", ""))
			}
		case "carrier called":
			all = append(all, words("attempt", line.Attempt, line.Carrier, ""))
		case "attempt settled":
			all = append(all, words(line.Outcome, line.Attempt, line.Carrier, line.Reason))
		case "carrier failed": // its end says the same
		default:
			t.Errorf("a line that nobody expects: %s", text)
		}
	}
	return all
}

// secondCarrier has a carrier that can't be reached tried before the example's, and all of it logged.
func secondCarrier(text string) string {
	text = strings.Replace(text, "carriers:\n", "carriers:\n  - name: closed\n    http: {url: \"http://127.0.0.1:1/\", secret: {file: gateway.secret}}\n", 1)
	text = regexp.MustCompile(`(?m)^  sms:\n`).ReplaceAllString(text, "  sms:\n    - closed\n")
	return strings.Replace(text, `level: "info"`, `level: "debug"`, 1)
}

// A failed-over verification's story is the same from the log, by one grep, and from the command, beside the
// running server and on both engines.
func TestLogAndCommandTellTheSameStory(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); sameStory(t, install(t, theProgram(t), nil)) })
	t.Run("PostgreSQL", func(t *testing.T) { t.Parallel(); sameStory(t, installOn(t, storetest.Lent(t))) })
}

func sameStory(t *testing.T, in *installation) {
	traces := new(exported)
	collector := httptest.NewServer(traces)
	t.Cleanup(collector.Close)
	in.rewrite(func(text string) string {
		text = strings.Replace(secondCarrier(text), `endpoint: ""`, fmt.Sprintf("endpoint: %q", collector.URL), 1)
		return strings.Replace(text, "sample: 0.01", "sample: 1", 1)
	})
	p := in.serve()
	const to = "+12025550177"
	id, code := in.start(p, to)
	var told shownVerification
	show := func() []string {
		told = shownVerification{}
		in.decode(&told, "verification", "show", "--config", "countersign.yaml", "--json", id)
		return told.story(t)
	}
	want := []string{"started 0", "attempt 1 closed", "errored 1 closed unreachable", "attempt 2 gateway", "accepted 2 gateway"}
	within(patience, func() bool { return len(show()) >= len(want) })
	if diff := cmp.Diff(want, told.story(t)); diff != "" {
		t.Errorf("the command (-want +got):\n%s", diff)
	}
	within(patience, func() bool { return len(loggedStory(t, p.stderr.String(), id)) >= len(want) })
	if diff := cmp.Diff(told.story(t), sorted(loggedStory(t, p.stderr.String(), id))); diff != "" {
		t.Errorf("the log (-command +log):\n%s", diff)
	}
	if told.Status != "pending" || told.Delivery != "sent" || told.EndedAt != nil || told.Address != "127.0.0.1" || told.KeyName != "key" || told.Number != "+*******0177" {
		t.Errorf("got %+v, want a pending one whose message is sent, from 127.0.0.1 by the key", told)
	}

	p.want(p.check(id, otherThan(code)), 200, wrongBody)
	p.want(p.check(id, code), 200, approvedBody)
	if diff := cmp.Diff(append(want, "approved 0"), show()); diff != "" {
		t.Errorf("the command after the right code (-want +got):\n%s", diff)
	}
	if told.Status != "approved" || told.Delivery != "delivered" || told.Guesses != 2 || told.EndedAt == nil {
		t.Errorf("got %+v, want an approved one after 2 guesses", told)
	}
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	// The start and two guesses, two attempts, and a carrier's call in each.
	if got := strings.Count(traces.text(), id); got != 7 {
		t.Errorf("%d spans have the verification's id, want 7", got)
	}
	for what, shown := range map[string]string{
		"JSON": in.run("verification", "show", "--config", "countersign.yaml", "--json", id), "the table": in.run("verification", "show", "--config", "countersign.yaml", id),
		"the log": p.stderr.String(), "the traces": traces.text(),
	} {
		if strings.Contains(shown, to[1:]) || strings.Contains(shown, `"`+code+`"`) || strings.Contains(shown, " "+code+" ") {
			t.Errorf("%s has the number or the code:\n%s", what, shown)
		}
	}
}

// sorted moves the line of the start to the front: its answer is written while the message is on its way.
func sorted(story []string) []string {
	for i, s := range story {
		if s == "started 0" {
			return append([]string{s}, append(append([]string{}, story[:i]...), story[i+1:]...)...)
		}
	}
	return story
}

// The command shows what a verification's rows hold in every state, without a running server.
func TestTimelines(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	attempt := func(n int, c string, o verify.AttemptOutcome, reason verify.Reason, from, to float64) verify.Delivery {
		return verify.Delivery{Attempt: n, Carrier: c, Outcome: o, Reason: reason, StartedAt: at(from), EndedAt: at(to)}
	}
	received := attempt(1, "a", verify.AttemptAccepted, verify.NoReason, 1, 2)
	received.Receipt, received.ReceiptAt, received.ReceiptReason = verify.ReceiptFailed, at(5), verify.ReasonUnreachable
	call := attempt(2, "trunk", verify.AttemptRefused, verify.ReasonNoKey, 6, 30)
	call.Channel, call.Call = verify.ChannelVoice, verify.Call{Ring: 3 * time.Second, Answered: at(9), Talk: 20 * time.Second, Status: 200}
	lost := attempt(1, "", verify.AttemptUnknown, verify.ReasonLeaseLost, 20, 20)
	for name, tt := range map[string]struct {
		v        verify.Verification
		attempts []verify.Delivery
		now      float64
		want     []string
		next     string
	}{
		"just started": {verify.Verification{Progress: verify.Progress{Delivery: verify.DeliverySending, Attempt: 1, DueAt: at(20)}}, nil, 1,
			[]string{"0 started sms"}, "attempt 1 has until 2026-11-28T12:00:20.000Z"},
		"waits for a retry": {verify.Verification{Progress: verify.Progress{Delivery: verify.DeliveryQueued, Attempt: 1, DueAt: at(3)}}, []verify.Delivery{attempt(1, "a", verify.AttemptErrored, verify.ReasonUnreachable, 1, 2)}, 2,
			[]string{"0 started sms", "1 attempt 1 sms a", "2 errored 1 sms a unreachable"}, "next attempt at 2026-11-28T12:00:03.000Z"},
		"waits for a receipt": {verify.Verification{Progress: verify.Progress{Delivery: verify.DeliverySent, Attempt: 1, DueAt: at(22)}}, []verify.Delivery{attempt(1, "a", verify.AttemptAccepted, verify.NoReason, 1, 2)}, 3,
			[]string{"0 started sms", "1 attempt 1 sms a", "2 accepted 1 sms a"}, "its receipt is awaited until 2026-11-28T12:00:22.000Z"},
		"went on by a call": {verify.Verification{Progress: verify.Progress{Delivery: verify.DeliveryFailed, Attempt: 2}}, []verify.Delivery{received, call}, 40,
			[]string{"0 started sms", "1 attempt 1 sms a", "2 accepted 1 sms a", "5 receipt 1 failed sms a unreachable", "6 attempt 2 voice trunk",
				"30 refused 2 voice trunk no_key rang 3s, talked 20s, 0 keys, status 200"}, ""},
		"its server died, it expired": {verify.Verification{Progress: verify.Progress{Delivery: verify.DeliveryFailed, Attempt: 1, Guesses: 1}}, []verify.Delivery{lost}, 700,
			[]string{"0 started sms", "20 unknown 1 sms lease_lost", "600 expired after 1 of 5 guesses"}, ""},
		"canceled": {verify.Verification{Progress: verify.Progress{Status: verify.StatusCanceled, EndedAt: at(7), Delivery: verify.DeliveryFailed}}, nil, 8,
			[]string{"0 started sms", "7 canceled after 0 of 5 guesses"}, ""},
	} {
		v := tt.v
		v.ID, v.Channel, v.MaxAttempts, v.ExpiresAt = verify.NewID(began), verify.ChannelSMS, 5, at(600)
		s := shown{admin.Story{Verification: &v, Attempts: tt.attempts}}
		var got []string
		for _, e := range s.Timeline(at(tt.now)) {
			n := ""
			if e.Attempt > 0 {
				n = fmt.Sprint(e.Attempt)
			}
			got = append(got, strings.Join(strings.Fields(fmt.Sprint(e.At.Sub(began).Seconds(), " ", e.What, " ", n, " ", e.Result, " ", e.Channel, " ", e.Carrier, " ", e.Reason, " ", detail(e))), " "))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		what, due := s.next()
		if what != "" {
			what += " " + precise(due)
		}
		if what != tt.next {
			t.Errorf("%s: next is %q, want %q", name, what, tt.next)
		}
	}
}
