package admin

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/verify"
)

// A NewKey is an API key to create.
type NewKey struct {
	Project  verify.ProjectID
	Name     string        // for people: what it is for
	Scopes   verify.Scopes // what it may do; 0: [verify.DefaultScopes]
	EndsAt   time.Time     // when it stops working; zero: never
	Consumer bool          // with a consumer key and secret, by which clients of Syniverse's APIs replace the token themselves
}

// A CreatedKey has the secrets of a key, which can't be read again.
type CreatedKey struct {
	account.Key
	Token         verify.Secret
	ConsumerToken verify.Secret // the consumer secret; "": it has none
}

// CreateKey creates an API key. It fails with [verify.ErrInvalid] and [verify.ErrNoProject].
func (s *Service) CreateKey(ctx context.Context, by Actor, n NewKey) (CreatedKey, error) {
	now := s.store.Now()
	wanted := account.NewKey{Name: n.Name, Scopes: cmp.Or(n.Scopes, verify.DefaultScopes), EndsAt: n.EndsAt.Truncate(time.Millisecond)}
	if err := problems(wanted.Problems(now)).err(); err != nil {
		return CreatedKey{}, err
	}
	k := CreatedKey{Token: account.NewSecret()}
	k.Key = account.Key{ID: verify.NewID(now), Project: n.Project, Name: n.Name, Scopes: wanted.Scopes, EndsAt: wanted.EndsAt, Hash: account.HashKey(k.Token)}
	if n.Consumer {
		k.Consumer, k.ConsumerToken = account.NewConsumer()
		k.ConsumerSecret = account.HashKey(k.ConsumerToken)
	}
	return k, s.store.CreateKey(ctx, k.Key, by.did("key create", k.Granted()))
}

// RevokeKey ends a key, in every process within a second. It fails with [verify.ErrNoAPIKey].
func (s *Service) RevokeKey(ctx context.Context, by Actor, id verify.ID) error {
	_, err := s.store.RevokeKey(ctx, id, by.did("key revoke", id.String()))
	return err
}

// RenameKey gives a key another name. It fails with [verify.ErrInvalid] and [verify.ErrNoAPIKey].
func (s *Service) RenameKey(ctx context.Context, by Actor, id verify.ID, name string) error {
	if err := problems(account.NameProblems(name)).err(); err != nil {
		return err
	}
	_, err := s.store.RenameKey(ctx, id, name, by.did("key rename", fmt.Sprintf("%v to %q", id, name)))
	return err
}

// As makes sure that a token is a key of a project, and returns the project as an actor. It fails with
// [verify.ErrUnauthenticated].
func (s *Service) As(ctx context.Context, p verify.ProjectID, token verify.Secret) (Actor, error) {
	if _, err := account.New(s.store, s.store.Now).Authenticate(ctx, p, token); err != nil {
		return "", err
	}
	return Project(p), nil
}
