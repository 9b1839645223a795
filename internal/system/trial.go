package system

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// maxTrial is how long somebody may wait for a test message's receipt.
const maxTrial = 10 * time.Minute

// A Trial asks for a test message: POST /carriers/{name}/test on the operations listener. The answer
// is one [dispatch.Step] a line, as they happen. A line with an Error is the last one.
type Trial struct {
	To      string         `json:"to"`
	Channel verify.Channel `json:"channel"` // "": what the carrier is for
	Wait    time.Duration  `json:"wait_ns"` // for the receipt
}

// A TrialLine is a line of the answer.
type TrialLine struct {
	dispatch.Step
	Error string `json:"error,omitempty"`
}

// byOperator reports whether a request shows the token that only the server's own user can read, and refuses it if not.
func (s *System) byOperator(w http.ResponseWriter, r *http.Request) bool {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.operator.Reveal())) == 1 {
		return true
	}
	http.Error(w, "the token is wrong", http.StatusUnauthorized)
	return false
}

// try sends a test message. It costs money and needs a number: whoever asks shows the token that only
// the server's own user can read.
func (s *System) try(w http.ResponseWriter, r *http.Request) {
	if !s.byOperator(w, r) {
		return
	}
	var t Trial
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&t); err != nil {
		http.Error(w, "the body isn't JSON", http.StatusBadRequest)
		return
	}
	to, err := phone.Parse(t.To)
	if err != nil || t.Channel != "" && !t.Channel.ToNumber() || t.Wait < 0 || t.Wait > maxTrial {
		http.Error(w, "to must be a number, channel sms or voice, and the wait at most 10m", http.StatusUnprocessableEntity)
		return
	}
	control := http.NewResponseController(w)
	control.SetWriteDeadline(time.Now().Add(maxTrial + time.Minute)) // fails where there is none
	w.Header().Set("Content-Type", "application/x-ndjson")
	line := func(l TrialLine) {
		json.NewEncoder(w).Encode(l)
		control.Flush()
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	_, err = s.Dispatch.Try(ctx, r.PathValue("name"), t.Channel, to, func(step dispatch.Step) {
		line(TrialLine{Step: step})
		if step.What == verify.AttemptAccepted.String() || step.What == verify.AttemptUnknown.String() {
			time.AfterFunc(t.Wait, cancel)
		}
	})
	if err != nil {
		line(TrialLine{Error: err.Error()})
	}
}
