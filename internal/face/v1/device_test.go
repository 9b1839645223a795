package v1_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

// The keys of the receiver in RFC 8291, Appendix A.
const (
	exampleP256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	exampleAuth   = "BTBZMqHH6r4Tts7J_aSIgg"
)

// exampleDevice is a request for a browser that a name names.
func exampleDevice(name string) string {
	return `{"kind":"webpush","endpoint":"https://push.example.net/send/` + name + `","p256dh":"` + exampleP256dh + `","auth":"` + exampleAuth + `"}`
}

func (k kit) user(name string) (application string) {
	k.t.Helper()
	application = read[api.Application](k.t, k.call("", "POST", "/v1/applications", `{"name":"shop"}`, 201)).ID
	k.call("", "POST", "/v1/applications/"+application+"/users", `{"user":"`+name+`","number":"`+to+`"}`, 201)
	return application
}

func TestADeviceFromRegistrationToRemoval(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		app, c := k.user("ada"), k.client()
		d, err := c.RegisterDevice(t.Context(), app, "ada", api.NewDevice{
			Kind: api.UnifiedPush, Endpoint: "https://ntfy.example.net/upSECRETENDPOINT?up=1", P256dh: exampleP256dh, Auth: exampleAuth, Name: "Ada's phone", Locale: "de",
		})
		if err != nil {
			t.Fatal(err)
		}
		want := api.Device{ID: d.ID, Kind: "unifiedpush", Name: "Ada's phone", Locale: "de", CreatedAt: d.CreatedAt}
		if diff := cmp.Diff(want, d); diff != "" || d.CreatedAt.IsZero() {
			t.Errorf("registered (-want +got):\n%s", diff)
		}
		all, err := c.Devices(t.Context(), app, "ada")
		if diff := cmp.Diff([]api.Device{want}, all); diff != "" || err != nil {
			t.Errorf("listed (-want +got):\n%s%v", diff, err)
		}
		if err := c.RemoveDevice(t.Context(), app, "ada", d.ID); err != nil {
			t.Error(err)
		}
		var p *api.Problem
		if err := c.RemoveDevice(t.Context(), app, "ada", d.ID); !errors.As(err, &p) || p.Code != "no_device" || p.Status != 404 {
			t.Errorf("removed again: %v", err)
		}
		if all, err := c.Devices(t.Context(), app, "ada"); err != nil || len(all) != 0 {
			t.Errorf("after the removal: %v, %v", all, err)
		}
	})
}

// A user has at most five devices, and a retried registration is one.
func TestAUsersDevicesAreBounded(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	path := "/v1/applications/" + k.user("ada") + "/users/ada/devices"
	for i := range verify.DefaultMaxDevices {
		for range 2 {
			k.call("", "POST", path, exampleDevice(fmt.Sprint(i)), 201)
		}
	}
	p := read[api.Problem](t, k.call("", "POST", path, exampleDevice("more"), 409))
	if p.Code != "too_many_devices" {
		t.Errorf("the sixth: %+v", p)
	}
	k.call("", "POST", path, exampleDevice("0"), 201)
}

func TestAWrongDeviceIsRefusedWithAllItsFaults(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	path := "/v1/applications/" + k.user("ada") + "/users/ada/devices"
	p := read[api.Problem](t, k.call("", "POST", path, `{"kind":"webpush","endpoint":"http://push.example.net/SECRETENDPOINT","p256dh":"BAAA","auth":"AAAA","name":"a\nb","locale":"xx"}`, 422))
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
		if strings.Contains(e.Message, "SECRETENDPOINT") {
			t.Errorf("the problem quotes the endpoint: %s", e.Message)
		}
	}
	if diff := cmp.Diff([]string{"auth", "endpoint", "locale", "name", "p256dh"}, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	for _, endpoint := range []string{"", "https://", "https://user:password@push.example.net/x", "https://push.example.net/x#y", "ftp://push.example.net", "https:push", "https://push.example.net/" + strings.Repeat("x", 2048)} {
		k.call("", "POST", path, strings.Replace(exampleDevice(""), "https://push.example.net/send/", endpoint, 1), 422)
	}
	// 65 bytes that are no point of the curve, and the point in its padded form.
	k.call("", "POST", path, strings.Replace(exampleDevice(""), exampleP256dh, "B"+strings.Repeat("A", 86), 1), 422)
	k.call("", "POST", path, strings.Replace(exampleDevice(""), exampleAuth, exampleAuth+"==", 1), 201)
	k.call("", "POST", path, strings.Replace(exampleDevice(""), "webpush", "fcm", 1), 422)
}

// What is on disk doesn't tell where a device is reached, and a rotation leaves no device behind.
func TestDevicesAreSealedAndSurviveARotation(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	app := k.user("ada")
	k.call("", "POST", "/v1/applications/"+app+"/users/ada/devices", exampleDevice("SECRETENDPOINT"), 201)
	files, err := filepath.Glob(filepath.Join(k.Data, "*.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "SECRETENDPOINT") || strings.Contains(string(text), exampleAuth) {
			t.Errorf("%s tells the endpoint or its secret, or can't be read: %v", file, err)
		}
	}

	id, err := verify.ParseID(app)
	if err != nil {
		t.Fatal(err)
	}
	key := verify.UserKey{Project: "test", Application: id, Name: "ada"}
	device := func() verify.Device {
		t.Helper()
		all, err := k.Store.Devices(t.Context(), key)
		if err != nil || len(all) != 1 {
			t.Fatalf("devices: %v, %v", all, err)
		}
		return all[0]
	}
	file := filepath.Join(k.Data, "keyset.json")
	before := device()
	old, err := keyset.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if sub, err := before.Open(old); err != nil || !strings.HasSuffix(sub.Endpoint, "/SECRETENDPOINT") || fmt.Sprintf("%v %+v %s", sub, sub, sub) != "[subscription] [subscription] [subscription]" {
		t.Errorf("opened: %v, %v", sub, err)
	}
	for what, copied := range map[string]verify.Device{
		"user":        {ID: before.ID, Application: before.Application, User: "eve"},
		"application": {ID: before.ID, Application: verify.ID{1}, User: "ada"},
		"device":      {ID: verify.ID{1}, Application: before.Application, User: "ada"},
	} {
		copied.KeyID, copied.Sealed = before.KeyID, before.Sealed
		if sub, err := copied.Open(old); err == nil {
			t.Errorf("a row that was copied to another %s opens: %v", what, sub)
		}
	}

	next, err := keyset.Add(file)
	if err == nil {
		err = keyset.Promote(file, next)
	}
	if err != nil {
		t.Fatal(err)
	}
	set, err := keyset.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	service := verify.New(verify.Config{Store: k.Store, Keys: set, Now: k.Clock.Now})
	// A row that can't be opened keeps no other from it, and is reported.
	damaged := verify.Device{ID: verify.ID{1}, Application: id, User: "ada", Kind: verify.DeviceWebPush, Fingerprint: []byte{1}, KeyID: before.KeyID, Sealed: []byte{1}}
	if err := k.Store.AddDevice(t.Context(), key, damaged, 2, verify.ID{}); err != nil {
		t.Fatal(err)
	}
	if n, err := service.ResealDevices(t.Context()); err == nil || n != 1 {
		t.Errorf("beside a damaged row: got %d sealed, %v; want 1, and an error", n, err)
	}
	if err := k.Store.RemoveDevice(t.Context(), key, damaged.ID, ""); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 0} {
		if n, err := service.ResealDevices(t.Context()); err != nil || n != want {
			t.Errorf("time %d: got %d sealed, %v; want %d", i+1, n, err, want)
		}
	}
	after := device()
	if sub, err := after.Open(set); err != nil || after.KeyID != next || !strings.HasSuffix(sub.Endpoint, "/SECRETENDPOINT") {
		t.Errorf("after a rotation: key %d, %v, %v; want key %d", after.KeyID, sub, err, next)
	}
	if n, err := verify.New(verify.Config{Store: k.Store, Keys: old, Now: k.Clock.Now}).ResealDevices(t.Context()); n != 0 || err != nil {
		t.Errorf("a server without the key: got %d, %v; want that it leaves the device alone", n, err)
	}
}
