package phone

import (
	"sync"
	"testing"

	"github.com/nyaruka/phonenumbers"
)

func TestRegion(t *testing.T) {
	t.Parallel()
	for number, want := range map[Number]string{
		"+12025550100":   "US",
		"+14165550123":   "CA",
		"+18765550123":   "JM",
		"+17875550123":   "PR",
		"+15550100001":   "US", // an area code that nobody has
		"+1202":          "US", // too short for Parse, and yet no panic
		"+442079460018":  "GB",
		"+447781123456":  "GG",
		"+441481234567":  "GG",
		"+4930901820":    "DE",
		"+79161234567":   "RU",
		"+77011234567":   "KZ",
		"+390612345678":  "IT",
		"+3906698123456": "VA",
		"+80012345678":   "001",
		"+882123456789":  "001",
		"":               "",
		"4930901820":     "",

		Number("+447781123456").Erased(): "GG",
		Number("4930901820").Erased():    "",
	} {
		for range 2 { // also from memory
			if got := number.Region(); got != want {
				t.Errorf("%q.Region() = %q, want %q", string(number), got, want)
			}
		}
	}
}

// The shortcuts agree with the library, for an example of every kind that it has.
func TestRegionIsTheLibrarys(t *testing.T) {
	t.Parallel()
	for region := range phonenumbers.GetSupportedRegions() {
		p := phonenumbers.GetExampleNumber(region)
		if p == nil {
			continue
		}
		n, err := Parse(phonenumbers.Format(p, phonenumbers.E164))
		if err != nil {
			t.Errorf("%s: %v", region, err)
			continue
		}
		if got, want := n.Region(), phonenumbers.GetRegionCodeForNumber(p); got != want || !IsRegion(got) {
			t.Errorf("%s.Region() = %q, want %q", n, got, want)
		}
	}
	for _, s := range []string{"", "us", "UK", "ZZ", "USA"} {
		if IsRegion(s) {
			t.Errorf("IsRegion(%q)", s)
		}
	}
}

func TestRegionsAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got := Number("+12125550100").Region(); got != "US" {
				t.Errorf("got %q", got)
			}
		})
	}
	all.Wait()
}

func BenchmarkRegion(b *testing.B) {
	for b.Loop() {
		Number("+12025550100").Region()
	}
}
