// Package operator holds the rules about the people who use the console: their names and roles, passwords, second
// factors, links, sessions, and waits after failures. It reads no clock and knows no database.
package operator

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A Role says what an operator may do in the console.
type Role string

// The roles. Each may do what those before it may.
const (
	RoleViewer   Role = "viewer"
	RoleSupport  Role = "support"
	RoleOperator Role = "operator"
	RoleAdmin    Role = "admin"
)

// Roles lists all roles.
var Roles = []Role{RoleViewer, RoleSupport, RoleOperator, RoleAdmin}

// AtLeast reports whether a role may do what another may. A word that is no role may do nothing.
func (r Role) AtLeast(other Role) bool {
	return slices.Contains(Roles, r) && slices.Index(Roles, r) >= slices.Index(Roles, other)
}

// An Operator is a person who may use the console once they have set a password and a second factor.
type Operator struct {
	ID        verify.ID
	Name      string
	Role      Role
	Projects  []verify.ProjectID // that they may see; none: all
	CreatedAt time.Time

	Password  string    // its hash in PHC form; "": not set yet
	KeyID     uint32    // of the key that sealed Seed
	Seed      []byte    // of the second factor, sealed; nil: none yet
	Step      int       // the last time step whose code was accepted: each works once
	Failures  int       // wrong codes in a row behind a right password
	WaitUntil time.Time // until when every code is refused
	Link      []byte    // the hash of the link's token; nil: no link
	LinkUntil time.Time // the link is refused at or after this instant
	Subject   string    // of the provider that signs them in; "": they have a password
}

// Fields of what is given about operators, beside those of package verify.
const (
	FieldRole     verify.Field = "role"
	FieldPassword verify.Field = "password"
	FieldCode     verify.Field = "code"
)

// What callers see. [ErrWrong] is the same for an unknown name, a wrong password, a wrong, old or used code, and a code
// that comes during a wait, so that nobody learns which of them was right.
var (
	ErrWrong      = &verify.Error{Kind: verify.KindUnauthenticated, Code: "sign_in_refused", Message: "the name, the password or the code is wrong, or the code was used before"}
	ErrLink       = &verify.Error{Kind: verify.KindUnauthenticated, Code: "link_refused", Message: "the link is wrong, too old or used"}
	ErrNoSession  = &verify.Error{Kind: verify.KindUnauthenticated, Code: "no_session", Message: "sign in first"}
	ErrNoOperator = &verify.Error{Kind: verify.KindNotFound, Code: "no_operator", Message: "there is no such operator"}
	ErrBusy       = &verify.Error{Kind: verify.KindUnavailable, Code: "busy", Message: "too many people are signing in; try again in a moment", RetryAfter: 2 * time.Second}
)

// waits is the error of an address that has to wait.
func waits(d time.Duration) error {
	return &verify.Error{Kind: verify.KindLimited, Code: "sign_in_waits", Message: "too many failures came from this address", RetryAfter: d}
}

// LinkLife is how long a link works.
const LinkLife = 24 * time.Hour

// names are what an operator may be called: the name stands in the audit log's lines.
var names = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)

// Problems are all that is wrong with a new operator's name and role.
func (o *Operator) Problems() (all []verify.Problem) {
	if !names.MatchString(o.Name) {
		all = append(all, verify.Problem{Field: verify.FieldName, Message: "must be 1 to 64 of a to z, 0 to 9, '.', '_', '@' and '-', and begin with a letter or a digit"})
	}
	return append(all, o.Role.Problems()...)
}

// Problems are all that is wrong with a role.
func (r Role) Problems() []verify.Problem {
	if slices.Contains(Roles, r) {
		return nil
	}
	return []verify.Problem{{Field: FieldRole, Message: "must be one of: viewer, support, operator, admin"}}
}

// Granted says what an operator may do and see, for the audit log.
func (o *Operator) Granted() string {
	if len(o.Projects) == 0 {
		return fmt.Sprintf("%s, role %s, all projects", o.Name, o.Role)
	}
	return fmt.Sprintf("%s, role %s, projects %s", o.Name, o.Role, strings.Trim(fmt.Sprint(o.Projects), "[]"))
}

// State says how far an operator is, for people.
func (o *Operator) State(now time.Time) string {
	switch {
	case o.Provided():
		return "by provider"
	case o.Password != "":
		return "active"
	case now.Before(o.LinkUntil):
		return "invited"
	}
	return "link expired"
}

// Invite gives an operator a new link. It takes away what the old password and the old second factor opened.
func (o *Operator) Invite(now time.Time) (token verify.Secret) {
	token = newToken(linkPrefix)
	o.Password, o.KeyID, o.Seed, o.Step, o.Failures, o.WaitUntil = "", 0, nil, 0, 0, time.Time{}
	o.Link, o.LinkUntil = HashToken(token), now.Add(LinkLife)
	return token
}

// Invited reports whether an operator's link still works.
func (o *Operator) Invited(now time.Time) bool { return o.Link != nil && now.Before(o.LinkUntil) }

// An Attempt is a sign-in whose secrets have been compared, and that the database is to decide.
type Attempt struct {
	Operator verify.ID // zero: nobody has the name
	Address  string    // from which it came
	Right    bool      // the password is right
	Password string    // the hash that it was compared with
	Rehashed string    // the hash by today's parameters; "": it has them
	Step     int       // of the code; 0: it is wrong
	Proof    *Proof    // of a passkey, in place of a code; nil: there is none
	Passkey  *Passkey  // the proof's, which the database has locked; nil: there is none
	Session  Session   // that begins when all is right
}

// A Reason says why a sign-in was refused, for the audit log only.
type Reason string

// Why sign-ins and set-ups are refused.
const (
	ReasonUnknownName   Reason = "unknown name"
	ReasonWrongPassword Reason = "wrong password"
	ReasonWrongCode     Reason = "right password, wrong code"
	ReasonUsedCode      Reason = "right password, used code"
	ClonedPasskey       Reason = "right password, a passkey that another device has a copy of: reset this operator"
	ReasonWaits         Reason = "right password, while codes wait"
	ReasonUnknownLink   Reason = "a link that is wrong or used"
	ReasonOldLink       Reason = "a link that is too old"
)

// Decide says whether an attempt is right, and records it in o and in the proof's passkey, which the caller has locked. Only those who have the
// password can make an operator wait: strangers can't lock anybody out.
func (o *Operator) Decide(a Attempt, now time.Time) Reason {
	switch {
	case !a.Right || o.Password == "" || a.Password != o.Password:
		return ReasonWrongPassword
	case now.Before(o.WaitUntil):
		return ReasonWaits
	case a.Step == 0 && (a.Proof == nil || a.Passkey == nil):
		o.fail(now)
		return ReasonWrongCode
	case a.Proof != nil && a.Proof.Cloned:
		o.fail(now)
		return ClonedPasskey
	case a.used(o):
		o.fail(now)
		return ReasonUsedCode
	}
	o.Failures, o.WaitUntil = 0, time.Time{}
	if a.Proof != nil {
		a.Passkey.Record, a.Passkey.Challenge, a.Passkey.UsedAt = a.Proof.Record, a.Proof.Challenge, now
	} else {
		o.Step = a.Step
	}
	if a.Rehashed != "" {
		o.Password = a.Rehashed
	}
	return ""
}

// used reports whether a second factor was accepted before, or a later one was.
func (a *Attempt) used(o *Operator) bool {
	if a.Proof != nil {
		return !a.Proof.newer(a.Passkey)
	}
	return a.Step <= o.Step
}

func (o *Operator) fail(now time.Time) {
	o.Failures++
	o.WaitUntil = now.Add(waitAfter(o.Failures, time.Hour))
}

// free is how many failures have no wait.
const free = 5

// waitAfter is the wait after so many failures: 30 s after the fifth, then twice as long each time, up to most.
func waitAfter(failures int, most time.Duration) time.Duration {
	if failures < free {
		return 0
	}
	return min(most, 30*time.Second<<min(failures-free, 20))
}

// A Source is an address from which people sign in.
type Source struct {
	Address   string
	Failures  int
	WaitUntil time.Time
	At        time.Time // of the last attempt
}

// SourceMemory is how long the failures of an address count.
const SourceMemory = 24 * time.Hour

// longestWait bounds the wait of an address.
const longestWait = 15 * time.Minute

// Waits is how long an address must wait before its next attempt; zero is not at all. First reports that this attempt
// is the first one that comes during the wait: the audit log needs one, and not as many as somebody sends.
func (s *Source) Waits(now time.Time) (wait time.Duration, first bool) {
	if wait = s.WaitUntil.Sub(now); wait <= 0 {
		return 0, false
	}
	began := s.WaitUntil.Add(-waitAfter(s.Failures, longestWait))
	if first = !s.At.After(began); first {
		s.At = now
		if !now.After(began) { // in the millisecond in which the wait began
			s.At = began.Add(time.Millisecond)
		}
	}
	return wait, first
}

// Charge counts an attempt as a failure before its secrets are compared, so that concurrent attempts share the free
// ones. The address doesn't wait: see [Source.Waits].
func (s *Source) Charge(now time.Time) {
	if now.Sub(s.At) >= SourceMemory {
		s.Failures = 0
	}
	s.Failures++
	s.At, s.WaitUntil = now, now.Add(waitAfter(s.Failures, longestWait))
}

// Refund takes back what [Source.Charge] counted, and no more: a person who has an account can't use it to guess at
// others. It is for attempts that succeed, and for those that nobody decided.
func (s *Source) Refund() {
	s.Failures = max(0, s.Failures-1)
	s.WaitUntil = time.Time{}
}

// SourceOf is the source of a client's address: an IPv4 address, or the first 64 bits of an IPv6 address, because one
// client has all of those.
func SourceOf(remote string) string {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "unknown"
	}
	ip := a.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
