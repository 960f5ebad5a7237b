# `make` alone lists the targets. Needs Python 3.11 or newer with venv, and a package index.
#
#   make test PYTHON=python3.13     another interpreter (after `make clean`)
#   make lock UPGRADE=--upgrade     newest versions instead of the ones pinned
#   make simulate SEEDS=20000 FIRST=2000     other seeds, more of them
#   make bench BENCH="--quick --db sqlite"     fewer persons, one database

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := worker migrations tests bench
UPGRADE ?=
SEEDS ?= 2000
FIRST ?= 0
BENCH ?=
SAMPLE ?=

PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
COMPILE = $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	$(UPGRADE)

# Stamps in .venv: each is older than a lock file that changed since, and then made again.
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime
TOOLS := $(VENV)/.tools

# The tests start the program hundreds of times: it is not to be compiled anew each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo check test simulate bench mutate mutate-sample static unit install tools wheel lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## install, sync made-up persons from the sandbox twice, write demo/report.html
	@$(BIN)/python -m worker.sandbox.demo

check: static unit ## format, lint, types, layers and unit tests: under a minute

# By files, as their fixtures are dear; in their order, as the first folders wait the longest.
test: static ## everything: the static checks, then every test (starts its own PostgreSQL)
	@$(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

simulate: $(TOOLS) ## SEEDS=2000 made-up worlds, each n-th call failing, long sequences
	@$(BIN)/python -m tests.simulation.campaign --seeds $(SEEDS) --first $(FIRST) --jobs 2 --nth
	@$(BIN)/pytest tests/stateful/test_stateful.py --hypothesis-profile long

bench: $(TOOLS) ## the worker beside a bare aiohttp loop, a quarter of an hour; BENCH=--quick
	@$(BIN)/python -m bench $(BENCH)

mutate: $(TOOLS) ## faults sown into worker/core: which of them no test sees (docs/mutation.md)
	@rm -rf mutants && mkdir mutants && cp -R pyproject.toml worker tests mutants
	@sed -i.bak -E '/^@(lru_|functools\.)cache/d' mutants/worker/core/*.py
	@printf '%s\n' 'from hypothesis import Phase' \
		'settings.register_profile("mutation", settings.get_profile("suite"), max_examples=25,' \
		'    phases=(Phase.explicit, Phase.generate))' \
		'settings.load_profile("mutation")' >> mutants/tests/conftest.py
	@cd mutants && nice ../$(BIN)/mutmut run --max-children 2
	@cd mutants && ../$(BIN)/mutmut results

mutate-sample: $(TOOLS) ## a sample of faults sown into the rest; SAMPLE="--count 300 --seed 1"
	@nice $(BIN)/python -m tests.mutation.sample $(SAMPLE)

install: $(RUNTIME) ## what the worker runs on, into .venv

tools: $(TOOLS) ## what checks and tests it besides

wheel: $(RUNTIME) ## the package for a server, into dist/ (see docs/operations.md)
	@$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--wheel-dir dist .
	@ls dist/*.whl

lock: ## pin all versions again, with hashes, for Python 3.11 to 3.14
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/pip install --quiet --disable-pip-version-check uv
	$(COMPILE) --output-file requirements.lock --extra parquet --extra otlp --extra sandbox pyproject.toml
	$(COMPILE) --output-file requirements-build.lock requirements-build.in
	$(COMPILE) --output-file requirements-dev.lock requirements-dev.in
	@rm -rf $(VENV)-lock

clean: ## remove what these targets made
	@rm -rf $(VENV) $(VENV)-lock dist demo .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis .schemathesis .coverage htmlcov mutants

static: $(TOOLS)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: $(TOOLS)
	@$(BIN)/pytest tests/unit tests/architecture

$(MADE):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 15) else \
		"Python 3.11 to 3.14 is needed, %s is %d.%d: say make PYTHON=python3.13" % ((sys.executable,) + v))'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUNTIME): $(MADE) requirements.lock requirements-build.lock pyproject.toml worker/__init__.py
	@echo "installing the worker into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(TOOLS): $(RUNTIME) requirements-dev.lock
	@echo "installing the tests' tools into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
