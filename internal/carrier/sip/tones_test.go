package sip

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/speech"
)

// tonesOf returns the sound of a key.
func tonesOf(key byte, d time.Duration) []int16 { return toneOf(key, d, 0.3, 0.3, 1) }

// toneOf returns a key's two tones with their amplitudes, off its frequencies by a factor.
func toneOf(key byte, d time.Duration, low, high, off float64) []int16 {
	var at int
	for at = range pairs {
		if pairs[at] == key {
			break
		}
	}
	sound := make([]int16, int(d*speech.Rate/time.Second))
	for i := range sound {
		phase := 2 * math.Pi * float64(i) / speech.Rate * off
		sound[i] = int16(32767 * (low*math.Sin(lowTones[at/4]*phase) + high*math.Sin(highTones[at%4]*phase)))
	}
	return sound
}

// heardIn returns the keys in sound, after it went through µ-law and packets of a length.
func heardIn(sound []int16, packet int) string {
	var d tones
	var got []byte
	for len(sound) > 0 {
		n := min(packet, len(sound))
		d.hear(speech.Linear(speech.MuLaw(sound[:n])), func(key byte) { got = append(got, key) })
		sound = sound[n:]
	}
	return string(got)
}

func TestTonesAreHeard(t *testing.T) {
	t.Parallel()
	pause := make([]int16, speech.Rate/10)
	var all []int16
	for i := range pairs {
		all = append(append(all, tonesOf(pairs[i], 80*time.Millisecond)...), pause...)
	}
	lost := tonesOf('5', 300*time.Millisecond)
	lost = append(lost[:1200], lost[1200+frame/2*3:]...) // a packet is missing, and the phase jumps
	noisy := append(tonesOf('9', 100*time.Millisecond), pause...)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noisy {
		noisy[i] += int16(r.NormFloat64() * 600) // 20 dB below the tones
	}
	for name, tt := range map[string]struct {
		sound []int16
		want  string
	}{
		"all keys":            {all, pairs},
		"one key twice":       {append(append(tonesOf('1', 100*time.Millisecond), pause...), tonesOf('1', 100*time.Millisecond)...), "11"},
		"held":                {tonesOf('1', 3*time.Second), "1"},
		"with a lost packet":  {lost, "5"},
		"with noise":          {noisy, "9"},
		"too short":           {tonesOf('1', 30*time.Millisecond), ""},
		"quiet":               {toneOf('7', 100*time.Millisecond, 0.02, 0.02, 1), "7"},
		"too quiet":           {toneOf('7', 100*time.Millisecond, 0.004, 0.004, 1), ""},
		"one tone is weaker":  {toneOf('7', 100*time.Millisecond, 0.3, 0.14, 1), "7"},
		"one tone is missing": {toneOf('7', 100*time.Millisecond, 0.3, 0.01, 1), ""},
		"1 % too high":        {toneOf('D', 100*time.Millisecond, 0.3, 0.3, 1.01), "D"},
		"4 % too high":        {toneOf('1', 100*time.Millisecond, 0.3, 0.3, 1.04), ""},
	} {
		for _, packet := range []int{frame, 80, 240, 33} {
			if got := heardIn(tt.sound, packet); got != tt.want {
				t.Errorf("%s, packets of %d samples: heard %q, want %q", name, packet, got, tt.want)
			}
		}
	}
}

// Speech is no key: a key can approve a login. The voices are those of the prompts, with each character of each
// language, at three speeds, which moves their pitch.
func TestSpeechIsNoKey(t *testing.T) {
	t.Parallel()
	s, err := speech.New(speech.Config{Times: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, locale := range speech.Locales() {
		sound := speech.Linear(s.Script(t.Context(), locale, nil, "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ").All())
		for _, speed := range []float64{0.8, 1, 1.25} {
			faster := make([]int16, int(float64(len(sound))/speed))
			for i := range faster {
				faster[i] = sound[min(len(sound)-1, int(float64(i)*speed))]
			}
			if got := heardIn(faster, frame); got != "" {
				t.Errorf("%s at %v: heard %q", locale, speed, got)
			}
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	noise := make([]int16, 60*speech.Rate)
	for i := range noise {
		noise[i] = int16(r.NormFloat64() * 3000)
	}
	if got := heardIn(noise, frame); got != "" {
		t.Errorf("noise: heard %q", got)
	}
}
