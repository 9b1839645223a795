package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

var templateLayout = layout[verify.MessageTemplate]{
	idColumn("id", func(t *verify.MessageTemplate) *verify.ID { return &t.ID }),
	textColumn("project", func(t *verify.MessageTemplate) *verify.ProjectID { return &t.Project }),
	textColumn("designation", func(t *verify.MessageTemplate) *string { return &t.Designation }),
	textColumn("name", func(t *verify.MessageTemplate) *string { return &t.Name }),
	textColumn("pattern", func(t *verify.MessageTemplate) *string { return &t.Pattern }),
	timeColumn("created_at", func(t *verify.MessageTemplate) *time.Time { return &t.CreatedAt }),
	timeColumn("updated_at", func(t *verify.MessageTemplate) *time.Time { return &t.UpdatedAt }),
	numberColumn("version", func(t *verify.MessageTemplate) *int { return &t.Version }),
}

// CreateTemplate implements [verify.TemplateStore].
func (s *Store) CreateTemplate(ctx context.Context, t verify.MessageTemplate, most int) error {
	return s.aloneKeeping(ctx, t.Project, &t, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		if err := lockProject(ctx, tx, t.Project); err != nil {
			return err
		}
		if err := hasRoom(ctx, tx, `SELECT count(*) FROM message_template WHERE project = $1`, t.Project, most, verify.ErrTooManyTemplates); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `INSERT INTO message_template (`+templateLayout.names()+`) VALUES (`+templateLayout.dollars()+`) ON CONFLICT DO NOTHING`,
			templateLayout.arguments(&t)...)
		return changedOne(result, err, verify.ErrDuplicate)
	})
}

var selectTemplate = `SELECT ` + templateLayout.names() + ` FROM message_template WHERE project = $1 AND id = $2`

// Template implements [verify.TemplateStore].
func (s *Store) Template(ctx context.Context, p verify.ProjectID, id verify.ID) (verify.MessageTemplate, error) {
	return foundTemplate(pool.One(ctx, s.hot, templateLayout.scan, selectTemplate, p, id[:]))
}

// FindTemplate implements [verify.TemplateStore].
func (s *Store) FindTemplate(ctx context.Context, p verify.ProjectID, id verify.ID, name string) (verify.MessageTemplate, error) {
	if t, err := s.Template(ctx, p, id); err == nil || !errors.Is(err, verify.ErrNoTemplate) {
		return t, err
	}
	return foundTemplate(pool.One(ctx, s.hot, templateLayout.scan, `SELECT `+templateLayout.names()+` FROM message_template WHERE project = $1 AND name = $2`, p, name))
}

func foundTemplate(t verify.MessageTemplate, err error) (verify.MessageTemplate, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return t, verify.ErrNoTemplate
	}
	if err != nil {
		return t, away("load template", err)
	}
	return t, nil
}

// Templates implements [verify.TemplateStore].
func (s *Store) Templates(ctx context.Context, p verify.ProjectID) ([]verify.MessageTemplate, error) {
	done, err := s.takeTurn(ctx, p)
	if err != nil {
		return nil, err
	}
	defer done()
	return readAll(ctx, s.lists, templateLayout.scan, `SELECT `+templateLayout.names()+` FROM message_template WHERE project = $1 ORDER BY id`, p)
}

// UpdateTemplate implements [verify.TemplateStore].
func (s *Store) UpdateTemplate(_ context.Context, t verify.MessageTemplate) error {
	return s.aloneFor(t.Project, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		stored, err := foundTemplate(templateLayout.scan(tx.QueryRowContext(ctx, selectTemplate, t.Project, t.ID[:])))
		if err != nil {
			return err
		}
		if stored.Version != t.Version-1 {
			return verify.ErrStale
		}
		var taken bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM message_template WHERE project = $1 AND name = $2 AND id <> $3)`,
			t.Project, t.Name, t.ID[:]).Scan(&taken); err != nil {
			return err
		}
		if taken {
			return verify.ErrDuplicate
		}
		result, err := tx.ExecContext(ctx, `UPDATE message_template SET designation = $2, name = $3, pattern = $4, updated_at = $5, version = $6
			WHERE id = $1 AND version = $6 - 1`, t.ID[:], t.Designation, t.Name, t.Pattern, millis(t.UpdatedAt), t.Version)
		return changedOne(result, err, verify.ErrStale) // where others write beside us
	})
}

// DeleteTemplate implements [verify.TemplateStore].
func (s *Store) DeleteTemplate(_ context.Context, p verify.ProjectID, id verify.ID) error {
	return s.aloneFor(p, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM message_template WHERE project = $1 AND id = $2`, p, id[:])
		return changedOne(result, err, verify.ErrNoTemplate)
	})
}
