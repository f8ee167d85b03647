# Everything is done with make; plain `make` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
SEEDS  ?= 1
JOBS   ?= 2
BENCH  ?=
BY_FILE = -n $(JOBS) --dist loadfile --no-loadscope-reorder -p no:randomly

.DEFAULT_GOAL := help
.PHONY: help setup demo check test faults bench docs lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Écluse needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY)  ## the virtual environment, from the lock

demo: $(READY)  ## a parcel company in four acts; DEMO_SECONDS=n of traffic, KEEP=1 keeps the services
	@$(BIN)/ecluse demo

check: $(READY)  ## format, lint, types, import contracts, unit and conformance tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n $(JOBS) tests/unit tests/conformance -m "not stack and not spark"

# Each of the JOBS has services and a Spark of its own, which the tests of its files share, in their order:
# most tests wait for a service half of the time, and two at once fill two cores.
test: $(READY)  ## every test, on the real components, JOBS=n at once
	$(BIN)/pytest -n $(JOBS) tests/unit
	$(BIN)/pytest $(BY_FILE) tests/conformance tests/e2e tests/faults --durations=30

faults: $(READY)  ## kill -9 at every named point, SEEDS=n times each
	SEEDS=$(SEEDS) $(BIN)/pytest $(BY_FILE) tests/faults

bench: $(READY)  ## all, and the table in README.md; BENCH=capture|files|landing|latency|memory|snapshot: one; BENCH_SCALE=0.01: a look
	$(BIN)/python -m bench $(BENCH)

lock: $(READY)  ## the lock, made anew (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock

docs: $(READY)  ## the reference pages that are made from the code
	$(BIN)/python docs/generate.py

clean:  ## the virtual environment, the embedded state and the cache folder
	rm -rf "$${ECLUSE_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/ecluse}" .ecluse examples/demo/.ecluse
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
