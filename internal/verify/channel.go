package verify

import (
	"strings"

	"github.com/countersign/countersign/internal/wording"
)

// A Channel is a way to reach a person.
type Channel string

const (
	ChannelSMS   Channel = "sms"
	ChannelVoice Channel = "voice"
	ChannelPush  Channel = "push" // to the devices of an application's user
)

// A trait is what rules ask of a channel. Another channel is another line of [channels].
type trait struct {
	channel  Channel
	call     bool // it rings the phone, says its text, and hears keys
	segments bool // its carriers bill by the segment; the others by the call, the minute or not at all
	devices  bool // it reaches a user's devices, and no number
}

var channels = [...]trait{
	{channel: ChannelSMS, segments: true},
	{channel: ChannelVoice, call: true},
	{channel: ChannelPush, devices: true},
}

// trait is what is known of the channel; of none that isn't in the table.
func (c Channel) trait() *trait {
	for i := range channels {
		if channels[i].channel == c {
			return &channels[i]
		}
	}
	return &trait{}
}

// Known reports whether there is such a channel.
func (c Channel) Known() bool { return c != "" && c.trait().channel == c }

// IsCall reports whether the channel rings a phone. What holds of calls holds of it: one at a time for a number, a
// text that is spoken, keys that are pressed.
func (c Channel) IsCall() bool { return c.trait().call }

// InSegments reports whether a message of the channel is billed by the segment.
func (c Channel) InSegments() bool { return c.trait().segments }

// ToDevices reports whether the channel reaches a user's devices, whatever their number is.
func (c Channel) ToDevices() bool { return c.trait().devices }

// ToNumber reports whether the channel reaches a number.
func (c Channel) ToNumber() bool { return c.Known() && !c.ToDevices() }

// NumberChannels are those that reach a number.
func NumberChannels() (all []Channel) {
	for _, t := range channels {
		if !t.devices {
			all = append(all, t.channel)
		}
	}
	return all
}

// medium is how its texts reach a person.
func (c Channel) medium() wording.Medium {
	if c.IsCall() {
		return wording.Spoken
	}
	return wording.Written
}

// ApprovedText is what the public sender says, and the default, with a code in it.
func ApprovedText(c Channel, code Secret) Secret {
	return Secret(strings.ReplaceAll(wording.Approved.In(c.medium()), wording.Placeholder, code.Reveal()))
}
