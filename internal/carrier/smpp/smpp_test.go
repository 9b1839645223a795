package smpp

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/verify"
)

var _ carrier.Carrier = (*Carrier)(nil)

func TestName(t *testing.T) {
	t.Parallel()
	if got := (&Carrier{Config: Config{Name: "smsc"}}).Name(); got != "smsc" {
		t.Errorf("got %q", got)
	}
}

func TestAConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	good := Config{Name: "smsc", Addr: "smsc.example:2775", SystemID: "countersign", Password: password}
	if wrong := good.Check(); wrong != nil {
		t.Errorf("the least that is needed: %v", wrong)
	}
	full := good
	full.Mode, full.Binds, full.Window, full.Rate, full.ReceiptID = Pair, 64, 1000, 100_000, DecimalThenHex
	if wrong := full.Check(); wrong != nil {
		t.Errorf("the most: %v", wrong)
	}
	for want, change := range map[string]func(*Config){
		"addr":         func(c *Config) { c.Addr = "smsc.example" },
		"addr ":        func(c *Config) { c.Addr = ":2775" },
		"system_id":    func(c *Config) { c.SystemID = "" },
		"system_id ":   func(c *Config) { c.SystemID = "sixteencharacter" },
		"password":     func(c *Config) { c.Password = verify.Secret(strings.Repeat("p", 65)) },
		"password ":    func(c *Config) { c.Password = password + "\x00x" },
		"system_type":  func(c *Config) { c.SystemType = "thirteen char" },
		"service":      func(c *Config) { c.Service = "sixchr" },
		"mode":         func(c *Config) { c.Mode = "both" },
		"binds":        func(c *Config) { c.Binds = -1 },
		"binds ":       func(c *Config) { c.Binds = 65 },
		"window":       func(c *Config) { c.Window = -1 },
		"window ":      func(c *Config) { c.Window = 1001 },
		"rate":         func(c *Config) { c.Rate = -1 },
		"bind_timeout": func(c *Config) { c.BindTimeout = -1 },
		"inactivity":   func(c *Config) { c.Inactivity = 38 * time.Second },
		"inactivity ":  func(c *Config) { c.Enquire, c.Inactivity = -1, -1 },
		"response":     func(c *Config) { c.Response = -1 },
		"receipt_id":   func(c *Config) { c.ReceiptID = "hex" },
	} {
		c := good
		change(&c)
		_, err := New(c)
		if err == nil || !strings.HasPrefix(err.Error(), "carrier smsc: "+strings.TrimSpace(want)) {
			t.Errorf("got %v, want something about %s", err, want)
		} else if strings.Contains(err.Error(), password) {
			t.Errorf("%v quotes the password", err)
		}
	}
	// All that is wrong is told at once, each with its bound.
	c := Config{Name: "smsc", Password: password + "\x00", SystemType: "thirteen char", Binds: 65, Window: -1, Rate: -1, Response: -1, ReceiptID: "hex"}
	_, err := New(c)
	want := `carrier smsc: addr: must be host:port
carrier smsc: system_id: must have 1 to 15 characters of ASCII
carrier smsc: password: must have at most 64 characters of ASCII
carrier smsc: system_type: must have at most 12 characters of ASCII
carrier smsc: binds: must be from 1 to 64
carrier smsc: window: must be from 1 to 1000
carrier smsc: rate: must be from 1 to 100000 in a second, or 0 for no limit
carrier smsc: response: must be positive
carrier smsc: receipt_id: "hex" is neither empty nor "hex-then-decimal" nor "decimal-then-hex"`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want\n%s", err, want)
	}
	if got := fmt.Sprintf("%v %+v %#v", full, full, &full); strings.Contains(got, password) {
		t.Errorf("the password is printed: %s", got)
	}
}

func TestSendersAreOfThreeKinds(t *testing.T) {
	t.Parallel()
	c := &Carrier{Config: Config{}.withDefaults()}
	for _, tt := range []struct {
		from string
		want address
		ok   bool
	}{
		{"", address{0, 0, ""}, true},
		{"+12025550199", address{1, 1, "12025550199"}, true},
		{"12025550199", address{1, 1, "12025550199"}, true},
		{"+12345", address{1, 1, "12345"}, true},
		{"12345", address{3, 0, "12345"}, true},
		{"12345678", address{3, 0, "12345678"}, true},
		{"123456789", address{1, 1, "123456789"}, true},
		{"+123456789012345678901", address{}, false},
		{"Example", address{5, 0, "Example"}, true},
		{"Example Ltd", address{5, 0, "Example Ltd"}, true},
		{"4you", address{5, 0, "4you"}, true},
		{"Example Ltd.", address{}, false}, // 12
		{"Exämple", address{}, false},
		{"a@b", address{}, false}, // @ is 0x40 here and 0x00 there
		{"a_b", address{}, false},
		{"a\x00b", address{}, false},
		{"+", address{}, false},
		{"+1x", address{}, false},
	} {
		got, ok := c.sender(tt.from)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q: got %+v, %t; want %+v, %t", tt.from, got, ok, tt.want, tt.ok)
		}
	}
	c.International, c.Short, c.Alphanumeric = &Numbering{2, 8}, &Numbering{6, 9}, &Numbering{0, 0}
	for from, want := range map[string]address{"+12025550199": {2, 8, "12025550199"}, "12345": {6, 9, "12345"}, "Example": {0, 0, "Example"}} {
		if got, ok := c.sender(from); got != want || !ok {
			t.Errorf("%q: got %+v, want %+v", from, got, want)
		}
	}
}

func TestValidityIsTheCodesLife(t *testing.T) {
	t.Parallel()
	for life, want := range map[time.Duration]string{
		time.Nanosecond:                        "000000000001000R",
		1999 * time.Millisecond:                "000000000001000R",
		59 * time.Second:                       "000000000059000R",
		10 * time.Minute:                       "000000001000000R",
		7 * 24 * time.Hour:                     "000007000000000R",
		26*time.Hour + 3*time.Minute + 4*1e9:   "000001020304000R",
		1000 * 24 * time.Hour:                  "000099000000000R",
		99*24*time.Hour + 59*time.Minute + 1e9: "000099000000000R",
	} {
		if got := validity(life); got != want {
			t.Errorf("%v: got %s, want %s", life, got, want)
		}
	}
}

func TestAMessageBecomesSubmissions(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	base := verify.Message{Channel: verify.ChannelSMS, To: "+12025550100", From: "12345", Body: "Code: 493817", ExpiresAt: now.Add(5 * time.Minute), Attempt: 2}
	for name, tt := range map[string]struct {
		change func(*Config, *verify.Message)
		want   func(m message) bool // of each part
		parts  int
		reason verify.Reason // when refused
	}{
		"GSM": {nil, func(m message) bool {
			return m.coding == 0 && string(m.text) == "Code: 493817" && m.esm == 0 && m.registered == 1 && m.validity == "000000000500000R" && m.source == address{3, 0, "12345"}
		}, 1, verify.NoReason},
		"GSM, other codes": {func(_ *Config, m *verify.Message) { m.Body = "@{€" }, func(m message) bool { return string(m.text) == "\x00\x1b\x28\x1b\x65" }, 1, verify.NoReason},
		"UCS-2":            {func(_ *Config, m *verify.Message) { m.Body = "ж😀" }, func(m message) bool { return m.coding == 8 && string(m.text) == "\x04\x36\xd8\x3d\xde\x00" }, 1, verify.NoReason},
		"160 septets":      {func(_ *Config, m *verify.Message) { m.Body = verify.Secret(strings.Repeat("a", 160)) }, func(m message) bool { return m.esm == 0 && len(m.text) == 160 }, 1, verify.NoReason},
		"two parts":        {func(_ *Config, m *verify.Message) { m.Body = verify.Secret(strings.Repeat("a", 306)) }, func(m message) bool { return m.esm == 0x40 && len(m.text) == 159 }, 2, verify.NoReason},
		"two of UCS-2":     {func(_ *Config, m *verify.Message) { m.Body = verify.Secret(strings.Repeat("ж", 134)) }, func(m message) bool { return m.esm == 0x40 && len(m.text) == 140 }, 2, verify.NoReason},
		"255 parts":        {func(_ *Config, m *verify.Message) { m.Body = verify.Secret(strings.Repeat("a", 255*153)) }, func(m message) bool { return m.text[4] == 255 }, 255, verify.NoReason},
		"256 parts":        {func(_ *Config, m *verify.Message) { m.Body = verify.Secret(strings.Repeat("a", 256*153)) }, nil, 0, verify.ReasonInvalidMessage},
		"no validity":      {func(c *Config, _ *verify.Message) { c.NoValidity = true }, func(m message) bool { return m.validity == "" }, 1, verify.NoReason},
		"no receipts":      {func(c *Config, _ *verify.Message) { c.NoReceipts = true }, func(m message) bool { return m.registered == 0 }, 1, verify.NoReason},
		"a dead code":      {func(_ *Config, m *verify.Message) { m.ExpiresAt = now }, nil, 0, verify.ReasonExpired},
		"a call":           {func(_ *Config, m *verify.Message) { m.Channel = verify.ChannelVoice }, nil, 0, verify.ReasonMisconfigured},
		"a strange sender": {func(_ *Config, m *verify.Message) { m.From = "a name too long" }, nil, 0, verify.ReasonInvalidSender},
	} {
		config, m := Config{}, base
		if tt.change != nil {
			tt.change(&config, &m)
		}
		c := &Carrier{Config: config.withDefaults()}
		s, bodies, err := c.prepare(m, now)
		if tt.reason != verify.NoReason {
			if d := carrier.Decision(err); err == nil || d.Outcome != verify.AttemptRefused || d.Reason != tt.reason {
				t.Errorf("%s: got %v, want it refused for %s", name, err, tt.reason)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(bodies) != tt.parts || len(bodies) != sms.Segments(m.Body.Reveal()) || s.parts != tt.parts || s.to != "12025550100" || s.attempt != 2 {
			t.Errorf("%s: got %d parts, %+v; want %d", name, len(bodies), s, tt.parts)
		}
		for i, body := range bodies {
			if got, err := decodeMessage(body); err != nil || !tt.want(got) || got.dest != (address{1, 1, "12025550100"}) {
				t.Errorf("%s: part %d: got %+v, %v", name, i+1, got, err)
			}
		}
	}
}

// A real connection, with a certificate that is checked.
func TestTLS(t *testing.T) {
	t.Parallel()
	certificate, roots := selfSigned(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go acceptAll(conn)
		}
	}()
	base := Config{Name: "smsc", Addr: listener.Addr().String(), SystemID: "countersign", Password: password, BindTimeout: 5 * time.Second}
	for name, tt := range map[string]struct {
		change func(*Config)
		sent   bool
	}{
		"a certificate that we trust": {func(c *Config) { c.RootCAs = roots }, true},
		"one that we don't":           {func(*Config) {}, false},
		"no TLS":                      {func(c *Config) { c.Plaintext = true }, false},
	} {
		config := base
		tt.change(&config)
		c, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		r, err := c.Send(ctx, verify.Message{Channel: verify.ChannelSMS, To: "+12025550100", Body: "Code: 493817", ExpiresAt: time.Now().Add(time.Minute)})
		if tt.sent != (r.Ref == "1" && err == nil) {
			t.Errorf("%s: got %q, %v", name, r.Ref, err)
		}
		if !tt.sent && carrier.Decision(err).Reason.String() != "unreachable" {
			t.Errorf("%s: got %v", name, err)
		}
		c.Close(ctx)
		cancel()
	}
}

// acceptAll says yes to everything.
func acceptAll(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		p, err := readPDU(in)
		if err != nil {
			return
		}
		conn.Write(pdu{command: p.command | response, seq: p.seq, body: []byte("1\x00")}.append(nil))
	}
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
