package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// Projects lists all projects.
func (s *Service) Projects(ctx context.Context) ([]verify.Project, error) {
	return s.store.Projects(ctx)
}

// A Number is what is known of a number in a project.
type Number struct {
	Project  verify.Project
	Standing string                // its wrong guesses, and whether it has to wait
	History  []verify.Verification // the newest first
}

// shownHistory is how many verifications of a number are shown.
const shownHistory = 20

// Number reads what is known of a number in a project. It fails with [verify.ErrNoNumber].
func (s *Service) Number(ctx context.Context, p verify.Project, n phone.Number) (found Number, err error) {
	d, err := s.store.Destination(ctx, p.ID, n)
	if err != nil {
		return found, err
	}
	return s.known(ctx, p, d)
}

// known reads the history of a number's row.
func (s *Service) known(ctx context.Context, p verify.Project, d verify.Destination) (found Number, err error) {
	found = Number{Project: p, Standing: Standing(d, s.store.Now())}
	found.History, err = s.store.History(ctx, d, shownHistory)
	return found, err
}

// Numbers reads what is known of a number in those of some projects that know it: those with the newest verifications,
// at most so many. More is how many others know it.
func (s *Service) Numbers(ctx context.Context, projects []verify.Project, n phone.Number, most int) (all []Number, more int, err error) {
	rows, err := s.store.DestinationsOf(ctx, n)
	if err != nil {
		return nil, 0, err
	}
	asked := map[verify.ProjectID]verify.Project{}
	for _, p := range projects {
		asked[p.ID] = p
	}
	rows = slices.DeleteFunc(rows, func(d verify.Destination) bool { _, ok := asked[d.Project]; return !ok })
	slices.SortStableFunc(rows, func(a, b verify.Destination) int { return bytes.Compare(b.Latest[:], a.Latest[:]) })
	if len(rows) > most {
		rows, more = rows[:most], len(rows)-most
	}
	for _, d := range rows {
		found, err := s.known(ctx, asked[d.Project], d)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, found)
	}
	return all, more, nil
}

// Standing says what a number's row means.
func Standing(d verify.Destination, now time.Time) string {
	guesses := fmt.Sprintf("%d wrong guesses since the last right one", d.Failures)
	switch {
	case d.Failures >= verify.MaxFailures:
		return guesses + "; locked until 'destination reset'"
	case d.Failures >= verify.MaxFailures-verify.Reserve:
		return guesses + "; only the first guess at a code that was sent since is evaluated"
	case d.WaitUntil.After(now):
		return guesses + "; has to wait until " + d.WaitUntil.UTC().Format(time.RFC3339)
	}
	return guesses
}

// Sending says what a project's send limits still allow to a number.
func Sending(d verify.Destination, limits verify.Limits, now time.Time) string {
	sent, wait := d.Sending(limits, now)
	said := fmt.Sprintf("%d of %d messages in 24 hours", sent, limits.Daily)
	if limits.Daily <= 0 {
		said = "no limit of messages in 24 hours"
	}
	if wait > 0 {
		return said + "; the next from " + now.Add(wait).UTC().Format(time.RFC3339) + " on"
	}
	return said + "; the next may go now"
}

// UsageRows lists what was used: see [verify.UsageQuery].
func (s *Service) UsageRows(ctx context.Context, q verify.UsageQuery) ([]verify.UsageRow, error) {
	return s.store.Usage(ctx, q)
}

// AuditsBefore lists what operators did before an entry, the newest first, at most n; before the zero id, all of it.
func (s *Service) AuditsBefore(ctx context.Context, before verify.ID, n int) ([]store.Audit, error) {
	return s.store.AuditsBefore(ctx, before, n)
}

// exportPage is how many entries of the audit log are read together.
const exportPage = 1000

// ExportAudits writes the whole audit log as JSON, an entry a line, the newest first. It writes each page when it has read it.
func (s *Service) ExportAudits(ctx context.Context, w io.Writer) error {
	var before verify.ID
	for {
		page, err := s.store.AuditsBefore(ctx, before, exportPage)
		if err != nil {
			return err
		}
		var lines bytes.Buffer
		for _, a := range page {
			before = a.ID
			if err := addLine(&lines, auditEntry{a.ID.String(), a.ID.Time().UTC(), a.Actor, a.Action, string(a.Project), a.Detail}); err != nil {
				return err
			}
		}
		if _, err := w.Write(lines.Bytes()); err != nil || len(page) < exportPage {
			return err
		}
	}
}

// addLine adds an object as a line of JSON.
func addLine(to *bytes.Buffer, object any) error {
	line := json.NewEncoder(to)
	line.SetEscapeHTML(false)
	return line.Encode(object)
}

type auditEntry struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Project string    `json:"project"`
	Detail  string    `json:"detail"`
}

// AuditExport writes down who exported the audit log.
func (s *Service) AuditExport(ctx context.Context, by Actor) error {
	return s.store.Record(ctx, by.did("audit export", ""))
}

// CarrierTest writes down who sends a test message.
func (s *Service) CarrierTest(ctx context.Context, by Actor, carrier string, to phone.Number) error {
	return s.store.Record(ctx, by.did("carrier test", carrier+" to "+to.Masked()))
}
