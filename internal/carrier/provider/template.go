package provider

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"text/template"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/verify"
)

// Fields holds the values that templates may use.
type Fields struct {
	To, From string // E.164; From may be a name
	// CountryCode and National are the two parts of To: 44 and 2079460000.
	CountryCode, National string
	Text                  string // holds the code
	Spoken                string // the text for a voice, with the characters of the code separated
	TTL                   int    // seconds until the code expires, at least 1
	ID                    string // of the message, the same in all attempts
	Token                 string // of the attempt; a report that repeats it needs no ref
	ShortToken            string // the same in at most 32 letters and digits
	Callback              string // the URL for reports about this attempt; "" without callbacks
	Answer                string // the URL for the words of this attempt's call; "" without an answer

	Account, User, Host, Region, Profile string // as configured

	Secret string // in the body only, and only if auth.kind is body

	now time.Time
}

// ExpiresWithin returns the time at which the code expires, but at most that many seconds from now, as
// RFC 3339 in UTC with milliseconds.
func (f Fields) ExpiresWithin(seconds int) string {
	return f.now.Add(time.Duration(min(f.TTL, seconds)) * time.Second).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// Unix returns the present time in seconds since 1970, and UnixMilli in milliseconds.
func (f Fields) Unix() int64 { return f.now.Unix() }

// UnixMilli is as Unix.
func (f Fields) UnixMilli() int64 { return f.now.UnixMilli() }

// ExpiresUnixWithin returns what ExpiresWithin returns in seconds since 1970, and ExpiresUnixMilliWithin in milliseconds.
func (f Fields) ExpiresUnixWithin(seconds int) int64 {
	return f.now.Unix() + int64(min(f.TTL, seconds))
}

// ExpiresUnixMilliWithin is as ExpiresUnixWithin.
func (f Fields) ExpiresUnixMilliWithin(seconds int) int64 {
	return f.now.UnixMilli() + 1000*int64(min(f.TTL, seconds))
}

// functions are the functions that templates may call.
var functions = template.FuncMap{
	// json formats a text as a JSON string, including the quotes.
	"json": func(s string) (string, error) { b, err := json.Marshal(s); return string(b), err },
	// query escapes a text for a form or a URL's query, and path for a segment of a
	// URL's path.
	"query": url.QueryEscape,
	"path":  url.PathEscape,
	// xml escapes a text for XML.
	"xml": func(s string) (string, error) {
		var b strings.Builder
		err := xml.EscapeText(&b, []byte(s))
		return b.String(), err
	},
	// digits removes a number's plus, and leaves a name unchanged.
	"digits": func(s string) string { return strings.TrimPrefix(s, "+") },
	// number reports whether a sender is a number rather than a name.
	"number": func(s string) bool { return strings.HasPrefix(s, "+") },
	// spaced puts a separator between the digits of long numbers, so that a voice speaks them one by
	// one.
	"spaced": func(between, s string) string {
		return digitRun.ReplaceAllStringFunc(s, func(d string) string { return strings.Join(strings.Split(d, ""), between) })
	},
	// plain replaces the characters of markup by spaces, for voices that read it.
	"plain": plain,
	// shortcode reports whether a sender is a number of one network only, which has no country code and so no plus.
	"shortcode": func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" },
	// gsm reports whether a text fits the GSM default alphabet.
	"gsm": func(s string) bool { enc, _ := sms.Measure(s); return enc == sms.GSM7 },
	// between limits a number to bounds.
	"between": func(low, high, n int) int { return min(max(low, n), high) },
	// times multiplies two numbers.
	"times": func(a, b int) int { return a * b },
}

var plain = strings.NewReplacer("<", " ", ">", " ", "[", " ", "]", " ", "&", " ").Replace

var digitRun = regexp.MustCompile(`[0-9]{3,}`)

// templates holds the parsed templates of a Spec.
type templates struct {
	url, body, user, answer *template.Template
	headers                 []*template.Template
}

func parseTemplates(s Spec) (*templates, error) {
	var errs []error
	one := func(key, text string) *template.Template {
		t, err := template.New(key).Option("missingkey=error").Funcs(functions).Parse(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: not a template: %w", key, err))
		}
		return t
	}
	t := &templates{url: one("url", s.URL), body: one("body", s.Body), user: one("auth.user", s.Auth.User), answer: one("answer.body", s.Answer.Body)}
	for i, h := range s.Headers {
		t.headers = append(t.headers, one(fmt.Sprintf("headers[%d].value", i), h.Value))
	}
	return t, errors.Join(errs...)
}

// A rendered is a request with its templates filled in.
type rendered struct {
	url, user string
	body      []byte
	header    http.Header
}

// render fills in the templates. The part of its errors after the first colon may quote the
// message.
func (t *templates) render(s Spec, f Fields) (*rendered, error) {
	var failed error
	one := func(t *template.Template, f Fields) []byte {
		var b bytes.Buffer
		if err := t.Execute(&b, f); err != nil && failed == nil {
			failed = fmt.Errorf("%s: the template fails: %w", t.Name(), err)
		}
		return b.Bytes()
	}
	r := &rendered{body: one(t.body, f), header: http.Header{"User-Agent": {"Countersign"}}}
	f.Secret = "" // the body alone may hold it
	r.url, r.user = string(one(t.url, f)), string(one(t.user, f))
	for i, h := range s.Headers {
		value := string(one(t.headers[i], f))
		if strings.ContainsAny(value, "\r\n\x00") {
			failed = errors.Join(failed, fmt.Errorf("headers[%d].value: must be one line", i))
		}
		r.header.Set(h.Name, value)
	}
	return r, failed
}

// say renders the response to a request for the words of a call.
func (t *templates) say(f Fields) ([]byte, error) {
	var b bytes.Buffer
	f.Secret = ""
	if err := t.answer.Execute(&b, f); err != nil {
		return nil, errors.New("answer.body: the template fails") // the error may quote the message
	}
	return b.Bytes(), nil
}

// try renders requests with texts that are hard to escape, and returns an error if they come out
// wrong.
func (t *templates) try(s Spec, f Fields) error {
	hosts := map[string]bool{}
	if f.Secret != "" {
		f.Secret = "a secret" // an error may quote it
	}
	for _, m := range []struct{ to, from, text, callback, answer string }{
		{"+12025550100", "+12025550199", `Code "4938\17" & <b>=+%25 {{.To}}` + "\nñ €🔑", "https://verify.example.com/carriers/x/status?m=1&n=2", "https://verify.example.com/carriers/x/answer?m=1&n=2"},
		{"+442079460000", "Ünï & 1", "4938", "", "https://verify.example.com/a"},
	} {
		f.To, f.From, f.Text, f.Callback, f.Answer = m.to, m.from, m.text, m.callback, m.answer
		f.Spoken, f.CountryCode, f.National = f.Text, "1", "2025550100"
		if m.to != "+12025550100" {
			f.CountryCode, f.National = "44", "2079460000"
		}
		f.TTL, f.ID, f.Token = 600, verify.ID{}.String(), carrier.Token(verify.ID{}, 1)
		f.ShortToken = carrier.ShortToken(verify.ID{}, 1)
		r, err := t.render(s, f)
		if err != nil {
			return err
		}
		if err := exchange.CheckURL(r.url, false); err != nil {
			return fmt.Errorf("url: %w", err)
		}
		u, err := url.Parse(r.url)
		if err != nil {
			return errors.New("url: not a URL")
		}
		hosts[u.Host] = true
		values, err := r.values(u)
		if err != nil {
			return err
		}
		if s.Answer.Body != "" { // the provider asks for the words later
			if !carries(values, m.answer) {
				return errors.New("body: doesn't contain the answer's URL correctly: write {{json .Answer}} into JSON, {{query .Answer}} into a form")
			}
			said, err := t.say(f)
			if err != nil {
				return err
			}
			if !carries([]string{string(said)}, m.text) || strings.HasSuffix(s.Answer.Type, "xml") && !wellFormed(said) {
				return errors.New("answer.body: doesn't contain the text correctly: write {{xml .Text}} into XML")
			}
		} else if !carries(values, m.text) {
			return errors.New("body: doesn't contain the text correctly: write {{json .Text}} into JSON, {{query .Text}} into a form")
		}
		if !carries(values, m.to) && !carries(values, m.to[1:]) && !(carries(values, f.National) && carries(values, f.CountryCode)) {
			return errors.New("body: doesn't contain the number correctly: write {{json .To}} into JSON, {{query .To}} into a form")
		}
	}
	if len(hosts) > 1 {
		return errors.New("url: a message must not choose the host")
	}
	return nil
}

// wellFormed reports whether a text is well-formed XML.
func wellFormed(text []byte) bool {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		switch _, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return false
		}
	}
}

// values returns the texts in a request's query and body, as the receiver
// decodes them.
func (r *rendered) values(u *url.URL) (all []string, err error) {
	collect := func(form url.Values) {
		for _, v := range form {
			all = append(all, v...)
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("url: the query can't be read: write {{query .Text}} into it")
	}
	collect(query)
	media, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	switch {
	case len(r.body) == 0:
	case media == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(r.body))
		if err != nil {
			return nil, errors.New("body: not a form: write {{query .Text}} into one")
		}
		collect(form)
	case strings.HasSuffix(media, "xml") && !wellFormed(r.body):
		return nil, errors.New("body: not XML: write {{xml .Text}} into it")
	case strings.HasSuffix(media, "json") || strings.Contains(media, "json-"):
		if !json.Valid(r.body) {
			return nil, errors.New("body: not JSON: write {{json .Text}} into it")
		}
		all = append(all, texts(parse(r.body))...)
	default:
		all = append(all, string(r.body))
	}
	return all, nil
}

// texts returns all single values of a document.
func texts(doc any) (all []string) {
	switch v := doc.(type) {
	case map[string]any:
		for _, in := range v {
			all = append(all, texts(in)...)
		}
	case []any:
		for _, in := range v {
			all = append(all, texts(in)...)
		}
	case string:
		all = append(all, v)
	case json.Number:
		all = append(all, v.String())
	}
	return all
}

// carries reports whether a value holds the text: as it is, escaped for XML, without markup, or with separated
// digits.
func carries(values []string, text string) bool {
	apart := func(s string) string { return strings.NewReplacer(" ", "", ",", "").Replace(s) }
	var escaped strings.Builder
	xml.EscapeText(&escaped, []byte(text))
	for _, v := range values {
		for _, form := range []string{text, escaped.String(), plain(text)} {
			if strings.Contains(v, form) || strings.Contains(apart(v), apart(form)) {
				return true
			}
		}
	}
	return false
}
