package v1_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
)

// A number has several verifications at a time, for two purposes. A check by number answers for the latest of its
// purpose, whatever became of that one and of the others.
func TestWhichVerificationACheckByNumberMeans(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		type story struct {
			what    string
			number  string
			started []string // purposes, the oldest first
			then    string   // what happens to the one at
			at      int
			check   string // purpose
			code    int    // of the one that was started so
			means   int    // the one that answers; -1: none
			valid   bool
			status  string
			reason  string
		}
		for _, s := range []story{
			{"the latest of one purpose", "+12025550110", []string{"login", "login"}, "", 0, "login", 1, 1, true, "approved", ""},
			{"the code that it superseded", "+12025550111", []string{"login", "login"}, "", 0, "login", 0, 1, false, "pending", "wrong_code"},
			{"a newer one of another purpose", "+12025550112", []string{"login", "reset"}, "", 0, "login", 0, 0, true, "approved", ""},
			{"the other purpose's code", "+12025550113", []string{"login", "reset"}, "", 0, "login", 1, 0, false, "pending", "wrong_code"},
			{"superseded beside another purpose", "+12025550114", []string{"login", "reset", "login"}, "", 0, "reset", 1, 1, true, "approved", ""},
			{"the latest was canceled, and the one before stays superseded", "+12025550115", []string{"login", "login"}, "cancel", 1, "login", 0, 1, false, "canceled", "canceled"},
			{"the latest was approved", "+12025550116", []string{"reset", "login"}, "approve", 1, "login", 1, 1, false, "approved", "already_approved"},
			{"the latest is exhausted", "+12025550117", []string{"login", "login"}, "exhaust", 1, "login", 1, 1, false, "exhausted", "exhausted"},
			{"the latest expired", "+12025550118", []string{"login", "reset"}, "expire", 1, "reset", 1, 1, false, "expired", "expired"},
			{"another purpose was canceled", "+12025550119", []string{"login", "reset"}, "cancel", 1, "login", 0, 0, true, "approved", ""},
			{"no verification of the purpose", "+12025550120", []string{"login", "reset"}, "", 0, "signup", 0, -1, false, "", ""},
		} {
			var all []api.Verification
			var codes []string
			for _, purpose := range s.started {
				v := k.start(s.number, `,"purpose":"`+purpose+`","max_attempts":2,"valid_for":60,"code_length":12`)
				all, codes = append(all, v), append(codes, k.Code(s.number, v.ID))
			}
			switch id := all[s.at].ID; s.then {
			case "cancel":
				k.call("", "POST", "/v1/verifications/"+id+"/cancel", "", 200)
			case "approve":
				k.check(id, codes[s.at])
			case "exhaust":
				k.check(id, countersigntest.Wrong(codes[s.at]))
				k.check(id, countersigntest.Wrong(codes[s.at]))
			case "expire":
				k.Advance(time.Minute)
			}
			body := `{"to":"` + s.number + `","purpose":"` + s.check + `","code":"` + codes[s.code] + `"}`
			if s.means < 0 {
				k.call("", "POST", "/v1/checks", body, 404)
				continue
			}
			want := api.CheckResult{ID: all[s.means].ID, Valid: s.valid, Status: s.status, Reason: s.reason}
			got := read[api.CheckResult](t, k.call("", "POST", "/v1/checks", body, 200))
			if s.valid || s.status == "pending" {
				want.AttemptsRemaining = 1
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", s.what, diff)
			}
			if seen := k.read(all[s.means].ID); seen.Status != s.status {
				t.Errorf("%s: reads as %s, want %s", s.what, seen.Status, s.status)
			}
		}
	})
}

// Each state answers each question in a way of its own, also by number.
func TestEachStateAnswersEachQuestion(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	for i, test := range []struct {
		state  string
		bring  func(v api.Verification, code string)
		right  api.CheckResult // a check with the right code
		cancel string          // code of the problem, after that check
		resend string
	}{
		{"pending", func(api.Verification, string) {}, api.CheckResult{Valid: true, Status: "approved", AttemptsRemaining: 1}, "approved", "approved"},
		{"approved", func(v api.Verification, code string) { k.check(v.ID, code) }, api.CheckResult{Status: "approved", Reason: "already_approved"}, "approved", "approved"},
		{"exhausted", func(v api.Verification, code string) {
			k.check(v.ID, countersigntest.Wrong(code))
			k.check(v.ID, countersigntest.Wrong(code))
		}, api.CheckResult{Status: "exhausted", Reason: "exhausted"}, "guesses_spent", "guesses_spent"},
		{"canceled", func(v api.Verification, _ string) { k.call("", "POST", "/v1/verifications/"+v.ID+"/cancel", "", 200) },
			api.CheckResult{Status: "canceled", Reason: "canceled"}, "canceled", "canceled"},
		{"superseded", func(v api.Verification, _ string) { k.start(v.To, `,"purpose":"login"`) },
			api.CheckResult{Status: "superseded", Reason: "superseded"}, "superseded", "superseded"},
		{"expired", func(api.Verification, string) { k.Advance(time.Minute) }, api.CheckResult{Status: "expired", Reason: "expired"}, "expired", "expired"},
	} {
		number := to[:len(to)-1] + string(rune('0'+i))
		v := k.start(number, `,"purpose":"login","max_attempts":2,"valid_for":60`)
		code := k.Code(number, v.ID)
		test.bring(v, code)
		if seen := k.read(v.ID); seen.Status != test.state || (seen.EndedAt == nil) != (test.state == "pending") || (seen.ResendAfter == nil) != (test.state != "pending") {
			t.Errorf("%s: reads as %+v", test.state, seen)
		}
		test.right.ID = v.ID
		if diff := cmp.Diff(test.right, k.check(v.ID, code)); diff != "" {
			t.Errorf("%s: a check (-want +got):\n%s", test.state, diff)
		}
		if p := read[api.Problem](t, k.call("", "POST", "/v1/verifications/"+v.ID+"/cancel", "", 409)); p.Code != test.cancel {
			t.Errorf("%s: a cancel is refused as %s, want %s", test.state, p.Code, test.cancel)
		}
		k.refused(v.ID, "", 409, test.resend)
	}
}
