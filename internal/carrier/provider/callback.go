package provider

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// Prefix is where [Handler] answers.
const Prefix = "/carriers/"

const (
	maxReport  = 256 << 10 // bytes of one request
	maxReports = 1000      // in one request
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
// [carrier.Receipt].
func Handler(log *slog.Logger, carriers ...*Carrier) http.Handler {
	h := &handler{log, map[string]*Carrier{}}
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
	log      *slog.Logger
	carriers map[string]*Carrier
}

// proven reads a request of a provider. If it isn't one, it is answered, and there is no report.
func (h *handler) proven(w http.ResponseWriter, r *http.Request) (*Carrier, *report) {
	c := h.carriers[r.PathValue("name")]
	if c == nil || (c.Spec.Callback.Check == "path") != (r.PathValue("key") != "") {
		http.Error(w, "there are no callbacks here", http.StatusNotFound)
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if err != nil {
		http.Error(w, "too large, or cut off", http.StatusRequestEntityTooLarge)
		return nil, nil
	}
	rep := &report{Request: r, url: strings.TrimSuffix(c.Public, "/") + r.URL.RequestURI(), body: body}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == "application/x-www-form-urlencoded" {
		rep.form, _ = url.ParseQuery(string(body)) // what can't be read isn't signed either
	}
	if !c.prove(rep, c.Now()) {
		h.log.Warn("a report was not from the provider: if all of them are, compare public.url and the callback's secret with the provider's console", "carrier", c.Name())
		http.Error(w, "not signed by the provider, or too old", http.StatusForbidden)
		return nil, nil
	}
	return c, rep
}

// answer says what a call says. The code leaves here as it does in a message: nothing of this is logged,
// and nobody may keep it.
func (h *handler) answer(w http.ResponseWriter, r *http.Request) {
	c, rep := h.proven(w, r)
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
		h.log.Error("a call wasn't told what to say, the provider will ask again", "carrier", c.Name(), "err", err)
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

func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	c, rep := h.proven(w, r)
	if rep == nil {
		return
	}
	for _, receipt := range c.receipts(rep) {
		switch err := c.receive(r.Context(), receipt); {
		case errors.Is(err, verify.ErrNotFound):
			h.log.Debug("a report was about a message that nobody knows", "carrier", c.Name())
		case err != nil:
			h.log.Error("a report was not taken, the provider will send it again", "carrier", c.Name(), "err", err)
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
func (s CallbackSpec) reason(code, status string) string {
	for _, text := range []string{code, status} {
		for _, r := range s.Reasons {
			if text != "" && slices.Contains(r.Codes, text) {
				return r.Reason
			}
		}
	}
	return verify.ReasonUnknown
}
