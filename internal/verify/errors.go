package verify

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// A Kind says what the caller can do about an [Error].
type Kind int

const (
	KindInternal        Kind = iota // nothing: the fault is ours
	KindInvalid                     // send something else
	KindUnauthenticated             // send a valid key
	KindForbidden                   // send a key with more scopes
	KindUnpaid                      // pay, or ask the operator for a larger budget; or wait for the next day or month
	KindNotFound                    // it doesn't exist, or isn't yours to see
	KindChanged                     // read it again: it isn't what you said that it was
	KindConflict                    // it isn't in a state for this
	KindLimited                     // wait: you, or others, asked too often
	KindUnavailable                 // wait: we can't at the moment
)

// An Error is what a caller may see. Every other error is logged whole and answered "internal error".
type Error struct {
	Kind       Kind
	Code       string        // stable for ever, for programs
	Message    string        // one sentence, for people
	RetryAfter time.Duration // when Limited or Unavailable, and where time ends a Conflict or a budget: how long to wait
	Problems   []Problem     // when Invalid: everything that is wrong
}

// A Problem is one thing wrong with one field of a request.
type Problem struct {
	Field   Field
	Element string // what of the field is wrong: in a list of words the word in quotes, in one of objects "[0].name"; "": the field itself
	Message string // what is wrong, without the field's name: "must be less than or equal to 20"
	TooLong bool   // a text is longer than what is stored of it
}

// A Field of a request, by our name for it; a face knows what its callers call it.
type Field string

const (
	FieldTo       Field = "to"
	FieldFrom     Field = "from"
	FieldText     Field = "text"
	FieldLength   Field = "length"
	FieldCode     Field = "code"
	FieldLife     Field = "life"
	FieldAttempts Field = "attempts"
	FieldPurpose  Field = "purpose"
	FieldMetadata Field = "metadata"
	FieldAmount   Field = "amount"
	FieldPayee    Field = "payee"
	FieldLocale   Field = "locale"
	FieldTemplate Field = "template"
	FieldTexts    Field = "texts"

	FieldUser              Field = "user"
	FieldAddress           Field = "address"
	FieldChannel           Field = "channel"
	FieldChannels          Field = "channels"
	FieldName              Field = "name"
	FieldDescription       Field = "description"
	FieldFormat            Field = "format"
	FieldPrefix            Field = "prefix"
	FieldDisplayName       Field = "display_name"
	FieldAssociateTemplate Field = "associate_template"
	FieldLoginTemplate     Field = "login_template"
	FieldDesignation       Field = "designation"
	FieldPattern           Field = "pattern"

	FieldUsers      Field = "users"
	FieldVerifiedAt Field = "verified_at"

	FieldKind     Field = "kind"
	FieldEndpoint Field = "endpoint"
	FieldP256dh   Field = "p256dh"
	FieldToken    Field = "token"
	FieldApp      Field = "app"
	FieldAuth     Field = "auth"
	FieldKey      Field = "key"

	FieldMode        Field = "mode"
	FieldApplication Field = "application"

	FieldClientIP     Field = "client_ip"
	FieldUserAgent    Field = "user_agent"
	FieldClientDevice Field = "client_device"
)

// CodeOf is a word for an error: its stable code, or "error".
func CodeOf(err error) string {
	var known *Error
	if errors.As(err, &known) {
		return known.Code
	}
	return "error"
}

func (e *Error) Error() string {
	if len(e.Problems) == 0 {
		return e.Message
	}
	all := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		all[i] = strings.Join(slices.DeleteFunc([]string{string(p.Field), p.Element, p.Message}, func(s string) bool { return s == "" }), " ")
	}
	return strings.Join(all, "; ")
}

// Is makes [errors.Is] compare by code, so that an error with its own wait matches its sentinel.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// After is e with a time to wait.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

var (
	ErrInvalid         = &Error{Kind: KindInvalid, Code: "invalid", Message: "the request is invalid"}
	ErrUnauthenticated = &Error{Kind: KindUnauthenticated, Code: "unauthenticated", Message: "the project or its key is wrong"}
	ErrForbidden       = &Error{Kind: KindForbidden, Code: "forbidden", Message: "the key lacks a scope"}
	ErrNotFound        = &Error{Kind: KindNotFound, Code: "not_found", Message: "there is no such verification"}

	ErrApproved     = &Error{Kind: KindConflict, Code: "approved", Message: "the verification was approved before"}
	ErrGuessesSpent = &Error{Kind: KindConflict, Code: "guesses_spent", Message: "no guesses are left"}
	ErrExpired      = &Error{Kind: KindConflict, Code: "expired", Message: "the verification has expired"}
	ErrCanceled     = &Error{Kind: KindConflict, Code: "canceled", Message: "the verification was canceled"}

	ErrRejected = &Error{Kind: KindConflict, Code: "rejected", Message: "the person said that it wasn't they who asked"}

	ErrUnderWay = &Error{Kind: KindConflict, Code: "under_way", Message: "a carrier is being given a message to this number; try again in a minute", RetryAfter: time.Minute}

	ErrNoEnrolment = &Error{Kind: KindNotFound, Code: "no_enrolment", Message: "the enrolment code is wrong, was used, or is older than ten minutes; ask for a new one"}

	ErrNoPrompt      = &Error{Kind: KindNotFound, Code: "no_prompt", Message: "there is no such prompt or message for this device, or its signature is wrong"}
	ErrPromptsSpent  = &Error{Kind: KindConflict, Code: "prompts_spent", Message: "the user got as many prompts as they may without a success; send a code by another channel"}
	ErrPromptsDenied = &Error{Kind: KindConflict, Code: "prompts_denied", Message: "the user said that it wasn't they who asked, so they get no prompts; send a code by another channel"}

	ErrNoResends = &Error{Kind: KindConflict, Code: "no_resends_left", Message: "the code was sent as often as it may be; start a new verification"}
	ErrNoCalls   = &Error{Kind: KindConflict, Code: "no_calls_left", Message: "the phone isn't called again for this verification; send a text or start a new one"}

	ErrSuperseded = &Error{Kind: KindConflict, Code: "superseded", Message: "a newer code was sent to this user"}

	ErrNoApplication = &Error{Kind: KindNotFound, Code: "no_application", Message: "there is no such application"}
	ErrNoUser        = &Error{Kind: KindNotFound, Code: "no_user", Message: "there is no such user"}
	ErrNoNumber      = &Error{Kind: KindNotFound, Code: "no_number", Message: "nothing is known of this number"}
	ErrNoProject     = &Error{Kind: KindNotFound, Code: "no_project", Message: "there is no such project"}
	ErrNoAPIKey      = &Error{Kind: KindNotFound, Code: "no_api_key", Message: "there is no such key, or it was revoked before"}
	ErrNoDevice      = &Error{Kind: KindNotFound, Code: "no_device", Message: "there is no such device"}
	ErrNotWeighed    = &Error{Kind: KindNotFound, Code: "not_weighed", Message: "the route has the configuration's weights"}
	ErrNotStopped    = &Error{Kind: KindNotFound, Code: "not_stopped", Message: "it isn't stopped"}
	ErrNoTemplate    = &Error{Kind: KindNotFound, Code: "no_template", Message: "there is no such template"}
	ErrStale         = &Error{Kind: KindConflict, Code: "stale", Message: "it was changed meanwhile"}
	ErrChanged       = &Error{Kind: KindChanged, Code: "changed", Message: "it was changed since the version that If-Match names; read it again"}
	ErrExists        = &Error{Kind: KindConflict, Code: "exists", Message: "it exists already"}
	ErrDuplicate     = &Error{Kind: KindConflict, Code: "duplicate", Message: "the name is taken"}
	ErrNotValidated  = &Error{Kind: KindConflict, Code: "not_validated", Message: "the user's address has to be validated first"}
	ErrUserDiffers   = &Error{Kind: KindConflict, Code: "user_differs", Message: "the user is there with another number, or theirs isn't validated; an import changes no user, so delete this one first"}
	ErrNumberTaken   = &Error{Kind: KindConflict, Code: "number_taken", Message: "another user of the application has this number, or was just sent a code to show so"}
	// ErrNumbersUnready lasts until upkeep has read the numbers of users from before the program could tell whose they are.
	ErrNumbersUnready = &Error{Kind: KindConflict, Code: "numbers_unready", Message: "the numbers of the application's users are still being prepared; try again later", RetryAfter: time.Minute}
	ErrNoCode         = &Error{Kind: KindConflict, Code: "no_code", Message: "no code waits for this user"}

	// ErrNotServed lasts until an operator changes the routes. Callers get it with the number's field: see [unserved].
	ErrNotServed = &Error{Kind: KindInvalid, Code: "number_not_served", Message: "no carrier of this server sends to this number's country or network; ask the operator for a route"}

	// ErrCountryStopped lasts until an operator allows the country again. Callers get it with the number's field, as ErrNotServed.
	ErrCountryStopped = &Error{Kind: KindInvalid, Code: "country_stopped", Message: "the operator has stopped messages to this number's country"}

	ErrKeyReused = &Error{Kind: KindInvalid, Code: "idempotency_key_reused", Message: "another request was sent with this Idempotency-Key; use a new key for a new request"}
	ErrInFlight  = &Error{Kind: KindConflict, Code: "idempotency_in_flight", Message: "the request with this Idempotency-Key is being carried out; send it again to get its answer", RetryAfter: time.Second}

	ErrTooManyApplications = &Error{Kind: KindConflict, Code: "too_many_applications", Message: "the project may have no more applications"}
	ErrTrialUnpaid         = &Error{Kind: KindConflict, Code: "trial_unpaid", Message: "the project is tried and isn't prepaid, so nothing would bound it after the top-up that ends the trial; make it prepaid first: countersign project budget PROJECT --prepaid --currency EUR"}
	ErrTrialNumbers        = &Error{Kind: KindConflict, Code: "too_many_trial_numbers", Message: "the project may confirm no more numbers while it is tried"}
	ErrTooManyKeys         = &Error{Kind: KindConflict, Code: "too_many_keys", Message: "the project may have no more keys; those revoked in the last 30 days count as well"}
	ErrTooManyTemplates    = &Error{Kind: KindConflict, Code: "too_many_templates", Message: "the project may have no more templates"}

	ErrTooManyDevices = &Error{Kind: KindConflict, Code: "too_many_devices", Message: "the user may have no more devices; remove one first"}

	ErrTooManySends   = &Error{Kind: KindLimited, Code: "too_many_sends", Message: "too many messages to this number or user"}
	ErrCalling        = &Error{Kind: KindLimited, Code: "calling", Message: "a call to this number is under way"}
	ErrTooSoon        = &Error{Kind: KindLimited, Code: "too_soon", Message: "the message before is too recent"}
	ErrTooManyGuesses = &Error{Kind: KindLimited, Code: "too_many_guesses", Message: "too many wrong guesses for this number"}

	ErrTooManyKept = &Error{Kind: KindLimited, Code: "too_many_kept_answers", Message: "the project has as many answers kept for Idempotency-Keys as it may; wait, or send the request without a key"}

	ErrBudget = &Error{Kind: KindUnpaid, Code: "budget_exhausted", Message: "the project's budget is used up; ask the operator to raise it or to top up the balance"}

	// ErrTooDear lasts until an operator changes the limit or the routes. Callers get it with the number's field, as ErrNotServed.
	ErrTooDear      = &Error{Kind: KindInvalid, Code: "country_price_limit", Message: "a message to this number's country would come to more than the operator allows"}
	ErrCountryLimit = &Error{Kind: KindLimited, Code: "country_message_limit", Message: "as many messages as the operator allows have gone to this number's country"}

	ErrShareSpent = &Error{Kind: KindLimited, Code: "share_spent", Message: "the project has as much under way as is its share while others want some", RetryAfter: time.Second}

	ErrBusy      = &Error{Kind: KindUnavailable, Code: "busy", Message: "too much work is waiting", RetryAfter: time.Second}
	ErrNoCarrier = &Error{Kind: KindUnavailable, Code: "no_carrier", Message: "no carrier serves this channel", RetryAfter: 30 * time.Second}

	ErrCarriersDown = &Error{Kind: KindUnavailable, Code: "carriers_down", Message: "no carrier takes messages to this number at the moment", RetryAfter: 10 * time.Second}

	ErrNoKey = &Error{Kind: KindUnavailable, Code: "key_missing", Message: "the server lacks a key that others have", RetryAfter: time.Second}

	ErrClock = &Error{Kind: KindUnavailable, Code: "clock_wrong", Message: "the server's clock is wrong", RetryAfter: time.Second}

	// ErrMoving: nothing of the project is decided until it is in the other database. Its servers go on there by themselves.
	ErrMoving  = &Error{Kind: KindUnavailable, Code: "project_moving", Message: "the project is being moved to another database; try again", RetryAfter: time.Second}
	ErrNoStore = &Error{Kind: KindUnavailable, Code: "no_store", Message: "the database is away", RetryAfter: time.Second}
)

// ErrLeaseLost means that an attempt is no longer the caller's to settle. No API caller sees it.
var ErrLeaseLost = errors.New("the lease on this attempt is lost")
