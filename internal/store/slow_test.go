package store_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// A change that waits too long for another transaction's lock is no outage: the database is ready, and the operations
// behind the change are carried out.
func TestALockThatIsHeldIsNoOutage(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	s := replica(t, url, func(o *store.Options) { o.Postgres.Writers = 1 })
	p := verify.Project{ID: "held", Name: "Held", Profile: verify.ProfileCompat}
	if err := s.CreateProject(ctx, p); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`SELECT FROM project WHERE id = 'held' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	changed, canceled := make(chan error, 1), make(chan error, 1)
	go func() { changed <- s.UpdateProject(ctx, p) }()
	for deadline, waits := time.Now().Add(time.Minute), false; !waits; {
		if err := db.QueryRow(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())`).Scan(&waits); err != nil || time.Now().After(deadline) {
			t.Fatalf("the change doesn't wait for the lock: %v", err)
		}
	}
	go func() { canceled <- s.Cancel(ctx, p.ID, verify.NewID(time.Now())) }()
	if err := <-changed; !errors.Is(err, verify.ErrNoStore) {
		t.Fatalf("the change: got %v, want %v", err, verify.ErrNoStore)
	}
	if err := s.Ready(ctx); err != nil {
		t.Errorf("the database isn't ready: %v", err)
	}
	if err := <-canceled; !errors.Is(err, verify.ErrNotFound) {
		t.Errorf("the operation behind the change: got %v, want %v", err, verify.ErrNotFound)
	}
}
