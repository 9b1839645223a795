package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// These tests hold the server to what is published of Syniverse's MFA API, and to what was chosen
// where nothing is, from outside: the real program, real HTTP.

func TestSyniverseContract(t *testing.T) {
	t.Parallel()
	p := startDev(t, nil, "--data", t.TempDir())
	for name, test := range map[string]func(*testing.T, *process){
		"the published requests work as they stand":      testSyniverseStory,
		"an application has its fields and defaults":     testApplicationFields,
		"a setting within its bounds is taken":           testApplicationSettings,
		"a setting out of its bounds is refused by name": testRefusedApplications,
		"an update changes what it names":                testApplicationUpdate,
		"a replacement changes everything":               testApplicationReplacement,
		"an update needs the version that it changes":    testVersions,
		"of two updates of one version one is made":      testUpdateRace,
		"a deleted application is gone":                  testApplicationDeletion,
		"lists of applications":                          testApplicationLists,
		"lists of users":                                 testUserLists,
		"every state and every operation":                testStates,
		"the latest code is the one that counts":         testLatestCode,
		"a user's id is the caller's":                    testUserIDs,
		"a refused user id":                              testRefusedUserIDs,
		"addresses":                                      testAddresses,
		"a code is read as a person types it":            testTypedValidationCodes,
		"a code is one of its type":                      testTokenTypes,
		"a missing code spends nothing":                  testMissingValidationCodes,
		"five guesses":                                   testFiveGuesses,
		"how to reach a user":                            testDeliveryMethods,
		"texts":                                          testMessageTexts,
		"message templates":                              testMessageTemplates,
		"senders":                                        testMessageFrom,
		"who has no token is 401":                        testBearers,
		"what isn't there is 404":                        testSyniverseNotFound,
		"another method is 405":                          testSyniverseMethods,
		"a body that can't be read is 400, 413 or 415":   testSyniverseBodies,
		"the other path serves the same":                 testAlias,
		"another project's application looks like none":  testSyniverseTenancy,
		"fifty right codes at once validate once":        testParallelValidates,
		"of codes sent at once the latest is right":      testParallelAssociates,
		"what is deleted during a login stays deleted":   testDeletionDuringLogin,
		"a token is refreshed":                           testTokenRefresh,
		"a refresh is refused":                           testRefusedRefresh,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p.in(t))
		})
	}
}

// mfa makes a call of Syniverse's API: a path below its prefix, or from the root. Whatever the answer
// is, it has what every answer has.
func (p *process) mfa(method, path, body string, change ...func(*http.Request)) answer {
	p.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/mfa/v1/" + path
	}
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, p.URL+path, content)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.Token)
	req.Header.Set("Content-Type", "Application/json;charset=UTF-8") // as Syniverse's own clients send it
	for _, f := range change {
		f(req)
	}
	resp, text, err := do(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	a := answer{resp.StatusCode, resp.Header, text}
	if _, err := uuid.Parse(a.header.Get("X-Request-Id")); err != nil {
		p.t.Errorf("%s %s: X-Request-Id is %q, want a UUID", method, path, a.header.Get("X-Request-Id"))
	}
	want := "application/json"
	if a.status == http.StatusNoContent {
		want = ""
	}
	if got := a.header.Get("Content-Type"); got != want || want == "" && text != "" {
		p.t.Errorf("%s %s: %d with Content-Type %q, want %q: %s", method, path, a.status, got, want, text)
	}
	return a
}

// done fails the test unless the answer is 204 without a body.
func (p *process) done(a answer) {
	p.t.Helper()
	p.want(a, http.StatusNoContent, "")
}

// refused fails the test unless the answer is a failure of this status and error_code, in exactly
// the published shape. It returns the description.
func (p *process) refused(a answer, status int, code string) string {
	p.t.Helper()
	var f struct {
		Code        string `json:"error_code"`
		Description string `json:"error_description"`
	}
	json.Unmarshal([]byte(a.body), &f)
	if a.status != status || f.Code != code || f.Description == "" {
		p.t.Errorf("got  %d %s\nwant %d with error_code %q and an error_description", a.status, a.body, status, code)
	}
	exact, _ := json.Marshal(f)
	if string(exact) != a.body {
		p.t.Errorf("got  %s\nwant %s: these two fields only", a.body, exact)
	}
	return f.Description
}

// refusedFor is refused with a description that must be the given one.
func (p *process) refusedFor(a answer, status int, code, description string) {
	p.t.Helper()
	if got := p.refused(a, status, code); got != description {
		p.t.Errorf("got  %s\nwant %s", got, description)
	}
}

// into decodes a 200.
func (p *process) into(to any, a answer) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(a.body), to); err != nil || a.status != http.StatusOK {
		p.t.Fatalf("got %d %s: %v", a.status, a.body, err)
	}
}

// base62ID is how ids look.
var base62ID = regexp.MustCompile(`^\{"id":"([0-9A-Za-z]{22})"\}$`)

// createdID fails the test unless the answer is that of a create, and returns the id.
func (p *process) createdID(a answer) string {
	p.t.Helper()
	m := base62ID.FindStringSubmatch(a.body)
	if a.status != http.StatusOK || m == nil {
		p.t.Fatalf("got  %d %s\nwant 200 %v", a.status, a.body, base62ID)
	}
	return m[1]
}

// application creates one with a name and the given settings, as `"auth_code_length":8`, and returns
// its path below the prefix.
func (p *process) application(settings ...string) string {
	p.t.Helper()
	body := `{` + strings.Join(append([]string{`"name":"Shop"`}, settings...), ",") + `}`
	return "applications/" + p.createdID(p.mfa("POST", "applications", body))
}

// A person is a user of an application, with a number of his own.
type person struct {
	*process
	path string // below the prefix
	to   string
	sent int // messages that were read
}

func (p *process) person(application string) *person {
	return &person{p, application + "/users/" + uuid.NewString(), newNumber(), 0}
}

func (u *person) associate() answer {
	u.t.Helper()
	return u.mfa("POST", u.path+"/associate", fmt.Sprintf(`{"address":%q}`, u.to))
}

func (u *person) loginStart() answer {
	u.t.Helper()
	return u.mfa("POST", u.path+"/login_start", "")
}

func (u *person) validate(code string) answer {
	u.t.Helper()
	body, err := json.Marshal(map[string]string{"validation_code": code})
	if err != nil {
		u.t.Fatal(err)
	}
	return u.mfa("POST", u.path+"/validate", string(body))
}

// next waits for the next message to the person.
func (u *person) next() simMessage {
	u.t.Helper()
	u.sent++
	var all []simMessage
	if !within(patience, func() bool { all = u.messages(u.to); return len(all) >= u.sent }) {
		u.t.Fatalf("got %d messages to %s, want %d", len(all), u.to, u.sent)
	}
	return all[len(all)-u.sent] // the newest is first
}

// code waits for the next message by text and returns its first word.
func (u *person) code() string {
	u.t.Helper()
	code, _, _ := strings.Cut(u.next().Body, " ")
	return code
}

// associated associates the person and returns the code.
func (u *person) associated() string {
	u.t.Helper()
	u.done(u.associate())
	return u.code()
}

// validated makes the person one whose address is validated.
func (u *person) validated() *person {
	u.t.Helper()
	u.done(u.validate(u.associated()))
	return u
}

// login starts a login and returns the code.
func (u *person) login() string {
	u.t.Helper()
	u.done(u.loginStart())
	return u.code()
}

// A mfaUser is a user as answered.
type mfaUser struct {
	ID      string `json:"id"`
	Address string `json:"user_address"`
	Status  string `json:"status"`
	Created int64  `json:"created_date"`
	Updated int64  `json:"last_updated_date"`
	Version int    `json:"version_number"`
}

func (u *person) read() (got mfaUser) {
	u.t.Helper()
	u.into(&got, u.mfa("GET", u.path, ""))
	return got
}

// recent fails the test unless a date is one of the last minute.
func (p *process) recent(ms int64) {
	p.t.Helper()
	if ago := time.Since(time.UnixMilli(ms)); ago < -time.Second || ago > time.Minute {
		p.t.Errorf("got the date %d, %v ago, want now", ms, ago)
	}
}

// The bodies of Syniverse's examples, with the ids and codes of here.
func testSyniverseStory(t *testing.T, p *process) {
	id := p.createdID(p.mfa("POST", "applications", `{"name":"TEST_MFA_PROD_Sample","description":"TEST_MFA_PROD_Sample_DESC","auth_code_length":6,
	 "auth_token_type":"NUMERIC","auth_token_validity_duration":"600","message_from":"channel:gqKlekr-S22CJul_aE4XFQ"}`))
	kola := &person{p, "applications/" + id + "/users/Kola", newNumber(), 0}
	p.done(p.mfa("POST", kola.path+"/associate", `{"display_name":"TEST_MFA_PROD_Sample","address":"`+kola.to+`"}`))
	m := kola.next()
	if want := regexp.MustCompile(`^[0-9]{6} is your TEST_MFA_PROD_Sample verification code\.$`); !want.MatchString(m.Body) || m.Channel != "sms" || m.From != "+12025550199" {
		t.Errorf("got %s from %s: %q, want sms from +12025550199: %v", m.Channel, m.From, m.Body, want)
	}
	p.refused(kola.loginStart(), 409, "2003")
	p.done(p.mfa("POST", kola.path+"/validate", `{"validation_code":"`+m.Body[:6]+`"}`))
	p.done(p.mfa("POST", kola.path+"/login_start", `{"display_name":"TEST_MFA_PROD_Sample"}`))
	m = kola.next()
	if want := regexp.MustCompile(`^[0-9]{6} is your TEST_MFA_PROD_Sample login code\.$`); !want.MatchString(m.Body) {
		t.Errorf("got %q, want %v", m.Body, want)
	}
	p.refused(kola.validate(otherThan(m.Body[:6])), 409, "2001")
	p.done(p.mfa("POST", kola.path+"/validate", `{"validation_code":"`+m.Body[:6]+`"}`))
	p.done(p.mfa("DELETE", kola.path+"/associate", ""))
	p.done(p.mfa("DELETE", kola.path, ""))
	p.done(p.mfa("DELETE", "applications/"+id, ""))
}

func testApplicationFields(t *testing.T, p *process) {
	read := func(body string) (id, got string) {
		t.Helper()
		id = p.createdID(p.mfa("POST", "applications", body))
		a := p.mfa("GET", "applications/"+id, "")
		if a.status != 200 {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		var dates struct {
			Created int64 `json:"created_date"`
			Updated int64 `json:"last_updated_date"`
		}
		p.into(&dates, a)
		p.recent(dates.Created)
		if dates.Updated != dates.Created {
			t.Errorf("got the dates %+v, want the same twice", dates)
		}
		return id, strings.NewReplacer(id, "ID", fmt.Sprint(dates.Created), "NOW").Replace(a.body)
	}
	_, got := read(`{"name":"n"}`)
	const least = `{"id":"ID","name":"n","auth_code_length":6,"auth_token_type":"NUMERIC","auth_token_validity_duration":600,` +
		`"auth_token_delivery_methods":"SMS","created_date":NOW,"last_updated_date":NOW,"version_number":1}`
	if got != least {
		t.Errorf("got  %s\nwant %s", got, least)
	}
	_, got = read(`{"id":"mine","name":"Näme","description":"d","auth_code_length":"8","auth_token_type":"complex","auth_token_validity_duration":86400,"auth_token_prefix":"S-",` +
		`"auth_token_delivery_methods":["voice","SMS"],"associate_template":"$code, $display_name","login_template":"${token}","display_name":"The Shop",` +
		`"message_from":" sender_id:x ","created_date":1,"last_updated_date":"2","version_number":3,"unknown":{"x":[]}}`)
	const most = `{"id":"ID","name":"Näme","description":"d","auth_code_length":8,"auth_token_type":"COMPLEX","auth_token_validity_duration":86400,"auth_token_prefix":"S-",` +
		`"auth_token_delivery_methods":"VOICE,SMS","associate_template":"$code, $display_name","login_template":"${token}","display_name":"The Shop",` +
		`"message_from":"sender_id:x","created_date":NOW,"last_updated_date":NOW,"version_number":1}`
	if got != most {
		t.Errorf("got  %s\nwant %s", got, most)
	}
	// Null is as good as absent.
	_, got = read(`{"name":"n","description":null,"auth_code_length":null,"auth_token_type":null,"auth_token_validity_duration":null,"auth_token_prefix":null,` +
		`"auth_token_delivery_methods":null,"associate_template":null,"login_template":null,"display_name":null,"message_from":null}`)
	if got != least {
		t.Errorf("got  %s\nwant %s", got, least)
	}
}

// long is a text of n characters of two bytes each.
func long(n int) string { return strings.Repeat("é", n) }

func testApplicationSettings(t *testing.T, p *process) {
	for settings, want := range map[string]string{
		`"auth_code_length":4`:                                   `"auth_code_length":4`,
		`"auth_code_length":20`:                                  `"auth_code_length":20`,
		`"auth_code_length":" 20 "`:                              `"auth_code_length":20`,
		`"auth_token_validity_duration":30`:                      `"auth_token_validity_duration":30`,
		`"auth_token_validity_duration":"86400"`:                 `"auth_token_validity_duration":86400`,
		`"auth_token_type":"ALPHA"`:                              `"auth_token_type":"ALPHA"`,
		`"auth_token_type":"AlphaNumeric"`:                       `"auth_token_type":"ALPHANUMERIC"`,
		`"auth_token_delivery_methods":"sms,voice"`:              `"auth_token_delivery_methods":"SMS,VOICE"`,
		`"auth_token_delivery_methods":"VOICE"`:                  `"auth_token_delivery_methods":"VOICE"`,
		`"auth_token_delivery_methods":""`:                       `"auth_token_delivery_methods":"SMS"`,
		`"auth_token_delivery_methods":[]`:                       `"auth_token_delivery_methods":"SMS"`,
		`"auth_token_prefix":"ABCDEFGHIJKLMNOP"`:                 `"auth_token_prefix":"ABCDEFGHIJKLMNOP"`,
		`"description":"` + long(1024) + `"`:                     `"description":"` + long(1024) + `"`,
		`"name":"` + long(255) + `"`:                             `"name":"` + long(255) + `"`,
		`"message_from":"+12025550123"`:                          `"message_from":"+12025550123"`,
		`"message_from":"channel: 1KJPMkuHQkair_o15etpmg"`:       `"message_from":"channel: 1KJPMkuHQkair_o15etpmg"`,
		`"display_name":"` + strings.Repeat("x", 255) + `"`:      `"display_name":"` + strings.Repeat("x", 255) + `"`,
		`"associate_template":"$code","login_template":"$token"`: `"associate_template":"$code","login_template":"$token"`,
	} {
		path := "applications/" + p.createdID(p.mfa("POST", "applications", `{`+strings.TrimPrefix(`"name":"n",`+settings, ifNamed(settings))+`}`))
		if a := p.mfa("GET", path, ""); !strings.Contains(a.body, want) {
			t.Errorf("%s:\ngot  %s\nwant it with %s", settings, a.body, want)
		}
	}
}

// ifNamed is what to cut from settings that have a name of their own.
func ifNamed(settings string) string {
	if strings.HasPrefix(settings, `"name"`) {
		return `"name":"n",`
	}
	return ""
}

func testRefusedApplications(t *testing.T, p *process) {
	const tooLong = "1023"
	path := p.application()
	before := p.mfa("GET", path, "").body
	for _, test := range []struct{ settings, code, want string }{
		{`"name":null`, "400", "name can't be blank"},
		{`"name":""`, "400", "name can't be blank"},
		{`"name":5`, "400", "name must be a string"},
		{`"name":"` + long(256) + `"`, tooLong, "name is too long (maximum is 255 characters)"},
		{`"description":"` + long(1025) + `"`, tooLong, "description is too long (maximum is 1024 characters)"},
		{`"display_name":"` + long(256) + `"`, tooLong, "display_name is too long (maximum is 255 characters)"},
		{`"auth_token_prefix":"ABCDEFGHIJKLMNOPQ"`, tooLong, "auth_token_prefix is too long (maximum is 16 characters)"},
		{`"associate_template":"$code ` + long(1595) + `"`, tooLong, "associate_template is too long (maximum is 1600 characters)"},
		{`"login_template":"$code ` + long(1595) + `"`, tooLong, "login_template is too long (maximum is 1600 characters)"},
		{`"description":"` + long(1025) + `","auth_token_prefix":"ABCDEFGHIJKLMNOPQ"`, tooLong,
			"auth_token_prefix is too long (maximum is 16 characters); description is too long (maximum is 1024 characters)"},
		{`"description":"` + long(1025) + `","auth_code_length":3`, "400",
			"auth_code_length must be greater than or equal to 4; description is too long (maximum is 1024 characters)"},
		{`"display_name":5,"auth_code_length":3,"auth_token_type":"x","auth_token_delivery_methods":"SMS,SMS","auth_token_validity_duration":"y"`, "400",
			"auth_code_length must be greater than or equal to 4; auth_token_delivery_methods has sms twice; " +
				"auth_token_type must be NUMERIC, ALPHA, ALPHANUMERIC or COMPLEX; auth_token_validity_duration is not a number; display_name must be a string"},
		{`"auth_token_prefix":"a\nb"`, "400", "auth_token_prefix has a character that can't be shown"},
		{`"auth_code_length":3`, "400", "auth_code_length must be greater than or equal to 4"},
		{`"auth_code_length":0`, "400", "auth_code_length must be greater than or equal to 4"},
		{`"auth_code_length":-1`, "400", "auth_code_length must be greater than or equal to 4"},
		{`"auth_code_length":21`, "400", "auth_code_length must be less than or equal to 20"},
		{`"auth_code_length":"21"`, "400", "auth_code_length must be less than or equal to 20"},
		{`"auth_code_length":6.5`, "400", "auth_code_length must be an integer"},
		{`"auth_code_length":"six"`, "400", "auth_code_length is not a number"},
		{`"auth_token_validity_duration":29`, "400", "auth_token_validity_duration must be greater than or equal to 30"},
		{`"auth_token_validity_duration":0`, "400", "auth_token_validity_duration must be greater than or equal to 30"},
		{`"auth_token_validity_duration":86401`, "400", "auth_token_validity_duration must be less than or equal to 86400"},
		{`"auth_token_validity_duration":"99999999999999999999"`, "400", "auth_token_validity_duration must be less than or equal to 86400"},
		{`"auth_token_type":"HEX"`, "400", "auth_token_type must be NUMERIC, ALPHA, ALPHANUMERIC or COMPLEX"},
		{`"auth_token_delivery_methods":"PIGEON"`, "400", "auth_token_delivery_methods has an unknown method"},
		{`"auth_token_delivery_methods":"SMS,"`, "400", "auth_token_delivery_methods has an unknown method"},
		{`"auth_token_delivery_methods":["SMS","sms"]`, "400", "auth_token_delivery_methods has sms twice"},
		{`"auth_token_delivery_methods":7`, "400", "auth_token_delivery_methods must be a string with commas, or an array of strings"},
		{`"associate_template":"no placeholder"`, "400", "associate_template has no $validation_code"},
		{`"login_template":"no $display_name"`, "400", ""},
		{`"login_template":"\\$code only"`, "400", "login_template has no $validation_code"},
	} {
		settings := test.settings
		if !strings.HasPrefix(settings, `"name"`) {
			settings = `"name":"n",` + settings
		}
		for _, a := range []answer{
			p.mfa("POST", "applications", `{`+settings+`}`),
			p.mfa("PUT", path, `{"version_number":1,`+settings+`}`),
		} {
			if got := p.refused(a, 400, test.code); test.want != "" && got != test.want {
				t.Errorf("%s:\ngot  %s\nwant %s", test.settings, got, test.want)
			}
		}
		if test.settings != `"name":null` { // which changes nothing
			p.refused(p.mfa("POST", path, `{"version_number":1,`+test.settings+`}`), 400, test.code)
		}
	}
	// A name that names no template is one that isn't there.
	for _, body := range []string{`{"name":"n","associate_template":"nothing"}`, `{"name":"n","login_template":"XkpeXN1wkJK4ay0wKcwvC1"}`} {
		p.refused(p.mfa("POST", "applications", body), 404, "404")
	}
	if after := p.mfa("GET", path, "").body; after != before {
		t.Errorf("what was refused has changed something:\ngot  %s\nwant %s", after, before)
	}
}

func testApplicationUpdate(t *testing.T, p *process) {
	path := p.application(`"description":"d"`, `"auth_code_length":8`, `"auth_token_prefix":"X"`, `"display_name":"D"`)
	type application struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Length      int    `json:"auth_code_length"`
		Prefix      string `json:"auth_token_prefix"`
		DisplayName string `json:"display_name"`
		Version     int    `json:"version_number"`
		Created     int64  `json:"created_date"`
		Updated     int64  `json:"last_updated_date"`
	}
	read := func() (a application) {
		t.Helper()
		p.into(&a, p.mfa("GET", path, ""))
		return a
	}
	want := read()
	for _, step := range []struct {
		body   string
		change func()
	}{
		{`{"version_number":1,"auth_code_length":9}`, func() { want.Length = 9 }},
		{`{"version_number":"2","name":"New","description":null}`, func() { want.Name = "New" }},
		{`{"version_number":3,"description":"","auth_token_prefix":""}`, func() { want.Description, want.Prefix = "", "" }},
		{`{"version_number":4}`, func() {}},
	} {
		p.done(p.mfa("POST", path, step.body))
		got := read()
		step.change()
		want.Version++
		if got.Updated < want.Updated {
			t.Errorf("%s: got last_updated_date %d, before %d", step.body, got.Updated, want.Updated)
		}
		want.Updated = got.Updated
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.body, diff)
		}
	}
}

func testApplicationReplacement(t *testing.T, p *process) {
	path := p.application(`"description":"d"`, `"auth_code_length":8`, `"auth_token_prefix":"X"`, `"display_name":"D"`,
		`"auth_token_type":"ALPHA"`, `"auth_token_delivery_methods":"VOICE"`, `"associate_template":"$code"`, `"message_from":"channel:x"`)
	var dates struct {
		Created int64 `json:"created_date"`
		Updated int64 `json:"last_updated_date"`
	}
	p.into(&dates, p.mfa("GET", path, ""))
	created := dates.Created
	p.refused(p.mfa("PUT", path, `{"version_number":1,"description":"d"}`), 400, "400") // no name
	p.done(p.mfa("PUT", path, `{"version_number":1,"name":"Again","auth_token_validity_duration":60}`))
	a := p.mfa("GET", path, "")
	p.into(&dates, a)
	want := fmt.Sprintf(`{"id":%q,"name":"Again","auth_code_length":6,"auth_token_type":"NUMERIC","auth_token_validity_duration":60,`+
		`"auth_token_delivery_methods":"SMS","created_date":%d,"last_updated_date":%d,"version_number":2}`, strings.TrimPrefix(path, "applications/"), created, dates.Updated)
	p.want(a, 200, want)
}

func testVersions(t *testing.T, p *process) {
	path := p.application()
	for _, method := range []string{"POST", "PUT"} {
		for _, body := range []string{`{"name":"x"}`, `{"name":"x","version_number":null}`, `{"name":"x","version":1}`} {
			p.refusedFor(p.mfa(method, path, body), 400, "400", "version_number can't be blank")
		}
		p.refusedFor(p.mfa(method, path, `{"name":"x","version_number":"one"}`), 400, "400", "version_number is not a number")
		for _, version := range []string{"0", "2", "-1", "99999999999999999999"} {
			p.refused(p.mfa(method, path, `{"name":"x","version_number":`+version+`}`), 409, "1001")
		}
		p.refused(p.mfa(method, "applications/XkpeXN1wkJK4ay0wKcwvC1", `{"name":"x","version_number":1}`), 404, "404")
	}
	p.refusedFor(p.mfa("POST", path, ""), 400, "400", "version_number can't be blank")
	p.refusedFor(p.mfa("PUT", path, ""), 400, "400", "name can't be blank; version_number can't be blank")
	p.done(p.mfa("POST", path, `{"name":"y","version_number":1}`))
	p.refused(p.mfa("POST", path, `{"name":"z","version_number":1}`), 409, "1001")
	p.refused(p.mfa("PUT", path, `{"name":"z","version_number":1}`), 409, "1001")
	p.done(p.mfa("PUT", path, `{"name":"w","version_number":2}`))
	if a := p.mfa("GET", path, ""); !strings.Contains(a.body, `"name":"w"`) || !strings.Contains(a.body, `"version_number":3`) {
		t.Errorf("got %s, want the name w at version 3", a.body)
	}
}

// atOnce makes calls in parallel and returns their answers.
func atOnce(n int, call func(i int) answer) []answer {
	all := make([]answer, n)
	ready, done := make(chan struct{}), make(chan struct{})
	for i := range n {
		go func() {
			<-ready
			all[i] = call(i)
			done <- struct{}{}
		}()
	}
	close(ready)
	for range n {
		<-done
	}
	return all
}

// count is how many answers have a status.
func count(all []answer, status int) (n int) {
	for _, a := range all {
		if a.status == status {
			n++
		}
	}
	return n
}

func testUpdateRace(t *testing.T, p *process) {
	path := p.application()
	all := atOnce(20, func(i int) answer {
		return p.mfa([]string{"POST", "PUT"}[i%2], path, fmt.Sprintf(`{"name":"%d","version_number":1}`, i))
	})
	if made, stale := count(all, 204), count(all, 409); made != 1 || stale != 19 {
		t.Errorf("got %d made and %d stale, want 1 and 19", made, stale)
	}
	for i, a := range all {
		if a.status == 204 && !strings.Contains(p.mfa("GET", path, "").body, fmt.Sprintf(`"name":"%d"`, i)) {
			t.Errorf("update %d was answered 204 and isn't there", i)
		}
	}
}

func testApplicationDeletion(t *testing.T, p *process) {
	path := p.application()
	u := p.person(path)
	code := u.validated().login()
	p.done(p.mfa("DELETE", path, ""))
	for _, a := range []answer{
		p.mfa("GET", path, ""), p.mfa("DELETE", path, ""), p.mfa("POST", path, `{"version_number":1}`), p.mfa("PUT", path, `{"version_number":1,"name":"n"}`),
		p.mfa("GET", path+"/users", ""), p.mfa("GET", u.path, ""), p.mfa("DELETE", u.path, ""), p.mfa("DELETE", u.path+"/associate", ""),
		u.associate(), u.loginStart(), u.validate(code),
	} {
		p.refused(a, 404, "404")
	}
	if a := p.mfa("GET", "applications?id="+strings.TrimPrefix(path, "applications/"), ""); !strings.Contains(a.body, `"list":[],"total":0`) {
		t.Errorf("the list still has it: %s", a.body)
	}
}

// project is the process as seen by a client of a project of its own, for a test that counts.
func (p *process) project(name string) *process { return p.as(p.otherProject(name)) }

// names are those in a list's answer, and the rest of the answer.
func (p *process) names(a answer, field string) (names []string, rest string) {
	p.t.Helper()
	var page struct {
		List   []map[string]any `json:"list"`
		Total  int              `json:"total"`
		Limit  int              `json:"limit"`
		Offset int              `json:"offset"`
	}
	p.into(&page, a)
	if page.List == nil {
		p.t.Errorf("got no list: %s", a.body)
	}
	for _, entry := range page.List {
		names = append(names, fmt.Sprint(entry[field]))
	}
	return names, fmt.Sprintf("%d of %d from %d", page.Limit, page.Total, page.Offset)
}

// nextMillisecond waits until what is made next is later to everybody.
func nextMillisecond() {
	for now := time.Now().UnixMilli(); time.Now().UnixMilli() == now; {
		time.Sleep(100 * time.Microsecond)
	}
}

func testApplicationLists(t *testing.T, p *process) {
	p = p.project("lists")
	p.want(p.mfa("GET", "applications", ""), 200, `{"list":[],"total":0,"limit":50,"offset":0}`)
	var ids []string
	for _, settings := range []string{`"name":"c"`, `"name":"a","auth_code_length":8`, `"name":"b","auth_token_type":"ALPHA","auth_token_prefix":"P"`, `"name":"a","message_from":"channel:x"`} {
		ids = append(ids, p.createdID(p.mfa("POST", "applications", `{`+settings+`}`)))
		nextMillisecond()
	}
	for query, want := range map[string][]string{
		"":                          {"c", "a", "b", "a", "50 of 4 from 0"},
		"limit=2":                   {"c", "a", "2 of 4 from 0"},
		"limit=2&offset=2":          {"b", "a", "2 of 4 from 2"},
		"limit=2&offset=3":          {"a", "2 of 4 from 3"},
		"limit=2&offset=4":          {"2 of 4 from 4"},
		"offset=1000":               {"50 of 4 from 1000"},
		"limit=100":                 {"c", "a", "b", "a", "100 of 4 from 0"},
		"limit=101":                 {"c", "a", "b", "a", "100 of 4 from 0"},
		"sort=name":                 {"a", "a", "b", "c", "50 of 4 from 0"},
		"sort=-name&limit=3":        {"c", "b", "a", "3 of 4 from 0"},
		"sort=-created_date,":       nil,
		"name=a":                    {"a", "a", "50 of 2 from 0"},
		"name=a&auth_code_length=8": {"a", "50 of 1 from 0"},
		"auth_token_type=ALPHA":     {"b", "50 of 1 from 0"},
		"auth_token_prefix=P":       {"b", "50 of 1 from 0"},
		"message_from=channel:x":    {"a", "50 of 1 from 0"},
		"id=" + ids[2]:              {"b", "50 of 1 from 0"},
		"auth_token_validity_duration=600&name=c":                                                   {"c", "50 of 1 from 0"},
		"auth_token_delivery_methods=VOICE":                                                         {"50 of 0 from 0"},
		"description=nothing&version_number=7&display_name=x&associate_template=x&login_template=x": {"c", "a", "b", "a", "50 of 4 from 0"},
		"limit=0": nil, "limit=-1": nil, "offset=-1": nil, "limit=x": nil, "sort=description": nil, "name=a&name=b": nil, "created_date=x": nil, "name=%ff": nil, "name=%zz": nil,
	} {
		a := p.mfa("GET", "applications?"+query, "")
		if want == nil {
			p.refused(a, 400, "400")
			continue
		}
		got, rest := p.names(a, "name")
		if diff := cmp.Diff(want, append(got, rest)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	// By a date, in either form. Filters mean nothing to a single one.
	var one struct {
		Created int64 `json:"created_date"`
	}
	p.into(&one, p.mfa("GET", "applications/"+ids[0]+"?name=nobody&limit=x", ""))
	for _, date := range []string{fmt.Sprint(one.Created), time.UnixMilli(one.Created).UTC().Format(time.RFC3339Nano)} {
		for _, by := range []string{"created_date", "last_updated_date"} {
			if got, _ := p.names(p.mfa("GET", "applications?"+by+"="+date, ""), "name"); !slices.Contains(got, "c") {
				t.Errorf("%s=%s: got %v, want c among them", by, date, got)
			}
		}
	}
}

func testUserLists(t *testing.T, p *process) {
	path := p.application()
	list := path + "/users"
	p.want(p.mfa("GET", list, ""), 200, `{"list":[],"total":0,"limit":50,"offset":0}`)
	for _, name := range []string{"Kola", "ann", "kola"} {
		u := &person{p, list + "/" + name, newNumber(), 0}
		u.done(u.associate())
		nextMillisecond()
		if name == "ann" {
			u.done(u.validate(u.code()))
		}
		if name == "kola" {
			u.done(u.mfa("DELETE", u.path+"/associate", ""))
		}
	}
	for query, want := range map[string][]string{
		"":                                  {"Kola", "ann", "kola", "50 of 3 from 0"},
		"limit=1&offset=1":                  {"ann", "1 of 3 from 1"},
		"limit=1&offset=3":                  {"1 of 3 from 3"},
		"limit=1000&offset=9":               {"100 of 3 from 9"},
		"sort=id":                           {"Kola", "ann", "kola", "50 of 3 from 0"},
		"sort=-id":                          {"kola", "ann", "Kola", "50 of 3 from 0"},
		"sort=-created_date":                {"kola", "ann", "Kola", "50 of 3 from 0"},
		"sort=status":                       {"kola", "Kola", "ann", "50 of 3 from 0"},
		"sort=version_number":               {"Kola", "ann", "kola", "50 of 3 from 0"},
		"id=kola":                           {"kola", "50 of 1 from 0"},
		"id=KOLA":                           {"50 of 0 from 0"},
		"status=VALIDATED":                  {"ann", "50 of 1 from 0"},
		"status=INITIAL":                    {"kola", "50 of 1 from 0"},
		"status=VALIDATION%20PENDING":       {"Kola", "50 of 1 from 0"},
		"status=VALIDATION+PENDING":         {"Kola", "50 of 1 from 0"},
		"status=VALIDATION_PENDING&id=Kola": {"Kola", "50 of 1 from 0"},
		"status=VALIDATED&id=Kola":          {"50 of 0 from 0"},
		"created_date=1":                    {"50 of 0 from 0"},
		"user_address=x&version_number=9":   {"Kola", "ann", "kola", "50 of 3 from 0"},
		"status=GONE":                       nil, "limit=0": nil, "sort=address": nil, "last_updated_date=x": nil, "id=%00": nil,
	} {
		a := p.mfa("GET", list+"?"+query, "")
		if want == nil {
			p.refused(a, 400, "400")
			continue
		}
		got, rest := p.names(a, "id")
		if diff := cmp.Diff(want, append(got, rest)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	var ann mfaUser
	p.into(&ann, p.mfa("GET", list+"/ann", ""))
	p.recent(ann.Created)
	for _, query := range []string{fmt.Sprintf("created_date=%d&last_updated_date=%d", ann.Created, ann.Updated), "id=ann"} {
		a := p.mfa("GET", list+"?"+query, "")
		p.want(a, 200, fmt.Sprintf(`{"list":[{"id":"ann","user_address":%q,"status":"VALIDATED","created_date":%d,"last_updated_date":%d,"version_number":2}],"total":1,"limit":50,"offset":0}`,
			ann.Address, ann.Created, ann.Updated))
	}
	p.refused(p.mfa("GET", "applications/XkpeXN1wkJK4ay0wKcwvC1/users", ""), 404, "404")
}

func testBearers(t *testing.T, p *process) {
	path := p.application()
	for name, header := range map[string]string{
		"none": "", "another one": "Bearer cs_of-nobody", "no token": "Bearer", "an empty token": "Bearer ", "no scheme": p.Token,
		"another scheme": "Token " + p.Token, "two": "Bearer " + p.Token + " " + p.Token,
	} {
		for _, op := range [][2]string{{"GET", "applications"}, {"POST", "applications"}, {"GET", path}, {"DELETE", path + "/users/x"}, {"POST", path + "/users/x/validate"},
			{"GET", "/scg-external-api/api/v1/applications"}, {"POST", "/scg-external-api/api/v1/messaging/message_templates"}} {
			a := p.mfa(op[0], op[1], "not even JSON", func(r *http.Request) {
				r.Header.Del("Authorization")
				if header != "" {
					r.Header.Set("Authorization", header)
				}
			})
			if p.refused(a, 401, "401"); a.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: WWW-Authenticate is %q, want Bearer", name, a.header.Get("WWW-Authenticate"))
			}
		}
	}
	p.refused(p.mfa("GET", path, "", func(r *http.Request) { r.SetBasicAuth(p.Project, p.Token) }), 401, "401")
	for _, header := range []string{"bearer " + p.Token, "BEARER  " + p.Token + " "} {
		a := p.mfa("GET", path, "", func(r *http.Request) { r.Header.Set("Authorization", header); r.Header.Set("int-appId", "x") })
		if a.status != 200 {
			t.Errorf("%.8s: got %d %s, want 200", header, a.status, a.body)
		}
	}
	// A revoked one stops within a second, or a few on a busy machine.
	key := p.command("key", "create", "--project", p.Project)
	other := p.as(p.Project, key["token"])
	if a := other.mfa("GET", path, ""); a.status != 200 {
		t.Fatalf("got %d %s, want 200", a.status, a.body)
	}
	p.command("key", "revoke", key["id"])
	if !within(10*time.Second, func() bool { return other.mfa("GET", path, "").status == 401 }) {
		t.Error("a revoked token goes on working")
	}
}

func testSyniverseNotFound(t *testing.T, p *process) {
	path := p.application()
	const absent = "applications/XkpeXN1wkJK4ay0wKcwvC1"
	for _, r := range [][2]string{
		{"GET", absent}, {"DELETE", absent}, {"GET", absent + "/users"}, {"GET", absent + "/users/kola"}, {"DELETE", absent + "/users/kola"},
		{"DELETE", absent + "/users/kola/associate"}, {"POST", absent + "/users/kola/login_start"},
		{"GET", path + "/users/kola"}, {"DELETE", path + "/users/kola"}, {"DELETE", path + "/users/kola/associate"}, {"POST", path + "/users/kola/login_start"},
		// No id, or not quite.
		{"GET", "applications/x"}, {"GET", "applications/" + uuid.NewString()}, {"GET", path + "x"}, {"GET", path[:len(path)-1]}, {"GET", "applications/zzzzzzzzzzzzzzzzzzzzzz"},
		{"GET", "applications/%2F"}, {"GET", "applications/%00"}, {"GET", "applications/é"},
		// No path of ours. Nothing redirects.
		{"GET", ""}, {"GET", "x"}, {"GET", "/mfa/v1"}, {"GET", "/mfa/v12"}, {"GET", "/scg-external-api/api/v1"}, {"GET", "applications/"}, {"GET", path + "/"}, {"GET", path + "/users/"}, {"GET", "/mfa/v1//applications"}, {"GET", "/mfa/v1/./applications"},
		{"GET", path + "/users/x/y"}, {"POST", path + "/users/x/login_finish"}, {"POST", path + "/users//associate"}, {"POST", path + "/users/x/associate/"},
		{"GET", "Applications"}, {"GET", "/scg-external-api/api/v1/"}, {"GET", "/scg-external-api/api/v1/messaging/messages"},
	} {
		p.refused(p.mfa(r[0], r[1], ""), 404, "404")
	}
	for _, op := range []string{"associate", "validate"} {
		body := `{"address":"+12025550100","validation_code":"123456"}`
		p.refused(p.mfa("POST", absent+"/users/kola/"+op, body), 404, "404")
	}
	p.refused(p.mfa("POST", path+"/users/kola/validate", `{"validation_code":"123456"}`), 404, "404")
}

func testSyniverseMethods(t *testing.T, p *process) {
	path := p.application()
	all := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"}
	for target, allow := range map[string]string{
		"applications":                "GET, HEAD, POST",
		path:                          "DELETE, GET, HEAD, POST, PUT",
		path + "/users":               "GET, HEAD",
		path + "/users/x":             "DELETE, GET, HEAD",
		path + "/users/x/associate":   "DELETE, POST",
		path + "/users/x/validate":    "POST",
		path + "/users/x/login_start": "POST",
		"/scg-external-api/api/v1/messaging/message_templates":   "GET, HEAD, POST",
		"/scg-external-api/api/v1/messaging/message_templates/x": "DELETE, GET, HEAD, POST, PUT",
	} {
		for _, method := range all {
			if slices.Contains(strings.Split(allow, ", "), method) {
				continue
			}
			a := p.mfa(method, target, "")
			if a.header.Get("Allow") != allow {
				t.Errorf("%s %s: Allow is %q, want %q", method, target, a.header.Get("Allow"), allow)
			}
			if method == "HEAD" {
				p.want(a, 405, "")
			} else {
				p.refused(a, 405, "405")
			}
		}
	}
	if a := p.mfa("HEAD", path, ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: got %d %s, want 200 without a body", a.status, a.body)
	}
}

func testSyniverseBodies(t *testing.T, p *process) {
	path := p.application()
	u := p.person(path).validated()
	templates := "/scg-external-api/api/v1/messaging/message_templates"
	targets := [][2]string{
		{"POST", "applications"}, {"POST", path}, {"PUT", path}, {"POST", u.path + "/associate"}, {"POST", u.path + "/validate"}, {"POST", u.path + "/login_start"},
		{"POST", templates},
	}
	for _, target := range targets {
		for _, body := range []string{
			`{`, `[]`, `"x"`, `null`, `{}{}`, `{"name":"n",}`, `{"name":"n","name":"m"}`, `{"validation_code":"1","validation_code":"2"}`, "{\"name\":\"\xff\"}", "\ufeff{}", ` `, `name=n`,
		} {
			p.refused(p.mfa(target[0], target[1], body), 400, "400")
		}
		for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data; boundary=x", ";"} {
			p.refused(p.mfa(target[0], target[1], `{"name":"n"}`, func(r *http.Request) { r.Header.Set("Content-Type", contentType) }), 415, "415")
		}
		big := `{"name":"n","x":"` + strings.Repeat("x", 64<<10) + `"}`
		p.refused(p.mfa(target[0], target[1], big), 413, "413")
		p.refused(p.mfa(target[0], target[1], big, func(r *http.Request) { r.ContentLength = -1 }), 413, "413")
	}
	most := `{"name":"n","x":"`
	most += strings.Repeat("x", 64<<10-len(most)-2) + `"}`
	p.createdID(p.mfa("POST", "applications", most))
	for _, contentType := range []string{"application/json", "Application/json", "application/json; charset=utf-8", ""} {
		p.createdID(p.mfa("POST", "applications", `{"name":"n"}`, func(r *http.Request) {
			if r.Header.Set("Content-Type", contentType); contentType == "" {
				r.Header.Del("Content-Type")
			}
		}))
	}
	// A body that isn't there has no fields, whatever its type is.
	p.refusedFor(p.mfa("POST", "applications", "", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }), 400, "400", "name can't be blank")
	p.done(p.mfa("POST", u.path+"/login_start", "", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }))
	p.done(p.mfa("POST", u.path+"/login_start", "", func(r *http.Request) { // in no chunks
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("")), -1
	}))
	// Where no body belongs none is read.
	for _, body := range []string{`{`, `{"name":"n"}`} {
		if a := p.mfa("GET", path, body); a.status != 200 {
			t.Errorf("GET with the body %s: got %d %s, want 200", body, a.status, a.body)
		}
		p.done(p.mfa("DELETE", u.path+"/associate", body))
	}
}

func testAlias(t *testing.T, p *process) {
	const other = "/scg-external-api/api/v1/"
	id := p.createdID(p.mfa("POST", other+"applications", `{"name":"n"}`))
	u := &person{p, other + "applications/" + id + "/users/kola", newNumber(), 0}
	u.validated()
	p.want(p.mfa("GET", "applications/"+id+"/users/kola", ""), 200, p.mfa("GET", u.path, "").body)
	p.want(p.mfa("GET", "applications/"+id, ""), 200, p.mfa("GET", other+"applications/"+id, "").body)
	code := u.login()
	u.path = "applications/" + id + "/users/kola"
	p.done(u.validate(code))
	p.done(p.mfa("DELETE", other+"applications/"+id, ""))
	p.refused(p.mfa("GET", "applications/"+id, ""), 404, "404")
	p.refused(p.mfa("PATCH", other+"applications", ""), 405, "405")
}

func testSyniverseTenancy(t *testing.T, p *process) {
	other := p.project("syniverse-tenancy")
	path := p.application()
	u := p.person(path)
	code := u.validated().login()
	template := p.createdID(p.mfa("POST", "/scg-external-api/api/v1/messaging/message_templates", `{"name":"ours","pattern":"$code"}`))
	before := p.mfa("GET", path, "").body + p.mfa("GET", u.path, "").body

	// Each operation on what is another's is answered, to the byte, like one on what isn't there.
	const absent = "XkpeXN1wkJK4ay0wKcwvC1"
	for _, op := range []struct{ method, path, body string }{
		{"GET", "applications/{id}", ""},
		{"POST", "applications/{id}", `{"version_number":1,"name":"theirs"}`},
		{"PUT", "applications/{id}", `{"version_number":1,"name":"theirs"}`},
		{"DELETE", "applications/{id}", ""},
		{"GET", "applications/{id}/users", ""},
		{"GET", "applications/{id}/users/{user}", ""},
		{"DELETE", "applications/{id}/users/{user}", ""},
		{"POST", "applications/{id}/users/{user}/associate", `{"address":"+12025550100"}`},
		{"DELETE", "applications/{id}/users/{user}/associate", ""},
		{"POST", "applications/{id}/users/{user}/login_start", ""},
		{"POST", "applications/{id}/users/{user}/validate", `{"validation_code":"` + code + `"}`},
		{"GET", "/scg-external-api/api/v1/messaging/message_templates/{template}", ""},
		{"POST", "/scg-external-api/api/v1/messaging/message_templates/{template}", `{"version_number":1,"name":"theirs"}`},
		{"PUT", "/scg-external-api/api/v1/messaging/message_templates/{template}", `{"version_number":1,"name":"theirs","pattern":"x"}`},
		{"DELETE", "/scg-external-api/api/v1/messaging/message_templates/{template}", ""},
		{"POST", "applications", `{"name":"n","login_template":"{template}"}`},
	} {
		ours := strings.NewReplacer("{id}", strings.TrimPrefix(path, "applications/"), "{user}", u.path[strings.LastIndex(u.path, "/")+1:], "{template}", template)
		none := strings.NewReplacer("{id}", absent, "{user}", uuid.NewString(), "{template}", absent)
		foreign, missing := other.mfa(op.method, ours.Replace(op.path), ours.Replace(op.body)), other.mfa(op.method, none.Replace(op.path), none.Replace(op.body))
		for _, a := range []answer{foreign, missing} {
			a.header.Del("X-Request-Id")
			a.header.Del("Date")
		}
		if diff := cmp.Diff(missing, foreign, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%s %s: what is another's differs from what isn't there (-none +another's):\n%s", op.method, op.path, diff)
		}
		p.refused(foreign, 404, "404")
	}
	for _, query := range []string{"applications", "applications?id=" + strings.TrimPrefix(path, "applications/"), "/scg-external-api/api/v1/messaging/message_templates"} {
		if a := other.mfa("GET", query, ""); !strings.Contains(a.body, `"list":[],"total":0`) {
			t.Errorf("%s: another project sees %s", query, a.body)
		}
	}
	if after := p.mfa("GET", path, "").body + p.mfa("GET", u.path, "").body; after != before {
		t.Errorf("another project has changed something:\ngot  %s\nwant %s", after, before)
	}
	p.done(u.validate(code))
}

func testTokenRefresh(t *testing.T, p *process) {
	path := p.application()
	key := p.command("key", "create", "--project", p.Project, "--consumer")
	refresh := func(route, oldToken, more string) (token string, validity int64) {
		t.Helper()
		q := url.Values{"consumerkey": {key["consumer_key"]}, "consumersecret": {key["consumer_secret"]}}
		if oldToken != "" {
			q.Set("oldtoken", oldToken)
		}
		a := p.mfa("GET", route+"?"+q.Encode()+more, "", func(r *http.Request) { r.Header.Del("Authorization") })
		var got struct {
			AccessToken  string `json:"accessToken"`
			ValidityTime int64  `json:"validityTime"`
		}
		p.into(&got, a)
		if exact, _ := json.Marshal(got); string(exact) != a.body || got.AccessToken == "" {
			t.Errorf("got %s, want accessToken and validityTime only", a.body)
		}
		return got.AccessToken, got.ValidityTime
	}
	works := func(token string, want int) {
		t.Helper()
		if a := p.as(p.Project, token).mfa("GET", path, ""); a.status != want {
			t.Errorf("the token is answered %d, want %d", a.status, want)
		}
	}
	first := key["token"]
	works(first, 200)
	// A token that works for ever is the one that is asked for, whatever the validity.
	const main = "/saop-rest-data/v1/apptoken-refresh"
	for _, more := range []string{"", "&validity=900", "&validity=0", "&validity=9999999999999999999"} {
		if token, validity := refresh(main, first, more); token != first || validity != 0 {
			t.Errorf("%s: got %q for %d s, want the current token for ever", more, token, validity)
		}
	}
	// Who doesn't know it gets a new one, and the old one stops.
	second, validity := refresh("/apptoken-refresh", "cs_stale", "&validity=3600")
	if second == first || validity < 3590 || validity > 3600 {
		t.Errorf("got %q for %d s, want a new one for 3600", second, validity)
	}
	works(first, 401)
	works(second, 200)
	// Within its life it is answered again; for longer, or for ever, there is a new one.
	if token, validity := refresh("/v1/apptoken-refresh", second, "&validity=900"); token != second || validity < 3500 || validity > 3600 {
		t.Errorf("got %q for %d s, want the current token", token, validity)
	}
	third, validity := refresh(main, second, "&validity=7200")
	if third == second || validity < 7190 || validity > 7200 {
		t.Errorf("got %q for %d s, want a new one for 7200", third, validity)
	}
	fourth, validity := refresh(main, third, "")
	if fourth == third || validity != 0 {
		t.Errorf("got %q for %d s, want a new one for ever", fourth, validity)
	}
	works(second, 401)
	works(third, 401)
	works(fourth, 200)
	// What a revoked key had is no way back.
	p.command("key", "revoke", key["id"])
	q := url.Values{"consumerkey": {key["consumer_key"]}, "consumersecret": {key["consumer_secret"]}}
	p.refreshRefused(p.mfa("GET", main+"?"+q.Encode(), ""), 500)
}

// refreshRefused fails the test unless the answer has the token service's own shape.
func (p *process) refreshRefused(a answer, status int) {
	p.t.Helper()
	var f struct {
		ErrorCode int    `json:"errorCode"`
		MoreInfo  string `json:"moreInfo"`
		UserMsg   string `json:"userMsg"`
	}
	json.Unmarshal([]byte(a.body), &f)
	if exact, _ := json.Marshal(f); a.status != status || string(exact) != a.body || f.ErrorCode == 0 || f.MoreInfo == "" || f.UserMsg == "" {
		p.t.Errorf("got  %d %s\nwant %d with errorCode, moreInfo and userMsg", a.status, a.body, status)
	}
}

func testRefusedRefresh(t *testing.T, p *process) {
	key := p.command("key", "create", "--project", p.Project, "--consumer")
	right := url.Values{"consumerkey": {key["consumer_key"]}, "consumersecret": {key["consumer_secret"]}}
	const path = "/saop-rest-data/v1/apptoken-refresh?"
	for query, status := range map[string]int{
		"":                                   400,
		"consumerkey=" + key["consumer_key"]: 400,
		"consumersecret=" + key["consumer_secret"]:                               400,
		right.Encode() + "&validity=899":                                         400,
		right.Encode() + "&validity=x":                                           400,
		right.Encode() + "&consumerkey=x":                                        400,
		right.Encode() + "&%zz":                                                  400,
		"consumerkey=x&consumersecret=y":                                         500,
		"consumersecret=y&consumerkey=" + key["consumer_key"]:                    500,
		"consumerkey=x&consumersecret=" + key["consumer_secret"]:                 500,
		"consumerkey=" + key["consumer_key"] + "&consumersecret=" + key["token"]: 500,
	} {
		p.refreshRefused(p.mfa("GET", path+query, ""), status)
	}
	p.refreshRefused(p.mfa("POST", path+right.Encode(), ""), 405)
	p.want(p.mfa("HEAD", path+right.Encode()+"&validity=900", ""), 405, "") // nobody would see the new token
	p.refreshRefused(p.mfa("GET", "/v1/apptoken-refresh/x?"+right.Encode(), ""), 404)
	// Whoever watches for faults of the server isn't woken by a client's.
	scrape, err := http.NewRequest("GET", p.Ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, metrics, err := do(scrape)
	if err != nil {
		t.Fatal(err)
	}
	if refresh := regexp.MustCompile(`countersign_requests_total{[^}]*apptoken-refresh",status="(5..|401)"}`).FindAllStringSubmatch(metrics, -1); len(refresh) != 1 || refresh[0][1] != "401" {
		t.Errorf("refused refreshes are counted as %q, want 401 only", refresh)
	}
	// None of it took the token away.
	if a := p.as(p.Project, key["token"]).mfa("GET", "applications", ""); a.status != 200 {
		t.Errorf("after refused refreshes the token is answered %d %s, want 200", a.status, a.body)
	}
}
