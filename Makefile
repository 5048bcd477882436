# Atoll: build, test and check. `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

BIN := $(CURDIR)/.build/bin
STAMPS := $(CURDIR)/.build/stamps

# Tools, pinned. They are not `tool` lines of go.mod: their modules would swamp ours.
BUF_VERSION := v1.64.0
GOLANGCI_LINT_VERSION := v2.15.0
PROTOC_GEN_GO_VERSION := v1.36.10
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Go stamps the commit by itself where git answers; elsewhere (a tarball, a checkout of another user) it would fail.
BUILDVCS := $(shell git rev-parse -q --verify HEAD >/dev/null 2>&1 && echo true || echo false)
GO_BUILD := go build -trimpath -buildvcs=$(BUILDVCS) -ldflags "-s -w -X main.version=$(VERSION)"

# The agent is linked with librbd where its headers are installed. go-ceph has to be told about older releases by a tag;
# librbd.h says which one it is: 1.16 is Pacific, 1.17 is Quincy, newer ones need no tag.
# These are evaluated when used, because `make test` may install the headers first.
RBD_HEADER := /usr/include/rbd/librbd.h
RBD_MINOR = $(shell awk '/define LIBRBD_VER_MINOR/ { print $$3 }' $(RBD_HEADER) 2>/dev/null)
# ceph_preview is go-ceph's tag for calls that it may still change; the checksums of RADOS are among them.
CEPH_TAGS = $(if $(filter 16,$(RBD_MINOR)),pacific$(comma))$(if $(filter 17,$(RBD_MINOR)),quincy$(comma))ceph_preview
comma := ,

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z][a-z0-9-]*:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Build

.PHONY: build
build: ## Build the three programs into .build/bin
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO_BUILD) -o $(BIN)/atoll-hub ./hub/cmd/atoll-hub
	CGO_ENABLED=0 $(GO_BUILD) -o $(BIN)/atollctl ./hub/cmd/atollctl
	@if [[ -n "$(RBD_MINOR)" ]]; then \
		set -x; CGO_ENABLED=1 $(GO_BUILD) -tags "$(CEPH_TAGS)" -o $(BIN)/atoll-agent ./agent/cmd/atoll-agent; \
	else \
		echo "librbd-dev is not installed: building atoll-agent without the ceph driver (sparse files only)"; \
		set -x; CGO_ENABLED=0 $(GO_BUILD) -o $(BIN)/atoll-agent ./agent/cmd/atoll-agent; \
	fi

.PHONY: ceph-tags
ceph-tags: # Print the build tags the installed librbd needs; scripts use it
	@echo "$(CEPH_TAGS)"

.PHONY: generate
generate: tool-buf tool-protoc-gen-go tool-protoc-gen-go-grpc ## Regenerate proto/gen from the .proto files
	$(BIN)/buf generate

.PHONY: fmt
fmt: tool-buf tool-golangci-lint ## Format Go and proto files
	$(BIN)/golangci-lint fmt
	$(BIN)/buf format -w

.PHONY: clean
clean: ## Remove what was built (tools and the demo stay)
	rm -f $(BIN)/atoll-hub $(BIN)/atollctl $(BIN)/atoll-agent
	rm -rf .build/tmp .build/bench

## Test

.PHONY: packages
packages: # Install the Debian packages that tests need, when root and apt-get are there
	@e2e/ci/packages.sh

.PHONY: test
test: packages ## All tests: unit with -race, conformance and scenarios on real Ceph (installs what it needs as root on Debian)
	@$(MAKE) build
	@e2e/ci/test.sh unit fuzz conformance scenarios

.PHONY: fuzz
fuzz: ## Fuzz everything that reads what strangers send, for 30 seconds together (FUZZ_SECONDS=600 for a long run)
	@e2e/ci/fuzz.sh

.PHONY: e2e
e2e: packages ## Only the scenarios, on real Ceph
	@$(MAKE) build
	@e2e/ci/test.sh scenarios

.PHONY: robustness
robustness: packages ## 200 clients on the Image API for two minutes, on real Ceph and with Keystone
	@$(MAKE) build
	@e2e/ci/test.sh robustness

.PHONY: bench
bench: packages bench-images ## Measure everything against rbd and qemu-img on real Ceph, which takes hours (BENCH_RUNS=1 for a quick look)
	@e2e/bench/run.sh
	@e2e/bench/imports.sh
	@e2e/bench/verify.sh
	@e2e/bench/tenant.sh
	@e2e/bench/links.sh
	@e2e/bench/fanout.sh
	@e2e/bench/damage.sh
	@e2e/bench/resume.sh

.PHONY: bench-links
bench-links: packages ## Measure an image and its second version over slow lines beside rbd export-diff (BENCH_SITES=10 BENCH_RATE=... BENCH_DELAY=50ms)
	@$(MAKE) build
	@e2e/bench/links.sh

.PHONY: bench-resume
bench-resume: packages ## Measure bytes sent again after kill -9 and the time of a restart beside rbd import-diff (BENCH_KILLS=50)
	@$(MAKE) build
	@e2e/bench/resume.sh

.PHONY: bench-damage
bench-damage: packages ## Damage copies in every way and look whether it is found, beside rbd import-diff (BENCH_DAMAGES=200)
	@$(MAKE) build
	@e2e/bench/damage.sh

.PHONY: bench-verify
bench-verify: packages ## Measure the verification of a copy by checksums and by reading beside rbd export | sha256sum
	@$(MAKE) build
	@e2e/bench/verify.sh

.PHONY: bench-tenant
bench-tenant: packages ## Measure the 4 KiB writes of a virtual machine beside a copy and beside rbd import (installs fio)
	@$(MAKE) build
	@e2e/bench/tenant.sh

.PHONY: bench-fanout
bench-fanout: packages ## Measure one image on its way to up to 50 sites, one of them frozen, beside rbd export-diff (BENCH_SITES="1 3 10 50")
	@$(MAKE) build
	@e2e/bench/fanout.sh

.PHONY: bench-imports
bench-imports: packages ## Measure the import of a qcow2 to three sites beside curl, qemu-img and rbd
	@$(MAKE) build
	@e2e/bench/imports.sh

.PHONY: bench-images
bench-images: ## Measure the Image API with 100,000 images, without Ceph
	@$(MAKE) build
	@e2e/bench/images.sh

## Check

.PHONY: verify
verify: verify-generate verify-proto verify-build verify-vet verify-lint verify-arch verify-race verify-shell verify-mod ## All checks; none of them changes the tree

.PHONY: verify-generate
verify-generate: tool-buf tool-protoc-gen-go tool-protoc-gen-go-grpc ## Generated code matches the .proto files (fix: make generate)
	@e2e/ci/verify-generate.sh

.PHONY: verify-proto
verify-proto: tool-buf ## buf lint, buf format, no breaking change (fix: make fmt)
	@e2e/ci/verify-proto.sh

.PHONY: verify-build
verify-build: ## Everything compiles with and without cgo
	CGO_ENABLED=0 go build ./...
	@e2e/ci/with-cgo.sh go build ./...

.PHONY: verify-vet
verify-vet: ## go vet with and without cgo
	CGO_ENABLED=0 go vet ./...
	@e2e/ci/with-cgo.sh go vet ./...

.PHONY: verify-lint
verify-lint: tool-golangci-lint ## golangci-lint with the rules of .golangci.yml
	CGO_ENABLED=0 $(BIN)/golangci-lint run --allow-parallel-runners
	@e2e/ci/with-cgo.sh $(BIN)/golangci-lint run --allow-parallel-runners --build-tags "$(CEPH_TAGS)" ./agent/internal/rbd/...

.PHONY: verify-arch
verify-arch: ## The layer rules of docs/architecture.md
	go test -count=1 ./e2e/arch

.PHONY: verify-race
verify-race: ## Unit tests with the race detector
	@e2e/ci/test.sh unit

.PHONY: verify-shell
verify-shell: ## shellcheck of all scripts
	@e2e/ci/verify-shell.sh

.PHONY: verify-mod
verify-mod: ## go.mod and go.sum are tidy (fix: go mod tidy)
	go mod tidy -diff
	go mod verify

## Tools

# $(call tool,NAME,PACKAGE,VERSION) installs a tool once per version.
define tool
.PHONY: tool-$(1)
tool-$(1): $(STAMPS)/$(1)-$(3)
$(STAMPS)/$(1)-$(3):
	@mkdir -p $(BIN) $(STAMPS)
	@if ! go version -m $(BIN)/$(1) 2>/dev/null | awk '$$$$1 == "mod" { print $$$$3 }' | grep -qxF $(3); then \
		echo "installing $(1) $(3) into .build/bin"; \
		GOBIN=$(BIN) GOFLAGS= CGO_ENABLED=0 go install $(2)@$(3); \
	fi
	@rm -f $(STAMPS)/$(1)-v*
	@touch $$@
endef
$(eval $(call tool,buf,github.com/bufbuild/buf/cmd/buf,$(BUF_VERSION)))
$(eval $(call tool,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT_VERSION)))
$(eval $(call tool,protoc-gen-go,google.golang.org/protobuf/cmd/protoc-gen-go,$(PROTOC_GEN_GO_VERSION)))
$(eval $(call tool,protoc-gen-go-grpc,google.golang.org/grpc/cmd/protoc-gen-go-grpc,$(PROTOC_GEN_GO_GRPC_VERSION)))

-include e2e/demo/demo.mk
