package dispatch

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// next are the carriers that may still get a message, the one that was called least for it first, and
// the preferred one among equals. A carrier that refused it is out, whatever it said later, or had said
// before; and one that took it: from that one a second message would hardly do better.
func (d *Dispatcher) next(e verify.Envelope, history []verify.Delivery) []*line {
	names, _ := d.table.Route(&e)
	var all []*line
	for _, name := range names {
		if l := d.lines[name]; !done(l, history) {
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, func(a, b *line) int { return calls(a, history) - calls(b, history) })
	return all
}

// untried are those that have not been called for the message at all.
func (d *Dispatcher) untried(e verify.Envelope, history []verify.Delivery) []*line {
	all := d.next(e, history)
	n := slices.IndexFunc(all, func(l *line) bool { return calls(l, history) > 0 })
	if n < 0 {
		return all
	}
	return all[:n]
}

// done reports whether a carrier has answered for a message: it has it, may have it, or never will.
func done(l *line, history []verify.Delivery) bool {
	return slices.ContainsFunc(history, func(h verify.Delivery) bool {
		return h.Carrier == l.name() && h.Outcome != verify.Errored && h.Outcome != verify.Dropped
	})
}

func calls(l *line, history []verify.Delivery) (n int) {
	for _, h := range history {
		if h.Carrier == l.name() {
			n++
		}
	}
	return n
}

// closed returns the first line whose breaker lets a message pass. Without one, opens is when the first
// of them may.
func closed(all []*line, country string, now time.Time) (l *line, opens time.Time) {
	for _, l := range all {
		at := l.opens(country, now)
		if at.IsZero() {
			return l, at
		}
		if opens.IsZero() || at.Before(opens) {
			opens = at
		}
	}
	return nil, opens
}

// retry decides where and when a failed attempt is made up for: at once if there is a carrier that was
// called less often, else after a wait that grows.
func (d *Dispatcher) retry(end *verify.Settlement, l *line, j *job, after time.Duration) {
	history := append(slices.Clip(j.history), end.Delivery)
	if end.Outcome == verify.Unknown || verify.Messages(history) >= d.MaxMessages {
		return
	}
	all, now := d.next(j.verification.Envelope(), history), d.Now()
	if len(all) == 0 {
		return
	}
	end.Retry = true
	next, opens := closed(all, j.country, now)
	if next != nil && calls(next, history) < calls(l, history) {
		return // at once
	}
	end.RetryAt = now.Add(max(after, backoff(end.Attempt)))
	if end.RetryAt.Before(opens) {
		end.RetryAt = opens
	}
}

// backoff is the wait after attempt n, with jitter, so that what failed together doesn't return
// together.
func backoff(n int) time.Duration {
	d := min(firstBackoff<<min(n-1, 20), lastBackoff)
	return d/2 + rand.N(d/2+1)
}

// watch is how long to wait for the receipt of a message that a carrier has, or may have, before
// silence moves on: once in a message's life, if there is a carrier to move on to.
func (d *Dispatcher) watch(end *verify.Settlement, l *line, j *job) time.Duration {
	wait := l.ReceiptTimeout
	if wait == 0 {
		return 0
	}
	history := append(slices.Clip(j.history), end.Delivery)
	if verify.Messages(history) >= d.MaxMessages || verify.MovedOn(history) || len(d.untried(j.verification.Envelope(), history)) == 0 {
		return 0
	}
	if end.Outcome == verify.Unknown {
		wait *= 2
	}
	return wait
}
