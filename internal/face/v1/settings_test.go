package v1_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

// A start may name an application: its settings hold where the request says nothing.
func TestAStartTakesTheSettingsOfItsApplication(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		c := k.client()
		app, err := c.CreateApplication(t.Context(), api.NewApplication{
			Name: "shop", CodeLength: new(8), ValidFor: new(120), MaxAttempts: new(2), Prefix: new("G-"), Channels: []string{"voice", "sms"},
		})
		if err != nil {
			t.Fatal(err)
		}
		type settings struct {
			Channel, Application, User string
			Length, Attempts           int
			Life                       time.Duration
		}
		of := func(v api.Verification) settings {
			return settings{v.Channel, v.Application, v.User, k.Verification(v.ID).Length, v.AttemptsRemaining, v.ExpiresAt.Sub(v.CreatedAt)}
		}
		v := k.start(to, `,"application":"`+app.ID+`"`)
		if diff := cmp.Diff(settings{"voice", app.ID, "", 8, 2, 2 * time.Minute}, of(v)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		k.Await("the call", func() bool { return len(k.Sim.Messages(to)) == 1 })
		if m := k.Sim.Messages(to)[0]; m.Channel != "voice" || !strings.Contains(m.Body, "G-") {
			t.Errorf("got the message %+v, want a call with the prefix", m)
		}
		if again := k.read(v.ID); again.Application != app.ID {
			t.Errorf("read again: application %q", again.Application)
		}
		v = k.start(other, `,"application":"`+app.ID+`","channel":"sms","code_length":5,"valid_for":60,"max_attempts":1`)
		if diff := cmp.Diff(settings{"sms", app.ID, "", 5, 1, time.Minute}, of(v)); diff != "" {
			t.Errorf("with settings of its own (-want +got):\n%s", diff)
		}
		v = k.start("+12025550102", "")
		if got := of(v); got.Application != "" || got.Channel != "sms" {
			t.Errorf("without an application: %+v", got)
		}

		// Another project's application is answered as one that isn't there.
		token := account.NewSecret()
		k.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat, PublicText: true, Countries: []string{verify.AnyCountry}}, token)
		var answers []string
		for _, id := range []string{app.ID, verify.NewID(k.Clock.Now()).String(), "what"} {
			status, _, answer := k.Call(token, "POST", "/v1/verifications", `{"to":"`+to+`","application":"`+id+`"}`)
			if answers = append(answers, answer); status != 422 || answer != answers[0] || !strings.Contains(answer, `"field":"application"`) {
				t.Errorf("application %s: got %d %s, want 422 and %s", id, status, answer, answers[0])
			}
		}
	})
}
