package store

import (
	"encoding/json"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// The columns of the hot table, in the order in which scanVerification and insertion take them.
const verificationColumns = identityColumns + `, ` + stateColumns

// Those of them that never change.
const identityColumns = `id, project, application, channel, destination, purpose, sender, text,
	format, length, max_attempts, expires_at, key_id, code_mac, previous, app_user, prefix, locale, approval, asker, fallbacks, written, api_key, address`

// Those that do.
const stateColumns = `status, guesses, ended_at, delivery, reason, attempt, due_at, code_sealed`

const selectVerification = `SELECT ` + verificationColumns + ` FROM verification WHERE id = $1`

// The same of destinations, for scanDestination and destinationValues.
const destinationColumns = `project, number, tat, sends, failures, wait_until, latest`

const selectDestination = `SELECT ` + destinationColumns + ` FROM destination WHERE project = $1 AND number = $2`

// Of deliveries, for scanDelivery.
const deliveryColumns = endColumns + `, receipt, receipt_at, receipt_reason, ` + callColumns

// Of an attempt's end.
const endColumns = `verification, attempt, channel, carrier, outcome, reason, ref, started_at, ended_at`

// How its call went; most attempts made none, and leave them out.
const callColumns = `ring_ms, answered_at, talk_ms, keys, call_status, hung_up`

const selectDelivery = `SELECT ` + deliveryColumns + ` FROM delivery WHERE verification = $1 AND attempt = $2`

// What every engine says alike. An attempt ends once: a report that got lost and is made again
// changes nothing. Its receipt may be recorded before its end.
const (
	insertDelivery = `INSERT INTO delivery (` + endColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ` + endDelivery
	insertCall = `INSERT INTO delivery (` + endColumns + `, ` + callColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ` + endDelivery
	endDelivery = `ON CONFLICT (verification, attempt) DO UPDATE SET channel = excluded.channel, carrier = excluded.carrier, outcome = excluded.outcome,
		reason = excluded.reason, ref = excluded.ref, started_at = excluded.started_at, ended_at = excluded.ended_at,
		ring_ms = excluded.ring_ms, answered_at = excluded.answered_at, talk_ms = excluded.talk_ms, keys = excluded.keys,
		call_status = excluded.call_status, hung_up = excluded.hung_up
		WHERE delivery.ended_at = 0`
	insertReceipt = `INSERT INTO delivery (verification, attempt, carrier, outcome, reason, ref, started_at, ended_at, receipt, receipt_at, receipt_reason)
		VALUES ($1, $2, '', 0, '', '', 0, 0, $3, $4, $5) ` + receiveDelivery
	receiveDelivery = `ON CONFLICT (verification, attempt) DO UPDATE SET receipt = excluded.receipt,
		receipt_at = excluded.receipt_at, receipt_reason = excluded.receipt_reason`
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

func scanVerification(row scanner) (v verify.Verification, err error) {
	var id, application, previous, key []byte
	var expires, ended, due int64
	var fallbacks, reason string
	err = row.Scan(&id, &v.Project, &application, &v.Channel, &v.To, &v.Purpose, &v.Sender, &v.Text,
		&v.Format, &v.Length, &v.MaxAttempts, &expires, &v.KeyID, &v.CodeMAC, &previous, &v.User, &v.Prefix,
		&v.Locale, &v.Approval, &v.Asker, &fallbacks, &v.Written, &key, &v.Address,
		&v.Status, &v.Guesses, &ended, &v.Delivery, &reason, &v.Attempt, &due, &v.SealedCode)
	v.Reason = verify.ReadReason(reason, v.Approval != verify.ByCode)
	copy(v.ID[:], id)
	copy(v.Application[:], application)
	copy(v.Previous[:], previous)
	copy(v.APIKey[:], key)
	v.ExpiresAt, v.EndedAt, v.DueAt = fromMillis(expires), fromMillis(ended), fromMillis(due)
	if err == nil {
		v.Fallbacks, err = parseFallbacks(fallbacks)
	}
	return v, err
}

// fallbackText writes what most verifications have none of.
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

func scanDestination(row scanner) (d verify.Destination, err error) {
	var tat, wait int64
	var sends, latest []byte
	if err := row.Scan(&d.Project, &d.Number, &tat, &sends, &d.Failures, &wait, &latest); err != nil {
		return d, err
	}
	d.TAT, d.WaitUntil = fromMillis(tat), fromMillis(wait)
	copy(d.Latest[:], latest)
	d.Sends, err = limit.ParseLog(sends)
	return d, err
}

func scanDelivery(row scanner) (d verify.Delivery, err error) {
	var id []byte
	var reason, receipt string
	var started, ended, received, ring, answered, talk, hungUp int64
	err = row.Scan(&id, &d.Attempt, &d.Channel, &d.Carrier, &d.Outcome, &reason, &d.Ref, &started, &ended, &d.Receipt, &received, &receipt,
		&ring, &answered, &talk, &d.Call.Keys, &d.Call.Status, &hungUp)
	d.Reason, d.ReceiptReason = verify.ReadReason(reason, d.Outcome != verify.Dropped), verify.ReadReason(receipt, true)
	d.Call.Ring, d.Call.Answered, d.Call.Talk, d.Call.HungUp = span(ring), fromMillis(answered), span(talk), hungUp != 0
	copy(d.Verification[:], id)
	d.StartedAt, d.EndedAt, d.ReceiptAt = fromMillis(started), fromMillis(ended), fromMillis(received)
	return d, err
}

// Fields are the columns of one row, in whatever way the engine of a session gives them: each call reads the next one.
type fields interface {
	text() string
	number() int64
	blob() []byte // nil: NULL, or nothing
	id(*verify.ID)
}

// readVerification reads verificationColumns.
func readVerification(c fields) (v verify.Verification, err error) {
	v, err = readIdentity(c)
	readState(c, &v)
	return v, err
}

// readIdentity reads identityColumns.
func readIdentity(c fields) (v verify.Verification, err error) {
	c.id(&v.ID)
	v.Project = verify.ProjectID(c.text())
	c.id(&v.Application)
	v.Channel = verify.Channel(c.text())
	v.To = phone.Number(c.text())
	v.Purpose = verify.Purpose(c.text())
	v.Sender = c.text()
	v.Text = c.text()
	v.Format = code.Format(c.text())
	v.Length = int(c.number())
	v.MaxAttempts = int(c.number())
	v.ExpiresAt = fromMillis(c.number())
	v.KeyID = uint32(c.number())
	v.CodeMAC = c.blob()
	c.id(&v.Previous)
	v.User = c.text()
	v.Prefix = c.text()
	v.Locale = c.text()
	v.Approval = verify.Approval(c.number())
	v.Asker = c.text()
	v.Fallbacks, err = parseFallbacks(c.text())
	v.Written = phone.Number(c.text())
	c.id(&v.APIKey)
	v.Address = c.text()
	return v, err
}

// readState reads stateColumns.
func readState(c fields, v *verify.Verification) {
	v.Status = verify.Status(c.number())
	v.Guesses = int(c.number())
	v.EndedAt = fromMillis(c.number())
	v.Delivery = verify.DeliveryState(c.number())
	v.Reason = verify.ReadReason(c.text(), v.Approval != verify.ByCode)
	v.Attempt = int(c.number())
	v.DueAt = fromMillis(c.number())
	v.SealedCode = c.blob()
}

// readDestination reads destinationColumns.
func readDestination(c fields) (d verify.Destination, err error) {
	d.Project = verify.ProjectID(c.text())
	d.Number = phone.Number(c.text())
	d.TAT = fromMillis(c.number())
	d.Sends, err = limit.ParseLog(c.blob())
	d.Failures = int(c.number())
	d.WaitUntil = fromMillis(c.number())
	c.id(&d.Latest)
	return d, err
}

// readUser reads userColumns.
func readUser(c fields) (u verify.User, err error) {
	c.id(&u.Application)
	u.Name = c.text()
	u.Address = c.text()
	u.Status = verify.UserStatus(c.number())
	c.id(&u.Current)
	u.Sends, err = limit.ParseLog(c.blob())
	u.CreatedAt = fromMillis(c.number())
	u.UpdatedAt = fromMillis(c.number())
	u.Version = int(c.number())
	return u, err
}

// readDelivery reads deliveryColumns.
func readDelivery(c fields) (d verify.Delivery) {
	c.id(&d.Verification)
	d.Attempt = int(c.number())
	d.Channel = verify.Channel(c.text())
	d.Carrier = c.text()
	d.Outcome = verify.DeliveryOutcome(c.number())
	d.Reason = verify.ReadReason(c.text(), d.Outcome != verify.Dropped)
	d.Ref = c.text()
	d.StartedAt, d.EndedAt = fromMillis(c.number()), fromMillis(c.number())
	d.Receipt = verify.ReceiptState(c.number())
	d.ReceiptAt = fromMillis(c.number())
	d.ReceiptReason = verify.ReadReason(c.text(), true)
	d.Call.Ring, d.Call.Answered, d.Call.Talk = span(c.number()), fromMillis(c.number()), span(c.number())
	d.Call.Keys, d.Call.Status, d.Call.HungUp = int(c.number()), int(c.number()), c.number() != 0
	return d
}

// Parameters are those of a statement, for one row: each call adds the next column, in whatever way
// the engine takes it. What a row's columns hold, and their order, is the same for all engines.
type parameters interface {
	text(s string)
	number(n int64)
	blob(p []byte) // nil: NULL
}

// verificationIdentity adds what identityColumns hold.
func verificationIdentity(p parameters, v *verify.Verification) {
	p.blob(v.ID[:])
	p.text(string(v.Project))
	p.blob(v.Application[:])
	p.text(string(v.Channel))
	p.text(string(v.To))
	p.text(string(v.Purpose))
	p.text(v.Sender)
	p.text(v.Text)
	p.text(string(v.Format))
	p.number(int64(v.Length))
	p.number(int64(v.MaxAttempts))
	p.number(millis(v.ExpiresAt))
	p.number(int64(v.KeyID))
	p.blob(v.CodeMAC)
	p.blob(v.Previous[:])
	p.text(v.User)
	p.text(v.Prefix)
	p.text(v.Locale)
	p.number(int64(v.Approval))
	p.text(v.Asker)
	p.text(fallbackText(v.Fallbacks))
	p.text(string(v.Written))
	p.blob(v.APIKey[:])
	p.text(v.Address)
}

// verificationState adds what stateColumns hold.
func verificationState(p parameters, v *verify.Verification) {
	p.number(int64(v.Status))
	p.number(int64(v.Guesses))
	p.number(millis(v.EndedAt))
	p.number(int64(v.Delivery))
	p.text(v.Reason.String())
	p.number(int64(v.Attempt))
	p.number(millis(v.DueAt))
	p.blob(v.SealedCode)
}

// destinationValues adds a destination, in the order of destinationColumns.
func destinationValues(p parameters, d *verify.Destination) error {
	sends, err := d.Sends.AppendBinary([]byte{}) // never nil: that would be NULL
	if err != nil {
		return err
	}
	p.text(string(d.Project))
	p.text(string(d.Number))
	p.number(millis(d.TAT))
	p.blob(sends)
	p.number(int64(d.Failures))
	p.number(millis(d.WaitUntil))
	p.blob(d.Latest[:])
	return nil
}

// userValues adds a user, in the order of userColumns.
func userValues(p parameters, u *verify.User) error {
	sends, err := u.Sends.AppendBinary([]byte{})
	if err != nil {
		return err
	}
	p.blob(u.Application[:])
	p.text(u.Name)
	p.text(u.Address)
	p.number(int64(u.Status))
	p.blob(u.Current[:])
	p.blob(sends)
	p.number(millis(u.CreatedAt))
	p.number(millis(u.UpdatedAt))
	p.number(int64(u.Version))
	return nil
}

// endValues adds what insertDelivery takes, or for a call, insertCall.
func endValues(p parameters, d *verify.Delivery) {
	p.blob(d.Verification[:])
	p.number(int64(d.Attempt))
	p.text(string(d.Channel))
	p.text(d.Carrier)
	p.number(int64(d.Outcome))
	p.text(d.Reason.String())
	p.text(d.Ref)
	p.number(millis(d.StartedAt))
	p.number(millis(d.EndedAt))
	if !d.Call.Made() {
		return
	}
	p.number(d.Call.Ring.Milliseconds())
	p.number(millis(d.Call.Answered))
	p.number(d.Call.Talk.Milliseconds())
	p.number(int64(d.Call.Keys))
	p.number(int64(d.Call.Status))
	hungUp := int64(0)
	if d.Call.HungUp {
		hungUp = 1
	}
	p.number(hungUp)
}

// receiptValues adds what insertReceipt takes.
func receiptValues(p parameters, d *verify.Delivery) {
	p.blob(d.Verification[:])
	p.number(int64(d.Attempt))
	p.number(int64(d.Receipt))
	p.number(millis(d.ReceiptAt))
	p.text(d.ReceiptReason.String())
}
