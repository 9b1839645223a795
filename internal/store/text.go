package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// The last column is the texts: a list leaves them out.
var textLayout = layout[verify.TextTemplate]{
	idColumn("id", func(t *verify.TextTemplate) *verify.ID { return &t.ID }),
	textColumn("project", func(t *verify.TextTemplate) *verify.ProjectID { return &t.Project }),
	textColumn("name", func(t *verify.TextTemplate) *string { return &t.Name }),
	timeColumn("created_at", func(t *verify.TextTemplate) *time.Time { return &t.CreatedAt }),
	timeColumn("updated_at", func(t *verify.TextTemplate) *time.Time { return &t.UpdatedAt }),
	numberColumn("version", func(t *verify.TextTemplate) *int { return &t.Version }),
	{"texts", textKind,
		func(c fields, t *verify.TextTemplate) error { return json.Unmarshal([]byte(c.text()), &t.Texts) },
		func(p parameters, t *verify.TextTemplate) error { p.text(textsText(t.Texts)); return nil }},
}

func textsText(all []verify.Text) string {
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // never: strings
	}
	return string(text)
}

// CreateText implements [verify.TextStore].
func (s *Store) CreateText(ctx context.Context, t verify.TextTemplate, most int) error {
	return s.aloneKeeping(ctx, t.Project, &t, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		if err := lockProject(ctx, tx, t.Project); err != nil {
			return err
		}
		if err := hasRoom(ctx, tx, `SELECT count(*) FROM text_template WHERE project = $1`, t.Project, most, verify.ErrTooManyTemplates); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `INSERT INTO text_template (`+textLayout.names()+`) VALUES (`+textLayout.dollars()+`) ON CONFLICT DO NOTHING`,
			textLayout.arguments(&t)...)
		return changedOne(result, err, verify.ErrDuplicate)
	})
}

var selectText = `SELECT ` + textLayout.names() + ` FROM text_template WHERE project = $1 AND id = $2`

// Text implements [verify.TextStore].
func (s *Store) Text(ctx context.Context, p verify.ProjectID, id verify.ID) (verify.TextTemplate, error) {
	return foundText(pool.One(ctx, s.hot, textLayout.scan, selectText, p, id[:]))
}

// TextNamed implements [verify.TextStore].
func (s *Store) TextNamed(ctx context.Context, p verify.ProjectID, name string) (verify.TextTemplate, error) {
	return foundText(pool.One(ctx, s.hot, textLayout.scan, `SELECT `+textLayout.names()+` FROM text_template WHERE project = $1 AND name = $2`, p, name))
}

func foundText(t verify.TextTemplate, err error) (verify.TextTemplate, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return t, verify.ErrNoTemplate
	}
	if err != nil {
		return t, away("load template", err)
	}
	return t, nil
}

// Texts implements [verify.TextStore].
func (s *Store) Texts(ctx context.Context, p verify.ProjectID) ([]verify.TextTemplate, error) {
	done, err := s.takeTurn(ctx, p)
	if err != nil {
		return nil, err
	}
	defer done()
	brief := slices.Clone(textLayout[:len(textLayout)-1])
	return readAll(ctx, s.lists, brief.scan, `SELECT `+brief.names()+` FROM text_template WHERE project = $1 ORDER BY id`, p)
}

// UpdateText implements [verify.TextStore].
func (s *Store) UpdateText(_ context.Context, t verify.TextTemplate) error {
	return s.aloneFor(t.Project, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		if err := lockProject(ctx, tx, t.Project); err != nil {
			return err
		}
		if err := isVersion(ctx, tx, t.Project, t.ID, t.Version-1); err != nil {
			return err
		}
		var taken bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM text_template WHERE project = $1 AND name = $2 AND id <> $3)`,
			t.Project, t.Name, t.ID[:]).Scan(&taken); err != nil {
			return err
		}
		if taken {
			return verify.ErrDuplicate
		}
		result, err := tx.ExecContext(ctx, `UPDATE text_template SET name = $2, updated_at = $3, version = $4, texts = $5 WHERE id = $1 AND version = $4 - 1`,
			t.ID[:], t.Name, millis(t.UpdatedAt), t.Version, textsText(t.Texts))
		return changedOne(result, err, verify.ErrStale)
	})
}

// DeleteText implements [verify.TextStore].
func (s *Store) DeleteText(_ context.Context, p verify.ProjectID, id verify.ID, version int) error {
	return s.aloneFor(p, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		if err := isVersion(ctx, tx, p, id, version); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `DELETE FROM text_template WHERE project = $1 AND id = $2 AND version = $3`, p, id[:], version)
		return changedOne(result, err, verify.ErrStale) // where others write beside us
	})
}

// isVersion fails with [verify.ErrNoTemplate] or [verify.ErrStale] if a template isn't there in a version.
func isVersion(ctx context.Context, tx *sql.Tx, p verify.ProjectID, id verify.ID, version int) error {
	var stored int
	err := tx.QueryRowContext(ctx, `SELECT version FROM text_template WHERE project = $1 AND id = $2`, p, id[:]).Scan(&stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return verify.ErrNoTemplate
	case err != nil:
		return err
	case stored != version:
		return verify.ErrStale
	}
	return nil
}
