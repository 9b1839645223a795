package verify

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// foreignSite is what is wrong with a text of which [Project.foreignSite] is true.
const foreignSite = "names a web site that isn't the project's"

// What a phone makes a link of, or takes for the site that a code belongs to. A label is whatever isn't
// blank or an ASCII symbol, so that no odd character parts a site's name in two.
const label = `[^\s\x00-\x2c./:;<=>?@\[\\\]^` + "`" + `{|}~]+`

var (
	anyURL  = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://\S+`)
	plain   = regexp.MustCompile(`(?i)^https?://([^/?#@\\]+?)[.,;!)"']*(:[0-9]+)?([/?#][^@\\]*)?$`)
	boundTo = regexp.MustCompile(`(?m)^\s*@(\S+)\s+#`) // the last line of https://wicg.github.io/sms-one-time-codes
	domain  = regexp.MustCompile(`(` + label + `(?:\.` + label + `)+)\.?(:[0-9]+)?([/?#]\S*)?`)
	ipv4    = regexp.MustCompile(`^[0-9]+(\.[0-9]+){3}$`)
)

// foreignSite reports whether a text message names a web site that isn't the project's: in a link, in the
// line that lets a page or an app of that site read the code, or by its bare name, of which phones make a
// link, too. A caller's text comes from a sender that people trust.
func (p *Project) foreignSite(text string) bool {
	if p.AnyLink || !mayNameSite(text) {
		return false
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("．。｡", r): // dots to browsers (UTS #46)
			return '.'
		case unicode.Is(unicode.Cf, r): // can't be seen
			return -1
		}
		return r
	}, text)
	for _, url := range anyURL.FindAllString(text, -1) {
		if host := plain.FindStringSubmatch(url); host == nil || !p.owns(host[1]) {
			return true
		}
	}
	text = anyURL.ReplaceAllString(text, " ")
	for _, line := range boundTo.FindAllStringSubmatch(text, -1) {
		if !p.owns(line[1]) {
			return true
		}
	}
	for _, found := range domain.FindAllStringSubmatch(text, -1) {
		if isSite(found[1], found[3] != "") && !p.owns(found[1]) {
			return true
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

// isSite reports whether a name with dots is one of the internet, or would be taken for one because a
// path follows. "e.g." and "3.50" aren't.
func isSite(name string, path bool) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	first, size := utf8.DecodeRuneInString(last)
	return unicode.IsLetter(first) && (path || len(last) > size) || ipv4.MatchString(name)
}

// owns reports whether a web site is the project's, or below one of its.
func (p *Project) owns(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, own := range append(p.LinkHosts, p.Style.WebOTP) {
		if own != "" && (host == own || strings.HasSuffix(host, "."+own)) {
			return true
		}
	}
	return false
}
