package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
)

// A shardedInstallation has two schemas of one PostgreSQL, a and b, and a project on each. The connections to b go over a wire.
type shardedInstallation struct {
	*installation
	wire           *pgtest.Wire
	direct         string // the database's URL
	project, token string // of the project on b; the installation's own is on a
}

// installShards makes one of the example configuration, changed by edits.
func installShards(t *testing.T, edits ...func(string) string) *shardedInstallation {
	t.Helper()
	direct := storetest.LentSchema(t, "verify_a", "verify_b")
	wire := pgtest.WireTo(t, direct)
	in := install(t, theProgram(t), func(text string) string {
		text = setLine(text, patiently)
		for _, edit := range edits {
			text = edit(text)
		}
		shards := fmt.Sprintf("  shards:\n    - name: a\n      schema: verify_a\n    - name: b\n      url: %q\n      schema: verify_b\n", wire.URL(direct))
		text = strings.Replace(text, "\n  url: \"\"\n", "\n  url: "+strconv.Quote(direct)+"\n", 1)
		text = strings.Replace(text, "  shards: []\n", shards, 1)
		before, public, _ := strings.Cut(text, "\npublic:\n")
		return before + "\npublic:\n" + strings.Replace(public, "  url: \"\"\n", "  url: "+testPublicURL+"\n", 1)
	})
	s := &shardedInstallation{installation: in, wire: wire, direct: direct}
	const config = "countersign.yaml"
	s.project = in.made("id", in.prepare("project", "create", "--config", config, "--json", "Other"))
	s.token = in.made("token", in.prepare("key", "create", "--config", config, "--json", "--project", "Other"))
	for _, project := range []string{in.project, "Other"} {
		in.prepare("project", "policy", "--config", config, project, "--send-burst", "0", "--send-daily", "0")
	}
	return s
}

// served starts the server, and returns it as each project sees it.
func (s *shardedInstallation) served() (a, b *process) {
	s.t.Helper()
	a = s.serve()
	return a, a.as(s.project, s.token)
}

// works starts a verification, checks it by one of the APIs, and reports its delivery.
func (s *shardedInstallation) works(turn int, p *process) {
	s.t.Helper()
	id, code := startOn(s.installation, p, newNumber(), 3)
	m := s.receiver.message(s.t, id)
	if !within(patience, func() bool {
		status, err := s.report(p, m, "delivered")
		return err == nil && status == http.StatusOK
	}) {
		s.t.Errorf("the receipt of %s isn't taken", id)
	}
	if !within(patience, func() bool { return s.delivery(id) == "delivered" }) {
		s.t.Errorf("%s is %s, want delivered", id, s.delivery(id))
	}
	wrong := "000000"
	if code == wrong {
		wrong = "000001"
	}
	for _, guess := range []struct{ typed, want string }{{wrong, "wrong"}, {code, "right"}, {code, "gone"}} {
		if got := guessAgainBy(turn, p, id, guess.typed); got != guess.want {
			s.t.Errorf("a guess at %s: got %s, want %s", id, got, guess.want)
		}
	}
}

// delivery is what an operator is told of a message.
func (s *shardedInstallation) delivery(id string) string {
	s.t.Helper()
	return s.made("delivery", s.prepare("verification", "show", "--config", "countersign.yaml", "--json", id))
}

// refusedAway checks that the server says of a project's start that its database is away.
func refusedAway(p *process) bool {
	resp, _, err := p.post("sms", fmt.Sprintf(`{"to":%q}`, newNumber()))
	return err == nil && resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != ""
}

// status is that of a path of the operations listener.
func (p *process) status(path string) int {
	p.t.Helper()
	resp, err := httpClient.Get(p.Ops + path)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// One server serves two projects on two shards, by all APIs, with the receipts of both.
func TestOneServerOfTwoShards(t *testing.T) {
	t.Parallel()
	s := installShards(t)
	var all []struct{ ID, Shard string }
	s.decode(&all, "project", "list", "--json")
	if len(all) != 2 || all[0].ID != s.installation.project || all[0].Shard != "a" || all[1].ID != s.project || all[1].Shard != "b" {
		t.Fatalf("project list: got %+v, want one on a and one on b", all)
	}
	a, b := s.served()
	for turn := range 3 {
		s.works(turn, a)
		s.works(turn, b)
	}
	for _, p := range []*process{a, b} {
		var list struct{ Objects []any }
		p.into(&list, p.mfa("GET", "applications", ""))
	}
	if strings.Contains(a.stderr.String(), `"route":"none","status":200`) {
		t.Errorf("the log doesn't say which route a request took:\n%s", a.stderr)
	}
	for what, p := range map[string]*process{"another shard's key": a.as(a.Project, b.Token), "nobody's key": a.as(a.Project, "cs_nobody"), "no key": a.as("", "")} {
		if resp, _, err := p.post("sms", `{"to":"+12025550100"}`); err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: got %v, %v; want 401", what, resp, err)
		}
	}

	// A project sees nothing of the other shard.
	id, code := startOn(s.installation, b, newNumber(), 3)
	if got := guessOn(a, id, code); got != "gone" {
		t.Errorf("a guess by the project of another shard: got %s, want gone", got)
	}
	pending, _ := startOn(s.installation, a, newNumber(), 3)
	if said := s.run("void"); !strings.Contains(said, "Voided 2 ") {
		t.Errorf("void: got %q, want 2", said)
	}
	for p, id := range map[*process]string{a: pending, b: id} {
		if got := guessOn(p, id, code); got != "gone" {
			t.Errorf("a guess at what is void: got %s, want gone", got)
		}
	}

	// A key is revoked wherever it is.
	var keys []struct{ ID string }
	s.decode(&keys, "key", "list", "--json", "--project", "Other")
	s.run("key", "revoke", keys[0].ID)
	if !within(patience, func() bool {
		resp, _, err := b.post("sms", `{"to":"+12025550100"}`)
		return err == nil && resp.StatusCode == http.StatusUnauthorized
	}) {
		t.Error("a revoked key works")
	}
	if err := a.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, a.stderr)
	}
}

// While a shard is away, its project's requests are answered 503, and the other project's go on; also when the server is
// started meanwhile. When it is back, nothing was lost.
func TestOneOfTwoShardsIsAway(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	s := installShards(t, func(text string) string { return setLine(text, briefly) })
	a, b := s.served()
	id, code := startOn(s.installation, b, newNumber(), 3)
	m := s.receiver.message(t, id)
	s.works(0, a)

	check := func() {
		t.Helper()
		if !within(patience, func() bool { return a.status("/readyz/b") == http.StatusServiceUnavailable }) {
			t.Error("/readyz/b is ready")
		}
		if !within(patience, func() bool { return refusedAway(b) }) {
			t.Error("a start on b isn't answered 503 with Retry-After")
		}
		for turn := range 3 {
			s.worksAlone(turn, a)
		}
		if got := guessOn(b, id, code); got != "503 Service Unavailable" {
			t.Errorf("a guess on b: got %s, want 503", got)
		}
		if status, err := s.report(a, m, "delivered"); err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("a receipt for b: got %d, %v; want 503, so that it is repeated", status, err)
		}
		if got := a.status("/readyz"); got != http.StatusOK {
			t.Errorf("/readyz: got %d, want 200", got)
		}
		if got := a.status("/readyz/a"); got != http.StatusOK {
			t.Errorf("/readyz/a: got %d, want 200", got)
		}
		if got := [2]float64{a.metricOf(t, `countersign_shard_ready{shard="a"}`), a.metricOf(t, `countersign_shard_ready{shard="b"}`)}; got != [2]float64{1, 0} {
			t.Errorf("countersign_shard_ready: got %v, want 1 and 0", got)
		}
	}
	s.wire.Cut(true)
	check()

	a.kill()
	a, b = s.served()
	check()

	s.wire.Tear() // connections that were cut stay silent
	s.wire.Cut(false)
	if !within(patience, func() bool { return a.status("/readyz/b") == http.StatusOK }) {
		t.Fatalf("b isn't ready again:\n%s", a.stderr)
	}
	if !within(patience, func() bool { status, err := s.report(a, m, "delivered"); return err == nil && status == http.StatusOK }) {
		t.Error("the receipt isn't taken")
	}
	if got := guessSurely(b, id, code); got != "right" {
		t.Errorf("the guess: got %s, want right", got)
	}
	if got := guessSurely(b, id, code); got != "gone" {
		t.Errorf("the guess once more: got %s, want gone", got)
	}
	s.works(1, a)
	s.works(2, b)
}

// worksAlone does what works does while commands can't ask all shards.
func (s *shardedInstallation) worksAlone(turn int, p *process) {
	s.t.Helper()
	id, code := startOn(s.installation, p, newNumber(), 3)
	m := s.receiver.message(s.t, id)
	var status int
	var err error
	if !within(patience, func() bool { status, err = s.report(p, m, "delivered"); return err == nil && status == http.StatusOK }) {
		s.t.Errorf("the receipt of %s: got %d, %v; want 200", id, status, err)
	}
	if got := guessAgainBy(turn, p, id, code); got != "right" {
		s.t.Errorf("a guess at %s: got %s, want right", id, got)
	}
}

// Commands find a project's shard, or ask for it.
func TestCommandsAcrossShards(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	s := installShards(t)
	var made texts
	s.decode(&made, "project", "create", "--json", "--shard", "b", "--id", "third", "Third")
	if made["shard"] != "b" {
		t.Errorf("project create --shard b: got %v", made)
	}
	s.decode(&made, "project", "create", "--json", "Fourth")
	if made["shard"] != "a" {
		t.Errorf("project create: got %v, want the shard with the fewest projects", made)
	}
	s.decode(&made, "project", "create", "--json", "--shard", "a", "Third")
	if said := s.run("project", "show", "third"); !strings.Contains(said, "Third") {
		t.Errorf("project show by id: got %q", said)
	}
	s.run("country", "stop", "LK", "--note", "wave")
	for _, shard := range []string{"a", "b"} {
		if said := s.run("country", "list", "--shard", shard); !strings.Contains(said, "LK") {
			t.Errorf("country list of %s: got %q, want LK", shard, said)
		}
	}
	s.run("migrate", "schema")
	s.decode(&made, "project", "create", "--json", "--shard", "b", "--id", "gone", "Gone")
	s.run("project", "delete", "gone", "--yes")
	for want, try := range map[string]struct {
		exit int
		args []string
	}{
		"third: it exists already":                    {1, []string{"project", "create", "--shard", "a", "--id", "third", "Third again"}},
		"which was deleted: its id isn't given again": {1, []string{"project", "create", "--shard", "a", "--id", "gone", "Gone again"}},
		"shards a, b each have a project":             {1, []string{"project", "show", "Third"}},
		"there is no such project":                    {1, []string{"project", "show", "Fifth"}},
		"--shard: name one of a, b":                   {2, []string{"audit", "list"}},
		`there is no shard "c"; there are a, b`:       {2, []string{"project", "create", "--shard", "c", "Fifth"}},
		"there is no such key":                        {1, []string{"key", "revoke", "01a20029-6a76-707d-92b4-bf58e9f1b6d1"}},
		"there is none in this database":              {1, []string{"verification", "show", "01a20029-6a76-707d-92b4-bf58e9f1b6d1"}},
		"--shard: the configuration has no database":  {2, []string{"project", "list", "--data", "data", "--shard", "a"}},
	} {
		if said := s.fails(try.exit, try.args...); !strings.Contains(said, want) {
			t.Errorf("%s: got %q, want %q", strings.Join(try.args, " "), said, want)
		}
	}
}
