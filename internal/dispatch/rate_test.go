package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// BenchmarkHandOver compares the rates at which messages get to a carrier: by their start, by the next
// carrier after the first one failed, by the poller when a retry is due, and from a replica that died. Each
// begins with all messages waiting, and lasts until the last one is with its carrier. "make rates" runs it.
//
// The rates are medians over rounds, and so are the ratios to the first one's of the same round: other load on
// the machine changes all of a round.
func BenchmarkHandOver(b *testing.B) {
	for _, engine := range []struct {
		name string
		open func(b *testing.B) (database func() (url string))
	}{
		{"sqlite", func(*testing.B) func() string { return func() string { return "" } }},
		{"postgresql", func(b *testing.B) func() string {
			c := pgtest.New(b)
			return func() string { return c.Database(b, "") }
		}},
		{"postgresql-1ms", func(b *testing.B) func() string { // a round trip, that is
			c := pgtest.New(b)
			w := pgtest.NewWire(b, c)
			w.Delay(500 * time.Microsecond)
			return func() string { return w.URL(c.Database(b, "")) }
		}},
	} {
		b.Run(engine.name, func(b *testing.B) {
			database := engine.open(b)
			var first, failover, retry, takeover []float64
			for range b.N {
				base := measure(b, database(), firstRate)
				first = append(first, base)
				failover = append(failover, measure(b, database(), failoverRate)/base)
				retry = append(retry, measure(b, database(), retryRate)/base)
				takeover = append(takeover, measure(b, database(), takeoverRate)/base)
			}
			b.ReportMetric(0, "ns/op") // says nothing
			b.ReportMetric(median(first), "first/s")
			b.ReportMetric(median(failover), "failover")
			b.ReportMetric(median(retry), "retry")
			b.ReportMetric(median(takeover), "takeover")
		})
	}
}

// A phase ends before its benchmark, and with it the server that it made.
type phase struct {
	*testing.B
	undo []func()
}

func (p *phase) Cleanup(f func()) { p.undo = append(p.undo, f) }

func measure(b *testing.B, url string, rate func(*phase, string) float64) float64 {
	p := &phase{B: b}
	defer func() {
		for _, f := range slices.Backward(p.undo) {
			f()
		}
	}()
	return rate(p, url)
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

const (
	rated  = 2000 // messages
	atOnce = 128  // of them are started, and handed over
)

// A mouth is a carrier that counts the messages that it gets. It may let them wait, and may fail them.
type mouth struct {
	name string
	wait <-chan struct{}
	fail func() error
	n    atomic.Int64
}

func (m *mouth) Name() string { return m.name }

func (m *mouth) Send(context.Context, verify.Message) (carrier.Result, error) {
	if m.wait != nil {
		<-m.wait
	}
	m.n.Add(1)
	if m.fail != nil {
		return carrier.Result{}, m.fail()
	}
	return carrier.Result{}, nil
}

// rate is how many messages a second a carrier gets until it has had n.
func rate(k *countersigntest.Kit, m *mouth, n int64, begin func()) float64 {
	before, began := m.n.Load(), time.Now()
	begin()
	k.Await("the messages", func() bool { return m.n.Load() >= n })
	return float64(n-before) / time.Since(began).Seconds()
}

func ratedKit(b *phase, url string, o countersigntest.Options) *countersigntest.Kit {
	o.Database, o.Concurrency, o.BreakAfter, o.Log = url, atOnce, -1, io.Discard
	return countersigntest.New(b, o)
}

func concurrently(n int, f func(i int)) {
	var all sync.WaitGroup
	work := make(chan int)
	for range atOnce {
		all.Go(func() {
			for i := range work {
				f(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	all.Wait()
}

func startAll(b *phase, k *countersigntest.Kit) {
	acct := k.Account()
	concurrently(rated, func(i int) {
		r := verify.StartRequest{Channel: verify.ChannelSMS, To: fmt.Sprintf("+1202%07d", 2000000+i)}
		if _, err := k.Verify.Start(b.Context(), acct, r); err != nil {
			b.Error(err)
		}
	})
}

func firstRate(b *phase, url string) float64 {
	m := &mouth{name: "a"}
	k := ratedKit(b, url, countersigntest.Options{Carriers: []carrier.Carrier{m}})
	return rate(k, m, rated, func() { startAll(b, k) })
}

func failoverRate(b *phase, url string) float64 {
	let := make(chan struct{})
	from := &mouth{name: "a", wait: let, fail: func() error { return carrier.Refused(errDown) }}
	to := &mouth{name: "b"}
	k := ratedKit(b, url, countersigntest.Options{Carriers: []carrier.Carrier{from, to}})
	startAll(b, k)
	return rate(k, to, rated, func() { close(let) })
}

func retryRate(b *phase, url string) float64 {
	var healed atomic.Bool
	m := &mouth{name: "a", fail: func() error {
		if healed.Load() {
			return nil
		}
		return errDown
	}}
	k := ratedKit(b, url, countersigntest.Options{Carriers: []carrier.Carrier{m}})
	startAll(b, k)
	k.Await("the failures", func() bool { return m.n.Load() == rated && k.Dispatch.Depth("a") == 0 })
	healed.Store(true)
	return rate(k, m, 2*rated, func() { k.Clock.Advance(2 * time.Second) })
}

func takeoverRate(b *phase, url string) float64 {
	m := &mouth{name: "a"}
	k := ratedKit(b, url, countersigntest.Options{Carriers: []carrier.Carrier{m}})
	keys, err := keyset.Load(k.Data + "/" + system.KeysetFile)
	if err != nil {
		b.Fatal(err)
	}
	acct := k.Account()
	concurrently(rated, func(i int) {
		v := &verify.Verification{
			ID: verify.NewID(k.Clock.Now()), Project: acct.Project.ID, Application: acct.Application.ID, Purpose: verify.PurposeMFA,
			Terms: verify.Terms{
				Channel: verify.ChannelSMS, To: phone.Number(fmt.Sprintf("+1202%07d", 2000000+i)), Text: "Code {code}", Format: "numeric", Length: 6,
				MaxAttempts: 3, ExpiresAt: k.Clock.Now().Add(time.Hour),
			},
			Code: verify.Code{KeyID: keys.Primary(), CodeMAC: []byte{1}},
		}
		var err error
		if v.SealedCode, err = keys.Seal(v.KeyID, v.Binding(), "493817"); err == nil {
			err = k.Store.Start(b.Context(), v, verify.Limits{}, lease)
		}
		if err != nil {
			b.Error(err)
		}
	})
	return rate(k, m, rated, func() {
		k.Clock.Advance(lease + time.Second)
		if err := k.Store.Sweep(b.Context()); err != nil && !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
	})
}
