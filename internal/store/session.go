package store

import (
	"context"
)

// A session is the connection on which a writer runs its groups, in its engine's own words. What
// runs alone is written once, in words that all engines understand, and goes through database/sql.
type session interface {
	// begin starts a transaction that will write.
	begin(ctx context.Context) error
	// load reads the rows that a group names and locks them, in the order of their keys.
	load(ctx context.Context, group []op) (*rows, error)
	// save writes each row that changed, once; or notes it, for commit to write.
	save(ctx context.Context, r *rows) error
	// commit ends the transaction. Its error doesn't tell whether that happened, unless it is a [poisonError].
	commit(ctx context.Context, r *rows) error
	// rollback ends a transaction that may have ended by itself.
	rollback(ctx context.Context)
	// apart reports whether the operations of a group that failed may succeed one by one.
	apart(err error) bool
	// writerNumber is the number of whoever counts what its groups have used and spent.
	writerNumber() int
	close() error
}
