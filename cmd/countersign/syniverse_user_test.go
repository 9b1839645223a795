package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// The states that a user can be in. Each begins with a person who isn't there.
const (
	isAbsent    = "absent"
	isInitial   = "INITIAL"
	isPending   = "VALIDATION PENDING"
	isValidated = "VALIDATED, no code"
	isLoggingIn = "VALIDATED, login code live"
)

// in brings a person into a state and returns the last code, right or used.
func (u *person) bring(state string) (code string) {
	u.t.Helper()
	switch state {
	case isInitial:
		code = u.associated()
		u.done(u.mfa("DELETE", u.path+"/associate", ""))
	case isPending:
		code = u.associated()
	case isValidated:
		code = u.associated()
		u.done(u.validate(code))
	case isLoggingIn:
		code = u.validated().login()
	default:
		code = "123456"
	}
	return code
}

// Each cell of the contract's table: an operation in a state, how it is answered, where it leads, how
// much later the user's version is, and whether a message is sent.
func testStates(t *testing.T, p *process) {
	app := p.application()
	operations := map[string]func(u *person, code string) answer{
		"associate":        func(u *person, _ string) answer { return u.associate() },
		"validate right":   func(u *person, code string) answer { return u.validate(code) },
		"validate wrong":   func(u *person, code string) answer { return u.validate(otherThan(code)) },
		"login_start":      func(u *person, _ string) answer { return u.loginStart() },
		"DELETE associate": func(u *person, _ string) answer { return u.mfa("DELETE", u.path+"/associate", "") },
		"DELETE user":      func(u *person, _ string) answer { return u.mfa("DELETE", u.path, "") },
		"GET user":         func(u *person, _ string) answer { return u.mfa("GET", u.path, "") },
	}
	const none = ""
	type cell struct {
		status  int
		code    string // error_code
		after   string // the status, as answered; none: the user isn't there
		version int    // later by
		sent    int    // messages
	}
	pending, validated := isPending, "VALIDATED"
	table := map[string]map[string]cell{
		isAbsent: {
			"associate":        {204, "", pending, 1, 1},
			"validate right":   {404, "404", none, 0, 0},
			"validate wrong":   {404, "404", none, 0, 0},
			"login_start":      {404, "404", none, 0, 0},
			"DELETE associate": {404, "404", none, 0, 0},
			"DELETE user":      {404, "404", none, 0, 0},
			"GET user":         {404, "404", none, 0, 0},
		},
		isInitial: {
			"associate":        {204, "", pending, 1, 1},
			"validate right":   {409, "2002", isInitial, 0, 0},
			"validate wrong":   {409, "2002", isInitial, 0, 0},
			"login_start":      {409, "2003", isInitial, 0, 0},
			"DELETE associate": {204, "", isInitial, 0, 0},
			"DELETE user":      {204, "", none, 0, 0},
			"GET user":         {200, "", isInitial, 0, 0},
		},
		isPending: {
			"associate":        {204, "", pending, 0, 1},
			"validate right":   {204, "", validated, 1, 0},
			"validate wrong":   {409, "2001", pending, 0, 0},
			"login_start":      {409, "2003", pending, 0, 0},
			"DELETE associate": {204, "", isInitial, 1, 0},
			"DELETE user":      {204, "", none, 0, 0},
			"GET user":         {200, "", pending, 0, 0},
		},
		isValidated: {
			"associate":        {204, "", pending, 1, 1},
			"validate right":   {409, "2002", validated, 0, 0},
			"validate wrong":   {409, "2002", validated, 0, 0},
			"login_start":      {204, "", validated, 0, 1},
			"DELETE associate": {204, "", isInitial, 1, 0},
			"DELETE user":      {204, "", none, 0, 0},
			"GET user":         {200, "", validated, 0, 0},
		},
		isLoggingIn: {
			"associate":        {204, "", pending, 1, 1},
			"validate right":   {204, "", validated, 0, 0},
			"validate wrong":   {409, "2001", validated, 0, 0},
			"login_start":      {204, "", validated, 0, 1},
			"DELETE associate": {204, "", isInitial, 1, 0},
			"DELETE user":      {204, "", none, 0, 0},
			"GET user":         {200, "", validated, 0, 0},
		},
	}
	for state, row := range table {
		if len(row) != len(operations) {
			t.Errorf("%s has %d cells, want %d", state, len(row), len(operations))
		}
		for operation, want := range row {
			t.Run(state+": "+operation, func(t *testing.T) {
				t.Parallel()
				u := p.in(t).person(app)
				code := u.bring(state)
				before := mfaUser{}
				if state != isAbsent {
					before = u.read()
				}
				a := operations[operation](u, code)
				switch {
				case want.code != "":
					u.refused(a, want.status, want.code)
				case want.status == 204:
					u.done(a)
				}
				for range want.sent {
					u.next()
				}
				if all := u.messages(u.to); len(all) != u.sent {
					t.Errorf("got %d messages in all, want %d", len(all), u.sent)
				}
				if want.after == none {
					u.refused(u.mfa("GET", u.path, ""), 404, "404")
					return
				}
				after := u.read()
				address := map[bool]string{true: u.to}[want.after != isInitial]
				if after.Status != want.after || after.Version != before.Version+want.version || after.Address != address {
					t.Errorf("got %q, version %d, address %q\nwant %q, version %d, address %q", after.Status, after.Version, after.Address,
						want.after, before.Version+want.version, address)
				}
				if changed := after.Updated != before.Updated; changed && want.version == 0 {
					t.Errorf("last_updated_date has changed from %d to %d, and nothing else", before.Updated, after.Updated)
				}
			})
		}
	}
}

func testLatestCode(t *testing.T, p *process) {
	app := p.application()
	// A newer code takes the place of the one before, for associations and for logins.
	u := p.person(app)
	first := u.associated()
	second := u.associated()
	if first != second {
		u.refused(u.validate(first), 409, "2001")
	}
	u.done(u.validate(second))
	u.refused(u.validate(second), 409, "2002") // once
	third, fourth := u.login(), u.login()
	if third != fourth {
		u.refused(u.validate(third), 409, "2001")
	}
	u.done(u.validate(fourth))
	// An association takes the place of a login's, with another number.
	login := u.login()
	u.to, u.sent = newNumber(), 0
	again := u.associated()
	if login != again {
		u.refused(u.validate(login), 409, "2001")
	}
	u.refused(u.loginStart(), 409, "2003")
	u.done(u.validate(again))
	if got := u.read(); got.Address != u.to || got.Status != "VALIDATED" {
		t.Errorf("got %+v, want %s validated", got, u.to)
	}
	// One code is one user's.
	v := p.person(app)
	v.validated()
	if mine, theirs := u.login(), v.login(); mine != theirs {
		u.refused(u.validate(theirs), 409, "2001")
		u.done(u.validate(mine))
	}
	// Two users may have one number.
	w := &person{p, app + "/users/" + uuid.NewString(), v.to, v.sent}
	w.done(w.validate(w.associated()))
	// What was taken away doesn't come back with the user.
	code := u.login()
	u.done(u.mfa("DELETE", u.path, ""))
	u.refused(u.validate(code), 404, "404")
	if fresh := u.associated(); fresh != code {
		u.refused(u.validate(code), 409, "2001")
	}
	if got := u.read(); got.Version != 1 || got.Status != isPending {
		t.Errorf("got %+v, want a new user", got)
	}
}

func testUserIDs(t *testing.T, p *process) {
	app := p.application()
	for path, id := range map[string]string{
		"kola": "kola", "Kola": "Kola", "a%20b": "a b", "a+b": "a+b", "%C3%A9t%C3%A9": "été", "été": "été", "user@example.com": "user@example.com",
		"100%25": "100%", "a%3Fb%23c": "a?b#c", "a;b,c=d&e": "a;b,c=d&e", "%7Bx%7D": "{x}", "..x": "..x", "associate": "associate",
		strings.Repeat("%C3%A9", 255): strings.Repeat("é", 255), "'%22%5C": `'"\`, "+12025550100": "+12025550100",
	} {
		u := &person{p, app + "/users/" + path, newNumber(), 0}
		if path == "été" || path == "associate" {
			u.to = newNumber()
		}
		u.validated()
		if got := u.read(); got.ID != id || got.Status != "VALIDATED" {
			t.Errorf("%s: got %+v, want the id %q", path, got, id)
		}
		u.done(u.validate(u.login()))
		u.done(u.mfa("DELETE", u.path, ""))
		u.refused(u.mfa("GET", u.path, ""), 404, "404")
	}
	// Case counts.
	upper, lower := &person{p, app + "/users/CASE", newNumber(), 0}, &person{p, app + "/users/case", newNumber(), 0}
	upper.validated()
	lower.refused(lower.loginStart(), 404, "404")
}

func testRefusedUserIDs(t *testing.T, p *process) {
	app := p.application()
	for path, want := range map[string]string{
		"a%2Fb":                       "User_ID has a slash or a control character",
		"a%2fb":                       "User_ID has a slash or a control character",
		"a%00":                        "",
		"a%0Ab":                       "User_ID has a slash or a control character",
		"a%7F":                        "User_ID has a slash or a control character",
		"%C2%85":                      "User_ID has a slash or a control character",
		"a%FF":                        "User_ID is not valid UTF-8",
		strings.Repeat("%C3%A9", 256): "User_ID is too long (maximum is 255 characters)",
	} {
		code := "400"
		if strings.Contains(want, "too long") {
			code = "1023"
		}
		u := &person{p, app + "/users/" + path, newNumber(), 0}
		for _, a := range []answer{
			u.mfa("GET", u.path, ""), u.mfa("DELETE", u.path, ""), u.mfa("DELETE", u.path+"/associate", ""), u.associate(), u.loginStart(), u.validate("123456"),
		} {
			if got := u.refused(a, 400, code); want != "" && got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", path, got, want)
			}
		}
	}
	p.refused(p.mfa("GET", app+"/users/%2F", ""), 404, "404") // a slash alone is the end of a path
	if all, rest := p.names(p.mfa("GET", app+"/users", ""), "id"); len(all) != 0 {
		t.Errorf("a refused user is there: %v, %s", all, rest)
	}
}

func testAddresses(t *testing.T, p *process) {
	app := p.application(`"auth_token_delivery_methods":"SMS,VOICE"`)
	number := func() (plus, rest string) { n := newNumber(); return n[:5], n[5:] }
	for _, form := range []string{"%s%s", " %s %s ", "%s (%s)", "%s-%s", "sms", "voice:%s%s", "Voice: %s %s"} {
		if form == "sms" {
			continue
		}
		plus, rest := number()
		u := &person{p, app + "/users/" + uuid.NewString(), plus + rest, 0}
		written := fmt.Sprintf(form, plus, rest)
		u.done(u.mfa("POST", u.path+"/associate", `{"address":"`+written+`"}`))
		m := u.next()
		channel := "sms"
		if strings.HasPrefix(strings.ToLower(form), "voice") {
			channel = "voice"
		}
		if m.Channel != channel || m.To != u.to {
			t.Errorf("%s: got %s to %s, want %s to %s", written, m.Channel, m.To, channel, u.to)
		}
		if got := u.read().Address; got != written {
			t.Errorf("got the address %q, want %q as it was given", got, written)
		}
	}
	u := p.person(app)
	for body, want := range map[string]string{
		``:                                            "address can't be blank",
		`{}`:                                          "address can't be blank",
		`{"address":null}`:                            "address can't be blank",
		`{"address":""}`:                              "address can't be blank",
		`{"address":12025550100}`:                     "address must be a string",
		`{"address":["+1"]}`:                          "address must be a string",
		`{"address":"nobody"}`:                        "",
		`{"address":"2025550100"}`:                    "", // local
		`{"address":"+1202"}`:                         "",
		`{"address":"+1202555010012345678"}`:          "",
		`{"address":"+99912345678"}`:                  "address has an unknown country calling code",
		`{"address":"+120255501001234"}`:              "address has a length that its country's numbers don't have",
		`{"address":"voice:+19002345678"}`:            "address is a number of the kind premium, which this project may not send to",
		`{"address":"push:token@app@FCM"}`:            "address asks for push, which is none of the application's channels",
		`{"address":"psh:fcm@sender@token"}`:          "address asks for push, which is none of the application's channels",
		`{"address":"voice:"}`:                        "",
		`{"user_address":"+12025550100"}`:             "address can't be blank",
		`{"address":"+12025550100","display_name":5}`: "display_name must be a string",
		`{"address":"+12025550100","validation_method":"PUSH"}`:   "validation_method asks for push, which is not available",
		`{"address":"+12025550100","validation_method":"PIGEON"}`: "",
		`{"address":"x","display_name":"` + long(256) + `"}`:      "",
	} {
		if got := u.refused(u.mfa("POST", u.path+"/associate", body), 400, "400"); want != "" && got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", body, got, want)
		}
	}
	u.refusedFor(u.mfa("POST", u.path+"/associate", `{"address":"+12025550100","display_name":"`+long(256)+`"}`), 400, "1023",
		"display_name is too long (maximum is 255 characters)")
	u.refused(u.mfa("GET", u.path, ""), 404, "404") // none of it made a user
}

func testTypedValidationCodes(t *testing.T, p *process) {
	typed := func(settings, body string, digits bool, write func(code string) string) {
		t.Helper()
		u := p.person(p.application(settings))
		code := u.associated()
		if digits { // until it begins with a zero, which a number loses
			for n := 0; code[0] != '0'; n++ {
				if n == 15 {
					u.to, u.sent, n = newNumber(), 0, 0
				}
				code = u.associated()
			}
		}
		if a := u.mfa("POST", u.path+"/validate", fmt.Sprintf(body, write(code))); a.status != 204 {
			t.Errorf("%s, %s: got %d %s for a code that was typed well", settings, fmt.Sprintf(body, write(code)), a.status, a.body)
		}
	}
	const text, number = `{"validation_code":%q}`, `{"validation_code":%s}`
	same := func(code string) string { return code }
	typed(`"auth_code_length":6`, text, false, same)
	typed(`"auth_code_length":6`, text, false, func(c string) string { return "  " + c + "\n" })
	typed(`"auth_code_length":6`, text, false, func(c string) string { return c[:3] + "-" + c[3:4] + " " + c[4:] })
	typed(`"auth_code_length":4`, number, true, func(c string) string {
		if c = strings.TrimLeft(c, "0"); c == "" {
			c = "0"
		}
		return c
	})
	typed(`"auth_token_type":"ALPHA"`, text, false, strings.ToLower)
	typed(`"auth_token_type":"ALPHANUMERIC","auth_code_length":20`, text, false, strings.ToLower)
	typed(`"auth_token_type":"COMPLEX","auth_code_length":12`, text, false, same)
	for _, kind := range []string{"NUMERIC", "ALPHANUMERIC", "COMPLEX"} {
		prefixed := `"auth_token_prefix":"Go-7 ","auth_token_type":"` + kind + `","associate_template":"$code|"`
		cut := func(c string) string { c, _, _ = strings.Cut(c, "|"); return c }
		u := p.person(p.application(prefixed))
		u.done(u.associate())
		with := cut(u.next().Body)
		if !strings.HasPrefix(with, "Go-7 ") || len(with) != len("Go-7 ")+6 {
			t.Fatalf("got the code %q, want one with its prefix", with)
		}
		u.done(u.validate(with))
		u.done(u.associate())
		u.done(u.validate(strings.TrimPrefix(cut(u.next().Body), "Go-7 ")))
	}
	// A prefix that changes later changes nothing that is under way.
	app := p.application(`"auth_token_prefix":"OLD"`)
	u := p.person(app)
	code := u.associated()
	u.done(u.mfa("POST", app, `{"version_number":1,"auth_token_prefix":"NEW","auth_code_length":9,"auth_token_type":"ALPHA"}`))
	if !strings.HasPrefix(code, "OLD") {
		t.Errorf("got %q, want it with OLD", code)
	}
	u.done(u.validate(code))
	if next := u.login(); !regexp.MustCompile(`^NEW[A-HJ-NP-Z]{9}$`).MatchString(next) {
		t.Errorf("got %q, want NEW and nine letters", next)
	}
}

func testTokenTypes(t *testing.T, p *process) {
	for settings, want := range map[string]string{
		`"auth_token_type":"NUMERIC","auth_code_length":4`:       `^[0-9]{4}$`,
		`"auth_token_type":"NUMERIC","auth_code_length":20`:      `^[0-9]{20}$`,
		`"auth_token_type":"ALPHA","auth_code_length":8`:         `^[A-HJ-NP-Z]{8}$`,
		`"auth_token_type":"ALPHANUMERIC","auth_code_length":20`: `^[A-HJ-NP-Z2-9]{20}$`,
		`"auth_token_type":"COMPLEX","auth_code_length":20`:      `^[A-HJ-NP-Za-hjkmnp-z2-9!#$%&*+=?@]{20}$`,
	} {
		u := p.person(p.application(settings))
		code := u.associated()
		if !regexp.MustCompile(want).MatchString(code) {
			t.Errorf("%s: got %q, want %s", settings, code, want)
		}
		u.done(u.validate(code))
	}
	// In COMPLEX case counts.
	u := p.person(p.application(`"auth_token_type":"COMPLEX","auth_code_length":20`))
	code := u.associated()
	u.refused(u.validate(strings.ToUpper(code)+"."), 409, "2001")
	if swapped := strings.ToLower(code); swapped != code {
		u.refused(u.validate(swapped), 409, "2001")
	}
	u.done(u.validate(code))
}

func testMissingValidationCodes(t *testing.T, p *process) {
	u := p.person(p.application())
	code := u.associated()
	for range 3 { // more often than there are guesses
		for body, want := range map[string]string{
			``: "validation_code can't be blank", `{}`: "validation_code can't be blank", `{"validation_code":null}`: "validation_code can't be blank",
			`{"validation_code":""}`: "validation_code can't be blank", `{"code":"123456"}`: "validation_code can't be blank",
			`{"validation_code":true}`: "validation_code must be a string or a whole number", `{"validation_code":-1}`: "validation_code must be a string or a whole number",
			`{"validation_code":1.5}`: "validation_code must be a string or a whole number", `{"validation_code":["` + code + `"]}`: "validation_code must be a string or a whole number",
		} {
			u.refusedFor(u.mfa("POST", u.path+"/validate", body), 400, "400", want)
		}
	}
	u.done(u.validate(code))
}

func testFiveGuesses(t *testing.T, p *process) {
	app := p.application()
	u := p.person(app)
	code := u.associated()
	for _, guess := range []string{otherThan(code), "no code at all", " ", strings.Repeat("1", 1000), otherThan(code)} {
		u.refused(u.validate(guess), 409, "2001")
	}
	for _, guess := range []string{otherThan(code), code} {
		a := u.validate(guess)
		if u.refused(a, 429, "2004"); a.header.Get("Retry-After") != "" {
			t.Error("a code without guesses is said to come back")
		}
	}
	if got := u.read().Status; got != isPending {
		t.Errorf("got %s, want %s", got, isPending)
	}
	// A new code has guesses of its own.
	code = u.associated()
	for range 4 {
		u.refused(u.validate(otherThan(code)), 409, "2001")
	}
	u.done(u.validate(code))
	// And so has a login's.
	code = u.login()
	for range 5 {
		u.refused(u.validate(otherThan(code)), 409, "2001")
	}
	u.refused(u.validate(code), 429, "2004")
	if got := u.read().Status; got != "VALIDATED" {
		t.Errorf("got %s, want VALIDATED", got)
	}
}

// spelled is a code as it is said.
var spelled = regexp.MustCompile(`[0-9](, [0-9]){5}`)

func testDeliveryMethods(t *testing.T, p *process) {
	both, voice := p.application(`"auth_token_delivery_methods":"SMS,VOICE"`), p.application(`"auth_token_delivery_methods":"VOICE"`)
	byText := p.person(both).validated()
	byCall := p.person(both) // a call within a minute after a text would be refused
	byCall.done(byCall.mfa("POST", byCall.path+"/associate", fmt.Sprintf(`{"address":%q,"validation_method":"VOICE"}`, byCall.to)))
	byCall.done(byCall.validate(strings.ReplaceAll(spelled.FindString(byCall.next().Body), ", ", "")))
	for body, u := range map[string]*person{
		``: byText, `{}`: byText, `{"validation_method":"SMS"}`: byText, `{"validation_method":"voice"}`: byCall,
		`{"auth_token_delivery_method":"VOICE"}`: byCall, `{"delivery_method":" Voice "}`: byCall, `{"delivery_method":"VOICE","validation_method":"SMS"}`: byText,
	} {
		u.done(u.mfa("POST", u.path+"/login_start", body))
		if got, want := u.next().Channel, map[*person]string{byText: "sms", byCall: "voice"}[u]; got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
	u := byText
	u.refused(u.mfa("POST", u.path+"/login_start", `{"validation_method":"voice"}`), 429, "429")
	for body, want := range map[string]string{
		`{"validation_method":"PUSH"}`:   "validation_method asks for push, which is not available",
		`{"validation_method":"PIGEON"}`: "",
		`{"validation_method":7}`:        "validation_method must be a string",
		`{"display_name":7}`:             "display_name must be a string",
	} {
		if got := u.refused(u.mfa("POST", u.path+"/login_start", body), 400, "400"); want != "" && got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", body, got, want)
		}
	}
	// The first of the application's is the one that nobody has to name.
	u = p.person(voice)
	u.done(u.associate())
	m := u.next()
	if !regexp.MustCompile(`^Your Shop verification code is: [0-9](, [0-9]){5}\. Again, it is: [0-9](, [0-9]){5}\.$`).MatchString(m.Body) || m.Channel != "voice" {
		t.Errorf("got %s: %q, want a call that says the code twice, one character at a time", m.Channel, m.Body)
	}
	said := spelled.FindAllString(m.Body, -1)
	if said[0] != said[1] {
		t.Errorf("got the codes %q, want one", said)
	}
	u.done(u.validate(strings.ReplaceAll(said[0], ", ", "")))
	u.refused(u.mfa("POST", u.path+"/login_start", `{"validation_method":"SMS"}`), 400, "400")
}

func testMessageTexts(t *testing.T, p *process) {
	u := p.person(p.application(`"associate_template":"${display_name}: $validation_code, $token, ${auth_token}, $auth_code, $code. $validity_minutes min. \\$5 $unknown {code}"`,
		`"display_name":"The Shop"`, `"auth_token_validity_duration":300`))
	u.done(u.associate())
	body := u.next().Body
	m := regexp.MustCompile(`^The Shop: ([0-9]{6}), ([0-9]{6}), ([0-9]{6}), ([0-9]{6}), ([0-9]{6})\. 5 min\. \$5 \$unknown \{code\}$`).FindStringSubmatch(body)
	if m == nil || m[1] != m[2] || m[1] != m[3] || m[1] != m[4] || m[1] != m[5] {
		t.Fatalf("got %q", body)
	}
	u.done(u.validate(m[1]))
	// The application's name stands in for a display name, and a request's goes before both.
	u = p.person(p.application())
	for body, want := range map[string]string{
		``:                            "Shop",
		`,"display_name":""`:          "Shop",
		`,"display_name":"Your Bank"`: "Your Bank",
		`,"display_name":"$code {code} $display_name"`:     "$code {code} $display_name",
		`,"display_name":"a\nb\tc"`:                        "a b c",
		`,"display_name":"see https://evil.example/x now"`: "see now",
		`,"display_name":"see www.evil.example now"`:       "see now",
		`,"display_name":"see evil.example/x now"`:         "see now",
		`,"display_name":"http://evil.example"`:            "Shop",
	} {
		u.done(u.mfa("POST", u.path+"/associate", fmt.Sprintf(`{"address":%q%s}`, u.to, body)))
		text := u.next().Body
		if want := regexp.MustCompile(`^[0-9]{6} is your ` + regexp.QuoteMeta(want) + ` verification code\.$`); !want.MatchString(text) {
			t.Errorf("%s: got %q, want %v", body, text, want)
		}
	}
	// Three segments, and not a character more: each has 153 of GSM 03.38.
	fits := "$code " + strings.Repeat("x", 3*153-7)
	long := p.person(p.application(`"associate_template":"` + fits + `"`))
	long.done(long.associate())
	if got := len(long.next().Body); got != 3*153 {
		t.Errorf("got a text of %d, want %d", got, 3*153)
	}
	p.refused(p.mfa("POST", "applications", `{"name":"n","login_template":"x`+fits+`"}`), 400, "400")
	p.refused(p.mfa("POST", "applications", `{"name":"n","login_template":"`+fits+`","auth_code_length":7}`), 400, "400")
	// A display name of a request that doesn't fit is the request's fault.
	named := p.person(p.application(`"associate_template":"$code $display_name ` + strings.Repeat("x", 3*153-8-len("Shop")) + `"`))
	named.done(named.associate())
	named.refused(named.mfa("POST", named.path+"/associate", fmt.Sprintf(`{"address":%q,"display_name":"Shops"}`, named.to)), 400, "400")
}

const templatesPath = "/scg-external-api/api/v1/messaging/message_templates"

func testMessageTemplates(t *testing.T, p *process) {
	p = p.project("templates")
	p.want(p.mfa("GET", templatesPath, ""), 200, `{"list":[],"total":0,"limit":50,"offset":0}`)
	id := p.createdID(p.mfa("POST", templatesPath, `{"designation":"validator","name":"login","pattern":"Log in with $code","x":1}`))
	path := templatesPath + "/" + id
	type template struct {
		ID          string `json:"id"`
		Designation string `json:"designation"`
		Name        string `json:"name"`
		Pattern     string `json:"pattern"`
		Created     int64  `json:"created_date"`
		Updated     int64  `json:"last_updated_date"`
		Version     int    `json:"version_number"`
	}
	read := func(want template) {
		t.Helper()
		var got template
		a := p.mfa("GET", path, "")
		p.into(&got, a)
		exact, err := json.Marshal(got)
		if err != nil || string(exact) != a.body {
			t.Errorf("got %s, want these fields only: %s", a.body, exact)
		}
		p.recent(got.Created)
		p.recent(got.Updated)
		want.ID, want.Created, want.Updated = id, got.Created, got.Updated
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	read(template{Designation: "VALIDATOR", Name: "login", Pattern: "Log in with $code", Version: 1})

	// An application names it by its id or its name, and sends what it says now.
	app := p.application(`"login_template":"`+id+`"`, `"associate_template":"login"`)
	u := p.person(app)
	u.done(u.associate())
	text := u.next().Body
	if !strings.HasPrefix(text, "Log in with ") {
		t.Errorf("got %q, want the template", text)
	}
	u.done(u.validate(codeIn(text)))
	p.done(p.mfa("POST", path, `{"version_number":1,"pattern":"Now with $code"}`))
	read(template{Designation: "VALIDATOR", Name: "login", Pattern: "Now with $code", Version: 2})
	u.done(u.loginStart())
	if text = u.next().Body; !strings.HasPrefix(text, "Now with ") {
		t.Errorf("got %q, want the new template", text)
	}
	u.done(u.validate(codeIn(text)))
	p.done(p.mfa("PUT", path, `{"version_number":"2","name":"other","pattern":"x"}`))
	read(template{Designation: "TEMPLATE", Name: "other", Pattern: "x", Version: 3})
	u.refused(u.loginStart(), 400, "400") // it has lost its code

	for _, test := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", templatesPath, `{"pattern":"x"}`, 400, "400"},
		{"POST", templatesPath, `{"name":"n"}`, 400, "400"},
		{"POST", templatesPath, `{"name":"n","pattern":"x","designation":"POEM"}`, 400, "400"},
		{"POST", templatesPath, `{"name":"` + long(256) + `","pattern":"x"}`, 400, "1023"},
		{"POST", templatesPath, `{"name":"n","pattern":"` + long(1601) + `"}`, 400, "1023"},
		{"POST", templatesPath, `{"name":"other","pattern":"x"}`, 409, "1011"},
		{"POST", path, `{"pattern":"y"}`, 400, "400"},
		{"PUT", path, `{"name":"n","pattern":"y"}`, 400, "400"},
		{"POST", path, `{"version_number":2,"pattern":"y"}`, 409, "1001"},
		{"PUT", path, `{"version_number":4,"name":"n","pattern":"y"}`, 409, "1001"},
		{"PUT", path, `{"version_number":3,"name":"n"}`, 400, "400"},
		{"PUT", templatesPath + "/XkpeXN1wkJK4ay0wKcwvC1", `{"version_number":3,"name":"n","pattern":"y"}`, 404, "404"},
		{"DELETE", templatesPath + "/XkpeXN1wkJK4ay0wKcwvC1", ``, 404, "404"},
		{"GET", templatesPath + "/x", ``, 404, "404"},
		{"GET", templatesPath + "?limit=0", ``, 400, "400"},
	} {
		p.refused(p.mfa(test.method, test.path, test.body), test.status, test.code)
	}
	read(template{Designation: "TEMPLATE", Name: "other", Pattern: "x", Version: 3})

	p.createdID(p.mfa("POST", templatesPath, `{"designation":"VALIDATOR","name":"a second","pattern":"`+long(1600)+`"}`))
	for query, want := range map[string][]string{
		"": {"other", "a second"}, "sort=name": {"a second", "other"}, "designation=validator": {"a second"}, "name=other": {"other"}, "id=" + id: {"other"}, "limit=1&offset=1": {"a second"},
	} {
		if got, _ := p.names(p.mfa("GET", templatesPath+"?"+query, ""), "name"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	p.done(p.mfa("DELETE", path, ""))
	p.refused(p.mfa("GET", path, ""), 404, "404")
	p.refused(p.mfa("DELETE", path, ""), 404, "404")
	u.refused(u.loginStart(), 404, "404") // an application that names it sends nothing
}

func testMessageFrom(t *testing.T, p *process) {
	for from, want := range map[string]string{
		"":                               "+12025550199",
		"channel:gqKlekr-S22CJul_aE4XFQ": "+12025550199", // unknown
		"sender_id:nobody":               "+12025550199",
		"+1 (202) 555-0123":              "+12025550123",
		"Shop":                           "Shop",
		"1KJPMkuHQkair_o15etpmg":         "+12025550199",
	} {
		u := p.person(p.application(fmt.Sprintf(`"message_from":%q`, from)))
		u.done(u.associate())
		if got := u.next().From; got != want {
			t.Errorf("%s: got a message from %s, want %s", from, got, want)
		}
	}
}

func testParallelValidates(t *testing.T, p *process) {
	app := p.application()
	for _, login := range []bool{false, true} {
		u := p.person(app)
		var code string
		if login {
			code = u.validated().login()
		} else {
			code = u.associated()
		}
		all := atOnce(50, func(int) answer { return u.validate(code) })
		if right, used := count(all, 204), count(all, 409); right != 1 || used != 49 {
			t.Errorf("login %v: got %d right and %d used, want 1 and 49", login, right, used)
		}
		for _, a := range all {
			if a.status == 409 {
				u.refused(a, 409, "2002")
			}
		}
	}
	// Wrong ones share the guesses.
	u := p.person(app)
	code := u.associated()
	all := atOnce(50, func(int) answer { return u.validate(otherThan(code)) })
	if wrong, spent := count(all, 409), count(all, 429); wrong != 5 || spent != 45 {
		t.Errorf("got %d wrong and %d spent, want 5 and 45", wrong, spent)
	}
}

func testParallelAssociates(t *testing.T, p *process) {
	app := p.application(`"auth_code_length":20`)
	for range 10 {
		u := p.person(app)
		const at = 4 // as many codes as there are guesses, less one
		if made := count(atOnce(at, func(int) answer { return u.associate() }), 204); made != at {
			t.Fatalf("got %d associations, want %d", made, at)
		}
		var tried []answer
		for range at {
			tried = append(tried, u.validate(u.code()))
		}
		// Those after the right one find none, for it was used.
		if right, wrong := count(tried, 204), count(tried, 409); right != 1 || wrong != at-1 {
			t.Errorf("of %d codes that were sent at once %d are right and %d aren't, want 1 and %d", at, right, wrong, at-1)
		}
		if got := u.read(); got.Status != "VALIDATED" || got.Version != 2 {
			t.Errorf("got %+v, want him validated at version 2", got)
		}
	}
}

func testDeletionDuringLogin(t *testing.T, p *process) {
	for name, remove := range map[string]func(app string, u *person) answer{
		"the application": func(app string, u *person) answer { return u.mfa("DELETE", app, "") },
		"the user":        func(_ string, u *person) answer { return u.mfa("DELETE", u.path, "") },
		"the address":     func(_ string, u *person) answer { return u.mfa("DELETE", u.path+"/associate", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := p.in(t)
			for range 10 {
				app := p.application()
				u := p.person(app).validated()
				code := u.login()
				all := atOnce(8, func(i int) answer {
					switch i {
					case 0:
						return remove(app, u)
					case 1, 2:
						return u.loginStart()
					case 3:
						return u.mfa("GET", u.path, "")
					default:
						return u.validate(code)
					}
				})
				u.done(all[0])
				if right := count(all[4:], 204); right > 1 {
					t.Errorf("got %d right, want at most 1", right)
				}
				for _, a := range all {
					if a.status >= 500 {
						t.Errorf("got %d %s", a.status, a.body)
					}
				}
				// Whatever was sent meanwhile, nothing of it validates.
				for _, m := range u.messages(u.to) {
					if a := u.validate(m.Body[:6]); a.status == 204 {
						t.Errorf("a code validates after %s was deleted", name)
					}
				}
				if a := u.loginStart(); a.status == 204 {
					t.Errorf("a login starts after %s was deleted", name)
				}
			}
		})
	}
}

func TestSyniversesAPIIsServedAsConfigured(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), func(config string) string {
		return strings.NewReplacer("alias: true", "alias: false", "iso_dates: false", "iso_dates: true", "unique_names: false", "unique_names: true",
			`wrong: "409 2001"`, `wrong: "400 W-1"`, `none: "409 2002"`, `none: "404 N-1"`, "strict_senders: false", "strict_senders: true",
			"interval: 30s", "interval: 0s", "max: 5", "max: 2", "applications: 1000", "applications: 2", "templates: 1000", "templates: 1").Replace(config)
	})
	in.run("project", "policy", "--config", "countersign.yaml", "--sender", "+12025550198", in.project) // what the channel is
	p := in.serve()
	p.refused(p.mfa("GET", "/scg-external-api/api/v1/applications", ""), 404, "404")
	app := p.application(`"message_from":"channel:gqKlekr-S22CJul_aE4XFQ"`, `"login_template":"$code, from a sender of our own"`)
	if a := p.mfa("GET", app, ""); !regexp.MustCompile(`"created_date":"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`).MatchString(a.body) {
		t.Errorf("got %s, want a date in ISO 8601", a.body)
	}
	p.refused(p.mfa("POST", "applications", `{"name":"Shop"}`), 409, "1011")
	p.refused(p.mfa("POST", "applications", `{"name":"n","message_from":"channel:nobody"}`), 400, "400")
	p.refused(p.mfa("POST", "applications", `{"name":"n","login_template":"$code"}`), 400, "400") // by the public sender
	if a := p.mfa("POST", "applications", `{"name":"second"}`); a.status != 200 {
		t.Errorf("create a second application: got %d %s", a.status, a.body)
	}
	p.refused(p.mfa("POST", "applications", `{"name":"third"}`), 403, "403")
	const templates = "/scg-external-api/api/v1/messaging/message_templates"
	if a := p.mfa("POST", templates, `{"name":"first","pattern":"$code"}`); a.status != 200 {
		t.Errorf("create a template: got %d %s", a.status, a.body)
	}
	p.refused(p.mfa("POST", templates, `{"name":"second","pattern":"$code"}`), 403, "403")
	u := p.person(app)
	u.done(u.associate())
	u.refused(u.validate("not it"), 400, "W-1")
	var m receivedMessage
	if !within(patience, func() bool {
		in.receiver.mu.Lock()
		defer in.receiver.mu.Unlock()
		for _, m = range in.receiver.got {
			return true
		}
		return false
	}) {
		t.Fatal("no message arrived")
	}
	if m.From != "+12025550198" || m.To != u.to {
		t.Errorf("got a message from %s to %s, want it from +12025550198 to %s", m.From, m.To, u.to)
	}
	u.done(u.validate(m.Body[:6]))
	u.refused(u.validate(m.Body[:6]), 404, "N-1")
	u.done(u.loginStart())
	if a := u.loginStart(); u.refused(a, 429, "2004") == "" || a.header.Get("Retry-After") == "" {
		t.Errorf("got %d %v, want a Retry-After", a.status, a.header)
	}
}

func TestLimitsOfUsersAreSwitchedOnInDev(t *testing.T) {
	t.Parallel()
	p := startDev(t, nil, "--limits")
	u := p.person(p.application()).validated()
	a := u.loginStart()
	u.refused(a, 429, "2004")
	if wait := a.header.Get("Retry-After"); !regexp.MustCompile(`^(30|[12]?[0-9])$`).MatchString(wait) {
		t.Errorf("got Retry-After %q, want what is left of half a minute", wait)
	}
}
