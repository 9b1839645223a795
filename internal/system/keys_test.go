package system

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// A replica is a server as far as its keys go. The test says when it attends.
type replica struct {
	*keyring
	t     *testing.T
	ahead time.Duration // of its clock
}

// newReplica joins a database with a keyset; url is PostgreSQL's, or an SQLite file's.
func newReplica(t *testing.T, url string, keys *keyset.Set) *replica {
	t.Helper()
	r, err := openReplica(t, url, keys)()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// openReplica opens a database, and returns the function that joins it.
func openReplica(t *testing.T, url string, keys *keyset.Set) (join func() (*replica, error)) {
	t.Helper()
	c := Config{Keys: keys, Outages: outage.New(slog.New(slog.DiscardHandler), nil)}
	o := store.Options{Path: url, Migrate: true}
	if strings.HasPrefix(url, "postgres:") {
		c.Postgres = &store.Postgres{URL: url, Timeout: time.Minute}
		o = store.Options{Postgres: c.Postgres, Migrate: true}
	}
	st, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return func() (*replica, error) {
		ring, err := newKeyring(t.Context(), c, st)
		if err != nil {
			return nil, err
		}
		r := &replica{keyring: ring, t: t}
		r.now = func() time.Time { return time.Now().Add(r.ahead) }
		return r, nil
	}
}

// start commits a verification as the service does, or reports false if no key may make one.
func (r *replica) start() bool {
	r.t.Helper()
	key := r.keys.Primary()
	if key == 0 {
		return false
	}
	id := verify.NewID(time.Now())
	v := &verify.Verification{
		ID: id, Project: "p", Purpose: verify.PurposeMFA,
		Terms: verify.Terms{Channel: verify.ChannelSMS, To: phone.Number(fmt.Sprintf("+1202555%04d", time.Now().UnixNano()%10000)), Text: "{code}", Length: 6, MaxAttempts: 3, ExpiresAt: id.Time().Add(time.Hour)},
		Code:  verify.Code{CodeMAC: []byte("x"), SealedCode: []byte("x"), KeyID: key},
	}
	if err := r.store.Start(context.Background(), v, verify.Limits{}, time.Minute); err != nil {
		r.t.Fatal(err)
	}
	return true
}

// attendAll has servers attend, and checks which of them say that something is wrong: the texts are what
// their sentences must hold; "" is nothing wrong.
func attendAll(t *testing.T, step string, all []*replica, want ...string) {
	t.Helper()
	for i, r := range all {
		if err := r.attend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := r.wrong(); (got == "") != (want[i] == "") || !strings.Contains(got, want[i]) {
			t.Errorf("%s: server %d says %q, want %q", step, i, got, want[i])
		}
	}
}

// A keysetFile is a keyset that servers read, and that an operator changes.
type keysetFile struct {
	t    *testing.T
	path string
}

func newKeysetFile(t *testing.T) keysetFile {
	t.Helper()
	f := keysetFile{t, filepath.Join(t.TempDir(), "keyset.json")}
	if _, err := keyset.Create(f.path); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f keysetFile) load() *keyset.Set {
	f.t.Helper()
	set, err := keyset.Load(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	return set
}

func (f keysetFile) add() (id uint32) {
	f.t.Helper()
	id, err := keyset.Add(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

// A server with another keyset isn't ready and makes no codes, and the others don't mind it.
func TestAServerWithAnotherKeysetIsNotReady(t *testing.T) {
	t.Parallel()
	url, f := storetest.Lent(t), newKeysetFile(t)
	first, second := newReplica(t, url, f.load()), newReplica(t, url, f.load())
	stranger := newReplica(t, url, newKeysetFile(t).load())
	all := []*replica{first, second, stranger}
	lacks := fmt.Sprintf("lacks key %d", first.keys.Primary())
	if got := stranger.wrong(); !strings.Contains(got, lacks) {
		t.Errorf("before it has served anything it says %q, want %q", got, lacks)
	}
	for range 2 {
		attendAll(t, "with a stranger", all, "", "", lacks)
	}
	if !first.start() || !second.start() || stranger.start() {
		t.Error("the stranger made a code, or another server didn't")
	}
	third := newReplica(t, url, f.load())
	attendAll(t, "one more", []*replica{third, first}, "", "")

	// It is given the right keyset.
	stranger.keys.Replace(f.load())
	attendAll(t, "mended", all, "", "", "")
	if !stranger.start() {
		t.Error("the mended server makes no code")
	}
}

// Two servers with different keysets that start at the same time don't both make codes.
func TestOfTwoKeysetsOneIsUsed(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	first, second := openReplica(t, url, newKeysetFile(t).load()), openReplica(t, url, newKeysetFile(t).load())
	var b *replica
	var errB error
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, errB = second()
	}()
	a, errA := first()
	<-done
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if (a.wrong() == "") == (b.wrong() == "") {
		t.Errorf("they say %q and %q, want one of them to be ready", a.wrong(), b.wrong())
	}
}

// A rotation as it is documented is never red, and neither is one that reaches the servers one by one.
func TestRotationIsNeverRed(t *testing.T) {
	t.Parallel()
	url, f := storetest.Lent(t), newKeysetFile(t)
	all := []*replica{newReplica(t, url, f.load()), newReplica(t, url, f.load()), newReplica(t, url, f.load())}
	old := all[0].keys.Primary()
	// everywhere brings the file to the servers, one after the other; each of them serves meanwhile.
	everywhere := func(step string) {
		t.Helper()
		for i := range all {
			all[i].keys.Replace(f.load())
			attendAll(t, step, all, "", "", "")
			for j, r := range all {
				if !r.start() {
					t.Errorf("%s: server %d makes no code", step, j)
				}
			}
			attendAll(t, step, all, "", "", "")
		}
	}
	added := f.add()
	everywhere("add")
	if err := keyset.Promote(f.path, added); err != nil {
		t.Fatal(err)
	}
	everywhere("promote")
	for i, r := range all {
		if got := r.keys.Primary(); got != added {
			t.Errorf("server %d uses key %d, want the promoted %d", i, got, added)
		}
	}
	for _, r := range all { // no code of the old key lives any more
		if _, err := r.store.VoidPending(t.Context(), "test", "void"); err != nil {
			t.Fatal(err)
		}
		if !r.start() {
			t.Error("it makes no code")
		}
	}
	if err := keyset.Remove(f.path, old); err != nil {
		t.Fatal(err)
	}
	everywhere("remove")
}

// A key that one server was told to use waits until the others have it.
func TestAPromotedKeyWaitsForAllServers(t *testing.T) {
	t.Parallel()
	url, f := storetest.Lent(t), newKeysetFile(t)
	all := []*replica{newReplica(t, url, f.load()), newReplica(t, url, f.load())}
	old := all[0].keys.Primary()
	added := f.add()
	if err := keyset.Promote(f.path, added); err != nil {
		t.Fatal(err)
	}
	all[0].keys.Replace(f.load())
	if got := all[0].keys.Primary(); got != old {
		t.Errorf("read, and not compared yet: it uses key %d, want %d", got, old)
	}
	attendAll(t, "promoted on one", all, "", "")
	if got := all[0].keys.Primary(); got != old {
		t.Errorf("it uses key %d, want %d, which both have", got, old)
	}
	all[0].ahead += spreads
	attendAll(t, "promoted on one a while ago", all, fmt.Sprintf("another server lacks key %d", added), "")
	all[1].keys.Replace(f.load())
	attendAll(t, "on both", []*replica{all[1], all[0]}, "", "")
	for i, r := range all {
		if got := r.keys.Primary(); got != added {
			t.Errorf("server %d uses key %d, want %d", i, got, added)
		}
	}
}

// A key is removed while its codes live, or its keyset is lost: the server isn't ready until they have
// ended. New codes can be made.
func TestAServerThatLacksAKeyOfPendingCodesIsNotReady(t *testing.T) {
	t.Parallel()
	for engine, url := range map[string]string{"SQLite": filepath.Join(t.TempDir(), "db"), "PostgreSQL": storetest.Lent(t)} {
		before := newReplica(t, url, newKeysetFile(t).load())
		if !before.start() {
			t.Fatalf("%s: no code", engine)
		}
		lost := before.keys.Primary()
		before.leave()
		if err := before.store.Close(); err != nil {
			t.Fatal(err)
		}
		longAgo(t, url)
		after := newReplica(t, url, newKeysetFile(t).load())
		lacks := fmt.Sprintf("lacks key %d", lost)
		if got := after.wrong(); !strings.Contains(got, lacks) {
			t.Errorf("%s: it says %q, want %q", engine, got, lacks)
		}
		if !after.start() {
			t.Errorf("%s: it makes no new code", engine)
		}
		attendAll(t, engine, []*replica{after}, lacks)
		if _, err := after.store.VoidPending(t.Context(), "test", "void"); err != nil {
			t.Fatal(err)
		}
		attendAll(t, engine+" voided", []*replica{after}, "")
	}
}

// A disk that is too slow to say whether a missing key is still needed doesn't make the server ready, and it asks
// again.
func TestAMissingKeyIsToldBesideASlowDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	before := newReplica(t, path, newKeysetFile(t).load())
	if !before.start() {
		t.Fatal("no code")
	}
	lost := before.keys.Primary()
	if err := before.store.Close(); err != nil {
		t.Fatal(err)
	}
	slow, err := store.Open(t.Context(), store.Options{Path: path, Migrate: true, ReadLimit: 1}) // no scan ends
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	ring, err := newKeyring(t.Context(), Config{Keys: newKeysetFile(t).load(), Outages: outage.New(slog.New(slog.DiscardHandler), nil)}, slow)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ring.wrong(), fmt.Sprintf("lacks key %d", lost); !strings.Contains(got, want) {
		t.Errorf("it says %q, want %q", got, want)
	}
	ring.now = func() time.Time { return time.Now().Add(attendEvery) }
	if !ring.due() {
		t.Error("it doesn't look again")
	}
}

// A server that froze while it compared keys stops no other one's writer: that one tries again later.
func TestAFrozenServersTurnWithTheKeysStopsNobody(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	r := newReplica(t, url, newKeysetFile(t).load())
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	frozen, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Rollback()
	if _, err := frozen.Exec(`LOCK TABLE key_holder IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	attended := make(chan error, 1)
	go func() { attended <- r.attend(t.Context()) }()
	select {
	case err := <-attended:
		if !store.Passing(err) {
			t.Errorf("beside a frozen server: got %v, want an error that passes", err)
		}
	case <-time.After(30 * time.Second): // half of what the database lets it wait
		t.Error("it waits in the database for a frozen server")
	}
}

// longAgo makes it an hour ago that a server last said which key it uses: the server of a file says it only
// when that changes, and a database that was moved has it from there.
func longAgo(t *testing.T, url string) {
	t.Helper()
	driver := "sqlite"
	if strings.HasPrefix(url, "postgres:") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE made_with SET used_at = used_at - 3600000`); err != nil {
		t.Fatal(err)
	}
}

// What a server says of its keys must not make it wait for a server that is gone.
func TestAServerThatIsGoneCountsNoMore(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	newReplica(t, url, newKeysetFile(t).load()).leave()
	next := newReplica(t, url, newKeysetFile(t).load())
	if got := next.wrong(); got != "" || !next.start() {
		t.Errorf("it says %q", got)
	}
}

// A keyset is compared when it changes, and from time to time where there are other servers.
func TestWhenKeysetsAreCompared(t *testing.T) {
	t.Parallel()
	for url, shared := range map[string]bool{filepath.Join(t.TempDir(), "db"): false, storetest.Lent(t): true} {
		f := newKeysetFile(t)
		r := newReplica(t, url, f.load())
		if r.due() {
			t.Error("it is due at once")
		}
		r.ahead += attendEvery
		if got := r.due(); got != shared {
			t.Errorf("after a while: due %v, want %v", got, shared)
		}
		if err := r.attend(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.add()
		r.keys.Replace(f.load())
		if !r.due() {
			t.Error("a new keyset isn't compared")
		}
	}
}

// While the database is away, a keyset is as good as it was.
func TestAKeysetIsJudgedByTheDatabaseOnly(t *testing.T) {
	t.Parallel()
	r := newReplica(t, filepath.Join(t.TempDir(), "db"), newKeysetFile(t).load())
	r.store.Close()
	if err := r.attend(t.Context()); !errors.Is(err, verify.ErrNoStore) {
		t.Errorf("got error %v, want %v", err, verify.ErrNoStore)
	}
	if r.wrong() != "" || r.keys.Primary() == 0 {
		t.Error("it isn't ready, or makes no codes")
	}
}
