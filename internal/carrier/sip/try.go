package sip

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/carrier"
)

// Try asks a trunk whether it is there and takes our credentials, without a call, from a port of its own.
// If we register with the trunk, Try asks for the present registrations, which changes none (RFC 3261
// §10.2.3); otherwise it sends OPTIONS. It returns what the trunk answered. The error is
// [carrier.Misconfigured] if the trunk refuses us.
func Try(ctx context.Context, config Config) (answer string, err error) {
	method := wire.OPTIONS
	if config.Register {
		method = wire.REGISTER
	}
	config.Register = false // nothing is to change
	if at, err := netip.ParseAddrPort(config.withDefaults().Listen); err == nil {
		config.Listen = net.JoinHostPort(at.Addr().String(), "0") // a server may be using the port
	}
	c, err := New(config)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	status, err := c.inquire(ctx, method)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("answered %d to %s", status, method), nil
}

// inquire sends a request about ourselves to the first of the trunk's addresses that answers.
func (c *Carrier) inquire(ctx context.Context, method wire.RequestMethod) (status int, err error) {
	targets, err := c.resolve(ctx)
	if err != nil {
		return 0, err
	}
	for _, target := range targets[:min(len(targets), maxTargets)] {
		status, err = c.inquireAt(ctx, target, method)
		if !errors.Is(err, errSilent) || ctx.Err() != nil {
			break
		}
	}
	return status, err
}

// inquireAt is inquire for one address.
func (c *Carrier) inquireAt(ctx context.Context, trunk netip.AddrPort, method wire.RequestMethod) (int, error) {
	request := c.inquiry(trunk, method)
	fresh := false
	for range maxChallenges + 1 {
		first, cancel := context.WithTimeout(ctx, c.First)
		answer, err := c.client.Do(first, request, prepared)
		cancel()
		if err != nil {
			if known := carrier.Broken(err); known != carrier.ErrBroken && first.Err() == nil {
				return 0, known
			}
			return 0, errSilent
		}
		switch code := answer.StatusCode; {
		case code == 401, code == 407:
			if request, err = c.authorize(request, answer, &fresh); err != nil {
				return 0, carrier.Misconfigured(err)
			}
		case code == 403:
			return 0, carrier.Misconfigured(fmt.Errorf("the trunk answered 403 to %s", method))
		case code == 503, method == wire.REGISTER && !answer.IsSuccess():
			return 0, fmt.Errorf("the trunk answered %d to %s", code, method)
		default: // a trunk that doesn't know OPTIONS is there as well
			return code, nil
		}
	}
	return 0, carrier.Misconfigured(errPassword)
}

// inquiry builds the request. A REGISTER without Contact asks for the registrations.
func (c *Carrier) inquiry(trunk netip.AddrPort, method wire.RequestMethod) *wire.Request {
	who, to := c.uri(user(c.account())), c.uri("")
	if method == wire.REGISTER {
		who = c.uri(user(c.Username))
		to = who
	}
	r := wire.NewRequest(method, c.uri(""))
	from := &wire.FromHeader{Address: who}
	from.Params.Add("tag", rand.Text())
	id := wire.CallIDHeader(rand.Text())
	r.AppendHeader(from)
	r.AppendHeader(&wire.ToHeader{Address: to})
	r.AppendHeader(&id)
	r.AppendHeader(&wire.CSeqHeader{SeqNo: 1, MethodName: method})
	c.finish(r, trunk)
	return r
}
