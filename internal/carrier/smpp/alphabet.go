package smpp

import "github.com/countersign/countersign/internal/sms"

// An Alphabet is how an SMSC reads the texts that the GSM default alphabet has. Other texts go in UCS-2.
type Alphabet string

const (
	GSM    Alphabet = ""       // a septet in each byte
	Latin1 Alphabet = "latin1" // ISO 8859-1, which the SMSC converts
	ASCII  Alphabet = "ascii"  // the SMSC converts it
	UCS2   Alphabet = "ucs2"   // all texts go in UCS-2
)

// alphabets holds the data_coding (§5.2.19) of each alphabet, and the first character behind it.
var alphabets = map[Alphabet]struct {
	coding byte
	end    rune
}{
	GSM: {codingDefault, 0}, Latin1: {3, 0x100}, ASCII: {1, 0x80}, UCS2: {codingUCS2, 0},
}

// encodeText splits and encodes a text. A text in Latin-1 or ASCII has as many parts as in the GSM alphabet,
// because phones get it in that. Therefore a character that isn't in both makes the text UCS-2.
func (c Config) encodeText(text string) (coding byte, parts [][]byte) {
	encoding, parts := sms.Split(text)
	a := alphabets[c.Alphabet]
	coding = a.coding
	if c.DataCoding != nil {
		coding = *c.DataCoding
	}
	switch {
	case encoding == sms.UCS2:
		return codingUCS2, parts
	case c.Alphabet == GSM:
		return coding, parts
	case !below(text, a.end):
		if c.Alphabet == UCS2 {
			return coding, sms.UCS2.Split(text)
		}
		return codingUCS2, sms.UCS2.Split(text)
	}
	for i, piece := range sms.GSM7.Pieces(text) {
		parts[i] = parts[i][:0]
		for _, r := range piece {
			parts[i] = append(parts[i], byte(r))
		}
	}
	return coding, parts
}

// below reports whether all characters of a text are below end.
func below(text string, end rune) bool {
	for _, r := range text {
		if r >= end {
			return false
		}
	}
	return true
}
