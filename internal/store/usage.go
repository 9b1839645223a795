package store

import (
	"context"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// usagePage is how many verifications are read together.
const usagePage = 5000

// eachPage calls f with the verifications behind an id, the oldest first, and with the id that each page begins behind. It
// reads all projects' rows in pages, so that nobody waits for it. Its error says for what it read them.
func eachPage[T any](ctx context.Context, p *pool.Pool, what, columns string, scan func(scanner) (T, error), id func(*T) verify.ID, after verify.ID, f func(after verify.ID, page []T) error) error {
	for {
		page, err := pool.All(ctx, p, scan, `SELECT `+columns+` FROM verification WHERE id > $1 ORDER BY id LIMIT $2`, after[:], usagePage)
		if err != nil {
			return away(what, err)
		}
		if len(page) > 0 {
			if err := f(after, page); err != nil {
				return err
			}
		}
		if len(page) < usagePage {
			return nil
		}
		after = id(&page[len(page)-1])
	}
}

func idOf(v *verify.Verification) verify.ID { return v.ID }

// A Started is what is known of one start: who asked for it, and where its message goes.
type Started struct {
	ID          verify.ID // when: see [verify.ID.Time]
	Project     verify.ProjectID
	Application verify.ID
	Key         verify.ID // zero: nobody knows
	Address     string    // of the client; "": nobody knows
	Channel     verify.Channel
	To          phone.Number
}

// EachStart calls f with the starts of a project since an instant, oldest first.
func (s *Store) EachStart(ctx context.Context, p verify.ProjectID, since time.Time, f func(Started)) error {
	return eachPage(ctx, s.upkeep, "read what was started", "id, project, application, api_key, address, channel, destination", scanStarted,
		func(one *Started) verify.ID { return one.ID }, verify.FirstID(since), func(_ verify.ID, page []Started) error {
			for _, one := range page {
				if one.Project == p {
					f(one)
				}
			}
			return nil
		})
}

func scanStarted(row scanner) (s Started, err error) {
	var id, application, key []byte
	err = row.Scan(&id, &s.Project, &application, &key, &s.Address, &s.Channel, &s.To)
	copy(s.ID[:], id)
	copy(s.Application[:], application)
	copy(s.Key[:], key)
	return s, err
}
