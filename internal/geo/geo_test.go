package geo_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/countersign/countersign/internal/geo"
)

// database writes a small one of a type.
func database(t *testing.T, kind string) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	named := func(pairs ...mmdbtype.String) mmdbtype.Map {
		all := mmdbtype.Map{}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i]] = pairs[i+1]
		}
		return mmdbtype.Map{"names": all}
	}
	germany := named("en", "Germany", "de", "Deutschland", "pt-BR", "Alemanha")
	for network, record := range map[string]mmdbtype.Map{
		"203.0.113.0/24":  {"city": named("en", "Munich", "de", "München"), "country": germany},
		"198.51.100.0/24": {"country": germany},
		"2001:db8::/32":   {"city": named("en", "Munich")},
		"192.0.2.0/24":    {"autonomous_system_number": mmdbtype.Uint32(64500)},
	} {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, record); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "places.mmdb")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPlacesAreNamed(t *testing.T) {
	t.Parallel()
	p, err := geo.Open(database(t, "GeoLite2-City"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ address, locale, want string }{
		{"203.0.113.7", "", "Munich, Germany"},
		{"203.0.113.7", "de", "München, Deutschland"},
		{"203.0.113.7", "de-AT", "München, Deutschland"},
		{"203.0.113.7", "pt-BR", "Munich, Alemanha"},
		{"203.0.113.7", "ja", "Munich, Germany"},
		{"198.51.100.1", "de", "Deutschland"},
		{"2001:db8::1", "", "Munich"},
		{"192.0.2.1", "", ""},
		{"10.0.0.1", "", ""},
		{"2a00::1", "", ""},
	} {
		if got := p.Of(netip.MustParseAddr(test.address), test.locale); got != test.want {
			t.Errorf("%s in %q: got %q, want %q", test.address, test.locale, got, test.want)
		}
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "places.mmdb")
	if err := os.WriteFile(text, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		text:                        "invalid MaxMind DB file",
		text + ".absent":            "no such file",
		database(t, "GeoLite2-ASN"): "is a database of the type GeoLite2-ASN",
	} {
		if _, err := geo.Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", path, err, want)
		}
	}
}
