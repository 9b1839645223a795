package sim

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

var (
	_ carrier.Asker   = (*Simulator)(nil)
	_ carrier.Limiter = (*Simulator)(nil)
)

// question is a call that asks for a key.
func question() verify.Message {
	m := message("+12025550101", "Press 1.")
	m.Channel, m.ByKey, m.Locale = verify.ChannelVoice, true, "de"
	return m
}

// A said is what an Ask returned, and when.
type said struct {
	verdict verify.Verdict
	err     error
	took    time.Duration
}

// ask starts a call, which waits for a key when ask returns. It must be called in a bubble.
func ask(s *Simulator, m verify.Message) <-chan said {
	out := make(chan said, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.Limit())
		defer cancel()
		began := time.Now()
		r, err := s.Ask(ctx, m)
		out <- said{r.Verdict, err, time.Since(began)}
	}()
	synctest.Wait()
	return out
}

func TestSomebodyPressesAKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := newSim(), question()
		id := m.ID.String()
		press := func(key byte, want error) {
			t.Helper()
			if err := s.Press(id, key); !errors.Is(err, want) {
				t.Errorf("press %c: got %v, want %v", key, err, want)
			}
		}
		asks := func(want string) {
			t.Helper()
			if got := s.Messages("")[0].Keys; got != want {
				t.Errorf("the call asks for %q, want %q", got, want)
			}
		}
		press('1', ErrNoCall)

		out := ask(s, m)
		asks("19")
		press('5', ErrKey)
		time.Sleep(time.Second)
		press('1', nil)
		press('9', ErrNotAsked) // the first one counts
		if got := <-out; got.verdict != verify.VerdictApproves || got.err != nil || got.took != time.Second {
			t.Errorf("after a 1: got %+v", got)
		}
		asks("")

		out = ask(s, m) // once more, as another attempt
		press('9', nil)
		if got := <-out; got.verdict != verify.VerdictRejects || carrier.Decision(got.err).Outcome != verify.AttemptRefused || carrier.Decision(got.err).Reason != verify.ReasonRejected {
			t.Errorf("after a 9: got %+v", got)
		}

		got := <-ask(s, m)
		if got.verdict != verify.VerdictUnanswered || carrier.Decision(got.err).Outcome != verify.AttemptRefused || carrier.Decision(got.err).Reason != verify.ReasonNoKey || got.took != 30*time.Second {
			t.Errorf("after nothing: got %+v", got)
		}
		asks("")
		press('1', ErrNotAsked)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r, err := s.Ask(ctx, m); r.Verdict != verify.NoVerdict || carrier.Decision(err).Outcome != verify.AttemptErrored {
			t.Errorf("at a shutdown: got %v, %v; want that it may be asked again", r.Verdict, err)
		}

		busy := question()
		busy.To = RefusedNumber
		if got := <-ask(s, busy); got.verdict != verify.NoVerdict || carrier.Decision(got.err).Reason.String() != "refused" {
			t.Errorf("a number that refuses: got %+v", got)
		}
		ordinary := message("+12025550101", "493817")
		send(t, s, ordinary)
		if err := s.Press(ordinary.ID.String(), '1'); !errors.Is(err, ErrNoCall) {
			t.Errorf("press a key in a text message: got %v", err)
		}
		ordinary.ID, ordinary.Channel = verify.NewID(noon), verify.ChannelVoice
		send(t, s, ordinary)
		if err := s.Press(ordinary.ID.String(), '1'); !errors.Is(err, ErrNotAsked) {
			t.Errorf("press a key in a call that tells a code: got %v", err)
		}
	})
}

func TestAKeyIsPressedOverHTTP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := newSim(), question()
		out := ask(s, m)
		path := "/simulator/messages/" + m.ID.String() + "/keys"
		post := func(path, kind, body, remote, site string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("POST", path, strings.NewReader(body))
			r.Host, r.RemoteAddr = local, remote
			r.Header.Set("Content-Type", kind)
			r.Header.Set("Sec-Fetch-Site", site)
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			return w
		}
		const form, asJSON = "application/x-www-form-urlencoded", "application/json"
		for name, tt := range map[string]struct {
			path, kind, body, remote, site string
			want                           int
		}{
			"another machine":  {path, asJSON, `{"key":"1"}`, "192.0.2.1:1", "same-origin", 403},
			"another's page":   {path, form, "key=1", here, "cross-site", 403},
			"no call":          {"/simulator/messages/x/keys", asJSON, `{"key":"1"}`, here, "none", 404},
			"another key":      {path, asJSON, `{"key":"5"}`, here, "none", 400},
			"two keys":         {path, asJSON, `{"key":"11"}`, here, "none", 400},
			"no key":           {path, form, "", here, "same-origin", 400},
			"not JSON":         {path, asJSON, "1", here, "none", 400},
			"without an end":   {path, asJSON, `{"key":"` + strings.Repeat("1", 2*maxPress) + `"}`, here, "none", 400},
			"a form like that": {path, form, "key=1&x=" + strings.Repeat("1", 2*maxPress), here, "same-origin", 400},
		} {
			if w := post(tt.path, tt.kind, tt.body, tt.remote, tt.site); w.Code != tt.want {
				t.Errorf("%s: got %d %s, want %d", name, w.Code, w.Body, tt.want)
			}
		}
		if keys := s.Messages("")[0].Pressable(); len(keys) != 2 {
			t.Errorf("the call can be answered by %q, want two keys", keys)
		}
		if w := post(path, form, "key=1", here, "same-origin"); w.Code != 303 || w.Header().Get("Location") != "/simulator" {
			t.Errorf("the page's form: got %d %s", w.Code, w.Body)
		}
		if got := <-out; got.verdict != verify.VerdictApproves {
			t.Errorf("got %+v", got)
		}
		if w := post(path, asJSON, `{"key":"1"}`, here, "none"); w.Code != 409 {
			t.Errorf("again: got %d %s, want 409", w.Code, w.Body)
		}
		if keys := s.Messages("")[0].Pressable(); keys != nil {
			t.Errorf("a call that is over can be answered by %q", keys)
		}

		out = ask(s, m)
		if w := post(path, asJSON, `{"key":"9"}`, here, ""); w.Code != 204 {
			t.Errorf("a program's: got %d %s", w.Code, w.Body)
		}
		if got := <-out; got.verdict != verify.VerdictRejects {
			t.Errorf("got %+v", got)
		}

		voice, err := speech.New(speech.Config{})
		if err != nil {
			t.Fatal(err)
		}
		want := speech.WAV(voice.Question(t.Context(), "de", "").Ask)
		if got := get(s, strings.TrimSuffix(path, "keys")+"audio", local, here).Body.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("got %d bytes of sound, want the %d of a German question", len(got), len(want))
		}
	})
}
