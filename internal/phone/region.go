package phone

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nyaruka/phonenumbers"
)

// Region returns the number's country as two letters of ISO 3166: "US" for +1 202 …, "GB" for +44 20
// …. If several countries share the calling code and the number is in none of their plans, Region
// returns the main one of them. It returns [World] if no country has the code, as with +800, and ""
// only for a Number that [Parse] didn't make. Of an erased number, the region is what is left.
func (n Number) Region() string {
	if region, ok := strings.CutPrefix(string(n), erased); ok {
		return region
	}
	code := n.CountryCode()
	switch {
	case code == 0:
		return ""
	case code == 1 && len(n) >= len("+1202"):
		return areaOf(n).region
	}
	regions := mainRegions()
	if main, alone := regions[code]; alone {
		return main
	}
	return n.plan().region
}

// Example is a mobile number of a country, which need not exist; "" if the country has none of its own.
func Example(region string) Number {
	example := phonenumbers.GetExampleNumberForType(region, phonenumbers.MOBILE)
	if example == nil {
		return ""
	}
	n, err := Parse(phonenumbers.Format(example, phonenumbers.E164))
	if err != nil || n.Region() != region {
		return ""
	}
	return n
}

// An area describes an area code of the calling code 1, which twenty-five countries share. The library
// takes eight microseconds to find this out.
type area struct {
	region string
	kind   Kind
	plain  bool // all its numbers are of one kind, as in the US and Canada
}

// areas caches the area codes that were looked up.
var areas [1000]atomic.Pointer[area]

func areaOf(n Number) *area {
	code := n[2:5]
	i := int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	if a := areas[i].Load(); a != nil {
		return a
	}
	any := planOf("+1" + code + "2345678")
	a := &area{any.region, any.kind, any.region == "US" || any.region == "CA"}
	areas[i].Store(a)
	return a
}

// mainRegions returns the countries that have a calling code to themselves, by
// code.
var mainRegions = sync.OnceValue(func() map[int]string {
	alone := map[int]string{}
	for code := range phonenumbers.GetSupportedCallingCodes() {
		if regions := phonenumbers.GetRegionCodesForCountryCode(code); len(regions) == 1 {
			alone[code] = regions[0]
		}
	}
	return alone
})

// World is the region of numbers that belong to no country.
const World = "001"

// IsRegion reports whether [Number.Region] may return s.
func IsRegion(s string) bool { return s == World || phonenumbers.GetSupportedRegions()[s] }

// erased stands before the region of a number that is erased.
const erased = "erased:"

// Erased is what is left of the number where it is erased: its region.
func (n Number) Erased() Number { return Number(erased + n.Region()) }

// IsErased reports whether only the region of a number is left.
func IsErased(n Number) bool { return strings.HasPrefix(string(n), erased) }
