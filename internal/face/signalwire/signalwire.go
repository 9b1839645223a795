// Package signalwire serves SignalWire's MFA REST API, so that a client written for it works with
// only its base URL and credentials changed:
//
//	POST /api/relay/rest/mfa/sms            start a verification by text
//	POST /api/relay/rest/mfa/call           start one by voice call
//	POST /api/relay/rest/mfa/{id}/verify    check a token
//
// Requests and answers are as SignalWire publishes them (developer.signalwire.com, REST API, MFA);
// docs/decisions/ says what was chosen where its pages differ or are silent. Bodies carry exactly
// the published fields; what we want to add goes into headers.
package signalwire

import (
	"context"
	"net/http"
	"strings"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// Prefix is where the API is mounted.
const Prefix = "/api/relay/rest/mfa/"

// A Server is the API over the verification service.
type Server struct {
	verify *verify.Service
	log    *outage.Log
}

// New returns the API's handler. It answers every path below [Prefix].
func New(service *verify.Service, log *outage.Log) http.Handler {
	s := &Server{service, log}
	mux := http.NewServeMux()
	mux.Handle("POST "+Prefix+"sms", s.endpoint(s.sms))
	mux.Handle("POST "+Prefix+"call", s.endpoint(s.call))
	mux.Handle("POST "+Prefix+"{id}/verify", s.endpoint(s.check))
	return web.Exact(mux, refuse)
}

// Away answers in the API's place while there is no database yet.
func Away() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", web.Seconds(verify.ErrNoStore.RetryAfter))
		refuse(w, http.StatusServiceUnavailable)
	})
}

// startAnswer is MfaResponse.
type startAnswer struct {
	ID      string `json:"id"`
	Success bool   `json:"success"` // the message is queued
	To      string `json:"to"`
	Channel string `json:"channel"`
}

// checkAnswer is MfaVerifyResponse.
type checkAnswer struct {
	Success bool `json:"success"`
}

func (s *Server) sms(r *http.Request, acct *verify.Account, in request.Fields) (any, error) {
	return s.start(r.Context(), acct, in, verify.SMS, "sms")
}

func (s *Server) call(r *http.Request, acct *verify.Account, in request.Fields) (any, error) {
	return s.start(r.Context(), acct, in, verify.Voice, "call")
}

func (s *Server) start(ctx context.Context, acct *verify.Account, in request.Fields, c verify.Channel, name string) (any, error) {
	req := verify.StartRequest{
		Channel:  c,
		To:       in.Text("to"),
		From:     in.Text("from"),
		Text:     in.Text("message"),
		Length:   in.Integer("token_length"),
		Life:     in.Integer("valid_for"),
		Attempts: in.Integer("max_attempts"),
	}
	// allow_alphas is the documented name, allow_alpha stands in published examples.
	documented, published := in.Boolean("allow_alphas"), in.Boolean("allow_alpha")
	if documented == nil {
		documented = published
	}
	if documented != nil && *documented {
		req.Format = code.Alphanumeric
	}
	if len(in.Problems) > 0 {
		return nil, mistyped(in, s.verify.ValidateStart(acct, req))
	}
	v, err := s.verify.Start(ctx, acct, req)
	if err != nil {
		return nil, err
	}
	return startAnswer{ID: v.ID.String(), Success: true, To: string(v.Reach()), Channel: name}, nil
}

func (s *Server) check(r *http.Request, acct *verify.Account, in request.Fields) (any, error) {
	token := in.Text("token")
	if token == "" && len(in.Problems) == 0 {
		in.Wrong("token", "can't be blank")
	}
	if len(in.Problems) > 0 {
		return nil, mistyped(in, nil)
	}
	id, err := verify.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	out, err := s.verify.Check(r.Context(), acct, id, verify.Secret(token))
	if err != nil {
		return nil, err
	}
	return checkAnswer{out.Approved}, nil
}

// attributes are the names under which SignalWire's callers know a field, Rails-like.
var attributes = map[verify.Field]string{
	verify.FieldTo:       "to",
	verify.FieldFrom:     "from",
	verify.FieldText:     "message",
	verify.FieldLength:   "token_length",
	verify.FieldLife:     "valid_for",
	verify.FieldAttempts: "max_attempts",
}

// humanize makes "Token length" of "token_length".
func humanize(attribute string) string {
	s := strings.ReplaceAll(attribute, "_", " ")
	return strings.ToUpper(s[:1]) + s[1:]
}
