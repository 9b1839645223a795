package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/verify"
)

// A Desk starts and checks verifications for the page of phones, as an API caller of dev's project would.
type Desk interface {
	Start(ctx context.Context, to string, channel verify.Channel) (verify.ID, error)
	Check(ctx context.Context, id verify.ID, typed verify.Secret) error
	Look(ctx context.Context, id verify.ID) (verify.Snapshot, error)
	// Invite makes a code by which the developer's browser registers itself, and Ask asks it, from a client.
	Invite(ctx context.Context) (verify.Secret, error)
	Ask(ctx context.Context, from verify.Client) (verify.ID, error)
}

// shown is how many messages the page shows.
const shown = 60

// maxForm is the largest form, in bytes.
const maxForm = 4 << 10

// Phones shows what the simulator took, by phone, and lets a person start and check a verification:
//
//	GET  /simulator        the page; ?v=ID shows the verification with that id
//	POST /simulator/start  to, channel
//	POST /simulator/check  id, code
//	POST /simulator/browser  registers the person's own browser as a device
//	POST /simulator/ask      asks it
//
// Below /simulator/messages the simulator itself answers. Only clients on loopback are served: see [sim.Guard].
func Phones(s *sim.Simulator, desk Desk) http.Handler {
	p := phones{s, desk}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /simulator", p.page)
	mux.HandleFunc("POST /simulator/start", p.start)
	mux.HandleFunc("POST /simulator/check", p.check)
	mux.HandleFunc("POST /simulator/browser", p.browser)
	mux.HandleFunc("POST /simulator/ask", p.ask)
	mux.Handle("/simulator/", s.Handler())
	return sim.Guard(mux)
}

type phones struct {
	simulator *sim.Simulator
	desk      Desk
}

var phonesPage = parse("phones.html")

// board is what the page shows.
type board struct {
	To, Channel, Problem string
	Verification         *tried
	Phones               []*handset
	Older                int
	Outcomes             any
}

// A handset is a phone with its messages, the newest first.
type handset struct {
	Number, Channels, Fate string
	Messages               []message
}

// A message is as the page shows it: its text around the code.
type message struct {
	sim.Message
	Before, Code, After, Time, Kind string
}

// tried is the verification that the person started here.
type tried struct {
	ID, To, Status, Says string
	Ended, Bad, Waits    bool
}

func (p phones) page(w http.ResponseWriter, r *http.Request) {
	p.show(w, r, http.StatusOK, r.FormValue("v"), "")
}

// show writes the page, with the verification that the person started last and with what was wrong.
func (p phones) show(w http.ResponseWriter, r *http.Request, status int, started, problem string) {
	b := board{To: cmp.Or(r.FormValue("to"), "+12025550100"), Channel: r.FormValue("channel"), Problem: problem, Outcomes: sim.Outcomes}
	if id, err := verify.ParseID(started); err == nil {
		b.Verification = p.look(r.Context(), id)
	}
	all := p.simulator.All()
	b.Older = max(0, len(all)-shown)
	b.Phones = handsets(all[:min(len(all), shown)])
	show(w, status, phonesPage, view{Title: "Phones", Pages: []link{{"Phones", "/simulator", true}}, Live: true, Who: "countersign dev", Data: b})
}

// handsets sorts messages by phone; the phone with the newest message comes first.
func handsets(all []sim.Message) (found []*handset) {
	byNumber := map[string]*handset{}
	for _, m := range all {
		h := byNumber[m.To]
		if h == nil {
			h = &handset{Number: m.To, Fate: sim.Fate(m.To)}
			byNumber[m.To], found = h, append(found, h)
		}
		kind := kinds[verify.Channel(m.Channel)]
		if !strings.Contains(h.Channels, kind) {
			h.Channels = strings.Trim(h.Channels+", "+kind, ", ")
		}
		before, after, ok := strings.Cut(m.Body, m.Code)
		shown := message{Message: m, Before: m.Body, Time: m.CreatedAt.Format(time.TimeOnly), Kind: kind}
		if ok && m.Code != "" {
			shown.Before, shown.Code, shown.After = before, m.Code, after
		}
		h.Messages = append(h.Messages, shown)
	}
	return found
}

// kinds are what the page calls the messages of channels.
var kinds = map[verify.Channel]string{verify.ChannelSMS: "SMS", verify.ChannelVoice: "call", verify.ChannelPush: "push"}

func (p phones) look(ctx context.Context, id verify.ID) *tried {
	v, err := p.desk.Look(ctx, id)
	if err != nil {
		return nil
	}
	t := &tried{ID: id.String(), To: string(v.Verification.To), Status: v.Status.String()}
	left := v.Verification.MaxAttempts - v.Verification.Guesses
	switch v.Status {
	case verify.StatusPending:
		t.Waits = true
		if q := v.Verification.Prompt; !q.IsZero() {
			t.Says = fmt.Sprintf("Pick %d on the device. A page of yours would show this number.", q.Number)
			break
		}
		t.Says = fmt.Sprintf("%d of %d guesses are left. The code can be used until %s.", left, v.Verification.MaxAttempts, v.Verification.ExpiresAt.UTC().Format(time.TimeOnly+" UTC"))
	case verify.StatusApproved:
		t.Ended, t.Says = true, "The code was right. It works only once."
		if !v.Verification.Prompt.IsZero() {
			t.Says = "The device approved."
		}
	default:
		t.Ended, t.Bad, t.Says = true, true, "This verification has ended; start another one."
	}
	return t
}

func (p phones) start(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	to, channel := strings.TrimSpace(r.PostFormValue("to")), verify.Channel(r.PostFormValue("channel"))
	id, err := p.desk.Start(r.Context(), to, channel)
	if err != nil {
		p.show(w, r, http.StatusUnprocessableEntity, "", explain(err))
		return
	}
	back(w, r, url.Values{"to": {to}, "channel": {string(channel)}, "v": {id.String()}})
}

func (p phones) check(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	id, err := verify.ParseID(r.PostFormValue("id"))
	if err == nil {
		err = p.desk.Check(r.Context(), id, verify.Secret(strings.TrimSpace(r.PostFormValue("code"))))
	}
	if err != nil {
		p.show(w, r, http.StatusUnprocessableEntity, r.PostFormValue("id"), explain(err))
		return
	}
	back(w, r, url.Values{"v": {id.String()}})
}

// browser leads the person to the authenticator, with a code by which it registers the browser.
func (p phones) browser(w http.ResponseWriter, r *http.Request) {
	code, err := p.desk.Invite(r.Context())
	if err != nil {
		p.show(w, r, http.StatusUnprocessableEntity, "", explain(err))
		return
	}
	http.Redirect(w, r, "/device/#"+code.Reveal(), http.StatusSeeOther)
}

func (p phones) ask(w http.ResponseWriter, r *http.Request) {
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	agent := r.UserAgent()
	id, err := p.desk.Ask(r.Context(), verify.Client{IP: address, UserAgent: agent[:min(len(agent), 512)], Device: "this page"})
	if err != nil {
		p.show(w, r, http.StatusUnprocessableEntity, "", explain(err))
		return
	}
	back(w, r, url.Values{"v": {id.String()}})
}

// back leads to the page after a form, so that a reload doesn't send it again.
func back(w http.ResponseWriter, r *http.Request, q url.Values) {
	http.Redirect(w, r, "/simulator?"+q.Encode(), http.StatusSeeOther)
}

// explain is what a person reads of an error.
func explain(err error) string {
	var known *verify.Error
	if !errors.As(err, &known) {
		return "That didn't work; the server's log says why."
	}
	if len(known.Problems) > 0 {
		return known.Problems[0].Message
	}
	return known.Message
}
