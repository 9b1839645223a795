package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// A KnownUser is a user of an application, with the project of that and their devices.
type KnownUser struct {
	store.FoundUser
	Devices []verify.Device
}

// Users finds the users who have a number, if one is given, and those whose name a text is, in all applications of some projects; no
// projects are all. It returns at most so many, without their devices, and whether there are more.
func (s *Service) Users(ctx context.Context, among []verify.ProjectID, n phone.Number, name string, most int) (all []KnownUser, more bool, err error) {
	searches := []store.UserSearch{{Among: among, Name: name}}
	if n != "" {
		searches = append(searches, store.UserSearch{Among: among, Number: n.Key()})
	}
	for _, search := range searches {
		found, err := s.store.FindUsers(ctx, search, most+1)
		if err != nil {
			return nil, false, err
		}
		for _, u := range found {
			if !slices.ContainsFunc(all, func(o KnownUser) bool { return o.Application == u.Application && o.Name == u.Name }) {
				all = append(all, KnownUser{FoundUser: u})
			}
		}
	}
	if len(all) > most {
		return all[:most], true, nil
	}
	return all, false, nil
}

// KnownUser reads a user and their devices. It fails with [verify.ErrNoUser], also where none of the projects has the application.
func (s *Service) KnownUser(ctx context.Context, among []verify.ProjectID, application verify.ID, name string) (u KnownUser, err error) {
	if application.IsZero() || name == "" {
		return u, verify.ErrNoUser
	}
	found, err := s.store.FindUsers(ctx, store.UserSearch{Among: among, Application: application, Name: name}, 1)
	if err != nil {
		return u, err
	}
	if len(found) == 0 {
		return u, verify.ErrNoUser
	}
	u.FoundUser = found[0]
	u.Devices, err = s.store.Devices(ctx, u.Key())
	return u, err
}

// RemoveDevice removes a user's device: nothing is pushed to it any more. It fails with [verify.ErrNoDevice] and as
// [verify.DeviceStore] does.
func (s *Service) RemoveDevice(ctx context.Context, by Actor, u verify.UserKey, device verify.ID) error {
	return s.store.RemoveDevice(ctx, u, device, string(by))
}

// DeleteUser deletes a user with their devices, and cancels their live verification. It fails with [verify.ErrNoUser].
func (s *Service) DeleteUser(ctx context.Context, by Actor, u verify.UserKey) error {
	return s.store.DeleteUserBy(ctx, u, string(by))
}

// exportedUsers is how many users are read together for an export of a number.
const exportedUsers = 1000

// ExportNumber writes what a project keeps of a number as JSON, an object a line: the number itself, the users who have it
// with their devices, and its verifications with their attempts, the newest first. It writes each when it has read it. It fails with
// [verify.ErrNoNumber] before it has written anything.
func (s *Service) ExportNumber(ctx context.Context, by Actor, w io.Writer, p verify.ProjectID, n phone.Number) error {
	d, err := s.store.Destination(ctx, p, n)
	known := err == nil
	if err != nil && !errors.Is(err, verify.ErrNoNumber) {
		return err
	}
	users, err := s.store.FindUsers(ctx, store.UserSearch{Among: []verify.ProjectID{p}, Number: n.Key()}, exportedUsers)
	switch {
	case err != nil:
		return err
	case !known && len(users) == 0:
		return verify.ErrNoNumber
	}
	if err := s.recordExport(ctx, by, p, n.Masked()); err != nil {
		return err
	}
	e := export{s, w}
	if known {
		if err := e.write(exportedNumberOf(d)); err != nil {
			return err
		}
	}
	for _, u := range users {
		if err := e.user(ctx, u); err != nil {
			return err
		}
	}
	return e.verifications(ctx, d, func(*verify.Verification) bool { return true })
}

// ExportUser writes what is kept of a user in the same form: the user with their devices, and of their number's verifications
// the ones that were theirs.
func (s *Service) ExportUser(ctx context.Context, by Actor, w io.Writer, u KnownUser) error {
	d, err := s.store.Destination(ctx, u.Project, u.Number())
	if err != nil && !errors.Is(err, verify.ErrNoNumber) {
		return err
	}
	if err := s.recordExport(ctx, by, u.Project, "a user of application "+u.Application.Base62()); err != nil {
		return err
	}
	e := export{s, w}
	if err := e.user(ctx, u.FoundUser); err != nil {
		return err
	}
	return e.verifications(ctx, d, func(v *verify.Verification) bool { return v.Application == u.Application && v.User == u.Name })
}

// recordExport writes down who exports something, before they get it.
func (s *Service) recordExport(ctx context.Context, by Actor, p verify.ProjectID, what string) error {
	entry := by.did("data export", what)
	entry.Project = p
	return s.store.Record(ctx, entry)
}

// An export writes objects as lines.
type export struct {
	*Service
	to io.Writer
}

func (e export) write(object any) error {
	var line bytes.Buffer
	if err := addLine(&line, object); err != nil {
		return err
	}
	_, err := e.to.Write(line.Bytes())
	return err
}

func (e export) user(ctx context.Context, u store.FoundUser) error {
	devices, err := e.store.Devices(ctx, u.Key())
	if errors.Is(err, verify.ErrNoUser) || errors.Is(err, verify.ErrNoApplication) { // deleted since it was read
		return nil
	}
	if err != nil {
		return err
	}
	return e.write(exportedUserOf(u, devices))
}

// verifications writes those of a number that are wanted, one after the other.
func (e export) verifications(ctx context.Context, d verify.Destination, wanted func(*verify.Verification) bool) error {
	for id := d.Latest; !id.IsZero(); {
		v, err := e.store.Verification(ctx, id)
		if errors.Is(err, verify.ErrNotFound) {
			return nil // past its retention, and so are the ones before it
		}
		if err != nil {
			return err
		}
		if wanted(v) {
			attempts, err := e.store.Deliveries(ctx, id)
			if err != nil {
				return err
			}
			if err := e.write(exportedVerificationOf(v, attempts, e.Now())); err != nil {
				return err
			}
		}
		id = v.Previous
	}
	return nil
}

type exportedNumber struct {
	Type         string       `json:"type"`
	Project      string       `json:"project"`
	Number       phone.Number `json:"number"`
	WrongGuesses int          `json:"wrong_guesses"`
	WaitUntil    *time.Time   `json:"wait_until,omitempty"`
	Messages     []time.Time  `json:"messages_in_24h"`
}

func exportedNumberOf(d verify.Destination) exportedNumber {
	e := exportedNumber{"number", string(d.Project), d.Number, d.Failures, instant(d.WaitUntil), []time.Time{}}
	for _, at := range d.Sends {
		e.Messages = append(e.Messages, at.UTC())
	}
	return e
}

type exportedUser struct {
	Type        string           `json:"type"`
	Project     string           `json:"project"`
	Application string           `json:"application"`
	User        string           `json:"user"`
	Number      phone.Number     `json:"number"`
	Status      string           `json:"status"`
	VerifiedAt  *time.Time       `json:"verified_at,omitempty"`
	CreatedAt   time.Time        `json:"created_at"`
	UpdatedAt   time.Time        `json:"updated_at"`
	Prompts     int              `json:"prompts"`
	DeniedAt    *time.Time       `json:"denied_at,omitempty"`
	Devices     []exportedDevice `json:"devices"`
}

// An exportedDevice has no endpoint: that is a secret of the device.
type exportedDevice struct {
	ID           verify.ID  `json:"id"`
	Kind         string     `json:"kind"`
	Name         string     `json:"name"`
	Locale       string     `json:"locale"`
	RegisteredAt time.Time  `json:"registered_at"`
	LastUsedAt   *time.Time `json:"last_used_at,omitempty"`
}

func exportedUserOf(u store.FoundUser, devices []verify.Device) exportedUser {
	e := exportedUser{
		"user", string(u.Project), u.Application.Base62(), u.Name, u.Number(), u.Status.String(), instant(u.Verified()), u.CreatedAt.UTC(), u.UpdatedAt.UTC(),
		u.Prompts, instant(u.DeniedAt), []exportedDevice{},
	}
	for _, d := range devices {
		e.Devices = append(e.Devices, exportedDevice{d.ID, string(d.Kind), d.Name, d.Locale, d.ID.Time().UTC(), instant(d.UsedAt)})
	}
	return e
}

type exportedVerification struct {
	Type        string            `json:"type"`
	ID          verify.ID         `json:"id"`
	Project     string            `json:"project"`
	Application string            `json:"application"`
	User        string            `json:"user,omitempty"`
	Number      phone.Number      `json:"number"`
	Channel     verify.Channel    `json:"channel"`
	Purpose     verify.Purpose    `json:"purpose,omitempty"`
	Sender      string            `json:"sender"`
	Text        string            `json:"text"` // with a placeholder where the code was
	Locale      string            `json:"locale,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Amount      string            `json:"amount,omitempty"`
	Payee       string            `json:"payee,omitempty"`
	Client      *exportedClient   `json:"client,omitempty"`
	Address     string            `json:"started_from,omitempty"` // the client's, which is the caller's server
	StartedAt   time.Time         `json:"started_at"`
	ExpiresAt   time.Time         `json:"expires_at"`
	EndedAt     *time.Time        `json:"ended_at,omitempty"`
	Status      string            `json:"status"`
	Guesses     int               `json:"guesses"`
	Delivery    string            `json:"delivery"`
	Reason      string            `json:"reason,omitempty"`
	Attempts    []exportedAttempt `json:"attempts"`
}

// An exportedClient is who asked, as a prompt shows it.
type exportedClient struct {
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Device    string `json:"device,omitempty"`
	Place     string `json:"place,omitempty"`
}

type exportedAttempt struct {
	Attempt   int            `json:"attempt"`
	Channel   verify.Channel `json:"channel"`
	Carrier   string         `json:"carrier"`
	Outcome   string         `json:"outcome"`
	Reason    string         `json:"reason,omitempty"`
	Code      string         `json:"carrier_code,omitempty"`
	Ref       string         `json:"ref,omitempty"`
	StartedAt time.Time      `json:"started_at"`
	EndedAt   time.Time      `json:"ended_at"`
	Receipt   string         `json:"receipt,omitempty"`
	ReceiptAt *time.Time     `json:"receipt_at,omitempty"`
}

func exportedVerificationOf(v *verify.Verification, attempts []verify.Delivery, now time.Time) exportedVerification {
	e := exportedVerification{
		Type: "verification", ID: v.ID, Project: string(v.Project), Application: v.Application.Base62(), User: v.User, Number: v.Reach(),
		Channel: v.Channel, Purpose: v.Purpose, Sender: v.Sender, Text: v.Text, Locale: v.Locale, Metadata: maps.Clone(v.Metadata), Amount: v.Amount, Payee: v.Payee,
		Address: v.Address, StartedAt: v.ID.Time().UTC(), ExpiresAt: v.ExpiresAt.UTC(), EndedAt: instant(v.EndedAt), Status: v.StatusAt(now).String(),
		Guesses: v.Guesses, Delivery: v.Delivery.String(), Reason: v.Reason.String(), Attempts: []exportedAttempt{},
	}
	if v.Prompt.Client != (verify.Client{}) {
		e.Client = (*exportedClient)(&v.Prompt.Client)
	}
	for _, d := range attempts {
		a := exportedAttempt{
			Attempt: d.Attempt, Channel: d.Channel, Carrier: d.Carrier, Outcome: d.Outcome.String(), Reason: d.Reason.String(), Code: d.CarrierCode, Ref: d.Ref,
			StartedAt: d.StartedAt.UTC(), EndedAt: d.EndedAt.UTC(), ReceiptAt: instant(d.ReceiptAt),
		}
		if a.Channel == "" {
			a.Channel = v.Channel
		}
		if d.Receipt != verify.NoReceipt {
			a.Receipt = d.Receipt.String()
		}
		e.Attempts = append(e.Attempts, a)
	}
	return e
}

// instant is a time as JSON has it; nil: there is none.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
