package store

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
)

// synchronous_standby forgives a failover only if the server had a synchronous standby until then.
func TestAFailoverIsForgivenOnlyToASynchronousStandby(t *testing.T) {
	t.Parallel()
	at := func(is, was string, synced bool) sight {
		return sight{is: identity{timeline: is}, was: identity{timeline: was}, synced: synced}
	}
	for name, test := range map[string]struct {
		seen   []sight
		forget bool
	}{
		"a synchronous standby":                {[]sight{at("1", "1", true)}, true},
		"nothing was seen":                     {nil, true},
		"no synchronous standby":               {[]sight{at("1", "1", true), at("1", "1", false)}, false},
		"none for a while":                     {[]sight{at("1", "1", false), at("1", "1", true)}, true},
		"none yet of the promoted one":         {[]sight{at("1", "1", true), at("2", "1", false)}, true},
		"none of the promoted one's successor": {[]sight{at("3", "1", false)}, false},
	} {
		s := &server{lossless: true, clock: newClock(time.Now, nil)}
		for _, f := range test.seen {
			s.expose(f)
		}
		if why := s.changed(at("2", "1", true)); (why == "") != test.forget {
			t.Errorf("%s: changed %q, want it forgiven: %v", name, why, test.forget)
		}
	}
}

func TestAMissingSynchronousStandbyIsLogged(t *testing.T) {
	t.Parallel()
	for _, lossless := range []bool{true, false} {
		var said bytes.Buffer
		s, err := Open(t.Context(), Options{
			Postgres: &Postgres{URL: pgtest.Database(t, ""), Timeout: 10 * time.Second, SynchronousStandby: lossless},
			Log:      slog.New(slog.NewTextHandler(&said, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		want := 0
		if lossless {
			want = 1
		}
		if got := strings.Count(said.String(), "synchronous_standby_names is empty"); got != want {
			t.Errorf("synchronous_standby %v: logged %d times, want %d:\n%s", lossless, got, want, &said)
		}
	}
}
