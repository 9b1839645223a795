package provider

import (
	"time"

	"github.com/countersign/countersign/internal/carrier"
)

// OwnStatusURL is where an operator's own receiver reports what became of the messages of a carrier.
func OwnStatusURL(public, name string) string { return callbackURL(public, name, "status") }

// Own returns what takes the reports of an operator's own receiver: a carrier that is never asked to send. A report is
// signed as the messages are, with the same secret, and names the attempt by the token that came with the message:
//
//	POST /carriers/gateway/status HTTP/1.1
//	Content-Type: application/json
//	Webhook-Id: 0c64ac1b
//	Webhook-Timestamp: 1795297009
//	Webhook-Signature: v1,<base64 of HMAC-SHA256 of "id.timestamp.body">
//
//	{"token":"….1","status":"failed","code":"unreachable"}
//
// The status is "delivered" or "failed"; any other says nothing yet. The code is one of our reasons, or the receiver's
// own.
func Own(name, public string, secret carrier.Secret) (*Carrier, error) {
	spec := CallbackSpec{Check: "webhook", Token: "token", Status: "status", Delivered: []string{"delivered"}, Failed: []string{"failed"}, Code: "code"}
	for _, word := range carrier.ReasonWords {
		spec.Reasons = append(spec.Reasons, ReasonSpec{Codes: []string{word}, Reason: word})
	}
	c := Config{Name: name, Public: public, CallbackSecret: secret.Encode(), Spec: Spec{Callback: spec}, Now: time.Now}
	prove, err := newProof(spec.Check, "", c.CallbackSecret)
	if err != nil {
		return nil, err
	}
	return &Carrier{Config: c, prove: prove, used: newUsed(maxUsed)}, nil
}
