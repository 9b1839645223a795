package v1

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"hash"
	"io"
	"net/http"

	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// KeyHeader has a key that the caller chose for a request, so that the request is carried out once, however often it
// is sent: see [verify.Service.Once]. It is in the form in which net/http keeps it.
const KeyHeader = "Idempotency-Key"

// maxKey bounds a key, in characters.
const maxKey = 255

// keyed lets the requests of a handler have keys. A request without one passes as it is.
func keyed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if keys, ok := r.Header[KeyHeader]; ok {
			body := &keyedBody{ReadCloser: r.Body, keys: keys, read: sha256.New()}
			io.WriteString(body.read, r.Method+" "+r.URL.RequestURI()+"\n")
			r.Body = body
		}
		h.ServeHTTP(w, r)
	})
}

// A keyedBody is the body of a request that has a key. It notes what was asked.
type keyedBody struct {
	io.ReadCloser
	keys []string
	read hash.Hash // of the method, the path and the body
}

func (b *keyedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Write(p[:n])
	return n, err
}

// once carries out a request that has a key, of which body is the body.
func (s *Server) once(c face.Call, body *keyedBody, do func(face.Call) (any, error)) (any, error) {
	key := body.keys[0]
	if len(body.keys) > 1 || !isKey(key) {
		var bad request.Fields
		bad.Wrong(KeyHeader, "must be there once, with 1 to 255 visible ASCII characters")
		return nil, s.Invalid(bad, nil)
	}
	answer, err := s.Service.Once(c.Context(), c.Account, key, [sha256.Size]byte(body.read.Sum(nil)), func(ctx context.Context) ([]byte, error) {
		c.Request = c.WithContext(ctx)
		answer, err := do(c)
		if err != nil {
			return nil, err
		}
		return json.Marshal(answer)
	})
	if err != nil {
		return nil, err
	}
	return json.RawMessage(answer), nil
}

func isKey(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return 0 < len(s) && len(s) <= maxKey
}

func hasKey(c face.Call) bool {
	_, ok := c.Body.(*keyedBody)
	return ok
}

// answers says how a request is answered, if it has a key: render makes the answer of what the store's event has
// made, see [verify.Answers]. It must make the same as the operation does, and is called before that returns.
func answers[Made, Out any](c face.Call, render func(face.Call, Made) Out) {
	if hasKey(c) {
		verify.Answers(c.Context(), func(made Made) ([]byte, error) { return json.Marshal(render(c, made)) })
	}
}
