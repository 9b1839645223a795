// Package sms measures text the way a phone network bills it.
//
// A message travels as 140 bytes: 160 seven-bit septets when every character is
// in the GSM default alphabet (3GPP TS 23.038 §6.2.1), otherwise 70 sixteen-bit
// units. Longer text is cut into parts, each of which gives up six bytes to say
// where it belongs, and each of which is billed. One character outside of the
// alphabet therefore more than halves the room of the whole text.
//
// National language tables are left out: few carriers offer them, and what is
// counted here must not come out longer anywhere.
package sms

// The units that one message holds, alone and as a part of several.
const (
	SingleGSM7 = 160
	PartGSM7   = 153
	SingleUCS2 = 70
	PartUCS2   = 67
)

// An Encoding is how a text is put into a message.
type Encoding int

const (
	GSM7 Encoding = iota // septets of the GSM default alphabet
	UCS2                 // UTF-16 code units, whatever the standard calls them
)

func (e Encoding) String() string {
	if e == GSM7 {
		return "GSM-7"
	}
	return "UCS-2"
}

// The default alphabet in the order of its codes, without the escape at 0x1B,
// and the characters that follow an escape. Letters with an accent are those
// of the table only: é but not ê, Ç but not ç.
const (
	alphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ" +
		" !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§" +
		"¿abcdefghijklmnopqrstuvwxyzäöñüà"
	extension = "\f^{}\\[~]|€"
)

// septets holds what each character of the alphabet costs: an extension
// character is an escape and a septet. Absent ones need UCS-2.
var septets = func() map[rune]int {
	m := make(map[rune]int, 137)
	for _, r := range alphabet {
		m[r] = 1
	}
	for _, r := range extension {
		m[r] = 2
	}
	return m
}()

// Measure returns the encoding that text needs and how many units of it: septets
// for GSM7, UTF-16 code units for UCS2, where a character outside of the basic
// plane is two. Bytes that aren't UTF-8 count as U+FFFD, which is what is sent.
//
// Text is taken as it is: an e followed by a combining accent isn't é.
func Measure(text string) (enc Encoding, units int) {
	enc = encoding(text)
	for _, r := range text {
		units += enc.units(r)
	}
	return enc, units
}

func encoding(text string) Encoding {
	for _, r := range text {
		if septets[r] == 0 {
			return UCS2
		}
	}
	return GSM7
}

// units is what one character takes. It can't be cut: a part never ends between
// an escape and its septet, nor between the halves of a surrogate pair.
func (e Encoding) units(r rune) int {
	switch {
	case e == GSM7:
		return septets[r]
	case r > 0xFFFF:
		return 2
	default:
		return 1
	}
}

// Segments returns how many messages text takes. An empty text takes one: the
// network carries and bills an empty message like any other.
func Segments(text string) int {
	enc, units := Measure(text)
	single, part := SingleGSM7, PartGSM7
	if enc == UCS2 {
		single, part = SingleUCS2, PartUCS2
	}
	if units <= single {
		return 1
	}
	segments, used := 1, 0
	for _, r := range text {
		n := enc.units(r)
		if used+n > part {
			segments, used = segments+1, 0
		}
		used += n
	}
	return segments
}

// Fits reports whether text takes at most the given number of messages.
func Fits(text string, segments int) bool { return Segments(text) <= segments }
