package verify

import (
	"time"

	"github.com/countersign/countersign/internal/phone"
)

// Erase forgets the person whom v is about: the number, of which only its country stays, the text, the user, and whatever the
// caller said of them. What was counted stays, so that a recount says the same. A pending v is canceled by that. While a carrier is
// being given its message, it fails with [ErrUnderWay], and nothing has changed: the attempt's end has to find what it is about.
func (v *Verification) Erase(now time.Time) error {
	if v.Delivery == DeliverySending {
		return ErrUnderWay
	}
	if v.Cancel(now) != nil && v.Delivery == DeliveryQueued {
		v.fail(v.StatusAt(now).Reason())
	}
	v.To, v.Written = v.Reach().Erased(), ""
	v.User, v.Address, v.Previous = "", "", ID{}
	v.Text, v.Fallbacks, v.Details, v.Prompt = "", nil, Details{}, Prompt{}
	v.CodeMAC, v.SealedCode = []byte{}, nil
	return nil
}

// Erased reports whether nobody knows any more whom v was about.
func (v *Verification) Erased() bool { return phone.IsErased(v.To) }
