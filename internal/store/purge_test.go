package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// A step that gets no answer must not end the work, nor be tried for ever.
func TestAStepThatGetsNoAnswerIsTriedAgainSmaller(t *testing.T) {
	t.Parallel()
	left, failed := 3*retainStep, 0
	err := inSteps(context.Background(), func(most int) (bool, error) {
		if left > 0 && left <= retainStep && most > 10 {
			failed++
			return false, verify.ErrNoStore
		}
		left -= min(most, left)
		return left > 0, nil
	})
	if err != nil || left != 0 || failed == 0 {
		t.Errorf("got error %v, %d rows left, %d steps that failed; want none, 0 and some", err, left, failed)
	}
	tries := 0
	if err := inSteps(context.Background(), func(int) (bool, error) { tries++; return false, verify.ErrNoStore }); !errors.Is(err, verify.ErrNoStore) || tries != stepTries {
		t.Errorf("without any answer: got %v after %d tries, want %v after %d", err, tries, verify.ErrNoStore, stepTries)
	}
}

// Numbers that have to stay are nearly all. A step must not read on until it has found enough that may go.
func TestPurgeReadsInStepsWhateverItFinds(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func() Options{
		"SQLite":     func() Options { return Options{Path: filepath.Join(t.TempDir(), "countersign.db")} },
		"PostgreSQL": func() Options { return Options{Postgres: &Postgres{URL: pgtest.Database(t, ""), Timeout: time.Minute}} },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			s, err := Open(ctx, options())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			const numbers = retainStep + 1
			key := func(i int) destinationKey {
				return destinationKey{"p", phone.Number(fmt.Sprintf("+1202%07d", 2000000+i))}
			}
			live, gone := verify.Verification{ID: verify.NewID(time.Now()), Project: "p", Code: verify.Code{CodeMAC: []byte{}}}, verify.NewID(time.Now())
			remember := op{apply: func(r *rows, _ time.Time) error {
				r.insert(live)
				for i := range numbers {
					d := r.destination(key(i))
					d.value.Latest, d.dirty = live.ID, true
				}
				r.destination(key(numbers - 1)).value.Latest = gone
				return nil
			}}
			if err := s.w.do(remember); err != nil {
				t.Fatal(err)
			}
			after := destinationKey{}
			for i, want := range []destinationKey{key(retainStep - 1), key(numbers - 1), {}} {
				if after, err = s.purgeSome(ctx, after, retainStep); err != nil || after != want {
					t.Errorf("step %d: got up to %v, %v; want %v", i+1, after, err, want)
				}
			}
			left, err := pool.One(ctx, s.upkeep, scanValue[int], `SELECT count(*) FROM destination`)
			if err != nil || left != numbers-1 {
				t.Errorf("%d numbers are left (%v), want %d", left, err, numbers-1)
			}
		})
	}
}
