package config

import (
	"time"

	"github.com/countersign/countersign/internal/carrier"
	carrierhttp "github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// An httpWay is a receiver of HTTP requests, which may report to public.
type httpWay struct {
	carrierhttp.Config
	public string
}

// channel implements [way].
func (w *httpWay) channel() verify.Channel { return "" }

// open implements [way].
func (w *httpWay) open(log *outage.Log, made *Carriers) (carrier.Carrier, error) {
	if w.Plaintext {
		log.Warn("carrier is allowed to send codes over plain http", "carrier", w.Name)
	}
	if w.public != "" {
		own, err := provider.Own(w.Name, w.public, w.Secret)
		if err != nil {
			return nil, err
		}
		made.providers = append(made.providers, own)
	}
	return carrierhttp.New(w.Config)
}

// checkHTTP notes what is wrong with a receiver.
func (c *Loaded) checkHTTP(p *yamlconf.Problems, at string, cc *carrierConfig) way {
	h, key := &cc.HTTP, at+".http"
	checkDuration(p, key+".timeout", h.Timeout, 100*time.Millisecond, 10*time.Second)
	way := &httpWay{Config: carrierhttp.Config{Name: cc.Name, URL: h.URL, Plaintext: h.Plaintext, Timeout: time.Duration(h.Timeout), Conns: cc.Concurrency}, public: c.Public.URL}
	if way.public != "" {
		way.StatusURL = provider.OwnStatusURL(way.public, cc.Name)
	}
	for _, f := range way.Check() {
		p.Check(key+"."+f.Field, false, "%s", f.Message)
	}
	text, err := c.secret(h.Secret, ownSecret)
	if err == nil {
		way.Secret, err = carrier.ParseSecret(text.Reveal())
	}
	if err != nil {
		p.Check(key+".secret", false, "%v", err)
	}
	way.RootCAs = c.authorities(p, key+".ca_file", h.CAFile)
	return way
}
