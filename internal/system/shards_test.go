package system

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// A testCarrier gives each message to the test.
type testCarrier func(m verify.Message) carrier.Result

func (testCarrier) Name() string { return "test" }

func (c testCarrier) Send(_ context.Context, m verify.Message) (carrier.Result, error) {
	return c(m), nil
}

// A shardTest is a server with shards, named a, b and so on, and a key of a project on each.
type shardTest struct {
	*Shards
	t    *testing.T
	http http.Handler
	keys []verify.Secret
}

// openTestShards opens databases by their URLs. A project and a key are made on each that is there.
func openTestShards(t *testing.T, send testCarrier, calls int, urls ...string) *shardTest {
	t.Helper()
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	var all []store.Shard
	for i, url := range urls {
		all = append(all, store.Shard{Name: string(rune('a' + i)), Postgres: &store.Postgres{URL: url, Timeout: 5 * time.Second}})
	}
	log := slog.New(slog.DiscardHandler)
	s, err := OpenShards(context.Background(), Config{
		Data: t.TempDir(), Keys: keys, Log: log, Settings: verify.Settings{PublicSender: "+12025550199"}, Tick: 10 * time.Millisecond,
		Carriers: []dispatch.Line{{Carrier: send, Queue: 100, Concurrency: calls}}, Routes: map[verify.Channel][]string{verify.ChannelSMS: {"test"}},
	}, all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	st := &shardTest{Shards: s, t: t, http: s.Handler()}
	for i, p := range s.all {
		key := account.NewSecret()
		st.keys = append(st.keys, key)
		sys := p.open.Load()
		if sys == nil {
			continue
		}
		project := verify.Project{ID: verify.ProjectID(p.config.Shard), Name: p.config.Shard, Profile: verify.ProfileCompat}
		if err := sys.Store.CreateProject(t.Context(), project); err != nil {
			t.Fatal(err)
		}
		if err := sys.Store.CreateKey(t.Context(), account.Key{ID: verify.NewID(time.Now()), Project: project.ID, Hash: account.HashKey(key), Scopes: verify.AllScopes}); err != nil {
			t.Fatal(i, err)
		}
	}
	return st
}

// start asks for a verification with a shard's key.
func (s *shardTest) start(shard int, to string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/api/relay/rest/mfa/sms", strings.NewReader(fmt.Sprintf(`{"to":%q}`, to)))
	r.SetBasicAuth(s.all[shard].config.Shard, s.keys[shard].Reveal())
	r.Header.Set("Content-Type", "application/json")
	s.http.ServeHTTP(w, r)
	return w
}

// answered does the same, again for as long as a busy machine's answer is that the database is away.
func (s *shardTest) answered(shard int, to string) (w *httptest.ResponseRecorder) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if w = s.start(shard, to); w.Code != http.StatusServiceUnavailable || time.Now().After(end) {
			return w
		}
	}
}

// started is the id of a verification that must start.
func (s *shardTest) started(shard int, to string) verify.ID {
	s.t.Helper()
	w := s.answered(shard, to)
	var body struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusOK {
		s.t.Fatalf("start on shard %d: got %d %s", shard, w.Code, w.Body)
	}
	id, err := verify.ParseID(body.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// A key that no shard knows is refused, but not while a shard is away that may know it.
func TestAKeyFindsItsShard(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	sent := func(verify.Message) carrier.Result { return carrier.Result{} }
	for name, tt := range map[string]struct {
		second string // the URL of the second shard
		ask    func(s *shardTest, shard int, to string) *httptest.ResponseRecorder
		want   int // for a key that the first doesn't know
	}{
		"both are there": {storetest.Lent(t), (*shardTest).answered, http.StatusUnauthorized},
		"one is away":    {"postgres://nobody@127.0.0.1:1/nothing?sslmode=disable", (*shardTest).start, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openTestShards(t, sent, 4, storetest.Lent(t), tt.second)
			for range 3 { // looked for, then remembered
				s.started(0, "+12025550100")
			}
			s.keys[1] = account.NewSecret()
			for range 3 {
				w := tt.ask(s, 1, "+12025550101")
				if w.Code != tt.want || tt.want == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
					t.Errorf("a key that the others don't know: got %d %v, want %d", w.Code, w.Header(), tt.want)
				}
			}
			s.keys[0] = ""
			if w := s.start(0, "+12025550102"); w.Code == http.StatusOK {
				t.Errorf("without a key: got %d", w.Code)
			}
		})
	}
}

// A carrier's receipts find the shards of their messages, also those that come before the messages are settled.
func TestReceiptsOfSiblings(t *testing.T) {
	t.Parallel()
	var s *shardTest
	opened := make(chan struct{})
	early := func(m verify.Message) carrier.Result {
		<-opened
		ref := string(m.To) // as the carrier calls the message
		if err := s.Reports().Receive(context.Background(), carrier.Receipt{Carrier: "test", Ref: ref, Delivered: true}); err != nil {
			t.Errorf("a receipt that comes early: %v", err)
		}
		return carrier.Result{Ref: ref}
	}
	s = openTestShards(t, early, 4, storetest.Lent(t), storetest.Lent(t))
	close(opened)
	for shard := range s.all {
		id := s.started(shard, fmt.Sprintf("+1202555010%d", shard))
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			v, err := s.all[shard].open.Load().Store.Verification(t.Context(), id)
			if err == nil && v.Delivery == verify.DeliveryDelivered {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("shard %d: got %+v, %v; want it delivered", shard, v, err)
			}
		}
	}
	if err := s.Reports().Receive(t.Context(), carrier.Receipt{Carrier: "test", Ref: "unknown", Delivered: true, Unsure: true}); err == nil {
		t.Error("a receipt that belongs to nothing is taken")
	}
}

// A carrier gets as many calls at once from all shards as from one.
func TestShardsShareACarriersCalls(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards running and most
	running, most := 0, 0
	sent := make(chan struct{}, 100)
	s := openTestShards(t, func(verify.Message) carrier.Result {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond) // gives a call that shouldn't be made time to begin
		mu.Lock()
		running--
		mu.Unlock()
		sent <- struct{}{}
		return carrier.Result{}
	}, 1, storetest.Lent(t), storetest.Lent(t))
	const each = 8
	for i := range each {
		for shard := range s.all {
			s.started(shard, fmt.Sprintf("+120255501%d%d", shard, i))
		}
	}
	for range each * len(s.all) {
		select {
		case <-sent:
		case <-time.After(time.Minute):
			t.Fatal("not all messages are sent")
		}
	}
	if most != 1 {
		t.Errorf("%d calls at once, want 1", most)
	}
}

// While a shard is away, its messages take none of the carrier's calls from the other shards.
func TestAShardThatIsAwayKeepsNoCalls(t *testing.T) {
	t.Parallel()
	direct := storetest.Lent(t)
	wire := pgtest.WireTo(t, direct)
	begun, release, sent := make(chan struct{}, 10), make(chan struct{}), make(chan struct{}, 10)
	s := openTestShards(t, func(m verify.Message) carrier.Result {
		if m.To == "+12025550101" {
			begun <- struct{}{}
			<-release
			return carrier.Result{}
		}
		sent <- struct{}{}
		return carrier.Result{}
	}, 1, storetest.Lent(t), wire.URL(direct))
	s.started(1, "+12025550101")
	await := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(time.Minute):
			t.Fatal(what)
		}
	}
	await("the message of b isn't sent", begun)
	wire.Cut(true)
	close(release)
	s.started(0, "+12025550100")
	await("the message of a isn't sent while b is away", sent)
	wire.Tear()
	wire.Cut(false)
}
