package phone

import "strings"

// languages are the main languages of regions, as ISO 639-1 and ISO 3166 write both: what a person
// who is called there most likely understands. A region that isn't here speaks none of these, or none
// of them to most.
var languages = languagesOf(map[string]string{
	"ar": "AE BH DZ EG IQ JO KW LB LY MA MR OM PS QA SA SD SY TN YE",
	"de": "AT CH DE LI",
	"en": "AC AG AI AS AU BB BM BS BW BZ CA CC CK CX DM FJ FK GB GD GG GH GI GM GU GY HK IE IM IO JE JM KE KN KY LC LR MP MS MT NA NF NG NZ " +
		"PG PH SB SG SH SL SX TA TC TT UG US VC VG VI ZA ZM ZW",
	"es": "AD AR BO CL CO CR CU DO EC ES GQ GT HN MX NI PA PE PR PY SV UY VE",
	"fr": "BF BJ BL CD CF CG CI CM FR GA GF GN GP LU MC MF ML MQ NC NE PF PM RE SN TG WF YT",
	"hi": "IN",
	"id": "ID",
	"it": "IT SM VA",
	"ja": "JP",
	"nl": "AW BE BQ CW NL SR",
	"pl": "PL",
	"pt": "AO BR CV GW MZ PT ST",
	"ru": "BY KG KZ RU",
	"tr": "TR",
	"zh": "CN MO TW",
})

func languagesOf(regions map[string]string) map[string]string {
	of := map[string]string{}
	for language, all := range regions {
		for _, region := range strings.Fields(all) {
			if other := of[region]; other != "" {
				panic("phone: " + region + " has two main languages")
			}
			of[region] = language
		}
	}
	return of
}

// Language is the main language of the number's region, such as "de"; "" where it is none of the
// fifteen that calls are spoken in.
func (n Number) Language() string { return languages[n.Region()] }
