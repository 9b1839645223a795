package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type countryCommand struct {
	Stop  countryStop  `cmd:"" help:"Stop messages to a country, of all projects, within a second."`
	Watch countryWatch `cmd:"" help:"Count and log messages to a country, which go on."`
	Allow countryAllow `cmd:"" help:"Allow messages to a country again, and watch it no longer."`
	Limit countryLimit `cmd:"" help:"Show or change how many messages go to a country, and what one may be at most."`
	List  countryList  `cmd:"" help:"List what operators have changed while servers run: countries, carriers and weights."`
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
	if err := c.everywhere(w.ctx, func(a *admin.Service) error { return a.StopCountry(w.ctx, actor(), country, c.Note) }); err != nil {
		return inFlags(err)
	}
	return printDone(w, c.JSON, row{{"", "country", country}, {"", "stopped", true}}, "No messages go to %s from now on.", country)
}

type countryWatch struct {
	database
	Country string `arg:"" help:"Country in two letters, or 001 for numbers of no country."`
	Note    string `help:"Why: the list and the audit log say it. At most 200 printable characters." placeholder:"TEXT"`
}

// Help explains more than a line can.
func (countryWatch) Help() string {
	return `Has all servers log each message to a country's numbers and count it in the metric countersign_watched_messages_total, within a
second and without a restart. The messages go on. A country that was stopped is allowed by this. It holds until countersign
country allow or stop.

  countersign country watch LK --note 'opened yesterday'`
}

func (c *countryWatch) Run(w world) error {
	country := strings.ToUpper(c.Country)
	if err := c.everywhere(w.ctx, func(a *admin.Service) error { return a.WatchCountry(w.ctx, actor(), country, c.Note) }); err != nil {
		return inFlags(err)
	}
	return printDone(w, c.JSON, row{{"", "country", country}, {"", "watched", true}}, "Messages to %s go on, and are counted and logged.", country)
}

type countryAllow struct {
	database
	Country string `arg:"" help:"Country in two letters, or 001 for numbers of no country."`
}

func (c *countryAllow) Run(w world) error {
	country := strings.ToUpper(c.Country)
	if err := c.everywhere(w.ctx, func(a *admin.Service) error { return a.AllowCountry(w.ctx, actor(), country) }); err != nil {
		return fmt.Errorf("country %s: %w", country, err)
	}
	return printDone(w, c.JSON, row{{"", "country", country}, {"", "stopped", false}}, "Messages go to %s again.", country)
}

type countryLimit struct {
	database
	Country      string `arg:"" help:"Country in two letters, or 001 for numbers of no country."`
	Project      string `help:"Limit one project's messages there (default: those of all projects together)." placeholder:"PROJECT"`
	HourMessages string `help:"Most messages in an hour, of UTC; 'none' for any number." placeholder:"N|none"`
	DayMessages  string `help:"Most messages in a day." placeholder:"N|none"`
	MaxPrice     string `help:"Most that one message may be: what its carrier takes and what the project is charged; of a call, for its first minute." placeholder:"AMOUNT|none"`
	Note         string `help:"Why: the list and the audit log say it. At most 200 printable characters." placeholder:"TEXT"`
}

// Help explains more than a line can.
func (countryLimit) Help() string {
	return `Without a limit's flag, shows the limit and what of it is used: docs/money.md.

  countersign country limit LK --hour-messages 200 --day-messages 1000
  countersign country limit LK --project shop --max-price 0.15
  countersign country limit LK --hour-messages none --day-messages none

It holds on all servers within a second. Starts beyond it are refused with country_message_limit or country_price_limit, and
nothing is sent or charged. What was sent before in the same hour and day counts.`
}

func (c *countryLimit) Run(w world) error {
	country := strings.ToUpper(c.Country)
	var wrong []string
	change := admin.CountryLimitChange{
		MaxPrice: amountCap("max-price", c.MaxPrice, &wrong), Note: c.Note,
		HourMessages: numberCap("hour-messages", c.HourMessages, &wrong), DayMessages: numberCap("day-messages", c.DayMessages, &wrong),
	}
	if len(wrong) > 0 {
		return usageError(strings.Join(wrong, "; "))
	}
	limit := func(a *admin.Service, p verify.ProjectID) error {
		l := verify.NoCountryLimit(p, country)
		all, err := a.CountryLimits(w.ctx)
		if i := slices.IndexFunc(all, func(o verify.CountryLimit) bool { return o.Key() == l.Key() }); i >= 0 {
			l = all[i]
		}
		changes := change.MaxPrice != nil || change.HourMessages != nil || change.DayMessages != nil
		if !changes && c.Note != "" {
			return usageError("--note says why a limit is changed: give --hour-messages, --day-messages or --max-price as well")
		}
		if err == nil && changes {
			l, err = a.LimitCountry(w.ctx, actor(), p, country, change)
		}
		if err != nil {
			return inFlags(err)
		}
		used, err := a.CountryUse(w.ctx, l)
		if err != nil {
			return err
		}
		return showCountryLimit(w, c.JSON, l, used)
	}
	if c.Project == "" {
		return c.administer(w.ctx, func(a *admin.Service) error { return limit(a, "") })
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error { return limit(admin.New(st), p.ID) })
}

func showCountryLimit(w world, asJSON bool, l verify.CountryLimit, used verify.Spent) error {
	r := row{{"country", "country", l.Country}, {"project", "project", cmp.Or(string(l.Project), "all")}}
	price := "any"
	if l.MaxPrice != verify.NoCap {
		price = l.MaxPrice.String()
		r = append(r, row{{"", "max_price", price}}...)
	}
	r = append(r, row{{"max-price", "", price}}...)
	messages := func(name string, used, most int) {
		if most == verify.NoCap {
			r = append(r, row{{name, "", "any number"}}...)
			return
		}
		key := strings.ReplaceAll(name, "-", "_")
		r = append(r, row{{name, "", fmt.Sprintf("%d of %d", used, most)}, {"", key, most}, {"", key + "_used", used}}...)
	}
	messages("hour-messages", used.Hour.Messages, l.HourMessages)
	messages("day-messages", used.Day.Messages, l.DayMessages)
	return printSettings(w, asJSON, r)
}

type countryList struct{ database }

func (c *countryList) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		all, err := liveChanges(w.ctx, a)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, liveChange.row)
	})
}

type carrierDrain struct {
	database
	Carrier string `arg:"" help:"Carrier's name, as the configuration has it."`
	Force   bool   `help:"Drain any name where --data names the database, so that no configuration says which carriers there are."`
	Note    string `help:"Why: the list and the audit log say it. At most 200 printable characters." placeholder:"TEXT"`
}

// Help explains more than a line can.
func (carrierDrain) Help() string {
	return `Gives a carrier no more messages, on all servers, without a restart. What it has already stays with it, and its receipts are
taken. What waits goes to other carriers, or waits for countersign carrier resume if there are none.

  countersign carrier drain gateway --note 'maintenance until 06:00'`
}

func (c *carrierDrain) Run(w world) error {
	if !c.byConfig() && !c.Force {
		return usageError("--config: name the configuration, which says whether there is such a carrier; --force drains any name")
	}
	if err := c.known(c.Carrier); err != nil {
		return err
	}
	if err := c.everywhere(w.ctx, func(a *admin.Service) error { return a.DrainCarrier(w.ctx, actor(), c.Carrier, c.Note) }); err != nil {
		return inFlags(err)
	}
	return printDone(w, c.JSON, row{{"", "carrier", c.Carrier}, {"", "drained", true}}, "%s gets no more messages.", c.Carrier)
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
	if err := c.everywhere(w.ctx, func(a *admin.Service) error { return a.ResumeCarrier(w.ctx, actor(), c.Carrier) }); err != nil {
		return fmt.Errorf("carrier %s: %w", c.Carrier, err)
	}
	return printDone(w, c.JSON, row{{"", "carrier", c.Carrier}, {"", "drained", false}}, "%s gets messages again.", c.Carrier)
}
