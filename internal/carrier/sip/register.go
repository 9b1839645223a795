package sip

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
)

const (
	registerFor  = time.Hour       // requested; the trunk decides
	registerMin  = 5 * time.Second // between two registrations, even if the trunk grants less
	registerWait = 5 * time.Second // after the first failure; doubled up to registerMost
	registerMost = 5 * time.Minute
)

// register keeps us registered until we shut down, and then removes the
// registration.
func (c *Carrier) register() {
	r := &registration{c: c, id: rand.Text(), tag: rand.Text(), expires: registerFor}
	down, told := outage.New(c.Log, nil), false
	refused := false // and that was logged
	wait, failed := time.Duration(0), time.Duration(0)
	for c.stopped.Err() == nil {
		ctx, cancel := context.WithTimeout(c.stopped, (1+maxTargets)*c.First)
		expires, err := r.ask(ctx, r.expires)
		cancel()
		switch {
		case c.stopped.Err() != nil:
			continue
		case err != nil:
			told = false
			failed = min(max(registerWait, 2*failed), registerMost)
			wait = failed
			if reason := carrier.Decision(err).Reason; reason == verify.ReasonMisconfigured {
				if !refused {
					c.Log.Error("the trunk refuses the registration until somebody acts", "carrier", c.Name(), "reason", reason, "err", err)
				}
				refused = true
				break
			}
			down.Failed(c.Name(), slog.LevelWarn, "not registered with the trunk", "carrier", c.Name(), "again_in", wait, "err", err)
		default:
			if !told { // a renewal isn't worth a line, and may be due every few seconds
				c.Log.Info("registered with the trunk", "carrier", c.Name(), "for", expires)
			}
			failed, told, refused = 0, true, false
			wait = renewal(expires)
		}
		select {
		case <-c.stopped.Done():
		case <-time.After(wait):
		}
	}
	if r.registered {
		ctx, cancel := context.WithTimeout(context.Background(), hangUpWait)
		defer cancel()
		r.ask(ctx, 0)
	}
}

// renewal returns when to register again: before the registration expires, if the
// trunk grants enough time.
func renewal(expires time.Duration) time.Duration { return max(registerMin, expires*4/5) }

// A registration tells the trunk our address (RFC 3261 §10).
type registration struct {
	c          *Carrier
	id, tag    string
	seq        uint32
	expires    time.Duration // to ask for: more than registerFor if the trunk wants that
	registered bool          // or possibly so, if no response came before the shutdown
}

// ask registers for a time at the first of the trunk's addresses that answers, and returns the time that the
// trunk granted.
func (r *registration) ask(ctx context.Context, d time.Duration) (granted time.Duration, err error) {
	targets, err := r.c.resolve(ctx)
	if err != nil {
		return 0, err
	}
	for _, target := range targets[:min(len(targets), maxTargets)] {
		granted, err = r.askAt(ctx, target, d)
		if !errors.Is(err, errSilent) || ctx.Err() != nil {
			break
		}
		r.c.bury(target)
	}
	return granted, err
}

// askAt is ask for one address.
func (r *registration) askAt(ctx context.Context, trunk netip.AddrPort, d time.Duration) (time.Duration, error) {
	request, err := r.request(ctx, trunk, d)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errSilent, err)
	}
	fresh := false
	for range maxChallenges + 1 {
		r.seq = request.CSeq().SeqNo // even without a response, because the trunk accepts each number only once
		asked := time.Now()
		first, cancel := context.WithTimeout(ctx, r.c.First)
		answer, err := r.c.client.Do(first, request, prepared)
		cancel()
		if err != nil {
			r.registered = r.registered || r.c.stopped.Err() != nil
			r.c.forget(trunk, asked)
			return 0, errSilent
		}
		switch code := answer.StatusCode; {
		case answer.IsSuccess():
			r.registered = d > 0
			return granted(answer, request.Contact().Address, d), nil
		case code == 423 && seconds(answer, "Min-Expires") > d:
			d = seconds(answer, "Min-Expires")
			r.expires = d
			request.RemoveHeader("Expires")
			request.AppendHeader(wire.NewHeader("Expires", strconv.Itoa(int(d/time.Second))))
			request = r.c.again(request)
		case code == 401 || code == 407:
			next, err := r.c.authorize(request, answer, &fresh)
			if err != nil {
				return 0, carrier.Misconfigured(asFrom(request, err))
			}
			request = next
		case code == 403:
			return 0, carrier.Misconfigured(asFrom(request, errors.New("the trunk answered 403")))
		default:
			return 0, fmt.Errorf("the trunk answered %d", code)
		}
	}
	return 0, carrier.Misconfigured(asFrom(request, errPassword))
}

func (r *registration) request(ctx context.Context, trunk netip.AddrPort, d time.Duration) (*wire.Request, error) {
	c := r.c
	here, err := c.contact(ctx, trunk)
	if err != nil {
		return nil, err
	}
	who := c.uri(user(c.Username))
	q := wire.NewRequest(wire.REGISTER, c.uri(""))
	from := &wire.FromHeader{Address: who}
	from.Params.Add("tag", r.tag)
	id := wire.CallIDHeader(r.id)
	q.AppendHeader(from)
	q.AppendHeader(&wire.ToHeader{Address: who})
	q.AppendHeader(&id)
	q.AppendHeader(&wire.CSeqHeader{SeqNo: r.seq + 1, MethodName: wire.REGISTER})
	contact := &wire.ContactHeader{}
	if _, err := wire.ParseAddressValue("<sip:"+user(c.Username)+"@"+here+";transport="+string(c.Transport)+">", &contact.Address, nil); err != nil {
		return nil, err
	}
	q.AppendHeader(contact)
	q.AppendHeader(wire.NewHeader("Expires", strconv.Itoa(int(d/time.Second))))
	c.finish(q, trunk)
	return q, nil
}

// granted returns how long a registration is valid: by the parameter of our own Contact, by a header, or as
// requested. A trunk lists the Contacts of all who are registered as the same user. If it writes ours in
// another way, the shortest counts.
func granted(answer *wire.Response, ours wire.Uri, asked time.Duration) time.Duration {
	otherwise := asked
	if d := seconds(answer, "Expires"); d > 0 {
		otherwise = d
	}
	shortest := otherwise
	for _, h := range answer.GetHeaders("Contact") {
		for _, value := range splitList(h.Value()) {
			var u wire.Uri
			params := wire.NewParams()
			if _, err := wire.ParseAddressValue(value, &u, &params); err != nil {
				continue
			}
			d := otherwise
			for _, p := range params {
				if strings.EqualFold(p.K, "expires") {
					d = parseSeconds(strings.Trim(p.V, `"`), otherwise)
				}
			}
			if u.User == ours.User && u.Host == ours.Host && u.Port == ours.Port {
				return d
			}
			shortest = min(shortest, d)
		}
	}
	return shortest
}

// splitList splits a list at its commas, but not at those in quotes or angle brackets.
func splitList(s string) (all []string) {
	quoted, bracketed, from := false, false, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' && (i == 0 || s[i-1] != '\\'):
			quoted = !quoted
		case quoted:
		case c == '<':
			bracketed = true
		case c == '>':
			bracketed = false
		case c == ',' && !bracketed:
			all = append(all, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	return append(all, strings.TrimSpace(s[from:]))
}

// seconds returns a header with a time, or 0.
func seconds(answer *wire.Response, name string) time.Duration {
	h := answer.GetHeader(name)
	if h == nil {
		return 0
	}
	return parseSeconds(h.Value(), 0)
}

func parseSeconds(s string, otherwise time.Duration) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return otherwise
	}
	return time.Duration(n) * time.Second
}
