package console

import (
	"context"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

// A Role says what a person may do.
type Role = operator.Role

// A Person is who looks at a page.
type Person struct {
	Name     string
	Role     Role
	Projects []verify.ProjectID // that they may see; none: all
	SignedIn bool               // and not let in without
}

type personKey struct{}

// WithPerson says who makes a request.
func WithPerson(ctx context.Context, p Person) context.Context {
	return context.WithValue(ctx, personKey{}, p)
}

// PersonOf is who makes a request. It is false where nobody is signed in.
func PersonOf(ctx context.Context) (p Person, ok bool) {
	p, ok = ctx.Value(personKey{}).(Person)
	return p, ok
}
