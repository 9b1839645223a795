package smpp

import (
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/verify"
)

// Meanings are the reasons that an operator gives to codes of networks, by [plainCode].
type Meanings map[string]verify.Reason

// Add adds a code. It reports false if the code is there already, or can't be one.
func (m Meanings) Add(code string, reason verify.Reason) bool {
	plain := plainCode(code)
	if _, twice := m[plain]; twice || plain == "" || len(code) > maxCode {
		return false
	}
	m[plain] = reason
	return true
}

// plainCode returns a code of letters and digits without leading zeros, which SMSCs write or not, and any other as "".
func plainCode(code string) string {
	plain := strings.ToUpper(strings.TrimLeft(code, "0"))
	if strings.Trim(plain, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return ""
	}
	return plain
}

// gsmNetwork is the kind of network in network_error_code whose codes are gsmErrors (§5.3.2.31).
const gsmNetwork = 3

// gsmErrors are the errors with which a GSM network answers for a phone. Those that don't tell more than the receipt's
// state aren't here.
// Source: 3GPP TS 29.002, 17.6, local error codes of MAP.
var gsmErrors = map[string]verify.Reason{
	"1":  verify.ReasonInvalidNumber, // unknown subscriber
	"5":  verify.ReasonInvalidNumber, // unidentified subscriber
	"6":  verify.ReasonUnreachable,   // absent subscriber, for short messages
	"8":  verify.ReasonUnreachable,   // roaming not allowed
	"9":  verify.ReasonInvalidNumber, // illegal subscriber
	"11": verify.ReasonInvalidNumber, // teleservice not provisioned: the line takes no short messages
	"12": verify.ReasonBlocked,       // illegal equipment
	"13": verify.ReasonBlocked,       // call barred
	"21": verify.ReasonNetwork,       // facility not supported
	"27": verify.ReasonUnreachable,   // absent subscriber
	"31": verify.ReasonUnreachable,   // subscriber busy for short messages
	"32": verify.ReasonUnreachable,   // delivery failure: the phone's memory is full, among others
	"33": verify.ReasonUnreachable,   // message waiting list full
	"34": verify.ReasonNetwork,       // system failure
	"35": verify.ReasonNetwork,       // data missing
	"36": verify.ReasonNetwork,       // unexpected data value
}

// reasonOf returns why a message failed. The operator's meanings of codes come first. A code of GSM tells more than the
// states UNDELIV, REJECTD, DELETED and FAILED, but not more than EXPIRED: the code's life was over.
func (c Config) reasonOf(r receipt, m message) verify.Reason {
	code := plainCode(r.code)
	if reason, ok := c.Reasons[code]; ok {
		return reason
	}
	gsm := code
	switch {
	case m.network == gsmNetwork && m.networkError != 0:
		gsm = strconv.Itoa(m.networkError)
	case !c.GSMCodes:
		return r.reason
	}
	if reason, ok := gsmErrors[gsm]; ok && r.reason != verify.ReasonExpired {
		return reason
	}
	return r.reason
}
