// Compare measures the server against the floor program. Both run in pairs in one run, so that
// other load on the machine affects both. "make bench" runs it. docs/performance.md has the
// results.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/bench"
)

var (
	rounds     = flag.Int("rounds", 3, "pairs of runs at each concurrency")
	duration   = flag.Duration("duration", 3*time.Second, "length of one run")
	atOnce     = flag.String("concurrency", "1,8,64,512", "verifications at once")
	rowCounts  = flag.String("rows", "0,1000000", "verifications in the database before")
	server     = flag.String("postgres", "", "URL of a PostgreSQL server on this machine that may make databases, instead of SQLite")
	replicas   = flag.String("replicas", "1", "how many replicas of the server, with PostgreSQL")
	byFace     = flag.Bool("faces", false, "compare /v1 to SignalWire's API on one server, and not the server to the floor")
	citus      = flag.String("citus", "", "URL of a coordinator of Citus on this machine, with two workers: compare the server on its schemas to the server on -postgres, and not to the floor")
	overSMPP   = flag.Bool("smpp", false, "compare the server with an SMPP carrier to the same with its HTTP carrier, and not to the floor")
	idle       = flag.Int("idle", 900, "idle connections to measure memory with")
	plotFile   = flag.String("plot", "", "SVG to write")
	resultFile = flag.String("json", "", "JSON to write")
)

// A point is the result at one concurrency and one size of the database: medians
// over the rounds.
type point struct {
	Rows        int     `json:"rows"`
	Replicas    int     `json:"replicas"`
	Concurrency int     `json:"concurrency"`
	PerSecond   float64 `json:"per_second"`
	CPU         float64 `json:"cpu_us"`          // of all replicas
	DatabaseCPU float64 `json:"database_cpu_us"` // of PostgreSQL, in addition
	FloorRate   float64 `json:"floor_per_second"`
	FloorCPU    float64 `json:"floor_cpu_us"`
	RateRatio   float64 `json:"rate_ratio"` // the server's divided by the floor's; higher is better
	CPURatio    float64 `json:"cpu_ratio"`  // the server's and database's divided by the floor's; lower is better
	StartP99    float64 `json:"start_p99_ms"`
	MessageP99  float64 `json:"message_p99_ms"`
	CheckP99    float64 `json:"check_p99_ms"`
}

// A report is the result of all runs.
type report struct {
	Points []point  `json:"points"`
	Memory []memory `json:"memory"`
}

// A memory is the server's memory in bytes.
type memory struct {
	Rows          int     `json:"rows"` // pending verifications
	Resident      int     `json:"resident"`
	PerConnection float64 `json:"per_idle_connection"`
}

func main() {
	flag.Parse()
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "countersign-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for name, pkg := range map[string]string{"countersign": "./cmd/countersign", "floor": "./internal/bench/floor"} {
		build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, name), pkg)
		build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build %s: %w", pkg, err)
		}
	}
	switch {
	case *overSMPP:
		return compareCarriers(dir)
	case *byFace:
		return compareFaces(dir)
	case *citus != "":
		return compareCitus(dir)
	}
	var out report
	for _, rows := range numbers(*rowCounts) {
		points, mem, err := atSize(dir, rows)
		if err != nil {
			return err
		}
		out.Points, out.Memory = append(out.Points, points...), append(out.Memory, mem)
	}
	out.print()
	if *plotFile != "" {
		if err := os.WriteFile(*plotFile, []byte(out.plot()), 0o644); err != nil {
			return err
		}
	}
	if *resultFile != "" {
		data, err := json.MarshalIndent(out, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(*resultFile, append(data, '\n'), 0o644)
	}
	return nil
}

func numbers(list string) (all []int) {
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			log.Fatalf("%q is not a number", s)
		}
		all = append(all, n)
	}
	return all
}

// atSize measures with that many rows in the database.
func atSize(binaries string, rows int) ([]point, memory, error) {
	sinkAddr, err := freeAddress()
	if err != nil {
		return nil, memory{}, err
	}
	ctx := context.Background()
	db, err := openDatabase(ctx, rows)
	if err != nil {
		return nil, memory{}, err
	}
	defer db.close(ctx)
	in, err := install(binaries, posting(sinkAddr, db.url), onOneDatabase(db.filled)...)
	if err != nil {
		return nil, memory{}, err
	}
	defer os.RemoveAll(in.dir)
	if err := db.fill(ctx, in, rows); err != nil {
		return nil, memory{}, fmt.Errorf("fill the database: %w", err)
	}
	floor, err := startFloor(binaries, "http://"+sinkAddr+"/")
	if err != nil {
		return nil, memory{}, err
	}
	defer floor.stop()

	var points []point
	var mem memory
	for _, n := range numbers(*replicas) {
		more, used, err := withReplicas(in, db, floor, sinkAddr, n, rows)
		if err != nil {
			return nil, memory{}, err
		}
		if mem == (memory{}) {
			mem = used
		}
		points = append(points, more...)
	}
	return points, mem, nil
}

// freeAddress returns an address on which each run listens again.
func freeAddress() (string, error) {
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return sink.Addr().String(), sink.Close()
}

// withReplicas measures n replicas of the server at each concurrency.
func withReplicas(in *installation, db *database, floor *program, sinkAddr string, n, rows int) (points []point, mem memory, err error) {
	var servers []*program
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	for range n {
		s, err := in.serve()
		if err != nil {
			return nil, memory{}, err
		}
		servers = append(servers, s)
	}
	if mem, err = measureMemory(servers[0], rows); err != nil {
		return nil, memory{}, err
	}
	for _, c := range numbers(*atOnce) {
		p, err := measure(in, db, servers, floor, sinkAddr, c)
		if err != nil {
			return nil, memory{}, fmt.Errorf("%d at once: %w", c, err)
		}
		p.Rows, p.Replicas = rows, n
		points = append(points, p)
		log.Printf("%9d rows, %d replicas, %3d at once: %6.0f/s, %4.0f µs CPU and %4.0f of the database; floor %6.0f/s, %4.0f µs; ratio %.2f and %.2f",
			rows, n, c, p.PerSecond, p.CPU, p.DatabaseCPU, p.FloorRate, p.FloorCPU, p.RateRatio, p.CPURatio)
	}
	return points, mem, nil
}

// An outcome is the result of one run.
type outcome struct {
	bench.Result
	cpu, databaseCPU float64 // µs per verification
}

// sum adds up the processes' CPU time. It returns an error if any verification
// failed.
func (r *outcome) sum() error {
	if r.Failed > 0 {
		return fmt.Errorf("%d of %d failed: %s", r.Failed, r.Verifications+r.Failed, r.FirstFailure)
	}
	for _, c := range r.CPU {
		r.cpu += c.PerVerification
	}
	return nil
}

// drive makes one run against programs that are replicas of each other.
func drive(in *installation, db *database, programs []*program, sinkAddr string, concurrency int) (r outcome, err error) {
	return driveFace(in, db, programs, sinkAddr, concurrency, bench.SignalWire)
}

// driveFace does so by one of their APIs.
func driveFace(in *installation, db *database, programs []*program, sinkAddr string, concurrency int, face bench.Face) (r outcome, err error) {
	sink, err := net.Listen("tcp", sinkAddr)
	if err != nil {
		return r, err
	}
	o := bench.Options{Keys: in.keys, Face: face, Sink: sink, Concurrency: concurrency, Duration: *duration}
	for _, p := range programs {
		o.URLs, o.PIDs = append(o.URLs, p.url), append(o.PIDs, p.cmd.Process.Pid)
	}
	before, err := db.cpu()
	if err != nil {
		return r, err
	}
	if r.Result, err = bench.Run(context.Background(), o); err != nil {
		return r, err
	}
	after, err := db.cpu()
	if err != nil {
		return r, err
	}
	if err := r.sum(); err != nil {
		return r, err
	}
	r.databaseCPU = (after - before) / float64(r.Verifications) * 1e6
	return r, nil
}

// measure runs the pairs at one concurrency.
func measure(in *installation, db *database, servers []*program, floor *program, sinkAddr string, concurrency int) (point, error) {
	var rate, cpu, databaseCPU, floorRate, floorCPU, rateRatio, cpuRatio, start, message, check []float64
	for range *rounds {
		f, err := drive(in, db, []*program{floor}, sinkAddr, concurrency)
		if err != nil {
			return point{}, err
		}
		s, err := drive(in, db, servers, sinkAddr, concurrency)
		if err != nil {
			return point{}, err
		}
		rate, cpu, databaseCPU = append(rate, s.PerSecond), append(cpu, s.cpu), append(databaseCPU, s.databaseCPU)
		floorRate, floorCPU = append(floorRate, f.PerSecond), append(floorCPU, f.cpu)
		rateRatio, cpuRatio = append(rateRatio, s.PerSecond/f.PerSecond), append(cpuRatio, (s.cpu+s.databaseCPU)/f.cpu)
		start, message, check = append(start, s.Start.P99), append(message, s.Message.P99), append(check, s.Check.P99)
	}
	return point{
		Concurrency: concurrency, PerSecond: median(rate), CPU: median(cpu), DatabaseCPU: median(databaseCPU), FloorRate: median(floorRate), FloorCPU: median(floorCPU),
		RateRatio: median(rateRatio), CPURatio: median(cpuRatio), StartP99: median(start), MessageP99: median(message), CheckP99: median(check),
	}, nil
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// measureMemory returns the server's memory, and the growth per idle connection.
func measureMemory(p *program, rows int) (memory, error) {
	before, err := p.resident()
	if err != nil {
		return memory{}, err
	}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range *idle {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			return memory{}, err
		}
		// Make one request on each, because an unused connection doesn't have its
		// buffers yet.
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			return memory{}, err
		}
		conns = append(conns, c)
	}
	after, err := p.resident()
	return memory{rows, before, float64(after-before) / float64(max(*idle, 1))}, err
}

// A program is a process that we started.
type program struct {
	cmd *exec.Cmd
	url string
	ops string // the URL of the operations listener; "" for the floor
}

func (p *program) stop() {
	p.cmd.Process.Signal(os.Interrupt)
	p.cmd.Wait()
}

// resident returns the process's resident memory in bytes.
func (p *program) resident() (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kb, err := strconv.Atoi(f[1])
			return kb << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// groups is how many groups of operations the server has committed.
func (p *program) groups() (n float64, err error) {
	resp, err := http.Get(p.ops + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "countersign_commit_seconds_count "); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, errors.New("no countersign_commit_seconds_count")
}

func startFloor(binaries, receiver string) (*program, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	p := &program{cmd: exec.Command(filepath.Join(binaries, "floor"), addr, receiver), url: "http://" + addr}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		if c, err := net.Dial("tcp", addr); err == nil {
			return p, c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.stop()
	return nil, errors.New("the floor doesn't listen")
}

// An installation is a server's folder.
type installation struct {
	binary, dir string
	keys        []bench.Key
}

// An edit changes the example configuration.
type edit func(string) (string, error)

// posting returns an edit that makes the example's carrier post to an address, and sets the database.
func posting(sinkAddr, database string) edit {
	return replacing(
		"\n  url: \"\"\n", "\n  url: "+strconv.Quote(database)+"\n", // the first url is the database's
		"http://127.0.0.1:9000/messages", "http://"+sinkAddr+"/",
	)
}

// replacing returns an edit that replaces the first occurrence of each old text by the new text that follows it. It fails
// where there is none: what was measured would be something else.
func replacing(oldnew ...string) edit {
	return func(config string) (string, error) {
		for pair := range slices.Chunk(oldnew, 2) {
			if !strings.Contains(config, pair[0]) {
				return "", fmt.Errorf("the example configuration has no %q", pair[0])
			}
			config = strings.Replace(config, pair[0], pair[1], 1)
		}
		return config, nil
	}
}

// project is the id of the project of most installations.
const project = "bench"

// onOneDatabase are the commands that make the project's key, and the project unless it is there from an earlier run.
func onOneDatabase(there bool) (commands [][]string) {
	if !there {
		commands = append(commands, []string{"project", "create", "--id", project, "Bench"})
	}
	return append(commands, []string{"key", "create", "--json", "--project", project})
}

// install follows the instructions at the top of the example configuration, after editing it, with commands that make
// projects and keys.
func install(binaries string, change edit, commands ...[]string) (*installation, error) {
	dir, err := os.MkdirTemp("", "countersign-bench-data-")
	if err != nil {
		return nil, err
	}
	in := &installation{binary: filepath.Join(binaries, "countersign"), dir: dir}
	example, err := in.run("config", "example", "--all")
	if err != nil {
		return nil, err
	}
	config, err := change(string(example))
	if err == nil {
		config, err = replacing(
			"timeout: 750ms", "timeout: 10s", // a disk that stalls should slow the run down, not end it
			`":8080"`, `"127.0.0.1:0"`, `"127.0.0.1:8081"`, `"127.0.0.1:0"`,
		)(config)
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "countersign.yaml"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	for _, command := range append([][]string{{"keyset", "create", "keyset.json"}, {"secret", "create", "gateway.secret"}}, commands...) {
		out, err := in.run(command...)
		if err != nil {
			return nil, err
		}
		if command[0] != "key" {
			continue
		}
		var key struct{ Token string }
		if err := json.Unmarshal(out, &key); err != nil {
			return nil, fmt.Errorf("read what key create printed: %w", err)
		}
		in.keys = append(in.keys, bench.Key{Project: command[len(command)-1], Token: key.Token})
	}
	return in, nil
}

func (in *installation) run(args ...string) ([]byte, error) {
	cmd := exec.Command(in.binary, args...)
	cmd.Dir = in.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("countersign %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out, nil
}

// serve starts the server and sends its log to a file, as in production.
func (in *installation) serve() (*program, error) {
	out, err := os.CreateTemp(in.dir, "log-*")
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(in.binary, "serve")
	cmd.Dir, cmd.Stderr = in.dir, out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &program{cmd: cmd}
	for range 500 {
		data, err := os.ReadFile(out.Name())
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(data) {
			var said struct{ Msg, Public, Operations string }
			if json.Unmarshal(line, &said) == nil && said.Msg == "serving" {
				p.url, p.ops = "http://"+said.Public, "http://"+said.Operations
				return p, nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.stop()
	data, err := os.ReadFile(out.Name())
	return nil, errors.Join(fmt.Errorf("the server doesn't serve:\n%s", data), err)
}
