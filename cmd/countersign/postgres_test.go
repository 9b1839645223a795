package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// Three replicas of the real program on one PostgreSQL.

const replicas = 3

// installOn follows the example configuration, with a database. more are lines of that section. Its servers are patient.
func installOn(t *testing.T, databaseURL string, more ...string) *installation {
	t.Helper()
	return install(t, theProgram(t), func(text string) string {
		section := "\n  url: " + strconv.Quote(databaseURL) + "\n"
		for _, line := range append([]string{patiently}, more...) {
			text = setLine(text, line)
		}
		return strings.Replace(text, "\n  url: \"\"\n", section, 1)
	})
}

// connect has the configuration name another database, and a schema of it.
func (in *installation) connect(databaseURL, schema string) {
	in.t.Helper()
	config := filepath.Join(in.dir, "countersign.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		in.t.Fatal(err)
	}
	for key, value := range map[string]string{"url": databaseURL, "schema": schema} {
		at := regexp.MustCompile(`(?m)^  ` + key + `: .*$`).FindIndex(text) // the first is that of the section database
		text = slices.Concat(text[:at[0]], []byte("  "+key+": "+strconv.Quote(value)), text[at[1]:])
	}
	if err := os.WriteFile(config, text, 0o644); err != nil {
		in.t.Fatal(err)
	}
}

// How long the servers of a test wait for PostgreSQL. With the example's 750 ms, a busy machine would look like a database
// that is away.
const (
	patiently = "timeout: 10s" // the servers of most tests wait so long
	briefly   = "timeout: 3s"  // the servers of a test that takes the database away wait less, because they wait many times
)

// setLine replaces a line of the example's section database.
func setLine(text, line string) string {
	key, _, _ := strings.Cut(line, ":")
	return regexp.MustCompile(`(?m)^  `+key+`: .*$`).ReplaceAllString(text, "  "+line)
}

// serveReplicas starts servers, after the limits on one number were lifted.
func (in *installation) serveReplicas(n int) (all []*process) {
	in.t.Helper()
	in.prepare("project", "policy", "--config", "countersign.yaml", in.project, "--send-burst", "0", "--send-daily", "0")
	for range n {
		all = append(all, in.serve())
	}
	return all
}

// startOn starts a verification, again for as long as it is told that the database is away, and
// returns its id and its code.
func startOn(in *installation, p *process, to string, attempts int) (id, code string) {
	in.t.Helper()
	if !within(patience, func() bool {
		resp, body, err := p.post("sms", fmt.Sprintf(`{"to":%q,"max_attempts":%d}`, to, attempts))
		if err != nil || resp.StatusCode != 200 && resp.StatusCode != 503 {
			in.t.Fatalf("start: got %v %s, %v", resp, body, err)
		}
		var started struct{ ID string }
		json.Unmarshal([]byte(body), &started) // an error has no id
		id = started.ID
		return resp.StatusCode == 200
	}) {
		in.t.Fatal("no start succeeds")
	}
	return id, sixDigits.FindString(in.receiver.message(in.t, id).Body)
}

// guessOn makes a guess and says what came of it in one word.
func guessOn(p *process, id, typed string) string {
	resp, body, err := p.post(id+"/verify", fmt.Sprintf(`{"token":%q}`, typed))
	switch {
	case err != nil:
		return err.Error()
	case resp.StatusCode == 200 && body == `{"success":true}`:
		return "right"
	case resp.StatusCode == 200 && body == `{"success":false}`:
		return "wrong"
	case resp.StatusCode == 404:
		return "gone"
	case resp.StatusCode == 429:
		return "wait"
	}
	return resp.Status
}

// guessBy does so by SignalWire's API, by /v1, and by /v1 with a key, in turn.
func guessBy(turn int, p *process, id, typed string) string {
	switch turn % 3 {
	case 0:
		return guessOn(p, id, typed)
	case 1:
		return guessOnce(p, verify.NewID(time.Now()).String(), id, typed)
	}
	return guessOnce(p, "", id, typed)
}

// guessAgainBy repeats guessBy while the server answers that the database is away. A guess whose answer was lost may count as well.
func guessAgainBy(turn int, p *process, id, typed string) (got string) {
	return unlessAway(func() string { return guessBy(turn, p, id, typed) })
}

// unlessAway repeats a guess while the server answers that the database is away.
func unlessAway(guess func() string) (got string) {
	within(patience, func() bool {
		got = guess()
		return got != "503 Service Unavailable"
	})
	return got
}

// guessSurely makes one guess, and asks again for as long as it is told that the database is away.
// The key makes all of them the same guess, also when only the answer got lost.
func guessSurely(p *process, id, typed string) (got string) {
	key := verify.NewID(time.Now()).String()
	return unlessAway(func() string { return guessOnce(p, key, id, typed) })
}

// guessOnce makes a guess by /v1. An empty key is none.
func guessOnce(p *process, key, id, typed string) string {
	resp, body, err := p.postOnce(key, "verifications/"+id+"/check", fmt.Sprintf(`{"code":%q}`, typed))
	if err != nil {
		return err.Error()
	}
	var r struct {
		Valid  bool
		Reason string
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return body
	}
	switch {
	case resp.StatusCode == 429:
		return "wait"
	case resp.StatusCode != 200:
		return resp.Status
	case r.Valid:
		return "right"
	case r.Reason == "wrong_code":
		return "wrong"
	}
	return "gone"
}

// One verification is guessed at by both APIs and at all replicas.
func TestReplicasRaceForGuessesAndCodes(t *testing.T) {
	t.Parallel()
	in := installOn(t, storetest.Lent(t))
	raceForGuesses(t, in, in.serveReplicas(replicas), 30)
}

// raceForGuesses guesses at verifications at all replicas, as many times in parallel, wrong and then right.
func raceForGuesses(t *testing.T, in *installation, servers []*process, parallel int) {
	t.Helper()
	var overLimit, approvedTwice atomic.Int64
	race := func(round int, typed func(code string) string, attempts int) map[string]int {
		id, code := startOn(in, servers[round%replicas], newNumber(), attempts)
		var mu sync.Mutex // guards answers
		answers := map[string]int{}
		var all sync.WaitGroup
		for i := range parallel {
			all.Go(func() {
				answer := guessBy(i/replicas, servers[i%replicas], id, typed(code))
				mu.Lock()
				defer mu.Unlock()
				answers[answer]++
			})
		}
		all.Wait()
		return answers
	}
	for round := range testsize.Times(20) {
		attempts := 1 + round%20
		got := race(round, wrong, attempts)
		if got["wrong"] != attempts || got["gone"] != parallel-attempts {
			overLimit.Add(1)
			t.Errorf("%d attempts: got %v, want as many wrong and the rest gone", attempts, got)
		}
		got = race(round, func(code string) string { return code }, 20)
		if got["right"] != 1 || got["gone"] != parallel-1 {
			approvedTwice.Add(1)
			t.Errorf("right code: got %v, want 1 right and the rest gone", got)
		}
	}
	t.Logf("%d races of %d guesses each over %d replicas: over-limit %d, double success %d", 2*testsize.Times(20), parallel, replicas, overLimit.Load(), approvedTwice.Load())
}

// guesses is what a caller may see of one verification, written down a second time.
var guesses = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[string][]porcupine.Operation{}
		for _, op := range history {
			id := op.Input.([2]string)[0]
			parts[id] = append(parts[id], op)
		}
		var all [][]porcupine.Operation
		for _, p := range parts {
			all = append(all, p)
		}
		return all
	},
	Init: func() any { return 0 }, // wrong guesses so far; linearAttempts: it has ended
	Step: func(state, input, output any) (bool, any) {
		spent, typed := state.(int), input.([2]string)[1]
		switch {
		case spent == linearAttempts:
			return output == "gone", spent
		case typed == "right":
			return output == "right", linearAttempts
		}
		return output == "wrong", spent + 1
	},
}

const linearAttempts = 3

func TestReplicasAreLinearizable(t *testing.T) {
	t.Parallel()
	in := installOn(t, storetest.Lent(t))
	servers := in.serveReplicas(replicas)
	var clock atomic.Int64
	var mu sync.Mutex // guards history
	var history []porcupine.Operation
	var all sync.WaitGroup
	for v := range testsize.Times(60) {
		id, code := startOn(in, servers[v%replicas], newNumber(), linearAttempts)
		for client := range 2 * replicas {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(v), uint64(client)))
				for range 2 {
					word, typed := "wrong", wrong(code)
					if r.IntN(3) == 0 {
						word, typed = "right", code
					}
					op := porcupine.Operation{ClientId: client, Input: [2]string{id, word}, Call: clock.Add(1)}
					op.Output = guessBy(v+client, servers[client%replicas], id, typed)
					op.Return = clock.Add(1)
					mu.Lock()
					history = append(history, op)
					mu.Unlock()
				}
			})
		}
		if v%10 == 9 {
			all.Wait()
		}
	}
	all.Wait()
	if got := porcupine.CheckOperationsTimeout(guesses, history, time.Minute); got != porcupine.Ok {
		answers := map[string]int{}
		for _, op := range history {
			answers[op.Output.(string)]++
		}
		t.Fatalf("%d guesses: %s, want %s; the answers were %v", len(history), got, porcupine.Ok, answers)
	}
	t.Logf("%d guesses on %d verifications: illegal 0", len(history), testsize.Times(60))

	// One answer that is wrong must be noticed.
	for i := range history {
		if history[i].Output == "gone" {
			history[i].Output = "right"
			break
		}
	}
	if got := porcupine.CheckOperationsTimeout(guesses, history, time.Minute); got != porcupine.Illegal {
		t.Errorf("with an answer changed: %s, want %s", got, porcupine.Illegal)
	}
}

// storedIn reads all verifications of a PostgreSQL.
func storedIn(t *testing.T, databaseURL string) map[string]storedVerification {
	t.Helper()
	return allVerifications(t, "pgx", databaseURL)
}

// devReplica starts a development server whose messages go to the phones of the test.
func devReplica(t *testing.T, data, databaseURL, phones string, life int, env ...string) *process {
	t.Helper()
	return startDev(t, append(env,
		runAs+"="+crashRole, crashPhoneURL+"="+phones, fmt.Sprintf("%s=%d", crashLife, life),
	), "--data", data, "--database", databaseURL, "--project", "crash", "--token", "crash-test-token")
}

// Replicas are killed, and the database is shut down at once, while clients go on. The server's own
// default would acknowledge what isn't on disk.
func TestKilledReplicasAndDatabaseKeepTheirPromises(t *testing.T) {
	t.Parallel()
	killReplicas(t, onOnePostgres(t), conditions{})
}

// The same on machines whose clocks are far apart, with a database that is slow and an ocean away.
func TestKilledReplicasInBadConditionsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "takes minutes")
	killReplicas(t, onOnePostgres(t), conditions{
		network: time.Millisecond, commits: 300 * time.Millisecond, clocks: [replicas]time.Duration{0, 30 * time.Second, -30 * time.Second},
	})
}

// conditions are what replicas suffer beside being killed.
type conditions struct {
	network time.Duration           // how much longer each round trip to the database takes
	commits time.Duration           // how late each commit begins
	clocks  [replicas]time.Duration // how far each machine's clock is ahead
}

// A site is where the database of replicas is.
type site struct {
	url     string            // for the test
	wires   []*pgtest.Wire    // for the replicas, in turn
	ways    []string          // the URLs over these wires
	servers []*pgtest.Cluster // that are shut down, in turn
}

// way is the URL for one of the replicas.
func (s site) way(replica int) string { return s.ways[replica%len(s.ways)] }

func onOnePostgres(t *testing.T) site {
	t.Helper()
	cluster := pgtest.New(t, "synchronous_commit = off", "wal_writer_delay = 10s")
	wire, url := pgtest.NewWire(t, cluster), cluster.Database(t, "")
	return site{url, []*pgtest.Wire{wire}, []string{wire.URL(url)}, []*pgtest.Cluster{cluster}}
}

func killReplicas(t *testing.T, on site, in conditions) {
	t.Helper()
	kills, shutdowns := testsize.Times(5), testsize.Times(2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, wire := range on.wires {
		wire.Delay(in.network)
	}
	c := newCrowd(t, seed, replicas)
	c.stored = func() map[string]storedVerification { return storedIn(t, on.url) }
	c.phones.slow = 100 * time.Millisecond // so that there are calls under way when a replica dies
	receiver := httptest.NewServer(c.phones)
	defer receiver.Close()
	data, life, lives := t.TempDir(), 0, [replicas]int{}
	start := func(i int) {
		life++
		lives[i] = life
		c.servers[i].Store(devReplica(t, data, on.way(i), receiver.URL, life,
			crashCommits+"="+in.commits.String(), crashClock+"="+in.clocks[i].String()))
	}
	for i := range replicas {
		start(i)
	}
	stop := c.drive(seed)
	events := make([]bool, kills+shutdowns) // true: of the database
	for i := range shutdowns {
		events[i] = true
	}
	rnd.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	held, shut := false, 0
	for n, database := range events {
		c.live(rnd)
		if database {
			server := on.servers[shut%len(on.servers)]
			server.Kill(t)
			server.Start(t)
			shut++
			continue
		}
		// The first replica to die has a call under way, of which nothing is sent. Chance decides what the others
		// are doing. The first one must accept starts, and a replica whose clock is too far off doesn't.
		if !held && in.clocks[n%replicas] == 0 {
			held = true
			if id := c.phones.hold(t, fmt.Sprint(lives[n%replicas])); !within(patience, func() bool { return c.promised(id) }) {
				t.Errorf("%s: nobody was told that it was started", id)
			}
		}
		c.kill(n % replicas)
		start(n % replicas)
	}
	c.await(func() bool { return c.guessed.Load() >= int64(kills) && c.approved.Load() > 0 })
	stop()
	c.settle()
	c.judge(kills)
	c.judgeDelays()
	countedRight(t, data, store.Options{Postgres: &store.Postgres{URL: on.url, Writers: 1, Conns: 2, Timeout: 15 * time.Second}})
}

// leaseOfDev is how long a message may be with a replica before others may send it, and takeover how
// much later they do at most.
const (
	leaseOfDev = 20 * time.Second
	takeover   = 5 * time.Second
)

// judgeDelays demands that a dead replica's message was sent by another in time. Who claims one may die
// as well: each lost attempt costs a lease. On a busy machine, all takes as much longer as the slowest answer took.
func (c *crowd) judgeDelays() {
	c.phones.mu.Lock()
	defer c.phones.mu.Unlock()
	var slowest time.Duration
	taken, in := 0, leaseOfDev+takeover+c.slowest
	for _, p := range c.promises {
		all := c.phones.got[p.id]
		if len(all) == 0 || c.phones.troubled[p.id] {
			continue
		}
		delay, lost := all[0].at.Sub(p.at), all[0].Attempt-1
		if lost > 0 {
			taken++
			delay -= time.Duration(lost-1) * leaseOfDev
			slowest = max(slowest, delay)
		}
		if delay > in {
			c.t.Errorf("%s: its message came %v after its start, by attempt %d; want it in %v", p.id, all[0].at.Sub(p.at), lost+1, in)
		}
	}
	if taken == 0 {
		c.t.Error("no message of a dead replica was sent by another: this shows nothing")
	}
	c.t.Logf("messages of dead replicas that others sent: %d; the slowest %v after the lease was given; the slowest answer took %v", taken, slowest, c.slowest)
}

// A frozenPhones keeps the calls of one life waiting, then fails them.
type frozenPhones struct {
	life string
	held chan struct{} // a token for each call that is held
	let  chan struct{}

	mu  sync.Mutex // guards got
	got map[string][]handedOver
}

func (p *frozenPhones) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m handedOver
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.got[m.Verification] = append(p.got[m.Verification], m)
	p.mu.Unlock()
	if m.Life == p.life {
		p.held <- struct{}{}
		<-p.let
		w.WriteHeader(answerFailed) // which would have it sent again
	}
}

// A replica is frozen for longer than its lease while its carrier is slow: with calls under way, and
// with messages that wait. Others send all of them. When it is thawed, its calls fail and it has
// messages to send: it must change nothing, and send nothing.
func TestFrozenReplicaSettlesAndSendsNothing(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.Lent(t)
	phones := &frozenPhones{life: "1", held: make(chan struct{}, 1000), let: make(chan struct{}), got: map[string][]handedOver{}}
	receiver := httptest.NewServer(phones)
	defer receiver.Close()
	let := sync.OnceFunc(func() { close(phones.let) })
	defer let()
	data := t.TempDir()
	const calls, waiting = 8, 6 // few, so that the first call hasn't ended by itself when the replica freezes
	frozen := devReplica(t, data, databaseURL, receiver.URL, 1, fmt.Sprintf("%s=%d", crashCalls, calls))
	devReplica(t, data, databaseURL, receiver.URL, 2)
	devReplica(t, data, databaseURL, receiver.URL, 3)

	var starts sync.WaitGroup
	for range calls + waiting {
		starts.Go(func() {
			if resp, body, err := frozen.post("sms", fmt.Sprintf(`{"to":%q}`, newNumber())); err != nil || resp.StatusCode != 200 {
				t.Errorf("start: got %v %s, %v", resp, body, err)
			}
		})
	}
	if starts.Wait(); t.Failed() {
		return
	}
	for range calls {
		<-phones.held
	}
	frozen.standStill(t)
	sent := func() (n int) {
		for _, v := range storedIn(t, databaseURL) {
			if v.delivery == int(verify.DeliverySent) {
				n++
			}
		}
		return n
	}
	if !within(patience, func() bool { return sent() == calls+waiting }) {
		t.Errorf("others have sent %d messages, want %d", sent(), calls+waiting)
	}
	before := storedIn(t, databaseURL)
	if err := frozen.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	let()
	if err := frozen.stop(); err != nil { // it ends when it has nothing more to do
		t.Errorf("the thawed replica's end: %v", err)
	}
	after := storedIn(t, databaseURL)
	for id, v := range before {
		if after[id] != v {
			t.Errorf("%s: %+v before the thaw, %+v after", id, v, after[id])
		}
	}
	phones.mu.Lock()
	defer phones.mu.Unlock()
	first := 0
	for id, all := range phones.got {
		var lives []string
		for _, m := range all {
			lives = append(lives, m.Life)
		}
		if lives[0] == "1" {
			first, lives = first+1, lives[1:]
		}
		if len(lives) != 1 || lives[0] == "1" {
			t.Errorf("%s: sent by %v after the frozen one, want by one other", id, lives)
		}
	}
	if first != calls || len(phones.got) != calls+waiting {
		t.Errorf("the frozen replica sent %d of %d messages, want %d of %d", first, len(phones.got), calls, calls+waiting)
	}
}

// lossTime is how long the database is cut off.
func lossTime() time.Duration {
	if testsize.Long() {
		return time.Minute
	}
	return 12 * time.Second
}

// promised is what a request may take while the database is away, of a server that waits briefly: 2½ times as long.
const promised = 8 * time.Second

func (p *process) ready(t *testing.T) bool {
	t.Helper()
	resp, err := httpClient.Get(p.Ops + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode == 200
}

// metricOf reads a number of a server's.
func (p *process) metricOf(t *testing.T, name string) float64 {
	t.Helper()
	_, text := ask(t, p.Ops+"/metrics")
	m := regexp.MustCompile(`(?m)^` + name + ` (.*)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("there is no metric %s", name)
	}
	value, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestDatabaseThatIsCutOff(t *testing.T) {
	t.Parallel()
	direct := storetest.Lent(t)
	wire := pgtest.WireTo(t, direct)
	in := installOn(t, wire.URL(direct), briefly)
	p := in.serveReplicas(1)[0]

	// A slow wire is only slow, and a torn one heals.
	wire.Delay(40 * time.Millisecond)
	guessInTheEnd(in, p, direct)
	wire.Delay(0)
	for range testsize.Times(5) {
		wire.Tear()
		guessInTheEnd(in, p, direct)
	}

	id, code := startOn(in, p, newNumber(), 5)
	goroutines, files := p.metricOf(t, "go_goroutines"), p.metricOf(t, "process_open_fds")
	over := func() bool {
		lines := p.stderr.String()
		return strings.Count(lines, `"the database is away"`) == strings.Count(lines, `"the database is back"`)
	}
	if !within(patience, over) {
		t.Error("the log doesn't say that the torn wire is whole again")
	}
	before, messages, logged := len(storedIn(t, direct)), in.receiver.count(), len(p.stderr.String())
	wire.Cut(true)
	cut := time.Now()
	var asked, slow atomic.Int64
	var clients sync.WaitGroup
	for i := range 40 {
		clients.Go(func() {
			for time.Since(cut) < lossTime() {
				path, body := "sms", fmt.Sprintf(`{"to":%q}`, newNumber())
				if i%2 == 0 {
					path, body = id+"/verify", fmt.Sprintf(`{"token":%q}`, code)
				}
				began := time.Now()
				resp, text, err := p.post(path, body)
				asked.Add(1)
				if took := time.Since(began); took > promised {
					slow.Add(1)
					t.Errorf("%s took %v, want at most %v", path, took, promised)
				}
				if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
					t.Errorf("%s without a database: got %v %s, %v; want 503 with Retry-After", path, resp, text, err)
				}
			}
		})
	}
	if !within(20*time.Second, func() bool { return !p.ready(t) }) {
		t.Error("it says that it is ready")
	}
	clients.Wait()
	if got := len(storedIn(t, direct)); got != before {
		t.Errorf("%d verifications were started meanwhile", got-before)
	}
	if got := in.receiver.count(); got != messages {
		t.Errorf("%d messages were sent meanwhile", got-messages)
	}
	wire.Cut(false)
	if !within(patience, func() bool { return p.ready(t) }) {
		t.Fatal("it isn't ready again")
	}
	// All of that is one outage in the log, which is told once, then each minute, and once when it is over.
	if !within(patience, func() bool { return strings.Contains(p.stderr.String()[logged:], "the database is back") }) {
		t.Error("the log doesn't say that the database is back")
	}
	lines := p.stderr.String()[logged:]
	told := strings.Count(lines, `"level":"WARN"`) + strings.Count(lines, `"level":"ERROR"`)
	if most := 1 + int(time.Since(cut)/time.Minute); told < 1 || told > most {
		t.Errorf("the log has %d warnings and errors, want 1 to %d", told, most)
	}
	// Not one of those guesses came so far that it could be committed.
	if got := guessSurely(p, id, code); got != "right" {
		t.Errorf("the code afterwards: got %s, want right", got)
	}
	if !within(patience, func() bool {
		httpClient.CloseIdleConnections()
		return p.metricOf(t, "go_goroutines") < goroutines+20 && p.metricOf(t, "process_open_fds") < files+20
	}) {
		t.Errorf("goroutines and files: %v and %v, before %v and %v", p.metricOf(t, "go_goroutines"), p.metricOf(t, "process_open_fds"), goroutines, files)
	}
	t.Logf("cut for %v: %d requests, %d of them slower than %v", lossTime(), asked.Load(), slow.Load(), promised)
}

// guessInTheEnd has a code approved. A guess whose answer got lost may count; then the next one is
// told so.
func guessInTheEnd(in *installation, p *process, databaseURL string) {
	in.t.Helper()
	id, code := startOn(in, p, newNumber(), 5)
	lost, got := 0, ""
	within(patience, func() bool {
		got = guessOn(p, id, code)
		if away := got == "503 Service Unavailable"; away {
			lost++
			return false
		}
		return true
	})
	var row storedVerification
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		in.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT status, guesses FROM verification WHERE encode(id, 'hex') = replace($1, '-', '')`, id).Scan(&row.status, &row.guesses); err != nil {
		in.t.Fatal(err)
	}
	if got != "right" && !(got == "gone" && lost > 0) || row.status != int(verify.StatusApproved) || row.guesses != 1 {
		in.t.Errorf("guess: got %s after %d answers that got lost, and %+v is stored; want it approved by one guess", got, lost, row)
	}
}

// count is how many messages have arrived.
func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// The standby that is promoted hasn't got the last commits. The replicas find it by themselves.
func TestPromotedStandbyAcceptsNoUsedCode(t *testing.T) {
	t.Parallel()
	primary := pgtest.New(t)
	u, err := url.Parse(primary.Database(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	standby := primary.Standby(t)
	hosts := func(c *pgtest.Cluster) string {
		v, err := url.Parse(c.URL("x"))
		if err != nil {
			t.Fatal(err)
		}
		return v.Query().Get("host")
	}
	q := u.Query()
	q.Set("host", hosts(primary)+","+hosts(standby))
	u.RawQuery = q.Encode()
	in := installOn(t, u.String())
	servers := in.serveReplicas(replicas)

	failOver(t, in, servers, failover{primary, standby, standby.URL(strings.TrimPrefix(u.Path, "/")), func() {}})
}

// A failover is one to a standby that lacks the last commits.
type failover struct {
	primary, standby *pgtest.Cluster
	onStandby        string // the URL of the database there
	announce         func() // tells others of the new primary
}

func failOver(t *testing.T, in *installation, servers []*process, f failover) {
	t.Helper()
	type made struct{ id, code string }
	var used, unused []made
	for i := range 12 {
		id, code := startOn(in, servers[i%replicas], newNumber(), 5)
		if i%2 == 0 {
			used = append(used, made{id, code})
		} else {
			unused = append(unused, made{id, code})
		}
	}
	// They are there, the guesses aren't.
	if !within(patience, func() bool {
		there := storedIn(t, f.onStandby)
		return !slices.ContainsFunc(slices.Concat(used, unused), func(v made) bool { _, ok := there[v.id]; return !ok })
	}) {
		t.Fatal("the standby hasn't got the starts")
	}
	f.standby.Detach(t)
	for i, v := range used {
		if got := guessSurely(servers[i%replicas], v.id, v.code); got != "right" {
			t.Fatalf("guess: got %s, want right", got)
		}
	}
	f.primary.Kill(t)
	f.standby.Promote(t)
	f.announce()
	for id, v := range storedIn(t, f.onStandby) {
		if v.status != int(verify.StatusPending) {
			t.Fatalf("%s is %d on the standby: nothing was lost, so this shows nothing", id, v.status)
		}
	}
	for i, p := range servers {
		if !within(patience, func() bool { return p.ready(t) }) {
			t.Fatalf("replica %d isn't ready", i)
		}
	}
	for i, v := range slices.Concat(used, unused) {
		for n := range replicas {
			if got := guessSurely(servers[(i+n)%replicas], v.id, v.code); got != "gone" {
				t.Errorf("a code of before the failover: got %s, want gone", got)
			}
		}
	}
	// A new primary may be slow at first.
	id, code := startOn(in, servers[0], newNumber(), 5)
	if got := guessSurely(servers[1], id, code); got != "right" {
		t.Errorf("a code of after the failover: got %s, want right", got)
	}
}

// A next version's migration only adds. While this program runs, it must not mind.
func TestRunningProgramOutlivesTheNextMigration(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.Database(t)
	in := installOn(t, databaseURL)
	servers := in.serveReplicas(2)
	id, code := startOn(in, servers[0], newNumber(), 5)
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		`ALTER TABLE verification ADD COLUMN next_thing TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE destination ADD COLUMN next_thing BIGINT NOT NULL DEFAULT 0`,
		`ALTER TABLE project ADD COLUMN next_thing BIGINT NOT NULL DEFAULT 0`,
		`ALTER TABLE api_key ADD COLUMN next_thing BIGINT NOT NULL DEFAULT 0`,
		`ALTER TABLE application ADD COLUMN next_thing BIGINT NOT NULL DEFAULT 0`,
		`CREATE TABLE next_table (id BYTEA PRIMARY KEY)`,
		`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`,
	} {
		if _, err := db.Exec(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if got := guessSurely(servers[1], id, code); got != "right" {
		t.Errorf("a code of before the migration: got %s, want right", got)
	}
	for i := range 6 {
		id, code := startOn(in, servers[i%2], newNumber(), 5)
		if got := guessSurely(servers[(i+1)%2], id, code); got != "right" {
			t.Errorf("a code of after the migration: got %s, want right", got)
		}
	}
	late := in.binary("project", "list", "--config", "countersign.yaml")
	late.Dir = in.dir
	out, err := late.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("newer countersign")) {
		t.Errorf("a program that starts on the newer schema: got %v %s, want it refused", err, out)
	}
}

// What was under way on SQLite goes on, on PostgreSQL.
func TestMigrateMovesARunningInstallation(t *testing.T) {
	t.Parallel()
	migrateInto(t, pgtest.Database(t, ""), "")
}

// migrateInto moves a running installation into a schema. An empty name is the one that the user's search_path finds.
func migrateInto(t *testing.T, databaseURL, schema string) {
	t.Helper()
	in := install(t, theProgram(t), nil)
	p := in.serve()
	live, liveCode := startOn(in, p, newNumber(), 3)
	used, usedCode := startOn(in, p, newNumber(), 3)
	if got := guessSurely(p, live, wrong(liveCode)); got != "wrong" {
		t.Fatalf("guess: got %s, want wrong", got)
	}
	if got := guessSurely(p, used, usedCode); got != "right" {
		t.Fatalf("guess: got %s, want right", got)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	before := in.run("project", "show", "--config", "countersign.yaml", in.project)

	nowhere := in.binary("migrate", "--from", "sqlite:data", "--to", "postgres:countersign.yaml")
	nowhere.Dir = in.dir
	if out, err := nowhere.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("names no database.url")) {
		t.Errorf("migrate to a configuration without a database: got %v %s", err, out)
	}
	in.connect(databaseURL, schema)
	var moved struct {
		File   string
		Tables []struct {
			Table string
			Rows  int
		}
	}
	in.decode(&moved, "migrate", "--json", "--from", "sqlite:data", "--to", "postgres:countersign.yaml")
	rows := map[string]int{}
	for _, m := range moved.Tables {
		rows[m.Table] = m.Rows
	}
	if rows["verification"] != 2 || rows["delivery"] != 2 || rows["project"] != 1 || rows["api_key"] != 1 || moved.File != "data/countersign.db" {
		t.Errorf("migrate said %+v, want 2 verifications, 2 deliveries, 1 project and 1 key of data/countersign.db", moved)
	}
	if after := in.run("project", "show", "--config", "countersign.yaml", in.project); after != before {
		t.Errorf("the project: got %s, want %s", after, before)
	}
	if said := in.fails(1, "project", "list", "--data", "data"); !strings.Contains(said, "it has moved to the database ") {
		t.Errorf("a command on the file said %q, want that it has moved", said)
	}
	p = in.serve()
	for i, want := range []string{"wrong", "right", "gone"} {
		typed := liveCode
		if want == "wrong" {
			typed = wrong(liveCode)
		}
		if got := guessSurely(p, live, typed); got != want {
			t.Errorf("guess %d: got %s, want %s", i, got, want)
		}
	}
	if got := guessSurely(p, used, usedCode); got != "gone" {
		t.Errorf("a code that was used before: got %s, want gone", got)
	}
}

// standStill stops a process as it is, and waits until all of its threads have stopped: some go on for a moment.
func (p *process) standStill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if !within(patience, func() bool {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
		return err == nil && pid == p.cmd.Process.Pid && status.Stopped()
	}) {
		t.Fatal("the process doesn't stand still")
	}
}
