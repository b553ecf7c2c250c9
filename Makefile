# Everything a developer or CI runs. `make help` lists it. Set-up is part of every target and is done once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SHELL := /bin/sh

.DEFAULT_GOAL := help
.PHONY: help setup check format test test-cluster test-mesh demo lab kill soak sim sim-hunt sim-week sim-planted coverage bench bench-analysis bench-analysis-quick mutation lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

setup: $(READY) ## Make .venv from hashed locks, find Envoy and Prometheus

$(READY): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer is missing; get it with: apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python's venv is missing; get it with: apt-get install python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV) from hashed locks: once, a minute or two ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m shifter.lab.tools
	@touch $@

check: $(READY) ## Format, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## Format the code and apply safe fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

test: $(READY) ## Run all tests, then ask for full branch coverage of the core
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations 5
	@$(MAKE) --no-print-directory coverage

test-cluster: $(READY) ## Tests against a real kube-apiserver and etcd, and with real helm; built once into the cache, in minutes
	@$(BIN)/python -m tests.cluster.tools
	@$(BIN)/python -m pytest -q --durations 5 tests/cluster

test-mesh: $(READY) ## Tests with the real istioctl and pilot-discovery of two releases on real API servers; built once, in minutes
	@$(BIN)/python -m tests.cluster.tools
	@$(BIN)/python -m tests.mesh.tools
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations 5 tests/mesh/real

coverage: $(READY) ## Branch coverage of shifter/core by its own tests; fails below 100 %
	@$(BIN)/coverage run -m pytest -q -p no:cacheprovider --hypothesis-seed=0 tests/core
	@$(BIN)/coverage report

demo: $(READY) ## A whole migration on this machine: real Envoys, Prometheus, CLI; about 100 seconds
	@$(BIN)/shifter lab run

lab: $(READY) ## The lab's other scenarios, one after another
	@scenarios=$$($(BIN)/python -c 'from shifter.lab.scenarios import DEFAULT, SCENARIOS; \
	  print(*(name for name in SCENARIOS if name != DEFAULT))') || exit 1; \
	test -n "$$scenarios" || { echo "the lab has no other scenario" >&2; exit 1; }; \
	for scenario in $$scenarios; do \
	  $(BIN)/shifter lab run --scenario $$scenario --report .lab-reports/$$scenario.json || exit 1; done

kill: $(READY) ## The service killed with -9 or frozen at 48 moments, Prometheus and cloud frozen, and judged; three minutes
	@$(BIN)/shifter lab kill

SEED ?= 1
MINUTES ?= 10
soak: $(READY) ## Minutes of many faults at once, then a check of everything written; SEED=1 MINUTES=10
	@$(BIN)/shifter lab soak --seed $(SEED) --minutes $(MINUTES)

SEEDS ?= 1..1000000
MODE ?= both
AT_LEAST ?= 1
VERBOSE ?=
sim: $(READY) ## Seeds of a simulated world of faults for MINUTES (10): SEEDS=1..500 MODE=alternate AT_LEAST=200; in a cluster: MODE=kubernetes; or one: SEED=7 MODE=safety, with its log: VERBOSE=1
ifeq ($(origin SEED),file)
	@$(BIN)/python -m tests.sim --seeds $(SEEDS) --mode $(MODE) --jobs 2 --minutes $(MINUTES) --at-least $(AT_LEAST)
else
	@$(BIN)/python -m tests.sim --seed $(SEED) --mode $(MODE) $(if $(VERBOSE),--verbose)
endif

EXAMPLES ?= 1000
sim-hunt: $(READY) ## Scripts of faults that Hypothesis draws, other ones each time, and makes small; EXAMPLES=1000
	@SIM_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q -p no:cacheprovider --timeout 0 --hypothesis-show-statistics tests/sim/test_sim.py -k test_no_script_of_faults

sim-week: $(READY) ## One simulated week in one process; fails if what it holds grows; 7 minutes
	@$(BIN)/python -m tests.sim --week

sim-planted: $(READY) ## Bugs planted in copies of shifter, each of which the simulation must find; ends with a table
	@$(BIN)/python -m tests.sim.planted

bench: $(READY) ## What ticks, commands and the idle service cost: ratios within one run
	@$(BIN)/python -m tests.bench

bench-analysis: $(READY) ## The decision against Flagger, Argo and Kayenta on simulated traffic; 45 minutes, writes build/ and docs/analysis.md
	@$(BIN)/python -m tests.bench.analysis

bench-analysis-quick: $(READY) ## The same with few trials, for CI: fails if a goal points the wrong way; 3 minutes
	@$(BIN)/python -m tests.bench.analysis --quick

MODULE ?=
mutation: $(READY) ## What no test notices when one thing is changed in core/ and service/act.py; minutes for each module; MODULE=shifter/core/deciding/journal.py
	@$(BIN)/python -m tests.mutation $(MODULE)

lock: ## Renew requirements/*.lock from pyproject.toml
	@set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch"; "$$scratch/bin/python" -m pip install --quiet --disable-pip-version-check uv; \
	set -- --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links pyproject.toml; \
	"$$scratch/bin/uv" pip compile "$$@" --output-file requirements/runtime.lock; \
	"$$scratch/bin/uv" pip compile "$$@" --extra lab --group dev --output-file requirements/dev.lock; \
	"$$scratch/bin/uv" pip compile "$$@" --group mutation --constraint requirements/dev.lock --output-file requirements/mutation.lock; \
	printf 'hatchling>=1.27\n' | "$$scratch/bin/uv" pip compile - --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --constraint requirements/dev.lock --output-file requirements/build.lock

clean: ## Remove what the targets made
	@rm -rf $(VENV) build .lab .lab-reports lab-report.json .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
