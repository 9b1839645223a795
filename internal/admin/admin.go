// Package admin is what operators do: each function joins a rule, a change of the database, and the entry of the
// audit log that is committed with the change. The command line calls it, and so can whatever else operators use.
//
// A caller may see the errors that are a [verify.Error]. Those of kind [verify.KindInvalid] name the fields.
package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// A Service makes operators' changes in a database.
type Service struct{ store *store.Store }

// New returns the service of a database.
func New(s *store.Store) *Service { return &Service{s} }

// Now is the database's time.
func (s *Service) Now() time.Time { return s.store.Now() }

// An Actor is who makes a change, as the audit log names them.
type Actor string

// User is the actor who runs a command on this machine: a user by their name.
func User(name string) Actor { return Actor(name) }

// Project is the actor who has shown a key of a project.
func Project(p verify.ProjectID) Actor { return Actor("project " + string(p)) }

// did is the entry of the audit log about a change.
func (by Actor) did(action, detail string) store.Audit {
	return store.Audit{Actor: string(by), Action: action, Detail: detail}
}

// Fields of what operators give, beside those of package verify.
const (
	FieldID        verify.Field = "id"
	FieldProfile   verify.Field = "profile"
	FieldSenders   verify.Field = "senders"
	FieldLinkHosts verify.Field = "link_hosts"
	FieldCountries verify.Field = "countries"
	FieldOnly      verify.Field = "only_numbers"
	FieldKinds     verify.Field = "allow_kind"
	FieldStyle     verify.Field = "style"
	FieldSends     verify.Field = "sends"
	FieldInterval  verify.Field = "send_interval"
	FieldLocale    verify.Field = "locale"
)

// problems collects every error in an operator's input.
type problems []verify.Problem

func (p *problems) add(f verify.Field, format string, args ...any) {
	*p = append(*p, verify.Problem{Field: f, Message: fmt.Sprintf(format, args...)})
}

// addOf adds what is wrong with one element of a list.
func (p *problems) addOf(f verify.Field, element string, format string, args ...any) {
	*p = append(*p, verify.Problem{Field: f, Element: fmt.Sprintf("%q", element), Message: fmt.Sprintf(format, args...)})
}

// err is a [verify.ErrInvalid] with the problems, or nil if there are none.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &verify.Error{Kind: verify.KindInvalid, Code: verify.ErrInvalid.Code, Message: verify.ErrInvalid.Message, Problems: p}
}

// maxProjectName is how many characters the name of a project may have.
const maxProjectName = 100

// assign sets what was given.
func assign[T any](to *T, given *T) {
	if given != nil {
		*to = *given
	}
}

// Void cancels every pending verification, and returns how many there were. The action says why, in the audit log:
// see [store.Store.VoidPending].
func (s *Service) Void(ctx context.Context, by Actor, action string) (voided int, err error) {
	return s.store.VoidPending(ctx, string(by), action)
}

// keyName is the name of a project's key, "" if it is unknown.
func keyName(keys []account.Key, id verify.ID) string {
	if i := slices.IndexFunc(keys, func(k account.Key) bool { return k.ID == id }); i >= 0 {
		return keys[i].Name
	}
	return ""
}
