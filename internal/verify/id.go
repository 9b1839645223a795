package verify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// An ID names a verification or a message. It is a UUIDv7 (RFC 9562 §5.7), so ids sort by the
// time at which they were made, to the millisecond, and the newest rows of a table stay together.
type ID [16]byte

// NewID makes an id at an instant. 74 of its bits are random.
func NewID(now time.Time) ID {
	var id ID
	rand.Read(id[:]) // never fails, see crypto/rand
	setTime(&id, now)
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// FirstID is the smallest id of an instant: ids made before it sort before FirstID(t).
func FirstID(t time.Time) ID {
	var id ID
	setTime(&id, t)
	return id
}

func setTime(id *ID, t time.Time) {
	ms := uint64(max(t.UnixMilli(), 0))
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
}

// ParseID reads the 36-character form of a UUID, in either case.
func ParseID(s string) (ID, error) {
	if len(s) != 36 { // uuid.Parse also takes braces, URNs and bare hex
		return ID{}, ErrNotFound
	}
	u, err := uuid.Parse(s)
	if err != nil {
		return ID{}, ErrNotFound
	}
	return ID(u), nil
}

// String returns the 36-character form in lower case.
func (id ID) String() string { return uuid.UUID(id).String() }

// MarshalText writes the form of [ID.String], for logs and JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Time is the instant at which the id was made.
func (id ID) Time() time.Time {
	ms := uint64(binary.BigEndian.Uint16(id[0:]))<<32 | uint64(binary.BigEndian.Uint32(id[2:]))
	return time.UnixMilli(int64(ms))
}

// IsZero reports whether the id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// message derives the id of the message that carries a verification's code, by another channel than the
// verification's or by "", after so many resends. It is the same in every attempt, also after a crash, so that receivers
// can drop repeats; and it is another id than the verification's, so that a carrier learns nothing that an API caller uses.
func (id ID) message(by Channel, resends int) ID {
	sum := sha256.Sum256(slices.Concat([]byte("countersign message v1\x00"), id[:], []byte(by), []byte(strings.Repeat("+", resends))))
	m := ID(sum[:16])
	m[6] = m[6]&0x0f | 0x80 // UUIDv8: a vendor's own scheme
	m[8] = m[8]&0x3f | 0x80
	return m
}

// A Secret is text that must not reach a log, an error or an API answer: a code, or a message that
// holds one. Everything that formats it prints a placeholder; [Secret.Reveal] gives the text.
// (In a struct, only an exported field hides it: fmt can't call the methods of the others.)
type Secret string

const redacted = "[secret]"

// Reveal returns the text. Callers are the few places that a secret is for.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string               { return redacted }
func (s Secret) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) } // also for a wrong verb
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// A ProjectID names a project: 1 to 64 of A–Z a–z 0–9 . _ -, a UUID unless the operator chose
// another. It is the user name of SignalWire's Basic authentication, hence no colon.
type ProjectID string

// Valid reports whether the id has the form above.
func (p ProjectID) Valid() bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
	return len(p) >= 1 && len(p) <= 64 && strings.Trim(string(p), allowed) == ""
}
