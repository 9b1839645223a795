package operator

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// An Identity is a person as a provider of OpenID Connect knows them, from an ID token that it signed.
type Identity struct {
	Issuer, Subject string // who the person is, for ever; no other person gets the same
	Name            string // for people; the person may change it there
	Values          []string
}

// subject is how an operator's row names an identity.
func (i *Identity) subject() string { return i.Issuer + " " + i.Subject }

// A Grant is what people may do whose identity has a value.
type Grant struct {
	Value    string
	Role     Role
	Projects []verify.ProjectID // that they may see; none: all
}

// Grants are tried in their order.
type Grants []Grant

// To is the first grant to an identity. It is false where there is none: then the person may do nothing.
func (g Grants) To(i Identity) (Grant, bool) {
	at := slices.IndexFunc(g, func(x Grant) bool { return slices.Contains(i.Values, x.Value) })
	if at < 0 {
		return Grant{}, false
	}
	return g[at], true
}

// A Provider is a company's provider of OpenID Connect, and what its people may do here.
type Provider struct {
	Issuer    string // its URL
	ClientID  string
	Secret    verify.Secret // "": none, PKCE alone protects codes
	Scopes    []string      // beside openid
	NameClaim string        // of the ID token: what the operator is called
	Claim     string        // of the ID token: a text or a list of texts, the values of the grants
	Grants    Grants
	RootCAs   *x509.CertPool // nil: the system's
}

// What people see whose provider signs them in.
var (
	ErrIdentity  = &verify.Error{Kind: verify.KindUnauthenticated, Code: "identity_refused", Message: "the sign-in at your company's provider failed, took too long or was used before: begin again"}
	ErrNoGrant   = &verify.Error{Kind: verify.KindUnauthenticated, Code: "no_grant", Message: "your company's provider signed you in, but none of your groups may use this console: ask an admin"}
	ErrNameTaken = &verify.Error{Kind: verify.KindUnauthenticated, Code: "name_taken", Message: "your company's provider signed you in with a name that can't be an operator's, or that another operator has: ask an admin"}
	ErrProvided  = &verify.Error{Kind: verify.KindConflict, Code: "operator_by_provider", Message: "a provider signs this operator in, and says what they may do"}
)

// Reasons why a person is refused whose provider has signed them in.
const (
	NoGrant   Reason = "the provider signs them in, but nothing is granted to them"
	NameTaken Reason = "the provider signs them in, but the name is another operator's, or can't be one"
)

// exchanges bounds how many people's identities are asked for at a time.
const exchanges = 4

// SignInBy begins a session of a person whom a provider signs in. Ask returns their identity. It fails with [ErrIdentity]
// where the provider doesn't confirm it. The first time, the person becomes an operator; each time, the grants say what they
// may do. It fails with [ErrNoGrant] and [ErrNameTaken], and waits as [Service.SignIn] does.
func (s *Service) SignInBy(ctx context.Context, grants Grants, from Client, ask func(context.Context) (Identity, error)) (verify.Secret, error) {
	address := SourceOf(from.Remote)
	if err := s.charge(ctx, address); err != nil {
		return "", err
	}
	token, err := s.admit(ctx, grants, address, from.Agent, ask)
	if err != nil && !errors.Is(err, ErrIdentity) && !errors.Is(err, ErrNoGrant) && !errors.Is(err, ErrNameTaken) {
		s.refund(ctx, address) // nobody learned whether the provider signs them in
	}
	return token, err
}

func (s *Service) admit(ctx context.Context, grants Grants, address, agent string, ask func(context.Context) (Identity, error)) (verify.Secret, error) {
	leave, err := s.asking.enter(ctx)
	if err != nil {
		return "", err
	}
	who, err := ask(ctx)
	leave()
	if err == nil && (who.Issuer == "" || who.Subject == "") {
		err = ErrIdentity
	}
	if err != nil {
		return "", err
	}
	now := s.now()
	a := Admission{Operator: Operator{ID: verify.NewID(now), Name: strings.ToLower(who.Name), CreatedAt: now, Subject: who.subject()}, Issuer: who.Issuer, Address: address}
	granted, ok := grants.To(who)
	if ok {
		a.Operator.Role, a.Operator.Projects = granted.Role, granted.Projects
	}
	if !ok || len(granted.Role.Problems()) > 0 {
		a.Refused = NoGrant
	}
	var token verify.Secret
	a.Session, token = newSession(a.Operator.ID, address, agent, now)
	return token, s.store.Admit(ctx, a)
}

// An Admission is a person whom a provider has signed in, and that the database is to let in.
type Admission struct {
	Operator Operator // as the provider and the grants have them
	Issuer   string
	Address  string // from which they came
	Refused  Reason // "": something is granted to them
	Session  Session
}

// Provided reports whether a provider signs an operator in.
func (o *Operator) Provided() bool { return o.Subject != "" }

// SameGrant reports whether two operators may do and see the same.
func (o *Operator) SameGrant(other *Operator) bool {
	return o.Role == other.Role && slices.Equal(o.Projects, other.Projects)
}

// FromProvider is how long a person may take at the provider.
const FromProvider = 10 * time.Minute
