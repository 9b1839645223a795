package route

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

var t0 = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func choices(names ...string) (all []Choice) {
	for _, n := range names {
		all = append(all, Choice{Carrier: n})
	}
	return all
}

func TestTheFirstRuleThatMatchesDecides(t *testing.T) {
	t.Parallel()
	app := verify.NewID(t0)
	table := New([]Rule{
		{Projects: []verify.ProjectID{"p"}, Channels: []verify.Channel{verify.ChannelVoice}, Carriers: choices("calls of p")},
		{Applications: []verify.ID{app}, Carriers: choices("app")},
		{Prefixes: []string{"+1202", "+1212"}, Channels: []verify.Channel{verify.ChannelSMS}, Carriers: choices("capital", "other")},
		{Countries: []string{"DE", "AT"}, Carriers: choices("german")},
		{Countries: []string{"FR"}},
		{Channels: []verify.Channel{verify.ChannelSMS}, Carriers: choices("texts")},
	})
	for _, tt := range []struct {
		name     string
		envelope verify.Envelope
		want     []string
		rule     int
	}{
		{"channel and project", verify.Envelope{Project: "p", Channel: verify.ChannelVoice, To: "+12025550100"}, []string{"calls of p"}, 0},
		{"one of the two only", verify.Envelope{Project: "p", Channel: verify.ChannelSMS, To: "+12025550100"}, []string{"capital", "other"}, 2},
		{"application", verify.Envelope{Application: app, Channel: verify.ChannelSMS, To: "+4930901820"}, []string{"app"}, 1},
		{"second prefix", verify.Envelope{Channel: verify.ChannelSMS, To: "+12125550100"}, []string{"capital", "other"}, 2},
		{"country", verify.Envelope{Channel: verify.ChannelVoice, To: "+4315330001"}, []string{"german"}, 3},
		{"a rule without carriers", verify.Envelope{Channel: verify.ChannelSMS, To: "+33140205050"}, []string{}, 4},
		{"the rest", verify.Envelope{Channel: verify.ChannelSMS, To: "+442079460018"}, []string{"texts"}, 5},
		{"none", verify.Envelope{Channel: verify.ChannelVoice, To: "+442079460018"}, nil, -1},
	} {
		got, rule := table.Route(&tt.envelope)
		if diff := cmp.Diff(tt.want, got); diff != "" || rule != tt.rule {
			t.Errorf("%s: rule %d, want %d; carriers (-want +got)\n%s", tt.name, rule, tt.rule, diff)
		}
	}
}

func TestANumberThatNoRuleServes(t *testing.T) {
	t.Parallel()
	table := New([]Rule{
		{Projects: []verify.ProjectID{"closed"}},
		{Countries: []string{"FR"}},
		{Prefixes: []string{"+1202"}, Channels: []verify.Channel{verify.ChannelPush}},
		{Channels: []verify.Channel{verify.ChannelSMS}, Carriers: choices("texts")},
		{Countries: []string{"DE"}, Channels: []verify.Channel{verify.ChannelVoice}, Carriers: choices("german calls")},
		{Channels: []verify.Channel{verify.ChannelVoice}},
	})
	for _, tt := range []struct {
		name     string
		envelope verify.Envelope
		want     bool
	}{
		{"a text to a country without carriers", verify.Envelope{Channel: verify.ChannelSMS, To: "+33140205050"}, true},
		{"a call outside the one country that has carriers", verify.Envelope{Channel: verify.ChannelVoice, To: "+12025550100"}, true},
		{"a project without carriers", verify.Envelope{Project: "closed", Channel: verify.ChannelSMS, To: "+33140205050"}, false},
		{"a channel without carriers", verify.Envelope{Channel: verify.ChannelPush, To: "+33140205050"}, false},
	} {
		if got := table.ServesOthers(&tt.envelope); got != tt.want {
			t.Errorf("%s: other numbers are served: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWeightsShareTheMessages(t *testing.T) {
	t.Parallel()
	table := New([]Rule{{Carriers: []Choice{{"first", 0}, {"a", 70}, {"middle", 0}, {"b", 20}, {"c", 10}}}})
	const n = 20_000
	first := map[string]int{}
	for i := range n {
		e := &verify.Envelope{Verification: verify.NewID(t0.Add(time.Duration(i) * time.Millisecond))}
		order, _ := table.Route(e)
		if order[0] != "first" || order[2] != "middle" || len(order) != 5 {
			t.Fatalf("order %v: those without a weight keep their places", order)
		}
		if seen := map[string]bool{order[1]: true, order[3]: true, order[4]: true}; !seen["a"] || !seen["b"] || !seen["c"] {
			t.Fatalf("order %v: those with a weight stand there once each", order)
		}
		again, _ := table.Route(e)
		if diff := cmp.Diff(order, again); diff != "" {
			t.Fatalf("the same message another time (-first +second)\n%s", diff)
		}
		first[order[1]]++
	}
	for carrier, share := range map[string]float64{"a": 0.7, "b": 0.2, "c": 0.1} {
		if got := float64(first[carrier]) / n; math.Abs(got-share) > 0.02 {
			t.Errorf("%s comes first in %.3f of the messages, want %.1f", carrier, got, share)
		}
	}
}

// Removing a carrier from the list doesn't change the order of the others.
func TestDrawIsStable(t *testing.T) {
	t.Parallel()
	all := []Choice{{"a", 5}, {"b", 3}, {"c", 2}}
	for i := range 500 {
		id := verify.NewID(t0.Add(time.Duration(i) * time.Second))
		var without []string
		for _, name := range names(draw(all, id)) {
			if name != "b" {
				without = append(without, name)
			}
		}
		if diff := cmp.Diff(without, names(draw([]Choice{{"a", 5}, {"c", 2}}, id))); diff != "" {
			t.Fatalf("without b (-before +after)\n%s", diff)
		}
	}
}

func TestSendersStickToANumber(t *testing.T) {
	t.Parallel()
	pool := []string{"+12025550101", "+12025550102", "ACME", "72345"}
	const n = 4000
	count := map[string]int{}
	moved := 0
	for i := range n {
		to := phone.Number(fmt.Sprintf("+1202%07d", 2000000+i))
		s := Sticky(pool, to)
		count[s]++
		switch after := Sticky(pool[:3], to); {
		case s != "72345" && after != s:
			t.Fatalf("%s went from %s to %s, which both stayed", to, s, after)
		case after != s:
			moved++
		}
	}
	for _, s := range pool {
		if count[s] < n/5 || count[s] > n/3 {
			t.Errorf("%s is the sender of %d in %d numbers", s, count[s], n)
		}
	}
	if moved != count["72345"] {
		t.Errorf("%d numbers moved, want the %d of the sender that went", moved, count["72345"])
	}
	if got := Sticky(nil, "+12025550100"); got != "" {
		t.Errorf("an empty pool gives %q", got)
	}
}

func BenchmarkRoute(b *testing.B) {
	table := New([]Rule{{Countries: []string{"DE"}, Carriers: choices("x")}, {Channels: []verify.Channel{verify.ChannelSMS}, Carriers: choices("a", "b")}})
	e := &verify.Envelope{Channel: verify.ChannelSMS, To: "+12025550100"}
	b.ReportAllocs()
	for b.Loop() {
		table.Route(e)
	}
}
