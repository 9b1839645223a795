package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAConfigurationThatSendsNothingIsWarnedOf(t *testing.T) {
	t.Parallel()
	a, b := carrierConfig{Name: "a"}, carrierConfig{Name: "b"}
	for what, tt := range map[string]struct {
		c    Config
		want []string
	}{
		"nothing": {Config{}, []string{"channels: no channel has a carrier, so every start is answered 503; name a carrier in channels.sms or channels.voice"}},
		"a carrier beside": {Config{Carriers: []carrierConfig{a, b}, Channels: channelsConfig{SMS: []string{"a"}}},
			[]string{"carriers[1]: b is in no channel and in no route, so it sends nothing"}},
		"all by channels": {Config{Carriers: []carrierConfig{a, b}, Channels: channelsConfig{SMS: []string{"a"}, Voice: []string{"b"}}}, nil},
		"pushes only":     {Config{Carriers: []carrierConfig{a}, Channels: channelsConfig{Push: []string{"a"}}}, nil},
		"all by a route":  {Config{Carriers: []carrierConfig{a}, Routes: []routeConfig{{Carriers: []choiceConfig{{Name: "a"}}}}}, nil},
	} {
		if diff := cmp.Diff(tt.want, (&Loaded{Config: tt.c}).Warnings()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}
