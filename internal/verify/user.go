package verify

import (
	"cmp"
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/phone"
)

// A User is somebody whom an application's caller knows under a name of its own, with the address
// that he says is his:
//
//	           associate                right code
//	(absent) ────────────▶ pending ────────────────▶ validated ─┐ a login's code
//	             initial ────▲  ▲────────────────────────┴──────┘ changes nothing
//	                ▲         │        associate
//	                └─────────┴── dissociate, from everywhere
//
// A login's code changes nothing but VerifiedAt.
//
// He has one code at a time: that of Current. A newer one supersedes it, without a write to its row.
type User struct {
	Application ID
	Name        string       // the caller's, case-sensitive
	Address     string       // as the caller wrote it; "" while initial
	NumberKey   phone.Number // of Address, by which those who have a number are found: see [phone.Number.Key]
	Status      UserStatus
	Current     ID        // the latest verification, live or not; zero: none
	Sends       limit.Log // for the limits of [UserLimits]
	Prompts     int       // that were pushed since the last success
	DeniedAt    time.Time // when they said that it wasn't them who asked: no prompts since; zero: they haven't

	// VerifiedAt is when a right code, or a key in a call, last showed that the number is theirs. A user who asks for the
	// same number again keeps it while pending. Zero, with a validated one: see [User.Verified].
	VerifiedAt           time.Time
	CreatedAt, UpdatedAt time.Time
	Version              int // one more with each change of address or status, and each approval by a key; a new code is none
}

// A UserStatus is where a user is.
type UserStatus int

// The numbers are stored.
const (
	UserInitial   UserStatus = 1 // without an address
	UserPending   UserStatus = 2 // nobody has shown yet that the address is his
	UserValidated UserStatus = 3
)

func (s UserStatus) String() string {
	return [...]string{"", "initial", "pending", "validated"}[s]
}

// Number is the user's number; "" while initial.
func (u *User) Number() phone.Number {
	_, rest, qualified := strings.Cut(u.Address, ":")
	if !qualified {
		rest = u.Address
	}
	n, _ := phone.Parse(rest) // it was parsed when it was stored
	return n
}

// HeldUntil is until when a user with a status holds a number against other users, where numbers are unique: forever
// once it was shown to be theirs, also while they show it again, and before as long as the code that asks for it may be
// used. verified says when it was shown ([User.VerifiedAt]), live until when the code may be used; both may be zero. So
// nobody loses a number that they have shown to be theirs, and nobody keeps one that they only asked for.
func HeldUntil(s UserStatus, verified, live time.Time) (until time.Time, forever bool) {
	switch {
	case s == UserValidated || !verified.IsZero():
		return time.Time{}, true
	case s == UserPending:
		return live, false
	}
	return time.Time{}, false
}

// A UserKey names a user. One of another project's application doesn't exist.
type UserKey struct {
	Project     ProjectID
	Application ID
	Name        string
}

// A UserStore keeps the users of applications. Each method fails with [ErrNoApplication] where the
// application isn't there, or isn't the project's: read in the same transaction, so that what happens
// to a user while his application is being deleted is nothing. All but StartUser and ImportUsers fail with [ErrNoUser].
type UserStore interface {
	// StartUser commits a user's new verification: see [User.Begin]. It makes a user who is associated
	// and isn't there. v is filled in. It fails with [ErrNumberTaken] where numbers are unique and another user has
	// this one: see [HeldUntil].
	StartUser(ctx context.Context, v *Verification, r UserStart) error
	// CheckUser spends a guess at a user's current verification: see [User.Check]. g has no ID. It fails
	// with [ErrNoCode] if there is no such verification (any more).
	CheckUser(ctx context.Context, k UserKey, g Guess) (Outcome, error)
	// Dissociate takes a user's address: see [User.Dissociate].
	Dissociate(ctx context.Context, k UserKey) error
	// ImportUsers commits the users that aren't there and that nothing refuses, all together, writes down which key asked
	// for it, and says what became of each: see [User.MeetsImport]. Where numbers are unique, it refuses those whose
	// number another user has, as StartUser does.
	ImportUsers(ctx context.Context, p ProjectID, application ID, users []User, refused []error, by ID) ([]Imported, error)
	// DeleteUser deletes a user and cancels his live verification.
	DeleteUser(ctx context.Context, k UserKey) error

	User(ctx context.Context, k UserKey) (User, error)
	// UsersAfter returns those of an application with a status and a number, of which n is the key, in the order of
	// their names, behind a name. Zero values let all pass.
	UsersAfter(ctx context.Context, p ProjectID, application ID, status UserStatus, n phone.Number, after string, limit int) ([]User, error)
	// Users returns a page of those that pass the filter, and how many do.
	Users(ctx context.Context, p ProjectID, application ID, f UserFilter, page Page) ([]User, int, error)
}

// A UserFilter passes the users that equal it where it isn't zero.
type UserFilter struct {
	Name                 string
	Status               UserStatus
	CreatedAt, UpdatedAt time.Time
}

// A UserOrder is what users are sorted by; those that are equal in it, by name.
type UserOrder string

const (
	OrderByCreation UserOrder = "" // when they were made
	OrderByName     UserOrder = "name"
	OrderByAddress  UserOrder = "address"
	OrderByStatus   UserOrder = "status"
	OrderByUpdate   UserOrder = "update" // when they were changed
	OrderByVersion  UserOrder = "version"
)

// A Page is a part of a sorted list.
type Page struct {
	Order      UserOrder
	Descending bool
	Offset     int
	Limit      int
}

// UserLimits bound what one user is sent: one code each Interval, and at most Max in any Period.
// Zero is no limit of that kind. The limits of his number hold as well.
type UserLimits struct {
	Interval time.Duration
	Max      int
	Period   time.Duration // not below Interval
}

// DefaultUserLimits are a server's.
var DefaultUserLimits = UserLimits{Interval: 30 * time.Second, Max: 5, Period: 10 * time.Minute}

// take asks for one more send at now. A wait of zero means that it is allowed.
func (l UserLimits) take(log limit.Log, now time.Time) (next limit.Log, wait time.Duration) {
	short, wait := limit.Window{Max: 1, Period: l.Interval}.Take(log, now)
	next, longer := limit.Window{Max: l.Max, Period: l.Period}.Take(log, now)
	if next == nil { // without that bound
		next = short
	}
	return next, max(wait, longer)
}

// A UserStart is what a user's new code is for, and the terms of sending it.
type UserStart struct {
	Associate  bool   // the address with the user, else it is for his login
	Unique     bool   // no other user of the application may have the number
	Address    string // as the caller wrote it
	Limits     Limits
	UserLimits UserLimits
	Lease      time.Duration
	By         Channel // by which the message goes first; "": by the verification's
}

// Begin starts v for its user, as [Verification.Begin] does for its number, and makes it his current
// one. A login needs a user whose address is validated ([ErrNotValidated]) and still the one that the
// caller read ([ErrStale]). If it fails, nothing has changed.
func (u *User) Begin(v *Verification, d *Destination, r UserStart, now time.Time) error {
	switch {
	case r.Associate:
	case u.Status != UserValidated:
		return ErrNotValidated
	case u.Address != r.Address:
		return ErrStale
	}
	sends, wait := r.UserLimits.take(u.Sends, now)
	if wait > 0 {
		return ErrTooManySends.After(wait)
	}
	unasked := u.mayPrompt()
	if unasked != nil && v.prompts(v.Channel) && len(v.Fallbacks) == 0 {
		return unasked
	}
	if err := v.Begin(d, r.Limits, r.Lease, now); err != nil {
		return err
	}
	if v.prompts(v.Channel) {
		u.prompt(v, unasked == nil && v.prompts(cmp.Or(r.By, v.Channel)))
	}
	verified := u.verified(v.To)
	u.Sends, u.Current, u.NumberKey = sends, v.ID, v.To
	if r.Associate {
		u.become(UserPending, r.Address, now)
		u.VerifiedAt = verified
	}
	return nil
}

// Check spends a guess at v, the user's current verification: see [Verification.Check]. A right one
// validates his address, and shows that it is still theirs unless the code may have come to a device.
func (u *User) Check(v *Verification, d *Destination, g Guess, now time.Time) (Outcome, error) {
	out, err := v.Check(d, g, now)
	if err == nil && out.Approved {
		u.become(UserValidated, u.Address, now)
		if !v.pushed() {
			u.VerifiedAt = now
		}
		u.Prompts = 0
		if !v.pushed() || v.Approval == ApprovalByPrompt { // devices get no code of a prompt
			u.DeniedAt = time.Time{}
		}
	}
	return out, err
}

// Verified is when the user's address was last shown to be theirs; zero: nobody has shown it. The program before
// didn't record it, but when the user last changed.
func (u *User) Verified() time.Time {
	if u.Status != UserValidated {
		return time.Time{}
	}
	return cmp.Or(u.VerifiedAt, u.UpdatedAt)
}

// verified is when the number with a key was last shown to be the user's; zero: never.
func (u *User) verified(key phone.Number) time.Time {
	if u.Number().Key() != key {
		return time.Time{}
	}
	return cmp.Or(u.VerifiedAt, u.Verified())
}

// Dissociate takes the user's address, and cancels v, his current verification if there is one.
func (u *User) Dissociate(v *Verification, now time.Time) {
	u.Drop(v, now)
	u.Current, u.NumberKey = ID{}, ""
	u.become(UserInitial, "", now)
}

// Drop cancels v, the user's current verification if there is one, as he goes.
func (u *User) Drop(v *Verification, now time.Time) {
	if v != nil {
		v.Superseded = false // nothing has taken its place, even if his application went before him
		v.Cancel(now)        // one that has ended stays as it is
	}
}

// Supersedes reports whether v, which is for the user, isn't his current verification any more. One
// whose time was over before the next one began has expired.
func (u *User) Supersedes(v *Verification) bool {
	return u.Current != v.ID && u.Current.Time().Before(v.ExpiresAt)
}

func (u *User) become(s UserStatus, address string, now time.Time) {
	if s != UserValidated {
		u.VerifiedAt = time.Time{}
	}
	if u.Status == s && u.Address == address {
		return
	}
	u.Status, u.Address, u.UpdatedAt = s, address, now
	u.Version++
}

// userKey names a user of an account's project, or says what is wrong with the name: it has 1 to 255
// characters, none of them a slash or a control character.
func userKey(acct *Account, application ID, name string) (UserKey, error) {
	var p problems
	p.userName(name)
	return UserKey{acct.Project.ID, application, name}, p.err()
}

func (p *problems) userName(name string) {
	if name == "" {
		p.add(FieldUser, "can't be blank")
	}
	p.text(FieldUser, name, maxName)
	if strings.ContainsFunc(name, func(r rune) bool { return r == '/' || unicode.IsControl(r) }) {
		p.add(FieldUser, "has a slash or a control character")
	}
}

// An address is how a user is reached, as the caller wrote it: a number, which may say by its prefix
// how.
type address struct {
	channel Channel // "": it doesn't say
	number  phone.Number
}

// address reads one. The number is "" if a problem was noted.
func (p *problems) address(s string, project *Project) address {
	if !p.text(FieldAddress, s, maxName) {
		return address{}
	}
	kind, rest, qualified := strings.Cut(strings.TrimSpace(s), ":")
	var a address
	if qualified {
		switch strings.ToLower(kind) {
		case "voice":
			a.channel, s = ChannelVoice, rest
		case "push", "psh":
			p.add(FieldAddress, "is a device's; register it as a device of the user")
			return a
		}
	}
	a.number = p.number(FieldAddress, s, project)
	return a
}
