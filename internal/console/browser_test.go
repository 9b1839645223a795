package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// requireAll says that what a test needs from outside must be there: CI sets it.
const requireAll = "COUNTERSIGN_TEST_REQUIRE"

// browser finds a browser, by the names of its program and of Debian's package, and a script that drives it.
func browser(t *testing.T, name, program string) (path, script string) {
	t.Helper()
	path, err := exec.LookPath(name)
	missing := ""
	if err != nil {
		missing = fmt.Sprintf("NOT RUN: there is no %s; install it: apt-get install %[1]s", name)
	} else if _, err := os.Stat(filepath.Join("testdata", "browser", "node_modules", "puppeteer-core")); err != nil {
		missing = "NOT RUN: there is no puppeteer-core; install it: npm ci --prefix internal/console/testdata/browser"
	}
	if missing == "" {
		return path, filepath.Join("testdata", "browser", program)
	}
	if os.Getenv(requireAll) != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return "", ""
}

// All pages can be used by keyboard and by a screen reader, in both themes, and on a phone.
func TestPagesInABrowser(t *testing.T) {
	testsize.Full(t, "looks at each page with Chromium, in about a minute")
	t.Parallel()
	chromium, script := browser(t, "chromium", "check.mjs")
	l := asked(t)
	l.id = l.Start("+12025550105", "")
	l.withUser("ada")
	l.associate("bob", "+12025550105")
	l.device("ada", verify.NewID(l.Clock.Now().Add(time.Second)), "")
	l.Clock.Advance(time.Hour) // the first page is about hours that are over
	for _, form := range []url.Values{{"country": {"LK"}}, {"carrier": {"broke"}}} {
		l.ask(&Person{Name: "ann", Role: operator.RoleAdmin}, "POST", "/stop", form)
	}
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	operators := operator.New(l.Store, keys, l.Clock.Now)
	in := NewSignIn(operators, log, "http://localhost")
	in.AddProvider(&operator.Provider{Issuer: "http://localhost:1"})
	session := member(t, l, operators, "ann")
	mux := http.NewServeMux()
	mux.Handle("/sign-in", in.Handler())
	mux.Handle("/sign-in/", in.Handler())
	mux.HandleFunc("/sign-in/sessions", func(w http.ResponseWriter, r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "countersign", Value: session.Reveal()})
		in.Handler().ServeHTTP(w, r)
	})
	mux.HandleFunc("/signed-in", func(w http.ResponseWriter, _ *http.Request) {
		show(w, http.StatusOK, signedInPage, view{Title: "Signed in"})
	})
	mux.Handle("/", Open(l.System, log))
	mux.HandleFunc("/posted/", func(w http.ResponseWriter, r *http.Request) { // a page that a form leads to
		posted := httptest.NewRequest("POST", strings.TrimPrefix(r.URL.Path, "/posted"), strings.NewReader(r.URL.RawQuery))
		posted.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		l.pages.ServeHTTP(w, posted.WithContext(WithPerson(r.Context(), Person{Name: "ann", Role: operator.RoleAdmin})))
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	ada := l.of("ada").Encode()
	paths := []string{
		"/posted/find?" + url.Values{"q": {callee}}.Encode(), "/posted/find?q=ada", "/posted/find?q=nobody", "/posted/user?" + ada, "/posted/user?" + l.of("bob").Encode(), "/posted/user/erase?" + ada,
		"/sign-in", "/sign-in/set-up", "/sign-in/sessions", "/signed-in", "/sign-in/oidc/callback", "/nothing", "/stop?country=US", "/stop?carrier=simulator"}
	for _, p := range all {
		if method, path, _ := l.requestFor(p); method == "GET" {
			paths = append(paths, path)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", append([]string{script, chromium, server.URL}, paths...)...).CombinedOutput()
	if want := fmt.Sprintf("looked at %d pages\n", 4*len(paths)); err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant only %s", err, out, want)
	}
}

// Twelve questions of operators are answered in three clicks each, by browsers of two makes: docs/console.md.
func TestTwelveQuestionsTakeThreeClicks(t *testing.T) {
	for name, make := range map[string]string{"chromium": "chrome", "firefox-esr": "firefox"} {
		t.Run(make, func(t *testing.T) {
			testsize.Full(t, "asks twelve questions with "+name+", in about half a minute")
			t.Parallel()
			path, script := browser(t, name, "questions.mjs")
			server := httptest.NewServer(Open(asked(t).System, slog.New(slog.DiscardHandler)))
			defer server.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, "node", script, make, path, server.URL).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
			page, err := os.ReadFile(filepath.Join("..", "..", "docs", "console.md"))
			if err != nil {
				t.Fatal(err)
			}
			lines := regexp.MustCompile(`(?m)^[0-3] .*$`).FindAllString(string(out), -1)
			if len(lines) != 12 {
				t.Errorf("got %d answers, want 12", len(lines))
			}
			for _, line := range lines {
				if _, question, _ := strings.Cut(line, " "); !strings.Contains(string(page), question) {
					t.Errorf("docs/console.md doesn't have %q", question)
				}
			}
		})
	}
}

// asked is a server with what the questions are about.
func asked(t *testing.T) *lobby {
	t.Helper()
	simulator := sim.New(time.Now)
	t.Cleanup(func() { simulator.Close() })
	cheap := dispatch.Line{Costs: money.Table{{Channel: "sms"}: {{Each: 10_000}}}}
	l := lobbyOf(t, countersigntest.Options{
		Carriers: []carrier.Carrier{failing{"broke", carrier.Coded("402", carrier.Because(verify.ReasonNoCredit, errors.New("no money")))}, simulator},
		Lines:    map[string]dispatch.Line{simulator.Name(): cheap}, BreakAfter: 1, Settings: verify.Settings{Prices: money.Prices{Currency: "EUR"}},
	})
	sent := func(id string) {
		l.Await("the end of the message", func() bool {
			return l.Verification(id).Delivery != verify.DeliverySending && l.Verification(id).Delivery != verify.DeliveryQueued
		})
	}
	lost := l.Start("+12025550102", "") // first by the carrier without credit, whose breaker opens
	sent(lost)
	id, err := verify.ParseID(lost)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Dispatch.Receive(t.Context(), carrier.Receipt{Verification: id, Attempt: 2, Carrier: simulator.Name(), Reason: verify.ReasonUnreachable, Code: "27"}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		sent(l.Start(fmt.Sprintf("+947123456%02d", i), ""))
		id := l.Start(fmt.Sprintf("+1202555%04d", 110+i), "")
		sent(id)
		l.Check(id, codeOf(simulator, id))
	}
	waits := l.Start("+12025550103", "")
	sent(waits)
	for range 3 {
		l.Check(waits, "000000")
	}
	sent(l.Start("+12025550101", ""))
	books, by := admin.New(l.Store), admin.User("me")
	if _, err := books.ChangeBudget(t.Context(), by, "test", admin.BudgetChange{DayMessages: new(1000), Prepaid: new(true), Currency: new(money.Currency("EUR"))}); err != nil {
		t.Fatal(err)
	}
	if _, err := books.TopUp(t.Context(), by, "test", 50_000_000, "invoice 7"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.System.Verify.CreateText(t.Context(), l.Account(), verify.TextTemplate{Name: "login", Texts: []verify.Text{{Text: "{code} is your code."}, {Locale: "de", Text: "{code} ist Ihr Code."}}}); err != nil {
		t.Fatal(err)
	}
	return l
}

// codeOf is the code in a verification's message.
func codeOf(s *sim.Simulator, id string) string {
	for _, m := range s.All() {
		if m.Verification == id {
			return m.Code
		}
	}
	return ""
}

// A passkey is a second factor beside the password, made and used in a browser. What it signed works once.
func TestPasskeysSignIn(t *testing.T) {
	testsize.Full(t, "adds and uses a passkey with Chromium")
	t.Parallel()
	chromium, script := browser(t, "chromium", "passkeys.mjs")
	l := lobbyOf(t, countersigntest.Options{})
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	operators := operator.New(l.Store, keys, l.Clock.Now)
	var site http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/advance" {
			l.Clock.Advance(25 * time.Hour)
			return
		}
		site.ServeHTTP(w, r)
	}))
	defer server.Close()
	at := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	site = Site(at, operators, nil, l.System, slog.New(slog.DiscardHandler))
	member(t, l, operators, "bob")
	session := member(t, l, operators, "ann")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", script, chromium, at, session.Reveal()).CombinedOutput()
	if got := regexp.MustCompile(`(?m)^right `).FindAllString(string(out), -1); err != nil || len(got) != 16 || strings.Contains(string(out), "FAILED") {
		t.Errorf("%d steps went right, want 16, %v\n%s", len(got), err, out)
	}
	text := strings.Join(audits(t, l), "\n")
	for _, want := range []string{"operator ann passkey add laptop", "operator ann passkey remove "} {
		if !strings.Contains(text, want) {
			t.Errorf("the audit log has no %q:\n%s", want, text)
		}
	}
}

// member makes an operator who has set up their sign-in, and returns their session.
func member(t *testing.T, l *lobby, operators *operator.Service, name string) (session verify.Secret) {
	t.Helper()
	_, link, err := admin.New(l.Store).CreateOperator(t.Context(), "me", name, operator.RoleAdmin, nil)
	if err != nil {
		t.Fatal(err)
	}
	here := operator.Client{Remote: "192.0.2.1:5"}
	_, seed, err := operators.OpenLink(t.Context(), link, here)
	if err != nil {
		t.Fatal(err)
	}
	if session, err = operators.SetUp(t.Context(), link, secretWord, verify.Secret(operator.CodeAt(seed, l.Clock.Now())), here); err != nil {
		t.Fatal(err)
	}
	return session
}
