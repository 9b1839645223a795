package api

import "time"

// A Problem is why a request was refused, as application/problem+json (RFC 9457).
type Problem struct {
	Title  string         `json:"title" example:"Unprocessable Entity" doc:"The status in words."`
	Status int            `json:"status" example:"422" doc:"The HTTP status."`
	Code   string         `json:"code" example:"invalid" doc:"A stable word for programs."`
	Detail string         `json:"detail" doc:"A sentence for people: what is wrong, and what to do."`
	Errors []FieldProblem `json:"errors,omitempty" doc:"Everything that is wrong with the fields."`

	// RetryAfter is how long the server says to wait, with the statuses 429 and 503, and with 409 while its twin is in flight. It is in a header.
	RetryAfter time.Duration `json:"-"`
}

// A FieldProblem is one thing that is wrong with one field of a request.
type FieldProblem struct {
	Field   string `json:"field" example:"code_length" doc:"The field's name."`
	Message string `json:"message" example:"must be less than or equal to 20" doc:"What is wrong with it, with the bound."`
}

// Error implements error.
func (p *Problem) Error() string {
	text := p.Code + ": " + p.Detail
	for _, f := range p.Errors {
		text += "; " + f.Field + " " + f.Message
	}
	return text
}
