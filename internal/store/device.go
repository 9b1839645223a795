package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// Devices go with their users: the database deletes them, so that no way of deleting a user forgets them.
var deviceLayout = layout[verify.Device]{
	idColumn("id", func(d *verify.Device) *verify.ID { return &d.ID }),
	idColumn("application", func(d *verify.Device) *verify.ID { return &d.Application }),
	textColumn("app_user", func(d *verify.Device) *string { return &d.User }),
	textColumn("kind", func(d *verify.Device) *verify.DeviceKind { return &d.Kind }),
	textColumn("name", func(d *verify.Device) *string { return &d.Name }),
	textColumn("locale", func(d *verify.Device) *string { return &d.Locale }),
	blobColumn("fingerprint", func(d *verify.Device) *[]byte { return &d.Fingerprint }),
	numberColumn("key_id", func(d *verify.Device) *uint32 { return &d.KeyID }),
	blobColumn("sealed", func(d *verify.Device) *[]byte { return &d.Sealed }),
	timeColumn("used_at", func(d *verify.Device) *time.Time { return &d.UsedAt }),
}

// AddDevice implements [verify.DeviceStore].
func (s *Store) AddDevice(ctx context.Context, k verify.UserKey, d verify.Device, most int, by verify.ID) error {
	return s.aloneKeeping(ctx, k.Project, &d, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := lockUser(ctx, tx, k); err != nil {
			return err
		}
		return addDevice(ctx, tx, now, k, d, most, "device register", by)
	})
}

// addDevice stores a device of a user who is locked.
func addDevice(ctx context.Context, tx *sql.Tx, now time.Time, k verify.UserKey, d verify.Device, most int, action string, by verify.ID) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM device WHERE application = $1 AND fingerprint = $2`, k.Application[:], d.Fingerprint); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM device WHERE application = $1 AND app_user = $2`, k.Application[:], k.Name).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return verify.ErrTooManyDevices
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO device (`+deviceLayout.names()+`) VALUES (`+deviceLayout.dollars()+`)`, deviceLayout.arguments(&d)...); err != nil {
		return err
	}
	return auditDevice(ctx, tx, now, k, action, d.ID, keyActor(by))
}

// lockUser locks a user of a project's application, where an engine locks rows, or fails with [verify.ErrNoApplication]
// or [verify.ErrNoUser].
func lockUser(ctx context.Context, tx *sql.Tx, k verify.UserKey) error {
	owner, err := scanValue[verify.ProjectID](tx.QueryRowContext(ctx, selectOwner, k.Application[:]))
	if errors.Is(err, sql.ErrNoRows) || err == nil && owner != k.Project {
		return verify.ErrNoApplication
	}
	if err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, `UPDATE app_user SET version = version WHERE application = $1 AND name = $2`, k.Application[:], k.Name)
	return changedOne(result, err, verify.ErrNoUser)
}

// auditDevice writes down a change of a user's devices. The entry outlives the user, so it doesn't name them.
func auditDevice(ctx context.Context, tx *sql.Tx, now time.Time, k verify.UserKey, action string, device verify.ID, actor string) error {
	return audits(ctx, tx, now, k.Project, []Audit{{Actor: actor, Action: action, Detail: device.String() + " of a user of application " + k.Application.String()}})
}

// Devices implements [verify.DeviceStore].
func (s *Store) Devices(ctx context.Context, k verify.UserKey) ([]verify.Device, error) {
	if _, err := s.User(ctx, k); err != nil {
		return nil, err
	}
	return readAll(ctx, s.hot, deviceLayout.scan, `SELECT `+deviceLayout.names()+` FROM device WHERE application = $1 AND app_user = $2 ORDER BY id`, k.Application[:], k.Name)
}

// RemoveDevice implements [verify.DeviceStore].
func (s *Store) RemoveDevice(_ context.Context, k verify.UserKey, id verify.ID, actor string) error {
	return s.aloneFor(k.Project, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := lockUser(ctx, tx, k); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `DELETE FROM device WHERE id = $1 AND application = $2 AND app_user = $3`, id[:], k.Application[:], k.Name)
		if err := changedOne(result, err, verify.ErrNoDevice); err != nil {
			return err
		}
		return auditDevice(ctx, tx, now, k, "device remove", id, actor)
	})
}

// SettleDevices implements [verify.DeviceStore].
func (s *Store) SettleDevices(_ context.Context, k verify.UserKey, at time.Time, used, gone []verify.ID) error {
	return s.aloneOf(k.Project, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		for _, id := range used {
			if _, err := tx.ExecContext(ctx, `UPDATE device SET used_at = $4 WHERE id = $1 AND application = $2 AND app_user = $3`, id[:], k.Application[:], k.Name, millis(at)); err != nil {
				return err
			}
		}
		for _, id := range gone {
			if _, err := tx.ExecContext(ctx, `DELETE FROM device WHERE id = $1 AND application = $2 AND app_user = $3`, id[:], k.Application[:], k.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// DevicesOfOtherKeys implements [verify.DeviceStore].
func (s *Store) DevicesOfOtherKeys(ctx context.Context, key uint32, after verify.ID, n int) ([]verify.Device, error) {
	return readAll(ctx, s.upkeep, deviceLayout.scan, `SELECT `+deviceLayout.names()+` FROM device WHERE key_id <> $1 AND id > $2 ORDER BY id LIMIT $3`, int64(key), after[:], n)
}

// Reseal implements [verify.DeviceStore].
func (s *Store) Reseal(_ context.Context, d verify.Device, key uint32) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, `UPDATE device SET key_id = $2, sealed = $3 WHERE id = $1 AND key_id = $4`, d.ID[:], int64(d.KeyID), d.Sealed, int64(key))
		return err
	})
}
