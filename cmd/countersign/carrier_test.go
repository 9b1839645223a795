package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// A server that ends leaves alone what another one, begun after it on the same folder, has written.
func TestAServerRemovesItsOwnOperatorFileOnly(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081}
	_, removeFirst, err := publishOperator(data, addr)
	if err != nil {
		t.Fatal(err)
	}
	second, removeSecond, err := publishOperator(data, addr)
	if err != nil {
		t.Fatal(err)
	}
	removeFirst()
	if o, err := readOperator(data); err != nil || o.Token != second.Reveal() {
		t.Errorf("after the first server's end: got %v, %v; want the second one's", o, err)
	}
	removeSecond()
	if _, err := readOperator(data); err == nil {
		t.Error("the file outlives its server")
	}
}

func TestATestMessagesLastStepDecides(t *testing.T) {
	t.Parallel()
	for what, want := range map[string]string{
		"accepted": "no receipt came within 1m0s", "unknown": "nobody knows whether the message was sent", "failed": "was not delivered: failed unreachable",
		"refused": "was not delivered: refused unreachable", "delivered": "", "accepted at once": "", "accepted in the end": "",
	} {
		c := carrierTest{Wait: time.Minute}
		what, final := strings.CutSuffix(what, " in the end")
		what, atOnce := strings.CutSuffix(what, " at once")
		if atOnce {
			c.Wait = 0
		}
		err := c.verdict(system.TrialLine{Step: dispatch.Step{What: what, Reason: verify.ReasonUnreachable, Final: final}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
	}
}

// An operator's own receiver reports what became of a message, signed as the message was.
func TestAReceiverReportsDelivery(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), func(text string) string {
		before, public, _ := strings.Cut(text, "\npublic:\n")
		return before + "\npublic:\n" + strings.Replace(public, "  url: \"\"\n", "  url: "+testPublicURL+"\n", 1)
	})
	p := in.serve()
	id, _, err := in.ask(p, "sms", `{"to":"+12025550100"}`)
	if err != nil {
		t.Fatal(err)
	}
	m := in.receiver.message(t, id)
	in.wantDelivery(id, verify.StatusPending, verify.DeliverySent, "")
	report := func(status string) int {
		t.Helper()
		got, err := in.report(p, m, status)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if status := report("delivered"); status != http.StatusOK {
		t.Errorf("got %d, want 200", status)
	}
	in.wantDelivery(id, verify.StatusPending, verify.DeliveryDelivered, "")

	cmd := in.binary("carrier", "test", "--data", "data", "--wait", "10ms", "gateway", "+12025550100")
	cmd.Dir = in.dir
	if text, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(text), "no receipt came within 10ms") {
		t.Errorf("without a report: %v, %s", err, text)
	}
}

// report sends the receiver's report of a message, signed, and returns the answer's status.
func (in *installation) report(p *process, m receivedMessage, status string) (int, error) {
	path, ok := strings.CutPrefix(m.StatusURL, testPublicURL)
	if !ok {
		return 0, fmt.Errorf("got the URL %q, want one below %s", m.StatusURL, testPublicURL)
	}
	body, now := `{"token":"`+m.StatusToken+`","status":"`+status+`","code":"unreachable"}`, time.Now()
	lib, err := standardwebhooks.NewWebhook(in.receiver.secret)
	if err != nil {
		return 0, err
	}
	signature, err := lib.Sign("r1", now, []byte(body))
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequest("POST", p.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Webhook-Id", "r1")
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("Webhook-Signature", signature)
	resp, _, err := do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

// An operator asks a running server to try a carrier. Only who can read the server's data may.
func TestOperatorTriesACarrier(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), nil)
	p := in.serve()
	path := filepath.Join(in.dir, "data", operatorFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%s: %v, %v; want mode 0600", path, info.Mode(), err)
	}

	out := in.run("carrier", "test", "--config", "countersign.yaml", "--wait", "0s", "gateway", "+1 202 555 0100")
	if want := `^ +\d\.\ds  sending  from \+12025550199\n +\d\.\ds  accepted  hint this carrier can't report [^\n]+\n$`; !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("got %q, want %s", out, want)
	}
	in.receiver.mu.Lock()
	got := in.receiver.got
	in.receiver.mu.Unlock()
	if len(got) != 1 || got[0].To != "+12025550100" || got[0].Body != "This is a test message. You need not do anything." {
		t.Errorf("the receiver got %+v", got)
	}

	fails := func(want string, args ...string) {
		t.Helper()
		cmd := in.binary(append([]string{"carrier", "test", "--data", "data"}, args...)...)
		cmd.Dir = in.dir
		text, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(text), want) {
			t.Errorf("%q: %v, %s; want a failure with %q", args, err, text, want)
		}
	}
	fails(`there is no carrier "nobody"`, "nobody", "+12025550100")
	fails("number: not an E.164 number", "gateway", "12")
	fails("the wait at most 10m", "--wait", "11m", "gateway", "+12025550100")
	in.receiver.Close()
	fails("the message was not delivered: errored unreachable", "gateway", "+12025550100")

	for token, want := range map[string]int{"": 401, "Bearer wrong": 401, "Bearer ": 401} {
		req, err := http.NewRequest("POST", p.Ops+"/carriers/gateway/test", strings.NewReader(`{"to":"+12025550100","channel":"sms"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("token %q: got %d, want %d", token, resp.StatusCode, want)
		}
	}

	policyByAPI(t, in, p.Ops, path)

	var states struct {
		Carriers []struct {
			Name     string
			Queue    int
			Breakers []struct {
				Country, State string
				Failures       int
			}
		}
	}
	if err := json.Unmarshal([]byte(get(t, p.Ops+"/carriers")), &states); err != nil || len(states.Carriers) != 1 || states.Carriers[0].Name != "gateway" || states.Carriers[0].Queue != 1024 {
		t.Errorf("carriers: %+v, %v", states, err)
	}
	p.stop()
	if _, err := os.Stat(path); err == nil {
		t.Errorf("%s is still there after the server's end", path)
	}
	fails("no server runs on data", "gateway", "+12025550100")
}

// askOperations asks the operations listener with a token, and returns the answer's status and body.
func askOperations(t *testing.T, method, url, token, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(read)
}

// policyByAPI has programs change where messages go, as operators do by command.
func policyByAPI(t *testing.T, in *installation, ops, operator string) {
	t.Helper()
	found, err := readOperator(filepath.Dir(operator))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, token, body string) (status int, answer string) {
		t.Helper()
		return askOperations(t, method, ops+path, token, body)
	}
	for _, c := range []struct {
		path, token, body string
		status            int
	}{
		{"/countries/LK", "", `{"state":"stopped","actor":"nightwatch"}`, 401},
		{"/countries/LK", found.Token, `{"state":"stopped","actor":"nightwatch","note":"a wave"}`, 204},
		{"/countries/LK", found.Token, `{"state":"stopped"}`, 422},
		{"/countries/LK", found.Token, `{"state":"drained","actor":"nightwatch"}`, 422},
		{"/countries/LK", found.Token, `{"state":"stopped","actor":"nightwatch","country":"LK"}`, 400},
		{"/countries/UK", found.Token, `{"state":"stopped","actor":"nightwatch"}`, 422},
		{"/countries/GB", found.Token, `{"state":"watched","actor":"nightwatch"}`, 204},
		{"/countries/FR", found.Token, `{"state":"allowed","actor":"nightwatch"}`, 204},
		{"/carriers/nobody", found.Token, `{"state":"drained","actor":"nightwatch"}`, 404},
		{"/carriers/gateway", found.Token, `{"state":"drained","actor":"nightwatch"}`, 204},
		{"/limits/LK", "", `{"day_messages":5,"actor":"nightwatch"}`, 401},
		{"/limits/LK", found.Token, `{"day_messages":5,"max_price":"0.15","actor":"nightwatch","note":"a wave"}`, 204},
		{"/limits/LK", found.Token, `{"hour_messages":2,"max_price":"0.15","actor":"nightwatch"}`, 204}, // in place of the one before
		{"/limits/LK", found.Token, `{"day_messages":5}`, 422},
		{"/limits/LK", found.Token, `{"day_messages":-7,"actor":"nightwatch"}`, 422},
		{"/limits/LK", found.Token, `{"day_messages":-1,"actor":"nightwatch"}`, 422}, // which is no word for none
		{"/limits/LK", found.Token, `{"max_price":"-0.000001","actor":"nightwatch"}`, 422},
		{"/limits/LK", found.Token, `{"max_price":"1e3","actor":"nightwatch"}`, 422},
		{"/limits/LK", found.Token, `{"max_price":0.15,"actor":"nightwatch"}`, 400},
		{"/limits/UK", found.Token, `{"day_messages":5,"actor":"nightwatch"}`, 422},
		{"/limits/LK", found.Token, `{"project":"nobody","day_messages":5,"actor":"nightwatch"}`, 404},
		{"/limits/PK", found.Token, `{"day_messages":5,"actor":"nightwatch"}`, 204},
		{"/limits/PK", found.Token, `{"actor":"nightwatch"}`, 204}, // none any more
		{"/budgets/" + in.project, "", `{"day_messages":5,"actor":"nightwatch"}`, 401},
		{"/budgets/" + in.project, found.Token, `{"month_amount":"5","actor":"nightwatch"}`, 422}, // in which currency?
		{"/budgets/" + in.project, found.Token, `{"month_amount":"5","currency":"USD","actor":"nightwatch"}`, 422},
		{"/budgets/" + in.project, found.Token, `{"month_amount":"5","currency":"EUR","actor":"nightwatch"}`, 204},
		{"/budgets/" + in.project, found.Token, `{"hour_messages":9,"month_messages":100,"actor":"nightwatch","note":"a tenant"}`, 204},
		{"/budgets/" + in.project, found.Token, `{"day_messages":5,"month_messages":100,"actor":"nightwatch"}`, 204}, // in place of the ones before
		{"/budgets/" + in.project, found.Token, `{"day_messages":5}`, 422},
		{"/budgets/" + in.project, found.Token, `{"day_messages":-1,"actor":"nightwatch"}`, 422},
		{"/budgets/" + in.project, found.Token, `{"day_messages":1000000001,"actor":"nightwatch"}`, 422},
		{"/budgets/" + in.project, found.Token, `{"day_amount":"-0.000001","actor":"nightwatch"}`, 422},
		{"/budgets/" + in.project, found.Token, `{"day_amount":5,"actor":"nightwatch"}`, 400},
		{"/budgets/" + in.project, found.Token, `{"month_amount":"1e3","actor":"nightwatch"}`, 422},
		{"/budgets/" + in.project, found.Token, `{"prepaid":true,"actor":"nightwatch"}`, 400},
		{"/budgets/nobody", found.Token, `{"day_messages":5,"actor":"nightwatch"}`, 404},
		{"/routes/0", "", `{"weights":{"gateway":7},"actor":"nightwatch"}`, 401},
		{"/routes/0", found.Token, `{"actor":"nightwatch"}`, 204}, // they are the configuration's
		{"/routes/0", found.Token, `{"weights":{"gateway":7},"actor":"nightwatch","note":"slow"}`, 204},
		{"/routes/0", found.Token, `{"weights":{"gateway":7}}`, 422},
		{"/routes/0", found.Token, `{"weights":{"gateway":1001},"actor":"nightwatch"}`, 422},
		{"/routes/0", found.Token, `{"weights":{"nobody":1},"actor":"nightwatch"}`, 422},
		{"/routes/9", found.Token, `{"weights":{"gateway":1},"actor":"nightwatch"}`, 404},
		{"/routes/first", found.Token, `{"weights":{"gateway":1},"actor":"nightwatch"}`, 404},
	} {
		if status, answer := ask("PUT", "/policy"+c.path, c.token, c.body); status != c.status {
			t.Errorf("%s %s: got %d %s, want %d", c.path, c.body, status, answer, c.status)
		}
	}
	status, answer := ask("GET", "/policy", found.Token, "")
	for _, want := range []string{`{"name":"LK","state":"stopped"`, `"actor":"api: nightwatch","note":"a wave"`, `{"name":"GB","state":"watched"`, `{"name":"gateway","state":"drained"`,
		`"limits":[{"country":"LK","project":"","hour_messages":2,"day_messages":null,"max_price":"0.15","at":"2`, `"place":0,"carrier":"gateway","weight":7,"at":"2`, `"actor":"api: nightwatch","note":"slow"`,
	} {
		if status != 200 || !strings.Contains(answer, want) {
			t.Errorf("the policy: got %d %s, want %s in it", status, answer, want)
		}
	}
	if _, answer := ask("PUT", "/policy/budgets/"+in.project, found.Token, `{"day_messages":1000000001,"actor":"nightwatch"}`); answer != "day_messages must be 0 to 1000000000, or none\n" {
		t.Errorf("a cap beyond the bound: got %q", answer)
	}
	if status, answer := ask("GET", "/policy/budgets/"+in.project, found.Token, ""); status != 200 ||
		answer != `{"project":"`+in.project+`","hour_messages":null,"day_messages":5,"month_messages":100,"day_amount":null,"month_amount":null,"currency":"EUR","prepaid":false}`+"\n" {
		t.Errorf("the budget: got %d %s", status, answer)
	}
	for path, want := range map[string]int{"/policy/budgets/nobody": 404, "/policy/budgets/" + in.project: 401} {
		token := found.Token
		if want == 401 {
			token = "wrong"
		}
		if status, answer := ask("GET", path, token, ""); status != want {
			t.Errorf("%s: got %d %s, want %d", path, status, answer, want)
		}
	}
	if status, _ := ask("GET", "/policy", "wrong", ""); status != 401 {
		t.Errorf("the policy without the token: got %d, want 401", status)
	}
	if status, answer := ask("PUT", "/policy/carriers/gateway", found.Token, `{"state":"allowed","actor":"nightwatch"}`); status != 204 {
		t.Errorf("resume: got %d %s", status, answer)
	}
	if status, answer := ask("PUT", "/policy/routes/0", found.Token, `{"weights":{},"actor":"nightwatch"}`); status != 204 {
		t.Errorf("the configuration's weights: got %d %s", status, answer)
	}
	if _, answer := ask("GET", "/policy", found.Token, ""); !strings.Contains(answer, `"weights":[]`) {
		t.Errorf("afterwards: got %s", answer)
	}
	audit := in.binary("audit", "list", "--data", "data")
	audit.Dir = in.dir
	if said, err := audit.CombinedOutput(); err != nil || !strings.Contains(string(said), "api: nightwatch") ||
		!strings.Contains(string(said), "hour-messages from none to 2, day-messages from 5 to none") || !strings.Contains(string(said), "gateway=7 slow") ||
		!strings.Contains(string(said), "hour-messages from none to 9, month-messages from none to 100, month-amount from 5.00 to none a tenant") || !strings.Contains(string(said), "hour-messages from 9 to none, day-messages from none to 5") {
		t.Errorf("the audit log: %v, %s", err, said)
	}
}
