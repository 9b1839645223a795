package main

import (
	"fmt"
	"net"
	"os"
	"text/tabwriter"
	"time"

	"github.com/countersign/countersign/internal/bench"
)

type benchCommand struct {
	URL         []string      `name:"url" default:"http://127.0.0.1:8080" help:"The server (default ${default}); several replicas of it may be named." placeholder:"URL"`
	Project     string        `required:"" help:"Project id." placeholder:"ID"`
	Face        string        `enum:"signalwire,v1" default:"signalwire" help:"The API to drive, signalwire or v1 (default ${default})." placeholder:"API"`
	Sink        string        `default:"127.0.0.1:9000" help:"Address to take messages on: the server's HTTP carrier must post there (default ${default})." placeholder:"HOST:PORT"`
	Concurrency int           `default:"64" help:"Verifications at once, 1 to 4096 (default ${default})."`
	Duration    time.Duration `default:"10s" help:"How long (default ${default})."`
	PID         []int         `name:"pid" help:"Process whose CPU time to take, such as the server's; may be repeated. Linux only." placeholder:"PID"`
	output
}

// Help implements kong's extended help.
func (c *benchCommand) Help() string {
	return `It drives a running server through whole verifications: start, take the message, check the code.
Every one goes to another number in +1 202, so point the server's carriers at the sink only.
The API token is read from the environment variable COUNTERSIGN_TOKEN.`
}

// Run implements the command.
func (c *benchCommand) Run(w world) error {
	if c.Concurrency < 1 || c.Concurrency > 4096 {
		return usageError("--concurrency: must be 1 to 4096")
	}
	if c.Duration < time.Second || c.Duration > 24*time.Hour {
		return usageError("--duration: must be 1s to 24h")
	}
	token := os.Getenv("COUNTERSIGN_TOKEN") // not a flag: other users can see a command line
	if token == "" {
		return usageError("set the environment variable COUNTERSIGN_TOKEN to an API token of the project")
	}
	sink, err := net.Listen("tcp", c.Sink)
	if err != nil {
		return fmt.Errorf("--sink: %w", err)
	}
	defer sink.Close()
	r, err := bench.Run(w.ctx, bench.Options{
		URLs: c.URL, Keys: []bench.Key{{Project: c.Project, Token: token}}, Face: bench.Face(c.Face), Sink: sink, Concurrency: c.Concurrency, Duration: c.Duration, PIDs: c.PID,
		Progress: func(done int, elapsed time.Duration) {
			fmt.Fprintf(w.stderr, "\r%d verifications in %v, %.0f/s ", done, elapsed.Round(time.Second), float64(done)/elapsed.Seconds())
		},
	})
	fmt.Fprintln(w.stderr)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(w, r)
	} else {
		err = c.table(w, r)
	}
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%d verifications failed; the first one: %s", r.Failed, r.FirstFailure)
	}
	return err
}

func (c *benchCommand) table(w world, r bench.Result) error {
	fmt.Fprintf(w.stdout, "%d verifications in %.1f s, %d at once: %.0f/s\n\n", r.Verifications, r.Seconds, r.Concurrency, r.PerSecond)
	t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tp50 ms\tp99 ms\t")
	for _, step := range []struct {
		name string
		bench.Latency
	}{{"start", r.Start}, {"message", r.Message}, {"check", r.Check}} {
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t\n", step.name, step.P50, step.P99)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, cpu := range r.CPU {
		fmt.Fprintf(w.stdout, "\nprocess %d: %.2f s of CPU, %.0f µs a verification\n", cpu.PID, cpu.Seconds, cpu.PerVerification)
	}
	return nil
}
