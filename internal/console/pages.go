package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// A page is something to look at or to do, and the least role that it takes.
type page struct {
	pattern string // of [http.ServeMux]
	role    Role
	whole   bool // only for people who may see all projects
	serve   func(d desk, w http.ResponseWriter, r *http.Request, p Person) error
}

// all are the pages and actions. Their test goes through this table.
var all = []page{
	{"GET /{$}", operator.RoleViewer, false, desk.now},
	{"GET /find", operator.RoleViewer, false, desk.findBox},
	{"POST /find", operator.RoleViewer, false, desk.find},
	{"POST /user", operator.RoleViewer, false, desk.user},
	{"POST /user/device", operator.RoleOperator, false, desk.removeDevice},
	{"POST /user/export", operator.RoleOperator, false, desk.exportUser},
	{"POST /user/erase", operator.RoleAdmin, false, desk.askErase},
	{"POST /user/erased", operator.RoleAdmin, false, desk.erase},
	{"GET /verification/{id}", operator.RoleViewer, false, desk.verification},
	{"POST /verification/{id}/reveal", operator.RoleSupport, false, desk.reveal},
	{"POST /verification/{id}/reset", operator.RoleOperator, false, desk.reset},
	{"POST /verification/{id}/export", operator.RoleOperator, false, desk.exportNumber},
	{"POST /verification/{id}/erase", operator.RoleAdmin, false, desk.askEraseNumber},
	{"POST /verification/{id}/erased", operator.RoleAdmin, false, desk.eraseNumber},
	{"GET /traffic", operator.RoleViewer, false, desk.traffic},
	{"GET /traffic/rows", operator.RoleViewer, false, desk.rowsBehind},
	{"GET /weights", operator.RoleOperator, true, desk.askWeights},
	{"POST /weights", operator.RoleOperator, true, desk.setWeights},
	{"GET /carriers", operator.RoleViewer, true, desk.carriers},
	{"GET /test", operator.RoleOperator, true, desk.askTrial},
	{"POST /test", operator.RoleOperator, true, desk.try},
	{"GET /stop", operator.RoleOperator, true, desk.askStop},
	{"POST /stop", operator.RoleOperator, true, desk.stop},
	{"POST /allow", operator.RoleOperator, true, desk.allow},
	{"GET /usage", operator.RoleViewer, false, desk.usage},
	{"GET /texts", operator.RoleViewer, false, desk.texts},
	{"GET /projects", operator.RoleViewer, false, desk.projects},
	{"GET /projects/{project}", operator.RoleViewer, false, desk.project},
	{"GET /audit", operator.RoleOperator, true, desk.audit},
	{"POST /audit/export", operator.RoleOperator, true, desk.exportAudit},
}

// menu is what the frame links to, for whom the pages are.
var menu = []struct {
	link
	role  Role
	whole bool
}{
	{link{Name: "Now", Path: "/"}, operator.RoleViewer, false},
	{link{Name: "Find", Path: "/find"}, operator.RoleViewer, false},
	{link{Name: "Traffic", Path: "/traffic"}, operator.RoleViewer, false},
	{link{Name: "Carriers", Path: "/carriers"}, operator.RoleViewer, true},
	{link{Name: "Usage", Path: "/usage"}, operator.RoleViewer, false},
	{link{Name: "Texts", Path: "/texts"}, operator.RoleViewer, false},
	{link{Name: "Projects", Path: "/projects"}, operator.RoleViewer, false},
	{link{Name: "Audit", Path: "/audit"}, operator.RoleOperator, true},
}

// A desk is what the pages work with.
type desk struct {
	server *system.System // that serves them
	books  *admin.Service
	log    *slog.Logger
	recent *recents
}

// Pages serves the pages for people who run the server. Each request has a [Person]: see [SignIn.Require]. What a person
// may not see is answered as what isn't there.
func Pages(server *system.System, log *slog.Logger) http.Handler {
	d := desk{server, admin.New(server.Store), log, &recents{}}
	mux := http.NewServeMux()
	for _, p := range all {
		mux.HandleFunc(p.pattern, func(w http.ResponseWriter, r *http.Request) { d.open(p, w, r) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { d.fail(w, r, verify.ErrNotFound) })
	return mux
}

// open serves a page to a person who may see it.
func (d desk) open(p page, w http.ResponseWriter, r *http.Request) {
	person, ok := PersonOf(r.Context())
	if !ok || !person.may(p.role, p.whole) {
		d.fail(w, r, errRole)
		return
	}
	if !isText(r.URL.Query()) {
		d.fail(w, r, verify.ErrNotFound)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := p.serve(d, w, r, person); err != nil {
		d.fail(w, r, err)
	}
}

// isText reports whether a URL asks for what a database can hold: PostgreSQL refuses other bytes as a fault of ours.
func isText(q url.Values) bool {
	for _, values := range q {
		for _, v := range values {
			if !utf8.ValidString(v) || strings.Contains(v, "\x00") {
				return false
			}
		}
	}
	return true
}

var errRole = errors.New("your role doesn't allow this: ask an admin")

// fail says that something isn't to be had. Only what the person can't mend is logged.
func (d desk) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, problem := http.StatusInternalServerError, "The server can't answer at the moment. Try again in a minute."
	switch {
	case errors.Is(err, errRole):
		status, problem = http.StatusForbidden, "Your role doesn't allow this. Ask an admin."
	case errors.Is(err, verify.ErrNotFound), errors.Is(err, verify.ErrNoTemplate), errors.Is(err, verify.ErrNoProject), errors.Is(err, verify.ErrNoUser), errors.Is(err, verify.ErrNoNumber):
		status, problem = http.StatusNotFound, "There is no such page, verification or user here. It may be past its retention, or in a project that you don't see."
	case errors.Is(err, errRange), errors.Is(err, errNothingToStop), errors.Is(err, errNoCountry), errors.Is(err, verify.ErrTooMuchUsage):
		status, problem = http.StatusUnprocessableEntity, strings.ToUpper(err.Error()[:1])+err.Error()[1:]+"."
	case errors.Is(err, verify.ErrUnderWay):
		status, problem = http.StatusConflict, "A carrier is being given a message to this number. Nothing was changed. Try again in a minute."
	case errors.Is(err, verify.ErrNoStore), errors.Is(err, verify.ErrBusy):
		status = http.StatusServiceUnavailable
	default:
		d.log.ErrorContext(r.Context(), "console page failed", "path", r.URL.Path, "err", err)
	}
	d.show(w, r, status, problemPage, "Not to be had", problem)
}

// show writes a page in the frame.
func (d desk) show(w http.ResponseWriter, r *http.Request, status int, t lazyTemplate, title string, data any) {
	v := view{Title: title, Data: data}
	if person, ok := PersonOf(r.Context()); ok {
		v.Who, v.Role, v.SignedIn = person.Name, string(person.Role), person.SignedIn
		for _, l := range menu {
			if !person.may(l.role, l.whole) {
				continue
			}
			l.Current = l.Path == pageOf(r)
			v.Pages = append(v.Pages, l.link)
		}
	}
	show(w, status, t, v)
}

// pageOf is the page of the menu to which a request belongs.
func pageOf(r *http.Request) string {
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, "/verification/"), path == "/user", strings.HasPrefix(path, "/user/"):
		return "/find"
	case path == "/traffic/rows", path == "/weights", path == "/stop" && r.FormValue("country") != "":
		return "/traffic"
	case path == "/stop", path == "/test":
		return "/carriers"
	case strings.HasPrefix(path, "/projects/"):
		return "/projects"
	}
	return path
}

// may reports whether a person has a role, and sees all projects where that is needed.
func (p Person) may(role Role, whole bool) bool {
	return p.Role.AtLeast(role) && !(whole && len(p.Projects) > 0)
}

// sees reports whether a person may see a project.
func (p Person) sees(id verify.ProjectID) bool {
	return len(p.Projects) == 0 || slices.Contains(p.Projects, id)
}

// visible are the projects that a person may see, by name.
func (d desk) visible(ctx context.Context, p Person) ([]verify.Project, error) {
	projects, err := d.books.Projects(ctx)
	projects = slices.DeleteFunc(projects, func(x verify.Project) bool { return !p.sees(x.ID) })
	slices.SortFunc(projects, func(a, b verify.Project) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return projects, err
}

var (
	nowPage          = parse("now.html")
	findPage         = parse("find.html")
	userPage         = parse("user.html")
	erasePage        = parse("erase.html")
	eraseNumberPage  = parse("erasenumber.html")
	verificationPage = parse("verification.html")
	trafficPage      = parse("traffic.html")
	trafficRowsPage  = parse("rows.html")
	carriersPage     = parse("carriers.html")
	usagePage        = parse("usage.html")
	stopPage         = parse("stop.html")
	weightsPage      = parse("weights.html")
	trialPage        = parse("trial.html")
	textsPage        = parse("texts.html")
	projectsPage     = parse("projects.html")
	projectPage      = parse("project.html")
	auditPage        = parse("audit.html")
	problemPage      = parse("problem.html")
)

// toneOf is the class of a status's pill.
func toneOf(s verify.Status) string {
	switch s {
	case verify.StatusApproved:
		return ""
	case verify.StatusPending:
		return "wait"
	}
	return "bad"
}

func delivery(v *verify.Verification) string {
	if v.Reason != verify.NoReason {
		return fmt.Sprintf("%v (%s)", v.Delivery, v.Reason)
	}
	return v.Delivery.String()
}

// told is a verification as its page shows it.
type told struct {
	ID, Number, Status, Tone, Span string
	Revealed                       bool
	MayReveal, MayReset            bool
	Facts                          [][2]string
	Events                         []event
	Notice                         string
}

type event struct{ Time, Tone, What, Why, After string }

// story reads the verification that a URL names, if the person may see it.
func (d desk) story(r *http.Request, p Person) (admin.Story, error) {
	id, err := verify.ParseID(r.PathValue("id"))
	if err != nil {
		return admin.Story{}, verify.ErrNotFound
	}
	s, err := d.books.Story(r.Context(), id)
	if err == nil && !p.sees(s.Project) {
		err = verify.ErrNotFound
	}
	return s, err
}

func (d desk) verification(w http.ResponseWriter, r *http.Request, p Person) error {
	s, err := d.story(r, p)
	if err != nil {
		return err
	}
	d.tell(w, r, p, s, told{Number: s.Reach().Masked()})
	return nil
}

// reveal shows the whole number, and writes down who has seen it.
func (d desk) reveal(w http.ResponseWriter, r *http.Request, p Person) error {
	s, err := d.story(r, p)
	if err != nil {
		return err
	}
	n, err := d.books.Reveal(r.Context(), p.actor(), s.Verification)
	if err != nil {
		return err
	}
	d.tell(w, r, p, s, told{Number: string(n), Revealed: true})
	return nil
}

// reset forgets the wrong guesses at the number's codes.
func (d desk) reset(w http.ResponseWriter, r *http.Request, p Person) error {
	s, err := d.story(r, p)
	if err != nil {
		return err
	}
	err = d.books.ResetNumber(r.Context(), p.actor(), s.Project, s.Reach())
	if err != nil && !errors.Is(err, verify.ErrNoNumber) {
		return err
	}
	d.tell(w, r, p, s, told{Number: s.Reach().Masked(), Notice: "The number's wrong guesses are forgotten: its codes are evaluated again."})
	return nil
}

// actor is how the audit log names a person.
func (p Person) actor() admin.Actor { return admin.User("operator " + p.Name) }

func (d desk) tell(w http.ResponseWriter, r *http.Request, p Person, s admin.Story, t told) {
	now, project := d.books.Now(), string(s.Project)
	if known, err := d.books.Project(r.Context(), s.Project); err == nil { // its name is a convenience
		project = cmp.Or(known.Name, project)
	}
	status := s.StatusAt(now)
	t.ID, t.Status, t.Tone = s.ID.String(), status.String(), toneOf(status)
	t.MayReveal, t.MayReset = p.Role.AtLeast(operator.RoleSupport) && !t.Revealed, p.Role.AtLeast(operator.RoleOperator)
	t.Facts = [][2]string{
		{"Project", project}, {"Application", s.Application}, {"Key", cmp.Or(s.KeyName, "unknown")}, {"Client", cmp.Or(s.Address, "unknown")},
		{"Purpose", string(s.Purpose)}, {"Channel", string(s.Channel)}, {"Guesses", fmt.Sprintf("%d of %d", s.Guesses, s.MaxAttempts)},
		{"Message", delivery(s.Verification)}, {"Code", fmt.Sprintf("%d characters, never shown", s.Length)},
		{"Expires", at(s.ExpiresAt)},
	}
	events := s.Timeline(now)
	began := s.ID.Time()
	for _, e := range events {
		t.Events = append(t.Events, event{Time: e.At.UTC().Format("15:04:05.000"), Tone: toneOfEvent(e), What: headline(e), Why: explanation(e), After: after(e.At.Sub(began))})
	}
	if len(events) > 1 {
		t.Span = events[len(events)-1].At.Sub(began).Round(time.Millisecond).String() + " from the start to what came last"
	}
	d.show(w, r, http.StatusOK, verificationPage, "Verification", t)
}

// headline says what happened.
func headline(e admin.Event) string {
	who := strings.TrimSpace(string(e.Channel) + " by " + e.Carrier)
	switch {
	case e.What == "started":
		return "Started"
	case e.What == "attempt":
		return fmt.Sprintf("Attempt %d: %s", e.Attempt, who)
	case e.What == "receipt":
		return fmt.Sprintf("Attempt %d: the carrier reports %s", e.Attempt, e.Result)
	case e.Attempt > 0:
		return fmt.Sprintf("Attempt %d: %s", e.Attempt, e.What)
	}
	return strings.ToUpper(e.What[:1]) + e.What[1:]
}

// explanation says why, in what the carrier and we know.
func explanation(e admin.Event) string {
	parts := present(e.Reason, e.Code, e.Ref)
	if e.Guesses != "" {
		parts = append(parts, e.Guesses+" guesses")
	}
	return strings.Join(parts, " · ")
}

func toneOfEvent(e admin.Event) string {
	switch e.What {
	case "approved", "accepted", "started":
		return "good"
	case "receipt":
		if e.Result == verify.ReceiptDelivered.String() {
			return "good"
		}
		return "bad"
	case "attempt", "pending":
		return ""
	case "unknown", "errored":
		return "wait"
	}
	return "bad"
}

func after(d time.Duration) string {
	if d < time.Millisecond {
		return ""
	}
	return d.Round(time.Millisecond).String() + " after the start"
}

// A usageLine is a row of a list of usage.
type usageLine struct {
	Name, Link                             string // to the rows behind it; "": none
	Started, Messages, Delivered, Approved int
	DeliveredShare, ApprovedShare, Cost    string
	Handset                                string // how long messages took to the handset; "": nobody knows
}

func lineOf(name string, u verify.UsageRow) usageLine {
	approved, of := u.Approvals()
	l := usageLine{Name: name, Started: u.Started, Messages: u.Messages, Delivered: u.Delivered, Approved: approved, DeliveredShare: share(u.Delivered, u.Messages), ApprovedShare: share(approved, of), Handset: toHandset(&u.Times)}
	if u.Cost != 0 {
		l.Cost = priced(u.Cost, u.Currency)
	}
	return l
}

// toHandset says how long messages took to the handset: "p50 3 s, p95 9 s".
func toHandset(t *verify.Times) string {
	if *t == (verify.Times{}) {
		return ""
	}
	within := func(share float64) string {
		d, more := t.Quantile(share)
		seconds := strconv.FormatFloat(d.Seconds(), 'f', 1, 64)
		if d >= 10*time.Second {
			seconds = strconv.Itoa(int(d.Seconds()))
		}
		if more {
			return "over " + seconds + " s"
		}
		return seconds + " s"
	}
	return "p50 " + within(0.5) + ", p95 " + within(0.95)
}

// priced writes an amount for people.
func priced(a money.Amount, c money.Currency) string {
	return strings.TrimSpace(a.String() + " " + string(c))
}

func share(part, of int) string {
	if of == 0 {
		return "–"
	}
	return strconv.Itoa((100*part+of/2)/of) + " %"
}

// usageLines names the rows that a query by one part found.
func (d desk) usageLines(ctx context.Context, p Person, q verify.UsageQuery, rows []verify.UsageRow) (lines []usageLine, err error) {
	projects, err := d.visible(ctx, p)
	if err != nil {
		return nil, err
	}
	names := map[verify.ProjectID]string{}
	for _, x := range projects {
		names[x.ID] = cmp.Or(x.Name, string(x.ID))
	}
	behind := filter{project: q.Project, from: q.From.UTC(), until: q.Until.UTC()}
	for _, u := range rows {
		name, link := "all", ""
		switch {
		case slices.Contains(q.By, verify.PartProject):
			name, link = cmp.Or(names[u.Project], string(u.Project)), "/usage?"+url.Values{"project": {string(u.Project)}}.Encode()
		case slices.Contains(q.By, verify.PartCountry):
			name, link = cmp.Or(u.Country, "unknown"), "/traffic/rows?"+behind.query("country", u.Country)
		case slices.Contains(q.By, verify.PartCarrier) && u.Carrier == "":
			name = "verifications themselves"
		case slices.Contains(q.By, verify.PartCarrier):
			name, link = u.Carrier, "/traffic/rows?"+behind.query("carrier", u.Carrier)
		case slices.Contains(q.By, verify.PartChannel):
			name = string(u.Channel)
		}
		l := lineOf(name, u)
		l.Link = link
		lines = append(lines, l)
	}
	return lines, err
}

// rows asks for usage in the projects that the person may see.
func (d desk) rows(ctx context.Context, p Person, q verify.UsageQuery) ([]verify.UsageRow, error) {
	if q.Project == "" {
		q.Among = p.Projects
	}
	return d.recent.usage(ctx, d.books.Now(), q, d.books.UsageRows)
}

// usages is what the page of usage shows.
type usages struct {
	Project  string
	Projects []choice
	By       []choice
	Chart    string // an SVG's points; "": nothing to draw
	Most     int
	Summary  string
	Days     []usageLine
	Parts    []usageLine
	PartName string
}

type choice struct {
	Value, Name string
	Chosen      bool
}

// shownDays is how far back the page of usage looks.
const shownDays = 30

// parts are what usage is divided by.
var parts = []choice{{Value: "country", Name: "Country"}, {Value: "carrier", Name: "Carrier"}, {Value: "channel", Name: "Channel"}, {Value: "project", Name: "Project"}}

// usage shows the last days: GET /usage?project=ID&by=country.
func (d desk) usage(w http.ResponseWriter, r *http.Request, p Person) error {
	chosen, by := verify.ProjectID(r.URL.Query().Get("project")), cmp.Or(r.URL.Query().Get("by"), parts[0].Value)
	if chosen != "" && !p.sees(chosen) {
		return verify.ErrNotFound
	}
	projects, err := d.visible(r.Context(), p)
	if err != nil {
		return err
	}
	u := usages{Project: string(chosen), Projects: []choice{{"", "All projects", chosen == ""}}}
	for _, x := range projects {
		u.Projects = append(u.Projects, choice{string(x.ID), cmp.Or(x.Name, string(x.ID)), x.ID == chosen})
	}
	part := verify.UsagePart("")
	for _, c := range parts {
		if c.Chosen = c.Value == by; c.Chosen {
			part, u.PartName = verify.UsagePart(c.Value), c.Name
		}
		u.By = append(u.By, c)
	}
	if part == "" {
		return verify.ErrNotFound
	}
	now := d.books.Now()
	from := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-shownDays)
	days, sums, err := d.byStepAndPart(r.Context(), p, verify.StepDay, verify.UsageQuery{Project: chosen, From: from, Until: now.Add(time.Hour), By: []verify.UsagePart{part}})
	if err != nil {
		return err
	}
	u.draw(days, filter{project: chosen, from: from, until: now.UTC().Add(time.Hour)})
	if u.Parts, err = d.usageLines(r.Context(), p, verify.UsageQuery{Project: chosen, From: from, Until: now.Add(time.Hour), By: []verify.UsagePart{part}}, sums); err != nil {
		return err
	}
	d.show(w, r, http.StatusOK, usagePage, "Usage", u)
	return nil
}

// byStepAndPart asks once for what two lists show: usage by hour or day, and by part. Where that is too much for one list, it asks
// for each.
func (d desk) byStepAndPart(ctx context.Context, p Person, step verify.UsageStep, q verify.UsageQuery) (steps, sums []verify.UsageRow, err error) {
	both, alone := q, q
	both.Step, alone.Step, alone.By = step, step, nil
	steps, err = d.rows(ctx, p, both)
	if !errors.Is(err, verify.ErrTooMuchUsage) {
		return steps, sumSteps(steps), err
	}
	if steps, err = d.rows(ctx, p, alone); err != nil {
		return nil, nil, err
	}
	sums, err = d.rows(ctx, p, q)
	return steps, sums, err
}

// sumSteps adds up the hours or days of each part and currency, sorted as a list without days is.
func sumSteps(steps []verify.UsageRow) (sums []verify.UsageRow) {
	found := map[verify.UsageKey]int{}
	for _, day := range steps {
		i, ok := found[day.UsageKey]
		if !ok {
			i = len(sums)
			found[day.UsageKey] = i
			sums = append(sums, verify.UsageRow{UsageKey: day.UsageKey})
		}
		sums[i].Add(day.Usage)
	}
	slices.SortFunc(sums, func(a, b verify.UsageRow) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Country, b.Country), cmp.Compare(a.Carrier, b.Carrier), cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Currency, b.Currency))
	})
	return sums
}

// draw makes the line of each day's starts, 600 by 80, and the table beside it.
func (u *usages) draw(rows []verify.UsageRow, f filter) {
	var days [shownDays]verify.UsageRow
	for _, row := range rows {
		if i := int(row.Begin.Sub(f.from) / (24 * time.Hour)); i >= 0 && i < shownDays {
			days[i].Add(row.Usage) // of all currencies; money has none here
			days[i].Cost, days[i].Price = 0, 0
		}
	}
	sum := 0
	for i := range days {
		u.Most, sum = max(u.Most, days[i].Started), sum+days[i].Started
	}
	for i := range days {
		if u.Most > 0 {
			u.Chart += fmt.Sprintf("%d,%d ", i*600/(shownDays-1), 78-days[i].Started*74/u.Most)
		}
		if days[i].Started+days[i].Messages > 0 {
			begin := f.from.AddDate(0, 0, i)
			l := lineOf(begin.Format(time.DateOnly), days[i])
			l.Link = "/traffic/rows?" + f.day(begin).query()
			u.Days = append(u.Days, l)
		}
	}
	slices.Reverse(u.Days)
	u.Summary = fmt.Sprintf("%d verifications started in the last %d days, at most %d on one day.", sum, shownDays, u.Most)
}
