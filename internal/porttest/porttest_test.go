package porttest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// takeAll is the variable that makes this program take a row of ports from a port on, print them, and hold
// them until its input ends.
const takeAll = "COUNTERSIGN_TEST_TAKE_PORTS"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(takeAll)); err == nil {
		first, err := take(n)
		fmt.Println(first, err)
		bufio.NewReader(os.Stdin).ReadString('\n')
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Another program's test doesn't get a port that a test holds, even if nobody listens there yet.
func TestAnotherProgramGetsOtherPorts(t *testing.T) {
	const n = 4
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), takeAll+"="+strconv.Itoa(n))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) != 2 || words[1] != "<nil>" {
		t.Fatalf("the other program said %q: %v", line, err)
	}
	theirs, err := strconv.Atoi(words[0])
	if err != nil {
		t.Fatal(err)
	}
	Row(t, 1) // so that there is a place to look from
	ports.mu.Lock()
	ports.next = theirs - low
	ports.mu.Unlock()
	if ours := Row(t, n); ours > theirs-n && ours < theirs+n {
		t.Errorf("got the ports from %d on, which another program has from %d on", ours, theirs)
	}
}

func TestARefusingAddressStaysSo(t *testing.T) {
	addr := Refusing(t)
	if l, err := net.Listen("tcp4", addr); err == nil {
		l.Close()
		t.Error("somebody else can listen there")
	}
	if _, err := net.Dial("tcp4", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: got %v, want it refused", err)
	}
}
