package system

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/store"
)

const (
	// lookForKeys is how often a server looks whether its keyset was changed.
	lookForKeys = time.Second
	// attendEvery is how often it records which keys it has, and reads which the others have.
	attendEvery = 5 * time.Second
	// spreads is how long a new keyset may take to reach all servers. A server that waits longer for the others
	// isn't ready.
	spreads = 30 * time.Second
)

// A keyring sees to it that all servers of a database can read what each of them writes.
//
// A key makes verifications only when all servers have it; until then the key before goes on. A server makes
// none and isn't ready if it has no key that all others have, or lacks the key that another one uses.
// A server that lacks a key of pending verifications isn't ready either, but makes new ones.
type keyring struct {
	store   *store.Store
	keys    *keyset.Set
	outages *outage.Log
	now     func() time.Time
	shared  bool            // the database has other servers as well
	beside  func() []string // the names of the other databases that this process serves; may be nil

	me      [16]byte
	host    string
	serves  []string               // the databases that were last recorded
	waits   time.Time              // when the file first named a key that can't be used yet; zero: it can
	said    []keyset.Print         // what was last recorded
	wanted  uint32                 // the primary key of the file then
	at      time.Time              // when it was recorded
	problem atomic.Pointer[string] // nil: none
}

// newKeyring joins the servers of a database.
func newKeyring(ctx context.Context, c Config, st *store.Store) (*keyring, error) {
	k := &keyring{store: st, keys: c.Keys, outages: c.Outages, now: time.Now, shared: c.Postgres != nil, beside: c.Beside, me: uuid.New()}
	k.host, _ = os.Hostname() // only for people
	for until := time.Now().Add(othersTurns); ; wait(ctx, lookForTurn) {
		err := k.attend(ctx)
		if err == nil {
			return k, nil
		}
		if !store.Passing(err) || time.Now().After(until) || ctx.Err() != nil {
			return nil, fmt.Errorf("compare the keyset with what the database knows: %w", err)
		}
	}
}

// othersTurns is how long a server that starts waits while others compare their keys.
const (
	othersTurns = 5 * time.Second
	lookForTurn = 50 * time.Millisecond
)

// wrong says why the server isn't ready; "" is nothing.
func (k *keyring) wrong() string {
	if p := k.problem.Load(); p != nil {
		return *p
	}
	return ""
}

// run attends until ctx ends.
func (k *keyring) run(ctx context.Context) {
	ticker := time.NewTicker(lookForKeys)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !k.due() {
			continue
		}
		if err := k.attend(ctx); err != nil && ctx.Err() == nil {
			complain(k.outages, "compare keysets", err)
		}
	}
}

// databases are the names of those that this process serves.
func (k *keyring) databases() (all []string) {
	if k.beside != nil {
		all = k.beside()
	}
	all = append(all, k.store.Database())
	slices.Sort(all)
	return slices.Compact(all)
}

// due reports whether it is time to attend. Where there is no other server, nothing changes but by a new
// keyset, and by time where a key is missing.
func (k *keyring) due() bool {
	prints, wanted := k.keys.Prints()
	changed := wanted != k.wanted || len(prints) != len(k.said) || len(prints) > 0 && &prints[0] != &k.said[0] || !slices.Equal(k.databases(), k.serves)
	return changed || (k.shared || k.wrong() != "") && k.now().Sub(k.at) >= attendEvery
}

// attend compares our keys with those of others, and with those that made what is pending.
func (k *keyring) attend(ctx context.Context) error {
	prints, wanted := k.keys.Prints()
	var primary, lacks uint32
	serves := k.databases()
	missing, err := k.store.HoldKeys(keyset.Holder{Server: k.me, Prints: prints, Serves: serves, Host: k.host}, func(others []keyset.Holder) uint32 {
		primary, lacks = keyset.Choose(prints, wanted, k.keys.Primary(), others)
		return primary
	})
	if err != nil {
		return err
	}
	k.keys.Use(primary)
	k.said, k.wanted, k.serves, k.at = prints, wanted, serves, k.now()
	if primary == wanted {
		k.waits = time.Time{}
	} else if k.waits.IsZero() {
		k.waits = k.at
	}
	problem := k.judge(primary, lacks)
	for _, m := range missing {
		if problem != "" {
			break
		}
		pending, err := k.store.Pending(ctx, m)
		switch {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil: // a slow disk is no reason to be ready without the key
			complain(k.outages, "look for codes of a missing key", err)
			problem = fmt.Sprintf("the keyset lacks key %d, and the database doesn't say in time whether codes that it made are still valid: put it back; or give these codes up with countersign void", m.ID)
		case pending:
			problem = fmt.Sprintf("the keyset lacks key %d, which made codes that are still valid: put it back; or give these codes up with countersign void", m.ID)
		}
	}
	k.tell(problem)
	return nil
}

// judge says what is wrong with the keyset beside those of other servers.
func (k *keyring) judge(primary, lacks uint32) string {
	switch {
	case lacks != 0:
		return fmt.Sprintf("the keyset lacks key %d, which another server makes codes with: give all servers the same keyset", lacks)
	case primary == 0:
		return "no key of the keyset is one that all other servers have: give all servers the same keyset"
	case !k.waits.IsZero() && k.now().Sub(k.waits) >= spreads:
		return fmt.Sprintf("another server lacks key %d, the primary one of this keyset, so key %d makes codes: give all servers the same keyset", k.wanted, primary)
	}
	return ""
}

// tell changes what is wrong, and logs it.
func (k *keyring) tell(problem string) {
	if problem == "" {
		k.problem.Store(nil)
		k.outages.Works("keyset", "the keyset is complete again")
		return
	}
	k.problem.Store(&problem)
	k.outages.Failed("keyset", slog.LevelError, "not ready: "+problem)
}

// leave tells the other servers not to wait for this one. Where that fails, they stop waiting after a while.
func (k *keyring) leave() {
	if k.shared {
		k.store.Leave(k.me)
	}
}
