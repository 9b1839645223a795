package verify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/record"
)

func TestAPurposeIsAShortWord(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	for purpose, want := range map[Purpose]string{
		"": "", "login": "", "sign-up_2": "", "-": "", Purpose(strings.Repeat("a", 32)): "",
		Purpose(strings.Repeat("a", 33)): "purpose is too long (maximum is 32 characters)",
		"Login":                          "purpose may have a to z, 0 to 9, _ and - only", "log in": "purpose may have a to z, 0 to 9, _ and - only",
		"é": "purpose may have a to z, 0 to 9, _ and - only", "a\x00": "purpose may have a to z, 0 to 9, _ and - only",
	} {
		for what, err := range map[string]error{
			"start": e.ValidateStart(t.Context(), e.acct, StartRequest{Channel: ChannelSMS, To: number1, Purpose: purpose}),
			"check": second(e.CheckLatest(t.Context(), e.acct, number1, Entry{Purpose: purpose, Code: "000000"})),
			"list":  third(e.Verifications(t.Context(), e.acct, ListRequest{To: number1, Purpose: purpose})),
		} {
			got := ""
			if errors.Is(err, ErrInvalid) {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s of purpose %q: got %q, want %q", what, purpose, got, want)
			}
		}
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

// A code is right for its number and purpose only, and the record names what was guessed at.
func TestALatestCodeIsCheckedByNumberAndPurpose(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	start := func(p Purpose, supersedes bool) (*Verification, Secret) {
		e.clock = e.clock.Add(time.Minute)
		return e.start(t, StartRequest{Channel: ChannelSMS, To: number1, Purpose: p, Supersedes: supersedes})
	}
	check := func(to string, p Purpose, typed Secret) (Outcome, error) {
		t.Helper()
		ctx, about := record.New(t.Context(), "", "")
		out, err := e.CheckLatest(ctx, e.acct, to, Entry{Purpose: p, Code: typed})
		if ID(about.Verification) != out.Verification {
			t.Errorf("the record has verification %x, want %v", about.Verification, out.Verification)
		}
		return out, err
	}
	older, olderCode := start("login", false)
	login, loginCode := start("login", true)
	reset, resetCode := start("reset", true)
	unnamed, unnamedCode := start("", true)
	if _, err := e.Check(t.Context(), e.acct, older.ID, olderCode); !errors.Is(err, ErrSuperseded) {
		t.Errorf("the older code by its id: got %v, want %v", err, ErrSuperseded)
	}
	for _, tt := range []struct {
		what  string
		to    string
		of    Purpose
		typed Secret
		want  Outcome
		err   error
	}{
		{"an unknown number", "+12025550101", "login", loginCode, Outcome{}, ErrNotFound},
		{"a purpose without a code", number1, "payment", loginCode, Outcome{}, ErrNotFound},
		{"no number", "12", "login", loginCode, Outcome{}, ErrInvalid},
		{"another purpose's code", number1, "login", resetCode, Outcome{GuessesLeft: 2, Channel: ChannelSMS, Verification: login.ID}, nil},
		{"the superseded code", number1, "login", olderCode, Outcome{GuessesLeft: 1, Channel: ChannelSMS, Verification: login.ID}, nil},
		{"the right code", "+1 (202) 555-0100", "login", loginCode, Outcome{Approved: true, Channel: ChannelSMS, Country: "US", Verification: login.ID}, nil},
		{"it once more", number1, "login", loginCode, Outcome{Verification: login.ID}, ErrApproved},
		{"the other purpose's", number1, "reset", resetCode, Outcome{Approved: true, GuessesLeft: 2, Channel: ChannelSMS, Country: "US", Verification: reset.ID}, nil},
		{"one that names no purpose", number1, "", unnamedCode, Outcome{Approved: true, GuessesLeft: 2, Channel: ChannelSMS, Country: "US", Verification: unnamed.ID}, nil},
	} {
		got, err := check(tt.to, tt.of, tt.typed)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %+v, %v; want %+v, %v", tt.what, got, err, tt.want, tt.err)
		}
	}
	foreign := *e.acct
	foreign.Project.ID = "other"
	if out, err := e.CheckLatest(t.Context(), &foreign, number1, Entry{Purpose: "login", Code: loginCode}); out != (Outcome{}) || err != ErrNotFound {
		t.Errorf("another project's number: got %+v, %v", out, err)
	}
}

// Every state that the older one may be in, and everything that may be different about it.
func TestAStartSupersedesWhatIsPendingAndAlike(t *testing.T) {
	t.Parallel()
	for state, make := range states(t) {
		older, _, now := make()
		newer := started()
		newer.Supersedes = true
		before, ended := older.clone(), older.ended(now)
		if got := newer.Supersede(older, now); got != (ended == nil) {
			t.Errorf("%s: superseded %t", state, got)
		}
		if ended == nil {
			before.Status, before.EndedAt, before.SealedCode = StatusSuperseded, now, nil
		}
		if diff := cmp.Diff(before, older); diff != "" {
			t.Errorf("%s (-want +got)\n%s", state, diff)
		}
	}
	for what, change := range map[string]func(newer, older *Verification){
		"no such term":    func(newer, _ *Verification) { newer.Supersedes = false },
		"itself":          func(newer, older *Verification) { older.ID = newer.ID },
		"another project": func(_, older *Verification) { older.Project = "other" },
		"another number":  func(_, older *Verification) { older.To = "+12025550101" },
		"another purpose": func(_, older *Verification) { older.Purpose = "other" },
		"a user's":        func(_, older *Verification) { older.User = "kola" },
	} {
		newer, older := started(), started()
		newer.Supersedes = true
		change(newer, older)
		if newer.Supersede(older, t0) || older.Status != StatusPending {
			t.Errorf("%s was superseded", what)
		}
	}
	queued, newer := started(), started()
	queued.Delivery, newer.Supersedes = DeliveryQueued, true
	if newer.Supersede(queued, t0); queued.Delivery != DeliveryFailed || queued.Reason != ReasonSuperseded {
		t.Errorf("a queued message: got %v, %v; want it failed as superseded", queued.Delivery, queued.Reason)
	}
}

func TestAStartMayNameAnApplication(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	a := e.application(t, func(a *Application) {
		a.Format, a.Length, a.Life, a.Attempts, a.Prefix = code.Alpha, 8, time.Minute, 2, "G-"
	})
	e.store.applications[ID{9}] = Application{ID: ID{9}, Project: "other", Version: 1}
	v, _ := e.start(t, StartRequest{Channel: ChannelSMS, To: number1, Application: a.ID})
	if v.Application != a.ID || v.Format != code.Alpha || v.Length != 8 || v.MaxAttempts != 2 || v.Prefix != "G-" || !v.ExpiresAt.Equal(t0.Add(time.Minute)) {
		t.Errorf("got %+v, want the application's settings", v)
	}
	for what, id := range map[string]ID{"another project's": {9}, "nobody's": {8}} {
		if _, err := e.Start(t.Context(), e.acct, StartRequest{Channel: ChannelSMS, To: number1, Application: id}); CodeOf(err) != ErrInvalid.Code || err.Error() != "application is the id of no application of the project" {
			t.Errorf("%s: got %v, want the field named", what, err)
		}
	}
	if v, _ := e.start(t, StartRequest{Channel: ChannelSMS, To: number1}); v.Application != e.acct.Application.ID {
		t.Errorf("without one: got application %v, want the account's", v.Application)
	}
}

func TestASnapshotHoldsTheStatusOfNowAndNothingOfTheCode(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	v, _ := e.start(t, StartRequest{Channel: ChannelSMS, To: number1})
	e.clock = v.ExpiresAt
	one, err := e.Verification(t.Context(), e.acct, v.ID)
	if err != nil {
		t.Fatal(err)
	}
	page, next, err := e.Verifications(t.Context(), e.acct, ListRequest{To: "+1 202 555 0100", Before: ID{1}})
	if err != nil || len(page) != 1 || next != (ID{1}) {
		t.Fatalf("list: got %d, %v, %v", len(page), next, err)
	}
	for what, s := range map[string]Snapshot{"one": one, "listed": page[0]} {
		if s.Verification.ID != v.ID || s.Status != StatusExpired || s.Verification.CodeMAC != nil || s.Verification.SealedCode != nil {
			t.Errorf("%s: got %+v", what, s)
		}
	}
	if len(one.Deliveries) != 1 || page[0].Deliveries != nil {
		t.Errorf("deliveries: got %d of one, and %d of a listed one", len(one.Deliveries), len(page[0].Deliveries))
	}
	foreign := *e.acct
	foreign.Project.ID = "other"
	for what, ask := range map[string]func() (Snapshot, error){
		"another project's": func() (Snapshot, error) { return e.Verification(t.Context(), &foreign, v.ID) },
		"nobody's":          func() (Snapshot, error) { return e.Verification(t.Context(), e.acct, ID{1}) },
	} {
		if got, err := ask(); !errors.Is(err, ErrNotFound) || !cmp.Equal(got, Snapshot{}) {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
	}
}
