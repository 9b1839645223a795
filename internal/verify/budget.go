package verify

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/money"
)

// NoCap stands for a cap that a budget doesn't have.
const NoCap = -1

// A Budget bounds what a project may spend: messages, and money at the prices that the project is charged. Hours, days and
// months are those of UTC. A [CountryLimit] is kept as a budget as well.
type Budget struct {
	Project       ProjectID // or a country's: see [CountryKey]
	HourMessages  int       // [NoCap]: any number
	DayMessages   int
	MonthMessages int
	DayAmount     money.Amount
	MonthAmount   money.Amount
	Prepaid       bool // it may spend its balance and no more
	Currency      money.Currency
}

// NoBudget bounds nothing.
func NoBudget(p ProjectID) Budget {
	return Budget{Project: p, HourMessages: NoCap, DayMessages: NoCap, MonthMessages: NoCap, DayAmount: NoCap, MonthAmount: NoCap}
}

// Bounds reports whether anything is bound.
func (b *Budget) Bounds() bool {
	return b.Prepaid || b.HourMessages != NoCap || b.DayMessages != NoCap || b.MonthMessages != NoCap || b.DayAmount != NoCap || b.MonthAmount != NoCap
}

// A Spending is what was, or may be, spent.
type Spending struct {
	Messages int // that a carrier has, may have, or is about to get
	Amount   money.Amount
}

// Plus adds another spending.
func (s Spending) Plus(o Spending) Spending {
	return Spending{s.Messages + o.Messages, s.Amount + o.Amount}
}

// Minus takes another spending away.
func (s Spending) Minus(o Spending) Spending {
	return Spending{s.Messages - o.Messages, s.Amount - o.Amount}
}

// Covers reports whether it is enough for another spending.
func (s Spending) Covers(o Spending) bool {
	return (o.Messages <= 0 || s.Messages >= o.Messages) && (o.Amount <= 0 || s.Amount >= o.Amount)
}

// AtMost is the lesser of both.
func (s Spending) AtMost(o Spending) Spending {
	return Spending{min(s.Messages, o.Messages), min(s.Amount, o.Amount)}
}

// Part is the n-th part of it, of what is there.
func (s Spending) Part(n int) Spending {
	return Spending{max(0, s.Messages) / n, max(0, s.Amount) / money.Amount(n)}
}

// plenty is what is left where nothing is bound. It can be added to itself without an overflow.
var plenty = Spending{math.MaxInt / 4, math.MaxInt64 / 4}

// Spent is what a project has spent, in the hour, the day and the month of an instant, and ever since its budget was first
// set. Of the hour only the messages are counted.
type Spent struct {
	Hour, Day, Month, Ever Spending
}

// Pay adds a spending of now.
func (s *Spent) Pay(p Spending) {
	s.Hour.Messages += p.Messages
	s.Day, s.Month, s.Ever = s.Day.Plus(p), s.Month.Plus(p), s.Ever.Plus(p)
}

// Credit is what was paid into a project's balance, and taken out by corrections, ever.
type Credit = money.Amount

// Left is what a budget leaves after what was spent.
func (b *Budget) Left(s Spent, c Credit) Spending {
	left := plenty
	if b.HourMessages != NoCap {
		left.Messages = min(left.Messages, b.HourMessages-s.Hour.Messages)
	}
	if b.DayMessages != NoCap {
		left.Messages = min(left.Messages, b.DayMessages-s.Day.Messages)
	}
	if b.MonthMessages != NoCap {
		left.Messages = min(left.Messages, b.MonthMessages-s.Month.Messages)
	}
	if b.DayAmount != NoCap {
		left.Amount = min(left.Amount, b.DayAmount-s.Day.Amount)
	}
	if b.MonthAmount != NoCap {
		left.Amount = min(left.Amount, b.MonthAmount-s.Month.Amount)
	}
	if b.Prepaid {
		left.Amount = min(left.Amount, c-s.Ever.Amount)
	}
	return left
}

// Refusal is the error for a spending that the budget doesn't leave, with the time until that may change by itself: 0 if
// only an operator can change it.
func (b *Budget) Refusal(s Spent, c Credit, want Spending, now time.Time) error {
	refused := ErrBudget
	if _, country := SplitKey(b.Project); country != "" {
		refused = ErrCountryLimit
	}
	lacks := func(only func(o *Budget)) bool {
		one := NoBudget(b.Project)
		only(&one)
		left := one.Left(s, c)
		return !left.Covers(want)
	}
	today := DayOf(Day(now))
	switch {
	case lacks(func(o *Budget) { o.Prepaid = b.Prepaid }):
		return refused
	case lacks(func(o *Budget) { o.MonthMessages, o.MonthAmount = b.MonthMessages, b.MonthAmount }):
		return refused.After(time.Date(today.Year(), today.Month()+1, 1, 0, 0, 0, 0, time.UTC).Sub(now))
	case lacks(func(o *Budget) { o.DayMessages, o.DayAmount = b.DayMessages, b.DayAmount }):
		return refused.After(today.AddDate(0, 0, 1).Sub(now))
	}
	return refused.After(HourOf(UsageHour(now) + 1).Sub(now))
}

// Day is the day of an instant, since 1970.
func Day(t time.Time) int { return int(t.UnixMilli() / (24 * time.Hour).Milliseconds()) }

// DayOf is the instant at which a day begins.
func DayOf(day int) time.Time {
	return time.UnixMilli(int64(day) * (24 * time.Hour).Milliseconds()).UTC()
}

// FirstDay is the first day of the month of a day.
func FirstDay(day int) int { return day - DayOf(day).Day() + 1 }

// A Toll is what a message that is about to be sent takes of its project's budget: one message, and its price.
type Toll struct {
	Bound bool // the project has a budget
	Price money.Amount
}

// Held is what the attempt under way has taken of its project's budget. The zero Held is nothing: the project had none.
type Held struct {
	Day   int // of whose budget
	Price money.Amount
}

// String writes what is held as it is stored.
func (h Held) String() string {
	if h.Day == 0 {
		return ""
	}
	return strconv.Itoa(h.Day) + " " + decimal(h.Price)
}

// ParseHeld reads what was stored.
func ParseHeld(text string) (h Held, err error) {
	if text == "" {
		return h, nil
	}
	day, price, ok := strings.Cut(text, " ")
	if !ok {
		return h, fmt.Errorf("what is held has one word, want 2")
	}
	if h.Day, err = strconv.Atoi(day); err != nil {
		return h, err
	}
	n, err := strconv.ParseInt(price, 10, 64)
	h.Price = money.Amount(n)
	return h, err
}

// LetGo lets go of what v holds, as the attempt d has ended. It returns what that adds to the spending of the day of which it was
// held. A message that a carrier has, or may have, is spent, at the price that it came to. What wasn't handed over is
// given back, unless the next attempt has begun: then it goes on holding.
func (v *Verification) LetGo(d *Delivery) (day int, add Spending) {
	h := v.Held
	if h.Day == 0 {
		return 0, add
	}
	switch u := v.EndUsage(d); {
	case u.Messages > 0:
		add = Spending{0, u.Price - h.Price}
	case v.Delivery == DeliverySending && v.Attempt > d.Attempt:
		return 0, add
	default:
		add = Spending{-1, -h.Price}
	}
	v.Held = Held{}
	return h.Day, add
}

// A Division says how a budget is divided anew.
type Division struct {
	Taken   []bool   // of those who want something at once: whether they got it
	Share   Spending // for each of the askers' writers, to spend by themselves
	Reclaim bool     // nobody else keeps what they have and haven't spent
}

// Divide divides what a budget leaves, of which other writers may spend free by themselves, among those who want something
// at once and the askers' own writers, of n in all. A share is so small that shares run out seldom at first, and others get
// theirs without taking it from anybody; towards the end it is nothing, and everybody asks for each message.
func Divide(left, free Spending, n, own int, wanted []Spending) (d Division) {
	var want Spending
	for _, w := range wanted {
		want = want.Plus(w)
	}
	rest := left.Minus(free)
	if !rest.Covers(want) {
		rest, d.Reclaim = left, true
	}
	for _, w := range wanted {
		taken := rest.Covers(w)
		if taken {
			rest = rest.Minus(w)
		}
		d.Taken = append(d.Taken, taken)
	}
	d.Share = rest.Part(2 * max(n, own, 1))
	return d
}

// A BudgetState is a project's budget, and what of it is used.
type BudgetState struct {
	Budget
	Spent
	Credit Credit
	Before money.Amount // what had been spent ever when the balance was last topped up
	Marks  []Mark       // of the caps, one each at most
}

// A CapUse is how much of a cap is used: messages, or millionths of the currency's unit.
type CapUse struct {
	Name      string // "hour_messages", "day_messages", "month_messages", "day_amount", "month_amount", "balance"
	Period    int64  // which hour, day or month: its beginning; of a balance, what was spent before it was topped up
	Used, Cap int64
}

// Percent is how much of the cap is used.
func (u CapUse) Percent() int {
	if u.Cap <= 0 {
		return 100
	}
	return int(min(u.Used, math.MaxInt64/100) * 100 / u.Cap)
}

// String says it for people, such as "day_messages 800 of 1000".
func (u CapUse) String() string {
	if strings.HasSuffix(u.Name, "_messages") {
		return fmt.Sprintf("%s %d of %d", u.Name, u.Used, u.Cap)
	}
	return fmt.Sprintf("%s %v of %v", u.Name, money.Amount(u.Used), money.Amount(u.Cap))
}

// ahead is what may be used before the use that reaches the next step.
func (u CapUse) ahead() int64 {
	for _, step := range BudgetSteps {
		if u.Percent() < step {
			return (min(u.Cap, math.MaxInt64/101)*int64(step)+99)/100 - 1 - u.Used
		}
	}
	return math.MaxInt64
}

// Uses lists the caps that the budget has.
func (s BudgetState) Uses(now time.Time) (all []CapUse) {
	today := Day(now)
	add := func(name string, period, used, most int64) {
		if most != NoCap {
			all = append(all, CapUse{name, period, used, most})
		}
	}
	add("hour_messages", UsageHour(now), int64(s.Hour.Messages), int64(s.HourMessages))
	add("day_messages", int64(today), int64(s.Day.Messages), int64(s.DayMessages))
	add("month_messages", int64(FirstDay(today)), int64(s.Month.Messages), int64(s.MonthMessages))
	add("day_amount", int64(today), int64(s.Day.Amount), int64(s.DayAmount))
	add("month_amount", int64(FirstDay(today)), int64(s.Month.Amount), int64(s.MonthAmount))
	if s.Prepaid { // all that was ever paid in says little of what is left
		add("balance", int64(s.Before), int64(s.Ever.Amount-s.Before), int64(s.Credit-s.Before))
	}
	return all
}

// Balance is what is left of what was paid in.
func (s BudgetState) Balance() money.Amount { return s.Credit - s.Ever.Amount }

// BudgetSteps are the parts of a cap, in percent, at whose use operators are told.
var BudgetSteps = []int{50, 80, 100}

// A Mark says of the use of which part of a cap operators were told last. Another cap, and another period, begin anew.
type Mark struct {
	Cap    string
	Period int64
	Most   int64
	Step   int // one of the [BudgetSteps]
	At     time.Time
}

// NextMarks are the steps that the uses have reached since the marks were made, in order, and the marks with them.
func NextMarks(uses []CapUse, marks []Mark, now time.Time) (news []Mark, all []Mark) {
	for _, u := range uses {
		at := slices.IndexFunc(marks, func(m Mark) bool { return m.Cap == u.Name })
		last := Mark{Cap: u.Name, Period: u.Period, Most: u.Cap}
		if at >= 0 && marks[at].Period == u.Period && marks[at].Most == u.Cap {
			last = marks[at]
		}
		for _, step := range BudgetSteps {
			if step > last.Step && step <= u.Percent() {
				last.Step, last.At = step, now
				news = append(news, last)
			}
		}
		if last.Step > 0 {
			all = append(all, last)
		}
	}
	return news, all
}

// Reached are the marks that hold at an instant: those of the caps and periods that there are.
func (s BudgetState) Reached(now time.Time) (all []Mark) {
	for _, u := range s.Uses(now) {
		for _, m := range s.Marks {
			if m.Cap == u.Name && m.Period == u.Period && m.Most == u.Cap {
				all = append(all, m)
			}
		}
	}
	return all
}

// Ahead is what may be spent before a message that reaches the next step of a cap: that one is paid where the budget is
// divided, and the step is told in the same commit.
func (s BudgetState) Ahead(now time.Time) Spending {
	ahead := plenty
	for _, u := range s.Uses(now) {
		switch n := u.ahead(); u.Name {
		case "hour_messages", "day_messages", "month_messages":
			ahead.Messages = int(min(int64(ahead.Messages), n))
		default:
			ahead.Amount = min(ahead.Amount, money.Amount(n))
		}
	}
	return ahead
}

// FormatMarks writes marks as they are stored.
func FormatMarks(all []Mark) string {
	words := make([]string, len(all))
	for i, m := range all {
		words[i] = fmt.Sprintf("%s %d %d %d %d", m.Cap, m.Period, m.Most, m.Step, m.At.UnixMilli())
	}
	return strings.Join(words, ";")
}

// ParseMarks reads marks that were stored.
func ParseMarks(text string) (all []Mark, err error) {
	for word := range strings.SplitSeq(text, ";") {
		if word == "" {
			continue
		}
		var m Mark
		var at int64
		if _, err := fmt.Sscanf(word, "%s %d %d %d %d", &m.Cap, &m.Period, &m.Most, &m.Step, &at); err != nil {
			return nil, fmt.Errorf("a mark of a budget: %w", err)
		}
		m.At = time.UnixMilli(at).UTC()
		all = append(all, m)
	}
	return all, nil
}

// A LedgerKind says why a balance changed.
type LedgerKind string

// The kinds.
const (
	LedgerTopUp      LedgerKind = "top-up"
	LedgerCorrection LedgerKind = "correction"
	LedgerTrial      LedgerKind = "trial"   // the credit of a project that is being tried
	LedgerOpening    LedgerKind = "opening" // makes up for what was spent before the project was prepaid
)

// A LedgerEntry is a change of a balance. What messages take isn't entered here: see [Spent].
type LedgerEntry struct {
	ID      ID // its time is when
	Project ProjectID
	Kind    LedgerKind
	Amount  money.Amount // negative: it was taken out
	Actor   string
	Note    string
}

// A BudgetStore knows what projects may spend.
type BudgetStore interface {
	// Budget reads a project's budget, and what of it is used.
	Budget(ctx context.Context, p ProjectID) (BudgetState, error)
}

// Budget is the budget of the account's project, and what of it is used.
func (s *Service) Budget(ctx context.Context, acct *Account) (BudgetState, error) {
	return s.store.Budget(ctx, acct.Project.ID)
}
