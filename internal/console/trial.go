package console

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// trialTime is how long a test message is followed.
const trialTime = 2 * time.Minute

// stepsHere stands where the steps of a test message go.
const stepsHere = "steps-of-the-test-message"

// trying is what the page of a test message shows.
type trying struct {
	Carrier, Number, Problem string
	Asked                    bool // the message is on its way
	Steps                    string
}

// askTrial shows the form for a test message by a carrier: GET /test?carrier=gateway.
func (d desk) askTrial(w http.ResponseWriter, r *http.Request, _ Person) error {
	t := trying{Carrier: r.URL.Query().Get("carrier")}
	if !d.server.HasCarrier(t.Carrier) {
		return verify.ErrNotFound
	}
	d.show(w, r, http.StatusOK, trialPage, "Test message", t)
	return nil
}

// try sends a test message, as countersign carrier test does, and writes each of its steps when it happens. The request lasts
// until the message's end is known, or until the browser leaves.
func (d desk) try(w http.ResponseWriter, r *http.Request, p Person) error {
	t := trying{Carrier: r.PostFormValue("carrier")}
	if !d.server.HasCarrier(t.Carrier) {
		return verify.ErrNotFound
	}
	to, err := phone.Parse(r.PostFormValue("to"))
	if err != nil {
		t.Problem = "That is no number with its country, such as +1 202 555 0100."
		d.show(w, r, http.StatusUnprocessableEntity, trialPage, "Test message", t)
		return nil
	}
	if err := d.books.CarrierTest(r.Context(), p.actor(), t.Carrier, to); err != nil {
		return err
	}
	t.Number, t.Asked, t.Steps = to.Masked(), true, stepsHere
	control := http.NewResponseController(w)
	control.SetWriteDeadline(time.Now().Add(trialTime + time.Minute)) // fails where there is none
	page := held{ResponseWriter: w}
	d.show(&page, r, http.StatusOK, trialPage, "Test message", t)
	before, after, _ := bytes.Cut(page.body.Bytes(), []byte(stepsHere))
	write := func(p []byte) {
		w.Write(p) // a browser that left cancels the request
		control.Flush()
	}
	write(before)
	ctx, cancel := context.WithTimeout(r.Context(), trialTime)
	defer cancel()
	last, err := d.server.Dispatch.Try(ctx, t.Carrier, "", to, func(s dispatch.Step) { write(stepLine(s)) })
	switch {
	case err != nil:
		write(line("bad", "", "Not sent", err.Error()))
	case last.What == verify.AttemptUnknown.String() || last.What == verify.AttemptAccepted.String() && !last.Final:
		write(line("wait", "", "No report yet", "The carrier has said nothing more in "+trialTime.String()+"."))
	}
	write(after)
	return nil
}

// stepLine is a step as a line of the page.
func stepLine(s dispatch.Step) []byte {
	tone := ""
	switch s.What {
	case verify.AttemptAccepted.String(), verify.ReceiptDelivered.String():
		tone = "good"
	case "sending":
	case verify.AttemptUnknown.String():
		tone = "wait"
	default:
		tone = "bad"
	}
	return line(tone, s.After.Round(time.Millisecond).String(), strings.ToUpper(s.What[:1])+s.What[1:], strings.Join(present(s.Reason.String(), s.Code, s.Ref, s.Detail, s.Hint), " · "))
}

func line(tone, after, what, why string) []byte {
	var b bytes.Buffer
	if err := trialPage().ExecuteTemplate(&b, "step", event{Time: after, Tone: tone, What: what, Why: why}); err != nil {
		return nil // the template is ours, and its test executes it
	}
	return b.Bytes()
}

// held keeps a page back.
type held struct {
	http.ResponseWriter
	body bytes.Buffer
}

// Write implements [io.Writer].
func (h *held) Write(p []byte) (int, error) { return h.body.Write(p) }
