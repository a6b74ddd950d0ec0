# `make` lists what there is. Every target sets up what it needs; a second run finds it done.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help serve test check conformance conformance-full conformance-no-lane conformance-real demo bench bench-smoke bench-behind bench-limits load peers tools audit lock clean

VENV ?= .venv
RUN := $(VENV)/bin/python
# The first of these that is new enough and can make a virtual environment; PYTHON=... chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# A lock file is installed once: its hash is in the name of the stamp.
stamp = $(VENV)/installed-$(1)-$(shell cksum < requirements/$(1).txt | cut -d' ' -f1)
RUNTIME := $(call stamp,runtime)
DEV := $(call stamp,dev)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'ARGS="..." goes to the command behind a target: make serve ARGS="--listen 127.0.0.1:9000"'

serve: $(RUNTIME) ## run the server
	@exec $(RUN) -m facade serve $(ARGS)

test: $(DEV) ## run the unit tests
	$(RUN) -m pytest $(ARGS)

check: $(DEV) ## lint, formatting, types, and which room may import which
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy --strict facade
	$(VENV)/bin/lint-imports --no-cache

# The first run builds the real servers and clients.
SLOWLY := --timeout 900

# Wait for real peers, not for our answers: one way of answering is enough.
WITH_PEERS := $(addprefix --ignore conformance/eureka/,test_8_9_replication.py test_rolling_replacement.py differential)

conformance: $(DEV) tools ## ask our server, and the real ones at hand, what the protocols promise
	$(RUN) -m pytest conformance --ignore conformance/clients $(SLOWLY) $(ARGS)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync conformance-no-lane conformance-real

conformance-full: conformance ## the same, real clients of many kinds, other stores, and an hour of random traces
	@.ci/tools npm prometheus
	$(RUN) -m pytest conformance/clients $(SLOWLY) $(ARGS)
	$(RUN) -m pytest conformance/clients --eureka-kind real $(SLOWLY) $(ARGS)
	$(RUN) -m pytest conformance/eureka conformance/servicecenter $(WITH_PEERS) --store sqlite:/// $(SLOWLY) $(ARGS)
	$(RUN) -m pytest conformance/eureka/differential --minutes 60 --timeout 4000 $(ARGS)

conformance-no-lane: $(DEV)
	REGISTRY_FACADE_LANE=false $(RUN) -m pytest conformance/eureka conformance/servicecenter $(WITH_PEERS) $(SLOWLY) $(ARGS)

conformance-real: $(DEV)
	@if command -v java >/dev/null && command -v mvn >/dev/null; then set -x; $(RUN) -m pytest conformance/eureka --eureka-kind real $(SLOWLY) $(ARGS); \
	else echo 'not asked: the real Eureka server, which needs a JDK 17 and Maven'; fi
	@if [[ -n "$${SERVICECENTER_BIN:-}" ]]; then set -x; \
	$(RUN) -m pytest conformance/servicecenter --servicecenter-kind real $(SLOWLY) $(ARGS); \
	else echo 'not asked: a real ServiceCenter, which no registry has; name the binary of one with SERVICECENTER_BIN'; fi

demo: $(DEV) tools ## tell the guide's story with real clients of both protocols; ARGS="--help" lists five set-ups
	$(RUN) -m conformance.demo $(ARGS)

bench: $(DEV) tools ## print figures side by side with the real servers, nginx and a bare uvicorn; half an hour
	@.ci/tools wrk nginx
	$(RUN) -m loadtests.compare $(ARGS)

bench-smoke: $(DEV) ## fail when a renewal costs far more than it should beside a bare uvicorn; a minute
	@.ci/tools wrk
	$(RUN) -m loadtests.smoke

load: $(DEV) ## let a fleet of Spring, go-chassis and Java-Chassis clients live, be deployed, die and return; ARGS="--help"
	$(RUN) -m loadtests.load $(ARGS)

bench-behind: $(DEV) ## print what a registry behind ours costs and delays; SERVICECENTER_BIN names a real one
	@.ci/tools wrk
	$(RUN) -m loadtests.behind $(ARGS)

bench-limits: $(DEV) ## print latencies under an open loop, growth, memory, starts and watchers beside their goals
	$(RUN) -m loadtests.limits $(ARGS)

peers: $(DEV) tools ## run a real Eureka server, and a real ServiceCenter where SERVICECENTER_BIN names one, until Ctrl-C
	@exec $(RUN) -m conformance.peers $(ARGS)

tools: ## install what builds and runs the real servers and clients: JDK, Maven, Go, etcd
	@.ci/tools

audit: $(DEV) ## look for known holes in what we ship
	$(VENV)/bin/pip-audit --require-hashes -r requirements/runtime.txt

lock: $(DEV) ## choose the versions anew, within what pyproject.toml allows
	$(VENV)/bin/uv pip compile pyproject.toml $(LOCK) -o requirements/runtime.txt
	$(VENV)/bin/uv pip compile pyproject.toml $(LOCK) --group dev -c requirements/runtime.txt -o requirements/dev.txt

# The files hold hashes and no address: they work with whichever registry a machine uses.
LOCK := --upgrade --universal --python-version 3.11 --generate-hashes --quiet --custom-compile-command 'make lock'

clean: ## remove what the targets above have made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find facade conformance tests loadtests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(RUN):
	@[[ -n "$(PYTHON)" ]] || { echo 'Needed: Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): | $(RUN)
	$(RUN) -m pip install --quiet --require-hashes -r requirements/runtime.txt
	@touch $@

$(DEV): | $(RUN)
	$(RUN) -m pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@ $(RUNTIME)
