package syniverse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// Errors that a test can't easily provoke from outside still have their format.
func TestEveryErrorHasItsShape(t *testing.T) {
	t.Parallel()
	limited := *verify.ErrTooManySends
	limited.RetryAfter = 90*time.Second + time.Millisecond
	problems := func(all ...verify.Problem) error {
		return &verify.Error{Kind: verify.KindInvalid, Code: "invalid", Problems: all}
	}
	long := verify.Problem{Field: verify.FieldName, Message: "is too long", TooLong: true}
	type answer struct {
		Status           int
		Code, RetryAfter string
		Challenge        string
	}
	for name, test := range map[string]struct {
		err    error
		want   answer
		logged bool
	}{
		"unreadable":              {request.ErrUnreadable, answer{400, "400", "", ""}, false},
		"too large":               {request.ErrTooLarge, answer{413, "413", "", ""}, false},
		"media type":              {request.ErrMediaType, answer{415, "415", "", ""}, false},
		"bad fields":              {problems(verify.Problem{Field: verify.FieldName, Message: "can't be blank"}), answer{400, "400", "", ""}, false},
		"a long field":            {problems(long), answer{400, "1023", "", ""}, false},
		"a long one and a bad":    {problems(long, verify.Problem{Field: verify.FieldLife}), answer{400, "400", "", ""}, false},
		"invalid without a field": {verify.ErrInvalid, answer{400, "400", "", ""}, false},
		"unauthenticated":         {verify.ErrUnauthenticated, answer{401, "401", "", "Bearer"}, false},
		"no application":          {verify.ErrNoApplication, answer{404, "404", "", ""}, false},
		"no user":                 {verify.ErrNoUser, answer{404, "404", "", ""}, false},
		"no template":             {verify.ErrNoTemplate, answer{404, "404", "", ""}, false},
		"stale":                   {verify.ErrStale, answer{409, "1001", "", ""}, false},
		"duplicate":               {verify.ErrDuplicate, answer{409, "1011", "", ""}, false},
		"not validated":           {verify.ErrNotValidated, answer{409, "2003", "", ""}, false},
		"wrong code":              {errWrong, answer{409, "2001", "", ""}, false},
		"expired":                 {verify.ErrExpired, answer{409, "2002", "", ""}, false},
		"no code":                 {verify.ErrNoCode, answer{409, "2002", "", ""}, false},
		"approved":                {verify.ErrApproved, answer{409, "2002", "", ""}, false},
		"canceled":                {verify.ErrCanceled, answer{409, "2002", "", ""}, false},
		"superseded":              {fmt.Errorf("check: %w", verify.ErrSuperseded), answer{409, "2002", "", ""}, false},
		"guesses spent":           {verify.ErrGuessesSpent, answer{429, "2004", "", ""}, false}, // waiting doesn't help
		"too many sends":          {&limited, answer{429, "2004", "91", ""}, false},             // rounded up
		"too many guesses":        {verify.ErrTooManyGuesses, answer{429, "2004", "1", ""}, false},
		"busy":                    {verify.ErrBusy, answer{503, "503", "1", ""}, true},
		"no carrier":              {verify.ErrNoCarrier, answer{503, "503", "30", ""}, true},
		"no route to the number":  {&verify.Error{Kind: verify.KindInvalid, Code: verify.ErrNotServed.Code, Message: "no", Problems: []verify.Problem{{Field: verify.FieldAddress, Message: "is far away"}}}, answer{400, "2005", "", ""}, false},
		"the database away":       {fmt.Errorf("commit: %w: %w", verify.ErrNoStore, errors.New("disk full")), answer{503, "503", "1", ""}, true},
		"anything else":           {errors.New("a bug"), answer{500, "500", "", ""}, true},
		"an internal one":         {&verify.Error{Kind: verify.KindInternal, Code: "odd"}, answer{500, "500", "", ""}, true},
		"a canceled call":         {context.Canceled, answer{500, "500", "", ""}, true},
	} {
		var log strings.Builder
		s := face.API{Log: outage.New(slog.New(slog.NewTextHandler(&log, nil)), nil), Shape: shape(refusals(Refusals{}))}
		w := httptest.NewRecorder()
		s.Fail(w, httptest.NewRequest("POST", Prefix+"applications", nil), test.err)
		body := failureIn(t, w.Body.String())
		got := answer{w.Code, body.Code, w.Header().Get("Retry-After"), w.Header().Get("WWW-Authenticate")}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if body.Description == "" && name != "an internal one" {
			t.Errorf("%s: got no description", name)
		}
		if logged := log.String() != ""; logged != test.logged {
			t.Errorf("%s: got the log %q, want one: %v", name, &log, test.logged)
		}
	}
}

// failureIn decodes a body that must be exactly a failure.
func failureIn(t *testing.T, body string) (f failure) {
	t.Helper()
	in, err := request.Read(httptest.NewRequest("POST", "/", strings.NewReader(body)), request.JSON)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	f = failure{in.Text("error_code"), in.Text("error_description")}
	if want := fmt.Sprintf(`{"error_code":%q,"error_description":%q}`, f.Code, f.Description); body != want {
		t.Fatalf("got  %s\nwant %s", body, want)
	}
	return f
}

func TestARefreshFailsInItsOwnShape(t *testing.T) {
	t.Parallel()
	type answer struct {
		Status           int
		Body, RetryAfter string
	}
	for err, want := range map[error]answer{
		verify.ErrUnauthenticated: {500, `{"errorCode":2,"moreInfo":"the consumer key or the consumer secret is wrong","userMsg":"No token for these credentials."}`, ""},
		verify.ErrNoStore:         {503, `{"errorCode":3,"moreInfo":"the database is away","userMsg":"Try again later."}`, "1"},
		errors.New("a bug"):       {500, `{"errorCode":3,"moreInfo":"internal error","userMsg":"Try again later."}`, ""},
	} {
		var log strings.Builder
		s := face.API{Log: outage.New(slog.New(slog.NewTextHandler(&log, nil)), nil), Shape: refreshShape}
		w := httptest.NewRecorder()
		s.Fail(w, httptest.NewRequest("GET", "/apptoken-refresh?consumersecret=a-secret", nil), err)
		if diff := cmp.Diff(want, answer{w.Code, w.Body.String(), w.Header().Get("Retry-After")}); diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if logged := log.String() != ""; logged != (err != verify.ErrUnauthenticated) || strings.Contains(log.String(), "a-secret") {
			t.Errorf("%v: got the log %q", err, &log)
		}
	}
}

func TestRefusalsAreAsConfigured(t *testing.T) {
	t.Parallel()
	s := face.API{Log: outage.New(slog.New(slog.DiscardHandler), nil), Shape: shape(refusals(Refusals{
		Wrong: Refusal{400, "9001"}, Expired: Refusal{Status: 410}, None: Refusal{Code: "9003"}, Exhausted: Refusal{403, "9004"},
	}))}
	for err, want := range map[*verify.Error]Refusal{
		errWrong: {400, "9001"}, verify.ErrExpired: {410, "2002"}, verify.ErrNoCode: {409, "9003"}, verify.ErrSuperseded: {409, "9003"},
		verify.ErrGuessesSpent: {403, "9004"}, verify.ErrTooManySends: {429, "2004"},
	} {
		w := httptest.NewRecorder()
		s.Fail(w, httptest.NewRequest("POST", "/", nil), err)
		if got := (Refusal{w.Code, failureIn(t, w.Body.String()).Code}); got != want {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
}

func TestAllThatIsWrongIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	var in request.Fields
	in.Wrong("name", "must be a string")
	rules := &verify.Error{Kind: verify.KindInvalid, Problems: []verify.Problem{
		{Field: verify.FieldLife, Message: "is odd"}, {Field: verify.FieldName, Message: "can't be blank"}, {Field: verify.FieldLength, Message: "is odd too"},
	}}
	want := "auth_code_length is odd too; auth_token_validity_duration is odd; name must be a string"
	if got := invalidFrom(in, rules).Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
