package sip

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

const (
	sdpType = "application/sdp"
	// maxKeys is the number of keys that wait to be read. Further keys are
	// dropped.
	maxKeys = 16
	// hangUpWait is how long the trunk may take to answer when we cancel or hang up.
	hangUpWait = 2 * time.Second
	// maxChallenges is how often one request is repeated with credentials: once for the trunk,
	// once for a proxy behind it, once for a stale nonce, and once for another nonce.
	maxChallenges = 4
)

// A call is one call, from its INVITE to its BYE.
type call struct {
	Call
	c     *Carrier
	id    string // its Call-ID
	tag   string // our tag
	trunk netip.AddrPort
	from  string // our address as the trunk sees it, for Contact
	media *media
	keys  chan byte
	over  chan struct{} // closed when the other side hangs up
	once  sync.Once
	cut   atomic.Bool  // the network ended the call, before over is closed
	count atomic.Int64 // number of keys

	invite  *wire.Request  // the latest INVITE
	ringing *wire.Response // the latest provisional response, or nil
	rang    bool           // whether a provisional response was more than "trying"
	early   []byte         // the session description of a provisional response

	mu     sync.Mutex // guards the fields below, which requests from the other side read
	remote string     // the other side's tag, once it is known
	leg    *leg       // how to reach the other side, once it has answered
	offers int        // number of session descriptions that we sent

	way     way       // how the latest key arrived, or 0
	latest  byte      // that key
	pressed time.Time // and when it arrived
}

func newCall(c *Carrier, m verify.Message) *call {
	return &call{
		Call: Call{Trunk: c.Name(), Verification: m.Verification, Attempt: m.Attempt},
		c:    c, id: rand.Text(), tag: rand.Text(),
		keys: make(chan byte, maxKeys), over: make(chan struct{}),
	}
}

// within reports whether a request belongs to this call. Both tags must match.
func (l *call) within(r *wire.Request) bool {
	ours, _ := r.To().Params.Get("tag")
	theirs, _ := r.From().Params.Get("tag")
	l.mu.Lock()
	defer l.mu.Unlock()
	return ours == l.tag && l.remote != "" && theirs == l.remote
}

// trusts reports whether media from an address is accepted: from the trunk's, or from the one that
// answered this call. The phone of another call isn't trusted, because it must not get this call's
// code.
func (l *call) trusts(a netip.Addr) bool {
	l.mu.Lock()
	leg := l.leg
	l.mu.Unlock()
	return leg != nil && a == leg.hop.Addr() || l.c.trusts(a)
}

func (l *call) hangUp() { l.once.Do(func() { close(l.over) }) }

func (l *call) hungUp() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// A way is how keys arrive.
type way int

const (
	events way = 1 + iota // in the media (RFC 4733)
	infos                 // in the signalling
	inBand                // as tones in the sound
)

// samePress is how soon after a key's tone its event may come.
const samePress = 2 * time.Second

// press accepts a key.
func (l *call) press(key byte, by way) {
	if !l.counts(key, by, time.Now()) {
		return
	}
	l.count.Add(1)
	select {
	case l.keys <- key:
	default:
	}
}

// counts reports whether a key that arrives is another press. Some trunks send each key in several ways, so
// only keys that arrive like the first one count. Tones give way to the others: a trunk that makes events of
// tones may let the beginning of a tone through, before the event.
func (l *call) counts(key byte, by way, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	again := false
	switch {
	case l.way == inBand && by != inBand:
		again = key == l.latest && now.Sub(l.pressed) < samePress
	case l.way != 0 && l.way != by:
		return false
	}
	l.way, l.latest, l.pressed = by, key, now
	return !again
}

// acceptOffer answers an offer that is made during the call.
func (l *call) acceptOffer(r *wire.Request) reply {
	answer := ok
	answer.contact = l.contact()
	l.mu.Lock()
	l.offers++
	version := l.offers
	l.mu.Unlock()
	if len(r.Body()) > 0 {
		s, err := read(r.Body())
		if err == nil {
			err = l.media.connect(s)
		}
		if err != nil {
			return reply{status: 488, reason: "Not Acceptable Here"}
		}
		answer.sdp = l.describe(version, s.answer(), takes(s)...)
	} else if r.Method == wire.INVITE {
		answer.sdp = l.describe(version, bothWays, mu, aLaw, keys)
	}
	return answer
}

// acceptAnswer reads the answer to our own offer, which we make if an INVITE during the call
// has none.
func (l *call) acceptAnswer(ack *wire.Request) {
	if s, err := read(ack.Body()); err == nil {
		l.media.connect(s)
	}
}

// takes returns the payload types of an offer that we accept.
func takes(s side) []int {
	if s.keys < 0 {
		return []int{s.codec}
	}
	return []int{s.codec, s.keys}
}

func (l *call) contact() string {
	return "<sip:" + l.from + ";transport=" + string(l.c.Transport) + ">"
}

// describe returns our side of the call.
func (l *call) describe(version int, way string, types ...int) []byte {
	host, _ := netip.ParseAddrPort(l.from)
	return offer(netip.AddrPortFrom(host.Addr(), l.media.port()), version, l.media.key, way, types...)
}

// make dials, says the code or asks for a key, and hangs up.
func (l *call) make(ctx context.Context, m verify.Message) error {
	// Make the speech before dialling, because somebody listens as soon as the
	// phone is answered.
	speaking, cancel := context.WithTimeout(ctx, speakLimit)
	t := &talk{call: l, first: l.c.RequireKeypress || m.AfterKey && !l.c.SkipKeypress}
	if m.ByKey {
		question := l.c.Speech.Question(speaking, m.Locale, m.Asker)
		t.question = &question
	} else {
		t.script = l.c.Speech.Script(speech.For(speaking, string(m.Project)), m.Locale, m.Around(), m.Code.Reveal())
	}
	cancel()
	media, err := newMedia(l.c.ports, l.c.Transport == TLS, l.trusts, l.press)
	if err != nil {
		return full(err)
	}
	l.media = media
	defer media.close()
	defer func() {
		if l.leg != nil {
			l.leg.close()
		}
	}()

	began := time.Now()
	answer, err := l.dial(ctx, m)
	l.Ring = time.Since(began)
	if err != nil {
		return err
	}
	began = time.Now()
	l.Answered = began
	err = l.connect(answer)
	if err == nil {
		err = t.run(ctx)
	}
	l.Talk, l.Keys, l.HungUp = time.Since(began), int(l.count.Load()), l.hungUp()
	alive := l.HungUp || l.bye()
	l.Said = t.said()
	return t.verdict(err, alive)
}

// connect agrees on the media, by the description in the answer or in an earlier response.
func (l *call) connect(answer *wire.Response) error {
	sdp := answer.Body()
	if len(sdp) == 0 {
		sdp = l.early
	}
	s, err := read(sdp)
	if err == nil {
		err = l.media.connect(s)
	}
	if err != nil {
		return carrier.Because(verify.ReasonNoMedia, carrier.Refused(err))
	}
	return nil
}

// dial invites the phone at one of the trunk's addresses after the other, and waits until it is answered. It
// returns the acknowledged answer.
func (l *call) dial(ctx context.Context, m verify.Message) (*wire.Response, error) {
	first, cancel := context.WithTimeout(ctx, l.c.First)
	defer cancel()
	targets, err := l.c.resolve(first)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	began := time.Now()
	ring := time.NewTimer(l.c.Ring)
	defer ring.Stop()
	var answer *wire.Response
	for _, target := range targets[:min(len(targets), maxTargets)] {
		l.Status, l.ringing, l.rang, l.early = 0, nil, false, nil
		answer, err = l.dialAt(ctx, target, m, ring.C)
		if l.Status != 0 && l.Status != 503 || ctx.Err() != nil {
			l.c.revive(target)
			break
		}
		l.c.bury(target) // it says nothing, or that it can't (RFC 3263 §4.3)
		if time.Since(began) >= l.c.Ring {
			break
		}
	}
	return answer, err
}

// dialAt is dial for one address.
func (l *call) dialAt(ctx context.Context, target netip.AddrPort, m verify.Message, ring <-chan time.Time) (*wire.Response, error) {
	first, cancel := context.WithTimeout(ctx, l.c.First)
	defer cancel()
	here, err := l.c.contact(first, target)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	l.trunk, l.from = target, here
	l.invite = l.inviteTo(m)
	fresh := false
	for challenges := 0; ; challenges++ {
		answer, tx, err := l.ask(ctx, ring)
		if err != nil {
			return nil, err
		}
		if answer.IsSuccess() {
			l.establish(answer, tx)
			return answer, nil
		}
		if answer.StatusCode != 401 && answer.StatusCode != 407 || challenges == maxChallenges {
			return nil, decide(l.invite, answer)
		}
		next, err := l.c.authorize(l.invite, answer, &fresh)
		if err != nil {
			return nil, carrier.Blaming(verify.BlameCarrier, carrier.Because(verify.ReasonAuth, carrier.Refused(asFrom(l.invite, err))))
		}
		l.invite = next
	}
}

// ask sends the INVITE and waits for its final response, as long as the phone may ring.
func (l *call) ask(ctx context.Context, ring <-chan time.Time) (*wire.Response, wire.ClientTransaction, error) {
	connecting, cancel := context.WithTimeout(ctx, l.c.First)
	defer cancel()
	asked := time.Now()
	tx, err := l.c.client.TransactionRequest(connecting, l.invite, prepared)
	if err != nil {
		return nil, nil, unreachable(ctx, carrier.Broken(err)) // the library quotes the INVITE
	}
	first := time.NewTimer(l.c.First)
	defer first.Stop()
	l.ringing = nil
	for {
		select {
		case r := <-tx.Responses():
			first.Stop()
			l.Status = r.StatusCode
			if !r.IsProvisional() {
				return r, tx, nil
			}
			l.progress(r)
		case <-tx.Done(): // the connection broke
			if l.ringing != nil {
				l.giveUp(tx)
			}
			return nil, nil, unreachable(ctx, broken(tx.Err()))
		case <-first.C:
			// The library would wait half a minute for a dead trunk.
			tx.Terminate()
			l.c.forget(l.trunk, asked)
			return nil, nil, unreachable(ctx, errSilent)
		case <-ring:
			l.giveUp(tx)
			if !l.rang {
				return nil, nil, carrier.Because(verify.ReasonUnreachable, errors.New("the phone didn't ring in time"))
			}
			return nil, nil, carrier.Because(verify.ReasonNoAnswer, carrier.Later(busyWait, errors.New("the phone wasn't answered")))
		case <-ctx.Done():
			l.giveUp(tx)
			return nil, nil, stopped(ctx.Err())
		}
	}
}

var errSilent = errors.New("the trunk doesn't answer")

// broken returns what is known of the end of a transaction, or nil.
func broken(err error) error {
	if err == nil {
		return nil
	}
	return carrier.Broken(err)
}

// unreachable returns the error of a trunk that can't be reached, or of a call that we
// stopped.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return stopped(ctx.Err())
	}
	if err == nil {
		err = errSilent
	}
	return carrier.Because(verify.ReasonUnreachable, err)
}

// progress records a provisional response. Media before the answer is ignored.
func (l *call) progress(r *wire.Response) {
	l.ringing = r
	if r.StatusCode > 100 {
		l.rang = true
	}
	if len(r.Body()) > 0 {
		l.early = r.Body()
	}
}

// giveUp cancels an INVITE, but only after a first response, because the trunk couldn't match an
// earlier CANCEL. If the phone is answered nevertheless, giveUp hangs up.
func (l *call) giveUp(tx wire.ClientTransaction) {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpWait)
	defer cancel()
	var asked sync.WaitGroup
	defer asked.Wait()
	var once sync.Once
	for {
		if l.ringing != nil {
			once.Do(func() {
				asked.Go(func() { l.cancel(ctx) })
			})
		}
		select {
		case r := <-tx.Responses():
			switch {
			case r.IsProvisional():
				l.ringing = r
				continue
			case r.IsSuccess():
				l.establish(r, tx)
				l.bye()
			}
			return
		case <-tx.Done():
			return
		case <-ctx.Done():
			tx.Terminate() // later responses go to stray
			return
		}
	}
}

// cancel sends a CANCEL. It repeats it once if a connection that was just breaking may have lost it.
func (l *call) cancel(ctx context.Context) {
	for ctx.Err() == nil {
		try, stop := context.WithTimeout(ctx, hangUpWait/4)
		_, err := l.c.client.Do(try, cancelling(l.invite), prepared)
		if err != nil {
			<-try.Done()
		}
		stop()
		if err == nil {
			return
		}
	}
}

// establish acknowledges the answer. It does so again for each retransmission of the
// answer, because the ACK got lost.
func (l *call) establish(answer *wire.Response, tx wire.ClientTransaction) {
	leg := l.c.newLeg(answer, l.trunk, l.contact(), credentials(l.invite))
	l.mu.Lock()
	l.leg = leg
	l.remote = leg.remote
	l.mu.Unlock()
	tx.OnRetransmission(func(r *wire.Response) {
		if tag, _ := r.To().Params.Get("tag"); r.IsSuccess() && tag == leg.remote {
			l.c.write(leg.ack())
			return
		}
		l.c.stray(r) // another phone answered as well
	})
	l.c.write(leg.ack())
}

// bye hangs up, and reports whether the trunk answered.
func (l *call) bye() bool {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpWait)
	defer cancel()
	return l.leg.converse(ctx, wire.BYE) != 0
}

// retryAfter returns the Retry-After of a response (RFC 3261 §20.33), at most a day.
func retryAfter(r *wire.Response) time.Duration {
	h := r.GetHeader("Retry-After")
	if h == nil {
		return 0
	}
	digits := strings.TrimLeft(h.Value(), " ")
	if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = digits[:i]
	}
	seconds, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, 24*time.Hour)
}
