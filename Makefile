# make help lists the targets.
export CGO_ENABLED = 0
ARCHES  = amd64 arm64 arm riscv64
VERSION = $(shell git describe --tags --always 2>/dev/null || echo devel)
LDFLAGS = -s -w -X main.version=$(VERSION)
PACKED  = $(ARCHES:%=internal/daemon/bin/bpfd-linux-%.gz)

.PHONY: all build cross test race fuzz lint demo vm bench tools-report man install help
all: build

build: bin/bpfctl bin/bpfd bin/bpfd-tls ## bin/bpfctl, with the daemons for all targets inside

bin/bpfctl: FORCE cross
	go build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/bpfctl

bin/bpfd bin/bpfd-tls: FORCE
	go build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/$(@F)

cross: $(PACKED) ## the daemons for all targets, compressed, each at most 2.5 MB unpacked

internal/daemon/bin/bpfd-linux-%.gz: FORCE
	@mkdir -p bin
	GOOS=linux GOARCH=$* GOARM=7 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/bpfd-linux-$* ./cmd/bpfd
	@size=$$(stat -c %s bin/bpfd-linux-$*); test $$size -le 2500000 || { echo "bpfd for $* has $$size bytes, more than 2.5 MB"; exit 1; }
	gzip -9nc bin/bpfd-linux-$* > $@.tmp && mv $@.tmp $@

test: build ## all tests; as root, with the tools that test/install names
	go test ./internal/... ./cmd/...
	./test/run $$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./test/...)

race: build ## the tests of the packages under the race detector
	CGO_ENABLED=1 go test -race ./internal/... ./cmd/...

fuzz: ## each decoder, and a session of bpfd, for a short time
	go test -run '^$$' -fuzz FuzzBody -fuzztime 20s ./internal/wire
	go test -run '^$$' -fuzz FuzzSession -fuzztime 30s -fuzzminimizetime 10x ./internal/agent
	go test -run '^$$' -fuzz FuzzLine -fuzztime 20s ./internal/text
	go test -run '^$$' -fuzz FuzzDemangle -fuzztime 10s ./internal/symbols
	go test -run '^$$' -fuzz FuzzParse -fuzztime 10s ./internal/symbols

lint: ## gofmt and go vet
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...

demo: build ## real tools on this machine, through a bpfd of its own
	./demo/run

vm: build ## boots a target in QEMU and leaves a bpfd reachable: make vm KERNEL=6.1-arm64
	go run ./test/vm/cmd/vm $(KERNEL)

bench: build ## native beside remote, into doc/benchmarks.md; as root, on a quiet machine
	go run ./test/bench -write doc/benchmarks.md

tools-report: build ## doc/tools.md: runs real tools natively and remotely, and says what is the same
	@mkdir -p bin/results
	go test ./test/tools -count=1 -timeout 60m -run 'TestShell|TestAllTools|TestRows' -results $(CURDIR)/bin/results; status=$$?; \
	go test ./test/guests -count=1 -timeout 120m -results $(CURDIR)/bin/results || status=$$?; \
	go run ./test/suite/report bin/results > doc/tools.md; exit $$status

man: ## the manual pages of the commands, into doc/man
	go test ./cmd/bpfctl -run TestManPages -update

install: build ## into $(DESTDIR)/usr/local
	install -D -m 755 bin/bpfctl $(DESTDIR)/usr/local/bin/bpfctl
	install -D -m 755 bin/bpfd $(DESTDIR)/usr/local/bin/bpfd
	install -D -m 755 bin/bpfd-tls $(DESTDIR)/usr/local/bin/bpfd-tls
	install -D -m 644 -t $(DESTDIR)/usr/local/lib/systemd/system systemd/bpfd.socket systemd/bpfd@.service systemd/bpfd-tls.service
	install -D -m 644 systemd/bpfd.sysusers $(DESTDIR)/usr/local/lib/sysusers.d/bpfd.conf
	install -D -m 644 -t $(DESTDIR)/usr/local/share/man/man1 doc/man/*.1
	install -D -m 644 -t $(DESTDIR)/usr/local/share/man/man8 doc/man/*.8

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

FORCE:
