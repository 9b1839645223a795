package device_test

import (
	"bufio"
	"compress/gzip"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/api"
	pushcarrier "github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/wording"
)

// get reads a file of the authenticator.
func (k kit) get(path string) (*http.Response, string) {
	k.t.Helper()
	resp, err := http.Get(k.URL + path)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return resp, string(text)
}

var loads = regexp.MustCompile(`(?:href|src)="([^"]+)"|importScripts\('([^']+)', '([^']+)'\)|base \+ '([a-z]+\.js)'|icon: '([^']+)'|"src": "([^"]+)"`)

// The authenticator's page and all that it loads are there, come from this server, and nothing is inline.
func TestTheAuthenticatorIsServed(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{}, "push")
	waiting, seen := []string{""}, map[string]bool{"": true}
	for len(waiting) > 0 {
		name := waiting[0]
		waiting = waiting[1:]
		resp, text := k.get("/device/" + name)
		policy := resp.Header.Get("Content-Security-Policy")
		if resp.StatusCode != 200 || !strings.Contains(policy, "default-src 'none'; script-src 'self'") || strings.Contains(policy, "unsafe") {
			t.Errorf("/device/%s: got %d with the policy %q", name, resp.StatusCode, policy)
		}
		if regexp.MustCompile(`(?i)https?://(?:[^w]|w[^w])|<script>|<style|style=|\son[a-z]+=|innerHTML|eval\(`).MatchString(text) {
			t.Errorf("/device/%s loads from elsewhere, or has something inline", name)
		}
		for _, m := range loads.FindAllStringSubmatch(text, -1) {
			for _, to := range m[1:] {
				if to != "" && !seen[to] {
					seen[to] = true
					waiting = append(waiting, to)
				}
			}
		}
	}
	if len(seen) != 8 {
		t.Errorf("the page loads %v, want 7 files", seen)
	}
	if resp, _ := k.get("/device/x"); resp.StatusCode != 404 {
		t.Errorf("what isn't there: got %d", resp.StatusCode)
	}
	req, err := http.NewRequest("OPTIONS", k.URL+"/device/v1/answers", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Access-Control-Request-Method", "POST")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Access-Control-Allow-Headers") != "Content-Type" || resp.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("a page of another site asks: got %d %v", resp.StatusCode, resp.Header)
	}
}

// Browsers get the files compressed, and others get the same as it is.
func TestTheAuthenticatorIsCompressed(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{}, "push")
	_, plain := k.get("/device/words.js")
	for accepted, want := range map[string]string{"gzip, deflate, br, zstd": "gzip", "br,GZIP": "gzip", "gzip;q=0": "", "xgzip": "", "identity": ""} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", k.URL+"/device/words.js", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", accepted)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body := io.Reader(resp.Body)
		if got := resp.Header.Get("Content-Encoding"); got != want || resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("for %q: encoding %q, Vary %q", accepted, got, resp.Header.Get("Vary"))
		} else if got == "gzip" {
			if body, err = gzip.NewReader(resp.Body); err != nil || resp.ContentLength > int64(len(plain)/2) {
				t.Fatalf("for %q: %d bytes of %d, %v", accepted, resp.ContentLength, len(plain), err)
			}
		}
		if text, err := io.ReadAll(body); err != nil || string(text) != plain {
			t.Errorf("for %q: %d bytes, %v; want %d", accepted, len(text), err, len(plain))
		}
	}
}

// A page subscribes for the key of the carrier that pushes, if there is one.
func TestThePageLearnsTheKeyOfPushes(t *testing.T) {
	t.Parallel()
	text, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := webpush.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := webpush.New(webpush.Config{Key: key, Contact: "mailto:ops@example.com", RootCAs: x509.NewCertPool(), Timeout: time.Second, Conns: 1})
	if err != nil {
		t.Fatal(err)
	}
	k := kit{Kit: countersigntest.New(t, countersigntest.Options{Pushes: pushcarrier.New("pushes", map[verify.DeviceKind]pushcarrier.Service{verify.DeviceWebPush: c})}), t: t}
	if _, got := k.get("/device/v1/settings"); got != `{"vapid_key":"`+key.Public()+`","now":"`+k.Clock.Now().UTC().Format(time.RFC3339)+`"}` {
		t.Errorf("got %s, want the key %s and the time", got, key.Public())
	}
	without := kit{Kit: countersigntest.New(t, countersigntest.Options{}), t: t}
	if resp, got := without.get("/device/v1/settings"); resp.StatusCode != 503 || !strings.Contains(got, "no_carrier") {
		t.Errorf("without such a carrier: got %d %s", resp.StatusCode, got)
	}
}

// subscription is that of a browser, as it writes it in JSON.
func subscription(t *testing.T) (endpoint, p256dh, text string) {
	t.Helper()
	receiver, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, p256dh = "https://push.example.net/"+rand.Text(), b64.EncodeToString(receiver.PublicKey().Bytes())
	return endpoint, p256dh, `{"endpoint":"` + endpoint + `","keys":{"p256dh":"` + p256dh + `","auth":"AAAAAAAAAAAAAAAAAAAAAA"}}`
}

// A code of an enrolment registers one browser, once, for ten minutes. A newer one takes its place.
func TestAnEnrolmentWorksOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Settings.PublicURL = "https://verify.example.com/"
		k := newKitOfAda(t, o, "push")
		point, err := newKey(t).PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		enrol := func(code string) answered {
			t.Helper()
			endpoint, p256dh, _ := subscription(t)
			return k.post("enrolments", map[string]string{"code": code, "endpoint": endpoint, "p256dh": p256dh, "auth": "AAAAAAAAAAAAAAAAAAAAAA", "key": b64.EncodeToString(point)})
		}
		invite := func() api.Enrolment {
			t.Helper()
			e, err := k.client.Invite(t.Context(), k.app, "ada")
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		e := invite()
		if !regexp.MustCompile(`^[A-Z2-7]{4}-[A-Z2-7]{4}-[A-Z2-7]{4}$`).MatchString(e.Code) || e.URL != "https://verify.example.com/device/#"+e.Code || !e.ExpiresAt.Equal(countersigntest.Start.Add(10*time.Minute)) {
			t.Errorf("the enrolment is %+v", e)
		}
		if got := enrol(strings.ReplaceAll(strings.ToLower(e.Code), "-", " ")); got.HTTP != 200 || got.Device == "" || got.Asker != "Shop" {
			t.Errorf("as people type it: %+v", got)
		}
		refused := func(what, code string) {
			t.Helper()
			if got := enrol(code); got.HTTP != 404 || got.Code != "no_enrolment" {
				t.Errorf("%s: %+v, want that nobody is enrolled", what, got)
			}
		}
		refused("once more", e.Code)
		refused("nothing", "")
		first := invite()
		second := invite()
		refused("the one before", first.Code)
		k.Clock.Advance(10 * time.Minute)
		refused("after ten minutes", second.Code)
		third := invite()
		if err := k.client.DeleteUser(t.Context(), k.app, "ada"); err != nil {
			t.Fatal(err)
		}
		refused("of a user who is gone", third.Code)
		if _, err := k.client.Invite(t.Context(), k.app, "ada"); err == nil {
			t.Error("a user who is gone is invited")
		}
		if got := k.post("enrolments", map[string]string{"code": third.Code}); got.HTTP != 422 {
			t.Errorf("without a subscription: %+v", got)
		}
	})
}

// Of those who use a code concurrently, one is enrolled.
func TestAnEnrolmentIsForOneOfMany(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		point, err := newKey(t).PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		e, err := k.client.Invite(t.Context(), k.app, "ada")
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan int)
		for range 8 {
			endpoint, p256dh, _ := subscription(t)
			go func() {
				results <- k.post("enrolments", map[string]string{"code": e.Code, "endpoint": endpoint, "p256dh": p256dh, "auth": "AAAAAAAAAAAAAAAAAAAAAA", "key": b64.EncodeToString(point)}).HTTP
			}()
		}
		var got []int
		for range 8 {
			got = append(got, <-results)
		}
		slices.Sort(got)
		if want := []int{200, 404, 404, 404, 404, 404, 404, 404}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if all, err := k.client.Devices(t.Context(), k.app, "ada"); err != nil || len(all) != 1 {
			t.Errorf("the user has %v, %v, want one device", all, err)
		}
	})
}

// lookForNode finds the runtime of the authenticator's scripts, or skips the test.
func lookForNode(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		const missing = "NOT RUN: there is no node on PATH; install it: apt-get install nodejs"
		if os.Getenv("COUNTERSIGN_TEST_REQUIRE") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return node
}

// page does something in the authenticator's page, and demands what comes of it.
func page(t *testing.T, what, want string) {
	t.Helper()
	if got := told(t, what); got != want {
		t.Errorf("%s: got %s\nwant %s", what, got, want)
	}
}

// told does something in the authenticator's page, and returns what comes of it.
func told(t *testing.T, what string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lookForNode(t), "testdata/page.js", "app/page.js", "../../../sdk/web", what)
	cmd.Stderr = os.Stderr
	got, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	return strings.TrimSpace(string(got))
}

// What the server says of one prompt changes nothing of a newer one, which came meanwhile.
func TestAnAnswerIsAboutThePromptThatWasShown(t *testing.T) {
	t.Parallel()
	page(t, "answer deny", `{"left":{"2 newer":"challenge of 2 newer"},"choices":3}`)
	for _, reason := range []string{"wrong_number", "old_challenge"} {
		page(t, "answer "+reason, `{"left":{"1 older":"next","2 newer":"challenge of 2 newer"},"choices":3}`)
	}
}

// Each user of a browser is connected with a subscription of their own, also of the same application. A user who connects
// again takes the place of themselves, a code that is refused leaves nothing behind, and an answer is signed with the key of
// the user whose push asked.
func TestTwoUsersShareABrowser(t *testing.T) {
	t.Parallel()
	page(t, "users", `{"subscriptions":["key of ada","key of eve"],"kept":["ada 2","eve"],"asked":["eve"],"says":["This browser is connected.","That code is wrong, was used, or is too old. Ask for a new one."]}`)
}

// Messages live by the server's clock: a phone whose clock is a day off shows them, and forgets those that have expired.
func TestAWrongClockHidesNothing(t *testing.T) {
	t.Parallel()
	for _, clock := range []string{"right", "a day ahead", "a day behind", "unknown"} {
		want := `{"shown":"live","left":["live"]}`
		if clock == "unknown" {
			want = `{"shown":"live","left":["dead","live"]}`
		}
		page(t, "clock "+clock, want)
	}
}

// A push that its service delivers again isn't shown again, one without contents is no error, and the newest verification
// is shown whatever came last.
func TestPushesOfAServiceThatRepeatsAndReorders(t *testing.T) {
	t.Parallel()
	page(t, "pushes", `{"notified":["Shop: Is this you?","Your code","Your code"],"tags":1,"current":"2 newer","afterwards":"1 older"}`)
}

// A link whose fragment is no code breaks nothing.
func TestALinkCanBringAnything(t *testing.T) {
	t.Parallel()
	page(t, "link %E0%A4%A", `{"code":"%E0%A4%A"}`)
}

// Companies' pages use the same scripts by a module.
func TestThePackageServesOtherPages(t *testing.T) {
	t.Parallel()
	page(t, "sdk", `{"refused":"no_enrolment","scope":"https://shop.example.com/countersign/of/","seen":["changed"],"wrong":"wrong_number","right":"approved","left":null,"asked":["ada 1","ada 1"],"devices":[],"registrations":0}`)
}

// The authenticator has the languages in which calls are spoken, with their variants. Each has all texts, with the same
// places.
func TestTheAuthenticatorSpeaksTheLanguagesOfCalls(t *testing.T) {
	t.Parallel()
	spoken, err := filepath.Glob("../../speech/assets/*.prompts")
	if err != nil || len(spoken) < len(wording.Languages()) {
		t.Fatalf("calls are spoken in %v, %v", spoken, err)
	}
	for i := range spoken {
		spoken[i] = strings.TrimSuffix(filepath.Base(spoken[i]), ".prompts")
	}
	slices.Sort(spoken)
	// Browsers with several languages read the first that there is, and others English.
	tags, want := []string{"xx,de-AT", "xx", "pt-BR,en"}, []string{"de ltr", "en ltr", "pt ltr"}
	for _, tag := range strings.Fields("zh-Hant-TW ar AR-eg es es-ES es-Latn-MX no nn-NO nb constructor " +
		"es-419 es-AR es-BO es-CL es-CO es-CR es-CU es-DO es-EC es-GT es-HN es-MX es-NI es-PA es-PE es-PR es-PY es-SV es-US es-UY es-VE") {
		language, ok := speech.Match(tag)
		direction := "ltr"
		switch {
		case !ok:
			language = "en"
		case language == "ar":
			direction = "rtl"
		}
		tags, want = append(tags, tag), append(want, language+" "+direction)
	}
	var got struct{ Languages, Wrong, Chosen []string }
	if err := json.Unmarshal([]byte(told(t, "words "+strings.Join(tags, " "))), &got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Languages, spoken) {
		t.Errorf("the authenticator has the languages %v, and calls have %v", got.Languages, spoken)
	}
	if len(got.Wrong) > 0 {
		t.Errorf("texts are missing, or have other places than the English ones: %v", got.Wrong)
	}
	for i := range tags {
		if got.Chosen[i] != want[i] {
			t.Errorf("a browser with %s reads %s, want %s", tags[i], got.Chosen[i], want[i])
		}
	}
}

// The authenticator's own script, in another runtime's WebCrypto, enrols and answers prompts.
func TestTheAuthenticatorAnswers(t *testing.T) {
	t.Parallel()
	node := lookForNode(t)
	k := newKitOfAda(t, countersigntest.Options{}, "push")
	e, err := k.client.Invite(t.Context(), k.app, "ada")
	if err != nil {
		t.Fatal(err)
	}
	_, _, sub := subscription(t)
	cmd := exec.CommandContext(t.Context(), node, "testdata/authenticator.js", "../../../sdk/web/lib.js", k.URL+"/device/", e.Code, sub)
	cmd.Stderr = os.Stderr
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
	defer func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	}()
	lines := bufio.NewScanner(out)
	read := func(into any) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the authenticator says nothing more: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), into); err != nil {
			t.Fatalf("the authenticator says %s: %v", lines.Text(), err)
		}
	}
	var enrolled struct {
		ID, Asker   string
		Extractable *bool
	}
	if read(&enrolled); enrolled.ID == "" || enrolled.Asker != "Shop" || enrolled.Extractable == nil || *enrolled.Extractable {
		t.Fatalf("enrolled as %+v, want a key that can't be read", enrolled)
	}
	says := func(id, challenge, what string) (a answered) {
		t.Helper()
		fmt.Fprintf(in, `{"id":"%s","challenge":"%s","says":"%s"}`+"\n", id, challenge, what)
		read(&a)
		return a
	}
	v := k.start("ada", api.UserVerification{})
	challenge := k.question(v.ID).Challenge
	wrongly := says(v.ID, challenge, wrong(v.Show))
	if wrongly.Accepted || wrongly.Reason != "wrong_number" || wrongly.AttemptsRemaining != 4 {
		t.Errorf("a wrong number: %+v", wrongly)
	}
	// Somebody who picks one choice after the other, on several devices, would get there. So a number isn't signed again.
	again := says(v.ID, challenge, v.Show)
	if again.Accepted || again.Reason != "old_challenge" || again.Challenge != wrongly.Challenge {
		t.Errorf("a number for an old challenge: %+v", again)
	}
	if a := says(v.ID, again.Challenge, v.Show); !a.Accepted || a.Status != "approved" {
		t.Errorf("the right number: %+v", a)
	}
	if r := k.outcome(v.ID); !r.Valid {
		t.Errorf("the outcome: %+v", r)
	}
	k.Clock.Advance(time.Minute)
	v = k.start("ada", api.UserVerification{})
	challenge = k.question(v.ID).Challenge
	says(v.ID, challenge, wrong(v.Show))
	if a := says(v.ID, challenge, "deny"); !a.Accepted || a.Status != "canceled" {
		t.Errorf("a denial, for an old challenge: %+v", a)
	}
	if a := says(verify.NewID(k.Clock.Now()).String(), challenge, "47"); a.HTTP != 0 && a.Code != "no_prompt" {
		t.Errorf("no prompt: %+v", a)
	}
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0":                                              "Firefox / Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15":         "Safari / Mac",
		"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36":                  "Chrome / Android",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0": "Edge / Windows",
		"curl/8.5.0": "curl/8.5.0",
	} {
		fmt.Fprintf(in, `{"agent":"%s"}`+"\n", agent)
		var got string
		if read(&got); got != want {
			t.Errorf("%s: got %s, want %s", agent, got, want)
		}
	}
}
