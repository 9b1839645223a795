package provider

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
)

const ownSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr"

// ownReport is a report of a receiver, signed by the library of Standard Webhooks.
func ownReport(t *testing.T, secret, target, body string, at time.Time) *http.Request {
	t.Helper()
	lib, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := lib.Sign("msg_1", at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Webhook-Id", "msg_1")
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("Webhook-Signature", signature)
	return r
}

// An operator's own receiver reports as it is told messages: signed with the same secret.
func TestAnOwnReceiverReports(t *testing.T) {
	t.Parallel()
	secret, err := carrier.ParseSecret(ownSecret)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(ownSecret, "M", "N", 1)
	url := "/carriers/way/status"
	if got := OwnStatusURL(testPublic+"/", "way"); got != testPublic+url {
		t.Errorf("got the URL %s", got)
	}
	about := func(r carrier.Receipt) []carrier.Receipt {
		r.Carrier, r.Verification, r.Attempt = "way", verificationID, 1
		return []carrier.Receipt{r}
	}
	now := time.Now()
	for name, tt := range map[string]struct {
		body string
		edit func(r *http.Request) *http.Request
		code int
		want []carrier.Receipt
	}{
		"delivered":             {body: `{"token":"` + testToken + `","status":"delivered"}`, code: 200, want: about(carrier.Receipt{Delivered: true})},
		"failed, for a reason":  {body: `{"token":"` + testToken + `","status":"failed","code":"unreachable"}`, code: 200, want: about(carrier.Receipt{Reason: verify.ReasonUnreachable, Code: "unreachable"})},
		"failed, its own code":  {body: `{"token":"` + testToken + `","status":"failed","code":"E-17"}`, code: 200, want: about(carrier.Receipt{Reason: verify.ReasonUnknown, Code: "E-17"})},
		"not yet":               {body: `{"token":"` + testToken + `","status":"queued"}`, code: 200},
		"about nothing of ours": {body: `{"token":"x","status":"delivered"}`, code: 200},
		"the attempt in the URL only, which isn't signed": {body: `{"status":"delivered"}`, code: 200, edit: func(r *http.Request) *http.Request {
			r.URL.RawQuery = "m=" + testToken
			return r
		}},
		"another secret": {code: 403, body: `{"token":"` + testToken + `","status":"delivered"}`, edit: func(r *http.Request) *http.Request {
			return ownReport(t, other, url, `{"token":"`+testToken+`","status":"delivered"}`, now)
		}},
		"both, while it changes its secret": {body: `{"token":"` + testToken + `","status":"delivered"}`, code: 200, want: about(carrier.Receipt{Delivered: true}), edit: func(r *http.Request) *http.Request {
			with := ownReport(t, other, url, `{"token":"`+testToken+`","status":"delivered"}`, now)
			r.Header.Set("Webhook-Signature", with.Header.Get("Webhook-Signature")+" "+r.Header.Get("Webhook-Signature"))
			return r
		}},
		"ten minutes old": {code: 403, body: `{}`, edit: func(*http.Request) *http.Request {
			return ownReport(t, ownSecret, url, `{"token":"`+testToken+`","status":"delivered"}`, now.Add(-10*time.Minute))
		}},
		"another body": {code: 403, body: `{}`, edit: func(r *http.Request) *http.Request {
			r.Body = httptest.NewRequest("POST", "/", strings.NewReader(`{"token":"`+testToken+`","status":"delivered"}`)).Body
			return r
		}},
		"another time": {code: 403, body: `{"token":"` + testToken + `","status":"delivered"}`, edit: func(r *http.Request) *http.Request {
			r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix()+1, 10))
			return r
		}},
		"another carrier": {code: 403, body: `{"token":"` + testToken + `","status":"delivered"}`, edit: func(r *http.Request) *http.Request {
			r.URL.Path = "/carriers/other/status"
			return r
		}},
		"unsigned": {code: 403, body: `{"token":"` + testToken + `","status":"delivered"}`, edit: func(r *http.Request) *http.Request {
			r.Header.Del("Webhook-Signature")
			return r
		}},
		"signed with nothing": {code: 403, body: `{"token":"` + testToken + `","status":"delivered"}`, edit: func(r *http.Request) *http.Request {
			r.Header.Set("Webhook-Signature", "v1, v1,= v2,x")
			return r
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			way, err := Own("way", testPublic, secret)
			if err != nil {
				t.Fatal(err)
			}
			got := new(told)
			way.OnReceipt(got.receive)
			h := Handler(outage.New(slog.New(slog.DiscardHandler), nil), way)
			r := ownReport(t, ownSecret, url, tt.body, now)
			if tt.edit != nil {
				r = tt.edit(r)
			}
			if w := ask(h, r); w.Code != tt.code {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, tt.code)
			}
			if diff := cmp.Diff(tt.want, got.receipts); diff != "" {
				t.Errorf("receipts (-want +got):\n%s", diff)
			}
		})
	}
}
