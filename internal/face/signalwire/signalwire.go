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
	"net/http"
	"strings"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
)

// Prefix is the prefix of the API's paths.
const Prefix = "/api/relay/rest/mfa/"

// A Server serves the API.
type Server struct {
	face.API
}

// New returns the API's handler, which serves all paths below [Prefix].
func New(accounts *account.Service, service *verify.Service, log *outage.Log) http.Handler {
	s := &Server{face.API{Accounts: accounts, Service: service, Log: log, Shape: shape}}
	mux := http.NewServeMux()
	s.Serve(mux, s.routes())
	return s.Exact(mux)
}

// routes are the API's operations.
func (s *Server) routes() []face.Route {
	return []face.Route{
		face.On("POST "+Prefix+"sms", verify.ScopeStart, s.sms),
		face.On("POST "+Prefix+"call", verify.ScopeStart, s.call),
		face.On("POST "+Prefix+"{id}/verify", verify.ScopeCheck, s.check),
	}
}

// Away returns a handler that answers 503 while there is no database yet.
func Away() http.Handler { return shape.Away() }

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

func (s *Server) sms(c face.Call) (any, error) {
	return s.start(c, verify.ChannelSMS, "sms")
}

func (s *Server) call(c face.Call) (any, error) {
	return s.start(c, verify.ChannelVoice, "call")
}

func (s *Server) start(c face.Call, channel verify.Channel, name string) (any, error) {
	in := c.In
	req := verify.StartRequest{
		Channel:  channel,
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
		return nil, s.Invalid(in, s.Service.ValidateStart(c.Context(), c.Account, req))
	}
	v, err := s.Service.Start(c.Context(), c.Account, req)
	if err != nil {
		return nil, err
	}
	return startAnswer{ID: v.ID.String(), Success: true, To: string(v.Reach()), Channel: name}, nil
}

func (s *Server) check(c face.Call) (any, error) {
	in := c.In
	token := in.Text("token")
	if token == "" && len(in.Problems) == 0 {
		in.Wrong("token", "can't be blank")
	}
	if len(in.Problems) > 0 {
		return nil, s.Invalid(in, nil)
	}
	id, err := verify.ParseID(c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	out, err := s.Service.Check(c.Context(), c.Account, id, verify.Secret(token))
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
