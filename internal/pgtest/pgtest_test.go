package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// hold is the variable that makes this program start the shared server, print its address,
// and wait to be killed.
const hold = "COUNTERSIGN_TEST_HOLD"

func TestMain(m *testing.M) {
	if os.Getenv(hold) != "" {
		_, err := shared()
		if err == nil {
			_, err = commons.pool()
		}
		fmt.Println(commons.cluster.dir, err)
		select {}
	}
	code := m.Run()
	Close()
	os.Exit(code)
}

func value(t *testing.T, databaseURL, query string) (v string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func TestEachDatabaseIsItsOwn(t *testing.T) {
	t.Parallel()
	first, second := Database(t, ""), Database(t, "")
	if err := execute(first, "CREATE TABLE a AS SELECT 'x' AS b"); err != nil {
		t.Fatal(err)
	}
	if got := value(t, second, "SELECT count(*)::text FROM pg_tables WHERE tablename = 'a'"); got != "0" {
		t.Errorf("the other database has %s tables of that name, want 0", got)
	}
	if got := value(t, Database(t, first), "SELECT b FROM a"); got != "x" {
		t.Errorf("the copy holds %q, want x", got)
	}
}

func TestATemplateIsMadeOnce(t *testing.T) {
	t.Parallel()
	var filled atomic.Int64
	fill := func(databaseURL string) error {
		filled.Add(1)
		return execute(databaseURL, "CREATE TABLE a AS SELECT 'x' AS b")
	}
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			made := Database(t, Template(t, "once", fill))
			if got := value(t, made, "SELECT b FROM a"); got != "x" || filled.Load() != 1 {
				t.Errorf("the copy holds %q after %d fills, want x after one", got, filled.Load())
			}
		})
	}
}

func TestPromotedStandbyHasLostWhatItDidNotReceive(t *testing.T) {
	t.Parallel()
	c := New(t)
	c.Exec(t, "postgres", "CREATE TABLE a AS SELECT 1 AS b")
	s := c.Standby(t)
	s.Detach(t)
	c.Exec(t, "postgres", "INSERT INTO a VALUES (2)")
	c.Kill(t)
	s.Promote(t)
	if got := value(t, s.URL("postgres"), "SELECT count(*)::text FROM a"); got != "1" {
		t.Errorf("the promoted standby has %s rows, want 1", got)
	}
	c.Start(t)
	if got := value(t, c.URL("postgres"), "SELECT count(*)::text FROM a"); got != "2" {
		t.Errorf("the old primary has %s rows, want 2", got)
	}
}

func TestNothingOutlivesAProgramThatIsKilled(t *testing.T) {
	t.Parallel()
	if _, err := binaries(); err != nil {
		missing(t, err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), hold+"=1", existing+"=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	dir, failed, _ := strings.Cut(strings.TrimSpace(line), " ")
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil || failed != "<nil>" {
		t.Fatalf("the program said %q: %v", line, err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(dir)
		gone := errors.Is(err, os.ErrNotExist)
		if gone && exec.Command("pgrep", "-f", "--", dir).Run() != nil {
			break // nor does a process run
		}
		if time.Now().After(end) {
			t.Fatalf("the folder %s is gone: %v; if it is, a process of it runs still", dir, gone)
		}
	}
}

func TestClustersHaveTheirOwnIdentifiers(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for range 3 {
		ids[value(t, New(t).URL("postgres"), "SELECT system_identifier::text FROM pg_control_system()")] = true
	}
	if len(ids) != 3 {
		t.Errorf("three clusters have the identifiers %v", ids)
	}
}

// A wire makes a round trip longer, and not longer still where an answer comes in many pieces.
func TestAWireDelaysAnAnswerOnce(t *testing.T) {
	t.Parallel()
	c := New(t)
	w := NewWire(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second) // pieces of 32 KiB that wait for each other would take longer
	defer cancel()
	conn, err := pgx.Connect(ctx, w.URL(c.Database(t, "")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	w.Delay(time.Second)
	began, answer := time.Now(), ""
	if err := conn.QueryRow(ctx, "SELECT repeat('x', 2000000)", pgx.QueryExecModeSimpleProtocol).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); len(answer) != 2_000_000 || took < time.Second {
		t.Errorf("%d bytes took %v, want 2000000 after a second at least", len(answer), took)
	}
}
