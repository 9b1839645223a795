package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

var operatorLayout = layout[operator.Operator]{
	idColumn("id", func(o *operator.Operator) *verify.ID { return &o.ID }),
	textColumn("name", func(o *operator.Operator) *string { return &o.Name }),
	textColumn("role", func(o *operator.Operator) *operator.Role { return &o.Role }),
	{"projects", textKind,
		func(c fields, o *operator.Operator) error { o.Projects = split[verify.ProjectID](c.text()); return nil },
		func(p parameters, o *operator.Operator) error { p.text(joined(o.Projects)); return nil }},
	timeColumn("created_at", func(o *operator.Operator) *time.Time { return &o.CreatedAt }),
	textColumn("password", func(o *operator.Operator) *string { return &o.Password }),
	numberColumn("key_id", func(o *operator.Operator) *uint32 { return &o.KeyID }),
	blobColumn("seed", func(o *operator.Operator) *[]byte { return &o.Seed }),
	numberColumn("step", func(o *operator.Operator) *int { return &o.Step }),
	numberColumn("failures", func(o *operator.Operator) *int { return &o.Failures }),
	timeColumn("wait_until", func(o *operator.Operator) *time.Time { return &o.WaitUntil }),
	blobColumn("link", func(o *operator.Operator) *[]byte { return &o.Link }),
	timeColumn("link_until", func(o *operator.Operator) *time.Time { return &o.LinkUntil }),
	textColumn("subject", func(o *operator.Operator) *string { return &o.Subject }),
}

var sessionLayout = layout[operator.Session]{
	idColumn("id", func(s *operator.Session) *verify.ID { return &s.ID }),
	idColumn("operator", func(s *operator.Session) *verify.ID { return &s.Operator }),
	blobColumn("hash", func(s *operator.Session) *[]byte { return &s.Hash }),
	timeColumn("created_at", func(s *operator.Session) *time.Time { return &s.CreatedAt }),
	timeColumn("used_at", func(s *operator.Session) *time.Time { return &s.UsedAt }),
	timeColumn("ends_at", func(s *operator.Session) *time.Time { return &s.EndsAt }),
	textColumn("address", func(s *operator.Session) *string { return &s.Address }),
	textColumn("agent", func(s *operator.Session) *string { return &s.Agent }),
}

var sourceLayout = layout[operator.Source]{
	textColumn("address", func(s *operator.Source) *string { return &s.Address }),
	numberColumn("failures", func(s *operator.Source) *int { return &s.Failures }),
	timeColumn("wait_until", func(s *operator.Source) *time.Time { return &s.WaitUntil }),
	timeColumn("tried_at", func(s *operator.Source) *time.Time { return &s.At }),
}

// signIn is the actor of what a person does who isn't signed in.
const signIn = "sign-in"

// operatorActor is how the audit log names an operator.
func operatorActor(o operator.Operator) string { return "operator " + o.Name }

// CreateOperator stores a new operator. It fails with [verify.ErrExists], and with [verify.ErrNoProject] if one of
// their projects isn't there.
func (s *Store) CreateOperator(_ context.Context, o operator.Operator, by ...Audit) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := projectsExist(ctx, tx, o.Projects); err != nil {
			return err
		}
		if err := insertOperator(ctx, tx, &o); err != nil {
			return err
		}
		return audits(ctx, tx, now, "", by)
	})
}

func projectsExist(ctx context.Context, tx *sql.Tx, all []verify.ProjectID) error {
	for _, p := range all {
		var exists bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM project WHERE id = $1)`, p).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			return verify.ErrNoProject
		}
	}
	return nil
}

// Operators lists all operators by name.
func (s *Store) Operators(ctx context.Context) ([]operator.Operator, error) {
	return readAll(ctx, s.lists, operatorLayout.scan, `SELECT `+operatorLayout.names()+` FROM operator ORDER BY name`)
}

// OperatorNamed implements [operator.Store].
func (s *Store) OperatorNamed(ctx context.Context, name string) (operator.Operator, error) {
	return foundOperator(pool.One(ctx, s.lists, operatorLayout.scan, `SELECT `+operatorLayout.names()+` FROM operator WHERE name = $1`, name))
}

func foundOperator(o operator.Operator, err error) (operator.Operator, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return operator.Operator{}, operator.ErrNoOperator
	}
	if err != nil {
		return operator.Operator{}, away("load operator", err)
	}
	return o, nil
}

// ChangeOperator changes an operator under their lock, and ends their sessions: what they were signed in as is no more.
// It fails with [operator.ErrNoOperator].
func (s *Store) ChangeOperator(_ context.Context, name string, change func(*operator.Operator) (Audit, error)) (o operator.Operator, err error) {
	err = s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) {
		if o, err = lockOperator(ctx, tx, "name", name); err != nil {
			return err
		}
		by, err := change(&o)
		if err != nil {
			return err
		}
		if err := projectsExist(ctx, tx, o.Projects); err != nil {
			return err
		}
		if err := updateOperator(ctx, tx, &o); err != nil {
			return err
		}
		if _, err := endSessions(ctx, tx, o.ID); err != nil {
			return err
		}
		if o.Password == "" { // a new link takes the second factors too
			if err := removePasskeys(ctx, tx, o.ID); err != nil {
				return err
			}
		}
		return audits(ctx, tx, now, "", []Audit{by})
	})
	return o, err
}

// RemoveOperator deletes an operator with their sessions. It fails with [operator.ErrNoOperator].
func (s *Store) RemoveOperator(_ context.Context, name string, by ...Audit) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		o, err := lockOperator(ctx, tx, "name", name)
		if err != nil {
			return err
		}
		if _, err := endSessions(ctx, tx, o.ID); err != nil {
			return err
		}
		if err := removePasskeys(ctx, tx, o.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM operator WHERE id = $1`, o.ID[:]); err != nil {
			return err
		}
		return audits(ctx, tx, now, "", by)
	})
}

// lockOperator locks an operator, where an engine locks rows, and reads them.
func lockOperator(ctx context.Context, tx *sql.Tx, column string, value any) (operator.Operator, error) {
	if _, err := tx.ExecContext(ctx, `UPDATE operator SET id = id WHERE `+column+` = $1`, value); err != nil {
		return operator.Operator{}, err
	}
	return foundOperator(operatorLayout.scan(tx.QueryRowContext(ctx, `SELECT `+operatorLayout.names()+` FROM operator WHERE `+column+` = $1`, value)))
}

// updateOperator writes all that can change.
func updateOperator(ctx context.Context, tx *sql.Tx, o *operator.Operator) error {
	_, err := tx.ExecContext(ctx, `UPDATE operator SET name = $2, role = $3, projects = $4, created_at = $5, password = $6, key_id = $7, seed = $8, step = $9,
		failures = $10, wait_until = $11, link = $12, link_until = $13, subject = $14 WHERE id = $1`, operatorLayout.arguments(o)...)
	return err
}

// ReplaceSeed implements [operator.SeedStore].
func (s *Store) ReplaceSeed(_ context.Context, o, before operator.Operator) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, `UPDATE operator SET key_id = $2, seed = $3 WHERE id = $1 AND key_id = $4 AND seed = $5`,
			o.ID[:], int64(o.KeyID), o.Seed, int64(before.KeyID), before.Seed)
		return err
	})
}

func endSessions(ctx context.Context, tx *sql.Tx, id verify.ID) (ended int64, err error) {
	result, err := tx.ExecContext(ctx, `DELETE FROM operator_session WHERE operator = $1`, id[:])
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// EndSessions ends all sessions of an operator. It fails with [operator.ErrNoOperator].
func (s *Store) EndSessions(_ context.Context, name string, by ...Audit) (ended int, err error) {
	err = s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		o, err := lockOperator(ctx, tx, "name", name)
		if err != nil {
			return err
		}
		n, err := endSessions(ctx, tx, o.ID)
		if err != nil {
			return err
		}
		ended = int(n)
		return audits(ctx, tx, now, "", by)
	})
	return ended, err
}

// ChargeSource implements [operator.Store].
func (s *Store) ChargeSource(_ context.Context, address string) (wait time.Duration, err error) {
	err = s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) {
		from, w, err := lockTrying(ctx, tx, now, address)
		if wait = w; err != nil || wait > 0 {
			return err
		}
		return chargeSource(ctx, tx, now, &from)
	})
	return wait, err
}

// RefundSource implements [operator.Store].
func (s *Store) RefundSource(_ context.Context, address string) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error { return refundSource(ctx, tx, address) })
}

// lockTrying locks an address from which somebody tries something, and says how long it has to wait instead. The first
// attempt during a wait is written down.
func lockTrying(ctx context.Context, tx *sql.Tx, now time.Time, address string) (from operator.Source, wait time.Duration, err error) {
	if from, err = lockSource(ctx, tx, address); err != nil {
		return from, 0, err
	}
	wait, first := from.Waits(now)
	if !first {
		return from, wait, nil
	}
	if err := audits(ctx, tx, now, "", []Audit{{Actor: signIn, Action: "sign-in refused", Detail: address + " tries during its wait; its further attempts in this wait aren't written down"}}); err != nil {
		return from, wait, err
	}
	return from, wait, updateSource(ctx, tx, &from)
}

// chargeSource charges an attempt to an address, and writes down a wait that this begins.
func chargeSource(ctx context.Context, tx *sql.Tx, now time.Time, from *operator.Source) error {
	from.Charge(now)
	if now.Before(from.WaitUntil) {
		if err := audits(ctx, tx, now, "", []Audit{{Actor: signIn, Action: "sign-in waits", Detail: from.Address + " waits " + from.WaitUntil.Sub(now).String() + " after this attempt"}}); err != nil {
			return err
		}
	}
	return updateSource(ctx, tx, from)
}

// refundSource takes back one charge of an address.
func refundSource(ctx context.Context, tx *sql.Tx, address string) error {
	from, err := lockSource(ctx, tx, address)
	if err != nil {
		return err
	}
	from.Refund()
	return updateSource(ctx, tx, &from)
}

// lockSource locks an address, which it adds if need be.
func lockSource(ctx context.Context, tx *sql.Tx, address string) (operator.Source, error) {
	if _, err := tx.ExecContext(ctx, `INSERT INTO sign_in_source (address, failures, wait_until, tried_at) VALUES ($1, 0, 0, 0)
		ON CONFLICT (address) DO UPDATE SET address = excluded.address`, address); err != nil {
		return operator.Source{}, err
	}
	return sourceLayout.scan(tx.QueryRowContext(ctx, `SELECT `+sourceLayout.names()+` FROM sign_in_source WHERE address = $1`, address))
}

func updateSource(ctx context.Context, tx *sql.Tx, from *operator.Source) error {
	_, err := tx.ExecContext(ctx, `UPDATE sign_in_source SET failures = $2, wait_until = $3, tried_at = $4 WHERE address = $1`, sourceLayout.arguments(from)...)
	return err
}

// SignIn implements [operator.Store].
func (s *Store) SignIn(_ context.Context, a operator.Attempt) error {
	var reason operator.Reason
	err := s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		o, err := lockOperator(ctx, tx, "id", a.Operator[:])
		if err != nil && !errors.Is(err, operator.ErrNoOperator) {
			return err
		}
		who := o.Name
		if err != nil {
			who, reason = "somebody", operator.ReasonUnknownName // a name that isn't there may be a password
		} else {
			if a.Passkey, err = lockPasskey(ctx, tx, o.ID, a.Proof); err != nil {
				return err
			}
			if reason = o.Decide(a, now); a.Passkey != nil {
				if err := updatePasskey(ctx, tx, a.Passkey); err != nil {
					return err
				}
			}
		}
		if err := updateOperator(ctx, tx, &o); err != nil { // also where nothing changed: the time tells nothing
			return err
		}
		if reason != "" {
			return auditRefusal(ctx, tx, now, "sign-in refused", who, a.Address, reason)
		}
		if err := refundSource(ctx, tx, a.Address); err != nil {
			return err
		}
		from := "from " + a.Address
		if a.Passkey != nil {
			from += " with the passkey " + a.Passkey.Name
		}
		return beginSession(ctx, tx, now, &a.Session, Audit{Actor: operatorActor(o), Action: "sign in", Detail: from})
	})
	if err == nil && reason != "" {
		return operator.ErrWrong
	}
	return err
}

func auditRefusal(ctx context.Context, tx *sql.Tx, now time.Time, action, who, address string, why operator.Reason) error {
	return audits(ctx, tx, now, "", []Audit{{Actor: signIn, Action: action, Detail: who + " from " + address + ": " + string(why)}})
}

// beginSession stores a session, and forgets what has ended: sessions of all, and addresses that nobody remembers.
func beginSession(ctx context.Context, tx *sql.Tx, now time.Time, begin *operator.Session, by Audit) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO operator_session (`+sessionLayout.names()+`) VALUES (`+sessionLayout.dollars()+`)`, sessionLayout.arguments(begin)...); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM operator_session WHERE ends_at <= $1 OR used_at <= $2`, millis(now), millis(now.Add(-operator.Idle))); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM sign_in_source WHERE tried_at <= $1`, millis(now.Add(-operator.SourceMemory))); err != nil {
		return err
	}
	return audits(ctx, tx, now, "", []Audit{by})
}

// Admit implements [operator.Store].
func (s *Store) Admit(_ context.Context, a operator.Admission) error {
	refused := a.Refused
	err := s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		known, err := lockOperator(ctx, tx, "subject", a.Operator.Subject)
		if err != nil && !errors.Is(err, operator.ErrNoOperator) {
			return err
		}
		first := err != nil
		if first && refused == "" {
			if refused, err = nameProblem(ctx, tx, &a.Operator); err != nil {
				return err
			}
		}
		if refused != "" {
			return refuseProvided(ctx, tx, now, known, a, refused)
		}
		if err := refundSource(ctx, tx, a.Address); err != nil {
			return err
		}
		if first {
			if err := insertOperator(ctx, tx, &a.Operator); err != nil {
				return err
			}
			if err := audits(ctx, tx, now, "", []Audit{{Actor: signIn, Action: "operator create", Detail: a.Operator.Granted() + ", by " + a.Issuer}}); err != nil {
				return err
			}
			known = a.Operator
		} else if !known.SameGrant(&a.Operator) {
			known.Role, known.Projects = a.Operator.Role, a.Operator.Projects
			if err := updateOperator(ctx, tx, &known); err != nil {
				return err
			}
			if _, err := endSessions(ctx, tx, known.ID); err != nil {
				return err
			}
			if err := audits(ctx, tx, now, "", []Audit{{Actor: signIn, Action: "operator role", Detail: known.Granted() + ", by " + a.Issuer}}); err != nil {
				return err
			}
		}
		a.Session.Operator = known.ID
		return beginSession(ctx, tx, now, &a.Session, Audit{Actor: operatorActor(known), Action: "sign in", Detail: "from " + a.Address + " by " + a.Issuer})
	})
	switch {
	case err == nil && refused == operator.NameTaken:
		return operator.ErrNameTaken
	case err == nil && refused != "":
		return operator.ErrNoGrant
	}
	return err
}

// nameProblem says whether a name can't be that of a new operator.
func nameProblem(ctx context.Context, tx *sql.Tx, o *operator.Operator) (operator.Reason, error) {
	if len(o.Problems()) > 0 {
		return operator.NameTaken, nil
	}
	_, err := lockOperator(ctx, tx, "name", o.Name)
	switch {
	case err == nil:
		return operator.NameTaken, nil
	case errors.Is(err, operator.ErrNoOperator):
		return "", nil
	}
	return "", err
}

// refuseProvided writes down that a person got no session, and ends those that they have. Their own word for themselves
// isn't written: an operator's name is.
func refuseProvided(ctx context.Context, tx *sql.Tx, now time.Time, known operator.Operator, a operator.Admission, why operator.Reason) error {
	who := known.Name
	if who == "" {
		who = "somebody"
	} else if _, err := endSessions(ctx, tx, known.ID); err != nil {
		return err
	}
	return auditRefusal(ctx, tx, now, "sign-in refused", who, a.Address, why)
}

func insertOperator(ctx context.Context, tx *sql.Tx, o *operator.Operator) error {
	result, err := tx.ExecContext(ctx, `INSERT INTO operator (`+operatorLayout.names()+`) VALUES (`+operatorLayout.dollars()+`) ON CONFLICT DO NOTHING`,
		operatorLayout.arguments(o)...)
	return changedOne(result, err, verify.ErrExists)
}

// OpenLink implements [operator.Store].
func (s *Store) OpenLink(_ context.Context, link []byte, address string, fresh func(*operator.Operator) error) (o operator.Operator, wait time.Duration, err error) {
	refused := false
	err = s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) {
		o, err = lockInvited(ctx, tx, link, now)
		if refused = errors.Is(err, operator.ErrLink); err != nil && !refused {
			return err
		}
		from, w, err := lockTrying(ctx, tx, now, address)
		if wait = w; err != nil || wait > 0 {
			return err
		}
		if refused {
			if err := auditLink(ctx, tx, now, o, address); err != nil {
				return err
			}
			return chargeSource(ctx, tx, now, &from)
		}
		if o.Seed != nil {
			return nil
		}
		if err := fresh(&o); err != nil {
			return err
		}
		return updateOperator(ctx, tx, &o)
	})
	if err == nil && wait == 0 && refused {
		err = operator.ErrLink
	}
	if err != nil || wait > 0 {
		o = operator.Operator{}
	}
	return o, wait, err
}

// lockInvited locks the operator of a link. Beside [operator.ErrLink], it returns the operator whose link is too old.
func lockInvited(ctx context.Context, tx *sql.Tx, link []byte, now time.Time) (operator.Operator, error) {
	o, err := lockOperator(ctx, tx, "link", link)
	if errors.Is(err, operator.ErrNoOperator) || err == nil && !o.Invited(now) {
		return o, operator.ErrLink
	}
	return o, err
}

// auditLink writes down that a link was refused: an old one of o, or one that is nobody's.
func auditLink(ctx context.Context, tx *sql.Tx, now time.Time, o operator.Operator, address string) error {
	who, why := o.Name, operator.ReasonOldLink
	if who == "" {
		who, why = "somebody", operator.ReasonUnknownLink
	}
	return auditRefusal(ctx, tx, now, "sign-in set-up refused", who, address, why)
}

// SetUp implements [operator.Store].
func (s *Store) SetUp(_ context.Context, link []byte, ready operator.Operator, begin operator.Session) error {
	refused := false
	err := s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		o, err := lockInvited(ctx, tx, link, now)
		if refused = errors.Is(err, operator.ErrLink); refused {
			return auditLink(ctx, tx, now, o, begin.Address)
		}
		if err != nil {
			return err
		}
		o.Password, o.Step, o.Link, o.LinkUntil = ready.Password, ready.Step, nil, time.Time{}
		if err := updateOperator(ctx, tx, &o); err != nil {
			return err
		}
		if _, err := endSessions(ctx, tx, o.ID); err != nil {
			return err
		}
		return beginSession(ctx, tx, now, &begin, Audit{Actor: operatorActor(o), Action: "sign-in set up", Detail: "password and second factor, from " + begin.Address})
	})
	if err == nil && refused {
		return operator.ErrLink
	}
	return err
}

// Session implements [operator.Store].
func (s *Store) Session(ctx context.Context, hash []byte) (operator.Session, operator.Operator, error) {
	found, err := pool.One(ctx, s.lists, sessionLayout.scan, `SELECT `+sessionLayout.names()+` FROM operator_session WHERE hash = $1`, hash)
	if errors.Is(err, sql.ErrNoRows) {
		return found, operator.Operator{}, operator.ErrNoSession
	}
	if err != nil {
		return found, operator.Operator{}, away("load session", err)
	}
	now := s.Now()
	if !found.Live(now) {
		return found, operator.Operator{}, operator.ErrNoSession
	}
	o, err := foundOperator(pool.One(ctx, s.lists, operatorLayout.scan, `SELECT `+operatorLayout.names()+` FROM operator WHERE id = $1`, found.Operator[:]))
	if errors.Is(err, operator.ErrNoOperator) {
		err = operator.ErrNoSession
	}
	if err != nil || now.Sub(found.UsedAt) < operator.Touch {
		return found, o, err
	}
	return found, o, s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		result, err := tx.ExecContext(ctx, `UPDATE operator_session SET used_at = $2 WHERE id = $1`, found.ID[:], millis(now))
		return changedOne(result, err, operator.ErrNoSession)
	})
}

// Sessions implements [operator.Store].
func (s *Store) Sessions(ctx context.Context, id verify.ID) ([]operator.Session, error) {
	now := s.Now()
	return readAll(ctx, s.lists, sessionLayout.scan, `SELECT `+sessionLayout.names()+` FROM operator_session WHERE operator = $1 AND ends_at > $2 AND used_at > $3 ORDER BY id`,
		id[:], millis(now), millis(now.Add(-operator.Idle)))
}

// EndSession implements [operator.Store].
func (s *Store) EndSession(_ context.Context, o operator.Operator, id verify.ID) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM operator_session WHERE id = $1 AND operator = $2`, id[:], o.ID[:])
		if err := changedOne(result, err, operator.ErrNoSession); err != nil {
			return err
		}
		return audits(ctx, tx, now, "", []Audit{{Actor: operatorActor(o), Action: "sign out", Detail: "session " + id.String()}})
	})
}
