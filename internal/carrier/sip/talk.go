package sip

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

const (
	confirmTimes = 3               // "To hear your code, press 1" is said so often
	confirmWait  = 3 * time.Second // behind each
	askTimes     = 3               // a question is asked so often
	askWait      = 5 * time.Second // for the key, behind each
	// askEarly is how long the callee can't have heard a word: a key answers something else, such as
	// "to accept the call, press 1" of whoever put him through.
	askEarly   = 500 * time.Millisecond
	againTimes = 3               // the code can be heard so many times more
	againWait  = 4 * time.Second // for the key that asks for it
	tail       = 300 * time.Millisecond

	// quietTime is how long the other side may send no sound until we ask whether it is there. Some
	// send none at all.
	quietTime = 5 * time.Second

	// maxUnsent is how many packets in a row may not leave until nobody is taken to listen.
	maxUnsent = 50
)

// What ends a talk before its time.
var (
	errHungUp = errors.New("the other side hung up")
	errLost   = errors.New("the trunk doesn't answer any more")
	errNoKey  = errors.New("nobody pressed a key")
	errNo     = errors.New("the callee says that it wasn't he who asked")
	errTime   = errors.New("the call takes longer than it may")
)

// A talk says a script, or asks a question, frame by frame.
type talk struct {
	*call
	script   speech.Script
	first    bool             // a key, and then the code
	question *speech.Question // instead, if it isn't nil

	due    time.Time // of the next frame
	sent   int       // samples of the code's part, at most
	saidAt time.Time // when the code had been said once
	seenAt time.Time // when the other side was last known to be there
	asking chan bool // the answer to whether it is; nil if nobody asks
	asks   sync.WaitGroup
	unsent int // packets, since one left
}

func (t *talk) said() bool { return !t.saidAt.IsZero() }

// run says all there is to say. Its error says why it couldn't.
func (t *talk) run(ctx context.Context) error {
	defer t.asks.Wait()
	ctx, cancel := context.WithTimeoutCause(ctx, t.c.Talk, errTime)
	defer cancel()
	t.due = time.Now()
	t.seenAt = t.due
	if t.question != nil {
		return t.ask(ctx)
	}
	if t.first {
		if err := t.confirm(ctx); err != nil {
			return err
		}
	}
	for range 1 + againTimes {
		key, err := t.tell(ctx)
		if err != nil || key != '1' {
			return err
		}
	}
	return nil
}

// ask asks until a key is pressed that means something.
func (t *talk) ask(ctx context.Context) error {
	question := t.question.Ask
	said, err := t.begin(ctx, question)
	if err != nil {
		return err
	}
	for range askTimes {
		key, err := t.play(ctx, question[said:], askWait)
		said = 0
		switch {
		case t.decides(key):
			t.play(ctx, t.question.Thanks, tail) // who hangs up now has said all
			return nil
		case t.hungUp() && t.pressedLast():
			return nil
		case err != nil:
			return err
		}
	}
	return errNoKey
}

// begin says the part of a question in which it can't be answered, and drops the keys of that time.
func (t *talk) begin(ctx context.Context, question []byte) (said int, err error) {
	for said < int(askEarly*speech.Rate/time.Second) {
		if err := t.step(ctx, t.next(question, &said)); err != nil {
			return 0, err
		}
	}
	for {
		select {
		case <-t.keys:
		default:
			return said, nil
		}
	}
}

// decides notes what a key says, if it says anything.
func (t *talk) decides(key byte) bool {
	switch key {
	case '1':
		t.Verdict = verify.Approves
	case '9':
		t.Verdict = verify.Rejects
	default:
		return false
	}
	return true
}

// pressedLast looks for a key that was pressed right before the callee hung up.
func (t *talk) pressedLast() bool {
	for {
		select {
		case key := <-t.keys:
			if t.decides(key) {
				return true
			}
		default:
			return false
		}
	}
}

// confirm waits for a key, whichever.
func (t *talk) confirm(ctx context.Context) error {
	for range confirmTimes {
		key, err := t.play(ctx, t.script.Confirm, 0)
		if key == 0 && err == nil {
			key, err = t.play(ctx, nil, confirmWait)
		}
		if key != 0 || err != nil {
			return err
		}
	}
	return errNoKey
}

// tell says the code, offers to say it again, and returns the key that was pressed, if any. Keys
// that are pressed before the offer count as well, but cut nothing short of it.
func (t *talk) tell(ctx context.Context) (key byte, err error) {
	t.sent = 0
	for t.sent < len(t.script.Code) {
		if err := t.step(ctx, t.next(t.script.Code, &t.sent)); err != nil {
			return 0, err
		}
		if t.sent >= t.script.Once && !t.said() {
			t.saidAt = time.Now()
		}
	}
	if key, err = t.play(ctx, t.script.Again, againWait); key != 0 || err != nil {
		return key, err
	}
	_, err = t.play(ctx, nil, tail)
	return 0, err
}

// play says something, then nothing for a while, until a key is pressed.
func (t *talk) play(ctx context.Context, sound []byte, wait time.Duration) (key byte, err error) {
	at := 0
	for end := len(sound) + int(wait*speech.Rate/time.Second); at < end; {
		select {
		case key := <-t.keys:
			return key, nil
		default:
		}
		var next []byte
		if at < len(sound) {
			next = t.next(sound, &at)
		} else {
			at += frame
		}
		if err := t.step(ctx, next); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// next cuts a frame from a sound.
func (t *talk) next(sound []byte, at *int) []byte {
	from := *at
	*at = min(from+frame, len(sound))
	return sound[from:*at]
}

// step sends one frame at its time, which doesn't depend on when the one before it was sent: what
// is late once doesn't make all that follows late.
func (t *talk) step(ctx context.Context, sound []byte) error {
	wait := time.Until(t.due)
	if wait < -maxLate {
		t.due = t.due.Add(-wait)
		t.Late -= wait
	}
	if err := t.pause(ctx, max(0, wait)); err != nil {
		return err
	}
	if err := t.held(ctx); err != nil {
		return err
	}
	t.unsent++
	if t.media.send(sound) == nil {
		t.unsent = 0
	}
	if t.unsent >= maxUnsent {
		return errLost
	}
	t.due = t.due.Add(frameTime)
	return t.watch(ctx)
}

// held waits as long as the other side holds the call: who doesn't listen misses nothing.
func (t *talk) held(ctx context.Context) error {
	for t.media.held() {
		if err := t.pause(ctx, frameTime); err != nil {
			return err
		}
		if err := t.watch(ctx); err != nil {
			return err
		}
		t.due = time.Now()
		t.media.started = false
	}
	return nil
}

// pause waits, unless the call ends.
func (t *talk) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-t.over:
		return errHungUp
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch looks whether the other side is there: its sound says so, or an answer.
func (t *talk) watch(ctx context.Context) error {
	select {
	case alive := <-t.asking:
		t.asking = nil
		if !alive {
			return errLost
		}
		t.seenAt = time.Now()
	default:
	}
	if heard := time.Unix(0, t.media.heard.Load()); heard.After(t.seenAt) {
		t.seenAt = heard
	}
	if t.asking == nil && time.Since(t.seenAt) > quietTime {
		asking := make(chan bool, 1)
		t.asking = asking
		t.asks.Go(func() { asking <- t.alive(ctx) })
	}
	return nil
}

// verdict is what came of the call. Alive is whether the trunk was there at the end.
func (t *talk) verdict(err error, alive bool) error {
	if t.question != nil && t.Verdict == verify.NoVerdict && (errors.Is(err, errHungUp) || errors.Is(err, errNoKey) || errors.Is(err, errTime)) {
		t.Verdict = verify.Unanswered
	}
	certain := alive || t.seenAt.After(t.saidAt)
	switch {
	case t.Verdict == verify.Approves:
		return nil
	case t.Verdict == verify.Rejects:
		return carrier.Because(verify.ReasonRejected, carrier.Refused(errNo))
	case t.said() && certain:
		return nil
	case t.said():
		return carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonLost, carrier.Unknown(errLost)))
	case errors.Is(err, errHungUp):
		return carrier.Because(verify.ReasonHungUp, carrier.Refused(err)) // who hangs up doesn't want the next call
	case errors.Is(err, errNoKey):
		return carrier.Because(verify.ReasonNoKey, carrier.Refused(err))
	case errors.Is(err, errLost):
		return carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonLost, err)) // or the phone did: nobody can tell
	case errors.Is(err, errTime):
		return carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonTooLong, carrier.Refused(err)))
	case errors.Is(err, errMedia):
		return err
	default:
		return stopped(err)
	}
}
