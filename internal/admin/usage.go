package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// A Usage is how often a key has started something in the last hour and in the last 24 hours.
type Usage struct {
	Key       verify.ID
	Name      string // of the key
	What      string
	Hour, Day int
	Last      time.Time
}

// A Sight is what starts are told apart by.
type Sight string

const (
	ByCountry     Sight = "country"
	ByChannel     Sight = "channel"
	ByAddress     Sight = "address" // of the client
	ByApplication Sight = "application"
)

// unknown is what the database doesn't tell.
const unknown = "unknown"

func (by Sight) of(s *store.Started) string {
	switch by {
	case ByChannel:
		return string(s.Channel)
	case ByAddress:
		return cmp.Or(s.Address, unknown)
	case ByApplication:
		return uuid.UUID(s.Application).String()
	}
	return cmp.Or(s.To.Region(), unknown)
}

// Usage counts what each key of a project has started, the most of the last hour first. It fails with
// [verify.ErrNoProject].
func (s *Service) Usage(ctx context.Context, id verify.ProjectID, by Sight) ([]Usage, error) {
	p, err := s.Project(ctx, id)
	if err != nil {
		return nil, err
	}
	keys, err := s.store.Keys(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	type group struct {
		key  verify.ID
		what string
	}
	groups, now := map[group]*Usage{}, s.store.Now()
	err = s.store.EachStart(ctx, p.ID, now.Add(-24*time.Hour), func(s store.Started) {
		g := group{s.Key, by.of(&s)}
		u := groups[g]
		if u == nil {
			u = &Usage{Key: g.key, Name: cmp.Or(keyName(keys, g.key), unknown), What: g.what}
			groups[g] = u
		}
		u.Day++
		if u.Last = s.ID.Time(); now.Sub(u.Last) < time.Hour {
			u.Hour++
		}
	})
	var all []Usage
	for _, u := range groups {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(b.Hour, a.Hour), cmp.Compare(b.Day, a.Day), cmp.Compare(a.What, b.What), slices.Compare(a.Key[:], b.Key[:]))
	})
	return all, err
}
