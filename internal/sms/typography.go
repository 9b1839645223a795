package sms

import "strings"

// typography maps characters of the GSM default alphabet to the typographic characters that word
// processors and phones write instead. No replacement changes the meaning of a text.
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
	"":    "\u00ad\u200b\u2060\ufeff", // a soft hyphen, and spaces without width
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

// pairs lists each typographic character followed by its replacement.
func pairs(plain map[string]string) (all []string) {
	for to, from := range plain {
		for _, r := range from {
			all = append(all, string(r), to)
		}
	}
	return all
}

// Plain returns text with typographic characters replaced by ones of the GSM default alphabet. If the
// result still wouldn't fit that alphabet, or would take more messages, Plain returns text unchanged.
func Plain(text string) string {
	if encoding(text) == GSM7 {
		return text
	}
	if plain := typography.Replace(text); encoding(plain) == GSM7 && Segments(plain) <= Segments(text) {
		return plain
	}
	return text
}
