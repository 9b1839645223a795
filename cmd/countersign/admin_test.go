package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// ids and times differ each time.
var (
	anyID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	anyTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
)

func withoutIDs(text string) string {
	return anyTime.ReplaceAllString(anyID.ReplaceAllString(text, "ID"), "TIME")
}

// fails runs a command that must fail, and returns what it says.
func (in *installation) fails(wantExit int, args ...string) string {
	in.t.Helper()
	cmd := in.binary(args...)
	cmd.Dir = in.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	serves := time.AfterFunc(patience, func() { cmd.Process.Kill() }) // the program serves, though it should have refused
	defer serves.Stop()
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != wantExit || stdout.Len() > 0 {
		in.t.Errorf("countersign %s: got exit %d, %q\n%s\nwant exit %d", strings.Join(args, " "), got, &stdout, &stderr, wantExit)
	}
	return stderr.String()
}

// start starts a verification at a served installation and waits for its code.
func (in *installation) start(p *process, to string) (id, code string) {
	in.t.Helper()
	id, answer, err := in.ask(p, "sms", fmt.Sprintf(`{"to":%q}`, to))
	if err != nil || id == "" {
		in.t.Fatalf("start to %s: %s, %v", to, answer, err)
	}
	return id, codeInBody.FindString(in.receiver.message(in.t, id).Body)
}

// shownDestination is what programs are told of a number.
type shownDestination struct {
	Number        string
	WrongGuesses  int `json:"wrong_guesses"`
	Locked        bool
	WaitUntil     *time.Time `json:"wait_until"`
	Verifications []map[string]any
}

// An operator has a number erased while the server runs. Its codes work no more, and its guesses and messages still count.
func TestAnOperatorErasesANumber(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), nil)
	p := in.serve()
	const to = "+12025550141"
	erase := func(more ...string) []string {
		return append([]string{"destination", "erase", "--config", "countersign.yaml", "--project", in.project, to}, more...)
	}
	if said := in.fails(1, erase("--yes")...); !strings.Contains(said, "nothing is known of this number") || strings.Contains(said, to) {
		t.Errorf("before the first message: got %q", said)
	}
	id, code := in.start(p, to)
	p.want(p.check(id, otherThan(code)), 200, wrongBody)
	if said := in.fails(2, erase()...); !strings.Contains(said, "--yes: must be given") {
		t.Errorf("without a terminal: got %q", said)
	}
	said := in.run(erase("--yes")...)
	if want := "Erased +*******0141 in project"; !strings.HasPrefix(said, want) || !strings.Contains(said, ": verifications: 1, users who had the number: 0.\nIts wrong guesses and its messages of the last day still count.\n") {
		t.Errorf("got %q", said)
	}
	if a := p.check(id, code); a.status == 200 {
		t.Errorf("a right code afterwards: %s", a.body)
	}
	var told shownDestination
	in.decode(&told, "destination", "show", "--config", "countersign.yaml", "--project", in.project, "--json", to)
	if told.WrongGuesses != 1 || len(told.Verifications) != 0 {
		t.Errorf("afterwards: got %+v, want the wrong guess alone", told)
	}
	if log := in.run("audit", "list", "--config", "countersign.yaml"); !strings.Contains(log, "destination erase") || !strings.Contains(log, "+*******0141, verifications: 1, users: 0") {
		t.Errorf("the audit log:\n%s", log)
	}
}

// An operator looks at a number and clears it, while the server runs.
func TestAnOperatorResetsANumber(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), nil)
	p := in.serve()
	const to = "+12025550140"
	shop := []string{"--config", "countersign.yaml", "--project", in.project}
	destination := func(verb string, more ...string) []string {
		return append(append([]string{"destination", verb}, shop...), more...)
	}
	if said := in.fails(1, destination("show", to)...); !strings.Contains(said, "0140 in project "+in.project+": nothing is known of this number") || strings.Contains(said, to) {
		t.Errorf("show before the first message: got %q, want that nothing is known of the masked number", said)
	}
	if said := in.fails(1, destination("reset", to)...); !strings.Contains(said, "nothing is known of this number") {
		t.Errorf("reset before the first message: got %q, want that nothing is known of it", said)
	}
	if said := in.fails(2, destination("show", "12")...); !strings.Contains(said, "number: ") {
		t.Errorf("show of no number: got %q, want what is wrong with it", said)
	}

	first, code := in.start(p, to)
	p.want(p.check(first, code), 200, approvedBody)
	second, code := in.start(p, to)
	for range 2 {
		p.want(p.check(second, otherThan(code)), 200, wrongBody)
	}
	var told shownDestination
	in.decode(&told, destination("show", "--json", to)...)
	if told.WrongGuesses != 2 || told.Locked || told.WaitUntil != nil {
		t.Errorf("got %+v, want 2 wrong guesses and no wait", told)
	}
	rows := told.Verifications
	if len(rows) != 2 || rows[0]["id"] != second || rows[1]["id"] != first {
		t.Fatalf("got %v, want the newer verification %s and the older one %s", rows, second, first)
	}
	for i, want := range []map[string]any{
		{"id": second, "channel": "sms", "status": "pending", "guesses": 2.0, "max_attempts": 3.0, "delivery": "sent", "reason": ""},
		{"id": first, "channel": "sms", "status": "approved", "guesses": 1.0, "max_attempts": 3.0, "delivery": "delivered", "reason": ""},
	} {
		if !anyTime.MatchString(fmt.Sprint(rows[i]["started_at"])) {
			t.Errorf("got started_at %q, want a time", rows[i]["started_at"])
		}
		delete(rows[i], "started_at")
		if diff := cmp.Diff(want, rows[i]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	shown := in.run(destination("show", to)...)
	if !strings.Contains(shown, "0140: 2 wrong guesses since the last right one\n") || !strings.Contains(shown, "0140: 2 of 20 messages in 24 hours; the next may go now\n") || strings.Contains(shown, to) || strings.Contains(shown, code) {
		t.Errorf("got\n%s\nwant 2 wrong guesses of the masked number, and no code", shown)
	}

	// A hundred lock it, until an operator says otherwise.
	db, err := sql.Open("sqlite", "file:"+filepath.Join(in.dir, "data", system.DatabaseFile)+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE destination SET failures = ? WHERE number = ?", verify.MaxFailures, to); err != nil {
		t.Fatal(err)
	}
	if got := in.run(destination("show", to)...); !strings.Contains(got, "0140: 100 wrong guesses since the last right one; locked until 'destination reset'\n") {
		t.Errorf("got\n%s\nwant that it is locked", got)
	}
	var shownLocked shownDestination
	in.decode(&shownLocked, append(destination("show", to), "--json")...)
	if s := shownLocked; s.WrongGuesses != verify.MaxFailures || !s.Locked || len(s.Verifications) != 2 || strings.Contains(s.Number, to[2:]) {
		t.Errorf("got %+v, want a masked number that is locked after %d wrong guesses, and 2 verifications", s, verify.MaxFailures)
	}
	if a := p.ask(request{path: "sms", body: with(to, "")}); a.status != 429 {
		t.Errorf("start to a locked number: got %d %s, want 429", a.status, a.body)
	}
	if a := p.check(second, code); a.status != 429 {
		t.Errorf("check at a locked number: got %d %s, want 429", a.status, a.body)
	}
	if got := in.run(destination("reset", to)...); got != "" {
		t.Errorf("reset: got %q, want nothing", got)
	}
	if got := in.run(destination("show", to)...); !strings.Contains(got, "0140: 0 wrong guesses since the last right one\n") {
		t.Errorf("got\n%s\nwant no wrong guesses", got)
	}
	p.want(p.check(second, code), 200, approvedBody)
	in.start(p, to)

	// It is written down who did that, and only that.
	var audits []map[string]string
	in.decode(&audits, "audit", "list", "--config", "countersign.yaml", "--json")
	if len(audits) != 3 {
		t.Fatalf("got %v, want 3 entries: looking at a number is none", audits)
	}
	newest := audits[0]
	if newest["action"] != "destination reset" || newest["project"] != in.project || newest["actor"] != string(actor()) || !strings.HasSuffix(newest["detail"], "0140 after 100 wrong guesses") {
		t.Errorf("got %v, want the reset by %s", newest, actor())
	}
	if text, err := json.Marshal(audits); err != nil || strings.Contains(string(text), to[1:]) {
		t.Errorf("the audit holds the whole number: %s", text)
	}

	// A project resets its own number, by its key, and nobody else's does.
	key := filepath.Join(in.dir, "key")
	for _, text := range []string{"nobody's", in.token} {
		if err := os.WriteFile(key, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		reset := append(destination("reset", to), "--token-file", key)
		if text != in.token {
			if said := in.fails(1, reset...); !strings.Contains(said, "holds no valid key of project") {
				t.Errorf("reset with another key: %q", said)
			}
			continue
		}
		in.run(reset...)
	}
	in.decode(&audits, "audit", "list", "--config", "countersign.yaml", "--json")
	if len(audits) != 4 || audits[0]["actor"] != "project "+in.project {
		t.Errorf("got %v, want a fourth entry, by the project", audits)
	}

	// A number that has had its messages gets more when an operator forgets them, and not when the project would.
	for i := 0; p.ask(request{path: "sms", body: with(to, "")}).status != 429; i++ {
		if i == verify.DefaultLimits.Burst {
			t.Fatalf("%d starts to one number: none was refused", i+1)
		}
	}
	if said := in.fails(2, append(destination("reset", to), "--sends", "--token-file", key)...); !strings.Contains(said, "--sends") {
		t.Errorf("a project forgets messages: %q", said)
	}
	in.run(append(destination("reset", to), "--sends")...)
	in.start(p, to)
	in.decode(&audits, "audit", "list", "--config", "countersign.yaml", "--json")
	if len(audits) != 5 || !strings.HasSuffix(audits[0]["detail"], "0140, its messages") || audits[0]["actor"] != string(actor()) {
		t.Errorf("got %v, want a fifth entry, by the operator", audits)
	}

	// Another project's number is another one.
	var made map[string]string
	in.decode(&made, "project", "create", "--config", "countersign.yaml", "--json", "Another")
	if said := in.fails(1, "destination", "show", "--config", "countersign.yaml", "--project", made["id"], to); !strings.Contains(said, "nothing is known of this number") {
		t.Errorf("another project: got %q, want that nothing is known", said)
	}
}

// firstPending waits for a database and says how many verifications are pending in it, as soon as it is there.
func firstPending(path string) string {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&immutable=1")
		if err != nil {
			return err.Error()
		}
		defer db.Close()
		var n int
		if err := db.QueryRow(`SELECT count(*) FROM verification WHERE status = 0 AND expires_at > $1`, time.Now().UnixMilli()).Scan(&n); err != nil {
			return err.Error()
		}
		return strconv.Itoa(n)
	}
	return "nobody knows how many"
}

// A backup made under load is whole, and what is restored of it forgets what was pending.
func TestBackupWhileServing(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), nil)
	p := in.serve()
	approved, code := in.start(p, "+12025550141")
	p.want(p.check(approved, code), 200, approvedBody)
	pending, pendingCode := in.start(p, "+12025550142")

	done := make(chan struct{})
	var load sync.WaitGroup
	for i := range 2 {
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if _, answer, err := in.ask(p, "sms", fmt.Sprintf(`{"to":"+1202%d%06d"}`, 4+i, n)); err != nil {
					t.Errorf("start during the backup: %s, %v", answer, err)
					return
				}
			}
		})
	}
	said := in.run("backup", "--config", "countersign.yaml", "copy.db")
	in.run("backup", "--config", "countersign.yaml", "second.db")
	close(done)
	load.Wait()
	if want := "Copied the database to copy.db. The keyset is not in it: keep that apart.\n"; said != want {
		t.Errorf("got %q, want %q", said, want)
	}
	if info, err := os.Stat(filepath.Join(in.dir, "copy.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a file for its owner only", info, err)
	}
	copied, err := os.ReadFile(filepath.Join(in.dir, "copy.db"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(copied, []byte(in.token)) || bytes.Contains(copied, []byte("primaryKeyId")) {
		t.Error("the backup holds a token or the keyset")
	}
	if said := in.fails(1, "backup", "--config", "countersign.yaml", "copy.db"); !strings.Contains(said, "copy.db exists already: it is not replaced") {
		t.Errorf("a second backup to the same file: got %q", said)
	}
	if said := in.fails(1, "restore", "--config", "countersign.yaml", "copy.db"); !strings.Contains(said, "data is in use by another countersign serve") {
		t.Errorf("restoring beside a server: got %q", said)
	}
	p.want(p.check(pending, pendingCode), 200, approvedBody) // after the backup

	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}
	if said := in.fails(1, "restore", "--config", "countersign.yaml", "copy.db"); !strings.Contains(said, "exists already; stop the server and move its files away first") {
		t.Errorf("restoring over a database: got %q", said)
	}
	if err := os.Rename(filepath.Join(in.dir, "data"), filepath.Join(in.dir, "old")); err != nil {
		t.Fatal(err)
	}
	appeared := make(chan string)
	go func() { appeared <- firstPending(filepath.Join(in.dir, "data", "countersign.db")) }()
	said = in.run("restore", "--config", "countersign.yaml", "copy.db")
	if got := <-appeared; got != "0" {
		t.Errorf("when the database appeared, %s were pending: a server could be started on it after a crash", got)
	}
	if !regexp.MustCompile(`^Restored .*countersign\.db\. Voided [1-9]\d* pending verifications: guesses spent after the backup are not in it\.\n$`).MatchString(said) {
		t.Errorf("restore: got %q", said)
	}
	if after, err := os.ReadFile(filepath.Join(in.dir, "copy.db")); err != nil || !bytes.Equal(after, copied) {
		t.Error("restoring changed the backup")
	}
	p = in.serve()
	// What was approved stays used up, and what was pending then must not be approved now.
	p.want(p.check(approved, code), 404, notFound)
	p.want(p.check(pending, pendingCode), 404, notFound)
	id, code := in.start(p, "+12025550143")
	p.want(p.check(id, code), 200, approvedBody)
	if got := withoutIDs(in.run("audit", "list", "--config", "countersign.yaml", "--limit", "1")); !regexp.MustCompile(`TIME  \S+ +restore +voided [1-9]\d* pending verifications`).MatchString(got) {
		t.Errorf("audit: got\n%s\nwant the restoration", got)
	}
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}
}
