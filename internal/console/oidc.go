package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/countersign/countersign/internal/operator"
)

// An oidcClient asks a company's provider who a person is, by the authorization code flow with PKCE (OpenID Connect Core
// 3.1, RFC 7636).
type oidcClient struct {
	operator.Provider
	callback string
	client   *http.Client
	cookie   http.Cookie // that carries a sign-in to the provider and back, without a value

	mu     sync.Mutex // guards what follows
	found  *oidc.Provider
	failed error     // the last discovery's
	until  time.Time // when the next one may begin
}

// AddProvider lets a provider sign people in.
func (s *SignIn) AddProvider(p *operator.Provider) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: p.RootCAs, MinVersion: tls.VersionTLS12}
	s.oidc = &oidcClient{
		Provider: *p, callback: s.at + "/sign-in/oidc/callback",
		client: &http.Client{Transport: bounded{transport, strings.HasPrefix(p.Issuer, "https:")}, Timeout: providerTimeout},
		// The provider's page leads here, so the cookie must come along from another site.
		cookie: s.newCookie("countersign-oidc", http.SameSiteLaxMode),
	}
}

const (
	// providerTimeout bounds each request to a provider.
	providerTimeout = 10 * time.Second

	// maxProviderAnswer bounds each answer of a provider, in bytes. The library reads answers whole.
	maxProviderAnswer = 1 << 20
)

// A bounded transport cuts long answers off. Requests to an https provider never leave TLS, whatever its discovery document or
// a redirect says: they carry codes and the client's secret.
type bounded struct {
	http.RoundTripper
	https bool
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.https && r.URL.Scheme != "https" {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errors.New("the provider names an address that isn't https")
	}
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxProviderAnswer)
	}
	return resp, err
}

// discover reads what the provider says of itself. It is read once: at the first sign-in, so that a provider that is away
// doesn't keep the server from starting. Those who ask soon after a failure get the same: strangers don't queue up here.
func (c *oidcClient) discover(ctx context.Context) (*oidc.Provider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found != nil {
		return c.found, nil
	}
	if time.Now().Before(c.until) {
		return nil, c.failed
	}
	limited, cancel := context.WithTimeout(oidc.ClientContext(context.WithoutCancel(ctx), c.client), providerTimeout)
	defer cancel()
	found, err := oidc.NewProvider(limited, c.Issuer)
	if err != nil {
		c.failed, c.until = fmt.Errorf("ask %s for its endpoints: %w", c.Issuer, err), time.Now().Add(discoverAgain)
		return nil, c.failed
	}
	c.found = found
	return found, nil
}

// discoverAgain is how long a failed discovery counts.
const discoverAgain = 5 * time.Second

func (c *oidcClient) oauth(p *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: c.ClientID, ClientSecret: c.Secret.Reveal(), Endpoint: p.Endpoint(), RedirectURL: c.callback, Scopes: append([]string{oidc.ScopeOpenID}, c.Scopes...)}
}

// A passage is what a browser keeps of a sign-in while the person is at the provider. State binds the answer to this
// browser, nonce binds the ID token to this sign-in, and verifier is what PKCE's challenge was made of.
type passage struct{ state, nonce, verifier string }

func newPassage() passage { return passage{rand.Text(), rand.Text(), oauth2.GenerateVerifier()} }

func (p passage) String() string { return p.state + "." + p.nonce + "." + p.verifier }

// passageOf reads what [passage.String] wrote.
func passageOf(text string) (p passage, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return p, false
	}
	return passage{parts[0], parts[1], parts[2]}, true
}

// toProvider leads to the provider's page: GET /sign-in/oidc. It is a link and no form, because the pages' policy lets
// forms lead to this server only.
func (s *SignIn) toProvider(w http.ResponseWriter, r *http.Request) {
	provider, err := s.oidc.discover(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := newPassage()
	c := s.oidc.cookie
	c.Value, c.MaxAge = p.String(), int(operator.FromProvider/time.Second)
	http.SetCookie(w, &c)
	http.Redirect(w, r, s.oidc.oauth(provider).AuthCodeURL(p.state, oidc.Nonce(p.nonce), oauth2.S256ChallengeOption(p.verifier)), http.StatusSeeOther)
}

// fromProvider is where the provider leads back to: GET /sign-in/oidc/callback?code=CODE&state=STATE. It answers with a page,
// and not with a redirect: that would still be the provider's navigation, with which browsers don't send the session.
func (s *SignIn) fromProvider(w http.ResponseWriter, r *http.Request) {
	p, ok := s.endPassage(w, r)
	if !ok {
		s.fail(w, r, operator.ErrIdentity)
		return
	}
	token, err := s.service.SignInBy(r.Context(), s.oidc.Grants, client(r), func(ctx context.Context) (operator.Identity, error) {
		if refusal := r.URL.Query().Get("error"); refusal != "" {
			return operator.Identity{}, fmt.Errorf("%w: the provider answers %q", operator.ErrIdentity, refusal)
		}
		return s.oidc.identity(ctx, r.URL.Query().Get("code"), p)
	})
	if err != nil {
		if errors.Is(err, operator.ErrIdentity) {
			s.log.WarnContext(r.Context(), "the provider didn't sign somebody in", "err", err)
		}
		s.fail(w, r, err)
		return
	}
	s.give(w, token)
	w.Header().Set("Refresh", "0;url="+home)
	show(w, http.StatusOK, signedInPage, view{Title: "Signed in"})
}

// endPassage reads what the browser kept, which works once. It is false where this browser didn't begin the sign-in that
// the provider answers, or another provider answers (RFC 9207).
func (s *SignIn) endPassage(w http.ResponseWriter, r *http.Request) (p passage, ok bool) {
	gone := s.oidc.cookie
	gone.MaxAge = -1
	http.SetCookie(w, &gone)
	kept, err := r.Cookie(s.oidc.cookie.Name)
	if err != nil {
		return p, false
	}
	q := r.URL.Query()
	p, ok = passageOf(kept.Value)
	ok = ok && subtle.ConstantTimeCompare([]byte(p.state), []byte(q.Get("state"))) == 1
	return p, ok && (!q.Has("iss") || q.Get("iss") == s.oidc.Issuer)
}

// identity trades a code for an ID token, and reads who it is about. It fails with [operator.ErrIdentity] where the provider
// refuses the code, or the token is of another sign-in.
func (c *oidcClient) identity(ctx context.Context, code string, p passage) (who operator.Identity, err error) {
	provider, err := c.discover(ctx)
	if err != nil {
		return who, err
	}
	ctx = oidc.ClientContext(ctx, c.client)
	token, err := c.oauth(provider).Exchange(ctx, code, oauth2.VerifierOption(p.verifier))
	if err != nil {
		// Other refusals are of this console, such as a wrong client secret: people didn't fail.
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) && (refused.ErrorCode == "invalid_grant" || refused.ErrorCode == "invalid_request") {
			return who, fmt.Errorf("%w: the provider refuses the code: %s", operator.ErrIdentity, refused.ErrorCode)
		}
		return who, fmt.Errorf("trade a code at %s: %w", c.Issuer, err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: c.ClientID}).Verify(ctx, raw)
	if err != nil { // the provider's keys are away, or it takes this console for another: people can't send ID tokens
		return who, fmt.Errorf("verify an ID token of %s: %w", c.Issuer, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(p.nonce)) != 1 {
		return who, fmt.Errorf("%w: the ID token is of another sign-in", operator.ErrIdentity)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return who, fmt.Errorf("%w: %v", operator.ErrIdentity, err)
	}
	if err := c.complete(ctx, provider, token, id.Subject, claims); err != nil {
		return who, err
	}
	who = operator.Identity{Issuer: id.Issuer, Subject: id.Subject, Values: c.values(claims)}
	who.Name, _ = claims[c.NameClaim].(string)
	return who, nil
}

// complete asks the provider's userinfo endpoint for the claims that the ID token doesn't have: many providers put
// them only there (OpenID Connect Core 5.4).
func (c *oidcClient) complete(ctx context.Context, provider *oidc.Provider, token *oauth2.Token, subject string, claims map[string]any) error {
	needed := []string{c.Claim, c.NameClaim}
	if c.Claim == emailClaim {
		needed = append(needed, verifiedClaim)
		if claims[verifiedClaim] == nil {
			delete(claims, emailClaim) // both are of one answer: the other's word is for its own address
		}
	}
	missing := slices.DeleteFunc(needed, func(name string) bool { return claims[name] != nil })
	if len(missing) == 0 || provider.UserInfoEndpoint() == "" {
		return nil
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return fmt.Errorf("ask %s about a person: %w", c.Issuer, err)
	}
	var more map[string]any
	if err := info.Claims(&more); err != nil || info.Subject != subject {
		return fmt.Errorf("%w: the provider tells of somebody else", operator.ErrIdentity)
	}
	for _, name := range missing {
		claims[name] = more[name]
	}
	return nil
}

// The claims of an e-mail address (OpenID Connect Core 5.1).
const emailClaim, verifiedClaim = "email", "email_verified"

// values are what grants are compared with. An e-mail address that the provider hasn't verified is none: at many
// providers, people type any address. Some providers write true as a text.
func (c *oidcClient) values(claims map[string]any) []string {
	if c.Claim == emailClaim && claims[verifiedClaim] != true && claims[verifiedClaim] != "true" {
		return nil
	}
	return texts(claims[c.Claim])
}

// texts are the values of a claim: a text, or a list of them. Whatever else it is has none.
func texts(claim any) (all []string) {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			if text, ok := one.(string); ok {
				all = append(all, text)
			}
		}
	}
	return all
}
