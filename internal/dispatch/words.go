package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// Words returns an attempt's message once more, for a carrier that asks what to say when somebody has
// answered its call. It fails with [verify.ErrNotFound] unless that is the latest attempt of a live
// verification, hasn't failed, and is the carrier's. Any replica can tell.
func (d *Dispatcher) Words(ctx context.Context, carrier string, id verify.ID, attempt int) (m verify.Message, err error) {
	if s := d.config.Siblings; s != nil {
		return s.Words(ctx, carrier, id, attempt)
	}
	return d.words(ctx, carrier, id, attempt)
}

func (d *Dispatcher) words(ctx context.Context, carrier string, id verify.ID, attempt int) (m verify.Message, err error) {
	if m, ok := d.trials.message(carrier, id); ok {
		return m, nil
	}
	v, err := d.config.Store.Verification(ctx, id)
	if err != nil {
		return m, fmt.Errorf("words for %v: %w", id, err)
	}
	if v.StatusAt(d.config.Now()) != verify.StatusPending || v.Attempt != attempt || v.Delivery != verify.DeliverySending && v.Delivery != verify.DeliverySent {
		return m, verify.ErrNotFound
	}
	history, err := d.config.Store.Deliveries(ctx, id)
	if err != nil {
		return m, fmt.Errorf("words for %v: %w", id, err)
	}
	channel, ours := d.wayOf(v, history, carrier)
	if !ours || slices.ContainsFunc(history, func(h verify.Delivery) bool {
		return h.Attempt == attempt && d.config.Now().Sub(h.StartedAt) > askedWithin
	}) {
		return m, verify.ErrNotFound
	}
	secret, err := d.config.Keys.Open(v.KeyID, v.Binding(), v.SealedCode)
	if err != nil {
		return m, errors.Join(fmt.Errorf("words for %v: the code can't be opened", id), err)
	}
	return v.Message(channel, verify.Secret(secret)), nil
}

// askedWithin is how long after the provider took a call it may ask what that says: it does so when somebody
// answers. A signed question that somebody saw then tells them nothing for the rest of the code's life, even if
// the server that knows that it was used was restarted.
const askedWithin = 10 * time.Minute

// wayOf reports whether the latest attempt is a carrier's, and its channel. While the attempt is under
// way nobody has recorded whose it is: then it may be that of any carrier that could have it.
func (d *Dispatcher) wayOf(v *verify.Verification, history []verify.Delivery, carrier string) (c verify.Channel, ours bool) {
	if i := slices.IndexFunc(history, func(h verify.Delivery) bool { return h.Attempt == v.Attempt }); i >= 0 {
		h := history[i]
		return cmp.Or(h.Channel, v.Channel), h.Carrier == carrier
	}
	all := d.next(v, history)
	i := slices.IndexFunc(all, func(w way) bool { return w.name() == carrier && w.channel == verify.ChannelVoice })
	return verify.ChannelVoice, i >= 0
}
