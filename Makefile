# guildcast: what a developer runs. `make check` is what CI runs.

GO      ?= go
BIN     := bin/guildcast
PKGS    := ./...
FUZZTIME ?= 3s

# A missing redis-server fails the tests instead of skipping them.
test race integration: export GUILDCAST_REQUIRE_REDIS ?= 1
# One way of building for all, so that a fresh machine compiles each package once; only the race detector needs cgo.
export GOFLAGS := -buildvcs=false -trimpath
vet lint vuln build cross integration deploy packages chaos: export CGO_ENABLED := 0

.PHONY: help run test check setup fmt tidy vet lint vuln build page page-check cross race integration fuzz together clients clients-typescript clients-node clients-python clients-testserver deploy packages chaos conformance bench cluster clean python-lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Serve the demo on http://localhost:8080 (everything in one process)
	@echo "building guildcast; the first time takes minutes"
	@$(GO) run ./cmd/guildcast serve --demo

test: setup ## Run all tests, those with real Redis, Node.js and Python peers included
	$(GO) test $(PKGS)
	$(GO) test -count=1 -tags integration -timeout 20m ./integration/...

check: setup fmt tidy vet lint vuln build page-check cross race together integration ## What CI runs

setup: ## Install what the tests need (redis-server and proxies by apt, npm and pip packages by lock file)
	@scripts/setup

fmt: ## Fail when a file is not formatted
	@out=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$out" ]; then echo "not formatted (run gofmt -w):"; echo "$$out"; exit 1; fi

tidy: ## Fail when go.mod or go.sum is not what go mod tidy writes
	$(GO) mod tidy -diff
	cd tools && $(GO) mod tidy -diff
	cd tools/deploy && $(GO) mod tidy -diff

vet: ## go vet, with and without the integration tests
	$(GO) vet $(PKGS)
	$(GO) vet -tags integration $(PKGS)

lint: bin/staticcheck ## staticcheck, pinned in tools/go.mod
	bin/staticcheck -tags integration $(PKGS)

bin/staticcheck: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

vuln: bin/govulncheck ## Known vulnerabilities, by govulncheck, pinned in tools/go.mod; skipped where its database does not answer
	@scripts/vuln

bin/govulncheck: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../bin/govulncheck golang.org/x/vuln/cmd/govulncheck

build: ## Build bin/guildcast, a static binary
	$(GO) build -o $(BIN) ./cmd/guildcast

page: setup ## Build the demo page, web/app, into web/static, which the binary embeds
	@scripts/page

page-check: setup ## Fail when web/static is not what web/app builds
	@scripts/page --check

cross: ## The other systems still compile
	GOOS=darwin GOARCH=arm64 $(GO) vet $(PKGS)
	GOOS=windows GOARCH=amd64 $(GO) vet $(PKGS)

race: ## Unit tests under the race detector, which property tests have fewer rounds for; vet is a step of its own
	$(GO) test -race -vet=off -timeout 20m $(PKGS)

fuzz: ## Every fuzzer for FUZZTIME (default 3s)
	@scripts/fuzz $(FUZZTIME)

# Fuzzers run for a time, and the kits' tests wait for most of theirs.
together: setup build
	@$(MAKE) --no-print-directory -j 3 --output-sync=target fuzz clients deploy

integration: setup build ## Tests with real Redis, Node.js and Python peers
	$(GO) test -count=1 -tags integration -timeout 30m ./integration/...

clients: clients-typescript clients-node clients-python clients-testserver ## Tests of the kits, against real Redis and a real node

clients-typescript: setup build
	cd clients/typescript && npm run --silent build && npm test --silent

clients-node: setup build
	cd clients/node && npm run --silent build && npm test --silent

clients-python: setup build
	cd clients/python && .venv/bin/python -m pytest -q

clients-testserver: setup build
	cd clients/testserver && npm run --silent build && npm test --silent

chaos: setup build ## Failovers of Redis, rolling restarts and attacks with the times that users are promised; needs a machine with nothing else to do
	GUILDCAST_STRICT_TIMES=1 GUILDCAST_REQUIRE_REDIS=1 $(GO) test -count=1 -parallel 1 -timeout 30m -run 'Moves|Moved|Demoted|NotHeard|Sentinel|Freezes|Cluster|Reshard|Forgotten|Restart|Silence' -v ./bus
	GUILDCAST_STRICT_TIMES=1 GUILDCAST_REQUIRE_REDIS=1 $(GO) test -count=1 -tags integration -timeout 30m -run 'Chaos|Storm|RollingRestart|Proxies|Hostile|Revocation|Expiry' -v ./integration/...

deploy: build bin/nfpm ## Tests of docker-compose.yml, the Helm chart, the packages (of this machine) and the rest of deploy
	scripts/packages $$($(GO) env GOARCH)
	cd tools/deploy && $(GO) vet ./... && $(GO) test -count=1 ./...

packages: bin/nfpm ## Build the deb and rpm packages into dist/
	scripts/packages

bin/nfpm: tools/deploy/go.mod tools/deploy/go.sum
	cd tools/deploy && $(GO) build -o ../../bin/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm

conformance: setup ## The Autobahn suite and the protocols' own suites (fetches them; leave the machine alone)
	scripts/conformance

bench: setup build ## Benchmarks beside Node's socket.io; see bench/README.md
	bench/run

cluster: setup build ## A cluster as plain processes: TOPOLOGY=mixed (default), single, sentinel or redis-cluster
	scripts/cluster $(TOPOLOGY)

clean: ## Remove what was built
	rm -rf bin dist

python-lock: ## Rewrite each requirements.txt from its requirements.in (needs pip-tools)
	cd integration/python && pip-compile -q --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host requirements.in -o requirements.txt
	cd integration/python && pip-compile -q --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host autobahn.in -o autobahn.txt
	cd clients/python && pip-compile -q --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host requirements.in -o requirements.txt
