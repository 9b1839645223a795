package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/testsize"
)

// killMove begins a move, and kills the command when it has said something.
func (s *shardedInstallation) killMove(to, when string) {
	s.t.Helper()
	cmd := s.binary("project", "move", "Other", "--to", to)
	cmd.Dir = s.dir
	said, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(said); lines.Scan(); {
		fmt.Fprintln(&all, lines.Text())
		if strings.Contains(lines.Text(), when) {
			cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err == nil {
		s.t.Errorf("the command ended before it was killed; it said\n%s", all.String())
	}
}

// left counts the project's rows in a shard's tables of verifications and numbers.
func (s *shardedInstallation) left(url, shard string) (n int) {
	s.t.Helper()
	db, err := sql.Open("pgx", pgtest.InSchema(url, "verify_"+shard))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT (SELECT count(*) FROM verification WHERE project = $1) + (SELECT count(*) FROM destination WHERE project = $1)`, s.project).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// awaitServers waits until so many servers have said in both shards that they serve both.
func (s *shardedInstallation) awaitServers(n int) {
	s.t.Helper()
	db, err := sql.Open("pgx", s.direct)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if !within(patience, func() bool {
		var a, b int
		const both = `count(*) FILTER (WHERE serves LIKE '%' || chr(10) || '%')`
		err := db.QueryRow(`SELECT (SELECT `+both+` FROM verify_a.key_holder), (SELECT `+both+` FROM verify_b.key_holder)`).Scan(&a, &b)
		return err == nil && a == n && b == n
	}) {
		s.t.Fatal("the servers don't say that they serve both shards")
	}
}

// The command is killed at each turn of a move and run again, while one replica stands still. When that one wakes, it decides nothing
// about the project in the shard that it left.
func TestProjectMoveIsKilledAndReplicasStandStill(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	s := installShards(t)
	_, b := s.served()
	stuck := s.serve().as(s.project, s.token)
	if _, code := startOn(s.installation, stuck, newNumber(), 3); code == "" {
		t.Fatal("no message")
	}
	s.awaitServers(2)
	from, to := "b", "a"
	for turn, when := range []string{"are answered 503", "and works"} {
		id, code := startOn(s.installation, b, newNumber(), 3)
		stuck.standStill(t)
		late := make(chan *http.Response, 1)
		go func() { // it is taken when the replica wakes
			resp, _, _ := stuck.post("sms", fmt.Sprintf(`{"to":%q}`, newNumber()))
			late <- resp
		}()
		s.killMove(to, when)
		if turn == 0 {
			if !refusedAway(b) {
				t.Error("while the project is neither here nor there, a start isn't answered 503 with Retry-After")
			}
			if got := guessOn(b, id, code); got != "503 Service Unavailable" {
				t.Errorf("a guess meanwhile: got %s, want 503", got)
			}
			if said := s.run("project", "list"); !strings.Contains(said, "moving") {
				t.Errorf("project list: got %q, want moving", said)
			}
			if said := s.fails(1, "project", "rename", "Other", "x"); !strings.Contains(said, "being moved") {
				t.Errorf("a change meanwhile: got %q", said)
			}
			s.run("project", "move", "Other", "--abort")
			if got := guessSurely(b, id, "000000"); got != "wrong" && code != "000000" {
				t.Errorf("a guess after an abort: got %s, want wrong", got)
			}
			s.killMove(to, when)
		}
		if said := s.run("project", "move", "Other", "--to", to); !strings.Contains(said, "to shard "+to) {
			t.Errorf("the command that was killed, once more: got %q", said)
		}
		if err := stuck.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if resp := <-late; resp != nil && resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a start on the replica that stood still: got %s", resp.Status)
		}
		var got string
		if !within(patience, func() bool { got = guessOn(stuck, id, code); return got == "right" }) {
			t.Errorf("the right code on the replica that stood still: got %s", got)
		}
		for _, p := range []*process{b, stuck} {
			if got := guessSurely(p, id, code); got != "gone" {
				t.Errorf("the right code once more: got %s, want gone", got)
			}
		}
		s.works(turn, b)
		if n := s.left(s.direct, from); n != 0 {
			t.Errorf("%d rows in the shard that the project has left", n)
		}
		from, to = to, from
	}
	if said := s.run("project", "show", "Other"); !strings.Contains(said, "shard") {
		t.Errorf("project show: got %q", said)
	}
	if said := s.run("project", "move", "Other", "--to", from); !strings.Contains(said, "is on shard "+from) {
		t.Errorf("a move to where it is: got %q", said)
	}
	for want, args := range map[string][]string{
		`there is no shard "c"`: {"project", "move", "Other", "--to", "c"},
		"--to: name the shard":  {"project", "move", "Other"},
		"leave it out":          {"project", "move", "Other", "--to", "a", "--shard", "b"},
	} {
		if said := s.fails(2, args...); !strings.Contains(said, want) {
			t.Errorf("%v: got %q, want %q", args, said, want)
		}
	}
	if said := s.fails(1, "project", "move", "Other", "--abort"); !strings.Contains(said, "isn't being moved") {
		t.Errorf("abort of nothing: got %q", said)
	}
	if said := s.fails(1, "project", "move", "Other", "--to", "a", "--data", "data"); !strings.Contains(said, "database.shards") {
		t.Errorf("a move of a file's project: got %q", said)
	}
}

// Where two shards have a project, because one was brought back to before the move, the command doesn't guess which one is right.
func TestProjectMoveRefusesAProjectOnTwoShards(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	s := installShards(t)
	db, err := sql.Open("pgx", s.direct)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		`INSERT INTO verify_a.project SELECT * FROM verify_b.project WHERE name = 'Other'`,
		`INSERT INTO verify_a.project_move (project, state, id, other, began_at) SELECT id, 'moving', '\x02', 'c', 1 FROM verify_b.project WHERE name = 'Other'`, // in the middle of an earlier move
	} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"--to", "a"}, {"--to", "b"}, {"--abort"}} {
			if said := s.fails(1, append([]string{"project", "move", "Other"}, args...)...); !strings.Contains(said, "each have the project") {
				t.Errorf("after %s, a move %v: got %q", text, args, said)
			}
		}
	}
}
