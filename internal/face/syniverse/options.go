package syniverse

import "net/http"

// Options say what an installation wants otherwise than by default. The zero Options are the defaults.
type Options struct {
	// NoAlias leaves out /scg-external-api/api/v1, under which the MFA operations are served a
	// second time. The message templates stay there: they have no other place.
	NoAlias bool
	// ISODates writes dates as "2026-11-21T21:27:02.500Z", as the published schema declares them,
	// and not as milliseconds since 1970, as Syniverse's servers were seen to send them.
	ISODates bool
	// Refusals of a validation code.
	Refusals Refusals
}

// Refusals say how a validation code is refused, case by case. Syniverse publishes none of it, so
// whoever knows what his client expects can say it. What is left zero takes the default.
type Refusals struct {
	Wrong     Refusal // the code is wrong: 409, "2001"
	Expired   Refusal // its time is over: 409, "2002"
	None      Refusal // no code is live, or it was used: 409, "2002"
	Exhausted Refusal // no guesses are left: 429, "2004"
}

// A Refusal is a status from 400 to 499 and an error_code.
type Refusal struct {
	Status int
	Code   string
}

// or is r with what it leaves open taken from a default.
func (r Refusal) or(preset Refusal) Refusal {
	if r.Status == 0 {
		r.Status = preset.Status
	}
	if r.Code == "" {
		r.Code = preset.Code
	}
	return r
}

// defaults fills in what is left open.
func (r Refusals) defaults() Refusals {
	return Refusals{
		Wrong:     r.Wrong.or(Refusal{http.StatusConflict, "2001"}),
		Expired:   r.Expired.or(Refusal{http.StatusConflict, "2002"}),
		None:      r.None.or(Refusal{http.StatusConflict, "2002"}),
		Exhausted: r.Exhausted.or(Refusal{http.StatusTooManyRequests, "2004"}),
	}
}
