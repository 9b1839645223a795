package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

var passkeyLayout = layout[operator.Passkey]{
	idColumn("id", func(k *operator.Passkey) *verify.ID { return &k.ID }),
	idColumn("operator", func(k *operator.Passkey) *verify.ID { return &k.Operator }),
	blobColumn("credential", func(k *operator.Passkey) *[]byte { return &k.Credential }),
	{"record", textKind,
		func(c fields, k *operator.Passkey) error { k.Record = []byte(c.text()); return nil },
		func(p parameters, k *operator.Passkey) error { p.text(string(k.Record)); return nil }},
	textColumn("name", func(k *operator.Passkey) *string { return &k.Name }),
	timeColumn("created_at", func(k *operator.Passkey) *time.Time { return &k.CreatedAt }),
	timeColumn("used_at", func(k *operator.Passkey) *time.Time { return &k.UsedAt }),
	idColumn("challenge", func(k *operator.Passkey) *verify.ID { return &k.Challenge }),
}

// Passkeys implements [operator.Store].
func (s *Store) Passkeys(ctx context.Context, id verify.ID) ([]operator.Passkey, error) {
	return readAll(ctx, s.lists, passkeyLayout.scan, `SELECT `+passkeyLayout.names()+` FROM operator_passkey WHERE operator = $1 ORDER BY id`, id[:])
}

// AddPasskey implements [operator.Store].
func (s *Store) AddPasskey(_ context.Context, o operator.Operator, k operator.Passkey, most int) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		locked, err := lockOperator(ctx, tx, "id", o.ID[:])
		if err != nil {
			return err
		}
		if locked.Password != o.Password { // a reset came meanwhile, which took all passkeys
			return operator.ErrPassword
		}
		if err := hasRoom(ctx, tx, `SELECT count(*) FROM operator_passkey WHERE operator = $1`, o.ID[:], most, operator.ErrTooManyPasskeys); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `INSERT INTO operator_passkey (`+passkeyLayout.names()+`) VALUES (`+passkeyLayout.dollars()+`) ON CONFLICT DO NOTHING`, passkeyLayout.arguments(&k)...)
		if err := changedOne(result, err, operator.ErrPasskey); err != nil {
			return err
		}
		return audits(ctx, tx, now, "", []Audit{{Actor: operatorActor(o), Action: "passkey add", Detail: k.Name}})
	})
}

// RefusePasskey implements [operator.Store].
func (s *Store) RefusePasskey(_ context.Context, o operator.Operator, address string) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		return auditRefusal(ctx, tx, now, "passkey refused", o.Name, address, operator.ReasonWrongPassword)
	})
}

// RemovePasskey implements [operator.Store].
func (s *Store) RemovePasskey(_ context.Context, o operator.Operator, id verify.ID) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM operator_passkey WHERE id = $1 AND operator = $2`, id[:], o.ID[:])
		if err := changedOne(result, err, operator.ErrNoPasskey); err != nil {
			return err
		}
		return audits(ctx, tx, now, "", []Audit{{Actor: operatorActor(o), Action: "passkey remove", Detail: id.String()}})
	})
}

// lockPasskey reads the passkey of a proof, of an operator who is locked: nil if they don't have it any more.
func lockPasskey(ctx context.Context, tx *sql.Tx, operatorID verify.ID, proof *operator.Proof) (*operator.Passkey, error) {
	if proof == nil {
		return nil, nil
	}
	k, err := passkeyLayout.scan(tx.QueryRowContext(ctx, `SELECT `+passkeyLayout.names()+` FROM operator_passkey WHERE id = $1 AND operator = $2`, proof.Passkey[:], operatorID[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &k, err
}

func updatePasskey(ctx context.Context, tx *sql.Tx, k *operator.Passkey) error {
	_, err := tx.ExecContext(ctx, `UPDATE operator_passkey SET record = $2, used_at = $3, challenge = $4 WHERE id = $1`, k.ID[:], string(k.Record), millis(k.UsedAt), k.Challenge[:])
	return err
}

func removePasskeys(ctx context.Context, tx *sql.Tx, operatorID verify.ID) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM operator_passkey WHERE operator = $1`, operatorID[:])
	return err
}
