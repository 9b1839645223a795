package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// Prefix is the path below which [Handler] serves.
const Prefix = "/carriers/"

const (
	maxReport  = 64 << 10 // bytes of one request
	maxReports = 1000     // in one request
)

// callbackURL returns the URL at which a carrier's provider reaches us.
func callbackURL(public, name, of string) string {
	return strings.TrimSuffix(public, "/") + Prefix + name + "/" + of
}

// publicURL returns the URL to which the provider sends reports about an attempt
// ("status"), or asks what its call says ("answer").
func (c *Carrier) publicURL(of, token string) string {
	u := callbackURL(c.Public, c.Config.Name, of)
	if c.Spec.Callback.Check == "path" {
		u += "/" + strings.TrimSpace(c.CallbackSecret.Reveal())
	}
	return u + "?m=" + url.QueryEscape(token)
}

// Handler serves the reports of providers:
//
//	POST /carriers/{name}/status        signed by the provider
//	POST /carriers/{name}/status/{key}  with the secret in the URL
//
// and their requests for the words of a call:
//
//	POST /carriers/{name}/answer, /carriers/{name}/answer/{key}  proven in the same way
//
// A report may also be a GET with the report in the query. The status of the answer is
//
//	200  if the provider need not report again, even if the message is unknown
//	503  if the provider should report again
//	403  for every request that doesn't come from a configured provider, whatever carrier it names
//
// A report tells whether a message arrived. It can't change a verification, because a [carrier.Receipt] has
// no field for that.
func Handler(log *outage.Log, carriers ...*Carrier) http.Handler {
	h := &handler{log: log, carriers: map[string]*Carrier{}}
	for _, c := range carriers {
		if c.Receives() {
			h.carriers[c.Name()] = c
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Prefix+"{name}/status", h.serveStatus)
	mux.HandleFunc("POST "+Prefix+"{name}/status/{key}", h.serveStatus)
	mux.HandleFunc("GET "+Prefix+"{name}/status", h.serveStatus)
	mux.HandleFunc("GET "+Prefix+"{name}/status/{key}", h.serveStatus)
	mux.HandleFunc("POST "+Prefix+"{name}/answer", h.serveAnswer)
	mux.HandleFunc("POST "+Prefix+"{name}/answer/{key}", h.serveAnswer)
	return mux
}

type handler struct {
	log      *outage.Log
	carriers map[string]*Carrier

	unproven web.Unproven // bodies together take at most 8 MiB
}

// once reports whether a proven request is accepted only once. That applies to requests for a call's words,
// because the answer holds the code. It also applies to reports that aren't signed whole, because anybody who
// has seen the signature could write another report with it. Repeating a report that is signed whole changes
// nothing; a provider repeats it when our answer got lost.
func once(r *report) bool {
	return r.urlOnly || r.question
}

// proven reads a provider's request and checks its proof. If the proof is invalid, proven answers the
// request and returns no report. An outsider sees the same answer, after the same time, whether or not a
// carrier exists: without a signature the body isn't read, and with one it is.
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
		rep.form, _ = url.ParseQuery(string(body)) // a form that can't be parsed isn't signed either
	}
	if !c.prove(rep, c.Now()) || once(rep) && !c.used.take(rep.marks) {
		h.refuse(w, r, c)
		return nil, nil
	}
	return c, rep
}

// byPath reports whether the secret in the URL proves the carrier's reports.
func (c *Carrier) byPath() bool { return c.Spec.Callback.Check == "path" }

// provenByPath reports whether a request has the carrier's secret in its URL. c may be nil.
func (c *Carrier) provenByPath(r *http.Request) bool {
	return c != nil && c.byPath() && c.prove(&report{Request: r}, c.Now())
}

// refuse answers a request that isn't from a provider. It logs only requests to existing carriers, so that
// outsiders can't fill the log with names.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, c *Carrier) {
	if c != nil {
		h.log.WarnContext(r.Context(), "a report was not from the provider: if all of them are, compare public.url and the callback's secret with the provider's console", "carrier", c.Name())
	}
	http.Error(w, "not signed by the provider, too old, or a repeat", http.StatusForbidden)
}

// read reads a body, or answers with an error. A body without a proof needs a place.
func (h *handler) read(w http.ResponseWriter, r *http.Request, proven bool) ([]byte, bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, true
	}
	read := h.unproven.Read
	if proven {
		read = web.ReadSoon
	}
	body, err := read(w, r, maxReport)
	switch {
	case errors.Is(err, web.ErrManyUnproven):
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many reports at once", http.StatusServiceUnavailable)
		return nil, false
	case err != nil:
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return nil, false
	}
	return body, true
}

// serveAnswer answers a provider's request for the words of a call. The answer holds the code, as a
// message does, so it is never logged, and caches must not store it.
func (h *handler) serveAnswer(w http.ResponseWriter, r *http.Request) {
	c, rep := h.proven(w, r, true)
	if rep == nil {
		return
	}
	if c.Spec.Answer.Body == "" {
		http.Error(w, "this carrier answers no requests for words", http.StatusNotFound)
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

// say renders the words of an attempt's call. It returns [verify.ErrNotFound] if there is nothing to say
// any more.
func (c *Carrier) say(ctx context.Context, token string) ([]byte, error) {
	v, attempt, ok := carrier.ParseToken(token)
	if !ok {
		return nil, verify.ErrNotFound
	}
	m, err := c.words(ctx, c.Name(), v, attempt)
	if err != nil {
		return nil, err
	}
	return c.templates.say(c.fields(m))
}

// fail logs that a request failed because of a fault on our side.
func (h *handler) fail(ctx context.Context, msg string, c *Carrier, err error) {
	if errors.Is(err, verify.ErrNoStore) {
		h.log.DatabaseFailedContext(ctx, msg, err, "carrier", c.Name())
		return
	}
	h.log.FailedContext(ctx, msg, slog.LevelError, msg, "carrier", c.Name(), "err", err)
}

// serveStatus passes the receipts of a provider's report on.
func (h *handler) serveStatus(w http.ResponseWriter, r *http.Request) {
	c, rep := h.proven(w, r, false)
	if rep == nil {
		return
	}
	if h.shakeHands(w, c, rep) {
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
	io.WriteString(w, c.Spec.Callback.Reply)
}

// shakeHands answers a request with which a provider tries whether the URL is ours.
func (h *handler) shakeHands(w http.ResponseWriter, c *Carrier, r *report) bool {
	spec := c.Spec.Callback
	said := find(r.document(r.URL.Query()), spec.Handshake)
	if said == "" {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{spec.HandshakeReply: said})
	return true
}

// receipts returns the receipts of a report. It skips items that aren't final.
func (c *Carrier) receipts(r *report) (all []carrier.Receipt) {
	spec := c.Spec.Callback
	query := r.URL.Query()
	items := []any{r.document(query)}
	switch spec.Each {
	case "":
	case ".":
		items, _ = items[0].([]any)
	case ",":
		items = spec.split(items[0])
	default:
		items, _ = at(items[0], spec.Each).([]any)
	}
	for _, item := range items[:min(len(items), maxReports)] {
		receipt, ok := spec.read(item)
		if !ok {
			continue
		}
		// The URL names one attempt. A list may report on several and names each
		// of them.
		v, attempt, ok := carrier.ParseToken(find(item, spec.Token))
		if !ok && spec.namedByURL() {
			v, attempt, ok = carrier.ParseToken(query.Get("m"))
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

// namedByURL reports whether the URL of a report names the attempt. It doesn't where a report may be about several messages, and where
// the provider signs the body only: somebody could move that body to another attempt's URL.
func (s CallbackSpec) namedByURL() bool {
	return s.Each == "" && s.Check != "webhook" && s.Check != "telesign"
}

// split returns the reports of a form whose fields are lists with commas. A field that isn't as long a list as the status belongs to
// each report.
func (s CallbackSpec) split(doc any) []any {
	n := strings.Count(find(doc, s.Status), ",") + 1
	fields, _ := doc.(map[string]any)
	all := make([]any, min(n, maxReports))
	for i := range all {
		all[i] = map[string]any{}
	}
	for name := range fields {
		value := find(fields, name)
		parts := strings.Split(value, ",")
		for i, one := range all {
			if len(parts) == n {
				value = parts[i]
			}
			one.(map[string]any)[name] = value
		}
	}
	return all
}

// document returns a report's JSON, or else its form, or else its query, in the form
// of decoded JSON.
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

// read reads one item of a report. It reports false if the item isn't final.
func (s CallbackSpec) read(item any) (r carrier.Receipt, ok bool) {
	status := find(item, s.Status)
	switch {
	case slices.Contains(s.Delivered, status):
		r.Delivered = true
	case slices.Contains(s.Failed, status):
		r.Reason = s.reason(find(item, s.Code), status)
		r.Code = cmp.Or(codeAt(item, s.Code), carrier.CleanCode(status))
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
				return carrier.Reasons[r.Reason]
			}
		}
	}
	return verify.ReasonUnknown
}
