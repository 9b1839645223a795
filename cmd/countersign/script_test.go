package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// What scripts can do beside running the program:
//
//	curl [-s] [-X METHOD] [-H HEADER]... [-u USER:PASSWORD] [-d BODY] [-w '%{http_code}'] URL
//	await PATTERN COMMAND...  runs curl or a program until its output has the pattern
//	take NAME PATTERN         puts the pattern's group in the last answer into a variable
//	receive NAME              takes messages until the script ends, at a URL that it puts into a variable
//
// curl is as much of the real one as the documentation's lines have. -w writes the status at the
// end, in a line of its own unless there is no body.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"curl": func(ts *testscript.TestScript, _ bool, args []string) {
		answer, err := curl(args)
		ts.Check(err)
		fmt.Fprint(ts.Stdout(), answer)
	},
	"await": func(ts *testscript.TestScript, _ bool, args []string) {
		if len(args) < 3 {
			ts.Fatalf("usage: await PATTERN COMMAND...")
		}
		pattern, err := regexp.Compile(args[0])
		ts.Check(err)
		run := func() (string, error) {
			err := ts.Exec(args[1], args[2:]...)
			return ts.ReadFile("stdout"), err
		}
		if args[1] == "curl" {
			run = func() (string, error) { return curl(args[2:]) }
		}
		var answer string
		if !within(patience, func() bool {
			answer, err = run()
			return err == nil && pattern.MatchString(answer)
		}) {
			ts.Fatalf("no output had %v; the last: %v\n%s", pattern, err, answer)
		}
		fmt.Fprint(ts.Stdout(), answer)
	},
	"take": func(ts *testscript.TestScript, _ bool, args []string) {
		if len(args) != 2 {
			ts.Fatalf("usage: take NAME PATTERN")
		}
		pattern, err := regexp.Compile(args[1])
		ts.Check(err)
		m := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
		if len(m) != 2 {
			ts.Fatalf("%v isn't there, or has no group", pattern)
		}
		ts.Setenv(args[0], m[1])
	},
	"receive": func(ts *testscript.TestScript, _ bool, args []string) {
		if len(args) != 1 {
			ts.Fatalf("usage: receive NAME")
		}
		gateway := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		ts.Defer(gateway.Close)
		ts.Setenv(args[0], gateway.URL)
	},
}

// headers are the -H flags.
type headers []string

func (h *headers) String() string     { return strings.Join(*h, ", ") }
func (h *headers) Set(s string) error { *h = append(*h, s); return nil }

func curl(args []string) (string, error) {
	var all headers
	flags := flag.NewFlagSet("curl", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Bool("s", false, "say nothing of the progress")
	flags.Var(&all, "H", "header")
	method := flags.String("X", "", "method: GET, or POST with a body")
	user := flags.String("u", "", "user and password")
	body := flags.String("d", "", "body")
	write := flags.String("w", "", "only for the status")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 {
		return "", fmt.Errorf("curl %q: want one URL after the flags: %v", args, err)
	}
	if *method == "" {
		*method = "GET"
		if *body != "" {
			*method = "POST"
		}
	}
	req, err := http.NewRequest(*method, flags.Arg(0), strings.NewReader(*body))
	if err != nil {
		return "", err
	}
	for _, h := range all {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Set(name, strings.TrimSpace(value))
	}
	if name, password, ok := strings.Cut(*user, ":"); ok {
		req.SetBasicAuth(name, password)
	}
	resp, answer, err := do(req)
	if err != nil {
		return "", err
	}
	if answer != "" {
		answer += "\n"
	}
	if *write != "" {
		answer += fmt.Sprintln(resp.StatusCode)
	}
	return answer, nil
}
