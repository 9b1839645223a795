package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/nyaruka/phonenumbers"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/porttest"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/testsize"
)

// repository is its root, from here.
const repository = "../.."

// pages are the documents whose words are held to the program, by path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		files, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(repository, file)
			if err != nil {
				t.Fatal(err)
			}
			texts[filepath.ToSlash(name)] = string(text)
		}
	}
	for _, name := range []string{"README.md", "docs/quickstart.md", "docs/operate.md", "docs/configuration.md", "docs/decisions/0001-dependencies.md"} {
		if texts[name] == "" {
			t.Fatalf("%s wasn't found", name)
		}
	}
	return texts
}

// runHere runs a command line in this process.
func runHere(t *testing.T, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	exit = run(world{ctx: t.Context(), stdout: &out, stderr: &errs}, args)
	return exit, out.String(), errs.String()
}

func TestConfigurationPageIsWhatTheProgramPrints(t *testing.T) {
	t.Parallel()
	exit, want, stderr := runHere(t, "config", "reference")
	if exit != 0 {
		t.Fatalf("config reference: exit %d\n%s", exit, stderr)
	}
	if pages(t)["docs/configuration.md"] != want {
		t.Error("docs/configuration.md is not what the program prints; run: go run ./cmd/countersign config reference > docs/configuration.md")
	}
	for line := range strings.Lines(want) {
		if strings.HasPrefix(line, "| `") && strings.HasSuffix(line, "|  |\n") {
			t.Errorf("a key that is not explained: %s", line)
		}
	}
}

// pieceOfCode is a fenced block or an inline piece of a page.
var pieceOfCode = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```|`([^`\n]+)`")

// commandLines are the lines of a page's code that call the program.
func commandLines(text string) (lines []string) {
	for _, m := range pieceOfCode.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(m[1] + m[2]) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "go run ./cmd/")
			if strings.HasPrefix(line, "countersign ") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// splitWords splits a command line as a shell would that knows double quotes, and where its command ends.
func splitWords(line string) []string {
	var words []string
	for _, m := range regexp.MustCompile(`"([^"]*)"|([^\s"]+)`).FindAllStringSubmatch(line, -1) {
		if slices.Contains([]string{">", "|", "&&", "#"}, m[2]) {
			break
		}
		words = append(words, m[1]+m[2])
	}
	return words
}

// parses says what is wrong with a command line, if anything. Nothing is run but --help.
func parses(t *testing.T, line string) error {
	t.Helper()
	args := splitWords(line)[1:]
	exit, stdout, stderr := runHere(t, append(args, "--help")...)
	if exit != 0 {
		return fmt.Errorf("exit %d: %s", exit, stderr)
	}
	// A word that is no command would be answered with the help of what is above it.
	usage, _, _ := strings.Cut(stdout, "\n")
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") && !strings.Contains(usage, " "+args[0]) {
		return fmt.Errorf("answered: %s", usage)
	}
	return nil
}

func TestCommandsInTheDocumentationExist(t *testing.T) {
	t.Parallel()
	testsize.Alone(t, "reads command lines")
	found := 0
	for name, text := range pages(t) {
		for _, line := range commandLines(text) {
			found++
			if err := parses(t, line); err != nil {
				t.Errorf("%s: %s: %v", name, line, err)
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d command lines: were all read?", found)
	}
	for _, line := range []string{
		"countersign serve --konfig x", "countersign frobnicate", "countersign project frobnicate", "countersign keyset promote keyset.json KEY",
	} {
		if parses(t, line) == nil {
			t.Errorf("%s: no error", line)
		}
	}
}

var (
	pageLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pageHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// anchors are the fragments that a page's headings make.
func anchors(text string) (all []string) {
	for _, m := range pageHeading.FindAllStringSubmatch(text, -1) {
		slug := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(slug, " ", "-"))
	}
	return all
}

func TestLinksInTheDocumentationLead(t *testing.T) {
	t.Parallel()
	testsize.Alone(t, "reads pages")
	texts := pages(t)
	found := 0
	for name, text := range texts {
		for _, m := range pageLink.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			file, fragment, _ := strings.Cut(m[1], "#")
			to := name
			if file != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(name), file))
			}
			if _, err := os.Stat(filepath.Join(repository, to)); err != nil {
				t.Errorf("%s: (%s): %v", name, m[1], err)
			} else if fragment != "" && !slices.Contains(anchors(texts[to]), fragment) {
				t.Errorf("%s: (%s): %s has no such heading", name, m[1], to)
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d links: were all read?", found)
	}
}

// The page for operators explains every metric that there is, and no other.
func TestOperatePageNamesEveryMetric(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), nil)
	p := in.serve()
	traffic(in, p)
	histogramPart := regexp.MustCompile(`_(bucket|sum|count)$`)
	served := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (countersign_\w+) `).FindAllStringSubmatch(get(t, p.Ops+"/metrics"), -1) {
		served[m[1]] = true
	}
	// Some show only once there is something to count, such as receipts.
	source, err := os.ReadFile(filepath.Join(repository, "internal/metric/metric.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"(countersign_\w+)"`).FindAllStringSubmatch(string(source), -1) {
		served[m[1]] = true
	}
	text := pages(t)["docs/operate.md"]
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`countersign_[a-z_]+`).FindAllString(text, -1) {
		if !served[name] {
			name = histogramPart.ReplaceAllString(name, "")
		}
		named[name] = true
		if !served[name] {
			t.Errorf("docs/operate.md names %s, which /metrics hasn't", name)
		}
	}
	for name := range served {
		if !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("docs/operate.md has no row for %s", name)
		}
	}
	if len(served) < 10 {
		t.Errorf("/metrics has %d metrics of ours: was all there?", len(served))
	}
}

// The receiver that the quickstart shows takes what the server sends, and nothing else.
func TestQuickstartsReceiver(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(pages(t)["docs/quickstart.md"])
	if m == nil {
		t.Fatal("docs/quickstart.md shows no receiver")
	}
	in := install(t, theProgram(t), nil)
	var addr string
	var printed *lockedBuffer
	porttest.Try(t, 1, func(port int) (err error) {
		addr = porttest.At(port)
		printed, err = in.quickstartReceiver(strings.ReplaceAll(m[1], "127.0.0.1:9000", addr), addr)
		return err
	})
	in.rewrite(func(config string) string {
		return regexp.MustCompile(`http://127\.0\.0\.1:\d+/messages`).ReplaceAllString(config, "http://"+addr+"/messages")
	})

	p := in.serve()
	_, started, err := p.post("sms", `{"to":"+12025550100"}`)
	if err != nil {
		t.Fatal(err)
	}
	var code string
	if !within(patience, func() bool {
		if found := regexp.MustCompile(`code is: (\d{6})`).FindStringSubmatch(strings.ToLower(printed.String())); found != nil {
			code = found[1]
		}
		return code != ""
	}) {
		t.Fatalf("the receiver printed no code after %s:\n%s", started, printed)
	}
	id := regexp.MustCompile(`[0-9a-f-]{36}`).FindString(started)
	if _, answer, err := p.post(id+"/verify", `{"token":"`+code+`"}`); err != nil || answer != `{"success":true}` {
		t.Errorf("verify: got %s, %v", answer, err)
	}

	// An independent library signs: once rightly, then with everything wrong that can be.
	secret, err := os.ReadFile(filepath.Join(in.dir, "gateway.secret"))
	if err != nil {
		t.Fatal(err)
	}
	hook, err := standardwebhooks.NewWebhook(strings.TrimSpace(string(secret)))
	if err != nil {
		t.Fatal(err)
	}
	other, err := standardwebhooks.NewWebhookRaw(bytes.Repeat([]byte("x"), 32))
	if err != nil {
		t.Fatal(err)
	}
	const id1, body = "a-message", `{"to":"+12025550101"}`
	for _, tt := range []struct {
		name   string
		signer *standardwebhooks.Webhook
		at     time.Time
		body   string // what is sent of what was signed
		status int
	}{
		{"right", hook, time.Now(), body, http.StatusAccepted},
		{"another secret", other, time.Now(), body, http.StatusUnauthorized},
		{"too old", hook, time.Now().Add(-6 * time.Minute), body, http.StatusUnauthorized},
		{"another body", hook, time.Now(), `{"to":"+12025550102"}`, http.StatusUnauthorized},
	} {
		signature, err := tt.signer.Sign(id1, tt.at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest("POST", "http://"+addr+"/messages", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Webhook-Id", id1)
		req.Header.Set("Webhook-Timestamp", fmt.Sprint(tt.at.Unix()))
		req.Header.Set("Webhook-Signature", signature)
		resp, text, err := do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.status {
			t.Errorf("%s: got %s %s, want %d", tt.name, resp.Status, text, tt.status)
		}
	}
}

// quickstartReceiver builds a receiver, starts it, and waits until it listens.
func (in *installation) quickstartReceiver(source, addr string) (printed *lockedBuffer, err error) {
	t := in.t
	t.Helper()
	file, binary := filepath.Join(in.dir, "receiver.go"), filepath.Join(in.dir, "receiver")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", binary, file).CombinedOutput(); err != nil {
		t.Fatalf("build the receiver: %v\n%s", err, out)
	}
	printed = new(lockedBuffer)
	receiver := exec.Command(binary)
	receiver.Dir, receiver.Stdout, receiver.Stderr = in.dir, printed, printed
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { receiver.Wait(); close(ended) }()
	t.Cleanup(func() {
		receiver.Process.Kill()
		<-ended
	})
	if !within(patience, func() bool {
		select {
		case <-ended:
			err = fmt.Errorf("the receiver ended: %v\n%s", receiver.ProcessState, printed)
			return true
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}) {
		t.Fatalf("the receiver doesn't listen\n%s", printed)
	}
	return printed, err
}

// The configurations for containers are right once their secrets are made as each compose.yaml says.
func TestContainersConfiguration(t *testing.T) {
	t.Parallel()
	for folder, secrets := range map[string]string{"deploy": "/var/lib/countersign", "deploy/replicas": "/secrets"} {
		text, err := os.ReadFile(filepath.Join(repository, folder, "countersign.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), secrets) {
			t.Fatalf("%s: nothing is in %s", folder, secrets)
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "countersign.yaml")
		if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte(secrets), []byte(dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"keyset", "create", filepath.Join(dir, "keyset.json")},
			{"secret", "create", filepath.Join(dir, "gateway.secret")},
			{"secret", "create", filepath.Join(dir, "database.password")},
			{"config", "check", "--config", file},
		} {
			if exit, _, stderr := runHere(t, args...); exit != 0 {
				t.Errorf("%s: countersign %s: exit %d\n%s", folder, strings.Join(args, " "), exit, stderr)
			}
		}
	}
}

// The files for two replicas name each other's services, files and ports rightly. No Docker is here to try them.
func TestReplicasFilesAgree(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(repository, "deploy/replicas")
	read := func(name string, to any) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if to != nil {
			if err := yaml.Unmarshal(text, to); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		return string(text)
	}
	var compose struct {
		Services map[string]struct{ Volumes, Networks []string }
		Networks map[string]struct {
			IPAM struct{ Config []struct{ Subnet string } }
		}
		Volumes map[string]any
	}
	var conf struct {
		Data   string
		Public struct {
			Listen         string
			TrustedProxies []string `yaml:"trusted_proxies"`
		}
		Operations struct{ Listen string }
	}
	read("compose.yaml", &compose)
	read("countersign.yaml", &conf)
	caddyfile := read("Caddyfile", nil)
	for name, service := range compose.Services {
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if file, isFile := strings.CutPrefix(source, "./"); isFile {
				read(file, nil)
			} else if _, ok := compose.Volumes[source]; !ok {
				t.Errorf("%s: there is no volume %s", name, source)
			}
		}
	}
	caddy := compose.Services["caddy"].Networks
	for _, name := range []string{"one", "two"} {
		replica := compose.Services[name]
		if !slices.Contains(replica.Volumes, name+":"+conf.Data) {
			t.Errorf("%s has no folder of its own: %q", name, replica.Volumes)
		}
		if !strings.Contains(caddyfile, " "+name+conf.Public.Listen) {
			t.Errorf("Caddy asks no %s%s", name, conf.Public.Listen)
		}
		shared := slices.DeleteFunc(slices.Clone(replica.Networks), func(n string) bool { return !slices.Contains(caddy, n) })
		if len(shared) != 1 || !slices.Equal(conf.Public.TrustedProxies, []string{compose.Networks[shared[0]].IPAM.Config[0].Subnet}) {
			t.Errorf("%s shares %q with Caddy and trusts %q", name, shared, conf.Public.TrustedProxies)
		}
	}
	if !strings.Contains(caddyfile, "\thealth_port "+strings.TrimPrefix(conf.Operations.Listen, ":")+"\n") {
		t.Errorf("Caddy doesn't ask %s for the health", conf.Operations.Listen)
	}
}

// Caddy reads our Caddyfiles as they are.
func TestCaddyReadsItsFiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"deploy/Caddyfile", "deploy/replicas/Caddyfile"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needProgram(t, "caddy")
			text, err := exec.Command("caddy", "adapt", "--adapter", "caddyfile", "--config", filepath.Join(repository, name)).CombinedOutput()
			if err != nil || bytes.Contains(text, []byte(`"level":"warn"`)) {
				t.Errorf("%v, %s", err, text)
			}
		})
	}
}

// The page tells which country's numbers are called in which language.
func TestVoicePageNamesTheLanguagesOfCountries(t *testing.T) {
	t.Parallel()
	told := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]{2}(?:-419)?)` \\| [^|]+ \\| ([A-Z ]+) \\|$").FindAllStringSubmatch(pages(t)["docs/voice.md"], -1) {
		if _, ok := speech.Match(m[1]); !ok {
			t.Errorf("calls aren't spoken in %s", m[1])
		}
		for _, region := range strings.Fields(m[2]) {
			told[region] = m[1]
		}
	}
	for region := range phonenumbers.GetSupportedRegions() {
		n, err := phone.Parse(phonenumbers.Format(phonenumbers.GetExampleNumber(region), phonenumbers.E164))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := told[n.Region()], n.Language(); got != want {
			t.Errorf("%s: the page says %q, calls are in %q", region, got, want)
		}
	}
}

// The ready-made files are what the program prints for each provider, and right once their secrets are there.
func TestTheProvidersFilesAreTheExamples(t *testing.T) {
	t.Parallel()
	_, presets, _ := runHere(t, "config", "preset")
	names := append(strings.Fields(presets), "smpp", "sip")
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(repository, "deploy/providers/*.yaml"))
	if err != nil || len(files) != len(names) {
		t.Errorf("there are %d files, %v, for %d providers", len(files), err, len(names))
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(repository, "deploy/providers", name+".yaml"))
		if err != nil {
			t.Error(err)
			continue
		}
		exit, want, stderr := runHere(t, "config", "example", "--preset", name)
		if exit != 0 || string(text) != want {
			t.Errorf("deploy/providers/%s.yaml is not what the program prints; run: make docs\n%s", name, stderr)
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "countersign.yaml")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`file: "([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			secret := []byte("0123456789abcdef0123456789abcdef\n")
			if name == "bird" { // its keys name their region
				secret = append([]byte("bk_eu1_"), secret...)
			}
			if name == "vonage-messages" || name == "vonage-voice" {
				secret = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
			}
			if err := os.WriteFile(filepath.Join(dir, m[1]), secret, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if exit, _, stderr := runHere(t, "keyset", "create", filepath.Join(dir, "keyset.json")); exit != 0 {
			t.Fatal(stderr)
		}
		if exit, stdout, stderr := runHere(t, "config", "check", file); exit != 0 || strings.Contains(stderr, "warning") {
			t.Errorf("%s: exit %d\n%s%s", name, exit, stdout, stderr)
		}
	}
}

// Prometheus reads its files as they are.
func TestPromtoolReadsItsFiles(t *testing.T) {
	t.Parallel()
	needProgram(t, "promtool")
	for what, name := range map[string]string{"rules": "deploy/alerts.yml", "config": "deploy/prometheus.yml"} {
		if text, err := exec.Command("promtool", "check", what, filepath.Join(repository, name)).CombinedOutput(); err != nil || !bytes.Contains(text, []byte("SUCCESS")) {
			t.Errorf("%s: %v, %s", name, err, text)
		}
	}
}

// nginx reads our file, once its certificate is there.
func TestNginxReadsItsFile(t *testing.T) {
	t.Parallel()
	needProgram(t, "nginx")
	text, err := os.ReadFile(filepath.Join(repository, "deploy/nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	testCertificate(t, dir, "verify.example.com")
	site := strings.NewReplacer("/etc/letsencrypt/live/verify.example.com/fullchain.pem", filepath.Join(dir, "tls.crt"),
		"/etc/letsencrypt/live/verify.example.com/privkey.pem", filepath.Join(dir, "tls.key"), "/var/log/nginx", dir).Replace(string(text))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "pid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\n%s}\n", dir, site), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("nginx", "-t", "-q", "-p", dir, "-c", file).CombinedOutput(); err != nil || bytes.Contains(text, []byte("[warn]")) {
		t.Errorf("%v, %s", err, text)
	}
}

// A passer-by meets no trade's word without what it means.
func TestTheReadmeExplainsItsTerms(t *testing.T) {
	t.Parallel()
	text := pages(t)["README.md"]
	for term, meaning := range map[string]string{
		"MFA": "multi-factor authentication", "SMPP": "mobile network", "SIP": "phone line over the internet", "NIST": "US standard for sign-ins", "OpenAPI": "generators of clients",
	} {
		i := strings.Index(text, term)
		if i < 0 {
			t.Errorf("%s isn't there: is the test still right?", term)
			continue
		}
		near := text[max(0, i-200):min(len(text), i+200)]
		if term == "NIST" { // it comes in what dev prints, and is explained below that
			near = text[i:min(len(text), i+500)]
		}
		if !strings.Contains(near, meaning) {
			t.Errorf("%s first appears without %q:\n%s", term, meaning, near)
		}
	}
	for _, word := range []string{"SMSC", "E.164", "TOTP", "VAPID", "GSM", "MAC", "STIR"} {
		if strings.Contains(text, word) {
			t.Errorf("%s stands in the README: explain it here and there", word)
		}
	}
}
