package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// folded is the writer of rows of usage_hour that are folded: one row stands for those of all writers, and is part of
// its day's row of usage_day. Lists by day, by month and for the whole time read the days, of which there are far
// fewer.
const folded = -1

// foldAfter is how long an hour is over when it is folded. Most receipts and approvals have come by then. What comes later is a
// row of its writer's own until the next time. An hour that isn't over stays as its writers have it: a fold would have them wait.
const foldAfter = 10 * time.Minute

// foldStep bounds how many rows a step folds in an SQLite file, where no other write goes on meanwhile.
const foldStep = 100

var (
	hourKeyLayout = usedKeyLayout[:len(usedKeyLayout)-1] // without the writer
	dayKeyLayout  = onDays(hourKeyLayout)
	dayLayout     = slices.Concat(dayKeyLayout, usedCountLayout)

	sumUsed   = usedCountLayout.list(func(_ int, f field[used]) string { return "CAST(sum(" + f.name + ") AS BIGINT)" })
	addDay    = ` ON CONFLICT (` + dayKeyLayout.names() + `) DO UPDATE SET ` + added(usedCountLayout, "excluded")
	upsertDay = `INSERT INTO usage_day AS u (` + dayLayout.names() + `) VALUES (` + dayLayout.dollars() + `)` + addDay

	selectFresh = `SELECT ` + usedKeyLayout.names() + ` FROM usage_hour WHERE writer >= 0 AND hour < $1 ORDER BY hour LIMIT $2`
	takeFresh   = `DELETE FROM usage_hour WHERE (` + usedKeyLayout.names() + `) IN (` + selectFresh + `) RETURNING ` + usedLayout.names()

	// pgFold does it in one statement, as each would be a way to the server and back. It passes rows over that a
	// writer is about to add to, and adds in the order of keys, as another replica does that folds.
	pgFold = pgFoldInto + `
		SELECT count(*) FROM gone`
	pgFoldInto = `WITH step AS MATERIALIZED (` + selectFresh + ` FOR UPDATE SKIP LOCKED),
		gone AS (DELETE FROM usage_hour u USING step s WHERE (` + usedKeyLayout.of("u") + `) = (` + usedKeyLayout.of("s") + `) RETURNING ` + usedLayout.of("u") + `),
		hours AS (INSERT INTO usage_hour AS u (` + usedLayout.names() + `) SELECT ` + hourKeyLayout.names() + `, ` + fmt.Sprint(folded) + `, ` + sumUsed +
		` FROM gone GROUP BY ` + hourKeyLayout.names() + ` ORDER BY ` + hourKeyLayout.names() + addUsed + `),
		days AS (INSERT INTO usage_day AS u (` + dayLayout.names() + `) SELECT ` + dayKeyLayout.names() + `, ` + sumUsed +
		` FROM (SELECT *, hour / 24 AS day FROM gone) g GROUP BY ` + dayKeyLayout.names() + ` ORDER BY ` + dayKeyLayout.names() + addDay + `)`
)

// onDays are the same columns with the day in place of the hour.
func onDays(hours layout[used]) layout[used] {
	days := slices.Clone(hours)
	i := slices.IndexFunc(days, func(f field[used]) bool { return f.name == "hour" })
	days[i] = field[used]{name: "day", kind: numberKind, write: func(p parameters, u *used) error { p.number(u.Hour / 24); return nil }}
	return days
}

// FoldUsage folds the usage of hours that are over. It writes only where there is some.
func (s *Store) FoldUsage(ctx context.Context) error {
	return inSteps(ctx, func(most int) (more bool, err error) {
		if !s.postgres {
			most = min(most, foldStep)
		}
		before := s.now().Add(-foldAfter).UnixMilli() / time.Hour.Milliseconds()
		_, err = pool.One(ctx, s.upkeep, scanValue[int], `SELECT 1 FROM usage_hour WHERE writer >= 0 AND hour < $1 LIMIT 1`, before)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, away("look for usage to fold", err)
		}
		n := 0
		err = s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) (err error) {
			n, err = s.foldSome(ctx, tx, before, most)
			return err
		})
		return n > 0, err
	})
}

// foldSome folds some rows of hours before another one, and returns how many.
func (s *Store) foldSome(ctx context.Context, tx *sql.Tx, before int64, most int) (n int, err error) {
	if s.postgres {
		text := pgFold
		if s.citus() != nil {
			text = citusFold
		}
		err = tx.QueryRowContext(ctx, text, before, most).Scan(&n)
		return n, err
	}
	fresh, err := query(ctx, tx, usedLayout.scan, takeFresh, before, most)
	for i := range fresh {
		u := &fresh[i]
		u.writer = folded
		if _, err := tx.ExecContext(ctx, upsertUsed, usedLayout.arguments(u)...); err != nil {
			return 0, err
		}
		if _, err := tx.ExecContext(ctx, upsertDay, dayLayout.arguments(u)...); err != nil {
			return 0, err
		}
	}
	return len(fresh), err
}

// foldedMonth is the writer of rows of spending that are of a whole month, under its first day.
const foldedMonth = -2

// spendingKept is how many days the rows of spending stay as their writers left them: nobody may spend of them any more, and
// ends of attempts seldom change them.
const spendingKept = 3

// foldSpending folds what was spent: each day's rows into one of writer -1, and those of months before the last into one of
// writer -2. No sum that a budget asks for changes by that.
func (s *Store) foldSpending(ctx context.Context) error {
	today := verify.Day(s.now())
	days, months := today-spendingKept, verify.FirstDay(verify.FirstDay(today)-1)
	const old = ` FROM spending WHERE writer >= 0 AND day < $1 OR writer = -1 AND day < $2`
	return inSteps(ctx, func(most int) (more bool, err error) {
		_, err = pool.One(ctx, s.upkeep, scanValue[int], `SELECT 1`+old+` LIMIT 1`, days, months)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, away("look for what was spent long ago", err)
		}
		n := 0
		err = s.aloneCommitted("", func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
			rows, err := query(ctx, tx, spentLayout.scan, `SELECT `+spentLayout.names()+old+` ORDER BY `+spentKeyLayout.names()+` LIMIT $3`+s.free(), days, months, most)
			n = len(rows)
			if err != nil {
				return err
			}
			return foldSpent(ctx, tx, rows, months)
		})
		return n > 0, err
	})
}

// foldSpent folds some rows. It adds in the order of keys, as another replica does that folds.
func foldSpent(ctx context.Context, tx *sql.Tx, rows []spent, months int) error {
	sums := map[spent]verify.Spending{}
	for _, r := range rows {
		if _, err := tx.ExecContext(ctx, `DELETE FROM spending WHERE project = $1 AND day = $2 AND writer = $3`, r.project, r.day, r.writer); err != nil {
			return err
		}
		into := spent{project: r.project, day: r.day, writer: folded}
		if r.day < months {
			into.day, into.writer = verify.FirstDay(r.day), foldedMonth
		}
		sums[into] = sums[into].Plus(r.Spending)
	}
	for _, into := range slices.SortedFunc(maps.Keys(sums), func(a, b spent) int {
		return a.key().compare(b.key())
	}) {
		into.Spending = sums[into]
		if _, err := tx.ExecContext(ctx, upsertSpent, spentLayout.arguments(&into)...); err != nil {
			return err
		}
	}
	return nil
}
