package console

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/store"
)

// A forger is a provider that says what a test has it say.
type forger struct {
	t       *testing.T
	key     *rsa.PrivateKey
	server  *httptest.Server
	site    *httptest.Server
	log     lockedBuffer
	later   atomic.Int64   // how long the test has waited for, after noon
	nonce   string         // of the sign-in, which the ID token has
	token   map[string]any // claims of the ID token, beside those that make it right
	person  map[string]any // claims of the userinfo endpoint
	other   map[string]any // of the discovery document
	refused string         // the path that answers with an error
	reason  string         // of it
	endless string         // the path that answers without an end
	written atomic.Int64   // bytes of that answer
	asked   atomic.Int64   // requests to the token endpoint
}

// mostEndless bounds an endless answer, so that a test of a server that reads all of it ends.
const mostEndless = 64 << 20

func newForger(t *testing.T, claim string) *forger {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{t: t, key: key, token: map[string]any{}, person: map[string]any{}, other: map[string]any{}}
	f.server = httptest.NewTLSServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.server.Close)

	st, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "countersign.db"), Now: func() time.Time { return noon.Add(time.Duration(f.later.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(f.server.Certificate())
	var handler http.Handler
	f.site = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(f.site.Close)
	s := NewSignIn(operator.New(st, keys, st.Now), slog.New(slog.NewTextHandler(&f.log, nil)), f.site.URL)
	s.AddProvider(&operator.Provider{
		Issuer: f.server.URL, ClientID: "console", Secret: "a client secret", NameClaim: "preferred_username", Claim: claim, RootCAs: roots,
		Grants: operator.Grants{{Value: "ann@example.com", Role: operator.RoleAdmin}},
	})
	handler = s.Handler()
	return f
}

func (f *forger) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == f.refused {
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]string{"error": f.reason})
		return
	}
	if r.URL.Path == f.endless {
		for f.written.Load() < mostEndless {
			n, err := w.Write(bytes.Repeat([]byte(" "), 1<<16))
			if f.written.Add(int64(n)); err != nil {
				return
			}
		}
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		at := f.server.URL
		answer := map[string]any{"issuer": at, "authorization_endpoint": at + "/auth", "token_endpoint": at + "/token", "userinfo_endpoint": at + "/userinfo", "jwks_uri": at + "/keys"}
		for name, value := range f.other {
			answer[name] = value
		}
		json.NewEncoder(w).Encode(answer)
	case "/keys":
		b64 := base64.RawURLEncoding
		json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "alg": "RS256", "use": "sig", "n": b64.EncodeToString(f.key.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(f.key.E)).Bytes()),
		}}})
	case "/token":
		f.asked.Add(1)
		json.NewEncoder(w).Encode(map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": f.idToken()})
	case "/userinfo":
		answer := map[string]any{"sub": "1"}
		for name, value := range f.person {
			answer[name] = value
		}
		json.NewEncoder(w).Encode(answer)
	}
}

// idToken signs what the test says.
func (f *forger) idToken() string {
	claims := map[string]any{"iss": f.server.URL, "aud": "console", "sub": "1", "nonce": f.nonce, "exp": time.Now().Add(time.Hour).Unix(), "preferred_username": "ann"}
	for name, value := range f.token {
		claims[name] = value
	}
	text, err := json.Marshal(claims)
	if err != nil {
		f.t.Error(err)
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + b64.EncodeToString(text)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, f.key, crypto.SHA256, sum[:])
	if err != nil {
		f.t.Error(err)
	}
	return signed + "." + b64.EncodeToString(signature)
}

// visit begins a sign-in in a browser of its own, and comes back from the provider with more.
func (f *forger) visit(more url.Values) (status int, page string) {
	f.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	v := &visitor{&office{t: f.t}, &http.Client{Jar: jar, Timeout: providerPatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	status, to, page := v.get(f.site.URL + "/sign-in/oidc")
	if status != http.StatusSeeOther {
		return status, page
	}
	asked, err := url.Parse(to)
	if err != nil {
		f.t.Fatal(err)
	}
	f.nonce = asked.Query().Get("nonce")
	more.Set("state", asked.Query().Get("state"))
	status, _, page = v.get(f.site.URL + "/sign-in/oidc/callback?" + more.Encode())
	return status, page
}

func code() url.Values { return url.Values{"code": {"a code"}} }

// At many providers, people choose their e-mail address. One that nobody has verified grants nothing.
func TestAnAddressThatNobodyVerifiedGrantsNothing(t *testing.T) {
	t.Parallel()
	f := newForger(t, "email")
	mine, verified := "ann@example.com", func(v any) map[string]any { return map[string]any{"email": "ann@example.com", "email_verified": v} }
	none := map[string]any{}
	for _, c := range []struct {
		what          string
		token, person map[string]any
		want          int
	}{
		{"a verified address", verified(true), none, http.StatusOK},
		{"one that is verified, in a text", verified("true"), none, http.StatusOK},
		{"a verified one at the userinfo endpoint", none, verified(true), http.StatusOK},
		{"one of which nothing is said", map[string]any{"email": mine}, none, http.StatusForbidden},
		{"one that isn't verified", verified(false), none, http.StatusForbidden},
		{"one that isn't verified, in a text", verified("false"), none, http.StatusForbidden},
		{"no word of its verification", verified([]string{"true"}), none, http.StatusForbidden},
		{"one that isn't verified, at the userinfo endpoint", none, verified(false), http.StatusForbidden},
		{"another one, which is verified", map[string]any{"email": mine}, map[string]any{"email": "eve@example.com", "email_verified": true}, http.StatusForbidden},
	} {
		f.token, f.person = c.token, c.person
		if status, page := f.visit(code()); status != c.want || c.want != http.StatusOK && !strings.Contains(page, "none of your groups") {
			t.Errorf("%s: got %d, want %d\n%s%s", c.what, status, c.want, page, f.log.String())
		}
		f.later.Add(int64(operator.SourceMemory)) // the address's failures are forgotten
	}
}

// A provider that answers without an end costs little.
func TestAnEndlessAnswerOfAProviderIsCutOff(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/.well-known/openid-configuration", "/token", "/keys", "/userinfo"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			f := newForger(t, "groups")
			f.endless = path
			if status, page := f.visit(code()); status == http.StatusOK || status == http.StatusSeeOther {
				t.Errorf("got %d\n%s", status, page)
			}
			if got := f.written.Load(); got == 0 || got >= mostEndless {
				t.Errorf("read %d bytes", got)
			}
		})
	}
}

// What a provider by TLS names without TLS gets no code and no secret.
func TestAProviderIsAskedByTLSOnly(t *testing.T) {
	t.Parallel()
	var heard atomic.Int64
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	t.Cleanup(plain.Close)
	f := newForger(t, "groups")
	f.other["token_endpoint"] = plain.URL
	if status, _ := f.visit(code()); status == http.StatusOK || heard.Load() > 0 {
		t.Errorf("got %d, and %d requests without TLS", status, heard.Load())
	}
	if !strings.Contains(f.log.String(), "isn't https") || strings.Contains(f.log.String(), "a client secret") {
		t.Errorf("the log: %s", f.log.String())
	}
}

// Where the provider refuses this console, or its keys are away, people didn't fail: their address doesn't wait, from which an admin
// signs in with a password.
func TestOnlyPeoplesFailuresCount(t *testing.T) {
	t.Parallel()
	for path, reason := range map[string]string{"/token": "invalid_client", "/keys": "temporarily_unavailable"} {
		f := newForger(t, "groups")
		f.refused, f.reason = path, reason
		for i := range 6 {
			if status, page := f.visit(code()); status != http.StatusInternalServerError {
				t.Errorf("%s, try %d: got %d\n%s", path, i+1, status, page)
			}
		}
		if strings.Contains(f.log.String(), "a client secret") {
			t.Errorf("the log: %s", f.log.String())
		}
	}
	f := newForger(t, "groups")
	f.refused, f.reason = "/token", "invalid_grant"
	for i, want := range []int{403, 403, 403, 403, 403, 429} {
		if status, _ := f.visit(code()); status != want {
			t.Errorf("a wrong code, try %d: got %d, want %d", i+1, status, want)
		}
	}
}

// A provider that refuses says why, and is asked nothing more.
func TestAProvidersRefusalIsLogged(t *testing.T) {
	t.Parallel()
	f := newForger(t, "groups")
	status, _ := f.visit(url.Values{"error": {"invalid_scope"}})
	if status != http.StatusForbidden || f.asked.Load() > 0 || !strings.Contains(f.log.String(), "invalid_scope") {
		t.Errorf("got %d, %d requests for a token, and the log: %s", status, f.asked.Load(), f.log.String())
	}
}
