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

	"github.com/countersign/countersign/internal/outage"
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
	r := &registration{c: c, id: rand.Text(), tag: rand.Text()}
	down, told := outage.New(c.Log, nil), false
	wait, failed := time.Duration(0), time.Duration(0)
	for c.stopped.Err() == nil {
		ctx, cancel := context.WithTimeout(c.stopped, 2*c.First)
		expires, err := r.ask(ctx, registerFor)
		cancel()
		switch {
		case c.stopped.Err() != nil:
			continue
		case err != nil:
			told = false
			failed = min(max(registerWait, 2*failed), registerMost)
			wait = failed
			down.Failed(c.Name(), slog.LevelWarn, "not registered with the trunk", "carrier", c.Name(), "again_in", wait, "err", err)
		default:
			if !told { // a renewal isn't worth a line, and may be due every few seconds
				c.Log.Info("registered with the trunk", "carrier", c.Name(), "for", expires)
			}
			failed, told = 0, true
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
	registered bool // or possibly so, if no response came before the shutdown
}

// ask registers for a time, and returns the time that the trunk granted.
func (r *registration) ask(ctx context.Context, d time.Duration) (time.Duration, error) {
	trunk, err := r.c.resolve(ctx)
	if err != nil {
		return 0, err
	}
	request, err := r.request(ctx, trunk, d)
	if err != nil {
		return 0, err
	}
	for range maxChallenges {
		r.seq = request.CSeq().SeqNo // even without a response, because the trunk accepts each number only once
		asked := time.Now()
		answer, err := r.c.client.Do(ctx, request, prepared)
		if err != nil {
			r.registered = r.registered || r.c.stopped.Err() != nil
			r.c.forget(trunk, asked)
			return 0, errors.New("the trunk doesn't answer")
		}
		switch code := answer.StatusCode; {
		case answer.IsSuccess():
			r.registered = d > 0
			return granted(answer, d), nil
		case code != 401 && code != 407:
			return 0, fmt.Errorf("the trunk answered %d", code)
		}
		if request, err = r.c.authorize(request, answer); err != nil {
			return 0, err
		}
	}
	return 0, errPassword
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
	q.AppendHeader(wire.NewHeader("Contact", "<sip:"+user(c.Username)+"@"+here+";transport="+string(c.Transport)+">"))
	q.AppendHeader(wire.NewHeader("Expires", strconv.Itoa(int(d/time.Second))))
	c.finish(q, trunk)
	return q, nil
}

// granted returns how long a registration is valid: by a parameter of Contact, by a header, or as
// requested.
func granted(answer *wire.Response, asked time.Duration) time.Duration {
	value := ""
	if h := answer.GetHeader("Expires"); h != nil {
		value = h.Value()
	}
	for _, h := range answer.GetHeaders("Contact") {
		for _, p := range strings.Split(h.Value(), ";") {
			if name, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(name, "expires") {
				value = v
			}
		}
	}
	seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
	if err != nil {
		return asked
	}
	return time.Duration(seconds) * time.Second
}
