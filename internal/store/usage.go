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

// EachStart calls f with the starts of a project since an instant, oldest first. It reads all projects' rows
// in pages, so that nobody waits for it.
func (s *Store) EachStart(ctx context.Context, p verify.ProjectID, since time.Time, f func(Started)) error {
	after := verify.FirstID(since)
	for {
		page, err := pool.All(ctx, s.upkeep, scanStarted, `SELECT id, project, application, api_key, address, channel, destination FROM verification
			WHERE id > $1 ORDER BY id LIMIT $2`, after[:], usagePage)
		if err != nil {
			return away("read what was started", err)
		}
		for _, one := range page {
			if one.Project == p {
				f(one)
			}
		}
		if len(page) < usagePage {
			return nil
		}
		after = page[len(page)-1].ID
	}
}

func scanStarted(row scanner) (s Started, err error) {
	var id, application, key []byte
	err = row.Scan(&id, &s.Project, &application, &key, &s.Address, &s.Channel, &s.To)
	copy(s.ID[:], id)
	copy(s.Application[:], application)
	copy(s.Key[:], key)
	return s, err
}
