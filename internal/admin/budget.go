package admin

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// Fields of budgets and ledgers.
const (
	FieldHourMessages  verify.Field = "hour_messages"
	FieldDayMessages   verify.Field = "day_messages"
	FieldMonthMessages verify.Field = "month_messages"
	FieldDayAmount     verify.Field = "day_amount"
	FieldMonthAmount   verify.Field = "month_amount"
	FieldCurrency      verify.Field = "currency"
	FieldTrial         verify.Field = "trial"
	FieldCredit        verify.Field = "credit"
	FieldNote          verify.Field = "note"
)

const (
	maxCap  = 1_000_000_000 // messages
	maxNote = 200           // characters
)

// A BudgetChange has the parts of a project's budget that are to change. What is nil stays as it is; [verify.NoCap] takes a
// cap away.
type BudgetChange struct {
	HourMessages, DayMessages, MonthMessages *int
	DayAmount, MonthAmount                   *money.Amount
	Prepaid                                  *bool
	Currency                                 *money.Currency
	Note                                     string // for the audit log
}

// apply changes the budget, or fails with all problems that the changed budget has.
func (c *BudgetChange) apply(b *verify.Budget) error {
	before := b.Currency
	assign(&b.HourMessages, c.HourMessages)
	assign(&b.DayMessages, c.DayMessages)
	assign(&b.MonthMessages, c.MonthMessages)
	assign(&b.DayAmount, c.DayAmount)
	assign(&b.MonthAmount, c.MonthAmount)
	assign(&b.Prepaid, c.Prepaid)
	assign(&b.Currency, c.Currency)
	var wrong problems
	wrong.messages(FieldHourMessages, b.HourMessages)
	wrong.messages(FieldDayMessages, b.DayMessages)
	wrong.messages(FieldMonthMessages, b.MonthMessages)
	wrong.amount(FieldDayAmount, b.DayAmount)
	wrong.amount(FieldMonthAmount, b.MonthAmount)
	switch {
	case b.Currency == "" && (b.Prepaid || b.DayAmount != verify.NoCap || b.MonthAmount != verify.NoCap):
		wrong.add(FieldCurrency, "must be given with amounts: that of the configuration's prices, such as EUR")
	case b.Currency != "" && !b.Currency.Valid():
		wrong.add(FieldCurrency, "must be three capital letters, such as EUR")
	case before != "" && before != b.Currency:
		wrong.add(FieldCurrency, "is %s already; what was spent is in that", before)
	}
	wrong.note(c.Note)
	return wrong.err()
}

func (wrong *problems) messages(f verify.Field, n int) {
	if n < verify.NoCap || n > maxCap {
		wrong.add(f, "must be 0 to %d, or none", maxCap)
	}
}

func (wrong *problems) amount(f verify.Field, a money.Amount) {
	if a < verify.NoCap || a > money.Max {
		wrong.add(f, "must be an amount from 0 to %v, or none", money.Max)
	}
}

// Budget is a project's budget, and what of it is used.
func (s *Service) Budget(ctx context.Context, p verify.ProjectID) (verify.BudgetState, error) {
	return s.store.Budget(ctx, p)
}

// ChangeBudget changes a project's budget, on all servers within a second. It fails with [verify.ErrInvalid] and with
// [verify.ErrNoProject].
func (s *Service) ChangeBudget(ctx context.Context, by Actor, p verify.ProjectID, c BudgetChange) (verify.BudgetState, error) {
	return s.store.ChangeBudget(ctx, p, func(b *verify.Budget) ([]store.Audit, error) {
		before := *b
		if err := c.apply(b); err != nil {
			return nil, err
		}
		return []store.Audit{by.did("project budget", strings.TrimSpace(differences(budgetSettings(before), budgetSettings(*b))+" "+c.Note))}, nil
	})
}

// budgetSettings are a budget's caps, by the names of their flags.
func budgetSettings(b verify.Budget) [][2]string {
	return [][2]string{
		{"hour-messages", capText(b.HourMessages, strconv.Itoa(b.HourMessages))},
		{"day-messages", capText(b.DayMessages, strconv.Itoa(b.DayMessages))},
		{"month-messages", capText(b.MonthMessages, strconv.Itoa(b.MonthMessages))},
		{"day-amount", capText(int(b.DayAmount), b.DayAmount.String())},
		{"month-amount", capText(int(b.MonthAmount), b.MonthAmount.String())},
		{"prepaid", strconv.FormatBool(b.Prepaid)},
		{"currency", string(b.Currency)},
	}
}

func capText(most int, text string) string {
	if most == verify.NoCap {
		return "none"
	}
	return text
}

// TopUp pays an amount into a project's balance. It fails with [verify.ErrInvalid] and with [verify.ErrNoProject].
func (s *Service) TopUp(ctx context.Context, by Actor, p verify.ProjectID, amount money.Amount, note string) (verify.BudgetState, error) {
	var wrong problems
	if amount <= 0 || amount > money.Max {
		wrong.add(FieldCredit, "must be more than 0, and at most %v", money.Max)
	}
	return s.enter(ctx, by, "project topup", p, verify.LedgerTopUp, amount, note, wrong)
}

// CorrectBalance adds an amount to a project's balance, or with a negative one takes it away. The note says why. It fails with
// [verify.ErrInvalid] and with [verify.ErrNoProject].
func (s *Service) CorrectBalance(ctx context.Context, by Actor, p verify.ProjectID, amount money.Amount, note string) (verify.BudgetState, error) {
	var wrong problems
	if amount == 0 || amount > money.Max || amount < -money.Max {
		wrong.add(FieldCredit, "must not be 0, and between -%v and %v", money.Max, money.Max)
	}
	if strings.TrimSpace(note) == "" {
		wrong.add(FieldNote, "must say why")
	}
	return s.enter(ctx, by, "project correct", p, verify.LedgerCorrection, amount, note, wrong)
}

func (s *Service) enter(ctx context.Context, by Actor, action string, p verify.ProjectID, kind verify.LedgerKind, amount money.Amount, note string, wrong problems) (verify.BudgetState, error) {
	wrong.note(note)
	if err := wrong.err(); err != nil {
		return verify.BudgetState{}, err
	}
	return s.store.AddCredit(ctx, p, verify.LedgerEntry{Kind: kind, Amount: amount, Actor: string(by), Note: note}, by.did(action, fmt.Sprintf("%v %s", amount, note)))
}

// Ledger lists the changes of a project's balance, the newest first, at most n.
func (s *Service) Ledger(ctx context.Context, p verify.ProjectID, n int) ([]verify.LedgerEntry, error) {
	return s.store.Ledger(ctx, p, n)
}
