package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// One server at a time has a folder, and the simulator never gets what a server's people wait for.
// Other commands go on beside a server.
func TestAFolderIsOneServers(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), nil)
	dev := []string{"dev", "--addr", "127.0.0.1:0", "--data", "data"}
	p := in.serve()
	want := fmt.Sprintf("data is in use by another countersign serve, process %d: stop that", p.cmd.Process.Pid)
	if said := in.fails(1, "serve"); !strings.Contains(said, want) {
		t.Errorf("a second server said %q, want %q", said, want)
	}
	belongs := "data belongs to countersign serve: its messages would go to the simulator"
	if said := in.fails(1, dev...); !strings.Contains(said, belongs) {
		t.Errorf("dev beside it said %q, want %q", said, belongs)
	}
	in.run("project", "list", "--data", "data")
	in.run("backup", "--data", "data", "copy.db")
	used := fmt.Sprintf("data is in use by another countersign serve, process %d: stop that first", p.cmd.Process.Pid)
	for _, command := range [][]string{
		{"restore", "--data", "data", "copy.db"},
		{"migrate", "--from", "sqlite:data", "--to", "postgres://nobody@127.0.0.1:1/none"},
		{"migrate", "--from", "sqlite:data", "--abort"},
	} {
		if said := in.fails(1, command...); !strings.Contains(said, used) {
			t.Errorf("%v beside it said %q, want %q", command, said, used)
		}
	}

	p.kill()
	if said := in.fails(1, dev...); !strings.Contains(said, belongs) {
		t.Errorf("dev after it said %q, want %q", said, belongs)
	}
	p = in.serve() // however the first one ended
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}
	if said := in.fails(1, dev...); !strings.Contains(said, belongs) {
		t.Errorf("dev after a shutdown said %q, want %q", said, belongs)
	}
}

// A folder that the simulator serves is not a server's until that ends.
func TestServersKeepOffTheSimulatorsFolder(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	first, err := borrowFolder(data)
	if err != nil {
		t.Fatal(err)
	}
	second, err := borrowFolder(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := second(); err != nil {
		t.Fatal(err)
	}
	if _, err := claimFolder(data); err == nil || !strings.Contains(err.Error(), "data is in use by countersign dev") {
		t.Errorf("a server beside dev: got %v, want that dev uses it", err)
	}
	if err := first(); err != nil {
		t.Fatal(err)
	}
	// At once, also while others start programs, which have our files for a moment.
	var others sync.WaitGroup
	defer others.Wait()
	for range 4 {
		others.Go(func() {
			for range 20 {
				exec.Command("true").Run()
			}
		})
	}
	for range 200 {
		release, err := claimFolder(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := release(); err != nil {
			t.Fatal(err)
		}
	}
}
