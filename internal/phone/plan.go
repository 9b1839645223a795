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

// A Kind of number costs its callers or its carriers more than others do, or reaches no person's phone.
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

// Kinds are all that aren't ordinary.
var Kinds = []Kind{Premium, SharedCost, Satellite, Pager, UAN, Personal}

// worldKinds are the kinds of calling codes that no country has, whatever of them is assigned.
var worldKinds = map[int]Kind{
	808: SharedCost, 870: Satellite, 878: Personal, 881: Satellite, 882: Satellite, 883: Satellite, 888: UAN, 979: Premium,
}

// Possible reports whether the number has a length that its national plan can
// assign and other countries can dial. It doesn't say that anybody holds it.
func (n Number) Possible() bool { return isNorthAmerican(string(n)) || n.plan().possible }

// Kind is what the number's plan says that it is for. A number that no plan assigns is ordinary.
func (n Number) Kind() Kind {
	if isNorthAmerican(string(n)) {
		if a := areaOf(n); a.plain {
			return a.kind
		}
	}
	return n.plan().kind
}

// Key is the number under which a phone is remembered: the same for all forms that reach it, and its own
// key. National plans give some phones several: with and without Argentina's 9 or Brazil's, Italy's zero,
// and with digits at the end that networks ignore.
func (n Number) Key() Number {
	if isNorthAmerican(string(n)) {
		return n
	}
	return n.plan().key
}

// A plan is what the library knows of a number.
type plan struct {
	key      Number
	region   string // "" where it isn't looked up by number
	kind     Kind
	possible bool
}

// plans are those of numbers that were asked for lately. Reading one takes tens of microseconds.
var plans, _ = lru.New[Number, plan](cacheSize) // errs only for sizes below 1

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
	valid := p.region != "" // where several countries have the code
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

// assigned finds the number that a plan assigns to the phone that n reaches, and the kind of the number that
// is dialled. What comes behind a whole number reaches the same phone: no number is the beginning of
// another's.
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

// read makes the library's of a number, which its own parser takes much longer to do. There is none of what
// didn't come from [Parse].
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

// national is the number behind its calling code.
func (n Number) national(code int) string { return string(n[1+len(strconv.Itoa(code)):]) }

// valid reports whether a plan assigns the number to anybody.
func (n Number) valid() bool {
	p, ok := n.read()
	return ok && phonenumbers.IsValidNumber(p)
}

// kindOf is the kind of what is dialled, if that is a whole number.
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

// oneForm takes the form with the 9 for Argentina's numbers, of which mobile ones have it abroad only, and
// for Brazil's mobile ones from before they got it. Where both a number with Italy's zero and one without
// are assigned, they are two phones.
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

// A special is what national numbers of a kind look like.
type special struct {
	kind    Kind
	pattern func() *regexp.Regexp
}

// specials are those of calling codes.
var specials = sync.OnceValue(func() map[int][]special {
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		panic("phone: " + err.Error()) // the library's own tables
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
