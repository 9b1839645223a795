// Package typed folds the characters that people type. A code or a number then reads the same whatever
// keyboard typed it, and whatever invisible characters were copied with it.
package typed

import "unicode"

// Nothing is the result of [Rune] for a character that only separates others.
const Nothing rune = -1

// Rune returns the character that r stands for. The decimal digits of all scripts and the full-width forms
// become ASCII. Spaces, dashes and invisible characters, such as the direction marks around a copied
// number, become [Nothing]. Every other character stands for itself, whatever it looks like.
func Rune(r rune) rune {
	if r > unicode.MaxASCII {
		if '\uFF01' <= r && r <= '\uFF5E' { // the full-width forms are in the order of ASCII
			return ascii(r - '\uFF01' + '!')
		}
		return other(r)
	}
	return ascii(r)
}

func ascii(r rune) rune {
	switch r {
	case ' ', '\t', '\n', '\v', '\f', '\r', '-':
		return Nothing
	}
	return r
}

func other(r rune) rune {
	const minus = '\u2212'
	if r == minus || unicode.IsSpace(r) || unicode.In(r, unicode.Pd, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
		return Nothing
	}
	return digit(r)
}

// digit returns the ASCII digit that r stands for, or r itself. It relies on Unicode assigning decimal
// digits in whole runs from zero to nine, which the tests check.
func digit(r rune) rune {
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + (r-rune(t.Lo))%10
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + (r-rune(t.Lo))%10
		}
	}
	return r
}
