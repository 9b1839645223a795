package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/system"
)

type healthCommand struct {
	database
	Live bool          `help:"Ask only whether the process lives (/healthz), not whether it can work (/readyz)."`
	Wait time.Duration `default:"0s" help:"Ask again until the answer is good, for so long." placeholder:"DURATION"`
}

// Help explains more than a line can.
func (healthCommand) Help() string {
	return `Asks the server that runs on this machine, on its operations listener. It exits with 0 if the answer is good, and with 1
if it isn't; so it serves as a container's health check, and waits for a start in scripts:

  countersign health
  countersign health --wait 30s`
}

// healthPause is the time between two questions.
const healthPause = 200 * time.Millisecond

// Run implements the command.
func (c *healthCommand) Run(w world) error {
	path := map[bool]string{false: "/readyz", true: "/healthz"}[c.Live]
	until := time.Now().Add(c.Wait)
	for {
		said, err := c.ask(w.ctx, path)
		if err == nil {
			return printDone(w, c.JSON, row{{"", "status", said}}, "%s", said)
		}
		if time.Until(until) < healthPause {
			return err
		}
		select {
		case <-w.ctx.Done():
			return err
		case <-time.After(healthPause):
		}
	}
}

func (c *healthCommand) ask(ctx context.Context, path string) (string, error) {
	text, err := c.askOperations(ctx, path)
	return strings.TrimSpace(string(text)), err
}

// askTimeout is how long the operations listener may take for an answer.
const askTimeout = 5 * time.Second

// askOperations asks the operations listener of the server that runs on this database.
func (d database) askOperations(ctx context.Context, path string) ([]byte, error) {
	folder, _, err := d.findAll()
	if err != nil {
		return nil, err
	}
	o, err := readOperator(folder)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := o.ask(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	return io.ReadAll(io.LimitReader(answer, 1<<20))
}

type statusCommand struct{ database }

// Help explains more than a line can.
func (statusCommand) Help() string {
	return `Says whether the server on this machine can work, and how each of its carriers does. It exits with 1 if the server can't
work. A carrier's breaker is open for the countries that it doesn't serve at the moment.`
}

// Run implements the command.
func (c *statusCommand) Run(w world) error {
	text, err := c.askOperations(w.ctx, "/carriers")
	if err != nil {
		return err
	}
	var answer struct{ Carriers []system.Carrier }
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	ready, unready := c.askOperations(w.ctx, "/readyz")
	toRow := func(s system.Carrier) row {
		worst := s.Worst()
		var open []string
		for country, state := range worst {
			if state != "closed" {
				open = append(open, strings.TrimSpace(country+" "+state))
			}
		}
		slices.Sort(open)
		breakers := strings.Join(open, ", ")
		if breakers == "" {
			breakers = "closed"
		}
		if s.Drained {
			breakers = "drained"
		}
		binds, failure := "", ""
		if b := s.Binds; b != nil {
			binds = fmt.Sprintf("%d of %d", b.Up, b.Wanted)
		}
		if f := s.Failed; f != nil {
			failure = strings.Join(strings.Fields(f.At.UTC().Format(time.DateTime)+" "+f.Country+" "+f.Reason.String()+" "+f.Code), " ")
		}
		return row{
			{"CARRIER", "name", s.Name}, {"QUEUED", "queued", s.Queued}, {"ROOM", "queue", s.Queue}, {"AT ONCE", "concurrency", s.Concurrency},
			{"BREAKERS", "", breakers}, {"", "breakers", s.Breakers}, {"", "drained", s.Drained}, {"BINDS", "", binds}, {"", "binds", s.Binds}, {"LAST FAILURE", "", failure}, {"", "last_failure", s.Failed},
		}
	}
	if c.JSON {
		err = printJSON(w, map[string]any{"ready": unready == nil, "carriers": objects(answer.Carriers, toRow)})
		return errors.Join(err, unready)
	}
	if unready == nil {
		fmt.Fprintf(w.stdout, "The server is %s.\n\n", strings.TrimSpace(string(ready)))
	}
	return errors.Join(printRows(w, false, answer.Carriers, toRow), unready)
}
