# Every development command; CI uses these targets too.
PYTHON ?= python3
# Another interpreter gets an environment of its own: make test PYTHON=python3.13
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
PEERS_VENV := .venv-peers
PEERS_LOCK := tests/benchmarks/requirements-peers.lock
WORKERS ?= 2
EXAMPLES ?= 5000
SEED ?= $(shell date +%s)
# Without index URLs, so that a lock file is the same whichever index or mirror it was made with.
LOCKING := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --upgrade

.DEFAULT_GOAL := help
.PHONY: help install demo quick test coverage answers pictures docs bench bench-fleet bench-peers bench-views bench-webhooks soak mutants check format lock build image-check systemd-check clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Install syncsvc and its tools into .venv, with verified hashes

$(VENV)/.installed: requirements-dev.lock pyproject.toml
	@echo "Installing syncsvc and its development tools into $(VENV), once; this takes a minute or two."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## Run a sync against a simulated provider, into SQLite; needs no settings
	@$(BIN)/syncsvc demo

# pytest keeps the tests that it has rewritten, also if the machine's Python keeps no bytecode.
# One worker more than usual, because these tests wait for sockets now and then.
quick: install ## Run the tests that need neither PostgreSQL nor another process, in a minute
	HYPOTHESIS_PROFILE=quick PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $$(($(WORKERS) + 1)) -m quick

test: install ## Run all tests, on SQLite and on a real PostgreSQL; PYTHON=python3.13 for another Python
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS)

coverage: install ## Run most tests on SQLite; fail if they cover less than 95 % of lines and branches
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term -k "not postgresql" \
		--ignore tests/promises --ignore tests/deploy --ignore tests/benchmarks \
		--ignore tests/docs/test_operations.py

answers: install ## Regenerate the answers in docs/queries.md and docs/reports.md
	RENEW_DOCS=1 $(BIN)/python -m pytest -n 0 tests/docs/test_queries.py tests/docs/test_reports.py -k sqlite

pictures: install ## Regenerate the screenshots in docs/images; needs Debian's chromium
	PICTURES=docs/images $(BIN)/python -m pytest -n 0 tests/worker/test_status_page.py tests/output/test_inventory_page.py \
		-k "light-desktop or dark-phone or picture"

docs: install ## Regenerate docs/data.md from the comments of the schema
	$(BIN)/python tests/support/data_dictionary.py

bench-views: install ## Time views and reports over a million numbers on PostgreSQL, 10 minutes; NUMBERS=n
	$(BIN)/python tests/benchmarks/views_timing.py

soak: install ## Run thousands of random sequences against a faulty provider; EXAMPLES=n, SEED=n to repeat
	@echo "To repeat these sequences: make soak EXAMPLES=$(EXAMPLES) SEED=$(SEED)"
	HYPOTHESIS_PROFILE=soak HYPOTHESIS_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n $(WORKERS) --timeout 0 \
		--hypothesis-seed $(SEED) tests/promises/test_model.py tests/promises/test_properties.py

mutants: install ## Try mutants of modules on their tests, and print those alive; MODULE=reconcile/withhold_cancellations
	$(BIN)/python tests/measurements/mutants.py $(MODULE) --workers $(WORKERS) $(MUTANTS)

bench: install ## Compare speed and memory with the limit, 15 minutes; BENCH="--sizes 10000 --rounds 1"
	$(BIN)/python tests/benchmarks/bench_sync.py $(BENCH)

bench-fleet: install ## Measure and simulate a fleet of accounts, 40 minutes; BENCH="--only constants --accounts 20"
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/bench_fleet.py $(BENCH)

bench-peers: install $(PEERS_VENV)/.installed ## Compare syncsvc with dlt and an ORM script; BENCH="--rounds 1 --peers orm"
	$(BIN)/python tests/benchmarks/peers_bench.py --python $(PEERS_VENV)/bin/python $(BENCH)

bench-webhooks: install ## Time a run with 20 endpoints of webhooks beside one without, 10 minutes; BENCH="--rounds 1"
	$(BIN)/python tests/benchmarks/webhooks_bench.py $(BENCH)

$(PEERS_VENV)/.installed: $(PEERS_LOCK)
	$(PYTHON) -m venv --clear $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(PEERS_LOCK)
	@touch $@

check: install ## Check lint, format, types, import layers and the tests' docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/interrogate --quiet --config pyproject.toml tests

format: install ## Fix lint errors and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install ## Regenerate the lock files from pyproject.toml
	$(BIN)/uv pip compile $(LOCKING) pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile $(LOCKING) --group dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock
	$(BIN)/uv pip compile $(LOCKING) --group sbom --output-file deploy/docker/requirements-sbom.lock
	$(BIN)/uv pip compile $(LOCKING) --group peers --constraint requirements.lock --output-file $(PEERS_LOCK)

build: install ## Build the wheel and the source archive into dist/
	rm -rf dist
	$(BIN)/hatchling build

image-check: ## Test the steps of the image without Docker, as an unprivileged user
	PYTHON=$(PYTHON) deploy/docker/check.sh

systemd-check: install ## Test the units on a real systemd, booted in a container, 2 minutes; needs root and debootstrap
	deploy/systemd/check.sh || [ $$? -eq 77 ]

clean: ## Remove the virtual environments, build output and caches
	rm -rf .venv .venv-* build dist .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
