# `make` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-bench
DISTRIBUTIONS := shared services/collector services/writer services/sync services/supervisor
export UV_SYSTEM_CERTS := 1
unexport PYTHONDONTWRITEBYTECODE  # else every process that a test starts compiles all that it imports

.PHONY: help env run demo check test simulate chaos e2e images bench soak lock format clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(VENV)/.ready ## The development environment in .venv, every package pinned by hash

$(VENV)/.ready: requirements-dev.txt compose/requirements-build.txt $(DISTRIBUTIONS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit("Daedalus needs Python >= 3.11, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian, 'apt install python3-venv'" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r compose/requirements-build.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps $(DISTRIBUTIONS:%=-e ./%)
	@touch $@

run: env ## Record the exchanges of config.yaml, without Docker; Ctrl-C ends it
	@PYTHONPATH=compose $(BIN)/python -m local run

demo: env ## The same against the built-in exchange simulator, 60 s, no internet; ends with a table
	@PYTHONPATH=compose $(BIN)/python -m local demo

check: env ## Lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(DISTRIBUTIONS:%=%/daedalus*) compose/local tests

test: env ## Every test that needs no Docker
	$(BIN)/python -m pytest -n 3 --dist worksteal --ignore=tests/e2e

simulate: env ## The writer's commit under every fault, by seed, in virtual time; SEEDS=100000 for more
	@PYTHONPATH=tests:compose $(BIN)/python -m simulation --seeds $(or $(SEEDS),10000)

chaos: env ## Real writers and a real server, killed, frozen, cut off, 200 rounds of 10 s, 3 at a time; ROUNDS=20 for fewer
	@PYTHONPATH=tests:compose $(BIN)/python -m chaos --rounds $(or $(ROUNDS),200) --first $(or $(FIRST),0) --jobs $(or $(JOBS),3)

e2e: env ## The containers: needs a Docker engine
	$(BIN)/python -m pytest -m e2e tests/e2e

bench: env $(PEERS)/.ready ## Measure against what there is to beat, 20 minutes; BENCH=--quick for minutes
	@PYTHONPATH=compose:tests $(BIN)/python -m benchmarks $(BENCH)

soak: env ## The writer for 30 minutes, which are 10 hours of the load: its memory stays flat, nothing is lost; MINUTES=120 for more
	@PYTHONPATH=compose $(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),30)

$(PEERS)/.ready: benchmarks/requirements.txt
	@$(PYTHON) -m venv $(PEERS)
	$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python --require-hashes --no-deps -r $<
	@touch $@

images: ## Build the containers' images
	docker compose build

lock: env ## Resolve every requirements file anew
	@compose/lock.sh

format: env ## Let ruff put things in order
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## Remove the environment and caches; never what was recorded
	rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache .hypothesis
