package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// BenchmarkHandOver compares the rates at which messages get to a carrier: by their start, by the next
// carrier after the first one failed, by the poller when a retry is due, and from a replica that died. Each
// begins with all messages waiting, and lasts until the last one is with its carrier. "make rates" runs it.
//
// The rates are medians over rounds, and so are the ratios to the first one's of the same round: other load on
// the machine changes all of a round. Beside each is the ratio of this process's CPU, which other load hardly changes:
// above 1, a message costs less than at first.
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
		{"postgresql-1ms", func(b *testing.B) func() string {
			c := pgtest.New(b)
			w := pgtest.NewWire(b, c)
			w.Delay(time.Millisecond)
			return func() string { return w.URL(c.Database(b, "")) }
		}},
	} {
		b.Run(engine.name, func(b *testing.B) {
			database := engine.open(b)
			later := []struct {
				name string
				rate func(*phase, string) pace
			}{{"failover", failoverRate}, {"retry", retryRate}, {"takeover", takeoverRate}}
			var rate, cpu []float64 // of the first
			rates, cpus := map[string][]float64{}, map[string][]float64{}
			for range b.N {
				first := measure(b, database(), firstRate)
				rate, cpu = append(rate, first.rate), append(cpu, first.cpu)
				for _, l := range later {
					p := measure(b, database(), l.rate)
					rates[l.name] = append(rates[l.name], p.rate/first.rate)
					cpus[l.name] = append(cpus[l.name], first.cpu/p.cpu)
				}
			}
			b.ReportMetric(0, "ns/op") // says nothing
			b.ReportMetric(median(rate), "first/s")
			b.ReportMetric(median(cpu), "first-µs")
			for _, l := range later {
				b.ReportMetric(median(rates[l.name]), l.name)
				b.ReportMetric(median(cpus[l.name]), l.name+"-cpu")
			}
		})
	}
}

// A phase ends before its benchmark, and with it the server that it made.
type phase struct {
	*testing.B
	undo []func()
}

func (p *phase) Cleanup(f func()) { p.undo = append(p.undo, f) }

// A pace is how fast messages got to their carrier.
type pace struct {
	rate float64 // messages a second
	cpu  float64 // µs a message
}

func measure(b *testing.B, url string, rate func(*phase, string) pace) pace {
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

// paceOf is how fast a carrier gets messages until it has had n.
func paceOf(k *countersigntest.Kit, m *mouth, n int64, begin func()) pace {
	got := float64(n - m.n.Load())
	began, used := time.Now(), cpuTime()
	begin()
	k.Await("the messages", func() bool { return m.n.Load() >= n })
	return pace{got / time.Since(began).Seconds(), float64((cpuTime() - used).Microseconds()) / got}
}

// cpuTime is what this process has used so far, of the system as well.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ratedKit(b *phase, url string, o countersigntest.Options) *countersigntest.Kit {
	o.Database, o.Concurrency, o.BreakAfter = url, atOnce, -1
	o.Tick = 25 * time.Millisecond                                     // ten times a server's: less would be a part of what is measured
	o.Logger = slog.New(web.Log(slog.NewJSONHandler(io.Discard, nil))) // as a server's
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

func firstRate(b *phase, url string) pace {
	m := &mouth{name: "a"}
	k := ratedKit(b, url, countersigntest.Options{Carriers: []carrier.Carrier{m}})
	return paceOf(k, m, rated, func() { startAll(b, k) })
}

func failoverRate(b *phase, url string) pace {
	let := make(chan struct{})
	from := &mouth{name: "a", wait: let, fail: func() error { return carrier.Refused(errDown) }}
	to := &mouth{name: "b"}
	k := ratedKit(b, url, countersigntest.Options{Carriers: []carrier.Carrier{from, to}})
	startAll(b, k)
	return paceOf(k, to, rated, func() { close(let) })
}

func retryRate(b *phase, url string) pace {
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
	return paceOf(k, m, 2*rated, func() { k.Clock.Advance(2 * time.Second) })
}

func takeoverRate(b *phase, url string) pace {
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
	return paceOf(k, m, rated, func() {
		k.Clock.Advance(lease + time.Second)
		if err := k.Store.Sweep(b.Context()); err != nil && !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
	})
}
