package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/shard"
	"github.com/countersign/countersign/internal/verify"
)

// Siblings are the dispatchers of a process with several databases, one for each. They share the carriers: places,
// pace, calls and breakers are the process's, whichever database a message is from. Carriers bring their receipts to all
// of them, and the one whose database has the message takes it.
type Siblings struct {
	databases int

	mu       sync.RWMutex // guards all below
	carriers map[string]*common
	all      []*Dispatcher
}

// NewSiblings returns the siblings of a process with so many databases. A dispatcher joins them when it is made.
func NewSiblings(databases int) *Siblings {
	return &Siblings{databases: databases, carriers: map[string]*common{}}
}

// share has a new line share what its carrier's other lines have.
func (s *Siblings) share(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.carriers[l.name()]
	if c == nil {
		c = l.common
		c.calls = make(chan struct{}, l.Concurrency)
		s.carriers[l.name()] = c
	}
	l.common = c
}

func (s *Siblings) join(d *Dispatcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// IsFirst reports whether a dispatcher was the first to join; one without siblings is.
func (s *Siblings) IsFirst(d *Dispatcher) bool {
	if s == nil {
		return true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[0] == d
}

// joined are those whose database was opened.
func (s *Siblings) joined() []*Dispatcher {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.all)
}

// find returns the dispatcher whose database has something, or fails with [verify.ErrNotFound]. While a database that may
// have it is away, it fails with [verify.ErrNoStore].
func (s *Siblings) find(ctx context.Context, has func(context.Context, *Dispatcher) error) (*Dispatcher, error) {
	all := s.joined()
	i, err := shard.Find(ctx, all, func(ctx context.Context, d *Dispatcher) (bool, error) {
		return shard.Has(has(ctx, d), verify.ErrNotFound)
	})
	switch {
	case i != shard.None:
		return all[i], nil
	case err != nil:
		return nil, err
	case len(all) < s.databases:
		return nil, verify.ErrNoStore
	}
	return nil, verify.ErrNotFound
}

// Receive takes a carrier's receipt: see [Dispatcher.Receive].
func (s *Siblings) Receive(ctx context.Context, r carrier.Receipt) error {
	all := s.joined()
	if len(all) == 0 {
		return fmt.Errorf("receipt of carrier %s: %w", r.Carrier, verify.ErrNoStore)
	}
	return all[0].Receive(ctx, r)
}

// receive records a receipt in the database that has its message.
func (s *Siblings) receive(ctx context.Context, r carrier.Receipt) error {
	named := !r.Verification.IsZero()
	d, err := s.find(ctx, func(ctx context.Context, d *Dispatcher) (err error) {
		switch {
		case !named:
			_, _, err = d.own.Find(ctx, r.Carrier, r.Ref)
		case !d.flights.has(r.Verification):
			_, err = d.own.Verification(ctx, r.Verification)
		}
		return err
	})
	switch {
	case err == nil:
		return d.record(ctx, r)
	case !named && errors.Is(err, verify.ErrNotFound):
		return errEarly
	}
	return fmt.Errorf("receipt of carrier %s: %w", r.Carrier, err)
}

// Words returns an attempt's message once more: see [Dispatcher.Words].
func (s *Siblings) Words(ctx context.Context, carrier string, id verify.ID, attempt int) (m verify.Message, err error) {
	d, err := s.find(ctx, func(ctx context.Context, d *Dispatcher) error {
		if _, ok := d.trials.message(carrier, id); ok {
			return nil
		}
		_, err := d.own.Verification(ctx, id)
		return err
	})
	if err != nil {
		return m, fmt.Errorf("words for %v: %w", id, err)
	}
	return d.words(ctx, carrier, id, attempt)
}

// Close closes all dispatchers. The first one that joined is the last to end: it keeps the receipts that came early, also
// those of the others' messages.
func (s *Siblings) Close(ctx context.Context) {
	all := s.joined()
	if len(all) == 0 {
		return
	}
	var closing sync.WaitGroup
	for _, d := range all[1:] {
		closing.Go(func() { d.Close(ctx) })
	}
	closing.Wait()
	all[0].Close(ctx)
}
