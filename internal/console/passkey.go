package console

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

// relyingParty is the console as devices know it; nil where its address has no name, which passkeys need.
func relyingParty(at string) *webauthn.WebAuthn {
	u, err := url.Parse(at)
	if err != nil {
		return nil
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil
	}
	// Browsers write a host in small letters, and no port that is the scheme's own (RFC 6454).
	u.Host = strings.ToLower(u.Host)
	u.Host = strings.TrimSuffix(u.Host, map[string]string{"https": ":443", "http": ":80"}[u.Scheme])
	w, err := webauthn.New(&webauthn.Config{RPID: u.Hostname(), RPDisplayName: "Countersign", RPOrigins: []string{u.Scheme + "://" + u.Host}})
	if err != nil {
		return nil
	}
	return w
}

// A holder is an operator with their passkeys, as the library wants them.
type holder struct {
	operator.Operator
	keys []operator.Passkey
}

func (h *holder) WebAuthnID() []byte          { return h.ID[:] }
func (h *holder) WebAuthnName() string        { return h.Name }
func (h *holder) WebAuthnDisplayName() string { return h.Name }

// WebAuthnCredentials are those that can be read.
func (h *holder) WebAuthnCredentials() (all []webauthn.Credential) {
	for _, k := range h.keys {
		var c webauthn.Credential
		if json.Unmarshal(k.Record, &c) == nil {
			all = append(all, c)
		}
	}
	return all
}

// options are what a page's script asks the device with, in JSON.
func options(v any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(v)
	return string(text), err
}

// signOptions ask any of this console's passkeys to sign a new challenge: a list of somebody's would tell who has an account.
func (s *SignIn) signOptions() (string, error) {
	challenge, err := s.service.Challenge(verify.ID{})
	if err != nil {
		return "", err
	}
	assertion, _, err := s.passkeys.BeginDiscoverableLogin(func(o *protocol.PublicKeyCredentialRequestOptions) error {
		o.Challenge, o.UserVerification, o.Timeout = challenge, protocol.VerificationPreferred, int(operator.ChallengeLife/time.Millisecond)
		return nil
	})
	if err != nil {
		return "", err
	}
	return options(assertion.Response, nil)
}

// addOptions ask a device to make a passkey for an operator.
func (s *SignIn) addOptions(h *holder) (string, error) {
	challenge, err := s.service.Challenge(h.ID)
	if err != nil {
		return "", err
	}
	creation, _, err := s.passkeys.BeginRegistration(h, func(o *protocol.PublicKeyCredentialCreationOptions) error {
		o.Challenge, o.Timeout, o.Attestation = challenge, int(operator.ChallengeLife/time.Millisecond), protocol.PreferNoAttestation
		o.AuthenticatorSelection = protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationPreferred}
		for _, k := range h.keys {
			o.CredentialExcludeList = append(o.CredentialExcludeList, protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: k.Credential})
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return options(creation.Response, nil)
}

// answered reads the challenge that a device says it signed, which must be one of ours for somebody.
func (s *SignIn) answered(c protocol.CollectedClientData, who verify.ID) (id verify.ID, session webauthn.SessionData, ok bool) {
	challenge, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(c.Challenge, "="))
	if err != nil {
		return id, session, false
	}
	id, ok = s.service.CheckChallenge(challenge, who)
	session = webauthn.SessionData{
		Challenge: base64.RawURLEncoding.EncodeToString(challenge), RelyingPartyID: s.passkeys.Config.RPID,
		UserVerification: protocol.VerificationPreferred, CredParams: webauthn.CredentialParametersDefault(),
	}
	return id, session, ok
}

// prove checks what a device signed for a sign-in, by the passkeys of the operator who has the name.
func (s *SignIn) prove(signed string) func(keys []operator.Passkey) *operator.Proof {
	return func(keys []operator.Passkey) *operator.Proof {
		parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(signed))
		if err != nil {
			return nil
		}
		i := slices.IndexFunc(keys, func(k operator.Passkey) bool { return bytes.Equal(k.Credential, parsed.RawID) })
		challenge, session, ok := s.answered(parsed.Response.CollectedClientData, verify.ID{})
		if i < 0 || !ok {
			return nil
		}
		h := &holder{Operator: operator.Operator{ID: keys[i].Operator}, keys: keys}
		credential, err := s.passkeys.ValidateDiscoverableLogin(func(_, user []byte) (webauthn.User, error) {
			if !bytes.Equal(user, h.ID[:]) {
				return nil, operator.ErrNoOperator
			}
			return h, nil
		}, session, parsed)
		if err != nil {
			return nil
		}
		record, err := json.Marshal(credential)
		if err != nil {
			return nil
		}
		return &operator.Proof{Passkey: keys[i].ID, Record: record, Challenge: challenge, Cloned: credential.Authenticator.CloneWarning}
	}
}

// made checks a passkey that a device made for an operator.
func (s *SignIn) made(h *holder, answer string) (credential, record []byte, err error) {
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return nil, nil, operator.ErrPasskey
	}
	_, session, ok := s.answered(parsed.Response.CollectedClientData, h.ID)
	if !ok {
		return nil, nil, operator.ErrPasskey
	}
	session.UserID = h.ID[:]
	c, err := s.passkeys.CreateCredential(h, session, parsed)
	if err != nil {
		return nil, nil, operator.ErrPasskey
	}
	record, err = json.Marshal(c)
	return c.ID, record, err
}

// addPasskey adds a passkey to one's own: name, password, passkey.
func (s *SignIn) addPasskey(w http.ResponseWriter, r *http.Request) {
	found, err := s.find(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	keys, err := s.service.Passkeys(r.Context(), found.Operator.ID)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := &holder{found.Operator, keys}
	err = s.service.AddPasskey(r.Context(), found.Operator, r.PostFormValue("name"), verify.Secret(r.PostFormValue("password")), client(r), func() (credential, record []byte, err error) {
		return s.made(h, r.PostFormValue("passkey"))
	})
	if err != nil {
		status, problem := s.explain(w, r, err)
		s.showSessions(w, r, status, found, problem)
		return
	}
	http.Redirect(w, r, "/sign-in/sessions", http.StatusSeeOther)
}

// removePasskey removes one of one's own. One that is gone already is no error.
func (s *SignIn) removePasskey(w http.ResponseWriter, r *http.Request) {
	id, _ := verify.ParseID(r.PostFormValue("id"))
	found, err := s.find(r)
	if err == nil {
		err = s.service.RemovePasskey(r.Context(), found.Operator, id)
	}
	if err != nil && err != operator.ErrNoPasskey {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/sign-in/sessions", http.StatusSeeOther)
}

// A heldKey is a passkey as its page shows it.
type heldKey struct{ ID, Name, Added, Used string }

func heldKeys(keys []operator.Passkey) (all []heldKey) {
	for _, k := range keys {
		h := heldKey{k.ID.String(), k.Name, at(k.CreatedAt), "never"}
		if !k.UsedAt.IsZero() {
			h.Used = at(k.UsedAt)
		}
		all = append(all, h)
	}
	return all
}
