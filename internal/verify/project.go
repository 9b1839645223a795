package verify

import (
	"slices"
	"time"

	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/wording"
)

// A Project is the tenant. Nothing that one does changes or shows anything of another.
type Project struct {
	ID      ProjectID
	Name    string
	Profile Profile
	Limits  Limits

	// Senders are the numbers, E.164, and the names that messages may come from because a caller names
	// them, beside the public senders. With AnySender so may all that aren't another project's: these are Taken.
	Senders   []string
	AnySender bool
	Taken     []string // isn't stored: a store reads it where there is AnySender
	// LinkHosts are the web sites that text messages may name, with the sites below them, beside that of
	// the style. With AnyLink it may be any.
	LinkHosts []string
	AnyLink   bool
	// PublicText allows a caller's own text without a "from", out by the shared public sender.
	// Carriers let that sender send the approved text only, hence off by default.
	PublicText bool
	Style      wording.Style

	// Countries are those whose numbers may be sent to, in ISO 3166's two letters, [phone.World] for numbers
	// of no country, or [AnyCountry]. With none it is any in compat, and none in standard.
	Countries []string
	// Kinds are those of numbers that may be sent to beside ordinary ones: most of them bring money to whoever
	// has them called.
	Kinds []phone.Kind

	// OnlyNumbers are the keys of the only numbers that may be sent to, for a project that is being tried; nil: all.
	OnlyNumbers []phone.Number

	// TrialMessages is how many messages a day a project may send that is being tried: see [Project.Trial]. 0: it isn't. A store
	// writes it with its budget.
	TrialMessages int

	// Bound says that the project has a [Budget]. A store writes it with that.
	Bound bool

	// Moving says that the project is being moved from this database to another one, and that nothing of it is decided here. A
	// store reads it: see store.MoveProject.
	Moving bool
}

// AnyCountry stands for all in a project's countries.
const AnyCountry = "any"

// AnyCountry reports whether the project may send to every country.
func (p *Project) AnyCountry() bool {
	if len(p.Countries) == 0 {
		return p.Profile != ProfileStandard
	}
	return slices.Contains(p.Countries, AnyCountry)
}

// allows reports whether the project may send from a number or a name, because it is its own.
func (p *Project) allows(from string) bool {
	return slices.ContainsFunc(p.Senders, sameSender(from)) || p.AnySender && !slices.ContainsFunc(p.Taken, looksLike(from))
}

// Limits bound what a project sends to one number: Burst messages at once, then one each Interval,
// and at most Daily in any 24 hours. A Burst or a Daily of 0 is no limit of that kind.
type Limits struct {
	Burst    int
	Interval time.Duration
	Daily    int
}

// DefaultLimits are a new project's.
var DefaultLimits = Limits{Burst: 5, Interval: 2 * time.Minute, Daily: 20}

func (l Limits) gcra() limit.GCRA { return limit.GCRA{Burst: l.Burst, Interval: l.Interval} }

// window is the bound of a day. Its first half may be spent at once, the rest only evenly over the day, so
// that nobody shuts a person out until the day is over by spending it all. Of few there is no half to keep.
func (l Limits) window() limit.Window {
	w := limit.Window{Max: l.Daily, Period: 24 * time.Hour}
	if l.Daily >= minSpread {
		w.Free = (l.Daily + 1) / 2
	}
	return w
}

const minSpread = 10

// An Account is what a key opens: a project and the application that its requests use.
type Account struct {
	Project     Project
	Application Application
	Scopes      Scopes    // of the key that opened it
	KeyID       ID        // its id
	KeyExpires  time.Time // zero: never
	KeyUsed     time.Time // about when it was last used before, as it is stored; zero: never
}
