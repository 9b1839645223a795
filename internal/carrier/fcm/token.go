package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/verify"
)

// An access is an access token, and until when to use it.
type access struct {
	token string
	until time.Time
}

// renewal is how long before its end an access token is renewed.
const renewal = 5 * time.Minute

// authorize returns an access token. Pushes that need a new one concurrently wait for the one request that is made.
func (a *app) authorize(ctx context.Context) (string, error) {
	select {
	case a.renewing <- struct{}{}:
		defer func() { <-a.renewing }()
	case <-ctx.Done():
		return "", carrier.Because(verify.ReasonUnreachable, errors.New("no access token in time"))
	}
	if now := a.now(); now.Before(a.access.until) {
		return a.access.token, nil
	}
	got, err := a.exchange(ctx)
	if err != nil {
		return "", err
	}
	a.access = got
	return got.token, nil
}

// forget drops an access token that was refused.
func (a *app) forget(ctx context.Context, token string) {
	select {
	case a.renewing <- struct{}{}:
		if a.access.token == token {
			a.access = access{}
		}
		<-a.renewing
	case <-ctx.Done():
	}
}

// exchange gets an access token for an assertion. Nothing was sent when it fails.
func (a *app) exchange(ctx context.Context) (access, error) {
	now := a.now()
	assertion, err := a.Account.assertion(now)
	if err != nil {
		return access{}, err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}.Encode()
	resp, err := a.client.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Account.TokenURL, strings.NewReader(form))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	})
	if err != nil {
		return access{}, carrier.Because(verify.ReasonUnreachable, errors.New("get an access token: "+err.Error()))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, exchange.MaxAnswer))
	if resp.StatusCode == http.StatusBadRequest { // invalid_grant: the account was deleted, its key revoked, or our clock is wrong
		return access{}, carrier.Misconfigured(carrier.Refused(exchange.Status(resp)))
	}
	if err := push.Decide(resp, now); err != nil {
		return access{}, err
	}
	var answer struct {
		Token string `json:"access_token"`
		Life  int    `json:"expires_in"` // seconds
	}
	if err != nil || json.Unmarshal(text, &answer) != nil || answer.Token == "" || strings.ContainsAny(answer.Token, "\r\n") {
		return access{}, carrier.Because(verify.ReasonError, errors.New("the answer holds no access token"))
	}
	life := time.Duration(min(max(answer.Life, 0), 3600)) * time.Second
	return access{answer.Token, now.Add(life - min(renewal, life/2))}, nil
}
