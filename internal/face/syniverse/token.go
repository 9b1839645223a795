package syniverse

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/face"
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

// refreshShape is how the token service writes what went wrong. Wrong credentials have the published status 500.
var refreshShape = face.Shape{
	Statuses: map[verify.Kind]int{
		verify.KindUnauthenticated: http.StatusInternalServerError,
		verify.KindUnavailable:     http.StatusServiceUnavailable,
	},
	Refuse: refuseRefresh,
}

// refuseRefresh answers {"errorCode":…,"moreInfo":…,"userMsg":…}.
func refuseRefresh(w http.ResponseWriter, f face.Failure) {
	answer := refreshFailure{refreshBroken, "internal error", "Try again later."}
	switch {
	case f.Known == nil && f.Status < http.StatusInternalServerError: // another path or method
		answer = refreshFailure{refreshBad, http.StatusText(f.Status), "The request is wrong."}
	case f.Known == nil:
	case f.Known.Kind == verify.KindUnauthenticated:
		web.CountAs(w, http.StatusUnauthorized) // not our fault, although 500 is the published status
		answer = refreshFailure{refreshRefused, "the consumer key or the consumer secret is wrong", "No token for these credentials."}
	default:
		answer.MoreInfo = f.Known.Message
	}
	web.Respond(w, f.Status, answer)
}

// refreshToken returns the handler of a refresh. Its credentials are no account's, so it is no endpoint of the API.
func refreshToken(api *face.API) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet { // the mux also accepts HEAD, whose response would lose the new token
			w.Header().Set("Allow", http.MethodGet)
			api.Refuse(w, face.Failure{Status: http.StatusMethodNotAllowed})
			return
		}
		in, problem := readRefresh(r.URL.RawQuery)
		if problem != "" {
			web.Respond(w, http.StatusBadRequest, refreshFailure{refreshBad, problem, "The request is wrong."})
			return
		}
		token, err := api.Accounts.RefreshToken(r.Context(), in)
		if err != nil {
			api.Fail(w, r, err)
			return
		}
		web.Respond(w, http.StatusOK, accessToken{token.Secret.Reveal(), int64(token.Remaining / time.Second)})
	})
}

// readRefresh parses the query of a refresh, or returns the problem with it, without quoting it. Our
// own clients leave validity out; their tokens are valid forever.
func readRefresh(raw string) (in account.RefreshRequest, problem string) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return in, "the query can't be read"
	}
	for _, name := range []string{"consumerkey", "consumersecret", "oldtoken", "validity"} {
		if len(q[name]) > 1 {
			return in, name + " is there twice"
		}
	}
	in = account.RefreshRequest{
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
