package main

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/pgtest"
)

// An operator makes a schema for a second installation, and lists both. Only Citus can move one.
func TestSchemasOfADatabase(t *testing.T) {
	t.Parallel()
	in := installOn(t, pgtest.Database(t, ""))
	if said := in.run("schema", "create", "--config", "countersign.yaml", "verify_b"); !strings.Contains(said, "Created schema verify_b. Name it in a configuration: database.schema.") {
		t.Errorf("create: got %q", said)
	}
	var all []struct {
		Schema        string
		Node          string
		Bytes         int
		Verifications int
		Version       int
	}
	in.decode(&all, "schema", "list", "--config", "countersign.yaml", "--json")
	if len(all) != 2 || all[0].Schema != "public" || all[1].Schema != "verify_b" {
		t.Fatalf("list: got %+v, want public and verify_b", all)
	}
	for _, s := range all {
		if s.Node != "" || s.Bytes == 0 || s.Version != all[0].Version || s.Version == 0 {
			t.Errorf("list: got %+v", s)
		}
	}
	const config = "countersign.yaml"
	for want, try := range map[string]struct {
		exit int
		args []string
	}{
		"schema verify_b is there already":   {1, []string{"create", "--config", config, "verify_b"}},
		"must be 1 to 63 lower-case letters": {2, []string{"create", "--config", config, "Verify"}},
		"only Citus moves schemas":           {1, []string{"move", "--config", config, "verify_b", "--to", "192.0.2.1:5432"}},
		"there is no schema verify_c":        {1, []string{"move", "--config", config, "verify_c"}},
		"only PostgreSQL has schemas":        {1, []string{"list", "--data", "data"}},
	} {
		if said := in.fails(try.exit, append([]string{"schema"}, try.args...)...); !strings.Contains(said, want) {
			t.Errorf("schema %s: got %q, want %q", strings.Join(try.args, " "), said, want)
		}
	}
}
