package speech

import (
	"math"
	"testing"
)

// No prompt of any language is more than 2 dB louder or quieter than it should be, nor clipped by that.
func TestPromptsAreEquallyLoud(t *testing.T) {
	t.Parallel()
	for locale, v := range voices() {
		for name, sound := range v {
			pcm := Linear(sound)
			if off := loud(pcm) - loudness; math.Abs(off) > 2 {
				t.Errorf("%s: %q is off by %+.1f dB", locale, name, off)
			}
			clipped := 0
			for _, s := range pcm {
				if s > 32000 || s < -32000 {
					clipped++
				}
			}
			if clipped > len(pcm)/200 {
				t.Errorf("%s: %q has %d clipped samples of %d", locale, name, clipped, len(pcm))
			}
		}
	}
}
