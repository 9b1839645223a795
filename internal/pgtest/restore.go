package pgtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Dump writes a database to a file, in the format of pg_restore.
func (c *Cluster) Dump(t testing.TB, database string) (file string) {
	t.Helper()
	file = filepath.Join(c.copies(t), "dump")
	if err := c.run("pg_dump", "--format=custom", "--file="+file, "--dbname="+c.URL(database)); err != nil {
		t.Fatal(err)
	}
	return file
}

// Restore restores a dump into a database. args are further arguments of
// pg_restore. It may deadlock with those who use the database, and then runs again, as its user would.
func (c *Cluster) Restore(t testing.TB, file, database string, args ...string) {
	t.Helper()
	for tries := 10; ; tries-- {
		err := c.run("pg_restore", append(args, "--dbname="+c.URL(database), file)...)
		switch {
		case err == nil:
			return
		case tries == 1 || !strings.Contains(err.Error(), "deadlock detected"):
			t.Fatal(err)
		}
	}
}

// BaseBackup copies a running cluster as pg_basebackup does.
func (c *Cluster) BaseBackup(t testing.TB) (folder string) {
	t.Helper()
	folder = filepath.Join(c.copies(t), "data")
	if err := c.run("pg_basebackup", "--pgdata="+folder, "--host="+c.dir, "--username="+superuser, "--checkpoint=fast"); err != nil {
		t.Fatal(err)
	}
	return folder
}

// Snapshot copies a cluster's files as they are at one instant, as a snapshot of its disk would. It
// stops the cluster while it copies.
func (c *Cluster) Snapshot(t testing.TB) (folder string) {
	t.Helper()
	folder = filepath.Join(c.copies(t), "data")
	c.Kill(t)
	c.copy(t, c.data(), folder)
	c.Start(t)
	return folder
}

// Replace replaces a stopped cluster's files by a copy, which remains usable.
func (c *Cluster) Replace(t testing.TB, folder string) {
	t.Helper()
	if err := os.RemoveAll(c.data()); err != nil {
		t.Fatal(err)
	}
	c.copy(t, folder, c.data())
}

func (c *Cluster) copy(t testing.TB, from, to string) {
	t.Helper()
	if out, err := c.command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", from, err, out)
	}
}

// copies returns a new folder on the server's own file system, in which the server's user can
// write.
func (c *Cluster) copies(t testing.TB) (folder string) {
	t.Helper()
	folder, err := os.MkdirTemp(c.dir, "copy-")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.give(folder); err != nil {
		t.Fatal(err)
	}
	return folder
}
