package dispatch_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/verify"
)

// A buffer takes a log from many goroutines.
type buffer struct {
	mu  sync.Mutex // guards all
	all bytes.Buffer
}

func (b *buffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(line)
}

// about are the lines about a verification, as grep finds them, without those of requests. Each is its level and
// message, its attempt and carrier, then why, and what the delivery is.
func (b *buffer) about(t *testing.T, id string) (all []string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for text := range strings.Lines(b.all.String()) {
		if !strings.Contains(text, id) {
			continue
		}
		var line struct {
			Level, Msg, Verification, Carrier, Outcome, Receipt, Reason, Delivery, Next string
			Attempt                                                                     int
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.Verification != id {
			t.Errorf("the line doesn't have the id as verification: %s, %v", text, err)
		}
		if line.Msg != "request" {
			words := fmt.Sprintf("%s %s %d %s %s %s %s %s", line.Level, line.Msg, line.Attempt, line.Carrier, cmp.Or(line.Outcome, line.Receipt), line.Reason, line.Delivery, line.Next)
			all = append(all, strings.Join(strings.Fields(words), " "))
		}
	}
	return all
}

// Whatever becomes of a message can be followed by one id: who had it, why it went on, and how it ended.
func TestTheLogTellsAMessagesStory(t *testing.T) {
	t.Parallel()
	unreachable := carrier.Because(verify.ReasonUnreachable, errDown)
	for name, tt := range map[string]struct {
		a, b  func(context.Context, int) error
		limit int // of messages
		then  func(*testing.T, *countersigntest.Kit, string)
		want  []string
	}{
		"moved on, and it arrived": {a: always(unreachable), then: func(t *testing.T, k *countersigntest.Kit, id string) {
			receive(t, k, carrier.Receipt{Carrier: "b", Ref: "ref", Delivered: true})
		}, want: []string{
			"DEBUG carrier called 1 a", "WARN carrier failed 1 a errored unreachable", "INFO attempt settled 1 a errored unreachable sending b",
			"DEBUG carrier called 2 b", "DEBUG attempt settled 2 b accepted sent", "DEBUG receipt 2 b delivered delivered",
		}},
		"the receipt failed": {then: func(t *testing.T, k *countersigntest.Kit, id string) {
			receive(t, k, carrier.Receipt{Carrier: "a", Verification: k.Verification(id).ID, Attempt: 1, Reason: verify.ReasonUnreachable})
			k.Await("the second attempt", func() bool { v := k.Verification(id); return v.Attempt == 2 && v.Delivery == verify.DeliverySent })
		}, want: []string{
			"DEBUG carrier called 1 a", "DEBUG attempt settled 1 a accepted sent", "INFO receipt 1 a failed unreachable queued",
			"INFO attempt claimed 2 b unreachable", "DEBUG carrier called 2 b", "DEBUG attempt settled 2 b accepted sent",
		}},
		"silence": {then: func(_ *testing.T, k *countersigntest.Kit, id string) {
			k.Advance(receiptTimeout)
			k.Await("the second attempt", func() bool { v := k.Verification(id); return v.Attempt == 2 && v.Delivery == verify.DeliverySent })
		}, want: []string{
			"DEBUG carrier called 1 a", "DEBUG attempt settled 1 a accepted sent",
			"INFO attempt claimed 2 b no_receipt", "DEBUG carrier called 2 b", "DEBUG attempt settled 2 b accepted sent",
		}},
		"refused by all": {a: always(carrier.Refused(errDown)), b: always(carrier.Refused(errDown)), want: []string{
			"DEBUG carrier called 1 a", "WARN carrier failed 1 a refused refused", "INFO attempt settled 1 a refused refused sending b",
			"DEBUG carrier called 2 b", "WARN carrier failed 2 b refused refused", "INFO attempt settled 2 b refused refused failed",
		}},
		"its code died while it waited": {a: always(unreachable), b: always(carrier.Refused(errDown)), then: func(_ *testing.T, k *countersigntest.Kit, id string) {
			k.Advance(10 * time.Minute)
		}, want: []string{
			"DEBUG carrier called 1 a", "WARN carrier failed 1 a errored unreachable", "INFO attempt settled 1 a errored unreachable sending b",
			"DEBUG carrier called 2 b", "WARN carrier failed 2 b refused refused", "INFO attempt settled 2 b refused refused queued",
			"INFO message given up 2 expired",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(buffer)
			a, b := &way{name: "a", send: tt.a}, &way{name: "b", send: tt.b}
			k := countersigntest.New(t, countersigntest.Options{
				Carriers: []carrier.Carrier{a, b}, Log: log, MaxMessages: tt.limit,
				Lines: map[string]dispatch.Line{"a": {ReceiptTimeout: receiptTimeout}},
			})
			id := k.Start(to, `"valid_for":300`)
			quiet(t, k, id)
			if tt.then != nil { // the attempt's line follows its commit
				k.Await("the first attempt's lines", func() bool { return len(log.about(t, id)) >= 2 })
				tt.then(t, k, id)
			}
			k.Await("the last line", func() bool { return len(log.about(t, id)) >= len(tt.want) })
			if diff := gocmp.Diff(tt.want, inOrder(log.about(t, id))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			code := a.seen()[0].Code.Reveal()
			for what, secret := range map[string]string{"the number": to[1:], "the code": code} {
				// The fraction of a time may hold the code's digits.
				if regexp.MustCompile(`(^|[^0-9.])` + secret + `([^0-9]|$)`).MatchString(log.all.String()) {
					t.Errorf("the log has %s: %s", what, log.all.String())
				}
			}
		})
	}
}

// inOrder sorts lines by their attempt: those of two attempts may come from two goroutines, in any order.
func inOrder(lines []string) []string {
	number := regexp.MustCompile(` \d+ `)
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(number.FindString(a), number.FindString(b)) })
	return lines
}

// A message whose sender died, and one that nobody can send, are told as well.
func TestTheLogTellsWhatAnotherReplicaLeft(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		most int // messages
		want []string
	}{
		"sent again": {3, []string{"INFO attempt claimed 2 a lease_lost", "DEBUG carrier called 2 a", "DEBUG attempt settled 2 a accepted sent"}},
		"given up":   {1, []string{"WARN message given up 2 max_messages"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(buffer)
			k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{&way{name: "a"}}, Log: log, MaxMessages: tt.most})
			id := orphan(t, k, "test", to).String()
			k.Await("the end of its lease", func() bool { k.Advance(lease); return k.Verification(id).Attempt == 2 })
			k.Await("the last line", func() bool { return len(log.about(t, id)) >= len(tt.want) })
			if diff := gocmp.Diff(tt.want, log.about(t, id)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
