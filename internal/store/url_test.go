package store_test

import (
	"testing"

	"github.com/countersign/countersign/internal/store"
)

func TestEveryRemoteHostNeedsAnSSLMode(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"postgres://u@localhost/db":                                          true,
		"postgres://u@127.0.0.1,[::1]:5433/db":                               true,
		"postgres:///db?host=/var/run/postgresql":                            true,
		"postgres://u@db.example/db":                                         false,
		"postgres://u@localhost,db.example/db":                               false,
		"postgres://u@127.0.0.1:5432,127.0.0.2:5432,192.0.2.1:5432/db":       false,
		"postgres:///db?host=/var/run/postgresql,db.example":                 false,
		"postgres://u@localhost,db.example/db?sslmode=verify-full":           true,
		"postgres:///db?host=/var/run/postgresql,db.example&sslmode=require": true,
	} {
		if err := (&store.Postgres{URL: url}).Check(); (err == nil) != ok {
			t.Errorf("%s: got error %v, want it accepted: %v", url, err, ok)
		}
	}
}

func TestOnlyACheckedCertificateIsVerified(t *testing.T) {
	t.Parallel()
	for query, unverified := range map[string]bool{"disable": true, "allow": true, "prefer": true, "require": true, "verify-ca": false, "verify-full": false} {
		for host, remote := range map[string]bool{"db.example": true, "192.0.2.1": true, "localhost,db.example": true, "localhost": false, "127.0.0.1,[::1]": false} {
			p := store.Postgres{URL: "postgres://u@" + host + "/db?sslmode=" + query}
			if got, want := p.Unverified(), unverified && remote; got != want {
				t.Errorf("%s: got unverified %t, want %t", p.URL, got, want)
			}
		}
	}
}
