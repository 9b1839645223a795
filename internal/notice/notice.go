// Package notice writes what a user's device is told of a message. A push brings it, or the device fetches it.
//
// A notice is JSON in UTF-8:
//
//	{"id":"…","verification_id":"…","body":"Your code is 493817","code":"493817",
//	 "expires_at":"2026-05-04T13:00:00.000Z"}
//
// The notice of a message that asks for an approval has no code, but a prompt: what to show, and the challenge to sign an
// answer for.
package notice

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A Notice is what a device is told.
type Notice struct {
	ID             string  `json:"id"`
	VerificationID string  `json:"verification_id"`
	Body           string  `json:"body"`
	Code           string  `json:"code,omitempty"`
	ExpiresAt      string  `json:"expires_at"` // RFC 3339, UTC, milliseconds
	Prompt         *Prompt `json:"prompt,omitempty"`
}

// A Prompt is what a device shows to ask its person, and what it needs for the answer.
type Prompt struct {
	Challenge string `json:"challenge"`
	Choices   []int  `json:"choices,omitempty"` // without any, the person types the number
	Asker     string `json:"asker"`
	Purpose   string `json:"purpose"`
	Amount    string `json:"amount,omitempty"`
	Payee     string `json:"payee,omitempty"`
	IP        string `json:"client_ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Device    string `json:"device,omitempty"`
	Place     string `json:"place,omitempty"`
	StartedAt string `json:"started_at"`
}

// Of returns a message's notice.
func Of(m *verify.Message) Notice {
	n := Notice{ID: m.ID.String(), VerificationID: m.Verification.String(), Body: m.Body.Reveal(), Code: m.Code.Reveal(), ExpiresAt: stamp(m.ExpiresAt)}
	if q := m.Question; q != nil {
		n.Prompt = &Prompt{
			Challenge: q.Challenge, Choices: q.Choices, Asker: q.Asker, Purpose: string(q.Purpose), Amount: q.Amount, Payee: q.Payee,
			IP: q.Client.IP, UserAgent: q.Client.UserAgent, Device: q.Client.Device, Place: q.Client.Place, StartedAt: stamp(q.StartedAt),
		}
	}
	return n
}

// stamp writes a time as notices have it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// Within returns a message's notice in at most so many bytes. A body that is too long for that gives way to the code
// alone, and a User-Agent is cut.
func Within(m *verify.Message, most int) ([]byte, error) {
	n := Of(m)
	text, err := n.bytes()
	if err != nil || len(text) <= most {
		return text, err
	}
	if n.Prompt == nil {
		n.Body = n.Code
		return n.bytes()
	}
	over := len(text) - most
	agent := n.Prompt.UserAgent
	n.Prompt.UserAgent = strings.ToValidUTF8(agent[:max(0, len(agent)-over)], "")
	return n.bytes()
}

// bytes are the notice's JSON. Characters of HTML stay as they are, because a push holds little.
func (n *Notice) bytes() ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(n)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// Kind is what a message is: a code or a prompt.
func Kind(m *verify.Message) string {
	if m.ByPrompt {
		return "prompt"
	}
	return "code"
}
