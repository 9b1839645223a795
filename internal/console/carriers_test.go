package console

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/metric"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// The page has what /carriers has: the queue, the breakers, and the carrier's own code of the last failure.
func TestCarriersShowHowTheyDo(t *testing.T) {
	t.Parallel()
	down := failing{"<b>down", carrier.Coded("30001", errors.New("down"))}
	l := lobbyOf(t, countersigntest.Options{Carriers: []carrier.Carrier{down}, BreakAfter: 1, MaxMessages: 1})
	l.Start(callee, "")
	l.Await("the breaker", func() bool { c := l.Carriers()[0]; return len(c.Breakers) == 2 && c.Queued == 0 })
	ann := &Person{Name: "ann", Role: operator.RoleViewer}
	page := l.ask(ann, "GET", "/carriers", nil).Body.String()
	for i, want := range []string{
		"| Carrier | State | Queue | Binds | Rate | Last message taken (UTC) | Last failure (UTC)",
		"| &lt;b&gt;down | no message taken yet | 0 of 20000 | | | | 2026-05-04 12:00:00 attempt · US · error · 30001",
		"| Country | Whose messages | State | Failures | Until (UTC)",
		"| US | everybody's | closed | 1 |",
		"| US | test | open | 1 | 2026-05-04 12:00:10",
	} {
		if rows := rowsOf(page); i >= len(rows) || rows[i] != want {
			t.Errorf("row %d: got %q, want %q", i, rows, want)
		}
	}
	if to := hrefs(page, "/traffic/rows"); len(to) != 1 || to[0] != "/traffic/rows?carrier=%3Cb%3Edown" {
		t.Errorf("got links %q, want one to the carrier's traffic", to)
	}
}

func TestAStateIsSaidInAFewWords(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	line := dispatch.State{Name: "a", Queue: 2}
	worked, failed := metric.Carrier{Accepted: at}, metric.Carrier{Failed: &metric.Failure{At: at, Reason: verify.ReasonNoCredit}}
	for name, tt := range map[string]struct {
		carrier     system.Carrier
		state, tone string
	}{
		"new":     {system.Carrier{State: line}, "no message yet", "none"},
		"works":   {system.Carrier{State: line, Carrier: worked}, "works", ""},
		"stuck":   {system.Carrier{State: line, Carrier: failed}, "takes nothing: no credit", "bad"},
		"refuses": {system.Carrier{State: line, Carrier: metric.Carrier{Failed: &metric.Failure{At: at, Reason: verify.ReasonBlocked}}}, "no message taken yet", "wait"},
		"full":    {system.Carrier{State: dispatch.State{Queue: 2, Queued: 2}, Carrier: worked}, "the queue is full", "wait"},
		"open":    {system.Carrier{State: dispatch.State{Queue: 2, Breakers: []dispatch.BreakerState{{Country: "US", State: "open"}, {Country: "DE", State: "half-open"}, {Country: "FR", State: "closed"}}}, Carrier: worked}, "passed by: US, DE", "bad"},
		"one's":   {system.Carrier{State: dispatch.State{Queue: 2, Breakers: []dispatch.BreakerState{{Country: "US", Project: "p", State: "open"}}}, Carrier: worked}, "works", ""},
		"unbound": {system.Carrier{State: line, Carrier: metric.Carrier{Accepted: at, Binds: &metric.Binds{Wanted: 2}}}, "no bind is up", "bad"},
		"a bind":  {system.Carrier{State: line, Carrier: metric.Carrier{Accepted: at, Binds: &metric.Binds{Up: 1, Wanted: 2}}}, "some binds are down", "wait"},
	} {
		if state, tone := stateOf(&tt.carrier); state != tt.state || tone != tt.tone {
			t.Errorf("%s: got %q %q, want %q %q", name, state, tone, tt.state, tt.tone)
		}
	}
}
