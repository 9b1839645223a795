package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/phone"
)

// A Profile is a named set of bounds and defaults; a project has one. A value outside of it is
// refused, never clamped in silence.
type Profile string

const (
	// Compat keeps the hosted vendors' published bounds to the letter, so that their clients work.
	ProfileCompat Profile = "compat"
	// Standard keeps NIST SP 800-63B-4 §3.1.3.2 and OWASP ASVS 5 §6.5.
	ProfileStandard Profile = "standard"
)

// Valid reports whether the profile exists.
func (p Profile) Valid() bool { return p == ProfileCompat || p == ProfileStandard }

// MaxLife is how long a verification may live at most, under any profile.
const MaxLife = 604800 * time.Second

// bounds are a profile's numbers. Each range is inclusive.
type bounds struct {
	minLength, maxLength, length       int
	minBits                            float64 // of a code's entropy
	maxLife, life                      time.Duration
	minAttempts, maxAttempts, attempts int
	freeFailures                       int // wrong guesses at a number before the first wait, less 5
}

var profiles = map[Profile]bounds{
	ProfileCompat: {
		minLength: 4, maxLength: 20, length: 6,
		maxLife: MaxLife, life: 3600 * time.Second,
		minAttempts: 1, maxAttempts: 20, attempts: 3,
		freeFailures: 15,
	},
	ProfileStandard: {
		// Six digits are 19.9 bits, just short of the 20 that other alphabets need.
		minLength: 4, maxLength: 20, length: 6, minBits: 6 * 3.3219,
		maxLife: 600 * time.Second, life: 300 * time.Second,
		minAttempts: 1, maxAttempts: 5, attempts: 5,
	},
}

// Bounds are what callers may ask for under a profile.
type Bounds struct {
	MinLength, MaxLength int // of a code; some formats need more than MinLength
	MaxLife              time.Duration
	MaxAttempts          int
}

// Bounds are the profile's.
func (p Profile) Bounds() Bounds {
	b := profiles[p]
	return Bounds{b.minLength, b.maxLength, b.maxLife, b.maxAttempts}
}

// wait is how long a number has to wait after its n-th consecutive failure. The waits grow with
// the failures (NIST SP 800-63B-4 §3.2.2); compat has 15 more free ones, for its verifications
// may allow 20 guesses each.
func (p Profile) wait(failures int) time.Duration {
	switch n := failures - profiles[p].freeFailures; {
	case n >= 20:
		return time.Hour
	case n == 15:
		return 15 * time.Minute
	case n == 10:
		return 5 * time.Minute
	case n == 5:
		return 30 * time.Second
	}
	return 0
}

// latestWait is the wait that began last at so many consecutive failures.
func (p Profile) latestWait(failures int) time.Duration {
	for ; failures > 0; failures-- {
		if wait := p.wait(failures); wait > 0 {
			return wait
		}
	}
	return 0
}

// maxSpoken is how many characters a call may say, including the code.
const maxSpoken = 500

// A StartRequest asks for a verification. What is nil or empty takes the application's setting,
// and what that leaves open, the profile's default.
type StartRequest struct {
	Channel  Channel
	To       string
	From     string
	Named    bool   // From may also be a name of the project's, such as ACME; else it is a number
	Text     string // around the code; see [wording.Frame]
	Template string // in place of Text: the name of a [TextTemplate]
	Format   code.Format
	Length   *int
	Life     *int // seconds
	Attempts *int
	Code     Secret // the caller's own, for which their key needs [ScopeOwnCode]; "": one is made

	// Application has the settings; zero: the account's, which is the project's default one.
	Application ID
	Purpose     Purpose // "": [PurposeMFA]
	// Then are the channels by which the message may go on; nil: those that the application and the server name.
	Then   []Channel
	Locale string // of the texts that we write; "": the application's, else the number's
	Details
	// Supersedes ends the older verifications of the number and purpose: none of their codes is right any more.
	Supersedes bool
}

// problems are all that is wrong with a request.
type problems []Problem

func (p *problems) add(f Field, format string, args ...any) {
	*p = append(*p, Problem{Field: f, Message: fmt.Sprintf(format, args...)})
}

// err is an [ErrInvalid] with the problems, or nil if there are none.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &Error{Kind: KindInvalid, Code: ErrInvalid.Code, Message: ErrInvalid.Message, Problems: p}
}

// ValidateStart says all that is wrong with a request in an [ErrInvalid], without starting anything.
func (s *Service) ValidateStart(ctx context.Context, acct *Account, r StartRequest) error {
	acct, o, err := s.read(ctx, acct, &r)
	if err != nil {
		return err
	}
	return s.settle(ctx, acct, &o, time.Time{}, &Terms{})
}

func seconds(d time.Duration) int { return int(d / time.Second) }

// from finds what a request's message comes from.
func (p *problems) from(acct *Account, r *StartRequest, all senders) Sender {
	if r.From == "" {
		return p.sender(&acct.Project, acct.Application.From, all)
	}
	from := strings.TrimSpace(r.From)
	if _, err := phone.Parse(from); err == nil || !r.Named {
		if from = string(p.parse(FieldFrom, from)); from == "" {
			return Sender{}
		}
	} else if !alphanumeric(from) {
		p.add(FieldFrom, "must be a number in E.164, or a name of 1 to 11 letters A to Z, in either case, and digits")
		return Sender{}
	} else if r.Channel.IsCall() {
		p.add(FieldFrom, "is a name, and calls come from numbers only")
		return Sender{}
	}
	sender := all.literal(&acct.Project, from)
	if !sender.Public && !acct.Project.allows(sender.From) {
		p.add(FieldFrom, "is not a sender of this project")
	}
	return sender
}

// number parses an E.164 number of whom to reach, which the project must be allowed to; "" means that it
// is none, and a problem was noted.
func (p *problems) number(f Field, s string, project *Project) phone.Number {
	n := p.parse(f, s)
	if n == "" {
		return ""
	}
	kind := n.Kind()
	switch {
	case !n.Possible():
		p.add(f, "has a length that its country's numbers don't have")
	case project.sendsOnlyTo() && !slices.Contains(project.OnlyNumbers, n.Key()):
		p.add(f, "isn't one of the numbers that this project may send to while it is tried")
	case kind != phone.Ordinary && !slices.Contains(project.Kinds, kind):
		p.add(f, "is a number of the kind %s, which this project may not send to", kind)
	case !project.AnyCountry() && !slices.Contains(project.Countries, n.Region()):
		p.add(f, "is a number of %s, to which this project may not send", country(n.Region()))
	}
	return n
}

func country(region string) string {
	if region == phone.World {
		return "no country"
	}
	return "the country " + region
}

// parse parses an E.164 number; "" means that a problem was noted.
func (p *problems) parse(f Field, s string) phone.Number {
	if strings.TrimSpace(s) == "" {
		p.add(f, "can't be blank")
		return ""
	}
	n, err := phone.Parse(s)
	switch {
	case errors.Is(err, phone.ErrCallingCode):
		p.add(f, "has an unknown country calling code")
	case err != nil:
		p.add(f, "is %v", err)
	}
	return n
}

// within returns the given value or, without one, the default; 0 means that a problem was noted.
func (p *problems) within(f Field, given *int, preset, low, high int) int {
	n := preset
	if given != nil {
		n = *given
	}
	switch {
	case n < low:
		p.add(f, "must be greater than or equal to %d", low)
		return 0
	case n > high:
		p.add(f, "must be less than or equal to %d", high)
		return 0
	}
	return n
}
