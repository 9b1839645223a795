package keyset

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var binding = Binding{Project: "p1", ID: [16]byte{1, 2, 3}, Destination: "+12025550100", Purpose: "mfa"}

// variants differ from binding in one part each, or move a border between two parts.
var variants = map[string]Binding{
	"project":     {Project: "p2", ID: binding.ID, Destination: binding.Destination, Purpose: "mfa"},
	"id":          {Project: "p1", ID: [16]byte{1, 2, 4}, Destination: binding.Destination, Purpose: "mfa"},
	"destination": {Project: "p1", ID: binding.ID, Destination: "+12025550101", Purpose: "mfa"},
	"purpose":     {Project: "p1", ID: binding.ID, Destination: binding.Destination, Purpose: "payment"},
	"border":      {Project: "p1", ID: binding.ID, Destination: "+12025550100m", Purpose: "fa"},
}

func newSet(t *testing.T) *Set {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMACIsBoundToEverythingItWasMadeFor(t *testing.T) {
	t.Parallel()
	s := newSet(t)
	want, err := s.MAC(s.Primary(), binding, "493817")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := s.MAC(s.Primary(), binding, "493817")
	if !bytes.Equal(want, again) || len(want) != 32 {
		t.Fatalf("MAC is not a function of its input: %x, then %x", want, again)
	}
	if other, _ := s.MAC(s.Primary(), binding, "493818"); bytes.Equal(want, other) {
		t.Error("two codes have one MAC")
	}
	for name, b := range variants {
		if other, _ := s.MAC(s.Primary(), b, "493817"); bytes.Equal(want, other) {
			t.Errorf("another %s has the same MAC", name)
		}
	}
	if other, _ := newSet(t).MAC(0, binding, "493817"); bytes.Equal(want, other) {
		t.Error("another keyset has the same MAC")
	}
}

func TestSealOpensOnlyForItsBinding(t *testing.T) {
	t.Parallel()
	s := newSet(t)
	sealed, err := s.Seal(s.Primary(), binding, "493817")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("493817")) {
		t.Error("the sealed copy shows the code")
	}
	if got, err := s.Open(s.Primary(), binding, sealed); err != nil || got != "493817" {
		t.Errorf("Open = %q, %v; want the code", got, err)
	}
	for name, b := range variants {
		if got, err := s.Open(s.Primary(), b, sealed); err == nil {
			t.Errorf("another %s opens it: %q", name, got)
		}
	}
	sealed[0] ^= 1
	if _, err := s.Open(s.Primary(), binding, sealed); err == nil {
		t.Error("a changed copy opens")
	}
}

func TestUnknownKeyIsAnError(t *testing.T) {
	t.Parallel()
	s := newSet(t)
	other := s.Primary() + 1
	if _, err := s.MAC(other, binding, "1"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("MAC: %v", err)
	}
	if _, err := s.Open(other, binding, nil); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("Open: %v", err)
	}
}

func TestFileIsPrivateKeptAndNeverReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	made, err := LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	loaded, err := LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := made.MAC(made.Primary(), binding, "1")
	b, err := loaded.MAC(made.Primary(), binding, "1")
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("the loaded set is another one: %x, %x, %v", a, b, err)
	}
	if _, err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file: %v, want fs.ErrExist", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("Load of a file that others can read: %v, want what to do", err)
	}
}

func TestDamagedFileIsNotQuoted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	if err := os.WriteFile(path, []byte(`{"primaryKeyId": "s3cret`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("Load: %v; want an error that doesn't quote the file", err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	set, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	old := set.Primary()
	made, _ := set.MAC(old, binding, "1")
	sealed, _ := set.Seal(old, binding, "493817")

	added, err := Add(path)
	if err != nil {
		t.Fatal(err)
	}
	reload := func() {
		t.Helper()
		next, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		set.Replace(next)
	}
	if reload(); set.Primary() != old {
		t.Errorf("an added key makes rows at once: primary is %d, want %d", set.Primary(), old)
	}
	if err := Promote(path, added); err != nil {
		t.Fatal(err)
	}
	if reload(); set.Primary() != added {
		t.Errorf("primary is %d, want the promoted %d", set.Primary(), added)
	}
	if again, err := set.MAC(old, binding, "1"); err != nil || !bytes.Equal(made, again) {
		t.Errorf("the old key no longer checks what it made: %v", err)
	}
	if code, err := set.Open(old, binding, sealed); err != nil || code != "493817" {
		t.Errorf("the old key no longer opens what it sealed: %q, %v", code, err)
	}
	want := []Key{{old, false}, {added, true}}
	if got, err := Keys(path); err != nil || !slices.Equal(got, want) {
		t.Errorf("Keys = %v, %v; want %v", got, err, want)
	}
	if err := Remove(path, added); err == nil {
		t.Error("the primary key was removed")
	}
	if err := Remove(path, old); err != nil {
		t.Fatal(err)
	}
	reload()
	if _, err := set.MAC(old, binding, "1"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a removed key: %v, want ErrUnknownKey", err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode after changes is %v, want 0600", info.Mode())
	}
	if err := Promote(path, 1); err == nil {
		t.Error("an unknown key was promoted")
	}
}

// No key is lost if keys are added concurrently.
func TestConcurrentChangesLoseNoKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	const adds = 8
	added := make(chan uint32, adds)
	for range adds {
		go func() {
			id, err := Add(path)
			if err != nil {
				t.Error(err)
			}
			added <- id
		}()
	}
	var ids []uint32
	for range adds {
		ids = append(ids, <-added)
	}
	set, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if !set.Has(id) {
			t.Errorf("key %d is lost", id)
		}
	}
}
