package operator

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/countersign/countersign/internal/verify"
)

// cost is what a hash of argon2id costs. The first choice of OWASP's cheat sheet that fits small machines.
type cost struct {
	KiB, Passes uint32
	Lanes       uint8
}

var today = cost{KiB: 19 << 10, Passes: 2, Lanes: 1}

const (
	saltSize = 16
	hashSize = 32

	shortest = 12  // characters of a password
	longest  = 128 // bytes of it

	hashers  = 2 // hashes at a time, which bounds their memory
	patience = 3 * time.Second
)

// A Hasher hashes passwords, only a few at a time: sign-ins can't take all memory.
type Hasher struct {
	slots slots
	decoy string // a hash at random, which no password has
}

// NewHasher returns a hasher.
func NewHasher() *Hasher {
	return &Hasher{slots: make(slots, hashers), decoy: today.phc(random(saltSize), random(hashSize))}
}

// Slots bound how many do something at a time.
type slots chan struct{}

// enter waits for a slot. It fails with [ErrBusy].
func (s slots) enter(ctx context.Context) (leave func(), err error) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	case <-t.C:
		return nil, ErrBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Hash returns a password's hash in PHC form.
func (h *Hasher) Hash(ctx context.Context, password verify.Secret) (string, error) {
	leave, err := h.slots.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	return hash(password.Reveal(), today), nil
}

// Match compares a password with a hash, and hashes it again when the parameters have changed. Without a hash it
// costs the same and is false.
func (h *Hasher) Match(ctx context.Context, stored string, password verify.Secret) (right bool, rehashed string, err error) {
	leave, err := h.slots.enter(ctx)
	if err != nil {
		return false, "", err
	}
	defer leave()
	none := stored == ""
	if none {
		stored = h.decoy
	}
	c, salt, sum, err := parse(stored)
	if err != nil {
		return false, "", err
	}
	right = subtle.ConstantTimeCompare(c.sum(password.Reveal(), salt), sum) == 1 && !none
	if right && c != today {
		rehashed = hash(password.Reveal(), today)
	}
	return right, rehashed, nil
}

func (c cost) sum(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, c.Passes, c.KiB, c.Lanes, hashSize)
}

var b64 = base64.RawStdEncoding

func hash(password string, c cost) string {
	salt := random(saltSize)
	return c.phc(salt, c.sum(password, salt))
}

func random(size int) []byte {
	b := make([]byte, size)
	rand.Read(b) // never fails, see crypto/rand
	return b
}

func (c cost) phc(salt, sum []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.KiB, c.Passes, c.Lanes,
		b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// errHash doesn't quote the hash.
var errHash = errors.New("a stored password hash is damaged")

// parse reads a hash. Its bounds keep a damaged row from taking all memory.
func parse(phc string) (c cost, salt, sum []byte, err error) {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.KiB, &c.Passes, &c.Lanes); err != nil {
		return c, nil, nil, errHash
	}
	salt, errSalt := b64.DecodeString(parts[4])
	sum, errSum := b64.DecodeString(parts[5])
	if errSalt != nil || errSum != nil || len(sum) != hashSize || c.KiB > 256<<10 || c.Passes < 1 || c.Passes > 16 || c.Lanes < 1 {
		return c, nil, nil, errHash
	}
	return c, salt, sum, nil
}

// passwordProblems are all that is wrong with a new password.
func passwordProblems(name string, password verify.Secret) []verify.Problem {
	text := password.Reveal()
	switch {
	case !utf8.ValidString(text) || utf8.RuneCountInString(text) < shortest || len(text) > longest:
		return []verify.Problem{{Field: FieldPassword, Message: fmt.Sprintf("must have %d characters or more, and at most %d bytes", shortest, longest)}}
	case strings.Contains(strings.ToLower(text), name) && len(name) >= 4, strings.Count(text, text[:1]) == len(text):
		return []verify.Problem{{Field: FieldPassword, Message: "must not hold the name, or repeat one character"}}
	}
	return nil
}
