package device_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
)

// places is a database of them.
func places(a netip.Addr, locale string) string {
	if a == netip.MustParseAddr("203.0.113.7") {
		return "Munich (" + locale + ")"
	}
	return ""
}

// Who asks is kept as long as a device may show it, and no answer tells it.
func TestWhoAsksIsForgotten(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Settings.Place = places
		k := newKitOfAda(t, o, "push")
		d := k.enrol(k.client, k.app, "ada")
		ask := func() api.Verification {
			t.Helper()
			k.Clock.Advance(31 * time.Second)
			if err := k.client.ResetPrompts(t.Context(), k.app, "ada"); err != nil {
				t.Fatal(err)
			}
			v := k.start("ada", api.UserVerification{Client: &api.Asking{IP: "203.0.113.7", UserAgent: "Firefox", Device: "laptop"}})
			if c := k.question(v.ID).Client; c.Place != "Munich ()" || c.Device != "laptop" {
				t.Errorf("the prompt shows %+v", c)
			}
			k.Await("the hand-over", func() bool { return k.Verification(v.ID).Delivery != 1 })
			return v
		}
		known := func(v api.Verification) bool { return k.Verification(v.ID).Prompt.Client.IP != "" }
		upkeep := func() {
			t.Helper()
			if err := k.Store.ForgetClients(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
		}

		v := ask()
		upkeep()
		if !known(v) {
			t.Error("a resend couldn't tell who asks")
		}
		for listed, err := range k.client.Verifications(t.Context(), api.Filter{}) {
			if text, _ := json.Marshal(listed); err != nil || strings.Contains(string(text), "203.0.113") || strings.Contains(string(text), "laptop") {
				t.Errorf("a list tells who asked: %s, %v", text, err)
			}
		}
		if a := k.send(d.sign(t, v.ID, k.question(v.ID).Challenge, v.Show)); !a.Accepted || known(v) {
			t.Errorf("after the approval (%+v), the server knows who asked", a)
		}

		older := ask()
		newer := ask()
		upkeep()
		if known(older) || !known(newer) {
			t.Errorf("of a verification with a newer one, known is %t; of the newer one, %t", known(older), known(newer))
		}
		k.Clock.Advance(24 * time.Hour)
		upkeep()
		if known(newer) {
			t.Error("after its time, the server knows who asked")
		}
		last := ask()
		if err := k.client.DeleteUser(t.Context(), k.app, "ada"); err != nil {
			t.Fatal(err)
		}
		upkeep()
		if known(last) {
			t.Error("after its user, the server knows who asked")
		}
	})
}
