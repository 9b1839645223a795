// Package geo says in words where an IP address is, by a database in MaxMind's format (MMDB): GeoLite2, GeoIP2, DB-IP and
// others have that. It asks nobody, and what it says is a guess: an address is where its network's provider is.
package geo

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Places finds places of addresses. It is safe for concurrent use.
type Places struct{ db *maxminddb.Reader }

// Open reads a database. The file may be replaced meanwhile: what was read holds until the next start.
func Open(path string) (*Places, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	db, err := maxminddb.OpenBytes(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if kind := db.Metadata.DatabaseType; !strings.Contains(kind, "City") && !strings.Contains(kind, "Country") {
		return nil, errors.New(path + ": is a database of the type " + kind + "; one of cities or countries is needed")
	}
	return &Places{db}, nil
}

// names are a place's, by language.
type names map[string]string

// in returns a name in a language, a BCP 47 tag, or else in English.
func (n names) in(locale string) string {
	language, _, _ := strings.Cut(locale, "-")
	return cmp.Or(n[locale], n[language], n["en"])
}

// Of returns the city and country of an address, or what is known of them; "" if that is nothing.
func (p *Places) Of(a netip.Addr, locale string) string {
	var found struct {
		City struct {
			Names names `maxminddb:"names"`
		} `maxminddb:"city"`
		Country struct {
			Names names `maxminddb:"names"`
		} `maxminddb:"country"`
	}
	if err := p.db.Lookup(a).Decode(&found); err != nil { // a damaged record is no reason to refuse a start
		return ""
	}
	city, country := found.City.Names.in(locale), found.Country.Names.in(locale)
	if city == "" || country == "" {
		return city + country
	}
	return city + ", " + country
}
