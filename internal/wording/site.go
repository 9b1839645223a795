package wording

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a phone makes a link of, or takes for the site that a code belongs to. A label is whatever isn't
// blank or an ASCII symbol, so that no odd character parts a site's name in two.
const label = `[^\s\x00-\x2c./:;<=>?@\[\\\]^` + "`" + `{|}~]+`

var (
	anyURL    = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://\S+`)
	plain     = regexp.MustCompile(`(?i)^https?://([^/?#@\\]+?)[.,;!)"']*(:[0-9]+)?([/?#][^@\\]*)?$`)
	boundTo   = regexp.MustCompile(`(?m)^\s*@(\S+)\s+#`) // the last line of https://wicg.github.io/sms-one-time-codes
	domain    = regexp.MustCompile(`(` + label + `(?:\.` + label + `)+)\.?(:[0-9]+)?([/?#]\S*)?`)
	fullStop  = regexp.MustCompile(`[。｡]`)
	latinStop = regexp.MustCompile(`[。｡]([a-zA-Z])`)
	ipv4      = regexp.MustCompile(`^[0-9]+(\.[0-9]+){3}$`)
)

// A Sites reports whether a web site, by its host in lower case, may be named in a text message.
type Sites func(host string) bool

// Foreign reports whether a text message names a site that it may not: in a link, in the line that lets a
// page or an app of that site read the code, or by its bare name, of which phones make a link, too.
func (s Sites) Foreign(text string) bool {
	if !mayNameSite(text) {
		return false
	}
	// What can't be seen parts a name on some phones and not on others.
	return s.namesForeign(plainly(text, -1)) || s.namesForeign(plainly(text, ' '))
}

// Within reports whether a host is a site or below it. No host is within "".
func Within(host, site string) bool {
	return site != "" && (host == site || strings.HasSuffix(host, "."+site))
}

// plainly writes a text with ASCII's space and with dots as browsers take them (UTS #46), and what can't be
// seen as something else.
func plainly(text string, unseen rune) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '．':
			return '.'
		case unicode.Is(unicode.Cf, r):
			return unseen
		case r >= utf8.RuneSelf && unicode.IsSpace(r):
			return ' '
		}
		return r
	}, text)
}

func (s Sites) namesForeign(text string) bool {
	for _, url := range anyURL.FindAllString(text, -1) {
		if host := plain.FindStringSubmatch(url); host == nil || !s.may(host[1]) {
			return true
		}
	}
	text = anyURL.ReplaceAllString(text, " ")
	for _, line := range boundTo.FindAllStringSubmatch(text, -1) {
		if !s.may(line[1]) {
			return true
		}
	}
	// An ideographic full stop ends a sentence; before a Latin letter it may be a site's dot.
	for _, t := range []string{fullStop.ReplaceAllString(text, " "), fullStop.ReplaceAllString(latinStop.ReplaceAllString(text, ".$1"), " ")} {
		for _, found := range domain.FindAllStringSubmatch(t, -1) {
			if host := site(found[1], found[3] != ""); host != "" && !s.may(host) {
				return true
			}
		}
	}
	return false
}

// mayNameSite rules out most texts quickly.
func mayNameSite(text string) bool {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '.', c == '@', c >= utf8.RuneSelf, c == ':' && strings.HasPrefix(text[i:], "://"):
			return true
		}
	}
	return false
}

// site is a name with dots without the labels at its end that can't end a site's name, or "" if it is none: a
// phone makes a link of the rest. "e.g." and "3.50" are none. Where a path follows, a letter is enough.
func site(name string, path bool) string {
	for !ipv4.MatchString(name) {
		i := strings.LastIndexByte(name, '.')
		if i < 0 {
			return ""
		}
		first, size := utf8.DecodeRuneInString(name[i+1:])
		if unicode.IsLetter(first) && (path || len(name)-i-1 > size) {
			return name
		}
		name, path = name[:i], false
	}
	return name
}

// may reports whether a site may be named, as a text writes it.
func (s Sites) may(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return webOTPHost.MatchString(host) && s(host) // a phone may end the name at any other character
}
