package phone

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nyaruka/phonenumbers"
)

// A Kind is a class of numbers that cost callers or carriers more than ordinary ones, or that reach no
// person's phone.
type Kind string

const (
	Ordinary   Kind = ""
	Premium    Kind = "premium"
	SharedCost Kind = "shared-cost"
	Satellite  Kind = "satellite" // and the international networks beside it: +870, +881 to +883
	Pager      Kind = "pager"
	UAN        Kind = "uan" // a company's number for a whole country
	Personal   Kind = "personal"
)

// Kinds lists all kinds except Ordinary.
var Kinds = []Kind{Premium, SharedCost, Satellite, Pager, UAN, Personal}

// worldKinds maps calling codes that belong to no country to their kind, whether or not a
// number is assigned.
var worldKinds = map[int]Kind{
	808: SharedCost, 870: Satellite, 878: Personal, 881: Satellite, 882: Satellite, 883: Satellite, 888: UAN, 979: Premium,
}

// Possible reports whether the number has a length that its national plan can
// assign and other countries can dial. It doesn't report whether the number is
// assigned.
func (n Number) Possible() bool { return isNorthAmerican(string(n)) || n.plan().possible }

// Kind returns the number's kind by its national plan. A number that no plan assigns is
// ordinary.
func (n Number) Kind() Kind {
	if isNorthAmerican(string(n)) {
		if a := areaOf(n); a.plain {
			return a.kind
		}
	}
	return n.plan().kind
}

// Key returns the number under which a phone is remembered. It is the same for all forms that reach the
// phone, and is its own key. National plans give some phones several forms: with and without Argentina's
// 9, Brazil's 9 or Italy's zero, or with trailing digits that networks ignore.
func (n Number) Key() Number {
	if isNorthAmerican(string(n)) {
		return n
	}
	return n.plan().key
}

// A plan holds the library's data about a number.
type plan struct {
	key      Number
	region   string // "" where it isn't looked up by number
	kind     Kind
	possible bool
}

// plans caches the plans of recently used numbers. Computing one takes tens of microseconds.
var plans, _ = lru.New[Number, plan](cacheSize) // New fails only for sizes below 1

func (n Number) plan() plan {
	if p, ok := plans.Get(n); ok {
		return p
	}
	p := planOf(n)
	plans.Add(n, p)
	return p
}

func planOf(n Number) plan {
	read, ok := n.read()
	if !ok {
		return plan{key: n}
	}
	code := int(read.GetCountryCode())
	p := plan{
		key: n, kind: kindOf(n),
		region:   phonenumbers.GetRegionCodeForNumber(read),
		possible: phonenumbers.IsPossibleNumberWithReason(read) == phonenumbers.IS_POSSIBLE,
	}
	valid := p.region != "" // if several countries have the code
	if _, alone := mainRegions()[code]; alone {
		valid = phonenumbers.IsValidNumber(read)
	}
	if p.region == "" {
		p.region = phonenumbers.GetRegionCodeForCountryCode(code)
	}
	if !valid || oneForm(n) != n {
		p.key, p.kind = assigned(n)
	}
	return p
}

// assigned returns the assigned number of the phone that n reaches, and the kind of the number that is
// dialled. Networks ignore digits after a complete number, because no number is a prefix of another. So
// assigned drops trailing digits until a plan assigns the rest.
func assigned(n Number) (key Number, kind Kind) {
	for whole := n; len(whole) > minDigits; whole = whole[:len(whole)-1] {
		if kind == Ordinary {
			kind = kindOf(whole)
		}
		if form := oneForm(whole); key == "" && form.valid() {
			key = form
		}
		if kind != Ordinary || whole.valid() {
			break
		}
	}
	return cmp.Or(key, oneForm(n)), kind
}

// read converts a number to the library's type without its parser, which takes much longer. It reports
// false for a Number that [Parse] didn't make.
func (n Number) read() (*phonenumbers.PhoneNumber, bool) {
	code := n.CountryCode()
	if code == 0 {
		return nil, false
	}
	digits := n.national(code)
	national, err := strconv.ParseUint(digits, 10, 64)
	country, zeros := int32(code), int32(len(digits)-len(strings.TrimLeft(digits, "0")))
	p := &phonenumbers.PhoneNumber{CountryCode: &country, NationalNumber: &national}
	if hasZeros := zeros > 0; hasZeros {
		p.ItalianLeadingZero, p.NumberOfLeadingZeros = &hasZeros, &zeros
	}
	return p, err == nil
}

// national returns the digits after the calling code.
func (n Number) national(code int) string { return string(n[1+len(strconv.Itoa(code)):]) }

// valid reports whether a plan assigns the number to somebody.
func (n Number) valid() bool {
	p, ok := n.read()
	return ok && phonenumbers.IsValidNumber(p)
}

// kindOf returns the kind of a complete number, and Ordinary for any other.
func kindOf(n Number) Kind {
	code := n.CountryCode()
	if kind, ok := worldKinds[code]; ok {
		return kind
	}
	national := n.national(code)
	for _, s := range specials()[code] {
		if s.pattern().MatchString(national) {
			return s.kind
		}
	}
	return Ordinary
}

// oneForm returns the one form that stands for all forms of a number. Argentina's mobile numbers have a 9
// only when dialled from abroad, so their form is the one with it. Brazil's older mobile numbers get their
// 9. If both an Italian number with the leading zero and one without are assigned, they are two phones.
func oneForm(n Number) Number {
	switch {
	case strings.HasPrefix(string(n), "+54") && len(n) == len("+541123456789") && '1' <= n[3] && n[3] <= '3':
		return "+549" + n[3:]
	case strings.HasPrefix(string(n), "+55") && len(n) == len("+551161234567") && '6' <= n[5] && n[5] <= '9':
		return n[:5] + "9" + n[5:]
	case strings.HasPrefix(string(n), "+39"):
		return italian(n)
	}
	return n
}

func italian(n Number) Number {
	bare := "+39" + Number(strings.TrimLeft(string(n[3:]), "0"))
	zero := "+390" + bare[3:]
	first, second := bare, zero
	if n[3] == '0' {
		first, second = zero, bare
	}
	for _, form := range []Number{first, second} {
		if form.valid() {
			return form
		}
	}
	return zero
}

// A special is the pattern of the national numbers of one kind.
type special struct {
	kind    Kind
	pattern func() *regexp.Regexp
}

// specials returns the specials of each calling code.
var specials = sync.OnceValue(func() map[int][]special {
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		panic("phone: " + err.Error()) // the library's own tables are broken
	}
	of := map[int][]special{}
	for _, m := range all.GetMetadata() {
		code := int(m.GetCountryCode())
		for kind, desc := range map[Kind]*phonenumbers.PhoneNumberDesc{
			Premium: m.GetPremiumRate(), SharedCost: m.GetSharedCost(), Pager: m.GetPager(), UAN: m.GetUan(), Personal: m.GetPersonalNumber(),
		} {
			if pattern := desc.GetNationalNumberPattern(); pattern != "" && pattern != "NA" {
				of[code] = append(of[code], special{kind, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") })})
			}
		}
	}
	return of
})
