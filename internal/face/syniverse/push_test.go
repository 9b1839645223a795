package syniverse_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

// phones is a push service that delivers everything at once.
type phones struct {
	mu  sync.Mutex // guards got
	got []pushed
}

type pushed struct {
	verify.Receiver
	code string
}

func (*phones) Name() string { return "phones" }

func (*phones) Send(context.Context, verify.Message) (carrier.Result, error) {
	return carrier.Result{}, carrier.Refused(io.EOF)
}

func (p *phones) Push(_ context.Context, m verify.Message, to []verify.Receiver) (used, gone []verify.ID, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range to {
		used = append(used, d.ID)
		p.got = append(p.got, pushed{d, m.Code.Reveal()})
	}
	return used, nil, nil
}

func (p *phones) all() []pushed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got
}

// Where no carrier pushes, the method is refused by its field.
func TestPushWithoutACarrierIsRefused(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	for _, methods := range []string{`"PUSH"`, `"SMS,PUSH"`, `["PUSH"]`} {
		_, answer := k.is("POST", "applications", `{"name":"Shop","auth_token_delivery_methods":`+methods+`}`, 400, "400")
		if !strings.Contains(answer, "auth_token_delivery_methods has push, which is not available") {
			t.Errorf("%s: got %s", methods, answer)
		}
	}
}

// PUSH by Syniverse's requests: an application with the method, a device's address, the code that it shows, a login.
func TestPush(t *testing.T) {
	t.Parallel()
	p := new(phones)
	k := newKit(t, countersigntest.Options{Pushes: p})
	app := k.application(`,"auth_token_delivery_methods":"SMS,PUSH"`)
	ada := app + "/users/ada"
	apple := "push:" + strings.Repeat("0a", 32) + "@com.example.shop@APN"

	// A device alone isn't enough.
	k.is("POST", ada+"/associate", `{"address":"`+apple+`"}`, 400, "400")
	k.is("GET", ada, "", 404, "404")

	k.is("POST", ada+"/associate", `{"address":"+12025550100"}`, 204, "")
	k.is("POST", ada+"/associate", `{"address":"`+apple+`"}`, 400, "400") // the number isn't validated
	k.is("POST", ada+"/validate", `{"validation_code":"`+k.code("+12025550100", 1)+`"}`, 204, "")
	if len(p.all()) != 0 {
		t.Fatalf("pushed before there was a device: %+v", p.all())
	}
	k.Clock.Advance(31 * time.Second)
	k.is("POST", ada+"/associate", `{"address":"`+apple+`"}`, 204, "")
	k.Await("a push", func() bool { return len(p.all()) == 1 })
	if d := p.all()[0]; d.Kind != verify.DeviceAPNS || d.Token != strings.Repeat("0a", 32) || d.App != "com.example.shop" {
		t.Errorf("pushed to %+v", d)
	}
	k.is("POST", ada+"/validate", `{"validation_code":"`+p.all()[0].code+`"}`, 204, "")

	k.Clock.Advance(31 * time.Second)
	k.is("POST", ada+"/associate", `{"address":"psh:fcm@com.example.shop@abc:APA91"}`, 204, "")
	k.Await("a push to each device", func() bool { return len(p.all()) == 3 })
	if d := p.all()[2]; d.Kind != verify.DeviceFCM || d.Token != "abc:APA91" {
		t.Errorf("pushed to %+v", d)
	}
	k.Clock.Advance(31 * time.Second)
	k.is("POST", ada+"/login_start", `{"validation_method":"PUSH"}`, 204, "")
	k.Await("a login's push", func() bool { return len(p.all()) == 5 })
	k.is("POST", ada+"/validate", `{"validation_code":"`+p.all()[2].code+`"}`, 409, "2001") // superseded
	k.is("POST", ada+"/validate", `{"validation_code":"`+p.all()[4].code+`"}`, 204, "")
	if _, got := k.is("GET", ada, "", 200, ""); !strings.Contains(got, `"user_address":"+12025550100"`) || !strings.Contains(got, `"status":"VALIDATED"`) {
		t.Errorf("the user is %s", got)
	}

	for _, wrong := range []string{"push:token@app@SMS", "push:token", "psh:fcm@app", "push:x@app@APN", "push:a b@app@FCM", "push:abc@@FCM", "push:a@b@c@FCM"} {
		if _, got := k.is("POST", ada+"/associate", `{"address":"`+wrong+`"}`, 400, "400"); !strings.Contains(got, "address") {
			t.Errorf("%s: %s", wrong, got)
		}
	}
	sms := k.application(``)
	k.is("POST", sms+"/users/ada/associate", `{"address":"`+apple+`"}`, 400, "400") // not among its methods
}
