package verify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/code"
)

func TestAnApplicationHasDefaults(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.clock = t0.Add(700 * time.Microsecond)
	got := e.application(t)
	want := Application{
		ID: got.ID, Project: "project", Name: "Shop", Format: code.Numeric, Length: 6, Life: 10 * time.Minute, Attempts: 5,
		Channels: []Channel{ChannelSMS}, CreatedAt: t0, UpdatedAt: t0, Version: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" || !got.ID.Time().Equal(t0) {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want, e.store.applications[got.ID]); diff != "" {
		t.Errorf("stored (-want +got)\n%s", diff)
	}
}

func TestBoundsOfAnApplicationHoldOnBothSides(t *testing.T) {
	t.Parallel()
	const low, high = "must be greater than or equal to ", "must be less than or equal to "
	long := func(n int) string { return strings.Repeat("ü", n) }
	for _, tt := range []struct {
		name    string
		profile Profile
		edit    func(*Application)
		field   Field
		want    string // "" for none
	}{
		{"no name", ProfileCompat, func(a *Application) { a.Name = "" }, FieldName, "can't be blank"},
		{"longest name", ProfileCompat, func(a *Application) { a.Name = long(255) }, "", ""},
		{"longer name", ProfileCompat, func(a *Application) { a.Name = long(256) }, FieldName, "is too long (maximum is 255 characters)"},
		{"a name that is none", ProfileCompat, func(a *Application) { a.Name = "\xff" }, FieldName, "is not valid UTF-8"},
		{"longest description", ProfileCompat, func(a *Application) { a.Description = long(1024) }, "", ""},
		{"longer description", ProfileCompat, func(a *Application) { a.Description = long(1025) }, FieldDescription, "is too long (maximum is 1024 characters)"},
		{"longest prefix", ProfileCompat, func(a *Application) { a.Prefix = strings.Repeat("G", 16) }, "", ""},
		{"longer prefix", ProfileCompat, func(a *Application) { a.Prefix = strings.Repeat("G", 17) }, FieldPrefix, "is too long (maximum is 16 characters)"},
		{"prefix that can't be shown", ProfileCompat, func(a *Application) { a.Prefix = "G\n" }, FieldPrefix, "has a character that can't be shown"},
		{"longer display name", ProfileCompat, func(a *Application) { a.DisplayName = long(256) }, FieldDisplayName, "is too long (maximum is 255 characters)"},
		{"longer template", ProfileCompat, func(a *Application) { a.AssociateTemplate = long(1601) }, FieldAssociateTemplate, "is too long (maximum is 1600 characters)"},
		{"longer template for logins", ProfileCompat, func(a *Application) { a.LoginTemplate = long(1601) }, FieldLoginTemplate, "is too long (maximum is 1600 characters)"},
		{"longer sender", ProfileCompat, func(a *Application) { a.From = long(256) }, FieldFrom, "is too long (maximum is 255 characters)"},
		{"unknown format", ProfileCompat, func(a *Application) { a.Format = "hex" }, FieldFormat, "is not one of numeric, alpha, alphanumeric and complex"},
		{"shortest", ProfileCompat, func(a *Application) { a.Length = 4 }, "", ""},
		{"shorter", ProfileCompat, func(a *Application) { a.Length = 3 }, FieldLength, low + "4"},
		{"negative", ProfileCompat, func(a *Application) { a.Length = -1 }, FieldLength, low + "4"},
		{"longest", ProfileCompat, func(a *Application) { a.Length = 20 }, "", ""},
		{"longer", ProfileCompat, func(a *Application) { a.Length = 21 }, FieldLength, high + "20"},
		{"shortest life", ProfileCompat, func(a *Application) { a.Life = 30 * time.Second }, "", ""},
		{"shorter life", ProfileCompat, func(a *Application) { a.Life = 29 * time.Second }, FieldLife, low + "30"},
		{"longest life", ProfileCompat, func(a *Application) { a.Life = 24 * time.Hour }, "", ""},
		{"longer life", ProfileCompat, func(a *Application) { a.Life = 24*time.Hour + time.Second }, FieldLife, high + "86400"},
		{"half a second", ProfileCompat, func(a *Application) { a.Life = 30500 * time.Millisecond }, FieldLife, "must be whole seconds"},
		{"push", ProfileCompat, func(a *Application) { a.Channels = []Channel{ChannelSMS, ChannelPush} }, FieldChannels, "has push, which is not available"},
		{"fax", ProfileCompat, func(a *Application) { a.Channels = []Channel{"fax"} }, FieldChannels, "has an unknown method"},
		{"twice", ProfileCompat, func(a *Application) { a.Channels = []Channel{ChannelSMS, ChannelVoice, ChannelSMS} }, FieldChannels, "has sms twice"},
		{"a sender that isn't the project's", ProfileCompat, func(a *Application) { a.From = "+12025550122" }, FieldFrom, "is not a sender of this project"},
		{"a name that isn't the project's", ProfileCompat, func(a *Application) { a.From = "Acme" }, FieldFrom, "is not a sender of this project"},
		{"the project's sender", ProfileCompat, func(a *Application) { a.From = "+1 202 555 0111" }, "", ""},
		{"an unknown sender", ProfileCompat, func(a *Application) { a.From = "channel:x" }, FieldFrom, "is not a sender or a channel of this server"},
		{"a known one", ProfileCompat, func(a *Application) { a.From = "channel:known" }, "", ""},

		{"standard's defaults", ProfileStandard, func(*Application) {}, "", ""},
		{"standard, five digits", ProfileStandard, func(a *Application) { a.Length = 5 }, FieldLength, "is too short for a secure code"},
		{"standard, four of all", ProfileStandard, func(a *Application) { a.Length, a.Format = 4, code.Complex }, "", ""},
		{"standard, a longer life", ProfileStandard, func(a *Application) { a.Life = 601 * time.Second }, FieldLife, high + "600"},
		{"standard, six attempts", ProfileStandard, func(a *Application) { a.Attempts = 6 }, FieldAttempts, high + "5"},
	} {
		e := newEngine(t)
		e.acct.Project.Profile = tt.profile
		e.acct.Project.Senders, e.acct.Project.AnySender = []string{"+12025550111"}, false
		e.senders.strict, e.senders.named = true, map[string]Sender{"channel:known": {From: public, Public: true}}
		a := Application{Name: "Shop"}
		tt.edit(&a)
		_, err := e.CreateApplication(t.Context(), e.acct, a)
		all := found(t, err)
		if tt.want == "" {
			if len(all) > 0 {
				t.Errorf("%s: got %+v", tt.name, all)
			}
			continue
		}
		want := []Problem{{Field: tt.field, Message: tt.want, TooLong: strings.HasPrefix(tt.want, "is too long")}}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("%s: problems (-want +got)\n%s", tt.name, diff)
		}
		if len(e.store.applications) > 0 {
			t.Errorf("%s: it is stored", tt.name)
		}
	}
}

func TestAProjectsApplicationsAndTemplatesAreBoundedUnlessSaidOtherwise(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.application(t)
	if e.store.most != DefaultMaxApplications {
		t.Errorf("got room for %d applications, want %d", e.store.most, DefaultMaxApplications)
	}
	if _, err := e.CreateTemplate(t.Context(), e.acct, MessageTemplate{Name: "first", Pattern: "$code"}); err != nil {
		t.Fatal(err)
	}
	if e.store.most != DefaultMaxTemplates {
		t.Errorf("got room for %d templates, want %d", e.store.most, DefaultMaxTemplates)
	}
}

func TestAnApplicationIsChangedAtItsVersion(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.uniqueNames = true
	a := e.application(t)
	if !e.store.unique {
		t.Error("unique names weren't asked for")
	}
	e.clock = e.clock.Add(time.Minute)
	next := a
	next.Name, next.Length = "Other", 0 // left out again
	if err := e.UpdateApplication(t.Context(), e.acct, next, 1); err != nil {
		t.Fatal(err)
	}
	want := a
	want.Name, want.UpdatedAt, want.Version = "Other", t0.Add(time.Minute), 2
	if diff := cmp.Diff(want, e.store.applications[a.ID]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	bad := next
	bad.Name = ""
	for _, tt := range []struct {
		name    string
		app     Application
		version int
		want    error
	}{
		{"stale", next, 1, ErrStale},
		{"of the future", next, 3, ErrStale},
		{"stale, and wrong", bad, 1, ErrStale},
		{"wrong", bad, 2, ErrInvalid},
		{"absent", Application{ID: NewID(t0)}, 1, ErrNoApplication},
	} {
		if err := e.UpdateApplication(t.Context(), e.acct, tt.app, tt.version); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	theirs := account(ProfileCompat)
	theirs.Project.ID = "other"
	if err := e.UpdateApplication(t.Context(), theirs, next, 2); !errors.Is(err, ErrNoApplication) {
		t.Errorf("another project's: got %v", err)
	}
}
