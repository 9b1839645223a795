package verify

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/record"
)

// An Enrolment lets a browser register itself as a device of a user: whoever has its code may, once. A user has one at a
// time.
type Enrolment struct {
	Hash      []byte // of the code
	ExpiresAt time.Time
	By        ID // the key that asked for it
}

const (
	enrolmentLife   = 10 * time.Minute
	enrolmentLength = 12 // characters of 5 bits
)

// An EnrolmentStore keeps enrolments.
type EnrolmentStore interface {
	// AddEnrolment stores a user's in place of the one before, and writes down which key asked for it.
	AddEnrolment(ctx context.Context, k UserKey, e Enrolment) error
	// Enrolment finds whose enrolment has a hash, with the application. It fails with [ErrNoEnrolment] if that is nobody's
	// any more.
	Enrolment(ctx context.Context, hash []byte) (UserKey, *Application, error)
	// Enrol stores a device as AddDevice does, and forgets the user's enrolment, which must have the hash and be alive:
	// else it fails with [ErrNoEnrolment].
	Enrol(ctx context.Context, k UserKey, hash []byte, d Device, most int) error
}

// Invite makes a code with which a user's browser can register itself. It takes the place of an earlier one.
func (s *Service) Invite(ctx context.Context, acct *Account, application ID, user string) (code Secret, expires time.Time, err error) {
	k, err := userKey(acct, application, user)
	if err != nil {
		return "", expires, err
	}
	text := rand.Text()[:enrolmentLength]
	e := Enrolment{Hash: hashEnrolment(text), ExpiresAt: s.instant().Add(enrolmentLife), By: acct.KeyID}
	if err := s.store.AddEnrolment(context.WithoutCancel(ctx), k, e); err != nil {
		return "", expires, err
	}
	return Secret(text[:4] + "-" + text[4:8] + "-" + text[8:]), e.ExpiresAt, nil
}

// enrolmentLooks are what people type for characters that codes don't have.
var enrolmentLooks = strings.NewReplacer("0", "O", "1", "I", "8", "B", "-", "", " ", "")

// hashEnrolment is what is stored of a code, however somebody typed it. A code has 60 random bits, and lives for minutes.
func hashEnrolment(typed string) []byte {
	sum := sha256.Sum256([]byte("countersign enrolment " + enrolmentLooks.Replace(strings.ToUpper(typed))))
	return sum[:]
}

// FindEnrolment fails with [ErrNoEnrolment] unless the code of an enrolment is that of a user here.
func (s *Service) FindEnrolment(ctx context.Context, typed Secret) error {
	_, _, err := s.store.Enrolment(ctx, hashEnrolment(typed.Reveal()))
	return err
}

// Enrol registers a browser by the code of an enrolment, and says for which application.
func (s *Service) Enrol(ctx context.Context, typed Secret, n NewDevice) (Device, *Application, error) {
	var p problems
	sub := p.subscription(&n)
	if n.Key == "" {
		p.add(FieldKey, "is required")
	}
	if err := p.err(); err != nil {
		return Device{}, nil, err
	}
	hash := hashEnrolment(typed.Reveal())
	k, app, err := s.store.Enrolment(ctx, hash)
	if err != nil {
		return Device{}, nil, err
	}
	about := record.Of(ctx)
	about.Project, about.Application = string(k.Project), record.ID(k.Application)
	d, err := s.sealed(k, n, sub)
	if err != nil {
		return Device{}, nil, err
	}
	return d, app, s.store.Enrol(context.WithoutCancel(ctx), k, hash, d, s.maxDevices)
}

// Owner is the same for all devices of a user: a browser tells by it that it was connected before.
func (d *Device) Owner() string {
	sum := sha256.Sum256([]byte("countersign owner " + d.Application.String() + "/" + d.User))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Asker is how an application calls itself to its users.
func (a *Application) Asker() string { return a.asker("") }

// EnrolmentURL is the page where a code is used; "" if the server doesn't know where it is reached. The code is in the
// fragment, which browsers don't send.
func (s *Service) EnrolmentURL(code Secret) string {
	if s.public == "" {
		return ""
	}
	return strings.TrimRight(s.public, "/") + "/device/#" + code.Reveal()
}
