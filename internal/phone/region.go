package phone

import (
	"sync"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nyaruka/phonenumbers"
)

// Region is the country whose number it is, in ISO 3166's two letters: "US" for +1 202 …, "GB" for
// +44 20 …. Where countries share a calling code and the number is in none of their plans, it is the
// main one of them; where no country has the code, as with +800, it is "001", the world. It is ""
// only for what didn't come from [Parse].
func (n Number) Region() string {
	code := n.CountryCode()
	switch {
	case code == 0:
		return ""
	case code == 1 && len(n) >= len("+1202"):
		return northAmerica(n)
	}
	regions := mainRegions()
	if main, alone := regions[code]; alone {
		return main
	}
	if region, ok := shared.Get(n); ok {
		return region
	}
	region := lookUp(n, code)
	shared.Add(n, region)
	return region
}

// northAmerican are the regions of area codes, as far as they were asked for: twenty-five countries
// share the calling code 1, and the area code alone says whose a number is. The library takes eight
// microseconds to tell.
var northAmerican [1000]atomic.Pointer[string]

func northAmerica(n Number) string {
	area := n[2:5]
	i := int(area[0]-'0')*100 + int(area[1]-'0')*10 + int(area[2]-'0')
	if region := northAmerican[i].Load(); region != nil {
		return *region
	}
	region := lookUp("+1"+area+"2345678", 1)
	northAmerican[i].Store(&region)
	return region
}

// shared holds the regions of numbers whose calling code several countries share, but for 1.
var shared, _ = lru.New[Number, string](cacheSize) // errs only for sizes below 1

// mainRegions are the countries that have a calling code to themselves.
var mainRegions = sync.OnceValue(func() map[int]string {
	alone := map[int]string{}
	for code := range phonenumbers.GetSupportedCallingCodes() {
		if regions := phonenumbers.GetRegionCodesForCountryCode(code); len(regions) == 1 {
			alone[code] = regions[0]
		}
	}
	return alone
})

// lookUp asks the library.
func lookUp(n Number, code int) string {
	if p, err := phonenumbers.Parse(string(n), ""); err == nil {
		if region := phonenumbers.GetRegionCodeForNumber(p); region != "" {
			return region
		}
	}
	return phonenumbers.GetRegionCodeForCountryCode(code)
}

// IsRegion reports whether a text is a country that [Number.Region] may answer.
func IsRegion(s string) bool { return s == "001" || phonenumbers.GetSupportedRegions()[s] }
