package store

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/verify"
)

// Older servers wrote one word for two reasons, and two for one. Their rows mean what they meant, whether they are
// read or changed.
func TestRowsOfOlderServersKeepTheirReasons(t *testing.T) {
	t.Parallel()
	for engine, o := range map[string]func() Options{
		"SQLite": func() Options { return Options{Path: filepath.Join(t.TempDir(), "countersign.db")} },
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
			if err := s.CreateProject(ctx, verify.Project{ID: "p"}); err != nil {
				t.Fatal(err)
			}
			for _, tt := range []struct {
				name     string
				approval verify.Approval
				outcome  verify.AttemptOutcome
				word     string
				want     verify.Reason
			}{
				{"nobody pressed a key", verify.ApprovalByKey, verify.AttemptRefused, "no_key", verify.ReasonNoKey},
				{"nobody pressed a key before the code", verify.ApprovalAfterKey, verify.AttemptRefused, "no_key", verify.ReasonNoKey},
				{"the keyset lacked the key", verify.ApprovalByCode, verify.AttemptDropped, "no_key", verify.ReasonKeyMissing},
				{"the trunk knew no such number", verify.ApprovalByCode, verify.AttemptRefused, "no_number", verify.ReasonInvalidNumber},
				{"a word of a newer server", verify.ApprovalByCode, verify.AttemptRefused, "sunspots", verify.ReasonUnknown},
				{"a word of today", verify.ApprovalByCode, verify.AttemptRefused, "too_many_sends", verify.ReasonTooManySends},
			} {
				id := verify.NewID(time.Now())
				v := &verify.Verification{
					ID: id, Project: "p",
					Terms:    verify.Terms{Channel: verify.ChannelVoice, To: "+12025550100", Approval: tt.approval, MaxAttempts: 3, ExpiresAt: id.Time().Add(time.Hour)},
					Code:     verify.Code{CodeMAC: []byte("m")},
					Progress: verify.Progress{Delivery: verify.DeliveryFailed, Attempt: 1},
				}
				d := verify.Delivery{Verification: id, Attempt: 1, Carrier: "c", Outcome: tt.outcome, StartedAt: id.Time(), EndedAt: id.Time()}
				if err := s.w.do(op{apply: func(r *rows, _ time.Time) error { r.insert(*v); r.ended(v, d); return nil }}); err != nil {
					t.Fatal(err)
				}
				for _, statement := range []string{`UPDATE verification SET reason = $1 WHERE id = $2`, `UPDATE delivery SET reason = $1 WHERE verification = $2`} {
					if _, err := s.write.Exec(statement, tt.word, id[:]); err != nil {
						t.Fatal(err)
					}
				}
				read, err := s.Verification(ctx, id)
				all, err2 := s.Deliveries(ctx, id)
				if err != nil || err2 != nil || len(all) != 1 {
					t.Fatalf("%s: %v, %v, %d deliveries", tt.name, err, err2, len(all))
				}
				changed, err := s.change(id, func(_ *rows, v *verify.Verification, _ time.Time) error { v.Guesses++; return nil })
				if err != nil {
					t.Fatal(err)
				}
				again, err := s.Verification(ctx, id)
				if err != nil {
					t.Fatal(err)
				}
				if read.Reason != tt.want || all[0].Reason != tt.want || changed.Reason != tt.want || again.Reason != tt.want {
					t.Errorf("%s: read %v, its attempt %v, when it changed %v, then %v; want %v", tt.name, read.Reason, all[0].Reason, changed.Reason, again.Reason, tt.want)
				}
			}
		})
	}
}
