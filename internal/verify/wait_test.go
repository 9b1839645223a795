package verify

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A vanishing is a store whose verification is gone after a few looks.
type vanishing struct {
	Store
	v     Verification
	looks int
	left  bool // its project is in another database
}

func (s *vanishing) Verification(context.Context, ID) (*Verification, error) {
	if s.looks--; s.looks < 0 {
		return nil, ErrNotFound
	}
	v := s.v
	return &v, nil
}

func (s *vanishing) Left(context.Context, ProjectID) (bool, error) { return s.left, nil }

// A check that waits for a verification that is deleted meanwhile gets what others get, unless its project has moved.
func TestACheckWhoseVerificationIsGone(t *testing.T) {
	t.Parallel()
	for left, want := range map[bool]error{false: ErrNotFound, true: ErrMoving} {
		now := time.Now()
		st := &vanishing{left: left, looks: 2}
		st.v.ID, st.v.Project, st.v.Approval, st.v.Status, st.v.ExpiresAt, st.v.MaxAttempts = NewID(now), "p", ApprovalByPrompt, StatusPending, now.Add(time.Hour), 3
		s := New(Config{Store: st, Now: time.Now})
		if out, err := s.Outcome(t.Context(), &Account{Project: Project{ID: "p"}}, st.v.ID, Entry{}, time.Minute); !errors.Is(err, want) {
			t.Errorf("the project has left: %t: got %+v, %v; want %v", left, out, err, want)
		}
	}
}
