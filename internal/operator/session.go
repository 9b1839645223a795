package operator

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// How long a session lives: without a request, and in all.
const (
	Idle     = 30 * time.Minute
	Absolute = 12 * time.Hour
	Touch    = time.Minute // a request records that the session is used, at most this often
)

// A Session lets one browser act as an operator. Its token is stored as a hash only.
type Session struct {
	ID        verify.ID
	Operator  verify.ID
	Hash      []byte
	CreatedAt time.Time
	UsedAt    time.Time
	EndsAt    time.Time
	Address   string
	Agent     string // the browser, as it names itself
}

// maxAgent is how much of a browser's name is kept, in bytes.
const maxAgent = 200

// The prefixes let secret scanners find tokens.
const (
	linkPrefix    = "cl_"
	sessionPrefix = "cn_"
)

// newToken makes a token of 256 bits.
func newToken(prefix string) verify.Secret {
	var b [32]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return verify.Secret(prefix + base64.RawURLEncoding.EncodeToString(b[:]))
}

// HashToken is how a token is stored.
func HashToken(token verify.Secret) []byte {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return sum[:]
}

// newSession begins a session of an operator.
func newSession(operator verify.ID, address, agent string, now time.Time) (Session, verify.Secret) {
	token := newToken(sessionPrefix)
	agent = strings.ToValidUTF8(agent[:min(len(agent), maxAgent)], "")
	agent = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, agent)
	return Session{ID: verify.NewID(now), Operator: operator, Hash: HashToken(token), CreatedAt: now, UsedAt: now, EndsAt: now.Add(Absolute), Address: address, Agent: agent}, token
}

// Live reports whether a session still works.
func (s *Session) Live(now time.Time) bool {
	return now.Before(s.EndsAt) && now.Before(s.UsedAt.Add(Idle))
}
