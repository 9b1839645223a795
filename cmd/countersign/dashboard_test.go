package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/countersign/countersign/internal/bench"
	"github.com/countersign/countersign/internal/porttest"
)

// requireAll says that what a test needs from outside must be there: CI sets it.
const requireAll = "COUNTERSIGN_TEST_REQUIRE"

// dashboard is what is read of a Grafana dashboard.
type dashboard struct {
	SchemaVersion int
	Panels        []struct {
		ID      int
		Type    string
		Title   string
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

// threshold is the end of an alert's condition.
var threshold = regexp.MustCompile(` (==|<|>) [0-9.]+\s*$`)

// grafana fills in what Grafana would: its own intervals, and the job that is chosen.
var grafana = strings.NewReplacer("$__rate_interval", "1m", "$__range", "5m", "$job", "countersign")

// A real Prometheus scrapes the real server, and every query of the dashboard has to find something.
func TestDashboardQueriesFindWhatTheServerCounts(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(repository, "deploy/grafana/countersign.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	prom := startPrometheus(t)
	smsc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer smsc.Close()
	go new(bench.SMSC).Serve(smsc)
	in := install(t, theProgram(t), func(text string) string {
		return strings.Replace(text, "\ncarriers:\n", fmt.Sprintf("\ncarriers:\n  - name: smsc\n    smpp: {addr: %q, plaintext: true, system_id: bench, binds: 2}\n", smsc.Addr()), 1)
	})
	p := in.serve()
	bothBound(t, p)
	prom.scrape(p.Ops)

	// The first traffic makes the series, the second makes them move: a rate needs both.
	in.run("country", "watch", "US")
	traffic(in, p)
	prom.wait("the first traffic", fmt.Sprintf("sum(countersign_requests_total) >= %d", requestsOfTraffic))
	traffic(in, p)
	prom.wait("the second traffic", fmt.Sprintf("sum(countersign_requests_total) >= %d", 2*requestsOfTraffic))
	in.run("project", "budget", in.project, "--day-messages", "1")
	if !within(patience, func() bool {
		resp, _, err := p.post("sms", fmt.Sprintf(`{"to":%q}`, newNumber()))
		return err == nil && resp.StatusCode == http.StatusUnprocessableEntity
	}) {
		t.Fatal("the budget doesn't hold")
	}
	prom.wait("a budget that is used up", `countersign_budget_reached_timestamp_seconds{step="100"} > 0`)
	prom.wait("messages to a country that is watched", "count_over_time(countersign_watched_messages_total[1m]) >= 2")
	prom.wait("two scrapes of the process", "count_over_time(up[1m]) >= 3")

	queries := 0
	for _, panel := range d.Panels {
		if panel.Type == "row" {
			continue
		}
		if len(panel.Targets) == 0 {
			t.Errorf("panel %d %q has no query", panel.ID, panel.Title)
		}
		for _, target := range panel.Targets {
			queries++
			result, err := prom.query(grafana.Replace(target.Expr))
			if err != nil {
				t.Errorf("panel %q: %s: %v", panel.Title, target.Expr, err)
			} else if !someNumber(result) {
				t.Errorf("panel %q: %s: no number in %v", panel.Title, target.Expr, result)
			}
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		queries++
		if values, err := prom.labelValues(v.Definition); err != nil || len(values) == 0 {
			t.Errorf("variable %s: %s: got %v, %v", v.Name, v.Definition, values, err)
		}
	}
	if queries < 20 {
		t.Errorf("the dashboard has %d queries: were all read?", queries)
	}

	// Whether there is something to alert about isn't asked.
	for _, alert := range alerts(t) {
		if _, err := prom.query(alert.Expr); err != nil {
			t.Errorf("%s: %s: %v", alert.Alert, alert.Expr, err)
		}
		// Without its threshold, and about what went well, an alert has to find something.
		value := threshold.ReplaceAllString(alert.Expr, "")
		value = strings.NewReplacer(`status=~"5.."`, `status="200"`, `outcome!="accepted"`, `outcome="accepted"`).Replace(value)
		if result, err := prom.query(value); err != nil || !someNumber(result) {
			t.Errorf("%s: %s: got %v, %v, want a number", alert.Alert, value, result, err)
		}
	}

	// What finds nothing must be seen to.
	if result, err := prom.query(`rate(countersign_no_such_total[1m])`); err != nil || someNumber(result) {
		t.Errorf("a metric that doesn't exist: got %v, %v, want nothing", result, err)
	}
	if _, err := prom.query(`rate(`); err == nil {
		t.Error("half a query is no error")
	}
}

// An alertRule is what is read of a rule of Prometheus.
type alertRule struct {
	Alert, Expr string
	Annotations struct{ Summary string }
}

// alerts are the rules that we deliver.
func alerts(t *testing.T) (rules []alertRule) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "deploy/alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []alertRule }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		rules = append(rules, group.Rules...)
	}
	if len(rules) < 10 {
		t.Fatalf("deploy/alerts.yml has %d rules: were all read?", len(rules))
	}
	for _, rule := range rules {
		if rule.Alert == "" || rule.Annotations.Summary == "" || !threshold.MatchString(rule.Expr) {
			t.Errorf("%+v has no name, summary or threshold", rule)
		}
	}
	return rules
}

// requestsOfTraffic is how many requests [traffic] makes.
const requestsOfTraffic = 13

// traffic asks for a bit of everything: starts on both channels, right and wrong guesses, an
// unknown id, a request that is refused, and more messages to one number than the limits allow.
func traffic(in *installation, p *process) {
	t := in.t
	t.Helper()
	post := func(path, body string, status int) (id string) {
		resp, text, err := p.post(path, body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status {
			t.Fatalf("%s %s: got %s %s, want %d", path, body, resp.Status, text, status)
		}
		var started struct{ ID string }
		json.Unmarshal([]byte(text), &started) // an error has no id
		return started.ID
	}
	for _, path := range []string{"sms", "call"} {
		id := post(path, fmt.Sprintf(`{"to":%q}`, newNumber()), 200)
		code := codeInBody.FindString(in.receiver.message(t, id).Body)
		post(id+"/verify", fmt.Sprintf(`{"token":%q}`, otherThan(code)), 200)
		post(id+"/verify", fmt.Sprintf(`{"token":%q}`, code), 200)
	}
	post("01900000-0000-7000-8000-000000000000/verify", `{"token":"000000"}`, 404)
	number := newNumber()
	for range 5 {
		post("sms", fmt.Sprintf(`{"to":%q}`, number), 200)
	}
	post("sms", fmt.Sprintf(`{"to":%q}`, number), 429)
}

// prometheus is a real one, started by a test.
type prometheus struct {
	t       *testing.T
	url     string
	targets string // the file that names what is scraped
}

// startPrometheus starts the program that is on PATH, with all it writes in a folder of the test.
func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		const missing = "NOT RUN: there is no prometheus on PATH; install it: apt-get install --no-install-recommends prometheus"
		if os.Getenv(requireAll) == "all" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	dir := t.TempDir()
	p := &prometheus{t: t, targets: filepath.Join(dir, "targets.json")}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 1s}
scrape_configs:
- job_name: countersign
  file_sd_configs: [{files: [%q]}]
`, p.targets), 0o600); err != nil {
		t.Fatal(err)
	}
	porttest.Try(t, 1, func(port int) error { return p.start(program, config, dir, porttest.At(port)) })
	return p
}

// start starts the program and waits until it is ready.
func (p *prometheus) start(program, config, dir, addr string) error {
	t := p.t
	t.Helper()
	p.url = "http://" + addr
	var out lockedBuffer
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	if !within(patience, func() bool {
		select {
		case err := <-ended:
			ended <- err
			return true
		default:
		}
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}) {
		t.Fatalf("prometheus isn't ready\n%s", &out)
	}
	select {
	case err := <-ended:
		ended <- err
		return fmt.Errorf("prometheus ended: %v\n%s", err, &out)
	default:
	}
	return nil
}

// scrape has Prometheus look at a server from now on. It watches the file.
func (p *prometheus) scrape(ops string) {
	p.t.Helper()
	text := fmt.Sprintf(`[{"targets":[%q]}]`, strings.TrimPrefix(ops, "http://"))
	if err := os.WriteFile(p.targets+".new", []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(p.targets+".new", p.targets); err != nil {
		p.t.Fatal(err)
	}
}

// sample is one of a query's results: its labels, and a time with a number.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

// someNumber reports whether any of the results is a number: 0/0 is none.
func someNumber(all []sample) bool {
	for _, s := range all {
		text, _ := s.Value[1].(string)
		if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(n) {
			return true
		}
	}
	return false
}

// query asks for a query's value now.
func (p *prometheus) query(expr string) (result []sample, err error) {
	var data struct{ Result []sample }
	err = p.get("/api/v1/query", url.Values{"query": {expr}}, &data)
	return data.Result, err
}

var labelValuesCall = regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)

// labelValues does what Grafana does for a variable.
func (p *prometheus) labelValues(definition string) (values []string, err error) {
	m := labelValuesCall.FindStringSubmatch(definition)
	if m == nil {
		return nil, fmt.Errorf("not label_values(metric, label)")
	}
	err = p.get("/api/v1/label/"+m[2]+"/values", url.Values{"match[]": {m[1]}}, &values)
	return values, err
}

// get asks Prometheus's API.
func (p *prometheus) get(path string, args url.Values, into any) error {
	resp, err := httpClient.Get(p.url + path + "?" + args.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", resp.Status, answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// wait waits until a query has a result.
func (p *prometheus) wait(what, expr string) {
	p.t.Helper()
	if !within(patience, func() bool {
		result, err := p.query(expr)
		if err != nil {
			p.t.Fatal(err)
		}
		return len(result) > 0
	}) {
		p.t.Fatalf("prometheus hasn't scraped %s", what)
	}
}
