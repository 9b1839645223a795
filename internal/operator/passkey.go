package operator

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/binary"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

// A Passkey is a second factor that a device holds (WebAuthn), beside the codes of an app. It signs challenges with a key
// that works for this console's address only.
type Passkey struct {
	ID         verify.ID
	Operator   verify.ID
	Credential []byte // its id at the device
	Record     []byte // what checks its signatures
	Name       string
	CreatedAt  time.Time
	UsedAt     time.Time // zero: never
	Challenge  verify.ID // of the last challenge that it signed: each one, and those before, work once
}

const (
	maxPasskeys    = 10
	maxPasskeyName = 50 // characters

	// ChallengeLife is how long a challenge may be signed.
	ChallengeLife = 5 * time.Minute
)

// FieldPasskey is what a device answered.
const FieldPasskey verify.Field = "passkey"

// What people see of passkeys.
var (
	ErrPassword        = &verify.Error{Kind: verify.KindUnauthenticated, Code: "password_refused", Message: "the password is wrong"}
	ErrTooManyPasskeys = &verify.Error{Kind: verify.KindConflict, Code: "too_many_passkeys", Message: "you have 10 passkeys: remove one first"}
	ErrNoPasskey       = &verify.Error{Kind: verify.KindNotFound, Code: "no_passkey", Message: "there is no such passkey"}
	ErrPasskey         = &verify.Error{Kind: verify.KindInvalid, Code: verify.ErrInvalid.Code, Message: verify.ErrInvalid.Message, Problems: []verify.Problem{{Field: FieldPasskey, Message: "isn't right, or took too long: try again"}}}
)

// A Proof is what a device has signed.
type Proof struct {
	Passkey   verify.ID
	Record    []byte // of the passkey from now on
	Challenge verify.ID
	Cloned    bool // another device has counted the key's signatures further: it has a copy
}

// challengeBinding is what a challenge's tag is made for: who may answer it. zero is somebody who signs in.
func challengeBinding(id, who verify.ID) keyset.Binding {
	return keyset.Binding{ID: id, Destination: who.String(), Purpose: "operator passkey challenge"}
}

// Challenge makes a challenge for a device to sign: for an operator who adds a passkey, or zero, for a sign-in. It is an id, a
// key and a tag, so no server has to remember it.
func (s *Service) Challenge(who verify.ID) ([]byte, error) {
	id, key := verify.NewID(s.now()), s.keys.Primary()
	tag, err := s.keys.MAC(key, challengeBinding(id, who), "")
	return append(binary.BigEndian.AppendUint32(id[:], key), tag...), err
}

// CheckChallenge returns the id of a challenge that a server of this installation made for somebody in the last minutes.
func (s *Service) CheckChallenge(challenge []byte, who verify.ID) (id verify.ID, ok bool) {
	n := copy(id[:], challenge)
	if len(challenge) < n+4 {
		return id, false
	}
	tag, err := s.keys.MAC(binary.BigEndian.Uint32(challenge[n:]), challengeBinding(id, who), "")
	age := s.now().Sub(id.Time())
	return id, err == nil && subtle.ConstantTimeCompare(tag, challenge[n+4:]) == 1 && age > -time.Minute && age < ChallengeLife
}

// Passkeys lists an operator's passkeys, the oldest first.
func (s *Service) Passkeys(ctx context.Context, operator verify.ID) ([]Passkey, error) {
	return s.store.Passkeys(ctx, operator)
}

// AddPasskey adds a passkey to an operator who types their password again: a session alone can't. Made returns the credential
// and its record, and fails with [ErrPasskey]. It fails with [ErrPassword], [ErrTooManyPasskeys], [verify.ErrInvalid], and waits as
// [Service.SignIn] does.
func (s *Service) AddPasskey(ctx context.Context, o Operator, name string, password verify.Secret, from Client, made func() (credential, record []byte, err error)) error {
	if name = strings.TrimSpace(name); !verify.IsLabel(name, maxPasskeyName) {
		return &verify.Error{Kind: verify.KindInvalid, Code: verify.ErrInvalid.Code, Message: verify.ErrInvalid.Message, Problems: []verify.Problem{{Field: verify.FieldName, Message: "must be 1 to 50 printable characters"}}}
	}
	address := SourceOf(from.Remote)
	if err := s.charge(ctx, address); err != nil {
		return err
	}
	right, _, err := s.hash.Match(ctx, o.Password, password)
	if err == nil && !right {
		if err := s.store.RefusePasskey(ctx, o, address); err != nil {
			return err
		}
		return ErrPassword // its charge stays: a session can't guess the password
	}
	s.refund(ctx, address)
	if err != nil {
		return err
	}
	now := s.now()
	k := Passkey{ID: verify.NewID(now), Operator: o.ID, Name: name, CreatedAt: now}
	if k.Credential, k.Record, err = made(); err != nil {
		return err
	}
	return s.store.AddPasskey(ctx, o, k, maxPasskeys)
}

// RemovePasskey removes one of an operator's passkeys. It fails with [ErrNoPasskey].
func (s *Service) RemovePasskey(ctx context.Context, o Operator, id verify.ID) error {
	return s.store.RemovePasskey(ctx, o, id)
}

// newer reports whether a proof's challenge comes after the last one that its passkey signed. k is nil if there is none.
func (p *Proof) newer(k *Passkey) bool { return bytes.Compare(p.Challenge[:], k.Challenge[:]) > 0 }
