package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// A number's failures from before there were keys stand under the form that the caller wrote. An operator who
// asks why the number waits must see them.
func TestARowUnderANumbersFormIsShown(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, err := Open(ctx, Options{Path: filepath.Join(t.TempDir(), "countersign.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const form phone.Number = "+541112345678"
	if form.Key() == form {
		t.Fatalf("%s is its own key: this shows nothing", form)
	}
	remember := func(n phone.Number, failures int) {
		t.Helper()
		err := s.w.do(op{apply: func(r *rows, _ time.Time) error {
			d := r.destination(destinationKey{"p", n})
			d.value.Failures, d.dirty = failures, true
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Destination(ctx, "p", form); !errors.Is(err, verify.ErrNoNumber) {
		t.Errorf("an unknown number: got %v, want %v", err, verify.ErrNoNumber)
	}
	remember(form, 7)
	if d, err := s.Destination(ctx, "p", form); err != nil || d.Failures != 7 {
		t.Errorf("got %d failures, %v; want those of the form, 7", d.Failures, err)
	}
	remember(form.Key(), 2)
	if d, err := s.Destination(ctx, "p", form); err != nil || d.Failures != 2 {
		t.Errorf("got %d failures, %v; want those of the key, 2", d.Failures, err)
	}
}
