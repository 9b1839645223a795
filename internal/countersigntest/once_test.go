package countersigntest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

const (
	starts = "/v1/verifications"
	to     = "+12025550100"
)

func keyed(key string) http.Header { return http.Header{"Idempotency-Key": {key}} }

// A replica is one of several servers on one database.
type replica = *countersigntest.Kit

// onBothEngines runs a test with two servers on one database of each engine.
func onBothEngines(t *testing.T, o countersigntest.Options, f func(t *testing.T, replicas []replica)) {
	for engine, database := range map[string]func() string{
		"SQLite": func() string { return "" }, "PostgreSQL": func() string { return storetest.Lent(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			o := o
			o.Data, o.Database = t.TempDir(), database()
			first := countersigntest.New(t, o)
			o.Clock = first.Clock
			second := countersigntest.New(t, o)
			f(t, []replica{first, second})
		})
	}
}

// insist sends a request until it is no longer in flight, as a client does.
func insist(t *testing.T, k replica, key, path, body string) string {
	for {
		status, header, answer := k.CallWith(keyed(key), "", "POST", path, body)
		if status != http.StatusConflict || !strings.Contains(answer, "idempotency_in_flight") {
			return strconv.Itoa(status) + " " + answer
		}
		if header.Get("Retry-After") != "1" {
			t.Errorf("in flight: Retry-After is %q, want 1", header.Get("Retry-After"))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// twins sends a request n times at once, to one replica after the other, and returns the one answer of all.
func twins(t *testing.T, replicas []replica, n int, path, body string) string {
	t.Helper()
	var mu sync.Mutex // guards all
	all := map[string]int{}
	at(100, func(client int) {
		for i := range n / 100 {
			answer := insist(t, replicas[(client+i)%len(replicas)], "twins:"+path+body, path, body)
			mu.Lock()
			all[answer]++
			mu.Unlock()
		}
	})
	if len(all) != 1 {
		t.Fatalf("%d twins of %s got %d different answers: %.2000v", n, path, len(all), all)
	}
	for answer := range all {
		return answer
	}
	return ""
}

func id(t *testing.T, answer string) string {
	t.Helper()
	var v struct{ ID string }
	_, text, _ := strings.Cut(answer, " ")
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	return v.ID
}

// A thousand twins of a request, at two servers, do what one does, and all get its answer.
func TestTwinsAreCarriedOutOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, countersigntest.Options{Log: io.Discard}, func(t *testing.T, replicas []replica) {
		started := twins(t, replicas, testsize.Times(1000), starts, `{"to":"`+to+`","max_attempts":3}`)
		v := id(t, started)
		if !strings.HasPrefix(started, "201 ") {
			t.Fatalf("start: got %s", started)
		}
		var code string
		replicas[0].Await("the message", func() bool {
			for _, k := range replicas {
				for _, m := range k.Sim.Messages(to) {
					code = m.Body[len(m.Body)-6:]
				}
			}
			return code != ""
		})
		check := starts + "/" + v + "/check"
		wrong := twins(t, replicas, 200, check, `{"code":"`+countersigntest.Wrong(code)+`"}`)
		if want := `200 {"id":"` + v + `","valid":false,"status":"pending","reason":"wrong_code","attempts_remaining":2}`; wrong != want {
			t.Errorf("a wrong guess: got %s, want %s", wrong, want)
		}
		right := twins(t, replicas, 200, "/v1/checks", `{"to":"`+to+`","code":"`+code+`"}`)
		if want := `200 {"id":"` + v + `","valid":true,"status":"approved","attempts_remaining":1}`; right != want {
			t.Errorf("a right guess: got %s, want %s", right, want)
		}
		if stored := replicas[1].Verification(v); stored.Guesses != 2 || stored.Status != verify.StatusApproved {
			t.Errorf("stored: %d guesses, %v; want 2, approved", stored.Guesses, stored.Status)
		}

		second := id(t, twins(t, replicas, 100, starts, `{"to":"`+to+`"}`))
		canceled := twins(t, replicas, 200, starts+"/"+second+"/cancel", "")
		if !strings.HasPrefix(canceled, "200 ") || !strings.Contains(canceled, `"status":"canceled"`) {
			t.Errorf("a cancellation: got %s", canceled)
		}
		messages := 0
		for _, k := range replicas {
			messages += len(k.Sim.Messages(to))
		}
		if messages > 2 || messages == 2 && v == second { // the second may be canceled before it is sent
			t.Errorf("%d messages for two starts", messages)
		}
		acct := replicas[0].Account()
		all, _, err := replicas[0].Verify.Verifications(context.Background(), acct, verify.ListRequest{Limit: 10})
		if err != nil || len(all) != 2 {
			t.Errorf("got %d verifications (%v), want 2", len(all), err)
		}
	})
}

// A key belongs to one request of one project, for 24 hours.
func TestAKeyBelongsToOneRequest(t *testing.T) {
	t.Parallel()
	onBothEngines(t, countersigntest.Options{Unattended: true}, func(t *testing.T, replicas []replica) {
		k := replicas[0]
		post := func(k replica, token verify.Secret, key, path, body string) string {
			t.Helper()
			status, header, answer := k.CallWith(keyed(key), token, "POST", path, body)
			if status >= 400 && header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s: the type is %q", path, key, header.Get("Content-Type"))
			}
			return strconv.Itoa(status) + " " + answer
		}
		body := `{"to":"` + to + `"}`
		first := post(k, "", "key", starts, body)
		for what, twin := range map[string]string{
			"a twin": post(k, "", "key", starts, body), "a twin elsewhere": post(replicas[1], "", "key", starts, body),
		} {
			if twin != first {
				t.Errorf("%s: got %s, want %s", what, twin, first)
			}
		}
		for what, got := range map[string]string{
			"another body": post(replicas[1], "", "key", starts, `{"to":"+12025550101"}`),
			"a space":      post(k, "", "key", starts, `{"to": "`+to+`"}`),
			"another path": post(k, "", "key", starts+"/"+id(t, first)+"/cancel", ""),
			"a query":      post(k, "", "key", starts+"?a=b", body),
		} {
			if !strings.HasPrefix(got, "422 ") || !strings.Contains(got, `"idempotency_key_reused"`) {
				t.Errorf("%s under the same key: got %s", what, got)
			}
		}
		token := account.NewSecret()
		k.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat, PublicText: true, Countries: []string{verify.AnyCountry}}, token)
		if other := post(k, token, "key", starts, body); !strings.HasPrefix(other, "201 ") || id(t, other) == id(t, first) {
			t.Errorf("another project's request with the same key: got %s, after %s", other, first)
		}

		k.Clock.Advance(verify.KeptFor - time.Second)
		if twin := post(k, "", "key", starts, body); twin != first {
			t.Errorf("a second before the end: got %s, want %s", twin, first)
		}
		k.Clock.Advance(time.Second)
		next := post(k, "", "key", starts, body)
		if !strings.HasPrefix(next, "201 ") || id(t, next) == id(t, first) {
			t.Errorf("after 24 hours: got %s, after %s", next, first)
		}
		if twin := post(replicas[1], "", "key", starts, body); twin != next {
			t.Errorf("a twin after 24 hours: got %s, want %s", twin, next)
		}
	})
}

// Answers are forgotten after 24 hours, and not before.
func TestKeptAnswersAreForgotten(t *testing.T) {
	t.Parallel()
	onBothEngines(t, countersigntest.Options{Unattended: true}, func(t *testing.T, replicas []replica) {
		k, ctx := replicas[0], context.Background()
		kept := func(key string) bool {
			found, err := k.Store.Kept(ctx, verify.NameRequest("test", key))
			if err != nil {
				t.Fatal(err)
			}
			if found != nil && (bytes.Contains(found.Sealed, []byte("2025550100")) || bytes.Contains(found.Sealed, []byte("pending"))) {
				t.Errorf("the answer is stored in the clear: %q", found.Sealed)
			}
			return found != nil
		}
		forget := func() {
			t.Helper()
			if _, err := k.Store.Retain(ctx, k.Clock.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		insist(t, k, "old", starts, `{"to":"`+to+`"}`)
		k.Clock.Advance(time.Hour)
		insist(t, k, "new", starts, `{"to":"`+to+`"}`)
		k.Clock.Advance(verify.KeptFor - time.Hour)
		forget()
		if !kept("old") || !kept("new") {
			t.Error("an answer is forgotten before its time")
		}
		k.Clock.Advance(time.Second)
		forget()
		if kept("old") || !kept("new") {
			t.Errorf("after 24 hours: old %v, new %v; want only the new one", kept("old"), kept("new"))
		}
	})
}

func TestKeysThatAreNone(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{Unattended: true})
	for what, keys := range map[string][]string{
		"none": {""}, "256 characters": {strings.Repeat("k", 256)}, "a space": {"a b"}, "a tab": {"a\tb"}, "a letter beyond ASCII": {"clé"}, "two": {"a", "b"},
	} {
		status, _, answer := k.CallWith(http.Header{"Idempotency-Key": keys}, "", "POST", starts, `{"to":"`+to+`"}`)
		if status != 422 || !strings.Contains(answer, `"field":"Idempotency-Key"`) || !strings.Contains(answer, "255") {
			t.Errorf("%s: got %d %s", what, status, answer)
		}
	}
	long := strings.Repeat("~", 255)
	if first, second := insist(t, k, long, starts, `{"to":"`+to+`"}`), insist(t, k, long, starts, `{"to":"`+to+`"}`); !strings.HasPrefix(first, "201 ") || first != second {
		t.Errorf("255 characters: got %s and %s", first, second)
	}
	if status, _, _ := k.CallWith(keyed(long+long), "", "GET", starts, ""); status != 200 {
		t.Errorf("a GET with a key: got %d, want 200", status)
	}
}

// A twin that comes while the first is being carried out is told to come again.
func TestATwinInFlightComesAgain(t *testing.T) {
	t.Parallel()
	var hold atomic.Pointer[chan struct{}]
	held := make(chan struct{}, 1)
	k := countersigntest.New(t, countersigntest.Options{Unattended: true, Commit: func(_ int, commit func() error) error {
		if wait := hold.Swap(nil); wait != nil {
			held <- struct{}{}
			<-*wait
		}
		return commit()
	}})
	release := make(chan struct{})
	hold.Store(&release)
	first := make(chan string)
	go func() { first <- insist(t, k, "key", starts, `{"to":"`+to+`"}`) }()
	<-held
	twin := make(chan string, 1)
	go func() {
		status, header, answer := k.CallWith(keyed("key"), "", "POST", starts, `{"to":"`+to+`"}`)
		twin <- fmt.Sprint(status, " ", header.Get("Retry-After"), " ", answer)
	}()
	select {
	case got := <-twin:
		if !strings.HasPrefix(got, "409 1 ") || !strings.Contains(got, `"code":"idempotency_in_flight"`) {
			t.Errorf("a twin in flight: got %s, want 409 and to wait for 1 s", got)
		}
	case <-time.After(20 * time.Second):
		close(release)
		t.Fatal("a twin in flight isn't answered")
	}
	if status, _, answer := k.CallWith(keyed("key"), "", "POST", "/v1/checks", `{"to":"`+to+`","code":"1"}`); status != 422 {
		t.Errorf("another request in flight: got %d %s", status, answer)
	}
	close(release)
	if again, got := insist(t, k, "key", starts, `{"to":"`+to+`"}`), <-first; again != got {
		t.Errorf("after the flight: got %s, want %s", again, got)
	}
}

// So are resends, which are refused when another one was just made, and new keys, whose secret is told once.
func TestTwinsOfResendsAndKeysAreCarriedOutOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, countersigntest.Options{Log: io.Discard}, func(t *testing.T, replicas []replica) {
		v := id(t, insist(t, replicas[0], "start", starts, `{"to":"`+to+`"}`))
		delivered := func() (n int) {
			for _, k := range replicas {
				n += len(k.Sim.Messages(to))
			}
			return n
		}
		replicas[0].Await("the first message", func() bool { return delivered() == 1 && replicas[0].Verification(v).Delivery == verify.DeliverySent })
		replicas[0].Clock.Advance(30 * time.Second)
		if resent := twins(t, replicas, 100, starts+"/"+v+"/resend", `{}`); !strings.HasPrefix(resent, "200 ") || !strings.Contains(resent, `"resend_after":"2026-05-04T12:01:30Z"`) {
			t.Errorf("a resend: got %s", resent)
		}
		replicas[0].Await("the second message", func() bool { return delivered() >= 2 && replicas[0].Verification(v).Delivery == verify.DeliverySent })
		if n := delivered(); n != 2 {
			t.Errorf("%d messages for a start and one resend", n)
		}

		made := twins(t, replicas, 100, "/v1/keys", `{"name":"web","scopes":["read"]}`)
		if !strings.HasPrefix(made, "201 ") || strings.Count(made, `"secret":"cs_`) != 1 {
			t.Errorf("a key: got %s", made)
		}
		keys, err := replicas[0].Store.Keys(t.Context(), replicas[0].Account().Project.ID)
		named := 0
		for _, k := range keys {
			if k.Name == "web" {
				named++
			}
		}
		if err != nil || named != 1 {
			t.Errorf("%d keys were made, %v; want one", named, err)
		}
	})
}

// What is about users is answered in the commit that changes them, and so are new applications: a COMMIT that happened
// without its server hearing of it leaves the answer for the request's twin.
func TestUsersRequestsAreAnsweredInTheirCommit(t *testing.T) {
	t.Parallel()
	var lose atomic.Bool
	k := countersigntest.New(t, countersigntest.Options{Unattended: true, Commit: func(_ int, commit func() error) error {
		err := commit()
		if lose.Load() {
			return errors.New("the answer is lost")
		}
		return err
	}})
	twin := func(key, path, body string) string {
		t.Helper()
		lose.Store(true)
		if got := insist(t, k, key, path, body); !strings.HasPrefix(got, "503 ") {
			t.Errorf("%s: got %s, want 503", key, got)
		}
		lose.Store(false)
		return insist(t, k, key, path, body)
	}
	app := twin("application", "/v1/applications", `{"name":"shop","valid_for":3600}`)
	if all, err := k.Store.Applications(t.Context(), "test"); !strings.HasPrefix(app, "201 ") || len(all) != 1 || err != nil {
		t.Fatalf("an application: got %s, and there are %d, %v", app, len(all), err)
	}
	users := "/v1/applications/" + id(t, app) + "/users"
	ada := twin("associate", users, `{"user":"ada","number":"`+to+`"}`)
	if !strings.HasPrefix(ada, "201 ") || !strings.Contains(ada, `"status":"pending"`) {
		t.Fatalf("an association: got %s", ada)
	}
	found, _, err := k.Verify.Verifications(t.Context(), k.Account(), verify.ListRequest{To: to, Limit: 10})
	if err != nil || len(found) != 1 {
		t.Errorf("an association: %d verifications were started, %v; want 1", len(found), err)
	}
	k.Advance(10 * time.Minute) // beyond the lease of an attempt that nobody makes
	var code string
	k.Await("the message of the association", func() bool {
		for _, m := range k.Sim.Messages(phone.Number(to)) {
			code, _, _ = strings.Cut(m.Body, " ")
		}
		return code != ""
	})
	if got := twin("check", users+"/ada/check", `{"code":"`+code+`"}`); !strings.Contains(got, `"valid":true`) {
		t.Errorf("a check: got %s", got)
	}
	k.Advance(time.Minute)
	if got := twin("login", users+"/ada/login", `{}`); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"verified_age":60`) {
		t.Errorf("a login: got %s", got)
	}
}

// Nothing is kept of a request that was refused: it may be sent again, with its key.
func TestRefusalsAreNotKept(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{Unattended: true, Limits: verify.Limits{Burst: 1, Interval: time.Minute}})
	body := `{"to":"` + to + `"}`
	insist(t, k, "first", starts, body)
	if got := insist(t, k, "key", starts, body); !strings.HasPrefix(got, "429 ") {
		t.Errorf("too soon: got %s", got)
	}
	k.Clock.Advance(time.Minute)
	started := insist(t, k, "key", starts, body)
	if !strings.HasPrefix(started, "201 ") {
		t.Errorf("after the wait: got %s", started)
	}
	if got := insist(t, k, "invalid", starts, `{"to":"1"}`); !strings.HasPrefix(got, "422 ") || strings.Contains(got, "reused") {
		t.Errorf("an invalid number: got %s", got)
	}
	if got := insist(t, k, "invalid", starts+"/"+id(t, started)+"/cancel", ""); !strings.HasPrefix(got, "200 ") {
		t.Errorf("another request with the key of one that was refused: got %s", got)
	}
}

// A COMMIT whose answer got lost may have happened. The request's twin finds out, and the message is sent once.
func TestATwinFindsWhatWasCommittedUnheard(t *testing.T) {
	t.Parallel()
	for what, happens := range map[string]bool{"it happened": true, "it didn't happen": false} {
		var lose atomic.Bool
		k := countersigntest.New(t, countersigntest.Options{Unattended: true, Commit: func(_ int, commit func() error) error {
			if !lose.Load() {
				return commit()
			}
			if happens {
				commit()
			}
			return errors.New("the answer is lost")
		}})
		lose.Store(true)
		body := `{"to":"` + to + `","valid_for":3600}`
		if got := insist(t, k, "key", starts, body); !strings.HasPrefix(got, "503 ") {
			t.Errorf("%s: got %s, want 503", what, got)
		}
		lose.Store(false)
		started := insist(t, k, "key", starts, body)
		k.Advance(10 * time.Minute) // beyond the lease of an attempt that nobody makes
		k.Await("the end of the delivery", func() bool { return !k.Verification(id(t, started)).Open() })
		if again := insist(t, k, "key", starts, body); !strings.HasPrefix(started, "201 ") || again != started {
			t.Errorf("%s: got %s, then %s", what, started, again)
		}
		if got := len(k.Sim.Messages(phone.Number(to))); got != 1 {
			t.Errorf("%s: %d messages, want 1", what, got)
			continue
		}
		code := k.Code(to, id(t, started))
		lose.Store(true)
		check := starts + "/" + id(t, started) + "/check"
		if got := insist(t, k, "check", check, `{"code":"`+code+`"}`); !strings.HasPrefix(got, "503 ") {
			t.Errorf("%s: got %s, want 503", what, got)
		}
		lose.Store(false)
		if got := insist(t, k, "check", check, `{"code":"`+code+`"}`); !strings.Contains(got, `"valid":true`) {
			t.Errorf("%s: the check's twin got %s", what, got)
		}
	}
}

// An operation without an event that answers it is kept as well, in a commit of its own; and of one that has a
// transaction of its own, too.
func TestEveryRequestMayHaveAKey(t *testing.T) {
	t.Parallel()
	onBothEngines(t, countersigntest.Options{Unattended: true}, func(t *testing.T, replicas []replica) {
		ctx := context.Background()
		var done atomic.Int64
		plain := func(k replica, n byte) string {
			answer, err := k.Verify.Once(ctx, k.Account(), "plain", [32]byte{n}, func(context.Context) ([]byte, error) {
				return fmt.Append(nil, "answer ", done.Add(1)), nil
			})
			return fmt.Sprint(string(answer), err)
		}
		if a, b := plain(replicas[0], 1), plain(replicas[1], 1); a != "answer 1<nil>" || b != a {
			t.Errorf("got %s and %s, want answer 1 twice", a, b)
		}
		if got := plain(replicas[0], 2); !strings.Contains(got, "another request") {
			t.Errorf("another request: got %s", got)
		}

		var created atomic.Int64
		create := func(k replica) ([]byte, error) {
			return k.Verify.Once(ctx, k.Account(), "create", [32]byte{}, func(ctx context.Context) ([]byte, error) {
				verify.Answers(ctx, func(a *verify.Application) ([]byte, error) { return []byte(a.Name), nil })
				a := verify.Application{ID: verify.NewID(k.Clock.Now()), Project: "test", Name: fmt.Sprint("app ", created.Add(1)), Version: 1}
				return []byte(a.Name), k.Store.CreateApplication(ctx, a, false, 100)
			})
		}
		var mu sync.Mutex // guards all
		all := map[string]int{}
		at(40, func(i int) {
			for {
				answer, err := create(replicas[i%2])
				if errors.Is(err, verify.ErrInFlight) {
					time.Sleep(time.Millisecond)
					continue
				}
				mu.Lock()
				defer mu.Unlock()
				all[fmt.Sprint(string(answer), err)]++
				return
			}
		})
		apps, err := replicas[0].Store.Applications(ctx, "test")
		if len(all) != 1 || err != nil || len(apps) != 1 || all[apps[0].Name+"<nil>"] != 40 {
			t.Errorf("40 twins got %v and made %d applications (%v), want one", all, len(apps), err)
		}
	})
}
