package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/verify"
)

// Carriers repeat their receipts, some for days: one that says nothing new writes no row, and no hint.
func TestARepeatedReceiptWritesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "countersign.db")
	for engine, o := range map[string]func() Options{
		"SQLite": func() Options { return Options{Path: path} },
		"PostgreSQL": func() Options {
			return Options{Postgres: &Postgres{URL: pgtest.Database(t, ""), Timeout: 10 * time.Second}}
		},
	} {
		t.Run(engine, func(t *testing.T) {
			ctx := context.Background()
			s, err := Open(ctx, o())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			// written is the log of all that was written, or which version of each row there is.
			written := func() string {
				t.Helper()
				if !s.postgres {
					log, err := os.ReadFile(path + "-wal")
					if err != nil {
						t.Fatal(err)
					}
					return string(log)
				}
				var versions string
				if err := s.write.QueryRow(`SELECT concat_ws(';',
					(SELECT string_agg(xmin::text || ctid::text, ' ' ORDER BY id) FROM verification),
					(SELECT string_agg(xmin::text || ctid::text, ' ' ORDER BY verification) FROM delivery),
					(SELECT string_agg(xmin::text || ctid::text, ' ' ORDER BY due, id) FROM retry))`).Scan(&versions); err != nil {
					t.Fatal(err)
				}
				return versions
			}
			if err := s.CreateProject(ctx, verify.Project{ID: "p"}); err != nil {
				t.Fatal(err)
			}
			id := verify.NewID(time.Now())
			v := verify.Verification{
				ID: id, Project: "p",
				Terms:    verify.Terms{Channel: verify.ChannelSMS, To: "+12025550100", MaxAttempts: 3, ExpiresAt: id.Time().Add(time.Hour)},
				Code:     verify.Code{CodeMAC: []byte("m"), SealedCode: []byte("s")},
				Progress: verify.Progress{Delivery: verify.DeliverySent, Attempt: 1, DueAt: id.Time().Add(time.Minute)},
			}
			d := verify.Delivery{Verification: id, Attempt: 1, Carrier: "c", Outcome: verify.AttemptAccepted, StartedAt: id.Time(), EndedAt: id.Time()}
			if err := s.w.do(op{apply: func(r *rows, _ time.Time) error { r.insert(v); r.ended(&v, d); return nil }}); err != nil {
				t.Fatal(err)
			}
			failed := verify.Receipt{Verification: id, Attempt: 1, Reason: verify.ReasonUnreachable, Retry: true}
			late := verify.Receipt{Verification: id, Attempt: 2, Delivered: true} // of an attempt that there isn't
			delivered := verify.Receipt{Verification: id, Attempt: 1, Delivered: true}
			for _, step := range []struct {
				name string
				verify.Receipt
				news bool
			}{
				{"of no attempt, while a receipt is awaited", late, false},
				{"failed", failed, true}, {"failed again", failed, false}, {"and again", failed, false},
				{"delivered", delivered, true}, {"delivered again", delivered, false}, {"failed after that", failed, false},
			} {
				before := written()
				_, received, err := s.Receive(ctx, step.Receipt)
				if err != nil || (received != nil) != step.news {
					t.Fatalf("%s: %v, %v; want news %t", step.name, received, err, step.news)
				}
				if changed := written() != before; changed != step.news {
					t.Errorf("%s: something was written: %t, want %t", step.name, changed, step.news)
				}
			}
		})
	}
}
