package config

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/apns"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/carrier/fcm"
	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// given reports whether a carrier pushes to browsers.
func (c *webPushConfig) given() bool { return c.Contact != "" || c.VAPIDKey != pushKeyConfig{} }

// given reports whether an app is one, and not the empty one of the long example.
func (f fcmConfig) given() bool { return f.App != "" || f.ServiceAccount != pushKeyConfig{} }

// given does that for Apple's.
func (a apnsConfig) given() bool { return a.App != "" || a.Key != pushKeyConfig{} }

// A pushWay is how a carrier reaches the kinds of devices that it serves.
type pushWay struct {
	name string
	web  *webpush.Config // nil: it serves no browsers
	fcm  []fcm.App
	apns []apns.App
}

// channel implements [way].
func (w *pushWay) channel() verify.Channel { return verify.ChannelPush }

// open implements [way].
func (w *pushWay) open(log *outage.Log, _ *Carriers) (carrier.Carrier, error) {
	services := map[verify.DeviceKind]push.Service{}
	if w.web != nil {
		if w.web.Private {
			log.Warn("carrier is allowed to call private addresses, which whoever registers a device names", "carrier", w.name)
		}
		web, err := webpush.New(*w.web)
		if err != nil {
			return nil, err
		}
		services[verify.DeviceWebPush], services[verify.DeviceUnifiedPush] = web, web
	}
	if len(w.fcm) > 0 {
		services[verify.DeviceFCM] = fcm.New(w.fcm...)
	}
	if len(w.apns) > 0 {
		services[verify.DeviceAPNS] = apns.New(w.apns...)
	}
	return push.New(w.name, services), nil
}

// try implements [way]. Browsers name their push services, so nothing can be tried of those.
func (w *pushWay) try(ctx context.Context, at string) Finding {
	var found []string
	for i, app := range w.fcm {
		key := fmt.Sprintf("%s.fcm[%d]", at, i)
		if err := fcm.Try(ctx, app); err != nil {
			if refuses(err) {
				return broken(fmt.Errorf("fcm %s: %w", app.Name, err), key+".service_account: make a new key for the account, and compare this machine's clock")
			}
			return broken(fmt.Errorf("fcm %s: %w", app.Name, err), explain(err, key+".service_account"))
		}
		found = append(found, "fcm "+app.Name+": got an access token")
	}
	for i, app := range w.apns {
		if err := exchange.Reach(ctx, app.URL, app.RootCAs); err != nil {
			return broken(fmt.Errorf("apns %s: %w", app.Name, err), explain(err, fmt.Sprintf("%s.apns[%d].url", at, i)))
		}
		found = append(found, "apns "+app.Name+": reached; key not tried")
	}
	if w.web != nil {
		found = append(found, "webpush: nothing to try, because browsers name their push services")
	}
	return fine("%s", strings.Join(found, "; "))
}

// How to come by the keys of pushes.
const (
	vapidHint   = "to make one: countersign secret vapid %s"
	accountHint = "the Firebase console makes one: project settings, service accounts"
	appleHint   = "Apple's developer account makes one: certificates, identifiers & profiles, keys"
)

// checkPush notes what is wrong with a carrier of pushes.
func (c *Loaded) checkPush(p *yamlconf.Problems, carrier string, cc *carrierConfig) way {
	w := &pushWay{name: cc.Name}
	if cc.WebPush.given() {
		w.web = c.checkWebPush(p, carrier+".webpush", cc)
	}
	seen := map[string]bool{}
	for i := range cc.FCM {
		w.fcm = append(w.fcm, c.checkFCM(p, fmt.Sprintf("%s.fcm[%d]", carrier, i), &cc.FCM[i], cc.Concurrency, seen))
	}
	clear(seen)
	for i := range cc.APNS {
		w.apns = append(w.apns, c.checkAPNS(p, fmt.Sprintf("%s.apns[%d]", carrier, i), &cc.APNS[i], cc.Concurrency, seen))
	}
	return w
}

func (c *Loaded) checkWebPush(p *yamlconf.Problems, key string, cc *carrierConfig) *webpush.Config {
	w := &cc.WebPush
	checkDuration(p, key+".timeout", w.Timeout, 100*time.Millisecond, 9*time.Second)
	web := &webpush.Config{Contact: w.Contact, Private: w.Private, Timeout: time.Duration(w.Timeout), Conns: cc.Concurrency}
	for _, f := range web.Check() {
		p.Check(key+"."+f.Field, false, "%s", f.Message)
	}
	web.Key = readKey(c, p, key+".vapid_key", secretConfig(w.VAPIDKey), vapidHint, webpush.ParseKey)
	web.RootCAs = c.authorities(p, key+".ca_file", w.CAFile)
	return web
}

func (c *Loaded) checkFCM(p *yamlconf.Problems, key string, f *fcmConfig, conns int, seen map[string]bool) fcm.App {
	checkApp(p, key, f.App, f.Content, f.URL, f.Timeout, seen)
	return fcm.App{
		Name: f.App, Text: f.Content == "text", URL: strings.TrimRight(f.URL, "/"), Timeout: time.Duration(f.Timeout), Conns: conns,
		Account: readKey(c, p, key+".service_account", secretConfig(f.ServiceAccount), accountHint, fcm.ParseAccount),
		RootCAs: c.authorities(p, key+".ca_file", f.CAFile),
	}
}

// appleID is an id that Apple gives teams and keys.
var appleID = regexp.MustCompile(`^[A-Z0-9]{10}$`)

func (c *Loaded) checkAPNS(p *yamlconf.Problems, key string, a *apnsConfig, conns int, seen map[string]bool) apns.App {
	checkApp(p, key, a.App, a.Content, a.URL, a.Timeout, seen)
	p.Check(key+".team", appleID.MatchString(a.Team), "must be the team's id, 10 of A-Z 0-9")
	p.Check(key+".key_id", appleID.MatchString(a.KeyID), "must be the key's id, 10 of A-Z 0-9")
	return apns.App{
		Name: a.App, Team: a.Team, KeyID: a.KeyID, Text: a.Content == "text", URL: strings.TrimRight(a.URL, "/"), Timeout: time.Duration(a.Timeout), Conns: conns,
		Key:     readKey(c, p, key+".key", secretConfig(a.Key), appleHint, apns.ParseKey),
		RootCAs: c.authorities(p, key+".ca_file", a.CAFile),
	}
}

// checkApp checks what an app of FCM and one of APNs have in common. seen are the names of those before it.
func checkApp(p *yamlconf.Problems, key, name, content, rawURL string, timeout yamlconf.Duration, seen map[string]bool) {
	p.Check(key+".app", verify.IsAppName(name), "must be the app's name, such as com.example.shop: 1 to 255 of A-Z a-z 0-9 . _ -")
	p.Check(key+".app", !seen[name], "is the name of another app")
	seen[name] = true
	p.Check(key+".content", content == "wake" || content == "text", "must be wake or text")
	checkDuration(p, key+".timeout", timeout, 100*time.Millisecond, 9*time.Second)
	if err := exchange.CheckURL(rawURL, false); err != nil {
		p.Check(key+".url", false, "%v", err)
	}
}

// readKey reads a key of pushes; its zero value where that is wrong.
func readKey[K any](c *Loaded, p *yamlconf.Problems, key string, where secretConfig, hint string, parse func([]byte) (K, error)) (k K) {
	text, err := c.secret(where, hint)
	if err == nil {
		k, err = parse([]byte(text.Reveal()))
	}
	if err != nil {
		p.Check(key, false, "%v", err)
	}
	return k
}
