package system

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
)

// A journal is a log that a test reads.
type journal struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) count(text string) int { return strings.Count(j.String(), text) }

// wait waits until the log has a text n times.
func (j *journal) wait(t *testing.T, text string, n int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); j.count(text) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log has %q %d times, want %d:\n%s", text, j.count(text), n, j)
		}
	}
}

// A file can be read, but not written: its disk is full. Every probe and every request meets that, and the
// log says it once, and then once a minute.
func TestADiskThatIsFullIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	var said journal
	log := slog.New(slog.NewTextHandler(&said, nil))
	var ahead atomic.Int64 // of the clock
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s, err := Open(t.Context(), Config{
		Data: t.TempDir(), Log: log, Outages: outage.New(log, now),
		Commit: func(_ int, commit func() error) error {
			if full.Load() {
				return errors.New("no space")
			}
			return commit()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	ready := func() int {
		w := httptest.NewRecorder()
		s.Operations().ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code
	}
	full.Store(true)
	for range 50 {
		if err := s.Store.CreateProject(t.Context(), verify.Project{ID: "p", Name: "p"}); err == nil {
			t.Fatal("it was written")
		}
		if got := ready(); got != http.StatusServiceUnavailable {
			t.Fatalf("readyz answers %d", got)
		}
	}
	const away, back = `msg="the database is away"`, `msg="the database is back"`
	if n := said.count(away); n != 1 {
		t.Errorf("the log says %d times that it is away, want once:\n%s", n, &said)
	}
	ahead.Add(int64(outage.Every))
	said.wait(t, away, 2) // by itself: nobody asks

	full.Store(false)
	for end := time.Now().Add(time.Minute); ready() != http.StatusOK; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it isn't ready again")
		}
	}
	ahead.Add(int64(10 * time.Second))
	said.wait(t, back, 1)
	for range 10 {
		ready()
	}
	if n, m := said.count(away), said.count(back); n != 2 || m != 1 {
		t.Errorf("the log says %d times that it is away and %d times that it is back, want 2 and 1:\n%s", n, m, &said)
	}
}
