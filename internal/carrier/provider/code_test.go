package provider

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// The provider's own code, which operators look for in its list of errors, is kept beside our reason.
func TestAProvidersOwnCodeIsKept(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		preset string
		status int
		body   string
		want   string
	}{
		{"twilio", 400, `{"code":21608,"message":"The number is unverified.","status":400}`, "21608"},
		{"vonage-messages", 422, `{"type":"https://developer.vonage.com/api-errors/messages#1120","title":"Invalid sender","detail":"…"}`, "messages#1120"},
		{"vonage", 200, `{"messages":[{"status":"29","error-text":"Non-Whitelisted Destination"}]}`, "29"},
		{"telnyx", 403, `{"errors":[{"code":"40333","title":"…"}]}`, "40333"},
		{"africastalking", 201, `{"SMSMessageData":{"Message":"InvalidSenderId","Recipients":[]}}`, "InvalidSenderId"},
		{"twilio", 502, `<html>Bad gateway</html>`, "http:502"},
		{"twilio", 400, `{"code":"` + strings.Repeat("4", 41) + `"}`, "http:400"},
		{"twilio", 400, `{"code":"no such number: +12025550100"}`, "http:400"},
	} {
		server, _ := providerServer(t, answer(tt.status, tt.body))
		_, err := carrierOf(t, configOf(t, tt.preset, server)).Send(t.Context(), message())
		if d := carrier.Decision(err); err == nil || d.Code != tt.want {
			t.Errorf("%s %d %s: %v with the code %q, want %q", tt.preset, tt.status, tt.body, err, d.Code, tt.want)
		}
	}
}

// A description says where its provider has its code.
func TestACodeHasAPathOfItsOwn(t *testing.T) {
	t.Parallel()
	server, _ := providerServer(t, answer(400, `{"code":"E7","fault":{"number":"17.4"}}`))
	c := configOf(t, "twilio", server)
	c.Spec = Spec{Code: "fault.number"}.Over(c.Spec)
	_, err := carrierOf(t, c).Send(t.Context(), message())
	if d := carrier.Decision(err); d.Code != "17.4" || d.Outcome != verify.AttemptRefused {
		t.Errorf("got %v, %q, want it refused with 17.4", d.Outcome, d.Code)
	}
}
