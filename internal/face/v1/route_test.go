package v1_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/verify"
)

// Asking again doesn't help where no route leads to a number. So the answer is no 503, and names the field.
func TestANumberThatNoRouteServes(t *testing.T) {
	t.Parallel()
	const french, british = "+33140205050", "+442079460018"
	k := newKit(t, countersigntest.Options{Rules: []route.Rule{{Countries: []string{"FR"}}, {Countries: []string{"GB"}, Channels: []verify.Channel{verify.ChannelVoice}}}})
	app := read[api.Application](t, k.call("", "POST", "/v1/applications", `{"name":"shop"}`, 201))
	started := k.start(british, "")
	k.sent(started.ID, 1)
	k.Advance(30 * time.Second)
	for _, c := range []struct{ path, body, field string }{
		{"/v1/verifications", `{"to":"` + french + `"}`, "to"},
		{"/v1/verifications", `{"to":"` + british + `","channel":"voice"}`, "to"},
		{"/v1/verifications/" + started.ID + "/resend", `{"channel":"voice"}`, "to"},
		{"/v1/applications/" + app.ID + "/users", `{"user":"ada","number":"` + french + `"}`, "number"},
	} {
		p := read[api.Problem](t, k.call("", "POST", c.path, c.body, 422))
		want := []api.FieldProblem{{Field: c.field, Message: "is in a country or network to which no carrier of this server sends"}}
		if diff := cmp.Diff(want, p.Errors); diff != "" || p.Code != "number_not_served" {
			t.Errorf("%s %s: the code %s, errors (-want +got):\n%s", c.path, c.body, p.Code, diff)
		}
	}
}
