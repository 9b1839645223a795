package main

// Where tests stand.
const (
	inCode      = "./internal/code"
	inDispatch  = "./internal/dispatch"
	inKeyset    = "./internal/keyset"
	inLimit     = "./internal/limit"
	inPhone     = "./internal/phone"
	inRequest   = "./internal/request"
	inSIP       = "./internal/carrier/sip"
	inSMS       = "./internal/sms"
	inSpeech    = "./internal/speech"
	inStore     = "./internal/store"
	inVerify    = "./internal/verify"
	inWeb       = "./internal/web"
	inRoute     = "./internal/route"
	inSyniverse = "./internal/face/syniverse"
	inSystem    = "./internal/system"
	inTemplate  = "./internal/template"
	inProvider  = "./internal/carrier/provider"
)

// Files that several mutants change.
const (
	codeFile         = "internal/code/code.go"
	typedFile        = "internal/typed/typed.go"
	numberFile       = "internal/phone/phone.go"
	planFile         = "internal/phone/plan.go"
	policyFile       = "internal/verify/policy.go"
	batchFile        = "internal/store/batch.go"
	exchangeFile     = "internal/carrier/exchange/exchange.go"
	providerFile     = "internal/carrier/provider/provider.go"
	ringFile         = "internal/keyset/ring.go"
	findFile         = "internal/carrier/provider/find.go"
	templateFile     = "internal/carrier/provider/template.go"
	proofFile        = "internal/carrier/provider/proof.go"
	gateFile         = "internal/web/gate.go"
	callbackFile     = "internal/carrier/provider/callback.go"
	storeFile        = "internal/store/store.go"
	userRowFile      = "internal/store/user.go"
	sqliteFile       = "internal/store/sqlite.go"
	pgSessionFile    = "internal/store/pgsession.go"
	identityFile     = "internal/store/pgidentity.go"
	upkeepFile       = "internal/store/upkeep.go"
	idFile           = "internal/verify/id.go"
	leaseFile        = "internal/dispatch/lease.go"
	flightFile       = "internal/dispatch/flight.go"
	dispatchFile     = "internal/dispatch/dispatch.go"
	phoneFile        = "internal/verify/phone.go"
	breakerFile      = "internal/dispatch/breaker.go"
	blameFile        = "internal/carrier/blame.go"
	failoverFile     = "internal/dispatch/failover.go"
	receiptFile      = "internal/dispatch/receipt.go"
	deliveryFile     = "internal/verify/delivery.go"
	destinationFile  = "internal/verify/destination.go"
	verificationFile = "internal/verify/verification.go"
	serviceFile      = "internal/verify/verify.go"

	callFile     = "internal/carrier/sip/call.go"
	legFile      = "internal/carrier/sip/leg.go"
	mediaFile    = "internal/carrier/sip/media.go"
	talkFile     = "internal/carrier/sip/talk.go"
	approvalFile = "internal/verify/approval.go"
	speechFile   = "internal/speech/speech.go"
	userFile     = "internal/verify/user.go"
)

// stores names a test of the suite that every store must pass.
func stores(name string) test {
	return test{inStore, "^TestSQLiteIsAStore$/^" + name + "$"}
}

// mutants are the faults, by what they are about. A new promise is worth a line here: a fault that
// breaks it, and the fewest tests that notice.
var mutants = []mutant{
	// Guesses.
	{
		"reserve-for-old-codes", "During a wait only a code that was sent after the latest failure is evaluated.",
		[]edit{{destinationFile, "v.Guesses == 0 && v.ID.Time().After(d.waitsSince(p))", "v.Guesses == 0"}},
		test{inVerify, "^(TestWhateverHappensTheRulesHold|TestANewCodeIsEvaluatedInSpiteOfAStrangersGuesses)$"},
	},
	{
		"reserve-without-end", "The first guess at a new code ends at a hundred failures, too.",
		[]edit{{destinationFile, "	case d.Failures >= MaxFailures:\n		return ErrTooManyGuesses.After(lockedFor)\n	case d.Failures < MaxFailures-Reserve", "	case d.Failures < MaxFailures-Reserve"}},
		test{inVerify, "^(TestWhateverHappensTheRulesHold|TestANewCodeIsEvaluatedInSpiteOfAStrangersGuesses)$"},
	},
	{
		"shut-out-by-guesses", "A stranger's wrong guesses don't keep a new code from being evaluated.",
		[]edit{{destinationFile, "	case v.Guesses == 0 && v.ID.Time().After(d.waitsSince(p)):\n		return nil\n", ""}},
		test{inVerify, "^(TestWhateverHappensTheRulesHold|TestANewCodeIsEvaluatedInSpiteOfAStrangersGuesses)$"},
	},
	{
		"shut-out-by-sends", "A day's sends can't be spent at once.",
		[]edit{{"internal/verify/project.go", "		w.Free = (l.Daily + 1) / 2\n", "		w.Free = 0\n"}},
		test{inVerify, "^TestADaysSendsAreSpread$"},
	},
	{
		"start-without-its-key", "The key, and the client's address, by which a verification was started can be told.",
		[]edit{{"internal/verify/verify.go", "		APIKey:      acct.KeyID,\n", ""}},
		test{"./cmd/countersign", "^TestWhatAKeyHasStartedCanBeTold$"},
	},
	{
		"wrong-guess-not-committed", "A wrong guess is spent on disk before it is answered.",
		[]edit{{userRowFile, "v.dirty, r.decided = true, v", "v.dirty, r.decided = out.Approved, v"}},
		stores("WhatAGuessChangesIsWritten"),
	},
	{
		"success-leaves-failures", "A success clears a number's failures on disk.",
		[]edit{{userRowFile, "d.value.Failures != failures ||", "d.value.Failures > failures ||"}},
		stores("WhatAGuessChangesIsWritten"),
	},
	{
		"counter-per-verification-only", "Wrong guesses count against the number, over all its verifications.",
		[]edit{{verificationFile, "d.fail(g.Profile, now)", ""}},
		test{inVerify, "^TestAfterAHundredFailuresOnlyClearHelps$"},
	},
	{
		"one-guess-more", "As many guesses are evaluated as were allowed, and not one more.",
		[]edit{{verificationFile, "if left <= 0 {", "if left < 0 {"}},
		test{inVerify, "^TestMaxAttemptsGuessesAreEvaluatedAndNotOneMore$"},
	},
	{
		"our-fault-spends-a-guess", "A guess that nobody can judge spends nothing.",
		[]edit{{verificationFile, "right, err := g.Matches(v)", "v.Guesses++\n\tright, err := g.Matches(v)"}},
		test{inVerify, "^TestAGuessThatNobodyCanJudgeSpendsNothing$"},
	},
	{
		"success-clears-nothing", "A right code clears the number's failures.",
		[]edit{{verificationFile, "d.Clear()", ""}},
		test{inVerify, "^TestASuccessClearsTheFailuresAndNothingElseDoes$"},
	},
	{
		"new-code-clears-failures", "A new code doesn't reset the failures, or asking for codes would buy guesses.",
		[]edit{{destinationFile, "d.TAT, d.Sends = tat, sends", "d.TAT, d.Sends = tat, sends\n\td.Clear()"}},
		test{inVerify, "^TestASuccessClearsTheFailuresAndNothingElseDoes$"},
	},
	{
		"expiry-left-to-a-cleaner", "A code is dead from the instant of its expiry, not from when somebody cleans up.",
		[]edit{{verificationFile, "if v.Status == Pending && !now.Before(v.ExpiresAt) {", "if false {"}},
		test{inVerify, "^TestGuessesAreRefusedFromTheInstantOfExpiry$"},
	},
	{
		"expiry-one-instant-late", "A guess at the instant of expiry is refused.",
		[]edit{{verificationFile, "!now.Before(v.ExpiresAt)", "now.After(v.ExpiresAt)"}},
		test{inVerify, "^TestGuessesAreRefusedFromTheInstantOfExpiry$"},
	},
	{
		"token-compared-before-trimming", "A code is read as people type it.",
		[]edit{{codeFile, "if r = typed.Rune(r); r == typed.Nothing {", "if r = typed.Rune(r); r == 0 {"}},
		test{inCode, "^TestNormalize$"},
	},
	{
		"digits-of-other-scripts-in-codes", "A code may be typed in the digits of any script.",
		[]edit{{typedFile, "	return digit(r)\n", "	return r\n"}},
		test{inVerify, "^TestACodeIsReadAsPeopleTypeIt$"},
	},
	{
		"invisible-characters-in-codes", "Invisible characters that come along with a code spend no guess.",
		[]edit{{typedFile, "unicode.Pd, unicode.Cf, ", "unicode.Pd, "}},
		test{inVerify, "^TestACodeIsReadAsPeopleTypeIt$"},
	},
	{
		"a-key-for-each-form", "All forms of a phone's number share its limits and failures.",
		[]edit{{serviceFile, "t.to.Key(),", "t.to,"}},
		test{inVerify, "^TestAllFormsOfANumberAreOnePhone$"},
	},
	{
		"key-sent-to-the-carrier", "The carrier gets the form of a number that its caller wrote.",
		[]edit{{verificationFile, "v.Reach(),\n		From:", "v.To,\n		From:"}},
		test{inVerify, "^TestAllFormsOfANumberAreOnePhone$"},
	},
	{
		"digits-behind-a-number", "Digits behind a whole number make no other key.",
		[]edit{{planFile, "whole := n; len(whole) > minDigits;", "whole := n; whole == n;"}},
		test{inPhone, "^TestOneKeyForAllFormsOfAPhone$"},
	},
	{
		"impossible-length-sent-to", "A number of a length that its country's numbers don't have is refused.",
		[]edit{{policyFile, "case !n.Possible():", "case !n.Possible() && project.Profile == Standard:"}},
		test{inVerify, "^TestNumbersAreReadAsTheProfileSays$"},
	},
	{
		"premium-number-sent-to", "A number of a special kind is sent to only if the project allows the kind.",
		[]edit{{policyFile, "case kind != phone.Ordinary && !slices.Contains(project.Kinds, kind):", "case kind != phone.Ordinary && len(project.Kinds) == 0:"}},
		test{inVerify, "^TestNumbersOfOtherKindsMustBeAllowed$"},
	},
	{
		"premium-area-taken-for-ordinary", "An area code of premium numbers makes a number one.",
		[]edit{{planFile, "			return a.kind\n", "			return Ordinary\n"}},
		test{inPhone, "^TestKinds$"},
	},
	{
		"standard-sends-anywhere", "A standard project sends to the countries that it allows, and without any to none.",
		[]edit{{"internal/verify/project.go", "return p.Profile != Standard", "return true"}},
		test{inVerify, "^TestCountriesMustBeAllowed$"},
	},
	{
		"country-by-calling-code", "Countries that share a calling code are allowed each by itself.",
		[]edit{{policyFile, "!slices.Contains(project.Countries, n.Region())", "!slices.ContainsFunc(project.Countries, func(c string) bool { return c == n.Region() || c == \"US\" && n.CountryCode() == 1 })"}},
		test{inVerify, "^TestCountriesMustBeAllowed$"},
	},
	{
		"form-space-refused", "The space that a form makes of a plus is a plus.",
		[]edit{{"internal/request/request.go", "		return \"+\" + rest\n", "		return s\n"}},
		test{"./internal/request", "^TestAFormsSpaceBeforeANumberIsAPlus$"},
	},
	{
		"hung-up-client-stops-a-check", "A client that hangs up is charged all the same.",
		[]edit{{serviceFile, "s.store.Check(context.WithoutCancel(ctx), g)", "s.store.Check(ctx, g)"}},
		test{inVerify, "^TestACallerThatHangsUpStopsNothing$"},
	},
	{
		"hung-up-client-not-charged", "An operation that the store has taken happens, whoever hangs up.",
		[]edit{
			{storeFile, "func (s *Store) Check(_ context.Context, g", "func (s *Store) Check(ctx context.Context, g"},
			{storeFile, "v, err := r.owned(g.ID, g.Project)", "if err := ctx.Err(); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n\t\t\tv, err := r.owned(g.ID, g.Project)"},
		},
		stores("HungUpCallerIsCharged"),
	},

	// Users.
	{
		"superseded-code-validates", "A newer code of a user takes the older one's place.",
		[]edit{{userFile, "return u.Current != v.ID && u", "return u.Current != v.ID && v == nil && u"}},
		stores("NewerCodeSupersedesTheOlder"),
	},
	{
		"deleted-application-validates", "From the first commit of its deletion on, nothing of an application validates.",
		[]edit{{userRowFile, "!ok || owner != p {", "ok && owner != p {"}},
		stores("CrashedDeletionIsFinished"),
	},
	{
		"deleted-users-code-lives", "Whoever deletes a user cancels his code, and wipes its sealed copy.",
		[]edit{{userRowFile, "u.value.Drop(r.current(u), now)", "u.value.Drop(nil, now)"}},
		stores("DeletedApplicationLeavesNothing"),
	},
	{
		"users-sends-not-counted", "A user gets one code each interval, and so many in a period.",
		[]edit{{userFile, "u.Sends, u.Current = sends, v.ID", "_, u.Current = sends, v.ID"}},
		stores("UsersLimitsAreExact"),
	},
	{
		"template-says-code-twice", "A text that says {code} says that, and not the code.",
		[]edit{{"internal/verify/template.go", `codeMark  = "\x01"`, `codeMark  = placeholder`}},
		test{inVerify, "^TestATextIsFilledIn$"},
	},
	{
		"old-token-opens-still", "A token that was replaced stops working here at once.",
		[]edit{{"internal/verify/token.go", "s.accounts.Remove(replaced)", "_ = replaced"}},
		test{inVerify, "^TestAConsumerReplacesItsToken$"},
	},

	// Senders and links.
	{
		"any-sender-opens-anothers", "What another project was given to send from is nobody else's, also not with --sender any.",
		[]edit{{"internal/verify/project.go", "p.AnySender && !slices.ContainsFunc(p.Taken, looksLike(from))", "p.AnySender"}},
		test{inVerify, "^(TestAnApplicationsSenderIsItsProjects|TestFromMustBeASenderOfTheProject)$"},
	},
	{
		"others-senders-forgotten", "A project that may use any sender is told which are others'.",
		[]edit{{"internal/store/admin.go", "WHERE o.id <> p.id AND", "WHERE o.id = p.id AND"}},
		stores("KeyOpensItsProjectUntilRevoked"),
	},
	{
		"new-project-sends-from-any", "A project without senders sends from the public one.",
		[]edit{{"internal/verify/project.go", "return slices.ContainsFunc(p.Senders, sameSender(from)) ||", "return len(p.Senders) == 0 || slices.ContainsFunc(p.Senders, sameSender(from)) ||"}},
		test{inVerify, "^(TestAnApplicationsSenderIsItsProjects|TestFromMustBeASenderOfTheProject)$"},
	},
	{
		"old-projects-lose-any-sender", "Projects that were made before senders had to be said keep theirs.",
		[]edit{{"internal/store/admin.go", "COALESCE(p.any_sender, p.senders = ''), p.link_hosts", "COALESCE(p.any_sender, p.senders <> ''), p.link_hosts"}},
		test{inStore, "^TestProjectsKeepTheSendersAndLinksThatTheyHad$"},
	},
	{
		"text-names-any-site", "A text message names the project's web sites only.",
		[]edit{{"internal/verify/policy.go", "c == SMS && project.foreignSite(full)", "c == Push && project.foreignSite(full)"}},
		test{inVerify, "^TestWhereATextMayNoForeignSiteBeNamed$"},
	},
	{
		"template-names-any-site", "A user's message names the project's web sites only.",
		[]edit{{"internal/verify/template.go", "c == SMS && acct.Project.foreignSite(full)", "c == Push && acct.Project.foreignSite(full)"}},
		test{inVerify, "^TestWhereATextMayNoForeignSiteBeNamed$"},
	},
	{
		"site-ends-like-the-projects", "A site that ends like the project's isn't below it.",
		[]edit{{"internal/verify/link.go", `strings.HasSuffix(host, "."+own)`, "strings.HasSuffix(host, own)"}},
		test{inVerify, "^TestATextNamesTheProjectsWebSitesOnly$"},
	},
	{
		"code-bound-to-any-site", "A text binds its code to no site but the project's.",
		[]edit{{"internal/verify/link.go", "if !p.owns(line[1]) {", "if !p.owns(line[1]) && false {"}},
		test{inVerify, "^TestATextNamesTheProjectsWebSitesOnly$"},
	},

	// What stands open on this machine.
	{
		"operations-answer-any-name", "By loopback, the operations listener answers to loopback's names only.",
		[]edit{{"internal/web/web.go", `r.Host != "" && !Loopback(r.Host)`, `r.Host == "nobody"`}},
		test{inWeb, "^TestByLoopbackOnlyItsNamesAreAnswered$"},
	},
	{
		"simulator-may-be-framed", "No other page frames the simulator's.",
		[]edit{{"internal/carrier/sim/http.go", "; frame-ancestors 'none'", ""}},
		test{"./internal/carrier/sim", "^TestAPersonSeesTheNewestMessagesAndTheNumbers$"},
	},
	{
		"refused-refresh-counts-as-ours", "A wrong consumer secret isn't counted as a fault of the server.",
		[]edit{{"internal/web/web.go", "v.counts = status", "_ = status"}},
		test{inWeb, "^TestAnAnswerMayCountAsAnother$"},
	},
	{
		"any-charset-is-read-as-utf8", "A body in a charset that doesn't read as UTF-8 is refused.",
		[]edit{{"internal/request/request.go", "return false\n}\n\n// object reads", "return true\n}\n\n// object reads"}},
		test{inRequest, "^TestReadTellsWhatIsWrongWithABody$"},
	},
	{
		"require-counts-as-verified", "A database whose certificate isn't checked is warned of.",
		[]edit{{"internal/store/postgres.go", "c == nil || c.InsecureSkipVerify &&", "c == nil || false && c.InsecureSkipVerify &&"}},
		test{inStore, "^TestOnlyACheckedCertificateIsVerified$"},
	},

	{
		"life-of-zero-fills-the-disk", "What never lives is answered and not stored.",
		[]edit{{serviceFile, "if r.Life != nil && *r.Life == 0 {", "if r.Life != nil && *r.Life < 0 {"}},
		test{inVerify, "^TestWhatNeverLivesIsNotKept$"},
	},

	// Keys in standard.
	{
		"standard-says-the-code-to-mailboxes", "In standard a call says its code only after a key was pressed.",
		[]edit{{approvalFile, "if p == Standard {\n\t\treturn AfterKey", "if p == Compat {\n\t\treturn AfterKey"}},
		test{inVerify, "^TestStandardSaysACodeAfterAKeyAndTakesNoneInstead$"},
	},
	{
		"standard-approves-by-a-key", "In standard no key alone approves.",
		[]edit{{approvalFile, "return p != Standard }", `return p != "" }`}},
		test{inVerify, "^TestStandardSaysACodeAfterAKeyAndTakesNoneInstead$"},
	},
	{
		"trunk-forgets-the-key", "A message that wants a key first gets one.",
		[]edit{{callFile, "|| m.AfterKey && !l.c.SkipKeypress", ""}},
		test{inSIP, "^TestWithRequireKeypressTheCodeWaitsForAKey$"},
	},

	// Signatures of providers that somebody saw.
	{
		"signature-opens-again", "A provider's signature that was used opens nothing again.",
		[]edit{{callbackFile, "|| once(rep) && !c.used.take(rep.marks) {", "|| once(rep) && !c.used.take(nil) {"}},
		test{inProvider, "^TestACapturedSignatureOpensNothing$"},
	},
	{
		"older-signature-for-calls", "Plivo's older signature, which says nothing of the form, is none of a call's.",
		[]edit{{proofFile, "channel != string(verify.Voice) && provesPlivoURL(r, text)", "provesPlivoURL(r, text)"}},
		test{inProvider, "^TestPlivosSecondVersionCountsWhereThereIsNoThird$"},
	},
	{
		"uncovered-form-names-a-message", "What a signature doesn't cover names no message.",
		[]edit{{callbackFile, `receipt.Ref = "" // anybody could have written it`, "_ = receipt.Ref"}},
		test{inProvider, "^TestAnUncoveredFormNamesNoMessage$"},
	},
	{
		"words-as-long-as-the-code-lives", "A call is told what to say only for some minutes after it was ordered.",
		[]edit{{"internal/dispatch/words.go", "d.Now().Sub(h.StartedAt) > askedWithin", "false"}},
		test{inDispatch, "^TestTheWordsOfACallAreForItsCarrierWhileTheCodeLives$"},
	},

	// Tenants and their keys.
	{
		"tenancy-not-checked", "Another project's verification doesn't exist.",
		[]edit{{batchFile, "if v == nil || v.value.Project != p {", "if v == nil {"}},
		stores("AnotherProjectsVerificationDoesNotExist"),
	},
	{
		"key-opens-any-project", "A key opens its own project only.",
		[]edit{{serviceFile, "[]byte(p)) != 1 {", "[]byte(p)) < 0 {"}},
		test{inVerify, "^TestAKeyOpensItsOwnProjectOnly$"},
	},
	{
		"key-kept-for-ever", "A revoked key stops working within a second.",
		[]edit{{serviceFile, "!ok || age < 0 || age >= accountLife", "!ok || age < 0"}},
		test{inVerify, "^TestARevokedKeyStopsWorkingWithinASecond$"},
	},
	{
		"revocation-not-read", "A revoked key opens nothing.",
		[]edit{{"internal/store/admin.go", "WHERE k.hash = $1 AND k.revoked_at = 0", "WHERE k.hash = $1"}},
		stores("KeyOpensItsProjectUntilRevoked"),
	},
	{
		"change-without-audit", "No change to a project or a key is committed without the entry that says who made it.",
		[]edit{{"internal/store/destination.go", "			return fmt.Errorf(\"write audit: %w\", err)\n", "			return nil\n"}},
		test{inStore, "^TestWithoutItsAuditNothingChanges$/^SQLite$"},
	},

	{
		"memory-before-disk", "What another process wrote is seen, whatever is remembered.",
		[]edit{{sqliteFile, "if version != s.version {", "if s.version == 0 {"}},
		stores("ProcessesSeeWhatEachOtherWrote"),
	},

	// Codes.
	{
		"modulo-bias", "Every code of a format and length is equally likely.",
		[]edit{{codeFile, "if int(b) < limit {", "if limit > 0 {"}},
		test{inCode, "^TestGenerateAtTheBorder$"},
	},
	{
		"mac-not-bound-to-id", "A MAC copied onto another verification's row opens nothing.",
		[]edit{{"internal/keyset/keyset.go", "b.Project, string(b.ID[:]), b.Destination,", "b.Project, b.Destination,"}},
		test{inKeyset, "^TestMACIsBoundToEverythingItWasMadeFor$"},
	},
	{
		"mac-not-bound-to-number", "A MAC copied onto another number's row opens nothing.",
		[]edit{{"internal/keyset/keyset.go", "string(b.ID[:]), b.Destination, b.Purpose", "string(b.ID[:]), b.Purpose"}},
		test{inKeyset, "^TestMACIsBoundToEverythingItWasMadeFor$"},
	},
	{
		"key-unknown-to-others", "A key makes codes only when all servers have it.",
		[]edit{{ringFile, "if ok && !slices.ContainsFunc(others, lacked) {", "if ok && (true || !slices.ContainsFunc(others, lacked)) {"}},
		test{inSystem, "^TestAPromotedKeyWaitsForAllServers$"},
	},
	{
		"key-of-others-missing", "A server that lacks a key which others make codes with makes none.",
		[]edit{{ringFile, "if theirs, ok := find(o.Prints, o.Primary); !ok || !slices.Contains(mine, theirs) {", "if theirs, ok := find(o.Prints, o.Primary); false && (!ok || !slices.Contains(mine, theirs)) {"}},
		test{inSystem, "^TestAServerWithAnotherKeysetIsNotReady$"},
	},
	{
		"keys-chosen-concurrently", "Servers with different keysets that start together don't both make codes.",
		[]edit{{"internal/store/keys.go", "`LOCK TABLE key_holder IN SHARE ROW EXCLUSIVE MODE`", "`SELECT pg_sleep(0.2)`"}},
		test{inSystem, "^TestOfTwoKeysetsOneIsUsed$"},
	},
	{
		"reloaded-key-used-at-once", "A keyset that was read again doesn't change which key makes codes before it was compared.",
		[]edit{{"internal/keyset/keyset.go", "\tif s.chosen {\n", "\tif false {\n"}},
		test{inSystem, "^TestAPromotedKeyWaitsForAllServers$"},
	},
	{
		"lost-keyset-unnoticed", "A server that lacks a key of pending codes isn't ready.",
		[]edit{{"internal/store/keys.go", "\t\treturn true, nil\n", "\t\treturn false, nil\n"}},
		test{inSystem, "^TestAServerThatLacksAKeyOfPendingCodesIsNotReady$"},
	},
	{
		"lost-keyset-of-a-quiet-server-unnoticed", "A server that lacks a key of pending codes isn't ready, also long after a server last said that it uses the key.",
		[]edit{{"internal/store/keys.go", "\tif alone {\n", "\tif false {\n"}},
		test{inSystem, "^TestAServerThatLacksAKeyOfPendingCodesIsNotReady$"},
	},
	{
		"sealed-copy-outlives-approval", "The sealed copy of a code is gone with the write that ends its verification.",
		[]edit{{verificationFile, "v.Status, v.EndedAt, v.SealedCode = s, now, nil", "v.Status, v.EndedAt = s, now"}},
		stores("EndWipesTheSealedCode"),
	},
	{
		"code-in-a-log-line", "A code never shows in a log line.",
		[]edit{{idFile, "slog.StringValue(redacted)", "slog.StringValue(s.Reveal())"}},
		test{inVerify, "^TestASecretNeverShows$"},
	},
	{
		"code-in-an-error", "A code never shows where it is formatted.",
		[]edit{{idFile, "io.WriteString(f, redacted)", "io.WriteString(f, s.Reveal())"}},
		test{inVerify, "^TestASecretNeverShows$"},
	},
	{
		"number-in-a-log-line", "A number shows its last four digits only where it is logged.",
		[]edit{{"internal/phone/phone.go", "slog.StringValue(n.Masked())", "slog.StringValue(string(n))"}},
		test{inPhone, "^TestLogsAreMasked$"},
	},
	{
		"path-logged", "A request's path isn't logged: it may hold a number or a code.",
		[]edit{{"internal/web/web.go", "return slog.Attr{}", `return slog.String("path", r.URL.Path)`}},
		test{inWeb, "^TestEveryAnswerHasAnIDOfOurOwnThatIsLogged$"},
	},

	// Commits.
	{
		// The store reads the setting back when it opens, so the fault must change that, too.
		"commits-not-synced", "What was answered is on disk, also after a power cut.",
		[]edit{
			{sqliteFile, `"synchronous(FULL)"`, `"synchronous(NORMAL)"`},
			{sqliteFile, `{"synchronous", "2", "FULL"}`, `{"synchronous", "1", "NORMAL"}`},
		},
		test{inStore, "^TestWriterSyncsEachCommitToDisk$"},
	},
	{
		// That a group's rows are loaded in the order of their keys can't be seen on SQLite, which has one
		// lock for all of them. That its operations are applied in the order of their arrival can.
		"group-applied-backwards", "Operations on one row are decided in the order in which they arrived.",
		[]edit{{batchFile, "for i, o := range group {\n\t\tresults[i]", "for i, o := range slices.Backward(group) {\n\t\tresults[i]"}},
		stores("OperationsOnOneRowAreAppliedInOrderOfArrival"),
	},
	{
		"failed-commit-repeated", "A commit that failed is not repeated: it may have happened.",
		[]edit{{batchFile, "if !committing {", "if !committing || len(group) > 1 {"}},
		stores("FailedCommitThatHappenedStoresOnce"),
	},
	{
		"poison-fails-its-group", "An operation that can't be carried out fails alone.",
		[]edit{{batchFile, "errors.As(err, &poison) && len(group) > 1", "errors.As(err, &poison) && len(group) > maxBatch"}},
		stores("PoisonedOperationFailsAlone"),
	},
	{
		"retention-deletes-live-ones", "A verification that is still pending outlives its retention.",
		[]edit{{upkeepFile, "AND NOT (status = 0 AND expires_at > $3)", "AND $3 > 0"}},
		stores("RetentionDeletesOnlyWhatHasEndedBefore"),
	},

	// PostgreSQL and its replicas.
	{
		"destinations-not-locked", "Guesses at one number are counted, on whatever replica and verification.",
		[]edit{{pgSessionFile, "ORDER BY d.project, d.number FOR UPDATE OF d`", "ORDER BY d.project, d.number`"}},
		test{inStore, "^TestARowThatAnotherReplicaHoldsIsWaitedFor$"},
	},
	{
		"verifications-not-locked", "A settlement overwrites no guess of another replica.",
		[]edit{{pgSessionFile, "= ANY ($1::bytea[]) ORDER BY id FOR UPDATE`", "= ANY ($1::bytea[]) ORDER BY id`"}},
		test{inStore, "^TestARowThatAnotherReplicaHoldsIsWaitedFor$"},
	},
	{
		"state-remembered", "Of a verification only what never changes is remembered.",
		[]edit{{pgSessionFile, "\treadState(c, &v)\n", ""}},
		test{inStore, "^TestPostgresIsAStore$/^WhatAGuessChangesIsWritten$"},
	},
	{
		"new-numbers-decided-twice", "Two replicas that start for a number which neither knows share its limits.",
		[]edit{{pgSessionFile, "unnest($5::bigint[]), unnest($6::bigint[]), unnest($7::bytea[])`", "unnest($5::bigint[]), unnest($6::bigint[]), unnest($7::bytea[]) ON CONFLICT DO NOTHING`"}},
		test{inStore, "^TestANewNumberOfTwoReplicasIsOne$"},
	},
	{
		"bad-row-fails-its-group", "A row that PostgreSQL refuses fails alone.",
		[]edit{{pgSessionFile, "\tdefault:\n\t\treturn &poisonError{err}", "\tdefault:\n\t\treturn err"}},
		test{inStore, "^TestPostgresIsAStore$/^PoisonedOperationFailsAlone$"},
	},
	{
		"sweeper-waits-for-nobody", "No start appears behind the sweeper without a hint, however long its commit takes.",
		[]edit{{pgSessionFile, "b.add(pgGate, nil)", "_ = pgGate"}},
		test{inStore, "^TestSweeperWaitsForStartsThatAreUnderWay$"},
	},
	{
		"failover-unnoticed", "After a failover no code works that may have been used.",
		[]edit{{identityFile, "case f.is.timeline != f.was.timeline && !s.forgives(f.is.timeline):", "case false:"}},
		test{inStore, "^TestFailoverVoidsWhatIsPending$"},
	},
	{
		"exposed-failover-forgiven", "A failover from a server without a synchronous standby voids what is pending, whatever the configuration says.",
		[]edit{{identityFile, `(s.exposed == "" || s.exposed == promoted)`, `(true || s.exposed == promoted)`}},
		test{inStore, "^TestAFailoverIsForgivenOnlyToASynchronousStandby$"},
	},
	{
		"dump-unnoticed", "After a dump is restored no code works that may have been used.",
		[]edit{{identityFile, "case f.is.incarnation != f.was.incarnation:", "case false:"}},
		test{inStore, "^TestRestoredDatabaseIsVoid$/^dump_into_a_new_database$"},
	},
	{
		"dump-under-connections-unnoticed", "Nor on a connection that was up before.",
		[]edit{{pgSessionFile, "if r.epoch != s.epoch {", "if false {"}},
		test{inStore, "^TestRestoredDatabaseIsVoid$/^dump_into_the_same_database_at_once$"},
	},
	{
		"earlier-position-unnoticed", "After a server's files are restored, no process that saw later ones accepts a code that may have been used.",
		[]edit{{identityFile, "p.flushed < earlier.flushed", "p.flushed < 0"}},
		test{inStore, "^TestRestoredDatabaseIsVoid$/^base_backup$"},
	},
	{
		"part-of-a-dump-taken-for-all", "What a restore loads after a server has looked is void, too.",
		[]edit{{identityFile, "AND to_regclass('verification_pkey') IS NOT NULL ", ""}},
		test{inStore, "^TestHalfRestoredDatabaseIsRefused$"},
	},
	{
		"lost-decision-unnoticed-in-postgres", "A server that starts on restored files, and has kept its witness, voids what is pending.",
		[]edit{{identityFile, "if d.lost(err == nil, status, guesses) {", "if d.lost(err == nil, status, guesses) && false {"}},
		test{inStore, "^TestRestoredDatabaseIsVoid$/^snapshot$"},
	},
	{
		"lost-decision-unnoticed", "A process notices that its last decision is lost, however little else is.",
		[]edit{{"internal/store/witness.go", "return !found || guesses < d.Guesses || d.Status", "return !found || d.Status"}},
		test{inStore, "^TestOlderFileIsVoid$"},
	},
	{
		"older-file-unnoticed", "An older SQLite file that is put back is void.",
		[]edit{{storeFile, "if err := s.witnessed(ctx); err != nil {", "if err := error(nil); err != nil {"}},
		test{inStore, "^TestOlderFileIsVoid$"},
	},
	{
		"replaced-file-written", "What is written to a file that was replaced isn't promised to anybody.",
		[]edit{{sqliteFile, "if s.gone.Load() {", "if false {"}},
		test{inStore, "^TestFileThatWasReplacedIsRefused$"},
	},
	{
		"moved-from-two-states", "A move that was stopped goes on from the state in which it began, or not at all.",
		[]edit{{"internal/store/move.go", "case found == nil || found.token != token:", "case false:"}},
		test{inStore, "^TestMoveGoesOnFromTheSameStateOnly$"},
	},
	{
		"moved-file-written", "Nothing writes to a file that moves.",
		[]edit{{"internal/store/mark.go", "SELECT RAISE(ABORT, 'this file", "SELECT RAISE(IGNORE); SELECT ('this file"}},
		test{inStore, "^TestMoveGoesOnFromTheSameStateOnly$"},
	},
	{
		"moved-file-served", "No server uses a file that has moved: its codes may have been used elsewhere.",
		[]edit{{sqliteFile, "if !o.moved {", "if false {"}},
		test{inStore, "^TestAbortOfAWholeMoveVoidsWhatIsPending$"},
	},
	{
		"aborted-move-keeps-pending", "Nor does one that goes back to it accept them.",
		[]edit{{"internal/store/mark.go", "\tif m.moved {\n\t\tif a.Voided", "\tif false {\n\t\tif a.Voided"}},
		test{inStore, "^TestAbortOfAWholeMoveVoidsWhatIsPending$"},
	},
	{
		"void-by-steps-only", "A verification that an operator voids is decided by no replica any more, also while there are many.",
		[]edit{{"internal/store/backup.go", "if s.markVoid != nil {", "if false {"}},
		test{inStore, "^TestVoidBesideReplicas$"},
	},
	{
		"crash-voids", "A server that crashed has lost nothing: what is pending stays so.",
		[]edit{{identityFile, "p.flushed < earlier.flushed", "p.flushed != earlier.flushed"}},
		test{inStore, "^TestRestartVoidsNothing$"},
	},
	{
		"asynchronous-commits", "A commit is on PostgreSQL's disk, whatever the server's default is.",
		[]edit{{"internal/store/postgres.go", "set_config('synchronous_commit', 'on', false)", "set_config('synchronous_commit', 'off', false)"}},
		test{inStore, "^TestCommitsAreSynchronousWhateverTheServerSays$"},
	},
	{
		"callers-wait-for-ever", "Nobody waits longer than two seconds for a database that is away.",
		[]edit{{batchFile, "if l.down == nil || l.limit == 0 {", "if true {"}},
		test{inStore, "^TestCallersDoNotWaitForADatabaseThatIsAway$"},
	},

	// Delivery.
	{
		"settled-without-the-lease", "Whoever lost the lease settles nothing.",
		[]edit{{deliveryFile, "if v.Attempt != s.Attempt {", "if false {"}},
		test{inVerify, "^TestWhoLostTheLeaseSettlesAndRenewsNothing$"},
	},
	{
		"renewed-without-the-lease", "Whoever lost the lease renews nothing.",
		[]edit{{deliveryFile, "if v.Attempt != attempt || v.Delivery != Sending {", "if v.Delivery != Sending {"}},
		test{inVerify, "^TestWhoLostTheLeaseSettlesAndRenewsNothing$"},
	},
	{
		"claimed-under-a-lease", "Nobody sends a message while another holds its lease.",
		[]edit{{deliveryFile, "&& !now.Before(v.DueAt)", ""}},
		test{inVerify, "^TestAnAttemptIsClaimedWhenItIsDueAndTheCodeLives$"},
	},
	{
		"receipt-not-fenced", "That an earlier attempt was lost says nothing while a later one is on its way.",
		[]edit{{deliveryFile, "case v.Delivery == Queued, r.Attempt != v.Attempt:", "case v.Delivery == Queued:"}},
		test{inVerify, "^TestAReceiptAdvancesWhatIsOnItsWay$"},
	},
	{
		"arrived-and-tried-again", "Nothing more is sent once a receipt says that the message arrived.",
		[]edit{{deliveryFile, "	case v.Delivery == Delivered, v.Delivery == Failed:\n", "	case v.Delivery == Delivered, v.Delivery == Failed, v.Delivery == Queued:\n"}},
		test{inDispatch, "^TestWhatHasArrivedIsNotTriedAgain$"},
	},
	{
		"throttling-is-failing", "A carrier that wants us to be slower is not passed over.",
		[]edit{{dispatchFile, "case whose == carrier.Ours, end.Outcome", "case end.Outcome"}},
		test{inDispatch, "^TestOnlyTheCarriersOwnFailuresOpenABreaker$"},
	},
	{
		"calls-beside-each-other", "One call at a time rings a number, over all projects.",
		[]edit{{phoneFile, "return max(0, p.Until.Sub(now))", "return 0"}},
		stores("PhonesAreHeldWhileACallMayLast"),
	},
	{
		"rings-for-ever", "A phone that isn't answered rings at most twice for one verification.",
		[]edit{{phoneFile, "return at, rings < maxRings", "return at, true"}},
		test{inDispatch, "^TestAPhoneRingsTwiceAtMost$"},
	},
	{
		"rings-again-at-once", "A phone that isn't answered is left alone for five minutes.",
		[]edit{{phoneFile, "at = ended.Add(redialAfter)", "at = ended"}},
		test{inDispatch, "^TestAPhoneRingsTwiceAtMost$"},
	},
	{
		"rings-beside-the-text", "A call comes no sooner than a minute after a text to the number.",
		[]edit{{phoneFile, "return max(0, last.Add(quietTime).Sub(now))", "return 0"}},
		test{inDispatch, "^(TestACallWaitsAfterAText|TestACallAfterATextThatFailed)$"},
	},
	{
		"retries-for-free", "Each message that may have been sent is charged to the number's limits.",
		[]edit{{phoneFile, "	if !spent {\n		return 0, \"\"\n	}\n	return d.charge(limits, now), ReasonTooManySends", "	return 0, \"\""}},
		test{inDispatch, "^(TestEveryMessageIsCharged|TestAMessageWaitsForItsLimits|TestAPhoneRingsTwiceAtMost)$"},
	},
	{
		"held-for-ever", "The hold on a phone of a server that died runs out.",
		[]edit{{phoneFile, "v.ID, v.Attempt, now, now.Add(d)", "v.ID, v.Attempt, now, now.Add(1000*d)"}},
		stores("PhonesAreHeldWhileACallMayLast"),
	},
	{
		"silence-moves-on-for-ever", "Silence moves on to another carrier once in a message's life.",
		[]edit{{failoverFile, " || verify.MovedOn(history)", ""}},
		test{inDispatch, "^TestSilenceMovesOnOnce$"},
	},
	{
		"called-for-want-of-room", "That a carrier has no room is no reason to go by another channel.",
		[]edit{{"internal/dispatch/poll.go", "busy = w.channel", `busy = ""`}},
		test{inDispatch, "^TestNoRoomIsNoReasonToCall$"},
	},
	{
		"started-elsewhere-for-want-of-room", "A start for whose text there is no room makes no call.",
		[]edit{{dispatchFile, `busy != "" && busy != w.channel`, "false"}},
		test{inDispatch, "^TestNoRoomIsNoReasonToCall$"},
	},
	{
		"channel-unasked", "A message goes on by the channels that its application has, and the caller left open.",
		[]edit{{"internal/verify/login.go", `err != nil || r.channel != "" || to.channel != ""`, "err != nil"}},
		test{inDispatch, "^TestAnotherChannelIsOnlyForThoseWhoWantIt$"},
	},
	{
		"text-of-another-channel", "A message that goes on by another channel says what is meant for that.",
		[]edit{{verificationFile, "id, framed = v.ID.messageBy(c), f.Text", "id = v.ID.messageBy(c)"}},
		test{inDispatch, "^TestFailoverStories$"},
	},
	{
		"call-for-a-repeat", "Receivers that drop repeats get what goes on by another channel.",
		[]edit{{verificationFile, "id, framed = v.ID.messageBy(c), f.Text", "framed = f.Text"}},
		test{inDispatch, "^TestACarrierOfTwoChannelsIsAskedForEach$"},
	},
	{
		"fallbacks-forgotten", "What a verification allows is frozen with it, for whoever takes it over.",
		[]edit{{"internal/store/sql.go", "p.text(fallbackText(v.Fallbacks))", `p.text("")`}},
		stores("GuessThatCannotBeComparedSpendsNothing"),
	},
	{
		"watch-beyond-the-code", "Nobody waits for a receipt when the code has died.",
		[]edit{{deliveryFile, "s.Watch > 0 && v.ended(until) == nil", "s.Watch > 0"}},
		test{inVerify, "^TestSilenceMakesASentMessageDue$"},
	},
	{
		"one-message-more", "A verification costs at most so many messages.",
		[]edit{{receiptFile, "verify.Messages(history) < d.MaxMessages", "verify.Messages(history) <= d.MaxMessages"}},
		test{inDispatch, "^TestMessagesOfAVerificationAreBounded$"},
	},
	{
		"loss-before-the-end", "A loss moves on when it is known which carrier lost the message.",
		[]edit{{receiptFile, "case i < 0:\n\t\treturn false, errEarly", "case i < 0:\n\t\treturn !r.Delivered, nil"}},
		test{inDispatch, "^TestLossWaitsForTheEndOfItsAttempt$"},
	},
	{
		"receipt-of-another-carrier", "A carrier's receipt says nothing of a message that another one has.",
		[]edit{{receiptFile, `history[i].Carrier != "" && history[i].Carrier != r.Carrier`, `history[i].Carrier != "" && r.Carrier == ""`}},
		test{inDispatch, "^TestACarrierReportsOfItsOwnMessagesOnly$"},
	},
	{
		"words-of-a-dead-code", "A call says nothing when its code has died.",
		[]edit{{"internal/dispatch/words.go", "v.StatusAt(d.Now()) != verify.Pending || ", ""}},
		test{inDispatch, "^TestTheWordsOfACallAreForItsCarrierWhileTheCodeLives$"},
	},
	{
		"words-for-another-carrier", "What a call says is for its carrier.",
		[]edit{{"internal/dispatch/words.go", "h.Carrier == carrier", "h.Carrier != \"\""}},
		test{inDispatch, "^TestTheWordsOfACallAreForItsCarrierWhileTheCodeLives$"},
	},
	{
		"words-of-an-older-attempt", "A call that another one has replaced says nothing.",
		[]edit{{"internal/dispatch/words.go", " || v.Attempt != attempt", ""}},
		test{inDispatch, "^TestTheWordsOfACallAreForItsCarrierWhileTheCodeLives$"},
	},
	{
		"receipt-changes-its-mind", "That the phone has the message is the last word.",
		[]edit{{deliveryFile, "d.Receipt == ReceiptDelivered || d.Receipt == r.state()", "d.Receipt == r.state()"}},
		stores("ReceiptIsRecordedOnce"),
	},
	{
		"receipt-for-the-oldest", "A carrier's id that was used twice means its newest message.",
		[]edit{{"internal/store/store.go", "ORDER BY verification DESC, attempt DESC", "ORDER BY verification, attempt"}},
		stores("CarriersOwnIDNamesItsNewestMessage"),
	},
	{
		"refusal-opens-the-breaker", "A refusal is about the number: it keeps no other message from the carrier.",
		[]edit{{dispatchFile, "case err == nil, whose == carrier.Callees: // it answers", "case err == nil:"}},
		test{inDispatch, "^TestOnlyTheCarriersOwnFailuresOpenABreaker$"},
	},
	{
		"busy-phone-opens-the-breaker", "That a phone is busy, or isn't answered, keeps no other message from the carrier.",
		[]edit{{blameFile, "	ReasonBusy:            Callees,\n	ReasonNoAnswer:        Callees,\n", "	ReasonBusy:            Carriers,\n	ReasonNoAnswer:        Carriers,\n"}},
		test{inDispatch, "^TestOnlyTheCarriersOwnFailuresOpenABreaker$"},
	},
	{
		"one-number-opens-the-breaker", "One number counts once against a carrier, however often its messages fail.",
		[]edit{{breakerFile, "	if !b.counted(p, n) || b.pause > 0 && !probing {\n", "	if b.pause > 0 && !probing {\n"}, {breakerFile, "case len(b.failed) >= b.after:", "case b.counts[p] >= b.after:"}},
		test{inDispatch, "^TestOneNumberOpensNoBreaker$"},
	},
	{
		"one-project-opens-everybodys-breaker", "One project's failures keep no other project's messages from a carrier.",
		[]edit{{breakerFile, "return !known && b.counts[p] < b.share", "return !known"}},
		test{inDispatch, "^(TestOneProjectOpensItsOwnBreakerOnly|TestAnotherProjectsFailuresCostNoStart)$"},
	},
	{
		"probed-by-what-opened-it", "A message that opened a breaker is no probe: its failure keeps nobody else away.",
		[]edit{{breakerFile, "	_, known := b.failed[n]\n	return !known && b.counts[p] < b.share", "	return b.counts[p] < b.share || b.pause > 0"}},
		test{inDispatch, "^TestWhatOpenedABreakerIsNoProbe$"},
	},
	{
		"two-probes", "Of the messages for a carrier that failed too often, one at a time tries it.",
		[]edit{{breakerFile, "			at = later(at, b.lapses)\n", ""}},
		test{inDispatch, "^TestABreakerOpensForLongerEachTime$"},
	},
	{
		"draw-by-chance", "The order of a message's carriers is the same whoever draws it.",
		[]edit{{"internal/route/route.go", "hash(string(id[:]), c.Carrier)>>11", "hash(fmt.Sprint(time.Now()), c.Carrier)>>11"}, {"internal/route/route.go", "import (\n\t\"cmp\"\n", "import (\n\t\"cmp\"\n\t\"fmt\"\n\t\"time\"\n"}},
		test{inRoute, "^TestWeightsShareTheMessages$"},
	},
	{
		"lost-answer-sent-again", "A message whose answer got lost may have been sent, and is not sent again.",
		[]edit{{deliveryFile, "case s.sent():", "case s.Outcome == Accepted:"}},
		test{inVerify, "^TestAnAttemptThatEndsDecidesWhatIsNext$"},
	},
	{
		"dead-message-sent", "A message that waited longer than its code lived is not sent.",
		[]edit{{leaseFile, "s != verify.Pending &&", "s != verify.Pending && s.String() == \"\" &&"}},
		test{inDispatch, "^TestQueuedMessageDiesWithItsCode$"},
	},
	{
		"lease-not-renewed", "A call that takes longer than its lease keeps it: no other replica makes it as well.",
		[]edit{{leaseFile, "s := d.look(j, now)", "s := standing{until: now.Add(d.Lease)}"}},
		test{inDispatch, "^TestALongCallKeepsItsLease$"},
	},
	{
		"call-outlives-its-lease", "A call ends when its lease is lost: the next attempt is another's.",
		[]edit{{leaseFile, "errors.Is(s.err, verify.ErrLeaseLost), errors.As(s.err, &gone)", "errors.As(s.err, &gone)"}},
		test{inDispatch, "^TestACallEndsWithItsLease$"},
	},
	{
		"call-outlives-the-database", "A call ends before the lease that can't be renewed: then another replica makes it.",
		[]edit{{leaseFile, "case s.err != nil && ending:", "case s.err != nil && ending && false:"}},
		test{inDispatch, "^TestADeadReplicasCallIsMadeByAnother$"},
	},
	{
		"own-message-taken-for-lost", "What this process is sending is never claimed by itself, whatever the clock says.",
		[]edit{{flightFile, "return f.ids[id] > 0", "return f.ids[id] > 100"}},
		test{inDispatch, "^TestAStepOfTheClockRepeatsNothing$"},
	},
	{
		"step-ends-a-call", "A clock that steps ends no call whose lease can still be renewed.",
		[]edit{{leaseFile, "s := d.look(j, now)", "s := d.look(j, now)\n\t\tif ending {\n\t\t\ts.err = errLeaseEnds\n\t\t}"}},
		test{inDispatch, "^TestAStepOfTheClockRepeatsNothing$"},
	},
	{
		"unsent-counts-as-sent", "What never left the queue at a shutdown doesn't count as a message.",
		[]edit{{flightFile, "Outcome: verify.Errored, Reason: carrier.ReasonInterrupted", "Outcome: verify.Unknown, Reason: carrier.ReasonInterrupted"}},
		test{inDispatch, "^TestWhatWaitsAtAShutdownIsDueAndUnsent$"},
	},
	{
		"outage-gives-up-what-waits", "What waits while the database is away is sent afterwards, and doesn't count as lost.",
		[]edit{{leaseFile, "if !unavailable(s.err) || d.calls.Err() != nil {", "if true {"}, {dispatchFile, "case unavailable(s.err):", "case unavailable(s.err) && d.calls.Err() != nil:"}},
		test{inDispatch, "^TestAnOutageCountsNoMessageThatWaits$"},
	},
	{
		"settling-ends-with-the-lease", "An attempt's end is recorded after its lease too, when the database is back.",
		[]edit{{dispatchFile, "return j.verification.ExpiresAt", "return j.until"}},
		test{inDispatch, "^TestAnAttemptIsSettledAfterItsLease$"},
	},
	{
		"ghost-is-sent", "A start whose COMMIT got no answer was refused: it is canceled before anything is sent.",
		[]edit{{storeFile, "s.abandoned.add(&started)", ""}},
		stores("StartWithoutAnAnswerIsCanceled"),
	},
	{
		"late-ghost-is-sent", "A row that appears after its COMMIT got no answer is canceled as well.",
		[]edit{{"internal/store/abandoned.go", "case !s.postgres:", "case true:"}},
		test{inStore, "^TestACommitThatComesLateIsCanceled$"},
	},
	{
		"call-hangs-with-the-database", "A database that hangs keeps no call alive beyond its lease.",
		[]edit{{leaseFile, "func() { end(errLeaseEnds) })", "func() {})"}},
		test{inDispatch, "^TestACallEndsWhileTheDatabaseHangs$"},
	},
	{
		"dead-code-read-out", "A call ends with its verification: nobody is read a dead code.",
		[]edit{{leaseFile, "end(over(s.ended))\n\t\t\treturn", ""}},
		test{inDispatch, "^TestACallEndsWithItsVerification$"},
	},
	{
		"call-waits-for-a-receipt", "A call that said the code is delivered when it ends.",
		[]edit{{deliveryFile, "case s.Delivered && s.Outcome == Accepted:", "case false:"}},
		test{inVerify, "^TestWhatIsDeliveredAtOnceWaitsForNoReceipt$"},
	},
	{
		"unanswered-call-costs", "A call that nobody answered costs nothing.",
		[]edit{{"internal/dispatch/line.go", "if c.Answered.IsZero() {", "if false {"}},
		test{inDispatch, "^TestACallCostsEachMinuteThatWasBegun$"},
	},
	{
		"next-attempt-put-off", "Who has seen a lease that goes on doesn't put off the attempt after it.",
		[]edit{{deliveryFile, "if v.Attempt == seen.Attempt && v.Delivery == seen.Delivery && v.DueAt.Equal(seen.DueAt) {", "if seen != nil {"}},
		stores("WhatHasChangedIsNotPutOff"),
	},
	{
		"call-record-lost", "How a call went is kept with its attempt.",
		[]edit{{"internal/store/sql.go", "p.number(int64(d.Call.Keys))", "p.number(0)"}},
		stores("CallIsRecordedWithItsAttempt"),
	},
	{
		"dead-message-claimed", "A crashed server's message is not sent after its code has died.",
		[]edit{{deliveryFile, "if v.ended(now) != nil {\n\t\tv.giveUp(now)", "if v == nil {\n\t\tv.giveUp(now)"}},
		test{inVerify, "^TestAnAttemptIsClaimedWhenItIsDueAndTheCodeLives$"},
	},
	{
		"life-of-zero-sends", "A verification that is dead on arrival is never sent.",
		[]edit{{verificationFile, "\tif v.ended(now) != nil {\n\t\tv.fail(ReasonExpired)\n\t\treturn nil\n\t}\n", ""}},
		test{inVerify, "^TestAVerificationThatIsDeadOnArrivalIsCountedAndNeverSent$"},
	},
	{
		"watermark-jumps", "The sweeper's mark never passes what it hasn't read.",
		[]edit{{upkeepFile, "SET id = $1 WHERE name = 'sweep'`, last[:])", "SET id = $1 WHERE name = 'sweep'`, to[:])"}},
		stores("SweepReadsEachRowOnce"),
	},
	{
		"start-behind-the-sweeper-forgotten", "A verification that the sweeper won't come by is noted down when it starts.",
		[]edit{{storeFile, "compareIDs(started.ID, r.swept) <= 0", "compareIDs(started.ID, r.swept) < -1"}},
		stores("AClockSetBackForgetsNoMessage"),
	},
	{
		// Without its distance alone the sweeper forgets nothing: a start that it overtook notes itself down.
		"sweeper-overtakes-starts", "The sweeper forgets no message that is started while it sweeps.",
		[]edit{
			{upkeepFile, "const sweepLag = 5 * time.Second", "const sweepLag = 0 * time.Second"},
			{storeFile, "compareIDs(started.ID, r.swept) <= 0", "compareIDs(started.ID, r.swept) < -1"},
		},
		stores("SweepAmongStartsForgetsNoMessage"),
	},

	// Limits.
	{
		"flood-takes-all-places", "While others want places, a project has its share of a carrier's queue.",
		[]edit{{"internal/share/share.go", "(h.taken < share || p.taken < p.shared/2)", "true"}},
		test{inDispatch, "^TestAFloodTakesNoPlacesOfOthers$"},
	},
	{
		"no-place-for-one-that-comes", "One that comes beside a flood finds places.",
		[]edit{{"internal/share/share.go", "return p.all / 8", "return 0"}},
		test{"./internal/share", "^TestOneThatComesFindsPlacesWhileAnotherHasManyOfThem$"},
	},
	{
		"queue-serves-the-flood-first", "Messages of several projects leave in turn.",
		[]edit{{"internal/dispatch/queue.go", "q.jobs.Add(string(j.verification.Project), j)", "q.jobs.Add(\"\", j)"}},
		test{inDispatch, "^TestAFloodTakesNoPlacesOfOthers$"},
	},
	{
		"writer-without-shares", "While others want something, a project has its share of the operations that wait for a commit.",
		[]edit{{batchFile, "case share.Spent:", "case share.Spent + 9:"}},
		test{inStore, "^TestAFloodLeavesOthersTheirPlacesInTheWriter$"},
	},
	{
		"users-checks-without-shares", "Everything that a key can ask for takes a place.",
		[]edit{{userRowFile, "o.project, o.user, o.withCurrent = k.Project, rowOf(k), true", "o.user, o.withCurrent = rowOf(k), true"}},
		test{inStore, "^TestAFloodLeavesOthersTheirPlacesInTheWriter$"},
	},
	{
		"engine-serves-the-flood-first", "Texts of several projects are spoken in turn.",
		[]edit{{"internal/speech/engine.go", "t.waiting.Add(who, w)", "t.waiting.Add(who[:0], w)"}},
		test{inSpeech, "^TestTheEngineServesThoseThatWaitInTurn$"},
	},
	{
		"limits-after-the-send", "What the limits refuse is not sent.",
		[]edit{
			{serviceFile, "if err := commit(", "sent = true\n\tplace.Send(v, v.Message(place.Channel(), secret))\n\tif err := commit("},
			{serviceFile, "if v.Delivery == Sending {", "if !sent {"},
		},
		test{inVerify, "^TestAPlaceIsUsedOnceOrGivenBack$"},
	},
	{
		"sends-not-counted", "A number gets a burst of messages, then one each interval.",
		[]edit{{destinationFile, "d.TAT, d.Sends = tat, sends", "_, _ = tat, sends"}},
		test{inVerify, "^TestSendsAreABurstThenOneEachInterval$"},
	},
	{
		"one-message-more-a-day", "A number gets at most so many messages in any day.",
		[]edit{{"internal/limit/window.go", "if len(live) >= w.Max {", "if len(live) > w.Max {"}},
		test{inLimit, "^TestWindow$"},
	},

	// The wire.
	{
		"name-twice-in-a-body", "A body in which a name stands twice is refused.",
		[]edit{{"internal/request/request.go", "members(body) != len(all)", "members(body) < len(all)"}},
		test{inRequest, "^FuzzObject$"}, // its seeds
	},
	{
		"body-without-bound", "At most 64 KiB of a body are read.",
		[]edit{{"internal/request/request.go", "http.MaxBytesReader(nil, r.Body, MaxBody)", "r.Body"}},
		test{inRequest, "^TestReadTellsWhatIsWrongWithABody$"},
	},
	{
		"retry-after-rounded-down", "Who waits as told doesn't come too early.",
		[]edit{{"internal/web/answer.go", "math.Ceil(d.Seconds())", "math.Floor(d.Seconds())"}},
		test{inWeb, "^TestWaitsAreWholeSecondsAndNeverTooShort$"},
	},
	{
		"path-in-another-spelling", "Nothing is redirected: a path has one spelling.",
		[]edit{{"internal/web/answer.go", "path.Clean(p) != p", "path.Clean(p) != path.Clean(p)"}},
		test{inWeb, "^TestExactServesItsPathsAndNoOthers$"},
	},
	{
		"connections-without-bound", "A listener's connections are bounded.",
		[]edit{{gateFile, "case g.open >= g.limits.Total:", "case false:"}},
		test{inWeb, "^TestAListenersConnectionsAreBounded$"},
	},
	{
		"address-takes-every-connection", "One address has so many connections at most.",
		[]edit{{gateFile, "g.clients[client] >= g.limits.PerAddress", "false"}},
		test{inWeb, "^TestAListenersConnectionsAreBounded$"},
	},
	{
		"client-names-itself", "A client's address is what a trusted proxy says, not what the client says.",
		[]edit{{gateFile, "if !g.trusts(proxy) {", "if false {"}},
		test{inWeb, "^TestWhoseRequestATrustedProxyBrings$"},
	},
	{
		"first-address-believed", "Before the address that a trusted proxy added stand the client's own words.",
		[]edit{{gateFile, "for i := len(list) - 1; i >= 0; i-- {", "for i := range list {"}},
		test{inWeb, "^TestWhoseRequestATrustedProxyBrings$"},
	},
	{
		"refused-body-waited-for", "A refused request's body isn't waited for.",
		[]edit{{"internal/web/web.go", "w.cut(status)", ""}},
		test{inWeb, "^TestARefusedRequestsBodyIsNotWaitedFor$"},
	},
	{
		"wrong-code-answered-204", "Syniverse's clients take 204 for a right code: no other gets it.",
		[]edit{{"internal/face/syniverse/user.go", "err == nil && !out.Approved", "err == nil && out.Approved && err != nil"}},
		test{inSyniverse, "^TestRefusalsOfACodeAreTheConfiguredOnes$"},
	},
	{
		"filter-turned-around", "A list holds what equals all its filters, and all of it.",
		[]edit{{"internal/face/syniverse/list.go", "return !matches(entry)", "return matches(entry)"}},
		test{inSyniverse, "^TestPage$"},
	},
	{
		"escape-not-read", "A template's escaped dollar sign names nothing.",
		[]edit{{"internal/template/template.go", "if i > 0 && text[i-1] == '\\\\' {", "if i > 0 && text[i-1] == '\\\\' && text == \"\" {"}},
		test{inTemplate, "^FuzzRender$"}, // its seeds
	},
	{
		"gsm-extension-counted-single", "A text is measured the way the network bills it.",
		[]edit{{"internal/sms/sms.go", "string([]byte{escape, extensionCodes[i]})", "string([]byte{extensionCodes[i]})"}},
		test{inSMS, "^TestEveryCharacter$"},
	},

	// Approval by a key.
	{
		"key-after-the-lease", "Who lost the lease approves nothing, even if nobody else has it yet.",
		[]edit{{approvalFile, " || v.Delivery == Sending && !now.Before(v.DueAt) {", " {"}},
		stores("AKeyFromWhoLostTheLeaseIsNothing"),
	},
	{
		"key-of-an-earlier-attempt", "A replica that was frozen approves nothing.",
		[]edit{{approvalFile, "v.Attempt != s.Attempt || ", ""}},
		test{inVerify, "^TestWhereAKeyApprovesNothing$"},
	},
	{
		"key-for-what-has-ended", "A key approves nothing that has ended.",
		[]edit{{approvalFile, " && v.ended(now) == nil {", " {"}},
		stores("AKeyAmongOthersIsDecidedInOrder"),
	},
	{
		"key-for-a-superseded-call", "A key approves no call beside a newer one.",
		[]edit{{approvalFile, " && v.ended(now) == nil {", " && v.Status == Pending && now.Before(v.ExpiresAt) {"}},
		stores("AKeyForASupersededCallIsNothing"),
	},
	{
		"key-while-the-number-waits", "A key is refused where a right code would be.",
		[]edit{{approvalFile, "approved = d.admit(v, Compat, now) == nil; approved", "approved = true; approved"}},
		test{inVerify, "^TestWhereAKeyApprovesNothing$"},
	},
	{
		"key-approves-a-code", "Only a verification that asked for a key is approved by one.",
		[]edit{{approvalFile, "return v.Approval == ByKey && c == Voice", "return c == Voice"}},
		test{inVerify, "^TestWhereAKeyApprovesNothing$"},
	},
	{
		"key-validates-nobody", "A yes validates its user.",
		[]edit{{userRowFile, "return u.value.Answer(v, d, s, now)", "return v.Answer(d, s, now)"}},
		stores("AKeyTellsTheUser"),
	},
	{
		"key-clears-nothing", "A yes clears the number's failures, on disk.",
		[]edit{{userRowFile, "	if approved {\n		d.dirty = true", "	if approved {\n		d.dirty = false"}},
		stores("AKeyApprovesOnce"),
	},
	{
		"call-for-a-key-tells-the-code", "The code of a call that asks for a key is told to nobody.",
		[]edit{{verificationFile, "if v.asks(c) {", "if false {"}},
		test{inVerify, "^TestACallForAKeyTellsNoCode$"},
	},
	{
		"asked-twice", "Who was asked and didn't say yes isn't called again by another carrier.",
		[]edit{{dispatchFile, "case end.Verdict != verify.NoVerdict:", "case false:"}},
		test{inDispatch, "^TestACallAsksForAKey$"},
	},
	{
		"asked-of-who-cannot", "A carrier that can't ask for a key doesn't get the call.",
		[]edit{{dispatchFile, "j.message.ByKey && !l.asks()", "j.message.ByKey && !l.asks() && false"}},
		test{inDispatch, "^TestWhereNobodyCanAskNobodyIsToldTheCode$"},
	},
	{
		"key-lost-to-a-hang-up", "Who presses a key and hangs up at once has answered.",
		[]edit{{talkFile, "case t.hungUp() && t.pressedLast():", "case t.hungUp() && false && t.pressedLast():"}},
		test{inSIP, "^TestACallAsksForAKey$"},
	},
	{
		"language-forgotten", "A call speaks the language that was frozen at its start.",
		[]edit{{verificationFile, "Locale:       v.Locale,", ""}},
		test{inVerify, "^TestWhereTheLanguageOfACallComesFrom$"},
	},

	// Calls.
	{
		"sound-follows-strangers", "Sound goes to the trunk, not to a stranger who sends a packet.",
		[]edit{{mediaFile, "from.Addr() != m.peer.at.Addr() && !m.trusted(from.Addr())", "false"}},
		test{inSIP, "^TestSoundFollowsTheTrunkAndNobodyElse$"},
	},
	{
		"signalling-of-strangers", "Only the trunk can end a call.",
		[]edit{{"internal/carrier/sip/guard.go", "d.hears(a.AddrPort().Addr()) &&", "(d.hears(a.AddrPort().Addr()) || true) &&"}},
		test{inSIP, "^TestStrangersAreNotListenedTo$"},
	},
	{
		"calls-known-by-their-id-alone", "Only who knows both tags can end a call.",
		[]edit{{callFile, "return ours == l.tag && l.remote != \"\" && theirs == l.remote", "return ours != theirs"}},
		test{inSIP, "^TestStrangersAreNotListenedTo$"},
	},
	{
		"broken-messages-pass", "A malformed datagram never gets to the library.",
		[]edit{{"internal/carrier/sip/guard.go", "if via == nil || from == nil || to == nil ||", "if via == nil ||"}},
		test{inSIP, "^FuzzGuard$"}, // its seeds
	},
	{
		"dead-trunk-waited-for", "A dead trunk is given up within its time.",
		[]edit{{callFile, "		case <-first.C:\n", "		case <-time.After(20 * time.Second):\n"}},
		test{inSIP, "^TestADeadTrunkIsGivenUp$"},
	},
	{
		"late-answer-left-alone", "A phone that is answered late is hung up.",
		[]edit{{legFile, "	if r.IsSuccess() {\n", "	if r.IsSuccess() {\n		return\n"}},
		test{inSIP, "^TestALateAnswerIsHungUp$"},
	},
	{
		"crossing-answer-left-off-the-hook", "A phone that is answered while it is cancelled is hung up.",
		[]edit{{callFile, "				l.establish(r, tx)\n				l.bye()\n", ""}},
		test{inSIP, "^TestAnAnswerThatCrossesTheCancelIsHungUp$"},
	},
	{
		"lost-acknowledgement", "An answer that comes again is acknowledged again.",
		[]edit{{callFile, "r.IsSuccess() && tag == leg.remote", "tag == \"nobody\""}},
		test{inSIP, "^TestARepeatedAnswerIsAcknowledgedAgain$"},
	},
	{
		"hung-up-is-accepted", "Who hangs up early has not got the code.",
		[]edit{{talkFile, "t.sent >= t.script.Once && !t.said()", "!t.said()"}},
		test{inSIP, "^TestWhoHangsUpEarlyHasNotHeardTheCode$"},
	},
	{
		"machine-hears-the-code", "An answering machine gets no code where a key is required.",
		[]edit{{talkFile, "	return errNoKey\n}\n\n// tell", "	return nil\n}\n\n// tell"}},
		test{inSIP, "^TestAnAnsweringMachineHearsNoCode$"},
	},
	{
		"dead-trunk-talked-to", "A trunk that dies in the middle of a call is noticed.",
		[]edit{{talkFile, "		if !alive {\n", "		if !alive && false {\n"}},
		test{inSIP, "^TestATrunkThatDiesInMidCall$"},
	},
	{
		"key-counted-per-packet", "A key that is pressed once counts once.",
		[]edit{{mediaFile, " || m.anyEvent && m.lastEvent-stamp < lateEvent", ""}},
		test{inSIP, "^TestOneHearsItAgain$"},
	},
	{
		"overtaken-key-counted-again", "A key that is pressed once counts once.",
		[]edit{{mediaFile, "m.lastEvent-stamp < lateEvent", "m.lastEvent == stamp"}},
		test{inSIP, "^TestKeysThatAreOvertaken$"},
	},
	{
		"key-counted-by-both-ways", "A key that is pressed once counts once.",
		[]edit{{callFile, "if !l.way.CompareAndSwap(0, way) && l.way.Load() != way {", "if false {"}},
		test{inSIP, "^TestOneHearsItAgain$"},
	},
	{
		"key-before-the-question", "Only an answer to the question approves.",
		[]edit{{talkFile, "for said < int(askEarly*speech.Rate/time.Second) {", "if true {\n\t\treturn 0, nil\n\t}\n\tfor said < int(askEarly*speech.Rate/time.Second) {"}},
		test{inSIP, "^TestAKeyBeforeTheQuestionApprovesNothing$"},
	},
	{
		"phone-of-another-call-trusted", "A call's sound goes to nobody but its own phone.",
		[]edit{{callFile, "a == leg.hop.Addr() || l.c.trusts(a)", "a == leg.hop.Addr() || l.c.hears(a)"}},
		test{inSIP, "^TestThePhoneOfOneCallIsAStrangerToOthers$"},
	},
	{
		"spoken-to-on-hold", "A code is said while somebody listens.",
		[]edit{{mediaFile, "return m.peer.holds()", "return false"}},
		test{inSIP, "^TestWhoHoldsTheCallMissesNothing$"},
	},
	{
		"unsent-sound-is-said", "A code is delivered if it could be heard.",
		[]edit{{talkFile, "if t.unsent >= maxUnsent {", "if false {"}},
		test{inSIP, "^TestSoundThatCannotBeSentIsNotSaid$"},
	},
	{
		"rings-on-behind-a-broken-connection", "No phone rings for nobody.",
		[]edit{{callFile, "\t\t\tif l.ringing != nil {\n\t\t\t\tl.giveUp(tx)\n\t\t\t}\n\t\t\treturn nil, nil, unreachable(ctx, tx.Err())", "\t\t\treturn nil, nil, unreachable(ctx, tx.Err())"}},
		test{inSIP, "^TestAPhoneThatRingsBehindABrokenConnectionIsCancelled$"},
	},
	{
		"password-for-anybody", "Credentials go to whom they are for.",
		[]edit{{legFile, "if c.Realm != \"\" && chal.Realm != c.Realm {", "if false {"}},
		test{inSIP, "^TestWrongCredentialsAreRefusedAtOnce$"},
	},
	{
		"sound-in-the-clear", "With TLS there is no sound in the clear.",
		[]edit{{mediaFile, "(peer.key != nil) != (m.key != nil)", "false"}},
		test{inSIP, "^TestSoundIsEncryptedWithTLS$"},
	},
	{
		"burst-after-a-pause", "After a pause sound goes on at its pace.",
		[]edit{{talkFile, "t.due = t.due.Add(-wait)", "t.due = t.due.Add(0)"}},
		test{inSIP, "^TestPacketsKeepTheirTime$"},
	},
	{
		"calls-drift", "A packet that is late makes none of its followers late.",
		[]edit{{talkFile, "t.due = t.due.Add(frameTime)", "t.due = time.Now().Add(frameTime)"}},
		test{inSIP, "^TestPacketsKeepTheirTime$"},
	},
	{
		"wrong-law", "A-law is sent where A-law was agreed.",
		[]edit{{mediaFile, "		speech.ALaw(p[:header], p[header:])\n", ""}},
		test{inSIP, "^TestAnAnsweredCallSaysTheCode$"},
	},
	{
		"code-said-once", "The code is said as often as configured.",
		[]edit{{speechFile, "for i := range times {", "for i := range min(1, times) {"}},
		test{inSpeech, "^TestACallSaysTheCodeCharacterByCharacter$"},
	},
	{
		"capitals-not-announced", "An upper-case letter among lower-case ones is announced.",
		[]edit{{speechFile, "mixed := upper != code", "mixed := false"}},
		test{inSpeech, "^TestACallSaysTheCodeCharacterByCharacter$"},
	},
	{
		"text-as-argument", "A text is spoken once, and never by way of the command line.",
		[]edit{{"internal/speech/engine.go", "ReplaceAll(a, \"{locale}\", t.locale)", "ReplaceAll(a, \"{locale}\", t.words)"}},
		test{inSpeech, "^TestACallersTextIsSpokenOnceByTheEngineWithoutTheCode$"},
	},

	// Providers.
	{
		"lost-answer-made-again", "A request that was written may have been carried out.",
		[]edit{{exchangeFile, "carrier.Unknown(silent(err))", "carrier.Because(carrier.ReasonUnreachable, silent(err))"}},
		test{inProvider, "^TestWhatBecameOfARequest$"},
	},
	{
		"redirect-followed", "A code goes nowhere that nobody configured.",
		[]edit{{exchangeFile, "c.transport.RoundTrip(req)", "(&http.Client{Transport: c.transport}).Do(req)"}},
		test{inProvider, "^TestARedirectIsNotFollowed$"},
	},
	{
		"providers-words-quoted", "Nothing that a provider writes ends in an error.",
		[]edit{{findFile, "case len(r.Values) == 0:\n\t\treturn \"\", true", "case len(r.Values) == 0:\n\t\treturn value, true"}},
		test{inProvider, "^TestTheFirstRuleThatFitsDecides$"},
	},
	{
		"code-kept-as-an-id", "An id that a provider gives is not the code.",
		[]edit{{providerFile, "strings.Contains(ref, word)", "false"}},
		test{inProvider, "^TestTheFirstRuleThatFitsDecides$"},
	},
	{
		"unescaped-text-passes", "A template that doesn't escape is found at the start.",
		[]edit{{templateFile, "if !carries(values, m.text) {", "if false {"}},
		test{inProvider, "^TestAConfigurationIsTriedAtTheStart$"},
	},
	{
		"message-chooses-the-host", "No message chooses the host that it goes to.",
		[]edit{{templateFile, "if len(hosts) > 1 {", "if false {"}},
		test{inProvider, "^TestAConfigurationIsTriedAtTheStart$"},
	},
	{
		"twilio-form-unsigned", "Twilio's signature covers what is reported.",
		[]edit{{proofFile, "u + params.String()", "u"}},
		test{inProvider, "^TestVendorsOwnSignatures$"},
	},
	{
		"old-report-taken", "A report that was captured is soon worth nothing.",
		[]edit{{proofFile, "age <= skew && age >= -skew", "age >= -skew"}},
		test{inProvider, "^TestTelnyxSignsTimeAndBody$"},
	},
	{
		"any-algorithm-signs", "A token that names another algorithm isn't taken.",
		[]edit{{proofFile, `header.Alg != "HS256" ||`, ``}},
		test{inProvider, "^TestVonageSignsTimeAndBodyInAToken$"},
	},
	{
		"token-of-another-body", "A token is for one body.",
		[]edit{{proofFile, "same(strings.ToLower(claims.PayloadHash), hex.EncodeToString(sum[:]))", "len(sum) > 0 && hex.DecodedLen(2) > 0"}},
		test{inProvider, "^TestVonageSignsTimeAndBodyInAToken$"},
	},
	{
		"any-secret-in-the-path", "A secret in the URL is compared.",
		[]edit{{proofFile, `same(r.PathValue("key"), text)`, `r.PathValue("key") != ""`}},
		test{inProvider, "^TestAReportMustComeFromTheProvider$"},
	},
	{
		"report-read-before-its-signature", "A report without a signature is refused before its body is read.",
		[]edit{{callbackFile, "!byPath && !signed(r.Header) {", "false {"}},
		test{inProvider, "^TestCarriersThatDontExistAnswerAsThoseThatDo$"},
	},
	{
		"unknown-carriers-answer-otherwise", "Nobody learns which carriers there are.",
		[]edit{{callbackFile, "\tif byPath && !c.provenByPath(r)", "\tif c == nil {\n\t\thttp.NotFound(w, r)\n\t\treturn nil, nil\n\t}\n\tif byPath && !c.provenByPath(r)"}},
		test{inProvider, "^TestCarriersThatDontExistAnswerAsThoseThatDo$"},
	},
	{
		"unproven-bodies-without-bound", "So many bodies are read before they are proven.",
		[]edit{{callbackFile, "h.reading >= maxUnproven ||", ""}},
		test{inProvider, "^TestSoManyBodiesAreReadBeforeTheyAreProven$"},
	},
	{
		"unproven-bodies-of-one-address", "One address can't take all places for bodies that nobody has proven.",
		[]edit{{callbackFile, " || h.unproven[client] >= maxUnprovenOfOne", ""}},
		test{inProvider, "^TestSoManyBodiesAreReadBeforeTheyAreProven$"},
	},
	{
		"wrong-signature-falls-back", "Where Plivo signs the form, that is what counts.",
		[]edit{{proofFile, "if r.Header.Get(name) != \"\" {\n\t\t\treturn false", "if r.Header.Get(name) == \"none\" {\n\t\t\treturn false"}},
		test{inProvider, "^TestPlivosSecondVersionCountsWhereThereIsNoThird$"},
	},
	{
		"list-shares-its-urls-message", "A report in a list is about the message that it names itself.",
		[]edit{{callbackFile, `if !ok && spec.Each == "" {`, `if !ok {`}},
		test{inProvider, "^TestOneReportMayBeAboutSeveralMessages$"},
	},
	{
		"lost-report-is-answered", "A report that couldn't be kept comes again.",
		[]edit{{callbackFile, "case err != nil:\n\t\t\tif once(rep) {", "case err != nil && false:\n\t\t\tif once(rep) {"}},
		test{inProvider, "^TestWhatTheProviderIsAnswered$"},
	},
}
