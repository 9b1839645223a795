package store

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A decision is what came of a verification: that it was started, guessed at or ended. Guesses only grow,
// and what has ended stays so.
type decision struct {
	ID      verify.ID     `json:"-"`
	Name    string        `json:"verification"` // the ID, in the file
	Status  verify.Status `json:"status"`
	Guesses int           `json:"guesses"`

	Project verify.ProjectID `json:"project"` // "": a program wrote it that didn't remember whose they are
}

// A witness remembers, outside of the database, the last decisions that are known to be committed. A
// database that doesn't have them is an older copy of itself.
//
// It lives with its process, and in a file if it has one. The file may lag behind, but it is never ahead of
// the database.
type witness struct {
	path string // "": no file

	mu       sync.Mutex // guards all below
	database string     // whose decisions they are; "" is any
	last     []decision // of each lane
	unsaved  bool
}

// WitnessFile is the name of a witness's file beside an SQLite file.
const WitnessFile = "witness.json"

// keptFor is how long every verification is kept at least: one that is older may have been deleted. The shortest
// retention is an hour longer, for the clock of the server that deletes may be ahead.
const keptFor = 23 * time.Hour

// newWitness reads what an earlier process remembered, if anything.
func newWitness(path string) (*witness, error) {
	w := &witness{path: path}
	if path == "" {
		return w, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	var file witnessFile
	if json.Unmarshal(text, &file) != nil {
		return w, nil // a power cut may have left half of it
	}
	w.database = file.Database
	for _, d := range file.Decisions {
		if d.ID, err = verify.ParseID(d.Name); err == nil {
			w.last = append(w.last, d)
		}
	}
	return w, nil
}

type witnessFile struct {
	Database  string     `json:"database"`
	Decisions []decision `json:"decisions"`
}

// keep remembers a lane's last decision.
func (w *witness) keep(lane int, v *verify.Verification) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.last) <= lane {
		w.last = append(w.last, decision{})
	}
	w.last[lane] = decision{ID: v.ID, Status: v.Status, Guesses: v.Guesses, Project: v.Project}
	w.unsaved = true
}

// of says whose decisions are kept from now on. Those of another database are forgotten.
func (w *witness) of(database string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.database != "" && w.database != database {
		w.last, w.unsaved = nil, true
	}
	w.database = database
}

// clear forgets everything: what was lost has been voided.
func (w *witness) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.unsaved = nil, true
}

// decisions are those that a database must have at an instant.
func (w *witness) decisions(database string, now time.Time) (all []decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.database != "" && w.database != database {
		return nil
	}
	for _, d := range w.last {
		if !d.ID.IsZero() && now.Sub(d.ID.Time()) < keptFor {
			all = append(all, d)
		}
	}
	return all
}

// forget forgets decisions on verifications from before an instant, which are being deleted.
func (w *witness) forget(before time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, d := range w.last {
		if d.ID.Time().Before(before) {
			w.last[i] = decision{}
			w.unsaved = true
		}
	}
}

// lost reports whether a verification as it is read shows that a decision is lost.
func (d decision) lost(found bool, status verify.Status, guesses int) bool {
	return !found || guesses < d.Guesses || d.Status != verify.StatusPending && status == verify.StatusPending
}

// save writes the file, if there is something new. It needn't be on disk: an older one proves less, that
// is all.
func (w *witness) save() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.path == "" || !w.unsaved {
		return nil
	}
	file := witnessFile{Database: w.database}
	for _, d := range w.last {
		if !d.ID.IsZero() {
			d.Name = d.ID.String()
			file.Decisions = append(file.Decisions, d)
		}
	}
	text, err := json.Marshal(file)
	if err != nil {
		return err
	}
	if err := replaceFile(w.path, text); err != nil {
		return err
	}
	w.unsaved = false
	return nil
}

// replaceFile writes a file that others never see half of.
func replaceFile(path string, text []byte) error {
	half, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)) // 0600
	if err != nil {
		return err
	}
	_, err = half.Write(text)
	if err = errors.Join(err, half.Close()); err == nil {
		err = os.Rename(half.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(half.Name()))
	}
	return err
}

// ofSQLite says that decisions are those of the file beside them.
const ofSQLite = "sqlite"

// witnessed voids what is pending in an SQLite file that lacks a decision.
func (s *Store) witnessed(ctx context.Context) error {
	defer s.witness.of(ofSQLite)
	for _, d := range s.witness.decisions(ofSQLite, s.now()) {
		v, err := s.stored(ctx, d.ID)
		if err != nil && !errors.Is(err, verify.ErrNotFound) {
			return err
		}
		if err == nil && !d.lost(true, v.Status, v.Guesses) {
			continue
		}
		n, err := s.VoidPending(ctx, "countersign", "void")
		if err != nil {
			return err
		}
		if s.log != nil {
			s.log.ErrorContext(ctx, "all pending verifications are void: the database file is an older copy", "voided", n)
		}
		s.witness.clear()
		return nil
	}
	return nil
}

// attend saves the witness and has the engine look after its database, each second until ctx ends.
func (s *Store) attend(ctx context.Context) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	told := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s.watch != nil {
			s.watch(ctx)
		}
		err := s.witness.save()
		if err != nil && !told && s.log != nil {
			s.log.WarnContext(ctx, "what this server decided last isn't remembered: an older copy of the database could go unnoticed", "err", err)
		}
		told = err != nil
	}
}

// watchInterval is how long something that happened to the database may stay unseen by a process that
// needs no new connection.
const watchInterval = time.Second
