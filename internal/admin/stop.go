package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// Fields of what changes while servers run.
const (
	FieldCountry  verify.Field = "country"
	FieldMaxPrice verify.Field = "max_price"
	FieldWeight   verify.Field = "weight"
)

// Stops lists what operators have stopped.
func (s *Service) Stops(ctx context.Context) ([]verify.Stop, error) { return s.store.Stops(ctx) }

// StopCountry stops messages to a country's numbers, of all projects and on all servers, within a second. It fails with
// [verify.ErrInvalid].
func (s *Service) StopCountry(ctx context.Context, by Actor, country, note string) error {
	return s.stopCountry(ctx, by, "country stop", verify.StopCountry, country, note)
}

func (s *Service) stopCountry(ctx context.Context, by Actor, action string, kind verify.StopKind, country, note string) error {
	var wrong problems
	if !phone.IsRegion(country) {
		wrong.add(FieldCountry, "must be a country in two letters, such as US")
	}
	return s.stop(ctx, by, action, verify.Stop{Kind: kind, Name: country, Note: note}, wrong)
}

// WatchCountry has messages to a country's numbers counted and logged, on all servers, within a second. A country that was stopped
// is allowed by that. It fails with [verify.ErrInvalid].
func (s *Service) WatchCountry(ctx context.Context, by Actor, country, note string) error {
	return s.stopCountry(ctx, by, "country watch", verify.Watch, country, note)
}

// AllowCountry allows messages to a country again, which isn't watched any more either. It fails with [verify.ErrNotStopped].
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

// A CountryLimitChange has the parts of a country's limit that are to change. What is nil stays as it is; [verify.NoCap] takes a
// bound away.
type CountryLimitChange struct {
	MaxPrice                  *money.Amount
	HourMessages, DayMessages *int
	Note                      string
}

// CountryLimits lists the limits of countries.
func (s *Service) CountryLimits(ctx context.Context) ([]verify.CountryLimit, error) {
	return s.store.CountryLimits(ctx)
}

// CountryUse is how much of a country's limit is used.
func (s *Service) CountryUse(ctx context.Context, l verify.CountryLimit) (verify.Spent, error) {
	return s.store.CountryUse(ctx, l)
}

// LimitCountry limits the messages to a country's numbers, of all projects or of one, on all servers within a second. A limit
// that bounds nothing any more is gone. It fails with [verify.ErrInvalid] and with [verify.ErrNoProject].
func (s *Service) LimitCountry(ctx context.Context, by Actor, p verify.ProjectID, country string, c CountryLimitChange) (verify.CountryLimit, error) {
	return s.store.ChangeCountryLimit(ctx, p, country, func(l *verify.CountryLimit) ([]store.Audit, error) {
		before := *l
		assign(&l.MaxPrice, c.MaxPrice)
		assign(&l.HourMessages, c.HourMessages)
		assign(&l.DayMessages, c.DayMessages)
		l.Actor, l.Note = string(by), c.Note
		var wrong problems
		if !phone.IsRegion(country) {
			wrong.add(FieldCountry, "must be a country in two letters, such as US")
		}
		wrong.amount(FieldMaxPrice, l.MaxPrice)
		wrong.messages(FieldHourMessages, l.HourMessages)
		wrong.messages(FieldDayMessages, l.DayMessages)
		wrong.note(c.Note)
		if err := wrong.err(); err != nil {
			return nil, err
		}
		return []store.Audit{by.did("country limit", strings.TrimSpace(country+" "+differences(limitSettings(before), limitSettings(*l))+" "+c.Note))}, nil
	})
}

func limitSettings(l verify.CountryLimit) [][2]string {
	return [][2]string{
		{"max-price", capText(int(l.MaxPrice), l.MaxPrice.String())},
		{"hour-messages", capText(l.HourMessages, strconv.Itoa(l.HourMessages))},
		{"day-messages", capText(l.DayMessages, strconv.Itoa(l.DayMessages))},
	}
}

// Weights lists the weights that carriers have in place of the configuration's.
func (s *Service) Weights(ctx context.Context) ([]verify.Weight, error) { return s.store.Weights(ctx) }

// maxWeight is a carrier's largest weight, as in the configuration.
const maxWeight = 1000

// SetWeights gives carriers of a route other weights than the configuration does, on all servers within a second. It fails with
// [verify.ErrInvalid].
func (s *Service) SetWeights(ctx context.Context, by Actor, route string, weights map[string]int, note string) error {
	var wrong problems
	var all []verify.Weight
	var said []string
	for _, carrier := range slices.Sorted(maps.Keys(weights)) {
		w := weights[carrier]
		if w < 0 || w > maxWeight {
			wrong.addOf(FieldWeight, carrier, "must be 0 to %d", maxWeight)
		}
		all = append(all, verify.Weight{Route: route, Carrier: carrier, Weight: w, Actor: string(by), Note: note})
		said = append(said, fmt.Sprintf("%s=%d", carrier, w))
	}
	wrong.note(note)
	if err := wrong.err(); err != nil {
		return err
	}
	return s.store.SetWeights(ctx, all, by.did("route weight", strings.TrimSpace(fmt.Sprintf("%s: %s %s", route, strings.Join(said, " "), note))))
}

// ResetWeights has the configuration's weights hold for a route again. It fails with [verify.ErrNotWeighed].
func (s *Service) ResetWeights(ctx context.Context, by Actor, route string) error {
	return s.store.ResetWeights(ctx, route, by.did("route weight", route+": the configuration's"))
}

// note checks why something is changed.
func (wrong *problems) note(note string) {
	if note != "" && !verify.IsLabel(note, maxNote) {
		wrong.add(FieldNote, "must be at most %d printable characters", maxNote)
	}
}

func (s *Service) stop(ctx context.Context, by Actor, action string, stop verify.Stop, wrong problems) error {
	wrong.note(stop.Note)
	if err := wrong.err(); err != nil {
		return err
	}
	stop.Actor = string(by)
	return s.store.Stop(ctx, stop, by.did(action, strings.TrimSpace(stop.Name+" "+stop.Note)))
}
