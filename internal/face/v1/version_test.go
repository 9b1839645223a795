package v1_test

import (
	"sync"
	"testing"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/face/v1"
)

// Whatever can be changed over the API has an ETag, and a change or deletion of another version than the one that
// If-Match names is refused: found in the table of operations, so that a new one takes part.
func TestChangesKeepToTheVersionThatTheyName(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	const change = `{"name":"other"}`
	paths := map[string]bool{}
	for _, r := range v1.Routes() {
		if r.Method == "PATCH" || r.Method == "PUT" {
			paths[r.Path] = true
		}
	}
	if len(paths) < 2 {
		t.Errorf("found %d paths of what can be changed, want those of applications and templates at least", len(paths))
	}
	for pattern := range paths {
		path, _, _ := k.paths(pattern)
		_, first := k.ifMatch("GET", path, "", "")
		status, second := k.ifMatch("PATCH", path, first, change)
		if first == "" || second == "" || first == second || status != 200 {
			t.Errorf("%s: the ETag %s became %s with %d", path, first, second, status)
		}
		for method, body := range map[string]string{"PATCH": change, "DELETE": ""} {
			for _, tag := range []string{first, `"x"`, "W/" + second} {
				if status, _ := k.ifMatch(method, path, tag, body); status != 412 {
					t.Errorf("%s %s with If-Match %s, where %s is current: got %d, want 412", method, path, tag, second, status)
				}
			}
		}
		if status, _ := k.ifMatch("DELETE", path, second, ""); status != 204 {
			t.Errorf("DELETE %s with the current version: got %d", path, status)
		}
	}
}

// Of a change and a deletion that name the same version, one is carried out: nobody deletes what they haven't read.
func TestOfTwoWhoNameAVersionOneWins(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		for range 40 {
			path := "/v1/applications/" + read[api.Application](t, k.call("", "POST", "/v1/applications", `{"name":"shop"}`, 201)).ID
			_, tag := k.ifMatch("GET", path, "", "")
			var wg sync.WaitGroup
			var patched, deleted int
			wg.Go(func() { patched, _ = k.ifMatch("PATCH", path, tag, `{"name":"other"}`) })
			wg.Go(func() { deleted, _ = k.ifMatch("DELETE", path, tag, "") })
			wg.Wait()
			won := 0
			if patched == 200 {
				won++
			}
			if deleted == 204 {
				won++
			}
			if won != 1 && !(deleted == 204 && patched == 404) {
				t.Errorf("the change got %d and the deletion %d, want that one is carried out", patched, deleted)
			}
		}
	})
}
