package device_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Close()
	os.Exit(code)
}

var b64 = base64.RawURLEncoding

// pushes is a push service that delivers everything at once.
type pushes struct {
	mu   sync.Mutex // guards got and away
	got  []push
	away error // that every push fails with
}

// fail lets all pushes fail from now on; nil: they are delivered again.
func (p *pushes) fail(with error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = with
}

type push struct {
	verify.Message
	to []verify.ID
}

func (*pushes) Name() string { return "pushes" }

func (*pushes) Send(context.Context, verify.Message) (carrier.Result, error) {
	return carrier.Result{}, carrier.Refused(io.EOF)
}

func (p *pushes) Push(_ context.Context, m verify.Message, to []verify.Receiver) (used, gone []verify.ID, err error) {
	for _, r := range to {
		used = append(used, r.ID)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away != nil {
		return nil, nil, p.away
	}
	p.got = append(p.got, push{m, used})
	return used, nil, nil
}

func (p *pushes) of(id string) (found []push) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.got {
		if m.Verification.String() == id {
			found = append(found, m)
		}
	}
	return found
}

// A kit is a server with an application whose users have devices.
type kit struct {
	*countersigntest.Kit
	t      *testing.T
	pushes *pushes
	client *api.Client
	app    string
}

func newKit(t *testing.T, o countersigntest.Options, channels string) kit {
	t.Helper()
	k := kit{t: t, pushes: new(pushes)}
	o.Pushes = k.pushes
	k.Kit = countersigntest.New(t, o)
	k.client, k.app = k.project("test", channels)
	return k
}

// newKitOfAda is one whose application has the user ada.
func newKitOfAda(t *testing.T, o countersigntest.Options, channels string) kit {
	t.Helper()
	k := newKit(t, o, channels)
	k.user(k.client, k.app, "ada", "+12025550100")
	return k
}

// project makes a key of a project, and an application.
func (k *kit) project(id verify.ProjectID, channels string) (*api.Client, string) {
	k.t.Helper()
	secret := account.NewSecret()
	k.AddProject(verify.Project{ID: id, Name: "Test", Profile: verify.ProfileCompat, PublicText: true, AnySender: true, AnyLink: true, Countries: []string{verify.AnyCountry}}, secret)
	c := &api.Client{URL: k.URL, Key: secret.Reveal(), MaxWait: -1}
	app, err := c.CreateApplication(k.t.Context(), api.NewApplication{Name: "Shop", Channels: strings.Split(channels, ",")})
	if err != nil {
		k.t.Fatal(err)
	}
	return c, app.ID
}

// A device is a browser with a key of its own.
type device struct {
	id  string
	key *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// user makes a user with a validated number.
func (k kit) user(c *api.Client, app, name, number string) {
	k.t.Helper()
	if _, err := c.ImportUsers(k.t.Context(), app, []api.ImportedUser{{User: name, Number: number}}); err != nil {
		k.t.Fatal(err)
	}
}

// enrol registers a device of a user.
func (k kit) enrol(c *api.Client, app, user string) device {
	k.t.Helper()
	d := device{key: newKey(k.t)}
	point, err := d.key.PublicKey.Bytes()
	if err != nil {
		k.t.Fatal(err)
	}
	receiver, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		k.t.Fatal(err)
	}
	made, err := c.RegisterDevice(k.t.Context(), app, user, api.NewDevice{
		Kind: api.WebPush, Endpoint: "https://push.example.net/" + rand.Text(), P256dh: b64.EncodeToString(receiver.PublicKey().Bytes()), Auth: b64.EncodeToString(make([]byte, 16)), Key: b64.EncodeToString(point),
	})
	if err != nil {
		k.t.Fatal(err)
	}
	d.id = made.ID
	return d
}

// start asks a user on their devices.
func (k kit) start(user string, more api.UserVerification) api.Verification {
	k.t.Helper()
	more.Mode = api.Approve
	v, err := k.client.StartFor(k.t.Context(), k.app, user, more)
	if err != nil {
		k.t.Fatal(err)
	}
	return v
}

// question is what a prompt shows.
func (k kit) question(id string) *verify.Question {
	k.t.Helper()
	k.Await("the push of "+id, func() bool { return len(k.pushes.of(id)) > 0 })
	q := k.pushes.of(id)[0].Question
	if q == nil {
		k.t.Fatalf("the push of %s asks nothing", id)
	}
	return q
}

// An answer is what a device sends.
type answer struct {
	Verification string `json:"verification_id"`
	Device       string `json:"device_id"`
	Challenge    string `json:"challenge"`
	Answer       string `json:"answer"`
	Signature    string `json:"signature"`
}

// sign signs an answer as docs/push.md says.
func (d device) sign(t *testing.T, verification, challenge, says string) answer {
	t.Helper()
	sum := sha256.Sum256([]byte("countersign answer 1\n" + verification + "\n" + d.id + "\n" + challenge + "\n" + says))
	r, s, err := ecdsa.Sign(rand.Reader, d.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return answer{verification, d.id, challenge, says, b64.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))}
}

// An answered is what a device is told.
type answered struct {
	HTTP              int
	Accepted          bool
	Status, Reason    string
	Challenge         string
	AttemptsRemaining int `json:"attempts_remaining"`
	Code              string

	Device string `json:"device_id"`
	Asker  string
}

// send sends an answer.
func (k kit) send(a answer) answered { k.t.Helper(); return k.post("answers", a) }

// post sends what a device says.
func (k kit) post(to string, a any) (out answered) {
	k.t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		k.t.Fatal(err)
	}
	resp, err := http.Post(k.URL+"/device/v1/"+to, "application/json", strings.NewReader(string(text)))
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		k.t.Fatal(err)
	}
	out.HTTP = resp.StatusCode
	return out
}

// outcome reads it without waiting.
func (k kit) outcome(id string) api.CheckResult {
	k.t.Helper()
	r, err := k.client.Outcome(k.t.Context(), id, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

// wrong is another number of two digits.
func wrong(show string) string {
	if show == "10" {
		return "11"
	}
	return "10"
}

func onBoth(t *testing.T, test func(t *testing.T, o countersigntest.Options)) {
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, countersigntest.Options{}) })
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, countersigntest.Options{Database: storetest.Lent(t)})
	})
}

func TestAUserApprovesOnTheirDevice(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Settings.Place = places
		k := newKitOfAda(t, o, "push")
		d := k.enrol(k.client, k.app, "ada")
		v := k.start("ada", api.UserVerification{Purpose: "payment", Amount: "49.90 EUR", Payee: "Example Shop", Client: &api.Asking{IP: "::ffff:203.0.113.7", UserAgent: "Firefox <140>", Device: "Ada's laptop"}})
		q := k.question(v.ID)
		show, err := strconv.Atoi(v.Show)
		if err != nil || v.Mode != "approve" || len(q.Choices) != 3 || !slices.Contains(q.Choices, show) || !slices.IsSorted(q.Choices) {
			t.Fatalf("the page shows %q in mode %q, the device %v: want one of the three", v.Show, v.Mode, q.Choices)
		}
		want := verify.Question{
			Challenge: q.Challenge, Choices: q.Choices, Asker: "Shop", Purpose: "payment", Payment: verify.Payment{Amount: "49.90 EUR", Payee: "Example Shop"},
			Client: verify.Client{IP: "203.0.113.7", UserAgent: "Firefox <140>", Device: "Ada's laptop", Place: "Munich ()"}, StartedAt: v.CreatedAt,
		}
		got := *q
		got.StartedAt = got.StartedAt.UTC()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the prompt (-want +got):\n%s", diff)
		}
		if m := k.pushes.of(v.ID)[0]; m.Code != "" || strings.Contains(m.Body.Reveal(), v.Show) {
			t.Errorf("the message has the code %q, and says %q", m.Code.Reveal(), m.Body.Reveal())
		}
		if r := k.outcome(v.ID); r.Valid || r.Status != "pending" || r.Reason != "" || r.AttemptsRemaining != 5 {
			t.Errorf("before the answer: %+v", r)
		}
		a := k.send(d.sign(t, v.ID, q.Challenge, v.Show))
		if diff := cmp.Diff(answered{HTTP: 200, Accepted: true, Status: "approved"}, a); diff != "" {
			t.Errorf("the right number (-want +got):\n%s", diff)
		}
		if r := k.outcome(v.ID); r.Valid || r.Status != "approved" || r.Reason != "wrong_amount" {
			t.Errorf("without the payment: %+v", r)
		}
		check := api.Check{Amount: "49.90 EUR", Payee: "Example Shop", Purpose: "payment"}
		if r, err := k.client.CheckFor(t.Context(), v.ID, check); err != nil || !r.Valid || r.Status != "approved" {
			t.Errorf("the outcome: %+v, %v", r, err)
		}
		if r, err := k.client.CheckFor(t.Context(), v.ID, check); err != nil || r.Valid || r.Reason != "already_approved" {
			t.Errorf("the outcome once more: %+v, %v", r, err)
		}
		if seen, err := k.client.Verification(t.Context(), v.ID); err != nil || seen.Show != "" || seen.Mode != "approve" || seen.Delivery != "delivered" {
			t.Errorf("read afterwards: %+v, %v, want no number to show", seen, err)
		}
	})
}

// A wrong number is a guess: it spends one, it needs the next challenge, and after as many as there may be, the right
// number comes too late.
func TestWrongNumbersAreGuesses(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		d := k.enrol(k.client, k.app, "ada")
		v := k.start("ada", api.UserVerification{})
		challenge := k.question(v.ID).Challenge
		for left := 4; left >= 0; left-- {
			sent := d.sign(t, v.ID, challenge, wrong(v.Show))
			a := k.send(sent)
			if a.HTTP != 200 || a.Accepted || a.Reason != "wrong_number" || a.AttemptsRemaining != left || (a.Challenge == challenge) || (a.Challenge == "") != (left == 0) {
				t.Fatalf("a wrong number: %+v, want %d guesses left, and another challenge", a, left)
			}
			if left == 0 {
				break
			}
			if again := k.send(sent); again.Reason != "old_challenge" || again.AttemptsRemaining != left || again.Challenge != a.Challenge {
				t.Errorf("the same once more: %+v, want that it counts as nothing", again)
			}
			challenge = a.Challenge
		}
		if a := k.send(d.sign(t, v.ID, challenge, v.Show)); a.Accepted || a.Status != "exhausted" || a.Reason != "ended" {
			t.Errorf("the right number after the last guess: %+v", a)
		}
		if r := k.outcome(v.ID); r.Valid || r.Status != "exhausted" {
			t.Errorf("the outcome: %+v", r)
		}
	})
}

// Of answers that devices send concurrently for one challenge, one counts: a wrong number is one guess, and a right one
// approves once.
func TestOneAnswerOfManyCounts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		devices := []device{k.enrol(k.client, k.app, "ada"), k.enrol(k.client, k.app, "ada")}
		v := k.start("ada", api.UserVerification{})
		together := func(challenge, says string, counts func(answered) bool) (n int) {
			t.Helper()
			const many = 16
			results := make(chan answered, many)
			for i := range many {
				a := devices[i%len(devices)].sign(t, v.ID, challenge, says)
				go func() { results <- k.send(a) }()
			}
			for range many {
				if counts(<-results) {
					n++
				}
			}
			return n
		}
		challenge := k.question(v.ID).Challenge
		if n := together(challenge, wrong(v.Show), func(a answered) bool { return a.Reason == "wrong_number" }); n != 1 {
			t.Errorf("%d wrong numbers for one challenge were guesses, want 1", n)
		}
		next := k.send(devices[0].sign(t, v.ID, challenge, v.Show))
		if next.Reason != "old_challenge" || next.AttemptsRemaining != 4 {
			t.Fatalf("afterwards: %+v, want 4 guesses left", next)
		}
		if n := together(next.Challenge, v.Show, func(a answered) bool { return a.Accepted }); n != 1 {
			t.Errorf("%d right numbers were accepted, want 1", n)
		}
	})
}

// Three prompts without a success, or one that was denied, end the prompts to a user. A code by another channel lets
// them begin again, and so does somebody who knows the user.
func TestPromptsEnd(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push,sms")
		d := k.enrol(k.client, k.app, "ada")
		only := api.UserVerification{Channel: "push"}
		refused := func(code string) {
			t.Helper()
			only.Mode = api.Approve
			_, err := k.client.StartFor(t.Context(), k.app, "ada", only)
			if p, ok := err.(*api.Problem); !ok || p.Status != 409 || p.Code != code {
				t.Fatalf("a prompt: %v, want %s", err, code)
			}
		}
		falls := func() {
			t.Helper()
			v := k.start("ada", api.UserVerification{})
			if v.Show != "" {
				t.Fatalf("the page is to show %s, though nobody is asked", v.Show)
			}
			code := k.texted("+12025550100", v.ID)
			if len(k.pushes.of(v.ID)) > 0 {
				t.Error("the prompt was pushed")
			}
			if r, err := k.client.Check(t.Context(), v.ID, code); err != nil || !r.Valid {
				t.Errorf("the code by SMS: %+v, %v", r, err)
			}
			if r := k.outcome(v.ID); r.Valid || r.Reason != "already_approved" {
				t.Errorf("the outcome beside a code that was accepted: %+v", r)
			}
		}
		for range 3 {
			k.start("ada", only)
			k.Clock.Advance(time.Minute)
		}
		refused("prompts_spent")
		falls()

		k.Clock.Advance(time.Hour)
		v := k.start("ada", only)
		a := k.send(d.sign(t, v.ID, k.question(v.ID).Challenge, "deny"))
		if a.HTTP != 200 || !a.Accepted || a.Status != "canceled" {
			t.Errorf("a denial: %+v", a)
		}
		if r := k.outcome(v.ID); r.Valid || r.Status != "canceled" || r.Reason != "rejected" {
			t.Errorf("the outcome: %+v", r)
		}
		k.Clock.Advance(time.Hour)
		refused("prompts_denied")
		falls()
		k.Clock.Advance(time.Hour)
		v = k.start("ada", only)
		k.send(d.sign(t, v.ID, k.question(v.ID).Challenge, "deny"))
		k.Clock.Advance(time.Hour)
		refused("prompts_denied")
		if err := k.client.ResetPrompts(t.Context(), k.app, "ada"); err != nil {
			t.Error(err)
		}
		k.start("ada", only)
	})
}

// A resend of a prompt is one of the three.
func TestResentPromptsCount(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		d := k.enrol(k.client, k.app, "ada")
		v := k.start("ada", api.UserVerification{})
		for n := 1; n <= 3; n++ {
			k.Await("a push", func() bool {
				return len(k.pushes.of(v.ID)) == n && k.Verification(v.ID).Delivery == verify.DeliverySent
			})
			k.Clock.Advance(2 * time.Minute)
			_, err := k.client.Resend(t.Context(), v.ID, "")
			if p, ok := err.(*api.Problem); n < 3 && err != nil || n == 3 && (!ok || p.Code != "prompts_spent") {
				t.Fatalf("resend %d: %v, want the third refused", n, err)
			}
		}
		if _, err := k.client.StartFor(t.Context(), k.app, "ada", api.UserVerification{Mode: api.Approve}); err == nil {
			t.Error("a start after three prompts is not refused")
		}
		if a := k.send(d.sign(t, v.ID, k.question(v.ID).Challenge, v.Show)); !a.Accepted {
			t.Errorf("the answer to the first: %+v", a)
		}
		k.start("ada", api.UserVerification{})
	})
}

// texted is the code that came by SMS.
func (k kit) texted(number, id string) (code string) {
	k.t.Helper()
	k.Await("the text of "+id, func() bool {
		for _, m := range k.Sim.Messages(phone.Number(number)) {
			if m.Verification == id {
				code = m.Code
			}
		}
		return code != ""
	})
	return code
}

// A check that waits is answered when the device answers, and not before.
func TestACheckWaitsForTheDevice(t *testing.T) {
	t.Parallel()
	k := newKitOfAda(t, countersigntest.Options{}, "push")
	d := k.enrol(k.client, k.app, "ada")
	v := k.start("ada", api.UserVerification{})
	began := time.Now()
	if r, err := k.client.Outcome(t.Context(), v.ID, 1); err != nil || r.Status != "pending" || time.Since(began) < time.Second {
		t.Errorf("after %v: %+v, %v, want that it is still pending after a second", time.Since(began), r, err)
	}
	results := make(chan api.CheckResult, 2)
	for range 2 {
		go func() {
			r, err := k.client.Outcome(t.Context(), v.ID, 30)
			if err != nil {
				t.Error(err)
			}
			results <- r
		}()
	}
	k.send(d.sign(t, v.ID, k.question(v.ID).Challenge, v.Show))
	valid := 0
	for range 2 {
		if r := <-results; r.Valid {
			valid++
		} else if r.Status != "approved" {
			t.Errorf("got %+v, want approved", r)
		}
	}
	if valid != 1 {
		t.Errorf("%d checks hear that it is approved now, want 1", valid)
	}
	v = k.start("ada", api.UserVerification{})
	k.Verify.EndWaits()
	if r, err := k.client.Outcome(t.Context(), v.ID, 30); err != nil || r.Status != "pending" {
		t.Errorf("while the server stops: %+v, %v", r, err)
	}
}

// What isn't the answer of one of the user's devices to the prompt that waits is never accepted, however it is made.
func TestForgedAnswersAreNeverAccepted(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{}, "push")
	users := testsize.Times(170) // with COUNTERSIGN_TEST_LONG=5, more than 10^5 answers
	other, otherApp := k.project("other", "push")
	accepted, sent := 0, 0
	for i := range users {
		number := fmt.Sprintf("+1202555%04d", i)
		k.user(k.client, k.app, "ada"+number, number)
		k.user(k.client, k.app, "eve"+number, fmt.Sprintf("+1202556%04d", i))
		k.user(other, otherApp, "ada"+number, number)
		d, second := k.enrol(k.client, k.app, "ada"+number), k.enrol(k.client, k.app, "ada"+number)
		eve, stranger := k.enrol(k.client, k.app, "eve"+number), k.enrol(other, otherApp, "ada"+number)
		removed := k.enrol(k.client, k.app, "ada"+number)
		if err := k.client.RemoveDevice(t.Context(), k.app, "ada"+number, removed.id); err != nil {
			t.Fatal(err)
		}
		v := k.start("ada"+number, api.UserVerification{})
		q := k.question(v.ID)
		right := d.sign(t, v.ID, q.Challenge, v.Show)
		foreign := k.foreign(other, otherApp, "ada"+number)

		forged := map[string]answer{
			"by nobody's key":                   device{d.id, newKey(t)}.sign(t, v.ID, q.Challenge, v.Show),
			"by another device's key":           device{d.id, second.key}.sign(t, v.ID, q.Challenge, v.Show),
			"by another user's device":          eve.sign(t, v.ID, q.Challenge, v.Show),
			"by another user's key":             device{d.id, eve.key}.sign(t, v.ID, q.Challenge, v.Show),
			"by another project's device":       stranger.sign(t, v.ID, q.Challenge, v.Show),
			"by a device that was removed":      removed.sign(t, v.ID, q.Challenge, v.Show),
			"of another project's verification": d.sign(t, foreign, q.Challenge, v.Show),
			"for another challenge":             d.sign(t, v.ID, b64.EncodeToString(make([]byte, 32)), v.Show),
			"for no challenge":                  d.sign(t, v.ID, "", v.Show),
			"of no verification":                d.sign(t, verify.NewID(k.Clock.Now()).String(), q.Challenge, v.Show),
		}
		changed := func(what string, f func(a *answer)) {
			a := right
			f(&a)
			forged[what] = a
		}
		changed("with the denial's signature", func(a *answer) { a.Signature = d.sign(t, v.ID, q.Challenge, "deny").Signature })
		changed("with a wrong number's signature", func(a *answer) { a.Signature = d.sign(t, v.ID, q.Challenge, wrong(v.Show)).Signature })
		changed("that became a denial", func(a *answer) { a.Answer = "deny" })
		changed("with another device's name", func(a *answer) { a.Device = second.id })
		changed("with zeros for a signature", func(a *answer) { a.Signature = b64.EncodeToString(make([]byte, 64)) })
		for bit := range 100 { // of the signature's 512
			at := (bit*37 + i) % 512
			changed(fmt.Sprint("with bit ", at, " of the signature changed"), func(a *answer) {
				raw, _ := b64.DecodeString(a.Signature)
				raw[at/8] ^= 1 << (at % 8)
				a.Signature = b64.EncodeToString(raw)
			})
		}
		for what, a := range forged {
			sent++
			if got := k.send(a); got.Accepted || got.HTTP != 404 && got.Reason != "old_challenge" {
				accepted++
				t.Errorf("an answer %s: %+v", what, got)
			}
		}
		if r := k.outcome(v.ID); r.Status != "pending" || r.AttemptsRemaining != 5 {
			t.Fatalf("after answers that nobody may give: %+v, want that nothing has changed", r)
		}

		end := [...]string{"approved", "canceled", "expired", "superseded", "denied"}[i%5]
		switch end {
		case "approved":
			if got := k.send(right); !got.Accepted {
				t.Errorf("the right answer: %+v", got)
			}
		case "canceled":
			if _, err := k.client.Cancel(t.Context(), v.ID); err != nil {
				t.Error(err)
			}
		case "expired":
			k.Clock.Advance(2 * time.Hour)
		case "superseded":
			k.Clock.Advance(time.Minute)
			k.start("ada"+number, api.UserVerification{})
		case "denied":
			k.send(d.sign(t, v.ID, q.Challenge, "deny"))
		}
		for _, a := range []answer{right, d.sign(t, v.ID, q.Challenge, v.Show), second.sign(t, v.ID, q.Challenge, v.Show), d.sign(t, v.ID, q.Challenge, "deny")} {
			sent++
			if got := k.send(a); got.Accepted || got.Reason != "ended" {
				accepted++
				t.Errorf("an answer to a verification that is %s: %+v", end, got)
			}
		}
	}
	t.Logf("%d of %d answers were accepted", accepted, sent)
	if accepted > 0 || sent < 100*users {
		t.Errorf("%d of %d answers were accepted, want 0 of more than a hundred for each user", accepted, sent)
	}
}

// A user who takes the name of a deleted user can't answer what the deleted user was asked.
func TestANamesakeAnswersNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		former := k.enrol(k.client, k.app, "ada")
		var asked []api.Verification
		for range 2 { // the second supersedes the first
			asked = append(asked, k.start("ada", api.UserVerification{}))
			k.question(asked[len(asked)-1].ID)
			k.Clock.Advance(31 * time.Second)
		}
		if err := k.client.DeleteUser(t.Context(), k.app, "ada"); err != nil {
			t.Fatal(err)
		}
		k.user(k.client, k.app, "ada", "+12025550177")
		namesake := k.enrol(k.client, k.app, "ada")
		for i, v := range asked {
			for _, by := range []device{former, namesake} {
				if got := k.send(by.sign(t, v.ID, k.question(v.ID).Challenge, v.Show)); got.Accepted {
					t.Errorf("prompt %d: %+v", i, got)
				}
			}
			if r, err := k.client.Outcome(t.Context(), v.ID, 0); err == nil && (r.Valid || r.Status == "pending") {
				t.Errorf("prompt %d is %+v", i, r)
			}
		}
	})
}

// foreign starts a prompt of another project's user.
func (k kit) foreign(c *api.Client, app, user string) string {
	k.t.Helper()
	v, err := c.StartFor(k.t.Context(), app, user, api.UserVerification{Mode: api.Approve})
	if err != nil {
		k.t.Fatal(err)
	}
	k.question(v.ID)
	return v.ID
}

// A code and a device approve a verification once together, whichever comes first.
func TestACodeOrADeviceApproves(t *testing.T) {
	t.Parallel()
	k := newKitOfAda(t, countersigntest.Options{}, "push,sms")
	d := k.enrol(k.client, k.app, "ada")
	v := k.start("ada", api.UserVerification{})
	q := k.question(v.ID)
	k.Await("the push", func() bool { return k.Verification(v.ID).Delivery == verify.DeliverySent })
	k.Clock.Advance(time.Minute)
	if _, err := k.client.Resend(t.Context(), v.ID, "sms"); err != nil {
		t.Fatal(err)
	}
	code := k.texted("+12025550100", v.ID)
	if r, err := k.client.Check(t.Context(), v.ID, code); err != nil || !r.Valid {
		t.Errorf("the code: %+v, %v", r, err)
	}
	if a := k.send(d.sign(t, v.ID, q.Challenge, v.Show)); a.Accepted || a.Status != "approved" {
		t.Errorf("the device after the code: %+v", a)
	}
	if r := k.outcome(v.ID); r.Valid || r.Reason != "already_approved" {
		t.Errorf("the outcome after the code: %+v", r)
	}
}

// What is wrong with a start is told by the fields' names, and a key makes one prompt of a request that is sent twice.
func TestAStartOfAUsersVerification(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push,sms")
		k.enrol(k.client, k.app, "ada")
		for field, v := range map[string]api.UserVerification{
			"mode":              {Mode: "approve", Channel: "sms"},
			"client.ip":         {Mode: "approve", Client: &api.Asking{IP: "203.0.113"}},
			"client.user_agent": {Mode: "approve", Client: &api.Asking{UserAgent: "a\nb"}},
			"client.device":     {Mode: "approve", Client: &api.Asking{Device: strings.Repeat("x", 101)}},
			"purpose":           {Purpose: "Pay"},
			"amount":            {Amount: "50", Payee: "Example Shop"},
			"payee":             {Amount: "50 EUR"},
			"channel":           {Channel: "voice"},
		} {
			_, err := k.client.StartFor(t.Context(), k.app, "ada", v)
			if p, ok := err.(*api.Problem); !ok || len(p.Errors) != 1 || p.Errors[0].Field != field {
				t.Errorf("%+v: got %v, want that %s is wrong", v, err, field)
			}
		}
		long := k.start("ada", api.UserVerification{Client: &api.Asking{UserAgent: strings.Repeat("\"", 512)}, Metadata: map[string]string{"order": "7"}})
		if q := k.question(long.ID); len(q.Client.UserAgent) != 512 || long.Metadata["order"] != "7" {
			t.Errorf("the longest: %+v of %+v", q, long)
		}
		k.Clock.Advance(time.Minute)
		ctx := api.WithIdempotencyKey(t.Context(), "once")
		var shown []string
		for range 2 {
			v, err := k.client.StartFor(ctx, k.app, "ada", api.UserVerification{Mode: api.Approve})
			if err != nil {
				t.Fatal(err)
			}
			shown = append(shown, v.ID+" "+v.Show)
		}
		if shown[0] != shown[1] || len(shown[0]) < 39 {
			t.Errorf("with a key, the answers are %q, want the same twice", shown)
		}
		// A code, with what only this start can say.
		k.Clock.Advance(time.Minute)
		v, err := k.client.StartFor(t.Context(), k.app, "ada", api.UserVerification{Channel: "sms", Purpose: "payment", Amount: "49.90 EUR", Payee: "Example Shop"})
		if err != nil || v.Mode != "" || v.Show != "" {
			t.Fatalf("a code: %+v, %v", v, err)
		}
		code := k.texted("+12025550100", v.ID)
		if r, err := k.client.CheckFor(t.Context(), v.ID, api.Check{Code: code}); err != nil || r.Reason != "wrong_amount" {
			t.Errorf("without the payment: %+v, %v", r, err)
		}
		if r, err := k.client.CheckFor(t.Context(), v.ID, api.Check{Code: code, Purpose: "payment", Amount: "49.90 EUR", Payee: "Example Shop"}); err != nil || !r.Valid {
			t.Errorf("with it: %+v, %v", r, err)
		}
		for _, bad := range []api.Check{{}, {Wait: new(31)}, {Code: code, Wait: new(1)}} { // of a code, too long, and both
			_, err := k.client.CheckFor(t.Context(), v.ID, bad)
			if p, ok := err.(*api.Problem); !ok || p.Status != 422 || len(p.Errors) != 1 {
				t.Errorf("check %+v: %v, want one field that is wrong", bad, err)
			}
		}
	})
}

// A device without a key of its own gets codes, and no prompts.
func TestADeviceWithoutAKeyIsNotAsked(t *testing.T) {
	t.Parallel()
	k := newKitOfAda(t, countersigntest.Options{}, "push,sms")
	receiver, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plain := api.NewDevice{Kind: api.WebPush, Endpoint: "https://push.example.net/plain", P256dh: b64.EncodeToString(receiver.PublicKey().Bytes()), Auth: b64.EncodeToString(make([]byte, 16))}
	if _, err := k.client.RegisterDevice(t.Context(), k.app, "ada", plain); err != nil {
		t.Fatal(err)
	}
	v := k.start("ada", api.UserVerification{})
	if code := k.texted("+12025550100", v.ID); code == "" || len(k.pushes.of(v.ID)) > 0 {
		t.Errorf("the code came as %q, and %d prompts were pushed", code, len(k.pushes.of(v.ID)))
	}
	plain.Key = b64.EncodeToString(make([]byte, 65))
	_, err = k.client.RegisterDevice(t.Context(), k.app, "ada", plain)
	if p, ok := err.(*api.Problem); !ok || len(p.Errors) != 1 || p.Errors[0].Field != "key" {
		t.Errorf("a key that is no point: %v", err)
	}
}

// A prompt comes from no sender, so a payment needs one only where its text goes by another channel.
func TestAPromptOfAPaymentNeedsNoSender(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{}, "push,sms")
	secret := account.NewSecret()
	k.AddProject(verify.Project{ID: "plain", Name: "Plain", Profile: verify.ProfileCompat, Countries: []string{verify.AnyCountry}}, secret)
	k.client = &api.Client{URL: k.URL, Key: secret.Reveal(), MaxWait: -1}
	app, err := k.client.CreateApplication(t.Context(), api.NewApplication{Name: "Shop", Channels: []string{"push", "sms"}})
	if err != nil {
		t.Fatal(err)
	}
	k.app = app.ID
	k.user(k.client, k.app, "ada", "+12025550100")
	k.enrol(k.client, k.app, "ada")
	payment := api.UserVerification{Channel: "push", Amount: "49.90 EUR", Payee: "Example Shop"}
	v := k.start("ada", payment)
	if q := k.question(v.ID); q.Payee != "Example Shop" {
		t.Errorf("the prompt is %+v", q)
	}
	payment.Channel = "sms"
	_, err = k.client.StartFor(t.Context(), k.app, "ada", payment)
	if p, ok := err.(*api.Problem); !ok || len(p.Errors) != 1 || p.Errors[0].Field != "payee" {
		t.Errorf("by SMS: %v, want that the payee needs a sender", err)
	}
}

// A check that waits hears of an answer that another server of the database took.
func TestACheckHearsOfAnotherServersAnswer(t *testing.T) {
	t.Parallel()
	k := newKitOfAda(t, countersigntest.Options{}, "push")
	d := k.enrol(k.client, k.app, "ada")
	keys, err := keyset.Load(filepath.Join(k.Data, "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	other := verify.New(verify.Config{Store: k.Store, Keys: keys, Now: k.Clock.Now})
	v := k.start("ada", api.UserVerification{})
	result := make(chan api.CheckResult)
	go func() {
		r, err := k.client.Outcome(context.Background(), v.ID, 30)
		if err != nil {
			t.Error(err)
		}
		result <- r
	}()
	a := d.sign(t, v.ID, k.question(v.ID).Challenge, v.Show)
	id, err1 := verify.ParseID(a.Verification)
	by, err2 := verify.ParseID(a.Device)
	number, err3 := strconv.Atoi(a.Answer)
	signature, err4 := b64.DecodeString(a.Signature)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	if out, err := other.AnswerPrompt(t.Context(), verify.PromptAnswer{Verification: id, Device: by, Challenge: a.Challenge, Number: number, Signature: signature}); err != nil || !out.Approved {
		t.Errorf("the other server: %+v, %v", out, err)
	}
	began := time.Now()
	if r := <-result; !r.Valid || time.Since(began) > 20*time.Second {
		t.Errorf("after %v: %+v", time.Since(began), r)
	}
}

// An answer that can change nothing costs no transaction: a device may send it again and again, without a key of the API.
func TestAnAnswerThatComesTooLateIsNoWrite(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		var held atomic.Bool
		release := make(chan struct{})
		defer close(release)
		o.Commit = func(_ int, commit func() error) error {
			if held.Load() {
				<-release
			}
			return commit()
		}
		k := newKitOfAda(t, o, "push")
		d := k.enrol(k.client, k.app, "ada")
		v := k.start("ada", api.UserVerification{})
		k.Await("the push", func() bool { return k.Verification(v.ID).Delivery == verify.DeliverySent })
		first := d.sign(t, v.ID, k.question(v.ID).Challenge, wrong(v.Show))
		next := k.send(first)
		quick := func(what, reason string, a answer) {
			t.Helper()
			held.Store(true)
			defer held.Store(false)
			result := make(chan answered, 1)
			go func() { result <- k.send(a) }()
			select {
			case got := <-result:
				if got.HTTP != 200 || got.Reason != reason {
					t.Errorf("%s: %+v, want %s", what, got, reason)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s waits for a commit", what)
			}
		}
		quick("an answer that was sent before", "old_challenge", first)
		if got := k.send(d.sign(t, v.ID, next.Challenge, v.Show)); !got.Accepted {
			t.Fatalf("the right number: %+v", got)
		}
		quick("an answer after the end", "ended", first)
	})
}

// A check with a key is told of the approval as often as it is sent, and as long as nobody has answered, it asks anew.
func TestACheckWithAKeyIsToldOfTheApprovalAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		d := k.enrol(k.client, k.app, "ada")
		v := k.start("ada", api.UserVerification{})
		ctx := api.WithIdempotencyKey(t.Context(), "outcome")
		check := func(ctx context.Context) api.CheckResult {
			t.Helper()
			r, err := k.client.Outcome(ctx, v.ID, 1)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		if r := check(ctx); r.Status != "pending" {
			t.Fatalf("before the answer: %+v", r)
		}
		k.send(d.sign(t, v.ID, k.question(v.ID).Challenge, v.Show))
		for range 2 {
			if r := check(ctx); !r.Valid || r.Status != "approved" {
				t.Errorf("with the key: %+v", r)
			}
		}
		if r := check(t.Context()); r.Valid || r.Reason != "already_approved" {
			t.Errorf("without it: %+v", r)
		}
	})
}
