package countersigntest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

// Large requests take places while they are read, of which a project has its share: by both APIs.
func TestAProjectHasItsShareOfLargeRequests(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{})
	other, key := verify.ProjectID("other"), account.NewSecret()
	k.AddProject(verify.Project{ID: other, Name: "Other", Profile: verify.ProfileCompat}, key)
	large := fmt.Sprintf(`{"to":"+12025550100","name":"Shop","unused":%q}`, strings.Repeat("x", 5000))
	ask := func(body string) string {
		signalwire, _ := k.Post("sms", body)
		syniverse, _, _ := k.Call(key, "POST", "/mfa/v1/applications", body)
		return fmt.Sprint(signalwire, " ", syniverse)
	}
	var leave []func()
	for {
		l, err := k.Verify.ReadLarge(k.Account())
		if err != nil {
			break
		}
		leave = append(leave, l)
	}
	if got := ask(large); len(leave) != 256 || got != "503 503" {
		t.Errorf("with %d of 256 places taken: got %s, want 503", len(leave), got)
	}
	for range 120 { // what is left is still more than a share
		leave[0]()
		leave = leave[1:]
	}
	if got := ask(large); got != "429 200" {
		t.Errorf("beside a project that has more than its share: got %s, want 429 for that and 200 for the other", got)
	}
	if got := ask(`{"to":"+12025550100","name":"Small"}`); got != "200 200" {
		t.Errorf("small ones take no places: got %s", got)
	}
	if _, err := k.Verify.ReadLarge(k.Account()); !errors.Is(err, verify.ErrShareSpent) {
		t.Errorf("got %v, want a project told that it has its share", err)
	}
	for _, l := range leave {
		l()
	}
	if got := ask(large); got != "200 200" {
		t.Errorf("afterwards: got %s", got)
	}
}
