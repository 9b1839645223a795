package verify

import (
	"cmp"
	"context"
	"time"
)

// MaxImport is how many users one import may have.
const MaxImport = 100

// An ImportedUser is somebody whose number another service has validated.
type ImportedUser struct {
	Name       string
	Address    string    // as in an [AssociateRequest]
	VerifiedAt time.Time // when the other service last validated it; zero: at the import
}

// An Imported says what became of a user of an import. An import creates users and changes none, so that one that is
// carried out twice, or late, doesn't undo what happened to a user meanwhile.
type Imported struct {
	Created bool
	Err     error // an [ErrInvalid] or [ErrUserDiffers]; nil, and nothing created: the user was there like that
}

// ImportUsers makes users of an application whose numbers are validated. Nothing is sent. It says of each user what
// became of them. It fails with [ErrInvalid] if there are more than [MaxImport], and with [ErrNoApplication].
func (s *Service) ImportUsers(ctx context.Context, acct *Account, application ID, given []ImportedUser) ([]Imported, error) {
	var p problems
	if n := len(given); n < 1 || n > MaxImport {
		p.add(FieldUsers, "has %d users (1 to %d are allowed)", n, MaxImport)
		return nil, p.err()
	}
	now := s.instant()
	users, refused := make([]User, len(given)), make([]error, len(given))
	for i := range given {
		users[i], refused[i] = ImportUser(acct, application, &given[i], now)
	}
	return s.store.ImportUsers(context.WithoutCancel(ctx), acct.Project.ID, application, users, refused, acct.KeyID)
}

// ImportUser is the user that an import would create, or says all that is wrong with it in an [ErrInvalid].
func ImportUser(acct *Account, application ID, in *ImportedUser, now time.Time) (User, error) {
	var p problems
	p.userName(in.Name)
	number := p.address(in.Address, &acct.Project).number
	if in.VerifiedAt.After(now) {
		p.add(FieldVerifiedAt, "is in the future")
	}
	if !in.VerifiedAt.IsZero() && in.VerifiedAt.Before(time.Unix(1, 0)) {
		p.add(FieldVerifiedAt, "is before 1970")
	}
	verified := cmp.Or(in.VerifiedAt, now).Truncate(time.Millisecond)
	return User{
		Application: application, Name: in.Name, Address: in.Address, NumberKey: number.Key(), Status: UserValidated, VerifiedAt: verified,
		CreatedAt: now, UpdatedAt: now, Version: 1,
	}, p.err()
}

// MeetsImport says what becomes of an imported user where the user is there already.
func (u *User) MeetsImport(imported *User) Imported {
	if u.Status == UserValidated && u.Number() == imported.Number() {
		return Imported{}
	}
	return Imported{Err: ErrUserDiffers}
}

// ImportedApplication completes an application that has the id that it had elsewhere, as [Service.CreateApplication]
// does one that is new. It fails with [ErrInvalid] and [ErrNoTemplate].
func (s *Service) ImportedApplication(ctx context.Context, acct *Account, a Application) (Application, error) {
	now := s.instant()
	a.Project, a.CreatedAt, a.UpdatedAt, a.Version = acct.Project.ID, now, now, 1
	a.complete()
	return a, s.checkApplication(ctx, acct, &a)
}
