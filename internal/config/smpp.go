package config

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/smpp"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// maxResponse leaves some of a call's time limit, which is the dispatcher's 10 s, to the wait for a
// place in a window.
const maxResponse = 9 * time.Second

// given reports whether a carrier is an SMSC.
func (c *smppConfig) given() bool {
	return c.Addr+c.SystemID+c.SystemType+c.Service != "" || c.Password != passwordConfig{}
}

// smppCalls is as many calls as there are places in an SMSC's windows: one more would wait for a place on
// its own time.
func smppCalls(cc *carrierConfig) int { return cc.SMPP.Binds * cc.SMPP.Window }

// An smppWay is an account at an SMSC.
type smppWay smpp.Config

// channel implements [way].
func (w *smppWay) channel() verify.Channel { return verify.ChannelSMS }

// open implements [way].
func (w *smppWay) open(log *outage.Log, made *Carriers) (carrier.Carrier, error) {
	if w.Plaintext {
		log.Warn("carrier is allowed to send its password and codes without TLS", "carrier", w.Name)
	}
	w.Log, w.Outages = log.Logger, log
	c, err := smpp.New(smpp.Config(*w))
	if err != nil {
		return nil, err
	}
	made.smscs = append(made.smscs, c)
	return c, nil
}

// checkSMPP notes what is wrong with an SMSC's account; the rest, the carrier itself knows.
func (c *Loaded) checkSMPP(p *yamlconf.Problems, carrier string, cc *carrierConfig) way {
	s, key := &cc.SMPP, carrier+".smpp"
	p.Check(key+".binds", s.Binds >= 1 && s.Binds <= 64, "must be 1 to 64")
	p.Check(key+".window", s.Window >= 1 && s.Window <= 1000, "must be 1 to 1000")
	p.Check(key+".window", s.Binds*s.Window <= maxCalls, "must be at most %d, times binds", maxCalls)
	checkDuration(p, key+".bind_timeout", s.BindTimeout, 100*time.Millisecond, time.Minute)
	checkDuration(p, key+".response", s.Response, 100*time.Millisecond, maxResponse)
	if s.Enquire != 0 {
		checkDuration(p, key+".enquire", s.Enquire, time.Second, time.Hour)
	}
	checkDuration(p, key+".inactivity", s.Inactivity, time.Second, 24*time.Hour)
	p.Check(carrier+".receipt_timeout", s.Receipts || cc.ReceiptTimeout == 0, "must be 0s where smpp.receipts is off: none would come")

	way := s.config(p, key)
	way.Name = cc.Name
	var err error
	if way.Password, err = c.password(s.Password); err != nil {
		p.Check(key+".password", false, "%v", err)
	}
	way.RootCAs = c.authorities(p, key+".ca_file", s.CAFile)
	p.Check(key+".ca_file", s.CAFile == "" || !s.Plaintext, "is of no use with plaintext")
	if s.CertFile != "" || s.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.path(s.CertFile), c.path(s.KeyFile))
		p.Check(key+".cert_file", err == nil, "must be a certificate that fits key_file, both in PEM")
		way.Certificate = &pair
	}
	for _, f := range way.Check() {
		in := []string{key + "." + f.Field} // what was refused above would be told twice
		if f.Field == "inactivity" {        // which depends on them
			in = append(in, key+".response", key+".enquire")
		}
		if strings.HasPrefix(f.Field, "tlvs[") {
			in = append(in, in[0]+".tag", in[0]+".hex")
		}
		p.Check(in[0], !p.Fine(in...), "%s", f.Message)
	}
	return (*smppWay)(way)
}

// config is the account without what is read from files.
func (s *smppConfig) config(p *yamlconf.Problems, key string) *smpp.Config {
	way := &smpp.Config{
		Addr: s.Addr, Others: s.Others, Plaintext: s.Plaintext, SystemID: s.SystemID, SystemType: s.SystemType, Service: s.Service,
		AddressRange: s.AddressRange, Prefix: s.Prefix,
		Binds: s.Binds, Window: s.Window, Rate: s.Rate,
		BindTimeout: time.Duration(s.BindTimeout), Response: time.Duration(s.Response), Enquire: time.Duration(s.Enquire), Inactivity: time.Duration(s.Inactivity),
		NoValidity: !s.Validity, NoReceipts: !s.Receipts,
	}
	if s.Enquire == 0 {
		way.Enquire = -1
	}
	switch s.Mode {
	case "transceiver":
	case "pair":
		way.Mode = smpp.Pair
	default:
		p.Check(key+".mode", false, "must be transceiver or pair")
	}
	switch a := smpp.Alphabet(s.Alphabet); a {
	case "gsm":
	case smpp.Latin1, smpp.ASCII, smpp.UCS2:
		way.Alphabet = a
	default:
		p.Check(key+".alphabet", false, "must be gsm, latin1, ascii or ucs2")
	}
	p.Check(key+".data_coding", s.DataCoding >= -1 && s.DataCoding <= 255, "must be 0 to 255, or -1 for the alphabet's own")
	if s.DataCoding >= 0 && s.DataCoding <= 255 {
		coding := byte(s.DataCoding)
		way.DataCoding = &coding
	}
	switch id := smpp.IDForm(s.ReceiptID); id {
	case "same":
	case smpp.HexThenDecimal, smpp.DecimalThenHex:
		way.ReceiptID = id
	default:
		p.Check(key+".receipt_id", false, "must be same, %s or %s", smpp.HexThenDecimal, smpp.DecimalThenHex)
	}
	for _, kind := range []struct {
		key, text string
		into      **smpp.Numbering
	}{
		{"international", s.International, &way.International},
		{"short", s.Short, &way.Short},
		{"alphanumeric", s.Alphanumeric, &way.Alphanumeric},
	} {
		n, err := parseNumbering(kind.text)
		p.Check(key+"."+kind.key, err == nil, "must be a type of number and a numbering plan, each 0 to 255, such as 1 1")
		*kind.into = &n
	}
	version, err := strconv.ParseUint(s.InterfaceVersion, 0, 8)
	p.Check(key+".interface_version", err == nil && version != 0, `must be a number from 1 to 255, such as "0x34"`)
	way.Version = byte(version)
	way.Range, err = parseNumbering(s.RangeNumbering)
	p.Check(key+".range_numbering", err == nil, "must be a type of number and a numbering plan, each 0 to 255, such as 1 1")
	for i, t := range s.TLVs {
		at := fmt.Sprintf("%s.tlvs[%d]", key, i)
		tag, err := strconv.ParseUint(t.Tag, 0, 16)
		p.Check(at+".tag", err == nil, `must be a number of 16 bits, such as "0x1400"`)
		value, err := hex.DecodeString(t.Hex)
		p.Check(at+".hex", err == nil && (t.Hex == "" || t.Value == ""), "must be hexadecimal, and no value beside it")
		way.TLVs = append(way.TLVs, smpp.TLV{Tag: uint16(tag), Value: append([]byte(t.Value), value...)})
	}
	switch s.ErrCodes {
	case "own":
	case "gsm":
		way.GSMCodes = true
	default:
		p.Check(key+".err_codes", false, "must be own or gsm")
	}
	way.Reasons = smpp.Meanings{}
	for i, r := range s.Reasons {
		at := fmt.Sprintf("%s.reasons[%d]", key, i)
		reason, known := carrier.Reasons[r.Reason]
		p.Check(at+".reason", known, "must be one of %s", strings.Join(carrier.ReasonWords, ", "))
		p.Check(at+".codes", len(r.Codes) > 0, "must name one at least")
		for j, code := range r.Codes {
			p.Check(fmt.Sprintf("%s.codes[%d]", at, j), way.Reasons.Add(code, reason), "must be 1 to 16 letters and digits, not all zeros, and named once only")
		}
	}
	for i, text := range s.Refuse {
		n, err := strconv.ParseUint(text, 0, 32)
		p.Check(fmt.Sprintf("%s.refuse[%d]", key, i), err == nil && n != 0, `must be a status, such as "0x410"`)
		way.Refuse = append(way.Refuse, smpp.Status(n))
	}
	return way
}

// parseNumbering reads a type of number and a numbering plan.
func parseNumbering(text string) (smpp.Numbering, error) {
	ton, npi, _ := strings.Cut(text, " ")
	t, err1 := strconv.ParseUint(ton, 10, 8)
	n, err2 := strconv.ParseUint(npi, 10, 8)
	return smpp.Numbering{TON: byte(t), NPI: byte(n)}, errors.Join(err1, err2)
}
