package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Scopes say what a key may do. No scope includes another one.
const (
	ScopeStart        = "verify:start"    // start verifications, resend and cancel them
	ScopeCheck        = "verify:check"    // check codes
	ScopeOwnCode      = "verify:own-code" // start verifications with a code of your own, beside verify:start
	ScopeRead         = "read"            // read what the project has, but for its keys
	ScopeApplications = "applications"    // change applications, their users, and templates
	ScopeManage       = "manage"          // list, create and revoke keys
)

// A NewKey asks for a key.
type NewKey struct {
	Name      string     `json:"name" example:"web shop" doc:"What the key is for: 1 to 100 characters, for people."`
	Scopes    []string   `json:"scopes" example:"[\"verify:start\",\"verify:check\"]" doc:"What the key may do: verify:start, verify:check, verify:own-code, read, applications, manage. It can't have a scope that the key that asks lacks."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"When the key stops working, not after the key that asks. Without it, the key works as long as the one that asks, or until it is revoked."`
}

// A Key opens the API. It never holds the secret, but for the answer to the request that made it.
type Key struct {
	ID         string     `json:"id" format:"uuid" doc:"Names the key in later requests, and in the audit log."`
	Name       string     `json:"name" doc:"What the key is for."`
	Scopes     []string   `json:"scopes" nullable:"false" doc:"What the key may do."`
	Secret     string     `json:"secret,omitempty" doc:"The key itself. Only the answer to the request that made the key has it; it can't be read again."`
	CreatedAt  time.Time  `json:"created_at" doc:"When it was made."`
	ExpiresAt  *time.Time `json:"expires_at,omitempty" doc:"When it stops working; absent: it doesn't by itself."`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"About when it was last used, to about ten minutes; absent: never."`
	RevokedAt  *time.Time `json:"revoked_at,omitempty" doc:"When it was revoked."`
}

// A KeyPage is a part of a list of keys.
type KeyPage struct {
	Keys []Key  `json:"keys" nullable:"false" doc:"The oldest first."`
	Next string `json:"next,omitempty" doc:"The cursor of the next page; absent at the end of the list."`
}

// CreateKey makes a key. Its secret is in the answer, this once.
func (c *Client) CreateKey(ctx context.Context, k NewKey) (made Key, err error) {
	return made, c.call(ctx, http.MethodPost, "/v1/keys", k, &made)
}

// RevokeKey revokes a key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(id), nil, nil)
}

// Keys ranges over the project's keys, the oldest first. It stops after an error.
func (c *Client) Keys(ctx context.Context) iter.Seq2[Key, error] {
	return pages(ctx, c, "/v1/keys", url.Values{}, func(p *KeyPage) ([]Key, string) { return p.Keys, p.Next })
}
