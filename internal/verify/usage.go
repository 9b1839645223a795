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
	Converted int // verifications that were approved, of the carrier that had the message last: see [Bearer]
	Times     Times
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
	u.Converted += o.Converted
	for i := range o.Times {
		u.Times[i] += o.Times[i]
	}
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
		u.Times.add(d.Call.Answered.Sub(d.StartedAt))
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
	if v.converted() {
		count(v.BearerKey(), Usage{Converted: 1})
	}
	for i := range attempts {
		d := &attempts[i]
		u := v.EndUsage(d)
		u.Add(d.ReceiptUsage())
		if u != (Usage{}) {
			count(v.MessageKey(d), u)
		}
	}
}

// ReceiptUsage is what a receipt adds that says that the message of d arrived.
func (d *Delivery) ReceiptUsage() (u Usage) {
	if d.Receipt == ReceiptDelivered && !d.said() {
		u.Delivered = 1
		u.Times.add(d.ReceiptAt.Sub(d.StartedAt))
	}
	return u
}

// A Bearer is the carrier that had a verification's message last, and the channel by which it went. An approval counts for
// it: see [Usage.Converted]. A later message of a verification that is approved changes nothing.
type Bearer struct {
	Channel Channel
	Carrier string // "": none had it yet, or nobody knows which
}

// Bear notes who had the message, when an attempt ends, and reports whether that is the first that is known of it of a
// verification which is approved already.
func (v *Verification) Bear(d *Delivery) (converted bool) {
	if v.converted() {
		return false
	}
	v.bear(d)
	return v.converted()
}

func (v *Verification) bear(d *Delivery) {
	if d.sent() && d.Carrier != "" {
		v.Bearer = Bearer{cmp.Or(d.Channel, v.Channel), d.Carrier}
	}
}

// converted reports whether v's approval counts for a carrier.
func (v *Verification) converted() bool { return v.Status == StatusApproved && v.Bearer.Carrier != "" }

// BearerKey is where v's approval is counted for its carrier.
func (v *Verification) BearerKey() UsageKey {
	k := v.UsageKey()
	k.Channel, k.Carrier = v.Bearer.Channel, v.Bearer.Carrier
	return k
}

// ApprovalUsage calls count with what the approval of v uses.
func (v *Verification) ApprovalUsage(count func(UsageKey, Usage)) {
	count(v.UsageKey(), Usage{Approved: 1})
	if v.converted() {
		count(v.BearerKey(), Usage{Converted: 1})
	}
}

// TimeBounds are the ends of the spans of [Times], in order. The last span has no end.
var TimeBounds = [...]time.Duration{
	time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second, 8 * time.Second, 13 * time.Second, 20 * time.Second, 30 * time.Second, time.Minute,
}

// Times say how long messages took to the handset: how many took each span of time, from the attempt's begin until its
// carrier reported it as delivered, or until its call was answered.
type Times [len(TimeBounds) + 1]int

func (t *Times) add(d time.Duration) {
	i := 0
	for i < len(TimeBounds) && d > TimeBounds[i] {
		i++
	}
	t[i]++
}

// Quantile is the time within which a share of the messages arrived, such as 0.95. Within a span, it takes messages as evenly
// spread. More says that it is longer than the last bound, which it then is. It is zero without messages.
func (t *Times) Quantile(share float64) (d time.Duration, more bool) {
	sum := 0
	for _, n := range t {
		sum += n
	}
	rest := share * float64(sum)
	begin := time.Duration(0)
	for i, end := range TimeBounds {
		if n := float64(t[i]); n > 0 && rest <= n {
			return begin + time.Duration(rest/n*float64(end-begin)), false
		}
		rest -= float64(t[i])
		begin = end
	}
	if sum == 0 {
		return 0, false
	}
	return begin, true
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

// Approvals are how many verifications of a row were approved, and of how many: of a carrier's row, how many of its messages led
// to an approval.
func (u *UsageRow) Approvals() (approved, of int) {
	if u.Carrier != "" {
		return u.Converted, u.Messages
	}
	return u.Approved, u.Started
}

// PerApproval divides an amount of the row by its approvals. It is false without any.
func (u *UsageRow) PerApproval(a money.Amount) (money.Amount, bool) {
	approved, _ := u.Approvals()
	if approved == 0 {
		return 0, false
	}
	return a / money.Amount(approved), true
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
