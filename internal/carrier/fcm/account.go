package fcm

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// An Account is a service account of a Firebase project.
type Account struct {
	Project  string
	TokenURL string // where access tokens are to be had
	email    string
	keyID    string
	private  *rsa.PrivateKey
}

// ParseAccount reads a service account from the JSON that the Firebase console makes. Its error never quotes that.
func ParseAccount(text []byte) (*Account, error) {
	wrong := errors.New("must be the JSON of a service account, with project_id, client_email, private_key_id, private_key and token_uri")
	var file struct {
		Type       string `json:"type"`
		ProjectID  string `json:"project_id"`
		Email      string `json:"client_email"`
		KeyID      string `json:"private_key_id"`
		PrivateKey string `json:"private_key"`
		TokenURI   string `json:"token_uri"`
	}
	if err := json.Unmarshal(text, &file); err != nil || file.Type != "service_account" || file.ProjectID == "" || file.Email == "" {
		return nil, wrong
	}
	u, err := url.Parse(file.TokenURI)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return nil, errors.New("token_uri must be an https URL")
	}
	block, _ := pem.Decode([]byte(file.PrivateKey))
	if block == nil {
		return nil, wrong
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("private_key must be a key of RSA, PKCS #8 in PEM")
	}
	return &Account{file.ProjectID, file.TokenURI, file.Email, file.KeyID, private}, nil
}

// scope allows to send messages, and nothing else.
const scope = "https://www.googleapis.com/auth/firebase.messaging"

// assertionLife is how long an assertion lives: at most an hour.
const assertionLife = time.Hour

// assertion makes the JWT that is exchanged for an access token (RFC 7523, RS256 of RFC 7518 §3.3).
func (a *Account) assertion(now time.Time) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": a.keyID})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": a.email, "scope": scope, "aud": a.TokenURL, "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.private, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign an assertion: %w", err)
	}
	return signed + "." + encode(signature), nil
}
