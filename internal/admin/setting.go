package admin

import (
	"context"
	"strings"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/verify"
)

// A Setting is one of a project's, by the name of its flag, beside that of a new project.
type Setting struct{ Name, Value, Default string }

// Changed reports whether it isn't a new project's.
func (s Setting) Changed() bool { return s.Value != s.Default }

// Settings are a project's policy beside a new project's, without whole numbers.
func Settings(p verify.Project) (all []Setting) {
	fresh := settings(verify.Project{Name: p.Name, Profile: verify.ProfileCompat, Limits: verify.DefaultLimits})
	for i, s := range settings(p) {
		if s[0] != "name" {
			all = append(all, Setting{s[0], emptyText(s, p.Profile), emptyText(fresh[i], verify.ProfileCompat)})
		}
	}
	return all
}

// emptyText says what an empty list means, and writes others without brackets.
func emptyText(setting [2]string, profile verify.Profile) string {
	if setting[1] != "[]" {
		return strings.Trim(setting[1], "[]")
	}
	switch {
	case setting[0] == "senders":
		return "public"
	case setting[0] == "only-number", setting[0] == "countries" && profile != verify.ProfileStandard:
		return "any"
	}
	return "none"
}

// Keys lists a project's API keys, the oldest first, without their secrets.
func (s *Service) Keys(ctx context.Context, p verify.ProjectID) ([]account.Key, error) {
	return s.store.Keys(ctx, p)
}

// Texts lists a project's text templates without their texts, the oldest first.
func (s *Service) Texts(ctx context.Context, p verify.ProjectID) ([]verify.TextTemplate, error) {
	return s.store.Texts(ctx, p)
}

// Text reads a text template of a project by its name. It fails with [verify.ErrNoTemplate].
func (s *Service) Text(ctx context.Context, p verify.ProjectID, name string) (verify.TextTemplate, error) {
	return s.store.TextNamed(ctx, p, name)
}

// Templates lists the texts that a project keeps for its applications to name, the oldest first.
func (s *Service) Templates(ctx context.Context, p verify.ProjectID) ([]verify.MessageTemplate, error) {
	return s.store.Templates(ctx, p)
}
