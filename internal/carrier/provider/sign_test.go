package provider

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/countersign/countersign/internal/verify"
)

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// testRSA returns a private key in PEM.
func testRSA(t testing.TB) verify.Secret {
	t.Helper()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return verify.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// AWS's own library makes the same signature.
func TestAWSSignsTheSame(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", `{"MessageBody":"ñ 493817"}`, strings.Repeat("x", 10000)} {
		for _, target := range []string{"https://sms-voice.eu-west-1.amazonaws.com/", "https://sms-voice.eu-west-1.amazonaws.com", "https://127.0.0.1:4566/a/path"} {
			make := func() *http.Request {
				req, err := http.NewRequest("POST", target, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.ContentLength = -1 // the library signs Content-Length, which intermediaries may change
				req.Header.Set("Content-Type", "application/x-amz-json-1.0")
				req.Header.Set("X-Amz-Target", "PinpointSMSVoiceV2.SendTextMessage")
				req.Header.Set("X-Spaced", "  a   b ")
				req.Header.Set("User-Agent", "Countersign")
				return req
			}
			ours, theirs := make(), make()
			signAWS(ours, awsKey{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-west-1", "sms-voice"}, []byte(body), testNow)
			sum := sha256.Sum256([]byte(body))
			err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
				theirs, hex.EncodeToString(sum[:]), "sms-voice", "eu-west-1", testNow)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := ours.Header.Get("Authorization"), theirs.Header.Get("Authorization"); got != want || ours.Header.Get("X-Amz-Date") != theirs.Header.Get("X-Amz-Date") {
				t.Errorf("%s\ngot  %s\nwant %s", target, got, want)
			}
		}
	}
}

func TestAJWTIsSignedByThePrivateKey(t *testing.T) {
	t.Parallel()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	token, err := signJWT(key, "an-application", testNow)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("got %s", token)
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], sig); err != nil {
		t.Error(err)
	}
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	if header["alg"] != "RS256" || claims["application_id"] != "an-application" || claims["iat"] != float64(testNow.Unix()) ||
		claims["exp"] != float64(testNow.Add(5*time.Minute).Unix()) || claims["jti"] == "" {
		t.Errorf("got %v %v", header, claims)
	}
}

func TestAPrivateKeyIsReadInBothForms(t *testing.T) {
	t.Parallel()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for _, text := range []verify.Secret{testRSA(t), verify.Secret(pkcs1)} {
		if got, err := privateKey(text); err != nil || !got.Equal(key) {
			t.Errorf("got %v", err)
		}
	}
	for _, text := range []string{"", "secret-493817", "-----BEGIN PRIVATE KEY-----\nNDkzODE3\n-----END PRIVATE KEY-----\n"} {
		if _, err := privateKey(verify.Secret(text)); err == nil || strings.Contains(err.Error(), "493817") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
