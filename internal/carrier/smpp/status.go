package smpp

import (
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// A Status is a command_status (SMPP 3.4 §5.1.3).
type Status uint32

// The statuses that we send or that this package checks for. All are in the table below.
const (
	statusOK           Status = 0x00000000
	statusShort        Status = 0x00000001
	statusLength       Status = 0x00000002
	statusCommand      Status = 0x00000003
	statusSystem       Status = 0x00000008
	statusTemporary    Status = 0x00000064
	statusOptionalPart Status = 0x000000C0
)

// A decision is the meaning of a status for the message that it answers.
type decision int

const (
	again   decision = iota // not sent; another attempt or carrier may help
	murky                   // not sent; the cause may be the message or the SMSC
	slower                  // not sent; the SMSC is throttling us
	refused                 // not sent; every attempt would be refused
)

// meanings is the table of the specification (§5.1.3, table 5-2), read as responses to a submit_sm. A
// status that blames the message or its number refuses, because the same message would get the same
// response. So does a status that blames the configuration, because only an operator can change that. Some
// statuses can be about a single message, so they count neither for nor against the SMSC: it did answer,
// and quickly.
var meanings = map[Status]struct {
	name     string
	decision decision
	reason   verify.Reason
}{
	0x00000001: {"ESME_RINVMSGLEN", refused, verify.ReasonInvalidMessage},
	0x00000002: {"ESME_RINVCMDLEN", refused, verify.ReasonMisconfigured},
	0x00000003: {"ESME_RINVCMDID", refused, verify.ReasonMisconfigured},
	0x00000004: {"ESME_RINVBNDSTS", again, verify.ReasonNetwork},
	0x00000005: {"ESME_RALYBND", again, verify.ReasonNetwork},
	0x00000006: {"ESME_RINVPRTFLG", refused, verify.ReasonMisconfigured},
	0x00000007: {"ESME_RINVREGDLVFLG", refused, verify.ReasonMisconfigured},
	0x00000008: {"ESME_RSYSERR", again, verify.ReasonNetwork},
	0x0000000A: {"ESME_RINVSRCADR", refused, verify.ReasonInvalidSender},
	0x0000000B: {"ESME_RINVDSTADR", refused, verify.ReasonInvalidNumber},
	0x0000000C: {"ESME_RINVMSGID", murky, verify.ReasonNetwork},
	0x0000000D: {"ESME_RBINDFAIL", again, verify.ReasonMisconfigured},
	0x0000000E: {"ESME_RINVPASWD", again, verify.ReasonMisconfigured},
	0x0000000F: {"ESME_RINVSYSID", again, verify.ReasonMisconfigured},
	0x00000011: {"ESME_RCANCELFAIL", murky, verify.ReasonNetwork},
	0x00000013: {"ESME_RREPLACEFAIL", murky, verify.ReasonNetwork},
	0x00000014: {"ESME_RMSGQFUL", slower, verify.ReasonThrottled},
	0x00000015: {"ESME_RINVSERTYP", refused, verify.ReasonMisconfigured},
	0x00000033: {"ESME_RINVNUMDESTS", refused, verify.ReasonMisconfigured},
	0x00000034: {"ESME_RINVDLNAME", refused, verify.ReasonMisconfigured},
	0x00000040: {"ESME_RINVDESTFLAG", refused, verify.ReasonMisconfigured},
	0x00000042: {"ESME_RINVSUBREP", refused, verify.ReasonMisconfigured},
	0x00000043: {"ESME_RINVESMCLASS", refused, verify.ReasonMisconfigured},
	0x00000044: {"ESME_RCNTSUBDL", refused, verify.ReasonMisconfigured},
	0x00000045: {"ESME_RSUBMITFAIL", murky, verify.ReasonNetwork},
	0x00000048: {"ESME_RINVSRCTON", refused, verify.ReasonInvalidSender},
	0x00000049: {"ESME_RINVSRCNPI", refused, verify.ReasonInvalidSender},
	0x00000050: {"ESME_RINVDSTTON", refused, verify.ReasonMisconfigured},
	0x00000051: {"ESME_RINVDSTNPI", refused, verify.ReasonMisconfigured},
	0x00000053: {"ESME_RINVSYSTYP", refused, verify.ReasonMisconfigured},
	0x00000054: {"ESME_RINVREPFLAG", refused, verify.ReasonMisconfigured},
	0x00000055: {"ESME_RINVNUMMSGS", murky, verify.ReasonNetwork},
	0x00000058: {"ESME_RTHROTTLED", slower, verify.ReasonThrottled},
	0x00000061: {"ESME_RINVSCHED", refused, verify.ReasonMisconfigured},
	0x00000062: {"ESME_RINVEXPIRY", refused, verify.ReasonMisconfigured},
	0x00000063: {"ESME_RINVDFTMSGID", refused, verify.ReasonMisconfigured},
	0x00000064: {"ESME_RX_T_APPN", murky, verify.ReasonNetwork},
	0x00000065: {"ESME_RX_P_APPN", refused, verify.ReasonRefused},
	0x00000066: {"ESME_RX_R_APPN", refused, verify.ReasonRefused},
	0x00000067: {"ESME_RQUERYFAIL", murky, verify.ReasonNetwork},
	0x000000C0: {"ESME_RINVOPTPARSTREAM", refused, verify.ReasonMisconfigured},
	0x000000C1: {"ESME_ROPTPARNOTALLWD", refused, verify.ReasonMisconfigured},
	0x000000C2: {"ESME_RINVPARLEN", refused, verify.ReasonInvalidMessage},
	0x000000C3: {"ESME_RMISSINGOPTPARAM", refused, verify.ReasonMisconfigured},
	0x000000C4: {"ESME_RINVOPTPARAMVAL", refused, verify.ReasonMisconfigured},
	0x000000FE: {"ESME_RDELIVERYFAILURE", murky, verify.ReasonNetwork},
	0x000000FF: {"ESME_RUNKNOWNERR", murky, verify.ReasonNetwork},
}

// Error returns the specification's name of a status. An SMSC's own statuses have
// only a number.
func (s Status) Error() string {
	if s == statusOK {
		return "ESME_ROK"
	}
	if m, ok := meanings[s]; ok {
		return m.name
	}
	return fmt.Sprintf("status 0x%08X", uint32(s))
}

// code is what a status is stored as: its name or, of an SMSC's own, its number.
func (s Status) code() string {
	if m, ok := meanings[s]; ok {
		return m.name
	}
	return fmt.Sprintf("0x%08X", uint32(s))
}

// decide converts the response to a submit_sm to the error that tells the dispatcher what to do
// next. Statuses of an SMSC's own, and reserved ones, mean that the message wasn't sent, without a
// reason. Another attempt may help, unless refuse lists the status. after is how long the SMSC
// throttles us.
func (s Status) decide(refuse []Status, after time.Duration) error {
	if s == statusOK {
		return nil
	}
	err := carrier.Coded(s.code(), fmt.Errorf("the SMSC answered %w", s))
	m, known := meanings[s]
	switch {
	case slices.Contains(refuse, s):
		return carrier.Refused(err)
	case !known:
		return carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonNetwork, err))
	case m.decision == murky:
		return carrier.Blaming(verify.BlameUs, carrier.Because(m.reason, err))
	case m.decision == refused:
		return carrier.Because(m.reason, carrier.Refused(err))
	case m.decision == slower:
		return carrier.Because(m.reason, carrier.Later(after, err))
	default:
		return carrier.Because(m.reason, err)
	}
}

// slower reports whether the status means that the SMSC is throttling us.
func (s Status) slower() bool { return meanings[s].decision == slower }
