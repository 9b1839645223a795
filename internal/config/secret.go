package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// password reads a password, if there is one.
func (c *Loaded) password(s passwordConfig) (verify.Secret, error) {
	switch {
	case s == passwordConfig{}:
		return "", nil
	case s.File != "" && s.Env != "":
		return "", errors.New("give one of file and env")
	case s.Env != "":
		return variable(s.Env)
	}
	text, err := c.secretFile(s.File)
	return verify.Secret(strings.TrimRight(text.Reveal(), "\r\n")), err
}

// variable reads an environment variable. Its errors don't quote what may be the secret itself, put
// where the variable's name belongs.
func variable(name string) (verify.Secret, error) {
	if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return "", errors.New("env must be the name of an environment variable: A-Z 0-9 _")
	}
	// Tools that fill variables from files, such as kubectl, keep the file's last line break.
	value := strings.TrimRight(os.Getenv(name), "\r\n")
	if value == "" {
		return "", fmt.Errorf("the environment variable %s is not set", name)
	}
	return verify.Secret(value), nil
}

// authorities reads the certificates to trust; nil for the system's.
func (c *Loaded) authorities(p *yamlconf.Problems, key, file string) *x509.CertPool {
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(c.path(file))
	pool := x509.NewCertPool()
	p.Check(key, err == nil && pool.AppendCertsFromPEM(pem), "must be a readable file with PEM certificates")
	return pool
}

// How to come by a secret: one of ours, in a file; one of a provider's.
const (
	ownSecret   = "to make one: countersign secret create %s"
	theirSecret = "the provider's console shows it"
)

// secret reads a secret from where the configuration says, or says how to come by one. Its errors don't
// quote it.
func (c *Loaded) secret(s secretConfig, hint string) (verify.Secret, error) {
	switch {
	case (s.File == "") == (s.Env == ""):
		return "", errors.New("give one of file and env; " + strings.Replace(hint, "%s", "FILE", 1))
	case s.Env != "":
		return variable(s.Env)
	case strings.HasPrefix(s.File, "whsec_"):
		return "", errors.New("file must be the name of a file, not the secret itself")
	}
	text, err := c.secretFile(s.File)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; %s", err, strings.NewReplacer("%s", c.path(s.File), "make one", "make it").Replace(hint))
	}
	return text, err
}

// secretFile reads a file that only its owner can read.
func (c *Loaded) secretFile(name string) (verify.Secret, error) {
	value, err := keyset.ReadPrivate(c.path(name))
	return verify.Secret(value), err
}
