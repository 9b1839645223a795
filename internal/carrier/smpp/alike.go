package smpp

import (
	"fmt"
	"strings"
)

// A likeness is the way in which a receipt's id resembles the id of a response.
type likeness int

const (
	unlike        likeness = iota
	padded                 // in case or leading zeros
	cut                    // the receipt's is cut to the 10 characters of the specification's text
	inDecimal              // the response's is hexadecimal, the receipt's decimal
	inHexadecimal          // the response's is decimal, the receipt's hexadecimal
)

const (
	// cutID is the length of ids in receipts of SMSCs that keep to appendix B of the specification.
	cutID = 10
	// maxAlike is the number of parts to one number that are compared with a receipt's id.
	maxAlike = 16
	// tailDigits are the last digits of a number. Receipts have them whether they write the number in
	// its national or its international form.
	tailDigits = 7
)

// A sentPart is a part that the SMSC accepted.
type sentPart struct {
	id       string
	shipment *shipment
}

// likenessOf compares the id of a response with that of a receipt.
func likenessOf(sent, receipted string) likeness {
	a, b := plainID(sent), plainID(receipted)
	switch {
	case a == b:
		return padded
	case len(receipted) == cutID && len(sent) > cutID && strings.EqualFold(sent[:cutID], receipted):
		return cut
	case decimal(a, 16) == b:
		return inDecimal
	case decimal(b, 16) == a:
		return inHexadecimal
	default:
		return unlike
	}
}

// plainID returns an id in lower case, without 0x and leading zeros.
func plainID(id string) string {
	return strings.TrimLeft(strings.TrimPrefix(strings.ToLower(id), "0x"), "0")
}

// otherSpellings returns the forms in which the store may know a receipt's id. Their number is bounded,
// because each one costs a query.
func otherSpellings(id string) (all []string) {
	plain := plainID(id)
	for _, other := range []string{strings.ToLower(id), strings.ToUpper(id), plain, strings.ToUpper(plain)} {
		if other != "" && other != id {
			all = append(all, other)
		}
	}
	if n := cutID - len(plain); n > 0 && plain != "" {
		all = append(all, strings.Repeat("0", n)+plain)
	}
	return all
}

// tail returns the end of a number.
func tail(number string) string { return number[max(0, len(number)-tailDigits):] }

// alike returns the one part to the receipt's number whose id resembles the receipt's. The number must agree,
// because ids that are cut or read in another base may belong to several messages. A nearer likeness counts
// more. It returns no shipment if several messages are equally near.
func (l *ledger) alike(r receipt) (found sentPart, how likeness) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range r.ends {
		parts, _ := l.toNumber.Get(tail(end))
		for _, part := range parts {
			switch as := likenessOf(part.id, r.written); {
			case as == unlike, how != unlike && as > how:
			case how == unlike, as < how:
				found, how = part, as
			case part.shipment != found.shipment:
				found.shipment = nil
			}
		}
	}
	return found, how
}

// remember notes the id of a part for alike. Callers hold mu.
func (l *ledger) remember(s *shipment, id string) {
	key := tail(s.to)
	parts, _ := l.toNumber.Get(key)
	if len(parts) == maxAlike {
		parts = parts[1:]
	}
	l.toNumber.Add(key, append(parts, sentPart{id, s}))
}

// hint tells the operator how to configure the form of ids, or is empty. Until they do, receipts of messages
// that another process sent aren't matched.
func (f IDForm) hint(sent, receipted string, how likeness) string {
	switch {
	case how == inDecimal && f == SameID:
		return fmt.Sprintf("a receipt came for %s: that is %s in decimal; set smpp.receipt_id: %s", receipted, sent, HexThenDecimal)
	case how == inHexadecimal && f == SameID:
		return fmt.Sprintf("a receipt came for %s: that is %s in hexadecimal; set smpp.receipt_id: %s", receipted, sent, DecimalThenHex)
	case f != SameID:
		return fmt.Sprintf("a receipt came for %s, and smpp.receipt_id is %s, but the response's id is written the same; set smpp.receipt_id: same", receipted, f)
	default:
		return ""
	}
}
