package provider

import "github.com/countersign/countersign/internal/verify"

// Endpoint returns the URL that messages are sent to. It may hold the account, so show only its host.
func (c Config) Endpoint() (string, error) {
	p, err := New(c)
	if err != nil {
		return "", err
	}
	r, err := p.templates.render(p.Spec, p.fields(verify.Message{}))
	if err != nil {
		return "", err
	}
	return r.url, nil
}
