package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// A key that is promoted makes the codes of all shards, and what the old one made is still checked.
func TestAKeysetOfTwoShards(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	s := installShards(t)
	a, b := s.served()
	type pending struct{ id, code string }
	begun := map[*process]pending{}
	for _, p := range []*process{a, b} {
		id, code := startOn(s.installation, p, newNumber(), 3)
		begun[p] = pending{id, code}
	}
	s.run("keyset", "add", "keyset.json")
	reloaded := func(times int) {
		t.Helper()
		if !within(patience, func() bool {
			return strings.Count(a.stderr.String(), `"msg":"reloaded","what":"keyset"`) >= times
		}) {
			t.Fatalf("the keyset isn't read again:\n%s", a.stderr)
		}
	}
	reloaded(1)
	var keys []struct{ ID uint32 }
	s.decode(&keys, "keyset", "list", "--json", "keyset.json")
	s.run("keyset", "promote", "keyset.json", fmt.Sprint(keys[1].ID))
	reloaded(2)
	conn, err := pgx.Connect(t.Context(), s.direct)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for schema, p := range map[string]*process{"verify_a": a, "verify_b": b} {
		if !within(patience, func() bool {
			id, code := startOn(s.installation, p, newNumber(), 3)
			row, err := verify.ParseID(id)
			if err != nil {
				t.Fatal(err)
			}
			var key uint32
			if err := conn.QueryRow(t.Context(), "SELECT key_id FROM "+schema+".verification WHERE id = $1", row[:]).Scan(&key); err != nil {
				t.Fatal(err)
			}
			if got := guessOn(p, id, code); got != "right" {
				t.Fatalf("a guess in %s: got %s, want right", schema, got)
			}
			return key == keys[1].ID
		}) {
			t.Errorf("no code in %s is made by the promoted key", schema)
		}
		if got := guessOn(p, begun[p].id, begun[p].code); got != "right" {
			t.Errorf("a guess at a code of the old key in %s: got %s, want right", schema, got)
		}
	}
}

// An operator changes the policy of one shard by the operations listener. The other shard keeps its own.
func TestOperationsOfTwoShards(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	s := installShards(t)
	a, _ := s.served()
	operator, err := readOperator(filepath.Join(s.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, token, body string) (status int, answer string) {
		t.Helper()
		return askOperations(t, method, a.Ops+path, token, body)
	}
	const stop = `{"state":"stopped","actor":"nightwatch"}`
	for path, want := range map[string]int{
		"/shards/b/policy/countries/LK": http.StatusNoContent,
		"/shards/c/policy/countries/PK": http.StatusNotFound,
		"/policy/countries/PK":          http.StatusNotFound, // of which shard?
	} {
		if status, answer := ask("PUT", path, operator.Token, stop); status != want {
			t.Errorf("PUT %s: got %d %s, want %d", path, status, answer, want)
		}
	}
	if status, _ := ask("PUT", "/shards/a/policy/countries/PK", "wrong", stop); status != http.StatusUnauthorized {
		t.Errorf("with a wrong token: got %d, want 401", status)
	}
	for shard, want := range map[string]bool{"a": false, "b": true} {
		if status, answer := ask("GET", "/shards/"+shard+"/policy", operator.Token, ""); status != http.StatusOK || strings.Contains(answer, "LK") != want || strings.Contains(answer, "PK") {
			t.Errorf("the policy of %s: got %d %s; want LK stopped: %t", shard, status, answer, want)
		}
		if said := s.run("country", "list", "--shard", shard); strings.Contains(said, "LK") != want {
			t.Errorf("country list of %s: got %q; want LK: %t", shard, said, want)
		}
	}
	s.wire.Cut(true)
	if !within(patience, func() bool {
		status, _ := ask("GET", "/shards/b/policy", operator.Token, "")
		return status == http.StatusServiceUnavailable
	}) {
		t.Error("the policy of a shard that is away isn't answered 503")
	}
	if status, answer := ask("GET", "/shards/a/policy", operator.Token, ""); status != http.StatusOK {
		t.Errorf("the policy of the other one: got %d %s, want 200", status, answer)
	}
	s.wire.Tear()
	s.wire.Cut(false)
}

// A command for a project on one shard works while another one is away, and otherwise names the one that it can't ask.
func TestCommandsWhileAShardIsAway(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	s := installShards(t)
	name := filepath.Join(s.dir, "countersign.yaml")
	config, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	there, err := url.Parse(s.wire.URL(s.direct))
	if err != nil {
		t.Fatal(err)
	}
	away := strings.Replace(string(config), there.Host, "127.0.0.1:1", 1) // where nobody listens
	if err := os.WriteFile(name, []byte(away), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := s.run("project", "show", s.installation.project); !strings.Contains(said, s.installation.project) {
		t.Errorf("project show of a project on the other shard: got %q", said)
	}
	for _, args := range [][]string{
		{"project", "show", "Other"},
		{"key", "list", "--project", "Other"},
		{"project", "create", "--id", "chosen", "Chosen"}, // the one that is away may have it
		{"country", "stop", "LK"},
	} {
		if said := s.fails(1, args...); !strings.Contains(said, "shard b: ") {
			t.Errorf("%s: got %q, want it to name shard b", strings.Join(args, " "), said)
		}
	}
	check := s.binary("config", "check", "--connect", "--json")
	check.Dir = s.dir
	text, _ := check.Output() // its exit says that a connection failed
	var said struct {
		Connections []struct{ What, Status string }
	}
	if err := json.Unmarshal(text, &said); err != nil {
		t.Fatalf("config check: %v in %s", err, text)
	}
	got := map[string]string{}
	for _, c := range said.Connections {
		got[c.What] = c.Status
	}
	if check.ProcessState.ExitCode() != 1 || got["shard a"] != "ok" || got["shard b"] != "failed" {
		t.Errorf("config check --connect: exit %d, %v; want 1, with shard a ok and shard b failed", check.ProcessState.ExitCode(), got)
	}
}

// The shard that has a verification answers its device.
func TestDevicesOfTwoShards(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "needs two shards")
	vapid, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "vapid.key")
	if err := os.WriteFile(name, []byte(vapid), 0o600); err != nil {
		t.Fatal(err)
	}
	s := installShards(t, func(text string) string {
		push := fmt.Sprintf("\ncarriers:\n  - name: push\n    webpush: {vapid_key: {file: %q}, contact: \"mailto:ops@example.com\"}\n", name)
		text = strings.Replace(text, "\ncarriers:\n", push, 1)
		return strings.Replace(text, "\n  push: []\n", "\n  push: [push]\n", 1)
	})
	var made texts
	a := s.serve()
	for _, project := range []string{s.installation.project, s.project} {
		s.decode(&made, "key", "create", "--json", "--project", project, "--scope", "manage", "--scope", "verify:start", "--scope", "verify:check", "--scope", "applications")
		client := &api.Client{URL: a.URL, Key: made["token"], MaxWait: -1}
		app, err := client.CreateApplication(t.Context(), api.NewApplication{Name: "Shop", Channels: []string{"push"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.ImportUsers(t.Context(), app.ID, []api.ImportedUser{{User: "ada", Number: "+12025550100"}}); err != nil {
			t.Fatal(err)
		}
		d := registerHandset(t, client, app.ID, "ada")
		v, err := client.StartFor(t.Context(), app.ID, "ada", api.UserVerification{Mode: api.Approve})
		if err != nil {
			t.Fatal(err)
		}
		notice, err := a.device("messages", map[string]string{"verification_id": v.ID, "device_id": d.id, "signature": d.sign(t, "countersign fetch 1", v.ID, d.id)})
		if err != nil {
			t.Fatal(err)
		}
		prompt, _ := notice["prompt"].(map[string]any)
		challenge, _ := prompt["challenge"].(string)
		answered, err := a.device("answers", map[string]string{
			"verification_id": v.ID, "device_id": d.id, "challenge": challenge, "answer": v.Show,
			"signature": d.sign(t, "countersign answer 1", v.ID, d.id, challenge, v.Show),
		})
		if err != nil || answered["accepted"] != true {
			t.Errorf("the answer of %s: got %v, %v", project, answered, err)
		}
		if r, err := client.Outcome(t.Context(), v.ID, 0); err != nil || !r.Valid {
			t.Errorf("the verification of %s: got %+v, %v; want it approved", project, r, err)
		}
	}
	nobody, err := a.device("messages", map[string]string{"verification_id": "01a20029-6a76-707d-92b4-bf58e9f1b6d1", "device_id": "01a20029-6a76-707d-92b4-bf58e9f1b6d2", "signature": "AAAA"})
	if err != nil || nobody["prompt"] != nil {
		t.Errorf("a verification that no shard has: got %v, %v", nobody, err)
	}
}
