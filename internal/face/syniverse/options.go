package syniverse

import "net/http"

// Options configure the API. The zero Options are the defaults.
type Options struct {
	// NoAlias leaves out the MFA operations under /scg-external-api/api/v1, where they are
	// served a second time. The message templates remain there, because they have no other
	// path.
	NoAlias bool
	// ISODates writes dates as "2026-11-21T21:27:02.500Z", as the published schema declares. By
	// default they are milliseconds since 1970, as Syniverse's servers send them.
	ISODates bool
	// Refusals are the responses to invalid validation codes.
	Refusals Refusals
}

// Refusals configure the responses to invalid validation codes, case by case. Syniverse doesn't
// publish them, so operators can set those that their clients expect. Zero fields take the
// defaults.
type Refusals struct {
	Wrong     Refusal // the code is wrong: 409, "2001"
	Expired   Refusal // the code has expired: 409, "2002"
	None      Refusal // there is no live code, or it was used: 409, "2002"
	Exhausted Refusal // no guesses are left: 429, "2004"
}

// A Refusal is a status from 400 to 499 and an error_code.
type Refusal struct {
	Status int
	Code   string
}

// or returns r with its zero fields taken from a default.
func (r Refusal) or(preset Refusal) Refusal {
	if r.Status == 0 {
		r.Status = preset.Status
	}
	if r.Code == "" {
		r.Code = preset.Code
	}
	return r
}

// defaults returns r with its zero fields set to the defaults.
func (r Refusals) defaults() Refusals {
	return Refusals{
		Wrong:     r.Wrong.or(Refusal{http.StatusConflict, "2001"}),
		Expired:   r.Expired.or(Refusal{http.StatusConflict, "2002"}),
		None:      r.None.or(Refusal{http.StatusConflict, "2002"}),
		Exhausted: r.Exhausted.or(Refusal{http.StatusTooManyRequests, "2004"}),
	}
}
