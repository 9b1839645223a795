package syniverse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/face/syniverse"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// Tests that need time to pass or another configuration. Their clock stands still until the test
// moves it.

type kit struct {
	*countersigntest.Kit
	t *testing.T
}

func newKit(t *testing.T, o countersigntest.Options) kit {
	return kit{countersigntest.New(t, o), t}
}

// is fails the test unless a call is answered with a status and, if it is refused, an error_code.
func (k kit) is(method, path, body string, status int, code string) (header http.Header, answer string) {
	k.t.Helper()
	return k.isAs("", method, path, body, status, code)
}

func (k kit) isAs(token verify.Secret, method, path, body string, status int, code string) (http.Header, string) {
	k.t.Helper()
	got, header, answer := k.Call(token, method, path, body)
	var f struct {
		Code string `json:"error_code"`
	}
	json.Unmarshal([]byte(answer), &f)
	if got != status || f.Code != code {
		k.t.Errorf("%s %s: got %d %s, want %d %q", method, path, got, answer, status, code)
	}
	return header, answer
}

// application creates an application and returns its path.
func (k kit) application(settings string) string {
	k.t.Helper()
	_, answer := k.is("POST", "applications", `{"name":"Shop"`+settings+`}`, 200, "")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &made); err != nil {
		k.t.Fatalf("%s: %v", answer, err)
	}
	return "applications/" + made.ID
}

// code waits for the n-th message to a number and returns the message's first
// word.
func (k kit) code(to string, n int) string {
	k.t.Helper()
	var body string
	k.Await(fmt.Sprintf("message %d to %s", n, to), func() bool {
		all := k.Sim.Messages(phone.Number(to))
		if len(all) < n {
			return false
		}
		body = all[len(all)-n].Body
		return true
	})
	code, _, _ := strings.Cut(body, " ")
	return code
}

const (
	number    = "+12025550142"
	address   = `{"address":"` + number + `"}`
	associate = "/users/kola/associate"
	validate  = "/users/kola/validate"
	login     = "/users/kola/login_start"
)

func typed(code string) string { return `{"validation_code":"` + code + `"}` }

func TestACodeIsDeadWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	for _, configured := range []struct {
		options syniverse.Options
		status  int
		code    string
	}{
		{syniverse.Options{}, 409, "2002"},
		{syniverse.Options{Refusals: syniverse.Refusals{Expired: syniverse.Refusal{Status: 410, Code: "E-7"}}}, 410, "E-7"},
	} {
		k := newKit(t, countersigntest.Options{Syniverse: configured.options})
		app := k.application(`,"auth_token_validity_duration":30`)
		k.is("POST", app+associate, address, 204, "")
		first := k.code(number, 1)
		k.Advance(30*time.Second - time.Millisecond)
		k.is("POST", app+validate, typed(first), 204, "")
		k.is("POST", app+login, "", 204, "")
		second := k.code(number, 2)
		k.Advance(30 * time.Second)
		for range 7 { // more often than there are guesses
			k.is("POST", app+validate, typed(second), configured.status, configured.code)
		}
		if _, answer := k.is("GET", app+"/users/kola", "", 200, ""); !strings.Contains(answer, `"status":"VALIDATED"`) {
			t.Errorf("got %s, want him validated still", answer)
		}
		k.is("POST", app+login, "", 204, "")
		k.is("POST", app+validate, typed(k.code(number, 3)), 204, "")
	}
}

func TestRefusalsOfACodeAreTheConfiguredOnes(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Syniverse: syniverse.Options{Refusals: syniverse.Refusals{
		Wrong: syniverse.Refusal{Status: 400, Code: "W"}, None: syniverse.Refusal{Status: 404, Code: "N"}, Exhausted: syniverse.Refusal{Status: 403, Code: "X"},
	}}})
	app := k.application("")
	k.is("POST", app+associate, address, 204, "")
	code := k.code(number, 1)
	for range 5 {
		k.is("POST", app+validate, typed(countersigntest.Wrong(code)), 400, "W")
	}
	k.is("POST", app+validate, typed(code), 403, "X")
	k.is("POST", app+associate, address, 204, "")
	k.is("POST", app+validate, typed(k.code(number, 2)), 204, "")
	k.is("POST", app+validate, typed(k.code(number, 2)), 404, "N")
}

func TestAUserIsSentOneCodeEachHalfMinuteAndFiveInTen(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Settings: verify.Settings{UserLimits: verify.DefaultUserLimits}})
	app := k.application("")
	refused := func(path, body, wait string) {
		t.Helper()
		if header, _ := k.is("POST", app+path, body, 429, "2004"); header.Get("Retry-After") != wait {
			t.Errorf("got Retry-After %q, want %q", header.Get("Retry-After"), wait)
		}
	}
	k.is("POST", app+associate, address, 204, "")
	refused(associate, address, "30")
	k.is("POST", app+validate, typed(k.code(number, 1)), 204, "") // what was refused has taken nothing away
	k.Advance(30*time.Second - time.Millisecond)
	refused(login, "", "1")
	refused(associate, `{"address":"+12025550143"}`, "1") // another number is no way around
	k.is("POST", app+"/users/other/associate", address, 204, "")
	k.Advance(time.Millisecond)
	for n := range 4 {
		k.is("POST", app+login, "", 204, "")
		if n < 3 {
			k.Advance(30 * time.Second)
		}
	}
	k.Advance(30 * time.Second)
	refused(login, "", "450") // two minutes and a half after the first of five
	k.Advance(450*time.Second - time.Millisecond)
	refused(login, "", "1")
	k.Advance(time.Millisecond)
	k.is("POST", app+login, "", 204, "")
	k.Await("the last message", func() bool { return len(k.Sim.Messages(number)) >= 7 })
	if got := len(k.Sim.Messages(number)); got != 7 {
		t.Errorf("got %d messages, want 7", got)
	}
}

func TestTheLimitsOfANumberHoldToo(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Limits: verify.Limits{Burst: 2, Interval: time.Minute, Daily: 10}})
	app := k.application("")
	for _, user := range []string{"a", "b"} {
		k.is("POST", app+"/users/"+user+"/associate", address, 204, "")
	}
	if header, _ := k.is("POST", app+"/users/c/associate", address, 429, "2004"); header.Get("Retry-After") != "60" {
		t.Errorf("got Retry-After %q, want 60", header.Get("Retry-After"))
	}
	k.is("GET", app+"/users/c", "", 404, "404") // who was sent nothing was not made
	k.Advance(time.Minute)
	k.is("POST", app+"/users/c/associate", address, 204, "")
}

func TestWrongGuessesMakeANumberWait(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	app := k.application("")
	var code string
	for n := range 4 {
		k.is("POST", app+associate, address, 204, "")
		code = k.code(number, n+1)
		for range 5 {
			k.is("POST", app+validate, typed(countersigntest.Wrong(code)), 409, "2001")
		}
	}
	k.is("POST", app+associate, address, 204, "")
	code = k.code(number, 5)
	if header, _ := k.is("POST", app+validate, typed(code), 429, "2004"); header.Get("Retry-After") != "30" {
		t.Errorf("got Retry-After %q, want 30", header.Get("Retry-After"))
	}
	k.Advance(30 * time.Second)
	k.is("POST", app+validate, typed(code), 204, "")
}

func TestARefreshedTokenExpires(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	consumer, secret := account.NewConsumer()
	old := account.NewSecret()
	err := k.Store.CreateKey(context.Background(), account.Key{
		ID: verify.NewID(k.Clock.Now()), Project: "test", Scopes: verify.AllScopes, Hash: account.HashKey(old), Consumer: consumer, ConsumerSecret: account.HashKey(secret),
	})
	if err != nil {
		t.Fatal(err)
	}
	k.isAs(old, "GET", "applications", "", 200, "")
	refresh := func(token verify.Secret, validity string) (verify.Secret, int) {
		t.Helper()
		q := url.Values{"consumerkey": {consumer}, "consumersecret": {secret.Reveal()}, "oldtoken": {token.Reveal()}, "validity": {validity}}
		_, answer := k.is("GET", "/saop-rest-data/v1/apptoken-refresh?"+q.Encode(), "", 200, "")
		var got struct {
			AccessToken  string
			ValidityTime int
		}
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
		return verify.Secret(got.AccessToken), got.ValidityTime
	}
	token, validity := refresh("cs_lost", "900")
	if validity != 900 {
		t.Errorf("got %d s, want 900", validity)
	}
	k.isAs(old, "GET", "applications", "", 401, "401")
	k.Advance(15*time.Minute - time.Millisecond)
	k.isAs(token, "GET", "applications", "", 200, "")
	if _, validity := refresh("cs_lost", "900"); validity != 900 { // he doesn't know it, so it's replaced
		t.Errorf("got %d s, want 900", validity)
	}
	token, _ = refresh("cs_lost", "1000")
	k.Advance(100 * time.Second)
	if same, validity := refresh(token, "900"); same != token || validity != 900 {
		t.Errorf("got another token for %d s, want the same for 900", validity)
	}
	k.Advance(time.Millisecond)
	if other, validity := refresh(token, "900"); other == token || validity != 900 {
		t.Errorf("got the same token for %d s, which doesn't last, want another for 900", validity)
	} else {
		token = other
	}
	k.Advance(15 * time.Minute)
	header, _ := k.isAs(token, "GET", "applications", "", 401, "401")
	if header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("got WWW-Authenticate %q, want Bearer", header.Get("WWW-Authenticate"))
	}
	// Syniverse's clients do the same: they refresh on a 401, and repeat the
	// call.
	token, _ = refresh(token, "900")
	k.isAs(token, "GET", "applications", "", 200, "")
}

func TestISODates(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Syniverse: syniverse.Options{ISODates: true}})
	app := k.application("")
	k.is("POST", app+associate, address, 204, "")
	const date = `"2026-05-04T12:00:00.000Z"`
	want := regexp.MustCompile(`"created_date":` + date + `,"last_updated_date":` + date + `,"version_number":1\}$`)
	for _, path := range []string{app, app + "/users/kola"} {
		if _, answer := k.is("GET", path, "", 200, ""); !want.MatchString(answer) {
			t.Errorf("%s: got %s, want %v", path, answer, want)
		}
	}
	for _, date := range []string{"2026-05-04T12:00:00.000Z", "1777896000000"} {
		for _, path := range []string{"applications", app + "/users"} {
			if _, answer := k.is("GET", path+"?created_date="+date, "", 200, ""); !strings.Contains(answer, `"total":1`) {
				t.Errorf("%s by %s: got %s, want it", path, date, answer)
			}
		}
	}
}

func TestWithoutTheAliasOnlyTemplatesAreThere(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Syniverse: syniverse.Options{NoAlias: true}})
	const alias = "/scg-external-api/api/v1/"
	k.is("GET", alias+"applications", "", 404, "404")
	k.is("POST", alias+"applications", `{"name":"n"}`, 404, "404")
	k.is("GET", alias+"messaging/message_templates", "", 200, "")
	k.is("GET", "applications", "", 200, "")
}

func TestUniqueNames(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Settings: verify.Settings{UniqueNames: true}})
	app := k.application("")
	k.is("POST", "applications", `{"name":"Shop"}`, 409, "1011")
	k.is("POST", "applications", `{"name":"shop"}`, 200, "")
	k.is("POST", app, `{"name":"shop","version_number":1}`, 409, "1011")
	k.is("PUT", app, `{"name":"shop","version_number":1}`, 409, "1011")
	k.is("POST", app, `{"name":"Shop","version_number":1}`, 204, "") // its own
	// Another project may use the same names.
	token := account.NewSecret()
	k.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat}, token)
	k.isAs(token, "POST", "applications", `{"name":"Shop"}`, 200, "")
	// Of many concurrent creates, one succeeds.
	var made atomic.Int32
	done := make(chan struct{})
	for range 20 {
		go func() {
			if status, _, _ := k.Call("", "POST", "applications", `{"name":"Race"}`); status == 200 {
				made.Add(1)
			}
			done <- struct{}{}
		}()
	}
	for range 20 {
		<-done
	}
	if made.Load() != 1 {
		t.Errorf("got %d applications of one name, want 1", made.Load())
	}
}

func TestAProjectsApplicationsAndTemplatesAreBounded(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Settings: verify.Settings{MaxApplications: 2, MaxTemplates: 1}})
	k.application("")
	app := k.application("")
	k.is("POST", "applications", `{"name":"Shop"}`, 403, "403")
	k.is("POST", app, `{"name":"Other","version_number":1}`, 204, "") // a change makes none
	const templates = "/scg-external-api/api/v1/messaging/message_templates"
	k.is("POST", templates, `{"name":"first","pattern":"$code"}`, 200, "")
	k.is("POST", templates, `{"name":"second","pattern":"$code"}`, 403, "403")
	k.is("DELETE", app, "", 204, "")
	k.is("POST", "applications", `{"name":"Shop"}`, 200, "")
	// Another project may use the same names.
	token := account.NewSecret()
	k.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat}, token)
	k.isAs(token, "POST", "applications", `{"name":"Shop"}`, 200, "")
}

func TestSenders(t *testing.T) {
	t.Parallel()
	senders := map[string]verify.Sender{
		"channel:gqKlekr-S22CJul_aE4XFQ": {From: "+12025550111"}, "sender_id:main": {From: "Shop"}, "sender_id:shared": {From: "+12025550122", Public: true},
	}
	for name, strict := range map[string]bool{"strict": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, countersigntest.Options{Settings: verify.Settings{Senders: senders, StrictSenders: strict}})
			for from, want := range map[string]string{
				"channel:gqKlekr-S22CJul_aE4XFQ":  "+12025550111",
				"channel: gqKlekr-S22CJul_aE4XFQ": "+12025550111",
				"gqKlekr-S22CJul_aE4XFQ":          "+12025550111",
				"sender_id:main":                  "Shop",
				"main":                            "Shop",
				"sender_id:shared":                "+12025550122",
				"+12025550133":                    "+12025550133",
				"Name":                            "Name",
				"":                                "+12025550199",
				"channel:nobody":                  "",
				"sender_id:nobody":                "",
				"nobody-knows-this-one":           "",
			} {
				body := fmt.Sprintf(`{"name":"Shop","message_from":%q}`, from)
				if want == "" && strict {
					k.is("POST", "applications", body, 400, "400")
					continue
				}
				if want == "" {
					want = "+12025550199"
				}
				before := len(k.Sim.Messages(number))
				k.is("POST", k.application(fmt.Sprintf(`,"message_from":%q`, from))+associate, address, 204, "")
				k.code(number, before+1)
				if got := k.Sim.Messages(number)[0].From; got != want {
					t.Errorf("%s: got a message from %s, want %s", from, got, want)
				}
			}
			// A shared sender says the default texts, except for a project that is trusted with other
			// texts.
			token := account.NewSecret()
			k.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat, AnySender: true}, token)
			for from, status := range map[string]int{"": 400, "sender_id:shared": 400, "sender_id:main": 200, "+12025550133": 200} {
				code := ""
				if status == 400 {
					code = "400"
				}
				k.isAs(token, "POST", "applications", fmt.Sprintf(`{"name":"n","message_from":%q,"login_template":"My $code"}`, from), status, code)
				k.isAs(token, "POST", "applications", fmt.Sprintf(`{"name":"n","message_from":%q}`, from), 200, "")
			}
		})
	}
}

func TestTheStandardPolicyHolds(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Profile: verify.ProfileStandard})
	k.application(`,"auth_token_validity_duration":600,"auth_code_length":6`)
	k.application(`,"auth_token_type":"ALPHANUMERIC","auth_code_length":4`)
	for _, settings := range []string{`"auth_token_validity_duration":601`, `"auth_code_length":5`} {
		k.is("POST", "applications", `{"name":"n",`+settings+`}`, 400, "400")
	}
}

func TestWhatCannotGoOutIsNotPromised(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	k := newKit(t, countersigntest.Options{Queue: 1, Carriers: []carrier.Carrier{}, Commit: func(_ int, commit func() error) error {
		if broken.Load() {
			return errors.New("the disk is full")
		}
		return commit()
	}})
	app := k.application("")
	if header, _ := k.is("POST", app+associate, address, 503, "503"); header.Get("Retry-After") != "30" {
		t.Errorf("got Retry-After %q, want 30", header.Get("Retry-After"))
	}
	k.is("GET", app+"/users/kola", "", 404, "404")
	broken.Store(true)
	if header, _ := k.is("DELETE", app+"/users/kola", "", 503, "503"); header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
}
