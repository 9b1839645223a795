package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type projectBudget struct {
	database
	Project       string `arg:"" help:"Project's id or name."`
	HourMessages  string `help:"Most messages in an hour; 'none' for any number." placeholder:"N|none"`
	DayMessages   string `help:"Most messages in a day, of UTC; 'none' for any number." placeholder:"N|none"`
	MonthMessages string `help:"Most messages in a calendar month." placeholder:"N|none"`
	DayAmount     string `help:"Most that the project may be charged for a day." placeholder:"AMOUNT|none"`
	MonthAmount   string `help:"Most that it may be charged for a month." placeholder:"AMOUNT|none"`
	Prepaid       *bool  `negatable:"" help:"It may spend its balance and no more: see countersign project topup."`
	Currency      string `help:"Currency of the amounts: that of the configuration's prices." placeholder:"EUR"`
}

// Help explains more than a line can.
func (projectBudget) Help() string {
	return `Without a flag but the database's, shows the budget and what of it is used: docs/money.md.

  countersign project budget 'My shop' --day-messages 1000 --month-messages 20000
  countersign project budget 'My shop' --month-amount 500 --currency EUR
  countersign project budget 'My shop' --day-messages none

It holds on all servers within a second. Where it is used up, starts are refused until the next day or month, and nothing is
sent or charged. What the project used before in the same day and month counts.`
}

func (c *projectBudget) Run(w world) error {
	change, changes, err := c.change()
	if err == nil && change.Currency != nil {
		err = c.priced(*change.Currency)
	}
	if err != nil {
		return err
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		a := admin.New(st)
		state, err := a.Budget(w.ctx, p.ID)
		if changes {
			state, err = a.ChangeBudget(w.ctx, actor(), p.ID, change)
		}
		if err != nil {
			return inFlags(err)
		}
		return showBudget(w, c.JSON, state)
	})
}

// priced says what is wrong with the currency of a budget, where a configuration says which one projects are charged in: amounts in
// another one would be compared all the same.
func (d database) priced(c money.Currency) error {
	if c == "" || !d.byConfig() {
		return nil
	}
	conf, err := loadConfig(d.resolve().Config)
	switch {
	case err != nil:
		return err
	case conf.Prices.Currency == "":
		return usageError("--currency: the configuration has no prices, so nothing is charged; set prices.currency first")
	case conf.Prices.Currency != string(c):
		return usageError("--currency must be that of the configuration's prices: " + conf.Prices.Currency)
	}
	return nil
}

// change is what the flags say.
func (c *projectBudget) change() (change admin.BudgetChange, changes bool, err error) {
	var wrong []string
	number := func(flag, text string) *int { return numberCap(flag, text, &wrong) }
	amount := func(flag, text string) *money.Amount { return amountCap(flag, text, &wrong) }
	change = admin.BudgetChange{
		HourMessages: number("hour-messages", c.HourMessages), DayMessages: number("day-messages", c.DayMessages), MonthMessages: number("month-messages", c.MonthMessages),
		DayAmount: amount("day-amount", c.DayAmount), MonthAmount: amount("month-amount", c.MonthAmount), Prepaid: c.Prepaid,
	}
	if c.Currency != "" {
		change.Currency = new(money.Currency(c.Currency))
	}
	if len(wrong) > 0 {
		return change, false, usageError(strings.Join(wrong, "; "))
	}
	return change, change != (admin.BudgetChange{}), nil
}

// numberCap reads a cap of messages; nil is that the flag isn't given.
func numberCap(flag, text string, wrong *[]string) *int {
	n, err := strconv.Atoi(text)
	switch {
	case text == "":
		return nil
	case text == "none":
		n = verify.NoCap
	case err != nil || n < 0:
		*wrong = append(*wrong, "--"+flag+" must be a number, or none")
	}
	return &n
}

// amountCap does so for an amount.
func amountCap(flag, text string, wrong *[]string) *money.Amount {
	if text == "" {
		return nil
	}
	if text == "none" {
		return new(money.Amount(verify.NoCap))
	}
	a, err := money.Parse(text)
	if err != nil {
		*wrong = append(*wrong, "--"+flag+" "+err.Error()+", or none")
	}
	return &a
}

// showBudget prints a budget, one cap a line, and what of it is used.
func showBudget(w world, asJSON bool, b verify.BudgetState) error {
	messages := func(name string, used, most int) row {
		if most == verify.NoCap {
			return row{{name, "", strconv.Itoa(used) + " of any number"}}
		}
		return row{{name, "", strconv.Itoa(used) + " of " + strconv.Itoa(most)}, {"", strings.ReplaceAll(name, "-", "_"), most}}
	}
	amount := func(name string, used, most money.Amount) row {
		if most == verify.NoCap {
			return row{{name, "", strings.TrimSpace(used.String()+" "+string(b.Currency)) + " of any amount"}}
		}
		return row{{name, "", used.String() + " of " + most.String() + " " + string(b.Currency)}, {"", strings.ReplaceAll(name, "-", "_"), most.String()}}
	}
	r := row{{"project", "project", b.Project}}
	if b.HourMessages != verify.NoCap {
		r = append(r, messages("hour-messages", b.Hour.Messages, b.HourMessages)...)
	}
	r = append(r, messages("day-messages", b.Day.Messages, b.DayMessages)...)
	r = append(r, messages("month-messages", b.Month.Messages, b.MonthMessages)...)
	r = append(r, amount("day-amount", b.Day.Amount, b.DayAmount)...)
	r = append(r, amount("month-amount", b.Month.Amount, b.MonthAmount)...)
	r = append(r, row{
		{"", "day_messages_used", b.Day.Messages}, {"", "month_messages_used", b.Month.Messages},
		{"", "day_amount_used", b.Day.Amount.String()}, {"", "month_amount_used", b.Month.Amount.String()},
		{"prepaid", "prepaid", b.Prepaid}, {"", "currency", b.Currency},
	}...)
	if b.Prepaid {
		r = append(r, row{{"balance", "", b.Balance().String() + " " + string(b.Currency)}, {"", "balance", b.Balance().String()}}...)
	}
	r = append(r, row{{"", "reached", objects(b.Reached(time.Now()), markRow)}}...)
	for _, m := range b.Reached(time.Now()) {
		r = append(r, row{{"reached", "", fmt.Sprintf("%d%% of %s at %s", m.Step, strings.ReplaceAll(m.Cap, "_", "-"), m.At.Format(time.RFC3339))}}...)
	}
	return printSettings(w, asJSON, r)
}

// markRow is a part of a cap that was reached.
func markRow(m verify.Mark) row {
	return row{{"", "cap", m.Cap}, {"", "percent", m.Step}, {"", "at", m.At}}
}

type projectTopup struct {
	database
	Project string `arg:"" help:"Project's id or name."`
	Amount  string `arg:"" help:"What was paid in, such as 50 or 0.5, in the currency of the project's budget."`
	Note    string `help:"What the ledger says beside it: at most 200 printable characters." placeholder:"TEXT"`
}

func (c *projectTopup) Run(w world) error {
	amount, err := money.Parse(c.Amount)
	if err != nil {
		return usageError("AMOUNT " + err.Error())
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		b, err := admin.New(st).TopUp(w.ctx, actor(), p.ID, amount, c.Note)
		if err != nil {
			return inFlags(err)
		}
		return showBudget(w, c.JSON, b)
	})
}

type projectCorrect struct {
	database
	Project string `arg:"" help:"Project's id or name."`
	Add     string `help:"Amount to add." placeholder:"AMOUNT" xor:"amount" required:""`
	Take    string `help:"Amount to take away." placeholder:"AMOUNT" xor:"amount" required:""`
	Note    string `help:"Why: the ledger says it. At most 200 printable characters." required:"" placeholder:"TEXT"`
}

func (c *projectCorrect) Run(w world) error {
	amount, err := money.Parse(c.Add + c.Take)
	if err != nil {
		return usageError("the amount " + err.Error())
	}
	if c.Take != "" {
		amount = -amount
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		b, err := admin.New(st).CorrectBalance(w.ctx, actor(), p.ID, amount, c.Note)
		if err != nil {
			return inFlags(err)
		}
		return showBudget(w, c.JSON, b)
	})
}

type projectLedger struct {
	database
	Project string `arg:"" help:"Project's id or name."`
	Limit   int    `default:"100" help:"Most entries to list (default ${default})."`
}

func (c *projectLedger) Run(w world) error {
	if c.Limit < 1 || c.Limit > 100_000 {
		return usageError("--limit must be 1 to 100000")
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		all, err := admin.New(st).Ledger(w.ctx, p.ID, c.Limit)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, func(e verify.LedgerEntry) row {
			return row{{"AT", "at", e.ID.Time()}, {"KIND", "kind", e.Kind}, {"AMOUNT", "amount", e.Amount.String()}, {"ACTOR", "actor", e.Actor}, {"NOTE", "note", e.Note}}
		})
	})
}
