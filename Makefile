# Every command works first and alone on a machine with make and Python 3.11 or newer:
# what it needs is installed into .venv, again whenever pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Pyright's wrapper speaks up about each new release; ours is pinned.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help bench bench-own bench-quick bench-estimates bench-capacity demo demo-cluster test check lint types imports changelog coverage format conformance matrix matrix-some schemathesis chaos sweep sse-memory screenshots clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/test.stamp  ## upload 100,000 orders to the example and watch the job
	$(BIN)/python examples/demo.py

demo-cluster: $(VENV)/test.stamp  ## two web processes, two Celery workers, PostgreSQL, Redis; kill a worker (a minute)
	$(BIN)/python examples/celery_cluster/cluster.py

ifdef COVERAGE
test: coverage
else
test: $(VENV)/test.stamp  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile
endif

check: lint types imports changelog coverage  ## run everything a change must pass

lint: $(VENV)/dev.stamp  ## ruff: rules, formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/dev.stamp  ## mypy --strict, pyright
	$(BIN)/mypy --strict
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(VENV)/dev.stamp  ## import-linter: imports point down, the core is pure
	$(BIN)/lint-imports

changelog: $(VENV)/dev.stamp  ## towncrier: the fragments in changes/ can be rendered
	$(BIN)/towncrier build --draft --version next

screenshots: $(VENV)/test.stamp  ## take the pictures of the pages that the documentation shows
	PYTHONPATH=. $(BIN)/python tests/pages/screenshots.py

sse-memory: $(VENV)/test.stamp  ## what 1,000 clients of event streams cost one process
	PYTHONPATH=. $(BIN)/python tests/contract/sse_memory.py

coverage: $(VENV)/dev.stamp  ## run the tests and measure branches: 95 %, the core 100 %
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage report --include='src/deferit/_core/*' --fail-under=100

format: $(VENV)/dev.stamp  ## let ruff format and repair what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

conformance: $(BIN)/python  ## run Starlette's and Flask's own tests through deferit (long)
	$(BIN)/python tests/conformance/run.py

MATRIX := tests/web tests/contract tests/servers tests/clients
matrix: $(VENV)/test.stamp  ## run the web tests and those with real servers with every store and executor (hours)
	for pair in $$($(BIN)/python -m tests.pairs); do \
	    DEFERIT_MATRIX=$$pair $(BIN)/python -m pytest -n 2 --dist loadfile $(MATRIX) || exit 1; \
	done

matrix-some: $(VENV)/test.stamp  ## the same with two pairs that the SEED chooses, on one server of each web interface
	for pair in $$($(BIN)/python -m tests.pairs 2 $(SEED)); do \
	    DEFERIT_MATRIX=$$pair $(BIN)/python -m pytest -n 2 --dist loadfile $(MATRIX) \
	        -k "not uvicorn-2 and not preload" || exit 1; \
	done

schemathesis: $(VENV)/test.stamp  ## fuzz the mounted routes with 2,000 requests on each web interface
	SCHEMATHESIS_CASES=2000 $(BIN)/python -m pytest --durations=2 tests/description/test_schemathesis.py

chaos: $(VENV)/test.stamp  ## kill workers, servers, brokers and stores 200 times each way, and look for lost jobs (12 minutes)
	$(BIN)/python -m tests.chaos.monkey
	$(BIN)/python -m tests.chaos.monkey --store postgresql --executor celery
	$(BIN)/python -m tests.chaos.monkey --store redis --executor celery

sweep: $(VENV)/test.stamp  ## measure accepts while a million expired jobs are swept (6 minutes)
	$(BIN)/python -m tests.chaos.sweep

.PHONY: hostile big-bodies fuzz
hostile: $(VENV)/test.stamp  ## send thousands of hostile requests, in process and over sockets (10 minutes)
	HOSTILE_EXAMPLES=$${HOSTILE_EXAMPLES:-5000} HOSTILE_STATES=all $(BIN)/python -m pytest --durations=9 \
	    tests/hostile/test_bad_input.py tests/hostile/test_bytes.py tests/hostile/test_fields.py

big-bodies: $(VENV)/test.stamp  ## what bodies and results of 500 MiB cost one process (4 minutes)
	PYTHONPATH=. $(BIN)/python -m tests.hostile.big_bodies

FUZZ_SECONDS ?= 120
fuzz: $(VENV)/fuzz.stamp  ## fuzz the parsers for FUZZ_SECONDS (120), with coverage as the guide
	PYTHONPATH=. $(BIN)/python tests/hostile/fuzz.py $(FUZZ_SECONDS)

bench: $(VENV)/test.stamp .venv-bench/stamp  ## measure deferit, its peers and the bare frameworks, and write it into the docs (13 minutes; needs wrk)
	$(BIN)/python -m benchmarks --publish

bench-own: $(VENV)/test.stamp  ## the same without the peers (8 minutes)
	$(BIN)/python -m benchmarks --own --publish

bench-quick: $(VENV)/test.stamp  ## the same with one round of a second each, for a first look
	$(BIN)/python -m benchmarks --own --quick

.venv-bench/stamp: benchmarks/requirements.txt | $(BIN)/python
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

bench-estimates: $(VENV)/test.stamp  ## how good estimates are, and what polling by them costs (seconds)
	$(BIN)/python -m benchmarks.estimates

.PHONY: costs
costs: $(VENV)/test.stamp  ## record what requests and imports cost, in calls: tests compare with it
	$(BIN)/python -m tests.costs.records

bench-capacity: $(VENV)/test.stamp  ## what each store does and holds, and what 10 million jobs a day need (3 minutes)
	$(BIN)/python -m benchmarks.capacity

clean:  ## remove what make and the tools made
	rm -rf $(VENV) .venv-bench .conformance benchmarks/.kept build dist htmlcov .coverage .coverage.* \
	    .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "deferit needs Python 3.11 or newer; '$(PYTHON)' is" \
	        "$$($(PYTHON) --version 2>/dev/null || echo not there)."; \
	    echo "Install one, then name it:  make PYTHON=python3.13 $(MAKECMDGOALS)"; \
	    exit 1; } >&2
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/test.stamp: EXTRA := test
$(VENV)/dev.stamp: EXTRA := dev
$(VENV)/fuzz.stamp: EXTRA := fuzz
$(VENV)/test.stamp $(VENV)/dev.stamp $(VENV)/fuzz.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRA)]'
	@touch $@
