package system

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// The log says that the machine's clock is wrong once, and then once a minute; and once that it is right again.
// The gauge says by how much.
func TestAClockThatIsWrongIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var said journal
	log := slog.New(slog.NewTextHandler(&said, nil))
	var ahead, later atomic.Int64 // of the machine's wall clock, and of the log's clock
	began := time.Now()
	s, err := Open(t.Context(), Config{
		Data: t.TempDir(), Postgres: &store.Postgres{URL: storetest.Lent(t), Timeout: 10 * time.Second},
		Log: log, Outages: outage.New(log, func() time.Time { return began.Add(time.Duration(later.Load())) }),
		Machine: func() store.Reading {
			now := time.Now()
			return store.Reading{Wall: now.Round(0).Add(time.Duration(ahead.Load())), Mono: now.Sub(began)}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	const differ, wrong, right = `level=WARN msg="this machine's clock and the database's differ`, `level=ERROR msg="not ready: this machine's clock is `, `msg="this machine's clock is right again"`
	for _, test := range []struct {
		ahead time.Duration
		later time.Duration
		want  [3]int // lines of each kind so far
	}{
		{0, 0, [3]int{}},
		{2 * time.Second, 0, [3]int{1, 0, 0}},
		{2 * time.Second, time.Minute, [3]int{2, 0, 0}},
		{0, 0, [3]int{2, 0, 1}},
		{-2 * time.Second, 0, [3]int{3, 0, 1}},
		{0, 0, [3]int{3, 0, 2}},
		{-8 * time.Second, 0, [3]int{3, 1, 2}},
		{0, 0, [3]int{3, 1, 3}},
	} {
		ahead.Store(int64(test.ahead))
		later.Add(int64(test.later))
		for end := time.Now().Add(time.Minute); ; { // a step is noticed by the next group whose answer comes quickly
			s.Store.Cancel(t.Context(), "", verify.ID{})
			if skew, _ := s.Store.Clock(); (skew - test.ahead).Abs() < time.Second {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%v ahead: it isn't noticed", test.ahead)
			}
		}
		for range 50 {
			s.lookAtClock()
		}
		for range 10 { // the server looks as well, and may have looked just before
			if said.count(right) < test.want[2] {
				later.Add(int64(4 * time.Second))
				s.lookAtClock()
			}
		}
		if got := [3]int{said.count(differ), said.count(wrong), said.count(right)}; got != test.want {
			t.Fatalf("%v ahead: the log says %v times that the clocks differ, that this one is wrong, and that it is right; want %v:\n%s", test.ahead, got, test.want, &said)
		}
		metrics := httptest.NewRecorder()
		s.Operations().ServeHTTP(metrics, httptest.NewRequest("GET", "/metrics", nil))
		gauge := regexp.MustCompile(`(?m)^countersign_clock_offset_seconds (\S+)$`).FindStringSubmatch(metrics.Body.String())
		if gauge == nil {
			t.Fatal("there is no gauge")
		}
		if got, err := strconv.ParseFloat(gauge[1], 64); err != nil || (time.Duration(got*float64(time.Second))-test.ahead).Abs() > time.Second {
			t.Errorf("%v ahead: the gauge is at %s", test.ahead, gauge[1])
		}
	}
}
