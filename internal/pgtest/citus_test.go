package pgtest

import "testing"

func TestASchemaOfCitusIsOnOneWorker(t *testing.T) {
	t.Parallel()
	c := NewCitus(t)
	held := map[int]bool{}
	for _, name := range []string{"a", "b"} {
		for _, text := range []string{"SET citus.enable_schema_based_sharding = on; CREATE SCHEMA " + name, "CREATE TABLE " + name + ".verification (id int)"} {
			if err := execute(c.URL(), text); err != nil {
				t.Fatal(err)
			}
		}
		held[c.Holder(t, name)] = true
	}
	if len(held) != 2 || held[-1] {
		t.Errorf("the workers %v hold two schemas, want 0 and 1", held)
	}
}
