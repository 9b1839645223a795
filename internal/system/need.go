package system

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/metric"
	"github.com/countersign/countersign/internal/verify"
)

// A Carrier is how a carrier does on this server: its line, and what was last seen of it.
type Carrier struct {
	dispatch.State
	metric.Carrier
}

// HasCarrier reports whether this server's configuration has a carrier.
func (s *System) HasCarrier(name string) bool {
	return slices.ContainsFunc(s.Dispatch.States(), func(line dispatch.State) bool { return line.Name == name })
}

// Carriers says how the carriers do on this server, by name.
func (s *System) Carriers() []Carrier {
	all := []Carrier{}
	for _, line := range s.Dispatch.States() {
		all = append(all, Carrier{line, s.metrics.Carrier(line.Name)})
	}
	return all
}

// A Need is something that waits for an operator.
type Need struct {
	Fails   bool   // something fails because of it; otherwise it soon may
	What    string // is wrong
	Advice  string
	Carrier string // that it is about; "": none
}

// Needs lists what waits for an operator on this server, what fails first.
func (s *System) Needs(ctx context.Context) (all []Need) {
	if why := s.unready(ctx); why != "" {
		all = append(all, Need{Fails: true, What: "This server isn't ready", Advice: why})
	} else if ahead := s.Store.ClockOffset().Abs(); ahead > warnSkew {
		all = append(all, Need{What: "This machine's clock and the database's differ by " + ahead.Round(time.Millisecond).String(), Advice: "Synchronize both with NTP."})
	}
	all = append(all, certificateNeeds(s.tls, s.Store.Now())...)
	if s.data != "" {
		if free, err := freeSpace(s.data); err == nil { // else the server says soon that it isn't ready
			all = append(all, diskNeeds(s.data, free)...)
		}
	}
	for _, c := range s.Carriers() {
		all = append(all, c.needs()...)
	}
	slices.SortStableFunc(all, func(a, b Need) int {
		switch {
		case a.Fails == b.Fails:
			return 0
		case a.Fails:
			return -1
		}
		return 1
	})
	return all
}

// A certificate should be renewed this long before it ends. A renewal that runs by itself does so earlier.
const renewAhead = 14 * 24 * time.Hour

// certificateNeeds is what the public listener's certificate needs; nil is no certificate.
func certificateNeeds(public *tls.Config, now time.Time) []Need {
	if public == nil {
		return nil
	}
	current, err := public.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil || current == nil || current.Leaf == nil {
		return nil
	}
	left, end := current.Leaf.NotAfter.Sub(now), current.Leaf.NotAfter.UTC().Format(time.DateTime)+" UTC"
	const advice = "Renew the files of public.tls: the server reads them again by itself."
	switch {
	case left <= 0:
		return []Need{{Fails: true, What: "The certificate ended at " + end, Advice: "Callers refuse the connection. " + advice}}
	case left < renewAhead:
		return []Need{{What: fmt.Sprintf("The certificate ends in %d days, at %s", int(left/(24*time.Hour)), end), Advice: advice}}
	}
	return nil
}

// Less room than this on the data folder's disk waits for an operator.
const (
	littleSpace = 1 << 30
	noSpace     = 64 << 20
)

func diskNeeds(folder string, free uint64) []Need {
	if free >= littleSpace {
		return nil
	}
	return []Need{{Fails: free < noSpace, What: fmt.Sprintf("The disk of %s has %d MiB left", folder, free>>20), Advice: "Make room: when the disk is full, the server refuses starts and checks."}}
}

// acts are the reasons that last until somebody acts.
var acts = map[verify.Reason]string{
	verify.ReasonMisconfigured: "Compare its account and its settings in the configuration with what the carrier says.",
	verify.ReasonAuth:          "It refuses our credentials: compare them with the carrier's.",
	verify.ReasonNoCredit:      "The account has no money left: top it up.",
	verify.ReasonRedirected:    "The receiver has moved: set its new URL in the configuration.",
}

// Stuck reports whether a carrier takes no messages until somebody acts, and says what to do.
func (c *Carrier) Stuck() (advice string, stuck bool) {
	f := c.Failed
	if f == nil || f.Receipt || !c.Accepted.Before(f.At) {
		return "", false
	}
	advice, stuck = acts[f.Reason]
	return advice, stuck
}

// Open are the countries for which everybody's messages pass a carrier by, or all but a probe.
func (c *Carrier) Open() (countries []string) {
	for _, b := range c.Breakers {
		if b.Project == "" && b.State != "closed" {
			country := b.Country
			if country == "" {
				country = "unknown countries"
			}
			countries = append(countries, country)
		}
	}
	return countries
}

func (c *Carrier) needs() (all []Need) {
	add := func(fails bool, what, advice string) {
		all = append(all, Need{Fails: fails, What: c.Name + what, Advice: advice, Carrier: c.Name})
	}
	if advice, stuck := c.Stuck(); stuck {
		add(true, ": "+strings.ReplaceAll(c.Failed.Reason.String(), "_", " "), advice)
	} else if open := c.Open(); len(open) > 0 {
		add(true, ": messages to "+strings.Join(open, ", ")+" pass it by", "It failed several times in a row. It gets a probe now and then, and works again by itself once it answers.")
	}
	if b := c.Binds; b != nil && b.Up < b.Wanted {
		add(b.Up == 0, fmt.Sprintf(": %d of %d binds are up", b.Up, b.Wanted), "The log says why the SMSC refuses or closes them.")
	}
	return all
}
