package main

import (
	"bytes"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// These tests hold the server to SignalWire's published contract, from outside: the real program,
// real HTTP, bodies compared to the letter.

func TestContract(t *testing.T) {
	t.Parallel()
	p := startDev(t, nil, "--data", t.TempDir())
	ids := startOutcomes(p)
	for name, test := range map[string]func(*testing.T, *process){
		"the published requests work as they stand":         testPublishedRequests,
		"a start answers four fields and sends one message": testStart,
		"a setting within its bounds is taken":              testSettings,
		"a setting out of its bounds is refused by name":    testRefusedSettings,
		"a number has one spelling":                         testNumbers,
		"what is no number is refused":                      testRefusedNumbers,
		"the text stands before the code":                   testTexts,
		"a text fills its segment and no more":              testTextLengths,
		"every bad attribute is named at once":              testSeveralRefusals,
		"a body that can't be read is 400":                  testUnreadable,
		"who has no key is 401":                             testUnauthorized,
		"what isn't there is 404":                           testNotFound,
		"another method is 405":                             testMethods,
		"a body over 64 KiB is 413":                         testTooLarge,
		"a body is JSON or a form":                          testContentTypes,
		"a form says what JSON says":                        testForms,
		"a wrong token is false and a right one true, once": testCheck,
		"after N wrong tokens the right one is 404":         testAttempts,
		"a token that can't be a code spends a guess":       testImpossibleTokens,
		"a token is read as a person types it":              testTypedTokens,
		"a missing token is 422 and spends nothing":         testMissingTokens,
		"a code is dead when its time is over":              testExpiry,
		"a life of zero is answered and never sent":         testNoLife,
		"another project's verification looks like none":    testTenancy,
		"a project keeps its own policy and senders":        testStandardProject,
		"a new project sends from the public sender only":   testNewProject,
		"a revoked key stops working within a second":       testRevocation,
		"twenty wrong guesses make a number wait":           testWaits,
		"the simulator's numbers do what their names say":   func(t *testing.T, p *process) { testOutcomes(t, p, ids) },
		"request ids are unique":                            testRequestIDs,
		"a page of somebody else is shown nothing":          testForeignHost,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p.in(t))
		})
	}
}

// in is the process as a subtest sees it: what fails, fails there.
func (p *process) in(t *testing.T) *process {
	q := *p
	q.t = t
	return &q
}

// as is the process as another project's client sees it.
func (p *process) as(project, token string) *process {
	q := *p
	q.Project, q.Token = project, token
	return &q
}

// A request is one call of the API. What is left zero is as SignalWire's own clients send it.
type request struct {
	method      string
	path        string // below the API's prefix, or from the root
	contentType string
	body        string
	authorize   func(*http.Request)
}

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask makes a call. Whatever the answer is, it has what every answer has.
func (p *process) ask(r request) answer {
	p.t.Helper()
	if r.method == "" {
		r.method = "POST"
	}
	if !strings.HasPrefix(r.path, "/") {
		r.path = "/api/relay/rest/mfa/" + r.path
	}
	req, err := http.NewRequest(r.method, p.URL+r.path, strings.NewReader(r.body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.SetBasicAuth(p.Project, p.Token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.authorize != nil {
		req.Header.Del("Authorization")
		r.authorize(req)
	}
	resp, body, err := do(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	a := answer{resp.StatusCode, resp.Header, body}
	if _, err := uuid.Parse(a.header.Get("X-Request-Id")); err != nil {
		p.t.Errorf("%s %s: X-Request-Id is %q, want a UUID", r.method, r.path, a.header.Get("X-Request-Id"))
	}
	if got, want := a.header.Get("Content-Type"), "application/json"; got != want {
		p.t.Errorf("%s %s: Content-Type is %q, want %q", r.method, r.path, got, want)
	}
	return a
}

// want fails the test unless the answer has exactly this status and body.
func (p *process) want(a answer, status int, body string) {
	p.t.Helper()
	if a.status != status || a.body != body {
		p.t.Errorf("got  %d %s\nwant %d %s", a.status, a.body, status, body)
	}
}

// Bodies of the contract.
const (
	approvedBody     = `{"success":true}`
	wrongBody        = `{"success":false}`
	badRequest       = `{"error":"Bad Request"}`
	unauthorized     = `{"error":"Unauthorized"}`
	notFound         = `{"error":"Not Found"}`
	methodNotAllowed = `{"error":"Method Not Allowed"}`
	tooLarge         = `{"error":"Request Entity Too Large"}`
	unsupported      = `{"error":"Unsupported Media Type"}`
	tooManyRequests  = `{"error":"Too Many Requests"}`
	unavailable      = `{"error":"Service Unavailable"}`
)

// refusal is a 422's body with one entry for each sentence.
func refusal(details ...string) string {
	entries := make([]string, len(details))
	for i, d := range details {
		entries[i] = fmt.Sprintf(`{"detail":%q,"status":"422","title":"Invalid Attribute","code":"422"}`, d)
	}
	return `{"errors":[` + strings.Join(entries, ",") + `]}`
}

// started is the body of a start's answer; its parts are the id, the number and the channel.
var started = regexp.MustCompile(`^\{"id":"([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})","success":true,"to":"(\+[0-9]{7,15})","channel":"(sms|call)"\}$`)

// isStart fails the test unless the answer is that of a start on a channel to a number, and
// returns the verification's id.
func (p *process) isStart(a answer, channel, to string) (id string) {
	p.t.Helper()
	parts := started.FindStringSubmatch(a.body)
	if a.status != http.StatusOK || parts == nil {
		p.t.Fatalf("got  %d %s\nwant 200 %v", a.status, a.body, started)
	}
	if parts[2] != to || parts[3] != channel {
		p.t.Errorf("got  %s to %s\nwant %s to %s", parts[3], parts[2], channel, to)
	}
	return parts[1]
}

// start starts a verification by text on a number of its own. Fields is what the request says
// beside the number, as `"token_length":4`.
func (p *process) start(fields string) (id, code string) {
	p.t.Helper()
	to := newNumber()
	id = p.isStart(p.ask(request{path: "sms", body: with(to, fields)}), "sms", to)
	return id, codeIn(p.message(to, id).Body)
}

// check sends a token.
func (p *process) check(id, token string) answer {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.ask(request{path: id + "/verify", body: string(body)})
}

// with is a JSON object with a number and more fields.
func with(to, fields string) string {
	if fields != "" {
		fields = "," + fields
	}
	return `{"to":"` + to + `"` + fields + `}`
}

var lastNumber atomic.Int64

// newNumber returns a number that nobody else uses, so that no test spends another's guesses.
func newNumber() string { return fmt.Sprintf("+1202%07d", 5550200+lastNumber.Add(1)) }

// codeIn returns the code at the end of a message.
func codeIn(body string) string { return body[strings.LastIndex(body, " ")+1:] }

// otherThan returns a code of the same form that isn't this one.
func otherThan(code string) string {
	if code[0] == '2' {
		return "3" + code[1:]
	}
	return "2" + code[1:]
}

// command runs another command of the program, while this one serves, and returns what it made.
func (p *process) command(args ...string) (made texts) {
	p.t.Helper()
	p.commandInto(&made, args...)
	return made
}

// commandInto does so, and reads what it printed, if it printed anything.
func (p *process) commandInto(into any, args ...string) {
	p.t.Helper()
	cmd := exec.Command(os.Args[0], append(args, "--data", p.values["Data"], "--json")...)
	cmd.Env = append(os.Environ(), runAs+"=command")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("countersign %v: %v\n%s", args, err, &stderr)
	}
	if len(out) == 0 {
		return
	}
	if err := json.Unmarshal(out, into); err != nil {
		p.t.Fatalf("countersign %v printed %s: %v", args, out, err)
	}
}

// A record is what the database says of a verification.
type record struct {
	Settings string // "numeric 6, 3600 s, 3 attempts"
	Guesses  int
	Ended    bool
	Delivery verify.DeliveryState
	Reason   string
	Attempt  int
}

// record reads a verification as an operator could, beside the running server.
func (p *process) record(id string) (r record) {
	p.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(p.values["Data"], system.DatabaseFile)+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	key, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil {
		p.t.Fatal(err)
	}
	v, err := verify.ParseID(id)
	if err != nil {
		p.t.Fatal(err)
	}
	var format string
	var length, attempts int
	var expires, ended int64
	err = db.QueryRow(`SELECT format, length, expires_at, max_attempts, guesses, ended_at, delivery, reason, attempt FROM verification WHERE id = ?`, key).
		Scan(&format, &length, &expires, &attempts, &r.Guesses, &ended, &r.Delivery, &r.Reason, &r.Attempt)
	if err != nil {
		p.t.Fatalf("read verification %s: %v", id, err)
	}
	r.Settings = fmt.Sprintf("%s %d, %g s, %d attempts", format, length, float64(expires-v.Time().UnixMilli())/1000, attempts)
	r.Ended = ended != 0
	return r
}

// rows counts what the database has of a verification.
func (p *process) rows(id string) (n int) {
	p.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(p.values["Data"], system.DatabaseFile)+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT count(*) FROM verification WHERE hex(id) = upper($1)`, strings.ReplaceAll(id, "-", "")).Scan(&n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// within asks again until ok, at most for some time, and reports whether it ever was. After a question that takes long,
// it waits longer: asking must not take the processor from those that are asked about.
func within(limit time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(limit); ; {
		asked := time.Now()
		if ok() {
			return true
		}
		if asked.After(deadline) {
			return false
		}
		time.Sleep(min(max(5*time.Millisecond, 9*time.Since(asked)), time.Second))
	}
}

func testPublishedRequests(t *testing.T, p *process) {
	tests := []struct {
		path, body, to, channel, voice string
		from                           string
		text                           *regexp.Regexp
	}{ // the call first: within a minute after a text it would be refused
		{"call", `{"to":"+15557788999"}`, "+15557788999", "call", "voice", "+12025550199",
			regexp.MustCompile(`^Your Personal Authorization Code is [0-9]{6}$`)},
		{"sms", `{"to":"+15557788999"}`, "+15557788999", "sms", "sms", "+12025550199",
			regexp.MustCompile(`^Your Personal Authorization Code is: [0-9]{6}$`)},
		{"sms", `{"to":"+15557788999","from":"+5554433222","message":"Here is your code: ","allow_alpha":true,"token_length":8,"valid_for":7200,"max_attempts":4}`,
			"+15557788999", "sms", "sms", "+5554433222", regexp.MustCompile(`^Here is your code: [A-HJ-NP-Z2-9]{8}$`)},
	}
	for _, test := range tests {
		id := p.isStart(p.ask(request{path: test.path, body: test.body}), test.channel, test.to)
		m := p.message(test.to, id)
		if !test.text.MatchString(m.Body) || m.From != test.from || m.Channel != test.voice || m.To != test.to {
			t.Errorf("%s %s:\ngot  %s to %s from %s: %q\nwant %s to %s from %s: %v", test.path, test.body,
				m.Channel, m.To, m.From, m.Body, test.voice, test.to, test.from, test.text)
		}
		p.want(p.ask(request{path: id + "/verify", body: `{"token":"` + codeIn(m.Body) + `"}`}), 200, approvedBody)
	}
}

func testStart(t *testing.T, p *process) {
	for channel, carried := range map[string]string{"sms": "sms", "call": "voice"} {
		to := newNumber()
		id := p.isStart(p.ask(request{path: channel, body: with(to, "")}), channel, to)
		m := p.message(to, id)
		if m.Channel != carried || m.ID == id || m.CreatedAt.IsZero() {
			t.Errorf("%s: got %+v, want channel %q, an id of its own and its time", channel, m, carried)
		}
		if all := p.messages(to); len(all) != 1 {
			t.Errorf("%s: got %d messages, want 1", channel, len(all))
		}
	}
}

const byDefault = "numeric 6, 3600 s, 3 attempts"

func testSettings(t *testing.T, p *process) {
	const alphas = "alphanumeric 6, 3600 s, 3 attempts"
	tests := []struct{ fields, want string }{
		{``, byDefault},
		{`"token_length":4`, "numeric 4, 3600 s, 3 attempts"},
		{`"token_length":20`, "numeric 20, 3600 s, 3 attempts"},
		{`"token_length":"4"`, "numeric 4, 3600 s, 3 attempts"},
		{`"token_length":" 20 "`, "numeric 20, 3600 s, 3 attempts"},
		{`"token_length":null`, byDefault},
		{`"valid_for":1`, "numeric 6, 1 s, 3 attempts"},
		{`"valid_for":604800`, "numeric 6, 604800 s, 3 attempts"},
		{`"valid_for":"604800"`, "numeric 6, 604800 s, 3 attempts"},
		{`"valid_for":null`, byDefault},
		{`"max_attempts":1`, "numeric 6, 3600 s, 1 attempts"},
		{`"max_attempts":20`, "numeric 6, 3600 s, 20 attempts"},
		{`"max_attempts":"1"`, "numeric 6, 3600 s, 1 attempts"},
		{`"max_attempts":"20"`, "numeric 6, 3600 s, 20 attempts"},
		{`"max_attempts":null`, byDefault},
		{`"allow_alphas":true`, alphas},
		{`"allow_alphas":"true"`, alphas},
		{`"allow_alphas":"True"`, alphas},
		{`"allow_alphas":false`, byDefault},
		{`"allow_alphas":"false"`, byDefault},
		{`"allow_alphas":null`, byDefault},
		{`"allow_alpha":true`, alphas},
		{`"allow_alpha":"true"`, alphas},
		{`"allow_alpha":false`, byDefault},
		{`"allow_alpha":null`, byDefault},
		{`"allow_alphas":false,"allow_alpha":true`, byDefault}, // the documented name decides
		{`"allow_alphas":null,"allow_alpha":true`, alphas},
		{`"allow_alphas":true,"token_length":20,"valid_for":60,"max_attempts":7`, "alphanumeric 20, 60 s, 7 attempts"},
		// What the published clients send beside it is ignored, as are other names in other cases.
		{`"from_":"+12025550111","channel":"voice","Token_Length":21,"x":{"y":[1,{"token_length":21}]},"":0`, byDefault},
	}
	for _, test := range tests {
		to := newNumber()
		id := p.isStart(p.ask(request{path: "sms", body: with(to, test.fields)}), "sms", to)
		if got := p.record(id).Settings; got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.fields, got, test.want)
		}
		var format string
		var length int
		if _, err := fmt.Sscanf(test.want, "%s %d,", &format, &length); err != nil {
			t.Fatal(err)
		}
		alphabet := map[string]string{"numeric": "[0-9]", "alphanumeric": "[A-HJ-NP-Z2-9]"}[format]
		want := regexp.MustCompile(fmt.Sprintf(`^Your Personal Authorization Code is: %s{%d}$`, alphabet, length))
		if m := p.message(to, id); !want.MatchString(m.Body) || m.From != "+12025550199" {
			t.Errorf("%s: got %q from %s, want %v from +12025550199", test.fields, m.Body, m.From, want)
		}
	}
}

func testRefusedSettings(t *testing.T, p *process) {
	tests := []struct{ fields, want string }{
		{`"token_length":3`, "Token length must be greater than or equal to 4"},
		{`"token_length":21`, "Token length must be less than or equal to 20"},
		{`"token_length":"3"`, "Token length must be greater than or equal to 4"},
		{`"token_length":"21"`, "Token length must be less than or equal to 20"},
		{`"token_length":0`, "Token length must be greater than or equal to 4"},
		{`"valid_for":-1`, "Valid for must be greater than or equal to 0"},
		{`"valid_for":604801`, "Valid for must be less than or equal to 604800"},
		{`"valid_for":"-1"`, "Valid for must be greater than or equal to 0"},
		{`"valid_for":"604801"`, "Valid for must be less than or equal to 604800"},
		{`"max_attempts":0`, "Max attempts must be greater than or equal to 1"},
		{`"max_attempts":21`, "Max attempts must be less than or equal to 20"},
		{`"max_attempts":"0"`, "Max attempts must be greater than or equal to 1"},
		{`"max_attempts":"21"`, "Max attempts must be less than or equal to 20"},
		{`"max_attempts":99999999999999999999999`, "Max attempts must be less than or equal to 20"},
		{`"max_attempts":-99999999999999999999999`, "Max attempts must be greater than or equal to 1"},
		{`"allow_alphas":1`, "Allow alphas must be true or false"},
		{`"allow_alphas":"maybe"`, "Allow alphas must be true or false"},
		{`"allow_alphas":""`, "Allow alphas must be true or false"},
		{`"allow_alphas":[]`, "Allow alphas must be true or false"},
		{`"allow_alpha":0`, "Allow alpha must be true or false"},
		{`"allow_alpha":"yes"`, "Allow alpha must be true or false"},
		{`"allow_alpha":{}`, "Allow alpha must be true or false"},
		{`"allow_alphas":true,"allow_alpha":[]`, "Allow alpha must be true or false"},
	}
	for name, sentence := range map[string]string{"token_length": "Token length", "valid_for": "Valid for", "max_attempts": "Max attempts"} {
		for value, problem := range map[string]string{
			`"abc"`: "is not a number", `true`: "is not a number", `""`: "is not a number", `[]`: "is not a number",
			`{}`: "is not a number", `"6 6"`: "is not a number", `[6]`: "is not a number",
			`6.5`: "must be an integer", `"6.5"`: "must be an integer", `6e0`: "must be an integer",
		} {
			tests = append(tests, struct{ fields, want string }{`"` + name + `":` + value, sentence + " " + problem})
		}
	}
	for _, test := range tests {
		for _, path := range []string{"sms", "call"} {
			a := p.ask(request{path: path, body: with("+12025550101", test.fields)})
			if want := refusal(test.want); a.status != 422 || a.body != want {
				t.Errorf("%s %s:\ngot  %d %s\nwant 422 %s", path, test.fields, a.status, a.body, want)
			}
		}
	}
	if all := p.messages("+12025550101"); len(all) != 0 {
		t.Errorf("refused requests sent %d messages", len(all))
	}
}

func testNumbers(t *testing.T, p *process) {
	tests := []struct{ spelling, want string }{
		{"+12025550102", "+12025550102"},
		{"+1 (202) 555-0102", "+12025550102"},
		{"+1.202.555.0102", "+12025550102"},
		{" +1 202 555 0102 ", "+12025550102"},
		{"0012025550102", "+12025550102"},
		{"＋１（２０２）５５５．０１０２", "+12025550102"},
		{"+44 (0)20 7946 0018", "+442079460018"},
		{"+52 1 55 1234 5678", "+525512345678"},
		{"+54 9 11 2345 6789", "+5491123456789"},
		{"+54 11 2345 6789", "+541123456789"},    // another form of that one
		{"+1234567", "+1234567"},                 // 7 digits
		{"+123456789012345", "+123456789012345"}, // 15 digits
	}
	for _, test := range tests {
		for _, field := range []string{"to", "from"} {
			if n := phone.Number(test.want); field == "to" && !n.Possible() {
				p.want(p.ask(request{path: "sms", body: `{"to":"` + test.spelling + `"}`}), 422, refusal("To has a length that its country's numbers don't have"))
				continue
			}
			to, from := test.want, "+12025550199"
			body := `{"to":"` + test.spelling + `"}`
			if field == "from" {
				to, from = newNumber(), test.want
				body = with(to, `"from":"`+test.spelling+`"`)
			}
			id := p.isStart(p.ask(request{path: "sms", body: body}), "sms", to)
			if m := p.message(to, id); m.To != to || m.From != from {
				t.Errorf("%s %q: got a message to %s from %s, want to %s from %s", field, test.spelling, m.To, m.From, to, from)
			}
		}
	}
}

func testRefusedNumbers(t *testing.T, p *process) {
	const (
		format = "is not an E.164 number: + and 7 to 15 digits"
		code   = "has an unknown country calling code"
		text   = "must be a string"
	)
	for _, test := range []struct{ value, want string }{
		{`"+123456"`, format},           // 6 digits
		{`"+1234567890123456"`, format}, // 16 digits
		{`"12025550103"`, format},
		{`"+1800FLOWERS"`, format},
		{`"+1202555010a"`, format},
		{`"+12025550103 ext. 5"`, format},
		{`"+12025550103;ext=5"`, format},
		{`"+1202+5550103"`, format},
		{`"+12025550103\u0000"`, format},
		{`"nobody"`, format},
		{`"+"`, format},
		{`"+99912345678"`, code},
		{`"+0012025550103"`, code},
		{`"+21012345678"`, code},
		{`"+120255501031234"`, "has a length that its country's numbers don't have"},
		{`"+19002345678"`, "is a number of the kind premium, which this project may not send to"},
		{`"+881612345678"`, "is a number of the kind satellite, which this project may not send to"},
		{`12025550103`, text},
		{`true`, text},
		{`["+12025550103"]`, text},
		{`{"number":"+12025550103"}`, text},
	} {
		p.want(p.ask(request{path: "sms", body: `{"to":` + test.value + `}`}), 422, refusal("To "+test.want))
		if test.want == format || test.want == code || test.want == text {
			p.want(p.ask(request{path: "call", body: with("+12025550103", `"from":`+test.value)}), 422, refusal("From "+test.want))
		}
	}
	for _, body := range []string{`{}`, `{"to":null}`, `{"to":""}`, `{"to":"  "}`, `{"To":"+12025550103"}`} {
		p.want(p.ask(request{path: "sms", body: body}), 422, refusal("To can't be blank"))
	}
	for _, from := range []string{`null`, `""`} {
		to := newNumber()
		id := p.isStart(p.ask(request{path: "sms", body: with(to, `"from":`+from)}), "sms", to)
		if got := p.message(to, id).From; got != "+12025550199" {
			t.Errorf("from %s: got a message from %s, want the public sender +12025550199", from, got)
		}
	}
}

func testTexts(t *testing.T, p *process) {
	for _, test := range []struct{ message, sms, call string }{
		{`"My code:"`, "My code: CODE", "My code: CODE"},
		{`"My code: "`, "My code: CODE", "My code: CODE"},
		{`"My code:\n"`, "My code:\nCODE", "My code:\nCODE"},
		{`"My code:\u00a0"`, "My code:\u00a0CODE", "My code:\u00a0CODE"},
		{`"Your code is {code}."`, "Your code is CODE.", "Your code is CODE."},
		{`"Your code is: {{code}}. It expires in 5 minutes."`, "Your code is: CODE. It expires in 5 minutes.", "Your code is: CODE. It expires in 5 minutes."},
		{`"{code}"`, "CODE", "CODE"},
		{`"{{code}} or {code}"`, "CODE or CODE", "CODE or CODE"},
		{`"{CODE} { code } $1 %s"`, "{CODE} { code } $1 %s CODE", "{CODE} { code } $1 %s CODE"},
		{`"<b>\"&'\\"`, `<b>"&'\ CODE`, `<b>"&'\ CODE`},
		{`"Ваш код 🔑"`, "Ваш код 🔑 CODE", "Ваш код 🔑 CODE"},
		{`""`, "Your Personal Authorization Code is: CODE", "Your Personal Authorization Code is CODE"},
		{`null`, "Your Personal Authorization Code is: CODE", "Your Personal Authorization Code is CODE"},
	} {
		for channel, want := range map[string]string{"sms": test.sms, "call": test.call} {
			to := newNumber()
			id := p.isStart(p.ask(request{path: channel, body: with(to, `"message":`+test.message)}), channel, to)
			pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(want), "CODE", "[0-9]{6}") + "$"
			pattern = strings.ReplaceAll(pattern, `\{[0-9]{6}\}`, `\{CODE\}`) // the caller's own capitals
			if got := p.message(to, id).Body; !regexp.MustCompile(pattern).MatchString(got) {
				t.Errorf("%s %s: got %q, want %q", channel, test.message, got, want)
			}
		}
	}
	for value, want := range map[string]string{
		`5`: "Message must be a string", `true`: "Message must be a string", `["x"]`: "Message must be a string", `{}`: "Message must be a string",
		`"a\u0000b"`: "Message has a control character", `"a\u001bb"`: "Message has a control character",
	} {
		p.want(p.ask(request{path: "sms", body: with("+12025550104", `"message":`+value)}), 422, refusal(want))
	}
}

func testTextLengths(t *testing.T, p *process) {
	const (
		gsm  = "Message is too long (maximum is 160 characters with the code, one segment of GSM-7)"
		ucs  = "Message is too long (maximum is 70 characters with the code, one segment of UCS-2)"
		call = "Message is too long (maximum is 500 characters with the code)"
	)
	n := strings.Repeat
	for _, test := range []struct {
		name, channel string
		fits, too     string // the longest that fits, and one more
		length        int    // of the code, which counts too
		refused       string
	}{
		{name: "letters", channel: "sms", fits: n("a", 153), too: n("a", 154), length: 6, refused: gsm},
		{name: "white space at the end", channel: "sms", fits: n("a", 153) + " ", too: n("a", 154) + " ", length: 6, refused: gsm},
		{name: "the longest code", channel: "sms", fits: n("a", 139), too: n("a", 140), length: 20, refused: gsm},
		{name: "the shortest code", channel: "sms", fits: n("a", 155), too: n("a", 156), length: 4, refused: gsm},
		{name: "a placeholder", channel: "sms", fits: n("a", 100) + "{{code}}" + n("b", 54), too: n("a", 100) + "{{code}}" + n("b", 55), length: 6, refused: gsm},
		{name: "letters of the alphabet beyond ASCII", channel: "sms", fits: n("é", 153), too: n("é", 154), length: 6, refused: gsm},
		{name: "extension characters count double", channel: "sms", fits: n("€", 76) + "a", too: n("€", 77), length: 6, refused: gsm},
		{name: "braces count double", channel: "sms", fits: n("{", 76) + "a", too: n("{", 76) + "aa", length: 6, refused: gsm},
		{name: "Cyrillic", channel: "sms", fits: n("ж", 63), too: n("ж", 64), length: 6, refused: ucs},
		{name: "one character makes it UCS-2", channel: "sms", fits: n("a", 62) + "ê", too: n("a", 63) + "ê", length: 6, refused: ucs},
		{name: "emoji count double", channel: "sms", fits: n("🔑", 31) + "a", too: n("🔑", 32), length: 6, refused: ucs},
		{name: "the longest code in UCS-2", channel: "sms", fits: n("ж", 49), too: n("ж", 50), length: 20, refused: ucs},
		{name: "spoken", channel: "call", fits: n("a", 493), too: n("a", 494), length: 6, refused: call},
		{name: "spoken characters, not bytes", channel: "call", fits: n("🔑", 493), too: n("🔑", 494), length: 6, refused: call},
		{name: "spoken with the longest code", channel: "call", fits: n("a", 479) + " ", too: n("a", 480) + " ", length: 20, refused: call},
	} {
		ask := func(to, message string) answer {
			fields := fmt.Sprintf(`"token_length":%d,"message":%q`, test.length, message)
			return p.ask(request{path: test.channel, body: with(to, fields)})
		}
		to := newNumber()
		a := ask(to, test.fits)
		if a.status != http.StatusOK {
			t.Errorf("%s: the longest text: got %d %s, want 200", test.name, a.status, a.body)
			continue
		}
		id := p.isStart(a, test.channel, to)
		before, _, _ := strings.Cut(test.fits, "{{code}}")
		if got := p.message(to, id).Body; !strings.HasPrefix(got, before) {
			t.Errorf("%s: got %q, want it to begin with %q", test.name, got, before)
		}
		if a := ask(to, test.too); a.status != 422 || a.body != refusal(test.refused) {
			t.Errorf("%s: one more: got  %d %s\nwant 422 %s", test.name, a.status, a.body, refusal(test.refused))
		}
	}
}

func testSeveralRefusals(t *testing.T, p *process) {
	// To the letter once, with neither this file's helpers nor the program's types between.
	p.want(p.ask(request{path: "sms", body: `{"to":"+12025550105","token_length":21}`}), 422,
		`{"errors":[{"detail":"Token length must be less than or equal to 20","status":"422","title":"Invalid Attribute","code":"422"}]}`)
	p.want(p.ask(request{path: "sms", body: `{"token_length":3,"valid_for":-1}`}), 422,
		`{"errors":[{"detail":"To can't be blank","status":"422","title":"Invalid Attribute","code":"422"},`+
			`{"detail":"Token length must be greater than or equal to 4","status":"422","title":"Invalid Attribute","code":"422"},`+
			`{"detail":"Valid for must be greater than or equal to 0","status":"422","title":"Invalid Attribute","code":"422"}]}`)
	p.want(p.ask(request{path: "call", body: `{"allow_alpha":3,"allow_alphas":2,"max_attempts":"0","valid_for":604801,"token_length":[],"message":1,"from":"+1","to":7}`}), 422,
		refusal("To must be a string", "From is not an E.164 number: + and 7 to 15 digits", "Message must be a string",
			"Token length is not a number", "Valid for must be less than or equal to 604800",
			"Max attempts must be greater than or equal to 1", "Allow alphas must be true or false", "Allow alpha must be true or false"))
}

func testUnreadable(t *testing.T, p *process) {
	bodies := map[string]string{
		"empty": "", "white space": " \n", "an array": "[]", "null": "null", "a string": `"+12025550106"`, "a number": "1", "true": "true",
		"cut off":              `{"to":"+12025550106"`,
		"cut off in a string":  `{"to":"+12025550106`,
		"a trailing comma":     `{"to":"+12025550106",}`,
		"single quotes":        `{'to':'+12025550106'}`,
		"a bare name":          `{to:"+12025550106"}`,
		"garbage behind it":    `{"to":"+12025550106"}x`,
		"two objects":          `{"to":"+12025550106"}{}`,
		"a form":               `to=%2B12025550106`,
		"a name twice":         `{"to":"+12025550106","to":"+12025550107"}`,
		"a name twice, null":   `{"to":null,"to":"+12025550106"}`,
		"an unknown one twice": `{"to":"+12025550106","x":1,"x":1}`,
		"a name twice, hidden": `{"to":"+12025550106","t\u006f":"+12025550107"}`,
		"invalid UTF-8":        "{\"to\":\"+12025550106\",\"message\":\"\xff\"}",
		"invalid UTF-8, name":  "{\"to\":\"+12025550106\",\"\xc3\":1}",
		"a byte order mark":    "\ufeff{\"to\":\"+12025550106\"}",
		"UTF-16":               "\xff\xfe{\x00}\x00",
		"a comment":            `{"to":"+12025550106"/**/}`,
		"NaN":                  `{"to":"+12025550106","token_length":NaN}`,
		"too deep":             `{"x":` + strings.Repeat("[", 11_000) + strings.Repeat("]", 11_000) + "}",
	}
	for name, body := range bodies {
		for _, path := range []string{"sms", "call", uuid.NewString() + "/verify"} {
			if a := p.ask(request{path: path, body: body}); a.status != 400 || a.body != badRequest {
				t.Errorf("%s, %s:\ngot  %d %s\nwant 400 %s", name, path, a.status, a.body, badRequest)
			}
		}
	}
	if all := p.messages("+12025550106"); len(all) != 0 {
		t.Errorf("unreadable requests sent %d messages", len(all))
	}
}

func testUnauthorized(t *testing.T, p *process) {
	other, secret := p.otherProject("unauthorized")
	for name, authorize := range map[string]func(*http.Request){
		"nothing":           func(*http.Request) {},
		"a wrong token":     func(r *http.Request) { r.SetBasicAuth(p.Project, p.Token+"x") },
		"an empty token":    func(r *http.Request) { r.SetBasicAuth(p.Project, "") },
		"a wrong project":   func(r *http.Request) { r.SetBasicAuth("nobody", p.Token) },
		"an empty project":  func(r *http.Request) { r.SetBasicAuth("", p.Token) },
		"another's project": func(r *http.Request) { r.SetBasicAuth(other, p.Token) },
		"another's token":   func(r *http.Request) { r.SetBasicAuth(p.Project, secret) },
		"a bearer token":    func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+p.Token) },
		"no Base64":         func(r *http.Request) { r.Header.Set("Authorization", "Basic !") },
		"a token in the address": func(r *http.Request) {
			r.URL.RawQuery = url.Values{"project": {p.Project}, "token": {p.Token}}.Encode()
		},
	} {
		for _, path := range []string{"sms", "call", uuid.NewString() + "/verify"} {
			// Who may not ask learns nothing of what was wrong with the question.
			for _, body := range []string{`{"to":"+12025550108"}`, `[`, ``} {
				a := p.ask(request{path: path, body: body, authorize: authorize})
				if want := `Basic realm="SignalWire API", charset="UTF-8"`; a.status != 401 || a.body != unauthorized || a.header.Get("WWW-Authenticate") != want {
					t.Errorf("%s, %s %s:\ngot  %d %s, WWW-Authenticate %s\nwant 401 %s, %s",
						name, path, body, a.status, a.body, a.header.Get("WWW-Authenticate"), unauthorized, want)
				}
			}
		}
	}
	if all := p.messages("+12025550108"); len(all) != 0 {
		t.Errorf("unauthorized requests sent %d messages", len(all))
	}
}

// otherProject makes a second project beside the server's, with a key.
func (p *process) otherProject(id string, flags ...string) (project, token string) {
	p.t.Helper()
	p.command(append([]string{"project", "create", "--id", id, "--public-text", "--sender", "any", "--link-host", "any", id}, flags...)...)
	return id, p.command("key", "create", "--project", id)["token"]
}

func testNotFound(t *testing.T, p *process) {
	id, code := p.start("")
	unknown := uuid.NewString()
	for _, path := range []string{
		unknown + "/verify", "nothing/verify", "1/verify", "sms/verify", "%00/verify", "a%2Fb/verify", "%2e%2e/verify",
		"{" + id + "}/verify", strings.ReplaceAll(id, "-", "") + "/verify", "urn:uuid:" + id + "/verify", id + "0/verify",
		"", "verify", "Sms", "SMS", "sms/", "/sms", "//sms", "./sms", "fax", id, id + "/", id + "/check", id + "/Verify", id + "//verify", id + "/verify/", id + "/verify/x",
		"/", "/api", "/api/relay/rest/mfa", "/api/relay/rest/phone_numbers", "//api/relay/rest/mfa/sms", "/api/relay/rest//mfa/sms", "/favicon.ico",
	} {
		if strings.HasPrefix(path, "/sms") || strings.HasPrefix(path, "//sms") {
			path = "/api/relay/rest/mfa/" + path
		}
		a := p.ask(request{path: path, body: with("+12025550109", `"token":"`+code+`"`)})
		if a.status != 404 || a.body != notFound {
			t.Errorf("POST %s: got %d %s, want 404 %s", path, a.status, a.body, notFound)
		}
	}
	if all := p.messages("+12025550109"); len(all) != 0 {
		t.Errorf("requests to no route sent %d messages", len(all))
	}
	if a := p.ask(request{method: "GET", path: "fax"}); a.status != 404 || a.body != notFound {
		t.Errorf("GET fax: got %d %s, want 404 %s", a.status, a.body, notFound)
	}
	// A UUID is the same one in either case.
	p.want(p.check(strings.ToUpper(id), code), 200, approvedBody)
}

func testMethods(t *testing.T, p *process) {
	for _, path := range []string{"sms", "call", uuid.NewString() + "/verify", "nothing/verify"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
			want := methodNotAllowed
			if method == "HEAD" {
				want = ""
			}
			a := p.ask(request{method: method, path: path, body: `{"to":"+12025550110"}`})
			if a.status != 405 || a.body != want || a.header.Get("Allow") != "POST" {
				t.Errorf("%s %s: got %d %s, Allow %q, want 405 %s, Allow POST", method, path, a.status, a.body, a.header.Get("Allow"), want)
			}
		}
	}
}

func testTooLarge(t *testing.T, p *process) {
	const most = 64 << 10
	for name, contentType := range map[string]string{"JSON": "application/json", "form": "application/x-www-form-urlencoded"} {
		body := func(to string, size int) string {
			before, after := `{"to":"`+to+`","x":"`, `"}`
			if name == "form" {
				before, after = "to="+url.QueryEscape(to)+"&x=", ""
			}
			return before + strings.Repeat("x", size-len(before)-len(after)) + after
		}
		to := newNumber()
		p.isStart(p.ask(request{path: "sms", contentType: contentType, body: body(to, most)}), "sms", to)
		for _, size := range []int{most + 1, 200 << 10} {
			p.want(p.ask(request{path: "sms", contentType: contentType, body: body(to, size)}), 413, tooLarge)
			p.want(p.ask(request{path: uuid.NewString() + "/verify", contentType: contentType, body: body(to, size)}), 413, tooLarge)
		}
	}
	// Without a length that could be read first, it counts just the same.
	to := newNumber()
	for size, want := range map[int]int{most: 200, most + 1: 413} {
		body := with(to, `"x":"`+strings.Repeat("x", size-len(with(to, `"x":""`)))+`"`)
		req, err := http.NewRequest("POST", p.URL+"/api/relay/rest/mfa/sms", io.MultiReader(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(p.Project, p.Token)
		if resp, got, err := do(req); err != nil || resp.StatusCode != want {
			t.Errorf("%d bytes in chunks: got %v %s, %v, want %d", size, resp, got, err, want)
		}
	}
}

func testContentTypes(t *testing.T, p *process) {
	const form = "application/x-www-form-urlencoded"
	for contentType, asForm := range map[string]bool{
		"application/json": false, "application/json; charset=utf-8": false, "application/json;charset=UTF-8": false,
		"Application/JSON": false, " application/json ": false,
		form: true, form + "; charset=UTF-8": true, form + ";charset=utf-8": true, "Application/X-WWW-Form-URLEncoded": true,
	} {
		to := newNumber()
		body := with(to, "")
		if asForm {
			body = "to=" + url.QueryEscape(to)
		}
		p.isStart(p.ask(request{path: "sms", contentType: contentType, body: body}), "sms", to)
	}
	// Without one, it is taken for JSON.
	to := newNumber()
	p.isStart(p.ask(request{path: "sms", body: with(to, ""), authorize: func(r *http.Request) {
		r.SetBasicAuth(p.Project, p.Token)
		r.Header.Del("Content-Type")
	}}), "sms", to)

	for _, contentType := range []string{
		"text/plain", "text/json", "application/xml", "application/jsonp", "application/json-patch+json", "multipart/form-data; boundary=x",
		"application", "/", "application/json, text/plain", "application/json; charset", "application/json; charset=utf-16", form + "; charset=utf-16le",
	} {
		for _, path := range []string{"sms", "call", uuid.NewString() + "/verify"} {
			a := p.ask(request{path: path, contentType: contentType, body: `{"to":"+12025550111","token":"1"}`})
			if a.status != 415 || a.body != unsupported {
				t.Errorf("%s %s: got %d %s, want 415 %s", path, contentType, a.status, a.body, unsupported)
			}
		}
	}
}

func testForms(t *testing.T, p *process) {
	const form = "application/x-www-form-urlencoded"
	for _, test := range []struct{ fields, want string }{
		{"", byDefault},
		{"&token_length=4&valid_for=60&max_attempts=20&allow_alphas=true", "alphanumeric 4, 60 s, 20 attempts"},
		{"&allow_alpha=true", "alphanumeric 6, 3600 s, 3 attempts"},
		{"&allow_alpha=false&unknown=1&unknown_too", byDefault},
		{"&token_length=&valid_for=&max_attempts=&allow_alphas=&from=&message=", byDefault}, // inputs left empty
	} {
		to := newNumber()
		id := p.isStart(p.ask(request{path: "sms", contentType: form, body: "to=" + url.QueryEscape(to) + test.fields}), "sms", to)
		if got := p.record(id).Settings; got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.fields, got, test.want)
		}
	}
	to := newNumber()
	p.isStart(p.ask(request{path: "sms", contentType: form, body: "to=" + to}), "sms", to) // a plus that isn't escaped is a space
	for fields, want := range map[string][]string{
		"":                                {"To can't be blank"},
		"&token_length=3":                 {"To can't be blank", "Token length must be greater than or equal to 4"},
		"&to=%2B12025550112&valid_for=-1": {"Valid for must be greater than or equal to 0"},
		"&to=%2B12025550112&valid_for=x":  {"Valid for is not a number"},
		"&to=%2B12025550112&allow_alpha=maybe&max_attempts=1.5": {"Max attempts must be an integer", "Allow alpha must be true or false"},
	} {
		p.want(p.ask(request{path: "sms", contentType: form, body: "x=1" + fields}), 422, refusal(want...))
	}
	for name, body := range map[string]string{
		"empty": "", "a bad escape": "to=%2", "a name twice": "to=%2B12025550112&to=%2B12025550113", "invalid UTF-8": "to=%ff", "a semicolon": "to=%2B12025550112;x=1",
	} {
		if a := p.ask(request{path: "sms", contentType: form, body: body}); a.status != 400 || a.body != badRequest {
			t.Errorf("%s: got %d %s, want 400 %s", name, a.status, a.body, badRequest)
		}
	}

	id, code := p.start("")
	p.want(p.ask(request{path: id + "/verify", contentType: form, body: "token="}), 422, refusal("Token can't be blank"))
	p.want(p.ask(request{path: id + "/verify", contentType: form, body: "token=" + otherThan(code)}), 200, wrongBody)
	p.want(p.ask(request{path: id + "/verify", contentType: form, body: "token=" + code}), 200, approvedBody)
}

func testCheck(t *testing.T, p *process) {
	id, code := p.start("")
	p.want(p.check(id, otherThan(code)), 200, wrongBody)
	p.want(p.check(id, code), 200, approvedBody)
	p.want(p.check(id, code), 404, notFound)
	p.want(p.check(id, otherThan(code)), 404, notFound)

	other, its := p.start("")
	if its != code {
		p.want(p.check(other, code), 200, wrongBody) // one verification's code is not another's
	}
	p.want(p.check(other, its), 200, approvedBody)
}

func testAttempts(t *testing.T, p *process) {
	for _, n := range []int{1, 2, 3, 20} {
		id, code := p.start(fmt.Sprintf(`"max_attempts":%d`, n))
		for range n {
			p.want(p.check(id, otherThan(code)), 200, wrongBody)
		}
		p.want(p.check(id, code), 404, notFound)
		p.want(p.check(id, otherThan(code)), 404, notFound)

		id, code = p.start(fmt.Sprintf(`"max_attempts":%d`, n))
		for range n - 1 {
			p.want(p.check(id, otherThan(code)), 200, wrongBody)
		}
		p.want(p.check(id, code), 200, approvedBody) // the last one is still good
	}
}

func testImpossibleTokens(t *testing.T, p *process) {
	id, code := p.start(`"max_attempts":20`)
	tokens := []string{
		code + "0", "0" + code, code[1:], code + code, "abcdef", "x", " ", "-", "\x00", code + "\x00", "\t\n",
		strings.Map(func(r rune) rune { return r - '0' + '₀' }, code), // subscripts
		strings.Repeat("1", 64), strings.Repeat("1", 65), strings.Repeat("1", 10_000), "{code}", "' OR 1=1 --",
	}
	for i, token := range tokens {
		if a := p.check(id, token); a.status != 200 || a.body != wrongBody {
			t.Errorf("token %.40q: got %d %s, want 200 %s", token, a.status, a.body, wrongBody)
		}
		if got, want := p.record(id).Guesses, i+1; got != want {
			t.Fatalf("token %.40q: got %d guesses spent, want %d", token, got, want)
		}
	}
	p.want(p.check(id, code), 200, approvedBody)

	// A client that encodes badly sends half of a character. JSON can say that, UTF-8 can't.
	id, code = p.start(`"max_attempts":2`)
	p.want(p.ask(request{path: id + "/verify", body: `{"token":"\ud800"}`}), 200, wrongBody)
	p.want(p.check(id, code), 200, approvedBody)
}

func testTypedTokens(t *testing.T, p *process) {
	for name, typed := range map[string]func(string) string{
		"as it is":          func(code string) string { return code },
		"lower case":        strings.ToLower,
		"in groups":         func(code string) string { return code[:3] + " " + code[3:6] + "-" + code[6:] },
		"with space around": func(code string) string { return " " + code + "\n" },
		"full-width": func(code string) string {
			return strings.Map(func(r rune) rune { return r - '!' + '！' }, code)
		},
		"copied with its direction": func(code string) string { return "\u202a" + code + "\u202c\u200e" },
		"in Arabic digits": func(code string) string {
			return strings.Map(func(r rune) rune {
				if '0' <= r && r <= '9' {
					r += '٠' - '0'
				}
				return r
			}, code)
		},
		"pasted from a text": func(code string) string {
			return "\u00a0" + strings.ToLower(code[:4]) + "\u2013" + code[4:]
		},
	} {
		id, code := p.start(`"allow_alphas":true,"token_length":8`)
		if a := p.check(id, typed(code)); a.status != 200 || a.body != approvedBody {
			t.Errorf("%s: got %d %s, want 200 %s", name, a.status, a.body, approvedBody)
		}
	}
}

func testMissingTokens(t *testing.T, p *process) {
	id, code := p.start(`"max_attempts":1`)
	for body, want := range map[string]string{
		`{}`:                         "Token can't be blank",
		`{"token":null}`:             "Token can't be blank",
		`{"token":""}`:               "Token can't be blank",
		`{"Token":"` + code + `"}`:   "Token can't be blank",
		`{"code":"` + code + `"}`:    "Token can't be blank",
		`{"token":1}`:                "Token must be a string",
		`{"token":true}`:             "Token must be a string",
		`{"token":["` + code + `"]}`: "Token must be a string",
		`{"token":{}}`:               "Token must be a string",
	} {
		p.want(p.ask(request{path: id + "/verify", body: body}), 422, refusal(want))
	}
	for _, body := range []string{`{"token":1,"token":"` + code + `"}`, `{"token":"` + code + `"`, ``} {
		p.want(p.ask(request{path: id + "/verify", body: body}), 400, badRequest)
	}
	p.want(p.ask(request{path: id + "/verify", body: `{"token":"` + code + `","extra":true}`}), 200, approvedBody)
}

func testExpiry(t *testing.T, p *process) {
	var id, code string
	var ends time.Time
	for life := time.Second; ; life *= 2 { // until the machine gets as far as a check within it
		id, code = p.start(fmt.Sprintf(`"valid_for":%g`, life.Seconds()))
		v, err := verify.ParseID(id)
		if err != nil {
			t.Fatal(err)
		}
		ends = v.Time().Add(life)
		a := p.check(id, otherThan(code))
		if !time.Now().Before(ends) && life < time.Minute {
			continue
		}
		p.want(a, 200, wrongBody)
		break
	}
	time.Sleep(time.Until(ends)) // the server's clock is ours
	p.want(p.check(id, code), 404, notFound)
	p.want(p.check(id, otherThan(code)), 404, notFound)
	if r := p.record(id); r.Guesses != 1 || r.Ended {
		t.Errorf("got %d guesses and ended %v, want 1 and false: time alone has ended it", r.Guesses, r.Ended)
	}
}

func testNoLife(t *testing.T, p *process) {
	to := newNumber()
	id := p.isStart(p.ask(request{path: "sms", body: with(to, `"valid_for":0`)}), "sms", to)
	for range 20 { // more than any limit of a number
		p.isStart(p.ask(request{path: "call", body: with(to, `"valid_for":"0"`)}), "call", to)
	}
	if n := p.rows(id); n != 0 {
		t.Errorf("%d rows are stored of it: a caller could fill the disk without a message", n)
	}
	p.want(p.check(id, "123456"), 404, notFound)
	p.want(p.ask(request{path: id + "/verify", body: `{}`}), 422, refusal("Token can't be blank"))
	// The next one shows that the simulator lists what is sent to the number.
	next := p.isStart(p.ask(request{path: "sms", body: with(to, "")}), "sms", to)
	p.message(to, next)
	if all := p.messages(to); len(all) != 1 {
		t.Errorf("got %d messages, want only the second verification's", len(all))
	}
}

func testTenancy(t *testing.T, p *process) {
	other := p.as(p.otherProject("tenancy"))
	id, code := p.start(`"max_attempts":2`)
	foreign := other.check(id, code)
	absent := other.check(uuid.NewString(), code)
	for _, a := range []answer{foreign, absent} {
		a.header.Del("X-Request-Id")
		a.header.Del("Date")
	}
	p.want(absent, 404, notFound)
	if diff := cmp.Diff(absent, foreign, cmp.AllowUnexported(answer{})); diff != "" {
		t.Errorf("another project's verification differs from none (-none +another's):\n%s", diff)
	}
	p.want(other.check(id, otherThan(code)), 404, notFound)
	p.want(other.ask(request{path: id + "/verify", body: `{}`}), 422, refusal("Token can't be blank"))
	if got := p.record(id).Guesses; got != 0 {
		t.Errorf("another project spent %d guesses", got)
	}
	p.want(p.check(id, code), 200, approvedBody)

	// The other project's own work goes on beside it, on the same number.
	to := newNumber()
	ours := p.isStart(p.ask(request{path: "sms", body: with(to, "")}), "sms", to)
	theirs := other.isStart(other.ask(request{path: "sms", body: with(to, "")}), "sms", to)
	p.want(p.check(theirs, codeIn(p.message(to, theirs).Body)), 404, notFound)
	p.want(other.check(theirs, codeIn(p.message(to, theirs).Body)), 200, approvedBody)
	p.want(p.check(ours, codeIn(p.message(to, ours).Body)), 200, approvedBody)
}

func testStandardProject(t *testing.T, p *process) {
	p.command("project", "create", "--id", "standard", "--profile", "standard", "--country", "US", "--sender", "+1 202 555 0188", "A shop")
	strict := p.as("standard", p.command("key", "create", "--project", "standard")["token"])
	for _, test := range []struct{ fields, want string }{
		{``, "numeric 6, 300 s, 5 attempts"},
		{`"valid_for":600,"max_attempts":5`, "numeric 6, 600 s, 5 attempts"},
		{`"token_length":4,"allow_alphas":true`, "alphanumeric 4, 300 s, 5 attempts"}, // 20 bits
		{`"from":"+1 (202) 555-0188","message":"Code:"`, "numeric 6, 300 s, 5 attempts"},
		{`"message":"Your Personal Authorization Code is:"`, "numeric 6, 300 s, 5 attempts"}, // the approved text
	} {
		to := newNumber()
		id := strict.isStart(strict.ask(request{path: "sms", body: with(to, test.fields)}), "sms", to)
		if got := strict.record(id).Settings; got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.fields, got, test.want)
		}
	}
	for fields, want := range map[string]string{
		`"valid_for":601`:                        "Valid for must be less than or equal to 600",
		`"max_attempts":6`:                       "Max attempts must be less than or equal to 5",
		`"token_length":5`:                       "Token length is too short for a secure code",
		`"from":"+12025550187"`:                  "From is not a sender of this project",
		`"message":"Code:"`:                      "From can't be blank when a message is given",
		`"message":"Code:","from":"+5554433222"`: "From is not a sender of this project",
	} {
		strict.want(strict.ask(request{path: "sms", body: with("+12025550114", fields)}), 422, refusal(want))
	}
	strict.want(strict.ask(request{path: "sms", body: `{"to":"+120255501"}`}), 422, refusal("To has a length that its country's numbers don't have"))
	strict.want(strict.ask(request{path: "call", body: `{"to":"+442079460018"}`}), 422, refusal("To is a number of the country GB, to which this project may not send"))
}

// What a project may send from, and link to, must be said.
func testNewProject(t *testing.T, p *process) {
	create := func(id string, flags ...string) *process {
		p.command(append([]string{"project", "create", "--id", id, id}, flags...)...)
		return p.as(id, p.command("key", "create", "--project", id)["token"])
	}
	bank := create("bank", "--sender", "+12025550177", "--sender", "BANKOFX", "--link-host", "bank.example")
	others := map[string]*process{"fresh": create("fresh"), "any": create("any", "--sender", "any", "--public-text")}
	const (
		stranger = "From is not a sender of this project"
		link     = "Message names a web site that isn't the project's"
	)
	for _, test := range []struct{ fields, bank, fresh, any string }{
		{``, "", "", ""},
		{`"from":"+12025550199"`, "", "", ""}, // the public sender
		{`"from":"+12025550177"`, "", stranger, stranger},
		{`"from":"+12025550178"`, stranger, stranger, ""},
		{`"from":"+12025550177","message":"See https://login.bank.example/"`, "", stranger + "|" + link, stranger + "|" + link},
		{`"from":"+12025550177","message":"See bank.example.evil.example"`, link, stranger + "|" + link, stranger + "|" + link},
		{`"from":"+12025550177","message":"Code\n@evil.example #{code}"`, link, stranger + "|" + link, stranger + "|" + link},
		{`"message":"See https://evil.example/"`, "From can't be blank when a message is given|" + link, "From can't be blank when a message is given|" + link, link},
	} {
		for name, want := range map[string]string{"bank": test.bank, "fresh": test.fresh, "any": test.any} {
			to, who := newNumber(), others[name]
			if name == "bank" {
				who = bank
			}
			a := who.in(t).ask(request{path: "sms", body: with(to, test.fields)})
			if want == "" {
				p.isStart(a, "sms", to)
				continue
			}
			who.in(t).want(a, 422, refusal(strings.Split(want, "|")...))
		}
	}
	for name, status := range map[string]int{"fresh": 400, "any": 400, "bank": 200} {
		who := bank
		if name != "bank" {
			who = others[name]
		}
		a := who.in(t).ask(request{path: "/mfa/v1/applications", body: `{"name":"Bank","message_from":"BankOfX"}`, authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+who.Token) }})
		if a.status != status || status == 400 && !strings.Contains(a.body, "message_from is not a sender of this project") {
			t.Errorf("%s's application that sends from the bank's name: got %d %s, want %d", name, a.status, a.body, status)
		}
	}
}

func testRevocation(t *testing.T, p *process) {
	project, token := p.otherProject("revocation")
	other := p.as(project, token)
	second := p.as(project, p.command("key", "create", "--project", project, "--name", "second")["token"])
	unauthorizedNow := func(q *process) bool {
		return q.ask(request{path: uuid.NewString() + "/verify", body: `{"token":"1"}`}).status == 401
	}
	if unauthorizedNow(other) || unauthorizedNow(second) {
		t.Fatal("a new key doesn't work")
	}
	var keys []map[string]any
	p.commandInto(&keys, "key", "list", "--project", project)
	p.command("key", "revoke", keys[0]["id"].(string))
	for revoked := time.Now(); ; {
		asked := time.Now()
		if unauthorizedNow(other) {
			break
		}
		if asked.Sub(revoked) > time.Second {
			t.Error("a revoked key still works after a second")
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if unauthorizedNow(second) {
		t.Error("revoking a project's key ended another of its keys")
	}
}

func testWaits(t *testing.T, p *process) {
	to := newNumber()
	start := func() (id, code string) {
		id = p.isStart(p.ask(request{path: "sms", body: with(to, `"max_attempts":5`)}), "sms", to)
		return id, codeIn(p.message(to, id).Body)
	}
	fresh, freshCode := start()
	var ended, endedCode string
	for range 4 {
		ended, endedCode = start()
		for range 5 {
			p.want(p.check(ended, otherThan(endedCode)), 200, wrongBody)
		}
	}
	limited := func(a answer) {
		t.Helper()
		p.want(a, 429, tooManyRequests)
		if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 1 || s > 30 {
			t.Errorf("got Retry-After %q, want 1 to 30", a.header.Get("Retry-After"))
		}
	}
	limited(p.check(fresh, freshCode))
	limited(p.check(fresh, otherThan(freshCode)))
	if got := p.record(fresh).Guesses; got != 0 {
		t.Errorf("while the number waits, %d guesses were spent", got)
	}
	p.want(p.check(ended, endedCode), 404, notFound) // ended is ended, wait or not
	// A new code buys one guess, so that nobody can shut a person out. The wait begins again with it. A code is newer than a
	// guess if it was started in a later millisecond.
	newer := func() (id, code string) {
		for at := time.Now().UnixMilli(); time.Now().UnixMilli() <= at; {
			time.Sleep(time.Millisecond)
		}
		return start()
	}
	later, laterCode := newer()
	p.want(p.check(later, otherThan(laterCode)), 200, wrongBody)
	limited(p.check(later, laterCode))
	last, lastCode := newer()
	p.want(p.check(last, lastCode), 200, approvedBody)
	other, otherCode := p.start("")
	p.want(p.check(other, otherCode), 200, approvedBody)
}

func TestSendLimits(t *testing.T) {
	t.Parallel()
	p := startDev(t, nil, "--limits")
	const to, other = "+442079460018", "+442079460019"
	for i, body := range []string{
		`{"to":"+442079460018"}`, `{"to":"+44 20 7946 0018"}`, `{"to":"+44 (0)20 7946 0018"}`, `{"to":"00442079460018"}`,
		`{"to":"+442079460018","valid_for":0}`, // never sent, and not counted
		`{"to":"+442079460018"}`,
	} {
		if a := p.ask(request{path: "sms", body: body}); a.status != 200 {
			t.Errorf("start %d: got %d %s, want 200", i+1, a.status, a.body)
		}
	}
	for _, path := range []string{"sms", "call"} {
		for _, body := range []string{`{"to":"+442079460018"}`, `{"to":"+44 (0) 20 7946-0018"}`} {
			a := p.ask(request{path: path, body: body})
			p.want(a, 429, tooManyRequests)
			if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 1 || s > 120 {
				t.Errorf("got Retry-After %q, want 1 to 120", a.header.Get("Retry-After"))
			}
		}
	}
	// A request that is refused for what it says isn't one that has to wait.
	p.want(p.ask(request{path: "sms", body: with(to, `"token_length":3`)}), 422, refusal("Token length must be greater than or equal to 4"))
	id := p.isStart(p.ask(request{path: "sms", body: with(other, "")}), "sms", other)
	p.message(other, id)
	if all := p.messages(to); len(all) != 5 {
		t.Errorf("got %d messages, want 5", len(all))
	}
}

func TestAFullQueueIs503(t *testing.T) {
	t.Parallel()
	p := startDev(t, nil)
	body := with(string(sim.SilentNumber), `"valid_for":60`)
	// Messages that nobody takes fill the queue, however long it is, unless it has no end.
	var clients sync.WaitGroup
	var refused atomic.Pointer[answer]
	var asked atomic.Int64
	for range 32 {
		clients.Go(func() {
			for refused.Load() == nil && asked.Add(1) <= 2*devQueue {
				resp, body, err := p.post("sms", body)
				if err != nil {
					t.Errorf("start: %v", err)
					return
				}
				if resp.StatusCode != 200 {
					refused.Store(&answer{resp.StatusCode, resp.Header, body})
				}
			}
		})
	}
	clients.Wait()
	a := refused.Load()
	if a == nil {
		t.Fatalf("%d starts were taken for a queue of %d", asked.Load(), devQueue)
	}
	p.want(*a, 503, unavailable)
	if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 1 {
		t.Errorf("got Retry-After %q, want whole seconds", a.header.Get("Retry-After"))
	}
	// Checks need no place in a queue.
	p.want(p.check(uuid.NewString(), "1"), 404, notFound)
}

// An outcome is what an API client and an operator can see of a number with a meaning.
type outcome struct {
	to     phone.Number
	fields string // of the start

	delivery verify.DeliveryState
	reason   string // or one of several, with | between them
	messages int
	attempts int           // at least
	after    time.Duration // at least, until the message is there
}

var outcomes = map[string]outcome{
	"refused":     {to: sim.RefusedNumber, delivery: verify.DeliveryFailed, reason: "refused", attempts: 1},
	"unreachable": {to: sim.UnreachableNumber, delivery: verify.DeliveryQueued, reason: "unreachable", attempts: 2},
	// Its next attempt is due after its code's death, or is late for it.
	"given up":            {to: sim.UnreachableNumber, fields: `"valid_for":5`, delivery: verify.DeliveryFailed, reason: "unreachable|expired", attempts: 1},
	"accepts after 2 s":   {to: sim.SlowNumber, delivery: verify.DeliverySent, messages: 1, attempts: 1, after: 2 * time.Second},
	"receipt failed":      {to: sim.FailedReceiptNumber, delivery: verify.DeliveryFailed, reason: "unreachable", messages: 1, attempts: 1},
	"never answers":       {to: sim.SilentNumber, delivery: verify.DeliverySent, reason: "unknown", attempts: 1},
	"an ordinary number":  {to: "+12025550115", delivery: verify.DeliverySent, messages: 1, attempts: 1},
	"the next one is not": {to: "+15550100006", delivery: verify.DeliverySent, messages: 1, attempts: 1},
}

// startOutcomes starts a verification for each outcome, long before somebody awaits what becomes of
// it. It returns their ids.
func startOutcomes(p *process) map[string]string {
	p.t.Helper()
	ids := map[string]string{}
	took := map[string]time.Duration{}
	var slowest time.Duration // of those whose carrier answers at once
	for name, o := range outcomes {
		began := time.Now()
		ids[name] = p.isStart(p.ask(request{path: "sms", body: with(string(o.to), o.fields)}), "sms", string(o.to))
		took[name] = time.Since(began)
		if o.after == 0 && o.messages > 0 {
			slowest = max(slowest, took[name])
		}
	}
	for name, o := range outcomes {
		if o.after > 0 && took[name] > o.after+slowest {
			p.t.Errorf("%s: the start was answered after %v, and others after %v at most: it waited for the carrier", name, took[name], slowest)
		}
	}
	return ids
}

func testOutcomes(t *testing.T, p *process, ids map[string]string) {
	for name, want := range outcomes {
		id, to := ids[name], string(want.to)
		var r record
		var all []simMessage
		seen := func() bool {
			r, all = p.record(id), p.messages(to)
			return r.Delivery == want.delivery && slices.Contains(strings.Split(want.reason, "|"), r.Reason) && len(all) == want.messages && r.Attempt >= want.attempts
		}
		if !within(patience, seen) {
			t.Errorf("%s:\ngot  %v(%s), %d messages, %d attempts\nwant %v(%s), %d, at least %d", name,
				r.Delivery, r.Reason, len(all), r.Attempt, want.delivery, want.reason, want.messages, want.attempts)
			continue
		}
		started, err := verify.ParseID(id)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if took := m.CreatedAt.Sub(started.Time()); took < want.after {
				t.Errorf("%s: the message was accepted after %v, want %v or more", name, took, want.after)
			}
		}
	}
}

func testRequestIDs(t *testing.T, p *process) {
	seen := map[string]bool{}
	for range 20 {
		for _, r := range []request{
			{path: "sms", body: `{}`}, {path: "sms", body: ``}, {path: "nothing"}, {method: "GET", path: "sms"},
			{path: "sms", contentType: "text/plain"}, {path: "sms", authorize: func(*http.Request) {}},
			{path: "sms", body: `{}`, authorize: func(r *http.Request) { r.Header.Set("X-Request-Id", "00000000-0000-7000-8000-000000000000") }},
		} {
			id := p.ask(r).header.Get("X-Request-Id")
			if seen[id] || strings.HasPrefix(id, "00000000-") {
				t.Fatalf("request id %s isn't the server's own and new", id)
			}
			seen[id] = true
		}
	}
}

func testForeignHost(t *testing.T, p *process) {
	for host, want := range map[string]int{
		"evil.example": 403, "evil.example:8080": 403, "127.0.0.1.evil.example": 403, "192.0.2.1": 403, "0.0.0.0": 403,
		"localhost": 200, "localhost:8080": 200, "127.0.0.1": 200, "[::1]:8080": 200,
	} {
		for _, url := range []string{p.URL + "/simulator", p.URL + "/simulator/messages", p.Ops + "/healthz", p.Ops + "/carriers"} {
			req, err := http.NewRequest("GET", url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			resp, body, err := do(req)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != want || (want == 403 && strings.Contains(body, "Code")) {
				t.Errorf("%s as %s: got %d %.100s, want %d", url, host, resp.StatusCode, body, want)
			}
		}
	}
}
