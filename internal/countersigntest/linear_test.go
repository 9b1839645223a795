package countersigntest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// The model of one verification, written down a second time and as simply as possible: what a
// caller may see, whatever happens at the same time.
type modelState struct {
	status  string // "", "pending", or the code of the error that an ended one answers
	guesses int
	expired bool
}

type modelInput struct {
	verification int // partitions the history
	event        string
	max          int
}

var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[int][]porcupine.Operation{}
		for _, op := range history {
			n := op.Input.(modelInput).verification
			parts[n] = append(parts[n], op)
		}
		var all [][]porcupine.Operation
		for _, p := range parts {
			all = append(all, p)
		}
		return all
	},
	Init: func() any { return modelState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in := state.(modelState), input.(modelInput)
		want, next := s.step(in)
		return output == want, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v: %v", input, output) },
}

func (s modelState) step(in modelInput) (output string, next modelState) {
	switch in.event {
	case "start":
		return "ok", modelState{status: "pending"}
	case "expire":
		s.expired = true
		return "ok", s
	}
	if s.status != "pending" {
		return s.status, s
	}
	if s.expired {
		return "expired", s
	}
	switch in.event {
	case "cancel":
		s.status = "canceled"
		return "ok", s
	case "right":
		s.guesses++
		s.status = "approved"
		return "right", s
	default: // "wrong"
		if s.guesses++; s.guesses == in.max {
			s.status = "guesses_spent"
		}
		return "wrong", s
	}
}

// subject is something that claims to follow the model.
type subject interface {
	start(number string, attempts int) (verification any)
	do(verification any, event string) (output string)
	expireAll()
}

const (
	linearAttempts = 3
	linearLife     = 60 // seconds
)

// record runs rounds of 20 verifications, each with up to 18 events from four clients at once and
// the end of its time somewhere among them, and returns what happened.
func record(t *testing.T, s subject, rounds int, seed uint64) (history []porcupine.Operation) {
	t.Logf("seed %d", seed)
	var clock atomic.Int64 // orders calls and returns
	var mu sync.Mutex      // guards history
	call := func(client int, in modelInput, f func() string) {
		op := porcupine.Operation{ClientId: client, Input: in, Call: clock.Add(1)}
		op.Output = f()
		op.Return = clock.Add(1)
		mu.Lock()
		defer mu.Unlock()
		history = append(history, op)
	}
	const perRound, clients, events = 20, 4, 4
	for round := range rounds {
		var all sync.WaitGroup
		halfway := make(chan struct{}, perRound*clients)
		for i := range perRound {
			n := round*perRound + i
			var v any
			call(0, modelInput{n, "start", linearAttempts}, func() string {
				v = s.start(number(n), linearAttempts)
				return "ok"
			})
			for client := range clients {
				all.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(n*clients+client)))
					for e := range events {
						event := []string{"wrong", "wrong", "wrong", "right", "right", "cancel"}[r.IntN(6)]
						call(client, modelInput{n, event, linearAttempts}, func() string { return s.do(v, event) })
						if e == events/2 {
							halfway <- struct{}{}
						}
					}
				})
			}
		}
		// The time of all of them ends while they are busy: one event in each one's history.
		for range perRound * clients * 3 / 4 {
			<-halfway
		}
		began := clock.Add(1)
		s.expireAll()
		ended := clock.Add(1)
		all.Wait()
		for i := range perRound {
			history = append(history, porcupine.Operation{ClientId: clients, Input: modelInput{round*perRound + i, "expire", 0}, Output: "ok", Call: began, Return: ended})
		}
	}
	return history
}

func TestVerificationsAreLinearizable(t *testing.T) {
	t.Parallel()
	history := record(t, newServed(t), testsize.Times(12), 1)
	if got := porcupine.CheckOperationsTimeout(model, history, time.Minute); got != porcupine.Ok {
		t.Fatalf("%d operations on %d verifications: %s, want %s", len(history), testsize.Times(12)*20, got, porcupine.Ok)
	}
}

// The same over three replicas on one PostgreSQL: what one starts, any of them checks.
func TestVerificationsAreLinearizableOverReplicas(t *testing.T) {
	t.Parallel()
	url, data := storetest.Lent(t), t.TempDir() // they share the keyset in the folder
	var s replicated
	o := countersigntest.Options{Data: data, Database: url}
	for range 3 {
		k := countersigntest.New(t, o)
		o.Clock = k.Clock
		s.all = append(s.all, &served{t, k})
	}
	history := record(t, &s, testsize.Times(12), 1)
	if got := porcupine.CheckOperationsTimeout(model, history, time.Minute); got != porcupine.Ok {
		t.Fatalf("%d operations on %d verifications: %s, want %s", len(history), testsize.Times(12)*20, got, porcupine.Ok)
	}
}

// replicated asks one replica after the other.
type replicated struct {
	all  []*served
	turn atomic.Int64
}

func (s *replicated) next() *served { return s.all[int(s.turn.Add(1))%len(s.all)] }

func (s *replicated) start(number string, attempts int) any { return s.next().start(number, attempts) }
func (s *replicated) do(verification any, event string) string {
	return s.next().do(verification, event)
}
func (s *replicated) expireAll() { s.all[0].expireAll() }

// A check that reads, decides and then writes is what everybody writes first. That the model finds
// it illegal shows that the test above can fail.
func TestReadThenWriteIsNotLinearizable(t *testing.T) {
	t.Parallel()
	history := record(t, &naive{now: countersigntest.Start}, 12, 1)
	if got := porcupine.CheckOperationsTimeout(model, history, time.Minute); got != porcupine.Illegal {
		t.Fatalf("%s, want %s", got, porcupine.Illegal)
	}
}

// served is the real service over the real store.
type served struct {
	t *testing.T
	k *countersigntest.Kit
}

func newServed(t *testing.T) *served {
	return &served{t, countersigntest.New(t, countersigntest.Options{})}
}

type servedVerification struct {
	id   verify.ID
	code string
}

func (s *served) start(number string, attempts int) any {
	text := s.k.Start(number, fmt.Sprintf(`"max_attempts":%d,"valid_for":%d`, attempts, linearLife))
	id, err := verify.ParseID(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return servedVerification{id, s.k.Code(number, text)}
}

func (s *served) do(verification any, event string) string {
	v, ctx := verification.(servedVerification), context.Background()
	if event == "cancel" {
		return output("ok", s.k.Verify.Cancel(ctx, s.k.Account(), v.id))
	}
	typed := v.code
	if event == "wrong" {
		typed = countersigntest.Wrong(typed)
	}
	out, err := s.k.Verify.Check(ctx, s.k.Account(), v.id, verify.Secret(typed))
	return output(answer(out), err)
}

func (s *served) expireAll() { s.k.Clock.Advance(linearLife * time.Second) }

func answer(out verify.Outcome) string {
	if out.Approved {
		return "right"
	}
	return "wrong"
}

func output(ok string, err error) string {
	var known *verify.Error
	switch {
	case err == nil:
		return ok
	case errors.As(err, &known):
		return known.Code
	}
	return err.Error()
}

// naive applies the same rules to rows that it reads first and writes back afterwards.
type naive struct {
	mu  sync.Mutex // guards each read and each write, not what is between them
	now time.Time
}

type naiveRow struct {
	v verify.Verification
	d verify.Destination
}

func (s *naive) start(_ string, attempts int) any {
	return &naiveRow{v: verify.Verification{
		ID:    verify.NewID(s.now),
		Terms: verify.Terms{MaxAttempts: attempts, ExpiresAt: s.now.Add(linearLife * time.Second)},
	}}
}

func (s *naive) do(verification any, event string) string {
	row := verification.(*naiveRow)
	s.mu.Lock()
	read, now := *row, s.now
	s.mu.Unlock()
	runtime.Gosched() // the database's round trip

	var result string
	if event == "cancel" {
		result = output("ok", read.v.Cancel(now))
	} else {
		out, err := read.v.Check(&read.d, verify.Guess{Profile: verify.ProfileCompat, Matches: func(*verify.Verification) (bool, error) {
			return event == "right", nil
		}}, now)
		result = output(answer(out), err)
	}
	s.mu.Lock()
	*row = read
	s.mu.Unlock()
	return result
}

func (s *naive) expireAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(linearLife * time.Second)
}
