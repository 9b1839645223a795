package store

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/internal/pgtest"
)

// A schema of an older version has no table of projects that move.
func TestASchemaOfAnOlderVersionIsToBeMigratedBeforeItMoves(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.Database(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error { return noProjectMoves(t.Context(), tx) })
	if !errors.Is(err, ErrOldSchema) {
		t.Errorf("got %v, want %v", err, ErrOldSchema)
	}
}
