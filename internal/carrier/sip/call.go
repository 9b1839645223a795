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
	// maxKeys is how many keys wait to be looked at; more are dropped.
	maxKeys = 16
	// hangUpWait is how long the trunk may take to answer when we give up or hang up.
	hangUpWait = 2 * time.Second
	// maxChallenges is how often one request is made again with credentials: once for each of two
	// who ask, the trunk and one behind it, and once more for a stale nonce.
	maxChallenges = 3
)

// A call is one call from its INVITE to its BYE.
type call struct {
	Call
	c     *Carrier
	id    string // its Call-ID
	tag   string // ours
	trunk netip.AddrPort
	from  string // our address, as the trunk sees it: for Contact
	media *media
	keys  chan byte
	over  chan struct{} // closed when the other side hangs up
	once  sync.Once
	count atomic.Int64 // keys
	way   atomic.Int32 // by which keys come

	invite  *wire.Request  // the latest
	ringing *wire.Response // the latest provisional answer, or nil
	rang    bool           // one of them was more than "trying"
	early   []byte         // a description that came with one

	mu     sync.Mutex // guards those below, which requests of the other side see
	remote string     // its tag, once it is known
	leg    *leg       // how to reach it, once it has answered
	offers int        // descriptions of us
}

func newCall(c *Carrier, m verify.Message) *call {
	return &call{
		Call: Call{Trunk: c.Name(), Verification: m.Verification, Attempt: m.Attempt},
		c:    c, id: rand.Text(), tag: rand.Text(),
		keys: make(chan byte, maxKeys), over: make(chan struct{}),
	}
}

// within reports whether a request is about this call: both tags must fit.
func (l *call) within(r *wire.Request) bool {
	ours, _ := r.To().Params.Get("tag")
	theirs, _ := r.From().Params.Get("tag")
	l.mu.Lock()
	defer l.mu.Unlock()
	return ours == l.tag && l.remote != "" && theirs == l.remote
}

// trusts reports whether sound is taken from an address: the trunk's, or where this call was answered.
// The phone of another call is a stranger, who must not get this one's code.
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

// The ways by which keys come.
const (
	events int32 = 1 + iota // in the sound
	infos                   // in the signalling
)

// press takes a key. Some trunks tell each one by both ways, so only the first one's way counts.
func (l *call) press(key byte, way int32) {
	if !l.way.CompareAndSwap(0, way) && l.way.Load() != way {
		return
	}
	l.count.Add(1)
	select {
	case l.keys <- key:
	default:
	}
}

// again answers an offer that is made during the call.
func (l *call) again(r *wire.Request) reply {
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

// answered takes the answer to an offer that we made since an invitation in the call had none.
func (l *call) answered(ack *wire.Request) {
	if s, err := read(ack.Body()); err == nil {
		l.media.connect(s)
	}
}

// takes are the payload types that we take of an offer.
func takes(s side) []int {
	if s.keys < 0 {
		return []int{s.codec}
	}
	return []int{s.codec, s.keys}
}

func (l *call) contact() string {
	return "<sip:" + l.from + ";transport=" + string(l.c.Transport) + ">"
}

// describe is our side of the call.
func (l *call) describe(version int, way string, types ...int) []byte {
	host, _ := netip.ParseAddrPort(l.from)
	return offer(netip.AddrPortFrom(host.Addr(), l.media.port()), version, l.media.key, way, types...)
}

// make calls, says the code or asks for a key, and hangs up.
func (l *call) make(ctx context.Context, m verify.Message) error {
	// What is said is made first: when the phone is answered, somebody listens.
	speaking, cancel := context.WithTimeout(ctx, speakLimit)
	t := &talk{call: l, first: l.c.RequireKeypress || m.AfterKey && !l.c.SkipKeypress}
	if m.ByKey {
		question := l.c.Speech.Question(speaking, m.Locale, m.Asker)
		t.question = &question
	} else {
		t.script = l.c.Speech.Script(speech.For(speaking, string(m.Project)), m.Locale, m.Around(), m.Code.Reveal())
	}
	cancel()
	media, err := newMedia(l.c.ports, l.c.Transport == TLS, l.trusts, func(key byte) { l.press(key, events) })
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

// connect agrees on the sound: with the answer's description, or with that of an earlier one.
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

// dial invites the phone and waits until it is answered. It returns the answer, acknowledged.
func (l *call) dial(ctx context.Context, m verify.Message) (*wire.Response, error) {
	first, cancel := context.WithTimeout(ctx, l.c.First)
	defer cancel()
	if err := l.locate(first); err != nil {
		return nil, unreachable(ctx, err)
	}
	l.invite = l.inviteTo(m)
	ring := time.NewTimer(l.c.Ring)
	defer ring.Stop()
	for challenges := 0; ; challenges++ {
		answer, tx, err := l.ask(ctx, ring.C)
		if err != nil {
			return nil, err
		}
		if answer.IsSuccess() {
			l.establish(answer, tx)
			return answer, nil
		}
		if answer.StatusCode != 401 && answer.StatusCode != 407 || challenges == maxChallenges {
			return nil, decide(answer)
		}
		next, err := l.c.authorize(l.invite, answer)
		if err != nil {
			return nil, carrier.Blaming(verify.BlameCarrier, carrier.Because(verify.ReasonAuth, carrier.Refused(err)))
		}
		l.invite = next
	}
}

// ask sends the invitation and waits for its final answer, as long as the phone may ring.
func (l *call) ask(ctx context.Context, ring <-chan time.Time) (*wire.Response, wire.ClientTransaction, error) {
	connecting, cancel := context.WithTimeout(ctx, l.c.First)
	defer cancel()
	asked := time.Now()
	tx, err := l.c.client.TransactionRequest(connecting, l.invite, prepared)
	if err != nil {
		return nil, nil, unreachable(ctx, err)
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
			return nil, nil, unreachable(ctx, tx.Err())
		case <-first.C:
			// The library would wait half a minute for a trunk that is dead.
			tx.Terminate()
			l.c.forget(l.trunk, asked)
			return nil, nil, unreachable(ctx, errors.New("the trunk doesn't answer"))
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

// unreachable is the error of a trunk that can't be spoken to, unless it is we who stopped.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return stopped(ctx.Err())
	}
	if err == nil {
		err = errors.New("the trunk doesn't answer")
	}
	return carrier.Because(verify.ReasonUnreachable, err)
}

// progress notes a provisional answer. Sound that comes with it is not for us.
func (l *call) progress(r *wire.Response) {
	l.ringing = r
	if r.StatusCode > 100 {
		l.rang = true
	}
	if len(r.Body()) > 0 {
		l.early = r.Body()
	}
}

// giveUp cancels an invitation, as soon as the trunk has said anything: before that it wouldn't know
// what is meant. A phone that is answered all the same is hung up.
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
			tx.Terminate() // what comes now is a stray
			return
		}
	}
}

// cancel takes the invitation back; once more where a connection that had just broken swallowed that.
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

// establish acknowledges the answer, and does so again whenever it comes again: then the
// acknowledgement got lost.
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
		l.c.stray(r) // another phone was answered as well
	})
	l.c.write(leg.ack())
}

// bye hangs up, and reports whether the trunk is there to hear it.
func (l *call) bye() bool {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpWait)
	defer cancel()
	return l.leg.converse(ctx, wire.BYE) != 0
}

// alive asks the other side whether it is there, and still in this call.
func (l *call) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, l.c.First)
	defer cancel()
	status := l.leg.converse(ctx, wire.OPTIONS)
	return status != 0 && status != 481
}

// locate finds the trunk, and what our address looks like from there.
func (l *call) locate(ctx context.Context) error {
	trunk, err := l.c.resolve(ctx)
	if err != nil {
		return err
	}
	l.trunk = trunk
	l.from, err = l.c.contact(ctx, trunk)
	return err
}

// retryAfter is what an answer says of when to come again (RFC 3261 §20.33), at most a day.
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
