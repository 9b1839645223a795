package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// verifyBy runs countersign verify against a server of dev. It answers each prompt by what reply returns.
func verifyBy(t *testing.T, p *process, number string, reply func(n int) string, more ...string) (exit int, stdout, stderr string) {
	t.Helper()
	typed, types := io.Pipe()
	var out, errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(world{ctx: t.Context(), stdin: typed, stdout: &out, stderr: &errs}, append([]string{"verify", "--url", p.URL, number}, more...))
		typed.Close()
	}()
	for n := range 9 {
		if _, err := io.WriteString(types, reply(n)+"\n"); err != nil {
			break
		}
	}
	types.Close()
	return <-ended, out.String(), errs.String()
}

// A developer's first verification from the command line, against the real program.
func TestVerifySendsACodeAndChecksWhatIsTyped(t *testing.T) {
	p := startDev(t, nil)
	t.Setenv(tokenVariable, p.Token)
	code := func(number string) string {
		var body string
		if !within(patience, func() bool {
			all := p.messages(number)
			if len(all) == 0 {
				return false
			}
			body = all[0].Body
			return true
		}) {
			t.Fatalf("no message to %s", number)
		}
		return codeInBody.FindString(body)
	}

	exit, stdout, stderr := verifyBy(t, p, "+12025550100", func(n int) string { return []string{"", "x", code("+12025550100"), "late"}[min(n, 3)] })
	if exit != 0 || stderr != "" || !strings.HasPrefix(stdout, "Verification ") || !strings.Contains(stdout, "Wrong. 2 more can be tried.\nCode: ") || !strings.HasSuffix(stdout, "Right: the number is verified.\n") {
		t.Errorf("the second try is right: exit %d\n%s%s", exit, stdout, stderr)
	}
	exit, stdout, stderr = verifyBy(t, p, "+12025550105", func(n int) string { return []string{"r", code("+12025550105"), ""}[min(n, 2)] })
	if exit != 0 || stderr != "" || !strings.Contains(stdout, "(not sent again: too_soon: the message before is too recent; try again in ") {
		t.Errorf("again too soon: exit %d\n%s%s", exit, stdout, stderr)
	}
	exit, stdout, stderr = verifyBy(t, p, "+12025550101", func(int) string { return "x" }, "--json")
	if exit != 1 || strings.Count(stdout, `"valid":false`) != 3 || !strings.Contains(stdout, `"status":"exhausted"`) || stderr != "countersign: the verification is exhausted\n" {
		t.Errorf("three wrong ones: exit %d\n%s%s", exit, stdout, stderr)
	}
	if exit, _, stderr = verifyBy(t, p, "12", func(int) string { return "" }); exit != 1 || !strings.Contains(stderr, "to is not an E.164 number") {
		t.Errorf("no number: exit %d\n%s", exit, stderr)
	}
	t.Setenv(tokenVariable, "wrong")
	if exit, _, stderr = verifyBy(t, p, "+12025550100", func(int) string { return "" }); exit != 1 || !strings.Contains(stderr, "unauthenticated") {
		t.Errorf("a wrong key: exit %d\n%s", exit, stderr)
	}
	t.Setenv(tokenVariable, "")
	if exit, _, stderr = verifyBy(t, p, "+12025550100", func(int) string { return "" }); exit != 2 || !strings.Contains(stderr, tokenVariable) {
		t.Errorf("no key: exit %d\n%s", exit, stderr)
	}
	t.Setenv(tokenVariable, p.Token)
	p.kill()
	if exit, _, stderr = verifyBy(t, p, "+12025550100", func(int) string { return "" }); exit != 1 || !strings.Contains(stderr, "does a server answer at "+p.URL) {
		t.Errorf("no server: exit %d\n%s", exit, stderr)
	}
}
