package speech

import "math/bits"

// Rate is the number of samples per second.
const Rate = 8000

// Frame is the number of samples in one packet: 20 ms.
const Frame = Rate / 50

// Silence is the quietest µ-law sample.
const Silence = 0xff

// µ-law and A-law are converted by tables, which cost one look-up per sample. They have only
// 256 and 65 536 entries. Source: ITU-T G.711 (11/88), tables 1a to 2b.
var (
	linearOfMu [256]int16
	muOfLinear [1 << 16]byte // indexed by uint16
	aOfMu      [256]byte
	linearOfA  [256]int16
)

func init() {
	for i := range linearOfMu {
		linearOfMu[i] = muToLinear(byte(i))
	}
	for i := range muOfLinear {
		muOfLinear[i] = linearToMu(int16(uint16(i)))
	}
	for i := range aOfMu {
		aOfMu[i] = linearToA(linearOfMu[i])
		linearOfA[i] = aToLinear(byte(i))
	}
}

const muBias, muClip = 0x84, 32635

// linearToMu compresses the upper 14 of 16 bits to a sign, an exponent and four
// bits, all inverted.
func linearToMu(s int16) byte {
	x, sign := int(s), byte(0)
	if x < 0 {
		x, sign = -x, 0x80
	}
	x = min(x, muClip) + muBias
	exp := bits.Len(uint(x)) - 8
	return ^(sign | byte(exp)<<4 | byte(x>>(exp+3))&0x0f)
}

func muToLinear(b byte) int16 {
	b = ^b
	x := (int(b&0x0f)<<3+muBias)<<(b>>4&7) - muBias
	if b&0x80 != 0 {
		x = -x
	}
	return int16(x)
}

// linearToA compresses the upper 13 of 16 bits. Every other bit of the result is
// inverted.
func linearToA(s int16) byte {
	x, sign := int(s)>>3, byte(0x80) // 13 bits, two's complement
	if x < 0 {
		x, sign = ^x, 0
	}
	exp := max(0, bits.Len(uint(x))-5)
	return (sign | byte(exp)<<4 | byte(x>>max(1, exp))&0x0f) ^ 0x55
}

func aToLinear(b byte) int16 {
	b ^= 0x55
	exp := int(b >> 4 & 7)
	x := int(b&0x0f)<<4 + 8
	if exp > 0 {
		x = (x + 0x100) << (exp - 1)
	}
	if b&0x80 == 0 {
		x = -x
	}
	return int16(x)
}

// ALaw appends µ-law speech to dst as A-law.
func ALaw(dst, mu []byte) []byte {
	for _, b := range mu {
		dst = append(dst, aOfMu[b])
	}
	return dst
}

// Linear converts µ-law speech to 16-bit samples.
func Linear(mu []byte) []int16 {
	pcm := make([]int16, len(mu))
	for i, b := range mu {
		pcm[i] = linearOfMu[b]
	}
	return pcm
}

// LinearA converts A-law speech to 16-bit samples.
func LinearA(a []byte) []int16 {
	pcm := make([]int16, len(a))
	for i, b := range a {
		pcm[i] = linearOfA[b]
	}
	return pcm
}

// MuLaw converts 16-bit samples to µ-law.
func MuLaw(pcm []int16) []byte {
	mu := make([]byte, len(pcm))
	for i, s := range pcm {
		mu[i] = muOfLinear[uint16(s)]
	}
	return mu
}
