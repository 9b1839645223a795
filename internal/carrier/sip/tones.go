package sip

import (
	"math"

	"github.com/countersign/countersign/internal/speech"
)

// The frequencies of the keys' tones, and the key of each pair (ITU-T Q.23).
var (
	lowTones  = [4]float64{697, 770, 852, 941}
	highTones = [4]float64{1209, 1336, 1477, 1633}
)

const pairs = "123A456B789C*0#D" // four for each low tone

const (
	// A block is 20 ms, so that its filters are 50 Hz wide: tones differ by at least 73 Hz. Blocks overlap by
	// half, so that a decision is made every 10 ms.
	toneBlock = 160
	toneStep  = toneBlock / 2
	// toneHits is how many blocks in a row must hold a tone: 50 ms of it. A key is held for longer (ITU-T Q.24 asks
	// for 40 ms at least), and speech doesn't keep two such tones pure for so long.
	toneHits = 4
	// toneGap is how many blocks in a row without a tone end a key, so that a lost packet doesn't make two of one.
	toneGap = 4
	// tonePurity is the least part of a block's energy that must be in the two tones. Voices have harmonics beside
	// them.
	tonePurity = 0.75
	// toneTwist is the most by which one tone may be stronger than the other, 8 dB as powers.
	toneTwist = 6.3
	// toneLevel is the least mean power of a block, 36 dB below that of a full tone.
	toneLevel = 1.2e-4
)

// tones finds keys in sound, as phones send them to trunks that have no events (ITU-T Q.23, Q.24). The filters
// are Goertzel's.
type tones struct {
	block [toneBlock]float64
	n     int  // samples in block
	key   byte // the one in the latest blocks, or 0
	hits  int  // blocks in a row with key
	gap   int  // blocks in a row without it, since it was counted
	held  byte // the key that was counted and hasn't ended, or 0
}

// hear reads linear samples, and calls pressed for each key in them.
func (d *tones) hear(samples []int16, pressed func(byte)) {
	for _, s := range samples {
		d.block[d.n] = float64(s) / (1 << 15)
		if d.n++; d.n == toneBlock {
			d.judge(keyIn(&d.block), pressed)
			d.n = copy(d.block[:], d.block[toneStep:])
		}
	}
}

// judge takes the key of one block.
func (d *tones) judge(key byte, pressed func(byte)) {
	if key != 0 && key == d.key {
		d.hits++
	} else {
		d.key, d.hits = key, 1
	}
	if d.held != 0 {
		if key == d.held {
			d.gap = 0
		} else if d.gap++; d.gap >= toneGap {
			d.held = 0
		}
	}
	if d.key != 0 && d.hits >= toneHits && d.key != d.held {
		d.held, d.gap = d.key, 0
		pressed(d.key)
	}
}

// keyIn returns the key whose tones are all of a block, or 0.
func keyIn(block *[toneBlock]float64) byte {
	energy := 0.0
	for _, s := range block {
		energy += s * s
	}
	if energy < toneLevel*toneBlock {
		return 0
	}
	low, lowPower := strongest(block, lowTones)
	high, highPower := strongest(block, highTones)
	// The power of a filter is n²A²/4 for a tone of amplitude A in it, whose energy is nA²/2.
	if 2*(lowPower+highPower) < tonePurity*energy*toneBlock || lowPower > toneTwist*highPower || highPower > toneTwist*lowPower {
		return 0
	}
	return pairs[4*low+high]
}

// strongest returns the tone of a group with the most power, and that power.
func strongest(block *[toneBlock]float64, group [4]float64) (best int, most float64) {
	for i, f := range group {
		if p := goertzel(block, f); p > most {
			best, most = i, p
		}
	}
	return best, most
}

// goertzel returns the power of a block at a frequency.
func goertzel(block *[toneBlock]float64, f float64) float64 {
	c := 2 * math.Cos(2*math.Pi*f/speech.Rate)
	var a, b float64
	for _, s := range block {
		a, b = s+c*a-b, a
	}
	return a*a + b*b - c*a*b
}
