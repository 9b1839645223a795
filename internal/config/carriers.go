package config

import (
	"context"
	"net/http"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/carrier/smpp"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/metric"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// Carriers are the carriers, opened. Those that bring receipts come once more, by themselves.
type Carriers struct {
	Lines     []dispatch.Line
	providers []*provider.Carrier
	smscs     []*smpp.Carrier
}

// Open makes the carriers. Close them.
func (c *Loaded) Open(log *outage.Log) (made *Carriers, err error) {
	made = &Carriers{}
	for i, way := range c.ways {
		out, err := way.open(log, made)
		if err != nil {
			made.Close()
			return nil, err
		}
		line := c.line(i, out)
		line.Channel = way.channel()
		made.Lines = append(made.Lines, line)
	}
	return made, nil
}

// Metrics counts what the binds do, and whatever else is counted.
func (l *Carriers) Metrics() *metric.Metrics {
	m := metric.New()
	for _, c := range l.smscs {
		m.Binds(c.Name(), func() metric.Binds {
			s := c.Stats()
			return metric.Binds{Up: s.Bound, Wanted: c.Binds, InFlight: s.InFlight, Window: c.Binds * c.Window, Made: s.Binds, Throttled: s.Throttled, Unread: s.Unread}
		})
	}
	return m
}

// Away answers providers' reports while there is no database yet.
var Away = []web.Mount{{Name: "carriers", Prefix: provider.Prefix, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, "not now", http.StatusServiceUnavailable)
})}}

// A Receiver takes what carriers report, and tells them what to say: a [dispatch.Dispatcher], or several of them.
type Receiver interface {
	Receive(context.Context, carrier.Receipt) error
	Words(ctx context.Context, carrier string, id verify.ID, attempt int) (verify.Message, error)
}

// Reports lets carriers report what became of messages.
func (l *Carriers) Reports(log *outage.Log, d Receiver) []web.Mount {
	for _, c := range l.smscs {
		c.OnReceipt(d.Receive)
	}
	if len(l.providers) == 0 {
		return nil
	}
	for _, p := range l.providers {
		p.OnReceipt(d.Receive)
		p.OnAnswer(d.Words)
	}
	return []web.Mount{{Name: "carriers", Prefix: provider.Prefix, Handler: provider.Handler(log, l.providers...)}}
}

// Close ends what carriers keep up, where the system that had them wasn't opened. A second time does
// nothing.
func (l *Carriers) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, line := range l.Lines {
		if c, ok := line.Carrier.(carrier.Closer); ok {
			c.Close(ctx)
		}
	}
}
