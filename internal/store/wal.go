package store

import (
	"errors"
	"io/fs"
	"os"
	"time"

	direct "zombiezen.com/go/sqlite"
)

const (
	// walKept is how large a log may stay: about what SQLite writes before it copies it into the file by itself.
	walKept = 4 << 20
	// walQuiet is how long nobody has written before the log is cut.
	walQuiet = 5 * time.Second
)

// A walTrimmer cuts SQLite's log at quiet times. After a flood, or a long reader, it stays as large as it was, and
// takes room and the time of backups.
type walTrimmer struct {
	path  string // the database's
	quiet time.Duration

	seen  fs.FileInfo // of the log, unchanged since then
	since time.Time
}

// look cuts the log if it is large and nobody has written for a while.
func (w *walTrimmer) look(now time.Time) error {
	info, err := os.Stat(w.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if w.seen == nil || w.seen.Size() != info.Size() || !w.seen.ModTime().Equal(info.ModTime()) {
		w.seen, w.since = info, now
		return nil
	}
	if info.Size() <= walKept || now.Sub(w.since) < w.quiet {
		return nil
	}
	w.since = now
	return trimWAL(w.path)
}

// trimWAL copies the log into the database and cuts it. It waits for nobody, for those who write would wait for it:
// beside a reader of an older state nothing is cut, until the next look.
func trimWAL(path string) (err error) {
	conn, err := direct.OpenConn(fileURI(path), direct.OpenReadWrite, direct.OpenURI)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	conn.SetBusyTimeout(0)
	for _, mode := range []string{"PASSIVE", "TRUNCATE"} { // the first one, which has all the work, lets others write
		stmt, _, err := conn.PrepareTransient("PRAGMA wal_checkpoint(" + mode + ")")
		if err != nil {
			return err
		}
		_, err = stmt.Step() // a row says whether it was busy
		if err = errors.Join(err, stmt.Finalize()); err != nil {
			return err
		}
	}
	return nil
}
