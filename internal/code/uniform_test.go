package code

import (
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/countersign/countersign/internal/testsize"
)

const (
	uniformCodes  = 1_000_000 // of each format
	uniformLength = 6

	// Chance alone would fail one run in a thousand, over all of these tests together. The
	// seeds are fixed, so every run has the same result.
	familyAlpha  = 0.001
	uniformTests = 4*uniformLength + 1 + (uniformLength - 1) // positions, leading zeros, pairs
)

// critical returns the value that a chi-square statistic exceeds with a probability of
// familyAlpha/uniformTests (Bonferroni), by the approximation of Wilson and Hilferty.
func critical(free int) float64 {
	z := math.Sqrt2 * math.Erfinv(1-2*familyAlpha/uniformTests)
	k := 2 / (9 * float64(free))
	return float64(free) * math.Pow(1-k+z*math.Sqrt(k), 3)
}

type generator func(io.Reader, Format, int) (string, error)

// byRemainder generates codes the obvious, wrong way.
func byRemainder(r io.Reader, f Format, length int) (string, error) {
	b := make([]byte, length)
	_, err := io.ReadFull(r, b)
	a := f.Alphabet()
	for i := range b {
		b[i] = a[int(b[i])%len(a)]
	}
	return string(b), err
}

// A sample counts the characters of many codes by position.
type sample struct {
	size  int
	at    [uniformLength][]int     // at[p][c]: codes with c at position p
	pairs [uniformLength - 1][]int // pairs[p][c*size+d]: codes with c at p and d behind it
}

func sampleOf(t *testing.T, f Format, generate generator) *sample {
	t.Helper()
	a := f.Alphabet()
	var place [128]int
	for i := range place {
		place[i] = -1
	}
	for i := range len(a) {
		place[a[i]] = i
	}
	s := &sample{size: len(a)}
	for p := range s.at {
		s.at[p] = make([]int, s.size)
	}
	for p := range s.pairs {
		s.pairs[p] = make([]int, s.size*s.size)
	}
	seed := [32]byte{}
	copy(seed[:], "uniform codes, format "+f)
	src := rand.NewChaCha8(seed)
	for range uniformCodes {
		text, err := generate(src, f, uniformLength)
		if err != nil || len(text) != uniformLength {
			t.Fatalf("got %q, %v; want a code of %d characters", text, err, uniformLength)
		}
		before := 0
		for p := range uniformLength {
			c := place[text[p]&127]
			if c < 0 {
				t.Fatalf("%s: %q has a character that is none of its alphabet", f, text)
			}
			s.at[p][c]++
			if p > 0 {
				s.pairs[p-1][before*s.size+c]++
			}
			before = c
		}
	}
	return s
}

// uniform returns the statistic of each position against an even distribution.
func (s *sample) uniform() (chi2 [uniformLength]float64) {
	want := float64(uniformCodes) / float64(s.size)
	for p, seen := range s.at {
		for _, n := range seen {
			d := float64(n) - want
			chi2[p] += d * d / want
		}
	}
	return chi2
}

// independent returns the statistic of each position and the next one, given how often each
// character is at either.
func (s *sample) independent() (chi2 [uniformLength - 1]float64) {
	for p, seen := range s.pairs {
		for i, n := range seen {
			want := float64(s.at[p][i/s.size]) * float64(s.at[p+1][i%s.size]) / uniformCodes
			d := float64(n) - want
			chi2[p] += d * d / want
		}
	}
	return chi2
}

// leadingZeros returns how many standard deviations the number of codes that begin with the
// alphabet's first character (for digits, a zero) is from its expected value.
func (s *sample) leadingZeros() float64 {
	p := 1 / float64(s.size)
	return (float64(s.at[0][0]) - uniformCodes*p) / math.Sqrt(uniformCodes*p*(1-p))
}

// above returns how many statistics exceed a bound, and the largest one.
func above(chi2 []float64, bound float64) (count int, most float64) {
	for _, x := range chi2 {
		most = max(most, x)
		if x > bound {
			count++
		}
	}
	return count, most
}

// With an even number of degrees of freedom the tail beyond a bound is a finite sum.
func TestCriticalValuesLeaveTheirTail(t *testing.T) {
	t.Parallel()
	const want = familyAlpha / uniformTests
	for _, free := range []int{8, 10, 22, 24, 30, 32, 64, 80, 82} { // around those that are used below
		half := critical(free) / 2
		term, sum := 1.0, 0.0
		for j := range free / 2 {
			sum += term
			term *= half / float64(j+1)
		}
		if got := math.Exp(-half) * sum; got < want/1.5 || got > want*1.1 {
			t.Errorf("%d degrees of freedom: a tail of %.2g is beyond %.1f, want about %.2g", free, got, 2*half, want)
		}
	}
}

// Every single position is uniform. TestGenerateIsUniform counts the characters of long codes
// together, where an excess at one position could hide a lack at another.
func TestEveryPositionIsUniform(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			free := len(f.Alphabet()) - 1
			bound := critical(free)
			chi2 := sampleOf(t, f, Generate).uniform()
			n, most := above(chi2[:], bound)
			t.Logf("chi-square of %d degrees of freedom: %.1f, bound %.1f", free, chi2, bound)
			if n > 0 {
				t.Errorf("%d positions aren't uniform: chi-square up to %.1f, want at most %.1f", n, most, bound)
			}

			// The same test, with the same bytes, finds the generator that takes a remainder at every
			// position, unless the alphabet's size divides 256. 32 does, so a remainder is uniform for
			// alphanumeric codes.
			chi2 = sampleOf(t, f, byRemainder).uniform()
			n, most = above(chi2[:], bound)
			want := uniformLength
			if 256%len(f.Alphabet()) == 0 {
				want = 0
			}
			t.Logf("by remainder: %.1f", chi2)
			if n != want {
				t.Errorf("by remainder, %d positions aren't uniform (chi-square up to %.1f, bound %.1f); want %d", n, most, bound, want)
			}
		})
	}
}

// A code of digits is a text and not a number: one in ten begins with a zero.
func TestOneCodeInTenBeginsWithAZero(t *testing.T) {
	t.Parallel()
	testsize.Alone(t, "counts random codes")
	bound := math.Sqrt2 * math.Erfinv(1-familyAlpha/uniformTests) // on either side
	s := sampleOf(t, Numeric, Generate)
	t.Logf("%d of %d begin with 0: %.2f deviations from a tenth, bound %.2f", s.at[0][0], uniformCodes, s.leadingZeros(), bound)
	if got := s.leadingZeros(); math.Abs(got) > bound {
		t.Errorf("%d of %d codes begin with 0: %.1f deviations from a tenth, want at most %.1f", s.at[0][0], uniformCodes, got, bound)
	}
	// The control draws from 100000 to 999999, so none of its numbers begins with a zero.
	numbers := func(r io.Reader, _ Format, _ int) (string, error) {
		return strconv.Itoa(100_000 + rand.New(r.(rand.Source)).IntN(900_000)), nil
	}
	if got := sampleOf(t, Numeric, numbers).leadingZeros(); math.Abs(got) <= bound {
		t.Errorf("numbers without leading zeros: %.1f deviations, want more than %.1f", got, bound)
	}
}

// A character doesn't depend on the one before it.
func TestNeighboursAreIndependent(t *testing.T) {
	t.Parallel()
	testsize.Alone(t, "counts random codes")
	free := 9 * 9
	bound := critical(free)
	chi2 := sampleOf(t, Numeric, Generate).independent()
	n, most := above(chi2[:], bound)
	t.Logf("chi-square of %d degrees of freedom: %.1f, bound %.1f", free, chi2, bound)
	if n > 0 {
		t.Errorf("%d pairs of positions depend on each other: chi-square up to %.1f, want at most %.1f", n, most, bound)
	}
	// The control repeats a digit slightly too often, once in fifty times, which no single
	// position shows.
	repeats := func(r io.Reader, f Format, length int) (string, error) {
		text, err := Generate(r, f, length)
		if err != nil {
			return "", err
		}
		b, rnd := []byte(text), r.(rand.Source)
		for i := 1; i < len(b); i++ {
			if rnd.Uint64()%50 == 0 {
				b[i] = b[i-1]
			}
		}
		return string(b), nil
	}
	s := sampleOf(t, Numeric, repeats)
	single := s.uniform()
	if n, most := above(single[:], critical(9)); n > 0 {
		t.Errorf("the control isn't uniform at %d positions: chi-square up to %.1f; it shows less than it should", n, most)
	}
	chi2 = s.independent()
	if n, most := above(chi2[:], bound); n != len(chi2) {
		t.Errorf("where digits repeat, %d pairs depend on each other (chi-square up to %.1f, bound %.1f); want %d", n, most, bound, len(chi2))
	}
}
