package console

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// shownAudits is how many entries of the audit log are on a page.
const shownAudits = 200

// exportTime is how long a browser may take over an export, such as the whole audit log.
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

// exportAudit streams the whole audit log, as countersign audit export prints it.
func (d desk) exportAudit(w http.ResponseWriter, r *http.Request, p Person) error {
	return d.download(w, r, "audit.jsonl", func(ctx context.Context, to io.Writer) error {
		if err := d.books.AuditExport(ctx, p.actor()); err != nil {
			return err
		}
		return d.books.ExportAudits(ctx, to)
	})
}

// download streams an export as a file. Where it can't be read to the end, the connection breaks, so that nobody takes a part for the
// whole. An export that fails before it has written anything is answered as any other request.
func (d desk) download(w http.ResponseWriter, r *http.Request, name string, export func(context.Context, io.Writer) error) error {
	control := http.NewResponseController(w)
	control.SetWriteDeadline(time.Now().Add(exportTime)) // fails where there is none
	to := &file{flushing: flushing{w, control}, name: name}
	err := export(r.Context(), to)
	if err != nil && to.begun {
		d.log.ErrorContext(r.Context(), "export broke off", "file", name, "err", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// A file is what a browser saves. Its headers are set with the first bytes.
type file struct {
	flushing
	name  string
	begun bool
}

// Write implements [io.Writer].
func (f *file) Write(p []byte) (int, error) {
	if !f.begun {
		f.begun = true
		f.Header().Set("Content-Type", "application/jsonl")
		f.Header().Set("Content-Disposition", `attachment; filename="`+f.name+`"`)
	}
	return f.flushing.Write(p)
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
