// Package verify is the domain: what a verification is, when it may start, what a guess does to
// it, and how its message's delivery goes on. The rules stand here once, as pure functions of the
// rows and the time; no SQL and no HTTP. Faces translate to it, a store commits what it decides.
package verify

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/record"
	"github.com/countersign/countersign/internal/share"
)

// A Store commits events. When a method returns without an error, what it says is on disk.
// Each one is decided under the locks of the rows that it reads, so a thousand clients guessing
// at once still share the same guesses, and each is one transaction, also when its answer is "no".
// A call that has been taken is carried out even if its caller goes away.
type Store interface {
	// Start commits a new verification: see [Verification.Begin]. v is filled in. If it supersedes others, they
	// end in the same transaction: see [Verification.Supersede].
	Start(ctx context.Context, v *Verification, limits Limits, lease time.Duration) error
	// Check spends a guess: see [Verification.Check].
	Check(ctx context.Context, g Guess) (Outcome, error)
	// Cancel ends a verification: see [Verification.Cancel].
	Cancel(ctx context.Context, p ProjectID, id ID) error
	// ResetDestination forgets a number's wrong guesses, and writes down for whom, in one transaction. It fails
	// with [ErrNoNumber] if the project remembers nothing of the number.
	ResetDestination(ctx context.Context, p ProjectID, n phone.Number, actor string) error

	VerificationStore
	ApplicationStore
	UserStore
	TrialStore
	DeviceStore
	PromptStore
	EnrolmentStore
	TemplateStore
	TextStore
	KeptStore
	UsageStore
	BudgetStore
}

// An Outbox gets messages to carriers.
type Outbox interface {
	// Reserve takes a place for one message, or fails with [ErrBusy], [ErrCountryStopped], [ErrNotServed] or [ErrNoCarrier]. Where none of the
	// channel's carriers can be reached, the place is with one of the channels that come then.
	Reserve(e Envelope, then ...Channel) (Place, error)
	// ReserveAgain does so for a resend that v says, after the attempts so far: with a carrier that hasn't had the
	// message yet, if there is one.
	ReserveAgain(v *Verification, history []Delivery) (Place, error)
	// Reaches says why no carrier of the channel takes messages to the number's country at the moment: [ErrNoCarrier],
	// [ErrCountryStopped] or [ErrCarriersDown]. It says nothing of the number itself, and takes no place.
	Reaches(e Envelope) error
}

// A Place is room for one message in a carrier's queue. It must be used or given back.
type Place interface {
	// Send hands over a message whose lease v holds. It doesn't block, and doesn't end with its caller's context.
	Send(ctx context.Context, v *Verification, m Message)
	// Release gives the place back unused.
	Release()
	// Channel is the one by which the message will go.
	Channel() Channel
	// Lease is how long the message may stay with us before others may send it.
	Lease() time.Duration
	// Calling is how long its call may take, from when it begins; 0 if it makes none.
	Calling() time.Duration
	// Admits fails with [ErrTooDear] if the message would come to more than its country's limits allow.
	Admits(m Message) error
	// Price is what the project will be charged for a message, as far as can be told before it is sent.
	Price(m Message) money.Amount
}

// An Observer counts what callers asked for and what they got.
type Observer interface {
	// Started counts a start, to a number of a country; "" where nobody could read the number.
	Started(p ProjectID, c Channel, country string, err error)
	Checked(p ProjectID, out Outcome, err error)
	Denied() // a device said that it wasn't its person who asked
}

// A Service does what callers ask for.
type Service struct {
	store    Store
	outbox   Outbox
	keys     *keyset.Set
	now      func() time.Time
	observer Observer

	senders     senders
	maxSegments int
	userLimits  UserLimits
	locale      string
	uniqueNames bool
	failover    map[Channel][]Channel
	prices      money.Prices
	trialPrefix string

	maxApplications, maxTemplates, maxDevices, maxKept int

	push   bool
	public string
	place  func(netip.Addr, string) string

	bodies  *share.Places // of large requests that are being read
	flights flights
	waiting *share.Places // of checks that wait for an outcome
	waiters *waiters
}

// Config is what a [Service] needs.
type Config struct {
	Store  Store
	Outbox Outbox
	Keys   *keyset.Set
	Now    func() time.Time // the clock
	// Observer may be nil.
	Observer Observer
	Settings
}

// Settings are what an operator decides for all projects.
type Settings struct {
	// PublicSender is the number or name that messages come from when nobody named another.
	PublicSender string
	// Senders are those that an application may name, by "channel:x" and "sender_id:x". An unknown name
	// stands for the public sender, unless StrictSenders makes it a problem.
	Senders       map[string]Sender
	StrictSenders bool
	// MaxSegments is how many segments a template may take by SMS, with its code: default 3.
	MaxSegments int
	// UserLimits bound what one user is sent, beside the limits of his number.
	UserLimits UserLimits
	// Locale is the language of calls for which their application names none, a BCP 47 tag. "" leaves it
	// to the number's country, where the text is ours, and else to the carrier: nobody knows in what
	// language a caller wrote his own.
	Locale string
	// MaxApplications and MaxTemplates are how many of them the callers of one project may have made:
	// default [DefaultMaxApplications] and [DefaultMaxTemplates]. Else a key could fill the disk, at no
	// cost: unlike a user or a verification, none of them needs a message to be sent.
	MaxApplications, MaxTemplates int
	// Push says that a carrier serves the channel push. Else nobody can ask for it.
	Push bool
	// PublicURL is where browsers reach the server; "": nobody knows.
	PublicURL string
	// Place says in words where an address is, in a language if it can, or ""; nil: nobody knows.
	Place func(a netip.Addr, locale string) string
	// MaxDevices is how many devices one user may have: default [DefaultMaxDevices].
	MaxDevices int
	// MaxKept is how many answers to requests that have a key and cost no message are kept for one project: default
	// [DefaultMaxKept].
	MaxKept int
	// UniqueNames refuses a second application of a project with the same name.
	UniqueNames bool
	// Failover says by which channels a message may go on, by its own, where its application has no
	// channels that say it.
	Failover map[Channel][]Channel
	// Prices are what projects are charged.
	Prices money.Prices
	// TrialPrefix stands before the texts of projects that are being tried, with a space behind it.
	TrialPrefix string
}

// How many applications, templates and kept answers a project may have, and a user devices, unless [Settings] say otherwise.
const (
	DefaultMaxApplications = 1000
	DefaultMaxTemplates    = 1000
	DefaultMaxDevices      = 5
	DefaultMaxKept         = 10_000
)

// maxLarge is how many large requests are read at once: 16 MiB, however slowly they come.
const maxLarge = 256

// New returns a service.
func New(c Config) *Service {
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	return &Service{
		store: c.Store, outbox: c.Outbox, keys: c.Keys, now: c.Now, observer: c.Observer,
		senders:     senders{named: c.Senders, public: c.PublicSender, strict: c.StrictSenders},
		maxSegments: cmp.Or(c.MaxSegments, 3), userLimits: c.UserLimits, locale: c.Locale, uniqueNames: c.UniqueNames, failover: c.Failover, prices: c.Prices, trialPrefix: c.TrialPrefix,
		maxApplications: cmp.Or(c.MaxApplications, DefaultMaxApplications), maxTemplates: cmp.Or(c.MaxTemplates, DefaultMaxTemplates),
		maxDevices: cmp.Or(c.MaxDevices, DefaultMaxDevices), maxKept: cmp.Or(c.MaxKept, DefaultMaxKept), push: c.Push, public: c.PublicURL, place: c.Place,
		bodies: share.New(maxLarge, maxLarge), waiting: share.New(maxWaiting, maxWaiting), waiters: newWaiters(),
	}
}

type unobserved struct{}

func (unobserved) Started(ProjectID, Channel, string, error) {}
func (unobserved) Checked(ProjectID, Outcome, error)         {}
func (unobserved) Denied()                                   {}

// ReadLarge takes one of the places for large requests, of which a project has its share. Leave it when the
// request is read.
func (s *Service) ReadLarge(acct *Account) (leave func(), err error) {
	who := string(acct.Project.ID)
	if err := noPlace(s.bodies.Take(who, s.now())); err != nil {
		return nil, err
	}
	return func() { s.bodies.Give(who) }, nil
}

// noPlace is what a caller is told who got no place.
func noPlace(a share.Answer) error {
	switch a {
	case share.Taken:
		return nil
	case share.Spent:
		return ErrShareSpent
	}
	return ErrBusy
}

// Now is the clock's time.
func (s *Service) Now() time.Time { return s.now() }

// instant is now, to the precision in which times are stored.
func (s *Service) instant() time.Time { return s.now().Truncate(time.Millisecond) }

// Start makes a code, commits a verification of it and hands its message to a carrier. On return
// without an error, the verification is on disk. The caller going away doesn't stop it.
func (s *Service) Start(ctx context.Context, acct *Account, r StartRequest) (*Verification, error) {
	v, err := s.start(ctx, acct, &r)
	s.observer.Started(acct.Project.ID, r.Channel, countryOf(v, r.To), err)
	return v, err
}

// countryOf is the country of a start's number: of v's, or if that didn't begin, of the number in the request.
func countryOf(v *Verification, to string) string {
	if v != nil && v.To != "" {
		return v.Reach().Region()
	}
	n, err := phone.Parse(to)
	if err != nil {
		return ""
	}
	return n.Region()
}

// read reads what a start asks for, and returns the account with the application that it names. A start that names no
// channel goes by the first of the application's that needs no user.
func (s *Service) read(ctx context.Context, acct *Account, r *StartRequest) (*Account, order, error) {
	given := r.Channel
	r.Channel = cmp.Or(given, ChannelSMS)
	if r.Application.IsZero() {
		return acct, s.orderOf(acct, *r), nil
	}
	with, err := s.in(ctx, acct, r.Application)
	if errors.Is(err, ErrNoApplication) {
		o := s.orderOf(acct, *r)
		o.problems.add(FieldApplication, "is the id of no application of the project")
		return acct, o, nil
	}
	if err != nil {
		return acct, order{}, err
	}
	if all := withoutPush(with.Application.Channels); given == "" && len(all) > 0 {
		r.Channel = all[0]
	}
	return with, s.orderOf(with, *r), nil
}

func (s *Service) start(ctx context.Context, acct *Account, r *StartRequest) (*Verification, error) {
	if r.Code != "" {
		if err := acct.Forbids(ScopeOwnCode); err != nil {
			return nil, err
		}
	}
	acct, o, err := s.read(ctx, acct, r)
	if err != nil {
		return nil, err
	}
	v := s.begin(acct)
	v.Purpose, v.Supersedes = o.Purpose, o.Supersedes
	if err := s.settle(ctx, acct, &o, v.ID.Time(), &v.Terms); err != nil {
		return nil, err
	}
	if r.Life != nil && *r.Life == 0 {
		// Nothing is sent and no guess is ever right, so nothing is kept either: its caller would fill the disk
		// without a message that the limits bound. Who checks it learns as much as of one that has expired.
		v.fail(ReasonExpired)
		return v, nil
	}
	if err := s.launch(ctx, acct, v, r.Code, func(place Place) error {
		return s.store.Start(context.WithoutCancel(ctx), v, acct.Project.Limits, place.Lease())
	}); err != nil {
		return nil, err
	}
	return v, nil
}

// in is an account with another application of its project, or fails with [ErrNoApplication].
func (s *Service) in(ctx context.Context, acct *Account, application ID) (*Account, error) {
	app, err := s.store.Application(ctx, acct.Project.ID, application)
	if err != nil {
		return nil, err
	}
	record.Of(ctx).Application = record.ID(app.ID)
	with := *acct
	with.Application = app
	return &with, nil
}

// fallbacks are the channels by which a message may go on.
func (s *Service) fallbacks(a *Application, c Channel) []Channel {
	if len(a.Channels) == 0 {
		return s.failover[c]
	}
	var others []Channel
	for _, other := range a.Channels {
		if other != c {
			others = append(others, other)
		}
	}
	return others
}

// begin makes a verification of an account, without terms and code.
func (s *Service) begin(acct *Account) *Verification {
	return &Verification{ID: NewID(s.now()), Project: acct.Project.ID, Application: acct.Application.ID, Purpose: PurposeMFA, APIKey: acct.KeyID}
}

// launch takes a place for the message of a verification, makes its code unless there is one, has it committed and
// hands it over.
func (s *Service) launch(ctx context.Context, acct *Account, v *Verification, own Secret, commit func(Place) error) error {
	place, err := s.outbox.Reserve(v.Envelope(), v.Then()...)
	if err != nil {
		return unserved(v, err)
	}
	sent := false
	defer func() {
		if !sent {
			place.Release()
		}
	}()

	secret, err := s.makeCode(v, own)
	if err != nil {
		return err
	}
	v.Calling = place.Calling()
	about := record.Of(ctx)
	about.Application = record.ID(v.Application)
	v.Address, v.Fee = about.Address, v.fee(&s.prices)
	if err := place.Admits(v.Message(place.Channel(), secret)); err != nil {
		return unserved(v, err)
	}
	v.Toll = toll(acct, place, v, secret)
	if err := commit(place); err != nil {
		return err
	}
	about.Verification = record.ID(v.ID)
	if v.Delivery == DeliverySending {
		sent = true
		place.Send(ctx, v, v.Message(place.Channel(), secret))
	}
	return nil
}

// toll is what v's message takes of the account's budget, if it has one.
func toll(acct *Account, place Place, v *Verification, secret Secret) Toll {
	if !acct.Project.Bound {
		return Toll{}
	}
	return Toll{true, place.Price(v.Message(place.Channel(), secret))}
}

// unserved adds to an [ErrNotServed] or an [ErrCountryStopped] the field that its number came by. It returns any other error as it is.
func unserved(v *Verification, err error) error {
	var with Error
	problem := "is in a country or network to which no carrier of this server sends"
	switch {
	case errors.Is(err, ErrNotServed):
		with = *ErrNotServed
	case errors.Is(err, ErrCountryStopped):
		with, problem = *ErrCountryStopped, "is in a country to which the operator has stopped messages"
	case errors.Is(err, ErrTooDear):
		with, problem = *ErrTooDear, "is in a country to which this message would come to more than the operator allows"
	default:
		return err
	}
	field := FieldTo
	if v.User != "" {
		field = FieldAddress
	}
	with.Problems = []Problem{{Field: field, Message: problem}}
	return &with
}

// makeCode makes the code that v's terms describe, or takes the caller's own.
func (s *Service) makeCode(v *Verification, own Secret) (_ Secret, err error) {
	secret := own.Reveal()
	if secret == "" {
		if secret, err = code.Generate(rand.Reader, v.Format, v.Length); err != nil {
			return "", fmt.Errorf("generate code: %w", err)
		}
	}
	if v.KeyID = s.keys.Primary(); v.KeyID == 0 {
		return "", ErrNoKey
	}
	if v.CodeMAC, err = s.keys.MAC(v.KeyID, v.Binding(), secret); err != nil {
		return "", fmt.Errorf("authenticate code: %w", err)
	}
	if v.SealedCode, err = s.keys.Seal(v.KeyID, v.Binding(), secret); err != nil {
		return "", fmt.Errorf("seal code: %w", err)
	}
	return Secret(secret), nil
}

// Check spends one guess on a verification and says what came of it. A text that can't be a code
// spends a guess as well and is wrong.
func (s *Service) Check(ctx context.Context, acct *Account, id ID, typed Secret) (Outcome, error) {
	return s.CheckFor(ctx, acct, id, Entry{Code: typed})
}

// CheckFor is Check where the code must be for a purpose, unless that is "", and for a payment. A verification for another
// purpose is not found, and no guess is spent.
func (s *Service) CheckFor(ctx context.Context, acct *Account, id ID, e Entry) (Outcome, error) {
	g := s.guess(acct, func(*Verification) string { return e.Code.Reveal() })
	g.ID, g.Purpose, g.Payment = id, e.Purpose, e.Payment
	record.Of(ctx).Verification = record.ID(id)
	out, err := s.store.Check(context.WithoutCancel(ctx), g)
	s.observer.Checked(acct.Project.ID, out, err)
	if err == nil && out.Approved {
		err = s.confirmNumber(context.WithoutCancel(ctx), acct, id)
	}
	return out, err
}

// guess is a guess at a verification, of what was typed for it.
func (s *Service) guess(acct *Account, typed func(*Verification) string) Guess {
	return Guess{Project: acct.Project.ID, Profile: acct.Project.Profile, Matches: func(v *Verification) (bool, error) {
		// What can't be a code is compared all the same, so that it takes as long.
		guess, possible := v.read(typed(v))
		mac, err := s.keys.MAC(v.KeyID, v.Binding(), guess)
		if errors.Is(err, keyset.ErrUnknownKey) { // another server may have it
			return false, fmt.Errorf("check verification %v: %w: %w", v.ID, ErrNoKey, err)
		}
		if err != nil {
			return false, fmt.Errorf("check verification %v: %w", v.ID, err)
		}
		return hmac.Equal(mac, v.CodeMAC) && possible, nil
	}}
}

// Cancel ends a verification.
func (s *Service) Cancel(ctx context.Context, acct *Account, id ID) error {
	record.Of(ctx).Verification = record.ID(id)
	return s.store.Cancel(context.WithoutCancel(ctx), acct.Project.ID, id)
}

// ResetNumber forgets the wrong guesses at a number of the account's project, so that its codes are
// evaluated again: for a person whom the project has recognized in another way. It is written down. The
// send limits go on.
func (s *Service) ResetNumber(ctx context.Context, acct *Account, number string) error {
	var p problems
	n := p.parse(FieldTo, number)
	if err := p.err(); err != nil {
		return err
	}
	return s.store.ResetDestination(context.WithoutCancel(ctx), acct.Project.ID, n, "project "+string(acct.Project.ID))
}
