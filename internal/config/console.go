package config

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
	"github.com/countersign/countersign/internal/yamlconf"
)

// checkConsole checks where the console is served. Sessions need TLS on the way, or no way.
func (c *Loaded) checkConsole(p *yamlconf.Problems) {
	at := c.Console
	if at.Listen == "" {
		p.Check("console.url", at.URL == "", "needs console.listen")
		p.Check("console.oidc", at.OIDC.Issuer == "", "needs console.listen")
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
	c.checkOIDC(p)
}

// checkOIDC checks the provider that signs operators in, and makes it.
func (c *Loaded) checkOIDC(p *yamlconf.Problems) {
	o, key := c.Console.OIDC, "console.oidc"
	if o.Issuer == "" {
		p.Check(key+".client_id", o.ClientID == "", "needs console.oidc.issuer")
		p.Check(key+".grants", len(o.Grants) == 0, "needs console.oidc.issuer")
		return
	}
	u, err := url.Parse(o.Issuer)
	p.Check(key+".issuer", err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && web.Loopback(u.Host)) && u.User == nil && u.RawQuery == "" && u.Fragment == "", "must be an https URL without a query, such as https://login.example.com")
	p.Check(key+".issuer", c.Console.URL != "", "needs console.url, to which the provider sends people back")
	p.Check(key+".client_id", o.ClientID != "", "must not be empty: the provider says it when you register this console there")
	p.Check(key+".claim", o.Claim != "", "must name a claim of the ID token, such as groups")
	p.Check(key+".name_claim", o.NameClaim != "", "must name a claim of the ID token, such as preferred_username")
	p.Check(key+".grants", len(o.Grants) > 0, "must say what people may do: without a grant nobody gets in")
	provider := &operator.Provider{Issuer: o.Issuer, ClientID: o.ClientID, Scopes: o.Scopes, NameClaim: o.NameClaim, Claim: o.Claim, RootCAs: c.authorities(p, key+".ca_file", o.CAFile)}
	if len(o.Scopes) == 0 {
		provider.Scopes = []string{"profile"}
	}
	if o.ClientSecret != (providerSecretConfig{}) {
		var err error
		if provider.Secret, err = c.secret(secretConfig(o.ClientSecret), theirSecret); err != nil {
			p.Check(key+".client_secret", false, "%v", err)
		}
		provider.Secret = verify.Secret(strings.TrimRight(provider.Secret.Reveal(), "\r\n"))
	}
	for i, g := range o.Grants {
		at := fmt.Sprintf("%s.grants[%d]", key, i)
		p.Check(at+".value", g.Value != "", "must not be empty")
		for _, wrong := range operator.Role(g.Role).Problems() {
			p.Check(at+".role", false, "%s", wrong.Message)
		}
		grant := operator.Grant{Value: g.Value, Role: operator.Role(g.Role)}
		for _, project := range g.Projects {
			p.Check(at+".projects", verify.ProjectID(project).Valid(), "must be ids of projects")
			grant.Projects = append(grant.Projects, verify.ProjectID(project))
		}
		provider.Grants = append(provider.Grants, grant)
	}
	c.Provider = provider
}

// ConsoleURL is how browsers reach the console.
func (c *Loaded) ConsoleURL() string {
	return strings.TrimSuffix(cmp.Or(c.Console.URL, "http://"+c.Console.Listen), "/")
}
