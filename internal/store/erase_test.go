package store_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// No table has a word of an erased number, its verification's text, its user or what the caller said of them. A column that is new, and
// that holds such a thing, has to be erased too: give it a value here.
func TestNothingOfAnErasedNumberIsLeft(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			const to, written phone.Number = "+5491123456789", "+541123456789"
			now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
			o := store.Options{Now: func() time.Time { return now }}
			driver, source, tables := "sqlite", newFile(t), `SELECT name FROM sqlite_master WHERE type = 'table'`
			if engine == "PostgreSQL" {
				driver, source, tables = "pgx", storetest.Database(t), `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`
				o.Postgres = &store.Postgres{URL: source, Timeout: time.Minute}
			} else {
				o.Path = source
			}
			s, err := store.Open(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			raw, err := sql.Open(driver, source)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			left := func() (found []string) {
				t.Helper()
				for _, table := range column(t, raw, tables) {
					for _, row := range column(t, raw, `SELECT * FROM "`+table+`"`) {
						for _, word := range []string{"1123456789", "alice", "Your code", "It is", "cart-17", "49.90 EUR", "Bookshop", "192.0.2.", "the carrier's id", "the agent", "the MAC", "sealed"} {
							if strings.Contains(row, word) {
								found = append(found, table+" has "+word)
							}
						}
					}
				}
				return found
			}
			if err := s.CreateProject(ctx, verify.Project{ID: "p", Name: "P", Profile: verify.ProfileCompat}); err != nil {
				t.Fatal(err)
			}
			app := verify.Application{ID: verify.NewID(now), Project: "p", Name: "shop", CreatedAt: now, UpdatedAt: now, Version: 1}
			if err := s.CreateApplication(ctx, app, false, 10); err != nil {
				t.Fatal(err)
			}
			id := verify.NewID(now)
			v := &verify.Verification{
				ID: id, Project: "p", Application: app.ID, User: "bob", Purpose: verify.PurposeMFA, APIKey: verify.ID{2}, Address: "192.0.2.1",
				Terms: verify.Terms{
					Channel: verify.ChannelSMS, To: to, Written: written, Sender: "shop", Text: "Your code is {code}, alice", Length: 6, MaxAttempts: 3, ExpiresAt: now.Add(time.Hour),
					Fallbacks: []verify.Fallback{{Channel: verify.ChannelVoice, Text: "It is {code}."}},
					Details: verify.Details{
						Metadata: map[string]string{"cart": "cart-17"}, Payment: verify.Payment{Amount: "49.90 EUR", Payee: "Bookshop"},
						Client: verify.Client{IP: "192.0.2.9", UserAgent: "the agent"},
					},
				},
				Code: verify.Code{KeyID: 1, CodeMAC: []byte("the MAC"), SealedCode: []byte("sealed")},
			}
			if err := s.StartUser(ctx, v, verify.UserStart{Associate: true, Address: string(written), Lease: time.Minute}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{Verification: id, Attempt: 1, Channel: verify.ChannelSMS, Carrier: "c", Ref: "the carrier's id", StartedAt: now}}); err != nil {
				t.Fatal(err)
			}
			if n := len(left()); n < 11 {
				t.Fatalf("before it, %d words are there: this shows nothing: %q", n, left())
			}
			now = now.Add(48 * time.Hour)
			if err := s.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := s.EraseDestination(ctx, "p", written, "me"); err != nil {
				t.Fatal(err)
			}
			for _, found := range left() {
				t.Error(found)
			}
		})
	}
}

// A server whose last decision was about a verification that is erased doesn't take its database for an older copy.
func TestAnErasureIsNoOlderCopy(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	o := store.Options{Path: path, Witness: path + ".witness"}
	other, erased := pending(time.Now(), number(0)), pending(time.Now(), number(1))
	for i := range 2 {
		s, err := store.Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0:
			for _, v := range []*verify.Verification{other, erased} {
				if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{Verification: erased.ID, Attempt: 1, Channel: verify.ChannelSMS, Carrier: "c", StartedAt: time.Now()}}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Check(ctx, guess(erased, "000000")); err != nil { // the last decision
				t.Fatal(err)
			}
			if err := s.Attend(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := s.EraseDestination(ctx, erased.Project, erased.To, "me"); err != nil {
				t.Fatal(err)
			}
		case 1:
			if out, err := s.Check(ctx, guess(other, "483920")); err != nil || !out.Approved {
				t.Errorf("another number's right code: got %+v, %v", out, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// column reads rows as texts.
func column(t *testing.T, db *sql.DB, text string) (all []string) {
	t.Helper()
	rows, err := db.Query(text)
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		cells := make([]any, len(columns))
		for i := range cells {
			cells[i] = new(sql.RawBytes)
		}
		if err := rows.Scan(cells...); err != nil {
			t.Fatal(err)
		}
		for i := range cells {
			cells[i] = string(*cells[i].(*sql.RawBytes))
		}
		all = append(all, strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(cells), "["), "]"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
