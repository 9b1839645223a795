package provider

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// An exchange is an answer of a provider, and what it means.
type exchanged struct {
	status int
	body   string
	ref    string   // where it is accepted
	want   *decided // where it is not
}

func accepted(status int, body, ref string) exchanged { return exchanged{status, body, ref, nil} }
func failed(status int, body string, want decided) exchanged {
	return exchanged{status, body, "", &want}
}

// A story is what a preset promises: its request to the letter, the answers that its pages show, and the
// reports. The pages are named in preset/*.yaml.
type story struct {
	host    string // of the preset itself
	path    string
	header  http.Header
	body    string
	answers []exchanged
	reports map[string]*carrier.Receipt // by body; nil: says nothing final
	query   bool                        // reports come in the query
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
	escaped  = "Your+%22code%22+%26+more%3A+493817"
	quoted   = `"Your \"code\" \u0026 more: 493817"`
)

func callbackOf(path string) string {
	return testPublic + "/carriers/way/status" + path + "?m=" + testToken
}

func arrived(ref string) *carrier.Receipt { return &carrier.Receipt{Ref: ref, Delivered: true} }
func lost(ref string, reason verify.Reason) *carrier.Receipt {
	return &carrier.Receipt{Ref: ref, Reason: reason}
}

var stories = map[string]story{
	"twilio": {
		host:   "api.twilio.com",
		path:   "/2010-04-01/Accounts/AC0123/Messages.json",
		header: http.Header{"Content-Type": {formType}, "Authorization": {basic("AC0123", testSecret)}},
		body:   "To=%2B12025550100&From=%2B12025550199&Body=" + escaped + "&ValidityPeriod=600&StatusCallback=" + url.QueryEscape(callbackOf("")),
		answers: []exchanged{
			accepted(201, `{"account_sid":"AC0123","sid":"SMb2c4","status":"queued","error_code":null,"error_message":null}`, "SMb2c4"),
			failed(400, `{"code":21211,"message":"The 'To' number +12025550100 is not a valid phone number.","more_info":"https://www.twilio.com/docs/errors/21211","status":400}`, refused(verify.ReasonInvalidNumber)),
			failed(400, `{"code":21610,"message":"Attempt to send to unsubscribed recipient","status":400}`, refused(verify.ReasonBlocked)),
			failed(400, `{"code":21606,"status":400}`, refused(verify.ReasonInvalidSender)),
			failed(400, `{"code":21617,"status":400}`, refused(verify.ReasonInvalidMessage)),
			failed(401, `{"code":20003,"message":"Authenticate","status":401}`, misconfigured),
			failed(429, `{"code":20429,"message":"Too Many Requests","status":429}`, throttled),
			failed(503, ``, later), failed(418, `{}`, refused(verify.ReasonRefused)),
		},
		reports: map[string]*carrier.Receipt{
			"SmsSid=SM1&SmsStatus=delivered&MessageStatus=delivered&To=%2B12025550100&MessageSid=SM1&AccountSid=AC0123&From=%2B1&ApiVersion=2010-04-01": arrived("SM1"),
			"MessageStatus=undelivered&ErrorCode=30003&MessageSid=SM1":                                                                                  lost("SM1", verify.ReasonUnreachable),
			"MessageStatus=undelivered&ErrorCode=30005&MessageSid=SM1":                                                                                  lost("SM1", verify.ReasonInvalidNumber),
			"MessageStatus=failed&ErrorCode=30007&MessageSid=SM1":                                                                                       lost("SM1", verify.ReasonSpamFiltered),
			"MessageStatus=failed&ErrorCode=30008&MessageSid=SM1":                                                                                       lost("SM1", verify.ReasonUnknown),
			"MessageStatus=failed&MessageSid=SM1":                                                                                                       lost("SM1", verify.ReasonUnknown),
			"MessageStatus=sent&MessageSid=SM1":                                                                                                         nil, "MessageStatus=queued&MessageSid=SM1": nil, "": nil,
		},
	},
	"signalwire": {
		path:   "/api/laml/2010-04-01/Accounts/AC0123/Messages.json",
		header: http.Header{"Content-Type": {formType}, "Authorization": {basic("AC0123", testSecret)}},
		body:   "To=%2B12025550100&From=%2B12025550199&Body=" + escaped + "&ValidityPeriod=600&StatusCallback=" + url.QueryEscape(callbackOf("")),
		answers: []exchanged{
			accepted(201, `{"sid":"b1d6b3a5-0e36-4d2a-a1a3-02f1a9c0f7f7","status":"queued","error_code":null}`, "b1d6b3a5-0e36-4d2a-a1a3-02f1a9c0f7f7"),
			failed(422, `{"code":"21219","message":"From must be a number you own","status":422}`, refused(verify.ReasonInvalidSender)),
			failed(400, `{"code":"21217","status":400}`, refused(verify.ReasonInvalidNumber)),
			failed(401, `Unauthorized`, misconfigured), failed(500, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			"MessageSid=b1d6&MessageStatus=delivered":                   arrived("b1d6"),
			"MessageSid=b1d6&MessageStatus=undelivered&ErrorCode=30006": lost("b1d6", verify.ReasonInvalidNumber),
			"MessageSid=b1d6&MessageStatus=failed&ErrorCode=":           lost("b1d6", verify.ReasonUnknown),
			"MessageSid=b1d6&MessageStatus=sent":                        nil,
		},
	},
	"vonage": {
		host:   "rest.nexmo.com",
		path:   "/sms/json",
		header: http.Header{"Content-Type": {formType}, "Authorization": {basic("AC0123", testSecret)}},
		body: "from=12025550199&to=12025550100&text=" + escaped + "&type=text&ttl=600000&client-ref=" + testToken +
			"&status-report-req=true&callback=" + url.QueryEscape(callbackOf("/"+testKey)),
		answers: []exchanged{
			accepted(200, `{"message-count":"1","messages":[{"to":"12025550100","message-id":"aaaaaaaa-bbbb-4ccc","status":"0","remaining-balance":"3.14159265","message-price":"0.03330000","network":"12345"}]}`, "aaaaaaaa-bbbb-4ccc"),
			failed(200, `{"message-count":"1","messages":[{"status":"1","error-text":"Throughput Rate Exceeded - please wait [ 250 ] and retry"}]}`, throttled),
			failed(200, `{"message-count":"1","messages":[{"status":"4","error-text":"Bad Credentials"}]}`, misconfigured),
			failed(200, `{"message-count":"1","messages":[{"status":"5"}]}`, later),
			failed(200, `{"message-count":"1","messages":[{"status":"6"}]}`, refused(verify.ReasonInvalidNumber)),
			failed(200, `{"message-count":"1","messages":[{"status":"7"}]}`, refused(verify.ReasonBlocked)),
			failed(200, `{"message-count":"1","messages":[{"status":"9","error-text":"Partner quota exceeded"}]}`, noCredit),
			failed(200, `{"message-count":"1","messages":[{"status":"15"}]}`, refused(verify.ReasonInvalidSender)),
			failed(200, `{"message-count":"1","messages":[{"status":"2"}]}`, refused(verify.ReasonRefused)),
			failed(200, `<html>`, unknown), failed(200, `{"message-count":"0","messages":[]}`, unknown), failed(503, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"err-code":"0","message-timestamp":"2018-10-25 12:10:29","messageId":"0B00000127FDBC63","msisdn":"447547232824","network-code":"23410","price":"0.03330000","scts":"1810251310","status":"delivered","to":"Vonage CLI"}`: arrived("0B00000127FDBC63"),
			`{"err-code":"6","messageId":"0B","status":"rejected"}`: lost("0B", verify.ReasonSpamFiltered),
			`{"err-code":"2","messageId":"0B","status":"failed"}`:   lost("0B", verify.ReasonUnreachable),
			`{"err-code":"99","messageId":"0B","status":"expired"}`: lost("0B", verify.ReasonExpired),
			`{"err-code":"0","messageId":"0B","status":"accepted"}`: nil, `{"err-code":"0","messageId":"0B","status":"buffered"}`: nil,
		},
	},
	"vonage-messages": {
		host:   "api.nexmo.com",
		path:   "/v1/messages",
		header: http.Header{"Content-Type": {jsonType}, "Accept": {jsonType}},
		body: `{"message_type":"text","channel":"sms","from":"12025550199","to":"12025550100","text":` + quoted + ",\n" +
			` "ttl":600,"client_ref":"` + testToken + `","webhook_url":"` + callbackOf("") + `","webhook_version":"v1"}`,
		answers: []exchanged{
			accepted(202, `{"message_uuid":"aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab"}`, "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab"),
			failed(401, `{"type":"https://developer.vonage.com/api-errors/#unauthorized","title":"Unauthorized","detail":"You did not provide correct credentials.","instance":"bf0c"}`, misconfigured),
			failed(402, `{"type":"https://developer.vonage.com/api-errors/#low-balance","title":"Low balance"}`, noCredit),
			failed(422, `{"type":"https://developer.vonage.com/api-errors/messages#1120","title":"Invalid sender","detail":"The from parameter is invalid for the given channel.","instance":"bf0c"}`, refused(verify.ReasonInvalidSender)),
			failed(422, `{"type":"https://developer.vonage.com/api-errors/messages#1040","title":"Invalid Number"}`, refused(verify.ReasonInvalidNumber)),
			failed(403, `{"type":"https://developer.vonage.com/api-errors/messages#1070","title":"Partner quota exceeded"}`, noCredit),
			failed(422, `{"title":"Invalid params"}`, refused(verify.ReasonRefused)), failed(429, `{"title":"Rate Limit Hit"}`, throttled),
		},
		reports: map[string]*carrier.Receipt{
			`{"message_uuid":"aaaa","to":"447700900000","from":"447700900001","timestamp":"2025-02-03T12:14:25Z","status":"delivered","client_ref":"` + testToken + `","channel":"sms"}`: arrived("aaaa"),
			`{"message_uuid":"aaaa","status":"rejected","error":{"type":"https://developer.vonage.com/api-errors/messages#1050","title":1050,"detail":"Number barred"},"channel":"sms"}`: lost("aaaa", verify.ReasonBlocked),
			`{"message_uuid":"aaaa","status":"undeliverable"}`: lost("aaaa", verify.ReasonNetwork),
			`{"message_uuid":"aaaa","status":"submitted"}`:     nil,
		},
	},
	"syniverse": {
		host:   "api.syniverse.com",
		path:   "/scg-external-api/api/v1/messaging/message_requests",
		header: http.Header{"Content-Type": {jsonType}, "Accept": {jsonType}, "Authorization": {"Bearer " + testSecret}},
		body:   `{"from":"a-channel","to":["+12025550100"],"body":` + quoted + `,"consent_requirement":"NONE","external_id":"` + testToken + `"}`,
		answers: []exchanged{
			accepted(201, `{"id":"8vfHEqfLMBbEwQWSm0cBz"}`, "8vfHEqfLMBbEwQWSm0cBz"),
			failed(400, `{"error_code":"SCG_ERROR_40024","error_description":"Invalid recipient"}`, refused(verify.ReasonInvalidNumber)),
			failed(400, `{"error_code":"SCG_ERROR_40012","error_description":"Invalid sender"}`, refused(verify.ReasonInvalidSender)),
			failed(404, `{"error_code":"SCG_ERROR_4046","error_description":"Access token expired"}`, misconfigured),
			failed(402, `{"error_code":"402","error_description":"No credit"}`, noCredit), failed(401, ``, misconfigured), failed(429, `{}`, throttled), failed(500, `{}`, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"topic":"SCG-Message","event":{"evt-tp":"mo_message_state","fld-val-list":{"message_request_id":"8vfH","external_message_request_id":"` + testToken + `","new_state":"DELIVERED"}}}`: arrived("8vfH"),
			`{"topic":"SCG-Message","event":{"fld-val-list":{"message_request_id":"8vfH","external_message_request_id":"` + testToken + `","new_state":"FAILED","reason_code":"1002"}}}`:           lost("8vfH", verify.ReasonInvalidNumber),
			`{"event":{"fld-val-list":{"message_request_id":"8vfH","new_state":"FAILED","reason_code":"1006"}}}`:                                                                                   lost("8vfH", verify.ReasonInvalidMessage),
			`{"event":{"fld-val-list":{"message_request_id":"8vfH","new_state":"EXPIRED"}}}`:                                                                                                       lost("8vfH", verify.ReasonExpired),
			`{"event":{"fld-val-list":{"message_request_id":"8vfH","new_state":"SENT"}}}`:                                                                                                          nil,
		},
	},
	"telnyx": {
		host:   "api.telnyx.com",
		path:   "/v2/messages",
		header: http.Header{"Content-Type": {jsonType}, "Accept": {jsonType}, "Authorization": {"Bearer " + testSecret}},
		body:   `{"from":"+12025550199","to":"+12025550100","text":` + quoted + `,"type":"SMS","webhook_url":"` + callbackOf("") + `","use_profile_webhooks":false}`,
		answers: []exchanged{
			accepted(200, `{"data":{"record_type":"message","id":"40385f64-5717-4562-b3fc-2c963f66afa6","to":[{"phone_number":"+12025550100","status":"queued"}],"errors":[]}}`, "40385f64-5717-4562-b3fc-2c963f66afa6"),
			failed(401, `{"errors":[{"code":"10009","title":"Authentication failed","detail":"The required authentication headers were either invalid or not included in the request."}]}`, misconfigured),
			failed(400, `{"errors":[{"code":"40310","title":"Invalid 'to' address"}]}`, refused(verify.ReasonInvalidNumber)),
			failed(400, `{"errors":[{"code":"40300","title":"Blocked due to STOP message"}]}`, refused(verify.ReasonBlocked)),
			failed(403, `{"errors":[{"code":"20100","title":"Insufficient Funds"}]}`, noCredit),
			failed(422, `{"errors":[{"code":"10015"}]}`, refused(verify.ReasonRefused)), failed(429, `{"errors":[{"code":"10011"}]}`, throttled),
		},
		reports: map[string]*carrier.Receipt{
			`{"data":{"event_type":"message.finalized","id":"4ee8","occurred_at":"2019-12-09T21:32:14.148+00:00","payload":{"completed_at":"2019-12-09T21:32:14.148+00:00","direction":"outbound","errors":[],"id":"834f","to":[{"carrier":"T-MOBILE USA, INC.","line_type":"Wireless","phone_number":"+13125000000","status":"delivered"}],"type":"SMS"},"record_type":"event"},"meta":{"attempt":1,"delivered_to":"http://example.com/webhooks"}}`: arrived("834f"),
			`{"data":{"event_type":"message.finalized","payload":{"id":"834f","errors":[{"code":"40002","title":"Blocked as spam - temporary"}],"to":[{"status":"delivery_failed"}]}}}`:                                                                                                                                                                                                                                                              lost("834f", verify.ReasonSpamFiltered),
			`{"data":{"event_type":"message.finalized","payload":{"id":"834f","errors":[{"code":40001}],"to":[{"status":"sending_failed"}]}}}`:                                                                                                                                                                                                                                                                                                       lost("834f", verify.ReasonInvalidNumber),
			`{"data":{"event_type":"message.sent","payload":{"id":"834f","errors":[],"to":[{"status":"sent"}]}}}`:                                                                                                                                                                                                                                                                                                                                    nil,
			`{"data":{"event_type":"message.finalized","payload":{"id":"834f","to":[{"status":"delivery_unconfirmed"}]}}}`:                                                                                                                                                                                                                                                                                                                           nil,
		},
	},
	"plivo": {
		host:   "api.plivo.com",
		path:   "/v1/Account/AC0123/Message/",
		header: http.Header{"Content-Type": {jsonType}, "Authorization": {basic("AC0123", testSecret)}},
		body:   `{"src":"12025550199","dst":"12025550100","text":` + quoted + `,"message_expiry":600,"url":"` + callbackOf("") + `","method":"POST"}`,
		answers: []exchanged{
			accepted(202, `{"message":"message(s) queued","message_uuid":["db3ce55a-7f1d-11e1-8ea7-1231380bc196"],"api_id":"db342550-7f1d-11e1-8ea7-1231380bc196"}`, "db3ce55a-7f1d-11e1-8ea7-1231380bc196"),
			failed(400, `{"api_id":"97ceeb52","error":"invalid dst parameter 12025550100"}`, refused(verify.ReasonRefused)),
			failed(401, `Could not verify your access level for that URL.`, misconfigured), failed(429, ``, throttled),
		},
		reports: map[string]*carrier.Receipt{
			"From=1&MCC=310&MNC=260&MessageUUID=db3c&Status=delivered&To=12025550100&Units=1": arrived("db3c"),
			"MessageUUID=db3c&Status=undelivered&ErrorCode=80":                                lost("db3c", verify.ReasonUnreachable),
			"MessageUUID=db3c&Status=failed&ErrorCode=50":                                     lost("db3c", verify.ReasonInvalidNumber),
			"MessageUUID=db3c&Status=rejected&ErrorCode=1000":                                 lost("db3c", verify.ReasonUnknown),
			"MessageUUID=db3c&Status=sent":                                                    nil,
		},
	},
	"sinch": {
		path:   "/xms/v1/AC0123/batches",
		header: http.Header{"Content-Type": {jsonType}, "Authorization": {"Bearer " + testSecret}},
		body: `{"from":"12025550199","to":["12025550100"],"body":` + quoted + `,"expire_at":"2026-05-04T12:10:00.000Z","client_reference":"` + testToken +
			`","delivery_report":"per_recipient_final","callback_url":"` + callbackOf("/"+testKey) + `"}`,
		answers: []exchanged{
			accepted(201, `{"id":"01FC66621XXXXX119Z8PMV1QPQ","to":["12025550100"],"from":"12025550199","canceled":false,"type":"mt_text"}`, "01FC66621XXXXX119Z8PMV1QPQ"),
			failed(400, `{"code":"syntax_constraint_violation","text":"..."}`, refused(verify.ReasonRefused)),
			failed(401, ``, misconfigured), failed(403, `{"code":"forbidden"}`, misconfigured), failed(500, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"at":"2022-08-30T08:16:08.930Z","batch_id":"01FC","code":0,"operator_status_at":"2022-08-30T08:16:08.150Z","recipient":"+44231235674","status":"Delivered","type":"recipient_delivery_report_sms"}`: arrived("01FC"),
			`{"batch_id":"01FC","code":404,"recipient":"4423","status":"Failed"}`: lost("01FC", verify.ReasonUnreachable),
			`{"batch_id":"01FC","code":406,"status":"Expired"}`:                   lost("01FC", verify.ReasonExpired),
			`{"batch_id":"01FC","code":34,"status":"Rejected"}`:                   lost("01FC", verify.ReasonBlocked),
			`{"batch_id":"01FC","code":401,"status":"Dispatched"}`:                nil,
		},
	},
	"infobip": {
		path:   "/sms/3/messages",
		header: http.Header{"Content-Type": {jsonType}, "Accept": {jsonType}, "Authorization": {"App " + testSecret}},
		body: `{"messages":[{"sender":"12025550199","destinations":[{"to":"12025550100"}],"content":{"text":` + quoted + "},\n" +
			` "options":{"validityPeriod":{"amount":600,"timeUnit":"SECONDS"}},"webhooks":{"delivery":{"url":"` + callbackOf("/"+testKey) +
			`","intermediateReport":false},"contentType":"application/json","callbackData":"` + testToken + `"}}]}`,
		answers: []exchanged{
			accepted(200, `{"bulkId":"b86c","messages":[{"messageId":"36397015-149a","status":{"groupId":1,"groupName":"PENDING","id":26,"name":"PENDING_ACCEPTED","description":"Message accepted, pending for delivery."},"destination":"12025550100"}]}`, "36397015-149a"),
			failed(200, `{"messages":[{"messageId":"3639","status":{"groupId":5,"groupName":"REJECTED","id":12,"name":"REJECTED_NOT_ENOUGH_CREDITS"}}]}`, noCredit),
			failed(200, `{"messages":[{"messageId":"3639","status":{"groupId":5,"groupName":"REJECTED","id":52,"name":"REJECTED_DESTINATION"}}]}`, refused(verify.ReasonInvalidNumber)),
			failed(200, `{"messages":[{"messageId":"3639","status":{"groupId":5,"groupName":"REJECTED","id":99,"name":"REJECTED_SOMETHING"}}]}`, refused(verify.ReasonRefused)),
			failed(200, `{}`, unknown),
			failed(401, `{"requestError":{"serviceException":{"messageId":"UNAUTHORIZED","text":"Invalid login details"}}}`, misconfigured),
			failed(400, `{"requestError":{"serviceException":{"messageId":"BAD_REQUEST"}}}`, refused(verify.ReasonRefused)),
		},
		reports: map[string]*carrier.Receipt{
			`{"results":[{"bulkId":"BULK","messageId":"MESSAGE-ID-123-xyz","to":"41793026727","sentAt":"2019-11-09T16:00:00.000+0000","status":{"groupId":3,"groupName":"DELIVERED","id":5,"name":"DELIVERED_TO_HANDSET"},"error":{"groupId":0,"groupName":"Ok","id":0,"name":"NO_ERROR","permanent":false}}]}`: arrived("MESSAGE-ID-123-xyz"),
			`{"results":[{"messageId":"M","status":{"groupName":"UNDELIVERABLE"},"error":{"name":"EC_ABSENT_SUBSCRIBER"}}]}`: lost("M", verify.ReasonUnreachable),
			`{"results":[{"messageId":"M","status":{"groupName":"EXPIRED"},"error":{"name":"EC_UNKNOWN_ERROR"}}]}`:           lost("M", verify.ReasonExpired),
			`{"results":[{"messageId":"M","status":{"groupName":"PENDING"}}]}`:                                               nil,
			`{"results":[]}`: nil, `{"results":{}}`: nil, `[]`: nil, `"x"`: nil,
		},
	},
	"messagebird": {
		host:   "rest.messagebird.com",
		path:   "/messages",
		header: http.Header{"Content-Type": {jsonType}, "Accept": {jsonType}, "Authorization": {"AccessKey " + testSecret}},
		body: `{"originator":"12025550199","recipients":["12025550100"],"body":` + quoted + `,"datacoding":"auto","validity":600,"reference":"` + testToken +
			`","reportUrl":"` + callbackOf("/"+testKey) + `"}`,
		answers: []exchanged{
			accepted(201, `{"id":"49e40bae0b374f1ca5e3d04d46edc7c1","href":"https://rest.messagebird.com/messages/49e4","direction":"mt","recipients":{"totalCount":1,"items":[{"recipient":12025550100,"status":"sent"}]}}`, "49e40bae0b374f1ca5e3d04d46edc7c1"),
			failed(401, `{"errors":[{"code":2,"description":"Request not allowed (incorrect access_key)","parameter":"access_key"}]}`, misconfigured),
			failed(402, `{"errors":[{"code":25,"description":"Not enough balance"}]}`, noCredit),
			failed(422, `{"errors":[{"code":10,"description":"originator is invalid"}]}`, refused(verify.ReasonRefused)), failed(500, `{"errors":[{"code":99}]}`, later),
		},
		query: true,
		reports: map[string]*carrier.Receipt{
			"id=49e4&reference=" + testToken + "&recipient=12025550100&status=delivered&statusDatetime=2017-09-01T10%3A00%3A05%2B00%3A00": arrived("49e4"),
			"id=49e4&status=delivery_failed&statusReason=unknown+subscriber&statusErrorCode=1":                                            lost("49e4", verify.ReasonInvalidNumber),
			"id=49e4&status=expired":  lost("49e4", verify.ReasonExpired),
			"id=49e4&status=buffered": nil,
		},
	},
	"bird-channels": {
		host:   "api.bird.com",
		path:   "/workspaces/AC0123/channels/a-channel/messages",
		header: http.Header{"Content-Type": {jsonType}, "Accept": {jsonType}, "Authorization": {"AccessKey " + testSecret}},
		body: `{"receiver":{"contacts":[{"identifierKey":"phonenumber","identifierValue":"+12025550100"}]},` + "\n" +
			` "body":{"type":"text","text":{"text":` + quoted + `}},"reference":"` + testToken + `"}`,
		answers: []exchanged{
			accepted(202, `{"id":"b3b1a0e5","channelId":"a-channel","status":"accepted","direction":"outgoing"}`, "b3b1a0e5"),
			failed(401, `{"code":"Unauthorized"}`, misconfigured), failed(422, `{"code":"InvalidPayload"}`, refused(verify.ReasonRefused)),
		},
		reports: map[string]*carrier.Receipt{
			`{"service":"channels","event":"sms.outbound","payload":{"id":"b3b1","status":"delivered","reference":"` + testToken + `"}}`:                                     arrived("b3b1"),
			`{"event":"sms.outbound","payload":{"id":"b3b1","status":"delivery_failed","details":"received_network_error","failure":{"code":15001,"source":{"code":"34"}}}}`: lost("b3b1", verify.ReasonNetwork),
			`{"event":"sms.outbound","payload":{"id":"b3b1","status":"sent"}}`:                                                                                               nil,
		},
	},
	"africastalking": {
		host:   "api.africastalking.com",
		path:   "/version1/messaging",
		header: http.Header{"Content-Type": {formType}, "Accept": {jsonType}, "Apikey": {testSecret}},
		body:   "username=AC0123&to=%2B12025550100&message=" + escaped,
		answers: []exchanged{
			accepted(201, `{"SMSMessageData":{"Message":"Sent to 1/1 Total Cost: KES 0.8000","Recipients":[{"statusCode":101,"number":"+254711XXXYYY","status":"Success","cost":"KES 0.8000","messageId":"ATPid_SampleTxnId123"}]}}`, "ATPid_SampleTxnId123"),
			failed(201, `{"SMSMessageData":{"Recipients":[{"statusCode":403,"status":"InvalidPhoneNumber","messageId":"None"}]}}`, refused(verify.ReasonInvalidNumber)),
			failed(201, `{"SMSMessageData":{"Recipients":[{"statusCode":405,"status":"InsufficientBalance"}]}}`, noCredit),
			failed(201, `{"SMSMessageData":{"Recipients":[{"statusCode":406,"status":"UserInBlacklist"}]}}`, refused(verify.ReasonBlocked)),
			failed(201, `{"SMSMessageData":{"Recipients":[{"statusCode":501,"status":"GatewayError"}]}}`, decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonNetwork}),
			failed(201, `{"SMSMessageData":{"Recipients":[{"statusCode":502,"status":"RejectedByGateway"}]}}`, refused(verify.ReasonRefused)),
			failed(201, `{"SMSMessageData":{"Message":"InvalidSenderId","Recipients":[]}}`, refused(verify.ReasonInvalidSender)),
			failed(201, `{}`, unknown), failed(401, `The supplied authentication is invalid`, misconfigured),
		},
		reports: map[string]*carrier.Receipt{
			"id=ATXid_1&status=Success&phoneNumber=%2B254711XXXYYY&networkCode=63902&retryCount=0": arrived("ATXid_1"),
			"id=ATXid_1&status=Failed&failureReason=UserDoesNotExist":                              lost("ATXid_1", verify.ReasonInvalidNumber),
			"id=ATXid_1&status=Rejected&failureReason=UserInBlackList":                             lost("ATXid_1", verify.ReasonBlocked),
			"id=ATXid_1&status=Failed&failureReason=DeliveryFailure":                               lost("ATXid_1", verify.ReasonUnknown),
			"id=ATXid_1&status=Buffered":                                                           nil,
		},
	},
	"aws": {
		path:   "/",
		header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {"PinpointSMSVoiceV2.SendTextMessage"}, "X-Amz-Date": {"20260504T120000Z"}},
		body: `{"DestinationPhoneNumber":"+12025550100","OriginationIdentity":"+12025550199","MessageBody":` + quoted + `,"MessageType":"TRANSACTIONAL",` + "\n" +
			` "TimeToLive":600,"Context":{"countersign":"` + testToken + `"}}`,
		answers: []exchanged{
			accepted(200, `{"MessageId":"ed23196c-75ce-4727-93ee-7bf72b64998f"}`, "ed23196c-75ce-4727-93ee-7bf72b64998f"),
			failed(400, `{"__type":"ConflictException","Message":"...","Reason":"DESTINATION_PHONE_NUMBER_OPTED_OUT"}`, refused(verify.ReasonBlocked)),
			failed(400, `{"__type":"ResourceNotFoundException","ResourceType":"phone-number","ResourceId":"+12025550199"}`, refused(verify.ReasonInvalidSender)),
			failed(400, `{"__type":"com.amazonaws.pinpointsmsvoicev2#ThrottlingException","Message":"Rate exceeded"}`, throttled),
			failed(400, `{"__type":"ServiceQuotaExceededException","Reason":"MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT"}`, noCredit),
			failed(400, `{"__type":"AccessDeniedException","Reason":"ACCOUNT_DISABLED"}`, misconfigured),
			failed(400, `{"__type":"com.amazon.coral.service#UnrecognizedClientException"}`, misconfigured),
			failed(400, `{"__type":"ValidationException","Reason":"INVALID_PARAMETER"}`, refused(verify.ReasonRefused)),
			failed(400, `{"__type":"InternalServerException"}`, later), failed(500, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"version":"0","id":"1522","detail-type":"Text Message Delivery Status Updated","source":"aws.sms-voice","account":"123456789123","region":"eu-west-2","detail":{"eventType":"TEXT_DELIVERED","eventVersion":"1.0","isFinal":true,"messageId":"9539975a","messageStatus":"DELIVERED","context":{"countersign":"` + testToken + `"}}}`: arrived("9539975a"),
			`{"detail":{"eventType":"TEXT_SUCCESSFUL","isFinal":true,"messageId":"9539"}}`: arrived("9539"),
			`{"detail":{"eventType":"TEXT_CARRIER_BLOCKED","messageId":"9539"}}`:           lost("9539", verify.ReasonBlocked),
			`{"detail":{"eventType":"TEXT_TTL_EXPIRED","messageId":"9539"}}`:               lost("9539", verify.ReasonExpired),
			`{"detail":{"eventType":"TEXT_PENDING","messageId":"9539"}}`:                   nil,
		},
	},
}

const spoken = `<Say language="en-US">Your &#34;code&#34; &amp; more: 4, 9, 3, 8, 1, 7</Say>`

func init() {
	form := "To=%2B12025550100&From=%2B12025550199&Twiml=" + url.QueryEscape(`<Response>`+spoken+`<Pause length="1"/>`+spoken+`</Response>`) +
		"&Timeout=30&StatusCallback=" + url.QueryEscape(callbackOf(""))
	stories["twilio-voice"] = story{
		host:   "api.twilio.com",
		path:   "/2010-04-01/Accounts/AC0123/Calls.json",
		header: http.Header{"Content-Type": {formType}, "Authorization": {basic("AC0123", testSecret)}},
		body:   form,
		answers: []exchanged{
			accepted(201, `{"sid":"CA0123","status":"queued"}`, "CA0123"),
			failed(400, `{"code":21214,"status":400}`, refused(verify.ReasonInvalidNumber)),
			failed(400, `{"code":21215,"message":"Account not authorized to call +12025550100","status":400}`, refused(verify.ReasonBlocked)),
			failed(400, `{"code":21210,"status":400}`, refused(verify.ReasonInvalidSender)),
			failed(401, `{"code":20003,"status":401}`, misconfigured), failed(503, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			"CallSid=CA1&CallStatus=completed&CallDuration=17&To=%2B12025550100&From=%2B12025550199&SipResponseCode=200": arrived("CA1"),
			"CallSid=CA1&CallStatus=no-answer":                  lost("CA1", verify.ReasonNoAnswer),
			"CallSid=CA1&CallStatus=busy&SipResponseCode=486":   lost("CA1", verify.ReasonBusy),
			"CallSid=CA1&CallStatus=failed&SipResponseCode=404": lost("CA1", verify.ReasonInvalidNumber),
			"CallSid=CA1&CallStatus=failed":                     lost("CA1", verify.ReasonUnknown),
			"CallSid=CA1&CallStatus=failed&SipResponseCode=603": lost("CA1", verify.ReasonDeclined),
			"CallSid=CA1&CallStatus=ringing":                    nil,
		},
	}
	stories["signalwire-voice"] = story{
		path:   "/api/laml/2010-04-01/Accounts/AC0123/Calls.json",
		header: http.Header{"Content-Type": {formType}, "Authorization": {basic("AC0123", testSecret)}},
		body:   form,
		answers: []exchanged{
			accepted(201, `{"sid":"b1d6b3a5","status":"queued"}`, "b1d6b3a5"),
			failed(422, `{"code":"21219","status":422}`, refused(verify.ReasonInvalidSender)), failed(401, ``, misconfigured),
		},
		reports: map[string]*carrier.Receipt{
			"CallSid=b1d6&CallStatus=completed":                arrived("b1d6"),
			"CallSid=b1d6&CallStatus=no-answer":                lost("b1d6", verify.ReasonNoAnswer),
			"CallSid=b1d6&CallStatus=failed&SipResultCode=404": lost("b1d6", verify.ReasonInvalidNumber),
			"CallSid=b1d6&CallStatus=initiated":                nil,
		},
	}
	stories["vonage-voice"] = story{
		host:   "api.nexmo.com",
		path:   "/v1/calls",
		header: http.Header{"Content-Type": {jsonType}, "Accept": {jsonType}},
		body: `{"to":[{"type":"phone","number":"12025550100"}],"from":{"type":"phone","number":"12025550199"},` + "\n" +
			` "ncco":[{"action":"talk","text":"\u003cspeak\u003eYour \u0026#34;code\u0026#34; \u0026amp; more: 4, 9, 3, 8, 1, 7\u003c/speak\u003e","language":"en-US","loop":2}],"ringing_timer":30,"event_url":["` + callbackOf("") + `"],"event_method":"POST"}`,
		answers: []exchanged{
			accepted(201, `{"uuid":"63f61863-4a51-4f6b-86e1-46edebcf9356","status":"started","direction":"outbound","conversation_uuid":"CON-f972836a"}`, "63f61863-4a51-4f6b-86e1-46edebcf9356"),
			failed(400, `{"error_title":"Bad Request"}`, refused(verify.ReasonRefused)), failed(401, `{}`, misconfigured), failed(429, ``, throttled),
		},
		reports: map[string]*carrier.Receipt{
			`{"from":"447700900000","to":"447700900001","uuid":"63f6","conversation_uuid":"CON-f972","status":"answered","direction":"outbound","timestamp":"2020-01-01T12:00:00.000Z"}`: arrived("63f6"),
			`{"uuid":"63f6","status":"completed","duration":"2"}`: arrived("63f6"),
			`{"uuid":"63f6","status":"unanswered"}`:               lost("63f6", verify.ReasonNoAnswer),
			`{"uuid":"63f6","status":"rejected"}`:                 lost("63f6", verify.ReasonDeclined),
			`{"uuid":"63f6","status":"ringing"}`:                  nil,
		},
	}
}

func init() {
	said := strings.ReplaceAll(spoken, "<Say ", `<Say voice="alice" `)
	texml, _ := json.Marshal(`<Response>` + said + `<Pause length="1"/>` + said + `</Response>`)
	stories["telnyx-voice"] = story{
		host:   "api.telnyx.com",
		path:   "/v2/texml/Accounts/AC0123/Calls",
		header: http.Header{"Content-Type": {jsonType}, "Accept": {jsonType}, "Authorization": {"Bearer " + testSecret}},
		body: `{"ApplicationSid":"1494","To":"+12025550100","From":"+12025550199","Texml":` + string(texml) + `,"Timeout":30,"StatusCallback":"` +
			callbackOf("") + `","StatusCallbackMethod":"POST"}`,
		answers: []exchanged{
			accepted(200, `{"from":"+12025550199","to":"+12025550100","status":"queued"}`, ""),
			accepted(200, `{"call_sid":"v3:9X2vxPDFY2RHSJ1EdMS0RHRksMTg7ldNxdjWbVr9zBjbGjGsSe-aiQ","status":"queued"}`, "v3:9X2vxPDFY2RHSJ1EdMS0RHRksMTg7ldNxdjWbVr9zBjbGjGsSe-aiQ"),
			failed(422, `{"errors":[{"code":"10002","title":"Invalid phone number"}]}`, refused(verify.ReasonInvalidNumber)),
			failed(403, `{"errors":[{"code":"10010","title":"Authorization failed"}]}`, misconfigured), failed(401, `{}`, misconfigured),
			failed(402, `{"errors":[{"code":"20100"}]}`, noCredit), failed(429, `{"errors":[{"code":"10011"}]}`, throttled), failed(503, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			"AccountSid=f558&CallDuration=45&CallSid=v3%3A9X&CallSidLegacy=v3%3A9X&CallStatus=completed&CallbackSource=call-progress-events&From=%2B12025550199&HangupCause=normal_clearing&HangupSource=callee&SequenceNumber=3&Timestamp=2024-01-15T10%3A30%3A00Z&To=%2B12025550100": arrived("v3:9X"),
			"CallSid=v3%3A9X&CallStatus=busy&HangupCause=user_busy":       lost("v3:9X", verify.ReasonBusy),
			"CallSid=v3%3A9X&CallStatus=no-answer":                        lost("v3:9X", verify.ReasonNoAnswer),
			"CallSid=v3%3A9X&CallStatus=busy&HangupCause=call_rejected":   lost("v3:9X", verify.ReasonDeclined),
			"CallSid=v3%3A9X&CallStatus=failed&HangupCause=not_found":     lost("v3:9X", verify.ReasonInvalidNumber),
			"CallSid=v3%3A9X&CallStatus=failed&HangupCause=unspecified":   lost("v3:9X", verify.ReasonUnknown),
			"CallSid=v3%3A9X&CallStatus=in-progress&CallbackSource=other": nil,
		},
	}
	stories["plivo-voice"] = story{
		host:   "api.plivo.com",
		path:   "/v1/Account/AC0123/Call/",
		header: http.Header{"Content-Type": {jsonType}, "Authorization": {basic("AC0123", testSecret)}},
		body: `{"from":"12025550199","to":"12025550100","answer_url":"` + answerOf("") + `","answer_method":"POST",` + "\n" +
			` "hangup_url":"` + callbackOf("") + `","hangup_method":"POST","hangup_on_ring":30,"time_limit":120}`,
		answers: []exchanged{
			accepted(201, `{"message":"call fired","request_uuid":"9834029e-58b6-11e1-b8b7-a5bd0e4e126f","api_id":"97ceeb52-58b6-11e1-86da-77300b68f8bb"}`, "9834029e-58b6-11e1-b8b7-a5bd0e4e126f"),
			failed(400, `{"error":"to parameter not valid"}`, refused(verify.ReasonRefused)), failed(401, ``, misconfigured), failed(429, ``, throttled), failed(503, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			"ALegRequestUUID=9834&ALegUUID=a&BillDuration=60&CallStatus=completed&CallUUID=a&Direction=outbound&Duration=17&Event=Hangup&From=12025550199&HangupCause=NORMAL_CLEARING&HangupCauseCode=4010&HangupSource=Plivo&To=12025550100": arrived("9834"),
			"ALegRequestUUID=9834&CallStatus=busy&HangupCause=USER_BUSY":      lost("9834", verify.ReasonBusy),
			"ALegRequestUUID=9834&CallStatus=no-answer&HangupCause=NO_ANSWER": lost("9834", verify.ReasonNoAnswer),
			"ALegRequestUUID=9834&CallStatus=timeout":                         lost("9834", verify.ReasonNoAnswer),
			"ALegRequestUUID=9834&CallStatus=failed&HangupCauseCode=2000":     lost("9834", verify.ReasonInvalidNumber),
			"ALegRequestUUID=9834&CallStatus=failed&HangupCauseCode=1010":     lost("9834", verify.ReasonNoCredit),
			"ALegRequestUUID=9834&CallStatus=cancel":                          lost("9834", verify.ReasonUnknown),
			"ALegRequestUUID=9834&CallStatus=ringing&Event=Ring":              nil,
		},
	}
}

func answerOf(path string) string {
	return strings.Replace(callbackOf(path), "/status", "/answer", 1)
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestEveryPresetHasItsStory(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(Presets(), sortedKeys(stories)); diff != "" {
		t.Errorf("presets and stories (-presets +stories):\n%s", diff)
	}
}

func TestPresetsSendWhatTheirProvidersExpect(t *testing.T) {
	t.Parallel()
	for name, s := range stories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, got := providerServer(t, answer(s.answers[0].status, s.answers[0].body))
			c := configOf(t, name, server)
			if r, err := carrierOf(t, c).Send(t.Context(), messageFor(c)); err != nil || r.Ref != s.answers[0].ref {
				t.Fatalf("got %q, %v, want %q", r.Ref, err, s.answers[0].ref)
			}
			r := got.all()[0]
			if r.Method != "POST" || r.URL.RequestURI() != s.path {
				t.Errorf("got  %s %s\nwant POST %s", r.Method, r.URL.RequestURI(), s.path)
			}
			if diff := cmp.Diff(s.body, r.body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			s.header.Set("User-Agent", "Countersign")
			for _, of := range []string{"Content-Length", "Accept-Encoding"} {
				r.Header.Del(of)
			}
			switch c.Spec.Auth.Kind { // these have tests of their own
			case "aws", "jwt", "hmac":
				want := map[string]string{"hmac": "HMAC-SHA256 ", "aws": "AWS4-HMAC-SHA256 Credential=AC0123/20260504/eu-west-1/sms-voice/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=", "jwt": "Bearer "}[c.Spec.Auth.Kind]
				if got := r.Header.Get("Authorization"); !strings.HasPrefix(got, want) {
					t.Errorf("got %s, want %s…", got, want)
				}
				r.Header.Del("Authorization")
				r.Header.Del("X-Ms-Content-Sha256") // see TestASignatureOfACanonicalText
			}
			if diff := cmp.Diff(s.header, r.Header); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPresetsUnderstandTheirProvidersAnswers(t *testing.T) {
	t.Parallel()
	for name, s := range stories {
		for _, e := range s.answers {
			t.Run(name+" "+e.body, func(t *testing.T) {
				t.Parallel()
				server, _ := providerServer(t, answer(e.status, e.body))
				c := configOf(t, name, server)
				r, err := carrierOf(t, c).Send(t.Context(), messageFor(c))
				switch {
				case e.want != nil:
					wantError(t, err, *e.want)
				case err != nil || r.Ref != e.ref:
					t.Errorf("got %q, %v, want %q", r.Ref, err, e.ref)
				}
			})
		}
	}
}

func TestPresetsGoToTheirProviders(t *testing.T) {
	t.Parallel()
	hosts := map[string]string{"signalwire": "space.signalwire.com", "signalwire-voice": "space.signalwire.com", "infobip": "x.api.infobip.com", "sinch": "eu.sms.api.sinch.com", "aws": "sms-voice.eu-west-1.amazonaws.com",
		"azure": "contoso.communication.azure.com", "linkmobility": "n-eu.linkmobility.io", "infobip-voice": "x.api.infobip.com", "sinch-voice": "calling-euc1.api.sinch.com"}
	for name, s := range stories {
		c := configOf(t, name, nil)
		c.Host = ""
		switch name {
		case "signalwire", "signalwire-voice", "infobip", "infobip-voice", "azure", "linkmobility": // nothing goes without one
			if _, err := New(c); err == nil {
				t.Errorf("%s: got no error without a host", name)
			}
			c.Host = hosts[name]
		case "sinch":
			c.Region = "eu"
		case "sinch-voice":
			c.Region = "euc1"
		}
		way := carrierOf(t, c)
		r, err := way.templates.render(way.Spec, way.fields(message()))
		if err != nil {
			t.Fatal(err)
		}
		want := "https://" + s.host + hosts[name] + s.path
		if r.url != want {
			t.Errorf("%s: got %s, want %s", name, r.url, want)
		}
	}
}

// A name as the sender, a messaging service, a text beyond GSM, no callbacks: where the request differs.
func TestPresetsKnowTheirProvidersCases(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		preset, want, not string
		change            func(*Config, *verify.Message)
	}{
		{"twilio", "MessagingServiceSid=MG1", "From=", func(c *Config, _ *verify.Message) { c.Profile = "MG1" }},
		{"twilio", "ValidityPeriod=14400", "", func(_ *Config, m *verify.Message) { m.ExpiresAt = testNow.AddDate(0, 0, 7) }},
		{"twilio", "ValidityPeriod=1&", "", func(_ *Config, m *verify.Message) { m.ExpiresAt = testNow.Add(-1) }},
		{"twilio", "Body=", "StatusCallback", func(c *Config, _ *verify.Message) { c.Public = "" }},
		{"signalwire", "Body=", "StatusCallback", func(c *Config, _ *verify.Message) { c.CallbackSecret = "" }},
		{"vonage", "type=unicode", "type=text", func(_ *Config, m *verify.Message) { m.Body = "Код 4938" }},
		{"vonage", "from=Shop+1&", "", func(_ *Config, m *verify.Message) { m.From = "Shop 1" }},
		{"vonage-messages", `"ttl":20`, "webhook_url", func(c *Config, m *verify.Message) { c.Public, m.ExpiresAt = "", testNow }},
		{"telnyx", `"messaging_profile_id":"p-1"`, "", func(c *Config, _ *verify.Message) { c.Profile = "p-1" }},
		{"twilio-voice", "language%3D%22de-DE%22%3E", "en-US", func(c *Config, _ *verify.Message) { c.Profile = "de-DE" }},
		{"twilio-voice", "%3CSay", "StatusCallback", func(c *Config, _ *verify.Message) { c.Public = "" }},
		{"vonage-voice", `"language":"de-DE"`, "event_url", func(c *Config, _ *verify.Message) { c.Profile, c.Public = "de-DE", "" }},
		{"africastalking", "&from=Shop", "", func(_ *Config, m *verify.Message) { m.From = "Shop" }},
		{"aws", `"ConfigurationSetName":"set"`, "", func(c *Config, _ *verify.Message) { c.Profile = "set" }},
		{"aws", `"TimeToLive":5,`, "", func(_ *Config, m *verify.Message) { m.ExpiresAt = testNow.Add(1) }},
		{"plivo", `"message_expiry":10799`, "", func(_ *Config, m *verify.Message) { m.ExpiresAt = testNow.AddDate(0, 0, 7) }},
		{"plivo", `"message_expiry":5`, "", func(_ *Config, m *verify.Message) { m.ExpiresAt = testNow }},
		{"solapi", `"to":"01012345678","country":"82"`, "", func(_ *Config, m *verify.Message) { m.To = "+821012345678" }},
		{"gatewayapi", `"encoding":"UCS2"`, "", func(_ *Config, m *verify.Message) { m.Body = "Код 4938" }},
		{"telesign", "message_type=OTP&external_id", "sender_id", func(_ *Config, m *verify.Message) { m.From = "" }},
		{"bulksms", `"type":"ALPHANUMERIC","address":"Shop"`, "", func(_ *Config, m *verify.Message) { m.From = "Shop" }},
		{"bulksms", `"type":"SHORTCODE","address":"2333"`, "", func(_ *Config, m *verify.Message) { m.From = "2333" }},
		{"bulksms", `"encoding":"UNICODE"`, "", func(_ *Config, m *verify.Message) { m.Body = "Код 4938" }},
		{"linkmobility", `"source":"Shop","sourceTON":"ALPHANUMERIC"`, "", func(_ *Config, m *verify.Message) { m.From = "Shop" }},
		{"linkmobility", `"source":"2333","sourceTON":"SHORTNUMBER"`, "", func(_ *Config, m *verify.Message) { m.From = "2333" }},
		{"linkmobility", `"useDeliveryReport":false`, "Gates", func(c *Config, _ *verify.Message) { c.Public = "" }},
		{"linkmobility", `"useDeliveryReport":false`, "Gates", func(c *Config, _ *verify.Message) { c.Profile = "" }},
		{"linkmobility", `"relativeValidityTime":60000,`, "", func(_ *Config, m *verify.Message) { m.ExpiresAt = testNow.Add(1) }},
		{"linkmobility", `"relativeValidityTime":172800000,`, "", func(_ *Config, m *verify.Message) { m.ExpiresAt = testNow.AddDate(0, 0, 7) }},
		{"zenvia", `"from":"user-id"`, "", func(c *Config, _ *verify.Message) { c.Profile = "user-id" }},
		{"sinch", `"expire_at":"2026-05-07T12:00:00.000Z"`, "", func(_ *Config, m *verify.Message) { m.ExpiresAt = testNow.AddDate(0, 0, 7) }},
	} {
		c, m := configOf(t, tt.preset, nil), message()
		tt.change(&c, &m)
		way := carrierOf(t, c)
		r, err := way.templates.render(way.Spec, way.fields(m))
		if err != nil || !strings.Contains(string(r.body), tt.want) || tt.not != "" && strings.Contains(string(r.body), tt.not) {
			t.Errorf("%s: got %s, %v, want %s and no %s", tt.preset, r.body, err, tt.want, tt.not)
		}
	}
}

// A caller's text is spoken as it is: no preset lets it tell the provider's voice anything.
func TestATextIsNoMarkup(t *testing.T) {
	t.Parallel()
	const markup = `<speak><audio src="https://evil.example/a.mp3"/></speak></Say></Speak><Dial>+4490012345</Dial>&amp;`
	for name := range stories {
		p, _ := PresetNamed(name)
		if p.Channel != string(verify.ChannelVoice) {
			continue
		}
		m := message()
		m.Body = markup
		way := carrierOf(t, configOf(t, name, nil))
		r, err := way.templates.render(way.Spec, way.fields(m))
		if err != nil {
			t.Fatal(err)
		}
		said := string(r.body)
		if way.Spec.Answer.Body != "" {
			answer, err := way.templates.say(way.fields(m))
			if err != nil {
				t.Fatal(err)
			}
			said = string(answer)
		}
		if name == "sinch-voice" { // it isn't XML
			if strings.ContainsAny(said, "<>[]") || !strings.Contains(said, "evil.example") {
				t.Errorf("%s: says %s", name, said)
			}
			continue
		}
		if form, err := url.ParseQuery(said); err == nil && form.Has("Twiml") {
			said = form.Get("Twiml")
		} else if doc := parse([]byte(said)); doc != nil {
			for _, text := range texts(doc) {
				if strings.Contains(text, "evil.example") {
					said = text
				}
			}
		}
		var heard []string
		d := xml.NewDecoder(strings.NewReader(said))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: says %s, which isn't XML: %v", name, said, err)
			}
			switch token := token.(type) {
			case xml.StartElement:
				if n := token.Name.Local; n == "audio" || n == "Dial" {
					t.Errorf("%s: the text's <%s> is the provider's to obey: %s", name, n, said)
				}
			case xml.CharData:
				heard = append(heard, string(token))
			}
		}
		if !strings.Contains(strings.Join(heard, "|"), `src="https://evil.example/a.mp3"/></speak></Say>`) {
			t.Errorf("%s: isn't heard whole: %q", name, heard)
		}
	}
}

func TestAnAPIKeySignsForItsAccount(t *testing.T) {
	t.Parallel()
	server, got := providerServer(t, answer(201, `{"sid":"SM1"}`))
	c := configOf(t, "twilio", server)
	c.User = "SK1"
	if _, err := carrierOf(t, c).Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if r := got.all()[0]; r.Header.Get("Authorization") != basic("SK1", testSecret) || !strings.Contains(r.URL.Path, "AC0123") {
		t.Errorf("got %s %v", r.URL, r.Header)
	}
}

// Every code of a preset means one thing.
func TestReasonsOfPresetsDoNotContradict(t *testing.T) {
	t.Parallel()
	for _, name := range Presets() {
		p, _ := PresetNamed(name)
		var seen []string
		for _, r := range p.Callback.Reasons {
			for _, code := range r.Codes {
				if slices.Contains(seen, code) {
					t.Errorf("%s: %s has two reasons", name, code)
				}
				seen = append(seen, code)
			}
		}
	}
}
