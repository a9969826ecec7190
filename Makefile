# Kessai: `make help` lists what there is.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.installed
# One more than there are cores: tests of real processes mostly wait for them.
WORKERS = $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")
COVERAGE := .fault-coverage
# Of `make fuzz` and `make machine`: release, or tenth.
PROFILE ?= release

.PHONY: help install demo up test planted lint format proto lock bench bench-peers fuzz machine mutants clean

help: ## Lists what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Makes .venv with everything pinned by hash

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Kessai needs Python 3.11 or newer; name one with: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@# --no-deps: the list is complete, and pip would look for the newest of what is asked for with an extra.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## Tells the story of a few payments, with real processes
	$(BIN)/kessai demo

up: $(STAMP) ## Starts everything in the foreground; Ctrl-C stops it
	$(BIN)/kessai up

test: $(STAMP) lint ## Lints, runs every test, and counts what went wrong in them
	rm -rf $(COVERAGE)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --fault-coverage $(COVERAGE)
	$(BIN)/kessai faults coverage --from $(COVERAGE) --html $(COVERAGE)/coverage.html > $(COVERAGE)/coverage.txt

planted: $(STAMP) ## Tries every planted bug on every layer that has to catch it (minutes; prints a line for each)
	$(BIN)/python -m tests.planted --declared

lint: $(STAMP) ## Style, types, contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python proto/generate.py --lint

format: $(STAMP) ## Formats the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

proto: $(STAMP) ## Makes the generated Python from the .proto files
	$(BIN)/python proto/generate.py

fuzz: $(STAMP) ## Tries bytes against the real server for about an hour (PROFILE=tenth: a tenth of it)
	$(BIN)/python -m pytest -n auto --dist worksteal --hypothesis-profile $(PROFILE) tests/fuzz

machine: $(STAMP) ## Runs the state machine in a release's size (hours; PROFILE=tenth: a tenth of it)
	$(BIN)/python -m pytest -n auto --dist worksteal --hypothesis-profile $(PROFILE) tests/machine

bench: $(STAMP) ## Runs the benchmark (a quarter of an hour; prints a table)
	$(BIN)/kessai bench run --json bench.json --html bench.html

bench-peers: $(STAMP) $(PEERS_STAMP) ## Compares with DBOS and Restate (minutes; prints a table)
	$(BIN)/python -m benchmarks.peers

$(PEERS_STAMP): requirements/peers.txt benchmarks/peers/package-lock.json
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/peers.txt
	@if command -v npm >/dev/null; then \
	  npm ci --prefix benchmarks/peers --ignore-scripts --no-audit --no-fund --silent; \
	else \
	  echo "npm, which installs Restate's server, is not here: without Restate"; \
	fi
	@touch $@

mutants: $(STAMP) ## Counts the mutants of coordinator/domain that its tests let live (minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/mutants.txt
	rm -rf mutants
	$(BIN)/mutmut run
	$(BIN)/mutmut results
	$(BIN)/mutmut export-cicd-stats
	$(BIN)/python -m tests.mutants

lock: ## Pins the dependencies anew (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 pyproject.toml -o requirements/runtime.txt
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 --all-extras pyproject.toml -o requirements/dev.txt
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 --all-extras --group mutants --constraint requirements/dev.txt pyproject.toml -o requirements/mutants.txt
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 --group peers -o requirements/peers.txt

clean: ## Removes .venv and caches
	rm -rf $(VENV) $(PEERS) benchmarks/peers/node_modules mutants $(COVERAGE) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
