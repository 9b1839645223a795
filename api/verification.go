// Package api holds the types of Countersign's own HTTP API, /v1. It is the only package that other programs may
// import. The server and its OpenAPI description are made from these types.
package api

import "time"

// Channels of a verification.
const (
	SMS   = "sms"
	Voice = "voice"
	Push  = "push" // to the devices of an application's user
)

// Formats of a code.
const (
	Numeric      = "numeric"
	Alphanumeric = "alphanumeric"
)

// Modes of a verification of a user.
const (
	ByCode  = "code"    // a code is sent, and typed
	Approve = "approve" // the user's devices ask them, see [UserVerification]
)

// Statuses of a verification. A pending one ends in one of the others and then never changes again.
const (
	Pending    = "pending"
	Approved   = "approved"   // the right code was typed, or the person pressed the key
	Exhausted  = "exhausted"  // the last guess was wrong
	Expired    = "expired"    // its time ran out
	Canceled   = "canceled"   // by the caller, or by the person who was reached
	Superseded = "superseded" // a newer verification of the same number and purpose took its place
)

// A NewVerification asks for a code to be sent. What it leaves out is decided by the project's application, and by its
// profile after that.
type NewVerification struct {
	To          string            `json:"to" example:"+12025550123" doc:"The number to verify, in E.164: a plus, the country calling code and the number."`
	Channel     string            `json:"channel,omitempty" enum:"sms,voice" doc:"How the code is sent: sms by default, or the first of the application's channels."`
	Channels    []string          `json:"channels,omitempty" enum:"sms,voice" doc:"In place of channel: by which channels the code is sent, in this order. The next one gets its turn when no carrier of the one before can deliver the message, or when its receipt doesn't come in time."`
	Application string            `json:"application,omitempty" example:"01a20001-6a64-717b-aab1-8ad86b1658e8" doc:"The id of an application whose settings hold where this request says nothing: the code's length, format, life and attempts, its prefix, the channels, the sender, the language of calls."`
	Purpose     string            `json:"purpose,omitempty" pattern:"^[a-z0-9_-]{1,32}$" default:"verify" example:"login" doc:"What the code is for, in a word of your own. A code for one purpose doesn't answer another. A newer verification of the same number and purpose supersedes the older one."`
	CodeLength  *int              `json:"code_length,omitempty" minimum:"4" maximum:"20" example:"6" doc:"How many characters the code has. The project's profile may allow fewer lengths."`
	CodeFormat  string            `json:"code_format,omitempty" enum:"numeric,alphanumeric" doc:"What the code is made of."`
	Code        string            `json:"code,omitempty" example:"482913" doc:"Your own code, instead of one that the server makes. The key needs the scope verify:own-code. It has the bounds of other codes, and characters of code_format only; guesses at it are counted as at others."`
	ValidFor    *int              `json:"valid_for,omitempty" minimum:"1" maximum:"604800" example:"600" doc:"How long the code can be used, in seconds."`
	MaxAttempts *int              `json:"max_attempts,omitempty" minimum:"1" maximum:"20" example:"5" doc:"How many guesses are evaluated. Right or wrong, each one counts."`
	Sender      string            `json:"sender,omitempty" example:"+12025550100" doc:"What the message comes from: a number in E.164, or a name of 1 to 11 letters and digits. It must be one of the project's: see GET /v1/senders. Calls come from numbers only."`
	Text        string            `json:"text,omitempty" example:"Your login code is: " doc:"The text in front of the code, or around it."`
	Template    string            `json:"template,omitempty" example:"login" doc:"The name of a template of the project, in place of text. Its text for the purpose, the channel and the locale is sent, as it is now: a resend says the same."`
	Locale      string            `json:"locale,omitempty" example:"de" doc:"The language of a call, of the text of a payment, and of a template's text: a BCP 47 tag. By default the application's, or else the number's."`
	Amount      string            `json:"amount,omitempty" example:"49.90 EUR" doc:"The amount that the code authorizes, together with payee. The message says both, and a check must repeat both."`
	Payee       string            `json:"payee,omitempty" example:"Example Shop" doc:"Who gets the amount."`
	Metadata    map[string]string `json:"metadata,omitempty" doc:"At most 10 pairs of your own: keys of at most 40 characters, values of at most 200. Answers return them; nothing else uses or logs them."`
	Client      *Asking           `json:"client,omitempty" doc:"The browser or app that asks you. It is checked and not kept: no device shows it for a number."`
}

// Asking is the browser or app for which you start a verification. A prompt shows it to the user, so that they notice
// somebody else. It is kept only as long as a prompt is pending, and no answer has it.
type Asking struct {
	IP        string `json:"ip,omitempty" example:"203.0.113.7" doc:"Its address. Where the operator has a database of places, the prompt says the city and country as well."`
	UserAgent string `json:"user_agent,omitempty" example:"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0" doc:"Its User-Agent, at most 512 characters."`
	Device    string `json:"device,omitempty" example:"Ada's laptop" doc:"What you call it, if you have seen it before: at most 100 characters."`
}

// A Verification is a code that was sent, and what became of it. It never holds the code.
type Verification struct {
	ID                string            `json:"id" format:"uuid" doc:"Names the verification in later requests."`
	To                string            `json:"to" example:"+12025550123" doc:"The number, in E.164."`
	Application       string            `json:"application,omitempty" format:"uuid" doc:"The application that the start named, or the application of the user whose verification it is."`
	User              string            `json:"user,omitempty" example:"ada" doc:"The user whose verification it is, by your own name of them. Absent if it is no user's."`
	Channel           string            `json:"channel" enum:"sms,voice,push" doc:"How the code is sent first."`
	Purpose           string            `json:"purpose" example:"login" doc:"What the code is for."`
	Status            string            `json:"status" enum:"pending,approved,exhausted,expired,canceled,superseded" doc:"Only pending ever changes."`
	Delivery          string            `json:"delivery" enum:"queued,sending,sent,delivered,failed" doc:"Where the message is."`
	Reason            string            `json:"reason,omitempty" example:"invalid_number" doc:"Why the delivery failed, or isn't known to have succeeded."`
	AttemptsRemaining int               `json:"attempts_remaining" minimum:"0" doc:"How many guesses are left."`
	CreatedAt         time.Time         `json:"created_at" doc:"When it was started."`
	ExpiresAt         time.Time         `json:"expires_at" doc:"Guesses at this instant or later are refused."`
	ResendAfter       *time.Time        `json:"resend_after,omitempty" doc:"From when on the code may be sent again. Absent when it may not be: the verification has ended, or will have by then, or has no resends left."`
	EndedAt           *time.Time        `json:"ended_at,omitempty" doc:"When it stopped being pending. A verification that expired ended at expires_at."`
	Amount            string            `json:"amount,omitempty" example:"49.90 EUR" doc:"The amount that the code authorizes."`
	Payee             string            `json:"payee,omitempty" example:"Example Shop" doc:"Who gets it."`
	Metadata          map[string]string `json:"metadata,omitempty" doc:"Your own, as the start had it."`
	Mode              string            `json:"mode,omitempty" enum:"approve" doc:"approve if the user's devices ask them. Absent for codes."`
	Show              string            `json:"show,omitempty" pattern:"^[0-9]{2}$" example:"47" doc:"The number to show on your page, which the user picks or types on their device. Only the answer to the start has it. Absent if the user gets no prompt, so that the code goes by the next channel."`
	Cost              *Money            `json:"cost,omitempty" doc:"What the project is charged for the verification, beside its deliveries, if the server has prices."`
	Deliveries        []Delivery        `json:"deliveries,omitempty" doc:"The attempts to hand the message to a carrier that have ended, the oldest first. A list leaves them out."`
}

// Money is an exact amount. Don't read it as a floating-point number.
type Money struct {
	Amount   string `json:"amount" pattern:"^-?[0-9]+\\.[0-9]{2,6}$" example:"0.0125" doc:"The amount, in units of the currency."`
	Currency string `json:"currency" pattern:"^[A-Z]{3}$" example:"EUR" doc:"The currency, as ISO 4217 has it."`
}

// A Delivery is one attempt to hand a message to a carrier, and what came of it.
type Delivery struct {
	Attempt    int        `json:"attempt" minimum:"1" doc:"Counts the attempts of the verification."`
	Channel    string     `json:"channel,omitempty" enum:"sms,voice,push" doc:"How the message went."`
	Carrier    string     `json:"carrier" doc:"The carrier's name in the server's configuration."`
	Sender     string     `json:"sender,omitempty" example:"+12025550100" doc:"What the message came from."`
	Segments   int        `json:"segments,omitempty" minimum:"1" doc:"How many segments a text message has: networks bill each."`
	Cost       *Money     `json:"cost,omitempty" doc:"What the project is charged for the message, if the server has prices."`
	Outcome    string     `json:"outcome" enum:"accepted,refused,errored,unknown,dropped" doc:"What the carrier said. Unknown means that the message may have been sent."`
	Reason     string     `json:"reason,omitempty" doc:"Why the attempt failed."`
	Code       string     `json:"carrier_code,omitempty" maxLength:"40" example:"30008" doc:"The carrier's own code for the failure."`
	StartedAt  time.Time  `json:"started_at" doc:"When the carrier was called."`
	EndedAt    *time.Time `json:"ended_at,omitempty" doc:"When it answered."`
	HandedOver *time.Time `json:"handed_over_at,omitempty" doc:"When the carrier took the message, if it did."`
	Delivered  *time.Time `json:"delivered_at,omitempty" doc:"When the carrier's report that the person has it arrived."`
	Receipt    string     `json:"receipt,omitempty" enum:"delivered,failed" doc:"What the carrier reported later."`
	ReceiptAt  *time.Time `json:"receipt_at,omitempty" doc:"When the report arrived."`
	WhyReceipt string     `json:"receipt_reason,omitempty" doc:"Why the report says that the delivery failed."`
	ReportCode string     `json:"receipt_code,omitempty" maxLength:"40" example:"30008" doc:"The carrier's own code for that."`
}

// A Resend says how a code is sent again.
type Resend struct {
	Channel string `json:"channel,omitempty" enum:"sms,voice" doc:"How the code is sent this time. By default as the start said."`
}

// A Page is a part of a list of verifications, the newest first.
type Page struct {
	Verifications []Verification `json:"verifications" doc:"May be shorter than the limit, or empty, where the list goes on."`
	Next          string         `json:"next,omitempty" doc:"The cursor of the next page; absent at the end of the list."`
}

// A Check is a code that somebody typed.
type Check struct {
	Purpose string `json:"purpose,omitempty" pattern:"^[a-z0-9_-]{1,32}$" example:"login" doc:"What the code must be for. A verification for another purpose is answered as one that isn't there. Send it where the id comes from a browser: a code for one thing must not open another."`
	Amount  string `json:"amount,omitempty" example:"49.90 EUR" doc:"The amount of the start, where that had one."`
	Payee   string `json:"payee,omitempty" example:"Example Shop" doc:"The payee of the start, where that had one."`
	Code    string `json:"code,omitempty" example:"123456" doc:"What was typed. Spaces and hyphens around and between the characters don't count, nor does the case of letters. Leave it out to read the outcome of a verification in mode approve, which spends no guess."`
	Wait    *int   `json:"wait,omitempty" minimum:"0" maximum:"30" default:"0" doc:"Without a code: for how many seconds the answer may wait for the outcome."`
}

// A NumberCheck is a code that somebody typed, for the latest verification of a number and purpose.
type NumberCheck struct {
	To      string `json:"to" example:"+12025550123" doc:"The number that the code was sent to, in E.164."`
	Purpose string `json:"purpose,omitempty" pattern:"^[a-z0-9_-]{1,32}$" default:"verify" example:"login" doc:"What the code is for."`
	Amount  string `json:"amount,omitempty" example:"49.90 EUR" doc:"The amount of the start, where that had one."`
	Payee   string `json:"payee,omitempty" example:"Example Shop" doc:"The payee of the start, where that had one."`
	Code    string `json:"code" example:"123456" doc:"What was typed."`
}

// Why a code isn't valid.
const (
	WrongCode       = "wrong_code"
	WrongAmount     = "wrong_amount" // or another payee; whether the code is right isn't said
	AlreadyApproved = "already_approved"
	Rejected        = "rejected" // the user said that it wasn't they who asked; only a check without a code says it
)

// A CheckResult says whether a code is right. What became of a known verification is never an error.
type CheckResult struct {
	ID                string `json:"id" format:"uuid" doc:"The verification's."`
	Valid             bool   `json:"valid" doc:"Whether the code is right and was accepted now, or the user's device has approved. Only one check of a verification ever gets true."`
	Status            string `json:"status" enum:"pending,approved,exhausted,expired,canceled,superseded" doc:"The verification's, after this check."`
	Reason            string `json:"reason,omitempty" enum:"wrong_code,wrong_amount,already_approved,exhausted,expired,canceled,rejected,superseded" doc:"Why valid is false. Absent while the user hasn't answered."`
	AttemptsRemaining int    `json:"attempts_remaining" minimum:"0" doc:"How many guesses are left."`
}
