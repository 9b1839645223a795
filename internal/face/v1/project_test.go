package v1_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

func TestAProjectReadsItsOwnBounds(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	const key = "the-key-of-another-project"
	k.AddProject(verify.Project{
		ID: "other", Name: "Other", Profile: verify.ProfileStandard, Limits: verify.Limits{Burst: 2, Interval: time.Minute, Daily: 9}, Countries: []string{"US"}, Senders: []string{"ACME"},
	}, key)
	want := api.Project{
		ID: "other", Name: "Other", Policy: "standard", MinCodeLength: 4, MaxCodeLength: 20, MaxValidFor: 600, MaxMaxAttempts: 5, SendBurst: 2, SendInterval: 60, SendDaily: 9,
		Countries: []string{"US"}, Kinds: []string{}, OnlyNumbers: []string{}, Senders: []string{"ACME"}, LinkHosts: []string{},
	}
	if diff := cmp.Diff(want, read[api.Project](t, k.call(key, "GET", "/v1/project", "", 200))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if mine := read[api.Project](t, k.call("", "GET", "/v1/project", "", 200)); mine.ID != "test" || !mine.AnyCountry || len(mine.Countries) != 0 {
		t.Errorf("the kit's own: %+v", mine)
	}
}
