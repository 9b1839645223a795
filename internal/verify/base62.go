package verify

import "math/big"

// base62Len is how many characters the largest 16 bytes take.
const base62Len = 22

// Base62 is the id in 22 letters and digits: the form that has room in a path and needs no quoting.
// It is big-endian with the digits before the capitals and these before the small letters, so texts
// sort as ids do.
func (id ID) Base62() string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var text [base62Len]byte
	n, rest := new(big.Int).SetBytes(id[:]), new(big.Int)
	for i := len(text) - 1; i >= 0; i-- {
		n.DivMod(n, big.NewInt(62), rest)
		text[i] = digits[rest.Int64()]
	}
	return string(text[:])
}

// ParseBase62 reads the form of [ID.Base62], and no other spelling of the number. It reports false
// for all else.
func ParseBase62(s string) (id ID, ok bool) {
	if len(s) != base62Len {
		return ID{}, false
	}
	n := new(big.Int)
	for _, c := range []byte(s) {
		var digit byte
		switch {
		case '0' <= c && c <= '9':
			digit = c - '0'
		case 'A' <= c && c <= 'Z':
			digit = c - 'A' + 10
		case 'a' <= c && c <= 'z':
			digit = c - 'a' + 36
		default:
			return ID{}, false
		}
		n.Add(n.Mul(n, big.NewInt(62)), big.NewInt(int64(digit)))
	}
	if n.BitLen() > 8*len(id) { // 22 characters hold a little more than 16 bytes
		return ID{}, false
	}
	n.FillBytes(id[:])
	return id, true
}

// ParseAnyID reads either form of an id: [ID.String] or [ID.Base62].
func ParseAnyID(s string) (ID, error) {
	if id, ok := ParseBase62(s); ok {
		return id, nil
	}
	return ParseID(s)
}
