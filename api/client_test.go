package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/api"
)

// answering is a server that gives its answers in turn, the last one for good.
func answering(t *testing.T, answers ...func(http.ResponseWriter)) (client *api.Client, calls *atomic.Int32) {
	t.Helper()
	calls = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer key" {
			t.Errorf("got the credentials %q", r.Header.Get("Authorization"))
		}
		n := int(calls.Add(1))
		answers[min(n, len(answers))-1](w)
	}))
	t.Cleanup(server.Close)
	return &api.Client{URL: server.URL, Key: "key"}, calls
}

func refusal(status int, retryAfter, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func right(w http.ResponseWriter) { fmt.Fprint(w, `{"id":"1","valid":true,"status":"approved"}`) }

func TestAClientTriesAgainWhereTheServerSaysWhen(t *testing.T) {
	t.Parallel()
	busy := refusal(503, "1", `{"code":"busy","detail":"too much work is waiting"}`)
	client, calls := answering(t, busy, right)
	r, err := client.Check(t.Context(), "1", "123456")
	if err != nil || !r.Valid || calls.Load() != 2 {
		t.Errorf("got %+v, %v after %d calls; want it right after the second", r, err, calls.Load())
	}

	client, calls = answering(t, busy)
	client.MaxWait = -1
	var p *api.Problem
	if _, err := client.Check(t.Context(), "1", "123456"); !errors.As(err, &p) || p.Code != "busy" || p.Status != 503 || p.RetryAfter != time.Second || calls.Load() != 1 {
		t.Errorf("without waiting: got %v (%+v) after %d calls", err, p, calls.Load())
	}

	client, calls = answering(t, refusal(429, "3600", `{"code":"too_many_guesses"}`))
	if _, err := client.Check(t.Context(), "1", "123456"); !errors.As(err, &p) || p.RetryAfter != time.Hour || calls.Load() != 1 {
		t.Errorf("a long wait: got %v after %d calls, want it told at once", err, calls.Load())
	}

	ctx, cancel := context.WithCancel(t.Context())
	client, _ = answering(t, func(w http.ResponseWriter) { cancel(); busy(w) })
	if _, err := client.Check(ctx, "1", "123456"); err == nil {
		t.Error("a caller who has gone got an answer")
	}
}

func TestAClientTellsWhatIsNoAnswerOfThisAPI(t *testing.T) {
	t.Parallel()
	for what, answer := range map[string]func(http.ResponseWriter){
		"a proxy's page": refusal(502, "", "<html>"), "a redirect": func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(302)
		},
		"another program's page": func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") },
	} {
		client, calls := answering(t, answer)
		if _, err := client.Check(t.Context(), "1", "123456"); err == nil || calls.Load() != 1 {
			t.Errorf("%s: got %v after %d calls, want an error after one", what, err, calls.Load())
		}
	}
}

func TestAClientGoesThroughAllPages(t *testing.T) {
	t.Parallel()
	page := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { fmt.Fprint(w, text) }
	}
	client, calls := answering(t, page(`{"verifications":[{"id":"1"},{"id":"2"}],"next":"2"}`), page(`{"verifications":[],"next":"3"}`), page(`{"verifications":[{"id":"3"}]}`))
	var got string
	for v, err := range client.Verifications(t.Context(), api.Filter{To: "+12025550100"}) {
		if err != nil {
			t.Fatal(err)
		}
		got += v.ID
	}
	if got != "123" || calls.Load() != 3 {
		t.Errorf("got %s by %d calls, want 123 by 3", got, calls.Load())
	}
	client, _ = answering(t, refusal(401, "", `{"code":"unauthenticated"}`))
	n := 0
	for _, err := range client.Verifications(t.Context(), api.Filter{}) {
		if n++; err == nil {
			t.Error("a refused list has no error")
		}
	}
	if n != 1 {
		t.Errorf("a refused list has %d items, want its error", n)
	}
}

// lost ends the connection before the answer, as a server does that dies.
func lost(http.ResponseWriter) { panic(http.ErrAbortHandler) }

func TestAClientKeepsTheKeyOfARequest(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // The tries come over several connections, each with a goroutine of its own.
	var keys []string
	note := func(answer func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			answer(w)
		}
	}
	sent := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return keys
	}
	inFlight := refusal(409, "1", `{"code":"idempotency_in_flight"}`)
	answers := []func(http.ResponseWriter, *http.Request){note(lost), note(inFlight), note(lost), note(right)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		answer := answers[0]
		answers = answers[1:]
		answer(w, r)
	}))
	defer server.Close()
	client := &api.Client{URL: server.URL, Key: "key"}
	r, err := client.Check(t.Context(), "1", "123456")
	got := sent()
	if err != nil || !r.Valid || len(got) != 4 {
		t.Fatalf("got %+v, %v after %d tries; want it right after the fourth", r, err, len(got))
	}
	for _, key := range got {
		if len(key) < 20 || key != got[0] {
			t.Errorf("got the keys %q, want one random key", got)
			break
		}
	}

	first := got[0]
	mu.Lock()
	keys, answers = nil, []func(http.ResponseWriter, *http.Request){note(right), note(lost), note(right), note(right)}
	mu.Unlock()
	client.Check(t.Context(), "1", "123456")
	if _, err := client.Check(api.WithIdempotencyKey(t.Context(), "order 7"), "1", "123456"); err != nil {
		t.Error(err)
	}
	client.Verification(t.Context(), "1")
	if got := sent(); len(got) != 4 || got[0] == first || got[1] != "order 7" || got[2] != "order 7" || got[3] != "" {
		t.Errorf("got the keys %q; want another random one, order 7 twice, and none for a GET", got)
	}
}

// A server that can't be reached got nothing, unless it answered before: then it may be starting again.
func TestAClientThatReachesNobodySaysSo(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	client := &api.Client{URL: server.URL, Key: "key", MaxWait: time.Hour}
	if _, err := client.Check(t.Context(), "1", "123456"); err == nil {
		t.Error("got no error")
	}
	client, calls := answering(t, lost)
	client.MaxWait = -1
	if _, err := client.Check(t.Context(), "1", "123456"); err == nil || calls.Load() != 1 {
		t.Errorf("without waiting: got %v after %d calls", err, calls.Load())
	}
}

func TestARangeBeginsWithTheFirstPage(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after := r.URL.Query().Get("after")
		mu.Lock()
		asked = append(asked, after)
		mu.Unlock()
		fmt.Fprint(w, map[string]string{"": `{"keys":[],"next":"2"}`, "2": `{"keys":[]}`}[after])
	}))
	defer server.Close()
	keys := (&api.Client{URL: server.URL}).Keys(t.Context())
	for range 2 {
		for _, err := range keys {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if got := fmt.Sprintf("%q", asked); got != `["" "2" "" "2"]` {
		t.Errorf("two ranges asked for the pages after %s", got)
	}
}

// A client waits for longer than a check may wait: else the outcome that comes last would be told to nobody.
func TestAClientOutwaitsACheck(t *testing.T) {
	t.Parallel()
	wait, _ := reflect.TypeFor[api.Check]().FieldByName("Wait")
	most, err := strconv.Atoi(wait.Tag.Get("maximum"))
	if err != nil {
		t.Fatal(err)
	}
	if least := time.Duration(most)*time.Second + 5*time.Second; api.Timeout < least {
		t.Errorf("requests end after %v, and a check may wait for %d seconds: want %v or more", api.Timeout, most, least)
	}
}
