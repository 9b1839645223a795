package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
)

// memory is a [Store] in memory: the same pure functions under one lock. Like a real one it
// commits nothing for a context that is over, so a caller's has to be kept from it.
type memory struct {
	resets []string // by whom
	Store           // of which nothing is called but what stands below and in memory_test.go

	now func() time.Time

	mu            sync.Mutex // guards all below
	verifications map[ID]Verification
	destinations  map[string]Destination
	directory
	fail error // answers everything, if set
	down bool  // panics, as broken code would
}

func (m *memory) enter(ctx context.Context) (unlock func(), err error) {
	m.mu.Lock()
	if m.down {
		m.mu.Unlock()
		panic("broken")
	}
	return m.mu.Unlock, errors.Join(m.fail, ctx.Err())
}

func (m *memory) destination(p ProjectID, n phone.Number) (key string, d Destination) {
	key = string(p) + " " + string(n)
	d, ok := m.destinations[key]
	if !ok {
		d = Destination{Project: p, Number: n}
	}
	return key, d
}

func (m *memory) owned(p ProjectID, id ID) (Verification, error) {
	v, ok := m.verifications[id]
	if !ok || v.Project != p {
		return Verification{}, ErrNotFound
	}
	return v, nil
}

func (m *memory) Start(ctx context.Context, v *Verification, limits Limits, lease time.Duration) error {
	unlock, err := m.enter(ctx)
	defer unlock()
	if err != nil {
		return err
	}
	key, d := m.destination(v.Project, v.To)
	if err := v.Begin(&d, limits, lease, m.now()); err != nil {
		return err
	}
	for id, older := range m.verifications {
		if v.Supersede(&older, m.now()) {
			m.verifications[id] = older
		}
	}
	m.verifications[v.ID], m.destinations[key] = *v, d
	return nil
}

func (m *memory) Check(ctx context.Context, g Guess) (Outcome, error) {
	unlock, err := m.enter(ctx)
	defer unlock()
	if err != nil {
		return Outcome{}, err
	}
	v, err := m.owned(g.Project, g.ID)
	if err != nil {
		return Outcome{}, err
	}
	key, d := m.destination(v.Project, v.To)
	out, err := v.Check(&d, g, m.now())
	if err == nil {
		m.verifications[v.ID], m.destinations[key] = v, d
	}
	return out, err
}

func (m *memory) Cancel(ctx context.Context, p ProjectID, id ID) error {
	unlock, err := m.enter(ctx)
	defer unlock()
	if err != nil {
		return err
	}
	v, err := m.owned(p, id)
	if err != nil {
		return err
	}
	if err := v.Cancel(m.now()); err != nil {
		return err
	}
	m.verifications[id] = v
	return nil
}

func (m *memory) ResetDestination(ctx context.Context, p ProjectID, n phone.Number, actor string) error {
	unlock, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	key, d := m.destination(p, n.Key())
	if _, ok := m.destinations[key]; !ok {
		return ErrNoNumber
	}
	d.Clear()
	m.destinations[key] = d
	m.resets = append(m.resets, actor)
	return nil
}

// outbox is an [Outbox] that counts what becomes of its places.
type outbox struct {
	fail error // of every reservation, if set

	mu                       sync.Mutex // guards all below
	reserved, sent, released int
	messages                 []Message
	verifications            []*Verification
}

func (o *outbox) Reserve(e Envelope, _ ...Channel) (Place, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return nil, o.fail
	}
	o.reserved++
	return &room{o: o, channel: e.Channel}, nil
}

func (o *outbox) ReserveAgain(v *Verification, _ []Delivery) (Place, error) {
	return o.Reserve(v.Envelope())
}

func (o *outbox) Reaches(Envelope) error { return o.fail }

// counts is what became of the places so far.
func (o *outbox) counts() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("%d reserved, %d sent, %d released", o.reserved, o.sent, o.released)
}

// room is a [Place].
type room struct {
	o       *outbox
	channel Channel
}

func (r *room) Channel() Channel       { return r.channel }
func (r *room) Lease() time.Duration   { return lease }
func (r *room) Calling() time.Duration { return 0 }

func (r *room) Admits(Message) error       { return nil }
func (r *room) Price(Message) money.Amount { return 0 }

func (r *room) Release() {
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	r.o.released++
}

func (r *room) Send(_ context.Context, v *Verification, m Message) {
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	r.o.sent++
	r.o.messages = append(r.o.messages, m)
	r.o.verifications = append(r.o.verifications, v)
}

// engine is a service with all that is around it.
type engine struct {
	*Service
	store  *memory
	outbox *outbox
	keys   *keyset.Set
	clock  time.Time
	acct   *Account
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{outbox: &outbox{}, keys: keys, clock: t0, acct: account(ProfileCompat)}
	now := func() time.Time { return e.clock }
	e.store = &memory{now: now, verifications: map[ID]Verification{}, destinations: map[string]Destination{}}
	e.store.directory = directory{applications: map[ID]Application{}, users: map[UserKey]User{}}
	e.Service = New(Config{Store: e.store, Outbox: e.outbox, Keys: keys, Now: now, Settings: Settings{PublicSender: public}})
	return e
}

// start starts a verification and returns it with the code in its message.
func (e *engine) start(t *testing.T, r StartRequest) (*Verification, Secret) {
	t.Helper()
	v, err := e.Start(t.Context(), e.acct, r)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	body := e.outbox.messages[len(e.outbox.messages)-1].Body.Reveal()
	return v, Secret(body[strings.LastIndexByte(body, ' ')+1:])
}

func TestAStartCommitsAndHandsOverItsMessage(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.clock = t0.Add(700 * time.Microsecond) // ids, and so lives, begin at whole milliseconds
	eight, life, four := 8, 7200, 4
	r := StartRequest{Channel: ChannelSMS, To: "+1 (555) 778-8999", From: "+5554433222", Text: "Here is your code: ", Format: code.Alphanumeric, Length: &eight, Life: &life, Attempts: &four}
	v, secret := e.start(t, r)

	want := Verification{
		ID: v.ID, Project: e.acct.Project.ID, Application: e.acct.Application.ID, Purpose: PurposeMFA,
		Terms: Terms{
			Channel: ChannelSMS, To: "+15557788999", Sender: "+5554433222", Text: "Here is your code: {code}",
			Format: code.Alphanumeric, Length: 8, MaxAttempts: 4, ExpiresAt: t0.Add(2 * time.Hour),
		},
		Code:     Code{KeyID: e.keys.Primary(), CodeMAC: v.CodeMAC, SealedCode: v.SealedCode},
		Progress: Progress{Delivery: DeliverySending, Attempt: 1, DueAt: e.clock.Add(lease)},
	}
	for name, got := range map[string]Verification{"returned": *v, "stored": e.store.verifications[v.ID], "handed over": *e.outbox.verifications[0]} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	if got, want := e.outbox.counts(), "1 reserved, 1 sent, 0 released"; got != want {
		t.Errorf("places: %s, want %s", got, want)
	}
	m := e.outbox.messages[0]
	if got, ok := code.Normalize(code.Alphanumeric, secret.Reveal()); !ok || len(got) != 8 || m.Body.Reveal() != "Here is your code: "+got {
		t.Error("the message doesn't end in a code of eight letters and digits after one space")
	}
	if m.ID != v.ID.message("", 0) || m.Verification != v.ID || m.To != v.To || m.From != v.Sender || m.Attempt != 1 || !m.ExpiresAt.Equal(v.ExpiresAt) {
		t.Errorf("message %+v isn't that of verification %v", m, v.ID)
	}
	// What a crash leaves is enough to send the same again.
	if opened, err := e.keys.Open(v.KeyID, v.Binding(), v.SealedCode); opened != secret.Reveal() || err != nil {
		t.Errorf("the sealed code is another one than the message's, or doesn't open: %v", err)
	}
	for name, stored := range map[string][]byte{"MAC": v.CodeMAC, "sealed copy": v.SealedCode, "text": []byte(v.Text)} {
		if strings.Contains(string(stored), secret.Reveal()) {
			t.Errorf("the %s holds the code in clear", name)
		}
	}
}

func TestAPlaceIsUsedOnceOrGivenBack(t *testing.T) {
	t.Parallel()
	zero, five := 0, 5
	good := StartRequest{Channel: ChannelSMS, To: number1}
	broken := errors.New("disk on fire")
	const (
		none  = "0 reserved, 0 sent, 0 released"
		back  = "1 reserved, 0 sent, 1 released"
		taken = "1 reserved, 1 sent, 0 released"
	)
	for _, tt := range []struct {
		name    string
		prepare func(*engine)
		request StartRequest
		err     error
		places  string
		stored  int
	}{
		{"success", func(*engine) {}, good, nil, taken, 1},
		{"no number", func(*engine) {}, StartRequest{Channel: ChannelSMS}, ErrInvalid, none, 0},
		{"a bound", func(*engine) {}, StartRequest{Channel: ChannelSMS, To: number1, Length: &zero}, ErrInvalid, none, 0},
		{"text without from", func(*engine) {}, StartRequest{Channel: ChannelSMS, To: number1, Text: "x"}, ErrInvalid, none, 0},
		{"too short for the profile", func(e *engine) { e.acct.Project.Profile = ProfileStandard }, StartRequest{Channel: ChannelSMS, To: number1, Length: &five}, ErrInvalid, none, 0},
		{"no place", func(e *engine) { e.outbox.fail = ErrBusy }, good, ErrBusy, none, 0},
		{"no carrier", func(e *engine) { e.outbox.fail = ErrNoCarrier }, good, ErrNoCarrier, none, 0},
		{"no such format", func(e *engine) { e.acct.Application.Format = "hex" }, good, nil, back, 0},
		{"no such profile", func(e *engine) { e.acct.Project.Profile = "lenient" }, good, nil, back, 0},
		{"no store", func(e *engine) { e.store.fail = ErrNoStore }, good, ErrNoStore, back, 0},
		{"a store's own error", func(e *engine) { e.store.fail = broken }, good, broken, back, 0},
		{"send limit", func(e *engine) {
			e.acct.Project.Limits = Limits{Daily: 1}
			e.store.destinations["project "+number1] = Destination{Sends: []time.Time{t0}}
		}, good, ErrTooManySends, back, 0},
		{"locked number", func(e *engine) {
			e.store.destinations["project "+number1] = Destination{Failures: MaxFailures}
		}, good, ErrTooManyGuesses, back, 0},
		{"too long in the queue", func(e *engine) { e.store.now = func() time.Time { return t0.Add(5 * time.Second) } }, good, ErrBusy, back, 0},
		{"panic", func(e *engine) { e.store.down = true }, good, nil, back, 0},
		// 200 all the same: it is counted, and nobody holds a lease for it.
		{"dead before the commit", func(e *engine) {
			e.acct.Application.Life = time.Second
			e.store.now = func() time.Time { return t0.Add(time.Second) }
		}, good, nil, back, 1},
	} {
		e := newEngine(t)
		tt.prepare(e)
		v, err := func() (v *Verification, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v", p)
				}
			}()
			return e.Start(t.Context(), e.acct, tt.request)
		}()
		if tt.err != nil && !errors.Is(err, tt.err) || (err == nil) != (tt.stored == 1) || (v == nil) != (err != nil) {
			t.Errorf("%s: got %v, %v; want %v", tt.name, v, err, tt.err)
		}
		if got := e.outbox.counts(); got != tt.places {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.places)
		}
		if got := len(e.store.verifications); got != tt.stored {
			t.Errorf("%s: %d verifications stored, want %d", tt.name, got, tt.stored)
		}
		if v != nil && tt.places == back {
			if v.Delivery != DeliveryFailed || v.Reason != ReasonExpired || v.Attempt != 0 {
				t.Errorf("%s: delivery %v (%s), attempt %d; want failed (expired), 0", tt.name, v.Delivery, v.Reason, v.Attempt)
			}
		}
	}
}

func TestACallerThatHangsUpStopsNothing(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()

	v, err := e.Start(gone, e.acct, StartRequest{Channel: ChannelSMS, To: number1})
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	if got, want := e.outbox.counts(), "1 reserved, 1 sent, 0 released"; got != want {
		t.Errorf("start: %s, want %s", got, want)
	}
	// A guess whose answer nobody waits for is spent: else hanging up would buy guesses.
	if out, err := e.Check(gone, e.acct, v.ID, "wrong"); err != nil || out != (Outcome{GuessesLeft: 2, Channel: ChannelSMS}) {
		t.Errorf("check: got %+v, %v; want wrong, 2 left", out, err)
	}
	if got := e.store.verifications[v.ID]; got.Guesses != 1 {
		t.Errorf("check: %d guesses stored, want 1", got.Guesses)
	}
	if err := e.Cancel(gone, e.acct, v.ID); err != nil {
		t.Errorf("cancel: %v", err)
	}
	if got := e.store.verifications[v.ID]; got.Status != StatusCanceled {
		t.Errorf("cancel: %v stored, want canceled", got.Status)
	}
}

// Somebody with a row of one verification and the code of another: whatever the two share, and
// even if the row was copied, the code opens only what it was made for.
func TestACodeIsBoundToItsVerification(t *testing.T) {
	t.Parallel()
	twenty := 20
	for _, tt := range []struct {
		name   string
		change func(*Verification)
		want   bool
	}{
		{"the same", func(*Verification) {}, true},
		{"another id", func(v *Verification) { v.ID = NewID(t0) }, false},
		{"another project", func(v *Verification) { v.Project = "other" }, false},
		{"another number", func(v *Verification) { v.To = "+12025550101" }, false},
		{"another purpose", func(v *Verification) { v.Purpose = "signature" }, false},
		{"another payment", func(v *Verification) { v.Payment = Payment{"1 EUR", "Shop"} }, false},
		{"parts moved between fields", func(v *Verification) { v.To, v.Purpose = v.To[:11], "0mfa" }, false},
	} {
		e := newEngine(t)
		v, secret := e.start(t, StartRequest{Channel: ChannelSMS, To: number1, Length: &twenty})
		b := *v
		tt.change(&b)
		e.store.verifications[b.ID] = b
		e.acct.Project.ID = b.Project
		out, err := e.Check(t.Context(), e.acct, b.ID, secret)
		if err != nil || out.Approved != tt.want {
			t.Errorf("%s: got %+v, %v; want approved %t", tt.name, out, err, tt.want)
		}
		if opened, err := e.keys.Open(b.KeyID, b.Binding(), v.SealedCode); (err == nil) != tt.want {
			t.Errorf("%s: the sealed copy opened: %t, want %t", tt.name, opened != "", tt.want)
		}
	}
}

func TestARowOfAnotherKeyMayBeReadByAnotherServer(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	v, secret := e.start(t, StartRequest{Channel: ChannelSMS, To: number1})
	row := e.store.verifications[v.ID]
	row.KeyID++
	e.store.verifications[v.ID] = row
	_, err := e.Check(t.Context(), e.acct, v.ID, secret)
	if !errors.Is(err, keyset.ErrUnknownKey) || !errors.Is(err, ErrNoKey) {
		t.Errorf("got %v, want %v, and %v for the caller", err, keyset.ErrUnknownKey, ErrNoKey)
	}
	if strings.Contains(err.Error(), secret.Reveal()) {
		t.Error("the error shows the code")
	}
	if got := e.store.verifications[v.ID]; got.Guesses != 0 {
		t.Errorf("it spent %d guesses", got.Guesses)
	}
}

func TestATextThatCanNotBeACodeSpendsAGuess(t *testing.T) {
	t.Parallel()
	for _, typed := range []Secret{
		"", " ", "-", "abc", "12345", "1234567", "12345a", "①②③④⑤⑥", "一二三四五六", "\u200e", "\x00", "\xff\xfe", "😀",
		"{code}", "' OR 1=1", Secret(strings.Repeat("1", code.MaxLength+1)), Secret(strings.Repeat("9", 60_000)),
	} {
		e := newEngine(t)
		v, _ := e.start(t, StartRequest{Channel: ChannelSMS, To: number1})
		for left := 2; left >= 0; left-- {
			out, err := e.Check(t.Context(), e.acct, v.ID, typed)
			if err != nil || out != (Outcome{GuessesLeft: left, Channel: ChannelSMS}) {
				t.Errorf("%.20q: got %+v, %v; want wrong, %d left", typed.Reveal(), out, err, left)
			}
		}
		if _, err := e.Check(t.Context(), e.acct, v.ID, typed); !errors.Is(err, ErrGuessesSpent) {
			t.Errorf("%.20q: got %v, want %v", typed.Reveal(), err, ErrGuessesSpent)
		}
	}
}

// A row whose MAC was emptied must not be opened by what can't be a code.
func TestAnEmptyGuessNeverMatches(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	v, _ := e.start(t, StartRequest{Channel: ChannelSMS, To: number1})
	mac, err := e.keys.MAC(v.KeyID, v.Binding(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, stored := range [][]byte{nil, mac} {
		row := e.store.verifications[v.ID]
		row.CodeMAC = stored
		e.store.verifications[v.ID] = row
		if out, err := e.Check(t.Context(), e.acct, v.ID, ""); err != nil || out.Approved {
			t.Errorf("MAC of %d bytes: got %+v, %v; want wrong", len(stored), out, err)
		}
	}
}

func TestACodeIsReadAsPeopleTypeIt(t *testing.T) {
	t.Parallel()
	spaced := func(s string) string { return " " + s[:3] + " " + s[3:] + "\n" }
	script := func(zero rune) func(string) string {
		return func(s string) string { return strings.Map(func(r rune) rune { return r - '0' + zero }, s) }
	}
	fullWidth := func(s string) string { return strings.Map(func(r rune) rune { return r - '!' + '！' }, s) }
	dashed := func(s string) string { return s[:3] + "-" + s[3:4] + "\u2013" + s[4:] }
	for _, tt := range []struct {
		format code.Format
		typed  func(string) string
		want   bool
	}{
		{code.Numeric, spaced, true},
		{code.Numeric, dashed, true},
		{code.Alpha, strings.ToLower, true},
		{code.Alphanumeric, strings.ToLower, true},
		{code.Alphanumeric, func(s string) string { return strings.ToLower(dashed(spaced(s))) }, true},
		{code.Complex, spaced, true},
		{code.Complex, func(s string) string { // there case is part of the code
			return strings.Map(func(r rune) rune { return r ^ 0x20*map[bool]rune{true: 1}[r|0x20 >= 'a' && r|0x20 <= 'z'] }, s)
		}, false},
		{code.Numeric, script('０'), true},
		{code.Numeric, script('٠'), true}, // Arabic-Indic
		{code.Numeric, script('۰'), true}, // Persian
		{code.Numeric, script('०'), true}, // Devanagari
		{code.Numeric, func(s string) string { return "\u202a\ufeff" + s[:3] + "\u200b" + s[3:] + "\u202c\u200e" }, true},
		{code.Alphanumeric, fullWidth, true},
		{code.Complex, fullWidth, true},
		{code.Numeric, func(s string) string { return s[:len(s)-1] }, false},
		{code.Numeric, func(s string) string { return s + "0" }, false},
	} {
		e := newEngine(t)
		twenty := 20 // long enough for a letter to be among them, short of a wonder
		v, secret := e.start(t, StartRequest{Channel: ChannelSMS, To: number1, Format: tt.format, Length: &twenty})
		typed := Secret(tt.typed(secret.Reveal()))
		if out, err := e.Check(t.Context(), e.acct, v.ID, typed); err != nil || out.Approved != tt.want {
			t.Errorf("%s, %q typed as %q: got %+v, %v; want approved %t", tt.format, secret.Reveal(), typed.Reveal(), out, err, tt.want)
		}
	}
}

func TestAnotherProjectsVerificationDoesNotExist(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	v, secret := e.start(t, StartRequest{Channel: ChannelSMS, To: number1})
	other := account(ProfileCompat)
	other.Project.ID = "other"
	for name, id := range map[string]ID{"another's": v.ID, "nobody's": NewID(t0)} {
		if out, err := e.Check(t.Context(), other, id, secret); err != ErrNotFound || out != (Outcome{}) {
			t.Errorf("check %s: got %+v, %v; want %v", name, out, err, ErrNotFound)
		}
		if err := e.Cancel(t.Context(), other, id); err != ErrNotFound {
			t.Errorf("cancel %s: got %v, want %v", name, err, ErrNotFound)
		}
	}
	if out, err := e.Check(t.Context(), e.acct, v.ID, secret); !out.Approved || err != nil {
		t.Errorf("its own project: got %+v, %v", out, err)
	}
}

// tally is an [Observer] that writes down what it is told.
type tally []string

func (o *tally) Started(_ ProjectID, c Channel, _ string, err error) {
	*o = append(*o, fmt.Sprintf("start %s: %v", c, err))
}
func (o *tally) Denied() { *o = append(*o, "denied") }

func (o *tally) Checked(_ ProjectID, out Outcome, err error) {
	*o = append(*o, fmt.Sprintf("check %s %t: %v", out.Channel, out.Approved, err))
}

func TestTheObserverIsToldOfEachAnswerOnce(t *testing.T) {
	t.Parallel()
	e, got := newEngine(t), &tally{}
	e.observer = got
	v, secret := e.start(t, StartRequest{Channel: ChannelVoice, To: number1})
	e.Start(t.Context(), e.acct, StartRequest{Channel: ChannelSMS})
	e.outbox.fail = ErrBusy
	e.Start(t.Context(), e.acct, StartRequest{Channel: ChannelSMS, To: number1})
	for _, typed := range []Secret{"wrong", secret, secret} {
		e.Check(t.Context(), e.acct, v.ID, typed)
	}
	want := &tally{
		"start voice: <nil>",
		"start sms: to can't be blank",
		"start sms: too much work is waiting",
		"check voice false: <nil>",
		"check voice true: <nil>",
		"check  false: the verification was approved before",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Many callers at once, for the race detector and for the places' sum.
func TestAServiceServesManyAtOnce(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	const callers = 8
	var all sync.WaitGroup
	for n := range callers {
		all.Go(func() {
			for i := range 20 {
				v, err := e.Start(t.Context(), e.acct, StartRequest{Channel: ChannelSMS, To: fmt.Sprintf("+1202555%02d%02d", n, i)})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := e.Check(t.Context(), e.acct, v.ID, "wrong"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got, want := e.outbox.counts(), "160 reserved, 160 sent, 0 released"; got != want {
		t.Errorf("places: %s, want %s", got, want)
	}
}

// A phone has one row, whichever form of its number a caller writes, and carriers get that form.
func TestAllFormsOfANumberAreOnePhone(t *testing.T) {
	t.Parallel()
	for _, forms := range [][]string{
		{"+54 9 11 2345 6789", "+54 11 2345 6789", "+54 11 15 2345 6789", "+54 11 2345 6789 0"},
		{"+55 11 96123 4567", "+55 11 6123 4567"},
		{"+39 06 698 12345", "+39 6 698 12345", "+39 006 698 12345"},
		{"+39 333 123 4567", "+39 0 333 123 4567"},
	} {
		e := newEngine(t)
		e.acct.Project.Limits = Limits{Burst: len(forms), Interval: time.Hour}
		for i, form := range forms {
			written, err := phone.Parse(form)
			if err != nil {
				t.Fatal(err)
			}
			v, _ := e.start(t, StartRequest{Channel: ChannelSMS, To: form})
			if got := e.outbox.messages[i].To; got != written || v.Reach() != written {
				t.Errorf("%s: the message goes to %s, and %s is answered", form, got, v.Reach())
			}
			if _, err := e.Check(t.Context(), e.acct, v.ID, "000"); err != nil {
				t.Fatal(err)
			}
		}
		for _, form := range forms {
			if _, err := e.Start(t.Context(), e.acct, StartRequest{Channel: ChannelSMS, To: form}); !errors.Is(err, ErrTooManySends) {
				t.Errorf("%s after its phone's last message: got %v, want %v", form, err, ErrTooManySends)
			}
		}
		if len(e.store.destinations) != 1 {
			t.Errorf("%v: %d rows, want one", forms, len(e.store.destinations))
		}
		for key, d := range e.store.destinations {
			if d.Failures != len(forms) {
				t.Errorf("%s: %d failures, want %d", key, d.Failures, len(forms))
			}
			if err := e.ResetNumber(t.Context(), e.acct, forms[len(forms)-1]); err != nil || e.store.destinations[key].Failures != 0 {
				t.Errorf("%v: reset by another form: %v, %d failures left", forms, err, e.store.destinations[key].Failures)
			}
		}
	}
}

func TestAProjectResetsItsNumbers(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.store.destinations["project "+number1] = Destination{Number: number1, Failures: MaxFailures}
	for number, want := range map[string]error{number1: nil, "+12025550123": ErrNoNumber, "12": ErrInvalid} {
		if err := e.ResetNumber(t.Context(), e.acct, number); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("reset %s: got %v, want %v", number, err, want)
		}
	}
	if d := e.store.destinations["project "+number1]; d.Failures != 0 || !slices.Equal(e.store.resets, []string{"project project"}) {
		t.Errorf("%d failures, resets by %q; want none, and one by the project", d.Failures, e.store.resets)
	}
}

// A caller can't fill the disk with what costs no message.
func TestWhatNeverLivesIsNotKept(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.acct.Project.Limits = DefaultLimits
	zero := 0
	for range 100 {
		v, err := e.Start(t.Context(), e.acct, StartRequest{Channel: ChannelSMS, To: number1, Life: &zero})
		if err != nil || v.ID.IsZero() || v.To != number1 || v.Delivery != DeliveryFailed || v.Reason != ReasonExpired {
			t.Fatalf("got %+v, %v; want one that failed", v, err)
		}
		if _, err := e.Check(t.Context(), e.acct, v.ID, "000000"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("check: got %v, want %v", err, ErrNotFound)
		}
	}
	if n, m := len(e.store.verifications), len(e.store.destinations); n != 0 || m != 0 || len(e.outbox.messages) != 0 {
		t.Errorf("%d verifications and %d numbers are stored and %d messages sent, want none", n, m, len(e.outbox.messages))
	}
}
