package webpush

import (
	"cmp"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	carrierhttp "github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/notice"
	"github.com/countersign/countersign/internal/verify"
)

// receiver names the variable that makes the test binary a receiver, whose CPU time isn't the carriers'.
const receiver = "COUNTERSIGN_TEST_RECEIVER"

func init() {
	if os.Getenv(receiver) == "" {
		return
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	fmt.Println(s.URL)
	pem.Encode(os.Stdout, &pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	os.Stdout.Close()
	io.Copy(io.Discard, os.Stdin) // until the benchmark ends
	os.Exit(0)
}

// BenchmarkPush compares the CPU time of a push to that of a message by the HTTP carrier: the same receiver, of HTTP/2
// with TLS, takes both in turns. It reports the encryption and the token alone too.
func BenchmarkPush(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), receiver+"=yes"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	said, err := io.ReadAll(out)
	if err != nil {
		b.Fatal(err)
	}
	line := slices.Index(said, '\n')
	roots := x509.NewCertPool()
	if line < 0 || !roots.AppendCertsFromPEM(said[line:]) {
		b.Fatalf("the receiver says %q", said)
	}
	at := string(said[:line])

	device, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	d := &verify.Receiver{Subscription: verify.Subscription{Endpoint: at + "/device", Key: device.PublicKey().Bytes(), Auth: make([]byte, 16)}}
	now := time.Now()
	m := verify.Message{
		ID: verify.NewID(now), Verification: verify.NewID(now), Channel: verify.ChannelSMS, To: "+12025550100", From: "+12025550199",
		Body: "Your code is 493817", Code: "493817", ExpiresAt: now.Add(time.Hour), Attempt: 1, User: "ada",
	}
	text, err := NewKey()
	if err != nil {
		b.Fatal(err)
	}
	key, err := ParseKey(text)
	if err != nil {
		b.Fatal(err)
	}
	pushes, err := New(Config{Key: key, Contact: "mailto:ops@example.com", Private: true, RootCAs: roots, Timeout: time.Minute, Conns: 4})
	if err != nil {
		b.Fatal(err)
	}
	posts, err := carrierhttp.New(carrierhttp.Config{Name: "http", URL: at + "/messages", Secret: make([]byte, 32), RootCAs: roots, Timeout: time.Minute, Conns: 4})
	if err != nil {
		b.Fatal(err)
	}
	post := func() error {
		ctx, cancel := context.WithTimeout(b.Context(), posts.Limit()) // as the dispatcher does; a push makes its own
		defer cancel()
		_, err := posts.Send(ctx, m)
		return err
	}
	sealed := func() error {
		text, err := notice.Within(&m, maxText)
		if err == nil {
			_, err = encrypt(d.Subscription, text)
		}
		return err
	}
	ways := []struct {
		name string
		send func() error
	}{
		{"push", func() error { return pushes.Push(b.Context(), &m, d) }},
		{"http+encryption", func() error { return cmp.Or(sealed(), post()) }},
		{"http", post},
		{"encryption", sealed},
		{"token", func() error { _, err := key.authorize(at, pushes.Contact, now); return err }},
	}
	for _, w := range ways { // connections are made, and caches filled
		if err := w.send(); err != nil {
			b.Fatal(w.name, err)
		}
	}
	const messages = 500 // of each way, in turns
	for _, senders := range []int{1, 8} {
		b.Run(fmt.Sprint(senders), func(b *testing.B) {
			took := make([][]float64, len(ways))
			for b.Loop() {
				for i, w := range ways {
					took[i] = append(took[i], cpu(b, func() error {
						return several(senders, func() error {
							for range messages / senders {
								if err := w.send(); err != nil {
									return err
								}
							}
							return nil
						})
					})/float64(messages/senders*senders))
				}
			}
			ratios := make([]float64, len(took[0]))
			for i := range ratios {
				ratios[i] = took[0][i] / took[1][i]
			}
			b.ReportMetric(median(ratios), "push/(http+encryption)")
			for i, w := range ways {
				b.ReportMetric(median(took[i]), w.name+"-µs")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// several calls f concurrently, and returns an error if any does.
func several(n int, f func() error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = f() })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// cpu is the time that this process computes while f runs, user and system, in microseconds.
func cpu(b *testing.B, f func() error) float64 {
	b.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return float64((used() - before).Nanoseconds()) / 1e3
}
