package store

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// With the shortest retention, a server whose clock is ahead deletes a verification before it is a day old. Others
// don't take that for an older copy of the database.
func TestTheWitnessForgetsBeforeTheShortestRetention(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	const retention, ahead = 24 * time.Hour, 30 * time.Minute
	for age, want := range map[time.Duration]int{retention - ahead: 0, 22 * time.Hour: 1} {
		w := &witness{}
		w.keep(0, &verify.Verification{ID: verify.NewID(now.Add(-age))})
		if got := len(w.decisions("", now)); got != want {
			t.Errorf("%d decisions of %v ago are expected in the database, want %d", got, age, want)
		}
	}
}
