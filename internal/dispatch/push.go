package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// usedEvery is how exactly the time of a device's last use is stored: not each push is a write.
const usedEvery = 10 * time.Minute

// Errors of pushes to users who have no device that fits, and who get no prompts.
var (
	errNoDevice = errors.New("the user has no device")
	errNoPrompt = errors.New("the user gets no prompts at the moment")
)

// push hands over a message with the devices that its user has now, and records what the carrier says of them.
func (d *Dispatcher) push(ctx context.Context, l *line, m verify.Message) (carrier.Result, error) {
	if m.ByPrompt && m.Question == nil {
		return carrier.Result{}, carrier.Because(verify.ReasonNoPrompt, carrier.Refused(errNoPrompt))
	}
	k := verify.UserKey{Project: m.Project, Application: m.Application, Name: m.User}
	all, err := d.config.Store.Devices(ctx, k)
	if err != nil && !errors.Is(err, verify.ErrNoUser) && !errors.Is(err, verify.ErrNoApplication) {
		return carrier.Result{}, carrier.Blaming(verify.BlameUs, err)
	}
	var to []verify.Receiver
	for i := range all {
		sub, err := all[i].Open(d.config.Keys)
		if err != nil { // its key is gone
			d.config.Log.ErrorContext(ctx, "open device", "device", all[i].ID, "err", err)
			continue
		}
		if m.ByPrompt && len(sub.Sign) == 0 { // it can't answer
			continue
		}
		to = append(to, verify.Receiver{ID: all[i].ID, Kind: all[i].Kind, Locale: all[i].Locale, Subscription: sub})
	}
	if len(to) == 0 {
		return carrier.Result{}, carrier.Because(verify.ReasonNoDevice, carrier.Refused(errNoDevice))
	}
	pusher, ok := l.Carrier.(carrier.Pusher)
	if !ok {
		return carrier.Result{}, carrier.Refused(fmt.Errorf("carrier %s pushes to no devices", l.name()))
	}
	used, gone, err := pusher.Push(ctx, m, to)
	d.settleDevices(k, all, used, gone)
	return carrier.Result{}, err
}

// settleDevices records which devices were used, and removes those that are gone.
func (d *Dispatcher) settleDevices(k verify.UserKey, all []verify.Device, used, gone []verify.ID) {
	now := d.config.Now()
	for _, device := range all {
		if now.Sub(device.UsedAt) < usedEvery {
			used = slices.DeleteFunc(used, func(id verify.ID) bool { return id == device.ID })
		}
	}
	if len(used)+len(gone) == 0 {
		return
	}
	for _, id := range gone {
		d.config.Log.Info("device removed: its push service says that it is gone", "device", id)
	}
	if err := d.config.Store.SettleDevices(context.Background(), k, now, used, gone); err != nil {
		d.complain(slog.LevelWarn, "record what came of pushes", err)
	}
}
