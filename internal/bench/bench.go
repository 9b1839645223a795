// Package bench drives a verification server from outside with complete verifications: it
// starts one, waits for the message at a sink of its own, and checks the code in it.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a run.
type Options struct {
	// URLs of the server's replicas, such as http://127.0.0.1:8080. A verification started at one of
	// them is checked at the next.
	URLs        []string
	Keys        []Key        // verifications are each of the next one's project
	Face        Face         // the API that is driven; "": SignalWire's
	Sink        net.Listener // receives the messages of the server's HTTP carrier
	SMSC        *SMSC        // used instead, if the server has an SMPP carrier bound to it
	Concurrency int          // concurrent verifications
	Duration    time.Duration
	PIDs        []int // processes to measure
	Client      *http.Client
	// Progress, if set, is called every second.
	Progress func(done int, elapsed time.Duration)
}

// A Key is an API key, with its project.
type Key struct{ Project, Token string }

// A Face is an API of the server.
type Face string

// Each of them takes a verification from its start to its end.
const (
	SignalWire Face = "signalwire"
	V1         Face = "v1"
)

// A Result is the result of a run.
type Result struct {
	Concurrency   int     `json:"concurrency"`
	Verifications int     `json:"verifications"` // approved ones
	Failed        int     `json:"failed"`
	FirstFailure  string  `json:"first_failure,omitempty"`
	Seconds       float64 `json:"seconds"`
	PerSecond     float64 `json:"per_second"`

	Start   Latency `json:"start"`   // until the start's response
	Message Latency `json:"message"` // from the start's request until the message is at the sink
	Check   Latency `json:"check"`   // until the check's response

	CPU []CPU `json:"cpu,omitempty"`
}

// Latency is in milliseconds.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// CPU is a process's CPU time, user and system.
type CPU struct {
	PID             int     `json:"pid"`
	Seconds         float64 `json:"seconds"`
	PerVerification float64 `json:"us_per_verification"`
}

// Run drives the server for o.Duration, and lets verifications that have
// started finish.
func Run(ctx context.Context, o Options) (Result, error) {
	before, err := cpuSeconds(o.PIDs)
	if err != nil {
		return Result{}, err
	}
	d := &driver{Options: o, waiting: map[string]chan arrival{}, next: rand.Int64N(8_000_000)}
	if d.Client == nil {
		d.Client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: o.Concurrency}}
	}
	if o.SMSC != nil {
		o.SMSC.onMessage(d.arrived)
		defer o.SMSC.onMessage(nil)
	} else {
		sink := &http.Server{Handler: http.HandlerFunc(d.receive), ReadHeaderTimeout: 10 * time.Second}
		go sink.Serve(o.Sink)
		defer sink.Close()
	}
	defer d.Client.CloseIdleConnections()

	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	began := time.Now()
	var reporting sync.WaitGroup
	if o.Progress != nil {
		reporting.Go(func() { d.report(ctx, began) })
	}
	samples := make([]timings, o.Concurrency)
	var all sync.WaitGroup
	for i := range o.Concurrency {
		all.Go(func() {
			for ctx.Err() == nil {
				d.one(&samples[i])
			}
		})
	}
	all.Wait()
	elapsed := time.Since(began)
	cancel()
	reporting.Wait()

	after, err := cpuSeconds(o.PIDs)
	if err != nil {
		return Result{}, err
	}
	return d.result(samples, elapsed, before, after), nil
}

type driver struct {
	Options
	done, failed, turn atomic.Int64

	mu      sync.Mutex              // guards the fields below
	waiting map[string]chan arrival // by number
	next    int64                   // the next number
	failure string
}

// An arrival is a message at the sink.
type arrival struct {
	code string
	at   time.Time
}

// timings holds one worker's samples.
type timings struct{ start, message, check []time.Duration }

var codeAtEnd = regexp.MustCompile(`[0-9A-Z]+$`)

func (d *driver) receive(_ http.ResponseWriter, r *http.Request) {
	var m struct {
		To   string `json:"to"`
		Body string `json:"body"`
	}
	if json.NewDecoder(r.Body).Decode(&m) == nil {
		d.arrived(m.To, m.Body)
	}
}

// arrived passes a message to the worker that waits for it. It drops repeated messages and
// those that nobody waits for.
func (d *driver) arrived(to, text string) {
	d.mu.Lock()
	c := d.waiting[to]
	d.mu.Unlock()
	select {
	case c <- arrival{codeAtEnd.FindString(text), time.Now()}:
	default:
	}
}

// expect returns the channel for the message to a number.
func (d *driver) expect(to string) chan arrival {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := make(chan arrival, 1)
	d.waiting[to] = c
	return c
}

// one runs one verification from start to end.
func (d *driver) one(t *timings) {
	if err := d.verify(t); err != nil {
		d.failed.Add(1)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.failure == "" {
			d.failure = err.Error()
		}
		return
	}
	d.done.Add(1)
}

func (d *driver) verify(t *timings) error {
	turn := int(d.turn.Add(1))
	replica := func(n int) string { return d.URLs[n%len(d.URLs)] }
	key := d.Keys[turn%len(d.Keys)]
	to := d.number()
	inbox := d.expect(to)
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, to)
	}()
	began := time.Now()
	id, err := d.start(replica(turn), key, to)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	answered := time.Now()
	var m arrival
	select {
	case m = <-inbox:
	case <-time.After(10 * time.Second):
		return errors.New("no message within 10 s: does the server's carrier post to the sink's address?")
	}
	asked := time.Now()
	right, err := d.check(replica(turn+1), key, id, m.code)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if !right {
		return errors.New("check: the code was wrong")
	}
	t.start = append(t.start, answered.Sub(began))
	t.message = append(t.message, m.at.Sub(began))
	t.check = append(t.check, time.Since(asked))
	return nil
}

// number returns a number that wasn't used before, so that no send limit
// applies.
func (d *driver) number() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	return fmt.Sprintf("+1202%07d", 2_000_000+d.next%8_000_000)
}

// start starts a verification of a number.
func (d *driver) start(replica string, key Key, to string) (id string, err error) {
	path := "/api/relay/rest/mfa/sms"
	if d.Face == V1 {
		path = "/v1/verifications"
	}
	var started struct{ ID string }
	err = d.post(replica+path, key, map[string]string{"to": to}, &started)
	return started.ID, err
}

// check checks a code, and reports whether it is right.
func (d *driver) check(replica string, key Key, id, code string) (right bool, err error) {
	if d.Face == V1 {
		var checked struct{ Valid bool }
		err = d.post(replica+"/v1/verifications/"+id+"/check", key, map[string]string{"code": code}, &checked)
		return checked.Valid, err
	}
	var checked struct{ Success bool }
	err = d.post(replica+"/api/relay/rest/mfa/"+id+"/verify", key, map[string]string{"token": code}, &checked)
	return checked.Success, err
}

func (d *driver) post(url string, key Key, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	if d.Face == V1 {
		req.Header.Set("Authorization", "Bearer "+key.Token)
	} else {
		req.SetBasicAuth(key.Project, key.Token)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	return json.Unmarshal(answer, into)
}

func (d *driver) report(ctx context.Context, began time.Time) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done(): // a last report, for the line that remains
			d.Progress(int(d.done.Load()), time.Since(began))
			return
		case <-ticker.C:
			d.Progress(int(d.done.Load()), time.Since(began))
		}
	}
}

func (d *driver) result(samples []timings, elapsed time.Duration, before, after []float64) Result {
	r := Result{
		Concurrency: d.Concurrency, Verifications: int(d.done.Load()), Failed: int(d.failed.Load()), FirstFailure: d.failure,
		Seconds: elapsed.Seconds(), PerSecond: float64(d.done.Load()) / elapsed.Seconds(),
	}
	var start, message, check []time.Duration
	for _, t := range samples {
		start, message, check = append(start, t.start...), append(message, t.message...), append(check, t.check...)
	}
	r.Start, r.Message, r.Check = latency(start), latency(message), latency(check)
	for i, pid := range d.PIDs {
		worked := after[i] - before[i]
		r.CPU = append(r.CPU, CPU{pid, worked, worked / float64(max(r.Verifications, 1)) * 1e6})
	}
	return r
}

func latency(all []time.Duration) Latency {
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	ms := func(percent int) float64 { return float64(all[(len(all)-1)*percent/100].Microseconds()) / 1000 }
	return Latency{ms(50), ms(99)}
}

// clockTick is the unit of /proc/PID/stat, which Linux fixes at 100 Hz for programs (proc(5)).
const clockTick = 100

// cpuSeconds returns the CPU time of processes.
func cpuSeconds(pids []int) ([]float64, error) {
	all := make([]float64, len(pids))
	for i, pid := range pids {
		stat, err := ReadStat(pid)
		if err != nil {
			return nil, err
		}
		all[i] = stat.Own
	}
	return all, nil
}

// A Stat holds a process's data from Linux's /proc/PID/stat (proc(5)).
type Stat struct {
	Parent     int
	Own, Ended float64 // CPU seconds, user and system: of the process, and of its ended children
}

// ReadStat reads a process's Stat. The error is [os.ErrNotExist] if the process has
// ended.
func ReadStat(pid int) (s Stat, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	// The name, in parentheses, may hold spaces. The parent is the second field after it; utime, stime,
	// cutime and cstime are the 12th to the 15th.
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks [4]float64
	for i := range ticks {
		if ticks[i], err = strconv.ParseFloat(f[11+i], 64); err != nil {
			return s, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
	}
	s.Own, s.Ended = (ticks[0]+ticks[1])/clockTick, (ticks[2]+ticks[3])/clockTick
	if s.Parent, err = strconv.Atoi(f[1]); err != nil {
		return s, fmt.Errorf("parent of process %d: %w", pid, err)
	}
	return s, nil
}
