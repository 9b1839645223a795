package wording

import "testing"

func TestATextNamesItsOwnWebSitesOnly(t *testing.T) {
	t.Parallel()
	mine := Sites(func(host string) bool {
		return Within(host, "example.com") || Within(host, "login.example.org") || Within(host, "")
	})
	for _, text := range []string{
		"Your code is 000000", "Hi there: it's 000000!", "Acme Inc. says 000000. Don't share it...", "e.g. 000000", "It costs 3.50 or 1.234,5", "at 9 a.m. or/and 3.50/month",
		"v1.2b 000000", "Größe: 000000", "a://", "@ #", "#000000 @you", "U.S.A.",
		"example.com", "Go to https://example.com/reset.html?to=evil.com#000000 now", "http://example.com:8080", "HTTPS://WWW.EXAMPLE.COM/", "(see www.example.com/a/b.html)",
		"https://example.com.", "https://example.com, 000000", "help@example.com", "000000\n\n@login.example.org #000000", "a.login.example.org", "example.com. 000000", "example．com",
		"您的验证码是000000。请勿泄露。", "認証コード:000000。他人に教えないでください。", "Votre site example.com\u00a0: 000000",
	} {
		if mine.Foreign(text) {
			t.Errorf("%q: refused", text)
		}
	}
	for _, text := range []string{
		"https://evil.com/000000", "http://evil.com", "www.evil.com", "evil.com", "Verify at EVIL.COM/x", "evil.com:8080", "evil.c/x", "evil。com", "evil．com", "evil.ｃom",
		"https://1.2.3.4/", "1.2.3.4", "https://localhost", "https://[::1]/", "ftp://example.com/", "intent://example.com", "javascript://example.com/%0aalert(1)",
		"https://example.com@evil.com", "https://example.com:x@evil.com/", "https://example.com\\@evil.com", "https://evil.com\\@example.com", "https://evil.com/@example.com",
		"https://example.com.evil.com", "https://evilexample.com", "evilexample.com", "example.com.evil.com", "example.com-evil.com", "example.com_evil.com", "example.com@evil.com", "example.com:evil.com",
		"evil.com/example.com", "evil.com?example.com", "evil.com#example.com", "example.com evil.com", "https://example.com https://evil.com", "example.com:80@evil.com",
		"exa\u200bmple.com.\u200bevil.com", "evil\u200b.com", "evil.\u2060com", "💩.la", "bücher.example", "xn--bcher-kva.example", "пример.рф",
		"@evil.com #000000", "code\n@evil.com #000000", "code\n@evil #000000", "code\r\n @evil.com #000000 %login.example.org", "@login.example.org #1\n@evil.com #1", "evil@evil.com",
		"evil.com.x 000000", "evil.com.000000", "evil.com.1", "evil.com.\u00a0Your code 000000",
		"https://evil.com,.example.com", "https://evil.com;.example.com", "https://evil.com'.example.com", "https://evil.com:443.example.com",
		"evil.com-.example.com", "evil.com’.example.com", "evil.com\u3000.example.com", "evil.com\u200b.example.com",
		"example.org", // the site above isn't one of them
	} {
		if !mine.Foreign(text) {
			t.Errorf("%q: let through", text)
		}
	}
}
