package sip

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

const (
	confirmTimes = 3               // how often "To hear your code, press 1" is said
	confirmWait  = 3 * time.Second // after each time
	askTimes     = 3               // how often a question is asked
	askWait      = 5 * time.Second // for a key, after each time
	// askEarly is the time in which the callee can't have heard a word yet. A key in this time
	// answers something else, such as "to accept the call, press 1" from a call-forwarding service.
	askEarly   = 500 * time.Millisecond
	againTimes = 3               // how many more times the code can be heard
	againWait  = 4 * time.Second // for the key that repeats it
	tail       = 300 * time.Millisecond

	// quietTime is how long a phone may have sent no media at the end of a call, so that its trunk may be gone
	// if it doesn't answer the BYE either.
	quietTime = 5 * time.Second

	// maxUnsent is the number of packets in a row that can't be sent before the call counts
	// as lost.
	maxUnsent = 50
)

// Errors that end a talk early.
var (
	errHungUp = errors.New("the other side hung up")
	errLost   = errors.New("the trunk stopped answering")
	errNoKey  = errors.New("nobody pressed a key")
	errNo     = errors.New("the callee rejected the request")
	errTime   = errors.New("the call reached its time limit")
)

// A talk says a script, or asks a question, frame by frame.
type talk struct {
	*call
	script   speech.Script
	first    bool             // wait for a key before the code
	question *speech.Question // asked instead of the script, unless nil

	due    time.Time // of the next frame
	sent   int       // samples of the code's part that were sent
	saidAt time.Time // when the code had been said once
	seenAt time.Time // when media last came, at first when the phone was answered
	unsent int       // packets since one was sent
}

func (t *talk) said() bool { return !t.saidAt.IsZero() }

// run plays the script or the question. It returns an error if it couldn't
// finish.
func (t *talk) run(ctx context.Context) error {
	defer t.hear()
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

// ask repeats the question until a key is pressed that answers it.
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
			t.play(ctx, t.question.Thanks, tail) // a callee who hangs up now has already answered
			return nil
		case t.hungUp() && t.pressedLast():
			return nil
		case err != nil:
			return err
		}
	}
	return errNoKey
}

// begin plays the part of a question that can't be answered yet, and drops the keys pressed in it.
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

// decides records the verdict of a key. It reports false if the key has no
// meaning.
func (t *talk) decides(key byte) bool {
	switch key {
	case '1':
		t.Verdict = verify.VerdictApproves
	case '9':
		t.Verdict = verify.VerdictRejects
	default:
		return false
	}
	return true
}

// pressedLast looks for an answer that was pressed just before the callee hung
// up.
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

// confirm waits for any key.
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

// tell says the code, offers to repeat it, and returns the key that was pressed, if any. A key
// that is pressed before the offer counts too, but doesn't interrupt the code.
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

// play plays a sound, then silence for a while, until a key is pressed.
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

// next returns the next frame of a sound.
func (t *talk) next(sound []byte, at *int) []byte {
	from := *at
	*at = min(from+frame, len(sound))
	return sound[from:*at]
}

// step sends one frame at its scheduled time. The schedule doesn't depend on when the previous
// frame was sent, so one late frame doesn't delay all that follow.
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
	return nil
}

// held waits while the other side holds the call, so that the callee doesn't miss
// anything.
func (t *talk) held(ctx context.Context) error {
	for t.media.held() {
		if err := t.pause(ctx, frameTime); err != nil {
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
		if t.cut.Load() {
			return errLost
		}
		return errHungUp
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hear notes when media last came. Nothing else follows from silence while our packets leave: many phones
// and gateways send none while nobody talks, and some don't know the requests that would ask them.
func (t *talk) hear() {
	if heard := time.Unix(0, t.media.heard.Load()); heard.After(t.seenAt) {
		t.seenAt = heard
	}
}

// verdict returns the result of the call. alive is whether the trunk responded at
// the end.
func (t *talk) verdict(err error, alive bool) error {
	if gone := !alive && time.Since(t.seenAt) > quietTime; gone && (errors.Is(err, errNoKey) || errors.Is(err, errTime)) {
		err = errLost // so nobody was there to press a key
	}
	if t.question != nil && t.Verdict == verify.NoVerdict && (errors.Is(err, errHungUp) || errors.Is(err, errNoKey) || errors.Is(err, errTime)) {
		t.Verdict = verify.VerdictUnanswered
	}
	certain := alive || t.seenAt.After(t.saidAt)
	// A phone that sent media, and stopped before the code was said, has most likely not heard it.
	vanished := t.said() && !certain && t.media.heard.Load() != 0
	switch {
	case t.Verdict == verify.VerdictApproves:
		return nil
	case t.Verdict == verify.VerdictRejects:
		return carrier.Because(verify.ReasonRejected, carrier.Refused(errNo))
	case t.said() && certain:
		return nil
	case vanished:
		return carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonLost, errLost))
	case t.said():
		return carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonLost, carrier.Unknown(errLost)))
	case errors.Is(err, errHungUp):
		return carrier.Because(verify.ReasonHungUp, carrier.Refused(err)) // a callee who hangs up doesn't want another call
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
