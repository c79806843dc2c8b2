# Basewright. `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export GOTOOLCHAIN := local

TOOL := go tool -modfile=go.tools.mod
# The race detector needs a C compiler, which a machine with nothing but Go does not have.
RACE = $(if $(shell command -v "$$(go env CC 2>/dev/null)" 2>/dev/null),-race,)
GO_FILES = $(shell git ls-files -co --exclude-standard '*.go')
# Provenance names it as the version of the operator.
REVISION = $(shell git describe --tags --always --dirty 2>/dev/null)
BINARIES := $(foreach arch,amd64 arm64,$(foreach program,operator worker webhook probe,bin/linux-$(arch)/$(program)))
PROBES := bin/linux-amd64/probe.gz bin/linux-arm64/probe.gz

##@ General

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make <target>\n"} \
	  /^[a-z][a-zA-Z0-9_-]*:.*?##/ { printf "  %-18s %s\n", $$1, $$2 } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) }' $(MAKEFILE_LIST)

.PHONY: demo
demo: sandbox bin/linux-amd64/operator bin/linux-amd64/worker bin/linux-amd64/webhook $(PROBES) ## Bring up the sandbox, install everything, build the images of images/base, verify them, run a signed pod and have an unsigned one refused.
	@bin/sandbox build cosign cosign3
	@go build -o bin/demo ./hack/demo
	@bin/demo run

.PHONY: test
test: preflight test-unit policy test-api test-e2e ## Run all tests: unit, Dockerfile policy, apiserver-level and end-to-end, set-up included.

##@ Tests

.PHONY: test-unit
test-unit: ## Run the unit tests: hermetic, they pass without a network.
	@echo "==> unit tests$(if $(RACE),, (without the race detector: there is no C compiler))"
	go test $(RACE) $$(go list ./... | grep -v /test/)

.PHONY: policy
policy: bin/sandbox ## Run conftest on images/, the tests of the rules, and compare conftest with the operator.
	@echo "==> Dockerfile policy"
	@bin/sandbox build conftest
	"$$(bin/sandbox path conftest)/conftest" test images/base/*/Dockerfile -p policy/base.rego
	"$$(bin/sandbox path conftest)/conftest" verify -p policy
	CONFTEST="$$(bin/sandbox path conftest)/conftest" go test -tags=conftest -count=1 ./test/policy
	@# Without the race detector, under which memory can't be limited.
	go test -run=TestRulesCantHarmTheOperator ./internal/rules

.PHONY: test-api
test-api: bin/sandbox ## Run the tests against a real apiserver.
	@echo "==> apiserver-level tests"
	@bin/sandbox build kube
	KUBEBUILDER_ASSETS="$$(bin/sandbox path)" go test $(RACE) -tags=apiserver -count=1 ./test/apiserver/...

.PHONY: test-e2e
test-e2e: sandbox binaries ## Run the end-to-end tests in the sandbox.
	@echo "==> end-to-end tests"
	@bin/sandbox build cosign cosign3
	@go build -o bin/demo ./hack/demo
	@bin/demo install
	go test -tags=e2e -count=1 -timeout=50m -parallel=6 -v ./test/e2e/...

.PHONY: bench
bench: bench-unit bench-admission ## Run the benchmarks: of the packages, then of admission in the sandbox.

.PHONY: bench-unit
bench-unit: ## Run the benchmarks of the packages.
	go test -run='^$$' -bench=. -benchmem ./internal/... ./controllers/... ./webhook/...

.PHONY: bench-admission
bench-admission: sandbox binaries ## Measure admission through the apiserver of the sandbox, beside no webhook and one that does nothing.
	@bin/sandbox build cosign cosign3
	@go build -o bin/demo ./hack/demo
	@bin/demo install
	go test -tags=e2e -count=1 -timeout=20m -run='^$$' -bench=Admission -benchtime=1x ./test/e2e

.PHONY: bench-scale
bench-scale: bin/sandbox ## Measure a restart with 5,000 images at rest, on a real apiserver (minutes).
	@bin/sandbox build kube
	KUBEBUILDER_ASSETS="$$(bin/sandbox path)" go test -tags=apiserver -run='^$$' -bench=Scale -benchtime=1x -timeout=40m ./test/apiserver/...

##@ Sandbox

.PHONY: sandbox
sandbox: bin/sandbox ## Start the sandbox: a real single-node cluster with registry and git server.
	@bin/sandbox up

.PHONY: sandbox-status
sandbox-status: bin/sandbox ## Say what runs in the sandbox.
	@bin/sandbox status

.PHONY: sandbox-down
sandbox-down: bin/sandbox ## Remove everything that the sandbox made, except the build cache.
	@bin/sandbox down

.PHONY: bin/sandbox
bin/sandbox: preflight
	@go build -o $@ ./hack/sandbox

.PHONY: preflight
preflight:
	@bash hack/preflight.sh

##@ Development

.PHONY: binaries
binaries: $(BINARIES) $(PROBES) ## Build the operator, the worker, the webhook and the probe for both architectures.

# Phony: the go command knows better than make what is up to date.
.PHONY: $(BINARIES)
$(BINARIES): bin/linux-%:
	@mkdir -p $(@D)
	CGO_ENABLED=0 GOOS=linux GOARCH=$(patsubst linux-%,%,$(word 2,$(subst /, ,$@))) go build -trimpath -ldflags='-s -w -X main.revision=$(REVISION)' -o $@ ./cmd/$(@F)

$(PROBES): %.gz: %
	gzip --best --no-name --force --keep $<

.PHONY: generate
generate: ## Generate deepcopy, apply configurations, CRDs, RBAC and the README's inventory.
	rm -rf api/v1alpha1/applyconfiguration
	$(TOOL) controller-gen object paths=./api/...
	$(TOOL) controller-gen crd paths=./api/... output:crd:dir=config/crd
	$(TOOL) controller-gen applyconfiguration paths=./api/...
	$(TOOL) controller-gen rbac:roleName=basewright-operator paths=./controllers/... output:rbac:dir=config/rbac
	go run ./hack/inventory

.PHONY: fmt
fmt: ## Format the code.
	gofmt -w $(GO_FILES)

.PHONY: lint
lint: ## Run the linters.
	@test -z "$$(gofmt -l $(GO_FILES))" || { echo "not formatted (make fmt):"; gofmt -l $(GO_FILES); exit 1; }
	go vet -tags=apiserver,conftest,e2e ./...
	$(TOOL) golangci-lint run --build-tags=apiserver,conftest,e2e ./...

.PHONY: verify
verify: ## Regenerate everything, lint, check go mod tidy and the dependency direction; fail on any difference.
	@bash hack/verify.sh
