package wording

import (
	"fmt"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/sms"
)

// Unsendable says why a text can't go out at all, "" for nothing.
func Unsendable(text string) string {
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return "has a control character"
		}
	}
	if !utf8.ValidString(text) {
		return "is not valid UTF-8"
	}
	return ""
}

// TooLong says why a text with its code is too long, "" if it isn't: it may have so many characters in a call,
// and so many segments in a message.
func TooLong(m Medium, full string, spoken, segments int) string {
	if m == Spoken {
		if utf8.RuneCountInString(full) > spoken {
			return fmt.Sprintf("is too long (maximum is %d characters with the code)", spoken)
		}
		return ""
	}
	n := sms.Segments(full)
	if n <= segments {
		return ""
	}
	enc, _ := sms.Measure(full)
	if segments > 1 {
		return fmt.Sprintf("is too long (with the code it takes %d segments of %v, maximum is %d)", n, enc, segments)
	}
	most := sms.SingleUCS2
	if enc == sms.GSM7 {
		most = sms.SingleGSM7
	}
	return fmt.Sprintf("is too long (maximum is %d characters with the code, one segment of %v)", most, enc)
}
