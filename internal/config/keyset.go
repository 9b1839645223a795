package config

import (
	"fmt"

	"github.com/countersign/countersign/internal/keyset"
)

func (c *Loaded) loadKeys() (*keyset.Set, error) {
	if c.Keyset.Env == "" {
		return keyset.Load(c.path(c.Keyset.File))
	}
	text, err := variable(c.Keyset.Env)
	if err != nil {
		return nil, fmt.Errorf("%w; it must hold what 'countersign keyset create FILE' writes", err)
	}
	return keyset.Parse([]byte(text.Reveal()))
}

func (c *Loaded) reloadKeys() error {
	next, err := c.loadKeys()
	if err == nil {
		c.Keys.Replace(next)
	}
	return err
}
