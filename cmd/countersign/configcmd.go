package main

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/config"
)

// loadConfig reads a configuration, which a command line named.
func loadConfig(path string) (*config.Loaded, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, usageError(err.Error())
	}
	return c, nil
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
	_, err = fmt.Fprint(w.stdout, conf.Print())
	return err
}

type configExample struct{}

func (c *configExample) Run(w world) error {
	_, err := fmt.Fprint(w.stdout, config.Example())
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
	_, err := fmt.Fprint(w.stdout, config.Reference())
	return err
}
