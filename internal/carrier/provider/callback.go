package provider

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
)

// Prefix is where [Handler] answers.
const Prefix = "/carriers/"

const (
	maxReport  = 64 << 10 // bytes of one request
	maxReports = 1000     // in one request

	// Anybody can send a body that pretends to be signed: so many are read at once, and so many of one
	// address, each for so long. They take 8 MiB.
	maxUnproven, maxUnprovenOfOne = 128, 32
	bodyTimeout                   = 5 * time.Second
)

// publicURL is where the provider reports about an attempt, or asks what its call says.
func (c *Carrier) publicURL(of, token string) string {
	u := strings.TrimSuffix(c.Public, "/") + Prefix + c.Config.Name + "/" + of
	if c.Spec.Callback.Check == "path" {
		u += "/" + strings.TrimSpace(c.CallbackSecret.Reveal())
	}
	return u + "?m=" + url.QueryEscape(token)
}

// Handler answers the reports of providers:
//
//	POST /carriers/{name}/status        signed as the provider does
//	POST /carriers/{name}/status/{key}  with the secret in the URL
//
// and their questions what a call says:
//
//	POST /carriers/{name}/answer, /carriers/{name}/answer/{key}  proven in the same way
//
// GET of a report is the same, with the report in the query. 200 means that there is nothing more to do, also where
// nobody knows the message (any more); 503 that the provider should report again. A report says whether
// a message arrived. It can't say anything about a verification: there is no word for that in a
// [carrier.Receipt]. 403 is for everything that no provider of ours sends, whatever carrier it names.
func Handler(log *outage.Log, carriers ...*Carrier) http.Handler {
	h := &handler{log: log, carriers: map[string]*Carrier{}, unproven: map[string]int{}}
	for _, c := range carriers {
		if c.Receives() {
			h.carriers[c.Name()] = c
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Prefix+"{name}/status", h.status)
	mux.HandleFunc("POST "+Prefix+"{name}/status/{key}", h.status)
	mux.HandleFunc("GET "+Prefix+"{name}/status", h.status)
	mux.HandleFunc("GET "+Prefix+"{name}/status/{key}", h.status)
	mux.HandleFunc("POST "+Prefix+"{name}/answer", h.answer)
	mux.HandleFunc("POST "+Prefix+"{name}/answer/{key}", h.answer)
	return mux
}

type handler struct {
	log      *outage.Log
	carriers map[string]*Carrier

	mu       sync.Mutex     // guards what follows
	unproven map[string]int // bodies that are being read, by address
	reading  int            // their sum
}

// once reports whether a proven request counts a single time: the answer to a question holds the code,
// and what isn't signed whole may be written by anybody who has seen it. A whole report that is repeated says
// what it said before, which changes nothing; a provider repeats it when our answer got lost.
func once(r *report) bool {
	return r.urlOnly || r.question
}

// proven reads a request of a provider. If it isn't one, it is answered, and there is no report. What
// anybody can see, how long the answer takes as well, is the same for every carrier that there is or isn't:
// without a signature the body isn't read, and with one it is.
func (h *handler) proven(w http.ResponseWriter, r *http.Request, question bool) (*Carrier, *report) {
	c := h.carriers[r.PathValue("name")]
	byPath := r.PathValue("key") != ""
	if byPath && !c.provenByPath(r) || !byPath && !signed(r.Header) {
		h.refuse(w, r, c)
		return nil, nil
	}
	body, ok := h.read(w, r, byPath)
	if !ok {
		return nil, nil
	}
	if c == nil || byPath != c.byPath() {
		h.refuse(w, r, c)
		return nil, nil
	}
	rep := &report{Request: r, url: strings.TrimSuffix(c.Public, "/") + r.URL.RequestURI(), body: body, question: question}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == "application/x-www-form-urlencoded" {
		rep.form, _ = url.ParseQuery(string(body)) // what can't be read isn't signed either
	}
	if !c.prove(rep, c.Now()) || once(rep) && !c.used.take(rep.marks) {
		h.refuse(w, r, c)
		return nil, nil
	}
	return c, rep
}

// byPath reports whether a carrier's reports are proven by the secret in their URL.
func (c *Carrier) byPath() bool { return c.Spec.Callback.Check == "path" }

// provenByPath reports whether a request shows the carrier's secret in its URL. c may be nil.
func (c *Carrier) provenByPath(r *http.Request) bool {
	return c != nil && c.byPath() && c.prove(&report{Request: r}, c.Now())
}

// refuse answers what no provider sends. The log says it of carriers that there are: nobody can fill it
// with names.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, c *Carrier) {
	if c != nil {
		h.log.WarnContext(r.Context(), "a report was not from the provider: if all of them are, compare public.url and the callback's secret with the provider's console", "carrier", c.Name())
	}
	http.Error(w, "not signed by the provider, too old, or there before", http.StatusForbidden)
}

// read reads a body, or answers why not. One that nobody has proven yet needs a place.
func (h *handler) read(w http.ResponseWriter, r *http.Request, proven bool) ([]byte, bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, true
	}
	if !proven {
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		if !h.enter(client) {
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many reports at once", http.StatusServiceUnavailable)
			return nil, false
		}
		defer h.leave(client)
	}
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(bodyTimeout)) // fails where there is no connection, as in tests
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if err != nil {
		http.Error(w, "too large, or cut off", http.StatusRequestEntityTooLarge)
		return nil, false
	}
	control.SetReadDeadline(time.Time{})
	return body, true
}

func (h *handler) enter(client string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reading >= maxUnproven || h.unproven[client] >= maxUnprovenOfOne {
		return false
	}
	h.reading++
	h.unproven[client]++
	return true
}

func (h *handler) leave(client string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reading--
	if h.unproven[client]--; h.unproven[client] == 0 {
		delete(h.unproven, client)
	}
}

// answer says what a call says. The code leaves here as it does in a message: nothing of this is logged,
// and nobody may keep it.
func (h *handler) answer(w http.ResponseWriter, r *http.Request) {
	c, rep := h.proven(w, r, true)
	if rep == nil {
		return
	}
	if c.Spec.Answer.Body == "" {
		http.Error(w, "this provider has nothing to ask", http.StatusNotFound)
		return
	}
	said, err := c.say(r.Context(), r.URL.Query().Get("m"))
	switch {
	case errors.Is(err, verify.ErrNotFound):
		said = []byte(c.Spec.Answer.None)
	case err != nil:
		c.used.giveBack(rep.marks)
		h.fail(r.Context(), "a call wasn't told what to say, the provider will ask again", c, err)
		w.Header().Set("Retry-After", "1")
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", c.Spec.Answer.Type)
	w.Header().Set("Cache-Control", "no-store")
	w.Write(said)
}

// say renders what an attempt's call says, or fails with [verify.ErrNotFound] if that is nothing any more.
func (c *Carrier) say(ctx context.Context, token string) ([]byte, error) {
	v, attempt, ok := parseToken(token)
	if !ok {
		return nil, verify.ErrNotFound
	}
	m, err := c.words(ctx, c.Name(), v, attempt)
	if err != nil {
		return nil, err
	}
	return c.templates.say(c.fields(m))
}

// fail logs that a request wasn't carried out because of us.
func (h *handler) fail(ctx context.Context, msg string, c *Carrier, err error) {
	if errors.Is(err, verify.ErrNoStore) {
		h.log.DatabaseFailedContext(ctx, msg, err, "carrier", c.Name())
		return
	}
	h.log.FailedContext(ctx, msg, slog.LevelError, msg, "carrier", c.Name(), "err", err)
}

func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	c, rep := h.proven(w, r, false)
	if rep == nil {
		return
	}
	for _, receipt := range c.receipts(rep) {
		switch err := c.receive(r.Context(), receipt); {
		case errors.Is(err, verify.ErrNotFound):
			h.log.DebugContext(r.Context(), "a report was about a message that nobody knows", "carrier", c.Name())
		case err != nil:
			if once(rep) {
				c.used.giveBack(rep.marks)
			}
			h.fail(r.Context(), "a report was not taken, the provider will send it again", c, err)
			w.Header().Set("Retry-After", "5")
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}

// receipts reads a report. What says nothing final is left out.
func (c *Carrier) receipts(r *report) (all []carrier.Receipt) {
	spec := c.Spec.Callback
	query := r.URL.Query()
	items := []any{r.document(query)}
	if spec.Each != "" {
		items, _ = at(items[0], spec.Each).([]any)
	}
	for _, item := range items[:min(len(items), maxReports)] {
		receipt, ok := spec.read(item)
		if !ok {
			continue
		}
		// One URL is for one attempt; a list may be about several, and names each.
		v, attempt, ok := parseToken(find(item, spec.Token))
		if !ok && spec.Each == "" {
			v, attempt, ok = parseToken(query.Get("m"))
		}
		if ok {
			receipt.Verification, receipt.Attempt = v, attempt
		}
		if r.urlOnly {
			receipt.Ref = "" // anybody could have written it
		}
		if receipt.Carrier = c.Config.Name; ok || receipt.Ref != "" {
			all = append(all, receipt)
		}
	}
	return all
}

// document is a report's JSON, or its form, or else its query, as JSON would have it.
func (r *report) document(query url.Values) any {
	form := r.form
	if form == nil {
		if len(r.body) > 0 {
			return parse(r.body)
		}
		form = query
	}
	doc := map[string]any{}
	for name, values := range form {
		doc[name] = values[0]
	}
	return doc
}

// read reads one report; not ok if it says nothing final.
func (s CallbackSpec) read(item any) (r carrier.Receipt, ok bool) {
	status := find(item, s.Status)
	switch {
	case slices.Contains(s.Delivered, status):
		r.Delivered = true
	case slices.Contains(s.Failed, status):
		r.Reason = s.reason(find(item, s.Code), status)
	default:
		return carrier.Receipt{}, false
	}
	if ref := find(item, s.Ref); len(ref) <= maxRef {
		r.Ref = ref
	}
	return r, true
}

// reason is what a code means, or else a status.
func (s CallbackSpec) reason(code, status string) verify.Reason {
	for _, text := range []string{code, status} {
		for _, r := range s.Reasons {
			if text != "" && slices.Contains(r.Codes, text) {
				return reasons[r.Reason]
			}
		}
	}
	return verify.ReasonUnknown
}
