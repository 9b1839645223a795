package provider

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// requireAll says that what a test needs from outside must be there: CI sets it.
const requireAll = "COUNTERSIGN_TEST_REQUIRE"

// startPrism serves Twilio's own OpenAPI file, and refuses what doesn't keep to it. It returns its URL.
func startPrism(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("testdata", "prism")
	binary, err := filepath.Abs(filepath.Join(dir, "node_modules", ".bin", "prism"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		const missing = "NOT RUN: there is no prism; install it: npm ci --prefix internal/carrier/provider/testdata/prism"
		if os.Getenv(requireAll) != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	var printed lockedBuffer
	cmd := exec.Command(binary, "mock", "--host", "127.0.0.1", "--port", "0", "--errors", "twilio.json")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &printed, &printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for began := time.Now(); ; {
		if m := listening.FindStringSubmatch(printed.String()); m != nil {
			return m[1]
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("prism ended: %v\n%s", err, &printed)
		case <-time.After(20 * time.Millisecond): // it prints when it listens
		}
		if time.Since(began) > 5*time.Minute {
			t.Fatalf("prism doesn't listen:\n%s", &printed)
		}
	}
}

// listening is what prism prints when it does.
var listening = regexp.MustCompile(`listening on (http://127\.0\.0\.1:\d+)`)

type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// What the preset sends is what Twilio's own description of its API allows.
func TestTwilioAgainstItsOpenAPIFile(t *testing.T) {
	t.Parallel()
	prism := startPrism(t)
	account := "AC" + strings.Repeat("0123456789abcdef", 2)
	send := func(change func(*Config)) (carrier.Result, error) {
		t.Helper()
		c := configOf(t, "twilio", nil)
		c.Account = account
		c.Spec = Spec{URL: prism + "/2010-04-01/Accounts/{{path .Account}}/Messages.json"}.Over(c.Spec)
		if change != nil {
			change(&c)
		}
		return carrierOf(t, c).Send(t.Context(), message())
	}
	for name, change := range map[string]func(*Config){
		"as it is":            nil,
		"a messaging service": func(c *Config) { c.Profile = "MG" + strings.Repeat("0123456789abcdef", 2) },
		"without callbacks":   func(c *Config) { c.Public = "" },
	} {
		if r, err := send(change); err != nil || len(r.Ref) != 34 {
			t.Errorf("%s: got %q, %v, want that it is sent", name, r.Ref, err)
		}
	}
	// Calls as well, and SignalWire's API, which is made after this one.
	for preset, resource := range map[string]string{"twilio-voice": "Calls", "signalwire": "Messages", "signalwire-voice": "Calls"} {
		c := configOf(t, preset, nil)
		c.Account = account
		c.Spec = Spec{URL: prism + "/2010-04-01/Accounts/{{path .Account}}/" + resource + ".json"}.Over(c.Spec)
		if r, err := carrierOf(t, c).Send(t.Context(), messageFor(c)); err != nil || len(r.Ref) != 34 {
			t.Errorf("%s: got %q, %v, want that it is sent", preset, r.Ref, err)
		}
	}
	// It can refuse: what passes above isn't passed over.
	for name, tt := range map[string]struct {
		change func(*Config)
		want   decided
	}{
		"no credentials":       {func(c *Config) { c.Spec.Auth = AuthSpec{Kind: "none"} }, misconfigured},
		"no recipient":         {func(c *Config) { c.Spec.Body = strings.Replace(c.Spec.Body, "To=", "Number=", 1) }, refused(verify.ReasonRefused)},
		"a wrong account":      {func(c *Config) { c.Account = "AC1" }, refused(verify.ReasonRefused)},
		"a wrong service":      {func(c *Config) { c.Profile = "MG1" }, refused(verify.ReasonRefused)},
		"a life that is none":  {func(c *Config) { c.Spec.Body = strings.Replace(c.Spec.Body, "{{between 1 14400 .TTL}}", "long", 1) }, refused(verify.ReasonRefused)},
		"another path":         {func(c *Config) { c.Spec.URL = prism + "/2010-04-01/Accounts/{{.Account}}/Texts.json" }, misconfigured},
		"callbacks to nowhere": {func(c *Config) { c.Spec.Body = strings.Replace(c.Spec.Body, "{{query .Callback}}", "nowhere", 1) }, refused(verify.ReasonRefused)},
	} {
		_, err := send(tt.change)
		if err == nil {
			t.Errorf("%s: got no error", name)
			continue
		}
		wantError(t, err, tt.want)
	}
}
