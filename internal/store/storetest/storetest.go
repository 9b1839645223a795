// Package storetest says what a store must do, as tests that every engine runs. What is an
// engine's own (its files, its settings, how it builds its groups) is tested beside the engine.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// A Store is a store under test: its methods, and below them what only a test looks at.
type Store interface {
	verify.Store
	account.Store
	operator.Store
	operator.SeedStore
	Settle(ctx context.Context, s verify.Settlement) (*verify.Verification, error)
	Claim(ctx context.Context, o verify.Overdue, lease time.Duration) (*verify.Verification, *verify.Delivery, error)
	Renew(ctx context.Context, id verify.ID, attempt int, lease time.Duration) (*verify.Verification, error)
	Hold(ctx context.Context, to phone.Number, id verify.ID, attempt int, d time.Duration) (bool, error)
	Receive(ctx context.Context, r verify.Receipt) (*verify.Verification, *verify.Delivery, error)
	Find(ctx context.Context, carrier, ref string) (verify.ID, int, error)
	Postpone(ctx context.Context, o verify.Overdue, until time.Time) error
	Verification(ctx context.Context, id verify.ID) (*verify.Verification, error)
	Deliveries(ctx context.Context, id verify.ID) ([]verify.Delivery, error)

	Sweep(ctx context.Context) error
	Due(ctx context.Context, after verify.Hint, n int, remembered func(verify.Hint) (verify.Overdue, bool)) ([]verify.Overdue, verify.Hint, error)
	FoldUsage(ctx context.Context) error
	Retain(ctx context.Context, before time.Time) (deleted int, err error)

	CreateProject(ctx context.Context, p verify.Project, by ...store.Audit) error
	UpdateProject(ctx context.Context, p verify.Project, by ...store.Audit) error
	DeleteProject(ctx context.Context, id verify.ProjectID, force bool, settle time.Duration, by store.Audit) (canceled int, err error)
	Projects(ctx context.Context) ([]verify.Project, error)
	CreateKey(ctx context.Context, k account.Key, by ...store.Audit) error
	Keys(ctx context.Context, p verify.ProjectID) ([]account.Key, error)
	RevokeKey(ctx context.Context, id verify.ID, by ...store.Audit) (verify.ProjectID, error)

	Destination(ctx context.Context, p verify.ProjectID, n phone.Number) (verify.Destination, error)
	DestinationsOf(ctx context.Context, n phone.Number) ([]verify.Destination, error)
	FindUsers(ctx context.Context, search store.UserSearch, n int) ([]store.FoundUser, error)
	DeleteUserBy(ctx context.Context, k verify.UserKey, actor string) error
	History(ctx context.Context, d verify.Destination, n int) ([]verify.Verification, error)
	ResetDestination(ctx context.Context, p verify.ProjectID, n phone.Number, actor string) error
	ResetSends(ctx context.Context, p verify.ProjectID, n phone.Number, by ...store.Audit) error
	EraseDestination(ctx context.Context, p verify.ProjectID, n phone.Number, actor string) (store.Erasure, error)
	AllApplications(ctx context.Context, p verify.ProjectID) ([]verify.Application, error)
	ChangeProject(ctx context.Context, id verify.ProjectID, change func(*verify.Project) ([]store.Audit, error)) (verify.Project, error)
	ChangeCalls(ctx context.Context, p verify.ProjectID, id verify.ID, actor string, change func(verify.Project, *verify.Application) error) (verify.Application, error)
	Record(ctx context.Context, a store.Audit) error
	Audits(ctx context.Context, n int) ([]store.Audit, error)
	VoidPending(ctx context.Context, actor, action string) (voided int, err error)
	FinishDeletions(ctx context.Context) error

	CreateTrial(ctx context.Context, p verify.Project, credit money.Amount, currency money.Currency, by store.Audit) error
	ChangeBudget(ctx context.Context, p verify.ProjectID, change func(*verify.Budget) ([]store.Audit, error)) (verify.BudgetState, error)
	ChangeCountryLimit(ctx context.Context, p verify.ProjectID, country string, change func(*verify.CountryLimit) ([]store.Audit, error)) (verify.CountryLimit, error)
	CountryLimits(ctx context.Context) ([]verify.CountryLimit, error)
	CountryUse(ctx context.Context, l verify.CountryLimit) (verify.Spent, error)
	Weights(ctx context.Context) ([]verify.Weight, error)
	SetWeights(ctx context.Context, all []verify.Weight, by ...store.Audit) error
	ResetWeights(ctx context.Context, route string, by ...store.Audit) error
	AddCredit(ctx context.Context, p verify.ProjectID, e verify.LedgerEntry, by ...store.Audit) (verify.BudgetState, error)
	Ledger(ctx context.Context, p verify.ProjectID, n int) ([]verify.LedgerEntry, error)

	Recount(ctx context.Context, from time.Time, differ func(k verify.UsageKey, counted, again verify.Usage)) error

	CreateOperator(ctx context.Context, o operator.Operator, by ...store.Audit) error
	ChangeOperator(ctx context.Context, name string, change func(*operator.Operator) (store.Audit, error)) (operator.Operator, error)
	RemoveOperator(ctx context.Context, name string, by ...store.Audit) error
	EndSessions(ctx context.Context, name string, by ...store.Audit) (ended int, err error)

	Ready(ctx context.Context) error
	Close() error

	// Waiting is how many operations wait for the group after the one that is under way.
	Waiting() int
	// Destinations are all rows of that table, by project and number.
	Destinations(ctx context.Context) ([]verify.Destination, error)
	// Hints are all rows of the table of messages to look at, by time and id.
	Hints(ctx context.Context) ([]Hint, error)
	// Swept is the id up to which the sweeper has read.
	Swept(ctx context.Context) (verify.ID, error)
	// Again opens the same data once more, as another process would.
	Again(t *testing.T, now func() time.Time, commit Commit) Store
}

// Commit is the hook that stands between a store and its commits: see store.Options.
type Commit = func(ops int, commit func() error) error

// A Hint says that somebody should look at a verification's message at a time.
type Hint struct {
	Due time.Time
	ID  verify.ID
}

// Run tests an engine. Open opens a new and empty store with one writer, whose groups pass through
// commit; it is closed by the suite.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time, commit Commit) Store) {
	for _, test := range []struct {
		name string
		f    func(t *testing.T, s suite)
	}{
		{"GuessesAtOnceShareTheAttempts", guessesAtOnceShareTheAttempts},
		{"WhatAGuessChangesIsWritten", whatAGuessChangesIsWritten},
		{"RightCodeApprovesOnce", rightCodeApprovesOnce},
		{"AnotherProjectsVerificationDoesNotExist", anotherProjectsVerificationDoesNotExist},
		{"LatestOfEachPurposeIsChecked", latestOfEachPurposeIsChecked},
		{"NumbersOutliveTheirVerifications", numbersOutliveTheirVerifications},
		{"NewerStartSupersedesThoseOfItsPurpose", newerStartSupersedesThoseOfItsPurpose},
		{"StartsAtOnceLeaveOneCode", startsAtOnceLeaveOneCode},
		{"AStartBetweenALookAndItsOperation", aStartBetweenALookAndItsOperation},
		{"StartsLookAsFarBackAsCodesLive", startsLookAsFarBackAsCodesLive},
		{"GuessesByNumberAndByIDShareTheAttempts", guessesByNumberAndByIDShareTheAttempts},
		{"VerificationIsReadByItsProject", verificationIsReadByItsProject},
		{"VerificationsAreListed", verificationsAreListed},
		{"ListsLookAtABoundedNumber", listsLookAtABoundedNumber},
		{"GuessThatCannotBeComparedSpendsNothing", guessThatCannotBeComparedSpendsNothing},
		{"EndWipesTheSealedCode", endWipesTheSealedCode},
		{"WhoLostTheLeaseSettlesNothing", whoLostTheLeaseSettlesNothing},
		{"RefusedStartChangesNothing", refusedStartChangesNothing},
		{"OutcomesFollowTheStateMachine", outcomesFollowTheStateMachine},

		{"WhatArrivesTogetherIsCommittedTogether", whatArrivesTogetherIsCommittedTogether},
		{"OperationsOnOneRowAreAppliedInOrderOfArrival", operationsOnOneRowAreAppliedInOrderOfArrival},
		{"PoisonedOperationFailsAlone", poisonedOperationFailsAlone},
		{"SecondStartWithAnIDFails", secondStartWithAnIDFails},
		{"HungUpCallerIsCharged", hungUpCallerIsCharged},
		{"CloseCarriesOutWhatWasTaken", closeCarriesOutWhatWasTaken},
		{"CloseAmongManyCallersLosesNothing", closeAmongManyCallersLosesNothing},
		{"EveryCallAfterCloseFindsNoStore", everyCallAfterCloseFindsNoStore},

		{"ReadyIsWhoWroteLast", readyIsWhoWroteLast},
		{"ReadyTriesOnceWhileTheDiskHangs", readyTriesOnceWhileTheDiskHangs},
		{"FailedCommitStoresNothing", failedCommitStoresNothing},
		{"FailedCommitThatHappenedStoresOnce", failedCommitThatHappenedStoresOnce},
		{"StartWithoutAnAnswerIsCanceled", startWithoutAnAnswerIsCanceled},
		{"FailedCommitOfAnAdministratorStoresNothing", failedCommitOfAnAdministratorStoresNothing},

		{"BudgetIsSpentExactly", budgetIsSpentExactly},
		{"ShareIsSpentOnce", shareIsSpentOnce},
		{"BudgetIsOfADay", budgetIsOfADay},
		{"WhatWasNotHandedOverIsGivenBack", whatWasNotHandedOverIsGivenBack},
		{"RetriesTakeOfTheBudget", retriesTakeOfTheBudget},
		{"BalanceAddsUp", balanceAddsUp},
		{"LowerBudgetHoldsAtOnce", lowerBudgetHoldsAtOnce},
		{"BudgetCountsWhatWasUsedBefore", budgetCountsWhatWasUsedBefore},
		{"ARefusedStartEndsNoRetry", aRefusedStartEndsNoRetry},
		{"WhatIsNeverSentIsGivenBack", whatIsNeverSentIsGivenBack},
		{"AResendHoldsOneMessage", aResendHoldsOneMessage},
		{"ABudgetThatComesBackKnowsWhatItHolds", aBudgetThatComesBackKnowsWhatItHolds},
		{"WhatWasPaidInStays", whatWasPaidInStays},
		{"ATopUpBeginsAnotherBalance", aTopUpBeginsAnotherBalance},
		{"OnlyABalanceEndsATrial", onlyABalanceEndsATrial},
		{"ABudgetsUseIsMarkedOnce", aBudgetsUseIsMarkedOnce},
		{"AnHoursBudgetEndsWithTheHour", anHoursBudgetEndsWithTheHour},
		{"CountryLimitsHoldForAllProjects", countryLimitsHoldForAllProjects},
		{"ACountrysLimitIsSpentExactly", aCountrysLimitIsSpentExactly},
		{"CountryLimitCountsWhatWasFolded", countryLimitCountsWhatWasFolded},
		{"AStartThatIsRefusedDividesNothing", aStartThatIsRefusedDividesNothing},
		{"AGrantIsNobodyElses", aGrantIsNobodyElses},
		{"FoldedSpendingAddsUp", foldedSpendingAddsUp},
		{"WeightsAreKept", weightsAreKept},
		{"UsageIsCountedOnce", usageIsCountedOnce},
		{"LateEndsCountOnce", lateEndsCountOnce},
		{"ProcessesCountTogether", processesCountTogether},
		{"TooMuchUsageIsRefused", tooMuchUsageIsRefused},
		{"UsageIsFolded", usageIsFolded},
		{"UsageIsFoldedIntoMonths", usageIsFoldedIntoMonths},
		{"WritersAddToFoldedHours", writersAddToFoldedHours},

		{"DeadHoldersMessageIsDueAtTheEndOfItsLease", deadHoldersMessageIsDueAtTheEndOfItsLease},
		{"SweepReadsEachRowOnce", sweepReadsEachRowOnce},
		{"RenewedLeaseMovesItsHint", renewedLeaseMovesItsHint},
		{"CallIsRecordedWithItsAttempt", callIsRecordedWithItsAttempt},
		{"WhatHasChangedIsNotPutOff", whatHasChangedIsNotPutOff},
		{"LeaseIsRenewedAsLongAsACallTakes", leaseIsRenewedAsLongAsACallTakes},
		{"SettledMessageIsLookedAtOnceMoreAtMost", settledMessageIsLookedAtOnceMoreAtMost},
		{"MessageToRetryIsDueThen", messageToRetryIsDueThen},
		{"MessageOfSilenceIsDueWhenItsWatchEnds", messageOfSilenceIsDueWhenItsWatchEnds},
		{"PostponedMessageIsDueThen", postponedMessageIsDueThen},
		{"ReceiptIsRecordedOnce", receiptIsRecordedOnce},
		{"ReceiptAndEndOfAnAttemptComeInAnyOrder", receiptAndEndOfAnAttemptComeInAnyOrder},
		{"CarriersOwnIDNamesItsNewestMessage", carriersOwnIDNamesItsNewestMessage},
		{"StartBehindTheSweeperIsRefused", startBehindTheSweeperIsRefused},
		{"SweepOfManyLetsOthersWrite", sweepOfManyLetsOthersWrite},
		{"SweepAmongStartsForgetsNoMessage", sweepAmongStartsForgetsNoMessage},

		{"RetentionDeletesOnlyWhatHasEndedBefore", retentionDeletesOnlyWhatHasEndedBefore},
		{"RetentionKeepsWhatADestinationRemembers", retentionKeepsWhatADestinationRemembers},
		{"RetentionLetsOthersWrite", retentionLetsOthersWrite},
		{"RetentionForgetsNumbersLater", retentionForgetsNumbersLater},
		{"AClockSetBackForgetsNoMessage", aClockSetBackForgetsNoMessage},
		{"ARestoreVoidsWhatIsPending", aRestoreVoidsWhatIsPending},
		{"ANumbersHistoryIsItsVerifications", aNumbersHistoryIsItsVerifications},
		{"ANumberIsLookedUpInAllProjects", aNumberIsLookedUpInAllProjects},
		{"AResetIsWrittenDown", aResetIsWrittenDown},
		{"AnErasedNumberIsForgotten", anErasedNumberIsForgotten},
		{"AnErasureIsWholeOrRefused", anErasureIsWholeOrRefused},
		{"AResetOfSendsKeepsGuesses", aResetOfSendsKeepsGuesses},
		{"RetentionStopsWhenCanceled", retentionStopsWhenCanceled},

		{"AKeyApprovesOnce", aKeyApprovesOnce},
		{"AKeyAmongOthersIsDecidedInOrder", aKeyAmongOthersIsDecidedInOrder},
		{"AKeyAndACodeInTwoProcessesApproveOnce", aKeyAndACodeInTwoProcessesApproveOnce},
		{"AKeyFromWhoLostTheLeaseIsNothing", aKeyFromWhoLostTheLeaseIsNothing},
		{"AKeyTellsTheUser", aKeyTellsTheUser},
		{"AKeyForASupersededCallIsNothing", aKeyForASupersededCallIsNothing},
		{"NoByKeyCancels", noByKeyCancels},
		{"FailedCommitOfAKeyApprovesNothing", failedCommitOfAKeyApprovesNothing},

		{"UsersLifeIsKept", usersLifeIsKept},
		{"NewerCodeSupersedesTheOlder", newerCodeSupersedesTheOlder},
		{"AUniqueNumberIsOneUsers", aUniqueNumberIsOneUsers},
		{"OfManyWhoAskForANumberOneHasIt", ofManyWhoAskForANumberOneHasIt},
		{"AnImportComesBetweenALookAndAnAssociation", anImportComesBetweenALookAndAnAssociation},
		{"ImportsRaceForUniqueNumbers", importsRaceForUniqueNumbers},
		{"ANumberIsValidatedWhileItsCodeEnds", aNumberIsValidatedWhileItsCodeEnds},
		{"UsersAreFoundByTheirNumber", usersAreFoundByTheirNumber},
		{"NothingIsSentForASupersededCode", nothingIsSentForASupersededCode},
		{"AGroupSeesWhatItDidToAUser", aGroupSeesWhatItDidToAUser},
		{"ACheckByIDTellsTheUser", aCheckByIDTellsTheUser},
		{"GuessesAtAUserShareTheAttempts", guessesAtAUserShareTheAttempts},
		{"AnotherProjectsUserDoesNotExist", anotherProjectsUserDoesNotExist},
		{"DeletedApplicationLeavesNothing", deletedApplicationLeavesNothing},
		{"CrashedDeletionIsFinished", crashedDeletionIsFinished},
		{"DeletionAmongLoginsLeavesNothing", deletionAmongLoginsLeavesNothing},
		{"UsersLimitsAreExact", usersLimitsAreExact},
		{"PhonesAreHeldWhileACallMayLast", phonesAreHeldWhileACallMayLast},
		{"UsersAreListed", usersAreListed},
		{"UsersAreFoundInAllApplications", usersAreFoundInAllApplications},
		{"AnOperatorDeletesAUser", anOperatorDeletesAUser},
		{"DevicesAreKeptAsGiven", devicesAreKeptAsGiven},
		{"DevicesGoWithTheirUser", devicesGoWithTheirUser},
		{"ADeletionKeepsToItsVersion", aDeletionKeepsToItsVersion},
		{"AnImportCreatesAndChangesNothing", anImportCreatesAndChangesNothing},
		{"ImportsRace", importsRace},
		{"DevicesAreBoundedExactly", devicesAreBoundedExactly},
		{"DevicesAreResealedAndSettled", devicesAreResealedAndSettled},
		{"ARestoreForgetsEnrolments", aRestoreForgetsEnrolments},

		{"ApplicationsAreKeptAsGiven", applicationsAreKeptAsGiven},
		{"AnOperatorSaysHowCallsAreMade", anOperatorSaysHowCallsAreMade},
		{"ApplicationsChangeOneAfterTheOther", applicationsChangeOneAfterTheOther},
		{"ApplicationsNamesAreUniqueIfAsked", applicationsNamesAreUniqueIfAsked},
		{"AProjectsApplicationsAndTemplatesAreBounded", aProjectsApplicationsAndTemplatesAreBounded},
		{"TemplatesAreKeptAsGiven", templatesAreKeptAsGiven},
		{"ConsumersReplaceTheirSecret", consumersReplaceTheirSecret},
		{"ProjectsAreKeptAsGiven", projectsAreKeptAsGiven},
		{"DeletedProjectLeavesNothing", deletedProjectLeavesNothing},
		{"ProjectWithoutPendingOnesIsDeleted", projectWithoutPendingOnesIsDeleted},
		{"StoppedProjectDeletionGoesOn", stoppedProjectDeletionGoesOn},
		{"KeyOpensItsProjectUntilRevoked", keyOpensItsProjectUntilRevoked},
		{"RevocationWorksInAnotherProcess", revocationWorksInAnotherProcess},
		{"OperatorsAreKeptAsGiven", operatorsAreKeptAsGiven},
		{"ProvidedOperatorsAreAdmitted", providedOperatorsAreAdmitted},
		{"PasskeysSignInOnce", passkeysSignInOnce},
		{"OneLinkSetsUpOnce", oneLinkSetsUpOnce},
		{"RefusedLinksMakeAnAddressWait", refusedLinksMakeAnAddressWait},
		{"RefundsTakeBackOneCharge", refundsTakeBackOneCharge},
		{"OneCodeSignsInOnce", oneCodeSignsInOnce},
		{"ConcurrentSignInsShareTheFreeOnes", concurrentSignInsShareTheFreeOnes},
		{"WrongCredentialsLookTheSame", wrongCredentialsLookTheSame},
		{"SessionsEnd", sessionsEnd},
		{"OperatorsSecondFactorsAreResealed", operatorsSecondFactorsAreResealed},
		{"OperatorsChangesEndTheirSessions", operatorsChangesEndTheirSessions},
		{"ProcessesSeeWhatEachOtherWrote", processesSeeWhatEachOtherWrote},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.f(t, suite{open})
		})
	}
}

type suite struct {
	engine func(t *testing.T, now func() time.Time, commit Commit) Store
}

// open opens an empty store, which is closed when the test ends.
func (s suite) open(t *testing.T) *kit {
	t.Helper()
	k := &kit{t: t, clock: &clock{now: start}, gate: newGate()}
	k.Store = s.engine(t, k.clock.Now, k.gate.commit)
	t.Cleanup(k.end)
	return k
}

// end closes the store, also in the middle of a test that failed.
func (k *kit) end() {
	close(k.gate.ended)
	k.Close()
}

// A kit is a store with the clock and the gate that it was opened with.
type kit struct {
	Store
	t     rapid.TB
	clock *clock
	gate  *gate
}

// reopen closes the store and opens its data again.
func (k *kit) reopen(t *testing.T) {
	t.Helper()
	if err := k.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	k.Store = k.Again(t, k.clock.Now, k.gate.commit)
}

// start is the instant at which every clock of the suite starts.
var start = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// A clock stands still until the test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) set(now time.Time) { c.advance(now.Sub(c.Now())) }

// A gate stands before the commits. It counts them, and does with the next ones what it was told.
type gate struct {
	ended chan struct{} // closed when nothing is held any more

	mu     sync.Mutex                        // guards the two below
	groups []int                             // how many operations each commit had
	orders []func(commit func() error) error // for the next commits, in order
}

func newGate() *gate { return &gate{ended: make(chan struct{})} }

func (g *gate) commit(ops int, commit func() error) error {
	g.mu.Lock()
	g.groups = append(g.groups, ops)
	order := func(commit func() error) error { return commit() }
	if len(g.orders) > 0 {
		order, g.orders = g.orders[0], g.orders[1:]
	}
	g.mu.Unlock()
	return order(commit)
}

func (g *gate) order(f func(commit func() error) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.orders = append(g.orders, f)
}

// since returns the groups after the first n.
func (g *gate) since(n int) []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int{}, g.groups[n:]...)
}

func (g *gate) count() int { return len(g.since(0)) }

var errDisk = errors.New("the disk is gone")

// fail makes a commit fail.
func (g *gate) fail() { g.order(func(func() error) error { return errDisk }) }

// failAfter makes a commit happen, and fail.
func (g *gate) failAfter() {
	g.order(func(commit func() error) error { return errors.Join(commit(), errDisk) })
}

func (g *gate) pass() { g.order(func(commit func() error) error { return commit() }) }

// hold stops a commit: begun is closed when it is there, and closing let lets it go on.
func (g *gate) hold() (h held) {
	h = held{make(chan struct{}), make(chan struct{})}
	g.order(func(commit func() error) error {
		close(h.begun)
		select {
		case <-h.let:
		case <-g.ended:
		}
		return commit()
	})
	return h
}

type held struct{ begun, let chan struct{} }

// patience is how long a test waits for something that should happen at once.
const patience = 2 * time.Minute

// await waits for an event.
func await(t rapid.TB, what string, event <-chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(patience):
		t.Fatalf("%s didn't happen within %v", what, patience)
	}
}

// until waits for something that nobody announces.
func until(t rapid.TB, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("%s didn't happen within %v", what, patience)
		}
	}
}

// occupy holds the writer in the commit of an operation that changes nothing. What is called now
// is the next group, which goes on when let is closed.
func (k *kit) occupy() (let chan struct{}) {
	k.t.Helper()
	h := k.gate.hold()
	go k.Cancel(ctx, "", verify.NewID(k.clock.Now()))
	await(k.t, "the commit to hold", h.begun)
	return h.let
}

// together makes calls that arrive in this order while the writer is busy, and waits for all.
func (k *kit) together(calls ...func()) {
	k.t.Helper()
	let := k.occupy()
	var all sync.WaitGroup
	k.queue(&all, calls...)
	close(let)
	all.Wait()
}

// queue makes calls whose operations wait in this order for a writer that is busy.
func (k *kit) queue(all *sync.WaitGroup, calls ...func()) {
	k.t.Helper()
	before := k.Waiting()
	for i, call := range calls {
		all.Go(call)
		until(k.t, "the call's arrival", func() bool { return k.Waiting() == before+i+1 })
	}
}

var ctx = context.Background()

const (
	project = verify.ProjectID("p")
	secret  = "483920"
	lease   = 20 * time.Second
)

// number is the i-th of many.
func number(i int) phone.Number { return phone.Number(fmt.Sprintf("+1202%07d", 2000000+i)) }

// fresh is a verification that nobody has started. A store doesn't look into a code's MAC; here it
// is the code itself.
func (k *kit) fresh(to phone.Number) *verify.Verification {
	id := verify.NewID(k.clock.Now())
	return &verify.Verification{
		ID: id, Project: project, Application: verify.ID{1}, Purpose: verify.PurposeMFA, APIKey: verify.ID{2}, Address: "192.0.2.1",
		Terms: verify.Terms{
			Channel: verify.ChannelSMS, To: to, Written: "+541123456789", Sender: "+12025550100", Text: "Your code is {code}", Locale: "pt-BR",
			Fallbacks: []verify.Fallback{{Channel: verify.ChannelVoice, Text: "It is\u00a0\x02.\n"}},
			Format:    code.Numeric, Length: len(secret), MaxAttempts: 3, ExpiresAt: id.Time().Add(time.Hour),
		},
		Code: verify.Code{KeyID: 1 << 31, CodeMAC: []byte(secret), SealedCode: []byte("sealed")},
	}
}

// start starts a verification, changed by edits, without limits.
func (k *kit) start(to phone.Number, edits ...func(*verify.Verification)) *verify.Verification {
	k.t.Helper()
	v := k.fresh(to)
	for _, edit := range edits {
		edit(v)
	}
	if err := k.Start(ctx, v, verify.Limits{}, lease); err != nil {
		k.t.Fatalf("start: %v", err)
	}
	return v
}

// startMany starts verifications of n numbers and returns them by id.
func (k *kit) startMany(n int, edits ...func(*verify.Verification)) []*verify.Verification {
	k.t.Helper()
	const callers = 128
	started := make([]*verify.Verification, n)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := c; i < n; i += callers {
				v := k.fresh(number(i))
				for _, edit := range edits {
					edit(v)
				}
				if err := k.Start(ctx, v, verify.Limits{}, lease); err != nil {
					k.t.Errorf("start: %v", err)
				}
				started[i] = v
			}
		})
	}
	all.Wait()
	if k.t.Failed() {
		k.t.FailNow()
	}
	return started
}

func lives(d time.Duration) func(*verify.Verification) {
	return func(v *verify.Verification) { v.ExpiresAt = v.ID.Time().Add(d) }
}

func allows(attempts int) func(*verify.Verification) {
	return func(v *verify.Verification) { v.MaxAttempts = attempts }
}

// guess is somebody's typing of a code.
func guess(v *verify.Verification, typed string) verify.Guess {
	return verify.Guess{Project: v.Project, ID: v.ID, Profile: verify.ProfileCompat, Matches: func(v *verify.Verification) (bool, error) {
		return string(v.CodeMAC) == typed, nil
	}}
}

func right(v *verify.Verification) verify.Guess { return guess(v, secret) }
func wrong(v *verify.Verification) verify.Guess { return guess(v, "000000") }

// approvedWith and wrongWith are what comes of a guess that leaves n.
func approvedWith(n int) verify.Outcome {
	return verify.Outcome{Approved: true, GuessesLeft: n, Channel: verify.ChannelSMS, Country: "AR"}
}

func wrongWith(n int) verify.Outcome {
	return verify.Outcome{GuessesLeft: n, Channel: verify.ChannelSMS}
}

// check checks a guess and demands an outcome.
func (k *kit) check(g verify.Guess, want verify.Outcome) {
	k.t.Helper()
	got, err := k.Check(ctx, g)
	if err != nil || got != want {
		k.t.Fatalf("check: got %+v, %v; want %+v", got, err, want)
	}
}

// stored reads a verification that must be there.
func (k *kit) stored(id verify.ID) *verify.Verification {
	k.t.Helper()
	v, err := k.Verification(ctx, id)
	if err != nil {
		k.t.Fatalf("verification %v: %v", id, err)
	}
	return v
}

// gone demands that there is no such verification.
func (k *kit) gone(id verify.ID) {
	k.t.Helper()
	if _, err := k.Verification(ctx, id); !errors.Is(err, verify.ErrNotFound) {
		k.t.Errorf("verification %v: got error %v, want %v", id, err, verify.ErrNotFound)
	}
}

func (k *kit) deliveries(id verify.ID) []verify.Delivery {
	k.t.Helper()
	all, err := k.Deliveries(ctx, id)
	if err != nil {
		k.t.Fatalf("deliveries of %v: %v", id, err)
	}
	return all
}

// destination reads a number's row, or nil.
func (k *kit) destination(n phone.Number) *verify.Destination {
	k.t.Helper()
	all, err := k.Destinations(ctx)
	if err != nil {
		k.t.Fatalf("destinations: %v", err)
	}
	for _, d := range all {
		if d.Project == project && d.Number == n {
			return &d
		}
	}
	return nil
}

func (k *kit) hints() []Hint {
	k.t.Helper()
	all, err := k.Hints(ctx)
	if err != nil {
		k.t.Fatalf("hints: %v", err)
	}
	return all
}

func (k *kit) sweep() {
	k.t.Helper()
	if err := k.Sweep(ctx); err != nil {
		k.t.Fatalf("sweep: %v", err)
	}
}

func (k *kit) due() []verify.Overdue {
	k.t.Helper()
	all, _, err := k.Due(ctx, verify.Hint{}, 10_000, nil)
	if err != nil {
		k.t.Fatalf("due: %v", err)
	}
	return all
}

// claim claims an overdue message. Without one to take it returns nil.
func (k *kit) claim(o verify.Overdue) *verify.Verification {
	k.t.Helper()
	v, lost, err := k.Claim(ctx, o, lease)
	if err != nil {
		k.t.Fatalf("claim: %v", err)
	}
	if ran := o.Verification.Delivery == verify.DeliverySending; v != nil && (lost != nil) != ran {
		k.t.Errorf("claim: told of the lost attempt %+v; one lost its lease: %t", lost, ran)
	}
	return v
}

// sent is the report of an attempt that a carrier accepted.
func (k *kit) sent(v *verify.Verification) verify.Settlement {
	now := k.clock.Now()
	return verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: v.Attempt, Channel: verify.ChannelVoice, Carrier: "c", Ref: "ref", StartedAt: now}}
}

// equal compares what was got with what must be.
func equal(t rapid.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: -want +got\n%s", what, d)
	}
}

// wantError demands an error.
func wantError(t rapid.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}
