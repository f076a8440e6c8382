# Every target sets up what it needs. Nothing is installed outside this directory.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first Python on the PATH that is new enough; `make PYTHON=/path/to/python test` overrides it.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

BIN := .venv/bin
UV := .tools/bin/uv
LOCK := requirements.lock
COMPILE := $(UV) pip compile pyproject.toml --group dev --extra postgres --universal --python-version 3.11 \
	--override .ci/overrides.txt --generate-hashes --no-header --quiet

# Behind a TLS proxy the company's certificates are the system's: use those.
export UV_SYSTEM_CERTS := 1
export NODE_EXTRA_CA_CERTS ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Each process of a test compiles these packages anew where no bytecode may be kept.
unexport PYTHONDONTWRITEBYTECODE
# What is downloaded stays here too.
export UV_CACHE_DIR := $(CURDIR)/.tools/cache
export PIP_CACHE_DIR := $(CURDIR)/.tools/cache/pip

.PHONY: help install demo test test-long lint types format lock lock-check schema check bench figures conformance clients hosts bundle clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.installed ## Build .venv/ from the lock, with the `workyard` command in it.

$(UV): .ci/uv.txt
	@test -n "$(PYTHON)" || { echo "Workyard needs Python 3.11 or newer on the PATH." >&2; exit 2; }
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r .ci/uv.txt
	@touch $@

.venv/.installed: $(UV) $(LOCK) pyproject.toml
	$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	$(UV) pip sync --quiet --require-hashes --compile-bytecode --python $(BIN)/python $(LOCK)
	$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

demo: install ## Ask an agent a question about this repository and show what it did.
	@$(BIN)/workyard ask "How is an agent kept inside its root directory?"

test: install ## Run the tests, on as many cores as there are, up to four.
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test-long: install ## Run the races, the generated layouts and the kills for minutes, not seconds.
	$(BIN)/python -m pytest -m long

lint: install ## Check style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## Check types, strictly, tests included.
	$(BIN)/mypy

format: install ## Format the code and sort the imports.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lock: $(UV) ## Resolve the dependencies anew into requirements.lock.
	$(COMPILE) --upgrade --output-file $(LOCK)
	$(UV) pip compile tests/clients/mcp-1.in --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --quiet --upgrade --output-file tests/clients/mcp-1.txt

lock-check: $(UV) ## Check that requirements.lock fits pyproject.toml.
	@cp $(LOCK) .tools/lock-check.txt && $(COMPILE) --output-file .tools/lock-check.txt
	@diff -u $(LOCK) .tools/lock-check.txt || { echo "requirements.lock is stale: run 'make lock'." >&2; exit 1; }
	@! grep -nE '(https?|file)://' $(LOCK) || { echo "requirements.lock names a registry." >&2; exit 1; }

schema: install ## Write agent_specs/schema.json, which editors read, anew from the code.
	$(BIN)/workyard agents schema > .tools/schema.json
	@cp .tools/schema.json agent_specs/schema.json

check: lint types lock-check test ## Everything the gate checks.

CONFORMANCE := .tools/conformance
$(CONFORMANCE)/.installed: tests/conformance/package-lock.json
	@mkdir -p $(CONFORMANCE)
	cp tests/conformance/package.json tests/conformance/package-lock.json $(CONFORMANCE)/
	npm ci --prefix $(CONFORMANCE) --cache $(CURDIR)/.tools/cache/npm --ignore-scripts --no-audit --no-fund --silent
	@touch $@

conformance: install $(CONFORMANCE)/.installed ## Run the official MCP suite against the server over HTTP.
	$(BIN)/python -m tests.conformance

HOSTS := .tools/hosts
$(HOSTS)/.installed: tests/hosts/package-lock.json
	@mkdir -p $(HOSTS)
	cp tests/hosts/package.json tests/hosts/package-lock.json $(HOSTS)/
	npm ci --prefix $(HOSTS) --cache $(CURDIR)/.tools/cache/npm --ignore-scripts --no-audit --no-fund --silent
	@touch $@

hosts: install $(HOSTS)/.installed ## Have real hosts reach the server after `workyard install`; takes 1.3 GB.
	$(BIN)/python -m tests.hosts

RELEASE := .tools/release
$(RELEASE)/.installed: release/package-lock.json
	@mkdir -p $(RELEASE)
	cp release/package.json release/package-lock.json $(RELEASE)/
	npm ci --prefix $(RELEASE) --cache $(CURDIR)/.tools/cache/npm --ignore-scripts --no-audit --no-fund --silent
	@touch $@

bundle: install $(RELEASE)/.installed ## Build dist/*.mcpb and dist/server.json, and try them.
	$(BIN)/python -m release

CLIENTS := .tools/clients
$(CLIENTS)/.installed: $(UV) tests/clients/package-lock.json tests/clients/mcp-1.txt
	@mkdir -p $(CLIENTS)
	cp tests/clients/package.json tests/clients/package-lock.json $(CLIENTS)/
	npm ci --prefix $(CLIENTS) --cache $(CURDIR)/.tools/cache/npm --ignore-scripts --no-audit --no-fund --silent
	$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(CLIENTS)/mcp-1
	$(UV) pip sync --quiet --require-hashes --python $(CLIENTS)/mcp-1/bin/python tests/clients/mcp-1.txt
	@touch $@

clients: install $(CLIENTS)/.installed ## Let real clients of other makers use the server, over stdio and HTTP.
	$(BIN)/python -m tests.clients

bench: install ## Run the benchmarks and print their figures.
	$(BIN)/python -m benchmarks

figures: install ## Run the benchmarks and put their figures into benchmarks/README.md.
	$(BIN)/python -m benchmarks > .tools/figures.md
	@{ sed '/^<!-- figures -->$$/q' benchmarks/README.md; echo; sed '$${/^$$/d;}' .tools/figures.md; } > .tools/bench.md
	@cp .tools/bench.md benchmarks/README.md

clean: ## Remove what the other targets made.
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache build dist
