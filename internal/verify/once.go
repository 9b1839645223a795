package verify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/record"
)

// KeptFor is how long the answer to a request with a key is kept.
const KeptFor = 24 * time.Hour

// A RequestName names a request that has a key. It is a hash of the project and of the key that the caller chose.
type RequestName [sha256.Size]byte

// NameRequest names the request of a project that has a key.
func NameRequest(p ProjectID, key string) RequestName {
	text := []byte("countersign request key v1")
	for _, part := range []string{string(p), key} {
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	return sha256.Sum256(text)
}

// A Kept is the answer to a request that has a key, as it is stored. The request may hold a code, and the answer a
// secret that is shown once, so neither is stored in the clear.
type Kept struct {
	Name      RequestName
	Project   ProjectID
	ID        ID     // its own; the two below are bound to it
	KeyID     uint32 // of the key that made the two below
	Request   []byte // MAC of the request
	Sealed    []byte // the answer
	ExpiresAt time.Time
}

// Lives reports whether the answer is still kept.
func (k *Kept) Lives(now time.Time) bool { return now.Before(k.ExpiresAt) }

// A KeptStore keeps answers. None of its methods is called for a request without a key.
type KeptStore interface {
	// Kept reads the answer to a request, also one that is no longer kept. It returns nil if there is none.
	Kept(ctx context.Context, name RequestName) (*Kept, error)
	// Keep commits the answer to the request of the context with nothing else: an event that makes an answer.
	// It fails with a [Repeated].
	Keep(ctx context.Context, p ProjectID, answer *[]byte) error
}

// A Repeated is the error of an event whose request was carried out before. Nothing was done.
type Repeated struct{ Kept Kept }

// Error implements error.
func (r *Repeated) Error() string { return errRepeated.Message }

// Unwrap returns an error with a code, for those that count.
func (r *Repeated) Unwrap() error { return errRepeated }

var errRepeated = &Error{Kind: KindConflict, Code: "repeated", Message: "the request was carried out before"}

// A Once is a request that has a key, so that it is carried out once, however often it is sent. A store finds it in
// the context of an event, and commits the answer together with the event: no crash comes between the two.
type Once struct {
	Name RequestName
	Most int // such answers of the project, but for those to requests that cost a message

	seal   func(answer []byte, now time.Time) (Kept, error)
	means  func(made any) bool // nil: nobody said which event answers the request
	render func(made any) ([]byte, error)

	answer    []byte // of the latest rendering
	committed bool
}

type onceKey struct{}

// OnceOf returns the request of a context, or nil if it has no key.
func OnceOf(ctx context.Context) *Once {
	once, _ := ctx.Value(onceKey{}).(*Once)
	return once
}

// Answers says which event of the store answers the request of a context, if that has a key, and how: render makes the
// answer of what the event has made. Start and Cancel make a *[Verification], StartUser a *[User], the checks an
// *[Outcome], and an event that creates something makes a pointer to it.
func Answers[Made any](ctx context.Context, render func(Made) ([]byte, error)) {
	if once := OnceOf(ctx); once != nil {
		once.means = func(made any) bool { _, ok := made.(Made); return ok }
		once.render = func(made any) ([]byte, error) { return render(made.(Made)) }
	}
}

// AnsweredBy reports whether an event that makes such a value answers the request. Only one does.
func (o *Once) AnsweredBy(made any) bool { return o.means != nil && !o.committed && o.means(made) }

// Keep returns what a store commits with the event that has made a value. Where it panics, the store fails this event
// alone.
func (o *Once) Keep(made any, now time.Time) Kept {
	answer, err := o.render(made)
	if err != nil {
		panic(fmt.Errorf("render an answer: %w", err)) // our own types
	}
	kept, err := o.seal(answer, now)
	if err != nil {
		panic(fmt.Errorf("seal an answer: %w", err)) // the keys are a copy, which has one
	}
	o.answer = answer
	return kept
}

// Committed says that the event and the answer are on disk.
func (o *Once) Committed() { o.committed = true }

// Once carries out a request that has a key: do does it, with a context that the store knows the request by. If the
// request was carried out before, Once does nothing and returns the answer that was kept. A refusal isn't kept, and
// neither is an answer to a request that changed nothing: both can be asked for again.
func (s *Service) Once(ctx context.Context, acct *Account, key string, request [sha256.Size]byte, do func(context.Context) ([]byte, error)) ([]byte, error) {
	once := &Once{Name: NameRequest(acct.Project.ID, key), Most: s.maxKept}
	leave, err := s.flights.enter(once.Name, request)
	if err != nil {
		return nil, err
	}
	defer leave()
	keys := s.keys.Now() // which seals even if the file loses its key meanwhile
	if keys.Primary() == 0 {
		return nil, ErrNoKey
	}
	once.seal = func(answer []byte, now time.Time) (Kept, error) {
		return seal(keys, acct.Project.ID, once.Name, request, answer, now)
	}
	kept, err := s.store.Kept(ctx, once.Name)
	if err != nil {
		return nil, err
	}
	if kept != nil && kept.Lives(s.now()) {
		return s.repeat(ctx, acct.Project.ID, kept, request)
	}
	within := context.WithValue(ctx, onceKey{}, once)
	answer, err := do(within)
	if err == nil && once.means == nil { // none of its events answers it
		Answers(within, func(text *[]byte) ([]byte, error) { return *text, nil })
		err = s.store.Keep(context.WithoutCancel(within), acct.Project.ID, &answer)
	}
	var before *Repeated
	switch {
	case once.committed: // whatever came later
		return once.answer, nil
	case errors.As(err, &before):
		return s.repeat(ctx, acct.Project.ID, &before.Kept, request)
	case refused(err): // a twin at another server may have taken what this one was refused, such as the last message
		if kept, gone := s.store.Kept(ctx, once.Name); gone == nil && kept != nil && kept.Lives(s.now()) {
			return s.repeat(ctx, acct.Project.ID, kept, request)
		}
	}
	return answer, err
}

// binding is what the seal of a kept answer is bound to. No verification has such a purpose.
func (k *Kept) binding(p ProjectID) keyset.Binding {
	return keyset.Binding{Project: string(p), ID: k.ID, Destination: string(k.Name[:]), Purpose: "Idempotency-Key"}
}

// refused reports whether an error is a decision about a request, and not an outage.
func refused(err error) bool {
	var known *Error
	return errors.As(err, &known) && known.Kind != KindUnavailable
}

func seal(keys *keyset.Set, p ProjectID, name RequestName, request [sha256.Size]byte, answer []byte, now time.Time) (k Kept, err error) {
	keyID := keys.Primary()
	k = Kept{Name: name, ID: NewID(now), KeyID: keyID, ExpiresAt: now.Add(KeptFor)}
	if k.Request, err = keys.MAC(keyID, k.binding(p), string(request[:])); err != nil {
		return k, err
	}
	k.Sealed, err = keys.Seal(keyID, k.binding(p), string(answer))
	return k, err
}

// repeat returns a kept answer, if the request is the one that it belongs to.
func (s *Service) repeat(ctx context.Context, p ProjectID, k *Kept, request [sha256.Size]byte) ([]byte, error) {
	mac, err := s.keys.MAC(k.KeyID, k.binding(p), string(request[:]))
	if errors.Is(err, keyset.ErrUnknownKey) { // another server may have it
		return nil, fmt.Errorf("open a kept answer: %w: %w", ErrNoKey, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a kept answer: %w", err)
	}
	if !hmac.Equal(mac, k.Request) {
		return nil, ErrKeyReused
	}
	answer, err := s.keys.Open(k.KeyID, k.binding(p), k.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open a kept answer: %w", err)
	}
	record.Of(ctx).Code = errRepeated.Code // the request's line says it, though the answer is no error
	return []byte(answer), nil
}

// flights are the requests with keys that this process is carrying out. Other replicas don't know of them: there, the
// database decides which of two is carried out.
type flights struct {
	mu  sync.Mutex // guards all
	all map[RequestName][sha256.Size]byte
}

// enter begins a request, unless one with the same key is under way.
func (f *flights) enter(name RequestName, request [sha256.Size]byte) (leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch other, busy := f.all[name]; {
	case busy && other != request:
		return nil, ErrKeyReused
	case busy:
		return nil, ErrInFlight
	}
	if f.all == nil {
		f.all = map[RequestName][sha256.Size]byte{}
	}
	f.all[name] = request
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.all, name)
	}, nil
}
