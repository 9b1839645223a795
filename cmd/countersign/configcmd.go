package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/config"
)

// loadConfig reads a configuration, which a command line named.
func loadConfig(path string) (*config.Loaded, error) { return named(config.Load(path)) }

// named is a configuration as the command line gave it: a fault in it is the command line's.
func named(c *config.Loaded, err error) (*config.Loaded, error) {
	if err != nil {
		return nil, fileError{err}
	}
	return c, nil
}

type configCommand struct {
	Check     configCheck     `cmd:"" help:"Say all that is wrong with a file. Exits with 2 if anything is."`
	Print     configPrint     `cmd:"" help:"Print a file with all defaults filled in, and comments. Holds no secrets."`
	Example   configExample   `cmd:"" help:"Print a file to begin with."`
	Preset    configPreset    `cmd:"" help:"Print how a provider's API is described, to begin a description with. Without a name, the names."`
	Schema    configSchema    `cmd:"" help:"Print the JSON Schema of a configuration, with which editors complete and check its keys."`
	Reference configReference `cmd:"" hidden:"" help:"Print docs/configuration.md."`
}

// defaultConfig is where a configuration is without a flag and a variable.
const defaultConfig = "countersign.yaml"

// configFile is the flag of every command that reads a whole configuration.
type configFile struct {
	Config string `short:"c" help:"Configuration file (default: $$COUNTERSIGN_CONFIG, then ${config})." placeholder:"FILE"`
}

// path says which file that is.
func (c configFile) path() string {
	return cmp.Or(c.Config, os.Getenv("COUNTERSIGN_CONFIG"), defaultConfig)
}

type configCheck struct {
	configFile
	File    string        `arg:"" optional:"" help:"Configuration file; - for standard input." placeholder:"FILE"`
	Connect bool          `help:"Also try what it names: database, SMSCs, trunks, providers' hosts, receivers, certificates. Sends no message."`
	Timeout time.Duration `default:"10s" help:"Limit of each such try, 1s to 1m (default ${default})." placeholder:"DURATION"`
	output
}

// Help explains more than a line can.
func (configCheck) Help() string {
	return `With --connect, it opens the database, binds to each SMSC and unbinds, asks each SIP trunk for our registrations or its
options, makes a TLS connection to each provider's and receiver's host, and looks at certificates and at public.url. All
run concurrently. No message is sent, nothing is stored, and credentials of providers aren't tried.

Exit status: 0 if the file is right and nothing failed (warnings may be there), 1 if something failed to connect, 2 if the
file is wrong.

  countersign config check countersign.yaml
  countersign config check --connect
  countersign config check --connect --json`
}

// Run implements the command.
func (c *configCheck) Run(w world) error {
	if c.File != "" && c.Config != "" {
		return usageError("config check: name one file, by --config or without")
	}
	if c.Timeout < time.Second || c.Timeout > time.Minute {
		return usageError("--timeout: must be 1s to 1m")
	}
	path, conf, err := c.load(w)
	if err != nil {
		return err
	}
	var all []tried
	if c.Connect {
		progress := w.progress("tried", "connections")
		if c.JSON {
			progress = func(int, int) {}
		}
		all = connect(w.ctx, conf, c.Timeout, progress)
	}
	if c.JSON {
		facts := map[string]any{"file": path, "warnings": append([]string{}, conf.Warnings()...)}
		if c.Connect {
			facts["connections"] = objects(all, triedRow)
		}
		return errors.Join(printJSON(w, facts), failedTries(all))
	}
	for _, warning := range conf.Warnings() {
		fmt.Fprintln(w.stderr, "warning:", warning)
	}
	if _, err = fmt.Fprintf(w.stdout, "%s is right.\n", path); err != nil || !c.Connect {
		return err
	}
	fmt.Fprintln(w.stdout)
	return printConnections(w, all)
}

// load reads the file that the command line names, or standard input.
func (c *configCheck) load(w world) (path string, conf *config.Loaded, err error) {
	path = cmp.Or(c.File, c.path())
	if path != "-" {
		conf, err = loadConfig(path)
		return path, conf, err
	}
	path = "standard input"
	text, err := io.ReadAll(w.stdin)
	if err != nil {
		return path, nil, err
	}
	conf, err = named(config.Read(text, path))
	return path, conf, err
}

type configPrint struct {
	configFile
	Shard string `help:"Which of database.shards --live is about." placeholder:"NAME"`
	Live  bool   `help:"Print also what operators have changed while servers run, which holds beside the file or in place of it: what, when and who."`
}

func (c *configPrint) Run(w world) error {
	conf, err := loadConfig(c.path())
	if err != nil {
		return err
	}
	if _, err = fmt.Fprint(w.stdout, conf.Print()); err != nil || !c.Live {
		return err
	}
	return database{Config: c.path(), Shard: c.Shard}.administer(w.ctx, func(a *admin.Service) error {
		all, err := liveChanges(w.ctx, a)
		if err != nil {
			return err
		}
		return printLive(w, all, orphans(conf.Rules(), all))
	})
}

// printLive prints what was changed while servers run as comments, so that the whole is a configuration still.
func printLive(w world, all []liveChange, gone []string) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w.stdout, "\n# Nothing was changed while servers run.")
		return err
	}
	var table strings.Builder
	to := w
	to.stdout = &table
	if err := printRows(to, false, all, liveChange.row); err != nil {
		return err
	}
	lines := []string{"", "# Changed while servers run. It holds beside the configuration above, and its weights in place of those there."}
	for line := range strings.Lines(table.String()) {
		lines = append(lines, "# "+strings.TrimRight(line, "\n"))
	}
	for _, name := range gone {
		lines = append(lines, "# The configuration has no route and carrier "+name+": this weight changes nothing.")
	}
	_, err := fmt.Fprintln(w.stdout, strings.Join(lines, "\n"))
	return err
}

type configExample struct {
	Preset string `help:"Carrier of the example: a provider, such as twilio, or smpp, sip or http (default: http)." placeholder:"NAME" xor:"what"`
	All    bool   `help:"Print every key, with its meaning and its default." xor:"what"`
}

func (c *configExample) Run(w world) error {
	if c.All {
		_, err := fmt.Fprint(w.stdout, config.Example())
		return err
	}
	b := config.Beginning{Carrier: cmp.Or(c.Preset, "http")}
	if !b.Known() {
		return usageError(fmt.Sprintf("--preset: there is no %q; there are %s", c.Preset, strings.Join(config.Beginnings(), ", ")))
	}
	_, err := fmt.Fprint(w.stdout, b.Example().Text())
	return err
}

type configPreset struct {
	Name string `arg:"" optional:"" help:"Name of the preset."`
}

func (c *configPreset) Run(w world) error {
	if c.Name == "" {
		_, err := fmt.Fprintln(w.stdout, strings.Join(provider.Presets(), "\n"))
		return err
	}
	text, err := provider.PresetText(c.Name)
	if err != nil {
		return usageError(fmt.Sprintf("there is no preset %q; there are %s", c.Name, strings.Join(provider.Presets(), ", ")))
	}
	_, err = fmt.Fprint(w.stdout, text)
	return err
}

type configSchema struct {
	API bool `help:"Of the description of a provider's API, which carriers[].provider.api names." name:"api"`
}

// Help implements [kong.HelpProvider].
func (*configSchema) Help() string {
	return "With this first line in countersign.yaml, many editors use it:\n\n" +
		"    # yaml-language-server: $schema=countersign.schema.json\n\n" +
		"    countersign config schema > countersign.schema.json"
}

func (c *configSchema) Run(w world) error {
	_, err := w.stdout.Write(config.Schema(c.API))
	return err
}

type configReference struct{}

func (c *configReference) Run(w world) error {
	_, err := fmt.Fprint(w.stdout, config.Reference())
	return err
}
