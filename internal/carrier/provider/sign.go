package provider

import (
	"cmp"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// A signer adds our credentials to a request.
type signer func(req *http.Request, user string, body []byte, now time.Time) error

func newSigner(a AuthSpec, c Config) (signer, error) {
	secret := c.Secret.Reveal()
	if a.Kind != "none" && secret == "" {
		return nil, carrier.Fault{Field: "secret", Message: "must not be empty"}
	}
	if strings.ContainsAny(secret, "\r\n\x00") && a.Kind != "jwt" {
		return nil, carrier.Fault{Field: "secret", Message: "must be one line"}
	}
	switch a.Kind {
	case "basic":
		return func(req *http.Request, user string, _ []byte, _ time.Time) error {
			req.SetBasicAuth(user, secret)
			return nil
		}, nil
	case "key":
		return func(req *http.Request, _ string, _ []byte, _ time.Time) error {
			req.SetBasicAuth(secret, "")
			return nil
		}, nil
	case "bearer":
		return header("Authorization", "Bearer "+secret), nil
	case "header":
		return header(a.Header, a.Prefix+secret), nil
	case "hmac":
		return newHMAC(a, c)
	case "jwt":
		key, err := privateKey(c.Secret)
		if err != nil {
			return nil, carrier.Fault{Field: "secret", Message: err.Error()}
		}
		return func(req *http.Request, user string, _ []byte, now time.Time) error {
			token, err := signJWT(key, user, now)
			req.Header.Set("Authorization", "Bearer "+token)
			return err
		}, nil
	case "aws":
		if c.Region == "" || a.Service == "" {
			return nil, carrier.Fault{Field: "region", Message: "aws signs for a region and a service"}
		}
		return func(req *http.Request, user string, body []byte, now time.Time) error {
			signAWS(req, awsKey{user, c.Secret, c.Region, a.Service}, body, now)
			return nil
		}, nil
	}
	return func(*http.Request, string, []byte, time.Time) error { return nil }, nil // none; body: see Fields; oauth2: see tokens
}

func header(name, value string) signer {
	return func(req *http.Request, _ string, _ []byte, _ time.Time) error {
		req.Header.Set(name, value)
		return nil
	}
}

// privateKey parses an RSA key in PEM. Its errors don't quote the key.
func privateKey(text verify.Secret) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text.Reveal()))
	if block == nil {
		return nil, errors.New("must be a private key, PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if rsaKey, ok := key.(*rsa.PrivateKey); ok && err == nil {
		return rsaKey, nil
	}
	return nil, errors.New("must be an RSA private key, PKCS #1 or #8")
}

// signJWT returns a token for Vonage's APIs: RS256, with application_id, iat, jti and
// exp.
// Source: developer.vonage.com, Getting started, Authentication, JSON Web Tokens.
func signJWT(key *rsa.PrivateKey, application string, now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"application_id": application, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": verify.NewID(now).String(),
	})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + enc.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", errors.New("the private key can't sign")
	}
	return signed + "." + enc.EncodeToString(sig), nil
}

type awsKey struct {
	id              string
	secret          verify.Secret
	region, service string
}

// signAWS signs a request with Signature Version 4, including all of its headers except User-Agent. The
// path must be "/" or need no escaping, and the query must be empty, as in AWS's JSON protocols.
// Source: docs.aws.amazon.com, IAM User Guide, "Create a signed AWS API request".
func signAWS(req *http.Request, k awsKey, body []byte, now time.Time) {
	date := now.UTC().Format("20060102T150405Z")
	req.Header.Set("X-Amz-Date", date)
	names, canonical := awsHeaders(req)
	hash := sha256.Sum256(body)
	request := strings.Join([]string{req.Method, cmp.Or(req.URL.EscapedPath(), "/"), "", canonical, names, hex.EncodeToString(hash[:])}, "\n")
	hash = sha256.Sum256([]byte(request))
	scope := date[:8] + "/" + k.region + "/" + k.service + "/aws4_request"
	key := []byte("AWS4" + k.secret.Reveal())
	for part := range strings.SplitSeq(scope, "/") {
		key = mac256(key, part)
	}
	signature := mac256(key, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hex.EncodeToString(hash[:]))
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", k.id, scope, names, signature))
}

// awsHeaders returns the names of a request's headers and one line for each, in canonical
// form.
func awsHeaders(req *http.Request) (names, lines string) {
	all := map[string]string{"host": req.URL.Host}
	for name, values := range req.Header {
		if name == "User-Agent" { // proxies change it
			continue
		}
		all[strings.ToLower(name)] = strings.Join(strings.Fields(strings.Join(values, ",")), " ")
	}
	sorted := sortedKeys(all)
	var b strings.Builder
	for _, name := range sorted {
		b.WriteString(name + ":" + all[name] + "\n")
	}
	return strings.Join(sorted, ";"), b.String()
}

func mac256(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
