package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/keyset"
)

type keysetCommand struct {
	Create  keysetCreate  `cmd:"" help:"Make a keyset with one key, in a new file."`
	List    keysetList    `cmd:"" help:"List a keyset's keys."`
	Add     keysetAdd     `cmd:"" help:"Add a key. It makes nothing until it is promoted."`
	Promote keysetPromote `cmd:"" help:"Have a key make new rows, once every server has read the file. The others still check theirs."`
	Remove  keysetRemove  `cmd:"" help:"Remove a key. What it made can't be checked any more."`
}

type keysetFile struct {
	output
	File string `arg:"" help:"Keyset file."`
}

type keyID struct {
	ID uint32 `arg:"" help:"Key id, as 'keyset list' shows it."`
}

type keysetCreate struct{ keysetFile }

func (c *keysetCreate) Run(w world) error {
	set, err := keyset.Create(c.File)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already; it is not replaced, since what it made could then not be checked", c.File)
	}
	if err != nil {
		return err
	}
	return printDone(w, c.JSON, row{{"", "file", c.File}, {"", "id", set.Primary()}},
		"Made %s with key %d. Keep a copy in a safe place, apart from backups of the database.", c.File, set.Primary())
}

type keysetList struct{ keysetFile }

func (c *keysetList) Run(w world) error {
	all, err := keyset.Keys(c.File)
	if err != nil {
		return err
	}
	return printRows(w, c.JSON, all, func(k keyset.Key) row {
		return row{{"KEY", "id", k.ID}, {"PRIMARY", "primary", k.Primary}}
	})
}

type keysetAdd struct{ keysetFile }

func (c *keysetAdd) Run(w world) error {
	id, err := keyset.Add(c.File)
	if err != nil {
		return err
	}
	return printDone(w, c.JSON, row{{"", "file", c.File}, {"", "id", id}},
		"Added key %d. When every server has read the file: countersign keyset promote %s %d", id, c.File, id)
}

type keysetPromote struct {
	keysetFile
	keyID
}

func (c *keysetPromote) Run(world) error { return keyset.Promote(c.File, c.ID) }

type keysetRemove struct {
	keysetFile
	keyID
}

func (c *keysetRemove) Run(world) error { return keyset.Remove(c.File, c.ID) }

type secretCommand struct {
	Create secretCreate `cmd:"" help:"Write a new secret to a new file. The receiver needs the same."`
	VAPID  secretVAPID  `cmd:"" name:"vapid" help:"Print the public key of a VAPID key, which is made if the file isn't there. Browsers need it to subscribe."`
}

type secretCreate struct {
	output
	File string `arg:"" help:"File to make."`
}

func (c *secretCreate) Run(w world) error {
	if err := writeNew(c.File, newSecret()); err != nil {
		return err
	}
	return printDone(w, c.JSON, row{{"", "file", c.File}}, "Made %s. Give the receiver of the messages the same secret.", c.File)
}

type secretVAPID struct {
	output
	File string `arg:"" help:"File with the key."`
}

func (c *secretVAPID) Run(w world) error {
	text, err := keyset.ReadPrivate(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = webpush.NewKey(); err == nil {
			err = writeNew(c.File, text)
		}
	}
	if err != nil {
		return err
	}
	key, err := webpush.ParseKey(text)
	if err != nil {
		return fmt.Errorf("%s %w", c.File, err)
	}
	return printDone(w, c.JSON, row{{"", "file", c.File}, {"", "public", key.Public()}}, "%s", key.Public())
}

// writeNew writes a file that only its owner can read, and replaces none.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// newSecret is a new secret, as its file holds it.
func newSecret() []byte {
	secret := make(carrier.Secret, 32)
	rand.Read(secret) // never fails, see crypto/rand
	return []byte(secret.Encode().Reveal() + "\n")
}
