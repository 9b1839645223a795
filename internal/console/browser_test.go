package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// requireAll says that what a test needs from outside must be there: CI sets it.
const requireAll = "COUNTERSIGN_TEST_REQUIRE"

// browser finds Chromium and the program that drives it.
func browser(t *testing.T) (chromium, script string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	missing := ""
	if err != nil {
		missing = "NOT RUN: there is no chromium; install it: apt-get install chromium"
	} else if _, err := os.Stat(filepath.Join("testdata", "browser", "node_modules", "playwright-core")); err != nil {
		missing = "NOT RUN: there is no playwright-core; install it: npm ci --prefix internal/console/testdata/browser"
	}
	if missing == "" {
		return chromium, filepath.Join("testdata", "browser", "check.mjs")
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
	chromium, script := browser(t)
	l := lobbyOf(t, countersigntest.Options{Carriers: []carrier.Carrier{
		failing{"broke", carrier.Coded("402", carrier.Because(verify.ReasonNoCredit, errors.New("no money")))}, failing{"down", carrier.Coded("503", errors.New("down"))}, sim.New(time.Now),
	}, BreakAfter: 2, MaxMessages: 3})
	for i := range 2 {
		for j := range 3 {
			l.id = l.Start(fmt.Sprintf("+1202555010%d", 3*i+j), "")
		}
		l.Await("the failures", func() bool { return l.Carriers()[0].Failed != nil })
		l.Clock.Advance(time.Hour)
	}
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	mux := http.NewServeMux()
	mux.Handle("/sign-in", NewSignIn(operator.New(l.Store, keys, l.Clock.Now), log, false, "/").Handler())
	mux.Handle("/sign-in/", NewSignIn(operator.New(l.Store, keys, l.Clock.Now), log, false, "/").Handler())
	mux.Handle("/", Open(l.System, log))
	server := httptest.NewServer(mux)
	defer server.Close()

	paths := []string{"/sign-in", "/sign-in/set-up", "/nothing"}
	for _, p := range all {
		if method, path, _ := l.requestFor(p); method == "GET" {
			paths = append(paths, path)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", append([]string{script, chromium, server.URL}, paths...)...).CombinedOutput()
	if want := fmt.Sprintf("looked at %d pages\n", 4*len(paths)); err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant only %s", err, out, want)
	}
}
