package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/porttest"
	"github.com/countersign/countersign/internal/testsize"
)

// notRun are the blocks that this test leaves out, by page and beginning, and why. There are no others.
var notRun = map[string]string{
	"docs/api.md: call() {":                        "TestTheProgramsOnTheAPIsPageVerifyANumber runs it",
	"docs/api.md: func main() {":                   "the same",
	"docs/api.md: import { createInterface }":      "the same",
	"docs/api.md: import os, requests":             "the same",
	"docs/api.md: <?php":                           "the same",
	"docs/api.md: client := &api.Client{":          "a part of the same program",
	"docs/api.md: npx openapi-typescript":          "it downloads from a registry; TestAGeneratedClientTellsEveryEndApart runs both generators as they are pinned",
	"docs/carriers.md: POST /carriers/gateway":     "the receiver's signature is of the moment; TestAReceiverReportsDelivery sends it",
	"docs/carriers.md: {\"carriers\":":             "the breakers of another day; the tests of internal/metric hold the fields",
	"docs/deploy.md: secret: countersign":          "the tests of deploy/check render the chart with it, and check the configuration",
	"docs/deploy.md: helm install":                 "the same; there is no Kubernetes",
	"docs/design.md:   HTTP":                       "a picture",
	"docs/design.md:               ┌── wrong":      "a picture",
	"docs/design.md:                      ┌───":    "a picture",
	"docs/operate.md: apt-get install":             "deploy/release/try-deb.sh installs the package in a Debian root",
	"docs/operate.md: createuser":                  "it asks for a password, and needs the machine's own PostgreSQL",
	"docs/operate.md: CREATE SCHEMA":               "it takes a user that may make no schema; TestASchemaThatTheRoleMayNotMake has it",
	"docs/scale.md: database:":                     "it takes two servers; TestOneServerOfTwoShards serves such a list",
	"docs/operate.md: this machine's clock":        "it takes a clock that is wrong; TestAClockThatIsWrongIsLoggedOnce has it",
	"docs/scale.md: countersign schema":            "it takes Citus; TestASchemaMovesUnderAServer moves a schema",
	"docs/scale.md: countersign project move":      "it takes two shards; TestProjectMoveIsKilledAndReplicasStandStill moves a project",
	"docs/performance.md: make bench":              "it takes hours",
	"docs/providers.md: auth:":                     "a part of an API's description; TestATokenIsAskedForOnce and TestASignatureOfACanonicalText have whole ones",
	"docs/providers.md: answers: text":             "the same; TestAnswersInOtherForms has a whole one",
	"docs/push.md: POST /device/v1/messages":       "a request without its headers; the tests of internal/face/device make it",
	"docs/push.md: object Authenticator":           "Kotlin; it takes an Android SDK",
	"docs/push.md: enum Authenticator":             "Swift; it takes Xcode",
	"docs/push.md: POST /v1/":                      "a request without its headers; the tests of internal/face/v1 and internal/face/device make it",
	"docs/push.md: {\"code\":":                     "its answer",
	"docs/push.md: {\"id\":":                       "the same",
	"docs/quickstart.md: make build":               "the program of this test stands for it",
	"docs/quickstart.md: export COUNTERSIGN_TOKEN": "it takes an account with Twilio; deploy/release/try-deb.sh verifies through a stand-in for it",
	"docs/voice.md: From: <sip:":                   "TestCallersAndNumbersAsTheTrunkWantsThem has it",
	"docs/voice.md: level=INFO":                    "it takes a trunk; TestOperatorTriesATrunk has one",
}

// readers say, by page, on which machine its blocks are run.
var readers = map[string]func(*reader){
	"README.md": readOfDev, "docs/api.md": readAPI, "docs/signalwire.md": readOfDev, "docs/simulator.md": readSimulator, "docs/syniverse.md": readSyniverse,
	"docs/carriers.md": readCarriers, "docs/console.md": readServed, "docs/operators.md": readOperators, "docs/money.md": readMoney, "docs/operate.md": readOperate,
	"docs/voice.md": readVoice, "docs/smpp.md": readSMPP, "docs/providers.md": readProviders, "docs/push.md": readPush,
	"docs/quickstart.md": readQuickstart, "docs/deploy.md": readDeploy,
}

// Each fenced block of the documentation is run, and compared with what is printed. The decisions are history.
func TestThePagesShowWhatHappens(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "runs all that the documentation shows, on ten servers")
	needProgram(t, "curl")
	left := map[string]bool{}
	for name, text := range pages(t) {
		all := blocksOf(name, text)
		if strings.HasPrefix(name, "docs/decisions/") || len(all) == 0 {
			continue
		}
		run := slices.DeleteFunc(all, func(b block) bool {
			out := false
			for k := range notRun {
				if strings.HasPrefix(b.page+": "+b.text, k) {
					left[k], out = true, true
				}
			}
			return out
		})
		if len(run) == 0 {
			continue
		}
		if readers[name] == nil {
			t.Errorf("%v: nobody runs it", run[0])
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			readers[name](r)
			for _, b := range run {
				r.read(b)
			}
			r.expectNothing()
		})
	}
	for k := range notRun {
		if !left[k] {
			t.Errorf("%s: no page has this block any more", k)
		}
	}
}

// readOfDev is on a development server, with the person's phone at its simulator.
func readOfDev(r *reader) { r.dev() }

func (r *reader) dev(args ...string) *process {
	p := startDev(r.t, nil, args...)
	r.instead["go run ./cmd/countersign dev"] = func() string { return p.greeting }
	r.is("http://127.0.0.1:8080", p.URL)
	r.is("TOKEN=…", "TOKEN="+p.Token)
	r.variables = "TOKEN=" + p.Token + " PROJECT=" + p.Project + "\n"
	arrived := func() string { return codeInBody.FindString(p.latest("+12025550100").Body) }
	r.isNow("685289", arrived)
	r.before["curl -s 'http://127.0.0.1:8080/simulator/messages?to=%2B12025550100'"] = func() { arrived() }
	return p
}

// latest waits until a number has a message, and returns its newest.
func (p *process) latest(to string) (m simMessage) {
	p.t.Helper()
	if !within(patience, func() bool {
		all := p.messages(to)
		if len(all) > 0 {
			m = all[0]
		}
		return len(all) > 0
	}) {
		p.t.Fatal("no message arrives")
	}
	return m
}

// started starts a verification over /v1, and returns its id.
func (p *process) startedV1(body string) string {
	p.t.Helper()
	resp, text, err := p.postOnce(uuid.NewString(), "verifications", body)
	var v struct{ ID string }
	if err != nil || resp.StatusCode != http.StatusCreated || json.Unmarshal([]byte(text), &v) != nil {
		p.t.Fatalf("%s: %s, %v", body, text, err)
	}
	return v.ID
}

var someID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

func readAPI(r *reader) {
	p := r.dev()
	var pending string
	next := func() { pending = p.startedV1(`{"to":"+12025550100","purpose":"login"}`) }
	r.isNow("01a20001-6a64-717b-aab1-8ad86b1658e8", func() string { return pending })
	r.isNow("ID=01a20001-6a64-717b-aab1-8ad86b1658e8", func() string { return "ID=" + someID.FindString(r.last) })
	r.before["curl -s -X POST"] = next
	r.refused["curl -s -X POST"] = "too_soon" // by 30 seconds
	r.before[`curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"to":"+12025550100","code":"685289","amount"`] = func() {
		p.startedV1(`{"to":"+12025550100","sender":"+12025550177","amount":"49.90 EUR","payee":"Example Shop"}`)
	}
	r.types("countersign verify", "685289", func() int { return len(p.messages("+12025550100")) })
	r.before["countersign verification list"] = next
	r.write("texts.json", `[{"text":"{code} is your code."}]`)
	r.refused["countersign verification resend"] = "too_soon"
	r.prints[`{"title":"Unprocessable Entity"`] = func() string {
		_, text, _ := p.postOnce(uuid.NewString(), "verifications", `{"to":"+12025550100","code_length":21}`)
		return text
	}
}

// types has the reader type the code of the message that a command causes. count says how many messages there are.
func (r *reader) types(command, code string, count func() int) {
	before := 0
	r.before[command] = func() { before = count() }
	r.typed[command] = func() string {
		within(patience, func() bool { return count() > before })
		return r.fill(code)
	}
}

func readSyniverse(r *reader) {
	p := r.dev("--data", filepath.Join(r.dir, "data"), "--project", "shop")
	r.is("http://127.0.0.1:8080", p.URL)
	r.isNow("APP=0351iJbCGvqKYCRj3rbdC5", func() string { return "APP=" + base62ID.FindStringSubmatch(r.last)[1] })
	code := func() string { return regexp.MustCompile(`\d{6}`).FindString(p.latest("+12025550142").Body) }
	r.isNow("641877", code)
	r.before["curl -s 'http://127.0.0.1:8080/simulator"] = func() { code() }
	r.takes[`{"id":"0351iJbCGvqKYCRj3rbdC5","name"`] = func(text string) { r.write("applications.jsonl", text) }
	r.takes["application,id,"] = func(text string) {
		r.write("users.csv", text)
		if text, err := r.countersign("syniverse", "import", "--data", "data", "--project", "shop", "--applications", "applications.jsonl", "--users", "users.csv").CombinedOutput(); err != nil {
			r.t.Errorf("the files of the page: %v, %s", err, text)
		}
	}
	r.is("--config countersign.yaml --project PROJECT", "--data data --project shop")
	r.is("--config countersign.yaml --project $PROJECT", "--data data --project shop")
	r.is(" APPLICATION", " 0351iJbCGvqKYCRj3rbdC5")
	r.prints[`{"list":[…],"total":2`] = func() string {
		p.mfa("POST", "applications", `{"name":"Another"}`)
		return paste(r.t, `curl -s -H "Authorization: Bearer `+p.Token+`" `+p.URL+"/mfa/v1/applications")
	}
}

func readSimulator(r *reader) {
	p := r.dev()
	p.startedV1(`{"to":"+12025550102","channel":"voice"}`)
	p.latest("+12025550102")
	r.prints["level=WARN"] = func() string {
		p.startedV1(`{"to":"+15550100001"}`)
		var line string
		if !within(patience, func() bool {
			line = regexp.MustCompile(`level=WARN msg="carrier failed".*`).FindString(p.stderr.String())
			return line != ""
		}) {
			r.t.Error("the log doesn't say that the carrier failed")
		}
		return line
	}
}

// receiverConfig is the configuration of a server that sends to a receiver of the test.
const receiverConfig = `public: {listen: "127.0.0.1:0"}
operations: {listen: "127.0.0.1:0"}
console: {listen: "127.0.0.1:0"}
public_sender: "+12025550199"
carriers:
  - {name: gateway, http: {url: RECEIVER, secret: {file: gateway.secret}}}
channels: {sms: [gateway], voice: [gateway]}
`

// A served is a reader's machine where a server runs as the page's configuration says.
type served struct {
	*installation
	*process
	refuses atomic.Bool // the receiver takes no message
	reader  *reader
}

// receives puts a receiver of the test into the configuration.
func (r *reader) receives() *served {
	r.t.Helper()
	in := &installation{t: r.t, dir: r.settings, binary: r.countersign, receiver: newReceiver(r.t)}
	s := &served{installation: in, reader: r}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if s.refuses.Load() {
			http.Error(w, "gone", http.StatusGone)
			return
		}
		in.receiver.ServeHTTP(w, req)
	}))
	r.t.Cleanup(front.Close)
	r.write("countersign.yaml", strings.ReplaceAll(r.config(), "RECEIVER", front.URL+"/messages"))
	in.run("secret", "create", "gateway.secret")
	secret, err := os.ReadFile(filepath.Join(r.settings, "gateway.secret"))
	if err != nil {
		r.t.Fatal(err)
	}
	in.receiver.secret = strings.TrimSpace(string(secret))
	return s
}

// serves makes the files that pages name, a project and a key. The server isn't started yet.
func (r *reader) serves(config string) *served {
	r.t.Helper()
	r.write("countersign.yaml", config)
	s := r.receives()
	in := s.installation
	in.run("keyset", "create", "keyset.json")
	for _, name := range []string{"twilio.secret", "smsc.secret", "database.password"} {
		r.write(name, "secret")
	}
	testCertificate(r.t, r.dir, "countersign")
	for name, as := range map[string]string{"tls.crt": "cert.pem", "tls.key": "key.pem"} {
		if err := os.Rename(filepath.Join(r.dir, name), filepath.Join(r.dir, as)); err != nil {
			r.t.Fatal(err)
		}
	}
	var made texts
	in.decode(&made, "project", "create", "--json", "My shop")
	in.project = made["id"]
	in.decode(&made, "key", "create", "--json", "--project", in.project, "--name", "web", "--scope", "verify:start", "--scope", "verify:check", "--scope", "read", "--scope", "applications", "--scope", "manage")
	in.token = made["token"]
	r.isNow(" PROJECT", func() string { return " " + in.project })
	r.variables = "PROJECT=" + in.project + "\n"
	r.isNow("http://127.0.0.1:8081", func() string { return s.Ops })
	return s
}

// start starts the server, or the next one.
func (s *served) start() { s.process = s.installation.serve() }

// sent starts a verification over SignalWire's API, and returns its id.
func (s *served) sent(to string) string {
	s.reader.t.Helper()
	id, text, err := s.installation.ask(s.process, "sms", fmt.Sprintf(`{"to":%q}`, to))
	if err != nil || id == "" {
		s.reader.t.Fatalf("%s, %v", text, err)
	}
	return id
}

// failed starts one that no carrier takes, and returns its id when that is so.
func (s *served) failed(to string) string {
	s.refuses.Store(true)
	defer s.refuses.Store(false)
	id := s.sent(to)
	if !within(patience, func() bool {
		return strings.Contains(s.installation.run("verification", "show", "--data", "data", id), "failed (refused)")
	}) {
		s.reader.t.Fatal("the message doesn't fail")
	}
	return id
}

func (s *served) guess(id, code string) {
	s.reader.t.Helper()
	if _, text, err := s.process.post(id+"/verify", fmt.Sprintf(`{"token":%q}`, code)); err != nil || !strings.Contains(text, "success") {
		s.reader.t.Fatalf("%s, %v", text, err)
	}
}

func readServed(r *reader) { readServing(r) }

func readOperators(r *reader) {
	readServing(r)
	r.write("oidc.secret", "secret")
}

// privateKey is a key in PEM, as providers hand out theirs.
func privateKey(t *testing.T, key any, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// readPush has the files that Google and Apple give.
func readPush(r *reader) {
	readServing(r)
	google, err := rsa.GenerateKey(rand.Reader, 2048)
	account, _ := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "shop-1", "client_email": "push@example.com", "private_key_id": "1",
		"private_key": privateKey(r.t, google, err), "token_uri": "https://oauth2.googleapis.com/token",
	})
	r.write("shop-1.json", string(account))
	apple, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r.write("AuthKey_ABC123DEFG.p8", privateKey(r.t, apple, err))
}

func readServing(r *reader) *served {
	s := r.serves(receiverConfig)
	s.start()
	var application texts
	_, text, err := s.postOnce(uuid.NewString(), "applications", `{"name":"shop"}`)
	if err == nil {
		err = json.Unmarshal([]byte(text), &application)
	}
	if err != nil || application["id"] == "" {
		r.t.Fatalf("%s, %v", text, err)
	}
	r.isNow(" APPLICATION", func() string { return " " + application["id"] })
	return s
}

func readVoice(r *reader) {
	readServing(r)
	r.keeps = true
	r.around["engine:"] = "carriers:\n  - name: trunk\n    sip:\n      "
}

func readSMPP(r *reader) {
	r.serves(receiverConfig)
	r.keeps = true
	r.around["      tlvs:"] = "carriers:\n  - name: smsc\n    smpp:\n"
	r.around["      reasons:"] = r.around["      tlvs:"]
}

func readProviders(r *reader) {
	r.serves(receiverConfig)
	r.write("gateway.api.yaml", "")
	r.keeps = true
	r.around["      api:"] = "carriers:\n  - name: own\n    provider:\n      account: shop\n      secret: {file: twilio.secret}\n"
	r.takes["channel: sms\nneeds:"] = func(text string) {
		r.write("gateway.api.yaml", text)
		if text, err := r.countersign("config", "check").CombinedOutput(); err != nil {
			r.t.Errorf("the API of the page: %v, %s", err, text)
		}
	}
	r.unchecked["      api:"] = true // until its file is there
}

func readMoney(r *reader) {
	s := r.serves(receiverConfig)
	r.keeps = true
	r.isNow(" shop", func() string { return " " + s.installation.project })
}

func readCarriers(r *reader) {
	s := r.serves(receiverConfig)
	url := regexp.MustCompile(`http://[^/]+/messages`).FindString(r.config())
	for _, name := range []string{"other", "last", "acme-bind", "calls"} {
		r.merge(map[string]any{"carriers": []any{map[string]any{"name": name, "http": map[string]any{"url": url, "secret": map[string]any{"file": "gateway.secret"}}}}})
	}
	r.merge(map[string]any{"public": map[string]any{"url": testPublicURL}, "failover": map[string]any{"sms": []any{"voice"}}})
	r.keeps = true
	r.before["countersign route explain"] = func() {
		r.merge(map[string]any{"carriers": []any{
			map[string]any{"name": "gateway", "costs": []any{map[string]any{"country": "US", "cost": 0.0079}}, "senders": []any{map[string]any{"country": "US", "from": []any{"72345"}}}},
			map[string]any{"name": "calls", "costs": []any{map[string]any{"cost": 0.02}}},
		}})
	}
	r.before["curl -s http://127.0.0.1:8081/carriers"] = s.start
	r.prints[`"status_url"`] = func() string {
		s.start()
		m := s.receiver.message(r.t, s.sent("+12025550100"))
		s.process.stop()
		url := strings.Replace(m.StatusURL, "/other/", "/gateway/", 1) // they take turns
		return fmt.Sprintf(`"status_url":%q,"status_token":%q`, url, m.StatusToken)
	}
	var reported sync.WaitGroup
	r.before["countersign carrier test"] = func() { reported.Go(s.reports) }
	r.after["countersign carrier test"] = reported.Wait
}

// fresh is another folder with a configuration and a database.
func (r *reader) fresh(config string) *reader {
	r.t.Helper()
	other := newReader(r.t)
	other.write("countersign.yaml", config)
	for _, args := range [][]string{{"keyset", "create", "keyset.json"}, {"secret", "create", "gateway.secret"}} {
		other.says(0, args...)
	}
	return other
}

// says runs the program, and returns all that it says.
func (r *reader) says(exit int, args ...string) string {
	r.t.Helper()
	cmd := r.countersign(args...)
	text, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != exit {
		r.t.Errorf("countersign %q: %v, %s", args, err, text)
	}
	return string(text)
}

func readOperate(r *reader) {
	database := pgtest.Database(r.t, "")
	s := r.serves(strings.Replace(receiverConfig, "channels: {sms: [gateway]", "  - {name: second, http: {url: RECEIVER, secret: {file: gateway.secret}}}\nchannels: {sms: [second, gateway]", 1))
	s.start()
	stop := func() { s.process.stop() }
	r.instead["countersign serve"] = func() string { return "" } // it does

	// Each story has a number of its own, of which the page shows the same digits.
	number, verification := "+12025550100", ""
	r.isNow("+12025550100", func() string { return number })
	r.before["countersign destination show --config countersign.yaml --project PROJECT --json"] = func() {
		id := s.failed(number)
		s.guess(id, "000000000")
		s.guess(id, "000000001")
	}
	stories := []func(){
		func() { // a person who is locked nearly
			number = "+12125550100"
			id := s.sent(number)
			code := codeInBody.FindString(s.receiver.message(r.t, id).Body)
			s.guess(id, otherThan(code))
			s.guess(id, code)
			id = s.failed(number)
			s.guess(id, "000000000")
			s.guess(id, "000000001")
		},
		func() { // one who got no code
			number = "+13125550100"
			verification = s.failed(number)
		},
	}
	r.before["countersign destination show --config countersign.yaml --project PROJECT +12025550100"] = func() {
		stories[0]()
		stories = stories[1:]
	}
	r.isNow("01a222b3-2d3a-7a50-8253-ab6f23e140e0", func() string { return verification })
	r.before["grep "] = func() { // the request, and two attempts with their ends
		log := ""
		within(patience, func() bool {
			log = s.stderr.String()
			return strings.Count(log, verification) >= 5
		})
		r.write("countersign.log", log)
	}

	r.prints["countersign: countersign.yaml: 4 errors"] = func() string {
		wrong := strings.NewReplacer(`"+12025550199"`, `"202-555"`, "name: gateway,", "name: gateway, concurrency: many,").Replace(receiverConfig)
		return r.fresh(strings.Replace(strings.ReplaceAll(wrong, "RECEIVER", "http://127.0.0.1:9"), "carriers:", "publik_sender: Shop\ncarriers:", 1)+"retention: 1h\n").says(2, "config", "check")
	}
	r.prints["countersign: open database data/countersign.db: its schema"] = func() string {
		newer := r.fresh(strings.ReplaceAll(receiverConfig, "RECEIVER", "http://127.0.0.1:9"))
		newer.says(0, "project", "create", "Shop")
		db, err := sql.Open("sqlite", filepath.Join(newer.dir, "data", "countersign.db"))
		if err == nil {
			_, err = db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
			db.Close()
		}
		if err != nil {
			r.t.Fatal(err)
		}
		return strings.ReplaceAll(newer.says(1, "project", "list"), newer.dir+"/", "")
	}

	// The move, and back.
	var file string
	r.before["countersign migrate --from"] = func() {
		stop()
		file = r.config()
		r.merge(map[string]any{"database": map[string]any{"url": database, "password": map[string]any{"file": ""}}})
	}
	r.prints["countersign: open database data/countersign.db: it has moved"] = func() string {
		return regexp.MustCompile(`the database \S+`).ReplaceAllString(r.says(1, "project", "list", "--data", "data"), "the database db1.example.com:5432/countersign")
	}
	r.after["countersign migrate --abort"] = func() {
		r.write("countersign.yaml", file)
		s.start()
	}
	r.before["mkdir old"] = stop
	r.after["countersign restore"] = s.start

	// Projects, each block its own.
	var story *installation
	project := func(args ...string) {
		story = &installation{t: r.t, dir: r.dir, binary: r.countersign}
		var made texts
		story.decode(&made, append([]string{"project", "create", "--json"}, args...)...)
		story.project = made["id"]
	}
	key := func() (id string) {
		var made texts
		story.decode(&made, "key", "create", "--json", "--project", story.project, "--name", "web")
		return made["id"]
	}
	project("My shop of many")
	r.isNow("--config countersign.yaml PROJECT", func() string { return "--config countersign.yaml " + story.project })
	r.isNow("--send-burst 3 PROJECT", func() string { return "--send-burst 3 " + story.project })
	r.isNow(" KEY", func() string { return " " + key() })
	for _, command := range []string{"countersign project delete", "countersign destination erase"} {
		r.is(command, command+" --yes") // it asks on a terminal only
	}
	r.after["countersign project delete"] = func() { project("My shop of today") }
	var application texts
	_, text, err := s.postOnce(uuid.NewString(), "applications", `{"name":"shop"}`)
	if err != nil || json.Unmarshal([]byte(text), &application) != nil {
		r.t.Fatalf("%s, %v", text, err)
	}
	r.isNow(" APPLICATION", func() string { return " " + application["id"] })
	r.before["countersign audit list"] = func() {
		project("My other shop")
		story.run("project", "policy", "--profile", "standard", "--country", "US", "--send-burst", "3", story.project)
		story.run("key", "revoke", key())
	}

	// The keyset's keys: the page's first and second.
	ids := func() []string {
		return regexp.MustCompile(`\d{5,}`).FindAllString(r.says(0, "keyset", "list", "keyset.json"), -1)
	}
	r.isNow("1037402704", func() string { return ids()[1] })
	r.before["countersign route weight"] = func() {
		url := regexp.MustCompile(`http://[^/]+/messages`).FindString(r.config())
		r.merge(map[string]any{
			"carriers": []any{map[string]any{"name": "other", "http": map[string]any{"url": url, "secret": map[string]any{"file": "gateway.secret"}}}},
			"routes":   []any{map[string]any{"carriers": []any{map[string]any{"name": "gateway", "weight": 1}, map[string]any{"name": "other", "weight": 1}}}},
		})
	}
	r.after["countersign country list"] = func() {
		r.says(0, "country", "allow", "LK")
		r.says(0, "carrier", "resume", "gateway")
		stop()
		s.start() // or it would do so within a second
	}
}

func readQuickstart(r *reader) {
	in := &installation{t: r.t, dir: r.dir, binary: r.countersign}
	s := &served{installation: in, reader: r}
	listens := func() {
		r.merge(map[string]any{"public": map[string]any{"listen": ":0"}, "operations": map[string]any{"listen": "127.0.0.1:0"}})
	}
	r.write("token.txt", "secret")
	r.instead["countersign serve"] = func() string { // with the configuration that init made
		listens()
		s.start()
		s.process.stop()
		r.dir, r.settings = filepath.Join(r.dir, "countersign"), filepath.Join(r.dir, "countersign") // as the page goes on
		in.dir = r.dir
		if err := os.Mkdir(r.dir, 0o700); err != nil {
			r.t.Fatal(err)
		}
		r.instead["countersign serve"] = func() string {
			s.start()
			return s.stderr.String()
		}
		return ""
	}
	r.after["countersign config check"] = listens
	r.isNow("PROJECT=9334c56c-2b47-4a40-a448-b154276a0634", func() string { return "PROJECT=" + someID.FindString(r.last) })
	token := ""
	r.after["countersign key create"] = func() { token = regexp.MustCompile(`cs_\S+`).FindString(r.last) }
	r.isNow("cs_ASIVlI-tbgvFDO5HJUKovRxCxX5ICb1isJ-3hLF49V8", func() string { return token })
	var received *lockedBuffer
	r.takes["// The receiver takes"] = func(source string) {
		porttest.Try(r.t, 1, func(port int) (err error) {
			addr := porttest.At(port)
			received, err = in.quickstartReceiver(strings.ReplaceAll(source, "127.0.0.1:9000", addr), addr)
			r.write("countersign.yaml", strings.ReplaceAll(r.config(), "127.0.0.1:9000", addr))
			return err
		})
	}
	r.instead["cd ~/countersign && go run receiver.go"] = func() string { return "" }
	r.isNow("http://127.0.0.1:8080", func() string { return s.URL })
	r.isNow("http://127.0.0.1:8081", func() string { return s.Ops })
	message := func() string {
		within(patience, func() bool { return strings.HasSuffix(received.String(), "}\n") })
		return received.String()
	}
	r.prints[`{"id":"ae5e293d`] = message
	r.isNow("913607", func() string { return regexp.MustCompile(`is: (\d+)`).FindStringSubmatch(message())[1] })
}

// readDeploy is a machine without systemd and Docker, whose folders are below the reader's. The commands that change
// the whole machine are left out, and the units' programs are started as the units say.
func readDeploy(r *reader) {
	needProgram(r.t, "caddy")
	database := pgtest.Database(r.t, "")
	data := filepath.Join(r.dir, "var/lib/countersign")
	for _, folder := range []string{"usr/local/bin", "etc/systemd/system", "etc/caddy"} {
		if err := os.MkdirAll(filepath.Join(r.dir, folder), 0o700); err != nil {
			r.t.Fatal(err)
		}
		r.is("/"+folder, filepath.Join(r.dir, folder))
	}
	deploy, err := filepath.Abs(filepath.Join(repository, "deploy"))
	if err == nil {
		err = os.Symlink(deploy, filepath.Join(r.dir, "deploy"))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.is("/var/lib/countersign", data)
	r.is("-o countersign -g countersign ", "")
	r.is("runuser -u countersign -- ", "")
	r.write("countersign", "the program")
	r.write("token.txt", "secret")
	r.write("password.txt", "secret")
	for _, command := range []string{
		"useradd", "apt-get", "systemctl daemon-reload", "systemctl reload caddy", // of the machine
		"createuser", "createdb", // the test makes one
		"kubectl create secret", // there is no Kubernetes
	} {
		r.instead[command] = func() string { return "" }
	}

	// The configuration that init made is for Twilio. From here on, the messages go to a receiver of the test.
	var s *served
	var token, operations string
	r.after["runuser -u countersign -- countersign init"] = func() {
		token = regexp.MustCompile(`cs_\S+`).FindString(r.last)
		if !strings.Contains(r.config(), "twilio") {
			r.t.Errorf("init made\n%s", r.config())
		}
		operations = porttest.Address(r.t)
		r.write("countersign.yaml", strings.Replace(receiverConfig, `operations: {listen: "127.0.0.1:0"}`, `operations: {listen: "`+operations+`"}`, 1))
		s = r.receives()
	}
	r.settings = data
	start := func() string {
		s.start()
		return ""
	}
	r.instead["systemctl enable --now countersign-backup.timer"] = func() string {
		unit, err := os.ReadFile(filepath.Join(r.dir, "etc/systemd/system/countersign-backup.service"))
		if err != nil {
			r.t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(data, "backups"), 0o700); err != nil { // StateDirectory
			r.t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^ExecStart(?:Post)?=(.*)$`).FindAllStringSubmatch(string(unit), -1) {
			line := strings.NewReplacer("%%", "%", data, "/var/lib/countersign", "/usr/local/bin/countersign", "countersign").Replace(m[1])
			r.run(block{page: "deploy/countersign-backup.service", text: line}, line)
		}
		if found, err := filepath.Glob(filepath.Join(data, "backups", "*.db")); err != nil || len(found) != 1 {
			r.t.Errorf("after the backup: got %q, %v, want one", found, err)
		}
		return ""
	}
	r.instead["systemctl enable --now countersign"] = start
	r.instead["systemctl start countersign"] = start
	r.instead["systemctl stop countersign"] = func() string { s.process.stop(); return "" }
	r.isNow("https://verify.example.com COUNTERSIGN_TOKEN=cs_…", func() string { return s.URL + " COUNTERSIGN_TOKEN=" + token })
	r.types("countersign verify", "CODE", func() int {
		s.receiver.mu.Lock()
		defer s.receiver.mu.Unlock()
		return len(s.receiver.got)
	})
	r.isNow("CODE", func() string {
		s.receiver.mu.Lock()
		defer s.receiver.mu.Unlock()
		return codeInBody.FindString(s.receiver.got[len(s.receiver.got)-1].Body)
	})
	r.before["runuser -u countersign -- countersign migrate"] = func() {
		r.merge(map[string]any{"database": map[string]any{"url": database}})
	}
	r.takes["reverse_proxy"] = func(text string) {
		r.write("Caddyfile", "verify.example.com {\n"+text+"}\n")
		if text, err := exec.Command("caddy", "adapt", "--adapter", "caddyfile", "--config", filepath.Join(r.settings, "Caddyfile")).CombinedOutput(); err != nil {
			r.t.Errorf("caddy: %v, %s", err, text)
		}
	}
}

// reports waits for a message of the test of a carrier, and reports that the phone has it.
func (s *served) reports() {
	var m receivedMessage
	if !within(patience, func() bool {
		s.receiver.mu.Lock()
		defer s.receiver.mu.Unlock()
		if len(s.receiver.got) > 0 {
			m = s.receiver.got[len(s.receiver.got)-1]
		}
		return m.To != "" && !strings.Contains(m.Body, "Code is")
	}) {
		s.reader.t.Error("no test message arrives")
		return
	}
	if status, err := s.report(s.process, m, "delivered"); err != nil || status != http.StatusOK {
		s.reader.t.Errorf("the report: %d, %v", status, err)
	}
}
