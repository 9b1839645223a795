package wording

import (
	"errors"
	"regexp"
	"strings"

	"github.com/countersign/countersign/internal/sms"
)

// A Style is how a project's text messages are written, and what stands at their end for phones to
// read. It counts into the segments that a text may take.
type Style struct {
	// Transliterate writes typographic characters in the GSM alphabet where that saves segments.
	Transliterate bool
	// WebOTP is the host of a web site that may read the code by itself (https://wicg.github.io/web-otp):
	// the last line is "@host #code".
	WebOTP string
	// AndroidHash names an Android app that may read the message by itself (SMS Retriever): a line
	// before that.
	AndroidHash string
}

var (
	webOTPHost  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	androidHash = regexp.MustCompile(`^[A-Za-z0-9+/]{11}$`)
)

// ParseHost reads the name of a web site.
func ParseHost(text string) (string, error) {
	if len(text) > MaxHost || !webOTPHost.MatchString(text) {
		return "", errors.New("must be a host name in lower case of at most 64 characters, such as example.com")
	}
	return text, nil
}

// MaxHost leaves the longest approved text, with the longest code twice, in one segment.
const MaxHost = 64

// Problem says what is wrong with a style, "" for nothing.
func (s Style) Problem() string {
	if _, err := ParseHost(s.WebOTP); err != nil && s.WebOTP != "" {
		return "the web site " + err.Error()
	}
	switch {
	case s.AndroidHash != "" && !androidHash.MatchString(s.AndroidHash):
		return "the Android hash must be 11 of A-Z a-z 0-9 + /"
	}
	return ""
}

// Write writes a text of a message, with the code's place in it. Calls have no style.
func (s Style) Write(m Medium, text string) string {
	if m != Written {
		return text
	}
	mark := markOf(text)
	switch {
	case s.Transliterate && mark == CodeMark:
		// The mark has no place in the alphabet; the form feed, which no template holds, does.
		const stand = "\f"
		text = strings.ReplaceAll(sms.Plain(strings.ReplaceAll(text, mark, stand)), stand, mark)
	case s.Transliterate:
		text = sms.Plain(text)
	}
	if s.AndroidHash != "" {
		text += "\n" + s.AndroidHash
	}
	if s.WebOTP != "" {
		text += "\n@" + s.WebOTP + " #" + mark
	}
	return text
}
