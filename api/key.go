package api

import "time"

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
