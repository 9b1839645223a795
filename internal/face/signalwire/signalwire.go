// Package signalwire serves SignalWire's MFA REST API. A client written for that API works with
// only its base URL and credentials changed:
//
//	POST /api/relay/rest/mfa/sms            start a verification by text
//	POST /api/relay/rest/mfa/call           start one by voice call
//	POST /api/relay/rest/mfa/{id}/verify    check a token
//
// Requests and responses are as SignalWire publishes them (developer.signalwire.com, REST API,
// MFA). Where its pages differ or are silent, docs/decisions/ records the choice. Bodies have
// exactly the published fields; additions go into headers.
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

// Prefix is the prefix of the API's paths.
const Prefix = "/api/relay/rest/mfa/"

// A Server serves the API.
type Server struct {
	verify *verify.Service
	log    *outage.Log
}

// New returns the API's handler, which serves all paths below [Prefix].
func New(service *verify.Service, log *outage.Log) http.Handler {
	s := &Server{service, log}
	mux := http.NewServeMux()
	mux.Handle("POST "+Prefix+"sms", s.endpoint(s.sms))
	mux.Handle("POST "+Prefix+"call", s.endpoint(s.call))
	mux.Handle("POST "+Prefix+"{id}/verify", s.endpoint(s.check))
	return web.Exact(mux, refuse)
}

// Away returns a handler that answers 503 while there is no database yet.
func Away() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", web.Seconds(verify.ErrNoStore.RetryAfter))
		refuse(w, http.StatusServiceUnavailable)
	})
}

// A startAnswer is SignalWire's MfaResponse.
type startAnswer struct {
	ID      string `json:"id"`
	Success bool   `json:"success"` // the message is queued
	To      string `json:"to"`
	Channel string `json:"channel"`
}

// A checkAnswer is SignalWire's MfaVerifyResponse.
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
	// allow_alphas is the documented name; published examples have allow_alpha.
	documented, published := in.Boolean("allow_alphas"), in.Boolean("allow_alpha")
	if documented == nil {
		documented = published
	}
	if documented != nil && *documented {
		req.Format = code.Alphanumeric
	}
	if len(in.Problems) > 0 {
		return nil, mistyped(in, s.verify.ValidateStart(ctx, acct, req))
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

// attributes maps fields to their names in SignalWire's API.
var attributes = map[verify.Field]string{
	verify.FieldTo:       "to",
	verify.FieldFrom:     "from",
	verify.FieldText:     "message",
	verify.FieldLength:   "token_length",
	verify.FieldLife:     "valid_for",
	verify.FieldAttempts: "max_attempts",
}

// humanize returns "Token length" for "token_length", as Rails does.
func humanize(attribute string) string {
	s := strings.ReplaceAll(attribute, "_", " ")
	return strings.ToUpper(s[:1]) + s[1:]
}
