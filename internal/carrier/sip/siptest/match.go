package siptest

import (
	"bytes"
	"context"
	"math"
	"math/bits"
	"math/cmplx"
	"os/exec"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/speech"
)

// A Matcher recognises characters in a recording by comparison with what espeak-ng says when the
// test runs, because the built-in prompts might be wrong. It compares mel cepstra by dynamic time
// warping, which works for one voice. So it shows that the sound arrived complete and in order,
// but not that people understand it.
type Matcher map[byte][]shape

// NewMatcher makes templates by having a voice say characters.
func NewMatcher(t testing.TB, voice, characters string) Matcher {
	t.Helper()
	m := Matcher{}
	for i := range len(characters) {
		cmd := exec.CommandContext(context.Background(), "espeak-ng", "-v", voice, "-s", "150", "-m", "--stdin", "--stdout")
		said := characters[i : i+1]
		if said > "9" { // the letter's name, not a word
			said = `<say-as interpret-as="characters">` + said + `</say-as>`
		}
		cmd.Stdin = strings.NewReader(said)
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pcm, err := speech.ReadWAV(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		m[characters[i]] = cepstra(trim(floats(speech.Linear(speech.MuLaw(speech.Level(pcm))))))
	}
	return m
}

// farOff is the distance at which a sound matches no character. Correct matches have distances of 0
// to 3.2 in all 390 comparisons of the carrier's tests.
const farOff = 6

// Recognise returns one character for each sound between pauses, or a question mark.
func (m Matcher) Recognise(pcm []int16) string {
	var spelt strings.Builder
	for _, s := range segments(floats(pcm)) {
		c := cepstra(s)
		best, at := byte('?'), float64(farOff)
		for name, template := range m {
			if d := distance(c, template); d < at {
				best, at = name, d
			}
		}
		spelt.WriteByte(best)
	}
	return spelt.String()
}

func floats(pcm []int16) []float64 {
	out := make([]float64, len(pcm))
	for i, s := range pcm {
		out[i] = float64(s) / 32768
	}
	return out
}

const (
	window = 256
	hop    = 80
	bands  = 20
	terms  = 12
	gap    = 20     // hops of silence between characters: 0.2 s; the program leaves 0.35 s
	loud   = 0.0027 // 31 dB below prompts
)

// segments splits a recording at its pauses.
func segments(x []float64) [][]float64 {
	var all [][]float64
	start, quiet := -1, 0
	for s := 0; s+hop <= len(x); s += hop {
		power := 0.0
		for _, v := range x[s : s+hop] {
			power += v * v
		}
		switch {
		case math.Sqrt(power/hop) > loud:
			if start < 0 {
				start = s
			}
			quiet = 0
		case start >= 0:
			if quiet++; quiet == gap {
				all = append(all, x[start:s-(gap-1)*hop])
				start = -1
			}
		}
	}
	if start >= 0 {
		all = append(all, x[start:])
	}
	return all
}

// trim cuts the silence around a template as segments does.
func trim(x []float64) []float64 {
	s := segments(x)
	if len(s) == 0 {
		return nil
	}
	first, last := s[0], s[len(s)-1]
	from := cap(x) - cap(first)
	to := cap(x) - cap(last) + len(last)
	return x[from:to]
}

func mel(hertz float64) float64 { return 2595 * math.Log10(1+hertz/700) }
func hertz(mel float64) float64 { return 700 * (math.Pow(10, mel/2595) - 1) }
func triangle(k float64, e []float64) float64 {
	return max(0, min((k-e[0])/(e[1]-e[0]), (e[2]-k)/(e[2]-e[1])))
}

// Constant tables: the window, the bands' weights, the transforms' factors.
var (
	tapers [window]float64
	weight [bands][window / 2]float64
	cosine [terms][bands]float64
	turns  [window / 2]complex128
)

func init() {
	var edges [bands + 2]float64
	low, high := mel(150), mel(3800)
	for i := range edges {
		edges[i] = hertz(low+(high-low)*float64(i)/(bands+1)) / speech.Rate * window
	}
	for band := range weight {
		for k := range weight[band] {
			weight[band][k] = triangle(float64(k), edges[band:band+3])
		}
	}
	for q := range cosine {
		for band := range cosine[q] {
			cosine[q][band] = math.Cos(math.Pi * float64(q+1) * (float64(band) + 0.5) / bands)
		}
	}
	for i := range tapers {
		tapers[i] = 0.54 - 0.46*math.Cos(2*math.Pi*float64(i)/(window-1))
	}
	for k := range turns {
		turns[k] = cmplx.Rect(1, -2*math.Pi*float64(k)/window)
	}
}

// A shape is the shape of one spectrum.
type shape [terms]float64

// cepstra returns the shape of the spectrum every 10 ms.
func cepstra(x []float64) []shape {
	var all []shape
	var c [window]complex128
	var power [window / 2]float64
	for s := 0; s+window <= len(x); s += hop {
		for i := range c {
			c[bits.Reverse8(uint8(i))] = complex(x[s+i]*tapers[i], 0)
		}
		fft(&c)
		for k := range power {
			power[k] = real(c[k] * cmplx.Conj(c[k]))
		}
		var f shape
		for band := range weight {
			e := 1e-3 // anything quieter is silence
			for k, w := range weight[band] {
				e += w * power[k]
			}
			e = math.Log(e)
			for q := range f {
				f[q] += e * cosine[q][band]
			}
		}
		all = append(all, f)
	}
	return all
}

// fft transforms values that are in bit-reversed order.
func fft(c *[window]complex128) {
	for size := 2; size <= window; size *= 2 {
		half, step := size/2, window/size
		for start := 0; start < window; start += size {
			for k := range half {
				even, odd := c[start+k], turns[k*step]*c[start+k+half]
				c[start+k], c[start+k+half] = even+odd, even-odd
			}
		}
	}
}

// distance returns the distance of two sounds, either of which may be stretched.
func distance(a, b []shape) float64 {
	if len(a) == 0 || len(b) == 0 || len(a) > 2*len(b) || len(b) > 2*len(a) {
		return math.Inf(1)
	}
	last, row := make([]float64, len(b)+1), make([]float64, len(b)+1)
	for j := range last {
		last[j] = math.Inf(1)
	}
	last[0] = 0
	for i := range a {
		row[0] = math.Inf(1)
		for j := range b {
			d := 0.0
			for q, v := range a[i] {
				v -= b[j][q]
				d += v * v
			}
			row[j+1] = math.Sqrt(d) + min(last[j], last[j+1], row[j])
		}
		last, row = row, last
	}
	return last[len(b)] / float64(len(a)+len(b))
}
