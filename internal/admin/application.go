package admin

import (
	"context"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

// Default names a project's default application, whose id no API shows.
const Default = "default"

// ApplicationName is an application's id as APIs show it.
func ApplicationName(a verify.Application) string {
	if a.Version == 0 {
		return Default
	}
	return a.ID.Base62()
}

// Applications lists a project's applications, with its default one. Each project has that, so without any there is
// no project: then it fails with [verify.ErrNoProject].
func (s *Service) Applications(ctx context.Context, p verify.ProjectID) ([]verify.Application, error) {
	all, err := s.store.AllApplications(ctx, p)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("project %s: %w", p, verify.ErrNoProject)
	}
	return all, err
}

// Application finds an application by its id, in any form, or by [Default]. It fails with [verify.ErrNoApplication].
func (s *Service) Application(ctx context.Context, p verify.ProjectID, name string) (verify.Application, error) {
	all, err := s.Applications(ctx, p)
	if err != nil {
		return verify.Application{}, err
	}
	id, _ := verify.ParseAnyID(name) // zero is nobody's
	i := slices.IndexFunc(all, func(a verify.Application) bool { return a.ID == id || ApplicationName(a) == name })
	if i < 0 {
		return verify.Application{}, fmt.Errorf("application %s: %w", name, verify.ErrNoApplication)
	}
	return all[i], nil
}

// A CallsChange has those settings of an application's calls that are to change. What is nil stays as it is.
type CallsChange struct {
	Locale *string // "": none of its own
	ByKey  *bool
}

// Check says what is wrong with the change, whatever its application is, in a [verify.ErrInvalid].
func (c *CallsChange) Check() error {
	var wrong problems
	if c.Locale != nil {
		if problem := speech.Problem(*c.Locale); problem != "" {
			wrong.add(FieldLocale, "%s", problem)
		}
	}
	return wrong.err()
}

// Errors of calls that were to be approved by a key.
var (
	ErrPolicyWantsCode = &verify.Error{Kind: verify.KindConflict, Code: "policy_wants_code", Message: "the project's policy is standard, which wants a code (NIST SP 800-63B-4 §3.1.3)"}
	ErrNobodyLearns    = &verify.Error{Kind: verify.KindConflict, Code: "default_application", Message: "not for the default application, whose callers have no way to learn that a call was approved"}
)

// ChangeCalls changes how an application's calls are made, and returns the application. What is under way keeps the
// old settings. It fails with [verify.ErrInvalid], [verify.ErrNoProject], [verify.ErrNoApplication],
// [ErrPolicyWantsCode] and [ErrNobodyLearns].
func (s *Service) ChangeCalls(ctx context.Context, by Actor, p verify.ProjectID, name string, c CallsChange) (verify.Application, error) {
	if err := c.Check(); err != nil {
		return verify.Application{}, err
	}
	a, err := s.Application(ctx, p, name)
	if err != nil {
		return a, err
	}
	return s.store.ChangeCalls(ctx, a.Project, a.ID, string(by), func(p verify.Project, a *verify.Application) error {
		if c.ByKey != nil && *c.ByKey {
			switch {
			case !p.Profile.AllowsKey():
				return ErrPolicyWantsCode
			case a.Version == 0:
				return ErrNobodyLearns
			}
		}
		assign(&a.Calls.Locale, c.Locale)
		assign(&a.Calls.ByKey, c.ByKey)
		return nil
	})
}
