package config

import (
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// given reports whether a carrier pushes.
func (c *webPushConfig) given() bool { return c.Contact != "" || c.VAPIDKey != vapidKeyConfig{} }

// A webPushWay is a VAPID key and how push services are called.
type webPushWay webpush.Config

// channel implements [way].
func (w *webPushWay) channel() verify.Channel { return verify.Push }

// open implements [way].
func (w *webPushWay) open(log *outage.Log, _ *Carriers) (carrier.Carrier, error) {
	if w.Private {
		log.Warn("carrier is allowed to call private addresses, which whoever registers a device names", "carrier", w.Name)
	}
	return webpush.New(webpush.Config(*w))
}

// vapidHint is how to come by a VAPID key.
const vapidHint = "to make one: countersign secret vapid %s"

// checkWebPush notes what is wrong with a carrier of pushes.
func (c *Loaded) checkWebPush(p *yamlconf.Problems, carrier string, cc *carrierConfig) way {
	w, key := &cc.WebPush, carrier+".webpush"
	checkDuration(p, key+".timeout", w.Timeout, 100*time.Millisecond, 9*time.Second)
	way := &webpush.Config{Name: cc.Name, Contact: w.Contact, Private: w.Private, Timeout: time.Duration(w.Timeout), Conns: cc.Concurrency}
	for _, f := range way.Check() {
		p.Check(key+"."+f.Field, false, "%s", f.Message)
	}
	text, err := c.secret(secretConfig(w.VAPIDKey), vapidHint)
	if err == nil {
		way.Key, err = webpush.ParseKey([]byte(text.Reveal()))
	}
	if err != nil {
		p.Check(key+".vapid_key", false, "%v", err)
	}
	way.RootCAs = c.authorities(p, key+".ca_file", w.CAFile)
	return (*webPushWay)(way)
}
