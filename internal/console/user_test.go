package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// withUser makes an application, and a user of it who has the number of the verification, and a device.
func (l *lobby) withUser(name string) {
	l.t.Helper()
	now := l.Clock.Now()
	l.app = verify.NewID(now)
	if err := l.Store.CreateApplication(l.t.Context(), verify.Application{ID: l.app, Project: "test", Name: "shop", CreatedAt: now, UpdatedAt: now, Version: 1}, true, 1000); err != nil {
		l.t.Fatal(err)
	}
	l.associate(name, callee)
	l.device(name, l.app, "Ada's laptop")
}

func (l *lobby) ada() verify.UserKey {
	return verify.UserKey{Project: "test", Application: l.app, Name: "ada"}
}

// associate makes a user with a validated number, unless they are there.
func (l *lobby) associate(name, number string) {
	l.t.Helper()
	u := verify.User{
		Application: l.app, Name: name, Address: number, NumberKey: phone.Number(number).Key(), Status: verify.UserValidated,
		CreatedAt: l.Clock.Now(), UpdatedAt: l.Clock.Now(), VerifiedAt: l.Clock.Now(), Version: 1,
	}
	if _, err := l.Store.ImportUsersBy(l.t.Context(), "test", l.app, []verify.User{u}, []error{nil}, "me"); err != nil {
		l.t.Fatalf("import %q: %v", name, err)
	}
}

// device gives a user a device.
func (l *lobby) device(user string, id verify.ID, name string) {
	l.t.Helper()
	d := verify.Device{ID: id, Application: l.app, User: user, Kind: verify.DeviceWebPush, Name: name, Locale: "de", Fingerprint: id[:], Sealed: []byte("a sealed endpoint"), UsedAt: l.Clock.Now()}
	if err := l.Store.AddDevice(l.t.Context(), verify.UserKey{Project: "test", Application: l.app, Name: user}, d, 100, verify.ID{}); err != nil {
		l.t.Fatal(err)
	}
}

// of is a form that names a user.
func (l *lobby) of(user string, more ...string) url.Values {
	form := url.Values{"application": {l.app.Base62()}, "user": {user}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

// Users are found by their number and by their name, with their devices, which an operator removes.
func TestDevicesAreShownAndRemoved(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.withUser("ada")
	second := verify.NewID(l.Clock.Now().Add(time.Second))
	l.device("ada", second, "Phone")
	bob := &Person{Name: "bob", Role: operator.RoleViewer}
	ann := &Person{Name: "ann", Role: operator.RoleOperator}
	for _, q := range []string{callee, "+1 (202) 555-0100", "ada", " ada "} {
		text := l.ask(bob, "POST", "/find", url.Values{"q": {q}}).Body.String()
		if rows := strings.Join(rowsOf(text), "\n"); !strings.Contains(rows, "| ada | Test | "+l.app.Base62()+" | &#43;*******0100 | validated | 2026-05-04 12:00:00 |") {
			t.Errorf("%q: got\n%s", q, rows)
		}
	}
	page := l.ask(bob, "POST", "/user", l.of("ada")).Body.String()
	rows := strings.Join(rowsOf(page), "\n")
	for _, want := range []string{"| Ada&#39;s laptop | webpush | de | 2026-05-04 12:00:00 | 2026-05-04 12:00:00", "| Phone | webpush | de | 2026-05-04 12:00:01 |"} {
		if !strings.Contains(rows, want) {
			t.Errorf("no %q in\n%s", want, rows)
		}
	}
	for _, secret := range []string{"endpoint", "sealed", "Remove", "Export", "Delete"} { // the last three aren't a viewer's
		if strings.Contains(page, secret) {
			t.Errorf("a viewer's page has %q", secret)
		}
	}
	before := len(audits(t, l))
	if w := l.ask(bob, "POST", "/user/device", l.of("ada", "device", l.app.String())); w.Code != http.StatusForbidden || len(audits(t, l)) != before {
		t.Errorf("a viewer removes a device: got %d", w.Code)
	}
	l.Clock.Advance(time.Millisecond) // the audit log is in the order of time
	w := l.ask(ann, "POST", "/user/device", l.of("ada", "device", l.app.String()))
	if text := w.Body.String(); w.Code != http.StatusOK || strings.Contains(text, "laptop") || !strings.Contains(text, "Phone") || !strings.Contains(text, "The device is removed") {
		t.Errorf("remove: got %d\n%s", w.Code, text)
	}
	if got := audits(t, l)[0]; !strings.HasPrefix(got, "operator ann device remove "+l.app.String()) {
		t.Errorf("audited %q", got)
	}
	before = len(audits(t, l))
	if w := l.ask(ann, "POST", "/user/device", l.of("ada", "device", l.app.String())); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "no such device any more") || len(audits(t, l)) != before {
		t.Errorf("a second time: got %d", w.Code)
	}
	for _, form := range []url.Values{l.of("eve"), l.of(""), l.of("\x00"), l.of("\xff"), {"application": {"x"}, "user": {"ada"}}, {"user": {"ada"}}} {
		for _, path := range []string{"/user", "/user/device", "/user/export", "/user/erase", "/user/erased"} {
			if w := l.ask(&Person{Name: "root", Role: operator.RoleAdmin}, "POST", path, form); w.Code != http.StatusNotFound {
				t.Errorf("%s of %v: got %d, want 404", path, form, w.Code)
			}
		}
	}
	if w := l.ask(ann, "POST", "/user/device", l.of("ada", "device", "laptop")); w.Code != http.StatusNotFound {
		t.Errorf("no id of a device: got %d, want 404", w.Code)
	}
}

// An admin deletes a user after having read what goes, once, and the audit log says so.
func TestAUserIsDeletedByAnAdmin(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.withUser("ada")
	l.associate("bob", callee)
	ann := &Person{Name: "ann", Role: operator.RoleAdmin}
	before := len(audits(t, l))
	for _, r := range []Role{operator.RoleViewer, operator.RoleSupport, operator.RoleOperator} {
		for _, path := range []string{"/user/erase", "/user/erased"} {
			if w := l.ask(&Person{Name: "bob", Role: r}, "POST", path, l.of("ada")); w.Code != http.StatusForbidden {
				t.Errorf("%s as %s: got %d, want 403", path, r, w.Code)
			}
		}
	}
	ask := l.ask(ann, "POST", "/user/erase", l.of("ada")).Body.String()
	for _, want := range []string{"Delete the user ada?", "with their number and 1 device.", "Ada&#39;s laptop, webpush", "until their retention ends"} {
		if !strings.Contains(ask, want) {
			t.Errorf("no %q in\n%s", want, ask)
		}
	}
	if n := len(audits(t, l)); n != before {
		t.Errorf("%d entries of the audit log before anything was done", n-before)
	}
	l.Clock.Advance(time.Millisecond)
	w := l.ask(ann, "POST", "/user/erased", l.of("ada"))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "The user ada is deleted, with 1 device.") {
		t.Errorf("delete: got %d\n%s", w.Code, w.Body)
	}
	if got, want := audits(t, l)[0], "operator ann user remove a user of application "+l.app.Base62(); got != want {
		t.Errorf("audited %q, want %q", got, want)
	}
	before = len(audits(t, l))
	if w := l.ask(ann, "POST", "/user/erased", l.of("ada")); w.Code != http.StatusNotFound || len(audits(t, l)) != before {
		t.Errorf("again: got %d and %d entries more", w.Code, len(audits(t, l))-before)
	}
	if page := l.ask(ann, "POST", "/find", url.Values{"q": {callee}}).Body.String(); strings.Contains(page, `value="ada"`) || !strings.Contains(page, `value="bob"`) {
		t.Errorf("afterwards:\n%s", page)
	}
}

// Users of projects that a person doesn't see are as absent as those who aren't there.
func TestAnotherProjectsUserIsAsAbsent(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.withUser("ada")
	l.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat}, account.NewSecret())
	bob := &Person{Name: "bob", Role: operator.RoleAdmin, Projects: []verify.ProjectID{"other"}}
	before := len(audits(t, l))
	for _, path := range []string{"/user", "/user/device", "/user/export", "/user/erase", "/user/erased"} {
		one, two := l.ask(bob, "POST", path, l.of("ada", "device", l.app.String())), l.ask(bob, "POST", path, l.of("nobody", "device", l.app.String()))
		if one.Code != http.StatusNotFound || one.Code != two.Code || one.Body.String() != two.Body.String() {
			t.Errorf("%s: got %d, and %d for an absent one", path, one.Code, two.Code)
		}
	}
	for _, q := range []string{callee, "ada"} {
		if page := l.ask(bob, "POST", "/find", url.Values{"q": {q}}).Body.String(); strings.Contains(page, l.app.Base62()) {
			t.Errorf("%q finds another project's user", q)
		}
	}
	if devices, err := l.Store.Devices(t.Context(), l.ada()); err != nil || len(devices) != 1 || len(audits(t, l)) != before {
		t.Errorf("afterwards: %d devices, %v, %d entries more", len(devices), err, len(audits(t, l))-before)
	}
}

// An export is all that is kept of a number or of a user, as the command prints it, and no code and no secret of a device.
func TestANumberIsExported(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.withUser("ada")
	code := l.Code(callee, l.id)
	l.Check(l.id, "000000")
	ann := &Person{Name: "ann", Role: operator.RoleOperator}
	find := l.ask(ann, "POST", "/find", url.Values{"q": {callee}}).Body.String()
	if !strings.Contains(find, `action="/verification/`+l.id+`/export"`) {
		t.Errorf("Find offers no export:\n%s", find)
	}
	for name, tt := range map[string]struct {
		path, file string
		form       url.Values
		want       []string
		audited    string
	}{
		"a number": {"/verification/" + l.id + "/export", "number.jsonl", nil, []string{"number", "user", "verification"}, "operator ann data export +*******0100"},
		"a user":   {"/user/export", "user.jsonl", l.of("ada"), []string{"user"}, "operator ann data export a user of application " + l.app.Base62()},
	} {
		l.Clock.Advance(time.Millisecond)
		w := l.ask(ann, "POST", tt.path, tt.form)
		text := w.Body.String()
		var types []string
		for line := range strings.Lines(text) {
			var object map[string]any
			if err := json.Unmarshal([]byte(line), &object); err != nil {
				t.Fatalf("%s: %v in %s", name, err, line)
			}
			types = append(types, fmt.Sprint(object["type"]))
			switch object["type"] {
			case "number":
				if object["wrong_guesses"] != 1.0 || object["number"] != callee {
					t.Errorf("%s: got %s", name, line)
				}
			case "user":
				if object["user"] != "ada" || !strings.Contains(line, "Ada's laptop") {
					t.Errorf("%s: got %s", name, line)
				}
			case "verification":
				if object["id"] != l.id || object["guesses"] != 1.0 || !strings.Contains(line, `"outcome":"accepted"`) {
					t.Errorf("%s: got %s", name, line)
				}
			}
		}
		if got := strings.Join(types, " "); got != strings.Join(tt.want, " ") {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
		if strings.Contains(text, code) || strings.Contains(text, "endpoint") || strings.Contains(text, "sealed") {
			t.Errorf("%s: has a code or a secret:\n%s", name, text)
		}
		if got, want := w.Header().Get("Content-Disposition"), `attachment; filename="`+tt.file+`"`; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if got := audits(t, l)[0]; got != tt.audited {
			t.Errorf("%s: audited %q, want %q", name, got, tt.audited)
		}
	}
	var command strings.Builder // what the command prints
	if err := admin.New(l.Store).ExportNumber(t.Context(), "me", &command, "test", callee); err != nil || command.String() != l.ask(ann, "POST", "/verification/"+l.id+"/export", nil).Body.String() {
		t.Errorf("the command prints %q, %v", command.String(), err)
	}
	if w := l.ask(&Person{Name: "bob", Role: operator.RoleOperator}, "POST", "/find", url.Values{"q": {"+12025550199"}}); strings.Contains(w.Body.String(), "/export") {
		t.Error("an unknown number has an export")
	}
	if err := admin.New(l.Store).ExportNumber(t.Context(), "me", &command, "test", "+12025550199"); err != verify.ErrNoNumber {
		t.Errorf("an unknown number: got %v", err)
	}
}

// An admin erases a number after having read what goes, once, and the audit log says so.
func TestANumberIsErasedByAnAdmin(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.withUser("ada")
	l.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat}, account.NewSecret())
	ann := &Person{Name: "ann", Role: operator.RoleAdmin}
	erase, erased := "/verification/"+l.id+"/erase", "/verification/"+l.id+"/erased"
	before := len(audits(t, l))
	for _, r := range []Role{operator.RoleViewer, operator.RoleSupport, operator.RoleOperator} {
		p := &Person{Name: "bob", Role: r}
		for _, path := range []string{erase, erased} {
			if w := l.ask(p, "POST", path, nil); w.Code != http.StatusForbidden {
				t.Errorf("%s as %s: got %d, want 403", path, r, w.Code)
			}
		}
		if page := l.ask(p, "POST", "/find", url.Values{"q": {callee}}).Body.String(); strings.Contains(page, erase) {
			t.Errorf("Find offers it to a %s", r)
		}
	}
	if w := l.ask(&Person{Name: "bob", Role: operator.RoleAdmin, Projects: []verify.ProjectID{"other"}}, "POST", erased, nil); w.Code != http.StatusNotFound {
		t.Errorf("as an admin of another project: got %d, want 404", w.Code)
	}
	if page := l.ask(ann, "POST", "/find", url.Values{"q": {callee}}).Body.String(); !strings.Contains(page, `action="`+erase+`"`) {
		t.Errorf("Find doesn't offer it:\n%s", page)
	}
	ask := l.ask(ann, "POST", erase, nil).Body.String()
	if !strings.Contains(ask, "Erase +*******0100 in Test?") && !strings.Contains(ask, "Erase &#43;*******0100 in Test?") || !strings.Contains(ask, `action="`+erased+`"`) {
		t.Errorf("it doesn't ask:\n%s", ask)
	}
	if n := len(audits(t, l)); n != before {
		t.Errorf("%d entries of the audit log before anything was done", n-before)
	}
	l.Clock.Advance(time.Millisecond)
	w := l.ask(ann, "POST", erased, nil)
	if text := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(text, "0100 is erased, with 1 verification, and taken from 1 user. Its wrong guesses and its messages of the last day still count.") {
		t.Errorf("erase: got %d\n%s", w.Code, text)
	}
	if got, want := audits(t, l)[0], "operator ann destination erase +*******0100, verifications: 1, users: 1"; got != want {
		t.Errorf("audited %q, want %q", got, want)
	}
	before = len(audits(t, l))
	for _, path := range []string{erase, erased, "/verification/" + l.id + "/export", "/verification/" + l.id + "/reveal"} {
		if w := l.ask(ann, "POST", path, nil); w.Code != http.StatusNotFound || len(audits(t, l)) != before {
			t.Errorf("%s again: got %d and %d entries more", path, w.Code, len(audits(t, l))-before)
		}
	}
	if page := l.ask(ann, "POST", "/find", url.Values{"q": {callee}}).Body.String(); strings.Contains(page, l.id) || strings.Contains(page, `value="ada"`) {
		t.Errorf("afterwards:\n%s", page)
	}
}

// While a carrier is being given a message to the number, nothing is erased, and the page says so.
func TestANumberUnderWayIsntErased(t *testing.T) {
	t.Parallel()
	l := lobbyOf(t, countersigntest.Options{})
	now := l.Clock.Now()
	v := &verify.Verification{
		ID: verify.NewID(now), Project: "test", Application: verify.ID{1}, Purpose: verify.PurposeMFA,
		Terms: verify.Terms{Channel: verify.ChannelSMS, To: callee, Sender: "+12025550100", Text: "Your code is {code}", Length: 6, MaxAttempts: 3, ExpiresAt: now.Add(time.Hour)},
		Code:  verify.Code{KeyID: 1, CodeMAC: []byte("mac"), SealedCode: []byte("sealed")},
	}
	if err := l.Store.Start(t.Context(), v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	before := len(audits(t, l))
	w := l.ask(&Person{Name: "ann", Role: operator.RoleAdmin}, "POST", "/verification/"+v.ID.String()+"/erased", nil)
	if text := w.Body.String(); w.Code != http.StatusConflict || !strings.Contains(text, "A carrier is being given a message to this number. Nothing was changed.") {
		t.Errorf("got %d\n%s", w.Code, text)
	}
	if got := l.Verification(v.ID.String()); got.To != callee || len(audits(t, l)) != before {
		t.Errorf("afterwards: %+v, %d entries more", got, len(audits(t, l))-before)
	}
}
