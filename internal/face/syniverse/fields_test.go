package syniverse

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

func given(t *testing.T, body string) request.Fields {
	t.Helper()
	in, err := request.Read(httptest.NewRequest("POST", "/", strings.NewReader(body)), request.JSON)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return in
}

func TestSettings(t *testing.T) {
	t.Parallel()
	before := verify.Application{
		Name: "n", Description: "d", Format: code.Alpha, Length: 8, Life: time.Minute, Prefix: "p", Channels: []verify.Channel{verify.ChannelVoice},
		AssociateTemplate: "a", LoginTemplate: "l", DisplayName: "dn", From: "f", Version: 7,
	}
	changed := func(change func(*verify.Application)) verify.Application {
		a := before
		change(&a)
		return a
	}
	for body, want := range map[string]verify.Application{
		`{}`: before,
		`{"name":null,"description":null,"auth_code_length":null,"auth_token_type":null,"auth_token_validity_duration":null,"auth_token_prefix":null,` +
			`"auth_token_delivery_methods":null,"associate_template":null,"login_template":null,"display_name":null,"message_from":null}`: before,
		`{"id":"x","status":"y","created_date":0,"version_number":9,"Name":"z"}`: before,
		`{"name":"","description":"","auth_token_prefix":"","associate_template":"","login_template":"","display_name":"","message_from":"","auth_token_delivery_methods":""}`: {
			Format: code.Alpha, Length: 8, Life: time.Minute, Version: 7,
		},
		`{"name":"N","description":"D","auth_token_prefix":"P","associate_template":"A","login_template":"L","display_name":"DN","message_from":" channel: x "}`: changed(func(a *verify.Application) {
			a.Name, a.Description, a.Prefix, a.AssociateTemplate, a.LoginTemplate, a.DisplayName, a.From = "N", "D", "P", "A", "L", "DN", "channel: x"
		}),
		`{"auth_code_length":6,"auth_token_validity_duration":"600"}`: changed(func(a *verify.Application) { a.Length, a.Life = 6, 10*time.Minute }),
		`{"auth_code_length":"6","auth_token_validity_duration":30}`:  changed(func(a *verify.Application) { a.Length, a.Life = 6, 30*time.Second }),
		// The service treats zero as absent, but here it must not become a
		// default.
		`{"auth_code_length":0,"auth_token_validity_duration":0}`:   changed(func(a *verify.Application) { a.Length, a.Life = -1, -time.Second }),
		`{"auth_token_validity_duration":99999999999999999999}`:     changed(func(a *verify.Application) { a.Life = maxSeconds * time.Second }),
		`{"auth_token_validity_duration":-99999999999999999999}`:    changed(func(a *verify.Application) { a.Life = -time.Second }),
		`{"auth_token_type":"NUMERIC"}`:                             changed(func(a *verify.Application) { a.Format = code.Numeric }),
		`{"auth_token_type":"alphanumeric"}`:                        changed(func(a *verify.Application) { a.Format = code.Alphanumeric }),
		`{"auth_token_type":"Complex"}`:                             changed(func(a *verify.Application) { a.Format = code.Complex }),
		`{"auth_token_delivery_methods":"SMS"}`:                     changed(func(a *verify.Application) { a.Channels = []verify.Channel{verify.ChannelSMS} }),
		`{"auth_token_delivery_methods":" voice , Sms "}`:           changed(func(a *verify.Application) { a.Channels = []verify.Channel{verify.ChannelVoice, verify.ChannelSMS} }),
		`{"auth_token_delivery_methods":["SMS","VOICE"]}`:           changed(func(a *verify.Application) { a.Channels = []verify.Channel{verify.ChannelSMS, verify.ChannelVoice} }),
		`{"auth_token_delivery_methods":[]}`:                        changed(func(a *verify.Application) { a.Channels = nil }),
		`{"auth_token_delivery_methods":"SMS,,PIGEON"}`:             changed(func(a *verify.Application) { a.Channels = []verify.Channel{verify.ChannelSMS, "", "pigeon"} }), // for the service to refuse
		`{"auth_token_delivery_methods":["PUSH",null,"SMS,VOICE"]}`: changed(func(a *verify.Application) { a.Channels = []verify.Channel{verify.ChannelPush, "", "sms,voice"} }),
	} {
		in := given(t, body)
		got := settings(&in, before)
		if diff := cmp.Diff(want, got); diff != "" || in.Problems != nil {
			t.Errorf("%s: problems %v (-want +got):\n%s", body, in.Problems, diff)
		}
	}
	for body, want := range map[string]string{
		`{"name":5}`:                              "name must be a string",
		`{"display_name":["x"]}`:                  "display_name must be a string",
		`{"auth_code_length":"six"}`:              "auth_code_length is not a number",
		`{"auth_code_length":""}`:                 "auth_code_length is not a number",
		`{"auth_token_validity_duration":600.5}`:  "auth_token_validity_duration must be an integer",
		`{"auth_token_type":"HEX"}`:               "auth_token_type must be NUMERIC, ALPHA, ALPHANUMERIC or COMPLEX",
		`{"auth_token_type":""}`:                  "auth_token_type must be NUMERIC, ALPHA, ALPHANUMERIC or COMPLEX",
		`{"auth_token_type":1}`:                   "auth_token_type must be a string",
		`{"auth_token_delivery_methods":1}`:       "auth_token_delivery_methods must be a string with commas, or an array of strings",
		`{"auth_token_delivery_methods":[1]}`:     "auth_token_delivery_methods must be a string with commas, or an array of strings",
		`{"auth_token_delivery_methods":{"a":1}}`: "auth_token_delivery_methods must be a string with commas, or an array of strings",
		`{"name":1,"auth_code_length":true}`:      "auth_code_length is not a number; name must be a string",
	} {
		in := given(t, body)
		settings(&in, verify.Application{})
		if got := invalidFrom(in, nil).Error(); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", body, got, want)
		}
	}
}

func TestValidationCode(t *testing.T) {
	t.Parallel()
	const blank, neither = "can't be blank", "must be a string or a whole number"
	for value, want := range map[string]struct {
		Code    string
		Number  bool
		Problem string
	}{
		`"962985"`: {"962985", false, ""}, `" 96 29-85 "`: {" 96 29-85 ", false, ""}, `"abC"`: {"abC", false, ""}, `" "`: {" ", false, ""},
		`962985`: {"962985", true, ""}, `0`: {"0", true, ""}, `12345678901234567890123`: {"12345678901234567890123", true, ""},
		`""`: {"", false, blank}, `null`: {"", false, blank},
		`-1`: {"", false, neither}, `1.5`: {"", false, neither}, `1e5`: {"", false, neither}, `true`: {"", false, neither}, `["962985"]`: {"", false, neither}, `{}`: {"", false, neither},
	} {
		in := given(t, `{"validation_code":`+value+`}`)
		code, number := validationCode(&in)
		if got := in.Problems["validation_code"]; code.Reveal() != want.Code || number != want.Number || got != want.Problem {
			t.Errorf("%s: got %q, %v, problem %q, want %+v", value, code.Reveal(), number, got, want)
		}
	}
	var none request.Fields
	if code, _ := validationCode(&none); code != "" || none.Problems["validation_code"] != blank {
		t.Errorf("without a body: got %q, problems %v", code.Reveal(), none.Problems)
	}
}

func TestMethod(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]verify.Channel{
		`{}`: "", `{"validation_method":null}`: "", `{"validation_method":"SMS"}`: verify.ChannelSMS, `{"validation_method":" voice "}`: verify.ChannelVoice,
		`{"auth_token_delivery_method":"VOICE"}`: verify.ChannelVoice, `{"delivery_method":"push"}`: verify.ChannelPush, `{"delivery_method":"PIGEON"}`: "pigeon",
		`{"delivery_method":"SMS","validation_method":"VOICE"}`: verify.ChannelVoice, `{"Validation_Method":"SMS"}`: "",
		`{"validation_method":"","delivery_method":"VOICE"}`: verify.ChannelVoice, `{"validation_method":" ","delivery_method":""}`: "",
	} {
		in := given(t, body)
		if got := method(&in); got != want || in.Problems != nil {
			t.Errorf("%s: got %q, problems %v, want %q", body, got, in.Problems, want)
		}
	}
	in := given(t, `{"delivery_method":1}`)
	if method(&in); in.Problems["delivery_method"] != "must be a string" {
		t.Errorf("got the problems %v", in.Problems)
	}
}

func TestReadRefresh(t *testing.T) {
	t.Parallel()
	const keys = "consumerkey=k&consumersecret=s"
	request := func(validity time.Duration, never bool) account.RefreshRequest {
		return account.RefreshRequest{ConsumerKey: "k", ConsumerSecret: "s", Validity: validity, Never: never}
	}
	for query, want := range map[string]account.RefreshRequest{
		keys:                                     request(0, true),
		keys + "&validity=":                      request(0, true),
		keys + "&validity=0":                     request(0, true),
		keys + "&validity=900":                   request(15*time.Minute, false),
		keys + "&validity=3600&oldtoken=&more=x": request(time.Hour, false),
		keys + "&validity=3153600000":            request(3153600000*time.Second, false),
		keys + "&validity=3153600001":            request(0, true),
		keys + "&validity=9999999999999999999":   request(0, true),
	} {
		got, problem := readRefresh(query)
		if diff := cmp.Diff(want, got); diff != "" || problem != "" {
			t.Errorf("%s: problem %q (-want +got):\n%s", query, problem, diff)
		}
	}
	if got, problem := readRefresh("consumerkey=a%26b&consumersecret=c%2Bd&oldtoken=e+f"); problem != "" ||
		got.ConsumerKey != "a&b" || got.ConsumerSecret.Reveal() != "c+d" || got.OldToken.Reveal() != "e f" {
		t.Errorf("got %q, %q, %q, problem %q", got.ConsumerKey, got.ConsumerSecret.Reveal(), got.OldToken.Reveal(), problem)
	}
	const validity = "validity must be 0, or 900 to 9999999999999999999 seconds"
	for query, want := range map[string]string{
		"":                                      "consumerkey is missing",
		"consumersecret=s":                      "consumerkey is missing",
		"consumerkey=k":                         "consumersecret is missing",
		"consumerkey=&consumersecret=s":         "consumerkey is missing",
		keys + "&consumerkey=k":                 "consumerkey is there twice",
		keys + "&oldtoken=a&oldtoken=a":         "oldtoken is there twice",
		keys + "&validity=1":                    validity,
		keys + "&validity=899":                  validity,
		keys + "&validity=-1":                   validity,
		keys + "&validity=10000000000000000000": validity,
		keys + "&validity=99999999999999999999": validity,
		keys + "&validity=900.5":                validity,
		keys + "&validity=soon":                 validity,
		keys + "&%zz":                           "the query can't be read",
		keys + ";validity=900":                  "the query can't be read",
	} {
		if _, problem := readRefresh(query); problem != want {
			t.Errorf("%s: got the problem %q, want %q", query, problem, want)
		}
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 22, 27, 2, 500_900_000, time.FixedZone("", 3600))
	if got := (&Server{}).date(at); got != int64(1795296422500) {
		t.Errorf("got %v, want 1795296422500", got)
	}
	if got := (&Server{options: Options{ISODates: true}}).date(at); got != "2026-11-21T21:27:02.500Z" {
		t.Errorf("got %v, want 2026-11-21T21:27:02.500Z", got)
	}
}

// Each operation reads any body into values that the service can check, or reports an error.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"name":"n","auth_code_length":"6","auth_token_validity_duration":600,"auth_token_type":"complex","auth_token_delivery_methods":["SMS","VOICE"]}`,
		`{"auth_token_delivery_methods":"SMS,,"}`, `{"auth_token_delivery_methods":[null]}`, `{"auth_token_delivery_methods":{}}`, `{"auth_code_length":1e400}`,
		`{"auth_token_validity_duration":-9223372036854775809}`, `{"auth_token_validity_duration":2147483648}`, `{"version_number":"1"}`, `{"version_number":null}`,
		`{"validation_code":962985}`, `{"validation_code":"\ud800"}`, `{"validation_code":00}`, `{"validation_code":1E5}`, `{"validation_code":" "}`,
		`{"validation_method":"voice","delivery_method":7}`, `{"designation":"poem","name":1,"pattern":[]}`, `{"message_from":" channel: x "}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		read := func() request.Fields {
			in, err := request.Read(httptest.NewRequest("POST", "/", bytes.NewReader(body)), request.JSON)
			if err != nil {
				t.Skip()
			}
			return in
		}
		in := read()
		a := settings(&in, verify.Application{})
		if a.Length == 0 && in.Raw("auth_code_length") != nil && in.Problems["auth_code_length"] == "" ||
			a.Life == 0 && in.Raw("auth_token_validity_duration") != nil && in.Problems["auth_token_validity_duration"] == "" {
			t.Fatalf("%s: a number is read as none", body)
		}
		if a.Life < -time.Second || a.Life > maxSeconds*time.Second || a.Format != "" && !a.Format.Valid() {
			t.Fatalf("%s: got %+v", body, a)
		}
		in = read()
		if n := versionNumber(&in); n != 0 && in.Problems != nil {
			t.Fatalf("%s: got the version %d and the problems %v", body, n, in.Problems)
		}
		in = read()
		code, number := validationCode(&in)
		if (code == "") != (in.Problems != nil) || number && strings.Trim(code.Reveal(), "0123456789") != "" {
			t.Fatalf("%s: got the code %q, a number: %v, and the problems %v", body, code.Reveal(), number, in.Problems)
		}
		in = read()
		if w := wording(&in, verify.MessageTemplate{}); in.Problems == nil && w.Designation != "TEMPLATE" && w.Designation != "VALIDATOR" {
			t.Fatalf("%s: got the designation %q", body, w.Designation)
		}
		in = read()
		method(&in) // doesn't panic
	})
}
