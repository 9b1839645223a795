// Package pool owns the connections by which a store reads. It exists so that no read can be made
// without a limit: a [Pool] gives neither its database nor a connection away, [One] and [All] read
// their rows to the end, and both end with the pool's limit. The exception says so in its name.
package pool

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"
)

// A Row is a *sql.Row or *sql.Rows.
type Row interface{ Scan(dest ...any) error }

// A Pool is a few connections for one kind of read.
type Pool struct {
	db    *sql.DB
	size  int
	limit time.Duration

	mu         sync.Mutex           // guards statements
	statements map[string]*sql.Stmt // nil: none is kept
	forgetting sync.Mutex           // held while idle connections are closed
}

// New makes a pool of at most size connections, which it closes in the end. A read takes at most
// limit, with the wait for a connection.
func New(db *sql.DB, size int, limit time.Duration) *Pool {
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return &Pool{db: db, size: size, limit: limit}
}

// Prepared makes the pool keep a prepared statement for each text that it is asked. The texts must be few.
func (p *Pool) Prepared() *Pool {
	p.statements = map[string]*sql.Stmt{}
	return p
}

// One reads the first row of a question, or fails with [sql.ErrNoRows].
func One[T any](ctx context.Context, p *Pool, scan func(Row) (T, error), text string, args ...any) (v T, err error) {
	err = p.read(ctx, text, args, func(rows *sql.Rows) error {
		if !rows.Next() {
			return errors.Join(rows.Err(), sql.ErrNoRows)
		}
		v, err = scan(rows)
		return err
	})
	return v, err
}

// All reads all rows of a question.
func All[T any](ctx context.Context, p *Pool, scan func(Row) (T, error), text string, args ...any) (all []T, err error) {
	err = p.read(ctx, text, args, func(rows *sql.Rows) error {
		for rows.Next() {
			v, err := scan(rows)
			if err != nil {
				return err
			}
			all = append(all, v)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// read asks, and calls f with the answer, all within the limit.
func (p *Pool) read(ctx context.Context, text string, args []any, f func(*sql.Rows) error) (err error) {
	limited, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	defer func() {
		if limited.Err() != nil && ctx.Err() == nil {
			p.forget()
		}
	}()
	rows, err := p.query(limited, text, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	return f(rows)
}

func (p *Pool) query(ctx context.Context, text string, args []any) (*sql.Rows, error) {
	if p.statements == nil {
		return p.db.QueryContext(ctx, text, args...)
	}
	statement, err := p.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

func (p *Pool) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	p.mu.Lock()
	statement := p.statements[text]
	p.mu.Unlock()
	if statement != nil {
		return statement, nil
	}
	made, err := p.db.PrepareContext(ctx, text) // without the lock: others go on
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := p.statements[text]; other != nil {
		made.Close()
		return other, nil
	}
	p.statements[text] = made
	return made, nil
}

// forget closes the idle connections, after a read that got no answer: all of them may lead to a
// server that is gone, and each would make somebody wait to find that out. Each says goodbye first,
// which takes seconds where nobody listens. So nobody waits for it, and meanwhile none is kept.
func (p *Pool) forget() {
	if !p.forgetting.TryLock() {
		return
	}
	go func() {
		defer p.forgetting.Unlock()
		p.db.SetMaxIdleConns(-1)
		p.db.SetMaxIdleConns(p.size)
	}()
}

// Unlimited gives f a connection for as long as it wants, for what copies or checks a whole database.
func (p *Pool) Unlimited(ctx context.Context, f func(*sql.Conn) error) error {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return f(conn)
}

// InUse counts the connections that read at the moment, and Size those that there may be.
func (p *Pool) InUse() int { return p.db.Stats().InUse }
func (p *Pool) Size() int  { return p.size }

// Close closes all connections.
func (p *Pool) Close() error {
	p.forgetting.Lock()
	defer p.forgetting.Unlock()
	for _, s := range p.statements {
		s.Close()
	}
	return p.db.Close()
}
