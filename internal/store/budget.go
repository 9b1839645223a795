package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// Budgets are exact, and no two writers wait for each other's commit to keep to one. Each writer has rows of its own, of a
// project and a day: what it has spent, and what it may still spend by itself. A group that starts a message takes it of
// its writer's row, in its own transaction. Where that row has too little, an allotment divides anew what the budget
// leaves, with all rows of the project locked: it grants what the waiting messages need, and gives each of this process's
// writers a share. It also takes back what other writers have and haven't spent, if there is nothing else: so a replica
// that died keeps nothing from the others. Of what was granted the commit of the message is what spends it, so that no crash
// parts the two. What a process was granted and doesn't spend within grantLife goes to others as well; one that comes later
// finds it gone, under the row's lock.

// A spent is a row of what one writer has spent, or what a group adds to it.
type spent struct {
	project verify.ProjectID
	day     int
	writer  int
	verify.Spending
	free verify.Spending // that the writer may spend by itself

	granted   verify.Spending // to messages that the writer's process is about to start
	grantedAt int64           // when last, in milliseconds

	hour         int64 // the latest of the day in which it spent something; 0: none
	hourMessages int
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
	spentGrantLayout = layout[spent]{
		numberColumn("granted_messages", func(s *spent) *int { return &s.granted.Messages }),
		int64Column("granted_amount", func(s *spent) *money.Amount { return &s.granted.Amount }),
	}
	spentHourLayout = layout[spent]{
		int64Column("granted_at", func(s *spent) *int64 { return &s.grantedAt }),
		int64Column("hour", func(s *spent) *int64 { return &s.hour }),
		numberColumn("hour_messages", func(s *spent) *int { return &s.hourMessages }),
	}
	spentLayout = slices.Concat(spentKeyLayout, spentCountLayout, spentGrantLayout, spentHourLayout)

	selectSpent = `SELECT ` + spentLayout.names() + ` FROM spending WHERE project = $1 AND day = $2 AND writer = $3`
	addSpent    = ` ON CONFLICT (` + spentKeyLayout.names() + `) DO UPDATE SET ` + added(spentCountLayout, "excluded") + `, ` + added(spentGrantLayout, "excluded") + `, ` + addHour
	upsertSpent = `INSERT INTO spending AS u (` + spentLayout.names() + `) VALUES (` + spentLayout.dollars() + `)` + addSpent
	pgAddSpent  = `INSERT INTO spending AS u (` + spentLayout.names() + `) SELECT ` + spentLayout.arrays() + addSpent
	pgLockSpent = `SELECT ` + spentLayout.names() + ` FROM spending WHERE (` + spentKeyLayout.names() + `) IN (SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[]))
		ORDER BY ` + spentKeyLayout.names() + ` FOR UPDATE`
	// What isn't there any more can't be committed: the division fails.
	pgSpendGuessed = `WITH n AS MATERIALIZED (SELECT ` + spentLayout.named() + `), done AS (UPDATE spending u SET ` + added(spentCountLayout, "n") + `, ` + hourAdded("n") + `
			FROM n WHERE (` + spentKeyLayout.of("u") + `) = (` + spentKeyLayout.of("n") + `) AND u.free_messages + n.free_messages >= 0 AND u.free_amount + n.free_amount >= 0 RETURNING 1)
		SELECT 1 / CASE WHEN (SELECT count(*) FROM done) = (SELECT count(*) FROM n) THEN 1 ELSE 0 END`
	// While a budget is divided, its rows aren't there: what needs them waits for the next division, and not the whole group for
	// this one, whose server may stand still.
	pgTakeSpent = pgLockSpent + ` SKIP LOCKED`
)

// addHour adds to the messages of the hour, of which a later one begins anew, and keeps the latest time of a grant.
var addHour = `granted_at = CASE WHEN excluded.granted_at > u.granted_at THEN excluded.granted_at ELSE u.granted_at END,
	` + hourAdded("excluded")

// hourAdded adds another row's messages of the hour.
func hourAdded(other string) string {
	return strings.ReplaceAll(`hour_messages = CASE WHEN o.hour > u.hour THEN o.hour_messages WHEN o.hour = u.hour THEN u.hour_messages + o.hour_messages ELSE u.hour_messages END,
	hour = CASE WHEN o.hour > u.hour THEN o.hour ELSE u.hour END`, "o.", other+".")
}

// A budgetKey names a writer's row of a project and a day.
type budgetKey struct {
	project verify.ProjectID
	day     int
	writer  int
}

func (k budgetKey) compare(o budgetKey) int {
	return cmp.Or(cmp.Compare(k.project, o.project), cmp.Compare(k.day, o.day), cmp.Compare(k.writer, o.writer))
}

func (s *spent) key() budgetKey { return budgetKey{s.project, s.day, s.writer} }

// A payment is what an operation takes of one budget: its project's, or a country's.
type payment struct {
	budgetKey // the writer is the one to whom it was granted
	toll      verify.Spending
	holds     bool         // it is the project's: the verification holds the price of its message until the attempt ends
	price     money.Amount // of that message
	granted   bool         // when the budget was divided
	lacks     bool         // the writer's own share isn't enough, or what was granted is gone
}

// key is the row that pays in a group of a writer.
func (p *payment) key(writer int) budgetKey {
	k := p.budgetKey
	if !p.granted {
		k.writer = writer
	}
	return k
}

// granted reports whether a group makes a payment that was granted when a budget was divided.
func granted(group []op) bool {
	for i := range group {
		if slices.ContainsFunc(group[i].pays, func(p *payment) bool { return p.granted }) {
			return true
		}
	}
	return false
}

// payments are what a message of v takes, with a fee beside it, of the budgets that there are: its project's, and if it counts
// for the country, also that one's.
func (s *Store) payments(v *verify.Verification, counts bool, t verify.Toll, fee money.Amount) (all []*payment) {
	day := verify.Day(s.now())
	if t.Bound {
		all = append(all, &payment{budgetKey: budgetKey{project: v.Project, day: day}, toll: verify.Spending{Messages: 1, Amount: t.Price + fee}, holds: true, price: t.Price})
	}
	if counted := s.counting.Load(); counts && counted != nil && len(*counted) > 0 {
		country := v.Reach().Region()
		for _, key := range []verify.ProjectID{verify.CountryKey("", country), verify.CountryKey(v.Project, country)} {
			if (*counted)[key] {
				all = append(all, &payment{budgetKey: budgetKey{project: key, day: day}, toll: verify.Spending{Messages: 1}})
			}
		}
	}
	return all
}

// budgetKeys are the rows that pay in a group of a writer, sorted, each once.
func budgetKeys(group []op, writer int) []budgetKey {
	var all []budgetKey
	for i := range group {
		for _, p := range group[i].pays {
			all = append(all, p.key(writer))
		}
	}
	slices.SortFunc(all, budgetKey.compare)
	return slices.Compact(all)
}

// errAllot says that a writer's row has too little: the budget is to be divided anew.
var errAllot = errors.New("the writer's share of the budget is spent")

// purse is what a payment may be made of: nil if that isn't enough.
func (r *rows) purse(p *payment, now time.Time) *verify.Spending {
	row := r.shares[p.key(r.writer)]
	if row == nil || !p.granted && p.day != verify.Day(now) {
		return nil
	}
	of := &row.free
	if p.granted {
		of = &row.granted
	}
	if !of.Covers(p.toll) {
		return nil
	}
	return of
}

// affords fails with errAllot if the group can't make all payments.
func (r *rows) affords(all []*payment, now time.Time) (err error) {
	for _, p := range all {
		if p.lacks = r.purse(p, now) == nil; p.lacks {
			err, r.lacked = errAllot, true
		}
	}
	return err
}

// pay makes payments that the group affords. v holds what its message has taken of its project's budget.
func (r *rows) pay(all []*payment, v *verify.Verification, now time.Time) {
	for _, p := range all {
		if p.holds {
			if h := v.Held; h.Day != 0 { // of an attempt whose end nobody records any more: it may have sent, and has no charge
				r.spend(spent{project: v.Project, day: h.Day, writer: r.writer, Spending: verify.Spending{Amount: -h.Price}})
			}
			v.Held = verify.Held{Day: p.day, Price: p.price}
		}
		of := r.purse(p, now)
		*of = of.Minus(p.toll)
		k := p.key(r.writer)
		row := spent{project: k.project, day: k.day, writer: k.writer, Spending: p.toll, hour: verify.UsageHour(now), hourMessages: p.toll.Messages}
		if p.granted {
			row.granted = verify.Spending{}.Minus(p.toll)
		} else {
			row.free = verify.Spending{}.Minus(p.toll)
		}
		r.spend(row)
	}
}

// giveBack gives back what was granted and isn't needed.
func (r *rows) giveBack(all []*payment, now time.Time) {
	for _, p := range all {
		if !p.granted {
			continue
		}
		if of := r.purse(p, now); of != nil {
			*of = of.Minus(p.toll)
			r.spend(spent{project: p.project, day: p.day, writer: p.writer, granted: verify.Spending{}.Minus(p.toll)})
		}
	}
}

// letGo ends what a verification holds for an attempt that has ended. What it gives back still counts for its hour.
func (r *rows) letGo(v *verify.Verification, d *verify.Delivery) {
	if day, add := v.LetGo(d); add != (verify.Spending{}) {
		r.spend(spent{project: v.Project, day: day, writer: r.writer, Spending: add})
	}
}

// spend adds to a row.
func (r *rows) spend(add spent) {
	for i := range r.spent {
		if s := &r.spent[i]; s.key() == add.key() {
			s.Spending, s.free, s.granted = s.Plus(add.Spending), s.free.Plus(add.free), s.granted.Plus(add.granted)
			switch {
			case add.hour > s.hour:
				s.hour, s.hourMessages = add.hour, add.hourMessages
			case add.hour == s.hour:
				s.hourMessages += add.hourMessages
			}
			return
		}
	}
	r.spent = append(r.spent, add)
}

// sortedSpent are the rows that a group adds to, in the order of their keys: the order of locks.
func (r *rows) sortedSpent() []spent {
	slices.SortFunc(r.spent, func(a, b spent) int { return a.key().compare(b.key()) })
	return r.spent
}

// readShare reads what may be spent of a row.
func (r *rows) readShare(c fields) error {
	var s spent
	err := spentLayout.read(c, &s)
	if r.shares == nil {
		r.shares = map[budgetKey]*spent{}
	}
	r.shares[s.key()] = &s
	return err
}

// doPaying runs an operation that may pay. If its writer can't afford that, budgets are divided, and the operation runs
// with what was taken for it there.
func (s *Store) doPaying(o op) (err error) {
	if len(o.pays) == 0 {
		return s.w.do(o)
	}
	if o.project != "" { // a message of ours that goes out again was itself given back, perhaps since the refusal
		for _, p := range o.pays {
			if err := s.budgets.refusal(p, s.now()); err != nil {
				return err
			}
		}
	}
	for range maxAllots {
		if err = s.w.do(o); !errors.Is(err, errAllot) {
			break
		}
		if err = s.allotLacking(o.pays); err != nil {
			break
		}
	}
	if errors.Is(err, errAllot) { // others were faster each time
		err = verify.ErrBusy
	}
	if err != nil && slices.ContainsFunc(o.pays, func(p *payment) bool { return p.granted }) {
		s.w.do(op{pays: o.pays, apply: func(r *rows, now time.Time) error { // if that fails, others get it a little later
			r.giveBack(o.pays, now)
			return nil
		}})
	}
	return err
}

// maxAllots is how often an operation asks for its payments: those of others that come between are few.
const maxAllots = 8

// allotLacking asks for the payments that a group couldn't make.
func (s *Store) allotLacking(all []*payment) (err error) {
	for _, p := range all {
		if !p.lacks {
			continue
		}
		p.granted = false
		if p.day, err = s.allot(p); err != nil {
			return err
		}
		p.granted, p.lacks, p.writer = true, false, s.writers[0]
	}
	return nil
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
	if known == nil || known.refused == nil || now.Sub(known.at).Abs() >= leftLife || verify.UsageHour(known.at) != verify.UsageHour(now) || !p.toll.Covers(known.want) {
		return nil
	}
	return known.refused
}

// allot waits until a budget has been divided anew, and returns of which day it grants the payment.
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
		news, err := s.divide(p, wishes)
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
			if (errors.Is(w.err, verify.ErrBudget) || errors.Is(w.err, verify.ErrCountryLimit)) && (all.refused == nil || all.want.Covers(w.toll)) {
				all.refused, all.want, all.at = w.err, w.toll, now
			}
			close(w.done)
		}
		b.mu.Unlock()
		if err == nil {
			s.tell(p, news)
		}
	}
}

// tell logs and counts which steps of its caps a budget's use has reached. The audit log has them as well.
func (s *Store) tell(key verify.ProjectID, news []verify.Mark) {
	project, country := verify.SplitKey(key)
	for _, m := range news {
		if s.reached != nil {
			s.reached.Reached(project, country, m)
		}
		if s.log == nil {
			continue
		}
		say := s.log.Info
		if m.Step == 100 {
			say = s.log.Warn
		}
		say("a budget is being used up", "project", project, "country", country, "cap", m.Cap, "percent", m.Step)
	}
}

// noteSteps notes which steps of its caps a budget's use has reached, each once in a period, with an entry in the audit log.
func noteSteps(ctx context.Context, tx *sql.Tx, state *verify.BudgetState, now time.Time) (news []verify.Mark, err error) {
	uses := state.Uses(now)
	news, marks := verify.NextMarks(uses, state.Marks, now)
	if len(news) == 0 {
		return nil, nil
	}
	if _, err := tx.ExecContext(ctx, `UPDATE budget SET marks = $2 WHERE project = $1`, state.Project, verify.FormatMarks(marks)); err != nil {
		return nil, err
	}
	project, country := verify.SplitKey(state.Project)
	for _, m := range news {
		u := uses[slices.IndexFunc(uses, func(u verify.CapUse) bool { return u.Name == m.Cap })]
		entry := Audit{Actor: ourselves, Action: fmt.Sprintf("budget %d%%", m.Step), Detail: strings.TrimSpace(country + " " + u.String())}
		if err := audits(ctx, tx, now, project, []Audit{entry}); err != nil {
			return nil, err
		}
	}
	return news, nil
}

// ourselves is who made entries that no person made.
const ourselves = "countersign"

// divide divides a budget anew among wishes, this process's writers, and others. It returns the steps of its caps that were
// reached by that.
func (s *Store) divide(key verify.ProjectID, wishes []*wish) (news []verify.Mark, err error) {
	err = s.aloneCommitted(projectOf(key), func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		for _, w := range wishes {
			w.day, w.err = verify.Day(now), nil
		}
		rows, err := s.lockSpending(ctx, tx, key, now)
		if err != nil {
			return err
		}
		state, err := readBudget(ctx, tx, key, now)
		if err != nil {
			return err
		}
		if err := s.share(ctx, tx, rows, &state, wishes, now); err != nil {
			return err
		}
		news, err = noteSteps(ctx, tx, &state, now)
		return err
	})
	return news, err
}

// aloneCommitted runs f as [Store.alone] does, where each statement sees what was committed before it: what waits for a lock
// of groups reads what they wrote.
//
// A group of a replica that hangs may hold such a lock. Then f lets go of its own locks and of its lane, and runs again: its
// process's groups, which may wait for it, are other projects' too. So it also can't deadlock with them for long.
//
// f writes rows of project p; "" is of any, where it doesn't matter whether one is fenced.
func (s *Store) aloneCommitted(p verify.ProjectID, f func(ctx context.Context, tx *sql.Tx, now time.Time) error) (err error) {
	run := func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if s.postgres {
			if _, err := tx.ExecContext(ctx, spendingWait); err != nil {
				return err
			}
		}
		err := f(ctx, tx, now)
		if pgCode(err) == codeLockTimeout {
			return errSpendingHeld
		}
		return err
	}
	for range spendingTries {
		err = s.w.do(op{of: p, committed: true, alone: run})
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
	return query(ctx, tx, spentLayout.scan, text+s.locked(), p, verify.Day(now)-1)
}

// grantLife is how long nobody else gets what was granted: a group starts its messages within milliseconds.
const grantLife = 10 * time.Second

// share grants the wishes, gives each writer of this process a share, and takes back those of others if need be.
func (s *Store) share(ctx context.Context, tx *sql.Tx, rows []spent, state *verify.BudgetState, wishes []*wish, now time.Time) error {
	today := verify.Day(now)
	fresh := now.Add(-grantLife).UnixMilli()
	if err := dropGrants(ctx, tx, rows, fresh, today); err != nil {
		return err
	}
	var free verify.Spending // of others
	writers := len(s.writers)
	for i := range rows {
		r := &rows[i]
		if r.grantedAt > fresh {
			state.Pay(r.granted) // it is about to be spent
		}
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
	d := verify.Divide(state.Left(state.Spent, state.Credit), free, writers, len(s.writers), wanted)
	var granted verify.Spending
	for i, w := range wishes {
		if !d.Taken[i] {
			w.err = state.Refusal(state.Spent, state.Credit, w.toll, now)
			continue
		}
		granted = granted.Plus(w.toll)
	}
	if d.Reclaim {
		if _, err := tx.ExecContext(ctx, `UPDATE spending SET free_messages = 0, free_amount = 0 WHERE project = $1 AND day >= $2`, state.Project, today-1); err != nil {
			return err
		}
		free = verify.Spending{}
	}
	state.Pay(granted)
	share := d.Share.AtMost(state.Ahead(now).Minus(free).Part(2 * max(writers, 1)))
	if !state.Bounds() { // it was taken away a moment ago, and may come back: nobody keeps a share of any size
		share = verify.Spending{}
	}
	for _, w := range s.writers {
		row := spent{project: state.Project, day: today, writer: w, free: share, granted: granted}
		if granted != (verify.Spending{}) {
			row.grantedAt, granted = now.UnixMilli(), verify.Spending{}
		}
		if _, err := tx.ExecContext(ctx, setShare, spentLayout.arguments(&row)...); err != nil {
			return err
		}
	}
	return nil
}

// dropGrants takes back what was granted and wasn't spent in time: its process has died, or stands still.
func dropGrants(ctx context.Context, tx *sql.Tx, rows []spent, before int64, today int) error {
	if !slices.ContainsFunc(rows, func(r spent) bool { return r.grantedAt <= before && r.granted != (verify.Spending{}) }) {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE spending SET granted_messages = 0, granted_amount = 0 WHERE project = $1 AND day >= $2 AND granted_at <= $3`, rows[0].project, today-1, before)
	return err
}

// setShare sets what a writer may spend by itself, and adds what its process was granted.
var setShare = `INSERT INTO spending AS u (` + spentLayout.names() + `) VALUES (` + spentLayout.dollars() + `) ON CONFLICT (` + spentKeyLayout.names() + `)
	DO UPDATE SET free_messages = excluded.free_messages, free_amount = excluded.free_amount, ` + added(spentGrantLayout, "excluded") + `, ` + addHour

// selectBudget is the budget of project $1, if it has one, with what was spent on the day $2, on the days from $3 on, in the hour $5 and ever, and
// what the ledger comes to: all of one moment, and one way to the server and back.
const selectBudget = `SELECT COALESCE(b.day_messages, -1), COALESCE(b.month_messages, -1), COALESCE(b.day_amount, -1), COALESCE(b.month_amount, -1),
		COALESCE(b.prepaid, $4), COALESCE(b.currency, ''), COALESCE(b.hour_messages, -1), COALESCE(b.spent_before, 0), COALESCE(b.marks, ''), s.hour_messages, s.day_messages, s.day_amount, s.month_messages, s.month_amount, s.messages, s.amount, l.amount
	FROM (SELECT CAST(COALESCE(sum(CASE WHEN day = $2 THEN messages ELSE 0 END), 0) AS BIGINT) AS day_messages, CAST(COALESCE(sum(CASE WHEN day = $2 THEN amount ELSE 0 END), 0) AS BIGINT) AS day_amount,
			CAST(COALESCE(sum(CASE WHEN day >= $3 THEN messages ELSE 0 END), 0) AS BIGINT) AS month_messages, CAST(COALESCE(sum(CASE WHEN day >= $3 THEN amount ELSE 0 END), 0) AS BIGINT) AS month_amount,
			CAST(COALESCE(sum(CASE WHEN hour = $5 THEN hour_messages ELSE 0 END), 0) AS BIGINT) AS hour_messages,
			CAST(COALESCE(sum(messages), 0) AS BIGINT) AS messages, CAST(COALESCE(sum(amount), 0) AS BIGINT) AS amount FROM spending WHERE project = $1) s
	CROSS JOIN (SELECT CAST(COALESCE(sum(amount), 0) AS BIGINT) AS amount FROM ledger WHERE project = $1) l
	LEFT JOIN budget b ON b.project = $1`

func budgetOf(p verify.ProjectID, now time.Time) []any {
	today := verify.Day(now)
	return []any{p, today, verify.FirstDay(today), false, verify.UsageHour(now)}
}

func scanBudget(row scanner) (b verify.BudgetState, err error) {
	var marks string
	if err = row.Scan(&b.DayMessages, &b.MonthMessages, &b.DayAmount, &b.MonthAmount, &b.Prepaid, &b.Currency, &b.HourMessages, &b.Before, &marks, &b.Hour.Messages,
		&b.Day.Messages, &b.Day.Amount, &b.Month.Messages, &b.Month.Amount, &b.Ever.Messages, &b.Ever.Amount, &b.Credit); err == nil {
		b.Marks, err = verify.ParseMarks(marks)
	}
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

// Foreign lists projects, at most n, whose amounts are bounded in another currency than the one in which they are charged.
func (s *Store) Foreign(ctx context.Context, charged money.Currency, n int) ([]verify.ProjectID, error) {
	return readAll(ctx, s.lists, scanValue[verify.ProjectID], `SELECT project FROM budget WHERE country = '' AND currency <> $1 AND currency <> '' AND (prepaid OR day_amount >= 0 OR month_amount >= 0) ORDER BY project LIMIT $2`, charged, n)
}

// ChangeBudget has change decide on a project's budget as it is stored, and writes what came of it and the audit, in one
// transaction. It holds on all servers within a second. change may run more than once. It fails with [verify.ErrNoProject].
func (s *Store) ChangeBudget(_ context.Context, p verify.ProjectID, change func(*verify.Budget) ([]Audit, error)) (b verify.BudgetState, err error) {
	err = s.aloneCommitted(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
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
			opening := verify.LedgerEntry{Kind: verify.LedgerOpening, Amount: b.Ever.Amount - b.Credit, Actor: ourselves}
			if err := enter(ctx, tx, now, p, opening); err != nil {
				return err
			}
			b.Credit = b.Ever.Amount
		}
		if err := writeBudget(ctx, tx, &b.Budget); err != nil {
			return err
		}
		if b.Prepaid && !prepaid {
			if err := beginBalance(ctx, tx, &b); err != nil {
				return err
			}
		}
		return audits(ctx, tx, now, p, by)
	})
	s.budgets.forget(p)
	return b, err
}

// beginBalance has operators told of the parts of what is left now.
func beginBalance(ctx context.Context, tx *sql.Tx, b *verify.BudgetState) error {
	b.Before = b.Ever.Amount
	_, err := tx.ExecContext(ctx, `UPDATE budget SET spent_before = $2 WHERE project = $1`, b.Project, b.Before)
	return err
}

// writeBudget writes a project's budget, and takes back what writers may spend by themselves: that was divided by the one
// before.
func writeBudget(ctx context.Context, tx *sql.Tx, b *verify.Budget) error {
	for _, ask := range []struct {
		text string
		args []any
	}{
		{`INSERT INTO budget (project, day_messages, month_messages, day_amount, month_amount, prepaid, currency, hour_messages) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (project) DO UPDATE SET hour_messages = excluded.hour_messages, day_messages = excluded.day_messages, month_messages = excluded.month_messages,
				day_amount = excluded.day_amount, month_amount = excluded.month_amount, prepaid = excluded.prepaid, currency = excluded.currency`,
			[]any{b.Project, b.DayMessages, b.MonthMessages, b.DayAmount, b.MonthAmount, b.Prepaid, b.Currency, b.HourMessages}},
		{`UPDATE spending SET free_messages = 0, free_amount = 0, granted_messages = 0, granted_amount = 0
			WHERE project = $1 AND (free_messages <> 0 OR free_amount <> 0 OR granted_messages <> 0 OR granted_amount <> 0)`, []any{b.Project}},
		{`UPDATE project SET bound = $2 WHERE id = $1`, []any{b.Project, b.Bounds()}},
	} {
		if _, err := tx.ExecContext(ctx, ask.text, ask.args...); err != nil {
			return err
		}
	}
	return nil
}

// countBefore has what was used today and this month, while there was no budget, count for the one that there is now.
func (s *Store) countBefore(ctx context.Context, tx *sql.Tx, b *verify.BudgetState, now time.Time) error {
	today, hour := verify.Day(now), verify.UsageHour(now)
	first := verify.FirstDay(today)
	if first < today {
		before, err := usedBetween(ctx, tx, b.Project, int64(first)*24, int64(today)*24)
		if err == nil {
			err = addBefore(ctx, tx, b.Project, spent{day: first, Spending: before.Minus(b.Month.Minus(b.Day))})
		}
		if err != nil {
			return err
		}
	}
	since, err := usedBetween(ctx, tx, b.Project, int64(today)*24, int64(today+1)*24)
	if err != nil {
		return err
	}
	inHour, err := usedBetween(ctx, tx, b.Project, hour, hour+1)
	if err != nil {
		return err
	}
	if err := addBefore(ctx, tx, b.Project, spent{day: today, Spending: since.Minus(b.Day), hour: hour, hourMessages: max(inHour.Messages-b.Hour.Messages, 0)}); err != nil {
		return err
	}
	counted, err := readBudget(ctx, tx, b.Project, now)
	b.Spent = counted.Spent
	return err
}

// usedBetween is what was used of a budget from an hour on and before another. What is under way isn't used yet.
func usedBetween(ctx context.Context, tx *sql.Tx, key verify.ProjectID, from, until int64) (used verify.Spending, err error) {
	project, country := verify.SplitKey(key)
	where, args := `project = $3`, []any{from, until, project}
	switch {
	case project == "":
		where, args[2] = ofEachProject("usage_hour", "")+`country = $3`, country
	case country != "":
		where, args = where+` AND country = $4`, append(args, country)
	}
	err = tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(sum(messages), 0) AS BIGINT), CAST(COALESCE(sum(price), 0) AS BIGINT)
		FROM usage_hour WHERE hour >= $1 AND hour < $2 AND `+where, args...).Scan(&used.Messages, &used.Amount)
	return used, err
}

// addBefore adds to a budget what was used before it was there.
func addBefore(ctx context.Context, tx *sql.Tx, key verify.ProjectID, add spent) error {
	add.project, add.writer = key, folded
	add.Messages, add.Amount = max(add.Messages, 0), max(add.Amount, 0)
	_, err := tx.ExecContext(ctx, upsertSpent, spentLayout.arguments(&add)...)
	return err
}

// AddCredit enters a change of a project's balance, with its audit. It fails with [verify.ErrNoProject].
func (s *Store) AddCredit(_ context.Context, p verify.ProjectID, e verify.LedgerEntry, by ...Audit) (b verify.BudgetState, err error) {
	err = s.aloneCommitted(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		project, err := lockedProject(ctx, tx, p)
		if err != nil {
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
		if e.Kind == verify.LedgerTopUp {
			if err := beginBalance(ctx, tx, &b); err != nil {
				return err
			}
		}
		if e.Kind == verify.LedgerTopUp && project.Trial() {
			if !b.Prepaid {
				return fmt.Errorf("top up project %s: %w", p, verify.ErrTrialUnpaid)
			}
			if err := endTrial(ctx, tx, &project, &b, Audit{Actor: e.Actor, Action: "trial end", Detail: "by a top-up"}, now); err != nil {
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
