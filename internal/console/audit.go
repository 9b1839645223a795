package console

import (
	"net/http"
	"net/url"
	"time"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// shownAudits is how many entries of the audit log are on a page.
const shownAudits = 200

// exportTime is how long a browser may take over the whole audit log.
const exportTime = 10 * time.Minute

type auditLine struct{ Time, Actor, Action, Project, Detail string }

// audited is what the page of the audit log shows.
type audited struct {
	Lines        []auditLine
	Older        string // to the page behind this one; "": this one has the oldest entry
	Newest       string // to the first page; "": this is it
	Export, Size string
}

// audit shows what operators did, the newest first: GET /audit?before=ID.
func (d desk) audit(w http.ResponseWriter, r *http.Request, _ Person) error {
	var before verify.ID
	page := audited{}
	if text := r.URL.Query().Get("before"); text != "" {
		id, err := verify.ParseID(text)
		if err != nil {
			return verify.ErrNotFound
		}
		before, page.Newest = id, "/audit"
	}
	entries, err := d.books.AuditsBefore(r.Context(), before, shownAudits+1)
	if err != nil {
		return err
	}
	entries, more := firstOf(entries, shownAudits)
	if more > 0 {
		page.Older = "/audit?" + url.Values{"before": {entries[len(entries)-1].ID.String()}}.Encode()
	}
	page.Lines = auditLines(entries)
	d.show(w, r, http.StatusOK, auditPage, "Audit", page)
	return nil
}

func auditLines(entries []store.Audit) (lines []auditLine) {
	for _, e := range entries {
		lines = append(lines, auditLine{at(e.ID.Time()), e.Actor, e.Action, string(e.Project), e.Detail})
	}
	return lines
}

// exportAudit streams the whole audit log, as countersign audit export prints it. Where it can't be read to the end, the
// connection breaks, so that nobody takes a part for the whole.
func (d desk) exportAudit(w http.ResponseWriter, r *http.Request, p Person) error {
	if err := d.books.AuditExport(r.Context(), p.actor()); err != nil {
		return err
	}
	control := http.NewResponseController(w)
	control.SetWriteDeadline(time.Now().Add(exportTime)) // fails where there is none
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Content-Disposition", `attachment; filename="audit.jsonl"`)
	if err := d.books.ExportAudits(r.Context(), flushing{w, control}); err != nil {
		d.log.ErrorContext(r.Context(), "export of the audit log broke off", "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// flushing sends each write on its way.
type flushing struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	f.control.Flush() // fails where there is nothing to flush
	return n, err
}
