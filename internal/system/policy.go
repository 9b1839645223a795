package system

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/verify"
)

// Policy is what operators have changed of where messages go: GET /policy on the operations listener. What isn't named is allowed, has
// no limit, or has the configuration's weight.
type Policy struct {
	Countries []PolicyEntry  `json:"countries"`
	Carriers  []PolicyEntry  `json:"carriers"`
	Limits    []PolicyLimit  `json:"limits"`
	Weights   []PolicyWeight `json:"weights"`
}

// A PolicyEntry is the state of a country or a carrier, and who has changed it.
type PolicyEntry struct {
	Name  string `json:"name"`
	State string `json:"state"`
	changed
}

// changed says who has changed something, when and why.
type changed struct {
	At    time.Time `json:"at"`
	Actor string    `json:"actor"`
	Note  string    `json:"note"`
}

// A PolicyLimit is what bounds the messages to a country.
type PolicyLimit struct {
	Country string `json:"country"`
	bounds
	changed
}

// bounds are a country's limit, of all projects or of one. What is null bounds nothing.
type bounds struct {
	Project      string  `json:"project"` // its id; "": all together
	HourMessages *int    `json:"hour_messages"`
	DayMessages  *int    `json:"day_messages"`
	MaxPrice     *string `json:"max_price"` // decimal
}

// A PolicyWeight is a carrier's weight in place of the configuration's.
type PolicyWeight struct {
	Route   string `json:"route"` // its conditions
	Place   *int   `json:"place"` // of the route in this server's configuration, from 0 on; null: it has none with these conditions
	Carrier string `json:"carrier"`
	Weight  int    `json:"weight"`
	changed
}

// asking is who asks for a change, for the audit log, and why.
type asking struct {
	Actor string `json:"actor"`
	Note  string `json:"note"`
}

func (a asking) by() admin.Actor { return admin.Actor("api: " + a.Actor) }

// A PolicyChange asks for another state: PUT /policy/countries/{name} and /policy/carriers/{name}.
type PolicyChange struct {
	State string `json:"state"` // of a country: allowed, watched or stopped; of a carrier: allowed or drained
	asking
}

// A LimitChange asks for a limit of a country in place of the one it has: PUT /policy/limits/{country}.
type LimitChange struct {
	bounds
	asking
}

// A BudgetPolicy is what bounds a project's messages: GET /policy/budgets/{project}. What is null bounds nothing.
type BudgetPolicy struct {
	Project string `json:"project"`
	caps
	Prepaid bool `json:"prepaid"` // it may spend its balance and no more
}

// caps are those of a project's budget.
type caps struct {
	HourMessages  *int           `json:"hour_messages"`
	DayMessages   *int           `json:"day_messages"`
	MonthMessages *int           `json:"month_messages"`
	DayAmount     *string        `json:"day_amount"` // decimal
	MonthAmount   *string        `json:"month_amount"`
	Currency      money.Currency `json:"currency"` // of the amounts
}

// A BudgetChange asks for caps of a project in place of the ones it has: PUT /policy/budgets/{project}.
type BudgetChange struct {
	caps
	asking
}

// A WeightChange asks for other weights of some carriers of a route: PUT /policy/routes/{place}. Without any, the configuration's
// weights hold for all of them again.
type WeightChange struct {
	Weights map[string]int `json:"weights"`
	asking
}

func (s *System) readPolicy(w http.ResponseWriter, r *http.Request) {
	if !s.byOperator(w, r) {
		return
	}
	p, err := s.policy(r.Context())
	if err != nil {
		s.refusePolicy(w, err)
		return
	}
	answerJSON(w, p)
}

// policy reads what operators have changed.
func (s *System) policy(ctx context.Context) (p Policy, err error) {
	a := admin.New(s.Store)
	p = Policy{Countries: []PolicyEntry{}, Carriers: []PolicyEntry{}, Limits: []PolicyLimit{}, Weights: []PolicyWeight{}}
	stops, err := a.Stops(ctx)
	if err != nil {
		return p, err
	}
	for _, stop := range stops {
		all := &p.Countries
		if stop.Kind == verify.StopCarrier {
			all = &p.Carriers
		}
		*all = append(*all, PolicyEntry{stop.Name, stop.Kind.State(), changed{stop.At.UTC(), stop.Actor, stop.Note}})
	}
	limits, err := a.CountryLimits(ctx)
	if err != nil {
		return p, err
	}
	for _, l := range limits {
		p.Limits = append(p.Limits, PolicyLimit{l.Country, boundsOf(l), changed{l.At.UTC(), l.Actor, l.Note}})
	}
	weights, err := a.Weights(ctx)
	for _, x := range weights {
		entry := PolicyWeight{Route: x.Route, Carrier: x.Carrier, Weight: x.Weight, changed: changed{x.At.UTC(), x.Actor, x.Note}}
		if i := slices.IndexFunc(s.Dispatch.Rules(), func(rule route.Rule) bool { return rule.Name() == x.Route }); i >= 0 {
			entry.Place = &i
		}
		p.Weights = append(p.Weights, entry)
	}
	return p, err
}

func boundsOf(l verify.CountryLimit) bounds {
	return bounds{string(l.Project), messageCap(l.HourMessages), messageCap(l.DayMessages), amountCap(l.MaxPrice)}
}

func capsOf(b verify.Budget) caps {
	return caps{messageCap(b.HourMessages), messageCap(b.DayMessages), messageCap(b.MonthMessages), amountCap(b.DayAmount), amountCap(b.MonthAmount), b.Currency}
}

// messageCap is a cap as JSON has it; nil bounds nothing.
func messageCap(n int) *int {
	if n == verify.NoCap {
		return nil
	}
	return &n
}

func amountCap(a money.Amount) *string {
	if a == verify.NoCap {
		return nil
	}
	text := a.String()
	return &text
}

// belowCaps is no cap: what is asked for below 0 must not pass for [verify.NoCap].
const belowCaps = verify.NoCap - 1

// messages is the cap that JSON asks for.
func messages(asked *int) *int {
	n := verify.NoCap
	if asked != nil {
		if n = *asked; n < 0 {
			n = belowCaps
		}
	}
	return &n
}

// amount is the same for money, in a field of the request.
func amount(f verify.Field, asked *string) (*money.Amount, error) {
	a := money.Amount(verify.NoCap)
	if asked != nil {
		var err error
		if a, err = money.Parse(*asked); err != nil {
			return nil, refusal(string(f) + ` must be a decimal amount in quotes, such as "0.15"`)
		}
		if a < 0 {
			a = belowCaps
		}
	}
	return &a, nil
}

// limit is the whole limit that the bounds ask for.
func (b bounds) limit(note string) (admin.CountryLimitChange, error) {
	price, err := amount(admin.FieldMaxPrice, b.MaxPrice)
	return admin.CountryLimitChange{HourMessages: messages(b.HourMessages), DayMessages: messages(b.DayMessages), MaxPrice: price, Note: note}, err
}

// change is the whole of the caps that are asked for. Whether the project is prepaid stays as it is.
func (c caps) change(note string) (b admin.BudgetChange, err error) {
	day, errDay := amount(admin.FieldDayAmount, c.DayAmount)
	month, errMonth := amount(admin.FieldMonthAmount, c.MonthAmount)
	b = admin.BudgetChange{HourMessages: messages(c.HourMessages), DayMessages: messages(c.DayMessages), MonthMessages: messages(c.MonthMessages), DayAmount: day, MonthAmount: month, Note: note}
	if c.Currency != "" {
		b.Currency = &c.Currency
	}
	return b, cmp.Or(errDay, errMonth)
}

// maxActor bounds the name of who asks.
const maxActor = 100

// change reads what an operator's program asks for and carries it out. An error of do that says what is wrong with it is a [refusal].
func change[T any](s *System, who func(T) asking, holds string, do func(r *http.Request, c T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.byOperator(w, r) {
			return
		}
		var c T
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096))
		body.DisallowUnknownFields()
		if err := body.Decode(&c); err != nil {
			http.Error(w, "the body must be JSON with "+holds+", actor and note: "+err.Error(), http.StatusBadRequest)
			return
		}
		var err error = refusal("actor must be who asks, in 1 to 100 printable characters")
		if verify.IsLabel(who(c).Actor, maxActor) {
			err = do(r, c)
		}
		if err != nil && !errors.Is(err, verify.ErrNotStopped) && !errors.Is(err, verify.ErrNotWeighed) {
			s.refusePolicy(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// A refusal says what is wrong with a change.
type refusal string

// Error implements error.
func (r refusal) Error() string { return string(r) }

// changeState carries out a change with the function for the state that it asks for.
func (s *System) changeState(to map[string]func(ctx context.Context, by admin.Actor, name, note string) error) http.HandlerFunc {
	return change(s, func(c PolicyChange) asking { return c.asking }, "state", func(r *http.Request, c PolicyChange) error {
		do := to[c.State]
		if do == nil {
			return refusal("state must be allowed, or watched or stopped of a country, or drained of a carrier")
		}
		return do(r.Context(), c.by(), r.PathValue("name"), c.Note)
	})
}

// changeLimit puts a limit in place of a country's, as countersign country limit does with all its flags.
func (s *System) changeLimit() http.HandlerFunc {
	return change(s, func(c LimitChange) asking { return c.asking }, "project, hour_messages, day_messages, max_price", func(r *http.Request, c LimitChange) error {
		limit, err := c.limit(c.Note)
		if err != nil {
			return err
		}
		_, err = admin.New(s.Store).LimitCountry(r.Context(), c.by(), verify.ProjectID(c.Project), r.PathValue("name"), limit)
		return err
	})
}

// readBudget says what bounds a project's messages.
func (s *System) readBudget(w http.ResponseWriter, r *http.Request) {
	if !s.byOperator(w, r) {
		return
	}
	a, id := admin.New(s.Store), verify.ProjectID(r.PathValue("project"))
	_, err := a.Project(r.Context(), id)
	var b verify.BudgetState
	if err == nil {
		b, err = a.Budget(r.Context(), id)
	}
	if err != nil {
		s.refusePolicy(w, err)
		return
	}
	answerJSON(w, BudgetPolicy{string(b.Project), capsOf(b.Budget), b.Prepaid})
}

// changeBudget puts caps in place of a project's, as countersign project budget does with all its flags of caps.
func (s *System) changeBudget() http.HandlerFunc {
	const holds = "hour_messages, day_messages, month_messages, day_amount, month_amount, currency"
	return change(s, func(c BudgetChange) asking { return c.asking }, holds, func(r *http.Request, c BudgetChange) error {
		b, err := c.change(c.Note)
		switch {
		case err != nil:
			return err
		case c.Currency != "" && s.currency == "":
			return refusal("currency: the configuration has no prices, so nothing is charged; set prices.currency first")
		case c.Currency != "" && c.Currency != s.currency:
			return refusal("currency must be that of the configuration's prices: " + string(s.currency))
		}
		_, err = admin.New(s.Store).ChangeBudget(r.Context(), c.by(), verify.ProjectID(r.PathValue("project")), b)
		return err
	})
}

// changeWeights gives carriers of a route other weights, as countersign route weight does.
func (s *System) changeWeights() http.HandlerFunc {
	return change(s, func(c WeightChange) asking { return c.asking }, "weights", func(r *http.Request, c WeightChange) error {
		rules := s.Dispatch.Rules()
		place, err := strconv.Atoi(r.PathValue("place"))
		if err != nil || place < 0 || place >= len(rules) {
			return verify.ErrNotFound
		}
		rule := &rules[place]
		if len(c.Weights) == 0 {
			return admin.New(s.Store).ResetWeights(r.Context(), c.by(), rule.Name())
		}
		for name := range c.Weights {
			if !slices.ContainsFunc(rule.Carriers, func(o route.Choice) bool { return o.Carrier == name }) {
				return refusal("weights: the route has no carrier " + strconv.Quote(name))
			}
		}
		return admin.New(s.Store).SetWeights(r.Context(), c.by(), rule.Name(), c.Weights, c.Note)
	})
}

// countryStates and carrierStates are the changes by the states that they lead to.
func (s *System) countryStates() map[string]func(ctx context.Context, by admin.Actor, name, note string) error {
	a := admin.New(s.Store)
	return map[string]func(ctx context.Context, by admin.Actor, name, note string) error{
		"stopped": a.StopCountry, "watched": a.WatchCountry,
		"allowed": func(ctx context.Context, by admin.Actor, name, _ string) error { return a.AllowCountry(ctx, by, name) },
	}
}

func (s *System) carrierStates() map[string]func(ctx context.Context, by admin.Actor, name, note string) error {
	a := admin.New(s.Store)
	return map[string]func(ctx context.Context, by admin.Actor, name, note string) error{
		"drained": func(ctx context.Context, by admin.Actor, name, note string) error {
			if !s.HasCarrier(name) {
				return verify.ErrNotFound
			}
			return a.DrainCarrier(ctx, by, name, note)
		},
		"allowed": func(ctx context.Context, by admin.Actor, name, _ string) error { return a.ResumeCarrier(ctx, by, name) },
	}
}

// refusePolicy says what is wrong with a change.
func (s *System) refusePolicy(w http.ResponseWriter, err error) {
	var known *verify.Error
	var refused refusal
	switch {
	case errors.As(err, &refused):
		http.Error(w, refused.Error(), http.StatusUnprocessableEntity)
	case errors.Is(err, verify.ErrNotFound):
		http.Error(w, "this server's configuration has no such carrier or route", http.StatusNotFound)
	case errors.Is(err, verify.ErrNoProject):
		http.Error(w, "there is no such project", http.StatusNotFound)
	case errors.As(err, &known) && known.Kind == verify.KindInvalid:
		http.Error(w, known.Error(), http.StatusUnprocessableEntity)
	default:
		complain(s.outages, "change where messages go", err)
		http.Error(w, "the database can't do it now: try again", http.StatusServiceUnavailable)
	}
}
