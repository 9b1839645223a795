package sms

import "strings"

// typography holds what word processors and phones write instead of characters of the GSM default
// alphabet, and what that alphabet has for it. Nothing in here changes what a text says.
var typography = strings.NewReplacer(pairs(map[string]string{
	"'":   "‘’‚‛′`´ʼ",
	"\"":  "“”„‟″«»",
	"-":   "‐‑‒–—―−",
	"<":   "‹",
	">":   "›",
	"*":   "•·‣",
	"...": "…",
	" ":   "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
	"\n":  "\u2028\u2029",
	"":    "\u00ad\u200b\u2060\ufeff", // a soft hyphen, and spaces that take no room
	"x":   "×",
	"/":   "⁄",
	"!":   "！",
	"?":   "？",
	",":   "，",
	":":   "：",
	"TM":  "™",
	"(c)": "©",
	"(r)": "®",
})...)

// pairs lists each character with what stands for it.
func pairs(plain map[string]string) (all []string) {
	for to, from := range plain {
		for _, r := range from {
			all = append(all, string(r), to)
		}
	}
	return all
}

// Plain returns a text with typographic characters written in the GSM default alphabet, if that makes
// all of it fit there, and no longer. Else nothing would be won, and it returns the text as it is.
func Plain(text string) string {
	if encoding(text) == GSM7 {
		return text
	}
	if plain := typography.Replace(text); encoding(plain) == GSM7 && Segments(plain) <= Segments(text) {
		return plain
	}
	return text
}
