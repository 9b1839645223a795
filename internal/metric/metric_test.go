package metric

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/countersign/countersign/internal/verify"
)

// scrape asks as Prometheus does.
func scrape(t testing.TB, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("got %d %s, want 200 text/plain", w.Code, w.Header().Get("Content-Type"))
	}
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// samples are the lines of ours, without the histograms' buckets.
func samples(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "countersign_") && !strings.Contains(line, "_bucket{") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	slices.Sort(all)
	return all
}

// used is a Metrics in which everything was counted.
func used() *Metrics {
	m := New()
	m.Queue("gateway", 1024, func() int { return 17 })
	m.Queue("other", 8, func() int { return 0 })
	m.Answered("signalwire", "POST /api/relay/rest/mfa/{id}/verify", 200, 250*time.Millisecond)
	m.Answered("signalwire", "POST /api/relay/rest/mfa/{id}/verify", 200, 750*time.Millisecond)
	m.Answered("signalwire", "POST /api/relay/rest/mfa/sms", 422, time.Second)
	m.Answered("none", "", 404, 0)
	m.Started("p", verify.ChannelSMS, "US", nil)
	m.Started("p", verify.ChannelSMS, "US", nil)
	m.Started("p", verify.ChannelVoice, "GB", verify.ErrBusy)
	m.Started("p", verify.ChannelSMS, "US", fmt.Errorf("start: %w", verify.ErrTooManySends))
	m.Started("p", verify.ChannelSMS, "US", errors.New("+12025550100: the disk is full"))
	m.Checked("p", verify.Outcome{Approved: true, Channel: verify.ChannelSMS, Country: "US"}, nil)
	m.Checked("p", verify.Outcome{Channel: verify.ChannelSMS}, nil)
	m.Checked("p", verify.Outcome{}, verify.ErrExpired)
	m.Denied()
	m.Checked("p", verify.Outcome{}, errors.New("493817 is odd"))
	m.Settled(&verify.Delivery{Carrier: "gateway", Outcome: verify.AttemptAccepted, Reason: verify.NoReason, Charge: verify.Charge{Units: 1, Cost: 12_500}}, "US", 2*time.Second)
	m.Settled(&verify.Delivery{Carrier: "gateway", Outcome: verify.AttemptUnknown, Reason: verify.ReasonBusy}, "US", time.Second)
	m.Settled(&verify.Delivery{Carrier: "gateway", Outcome: verify.AttemptErrored, Reason: verify.ReasonBusy}, "US", time.Second)
	m.Settled(&verify.Delivery{Carrier: "other", Outcome: verify.AttemptRefused, Reason: verify.ReasonBusy}, "US", time.Second)
	m.Settled(&verify.Delivery{Carrier: "other", Outcome: verify.AttemptDropped, Reason: verify.ReasonBusy}, "US", time.Second)
	m.Settled(&verify.Delivery{Outcome: verify.AttemptDropped, Reason: verify.ReasonKeyMissing}, "US", time.Second)
	began := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	delivered := verify.Delivery{Carrier: "gateway", Receipt: verify.ReceiptDelivered, StartedAt: began, ReceiptAt: began.Add(3 * time.Second)}
	m.Settled(&verify.Delivery{Carrier: "trunk", Call: verify.Call{Ring: 3 * time.Second, Answered: began, Talk: 16 * time.Second, Status: 200}, Charge: verify.Charge{Units: 1, Cost: 50_000}}, "US", time.Minute)
	m.Settled(&verify.Delivery{Carrier: "trunk", Outcome: verify.AttemptErrored, Reason: verify.ReasonBusy, Call: verify.Call{Ring: time.Second, Status: 486}}, "US", time.Minute)
	m.Received(&delivered, "US")
	m.Received(&verify.Delivery{Carrier: "gateway", Receipt: verify.ReceiptDelivered, ReceiptAt: began}, "US") // before the attempt's own end
	m.Received(&verify.Delivery{Carrier: "gateway", Receipt: verify.ReceiptFailed, ReceiptReason: verify.ReasonUnreachable}, "CA")
	m.Unmatched("gateway")
	m.Breakers(func(tell func(carrier, country, state string)) {
		tell("gateway", "US", "open")
		tell("gateway", "CA", "half-open")
		tell("other", "US", "closed")
	})
	m.Binds("smsc", func() Binds {
		return Binds{Up: 1, Wanted: 2, InFlight: 3, Window: 20, Made: 4, Throttled: 5, Unread: 6}
	})
	m.Committed(3, 500*time.Millisecond)
	m.Committed(256, 500*time.Millisecond)
	m.Reached("p", "", verify.Mark{Cap: "day_messages", Step: 50, At: time.Unix(1000, 0)})
	m.Reached("", "US", verify.Mark{Cap: "hour_messages", Step: 100, At: time.Unix(2000, 0)})
	return m
}

func TestEverythingIsCounted(t *testing.T) {
	t.Parallel()
	want := []string{
		`countersign_approvals_total{channel="sms"} 1`,
		`countersign_batch_operations_count 2`,
		`countersign_batch_operations_sum 259`,
		`countersign_binds_made_total{carrier="smsc"} 4`,
		`countersign_binds_up{carrier="smsc"} 1`,
		`countersign_binds_wanted{carrier="smsc"} 2`,
		`countersign_breaker_state{carrier="gateway",country="CA"} 1`,
		`countersign_breaker_state{carrier="gateway",country="US"} 2`,
		`countersign_breaker_state{carrier="other",country="US"} 0`,
		`countersign_budget_reached_timestamp_seconds{cap="day_messages",country="",project="p",step="50"} 1000`,
		`countersign_budget_reached_timestamp_seconds{cap="hour_messages",country="US",project="",step="100"} 2000`,
		`countersign_call_ring_seconds_count{answered="false",carrier="trunk"} 1`,
		`countersign_call_ring_seconds_count{answered="true",carrier="trunk"} 1`,
		`countersign_call_ring_seconds_sum{answered="false",carrier="trunk"} 1`,
		`countersign_call_ring_seconds_sum{answered="true",carrier="trunk"} 3`,
		`countersign_call_talk_seconds_count{carrier="trunk"} 1`,
		`countersign_call_talk_seconds_sum{carrier="trunk"} 16`,
		`countersign_checks_total{result="error"} 1`,
		`countersign_checks_total{result="expired"} 1`,
		`countersign_checks_total{result="right"} 1`,
		`countersign_checks_total{result="wrong"} 1`,
		`countersign_commit_seconds_count 2`,
		`countersign_commit_seconds_sum 1`,
		`countersign_cost_total{carrier="gateway",country="US"} 0.0125`,
		`countersign_cost_total{carrier="trunk",country="US"} 0.05`,
		`countersign_country_starts_total{country="GB",result="busy"} 1`,
		`countersign_country_starts_total{country="US",result="error"} 1`,
		`countersign_country_starts_total{country="US",result="ok"} 2`,
		`countersign_country_starts_total{country="US",result="too_many_sends"} 1`,
		`countersign_denials_total 1`,
		`countersign_failures_total{carrier="gateway",country="CA",reason="unreachable"} 1`,
		`countersign_failures_total{carrier="gateway",country="US",reason="busy"} 2`,
		`countersign_failures_total{carrier="none",country="US",reason="key_missing"} 1`,
		`countersign_failures_total{carrier="other",country="US",reason="busy"} 2`,
		`countersign_failures_total{carrier="trunk",country="US",reason="busy"} 1`,
		`countersign_handover_seconds_count{carrier="gateway"} 1`,
		`countersign_handover_seconds_count{carrier="trunk"} 1`,
		`countersign_handover_seconds_sum{carrier="gateway"} 2`,
		`countersign_handover_seconds_sum{carrier="trunk"} 60`,
		`countersign_handset_seconds_count{carrier="gateway",country="US"} 1`,
		`countersign_handset_seconds_sum{carrier="gateway",country="US"} 3`,
		`countersign_project_approvals_total{country="US",project="p"} 1`,
		`countersign_project_starts_total{project="p",result="busy"} 1`,
		`countersign_project_starts_total{project="p",result="error"} 1`,
		`countersign_project_starts_total{project="p",result="ok"} 2`,
		`countersign_project_starts_total{project="p",result="too_many_sends"} 1`,
		`countersign_queue_capacity{carrier="gateway"} 1024`,
		`countersign_queue_capacity{carrier="other"} 8`,
		`countersign_queue_messages{carrier="gateway"} 17`,
		`countersign_queue_messages{carrier="other"} 0`,
		`countersign_receipts_total{carrier="gateway",country="",result="unmatched"} 1`,
		`countersign_receipts_total{carrier="gateway",country="CA",result="failed"} 1`,
		`countersign_receipts_total{carrier="gateway",country="US",result="delivered"} 2`,
		`countersign_receipts_unread_total{carrier="smsc"} 6`,
		`countersign_request_seconds_count{face="none",route="none"} 1`,
		`countersign_request_seconds_count{face="signalwire",route="POST /api/relay/rest/mfa/sms"} 1`,
		`countersign_request_seconds_count{face="signalwire",route="POST /api/relay/rest/mfa/{id}/verify"} 2`,
		`countersign_request_seconds_sum{face="none",route="none"} 0`,
		`countersign_request_seconds_sum{face="signalwire",route="POST /api/relay/rest/mfa/sms"} 1`,
		`countersign_request_seconds_sum{face="signalwire",route="POST /api/relay/rest/mfa/{id}/verify"} 1`,
		`countersign_requests_total{face="none",route="none",status="404"} 1`,
		`countersign_requests_total{face="signalwire",route="POST /api/relay/rest/mfa/sms",status="422"} 1`,
		`countersign_requests_total{face="signalwire",route="POST /api/relay/rest/mfa/{id}/verify",status="200"} 2`,
		`countersign_sends_total{carrier="gateway",country="US",outcome="accepted"} 1`,
		`countersign_sends_total{carrier="gateway",country="US",outcome="errored"} 1`,
		`countersign_sends_total{carrier="gateway",country="US",outcome="unknown"} 1`,
		`countersign_sends_total{carrier="none",country="US",outcome="dropped"} 1`,
		`countersign_sends_total{carrier="other",country="US",outcome="dropped"} 1`,
		`countersign_sends_total{carrier="other",country="US",outcome="refused"} 1`,
		`countersign_sends_total{carrier="trunk",country="US",outcome="accepted"} 1`,
		`countersign_sends_total{carrier="trunk",country="US",outcome="errored"} 1`,
		`countersign_starts_total{channel="sms",result="error"} 1`,
		`countersign_starts_total{channel="sms",result="ok"} 2`,
		`countersign_starts_total{channel="sms",result="too_many_sends"} 1`,
		`countersign_starts_total{channel="voice",result="busy"} 1`,
		`countersign_throttled_total{carrier="smsc"} 5`,
		`countersign_window_capacity{carrier="smsc"} 20`,
		`countersign_window_messages{carrier="smsc"} 3`,
	}
	if diff := cmp.Diff(want, samples(scrape(t, used()))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Prometheus' own rules for names and help texts.
func TestTheMetricsAreWellFormed(t *testing.T) {
	t.Parallel()
	problems, err := promlint.New(strings.NewReader(scrape(t, used()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "countersign_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// Labels are words of ours. What an error says, or a path, never becomes one.
func TestLabelsAreWordsFromSmallSets(t *testing.T) {
	t.Parallel()
	label := regexp.MustCompile(`([a-z]+)="([^"]*)"`)
	names := map[string]bool{}
	for line := range strings.Lines(scrape(t, used())) {
		if !strings.HasPrefix(line, "countersign_") {
			continue
		}
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			names[l[1]] = true
			if regexp.MustCompile(`[0-9]{4,}`).MatchString(l[2]) && l[1] != "le" {
				t.Errorf("a label holds a number: %s", line)
			}
		}
	}
	want := map[string]bool{"face": true, "route": true, "status": true, "channel": true, "result": true, "carrier": true, "outcome": true, "country": true, "reason": true, "answered": true, "project": true, "le": true, "cap": true, "step": true}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("label names (-want +got):\n%s", diff)
	}
}

func TestAQueuesDepthIsReadWhenAsked(t *testing.T) {
	t.Parallel()
	var depth atomic.Int64
	m := New()
	m.Queue("gateway", 10, func() int { return int(depth.Load()) })
	for _, n := range []int64{0, 7, 3} {
		depth.Store(n)
		if want := fmt.Sprintf("countersign_queue_messages{carrier=\"gateway\"} %d\n", n); !strings.Contains(scrape(t, m), want) {
			t.Errorf("got\n%s\nwant %s", strings.Join(samples(scrape(t, m)), "\n"), want)
		}
	}
}

func TestTwoServersInOneProcessCountApart(t *testing.T) {
	t.Parallel()
	a, b := New(), New()
	a.Started("p", verify.ChannelSMS, "US", nil)
	if got := scrape(t, b); strings.Contains(got, "countersign_starts_total{") {
		t.Errorf("the other one counted too:\n%s", got)
	}
	if got := scrape(t, b); !strings.Contains(got, "\ngo_goroutines ") || !strings.Contains(got, "\nprocess_") {
		t.Errorf("there are no metrics of the process:\n%s", got)
	}
}

func TestNothingIsLostUnderConcurrency(t *testing.T) {
	t.Parallel()
	m := New()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				m.Started("p", verify.ChannelSMS, "US", nil)
				m.Committed(1, time.Millisecond)
				if i%100 == 0 {
					scrape(t, m)
				}
			}
		})
	}
	all.Wait()
	got := scrape(t, m)
	for _, want := range []string{`countersign_starts_total{channel="sms",result="ok"} 4000`, "countersign_batch_operations_count 4000"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("got\n%s\nwant %s", strings.Join(samples(got), "\n"), want)
		}
	}
}
