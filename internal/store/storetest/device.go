package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/logtest"
	"github.com/countersign/countersign/internal/verify"
)

// most is how many devices a user may have in these tests.
const most = 3

// device makes a device of the person, for an endpoint that n names.
func (p *person) device(n int) verify.Device {
	return verify.Device{
		ID: verify.NewID(p.clock.Now()), Application: p.key.Application, User: p.key.Name, Kind: verify.DeviceWebPush, Name: fmt.Sprint("browser ", n), Locale: "de",
		Fingerprint: bytes.Repeat([]byte{byte(n)}, 32), KeyID: 0xf0000001, Sealed: []byte{1, 2, byte(n)},
	}
}

func (p *person) adds(n int) verify.Device {
	p.t.Helper()
	d := p.device(n)
	if err := p.AddDevice(ctx, p.key, d, most, verify.ID{7}); err != nil {
		p.t.Fatalf("add device %d: %v", n, err)
	}
	p.clock.advance(time.Millisecond)
	return d
}

// has demands the person's devices.
func (p *person) has(want ...verify.Device) {
	p.t.Helper()
	got, err := p.Devices(ctx, p.key)
	if err != nil {
		p.t.Fatalf("devices: %v", err)
	}
	equal(p.t, "devices", got, append([]verify.Device(nil), want...))
}

func devicesAreKeptAsGiven(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	ada, bob := k.person(a, "ada", number(0)), k.person(a, "bob", number(1))
	wantError(t, "add without a user", ada.AddDevice(ctx, ada.key, ada.device(1), most, verify.ID{}), verify.ErrNoUser)
	ada.associate()
	bob.associate()
	ada.has()
	first, second, third := ada.adds(1), ada.adds(2), ada.adds(3)
	ada.has(first, second, third)
	wantError(t, "one too many", ada.AddDevice(ctx, ada.key, ada.device(4), most, verify.ID{}), verify.ErrTooManyDevices)
	again := ada.adds(1) // in its own place
	ada.has(second, third, again)

	// Who registers an endpoint last has it: a browser that two people use shows the codes of the one who is logged in.
	bobs := bob.adds(2)
	bob.has(bobs)
	ada.has(third, again)

	// Nobody removes what isn't theirs.
	wantError(t, "another user's", ada.RemoveDevice(ctx, ada.key, bobs.ID, ""), verify.ErrNoDevice)
	stranger := ada.key
	stranger.Project = "other"
	wantError(t, "another project's", ada.RemoveDevice(ctx, stranger, again.ID, ""), verify.ErrNoApplication)
	wantError(t, "another project adds", ada.AddDevice(ctx, stranger, ada.device(5), most, verify.ID{}), verify.ErrNoApplication)
	_, err := ada.Devices(ctx, stranger)
	wantError(t, "another project lists", err, verify.ErrNoApplication)
	if err := ada.RemoveDevice(ctx, ada.key, third.ID, "operator ann"); err != nil {
		t.Fatal(err)
	}
	wantError(t, "a second time", ada.RemoveDevice(ctx, ada.key, third.ID, ""), verify.ErrNoDevice)
	ada.has(again)
	bob.has(bobs)

	audits, err := k.Audits(ctx, 1)
	if err != nil || len(audits) != 1 || audits[0].Action != "device remove" || audits[0].Actor != "operator ann" ||
		!strings.Contains(audits[0].Detail, third.ID.String()) || strings.Contains(logtest.Meant(audits[0].Detail), "ada") {
		t.Errorf("audit: got %+v, %v; want the removal by the operator, without the user's name", audits, err)
	}
}

func devicesGoWithTheirUser(t *testing.T, s suite) {
	k := s.open(t)
	a, b := k.application(project), k.application(project, func(a *verify.Application) { a.Name = "other" })
	ada, bob, eve := k.person(a, "ada", number(0)), k.person(a, "bob", number(1)), k.person(b, "eve", number(2))
	for i, p := range []*person{ada, bob, eve} {
		p.associate()
		p.adds(i)
	}
	left := func() int {
		t.Helper()
		all, err := k.DevicesOfOtherKeys(ctx, 1, verify.ID{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if err := ada.Dissociate(ctx, ada.key); err != nil { // the user stays, and so do the devices
		t.Fatal(err)
	}
	if n := left(); n != 3 {
		t.Errorf("with all users there: got %d devices, want 3", n)
	}
	if err := ada.DeleteUser(ctx, ada.key); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 2 {
		t.Errorf("after a user was deleted: got %d devices, want 2", n)
	}
	if err := k.DeleteApplication(ctx, project, a.ID, 0); err != nil {
		t.Fatal(err)
	}
	if err := k.FinishDeletions(ctx); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 1 {
		t.Errorf("after an application was deleted: got %d devices, want the other application's one", n)
	}
}

// Of many registrations at once, as many are taken as may be.
func devicesAreBoundedExactly(t *testing.T, s suite) {
	k := s.open(t)
	ada := k.person(k.application(project), "ada", number(0))
	ada.associate()
	var added atomic.Int64
	var callers sync.WaitGroup
	for i := range 12 {
		d := ada.device(i)
		callers.Go(func() {
			switch err := ada.AddDevice(ctx, ada.key, d, most, verify.ID{}); err {
			case nil:
				added.Add(1)
			case verify.ErrTooManyDevices:
			default:
				t.Errorf("add: %v", err)
			}
		})
	}
	callers.Wait()
	if got, err := ada.Devices(ctx, ada.key); err != nil || len(got) != most || added.Load() != most {
		t.Errorf("got %d devices, %v, and %d were taken; want %d", len(got), err, added.Load(), most)
	}
}

func devicesAreResealedAndSettled(t *testing.T, s suite) {
	k := s.open(t)
	ada := k.person(k.application(project), "ada", number(0))
	ada.associate()
	first, second := ada.adds(1), ada.adds(2)
	next := first
	next.KeyID, next.Sealed = 2, []byte{9}
	if err := k.Reseal(ctx, next, 3); err != nil { // not what that key has sealed
		t.Fatal(err)
	}
	ada.has(first, second)
	if err := k.Reseal(ctx, next, first.KeyID); err != nil {
		t.Fatal(err)
	}
	ada.has(next, second)

	// What came of pushes: one was taken, and another one's service doesn't know it any more.
	bob := ada.key
	bob.Name = "bob"
	if err := k.SettleDevices(ctx, bob, k.clock.Now(), []verify.ID{next.ID}, []verify.ID{second.ID}); err != nil { // another user's
		t.Fatal(err)
	}
	ada.has(next, second)
	third := ada.adds(3)
	if err := k.SettleDevices(ctx, ada.key, k.clock.Now(), []verify.ID{second.ID}, []verify.ID{third.ID}); err != nil {
		t.Fatal(err)
	}
	second.UsedAt = k.clock.Now()
	ada.has(next, second)
	rest, err := k.DevicesOfOtherKeys(ctx, 2, verify.ID{}, 10)
	equal(t, "devices of other keys", rest, []verify.Device{second})
	if err != nil {
		t.Error(err)
	}
}

// A code that was used since a database was saved must not work again.
func aRestoreForgetsEnrolments(t *testing.T, s suite) {
	k := s.open(t)
	ada := k.person(k.application(project), "ada", number(0))
	ada.associate()
	e := verify.Enrolment{Hash: bytes.Repeat([]byte{1}, 32), ExpiresAt: k.clock.Now().Add(time.Minute), By: verify.ID{7}}
	if err := k.AddEnrolment(ctx, ada.key, e); err != nil {
		t.Fatal(err)
	}
	if got, _, err := k.Enrolment(ctx, e.Hash); err != nil || got != ada.key {
		t.Fatalf("enrolment: got %v, %v; want that of %v", got, err, ada.key)
	}
	if _, err := k.VoidPending(ctx, "operator", "void"); err != nil {
		t.Fatal(err)
	}
	if err := k.Enrol(ctx, ada.key, e.Hash, ada.device(1), most); err != verify.ErrNoEnrolment {
		t.Errorf("enrol after a restore: got %v, want %v", err, verify.ErrNoEnrolment)
	}
	ada.has()
}
