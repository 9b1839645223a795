package verify

import (
	"slices"
	"testing"
)

// What isn't a channel has no trait of one, so that no rule takes it for one.
func TestAnUnknownChannelIsNone(t *testing.T) {
	t.Parallel()
	for _, c := range []Channel{"", "fax", "SMS", "sms "} {
		if c.Known() || c.IsCall() || c.InSegments() || c.ToDevices() || c.ToNumber() {
			t.Errorf("%q is taken for a channel: %+v", c, c.trait())
		}
	}
	if got, want := NumberChannels(), []Channel{ChannelSMS, ChannelVoice}; !slices.Equal(got, want) {
		t.Errorf("by number go %v, want %v", got, want)
	}
	for _, c := range channels {
		if !c.channel.Known() || c.channel.ToNumber() == c.channel.ToDevices() {
			t.Errorf("%q reaches both a number and devices, or neither", c.channel)
		}
	}
}
