package speech

import "math"

const (
	// Loudness is how loud prompts are, in decibels below the loudest sound there is. It is low enough that the peaks of
	// every prompt fit, which keeps its weak consonants as they were spoken.
	Loudness = -20.0
	// peak is the highest sample that a prompt may have.
	peak = 32000
)

// Level makes speech as loud as [Loudness]. Voices differ between languages and letters by more than listeners like.
func Level(pcm []int16) []int16 {
	gain, most := math.Pow(10, (Loudness-loud(pcm))/20), 0.0
	for _, s := range pcm {
		most = max(most, math.Abs(float64(s)))
	}
	if most*gain > peak {
		gain = peak / most
	}
	out := make([]int16, len(pcm))
	for i, s := range pcm {
		out[i] = int16(math.Round(float64(s) * gain))
	}
	return out
}

// loud returns the loudness of speech in decibels below the loudest sound there is: the mean power of its frames, without
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
		return Loudness // silence stays silence
	}
	return 10 * math.Log10(sum/float64(n))
}
