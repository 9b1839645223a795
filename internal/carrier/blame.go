package carrier

import "github.com/countersign/countersign/internal/verify"

// Blaming gives an error a blame other than its reason's, and keeps what it decides.
func Blaming(b verify.Blame, err error) error {
	e := *Decision(err)
	e.blame, e.Err = &b, err
	return &e
}

// Whose says whose failure an error is: as [Blaming] said, else as its reason tells.
func (e *Error) Whose() verify.Blame {
	if e.blame != nil {
		return *e.blame
	}
	return e.Reason.Blame()
}
