package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

const (
	// earlyLife is how long a receipt waits for its message's attempt to be settled.
	earlyLife = 30 * time.Second
	// maxEarly is how many receipts wait: more are not taken, and carriers repeat them.
	maxEarly = 10_000
	// matchers is how many receipts a shutdown looks at concurrently.
	matchers = 128
)

// errEarly means that a receipt came before its attempt was settled, or belongs to nothing of ours.
var errEarly = errors.New("the attempt isn't settled")

// errForeign means that a carrier reports of a message that another one has.
var errForeign = errors.New("the attempt was another carrier's")

// Receive takes a carrier's receipt. A failed one moves on to another carrier, if there is one. A carrier
// reports of its own messages only. When a network is quicker than our own commit, its receipt waits in
// memory: whose message it is isn't on disk yet. A carrier that is unsure of its id is told
// [verify.ErrNotFound] instead.
func (d *Dispatcher) Receive(ctx context.Context, r carrier.Receipt) error {
	if d.receiveTrial(r) {
		return nil
	}
	err := d.receive(ctx, r)
	switch {
	case errors.Is(err, errForeign):
		d.unmatched(ctx, r, err)
		return nil
	case !errors.Is(err, errEarly):
		return err
	case r.Unsure:
		return fmt.Errorf("receipt of carrier %s: %w", r.Carrier, verify.ErrNotFound)
	case d.early.keep(waiting{r, d.config.Now(), d.config.Now()}):
		return nil
	}
	d.complain(slog.LevelError, "receipt refused: too many wait for their messages", verify.ErrBusy, "carrier", r.Carrier)
	return fmt.Errorf("receipt of carrier %s: %w", r.Carrier, verify.ErrBusy)
}

// unmatched notes down a receipt that says nothing.
func (d *Dispatcher) unmatched(ctx context.Context, r carrier.Receipt, why error) {
	d.config.Log.WarnContext(ctx, "receipt for no message that is known", attemptOf(r), "carrier", r.Carrier, "ref", r.Ref, "delivered", r.Delivered, "err", why)
	if d.config.Observer != nil {
		d.config.Observer.Unmatched(r.Carrier)
	}
}

// attemptOf names the attempt that a receipt says it is about, in the log.
func attemptOf(r carrier.Receipt) slog.Attr {
	if r.Verification.IsZero() {
		return slog.Attr{}
	}
	return slog.Group("", "verification", r.Verification, "attempt", r.Attempt)
}

// receive records a receipt in the database that knows its message.
func (d *Dispatcher) receive(ctx context.Context, r carrier.Receipt) error {
	if s := d.config.Siblings; s != nil {
		return s.receive(ctx, r)
	}
	return d.record(ctx, r)
}

// receiveTrial takes a receipt if it is a test message's.
func (d *Dispatcher) receiveTrial(r carrier.Receipt) bool {
	if s := d.config.Siblings; s != nil {
		return slices.ContainsFunc(s.joined(), func(d *Dispatcher) bool { return d.trials.receive(r) })
	}
	return d.trials.receive(r)
}

// record finds the attempt that a receipt is about and records it.
func (d *Dispatcher) record(ctx context.Context, r carrier.Receipt) (err error) {
	named := !r.Verification.IsZero()
	if !named {
		r.Verification, r.Attempt, err = d.config.Store.Find(ctx, r.Carrier, r.Ref)
		if errors.Is(err, verify.ErrNotFound) {
			return errEarly
		}
		if err != nil {
			return fmt.Errorf("receipt of carrier %s: %w", r.Carrier, err)
		}
	}
	receipt := verify.Receipt{Verification: r.Verification, Attempt: r.Attempt, Delivered: r.Delivered, Reason: r.Reason, Doubt: r.Doubt, Taken: r.Taken}
	if r.Taken {
		receipt.Watch = d.watchTaken(r.Carrier)
	}
	if named || !r.Delivered { // else the carrier's own id has found the carrier's own
		if receipt.Retry, receipt.Code, err = d.judge(ctx, r); err != nil {
			return fmt.Errorf("receipt for %v: %w", r.Verification, err)
		}
	}
	v, news, err := d.config.Store.Receive(ctx, receipt)
	if err != nil {
		return fmt.Errorf("receipt for %v: %w", r.Verification, err)
	}
	if r.Taken {
		if news != nil {
			d.config.Log.InfoContext(ctx, "the carrier has the message after all", "verification", v.ID, "attempt", r.Attempt, "carrier", r.Carrier)
		}
		return nil
	}
	if news != nil {
		if news.Carrier == "" { // the attempt of a replica that died
			news.Carrier = r.Carrier
		}
		d.logReceipt(ctx, r, news, v)
		if d.config.Observer != nil {
			d.config.Observer.Received(news, v.Reach().Region())
		}
	}
	if receipt.Retry && news != nil {
		d.lookNow()
	}
	return nil
}

// watchTaken is how long to wait for the receipt of a message that a carrier has after all.
func (d *Dispatcher) watchTaken(carrier string) time.Duration {
	if l := d.lines[carrier]; l != nil {
		return l.ReceiptTimeout
	}
	return 0
}

// logReceipt logs a receipt that says something new. Most messages arrive: that is said at debug level only.
func (d *Dispatcher) logReceipt(ctx context.Context, r carrier.Receipt, news *verify.Delivery, v *verify.Verification) {
	level := slog.LevelInfo
	if r.Delivered {
		level = slog.LevelDebug
	}
	if d.config.Log.Enabled(ctx, level) {
		d.config.Log.Log(ctx, level, "receipt", "verification", v.ID, "attempt", news.Attempt, "carrier", news.Carrier,
			"receipt", news.Receipt.String(), unlessEmpty("reason", news.ReceiptReason.String()), unlessEmpty("code", news.ReceiptCode), unlessEmpty("ref", news.Ref), "delivery", v.Delivery.String())
	}
}

// judge makes sure that a receipt is of the carrier that its attempt was made with, and decides whether
// a message that didn't arrive goes to another, and what may be shown of the carrier's code for that. Who had the
// attempt of a replica that died, nobody knows.
func (d *Dispatcher) judge(ctx context.Context, r carrier.Receipt) (retry bool, code string, err error) {
	v, err := d.config.Store.Verification(ctx, r.Verification)
	if err != nil {
		return false, "", err
	}
	history, err := d.config.Store.Deliveries(ctx, r.Verification)
	if err != nil {
		return false, "", err
	}
	i := slices.IndexFunc(history, func(h verify.Delivery) bool { return h.Attempt == r.Attempt })
	switch {
	case i < 0:
		return false, "", errEarly
	case history[i].Carrier != "" && history[i].Carrier != r.Carrier:
		return false, "", errForeign
	}
	if r.Delivered || r.Taken {
		return false, "", nil
	}
	history[i].Receipt, history[i].ReceiptReason, history[i].ReceiptAt = verify.ReceiptFailed, r.Reason, d.config.Now()
	return !d.spent(v, history) && len(d.untried(v, history)) > 0, d.shown(r.Code, v), nil
}

// A waiting is a receipt that came early.
type waiting struct {
	carrier.Receipt
	since time.Time
	next  time.Time // when to look again
}

// early are the receipts that wait. One that is looked at keeps its place, so that it can wait on.
type early struct {
	mu     sync.Mutex // guards all below
	all    []waiting
	looked int // at the moment
}

func (e *early) keep(w waiting) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.all)+e.looked >= maxEarly {
		return false
	}
	e.all = append(e.all, w)
	return true
}

// again has a receipt that was looked at wait on.
func (e *early) again(w waiting) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looked--
	e.all = append(e.all, w)
}

// done gives up the place of a receipt that was looked at.
func (e *early) done() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looked--
}

// rest takes out all that wait.
func (e *early) rest() []waiting {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = nil
	return all
}

// due takes out those that should be looked at. Call again or done for each.
func (e *early) due(now time.Time) (due []waiting) {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := e.all[:0]
	for _, w := range e.all {
		if w.next.After(now) {
			kept = append(kept, w)
		} else {
			due = append(due, w)
		}
	}
	clear(e.all[len(kept):])
	e.all, e.looked = kept, e.looked+len(due)
	return due
}

// match looks again for the messages of early receipts: often at first, then less and less.
func (d *Dispatcher) match(ctx context.Context) {
	now := d.config.Now()
	for _, w := range d.early.due(now) {
		if d.matchOne(ctx, w, now) {
			d.early.done()
			continue
		}
		w.next = now.Add(max(d.config.Tick, now.Sub(w.since)))
		d.early.again(w)
	}
}

// matchLast looks a last time for the messages of all early receipts, many concurrently, so that they share
// commits. Nobody has them when we are gone: their carriers were told that they are taken.
func (d *Dispatcher) matchLast() {
	all := d.early.rest()
	ctx, cancel := context.WithTimeout(context.Background(), leaveWait) // also where the disk hangs
	lost := atomic.Int64{}
	lost.Store(int64(len(all)))
	go func() {
		defer cancel()
		var matching sync.WaitGroup
		each := (len(all) + matchers - 1) / matchers
		for part := range slices.Chunk(all, max(each, 1)) {
			matching.Go(func() {
				for _, w := range part {
					if ctx.Err() == nil && d.matchOne(ctx, w, d.config.Now()) {
						lost.Add(-1)
					}
				}
			})
		}
		matching.Wait()
	}()
	<-ctx.Done()
	if n := lost.Load(); n > 0 {
		d.config.Log.Warn("receipts lost that came before their messages were settled", "count", n)
	}
}

// matchOne reports whether there is nothing more to do about an early receipt.
func (d *Dispatcher) matchOne(ctx context.Context, w waiting, now time.Time) (done bool) {
	if d.receiveTrial(w.Receipt) {
		return true
	}
	last := now.Sub(w.since) >= earlyLife
	err := d.receive(ctx, w.Receipt)
	switch {
	case err == nil:
	case last && errors.Is(err, errEarly), errors.Is(err, errForeign):
		d.unmatched(ctx, w.Receipt, err)
	case last:
		d.complain(slog.LevelError, "receipt not recorded", err, attemptOf(w.Receipt), "carrier", w.Carrier, "ref", w.Ref)
	default:
		return false
	}
	return true
}
