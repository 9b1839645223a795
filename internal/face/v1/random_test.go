package v1_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// randomSeed repeats a run of TestGeneratedRequests.
const randomSeed = "COUNTERSIGN_TEST_SEED"

// Requests are made from the served description: right ones, ones at and beyond each bound, and ones that are damaged
// in their bytes, types, names, methods, paths, queries and headers. Every answer must be one that the description
// has. An operation takes part as soon as it is described.
func TestGeneratedRequests(t *testing.T) {
	t.Parallel()
	const workers = 4 // each with numbers and ids of its own
	total := 50_000
	if testing.Short() {
		total = 2_000
	}
	total = testsize.Multiple(total)
	seed := rand.Uint64()
	if given := os.Getenv(randomSeed); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", randomSeed, seed)

	k := countersigntest.New(t, countersigntest.Options{Log: io.Discard})
	_, _, text := k.Call("", "GET", "/openapi.json", "")
	d := readDescription(t, text)
	counts, project := newTally(d), k.Account().Project
	var wg sync.WaitGroup
	var jump sync.RWMutex // held for writing while the clock moves: a start takes no minutes
	for n := range workers {
		w := &guesser{d: d, k: k, project: project, jump: &jump, t: t, rnd: rand.New(rand.NewPCG(seed, uint64(n))), worker: n, found: map[string][]string{}, etags: map[string]string{}, numbers: map[string]string{}}
		wg.Go(func() {
			// In few requests, chance may leave an operation without one that is read: then it takes more of them.
			for i := 0; i < total/workers || i < 10*total/workers && len(counts.unread()) > 0; i++ {
				if i%100 == 0 {
					w.begin()
				}
				r := w.request()
				a, err := w.send(r)
				if err != nil {
					t.Errorf("%s %s: %v", r.method, r.url, err)
					return
				}
				if problem := d.outside(r, a); problem != "" {
					t.Errorf("%s=%d, worker %d, request %d: %s\n%s\ngot %d %s %.2000s", randomSeed, seed, n, i, problem, r, a.status, a.header.Get("Content-Type"), a.body)
				}
				counts.add(r, a)
				w.learn(r, a)
				if t.Failed() {
					return
				}
			}
		})
	}
	wg.Wait()
	counts.report(t)
}

// served is a described operation, with the validators of its answers.
type served struct {
	method, path string
	pattern      *regexp.Regexp
	parameters   []parameter
	body         map[string]any // the schema; nil: it has none
	types        []string       // of the body
	answers      map[int]map[string]*jsonschema.Schema
}

type parameter struct {
	Name, In string
	Required bool
	Schema   map[string]any
}

// A description is the served one.
type description struct {
	operations []*served
	schemas    map[string]any
	problem    *jsonschema.Schema
}

func readDescription(t *testing.T, text string) *description {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	compile := func(parts ...string) *jsonschema.Schema {
		for i := range parts {
			parts[i] = strings.ReplaceAll(strings.ReplaceAll(parts[i], "~", "~0"), "/", "~1")
		}
		s, err := c.Compile("openapi.json#/" + strings.Join(parts, "/"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var read struct {
		Paths map[string]map[string]struct {
			Parameters  []parameter
			RequestBody struct {
				Content map[string]struct{ Schema map[string]any }
			}
			Responses map[string]struct{ Content map[string]any }
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	d := &description{schemas: read.Components.Schemas, problem: compile("components", "schemas", "Problem")}
	for _, path := range slices.Sorted(maps.Keys(read.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(read.Paths[path])) {
			from := read.Paths[path][method]
			o := &served{method: strings.ToUpper(method), path: path, parameters: from.Parameters, answers: map[int]map[string]*jsonschema.Schema{}}
			o.pattern = regexp.MustCompile("^" + regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), "[^/]+") + "$")
			for kind, content := range from.RequestBody.Content {
				o.types, o.body = append(o.types, kind), content.Schema
			}
			for status, answer := range from.Responses {
				code, err := strconv.Atoi(status)
				if err != nil {
					t.Fatal(err)
				}
				o.answers[code] = map[string]*jsonschema.Schema{}
				for kind := range answer.Content {
					o.answers[code][kind] = compile("paths", path, method, "responses", status, "content", kind, "schema")
				}
			}
			d.operations = append(d.operations, o)
		}
	}
	return d
}

// find returns the operation that a request is for; nil: nothing is served there.
func (d *description) find(method, path string) *served {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, o := range d.operations {
		if o.method == method && o.pattern.MatchString(path) {
			return o
		}
	}
	return nil
}

// outside says why an answer isn't one that the description has.
func (d *description) outside(r generated, a answered) string {
	if a.status >= 500 {
		return "the server's own fault"
	}
	o := d.find(r.method, r.path())
	if a.status == 429 && a.header.Get("Retry-After") == "" {
		return "no Retry-After"
	}
	var schema *jsonschema.Schema
	kind := a.header.Get("Content-Type")
	switch {
	case o == nil && a.status != 404 && a.status != 405:
		return "nothing is served there, so it must be 404 or 405"
	case o == nil && kind != "application/problem+json":
		return "not a problem"
	case o == nil:
		schema = d.problem
	case o.answers[a.status] == nil:
		return "the description hasn't this status"
	case len(o.answers[a.status]) == 0 && a.body != "":
		return "the description has no body"
	case len(o.answers[a.status]) == 0:
		return ""
	case o.answers[a.status][kind] == nil:
		return "the description hasn't this type"
	default:
		schema = o.answers[a.status][kind]
	}
	if r.method == http.MethodHead {
		return ""
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(a.body))
	if err != nil {
		return err.Error()
	}
	if err := schema.Validate(value); err != nil {
		return err.Error()
	}
	if o == nil && !slices.Contains([]string{"no_route", "no_method"}, value.(map[string]any)["code"].(string)) {
		return "nothing is served there, but the problem says something else"
	}
	return ""
}

// A generated request. Its url is below the server's.
type generated struct {
	o           *served // that it was made for
	method, url string
	header      http.Header
	body        []byte
	chunked     bool
}

func (r generated) path() string {
	path, _, _ := strings.Cut(r.url, "?")
	return path
}

func (r generated) String() string {
	return fmt.Sprintf("%s %s\n%v\n%.2000q", r.method, r.url, r.header, r.body)
}

type answered struct {
	status int
	header http.Header
	body   string
}

// A guesser makes requests by chance, of its seed and of what the answers taught it.
type guesser struct {
	d       *description
	k       *countersigntest.Kit
	t       *testing.T
	rnd     *rand.Rand
	project verify.Project
	jump    *sync.RWMutex
	worker  int
	token   verify.Secret
	number  string              // that the current request is about
	id      string              // in its path
	found   map[string][]string // values of answers, by collection and member
	etags   map[string]string
	numbers map[string]string // of verifications, by id
}

// begin gives the project back what requests may have taken, such as its limits and its key, and lets time pass.
func (w *guesser) begin() {
	w.renew()
	if w.worker == 0 {
		w.jump.Lock()
		defer w.jump.Unlock()
		w.k.Advance(time.Duration(w.rnd.IntN(600)) * time.Second)
	}
}

// renew gives the project its settings back, and the guesser a key: a request may have revoked the old one.
func (w *guesser) renew() {
	w.token = account.NewSecret()
	w.k.AddProject(w.project, w.token)
}

func (w *guesser) chance(percent int) bool { return w.rnd.IntN(100) < percent }

func pick[T any](w *guesser, all ...T) T { return all[w.rnd.IntN(len(all))] }

// collection is where the members of a path's list are, such as /v1/verifications for /v1/verifications/{id}.
func collection(path string) string {
	return strings.TrimSuffix(regexp.MustCompile(`/\{\w+\}$`).ReplaceAllString(path, ""), "/")
}

func (w *guesser) request() generated {
	o := pick(w, w.d.operations...)
	w.number = fmt.Sprintf("+1202555%02d%02d", 10+w.worker, w.rnd.IntN(12))
	r := generated{o: o, method: o.method, header: http.Header{}}
	r.url = w.path(o)
	r.url += w.query(o)
	w.headers(o, &r)
	w.content(o, &r)
	if w.chance(3) {
		r.method = pick(w, "HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")
	}
	return r
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

func (w *guesser) path(o *served) string {
	w.id = ""
	path, built := o.path, ""
	for m := pathParameter.FindStringSubmatchIndex(path); m != nil; m = pathParameter.FindStringSubmatchIndex(path) {
		before, name := path[:m[0]], path[m[2]:m[3]]
		value := w.member(o, name)
		w.id = value
		built += before + escape(value)
		path = path[m[1]:]
	}
	built += path
	if w.chance(2) {
		built = pick(w, built+"/", built+"/x", strings.Replace(built, "/v1/", "/v1//", 1), built+"/../"+"verifications", "/v1"+strings.ToUpper(built[3:]), built+"%2F", built+";x=1", strings.Replace(built, "/v1/", "/v1/%2E%2E/", 1))
	}
	return built
}

// escape writes a value as one segment of a path. net/http cleans away one of dots before it asks anybody.
func escape(value string) string {
	if strings.Trim(value, ".") == "" {
		value = "dots"
	}
	return url.PathEscape(value)
}

// member is a value for a wildcard: mostly one that an answer had.
func (w *guesser) member(o *served, name string) string {
	at := o.path[:strings.Index(o.path, "{"+name+"}")]
	at = strings.TrimSuffix(at, "/")
	for _, key := range []string{name, "id", "name", "number", "to"} {
		if known := w.found[at+" "+key]; len(known) > 0 && w.chance(90) {
			// The latest ones are the most alive.
			return known[len(known)-1-w.rnd.IntN(min(len(known), 1+w.rnd.IntN(20)))]
		}
	}
	return pick(w, "01a20001-6a64-717b-aab1-8ad86b1658e8", verify.NewID(w.k.Clock.Now()).String(), "x", "%", "..", "🔑", "a b", "null", strings.Repeat("9", 300), w.number, w.text(40))
}

func (w *guesser) query(o *served) string {
	var pairs []string
	for _, p := range o.parameters {
		if p.In == "query" && (p.Required || w.chance(25)) {
			value := w.value(p.Schema, p.Name, 0)
			if w.chance(12) {
				value = w.damaged(p.Schema, p.Name)
			}
			text, ok := value.(string)
			if !ok {
				encoded, _ := json.Marshal(value)
				text = string(encoded)
			}
			pairs = append(pairs, url.QueryEscape(p.Name)+"="+url.QueryEscape(text))
		}
	}
	if w.chance(4) {
		pairs = append(pairs, pick(w, "x=1", "limit=1&limit=2", "a=%zz", "a;b", "=", "&&", "limit", "to=+12025550100", "%00=%00", "q="+strings.Repeat("y", 2000), "limit=%31", "after[]=1", "%ff=1", "to=%ff"))
	}
	if len(pairs) == 0 {
		return ""
	}
	return "?" + strings.Join(pairs, "&")
}

func (w *guesser) headers(o *served, r *generated) {
	r.header.Set("Authorization", "Bearer "+w.token.Reveal())
	for _, p := range o.parameters {
		if p.In != "header" || !p.Required && w.chance(50) {
			continue
		}
		value := fmt.Sprint(w.value(p.Schema, p.Name, 0))
		if tag := w.etags[r.path()]; tag != "" && strings.HasPrefix(p.Name, "If-") && w.chance(80) {
			value = tag
		}
		r.header.Set(p.Name, printable(value))
	}
	if !w.chance(8) {
		return
	}
	name := pick(w, "Authorization", "Accept", "Accept-Language", "Idempotency-Key", "If-Match", "If-None-Match", "Range", "Content-Encoding", "X-Forwarded-For", "X-HTTP-Method-Override", "Cookie", "X-Request-Id", "Traceparent", "Origin")
	values := map[string][]string{
		"Authorization":    {"", "Bearer", "Bearer ", "bearer " + w.token.Reveal(), "Basic dGVzdDp4", "Bearer x", "Bearer " + strings.Repeat("x", 4000), w.token.Reveal()},
		"Accept":           {"text/html", "application/xml", "*/*;q=0", "x"},
		"Idempotency-Key":  {"", "a", strings.Repeat("k", 255), strings.Repeat("k", 256), "a b", `"quoted"`, "é"},
		"If-Match":         {"*", `"x"`, `W/"x"`, "x", ""},
		"If-None-Match":    {"*", `"x"`},
		"Range":            {"bytes=0-1"},
		"Content-Encoding": {"gzip", "identity"},
	}[name]
	r.header[name] = []string{pick(w, append(values, "x", w.text(30))...)}
	r.header[name][0] = printable(r.header[name][0])
}

// printable is what a client can send as a header.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > 0xff {
			return -1
		}
		return r
	}, s))
}

func (w *guesser) content(o *served, r *generated) {
	if o.body == nil {
		if w.chance(5) {
			r.body = pick(w, []byte(`{}`), []byte(`x`), []byte(`{"x":1}`), []byte(`null`), []byte(strings.Repeat(" ", 70_000)))
			r.header.Set("Content-Type", "application/json")
		}
		return
	}
	value := w.value(o.body, "", 0)
	if w.chance(30) {
		value = w.damaged(o.body, "")
	}
	r.body, _ = json.Marshal(value)
	r.header.Set("Content-Type", o.types[0])
	if w.chance(6) {
		r.body = w.bytes(r.body)
	}
	if w.chance(4) {
		r.header.Set("Content-Type", pick(w, "", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/json;charset=UTF-8", "application/json; charset=\"", "multipart/form-data", "application/xml", ";", "application/JSON", "application/problem+json", "x"))
	}
	r.chunked = w.chance(5)
}

// bytes damages a text.
func (w *guesser) bytes(text []byte) []byte {
	text = bytes.Clone(text)
	at := w.rnd.IntN(len(text) + 1)
	switch w.rnd.IntN(8) {
	case 0:
		return text[:at]
	case 1:
		return append(text, text...)
	case 2:
		return append([]byte("\ufeff"), text...)
	case 3:
		return slices.Insert(text, at, byte(w.rnd.IntN(256)))
	case 4:
		return nil
	case 5:
		return append(text, bytes.Repeat([]byte(" "), pick(w, 1, 5_000, 70_000))...)
	case 6:
		return []byte(pick(w, `[]`, `null`, `0`, `"x"`, `{`, `{"a":1,"a":2}`, `{"to":"+12025550100","to":"+12025550101"}`, strings.Repeat(`{"a":`, 20_000), strings.Repeat("[", 60_000), `{"to":1e999999}`, "{\"to\":\"\xff\"}", `{"\u0000":"\u0000"}`, `{"to":"\ud800"}`))
	}
	if len(text) > at {
		text[at] ^= byte(1 << w.rnd.IntN(8))
	}
	return text
}

// resolve follows a reference, and takes one of several forms.
func (w *guesser) resolve(s map[string]any) map[string]any {
	for {
		if ref, ok := s["$ref"].(string); ok {
			s, _ = w.d.schemas[ref[strings.LastIndex(ref, "/")+1:]].(map[string]any)
			continue
		}
		forms, _ := s["oneOf"].([]any)
		if any, ok := s["anyOf"].([]any); ok {
			forms = any
		}
		if len(forms) == 0 {
			return s
		}
		s, _ = pick(w, forms...).(map[string]any)
	}
}

// kind is a schema's type. One of several, it is the first that isn't null.
func kind(s map[string]any) string {
	switch t := s["type"].(type) {
	case string:
		return t
	case []any:
		for _, one := range t {
			if one != "null" {
				return fmt.Sprint(one)
			}
		}
	}
	return ""
}

// value is one that a schema allows, and mostly one that makes sense.
func (w *guesser) value(s map[string]any, name string, depth int) any {
	s = w.resolve(s)
	if enum, ok := s["enum"].([]any); ok {
		return pick(w, enum...)
	}
	examples, _ := s["examples"].([]any)
	switch kind(s) {
	case "string":
		return w.string(s, name, examples)
	case "integer", "number":
		low, high := bounds(s)
		if len(examples) > 0 && w.chance(30) {
			return examples[0]
		}
		switch w.rnd.IntN(4) {
		case 0:
			return low
		case 1:
			return high
		}
		return low + w.rnd.IntN(max(1, min(high-low+1, 1000)))
	case "boolean":
		return w.chance(50)
	case "array":
		if len(examples) > 0 && w.chance(60) {
			return pick(w, examples...)
		}
		items, _ := s["items"].(map[string]any)
		all := []any{}
		for range w.rnd.IntN(4) {
			all = append(all, w.value(items, name, depth+1))
		}
		return all
	case "object":
		return w.object(s, depth)
	}
	return pick[any](w, "x", 1, true)
}

func (w *guesser) object(s map[string]any, depth int) map[string]any {
	o := map[string]any{}
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	often := pick(w, 0, 15, 50)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if schema, ok := properties[name].(map[string]any); ok && depth < 5 && (slices.Contains(required, any(name)) || w.chance(often)) {
			o[name] = w.value(schema, name, depth+1)
		}
	}
	if more, ok := s["additionalProperties"].(map[string]any); ok {
		for range w.rnd.IntN(4) {
			o[w.text(12)] = w.value(more, "", depth+1)
		}
	}
	return o
}

func bounds(s map[string]any) (low, high int) {
	low, high = 0, 1<<31
	if n, ok := s["minimum"].(float64); ok {
		low = int(n)
	}
	if n, ok := s["maximum"].(float64); ok {
		high = int(n)
	}
	return low, high
}

func (w *guesser) string(s map[string]any, name string, examples []any) string {
	pattern, _ := s["pattern"].(string)
	switch {
	case slices.Contains([]string{"to", "sender", "number", "phone"}, name):
		return w.number
	case name == "code":
		return w.code()
	case name == "purpose" || name == "locale":
		return fmt.Sprint(pick(w, append(examples, "login", "login", "reset")...))
	}
	if known := w.known(name); known != "" && w.chance(70) {
		return known
	}
	switch {
	case len(examples) > 0 && w.chance(60):
		return fmt.Sprint(pick(w, examples...))
	case s["format"] == "uuid":
		return verify.NewID(w.k.Clock.Now()).String()
	case s["format"] == "date-time":
		return w.k.Clock.Now().Add(time.Duration(w.rnd.IntN(1000)-500) * time.Minute).Format(time.RFC3339)
	case pattern != "":
		return rapid.StringMatching(pattern).Example(w.rnd.IntN(1 << 30))
	case w.chance(10):
		if n, ok := s["maxLength"].(float64); ok {
			return strings.Repeat("m", int(n))
		}
	}
	return w.text(20)
}

// known is a value that an answer had under a name.
func (w *guesser) known(name string) string {
	for _, key := range slices.Sorted(maps.Keys(w.found)) {
		if at, member, _ := strings.Cut(key, " "); member == name || member == "id" && strings.HasSuffix(at, "/"+name+"s") {
			return pick(w, w.found[key]...)
		}
	}
	return ""
}

// code is the code of the verification in the path, or of the number's latest one; a wrong one now and then.
func (w *guesser) code() string {
	number := w.number
	if w.id != "" && w.numbers[w.id] != "" {
		number = w.numbers[w.id]
	}
	code := "000000"
	for _, m := range w.k.Sim.Messages(phone.Number(number)) { // the newest first
		if found := inText.FindString(m.Body); found != "" && (w.id == "" || w.id == m.Verification) {
			code = found
			break
		}
	}
	if w.chance(40) {
		return countersigntest.Wrong(code)
	}
	return code
}

var inText = regexp.MustCompile(`\b[0-9A-Z]{4,20}\b$`)

// text is any text, mostly of letters.
func (w *guesser) text(most int) string {
	var b strings.Builder
	odd := w.chance(20)
	for range 1 + w.rnd.IntN(most) {
		if odd {
			b.WriteRune(pick(w, 'é', ' ', '"', '\\', '\n', 0, '🔑', '<', '{', '}', '\u202e', '%', '\'', ';', '/', '٦'))
		} else {
			b.WriteByte("abcdefghij0123-_"[w.rnd.IntN(16)])
		}
	}
	return b.String()
}

// damaged is a value that isn't quite what a schema asks for.
func (w *guesser) damaged(s map[string]any, name string) any {
	s = w.resolve(s)
	value := w.value(s, name, 0)
	o, isObject := value.(map[string]any)
	properties, _ := s["properties"].(map[string]any)
	if isObject && len(properties) > 0 {
		for range 1 + w.rnd.IntN(2) {
			name := pick(w, slices.Sorted(maps.Keys(properties))...)
			schema, _ := properties[name].(map[string]any)
			switch w.rnd.IntN(6) {
			case 0:
				delete(o, name)
			case 1:
				o[pick(w, "x", "To", strings.ToUpper(name), "", strings.Repeat("n", 3000), "number", w.text(8))] = 1
			default:
				o[name] = w.damaged(schema, name)
			}
		}
		return o
	}
	low, high := bounds(s)
	switch w.rnd.IntN(4) {
	case 0:
		return pick[any](w, nil, true, 1, -1, 0.5, 1e300, "", "x", []any{}, map[string]any{}, []any{nil}, json.Number("1e400"), json.Number("6.0"), map[string]any{"a": []any{1}})
	case 1:
		return pick[any](w, low-1, high+1, low, high, strconv.Itoa(high), -1<<63, float64(low)+0.5)
	case 2:
		length, ok := s["maxLength"].(float64)
		if !ok {
			length = float64(pick(w, 16, 64, 256, 1600, 5000))
		}
		return strings.Repeat(pick(w, "m", "é", "🔑", "1", "\x00"), int(length)+1)
	}
	return w.text(60)
}

var generating = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       2 * time.Minute,
}

func (w *guesser) send(r generated) (answered, error) {
	var body io.Reader = bytes.NewReader(r.body)
	if r.chunked {
		body = io.MultiReader(body) // its length is unknown
	}
	req, err := http.NewRequest(r.method, w.k.URL+r.url, body)
	if err != nil {
		return answered{}, err
	}
	req.Header = r.header
	w.jump.RLock()
	defer w.jump.RUnlock()
	resp, err := generating.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answered{resp.StatusCode, resp.Header, string(text)}, err
}

// learn keeps what later requests may name.
func (w *guesser) learn(r generated, a answered) {
	if a.status == http.StatusUnauthorized {
		w.renew()
	}
	if a.status/100 != 2 {
		return
	}
	if tag := a.header.Get("Etag"); tag != "" {
		w.etags[r.path()] = tag
	}
	var value any
	if json.Unmarshal([]byte(a.body), &value) == nil {
		w.keep(collection(r.o.path), value)
	}
}

func (w *guesser) keep(at string, value any) {
	switch value := value.(type) {
	case map[string]any:
		id, _ := value["id"].(string)
		w.numbers[id], _ = value["to"].(string)
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if text, ok := value[name].(string); ok && text != "" {
				known := append(w.found[at+" "+name], text)
				w.found[at+" "+name] = known[max(0, len(known)-200):]
			}
			w.keep(at, value[name])
		}
	case []any:
		for _, one := range value {
			w.keep(at, one)
		}
	}
}

// A tally counts the answers of each operation.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[*served]map[int]int
}

func newTally(d *description) *tally {
	c := &tally{counts: map[*served]map[int]int{}}
	for _, o := range d.operations {
		c.counts[o] = map[int]int{}
	}
	return c
}

func (c *tally) add(r generated, a answered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[r.o][a.status]++
}

// unread are the operations whose requests never got past their reading, so that they show nothing.
func (c *tally) unread() (all []*served) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for o, counts := range c.counts {
		read := 0
		for status, n := range counts {
			switch status {
			case 400, 401, 403, 405, 413, 415, 422:
			default:
				read += n
			}
		}
		if read == 0 {
			all = append(all, o)
		}
	}
	return all
}

// report logs what was answered.
func (c *tally) report(t *testing.T) {
	for o, counts := range c.counts {
		t.Logf("%s %s: %v", o.method, o.path, counts)
	}
	if t.Failed() {
		return
	}
	for _, o := range c.unread() {
		t.Errorf("%s %s: no request got past its reading: %v", o.method, o.path, c.counts[o])
	}
}
