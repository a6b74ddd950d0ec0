# `make` lists what there is. Every target sets up what it needs; a second run finds it done.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help serve test check check-deploy conformance conformance-full conformance-ours conformance-cluster conformance-real conformance-faults demo bench bench-smoke bench-behind bench-limits bench-cluster load peers cluster tools audit lock clean

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

test: $(DEV) ## run the unit tests, on all cores
	$(RUN) -m pytest --numprocesses auto --dist worksteal $(ARGS)

check: $(DEV) ## lint, formatting, types, and which room may import which
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy --strict facade
	$(VENV)/bin/lint-imports --no-cache

# Where a tool for that is at hand they are read by it, else run in part; docs/deployment.md says what is not run at all.
check-deploy: $(DEV) ## the same for the files under deploy/ and compose*.yaml: schemas, rules, hardening, and whether they fit the server
	@.ci/tools prometheus nginx systemd-analyze
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml compose.cluster.yaml
	$(VENV)/bin/kubernetes-validate --strict --quiet deploy/kubernetes/*.yaml
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules deploy/prometheus/rules-test.yml
	systemd-analyze security --no-pager --offline=true --threshold=$(EXPOSURE) deploy/systemd/registry-facade.service | tail -n 1
	$(RUN) -m pytest conformance/deployment $(ARGS)

# Of 100, as systemd-analyze counts: 96 is a service that may do all, and what listens on the network cannot be 0.
EXPOSURE := 12

# The first run builds the real servers and clients.
SLOWLY := --timeout 900

# Of random traces beside the real server: `make conformance-full MINUTES=2`. They are drawn anew each time, their seeds printed;
# `make conformance` asks the same ones each time, so that it fails by what was changed. A mixed fleet lives for a minute there;
# `pytest conformance/clients/test_mixed_fleet.py --minutes 60` is the hour of case 200.
MINUTES ?= 60

# Wait for real peers, not for our answers: one way of answering is enough.
WITH_PEERS := $(addprefix --ignore conformance/eureka/,test_8_9_replication.py test_import.py test_rolling_replacement.py differential) \
	--ignore conformance/servicecenter/test_watchers.py

# The library under go-chassis has every call that clients make, and takes seconds; programs around it take minutes.
QUICK_CLIENT := conformance/clients/servicecenter/test_sc_client.py
WITHOUT_SLOW_CLIENTS := $(addprefix --ignore ,$(filter-out $(QUICK_CLIENT) %/test_table.py %/test_wiretap.py,\
	$(wildcard conformance/clients/test_*.py conformance/clients/*/test_*.py)))

# Two at a time, for much of it is waiting; those after the second find the first one's builds.
conformance: $(DEV) tools ## ask our server, and the real ones at hand, what the protocols promise; look at the pages in a browser
	@.ci/tools chromium nginx ip nft faketime
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync conformance-ours conformance-cluster conformance-real conformance-faults

conformance-full: conformance ## the same, real clients of many kinds, other stores, hours of random traces, 10,000 changes to 200 watchers, Redis killed 50 times
	@.ci/tools npm prometheus
	$(RUN) -m pytest conformance/backing conformance/demo -m full $(SLOWLY) $(ARGS)
	$(RUN) -m pytest conformance/clients $(SLOWLY) $(ARGS)
	$(RUN) -m pytest conformance/clients --eureka-kind real --servicecenter-kind real $(SLOWLY) $(ARGS)
	$(RUN) -m pytest conformance/eureka conformance/servicecenter $(WITH_PEERS) --store sqlite:/// $(SLOWLY) $(ARGS)
	$(RUN) -m pytest conformance/eureka/differential conformance/servicecenter/differential --minutes $(MINUTES) --timeout 4000 $(ARGS)
	$(RUN) -m pytest conformance/servicecenter/test_watchers.py --changes 10000 --timeout 4000 $(ARGS)
	$(RUN) -m pytest conformance/cluster/faults --faults full -s $(ARGS)

conformance-ours: $(DEV)
	$(RUN) -m pytest conformance --ignore conformance/deployment --ignore conformance/cluster --ignore conformance/peers $(WITHOUT_SLOW_CLIENTS) -m 'not full' $(SLOWLY) $(ARGS)

# Three nodes, and all the long way: the lane answers for one server in the run above.
conformance-cluster: $(DEV)
	REGISTRY_FACADE_LANE=false $(RUN) -m pytest conformance/eureka conformance/servicecenter $(WITH_PEERS) --nodes 3 $(SLOWLY) $(ARGS)

# Its servers go and come back on their ports; meanwhile nobody beside it may take them.
conformance-faults: $(DEV)
	$(RUN) -m pytest conformance/cluster conformance/peers -s --ports-from 18000 $(SLOWLY) $(ARGS)

conformance-real: $(DEV)
	@if command -v java >/dev/null && command -v mvn >/dev/null; then set -x; $(RUN) -m pytest conformance/eureka --eureka-kind real $(SLOWLY) $(ARGS); \
	else echo 'not asked: the real Eureka server, which needs a JDK 17 and Maven'; fi
	@if [[ -n "$${SERVICECENTER_BIN:-}" ]]; then set -x; \
	$(RUN) -m pytest conformance/servicecenter $(QUICK_CLIENT) --servicecenter-kind real $(SLOWLY) $(ARGS); \
	else echo 'not asked: a real ServiceCenter, which no registry has; name the binary of one with SERVICECENTER_BIN'; fi

demo: $(DEV) tools ## tell the guide's story with real clients of both protocols; ARGS="--help" lists seven set-ups
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

bench-cluster: $(DEV) ## print what three nodes over one Redis do beside one server, a fail-over, and what a fleet costs
	@.ci/tools wrk
	$(RUN) -m loadtests.cluster $(ARGS)

peers: $(DEV) tools ## run a real Eureka server, and a real ServiceCenter where SERVICECENTER_BIN names one, until Ctrl-C
	@exec $(RUN) -m conformance.peers $(ARGS)

cluster: $(DEV) ## run three nodes over a real Redis with sentinels, behind a load balancer, until Ctrl-C
	@.ci/tools nginx
	@exec $(RUN) -m conformance.peers.playground $(ARGS)

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
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	@touch $@

$(DEV): | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@ $(RUNTIME)
