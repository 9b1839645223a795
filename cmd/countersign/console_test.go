package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/operator"
)

// An operator gets a link by a command, sets up their sign-in, and finds a verification in the console of serve.
func TestAnOperatorSignsInToTheConsole(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), func(text string) string {
		return regexp.MustCompile(`(?s)\nconsole:\n(  [^\n]*\n)+`).ReplaceAllString(text, "\nconsole: {listen: \"127.0.0.1:0\"}\n")
	})
	p := in.serve()
	at := regexp.MustCompile(`"console":"([^"]+)"`).FindStringSubmatch(p.stderr.String())
	if at == nil {
		t.Fatalf("the log doesn't say where the console is:\n%s", p.stderr)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: patience}
	ask := func(path string, form url.Values) (status int, page string) {
		t.Helper()
		req, err := http.NewRequest("GET", "http://"+at[1]+path, nil)
		if form != nil {
			req, err = http.NewRequest("POST", "http://"+at[1]+path, strings.NewReader(form.Encode()))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if err != nil {
			t.Fatal(err)
		}
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if _, page := ask("/usage", nil); !strings.Contains(page, "<h1>Sign in</h1>") {
		t.Errorf("without a session:\n%s", page)
	}
	var made texts
	in.decode(&made, "operator", "create", "ann", "--config", "countersign.yaml", "--role", "viewer", "--json")
	_, page := ask("/sign-in/set-up", url.Values{"token": {made["token"]}})
	found := regexp.MustCompile(`<code>([A-Z2-7]{32})</code>`).FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("the set-up shows no key:\n%s", page)
	}
	seed, err := operator.ParseSeed(found[1])
	if err != nil {
		t.Fatal(err)
	}
	status, page := ask("/sign-in/set-up", url.Values{"token": {made["token"]}, "password": {"correct horse battery"}, "code": {operator.CodeAt(seed, time.Now())}})
	if status != http.StatusOK || !strings.Contains(page, "The last 24 hours") {
		t.Fatalf("after the set-up: got %d\n%s", status, page)
	}
	id, _, err := in.ask(p, "sms", `{"to":"+12025550100"}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, page := ask("/find", url.Values{"q": {"+1 202 555 0100"}}); !strings.Contains(page, "/verification/"+id) || !strings.Contains(page, "ann<br>viewer") {
		t.Errorf("the number isn't found:\n%s", page)
	}
	if status, _ := ask("/verification/"+id+"/reveal", url.Values{}); status != http.StatusForbidden {
		t.Errorf("a viewer reveals a number: got %d", status)
	}
	if status, _ := ask("/console/console.css", nil); status != http.StatusOK {
		t.Errorf("the style sheet: got %d", status)
	}
}
