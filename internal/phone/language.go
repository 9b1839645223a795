package phone

import "strings"

// languages maps regions to their main languages, as ISO 3166 and BCP 47 write them: the language
// that a person called there most likely understands. Regions are missing if most of their people
// speak none of these languages.
var languages = languagesOf(map[string]string{
	"ar": "AE BH DZ EG IQ JO KW LB LY MA MR OM PS QA SA SD SY TN YE",
	"cs": "CZ SK",
	"da": "DK FO GL",
	"de": "AT CH DE LI",
	"el": "CY GR",
	"en": "AC AG AI AS AU BB BM BS BW BZ CA CC CK CX DM FJ FK GB GD GG GH GI GM GU GY HK IE IM IO JE JM KE KN KY LC LR MP MS MT NA NF NG NZ " +
		"PG PH SB SG SH SL SX TA TC TT UG US VC VG VI ZA ZM ZW",
	"es": "AD ES GQ",
	// Spanish of Latin America has words of its own.
	"es-419": "AR BO CL CO CR CU DO EC GT HN MX NI PA PE PR PY SV UY VE",
	"fr":     "BF BJ BL CD CF CG CI CM FR GA GF GN GP LU MC MF ML MQ NC NE PF PM RE SN TG WF YT",
	"fi":     "FI",
	"hi":     "IN",
	"hu":     "HU",
	"id":     "ID",
	"it":     "IT SM VA",
	"ja":     "JP",
	"ko":     "KP KR",
	"nb":     "NO SJ",
	"nl":     "AW BE BQ CW NL SR",
	"pl":     "PL",
	"pt":     "AO BR CV GW MZ PT ST",
	"ro":     "MD RO",
	"ru":     "BY KG KZ RU",
	"sv":     "AX SE",
	"tr":     "TR",
	"uk":     "UA",
	"vi":     "VN",
	"zh":     "CN MO TW",
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

// Language returns the main language of the number's region, such as "de". It returns "" if that
// isn't one of the languages in which calls are spoken.
func (n Number) Language() string { return languages[n.Region()] }
