# What people run. `make help` lists it; CI runs .ci/run, which calls these targets.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Where the compiled control plane is kept. Name a folder outside of the clone to share it between clones.
CACHE ?= .cache
TEST_FLAGS ?= -race -timeout 45m
ARCHITECTURES ?= amd64 arm64
IMAGE_PREFIX ?= mtls-operator
IMAGE_TAG ?= dev
BIN ?= bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

KUBERNETES := $(shell sed -n 's|.*k8s.io/kubernetes \(v[^ ]*\).*|\1|p' hack/controlplane/go.mod)
CONTROLPLANE := $(abspath $(CACHE))/controlplane/$(KUBERNETES)
# As everywhere around envtest: whoever sets KUBEBUILDER_ASSETS brings a control plane along.
KUBEBUILDER_ASSETS ?= $(CONTROLPLANE)
export KUBEBUILDER_ASSETS

PROGRAMS := manager hello-server hello-client
MODULES := $(patsubst %/go.mod,%,$(wildcard ./go.mod ./*/go.mod ./*/*/go.mod))
# Named by what it is made from, so that an older one is never taken for it.
KIND_NODE_IMAGE = $(IMAGE_PREFIX)/kind-node:$(KUBERNETES)-$(shell cd hack/kind && \
	cat node-image.sh Dockerfile pods.conflist go.mod coredns/main.go ../controlplane/go.mod | sha256sum | cut -c -8)
TEST_MODULES := $(filter-out ./hack/%,$(MODULES))
SCRIPTS = $(shell git ls-files --cached --others --exclude-standard '*.sh' .ci)
TOOL := go tool -modfile=$(CURDIR)/hack/tools/go.mod
LINT := $(TOOL) golangci-lint-kube-api-linter

# Times in the CRDs, as metav1.Time writes them: of what the format date-time lets through ("[]", "2026-01-02t03:04:05z")
# it can't read all, and one object it can't read ends the watch of every client.
LEAP_YEAR := ([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)
DATE := [0-9]{4}-((0[13578]|1[02])-31|(0[13-9]|1[0-2])-(29|30)|(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8]))
TIMESTAMP := ^($(DATE)|$(LEAP_YEAR)-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$$

##@ Try it

demo: controlplane build ## see mutual TLS work on a real API server, from custom resources to curl
	hack/demo/demo.sh

##@ Develop

# go test doesn't notice a change of files outside of the module, which is what the other modules test: never from its cache.
test: controlplane ## run all tests, with the race detector, against a real API server (TEST_FLAGS)
	@for module in $(TEST_MODULES); do (cd $$module && echo "test $$module" && \
		go test $(TEST_FLAGS) $$([[ $$module == . ]] || echo -count=1) ./...); done

# E2E_KEEP=1 keeps the cluster, E2E_CLUSTER=context uses one that is there, E2E_FLAGS are for go test.
e2e: ## run the tests that need a kubelet, in a kind cluster that is made for them
	@hack/controlplane/build.sh "$(CONTROLPLANE)" kubectl
	@PATH="$(CONTROLPLANE):$$PATH" KIND_NODE_IMAGE="$(KIND_NODE_IMAGE)" test/e2e/run.sh

# A rotation waits twice for 5 minutes, and longer when operators are killed meanwhile.
e2e-rotation-long: ## of e2e only the rotations, with the delays that users have: one to two hours
	@$(MAKE) --no-print-directory e2e E2E_LONG=1 E2E_TIMEOUT=5h E2E_FLAGS='$(or $(E2E_FLAGS),-args --feature rotation)'

# BENCH_FLAGS=-help lists what there is to choose. Nothing else should run on the machine.
bench: controlplane ## measure the operator beside the least that can be done, by the thousand: hours (BENCH_FLAGS)
	@$(COMPILE) -o bin/bench/manager ./cmd/manager
	@cd test/bench && go build -o ../../bin/bench/floor ./floor && go build -o ../../bin/bench/bench .
	@bin/bench/bench $(BENCH_FLAGS)

# What this prints before and after a change is what benchstat compares.
microbench: ## measure what is done for each certificate, by itself
	@go test -run '^$$' -bench . -benchmem -count $(or $(COUNT),6) ./internal/... ./controllers

lint: ## check code and scripts against the rules in .golangci.yml and .editorconfig
	@for module in $(TEST_MODULES); do (cd $$module && echo "lint $$module" && $(LINT) run); done
	@$(TOOL) shfmt -d $(SCRIPTS)

generate: ## regenerate deep copies, CRDs and RBAC from the markers in the code
	$(TOOL) controller-gen object paths=./api/...
	$(TOOL) controller-gen crd paths=./api/... output:crd:dir=config/crd
	@sed -i 's~^\( *\)format: date-time$$~\1pattern: $(TIMESTAMP)~' config/crd/mtls-operator.io_*.yaml
	$(TOOL) controller-gen rbac:roleName=mtls-operator paths=./controllers/... output:rbac:dir=config/rbac

format: ## format code and scripts
	@for module in $(TEST_MODULES); do (cd $$module && $(LINT) fmt); done
	@$(TOOL) shfmt -w $(SCRIPTS)

tidy: ## tidy the go.mod of every module
	@for module in $(MODULES); do (cd $$module && go mod tidy); done

verify: generate tidy format ## regenerate, tidy and format, then fail if that differs from what git has (staged counts)
	@git diff --exit-code || { echo "verify: the files above were out of date; commit what is there now" >&2; exit 1; }
	@new=$$(git ls-files --others --exclude-standard); \
		[[ -z $$new ]] || { echo "verify: git doesn't have:"; echo "$$new"; exit 1; } >&2

##@ Build

controlplane: ## build etcd, kube-apiserver and kubectl once from source; nothing when KUBEBUILDER_ASSETS is set
ifeq ($(KUBEBUILDER_ASSETS),$(CONTROLPLANE))
	@hack/controlplane/build.sh "$(CONTROLPLANE)" etcd kubectl kube-apiserver
else
	@echo "control plane: $(KUBEBUILDER_ASSETS), from KUBEBUILDER_ASSETS"
endif

# For a single package: KUBEBUILDER_ASSETS=$(make -s controlplane-path) go test ./controllers
controlplane-path:
	@echo "$(KUBEBUILDER_ASSETS)"

COMPILE = CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=$(VERSION)"

build: ## compile the manager and the hello sample, static, into bin/ (GOOS and GOARCH choose for what)
	$(COMPILE) -o $(BIN)/manager ./cmd/manager
	$(COMPILE) -o $(BIN)/hello-server ./examples/hello/server
	$(COMPILE) -o $(BIN)/hello-client ./examples/hello/client

image: $(addprefix image-,$(ARCHITECTURES)) ## build images for ARCHITECTURES, pulling nothing (IMAGE_PREFIX, IMAGE_TAG)
	@for program in $(PROGRAMS); do \
		docker tag $(IMAGE_PREFIX)/$$program:$(IMAGE_TAG)-$(shell go env GOARCH) $(IMAGE_PREFIX)/$$program:$(IMAGE_TAG); \
	done

image-%:
	@GOOS=linux GOARCH=$* $(MAKE) --no-print-directory build BIN=bin/linux_$*
	@for program in $(PROGRAMS); do \
		docker build --quiet --platform linux/$* --target $$program \
			--tag $(IMAGE_PREFIX)/$$program:$(IMAGE_TAG)-$* --file Dockerfile bin/linux_$*; \
	done

# Not one of PROGRAMS: nobody but e2e runs it.
e2e-image: ## build the image of the programs between which e2e watches mutual TLS
	@cd test/e2e && GOOS=linux $(COMPILE) -o $(CURDIR)/bin/e2e-peer/e2e-peer ./peer
	@docker build --quiet --tag $(IMAGE_PREFIX)/e2e-peer:$(IMAGE_TAG) --file test/e2e/peer/Dockerfile bin/e2e-peer

kind-node-image: ## build the image of a kind node from source, for machines that can't pull one; make e2e uses it
	@hack/controlplane/build.sh "$(CONTROLPLANE)" etcd kubectl kube-apiserver \
		kubeadm kubelet kube-controller-manager kube-proxy kube-scheduler
	@hack/kind/node-image.sh "$(KIND_NODE_IMAGE)" "$(CONTROLPLANE)"

clean: ## remove what was built, the control plane too
	rm -rf bin .cache

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' Makefile

.PHONY: demo test e2e e2e-rotation-long bench microbench lint generate format tidy verify controlplane controlplane-path build image \
	e2e-image kind-node-image clean help
