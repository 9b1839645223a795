package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// held takes writes only when it is let to.
type held struct {
	begun, let chan struct{}

	mu     sync.Mutex // guards writes
	writes []string
}

func (h *held) Write(p []byte) (int, error) {
	h.begun <- struct{}{}
	<-h.let
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = append(h.writes, string(p))
	return len(p), nil
}

func TestLogLinesAreWrittenTogetherInTheirOrder(t *testing.T) {
	t.Parallel()
	h := &held{begun: make(chan struct{}, 9), let: make(chan struct{})}
	w := newLineWriter(h)
	fmt.Fprintln(w, 0)
	<-h.begun
	var want strings.Builder
	for n := 1; n < 100; n++ { // none waits for the write that is under way
		fmt.Fprintln(w, n)
		fmt.Fprintln(&want, n)
	}
	close(h.let)
	w.stop()
	if len(h.writes) != 2 || h.writes[0] != "0\n" || h.writes[1] != want.String() {
		t.Errorf("got the writes %q, want the first line, then the 99 others together", h.writes)
	}
	fmt.Fprintln(w, "late")
	if got := h.writes[len(h.writes)-1]; got != "late\n" {
		t.Errorf("after stop: the last write is %q, want %q", got, "late\n")
	}
}

func TestALogThatNobodyReadsMakesItsWritersWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &held{begun: make(chan struct{}, 9), let: make(chan struct{})}
		w := newLineWriter(h)
		big := bytes.Repeat([]byte("x"), maxUnwritten)
		w.Write([]byte("first"))
		<-h.begun
		w.Write(big)
		waited := true
		go func() { w.Write([]byte("more")); waited = false }()
		synctest.Wait()
		if !waited {
			t.Error("a line was taken beyond the bound")
		}
		close(h.let)
		synctest.Wait()
		w.stop()
		if all := strings.Join(h.writes, ""); waited || all != "first"+string(big)+"more" {
			t.Errorf("in the end %d bytes were written, and the writer still waits: %v", len(all), waited)
		}
	})
}

func TestJSONLogsSayWordsAndSeconds(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, stop := newLogger(&out, "info", "json")
	log.Info("call ended", "verdict", verify.VerdictApproves, "ring", 4100*time.Millisecond, "reason", verify.ReasonBusy, "verification", verify.ID{}, "err", errors.New("no"),
		"code", verify.Secret("493817"), "status", 200)
	stop()
	_, got, _ := strings.Cut(out.String(), `"level"`)
	const want = `:"INFO","msg":"call ended","verdict":"approves","ring":4.1,"reason":"busy","verification":"00000000-0000-0000-0000-000000000000","err":"no","code":"[secret]","status":200}` + "\n"
	if got != want {
		t.Errorf("got %swant %s", got, want)
	}
}
