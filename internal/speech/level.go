package speech

import "math"

// loudness is how loud prompts are: 22 dB below the loudest sound there is, as usual on telephones.
const loudness = -22.0

// level makes prompts equally loud, because voices differ between languages and letters by more than listeners
// like.
func (v voice) level() {
	for name, sound := range v {
		pcm := Linear(sound)
		gain := math.Pow(10, (loudness-loud(pcm))/20)
		for i, s := range pcm {
			pcm[i] = int16(max(-1<<15, min(1<<15-1, float64(s)*gain)))
		}
		v[name] = MuLaw(pcm)
	}
}

// loud returns the loudness of speech, in decibels below full scale: the mean power of its frames, without
// those that are 20 dB below the loudest one, which are pauses.
func loud(pcm []int16) float64 {
	var powers []float64
	most := 0.0
	for len(pcm) > 0 {
		n := min(Frame, len(pcm))
		sum := 0.0
		for _, s := range pcm[:n] {
			sum += float64(s) * float64(s)
		}
		powers = append(powers, sum/float64(n)/(1<<30))
		most = max(most, powers[len(powers)-1])
		pcm = pcm[n:]
	}
	sum, n := 0.0, 0
	for _, p := range powers {
		if p > most/100 {
			sum, n = sum+p, n+1
		}
	}
	if n == 0 {
		return loudness // silence stays silence
	}
	return 10 * math.Log10(sum/float64(n))
}
