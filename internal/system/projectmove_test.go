package system

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
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

// A moving is two replicas of a server with two shards, a carrier, and a project p that moves between the shards.
type moving struct {
	t        *testing.T
	shards   []store.Shard
	replicas []http.Handler
	key      verify.Secret
	other    verify.Secret // of a project that stays on the first shard
	keys     *keyset.Set

	mu       sync.Mutex // guards all below
	codes    map[string]string
	messages map[string]int
	told     *sync.Cond // signaled when a message has come
}

var sixDigits = regexp.MustCompile(`\d{6}`)

func newMoving(t *testing.T) *moving {
	t.Helper()
	var shards []store.Shard
	for _, name := range []string{"a", "b"} {
		shards = append(shards, store.Shard{Name: name, Postgres: &store.Postgres{URL: storetest.Lent(t), Timeout: 5 * time.Second}})
	}
	return newMovingBy(t, shards, shards)
}

// newMovingBy has each of the replicas reach the shards in a way of its own.
func newMovingBy(t *testing.T, ways ...[]store.Shard) *moving {
	t.Helper()
	m := &moving{t: t, shards: ways[0], key: account.NewSecret(), other: account.NewSecret(), codes: map[string]string{}, messages: map[string]int{}}
	m.told = sync.NewCond(&m.mu)
	var err error
	if m.keys, err = keyset.New(); err != nil {
		t.Fatal(err)
	}
	for i, way := range ways {
		s, stop := m.serve(way)
		t.Cleanup(stop)
		m.replicas = append(m.replicas, s.Handler())
		if i > 0 {
			continue
		}
		st := s.all[0].open.Load().Store
		for id, key := range map[verify.ProjectID]verify.Secret{"p": m.key, "q": m.other} {
			if err := st.CreateProject(t.Context(), verify.Project{ID: id, Name: string(id), Profile: verify.ProfileCompat}); err != nil {
				t.Fatal(err)
			}
			if err := st.CreateKey(t.Context(), account.Key{ID: verify.NewID(time.Now()), Project: id, Hash: account.HashKey(key), Scopes: verify.AllScopes}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

// serve starts a replica.
func (m *moving) serve(shards []store.Shard) (s *Shards, stop func()) {
	m.t.Helper()
	s, err := OpenShards(context.Background(), Config{
		Data: m.t.TempDir(), Keys: m.keys.Twin(), Log: slog.New(slog.DiscardHandler), Settings: verify.Settings{PublicSender: "+12025550199"}, Tick: 20 * time.Millisecond,
		Carriers: []dispatch.Line{{Carrier: testCarrier(m.send), Queue: 1000, Concurrency: 8}}, Routes: map[verify.Channel][]string{verify.ChannelSMS: {"test"}},
	}, shards)
	if err != nil {
		m.t.Fatal(err)
	}
	return s, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			m.t.Error(err)
		}
	}
}

// send is the carrier.
func (m *moving) send(msg verify.Message) carrier.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := msg.Verification.String()
	m.messages[id]++
	m.codes[id] = sixDigits.FindString(msg.Body.Reveal())
	m.told.Broadcast()
	return carrier.Result{}
}

// code waits for the message.
func (m *moving) code(id string) (code string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stop := time.AfterFunc(time.Minute, m.told.Broadcast)
	defer stop.Stop()
	for end := time.Now().Add(time.Minute); m.codes[id] == "" && time.Now().Before(end); {
		m.told.Wait()
	}
	return m.codes[id], m.codes[id] != ""
}

// ask asks a replica.
func (m *moving) ask(replica int, project string, key verify.Secret, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/api/relay/rest/mfa/"+path, strings.NewReader(body))
	r.SetBasicAuth(project, key.Reveal())
	r.Header.Set("Content-Type", "application/json")
	m.replicas[replica].ServeHTTP(w, r)
	return w
}

// A moveTally is what clients have met.
type moveTally struct {
	starts, approvals, guesses atomic.Int64
	lost, twice, strange       atomic.Int64
	longest, slowest           atomic.Int64 // in nanoseconds: the longest time in which a client got nothing but 503, and the slowest 503
}

func raise(at *atomic.Int64, to time.Duration) {
	for old := at.Load(); int64(to) > old && !at.CompareAndSwap(old, int64(to)); old = at.Load() {
	}
}

// insist asks again until the answer isn't 503.
func (m *moving) insist(c *moveTally, replica int, path, body string) *httptest.ResponseRecorder {
	var since time.Time
	for {
		began := time.Now()
		w := m.ask(replica, "p", m.key, path, body)
		if w.Code != http.StatusServiceUnavailable {
			if !since.IsZero() {
				raise(&c.longest, time.Since(since))
			}
			return w
		}
		raise(&c.slowest, time.Since(began))
		if w.Header().Get("Retry-After") == "" {
			c.strange.Add(1)
		}
		if since.IsZero() {
			since = began
		}
		if time.Since(since) > time.Minute {
			m.t.Error("nothing but 503 for a minute")
			return w
		}
		time.Sleep(10 * time.Millisecond) // as a client that is told to come again
	}
}

// client starts verifications and guesses at them until it is stopped.
func (m *moving) client(c *moveTally, n int, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		w := m.insist(c, i%2, "sms", fmt.Sprintf(`{"to":"+1202%03d%04d"}`, 200+n, i))
		var started struct{ ID string }
		if json.Unmarshal(w.Body.Bytes(), &started); w.Code != http.StatusOK {
			c.strange.Add(1)
			m.t.Errorf("a start: got %d %s", w.Code, w.Body)
			return
		}
		c.starts.Add(1)
		code, ok := m.code(started.ID)
		if !ok {
			c.lost.Add(1)
			m.t.Errorf("the message of %s isn't sent", started.ID)
			return
		}
		wrong := "000000"
		if code == wrong {
			wrong = "000001"
		}
		approved := 0
		for k, typed := range []string{wrong, code, code} {
			w := m.insist(c, (i+k)%2, started.ID+"/verify", fmt.Sprintf(`{"token":%q}`, typed))
			var out struct{ Success bool }
			json.Unmarshal(w.Body.Bytes(), &out)
			c.guesses.Add(1)
			switch {
			case out.Success && typed == wrong:
				c.strange.Add(1)
			case out.Success:
				approved++
			case k == 1:
				c.lost.Add(1)
				m.t.Errorf("the right code of %s: got %d %s", started.ID, w.Code, w.Body)
			}
		}
		c.approvals.Add(int64(approved))
		if approved > 1 {
			c.twice.Add(1)
		}
	}
}

// A project moves back and forth under load from clients of two replicas. Nothing is lost, accepted twice or sent twice, and the other
// project of the shard meets no 503.
func TestAProjectMovesUnderLoad(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	moveUnderLoad(newMoving(t))
}

// So it is between schemas of Citus, whichever way each replica is connected.
func TestAProjectMovesOnCitusUnderLoad(t *testing.T) {
	t.Parallel()
	pgtest.CitusURL(t)
	for _, second := range []string{"by the coordinator", "by a worker"} {
		t.Run(second, func(t *testing.T) {
			coordinator, workers := pgtest.CitusDatabase(t)
			by := func(url string) (shards []store.Shard) {
				for _, name := range []string{"a", "b"} {
					shards = append(shards, store.Shard{Name: name, Postgres: &store.Postgres{URL: url, Schema: "verify_" + name, Timeout: 5 * time.Second}})
				}
				return shards
			}
			all := by(coordinator)
			for _, s := range all { // Citus puts them on the workers in turn
				if err := storetest.Tables(s.URL, s.Schema); err != nil {
					t.Fatal(err)
				}
			}
			way := all
			if second == "by a worker" {
				way = by(workers[0])
			}
			moveUnderLoad(newMovingBy(t, all, way))
		})
	}
}

func moveUnderLoad(m *moving) {
	t := m.t
	t.Helper()
	var c moveTally
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for n := range 4 {
		clients.Go(func() { m.client(&c, n, stop) })
	}
	var others atomic.Int64
	clients.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if w := m.ask(i%2, "q", m.other, "sms", fmt.Sprintf(`{"to":"+1203555%04d"}`, i)); w.Code != http.StatusOK {
				t.Errorf("a start of the project that stays: got %d %s", w.Code, w.Body)
				return
			}
			others.Add(1)
			time.Sleep(5 * time.Millisecond)
		}
	})
	moves := 10
	if testing.Short() {
		moves = 2
	}
	moves = max(moves, testsize.Multiple(1))
	rows := 0
	for i := range moves {
		done, err := store.MoveProject(t.Context(), store.ProjectMoving{Project: "p", From: m.shards[i%2], To: m.shards[(i+1)%2], Actor: "test"})
		if err != nil {
			t.Fatal(err)
		}
		rows += done.Rows
	}
	close(stop)
	clients.Wait()
	doubled := 0
	for id, n := range m.messages {
		if n > 1 {
			doubled++
			t.Errorf("the message of %s was sent %d times", id, n)
		}
	}
	t.Logf("%d moves of %d rows in all: %d starts, %d guesses, %d approvals; lost %d, codes accepted twice %d, messages doubled %d, strange answers %d, longest 503 %.1f s, slowest answer 503 %.1f s; the other project: %d starts",
		moves, rows, c.starts.Load(), c.guesses.Load(), c.approvals.Load(), c.lost.Load(), c.twice.Load(), doubled, c.strange.Load(),
		time.Duration(c.longest.Load()).Seconds(), time.Duration(c.slowest.Load()).Seconds(), others.Load())
	if c.lost.Load()+c.twice.Load()+c.strange.Load() > 0 || c.starts.Load() == 0 || others.Load() == 0 {
		t.Error("see the figures")
	}
}

// A message that is with the carrier while its project moves is settled where the project is then, and isn't sent again.
func TestAMessageUnderWayMovesWithItsProject(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	m := newMoving(t)
	m.mu.Lock() // the carrier waits
	w := m.ask(0, "p", m.key, "sms", `{"to":"+12025550100"}`)
	var started struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &started); err != nil || w.Code != http.StatusOK {
		t.Fatalf("start: got %d %s", w.Code, w.Body)
	}
	if _, err := store.MoveProject(t.Context(), store.ProjectMoving{Project: "p", From: m.shards[0], To: m.shards[1], Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	m.mu.Unlock()
	id, err := verify.ParseID(started.ID)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Options{Postgres: m.shards[1].Postgres})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		v, err := st.Verification(t.Context(), id)
		if err == nil && v.Delivery == verify.DeliverySent {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %+v, %v; want it sent", v, err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.messages[started.ID]; n != 1 {
		t.Errorf("the message was sent %d times, want once", n)
	}
}

// While a server runs that serves one of the shards only, no project moves: its messages of before would be sent again.
func TestNoProjectMovesBesideAServerOfOneShard(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	for one, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMoving(t)
			move := func() error {
				_, err := store.MoveProject(t.Context(), store.ProjectMoving{Project: "p", From: m.shards[0], To: m.shards[1], Actor: "test"})
				return err
			}
			_, stop := m.serve(m.shards[one : one+1])
			if err := move(); err == nil || !strings.Contains(err.Error(), "serves shard "+name+", but not shard") {
				t.Errorf("got %v", err)
			}
			if w := m.ask(0, "p", m.key, "sms", `{"to":"+12025550100"}`); w.Code != http.StatusOK {
				t.Errorf("a start after that: got %d %s", w.Code, w.Body)
			}
			stop()
			if err := move(); err != nil {
				t.Errorf("after that server has ended: %v", err)
			}
		})
	}
}

// Servers notice that a shard was brought back to before a project left it: it decides nothing about the project any more.
func TestServersFenceAProjectThatIsOnTwoShards(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	m := newMoving(t)
	if _, err := store.MoveProject(t.Context(), store.ProjectMoving{Project: "p", From: m.shards[0], To: m.shards[1], Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", m.shards[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{ // what a restore would bring back
		`DELETE FROM project_move`, `UPDATE watermark SET id = id WHERE name = 'void'`,
		`INSERT INTO project SELECT (jsonb_populate_record(NULL::project, to_jsonb(q) || '{"id": "p", "name": "p"}')).* FROM project q WHERE id = 'q'`,
	} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	st, err := store.Open(t.Context(), store.Options{Postgres: m.shards[0].Postgres})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, err := st.AddCredit(t.Context(), "p", verify.LedgerEntry{Kind: verify.LedgerTopUp, Amount: 1})
		if errors.Is(err, verify.ErrMoving) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the shard that it left still decides: %v", err)
		}
	}
	if w := m.ask(0, "p", m.key, "sms", `{"to":"+12025550100"}`); w.Code != http.StatusOK {
		t.Errorf("a start: got %d %s", w.Code, w.Body)
	}
}

// A look-up that takes longer than servers remember a key may miss a project that moves meanwhile. Nobody is told then that there is no such key.
func TestAKeyThatIsLookedForTooLongIsNotUnknown(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	db, err := sql.Open("pgx", m.shards[1].URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	nobodys := account.NewSecret()
	ask := func() int { return m.ask(0, "p", nobodys, "sms", `{"to":"+12025550100"}`).Code }
	if got := ask(); got != http.StatusUnauthorized {
		t.Errorf("an unknown key: got %d, want 401", got)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(account.Remembered+200*time.Millisecond, func() { tx.Rollback() })
	if got := ask(); got != http.StatusServiceUnavailable {
		t.Errorf("an unknown key that was looked for too long: got %d, want 503", got)
	}
}
