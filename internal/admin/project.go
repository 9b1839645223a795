package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/wording"
)

// A ProjectChange has the settings of a project that are to change. What is nil stays as it is.
type ProjectChange struct {
	Profile       *verify.Profile
	Senders       *List
	LinkHosts     *List
	PublicText    *bool
	Countries     []string // two letters each, or [verify.AnyCountry]
	Kinds         *[]phone.Kind
	OnlyNumbers   *List // Any: every number
	Transliterate *bool
	WebOTP        *string
	AndroidHash   *string

	Burst    *int
	Interval *time.Duration
	Daily    *int
}

// A List replaces a list of a project. Any stands for what can't be listed.
type List struct {
	Any   bool
	Items []string
}

// A NewProject is a project to create. What is nil takes the default.
type NewProject struct {
	ID   verify.ProjectID // "": a new UUID
	Name string
	ProjectChange

	Trial *Trial // nil: it isn't tried
}

// A Trial is what a project that is being tried gets.
type Trial struct {
	Messages int          // a day
	Credit   money.Amount // 0: it isn't prepaid, and its messages alone are bounded
	Currency money.Currency
}

// DefaultTrialMessages are how many messages a day a project sends that is being tried.
const DefaultTrialMessages = 50

// Project is the project that would be created, or all that is wrong with it in a [verify.ErrInvalid].
func (n *NewProject) Project() (verify.Project, error) {
	p := verify.Project{ID: n.ID, Name: n.Name, Profile: verify.ProfileCompat, Limits: verify.DefaultLimits}
	if p.ID == "" {
		p.ID = verify.ProjectID(uuid.NewString())
	}
	var wrong problems
	if t := n.Trial; t != nil {
		p.TrialMessages = t.Messages
		if t.Messages < 1 || t.Messages > maxTrialMessages {
			wrong.add(FieldTrial, "must be 1 to %d messages", maxTrialMessages)
		}
		wrong.amount(FieldCredit, t.Credit)
		if t.Credit > 0 && !t.Currency.Valid() {
			wrong.add(FieldCurrency, "must be given with a credit: three capital letters, such as EUR")
		}
	}
	if err := wrong.err(); err != nil {
		return p, err
	}
	return p, n.apply(&p)
}

// apply makes the change, or says all that is wrong with the project then.
func (c *ProjectChange) apply(p *verify.Project) error {
	before := p.Profile
	assign(&p.Profile, c.Profile)
	assign(&p.PublicText, c.PublicText)
	assign(&p.Style.Transliterate, c.Transliterate)
	assign(&p.Style.WebOTP, c.WebOTP)
	assign(&p.Style.AndroidHash, c.AndroidHash)
	assign(&p.Limits.Burst, c.Burst)
	assign(&p.Limits.Interval, c.Interval)
	assign(&p.Limits.Daily, c.Daily)
	var wrong problems
	if !p.ID.Valid() {
		wrong.add(FieldID, "must be 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	wrong.name(p.Name)
	if !p.Profile.Valid() {
		wrong.add(FieldProfile, "must be compat or standard")
	}
	wrong.list(FieldSenders, c.Senders, &p.Senders, &p.AnySender, verify.ParseSender)
	wrong.list(FieldLinkHosts, c.LinkHosts, &p.LinkHosts, &p.AnyLink, wording.ParseHost)
	wrong.reach(c, p, before)
	wrong.only(c, p)
	if problem := p.Style.Problem(); problem != "" {
		wrong.add(FieldStyle, "%s", problem)
	}
	if l := p.Limits; l.Burst < 0 || l.Burst > 1000 || l.Daily < 0 || l.Daily > 1000 {
		wrong.add(FieldSends, "must be 0 to 1000")
	}
	if p.Limits.Interval == 0 && c.Interval == nil { // as in a project without limits, such as dev's
		p.Limits.Interval = verify.DefaultLimits.Interval
	}
	if i := p.Limits.Interval; i < time.Second || i > 24*time.Hour {
		wrong.add(FieldInterval, "must be 1s to 24h")
	}
	return wrong.err()
}

// name checks a project's name.
func (wrong *problems) name(name string) {
	if !verify.IsLabel(name, maxProjectName) {
		wrong.add(verify.FieldName, "must be 1 to %d printable characters", maxProjectName)
	}
}

// reach sets where a project may send. Whoever makes one standard, or makes a standard one, decides where: else
// each country's numbers could be called at their expense.
func (wrong *problems) reach(c *ProjectChange, p *verify.Project, before verify.Profile) {
	if len(c.Countries) > 0 {
		p.Countries = c.Countries
	}
	anywhere := len(p.Countries) == 0 || slices.Contains(p.Countries, verify.AnyCountry)
	if p.Profile == verify.ProfileStandard && before != verify.ProfileStandard && anywhere && len(c.Countries) == 0 {
		wrong.add(FieldCountries, "a standard project must say where it may send: the two letters of each country, or any")
	}
	for _, country := range c.Countries {
		if country != verify.AnyCountry && !phone.IsRegion(country) {
			wrong.addOf(FieldCountries, country, "must be a country in two letters, such as US, or any")
		}
	}
	if c.Kinds == nil {
		return
	}
	p.Kinds = *c.Kinds
	for _, kind := range p.Kinds {
		if !slices.Contains(phone.Kinds, kind) {
			wrong.addOf(FieldKinds, string(kind), "must be one of %v, or none", phone.Kinds)
		}
	}
}

// maxOnly is how many numbers a project may be bound to. maxTrialMessages is how many messages a day one may send that is tried.
const (
	maxOnly          = 100
	maxTrialMessages = 1000
)

// only binds the project to some numbers, all forms of which are one.
func (wrong *problems) only(c *ProjectChange, p *verify.Project) {
	if c.OnlyNumbers == nil {
		return
	}
	p.OnlyNumbers = nil
	for _, s := range c.OnlyNumbers.Items {
		n, err := phone.Parse(s)
		if err != nil {
			wrong.addOf(FieldOnly, s, "%v", err)
			continue
		}
		p.OnlyNumbers = append(p.OnlyNumbers, n.Key())
	}
	if p.Trial() && len(p.OnlyNumbers) > verify.MaxTrialNumbers {
		wrong.add(FieldOnly, "must be at most %d numbers while the project is tried", verify.MaxTrialNumbers)
	}
	if len(p.OnlyNumbers) > maxOnly || c.OnlyNumbers.Any && len(p.OnlyNumbers) > 0 {
		wrong.add(FieldOnly, "must be at most %d numbers, or any", maxOnly)
	}
}

// list replaces a list by what was given, if anything was.
func (wrong *problems) list(f verify.Field, given *List, items *[]string, all *bool, parse func(string) (string, error)) {
	if given == nil {
		return
	}
	*items, *all = nil, given.Any
	for _, s := range given.Items {
		parsed, err := parse(s)
		if err != nil {
			wrong.addOf(f, s, "%v", err)
		}
		*items = append(*items, parsed)
	}
}

// Project finds a project, or fails with [verify.ErrNoProject].
func (s *Service) Project(ctx context.Context, id verify.ProjectID) (verify.Project, error) {
	all, err := s.store.Projects(ctx)
	if err != nil {
		return verify.Project{}, err
	}
	i := slices.IndexFunc(all, func(p verify.Project) bool { return p.ID == id })
	if i < 0 {
		return verify.Project{}, fmt.Errorf("project %s: %w", id, verify.ErrNoProject)
	}
	return all[i], nil
}

// FindProject finds a project by its id, or by a name that no other project has. It fails with [verify.ErrNoProject].
func (s *Service) FindProject(ctx context.Context, idOrName string) (verify.Project, error) {
	all, err := s.store.Projects(ctx)
	if err != nil {
		return verify.Project{}, err
	}
	var named []verify.Project
	for _, p := range all {
		if string(p.ID) == idOrName {
			return p, nil
		}
		if p.Name == idOrName {
			named = append(named, p)
		}
	}
	switch len(named) {
	case 0:
		return verify.Project{}, fmt.Errorf("project %s: %w", idOrName, verify.ErrNoProject)
	case 1:
		return named[0], nil
	}
	var ids []string
	for _, p := range named {
		ids = append(ids, string(p.ID))
	}
	return verify.Project{}, fmt.Errorf("%d projects are called %q; name one by its id: %s", len(named), idOrName, strings.Join(ids, ", "))
}

// CreateProject creates a project. It fails with [verify.ErrInvalid], and with [verify.ErrExists] if the id is taken.
func (s *Service) CreateProject(ctx context.Context, by Actor, n NewProject) (verify.Project, error) {
	p, err := n.Project()
	if err != nil {
		return p, err
	}
	did := by.did("project create", created(p))
	if t := n.Trial; t != nil {
		did.Detail += fmt.Sprintf(", trial of %d messages a day and a credit of %v", t.Messages, t.Credit)
		return p, s.store.CreateTrial(ctx, p, t.Credit, t.Currency, did)
	}
	return p, s.store.CreateProject(ctx, p, did)
}

// created says how a project's settings differ from a new one's, and its policy.
func created(p verify.Project) string {
	all := []string{"policy " + string(p.Profile)}
	was := settings(verify.Project{Name: p.Name, Profile: p.Profile, Limits: verify.DefaultLimits})
	for i, is := range settings(p) {
		if is != was[i] {
			all = append(all, is[0]+" "+is[1])
		}
	}
	return strings.Join(all, ", ")
}

// ChangeProject changes a project's settings, and returns all of them. It fails with [verify.ErrInvalid] and with
// [verify.ErrNoProject]. What is under way keeps the old settings.
func (s *Service) ChangeProject(ctx context.Context, by Actor, id verify.ProjectID, c ProjectChange) (verify.Project, error) {
	return s.store.ChangeProject(ctx, id, func(p *verify.Project) ([]store.Audit, error) {
		before := *p
		if err := c.apply(p); err != nil {
			return nil, err
		}
		return []store.Audit{by.did("project policy", changes(before, *p))}, nil
	})
}

// RenameProject gives a project another name, and returns it. Its id stays. It fails with [verify.ErrInvalid] and with
// [verify.ErrNoProject].
func (s *Service) RenameProject(ctx context.Context, by Actor, id verify.ProjectID, name string) (verify.Project, error) {
	var wrong problems
	wrong.name(name)
	if err := wrong.err(); err != nil {
		return verify.Project{}, err
	}
	return s.store.ChangeProject(ctx, id, func(p *verify.Project) ([]store.Audit, error) {
		before := *p
		p.Name = name
		return []store.Audit{by.did("project rename", changes(before, *p))}, nil
	})
}

// DeleteProject deletes a project with its keys, applications, users and templates, and cancels its pending verifications.
// It returns how many these were. With pending ones, it fails with [store.ErrPending] unless force is true. It also fails
// with [verify.ErrNoProject]. See [store.Store.DeleteProject] for what stays.
func (s *Service) DeleteProject(ctx context.Context, by Actor, id verify.ProjectID, force bool) (canceled int, err error) {
	return s.store.DeleteProject(ctx, id, force, account.Remembered, by.did(store.ProjectDeleted, ""))
}

// settings are a project's, by the names of their flags. None is a secret.
func settings(p verify.Project) [][2]string {
	list := func(all []string, any bool) string {
		if any {
			all = append([]string{"any"}, all...)
		}
		return fmt.Sprint(all)
	}
	return [][2]string{
		{"name", fmt.Sprintf("%q", p.Name)},
		{"policy", string(p.Profile)},
		{"senders", list(masked(p.Senders), p.AnySender)},
		{"link-hosts", list(p.LinkHosts, p.AnyLink)},
		{"public-text", fmt.Sprint(p.PublicText)},
		{"countries", fmt.Sprint(p.Countries)},
		{"allow-kind", fmt.Sprint(p.Kinds)},
		{"only-number", fmt.Sprint(maskedNumbers(p.OnlyNumbers))},
		{"transliterate", fmt.Sprint(p.Style.Transliterate)},
		{"webotp", cmp.Or(p.Style.WebOTP, "none")},
		{"android-hash", cmp.Or(p.Style.AndroidHash, "none")},
		{"send-burst", fmt.Sprint(p.Limits.Burst)},
		{"send-interval", p.Limits.Interval.String()},
		{"send-daily", fmt.Sprint(p.Limits.Daily)},
	}
}

func maskedNumbers(all []phone.Number) []string {
	masked := make([]string, len(all))
	for i, n := range all {
		masked[i] = n.Masked()
	}
	return masked
}

// masked hides the digits of senders that are numbers: the audit log has no whole numbers.
func masked(senders []string) []string {
	all := slices.Clone(senders)
	for i, s := range all {
		if strings.HasPrefix(s, "+") {
			all[i] = phone.Number(s).Masked()
		}
	}
	return all
}

// changes says which settings of a project changed, from what to what.
func changes(before, after verify.Project) string {
	return differences(settings(before), settings(after))
}

func differences(before, after [][2]string) string {
	var all []string
	for i, is := range after {
		if is != before[i] {
			all = append(all, fmt.Sprintf("%s from %s to %s", is[0], before[i][1], is[1]))
		}
	}
	return cmp.Or(strings.Join(all, ", "), "nothing changed")
}
