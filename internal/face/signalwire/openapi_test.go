package signalwire

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/docs"
)

// The description is written by hand, so the router is compared with it both ways.
func TestTheDescriptionIsTheRouters(t *testing.T) {
	t.Parallel()
	text, err := docs.Files.ReadFile("openapi-signalwire.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	var has, routes []string
	for path, methods := range d.Paths {
		for method, o := range methods {
			has = append(has, strings.ToUpper(method)+" "+path)
			if ids[o.OperationID] || o.OperationID == "" {
				t.Errorf("%s %s has the operation id %q, which is missing or taken", method, path, o.OperationID)
			}
			ids[o.OperationID] = true
		}
	}
	for _, r := range (&Server{}).routes() {
		pattern := r.Pattern
		routes = append(routes, pattern)
	}
	slices.Sort(has)
	slices.Sort(routes)
	if diff := cmp.Diff(slices.Compact(routes), has); diff != "" {
		t.Errorf("(-router +description):\n%s", diff)
	}
}
