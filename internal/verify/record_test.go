package verify

import (
	"testing"

	"github.com/countersign/countersign/internal/record"
)

// Whatever comes of a guess, the request's line of the log names the verification, also where its caller named
// only the user.
func TestARecordNamesTheVerificationThatWasGuessedAt(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	a := e.application(t)
	secret := e.associate(t, a, "kola")
	id := e.outbox.verifications[0].ID
	for _, typed := range []string{"wrong", secret, secret} { // the last one is answered with an error
		ctx, about := record.New(t.Context(), "", "")
		if out, err := e.Validate(ctx, e.acct, a.ID, "kola", Secret(typed), false); ID(about.Verification) != id {
			t.Errorf("a guess at a user's code, %+v, %v: the record has verification %x, want %v", out, err, about.Verification, id)
		}
		ctx, about = record.New(t.Context(), "", "")
		if out, err := e.Check(ctx, e.acct, id, Secret(typed)); ID(about.Verification) != id {
			t.Errorf("a guess at a code, %+v, %v: the record has verification %x, want %v", out, err, about.Verification, id)
		}
	}
}
