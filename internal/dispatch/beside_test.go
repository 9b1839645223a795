package dispatch_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/face/signalwire"
	"github.com/countersign/countersign/internal/face/syniverse"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// sites are where one project is measured beside another.
var sites = []struct {
	name     string
	replicas int
}{{"sqlite", 1}, {"postgresql", 3}}

// BenchmarkBeside has one project flood a server, or three replicas over one PostgreSQL, and measures how the starts of
// another project do: which share of them is served, and their p99 by that of the same project alone, just before.
// "make floods" runs it. The clients are in this process, so a part of what it measures is their own load.
func BenchmarkBeside(b *testing.B) {
	for _, engine := range sites {
		b.Run(engine.name, func(b *testing.B) {
			for name, flood := range floods {
				b.Run(name, func(b *testing.B) {
					n := newNeighbors(b, engine.replicas)
					clients := flooders
					if name == "users" {
						n.gather(b)
						clients = listers
					}
					var ratios, alone, served []float64
					refused, flooded := 0, 0
					for range b.N {
						base, _ := n.quiet(b, aside)
						stop := n.flood(flood, clients)
						p99, ok := n.quiet(b, aside)
						r, f := stop()
						refused, flooded = refused+r, flooded+f
						ratios, alone, served = append(ratios, p99/base), append(alone, base), append(served, ok)
					}
					b.ReportMetric(0, "ns/op") // says nothing
					b.ReportMetric(median(alone), "alone-ms")
					b.ReportMetric(median(ratios), "p99-ratio")
					b.ReportMetric(100*slices.Min(served), "%served")
					b.ReportMetric(float64(flooded)/(float64(b.N)*aside.Seconds()), "flood/s")
					b.ReportMetric(100*float64(refused)/float64(max(flooded, 1)), "%flood-refused")
				})
			}
		})
	}
}

// BenchmarkTakenOverBeside measures how long messages of a replica that died wait for another while a project floods the
// server: the slowest, from the start. Their lease is 20 s, and they should be sent within 25 s.
func BenchmarkTakenOverBeside(b *testing.B) {
	for _, engine := range sites {
		for _, name := range []string{"starts", "failing", "lists"} {
			b.Run(engine.name+"/"+name, func(b *testing.B) {
				n := newNeighbors(b, engine.replicas)
				k := n.replicas[0]
				var claimed, slowest time.Duration
				refused, flooded := 0, 0
				for range b.N {
					began, waiting := time.Now(), map[verify.ID]bool{}
					for i := range 10 {
						waiting[orphan(b, k, n.other.project, phone.Number(fmt.Sprintf("+1404%07d", 2000000+i)))] = true
					}
					stop := n.flood(floods[name], flooders)
					for ; len(waiting) > 0; time.Sleep(10 * time.Millisecond) {
						if time.Since(began) > 5*time.Minute {
							b.Fatalf("%d messages of a dead replica wait still", len(waiting))
						}
						for id, unclaimed := range waiting {
							v, err := k.Store.Verification(b.Context(), id)
							if err == nil && v.Attempt >= 2 && unclaimed {
								waiting[id] = false
								claimed = max(claimed, time.Since(began))
							}
							if err == nil && v.Delivery == verify.DeliverySent {
								delete(waiting, id)
							}
						}
					}
					slowest = max(slowest, time.Since(began))
					r, f := stop()
					refused, flooded = refused+r, flooded+f
				}
				b.ReportMetric(0, "ns/op")                     // says nothing
				b.ReportMetric(claimed.Seconds(), "claimed-s") // by a carrier that has a place, which may be the one that fails
				b.ReportMetric(slowest.Seconds(), "slowest-s")
				b.ReportMetric(float64(flooded)/float64(b.N), "flood")
				b.ReportMetric(100*float64(refused)/float64(max(flooded, 1)), "%flood-refused")
			})
		}
	}
}

const (
	aside     = 4 * time.Second       // how long the quiet project is measured, alone and beside a flood
	quietly   = 10 * time.Millisecond // between its starts
	flooders  = 96                    // clients of a flood,
	listers   = 16                    // and of one that lists many users
	manyUsers = 1_000_000
	slowReply = 200 * time.Millisecond
)

// A nuisance makes the n-th request of a flood to one replica. It returns the status.
type nuisance func(n *neighbors, k *countersigntest.Kit, i int) int

var floods = map[string]nuisance{
	"starts": func(n *neighbors, k *countersigntest.Kit, i int) int {
		return n.post(k, n.loud, "sms", fmt.Sprintf(`{"to":"+1202%07d"}`, 2000000+i))
	},
	"failing": func(n *neighbors, k *countersigntest.Kit, i int) int { // each is tried again and again
		return n.post(k, n.loud, "sms", fmt.Sprintf(`{"to":"+4479%08d"}`, 10000000+i))
	},
	"calls": func(n *neighbors, k *countersigntest.Kit, i int) int {
		return n.post(k, n.loud, "call", fmt.Sprintf(`{"to":"+1202%07d"}`, 2000000+i))
	},
	"guesses": func(n *neighbors, k *countersigntest.Kit, i int) int {
		return n.post(k, n.loud, n.guessed+"/verify", `{"token":"000000"}`)
	},
	"large": func(n *neighbors, k *countersigntest.Kit, i int) int {
		return n.post(k, n.loud, "sms", fmt.Sprintf(`{"to":"+1202%07d","unused":%q}`, 2000000+i, strings.Repeat("x", 50_000)))
	},
	"lists": func(n *neighbors, k *countersigntest.Kit, i int) int {
		return n.do(k, n.loud, "GET", "/v1/verifications?limit=100", "")
	},
	"users": func(n *neighbors, k *countersigntest.Kit, i int) int { // 10^6 of them, in one of the orders
		order := [...]string{"id", "-created_date", "last_updated_date", "-user_address", "status"}[i%5]
		return n.do(k, n.loud, "GET", syniverse.Prefix+"applications/"+n.crowd+"/users?limit=1000&sort="+order, "")
	},
	"strangers": func(n *neighbors, k *countersigntest.Kit, i int) int {
		return n.post(k, identity{"loud", account.NewSecret()}, "sms", `{"to":"+12025550100"}`)
	},
}

type identity struct {
	project verify.ProjectID
	key     verify.Secret
}

type neighbors struct {
	replicas    []*countersigntest.Kit
	loud, other identity
	guessed     string
	crowd       string // an application with many users
	database    func() (*sql.DB, error)
	client      *http.Client
	next        atomic.Int64
}

func newNeighbors(b *testing.B, replicas int) *neighbors {
	n := &neighbors{
		loud: identity{"loud", account.NewSecret()}, other: identity{"other", account.NewSecret()},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * flooders}},
	}
	b.Cleanup(n.client.CloseIdleConnections)
	began, database := time.Now(), ""
	if replicas > 1 {
		database = pgtest.New(b).Database(b, "")
	}
	data := b.TempDir()
	for range replicas {
		slow := carrierFunc{"slow", func(ctx context.Context, _ verify.Message) (carrier.Result, error) {
			select {
			case <-ctx.Done():
			case <-time.After(slowReply):
			}
			return carrier.Result{}, nil
		}}
		failing := carrierFunc{"failing", func(context.Context, verify.Message) (carrier.Result, error) {
			return carrier.Result{}, errors.New("not now")
		}}
		k := countersigntest.New(b, countersigntest.Options{
			Data: data, Database: database, Carriers: []carrier.Carrier{slow, failing}, Queue: 1024, Concurrency: 64, BreakAfter: -1,
			Rules:  []route.Rule{{Countries: []string{"GB"}, Carriers: []route.Choice{{Carrier: "failing"}}}},
			Tick:   250 * time.Millisecond,
			Logger: slog.New(web.Log(slog.NewJSONHandler(io.Discard, nil))),
			Machine: func() store.Reading {
				now := time.Now()
				return store.Reading{Wall: now.Round(0), Mono: now.Sub(began)}
			},
		})
		n.replicas = append(n.replicas, k)
	}
	for _, i := range []identity{n.loud, n.other} {
		n.replicas[0].AddProject(verify.Project{ID: i.project, Name: string(i.project), Profile: verify.ProfileCompat, PublicText: true, AnySender: true, Countries: []string{verify.AnyCountry}}, i.key)
	}
	n.guessed = verify.NewID(time.Now()).String()
	n.database = func() (*sql.DB, error) {
		if database == "" {
			return sql.Open("sqlite", "file:"+filepath.Join(data, system.DatabaseFile)+"?_pragma=busy_timeout(60000)")
		}
		return sql.Open("pgx", database)
	}
	return n
}

// gather makes an application with many users.
func (n *neighbors) gather(b *testing.B) {
	b.Helper()
	app, err := n.replicas[0].Verify.CreateApplication(b.Context(), n.account(b, n.loud), verify.Application{Name: "Crowd"})
	if err != nil {
		b.Fatal(err)
	}
	n.crowd = app.ID.Base62()
	db, err := n.database()
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`WITH RECURSIVE numbers (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i < $3)
		INSERT INTO app_user (application, name, address, status, latest, sends, created_at, updated_at, version)
		SELECT $1, 'u' || i, '+1202' || (i * 7919 % 1000003), 1 + i % 3, $1, $2, i, i * 31 % 1000003, i % 5 FROM numbers`, app.ID[:], []byte{}, manyUsers); err != nil {
		b.Fatal(err)
	}
	for i := range 5 { // each order
		if status := floods["users"](n, n.replicas[0], i); status != http.StatusOK {
			b.Fatalf("list of users: got %d", status)
		}
	}
}

func (n *neighbors) account(b *testing.B, who identity) *verify.Account {
	b.Helper()
	acct, err := n.replicas[0].Accounts.Authenticate(b.Context(), who.project, who.key)
	if err != nil {
		b.Fatal(err)
	}
	return acct
}

type carrierFunc struct {
	name string
	send func(context.Context, verify.Message) (carrier.Result, error)
}

func (c carrierFunc) Name() string { return c.name }
func (c carrierFunc) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	return c.send(ctx, m)
}

func (n *neighbors) post(k *countersigntest.Kit, who identity, path, body string) int {
	return n.do(k, who, "POST", signalwire.Prefix+path, body)
}

func (n *neighbors) do(k *countersigntest.Kit, who identity, method, path, body string) int {
	req, err := http.NewRequest(method, k.URL+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	if !strings.HasPrefix(path, signalwire.Prefix) {
		req.Header.Set("Authorization", "Bearer "+who.key.Reveal())
	} else {
		req.SetBasicAuth(string(who.project), who.key.Reveal())
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := n.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// quiet starts verifications of the quiet project for a while, one at a time on its own clock, however long each takes. It
// returns the p99 in milliseconds, and the share that was served.
func (n *neighbors) quiet(b *testing.B, d time.Duration) (p99, served float64) {
	var mu sync.Mutex // guards took and ok
	var took []time.Duration
	ok, statuses := 0, map[int]int{}
	var all sync.WaitGroup
	ticker := time.NewTicker(quietly)
	defer ticker.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-ticker.C
		all.Go(func() {
			i := int(n.next.Add(1))
			began := time.Now()
			status := n.post(n.replicas[i%len(n.replicas)], n.other, "sms", fmt.Sprintf(`{"to":"+1303%07d"}`, 2000000+i))
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
			statuses[status]++
			if status == http.StatusOK {
				ok++
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	if ok < len(took) {
		b.Logf("the quiet project's answers: %v", statuses)
	}
	return float64(took[len(took)*99/100].Microseconds()) / 1000, float64(ok) / float64(len(took))
}

// flood begins one. Call stop to end it: it says how many requests were refused, and how many there were.
func (n *neighbors) flood(f nuisance, flooders int) (stop func() (refused, all int)) {
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	var refused, all atomic.Int64
	for c := range flooders {
		k := n.replicas[c%len(n.replicas)]
		clients.Go(func() {
			for ctx.Err() == nil {
				if status := f(n, k, int(n.next.Add(1))); status == 429 || status >= 500 || status == 0 {
					refused.Add(1)
				}
				all.Add(1)
			}
		})
	}
	return func() (int, int) {
		cancel()
		clients.Wait()
		return int(refused.Load()), int(all.Load())
	}
}
