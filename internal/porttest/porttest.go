// Package porttest finds ports for programs that can't choose one themselves, and addresses where nobody
// listens. A program of ours needs neither: it listens on port 0 and says which port it got.
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

// Ports are looked for below those that systems choose for programs that ask for any, so that no such
// program gets one between our look and its use.
const low, high = 10_000, 20_000

var ports struct {
	mu    sync.Mutex // guards all below
	next  int
	file  *os.File // the byte at each port's number is locked by the program whose test has the port
	taken map[int]bool
}

// Row returns the first of n ports in a row that nobody has on 127.0.0.1, for UDP and TCP. Until the test
// ends no other test gets them, in this program or another.
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

// Try calls start with such a row until start succeeds: another program, which doesn't know of our
// tests, may take a port before the one that is started does.
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
		p.taken, p.next = map[int]bool{}, os.Getpid()*100 // another program looks elsewhere first
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

// Address returns an address for one program, as Row does.
func Address(t testing.TB) string {
	t.Helper()
	return At(Row(t, 1))
}

// At is a port's address on 127.0.0.1.
func At(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Refusing returns an address of 127.0.0.1 that refuses connections until the test ends: its port is
// bound, so nobody can take it, and doesn't listen.
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
