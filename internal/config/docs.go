package config

import (
	_ "embed"
	"fmt"

	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/yamlconf"
)

//go:embed config.go
var source []byte

// docsOf are the comments of the types that a source file declares.
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

// Print writes a configuration with all defaults filled in, and comments. It holds no secrets.
func (c Config) Print() string { return docsOf(source).Print(c, false) }

// Example is a configuration with every key. A small one is a [Beginning].
func Example() string {
	return fmt.Sprintf(`# A configuration of Countersign. To begin:
#
#   countersign config example --all > countersign.yaml
#   countersign keyset create keyset.json
#   countersign secret create gateway.secret
#   countersign project create "My project"
#   countersign key create --project "My project"
#   countersign serve

%s`, docsOf(source).Print(preset(), true))
}

// Schema is the JSON Schema of a configuration, and of a provider's API where api says so.
func Schema(api bool) []byte {
	if api {
		return docsOf(provider.Source).Schema(provider.Spec{}, "A provider's API, for Countersign")
	}
	return docsOf(source).Schema(Config{}, "Countersign's configuration")
}

// Reference is docs/configuration.md.
func Reference() string {
	return fmt.Sprintf(`# Configuration

<!-- Made by: countersign config reference > docs/configuration.md -->

countersign serve reads one YAML file. An unknown key, a wrong type or a value out of its range is
an error; all of them are said at once, with their lines. "countersign config example" prints a small
one to begin with, "countersign config check" says whether one is right, "countersign config print"
shows it with all defaults. Secrets don't stand in the file: it names files or environment variables.

Editors complete and check the keys by "countersign config schema > countersign.schema.json" and a first
line in the file: "# yaml-language-server: $schema=countersign.schema.json".

On SIGHUP, and when they change, the keyset and the certificate are read again. Everything else
needs a restart.

%s
## A provider's API

The file that carriers[].provider.api names. [providers.md](providers.md) explains how to write one; "countersign
config preset NAME" prints one of a provider that is known.

%s`, docsOf(source).Table(Config{}), docsOf(provider.Source).Table(provider.Spec{}))
}
