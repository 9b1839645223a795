package operator

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

// A Store keeps operators and their sessions. Each method is one transaction, in which it also writes the audit log.
type Store interface {
	// ChargeSource locks an address and charges an attempt to it, or says how long the address has to wait: see
	// [Source.Waits].
	ChargeSource(ctx context.Context, address string) (wait time.Duration, err error)
	// RefundSource takes back one charge: see [Source.Refund].
	RefundSource(ctx context.Context, address string) error
	// OperatorNamed fails with [ErrNoOperator].
	OperatorNamed(ctx context.Context, name string) (Operator, error)
	// SignIn decides an attempt under the operator's lock: see [Operator.Decide]. A failure is written as well. It
	// fails with [ErrWrong].
	SignIn(ctx context.Context, a Attempt) error
	// Admit lets a person in whom a provider has signed in: it creates their operator, or changes what they may do, which
	// ends their other sessions. A refusal is written as well, and ends all of their sessions. It fails with [ErrNoGrant] and
	// [ErrNameTaken].
	Admit(ctx context.Context, a Admission) error
	// OpenLink returns the operator whose link has the hash, or how long the address has to wait. It gives them a seed
	// by fresh if they have none. It fails with [ErrLink], which it writes down and charges to the address.
	OpenLink(ctx context.Context, link []byte, address string, fresh func(*Operator) error) (o Operator, wait time.Duration, err error)
	// SetUp spends a link: it sets the password and the step, ends the operator's sessions and begins one. It fails with
	// [ErrLink], which it writes down, if the link is spent meanwhile.
	SetUp(ctx context.Context, link []byte, o Operator, begin Session) error
	// Passkeys lists an operator's, the oldest first.
	Passkeys(ctx context.Context, operator verify.ID) ([]Passkey, error)
	// AddPasskey stores one. It fails with [ErrTooManyPasskeys] if the operator has most, with [ErrPasskey] if somebody
	// has the credential, and with [ErrPassword] if the operator has another password by now.
	AddPasskey(ctx context.Context, o Operator, k Passkey, most int) error
	// RefusePasskey writes down that somebody with an operator's session didn't know the password.
	RefusePasskey(ctx context.Context, o Operator, address string) error
	// RemovePasskey fails with [ErrNoPasskey].
	RemovePasskey(ctx context.Context, o Operator, id verify.ID) error
	// Session returns a live session and its operator, and records the use. It fails with [ErrNoSession].
	Session(ctx context.Context, hash []byte) (Session, Operator, error)
	// Sessions lists the live sessions of an operator, the oldest first.
	Sessions(ctx context.Context, operator verify.ID) ([]Session, error)
	// EndSession ends a session of an operator. It fails with [ErrNoSession].
	EndSession(ctx context.Context, o Operator, id verify.ID) error
}

// A Service signs operators in.
type Service struct {
	store Store
	keys  *keyset.Set
	hash  *Hasher
	now   func() time.Time
	// Strangers write one at a time: what they do here delays the engine's commits, whatever their number, by one
	// transaction each.
	strangers slots
	asking    slots // at a provider
}

// New returns a service.
func New(s Store, keys *keyset.Set, now func() time.Time) *Service {
	return &Service{s, keys, NewHasher(), now, make(slots, 1), make(slots, exchanges)}
}

// Credentials are what a person types to sign in.
type Credentials struct {
	Name           string
	Password, Code verify.Secret
	// Prove checks what a device signed, in place of a code, by the passkeys of the operator who has the name. It returns nil
	// where none of them did. Nil: a code was typed.
	Prove func(keys []Passkey) *Proof
}

// A Client is the browser of a person.
type Client struct {
	Remote string // address and port
	Agent  string
}

// SignIn begins a session and returns its token. An unknown name, a wrong password and a wrong code cost the same and
// have one error, [ErrWrong]. Other errors are [ErrBusy] and waits, of kind [verify.KindLimited].
func (s *Service) SignIn(ctx context.Context, c Credentials, from Client) (verify.Secret, error) {
	address := SourceOf(from.Remote)
	if err := s.charge(ctx, address); err != nil {
		return "", err
	}
	token, err := s.try(ctx, c, address, from.Agent)
	if err != nil && !errors.Is(err, ErrWrong) {
		s.refund(ctx, address) // nobody learned whether the credentials are right
	}
	return token, err
}

// try compares credentials, and has the database decide.
func (s *Service) try(ctx context.Context, c Credentials, address, agent string) (verify.Secret, error) {
	if !names.MatchString(c.Name) {
		c.Name = "" // nobody has it either, and no engine refuses it
	}
	o, err := s.store.OperatorNamed(ctx, c.Name)
	if err != nil && !errors.Is(err, ErrNoOperator) {
		return "", err
	}
	a := Attempt{Operator: o.ID, Address: address, Password: o.Password}
	if len(c.Password) > longest {
		c.Password = "" // a longer one is nobody's
	}
	if a.Right, a.Rehashed, err = s.hash.Match(ctx, o.Password, c.Password); err != nil {
		return "", err
	}
	seed := make(Seed, seedSize)
	if o.Seed != nil {
		if seed, err = o.Open(s.keys); err != nil {
			return "", err
		}
	}
	now := s.now()
	if step := MatchCode(seed, c.Code, now); o.Seed != nil && c.Prove == nil {
		a.Step = step
	}
	if c.Prove != nil {
		keys, err := s.store.Passkeys(ctx, o.ID)
		if err != nil {
			return "", err
		}
		a.Proof = c.Prove(keys)
	}
	var token verify.Secret
	a.Session, token = newSession(o.ID, address, agent, now)
	return token, s.store.SignIn(ctx, a)
}

// charge charges an attempt to an address, or fails because the address has to wait.
func (s *Service) charge(ctx context.Context, address string) error {
	leave, err := s.strangers.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return waited(s.store.ChargeSource(ctx, address))
}

// refund takes back the charge of an attempt that ended in an error, also when the client has gone. Where the
// database is away, the charge stays, for a day at most: see [SourceMemory].
func (s *Service) refund(ctx context.Context, address string) {
	ctx = context.WithoutCancel(ctx)
	leave, err := s.strangers.enter(ctx)
	if err != nil {
		return
	}
	defer leave()
	s.store.RefundSource(ctx, address)
}

// waited is the error of a wait, if there is one.
func waited(wait time.Duration, err error) error {
	if err == nil && wait > 0 {
		return waits(wait)
	}
	return err
}

// OpenLink shows the operator of a link with the seed that they are to put into their app. Opening it again shows the
// same. It fails with [ErrLink], and with a wait after too many such failures.
func (s *Service) OpenLink(ctx context.Context, link verify.Secret, from Client) (Operator, Seed, error) {
	leave, err := s.strangers.enter(ctx)
	if err != nil {
		return Operator{}, nil, err
	}
	defer leave()
	o, wait, err := s.store.OpenLink(ctx, HashToken(link), SourceOf(from.Remote), func(o *Operator) error { return o.Seal(s.keys, NewSeed(), s.now()) })
	if err := waited(wait, err); err != nil {
		return Operator{}, nil, err
	}
	seed, err := o.Open(s.keys)
	return o, seed, err
}

// SetUp spends a link: it sets the operator's password and second factor, and begins a session. It fails with
// [ErrLink], [verify.ErrInvalid], and waits as [Service.OpenLink] does.
func (s *Service) SetUp(ctx context.Context, link, password, code verify.Secret, from Client) (verify.Secret, error) {
	o, seed, err := s.OpenLink(ctx, link, from)
	if err != nil {
		return "", err
	}
	wrong := passwordProblems(o.Name, password)
	if o.Step = MatchCode(seed, code, s.now()); o.Step == 0 {
		wrong = append(wrong, verify.Problem{Field: FieldCode, Message: "isn't the one that the app shows now: check the clock of the phone"})
	}
	if len(wrong) > 0 {
		return "", &verify.Error{Kind: verify.KindInvalid, Code: verify.ErrInvalid.Code, Message: verify.ErrInvalid.Message, Problems: wrong}
	}
	if o.Password, err = s.hash.Hash(ctx, password); err != nil {
		return "", err
	}
	begin, token := newSession(o.ID, SourceOf(from.Remote), from.Agent, s.now())
	return token, s.store.SetUp(ctx, HashToken(link), o, begin)
}

// Session returns the live session of a token, and its operator. It fails with [ErrNoSession].
func (s *Service) Session(ctx context.Context, token verify.Secret) (Session, Operator, error) {
	return s.store.Session(ctx, HashToken(token))
}

// Sessions lists an operator's live sessions.
func (s *Service) Sessions(ctx context.Context, operator verify.ID) ([]Session, error) {
	return s.store.Sessions(ctx, operator)
}

// EndSession ends one of an operator's own sessions. It fails with [ErrNoSession].
func (s *Service) EndSession(ctx context.Context, o Operator, id verify.ID) error {
	return s.store.EndSession(ctx, o, id)
}

// A SeedStore is what [ResealSeeds] needs of a store.
type SeedStore interface {
	// Operators lists all operators.
	Operators(ctx context.Context) ([]Operator, error)
	// ReplaceSeed stores what o has sealed, unless the operator is gone, or has another seed than before had.
	ReplaceSeed(ctx context.Context, o, before Operator) error
}

// ResealSeeds seals with the primary key all second factors that another key has sealed, so that the other key can be
// removed from the keyset. Those of keys that this server lacks stay as they are. It returns how many it sealed.
func ResealSeeds(ctx context.Context, s SeedStore, keys *keyset.Set, now time.Time) (n int, err error) {
	primary := keys.Primary()
	if primary == 0 {
		return 0, nil
	}
	all, err := s.Operators(ctx)
	if err != nil {
		return 0, err
	}
	var damaged error // the first
	for _, o := range all {
		if o.Seed == nil || o.KeyID == primary {
			continue
		}
		seed, err := o.Open(keys)
		if err != nil {
			if !errors.Is(err, keyset.ErrUnknownKey) {
				damaged = cmp.Or(damaged, err)
			}
			continue
		}
		before := o
		if err = o.Seal(keys, seed, now); err == nil {
			err = s.ReplaceSeed(ctx, o, before)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, damaged
}
