package provider

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// verifySecret lets a test write a secret that it has computed.
func verifySecret(s string) verify.Secret { return verify.Secret(s) }

// A provider that answers in XML or in words is described like any other.
func TestAnswersInOtherForms(t *testing.T) {
	t.Parallel()
	const xmlRules = "xml"
	for name, tt := range map[string]struct {
		form, answer string
		status       int
		ref          string
		want         decided
	}{
		"XML":                       {xmlRules, `<?xml version="1.0"?><r:response xmlns:r="urn:x"><message id="a-1"><status>0</status></message></r:response>`, 200, "a-1", decided{}},
		"XML, the first of two":     {xmlRules, `<response><message id="a-1"><status> 0 </status></message><message id="a-2"><status>9</status></message></response>`, 200, "a-1", decided{}},
		"XML in Latin-1":            {xmlRules, "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><response><note>\xe9</note><message id=\"a-1\"><status>0</status></message></response>", 200, "a-1", decided{}},
		"XML, refused":              {xmlRules, `<response><message><status>7</status></message></response>`, 200, "", refused(verify.ReasonInvalidNumber)},
		"XML, another code":         {xmlRules, `<response><message><status>8</status></message></response>`, 200, "", unknown},
		"XML without an end":        {xmlRules, `<response><message id="a-1"><status>0</status>`, 200, "", unknown},
		"XML with a bomb":           {xmlRules, `<!DOCTYPE r [<!ENTITY a "0"><!ENTITY b "&a;&a;&a;&a;">]><response><message id="a-1"><status>&b;</status></message></response>`, 200, "", unknown},
		"XML with a file":           {xmlRules, `<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><response><message id="a-1"><status>&a;</status></message></response>`, 200, "", unknown},
		"XML that is deep":          {xmlRules, strings.Repeat("<a>", 20000), 200, "", unknown},
		"XML in another encoding":   {xmlRules, `<?xml version="1.0" encoding="UTF-16"?><response/>`, 200, "", unknown},
		"JSON instead":              {xmlRules, `{"response":{"message":{"status":"0"}}}`, 200, "", unknown},
		"words":                     {"text", "OK: 12345 sent\n", 200, "12345", decided{}},
		"words, refused":            {"text", "ERROR: 204 no such number +12025550100", 200, "", refused(verify.ReasonInvalidNumber)},
		"other words":               {"text", "<html>", 200, "", unknown},
		"nothing":                   {"text", "", 200, "", unknown},
		"words and a usual status":  {"text", "Unauthorized", 401, "", misconfigured},
		"words that are the number": {"text", "OK: " + testCode, 200, "", decided{}}, // whatever it looks like, it isn't kept
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _ := providerServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.answer))
			})
			c := configOf(t, "telnyx", server)
			c.Spec.Answers, c.Spec.Ref, c.Spec.Rules = "xml", "response.message.0.@id", []RuleSpec{
				{Path: "response.message.0.status", Values: []string{"0"}, Then: "accepted"},
				{Path: "response.message.0.status.0", Values: []string{"7"}, Then: "refused", Reason: "invalid_number"},
				{Status: []string{"2xx"}, Then: "unknown"},
			}
			if tt.form == "text" {
				c.Spec.Answers, c.Spec.Pattern, c.Spec.Ref, c.Spec.Rules = "text", `^(?P<result>OK|ERROR): (?P<id>[0-9]+)`, "id", []RuleSpec{
					{Path: "result", Values: []string{"OK"}, Then: "accepted"},
					{Path: "id", Values: []string{"204"}, Then: "refused", Reason: "invalid_number"},
					{Status: []string{"2xx"}, Then: "unknown"},
				}
			}
			r, err := carrierOf(t, c).Send(t.Context(), message())
			switch {
			case tt.want != decided{}:
				wantError(t, err, tt.want)
			case err != nil || r.Ref != tt.ref:
				t.Errorf("got %q, %v, want %q", r.Ref, err, tt.ref)
			}
		})
	}
}

func TestPatternsAreChecked(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Spec){
		"answers: must be one of json, xml, text": func(s *Spec) { s.Answers = "yaml" },
		"pattern: belongs to the answers text":    func(s *Spec) { s.Pattern = "(?P<id>x)" },
		"pattern: belongs to the answers text, a": func(s *Spec) { s.Answers = "text" },
		"pattern: not a regular expression":       func(s *Spec) { s.Answers, s.Pattern = "text", "(" },
		"pattern: needs a named group":            func(s *Spec) { s.Answers, s.Pattern = "text", "(x)" },
		"body: not XML": func(s *Spec) {
			s.Headers, s.Body = []HeaderSpec{{"Content-Type", "text/xml"}}, "<a>{{.To}} {{.Text}}</a>"
		},
	} {
		c := configOf(t, "telnyx", nil)
		change(&c.Spec)
		if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// The time, for providers that want it as a number.
func TestTimesAsNumbers(t *testing.T) {
	t.Parallel()
	c := configOf(t, "telnyx", nil)
	c.Spec.Body = `{"to":{{json .To}},"text":{{json .Text}},"t":[{{.Unix}},{{.UnixMilli}},{{.ExpiresUnixWithin 3600}},{{.ExpiresUnixMilliWithin 60}}]}`
	c.Now = func() time.Time { return testNow.Add(250 * time.Millisecond) }
	way := carrierOf(t, c)
	m := message()
	m.ExpiresAt = c.Now().Add(10 * time.Minute)
	r, err := way.templates.render(way.Spec, way.fields(m))
	if err != nil {
		t.Fatal(err)
	}
	if want := `"t":[1777896000,1777896000250,1777896600,1777896060250]}`; !strings.HasSuffix(string(r.body), want) {
		t.Errorf("got %s, want %s", r.body, want)
	}
}

// A provider may want a word in answer to its reports.
func TestAReplyToReports(t *testing.T) {
	t.Parallel()
	c := configOf(t, "vonage", nil)
	c.Spec.Callback.Reply = "OK"
	_, handler, _ := reports(t, c)
	got := httptest.NewRecorder()
	handler.ServeHTTP(got, reportFrom("vonage", callbackOf("/"+testKey), `{"messageId":"0B","status":"delivered"}`, testNow))
	if got.Code != http.StatusOK || got.Body.String() != "OK" {
		t.Errorf("got %d %q, want OK", got.Code, got.Body)
	}
}

func FuzzParseXML(f *testing.F) {
	for _, s := range []string{"", "<a/>", `<a b="c">d<e>f</e><e/></a>`, "<a><b></a></b>", "<?xml encoding='x'?><a/>", "<!DOCTYPE a><a>&lt;</a>"} {
		f.Add([]byte(s), "a.e.0.@b")
	}
	f.Fuzz(func(t *testing.T, answer []byte, path string) {
		if doc := parseXML(answer); doc != nil {
			find(doc, path)
		}
	})
}

// An error tells a rule's value, not what else the answer says.
func TestAnErrorTellsTheRuleOnly(t *testing.T) {
	t.Parallel()
	server, _ := providerServer(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ERROR: " + testTo + " " + testCode)) })
	c := configOf(t, "telnyx", server)
	c.Spec.Answers, c.Spec.Pattern, c.Spec.Ref = "text", `^(?P<all>.*)$`, "all"
	c.Spec.Rules = []RuleSpec{{Path: "all", Values: []string{"*"}, Then: "refused"}}
	_, err := carrierOf(t, c).Send(t.Context(), message())
	if err == nil || strings.Contains(err.Error(), testTo[1:]) || strings.Contains(err.Error(), testCode) {
		t.Errorf("got %v", err)
	}
}

// Event Grid tries a URL before it reports there: only a request that is proven gets its text back.
func TestAHandshake(t *testing.T) {
	t.Parallel()
	_, handler, got := reports(t, configOf(t, "azure", nil))
	const hello = `[{"id":"1","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"512d38b6-c7b8","validationUrl":"https://eventgrid.example/"}}]`
	w := ask(handler, reportFrom("azure", callbackOf("/"+testKey), hello, testNow))
	if w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"validationResponse":"512d38b6-c7b8"}` || got.receipts != nil {
		t.Errorf("got %d %s, %v", w.Code, w.Body, got.receipts)
	}
	if w := ask(handler, reportFrom("azure", callbackOf("/"+testKey+"x"), hello, testNow)); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "512d") {
		t.Errorf("without the secret: got %d %s", w.Code, w.Body)
	}
}

// A provider that wants the secret in the body gets it there and nowhere else.
func TestTheSecretIsInTheBodyOnly(t *testing.T) {
	t.Parallel()
	c := configOf(t, "plivo-voice", nil)
	c.Spec.Auth = AuthSpec{Kind: "body", User: "u{{.Secret}}"}
	c.Spec.URL, c.Spec.Headers = "https://provider.example/a{{.Secret}}", []HeaderSpec{{"X-Key", "k{{.Secret}}"}}
	c.Spec.Body = `to={{.To}}&a={{query .Answer}}&s={{.Secret}}`
	c.Spec.Headers = append(c.Spec.Headers, HeaderSpec{"Content-Type", formType})
	c.Spec.Answer.Body = `<Response>{{xml .Text}}{{.Secret}}</Response>`
	way := carrierOf(t, c)
	r, err := way.templates.render(way.Spec, way.fields(message()))
	if err != nil {
		t.Fatal(err)
	}
	said, err := way.templates.say(way.fields(message()))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(r.body), "&s="+testSecret) || strings.Contains(r.url+r.user+r.header.Get("X-Key")+string(said), testSecret) {
		t.Errorf("got %s, %s, %s, %s and the body %s", r.url, r.user, r.header, said, r.body)
	}
	c.Spec.Auth.Kind = "basic"
	if way := carrierOf(t, c); way.fields(message()).Secret != "" {
		t.Error("another kind tells the secret to templates")
	}
}

func TestARegionInTheSecret(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]string{"bk_us1_abc": "us1", "bk_us1": "", "abc": "", "bk_us1.evil_x": "", "bk_a23456789_x": ""} {
		c := configOf(t, "bird", nil)
		c.Secret, c.Region, c.Host = verify.Secret(secret), "", ""
		way, err := New(c)
		switch {
		case want == "":
			if err == nil || !strings.HasPrefix(err.Error(), "region: must not be empty") || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: got %v", secret, err)
			}
		case err != nil || way.Region != want:
			t.Errorf("%s: got %v, want %s", secret, err, want)
		}
	}
	c := configOf(t, "bird", nil)
	c.Secret, c.Region = "anything", "eu1"
	if way, err := New(c); err != nil || way.Region != "eu1" {
		t.Errorf("a configured region: got %v", err)
	}
}
