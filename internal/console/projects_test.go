package console

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

// A project's page has its budget, its ledger, its keys, its applications, and its policy beside a new project's.
func TestAProjectsPage(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	ctx, books, by := context.Background(), admin.New(l.Store), admin.User("me")
	two, hundred, currency, yes := 2, money.Amount(100_000_000), money.Currency("EUR"), true
	if _, err := books.ChangeBudget(ctx, by, "test", admin.BudgetChange{DayMessages: &two, MonthAmount: &hundred, Prepaid: &yes, Currency: &currency}); err != nil {
		t.Fatal(err)
	}
	if _, err := books.TopUp(ctx, by, "test", 50_000_000, "invoice <7>"); err != nil {
		t.Fatal(err)
	}
	ended, err := books.CreateKey(ctx, by, admin.NewKey{Project: "test", Name: "old"})
	if err != nil {
		t.Fatal(err)
	}
	if err := books.RevokeKey(ctx, by, ended.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := books.CreateKey(ctx, by, admin.NewKey{Project: "test", Name: "web", EndsAt: l.Clock.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	text := l.ask(&Person{Name: "ann", Role: operator.RoleViewer}, "GET", "/projects/test", nil).Body.String()
	rows := strings.Join(rowsOf(text), "\n")
	for _, want := range []string{
		"| Messages today | 1 | 2 | 50 %", "| Charged this month | 0.00 EUR | 100.00 EUR | 0 %", "| 2026-05-04 12:00:00 | top-up | 50.00 EUR | me | invoice &lt;7&gt;",
		"| web " /* its id */, "| 2026-05-04 13:00:00", "| senders | any | public", "| policy | compat | compat", "| countries | any | any", "| default | default",
	} {
		if !strings.Contains(rows, want) {
			t.Errorf("no %q in\n%s", want, rows)
		}
	}
	for _, want := range []string{"balance 50.00 EUR", "1 more have ended", "6 settings aren't a new project's"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(rows, "| old") {
		t.Error("a revoked key is listed")
	}
}

// Another project's pages are as absent as those of none.
func TestAnotherProjectsPageIsAsAbsent(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat}, account.NewSecret())
	bob := &Person{Name: "bob", Role: operator.RoleAdmin, Projects: []verify.ProjectID{"other"}}
	for _, path := range []string{"/projects/", "/texts?project="} {
		one, two := l.ask(bob, "GET", path+"test", nil), l.ask(bob, "GET", path+"none", nil)
		if one.Code != http.StatusNotFound || one.Code != two.Code || one.Body.String() != two.Body.String() {
			t.Errorf("%s: got %d, and %d for an absent one", path, one.Code, two.Code)
		}
		if w := l.ask(bob, "GET", path+"other", nil); w.Code != http.StatusOK {
			t.Errorf("%sother: got %d", path, w.Code)
		}
	}
	if text := l.ask(bob, "GET", "/texts", nil).Body.String(); strings.Contains(text, "Test") {
		t.Errorf("the texts name another project:\n%s", text)
	}
}

// What no database holds is absent on each engine.
func TestBytesThatAreNoTextAreAbsent(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	ann := &Person{Name: "ann", Role: operator.RoleAdmin}
	for _, path := range []string{"/traffic/rows?country=", "/traffic/rows?carrier=", "/traffic?project=", "/usage?project=", "/texts?template="} {
		for _, bytes := range []string{"%00", "%ff"} {
			if w := l.ask(ann, "GET", path+bytes, nil); w.Code != http.StatusNotFound {
				t.Errorf("%s%s: got %d", path, bytes, w.Code)
			}
		}
	}
}

// A text is shown for what it is, with its segments and as a phone shows it.
func TestTextsAreShownAsAPhoneShowsThem(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	ctx, acct := context.Background(), l.Account()
	for _, x := range []verify.TextTemplate{
		{Name: "login", Texts: []verify.Text{
			{Text: "{code} is your <b>code</b>."}, {Locale: "de", Channel: verify.ChannelSMS, Text: "{code} – " + strings.Repeat("ü", 70)},
			{Channel: verify.ChannelVoice, Text: "Your code is {code}."}, {Purpose: "payment", Text: "{code} pays {amount} to {payee}"},
		}},
		{Name: "other", Texts: []verify.Text{{Text: "Another {code}"}}},
	} {
		if _, err := l.System.Verify.CreateText(ctx, acct, x); err != nil {
			t.Fatal(err)
		}
		l.Clock.Advance(time.Second) // the oldest is the first
	}
	ann := &Person{Name: "ann", Role: operator.RoleViewer}
	rows := strings.Join(rowsOf(l.ask(ann, "GET", "/texts", nil).Body.String()), "\n")
	for _, want := range []string{
		"| all | all | all | 27 | 1 GSM-7 | 000000 is your &lt;b&gt;code&lt;/b&gt;.", "| all | sms | de | 79 | 2 UCS-2 | 000000 – ü", "| all | voice | all | 30 | | A voice says: Your code is 0, 0, 0, 0, 0, 0.", "| payment | all | all |",
	} {
		if !strings.Contains(rows, want) {
			t.Errorf("no %q in\n%s", want, rows)
		}
	}
	if rows := strings.Join(rowsOf(l.ask(ann, "GET", "/texts?project=test&template=other", nil).Body.String()), "\n"); !strings.Contains(rows, "Another 000000") || strings.Contains(rows, "is your") {
		t.Errorf("another template: got\n%s", rows)
	}
	if w := l.ask(ann, "GET", "/texts?template=none", nil); w.Code != http.StatusNotFound {
		t.Errorf("no template: got %d", w.Code)
	}
}
