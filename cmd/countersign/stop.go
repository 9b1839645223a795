package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/verify"
)

type countryCommand struct {
	Stop  countryStop  `cmd:"" help:"Stop messages to a country, of all projects, within a second."`
	Allow countryAllow `cmd:"" help:"Allow messages to a country again."`
	List  countryList  `cmd:"" help:"List what operators have stopped: countries and carriers."`
}

type countryStop struct {
	database
	Country string `arg:"" help:"Country in two letters, or 001 for numbers of no country."`
	Note    string `help:"Why: the list and the audit log say it. At most 200 printable characters." placeholder:"TEXT"`
}

// Help explains more than a line can.
func (countryStop) Help() string {
	return `Stops all messages to a country's numbers on all servers, without a restart: for the night in which somebody has messages sent
there at your expense. Starts are refused with country_stopped, and what waits for a carrier isn't sent. It holds until
countersign country allow. To decide where one project may send: countersign project policy --country.

  countersign country stop LK --note 'wave since 02:10'`
}

func (c *countryStop) Run(w world) error {
	country := strings.ToUpper(c.Country)
	return c.administer(w.ctx, func(a *admin.Service) error {
		if err := a.StopCountry(w.ctx, actor(), country, c.Note); err != nil {
			return inFlags(err)
		}
		return printDone(w, c.JSON, row{{"", "country", country}, {"", "stopped", true}}, "No messages go to %s from now on.", country)
	})
}

type countryAllow struct {
	database
	Country string `arg:"" help:"Country in two letters, or 001 for numbers of no country."`
}

func (c *countryAllow) Run(w world) error {
	country := strings.ToUpper(c.Country)
	return c.administer(w.ctx, func(a *admin.Service) error {
		if err := a.AllowCountry(w.ctx, actor(), country); err != nil {
			return fmt.Errorf("country %s: %w", country, err)
		}
		return printDone(w, c.JSON, row{{"", "country", country}, {"", "stopped", false}}, "Messages go to %s again.", country)
	})
}

type countryList struct{ database }

func (c *countryList) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		all, err := a.Stops(w.ctx)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, func(s verify.Stop) row {
			return row{{"KIND", "kind", s.Kind}, {"NAME", "name", s.Name}, {"SINCE", "since", s.At}, {"ACTOR", "actor", s.Actor}, {"NOTE", "note", s.Note}}
		})
	})
}

type carrierDrain struct {
	database
	Carrier string `arg:"" help:"Carrier's name, as the configuration has it."`
	Note    string `help:"Why: the list and the audit log say it. At most 200 printable characters." placeholder:"TEXT"`
}

// Help explains more than a line can.
func (carrierDrain) Help() string {
	return `Gives a carrier no more messages, on all servers, without a restart. What it has already stays with it, and its receipts are
taken. What waits goes to other carriers, or waits for countersign carrier resume if there are none.

  countersign carrier drain gateway --note 'maintenance until 06:00'`
}

func (c *carrierDrain) Run(w world) error {
	if err := c.known(c.Carrier); err != nil {
		return err
	}
	return c.administer(w.ctx, func(a *admin.Service) error {
		if err := a.DrainCarrier(w.ctx, actor(), c.Carrier, c.Note); err != nil {
			return inFlags(err)
		}
		return printDone(w, c.JSON, row{{"", "carrier", c.Carrier}, {"", "drained", true}}, "%s gets no more messages.", c.Carrier)
	})
}

// known says what is wrong with the name of a carrier, where a configuration says which there are.
func (d database) known(carrier string) error {
	if !d.byConfig() {
		return nil
	}
	conf, err := loadConfig(d.resolve().Config)
	if err != nil {
		return err
	}
	var names []string
	for i := range conf.Carriers {
		names = append(names, conf.Carriers[i].Name)
	}
	if !slices.Contains(names, carrier) {
		return usageError(fmt.Sprintf("there is no carrier %q; the configuration has %s", carrier, strings.Join(names, ", ")))
	}
	return nil
}

type carrierResume struct {
	database
	Carrier string `arg:"" help:"Carrier's name."`
}

func (c *carrierResume) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		if err := a.ResumeCarrier(w.ctx, actor(), c.Carrier); err != nil {
			return fmt.Errorf("carrier %s: %w", c.Carrier, err)
		}
		return printDone(w, c.JSON, row{{"", "carrier", c.Carrier}, {"", "drained", false}}, "%s gets messages again.", c.Carrier)
	})
}
