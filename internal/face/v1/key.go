package v1

import (
	"strings"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/verify"
)

func (s *Server) createKey(c face.Call, in api.NewKey) (api.Key, error) {
	scopes, unknown := verify.ParseScopes(in.Scopes)
	if len(unknown) > 0 {
		c.In.Wrong("scopes", "must be some of: "+strings.Join(verify.AllScopes.Words(), ", "))
		return api.Key{}, s.Invalid(c.In, nil)
	}
	n := account.NewKey{Name: in.Name, Scopes: scopes}
	if in.ExpiresAt != nil {
		n.EndsAt = *in.ExpiresAt
	}
	secret := account.NewSecret()
	shown := func(_ face.Call, k *account.Key) api.Key {
		made := wireKey(*k)
		made.Secret = secret.Reveal()
		return made
	}
	answers(c, shown)
	k, err := s.Accounts.CreateKey(c.Context(), c.Account, n, secret)
	if err != nil {
		return api.Key{}, err
	}
	return shown(c, &k), nil
}

func (s *Server) listKeys(c face.Call, in page) (api.KeyPage, error) {
	after, limit, err := s.page(c, in)
	if err != nil {
		return api.KeyPage{}, err
	}
	all, err := s.Accounts.Keys(c.Context(), c.Account)
	if err != nil {
		return api.KeyPage{}, err
	}
	keys, next := cut(all, after, limit, func(k account.Key) verify.ID { return k.ID }, wireKey)
	return api.KeyPage{Keys: keys, Next: next}, nil
}

func (s *Server) revokeKey(c face.Call, _ none) (none, error) {
	id, err := verify.ParseID(c.PathValue("id"))
	if err != nil {
		return none{}, verify.ErrNoAPIKey
	}
	return none{}, s.Accounts.RevokeKey(c.Context(), c.Account, id)
}

func wireKey(k account.Key) api.Key {
	return api.Key{
		ID: k.ID.String(), Name: k.Name, Scopes: k.Scopes.Words(), CreatedAt: k.ID.Time().UTC(),
		ExpiresAt: when(k.End()), LastUsedAt: when(k.UsedAt), RevokedAt: when(k.RevokedAt),
	}
}
