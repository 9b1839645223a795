package provider

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// told is what a handler's receiver was told.
type told struct {
	receipts []carrier.Receipt
	err      error // to answer with
}

func (r *told) receive(_ context.Context, got carrier.Receipt) error {
	r.receipts = append(r.receipts, got)
	return r.err
}

// reports makes a handler for one carrier.
func reports(t testing.TB, c Config) (*Carrier, http.Handler, *told) {
	t.Helper()
	way, got := carrierOf(t, c), new(told)
	way.OnReceipt(got.receive)
	return way, Handler(outage.New(c.Log, nil), way), got
}

// reportFrom makes a report as the provider would: to a URL of ours, signed.
func reportFrom(preset, target, body string, at time.Time) *http.Request {
	kind := jsonType
	if strings.Contains(body, "=") && !strings.HasPrefix(body, "{") || body == "" {
		kind = formType
	}
	r := httptest.NewRequest("POST", strings.TrimPrefix(target, testPublic), strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	form, _ := url.ParseQuery(body)
	var params strings.Builder
	for _, name := range sortedKeys(form) {
		params.WriteString(name + form.Get(name))
	}
	p, _ := PresetNamed(preset)
	switch p.Callback.Check {
	case "twilio":
		m := hmac.New(sha1.New, []byte(testKey))
		m.Write([]byte(target + params.String()))
		r.Header.Set(map[bool]string{true: "X-Twilio-Signature", false: "X-SignalWire-Signature"}[strings.HasPrefix(preset, "twilio")], base64.StdEncoding.EncodeToString(m.Sum(nil)))
	case "telnyx":
		stamp := fmt.Sprint(at.Unix())
		r.Header.Set("telnyx-timestamp", stamp)
		r.Header.Set("telnyx-signature-ed25519", base64.StdEncoding.EncodeToString(ed25519.Sign(telnyxKey, []byte(stamp+"|"+body))))
	case "vonage":
		sum := sha256.Sum256([]byte(body))
		r.Header.Set("Authorization", vonageToken(testKey, `{"alg":"HS256"}`, fmt.Sprintf(`{"iat":%d,"payload_hash":"%s"}`, at.Unix(), hex.EncodeToString(sum[:]))))
	case "webhook":
		stamp := fmt.Sprint(at.Unix())
		r.Header.Set("Webhook-Id", "msg_1")
		r.Header.Set("Webhook-Timestamp", stamp)
		key, _ := carrier.ParseSecret(testWebhookKey)
		r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac256(key, "msg_1."+stamp+"."+body)))
	case "telesign":
		key, _ := base64.StdEncoding.DecodeString(testKey)
		r.Header.Set("Authorization", "TSA AC0123:"+base64.StdEncoding.EncodeToString(mac256(key, body)))
	case "plivo":
		nonce := fmt.Sprint("n", nonces.Add(1))
		r.Header.Set("X-Plivo-Signature-V3-Nonce", nonce)
		r.Header.Set("X-Plivo-Signature-V3", base64.StdEncoding.EncodeToString(mac256([]byte(testKey), target+"."+params.String()+"."+nonce)))
	}
	return r
}

var nonces atomic.Int64 // each of a provider's is new

func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Each report of each preset, to the URL that its messages name.
func TestPresetsReadTheirProvidersReports(t *testing.T) {
	t.Parallel()
	for name, s := range stories {
		for body, want := range s.reports {
			t.Run(name+" "+body, func(t *testing.T) {
				t.Parallel()
				way, h, got := reports(t, configOf(t, name, nil))
				target := way.fields(message()).Callback
				r := reportFrom(name, target, body, testNow)
				if s.query {
					r = httptest.NewRequest("GET", strings.TrimPrefix(target, testPublic)+"&"+body, nil)
				}
				if w := ask(h, r); w.Code != http.StatusOK || w.Body.String() != way.Spec.Callback.Reply {
					t.Errorf("got %d %q, want 200 and %q", w.Code, w.Body, way.Spec.Callback.Reply)
				}
				var receipts []carrier.Receipt
				if want != nil {
					full := *want
					full.Carrier = "way"
					if s.query || way.Spec.Callback.Each == "" && name != "telesign" || strings.Contains(body, testToken) {
						full.Verification, full.Attempt = verificationID, 1
					}
					if !full.Delivered && len(got.receipts) == 1 {
						full.Code = got.receipts[0].Code
						if full.Code == "" || !strings.Contains(body, full.Code) {
							t.Errorf("got the code %q, want the provider's", full.Code)
						}
					}
					receipts = append(receipts, full)
				}
				if diff := cmp.Diff(receipts, got.receipts); diff != "" {
					t.Errorf("receipts (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Where one URL serves all messages, the report's own words name the message.
func TestAReportWithoutItsMessagesURL(t *testing.T) {
	t.Parallel()
	for preset, body := range map[string]string{
		"aws":             `{"detail":{"eventType":"TEXT_DELIVERED","messageId":"m","context":{"countersign":"` + testToken + `"}}}`,
		"vonage":          `{"messageId":"m","status":"delivered","client-ref":"` + testToken + `"}`,
		"sinch":           `{"batch_id":"m","status":"Delivered","client_reference":"` + testToken + `"}`,
		"infobip":         `{"results":[{"messageId":"m","callbackData":"` + testToken + `","status":{"groupName":"DELIVERED"}}]}`,
		"bird":            `{"type":"sms.delivered","data":{"sms_id":"m","metadata":{"countersign":"` + testToken + `"}}}`,
		"bandwidth":       `[{"type":"message-delivered","message":{"id":"m","tag":"` + testToken + `"}}]`,
		"bird-channels":   `{"payload":{"id":"m","status":"delivered","reference":"` + testToken + `"}}`,
		"syniverse-voice": `{"event":{"fld-val-list":{"message_request_id":"m","external_message_request_id":"` + testToken + `","new_state":"DELIVERED"}}}`,
		"smsapi":          "MsgId=m&idx=" + testToken + "&status=404",
		"vonage-messages": `{"message_uuid":"m","status":"delivered","client_ref":"` + testToken + `"}`,
	} {
		way, h, got := reports(t, configOf(t, preset, nil))
		target, _, _ := strings.Cut(way.fields(message()).Callback, "?")
		ask(h, reportFrom(preset, target, body, testNow))
		want := []carrier.Receipt{{Verification: verificationID, Attempt: 1, Carrier: "way", Ref: "m", Delivered: true}}
		if diff := cmp.Diff(want, got.receipts); diff != "" {
			t.Errorf("%s (-want +got):\n%s", preset, diff)
		}
	}
	// Africa's Talking repeats nothing: its id is all there is.
	_, h, got := reports(t, configOf(t, "africastalking", nil))
	ask(h, reportFrom("africastalking", testPublic+"/carriers/way/status/"+testKey, "id=ATXid_1&status=Success", testNow))
	if diff := cmp.Diff([]carrier.Receipt{{Carrier: "way", Ref: "ATXid_1", Delivered: true}}, got.receipts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Neither one nor the other says nothing.
	_, h, got = reports(t, configOf(t, "aws", nil))
	ask(h, reportFrom("aws", testPublic+"/carriers/way/status/"+testKey, `{"detail":{"eventType":"TEXT_DELIVERED"}}`, testNow))
	if got.receipts != nil {
		t.Errorf("got %v, want none", got.receipts)
	}
}

func TestOneReportMayBeAboutSeveralMessages(t *testing.T) {
	t.Parallel()
	_, h, got := reports(t, configOf(t, "infobip", nil))
	one := `{"messageId":"m%d","status":{"groupName":"DELIVERED"}},`
	var all strings.Builder
	for i := range maxReports + 1 {
		fmt.Fprintf(&all, one, i)
	}
	// The URL is that of one of them: it must not stand for the others.
	w := ask(h, reportFrom("infobip", testPublic+"/carriers/way/status/"+testKey+"?m="+testToken, `{"results":[`+strings.TrimSuffix(all.String(), ",")+`]}`, testNow))
	if w.Code != 200 || len(got.receipts) != maxReports || got.receipts[7] != (carrier.Receipt{Carrier: "way", Ref: "m7", Delivered: true}) {
		t.Errorf("got %d and %d receipts", w.Code, len(got.receipts))
	}
}

// SMSAPI joins the reports about several messages field by field.
func TestAFormMayHoldSeveralReports(t *testing.T) {
	t.Parallel()
	one := func(n int, r carrier.Receipt) carrier.Receipt {
		r.Carrier, r.Verification, r.Attempt = "way", verificationID, n
		return r
	}
	other := strings.TrimSuffix(testToken, "1")
	for form, want := range map[string][]carrier.Receipt{
		"MsgId=a,b,c&status=404,402,403&idx=" + testToken + "," + other + "2," + other + "3&username=shop": {
			one(1, carrier.Receipt{Ref: "a", Delivered: true}), one(2, carrier.Receipt{Ref: "b", Reason: verify.ReasonExpired, Code: "402"})},
		"MsgId=a,b&status=404,404&idx=,":              {{Carrier: "way", Ref: "a", Delivered: true}, {Carrier: "way", Ref: "b", Delivered: true}},
		"MsgId=a,b&status=404,404&idx=" + other + "5": {one(5, carrier.Receipt{Ref: "a", Delivered: true}), one(5, carrier.Receipt{Ref: "b", Delivered: true})},
		"MsgId=a&status=404,404,404":                  {{Carrier: "way", Ref: "a", Delivered: true}, {Carrier: "way", Ref: "a", Delivered: true}, {Carrier: "way", Ref: "a", Delivered: true}},
		"MsgId=a,b&status=404":                        {{Carrier: "way", Ref: "a,b", Delivered: true}},
		"status=404,404":                              nil, "MsgId=a,b": nil, "": nil,
	} {
		for _, method := range []string{"GET", "POST"} {
			_, h, got := reports(t, configOf(t, "smsapi", nil))
			// The URL is that of one message: it must not stand for the others.
			target := "/carriers/way/status/" + testKey + "?m=" + testToken
			r := httptest.NewRequest("GET", target+"&"+form, nil)
			if method == "POST" {
				r = reportFrom("smsapi", testPublic+target, form, testNow)
			}
			if w := ask(h, r); w.Code != 200 || w.Body.String() != "OK" {
				t.Errorf("%s %s: got %d %q, want OK", method, form, w.Code, w.Body)
			}
			if diff := cmp.Diff(want, got.receipts); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", method, form, diff)
			}
		}
	}
	_, h, got := reports(t, configOf(t, "smsapi", nil))
	many := strings.Repeat("404,", maxReports+10) + "404"
	if ask(h, reportFrom("smsapi", testPublic+"/carriers/way/status/"+testKey, "MsgId=a&status="+many, testNow)); len(got.receipts) != maxReports {
		t.Errorf("got %d receipts of too many, want %d", len(got.receipts), maxReports)
	}
	for _, body := range []string{`{"MsgId":"a","status":404}`, `["MsgId"]`, `"status"`, `{`} {
		_, h, got := reports(t, configOf(t, "smsapi", nil))
		if w := ask(h, reportFrom("smsapi", testPublic+"/carriers/way/status/"+testKey, body, testNow)); w.Code != 200 || len(got.receipts) > 1 {
			t.Errorf("%s: got %d, %v", body, w.Code, got.receipts)
		}
	}
}

// Telesign signs the body and not the URL, so the URL names no attempt.
func TestASignedBodyIsOfItsOwnMessage(t *testing.T) {
	t.Parallel()
	way, h, got := reports(t, configOf(t, "telesign", nil))
	for _, m := range []string{testToken, strings.TrimSuffix(testToken, "1") + "2", "x"} {
		target := testPublic + "/carriers/way/status?m=" + m
		got.receipts = nil
		if w := ask(h, reportFrom("telesign", target, `{"reference_id":"0123","status":{"code":200}}`, testNow)); w.Code != 200 {
			t.Errorf("got %d, want 200", w.Code)
		}
		if diff := cmp.Diff([]carrier.Receipt{{Carrier: "way", Ref: "0123", Delivered: true}}, got.receipts); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		got.receipts = nil
		if ask(h, reportFrom("telesign", target, `{"status":{"code":200}}`, testNow)); got.receipts != nil {
			t.Errorf("got %v of a report about no message", got.receipts)
		}
	}
	if _, err := newProof("telesign", way.Spec.Channel, "no base64!"); err == nil || strings.Contains(err.Error(), "no base64") {
		t.Errorf("got %v, want an error that doesn't quote the key", err)
	}
	if _, err := newProof("telesign", way.Spec.Channel, " "); err == nil {
		t.Error("an empty key proves reports")
	}
}

func TestAReportMustComeFromTheProvider(t *testing.T) {
	t.Parallel()
	for name, s := range stories {
		if s.query || len(s.reports) == 0 {
			continue // below; none
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var body string
			for b, receipt := range s.reports {
				if receipt != nil {
					body = b
				}
			}
			var log bytes.Buffer
			c := configOf(t, name, nil)
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			way, h, got := reports(t, c)
			target := way.fields(message()).Callback
			refuse := func(what string, r *http.Request, want int) {
				t.Helper()
				if w := ask(h, r); w.Code != want || got.receipts != nil {
					t.Errorf("%s: got %d and %v, want %d", what, w.Code, got.receipts, want)
				}
			}
			if way.Spec.Callback.Check == "path" {
				refuse("another secret", reportFrom(name, strings.Replace(target, testKey, testKey+"x", 1), body, testNow), 403)
				refuse("no secret", reportFrom(name, strings.Replace(target, "/"+testKey, "", 1), body, testNow), 403)
				refuse("an empty one", reportFrom(name, strings.Replace(target, testKey, "", 1), body, testNow), 404)
			} else {
				unsigned := reportFrom(name, target, body, testNow)
				unsigned.Header = http.Header{"Content-Type": unsigned.Header["Content-Type"]}
				refuse("no signature", unsigned, 403)
				another := reportFrom(name, target, body, testNow)
				another.Body = http.NoBody
				refuse("another body", another, 403)
				refuse("a path with a secret", reportFrom(name, strings.Replace(target, "/status", "/status/x", 1), body, testNow), 403)
			}
			switch way.Spec.Callback.Check {
			case "telnyx", "vonage", "webhook":
				refuse("an old one made again", reportFrom(name, target, body, testNow.Add(-6*time.Minute)), 403)
			case "twilio", "plivo":
				moved := reportFrom(name, target, body, testNow)
				moved.URL.RawQuery = "m=" + strings.Replace(testToken, ".1", ".2", 1)
				refuse("another attempt's", moved, 403)
				var params strings.Builder
				form, _ := url.ParseQuery(body)
				for _, name := range sortedKeys(form) {
					params.WriteString(name + form.Get(name))
				}
				joint := map[string]string{"twilio": "", "plivo": "."}[way.Spec.Callback.Check]
				refilled := reportFrom(name, target, "", testNow)
				refilled.Header = reportFrom(name, target, body, testNow).Header
				refilled.Header.Set("Content-Type", jsonType)
				refilled.Header.Set("X-Plivo-Signature-V2-Nonce", "n")
				refilled.Header.Set("X-Plivo-Signature-V2", refilled.Header.Get("X-Plivo-Signature-V3"))
				refilled.Header.Del("X-Plivo-Signature-V3-Nonce")
				refilled.URL.RawQuery += joint + url.PathEscape(params.String()+joint)
				refilled.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{%q:"x",%q:%q}`, way.Spec.Callback.Ref, way.Spec.Callback.Status, way.Spec.Callback.Delivered[0])))
				refuse("its form in the URL, and a body of another kind", refilled, 403)
			}
			wantSilent(t, strings.ReplaceAll(log.String(), "callback's secret", ""))
			if ask(h, reportFrom(name, target, body, testNow)); len(got.receipts) != 1 {
				t.Errorf("a right one: got %v", got.receipts)
			}
		})
	}
}

func TestWhereThereAreNoCallbacks(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*Config){
		"no public URL": func(c *Config) { c.Public = "" },
		"no secret":     func(c *Config) { c.CallbackSecret = "" },
	} {
		c := configOf(t, "signalwire", nil)
		change(&c)
		way, h, _ := reports(t, c)
		if way.Receives() || way.fields(message()).Callback != "" {
			t.Errorf("%s: the provider is told to report", what)
		}
		if w := ask(h, reportFrom("signalwire", testPublic+"/carriers/way/status", "MessageSid=1&MessageStatus=delivered", testNow)); w.Code != 403 {
			t.Errorf("%s: got %d, want 403", what, w.Code)
		}
	}
	_, h, _ := reports(t, configOf(t, "twilio", nil))
	for target, want := range map[string]int{"/carriers/other/status": 403, "/carriers/way": 404, "/carriers/way/status/": 404, "/carriers//status": 404, "/": 404} {
		if w := ask(h, reportFrom("twilio", testPublic+target, "MessageSid=1", testNow)); w.Code != want && w.Code != http.StatusTemporaryRedirect && w.Code != http.StatusMovedPermanently {
			t.Errorf("%s: got %d, want %d", target, w.Code, want)
		}
	}
	r := reportFrom("twilio", testPublic+"/carriers/way/status", "", testNow)
	r.Method = "DELETE"
	if w := ask(h, r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: got %d, want 405", w.Code)
	}
}

// Twilio signs with the secret of requests, unless that is an API key's.
func TestTheCallbacksSecretIsTheRequestsWhereItIsShared(t *testing.T) {
	t.Parallel()
	for preset, want := range map[string]bool{"twilio": true, "plivo": true, "telesign": false, "signalwire": false, "vonage": false, "sinch": false} {
		c := configOf(t, preset, nil)
		c.CallbackSecret = ""
		if got := carrierOf(t, c).Receives(); got != want {
			t.Errorf("%s: got %v, want %v", preset, got, want)
		}
	}
	// Never in a URL, whatever a description changes.
	c := configOf(t, "twilio", nil)
	c.Secret, c.CallbackSecret, c.Spec.Callback.Check = testKey, "", "path"
	if way := carrierOf(t, c); way.Receives() || strings.Contains(way.fields(message()).Callback, testKey) {
		t.Error("the account's secret is in the URL for reports")
	}
	c = configOf(t, "twilio", nil)
	c.Secret, c.CallbackSecret = testKey, ""
	way, h, got := reports(t, c)
	ask(h, reportFrom("twilio", way.fields(message()).Callback, "MessageSid=SM1&MessageStatus=delivered", testNow))
	if len(got.receipts) != 1 {
		t.Errorf("got %v", got.receipts)
	}
}

func TestAReportThatIsTooLarge(t *testing.T) {
	t.Parallel()
	_, h, got := reports(t, configOf(t, "twilio", nil))
	for size, want := range map[int]int{maxReport + 1: 413, maxReport: 403} {
		r := httptest.NewRequest("POST", "/carriers/way/status", strings.NewReader(strings.Repeat("x", size)))
		r.Header.Set("X-Twilio-Signature", "AAAA")
		if w := ask(h, r); w.Code != want || got.receipts != nil {
			t.Errorf("%d bytes: got %d, want %d", size, w.Code, want)
		}
	}
}

// counted counts what is read of a body.
type counted struct {
	io.Reader
	read int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.read += n
	return n, err
}

// Nobody learns from an answer, or from how much of a body was read, which carriers there are, or how
// their providers sign.
func TestCarriersThatDontExistAnswerAsThoseThatDo(t *testing.T) {
	t.Parallel()
	twilio, plivo, path := configOf(t, "twilio", nil), configOf(t, "plivo-voice", nil), configOf(t, "sinch", nil)
	twilio.Name, plivo.Name, path.Name = "twilio", "plivo", "path"
	h := Handler(outage.New(twilio.Log, nil), carrierOf(t, twilio), carrierOf(t, plivo), carrierOf(t, path))
	type seen struct {
		Status int
		Body   string
		Header http.Header
		Read   int
	}
	for what, header := range map[string]string{
		"nothing": "", "Twilio's": "X-Twilio-Signature", "SignalWire's": "X-Signalwire-Signature", "Telnyx's": "Telnyx-Signature-Ed25519",
		"Vonage's": "Authorization", "Plivo's": "X-Plivo-Signature-V3", "Plivo's older": "X-Plivo-Signature-V2",
	} {
		for _, suffix := range []string{"/status", "/status/" + testKey + "x", "/answer", "/answer/" + testKey + "x"} {
			var want *seen
			for _, name := range []string{"unknown", "twilio", "plivo", "path"} {
				body := &counted{Reader: strings.NewReader("a=b")}
				r := httptest.NewRequest("POST", "/carriers/"+name+suffix, io.NopCloser(body))
				r.ContentLength = 3
				r.Header.Set("Content-Type", formType)
				if header != "" {
					r.Header.Set(header, "Bearer e30.e30.AAAA")
				}
				w := ask(h, r)
				got := &seen{w.Code, w.Body.String(), w.Header(), body.read}
				if want == nil {
					want = got
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, signed as %s, %s (-unknown +%s):\n%s", suffix, what, name, name, diff)
				}
				if reads := header != "" && !strings.Contains(suffix, testKey); got.Status != 403 || got.Read > 0 != reads {
					t.Errorf("%s, signed as %s, %s: got %d after %d bytes", suffix, what, name, got.Status, got.Read)
				}
			}
		}
	}
}

// Bodies that nobody has proven take so many places, and one address so many of them.
func TestSoManyBodiesAreReadBeforeTheyAreProven(t *testing.T) {
	t.Parallel()
	_, h, got := reports(t, configOf(t, "twilio", nil))
	var reading sync.WaitGroup
	release := make(chan struct{})
	send := func(client string) { // a body of which nothing comes
		begun := make(chan struct{}, 1)
		r := httptest.NewRequest("POST", "/carriers/way/status", io.NopCloser(readFunc(func([]byte) (int, error) {
			begun <- struct{}{}
			<-release
			return 0, io.EOF
		})))
		r.RemoteAddr = client + ":1"
		r.Header.Set("X-Twilio-Signature", "AAAA")
		reading.Go(func() { ask(h, r) })
		<-begun
	}
	status := func(client string) int {
		r := reportFrom("twilio", testPublic+"/carriers/way/status", "MessageSid=1&MessageStatus=delivered", testNow)
		r.RemoteAddr = client + ":1"
		return ask(h, r).Code
	}
	for i := range web.MaxUnproven {
		client := fmt.Sprintf("192.0.2.%d", i/web.MaxUnprovenOfOne)
		if i == web.MaxUnprovenOfOne && (status("192.0.2.0") != 503 || status("192.0.2.9") != 200) {
			t.Error("one address has all its places: it must be told to come later, and others must not")
		}
		send(client)
	}
	if got := status("192.0.2.9"); got != 503 {
		t.Errorf("all places are taken: got %d, want 503", got)
	}
	close(release)
	reading.Wait()
	if status("192.0.2.0") != 200 || len(got.receipts) != 2 {
		t.Errorf("got %d receipts, want two", len(got.receipts))
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

func TestWhatTheProviderIsAnswered(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		status int
	}{
		"it was taken":                  {nil, 200},
		"nobody knows the message":      {fmt.Errorf("receipt: %w", verify.ErrNotFound), 200},
		"the database can't be reached": {errTest, 503},
	} {
		way, h, got := reports(t, configOf(t, "twilio", nil))
		got.err = tt.err
		w := ask(h, reportFrom("twilio", way.fields(message()).Callback, "MessageSid=SM1&MessageStatus=delivered", testNow))
		if w.Code != tt.status || (w.Header().Get("Retry-After") != "") != (tt.status == 503) || len(got.receipts) != 1 {
			t.Errorf("%s: got %d, want %d", name, w.Code, tt.status)
		}
		if strings.Contains(w.Body.String(), errTest.Error()) {
			t.Errorf("%s: the answer tells why: %s", name, w.Body)
		}
	}
}

// A public URL may have a path, which a proxy strips.
func TestThePublicURLMayHaveAPath(t *testing.T) {
	t.Parallel()
	c := configOf(t, "twilio", nil)
	c.Public = testPublic + "/otp/"
	way, h, got := reports(t, c)
	target := way.fields(message()).Callback
	if want := testPublic + "/otp/carriers/way/status?m=" + testToken; target != want {
		t.Fatalf("got %s, want %s", target, want)
	}
	r := reportFrom("twilio", target, "MessageSid=SM1&MessageStatus=delivered", testNow)
	r.URL.Path, r.RequestURI = strings.TrimPrefix(r.URL.Path, "/otp"), ""
	if ask(h, r); len(got.receipts) != 1 {
		t.Errorf("got %v", got.receipts)
	}
}

// Whatever comes in, nothing breaks, and nothing that isn't signed is told.
func FuzzCallback(f *testing.F) {
	for name, s := range stories {
		for body := range s.reports {
			f.Add(name, "POST", "/status?m="+testToken, jsonType, body, "Bearer a.b.c", "AAAA", "1777896000")
			f.Add(name, "GET", "/status/"+testKey+"?"+body, formType, body, "", "", "")
		}
	}
	f.Add("plivo-voice", "POST", "/answer?m="+testToken, formType, "CallUUID=a", "", "AAAA", "n")
	f.Add("telnyx", "POST", "/status", "text/html; charset=", "{", "", "!", "99999999999999999999")
	f.Fuzz(func(t *testing.T, preset, method, rest, kind, body, bearer, signature, stamp string) {
		s, ok := stories[preset]
		if !ok || s.body == "" || method != "GET" && method != "POST" {
			return
		}
		target, err := url.Parse("/carriers/way" + rest)
		if err != nil || !strings.HasPrefix(target.Path, "/") {
			return
		}
		way, h, got := reports(t, configOf(t, preset, nil))
		way.OnAnswer(func(context.Context, string, verify.ID, int) (verify.Message, error) {
			t.Errorf("%s: somebody unsigned was told what a call says", preset)
			return message(), nil
		})
		r := httptest.NewRequest(method, "/", strings.NewReader(body))
		r.URL, r.RequestURI = target, ""
		for name, value := range map[string]string{
			"Content-Type": kind, "Authorization": bearer, "X-Twilio-Signature": signature, "Telnyx-Signature-Ed25519": signature, "Telnyx-Timestamp": stamp,
			"X-Plivo-Signature-V2": signature, "X-Plivo-Signature-V2-Nonce": stamp, "X-Plivo-Signature-V3": signature,
		} {
			r.Header.Set(name, value)
		}
		ask(h, r)
		if len(got.receipts) > 0 && way.Spec.Callback.Check != "path" {
			t.Errorf("%s: an unsigned report was taken: %v", preset, got.receipts)
		}
		if len(got.receipts) > 0 && !strings.Contains(target.Path, testKey) {
			t.Errorf("%s: a report without the secret was taken: %v", preset, got.receipts)
		}
		for _, receipt := range got.receipts {
			if receipt.Carrier != "way" || receipt.Ref == "" && receipt.Verification.IsZero() || !receipt.Delivered && receipt.Reason == verify.NoReason || len(receipt.Ref) > maxRef {
				t.Errorf("%s: got %+v", preset, receipt)
			}
		}
	})
}

// Signed or not, a report's body is read without breaking.
func FuzzReports(f *testing.F) {
	for name, s := range stories {
		for body := range s.reports {
			f.Add(name, body)
		}
	}
	f.Fuzz(func(t *testing.T, preset, body string) {
		p, ok := PresetNamed(preset)
		if !ok {
			return
		}
		c := &Carrier{Config: Config{Name: "way", Spec: p}}
		for _, kind := range []string{jsonType, formType} {
			for _, receipt := range c.receipts(reportOf("POST", "/?m="+testToken, kind, body)) {
				if !receipt.Delivered && receipt.Reason == verify.NoReason || receipt.Delivered && receipt.Reason != verify.NoReason {
					t.Errorf("got %+v", receipt)
				}
			}
		}
	})
}

// Whatever a path and a document are, what is found stands in the document.
func FuzzFind(f *testing.F) {
	for _, s := range stories {
		for _, e := range s.answers {
			f.Add(e.body, "messages.0.status")
		}
	}
	f.Add(`[[[1]]]`, "0.0.0")
	f.Add(`{"":{"":true}}`, ".")
	f.Add(`[1]`, "-1")
	f.Add(`[1]`, "99999999999999999999")
	f.Fuzz(func(t *testing.T, text, path string) {
		doc := parse([]byte(text))
		if found := find(doc, path); found != "" && doc == nil {
			t.Errorf("%q in nothing", found)
		}
		for _, rule := range usual {
			rule.fits(200, doc)
		}
		RuleSpec{Path: path, Values: []string{"1"}}.fits(404, doc)
	})
}

// An answer decides something, whatever it is, and tells nothing of what it repeats.
func FuzzJudge(f *testing.F) {
	for name, s := range stories {
		for _, e := range s.answers {
			f.Add(name, e.status, e.body)
		}
	}
	f.Fuzz(func(t *testing.T, preset string, status int, body string) {
		p, ok := PresetNamed(preset)
		if !ok || status < 200 || status > 599 {
			return
		}
		c := &Carrier{Config: Config{Spec: p, Now: func() time.Time { return testNow }}}
		ref, err := c.judge(&http.Response{StatusCode: status}, parse([]byte(body)), message())
		if err != nil {
			wantSilent(t, err.Error())
		}
		if strings.Contains(ref, testCode) || err != nil && ref != "" {
			t.Errorf("got the reference %q, %v", ref, err)
		}
	})
}

// A template of an operator's works at the start or is refused there, and what it makes is one request.
func FuzzTemplate(f *testing.F) {
	for _, name := range Presets() {
		p, _ := PresetNamed(name)
		f.Add(p.URL, p.Body, p.Headers[0].Value)
	}
	f.Add("https://x.example/{{.To}}", "{{range $i, $x := .Text}}{{$i}}{{end}}", "{{printf \"%s\" .Text}}")
	f.Fuzz(func(t *testing.T, target, body, header string) {
		if strings.Contains(body+target+header, "define") || strings.Contains(body+target+header, "template") || strings.Contains(body+target+header, "printf") || strings.Contains(body+target+header, "range") {
			return // an operator can write what never ends
		}
		s := Spec{URL: target, Body: body, Headers: []HeaderSpec{{"Content-Type", header}}}
		tmpl, err := parseTemplates(s)
		if err != nil || tmpl.try(s, Fields{Account: "a", Host: "provider.example", Region: "r", Profile: "p"}) != nil {
			return
		}
		m := message()
		r, err := tmpl.render(s, Fields{To: string(m.To), From: m.From, Text: m.Body.Reveal(), TTL: 1, Host: "provider.example"})
		if err != nil {
			return // told by its key
		}
		if strings.ContainsAny(r.header.Get("Content-Type"), "\r\n") {
			t.Errorf("got a header of two lines: %q", r.header)
		}
	})
}
