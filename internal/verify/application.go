package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/code"
)

// An Application is a project's named settings. Each project has a default one, which its operator
// made and which leaves everything to the profile; no API shows it, and its Version is 0. The others
// are made by API callers, have users, and say how these get their codes.
//
// What is left zero, the profile decides.
type Application struct {
	ID       ID
	Project  ProjectID
	Name     string
	Format   code.Format
	Length   int
	Life     time.Duration
	Attempts int

	Description string
	Prefix      string    // stands before every code, and isn't counted in Length
	Channels    []Channel // by which its users may be reached, the preferred one first; none: SMS
	// The texts around the code: "" is the default one; else the id or the name of a stored template,
	// or a text itself. See [wording.Template] for its form.
	AssociateTemplate, LoginTemplate string
	DisplayName                      string // what these call it; "": Name
	// From is the sender as its caller named it: "channel:x", "sender_id:x", either's x alone, a number,
	// or a name; "" is the public sender. See [Sender].
	From string

	// UniqueNumbers lets a number be one user's at most: see [HeldUntil].
	UniqueNumbers bool

	Calls CallSettings // no API shows or changes them, and they count into no version

	CreatedAt, UpdatedAt time.Time
	Version              int // 1 at first, one more with each change
}

// CallSettings are how an application's calls are made, as its operator says.
type CallSettings struct {
	// Locale is the language that they are spoken in, a BCP 47 tag. "" leaves it to [Settings].
	Locale string
	// ByKey lets its users approve a call by a key instead of telling them a code.
	ByKey bool
}

// String is how the settings are written down.
func (c CallSettings) String() string {
	return fmt.Sprintf("locale %s, approve-by-key %t", cmp.Or(c.Locale, "auto"), c.ByKey)
}

// An ApplicationStore keeps the applications that API callers make. All but CreateApplication fail
// with [ErrNoApplication] where there is none, where it is another project's, and for a default one.
type ApplicationStore interface {
	// CreateApplication fails with [ErrTooManyApplications] if the project has most, or more, and with
	// [ErrDuplicate] if unique is set and another one of the project has the name. So does
	// UpdateApplication, which also fails with [ErrStale] unless the stored version is the one before
	// a's, and leaves the settings of calls as they are stored.
	CreateApplication(ctx context.Context, a Application, unique bool, most int) error
	Application(ctx context.Context, p ProjectID, id ID) (Application, error)
	// Applications lists a project's, the oldest first.
	Applications(ctx context.Context, p ProjectID) ([]Application, error)
	UpdateApplication(ctx context.Context, a Application, unique bool) error
	// DeleteApplication deletes one, and from then on it exists for nobody; then its users, whose live
	// verifications it cancels. It fails with [ErrStale] unless the stored version is the given one; 0 is any.
	DeleteApplication(ctx context.Context, p ProjectID, id ID, version int) error
}

// Bounds and defaults of what API callers make. The project's profile is asked as well.
const (
	maxName        = 255
	maxDescription = 1024
	maxPrefix      = 16
	maxTemplate    = 1600
	maxDisplayName = 255
	maxFrom        = 255

	minApplicationLife = 30 * time.Second
	maxApplicationLife = 24 * time.Hour

	applicationLength   = 6
	applicationLife     = 10 * time.Minute
	applicationAttempts = 5
)

// CreateApplication makes an application of the account's project, and fills in its id and times, and
// defaults for what it leaves zero. It fails with [ErrInvalid], with [ErrNoTemplate] if it names a
// template that there isn't, and with [ErrTooManyApplications].
func (s *Service) CreateApplication(ctx context.Context, acct *Account, a Application) (Application, error) {
	now := s.instant()
	a.ID, a.Project, a.CreatedAt, a.UpdatedAt, a.Version = NewID(now), acct.Project.ID, now, now, 1
	a.complete()
	if err := s.checkApplication(ctx, acct, &a); err != nil {
		return Application{}, err
	}
	return a, s.store.CreateApplication(context.WithoutCancel(ctx), a, s.uniqueNames, s.maxApplications)
}

// Application reads an application of the account's project, or fails with [ErrNoApplication].
func (s *Service) Application(ctx context.Context, acct *Account, id ID) (Application, error) {
	return s.store.Application(ctx, acct.Project.ID, id)
}

// Applications lists the account's project's, the oldest first.
func (s *Service) Applications(ctx context.Context, acct *Account) ([]Application, error) {
	return s.store.Applications(ctx, acct.Project.ID)
}

// UpdateApplication replaces an application's settings, all of them, if its stored version is still
// the given one; else it fails with [ErrStale]. What is under way keeps the old ones.
func (s *Service) UpdateApplication(ctx context.Context, acct *Account, a Application, version int) error {
	// A stale or absent one is answered as such, whatever else is wrong.
	switch stored, err := s.store.Application(ctx, acct.Project.ID, a.ID); {
	case err != nil:
		return err
	case stored.Version != version:
		return ErrStale
	}
	a.Project, a.UpdatedAt, a.Version = acct.Project.ID, s.instant(), version+1
	a.complete()
	if err := s.checkApplication(ctx, acct, &a); err != nil {
		return err
	}
	return s.store.UpdateApplication(context.WithoutCancel(ctx), a, s.uniqueNames)
}

// DeleteApplication deletes an application with its users. Nothing of it validates any more. It fails with [ErrStale]
// unless the stored version is the given one; 0 is any.
func (s *Service) DeleteApplication(ctx context.Context, acct *Account, id ID, version int) error {
	return s.store.DeleteApplication(context.WithoutCancel(ctx), acct.Project.ID, id, version)
}

// CheckApplication says what CreateApplication would say is wrong, and makes nothing.
func (s *Service) CheckApplication(ctx context.Context, acct *Account, a Application) error {
	a.Project = acct.Project.ID
	a.complete()
	return s.checkApplication(ctx, acct, &a)
}

// complete fills in the defaults, so that an API shows what holds.
func (a *Application) complete() {
	if a.Format == "" {
		a.Format = code.Numeric
	}
	if a.Length == 0 {
		a.Length = applicationLength
	}
	if a.Life == 0 {
		a.Life = applicationLife
	}
	if a.Attempts == 0 {
		a.Attempts = applicationAttempts
	}
	if len(a.Channels) == 0 {
		a.Channels = []Channel{ChannelSMS}
	}
}

// checkApplication says all that is wrong with an application in an [ErrInvalid].
func (s *Service) checkApplication(ctx context.Context, acct *Account, a *Application) error {
	var p problems
	if a.Name == "" {
		p.add(FieldName, "can't be blank")
	}
	p.text(FieldName, a.Name, maxName)
	p.text(FieldDescription, a.Description, maxDescription)
	p.text(FieldPrefix, a.Prefix, maxPrefix)
	p.text(FieldDisplayName, a.DisplayName, maxDisplayName)
	p.text(FieldAssociateTemplate, a.AssociateTemplate, maxTemplate)
	p.text(FieldLoginTemplate, a.LoginTemplate, maxTemplate)
	p.printable(FieldName, a.Name)
	p.printable(FieldPrefix, a.Prefix)
	if acct.Project.foreignSite(a.Prefix + "0") {
		p.add(FieldPrefix, foreignSite)
	}
	p.codes(acct.Project.Profile, a)
	p.channels(a.Channels, s.push)
	var sender Sender
	if p.text(FieldFrom, a.From, maxFrom) {
		sender = p.sender(&acct.Project, a.From, s.senders)
	}
	if len(p) > 0 {
		return p.err() // the texts depend on all of these
	}
	for _, o := range occasions {
		if err := s.checkTemplate(ctx, acct, a, o, sender, &p); err != nil {
			return err
		}
		if len(p) > 0 && p[len(p)-1].Field == FieldDisplayName {
			break // it is the same in the other text
		}
	}
	return p.err()
}

// codes checks how an application's codes are made and how long they live.
func (p *problems) codes(profile Profile, a *Application) {
	b := profiles[profile]
	if !a.Format.Valid() {
		p.add(FieldFormat, "is not one of numeric, alpha, alphanumeric and complex")
		return
	}
	length := p.within(FieldLength, nil, a.Length, b.minLength, b.maxLength)
	if length > 0 && a.Format.Bits(length) < b.minBits {
		p.add(FieldLength, "is too short for a secure code")
	}
	low, high := minApplicationLife, min(maxApplicationLife, b.maxLife)
	if p.within(FieldLife, nil, seconds(a.Life), seconds(low), seconds(high)) > 0 && a.Life%time.Second != 0 {
		p.add(FieldLife, "must be whole seconds")
	}
	p.within(FieldAttempts, nil, a.Attempts, b.minAttempts, b.maxAttempts)
}

// channels checks by what an application's users may be reached.
func (p *problems) channels(all []Channel, push bool) {
	for i, c := range all {
		switch {
		case c.ToDevices() && !push:
			p.add(FieldChannels, "has push, which is not available")
		case !c.Known():
			p.add(FieldChannels, "has an unknown method")
		case slices.Contains(all[:i], c):
			p.add(FieldChannels, "has %s twice", c)
		}
	}
}

// channel chooses how to reach a user: as the request says, else as the address does, else by the
// application's preferred channel, which is also what it returns if it notes a problem. A push shows nothing of a
// number, so an association never goes by one.
func (a *Application) channel(asked Channel, to address, associates bool, p *problems) Channel {
	field, c := FieldChannel, asked
	if c == "" {
		field, c = FieldAddress, to.channel
	}
	all := a.Channels
	if associates {
		all = withoutPush(all)
	}
	if len(all) == 0 {
		all = []Channel{ChannelSMS}
	}
	switch {
	case slices.Contains(all, c):
		return c
	case c.ToDevices() && associates && slices.Contains(a.Channels, c):
		p.add(field, "asks for push, which doesn't show whose the number is; name another channel")
	case c.ToDevices():
		p.add(field, "asks for push, which is not available")
	case c != "":
		p.add(field, "asks for %s, which is not among the application's methods", c)
	}
	return all[0]
}

// withoutPush is a list without push.
func withoutPush(all []Channel) []Channel {
	if !slices.ContainsFunc(all, Channel.ToDevices) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), Channel.ToDevices)
}

// text checks a text that is stored: its length in characters, and that it is one.
func (p *problems) text(f Field, s string, most int) (ok bool) {
	switch {
	case !utf8.ValidString(s):
		p.add(f, "is not valid UTF-8")
	case utf8.RuneCountInString(s) > most:
		p.add(f, "is too long (maximum is %d characters)", most)
		(*p)[len(*p)-1].TooLong = true
	case !Storable(s):
		p.add(f, "has a control character")
	default:
		return true
	}
	return false
}

// Storable reports whether every database can store a text, or look for it.
func Storable(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// IsLabel reports whether a text can be a name for people: 1 to most printable characters, which stand in one line of
// tables and logs.
func IsLabel(s string, most int) bool {
	n := utf8.RuneCountInString(s)
	return n >= 1 && n <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// printable checks a text that stands in one line.
func (p *problems) printable(f Field, s string) {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		p.add(f, "has a character that can't be shown")
	}
}
