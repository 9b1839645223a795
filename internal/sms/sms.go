// Package sms measures and splits texts as phone networks bill them.
//
// An SMS carries 140 bytes. If every character is in the GSM default alphabet
// (3GPP TS 23.038 §6.2.1), that is 160 characters of seven bits (septets);
// otherwise it is 70 units of sixteen bits. A longer text is split into
// segments, each of which gives up six bytes for its position and is billed
// separately. One character outside the alphabet therefore more than halves the
// room for the whole text.
//
// The package ignores national language tables: few carriers offer them, and a
// text must never take more segments than this package counts.
package sms

import (
	"encoding/binary"
	"iter"
	"slices"
	"unicode/utf16"
)

// The units that one message holds, if it is the whole text and if it is a part
// of one.
const (
	SingleGSM7 = 160
	PartGSM7   = 153
	SingleUCS2 = 70
	PartUCS2   = 67
)

// An Encoding is the representation of a text in a message.
type Encoding int

const (
	GSM7 Encoding = iota // septets of the GSM default alphabet
	UCS2                 // UTF-16 code units, although the standard says UCS-2
)

func (e Encoding) String() string {
	if e == GSM7 {
		return "GSM-7"
	}
	return "UCS-2"
}

// alphabet is the default alphabet in the order of its codes, without the
// escape at 0x1B. extension holds the characters that follow an escape, and
// extensionCodes their codes. Only some letters with accents are in the table:
// é but not ê, Ç but not ç.
const (
	alphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ" +
		" !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§" +
		"¿abcdefghijklmnopqrstuvwxyzäöñüà"
	extension      = "\f^{}\\[~]|€"
	extensionCodes = "\x0A\x14\x28\x29\x2F\x3C\x3D\x3E\x40\x65"
	escape         = 0x1B
)

// septets maps each character of the alphabet to its septets, one septet in
// each byte. An extension character takes an escape and a septet. A character
// that is missing needs UCS-2.
var septets = func() map[rune]string {
	m := make(map[rune]string, 137)
	code := byte(0)
	for _, r := range alphabet {
		if code == escape {
			code++
		}
		m[r] = string([]byte{code})
		code++
	}
	for i, r := range []rune(extension) {
		m[r] = string([]byte{escape, extensionCodes[i]})
	}
	return m
}()

// asciiSeptets is how many septets the first characters take; 0 is none.
var asciiSeptets = func() (all [128]uint8) {
	for r := range all {
		all[r] = uint8(len(septets[rune(r)]))
	}
	return all
}()

// gsm7 is how many septets a character takes; 0: it isn't in the alphabet.
func gsm7(r rune) int {
	if r < rune(len(asciiSeptets)) { // most are, and this is ten times as fast
		return int(asciiSeptets[r])
	}
	return len(septets[r])
}

// Measure returns the encoding that text needs and its length in units: septets
// for GSM7, UTF-16 code units for UCS2, of which a character outside the basic
// plane takes two. Bytes that aren't UTF-8 count as U+FFFD, which is what is
// sent.
//
// Measure doesn't normalize the text: an e followed by a combining accent isn't
// é.
func Measure(text string) (enc Encoding, units int) {
	enc = encoding(text)
	for _, r := range text {
		units += enc.units(r)
	}
	return enc, units
}

func encoding(text string) Encoding {
	for _, r := range text {
		if gsm7(r) == 0 {
			return UCS2
		}
	}
	return GSM7
}

// units returns the units that one character takes. A part never ends between
// an escape and its septet, or between the halves of a surrogate pair.
func (e Encoding) units(r rune) int {
	switch {
	case e == GSM7:
		return gsm7(r)
	case r > 0xFFFF:
		return 2
	default:
		return 1
	}
}

// cut returns the pieces of text that fit into one message each. Segments and
// Split both use it, so that the messages counted are the messages sent.
func (enc Encoding) cut(text string) iter.Seq[string] {
	units := 0
	for _, r := range text {
		units += enc.units(r)
	}
	single, part := SingleGSM7, PartGSM7
	if enc == UCS2 {
		single, part = SingleUCS2, PartUCS2
	}
	return func(yield func(string) bool) {
		start, used := 0, 0
		for i, r := range text {
			n := enc.units(r)
			if units > single && used+n > part {
				if !yield(text[start:i]) {
					return
				}
				start, used = i, 0
			}
			used += n
		}
		yield(text[start:])
	}
}

// Segments returns the number of messages that text takes. An empty text takes
// one, because networks carry and bill empty messages too.
func Segments(text string) (n int) {
	for range encoding(text).cut(text) {
		n++
	}
	return n
}

// Split returns the encoded messages that text takes: one septet in each byte
// for GSM7, high byte first for UCS2. If there are several, each leaves room for
// the six bytes (seven septets) of a [Header].
func Split(text string) (Encoding, [][]byte) {
	enc := encoding(text)
	return enc, enc.Split(text)
}

// Split is the function Split for an encoding that has all characters of text. UCS2 always has.
func (e Encoding) Split(text string) (parts [][]byte) {
	for piece := range e.cut(text) {
		parts = append(parts, e.encode(piece))
	}
	return parts
}

// Pieces returns the parts that Split encodes, as text.
func (e Encoding) Pieces(text string) []string { return slices.Collect(e.cut(text)) }

func (e Encoding) encode(text string) []byte {
	b := make([]byte, 0, 2*len(text))
	for _, r := range text {
		if e == GSM7 {
			b = append(b, septets[r]...)
			continue
		}
		for _, u := range utf16.AppendRune(nil, r) {
			b = binary.BigEndian.AppendUint16(b, u)
		}
	}
	return b
}

// MaxParts is the highest number of parts of a text, because a byte holds the
// part's number.
const MaxParts = 255

// Header returns the user data header of one part of a text, from which the
// phone joins the parts. It is the concatenation element with an 8-bit
// reference (3GPP TS 23.040 §9.2.3.24.1). Part counts from 1.
func Header(reference byte, part, parts int) []byte {
	return []byte{5, 0x00, 3, reference, byte(parts), byte(part)}
}
