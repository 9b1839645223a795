package verify

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/record"
)

// A Prompt asks a user's devices whether it is they who ask. Its caller's page shows a number, and a device that says
// yes must name it: who is pushed a prompt again and again can't say yes without seeing the page (NIST SP 800-63B-4
// §3.1.3). The zero Prompt asks nobody.
type Prompt struct {
	Number  int       // that the page shows: two digits
	Choices [3]int    // among which a device lets people pick, in ascending order
	Nonce   [16]byte  // of the challenges
	Profile Profile   // decides how long the number has to wait after wrong ones
	Told    time.Time // when a check was told that a device approved; zero: none was
	Denied  time.Time // when a device said that it wasn't its person who asked; zero: none has
	// Unseen says that it doesn't count among the user's prompts: so far, no service has taken it.
	Unseen bool `json:",omitempty"`
	// Client is who asked. It goes with the verification's end: nothing shows it then.
	Client Client `json:",omitzero"`
}

// IsZero reports whether nobody is asked.
func (p *Prompt) IsZero() bool { return p.Number == 0 }

// newPrompt draws the numbers of a prompt.
func newPrompt(profile Profile) Prompt {
	p := Prompt{Profile: profile}
	rand.Read(p.Nonce[:]) // never fails, see crypto/rand
	for i := 0; i < len(p.Choices); {
		if n := drawNumber(); !slices.Contains(p.Choices[:i], n) {
			p.Choices[i] = n
			i++
		}
	}
	p.Number = p.Choices[0]
	slices.Sort(p.Choices[:])
	return p
}

// drawNumber draws one of 10 to 99. A remainder of 64 bits is even enough.
func drawNumber() int {
	var b [8]byte
	rand.Read(b[:])
	return 10 + int(binary.BigEndian.Uint64(b[:])%90)
}

// challenge is what the next answer of a device must be signed for. It changes with each guess, so nobody can send an
// answer a second time.
func (v *Verification) challenge() string {
	sum := sha256.Sum256(append([]byte("countersign challenge "+v.ID.String()+" "+strconv.Itoa(v.Guesses)+" "), v.Prompt.Nonce[:]...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// prompts reports whether the message on a channel asks a device instead of telling the code.
func (v *Verification) prompts(c Channel) bool {
	return v.Approval == ApprovalByPrompt && c.ToDevices()
}

// A Question is what a prompt shows, and what an answer to it needs.
type Question struct {
	Challenge string
	Choices   []int // none after a wrong number: then people type it
	Asker     string
	Purpose   Purpose
	Payment
	Client    Client
	StartedAt time.Time
}

// ask is what a prompt of v shows; nil if it may not be pushed.
func (v *Verification) ask() *Question {
	if v.Prompt.IsZero() {
		return nil
	}
	q := &Question{Challenge: v.challenge(), Asker: v.Asker, Purpose: v.Purpose, Payment: v.Payment, Client: v.Prompt.Client, StartedAt: v.ID.Time()}
	if v.Guesses == 0 {
		q.Choices = v.Prompt.Choices[:]
	}
	return q
}

// promptText is what a device shows that knows nothing of prompts. It names nobody, so that the longest names fit into a
// push beside it.
const promptText = "Is this you? Open this message and pick the number that you see on the page. If it isn't you, say so."

// A Client is who asked a caller for what a user is to approve. The prompt shows it.
type Client struct {
	IP        string `json:",omitempty"`
	UserAgent string `json:",omitempty"`
	Device    string `json:",omitempty"` // in the caller's words
	Place     string `json:",omitempty"` // of the address, where the server can tell; ours
}

// Bounds of a client, in characters.
const (
	maxUserAgent    = 512
	maxClientDevice = 100
	maxPlace        = 100
)

// client checks a client, writes its address in the usual form, and finds its place.
func (s *Service) client(p *problems, c *Client, locale string) {
	if c.IP != "" {
		a, err := netip.ParseAddr(c.IP)
		if err != nil || a.Zone() != "" {
			p.add(FieldClientIP, "must be an IP address, such as 203.0.113.7")
		} else {
			c.IP = a.Unmap().String()
			if s.place != nil {
				c.Place = s.place(a.Unmap(), locale)
			}
			if !IsLabel(c.Place, maxPlace) { // whoever made the database
				c.Place = ""
			}
		}
	}
	if c.Device != "" && !IsLabel(c.Device, maxClientDevice) {
		p.add(FieldClientDevice, "must have at most %d printable characters", maxClientDevice)
	}
	if c.UserAgent != "" && !IsLabel(c.UserAgent, maxUserAgent) {
		p.add(FieldUserAgent, "must have at most %d printable characters", maxUserAgent)
	}
}

// maxPrompts is how many prompts a user gets since the last success. People who are asked again and again say yes in
// the end.
const maxPrompts = 3

// mayPrompt says why the user gets no prompt, or returns nil.
func (u *User) mayPrompt() error {
	switch {
	case !u.DeniedAt.IsZero():
		return ErrPromptsDenied
	case u.Prompts >= maxPrompts:
		return ErrPromptsSpent
	}
	return nil
}

// prompt counts a prompt of v, which is about to be pushed. Where the user may get none, or has no device that can answer,
// v goes on by its next channel.
func (u *User) prompt(v *Verification, may bool) {
	switch {
	case !may:
		v.Prompt = Prompt{}
	case !v.Prompt.IsZero():
		u.Prompts++
	}
}

// Recount counts the prompt of v by what came of an attempt to push it: one that certainly no service took was seen by
// nobody. Otherwise services that are away would end a user's prompts. It reports whether that changed anything.
func (u *User) Recount(v *Verification, s *Settlement) bool {
	unseen := s.Outcome == AttemptRefused || s.Outcome == AttemptErrored
	if v.Prompt.IsZero() || !v.prompts(cmp.Or(s.Channel, v.Channel)) || unseen == v.Prompt.Unseen {
		return false
	}
	v.Prompt.Unseen = unseen
	if unseen {
		u.Prompts = max(0, u.Prompts-1) // a success may have come between
	} else {
		u.Prompts++
	}
	return true
}

// ForgivePrompts lets the user get prompts again: after a success by another channel, or because somebody says so who
// knows that it is them.
func (u *User) ForgivePrompts() { u.Prompts, u.DeniedAt = 0, time.Time{} }

// A PromptAnswer is what a device says of a prompt. The device signs it with its own key.
type PromptAnswer struct {
	Verification ID
	Device       ID
	Challenge    string
	Number       int  // that its person picked or typed
	Denied       bool // instead: it wasn't they who asked
	Signature    []byte
}

// signed is the text that a device signs.
func (a *PromptAnswer) signed() []byte {
	says := strconv.Itoa(a.Number)
	if a.Denied {
		says = "deny"
	}
	return []byte(strings.Join([]string{"countersign answer 1", a.Verification.String(), a.Device.String(), a.Challenge, says}, "\n"))
}

// isSigned reports whether a signature is one of a text by the holder of a device's key: ECDSA with P-256 and SHA-256, as
// WebCrypto makes it, two numbers of 32 bytes each.
func isSigned(text, signature, point []byte) bool {
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil || len(signature) != 64 {
		return false
	}
	sum := sha256.Sum256(text)
	return ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}

// A PromptOutcome is what came of a device's answer.
type PromptOutcome struct {
	Approved bool // by this answer
	Denied   bool // by this answer
	Wrong    bool // this answer named another number
	Noted    bool // this answer denied a verification that has ended: nothing but the user has changed
	Status   Status
	// Challenge is for the next answer, while the verification is pending. Where nothing else is said of the answer, it
	// was for an earlier challenge and counts as none.
	Challenge   string
	GuessesLeft int
}

// awaits reports whether an answer is for the present challenge of v. Another one changes nothing.
func (v *Verification) awaits(a *PromptAnswer, now time.Time) bool {
	return v.ended(now) == nil && subtle.ConstantTimeCompare([]byte(a.Challenge), []byte(v.challenge())) == 1
}

// lateDenial is for how long a denial counts of a verification that may have ended. A device that was away, or whose person
// looks after the approval, says so then; somebody who repeats it later says nothing.
const lateDenial = 24 * time.Hour

// deniesLate reports whether an answer is the first denial of v, which has ended.
func (v *Verification) deniesLate(a *PromptAnswer, now time.Time) bool {
	return a.Denied && v.ended(now) != nil && v.Prompt.Denied.IsZero() && now.Sub(v.ID.Time()) < lateDenial
}

// standing is where v stands, for a device.
func (v *Verification) standing(now time.Time) PromptOutcome {
	out := PromptOutcome{Status: v.StatusAt(now)}
	if out.Status == StatusPending {
		out.Challenge, out.GuessesLeft = v.challenge(), v.MaxAttempts-v.Guesses
	}
	return out
}

// Respond applies a device's answer to v: the right number approves it as a right code would, another one spends a
// guess, and a denial cancels it. The device's signature was checked before.
func (v *Verification) Respond(d *Destination, a *PromptAnswer, now time.Time) (PromptOutcome, error) {
	approved, denied := false, false
	switch {
	case v.deniesLate(a, now):
		v.Prompt.Denied = now
		out := v.standing(now)
		out.Noted = true
		return out, nil
	case !v.awaits(a, now):
		return v.standing(now), nil
	case a.Denied:
		denied = true
		v.Prompt.Denied = now
		v.end(StatusCanceled, now)
		v.fail(ReasonRejected)
	default:
		if err := d.admit(v, v.Prompt.Profile, now); err != nil {
			return PromptOutcome{}, err
		}
		v.Guesses++
		if approved = a.Number == v.Prompt.Number; approved {
			d.Clear()
			v.end(StatusApproved, now)
			break
		}
		d.fail(v.Prompt.Profile, now)
		if v.Guesses >= v.MaxAttempts {
			v.end(StatusExhausted, now)
		}
	}
	out := v.standing(now)
	out.Approved, out.Denied, out.Wrong = approved, denied, !approved && !denied
	return out, nil
}

// Respond does that for the user's verification v. A yes lets them get prompts again, a no ends that.
func (u *User) Respond(v *Verification, d *Destination, a *PromptAnswer, now time.Time) (PromptOutcome, error) {
	out, err := v.Respond(d, a, now)
	switch {
	case out.Approved:
		u.Prompts = 0
	case out.Denied, out.Noted:
		u.DeniedAt = now
	}
	return out, err
}

// Tell tells a check the outcome of v, and notes that it heard of an approval: see [Verification.Outcome].
func (v *Verification) Tell(now time.Time) (Outcome, error) {
	out, err := v.Outcome(now)
	if out.Approved {
		v.Prompt.Told = now
	}
	return out, err
}

// Outcome is what a check without a code is told of v: as long as it is pending, nothing; then how it ended. Only one
// check ever hears that it is approved now, as with a code. A verification in which nobody can be prompted needs a code.
func (v *Verification) Outcome(now time.Time) (Outcome, error) {
	out := Outcome{Channel: v.Channel, Verification: v.ID}
	err := v.ended(now)
	switch {
	case v.Approval != ApprovalByPrompt:
		var p problems
		p.add(FieldCode, "is required")
		return out, p.err()
	case err == nil:
		out.GuessesLeft, out.Waiting = v.MaxAttempts-v.Guesses, true
		return out, nil
	case v.Status == StatusCanceled && v.Reason == ReasonRejected:
		return out, ErrRejected
	case v.Status == StatusApproved && !v.Prompt.IsZero() && v.Prompt.Told.IsZero():
		out.Approved = true
		return out, nil
	}
	return out, err
}

// A PromptStore keeps what devices say of prompts.
type PromptStore interface {
	// Verification reads a verification of whatever project, or fails with [ErrNotFound].
	Verification(ctx context.Context, id ID) (*Verification, error)
	// Left reports whether a project moves to another database, or has moved there.
	Left(ctx context.Context, p ProjectID) (bool, error)
	// AnswerPrompt applies a device's answer to a verification of a project's user: see [User.Respond]. It fails with
	// [ErrNoPrompt] if either is gone. In the same transaction, it writes down a denial.
	AnswerPrompt(ctx context.Context, p ProjectID, a *PromptAnswer) (PromptOutcome, error)
	// TellOutcome tells a check how a verification ended: see [Verification.Tell].
	TellOutcome(ctx context.Context, p ProjectID, id ID) (Outcome, error)
	// ForgivePrompts lets a user get prompts again, see [User.ForgivePrompts], and writes down for whom.
	ForgivePrompts(ctx context.Context, k UserKey, actor string) error
}

// AnswerPrompt takes what a device says of a prompt. It fails with [ErrNoPrompt] unless one of the user's devices has
// signed it: whether the verification is there, nobody else learns.
func (s *Service) AnswerPrompt(ctx context.Context, a PromptAnswer) (PromptOutcome, error) {
	about := record.Of(ctx)
	about.Verification = record.ID(a.Verification)
	v, err := s.store.Verification(ctx, a.Verification)
	if errors.Is(err, ErrNotFound) {
		return PromptOutcome{}, ErrNoPrompt
	}
	if err != nil {
		return PromptOutcome{}, err
	}
	if v.Approval != ApprovalByPrompt || v.Prompt.IsZero() {
		return PromptOutcome{}, ErrNoPrompt
	}
	if err := s.checkSigner(ctx, v, a.Device, a.signed(), a.Signature); err != nil {
		return PromptOutcome{}, err
	}
	about.Project, about.Application = string(v.Project), record.ID(v.Application)
	if now := s.now(); !v.awaits(&a, now) && !v.deniesLate(&a, now) { // a device may send it again and again, so it costs no transaction
		return v.standing(now), nil
	}
	out, err := s.store.AnswerPrompt(context.WithoutCancel(ctx), v.Project, &a)
	s.waiters.wake(a.Verification)
	if out.Approved || out.Wrong || err != nil {
		s.observer.Checked(v.Project, Outcome{Approved: out.Approved, GuessesLeft: out.GuessesLeft, Channel: ChannelPush, Country: countryOf(v, "")}, err)
	}
	if err == nil && (out.Denied || out.Noted) {
		s.observer.Denied()
	}
	return out, err
}

// checkSigner fails with [ErrNoPrompt] unless a device is one of v's user, and has signed a text.
func (s *Service) checkSigner(ctx context.Context, v *Verification, device ID, text, signature []byte) error {
	all, err := s.store.Devices(ctx, UserKey{v.Project, v.Application, v.User})
	if errors.Is(err, ErrNoUser) || errors.Is(err, ErrNoApplication) {
		return ErrNoPrompt
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(d Device) bool { return d.ID == device })
	if i < 0 {
		return ErrNoPrompt
	}
	sub, err := all[i].Open(s.keys)
	if errors.Is(err, keyset.ErrUnknownKey) {
		return fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	if err != nil {
		return err
	}
	if !isSigned(text, signature, sub.Sign) {
		return ErrNoPrompt
	}
	return nil
}

// MaxWait is how long a check without a code may wait for the outcome.
const MaxWait = 30 * time.Second

// Outcome reads what came of a prompt, and waits for that if it is still pending. It is for the purpose and the payment
// of e, which has no code.
func (s *Service) Outcome(ctx context.Context, acct *Account, id ID, e Entry, wait time.Duration) (Outcome, error) {
	record.Of(ctx).Verification = record.ID(id)
	out, err := s.outcome(ctx, acct, id, e)
	if !out.Waiting || wait <= 0 || err != nil {
		return out, err
	}
	who := string(acct.Project.ID)
	if err := noPlace(s.waiting.Take(who, s.now())); err != nil {
		return Outcome{}, err
	}
	defer s.waiting.Give(who)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		answered, leave := s.waiters.enter(id) // before looking, so that no answer comes between
		out, err := s.outcome(context.WithoutCancel(ctx), acct, id, e)
		if errors.Is(err, ErrNotFound) { // it was there before
			if moved, asked := s.store.Left(context.WithoutCancel(ctx), acct.Project.ID); moved || asked != nil {
				err = cmp.Or(asked, error(ErrMoving))
			}
		}
		over := !out.Waiting || err != nil || s.waiters.rest(ctx, answered)
		leave()
		if over {
			return out, err
		}
	}
}

// outcome reads it once.
func (s *Service) outcome(ctx context.Context, acct *Account, id ID, e Entry) (Outcome, error) {
	v, err := s.store.Verification(ctx, id)
	if err != nil {
		return Outcome{}, err
	}
	if v.Project != acct.Project.ID || e.Purpose != "" && e.Purpose != v.Purpose {
		return Outcome{}, ErrNotFound
	}
	out, err := v.Outcome(s.now())
	if err != nil || out.Waiting {
		return out, err
	}
	if !e.Payment.equal(v.Payment) {
		return Outcome{WrongPayment: true, Channel: v.Channel, Verification: v.ID}, nil
	}
	return s.store.TellOutcome(context.WithoutCancel(ctx), acct.Project.ID, id)
}

// ForgivePrompts lets a user get prompts again whom the project has recognized in another way. It is written down.
func (s *Service) ForgivePrompts(ctx context.Context, acct *Account, application ID, user string) error {
	k, err := userKey(acct, application, user)
	if err != nil {
		return err
	}
	return s.store.ForgivePrompts(context.WithoutCancel(ctx), k, "key "+acct.KeyID.String())
}
