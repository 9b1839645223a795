package admin

import (
	"context"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/verify"
)

// A NewKey is an API key to create.
type NewKey struct {
	Project  verify.ProjectID
	Name     string // for people: what it is for, in at most 64 printable characters
	Consumer bool   // with a consumer key and secret, by which clients of Syniverse's APIs replace the token themselves
}

// A CreatedKey has the secrets of a key, which can't be read again.
type CreatedKey struct {
	account.Key
	Token         verify.Secret
	ConsumerToken verify.Secret // the consumer secret; "": it has none
}

// CreateKey creates an API key. It fails with [verify.ErrInvalid] and with [verify.ErrNoProject].
func (s *Service) CreateKey(ctx context.Context, by Actor, n NewKey) (CreatedKey, error) {
	if !isLabel(n.Name, maxKeyName) {
		var wrong problems
		wrong.add(verify.FieldName, "must be at most %d printable characters", maxKeyName)
		return CreatedKey{}, wrong.err()
	}
	k := CreatedKey{Token: account.NewKey()}
	k.Key = account.Key{ID: verify.NewID(s.store.Now()), Project: n.Project, Name: n.Name, Hash: account.HashKey(k.Token)}
	if n.Consumer {
		k.Consumer, k.ConsumerToken = account.NewConsumer()
		k.ConsumerSecret = account.HashKey(k.ConsumerToken)
	}
	return k, s.store.CreateKey(ctx, k.Key, by.did("key create", k.ID.String()))
}

// RevokeKey ends a key, in every process within a second. It fails with [verify.ErrNoAPIKey].
func (s *Service) RevokeKey(ctx context.Context, by Actor, id verify.ID) error {
	_, err := s.store.RevokeKey(ctx, id, by.did("key revoke", id.String()))
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
