package main

import (
	"strings"
	"testing"
	"time"
)

func TestTheReportShowsWhatFailedAndWhatDidNotRun(t *testing.T) {
	t.Parallel()
	events := `{"Action":"start","Package":"p/a"}
{"Action":"run","Package":"p/a","Test":"TestGood"}
{"Action":"output","Package":"p/a","Test":"TestGood","Output":"    a_test.go:1: words of a test that passes\n"}
{"Action":"pass","Package":"p/a","Test":"TestGood","Elapsed":1}
{"Action":"output","Package":"p/a","Test":"TestSkipped","Output":"=== RUN   TestSkipped\n"}
{"Action":"output","Package":"p/a","Test":"TestSkipped","Output":"    a_test.go:2: NOT RUN: there is no curl; install it\n"}
{"Action":"output","Package":"p/a","Test":"TestSkipped","Output":"--- SKIP: TestSkipped (0.00s)\n"}
{"Action":"skip","Package":"p/a","Test":"TestSkipped","Elapsed":0}
{"Action":"output","Package":"p/a","Output":"PASS\n"}
{"Action":"output","Package":"p/a","Output":"ok  \tp/a\t1.2s\n"}
{"Action":"pass","Package":"p/a","Elapsed":1.2}
{"Action":"output","Package":"p/b","Test":"TestBad","Output":"    b_test.go:3: got 1, want 2\n"}
{"Action":"output","Package":"p/b","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"p/b","Test":"TestBad","Elapsed":0}
{"Action":"output","Package":"p/b","Test":"TestKilled","Output":"=== RUN   TestKilled\n"}
{"Action":"output","Package":"p/b","Test":"TestKilled","Output":"panic: its last words\n"}
{"Action":"output","Package":"p/b","Output":"FAIL\tp/b\t0.1s\n"}
{"Action":"fail","Package":"p/b","Elapsed":0.1}
{"ImportPath":"p/c","Action":"build-output","Output":"c.go:4: undefined: x\n"}
{"ImportPath":"p/c","Action":"build-fail"}
`
	var out strings.Builder
	r := newReport(&out)
	r.read(strings.NewReader(events))
	r.end(90*time.Second, false)
	want := "ok  \tp/a\t1.2s\n" +
		"    b_test.go:3: got 1, want 2\n--- FAIL: TestBad (0.00s)\n" +
		"FAIL\tp/b\t0.1s\n" +
		"=== RUN   TestKilled\npanic: its last words\n" +
		"c.go:4: undefined: x\n" +
		"NOT RUN: there is no curl; install it\n    TestSkipped\n" +
		"FAILED: p/b TestBad\n" +
		"The tests FAILED in 1m30s: 1 passed, 1 failed, 1 not run.\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
