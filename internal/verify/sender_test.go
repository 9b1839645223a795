package verify

import (
	"testing"
)

func TestASenderIsFoundByItsName(t *testing.T) {
	t.Parallel()
	s := senders{public: public, named: map[string]Sender{
		"channel:gqKlekr-S22CJul_aE4XFQ": {From: "+12025550111", Public: true},
		"sender_id:shop":                 {From: "SHOP"},
		"channel:shop":                   {From: "+12025550112"},
		"sender_id:12345":                {From: "+12025550113"},
	}}
	shared := Sender{From: public, Public: true}
	for _, tt := range []struct {
		name  string
		want  Sender
		known bool // also where senders are strict
	}{
		{"", shared, true},
		{"  ", shared, true},
		{"channel:gqKlekr-S22CJul_aE4XFQ", Sender{From: "+12025550111", Public: true}, true},
		{"channel: gqKlekr-S22CJul_aE4XFQ", Sender{From: "+12025550111", Public: true}, true},
		{" channel :gqKlekr-S22CJul_aE4XFQ ", Sender{From: "+12025550111", Public: true}, true},
		{"gqKlekr-S22CJul_aE4XFQ", Sender{From: "+12025550111", Public: true}, true},
		{"sender_id:shop", Sender{From: "SHOP"}, true},
		{"channel:shop", Sender{From: "+12025550112"}, true},
		{"shop", Sender{From: "SHOP"}, true}, // a sender goes before a channel
		{"12345", Sender{From: "+12025550113"}, true},
		{"54321", Sender{From: "54321"}, true},
		{"+1 (202) 555-0122", Sender{From: "+12025550122"}, true},
		{"Acme", Sender{From: "Acme"}, true},
		{"Acme1234567", Sender{From: "Acme1234567"}, true},
		{"Acme12345678", shared, false},
		{"Ac me", shared, false},
		{"channel:other", shared, false},
		{"sender_id:Acme", shared, false},
		{"sender_id:+12025550122", shared, false},
		{"Channel:shop", shared, false},
		{"social:shop", shared, false},
		{"sender_id:", shared, false},
	} {
		for _, strict := range []bool{false, true} {
			s.strict = strict
			if got, known := s.find(&Project{}, tt.name); got != tt.want || known != (tt.known || !strict) {
				t.Errorf("%q, strict %t: got %+v, %t; want %+v, %t", tt.name, strict, got, known, tt.want, tt.known || !strict)
			}
		}
	}
}

func TestAPublicSenderStaysPublicByItsNumber(t *testing.T) {
	t.Parallel()
	s := senders{public: public, named: map[string]Sender{
		"channel:shared": {From: "SHARED", Public: true},
		"sender_id:shop": {From: "Shop"},
	}}
	listed := []string{public}
	for _, tt := range []struct {
		name string
		own  []string // the project's senders
		want bool
	}{
		{public, nil, true},
		{" +1 (202) 555-0199", nil, true},
		{"0012025550199", nil, true},
		{"12025550199", nil, true}, // a name by its form
		{"2025550199", nil, true},  // as its country writes it
		{"02025550199", nil, true},
		{"5550199", nil, true},
		{"50199", nil, false}, // a short code
		{"2025550111", nil, false},
		{"shared", nil, true}, // no channel's name: that is found in its own case
		{"Shared", nil, true},
		{"Shop", nil, false},
		{"+12025550111", nil, false},
		{public, listed, false},
		{public, []string{"+12025550111"}, true},
		{"Shared", listed, true},
		{"", listed, true}, // nobody named it
	} {
		got, known := s.find(&Project{Senders: tt.own}, tt.name)
		if got.Public != tt.want || !known {
			t.Errorf("%q, project's senders %v: public %t, known %t; want %t and known", tt.name, tt.own, got.Public, known, tt.want)
		}
	}
}

// What another project sends from is nobody else's, whatever the configuration calls it.
func TestAnApplicationsSenderIsItsProjects(t *testing.T) {
	t.Parallel()
	all := senders{public: public, named: map[string]Sender{"sender_id:bank": {From: "BANKOFX"}, "channel:bank": {From: "+12025550111"}, "channel:shared": {From: "+12025550122", Public: true}}}
	bank := &Project{Senders: []string{"BANKOFX", "+12025550111"}}
	fresh, any := &Project{}, &Project{AnySender: true, Taken: bank.Senders}
	for _, tt := range []struct {
		from             string
		fresh, any, bank bool // may send from it
	}{
		{"", true, true, true}, {"channel:shared", true, true, true}, {public, true, true, true}, {"unknown:name", true, true, true}, // from the public sender
		{"BANKOFX", false, false, true}, {"BankOfX", false, false, true}, {"bank", false, false, true}, {"sender_id:bank", false, false, true},
		{"channel:bank", false, false, true}, {"+12025550111", false, false, true}, {"12025550111", false, false, true},
		{"2025550111", false, false, false}, {"02025550111", false, false, false}, {"50111", false, true, false},
		{"SHOP", false, true, false}, {"+12025550133", false, true, false},
	} {
		for project, may := range map[*Project]bool{fresh: tt.fresh, any: tt.any, bank: tt.bank} {
			var p problems
			if p.sender(project, tt.from, all); (len(p) == 0) != may {
				t.Errorf("%q, project's senders %v, any %t: got %v, want it allowed: %t", tt.from, project.Senders, project.AnySender, p, may)
			}
		}
	}
}

func TestASenderIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"+1 (202) 555-0111": "+12025550111", "ACME": "ACME", " Acme1 ": "Acme1", "72345": "72345", "Acme12345678": "", "A B": "", "": "", "+12": "", "Größe": "",
	} {
		if got, err := ParseSender(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
}
