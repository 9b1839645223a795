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
	if err := s.CreateProject(ctx, verify.Project{ID: "p", Name: "P", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	check := func(want int) {
		t.Helper()
		if d, err := s.Destination(ctx, "p", form); err != nil || d.Failures != want {
			t.Errorf("got %d failures, %v; want %d", d.Failures, err, want)
		}
		if all, err := s.DestinationsOf(ctx, form); err != nil || len(all) != 1 || all[0].Failures != want {
			t.Errorf("of all projects: got %+v, %v; want %d failures", all, err, want)
		}
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
	check(7)
	remember(form.Key(), 2)
	check(2) // the key's
}
