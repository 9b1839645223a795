package carrier

import (
	"errors"
	"fmt"
)

// A Fault is what is wrong with one field of a carrier's configuration, by the name that operators know.
// It quotes no secret.
type Fault struct{ Field, Message string }

func (f Fault) Error() string { return f.Field + ": " + f.Message }

// Faulty joins the faults of a carrier's configuration into one error. It returns nil if there are none.
func Faulty(carrier string, faults []Fault) error {
	var all []error
	for _, f := range faults {
		all = append(all, fmt.Errorf("carrier %s: %w", carrier, f))
	}
	return errors.Join(all...)
}
