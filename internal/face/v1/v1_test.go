package v1_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/face/v1"
	"github.com/countersign/countersign/internal/verify"
)

const (
	to    = "+12025550100"
	other = "+12025550101"
)

// A kit calls the API, and compares each answer with the API's description.
type kit struct {
	*countersigntest.Kit
	t *testing.T
}

func newKit(t *testing.T, o countersigntest.Options) kit {
	return kit{countersigntest.New(t, o), t}
}

// described is the description, with each schema by its name.
var described = func() *huma.OpenAPI {
	d := &huma.OpenAPI{Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)}}
	v1.Register(d)
	return d
}()

// call makes a call and wants a status. The answer must be one that the description has for the route.
func (k kit) call(token verify.Secret, method, path, body string, status int) (answer string) {
	k.t.Helper()
	got, header, answer := k.Call(token, method, path, body)
	if got != status {
		k.t.Errorf("%s %s %.200s: got %d %.500s, want %d", method, path, body, got, answer, status)
	}
	if problem := outside(method, path, got, header, answer); problem != "" {
		k.t.Errorf("%s %s: the answer %d %s isn't described: %s", method, path, got, answer, problem)
	}
	return answer
}

// outside says why an answer isn't one that the description has.
func outside(method, path string, status int, header http.Header, answer string) string {
	path, _, _ = strings.Cut(path, "?")
	operation := find(method, path)
	if operation == nil {
		return "no such operation"
	}
	response := operation.Responses[strconv.Itoa(status)]
	if response == nil {
		return "no such status"
	}
	if len(response.Content) == 0 && answer == "" {
		return ""
	}
	content := response.Content[header.Get("Content-Type")]
	if content == nil {
		return "no such type as " + header.Get("Content-Type")
	}
	var value any
	if err := json.Unmarshal([]byte(answer), &value); err != nil {
		return err.Error()
	}
	var result huma.ValidateResult
	registry := described.Components.Schemas
	huma.Validate(registry, content.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, value, &result)
	if len(result.Errors) > 0 {
		return fmt.Sprint(result.Errors)
	}
	return ""
}

func find(method, path string) *huma.Operation {
	parts := strings.Split(path, "/")
	for pattern, item := range described.Paths {
		want := strings.Split(pattern, "/")
		if len(want) == len(parts) {
			same := true
			for i := range want {
				same = same && (want[i] == parts[i] || strings.HasPrefix(want[i], "{"))
			}
			if same {
				return map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete}[method]
			}
		}
	}
	return nil
}

func read[T any](t *testing.T, answer string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	return v
}

func (k kit) start(to, more string) api.Verification {
	k.t.Helper()
	return read[api.Verification](k.t, k.call("", "POST", "/v1/verifications", `{"to":"`+to+`"`+more+`}`, 201))
}

func (k kit) check(id, code string) api.CheckResult {
	k.t.Helper()
	return read[api.CheckResult](k.t, k.call("", "POST", "/v1/verifications/"+id+"/check", `{"code":"`+code+`"}`, 200))
}

func (k kit) checkNumber(to, purpose, code string) api.CheckResult {
	k.t.Helper()
	return read[api.CheckResult](k.t, k.call("", "POST", "/v1/checks", `{"to":"`+to+`","purpose":"`+purpose+`","code":"`+code+`"}`, 200))
}

func (k kit) read(id string) api.Verification {
	k.t.Helper()
	return read[api.Verification](k.t, k.call("", "GET", "/v1/verifications/"+id, "", 200))
}

func TestAVerificationFromStartToEnd(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	started := k.start(to, `,"purpose":"login","max_attempts":3,"valid_for":60`)
	want := api.Verification{ID: started.ID, To: to, Channel: "sms", Purpose: "login", Status: "pending", Delivery: started.Delivery, AttemptsRemaining: 3,
		CreatedAt: started.CreatedAt, ExpiresAt: started.CreatedAt.Add(time.Minute), ResendAfter: started.ResendAfter}
	if diff := cmp.Diff(want, started); diff != "" {
		t.Errorf("start (-want +got):\n%s", diff)
	}
	code := k.Code(to, started.ID)
	k.Await("the message to be handed over", func() bool { return len(k.read(started.ID).Deliveries) == 1 })
	if d := k.read(started.ID).Deliveries[0]; d.Outcome != "accepted" || d.Carrier != "simulator" || d.Channel != "sms" || d.Attempt != 1 {
		t.Errorf("got the delivery %+v, want the first, accepted by the simulator", d)
	}

	k.call("", "POST", "/v1/verifications/"+started.ID+"/check", `{"purpose":"reset","code":"`+code+`"}`, 404) // spends no guess
	if diff := cmp.Diff(api.CheckResult{ID: started.ID, Status: "pending", Reason: "wrong_code", AttemptsRemaining: 2}, k.check(started.ID, countersigntest.Wrong(code))); diff != "" {
		t.Errorf("wrong code (-want +got):\n%s", diff)
	}
	right := read[api.CheckResult](t, k.call("", "POST", "/v1/verifications/"+started.ID+"/check", `{"purpose":"login","code":"`+code+`"}`, 200))
	if diff := cmp.Diff(api.CheckResult{ID: started.ID, Valid: true, Status: "approved", AttemptsRemaining: 1}, right); diff != "" {
		t.Errorf("right code (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(api.CheckResult{ID: started.ID, Status: "approved", Reason: "already_approved"}, k.check(started.ID, code)); diff != "" {
		t.Errorf("the right code again (-want +got):\n%s", diff)
	}
	if v := k.read(started.ID); v.Status != "approved" || v.EndedAt == nil || v.AttemptsRemaining != 0 {
		t.Errorf("got %+v, want it approved, ended, and no more guesses", v)
	}
}

// Each end is told apart, by a check as by a reading.
func TestEachEndIsToldApart(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	for i, test := range []struct {
		end, reason string
		bring       func(v api.Verification, code string)
	}{
		{"approved", "already_approved", func(v api.Verification, code string) { k.check(v.ID, code) }},
		{"exhausted", "exhausted", func(v api.Verification, code string) {
			if r := k.check(v.ID, countersigntest.Wrong(code)); r.Status != "exhausted" || r.Reason != "wrong_code" || r.AttemptsRemaining != 0 {
				t.Errorf("the last guess got %+v, want it wrong, and the verification exhausted", r)
			}
		}},
		{"canceled", "canceled", func(v api.Verification, _ string) {
			canceled := read[api.Verification](t, k.call("", "POST", "/v1/verifications/"+v.ID+"/cancel", "", 200))
			if canceled.Status != "canceled" {
				t.Errorf("the cancel's answer has the status %s", canceled.Status)
			}
		}},
		{"superseded", "superseded", func(v api.Verification, _ string) { k.start(v.To, `,"purpose":"`+v.Purpose+`"`) }},
		{"expired", "expired", func(v api.Verification, _ string) { k.Advance(time.Minute) }},
	} {
		number := to[:len(to)-1] + strconv.Itoa(i)
		v := k.start(number, `,"max_attempts":1,"valid_for":60`)
		code := k.Code(number, v.ID)
		test.bring(v, code)
		if r := k.check(v.ID, code); r.Valid || r.Status != test.end || r.Reason != test.reason {
			t.Errorf("%s: a check got %+v", test.end, r)
		}
		if seen := k.read(v.ID); seen.Status != test.end || seen.EndedAt == nil {
			t.Errorf("%s: got %+v, want that status and an end", test.end, seen)
		}
		if test.end != "expired" { // which a cancel refuses as well
			p := read[api.Problem](t, k.call("", "POST", "/v1/verifications/"+v.ID+"/cancel", "", 409))
			if p.Status != 409 || p.Code == "" || p.Detail == "" {
				t.Errorf("%s: a cancel got %+v", test.end, p)
			}
		}
	}
}

func TestACheckByNumber(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	older, login, reset := k.start(to, `,"purpose":"login"`), k.start(to, `,"purpose":"login"`), k.start(to, `,"purpose":"reset"`)
	codes := map[string]string{}
	for _, v := range []api.Verification{older, login, reset} {
		codes[v.ID] = k.Code(to, v.ID)
	}
	for _, test := range []struct {
		what, purpose, code string
		want                api.CheckResult
	}{
		{"the other purpose's code", "login", codes[reset.ID], api.CheckResult{ID: login.ID, Status: "pending", Reason: "wrong_code", AttemptsRemaining: 2}},
		{"a superseded code", "login", codes[older.ID], api.CheckResult{ID: login.ID, Status: "pending", Reason: "wrong_code", AttemptsRemaining: 1}},
		{"the right code", "login", codes[login.ID], api.CheckResult{ID: login.ID, Valid: true, Status: "approved"}},
		{"the same again", "login", codes[login.ID], api.CheckResult{ID: login.ID, Status: "approved", Reason: "already_approved"}},
		{"the other's", "reset", codes[reset.ID], api.CheckResult{ID: reset.ID, Valid: true, Status: "approved", AttemptsRemaining: 2}},
	} {
		if codes[reset.ID] == codes[login.ID] || codes[older.ID] == codes[login.ID] {
			t.Skip("two codes are the same by chance")
		}
		got := k.checkNumber(to, test.purpose, test.code)
		if test.what == "the right code" || test.what == "the other's" {
			got.AttemptsRemaining = test.want.AttemptsRemaining // the guesses that are left are tested above
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, diff)
		}
	}
	for _, body := range []string{`{"to":"` + to + `","purpose":"signup","code":"123456"}`, `{"to":"` + other + `","purpose":"login","code":"123456"}`} {
		if p := read[api.Problem](t, k.call("", "POST", "/v1/checks", body, 404)); p.Code != "not_found" {
			t.Errorf("%s: got %+v, want not_found", body, p)
		}
	}
}

func TestProblemsNameTheFieldAndTheBound(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	for _, test := range []struct {
		path, body string
		want       []api.FieldProblem
	}{
		{"verifications", ``, []api.FieldProblem{{Field: "to", Message: "is required"}}},
		{"verifications", `{"to":1,"code_length":"6","number":"x","channel":"fax"}`, []api.FieldProblem{
			{Field: "channel", Message: "must be one of: sms, voice"},
			{Field: "code_length", Message: "must be an integer"},
			{Field: "number", Message: "is unknown; known: to, channel, channels, application, purpose, code_length, code_format, code, valid_for, max_attempts, sender, text, template, locale, amount, payee, metadata, client"},
			{Field: "to", Message: "must be a string"},
		}},
		{"verifications", `{"to":"` + to + `","code_length":21,"max_attempts":0,"purpose":"Log in","valid_for":604801}`, []api.FieldProblem{
			{Field: "code_length", Message: "must be less than or equal to 20"},
			{Field: "max_attempts", Message: "must be greater than or equal to 1"},
			{Field: "purpose", Message: "may have a to z, 0 to 9, _ and - only"},
			{Field: "valid_for", Message: "must be less than or equal to 604800"},
		}},
		{"verifications", `{"to":"` + to + `","valid_for":0}`, []api.FieldProblem{{Field: "valid_for", Message: "must be greater than or equal to 1"}}},
		{"verifications", `{"to":"` + to + `","client":{"ip":"somewhere"}}`, []api.FieldProblem{{Field: "client.ip", Message: "must be an IP address, such as 203.0.113.7"}}},
		{"checks", `{"purpose":"login"}`, []api.FieldProblem{{Field: "code", Message: "is required"}, {Field: "to", Message: "is required"}}},
	} {
		p := read[api.Problem](t, k.call("", "POST", "/v1/"+test.path, test.body, 422))
		if diff := cmp.Diff(test.want, p.Errors); diff != "" || p.Code != "invalid" {
			t.Errorf("%s %s: got the code %s (-want +got):\n%s", test.path, test.body, p.Code, diff)
		}
	}
	// However many fields are unknown, the answer stays small.
	var many strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, `"f%d":1,`, i)
	}
	if answer := k.call("", "POST", "/v1/verifications", "{"+many.String()+`"`+strings.Repeat("n", 2000)+`":1}`, 422); len(answer) > 4<<10 {
		t.Errorf("5000 unknown fields: an answer of %d bytes", len(answer))
	}
	for body, status := range map[string]int{`{"to":"` + to + `","to":"` + other + `"}`: 400, `[]`: 400, `{"to":"` + strings.Repeat("1", 64<<10) + `"}`: 413} {
		k.call("", "POST", "/v1/verifications", body, status)
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "from=yesterday", "status=done", "after=1", "page=2", "limit=1&limit=2", "to=", "after=", "limit=", "status="} {
		want := 422
		if query == "limit=1&limit=2" {
			want = 400
		}
		k.call("", "GET", "/v1/verifications?"+query, "", want)
	}
}

func TestAListGoesOnByItsCursor(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	var want []string
	for range 5 {
		want = append([]string{k.start(to, "").ID}, want...)
		k.start(other, "")
		k.Advance(time.Second)
	}
	var got []string
	for path, pages := "/v1/verifications?limit=2&to=%2B12025550100", 0; path != "" && pages < 9; pages++ {
		page := read[api.Page](t, k.call("", "GET", path, "", 200))
		for _, v := range page.Verifications {
			got = append(got, v.ID)
		}
		path = ""
		if page.Next != "" {
			path = "/v1/verifications?limit=2&to=%2B12025550100&after=" + page.Next
		}
		k.start(to, "") // a newer one doesn't move the pages
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages of two (-want +got):\n%s", diff)
	}
}

// One number's guesses have one bound, by whatever API they come.
func TestGuessesCountTogether(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	v := k.start(to, `,"max_attempts":3`)
	wrong := countersigntest.Wrong(k.Code(to, v.ID))
	k.check(v.ID, wrong)
	if got := k.Check(v.ID, wrong); got != "wrong" {
		t.Errorf("SignalWire's API: got %s, want wrong", got)
	}
	if r := k.checkNumber(to, "verify", wrong); r.Status != "exhausted" {
		t.Errorf("the third guess, by number: got %+v, want the verification exhausted", r)
	}
	if got := k.Check(v.ID, wrong); got != "gone" {
		t.Errorf("SignalWire's API after that: got %s, want gone", got)
	}
}

func TestWhatIsNotServed(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	for _, test := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/v1/nothing", 404, "no_route", ""}, {"GET", "/v1//verifications", 404, "no_route", ""},
		{"DELETE", "/v1/verifications", 405, "no_method", "GET, HEAD, POST"}, {"GET", "/v1/checks", 405, "no_method", "POST"},
		{"GET", "/openapi.jsonx", 404, "no_route", ""}, {"POST", "/openapi.json", 405, "no_method", "GET, HEAD"},
	} {
		status, header, answer := k.Call("", test.method, test.path, "")
		p := read[api.Problem](t, answer)
		if status != test.status || p.Code != test.code || header.Get("Allow") != test.allow || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: got %d %v %s", test.method, test.path, status, header, answer)
		}
	}
}

// The router and the description are compared both ways.
func TestTheDescriptionIsTheRouters(t *testing.T) {
	t.Parallel()
	var routes []string
	for _, r := range v1.Routes() {
		routes = append(routes, r.Method+" "+r.Path)
	}
	var paths struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal(v1.Describe(), &paths); err != nil {
		t.Fatal(err)
	}
	var has []string
	ids := map[string]bool{}
	for path, methods := range paths.Paths {
		for method, o := range methods {
			has = append(has, strings.ToUpper(method)+" "+path)
			if ids[o.OperationID] || o.OperationID == "" {
				t.Errorf("%s %s has the operation id %q, which is missing or taken", method, path, o.OperationID)
			}
			ids[o.OperationID] = true
		}
	}
	slices.Sort(routes)
	slices.Sort(has)
	if diff := cmp.Diff(routes, has); diff != "" {
		t.Errorf("(-router +description):\n%s", diff)
	}

	k := newKit(t, countersigntest.Options{})
	if status, _, body := k.Call("", "GET", v1.Description, ""); status != 200 || body != string(v1.Describe()) {
		t.Errorf("%s: got %d and %d bytes, want the description", v1.Description, status, len(body))
	}
	const file = "../../../docs/openapi.json"
	committed, err := os.ReadFile(file)
	if os.Getenv("COUNTERSIGN_WRITE_DOCS") != "" {
		err = os.WriteFile(file, v1.Describe(), 0o644)
	} else if !bytes.Equal(committed, v1.Describe()) {
		t.Errorf("%s isn't what the server serves; run: make docs", file)
	}
	if err != nil {
		t.Error(err)
	}
}

// Everything at /v1 and below answers problems, also what no operation has seen.
func TestEverythingBelowV1AnswersProblems(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Unattended: true})
	large := `{"to":"` + to + `","text":"` + strings.Repeat("x", 64<<10) + `"}`
	for _, tt := range []struct {
		method, path, body, kind string
		status                   int
		code                     string
	}{
		{"GET", "/v1", "", "", 404, "no_route"},
		{"POST", "/v1", "{}", "", 404, "no_route"},
		{"GET", "/v1/", "", "", 404, "no_route"},
		{"GET", "/v1//verifications", "", "", 404, "no_route"},
		{"GET", "/v1/../v1", "", "", 404, "no_route"},
		{"DELETE", "/v1/verifications", "", "", 405, "no_method"},
		{"POST", "/v1/verifications", large, "", 413, "too_large"},
		{"POST", "/v1/verifications", `{"to":`, "", 400, "unreadable"},
		{"POST", "/v1/verifications", `a=b`, "application/x-www-form-urlencoded", 415, "media_type"},
		{"POST", "/v1/verifications", `{}`, "application/json; charset=", 415, "media_type"},
		{"GET", "/v1/verifications?limit=1&limit=2", "", "", 400, "unreadable"},
	} {
		more := http.Header{}
		if tt.kind != "" {
			more.Set("Content-Type", tt.kind)
		}
		status, header, answer := k.CallWith(more, "", tt.method, tt.path, tt.body)
		var p api.Problem
		if err := json.Unmarshal([]byte(answer), &p); err != nil || status != tt.status || p.Status != status || p.Code != tt.code || p.Detail == "" || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: got %d %s %.200s, want %d with the code %s", tt.method, tt.path, status, header.Get("Content-Type"), answer, tt.status, tt.code)
		}
	}
}
