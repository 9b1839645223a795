package config

import (
	"time"

	"github.com/countersign/countersign/internal/carrier"
	carrierhttp "github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// An httpWay is a receiver of HTTP requests.
type httpWay carrierhttp.Config

// channel implements [way].
func (w *httpWay) channel() verify.Channel { return "" }

// open implements [way].
func (w *httpWay) open(log *outage.Log, _ *Carriers) (carrier.Carrier, error) {
	if w.Plaintext {
		log.Warn("carrier is allowed to send codes over plain http", "carrier", w.Name)
	}
	return carrierhttp.New(carrierhttp.Config(*w))
}

// checkHTTP notes what is wrong with a receiver.
func (c *Loaded) checkHTTP(p *yamlconf.Problems, carrier string, cc *carrierConfig) way {
	h, key := &cc.HTTP, carrier+".http"
	checkDuration(p, key+".timeout", h.Timeout, 100*time.Millisecond, 10*time.Second)
	way := &carrierhttp.Config{Name: cc.Name, URL: h.URL, Plaintext: h.Plaintext, Timeout: time.Duration(h.Timeout), Conns: cc.Concurrency}
	for _, f := range way.Check() {
		p.Check(key+"."+f.Field, false, "%s", f.Message)
	}
	text, err := c.secret(h.Secret, ownSecret)
	if err == nil {
		way.Secret, err = carrierhttp.ParseSecret(text.Reveal())
	}
	if err != nil {
		p.Check(key+".secret", false, "%v", err)
	}
	way.RootCAs = c.authorities(p, key+".ca_file", h.CAFile)
	return (*httpWay)(way)
}
