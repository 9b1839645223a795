package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// A checkKind is one of the kinds of checks that a stranger may not tell apart by the clock.
type checkKind int

const (
	wrongEarly      checkKind = iota // a guess that differs in its first digit
	wrongLate                        // one that differs in its last digit
	wrongEarlyAgain                  // control: the same once more, under another name
	noSuchID                         // nobody's id
	foreignID                        // another project's, with its right code
	expiredID                        // one whose time is over, with its right code
	noSuchIDAgain                    // control
	checkKinds
)

func (k checkKind) String() string {
	return [...]string{"wrong early digit", "wrong late digit", "wrong early digit (control)",
		"unknown id", "foreign id", "expired id", "unknown id (control)"}[k]
}

const (
	checksOfAKind = 4000 // COUNTERSIGN_TEST_LONG multiplies it
	// A number has to wait after its twentieth wrong guess, and a verification ends with it.
	guessesOfANumber = 19

	welchBound  = 4.5                    // dudect's: beyond it, by chance, once in a hundred thousand
	medianBound = 100 * time.Microsecond // what nobody on the other side of a network can see
)

// How long a check takes doesn't say what was wrong with it.
//
// What is compared is what is answered alike. A wrong guess is committed before it's answered and
// takes as long as the disk does, and an id with nothing behind it leaves nothing to commit: those
// two groups are far apart, which shows that the clock here sees what there is to see, and a
// caller who is answered 200 here and 404 there needs no clock. Within a group, a wrong guess may
// not tell how much of it was right, nor a 404 whether there is such a verification. An id that
// nobody has is answered some 20 µs sooner than the others, for it names no number to look up;
// that is what the bound on medians is for. Ids have 74 random bits, so there is little to look for.
//
// All kinds take turns in random order on one connection, so that whatever else the machine does
// meets all of them. As dudect does, the slowest are left out of the t-test: they are other
// programs' doing, and only hide a difference.
func TestTheTimeOfACheckDoesntTellWhatWasWrong(t *testing.T) {
	slowSuite(t)
	each := testsize.Times(checksOfAKind)
	in := install(t, func(args ...string) *exec.Cmd { return exec.Command(plainBinary(t), args...) }, nil)
	var another, key texts
	in.decode(&another, "project", "create", "--config", "countersign.yaml", "--json", "Another project")
	in.decode(&key, "key", "create", "--config", "countersign.yaml", "--json", "--project", another["id"])
	p := in.serve()

	// As many verifications as there must be for their numbers never to wait.
	const others = 500
	guessed := (3*each + guessesOfANumber - 1) / guessesOfANumber
	began := time.Now()
	live := in.startMany(p, 0, guessed, `"max_attempts":20`)
	strangers := in.startMany(p.as(another["id"], key["token"]), guessed, others, `"max_attempts":20`)
	const life = 2 * time.Second
	dead := in.startMany(p, guessed+others, others, fmt.Sprintf(`"max_attempts":20,"valid_for":%d`, life/time.Second))
	if !within(patience, func() bool {
		return strings.Contains(get(t, p.Ops+"/metrics"), "countersign_queue_messages{carrier=\"gateway\"} 0\n")
	}) {
		t.Fatal("messages are still under way")
	}
	t.Logf("%d verifications started in %v", guessed+2*others, time.Since(began).Round(time.Millisecond))
	time.Sleep(life + 100*time.Millisecond)

	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	credentials := base64.StdEncoding.EncodeToString([]byte(in.project + ":" + in.token))
	check := func(id, token string) (answer, time.Duration) {
		body := fmt.Sprintf(`{"token":%q}`, token)
		request := fmt.Sprintf("POST /api/relay/rest/mfa/%s/verify HTTP/1.1\r\nHost: h\r\nAuthorization: Basic %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			id, credentials, len(body), body)
		asked := time.Now()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		if _, err := answers.Peek(1); err != nil { // it is on its way in one piece
			t.Fatal(err)
		}
		took := time.Since(asked)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{resp.StatusCode, resp.Header, string(text)}, took
	}

	rnd := rand.New(rand.NewPCG(1, 1))
	var order []checkKind
	for k := range checkKinds {
		order = append(order, slices.Repeat([]checkKind{k}, each)...)
	}
	rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	// Each verification in its turn, so that none is guessed at more often than it may.
	turn := 0
	target := map[checkKind]func() (id, token string){
		wrongEarly: func() (string, string) {
			v := live[turn%len(live)]
			turn++
			return v.id, changed(v.code, 0, rnd)
		},
		wrongLate: func() (string, string) {
			v := live[turn%len(live)]
			turn++
			return v.id, changed(v.code, 5, rnd)
		},
		// An id of the time of the others, as somebody would guess it.
		noSuchID: func() (string, string) {
			return verify.NewID(time.Now().Add(-time.Duration(rnd.IntN(5000)) * time.Millisecond)).String(), live[rnd.IntN(len(live))].code
		},
		foreignID: func() (string, string) { v := strangers[rnd.IntN(others)]; return v.id, v.code },
		expiredID: func() (string, string) { v := dead[rnd.IntN(others)]; return v.id, v.code },
	}
	target[wrongEarlyAgain], target[noSuchIDAgain] = target[wrongEarly], target[noSuchID]

	var took [checkKinds][]time.Duration
	var first [checkKinds]*answer
	began = time.Now()
	for _, k := range order {
		id, token := target[k]()
		a, d := check(id, token)
		if a.header.Get("X-Request-Id") == "" || a.header.Get("Date") == "" {
			t.Fatalf("%s: answered without a request id or a date: %v", k, a.header)
		}
		a.header.Del("X-Request-Id")
		a.header.Del("Date")
		like := wrongEarly
		if k >= noSuchID {
			like = noSuchID
		}
		if first[like] == nil {
			first[like] = &a
			p.want(a, map[checkKind]int{wrongEarly: 200, noSuchID: 404}[like], map[checkKind]string{wrongEarly: wrongBody, noSuchID: notFound}[like])
		}
		if diff := cmp.Diff(*first[like], a, cmp.AllowUnexported(answer{})); diff != "" {
			t.Fatalf("%s is answered otherwise than others (-first +this):\n%s", k, diff)
		}
		took[k] = append(took[k], d)
	}
	t.Logf("%d checks, %d of each kind, in %v", len(order), each, time.Since(began).Round(time.Millisecond))

	for k := range checkKinds {
		t.Logf("%-28s median %v", k, median(took[k]))
	}
	for _, pair := range []struct {
		a, b    checkKind
		control bool
	}{
		{wrongEarly, wrongEarlyAgain, true},
		{wrongEarly, wrongLate, false},
		{noSuchID, noSuchIDAgain, true},
		{noSuchID, foreignID, false},
		{noSuchID, expiredID, false},
		{foreignID, expiredID, false},
	} {
		score := welch(took[pair.a], took[pair.b])
		apart := (median(took[pair.a]) - median(took[pair.b])).Abs()
		t.Logf("%s, %s: t = %.2f, medians %v apart", pair.a, pair.b, score, apart)
		switch alike := math.Abs(score) < welchBound; {
		case !alike && pair.control:
			t.Errorf("%s: t = %.2f against itself, want less than %v: the measurement is no good", pair.a, score, welchBound)
		case !alike && apart >= medianBound:
			t.Errorf("%s and %s can be told apart: t = %.2f, medians %v apart; want less than %v, or than %v", pair.a, pair.b, score, apart, welchBound, medianBound)
		}
	}
	// What there is to see is seen: a commit, and a planted difference of a tenth of a millisecond.
	if score := welch(took[wrongEarly], took[noSuchID]); math.Abs(score) < welchBound {
		t.Errorf("%s and %s: t = %.2f, though only one is committed; want more than %v", wrongEarly, noSuchID, score, welchBound)
	}
	for k, again := range map[checkKind]checkKind{wrongEarly: wrongEarlyAgain, noSuchID: noSuchIDAgain} {
		later := slices.Clone(took[again])
		for i := range later {
			later[i] += medianBound
		}
		score := welch(took[k], later)
		t.Logf("%s, %v later: t = %.2f", k, medianBound, score)
		if math.Abs(score) < welchBound {
			t.Errorf("%s, %v later: t = %.2f, want more than %v", k, medianBound, score, welchBound)
		}
	}
}

// changed is a code with another digit at one place.
func changed(code string, at int, rnd *rand.Rand) string {
	b := []byte(code)
	b[at] = '0' + (b[at]-'0'+byte(1+rnd.IntN(9)))%10
	return string(b)
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// welch is Welch's t of two samples without what is above the 95th percentile of both together.
func welch(a, b []time.Duration) float64 {
	pooled := slices.Sorted(slices.Values(slices.Concat(a, b)))
	limit := pooled[len(pooled)*95/100]
	moments := func(all []time.Duration) (n, mean, variance float64) {
		for _, d := range all {
			if d <= limit { // by Welford's recurrence
				n++
				x := float64(d) - mean
				mean += x / n
				variance += x * (float64(d) - mean)
			}
		}
		return n, mean, variance / (n - 1)
	}
	n, mean, variance := moments(a)
	m, other, spread := moments(b)
	return (mean - other) / math.Sqrt(variance/n+spread/m)
}
