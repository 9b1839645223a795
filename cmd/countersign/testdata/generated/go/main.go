// Command generated takes a verification through each of its ends, by a client that is made from docs/openapi.json
// alone.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"time"

	"github.com/google/uuid"
)

var (
	server = os.Args[1]
	token  = os.Args[2]
	ctx    = context.Background()
	client = must(NewClientWithResponses(server, WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	})))
)

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// call calls a method of the client. An operation that gains an optional header gains a parameter, which stays nil.
func call[R any](method any, args ...any) R {
	f := reflect.ValueOf(method)
	in := []reflect.Value{reflect.ValueOf(ctx)}
	for i := 1; i < f.Type().NumIn()-1; i++ {
		if len(args) > 0 && reflect.TypeOf(args[0]).ConvertibleTo(f.Type().In(i)) {
			in = append(in, reflect.ValueOf(args[0]).Convert(f.Type().In(i)))
			args = args[1:]
			continue
		}
		in = append(in, reflect.Zero(f.Type().In(i)))
	}
	out := f.Call(in)
	if err, _ := out[1].Interface().(error); err != nil {
		log.Fatal(err)
	}
	return out[0].Interface().(R)
}

func start(v NewVerification) Verification {
	purpose := "login"
	v.Purpose = &purpose
	r := call[*StartVerificationResponse](client.StartVerificationWithResponse, v)
	if r.JSON201 == nil {
		log.Fatalf("start: %s", r.Body)
	}
	return *r.JSON201
}

func check(v Verification, code string) CheckResult {
	r := call[*CheckCodeResponse](client.CheckCodeWithResponse, v.Id, Check{Code: &code})
	if r.JSON200 == nil {
		log.Fatalf("check: %s", r.Body)
	}
	return *r.JSON200
}

func until(what string, holds func() bool) {
	for range 1200 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	log.Fatalf("waited in vain for %s", what)
}

func codeOf(v Verification) (code string) {
	until("the message", func() bool {
		r := must(http.Get(server + "/simulator/messages?to=" + url.QueryEscape(v.To)))
		defer r.Body.Close()
		var list struct {
			Messages []struct {
				VerificationID string `json:"verification_id"`
				Body           string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
			log.Fatal(err)
		}
		for _, m := range list.Messages {
			if m.VerificationID == v.Id.String() {
				code = regexp.MustCompile(`\d{6}`).FindString(m.Body)
			}
		}
		return code != ""
	})
	return code
}

func say(what string, r CheckResult) {
	reason := "-"
	if r.Reason != nil {
		reason = string(*r.Reason)
	}
	fmt.Println(what, r.Valid, r.Status, reason)
}

func main() {
	log.SetFlags(0)
	approved := start(NewVerification{To: "+12025550110"})
	right := codeOf(approved)
	say("wrong", check(approved, "x"))
	purpose := "login"
	byNumber := call[*CheckCodeByNumberResponse](client.CheckCodeByNumberWithResponse, NumberCheck{To: approved.To, Purpose: &purpose, Code: right})
	say("right", *byNumber.JSON200)
	say("again", check(approved, right))

	one := int64(1)
	exhausted := start(NewVerification{To: "+12025550111", MaxAttempts: &one})
	say("last", check(exhausted, "x"))
	say("exhausted", check(exhausted, "x"))

	canceled := start(NewVerification{To: "+12025550112"})
	call[*CancelVerificationResponse](client.CancelVerificationWithResponse, canceled.Id)
	say("canceled", check(canceled, "x"))
	twice := call[*CancelVerificationResponse](client.CancelVerificationWithResponse, canceled.Id).ApplicationproblemJSON409
	fmt.Println("conflict", twice.Status, twice.Code)

	superseded := start(NewVerification{To: "+12025550113"})
	start(NewVerification{To: "+12025550113"})
	say("superseded", check(superseded, "x"))

	expired := start(NewVerification{To: "+12025550114", ValidFor: &one})
	until("the end", func() bool {
		return call[*ReadVerificationResponse](client.ReadVerificationWithResponse, expired.Id).JSON200.Status == "expired"
	})
	say("expired", check(expired, "x"))

	absent := call[*ReadVerificationResponse](client.ReadVerificationWithResponse, uuid.MustParse("01a20001-6a64-717b-aab1-8ad86b1658e8")).ApplicationproblemJSON404
	fmt.Println("absent", absent.Status, absent.Code)
	invalid := call[*StartVerificationResponse](client.StartVerificationWithResponse, NewVerification{To: "12"}).ApplicationproblemJSON422
	fmt.Println("invalid", invalid.Status, invalid.Code, (*invalid.Errors)[0].Field)
	list := call[*ListVerificationsResponse](client.ListVerificationsWithResponse, &ListVerificationsParams{To: &superseded.To}).JSON200
	fmt.Print("list")
	for _, v := range *list.Verifications {
		fmt.Print(" ", v.Status)
	}
	fmt.Println()
}
