package verify

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/wording"
)

const public = "+12025550199"

func account(p Profile) *Account {
	return &Account{Project: Project{ID: "project", Profile: p, AnySender: true, AnyLink: true, Countries: []string{AnyCountry}}, Application: Application{ID: NewID(t0)}}
}

// found are what settle finds wrong, sorted, for the order is nobody's promise.
func found(t *testing.T, err error) []Problem {
	t.Helper()
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrInvalid) || e.Kind != KindInvalid || len(e.Problems) == 0 {
		t.Fatalf("got %#v, want an ErrInvalid with problems", err)
	}
	all := slices.Clone(e.Problems)
	slices.SortFunc(all, func(a, b Problem) int {
		return strings.Compare(string(a.Field)+a.Message, string(b.Field)+b.Message)
	})
	return all
}

func TestBoundsOfEachProfileHoldOnBothSides(t *testing.T) {
	t.Parallel()
	const short = "is too short for a secure code"
	atLeast := func(n int) string { return fmt.Sprintf("must be greater than or equal to %d", n) }
	atMost := func(n int) string { return fmt.Sprintf("must be less than or equal to %d", n) }

	for _, tt := range []struct {
		profile Profile
		field   Field
		format  code.Format
		value   int
		want    string // "": accepted
	}{
		{ProfileCompat, FieldLength, code.Numeric, 3, atLeast(4)},
		{ProfileCompat, FieldLength, code.Numeric, 4, ""},
		{ProfileCompat, FieldLength, code.Numeric, 20, ""},
		{ProfileCompat, FieldLength, code.Numeric, 21, atMost(20)},
		{ProfileCompat, FieldLength, code.Numeric, 0, atLeast(4)},
		{ProfileCompat, FieldLength, code.Numeric, -1, atLeast(4)},
		{ProfileCompat, FieldLength, code.Alpha, 4, ""},
		{ProfileCompat, FieldLength, code.Alphanumeric, 4, ""},
		{ProfileCompat, FieldLength, code.Alphanumeric, 20, ""},
		{ProfileCompat, FieldLength, code.Alphanumeric, 21, atMost(20)},
		{ProfileCompat, FieldLength, code.Complex, 3, atLeast(4)},
		{ProfileCompat, FieldLength, code.Complex, 4, ""},

		// Six digits, or 20 bits: 24 letters have 4.6 each, 32 letters and digits exactly 5.
		{ProfileStandard, FieldLength, code.Numeric, 3, atLeast(4)},
		{ProfileStandard, FieldLength, code.Numeric, 4, short},
		{ProfileStandard, FieldLength, code.Numeric, 5, short},
		{ProfileStandard, FieldLength, code.Numeric, 6, ""},
		{ProfileStandard, FieldLength, code.Numeric, 20, ""},
		{ProfileStandard, FieldLength, code.Numeric, 21, atMost(20)},
		{ProfileStandard, FieldLength, code.Alpha, 3, atLeast(4)},
		{ProfileStandard, FieldLength, code.Alpha, 4, short},
		{ProfileStandard, FieldLength, code.Alpha, 5, ""},
		{ProfileStandard, FieldLength, code.Alphanumeric, 3, atLeast(4)},
		{ProfileStandard, FieldLength, code.Alphanumeric, 4, ""},
		{ProfileStandard, FieldLength, code.Complex, 3, atLeast(4)},
		{ProfileStandard, FieldLength, code.Complex, 4, ""},

		{ProfileCompat, FieldLife, "", -1, atLeast(0)},
		{ProfileCompat, FieldLife, "", 0, ""},
		{ProfileCompat, FieldLife, "", 1, ""},
		{ProfileCompat, FieldLife, "", 604800, ""},
		{ProfileCompat, FieldLife, "", 604801, atMost(604800)},
		{ProfileStandard, FieldLife, "", -1, atLeast(0)},
		{ProfileStandard, FieldLife, "", 0, ""},
		{ProfileStandard, FieldLife, "", 600, ""},
		{ProfileStandard, FieldLife, "", 601, atMost(600)},

		{ProfileCompat, FieldAttempts, "", -1, atLeast(1)},
		{ProfileCompat, FieldAttempts, "", 0, atLeast(1)},
		{ProfileCompat, FieldAttempts, "", 1, ""},
		{ProfileCompat, FieldAttempts, "", 20, ""},
		{ProfileCompat, FieldAttempts, "", 21, atMost(20)},
		{ProfileStandard, FieldAttempts, "", 0, atLeast(1)},
		{ProfileStandard, FieldAttempts, "", 1, ""},
		{ProfileStandard, FieldAttempts, "", 5, ""},
		{ProfileStandard, FieldAttempts, "", 6, atMost(5)},
	} {
		name := fmt.Sprintf("%s %s %s %d", tt.profile, tt.field, tt.format, tt.value)
		r := StartRequest{Channel: ChannelSMS, To: number1, Format: tt.format}
		switch tt.field {
		case FieldLength:
			r.Length = &tt.value
		case FieldLife:
			r.Life = &tt.value
		case FieldAttempts:
			r.Attempts = &tt.value
		}
		got, err := settle(account(tt.profile), r, senders{public: public}, nil)
		var want []Problem
		if tt.want != "" {
			want = []Problem{{Field: tt.field, Message: tt.want}}
		}
		if diff := cmp.Diff(want, found(t, err)); diff != "" {
			t.Errorf("%s: problems (-want +got)\n%s", name, diff)
		}
		if tt.want != "" {
			continue
		}
		kept := map[Field]int{FieldLength: got.Length, FieldLife: int(got.ExpiresAt.Sub(t0) / time.Second), FieldAttempts: got.MaxAttempts}
		if kept[tt.field] != tt.value {
			t.Errorf("%s: settled as %d", name, kept[tt.field])
		}
	}
}

// A number near the end of int must not wrap into the bounds when it becomes a duration.
func TestEnormousValuesAreRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []int{math.MaxInt, math.MinInt, math.MaxInt32, math.MinInt32} {
		_, err := settle(account(ProfileCompat), StartRequest{Channel: ChannelSMS, To: number1, Length: &n, Life: &n, Attempts: &n}, senders{public: public}, nil)
		if got := found(t, err); len(got) != 3 {
			t.Errorf("%d: got problems %v, want one with each", n, got)
		}
	}
}

func TestSettingsComeFromTheRequestThenTheApplicationThenTheProfile(t *testing.T) {
	t.Parallel()
	app := Application{Format: code.Alpha, Length: 8, Life: 2 * time.Minute, Attempts: 2, From: "+12025550111"}
	seven, sixty, four := 7, 60, 4
	request := StartRequest{Channel: ChannelSMS, To: number1, From: "+12025550122", Text: "Code:", Format: code.Complex, Length: &seven, Life: &sixty, Attempts: &four}

	for _, tt := range []struct {
		name    string
		profile Profile
		app     Application
		request StartRequest
		want    Terms
	}{
		{
			"compat's own", ProfileCompat, Application{}, StartRequest{Channel: ChannelSMS, To: number1},
			Terms{Channel: ChannelSMS, Sender: public, Text: wording.Approved.Written, Locale: "en", Format: code.Numeric, Length: 6, ExpiresAt: t0.Add(time.Hour), MaxAttempts: 3},
		}, {
			"standard's own", ProfileStandard, Application{}, StartRequest{Channel: ChannelVoice, To: number1},
			Terms{Channel: ChannelVoice, Sender: public, Text: wording.Approved.Spoken, Locale: "en", Format: code.Numeric, Length: 6, ExpiresAt: t0.Add(5 * time.Minute), MaxAttempts: 5, Approval: ApprovalAfterKey},
		}, {
			"the application's", ProfileCompat, app, StartRequest{Channel: ChannelSMS, To: number1},
			Terms{Channel: ChannelSMS, Sender: "+12025550111", Text: wording.Approved.Written, Locale: "en", Format: code.Alpha, Length: 8, ExpiresAt: t0.Add(2 * time.Minute), MaxAttempts: 2},
		}, {
			"the request's", ProfileStandard, app, request,
			Terms{Channel: ChannelSMS, Sender: "+12025550122", Text: "Code: {code}", Format: code.Complex, Length: 7, ExpiresAt: t0.Add(time.Minute), MaxAttempts: 4, Approval: ApprovalAfterKey},
		}, {
			"one of each", ProfileStandard, Application{Length: 8}, StartRequest{Channel: ChannelSMS, To: number1, Attempts: &four},
			Terms{Channel: ChannelSMS, Sender: public, Text: wording.Approved.Written, Locale: "en", Format: code.Numeric, Length: 8, ExpiresAt: t0.Add(5 * time.Minute), MaxAttempts: 4, Approval: ApprovalAfterKey},
		},
	} {
		acct := account(tt.profile)
		acct.Application = tt.app
		tt.want.To = number1
		got, err := settle(acct, tt.request, senders{public: public}, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: terms (-want +got)\n%s", tt.name, diff)
		}
	}
}

// A project that moves to a stricter profile keeps its applications' settings. They are refused
// like a request's: a life that is silently cut would be a promise broken in silence.
func TestApplicationSettingsOutsideOfTheProfileAreRefused(t *testing.T) {
	t.Parallel()
	acct := account(ProfileStandard)
	acct.Application = Application{Length: 21, Life: time.Hour, Attempts: 20}
	_, err := settle(acct, StartRequest{Channel: ChannelSMS, To: number1}, senders{public: public}, nil)
	want := []Problem{
		{Field: FieldAttempts, Message: "must be less than or equal to 5"},
		{Field: FieldLength, Message: "must be less than or equal to 20"},
		{Field: FieldLife, Message: "must be less than or equal to 600"},
	}
	if diff := cmp.Diff(want, found(t, err)); diff != "" {
		t.Errorf("problems (-want +got)\n%s", diff)
	}
	six, life, attempts := 6, 600, 5
	if _, err := settle(acct, StartRequest{Channel: ChannelSMS, To: number1, Length: &six, Life: &life, Attempts: &attempts}, senders{public: public}, nil); err != nil {
		t.Errorf("with the request's own settings: %v", err)
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	zero, minus := 0, -1
	acct := account(ProfileStandard)
	acct.Project.Senders, acct.Project.AnySender = []string{"+12025550111"}, false
	r := StartRequest{Channel: ChannelSMS, From: "+12025550122", Text: "\x07", Length: &zero, Life: &minus, Attempts: &zero}
	want := []Problem{
		{Field: FieldAttempts, Message: "must be greater than or equal to 1"},
		{Field: FieldFrom, Message: "is not a sender of this project"},
		{Field: FieldLength, Message: "must be greater than or equal to 4"},
		{Field: FieldLife, Message: "must be greater than or equal to 0"},
		{Field: FieldText, Message: "has a control character"},
		{Field: FieldTo, Message: "can't be blank"},
	}
	_, err := settle(acct, r, senders{public: public}, nil)
	if diff := cmp.Diff(want, found(t, err)); diff != "" {
		t.Errorf("problems (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want, found(t, (&Service{senders: senders{public: public}}).ValidateStart(t.Context(), acct, r))); diff != "" {
		t.Errorf("ValidateStart's problems (-want +got)\n%s", diff)
	}
	for _, p := range want {
		if s := string(p.Field) + " " + p.Message; !strings.Contains(err.Error(), s) {
			t.Errorf("the error's text is %q, want it to hold %q", err, s)
		}
	}
	// The sentinel is everybody's: what was wrong with one request must not stick to it.
	if ErrInvalid.Problems != nil {
		t.Errorf("ErrInvalid has problems %v", ErrInvalid.Problems)
	}
	if err := new(Service).ValidateStart(t.Context(), acct, StartRequest{Channel: ChannelSMS, To: number1}); err != nil {
		t.Errorf("ValidateStart of a good request: %v", err)
	}
}

func TestNumbersAreReadAsTheProfileSays(t *testing.T) {
	t.Parallel()
	const (
		blank  = "can't be blank"
		format = "is not an E.164 number: + and 7 to 15 digits"
		nation = "has an unknown country calling code"
		length = "has a length that its country's numbers don't have"
	)
	for _, tt := range []struct {
		to               string
		compat, standard string // "": accepted
	}{
		{number1, "", ""},
		{"+1 (202) 555-0100", "", ""},
		{"0012025550100", "", ""},
		{"+15557788999", "", ""}, // the vendor's example: no such area code, but a possible length
		{"+5554433222", "", ""},  // and eight digits, which Brazil has for a few services
		{"+14085551212", "", ""}, // other examples
		{"+15551234567", "", ""},
		{"+1202555010", length, length},
		{"+120255501000", length, length},
		{"+120255501001234", length, length},
		{"+1234567", length, length},
		{"+4477009001234", length, length},
		{"", blank, blank},
		{" \t", blank, blank},
		{"12025550100", format, format},
		{"+123456", format, format},
		{"+1234567890123456", format, format},
		{"+1202555CODE", format, format},
		{"+12025550100 ext. 5", format, format},
		{"+9991234567", nation, nation},
	} {
		for p, want := range map[Profile]string{ProfileCompat: tt.compat, ProfileStandard: tt.standard} {
			got, err := settle(account(p), StartRequest{Channel: ChannelSMS, To: tt.to}, senders{public: public}, nil)
			var problem []Problem
			if want != "" {
				problem = []Problem{{Field: FieldTo, Message: want}}
			}
			if diff := cmp.Diff(problem, found(t, err)); diff != "" {
				t.Errorf("%s, to %q: problems (-want +got)\n%s", p, tt.to, diff)
			}
			if _, err := phone.Parse(string(got.To)); want == "" && err != nil {
				t.Errorf("%s, to %q: settled as %q", p, tt.to, got.To)
			}
		}
	}
	// Nobody is called at the sender's number, so its length is the carrier's matter.
	got, err := settle(account(ProfileStandard), StartRequest{Channel: ChannelSMS, To: number1, From: "+1 202 555-010"}, senders{public: public}, nil)
	if got.Sender != "+1202555010" || err != nil {
		t.Errorf("sender of impossible length: got %q, %v; want it accepted in E.164", got.Sender, err)
	}
}

func TestNumbersOfOtherKindsMustBeAllowed(t *testing.T) {
	t.Parallel()
	for kind, to := range map[phone.Kind]string{
		phone.Premium: "+1 900 234 5678", phone.SharedCost: "+39 848 123456", phone.Satellite: "+881 612 345 678",
		phone.Pager: "+44 7640 123456", phone.UAN: "+44 300 123 4567", phone.Personal: "+1 500 234 5678",
	} {
		refused := []Problem{{Field: FieldTo, Message: "is a number of the kind " + string(kind) + ", which this project may not send to"}}
		for _, profile := range []Profile{ProfileCompat, ProfileStandard} {
			for _, c := range []Channel{ChannelSMS, ChannelVoice} {
				acct, r := account(profile), StartRequest{Channel: c, To: to}
				if diff := cmp.Diff(refused, found(t, new(Service).ValidateStart(t.Context(), acct, r))); diff != "" {
					t.Errorf("%s, %s to %s: problems (-want +got)\n%s", profile, c, to, diff)
				}
				acct.Project.Kinds = []phone.Kind{kind}
				if err := new(Service).ValidateStart(t.Context(), acct, r); err != nil {
					t.Errorf("%s, %s to %s, which is allowed: %v", profile, c, to, err)
				}
				acct.Project.Kinds = slices.DeleteFunc(slices.Clone(phone.Kinds), func(k phone.Kind) bool { return k == kind })
				if diff := cmp.Diff(refused, found(t, new(Service).ValidateStart(t.Context(), acct, r))); diff != "" {
					t.Errorf("%s, %s to %s, where others are allowed: problems (-want +got)\n%s", profile, c, to, diff)
				}
			}
		}
	}
}

// A project that is tried sends to its own numbers only, in whatever form they are written.
func TestATriedProjectSendsToItsNumbersOnly(t *testing.T) {
	t.Parallel()
	acct := account(ProfileCompat)
	acct.Project.OnlyNumbers = []phone.Number{phone.Number("+5491123456789").Key(), "+12025550100"}
	for _, to := range []string{"+1 202 555 0100", "+54 11 2345 6789", "+54 9 11 2345-6789"} {
		if err := new(Service).ValidateStart(t.Context(), acct, StartRequest{Channel: ChannelSMS, To: to}); err != nil {
			t.Errorf("to its number %s: %v", to, err)
		}
	}
	want := []Problem{{Field: FieldTo, Message: "isn't one of the numbers that this project may send to while it is tried"}}
	if diff := cmp.Diff(want, found(t, new(Service).ValidateStart(t.Context(), acct, StartRequest{Channel: ChannelVoice, To: "+12025550101"}))); diff != "" {
		t.Errorf("to another number: problems (-want +got)\n%s", diff)
	}
}

func TestCountriesMustBeAllowed(t *testing.T) {
	t.Parallel()
	const none = ""
	refused := func(where string) []Problem {
		return []Problem{{Field: FieldTo, Message: "is a number of " + where + ", to which this project may not send"}}
	}
	for _, tt := range []struct {
		profile   Profile
		countries string
		to        string
		want      string // where it may not be sent
	}{
		{ProfileCompat, "", number1, none},
		{ProfileCompat, "", "+44 7400 123456", none},
		{ProfileCompat, "any", "+44 7400 123456", none},
		{ProfileCompat, "US GB", "+44 7400 123456", none},
		{ProfileCompat, "US", "+44 7400 123456", "the country GB"},
		{ProfileCompat, "US", "+1 876 555 0123", "the country JM"}, // the calling code says little
		{ProfileStandard, "", number1, "the country US"},
		{ProfileStandard, "any", number1, none},
		{ProfileStandard, "US", number1, none},
		{ProfileStandard, "US", "+1 416 555 0123", "the country CA"},
		{ProfileStandard, "CA GB", "+1 416 555 0123", none},
		{ProfileStandard, "RU", "+7 701 123 4567", "the country KZ"},
		{ProfileStandard, "US", "+800 1234 5678", "no country"},
		{ProfileStandard, "US 001", "+800 1234 5678", none},
	} {
		acct := account(tt.profile)
		acct.Project.Countries = strings.Fields(tt.countries)
		var want []Problem
		if tt.want != none {
			want = refused(tt.want)
		}
		if diff := cmp.Diff(want, found(t, new(Service).ValidateStart(t.Context(), acct, StartRequest{Channel: ChannelSMS, To: tt.to}))); diff != "" {
			t.Errorf("%s, %q, to %s: problems (-want +got)\n%s", tt.profile, tt.countries, tt.to, diff)
		}
	}
}

func TestFromMustBeASenderOfTheProject(t *testing.T) {
	t.Parallel()
	list, brands, any := []string{"+12025550111", "+442079460018"}, []string{"ACME", "12025550133"}, []string{"any"}
	const other = "is not a sender of this project"
	for _, tt := range []struct {
		senders []string
		from    string
		want    string // the sender, or a problem with from
	}{
		{nil, "+12025550133", other}, // a new project's
		{nil, "", public},
		{nil, public, public},
		{any, "+12025550133", "+12025550133"},
		{any, "+12025550144", other}, // another project's
		{any, "", public},
		{any, " ", "can't be blank"},
		{any, "ACME", "is not an E.164 number: + and 7 to 15 digits"},
		{any, "+9991234567", "has an unknown country calling code"},
		{brands, "+12025550133", "+12025550133"}, // a phone shows both alike
		{list, "+12025550111", "+12025550111"},
		{list, "+1 (202) 555.0111", "+12025550111"},
		{list, "+44 (0)20 7946 0018", "+442079460018"},
		{list, "+12025550133", other},
		{list, public, public}, // as if nobody had named it
		{list, "", public},
		{list, "ACME", "is not an E.164 number: + and 7 to 15 digits"}, // once, not also for the list
	} {
		acct := account(ProfileCompat)
		acct.Project.Senders, acct.Project.AnySender, acct.Project.Taken = tt.senders, slices.Contains(tt.senders, "any"), []string{"SHOP", "12025550144"}
		got, err := settle(acct, StartRequest{Channel: ChannelSMS, To: number1, From: tt.from}, senders{public: public}, nil)
		if err != nil {
			if diff := cmp.Diff([]Problem{{Field: FieldFrom, Message: tt.want}}, found(t, err)); diff != "" {
				t.Errorf("senders %v, from %q: problems (-want +got)\n%s", tt.senders, tt.from, diff)
			}
		} else if got.Sender != tt.want {
			t.Errorf("senders %v, from %q: got sender %q, want %q", tt.senders, tt.from, got.Sender, tt.want)
		}
	}
}

func TestThePublicSenderSaysTheApprovedTextOnly(t *testing.T) {
	t.Parallel()
	const approved, spoken = "Your Personal Authorization Code is:", "Your Personal Authorization Code is"
	refused := []Problem{{Field: FieldFrom, Message: "can't be blank when a message is given"}}
	named := []Problem{{Field: FieldFrom, Message: "is the public sender, which says the default text only"}}
	for _, tt := range []struct {
		name       string
		channel    Channel
		text, from string
		app        string // the application's sender
		publicText bool
		want       []Problem
	}{
		{name: "no text", channel: ChannelSMS},
		{name: "no text, own sender", channel: ChannelSMS, from: "+12025550111"},
		{name: "own text", channel: ChannelSMS, text: "Code:", want: refused},
		{name: "own text, spoken", channel: ChannelVoice, text: "Code", want: refused},
		{name: "own text, project allows it", channel: ChannelSMS, text: "Code:", publicText: true},
		{name: "own text, own sender", channel: ChannelSMS, text: "Code:", from: "+12025550111"},
		{name: "own text, application's sender", channel: ChannelSMS, text: "Code:", app: "+12025550111"},
		{name: "no text, the public sender by its number", channel: ChannelSMS, from: public},
		{name: "own text, the public sender by its number", channel: ChannelSMS, text: "Code:", from: public, want: named},
		{name: "own text, the same spelled otherwise", channel: ChannelSMS, text: "Code:", from: "001 202 555-0199", want: named},
		{name: "own text, the public sender by its number, project allows it", channel: ChannelSMS, text: "Code:", from: public, publicText: true},
		{name: "white space is a text", channel: ChannelSMS, text: " ", want: refused},

		// Whoever spells the approved text out says nothing of their own.
		{name: "approved", channel: ChannelSMS, text: approved},
		{name: "approved and a space", channel: ChannelSMS, text: approved + " "},
		{name: "approved and {code}", channel: ChannelSMS, text: approved + " {code}"},
		{name: "approved and {{code}}", channel: ChannelSMS, text: approved + " {{code}}"},
		{name: "approved, spoken", channel: ChannelVoice, text: spoken},
		{name: "approved and a line break", channel: ChannelSMS, text: approved + "\n", want: refused},
		{name: "approved and more", channel: ChannelSMS, text: approved + " {code} or so", want: refused},
		{name: "the other channel's", channel: ChannelSMS, text: spoken, want: refused},
		{name: "the other channel's, spoken", channel: ChannelVoice, text: approved, want: refused},
	} {
		acct := account(ProfileCompat)
		acct.Project.PublicText, acct.Application.From = tt.publicText, tt.app
		_, err := settle(acct, StartRequest{Channel: tt.channel, To: number1, From: tt.from, Text: tt.text}, senders{public: public}, nil)
		if diff := cmp.Diff(tt.want, found(t, err)); diff != "" {
			t.Errorf("%s: problems (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestTheCodeGoesWhereTheTextSaysOrToItsEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"Your code:", "Your code: 123456"},
		{"Your code: ", "Your code: 123456"},
		{"Your code:  ", "Your code:  123456"},
		{"Your code:\n", "Your code:\n123456"},
		{"Your code:\t", "Your code:\t123456"},
		{"Your code:\u00A0", "Your code:\u00A0123456"},
		{"Your code:\u3000", "Your code:\u3000123456"},
		{"", " 123456"}, // never asked for: an empty text means the approved one
		{" ", " 123456"},
		{"{code} is it", "123456 is it"},
		{"{{code}} is it", "123456 is it"},
		{"It is {code}", "It is 123456"},
		{"It is {code} ", "It is 123456 "},
		{"{code}, again {{code}}, and {code}", "123456, again 123456, and 123456"},
		{"{code}{code}", "123456123456"},
		{"{{{code}}}", "{123456}"},
		{"{ code } {Code} code", "{ code } {Code} code 123456"}, // not the wording.Placeholder
	} {
		v := started()
		v.Text = wording.Frame(tt.text)
		if got := v.Message(v.Channel, "123456").Body.Reveal(); got != tt.want {
			t.Errorf("text %q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestTextsThatDoNotFitTheirChannelAreRefused(t *testing.T) {
	t.Parallel()
	const (
		gsm     = "is too long (maximum is 160 characters with the code, one segment of GSM-7)"
		ucs2    = "is too long (maximum is 70 characters with the code, one segment of UCS-2)"
		voice   = "is too long (maximum is 500 characters with the code)"
		control = "has a control character"
		utf8    = "is not valid UTF-8"
	)
	a, zhe := func(n int) string { return strings.Repeat("a", n) }, func(n int) string { return strings.Repeat("ж", n) }
	for _, tt := range []struct {
		name    string
		channel Channel
		text    string
		length  int
		want    string
	}{
		// The text, a space, six digits.
		{"160 septets", ChannelSMS, a(153), 6, ""},
		{"161 septets", ChannelSMS, a(154), 6, gsm},
		{"160 septets, own white space", ChannelSMS, a(153) + " ", 6, ""},
		{"161 septets, own white space", ChannelSMS, a(154) + " ", 6, gsm},
		{"160 septets, a longer code", ChannelSMS, a(139), 20, ""},
		{"161 septets, a longer code", ChannelSMS, a(140), 20, gsm},
		{"160 septets, the code in the middle", ChannelSMS, a(77) + "{code}" + a(77), 6, ""},
		{"161 septets, the code in the middle", ChannelSMS, a(77) + "{code}" + a(78), 6, gsm},
		{"160 septets, the code twice", ChannelSMS, "{code}" + a(148) + "{{code}}", 6, ""},
		{"161 septets, the code twice", ChannelSMS, "{code}" + a(149) + "{{code}}", 6, gsm},
		{"160 septets, accents of the alphabet", ChannelSMS, strings.Repeat("é", 153), 6, ""},
		{"160 septets, an extension character", ChannelSMS, "€" + a(151), 6, ""},
		{"161 septets, an extension character", ChannelSMS, "€" + a(152), 6, gsm},
		{"160 septets, brackets only", ChannelSMS, strings.Repeat("[", 76) + "a", 6, ""},
		{"161 septets, brackets only", ChannelSMS, strings.Repeat("[", 77), 6, gsm},
		{"70 units", ChannelSMS, zhe(63), 6, ""},
		{"71 units", ChannelSMS, zhe(64), 6, ucs2},
		{"70 units, an emoji", ChannelSMS, "😀" + zhe(61), 6, ""},
		{"71 units, an emoji", ChannelSMS, "😀" + zhe(62), 6, ucs2},
		{"70 units, one character outside of the alphabet", ChannelSMS, "ê" + a(62), 6, ""},
		{"71 units, one character outside of the alphabet", ChannelSMS, "ê" + a(63), 6, ucs2},

		{"500 characters", ChannelVoice, a(493), 6, ""},
		{"501 characters", ChannelVoice, a(494), 6, voice},
		{"500 characters, more bytes", ChannelVoice, zhe(493), 6, ""},
		{"501 characters, more bytes", ChannelVoice, zhe(494), 6, voice},
		{"500 characters, more units", ChannelVoice, strings.Repeat("😀", 493), 6, ""},
		{"501 characters, more units", ChannelVoice, strings.Repeat("😀", 494), 6, voice},
		{"500 characters, a longer code", ChannelVoice, a(479), 20, ""},
		{"501 characters, a longer code", ChannelVoice, a(480), 20, voice},

		{"line breaks and tabs", ChannelSMS, "a\r\n\tb", 6, ""},
		{"line breaks and tabs, spoken", ChannelVoice, "a\r\n\tb", 6, ""},
		{"NUL", ChannelSMS, "a\x00", 6, control},
		{"escape", ChannelSMS, "\x1b[31m", 6, control},
		{"delete", ChannelSMS, "a\x7f", 6, control},
		{"form feed, which GSM-7 has", ChannelSMS, "a\fb", 6, control},
		{"unit separator", ChannelSMS, "a\x1f", 6, control},
		{"NUL, spoken", ChannelVoice, "a\x00", 6, control},
		{"stray byte", ChannelSMS, "a\xffb", 6, utf8},
		{"cut character", ChannelSMS, "a\xc3", 6, utf8},
		{"surrogate", ChannelVoice, "a\xed\xa0\x80b", 6, utf8},
		{"replacement character, which is valid", ChannelSMS, "a\uFFFDb", 6, ""},
	} {
		acct := account(ProfileCompat)
		r := StartRequest{Channel: tt.channel, To: number1, From: "+12025550111", Text: tt.text, Length: &tt.length}
		_, err := settle(acct, r, senders{public: public}, nil)
		var want []Problem
		if tt.want != "" {
			want = []Problem{{Field: FieldText, Message: tt.want}}
		}
		if diff := cmp.Diff(want, found(t, err)); diff != "" {
			t.Errorf("%s: problems (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestTheApprovedTextFitsEveryCode(t *testing.T) {
	t.Parallel()
	for _, c := range []Channel{ChannelSMS, ChannelVoice} {
		text := wording.Approved.In(c.medium())
		if n := strings.Count(text, wording.Placeholder); n != 1 {
			t.Errorf("%s: the code stands in it %d times, want once", c, n)
		}
		if got := wording.Frame(text); got != text {
			t.Errorf("%s: framed again it is %q", c, got)
		}
		if got := unfit(&Project{AnyLink: true}, &Terms{Format: code.Complex, Length: code.MaxLength}, c, text, maxSpoken, 1); got != "" {
			t.Errorf("%s: it %s", c, got)
		}
	}
}

// Settings that no face can send may still stand in a damaged row. They must fail, not panic.
func TestAnUnknownFormatOrProfileStartsNothing(t *testing.T) {
	t.Parallel()
	for _, p := range []Profile{ProfileCompat, ProfileStandard, "", "lenient"} {
		acct := account(p)
		acct.Application.Format = "hex"
		acct.Project.PublicText = true
		got, err := settle(acct, StartRequest{Channel: ChannelSMS, To: number1, Text: "Code:"}, senders{public: public}, nil)
		if err != nil {
			continue
		}
		if _, err := code.Generate(strings.NewReader(strings.Repeat("a", 1000)), got.Format, got.Length); err == nil {
			t.Errorf("profile %q: a code of format %q and length %d was made", p, got.Format, got.Length)
		}
	}
	if Profile("").Valid() || Profile("lenient").Valid() || !ProfileCompat.Valid() || !ProfileStandard.Valid() {
		t.Error("a profile is valid that doesn't exist, or the other way round")
	}
}

// A message goes on with a text for the channel by which it goes on, or doesn't.
func TestEachChannelHasItsText(t *testing.T) {
	t.Parallel()
	both := map[Channel][]Channel{ChannelSMS: {ChannelVoice}, ChannelVoice: {ChannelSMS}}
	long := strings.Repeat("No more than five hundred characters. ", 5)
	for _, tt := range []struct {
		name    string
		style   wording.Style
		request StartRequest
		want    []Fallback
	}{
		{"the default text", wording.Style{WebOTP: "example.com"}, StartRequest{Channel: ChannelSMS}, []Fallback{{ChannelVoice, wording.Approved.Spoken}}},
		{"the default text of calls", wording.Style{WebOTP: "example.com"}, StartRequest{Channel: ChannelVoice}, []Fallback{{ChannelSMS, wording.Approved.Written + "\n@example.com #{code}"}}},
		{"the approved text, written out", wording.Style{}, StartRequest{Channel: ChannelSMS, Text: wording.Approved.Written}, []Fallback{{ChannelVoice, wording.Approved.Spoken}}},
		{"the caller's", wording.Style{WebOTP: "example.com"}, StartRequest{Channel: ChannelSMS, From: "+12025550122", Text: "Hello"}, []Fallback{{ChannelVoice, "Hello {code}"}}},
		{"the caller's for a call", wording.Style{}, StartRequest{Channel: ChannelVoice, From: "+12025550122", Text: "Hello"}, []Fallback{{ChannelSMS, "Hello {code}"}}},
		{"a call's that is too long for a message", wording.Style{}, StartRequest{Channel: ChannelVoice, From: "+12025550122", Text: long}, nil},
	} {
		acct := account(ProfileCompat)
		acct.Project.Style = tt.style
		tt.request.To = number1
		got, err := settle(acct, tt.request, senders{public: public}, both[tt.request.Channel])
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got.Fallbacks); diff != "" {
			t.Errorf("%s: fallbacks (-want +got)\n%s", tt.name, diff)
		}
	}
}
