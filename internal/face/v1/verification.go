package v1

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/record"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// names are the published names of the service's fields.
var names = map[verify.Field]string{
	verify.FieldTo:       "to",
	verify.FieldFrom:     "sender",
	verify.FieldText:     "text",
	verify.FieldLength:   "code_length",
	verify.FieldCode:     "code",
	verify.FieldLife:     "valid_for",
	verify.FieldAttempts: "max_attempts",
	verify.FieldPurpose:  "purpose",
	verify.FieldChannel:  "channel",

	verify.FieldApplication: "application",

	verify.FieldChannels: "channels",
	verify.FieldLocale:   "locale",
	verify.FieldAmount:   "amount",
	verify.FieldPayee:    "payee",
	verify.FieldMetadata: "metadata",
	verify.FieldTemplate: "template",
	verify.FieldTexts:    "texts",

	verify.FieldUser:              "user",
	verify.FieldAddress:           "number",
	verify.FieldName:              "name",
	verify.FieldDescription:       "description",
	verify.FieldFormat:            "code_format",
	verify.FieldPrefix:            "prefix",
	verify.FieldDisplayName:       "display_name",
	verify.FieldAssociateTemplate: "associate_template",
	verify.FieldLoginTemplate:     "login_template",

	verify.FieldUsers:      "users",
	verify.FieldVerifiedAt: "verified_at",

	verify.FieldKind:     "kind",
	verify.FieldEndpoint: "endpoint",
	verify.FieldP256dh:   "p256dh",
	verify.FieldToken:    "token",
	verify.FieldApp:      "app",
	verify.FieldAuth:     "auth",
	verify.FieldKey:      "key",

	verify.FieldMode:         "mode",
	verify.FieldClientIP:     "client.ip",
	verify.FieldUserAgent:    "client.user_agent",
	verify.FieldClientDevice: "client.device",

	account.FieldScopes: "scopes",
	account.FieldEndsAt: "expires_at",
}

// none is the input of an operation that has none.
type none struct{}

// nobodys is the id of nothing: what can't be an id is answered as one that nothing has.
var nobodys = verify.ID{15: 1}

func startRequest(in api.NewVerification) verify.StartRequest {
	r := verify.StartRequest{
		To:         in.To,
		From:       in.Sender,
		Named:      true,
		Text:       in.Text,
		Template:   in.Template,
		Code:       verify.Secret(in.Code),
		Length:     in.CodeLength,
		Life:       in.ValidFor,
		Attempts:   in.MaxAttempts,
		Purpose:    purpose(in.Purpose),
		Supersedes: true,
		Locale:     in.Locale,
		Details:    verify.Details{Metadata: in.Metadata, Payment: verify.Payment{Amount: in.Amount, Payee: in.Payee}, Client: asking(in.Client)},
	}
	if in.Application != "" {
		var err error
		if r.Application, err = verify.ParseID(in.Application); err != nil {
			r.Application = nobodys
		}
	}
	r.Channel = verify.Channel(in.Channel)
	for i, c := range in.Channels {
		if i == 0 {
			r.Channel, r.Then = verify.Channel(c), []verify.Channel{}
			continue
		}
		r.Then = append(r.Then, verify.Channel(c))
	}
	if in.CodeFormat == api.Alphanumeric {
		r.Format = code.Alphanumeric
	}
	return r
}

func purpose(given string) verify.Purpose {
	if given == "" {
		return verify.PurposeVerify
	}
	return verify.Purpose(given)
}

func (s *Server) validate(c face.Call, in api.NewVerification) error {
	return s.Service.ValidateStart(c.Context(), c.Account, startRequest(in))
}

// order says what is wrong with a start's channels.
func order(in api.NewVerification) string {
	switch {
	case in.Channels == nil:
		return ""
	case in.Channel != "":
		return "can't be given with channel"
	case len(in.Channels) == 0:
		return "must have a channel"
	}
	for i, c := range in.Channels {
		if slices.Contains(in.Channels[:i], c) {
			return "has a channel twice"
		}
	}
	return ""
}

func (s *Server) start(c face.Call, in api.NewVerification) (api.Verification, error) {
	if in.Code == "" && c.In.Raw("code") != nil { // it must not become one of ours in silence
		c.In.Wrong("code", "must not be empty; leave it out")
		return api.Verification{}, s.Invalid(c.In, s.validate(c, in))
	}
	if in.ValidFor != nil && *in.ValidFor < 1 { // 0 is the vendors' way to keep nothing
		c.In.Wrong("valid_for", "must be greater than or equal to 1")
		return api.Verification{}, s.Invalid(c.In, s.validate(c, in))
	}
	if problem := order(in); problem != "" {
		c.In.Wrong("channels", problem)
		return api.Verification{}, s.Invalid(c.In, s.validate(c, in))
	}
	answers(c, started)
	v, err := s.Service.Start(c.Context(), c.Account, startRequest(in))
	if err != nil {
		return api.Verification{}, err
	}
	return started(c, v), nil
}

func started(c face.Call, v *verify.Verification) api.Verification {
	return wire(c, verify.Snapshot{Verification: *v, Status: v.Status, ResendAt: v.ResendAt(v.ID.Time())})
}

func (s *Server) read(c face.Call, _ none) (api.Verification, error) {
	id, err := verify.ParseID(c.PathValue("id"))
	if err != nil {
		return api.Verification{}, err
	}
	seen, err := s.Service.Verification(c.Context(), c.Account, id)
	return wire(c, seen), err
}

// A check ends in a result wherever the verification is known: err says then how it ended before.
func (s *Server) check(c face.Call, in api.Check) (api.CheckResult, error) {
	id, err := verify.ParseID(c.PathValue("id"))
	if err != nil {
		return api.CheckResult{}, err
	}
	e := verify.Entry{Purpose: verify.Purpose(in.Purpose), Payment: verify.Payment{Amount: in.Amount, Payee: in.Payee}, Code: verify.Secret(in.Code)}
	if c.In.Raw("code") == nil {
		return s.outcome(c, id, e, in.Wait)
	}
	if in.Wait != nil {
		c.In.Wrong("wait", "can't be given with a code")
		return api.CheckResult{}, s.Invalid(c.In, nil)
	}
	answers(c, checked)
	out, err := s.Service.CheckFor(c.Context(), c.Account, id, e)
	return result(c, id, out, err)
}

// outcome is what a check without a code is told.
func (s *Server) outcome(c face.Call, id verify.ID, e verify.Entry, wait *int) (api.CheckResult, error) {
	var most time.Duration
	if wait != nil {
		if *wait < 0 || *wait > int(verify.MaxWait/time.Second) {
			c.In.Wrong("wait", "must be 0 to 30, in seconds")
			return api.CheckResult{}, s.Invalid(c.In, nil)
		}
		most = time.Duration(*wait) * time.Second
	}
	answers(c, checked)
	out, err := s.Service.Outcome(c.Context(), c.Account, id, e, most)
	r, err := result(c, id, out, err)
	if out.WrongPayment { // it waits for a check with the right one
		r.Status = api.Approved
	}
	return r, err
}

// checked is the result of a guess that was spent. Its outcome doesn't name the verification if the path does.
func checked(c face.Call, out *verify.Outcome) api.CheckResult {
	id, err := verify.ParseID(c.PathValue("id"))
	if err != nil {
		id = out.Verification
	}
	r, _ := result(c, id, *out, nil)
	return r
}

func (s *Server) checkNumber(c face.Call, in api.NumberCheck) (api.CheckResult, error) {
	answers(c, checked)
	out, err := s.Service.CheckLatest(c.Context(), c.Account, in.To, verify.Entry{Purpose: purpose(in.Purpose), Payment: verify.Payment{Amount: in.Amount, Payee: in.Payee}, Code: verify.Secret(in.Code)})
	return result(c, out.Verification, out, err)
}

// endings are what the service's errors about a verification that has ended say to a checker.
var endings = map[string]struct{ status, reason string }{
	verify.ErrApproved.Code:     {api.Approved, api.AlreadyApproved},
	verify.ErrGuessesSpent.Code: {api.Exhausted, api.Exhausted},
	verify.ErrExpired.Code:      {api.Expired, api.Expired},
	verify.ErrCanceled.Code:     {api.Canceled, api.Canceled},
	verify.ErrRejected.Code:     {api.Canceled, api.Rejected},
	verify.ErrSuperseded.Code:   {api.Superseded, api.Superseded},
}

func result(c face.Call, id verify.ID, out verify.Outcome, err error) (api.CheckResult, error) {
	r := api.CheckResult{ID: id.String(), AttemptsRemaining: out.GuessesLeft}
	var known *verify.Error
	switch {
	case errors.As(err, &known) && endings[known.Code].status != "":
		end := endings[known.Code]
		record.Of(c.Context()).Code = known.Code // the request's line says it, though the answer is no error
		r.Status, r.Reason, r.AttemptsRemaining = end.status, end.reason, 0
	case err != nil:
		return r, err
	case out.Approved:
		r.Valid, r.Status = true, api.Approved
	case out.Waiting:
		r.Status = api.Pending
	default:
		r.Status, r.Reason = api.Pending, api.WrongCode
		if out.GuessesLeft == 0 {
			r.Status = api.Exhausted
		}
		if out.WrongPayment {
			r.Reason = api.WrongAmount
		}
	}
	return r, nil
}

func (s *Server) resend(c face.Call, in api.Resend) (api.Verification, error) {
	id, err := verify.ParseID(c.PathValue("id"))
	if err != nil {
		return api.Verification{}, err
	}
	answers(c, func(c face.Call, v *verify.Verification) api.Verification {
		return wire(c, verify.Snapshot{Verification: *v, Status: v.Status, ResendAt: v.ResendAt(v.Resent.At)})
	})
	resent, err := s.Service.Resend(c.Context(), c.Account, id, verify.Channel(in.Channel))
	return wire(c, resent), err
}

func (s *Server) cancel(c face.Call, _ none) (api.Verification, error) {
	id, err := verify.ParseID(c.PathValue("id"))
	if err != nil {
		return api.Verification{}, err
	}
	if hasKey(c) { // the answer is committed with the cancellation, so its deliveries are read before
		before, err := s.Service.Verification(c.Context(), c.Account, id)
		if err != nil {
			return api.Verification{}, err
		}
		answers(c, func(c face.Call, v *verify.Verification) api.Verification {
			before.Verification, before.Status = *v, v.Status
			return wire(c, before)
		})
	}
	if err := s.Service.Cancel(c.Context(), c.Account, id); err != nil {
		return api.Verification{}, err
	}
	return s.read(c, none{})
}

// Bounds of a page.
const (
	defaultLimit = 50
	maxLimit     = 200
)

// A filter selects verifications. It is read from the query, where all is text.
type filter struct {
	To      string `json:"to,omitempty" example:"+12025550123" doc:"Only those of this number, in E.164."`
	Status  string `json:"status,omitempty" enum:"pending,approved,exhausted,expired,canceled,superseded" doc:"Only those with this status."`
	Purpose string `json:"purpose,omitempty" example:"login" doc:"Only those for this purpose."`
	From    string `json:"from,omitempty" format:"date-time" doc:"Only those started at this time or later, as RFC 3339 has it."`
	Until   string `json:"until,omitempty" format:"date-time" doc:"Only those started before this time."`
	After   string `json:"after,omitempty" doc:"The cursor next of the page before."`
	Limit   *int   `json:"limit,omitempty" minimum:"1" maximum:"200" default:"50" doc:"How many."`
}

func (s *Server) list(c face.Call, in filter) (api.Page, error) {
	r := verify.ListRequest{To: in.To, Purpose: verify.Purpose(in.Purpose)}
	readTime(&c.In, "from", in.From, &r.From)
	readTime(&c.In, "until", in.Until, &r.Until)
	if in.Status != "" {
		r.Statuses = []verify.Status{statusNamed(in.Status)}
	}
	if in.After != "" {
		var err error
		if r.Before, err = verify.ParseID(in.After); err != nil {
			c.In.Wrong("after", "is no cursor of a page")
		}
	}
	r.Limit = pageLimit(&c, in.Limit)
	if len(c.In.Problems) > 0 {
		return api.Page{}, s.Invalid(c.In, nil)
	}
	found, next, err := s.Service.Verifications(c.Context(), c.Account, r)
	if err != nil {
		return api.Page{}, err
	}
	page := api.Page{Verifications: make([]api.Verification, len(found))}
	for i, v := range found {
		page.Verifications[i] = wire(c, v)
	}
	if !next.IsZero() {
		page.Next = next.String()
	}
	return page, nil
}

func readTime(in *request.Fields, name, text string, t *time.Time) {
	if text == "" {
		return
	}
	var err error
	if *t, err = time.Parse(time.RFC3339, strings.ReplaceAll(text, " ", "+")); err != nil { // a plus that wasn't escaped
		in.Wrong(name, "must be a time like 2026-01-31T12:00:00Z")
	}
}

// statusNamed returns the status of a word that is one.
func statusNamed(word string) verify.Status {
	for s := verify.StatusPending; s <= verify.StatusSuperseded; s++ {
		if s.String() == word {
			return s
		}
	}
	return verify.StatusPending
}

func wire(c face.Call, s verify.Snapshot) api.Verification {
	v := s.Verification
	w := api.Verification{
		ID: v.ID.String(), To: string(v.Reach()), Channel: string(v.Channel), Purpose: string(v.Purpose),
		Status: s.Status.String(), Delivery: v.Delivery.String(), Reason: v.Reason.String(),
		CreatedAt: v.ID.Time().UTC(), ExpiresAt: v.ExpiresAt.UTC(), ResendAfter: when(s.ResendAt), EndedAt: when(v.EndedAt),
		Amount: v.Amount, Payee: v.Payee, Metadata: v.Metadata, Cost: priced(v.Fee.Price, v.Fee.Currency),
	}
	if v.Application != c.Account.Application.ID { // the project's default one, which no API shows
		w.Application, w.User = v.Application.String(), v.User
	}
	if v.Approval == verify.ApprovalByPrompt {
		w.Mode = api.Approve
	}
	switch s.Status {
	case verify.StatusPending:
		w.AttemptsRemaining = v.MaxAttempts - v.Guesses
	case verify.StatusExpired:
		w.EndedAt = when(v.ExpiresAt)
	}
	for _, d := range s.Deliveries {
		w.Deliveries = append(w.Deliveries, delivery(&v, d))
	}
	return w
}

func delivery(v *verify.Verification, d verify.Delivery) api.Delivery {
	w := api.Delivery{
		Attempt: d.Attempt, Channel: string(d.Channel), Carrier: d.Carrier, Outcome: d.Outcome.String(), Reason: d.Reason.String(),
		StartedAt: d.StartedAt.UTC(), EndedAt: when(d.EndedAt), ReceiptAt: when(d.ReceiptAt), WhyReceipt: d.ReceiptReason.String(),
		Code: d.CarrierCode, ReportCode: d.ReceiptCode,
	}
	if d.Carrier != "" {
		w.Sender, w.Segments = v.SenderOf(&d), v.SegmentsOf(&d)
	}
	w.Cost = priced(d.Charge.Price, d.Charge.Currency)
	if d.Outcome == verify.AttemptAccepted {
		w.HandedOver = w.EndedAt
	}
	if !d.ReceiptAt.IsZero() {
		w.Receipt = d.Receipt.String()
	}
	if d.Receipt == verify.ReceiptDelivered {
		w.Delivered = w.ReceiptAt
	}
	return w
}

// priced is what a project is charged; nil where there are no prices. What carriers take is the operator's business.
func priced(price money.Amount, c money.Currency) *api.Money {
	if c == "" {
		return nil
	}
	return &api.Money{Amount: price.String(), Currency: string(c)}
}

// when is a time that may not have come.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// asking is who a caller says asks it.
func asking(c *api.Asking) verify.Client {
	if c == nil {
		return verify.Client{}
	}
	return verify.Client{IP: c.IP, UserAgent: c.UserAgent, Device: c.Device}
}
