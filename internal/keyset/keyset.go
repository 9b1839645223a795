// Package keyset holds the keys without which a stored code is worth nothing.
//
// A six-digit code has a million values, so a plain hash of it is no secret: whoever copies the
// database tries them all in a second. Every code is therefore stored only as a MAC and as a sealed
// copy, both made with a key that lives outside the database, in a Tink keyset of PRF keys. Each row
// names the key it was made with; a keyset can hold several, and the primary one makes new rows.
//
// The keys are HMAC-SHA-256 PRFs. From one of them and a [Binding] come the MAC of a code and an
// AES-256-GCM key used for that one row only, so a nonce can't repeat however many rows a key serves.
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
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
)

// A Set is the keys of one installation. It is safe for concurrent use, also with [Set.Replace].
type Set struct {
	now atomic.Pointer[keys]

	mu     sync.Mutex // guards chosen, and changes of now
	chosen bool       // by [Set.Use], rather than by the file: which key makes new rows
}

// keys are the content of a set at one time.
type keys struct {
	*prf.Set
	prints  []Print
	primary uint32 // makes new rows; 0: none does
}

// A Binding says what a code belongs to. A MAC or a sealed code made for one binding is wrong for
// every other, so a row copied onto another row, number or project opens nothing.
type Binding struct {
	Project     string
	ID          [16]byte
	Destination string
	Purpose     string
}

// ErrUnknownKey means that a row was made with a key that this set doesn't hold.
var ErrUnknownKey = errors.New("the key that made this row is not in the keyset")

// Labels keep the two uses of a key apart.
const (
	labelMAC  = "countersign code mac v1"
	labelSeal = "countersign code seal v1"
)

// New makes a set with one fresh key, kept only in memory. For tests; see [Create].
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

// Create makes a set with one fresh key and writes it to a new file of mode 0600.
// It is durable on return, and never replaces a file that exists ([fs.ErrExist]).
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

// Load reads a set from a file, which must be readable by its owner only.
func Load(path string) (*Set, error) {
	handle, err := load(path)
	if err != nil {
		return nil, err
	}
	return fromHandle(handle)
}

// Parse reads a set from the text that such a file has.
func Parse(text []byte) (*Set, error) {
	handle, err := parse(text)
	if err != nil {
		return nil, err
	}
	return fromHandle(handle)
}

func load(path string) (*keyset.Handle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", err)
	}
	if err := Private(path, info); err != nil {
		return nil, fmt.Errorf("load keyset: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", err)
	}
	handle, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("load keyset %s: %w", path, err)
	}
	return handle, nil
}

// Private returns an error where others than its owner could read a file of secrets. A file that
// systemd passes on (LoadCredential) may be open to its group: there that is how our user gets it.
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

// parse keeps the parser's error to itself: it could quote the file, which holds keys.
func parse(text []byte) (*keyset.Handle, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil {
		return nil, errors.New("not a Tink keyset in JSON")
	}
	return handle, nil
}

// A Key is what may be shown of one.
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
	info := handle.KeysetInfo()
	var all []Key
	for _, k := range info.GetKeyInfo() {
		all = append(all, Key{k.GetKeyId(), k.GetKeyId() == info.GetPrimaryKeyId()})
	}
	return all, nil
}

// Add puts one more key into a file, and returns its id. It makes nothing yet: every process must
// know a key before one of them uses it; see [Promote].
func Add(path string) (id uint32, err error) {
	err = edit(path, func(m *keyset.Manager) (err error) {
		id, err = m.Add(prf.HMACSHA256PRFKeyTemplate())
		return err
	})
	return id, err
}

// Promote has a key of a file make new rows. The others still check what they made.
func Promote(path string, id uint32) error {
	return edit(path, func(m *keyset.Manager) error { return m.SetPrimary(id) })
}

// Remove takes a key out of a file. What it made can't be checked any more: do it when the oldest
// verification that it made has expired.
func Remove(path string, id uint32) error {
	return edit(path, func(m *keyset.Manager) error { return m.Delete(id) })
}

// edit changes a file while nobody else does: a key that another process has added meanwhile would be lost.
func edit(path string, change func(*keyset.Manager) error) error {
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
	if err := change(manager); err != nil {
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

// lock waits until nobody else changes a file. The lock is on the file that has this name at the end: each
// change replaces the file.
func lock(path string) (unlock func() error, err error) {
	for {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		for err = syscall.EINTR; err == syscall.EINTR; {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		}
		mine, errMine := f.Stat()
		named, errNamed := os.Stat(path)
		if err := errors.Join(err, errMine, errNamed); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if os.SameFile(mine, named) {
			return f.Close, nil // which unlocks it
		}
		f.Close()
	}
}

// LoadOrCreate loads the set at path, or creates it if there is none.
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

// Replace gives s the keys of another set, for everybody who uses s. After a call of [Set.Use], the key that
// makes new rows stays the same until the next call. If the other set lacks that key, none makes rows.
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
}

// Use decides which key makes new rows, whichever one the file names; 0 is none. Use does nothing if the
// set has no such key any more.
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

// Prints returns the prints of all keys, and which key the file names to make new rows.
func (s *Set) Prints() (all []Print, wanted uint32) {
	k := s.now.Load()
	return k.prints, k.PrimaryID
}

// write writes a keyset under another name and puts it into place, so that a crash leaves either
// the old file or the whole new one.
func write(handle *keyset.Handle, path string, place func(from, to string) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".keyset-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(tmp))
	if old, errOld := os.Stat(path); errOld == nil {
		// The server must be able to read what an operator as root has changed.
		if owner, ok := old.Sys().(*syscall.Stat_t); ok {
			err = errors.Join(err, tmp.Chown(int(owner.Uid), int(owner.Gid)))
		}
	}
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := place(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Has reports whether the set has a key.
func (s *Set) Has(id uint32) bool { return s.now.Load().PRFs[id] != nil }

// Primary names the key that new rows are made with; 0 is none.
func (s *Set) Primary() uint32 { return s.now.Load().primary }

// MAC returns 32 bytes that tell whether a code is the one that b was made for.
// Compare in constant time.
func (s *Set) MAC(key uint32, b Binding, code string) ([]byte, error) {
	return s.compute(key, b.encode(labelMAC, code))
}

// Seal encrypts the code of b. Call it once for each b: the row's key has one nonce.
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

// aead derives the row's own key. The nonce is fixed because the key is used once.
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

// encode joins the parts, each with its length before it, so that no two bindings read the same.
func (b Binding) encode(label, code string) []byte {
	out := make([]byte, 0, 160)
	for _, part := range [...]string{label, b.Project, string(b.ID[:]), b.Destination, b.Purpose, code} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}
