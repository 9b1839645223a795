package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// Users from before numbers had keys get them, and then an index leads to them.
func TestUsersFromBeforeAreFoundByTheirNumber(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Store) {
		application := makeApplication(t, s)
		fill(t, s, application, 0, 300)
		s.write.Exec(`UPDATE app_user SET address = 'voice:+541123456789' WHERE name = 'u1'`)
		s.write.Exec(`UPDATE app_user SET address = 'what?' WHERE name = 'u2'`)
		s.write.Exec(`UPDATE app_user SET address = '' WHERE name = 'u3'`)
		unique := verify.Application{ID: application, Project: "p", Name: "shop", Version: 2, UniqueNumbers: true}
		if err := s.UpdateApplication(t.Context(), unique, false); !errors.Is(err, verify.ErrNumbersUnready) {
			t.Errorf("unique numbers, while those of users have no keys: %v, want %v", err, verify.ErrNumbersUnready)
		}
		if _, err := s.Retain(t.Context(), s.now()); err != nil {
			t.Fatal(err)
		}
		if err := s.UpdateApplication(t.Context(), unique, false); err != nil {
			t.Errorf("unique numbers, once those of users have keys: %v", err)
		}
		var empty int
		if err := s.write.QueryRow(`SELECT count(*) FROM app_user WHERE number = ''`).Scan(&empty); err != nil || empty != 1 {
			t.Errorf("%d users have no key, %v; want the one without a number", empty, err)
		}
		found, err := s.UsersAfter(t.Context(), "p", application, 0, phone.Number("+5491123456789").Key(), "", 10)
		if err != nil || len(found) != 1 || found[0].Name != "u1" {
			t.Errorf("by another form of the number: got %+v, %v", found, err)
		}

		explain := `EXPLAIN QUERY PLAN `
		if s.postgres {
			explain = `EXPLAIN `
			s.write.Exec(`ANALYZE app_user`)
		}
		rows, err := s.write.Query(explain+selectHolder, application[:], "+12025550100", "ada")
		if err != nil {
			t.Fatal(err)
		}
		if plan := planText(t, rows); !strings.Contains(plan, "app_user_number") {
			t.Errorf("who has a number isn't looked up by it:\n%s", plan)
		}
	})
}
