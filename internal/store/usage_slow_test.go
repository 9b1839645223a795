package store_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// sumsOfDays are the statements that make the months and sums of a database which has days already.
func sumsOfDays(t *testing.T, engine string) (all []string) {
	t.Helper()
	folder := map[string]string{"SQLite": "migrations", "PostgreSQL": "migrations/postgres"}[engine]
	for _, name := range []string{"00034_live.sql", "00046_usage_sums.sql", "00047_usage_countries.sql"} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		for statement := range strings.SplitSeq(string(text), ";\n") {
			if _, rest, ok := strings.Cut("\n"+statement, "\nINSERT INTO usage_"); ok { // behind comments
				all = append(all, "INSERT INTO usage_"+rest)
			}
		}
	}
	return all
}

// A year over 10^7 verifications, of 20 projects, two purposes, two channels, 12 countries and two carriers: how long its lists
// take. A list by month of all projects reads months, and so far fewer rows than one by day.
func TestAYearOfUsageIsListed(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "writes a year of usage")
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var s *store.Store
			driver, source := "sqlite", newFile(t)
			series := `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n`
			zero := `x'01'`
			if engine == "PostgreSQL" {
				driver, source, zero = "pgx", storetest.Database(t), `'\x01'`
				s = replica(t, source)
			} else {
				s = openSQLite(t, source, nil, nil).Store
				source += "?_pragma=busy_timeout(60000)"
			}
			raw, err := sql.Open(driver, source)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			first := verify.Day(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
			of := func(n int) string { return "(" + fmt.Sprintf(series, n-1) + ")" }
			sums := sumsOfDays(t, engine)
			if engine == "SQLite" { // it is a trigger for each row there
				if _, err := raw.Exec(`DROP TRIGGER usage_day_inserted; DROP TRIGGER usage_day_inserted_by_country`); err != nil {
					t.Fatal(err)
				}
			} else {
				sums = nil
			}
			if _, err := raw.Exec(fmt.Sprintf(`INSERT INTO usage_day (project, day, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price)
				SELECT 'p' || p.i, %d + d.i, %s, 'u' || u.i, CASE c.i WHEN 0 THEN 'sms' ELSE 'voice' END, 'C' || k.i, CASE r.i WHEN 0 THEN '' ELSE 'c' || r.i END, 'EUR', 15, 15, 15, 0, 14, 10, 100, 200
				FROM %s p, %s d, %s u, %s c, %s k, %s r`, first, zero, of(20), of(365), of(2), of(2), of(12), of(3))); err != nil {
				t.Fatal(err)
			}
			for _, text := range append(sums, "ANALYZE") {
				if _, err := raw.Exec(text); err != nil {
					t.Fatalf("%v: %s", err, text)
				}
			}
			from, until := verify.DayOf(first), verify.DayOf(first+365)
			for _, q := range []struct {
				name string
				verify.UsageQuery
			}{
				{"all projects, by month", verify.UsageQuery{Step: verify.StepMonth, By: []verify.UsagePart{verify.PartProject}}},
				{"all projects, the whole year by country and carrier", verify.UsageQuery{By: []verify.UsagePart{verify.PartCountry, verify.PartCarrier}}},
				{"one project, by month and country", verify.UsageQuery{Project: "p1", Step: verify.StepMonth, By: []verify.UsagePart{verify.PartCountry}}},
				{"all projects, by day and country", verify.UsageQuery{Step: verify.StepDay, By: []verify.UsagePart{verify.PartCountry}}},
				{"one project, by day and country", verify.UsageQuery{Project: "p1", Step: verify.StepDay, By: []verify.UsagePart{verify.PartCountry}}},
				{"one project, by month, application and purpose", verify.UsageQuery{Project: "p1", Step: verify.StepMonth, By: []verify.UsagePart{verify.PartApplication, verify.PartPurpose}}},
				{"one project, by day", verify.UsageQuery{Project: "p1", Step: verify.StepDay}},
			} {
				q.From, q.Until = from, until
				var took []time.Duration
				started := 0
				for range 20 {
					began := time.Now()
					rows, err := s.Usage(ctx, q.UsageQuery)
					if err != nil {
						t.Fatalf("%s: %v", q.name, err)
					}
					took, started = append(took, time.Since(began)), 0
					for _, u := range rows {
						started += u.Started
					}
				}
				slices.Sort(took)
				t.Logf("%s: p50 %v, p95 %v", q.name, took[9], took[18])
				projects := 20
				if q.Project != "" {
					projects = 1
				}
				if want := projects * 365 * 2 * 2 * 12 * 3 * 15; started != want {
					t.Errorf("%s: got %d verifications, want %d", q.name, started, want)
				}
			}
		})
	}
}
