package config

import (
	"time"

	"github.com/countersign/countersign/internal/carrier/exchange"
	carrierhttp "github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/yamlconf"
)

func (c *Loaded) checkHTTP(p *yamlconf.Problems, key string, cc *carrierConfig) *carrierhttp.Config {
	h := &cc.HTTP
	checkDuration(p, key+".timeout", h.Timeout, 100*time.Millisecond, 10*time.Second)
	if err := exchange.CheckURL(h.URL, h.Plaintext); err != nil {
		p.Check(key+".url", false, "%v", err)
	}
	way := &carrierhttp.Config{Name: cc.Name, URL: h.URL, Plaintext: h.Plaintext, Timeout: time.Duration(h.Timeout), Conns: cc.Concurrency}
	text, err := c.secret(h.Secret, ownSecret)
	if err == nil {
		way.Secret, err = carrierhttp.ParseSecret(text.Reveal())
	}
	if err != nil {
		p.Check(key+".secret", false, "%v", err)
	}
	way.RootCAs = c.authorities(p, key+".ca_file", h.CAFile)
	return way
}
