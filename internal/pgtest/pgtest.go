// Package pgtest runs a PostgreSQL server for tests. It makes a throwaway cluster from the
// installed binaries, without a service, a port or a password. The tests of one program share a
// server and have a database each. A test that stops its server makes another one with [New].
//
// If COUNTERSIGN_TEST_POSTGRES is set to the URL of a server that lets us create databases, that
// server is used instead of the shared one. Without it and without binaries, a test is reported as
// not run. It fails instead if COUNTERSIGN_TEST_REQUIRE is "all".
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	existing   = "COUNTERSIGN_TEST_POSTGRES"
	requireAll = "COUNTERSIGN_TEST_REQUIRE"
)

// errMissing also says how to install PostgreSQL.
var errMissing = errors.New("there is no PostgreSQL on PATH or under /usr/lib/postgresql; install it: apt-get install --no-install-recommends postgresql, or set " + existing)

// superuser is our user in our own clusters. It has no password, because nobody else can reach the
// socket.
const superuser = "countersign"

// Database makes a database on the shared server, and drops it when the test ends. template is a
// URL that Database returned, whose database is copied; without one, the new database is empty.
func Database(t testing.TB, template string) (databaseURL string) {
	t.Helper()
	server, err := shared()
	if err != nil {
		missing(t, err)
	}
	commons.use(t)
	made, err := database(commons.execute, server, template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := commons.drop(made); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return made
}

// Template makes a database on the shared server, once for all tests of this program, for [Database] to copy.
// fill fills it, and leaves no connection to it. The name says which template it is.
func Template(t testing.TB, name string, fill func(databaseURL string) error) (databaseURL string) {
	t.Helper()
	server, err := shared()
	if err != nil {
		missing(t, err)
	}
	c := &commons
	c.mu.Lock()
	defer c.mu.Unlock()
	if made, ok := c.templates[name]; ok {
		return made
	}
	made, err := database(c.execute, server, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(made); err != nil {
		t.Fatal(errors.Join(err, c.drop(made)))
	}
	if c.templates == nil {
		c.templates = map[string]string{}
	}
	c.templates[name] = made
	return made
}

// missing skips a test because PostgreSQL is missing, or fails it.
func missing(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, errMissing) || os.Getenv(requireAll) == "all" {
		t.Fatalf("NOT RUN: %v", err)
	}
	t.Skipf("NOT RUN: %v", err)
}

// commons holds the state that the tests of this program share.
var commons common

type common struct {
	once    sync.Once
	url     string
	cluster *Cluster // nil if the server isn't ours
	first   *Cluster // nil until one was needed
	err     error
	// admins make and drop databases. Connecting would take longer than that does.
	admins *pgxpool.Pool

	users sync.Map // tests that hold a place

	mu        sync.Mutex        // guards templates, also while one is made, and backends
	templates map[string]string // URLs by name
	backends  *pool             // nil until a database was lent
}

// places limits the number of tests that use the shared server concurrently. More tests, each with its
// pools, would connect faster than the server accepts, and it would refuse connections.
var places = make(chan struct{}, 16)

// use waits for a place, which the test keeps until it ends.
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
		if c.url = os.Getenv(existing); c.url == "" {
			if c.err = c.begin(); c.err != nil {
				return
			}
		}
		config, err := pgxpool.ParseConfig(c.url)
		if c.err = err; err != nil {
			return
		}
		config.MaxConns = 4
		c.admins, c.err = pgxpool.NewWithConfig(context.Background(), config)
	})
	return c.url, c.err
}

// begin starts the shared server.
func (c *common) begin() (err error) {
	if c.cluster, err = create(); err != nil {
		return err
	}
	c.url = c.cluster.URL("postgres")
	if err := c.cluster.configure("max_connections = 600", "autovacuum = off"); err != nil {
		return err
	}
	return c.cluster.start()
}

// execute runs one statement on the shared server.
func (c *common) execute(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := c.admins.Exec(ctx, text)
	return err
}

func (c *common) drop(databaseURL string) error {
	name, err := databaseName(databaseURL)
	if err != nil {
		return err
	}
	return c.execute("DROP DATABASE " + name + " WITH (FORCE)")
}

// Close removes the templates and stops the shared server. Call it at the end of TestMain. A program that is killed needs
// no Close where the server is ours.
func Close() {
	c := &commons
	if c.cluster == nil {
		for _, made := range c.templates {
			c.drop(made) // or else the server keeps an empty database
		}
	}
	if c.admins != nil {
		c.admins.Close()
	}
	for _, cluster := range []*Cluster{c.cluster, c.first} {
		if cluster != nil {
			cluster.remove()
		}
	}
}

var made atomic.Int64 // number of databases

// database makes a database on a server, where execute runs a statement.
func database(execute func(text string) error, server, template string) (databaseURL string, err error) {
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), made.Add(1))
	create := "CREATE DATABASE " + name
	if template != "" {
		from, err := databaseName(template)
		if err != nil {
			return "", err
		}
		create += " TEMPLATE " + from
	}
	if err := execute(create + byFiles(server)); err != nil {
		return "", fmt.Errorf("%s: %w", create, err)
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}

// byFiles returns the option that copies a database's files in our own clusters, of PostgreSQL 15 and later.
// It takes a quarter of the CPU that writing each page to the log takes, which is the default there. It also
// makes a checkpoint, for which somebody else's server may need long.
func byFiles(server string) string {
	if server == os.Getenv(existing) || !copiesFiles() {
		return ""
	}
	return " STRATEGY FILE_COPY"
}

// copiesFiles reports whether the installed PostgreSQL knows the option.
var copiesFiles = sync.OnceValue(func() bool {
	bin, err := binaries()
	if err != nil {
		return false
	}
	said, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output() // "postgres (PostgreSQL) 15.18 …"
	if err != nil {
		return false
	}
	_, version, _ := strings.Cut(string(said), "(PostgreSQL) ")
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 15
})

// InSchema returns the URL of a database for a program that finds the tables of one schema only.
func InSchema(databaseURL, schema string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func databaseName(databaseURL string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(u.Path, "/"), nil
}

// execute runs one statement on a new connection.
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

// A Cluster is a server that its test can stop and start.
type Cluster struct {
	dir      string // holds all of its files: data and the socket
	bin      string
	as       *syscall.Credential // nil: our own user
	watchdog *exec.Cmd
	lifeline interface{ Close() error } // closed when this process ends, for whatever reason
}

// New starts a cluster with settings, which are lines of postgresql.conf. The cluster is
// removed when the test ends.
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

// create makes a cluster without starting it, as a copy of the first one: initdb takes ten times the CPU. It gets a
// system identifier of its own, as initdb would give it.
func create() (*Cluster, error) {
	first, err := first()
	if err != nil {
		return nil, err
	}
	c, err := folder()
	if err != nil {
		return nil, err
	}
	err = c.execute("cp", "-a", first.data(), c.data())
	if err == nil {
		err = c.identify()
	}
	if err == nil {
		err = c.run("pg_resetwal", "--force", "--pgdata="+c.data()) // its log must have the identifier, too
	}
	if err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

// identify writes another system identifier to the control file. It is the first field; a CRC-32C of all before it is the last.
// See src/include/catalog/pg_control.h of PostgreSQL.
func (c *Cluster) identify() error {
	name := filepath.Join(c.data(), "global", "pg_control")
	control, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	sum := func(to int) uint32 { return crc32.Checksum(control[:to], crc32.MakeTable(crc32.Castagnoli)) }
	for end := 8; end+4 <= len(control); end += 4 {
		if binary.NativeEndian.Uint32(control[end:]) == sum(end) {
			rand.Read(control[:8]) // never fails, see crypto/rand
			binary.NativeEndian.PutUint32(control[end:], sum(end))
			return os.WriteFile(name, control, 0o600)
		}
	}
	return fmt.Errorf("%s has no checksum", name)
}

// first makes a cluster that is never started. It doesn't sync the files to disk: the cluster
// doesn't outlive the tests, and tests crash only its server, never the machine.
var first = sync.OnceValues(func() (*Cluster, error) {
	c, err := folder()
	if err != nil {
		return nil, err
	}
	args := []string{"--no-sync", "--pgdata=" + c.data(), "--auth=trust", "--username=" + superuser, "--encoding=UTF8", "--no-locale"}
	if err := c.run("initdb", args...); err != nil {
		c.remove()
		return nil, err
	}
	commons.first = c
	return c, nil
})

// folder makes an empty folder for a cluster, and starts the watchdog that
// removes it when we end.
func folder() (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin}
	if c.as, err = ordinary(); err != nil {
		return nil, err
	}
	// Don't use t.TempDir(): another user couldn't enter it, and a socket's path must be short.
	if c.dir, err = os.MkdirTemp(memory(), "cs-pg-"); err != nil {
		return nil, err
	}
	if err := c.give(c.dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	return c, c.watch()
}

// give makes a folder the server's, so that the watchdog can remove it.
func (c *Cluster) give(folder string) error {
	if c.as == nil {
		return nil
	}
	return os.Chown(folder, int(c.as.Uid), int(c.as.Gid))
}

// memory returns a file system in memory that has room for clusters, or "". On a disk, tests that
// make and drop databases would mostly wait for the disk. No test depends on a disk: what a power cut
// leaves is tested by PostgreSQL itself.
func memory() string {
	const dir, room = "/dev/shm", 4 << 30
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil || s.Bavail*uint64(s.Bsize) < room {
		return "" // the default folder for temporary files
	}
	return dir
}

// watch starts a shell that waits until our end closes its input, and then stops the server and
// removes its files. So no server outlives a test, even one that is killed.
func (c *Cluster) watch() error {
	const wait = `read -r _; "$0" -D "$1/data" -m immediate stop >/dev/null 2>&1; rm -rf "$1"`
	c.watchdog = c.command("sh", "-c", wait, filepath.Join(c.bin, "pg_ctl"), c.dir)
	c.watchdog.SysProcAttr.Setpgid = true // so that Ctrl-C doesn't reach it
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

// URL returns the URL of a database of the cluster.
func (c *Cluster) URL(database string) string {
	q := url.Values{"host": {c.dir}, "user": {superuser}}
	return (&url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: q.Encode()}).String()
}

// Database makes an empty database, or a copy of one, which is removed with its
// cluster.
func (c *Cluster) Database(t testing.TB, template string) (databaseURL string) {
	t.Helper()
	server := c.URL("postgres")
	databaseURL, err := database(func(text string) error { return execute(server, text) }, server, template)
	if err != nil {
		t.Fatal(err)
	}
	return databaseURL
}

// Exec runs one statement in a database of the cluster.
func (c *Cluster) Exec(t testing.TB, database, text string) {
	t.Helper()
	if err := execute(c.URL(database), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// configure adds settings. If a setting is repeated, the last one counts.
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

// Contents returns the bytes of all the cluster's files, as an attacker would get them by copying
// its folder.
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

// Log returns the server's log.
func (c *Cluster) Log() string {
	said, _ := os.ReadFile(c.logfile()) // a missing file is an empty log
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

// Kill stops the cluster immediately, like a crash: data that isn't on disk yet is lost.
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

// Detach stops a standby from receiving data. What its primary commits from now on is lost when the
// standby is promoted.
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

// command returns a command of PostgreSQL or of the system that runs as an
// ordinary user.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	return cmd
}

// run runs one of PostgreSQL's programs.
func (c *Cluster) run(name string, args ...string) error {
	return c.execute(filepath.Join(c.bin, name), args...)
}

func (c *Cluster) execute(name string, args ...string) error {
	// Write to a file, because a server that pg_ctl starts would keep a pipe open while it
	// runs.
	out, err := os.CreateTemp("", "cs-pg-out-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := c.command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, said)
	}
	return nil
}

// binaries returns the folder of the newest installed PostgreSQL. Distributions don't add the
// server's programs to PATH.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path) // the other programs may not be linked as well
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

// ordinary returns the user for the server if we are root, because the server
// refuses to run as root.
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
