package speech

import (
	"math"
	"testing"
)

// No prompt of any language is more than 2 dB louder or quieter than it should be, and none is cut at its peaks.
func TestPromptsAreEquallyLoud(t *testing.T) {
	t.Parallel()
	for locale, read := range voices {
		v := read()
		for name, sound := range v {
			pcm := Linear(sound)
			if off := loud(pcm) - Loudness; math.Abs(off) > 2 {
				t.Errorf("%s: %q is off by %+.1f dB", locale, name, off)
			}
			for _, s := range pcm {
				if s > 32500 || s < -32500 {
					t.Errorf("%s: %q has peaks that don't fit", locale, name)
					break
				}
			}
		}
	}
}

func TestLevel(t *testing.T) {
	t.Parallel()
	tone := func(amplitude float64) (pcm []int16) {
		for i := range Rate {
			pcm = append(pcm, int16(amplitude*math.Sin(float64(i))))
		}
		return pcm
	}
	for _, amplitude := range []float64{100, 3000, 32000} {
		if off := loud(Level(tone(amplitude))) - Loudness; math.Abs(off) > 0.1 {
			t.Errorf("a tone of %.0f is off by %.1f dB", amplitude, off)
		}
	}
	click := make([]int16, Rate)
	click[40] = 300
	for _, s := range Level(click) {
		if s > peak {
			t.Errorf("a click became %d", s)
		}
	}
	if got := Level(make([]int16, 800)); got[7] != 0 || len(Level(nil)) != 0 {
		t.Error("silence became sound")
	}
}
