package countersigntest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// A project that is being tried confirms numbers by codes, five at most, and sends to these alone, with the operator's words
// before its texts.
func TestATrialSendsToConfirmedNumbersOnly(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{Settings: verify.Settings{TrialPrefix: "Trial:"}})
	a := admin.New(k.Store)
	p, err := a.CreateProject(t.Context(), "test", admin.NewProject{ID: "trial", Name: "Trial", Trial: &admin.Trial{Messages: 20}})
	if err != nil {
		t.Fatal(err)
	}
	account := func() *verify.Account {
		stored, err := a.Project(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		acct := *k.Account()
		acct.Project = stored
		acct.Application.Project = stored.ID
		return &acct
	}
	number := func(i int) string { return fmt.Sprintf("+1202555%04d", 100+i) }
	start := func(i int, purpose verify.Purpose, edits ...func(*verify.StartRequest)) (*verify.Verification, error) {
		r := verify.StartRequest{Channel: verify.ChannelSMS, To: number(i), Purpose: purpose}
		for _, edit := range edits {
			edit(&r)
		}
		return k.Verify.Start(t.Context(), account(), r)
	}
	own := func(r *verify.StartRequest) { r.Code = "123456" }
	for name, err := range map[string]error{
		"a number that isn't confirmed": second(start(0, "")),
		"another purpose":               second(start(0, "login")),
		"a code of the caller's":        second(start(0, verify.TrialNumber, own)),
		"a text of the caller's":        second(start(0, verify.TrialNumber, func(r *verify.StartRequest) { r.Text = "Buy {code}" })),
	} {
		if !errors.Is(err, verify.ErrInvalid) {
			t.Errorf("%s: got %v, want %v", name, err, verify.ErrInvalid)
		}
	}
	confirm := func(i int) {
		t.Helper()
		v, err := start(i, verify.TrialNumber)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Verify.Check(t.Context(), account(), v.ID, "000000x"); err != nil {
			t.Fatal(err)
		}
		if n := len(account().Project.OnlyNumbers); n != i {
			t.Errorf("after a wrong code: got %d numbers, want %d", n, i)
		}
		if out, err := k.Verify.Check(t.Context(), account(), v.ID, verify.Secret(k.Code(number(i), v.ID.String()))); err != nil || !out.Approved {
			t.Fatalf("the right code: got %+v, %v", out, err)
		}
	}
	for i := range verify.MaxTrialNumbers {
		confirm(i)
		k.Advance(time.Hour)
	}
	want := make([]phone.Number, verify.MaxTrialNumbers)
	for i := range want {
		want[i] = phone.Number(number(i))
	}
	if got := account().Project.OnlyNumbers; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("numbers: got %v, want %v", got, want)
	}
	if _, err := start(5, verify.TrialNumber); !errors.Is(err, verify.ErrInvalid) || !strings.Contains(err.Error(), "confirms no more numbers") {
		t.Errorf("a sixth: got %v", err)
	}
	v, err := start(2, "")
	if err != nil || !strings.HasPrefix(v.Text, "Trial: ") {
		t.Errorf("a confirmed number: got %+v, %v, want the operator's words before the text", v, err)
	}
	entries, err := a.AuditsBefore(t.Context(), verify.ID{}, 100)
	n := 0
	for _, e := range entries {
		if e.Action == "trial number" && e.Project == p.ID {
			n++
		}
	}
	if err != nil || n != verify.MaxTrialNumbers {
		t.Errorf("audit: got %d numbers, %v, want %d", n, err, verify.MaxTrialNumbers)
	}
}

func second[A, B any](_ A, b B) B { return b }
