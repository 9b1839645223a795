package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// slowSuite keeps a test for "make slow", where it has the machine to itself.
func slowSuite(t *testing.T) {
	t.Helper()
	if os.Getenv("COUNTERSIGN_TEST_SLOW") == "" {
		t.Skip("NOT RUN: it measures, so it needs the machine to itself; run: make slow")
	}
}

const (
	slowClients    = 5000
	healthyAsks    = 400
	measuredRounds = 5
)

// Thousands of clients that never finish a request, and others that send more than they may, don't
// slow a healthy one down. The bound is a ratio, and one round of several is enough: other programs
// on the machine make any single round late, but never make a slow server fast.
func TestSlowClientsDontSlowOthers(t *testing.T) {
	slowSuite(t)
	in := install(t, func(args ...string) *exec.Cmd { return exec.Command(plainBinary(t), args...) }, func(text string) string {
		// The slow ones are to be there: by default most of them would be turned away.
		return strings.NewReplacer("max_connections: 4096", "max_connections: 20000", "max_per_address: 1024", "max_per_address: 20000").Replace(text)
	})
	p := in.serve()
	addr := strings.TrimPrefix(p.URL, "http://")
	for round := range measuredRounds {
		before := healthyP99(t, p)
		stop := make(chan struct{})
		var attackers sync.WaitGroup
		open := holdOpen(t, addr, &attackers, stop)
		attackers.Go(func() { oversize(t, p, stop) })
		during := healthyP99(t, p)
		close(stop)
		attackers.Wait()
		t.Logf("round %d: p99 of a healthy client %v alone, %v beside %d slow clients (%.2f times)", round+1, before, during, open, float64(during)/float64(before))
		if open < slowClients*9/10 {
			t.Fatalf("only %d of %d slow clients got a connection", open, slowClients)
		}
		if during <= 2*before {
			return
		}
	}
	t.Errorf("in no round was a healthy client's p99 within twice its own beside slow clients")
}

// healthyP99 asks one request after the other.
func healthyP99(t *testing.T, p *process) time.Duration {
	t.Helper()
	took := make([]time.Duration, healthyAsks)
	for i := range took {
		began := time.Now()
		resp, body, err := p.post("00000000-0000-7000-8000-000000000000/verify", `{"token":"123456"}`)
		if err != nil || resp.StatusCode != 404 {
			t.Fatalf("a healthy request: %v, %v %s", err, resp, body)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// holdOpen makes clients that send one more byte of a header now and then, and never end. It
// returns when all are connected.
func holdOpen(t *testing.T, addr string, all *sync.WaitGroup, stop chan struct{}) (open int) {
	var conns []net.Conn
	for range slowClients {
		conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			t.Logf("dial: %v", err)
			break
		}
		io.WriteString(conn, "POST /api/relay/rest/mfa/sms HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		conns = append(conns, conn)
	}
	all.Go(func() {
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		for {
			for i, c := range conns {
				if i%50 == 0 {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
				c.Write([]byte("a")) // the server may have hung up: that is its right
			}
		}
	})
	return len(conns)
}

// oversize sends headers and bodies beyond every bound, one after the other.
func oversize(t *testing.T, p *process, stop chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		body, header := strings.Repeat("a", 1<<20), ""
		if n%2 == 0 {
			body, header = "{}", strings.Repeat("h", 64<<10)
		}
		req, err := http.NewRequest("POST", p.URL+"/api/relay/rest/mfa/sms", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.SetBasicAuth(p.Project, p.Token)
		req.Header.Set("Content-Type", "application/json")
		if header != "" {
			req.Header.Set("X-Long", header)
		}
		resp, _, err := do(req)
		if err == nil && resp.StatusCode != 413 && resp.StatusCode != 431 {
			t.Errorf("request %d beyond the bounds: %s", n, resp.Status)
			return
		}
	}
}

// plainBinary builds the program once, without tests and the race detector. A release's flags would have
// all that it is made of compiled again, which takes minutes; go run ./cmd/countersign compiles the same.
func plainBinary(t testing.TB) string {
	t.Helper()
	buildOnce.Do(func() {
		dir, err := os.MkdirTemp("", "countersign-test-")
		if err != nil {
			buildErr = err
			return
		}
		built = dir + "/countersign"
		build := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-w", "-o", built, ".") // with the version that tests have
		if out, err := build.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatalf("build: %v", buildErr)
	}
	return built
}

var (
	buildOnce sync.Once
	built     = "none/none" // in a folder of its own
	buildErr  error
)
