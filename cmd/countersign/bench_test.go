package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/bench"
	"github.com/countersign/countersign/internal/porttest"
)

func TestBenchTakesVerificationsFromStartToEnd(t *testing.T) {
	t.Parallel()
	sink := porttest.Address(t)
	var receiver string
	in := install(t, theProgram(t), func(config string) string {
		_, after, _ := strings.Cut(config, `      url: "`) // the carrier's
		receiver, _, _ = strings.Cut(after, `"`)
		return strings.Replace(config, receiver, "http://"+sink+"/", 1)
	})
	p := in.serve()
	run := func(wantExit int, env string, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := in.binary(append([]string{"bench", "--url", p.URL, "--project", p.Project, "--sink", sink, "--duration", "1s", "--concurrency", "4"}, args...)...)
		cmd.Env = append(cmd.Env, env)
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != wantExit {
			t.Fatalf("bench %v: exit %d, want %d\n%s", args, got, wantExit, &errOut)
		}
		return out.String(), errOut.String()
	}

	pid := strconv.Itoa(p.cmd.Process.Pid)
	out, _ := run(0, "COUNTERSIGN_TOKEN="+p.Token, "--json", "--pid", pid)
	var r bench.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if r.Verifications < 1 || r.Failed != 0 || r.PerSecond <= 0 || r.Check.P99 < r.Check.P50 || r.Check.P50 <= 0 || r.Message.P50 <= 0 || r.Start.P50 <= 0 {
		t.Errorf("got %+v", r)
	}
	if len(r.CPU) != 1 || r.CPU[0].PID != p.cmd.Process.Pid || r.CPU[0].Seconds <= 0 {
		t.Errorf("CPU: got %+v", r.CPU)
	}
	out, progress := run(0, "COUNTERSIGN_TOKEN="+p.Token, "--face", "v1")
	for _, want := range []string{"verifications in ", "p50 ms", "start", "message", "check"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	if !strings.Contains(progress, "/s") {
		t.Errorf("no progress: %q", progress)
	}

	if _, stderr := run(2, "COUNTERSIGN_TOKEN="); !strings.Contains(stderr, "COUNTERSIGN_TOKEN") {
		t.Errorf("without a token: %s", stderr)
	}
	if _, stderr := run(1, "COUNTERSIGN_TOKEN=wrong"); !strings.Contains(stderr, "401 Unauthorized") {
		t.Errorf("with a wrong token: %s", stderr)
	}
	if _, stderr := run(1, "COUNTERSIGN_TOKEN="+p.Token, "--pid", "999999999"); !strings.Contains(stderr, "CPU time of process 999999999") {
		t.Errorf("with a process that isn't there: %s", stderr)
	}
}
