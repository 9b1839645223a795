package v1_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/verify"
)

func TestChannelsAreThoseOfTheCountryAndTheProject(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Rules: []route.Rule{
		{Channels: []verify.Channel{verify.ChannelVoice}, Countries: []string{"DE"}},
		{Projects: []verify.ProjectID{"textless"}, Channels: []verify.Channel{verify.ChannelSMS}},
	}})
	k.AddProject(verify.Project{ID: "textless", Name: "textless", Profile: verify.ProfileCompat, Countries: []string{"DE"}}, "textless-key")
	for _, tt := range []struct{ key, to, country, sms, voice string }{
		{k.client().Key, "+4915123456789", "DE", "available", "unserved"},
		{k.client().Key, "+12025550123", "US", "available", "available"},
		{"textless-key", "+4915123456789", "DE", "unserved", "unserved"},
	} {
		c := api.Client{URL: k.URL, Key: tt.key}
		got, err := c.Channels(context.Background(), tt.to)
		want := api.Channels{To: tt.to, Country: tt.country, Channels: []api.Channel{{Channel: "sms", State: tt.sms}, {Channel: "voice", State: tt.voice}}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.to, err, diff)
		}
	}
	for _, tt := range []struct {
		key   verify.Secret
		query string
		want  string
	}{
		{"", "", "is required"},
		{"", "?to=%2B49", "is "},
		{"textless-key", "?to=%2B12025550123", "to which this project may not send"},
	} {
		p := read[api.Problem](t, k.call(tt.key, "GET", "/v1/channels"+tt.query, "", 422))
		if len(p.Errors) != 1 || p.Errors[0].Field != "to" || !strings.Contains(p.Errors[0].Message, tt.want) {
			t.Errorf("%s: got %+v, want to %s", tt.query, p.Errors, tt.want)
		}
	}
}
