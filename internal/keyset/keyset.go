// Package keyset holds the keys that protect stored codes.
//
// A six-digit code has a million values, so a plain hash doesn't hide it: an attacker who copies the
// database could try them all in a second. The database therefore stores a code only as a MAC and as
// a sealed copy. Both are made with a key from a Tink keyset outside the database. Each row names its
// key. A keyset can hold several keys; the primary one makes new rows.
//
// The keys are HMAC-SHA-256 PRFs. The package derives two things from a key and a [Binding]: the MAC
// of a code, and an AES-256-GCM key that is used for that row only. No nonce can therefore repeat,
// however many rows a key serves.
package keyset

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/countersign/countersign/internal/filelock"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
)

// A Set holds the keys of one installation. All its methods, including [Set.Replace], are safe
// for concurrent use.
type Set struct {
	now atomic.Pointer[keys]

	mu     sync.Mutex // guards all below, and changes of now
	chosen bool       // whether [Set.Use], rather than the file, chose the key that makes new rows
	twins  []*Set     // that [Set.Replace] replaces as well
}

// keys is the content of a set at one time.
type keys struct {
	*prf.Set
	prints  []Print
	primary uint32 // makes new rows; 0 if no key does
}

// A Binding names the verification that a code belongs to. A MAC or a sealed code of one binding
// is invalid for every other, so copying a row onto another row, number or project reveals
// nothing.
type Binding struct {
	Project     string
	ID          [16]byte
	Destination string
	Purpose     string
	Payment     string // that the code authorizes; "": none
}

// ErrUnknownKey means that a row was made with a key that the set doesn't hold.
var ErrUnknownKey = errors.New("the key that made this row is not in the keyset")

// The labels separate the two uses of a key.
const (
	labelMAC  = "countersign code mac v1"
	labelSeal = "countersign code seal v1"
)

// New returns a set with one new key, kept only in memory. It is for tests; see
// [Create].
func New() (*Set, error) {
	handle, err := fresh()
	if err != nil {
		return nil, err
	}
	return fromHandle(handle)
}

func fresh() (*keyset.Handle, error) {
	handle, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return handle, nil
}

// Create returns a set with one new key and writes it to a new file of mode 0600.
// The file is durable when Create returns. Create never replaces an existing
// file; it returns [fs.ErrExist].
func Create(path string) (*Set, error) {
	handle, err := fresh()
	if err != nil {
		return nil, err
	}
	if err := write(handle, path, os.Link); err != nil {
		return nil, fmt.Errorf("create keyset %s: %w", path, err)
	}
	return fromHandle(handle)
}

// Load reads a set from a file that only its owner may read.
func Load(path string) (*Set, error) {
	handle, err := load(path)
	if err != nil {
		return nil, err
	}
	return fromHandle(handle)
}

// Parse reads a set from the content of such a file.
func Parse(text []byte) (*Set, error) {
	handle, err := parse(text)
	if err != nil {
		return nil, err
	}
	return fromHandle(handle)
}

func load(path string) (*keyset.Handle, error) {
	text, err := ReadPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", err)
	}
	handle, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("load keyset %s: %w", path, err)
	}
	return handle, nil
}

// ReadPrivate reads a file of secrets that only its owner can read: see [Private].
func ReadPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := Private(path, info); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// Private returns an error if users other than its owner could read a file of secrets. A file in
// systemd's credentials directory (LoadCredential) may be readable by its group, because that is
// how systemd grants a service's user access.
func Private(path string, info fs.FileInfo) error {
	open := info.Mode().Perm() & 0o077
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && filepath.Dir(path) == filepath.Clean(dir) {
		open &^= 0o040
	}
	if open != 0 {
		return fmt.Errorf("%s has mode %#o, others could read it; run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return nil
}

// parse doesn't return the parser's error, because it could quote the file, which
// holds keys.
func parse(text []byte) (*keyset.Handle, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil {
		return nil, errors.New("not a Tink keyset in JSON")
	}
	return handle, nil
}

// A Key is the public part of a key in a file.
type Key struct {
	ID      uint32
	Primary bool // makes new rows
}

// Keys lists the keys of a file.
func Keys(path string) ([]Key, error) {
	handle, err := load(path)
	if err != nil {
		return nil, err
	}
	return keysOf(handle), nil
}

func keysOf(handle *keyset.Handle) (all []Key) {
	info := handle.KeysetInfo()
	for _, k := range info.GetKeyInfo() {
		all = append(all, Key{k.GetKeyId(), k.GetKeyId() == info.GetPrimaryKeyId()})
	}
	return all
}

// Add adds a key to a file and returns its id. The key makes no rows yet, because every process
// must hold a key before one of them uses it; see [Promote].
func Add(path string) (id uint32, err error) {
	err = edit(path, func(m *keyset.Manager, _ []Key) (err error) {
		id, err = m.Add(prf.HMACSHA256PRFKeyTemplate())
		return err
	})
	return id, err
}

// Promote makes a key of a file the one that makes new rows. The other keys still
// check the rows they made.
func Promote(path string, id uint32) error {
	return edit(path, func(m *keyset.Manager, all []Key) error {
		if _, err := findKey(all, id); err != nil {
			return err
		}
		return m.SetPrimary(id)
	})
}

// Remove removes a key from a file. Rows that it made can't be checked any more, so wait until
// the last of those verifications has expired.
func Remove(path string, id uint32) error {
	return edit(path, func(m *keyset.Manager, all []Key) error {
		k, err := findKey(all, id)
		if err != nil {
			return err
		}
		if k.Primary {
			return fmt.Errorf("key %d is the primary one, which new codes need: promote another key first", id)
		}
		return m.Delete(id)
	})
}

// findKey returns the key of an id.
func findKey(all []Key, id uint32) (Key, error) {
	i := slices.IndexFunc(all, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return Key{}, fmt.Errorf("there is no key %d: countersign keyset list shows the keys", id)
	}
	return all[i], nil
}

// edit changes a file under a lock, so that a key that another process adds at the same time isn't lost.
func edit(path string, change func(m *keyset.Manager, all []Key) error) error {
	unlock, err := lock(path)
	if err != nil {
		return fmt.Errorf("change keyset: %w", err)
	}
	defer unlock()
	handle, err := load(path)
	if err != nil {
		return err
	}
	manager := keyset.NewManagerFromHandle(handle)
	if err := change(manager, keysOf(handle)); err != nil {
		return fmt.Errorf("change keyset %s: %w", path, err)
	}
	if handle, err = manager.Handle(); err != nil {
		return fmt.Errorf("change keyset %s: %w", path, err)
	}
	if err := write(handle, path, os.Rename); err != nil {
		return fmt.Errorf("write keyset %s: %w", path, err)
	}
	return nil
}

// lock locks a file against changes by other processes, and waits for them. A change replaces the file, so
// lock tries again if path names another file by the time it holds the lock.
func lock(path string) (unlock func() error, err error) {
	for {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		err = filelock.Lock(f)
		mine, errMine := f.Stat()
		named, errNamed := os.Stat(path)
		if err := errors.Join(err, errMine, errNamed); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if os.SameFile(mine, named) {
			return f.Close, nil // closing unlocks it
		}
		f.Close()
	}
}

// LoadOrCreate loads the set at path, or creates it if the file doesn't exist.
func LoadOrCreate(path string) (*Set, error) {
	set, err := Create(path)
	if errors.Is(err, fs.ErrExist) {
		return Load(path)
	}
	return set, err
}

func fromHandle(handle *keyset.Handle) (*Set, error) {
	prfs, err := prf.NewPRFSet(handle)
	if err != nil {
		return nil, fmt.Errorf("keyset: not a set of PRF keys: %w", err)
	}
	return fromPRFs(prfs)
}

func fromPRFs(prfs *prf.Set) (_ *Set, err error) {
	k := &keys{Set: prfs, primary: prfs.PrimaryID}
	if k.prints, err = printsOf(prfs); err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	s := new(Set)
	s.now.Store(k)
	return s, nil
}

// Replace gives s the keys of another set. After a call of [Set.Use], the key that makes new rows stays the
// same until the next call. If the other set lacks that key, no key makes new rows.
func (s *Set) Replace(other *Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, used := *other.now.Load(), s.now.Load().primary
	if s.chosen {
		next.primary = used
		if next.PRFs[used] == nil {
			next.primary = 0
		}
	}
	s.now.Store(&next)
	for _, twin := range s.twins {
		twin.Replace(other)
	}
}

// Twin returns a set with the same keys, also after each [Set.Replace] of s. The key that makes new rows is its own.
func (s *Set) Twin() *Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	twin := new(Set)
	twin.now.Store(s.now.Load())
	s.twins = append(s.twins, twin)
	return twin
}

// Use chooses the key that makes new rows, whatever the file says; 0 means no key. If the set doesn't
// hold the key, Use leaves the current one in place.
func (s *Set) Use(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chosen = true
	next := *s.now.Load()
	if next.PRFs[id] == nil && id != 0 {
		return
	}
	next.primary = id
	s.now.Store(&next)
}

// Prints returns the prints of all keys, and the id of the key that makes new rows by
// the file.
func (s *Set) Prints() (all []Print, wanted uint32) {
	k := s.now.Load()
	return k.prints, k.PrimaryID
}

// write writes a keyset to a temporary file and moves it into place, so that a crash leaves
// either the old file or the complete new one.
func write(handle *keyset.Handle, path string, place func(from, to string) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".keyset-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(tmp))
	if old, errOld := os.Stat(path); errOld == nil {
		err = errors.Join(err, keepOwner(tmp, old))
	}
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := place(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// Has reports whether the set has a key.
func (s *Set) Has(id uint32) bool { return s.now.Load().PRFs[id] != nil }

// Now is the set as it is at this instant: [Set.Replace] doesn't change it.
func (s *Set) Now() *Set {
	now := new(Set)
	now.now.Store(s.now.Load())
	return now
}

// Primary returns the id of the key that makes new rows, or 0 if no key does.
func (s *Set) Primary() uint32 { return s.now.Load().primary }

// MAC returns the 32-byte MAC of a code for b. Compare MACs in constant time.
func (s *Set) MAC(key uint32, b Binding, code string) ([]byte, error) {
	return s.compute(key, b.encode(labelMAC, code))
}

// Seal encrypts the code of b. Call it only once for each b, because the row's key
// has a single nonce.
func (s *Set) Seal(key uint32, b Binding, code string) ([]byte, error) {
	aead, err := s.aead(key, b)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, make([]byte, aead.NonceSize()), []byte(code), nil), nil
}

// Open returns the code that [Set.Seal] sealed for b.
func (s *Set) Open(key uint32, b Binding, sealed []byte) (string, error) {
	aead, err := s.aead(key, b)
	if err != nil {
		return "", err
	}
	code, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed, nil)
	if err != nil {
		return "", fmt.Errorf("open sealed code: %w", err)
	}
	return string(code), nil
}

// aead returns the row's own cipher. Its nonce is fixed, because its key is used
// once.
func (s *Set) aead(key uint32, b Binding) (cipher.AEAD, error) {
	rowKey, err := s.compute(key, b.encode(labelSeal, ""))
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(rowKey)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (s *Set) compute(key uint32, input []byte) ([]byte, error) {
	return compute(s.now.Load().Set, key, input)
}

func compute(prfs *prf.Set, key uint32, input []byte) ([]byte, error) {
	f, ok := prfs.PRFs[key]
	if !ok {
		return nil, fmt.Errorf("key %d: %w", key, ErrUnknownKey)
	}
	return f.ComputePRF(input, 32)
}

// encode joins the parts, each after its length, so that two different bindings never give the
// same input.
func (b Binding) encode(label, code string) []byte {
	out := make([]byte, 0, 160)
	for _, part := range [...]string{label, b.Project, string(b.ID[:]), b.Destination, b.Purpose, code} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	if b.Payment != "" { // nothing for none: older rows go on
		out = binary.BigEndian.AppendUint32(out, uint32(len(b.Payment)))
		out = append(out, b.Payment...)
	}
	return out
}
