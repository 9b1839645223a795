package verify

import (
	"errors"
	"time"

	"github.com/countersign/countersign/internal/phone"
)

// A Reach is whether messages can go to a number by a channel now.
type Reach struct {
	Channel Channel
	Served  bool      // a carrier serves the channel, the number and the project
	OpensAt time.Time // when the first of these carriers is tried again, if all have failed lately; zero: one takes messages
}

// Reaches says by which channels the account's project can send to a number. A number to which it may never send is an
// [ErrInvalid]. The answer depends on the country and not on what was sent to the number before, which may be another
// project's business.
func (s *Service) Reaches(acct *Account, to string) (phone.Number, []Reach, error) {
	var p problems
	n := p.number(FieldTo, to, &acct.Project)
	if err := p.err(); err != nil {
		return "", nil, err
	}
	var all []Reach
	for _, c := range NumberChannels() {
		// Where a rule has weights, the id decides their order only.
		err := s.outbox.Reaches(Envelope{Project: acct.Project.ID, Application: acct.Application.ID, Channel: c, To: n})
		r := Reach{Channel: c, Served: !errors.Is(err, ErrNoCarrier)}
		var down *Error
		if errors.Is(err, ErrCarriersDown) && errors.As(err, &down) {
			r.OpensAt = s.now().Add(down.RetryAfter)
		}
		all = append(all, r)
	}
	return n, all, nil
}
