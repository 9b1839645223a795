package admin

import (
	"context"
	"strings"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// FieldCountry is a country that is stopped or allowed.
const FieldCountry verify.Field = "country"

// Stops lists what operators have stopped.
func (s *Service) Stops(ctx context.Context) ([]verify.Stop, error) { return s.store.Stops(ctx) }

// StopCountry stops messages to a country's numbers, of all projects and on all servers, within a second. It fails with
// [verify.ErrInvalid].
func (s *Service) StopCountry(ctx context.Context, by Actor, country, note string) error {
	var wrong problems
	if !phone.IsRegion(country) {
		wrong.add(FieldCountry, "must be a country in two letters, such as US")
	}
	return s.stop(ctx, by, "country stop", verify.Stop{Kind: verify.StopCountry, Name: country, Note: note}, wrong)
}

// AllowCountry allows messages to a country again. It fails with [verify.ErrNotStopped].
func (s *Service) AllowCountry(ctx context.Context, by Actor, country string) error {
	return s.store.Allow(ctx, verify.StopCountry, country, by.did("country allow", country))
}

// DrainCarrier gives a carrier no more messages, on all servers, within a second. It fails with [verify.ErrInvalid].
func (s *Service) DrainCarrier(ctx context.Context, by Actor, carrier, note string) error {
	return s.stop(ctx, by, "carrier drain", verify.Stop{Kind: verify.StopCarrier, Name: carrier, Note: note}, nil)
}

// ResumeCarrier gives a carrier messages again. It fails with [verify.ErrNotStopped].
func (s *Service) ResumeCarrier(ctx context.Context, by Actor, carrier string) error {
	return s.store.Allow(ctx, verify.StopCarrier, carrier, by.did("carrier resume", carrier))
}

func (s *Service) stop(ctx context.Context, by Actor, action string, stop verify.Stop, wrong problems) error {
	if stop.Note != "" && !verify.IsLabel(stop.Note, maxNote) {
		wrong.add(FieldNote, "must be at most %d printable characters", maxNote)
	}
	if err := wrong.err(); err != nil {
		return err
	}
	stop.Actor = string(by)
	return s.store.Stop(ctx, stop, by.did(action, strings.TrimSpace(stop.Name+" "+stop.Note)))
}
