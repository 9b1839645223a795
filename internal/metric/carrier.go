package metric

import (
	"sync"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A Carrier is what this server has seen of a carrier since it started.
type Carrier struct {
	Binds    *Binds    `json:"binds,omitempty"`       // nil: it has none
	Accepted time.Time `json:"accepted_at,omitzero"`  // when it last took a message; zero: never
	Failed   *Failure  `json:"last_failure,omitzero"` // nil: none
}

// A Failure is an attempt that failed, or a receipt that says that a message didn't arrive.
type Failure struct {
	At      time.Time     `json:"at"`
	Country string        `json:"country"`
	Reason  verify.Reason `json:"reason"`
	Code    string        `json:"code,omitempty"` // the carrier's own
	Receipt bool          `json:"receipt,omitempty"`
}

// Carrier returns what the server has seen of a carrier.
func (m *Metrics) Carrier(name string) (seen Carrier) {
	var read func() Binds
	m.carriers.of(name, func(c *carrierState) { seen, read = c.Carrier, c.binds })
	if read != nil {
		b := read()
		seen.Binds = &b
	}
	return seen
}

// carriers holds what was last seen of each carrier. Their names come from the configuration: there are few.
type carriers struct {
	mu  sync.Mutex // guards all
	all map[string]*carrierState
}

type carrierState struct {
	Carrier
	binds func() Binds // nil: it has none
}

// of calls f with a carrier's state, under the lock.
func (s *carriers) of(name string, f func(*carrierState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.all[name]
	if c == nil {
		if s.all == nil {
			s.all = map[string]*carrierState{}
		}
		c = &carrierState{}
		s.all[name] = c
	}
	f(c)
}

// settled remembers how an attempt ended. Failures that are ours say nothing of the carrier.
func (s *carriers) settled(d *verify.Delivery, country string, at time.Time) {
	if d.Carrier == "" {
		return
	}
	s.of(d.Carrier, func(c *carrierState) {
		switch {
		case d.Outcome == verify.AttemptAccepted:
			c.Accepted = at
		case d.Reason.Blame() != verify.BlameUs:
			c.Failed = &Failure{At: at, Country: country, Reason: d.Reason, Code: d.CarrierCode}
		}
	})
}

// received remembers a receipt of a message that didn't arrive.
func (s *carriers) received(d *verify.Delivery, country string) {
	if d.Receipt == verify.ReceiptDelivered {
		return
	}
	s.of(d.Carrier, func(c *carrierState) {
		c.Failed = &Failure{At: d.ReceiptAt, Country: country, Reason: d.ReceiptReason, Code: d.ReceiptCode, Receipt: true}
	})
}
