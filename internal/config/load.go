// Package config reads the configuration of a server. It decodes a YAML file, checks it, with the files and
// variables that it names, and builds what the server is wired from: keys, certificate, settings, routes and
// carriers. An error says all that is wrong with a file.
package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/geo"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/web"
	"github.com/countersign/countersign/internal/yamlconf"
)

// A Loaded is a configuration that was found right, with what its files and variables hold.
type Loaded struct {
	Config
	dir  string // of the file
	ways []way  // as the carriers

	costs  []money.Table // as the carriers
	prices money.Prices
	places *geo.Places // nil: nobody knows places

	Keys     *keyset.Set
	TLS      *tls.Config        // of the public listener; nil: no TLS
	acme     *certifier         // where TLS has its certificates from; nil: from files
	Postgres *store.Postgres    // nil: a file in the data folder, or Shards
	Shards   []store.Shard      // the databases, if there are several
	Clients  web.Limits         // bound the public listener's
	Provider *operator.Provider // signs operators in; nil: none does

	// reloads are what may change while we run, as it was before it was loaded.
	reloads []reloader
}

// An Error is all that is wrong with a file.
type Error struct {
	File     string
	Problems yamlconf.Problems
}

func (e *Error) Error() string { return e.Problems.Describe(e.File) }

// Load reads a file. Its error says all that is wrong with it: an [Error], unless the file can't be read.
func Load(path string) (*Loaded, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w\nTo begin with one: countersign init, or countersign config example > %s", err, path)
	}
	if err != nil {
		return nil, err
	}
	return Read(text, path)
}

// Read reads the text of a configuration, which came from path. Relative paths in it start from path's folder.
func Read(text []byte, path string) (*Loaded, error) {
	c := &Loaded{dir: filepath.Dir(path)}
	problems := yamlconf.Decode(text, &c.Config)
	c.check(&problems)
	if len(problems.List) > 0 {
		return nil, &Error{path, problems}
	}
	return c, nil
}

// Locate says where the database of a configuration is: in a folder, in a PostgreSQL, or in several shards. The rest of the
// file may be wrong.
func Locate(path string) (folder string, pg *store.Postgres, shards []store.Shard, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, nil, err
	}
	c := Loaded{dir: filepath.Dir(path)}
	problems := yamlconf.Decode(text, &c.Config)
	c.checkDatabase(&problems)
	problems.List = slices.DeleteFunc(problems.List, func(p yamlconf.Problem) bool { return !strings.HasPrefix(p.Key, "database") })
	if len(problems.List) > 0 {
		return "", nil, nil, &Error{path, problems}
	}
	return c.Folder(), c.Postgres, c.Shards, nil
}

// Folder is the folder of the database.
func (c *Loaded) Folder() string { return c.path(c.Data) }

// path resolves a path of the file.
func (c *Loaded) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// mayChange notes files that are loaded again when they change. Call it before loading them.
func (c *Loaded) mayChange(what string, load func() error, files ...string) {
	c.reloads = append(c.reloads, reloader{what: what, load: load, files: files, last: changes(files)})
}
