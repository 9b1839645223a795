package v1_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/logtest"
	"github.com/countersign/countersign/internal/verify"
)

func (k kit) makeKey(by verify.Secret, body string) api.Key {
	k.t.Helper()
	return read[api.Key](k.t, k.call(by, "POST", "/v1/keys", body, 201))
}

func TestAKeyFromCreationToRevocation(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	k.Advance(time.Second) // so that the new key is the last of the list
	made := k.makeKey("", `{"name":"shop","scopes":["verify:check","verify:start"],"expires_at":"2026-05-04T13:00:00Z"}`)
	key := verify.Secret(made.Secret)
	end := countersigntest.Start.Add(time.Hour)
	want := api.Key{ID: made.ID, Name: "shop", Scopes: []string{"verify:start", "verify:check"}, Secret: made.Secret, CreatedAt: countersigntest.Start.Add(time.Second), ExpiresAt: &end}
	if diff := cmp.Diff(want, made); diff != "" || !strings.HasPrefix(made.Secret, "cs_") {
		t.Errorf("(-want +got):\n%s", diff)
	}
	k.call(key, "POST", "/v1/verifications", `{"to":"`+to+`"}`, 201)
	k.call(key, "GET", "/v1/verifications", "", 403)

	// It is listed, and when it was used, but never its secret.
	listed := func() (api.Key, string) {
		answer := k.call("", "GET", "/v1/keys", "", 200)
		all := read[api.KeyPage](t, answer).Keys
		return all[len(all)-1], answer
	}
	used := countersigntest.Start.Add(time.Second)
	k.saveUse()
	want.Secret, want.LastUsedAt = "", &used
	if got, answer := listed(); cmp.Diff(want, got) != "" || strings.Contains(answer, made.Secret) {
		t.Errorf("the list has %s, want %+v", answer, want)
	}
	k.Advance(9 * time.Minute) // too soon for another write
	k.call(key, "POST", "/v1/verifications", `{"to":"`+to+`"}`, 201)
	k.saveUse()
	if got, _ := listed(); !got.LastUsedAt.Equal(used) {
		t.Errorf("after 9 minutes it says %v, want %v", got.LastUsedAt, used)
	}
	k.Advance(time.Minute)
	k.call(key, "POST", "/v1/verifications", `{"to":"`+to+`"}`, 201)
	k.saveUse()
	if got, _ := listed(); !got.LastUsedAt.Equal(used.Add(10 * time.Minute)) {
		t.Errorf("after 10 minutes it says %v", got.LastUsedAt)
	}

	k.Advance(50*time.Minute - time.Second - time.Millisecond)
	k.call(key, "POST", "/v1/verifications", `{"to":"`+to+`"}`, 201)
	k.Advance(time.Millisecond)
	k.call(key, "POST", "/v1/verifications", `{"to":"`+to+`"}`, 401)

	// Here it is revoked immediately, although the server remembers it.
	second := k.makeKey("", `{"name":"second","scopes":["read"]}`)
	k.call(verify.Secret(second.Secret), "GET", "/v1/verifications", "", 200)
	k.call("", "DELETE", "/v1/keys/"+second.ID, "", 204)
	k.call(verify.Secret(second.Secret), "GET", "/v1/verifications", "", 401)
	k.call("", "DELETE", "/v1/keys/"+second.ID, "", 404)
	if got, _ := listed(); got.RevokedAt == nil {
		t.Errorf("the revoked key is listed as %+v", got)
	}
	audits, err := k.Store.Audits(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, a := range audits {
		if !strings.HasPrefix(a.Actor, "key ") || strings.Contains(a.Detail, made.Secret) {
			t.Errorf("the audit log has %+v", a)
		}
		actions = append(actions, a.Action)
	}
	slices.Sort(actions)
	if diff := cmp.Diff([]string{"key create", "key create", "key revoke"}, actions); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func (k kit) saveUse() {
	k.t.Helper()
	if err := k.Accounts.SaveUse(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

func TestAKeyGrantsNoMoreThanItHas(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	maker := verify.Secret(k.makeKey("", `{"name":"m","scopes":["manage","read"],"expires_at":"2026-05-04T13:00:00Z"}`).Secret)
	for _, test := range []struct {
		body string
		want []api.FieldProblem
	}{
		{`{"name":"x","scopes":["read","verify:start","verify:own-code"]}`, []api.FieldProblem{
			{Field: "scopes", Message: "has verify:start verify:own-code, which the key that asks doesn't have"}}},
		{`{"name":"x","scopes":["read"],"expires_at":"2026-05-04T13:00:01Z"}`, []api.FieldProblem{
			{Field: "expires_at", Message: "must not be after the key that asks expires, 2026-05-04T13:00:00Z"}}},
		{`{"name":"","scopes":[],"expires_at":"2026-05-04T12:00:00Z"}`, []api.FieldProblem{
			{Field: "expires_at", Message: "must be in the future"},
			{Field: "name", Message: "must be 1 to 100 printable characters"},
			{Field: "scopes", Message: "must have at least one of: verify:start, verify:check, verify:own-code, read, applications, manage"}}},
		{`{"name":"x","scopes":["all"]}`, []api.FieldProblem{
			{Field: "scopes", Message: "must be some of: verify:start, verify:check, verify:own-code, read, applications, manage"}}},
		{`{"name":"x","scopes":"read","expires_at":"soon"}`, []api.FieldProblem{
			{Field: "expires_at", Message: "must be a time like 2026-01-31T12:00:00Z"},
			{Field: "scopes", Message: "must be an array of strings"}}},
	} {
		p := read[api.Problem](t, k.call(maker, "POST", "/v1/keys", test.body, 422))
		if diff := cmp.Diff(test.want, p.Errors); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.body, diff)
		}
	}
	if made := k.makeKey(maker, `{"name":"x","scopes":["read"]}`); made.ExpiresAt == nil || !made.ExpiresAt.Equal(countersigntest.Start.Add(time.Hour)) {
		t.Errorf("a key that an ending one made ends at %v, want with it", made.ExpiresAt)
	}
}

// A server remembers a key for a second. A revoked one mustn't outlive its end by making another meanwhile.
func TestARevokedKeyMakesNoOther(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	made := k.makeKey("", `{"name":"m","scopes":["manage"]}`)
	key := verify.Secret(made.Secret)
	k.call(key, "GET", "/v1/keys", "", 200)
	id, err := verify.ParseID(made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Store.RevokeKey(t.Context(), id); err != nil { // as another process does
		t.Fatal(err)
	}
	k.call(key, "POST", "/v1/keys", `{"name":"x","scopes":["manage"]}`, 401)
}

func TestKeysAreListedInPages(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	for range 4 {
		k.Advance(time.Second)
		k.makeKey("", `{"name":"x","scopes":["read"]}`)
	}
	seen, pages := map[string]bool{}, 0
	for path := "/v1/keys?limit=2"; path != ""; pages++ {
		p := read[api.KeyPage](t, k.call("", "GET", path, "", 200))
		for _, key := range p.Keys {
			seen[key.ID] = true
		}
		path = ""
		if p.Next != "" {
			path = "/v1/keys?limit=2&after=" + p.Next
		}
		if pages == 0 { // a newer one doesn't move the pages
			k.Advance(time.Second)
			k.makeKey("", `{"name":"x","scopes":["read"]}`)
		}
	}
	if len(seen) != 6 || pages != 3 {
		t.Errorf("got %d keys in %d pages, want 6 in 3", len(seen), pages)
	}
	k.call("", "GET", "/v1/keys?after=1", "", 422)
	k.call("", "GET", "/v1/keys?limit=0", "", 422)
}

func TestACallersOwnCode(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	k := newKit(t, countersigntest.Options{Log: &log})
	const own = "739164"
	started := k.call("", "POST", "/v1/verifications", `{"to":"`+to+`","code":"`+own+`"}`, 201)
	v := read[api.Verification](t, started)
	if got := k.Code(to, v.ID); got != own {
		t.Errorf("the message has the code %s, want %s", got, own)
	}
	shown := k.call("", "GET", "/v1/verifications/"+v.ID, "", 200) + k.call("", "GET", "/v1/verifications", "", 200)
	if r := k.check(v.ID, countersigntest.Wrong(own)); r.Reason != "wrong_code" || r.AttemptsRemaining != 2 {
		t.Errorf("a wrong guess: %+v", r)
	}
	if r := k.check(v.ID, own); !r.Valid {
		t.Errorf("the right one: %+v", r)
	}
	letters := read[api.Verification](t, k.call("", "POST", "/v1/verifications", `{"to":"`+other+`","code":"ABCD2345","code_format":"alphanumeric","code_length":8}`, 201))
	if r := k.check(letters.ID, "abcd-2345"); !r.Valid {
		t.Errorf("letters: %+v", r)
	}

	p := read[api.Problem](t, k.call(k.addKey(verify.AllScopes&^verify.ScopeOwnCode), "POST", "/v1/verifications", `{"to":"`+to+`","code":"`+own+`"}`, 403))
	if !strings.Contains(p.Detail, "verify:own-code") {
		t.Errorf("without the scope: %+v", p)
	}
	refused := ""
	for body, want := range map[string]string{
		`"code":""`: "must not be empty; leave it out", `"code":"123"`: "must have 4 to 20 characters", `"code":"739 164"`: "may have only the characters of numeric codes: 0123456789",
		`"code":"739164","code_length":4`:                         "must have as many characters as the length that is asked for, 4",
		`"code":"ABCD2O","code_format":"alphanumeric"`:            "may have only the characters of alphanumeric codes: ABCDEFGHJKLMNPQRSTUVWXYZ23456789",
		`"code":"739164` + strings.Repeat("1", 15) + `"`:          "must have 4 to 20 characters",
		`"code":"73916４"`:                                         "may have only the characters of numeric codes: 0123456789",
		`"code":"` + strings.Repeat("7391", 5) + `","to":"+1202"`: "",
	} {
		if !strings.Contains(body, `"to"`) {
			body += `,"to":"` + to + `"`
		}
		answer := k.call("", "POST", "/v1/verifications", `{`+body+`}`, 422)
		refused += answer
		if p := read[api.Problem](t, answer); want != "" && (len(p.Errors) != 1 || p.Errors[0] != api.FieldProblem{Field: "code", Message: want}) {
			t.Errorf("%s: got %+v, want %q", body, p.Errors, want)
		}
	}
	for _, text := range []string{started, shown, refused, log.String()} {
		if strings.Contains(logtest.Meant(text), "7391") {
			t.Errorf("the code is told: %s", text)
		}
	}

	strict := newKit(t, countersigntest.Options{Profile: verify.ProfileStandard})
	p = read[api.Problem](t, strict.call("", "POST", "/v1/verifications", `{"to":"`+to+`","code":"73916"}`, 422))
	if diff := cmp.Diff([]api.FieldProblem{{Field: "code", Message: "is too short for a secure code"}}, p.Errors); diff != "" {
		t.Errorf("standard (-want +got):\n%s", diff)
	}
}

// A syncBuffer is a log that goroutines write to while a test reads it.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// The vendors' faces ask for the same scopes.
func TestScopesHoldOnTheVendorsFaces(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	start, check, reads, apps := k.addKey(verify.ScopeStart), k.addKey(verify.ScopeCheck), k.addKey(verify.ScopeRead), k.addKey(verify.ScopeApplications)
	for _, test := range []struct {
		method, path, body string
		needs              verify.Secret
	}{
		{"POST", "/api/relay/rest/mfa/sms", `{"to":"` + to + `"}`, start},
		{"POST", "/api/relay/rest/mfa/call", `{"to":"` + to + `"}`, start},
		{"POST", "/api/relay/rest/mfa/01900000-0000-7000-8000-000000000000/verify", `{"token":"123456"}`, check},
		{"GET", "/mfa/v1/applications", "", reads},
		{"POST", "/mfa/v1/applications", `{"name":"shop"}`, apps},
		{"DELETE", "/mfa/v1/applications/x", "", apps},
		{"GET", "/mfa/v1/applications/x/users", "", reads},
		{"DELETE", "/mfa/v1/applications/x/users/u", "", apps},
		{"POST", "/mfa/v1/applications/x/users/u/associate", `{"address":"` + to + `"}`, start},
		{"DELETE", "/mfa/v1/applications/x/users/u/associate", "", apps},
		{"POST", "/mfa/v1/applications/x/users/u/login_start", "", start},
		{"POST", "/mfa/v1/applications/x/users/u/validate", `{"validation_code":"123456"}`, check},
		{"POST", "/scg-external-api/api/v1/messaging/message_templates", `{"name":"t","pattern":"$validation_code"}`, apps},
	} {
		for _, key := range []verify.Secret{start, check, reads, apps} {
			req, err := http.NewRequest(test.method, k.URL+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+key.Reveal())
			if strings.HasPrefix(test.path, "/api/") {
				req.SetBasicAuth("test", key.Reveal())
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if forbidden := resp.StatusCode == 403; forbidden == (key == test.needs) || resp.StatusCode == 401 {
				t.Errorf("%s %s: got %d; the key has the scope: %t", test.method, test.path, resp.StatusCode, key == test.needs)
			}
		}
	}
}
