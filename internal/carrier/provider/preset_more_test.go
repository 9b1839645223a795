package provider

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// More presets: the exchanges are those of the sources that preset/*.yaml name.
func init() {
	jsonOnly := func(more ...string) http.Header {
		h := http.Header{"Content-Type": {jsonType}}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = []string{more[i+1]}
		}
		return h
	}
	form := func(more ...string) http.Header {
		h := jsonOnly(more...)
		h.Set("Content-Type", formType)
		return h
	}
	const withCallback = testPublic + "/carriers/way/status/" + testKey + "?m=" + testToken
	stories["bird"] = story{
		host:   "eu1.platform.bird.com",
		path:   "/v1/sms/messages",
		header: jsonOnly("Accept", jsonType, "Idempotency-Key", "019a5c1d-b54f-7eb3-919b-2585f8217933", "Authorization", "Bearer bk_eu1_"+testSecret),
		body:   `{"to":"+12025550100","from":"+12025550199","text":` + quoted + `,"category":"authentication","metadata":{"countersign":"` + testToken + `"}}`,
		answers: []exchanged{
			accepted(202, `{"id":"sms_01kwy5","status":"accepted","to":"+12025550100","segments":{"count":1}}`, "sms_01kwy5"),
			failed(422, `{"error":{"type":"validation_error","code":"E12011","name":"SMSNoEligibleSender","message":"…"}}`, refused(verify.ReasonInvalidSender)),
			failed(422, `{"error":{"type":"validation_error","code":"E12020","name":"SMSDestinationNotEnabled"}}`, misconfigured),
			failed(402, `{"error":{"type":"billing_error","code":"E03001"}}`, noCredit), failed(401, `{"error":{"type":"auth_error"}}`, misconfigured),
			failed(409, `{"error":{"type":"conflict_error"}}`, unknown), failed(422, `{"error":{"type":"validation_error","details":[{"param":"to"}]}}`, refused(verify.ReasonRefused)),
			failed(429, `{"error":{"type":"rate_limit_error"}}`, throttled), failed(503, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"type":"sms.delivered","timestamp":"2026-05-04T12:00:00Z","data":{"sms_id":"sms_01","metadata":{"countersign":"` + testToken + `"},"to":"+12025550100"}}`: arrived("sms_01"),
			`{"type":"sms.failed","data":{"sms_id":"sms_01","metadata":{"countersign":"` + testToken + `"},"error":{"code":"landline_unreachable"}}}`:                   lost("sms_01", verify.ReasonInvalidNumber),
			`{"type":"sms.rejected","data":{"sms_id":"sms_01","metadata":{"countersign":"` + testToken + `"},"error":{"code":"insufficient_balance"}}}`:                 lost("sms_01", verify.ReasonNoCredit),
			`{"type":"sms.undelivered","data":{"sms_id":"sms_01","metadata":{"countersign":"` + testToken + `"}}}`:                                                      lost("sms_01", verify.ReasonUnreachable),
			`{"type":"sms.expired","data":{"sms_id":"sms_01","metadata":{"countersign":"` + testToken + `"}}}`:                                                          lost("sms_01", verify.ReasonExpired),
			`{"type":"sms.sent","data":{"sms_id":"sms_01","metadata":{"countersign":"` + testToken + `"}}}`:                                                             nil,
		},
	}
	stories["bandwidth"] = story{
		host:   "messaging.bandwidth.com",
		path:   "/api/v2/users/AC0123/messages",
		header: jsonOnly("Accept", jsonType, "Authorization", basic("api-user", testSecret)),
		body: `{"applicationId":"93de2206","to":["+12025550100"],"from":"+12025550199","text":` + quoted + `,"tag":"` + testToken + `","priority":"high",` + "\n" +
			` "expiration":"2026-05-04T12:10:00.000Z"}`,
		answers: []exchanged{
			accepted(202, `{"id":"1589228074636lm4k2je7j7jklbn2","owner":"+12025550199","applicationId":"93de2206","time":"2024-12-02T20:15:57.278Z","segmentCount":1,"direction":"out"}`, "1589228074636lm4k2je7j7jklbn2"),
			failed(400, `{"type":"request-validation","description":"Your request could not be accepted","fieldErrors":[{"fieldName":"to"}]}`, refused(verify.ReasonRefused)),
			failed(401, `{"type":"unauthorized"}`, misconfigured), failed(403, `{"type":"forbidden"}`, misconfigured), failed(429, `{}`, throttled), failed(500, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			`[{"time":"2024-12-02T20:15:57.278Z","type":"message-delivered","to":"+12025550100","description":"Message delivered to handset.","message":{"id":"1589","tag":"` + testToken + `"}}]`: arrived("1589"),
			`[{"type":"message-failed","errorCode":4720,"message":{"id":"1589","tag":"` + testToken + `"}}]`:                                                                                       lost("1589", verify.ReasonInvalidNumber),
			`[{"type":"message-failed","errorCode":4770,"message":{"id":"1589","tag":"` + testToken + `"}}]`:                                                                                       lost("1589", verify.ReasonSpamFiltered),
			`[{"type":"message-failed","errorCode":9999,"message":{"id":"1589","tag":"` + testToken + `"}}]`:                                                                                       lost("1589", verify.ReasonUnknown),
			`[{"type":"message-sending","message":{"id":"1589","tag":"` + testToken + `"}}]`:                                                                                                       nil,
			`{"type":"message-failed","errorCode":4720,"message":{"id":"1589","tag":"` + testToken + `"}} x`:                                                                                       nil, // no list
		},
	}
	stories["azure"] = story{
		path:   "/sms?api-version=2026-01-23",
		header: jsonOnly("X-Ms-Date", "Mon, 04 May 2026 12:00:00 GMT"),
		body: `{"from":"+12025550199","smsRecipients":[{"to":"+12025550100"}],"message":` + quoted + `,` + "\n" +
			` "smsSendOptions":{"enableDeliveryReport":true,"tag":"` + testToken + `"}}`,
		answers: []exchanged{
			accepted(202, `{"value":[{"to":"+12025550100","messageId":"Outgoing_20200610203725bfd4ba70-70bf-4f77-925d-c0bdb5161bb3","httpStatusCode":202,"successful":true}]}`, "Outgoing_20200610203725bfd4ba70-70bf-4f77-925d-c0bdb5161bb3"),
			failed(202, `{"value":[{"to":"+12025550100","httpStatusCode":400,"errorMessage":"Invalid To phone number format.","successful":false}]}`, refused(verify.ReasonRefused)),
			failed(202, `{"value":[{"to":"+12025550100","httpStatusCode":503,"errorMessage":"ServiceUnavailable","successful":false}]}`, later),
			failed(202, `{"value":[{"httpStatusCode":429}]}`, throttled), failed(202, `{"value":[{"httpStatusCode":403}]}`, misconfigured),
			failed(202, `{}`, unknown), failed(401, ``, misconfigured), failed(429, ``, throttled),
		},
		reports: map[string]*carrier.Receipt{
			`[{"id":"Outgoing_1","eventType":"Microsoft.Communication.SMSDeliveryReportReceived","data":{"messageId":"Outgoing_1","from":"15555555555","to":"+15555555555","deliveryStatus":"Delivered","deliveryStatusDetails":"No error.","tag":"` + testToken + `"}}]`: arrived("Outgoing_1"),
			`[{"data":{"messageId":"Outgoing_1","deliveryStatus":"Failed","deliveryStatusDetails":"Carrier said no.","tag":"` + testToken + `"}}]`:                                                                                                                        lost("Outgoing_1", verify.ReasonUnknown),
			`[{"data":{"messageId":"Outgoing_1","deliveryStatus":"Queued","tag":"` + testToken + `"}}]`:                                                                                                                                                                   nil,
		},
	}
	stories["gatewayapi"] = story{
		host:   "gatewayapi.com",
		path:   "/rest/mtsms",
		header: jsonOnly("Accept", jsonType, "Authorization", basic(testSecret, "")),
		body: `{"sender":"12025550199","message":` + quoted + `,"encoding":"UTF8","recipients":[{"msisdn":"12025550100"}],` + "\n" +
			` "validity_period":600,"userref":"` + testToken + `","callback_url":"` + withCallback + `"}`,
		answers: []exchanged{
			accepted(200, `{"ids":[421332671],"usage":{"countries":{"DK":2},"currency":"DKK","total_cost":0.30}}`, "421332671"),
			failed(403, `{"code":"0x0213","incident_uuid":"d8127429-fa0c-4316-b1f2-e610c3958f43","message":"Unauthorized IP-address: %1","variables":["1.2.3.4"]}`, misconfigured),
			failed(403, `{"code":"0x0216"}`, noCredit), failed(403, `{"code":"0x0215"}`, refused(verify.ReasonBlocked)), failed(422, `{"code":"0x0312"}`, refused(verify.ReasonSpamFiltered)),
			failed(422, `{"code":"0x0310"}`, refused(verify.ReasonRefused)), failed(401, `{"code":"0x0229"}`, misconfigured), failed(500, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"id":1000001,"msisdn":4587654321,"time":1450000000,"status":"DELIVERED","userref":"` + testToken + `","country_code":"DK"}`: arrived("1000001"),
			`{"id":1000001,"status":"UNDELIVERABLE","code":"0x1010","userref":"` + testToken + `"}`:                                       lost("1000001", verify.ReasonInvalidNumber),
			`{"id":1000001,"status":"UNDELIVERABLE","userref":"` + testToken + `"}`:                                                       lost("1000001", verify.ReasonUnreachable),
			`{"id":1000001,"status":"EXPIRED","userref":"` + testToken + `"}`:                                                             lost("1000001", verify.ReasonExpired),
			`{"id":1000001,"status":"ENROUTE"}`:                                                                                           nil,
		},
	}
	stories["46elks"] = story{
		host:   "api.46elks.com",
		path:   "/a1/sms",
		header: form("Authorization", basic("AC0123", testSecret)),
		body:   "from=%2B12025550199&to=%2B12025550100&message=" + escaped + "&whendelivered=https%3A%2F%2Fverify.example.com%2Fcarriers%2Fway%2Fstatus%2F" + testKey + "%3Fm%3D" + testToken,
		answers: []exchanged{
			accepted(200, `{"id":"s70df59406a1b4643b96f3f91e0bfb7b0","status":"created","from":"+12025550199","to":"+12025550100","parts":1,"cost":3500}`, "s70df59406a1b4643b96f3f91e0bfb7b0"),
			failed(400, `Missing key to`, refused(verify.ReasonRefused)), failed(401, `API access requires Basic HTTP authentication`, misconfigured), failed(403, `Not enough credits`, misconfigured),
		},
		reports: map[string]*carrier.Receipt{
			"id=s70df&status=delivered&delivered=2018-07-13T13%3A57%3A23.741000": arrived("s70df"),
			"id=s70df&status=failed": lost("s70df", verify.ReasonUnknown),
			"id=s70df&status=sent":   nil,
		},
	}
	stories["zenvia"] = story{
		host:   "api.zenvia.com",
		path:   "/v2/channels/sms/messages",
		header: jsonOnly("X-Api-Token", testSecret),
		body:   `{"from":"12025550199","to":"12025550100","contents":[{"type":"text","text":` + quoted + `}]}`,
		answers: []exchanged{
			accepted(200, `{"id":"4fbd8b0c","from":"12025550199","to":"12025550100","direction":"OUT","channel":"sms","contents":[]}`, "4fbd8b0c"),
			failed(400, `{"code":"VALIDATION_ERROR","message":"Validation error"}`, refused(verify.ReasonRefused)), failed(401, `{"code":"AUTHENTICATION_ERROR"}`, misconfigured),
		},
		reports: map[string]*carrier.Receipt{
			`{"id":"e","timestamp":"2020-10-20T14:52:40Z","type":"MESSAGE_STATUS","messageId":"4fbd","messageStatus":{"timestamp":"2020-10-20T14:52:40Z","code":"DELIVERED","description":"Delivered"}}`: arrived("4fbd"),
			`{"messageId":"4fbd","messageStatus":{"code":"NOT_DELIVERED"}}`: lost("4fbd", verify.ReasonUnreachable),
			`{"messageId":"4fbd","messageStatus":{"code":"REJECTED"}}`:      lost("4fbd", verify.ReasonBlocked),
			`{"messageId":"4fbd","messageStatus":{"code":"SENT"}}`:          nil,
		},
	}
	stories["unifonic"] = story{
		host:   "el.cloud.unifonic.com",
		path:   "/rest/SMS/messages",
		header: form("Accept", jsonType),
		body:   "AppSid=" + testSecret + "&SenderID=12025550199&Recipient=12025550100&Body=" + escaped + "&responseType=JSON&CorrelationID=" + testToken + "&async=false",
		answers: []exchanged{
			accepted(200, `{"success":true,"message":"","errorCode":"ER-00","data":{"MessageID":3200017889310,"Status":"Queued"}}`, "3200017889310"),
			failed(200, `{"success":false,"errorCode":"ER-01"}`, noCredit), failed(200, `{"success":false,"errorCode":"ER-04"}`, refused(verify.ReasonInvalidNumber)),
			failed(200, `{"success":false,"errorCode":"ER-08"}`, refused(verify.ReasonInvalidSender)), failed(200, `{"success":false,"errorCode":"ER-99"}`, refused(verify.ReasonRefused)),
			failed(200, `{}`, unknown), failed(401, ``, misconfigured),
		},
		reports: map[string]*carrier.Receipt{
			"MessageID=3200017889310&DLR=Delivered&Recipient=4452023498&TimeCreated=2026-05-04+12%3A00%3A00&SCTS=2026-05-04+12%3A00%3A01&DLRTimestamp=2026-05-04+12%3A00%3A02": arrived("3200017889310"),
			`{"MessageID":3200017889310,"DLR":"Undeliverable","Recipient":"4452023498"}`:                                                                                       lost("3200017889310", verify.ReasonUnreachable),
			"MessageID=3200017889310&DLR=": nil,
		},
	}
	stories["telesign"] = story{
		host:   "rest-api.telesign.com",
		path:   "/v1/messaging",
		header: form("Accept", jsonType, "Authorization", basic("AC0123", testSecret)),
		body:   "phone_number=12025550100&message=" + escaped + "&message_type=OTP&sender_id=12025550199&external_id=" + testToken,
		answers: []exchanged{
			accepted(200, `{"reference_id":"355F0C3EB0F40C089105DE9D0B5C1C3A","status":{"updated_on":"2026-05-04T12:00:00Z","code":290,"description":"Message in progress"}}`, "355F0C3EB0F40C089105DE9D0B5C1C3A"),
			failed(400, `{"errors":[{"code":-40002}]}`, refused(verify.ReasonRefused)), failed(401, `{}`, misconfigured), failed(429, `{}`, throttled), failed(500, `{}`, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"status":{"updated_on":"Thu, 23 Jun 2022 19:03:44 GMT","code":200,"description":"Delivered to handset"},"errors":[],"sub_resource":"sms","additional_info":{"mcc":"310","mnc":"004","message_parts_count":"2"},"reference_id":"0123456789ABCDEF0123456789ABCDEF"}`: arrived("0123456789ABCDEF0123456789ABCDEF"),
			`{"status":{"code":238,"description":"Destination blocked by prefix"},"reference_id":"0123"}`: lost("0123", verify.ReasonBlocked),
			`{"status":{"code":210},"reference_id":"0123"}`:                                               lost("0123", verify.ReasonUnreachable),
			`{"status":{"code":211},"reference_id":"0123"}`:                                               lost("0123", verify.ReasonInvalidNumber),
			`{"status":{"code":220},"reference_id":"0123"}`:                                               lost("0123", verify.ReasonNetwork),
			`{"status":{"code":221},"reference_id":"0123"}`:                                               lost("0123", verify.ReasonExpired),
			`{"status":{"code":231},"reference_id":"0123"}`:                                               lost("0123", verify.ReasonInvalidMessage),
			`{"status":{"code":515},"reference_id":"0123"}`:                                               lost("0123", verify.ReasonSpamFiltered),
			`{"status":{"code":207},"reference_id":"0123"}`:                                               lost("0123", verify.ReasonUnknown),
			`{"status":{"code":203},"reference_id":"0123"}`:                                               nil, // delivered to the gateway
			`{"status":{"code":250},"reference_id":"0123"}`:                                               nil, // nobody knows
		},
	}
	stories["smsapi"] = story{
		host:   "api.smsapi.com",
		path:   "/sms.do",
		header: form("Authorization", "Bearer "+testSecret),
		body:   "to=12025550100&from=12025550199&message=" + escaped + "&encoding=utf-8&idx=" + testToken + "&format=json&notify_url=" + url.QueryEscape(withCallback),
		answers: []exchanged{
			accepted(200, `{"count":1,"list":[{"id":"1","points":0.1,"number":"48100200300","date_sent":1460969712,"submitted_number":"48100200300","status":"QUEUE"}]}`, "1"),
			failed(200, `{"invalid_numbers":[{"number":"48100200300","message":"Invalid phone number"}],"error":13,"message":"No correct phone numbers"}`, refused(verify.ReasonInvalidNumber)),
			failed(200, `{"error":14}`, refused(verify.ReasonRefused)), failed(200, `{}`, unknown), failed(401, ``, misconfigured),
			failed(200, `{"error":101}`, misconfigured), failed(200, `{"error":103}`, noCredit), failed(200, `{"error":201}`, later),
		},
		query: true,
		reports: map[string]*carrier.Receipt{
			"MsgId=613F1B14346335B944450980&status=404&status_name=DELIVERED&idx=" + testToken + "&points=0.086&to=12025550100&sent_at=1631525640&donedate=1631525653&username=shop&mcc=255&mnc=6&from=Test": arrived("613F1B14346335B944450980"),
			"MsgId=613F&status=402&status_name=EXPIRED&idx=" + testToken:     lost("613F", verify.ReasonExpired),
			"MsgId=613F&status=405&status_name=UNDELIVERED&idx=" + testToken: lost("613F", verify.ReasonUnknown),
			"MsgId=613F&status=403&status_name=SENT&idx=" + testToken:        nil,
			"MsgId=613F&status=408&status_name=UNKNOWN&idx=" + testToken:     nil,
		},
	}
	stories["cm"] = story{
		host:   "gw.messaging.cm.com",
		path:   "/v1.0/message",
		header: jsonOnly("Accept", jsonType),
		body: `{"messages":{"authentication":{"producttoken":"` + testSecret + `"},"msg":[{"allowedChannels":["SMS"],"from":"12025550199","to":[{"number":"0012025550100"}],` + "\n" +
			` "body":{"type":"auto","content":` + quoted + `},"reference":"` + carrier.ShortToken(verificationID, 1) + `","minimumNumberOfMessageParts":1,"maximumNumberOfMessageParts":8}]}}`,
		answers: []exchanged{
			accepted(200, `{"details":"Created 1 message(s)","errorCode":0,"messages":[{"to":"0012025550100","status":"Accepted","parts":1,"messageErrorCode":0}]}`, ""),
			failed(401, `{"details":"Authentication failed","errorCode":101}`, misconfigured), failed(402, `{"errorCode":102}`, noCredit),
			failed(400, `{"errorCode":201,"messages":[{"status":"Rejected","messageErrorCode":303}]}`, refused(verify.ReasonInvalidNumber)),
			failed(400, `{"errorCode":201,"messages":[{"status":"Rejected","messageErrorCode":301}]}`, refused(verify.ReasonInvalidSender)),
			failed(400, `{"errorCode":202}`, refused(verify.ReasonRefused)), failed(200, `{}`, unknown),
		},
		reports: map[string]*carrier.Receipt{
			`{"messages":{"msg":{"received":"2026-05-04T12:00:00","to":"0012025550100","reference":"` + carrier.ShortToken(verificationID, 1) + `","status":{"code":"2","errorCode":"","errorDescription":"Delivered"},"operator":"310260"}}}`: arrived(""),
			`{"messages":{"msg":{"reference":"` + carrier.ShortToken(verificationID, 1) + `","status":{"code":"3","errorCode":"1","errorDescription":"…"}}}}`:                                                                                  lost("", verify.ReasonUnreachable),
			`{"messages":{"msg":{"reference":"` + carrier.ShortToken(verificationID, 1) + `","status":{"code":1}}}}`:                                                                                                                           lost("", verify.ReasonBlocked),
			`{"messages":{"msg":{"reference":"` + carrier.ShortToken(verificationID, 1) + `","status":{"code":"0"}}}}`:                                                                                                                         nil,
		},
	}
	stories["bulksms"] = story{
		host:   "api.bulksms.com",
		path:   "/v1/messages",
		header: jsonOnly("Authorization", basic("AC0123", testSecret)),
		body: `{"to":"+12025550100","from":{"type":"INTERNATIONAL","address":"+12025550199"},` + "\n" +
			` "body":` + quoted + `,"encoding":"TEXT","longMessageMaxParts":8}`,
		answers: []exchanged{
			accepted(201, `[{"id":"4023457654","type":"SENT","to":"12025550100","body":"…","encoding":"TEXT","status":{"id":"ACCEPTED.null","type":"ACCEPTED"},"submission":{"id":"1-00000000000522347562","date":"2019-02-18T13:00:00+02:00"}}]`, "4023457654"),
			failed(403, `{"type":"https://developer.bulksms.com/json/v1/errors#insufficient-credits","title":"Insufficient Credits","status":403}`, noCredit),
			failed(400, `{"type":"https://developer.bulksms.com/json/v1/errors/#bad-request","title":"Bad Request","status":400,"detail":"…"}`, refused(verify.ReasonRefused)),
			failed(201, `[{"id":"1","type":"SENT","status":{"id":"FAILED.NOT_SENT","type":"FAILED","subtype":"NOT_SENT"}}]`, refused(verify.ReasonRefused)),
			failed(201, `[{"id":"1","type":"SENT","status":{"id":"FAILED.BLOCKED","type":"FAILED","subtype":"BLOCKED"}}]`, refused(verify.ReasonBlocked)),
			failed(201, `[]`, unknown), failed(401, ``, misconfigured), failed(403, `{}`, misconfigured), failed(429, ``, throttled), failed(503, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			`[{"id":"4023","type":"SENT","from":"12025550199","to":"12025550100","body":"…","userSuppliedId":null,"status":{"id":"DELIVERED.null","type":"DELIVERED"}}]`: arrived("4023"),
			`[{"id":"4023","type":"SENT","status":{"id":"FAILED.EXPIRED","type":"FAILED","subtype":"EXPIRED"}}]`:                                                         lost("4023", verify.ReasonExpired),
			`[{"id":"4023","type":"SENT","status":{"id":"FAILED.HANDSET_ERROR","type":"FAILED","subtype":"HANDSET_ERROR"}}]`:                                             lost("4023", verify.ReasonUnreachable),
			`[{"id":"4023","type":"SENT","status":{"id":"FAILED.BLOCKED","type":"FAILED","subtype":"BLOCKED"}}]`:                                                         lost("4023", verify.ReasonBlocked),
			`[{"id":"4023","type":"SENT","status":{"id":"FAILED.NOT_SENT","type":"FAILED","subtype":"NOT_SENT"}}]`:                                                       lost("4023", verify.ReasonUnknown),
			`[{"id":"4023","type":"SENT","status":{"id":"SENT.null","type":"SENT"}}]`:                                                                                    nil,
			`[]`: nil, // with which BulkSMS tries a new webhook
		},
	}
	stories["linkmobility"] = story{
		path:   "/sms/send",
		header: jsonOnly("Authorization", basic("api-user", testSecret)),
		body: `{"source":"+12025550199","sourceTON":"MSISDN","destination":"+12025550100",` + "\n" +
			` "userData":` + quoted + `,"platformId":"COOL","platformPartnerId":"AC0123","refId":"` + testToken + `",` + "\n" +
			` "relativeValidityTime":600000,"ignoreResponse":false,` + "\n" +
			` "useDeliveryReport":true,"deliveryReportGates":["BVldZyQt"]}`,
		answers: []exchanged{
			accepted(200, `{"messageId":"Dcshuhod0PMAAAFQ+/PbnR3x","resultCode":1005,"description":"Queued"}`, "Dcshuhod0PMAAAFQ+/PbnR3x"),
			accepted(204, ``, ""),
			failed(400, `{"status":106200,"description":"Invalid or missing platformId"}`, misconfigured),
			failed(400, `{"status":106301,"description":"Specified gate unavailable"}`, misconfigured),
			failed(400, `{"status":106000,"description":"Unknown Error"}`, refused(verify.ReasonRefused)), failed(400, ``, refused(verify.ReasonRefused)),
			failed(401, `{"status":106100}`, misconfigured), failed(403, `{"status":106101}`, misconfigured), failed(500, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"refId":"` + testToken + `","id":"Dcsh","operator":"no.telenor","sentTimestamp":"2015-11-19T09:37:35Z","timestamp":"2015-11-19T09:37:00Z","resultCode":1001,"operatorResultCode":"2","segments":1,"gateCustomParameters":{},"customParameters":{"received":"2015-11-19 10:37:36"}}`: arrived(""),
			`{"refId":"` + testToken + `","id":"Dcsh","operator":null,"resultCode":2106,"operatorResultCode":null,"segments":1}`:                                                                                                                                                                  lost("", verify.ReasonInvalidNumber),
			`{"refId":"` + testToken + `","id":"Dcsh$0","resultCode":1002}`: lost("", verify.ReasonExpired), // one of several parts
			`{"refId":"` + testToken + `","id":"Dcsh","resultCode":2105}`:   lost("", verify.ReasonBlocked),
			`{"refId":"` + testToken + `","id":"Dcsh","resultCode":2000}`:   lost("", verify.ReasonInvalidSender),
			`{"refId":"` + testToken + `","id":"Dcsh","resultCode":2}`:      lost("", verify.ReasonNetwork),
			`{"refId":"` + testToken + `","id":"Dcsh","resultCode":0}`:      lost("", verify.ReasonUnknown),
			`{"refId":"` + testToken + `","id":"Dcsh","resultCode":1000}`:   nil, // sent to the operator
			`{"refId":"` + testToken + `","id":"Dcsh","resultCode":1010}`:   nil, // expired without a report: nobody knows
		},
	}
	stories["solapi"] = story{
		host:   "api.solapi.com",
		path:   "/messages/v4/send-many/detail",
		header: jsonOnly(),
		body: `{"messages":[{"to":"2025550100","country":"1","from":"12025550199","text":` + quoted + `,` + "\n" +
			` "customFields":{"countersign":"` + testToken + `"}}],"showMessageList":true}`,
		answers: []exchanged{
			accepted(200, `{"failedMessageList":[],"groupInfo":{"groupId":"G4V","count":{"total":1,"registeredFailed":0}},"messageList":[{"messageId":"M4V","statusCode":"2000"}]}`, "M4V"),
			failed(200, `{"failedMessageList":[{"to":"2025550100","statusCode":"1062","statusMessage":"…"}],"groupInfo":{"groupId":"G4V"}}`, refused(verify.ReasonRefused)),
			failed(200, `{}`, unknown), failed(403, `{"errorCode":"SignatureDoesNotMatch"}`, misconfigured), failed(400, `{"errorCode":"ValidationError"}`, refused(verify.ReasonRefused)),
		},
		reports: map[string]*carrier.Receipt{
			`[{"messageId":"M4V","statusCode":"4000","customFields":{"countersign":"` + testToken + `"}}]`: arrived("M4V"),
			`[{"messageId":"M4V","statusCode":"3000","customFields":{"countersign":"` + testToken + `"}}]`: nil,
		},
	}
	stories["sinch-voice"] = story{
		path:   "/calling/v1/callouts",
		header: jsonOnly("Authorization", basic("AC0123", testSecret)),
		body: `{"method":"ttsCallout","ttsCallout":{"cli":"+12025550199","destination":{"type":"number","endpoint":"+12025550100"},"domain":"pstn","custom":"` + testToken + `",` + "\n" +
			` "locale":"en-US","text":` + strings.ReplaceAll(quotedTwice, `\u0026`, " ") + `,"enableDice":true}}`,
		answers: []exchanged{
			accepted(200, `{"callId":"d8c4a5d2-9a5a-4e0b-8ad4-5c5a8c6f2f70"}`, "d8c4a5d2-9a5a-4e0b-8ad4-5c5a8c6f2f70"),
			failed(400, `{"errorCode":40001,"message":"…"}`, refused(verify.ReasonRefused)), failed(401, `{"errorCode":40100}`, misconfigured), failed(500, ``, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"event":"dice","callid":"d8c4","timestamp":"2014-12-12T09:43:30Z","reason":"CALLEEHANGUP","result":"ANSWERED","version":1,"custom":"` + testToken + `","duration":12}`: arrived("d8c4"),
			`{"event":"dice","callid":"d8c4","reason":"N/A","result":"BUSY","custom":"` + testToken + `"}`:                                                                           lost("d8c4", verify.ReasonBusy),
			`{"event":"dice","callid":"d8c4","reason":"TIMEOUT","result":"NOANSWER","custom":"` + testToken + `"}`:                                                                   lost("d8c4", verify.ReasonNoAnswer),
			`{"event":"dice","callid":"d8c4","reason":"NOCREDITPARTNER","result":"FAILED","custom":"` + testToken + `"}`:                                                             lost("d8c4", verify.ReasonNoCredit),
			`{"event":"dice","callid":"d8c4","reason":"GENERALERROR","result":"FAILED","custom":"` + testToken + `"}`:                                                                lost("d8c4", verify.ReasonUnknown),
			`{"event":"ace","callid":"d8c4","custom":"` + testToken + `"}`:                                                                                                           nil,
		},
	}
	stories["syniverse-voice"] = story{
		host:   "api.syniverse.com",
		path:   "/scg-external-api/api/v1/messaging/message_requests",
		header: jsonOnly("Accept", jsonType, "Authorization", "Bearer "+testSecret),
		body: `{"from":"a-channel","to":["voice:+12025550100"],"consent_requirement":"NONE","external_id":"` + testToken + `",` + "\n" +
			` "body":"\u003cspeak\u003e` + escapedTwice + `\u003c/speak\u003e"}`,
		answers: []exchanged{
			accepted(201, `{"id":"bLMjduDTxrMf5"}`, "bLMjduDTxrMf5"),
			failed(400, `{"error_code":"SCG_ERROR_40024","error_description":"Invalid recipient"}`, refused(verify.ReasonInvalidNumber)),
			failed(400, `{"error_code":"SCG_ERROR_40012","error_description":"No sender addresses capable of sending requested message type"}`, refused(verify.ReasonInvalidSender)),
			failed(404, `{"error_code":"SCG_ERROR_4046"}`, misconfigured), failed(402, `{"error_code":"402"}`, noCredit), failed(401, ``, misconfigured),
			failed(400, `{"error_code":"SCG_ERROR_40025"}`, refused(verify.ReasonRefused)), failed(429, `{}`, throttled), failed(500, `{}`, later),
		},
		reports: map[string]*carrier.Receipt{
			`{"topic":"SCG-Message","attempt":1,"event_id":"e","event":{"evt-tp":"message_state_change","timestamp":"t","fld-val-list":{"message_request_id":"bLMj","message_id":"m","external_message_request_id":"` + testToken + `","previous_state":"SENT","new_state":"DELIVERED"}}}`: arrived("bLMj"),
			`{"topic":"SCG-Message","event":{"fld-val-list":{"message_request_id":"bLMj","external_message_request_id":"` + testToken + `","new_state":"FAILED","reason_code":"1003"}}}`:                                                                                                   lost("bLMj", verify.ReasonInvalidSender),
			`{"topic":"SCG-Message","event":{"fld-val-list":{"message_request_id":"bLMj","new_state":"FAILED","reason_code":"1009"}}}`:                                                                                                                                                     lost("bLMj", verify.ReasonUnknown),
			`{"topic":"SCG-Message","event":{"fld-val-list":{"message_request_id":"bLMj","new_state":"EXPIRED"}}}`:                                                                                                                                                                         lost("bLMj", verify.ReasonExpired),
			`{"topic":"SCG-Message","event":{"fld-val-list":{"message_request_id":"bLMj","new_state":"SENT"}}}`:                                                                                                                                                                            nil,
			`{"topic":"SCG-Voice-Call","event":{"evt-tp":"call_state_change","fld-val-list":{"call_id":"c","external_call_id":"x","previous_state":"ACTIVE","new_state":"COMPLETED","reason_code":"0","call_duration":12}}}`:                                                               nil,
		},
	}
	stories["infobip-voice"] = story{
		path:   "/tts/3/advanced",
		header: jsonOnly("Accept", jsonType, "Authorization", "App "+testSecret),
		body: `{"messages":[{"from":"12025550199","destinations":[{"to":"12025550100"}],"language":"en",` + "\n" +
			` "text":"\u003cspeak\u003e` + escapedTwice + `\u003c/speak\u003e","ringTimeout":30,"notifyUrl":"` + withCallback + `","notifyContentType":"application/json","callbackData":"` + testToken + `"}]}`,
		answers: []exchanged{
			accepted(200, `{"bulkId":"2034072219640523072","messages":[{"to":"12025550100","status":{"groupId":1,"groupName":"PENDING","id":26,"name":"PENDING_ACCEPTED"},"messageId":"2250be2d4219-3af1-78856-aabe-1362af1edfd2"}]}`, "2250be2d4219-3af1-78856-aabe-1362af1edfd2"),
			failed(200, `{"messages":[{"status":{"groupName":"REJECTED","name":"REJECTED_NOT_ENOUGH_CREDITS"}}]}`, noCredit),
			failed(200, `{"messages":[{"status":{"groupName":"REJECTED","name":"REJECTED_NETWORK"}}]}`, refused(verify.ReasonRefused)),
			failed(200, `{}`, unknown), failed(401, ``, misconfigured), failed(429, ``, throttled),
		},
		reports: map[string]*carrier.Receipt{
			`{"results":[{"bulkId":"b","messageId":"2250","callbackData":"` + testToken + `","status":{"groupName":"DELIVERED"},"error":{"name":"EC_VOICE_ANSWERED"}}]}`: arrived("2250"),
			`{"results":[{"messageId":"2250","callbackData":"` + testToken + `","status":{"groupName":"UNDELIVERABLE"},"error":{"name":"EC_VOICE_X"}}]}`:                 lost("2250", verify.ReasonUnknown),
			`{"results":[{"messageId":"2250","callbackData":"` + testToken + `","status":{"groupName":"PENDING"}}]}`:                                                     nil,
		},
	}
}

// The text of calls, twice, for a voice.
const (
	quotedTwice  = `"Your \"code\" \u0026 more: 4, 9, 3, 8, 1, 7. Your \"code\" \u0026 more: 4, 9, 3, 8, 1, 7"`
	escapedOnce  = `Your \u0026#34;code\u0026#34; \u0026amp; more: 4, 9, 3, 8, 1, 7`
	escapedTwice = escapedOnce + `\u003cbreak time=\"1s\"/\u003e` + escapedOnce
)
