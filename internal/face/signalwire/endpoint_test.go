package signalwire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// Errors that a test can't easily provoke from outside still have their format.
func TestEveryErrorHasItsShape(t *testing.T) {
	t.Parallel()
	limited := *verify.ErrTooManySends
	limited.RetryAfter = 90*time.Second + time.Millisecond
	type answer struct {
		Status           int
		Body, RetryAfter string
		Challenge        bool
	}
	const (
		ours   = `{"error":"Internal Server Error"}`
		none   = `{"error":"Not Found"}`
		absent = `{"error":"Service Unavailable"}`
	)
	for name, test := range map[string]struct {
		err    error
		want   answer
		logged bool
	}{
		"unreadable":      {request.ErrUnreadable, answer{400, `{"error":"Bad Request"}`, "", false}, false},
		"unauthenticated": {verify.ErrUnauthenticated, answer{401, `{"error":"Unauthorized"}`, "", true}, false},
		"not found":       {verify.ErrNotFound, answer{404, none, "", false}, false},
		"approved":        {verify.ErrApproved, answer{404, none, "", false}, false},
		"guesses spent":   {verify.ErrGuessesSpent, answer{404, none, "", false}, false},
		"expired":         {verify.ErrExpired, answer{404, none, "", false}, false},
		"canceled":        {verify.ErrCanceled, answer{404, none, "", false}, false},
		"wrapped":         {fmt.Errorf("check: %w", verify.ErrExpired), answer{404, none, "", false}, false},
		"too large":       {request.ErrTooLarge, answer{413, `{"error":"Request Entity Too Large"}`, "", false}, false},
		"media type":      {request.ErrMediaType, answer{415, `{"error":"Unsupported Media Type"}`, "", false}, false},
		"limited":         {&limited, answer{429, `{"error":"Too Many Requests"}`, "91", false}, false}, // rounded up
		"busy":            {verify.ErrBusy, answer{503, absent, "1", false}, true},
		"no carrier":      {verify.ErrNoCarrier, answer{503, absent, "30", false}, true},
		"no route to the number": {&verify.Error{Kind: verify.KindInvalid, Code: verify.ErrNotServed.Code, Problems: []verify.Problem{{Field: verify.FieldTo, Message: "is far away"}}},
			answer{422, `{"errors":[{"detail":"To is far away","status":"422","title":"Invalid Attribute","code":"422"}]}`, "", false}, false},
		"the database away": {fmt.Errorf("commit: %w: %w", verify.ErrNoStore, errors.New("disk full")), answer{503, absent, "1", false}, true},
		"anything else":     {errors.New("a bug"), answer{500, ours, "", false}, true},
		"an internal one":   {&verify.Error{Kind: verify.KindInternal, Code: "odd"}, answer{500, ours, "", false}, true},
		"a canceled call":   {context.Canceled, answer{500, ours, "", false}, true},
		"invalid": {&verify.Error{Kind: verify.KindInvalid, Problems: []verify.Problem{{Field: verify.FieldText, Message: "is too long"}, {Field: verify.FieldTo, Message: "can't be blank"}}},
			answer{422, `{"errors":[{"detail":"To can't be blank","status":"422","title":"Invalid Attribute","code":"422"},` +
				`{"detail":"Message is too long","status":"422","title":"Invalid Attribute","code":"422"}]}`, "", false}, false},
	} {
		var log strings.Builder
		s := face.API{Log: outage.New(slog.New(slog.NewTextHandler(&log, nil)), nil), Shape: shape}
		w := httptest.NewRecorder()
		s.Fail(w, httptest.NewRequest("POST", Prefix+"sms", nil), test.err)
		got := answer{w.Code, w.Body.String(), w.Header().Get("Retry-After"), w.Header().Get("WWW-Authenticate") != ""}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if logged := log.String() != ""; logged != test.logged {
			t.Errorf("%s: got the log %q, want one: %v", name, &log, test.logged)
		}
	}
}
