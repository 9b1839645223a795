package smpp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// The tests of this file talk to Kannel, which carries messages for real operators. make kannel runs
// them.

// kannel is Kannel's three processes, in a folder of their own.
type kannel struct {
	t   *testing.T
	dir string
	box *exec.Cmd
}

const kannelAddr = "127.0.0.1:2775"

func startKannel(t *testing.T) *kannel {
	t.Helper()
	if os.Getenv("COUNTERSIGN_TEST_KANNEL") == "" {
		t.Skip("NOT RUN: there is a target for it: make kannel")
	}
	k := &kannel{t: t, dir: t.TempDir()}
	if err := os.CopyFS(k.dir, os.DirFS("testdata/kannel")); err != nil {
		t.Fatal(err)
	}
	k.run("/usr/sbin/bearerbox", "-v", "4", "kannel.conf")
	k.open("127.0.0.1:10000")
	k.open("127.0.0.1:13001")
	k.run("/usr/lib/kannel/test/fakesmsc", "-v", "0", "-H", "127.0.0.1", "-r", "10000", "-i", "3600", "-m", "-1", "1000 2000 text hello")
	k.startBox()
	return k
}

func (k *kannel) startBox() {
	k.box = k.run(os.Getenv("COUNTERSIGN_TEST_KANNEL"), "-v", "4", "smppbox.conf")
	k.open(kannelAddr)
}

// run starts a program that writes to a file of its name.
func (k *kannel) run(program string, args ...string) *exec.Cmd {
	k.t.Helper()
	out, err := os.OpenFile(filepath.Join(k.dir, filepath.Base(program)+".out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = k.dir, out, out
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

// open waits until something listens.
func (k *kannel) open(addr string) {
	k.t.Helper()
	for begun := time.Now(); time.Since(begun) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
	}
	k.t.Fatalf("nothing listens on %s", addr)
}

// bind is a carrier for one test: opensmppbox resets the other connections of a login.
func (k *kannel) bind(t *testing.T, configure func(*Config)) *client {
	return newClient(t, kannelAddr, func(c *Config) {
		c.SystemType = "OTP"
		configure(c)
	})
}

// phones is what the phones' stand-in has printed.
func (k *kannel) phones() string {
	k.t.Helper()
	b, err := os.ReadFile(filepath.Join(k.dir, "fakesmsc.out"))
	if err != nil {
		k.t.Fatal(err)
	}
	return string(bytes.ToValidUTF8(b, []byte("?")))
}

// phonesHave waits for n of the numbered messages, and returns what was printed by then.
func (k *kannel) phonesHave(n int) (printed string) {
	for begun := time.Now(); time.Since(begun) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		if printed = k.phones(); strings.Count(printed, " text message ") >= n {
			break
		}
	}
	return printed
}

func accepted(outcomes []error) (n int) {
	for _, err := range outcomes {
		if err == nil {
			n++
		}
	}
	return n
}

func TestKannel(t *testing.T) {
	k := startKannel(t)
	t.Run("texts and receipts", func(t *testing.T) {
		c := k.bind(t, func(c *Config) {})
		bodies := []string{
			"Your code is 493817 [a] {b} €5 ñ",
			"Код 493817",
			strings.Repeat("a", 150) + "€€" + strings.Repeat("b", 20),
		}
		for i, body := range bodies {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if r, err := c.Send(ctx, text(i, body)); err != nil || r.Ref == "" {
				t.Errorf("%q: got %q, %v", body, r.Ref, err)
			}
			cancel()
		}
		c.wait(t, int64(len(bodies)))
		if n := c.unknown.Load(); n != 0 {
			t.Errorf("%d receipts that nobody knew", n)
		}
		phones := k.phones()
		for _, want := range []string{
			"<12345 +12025550000 text Your code is 493817 [a] {b} €5 ñ>",
			"<12345 +12025550001 ucs-2 %04%1A%04%3E%044%00+%004%009%003%008%001%007>",
			"%02%01 data " + strings.Repeat("a", 150) + "%E2%82%AC>",
			"%02%02 data %E2%82%AC" + strings.Repeat("b", 20) + ">",
		} {
			if !strings.Contains(phones, want) {
				t.Errorf("no phone got %s:\n%s", want, phones)
			}
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		c := k.bind(t, func(c *Config) { c.Password = "wr0ng" })
		_, err := c.Send(t.Context(), text(1, "Your code is 493817"))
		if d := carrier.Decision(err); err == nil || d.Reason.String() != "misconfigured" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("kill -9 in mid-window", func(t *testing.T) {
		c := k.bind(t, func(c *Config) { c.Window = 50 })
		const n, before = 300, 100
		var mu sync.Mutex // guards all below
		ended, unknown := 0, 0
		outcomes := make([]error, n)
		killed := false
		c.sendAll(t, n, 50, func(i int, err error) {
			mu.Lock()
			defer mu.Unlock()
			ended++
			outcomes[i] = err
			if ended >= before && !killed {
				killed = true
				k.box.Process.Kill()
				k.box.Wait()
				k.startBox()
			}
		})
		// opensmppbox knows of a receipt's message by its memory, which died with it.
		c.wait(t, int64(accepted(outcomes)-before))
		phones := k.phonesHave(accepted(outcomes))
		for i, err := range outcomes {
			times := strings.Count(phones, fmt.Sprintf("text message %d>", i))
			switch {
			case err == nil && times != 1, times > 1:
				t.Errorf("message %d: %v, and the phone has it %d times", i, err, times)
			case err != nil && carrier.Decision(err).Outcome != verify.AttemptUnknown:
				t.Errorf("message %d: %v", i, err)
			case err != nil:
				unknown++
			}
		}
		t.Logf("%d of %d were unknown, %d binds, %d receipts", unknown, n, c.Stats().Binds, c.total.Load())
	})
}
