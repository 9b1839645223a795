package store

import (
	"context"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
)

// Groups lock the phones that they want by number, and so does the deletion of phones that nobody holds:
// whatever the order in which they came, the two can't wait for each other.
func TestPhonesAreReleasedInTheOrderOfTheirNumbers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, err := Open(ctx, Options{Postgres: &Postgres{URL: pgtest.Database(t, ""), Timeout: 10 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.write.Exec(`INSERT INTO phone (number, verification, attempt, since, until) VALUES ('+2', '', 1, 1, 1), ('+1', '', 1, 1, 1)`); err != nil {
		t.Fatal(err)
	}
	group, err := s.write.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer group.Rollback()
	lock := `SELECT FROM phone WHERE number = $1 FOR UPDATE NOWAIT`
	if _, err := group.Exec(lock, "+1"); err != nil {
		t.Fatal(err)
	}
	released := make(chan error, 1)
	go func() { released <- s.releasePhones(ctx) }()
	for deadline := time.Now().Add(9 * time.Second); ; time.Sleep(time.Millisecond) {
		waits := 0
		if err := group.QueryRow(`SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		if waits > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the deletion doesn't wait for the phone that a group has locked")
		}
	}
	if _, err := group.Exec(lock, "+2"); err != nil {
		t.Errorf("the group locks its next phone: %v", err)
	}
	if err := group.Commit(); err != nil && !t.Failed() {
		t.Fatal(err)
	}
	if err := <-released; err != nil {
		t.Error(err)
	}
}
