package verify

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/money"
)

// A UsageKey names what is counted together. All that a verification uses counts for the hour in which it started,
// however late it comes: so an hour's approvals are those of its own starts, and no verification is part of two
// invoices.
type UsageKey struct {
	Project     ProjectID
	Hour        int64 // since 1970
	Application ID
	Purpose     Purpose
	Channel     Channel
	Country     string
	Carrier     string // "": what isn't a carrier's, or nobody knows whose
	Currency    money.Currency
}

// Usage is what was used. Started, Approved and a verification's own price are of no carrier.
type Usage struct {
	Started   int // verifications
	Messages  int // that a carrier has, or may have
	Segments  int // of texts
	Minutes   int // that were begun, of calls that we made
	Delivered int // messages of which a carrier says that they arrived
	Approved  int // verifications
	Cost      money.Amount
	Price     money.Amount
}

// Add adds another usage.
func (u *Usage) Add(o Usage) {
	u.Started += o.Started
	u.Messages += o.Messages
	u.Segments += o.Segments
	u.Minutes += o.Minutes
	u.Delivered += o.Delivered
	u.Approved += o.Approved
	u.Cost += o.Cost
	u.Price += o.Price
}

// usageHour is the length of the time that is counted together.
const usageHour = time.Hour

// UsageHour is the hour of an instant, since 1970.
func UsageHour(t time.Time) int64 { return t.UnixMilli() / usageHour.Milliseconds() }

// HourOf is the instant at which an hour begins.
func HourOf(hour int64) time.Time { return time.UnixMilli(hour * usageHour.Milliseconds()).UTC() }

// UsageKey is where the verification itself is counted.
func (v *Verification) UsageKey() UsageKey {
	return UsageKey{
		Project: v.Project, Hour: UsageHour(v.ID.Time()), Application: v.Application, Purpose: v.Purpose,
		Channel: v.Channel, Country: v.Reach().Region(), Currency: v.Fee.Currency,
	}
}

// MessageKey is where an attempt to send v's message is counted.
func (v *Verification) MessageKey(d *Delivery) UsageKey {
	k := v.UsageKey()
	k.Channel, k.Carrier, k.Currency = cmp.Or(d.Channel, v.Channel), d.Carrier, cmp.Or(d.Charge.Currency, k.Currency)
	return k
}

// StartUsage is what the start of v uses.
func (v *Verification) StartUsage() Usage { return Usage{Started: 1, Price: v.Fee.Price} }

// EndUsage is what an attempt has used when it ends.
func (v *Verification) EndUsage(d *Delivery) (u Usage) {
	c := &d.Charge
	if !d.sent() && c.Units == 0 {
		return u
	}
	u = Usage{Messages: 1, Cost: c.Cost, Price: c.Price}
	switch {
	case cmp.Or(d.Channel, v.Channel).InSegments():
		u.Segments = c.Units
	case d.Call.Made():
		u.Minutes = c.Units
	}
	if d.said() {
		u.Delivered = 1
	}
	return u
}

// said reports whether the attempt is a call of ours that said the code: no receipt follows.
func (d *Delivery) said() bool { return d.Outcome == AttemptAccepted && !d.Call.Answered.IsZero() }

// Recount counts all that a verification and its attempts, as they are stored, have used.
func Recount(v *Verification, attempts []Delivery, count func(UsageKey, Usage)) {
	u := v.StartUsage()
	if v.Status == StatusApproved {
		u.Approved = 1
	}
	count(v.UsageKey(), u)
	for i := range attempts {
		d := &attempts[i]
		u := v.EndUsage(d)
		if d.Receipt == ReceiptDelivered && !d.said() {
			u.Delivered++
		}
		if u != (Usage{}) {
			count(v.MessageKey(d), u)
		}
	}
}

// ReceiptUsage is what a receipt adds that says that the message of d arrived.
func (d *Delivery) ReceiptUsage() (u Usage) {
	if d.Receipt == ReceiptDelivered && !d.said() {
		u.Delivered = 1
	}
	return u
}

// A UsageStep is the time that a row of a usage list is about.
type UsageStep string

// The steps. Days and months are those of UTC.
const (
	StepWhole UsageStep = ""
	StepHour  UsageStep = "hour"
	StepDay   UsageStep = "day"
	StepMonth UsageStep = "month"
)

// A UsagePart is what a usage list may be divided by, beside the time.
type UsagePart string

// The parts.
const (
	PartProject     UsagePart = "project"
	PartApplication UsagePart = "application"
	PartPurpose     UsagePart = "purpose"
	PartChannel     UsagePart = "channel"
	PartCountry     UsagePart = "country"
	PartCarrier     UsagePart = "carrier"
)

// UsageParts are all parts, in the order in which people read them.
var UsageParts = []UsagePart{PartProject, PartApplication, PartPurpose, PartChannel, PartCountry, PartCarrier}

// A UsageQuery asks for usage. Its times are cut to the hour.
type UsageQuery struct {
	Project     ProjectID // "": of all, or of those in Among
	Among       []ProjectID
	From, Until time.Time // of the starts: from From on, and before Until
	Step        UsageStep
	By          []UsagePart
	// Only leaves out all rows but those with these values: of country, carrier, channel and purpose.
	Only map[UsagePart]string
}

// MaxUsageRows bounds the answer to a query.
const MaxUsageRows = 10_000

// A UsageRow is one line of a usage list. Of its key it has the parts that it was divided by, and the currency.
type UsageRow struct {
	Begin time.Time // of the step; zero for the whole time
	UsageKey
	Usage
}

// ErrTooMuchUsage refuses a list of more rows than [MaxUsageRows].
var ErrTooMuchUsage = errors.New("that is more than 10000 rows: ask for a shorter time, a longer step or fewer parts")

// A UsageStore knows what was used.
type UsageStore interface {
	// Usage lists what was used, by time and parts. It fails with [ErrTooMuchUsage].
	Usage(ctx context.Context, q UsageQuery) ([]UsageRow, error)
}

// Usage lists what the account's project has used.
func (s *Service) Usage(ctx context.Context, acct *Account, q UsageQuery) ([]UsageRow, error) {
	q.Project = acct.Project.ID
	return s.store.Usage(ctx, q)
}
