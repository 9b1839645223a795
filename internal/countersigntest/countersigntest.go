// Package countersigntest gives a test a whole server: database, dispatcher, simulator and API in
// this process, on a clock that the test sets by hand.
package countersigntest

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/face/signalwire"
	"github.com/countersign/countersign/internal/face/syniverse"
	"github.com/countersign/countersign/internal/logtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// A Kit is a running server and what a test needs to drive and watch it.
type Kit struct {
	*system.System
	Sim   *sim.Simulator
	Clock *Clock
	URL   string
	Data  string // the data folder

	t       testing.TB
	token   verify.Secret
	project verify.ProjectID
	client  *http.Client
}

// Options change what [New] makes. The zero value is a server as production has it.
type Options struct {
	Data     string               // the data folder; "" is a temporary one
	Database string               // URL of a PostgreSQL, instead of a file in that folder
	Schema   string               // of it; "" is public
	Clock    *Clock               // nil: a new one, at Start
	Machine  func() store.Reading // the machine's clocks, beside a database that has its own time, instead of Clock
	Profile  verify.Profile
	Limits   verify.Limits // zero: none
	Carriers []carrier.Carrier
	Pushes   carrier.Carrier // serves the channel push, beside the others; nil: nothing does
	// Lines are how single ones of them are used, by name; Queue and Concurrency fill in what they
	// leave zero. Rules go before the channels, which all carriers serve.
	Lines       map[string]dispatch.Line
	Rules       []route.Rule
	MaxMessages int
	BreakAfter  int
	// Queue and Concurrency are each carrier's: default 20 000 and 16.
	Queue, Concurrency int
	// Tick is how often it looks for due messages: default 5 ms.
	Tick time.Duration
	// Unattended leaves it to the test to look for due messages, with Advance.
	Unattended bool
	// Lease, CallLimit and Commit are passed on, see [system.Config].
	Lease, CallLimit time.Duration
	Commit           func(ops int, commit func() error) error
	// Settings and Syniverse are passed on; without a public sender there is one all the same.
	Settings  verify.Settings
	Syniverse syniverse.Options
	// Log gets all of the log in JSON, instead of the test's own.
	Log io.Writer
	// Logger is used instead of the test's own, unchecked: by benchmarks, of which checking each line would be a fifth.
	Logger *slog.Logger
	// Tracer is passed on.
	Tracer trace.Tracer
}

// Start is the instant at which every kit's clock starts.
var Start = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// New starts a server with one project. It is closed when the test ends.
func New(t testing.TB, o Options) *Kit {
	t.Helper()
	k := &Kit{Clock: o.Clock, t: t, token: account.NewSecret(), project: "test"}
	if k.Clock == nil {
		k.Clock = &Clock{now: Start}
	}
	k.Sim = sim.New(k.Clock.Now)
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	k.Data = o.Data
	if path := filepath.Join(o.Data, system.DatabaseFile); o.Database == "" && !exists(path) {
		storetest.File(t, path)
	}
	if o.Profile == "" {
		o.Profile = verify.ProfileCompat
	}
	if o.Carriers == nil {
		o.Carriers = []carrier.Carrier{k.Sim}
	}
	if o.Queue == 0 {
		o.Queue = 20_000
	}
	if o.Concurrency == 0 {
		o.Concurrency = 16
	}
	if o.Settings.PublicSender == "" {
		o.Settings.PublicSender = "+12025550199"
	}
	o.Tick = cmp.Or(o.Tick, 20*time.Millisecond)
	if o.Unattended {
		o.Tick = time.Hour
	}
	c := system.Config{
		Data: o.Data, Now: k.Clock.Now, Log: o.log(t), Tracer: o.Tracer, Settings: o.Settings, Syniverse: o.Syniverse,
		ReadLimit: patience, Lease: o.Lease, CallLimit: o.CallLimit, Commit: o.Commit, Tick: o.Tick,
		Rules: o.Rules, Routes: map[verify.Channel][]string{}, MaxMessages: o.MaxMessages, BreakAfter: o.BreakAfter,
	}
	if o.Machine != nil {
		c.Now, c.Machine = nil, o.Machine
	}
	if o.Database != "" {
		c.Postgres = &store.Postgres{URL: o.Database, Schema: o.Schema, Conns: 6, Timeout: 10 * time.Second} // tests may be slow
	}
	for _, way := range o.Carriers {
		line := o.Lines[way.Name()]
		line.Carrier, line.Queue, line.Concurrency = way, cmp.Or(line.Queue, o.Queue), cmp.Or(line.Concurrency, o.Concurrency)
		c.Carriers = append(c.Carriers, line)
		for _, channel := range []verify.Channel{verify.ChannelSMS, verify.ChannelVoice} {
			c.Routes[channel] = append(c.Routes[channel], way.Name())
		}
	}
	if o.Pushes != nil {
		line := o.Lines[o.Pushes.Name()]
		line.Carrier, line.Channel, line.Queue, line.Concurrency = o.Pushes, verify.ChannelPush, o.Queue, o.Concurrency
		c.Carriers = append(c.Carriers, line)
		c.Routes[verify.ChannelPush] = []string{o.Pushes.Name()}
	}
	ctx := context.Background()
	s, err := system.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	k.System = s
	k.Sim.OnReceipt(s.Dispatch.Receive)
	k.AddProject(verify.Project{ID: k.project, Name: "Test", Profile: o.Profile, Limits: o.Limits, PublicText: true, AnySender: true, AnyLink: true, Countries: []string{verify.AnyCountry}}, k.token)

	server := httptest.NewServer(s.Handler())
	k.URL = server.URL
	k.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
	t.Cleanup(func() {
		k.client.CloseIdleConnections()
		server.Close()
		drain, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := s.Close(drain); err != nil {
			t.Errorf("close: %v", err)
		}
		k.Sim.Close()
	})
	return k
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (o *Options) log(t testing.TB) *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	all := &slog.HandlerOptions{Level: slog.LevelDebug}
	if o.Log != nil {
		return slog.New(web.Log(slog.NewJSONHandler(io.MultiWriter(o.Log, logtest.Log{T: t, Quiet: true}), all)))
	}
	return slog.New(web.Log(slog.NewTextHandler(logtest.Log{T: t}, all)))
}

// AddProject makes a project and a key of it. One that is there already is left alone.
func (k *Kit) AddProject(p verify.Project, key verify.Secret) {
	k.t.Helper()
	ctx := context.Background()
	if err := k.Store.UpdateProject(ctx, p); err != nil {
		if err := k.Store.CreateProject(ctx, p); err != nil {
			k.t.Fatal(err)
		}
	}
	if err := k.Store.CreateKey(ctx, account.Key{ID: verify.NewID(k.Clock.Now()), Project: p.ID, Scopes: verify.AllScopes, Hash: account.HashKey(key)}); err != nil {
		k.t.Fatal(err)
	}
}

// Account is the kit's own project.
func (k *Kit) Account() *verify.Account {
	k.t.Helper()
	acct, err := k.Accounts.Authenticate(context.Background(), k.project, k.token)
	if err != nil {
		k.t.Fatal(err)
	}
	return acct
}

// Request makes a request with the project's credentials.
func (k *Kit) Request(ctx context.Context, path, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", k.URL+signalwire.Prefix+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(string(k.project), k.token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// Post sends JSON to a path of SignalWire's API and returns status and body. It may be called from
// many goroutines.
func (k *Kit) Post(path, body string) (int, string) {
	k.t.Helper()
	req, err := k.Request(context.Background(), path, body)
	if err != nil {
		k.t.Error(err)
		return 0, ""
	}
	resp, err := k.client.Do(req)
	if err != nil {
		k.t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Error(err)
	}
	return resp.StatusCode, string(data)
}

// Call makes a call of Syniverse's API with a bearer token, "" for the kit's own. The path is below
// the API's prefix, or from the root. It may be called from many goroutines.
func (k *Kit) Call(token verify.Secret, method, path, body string) (status int, header http.Header, answer string) {
	k.t.Helper()
	return k.CallWith(nil, token, method, path, body)
}

// CallWith is Call with more headers.
func (k *Kit) CallWith(more http.Header, token verify.Secret, method, path, body string) (status int, header http.Header, answer string) {
	k.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = syniverse.Prefix + path
	}
	if token == "" {
		token = k.token
	}
	req, err := http.NewRequest(method, k.URL+path, strings.NewReader(body))
	if err != nil {
		k.t.Error(err)
		return 0, nil, ""
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	maps.Copy(req.Header, more)
	resp, err := k.client.Do(req)
	if err != nil {
		k.t.Error(err)
		return 0, nil, ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Error(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

// Start starts a verification by SMS; more is JSON members after "to". It returns the id.
func (k *Kit) Start(to, more string) string {
	k.t.Helper()
	if more != "" {
		more = "," + more
	}
	status, body := k.Post("sms", `{"to":"`+to+`"`+more+`}`)
	var answer struct{ ID string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 {
		k.t.Errorf("start to %s: %d %s", to, status, body)
	}
	return answer.ID
}

// An Answer is what a guess gets: "right", "wrong", "gone" (404), "wait" (429), or the status.
type Answer string

// Check guesses a token.
func (k *Kit) Check(id, token string) Answer {
	k.t.Helper()
	switch status, body := k.Post(id+"/verify", `{"token":"`+token+`"}`); {
	case status == 200 && body == `{"success":true}`:
		return "right"
	case status == 200 && body == `{"success":false}`:
		return "wrong"
	case status == 404:
		return "gone"
	case status == 429:
		return "wait"
	default:
		return Answer(http.StatusText(status) + " " + body)
	}
}

var inText = regexp.MustCompile(`[0-9A-Z]{4,20}$`)

// Code waits for a verification's message and returns the code in it.
func (k *Kit) Code(to, id string) string {
	k.t.Helper()
	var code string
	k.Await("the message of "+id, func() bool {
		for _, m := range k.Sim.Messages(phone.Number(to)) {
			if m.Verification == id {
				code = inText.FindString(m.Body)
				return true
			}
		}
		return false
	})
	return code
}

// Wrong returns a code of the same form that is not the given one.
func Wrong(code string) string {
	last := byte('2')
	if code[len(code)-1] == last {
		last = '3'
	}
	return code[:len(code)-1] + string(last)
}

// Verification reads a verification as stored.
func (k *Kit) Verification(id string) *verify.Verification {
	k.t.Helper()
	parsed, err := verify.ParseID(id)
	if err != nil {
		k.t.Fatalf("id %q: %v", id, err)
	}
	v, err := k.Store.Verification(context.Background(), parsed)
	if err != nil {
		k.t.Fatal(err)
	}
	return v
}

// Advance moves the clock and has the dispatcher look for what is due.
func (k *Kit) Advance(d time.Duration) {
	k.t.Helper()
	k.Clock.Advance(d)
	ctx := context.Background()
	if err := k.Store.Sweep(ctx); err != nil {
		k.t.Fatal(err)
	}
	if err := k.Dispatch.Poll(ctx); err != nil {
		k.t.Fatal(err)
	}
}

// patience is how long a test waits for what must come, on a machine that is loaded many times over.
const patience = 2 * time.Minute

// Await waits until a condition holds that other goroutines bring about.
func (k *Kit) Await(what string, holds func() bool) {
	k.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			k.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A Clock stands still until a test moves it.
type Clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
