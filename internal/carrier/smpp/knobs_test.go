package smpp

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/verify"
)

// Some SMSCs want more of a bind and of a message than others: each setting puts its bytes there.
func TestWhatAnSMSCAsksFor(t *testing.T) {
	story(t, func(c *Config) {
		c.Version, c.Range, c.AddressRange, c.Prefix = 0x33, Numbering{1, 1}, "^1202", "99"
		c.TLVs = []TLV{{0x1400, []byte("1101")}, {0x1401, []byte{7, 0}}}
	}, func(k *kit) {
		p := k.accept()
		hello := p.read(bindTransceiver)
		if want := "countersign\x00" + password + "\x00\x00\x33\x01\x01^1202\x00"; string(hello.body) != want {
			k.Errorf("got the bind %q, want %q", hello.body, want)
		}
		p.answer(hello, statusOK, "smsc\x00")
		done := k.sending(k.sms())
		asked, got := p.submitted()
		if got.dest.addr != "9912025550100" {
			k.Errorf("got a message to %s, want the prefix 99", got.dest.addr)
		}
		if want := "\x14\x00\x00\x041101\x14\x01\x00\x02\x07\x00"; !bytes.HasSuffix(asked.body, []byte(want)) {
			k.Errorf("got %q, want it to end with %q", asked.body, want)
		}
		p.answer(asked, statusOK, "id-1\x00")
		k.want(done, "id-1", verify.AttemptAccepted, verify.NoReason)
	})
}

func TestWhatAnSMSCCantBeGiven(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*Config){
		"prefix":        func(c *Config) { c.Prefix = "+1" },
		"address_range": func(c *Config) { c.AddressRange = strings.Repeat("1", 41) },
		"tlvs[0]":       func(c *Config) { c.TLVs = []TLV{{tagPayload, nil}} },
		"cert_file":     func(c *Config) { c.Plaintext, c.Certificate = true, &tls.Certificate{} },
	} {
		c := Config{Addr: "smsc.example:2775", SystemID: "us"}
		change(&c)
		if all := c.Check(); len(all) != 1 || all[0].Field != field {
			t.Errorf("%s: got %v", field, all)
		}
	}
}

func TestAnSMSCSeesOurCertificate(t *testing.T) {
	t.Parallel()
	lent := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1
	defer lent.Close()
	own := lent.TLS.Certificates[0]
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: lent.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := make(chan [][]byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			close(seen)
			return
		}
		defer conn.Close()
		var raw [][]byte
		if conn.(*tls.Conn).Handshake() == nil {
			for _, c := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
				raw = append(raw, c.Raw)
			}
		}
		seen <- raw
	}()
	roots := x509.NewCertPool()
	roots.AddCert(lent.Certificate())
	conn, err := Config{RootCAs: roots, Certificate: &own}.dialer()(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := <-seen; len(got) != 1 || !bytes.Equal(got[0], own.Certificate[0]) {
		t.Errorf("the SMSC saw %d certificates, want ours", len(got))
	}
}
