package main

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/yamlconf"
)

//go:embed config.go
var configSource []byte

// configDocs are the comments of [Config].
func configDocs() yamlconf.Docs { return docsOf(configSource) }

func docsOf(source []byte) yamlconf.Docs {
	docs, err := yamlconf.ParseDocs(source)
	if err != nil {
		panic(err) // it compiled
	}
	return docs
}

// preset is a configuration with every default.
func preset() Config {
	var c Config
	yamlconf.Decode(nil, &c)
	return c
}

type configCommand struct {
	Check     configCheck     `cmd:"" help:"Say all that is wrong with a file. Exits with 2 if anything is."`
	Print     configPrint     `cmd:"" help:"Print a file with all defaults filled in, and comments. Holds no secrets."`
	Example   configExample   `cmd:"" help:"Print a file to begin with."`
	Preset    configPreset    `cmd:"" help:"Print how a provider's API is described, to begin a description with. Without a name, the names."`
	Reference configReference `cmd:"" hidden:"" help:"Print docs/configuration.md."`
}

type configFile struct {
	Config string `default:"countersign.yaml" help:"Configuration file (default ${default})." placeholder:"FILE"`
}

type configCheck struct{ configFile }

func (c *configCheck) Run(w world) error {
	if _, err := loadConfig(c.Config); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w.stdout, "%s is right.\n", c.Config)
	return err
}

type configPrint struct{ configFile }

func (c *configPrint) Run(w world) error {
	conf, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(w.stdout, configDocs().Print(conf.Config, false))
	return err
}

type configExample struct{}

func (c *configExample) Run(w world) error {
	_, err := fmt.Fprintf(w.stdout, `# A configuration of Countersign. To begin:
#
#   countersign config example > countersign.yaml
#   countersign keyset create keyset.json
#   countersign secret create gateway.secret
#   countersign project create --config countersign.yaml "My project"
#   countersign key create --config countersign.yaml --project PROJECT
#   countersign serve --config countersign.yaml

%s`, configDocs().Print(preset(), true))
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

type configReference struct{}

func (c *configReference) Run(w world) error {
	_, err := fmt.Fprintf(w.stdout, `# Configuration

<!-- Made by: countersign config reference > docs/configuration.md -->

countersign serve reads one YAML file. An unknown key, a wrong type or a value out of its range is
an error; all of them are said at once, with their lines. "countersign config example" prints a file
to begin with, "countersign config check" says whether one is right, "countersign config print"
shows it with all defaults. Secrets don't stand in the file: it names files or environment variables.

On SIGHUP, and when they change, the keyset and the certificate are read again. Everything else
needs a restart.

%s
## A provider's API

The file that carriers[].provider.api names. [providers.md](providers.md) explains how to write one; "countersign
config preset NAME" prints one of a provider that is known.

%s`, configDocs().Table(Config{}), docsOf(provider.Source).Table(provider.Spec{}))
	return err
}
