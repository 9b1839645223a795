package main

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
)

// Who finds out that messages leave which nobody wants can tell by which key, and from where: from the log,
// the metrics and the database.
func TestWhatAKeyHasStartedCanBeTold(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), nil)
	var stolen texts
	in.decode(&stolen, "key", "create", "--config", "countersign.yaml", "--json", "--project", in.project, "--name", "stolen")
	p := in.serve()
	thief := p.as(in.project, stolen["token"])

	ids := map[string]string{} // by verification: the key's name
	start := func(by *process, name, to string) {
		t.Helper()
		ids[by.isStart(by.ask(request{path: "sms", body: with(to, "")}), "sms", to)] = name
	}
	start(p, "", "+12025550101")
	for _, to := range []string{"+447700900101", "+447700900102", "+447700900103", "+12025550102"} {
		start(thief, "stolen", to)
	}
	if got := thief.ask(request{path: "sms", body: with("+12025550103", `"token_length":99`)}).status; got != 422 {
		t.Errorf("a start with a bad length: got %d, want 422", got)
	}

	type usage struct {
		Key, Name, Country, Address string
		Hour, Day                   int
	}
	var byCountry, byAddress []usage
	in.decode(&byCountry, "project", "usage", "--config", "countersign.yaml", "--json", in.project)
	in.decode(&byAddress, "project", "usage", "--config", "countersign.yaml", "--json", "--by", "address", in.project)
	want := []usage{{stolen["id"], "stolen", "GB", "", 3, 3}, {stolen["id"], "stolen", "US", "", 1, 1}}
	if len(byCountry) != 3 || byCountry[0] != want[0] || byCountry[1].Day+byCountry[2].Day != 2 {
		t.Errorf("by country: got %+v, want %+v first, then one start of each key to the US", byCountry, want[0])
	}
	if len(byAddress) != 2 || byAddress[0] != (usage{stolen["id"], "stolen", "", "127.0.0.1", 4, 4}) {
		t.Errorf("by address: got %+v, want four starts of the stolen key from 127.0.0.1 first", byAddress)
	}
	if table := in.run("project", "usage", "--config", "countersign.yaml", in.project); !strings.HasPrefix(table, "KEY ") || !strings.Contains(table, "COUNTRY") {
		t.Errorf("for people it is:\n%s", table)
	}

	refused := false
	if !within(patience, func() bool {
		told := map[string]string{}
		lines := bufio.NewScanner(strings.NewReader(p.stderr.String()))
		for lines.Scan() {
			var line struct {
				Msg, Project, Key, Address, Verification, Code string
				RequestID                                      string `json:"request_id"`
			}
			if json.Unmarshal(lines.Bytes(), &line) != nil || line.Msg != "request" {
				continue
			}
			if line.Project != in.project || line.Address != "127.0.0.1" || line.RequestID == "" {
				t.Errorf("a request's line lacks its project, its client's address or its id: %s", lines.Text())
				return true
			}
			if line.Verification != "" {
				told[line.Verification] = line.Key
			}
			refused = refused || line.Code == "invalid" && line.Key == stolen["id"]
		}
		for id, name := range ids {
			if key, ok := told[id]; !ok || (key == stolen["id"]) != (name == "stolen") {
				return false
			}
		}
		return refused
	}) {
		t.Errorf("the log doesn't say of each start its key, and of the refused one why:\n%s", p.stderr)
	}
	if metrics := get(t, p.Ops+"/metrics"); !strings.Contains(metrics, `countersign_project_starts_total{project="`+in.project+`",result="ok"} 5`) {
		t.Error("the metrics don't say what the project has started")
	}
}
