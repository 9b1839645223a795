// Package pgtest gives tests a PostgreSQL of their own: a throwaway cluster from the binaries that
// are installed, without a service, a port or a password. The tests of one program share one, with
// a database each; a test that stops its server makes another.
//
// COUNTERSIGN_TEST_POSTGRES, the URL of a server on which we may create databases, is used instead
// of the shared one. Without it and without binaries a test is reported as not run, unless
// COUNTERSIGN_TEST_REQUIRE says that it must.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	existing   = "COUNTERSIGN_TEST_POSTGRES"
	requireAll = "COUNTERSIGN_TEST_REQUIRE"
)

// errMissing says what to do.
var errMissing = errors.New("there is no PostgreSQL on PATH or under /usr/lib/postgresql; install it: apt-get install --no-install-recommends postgresql, or set " + existing)

// superuser is who we are in a cluster of ours. There is no password: nobody else gets at its socket.
const superuser = "countersign"

// Database makes a database on the server that all tests share, and drops it when the test ends. It
// is a copy of template, a URL that Database returned; of none, it is empty.
func Database(t testing.TB, template string) (databaseURL string) {
	t.Helper()
	server, err := shared()
	if err != nil {
		missing(t, err)
	}
	commons.use(t)
	made := database(t, server, template)
	t.Cleanup(func() {
		if err := execute(server, "DROP DATABASE "+databaseName(t, made)+" WITH (FORCE)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return made
}

// missing skips a test for want of PostgreSQL, or fails it.
func missing(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, errMissing) || os.Getenv(requireAll) == "all" {
		t.Fatalf("NOT RUN: %v", err)
	}
	t.Skipf("NOT RUN: %v", err)
}

// commons is what the tests of this program share.
var commons common

type common struct {
	once    sync.Once
	url     string
	cluster *Cluster // nil if it isn't ours
	err     error

	users sync.Map // tests that have a place
}

// places are how many tests use the shared server at a time. More of them, each with its pools, fill the
// server's socket faster than it accepts, and then it refuses.
var places = make(chan struct{}, 16)

// use waits for a place, which the test has until its end.
func (c *common) use(t testing.TB) {
	if _, has := c.users.LoadOrStore(t, true); has {
		return
	}
	places <- struct{}{}
	t.Cleanup(func() {
		c.users.Delete(t)
		<-places
	})
}

func shared() (server string, err error) {
	c := &commons
	c.once.Do(func() {
		if c.url = os.Getenv(existing); c.url != "" {
			return
		}
		if c.cluster, c.err = create(); c.err != nil {
			return
		}
		if c.err = c.cluster.configure("max_connections = 300"); c.err == nil {
			c.err = c.cluster.start()
		}
		c.url = c.cluster.URL("postgres")
	})
	return c.url, c.err
}

// Close ends the shared server. Call it at the end of TestMain; a program that is killed needn't.
func Close() {
	if c := commons.cluster; c != nil {
		c.remove()
	}
}

var made atomic.Int64 // databases

// database makes a database on a server.
func database(t testing.TB, server, template string) string {
	t.Helper()
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), made.Add(1))
	create := "CREATE DATABASE " + name
	if template != "" {
		create += " TEMPLATE " + databaseName(t, template)
	}
	if err := execute(server, create); err != nil {
		t.Fatalf("%s: %v", create, err)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func databaseName(t testing.TB, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// execute runs one statement on a connection of its own.
func execute(databaseURL, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, text)
	return err
}

// A Cluster is a server that a test stops and starts.
type Cluster struct {
	dir      string // of all its files; below it, data and the socket
	bin      string
	as       *syscall.Credential // nil: as we are
	watchdog *exec.Cmd
	lifeline interface{ Close() error } // closed when we end, however we end
}

// New starts a cluster with settings, lines of postgresql.conf. It is gone when the test ends.
func New(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c, err := create()
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(c.remove)
	if err := c.configure(settings...); err != nil {
		t.Fatal(err)
	}
	c.Start(t)
	return c
}

// create makes a cluster and doesn't start it. Its first files needn't be on disk: nothing of it outlives
// the tests, and they crash its server, never the machine.
func create() (*Cluster, error) {
	c, err := folder()
	if err != nil {
		return nil, err
	}
	args := []string{"--no-sync", "--pgdata=" + c.data(), "--auth=trust", "--username=" + superuser, "--encoding=UTF8", "--no-locale"}
	if err := c.run("initdb", args...); err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

// folder makes an empty place for a cluster, and what removes it when we end.
func folder() (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin}
	if c.as, err = ordinary(); err != nil {
		return nil, err
	}
	// Not below t.TempDir(): another user couldn't get there, and a socket's path must be short.
	if c.dir, err = os.MkdirTemp(memory(), "cs-pg-"); err != nil {
		return nil, err
	}
	if c.as != nil {
		if err := os.Chown(c.dir, int(c.as.Uid), int(c.as.Gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(c.dir))
		}
	}
	return c, c.watch()
}

// memory is a file system without a disk that has room for clusters, or none. A test that makes a
// database and drops it would mostly wait for the disk, and no test can tell: what a power cut leaves
// is for PostgreSQL's own tests.
func memory() string {
	const dir, room = "/dev/shm", 4 << 30
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil || s.Bavail*uint64(s.Bsize) < room {
		return "" // where temporary files are
	}
	return dir
}

// watch starts a shell that waits for our end, by the end of its input, and then stops the server
// and removes its files. So none outlives a test, also when that is killed.
func (c *Cluster) watch() error {
	const wait = `read -r _; "$0" -D "$1/data" -m immediate stop >/dev/null 2>&1; rm -rf "$1"`
	c.watchdog = c.command("sh", "-c", wait, filepath.Join(c.bin, "pg_ctl"), c.dir)
	c.watchdog.SysProcAttr.Setpgid = true // Ctrl-C is not for it
	in, err := c.watchdog.StdinPipe()
	if err != nil {
		return err
	}
	c.lifeline = in
	return c.watchdog.Start()
}

func (c *Cluster) remove() {
	c.lifeline.Close()
	c.watchdog.Wait()
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// URL names a database of the cluster.
func (c *Cluster) URL(database string) string {
	q := url.Values{"host": {c.dir}, "user": {superuser}}
	return (&url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: q.Encode()}).String()
}

// socket is where the cluster listens.
func (c *Cluster) socket() string { return filepath.Join(c.dir, ".s.PGSQL.5432") }

// Database makes an empty database, or a copy of one, which is gone with its cluster.
func (c *Cluster) Database(t testing.TB, template string) (databaseURL string) {
	t.Helper()
	return database(t, c.URL("postgres"), template)
}

// Exec runs one statement in a database of the cluster.
func (c *Cluster) Exec(t testing.TB, database, text string) {
	t.Helper()
	if err := execute(c.URL(database), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// configure adds settings; the last of a name is the one that counts.
func (c *Cluster) configure(settings ...string) error {
	lines := append([]string{
		"listen_addresses = ''", "unix_socket_directories = '" + c.dir + "'", "timezone = 'UTC'",
	}, settings...)
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	return errors.Join(err, f.Close())
}

// Contents are the bytes of all the cluster's files, as somebody gets them who copies its folder.
func (c *Cluster) Contents(t testing.TB) (all []byte) {
	t.Helper()
	c.Exec(t, "postgres", "CHECKPOINT")
	err := filepath.WalkDir(c.data(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, data...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Log is what the server has said so far.
func (c *Cluster) Log() string {
	said, _ := os.ReadFile(c.logfile()) // none is none
	return string(said)
}

func (c *Cluster) logfile() string { return filepath.Join(c.dir, "log") }

// Start starts a stopped cluster and waits until it answers.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) start() error {
	if err := c.run("pg_ctl", "-D", c.data(), "-l", c.logfile(), "-w", "-t", "120", "start"); err != nil {
		return fmt.Errorf("%w\n%s", err, c.Log())
	}
	return nil
}

// Kill shuts the cluster down at once, as a crash would: what it then hasn't on disk is lost.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	if err := c.run("pg_ctl", "-D", c.data(), "-m", "immediate", "-w", "-t", "120", "stop"); err != nil {
		t.Fatal(err)
	}
}

// Standby makes an asynchronous streaming standby of a running cluster.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	s, err := folder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	if err := s.run("pg_basebackup", "--no-sync", "--pgdata="+s.data(), "--host="+c.dir, "--username="+superuser, "--checkpoint=fast", "--write-recovery-conf"); err != nil {
		t.Fatal(err)
	}
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	return s
}

// Detach makes a standby receive nothing any more: what its primary commits from now on is lost when
// it is promoted.
func (c *Cluster) Detach(t testing.TB) {
	t.Helper()
	c.Exec(t, "postgres", "ALTER SYSTEM SET primary_conninfo = ''")
	c.Exec(t, "postgres", "SELECT pg_reload_conf()")
	for end := time.Now().Add(time.Minute); execute(c.URL("postgres"), "SELECT 1 / (count(*) = 0)::int FROM pg_stat_wal_receiver") != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the standby goes on receiving")
		}
	}
}

// Promote makes a standby the primary.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	if err := c.run("pg_ctl", "-D", c.data(), "-w", "-t", "120", "promote"); err != nil {
		t.Fatal(err)
	}
}

// command is a program of PostgreSQL, or of the system, as an ordinary user.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	return cmd
}

func (c *Cluster) run(name string, args ...string) error {
	// To a file: a server that pg_ctl starts would hold a pipe open for as long as it runs.
	out, err := os.CreateTemp("", "cs-pg-out-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := c.command(filepath.Join(c.bin, name), args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, said)
	}
	return nil
}

// binaries is the folder of the newest PostgreSQL that is installed. Distributions don't put the
// server on PATH.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path) // the others needn't be linked as well
		return filepath.Dir(path), err
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.Join(err, errMissing)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// ordinary is the user that the server runs as when we are root, which it refuses.
func ordinary() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}
