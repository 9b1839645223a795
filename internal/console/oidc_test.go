package console

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// providerPatience is how long the provider's answer may take on a busy machine.
const providerPatience = 2 * time.Minute

// An office is a console whose people a real provider signs in.
type office struct {
	t        *testing.T
	l        *lobby
	books    *admin.Service
	at       string // the console's URL
	issuer   string
	log      lockedBuffer
	operator *operator.Service
}

// A lockedBuffer is written to by a server.
type lockedBuffer struct {
	mu  sync.Mutex // guards the buffer
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newOffice builds zitadel's example provider, which is a Go module of its own, and starts it.
func newOffice(t *testing.T) *office {
	t.Helper()
	source := filepath.Join("testdata", "provider")
	download := exec.CommandContext(t.Context(), "go", "mod", "download")
	download.Dir = source
	if err := download.Run(); err != nil {
		missing := "NOT RUN: the modules of zitadel/oidc can't be downloaded; try: go mod download, in internal/console/testdata/provider"
		if os.Getenv(requireAll) != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	program := filepath.Join(t.TempDir(), "provider")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the provider: %v\n%s", err, out)
	}
	o := &office{t: t, l: lobbyOf(t, countersigntest.Options{})}
	o.books = admin.New(o.l.Store)
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	o.operator = operator.New(o.l.Store, keys, o.l.Clock.Now)
	var site http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { site.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	o.at = server.URL

	cmd := exec.CommandContext(t.Context(), program, o.at+"/sign-in/oidc/callback")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the provider doesn't say its issuer")
	}
	o.issuer = lines.Text()
	site = Site(o.at, o.operator, &operator.Provider{
		Issuer: o.issuer, ClientID: "console", Secret: "a client secret", Scopes: []string{"profile"}, NameClaim: "preferred_username", Claim: "groups",
		Grants: operator.Grants{{Value: "sre", Role: operator.RoleAdmin}, {Value: "shop", Role: operator.RoleSupport, Projects: []verify.ProjectID{"test"}}},
	}, o.l.System, slog.New(slog.NewTextHandler(&o.log, nil)))
	return o
}

// groups says which groups the provider tells of a user.
func (o *office) groups(user string, groups ...string) {
	o.t.Helper()
	resp, err := http.PostForm(o.issuer+"groups", url.Values{"user": {user}, "groups": groups})
	if err != nil || resp.StatusCode != http.StatusOK {
		o.t.Fatalf("groups: %v %v", resp, err)
	}
	resp.Body.Close()
}

// A visitor is a browser.
type visitor struct {
	o      *office
	client *http.Client
}

func (o *office) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return &visitor{o, &http.Client{Jar: jar, Timeout: providerPatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// get returns a status, where it leads, and the page.
func (v *visitor) get(to string) (status int, location, page string) {
	v.o.t.Helper()
	return v.answer(v.client.Get(to))
}

func (v *visitor) answer(resp *http.Response, err error) (status int, location, page string) {
	v.o.t.Helper()
	if err != nil {
		v.o.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.o.t.Fatal(err)
	}
	if to, err := resp.Location(); err == nil {
		location = to.String()
	}
	return resp.StatusCode, location, string(text)
}

// answered signs in at the provider, and returns the address to which it leads back.
func (v *visitor) answered(user string) (callback string) {
	v.o.t.Helper()
	_, to, _ := v.get(v.o.at + "/sign-in/oidc")
	if asked, err := url.Parse(to); err != nil || !strings.HasPrefix(to, v.o.issuer) || asked.Query().Get("code_challenge_method") != "S256" || asked.Query().Get("nonce") == "" || asked.Query().Get("state") == "" {
		v.o.t.Fatalf("the sign-in leads to %s", to)
	}
	for to != "" && !strings.HasPrefix(to, v.o.at) {
		_, next, page := v.get(to)
		if id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(page); next == "" && id != nil {
			_, next, page = v.answer(v.client.PostForm(v.o.issuer+"login/username", url.Values{"id": {id[1]}, "username": {user}, "password": {"verysecure"}}))
		}
		if next == "" {
			v.o.t.Fatalf("the provider leads nowhere:\n%s", page)
		}
		to = next
	}
	return to
}

// sees is who the console says that the visitor is, or where it leads.
func (v *visitor) sees() string {
	v.o.t.Helper()
	status, to, page := v.get(v.o.at + "/")
	if who := regexp.MustCompile(`<div class="who">([^<]*)<br>([a-z]*)`).FindStringSubmatch(page); status == http.StatusOK && who != nil {
		return who[1] + " " + who[2]
	}
	return strings.TrimPrefix(to, v.o.at)
}

// swap changes what a browser keeps of a sign-in: state, nonce, verifier. It returns what it was.
func (v *visitor) swap(part int, value string) (was string) {
	at, _ := url.Parse(v.o.at)
	for _, c := range v.client.Jar.Cookies(at) {
		if c.Name == "countersign-oidc" {
			parts := strings.Split(c.Value, ".")
			was, parts[part] = parts[part], value
			c.Value, c.Path = strings.Join(parts, "."), "/"
			v.client.Jar.SetCookies(at, []*http.Cookie{c})
		}
	}
	return was
}

// A real provider signs people in, and its groups say what they may do. Without one there is no session.
func TestAProviderSignsPeopleIn(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "builds a provider of OpenID Connect")
	o := newOffice(t)
	ann := o.visitor()
	if _, _, page := ann.get(o.at + "/sign-in"); !strings.Contains(page, `href="/sign-in/oidc"`) {
		t.Errorf("the sign-in doesn't lead to the provider:\n%s", page)
	}

	// Nothing is granted.
	status, _, page := ann.get(ann.answered("test-user@localhost"))
	if status != http.StatusForbidden || !strings.Contains(page, "none of your groups may use this console") || ann.sees() != "/sign-in" {
		t.Errorf("without a group: got %d, and sees %q", status, ann.sees())
	}
	o.groups("id1", "staff", "sre")
	callback := ann.answered("test-user@localhost")
	status, _, page = ann.get(callback)
	if status != http.StatusOK || !strings.Contains(page, "Signed in") || ann.sees() != "test-user@localhost admin" {
		t.Fatalf("an admin: got %d, and sees %q:\n%s\n%s", status, ann.sees(), page, o.log.String())
	}
	o.refuses(ann.o.visitor(), callback, "the address in another browser")
	o.refuses(ann, callback, "the address again")

	// Another group, another role: what they were signed in as ends.
	o.groups("id1", "shop")
	again := o.visitor()
	again.get(again.answered("test-user@localhost"))
	if got := again.sees(); got != "test-user@localhost support" || ann.sees() != "/sign-in" {
		t.Errorf("as support: sees %q, and the admin's session sees %q", got, ann.sees())
	}
	if status, _, _ := again.get(o.at + "/carriers"); status != http.StatusForbidden {
		t.Errorf("an operator of one project sees the carriers: got %d", status)
	}
	// No group any more: no session, and the older one ends.
	o.groups("id1")
	last := o.visitor()
	if status, _, _ := last.get(last.answered("test-user@localhost")); status != http.StatusForbidden || last.sees() != "/sign-in" || again.sees() != "/sign-in" {
		t.Errorf("without a group any more: got %d, sees %q, and the older session %q", status, last.sees(), again.sees())
	}
	// What the provider says counts, and no command.
	if _, err := o.books.ChangeRole(t.Context(), "me", "test-user@localhost", operator.RoleAdmin, nil); err != operator.ErrProvided {
		t.Errorf("a command changes the role: got %v", err)
	}
	if _, _, err := o.books.ResetOperator(t.Context(), "me", "test-user@localhost"); err != operator.ErrProvided {
		t.Errorf("a command gives a link: got %v", err)
	}

	// A name at the provider is nobody's here.
	if _, _, err := o.books.CreateOperator(t.Context(), "me", "test-user2", operator.RoleViewer, nil); err != nil {
		t.Fatal(err)
	}
	o.groups("id2", "sre")
	bob := o.visitor()
	if status, _, page := bob.get(bob.answered("test-user2")); status != http.StatusForbidden || !strings.Contains(page, "another operator has") || bob.sees() != "/sign-in" {
		t.Errorf("another operator's name: got %d, sees %q", status, bob.sees())
	}
	got := strings.Join(audits(t, o.l), "\n")
	for _, want := range []string{
		"sign-in operator create test-user@localhost, role admin, all projects, by " + o.issuer, "operator test-user@localhost sign in from 127.0.0.1 by " + o.issuer,
		"sign-in operator role test-user@localhost, role support, projects test, by " + o.issuer,
		"sign-in sign-in refused somebody from 127.0.0.1: the provider signs them in, but nothing is granted to them",
		"sign-in sign-in refused test-user@localhost from 127.0.0.1: the provider signs them in, but nothing is granted to them",
		"sign-in sign-in refused somebody from 127.0.0.1: the provider signs them in, but the name is another operator's, or can't be one",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the audit log has no %q:\n%s", want, got)
		}
	}
}

// refuses makes sure that an address signs nobody in.
func (o *office) refuses(v *visitor, callback, what string) {
	o.t.Helper()
	before := v.sees()
	status, _, page := v.get(callback)
	if status != http.StatusForbidden || !strings.Contains(page, "begin again") || v.sees() != before {
		o.t.Errorf("%s: got %d, sees %q, saw %q before", what, status, v.sees(), before)
	}
	o.l.Clock.Advance(16 * time.Minute) // the address's wait
}

// What somebody else began, or changed on the way, signs nobody in.
func TestMixedUpSignInsAreRefused(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "builds a provider of OpenID Connect")
	o := newOffice(t)
	o.groups("id1", "sre")
	theirs := o.visitor().answered("test-user@localhost")

	ann := o.visitor()
	o.refuses(ann, theirs, "a sign-in that this browser didn't begin")
	ann.get(o.at + "/sign-in/oidc")
	o.refuses(ann, theirs, "one that another browser began, while this one is at the provider")

	own := ann.answered("test-user@localhost")
	other, _ := url.Parse(own)
	q := other.Query()
	q.Set("iss", "https://evil.example")
	other.RawQuery = q.Encode()
	o.refuses(ann, other.String(), "another provider's answer")
	o.refuses(ann, own, "after that")

	own = ann.answered("test-user@localhost")
	ann.swap(1, "another")
	o.refuses(ann, own, "an ID token with another nonce")
	own = ann.answered("test-user@localhost")
	ann.swap(2, strings.Repeat("x", 43))
	o.refuses(ann, own, "another verifier")
	own = ann.answered("test-user@localhost")
	ann.swap(0, "another")
	o.refuses(ann, own, "another state")
	code, _ := url.Parse(ann.answered("test-user@localhost"))
	q = code.Query()
	q.Del("code")
	code.RawQuery = q.Encode()
	o.refuses(ann, code.String(), "no code")
	// The code of the one, in the sign-in of the other: PKCE.
	stolen, _ := url.Parse(theirs)
	code, _ = url.Parse(ann.answered("test-user@localhost"))
	q = code.Query()
	q.Set("code", stolen.Query().Get("code"))
	code.RawQuery = q.Encode()
	o.refuses(ann, code.String(), "another browser's code")
	if all, err := o.l.Store.Operators(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("got operators %v, %v", all, err)
	}
	for _, secret := range []string{"a client secret", stolen.Query().Get("code")} {
		if strings.Contains(o.log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// Browsers come back from the provider's site with a session: its cookie doesn't go along with requests from other sites.
func TestAProviderSignsPeopleInInABrowser(t *testing.T) {
	for name, make := range map[string]string{"chromium": "chrome", "firefox-esr": "firefox"} {
		t.Run(make, func(t *testing.T) {
			t.Parallel()
			testsize.Full(t, "builds a provider of OpenID Connect, and signs in with "+name)
			path, script := browser(t, name, "provider.mjs")
			o := newOffice(t)
			o.groups("id2", "sre")
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, "node", script, make, path, o.at, "test-user2").CombinedOutput()
			if want := "test-user2admin · sessions\n"; err != nil || string(out) != want {
				t.Errorf("got %q, %v; want %q", out, err, want)
			}
		})
	}
}
