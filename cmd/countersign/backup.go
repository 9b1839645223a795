package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
)

type backupCommand struct {
	database
	To string `arg:"" help:"File to write; it must not exist."`
}

// Run implements the command.
func (c *backupCommand) Run(w world) error {
	f, err := os.OpenFile(c.To, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // SQLite keeps the mode
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already: it is not replaced", c.To)
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	err = c.with(w.ctx, false, func(st *store.Store) error {
		return st.Backup(w.ctx, c.To, w.progress("copied", "pages"))
	})
	if err != nil {
		return errors.Join(err, os.Remove(c.To)) // half a copy is none
	}
	if err := syncFile(c.To); err != nil {
		return err
	}
	return printDone(w, c.JSON, row{{"", "file", c.To}}, "Copied the database to %s. The keyset is not in it: keep that apart.", c.To)
}

// syncFile makes what a file or a folder holds durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type restoreCommand struct {
	database
	From string `arg:"" help:"Backup to restore."`
}

// Run implements the command.
func (c *restoreCommand) Run(w world) error {
	folder, pg, err := c.find()
	if err != nil {
		return err
	}
	if pg != nil {
		return errors.New("this database is PostgreSQL's: restore it with its own tools")
	}
	release, err := holdFolder(folder)
	if err != nil {
		return err
	}
	defer release()
	to := filepath.Join(folder, system.DatabaseFile)
	// A log that another database left there would be replayed into this one.
	for _, ending := range []string{"", "-wal", "-shm", "-journal"} {
		if _, err := os.Stat(to + ending); err == nil {
			return fmt.Errorf("%s exists already; stop the server and move its files away first (%s and those with -wal and -shm after it)", to+ending, system.DatabaseFile)
		}
	}
	if err := c.restore(w, to); err != nil {
		return fmt.Errorf("restore %s: %w", c.From, err)
	}
	return nil
}

// restore makes the database under another name, and names it right when all is void: a restore that is stopped
// leaves nothing that a server would open.
func (c *restoreCommand) restore(w world, to string) error {
	half := to + ".half"
	removeDatabase(half) // an earlier restore may have been interrupted
	n, err := c.copyAndVoid(w, half)
	if err == nil {
		err = os.Rename(half, to)
	}
	if err != nil {
		removeDatabase(half)
		return err
	}
	if err := syncFile(filepath.Dir(to)); err != nil {
		return err
	}
	// The witness holds decisions that the backup lacks. All that was pending has been voided by now.
	if err := os.Remove(filepath.Join(filepath.Dir(to), store.WitnessFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return printDone(w, c.JSON, row{{"", "file", to}, {"", "voided", n}},
		"Restored %s. Voided %d pending verifications: guesses spent after the backup are not in it.", to, n)
}

func removeDatabase(path string) {
	for _, ending := range []string{"", "-wal", "-shm"} {
		os.Remove(path + ending)
	}
}

// copyAndVoid copies a backup that is whole, and voids what was pending: guesses that were spent since the
// backup are not in it, and neither is which codes were used.
func (c *restoreCommand) copyAndVoid(w world, to string) (voided int, err error) {
	if err := copyFile(c.From, to); err != nil {
		return 0, err
	}
	st, err := store.Open(w.ctx, store.Options{Path: to, Migrate: true}) // an older server may have saved it
	if err != nil {
		return 0, err
	}
	if err = st.Intact(w.ctx); err == nil {
		voided, err = admin.New(st).Void(w.ctx, actor(), "restore")
	}
	if err = errors.Join(err, st.Close()); err != nil {
		return 0, err
	}
	if _, err := os.Stat(to + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s-wal is still there, which holds a part of the database", to)
	}
	return voided, nil
}

// copyFile copies to a new file that only its owner can read, durably.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
