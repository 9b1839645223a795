# make test    all tests, with the race detector: what CI runs
# make check   the same after formatting, vet and static checks
# make slow    tests that measure, so that they need the machine to themselves
# make calls   the SIP carrier's long calls: all characters, and 100 at once
# make long    the race, crash and random tests, ten times as long
# make fuzz    every fuzz target for FUZZTIME
# make kannel  the SMPP carrier against Kannel, which has to be installed
# make bench   the server against the floor program, for docs/performance.md; BENCHFLAGS=-smpp: its carriers
# make mutants seeded faults, one at a time, and the test that notices each
# make docs    the generated pages of docs/
# make build   the static binary

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    = 20s

.PHONY: test postgresql check slow calls long fuzz kannel bench mutants docs build

test: postgresql
	go test -race ./...

# On Debian as root, the PostgreSQL that the tests start is installed if it is missing.
postgresql:
	@.ci/postgresql

check:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run: gofmt -w ."; exit 1; }
	go vet ./...
	go mod verify
	go run $(STATICCHECK) ./...
	$(MAKE) test

slow:
	COUNTERSIGN_TEST_SLOW=1 go test -count=1 -v -timeout 30m -run 'SlowClients|TheTimeOfACheck|OfflineAttack' ./cmd/countersign
	COUNTERSIGN_TEST_SLOW=1 go test -count=1 -v -timeout 10m -run 'NPMRates' ./internal/carrier/smpp

calls:
	COUNTERSIGN_TEST_SLOW=1 go test -count=1 -v -timeout 10m -run 'CallsAtOnceKeepTime|ASoftphoneHears' ./internal/carrier/sip

long: postgresql
	COUNTERSIGN_TEST_LONG=10 go test -race -count=1 -timeout 60m ./internal/countersigntest ./cmd/countersign
	go test -race -count=1 -timeout 60m -skip '^TestPostgres' ./internal/verify ./internal/store/... -rapid.checks=10000
	go test -race -count=1 -timeout 60m -run '^TestPostgres' ./internal/store -rapid.checks=500 # each makes a database

# A run that ends in the middle of an input says "context deadline exceeded";
# what really fails also names the input that it has written.
fuzz:
	@log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$pkg/*_test.go | cut -c6-); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg >$$log 2>&1 || \
				{ grep -q 'context deadline exceeded' $$log && ! grep -q 'Failing input' $$log; } || { cat $$log; exit 1; }; \
			echo "$$pkg $$target: $$(grep -o 'execs: [0-9]*' $$log | tail -n 1)"; \
		done; \
	done

kannel:
	internal/carrier/smpp/testdata/kannel/run.sh

bench:
	go run ./internal/bench/compare $(BENCHFLAGS)

mutants:
	go run ./internal/mutant

docs:
	go run ./cmd/countersign config reference > docs/configuration.md

build:
	CGO_ENABLED=0 go build -trimpath -o countersign ./cmd/countersign
