package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/testsize"
)

// previous is the last commit that servers may run before they run this one: the one before migration 32.
const previous = "199a13acb45383aca3fbc4abd8d017da076ac89b"

// buildPrevious builds the previous program from this repository's history.
func buildPrevious(t *testing.T) (program string) {
	t.Helper()
	testsize.Full(t, "builds another version of the program")
	root := t.TempDir()
	if err := exec.Command("git", "cat-file", "-e", previous+"^{commit}").Run(); err != nil {
		t.Skip("NOT RUN: it needs the repository's history; run: git fetch --unshallow")
	}
	for _, command := range []string{
		"git archive --format=tar " + previous + " | tar -x -C " + root,
		"cd " + root + " && go build -o program ./cmd/countersign",
	} {
		cmd := exec.Command("sh", "-c", "cd \"$(git rev-parse --show-toplevel)\" && "+command)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	return filepath.Join(root, "program")
}

// started starts a verification and returns its id.
func (p *process) started(to string) (id string) {
	p.t.Helper()
	resp, body, err := p.post("sms", fmt.Sprintf(`{"to":%q}`, to))
	if err != nil || resp.StatusCode != 200 {
		p.t.Fatalf("start to %s: %v %s", to, err, body)
	}
	var answer struct{ ID string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		p.t.Fatal(err)
	}
	return answer.ID
}

// verified demands that a code which one server sent is right at another, once.
func verified(t *testing.T, sent, checked *process, to, id string) {
	t.Helper()
	code := sixDigits.FindString(sent.message(to, id).Body)
	for i, want := range []string{approvedBody, notFound} {
		_, body, err := checked.post(id+"/verify", fmt.Sprintf(`{"token":%q}`, code))
		if err != nil || body != want {
			t.Errorf("check %d of %s: got %s, %v; want %s", i+1, to, body, err, want)
		}
	}
}

var previousArgs = []string{"--project", "upgrade", "--token", "upgrade-test-token"}

// A new server brings the schema up to date while an old one serves and somebody reads the tables for long.
// Nobody is refused meanwhile, and then either server checks what the other one started.
func TestThePreviousProgramGoesOnBesideThisOne(t *testing.T) {
	t.Parallel()
	program := buildPrevious(t)
	databaseURL := pgtest.Database(t, "")
	args := append([]string{"--data", t.TempDir(), "--database", databaseURL}, previousArgs...)
	old := startProgram(t, program, nil, args...)
	before := old.started("+12025550100")

	ctx := context.Background()
	reader, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(ctx)
	for _, s := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM verification, application, project, app_user, api_key, destination, delivery"} {
		if _, err := reader.Exec(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	ready := make(chan *process, 1)
	go func() { ready <- startDev(t, nil, args...) }()
	slowest := time.Duration(0)
	for i := range 30 {
		at := time.Now()
		old.started(fmt.Sprintf("+12025551%03d", i))
		slowest = max(slowest, time.Since(at))
		time.Sleep(100 * time.Millisecond) // the new server's attempts come each second
	}
	select {
	case <-ready:
		t.Error("the new server didn't wait for the reader: this shows nothing")
	default:
	}
	t.Logf("30 starts beside the waiting migration, the slowest took %v", slowest)
	if _, err := reader.Exec(ctx, "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	var current *process
	select {
	case current = <-ready:
	case <-time.After(patience):
		t.Fatal("the new server doesn't serve after the reader is gone")
	}
	verified(t, old, current, "+12025550100", before)
	for i, pair := range [][2]*process{{old, current}, {current, old}, {old, old}, {current, current}} {
		to := fmt.Sprintf("+1202555020%d", i)
		verified(t, pair[0], pair[1], to, pair[0].started(to))
	}
}

// With SQLite one program follows the other.
func TestThisProgramGoesOnWhereThePreviousOneStopped(t *testing.T) {
	t.Parallel()
	program := buildPrevious(t)
	args := append([]string{"--data", t.TempDir()}, previousArgs...)
	old := startProgram(t, program, nil, args...)
	pending, used := old.started("+12025550100"), old.started("+12025550101")
	code := sixDigits.FindString(old.message("+12025550100", pending).Body)
	spent := sixDigits.FindString(old.message("+12025550101", used).Body)
	verified(t, old, old, "+12025550101", used)
	if err := old.stop(); err != nil {
		t.Fatal(err)
	}
	current := startDev(t, nil, args...)
	for _, step := range []struct{ id, code, want string }{
		{pending, wrong(code), `{"success":false}`}, {pending, code, approvedBody}, {pending, code, notFound}, {used, spent, notFound},
	} {
		_, body, err := current.post(step.id+"/verify", fmt.Sprintf(`{"token":%q}`, step.code))
		if err != nil || strings.TrimSpace(body) != step.want {
			t.Errorf("check of %s: got %s, %v; want %s", step.id, body, err, step.want)
		}
	}
	verified(t, current, current, "+12025550102", current.started("+12025550102"))
}
