package carrier

import (
	"maps"
	"slices"

	"github.com/countersign/countersign/internal/verify"
)

// Reasons are the reasons that an operator may give to codes of a carrier, by their words.
var Reasons = func() map[string]verify.Reason {
	all := map[string]verify.Reason{}
	for _, r := range []verify.Reason{
		verify.ReasonUnreachable, verify.ReasonInvalidNumber, verify.ReasonInvalidSender, verify.ReasonBlocked,
		verify.ReasonSpamFiltered, verify.ReasonInvalidMessage, verify.ReasonNoCredit, verify.ReasonThrottled,
		verify.ReasonExpired, verify.ReasonNetwork, verify.ReasonMisconfigured, verify.ReasonRedirected, verify.ReasonUnknown,
		verify.ReasonBusy, verify.ReasonNoAnswer, verify.ReasonDeclined,
	} {
		all[r.String()] = r
	}
	return all
}()

// ReasonWords are their words, sorted.
var ReasonWords = slices.Sorted(maps.Keys(Reasons))
