package speech

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// WAV returns µ-law speech as a WAV file that every player supports: RIFF, 16-bit PCM, one
// channel.
func WAV(mu []byte) []byte {
	n := uint32(2 * len(mu))
	var b bytes.Buffer
	b.Grow(44 + int(n))
	b.WriteString("RIFF")
	binary.Write(&b, binary.LittleEndian, 36+n)
	b.WriteString("WAVEfmt ")
	binary.Write(&b, binary.LittleEndian, format{
		Size: 16, Tag: tagPCM, Channels: 1, Rate: Rate, BytesPerSecond: 2 * Rate, Align: 2, Bits: 16,
	})
	b.WriteString("data")
	binary.Write(&b, binary.LittleEndian, n)
	binary.Write(&b, binary.LittleEndian, Linear(mu))
	return b.Bytes()
}

// A format is the "fmt " chunk of a WAV file.
type format struct {
	Size           uint32
	Tag, Channels  uint16
	Rate           uint32
	BytesPerSecond uint32
	Align, Bits    uint16
}

const (
	tagPCM        = 1
	tagExtensible = 0xfffe // also PCM, if samples have 16 bits
	maxRate       = 192_000
)

var errWAV = errors.New("not a WAV file of 16-bit PCM")

// ReadWAV reads a WAV file of 16-bit PCM with any rate and number of channels, and returns one
// channel at [Rate]. A program that writes to a pipe doesn't know the length beforehand and writes
// a large one, so ReadWAV reads up to the end of the data.
func ReadWAV(file []byte) ([]int16, error) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return nil, errWAV
	}
	var f format
	for rest := file[12:]; len(rest) >= 8; {
		name, size := string(rest[:4]), uint64(binary.LittleEndian.Uint32(rest[4:]))
		body := rest[8:min(uint64(len(rest)), 8+size)]
		switch name {
		case "fmt ":
			if len(body) < 16 {
				return nil, errWAV
			}
			binary.Decode(rest[4:], binary.LittleEndian, &f)
		case "data":
			return f.read(body)
		}
		rest = rest[min(uint64(len(rest)), 8+size+size%2):]
	}
	return nil, errWAV
}

// read turns a data chunk into samples.
func (f format) read(body []byte) ([]int16, error) {
	if f.Tag != tagPCM && f.Tag != tagExtensible || f.Bits != 16 || f.Channels < 1 || f.Channels > 8 {
		return nil, errWAV
	}
	if f.Rate < Rate || f.Rate > maxRate {
		return nil, fmt.Errorf("a WAV file of %d samples a second, not %d to %d", f.Rate, Rate, maxRate)
	}
	width := 2 * int(f.Channels)
	pcm := make([]float64, len(body)/width)
	for i := range pcm {
		for c := range int(f.Channels) {
			pcm[i] += float64(int16(binary.LittleEndian.Uint16(body[i*width+2*c:]))) / float64(f.Channels)
		}
	}
	return resample(pcm, int(f.Rate)), nil
}

// taps is the number of the low-pass filter's zero crossings that are kept on
// each side.
const taps = 16

// resample reduces samples to Rate. It first removes everything above 3.6 kHz, which would otherwise
// come back as noise: each new sample is a sum of old ones, weighted by a windowed sinc. The weights
// depend on the new sample's place between two old ones. At the usual rates those places soon repeat,
// so resample keeps the weights, which cost more than all other steps.
func resample(in []float64, rate int) []int16 {
	step := float64(rate) / Rate
	cut := 0.9 / step // as a fraction of half the old rate
	half := int(math.Ceil(taps / cut))
	kernels := map[int][]float64{} // by the new sample's distance behind an old one, in parts of Rate
	out := make([]int16, len(in)*Rate/rate)
	for i := range out {
		at, behind := i*rate/Rate, i*rate%Rate
		kernel, ok := kernels[behind]
		if !ok {
			kernel = lowPass(half, cut, float64(behind)/Rate)
			if len(kernels) < maxKernels {
				kernels[behind] = kernel
			}
		}
		sum := 0.0
		for j := max(0, at-half); j <= min(at+half, len(in)-1); j++ {
			sum += kernel[j-at+half] * in[j]
		}
		out[i] = int16(math.Round(max(math.MinInt16, min(math.MaxInt16, sum))))
	}
	return out
}

// maxKernels bounds the memory for a file of an unusual rate. The usual rates need at most 160.
const maxKernels = 1000

// lowPass returns the weights of the samples from half before the middle one to half behind it.
// The new sample lies the given distance behind the middle one.
func lowPass(half int, cut, behind float64) []float64 {
	kernel, weight := make([]float64, 2*half+1), 0.0
	for k := range kernel {
		x := float64(k-half) - behind
		kernel[k] = sinc(x*cut) * hann(x/float64(half+1))
		weight += kernel[k]
	}
	for k := range kernel {
		kernel[k] /= weight
	}
	return kernel
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// hann is the Hann window over -1 to 1.
func hann(x float64) float64 { return 0.5 + 0.5*math.Cos(math.Pi*x) }
