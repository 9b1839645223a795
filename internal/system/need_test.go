package system

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/metric"
	"github.com/countersign/countersign/internal/verify"
)

// said are needs as texts: "!" fails now.
func said(all []Need) (texts []string) {
	for _, n := range all {
		texts = append(texts, map[bool]string{true: "!", false: ""}[n.Fails]+n.What)
	}
	return texts
}

func TestACertificateIsRenewedInTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	public := func(left time.Duration) *tls.Config {
		leaf := &x509.Certificate{NotAfter: now.Add(left)}
		return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &tls.Certificate{Leaf: leaf}, nil }}
	}
	for left, want := range map[time.Duration]string{
		renewAhead:            "[]",
		renewAhead - 1:        "[The certificate ends in 13 days, at 2026-05-18 11:59:59 UTC]",
		time.Hour:             "[The certificate ends in 0 days, at 2026-05-04 13:00:00 UTC]",
		0:                     "[!The certificate ended at 2026-05-04 12:00:00 UTC]",
		-365 * 24 * time.Hour: "[!The certificate ended at 2025-05-04 12:00:00 UTC]",
	} {
		if got := fmt.Sprint(said(certificateNeeds(public(left), now))); got != want {
			t.Errorf("%v left: got %s, want %s", left, got, want)
		}
	}
	if got := certificateNeeds(nil, now); got != nil {
		t.Errorf("without TLS: got %v", got)
	}
}

func TestADiskNeedsRoom(t *testing.T) {
	t.Parallel()
	for free, want := range map[uint64]string{littleSpace: "[]", littleSpace - 1: "[The disk of data has 1023 MiB left]", noSpace - 1: "[!The disk of data has 63 MiB left]", 0: "[!The disk of data has 0 MiB left]"} {
		if got := fmt.Sprint(said(diskNeeds("data", free))); got != want {
			t.Errorf("%d bytes: got %s, want %s", free, got, want)
		}
	}
	if free, err := freeSpace(t.TempDir()); err != nil || free == 0 {
		t.Errorf("this disk: got %d, %v", free, err)
	}
	if _, err := freeSpace("no/such/folder"); err == nil {
		t.Error("a folder that isn't there has a disk")
	}
}

func TestCarriersSayWhatTheyNeed(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	failed := func(r verify.Reason, accepted time.Time) metric.Carrier {
		return metric.Carrier{Accepted: accepted, Failed: &metric.Failure{At: at, Reason: r}}
	}
	receipt := failed(verify.ReasonNoCredit, time.Time{})
	receipt.Failed.Receipt = true
	open := dispatch.State{Name: "a", Breakers: []dispatch.BreakerState{{Country: "DE", State: "closed"}, {Country: "FR", State: "half-open"}, {Country: "FR", Project: "p", State: "open"}, {State: "open"}, {Country: "US", Project: "p", State: "open"}}}
	for name, tt := range map[string]struct {
		carrier Carrier
		want    string
	}{
		"works":                    {Carrier{}, "[]"},
		"no credit":                {Carrier{dispatch.State{Name: "a"}, failed(verify.ReasonNoCredit, at.Add(-1))}, "[!a: no credit]"},
		"worked since":             {Carrier{dispatch.State{Name: "a"}, failed(verify.ReasonMisconfigured, at.Add(1))}, "[]"},
		"fails otherwise":          {Carrier{dispatch.State{Name: "a"}, failed(verify.ReasonNetwork, time.Time{})}, "[]"},
		"the person has no credit": {Carrier{dispatch.State{Name: "a"}, receipt}, "[]"},
		"a breaker of everybody":   {Carrier{open, metric.Carrier{}}, "[!a: messages to FR, unknown countries pass it by]"},
		"misconfigured and passed": {Carrier{open, failed(verify.ReasonMisconfigured, time.Time{})}, "[!a: misconfigured]"},
		"some binds":               {Carrier{dispatch.State{Name: "a"}, metric.Carrier{Binds: &metric.Binds{Up: 1, Wanted: 2}}}, "[a: 1 of 2 binds are up]"},
		"no binds":                 {Carrier{dispatch.State{Name: "a"}, metric.Carrier{Binds: &metric.Binds{Wanted: 2}}}, "[!a: 0 of 2 binds are up]"},
		"all binds":                {Carrier{dispatch.State{Name: "a"}, metric.Carrier{Binds: &metric.Binds{Up: 2, Wanted: 2}}}, "[]"},
	} {
		got := tt.carrier.needs()
		if fmt.Sprint(said(got)) != tt.want {
			t.Errorf("%s: got %v, want %s", name, said(got), tt.want)
		}
		for _, n := range got {
			if n.Carrier != "a" || !strings.HasSuffix(n.Advice, ".") {
				t.Errorf("%s: got %+v", name, n)
			}
		}
	}
}
