package check

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
)

// The compose files are right by Compose's schema, and name no service, network or volume that isn't there.
func TestComposeReadsItsFiles(t *testing.T) {
	for file, want := range map[string][]string{
		"../compose.yaml":          {"countersign", "grafana", "prometheus"},
		"../replicas/compose.yaml": {"caddy", "one", "postgres", "two"},
	} {
		options, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		project, err := options.LoadProject(t.Context())
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got := project.ServiceNames(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}
