// Package porttest finds ports for programs that can't choose one themselves, and for addresses where
// nobody must listen.
package porttest

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// Where ports are looked for: below those that systems choose for whoever asks for any, so nobody
// gets one between our look and its use.
const low, high = 10_000, 20_000

var next atomic.Int64

// Row returns the first of n ports in a row that nobody has on 127.0.0.1, for UDP and TCP. Nobody else
// in this program gets them.
func Row(t testing.TB, n int) int {
	t.Helper()
	next.CompareAndSwap(0, int64(os.Getpid())*100) // another program's tests look elsewhere
	for range (high - low) / n {
		if first := low + int(next.Add(int64(n)))%(high-low); free(first, n) {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
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

// Address returns an address of 127.0.0.1 where nobody listens.
func Address(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(Row(t, 1)))
}
