package syniverse

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// The platform's token service has body formats of its own. Its secrets are in the query, which is
// never logged.

// An accessToken is the body of a successful refresh.
type accessToken struct {
	AccessToken  string `json:"accessToken"`
	ValidityTime int64  `json:"validityTime"` // seconds left; 0 means forever, as in a request
}

// A refreshFailure is the body of a failed refresh.
type refreshFailure struct {
	ErrorCode int    `json:"errorCode"`
	MoreInfo  string `json:"moreInfo"`
	UserMsg   string `json:"userMsg"`
}

// Values of errorCode. Only 1 is published.
const (
	refreshBad     = 1 // a parameter is missing or wrong
	refreshRefused = 2 // the consumer key or its secret is wrong
	refreshBroken  = 3 // temporary failure
)

// Bounds of validity, in seconds. A value longer than a [time.Duration] can hold counts as
// forever.
const (
	minValidity uint64 = 900
	maxValidity uint64 = 9999999999999999999
	longest     uint64 = 100 * 365 * 24 * 60 * 60
)

func (s *Server) refresh(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // the mux also accepts HEAD, whose response would lose the new token
		w.Header().Set("Allow", http.MethodGet)
		refuseRefresh(w, http.StatusMethodNotAllowed)
		return
	}
	in, problem := readRefresh(r.URL.RawQuery)
	if problem != "" {
		web.Respond(w, http.StatusBadRequest, refreshFailure{refreshBad, problem, "The request is wrong."})
		return
	}
	token, err := s.verify.RefreshToken(r.Context(), in)
	if err != nil {
		s.failRefresh(w, r, err)
		return
	}
	web.Respond(w, http.StatusOK, accessToken{token.Secret.Reveal(), int64(token.Remaining / time.Second)})
}

func (s *Server) failRefresh(w http.ResponseWriter, r *http.Request, err error) {
	var known *verify.Error
	switch {
	case errors.Is(err, verify.ErrUnauthenticated):
		web.CountAs(w, http.StatusUnauthorized) // not our fault, although 500 is the published status
		web.Respond(w, http.StatusInternalServerError, refreshFailure{refreshRefused, "the consumer key or the consumer secret is wrong", "No token for these credentials."})
	case errors.As(err, &known) && known.Kind == verify.Unavailable:
		s.unavailable(r.Context(), known, err)
		w.Header().Set("Retry-After", web.Seconds(known.RetryAfter))
		web.Respond(w, http.StatusServiceUnavailable, refreshFailure{refreshBroken, known.Message, "Try again later."})
	default:
		s.log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "err", err)
		web.Respond(w, http.StatusInternalServerError, refreshFailure{refreshBroken, "internal error", "Try again later."})
	}
}

// readRefresh parses the query of a refresh, or returns the problem with it, without quoting it. Our
// own clients leave validity out; their tokens are valid forever.
func readRefresh(raw string) (in verify.RefreshRequest, problem string) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return in, "the query can't be read"
	}
	for _, name := range []string{"consumerkey", "consumersecret", "oldtoken", "validity"} {
		if len(q[name]) > 1 {
			return in, name + " is there twice"
		}
	}
	in = verify.RefreshRequest{
		ConsumerKey: q.Get("consumerkey"), ConsumerSecret: verify.Secret(q.Get("consumersecret")), OldToken: verify.Secret(q.Get("oldtoken")),
	}
	switch {
	case in.ConsumerKey == "":
		return in, "consumerkey is missing"
	case in.ConsumerSecret == "":
		return in, "consumersecret is missing"
	case q.Get("validity") == "":
		in.Never = true
		return in, ""
	}
	seconds, err := strconv.ParseUint(q.Get("validity"), 10, 64)
	switch {
	case err != nil, seconds > maxValidity, 0 < seconds && seconds < minValidity:
		return in, "validity must be 0, or 900 to 9999999999999999999 seconds"
	case seconds == 0, seconds > longest:
		in.Never = true
	default:
		in.Validity = time.Duration(seconds) * time.Second
	}
	return in, ""
}

// refuseRefresh answers requests that don't match the refresh's path or method.
func refuseRefresh(w http.ResponseWriter, status int) {
	web.Respond(w, status, refreshFailure{refreshBad, http.StatusText(status), "The request is wrong."})
}
