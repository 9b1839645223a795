# make test   what CI runs: all tests, with the race detector
# make check  the same after formatting and static checks
# make long   the long forms of the race, crash and fuzz tests

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    = 10m

.PHONY: test check long build fuzz

test:
	go test -race ./...

check:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run: gofmt -w ."; exit 1; }
	go vet ./...
	go mod verify
	go run $(STATICCHECK) ./...
	$(MAKE) test

build:
	CGO_ENABLED=0 go build -trimpath -o countersign ./cmd/countersign
