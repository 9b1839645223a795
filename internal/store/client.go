package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// told is a prompt that says who asked.
type told struct {
	id     verify.ID
	prompt string
}

func scanTold(row scanner) (p told, err error) {
	var id []byte
	err = row.Scan(&id, &p.prompt)
	copy(p.id[:], id)
	return p, err
}

// needless are prompts that say who asked and that no device shows any more. Most verifications forget who asked in the
// write that ends them. These ended without one: by time, by a newer one, with their user, or by a restore.
const needless = `SELECT id, prompt FROM verification v WHERE prompt LIKE '%"Client"%' AND id > $1
	AND (status <> 0 OR expires_at <= $2 OR NOT EXISTS (SELECT 1 FROM app_user u WHERE u.application = v.application AND u.name = v.app_user AND u.latest = v.id))
	ORDER BY id LIMIT $3`

// ForgetClients forgets who asked for what has ended.
func (s *Store) ForgetClients(ctx context.Context) error {
	var after verify.ID
	return inSteps(ctx, func(most int) (more bool, err error) {
		found, err := readAll(ctx, s.upkeep, scanTold, needless, after[:], millis(s.now()), most)
		if err != nil || len(found) == 0 {
			return false, err
		}
		if err := s.forgetClients(found); err != nil {
			return false, err
		}
		after = found[len(found)-1].id
		return true, nil
	})
}

// forgetClients does so with some, unless a device has answered meanwhile.
func (s *Store) forgetClients(some []told) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		for _, t := range some {
			var p verify.Prompt
			if err := json.Unmarshal([]byte(t.prompt), &p); err != nil {
				return fmt.Errorf("prompt of %v: %w", t.id, err)
			}
			p.Client = verify.Client{}
			if _, err := tx.ExecContext(ctx, `UPDATE verification SET prompt = $2 WHERE id = $1 AND prompt = $3`, t.id[:], promptText(&p), t.prompt); err != nil {
				return err
			}
		}
		return nil
	})
}
