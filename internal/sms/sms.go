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

import (
	"encoding/binary"
	"iter"
	"unicode/utf16"
)

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
// and the characters that follow an escape, with their codes. Letters with an
// accent are those of the table only: é but not ê, Ç but not ç.
const (
	alphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ" +
		" !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§" +
		"¿abcdefghijklmnopqrstuvwxyzäöñüà"
	extension      = "\f^{}\\[~]|€"
	extensionCodes = "\x0A\x14\x28\x29\x2F\x3C\x3D\x3E\x40\x65"
	escape         = 0x1B
)

// septets holds what each character of the alphabet is sent as, one septet in
// each byte: an extension character is an escape and a septet. Absent ones
// need UCS-2.
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
		if septets[r] == "" {
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
		return len(septets[r])
	case r > 0xFFFF:
		return 2
	default:
		return 1
	}
}

// cut returns the encoding that text needs and the pieces of text that one
// message each holds. Segments and Split both go by it, so that what is counted
// is what is sent.
func cut(text string) (Encoding, iter.Seq[string]) {
	enc, units := Measure(text)
	single, part := SingleGSM7, PartGSM7
	if enc == UCS2 {
		single, part = SingleUCS2, PartUCS2
	}
	return enc, func(yield func(string) bool) {
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

// Segments returns how many messages text takes. An empty text takes one: the
// network carries and bills an empty message like any other.
func Segments(text string) (n int) {
	_, pieces := cut(text)
	for range pieces {
		n++
	}
	return n
}

// Fits reports whether text takes at most the given number of messages.
func Fits(text string, segments int) bool { return Segments(text) <= segments }

// Split returns the messages that text takes, encoded: one septet in each byte
// for GSM7, high byte first for UCS2. If there are several, each leaves room for
// six bytes (seven septets) that say where it belongs: see [Header].
func Split(text string) (Encoding, [][]byte) {
	enc, pieces := cut(text)
	var parts [][]byte
	for piece := range pieces {
		parts = append(parts, enc.encode(piece))
	}
	return enc, parts
}

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

// MaxParts is how many parts a text may have: they are numbered in a byte.
const MaxParts = 255

// Header is what a part of several begins with, so that a phone puts them
// together: the concatenation element with an 8-bit reference of 3GPP TS 23.040
// §9.2.3.24.1, as a whole user data header. Part counts from 1.
func Header(reference byte, part, parts int) []byte {
	return []byte{5, 0x00, 3, reference, byte(parts), byte(part)}
}
