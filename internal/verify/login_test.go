package verify

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/wording"
)

// application makes one, changed by edits, for the tests' own account.
func (e *engine) application(t *testing.T, edits ...func(*Application)) Application {
	t.Helper()
	a := Application{Name: "Shop"}
	for _, edit := range edits {
		edit(&a)
	}
	a, err := e.CreateApplication(t.Context(), e.acct, a)
	if err != nil {
		t.Fatalf("create application: %v", err)
	}
	return a
}

// latest is the latest message that was handed over.
func (e *engine) latest() Message { return e.outbox.messages[len(e.outbox.messages)-1] }

// associate associates number1 with a user and returns the code that was sent.
func (e *engine) associate(t *testing.T, a Application, user string) string {
	t.Helper()
	if err := e.Associate(t.Context(), e.acct, a.ID, user, AssociateRequest{Address: number1}); err != nil {
		t.Fatalf("associate: %v", err)
	}
	return e.sealed(t)
}

// sealed is the code of the latest verification, as a crash would leave it.
func (e *engine) sealed(t *testing.T) string {
	t.Helper()
	v := e.outbox.verifications[len(e.outbox.verifications)-1]
	secret, err := e.keys.Open(v.KeyID, v.Binding(), v.SealedCode)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (e *engine) validate(t *testing.T, a Application, typed string, number bool) string {
	t.Helper()
	out, err := e.Validate(t.Context(), e.acct, a.ID, "kola", Secret(typed), number)
	switch {
	case err != nil:
		return codeOf(t, err)
	case out.Approved:
		return "right"
	}
	return fmt.Sprint("wrong, ", out.GuessesLeft, " left")
}

func TestAUserIsValidatedAndLogsIn(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	a := e.application(t)
	login := func() string {
		return codeOf(t, e.LoginStart(t.Context(), e.acct, a.ID, "kola", LoginRequest{}))
	}
	if got := login(); got != "no_user" {
		t.Errorf("login of nobody: got %q", got)
	}
	if got := e.validate(t, a, "000000", false); got != "no_user" {
		t.Errorf("validate nobody: got %q", got)
	}
	secret := e.associate(t, a, "kola")
	if got, want := e.latest().Body.Reveal(), secret+" is your Shop verification code."; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if m := e.latest(); m.To != number1 || m.From != public || m.Channel != ChannelSMS {
		t.Errorf("message %+v", m)
	}
	if v := e.outbox.verifications[0]; v.MaxAttempts != 5 || v.Length != 6 || v.ExpiresAt.Sub(v.ID.Time()) != 10*time.Minute || v.Format != code.Numeric {
		t.Errorf("got %+v, want five guesses at six digits for ten minutes", v)
	}
	if got := login(); got != "not_validated" {
		t.Errorf("login before validation: got %q", got)
	}
	for _, step := range []struct{ typed, want string }{
		{"", "wrong, 4 left"}, {"x", "wrong, 3 left"}, {secret, "right"}, {secret, "no_code"},
	} {
		if got := e.validate(t, a, step.typed, false); got != step.want {
			t.Errorf("validate: got %q, want %q", got, step.want)
		}
	}
	if got := login(); got != "" {
		t.Fatalf("login: got %q", got)
	}
	second := e.sealed(t)
	if got, want := e.latest().Body.Reveal(), second+" is your Shop login code."; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	for i := range 5 {
		if got, want := e.validate(t, a, "x", false), fmt.Sprint("wrong, ", 4-i, " left"); got != want {
			t.Errorf("wrong code %d: got %q, want %q", i+1, got, want)
		}
	}
	if got := e.validate(t, a, second, false); got != "guesses_spent" {
		t.Errorf("the sixth: got %q", got)
	}
	if got := login(); got != "" {
		t.Fatalf("login after it: got %q", got)
	}
	e.clock = e.clock.Add(10 * time.Minute)
	if got := e.validate(t, a, e.sealed(t), false); got != "expired" {
		t.Errorf("after its life: got %q", got)
	}
	for _, bad := range []string{"", "a/b"} {
		_, err := e.Validate(t.Context(), e.acct, a.ID, bad, "1", false)
		for _, err := range []error{
			err, e.Associate(t.Context(), e.acct, a.ID, bad, AssociateRequest{Address: number1}), e.LoginStart(t.Context(), e.acct, a.ID, bad, LoginRequest{}),
			e.Dissociate(t.Context(), e.acct, a.ID, bad), e.DeleteUser(t.Context(), e.acct, a.ID, bad),
		} {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("user %q: got %v", bad, err)
			}
		}
	}
}

func TestACodeIsTypedWithOrWithoutItsPrefix(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		format         code.Format
		prefix, secret string
		right, wrong   []string
	}{
		{"none", code.Numeric, "", "012345", []string{"012345", " 012 345 ", "0-1-2-3-4-5"}, []string{"G-012345", "12345", "0123456"}},
		{"letter and dash", code.Numeric, "G-", "012345", []string{"012345", "G-012345", "g-012345", "G012345", "g 012 345", " G–012345", "Ｇ－０１２３４５", "\u2066g-٠١٢٣٤٥\u2069"}, []string{"G-", "G-12345", "GG012345", "H-012345", "-G"}},
		{"digits", code.Numeric, "01", "012345", []string{"012345", "01012345", "01 012345"}, []string{"2345", "0101012345", "01"}},
		{"letters before letters", code.Alphanumeric, "AB", "ABCDEF", []string{"ABCDEF", "abcdef", "ABABCDEF", "ab-abcdef"}, []string{"CDEF", "ABAB"}},
		{"case counts", code.Complex, "Ab", "Ab3$xY", []string{"Ab3$xY", "AbAb3$xY"}, []string{"AB3$xY", "ABAb3$xY", "abAb3$xY", "3$xY"}},
		{"words", code.Numeric, "Your code ", "555555", []string{"YOUR CODE 555555", "Yourcode555555"}, []string{"code 555555"}},
	} {
		v := &Verification{Terms: Terms{Format: tt.format, Prefix: tt.prefix, Length: len(tt.secret)}}
		for _, typed := range tt.right {
			if got, ok := v.read(typed); got != tt.secret || !ok {
				t.Errorf("%s: %q: got %q, %t", tt.name, typed, got, ok)
			}
		}
		for _, typed := range tt.wrong {
			if got, ok := v.read(typed); got == tt.secret && ok {
				t.Errorf("%s: %q: it was read as the code", tt.name, typed)
			}
		}
	}
}

func TestANumberHasItsZerosInFront(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		format code.Format
		secret string
		typed  string
		want   string // for what was typed as a number
	}{
		{code.Numeric, "001234", "1234", "right"},
		{code.Numeric, "000000", "0", "right"},
		{code.Numeric, "123456", "123456", "right"},
		{code.Numeric, "012345", "12345", "right"},
		{code.Numeric, "012345", "1234", "wrong, 4 left"},
		{code.Numeric, "001234", "1234.0", "wrong, 4 left"},
		{code.Numeric, "010000", "1e4", "wrong, 4 left"},
		{code.Numeric, "001234", "-1234", "wrong, 4 left"},
		{code.Alphanumeric, "234567", "234567", "right"},
	} {
		e := newEngine(t)
		a := e.application(t, func(a *Application) { a.Format, a.Length = tt.format, 6 })
		e.associate(t, a, "kola")
		// Another code, as if it had been drawn.
		u := e.store.users[UserKey{e.acct.Project.ID, a.ID, "kola"}]
		v := e.store.verifications[u.Current]
		mac, err := e.keys.MAC(v.KeyID, v.Binding(), tt.secret)
		if err != nil {
			t.Fatal(err)
		}
		v.CodeMAC = mac
		e.store.verifications[v.ID] = v
		if tt.typed != tt.secret {
			if got := e.validate(t, a, tt.typed, false); got == "right" {
				t.Errorf("%s for %s as a text: got %q", tt.typed, tt.secret, got)
			}
			v.Guesses = 0
			e.store.verifications[v.ID] = v
		}
		if got := e.validate(t, a, tt.typed, true); got != tt.want {
			t.Errorf("%s for %s: got %q, want %q", tt.typed, tt.secret, got, tt.want)
		}
	}
}

// A later change of the application changes nothing that is under way.
func TestWhatAnApplicationSaysIsFrozenAtTheStart(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	a := e.application(t, func(a *Application) { a.Prefix, a.DisplayName = "G-", "Before" })
	secret := e.associate(t, a, "kola")
	before := *e.outbox.verifications[0]
	next := a
	next.Prefix, next.DisplayName, next.Format, next.Length, next.Life = "H-", "After", code.Complex, 20, 30*time.Second
	if err := e.UpdateApplication(t.Context(), e.acct, next, 1); err != nil {
		t.Fatal(err)
	}
	if got := before.Message(before.Channel, Secret(secret)).Body.Reveal(); got != "G-"+secret+" is your Before verification code." {
		t.Errorf("sent again, the message is %q", got)
	}
	e.clock = e.clock.Add(time.Minute)
	if got := e.validate(t, a, "G-"+secret, false); got != "right" {
		t.Errorf("got %q", got)
	}
}

func TestARequestChoosesNameAndChannel(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	a := e.application(t, func(a *Application) {
		a.Channels, a.From, a.DisplayName, a.Prefix = []Channel{ChannelSMS, ChannelVoice}, "+12025550111", "Acme & Co", "G"
	})
	associate := func(r AssociateRequest) (Message, error) {
		err := e.Associate(t.Context(), e.acct, a.ID, "kola", r)
		if err != nil {
			return Message{}, err
		}
		return e.latest(), nil
	}
	m, err := associate(AssociateRequest{Address: "voice:" + number1})
	if err != nil {
		t.Fatal(err)
	}
	spelled := "G, " + strings.Join(strings.Split(e.sealed(t), ""), ", ")
	want := "Your Acme & Co verification code is: " + spelled + ". Again, it is: " + spelled + "."
	if m.Channel != ChannelVoice || m.Body.Reveal() != want || m.From != "+12025550111" || m.To != number1 {
		t.Errorf("got %+v %q, want %q", m, m.Body.Reveal(), want)
	}
	if u := e.store.users[UserKey{"project", a.ID, "kola"}]; u.Address != "voice:"+number1 {
		t.Errorf("address %q isn't kept as it was given", u.Address)
	}
	if got := e.validate(t, a, e.sealed(t), false); got != "right" {
		t.Fatal(got)
	}
	// A login goes as the address says, unless the request says otherwise.
	if err := e.LoginStart(t.Context(), e.acct, a.ID, "kola", LoginRequest{}); err != nil || e.latest().Channel != ChannelVoice {
		t.Errorf("login: got %v by %v", err, e.latest().Channel)
	}
	if err := e.LoginStart(t.Context(), e.acct, a.ID, "kola", LoginRequest{Channel: ChannelSMS, DisplayName: "Acme\r\nwww.evil.example Ltd"}); err != nil {
		t.Fatal(err)
	}
	if got, want := e.latest().Body.Reveal(), "G"+e.sealed(t)+" is your Acme Ltd login code."; got != want || e.latest().Channel != ChannelSMS {
		t.Errorf("got %q by %v, want %q", got, e.latest().Channel, want)
	}
	for field, r := range map[Field]AssociateRequest{
		FieldAddress:     {Address: "408"},
		FieldChannel:     {Address: number1, Channel: ChannelPush},
		FieldDisplayName: {Address: number1, DisplayName: strings.Repeat("x", 256)},
	} {
		_, err := associate(r)
		if all := found(t, err); len(all) != 1 || all[0].Field != field || all[0].TooLong != (field == FieldDisplayName) {
			t.Errorf("%s: got %+v", field, all)
		}
	}
	// A name that was fine for storing may still not fit.
	_, err = associate(AssociateRequest{Address: number1, DisplayName: strings.Repeat("日", 255)})
	if all := found(t, err); len(all) != 1 || all[0].Field != FieldDisplayName || all[0].TooLong {
		t.Errorf("too many segments: got %+v", all)
	}
	if got := strings.Count(e.outbox.counts(), "reserved"); got != 1 {
		t.Error(got)
	}
	if e.outbox.reserved != e.outbox.sent+e.outbox.released {
		t.Errorf("places: %s", e.outbox.counts())
	}
}

// A caller that hangs up stops nothing, as with other verifications.
func TestAUsersCallerThatHangsUpStopsNothing(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	var told tally
	e.observer = &told
	a := e.application(t)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	if err := e.Associate(gone, e.acct, a.ID, "kola", AssociateRequest{Address: number1}); err != nil {
		t.Fatalf("associate: %v", err)
	}
	if out, err := e.Validate(gone, e.acct, a.ID, "kola", Secret(e.sealed(t)), false); err != nil || !out.Approved {
		t.Errorf("validate: got %+v, %v", out, err)
	}
	if err := e.LoginStart(gone, e.acct, a.ID, "kola", LoginRequest{}); err != nil {
		t.Errorf("login: %v", err)
	}
	// With many users it takes a while, and none of their numbers is to stay behind.
	if err := e.DeleteApplication(gone, e.acct, a.ID, 0); err != nil {
		t.Errorf("delete: %v", err)
	}
	want := tally{"start sms: <nil>", "check sms true: <nil>", "start sms: <nil>"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("observer (-want +got)\n%s", diff)
	}
}

var codeInText = regexp.MustCompile(`[0-9]{6}`)

// Whatever a caller puts into texts and names, the code stands where the template has it.
func FuzzRender(f *testing.F) {
	for _, pattern := range []string{"$code", "{code} $code", "${token}{code}\x01", "$display_name: ${validation_code}", "\\$code $auth_token", "$validity_minutes $code €", "\x02$code"} {
		f.Add(pattern, "{code}")
		f.Add(pattern, "$code ${code} https://evil.example/x")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		e := newEngine(t)
		e.acct.Project.PublicText = true
		app := Application{Name: "Shop", AssociateTemplate: "x " + pattern, Channels: []Channel{ChannelSMS}, Length: 6, Life: time.Minute, Format: code.Numeric}
		text, p, err := e.rendered(app, association, ChannelSMS, Sender{}, name)
		if err != nil || len(p) > 0 {
			return
		}
		named := 0
		for _, n := range []string{"validation_code", "token", "auth_token", "auth_code", "code"} {
			named += strings.Count(strings.ReplaceAll(pattern, `\$`, ""), "$"+n) + strings.Count(strings.ReplaceAll(pattern, `\$`, ""), "${"+n+"}")
		}
		got := wording.Fill(text, "\x03", code.Numeric) // no text holds that
		if n := strings.Count(got, "\x03"); n == 0 || n > named {
			t.Errorf("%q with %q: the code stands %d times in %q", pattern, name, n, got)
		}
		if !codeInText.MatchString(wording.Fill(text, "123456", code.Numeric)) {
			t.Errorf("%q with %q: no code in %q", pattern, name, text)
		}
		if strings.ContainsAny(wording.Fill(text, "", code.Numeric), "\x01\x02") {
			t.Errorf("%q with %q: a mark is left in %q", pattern, name, text)
		}
	})
}

// The language of a call is the application's, else the server's, else that of the number's country if
// the text is ours. It is frozen: a call that is made again speaks as the first one did.
func TestWhereTheLanguageOfACallComesFrom(t *testing.T) {
	t.Parallel()
	const own = "Hello, your code is $code"
	for _, tt := range []struct {
		application, server, template, to, want string
	}{
		{"", "", "", "+4930901820", "de"},
		{"", "", "", "+66812345678", ""},
		{"", "", own, "+4930901820", ""},
		{"", "fr", "", "+4930901820", "fr"},
		{"", "fr", own, "+4930901820", "fr"},
		{"it-CH", "fr", "", "+4930901820", "it-CH"},
		{"it-CH", "fr", own, "+4930901820", "it-CH"},
	} {
		e := newEngine(t)
		e.locale, e.acct.Project.PublicText = tt.server, true
		a := e.application(t, func(a *Application) { a.Channels, a.AssociateTemplate = []Channel{ChannelVoice}, tt.template })
		a.Calls.Locale = tt.application
		e.store.applications[a.ID] = a
		if err := e.Associate(t.Context(), e.acct, a.ID, "kola", AssociateRequest{Address: tt.to}); err != nil {
			t.Fatal(err)
		}
		a.Calls.Locale = "zh"
		e.store.applications[a.ID] = a
		v := e.outbox.verifications[0]
		if got := e.latest().Locale; got != tt.want || v.Message(v.Channel, "1").Locale != tt.want {
			t.Errorf("%+v: got %q, and again %q", tt, got, v.Message(v.Channel, "1").Locale)
		}

		// The same without an application.
		text := strings.ReplaceAll(tt.template, "$code", "{code}")
		e.acct.Application.Calls.Locale = tt.application
		e.start(t, StartRequest{Channel: ChannelVoice, To: tt.to, Text: text})
		if got := e.latest().Locale; got != tt.want {
			t.Errorf("%+v: a request's: got %q", tt, got)
		}
	}
}
