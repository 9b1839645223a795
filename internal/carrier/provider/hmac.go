package provider

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strings"
	"text/template"
	"time"

	"github.com/countersign/countersign/internal/carrier"
)

// Signing holds what templates of a signature may use.
type Signing struct {
	Method, Host string // of the request
	Path, Target string // the path, and the path with its query
	Body         string
	Date         string // as HTTP writes it: Mon, 04 May 2026 12:00:00 GMT
	Time         string // RFC 3339, UTC, with milliseconds
	Unix         int64  // seconds since 1970
	UnixMilli    int64
	Nonce        string // 32 random hexadecimal digits
	Account      string // as configured, and so on
	User, Region string
	Profile      string
	Signature    string // in headers only
}

// digests are the functions that templates of a signature may call beside the others.
var digests = template.FuncMap{
	"base64":       func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"sha256hex":    func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) },
	"sha256base64": func(s string) string { h := sha256.Sum256([]byte(s)); return base64.StdEncoding.EncodeToString(h[:]) },
	"sha512hex":    func(s string) string { return fmt.Sprintf("%x", sha512.Sum512([]byte(s))) },
	"md5hex":       func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) },
	"md5base64":    func(s string) string { h := md5.Sum([]byte(s)); return base64.StdEncoding.EncodeToString(h[:]) },
	"lower":        strings.ToLower,
	"upper":        strings.ToUpper,
}

var hashes = map[string]func() hash.Hash{"": sha256.New, "sha256": sha256.New, "sha1": sha1.New, "sha512": sha512.New}

// newHMAC returns a signer that signs the text that canonical describes.
func newHMAC(a AuthSpec, c Config) (signer, error) {
	key := []byte(c.Secret.Reveal())
	var err error
	switch a.Key {
	case "base64":
		key, err = base64.StdEncoding.DecodeString(string(key))
	case "hex":
		key, err = hex.DecodeString(string(key))
	}
	if err != nil || len(key) == 0 {
		return nil, carrier.Fault{Field: "secret", Message: "must be " + a.Key}
	}
	parse := func(name, text string) (*template.Template, error) {
		t, err := template.New(name).Option("missingkey=error").Funcs(functions).Funcs(digests).Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: not a template: %w", name, err)
		}
		return t, nil
	}
	canonical, err := parse("auth.canonical", a.Canonical)
	if err != nil {
		return nil, err
	}
	var headers []*template.Template
	for i, h := range a.Headers {
		t, err := parse(fmt.Sprintf("auth.headers[%d].value", i), h.Value)
		if err != nil {
			return nil, err
		}
		headers = append(headers, t)
	}
	encode := base64.StdEncoding.EncodeToString
	if a.Encoding == "hex" {
		encode = hex.EncodeToString
	}
	sign := func(req *http.Request, _ string, body []byte, now time.Time) error {
		now = now.UTC()
		s := Signing{
			Method: req.Method, Host: req.URL.Host, Path: req.URL.EscapedPath(), Target: req.URL.RequestURI(), Body: string(body),
			Date: now.Format(http.TimeFormat), Time: now.Format("2006-01-02T15:04:05.000Z07:00"), Unix: now.Unix(), UnixMilli: now.UnixMilli(),
			Nonce: nonce(), Account: c.Account, User: c.User, Region: c.Region, Profile: c.Profile,
		}
		text, err := fill(canonical, s)
		if err != nil {
			return err
		}
		m := hmac.New(hashes[a.Hash], key)
		m.Write([]byte(text))
		s.Signature = encode(m.Sum(nil))
		for i, h := range a.Headers {
			value, err := fill(headers[i], s)
			if err != nil {
				return err
			}
			if strings.ContainsAny(value, "\r\n\x00") {
				return fmt.Errorf("%s: must be one line", headers[i].Name())
			}
			req.Header.Set(h.Name, value)
		}
		return nil
	}
	sample, err := http.NewRequest(http.MethodPost, "https://provider.example/v1?a=b", nil)
	if err != nil {
		return nil, err
	}
	return sign, sign(sample, "", []byte("{\n}"), time.Unix(0, 0))
}

// fill fills in a template of a signature. Its errors don't quote the request.
func fill(t *template.Template, s Signing) (string, error) {
	var b bytes.Buffer
	if t.Execute(&b, s) != nil {
		return "", errors.New(t.Name() + ": the template fails")
	}
	return b.String(), nil
}

func nonce() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
