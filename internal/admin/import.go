package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// An Import brings applications and users of another service into a project.
type Import struct {
	admin *Service
	rules *verify.Service
	most  int // applications of the project
	acct  verify.Account
	by    Actor
}

// Import begins one, by the rules of the server that has the settings.
func (s *Service) Import(ctx context.Context, by Actor, p verify.Project, settings verify.Settings) (*Import, error) {
	all, err := s.store.Projects(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if p.AnySender && other.ID != p.ID {
			p.Taken = append(p.Taken, other.Senders...)
		}
	}
	return &Import{
		admin: s, rules: verify.New(verify.Config{Store: s.store, Now: s.store.Now, Settings: settings}),
		most: cmp.Or(settings.MaxApplications, verify.DefaultMaxApplications), acct: verify.Account{Project: p}, by: by,
	}, nil
}

// Application makes an application under the id that it has. One that the project has already stays as it is. It fails
// with [verify.ErrInvalid], [verify.ErrNoTemplate], [verify.ErrTooManyApplications], and with [verify.ErrExists] where
// something else has the id.
func (i *Import) Application(ctx context.Context, a verify.Application) (created bool, err error) {
	a, err = i.rules.ImportedApplication(ctx, &i.acct, a)
	if err != nil {
		return false, err
	}
	return i.admin.store.ImportApplication(ctx, a, i.most, string(i.by))
}

// Users makes users of an application, a portion at a time, and says of each what became of them, in their order. It
// tells after each portion how many it is done with. It fails with [verify.ErrNoApplication].
func (i *Import) Users(ctx context.Context, application verify.ID, given []verify.ImportedUser, done func(int)) (results []verify.Imported, err error) {
	for portion := range slices.Chunk(given, verify.MaxImport) {
		if err := ctx.Err(); err != nil {
			return results, err
		}
		now := i.admin.Now().Truncate(time.Millisecond)
		users, refused := make([]verify.User, len(portion)), make([]error, len(portion))
		for n := range portion {
			users[n], refused[n] = verify.ImportUser(&i.acct, application, &portion[n], now)
		}
		some, err := i.admin.store.ImportUsersBy(ctx, i.acct.Project.ID, application, users, refused, string(i.by))
		if err != nil {
			return results, err
		}
		results = append(results, some...)
		done(len(results))
	}
	return results, nil
}
