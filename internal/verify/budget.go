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

// A Budget bounds what a project may spend: messages, and money at the prices that the project is charged. Days and
// months are those of UTC.
type Budget struct {
	Project       ProjectID
	DayMessages   int // [NoCap]: any number
	MonthMessages int
	DayAmount     money.Amount
	MonthAmount   money.Amount
	Prepaid       bool // it may spend its balance and no more
	Currency      money.Currency
}

// NoBudget bounds nothing.
func NoBudget(p ProjectID) Budget {
	return Budget{Project: p, DayMessages: NoCap, MonthMessages: NoCap, DayAmount: NoCap, MonthAmount: NoCap}
}

// Bounds reports whether anything is bound.
func (b *Budget) Bounds() bool {
	return b.Prepaid || b.DayMessages != NoCap || b.MonthMessages != NoCap || b.DayAmount != NoCap || b.MonthAmount != NoCap
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

// part is the n-th part of it, of what is there.
func (s Spending) part(n int) Spending {
	return Spending{max(0, s.Messages) / n, max(0, s.Amount) / money.Amount(n)}
}

// plenty is what is left where nothing is bound. It can be added to itself without an overflow.
var plenty = Spending{math.MaxInt / 4, math.MaxInt64 / 4}

// Spent is what a project has spent, in the day and the month of an instant, and ever since its budget was first set.
type Spent struct {
	Day, Month, Ever Spending
}

// Credit is what was paid into a project's balance, and taken out by corrections, ever.
type Credit = money.Amount

// Left is what a budget leaves after what was spent.
func (b *Budget) Left(s Spent, c Credit) Spending {
	left := plenty
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
	day, month := *b, *b
	day.MonthMessages, day.MonthAmount, day.Prepaid = NoCap, NoCap, false
	month.DayMessages, month.DayAmount, month.Prepaid = NoCap, NoCap, false
	balance := NoBudget(b.Project)
	balance.Prepaid = b.Prepaid
	today := DayOf(Day(now))
	switch {
	case !balance.Left(s, c).Covers(want):
		return ErrBudget
	case !month.Left(s, c).Covers(want):
		return ErrBudget.After(time.Date(today.Year(), today.Month()+1, 1, 0, 0, 0, 0, time.UTC).Sub(now))
	}
	return ErrBudget.After(today.AddDate(0, 0, 1).Sub(now))
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
	return fmt.Sprintf("%d %d", h.Day, h.Price)
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
	case v.Delivery == Sending && v.Attempt > d.Attempt:
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
	d.Share = rest.part(2 * max(n, own, 1))
	return d
}

// A BudgetState is a project's budget, and what of it is used.
type BudgetState struct {
	Budget
	Spent
	Credit Credit
}

// A CapUse is how much of a cap is used: messages, or millionths of the currency's unit.
type CapUse struct {
	Name      string // "day_messages", "month_messages", "day_amount", "month_amount", "balance"
	Used, Cap int64
}

// Percent is how much of the cap is used.
func (u CapUse) Percent() int {
	if u.Cap <= 0 {
		return 100
	}
	return int(min(u.Used, math.MaxInt64/100) * 100 / u.Cap)
}

// Uses lists the caps that the budget has.
func (s BudgetState) Uses() (all []CapUse) {
	add := func(name string, used, most int64) {
		if most != NoCap {
			all = append(all, CapUse{name, used, most})
		}
	}
	add("day_messages", int64(s.Day.Messages), int64(s.DayMessages))
	add("month_messages", int64(s.Month.Messages), int64(s.MonthMessages))
	add("day_amount", int64(s.Day.Amount), int64(s.DayAmount))
	add("month_amount", int64(s.Month.Amount), int64(s.MonthAmount))
	if s.Prepaid {
		add("balance", int64(s.Ever.Amount), int64(s.Credit))
	}
	return all
}

// Balance is what is left of what was paid in.
func (s BudgetState) Balance() money.Amount { return s.Credit - s.Ever.Amount }

// BudgetSteps are the parts of a cap, in percent, at whose use operators are told.
var BudgetSteps = []int{50, 80, 100}

// Step is the largest of the [BudgetSteps] that a use has reached: 0 if none.
func (u CapUse) Step() int {
	i, found := slices.BinarySearch(BudgetSteps, u.Percent())
	if !found {
		i--
	}
	if i < 0 {
		return 0
	}
	return BudgetSteps[i]
}

// A LedgerKind says why a balance changed.
type LedgerKind string

// The kinds.
const (
	LedgerTopUp      LedgerKind = "top-up"
	LedgerCorrection LedgerKind = "correction"
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
