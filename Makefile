# make test    all packages' tests in a few minutes: no race detector, long tests shortened or left out
# make check   formatting, vet, static checks, then all tests whole, with the race detector
# make lint    of these the formatting, vet and the static checks
# make race    make test with the race detector, but for the commands' scripts; RACESHARE=4: a quarter of the packages, others for each commit
# make slow    tests that measure, so that they need the machine to themselves
# make calls   the SIP carrier's long calls: all characters, and 100 at once
# make long    the race, crash and random tests, ten times as long
# make fuzz    every fuzz target for FUZZTIME; FUZZSHARE=4: a quarter of them, others for each commit
# make kannel  the SMPP carrier against Kannel, which has to be installed
# make bench   the server against the floor program, for docs/performance.md; BENCHFLAGS=-smpp: its carriers, -faces: its APIs, -citus URL: shards
# make rates   how fast messages move on, against how fast they are handed over at first
# make floods  how one project's starts do beside another's floods, on one server and on three over PostgreSQL
# make pushes  a push's CPU time beside that of a message by the HTTP carrier
# make mutants seeded faults, each alone, and the test that notices it; MUTANTS='-sample 24': so many, others for each commit
# make docs    the generated pages of docs/
# make build   the static binary
# make release archives, deb, rpm, container image, SBOM and checksums in dist/; RELEASEFLAGS='-targets linux/amd64'

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 20s
FUZZSHARE  ?= 1
RACESHARE  ?= 1
# Some tests mostly wait: for a disk, a process, a lease. So more of them run at once than there are processors. With
# twice as many, each takes so much longer that all of them cost a third more CPU time.
PARALLEL   ?= -p $$(( 1 + $$(getconf _NPROCESSORS_ONLN) )) -parallel 3
# Those that take longest are first, so that none of them runs alone at the end.
PACKAGES    = ./cmd/countersign ./internal/store ./internal/carrier/sip ./...
# The race detector watches our code and all that it uses, but for SQLite in Go, which is made from C: watched, tests
# of the database take three times as long.
RACE        = -race '-gcflags=modernc.org/...=-race=false -d=checkptr=0'

.PHONY: test postgresql check lint race slow calls long fuzz kannel browser bench rates floods pushes mutants docs build release

# TESTFLAGS are go test's, such as TESTFLAGS='-shuffle=on -cpu 4'. Vet is for check. What debuggers read takes a third of
# the linker's time.
test: postgresql
	@echo "make test: the tests of all packages without the race detector, long ones shortened (make check runs them whole); about 6 minutes on two slow cores, and a few more the first time, with compiling."
	@go run ./internal/testrun -short $(PARALLEL) -vet=off -ldflags=-s -timeout 30m $(TESTFLAGS) $(PACKAGES)

# On Debian as root, the PostgreSQL that the tests start is installed if it is missing.
postgresql:
	@.ci/postgresql

check: lint postgresql
	go run ./internal/testrun $(RACE) $(PARALLEL) -vet=off -timeout 60m $(TESTFLAGS) $(PACKAGES)

race: postgresql
	go run ./internal/testrun $(RACE) -short $(PARALLEL) -vet=off -ldflags=-s -timeout 30m $(TESTFLAGS) $$(.ci/part $(RACESHARE) $(PACKAGES))

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run: gofmt -w ."; exit 1; }
	go vet ./...
	go mod verify
	go run $(STATICCHECK) ./...

slow:
	COUNTERSIGN_TEST_SLOW=1 go test -count=1 -v -timeout 30m -run 'SlowClients|TheTimeOfACheck|OfflineAttack' ./cmd/countersign
	COUNTERSIGN_TEST_SLOW=1 go test -count=1 -v -timeout 60m -run 'PagesAreQuick' ./internal/console
	COUNTERSIGN_TEST_SLOW=1 go test -count=1 -v -timeout 10m -run 'NPMRates' ./internal/carrier/smpp

calls:
	COUNTERSIGN_TEST_SLOW=1 go test -count=1 -v -timeout 10m -run 'CallsAtOnceKeepTime|ASoftphoneHears' ./internal/carrier/sip

long: postgresql
	COUNTERSIGN_TEST_LONG=10 go test $(RACE) -count=1 -timeout 60m ./internal/countersigntest ./cmd/countersign
	go test $(RACE) -count=1 -timeout 60m -skip '^TestPostgres' ./internal/verify ./internal/store/... -rapid.checks=10000
	go test $(RACE) -count=1 -timeout 60m -run '^TestPostgres' ./internal/store -rapid.checks=500 # each makes a database

# As many targets at once as there are processors, with one worker each.
fuzz:
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sed 's|/[^/]*:func | |' | sort | \
		awk -v commits="$$(git rev-list --count HEAD)" '(NR + commits) % $(FUZZSHARE) == 0' | \
		xargs -P $$(getconf _NPROCESSORS_ONLN) -n 2 .ci/fuzz $(FUZZTIME)

kannel:
	internal/carrier/smpp/testdata/kannel/run.sh

# In Firefox and Chromium: apt-get install firefox-esr chromium; npm ci --prefix internal/face/device/testdata/browser
browser: build
	node internal/face/device/testdata/browser/run.js $(CURDIR)/countersign firefox
	node internal/face/device/testdata/browser/run.js $(CURDIR)/countersign chromium

bench:
	go run ./internal/bench/compare $(BENCHFLAGS)

rates: postgresql
	go test -timeout 30m -run '^$$' -bench HandOver -benchtime 9x ./internal/dispatch

pushes:
	go test -timeout 30m -run '^$$' -bench Push -benchtime 40x ./internal/carrier/webpush

floods: postgresql
	go test -timeout 60m -run '^$$' -bench Beside -benchtime 5x -skip TakenOver ./internal/dispatch

mutants:
	go run ./internal/mutant $(MUTANTS)

docs:
	go run ./cmd/countersign config reference > docs/configuration.md
	for preset in $$(go run ./cmd/countersign config preset) smpp sip; do go run ./cmd/countersign config example --preset $$preset > deploy/providers/$$preset.yaml; done
	COUNTERSIGN_WRITE_DOCS=1 go test -count=1 -run 'TestTheDescriptionIsTheRouters|TestThePageOfErrorsIsTheSources' ./internal/face/v1

build:
	CGO_ENABLED=0 go build -trimpath -o countersign ./cmd/countersign

release:
	cd deploy/release && go run . -out $(CURDIR)/dist $(RELEASEFLAGS)
