package config

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/countersign/countersign/internal/web"
	"github.com/countersign/countersign/internal/yamlconf"
)

// checkConsole checks where the console is served. Sessions need TLS on the way, or no way.
func (c *Loaded) checkConsole(p *yamlconf.Problems) {
	at := c.Console
	if at.Listen == "" {
		p.Check("console.url", at.URL == "", "needs console.listen")
		return
	}
	checkAddress(p, "console.listen", at.Listen)
	for key, other := range map[string]string{"public.listen": c.Public.Listen, "operations.listen": c.Operations.Listen} {
		p.Check("console.listen", at.Listen != other || strings.HasSuffix(other, ":0"), "must not be that of %s", key)
	}
	u, err := url.Parse(at.URL)
	right := err == nil && (u.Scheme == "https" || u.Scheme == "http" && web.Loopback(u.Host)) && u.Host != "" && strings.Trim(u.Path, "/") == "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
	p.Check("console.url", at.URL == "" || right, "must be an https URL without a path, such as https://console.example.com")
	p.Check("console.listen", web.Loopback(at.Listen) || strings.HasPrefix(at.URL, "https://"), "must be an address of this machine only, such as 127.0.0.1:8082, unless console.url is https: passwords and sessions would be readable on the way")
}

// ConsoleURL is how browsers reach the console.
func (c *Loaded) ConsoleURL() string {
	return strings.TrimSuffix(cmp.Or(c.Console.URL, "http://"+c.Console.Listen), "/")
}
