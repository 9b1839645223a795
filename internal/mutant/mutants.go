package main

// Packages of tests.
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
	inAccount   = "./internal/account"
	inVerify    = "./internal/verify"
	inWeb       = "./internal/web"
	inRoute     = "./internal/route"
	inV1        = "./internal/face/v1"
	inDevice    = "./internal/face/device"
	inSyniverse = "./internal/face/syniverse"
	inSystem    = "./internal/system"
	inProvider  = "./internal/carrier/provider"
	inWording   = "./internal/wording"
	inWebPush   = "./internal/carrier/webpush"
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
	unprovenFile     = "internal/web/unproven.go"
	storeFile        = "internal/store/store.go"
	budgetFile       = "internal/store/budget.go"
	userRowFile      = "internal/store/user.go"
	sqliteFile       = "internal/store/sqlite.go"
	pgSessionFile    = "internal/store/pgsession.go"
	clockFile        = "internal/store/clock.go"
	identityFile     = "internal/store/pgidentity.go"
	upkeepFile       = "internal/store/upkeep.go"
	idFile           = "internal/verify/id.go"
	leaseFile        = "internal/dispatch/lease.go"
	flightFile       = "internal/dispatch/flight.go"
	dispatchFile     = "internal/dispatch/dispatch.go"
	phoneFile        = "internal/verify/phone.go"
	breakerFile      = "internal/dispatch/breaker.go"
	reasonFile       = "internal/verify/reason.go"
	failoverFile     = "internal/dispatch/failover.go"
	receiptFile      = "internal/dispatch/receipt.go"
	deliveryFile     = "internal/verify/delivery.go"
	destinationFile  = "internal/verify/destination.go"
	verificationFile = "internal/verify/verification.go"
	resendFile       = "internal/verify/resend.go"
	keyFile          = "internal/account/key.go"
	accountFile      = "internal/account/account.go"
	serviceFile      = "internal/verify/verify.go"

	callFile     = "internal/carrier/sip/call.go"
	legFile      = "internal/carrier/sip/leg.go"
	mediaFile    = "internal/carrier/sip/media.go"
	talkFile     = "internal/carrier/sip/talk.go"
	approvalFile = "internal/verify/approval.go"
	speechFile   = "internal/speech/speech.go"
	userFile     = "internal/verify/user.go"
	promptFile   = "internal/verify/prompt.go"
	latestFile   = "internal/store/latest.go"
)

// stores returns a test of the suite that every store must pass.
func stores(name string) test {
	return test{inStore, "^TestSQLiteIsAStore$/^" + name + "$"}
}

// mutants lists the faults by topic. Add an entry for each new promise: a fault that breaks it, and the
// smallest set of tests that notice it.
var mutants = []mutant{
	// Operators.
	{
		"console-role", "A page is for its role and those above.",
		[]edit{{"internal/console/pages.go", "if !ok || !person.may(p.role, p.whole) {", "if !ok {"}},
		test{"./internal/console", "^TestEachPageIsForItsRoles$"},
	},
	{
		"console-another-project", "An operator of one project sees no other's verifications.",
		[]edit{{"internal/console/pages.go", "if err == nil && !p.sees(s.Project) {", "if false {"}},
		test{"./internal/console", "^TestAnotherProjectIsAsAbsent$"},
	},
	{
		"console-user-of-another-project", "An operator of one project sees and changes no other's users.",
		[]edit{{"internal/console/user.go", "d.books.KnownUser(r.Context(), p.Projects, application, name)", "d.books.KnownUser(r.Context(), nil, application, name)"}},
		test{"./internal/console", "^TestAnotherProjectsUserIsAsAbsent$"},
	},
	{
		"console-user-deleted-by-operator", "Users are deleted by admins only.",
		[]edit{{"internal/console/pages.go", `{"POST /user/erased", operator.RoleAdmin, false, desk.erase}`, `{"POST /user/erased", operator.RoleOperator, false, desk.erase}`}},
		test{"./internal/console", "^TestAUserIsDeletedByAnAdmin$"},
	},
	{
		"number-erased-by-operator", "Numbers are erased by admins only.",
		[]edit{{"internal/console/pages.go", `{"POST /verification/{id}/erased", operator.RoleAdmin,`, `{"POST /verification/{id}/erased", operator.RoleOperator,`}},
		test{"./internal/console", "^TestANumberIsErasedByAnAdmin$"},
	},
	{
		"erasure-frees-guesses", "An erasure buys no guesses and no messages.",
		[]edit{{"internal/store/erase.go", "if !d.Idle(now) {", "if false {"}},
		stores("AnErasedNumberIsForgotten"),
	},
	{
		"erasure-under-way", "A message that a carrier is being given isn't erased.",
		[]edit{{"internal/verify/erase.go", "if v.Delivery == DeliverySending {", "if false {"}},
		stores("AnErasureIsWholeOrRefused"),
	},
	{
		"erasure-leaves-reference", "No carrier's reference leads to an erased number.",
		[]edit{{"internal/store/erase.go", "`UPDATE delivery SET ref = '' WHERE verification = $1 AND ref <> ''`", "`UPDATE delivery SET ref = ref WHERE verification = $1 AND ref <> ''`"}},
		test{inStore, "^TestNothingOfAnErasedNumberIsLeft$/^SQLite$"},
	},
	{
		"erasure-looks-like-a-restore", "A decision on what is erased isn't lost.",
		[]edit{{"internal/store/witness.go", "v, err := s.stored(ctx, d.ID)", "v, err := s.Verification(ctx, d.ID)"}},
		test{inStore, "^TestAnErasureIsNoOlderCopy$"},
	},
	{
		"user-found-in-all-projects", "Users are looked for in the projects that are named.",
		[]edit{{"internal/store/user.go", "if len(search.Among) > 0 {", "if false {"}},
		stores("UsersAreFoundInAllApplications"),
	},
	{
		"user-deleted-unaudited", "Who deletes a user is written down.",
		[]edit{{"internal/store/user.go", "r.audits = append(r.audits, Audit{", "_ = append(r.audits, Audit{"}},
		stores("AnOperatorDeletesAUser"),
	},
	{
		"number-exported-unaudited", "Who exports what is kept of a number is written down.",
		[]edit{{"internal/admin/user.go", "if err := s.recordExport(ctx, by, p, n.Masked()); err != nil {", "if err != nil {"}},
		test{"./internal/console", "^TestANumberIsExported$"},
	},
	{
		"console-needs-of-all", "An operator of some projects sees nothing of the carriers.",
		[]edit{{"internal/console/now.go", "Whole: len(p.Projects) == 0,", "Whole: true,"}},
		test{"./internal/console", "^TestNowSaysWhatNeedsSomebody$"},
	},
	{
		"console-traffic-of-another-project", "An operator of some projects can't ask for another one's traffic.",
		[]edit{{"internal/console/traffic.go", "if f.project != \"\" && !p.sees(f.project) {", "if false {"}},
		test{"./internal/console", "^TestTrafficIsOfThePersonsProjects$"},
	},
	{
		"console-stop-by-anybody", "Countries are stopped by operators of all projects only.",
		[]edit{{"internal/console/pages.go", `{"POST /stop", operator.RoleOperator, true, desk.stop}`, `{"POST /stop", operator.RoleViewer, false, desk.stop}`}},
		test{"./internal/console", "^TestOnlyWhatIsThereIsStopped$"},
	},
	{
		"console-project-of-another", "An operator of some projects can't open another one's page.",
		[]edit{{"internal/console/pages.go", "slices.DeleteFunc(projects, func(x verify.Project) bool { return !p.sees(x.ID) })", "projects"}},
		test{"./internal/console", "^TestAnotherProjectsPageIsAsAbsent$"},
	},
	{
		"console-usage-of-others", "An operator of some projects sees the usage of those only.",
		[]edit{{"internal/console/pages.go", "		q.Among = p.Projects\n", "		_ = p.Projects\n"}},
		test{"./internal/console", "^TestTrafficIsOfThePersonsProjects$"},
	},
	{
		"console-forged-posts", "No other site can act by an operator's browser.",
		[]edit{{"internal/console/signin.go", "	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {\n		found", "	return http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {\n		found"}},
		test{"./internal/console", "^TestForgedAndReplayedRequestsAreRefused$"},
	},
	{
		"provider-grants-nothing", "A person to whom nothing is granted gets no session.",
		[]edit{{"internal/operator/provided.go", "if !ok || len(granted.Role.Problems()) > 0 {", "if !ok && false {"}},
		stores("ProvidedOperatorsAreAdmitted"),
	},
	{
		"provider-takes-a-name", "A provider's name is no other operator's.",
		[]edit{{"internal/store/operator.go", "	case err == nil:\n		return operator.NameTaken, nil", "	case err == nil && false:\n		return operator.NameTaken, nil"}},
		stores("ProvidedOperatorsAreAdmitted"),
	},
	{
		"provider-former-role", "Another role at the provider ends what somebody was signed in as.",
		[]edit{{"internal/store/operator.go", "} else if !known.SameGrant(&a.Operator) {", "} else if false {"}},
		stores("ProvidedOperatorsAreAdmitted"),
	},
	{
		"provider-state", "A provider's answer counts in the browser that began the sign-in.",
		[]edit{{"internal/console/oidc.go", `ok = ok && subtle.ConstantTimeCompare([]byte(p.state), []byte(q.Get("state"))) == 1`, ""}},
		test{"./internal/console", "^TestMixedUpSignInsAreRefused$"},
	},
	{
		"provider-nonce", "An ID token counts for the sign-in that it was made for.",
		[]edit{{"internal/console/oidc.go", "if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(p.nonce)) != 1 {", "if false {"}},
		test{"./internal/console", "^TestMixedUpSignInsAreRefused$"},
	},
	{
		"provider-unverified-address", "An e-mail address grants what it is verified for.",
		[]edit{{"internal/console/oidc.go", `claims[verifiedClaim] != true && claims[verifiedClaim] != "true"`, "false"}},
		test{"./internal/console", "^TestAnAddressThatNobodyVerifiedGrantsNothing$"},
	},
	{
		"provider-endless", "A provider's endless answer is cut off.",
		[]edit{{"internal/console/oidc.go", "	if err == nil {\n		resp.Body = http.MaxBytesReader", "	if false {\n		resp.Body = http.MaxBytesReader"}},
		test{"./internal/console", "^TestAnEndlessAnswerOfAProviderIsCutOff$"},
	},
	{
		"provider-without-tls", "A code goes to an https provider by https only.",
		[]edit{{"internal/console/oidc.go", `if b.https && r.URL.Scheme != "https" {`, "if false {"}},
		test{"./internal/console", "^TestAProviderIsAskedByTLSOnly$"},
	},
	{
		"passkey-signs-twice", "What a passkey signed works once.",
		[]edit{{"internal/operator/passkey.go", "k.Challenge[:]) > 0 }", "k.Challenge[:]) >= 0 }"}},
		stores("PasskeysSignInOnce"),
	},
	{
		"passkey-any-challenge", "A passkey signs challenges of this installation only.",
		[]edit{{"internal/operator/passkey.go", "subtle.ConstantTimeCompare(tag, challenge[n+4:]) == 1", "subtle.ConstantTimeCompare(tag, challenge[n+4:]) >= 0"}},
		stores("PasskeysSignInOnce"),
	},
	{
		"passkey-by-a-session", "A passkey is added with the password, and not by a session alone.",
		[]edit{{"internal/operator/passkey.go", "if err == nil && !right {", "if err == nil && !right && false {"}},
		stores("PasskeysSignInOnce"),
	},
	{
		"passkey-behind-a-reset", "A reset also takes the passkey that a session adds meanwhile.",
		[]edit{{"internal/store/passkey.go", "if locked.Password != o.Password {", "if false {"}},
		stores("PasskeysSignInOnce"),
	},
	{
		"passkey-cloned", "A passkey that two devices have signs nobody in, and the audit log says so.",
		[]edit{{"internal/operator/operator.go", "case a.Proof != nil && a.Proof.Cloned:", "case false:"}},
		stores("PasskeysSignInOnce"),
	},
	{
		"passkey-survives-a-reset", "A reset takes an operator's passkeys.",
		[]edit{{"internal/store/operator.go", `if o.Password == "" { // a new link`, `if false { // a new link`}},
		stores("PasskeysSignInOnce"),
	},
	{
		"console-reveal-unaudited", "Who sees a whole number is written down.",
		[]edit{{"internal/admin/verification.go", "return v.Reach(), s.store.Record(ctx, entry)", "_ = entry\n\treturn v.Reach(), nil"}},
		test{"./internal/console", "^TestNumbersAreMaskedAndCodesNeverShown$"},
	},
	{
		"console-of-dev-elsewhere", "The console of dev is for this machine, and for pages of its own.",
		[]edit{{"internal/console/site.go", "pages := http.NewCrossOriginProtection().Handler(Pages(server, log))", "pages := Pages(server, log)"}},
		test{"./internal/console", "^TestDevsConsoleIsForThisMachine$"},
	},
	{
		"strangers-at-the-door", "People who aren't signed in write one at a time.",
		[]edit{{"internal/operator/service.go", "now, make(slots, 1), ", "now, make(slots, 9), "}},
		test{"./internal/operator", "^TestStrangersWriteOneAtATime$"},
	},
	{
		"operator-links-without-wait", "Refused links make their address wait.",
		[]edit{{"internal/store/operator.go", "			return chargeSource(ctx, tx, now, &from)\n		}\n		if o.Seed", "			_ = from\n			return nil\n		}\n		if o.Seed"}},
		stores("RefusedLinksMakeAnAddressWait"),
	},
	{
		"operator-set-up-unaudited", "A refused set-up is written down.",
		[]edit{{"internal/store/operator.go", "if refused = errors.Is(err, operator.ErrLink); refused {\n			return auditLink(ctx, tx, now, o, begin.Address)", "if refused = errors.Is(err, operator.ErrLink); refused {\n			return nil"}},
		stores("OneLinkSetsUpOnce"),
	},
	{
		"operator-busy-charged", "A sign-in that nobody decided isn't charged.",
		[]edit{{"internal/operator/service.go", "s.refund(ctx, address) // nobody", "// nobody"}},
		test{"./internal/operator", "^TestBusyAttemptsAreNotCharged$"},
	},
	{
		"operator-code-works-twice", "A code of an operator's app signs in once.",
		[]edit{{"internal/operator/operator.go", "return a.Step <= o.Step", "return a.Step < o.Step"}},
		test{"./internal/operator", "^TestAnAttemptIsDecided$"},
	},
	{
		"operator-locked-by-strangers", "Wrong passwords don't make an operator wait.",
		[]edit{{"internal/operator/operator.go", "		return ReasonWrongPassword\n	case", "		o.fail(now)\n		return ReasonWrongPassword\n	case"}},
		test{"./internal/operator", "^TestAnAttemptIsDecided$"},
	},
	{
		"operator-session-without-end", "A session ends 12 hours after it began, used or not.",
		[]edit{{"internal/operator/session.go", "return now.Before(s.EndsAt) && now", "return now"}},
		test{"./internal/operator", "^TestSessionsEnd$"},
	},
	{
		"operator-success-forgets-failures", "A sign-in that succeeds takes back only its own attempt from its address.",
		[]edit{{"internal/operator/operator.go", "s.Failures = max(0, s.Failures-1)", "s.Failures = 0"}},
		test{"./internal/operator", "^TestWaitsGrow$"},
	},
	{
		"operator-seed-unbound", "A sealed second factor opens for its operator only.",
		[]edit{{"internal/operator/totp.go", "Destination: operator.String(), ", ""}},
		test{"./internal/operator", "^TestSeedsAreSealedForTheirOperator$"},
	},

	// Guesses.
	{
		"reserve-for-old-codes", "While a number waits, only a code that was sent after its latest failure is evaluated.",
		[]edit{{destinationFile, "v.Guesses == 0 && v.ID.Time().After(d.waitsSince(p))", "v.Guesses == 0"}},
		test{inVerify, "^(TestWhateverHappensTheRulesHold|TestANewCodeIsEvaluatedInSpiteOfAStrangersGuesses)$"},
	},
	{
		"reserve-without-end", "Even the first guess at a new code is refused after a hundred failures.",
		[]edit{{destinationFile, "	case d.Failures >= MaxFailures:\n		return ErrTooManyGuesses.After(lockedFor)\n	case d.Failures < MaxFailures-Reserve", "	case d.Failures < MaxFailures-Reserve"}},
		test{inVerify, "^(TestWhateverHappensTheRulesHold|TestANewCodeIsEvaluatedInSpiteOfAStrangersGuesses)$"},
	},
	{
		"shut-out-by-guesses", "A stranger's wrong guesses don't keep a new code from being evaluated.",
		[]edit{{destinationFile, "	case v.Guesses == 0 && v.ID.Time().After(d.waitsSince(p)):\n		return nil\n", ""}},
		test{inVerify, "^(TestWhateverHappensTheRulesHold|TestANewCodeIsEvaluatedInSpiteOfAStrangersGuesses)$"},
	},
	{
		"shut-out-by-sends", "A number's sends of a day can't all be used within a short time.",
		[]edit{{"internal/verify/project.go", "		w.Free = (l.Daily + 1) / 2\n", "		w.Free = 0\n"}},
		test{inVerify, "^TestADaysSendsAreSpread$"},
	},
	{
		"start-without-its-key", "A verification records the key and the client's address that started it.",
		[]edit{{serviceFile, ", APIKey: acct.KeyID}", "}"}},
		test{"./cmd/countersign", "^TestWhatAKeyHasStartedCanBeTold$"},
	},
	{
		"scope-not-asked", "A key without the scope of an operation is refused.",
		[]edit{{"internal/face/face.go", "	if err := acct.Forbids(needs); err != nil {", "	if err := acct.Forbids(0); err != nil {"}},
		test{inV1, "^TestTheAuthorisationMatrix$"},
	},
	{
		"own-code-without-scope", "Only a key with the scope for it may start a verification with a code of its own.",
		[]edit{{serviceFile, "	if r.Code != \"\" {\n		if err := acct.Forbids(ScopeOwnCode); err", "	if r.Code != \"\" {\n		if err := acct.Forbids(0); err"}},
		test{inV1, "^TestACallersOwnCode$"},
	},
	{
		"own-code-too-short", "A caller's own code keeps the policy's bounds.",
		[]edit{{"internal/verify/settle.go", "	case t.Format.Bits(n) < b.minBits:\n		p.add(FieldCode", "	case n < b.minLength:\n		p.add(FieldCode"}},
		test{inV1, "^TestACallersOwnCode$"},
	},
	{
		"key-grants-more", "A key can't give another one a scope that it lacks.",
		[]edit{{keyFile, "more := n.Scopes &^ acct.Scopes; more != 0", "more := n.Scopes &^ acct.Scopes; more == n.Scopes"}},
		test{inV1, "^TestAKeyGrantsNoMoreThanItHas$"},
	},
	{
		"key-outlives-its-maker", "A key can't make another one that works longer than itself.",
		[]edit{{keyFile, "			n.EndsAt = end\n", ""}},
		test{inV1, "^TestAKeyGrantsNoMoreThanItHas$"},
	},
	{
		"revoked-key-makes-keys", "A key that was revoked makes no other, not even where it is still remembered.",
		[]edit{{"internal/store/admin.go", "	case makers == 0:\n			return verify.ErrUnauthenticated\n", ""}},
		test{inV1, "^TestARevokedKeyMakesNoOther$"},
	},
	{
		"another-projects-key", "A key of another project is answered as one that isn't there.",
		[]edit{{"internal/store/admin.go", "WHERE id = $1 AND project = $2 AND revoked_at = 0`, id[:], p, millis(now))", "WHERE id = $1 AND $2 <> '' AND revoked_at = 0`, id[:], p, millis(now))"}},
		test{inV1, "^TestTheAuthorisationMatrix$"},
	},
	{
		"wrong-guess-not-committed", "A wrong guess is on disk before it is answered.",
		[]edit{{userRowFile, "v.dirty, r.decided = true, v", "v.dirty, r.decided = out.Approved, v"}},
		stores("WhatAGuessChangesIsWritten"),
	},
	{
		"success-leaves-failures", "A right code clears a number's failures on disk.",
		[]edit{{userRowFile, "d.value.Failures != failures ||", "d.value.Failures > failures ||"}},
		stores("WhatAGuessChangesIsWritten"),
	},
	{
		"counter-per-verification-only", "Wrong guesses count against the number, over all of its verifications.",
		[]edit{{verificationFile, "d.fail(g.Profile, now)", ""}},
		test{inVerify, "^TestAfterAHundredFailuresOnlyClearHelps$"},
	},
	{
		"one-guess-more", "Exactly as many guesses are evaluated as are allowed.",
		[]edit{{verificationFile, "if left <= 0 {", "if left < 0 {"}},
		test{inVerify, "^TestMaxAttemptsGuessesAreEvaluatedAndNotOneMore$"},
	},
	{
		"our-fault-spends-a-guess", "A guess that can't be checked because of a fault on our side isn't counted.",
		[]edit{{verificationFile, "right, err := g.Matches(v)", "v.Guesses++\n\tright, err := g.Matches(v)"}},
		test{inVerify, "^TestAGuessThatNobodyCanJudgeSpendsNothing$"},
	},
	{
		"success-clears-nothing", "A right code clears the number's failures.",
		[]edit{{verificationFile, "d.Clear()", ""}},
		test{inVerify, "^TestASuccessClearsTheFailuresAndNothingElseDoes$"},
	},
	{
		"new-code-clears-failures", "A new code doesn't reset the failures, so requesting codes doesn't buy guesses.",
		[]edit{{destinationFile, "d.TAT, d.Sends = tat, sends", "d.TAT, d.Sends = tat, sends\n\td.Clear()"}},
		test{inVerify, "^TestASuccessClearsTheFailuresAndNothingElseDoes$"},
	},
	{
		"expiry-left-to-a-cleaner", "A code is invalid from the instant of its expiry, whether or not it was cleaned up.",
		[]edit{{verificationFile, "if v.Status == StatusPending && !now.Before(v.ExpiresAt) {", "if false {"}},
		test{inVerify, "^TestGuessesAreRefusedFromTheInstantOfExpiry$"},
	},
	{
		"expiry-one-instant-late", "A guess at the instant of expiry is refused.",
		[]edit{{verificationFile, "!now.Before(v.ExpiresAt)", "now.After(v.ExpiresAt)"}},
		test{inVerify, "^TestGuessesAreRefusedFromTheInstantOfExpiry$"},
	},
	{
		"token-compared-before-trimming", "A code with the spaces and dashes that people type is accepted.",
		[]edit{{codeFile, "if r = typed.Rune(r); r == typed.Nothing {", "if r = typed.Rune(r); r == 0 {"}},
		test{inCode, "^TestNormalize$"},
	},
	{
		"digits-of-other-scripts-in-codes", "A code may be typed in the digits of any script.",
		[]edit{{typedFile, "	return digit(r)\n", "	return r\n"}},
		test{inVerify, "^TestACodeIsReadAsPeopleTypeIt$"},
	},
	{
		"invisible-characters-in-codes", "Invisible characters copied with a code don't cost a guess.",
		[]edit{{typedFile, "unicode.Pd, unicode.Cf, ", "unicode.Pd, "}},
		test{inVerify, "^TestACodeIsReadAsPeopleTypeIt$"},
	},
	{
		"a-key-for-each-form", "All forms of a phone's number share its limits and failures.",
		[]edit{{"internal/verify/settle.go", "o.to.Key(),", "o.to,"}},
		test{inVerify, "^TestAllFormsOfANumberAreOnePhone$"},
	},
	{
		"key-sent-to-the-carrier", "The carrier gets a number in the form that the client wrote.",
		[]edit{{verificationFile, "v.Reach(),\n		From:", "v.To,\n		From:"}},
		test{inVerify, "^TestAllFormsOfANumberAreOnePhone$"},
	},
	{
		"digits-behind-a-number", "Extra digits after a complete number don't make a different key.",
		[]edit{{planFile, "whole := n; len(whole) > minDigits;", "whole := n; whole == n;"}},
		test{inPhone, "^TestOneKeyForAllFormsOfAPhone$"},
	},
	{
		"impossible-length-sent-to", "A number is refused if its country has no numbers of that length.",
		[]edit{{policyFile, "case !n.Possible():", "case !n.Possible() && project.Profile == ProfileStandard:"}},
		test{inVerify, "^TestNumbersAreReadAsTheProfileSays$"},
	},
	{
		"premium-number-sent-to", "A number of a special kind gets messages only if the project allows the kind.",
		[]edit{{policyFile, "case kind != phone.Ordinary && !slices.Contains(project.Kinds, kind):", "case kind != phone.Ordinary && len(project.Kinds) == 0:"}},
		test{inVerify, "^TestNumbersOfOtherKindsMustBeAllowed$"},
	},
	{
		"premium-area-taken-for-ordinary", "A number in a premium area code is a premium number.",
		[]edit{{planFile, "			return a.kind\n", "			return Ordinary\n"}},
		test{inPhone, "^TestKinds$"},
	},
	{
		"standard-sends-anywhere", "A standard project sends only to the countries that it allows; without any, it sends nowhere.",
		[]edit{{"internal/verify/project.go", "return p.Profile != ProfileStandard", "return true"}},
		test{inVerify, "^TestCountriesMustBeAllowed$"},
	},
	{
		"country-by-calling-code", "Countries that share a calling code are allowed one by one.",
		[]edit{{policyFile, "!slices.Contains(project.Countries, n.Region())", "!slices.ContainsFunc(project.Countries, func(c string) bool { return c == n.Region() || c == \"US\" && n.CountryCode() == 1 })"}},
		test{inVerify, "^TestCountriesMustBeAllowed$"},
	},
	{
		"form-space-refused", "A space that a form made of a plus is read as a plus.",
		[]edit{{"internal/request/request.go", "		return \"+\" + rest\n", "		return s\n"}},
		test{"./internal/request", "^TestAFormsSpaceBeforeANumberIsAPlus$"},
	},
	{
		"hung-up-client-stops-a-check", "A guess counts even if the client hangs up.",
		[]edit{{serviceFile, "s.store.Check(context.WithoutCancel(ctx), g)", "s.store.Check(ctx, g)"}},
		test{inVerify, "^TestACallerThatHangsUpStopsNothing$"},
	},
	{
		"hung-up-client-not-charged", "An operation that the store has accepted is carried out even if the client hangs up.",
		[]edit{
			{storeFile, "v, err := r.owned(g.ID, g.Project)", "if err := ctx.Err(); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n\t\t\tv, err := r.owned(g.ID, g.Project)"},
		},
		stores("HungUpCallerIsCharged"),
	},

	// Users.
	{
		"superseded-code-validates", "A user's newer code replaces the older one.",
		[]edit{{userFile, "return u.Current != v.ID && u", "return u.Current != v.ID && v == nil && u"}},
		stores("NewerCodeSupersedesTheOlder"),
	},
	{
		"deleted-application-validates", "From the first commit of an application's deletion, none of its codes validates.",
		[]edit{{userRowFile, "!ok || home.project != p {", "ok && home.project != p {"}},
		stores("CrashedDeletionIsFinished"),
	},
	{
		"deleted-users-code-lives", "Deleting a user cancels their code and wipes its sealed copy.",
		[]edit{{userRowFile, "u.value.Drop(r.current(u), now)", "u.value.Drop(nil, now)"}},
		stores("DeletedApplicationLeavesNothing"),
	},
	{
		"users-answer-not-in-their-commit", "The answer to a request about a user that has an Idempotency-Key is committed with what the request does.",
		[]edit{{"internal/store/user.go", "kept := keep(ctx, &begun)", "kept := keep(context.Background(), &begun)"}},
		test{"./internal/countersigntest", "^TestUsersRequestsAreAnsweredInTheirCommit$"},
	},
	{
		"users-sends-not-counted", "A user gets one code per interval, and a limited number per period.",
		[]edit{{userFile, "u.Sends, u.Current, u.NumberKey = sends, v.ID, v.To", "_, u.Current, u.NumberKey = sends, v.ID, v.To"}},
		stores("UsersLimitsAreExact"),
	},
	{
		"style-without-users", "A project's style holds for its users' messages, too.",
		[]edit{{"internal/verify/template.go", "return project.Style.Write(c.medium(), template.Frame(c.medium(), wording.Facts{DisplayName: asker, Life: app.Life}))", "return template.Frame(c.medium(), wording.Facts{DisplayName: asker, Life: app.Life})"}},
		test{inVerify, "^(TestAStyleEndsUsersMessages|TestAStyleCountsIntoTheSegmentsOfATemplate)$"},
	},
	{
		"template-of-another-project", "A project's start can't name another project's template.",
		[]edit{{"internal/store/text.go", "WHERE project = $1 AND name = $2`, p, name", "WHERE project <> $1 AND name = $2`, \"\", name"}},
		test{inV1, "^TestAStartChoosesATextOfItsTemplate$"},
	},
	{
		"template-read-by-another-project", "A project's templates can't be read or changed by another project.",
		[]edit{{"internal/store/text.go", "WHERE project = $1 AND id = $2`\n\n// Text", "WHERE project <> $1 || '-' AND id = $2`\n\n// Text"}},
		test{inV1, "^TestTheAuthorisationMatrix$"},
	},
	{
		"template-from-the-public-sender", "A template needs a sender of the project's own, as a text does.",
		[]edit{{"internal/verify/settle.go", `o.text == "" && r.Template == "" && r.Payment`, `o.text == "" && r.Payment`}},
		test{inV1, "^TestAStartChoosesATextOfItsTemplate$"},
	},
	{
		"template-without-code", "A template's text has the code in it.",
		[]edit{{"internal/verify/text.go", "	case !template.HasCode():\n", "	case false:\n"}},
		test{inVerify, "^TestATemplateThatCanNotGoOutIsNotStored$"},
	},
	{
		"template-says-code-twice", "A text that contains the characters {code} is sent with them, not with the code in their place.",
		[]edit{{"internal/wording/wording.go", `CodeMark    = "\x01"`, `CodeMark    = Placeholder`}},
		test{inVerify, "^TestATextIsFilledIn$"},
	},
	{
		"old-token-opens-still", "A replaced token stops working on this server immediately.",
		[]edit{{"internal/account/token.go", "s.accounts.Remove(replaced)", "_ = replaced"}},
		test{inAccount, "^TestAConsumerReplacesItsToken$"},
	},

	// Senders and links.
	{
		"any-sender-opens-anothers", "A sender assigned to one project can't be used by another, even one with --sender any.",
		[]edit{{"internal/verify/project.go", "p.AnySender && !slices.ContainsFunc(p.Taken, looksLike(from))", "p.AnySender"}},
		test{inVerify, "^(TestAnApplicationsSenderIsItsProjects|TestFromMustBeASenderOfTheProject)$"},
	},
	{
		"others-senders-forgotten", "A project that may use any sender still can't use the senders of others.",
		[]edit{{"internal/store/admin.go", "WHERE o.id <> p.id AND", "WHERE o.id = p.id AND"}},
		stores("KeyOpensItsProjectUntilRevoked"),
	},
	{
		"start-from-anothers-name", "A start of /v1 can't name a sender that its project doesn't own.",
		[]edit{{"internal/verify/policy.go", "if !sender.Public && !acct.Project.allows(sender.From) {", "if !sender.Public && !r.Named && !acct.Project.allows(sender.From) {"}},
		test{inV1, "^TestAProjectSendsFromItsNames$"},
	},
	{
		"channels-tell-of-a-number", "The list of channels says nothing of what others sent to the number.",
		[]edit{{"internal/dispatch/dispatch.go", "passenger{project: e.Project, country: e.To.Region()}", "passenger{e.Project, e.To.Key(), e.To.Region()}"}},
		test{inDispatch, "^TestStartsAreRefusedWhileEveryBreakerIsOpen$"},
	},
	{
		"new-project-sends-from-any", "A project without senders sends from the public one.",
		[]edit{{"internal/verify/project.go", "return slices.ContainsFunc(p.Senders, sameSender(from)) ||", "return len(p.Senders) == 0 || slices.ContainsFunc(p.Senders, sameSender(from)) ||"}},
		test{inVerify, "^(TestAnApplicationsSenderIsItsProjects|TestFromMustBeASenderOfTheProject)$"},
	},
	{
		"old-projects-lose-any-sender", "Projects from before senders were assigned keep the right to use any sender.",
		[]edit{{"internal/store/admin.go", "COALESCE(p.any_sender, p.senders = ''), p.link_hosts", "COALESCE(p.any_sender, p.senders <> ''), p.link_hosts"}},
		test{inStore, "^TestProjectsKeepTheSendersAndLinksThatTheyHad$"},
	},
	{
		"text-names-any-site", "A text message may link only to the project's web sites.",
		[]edit{{"internal/verify/settle.go", "if !c.IsCall() && project.foreignSite(", "if c.IsCall() && project.foreignSite("}},
		test{inVerify, "^TestWhereATextMayNoForeignSiteBeNamed$"},
	},
	{
		"template-names-any-site", "A user's message template may link only to the project's web sites.",
		[]edit{{"internal/verify/template.go", "		problem = fits(text)\n", "		if problem = fits(text); problem == foreignSite {\n			problem = \"\"\n		}\n"}},
		test{inVerify, "^TestWhereATextMayNoForeignSiteBeNamed$"},
	},
	{
		"site-ends-like-the-projects", "A site whose name merely ends like the project's site isn't one of its subdomains.",
		[]edit{{"internal/wording/site.go", `strings.HasSuffix(host, "."+site)`, "strings.HasSuffix(host, site)"}},
		test{inWording, "^TestATextNamesItsOwnWebSitesOnly$"},
	},
	{
		"code-bound-to-any-site", "A text can bind its code only to one of the project's sites.",
		[]edit{{"internal/wording/site.go", "if !s.may(line[1]) {", "if !s.may(line[1]) && false {"}},
		test{inWording, "^TestATextNamesItsOwnWebSitesOnly$"},
	},

	// Listeners and the disk.
	{
		"operations-answer-any-name", "On loopback, the operations listener answers only requests to loopback host names.",
		[]edit{{"internal/web/web.go", `r.Host != "" && !Loopback(r.Host)`, `r.Host == "nobody"`}},
		test{inWeb, "^TestByLoopbackOnlyItsNamesAreAnswered$"},
	},
	{
		"page-may-be-framed", "No other page can embed a page of ours in a frame.",
		[]edit{{"internal/console/console.go", "; frame-ancestors 'none'", ""}},
		test{"./internal/console", "^TestPhonesShowTheirMessages$"},
	},
	{
		"refused-refresh-counts-as-ours", "A wrong consumer secret isn't counted as a server error.",
		[]edit{{"internal/web/web.go", "v.counts = status", "_ = status"}},
		test{inWeb, "^TestAnAnswerMayCountAsAnother$"},
	},
	{
		"any-charset-is-read-as-utf8", "A body is refused if its charset doesn't read the same as UTF-8.",
		[]edit{{"internal/request/request.go", "return false\n}\n\n// object reads", "return true\n}\n\n// object reads"}},
		test{inRequest, "^TestReadTellsWhatIsWrongWithABody$"},
	},
	{
		"require-counts-as-verified", "The server warns about a database whose certificate isn't verified.",
		[]edit{{"internal/store/postgres.go", "c == nil || c.InsecureSkipVerify &&", "c == nil || false && c.InsecureSkipVerify &&"}},
		test{inStore, "^TestOnlyACheckedCertificateIsVerified$"},
	},

	{
		"life-of-zero-fills-the-disk", "A verification that expires immediately is answered but not stored.",
		[]edit{{serviceFile, "if r.Life != nil && *r.Life == 0 {", "if r.Life != nil && *r.Life < 0 {"}},
		test{inVerify, "^TestWhatNeverLivesIsNotKept$"},
	},

	// Keys in standard.
	{
		"standard-says-the-code-to-mailboxes", "In a standard project, a call says its code only after a key was pressed.",
		[]edit{{approvalFile, "if p == ProfileStandard {\n\t\treturn ApprovalAfterKey", "if p == ProfileCompat {\n\t\treturn ApprovalAfterKey"}},
		test{inVerify, "^TestStandardSaysACodeAfterAKeyAndTakesNoneInstead$"},
	},
	{
		"standard-approves-by-a-key", "In a standard project, a key alone approves nothing.",
		[]edit{{approvalFile, "return p != ProfileStandard }", `return p != "" }`}},
		test{inVerify, "^TestStandardSaysACodeAfterAKeyAndTakesNoneInstead$"},
	},
	{
		"trunk-forgets-the-key", "A call whose message requires a key waits for one.",
		[]edit{{callFile, "|| m.AfterKey && !l.c.SkipKeypress", ""}},
		test{inSIP, "^TestWithRequireKeypressTheCodeWaitsForAKey$"},
	},

	// What others could read, or speak into.
	{
		"open-file-served", "A database file that other users can read is refused.",
		[]edit{{"internal/system/system.go", "err = keyset.Private(file, info)", "_ = keyset.Private(file, info)"}},
		test{"./cmd/countersign", "^TestScripts$/^project$"},
	},
	{
		"any-server-is-ours", "A connection to a database server that could be anybody is warned of.",
		[]edit{{"internal/store/postgres.go", "return remote(host) && (c == nil ||", "return remote(host) && (c == nil && false ||"}},
		test{inStore, "^TestOnlyACheckedCertificateIsVerified$"},
	},
	{
		"text-is-markup", "A caller's text can't change what a provider's call does.",
		[]edit{{"internal/carrier/provider/preset/vonage-voice.yaml", "(xml .Spoken)", ".Spoken"}},
		test{inProvider, "^TestATextIsNoMarkup$"},
	},

	// Signatures of providers that somebody saw.
	{
		"signature-opens-again", "A provider's signature that was used once isn't accepted again.",
		[]edit{{callbackFile, "|| once(rep) && !c.used.take(rep.marks) {", "|| once(rep) && !c.used.take(nil) {"}},
		test{inProvider, "^TestACapturedSignatureOpensNothing$"},
	},
	{
		"older-signature-for-calls", "Plivo's older signature, which doesn't cover the form, isn't accepted for calls.",
		[]edit{{proofFile, "channel != string(verify.ChannelVoice) && provesPlivoURL(r, text)", "provesPlivoURL(r, text)"}},
		test{inProvider, "^TestPlivosSecondVersionCountsWhereThereIsNoThird$"},
	},
	{
		"uncovered-form-names-a-message", "A message is identified only by parts of a report that the signature covers.",
		[]edit{{callbackFile, `receipt.Ref = "" // anybody could have written it`, "_ = receipt.Ref"}},
		test{inProvider, "^TestAnUncoveredFormNamesNoMessage$"},
	},
	{
		"words-as-long-as-the-code-lives", "A provider can fetch a call's words only for a few minutes after the call was ordered.",
		[]edit{{"internal/dispatch/words.go", "d.config.Now().Sub(h.StartedAt) > askedWithin", "false"}},
		test{inDispatch, "^TestTheWordsOfACallAreForItsCarrierWhileTheCodeLives$"},
	},

	// Tenants and their keys.
	{
		"tenancy-not-checked", "Another project's verification is reported as not found.",
		[]edit{{batchFile, "if v == nil || v.value.Project != p || v.value.Erased() {", "if v == nil {"}},
		stores("AnotherProjectsVerificationDoesNotExist"),
	},
	{
		"foreign-verification-read", "Who reads another project's verification by its id is answered as for an unknown id.",
		[]edit{{latestFile, "selectVerification+` AND project = $2`, id[:], p)", "selectVerification, id[:])"}},
		stores("VerificationIsReadByItsProject"),
	},
	{
		"guesses-by-number-uncounted", "A guess that names a number spends the same guesses as one that names the verification.",
		[]edit{{latestFile, "out, err = r.check(v, g, now)", "uncounted := *v\n\t\t\t\tout, err = r.check(&uncounted, g, now)"}},
		stores("GuessesByNumberAndByIDShareTheAttempts"),
	},
	{
		"superseded-code-accepted", "Where a newer start supersedes the older ones of its number and purpose, none of their codes is right any more.",
		[]edit{{latestFile, "older != nil && started.Supersede(&older.value, now)", "older != nil && false"}},
		stores("NewerStartSupersedesThoseOfItsPurpose"),
	},
	{
		"latest-by-an-old-look", "What is the latest of a number is decided under the number's lock, whatever was seen before.",
		[]edit{{latestFile, "if r.destination(destinationKey{k.Project, k.Number}).value.Latest != found.latest {", "if false {"}},
		stores("AStartBetweenALookAndItsOperation"),
	},
	{
		"superseded-by-an-old-look", "Of starts of a number at the same time that supersede the older ones, one code is left.",
		[]edit{{latestFile, "if d.Latest != found.latest && compareIDs(d.Latest, eldest) >= 0 {", "if false {"}},
		stores("AStartBetweenALookAndItsOperation"),
	},
	{
		"start-forgets-what-lives", "A start ends the older codes of its number and purpose, as long as any of them may live.",
		[]edit{{latestFile, "-verify.MaxLife - time.Minute)) // of those that may live", "-time.Hour))"}},
		stores("StartsLookAsFarBackAsCodesLive"),
	},
	{
		"resend-beside-a-send", "A code isn't sent again while a carrier has the message before.",
		[]edit{{"internal/verify/resend.go", "case v.Delivery == DeliverySending:", "case false:"}},
		test{inV1, "^TestAResendWaitsForAMessageThatIsUnderWay$/^SQLite$"},
	},
	{
		"foreign-settings", "A start takes the settings of its own project's applications only.",
		[]edit{{"internal/store/application.go", "FROM application WHERE id = $1 AND project = $2 AND version > 0`\n", "FROM application WHERE id = $1 AND $2 <> '' AND version > 0`\n"}},
		test{inV1, "^TestAStartTakesTheSettingsOfItsApplication$/^SQLite$"},
	},
	{
		"number-of-two-users", "Where numbers are unique, a user isn't sent a code for a number that another user has.",
		[]edit{{"internal/verify/user.go", "return time.Time{}, true", "return time.Time{}, false"}},
		stores("AUniqueNumberIsOneUsers"),
	},
	{
		"number-of-two-who-ask", "Of users who ask for a unique number at the same time, one is sent a code.",
		[]edit{{"internal/store/holder.go", "if d.Latest != found.latest || ", "if "}},
		stores("OfManyWhoAskForANumberOneHasIt"),
	},
	{
		"number-imported-meanwhile", "An import that gives a unique number to a user is seen by an association that has looked before.",
		[]edit{{"internal/store/holder.go", " || r.applications[v.Application].imports != found.imports {", " {"}},
		stores("AnImportComesBetweenALookAndAnAssociation"),
	},
	{
		"number-validated-late", "A unique number is held while a right code that came in time is committed.",
		[]edit{{"internal/store/holder.go", "until = until.Add(heldOn)", "until = until.Add(heldOn * 0)"}},
		stores("ANumberIsValidatedWhileItsCodeEnds"),
	},
	{
		"number-lost-by-asking-again", "A user who has shown a unique number to be theirs keeps it while they are asked for it again.",
		[]edit{{"internal/verify/user.go", "u.VerifiedAt = verified", "_ = verified"}},
		stores("AUniqueNumberIsOneUsers"),
	},
	{
		"unique-before-keys", "Numbers aren't unique before it is known who has which.",
		[]edit{{"internal/store/application.go", "if a.UniqueNumbers && !stored.UniqueNumbers {", "if false {"}},
		test{inStore, "^TestUsersFromBeforeAreFoundByTheirNumber$/^SQLite$"},
	},
	{
		"replacement-forgets-uniqueness", "Syniverse's API, which doesn't show it, doesn't change whether an application's numbers are unique.",
		[]edit{{"internal/face/syniverse/application.go", "UniqueNumbers: stored.UniqueNumbers", "UniqueNumbers: stored.UniqueNumbers && false"}},
		test{inV1, "^TestANumberThatIsOneUsers$/^SQLite$"},
	},
	{
		"key-opens-any-project", "A key works for its own project only.",
		[]edit{{accountFile, "[]byte(p)) != 1 {", "[]byte(p)) < 0 {"}},
		test{inAccount, "^TestAKeyOpensItsOwnProjectOnly$"},
	},
	{
		"key-kept-for-ever", "A revoked key stops working within a second.",
		[]edit{{accountFile, "return age >= 0 && age < Remembered", "return age >= 0"}},
		test{inAccount, "^TestARevokedKeyStopsWorkingWithinASecond$"},
	},
	{
		"revocation-not-read", "A revoked key isn't accepted.",
		[]edit{{"internal/store/admin.go", "WHERE k.hash = $1 AND k.revoked_at = 0", "WHERE k.hash = $1"}},
		stores("KeyOpensItsProjectUntilRevoked"),
	},
	{
		"change-without-audit", "No change to a project or a key is committed without the entry that says who made it.",
		[]edit{{"internal/store/destination.go", "		return fmt.Errorf(\"write audit: %w\", err)\n", "		return nil\n"}},
		test{inStore, "^TestWithoutItsAuditNothingChanges$/^SQLite$"},
	},

	{
		"memory-before-disk", "Another process's write is seen, whatever this process remembers.",
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
		"mac-not-bound-to-id", "A MAC copied onto another verification's row doesn't match there.",
		[]edit{{"internal/keyset/keyset.go", "b.Project, string(b.ID[:]), b.Destination,", "b.Project, b.Destination,"}},
		test{inKeyset, "^TestMACIsBoundToEverythingItWasMadeFor$"},
	},
	{
		"mac-not-bound-to-number", "A MAC copied onto another number's row doesn't match there.",
		[]edit{{"internal/keyset/keyset.go", "string(b.ID[:]), b.Destination, b.Purpose", "string(b.ID[:]), b.Purpose"}},
		test{inKeyset, "^TestMACIsBoundToEverythingItWasMadeFor$"},
	},
	{
		"key-unknown-to-others", "A key makes codes only once all servers hold it.",
		[]edit{{ringFile, "if ok && !slices.ContainsFunc(others, lacked) {", "if ok && (true || !slices.ContainsFunc(others, lacked)) {"}},
		test{inSystem, "^TestAPromotedKeyWaitsForAllServers$"},
	},
	{
		"key-of-others-missing", "A server that lacks a key with which others make codes makes none itself.",
		[]edit{{ringFile, "if theirs, ok := find(o.Prints, o.Primary); !ok || !slices.Contains(mine, theirs) {", "if theirs, ok := find(o.Prints, o.Primary); false && (!ok || !slices.Contains(mine, theirs)) {"}},
		test{inSystem, "^TestAServerWithAnotherKeysetIsNotReady$"},
	},
	{
		"keys-chosen-concurrently", "Two servers with different keysets that start together don't both make codes.",
		[]edit{{"internal/store/keys.go", "`LOCK TABLE key_holder IN SHARE ROW EXCLUSIVE MODE NOWAIT`", "`SELECT pg_sleep(0.2)`"}},
		test{inSystem, "^TestOfTwoKeysetsOneIsUsed$"},
	},
	{
		"frozen-turn-waited-for", "A server that froze while it compared keys stops no other server's writes.",
		[]edit{{"internal/store/keys.go", "MODE NOWAIT`", "MODE`"}},
		test{inSystem, "^TestAFrozenServersTurnWithTheKeysStopsNobody$"},
	},
	{
		"missing-key-untold", "A server that lacks a key isn't ready while the database can't say whether the key is needed.",
		[]edit{{"internal/system/keys.go", "complain(k.outages, \"look for codes of a missing key\", err)\n", "return nil\n"}},
		test{inSystem, "^TestAMissingKeyIsToldBesideASlowDisk$"},
	},
	{
		"lost-call-is-no-ring", "A phone rings at most twice, also where a call was lost with its server.",
		[]edit{{"internal/verify/phone.go", "if !v.mayHaveRung(d) {", "if !d.rang() {"}},
		test{"./internal/dispatch", "^TestACallThatNobodyKnowsOfCountsAsARing$"},
	},
	{
		"lost-call-is-over", "One call at a time, also where a server died during one.",
		[]edit{{"internal/verify/phone.go", "over := last != nil", "over := v.Delivery == DeliverySending || last != nil"}},
		test{"./internal/dispatch", "^TestACallThatWasLostMayStillRing$"},
	},
	{
		"purpose-not-asked", "A check by id that names a purpose accepts no code for another.",
		[]edit{{"internal/store/store.go", "if !g.Means(&v.value) {", "if false {"}},
		test{"./internal/face/v1", "^TestAVerificationFromStartToEnd$"},
	},
	{
		"twin-carried-out-again", "A request with a key is carried out once, however often it is sent.",
		[]edit{{"internal/store/once.go", "	if known != nil && known.value.Lives(now) {", "	if false {"}, {"internal/verify/once.go", "	if kept != nil && kept.Lives(s.now()) {", "	if false {"}},
		test{"./internal/countersigntest", "^TestAKeyBelongsToOneRequest$"},
	},
	{
		"answer-kept-after-its-commit", "The answer to a request with a key is committed with what the request does.",
		[]edit{{"internal/store/store.go", "project: g.Project, verification: g.ID, withDestination: true, keep: keep(ctx, &out),", "project: g.Project, verification: g.ID, withDestination: true,"}},
		test{"./internal/countersigntest", "^TestTwinsAreCarriedOutOnce$"},
	},
	{
		"key-of-another-request", "Another request under the same key isn't given the first one's answer.",
		[]edit{{"internal/verify/once.go", "	if !hmac.Equal(mac, k.Request) {", "	if !hmac.Equal(mac, mac) {"}},
		test{"./internal/countersigntest", "^TestAKeyBelongsToOneRequest$"},
	},
	{
		"key-of-all-projects", "Each project has its own keys of requests.",
		[]edit{{"internal/verify/once.go", "[]string{string(p), key}", "[]string{string(p[:0]), key}"}},
		test{"./internal/countersigntest", "^TestAKeyBelongsToOneRequest$"},
	},
	{
		"answer-kept-in-the-clear", "A kept answer is sealed.",
		[]edit{{"internal/verify/once.go", "	k.Sealed, err = keys.Seal(keyID, k.binding(p), string(answer))\n	return k, err", "	k.Sealed = answer\n	return k, nil"}, {"internal/verify/once.go", "	answer, err := s.keys.Open(k.KeyID, k.binding(p), k.Sealed)", "	answer, err := string(k.Sealed), error(nil)"}},
		test{"./internal/countersigntest", "^TestKeptAnswersAreForgotten$"},
	},
	{
		"unheard-start-with-a-key-canceled", "A start whose COMMIT got no answer is found by its key, and its message is sent.",
		[]edit{{"internal/store/store.go", "started.Open() && o.keep == nil:", "started.Open():"}},
		test{"./internal/countersigntest", "^TestATwinFindsWhatWasCommittedUnheard$"},
	},
	{
		"twin-not-in-flight", "A twin of a request that is being carried out is told to come again.",
		[]edit{{"internal/verify/once.go", "	f.all[name] = request\n", ""}},
		test{"./internal/countersigntest", "^TestATwinInFlightComesAgain$"},
	},
	{
		"deletion-of-an-unread-version", "A deletion keeps to the version that it names.",
		[]edit{{"internal/store/application.go", "case version != 0 && version != stored.Version:", "case version < 0:"}},
		test{inStore, "^TestSQLiteIsAStore$/^ADeletionKeepsToItsVersion$"},
	},
	{
		"kept-answers-without-end", "A project's answers to requests that cost no message are bounded.",
		[]edit{{"internal/store/once.go", "if n >= int64(most) {", "if n < 0 {"}},
		test{inV1, "^TestKeptAnswersToFreeRequestsAreBounded$/^SQLite$"},
	},
	{
		"kept-answers-of-all-projects", "A project's kept answers don't count for another one.",
		[]edit{{"internal/store/once.go", "FROM kept_count WHERE project = $1 AND hour >= $2", "FROM kept_count WHERE project <> $1 || 'x' AND hour >= $2"}},
		test{inV1, "^TestKeptAnswersToFreeRequestsAreBounded$/^SQLite$"},
	},
	{
		"seed-of-a-former-key", "After a rotation, operators' second factors open without the former key.",
		[]edit{{"internal/operator/service.go", "if o.Seed == nil || o.KeyID == primary {", "if o.Seed == nil || o.KeyID != primary {"}},
		test{"./internal/store", "^TestSQLiteIsAStore$/^OperatorsSecondFactorsAreResealed$"},
	},
	{
		"seed-that-comes-back", "Sealing a second factor again replaces no newer one.",
		[]edit{{"internal/store/operator.go", "WHERE id = $1 AND key_id = $4 AND seed = $5`,", "WHERE id = $1 AND $4 <> -1 AND $5 <> ''`,"}},
		test{"./internal/store", "^TestSQLiteIsAStore$/^OperatorsSecondFactorsAreResealed$"},
	},
	{
		"handshakes-ask-the-authority", "A client's handshake never asks the ACME authority.",
		[]edit{{"internal/config/acme.go", `return nil, errors.New("no certificate for this name")`, `_ = errors.New; return c.manager.GetCertificate(hello)`}},
		test{"./internal/config", "^TestAHandshakeAsksNoAuthority$"},
	},
	{
		"device-in-the-clear", "A device's endpoint and keys are stored sealed.",
		[]edit{{"internal/verify/device.go", "if d.Sealed, err = keys.Seal(d.KeyID, d.binding(), string(text)); err != nil {", "if d.Sealed = text; err != nil {"}, {"internal/verify/device.go", "text, err := keys.Open(d.KeyID, d.binding(), d.Sealed)", "text, err := string(d.Sealed), error(nil)"}},
		test{inV1, "^TestDevicesAreSealedAndSurviveARotation$"},
	},
	{
		"device-sealed-for-all-users", "A device's subscription opens for its user only.",
		[]edit{{"internal/verify/device.go", `d.Application.String() + "/" + d.User`, `d.Application.String()`}},
		test{inV1, "^TestDevicesAreSealedAndSurviveARotation$"},
	},
	{
		"device-outlives-its-user", "Devices go with their user.",
		[]edit{{"internal/store/migrations/00018_devices.sql", ",\n    FOREIGN KEY (application, app_user) REFERENCES app_user (application, name) ON DELETE CASCADE", ""}},
		test{inStore, "^TestSQLiteIsAStore$/^DevicesGoWithTheirUser$"},
	},
	{
		"endpoint-of-two-users", "An endpoint is the user's who registered it last.",
		[]edit{{"internal/store/device.go", "DELETE FROM device WHERE application = $1 AND fingerprint = $2`, k.Application[:], d.Fingerprint", "DELETE FROM device WHERE application = $1 AND fingerprint = $2 AND app_user = $3`, k.Application[:], d.Fingerprint, k.Name"}, {"internal/store/migrations/00018_devices.sql", "    UNIQUE (application, fingerprint),\n", ""}},
		test{inStore, "^TestSQLiteIsAStore$/^DevicesAreKeptAsGiven$"},
	},
	{
		"push-to-another-user", "A push goes to devices of its user only.",
		[]edit{{"internal/store/device.go", "FROM device WHERE application = $1 AND app_user = $2 ORDER BY id`, k.Application[:], k.Name)", "FROM device WHERE application = $1 ORDER BY id`, k.Application[:])"}, {"internal/verify/device.go", `d.Application.String() + "/" + d.User`, `d.Application.String()`}},
		test{inWebPush, "^TestAPushGoesToTheUsersDevicesOnly$"},
	},
	{
		"import-over-a-user", "An import changes no user who is there.",
		[]edit{{"internal/verify/import.go", "return Imported{Err: ErrUserDiffers}", "return Imported{}"}},
		test{inStore, "^TestSQLiteIsAStore$/^AnImportCreatesAndChangesNothing$"},
	},
	{
		"import-into-another-project", "An import goes into the project's own applications only.",
		[]edit{{"internal/store/holder.go", "WHERE id = $1 AND project = $2 AND version > 0`", "WHERE id = $1 AND $2 <> '' AND version > 0`"}},
		test{inStore, "^TestSQLiteIsAStore$/^AnImportCreatesAndChangesNothing$"},
	},
	{
		"gone-device-kept", "A device whose service says that it is gone is removed.",
		[]edit{{"internal/carrier/push/push.go", "			gone = append(gone, to[i].ID)\n", ""}},
		test{inWebPush, "^TestAGoneDeviceIsRemovedAndTheCodeGoesOn$"},
	},
	{
		"push-in-the-clear", "A push is encrypted for its device.",
		[]edit{{"internal/carrier/webpush/webpush.go", "body, err := encrypt(d.Subscription, text)", "body, err := text, error(nil)"}},
		test{inWebPush, "^TestAPushGoesToTheUsersDevicesOnly$"},
	},
	{
		"token-of-another-service", "A push service gets tokens that are for it.",
		[]edit{{"internal/carrier/webpush/vapid.go", "had, ok := t.kept[origin]", "had, ok := t.kept[\"\"]"}, {"internal/carrier/webpush/vapid.go", "t.kept[origin] = token{header, now}", "t.kept[\"\"] = token{header, now}"}},
		test{inWebPush, "^TestTokensAreUsedAgain$"},
	},
	{
		"tokens-without-end", "Tokens are kept for a few push services, whatever devices name.",
		[]edit{{"internal/carrier/webpush/vapid.go", "len(t.kept) >= maxOrigins || ", ""}},
		test{inWebPush, "^TestTokensAreUsedAgain$"},
	},
	{
		"authenticator-without-a-language", "The authenticator has the languages of calls.",
		[]edit{{"sdk/web/words.js", "    'es-419': {", "    'es-418': {"}},
		test{inDevice, "^TestTheAuthenticatorSpeaksTheLanguagesOfCalls$"},
	},
	{
		"text-without-its-place", "Each language has the places of the English texts.",
		[]edit{{"sdk/web/words.js", "Pyyntö vanhenee {0} min {1} s kuluttua.", "Pyyntö vanhenee {0} min kuluttua."}},
		test{inDevice, "^TestTheAuthenticatorSpeaksTheLanguagesOfCalls$"},
	},
	{
		"title-without-a-language", "Notifications have titles in the languages of calls.",
		[]edit{{"internal/notice/title.go", "	\"uk\": {\"Ваш код\", \"Це ви?\"},\n", ""}},
		test{"./internal/notice", "^TestTitlesHaveTheLanguagesOfCalls$"},
	},
	{
		"private-endpoint-called", "A device's endpoint leads to public addresses only.",
		[]edit{{"internal/carrier/exchange/exchange.go", "	if o.Guard != nil {", "	if false {"}},
		test{inWebPush, "^TestAPrivateEndpointIsNotCalled$"},
	},
	{
		"association-pushed", "An association's code goes to the number.",
		[]edit{{"internal/verify/application.go", "	if associates {\n", "	if false {\n"}},
		test{inWebPush, "^TestAnAssociationNeverGoesByPush$"},
	},
	{
		"push-verifies-a-number", "A code that may have come to a device doesn't show whose the number is.",
		[]edit{{userFile, "		if !v.pushed() {", "		if true {"}},
		test{inWebPush, "^TestAPushGoesToTheUsersDevicesOnly$"},
	},
	{
		"hanging-push-stays", "A push whose service hangs goes on by the next channel.",
		[]edit{{"internal/dispatch/failover.go", "!j.message.Channel.IsCall() {", "j.message.Channel == verify.ChannelSMS {"}},
		test{inWebPush, "^TestServicesThatFail$"},
	},
	{
		"untaken-prompt-counts", "A prompt that no service took isn't one of the three.",
		[]edit{{promptFile, "		u.Prompts = max(0, u.Prompts-1) // a success may have come between\n", ""}},
		test{inDevice, "^TestAPromptThatNoServiceTakesDoesNotCount$"},
	},
	{
		"retaken-prompt-free", "A prompt counts that a service takes after it was away.",
		[]edit{{promptFile, "	} else {\n		u.Prompts++\n", "	} else {\n		u.Prompts += 0\n"}},
		test{inDevice, "^TestAPromptThatIsTakenLaterCounts$"},
	},
	{
		"restore-keeps-enrolments", "An enrolment's code doesn't work after a restore.",
		[]edit{{"internal/store/enrol.go", "const forgetEnrolments = `DELETE FROM enrolment`", "const forgetEnrolments = `DELETE FROM enrolment WHERE expires_at < 0`"}},
		test{inStore, "^TestSQLiteIsAStore$/^ARestoreForgetsEnrolments$"},
	},
	{
		"damaged-device-stops-rotation", "A device that can't be opened keeps no other on a former key.",
		[]edit{{"internal/verify/device.go", "					damaged = cmp.Or(damaged, err)\n", "					return n, err\n"}},
		test{inV1, "^TestDevicesAreSealedAndSurviveARotation$"},
	},
	{
		"late-denial-lost", "A denial counts also where the verification has ended.",
		[]edit{{promptFile, "	case out.Denied, out.Noted:\n", "	case out.Denied:\n"}},
		test{inDevice, "^TestADenialIsWrittenDown$"},
	},
	{
		"late-denial-again", "A denial counts once.",
		[]edit{{promptFile, "v.Prompt.Denied.IsZero() && ", ""}},
		test{inDevice, "^TestADenialIsWrittenDown$"},
	},
	{
		"denial-unwritten", "A denial is in the audit log.",
		[]edit{{"internal/store/prompt.go", "			if out.Denied || out.Noted {\n", "			if false {\n"}},
		test{inDevice, "^TestADenialIsWrittenDown$"},
	},
	{
		"unseen-prompt-counts", "A prompt that no device can answer isn't one of the three.",
		[]edit{{promptFile, "	case !v.Prompt.IsZero():\n		u.Prompts++", "	default:\n		u.Prompts++"}},
		test{inDevice, "^TestAPromptThatNobodyGetsDoesNotCount$"},
	},
	{
		"fetch-unsigned", "Only a device of the user fetches a message.",
		[]edit{{"internal/verify/fetch.go", "	if err := s.checkSigner(ctx, v, f.Device, f.signed(), f.Signature); err != nil {\n		return Message{}, err\n	}\n", ""}},
		test{inDevice, "^TestOnlyTheUsersDevicesFetch$"},
	},
	{
		"fetch-after-the-end", "Nothing is fetched of a verification that has ended.",
		[]edit{{"internal/verify/fetch.go", "	if v.ended(s.now()) != nil {\n		return Message{}, ErrNoPrompt\n	}\n", ""}},
		test{inDevice, "^TestADeviceFetchesItsMessage$"},
	},
	{
		"wake-up-tells-google", "A push by Google has no code unless the operator allows it.",
		[]edit{{"internal/carrier/fcm/fcm.go", "	if a.Text && !m.ByPrompt {", "	if !m.ByPrompt {"}},
		test{"./internal/carrier/fcm", "^TestAPushWakesTheApp$"},
	},
	{
		"wake-up-tells-apple", "A push by Apple has no code unless the operator allows it.",
		[]edit{{"internal/carrier/apns/apns.go", "	if a.Text && !m.ByPrompt {", "	if !m.ByPrompt {"}},
		test{"./internal/carrier/apns", "^TestAPushWakesTheApp$"},
	},
	{
		"misnamed-project-loses-devices", "Only FCM's UNREGISTERED removes a device.",
		[]edit{{"internal/carrier/fcm/fcm.go", "	case code == unregistered:", "	case code == unregistered || resp.StatusCode == http.StatusNotFound:"}},
		test{"./internal/carrier/fcm", "^TestRefusals$"},
	},
	{
		"sandbox-loses-devices", "A token that Apple calls bad stays.",
		[]edit{{"internal/carrier/apns/apns.go", "	case resp.StatusCode == http.StatusGone:", "	case resp.StatusCode == http.StatusGone || reason == badToken:"}},
		test{"./internal/carrier/apns", "^TestRefusals$"},
	},
	{
		"forged-answer-taken", "Only a device of the user can answer a prompt, with its own key.",
		[]edit{{promptFile, "	if !isSigned(text, signature, sub.Sign) {", "	if len(sub.Sign) == 0 {"}},
		test{inDevice, "^TestForgedAnswersAreNeverAccepted$"},
	},
	{
		"answer-unbound", "A device's answer is for one verification.",
		[]edit{{promptFile, `"countersign answer 1", a.Verification.String(), `, `"countersign answer 1", `}},
		test{inDevice, "^TestAUserApprovesOnTheirDevice$"},
	},
	{
		"answer-replayed", "A device's answer counts once.",
		[]edit{{promptFile, `strconv.Itoa(v.Guesses)+" "), v.Prompt`, `"0 "), v.Prompt`}},
		test{inDevice, "^TestWrongNumbersAreGuesses$"},
	},
	{
		"late-answer-takes-a-transaction", "A device can't flood the writer with answers that change nothing.",
		[]edit{{promptFile, "!v.awaits(&a, now) && !v.deniesLate(&a, now) {", "v == nil {"}},
		test{inDevice, "^TestAnAnswerThatComesTooLateIsNoWrite$"},
	},
	{
		"wrong-number-costs-nothing", "A wrong number on a device is a wrong guess.",
		[]edit{{promptFile, "		v.Guesses++\n", "		v.Guesses += 0\n"}},
		test{inDevice, "^TestWrongNumbersAreGuesses$"},
	},
	{
		"prompts-without-end", "A user gets three prompts without a success.",
		[]edit{{promptFile, "u.Prompts >= maxPrompts", "u.Prompts > maxPrompts"}},
		test{inDevice, "^TestPromptsEnd$"},
	},
	{
		"denial-forgotten", "A user who says that it wasn't them who asked gets no more prompts.",
		[]edit{{promptFile, "		u.DeniedAt = now\n", "		u.DeniedAt = time.Time{}\n"}},
		test{inDevice, "^TestPromptsEnd$"},
	},
	{
		"approval-told-twice", "One check hears that a device approved.",
		[]edit{{promptFile, "		v.Prompt.Told = now\n", "		v.Prompt.Told = time.Time{}\n"}},
		test{inDevice, "^TestAUserApprovesOnTheirDevice$"},
	},
	{
		"code-and-device-both-approve", "A verification is approved once, by a code or by a device.",
		[]edit{{verificationFile, "			v.Prompt.Told = now\n", "			v.Prompt.Told = time.Time{}\n"}},
		test{inDevice, "^TestACodeOrADeviceApproves$"},
	},
	{
		"enrolment-used-twice", "A code of an enrolment works once, for ten minutes.",
		[]edit{{"internal/store/enrol.go", "`DELETE FROM enrolment WHERE hash", "`UPDATE enrolment SET expires_at = expires_at WHERE hash"}},
		test{inDevice, "^TestAnEnrolmentWorksOnce$"},
	},
	{
		"reloaded-key-used-at-once", "A reloaded keyset doesn't change which key makes codes until it was compared with the other servers'.",
		[]edit{{"internal/keyset/keyset.go", "\tif s.chosen {\n", "\tif false {\n"}},
		test{inSystem, "^TestAPromotedKeyWaitsForAllServers$"},
	},
	{
		"lost-keyset-unnoticed", "A server that lacks a key of pending codes reports that it isn't ready.",
		[]edit{{"internal/store/keys.go", "\t\treturn true, nil\n", "\t\treturn false, nil\n"}},
		test{inSystem, "^TestAServerThatLacksAKeyOfPendingCodesIsNotReady$"},
	},
	{
		"lost-keyset-of-a-quiet-server-unnoticed", "A server that lacks a key of pending codes isn't ready, even long after another server last reported that key.",
		[]edit{{"internal/store/keys.go", "\tif alone {\n", "\tif false {\n"}},
		test{inSystem, "^TestAServerThatLacksAKeyOfPendingCodesIsNotReady$"},
	},
	{
		"sealed-copy-outlives-approval", "The write that ends a verification also removes the sealed copy of its code.",
		[]edit{{verificationFile, "v.Status, v.EndedAt, v.SealedCode, v.Prompt.Client = s, now, nil, Client{}", "v.Status, v.EndedAt, v.Prompt.Client = s, now, Client{}"}},
		stores("EndWipesTheSealedCode"),
	},
	{
		"code-in-a-log-line", "A code never appears in a log line.",
		[]edit{{idFile, "slog.StringValue(redacted)", "slog.StringValue(s.Reveal())"}},
		test{inVerify, "^TestASecretNeverShows$"},
	},
	{
		"code-in-an-error", "A code never appears in formatted text.",
		[]edit{{idFile, "io.WriteString(f, redacted)", "io.WriteString(f, s.Reveal())"}},
		test{inVerify, "^TestASecretNeverShows$"},
	},
	{
		"number-in-a-log-line", "A logged number shows only its last four digits.",
		[]edit{{"internal/phone/phone.go", "slog.StringValue(n.Masked())", "slog.StringValue(string(n))"}},
		test{inPhone, "^TestLogsAreMasked$"},
	},
	{
		"number-in-a-timeline", "A verification's timeline shows only the last four digits of its number, unless the whole number is requested.",
		[]edit{{"cmd/countersign/verification.go", "number := s.Reach().Masked()", "number := string(s.Reach())"}},
		test{"./cmd/countersign", "^TestScripts$/^verification$"},
	},
	{
		"reveal-unrecorded", "Showing a whole number is recorded in the audit log.",
		[]edit{{"internal/admin/verification.go", `did("verification reveal"`, `did(""`}},
		test{"./cmd/countersign", "^TestScripts$/^verification$"},
	},
	{
		"refusal-without-request", "The log line of a request refused because of a fault on our side has the request's id.",
		[]edit{{"internal/outage/outage.go", "l.Logger.Log(ctx, level", "l.Logger.Log(context.Background(), level"}},
		test{"./internal/outage", "^TestARequestsContextReachesTheLog$"},
	},
	{
		"path-logged", "A request's path isn't logged, because it may hold a number or a code.",
		[]edit{{"internal/web/web.go", `slog.String("method", r.Method), `, `slog.String("method", r.Method), slog.String("path", r.URL.Path), `}},
		test{inWeb, "^TestEveryAnswerHasAnIDOfOurOwnThatIsLogged$"},
	},

	// Commits.
	{
		// The store reads the setting back when it opens, so the fault must change that, too.
		"commits-not-synced", "Everything that was answered is on disk, even after a power cut.",
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
		[]edit{{batchFile, "for i, o := range group {\n\t\tswitch {\n\t\tcase r.fenced", "for i, o := range slices.Backward(group) {\n\t\tswitch {\n\t\tcase r.fenced"}},
		stores("OperationsOnOneRowAreAppliedInOrderOfArrival"),
	},
	{
		"failed-commit-repeated", "A failed commit isn't repeated, because it may have happened.",
		[]edit{{batchFile, "if !committing {", "if !committing || len(group) > 1 {"}},
		stores("FailedCommitThatHappenedStoresOnce"),
	},
	{
		"poison-fails-its-group", "An operation that can't be carried out fails without failing its group.",
		[]edit{{batchFile, "errors.As(err, &poison) && len(group) > 1", "errors.As(err, &poison) && len(group) > maxBatch"}},
		stores("PoisonedOperationFailsAlone"),
	},
	{
		"retention-deletes-live-ones", "Retention never deletes a verification that is still pending.",
		[]edit{{upkeepFile, "AND NOT (status = 0 AND expires_at > $3)", "AND $3 > 0"}},
		stores("RetentionDeletesOnlyWhatHasEndedBefore"),
	},

	// PostgreSQL and its replicas.
	{
		"destinations-not-locked", "Guesses at one number are counted together on all replicas and verifications.",
		[]edit{{pgSessionFile, "ORDER BY d.project, d.number FOR UPDATE OF d`", "ORDER BY d.project, d.number`"}},
		test{inStore, "^TestARowThatAnotherReplicaHoldsIsWaitedFor$"},
	},
	{
		"verifications-not-locked", "A settlement doesn't overwrite a guess on another replica.",
		[]edit{{pgSessionFile, "= ANY ($1::bytea[]) ORDER BY id FOR UPDATE`", "= ANY ($1::bytea[]) ORDER BY id`"}},
		test{inStore, "^TestARowThatAnotherReplicaHoldsIsWaitedFor$"},
	},
	{
		"state-remembered", "The memory holds only the parts of a verification that never change.",
		[]edit{{pgSessionFile, "err := stateLayout.read(c, &v)", "err := stateLayout[:0].read(c, &v)"}},
		test{inStore, "^TestPostgresIsAStore$/^WhatAGuessChangesIsWritten$"},
	},
	{
		"new-numbers-decided-twice", "Two replicas that start for a number that is new to both share its limits.",
		[]edit{{pgSessionFile, "SELECT ` + destinationLayout.arrays()", "SELECT ` + destinationLayout.arrays() + ` ON CONFLICT DO NOTHING`"}},
		test{inStore, "^TestANewNumberOfTwoReplicasIsOne$"},
	},
	{
		"bad-row-fails-its-group", "A row that PostgreSQL refuses fails without failing its group.",
		[]edit{{pgSessionFile, "\tdefault:\n\t\treturn &poisonError{err}", "\tdefault:\n\t\treturn err"}},
		test{inStore, "^TestPostgresIsAStore$/^PoisonedOperationFailsAlone$"},
	},
	{
		"sweeper-waits-for-nobody", "A start that commits after the sweeper has passed leaves a hint, however long the commit takes.",
		[]edit{{pgSessionFile, "s.bundle.add(pgGate, nil)", "_ = pgGate"}},
		test{inStore, "^TestSweeperWaitsForStartsThatAreUnderWay$"},
	},
	{
		"takeover-by-a-doubtful-time", "No replica takes a message over by a clock that may be wrong, or before the holder could renew its lease.",
		[]edit{{clockFile, "return last.compared && mono-last.at.Mono <= maxGap && mono-last.broke >= settling", "return last.compared || mono > 0"}},
		test{inStore, "^TestLeasesAreJudgedAfterFreshComparisonsOnly$"},
	},
	{
		"starts-by-a-wrong-clock", "A machine whose clock is off by more than 5 s starts nothing.",
		[]edit{{clockFile, "maxSkew = 5 * time.Second", "maxSkew = 7 * time.Second"}},
		test{inStore, "^TestNothingStartsWhileTheClockIsWrong$"},
	},
	{
		"wall-clock-decides", "The time is the database's, whatever the machine's wall clock shows.",
		[]edit{{clockFile, "return last.time.Add(c.mono() - last.at.Mono)", "return last.time.Add(c.machine().Wall.Sub(last.time))"}},
		test{inStore, "^TestStartsLeaveNoHintsWhateverTheWallClockShows$"},
	},
	{
		"suspended-machine-decides", "A machine that was suspended accepts no code that expired in the meantime.",
		[]edit{{pgSessionFile, "if s.server.clock.doubtful() {", "if false {"}},
		test{inStore, "^TestASuspendedMachineAsksForTheTime$"},
	},
	{
		"failover-unnoticed", "After a failover, a code that may have been used is no longer accepted.",
		[]edit{{identityFile, "case f.is.timeline != f.was.timeline && !s.forgives(f.is.timeline):", "case false:"}},
		test{inStore, "^TestFailoverVoidsWhatIsPending$"},
	},
	{
		"void-mark-ahead", "After a failover from a server whose clock was ahead, new verifications can start.",
		[]edit{{identityFile, "bytes.Compare(found.void, ahead[:]) > 0 {", "bytes.Compare(found.void, ahead[:]) > 16 {"}},
		test{inStore, "^TestAFailoverVoidsTheFutureAndStopsNoStart$"},
	},
	{
		"void-mark-stays-ahead", "After a clock that was ahead is set back, new verifications can start, and void ones stay void.",
		[]edit{{identityFile, "tx.Exec(ctx, pgVoidAhead, to[:], millis(now), aheadStep, mark)", "tx.Exec(ctx, pgVoidAhead, to[:], millis(now), 0, mark)"}},
		test{inStore, "^TestAClockSetBackTakesTheVoidMarkAlong$"},
	},
	{
		"exposed-failover-forgiven", "A failover without a synchronous standby voids pending codes, whatever the configuration says.",
		[]edit{{identityFile, `(s.exposed == "" || s.exposed == promoted)`, `(true || s.exposed == promoted)`}},
		test{inStore, "^TestAFailoverIsForgivenOnlyToASynchronousStandby$"},
	},
	{
		"restore-stopped-midway", "An interrupted restore leaves no database that accepts codes that may have been used.",
		[]edit{{"cmd/countersign/backup.go", "half := to + \".half\"", "half := to"}},
		test{"./cmd/countersign", "^TestBackupWhileServing$"},
	},
	{
		"dump-unnoticed", "After a dump is restored, a code that may have been used is no longer accepted.",
		[]edit{{identityFile, "case f.is.incarnation != f.was.incarnation:", "case false:"}},
		test{inStore, "^TestRestoredDatabaseIsVoid$/^dump_into_a_new_database$"},
	},
	{
		"dump-under-connections-unnoticed", "After a dump is restored, connections from before the restore don't accept such a code either.",
		[]edit{{pgSessionFile, "if r.epoch != s.epoch {", "if false {"}},
		test{inStore, "^TestRestoredDatabaseIsVoid$/^dump_into_the_same_database_at_once$"},
	},
	{
		"earlier-position-unnoticed", "After a server's files are restored, no process that saw later data accepts a code that may have been used.",
		[]edit{{identityFile, "p.flushed < earlier.flushed", "p.flushed < 0"}},
		test{inStore, "^TestRestoredDatabaseIsVoid$/^base_backup$"},
	},
	{
		"part-of-a-dump-taken-for-all", "Rows that a restore loads after a server has checked the database are void too.",
		[]edit{{identityFile, "AND to_regclass('verification_pkey') IS NOT NULL ", ""}},
		test{inStore, "^TestHalfRestoredDatabaseIsRefused$"},
	},
	{
		"lost-decision-unnoticed-in-postgres", "A server that starts on restored PostgreSQL files, and still has its witness file, voids pending codes.",
		[]edit{{identityFile, "if d.lost(err == nil, status, guesses) {", "if d.lost(err == nil, status, guesses) && false {"}},
		test{inStore, "^TestRestoredDatabaseIsVoid$/^snapshot$"},
	},
	{
		"schema-ignored", "Every connection uses the tables of the schema that the configuration names.",
		[]edit{{"internal/store/postgres.go", "c.RuntimeParams[searchPath] = p.Schema", "_ = searchPath"}},
		test{inStore, "^TestEachConnectionKeepsToItsSchema$"},
	},
	{
		"another-schema-taken-for-an-older-copy", "What a server decided in one schema of a database voids nothing in another.",
		[]edit{{identityFile, ", nullif(current_schema(), 'public'))", ")"}},
		test{inStore, "^TestAnotherSchemaIsAnotherDatabase$"},
	},
	{
		"lost-decision-unnoticed", "A process notices that its last decision is lost, even if only that one is.",
		[]edit{{"internal/store/witness.go", "return !found || guesses < d.Guesses || d.Status", "return !found || d.Status"}},
		test{inStore, "^TestOlderFileIsVoid$"},
	},
	{
		"older-file-unnoticed", "An older SQLite file that is put back is voided.",
		[]edit{{storeFile, "if err := s.witnessed(ctx); err != nil {", "if err := error(nil); err != nil {"}},
		test{inStore, "^TestOlderFileIsVoid$"},
	},
	{
		"replaced-file-written", "A write to an SQLite file that was replaced is never reported as successful.",
		[]edit{{sqliteFile, "if s.gone.Load() {", "if false {"}},
		test{inStore, "^TestFileThatWasReplacedIsRefused$"},
	},
	{
		"moved-from-two-states", "An interrupted move continues from the state in which it began, or not at all.",
		[]edit{{"internal/store/move.go", "case found == nil || found.token != token:", "case false:"}},
		test{inStore, "^TestMoveGoesOnFromTheSameStateOnly$"},
	},
	{
		"moved-file-written", "Nothing writes to a database file while it is being moved.",
		[]edit{{"internal/store/mark.go", "SELECT RAISE(ABORT, 'this file", "SELECT RAISE(IGNORE); SELECT ('this file"}},
		test{inStore, "^TestMoveGoesOnFromTheSameStateOnly$"},
	},
	{
		"moved-file-served", "No server uses a file that was moved, because its codes may have been used elsewhere.",
		[]edit{{sqliteFile, "if !o.moved {", "if false {"}},
		test{inStore, "^TestAbortOfAWholeMoveVoidsWhatIsPending$"},
	},
	{
		"lists-ignore-other-servers", "All servers of a database divide what one project's lists may take of it.",
		[]edit{{"internal/store/keys.go", "\t\ts.others.Store(int32(len(others)))\n", ""}},
		test{inStore, "^TestServersDivideWhatListsTake$"},
	},
	{
		"aborted-move-keeps-pending", "A server that returns to a file after an aborted move doesn't accept its pending codes.",
		[]edit{{"internal/store/mark.go", "\tif m.moved {\n\t\ta.Voided", "\tif false {\n\t\ta.Voided"}},
		test{inStore, "^TestAbortOfAWholeMoveVoidsWhatIsPending$"},
	},
	{
		"void-by-steps-only", "A voided verification is accepted by no replica, even while the rows are still being voided.",
		[]edit{{"internal/store/backup.go", "if s.markVoid != nil {", "if false {"}},
		test{inStore, "^TestVoidBesideReplicas$"},
	},
	{
		"void-unrecorded", "A void that stops halfway is recorded in the audit log with what it voided.",
		[]edit{{"internal/store/backup.go", "return count(ctx, tx, voided+n)", "return nil"}},
		test{inStore, "^TestAStoppedVoidSaysHowManyItVoided$"},
	},
	{
		"crash-voids", "A crashed server has lost nothing, so its pending codes stay valid.",
		[]edit{{identityFile, "p.flushed < earlier.flushed", "p.flushed != earlier.flushed"}},
		test{inStore, "^TestRestartVoidsNothing$"},
	},
	{
		"asynchronous-commits", "A commit is on PostgreSQL's disk, whatever the server's default setting.",
		[]edit{{"internal/store/postgres.go", "set_config('synchronous_commit', 'on', false)", "set_config('synchronous_commit', 'off', false)"}},
		test{inStore, "^TestCommitsAreSynchronousWhateverTheServerSays$"},
	},
	{
		"callers-wait-for-ever", "No request waits longer than two seconds for an absent database.",
		[]edit{{batchFile, "if l.down == nil || l.limit == 0 {", "if true {"}},
		test{inStore, "^TestCallersDoNotWaitForADatabaseThatIsAway$"},
	},

	// Delivery.
	{
		"settled-without-the-lease", "A dispatcher that lost the lease can't settle the attempt.",
		[]edit{{deliveryFile, "if v.Attempt != s.Attempt || s.Attempt < 1 {", "if s.Attempt < 1 {"}},
		test{inVerify, "^TestWhoLostTheLeaseSettlesAndRenewsNothing$"},
	},
	{
		"renewed-without-the-lease", "A dispatcher that lost the lease can't renew it.",
		[]edit{{deliveryFile, "if v.Attempt != attempt || v.Delivery != DeliverySending {", "if v.Delivery != DeliverySending {"}},
		test{inVerify, "^TestWhoLostTheLeaseSettlesAndRenewsNothing$"},
	},
	{
		"claimed-under-a-lease", "No dispatcher sends a message whose lease another one holds.",
		[]edit{{deliveryFile, "&& !now.Before(v.DueAt)", ""}},
		test{inVerify, "^TestAnAttemptIsClaimedWhenItIsDueAndTheCodeLives$"},
	},
	{
		"receipt-not-fenced", "A failed receipt of an earlier attempt doesn't affect a later attempt.",
		[]edit{{deliveryFile, "case v.Delivery == DeliveryQueued, r.Attempt != v.Attempt:", "case v.Delivery == DeliveryQueued:"}},
		test{inVerify, "^TestAReceiptAdvancesWhatIsOnItsWay$"},
	},
	{
		"arrived-and-tried-again", "After a receipt says that the message arrived, it isn't sent again.",
		[]edit{{deliveryFile, "	case v.Delivery == DeliveryDelivered, v.Delivery == DeliveryFailed:\n", "	case v.Delivery == DeliveryDelivered, v.Delivery == DeliveryFailed, v.Delivery == DeliveryQueued:\n"}},
		test{inDispatch, "^TestWhatHasArrivedIsNotTriedAgain$"},
	},
	{
		"throttling-is-failing", "A carrier that wants us to be slower is not passed over.",
		[]edit{{dispatchFile, "case whose == verify.BlameUs, end.Outcome", "case end.Outcome"}},
		test{inDispatch, "^TestOnlyTheCarriersOwnFailuresOpenABreaker$"},
	},
	{
		"own-breaker-for-all", "A replica whose own link to a carrier is broken delays no other replica's messages.",
		[]edit{{failoverFile, "now.Sub(id.Time())/8)", "time.Hour)"}},
		test{inDispatch, "^TestABrokenLinkOfOneReplicaDelaysNobody$"},
	},
	{
		"early-receipts-lost-at-shutdown", "A shutdown records the receipts that came before their messages were settled.",
		[]edit{{dispatchFile, "d.matchLast() // everything", "d.match(context.Background()) // everything"}},
		test{inDispatch, "^TestAShutdownMatchesEarlyReceipts$"},
	},
	{
		"calls-beside-each-other", "At most one call at a time rings a number, over all projects.",
		[]edit{{phoneFile, "return max(0, p.Until.Sub(now))", "return 0"}},
		stores("PhonesAreHeldWhileACallMayLast"),
	},
	{
		"rings-for-ever", "An unanswered phone rings at most twice for one verification.",
		[]edit{{phoneFile, "return at, rings < maxRings", "return at, true"}},
		test{inDispatch, "^TestAPhoneRingsTwiceAtMost$"},
	},
	{
		"rings-again-at-once", "An unanswered phone isn't called again for five minutes.",
		[]edit{{phoneFile, "at = ended.Add(redialAfter)", "at = ended"}},
		test{inDispatch, "^TestAPhoneRingsTwiceAtMost$"},
	},
	{
		"rings-beside-the-text", "A call to a number starts at least a minute after a text to it.",
		[]edit{{phoneFile, "return max(0, last.Add(quietTime).Sub(now))", "return 0"}},
		test{inDispatch, "^(TestACallWaitsAfterAText|TestACallAfterATextThatFailed)$"},
	},
	{
		"retries-for-free", "Each message that may have been sent is charged to the number's limits.",
		[]edit{{phoneFile, "	if !spent {\n		return 0, NoReason\n	}\n	return d.charge(limits, now), ReasonTooManySends", "	return 0, NoReason"}},
		test{inDispatch, "^(TestEveryMessageIsCharged|TestAMessageWaitsForItsLimits|TestAPhoneRingsTwiceAtMost)$"},
	},
	{
		"held-for-ever", "A dead server's hold on a phone expires.",
		[]edit{{phoneFile, "v.ID, v.Attempt, now, now.Add(d)", "v.ID, v.Attempt, now, now.Add(1000*d)"}},
		stores("PhonesAreHeldWhileACallMayLast"),
	},
	{
		"silence-moves-on-for-ever", "A missing receipt moves a message to another carrier only once.",
		[]edit{{failoverFile, " || !doubt && verify.MovedOn(j.verification.Round(history))", ""}},
		test{inDispatch, "^TestSilenceMovesOnOnce$"},
	},
	{
		"called-for-want-of-room", "A full carrier is no reason to use another channel.",
		[]edit{{"internal/dispatch/poll.go", "busy = w.channel", `busy = ""`}},
		test{inDispatch, "^TestNoRoomIsNoReasonToCall$"},
	},
	{
		"started-elsewhere-for-want-of-room", "A start doesn't become a call because there is no room for its text.",
		[]edit{{dispatchFile, `busy != "" && busy != w.channel`, "false"}},
		test{inDispatch, "^TestNoRoomIsNoReasonToCall$"},
	},
	{
		"channel-unasked", "A fallback uses only channels of the application that the client left open.",
		[]edit{{"internal/verify/settle.go", `if r.channel == "" && (to.channel == "" || r.byPrompt) {`, "if true {"}},
		test{inDispatch, "^TestAnotherChannelIsOnlyForThoseWhoWantIt$"},
	},
	{
		"text-of-another-channel", "A message on another channel has the text for that channel.",
		[]edit{{resendFile, "return f.Text", "return v.Text"}},
		test{inDispatch, "^TestFailoverStories$"},
	},
	{
		"call-for-a-repeat", "A message on another channel has an id of its own, so receivers that drop repeats accept it.",
		[]edit{{verificationFile, "v.ID.message(by, v.Resent.Count)", `v.ID.message("", v.Resent.Count)`}},
		test{inDispatch, "^TestACarrierOfTwoChannelsIsAskedForEach$"},
	},
	{
		"resent-too-soon", "A resend before its wait is over is refused.",
		[]edit{{resendFile, "case now.Before(at):\n\t\treturn ErrTooSoon", "case false:\n\t\treturn ErrTooSoon"}},
		test{inV1, "^TestAResendWaits$"},
	},
	{
		"resent-without-end", "A verification has as many resends as there are waits.",
		[]edit{{resendFile, "if n >= len(resendWaits) {\n\t\treturn at, false", "if n >= len(resendWaits) {\n\t\treturn v.Resent.At, true"}},
		test{inV1, "^TestAResendWaits$"},
	},
	{
		"resent-for-new-guesses", "A resend gives no new guesses.",
		[]edit{{resendFile, "v.lease(r.Lease, now)", "v.Guesses = 0\n\tv.lease(r.Lease, now)"}},
		test{inV1, "^TestAResendGivesNeitherGuessesNorTime$"},
	},
	{
		"resent-for-a-longer-life", "A resend doesn't extend the code's life.",
		[]edit{{resendFile, "v.lease(r.Lease, now)", "v.ExpiresAt = v.ExpiresAt.Add(now.Sub(v.ID.Time()))\n\tv.lease(r.Lease, now)"}},
		test{inV1, "^TestAResendGivesNeitherGuessesNorTime$"},
	},
	{
		"resent-after-the-end", "The code of an ended verification isn't sent again.",
		[]edit{{resendFile, "if err := v.ended(now); err != nil {\n\t\treturn err\n\t}\n\tat, left", "at, left"}},
		test{inV1, "^TestAnEndedVerificationIsNotSentAgain$"},
	},
	{
		"resent-for-free", "A resend passes the number's send limits.",
		[]edit{{resendFile, "\tdefault:\n\t\treturn ErrTooManySends.After(wait)", ""}},
		test{inV1, "^TestAResendIsCharged$"},
	},
	{
		"resent-by-all-twins", "Resends that arrive concurrently send one message.",
		[]edit{{resendFile, "v.Resent = Resent{v.Resent.Count + 1, now, v.Attempt + 1, r.Asked}\n\tv.lease", "v.lease"}},
		test{inV1, "^TestTwinsOfAResendSendOneMessage$"},
	},
	{
		"payment-unrepeated", "A check must repeat the payment that a code authorizes.",
		[]edit{{verificationFile, "right = right && paid", "_ = paid"}},
		test{inV1, "^TestACheckRepeatsThePayment$"},
	},
	{
		"payment-tells-the-code", "A check for another payment doesn't tell whether the code is right.",
		[]edit{{verificationFile, "WrongPayment: !paid", "WrongPayment: !paid && code"}, {verificationFile, "paid := g.Payment.equal(v.Payment)\n", "code, paid := right, g.Payment.equal(v.Payment)\n"}},
		test{inV1, "^TestACheckRepeatsThePayment$"},
	},
	{
		"payment-unbound", "A code is bound to its payment: a row with another one accepts it no more.",
		[]edit{{verificationFile, ", Payment: v.Payment.bound()}", "}"}},
		test{inVerify, "^TestACodeIsBoundToItsVerification$"},
	},
	{
		"resent-and-forgotten", "A resend that was answered is sent, though its server dies.",
		[]edit{{"internal/store/sql.go", "p.text(resentText(at(v)))", `p.text("")`}},
		test{inV1, "^TestAResendSurvivesItsServer$"},
	},
	{
		"fallbacks-forgotten", "A verification's fallbacks are stored with it, so that another replica uses the same ones.",
		[]edit{{"internal/store/sql.go", "p.text(fallbackText(*at(v)))", `p.text("")`}},
		stores("GuessThatCannotBeComparedSpendsNothing"),
	},
	{
		"watch-beyond-the-code", "Nobody waits for a receipt after the code has expired.",
		[]edit{{deliveryFile, "s.Watch > 0 && v.ended(until) == nil", "s.Watch > 0"}},
		test{inVerify, "^TestSilenceMakesASentMessageDue$"},
	},
	{
		"one-message-more", "A verification sends at most the allowed number of messages.",
		[]edit{{failoverFile, "verify.Messages(history) >= d.config.MaxMessages", "verify.Messages(history) > d.config.MaxMessages"}},
		test{inDispatch, "^TestMessagesOfAVerificationAreBounded$"},
	},
	{
		"loss-before-the-end", "A lost message moves to another carrier only once it is known which carrier lost it.",
		[]edit{{receiptFile, "case i < 0:\n\t\treturn false, \"\", errEarly", "case i < 0:\n\t\treturn !r.Delivered, \"\", nil"}},
		test{inDispatch, "^TestLossWaitsForTheEndOfItsAttempt$"},
	},
	{
		"another-replicas-carrier", "A replica without a carrier for a message leaves it to those that have one.",
		[]edit{{"internal/dispatch/poll.go", "d.config.Shared && c.why == verify.ReasonNoCarrier && ", "false && "}},
		test{inDispatch, "^TestAMessageWithoutACarrierHereIsLeftToOthers$"},
	},
	{
		"receipt-of-another-carrier", "A carrier's receipt doesn't affect a message that another carrier has.",
		[]edit{{receiptFile, `history[i].Carrier != "" && history[i].Carrier != r.Carrier`, `history[i].Carrier != "" && r.Carrier == ""`}},
		test{inDispatch, "^TestACarrierReportsOfItsOwnMessagesOnly$"},
	},
	{
		"words-of-a-dead-code", "A call doesn't say a code that has expired.",
		[]edit{{"internal/dispatch/words.go", "v.StatusAt(d.config.Now()) != verify.StatusPending || ", ""}},
		test{inDispatch, "^TestTheWordsOfACallAreForItsCarrierWhileTheCodeLives$"},
	},
	{
		"words-for-another-carrier", "Only a call's own carrier can fetch its words.",
		[]edit{{"internal/dispatch/words.go", "h.Carrier == carrier", "h.Carrier != \"\""}},
		test{inDispatch, "^TestTheWordsOfACallAreForItsCarrierWhileTheCodeLives$"},
	},
	{
		"words-of-an-older-attempt", "A call that another attempt has replaced doesn't say the code.",
		[]edit{{"internal/dispatch/words.go", " || v.Attempt != attempt", ""}},
		test{inDispatch, "^TestTheWordsOfACallAreForItsCarrierWhileTheCodeLives$"},
	},
	{
		"receipt-changes-its-mind", "After a delivered receipt, later receipts change nothing.",
		[]edit{{deliveryFile, "d.Receipt == ReceiptDelivered || d.Receipt == r.state()", "d.Receipt == r.state()"}},
		stores("ReceiptIsRecordedOnce"),
	},
	{
		"receipt-for-the-oldest", "If a carrier uses an id twice, the id stands for its newest message.",
		[]edit{{"internal/store/store.go", "ORDER BY verification DESC, attempt DESC", "ORDER BY verification, attempt"}},
		stores("CarriersOwnIDNamesItsNewestMessage"),
	},
	{
		"refusal-opens-the-breaker", "A refusal is about the number: it keeps no other message from the carrier.",
		[]edit{{dispatchFile, "case err == nil, whose == verify.BlameMessage: // it answers", "case err == nil:"}},
		test{inDispatch, "^TestOnlyTheCarriersOwnFailuresOpenABreaker$"},
	},
	{
		"busy-phone-opens-the-breaker", "That a phone is busy, or isn't answered, keeps no other message from the carrier.",
		[]edit{{reasonFile, "{\"busy\", BlameMessage, rings}", "{\"busy\", BlameCarrier, rings}"}, {reasonFile, "{\"no_answer\", BlameMessage, rings}", "{\"no_answer\", BlameCarrier, rings}"}},
		test{inDispatch, "^TestOnlyTheCarriersOwnFailuresOpenABreaker$"},
	},
	{
		"one-number-opens-the-breaker", "One number counts only once against a carrier, however often its messages fail.",
		[]edit{{breakerFile, "	if !b.counted(p, n) || b.pause > 0 && !probing {\n", "	if b.pause > 0 && !probing {\n"}, {breakerFile, "case len(b.failed) >= b.after:", "case b.counts[p] >= b.after:"}},
		test{inDispatch, "^TestOneNumberOpensNoBreaker$"},
	},
	{
		"one-project-opens-everybodys-breaker", "One project's failures don't block other projects' messages to a carrier.",
		[]edit{{breakerFile, "return !known && b.counts[p] < b.share", "return !known"}},
		test{inDispatch, "^(TestOneProjectOpensItsOwnBreakerOnly|TestAnotherProjectsFailuresCostNoStart)$"},
	},
	{
		"probed-by-what-opened-it", "A message whose failure opened a breaker isn't used as its probe.",
		[]edit{{breakerFile, "	_, known := b.failed[n]\n	return !known && b.counts[p] < b.share", "	return b.counts[p] < b.share || b.pause > 0"}},
		test{inDispatch, "^TestWhatOpenedABreakerIsNoProbe$"},
	},
	{
		"two-probes", "At most one message at a time probes a failing carrier.",
		[]edit{{breakerFile, "			at = later(at, b.lapses)\n", ""}},
		test{inDispatch, "^TestABreakerOpensForLongerEachTime$"},
	},
	{
		"draw-by-chance", "The order of a message's carriers is the same on every replica.",
		[]edit{{"internal/route/route.go", "hash(string(id[:]), c.Carrier)>>11", "hash(fmt.Sprint(time.Now()), c.Carrier)>>11"}, {"internal/route/route.go", "import (\n\t\"cmp\"\n", "import (\n\t\"cmp\"\n\t\"fmt\"\n\t\"time\"\n"}},
		test{inRoute, "^TestWeightsShareTheMessages$"},
	},
	{
		"lost-answer-sent-again", "A message whose response got lost isn't sent again, because it may have been sent.",
		[]edit{{deliveryFile, "case s.sent():", "case s.Outcome == AttemptAccepted:"}},
		test{inVerify, "^TestAnAttemptThatEndsDecidesWhatIsNext$"},
	},
	{
		"dead-message-sent", "A message isn't sent if its code expired while it waited.",
		[]edit{{leaseFile, "s != verify.StatusPending &&", "s != verify.StatusPending && s.String() == \"\" &&"}},
		test{inDispatch, "^TestQueuedMessageDiesWithItsCode$"},
	},
	{
		"lease-not-renewed", "A call that takes longer than its lease renews it, so no other replica makes the call too.",
		[]edit{{leaseFile, "s := d.look(j, now)", "s := standing{until: now.Add(d.config.Lease)}"}},
		test{inDispatch, "^TestALongCallKeepsItsLease$"},
	},
	{
		"call-outlives-its-lease", "A call ends when its lease is lost, because another replica may make the next attempt.",
		[]edit{{leaseFile, "errors.Is(s.err, verify.ErrLeaseLost), errors.As(s.err, &gone)", "errors.As(s.err, &gone)"}},
		test{inDispatch, "^TestACallEndsWithItsLease$"},
	},
	{
		"call-outlives-the-database", "A call ends before a lease that can't be renewed, because then another replica makes it.",
		[]edit{{leaseFile, "case s.err != nil && ending:", "case s.err != nil && ending && false:"}},
		test{inDispatch, "^TestADeadReplicasCallIsMadeByAnother$"},
	},
	{
		"own-message-taken-for-lost", "A process never reclaims a message that it is sending itself, whatever the clock says.",
		[]edit{{flightFile, "return f.ids[id] > 0", "return f.ids[id] > 100"}},
		test{inDispatch, "^TestAStepOfTheClockRepeatsNothing$"},
	},
	{
		"own-commit-taken-for-lost", "A process doesn't reclaim its own message while its commit is still unanswered.",
		[]edit{
			{dispatchFile, "d.flights.begin(e.Verification)", "_ = e.Verification"},
			{dispatchFile, "\tp.l.queue.add(", "\tp.d.flights.begin(p.id)\n\tp.l.queue.add("},
		},
		test{inDispatch, "^TestAStepOfTheClockBeforeTheAnswerOfACommitRepeatsNothing$"},
	},
	{
		"step-ends-a-call", "A clock step doesn't end a call whose lease can still be renewed.",
		[]edit{{leaseFile, "s := d.look(j, now)", "s := d.look(j, now)\n\t\tif ending {\n\t\t\ts.err = errLeaseEnds\n\t\t}"}},
		test{inDispatch, "^TestAStepOfTheClockRepeatsNothing$"},
	},
	{
		"unsent-counts-as-sent", "What never left the queue at a shutdown doesn't count as a message.",
		[]edit{{flightFile, "= verify.AttemptErrored, verify.ReasonInterrupted, true", "= verify.AttemptUnknown, verify.ReasonInterrupted, true"}},
		test{inDispatch, "^TestWhatWaitsAtAShutdownIsDueAndUnsent$"},
	},
	{
		"waiting-call-holds-the-phone", "A call that never left the process releases the phone.",
		[]edit{{dispatchFile, "s.Called = v.To", "s.Called = \"\""}},
		test{inDispatch, "^TestACallThatWaitedHoldsNoPhone$"},
	},
	{
		"outage-gives-up-what-waits", "Messages that wait during a database outage are sent afterwards and don't count as lost.",
		[]edit{{leaseFile, "if !unavailable(s.err) || d.calls.Err() != nil {", "if true {"}, {dispatchFile, "case unavailable(s.err):", "case unavailable(s.err) && d.calls.Err() != nil:"}},
		test{inDispatch, "^TestAnOutageCountsNoMessageWhoseTurnItIs$"},
	},
	{
		"missing-key-delays-others", "A server that lacks a message's key doesn't delay a server that has it.",
		[]edit{{"internal/dispatch/poll.go", "return nil // a server that has the key claims it", "return postpone(now.Add(d.config.Lease)) // a server that has the key claims it"}},
		test{inDispatch, "^TestAMessageOfAKeyThatIsMissingIsLeftToOthers$"},
	},
	{
		"look-that-fails-forgets", "The poller retries first the messages that failed in its previous round.",
		[]edit{{"internal/dispatch/poll.go", "d.due.again(due)", ""}},
		test{inDispatch, "^TestHintsOfALateSweepAreSeen$"},
	},
	{
		"what-becomes-due-waits-for-a-flood", "A message that becomes due doesn't wait until the poller has read another project's whole flood.",
		[]edit{{"internal/dispatch/poll.go", "now.Sub(l.after.Due) <= maxBehind", "true"}},
		test{inDispatch, "^TestWhatBecomesDueIsNotBehindAFlood$"},
	},
	{
		"no-place-asks-once", "A project without a place asks again at each look, until shares have freed one for it.",
		[]edit{{"internal/dispatch/poll.go", "	l.askAgain()\n", ""}},
		test{inDispatch, "^TestAMessageWithoutAPlaceAsksAgain$"},
	},
	{
		"each-client-looks-up", "Concurrent requests with one key look it up once.",
		[]edit{{accountFile, "s.lookups.Do(string(hash[:]), func()", "s.lookups.Do(fmt.Sprint(rand.Int()), func()"}, {accountFile, "\"errors\"\n", "\"errors\"\n\"fmt\"\n\"math/rand/v2\"\n"}},
		test{inAccount, "^TestConcurrentRequestsShareALookUp$"},
	},
	{
		"strangers-take-all", "Keys that are made up take few connections.",
		[]edit{{"internal/store/admin.go", "case s.strangers <- struct{}{}:", "default:\ns.strangers <- struct{}{}"}},
		test{inStore, "^TestStrangersTakeFewConnections$"},
	},
	{
		"damage-at-each-look", "A row that can't be read is logged once a minute.",
		[]edit{{"internal/dispatch/poll.go", "d.complain(slog.LevelError, \"due message can't be read, skipped\", o.Damaged, ", "d.config.Log.Error(\"due message can't be read, skipped\", \"err\", o.Damaged, "}},
		test{inDispatch, "^TestADamagedRowHidesNoOther$"},
	},
	{
		"stale-memory", "A message that another server has had meanwhile is read again.",
		[]edit{{"internal/dispatch/memory.go", "!ok || !o.Verification.DueAt.Equal(h.Due)", "!ok"}},
		test{inDispatch, "^TestWhatIsRememberedOfARetry$"},
	},
	{
		"nothing-swept", "A dead server's messages are found also while each commit takes a second.",
		[]edit{{"internal/dispatch/poll.go", "func() { d.sweep(ctx) })", "func() {})"}},
		test{inSystem, "^TestTheSweeperKeepsUpOnASlowDisk$"},
	},
	{
		"late-sweep-forgotten", "A failed read by the poller loses no hint of a late sweep.",
		[]edit{{upkeepFile, "s.sweptFrom.add(after.Due)", "_ = from"}},
		test{inDispatch, "^TestHintsOfALateSweepAreSeen$"},
	},
	{
		"settling-ends-with-the-lease", "The end of an attempt is recorded once the database is back, even after the lease.",
		[]edit{{dispatchFile, "return j.verification.ExpiresAt", "return j.until"}},
		test{inDispatch, "^TestAnAttemptIsSettledAfterItsLease$"},
	},
	{
		"ghost-is-sent", "A start whose COMMIT got no answer is refused, and is canceled before anything is sent.",
		[]edit{{storeFile, "s.abandoned.add(&started)", ""}},
		stores("StartWithoutAnAnswerIsCanceled"),
	},
	{
		"ghost-holds-the-phone", "A refused start's call doesn't hold the phone, because nobody makes the call.",
		[]edit{{"internal/store/abandoned.go", "o := op{verification: id, phone: l.phone}", "l.phone = \"\"\n\to := op{verification: id}"}},
		stores("StartWithoutAnAnswerIsCanceled"),
	},
	{
		"late-ghost-is-sent", "A row that appears after its COMMIT got no answer is canceled too.",
		[]edit{{"internal/store/abandoned.go", "case !s.postgres:", "case true:"}},
		test{inStore, "^TestACommitThatComesLateIsCanceled$"},
	},
	{
		"call-hangs-with-the-database", "A hanging database doesn't extend a call beyond its lease.",
		[]edit{{leaseFile, "func() { end(errLeaseEnds) })", "func() {})"}},
		test{inDispatch, "^TestACallEndsWhileTheDatabaseHangs$"},
	},
	{
		"dead-code-read-out", "A call ends with its verification, so it never says a code that no longer works.",
		[]edit{{leaseFile, "end(over(s.ended))\n\t\t\treturn", ""}},
		test{inDispatch, "^TestACallEndsWithItsVerification$"},
	},
	{
		"call-waits-for-a-receipt", "A call that said the code counts as delivered when it ends.",
		[]edit{{deliveryFile, "case s.Delivered && s.Outcome == AttemptAccepted:", "case false:"}},
		test{inVerify, "^TestWhatIsDeliveredAtOnceWaitsForNoReceipt$"},
	},
	{
		"unanswered-call-costs", "An unanswered call costs nothing.",
		[]edit{{"internal/dispatch/line.go", "if c.Answered.IsZero() {", "if false {"}},
		test{inDispatch, "^TestACallCostsEachMinuteThatWasBegun$"},
	},
	{
		"usage-by-country-of-everybody-twice", "A list by day and country reads the sums of all projects, or each project's.",
		[]edit{{"internal/store/rollup.go", "country + `project = '' AND ` + where", "country + where"}},
		stores("UsageIsFolded"),
	},
	{
		"usage-counted-twice", "An attempt whose end is reported again is counted once.",
		[]edit{{batchFile, "known != nil && !known.value.EndedAt.IsZero()", "known != nil && false"}},
		stores("FailedCommitThatHappenedStoresOnce"),
	},
	{
		"repeated-end-not-named", "The dispatcher says that it reports an attempt's end again.",
		[]edit{{dispatchFile, "\t\tend.Again = true\n", ""}},
		test{inDispatch, "^TestAnEndThatIsReportedAgainIsCountedOnce$"},
	},
	{
		"usage-lost-with-its-group", "Each group counts what its operations used.",
		[]edit{{sqliteFile, "for i := range r.used {", "for i := range r.used[:0] {"}},
		stores("UsageIsCountedOnce"),
	},
	{
		"usage-lost-with-its-group-postgresql", "Each group counts what its operations used, on PostgreSQL too.",
		[]edit{{pgSessionFile, "\tb.addRows(pgAddUsed, t)\n", ""}},
		test{inStore, "^TestPostgresIsAStore$/^ProcessesCountTogether$"},
	},
	{
		"folded-and-fresh", "A list by day reads what isn't folded yet beside the days, and nothing twice.",
		[]edit{{"internal/store/rollup.go", `arm(fresh, where+"writer >= 0 AND "`, `arm("usage_hour", where+"writer >= -1 AND "`}},
		stores("UsageIsFolded"),
	},
	{
		"usage-shown-to-others", "The console shows a person's answer about usage again only to the same question.",
		[]edit{{"internal/console/recent.go", `key := fmt.Sprintf("%q %q %d`, `q.Project, q.Among = "", nil
	key := fmt.Sprintf("%q %q %d`}},
		test{"./internal/console", "^TestUsageIsAskedOnceForMany$"},
	},
	{
		"sums-of-all-projects", "A list of all projects by country reads their sums, and not those of one project too.",
		[]edit{{"internal/store/rollup.go", "days, months = rollup{\"usage_sum\", day + `project = '' AND ` + where", "days, months = rollup{\"usage_sum\", day + where"}},
		stores("UsageIsFolded"),
	},
	{
		"approval-of-no-carrier", "An approval before the end of its attempt counts for the carrier, too.",
		[]edit{{batchFile, "if v.Bear(&d) {", "if v.Bear(&d) && false {"}},
		stores("UsageIsCountedOnce"),
	},
	{
		"bearer-not-written", "The carrier that had the message is written with the attempt's end.",
		[]edit{{"internal/store/store.go", "v.Held, v.Bearer, v.Prompt}", "v.Held, verify.Bearer{}, v.Prompt}"}},
		stores("UsageIsCountedOnce"),
	},
	{
		"country-used-before-its-limit", "A limit of a country counts what was folded of today already.",
		[]edit{{budgetFile, "ofEachProject(\"usage_hour\", \"\")+`country = $3`", "`writer >= 0 AND country = $3`"}},
		stores("CountryLimitCountsWhatWasFolded"),
	},
	{
		"folded-into-another-day-postgresql", "PostgreSQL adds an hour to its own day.",
		[]edit{{"internal/store/fold.go", "hour / 24 AS day FROM gone", "hour / 25 AS day FROM gone"}},
		test{inStore, "^TestPostgresIsAStore$/^UsageIsFolded$"},
	},
	{
		"budget-not-asked", "A start is refused that the project's budget doesn't leave.",
		[]edit{{budgetFile, "if !of.Covers(p.toll) {", "if !of.Covers(p.toll) && p.granted {"}},
		stores("BudgetIsSpentExactly"),
	},
	{
		"budget-shared-twice", "What another writer may spend by itself isn't given to anybody else.",
		[]edit{{budgetFile, "free = free.Plus(r.free)\n", ""}},
		test{inStore, "^TestPostgresIsAStore$/^ShareIsSpentOnce$"},
	},
	{
		"dead-replica-keeps-its-share", "What a writer hasn't spent is taken back when nothing else is left.",
		[]edit{{"internal/verify/budget.go", "rest, d.Reclaim = left, true", "d.Reclaim = false"}},
		test{inStore, "^TestPostgresIsAStore$/^BudgetIsSpentExactly$"},
	},
	{
		"taken-back-and-kept", "A share that was taken back can't be spent.",
		[]edit{{budgetFile, "if d.Reclaim {", "if d.Reclaim && false {"}},
		test{inStore, "^TestPostgresIsAStore$/^BudgetIsSpentExactly$"},
	},
	{
		"refused-message-stays-spent", "A message that no carrier took is given back to the budget.",
		[]edit{{"internal/verify/budget.go", "add = Spending{-1, -h.Price}", "add = Spending{}"}},
		stores("WhatWasNotHandedOverIsGivenBack"),
	},
	{
		"retry-for-nothing", "A message that goes out again takes of the budget again.",
		[]edit{{storeFile, "verify.Toll{Bound: bound, Price: o.Price}", "verify.Toll{Bound: bound && false, Price: o.Price}"}},
		stores("RetriesTakeOfTheBudget"),
	},
	{
		"resend-for-nothing", "A resend takes of the budget.",
		[]edit{{storeFile, "again.By.ToNumber(), again.Toll, 0)", "again.By.ToNumber(), verify.Toll{}, 0)"}},
		stores("RetriesTakeOfTheBudget"),
	},
	{
		"estimate-is-the-price", "What a message came to in the end is what the balance loses.",
		[]edit{{"internal/verify/budget.go", "add = Spending{0, u.Price - h.Price}", "add = Spending{}"}},
		stores("BalanceAddsUp"),
	},
	{
		"shares-of-the-budget-before", "A budget that is lowered holds for whoever has a share of the one before.",
		[]edit{{budgetFile, "WHERE project = $1 AND (free_messages <> 0 OR", "WHERE project = $1 AND false AND (free_messages <> 0 OR"}},
		stores("LowerBudgetHoldsAtOnce"),
	},
	{
		"stopped-country-gets-what-waits", "A message that waits for its carrier isn't sent to a country that was stopped.",
		[]edit{{dispatchFile, "case d.stopped(j.country):", "case d.stopped(\"\"):"}},
		test{inDispatch, "^TestAStoppedCountryGetsNothing$"},
	},
	{
		"stopped-country-gets-retries", "No retry goes to a country that was stopped.",
		[]edit{{"internal/dispatch/poll.go", "if d.stopped(v.Reach().Region()) {", "if d.stopped(\"\") {"}, {dispatchFile, "case d.stopped(j.country):", "case d.stopped(j.country) && j.verification.Attempt == 1:"}},
		test{inDispatch, "^TestAStoppedCountryGetsNothing$"},
	},
	{
		"drained-carrier-gets-what-waits", "A message that waits for a carrier goes to another one when it is drained.",
		[]edit{{dispatchFile, "case l.drained.Load():", "case l.drained.Load() && false:"}},
		test{inDispatch, "^TestADrainedCarrierGetsNothing$"},
	},
	{
		"shard-that-is-away-refuses-keys", "While a shard is away, a key that no other shard knows is answered 503, and not 401.",
		[]edit{{"internal/system/shards.go", "case err == nil && len(all) < len(s.all):", "case false:"}, {"internal/system/shards.go", "if p != nil || err != nil {\n\t\treturn p", "if p != nil {\n\t\treturn p"}},
		test{inSystem, "^TestAKeyFindsItsShard$"},
	},
	{
		"device-asks-any-shard", "What a device answers is judged by the shard that has its verification.",
		[]edit{{"internal/system/shards.go", "if p = d.or(p, err); p == nil {", "if p = d.or(nil, err); p == nil {"}},
		test{"./cmd/countersign", "^TestDevicesOfTwoShards$"},
	},
	{
		"receipt-goes-to-the-first-shard", "A receipt goes to the shard whose database has its message.",
		[]edit{{"internal/dispatch/siblings.go", "case err == nil:\n\t\treturn d.record(ctx, r)", "case d != nil:\n\t\treturn s.joined()[0].record(ctx, r)"}},
		test{inSystem, "^TestReceiptsOfSiblings$"},
	},
	{
		"shards-multiply-a-carriers-calls", "Shards share the calls of a carrier.",
		[]edit{{"internal/dispatch/siblings.go", "s.carriers[l.name()] = c\n", "_ = c\n"}},
		test{inSystem, "^TestShardsShareACarriersCalls$"},
	},
	{
		"shard-that-is-away-keeps-a-carriers-calls", "A message of a shard that is away takes none of a carrier's calls from the others.",
		[]edit{{dispatchFile, "\tleave()\n\td.end(what, end, j)\n", "\tdefer leave()\n\td.end(what, end, j)\n"}},
		test{inSystem, "^TestAShardThatIsAwayKeepsNoCalls$"},
	},
	{
		"tried-project-sends-to-anybody", "A project that is being tried sends to its own numbers only.",
		[]edit{{"internal/verify/policy.go", "case project.sendsOnlyTo() &&", "case project.sendsOnlyTo() && len(project.OnlyNumbers) > 1000 &&"}},
		test{"./internal/verify", "^TestATriedProjectSendsToItsNumbersOnly$"},
	},
	{
		"own-code-confirms-a-number", "Nobody confirms a stranger's number with a code that they chose.",
		[]edit{{"internal/verify/trial.go", "if r.Code != \"\" ||", "if"}},
		test{"./internal/countersigntest", "^TestATrialSendsToConfirmedNumbersOnly$"},
	},
	{
		"trial-without-confirmed-numbers", "A project that is being tried and has confirmed nothing sends to nobody.",
		[]edit{{"internal/verify/trial.go", "return p.Trial() || len(p.OnlyNumbers) > 0", "return len(p.OnlyNumbers) > 0"}},
		test{"./internal/countersigntest", "^TestATrialSendsToConfirmedNumbersOnly$"},
	},
	{
		"step-told-again", "Each part of a cap is told once in a period.",
		[]edit{{"internal/verify/budget.go", "if step > last.Step && step <= u.Percent() {", "if step <= u.Percent() {"}},
		stores("ABudgetsUseIsMarkedOnce"),
	},
	{
		"step-told-late", "The message that reaches a part of a cap tells it.",
		[]edit{{budgetFile, "share := d.Share.AtMost(state.Ahead(now).Minus(free).Part(2 * max(writers, 1)))", "share := d.Share"}},
		stores("ABudgetsUseIsMarkedOnce"),
	},
	{
		"hour-never-ends", "An hour's messages are those of the hour.",
		[]edit{{budgetFile, "hour_messages = CASE WHEN o.hour > u.hour THEN o.hour_messages WHEN", "hour_messages = CASE WHEN"}},
		stores("AnHoursBudgetEndsWithTheHour"),
	},
	{
		"countrys-limit-not-asked", "A start is refused that its country's limit doesn't leave.",
		[]edit{{budgetFile, "if (*counted)[key] {", "if (*counted)[key] && v.Project == \"\" {"}},
		stores("CountryLimitsHoldForAllProjects"),
	},
	{
		"granted-to-two", "What a process was granted for its messages isn't given to anybody else.",
		[]edit{{budgetFile, "if r.grantedAt > fresh {", "if r.grantedAt > fresh && false {"}},
		test{inStore, "^TestPostgresIsAStore$/^AGrantIsNobodyElses$"},
	},
	{
		"dead-process-keeps-its-grant", "What a dead process was granted goes to others.",
		[]edit{{budgetFile, "if err := dropGrants(ctx, tx, rows, fresh, today); err != nil {", "if err := dropGrants(ctx, tx, rows, 0, today); err != nil {"}},
		stores("AGrantIsNobodyElses"),
	},
	{
		"refused-start-divides", "A start that its number's limits refuse divides no budget.",
		[]edit{{storeFile, "refused != nil {", "refused != nil && false {"}},
		stores("AStartThatIsRefusedDividesNothing"),
	},
	{
		"folded-spending-lost", "What was spent is the same when it is folded.",
		[]edit{{"internal/store/fold.go", "sums[into] = sums[into].Plus(r.Spending)", "sums[into] = r.Spending"}},
		stores("FoldedSpendingAddsUp"),
	},
	{
		"late-end-counts-twice", "An attempt counts once that was taken for lost before its server reported its end.",
		[]edit{{batchFile, "if o.settles > 0 && v != nil", "if false && v != nil"}},
		stores("LateEndsCountOnce"),
	},
	{
		"early-receipt-not-counted", "A receipt counts that is faster than the end of its attempt.",
		[]edit{{"internal/store/batch.go", "if known != nil { // its receipt was faster", "if known != nil && false {"}},
		stores("LateEndsCountOnce"),
	},
	{
		"balance-of-all-time", "Operators are told of the parts of what a project had after its latest top-up.",
		[]edit{{budgetFile, "b.Before = b.Ever.Amount", ""}},
		stores("ATopUpBeginsAnotherBalance"),
	},
	{
		"trial-ends-without-a-bound", "A top-up of a project without a balance doesn't end its trial.",
		[]edit{{budgetFile, "if !b.Prepaid {\n\t\t\t\treturn", "if false {\n\t\t\t\treturn"}},
		stores("OnlyABalanceEndsATrial"),
	},
	{
		"guessed-share-spent", "What another server took back of a writer's share isn't spent.",
		[]edit{{budgetFile, "AND u.free_messages + n.free_messages >= 0 AND u.free_amount + n.free_amount >= 0 RETURNING 1", "RETURNING 1"}},
		test{inStore, "^TestPostgresIsAStore$/^(BudgetIsSpentExactly|LowerBudgetHoldsAtOnce)$"},
	},
	{
		"dear-message-in-the-queue", "A message that has become too dear isn't sent from the queue.",
		[]edit{{dispatchFile, "case d.limitsPrices() && d.tooDear(way{line: l,", "case false && d.tooDear(way{line: l,"}},
		test{inDispatch, "^TestAMessageInTheQueueIsNoDearerThanItsCountryAllows$"},
	},
	{
		"sends-by-an-old-policy", "A server that stood still looks at what operators have stopped before it sends.",
		[]edit{{"internal/dispatch/lease.go", "if !d.awaitPolicy(policyLife) {", "if false {"}},
		test{inDispatch, "^TestAServerThatStoodStillLooksBeforeItSends$"},
	},
	{
		"watched-country-not-counted", "Messages to a country that operators watch are counted.",
		[]edit{{"internal/dispatch/stop.go", "d.config.Observer.Watched(country)", "_ = country"}},
		test{inDispatch, "^TestMessagesToAWatchedCountryAreCounted$"},
	},
	{
		"dear-carrier-called", "No carrier is called that comes to more than the country's limit allows.",
		[]edit{{"internal/dispatch/stop.go", ".Times(units) > most {", ".Times(units) > most && false {"}},
		test{inDispatch, "^TestNoMessageIsDearerThanItsCountryAllows$"},
	},
	{
		"dear-retry", "No retry goes by a carrier that has become too dear.",
		[]edit{{"internal/dispatch/failover.go", "if d.dearNext(w, v) {", "if d.dearNext(w, v) && false {"}},
		test{inDispatch, "^TestARetryIsNoDearerThanItsCountryAllows$"},
	},
	{
		"weights-of-the-configuration", "Weights that an operator sets hold while servers run.",
		[]edit{{"internal/dispatch/stop.go", "route.Weigh(d.rules, all)", "route.Weigh(d.rules, nil)"}},
		test{inDispatch, "^TestWeightsHoldWhileAServerRuns$"},
	},
	{
		"approval-not-counted", "An approval counts for the hour in which its verification started.",
		[]edit{{userRowFile, "v.value.ApprovalUsage(r.use)", ""}},
		stores("UsageIsCountedOnce"),
	},
	{
		"general-price-first", "The price of a country goes before the general one.",
		[]edit{{"internal/money/table.go", "[...]string{s.Country, \"\"}", "[...]string{\"\", s.Country}"}},
		test{"./internal/money", "^TestTheMostSpecificRuleHolds$"},
	},
	{
		"carriers-cost-shown-to-projects", "A project sees what it is charged, and not what the carrier takes.",
		[]edit{{"internal/face/v1/verification.go", "priced(d.Charge.Price, d.Charge.Currency)", "priced(d.Charge.Cost, d.Charge.Currency)"}},
		test{inV1, "^TestADeliverySaysWhatItCost$"},
	},
	{
		"next-attempt-put-off", "A dispatcher that has seen a running lease doesn't delay the attempt after it.",
		[]edit{{deliveryFile, "if v.Attempt == seen.Attempt && v.Delivery == seen.Delivery && v.DueAt.Equal(seen.DueAt) {", "if seen != nil {"}},
		stores("WhatHasChangedIsNotPutOff"),
	},
	{
		"call-record-lost", "The record of a call is stored with its attempt.",
		[]edit{{"internal/store/sql.go", "\t\treturn endedCallLayout\n", "\t\treturn endedLayout\n"}, {"internal/store/sqlite.go", "write(s.insertCall, endedCallLayout, d)", "write(s.insertDelivery, endedLayout, d)"}},
		stores("CallIsRecordedWithItsAttempt"),
	},
	{
		"dead-message-claimed", "A crashed server's message isn't sent after its code has expired.",
		[]edit{{deliveryFile, "if v.ended(now) != nil {\n\t\tv.giveUp(now)", "if v == nil {\n\t\tv.giveUp(now)"}},
		test{inVerify, "^TestAnAttemptIsClaimedWhenItIsDueAndTheCodeLives$"},
	},
	{
		"life-of-zero-sends", "A verification that expires immediately is never sent.",
		[]edit{{verificationFile, "\tif v.ended(now) != nil {\n\t\tv.fail(ReasonExpired)\n\t\treturn nil\n\t}\n", ""}},
		test{inVerify, "^TestAVerificationThatIsDeadOnArrivalIsCountedAndNeverSent$"},
	},
	{
		"watermark-jumps", "The sweeper's mark never passes a row that the sweeper hasn't read.",
		[]edit{{upkeepFile, "SET id = $1 WHERE name = 'sweep'`, last[:])", "SET id = $1 WHERE name = 'sweep'`, to[:])"}},
		stores("SweepReadsEachRowOnce"),
	},
	{
		"start-behind-the-sweeper-forgotten", "A verification that the sweeper would miss is recorded when it starts.",
		[]edit{{storeFile, "compareIDs(started.ID, r.swept) <= 0", "compareIDs(started.ID, r.swept) < -1"}},
		stores("AClockSetBackForgetsNoMessage"),
	},
	{
		// Without its distance alone the sweeper forgets nothing: a start that it overtook notes itself down.
		"sweeper-overtakes-starts", "The sweeper doesn't miss messages that start while it sweeps.",
		[]edit{
			{upkeepFile, "const sweepLag = 5 * time.Second", "const sweepLag = 0 * time.Second"},
			{storeFile, "compareIDs(started.ID, r.swept) <= 0", "compareIDs(started.ID, r.swept) < -1"},
		},
		stores("SweepAmongStartsForgetsNoMessage"),
	},

	// Limits.
	{
		"flood-takes-all-places", "While other projects want places, a project gets only its share of a carrier's queue.",
		[]edit{{"internal/share/share.go", "(h.taken < share || p.taken < p.shared/2)", "true"}},
		test{inDispatch, "^TestAFloodTakesNoPlacesOfOthers$"},
	},
	{
		"no-place-for-one-that-comes", "A project that arrives during another's flood finds free places.",
		[]edit{{"internal/share/share.go", "return p.all / 8", "return 0"}},
		test{"./internal/share", "^TestOneThatComesFindsPlacesWhileAnotherHasManyOfThem$"},
	},
	{
		"queue-serves-the-flood-first", "Messages of several projects leave in turn.",
		[]edit{{"internal/dispatch/queue.go", "q.jobs.Add(string(j.verification.Project), j)", "q.jobs.Add(\"\", j)"}},
		test{inDispatch, "^TestAFloodTakesNoPlacesOfOthers$"},
	},
	{
		"writer-without-shares", "While other projects want places, a project gets only its share of the operations waiting for a commit.",
		[]edit{{batchFile, "case share.Spent:", "case share.Spent + 9:"}},
		test{inStore, "^TestAFloodLeavesOthersTheirPlacesInTheWriter$"},
	},
	{
		"users-checks-without-shares", "Every operation that a key allows takes a place.",
		[]edit{{userRowFile, "o.project, o.user, o.withCurrent = k.Project, rowOf(k), true", "o.user, o.withCurrent = rowOf(k), true"}},
		test{inStore, "^TestAFloodLeavesOthersTheirPlacesInTheWriter$"},
	},
	{
		"engine-serves-the-flood-first", "Texts of several projects are spoken in turn.",
		[]edit{{"internal/speech/engine.go", "t.waiting.Add(who, w)", "t.waiting.Add(who[:0], w)"}},
		test{inSpeech, "^TestTheEngineServesThoseThatWaitInTurn$"},
	},
	{
		"limits-after-the-send", "A start that the limits refuse sends nothing.",
		[]edit{
			{serviceFile, "if err := commit(", "sent = true\n\tplace.Send(ctx, v, v.Message(place.Channel(), secret))\n\tif err := commit("},
			{serviceFile, "if v.Delivery == DeliverySending {", "if !sent {"},
		},
		test{inVerify, "^TestAPlaceIsUsedOnceOrGivenBack$"},
	},
	{
		"sends-not-counted", "A number gets a burst of messages, then one per interval.",
		[]edit{{destinationFile, "d.TAT, d.Sends = tat, sends", "_, _ = tat, sends"}},
		test{inVerify, "^TestSendsAreABurstThenOneEachInterval$"},
	},
	{
		"one-message-more-a-day", "A number gets at most the allowed number of messages in any day.",
		[]edit{{"internal/limit/window.go", "if len(live) >= w.Max {", "if len(live) > w.Max {"}},
		test{inLimit, "^TestWindow$"},
	},

	// The wire.
	{
		"name-twice-in-a-body", "A body with a duplicate name is refused.",
		[]edit{{"internal/request/request.go", "if _, twice := all[name]; twice {", "if false {"}},
		test{inRequest, "^FuzzObject$"}, // its seeds
	},
	{
		"body-without-bound", "At most 64 KiB of a body are read.",
		[]edit{{"internal/request/request.go", "http.MaxBytesReader(nil, r.Body, MaxBody)", "r.Body"}},
		test{inRequest, "^TestReadTellsWhatIsWrongWithABody$"},
	},
	{
		"retry-after-rounded-down", "A client that waits for Retry-After doesn't come too early.",
		[]edit{{"internal/web/answer.go", "math.Ceil(d.Seconds())", "math.Floor(d.Seconds())"}},
		test{inWeb, "^TestWaitsAreWholeSecondsAndNeverTooShort$"},
	},
	{
		"path-in-another-spelling", "A path has one spelling; no other is redirected to it.",
		[]edit{{"internal/web/answer.go", "path.Clean(p) != p", "path.Clean(p) != path.Clean(p)"}},
		test{inWeb, "^TestExactServesItsPathsAndNoOthers$"},
	},
	{
		"connections-without-bound", "The number of a listener's connections is limited.",
		[]edit{{gateFile, "case g.open >= g.limits.Total:", "case false:"}},
		test{inWeb, "^TestAListenersConnectionsAreBounded$"},
	},
	{
		"address-takes-every-connection", "The number of connections from one address is limited.",
		[]edit{{gateFile, "g.clients[client] >= g.limits.PerAddress", "false"}},
		test{inWeb, "^TestAListenersConnectionsAreBounded$"},
	},
	{
		"client-names-itself", "A client's address comes from a trusted proxy, not from the client.",
		[]edit{{gateFile, "if !g.trusts(proxy) {", "if false {"}},
		test{inWeb, "^TestWhoseRequestATrustedProxyBrings$"},
	},
	{
		"first-address-believed", "Addresses before the one that a trusted proxy added are the client's own claims, and aren't used.",
		[]edit{{gateFile, "for i := len(list) - 1; i >= 0; i-- {", "for i := range list {"}},
		test{inWeb, "^TestWhoseRequestATrustedProxyBrings$"},
	},
	{
		"refused-body-waited-for", "The server doesn't wait for the body of a refused request.",
		[]edit{{"internal/web/web.go", "w.cut(status)", ""}},
		test{inWeb, "^TestARefusedRequestsBodyIsNotWaitedFor$"},
	},
	{
		"wrong-code-answered-204", "Only a right code is answered 204, which Syniverse's clients take for success.",
		[]edit{{"internal/face/syniverse/user.go", "err == nil && !out.Approved", "err == nil && out.Approved && err != nil"}},
		test{inSyniverse, "^TestRefusalsOfACodeAreTheConfiguredOnes$"},
	},
	{
		"filter-turned-around", "A list holds exactly the entries that match all of its filters.",
		[]edit{{"internal/face/syniverse/list.go", "return !matches(entry)", "return matches(entry)"}},
		test{inSyniverse, "^TestPage$"},
	},
	{
		"escape-not-read", "An escaped dollar sign in a template doesn't begin a name.",
		[]edit{{"internal/wording/template.go", "if i > 0 && text[i-1] == '\\\\' {", "if i > 0 && text[i-1] == '\\\\' && text == \"\" {"}},
		test{inWording, "^FuzzRender$"}, // its seeds
	},
	{
		"gsm-extension-counted-single", "A text is measured as networks bill it.",
		[]edit{{"internal/sms/sms.go", "string([]byte{escape, extensionCodes[i]})", "string([]byte{extensionCodes[i]})"}},
		test{inSMS, "^TestEveryCharacter$"},
	},

	// Approval by a key.
	{
		"key-after-the-lease", "A replica that lost the lease can't approve, even if nobody else holds it yet.",
		[]edit{{approvalFile, " || v.Delivery == DeliverySending && !now.Before(v.DueAt) {", " {"}},
		stores("AKeyFromWhoLostTheLeaseIsNothing"),
	},
	{
		"key-of-an-earlier-attempt", "A replica that was suspended can't approve with an earlier attempt's key.",
		[]edit{{approvalFile, "v.Attempt != s.Attempt || ", ""}},
		test{inVerify, "^TestWhereAKeyApprovesNothing$"},
	},
	{
		"key-for-what-has-ended", "A key doesn't approve a verification that has ended.",
		[]edit{{approvalFile, " && v.ended(now) == nil {", " {"}},
		stores("AKeyAmongOthersIsDecidedInOrder"),
	},
	{
		"key-for-a-superseded-call", "A key doesn't approve a call that a newer one has superseded.",
		[]edit{{approvalFile, " && v.ended(now) == nil {", " && v.Status == StatusPending && now.Before(v.ExpiresAt) {"}},
		stores("AKeyForASupersededCallIsNothing"),
	},
	{
		"key-while-the-number-waits", "A key is refused whenever a right code would be refused.",
		[]edit{{approvalFile, "approved = d.admit(v, ProfileCompat, now) == nil; approved", "approved = true; approved"}},
		test{inVerify, "^TestWhereAKeyApprovesNothing$"},
	},
	{
		"key-approves-a-code", "A key approves only a verification that asked for one.",
		[]edit{{approvalFile, "return v.Approval == ApprovalByKey && c.IsCall()", "return c.IsCall()"}},
		test{inVerify, "^TestWhereAKeyApprovesNothing$"},
	},
	{
		"key-validates-nobody", "A yes by key validates the user.",
		[]edit{{userRowFile, "return u.value.Answer(v, d, s, now)", "return v.Answer(d, s, now)"}},
		stores("AKeyTellsTheUser"),
	},
	{
		"key-clears-nothing", "A yes by key clears the number's failures on disk.",
		[]edit{{userRowFile, "	if approved {\n		d.dirty = true", "	if approved {\n		d.dirty = false"}},
		stores("AKeyApprovesOnce"),
	},
	{
		"call-for-a-key-tells-the-code", "The code of a call that asks for a key is never revealed.",
		[]edit{{verificationFile, "if v.asks(c) {", "if false {"}},
		test{inVerify, "^TestACallForAKeyTellsNoCode$"},
	},
	{
		"asked-twice", "A person who was asked and didn't say yes isn't called again by another carrier.",
		[]edit{{dispatchFile, "case end.Verdict != verify.NoVerdict:", "case false:"}},
		test{inDispatch, "^TestACallAsksForAKey$"},
	},
	{
		"asked-of-who-cannot", "A carrier that can't ask for a key doesn't get the call.",
		[]edit{{dispatchFile, "j.message.ByKey && !l.asks()", "j.message.ByKey && !l.asks() && false"}},
		test{inDispatch, "^TestWhereNobodyCanAskNobodyIsToldTheCode$"},
	},
	{
		"key-lost-to-a-hang-up", "A person who presses a key and hangs up immediately has answered.",
		[]edit{{talkFile, "case t.hungUp() && t.pressedLast():", "case t.hungUp() && false && t.pressedLast():"}},
		test{inSIP, "^TestACallAsksForAKey$"},
	},
	{
		"language-forgotten", "A call uses the language that was stored at its start.",
		[]edit{{verificationFile, "Locale:       v.Locale,", ""}},
		test{inVerify, "^TestWhereTheLanguageOfACallComesFrom$"},
	},

	// Calls.
	{
		"sound-follows-strangers", "Media is sent to the trunk, not to an unknown address that sends a packet.",
		[]edit{{mediaFile, "from.Addr() != m.peer.at.Addr() && !m.trusted(from.Addr())", "false"}},
		test{inSIP, "^TestSoundFollowsTheTrunkAndNobodyElse$"},
	},
	{
		"signalling-of-strangers", "Only the trunk can end a call.",
		[]edit{{"internal/carrier/sip/guard.go", "d.hears(a.AddrPort().Addr()) &&", "(d.hears(a.AddrPort().Addr()) || true) &&"}},
		test{inSIP, "^TestStrangersAreNotListenedTo$"},
	},
	{
		"calls-known-by-their-id-alone", "Only a request with both tags can end a call.",
		[]edit{{callFile, "return ours == l.tag && l.remote != \"\" && theirs == l.remote", "return ours != theirs"}},
		test{inSIP, "^TestStrangersAreNotListenedTo$"},
	},
	{
		"broken-messages-pass", "A malformed datagram never reaches the SIP library.",
		[]edit{{"internal/carrier/sip/guard.go", "if via == nil || from == nil || to == nil ||", "if via == nil ||"}},
		test{inSIP, "^FuzzGuard$"}, // its seeds
	},
	{
		"dead-trunk-waited-for", "The carrier gives up on a dead trunk within the configured time.",
		[]edit{{callFile, "		case <-first.C:\n", "		case <-time.After(20 * time.Second):\n"}},
		test{inSIP, "^TestADeadTrunkIsGivenUp$"},
	},
	{
		"dead-address-tried-first", "A trunk's address that didn't answer comes last for a minute.",
		[]edit{{callFile, "		l.c.bury(target) // it says", "		// it says"}},
		test{inSIP, "^TestTheNextAddressOfATrunkGetsTheCall$"},
	},
	{
		"late-answer-left-alone", "The carrier hangs up on a phone that answers too late.",
		[]edit{{legFile, "	if r.IsSuccess() {\n", "	if r.IsSuccess() {\n		return\n"}},
		test{inSIP, "^TestALateAnswerIsHungUp$"},
	},
	{
		"crossing-answer-left-off-the-hook", "The carrier hangs up on a phone that answers while the call is being cancelled.",
		[]edit{{callFile, "				l.establish(r, tx)\n				l.bye()\n", ""}},
		test{inSIP, "^TestAnAnswerThatCrossesTheCancelIsHungUp$"},
	},
	{
		"lost-acknowledgement", "A repeated answer is acknowledged again.",
		[]edit{{callFile, "r.IsSuccess() && tag == leg.remote", "tag == \"nobody\""}},
		test{inSIP, "^TestARepeatedAnswerIsAcknowledgedAgain$"},
	},
	{
		"hung-up-is-accepted", "A call that was hung up early doesn't count as delivered.",
		[]edit{{talkFile, "t.sent >= t.script.Once && !t.said()", "!t.said()"}},
		test{inSIP, "^TestWhoHangsUpEarlyHasNotHeardTheCode$"},
	},
	{
		"machine-hears-the-code", "An answering machine doesn't hear the code if a key is required.",
		[]edit{{talkFile, "	return errNoKey\n}\n\n// tell", "	return nil\n}\n\n// tell"}},
		test{inSIP, "^TestAnAnsweringMachineHearsNoCode$"},
	},
	{
		"dead-trunk-talked-to", "A call whose trunk died before the code was said doesn't count as delivered.",
		[]edit{{talkFile, "certain := alive || t.seenAt.After(t.saidAt)", "certain := true"}},
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
		[]edit{{callFile, "case l.way != 0 && l.way != by:", "case false:"}},
		test{inSIP, "^TestOneHearsItAgain$"},
	},
	{
		"tone-and-event-counted", "A key that is pressed once counts once.",
		[]edit{{callFile, "again = key == l.latest &&", "again = false && key == l.latest &&"}},
		test{inSIP, "^TestOneHearsItAgain$"},
	},
	{
		"speech-presses-keys", "A voice can't press a key, which could approve.",
		[]edit{{"internal/carrier/sip/tones.go", "2*(lowPower+highPower) < tonePurity*energy*toneBlock", "false"}, {"internal/carrier/sip/tones.go", "toneHits = 4", "toneHits = 1"}},
		test{inSIP, "^TestSpeechIsNoKey$"},
	},
	{
		"key-before-the-question", "A key approves only if it was pressed after the question began.",
		[]edit{{talkFile, "for said < int(askEarly*speech.Rate/time.Second) {", "if true {\n\t\treturn 0, nil\n\t}\n\tfor said < int(askEarly*speech.Rate/time.Second) {"}},
		test{inSIP, "^TestAKeyBeforeTheQuestionApprovesNothing$"},
	},
	{
		"phone-of-another-call-trusted", "A call's media is sent only to its own phone.",
		[]edit{{callFile, "a == leg.address().Addr() || l.c.trusts(a)", "a == leg.address().Addr() || l.c.hears(a)"}},
		test{inSIP, "^TestThePhoneOfOneCallIsAStrangerToOthers$"},
	},
	{
		"spoken-to-on-hold", "The code isn't said while the call is on hold.",
		[]edit{{mediaFile, "return m.peer.holds()", "return false"}},
		test{inSIP, "^TestWhoHoldsTheCallMissesNothing$"},
	},
	{
		"unsent-sound-is-said", "A code counts as delivered only if it could be heard.",
		[]edit{{talkFile, "if t.unsent >= maxUnsent {", "if false {"}},
		test{inSIP, "^TestSoundThatCannotBeSentIsNotSaid$"},
	},
	{
		"rings-on-behind-a-broken-connection", "A phone stops ringing when the connection to the trunk breaks.",
		[]edit{{callFile, "\t\t\tif l.ringing != nil {\n\t\t\t\tl.giveUp(tx)\n\t\t\t}\n\t\t\treturn nil, nil, unreachable(ctx, broken(tx.Err()))", "\t\t\treturn nil, nil, unreachable(ctx, broken(tx.Err()))"}},
		test{inSIP, "^TestAPhoneThatRingsBehindABrokenConnectionIsCancelled$"},
	},
	{
		"invitation-quoted", "An error of a library doesn't reach the log with the number that it quotes.",
		[]edit{{callFile, "unreachable(ctx, carrier.Broken(err))", "unreachable(ctx, err)"}},
		test{"./internal/carrier", "^TestBrokenConnectionsTellNoNumber$"},
	},
	{
		"number-in-a-refusals-error", "An error never holds a whole number, even the caller's.",
		[]edit{{"internal/carrier/sip/address.go", "if number(u.User) {", "if false {"}},
		test{inSIP, "^TestAnExchangeFindsTheAccountByFrom$"},
	},
	{
		"password-for-anybody", "Credentials are sent only for the configured realm.",
		[]edit{{legFile, "if c.Realm != \"\" && chal.Realm != c.Realm {", "if false {"}},
		test{inSIP, "^TestWrongCredentialsAreRefusedAtOnce$"},
	},
	{
		"sound-in-the-clear", "With TLS, media is never unencrypted.",
		[]edit{{mediaFile, "(peer.key != nil) != (m.key != nil)", "false"}},
		test{inSIP, "^TestSoundIsEncryptedWithTLS$"},
	},
	{
		"burst-after-a-pause", "After a pause, media continues at its normal rate.",
		[]edit{{talkFile, "t.due = t.due.Add(-wait)", "t.due = t.due.Add(0)"}},
		test{inSIP, "^TestPacketsKeepTheirTime$"},
	},
	{
		"calls-drift", "A late packet doesn't delay the packets after it.",
		[]edit{{talkFile, "t.due = t.due.Add(frameTime)", "t.due = time.Now().Add(frameTime)"}},
		test{inSIP, "^TestPacketsKeepTheirTime$"},
	},
	{
		"wrong-law", "A-law is sent if A-law was agreed.",
		[]edit{{mediaFile, "		speech.ALaw(p[:header], p[header:])\n", ""}},
		test{inSIP, "^TestAnAnsweredCallSaysTheCode$"},
	},
	{
		"code-said-once", "The code is said as often as configured.",
		[]edit{{speechFile, "for i := range c.Times {", "for i := range min(1, c.Times) {"}},
		test{inSpeech, "^TestACallSaysTheCodeCharacterByCharacter$"},
	},
	{
		"capitals-not-announced", "An upper-case letter among lower-case ones is announced.",
		[]edit{{speechFile, "mixed := upper != code", "mixed := false"}},
		test{inSpeech, "^TestACallSaysTheCodeCharacterByCharacter$"},
	},
	{
		"text-as-argument", "A text is spoken once, and is never a command-line argument.",
		[]edit{{"internal/speech/engine.go", "ReplaceAll(a, \"{locale}\", t.locale)", "ReplaceAll(a, \"{locale}\", t.words)"}},
		test{inSpeech, "^TestACallersTextIsSpokenOnceByTheEngineWithoutTheCode$"},
	},

	// Providers.
	{
		"lost-answer-made-again", "A request that was written may have been carried out.",
		[]edit{{exchangeFile, "carrier.Unknown(heard(err))", "carrier.Because(verify.ReasonUnreachable, heard(err))"}},
		test{inProvider, "^TestWhatBecameOfARequest$"},
	},
	{
		"redirect-followed", "A code is sent only to configured addresses.",
		[]edit{{exchangeFile, "c.transport.RoundTrip(req)", "(&http.Client{Transport: c.transport}).Do(req)"}},
		test{inProvider, "^TestARedirectIsNotFollowed$"},
	},
	{
		"report-of-another-body", "The report of an operator's own receiver is signed whole.",
		[]edit{{"internal/carrier/provider/proof.go", "\tm.Write(r.body)\n\tsum := m.Sum(nil)", "\tsum := m.Sum(nil)"}},
		test{"./internal/carrier/provider", "^TestAnOwnReceiverReports$"},
	},
	{
		"report-names-its-attempt-unsigned", "The report of an operator's own receiver names its attempt in what it signs.",
		[]edit{{callbackFile, `s.Check != "webhook" && `, ""}},
		test{inProvider, "^TestAnOwnReceiverReports$"},
	},
	{
		"body-moved-to-another-attempt", "A report whose body alone is signed is about the message that the body names.",
		[]edit{{callbackFile, ` && s.Check != "telesign"`, ""}},
		test{inProvider, "^TestASignedBodyIsOfItsOwnMessage$"},
	},
	{
		"telesign-signs-nothing", "Telesign's signature covers the report.",
		[]edit{{proofFile, "mac256(key, string(r.body))", `mac256(key, "")`}},
		test{inProvider, "^TestPresetsReadTheirProvidersReports$"},
	},
	{
		"one-report-for-all-of-a-list", "Each report of a list is about its own message.",
		[]edit{{callbackFile, "value = parts[i]", "value = parts[i*0]"}},
		test{inProvider, "^TestAFormMayHoldSeveralReports$"},
	},
	{
		"providers-words-quoted", "Errors never quote a provider's words.",
		[]edit{{findFile, "case len(r.Values) == 0:\n\t\treturn \"\", true", "case len(r.Values) == 0:\n\t\treturn value, true"}},
		test{inProvider, "^TestTheFirstRuleThatFitsDecides$"},
	},
	{
		"code-kept-as-an-id", "A provider's id that may contain the code isn't stored.",
		[]edit{{providerFile, "strings.Contains(ref, word)", "false"}},
		test{inProvider, "^TestTheFirstRuleThatFitsDecides$"},
	},
	{
		"unescaped-text-passes", "A template that doesn't escape its values is refused at the start.",
		[]edit{{templateFile, "if !carries(values, m.text) {", "if false {"}},
		test{inProvider, "^TestAConfigurationIsTriedAtTheStart$"},
	},
	{
		"message-chooses-the-host", "A message can't choose the host that it is sent to.",
		[]edit{{templateFile, "if len(hosts) > 1 {", "if false {"}},
		test{inProvider, "^TestAConfigurationIsTriedAtTheStart$"},
	},
	{
		"twilio-form-unsigned", "Twilio's signature covers the content of a report.",
		[]edit{{proofFile, "u + params.String()", "u"}},
		test{inProvider, "^TestVendorsOwnSignatures$"},
	},
	{
		"old-report-taken", "A captured report is soon refused.",
		[]edit{{proofFile, "age <= skew && age >= -skew", "age >= -skew"}},
		test{inProvider, "^TestTelnyxSignsTimeAndBody$"},
	},
	{
		"any-algorithm-signs", "A token with another algorithm is refused.",
		[]edit{{proofFile, `header.Alg != "HS256" ||`, ``}},
		test{inProvider, "^TestVonageSignsTimeAndBodyInAToken$"},
	},
	{
		"token-of-another-body", "A token is valid for one body only.",
		[]edit{{proofFile, "same(strings.ToLower(claims.PayloadHash), hex.EncodeToString(sum[:]))", "len(sum) > 0 && hex.DecodedLen(2) > 0"}},
		test{inProvider, "^TestVonageSignsTimeAndBodyInAToken$"},
	},
	{
		"any-secret-in-the-path", "The secret in a URL is compared.",
		[]edit{{proofFile, `same(r.PathValue("key"), text)`, `r.PathValue("key") != ""`}},
		test{inProvider, "^TestAReportMustComeFromTheProvider$"},
	},
	{
		"report-read-before-its-signature", "A report without a signature is refused before its body is read.",
		[]edit{{callbackFile, "!byPath && !signed(r.Header) {", "false {"}},
		test{inProvider, "^TestCarriersThatDontExistAnswerAsThoseThatDo$"},
	},
	{
		"unknown-carriers-answer-otherwise", "Responses don't reveal which carriers exist.",
		[]edit{{callbackFile, "\tif byPath && !c.provenByPath(r)", "\tif c == nil {\n\t\thttp.NotFound(w, r)\n\t\treturn nil, nil\n\t}\n\tif byPath && !c.provenByPath(r)"}},
		test{inProvider, "^TestCarriersThatDontExistAnswerAsThoseThatDo$"},
	},
	{
		"unproven-bodies-without-bound", "The number of unproven bodies that are read concurrently is limited.",
		[]edit{{unprovenFile, "u.reading >= MaxUnproven ||", ""}},
		test{inProvider, "^TestSoManyBodiesAreReadBeforeTheyAreProven$"},
	},
	{
		"unproven-bodies-of-one-address", "One address can't take all places for unproven bodies.",
		[]edit{{unprovenFile, " || u.clients[client] >= MaxUnprovenOfOne", ""}},
		test{inProvider, "^TestSoManyBodiesAreReadBeforeTheyAreProven$"},
	},
	{
		"wrong-signature-falls-back", "If Plivo signs the form, only that signature counts.",
		[]edit{{proofFile, "if r.Header.Get(name) != \"\" {\n\t\t\treturn false", "if r.Header.Get(name) == \"none\" {\n\t\t\treturn false"}},
		test{inProvider, "^TestPlivosSecondVersionCountsWhereThereIsNoThird$"},
	},
	{
		"doubtful-text-is-given-up", "A text that may be lost goes to the next carrier.",
		[]edit{{failoverFile, "l.UnknownTimeout > 0 && !j.message.Channel.IsCall()", "l.UnknownTimeout < 0"}},
		test{inDispatch, "^TestADoubtfulTextGoesToTheNextCarrier$"},
	},
	{
		"doubtful-texts-without-bound", "Texts that may be lost go on only while few messages may have gone out.",
		[]edit{{failoverFile, "if d.spent(j.verification, history) || !doubt", "if !doubt"}, {"internal/dispatch/poll.go", "if d.spent(v, history) {", "if d.spent(v, nil) {"}},
		test{inDispatch, "^TestADoubtfulTextGoesToTheNextCarrier$"},
	},
	{
		"doubtful-call-is-made-again", "A call that may ring isn't made again by the next carrier.",
		[]edit{{failoverFile, "l.UnknownTimeout > 0 && !j.message.Channel.IsCall()", "l.UnknownTimeout > 0"}},
		test{inDispatch, "^TestADoubtfulTextGoesToTheNextCarrier$"},
	},
	{
		"carriers-code-repeats-the-message", "A carrier's own code is never the message's code.",
		[]edit{{"internal/dispatch/code.go", "err != nil || hmac.Equal(mac, v.CodeMAC)", "err != nil || hmac.Equal(mac, nil)"}},
		test{inDispatch, "^TestACarriersCodeIsKeptWithoutTheMessages$"},
	},
	{
		"carriers-code-repeats-the-number", "A carrier's own code never tells the number.",
		[]edit{{"internal/dispatch/code.go", "strings.Contains(digits, ", "digits == string(to) && strings.Contains(digits, "}},
		test{inDispatch, "^(TestACarriersCodeIsKeptWithoutTheMessages|TestATrialShowsTheCarriersCode)$"},
	},
	{
		"unserved-number-is-asked-again", "A number that no route serves is refused for good, and the error names its field.",
		[]edit{{failoverFile, "d.table.Load().ServesOthers(&e)", "d.table.Load() == nil"}},
		test{inDispatch, "^TestRoutesAndSendersByCountry$"},
	},
	{
		"deleted-projects-keys-live-on", "From the first step of its deletion on, a project's keys open nothing.",
		[]edit{{"internal/store/project.go", "`DELETE FROM api_key WHERE project = $1`", "`DELETE FROM api_key WHERE project = $1 AND id IS NULL`"}},
		test{inStore, "^TestSQLiteIsAStore$/^StoppedProjectDeletionGoesOn$"},
	},
	{
		"deleted-projects-id-is-given-again", "Nobody gets the id of a deleted project, whose verifications are kept for a while.",
		[]edit{{"internal/store/admin.go", "if deleted {", "if deleted && false {"}},
		test{inStore, "^TestSQLiteIsAStore$/^DeletedProjectLeavesNothing$"},
	},
	{
		"list-shares-its-urls-message", "A report in a list is about the message that it names.",
		[]edit{{callbackFile, `s.Each == "" && s.Check`, `s.Check`}},
		test{inProvider, "^TestOneReportMayBeAboutSeveralMessages$"},
	},
	{
		"lost-report-is-answered", "A report that couldn't be stored is sent again.",
		[]edit{{callbackFile, "case err != nil:\n\t\t\tif once(rep) {", "case err != nil && false:\n\t\t\tif once(rep) {"}},
		test{inProvider, "^TestWhatTheProviderIsAnswered$"},
	},
	// Carriers as they are found.
	{
		"second-address-of-an-smsc", "A bind that can't be made at one address is made at the next.",
		[]edit{{"internal/carrier/smpp/smpp.go", "for n := range 1 + len(c.Others) {\n\t\tsessions, failed", "for n := range 1 {\n\t\tsessions, failed"}},
		test{"./internal/carrier/smpp", "^TestASecondAddressTakesOver$"},
	},
	{
		"dropped-at-one-address", "A bind that an SMSC's address drops at once is made at the next one.",
		[]edit{{"internal/carrier/smpp/smpp.go", "if time.Since(begun) < stable {", "if time.Since(begun) < 0 {"}},
		test{"./internal/carrier/smpp", "^TestAnAddressThatDropsBindsIsLeft$"},
	},
	{
		"own-code-taken-for-gsm", "An SMSC's own code isn't read as one of GSM.",
		[]edit{{"internal/carrier/smpp/reason.go", "case !c.GSMCodes:", "case false:"}},
		test{"./internal/carrier/smpp", "^TestCodesOfNetworksAreReasons$"},
	},
	{
		"late-answer-says-nothing", "An SMSC that takes a message late has it.",
		[]edit{{"internal/carrier/smpp/send.go", "if late && whole {", "if false && whole {"}},
		test{"./internal/carrier/smpp", "^TestAResponseThatDoesNotComeIsUnknownAndNothingIsSentTwice$"},
	},
	{
		"late-answer-of-another-attempt", "A late answer about an attempt ends no doubt about the next one.",
		[]edit{{"internal/verify/delivery.go", "if r.Attempt != v.Attempt || v.Delivery != DeliverySent ||", "if v.Delivery != DeliverySent ||"}},
		test{inVerify, "^TestALateAnswerEndsTheDoubt$"},
	},
	{
		"secret-in-a-url", "A provider's secret is in the body only.",
		[]edit{{templateFile, "\tf.Secret = \"\" // the body alone may hold it\n", ""}},
		test{inProvider, "^TestTheSecretIsInTheBodyOnly$"},
	},
	{
		"token-for-each-message", "A token is asked for once.",
		[]edit{{"internal/carrier/provider/token.go", "t.token != refused && t.now().Before(t.until) {", "false {"}},
		test{inProvider, "^TestATokenIsAskedForOnce$"},
	},
	{
		"token-lost-message-doubtful", "A message for which there was no token wasn't sent.",
		[]edit{{"internal/carrier/provider/token.go", "carrier.Because(verify.ReasonUnreachable, fmt.Errorf(\"no token: %w\", errors.Unwrap(err)))", "err"}},
		test{inProvider, "^TestWithoutATokenNothingIsSent$"},
	},
	{
		"handshake-with-anybody", "Only a provider gets its handshake's text back.",
		[]edit{{callbackFile, "\tc, rep := h.proven(w, r, false)\n\tif rep == nil {\n\t\treturn\n\t}\n\tif h.shakeHands", "\tif c := h.carriers[r.PathValue(\"name\")]; c != nil {\n\t\tbody, _ := io.ReadAll(r.Body)\n\t\tr.Body = io.NopCloser(strings.NewReader(string(body)))\n\t\tif h.shakeHands(w, c, &report{Request: r, body: body}) {\n\t\t\treturn\n\t\t}\n\t}\n\tc, rep := h.proven(w, r, false)\n\tif rep == nil {\n\t\treturn\n\t}\n\tif h.shakeHands"}},
		test{inProvider, "^TestAHandshake$"},
	},
	{
		"fence-unseen", "A group decides nothing about a project that moves.",
		[]edit{{batchFile, "case r.fenced(&o):", "case false && r.fenced(&o):"}},
		test{inStore, "^TestAReplicaThatMissedAMoveDecidesNothing$"},
	},
	{
		"fence-passed-by-an-old-snapshot", "On Citus, what runs alone doesn't pass a fence that is younger than its snapshot.",
		[]edit{{"internal/store/citus.go", "const shareVoidNow = shareVoid + ` NOWAIT`", "const shareVoidNow = `SELECT FROM watermark WHERE name = 'void'`"}},
		test{inStore, "^TestAnOldSnapshotPassesNoFence$"},
	},
	{
		"copy-of-several-moments", "All tables of a project that moves are copied as of one moment.",
		[]edit{{"internal/store/projectmove.go", "m.from.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})", "m.from.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})"}},
		test{inStore, "^TestACopyIsOfOneMoment$"},
	},
	{
		"fence-waits-for-nobody", "A project is copied when all transactions have ended that may not know that it moves.",
		[]edit{{"internal/store/projectmove.go", "if err := m.awaitOlder(ctx, moveLimit); err != nil {", "if err := ctx.Err(); err != nil {"}},
		test{inStore, "^TestMoveProjectWaitsForWhatIsUnderWay$"},
	},
	{
		"fence-beside-old-servers", "No project moves while a server runs that doesn't know of fences, or of the other shard.",
		[]edit{{"internal/store/projectmove.go", "if err != nil || problem == nil {", "if err != nil || problem != nil || problem == nil {"}},
		test{inStore, "^TestMoveProjectNeedsServersOfBothShards$"},
	},
	{
		"rest-taken-for-all", "What is left of a project that has moved isn't copied as if it were all.",
		[]edit{{"internal/store/projectmove.go", "return m.from.write(ctx, m.Project, moveRow{state: stateLeaving, other: m.To.Name, id: m.id})", "return nil"}},
		test{inStore, "^TestMoveProjectStopsWhereTheTurnIsLost$"},
	},
	{
		"rest-of-another-stay", "A command that stood still deletes nothing of a project that has come back.",
		[]edit{{"internal/store/projectmove.go", "if !now.is(stateLeaving, m.id) {", "if now.state == \"\" {"}, {"internal/store/projectmove.go", "if !m.begun(here) {", "if false && !m.begun(here) {"}, {"internal/store/projectmove.go", "if !has || !there.is(stateArrived, m.id) {", "if false && (!has || !there.is(stateArrived, m.id)) {"}},
		test{inStore, "^TestAMoveThatStoodStillDeletesNothing$"},
	},
	{
		"turn-lost", "What may have been used in a shard that has lost the project isn't pending any more.",
		[]edit{{"internal/store/projectmove.go", "m.lost = was.target != m.to.identity\n", "m.lost = false && was.target != m.to.identity\n"}},
		test{inStore, "^TestCodesAreVoidWhereTheTurnIsLost$"},
	},
	{
		"turn-lost-and-copied", "What may have been used in a shard that has lost the project is void there when it is copied once more.",
		[]edit{{"internal/store/projectmove.go", "was.state == stateLeaving, was.target != m.to.identity\n", "was.state == stateLeaving, false\n"}},
		test{inStore, "^TestCodesAreVoidWhereTheTurnIsLost$"},
	},
	{
		"abort-of-another-move", "Only the shard to which a project goes can tell whether its move may be aborted.",
		[]edit{{"internal/store/projectmove.go", "case was.other != m.To.Name:", "case false && was.other != m.To.Name:"}},
		test{inStore, "^TestAnAbortNamesTheMovesShard$"},
	},
	{
		"abort-fences-another-stay", "A late abort leaves a project alone that has moved again.",
		[]edit{{"internal/store/projectmove.go", "case there.state == stateArrived, there.state == stateMoving, there.state == stateLeaving:", "case there.state == stateMoving, there.state == stateLeaving:"}},
		test{inStore, "^TestAnAbortThatComesLateFencesNothing$"},
	},
	{
		"lease-of-the-copy", "An attempt under way has time to be settled after the turn.",
		[]edit{{"internal/store/projectmove.go", "`UPDATE verification SET due_at = greatest(due_at, $2) WHERE delivery = 1 AND id = ANY ($1)`, sending, until)", "`UPDATE verification SET due_at = greatest(due_at, $2) WHERE delivery = 1 AND id = ANY ($1)`, sending, until-2000)"}},
		test{inStore, "^TestAMessageUnderWayGetsALeaseFromTheTurnOn$"},
	},
	{
		"move-voids", "A move voids nothing where a standby was promoted that had all.",
		[]edit{{"internal/store/projectmove.go", "newServer(s.Postgres, Options{}, newClock(nil, nil), &witness{})", "newServer(&Postgres{}, Options{}, newClock(nil, nil), &witness{})"}},
		test{inStore, "^TestAMoveForgivesAStandbyThatHadAll$"},
	},
	{
		"fence-lost", "A shard that has lost that a project left it gives the project up.",
		[]edit{{"internal/store/fence.go", "if len(late) == 0 || !s.postgres {", "if len(late) >= 0 || !s.postgres {"}},
		test{inStore, "^TestAShardThatLostTheFenceYields$"},
	},
	{
		"fence-untold", "Groups notice that a project moves.",
		[]edit{{"internal/store/projectmove.go", "`UPDATE watermark SET id = id WHERE name = 'void'`", "`UPDATE watermark SET id = id WHERE name = 'none'`"}},
		test{inStore, "^TestAReplicaThatMissedAMoveDecidesNothing$"},
	},
	{
		"fence-held-for-ever", "A command that stands still holds up other projects for two seconds at most.",
		[]edit{{"internal/store/projectmove.go", "if err := e.standAtMost(ctx, tellLimit); err != nil {", "if err := ctx.Err(); err != nil {"}},
		test{inStore, "^TestAMoveStandsStillForAShortTime$"},
	},
	{
		"moves-in-each-others-way", "Two projects don't move in opposite directions at once.",
		[]edit{{"internal/store/projectmove.go", "if len(others) > 0 {", "if false && len(others) > 0 {"}},
		test{inStore, "^TestProjectsDoNotMoveBothWaysAtOnce$"},
	},
	{
		"late-key-is-nobodys", "A client whose project moves is never told that its key is unknown.",
		[]edit{{"internal/account/account.go", "ok && late() {", "ok && false && late() {"}},
		test{inSystem, "^TestAKeyThatIsLookedForTooLongIsNotUnknown$"},
	},
	{
		"moved-taken-for-lost", "A verification that moved away isn't lost.",
		[]edit{{identityFile, "if gone {\n\t\t\t\tcontinue", "if false && gone {\n\t\t\t\tcontinue"}},
		test{inStore, "^TestAReplicaThatMissedAMoveDecidesNothing$"},
	},
	{
		"void-moves-along", "What is void in one shard isn't pending in another.",
		[]edit{{"internal/store/projectmove.go", "return `v.id <= w.id`", "return `false`"}},
		test{inStore, "^TestMoveProjectKeepsWhatIsVoid$"},
	},
	{
		"settled-where-it-was", "The end of an attempt is recorded in the shard to which its project has moved.",
		[]edit{{"internal/dispatch/moved.go", "if other == f.Store {", "if other == f.Store || err != nil {"}},
		test{inSystem, "^TestAMessageUnderWayMovesWithItsProject$"},
	},
}
