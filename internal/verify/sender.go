package verify

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/phone"
)

// A Sender is what messages come from.
type Sender struct {
	From string // a number, or 1 to 11 letters and digits
	// Public is one that projects share. It says the approved texts only, unless a project is allowed
	// more: see [Project].PublicText.
	Public bool
}

// senders are those that the configuration knows.
type senders struct {
	named  map[string]Sender // by "channel:x" and "sender_id:x"
	public string            // where nobody named one
	strict bool              // an unknown name is a problem, and not the public sender
}

// find returns the sender of a name, as an application of a project has it. A name that the
// configuration doesn't know is a number or a name to send from if it has that form, else the public
// sender: so that an application that was made for another vendor's names works here.
func (s senders) find(project *Project, name string) (_ Sender, known bool) {
	name = strings.TrimSpace(name)
	public := Sender{From: s.public, Public: true}
	if name == "" {
		return public, true
	}
	kind, id, qualified := strings.Cut(name, ":")
	if qualified {
		name = strings.TrimSpace(kind) + ":" + strings.TrimSpace(id)
		if sender, ok := s.named[name]; ok {
			return sender, true
		}
		return public, !s.strict
	}
	for _, kind := range []string{"sender_id:", "channel:"} {
		if sender, ok := s.named[kind+name]; ok {
			return sender, true
		}
	}
	if n, err := phone.Parse(name); err == nil {
		return s.literal(project, string(n)), true
	}
	if alphanumeric(name) {
		return s.literal(project, name), true
	}
	return public, !s.strict
}

// literal is the sender that a caller names by its number or name itself. A public one stays public,
// or writing its number would be the way around its texts; unless it is among the project's own.
func (s senders) literal(project *Project, from string) Sender {
	return Sender{From: from, Public: s.shares(from) && !slices.ContainsFunc(project.Senders, sameSender(from))}
}

// sameSender reports whether a number or a name is this one. A phone shows it alike without the plus, and a
// name in another case isn't another one.
func sameSender(this string) func(string) bool {
	return func(other string) bool {
		return strings.EqualFold(strings.TrimPrefix(this, "+"), strings.TrimPrefix(other, "+"))
	}
}

// looksLike reports whether a phone may show a number or a name as this one. A number is also written as its
// country writes it: +44 20 7946 0000 as 02079460000, which as a sender is a name. Short codes have fewer digits.
func looksLike(this string) func(string) bool {
	same := sameSender(this)
	return func(other string) bool {
		if same(other) {
			return true
		}
		short, long := significant(this), significant(other)
		if len(short) > len(long) {
			short, long = long, short
		}
		return len(short) >= minNational && strings.HasSuffix(long, short)
	}
}

// minNational is how many digits a number has at least without its country code: fewer are a short code.
const minNational = 7

// significant are the digits of a number, or of a name of digits, without the prefix that a country writes before
// them. It is empty for another name.
func significant(sender string) string {
	digits := strings.TrimPrefix(sender, "+")
	if strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	return strings.TrimLeft(digits, "0")
}

// ParseSender reads what a project may send from: a number, or 1 to 11 letters and digits.
func ParseSender(text string) (string, error) {
	n, err := phone.Parse(text)
	if err != nil && alphanumeric(strings.TrimSpace(text)) {
		return strings.TrimSpace(text), nil
	}
	return string(n), err
}

// shares reports whether a number or a name is, or looks like, that of a public sender.
func (s senders) shares(from string) bool {
	alike := looksLike(from)
	for _, sender := range s.named {
		if sender.Public && alike(sender.From) {
			return true
		}
	}
	return alike(s.public)
}

// alphanumeric reports whether a name can be what a message comes from (3GPP TS 23.040 §9.1.2.5).
func alphanumeric(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return len(name) >= 1 && len(name) <= 11 && strings.Trim(name, letters) == ""
}

// Senders are what a project may send from: the public one first, which is where nobody named another, then its own in
// their order. Those that [Project].AnySender adds are no list.
func (s *Service) Senders(acct *Account) []Sender {
	var all []Sender
	add := func(from string, public bool) {
		if from != "" && !slices.ContainsFunc(all, func(one Sender) bool { return sameSender(from)(one.From) }) {
			all = append(all, Sender{from, public})
		}
	}
	public := s.senders.literal(&acct.Project, s.senders.public)
	add(public.From, public.Public)
	for _, from := range acct.Project.Senders {
		add(from, false)
	}
	return all
}

// IsName reports whether a sender is a name, such as ACME, from which no call can come.
func (s Sender) IsName() bool {
	_, err := phone.Parse(s.From)
	return err != nil
}

// sender finds an application's sender, which its project must be allowed.
func (p *problems) sender(project *Project, from string, all senders) Sender {
	sender, known := all.find(project, from)
	switch {
	case !known:
		p.add(FieldFrom, "is not a sender or a channel of this server")
	case !sender.Public && !project.allows(sender.From):
		p.add(FieldFrom, "is not a sender of this project")
	}
	return sender
}
