package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// What never changes of a verification, and what does. Its row is both.
var (
	identityLayout = layout[verify.Verification]{
		idColumn("id", func(v *verify.Verification) *verify.ID { return &v.ID }),
		textColumn("project", func(v *verify.Verification) *verify.ProjectID { return &v.Project }),
		idColumn("application", func(v *verify.Verification) *verify.ID { return &v.Application }),
		textColumn("channel", func(v *verify.Verification) *verify.Channel { return &v.Channel }),
		textColumn("destination", func(v *verify.Verification) *phone.Number { return &v.To }),
		textColumn("purpose", func(v *verify.Verification) *verify.Purpose { return &v.Purpose }),
		textColumn("sender", func(v *verify.Verification) *string { return &v.Sender }),
		textColumn("text", func(v *verify.Verification) *string { return &v.Text }),
		textColumn("format", func(v *verify.Verification) *code.Format { return &v.Format }),
		numberColumn("length", func(v *verify.Verification) *int { return &v.Length }),
		numberColumn("max_attempts", func(v *verify.Verification) *int { return &v.MaxAttempts }),
		timeColumn("expires_at", func(v *verify.Verification) *time.Time { return &v.ExpiresAt }),
		numberColumn("key_id", func(v *verify.Verification) *uint32 { return &v.KeyID }),
		blobColumn("code_mac", func(v *verify.Verification) *[]byte { return &v.CodeMAC }),
		idColumn("previous", func(v *verify.Verification) *verify.ID { return &v.Previous }),
		textColumn("app_user", func(v *verify.Verification) *string { return &v.User }),
		textColumn("prefix", func(v *verify.Verification) *string { return &v.Prefix }),
		textColumn("locale", func(v *verify.Verification) *string { return &v.Locale }),
		numberColumn("approval", func(v *verify.Verification) *verify.Approval { return &v.Approval }),
		textColumn("asker", func(v *verify.Verification) *string { return &v.Asker }),
		fallbacksColumn("fallbacks", func(v *verify.Verification) *[]verify.Fallback { return &v.Fallbacks }),
		textColumn("written", func(v *verify.Verification) *phone.Number { return &v.Written }),
		idColumn("api_key", func(v *verify.Verification) *verify.ID { return &v.APIKey }),
		textColumn("address", func(v *verify.Verification) *string { return &v.Address }),
		feeColumn("fee", func(v *verify.Verification) *verify.Fee { return &v.Fee }),
		detailsColumn("details", func(v *verify.Verification) *verify.Details { return &v.Details }),
	}
	stateLayout = layout[verify.Verification]{
		numberColumn("status", func(v *verify.Verification) *verify.Status { return &v.Status }),
		numberColumn("guesses", func(v *verify.Verification) *int { return &v.Guesses }),
		timeColumn("ended_at", func(v *verify.Verification) *time.Time { return &v.EndedAt }),
		numberColumn("delivery", func(v *verify.Verification) *verify.DeliveryState { return &v.Delivery }),
		reasonColumn("reason", func(v *verify.Verification) *verify.Reason { return &v.Reason }, func(v *verify.Verification) bool { return v.Approval != verify.ApprovalByCode }),
		numberColumn("attempt", func(v *verify.Verification) *int { return &v.Attempt }),
		timeColumn("due_at", func(v *verify.Verification) *time.Time { return &v.DueAt }),
		blobColumn("code_sealed", func(v *verify.Verification) *[]byte { return &v.SealedCode }),
		resentColumn("resent", func(v *verify.Verification) *verify.Resent { return &v.Resent }),
		heldColumn("held", func(v *verify.Verification) *verify.Held { return &v.Held }),
		bearerColumn("bearer", func(v *verify.Verification) *verify.Bearer { return &v.Bearer }),
		promptColumn("prompt", func(v *verify.Verification) *verify.Prompt { return &v.Prompt }),
	}
	verificationLayout = slices.Concat(identityLayout, stateLayout)
	// changeLayout is the key, and what changes.
	changeLayout = slices.Concat(identityLayout[:1], stateLayout)
)

var selectVerification = `SELECT ` + verificationLayout.names() + ` FROM verification WHERE id = $1`

// The first two columns are the key.
var destinationLayout = layout[verify.Destination]{
	textColumn("project", func(d *verify.Destination) *verify.ProjectID { return &d.Project }),
	textColumn("number", func(d *verify.Destination) *phone.Number { return &d.Number }),
	timeColumn("tat", func(d *verify.Destination) *time.Time { return &d.TAT }),
	logColumn("sends", func(d *verify.Destination) *limit.Log { return &d.Sends }),
	numberColumn("failures", func(d *verify.Destination) *int { return &d.Failures }),
	timeColumn("wait_until", func(d *verify.Destination) *time.Time { return &d.WaitUntil }),
	idColumn("latest", func(d *verify.Destination) *verify.ID { return &d.Latest }),
}

var selectDestination = `SELECT ` + destinationLayout.names() + ` FROM destination WHERE project = $1 AND number = $2`

// An attempt's row: its key, how it ended, what a receipt said later, and how its call went, what sender it had
// instead of the verification's, or the carrier's code for its failure. Most attempts leave that out.
var (
	attemptKeyLayout = layout[verify.Delivery]{
		idColumn("verification", func(d *verify.Delivery) *verify.ID { return &d.Verification }),
		numberColumn("attempt", func(d *verify.Delivery) *int { return &d.Attempt }),
	}
	endLayout = layout[verify.Delivery]{
		textColumn("channel", func(d *verify.Delivery) *verify.Channel { return &d.Channel }),
		textColumn("carrier", func(d *verify.Delivery) *string { return &d.Carrier }),
		numberColumn("outcome", func(d *verify.Delivery) *verify.AttemptOutcome { return &d.Outcome }),
		reasonColumn("reason", func(d *verify.Delivery) *verify.Reason { return &d.Reason }, func(d *verify.Delivery) bool { return d.Outcome != verify.AttemptDropped }),
		textColumn("ref", func(d *verify.Delivery) *string { return &d.Ref }),
		timeColumn("started_at", func(d *verify.Delivery) *time.Time { return &d.StartedAt }),
		timeColumn("ended_at", func(d *verify.Delivery) *time.Time { return &d.EndedAt }),
		chargeColumn("charge", func(d *verify.Delivery) *verify.Charge { return &d.Charge }),
	}
	receiptLayout = layout[verify.Delivery]{
		numberColumn("receipt", func(d *verify.Delivery) *verify.ReceiptState { return &d.Receipt }),
		timeColumn("receipt_at", func(d *verify.Delivery) *time.Time { return &d.ReceiptAt }),
		reasonColumn("receipt_reason", func(d *verify.Delivery) *verify.Reason { return &d.ReceiptReason }, func(*verify.Delivery) bool { return true }),
		textColumn("receipt_code", func(d *verify.Delivery) *string { return &d.ReceiptCode }),
	}
	callLayout = layout[verify.Delivery]{
		spanColumn("ring_ms", func(d *verify.Delivery) *time.Duration { return &d.Call.Ring }),
		timeColumn("answered_at", func(d *verify.Delivery) *time.Time { return &d.Call.Answered }),
		spanColumn("talk_ms", func(d *verify.Delivery) *time.Duration { return &d.Call.Talk }),
		numberColumn("keys", func(d *verify.Delivery) *int { return &d.Call.Keys }),
		numberColumn("call_status", func(d *verify.Delivery) *int { return &d.Call.Status }),
		truthColumn("hung_up", func(d *verify.Delivery) *bool { return &d.Call.HungUp }),
		textColumn("sender", func(d *verify.Delivery) *string { return &d.Sender }),
		textColumn("carrier_code", func(d *verify.Delivery) *string { return &d.CarrierCode }),
	}
	deliveryLayout   = slices.Concat(attemptKeyLayout, endLayout, receiptLayout, callLayout)
	endedLayout      = slices.Concat(attemptKeyLayout, endLayout)
	endedCallLayout  = slices.Concat(endedLayout, callLayout)
	receivedLayout   = slices.Concat(attemptKeyLayout, receiptLayout)
	selectDeliveries = `SELECT ` + deliveryLayout.names() + ` FROM delivery`
	selectDelivery   = selectDeliveries + ` WHERE verification = $1 AND attempt = $2`
)

// What both engines say alike. An attempt ends once: a report that got lost and is made again changes nothing.
// Its receipt may be recorded before its end.
var (
	endDelivery = ` ON CONFLICT (verification, attempt) DO UPDATE SET ` + endLayout.set("excluded") + `, ` + callLayout.set("excluded") + `
		WHERE delivery.ended_at = 0`
	insertDelivery  = `INSERT INTO delivery (` + endedLayout.names() + `) VALUES (` + endedLayout.dollars() + `)` + endDelivery
	insertCall      = `INSERT INTO delivery (` + endedCallLayout.names() + `) VALUES (` + endedCallLayout.dollars() + `)` + endDelivery
	receiveDelivery = ` ON CONFLICT (verification, attempt) DO UPDATE SET ` + receiptLayout.set("excluded")
	insertReceipt   = `INSERT INTO delivery (` + receivedLayout.names() + `, ` + endLayout.names() + `)
		VALUES (` + receivedLayout.dollars() + `, ` + endLayout.zeros() + `)` + receiveDelivery
)

const (
	insertHint = `INSERT INTO retry (due, id) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	deleteHint = `DELETE FROM retry WHERE due = $1 AND id = $2`
)

// scanner is a *sql.Row or *sql.Rows.
type scanner = pool.Row

// scanValue reads the only column.
func scanValue[T any](row scanner) (v T, err error) {
	err = row.Scan(&v)
	return v, err
}

// reasonColumn holds a reason's word. Asked says of a row whose columns before are read what [verify.ReadReason]
// asks.
func reasonColumn[T any](name string, at func(*T) *verify.Reason, asked func(*T) bool) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) error { *at(v) = verify.ReadReason(c.text(), asked(v)); return nil },
		func(p parameters, v *T) error { p.text(at(v).String()); return nil }}
}

// fallbacksColumn holds what most verifications have none of.
func fallbacksColumn[T any](name string, at func(*T) *[]verify.Fallback) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) (err error) { *at(v), err = parseFallbacks(c.text()); return err },
		func(p parameters, v *T) error { p.text(fallbackText(*at(v))); return nil }}
}

// detailsColumn holds what most verifications have none of either.
func detailsColumn[T any](name string, at func(*T) *verify.Details) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) (err error) {
			if text := c.text(); text != "" {
				err = json.Unmarshal([]byte(text), at(v))
			}
			return err
		},
		func(p parameters, v *T) error { p.text(detailsText(at(v))); return nil }}
}

func detailsText(d *verify.Details) string {
	if len(d.Metadata) == 0 && d.Payment.IsZero() {
		return ""
	}
	text, err := json.Marshal(d)
	if err != nil {
		panic(err) // never: strings
	}
	return string(text)
}

// resentColumn holds what most verifications have none of, too.
func resentColumn[T any](name string, at func(*T) *verify.Resent) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) (err error) { *at(v), err = parseResent(c.text()); return err },
		func(p parameters, v *T) error { p.text(resentText(at(v))); return nil }}
}

// promptColumn holds what only pushes may have.
func promptColumn[T any](name string, at func(*T) *verify.Prompt) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) (err error) {
			if text := c.text(); text != "" {
				err = json.Unmarshal([]byte(text), at(v))
			}
			return err
		},
		func(p parameters, v *T) error { p.text(promptText(at(v))); return nil }}
}

func promptText(p *verify.Prompt) string {
	if p.IsZero() {
		return ""
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // never: numbers, bytes and a time
	}
	return string(text)
}

// feeColumn, chargeColumn and heldColumn hold money, where there are prices and budgets.
func feeColumn[T any](name string, at func(*T) *verify.Fee) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) (err error) { *at(v), err = verify.ParseFee(c.text()); return err },
		func(p parameters, v *T) error { p.text(at(v).String()); return nil }}
}

func chargeColumn[T any](name string, at func(*T) *verify.Charge) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) (err error) { *at(v), err = verify.ParseCharge(c.text()); return err },
		func(p parameters, v *T) error { p.text(at(v).String()); return nil }}
}

func heldColumn[T any](name string, at func(*T) *verify.Held) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) (err error) { *at(v), err = verify.ParseHeld(c.text()); return err },
		func(p parameters, v *T) error { p.text(at(v).String()); return nil }}
}

// bearerColumn has the channel and the carrier with a space between, which no channel has.
func bearerColumn[T any](name string, at func(*T) *verify.Bearer) field[T] {
	return field[T]{name, textKind,
		func(c fields, v *T) error {
			channel, carrier, _ := strings.Cut(c.text(), " ")
			*at(v) = verify.Bearer{Channel: verify.Channel(channel), Carrier: carrier}
			return nil
		},
		func(p parameters, v *T) error {
			text := ""
			if b := at(v); b.Carrier != "" {
				text = string(b.Channel) + " " + b.Carrier
			}
			p.text(text)
			return nil
		}}
}

func resentText(r *verify.Resent) string {
	if r.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%d %d %d %s", r.Count, millis(r.At), r.Attempt, r.Channel)
}

func parseResent(text string) (r verify.Resent, err error) {
	if text == "" {
		return r, nil
	}
	words := strings.Split(text, " ")
	if len(words) != 4 {
		return r, fmt.Errorf("a resend has %d words, want 4", len(words))
	}
	var at int64
	r.Count, err = strconv.Atoi(words[0])
	if err == nil {
		at, err = strconv.ParseInt(words[1], 10, 64)
	}
	if err == nil {
		r.Attempt, err = strconv.Atoi(words[2])
	}
	r.At, r.Channel = fromMillis(at), verify.Channel(words[3])
	return r, err
}

func fallbackText(all []verify.Fallback) string {
	if len(all) == 0 {
		return ""
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // never: two strings each
	}
	return string(text)
}

func parseFallbacks(text string) (all []verify.Fallback, err error) {
	if text == "" {
		return nil, nil
	}
	err = json.Unmarshal([]byte(text), &all)
	return all, err
}

// ended is what is written of an attempt's end.
func ended(d *verify.Delivery) layout[verify.Delivery] {
	if more(d) {
		return endedCallLayout
	}
	return endedLayout
}

// more reports whether an attempt has what most leave out.
func more(d *verify.Delivery) bool { return d.Call.Made() || d.Sender != "" || d.CarrierCode != "" }

// free makes a SELECT lock its rows and pass over those that others have locked, unless the engine has one transaction at a
// time anyway.
func (s *Store) free() string {
	if s.postgres {
		return s.locked() + ` SKIP LOCKED`
	}
	return ""
}

// locked makes a SELECT lock its rows, unless the engine has one transaction at a time anyway.
func (s *Store) locked() string {
	if s.postgres {
		return ` FOR UPDATE`
	}
	return ""
}
