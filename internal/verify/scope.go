package verify

import (
	"slices"
	"strings"
)

// Scopes are what a key may do. The zero Scopes are nothing. No scope includes another one.
type Scopes uint8

const (
	ScopeStart        Scopes = 1 << iota // start verifications, resend and cancel them
	ScopeCheck                           // check codes
	ScopeOwnCode                         // start verifications with a code of the caller's
	ScopeRead                            // read what the project has, but for its keys
	ScopeApplications                    // change applications, their users, and templates
	ScopeManage                          // list, create and revoke keys

	// AllScopes is everything.
	AllScopes Scopes = 1<<iota - 1
)

// DefaultScopes are a key's for which nobody named any. They are what every key could do before there were scopes.
const DefaultScopes = ScopeStart | ScopeCheck | ScopeRead | ScopeApplications

// scopeNames are the published words, in the order of the bits. They are stored.
var scopeNames = []string{"verify:start", "verify:check", "verify:own-code", "read", "applications", "manage"}

// ParseScopes reads the words of scopes. It returns those that are none.
func ParseScopes(words []string) (s Scopes, unknown []string) {
	for _, word := range words {
		if i := slices.Index(scopeNames, word); i >= 0 {
			s |= 1 << i
		} else {
			unknown = append(unknown, word)
		}
	}
	return s, unknown
}

// Has reports whether s has all that other has.
func (s Scopes) Has(other Scopes) bool { return s&other == other }

// Words are the published words.
func (s Scopes) Words() []string {
	all := []string{}
	for i, name := range scopeNames {
		if s&(1<<i) != 0 {
			all = append(all, name)
		}
	}
	return all
}

// String is the words with a space between two.
func (s Scopes) String() string { return strings.Join(s.Words(), " ") }

// Forbids returns the error of a key that lacks a scope, or nil if the account's key has it.
func (a *Account) Forbids(needed Scopes) error {
	if a.Scopes.Has(needed) {
		return nil
	}
	return &Error{Kind: KindForbidden, Code: ErrForbidden.Code, Message: "the key lacks the scope " + (needed &^ a.Scopes).String() + "; use a key that has it"}
}
