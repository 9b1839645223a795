// Package porttest finds ports for programs that can't choose one themselves, and addresses that refuse
// connections. Our own programs don't need it: they listen on port 0 and log the port they got.
package porttest

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// The ports are below the range from which systems choose for programs that ask for any port. So no
// such program can get a port between our check and its use.
const low, high = 10_000, 20_000

var ports struct {
	mu    sync.Mutex // guards the fields below
	next  int
	file  *os.File // the byte at each port's number is locked by the program whose test holds the port
	taken map[int]bool
}

// Row returns the first of n consecutive ports that are free on 127.0.0.1, for UDP and TCP. No other test
// of any program gets them until the test ends.
func Row(t testing.TB, n int) int {
	t.Helper()
	first, err := take(n)
	if err != nil {
		t.Fatal("ports: ", err)
	}
	if first == 0 {
		t.Fatal("no free ports")
	}
	t.Cleanup(func() { release(first, n) })
	return first
}

// Try calls start with the first port of such a row, and repeats that with other ports until start
// succeeds. A program that isn't a test of ours may take a port before the started program does.
func Try(t testing.TB, n int, start func(first int) error) {
	t.Helper()
	const tries = 5
	for i := range tries {
		err := start(Row(t, n))
		if err == nil {
			return
		}
		if i == tries-1 {
			t.Fatal(err)
		}
		t.Logf("once more, with other ports: %v", err)
	}
}

func take(n int) (first int, err error) {
	p := &ports
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil {
		name := filepath.Join(os.TempDir(), "countersign-test-ports-"+strconv.Itoa(os.Getuid()))
		if p.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return 0, err
		}
		p.taken, p.next = map[int]bool{}, os.Getpid()*100 // so that other programs start their search elsewhere
	}
	for range (high - low) / n {
		first := low + p.next%(high-low-n)
		p.next += n
		locked := 0
		for locked < n && !p.taken[first+locked] && lock(p.file, first+locked, syscall.F_WRLCK) == nil {
			p.taken[first+locked] = true
			locked++
		}
		if locked == n && free(first, n) {
			return first, nil
		}
		unlock(first, locked)
	}
	return 0, nil
}

func release(first, n int) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	unlock(first, n)
}

func unlock(first, n int) {
	for port := first; port < first+n; port++ {
		delete(ports.taken, port)
		lock(ports.file, port, syscall.F_UNLCK)
	}
}

func lock(f *os.File, port int, kind int16) error {
	return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: kind, Start: int64(port), Len: 1})
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		u, err := net.ListenPacket("udp4", addr)
		if err != nil {
			return false
		}
		u.Close()
		l, err := net.Listen("tcp4", addr)
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// Address returns an address on 127.0.0.1 with a port of its own, as Row does.
func Address(t testing.TB) string {
	t.Helper()
	return At(Row(t, 1))
}

// At returns a port's address on 127.0.0.1.
func At(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Refusing returns an address on 127.0.0.1 that refuses connections until the test ends. Its port is
// bound, so nobody else can take it, but doesn't listen.
func Refusing(t testing.TB) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(socket) })
	syscall.CloseOnExec(socket)
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return At(bound.(*syscall.SockaddrInet4).Port)
}
