package dispatch

import (
	"cmp"
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A way is a carrier by which a message may go, and the channel. Some carriers serve several.
type way struct {
	*line
	channel   verify.Channel
	turn      int       // the channel's, after others
	calls     int       // for this message, so far
	before    int       // for the verification, before the message was resent
	notBefore time.Time // of a phone that is left alone for a while
}

// opens is when a message may go: zero for now.
func (w *way) opens(m passenger, now time.Time) time.Time {
	at := w.line.opens(m, now)
	if now.Before(w.notBefore) {
		at = later(at, w.notBefore)
	}
	return at
}

// ways are those by which a message may go: the carriers of its channel, the preferred one first, then those
// of the channels that it may go on by.
func (d *Dispatcher) ways(e verify.Envelope, then []verify.Channel) iter.Seq[way] {
	return func(yield func(way) bool) {
		for i := 0; ; i++ {
			names, _ := d.table.Load().Route(&e)
			for _, name := range names {
				if !yield(way{line: d.lines[name], channel: e.Channel, turn: i}) {
					return
				}
			}
			if i == len(then) {
				return
			}
			e.Channel = then[i]
		}
	}
}

// unserved says why no carrier can have a message: its number, if carriers have its channels for other numbers.
func (d *Dispatcher) unserved(e verify.Envelope, then []verify.Channel) error {
	for range d.ways(e, then) {
		return verify.ErrNoCarrier // some serve the number, but can't have this message
	}
	for _, c := range append([]verify.Channel{e.Channel}, then...) {
		if e.Channel = c; d.table.Load().ServesOthers(&e) {
			return verify.ErrNotServed
		}
	}
	return verify.ErrNoCarrier
}

// next are the ways that a message may still go, those first where least was called for it. A carrier that
// refused it is out, whatever it said later, or had said before; and one that took it: from that one a
// second message would hardly do better. A phone that rang decides for all carriers: see [verify.Redial].
//
// A resend asks all of them again. Of a channel's carriers, those come first that haven't had the message before.
func (d *Dispatcher) next(v *verify.Verification, history []verify.Delivery) (all []way) {
	round := v.Round(history)
	redial, may := verify.Redial(v, history, d.config.Now())
	for w := range d.ways(v.Envelope(), v.Then()) {
		if w.channel.IsCall() {
			if !may {
				continue
			}
			w.notBefore = redial
		}
		if d.dearNext(w, v) {
			continue
		}
		if w.count(v, round) {
			earlier := way{line: w.line, channel: w.channel}
			earlier.count(v, history[:len(history)-len(round)])
			w.before = earlier.calls
			all = append(all, w)
		}
	}
	slices.SortStableFunc(all, func(a, b way) int { return cmp.Or(a.calls-b.calls, a.turn-b.turn, a.before-b.before) })
	return all
}

// count counts the calls, without those that we ended ourselves: they say nothing of the carrier, whose
// turn it still is. It reports whether the carrier hasn't answered for the message: it has it, may
// have it, or never will.
func (w *way) count(v *verify.Verification, history []verify.Delivery) (open bool) {
	open = true
	for i := range history {
		h := &history[i]
		if h.Carrier != w.name() || cmp.Or(h.Channel, v.Channel) != w.channel {
			continue
		}
		if h.Outcome == verify.AttemptErrored && !h.Reason.Turn() {
			continue
		}
		w.calls++
		if h.Outcome != verify.AttemptErrored && h.Outcome != verify.AttemptDropped {
			open = false
		}
	}
	return open
}

// untried are those on which nobody has been called for the message at all, and by which it may go now.
func (d *Dispatcher) untried(v *verify.Verification, history []verify.Delivery) []way {
	now := d.config.Now()
	all := slices.DeleteFunc(d.next(v, history), func(w way) bool { return now.Before(w.notBefore) })
	n := slices.IndexFunc(all, func(w way) bool { return w.calls > 0 })
	if n < 0 {
		return all
	}
	return all[:n]
}

// passable returns the first way whose breaker lets a message pass, or nil.
func passable(all []way, m passenger, now time.Time) *way {
	if i := slices.IndexFunc(all, func(w way) bool { return w.opens(m, now).IsZero() }); i >= 0 {
		return &all[i]
	}
	return nil
}

// lookAgain is when a replica should look again at a message that no breaker of ours lets pass.
func (d *Dispatcher) lookAgain(all []way, id verify.ID, m passenger, now time.Time) (first time.Time) {
	for i := range all {
		at := all[i].line.opens(m, now)
		if most := now.Add(ownTrouble(id, now)); d.config.Shared && at.After(most) {
			at = most
		}
		if at = later(at, all[i].notBefore); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// ownTrouble is how long a breaker of ours may keep a message from other replicas, whose link to the carrier may
// work. An old message is put off for longer, so that it isn't written every other second while its code lives.
func ownTrouble(id verify.ID, now time.Time) time.Duration {
	return max(shortTrouble, now.Sub(id.Time())/8)
}

// retry decides where and when a failed attempt is made up for: at once if there is a carrier that was
// called less often, else after a wait that grows.
func (d *Dispatcher) retry(end *verify.Settlement, l *line, j *job, after time.Duration) {
	history := append(slices.Clip(j.history), end.Delivery)
	if end.Outcome == verify.AttemptUnknown || d.spent(j.verification, history) {
		return
	}
	all, now := d.next(j.verification, history), d.config.Now()
	if len(all) == 0 {
		return
	}
	end.Retry = true
	failed := way{line: l, channel: j.message.Channel}
	failed.count(j.verification, j.verification.Round(history))
	next := passable(all, j.passenger(), now)
	if next != nil && next.calls < failed.calls { // at once
		channel := next.channel
		if !end.FreeNext(channel) || d.dearer(*next, j) {
			return // the poller claims it
		}
		fewer := slices.DeleteFunc(all, func(w way) bool { return w.calls >= failed.calls || w.channel != channel || d.dearer(w, j) })
		if w, ok := d.book(fewer, j.passenger(), now); ok {
			j.next, end.Next = &w, d.config.Lease
		}
		return
	}
	end.RetryAt = now.Add(max(after, backoff(end.Attempt)))
	if next == nil {
		end.RetryAt = later(end.RetryAt, d.lookAgain(all, j.verification.ID, j.passenger(), now))
	}
}

// dearer reports whether the next attempt by a way takes more of the project's budget than this one holds. A settlement
// takes nothing more: a claim does.
func (d *Dispatcher) dearer(w way, j *job) bool {
	held := j.verification.Held
	return held.Day != 0 && d.priceNext(w, j.verification, j.passenger()) > held.Price
}

// spent reports whether so many messages of v have gone out, or may have, that we send none of our own accord any
// more. Those that its caller asked for come on top.
func (d *Dispatcher) spent(v *verify.Verification, history []verify.Delivery) bool {
	return verify.Messages(history) >= d.config.MaxMessages+v.Resent.Count
}

// goOn makes the attempt that a settlement has committed the lease of, on the place that retry booked. The
// verification is as it was settled, or nil: without the lease, the place is given back.
func (d *Dispatcher) goOn(end verify.Settlement, v *verify.Verification, j *job) {
	d.flights.begin(j.verification.ID)
	if v == nil || v.Delivery != verify.DeliverySending || v.Attempt != end.Attempt+1 ||
		!d.begin(context.Background(), *j.next, v, append(slices.Clip(j.history), end.Delivery), j.passenger(), j.request) {
		d.flights.end(j.verification.ID)
		j.next.spare(j.passenger())
		d.release(j.next.line, j.verification.Project)
	}
}

// backoff is the wait after attempt n, with jitter, so that what failed together doesn't return
// together.
func backoff(n int) time.Duration {
	d := min(firstBackoff<<min(n-1, 20), lastBackoff)
	return d/2 + rand.N(d/2+1)
}

// watch is how long to wait for word of a message that a carrier has, or may have, before another carrier gets it.
// Silence of one that has it moves on once after a start or a resend. A text or a push that may be lost moves on each time,
// until enough messages may have gone out.
func (d *Dispatcher) watch(end *verify.Settlement, l *line, j *job) time.Duration {
	wait, doubt := l.ReceiptTimeout, end.Outcome == verify.AttemptUnknown
	if doubt {
		wait *= 2
		if l.UnknownTimeout > 0 && !j.message.Channel.IsCall() {
			wait = l.UnknownTimeout
		}
	}
	if wait == 0 {
		return 0
	}
	history := append(slices.Clip(j.history), end.Delivery)
	if d.spent(j.verification, history) || !doubt && verify.MovedOn(j.verification.Round(history)) || len(d.untried(j.verification, history)) == 0 {
		return 0
	}
	return wait
}
