package verify

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/record"
)

// An AssociateRequest asks whether an address is a user's.
type AssociateRequest struct {
	Address     string  // E.164 as people write it; "voice:" before it asks for a call
	DisplayName string  // instead of the application's, in this message
	Channel     Channel // "": as the address says, else the application's preferred one
}

// A LoginRequest asks for a code to log in with.
type LoginRequest struct {
	DisplayName string
	Channel     Channel
}

// Associate gives a user an address and sends a code there. It makes a user who isn't there, and a
// validated one is pending again.
func (s *Service) Associate(ctx context.Context, acct *Account, application ID, user string, r AssociateRequest) error {
	k, err := userKey(acct, application, user)
	if err != nil {
		return err
	}
	_, err = s.startUser(ctx, acct, k, association, userRequest{address: r.Address, displayName: r.DisplayName, channel: r.Channel})
	return err
}

// AssociateDevice registers a device for a user whose number is validated, and pushes a code, which a login's check takes.
// A device alone is no address: all limits are of numbers.
func (s *Service) AssociateDevice(ctx context.Context, acct *Account, application ID, user string, n NewDevice, displayName string) error {
	app, err := s.store.Application(ctx, acct.Project.ID, application)
	if err != nil {
		return err
	}
	u, err := s.User(ctx, acct, application, user)
	if err != nil && !errors.Is(err, ErrNoUser) {
		return err
	}
	var p problems
	switch {
	case !slices.Contains(app.Channels, ChannelPush):
		p.add(FieldAddress, "asks for push, which is none of the application's channels")
	case err != nil || u.Status != UserValidated:
		p.add(FieldAddress, "is a device's, which needs a user with a validated phone number; associate that first")
	}
	if err := p.err(); err != nil {
		return err
	}
	if _, err := s.RegisterDevice(ctx, acct, application, user, n); err != nil {
		return err
	}
	return s.LoginStart(ctx, acct, application, user, LoginRequest{DisplayName: displayName, Channel: ChannelPush})
}

// LoginStart sends a code to a user whose address is validated.
func (s *Service) LoginStart(ctx context.Context, acct *Account, application ID, user string, r LoginRequest) error {
	_, err := s.StartFor(ctx, acct, application, user, UserStartRequest{LoginRequest: r})
	return err
}

// A UserStartRequest asks for a verification of a user whose address is validated.
type UserStartRequest struct {
	LoginRequest
	Prompt  bool    // ask on the user's devices, instead of sending a code: see [Prompt]
	Purpose Purpose // "": [PurposeMFA]
	Details
}

// StartFor starts a verification of a user whose address is validated.
func (s *Service) StartFor(ctx context.Context, acct *Account, application ID, user string, r UserStartRequest) (*Verification, error) {
	k, err := userKey(acct, application, user)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	u, err := s.store.User(ctx, k)
	if err != nil {
		return nil, err
	}
	if u.Status != UserValidated {
		return nil, ErrNotValidated
	}
	return s.startUser(ctx, acct, k, login, userRequest{
		address: u.Address, displayName: r.DisplayName, channel: r.Channel, byPrompt: r.Prompt, purpose: r.Purpose, details: r.Details,
	})
}

// A userRequest is what both of them ask for.
type userRequest struct {
	address     string
	displayName string
	channel     Channel
	byPrompt    bool
	purpose     Purpose
	details     Details
}

// startUser starts a verification of a user's address.
func (s *Service) startUser(ctx context.Context, acct *Account, k UserKey, why *occasion, r userRequest) (*Verification, error) {
	ctx = context.WithoutCancel(ctx) // nothing is left half done because the caller hangs up
	with, err := s.in(ctx, acct, k.Application)
	if err != nil {
		return nil, err
	}
	o := s.userOrder(with, why, r)
	v := s.begin(with)
	v.User, v.Purpose = k.Name, o.Purpose
	if o.byPrompt {
		able, err := s.canAnswer(ctx, k)
		if err != nil {
			return nil, err
		}
		if able {
			v.Prompt = newPrompt(acct.Project.Profile)
			v.Prompt.Client = o.Client
		}
	}
	err = s.settle(ctx, with, &o, v.ID.Time(), &v.Terms)
	if err == nil {
		err = s.launch(ctx, acct, v, "", func(place Place) error {
			return s.store.StartUser(ctx, v, UserStart{
				Associate: why.associates, Unique: with.Application.UniqueNumbers, Address: r.address,
				Limits: acct.Project.Limits, UserLimits: s.userLimits, Lease: place.Lease(), By: place.Channel(),
			})
		})
	}
	s.observer.Started(acct.Project.ID, o.Channel, countryOf(v, ""), err)
	return v, err
}

// Validate spends one guess on a user's latest code, of an association or of a login, and says what
// came of it. Number says that it was typed as a number, which doesn't keep its zeros in front. It
// fails with [ErrNoCode], [ErrExpired] and [ErrGuessesSpent] where there is nothing to guess.
func (s *Service) Validate(ctx context.Context, acct *Account, application ID, user string, typed Secret, number bool) (Outcome, error) {
	out, err := s.checkUser(ctx, acct, application, user, typed, number)
	if errors.Is(err, ErrApproved) || errors.Is(err, ErrCanceled) {
		err = ErrNoCode
	}
	return out, err
}

// CheckUser spends one guess on a user's latest code, as Check does on a verification. It fails with [ErrNoCode] if
// there is none.
func (s *Service) CheckUser(ctx context.Context, acct *Account, application ID, user string, typed Secret) (Outcome, error) {
	return s.checkUser(ctx, acct, application, user, typed, false)
}

func (s *Service) checkUser(ctx context.Context, acct *Account, application ID, user string, typed Secret, number bool) (Outcome, error) {
	k, err := userKey(acct, application, user)
	if err != nil {
		return Outcome{}, err
	}
	about := record.Of(ctx)
	about.Application = record.ID(application)
	out, err := s.store.CheckUser(context.WithoutCancel(ctx), k, s.guess(acct, func(v *Verification) string {
		text := typed.Reveal()
		if number && v.Format == code.Numeric && len(text) < v.Length {
			text = strings.Repeat("0", v.Length-len(text)) + text
		}
		return text
	}))
	about.Verification = record.ID(out.Verification)
	s.observer.Checked(acct.Project.ID, out, err)
	return out, err
}

// Dissociate takes a user's address and cancels his code.
func (s *Service) Dissociate(ctx context.Context, acct *Account, application ID, user string) error {
	k, err := userKey(acct, application, user)
	if err != nil {
		return err
	}
	return s.store.Dissociate(context.WithoutCancel(ctx), k)
}

// DeleteUser deletes a user, and cancels his code.
func (s *Service) DeleteUser(ctx context.Context, acct *Account, application ID, user string) error {
	k, err := userKey(acct, application, user)
	if err != nil {
		return err
	}
	return s.store.DeleteUser(context.WithoutCancel(ctx), k)
}

// User reads a user.
func (s *Service) User(ctx context.Context, acct *Account, application ID, user string) (User, error) {
	k, err := userKey(acct, application, user)
	if err != nil {
		return User{}, err
	}
	return s.store.User(ctx, k)
}

// UsersAfter returns an application's users with a status and a number, in the order of their names, behind a name, and
// whether there may be more. Zero values let all pass. It fails with [ErrInvalid] if that is no number.
func (s *Service) UsersAfter(ctx context.Context, acct *Account, application ID, status UserStatus, number, after string, limit int) (users []User, more bool, err error) {
	var n phone.Number
	if number != "" {
		var p problems
		n = p.parse(FieldAddress, number).Key()
		if err := p.err(); err != nil {
			return nil, false, err
		}
	}
	users, err = s.store.UsersAfter(ctx, acct.Project.ID, application, status, n, after, limit+1)
	if len(users) > limit {
		return users[:limit], true, err
	}
	return users, false, err
}

// Users returns a page of an application's users that pass a filter, and how many do.
func (s *Service) Users(ctx context.Context, acct *Account, application ID, f UserFilter, page Page) ([]User, int, error) {
	if !Storable(f.Name) {
		_, err := s.store.Application(ctx, acct.Project.ID, application)
		return nil, 0, err // nobody has such a name
	}
	return s.store.Users(ctx, acct.Project.ID, application, f, page)
}
