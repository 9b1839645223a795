package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/verify"
)

// A projectLine is a row of the list of projects.
type projectLine struct {
	Name, ID, Profile, Link, Usage string
	Moving                         bool
}

func (d desk) projects(w http.ResponseWriter, r *http.Request, p Person) error {
	projects, err := d.visible(r.Context(), p)
	if err != nil {
		return err
	}
	var lines []projectLine
	for _, x := range projects {
		lines = append(lines, projectLine{cmp.Or(x.Name, string(x.ID)), string(x.ID), string(x.Profile), "/projects/" + url.PathEscape(string(x.ID)), "/usage?project=" + url.QueryEscape(string(x.ID)), x.Moving})
	}
	d.show(w, r, http.StatusOK, projectsPage, "Projects", lines)
	return nil
}

// A projectShown is what the page of a project shows.
type projectShown struct {
	projectLine
	Texts    string // link to them
	Settings []admin.Setting
	Changed  int
	Caps     []capLine // none: no budget
	Prepaid  bool
	Balance  string
	Ledger   []ledgerLine
	More     bool // older entries that aren't shown
	Keys     []keyLine
	Ended    int // keys that don't work any more and aren't shown
	Apps     []appLine
	MoreApps int // that aren't shown
}

type capLine struct {
	Name, Used, Cap, Share, Tone string
}

type ledgerLine struct{ Time, Kind, Amount, Actor, Note string }

type keyLine struct{ Name, ID, Scopes, Used, Ends string }

type appLine struct{ Name, ID string }

const (
	shownLedger = 50 // entries
	shownKeys   = 50
	shownApps   = 50
)

// project shows a project: GET /projects/{project}.
func (d desk) project(w http.ResponseWriter, r *http.Request, p Person) error {
	id := verify.ProjectID(r.PathValue("project"))
	projects, err := d.visible(r.Context(), p)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(projects, func(x verify.Project) bool { return x.ID == id })
	if i < 0 {
		return verify.ErrNotFound
	}
	x := projects[i]
	shown := projectShown{projectLine: projectLine{Name: cmp.Or(x.Name, string(x.ID)), ID: string(x.ID), Profile: string(x.Profile), Usage: "/usage?project=" + url.QueryEscape(string(x.ID)), Moving: x.Moving}, Texts: "/texts?project=" + url.QueryEscape(string(x.ID)), Settings: admin.Settings(x)}
	for _, s := range shown.Settings {
		if s.Changed() {
			shown.Changed++
		}
	}
	budget, err := d.books.Budget(r.Context(), id)
	if err != nil {
		return err
	}
	now := d.books.Now()
	shown.budget(budget, now)
	entries, err := d.books.Ledger(r.Context(), id, shownLedger+1)
	if err != nil {
		return err
	}
	entries, more := firstOf(entries, shownLedger)
	shown.More = more > 0
	for _, e := range entries {
		shown.Ledger = append(shown.Ledger, ledgerLine{at(e.ID.Time()), string(e.Kind), priced(e.Amount, budget.Currency), e.Actor, e.Note})
	}
	keys, err := d.books.Keys(r.Context(), id)
	if err != nil {
		return err
	}
	slices.Reverse(keys)
	for _, k := range keys {
		end := k.End()
		if !k.RevokedAt.IsZero() || !end.IsZero() && !now.Before(end) || len(shown.Keys) == shownKeys {
			shown.Ended++
			continue
		}
		line := keyLine{Name: k.Name, ID: k.ID.String(), Scopes: k.Scopes.String(), Used: "never", Ends: "never"}
		if !k.UsedAt.IsZero() {
			line.Used = at(k.UsedAt)
		}
		if !end.IsZero() {
			line.Ends = at(end)
		}
		shown.Keys = append(shown.Keys, line)
	}
	apps, err := d.books.Applications(r.Context(), id)
	if err != nil {
		return err
	}
	apps, shown.MoreApps = firstOf(apps, shownApps)
	for _, a := range apps {
		shown.Apps = append(shown.Apps, appLine{cmp.Or(a.Name, "–"), admin.ApplicationName(a)})
	}
	d.show(w, r, http.StatusOK, projectPage, "Project", shown)
	return nil
}

// budget fills in what a project may spend, and has spent.
func (s *projectShown) budget(b verify.BudgetState, now time.Time) {
	names := map[string]string{"hour_messages": "Messages this hour", "day_messages": "Messages today", "month_messages": "Messages this month", "day_amount": "Charged today", "month_amount": "Charged this month", "balance": "Of the balance"}
	for _, u := range b.Uses(now) {
		text := func(n int64) string {
			if strings.HasSuffix(u.Name, "_messages") {
				return strconv.FormatInt(n, 10)
			}
			return priced(money.Amount(n), b.Currency)
		}
		line := capLine{Name: names[u.Name], Used: text(u.Used), Cap: text(u.Cap), Share: fmt.Sprint(u.Percent(), " %")}
		switch {
		case u.Percent() >= 100:
			line.Tone = "bad"
		case u.Percent() >= 80:
			line.Tone = "wait"
		}
		s.Caps = append(s.Caps, line)
	}
	if s.Prepaid = b.Prepaid; s.Prepaid {
		s.Balance = priced(b.Balance(), b.Currency)
	}
}
