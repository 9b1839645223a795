package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// A gateway counts the messages that it is given. It may hold its callers until they hang up.
type gateway struct {
	holds atomic.Bool

	mu   sync.Mutex // guards got
	got  map[string]int
	held map[string]bool
}

func (g *gateway) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var m receivedMessage
	json.NewDecoder(r.Body).Decode(&m)
	io.Copy(io.Discard, r.Body) // to its end: only then is it noticed that the caller hangs up
	g.mu.Lock()
	g.got[m.VerificationID]++
	g.held[m.VerificationID] = g.holds.Load()
	g.mu.Unlock()
	if g.holds.Load() {
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // or else it answers 200, which a server that is just giving up may still hear
	}
}

func (g *gateway) messages() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.got)
}

// The carrier is slow and the queue full when an operator stops the server. What hadn't left by then is sent by
// the next server, once, though a verification may cost one message only. What the carrier was given is not.
func TestAStopWithAFullQueueLosesNothing(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "waits for the seconds that a shutdown gives its carriers")
	const queue, atOnce = 40, 4
	g := &gateway{got: map[string]int{}, held: map[string]bool{}}
	slow := httptest.NewServer(g)
	t.Cleanup(slow.Close)
	in := install(t, theProgram(t), func(text string) string {
		text = regexp.MustCompile(`http://127[^"]*/messages`).ReplaceAllString(text, slow.URL)
		for key, value := range map[string]string{"timeout: 5s": "timeout: 10s"} {
			text = strings.Replace(text, "      "+key, "      "+value, 1)
		}
		for key, value := range map[string]int{"max_messages": 1, "concurrency": atOnce, "queue": queue} {
			pattern := regexp.MustCompile(`(?m)^( *` + key + `): \d+$`)
			if !pattern.MatchString(text) {
				t.Fatalf("the example has no %s", key)
			}
			text = pattern.ReplaceAllString(text, fmt.Sprintf("${1}: %d", value))
		}
		return text
	})
	g.holds.Store(true)
	p := in.serve()
	var ids []string
	for i := range queue {
		id, answer, err := in.ask(p, "sms", fmt.Sprintf(`{"to":"+1202555%04d"}`, 100+i))
		if err != nil || id == "" {
			t.Fatalf("start %d: %s, %v", i, answer, err)
		}
		ids = append(ids, id)
	}
	if !within(patience, func() bool { return g.messages() == atOnce }) {
		t.Fatalf("the carrier was given %d messages, want %d", g.messages(), atOnce)
	}
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}
	g.holds.Store(false)
	p = in.serve()
	if !within(patience, func() bool { return g.messages() == queue }) {
		t.Errorf("the carrier was given %d messages, want %d\n%s", g.messages(), queue, p.stderr)
	}
	for _, id := range ids {
		g.mu.Lock()
		n, held := g.got[id], g.held[id]
		g.mu.Unlock()
		if n != 1 {
			t.Errorf("message %s was given to the carrier %d times, want once", id, n)
		}
		if !held {
			in.wantDelivery(id, verify.StatusPending, verify.DeliverySent, "")
		} else if v := readVerifications(t, filepath.Join(in.dir, "data"))[id]; v.delivery == int(verify.DeliveryQueued) || v.delivery == int(verify.DeliverySending) {
			t.Errorf("message %s, which the carrier was given, is to be sent again: %+v", id, v)
		}
	}
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}
}
