package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"text/tabwriter"
	"time"

	"github.com/countersign/countersign/internal/bench"
)

// binds times window is the highest number of messages without a response.
const binds, window = 4, 100

// An arm is a server with one kind of carrier.
type arm struct {
	name   string
	in     *installation
	server *program
	sink   net.Listener // of the SMSC, or of HTTP between runs
	smsc   *bench.SMSC

	rates, cpus, rateRatios, cpuRatios, messages []float64
}

// compareCarriers compares the server with an SMPP carrier, without receipts and with them, to the
// server with its HTTP carrier. The three take turns in one run.
func compareCarriers(binaries string) error {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| carrier\t| concurrent\t| verifications/s\t| to HTTP's\t| CPU µs\t| to HTTP's\t| message p99 ms\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, c := range numbers(*atOnce) {
		arms, err := measureCarriers(binaries, c)
		if err != nil {
			return fmt.Errorf("%d at once: %w", c, err)
		}
		for _, a := range arms {
			fmt.Fprintf(t, "| %s\t| %d\t| %.0f\t| %.2f\t| %.0f\t| %.2f\t| %.1f\t|\n",
				a.name, c, median(a.rates), median(a.rateRatios), median(a.cpus), median(a.cpuRatios), median(a.messages))
		}
	}
	return t.Flush()
}

// measureCarriers runs the rounds at one concurrency, on servers of their own.
func measureCarriers(binaries string, concurrency int) (arms []*arm, err error) {
	defer func() {
		for _, a := range arms {
			a.stop()
		}
	}()
	for _, name := range []string{"HTTP", "SMPP", "SMPP with receipts"} {
		a := &arm{name: name}
		arms = append(arms, a)
		if err := a.begin(binaries); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for range *rounds {
		var base outcome
		for i, a := range arms {
			r, err := a.drive(concurrency)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.name, err)
			}
			if i == 0 {
				base = r
			}
			a.rates, a.cpus, a.messages = append(a.rates, r.PerSecond), append(a.cpus, r.cpu), append(a.messages, r.Message.P99)
			a.rateRatios, a.cpuRatios = append(a.rateRatios, r.PerSecond/base.PerSecond), append(a.cpuRatios, r.cpu/base.cpu)
		}
	}
	for _, a := range arms {
		log.Printf("%3d at once, %-18s %6.0f/s, %4.0f µs CPU; to HTTP's %.2f and %.2f", concurrency, a.name, median(a.rates), median(a.cpus), median(a.rateRatios), median(a.cpuRatios))
	}
	return arms, nil
}

func (a *arm) begin(binaries string) (err error) {
	if a.sink, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	addr := a.sink.Addr().String()
	change := posting(addr, "")
	if a.name == "HTTP" {
		a.sink.Close() // each run listens on it again
	} else {
		a.smsc = &bench.SMSC{}
		go a.smsc.Serve(a.sink)
		change = replacing(
			"\ncarriers:\n", fmt.Sprintf("\ncarriers:\n  - name: smsc\n    smpp: {addr: %q, plaintext: true, system_id: bench, binds: %d, window: %d, receipts: %t}\n",
				addr, binds, window, a.name != "SMPP"),
			"  sms:\n    - \"gateway\"\n", "  sms:\n    - smsc\n",
		)
	}
	if a.in, err = install(binaries, change, onOneDatabase(false)...); err != nil {
		return err
	}
	if a.server, err = a.in.serve(); err != nil || a.smsc == nil {
		return err
	}
	for range 500 {
		if a.smsc.Binds() == binds {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%d of %d binds", a.smsc.Binds(), binds)
}

func (a *arm) drive(concurrency int) (r outcome, err error) {
	if a.smsc == nil {
		return drive(a.in, &database{}, []*program{a.server}, a.sink.Addr().String(), concurrency)
	}
	before := a.smsc.Receipts()
	r.Result, err = bench.Run(context.Background(), bench.Options{
		URLs: []string{a.server.url}, PIDs: []int{a.server.cmd.Process.Pid}, Keys: a.in.keys,
		SMSC: a.smsc, Concurrency: concurrency, Duration: *duration,
	})
	if err != nil {
		return r, err
	}
	if err := r.sum(); err != nil {
		return r, err
	}
	if n := a.smsc.Receipts() - before; a.name != "SMPP" && n < r.Verifications/2 {
		return r, fmt.Errorf("%d receipts of %d messages", n, r.Verifications)
	}
	return r, nil
}

func (a *arm) stop() {
	if a.server != nil {
		a.server.stop()
	}
	a.sink.Close() // closing it twice does no harm
	if a.in != nil {
		os.RemoveAll(a.in.dir)
	}
}
