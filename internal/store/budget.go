package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// Budgets are exact, and no two writers wait for each other's commit to keep to one. Each writer has rows of its own, of a
// project and a day: what it has spent, and what it may still spend by itself. A group that starts a message takes it of
// its writer's row, in its own transaction. Where that row has too little, an allotment divides anew what the budget
// leaves, with all rows of the project locked: it takes what the waiting messages need, and gives each of this process's
// writers a share. It also takes back what other writers have and haven't spent, if there is nothing else: so a replica
// that died keeps nothing from the others, and no clock decides anything.

// A spent is a row of what one writer has spent, or what a group adds to it.
type spent struct {
	project verify.ProjectID
	day     int
	writer  int
	verify.Spending
	free verify.Spending // that the writer may spend by itself
}

var (
	spentKeyLayout = layout[spent]{
		textColumn("project", func(s *spent) *verify.ProjectID { return &s.project }),
		numberColumn("day", func(s *spent) *int { return &s.day }),
		numberColumn("writer", func(s *spent) *int { return &s.writer }),
	}
	spentCountLayout = layout[spent]{
		numberColumn("messages", func(s *spent) *int { return &s.Messages }),
		int64Column("amount", func(s *spent) *money.Amount { return &s.Amount }),
		numberColumn("free_messages", func(s *spent) *int { return &s.free.Messages }),
		int64Column("free_amount", func(s *spent) *money.Amount { return &s.free.Amount }),
	}
	spentLayout = slices.Concat(spentKeyLayout, spentCountLayout)

	selectSpent = `SELECT ` + spentLayout.names() + ` FROM spending WHERE project = $1 AND day = $2 AND writer = $3`
	addSpent    = ` ON CONFLICT (` + spentKeyLayout.names() + `) DO UPDATE SET ` + added(spentCountLayout)
	upsertSpent = `INSERT INTO spending AS u (` + spentLayout.names() + `) VALUES (` + spentLayout.dollars() + `)` + addSpent
	pgAddSpent  = `INSERT INTO spending AS u (` + spentLayout.names() + `) SELECT ` + spentLayout.arrays() + addSpent
	pgLockSpent = `SELECT ` + spentLayout.names() + ` FROM spending WHERE (` + spentKeyLayout.names() + `) IN (SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[]))
		ORDER BY ` + spentKeyLayout.names() + ` FOR UPDATE`
)

// A budgetKey names the writer's own row of a project and a day.
type budgetKey struct {
	project verify.ProjectID
	day     int
}

func (k budgetKey) compare(o budgetKey) int {
	return cmp.Or(cmp.Compare(k.project, o.project), cmp.Compare(k.day, o.day))
}

// A payment is what an operation takes of its project's budget.
type payment struct {
	budgetKey
	toll  verify.Spending
	price money.Amount // of the message in it, which the verification holds
	made  bool         // when the budget was divided: the operation only has to hold it
}

// payment is what a message of a project takes, with a fee beside it, or nil if that has no budget.
func (s *Store) payment(p verify.ProjectID, t verify.Toll, fee money.Amount) *payment {
	if !t.Bound {
		return nil
	}
	return &payment{budgetKey: budgetKey{p, verify.Day(s.now())}, toll: verify.Spending{Messages: 1, Amount: t.Price + fee}, price: t.Price}
}

// budgetKeys are those that a group names, sorted, each once.
func budgetKeys(group []op) []budgetKey {
	var all []budgetKey
	for i := range group {
		if p := group[i].pays; p != nil && !p.made {
			all = append(all, p.budgetKey)
		}
	}
	slices.SortFunc(all, budgetKey.compare)
	return slices.Compact(all)
}

// errAllot says that the writer's row has too little: the budget is to be divided anew.
var errAllot = errors.New("the writer's share of the budget is spent")

// affords fails with errAllot if the group's writer can't make a payment by itself.
func (r *rows) affords(p *payment, now time.Time) error {
	if p == nil || p.made {
		return nil
	}
	if share := r.shares[p.budgetKey]; share == nil || p.day != verify.Day(now) || !share.Covers(p.toll) {
		return errAllot
	}
	return nil
}

// pay makes a payment that the writer affords. v holds what its message has taken.
func (r *rows) pay(p *payment, v *verify.Verification) {
	if p == nil {
		return
	}
	if h := v.Held; h.Day != 0 { // of an attempt whose end nobody records any more: it may have sent, and has no charge
		r.spend(budgetKey{v.Project, h.Day}, verify.Spending{Amount: -h.Price}, verify.Spending{})
	}
	v.Held = verify.Held{Day: p.day, Price: p.price}
	if p.made {
		return
	}
	share := r.shares[p.budgetKey]
	*share = share.Minus(p.toll)
	r.spend(p.budgetKey, p.toll, verify.Spending{}.Minus(p.toll))
}

// giveBack undoes a payment that was made when the budget was divided, and is for nothing.
func (r *rows) giveBack(p *payment) {
	r.spend(p.budgetKey, verify.Spending{}.Minus(p.toll), verify.Spending{})
}

// letGo ends what a verification holds for an attempt that has ended.
func (r *rows) letGo(v *verify.Verification, d *verify.Delivery) {
	if day, add := v.LetGo(d); add != (verify.Spending{}) {
		r.spend(budgetKey{v.Project, day}, add, verify.Spending{})
	}
}

// spend adds to what the group's writer has spent, and to what it may spend.
func (r *rows) spend(k budgetKey, add, free verify.Spending) {
	for i := range r.spent {
		if s := &r.spent[i]; s.project == k.project && s.day == k.day {
			s.Spending, s.free = s.Plus(add), s.free.Plus(free)
			return
		}
	}
	r.spent = append(r.spent, spent{project: k.project, day: k.day, Spending: add, free: free})
}

// sortedSpent are the rows that a group adds to, in the order of their keys: the order of locks.
func (r *rows) sortedSpent(writer int) []spent {
	for i := range r.spent {
		r.spent[i].writer = writer
	}
	slices.SortFunc(r.spent, func(a, b spent) int {
		return budgetKey{a.project, a.day}.compare(budgetKey{b.project, b.day})
	})
	return r.spent
}

// readShare reads what the writer may spend by itself.
func (r *rows) readShare(c fields) error {
	var s spent
	err := spentLayout.read(c, &s)
	if r.shares == nil {
		r.shares = map[budgetKey]*verify.Spending{}
	}
	r.shares[budgetKey{s.project, s.day}] = &s.free
	return err
}

// doPaying runs an operation that may pay. If its writer can't afford that, the budget is divided, and the operation runs
// with what was taken for it there.
func (s *Store) doPaying(o op) error {
	p := o.pays
	if p == nil {
		return s.w.do(o)
	}
	if o.project != "" { // a message of ours that goes out again was itself given back, perhaps since the refusal
		if err := s.budgets.refusal(p, s.now()); err != nil {
			return err
		}
	}
	err := s.w.do(o)
	if !errors.Is(err, errAllot) {
		return err
	}
	if p.day, err = s.allot(p); err != nil {
		return err
	}
	p.made = true
	if err = s.w.do(o); err != nil && !errors.Is(err, errUncertain) && !errors.Is(err, verify.ErrNoStore) {
		s.w.do(op{apply: func(r *rows, _ time.Time) error { // if that fails, the project has a message less
			r.giveBack(p)
			return nil
		}})
	}
	return err
}

// leftLife is how long an answer to what a budget leaves is believed: only less than that may be left.
const leftLife = time.Second

// maxAllotted is how many payments are made when a budget is divided.
const maxAllotted = 256

// budgets are what this process knows of the projects' budgets.
type budgets struct {
	dividing sync.WaitGroup // of the goroutines that divide one

	mu     sync.Mutex // guards what follows, and dividing.Go against dividing.Wait
	all    map[verify.ProjectID]*purse
	closed bool
}

// close waits until nobody divides a budget any more.
func (b *budgets) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.dividing.Wait()
}

// A purse is what waits for one budget to be divided, and what the last division left.
type purse struct {
	waiting []*wish
	busy    bool

	refused error           // what the last division couldn't pay, if anything
	want    verify.Spending // the least of that
	at      time.Time

	told map[string]told // the steps of which operators were told, by cap
}

// told is the largest step of a cap that was reached in a period.
type told struct {
	period int
	most   int64
	step   int
}

// A wish is a payment that waits.
type wish struct {
	toll verify.Spending
	day  int
	err  error
	done chan struct{}
}

func (b *budgets) purse(p verify.ProjectID) *purse {
	if b.all == nil {
		b.all = map[verify.ProjectID]*purse{}
	}
	if b.all[p] == nil {
		b.all[p] = &purse{}
	}
	return b.all[p]
}

// refusal is why a payment can't be made, if the last division knows: a flood of starts on a spent budget costs nothing.
func (b *budgets) refusal(p *payment, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.all[p.project]
	if known == nil || known.refused == nil || now.Sub(known.at).Abs() >= leftLife || !p.toll.Covers(known.want) {
		return nil
	}
	return known.refused
}

// allot waits until a project's budget has been divided anew, and returns of which day it paid.
func (s *Store) allot(p *payment) (day int, err error) {
	w := &wish{toll: p.toll, done: make(chan struct{})}
	b := &s.budgets
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, verify.ErrNoStore
	}
	all := b.purse(p.project)
	all.waiting = append(all.waiting, w)
	if !all.busy {
		all.busy = true
		b.dividing.Go(func() { s.divideFor(p.project, all) })
	}
	b.mu.Unlock()
	<-w.done
	return w.day, w.err
}

// divideFor divides a project's budget as long as somebody waits for it.
func (s *Store) divideFor(p verify.ProjectID, all *purse) {
	b := &s.budgets
	for {
		b.mu.Lock()
		n := min(len(all.waiting), maxAllotted)
		wishes := slices.Clone(all.waiting[:n])
		all.waiting = slices.Delete(all.waiting, 0, n)
		all.busy = n > 0
		b.mu.Unlock()
		if n == 0 {
			return
		}
		state, err := s.divide(p, wishes)
		now := s.now()
		b.mu.Lock()
		if err != nil { // the database is away, or the budget is held: nobody waits for that twice
			wishes, all.waiting = append(wishes, all.waiting...), nil
		}
		all.refused = nil
		for _, w := range wishes {
			if err != nil {
				w.err = err
			}
			if errors.Is(w.err, verify.ErrBudget) && (all.refused == nil || all.want.Covers(w.toll)) {
				all.refused, all.want, all.at = w.err, w.toll, now
			}
			close(w.done)
		}
		var steps []verify.CapUse
		if err == nil {
			steps = all.news(state, now)
		}
		b.mu.Unlock()
		for _, use := range steps {
			s.tellUse(p, use)
		}
	}
}

// news are the caps of whose use operators are told now.
func (all *purse) news(state verify.BudgetState, now time.Time) (news []verify.CapUse) {
	for _, use := range state.Uses() {
		period := verify.Day(now)
		switch use.Name {
		case "month_messages", "month_amount":
			period = verify.FirstDay(period)
		case "balance": // a top-up raises its cap
			period = 0
		}
		was, is := all.told[use.Name], told{period, use.Cap, use.Step()}
		if was.period == is.period && was.most == is.most && was.step >= is.step {
			continue // also where less is used than before, for messages were given back
		}
		if is.step > 0 {
			news = append(news, use)
		}
		if all.told == nil {
			all.told = map[string]told{}
		}
		all.told[use.Name] = is
	}
	return news
}

func (s *Store) tellUse(p verify.ProjectID, use verify.CapUse) {
	if s.log == nil {
		return
	}
	tell := s.log.Info
	if use.Step() == 100 {
		tell = s.log.Warn
	}
	tell("a project's budget is being used up", "project", p, "cap", use.Name, "percent", use.Percent())
}

// divide divides a project's budget anew among wishes, this process's writers, and others.
func (s *Store) divide(p verify.ProjectID, wishes []*wish) (state verify.BudgetState, err error) {
	err = s.aloneCommitted(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		for _, w := range wishes {
			w.day, w.err = verify.Day(now), nil
		}
		rows, err := s.lockSpending(ctx, tx, p, now)
		if err != nil {
			return err
		}
		if state, err = readBudget(ctx, tx, p, now); err != nil {
			return err
		}
		return s.share(ctx, tx, rows, &state, wishes, now)
	})
	return state, err
}

// aloneCommitted runs f as [Store.alone] does, where each statement sees what was committed before it: what waits for a lock
// of groups reads what they wrote.
//
// A group of a replica that hangs may hold such a lock. Then f lets go of its own locks and of its lane, and runs again: its
// process's groups, which may wait for it, are other projects' too. So it also can't deadlock with them for long.
func (s *Store) aloneCommitted(f func(ctx context.Context, tx *sql.Tx, now time.Time) error) (err error) {
	for range spendingTries {
		err = s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
			if s.postgres {
				for _, text := range []string{`SET TRANSACTION ISOLATION LEVEL READ COMMITTED`, spendingWait} {
					if _, err := tx.ExecContext(ctx, text); err != nil {
						return err
					}
				}
			}
			err := f(ctx, tx, now)
			if pgCode(err) == codeLockTimeout {
				return errSpendingHeld
			}
			return err
		})
		if !errors.Is(err, errSpendingHeld) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", verify.ErrBusy, err)
}

// spendingWait bounds the wait for a lock on what projects have spent. A group holds one for a few milliseconds.
const (
	spendingWait  = `SET LOCAL lock_timeout = 100`
	spendingTries = 10
)

var errSpendingHeld = errors.New("another transaction holds what the project has spent")

// lockSpending locks a project's budget, and reads the rows of which somebody may still spend: those of today, and of the
// days beside it, for the clocks of servers differ.
func (s *Store) lockSpending(ctx context.Context, tx *sql.Tx, p verify.ProjectID, now time.Time) ([]spent, error) {
	if _, err := tx.ExecContext(ctx, `UPDATE budget SET project = project WHERE project = $1`, p); err != nil {
		return nil, err
	}
	text := `SELECT ` + spentLayout.names() + ` FROM spending WHERE project = $1 AND day >= $2 ORDER BY day, writer`
	if s.postgres {
		text += ` FOR UPDATE`
	}
	return query(ctx, tx, spentLayout.scan, text, p, verify.Day(now)-1)
}

// share pays the wishes, gives each writer of this process a share, and takes back those of others if need be.
func (s *Store) share(ctx context.Context, tx *sql.Tx, rows []spent, state *verify.BudgetState, wishes []*wish, now time.Time) error {
	today := verify.Day(now)
	var free verify.Spending // of others
	writers := len(s.writers)
	for i := range rows {
		r := &rows[i]
		if r.day == today && slices.Contains(s.writers, r.writer) {
			continue
		}
		free = free.Plus(r.free)
		if r.day == today && r.writer != folded {
			writers++
		}
	}
	wanted := make([]verify.Spending, len(wishes))
	for i, w := range wishes {
		wanted[i] = w.toll
	}
	left := state.Left(state.Spent, state.Credit)
	d := verify.Divide(left, free, writers, len(s.writers), wanted)
	var paid verify.Spending
	for i, w := range wishes {
		if !d.Taken[i] {
			w.err = state.Refusal(state.Spent, state.Credit, w.toll, now)
			continue
		}
		paid = paid.Plus(w.toll)
	}
	if d.Reclaim {
		if _, err := tx.ExecContext(ctx, `UPDATE spending SET free_messages = 0, free_amount = 0 WHERE project = $1 AND day >= $2`, state.Project, today-1); err != nil {
			return err
		}
	}
	state.Day, state.Month, state.Ever = state.Day.Plus(paid), state.Month.Plus(paid), state.Ever.Plus(paid)
	for _, w := range s.writers {
		row := spent{project: state.Project, day: today, writer: w, Spending: paid, free: d.Share}
		paid = verify.Spending{}
		if _, err := tx.ExecContext(ctx, setShare, spentLayout.arguments(&row)...); err != nil {
			return err
		}
	}
	return nil
}

// setShare sets what a writer may spend, and adds what was paid.
var setShare = `INSERT INTO spending AS u (` + spentLayout.names() + `) VALUES (` + spentLayout.dollars() + `) ON CONFLICT (` + spentKeyLayout.names() + `)
	DO UPDATE SET messages = u.messages + excluded.messages, amount = u.amount + excluded.amount, free_messages = excluded.free_messages, free_amount = excluded.free_amount`

// selectBudget is the budget of project $1, if it has one, with what was spent on the day $2, on the days from $3 on and ever, and
// what the ledger comes to: all of one moment, and one way to the server and back.
const selectBudget = `SELECT COALESCE(b.day_messages, -1), COALESCE(b.month_messages, -1), COALESCE(b.day_amount, -1), COALESCE(b.month_amount, -1),
		COALESCE(b.prepaid, $4), COALESCE(b.currency, ''), s.day_messages, s.day_amount, s.month_messages, s.month_amount, s.messages, s.amount, l.amount
	FROM (SELECT CAST(COALESCE(sum(CASE WHEN day = $2 THEN messages ELSE 0 END), 0) AS BIGINT) AS day_messages, CAST(COALESCE(sum(CASE WHEN day = $2 THEN amount ELSE 0 END), 0) AS BIGINT) AS day_amount,
			CAST(COALESCE(sum(CASE WHEN day >= $3 THEN messages ELSE 0 END), 0) AS BIGINT) AS month_messages, CAST(COALESCE(sum(CASE WHEN day >= $3 THEN amount ELSE 0 END), 0) AS BIGINT) AS month_amount,
			CAST(COALESCE(sum(messages), 0) AS BIGINT) AS messages, CAST(COALESCE(sum(amount), 0) AS BIGINT) AS amount FROM spending WHERE project = $1) s
	CROSS JOIN (SELECT CAST(COALESCE(sum(amount), 0) AS BIGINT) AS amount FROM ledger WHERE project = $1) l
	LEFT JOIN budget b ON b.project = $1`

func budgetOf(p verify.ProjectID, now time.Time) []any {
	today := verify.Day(now)
	return []any{p, today, verify.FirstDay(today), false}
}

func scanBudget(row scanner) (b verify.BudgetState, err error) {
	err = row.Scan(&b.DayMessages, &b.MonthMessages, &b.DayAmount, &b.MonthAmount, &b.Prepaid, &b.Currency,
		&b.Day.Messages, &b.Day.Amount, &b.Month.Messages, &b.Month.Amount, &b.Ever.Messages, &b.Ever.Amount, &b.Credit)
	return b, err
}

func readBudget(ctx context.Context, tx *sql.Tx, p verify.ProjectID, now time.Time) (b verify.BudgetState, err error) {
	b, err = scanBudget(tx.QueryRowContext(ctx, selectBudget, budgetOf(p, now)...))
	b.Project = p
	return b, err
}

// Budget implements [verify.BudgetStore].
func (s *Store) Budget(ctx context.Context, p verify.ProjectID) (b verify.BudgetState, err error) {
	if b, err = pool.One(ctx, s.hot, scanBudget, selectBudget, budgetOf(p, s.now())...); err != nil {
		err = away("load budget", err)
	}
	b.Project = p
	return b, err
}

// ChangeBudget has change decide on a project's budget as it is stored, and writes what came of it and the audit, in one
// transaction. It holds on all servers within a second. change may run more than once. It fails with [verify.ErrNoProject].
func (s *Store) ChangeBudget(_ context.Context, p verify.ProjectID, change func(*verify.Budget) ([]Audit, error)) (b verify.BudgetState, err error) {
	err = s.aloneCommitted(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		project, err := lockedProject(ctx, tx, p)
		if err != nil {
			return fmt.Errorf("change the budget of project %s: %w", p, err)
		}
		if b, err = readBudget(ctx, tx, p, now); err != nil {
			return err
		}
		prepaid := b.Prepaid
		by, err := change(&b.Budget)
		if err != nil {
			return err
		}
		if b.Bounds() && !project.Bound {
			if err := s.countBefore(ctx, tx, &b, now); err != nil {
				return err
			}
		}
		if b.Prepaid && !prepaid && b.Ever.Amount > b.Credit { // what was paid in stays
			opening := verify.LedgerEntry{Kind: verify.LedgerOpening, Amount: b.Ever.Amount - b.Credit, Actor: "countersign"}
			if err := enter(ctx, tx, now, p, opening); err != nil {
				return err
			}
			b.Credit = b.Ever.Amount
		}
		if err := writeBudget(ctx, tx, &b.Budget); err != nil {
			return err
		}
		return audits(ctx, tx, now, p, by)
	})
	s.budgets.forget(p)
	return b, err
}

// writeBudget writes a project's budget, and takes back what writers may spend by themselves: that was divided by the one
// before.
func writeBudget(ctx context.Context, tx *sql.Tx, b *verify.Budget) error {
	for _, ask := range []struct {
		text string
		args []any
	}{
		{`INSERT INTO budget (project, day_messages, month_messages, day_amount, month_amount, prepaid, currency) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (project) DO UPDATE SET day_messages = excluded.day_messages, month_messages = excluded.month_messages,
				day_amount = excluded.day_amount, month_amount = excluded.month_amount, prepaid = excluded.prepaid, currency = excluded.currency`,
			[]any{b.Project, b.DayMessages, b.MonthMessages, b.DayAmount, b.MonthAmount, b.Prepaid, b.Currency}},
		{`UPDATE spending SET free_messages = 0, free_amount = 0 WHERE project = $1 AND (free_messages <> 0 OR free_amount <> 0)`, []any{b.Project}},
		{`UPDATE project SET bound = $2 WHERE id = $1`, []any{b.Project, b.Bounds()}},
	} {
		if _, err := tx.ExecContext(ctx, ask.text, ask.args...); err != nil {
			return err
		}
	}
	return nil
}

// countBefore has what a project used today and this month, while it had no budget, count for the one that it gets.
func (s *Store) countBefore(ctx context.Context, tx *sql.Tx, b *verify.BudgetState, now time.Time) error {
	today := verify.Day(now)
	first := verify.FirstDay(today)
	before, err := s.countUsage(ctx, tx, b.Project, first, today, b.Month.Minus(b.Day))
	if err != nil {
		return err
	}
	since, err := s.countUsage(ctx, tx, b.Project, today, today+1, b.Day)
	b.Day, b.Month, b.Ever = b.Day.Plus(since), b.Month.Plus(before).Plus(since), b.Ever.Plus(before).Plus(since)
	return err
}

// countUsage adds what a project used from a day on and before another, less what was counted of it, to what it has spent
// on the first.
func (s *Store) countUsage(ctx context.Context, tx *sql.Tx, p verify.ProjectID, from, until int, counted verify.Spending) (add verify.Spending, err error) {
	if from == until {
		return add, nil
	}
	var used verify.Spending
	if err := tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(sum(messages), 0) AS BIGINT), CAST(COALESCE(sum(price), 0) AS BIGINT)
		FROM usage_hour WHERE project = $1 AND hour >= $2 AND hour < $3`, p, from*24, until*24).Scan(&used.Messages, &used.Amount); err != nil {
		return add, err
	}
	add = used.Minus(counted)
	add = verify.Spending{Messages: max(add.Messages, 0), Amount: max(add.Amount, 0)} // what is under way isn't used yet
	row := spent{project: p, day: from, writer: folded, Spending: add}
	_, err = tx.ExecContext(ctx, upsertSpent, spentLayout.arguments(&row)...)
	return add, err
}

// AddCredit enters a change of a project's balance, with its audit. It fails with [verify.ErrNoProject].
func (s *Store) AddCredit(_ context.Context, p verify.ProjectID, e verify.LedgerEntry, by ...Audit) (b verify.BudgetState, err error) {
	err = s.aloneCommitted(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if _, err := lockedProject(ctx, tx, p); err != nil {
			return fmt.Errorf("change the balance of project %s: %w", p, err)
		}
		if err := enter(ctx, tx, now, p, e); err != nil {
			return err
		}
		if b, err = readBudget(ctx, tx, p, now); err != nil {
			return err
		}
		if e.Amount < 0 { // what writers may spend by themselves may be too much now
			if err := writeBudget(ctx, tx, &b.Budget); err != nil {
				return err
			}
		}
		return audits(ctx, tx, now, p, by)
	})
	s.budgets.forget(p)
	return b, err
}

func enter(ctx context.Context, tx *sql.Tx, now time.Time, p verify.ProjectID, e verify.LedgerEntry) error {
	e.ID = verify.NewID(now)
	_, err := tx.ExecContext(ctx, `INSERT INTO ledger (project, id, kind, amount, actor, note) VALUES ($1, $2, $3, $4, $5, $6)`, p, e.ID[:], e.Kind, e.Amount, e.Actor, e.Note)
	return err
}

// Ledger lists the changes of a project's balance, the newest first, at most n.
func (s *Store) Ledger(ctx context.Context, p verify.ProjectID, n int) ([]verify.LedgerEntry, error) {
	return readAll(ctx, s.lists, func(row scanner) (e verify.LedgerEntry, err error) {
		var id []byte
		err = row.Scan(&e.Project, &id, &e.Kind, &e.Amount, &e.Actor, &e.Note)
		copy(e.ID[:], id)
		return e, err
	}, `SELECT project, id, kind, amount, actor, note FROM ledger WHERE project = $1 ORDER BY id DESC LIMIT $2`, p, n)
}

// forget has the next payment ask the database.
func (b *budgets) forget(p verify.ProjectID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.all[p]; known != nil {
		known.refused = nil
	}
}
