package store_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/store"
)

// A page that is damaged is told by the start, not by the first one who needs it.
func TestADamagedFileIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	path := fill(t, 200)
	open := func() error {
		s, err := store.Open(ctx, store.Options{Path: path, Migrate: true})
		if err == nil {
			err = s.Close()
		}
		return err
	}
	if err := open(); err != nil {
		t.Fatalf("a file that is whole: %v", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, page), info.Size()-page); err != nil {
		t.Fatal(err)
	}
	if err := open(); err == nil || !strings.Contains(err.Error(), "the database is damaged") {
		t.Errorf("got error %v, want it to say that the database is damaged", err)
	}
}
