package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/api"
)

// When its time has come, a resend is offered, and r and Enter asks for it. The server is one that lets it be sent again
// immediately.
func TestVerifyOffersAResendInTime(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		v := api.Verification{ID: "1", To: "+12025550100", Channel: "sms", Status: "pending", Delivery: "sent", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
		switch {
		case strings.HasSuffix(r.URL.Path, "/resend"):
			v.Delivery = "sending"
			json.NewEncoder(w).Encode(v)
		case strings.HasSuffix(r.URL.Path, "/check"):
			json.NewEncoder(w).Encode(api.CheckResult{ID: "1", Valid: true, Status: "approved"})
		default:
			v.ResendAfter = &now
			json.NewEncoder(w).Encode(v)
		}
	}))
	defer server.Close()
	t.Setenv(tokenVariable, "key")
	typed, types := io.Pipe()
	shown, shows := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(world{ctx: t.Context(), stdin: typed, stdout: shows, stderr: shows}, []string{"verify", "--url", server.URL, "+12025550100"})
		shows.Close()
	}()
	var out bytes.Buffer
	await := func(text string) {
		t.Helper()
		one := make([]byte, 1)
		for !strings.Contains(out.String(), text) {
			if _, err := shown.Read(one); err != nil {
				t.Fatalf("%v, waiting for %q in:\n%s", err, text, out.String())
			}
			out.Write(one)
		}
	}
	await("(nothing arrived? r and Enter sends the code again)\nCode: ")
	io.WriteString(types, "r\n")
	await("(sent again)\nCode: ")
	io.WriteString(types, "123456\n")
	await("Right: the number is verified.\n")
	if exit := <-ended; exit != 0 {
		t.Errorf("exit %d:\n%s", exit, out.String())
	}
}
