package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

const password verify.Secret = "correct horse battery"

// A desk is the sign-in over a store.
type desk struct {
	*kit
	Service *operator.Service
	seed    operator.Seed // of the operator who was set up last
}

func newDesk(t *testing.T, s suite) *desk {
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{kit: s.open(t)}
	d.Service = operator.New(d.kit.Store, keys, d.clock.Now)
	return d
}

// invite makes an operator.
func (d *desk) invite(name string) (o operator.Operator, link verify.Secret) {
	d.t.Helper()
	now := d.clock.Now()
	o = operator.Operator{ID: verify.NewID(now), Name: name, Role: operator.RoleAdmin, CreatedAt: now}
	link = o.Invite(now)
	if err := d.CreateOperator(ctx, o, store.Audit{Actor: "me", Action: "operator create", Detail: o.Granted()}); err != nil {
		d.t.Fatal(err)
	}
	return o, link
}

// member makes an operator who has set up their sign-in, and lets the code's time pass.
func (d *desk) member(name string) (session verify.Secret) {
	d.t.Helper()
	_, link := d.invite(name)
	_, seed, err := d.Service.OpenLink(ctx, link, from(1))
	if err != nil {
		d.t.Fatal(err)
	}
	d.seed = seed
	if session, err = d.Service.SetUp(ctx, link, password, d.code(), from(1)); err != nil {
		d.t.Fatal(err)
	}
	d.clock.advance(time.Minute)
	return session
}

// code is the one that the app shows now.
func (d *desk) code() verify.Secret { return verify.Secret(operator.CodeAt(d.seed, d.clock.Now())) }

func from(n int) operator.Client {
	return operator.Client{Remote: fmt.Sprintf("192.0.2.%d:1", n), Agent: "a browser"}
}

func (d *desk) signIn(name string, password, code verify.Secret, client int) (verify.Secret, error) {
	return d.Service.SignIn(ctx, operator.Credentials{Name: name, Password: password, Code: code}, from(client))
}

// concurrently calls f n times and returns how often each error came.
func concurrently(n int, f func(i int) error) map[error]int {
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	got := map[error]int{}
	for _, err := range errs {
		var known *verify.Error
		if errors.As(err, &known) && known.Kind == verify.KindLimited {
			err = errWaits
		}
		got[err]++
	}
	return got
}

var errWaits = errors.New("waits")

func operatorsAreKeptAsGiven(t *testing.T, s suite) {
	d := newDesk(t, s)
	o, _ := d.invite("ann")
	if err := d.CreateOperator(ctx, operator.Operator{ID: verify.NewID(start), Name: "ann"}); !errors.Is(err, verify.ErrExists) {
		t.Errorf("the same name again: got %v", err)
	}
	if err := d.CreateOperator(ctx, operator.Operator{ID: verify.NewID(start), Name: "bob", Projects: []verify.ProjectID{"none"}}); !errors.Is(err, verify.ErrNoProject) {
		t.Errorf("a project that isn't there: got %v", err)
	}
	if err := d.CreateProject(ctx, verify.Project{ID: "shop", Name: "Shop", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	want, err := d.ChangeOperator(ctx, "ann", func(o *operator.Operator) (store.Audit, error) {
		o.Role, o.Projects = operator.RoleViewer, []verify.ProjectID{"shop"}
		o.Password, o.KeyID, o.Seed, o.Step, o.Failures, o.WaitUntil = "h", 1<<32-1, []byte{1}, 7, 8, start.Add(time.Hour)
		return store.Audit{Actor: "me", Action: "operator role"}, nil
	})
	if err != nil || want.ID != o.ID {
		t.Fatalf("change: got %+v, %v", want, err)
	}
	all, err := d.Operators(ctx)
	if err != nil || len(all) != 1 {
		t.Fatalf("list: got %d, %v", len(all), err)
	}
	for i, got := range []operator.Operator{all[0], want} {
		got.CreatedAt, got.WaitUntil, got.LinkUntil = got.CreatedAt.UTC(), got.WaitUntil.UTC(), got.LinkUntil.UTC()
		w := operator.Operator{ID: o.ID, Name: "ann", Role: operator.RoleViewer, Projects: []verify.ProjectID{"shop"}, CreatedAt: start, Password: "h", KeyID: 1<<32 - 1,
			Seed: []byte{1}, Step: 7, Failures: 8, WaitUntil: start.Add(time.Hour), Link: o.Link, LinkUntil: start.Add(operator.LinkLife)}
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("operator %d (-want +got):\n%s", i, diff)
		}
	}
	if err := d.RemoveOperator(ctx, "ann"); err != nil {
		t.Error(err)
	}
	if err := d.RemoveOperator(ctx, "ann"); !errors.Is(err, operator.ErrNoOperator) {
		t.Errorf("remove again: got %v", err)
	}
}

func oneLinkSetsUpOnce(t *testing.T, s suite) {
	d := newDesk(t, s)
	_, link := d.invite("ann")
	_, seed, err := d.Service.OpenLink(ctx, link, from(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := d.Service.OpenLink(ctx, link, from(1)); err != nil || string(again) != string(seed) {
		t.Errorf("open again: got another seed, or %v", err)
	}
	d.seed = seed
	var wrong *verify.Error
	if _, err := d.Service.SetUp(ctx, link, "short", "000000", from(1)); !errors.As(err, &wrong) || len(wrong.Problems) != 2 {
		t.Errorf("a wrong set-up: got %v", err)
	}
	const n = 20
	got := concurrently(n, func(i int) error {
		_, err := d.Service.SetUp(ctx, link, password, d.code(), from(i))
		for errors.Is(err, operator.ErrBusy) {
			_, err = d.Service.SetUp(ctx, link, password, d.code(), from(i))
		}
		return err
	})
	if got[nil] != 1 || got[operator.ErrLink] != n-1 {
		t.Errorf("%d uses of one link: got %v", n, got)
	}
	if _, err := d.signIn("ann", password, d.code(), 1); !errors.Is(err, operator.ErrWrong) {
		t.Errorf("the code that set up signs in: got %v", err)
	}

	_, late := d.invite("bob")
	d.clock.advance(operator.LinkLife - 1)
	if _, _, err := d.Service.OpenLink(ctx, late, from(1)); err != nil {
		t.Errorf("a link's last moment: got %v", err)
	}
	d.clock.advance(time.Millisecond)
	if _, _, err := d.Service.OpenLink(ctx, late, from(1)); !errors.Is(err, operator.ErrLink) {
		t.Errorf("a late link: got %v", err)
	}
	if _, err := d.Service.SetUp(ctx, late, password, "000000", from(1)); !errors.Is(err, operator.ErrLink) {
		t.Errorf("a late set-up: got %v", err)
	}
	refused := 0
	for _, line := range d.audited() {
		if strings.HasPrefix(line, "sign-in: sign-in set-up refused: somebody from 192.0.2.") && strings.HasSuffix(line, ": a link that is wrong or used") {
			refused++
		}
	}
	if refused != n-1 {
		t.Errorf("%d refused uses of a used link are written down, want %d", refused, n-1)
	}
	if want := "sign-in: sign-in set-up refused: bob from 192.0.2.1: a link that is too old"; !slices.Contains(d.audited(), want) {
		t.Errorf("the audit log lacks %q:\n%s", want, strings.Join(d.audited(), "\n"))
	}
}

// audited is the audit log, the newest first.
func (d *desk) audited() (lines []string) {
	d.t.Helper()
	all, err := d.Audits(ctx, 1000)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, a := range all {
		lines = append(lines, a.Actor+": "+a.Action+": "+a.Detail)
	}
	return lines
}

// Links that open nothing count as failures of their address, so that nobody fills the audit log with them. A link that
// works waits as well, and isn't spent by that.
func refusedLinksMakeAnAddressWait(t *testing.T, s suite) {
	d := newDesk(t, s)
	_, link := d.invite("ann")
	for i := range 20 {
		_, _, err := d.Service.OpenLink(ctx, "cl_guessed", from(9))
		var known *verify.Error
		if waits := errors.As(err, &known) && known.Kind == verify.KindLimited; waits != (i >= 5) || !waits && !errors.Is(err, operator.ErrLink) {
			t.Errorf("attempt %d: got %v", i+1, err)
		}
	}
	if o, _, err := d.Service.OpenLink(ctx, link, from(9)); err == nil || o.Name != "" {
		t.Errorf("a right link during the wait: got %q, %v", o.Name, err)
	}
	if _, _, err := d.Service.OpenLink(ctx, link, from(1)); err != nil {
		t.Errorf("from another address: got %v", err)
	}
	counts := map[string]int{}
	for _, line := range d.audited() {
		counts[line]++
	}
	for line, want := range map[string]int{
		"sign-in: sign-in set-up refused: somebody from 192.0.2.9: a link that is wrong or used":                           5,
		"sign-in: sign-in waits: 192.0.2.9 waits 30s after this attempt":                                                   1,
		"sign-in: sign-in refused: 192.0.2.9 tries during its wait; its further attempts in this wait aren't written down": 1,
	} {
		if counts[line] != want {
			t.Errorf("%q is written down %d times, want %d:\n%s", line, counts[line], want, strings.Join(d.audited(), "\n"))
		}
	}
	d.clock.advance(30 * time.Second)
	if _, _, err := d.Service.OpenLink(ctx, link, from(9)); err != nil {
		t.Errorf("after the wait: got %v", err)
	}
}

// An attempt that nobody decided isn't charged: see [operator.Source.Refund].
func refundsTakeBackOneCharge(t *testing.T, s suite) {
	d := newDesk(t, s)
	charge := func(n int, waits bool) {
		t.Helper()
		wait, err := d.ChargeSource(ctx, "192.0.2.9")
		if err != nil || (wait > 0) != waits {
			t.Errorf("charge %d: got wait %v, %v", n, wait, err)
		}
	}
	for n := range 8 {
		charge(n, false)
		if err := d.RefundSource(ctx, "192.0.2.9"); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 5 {
		charge(n, false)
	}
	charge(5, true)
	if err := d.RefundSource(ctx, "192.0.2.9"); err != nil {
		t.Fatal(err)
	}
	charge(6, false)
	charge(7, true)

	d.member("ann")
	others, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	lost := operator.New(d.kit.Store, others, d.clock.Now) // can't open the second factor
	for range 8 {
		var known *verify.Error
		if _, err := lost.SignIn(ctx, operator.Credentials{Name: "ann", Password: password, Code: d.code()}, from(8)); err == nil || errors.As(err, &known) {
			t.Errorf("with a lost key: got %v, want an error that isn't the caller's", err)
		}
	}
	if _, err := d.signIn("ann", password, d.code(), 8); err != nil {
		t.Errorf("after errors of ours: got %v", err)
	}
}

func oneCodeSignsInOnce(t *testing.T, s suite) {
	d := newDesk(t, s)
	d.member("ann")
	const n = 20
	code := d.code()
	got := concurrently(n, func(i int) error {
		_, err := d.signIn("ann", password, code, i)
		for errors.Is(err, operator.ErrBusy) {
			_, err = d.signIn("ann", password, code, i)
		}
		return err
	})
	if got[nil] != 1 || got[operator.ErrWrong] != n-1 {
		t.Errorf("%d uses of one code: got %v", n, got)
	}
	// A person who has the password and no code makes it wait, but not for good.
	d.clock.advance(29 * time.Second)
	next := verify.Secret(operator.CodeAt(d.seed, d.clock.Now().Add(30*time.Second)))
	if _, err := d.signIn("ann", password, next, 30); !errors.Is(err, operator.ErrWrong) {
		t.Errorf("a right code during the wait: got %v", err)
	}
	d.clock.advance(time.Second)
	if _, err := d.signIn("ann", password, next, 30); err != nil {
		t.Errorf("a right code after the wait: got %v", err)
	}
}

func concurrentSignInsShareTheFreeOnes(t *testing.T, s suite) {
	d := newDesk(t, s)
	const n = 20
	got := concurrently(n, func(int) error {
		wait, err := d.ChargeSource(ctx, "192.0.2.9")
		if wait > 0 {
			err = errWaits
		}
		return err
	})
	if got[nil] != 5 || got[errWaits] != n-5 {
		t.Errorf("%d attempts from one address: got %v", n, got)
	}
	if wait, err := d.ChargeSource(ctx, "192.0.2.10"); wait != 0 || err != nil {
		t.Errorf("another address: got wait %v, %v", wait, err)
	}
	d.clock.advance(30 * time.Second)
	if wait, err := d.ChargeSource(ctx, "192.0.2.9"); wait != 0 || err != nil {
		t.Errorf("after the wait: got wait %v, %v", wait, err)
	}
}

func wrongCredentialsLookTheSame(t *testing.T, s suite) {
	d := newDesk(t, s)
	d.member("ann")
	d.invite("new")
	for i, c := range []operator.Credentials{
		{Name: "ann", Password: "a wrong password", Code: d.code()},
		{Name: "ann", Password: password, Code: "12345"},
		{Name: "ann", Password: "", Code: d.code()},
		{Name: "Ann", Password: password, Code: d.code()},
		{Name: "nobody", Password: password, Code: d.code()},
		{Name: "new", Password: "", Code: ""},
		{Name: "ann' OR '1'='1", Password: password, Code: d.code()},
		{Name: "ann\x00", Password: password, Code: d.code()},
		{Name: "ann\xff", Password: password, Code: d.code()},
		{Name: "ann", Password: verify.Secret(strings.Repeat("x", 5000)), Code: d.code()},
	} {
		token, err := d.Service.SignIn(ctx, c, from(100+i))
		if !errors.Is(err, operator.ErrWrong) {
			t.Errorf("attempt %d: got %v", i, err)
		}
		if _, _, err := d.Service.Session(ctx, token); !errors.Is(err, operator.ErrNoSession) {
			t.Errorf("attempt %d began a session: %v", i, err)
		}
	}
	// A stranger's guesses don't keep the operator out.
	for i := range 30 {
		d.signIn("ann", "a wrong password", "000000", 200+i%5)
	}
	if _, err := d.signIn("ann", password, d.code(), 1); err != nil {
		t.Errorf("after a stranger's guesses: got %v", err)
	}
	lines := d.audited()
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"sign-in: sign-in refused: ann from 192.0.2.100: wrong password", "sign-in: sign-in refused: ann from 192.0.2.101: right password, wrong code",
		"sign-in: sign-in refused: somebody from 192.0.2.104: unknown name", "operator ann: sign in: from 192.0.2.1",
		"operator ann: sign-in set up: password and second factor, from 192.0.2.1", "sign-in: sign-in waits: 192.0.2.200 waits 30s after this attempt",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the audit log lacks %q:\n%s", want, text)
		}
	}
	for _, secret := range []string{password.Reveal(), "a wrong password", d.code().Reveal(), "nobody"} {
		if strings.Contains(text, secret) {
			t.Errorf("the audit log holds %q", secret)
		}
	}
}

func sessionsEnd(t *testing.T, s suite) {
	d := newDesk(t, s)
	first := d.member("ann")
	second, err := d.signIn("ann", password, d.code(), 1)
	if err != nil {
		t.Fatal(err)
	}
	one, o, err := d.Service.Session(ctx, first)
	if err != nil || o.Name != "ann" {
		t.Fatalf("session: got %s, %v", o.Name, err)
	}
	if all, err := d.Service.Sessions(ctx, o.ID); err != nil || len(all) != 2 || all[0].ID != one.ID {
		t.Errorf("sessions: got %d, %v", len(all), err)
	}
	_, link := d.invite("bob")
	other, _, _ := d.Service.OpenLink(ctx, link, from(1))
	if err := d.Service.EndSession(ctx, other, one.ID); !errors.Is(err, operator.ErrNoSession) {
		t.Errorf("another operator's session: got %v", err)
	}
	if err := d.Service.EndSession(ctx, o, one.ID); err != nil {
		t.Error(err)
	}
	if _, _, err := d.Service.Session(ctx, first); !errors.Is(err, operator.ErrNoSession) {
		t.Errorf("an ended session: got %v", err)
	}
	// A used session goes on until its end, a left one ends sooner.
	for range int(operator.Absolute/operator.Idle)*2 - 1 {
		d.clock.advance(operator.Idle / 2)
		if _, _, err := d.Service.Session(ctx, second); err != nil {
			t.Fatalf("a used session: got %v", err)
		}
	}
	d.clock.advance(operator.Idle / 2)
	if _, _, err := d.Service.Session(ctx, second); !errors.Is(err, operator.ErrNoSession) {
		t.Errorf("a session after its end: got %v", err)
	}
	third, err := d.signIn("ann", password, d.code(), 1)
	if err != nil {
		t.Fatal(err)
	}
	d.clock.advance(operator.Idle)
	if _, _, err := d.Service.Session(ctx, third); !errors.Is(err, operator.ErrNoSession) {
		t.Errorf("an idle session: got %v", err)
	}
}

// After a rotation, the former key may be removed: nobody has to set up their sign-in again.
func operatorsSecondFactorsAreResealed(t *testing.T, s suite) {
	file := filepath.Join(t.TempDir(), "keyset.json")
	keys, err := keyset.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{kit: s.open(t)}
	d.Service = operator.New(d.kit.Store, keys, d.clock.Now)
	d.member("ann")
	d.invite("bob") // has no second factor yet
	reseal := func() int {
		t.Helper()
		n, err := operator.ResealSeeds(ctx, d.kit.Store, keys, d.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := reseal(); n != 0 {
		t.Errorf("before a rotation: sealed %d", n)
	}
	before, err := d.OperatorNamed(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	changeKeys := func(change func() error) {
		t.Helper()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		other, err := keyset.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		keys.Replace(other)
	}
	next, err := keyset.Add(file)
	if err != nil {
		t.Fatal(err)
	}
	changeKeys(func() error { return keyset.Promote(file, next) })
	keys.Use(next)
	if n := reseal(); n != 1 {
		t.Errorf("after the rotation: sealed %d, want 1", n)
	}
	if n := reseal(); n != 0 {
		t.Errorf("once more: sealed %d, want none", n)
	}
	changeKeys(func() error { return keyset.Remove(file, before.KeyID) })
	if _, err := d.signIn("ann", password, d.code(), 1); err != nil {
		t.Errorf("sign-in without the former key: %v", err)
	}
	// A seed that was replaced meanwhile stays.
	now, err := d.OperatorNamed(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.ReplaceSeed(ctx, before, before); err != nil {
		t.Fatal(err)
	}
	if got, err := d.OperatorNamed(ctx, "ann"); err != nil || got.KeyID != now.KeyID || !bytes.Equal(got.Seed, now.Seed) {
		t.Errorf("an old seed came back: %v", err)
	}
}

func operatorsChangesEndTheirSessions(t *testing.T, s suite) {
	for name, change := range map[string]func(d *desk) error{
		"role": func(d *desk) error {
			_, err := d.ChangeOperator(ctx, "ann", func(o *operator.Operator) (store.Audit, error) {
				o.Role = operator.RoleViewer
				return store.Audit{Actor: "me", Action: "operator role"}, nil
			})
			return err
		},
		"reset": func(d *desk) error {
			_, err := d.ChangeOperator(ctx, "ann", func(o *operator.Operator) (store.Audit, error) {
				o.Invite(d.clock.Now())
				return store.Audit{Actor: "me", Action: "operator reset"}, nil
			})
			return err
		},
		"remove": func(d *desk) error { return d.RemoveOperator(ctx, "ann") },
		"sign-out": func(d *desk) error {
			if n, err := d.EndSessions(ctx, "ann"); n != 1 || err != nil {
				return fmt.Errorf("ended %d, %w", n, err)
			}
			return nil
		},
	} {
		d := newDesk(t, s)
		token := d.member("ann")
		if _, _, err := d.Service.Session(ctx, token); err != nil {
			t.Fatal(err)
		}
		if err := change(d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := d.Service.Session(ctx, token); !errors.Is(err, operator.ErrNoSession) {
			t.Errorf("a session after %s: got %v", name, err)
		}
	}
}

// A provider's word counts each time: the first time makes an operator, another grant ends what they were signed in as, and
// none ends all. Two sign-ins at a time make one operator.
func providedOperatorsAreAdmitted(t *testing.T, s suite) {
	d := newDesk(t, s)
	ann := operator.Identity{Issuer: "https://login.example", Subject: "1", Name: "Ann", Values: []string{"sre"}}
	grants := operator.Grants{{Value: "sre", Role: operator.RoleAdmin}, {Value: "shop", Role: operator.RoleViewer, Projects: []verify.ProjectID{"shop"}}}
	client := 0
	admit := func(i operator.Identity) (verify.Secret, error) {
		client++
		return d.Service.SignInBy(ctx, grants, from(client), func(context.Context) (operator.Identity, error) { return i, nil })
	}
	got := concurrently(4, func(n int) error {
		_, err := d.Service.SignInBy(ctx, grants, from(100+n), func(context.Context) (operator.Identity, error) { return ann, nil })
		for errors.Is(err, operator.ErrBusy) || errors.Is(err, verify.ErrExists) {
			_, err = d.Service.SignInBy(ctx, grants, from(100+n), func(context.Context) (operator.Identity, error) { return ann, nil })
		}
		return err
	})
	if got[nil] != 4 {
		t.Errorf("concurrent sign-ins: got %v", got)
	}
	all, err := d.Operators(ctx)
	if err != nil || len(all) != 1 || all[0].Name != "ann" || all[0].Role != operator.RoleAdmin || all[0].Subject != "https://login.example 1" || all[0].State(d.clock.Now()) != "by provider" {
		t.Fatalf("got operators %+v, %v", all, err)
	}
	first, err := admit(ann)
	if err != nil {
		t.Fatal(err)
	}
	ann.Values = []string{"other", "shop"}
	ann.Name = "renamed"
	second, err := admit(ann)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Service.Session(ctx, first); !errors.Is(err, operator.ErrNoSession) {
		t.Errorf("the session of the former role: got %v", err)
	}
	if _, o, err := d.Service.Session(ctx, second); err != nil || o.Name != "ann" || o.Role != operator.RoleViewer || fmt.Sprint(o.Projects) != "[shop]" {
		t.Errorf("the session of the new role: got %+v, %v", o, err)
	}
	if _, err := d.signIn("ann", "", "", 50); !errors.Is(err, operator.ErrWrong) {
		t.Errorf("without a password: got %v", err)
	}
	ann.Values = nil
	if _, err := admit(ann); !errors.Is(err, operator.ErrNoGrant) {
		t.Errorf("without a grant: got %v", err)
	}
	if _, _, err := d.Service.Session(ctx, second); !errors.Is(err, operator.ErrNoSession) {
		t.Errorf("the session after the grant: got %v", err)
	}
	// Another person has neither the name nor the row, and no identity is nobody's.
	for what, i := range map[string]operator.Identity{
		"another's name": {Issuer: "https://login.example", Subject: "2", Name: "ann", Values: []string{"sre"}}, "the same word of another issuer": {Issuer: "https://evil.example", Subject: "1", Name: "ann", Values: []string{"sre"}},
		"no name": {Issuer: "https://login.example", Subject: "3", Values: []string{"sre"}}, "a name with a line end": {Issuer: "https://login.example", Subject: "3", Name: "x\ny", Values: []string{"sre"}},
		"a name that PostgreSQL can't write": {Issuer: "https://login.example", Subject: "3", Name: "x\x00", Values: []string{"sre"}},
	} {
		if _, err := admit(i); !errors.Is(err, operator.ErrNameTaken) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	for _, i := range []operator.Identity{{Subject: "1", Name: "bob", Values: []string{"sre"}}, {Issuer: "https://login.example", Name: "bob", Values: []string{"sre"}}} {
		if _, err := admit(i); !errors.Is(err, operator.ErrIdentity) {
			t.Errorf("without an identity: got %v", err)
		}
	}
	if all, err := d.Operators(ctx); err != nil || len(all) != 1 {
		t.Errorf("got operators %+v, %v", all, err)
	}
	// What the provider refuses counts as a failure of its address; what nobody decided doesn't.
	for i := range 7 {
		_, err := d.Service.SignInBy(ctx, grants, from(60), func(context.Context) (operator.Identity, error) { return operator.Identity{}, operator.ErrIdentity })
		var known *verify.Error
		if waits := errors.As(err, &known) && known.Kind == verify.KindLimited; waits != (i >= 5) {
			t.Errorf("refusal %d: got %v", i, err)
		}
		if _, err := d.Service.SignInBy(ctx, grants, from(61), func(context.Context) (operator.Identity, error) { return operator.Identity{}, io.EOF }); !errors.Is(err, io.EOF) {
			t.Errorf("the provider is away: got %v", err)
		}
	}
}

// A passkey is kept for its operator, signs in in place of a code, once for each challenge, and goes with the operator's other
// secrets.
func passkeysSignInOnce(t *testing.T, s suite) {
	d := newDesk(t, s)
	d.member("ann")
	d.member("bob")
	ann, err := d.OperatorNamed(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := d.OperatorNamed(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	made := func(credential string) func() ([]byte, []byte, error) {
		return func() ([]byte, []byte, error) { return []byte(credential), []byte(`{"n":0}`), nil }
	}
	if err := d.Service.AddPasskey(ctx, ann, "laptop", "another password", from(1), made("c")); !errors.Is(err, operator.ErrPassword) {
		t.Errorf("a wrong password: got %v", err)
	}
	var known *verify.Error
	if err := d.Service.AddPasskey(ctx, ann, " ", password, from(1), made("c")); !errors.As(err, &known) || known.Kind != verify.KindInvalid {
		t.Errorf("no name: got %v", err)
	}
	added := d.clock.Now()
	if err := d.Service.AddPasskey(ctx, ann, "laptop", password, from(1), made("c")); err != nil {
		t.Fatal(err)
	}
	d.clock.advance(time.Second) // the oldest is the first
	if err := d.Service.AddPasskey(ctx, bob, "laptop", password, from(1), made("c")); !errors.Is(err, operator.ErrPasskey) {
		t.Errorf("a credential that somebody has: got %v", err)
	}
	for i := range 9 {
		if err := d.Service.AddPasskey(ctx, ann, "phone", password, from(1), made(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Service.AddPasskey(ctx, ann, "phone", password, from(1), made("eleventh")); !errors.Is(err, operator.ErrTooManyPasskeys) {
		t.Errorf("the eleventh: got %v", err)
	}
	keys, err := d.Service.Passkeys(ctx, ann.ID)
	if err != nil || len(keys) != 10 || keys[0].Name != "laptop" || string(keys[0].Credential) != "c" || string(keys[0].Record) != `{"n":0}` || !keys[0].UsedAt.IsZero() || !keys[0].CreatedAt.Equal(added) {
		t.Fatalf("got %+v, %v", keys, err)
	}

	sign := func(name string, p *operator.Proof) error {
		_, err := d.Service.SignIn(ctx, operator.Credentials{Name: name, Password: password, Prove: func([]operator.Passkey) *operator.Proof { return p }}, from(2))
		d.clock.advance(25 * time.Hour)
		return err
	}
	challenge := func() verify.ID {
		t.Helper()
		text, err := d.Service.Challenge(verify.ID{})
		if err != nil {
			t.Fatal(err)
		}
		id, ok := d.Service.CheckChallenge(text, verify.ID{})
		if _, others := d.Service.CheckChallenge(text, ann.ID); !ok || others {
			t.Errorf("a challenge: right %t, and for another purpose %t", ok, others)
		}
		text[0] ^= 1
		if _, ok := d.Service.CheckChallenge(text, verify.ID{}); ok {
			t.Error("a changed challenge is right")
		}
		if _, ok := d.Service.CheckChallenge(text[:16], verify.ID{}); ok {
			t.Error("half a challenge is right")
		}
		return id
	}
	older := challenge()
	d.clock.advance(time.Second)
	first := operator.Proof{Passkey: keys[0].ID, Record: []byte(`{"n":1}`), Challenge: challenge()}
	for _, step := range []struct {
		what, name string
		proof      *operator.Proof
		want       error
	}{
		{"another operator's", "bob", &first, operator.ErrWrong},
		{"nothing signed", "ann", nil, operator.ErrWrong},
		{"no such passkey", "ann", &operator.Proof{Passkey: verify.ID{1}, Challenge: first.Challenge}, operator.ErrWrong},
		{"one that another device has a copy of", "ann", &operator.Proof{Passkey: keys[0].ID, Record: []byte("x"), Challenge: first.Challenge, Cloned: true}, operator.ErrWrong},
		{"right", "ann", &first, nil},
		{"the same again", "ann", &first, operator.ErrWrong},
		{"an older challenge", "ann", &operator.Proof{Passkey: keys[0].ID, Record: []byte("x"), Challenge: older}, operator.ErrWrong},
		{"nobody's name", "eve", &first, operator.ErrWrong},
	} {
		if err := sign(step.name, step.proof); !errors.Is(err, step.want) {
			t.Errorf("%s: got %v, want %v", step.what, err, step.want)
		}
	}
	next := operator.Proof{Passkey: keys[0].ID, Record: []byte(`{"n":2}`), Challenge: challenge()}
	got := concurrently(4, func(i int) error {
		_, err := d.Service.SignIn(ctx, operator.Credentials{Name: "ann", Password: password, Prove: func([]operator.Passkey) *operator.Proof { return &next }}, from(10+i))
		for errors.Is(err, operator.ErrBusy) {
			_, err = d.Service.SignIn(ctx, operator.Credentials{Name: "ann", Password: password, Prove: func([]operator.Passkey) *operator.Proof { return &next }}, from(10+i))
		}
		return err
	})
	if got[nil] != 1 || got[operator.ErrWrong] != 3 {
		t.Errorf("one signature four times: got %v", got)
	}
	if after, err := d.Service.Passkeys(ctx, ann.ID); err != nil || string(after[0].Record) != `{"n":2}` || after[0].UsedAt.IsZero() || after[0].Challenge != next.Challenge {
		t.Errorf("after the sign-ins: got %+v, %v", after, err)
	}
	if err := d.Service.RemovePasskey(ctx, bob, keys[0].ID); !errors.Is(err, operator.ErrNoPasskey) {
		t.Errorf("another operator removes it: got %v", err)
	}
	if err := d.Service.RemovePasskey(ctx, ann, keys[0].ID); err != nil {
		t.Error(err)
	}
	last := operator.Proof{Passkey: keys[0].ID, Record: []byte("x"), Challenge: challenge()}
	if err := sign("ann", &last); !errors.Is(err, operator.ErrWrong) {
		t.Errorf("a removed one: got %v", err)
	}
	// A reset takes them with the password.
	if _, err := d.ChangeOperator(ctx, "ann", func(o *operator.Operator) (store.Audit, error) {
		o.Invite(d.clock.Now())
		return store.Audit{Actor: "me", Action: "operator reset"}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if left, err := d.Service.Passkeys(ctx, ann.ID); err != nil || len(left) != 0 {
		t.Errorf("after a reset: got %+v, %v", left, err)
	}
	// Also one that a session added with the old password while the reset came.
	if err := d.Service.AddPasskey(ctx, ann, "laptop", password, from(69), made("late")); !errors.Is(err, operator.ErrPassword) {
		t.Errorf("the old password, behind a reset: got %v", err)
	}
	if left, err := d.Service.Passkeys(ctx, ann.ID); err != nil || len(left) != 0 {
		t.Errorf("behind a reset: got %+v, %v", left, err)
	}
	if err := d.Service.AddPasskey(ctx, bob, "key", password, from(70), made("c")); err != nil {
		t.Errorf("the credential of a removed one: got %v", err)
	}
	if err := d.RemoveOperator(ctx, "bob"); err != nil {
		t.Errorf("remove an operator with a passkey: got %v", err)
	}
	entries, err := d.Audits(ctx, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range entries {
		lines = append(lines, e.Actor+" "+e.Action+" "+e.Detail)
	}
	for _, want := range []string{
		"sign-in passkey refused ann from 192.0.2.1: wrong password",
		"sign-in sign-in refused ann from 192.0.2.2: " + string(operator.ClonedPasskey),
		"operator ann sign in from 192.0.2.2 with the passkey laptop",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the audit log has no %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}
