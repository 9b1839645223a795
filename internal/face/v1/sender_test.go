package v1_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

func TestAProjectSendsFromItsNames(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	k.AddProject(verify.Project{ID: "acme", Name: "acme", Profile: verify.ProfileCompat, Senders: []string{"ACME", "+12025550111"}}, "acme-key")
	k.AddProject(verify.Project{ID: "other", Name: "other", Profile: verify.ProfileCompat, Senders: []string{"OTHER"}}, "other-key")
	k.AddProject(verify.Project{ID: "any", Name: "any", Profile: verify.ProfileCompat, AnySender: true, PublicText: true}, "any-key")

	for _, tt := range []struct {
		key  verify.Secret
		want api.Senders
	}{
		{"acme-key", api.Senders{Senders: []api.Sender{
			{Sender: "+12025550199", Kind: "number", Channels: []string{"sms", "voice"}, Public: true},
			{Sender: "ACME", Kind: "name", Channels: []string{"sms"}, OwnText: true},
			{Sender: "+12025550111", Kind: "number", Channels: []string{"sms", "voice"}, OwnText: true},
		}}},
		{"any-key", api.Senders{Any: true, Senders: []api.Sender{
			{Sender: "+12025550199", Kind: "number", Channels: []string{"sms", "voice"}, Public: true, OwnText: true},
		}}},
	} {
		c := api.Client{URL: k.URL, Key: tt.key.Reveal()}
		got, err := c.Senders(context.Background())
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.key.Reveal(), err, diff)
		}
	}

	v := read[api.Verification](t, k.call("acme-key", "POST", "/v1/verifications", `{"to":"`+to+`","sender":"Acme","text":"Hi: "}`, 201))
	k.Code(to, v.ID)
	if m := k.Sim.Messages(phone.Number(to)); len(m) != 1 || m[0].From != "Acme" {
		t.Errorf("got %+v, want one message from Acme", m)
	}
	k.call("any-key", "POST", "/v1/verifications", `{"to":"`+other+`","sender":"Nobodys"}`, 201)
	for _, tt := range []struct {
		key          verify.Secret
		body, wanted string
	}{
		{"acme-key", `,"sender":"OTHER"`, "is not a sender of this project"},
		{"any-key", `,"sender":"Other"`, "is not a sender of this project"},
		{"any-key", `,"sender":"acme"`, "is not a sender of this project"},
		{"other-key", `,"sender":"ABSENT"`, "is not a sender of this project"},
		{"acme-key", `,"sender":"ACME","channel":"voice"`, "is a name, and calls come from numbers only"},
		{"acme-key", `,"sender":"ACME-12345678"`, "must be a number in E.164, or a name"},
		{"acme-key", `,"sender":"ACMÉ"`, "must be a number in E.164, or a name"},
	} {
		p := read[api.Problem](t, k.call(tt.key, "POST", "/v1/verifications", `{"to":"`+to+`"`+tt.body+`}`, 422))
		if len(p.Errors) != 1 || p.Errors[0].Field != "sender" || !strings.Contains(p.Errors[0].Message, tt.wanted) {
			t.Errorf("%s: got %+v, want sender %s", tt.body, p.Errors, tt.wanted)
		}
	}
}
