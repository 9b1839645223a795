package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// holderLife is how long a server counts as running after it last attended.
const holderLife = 20 * time.Second

// usedSlack is how long after made_with says that a key was last used the key may still have made a
// verification: servers attend every few seconds, and their clocks differ from the database's.
const usedSlack = 15 * time.Second

// keyScan bounds the search for verifications of a key that is missing. It is more than all servers start
// within usedSlack.
const keyScan = 100_000

// A MissingKey made verifications on this database, and a server lacks it.
type MissingKey struct {
	ID     uint32
	usedAt time.Time
	held   bool // by another server
}

// HoldKeys records that a server runs, which keys it has, and which one makes its verifications. choose decides
// the last of these from what the other servers have. HoldKeys returns the keys that the server lacks.
//
// All of it is one transaction, and servers take turns: no two of them choose without knowing of each other.
// A file has one server, so there are no others.
func (s *Store) HoldKeys(me keyset.Holder, choose func(others []keyset.Holder) (primary uint32)) (missing []MissingKey, err error) {
	err = s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if s.postgres {
			if now, err = s.takeKeyTurn(ctx, tx); err != nil {
				return err
			}
		}
		others, err := s.holders(ctx, tx, me, now)
		if err != nil {
			return err
		}
		s.others.Store(int32(len(others)))
		me.Primary = choose(others)
		if s.postgres {
			if err := hold(ctx, tx, me, now); err != nil {
				return err
			}
		}
		known, err := use(ctx, tx, me, now, len(others) == 0)
		if err != nil {
			return err
		}
		missing = nil
		for _, k := range known {
			if !me.Has(k.Print) {
				held := slices.ContainsFunc(others, func(o keyset.Holder) bool { return o.Has(k.Print) })
				missing = append(missing, MissingKey{k.ID, k.usedAt, held})
			}
		}
		return nil
	})
	return missing, err
}

// takeKeyTurn takes the turn, unless another server has it, and returns the database's time: the servers' own clocks may
// differ.
func (s *Store) takeKeyTurn(ctx context.Context, tx *sql.Tx) (now time.Time, err error) {
	// It doesn't wait in the database: a server that froze in its turn must not stop this one's writer.
	if c := s.citus(); c != nil {
		return c.takeKeyTurn(ctx, tx)
	}
	if _, err := tx.ExecContext(ctx, `LOCK TABLE key_holder IN SHARE ROW EXCLUSIVE MODE NOWAIT`); err != nil {
		return now, err
	}
	var ms int64
	err = tx.QueryRowContext(ctx, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint`).Scan(&ms)
	return fromMillis(ms), err
}

const holderRows = `SELECT server, keys, makes, serves, host FROM key_holder`

// holders are the other servers that run.
func (s *Store) holders(ctx context.Context, tx *sql.Tx, me keyset.Holder, now time.Time) ([]keyset.Holder, error) {
	if !s.postgres {
		return nil, nil
	}
	return query(ctx, tx, scanHolder, holderRows+` WHERE server <> $1 AND seen_at > $2`,
		me.Server[:], millis(now.Add(-holderLife)))
}

// hold records that a server runs, and forgets those that haven't attended for a while.
func hold(ctx context.Context, tx *sql.Tx, me keyset.Holder, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM key_holder WHERE seen_at <= $1`, millis(now.Add(-holderLife))); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO key_holder (server, keys, makes, seen_at, serves, host) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (server) DO UPDATE SET keys = excluded.keys, makes = excluded.makes, seen_at = excluded.seen_at, serves = excluded.serves`,
		me.Server[:], joinPrints(me.Prints), int64(me.Primary), millis(now), strings.Join(me.Serves, "\n"), me.Host)
	return err
}

// use records that a server makes verifications with its primary key, and returns all keys that were used.
//
// The server of a file attends only when its keys change, and a server that was killed may have started
// verifications since it attended. So where no other server runs, the key that was used last may have been
// used until now.
func use(ctx context.Context, tx *sql.Tx, me keyset.Holder, now time.Time, alone bool) (known []madeWith, err error) {
	if alone {
		if _, err := tx.ExecContext(ctx, `UPDATE made_with SET used_at = $1 WHERE key_id <> $2 AND used_at = (SELECT MAX(used_at) FROM made_with)`,
			millis(now)-1, int64(me.Primary)); err != nil {
			return nil, err
		}
	}
	for _, p := range me.Prints {
		if p.ID != me.Primary {
			continue
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO made_with (key_id, print, used_at) VALUES ($1, $2, $3)
			ON CONFLICT (key_id) DO UPDATE SET print = excluded.print, used_at = excluded.used_at`,
			int64(p.ID), p.Sum[:], millis(now)); err != nil {
			return nil, err
		}
	}
	return query(ctx, tx, scanMadeWith, `SELECT key_id, print, used_at FROM made_with ORDER BY key_id`)
}

// Leave records that a server doesn't run any more.
func (s *Store) Leave(server [16]byte) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM key_holder WHERE server = $1`, server[:])
		return err
	})
}

// Pending reports whether a missing key made a verification that is still pending. It looks at the newest
// keyScan that the key may have made. A key that isn't needed any more, and that no server has, is forgotten.
func (s *Store) Pending(ctx context.Context, k MissingKey) (bool, error) {
	now := s.now()
	from, to := verify.FirstID(now.Add(-verify.MaxLife)), verify.FirstID(k.usedAt.Add(usedSlack))
	_, err := pool.One(ctx, s.upkeep, scanID, `SELECT id FROM (
			SELECT id, key_id, status, expires_at FROM verification
			WHERE id > $1 AND id < $2 AND id > COALESCE((SELECT id FROM watermark WHERE name = 'void'), $1) ORDER BY id DESC LIMIT $3
		) newest WHERE key_id = $4 AND status = $5 AND expires_at > $6 LIMIT 1`,
		from[:], to[:], keyScan, int64(k.ID), verify.StatusPending, millis(now))
	switch {
	case err == nil:
		return true, nil
	case !errors.Is(err, sql.ErrNoRows):
		return false, away("look for verifications of a key", err)
	case k.held:
		return false, nil
	}
	return false, s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM made_with WHERE key_id = $1 AND used_at = $2`, int64(k.ID), millis(k.usedAt))
		return err
	})
}

type madeWith struct {
	keyset.Print
	usedAt time.Time
}

func scanMadeWith(row scanner) (k madeWith, err error) {
	var id, usedAt int64
	var sum []byte
	err = row.Scan(&id, &sum, &usedAt)
	k.ID, k.usedAt = uint32(id), fromMillis(usedAt)
	copy(k.Sum[:], sum)
	return k, err
}

func scanHolder(row scanner) (h keyset.Holder, err error) {
	var server, keys []byte
	var makes int64
	var serves string
	if err := row.Scan(&server, &keys, &makes, &serves, &h.Host); err != nil {
		return h, err
	}
	if serves != "" {
		h.Serves = strings.Split(serves, "\n")
	}
	copy(h.Server[:], server)
	h.Primary = uint32(makes)
	h.Prints, err = splitPrints(keys)
	return h, err
}

func joinPrints(all []keyset.Print) []byte {
	out := []byte{}
	for _, p := range all {
		out = append(binary.BigEndian.AppendUint32(out, p.ID), p.Sum[:]...)
	}
	return out
}

func splitPrints(b []byte) (all []keyset.Print, err error) {
	var p keyset.Print
	size := 4 + len(p.Sum)
	if len(b)%size != 0 {
		return nil, fmt.Errorf("a server's keys take %d bytes, which is no multiple of %d", len(b), size)
	}
	for r := bytes.NewBuffer(b); r.Len() > 0; {
		one := r.Next(size)
		p.ID = binary.BigEndian.Uint32(one)
		copy(p.Sum[:], one[4:])
		all = append(all, p)
	}
	return all, nil
}
