package admin

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// Whatever an operator gets wrong is an error that a caller may see, by its kind and code.
func TestOperatorsMistakesAreErrorsThatCallersMaySee(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	st, err := store.Open(ctx, store.Options{Path: filepath.Join(t.TempDir(), "countersign.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s, by := New(st), User("ada")
	if _, err := s.CreateProject(ctx, by, NewProject{ID: "shop", Name: "Shop"}); err != nil {
		t.Fatal(err)
	}
	k, err := s.CreateKey(ctx, by, NewKey{Project: "shop", Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.As(ctx, "shop", k.Token); got != "project shop" || err != nil {
		t.Errorf("a project's own key: got %q, %v", got, err)
	}
	standard, byKey, klingon := verify.ProfileStandard, true, "tlh"
	for what, tt := range map[string]struct {
		do   func() error
		want *verify.Error
	}{
		"an id twice": {func() error { _, err := s.CreateProject(ctx, by, NewProject{ID: "shop", Name: "Shop"}); return err }, verify.ErrExists},
		"no name":     {func() error { _, err := s.CreateProject(ctx, by, NewProject{ID: "other"}); return err }, verify.ErrInvalid},
		"standard without country": {func() error {
			_, err := s.ChangeProject(ctx, by, "shop", ProjectChange{Profile: &standard})
			return err
		}, verify.ErrInvalid},
		"another project": {func() error { _, err := s.ChangeProject(ctx, by, "none", ProjectChange{}); return err }, verify.ErrNoProject},
		"its usage":       {func() error { _, err := s.Usage(ctx, "none", ByCountry); return err }, verify.ErrNoProject},
		"a key of it":     {func() error { _, err := s.CreateKey(ctx, by, NewKey{Project: "none", Name: "web"}); return err }, verify.ErrNoProject},
		"a long name": {func() error {
			_, err := s.CreateKey(ctx, by, NewKey{Project: "shop", Name: strings.Repeat("é", 101)})
			return err
		}, verify.ErrInvalid},
		"two lines": {func() error {
			_, err := s.CreateProject(ctx, by, NewProject{Name: "Shop\nkey revoke"})
			return err
		}, verify.ErrInvalid},
		"an escape":            {func() error { _, err := s.CreateKey(ctx, by, NewKey{Project: "shop", Name: "\x1b[2J"}); return err }, verify.ErrInvalid},
		"no new name":          {func() error { _, err := s.RenameProject(ctx, by, "shop", ""); return err }, verify.ErrInvalid},
		"no project":           {func() error { _, err := s.RenameProject(ctx, by, "none", "Shop"); return err }, verify.ErrNoProject},
		"no project to delete": {func() error { _, err := s.DeleteProject(ctx, by, "none", true); return err }, verify.ErrNoProject},
		"a key's name":         {func() error { return s.RenameKey(ctx, by, k.ID, "two\nlines") }, verify.ErrInvalid},
		"no such key":          {func() error { return s.RenameKey(ctx, by, verify.ID{1}, "web") }, verify.ErrNoAPIKey},
		"no sends":             {func() error { return s.ResetSends(ctx, by, "shop", "+12025550100") }, verify.ErrNoNumber},
		"no key":               {func() error { return s.RevokeKey(ctx, by, verify.ID{1}) }, verify.ErrNoAPIKey},
		"another's key":        {func() error { _, err := s.As(ctx, "none", k.Token); return err }, verify.ErrUnauthenticated},
		"no application":       {func() error { _, err := s.ChangeCalls(ctx, by, "shop", "none", CallsChange{}); return err }, verify.ErrNoApplication},
		"no language": {func() error {
			_, err := s.ChangeCalls(ctx, by, "shop", Default, CallsChange{Locale: &klingon})
			return err
		}, verify.ErrInvalid},
		"a key press for nobody": {func() error {
			_, err := s.ChangeCalls(ctx, by, "shop", Default, CallsChange{ByKey: &byKey})
			return err
		}, ErrNobodyLearns},
		"no number":       {func() error { return s.ResetNumber(ctx, by, "shop", "+12025550100") }, verify.ErrNoNumber},
		"no verification": {func() error { _, err := s.Story(ctx, verify.ID{1}); return err }, verify.ErrNotFound},
	} {
		err := tt.do()
		var seen *verify.Error
		if !errors.As(err, &seen) || seen.Code != tt.want.Code || seen.Kind != tt.want.Kind {
			t.Errorf("%s: got error %v, want one of code %s", what, err, tt.want.Code)
		}
		if tt.want == verify.ErrInvalid && (seen == nil || len(seen.Problems) == 0 || seen.Problems[0].Field == "") {
			t.Errorf("%s: got %v, want the field that is wrong", what, err)
		}
	}
	// What failed is not written down.
	if all, err := st.Audits(ctx, 10); err != nil || len(all) != 2 || all[1].Actor != "ada" || all[1].Action != "project create" {
		t.Errorf("audit: got %+v, %v; want the project and its key", all, err)
	}
}

// Of changes that are made concurrently, none undoes another: each keeps what it wasn't asked to change.
func TestConcurrentChangesKeepEachOther(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	st, err := store.Open(ctx, store.Options{Path: filepath.Join(t.TempDir(), "countersign.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s, by := New(st), User("ada")
	if _, err := s.CreateProject(ctx, by, NewProject{ID: "shop", Name: "Shop"}); err != nil {
		t.Fatal(err)
	}
	yes, host := true, "shop.example"
	for round := range 10 {
		n := 100 + round
		var all sync.WaitGroup
		for _, c := range []ProjectChange{
			{Burst: &n}, {Daily: &n}, {PublicText: &yes}, {WebOTP: &host}, {Transliterate: &yes}, {Senders: &List{Any: true}}, {Countries: []string{"US"}},
		} {
			all.Go(func() {
				if _, err := s.ChangeProject(ctx, by, "shop", c); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		p, err := s.Project(ctx, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if p.Limits.Burst != n || p.Limits.Daily != n || !p.PublicText || p.Style.WebOTP != host || !p.Style.Transliterate || !p.AnySender || len(p.Countries) != 1 {
			t.Fatalf("round %d: a change is lost: %+v", round, p)
		}
		if _, err := s.ChangeProject(ctx, by, "shop", ProjectChange{PublicText: new(bool), WebOTP: new(string), Transliterate: new(bool), Senders: &List{}, Countries: []string{"GB", "DE"}}); err != nil {
			t.Fatal(err)
		}
	}
}
