package provider

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// again is the same request once more, as somebody who has seen it makes it.
func again(r *http.Request, body string) *http.Request {
	next := httptest.NewRequest(r.Method, r.URL.String(), strings.NewReader(body))
	next.Header = r.Header.Clone()
	return next
}

func TestACapturedSignatureOpensNothing(t *testing.T) {
	t.Parallel()
	const form = "CallUUID=a&CallStatus=in-progress&Event=StartApp&To=12025550100"
	way, h, got := reports(t, configOf(t, "plivo-voice", nil))
	a := new(asker)
	way.OnAnswer(a.words)
	r := reportFrom("plivo-voice", way.fields(message()).Answer, form, testNow)
	r.Header.Set("X-Plivo-Signature-V2-Nonce", "v2")
	if w := ask(h, r); w.Code != 200 || !strings.Contains(w.Body.String(), "4, 9") {
		t.Fatalf("the provider: got %d %s, want the words", w.Code, w.Body)
	}
	if w := ask(h, again(r, form)); w.Code != 403 || len(a.asked) != 1 {
		t.Errorf("the same again: got %d %s, want 403", w.Code, w.Body)
	}
	// A question that wasn't answered may be asked again.
	a.err = errTest
	r = reportFrom("plivo-voice", way.fields(message()).Answer, form, testNow)
	if w := ask(h, r); w.Code != 503 {
		t.Errorf("without the database: got %d, want 503", w.Code)
	}
	a.err = nil
	if w := ask(h, again(r, form)); w.Code != 200 {
		t.Errorf("the same once it is back: got %d %s, want 200", w.Code, w.Body)
	}

	if got.receipts != nil {
		t.Errorf("got receipts %v of questions", got.receipts)
	}
}

// A provider whose report we took, but whose answer got lost, sends it again. It must not hear 403: some
// providers then stop reporting.
func TestAWholeReportMayBeRepeated(t *testing.T) {
	t.Parallel()
	for preset, s := range stories {
		if p, _ := PresetNamed(preset); p.Callback.Check == "" {
			continue
		}
		for body := range s.reports {
			way, h, got := reports(t, configOf(t, preset, nil))
			r := reportFrom(preset, way.fields(message()).Callback, body, testNow)
			first := ask(h, r)
			before := slices.Clone(got.receipts)
			second := ask(h, again(r, body))
			if first.Code != 200 || second.Code != 200 || !slices.Equal(got.receipts[len(before):], before) {
				t.Errorf("%s: the report is answered %d, and again %d; receipts %v, then %v; want 200 and the same", preset, first.Code, second.Code, before, got.receipts)
			}
		}
	}
}

// A signature in another spelling is the same signature.
func TestAMarkIsWhatWasSigned(t *testing.T) {
	t.Parallel()
	for preset, respell := range map[string]func(http.Header){
		"telnyx": func(h http.Header) {
			h.Set("Telnyx-Signature-Ed25519", h.Get("Telnyx-Signature-Ed25519")[:20]+"\n"+h.Get("Telnyx-Signature-Ed25519")[20:])
		},
		"vonage-messages": func(h http.Header) { h.Set("Authorization", h.Get("Authorization")+"\r") },
	} {
		way, _, _ := reports(t, configOf(t, preset, nil))
		for body := range stories[preset].reports {
			mark := func(change func(http.Header)) string {
				r := reportFrom(preset, way.fields(message()).Callback, body, testNow)
				change(r.Header)
				rep := &report{Request: r, url: strings.TrimSuffix(way.Public, "/") + r.URL.RequestURI(), body: []byte(body)}
				if !way.prove(rep, testNow) {
					t.Fatalf("%s: not proven", preset)
				}
				return strings.Join(rep.marks, " ")
			}
			if one, other := mark(func(http.Header) {}), mark(respell); one == "" || one != other {
				t.Errorf("%s: the marks are %q and %q, want the same", preset, one, other)
			}
		}
	}
}

// Who captures version 2 of Plivo's signature could write any form to it.
func TestAnUncoveredFormNamesNoMessage(t *testing.T) {
	t.Parallel()
	way, h, got := reports(t, configOf(t, "plivo", nil))
	send := func(target, nonce string) int {
		r := httptest.NewRequest("POST", strings.TrimPrefix(target, testPublic), strings.NewReader("MessageUUID=another&Status=failed"))
		r.Header.Set("Content-Type", formType)
		base, _, _ := strings.Cut(target, "?")
		r.Header.Set("X-Plivo-Signature-V2-Nonce", nonce)
		r.Header.Set("X-Plivo-Signature-V2", base64.StdEncoding.EncodeToString(mac256([]byte(testKey), base+nonce)))
		return ask(h, r).Code
	}
	target := way.fields(message()).Callback
	if status := send(target, "1"); status != 200 || len(got.receipts) != 1 || got.receipts[0].Ref != "" || got.receipts[0].Verification != verificationID {
		t.Errorf("got %d and %v, want one receipt for the attempt that the URL names", status, got.receipts)
	}
	base, _, _ := strings.Cut(target, "?")
	if status := send(base, "2"); status != 200 || len(got.receipts) != 1 {
		t.Errorf("without an attempt: got %d and %v, want nothing more", status, got.receipts)
	}
	if status := send(target, "1"); status != 403 || len(got.receipts) != 1 {
		t.Errorf("the same nonce: got %d and %v, want 403 and nothing more", status, got.receipts)
	}
}

func TestTheLatestSignaturesAreRemembered(t *testing.T) {
	t.Parallel()
	u := newUsed(3)
	for i := range 4 {
		if !u.take([]string{fmt.Sprint(i)}) {
			t.Errorf("%d is new, and isn't taken", i)
		}
	}
	if u.take([]string{"new", "3"}) || u.take([]string{"1"}) {
		t.Error("one is taken twice")
	}
	if !u.take([]string{"new"}) {
		t.Error("what was refused beside an old one counts as taken")
	}
	if u.seen.Len() != 3 {
		t.Errorf("%d are remembered, want 3", u.seen.Len())
	}
}
