package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// The crash test's child is the program with one carrier exchanged: one that hands each message to
// the parent, which outlives the child and so knows what really went out.
const (
	crashRole     = "crash"
	crashPhoneURL = "COUNTERSIGN_TEST_PHONE"   // where the parent takes messages
	crashLife     = "COUNTERSIGN_TEST_LIFE"    // which of the child's lives it is
	crashClock    = "COUNTERSIGN_TEST_CLOCK"   // how far the child's clock is ahead
	crashCommits  = "COUNTERSIGN_TEST_COMMITS" // how late the child's commits begin
	crashAnswers  = "COUNTERSIGN_TEST_ANSWERS" // how long after a commit its callers hear of it
	crashPrices   = "COUNTERSIGN_TEST_PRICES"  // set: verifications and messages have a price
	crashCalls    = "COUNTERSIGN_TEST_CALLS"   // how many messages its carrier takes at once
)

// handedOver is one message as the parent gets it.
type handedOver struct {
	ID, Verification, To, Body string
	Attempt                    int
	Life                       string
	at                         time.Time
}

// How the parent answers, beside 200: as a carrier that fails, and as one whose answer gets lost
// though it has the message.
const (
	answerFailed = http.StatusServiceUnavailable
	answerLost   = http.StatusGatewayTimeout
)

type phoneCarrier struct{ name string }

// crashConfig is the child's: its messages go to the parent, and its commits may be slow.
func crashConfig(c *system.Config) {
	c.Carriers[0].Carrier = phoneCarrier{c.Carriers[0].Carrier.Name()}
	if n, err := strconv.Atoi(os.Getenv(crashCalls)); err == nil {
		c.Carriers[0].Concurrency = n
	}
	if os.Getenv(crashPrices) != "" {
		c.Prices.Currency = "EUR"
		c.Prices.Verifications, _ = money.NewTable([]money.Rule{{Each: 41_003}})
		c.Prices.Messages, _ = money.NewTable([]money.Rule{{Each: 12_507}})
	}
	if ahead, err := time.ParseDuration(os.Getenv(crashClock)); err == nil {
		c.Machine = func() store.Reading {
			r := store.ReadMachine()
			r.Wall = r.Wall.Add(ahead)
			return r
		}
	}
	late, _ := time.ParseDuration(os.Getenv(crashCommits)) // not set: 0
	after, _ := time.ParseDuration(os.Getenv(crashAnswers))
	if late+after > 0 {
		c.Commit = func(_ int, commit func() error) error {
			time.Sleep(late)
			defer time.Sleep(after)
			return commit()
		}
	}
}

func (c phoneCarrier) Name() string { return c.name }

func (c phoneCarrier) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	body, err := json.Marshal(handedOver{m.ID.String(), m.Verification.String(), string(m.To), m.Body.Reveal(), m.Attempt, os.Getenv(crashLife), time.Time{}})
	if err != nil {
		return carrier.Result{}, err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", os.Getenv(crashPhoneURL), bytes.NewReader(body))
	if err != nil {
		return carrier.Result{}, err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return carrier.Result{}, carrier.Unknown(err)
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case answerFailed:
		return carrier.Result{}, errors.New("the carrier is down")
	case answerLost:
		return carrier.Result{}, carrier.Unknown(errors.New("the answer got lost"))
	}
	return carrier.Result{Ref: m.ID.String()}, nil
}

// phones take messages, in the parent.
type phones struct {
	mu   sync.Mutex // guards all below
	rnd  *rand.Rand
	got  map[string][]handedOver // by verification, those that really arrived
	slow time.Duration           // a call takes up to this long
	// troubled are those of which a message failed, or its answer got lost.
	troubled map[string]bool

	holding string          // the life whose next call is held until its process is dead
	held    chan string     // the verification of a call that is held
	spared  map[string]bool // the verifications of calls that were held: nothing else goes wrong with them
}

func newPhones(seed uint64) *phones {
	return &phones{rnd: rand.New(rand.NewPCG(seed, 2)), got: map[string][]handedOver{}, troubled: map[string]bool{}, held: make(chan string, 1), spared: map[string]bool{}}
}

// hold keeps the next call of a life, and returns the verification that it is for. When the process is
// dead, nothing of that call has been sent.
func (p *phones) hold(t *testing.T, life string) (verification string) {
	t.Helper()
	p.mu.Lock()
	p.holding = life
	p.mu.Unlock()
	select {
	case verification = <-p.held:
	case <-time.After(patience):
		t.Fatalf("the server of life %s sends nothing", life)
	}
	return verification
}

func (p *phones) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m handedOver
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	io.Copy(io.Discard, r.Body) // to its end: only then is the caller's death noticed
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.Life == p.holding && m.Attempt == 1 {
		p.holding, p.spared[m.Verification] = "", true
		p.held <- m.Verification
		p.mu.Unlock()
		<-r.Context().Done()
		p.mu.Lock()
		return
	}
	if p.slow > 0 {
		wait := time.Duration(p.rnd.Int64N(int64(p.slow)))
		p.mu.Unlock()
		time.Sleep(wait)
		p.mu.Lock()
		if r.Context().Err() != nil {
			return // whoever called was killed: nothing was sent
		}
	}
	fate := p.rnd.IntN(20)
	if p.spared[m.Verification] {
		fate = 19
	}
	if fate <= 1 {
		p.troubled[m.Verification] = true
	}
	m.at = time.Now()
	if fate == 0 {
		w.WriteHeader(answerFailed)
		return
	}
	p.got[m.Verification] = append(p.got[m.Verification], m)
	if fate == 1 {
		w.WriteHeader(answerLost)
	}
}

func (p *phones) messages(id string) []handedOver {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]handedOver(nil), p.got[id]...)
}

var sixDigits = regexp.MustCompile(`\d{6}$`)

func (p *phones) code(id string) string {
	if all := p.messages(id); len(all) > 0 {
		return sixDigits.FindString(all[0].Body)
	}
	return ""
}

// A promise is what the server has said of one verification, and what it may have done unheard.
type promise struct {
	id             string
	to             string
	keyed          bool // by /v1, where each request has a key: the client asks until it hears what came of it
	at             time.Time
	wrong, unheard int // guesses
	keys           int // of guesses
	approved       int
}

// crowd drives servers that are killed again and again.
type crowd struct {
	t       *testing.T
	phones  *phones
	servers []atomic.Pointer[process]
	stored  func() map[string]storedVerification
	number  atomic.Int64
	turn    atomic.Int64

	started, guessed, approved atomic.Int64 // that were answered so
	asked, found, differed     atomic.Int64 // requests with a key: all, those answered to a later try, and those whose twin got another answer

	mu       sync.Mutex // guards what follows
	promises []*promise
	slowest  time.Duration           // until a request with a key was answered, with all its tries
	refused  map[string]unheardStart // by number
	killed   map[*process]time.Time
}

// An unheardStart is a start that a server answered with 503: nobody knows of a verification.
type unheardStart struct {
	by *process
	at time.Time
}

// kill ends a server as a power cut would.
func (c *crowd) kill(i int) {
	p := c.servers[i].Load()
	p.kill()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed[p] = time.Now()
}

func newCrowd(t *testing.T, seed uint64, servers int) *crowd {
	return &crowd{
		t: t, phones: newPhones(seed), servers: make([]atomic.Pointer[process], servers),
		refused: map[string]unheardStart{}, killed: map[*process]time.Time{},
	}
}

const (
	crashAttempts = 4
	crashClients  = 6
	crashKills    = 20
)

func TestKilledServerKeepsItsPromises(t *testing.T) {
	t.Parallel()
	kills := testsize.Times(crashKills)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))

	data := t.TempDir()
	c := newCrowd(t, seed, 1)
	c.stored = func() map[string]storedVerification { return readVerifications(t, data) }
	receiver := httptest.NewServer(c.phones)
	defer receiver.Close()
	life := 0
	start := func() {
		life++
		c.servers[0].Store(startDev(t, []string{
			runAs + "=" + crashRole, crashPhoneURL + "=" + receiver.URL, fmt.Sprintf("%s=%d", crashLife, life), crashAnswers + "=5ms",
		}, "--data", data, "--project", "crash", "--token", "crash-test-token"))
	}

	start()
	stop := c.drive(seed)
	for range kills {
		c.live(rnd)
		c.kill(0)
		start()
	}
	c.await(func() bool { return c.guessed.Load() >= int64(kills) && c.approved.Load() > 0 })
	stop()
	c.settle()
	c.judge(kills)
	if err := c.servers[0].Load().stop(); err != nil {
		t.Errorf("the last server's end: %v", err)
	}
	countedRight(t, data, store.Options{})
}

// countedRight demands that the usage that was counted is what is stored, after whatever happened.
func countedRight(t *testing.T, data string, o store.Options) {
	t.Helper()
	st, err := system.OpenStore(t.Context(), data, o)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Recount(t.Context(), time.Time{}, func(k verify.UsageKey, counted, again verify.Usage) {
		t.Errorf("usage of %+v: counted %+v, and stored is %+v", k, counted, again)
	}); err != nil {
		t.Fatal(err)
	}
	rows, err := st.Usage(t.Context(), verify.UsageQuery{Until: time.Now().Add(48 * time.Hour)})
	if err != nil || len(rows) != 1 || rows[0].Messages == 0 || rows[0].Approved == 0 {
		t.Errorf("usage: got %+v, %v, want one row with messages and approvals", rows, err)
	}
}

// promised reports whether a client was told of a verification.
func (c *crowd) promised(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.promises, func(p *promise) bool { return p.id == id })
}

// drive lets clients in, until stop is called.
func (c *crowd) drive(seed uint64) (stop func()) {
	done := make(chan struct{})
	var clients sync.WaitGroup
	for i := range crashClients {
		clients.Go(func() { c.client(rand.New(rand.NewPCG(seed, uint64(100+i))), done) })
	}
	return func() {
		close(done)
		clients.Wait()
	}
}

// server is one of them after the other.
func (c *crowd) server() *process {
	return c.servers[int(c.turn.Add(1))%len(c.servers)].Load()
}

// client starts verifications and guesses at its own, until done is closed.
func (c *crowd) client(rnd *rand.Rand, done chan struct{}) {
	var mine []*promise
	for {
		select {
		case <-done:
			return
		default:
		}
		if len(mine) == 0 || rnd.IntN(3) == 0 {
			if p := c.start(); p != nil {
				mine = append(mine, p)
			}
			continue
		}
		p := mine[rnd.IntN(len(mine))]
		switch code := c.phones.code(p.id); {
		case code == "":
		case rnd.IntN(2) == 0:
			c.guess(p, code)
		default:
			c.guess(p, wrong(code))
		}
	}
}

func wrong(code string) string {
	return string('0'+(code[0]-'0'+1)%10) + code[1:]
}

func (c *crowd) start() *promise {
	n := c.number.Add(1)
	to := fmt.Sprintf("+1202%07d", 3000000+n)
	if n%2 == 0 {
		return c.startOnce(to)
	}
	by := c.server()
	resp, body, err := by.post("sms", fmt.Sprintf(`{"to":%q,"max_attempts":%d}`, to, crashAttempts))
	if err == nil && resp.StatusCode == http.StatusServiceUnavailable {
		c.mu.Lock()
		c.refused[to] = unheardStart{by, time.Now()}
		c.mu.Unlock()
	}
	if err != nil || resp.StatusCode != 200 {
		return nil // nothing was promised
	}
	var answer struct{ ID string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		c.t.Errorf("start answered %s", body)
		return nil
	}
	return c.promise(&promise{id: answer.ID, to: to, at: time.Now()})
}

func (c *crowd) promise(p *promise) *promise {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.promises = append(c.promises, p)
	c.started.Add(1)
	return p
}

// startOnce starts one by /v1, as a client does that asks again until it gets an answer.
func (c *crowd) startOnce(to string) *promise {
	status, body := c.insist("start-"+to, "verifications", fmt.Sprintf(`{"to":%q,"max_attempts":%d}`, to, crashAttempts))
	var answer struct{ ID string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusCreated {
		c.t.Errorf("start answered %d %s", status, body)
		return nil
	}
	return c.promise(&promise{id: answer.ID, to: to, at: time.Now(), keyed: true})
}

// insist sends a request of /v1 until it is answered, and once more: the answer must be the same.
func (c *crowd) insist(key, path, body string) (status int, answer string) {
	c.asked.Add(1)
	began := time.Now()
	for tries := 0; time.Since(began) < patience; tries++ {
		resp, text, err := c.server().postOnce(key, path, body)
		if err != nil || resp.StatusCode >= 500 || resp.StatusCode == http.StatusConflict {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if answer != "" {
			if resp.StatusCode != status || text != answer {
				c.differed.Add(1)
				c.t.Errorf("%s: a request was answered %d %s, its twin %d %s", path, status, answer, resp.StatusCode, text)
			}
			return status, answer
		}
		if tries > 0 {
			c.found.Add(1)
		}
		status, answer = resp.StatusCode, text
		c.mu.Lock()
		c.slowest = max(c.slowest, time.Since(began))
		c.mu.Unlock()
	}
	c.t.Errorf("%s isn't answered", path)
	return 0, ""
}

// guess is only called by the promise's own client.
func (c *crowd) guess(p *promise, token string) {
	if p.keyed {
		c.guessOnce(p, token)
		return
	}
	resp, body, err := c.server().post(p.id+"/verify", fmt.Sprintf(`{"token":%q}`, token))
	switch {
	case err != nil || resp.StatusCode >= 500:
		p.unheard++
	case body == `{"success":false}`:
		p.wrong++
		c.guessed.Add(1)
	case body == `{"success":true}`:
		p.approved++
		c.guessed.Add(1)
		c.approved.Add(1)
	case resp.StatusCode != 404:
		c.t.Errorf("guess answered %d %s", resp.StatusCode, body)
	}
}

func (c *crowd) guessOnce(p *promise, token string) {
	status, body := c.insist(fmt.Sprintf("guess-%s-%d", p.id, p.keys), "verifications/"+p.id+"/check", fmt.Sprintf(`{"code":%q}`, token))
	p.keys++
	var answer struct {
		Valid  bool
		Reason string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		c.t.Errorf("guess answered %d %s", status, body)
		return
	}
	switch {
	case answer.Valid:
		p.approved++
		c.guessed.Add(1)
		c.approved.Add(1)
	case answer.Reason == "wrong_code":
		p.wrong++
		c.guessed.Add(1)
	}
}

// await lets the clients go on until they have done enough to show something.
func (c *crowd) await(enough func() bool) {
	c.t.Helper()
	if !within(patience, enough) {
		c.t.Fatalf("the clients don't get on: %d starts, %d guesses, %d approvals", c.started.Load(), c.guessed.Load(), c.approved.Load())
	}
}

// live lets the clients go on, after another start, for as long as chance says.
func (c *crowd) live(rnd *rand.Rand) {
	c.t.Helper()
	before := c.started.Load()
	c.await(func() bool { return c.started.Load() > before })
	time.Sleep(time.Duration(rnd.Int64N(int64(400 * time.Millisecond))))
}

// settle waits until every message that was promised has come to an end: until the leases of the
// killed servers are over, at the latest.
func (c *crowd) settle() {
	open := 0
	if !within(patience, func() bool {
		queued, sending := underWay(c.stored())
		open = queued + sending
		return open == 0
	}) {
		c.t.Errorf("%d messages are still open", open)
	}
}

// underWay counts the messages that haven't come to an end.
func underWay(all map[string]storedVerification) (queued, sending int) {
	for _, v := range all {
		switch verify.DeliveryState(v.delivery) {
		case verify.DeliveryQueued:
			queued++
		case verify.DeliverySending:
			sending++
		}
	}
	return queued, sending
}

// judge compares what was said with what is.
func (c *crowd) judge(kills int) {
	t, rows := c.t, c.stored()
	var lost, uncounted, twice, forgotten, duplicates, excess, guesses, approvals int
	for _, p := range c.promises {
		row, ok := rows[p.id]
		if !ok {
			lost++
			t.Errorf("%s: an acknowledged start is gone", p.id)
			continue
		}
		guesses += p.wrong + p.approved
		approvals += p.approved
		if heard := p.wrong + p.approved; row.guesses < heard || row.guesses > heard+p.unheard {
			uncounted++
			t.Errorf("%s: %d guesses are stored; %d were answered, %d got no answer", p.id, row.guesses, heard, p.unheard)
		}
		if row.guesses > crashAttempts {
			t.Errorf("%s: %d guesses, more than %d", p.id, row.guesses, crashAttempts)
		}
		if p.approved > 1 || p.approved == 1 && row.status != int(verify.StatusApproved) {
			twice++
			t.Errorf("%s: approved %d times, stored as %d", p.id, p.approved, row.status)
		}
		messages := c.phones.messages(p.id)
		if len(messages) == 0 && row.delivery != int(verify.DeliveryFailed) {
			forgotten++
			t.Errorf("%s: promised, not handed over, and its delivery is %d (%s)", p.id, row.delivery, row.reason)
		}
		perLife := map[string]int{}
		for _, m := range messages {
			perLife[m.Life]++
			if m.ID != messages[0].ID || m.Body != messages[0].Body {
				t.Errorf("%s: a duplicate differs: %+v, %+v", p.id, messages[0], m)
			}
			if perLife[m.Life] > 1 {
				excess++
				t.Errorf("%s: sent %d times in one life of the server", p.id, perLife[m.Life])
			}
		}
		duplicates += max(0, len(messages)-1)
	}
	ghosts, twins := c.ghosts(), c.twins(rows)
	if len(c.promises) < kills || guesses < kills || approvals == 0 {
		t.Errorf("%d starts, %d guesses, %d approvals: too few to show anything", len(c.promises), guesses, approvals)
	}
	// What was approved stays so, and every other one still follows its rules.
	for _, p := range c.promises {
		code, before := c.phones.code(p.id), *p
		if code == "" {
			continue
		}
		c.guessOnce(p, code) // a busy server may answer 503
		switch row := rows[p.id]; {
		case row.status != int(verify.StatusPending) && p.approved != before.approved:
			twice++
			t.Errorf("%s: an ended verification was approved", p.id)
		case row.status == int(verify.StatusPending) && p.approved != 1:
			lost++
			t.Errorf("%s: a pending verification refuses its code: before the guess %+v, after it %+v", p.id, before, *p)
		}
	}
	t.Logf("%d kills, %d starts, %d guesses, %d approvals: starts lost %d, guesses un-counted %d, codes accepted twice %d, messages forgotten %d, duplicates %d (more than one a crash: %d), ghosts %d; of %d requests with a key %d were answered to a later try, twins carried out %d, answered otherwise %d",
		kills, len(c.promises), guesses, approvals, lost, uncounted, twice, forgotten, duplicates, excess, ghosts, c.asked.Load(), c.found.Load(), twins, c.differed.Load())
}

// twins demands that each start with a key made one verification, and returns how many more there are.
func (c *crowd) twins(rows map[string]storedVerification) (more int) {
	made := map[string]int{}
	for _, row := range rows {
		made[row.to]++
	}
	for _, p := range c.promises {
		if n := made[p.to]; p.keyed && n != 1 {
			more += n - 1
			c.t.Errorf("%s: one start with a key made %d verifications", p.id, n)
		}
	}
	return more
}

// ghosts demands that nobody got a message of a start that was refused, and returns how many did. A server
// that is killed soon after it refused may not have had the time to cancel what it didn't know of.
func (c *crowd) ghosts() (n int) {
	c.phones.mu.Lock()
	defer c.phones.mu.Unlock()
	for _, all := range c.phones.got {
		r, ok := c.refused[all[0].To]
		if killed := c.killed[r.by]; !ok || !killed.IsZero() && killed.Sub(r.at) < 10*time.Second {
			continue
		}
		n++
		c.t.Errorf("%s: its start was refused, and it got a message %v later", all[0].Verification, all[0].at.Sub(r.at))
	}
	return n
}

// storedVerification is what the database says, read beside the server.
type storedVerification struct {
	status, guesses, delivery int
	reason, to                string
}

// readVerifications reads those of a data folder.
func readVerifications(t *testing.T, data string) map[string]storedVerification {
	t.Helper()
	return allVerifications(t, "sqlite", "file:"+filepath.Join(data, system.DatabaseFile)+"?_pragma=query_only(1)&_pragma=busy_timeout(5000)")
}

func allVerifications(t *testing.T, driver, name string) map[string]storedVerification {
	t.Helper()
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT id, status, guesses, delivery, reason, destination FROM verification")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]storedVerification{}
	for rows.Next() {
		var id []byte
		var v storedVerification
		if err := rows.Scan(&id, &v.status, &v.guesses, &v.delivery, &v.reason, &v.to); err != nil {
			t.Fatal(err)
		}
		all[verify.ID(id).String()] = v
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
