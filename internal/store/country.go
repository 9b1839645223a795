package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// Limits of countries are rows of the table budget, and are kept to as budgets are. Of those that count messages, the store
// remembers the keys, so that a start asks nobody whether there is one.

const selectCountryLimits = `SELECT project, max_price, hour_messages, day_messages, at, actor, note FROM budget WHERE country <> ''`

func scanCountryLimit(row scanner) (l verify.CountryLimit, err error) {
	var key verify.ProjectID
	var at int64
	err = row.Scan(&key, &l.MaxPrice, &l.HourMessages, &l.DayMessages, &at, &l.Actor, &l.Note)
	l.Project, l.Country = verify.SplitKey(key)
	l.At = fromMillis(at)
	return l, err
}

// CountryLimits lists the limits of countries, and remembers which of them count messages: from now on, starts keep to them.
func (s *Store) CountryLimits(ctx context.Context) ([]verify.CountryLimit, error) {
	all, err := readAll(ctx, s.hot, scanCountryLimit, selectCountryLimits+` ORDER BY country, project`)
	if err != nil {
		return nil, err
	}
	var counting map[verify.ProjectID]bool
	for _, l := range all {
		if !l.Counts() {
			continue
		}
		if counting == nil {
			counting = map[verify.ProjectID]bool{}
		}
		counting[l.Key()] = true
	}
	s.counting.Store(&counting)
	return all, nil
}

// CountryUse is how much of a country's limit is used.
func (s *Store) CountryUse(ctx context.Context, l verify.CountryLimit) (verify.Spent, error) {
	b, err := s.Budget(ctx, l.Key())
	return b.Spent, err
}

// ChangeCountryLimit has change decide on a country's limit as it is stored, and writes what came of it and the audit, in one
// transaction. One that bounds nothing is deleted. It holds on all servers within a second. change may run more than once. It
// fails with [verify.ErrNoProject].
func (s *Store) ChangeCountryLimit(_ context.Context, p verify.ProjectID, country string, change func(*verify.CountryLimit) ([]Audit, error)) (l verify.CountryLimit, err error) {
	key := verify.CountryKey(p, country)
	err = s.aloneCommitted(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if p != "" {
			if _, err := lockedProject(ctx, tx, p); err != nil {
				return fmt.Errorf("limit %s for project %s: %w", country, p, err)
			}
		}
		l = verify.NoCountryLimit(p, country)
		stored, err := query(ctx, tx, scanCountryLimit, selectCountryLimits+` AND project = $1`, key)
		if err != nil {
			return err
		}
		if len(stored) == 1 {
			l = stored[0]
		}
		counted := l.Counts()
		by, err := change(&l)
		if err != nil {
			return err
		}
		l.At = now
		if err := s.writeCountryLimit(ctx, tx, &l, !counted && l.Counts(), now); err != nil {
			return err
		}
		return audits(ctx, tx, now, p, by)
	})
	s.budgets.forget(key)
	return l, err
}

// writeCountryLimit writes a limit. What was sent before counts where nothing was counted before.
func (s *Store) writeCountryLimit(ctx context.Context, tx *sql.Tx, l *verify.CountryLimit, countBefore bool, now time.Time) error {
	if !l.Bounds() {
		_, err := tx.ExecContext(ctx, `DELETE FROM budget WHERE project = $1`, l.Key())
		return err
	}
	b := verify.NoBudget(l.Key())
	b.HourMessages, b.DayMessages = l.HourMessages, l.DayMessages
	if err := writeBudget(ctx, tx, &b); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE budget SET country = $2, max_price = $3, at = $4, actor = $5, note = $6 WHERE project = $1`,
		l.Key(), l.Country, l.MaxPrice, millis(l.At), l.Actor, l.Note); err != nil {
		return err
	}
	if !countBefore {
		return nil
	}
	state, err := readBudget(ctx, tx, l.Key(), now)
	if err != nil {
		return err
	}
	return s.countBefore(ctx, tx, &state, now)
}

var weightLayout = layout[verify.Weight]{
	textColumn("route", func(w *verify.Weight) *string { return &w.Route }),
	textColumn("carrier", func(w *verify.Weight) *string { return &w.Carrier }),
	numberColumn("weight", func(w *verify.Weight) *int { return &w.Weight }),
	timeColumn("at", func(w *verify.Weight) *time.Time { return &w.At }),
	textColumn("actor", func(w *verify.Weight) *string { return &w.Actor }),
	textColumn("note", func(w *verify.Weight) *string { return &w.Note }),
}

var (
	selectWeights = `SELECT ` + weightLayout.names() + ` FROM weight ORDER BY route, carrier`
	upsertWeight  = `INSERT INTO weight (` + weightLayout.names() + `) VALUES (` + weightLayout.dollars() + `)
		ON CONFLICT (route, carrier) DO UPDATE SET ` + weightLayout[2:].set("excluded")
)

// Weights lists the weights that carriers have in place of the configuration's.
func (s *Store) Weights(ctx context.Context) ([]verify.Weight, error) {
	return readAll(ctx, s.hot, weightLayout.scan, selectWeights)
}

// SetWeights has weights hold on all servers within a second, and writes that down.
func (s *Store) SetWeights(_ context.Context, all []verify.Weight, by ...Audit) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		for _, w := range all {
			w.At = now
			if _, err := tx.ExecContext(ctx, upsertWeight, weightLayout.arguments(&w)...); err != nil {
				return err
			}
		}
		return audits(ctx, tx, now, "", by)
	})
}

// ResetWeights has the configuration's weights hold for a route again, and writes that down. It fails with
// [verify.ErrNotWeighed].
func (s *Store) ResetWeights(_ context.Context, route string, by ...Audit) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM weight WHERE route = $1`, route)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, verify.ErrNotWeighed)
		}
		return audits(ctx, tx, now, "", by)
	})
}
