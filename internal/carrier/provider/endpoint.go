package provider

import (
	"context"

	"github.com/countersign/countersign/internal/verify"
)

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

// TryToken asks for a token, if requests need one. It sends no message.
func TryToken(ctx context.Context, c Config) (needed bool, err error) {
	p, err := New(c)
	if err != nil || p.tokens == nil {
		return false, err
	}
	defer p.client.CloseIdleConnections()
	_, err = p.tokens.get(ctx, "")
	return true, err
}
