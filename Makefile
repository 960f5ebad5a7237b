# `make` alone lists the targets. Needs Python 3.11 or newer with venv, and a package index.
#
#   make test PYTHON=python3.13     another interpreter (after `make clean`)
#   make lock UPGRADE=--upgrade     newest versions instead of the ones pinned
#   make simulate SEEDS=20000 FIRST=2000     other seeds, more of them
#   CI_STRICT=1 make test-all     what is not tested, and not named in .ci/untested, is red
#   make bench BENCH="--quick --db sqlite"     fewer persons, one database

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := worker migrations tests bench tools
UPGRADE ?=
SEEDS ?= 2000
FIRST ?= 0
BENCH ?=
KEEP ?=
SEED ?=

# Most of what is installed is never imported: it is compiled when it is.
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
UV := $(VENV)-lock/bin/uv
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	$(UPGRADE)
# Each extra of pyproject.toml has a lock of its own, beside requirements/core.lock. The first are for a
# checkout; drivers of other databases are for those who have one.
EXTRAS := parquet
DRIVERS := oracle mssql
LOCKS := requirements/core.lock $(EXTRAS:%=requirements/%.lock)
RELEASED := $(LOCKS) $(DRIVERS:%=requirements/%.lock)
WITH ?=
WHEELS = requirements/core.lock $(WITH:%=requirements/%.lock)
REQUIREMENTS_OF = $(PYTHON) -c "import sys, tomllib; print(*tomllib.load(open('pyproject.toml', 'rb')) \
	['project']['optional-dependencies'][sys.argv[1]], sep='\n')"
LICENCES := MIT;MIT-0;BSD;Apache;Apache-2.0;PSF;Python;ISC;MPL;Mozilla;LGPL;UPL;Unlicense;Zlib;Public Domain;Freely Distributable

# Stamps in .venv: each is older than a lock file that changed since, and then made again.
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime
TOOLS := $(VENV)/.tools
NIGHTLY := $(VENV)/.nightly
AUDIT := $(VENV)-audit
SITE := $(VENV)-docs
DBT := $(VENV)-dbt
UNTESTED := $(BIN)/python tools/untested.py
# A night, one that is withheld, reads that contradict each other, a kill, and a question about age.
FIVE_OF_THE_PROGRAM := \
	tests/acceptance/test_rosters.py::test_a_person_listed_twice_is_read_once \
	tests/acceptance/test_guard.py::test_nothing_of_anybody_is_withheld \
	tests/acceptance/test_two_reads.py::test_contradicting_reads_remove_nothing \
	tests/acceptance/test_kill_and_continue.py::test_what_was_read_is_kept_soon \
	tests/acceptance/test_cli_status.py::test_an_old_snapshot_is_an_exit_code
# What pip-audit says where its service does not know a package, does not answer, or breaks off.
NOT_ASKED := could not be audited|Try another service|ConnectionError|ReadTimeout|ServiceError

# The tests start the program hundreds of times: it is not to be compiled anew each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo check test test-all static static-all quick every nightly random-properties versions simulate \
	browser-tools dbt-tools install-test boot-test test-image \
	bench bench-reports install tools wheel wheelhouse lock audit sbom licences docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## install, simulate a month of nightly runs, demo/report.html and rapport.html; KEEP=1: leave it running
	@KEEP=$(KEEP) $(BIN)/python -m tools.demo

check: $(TOOLS) ## format, lint, types, layers, unit tests and five of the program: 30 s
	@$(MAKE) --no-print-directory --jobs 2 static quick

test: $(TOOLS) ## the static checks beside every test that takes Python alone (starts its own PostgreSQL): 4 min
	@$(MAKE) --no-print-directory --jobs 2 static every

# Each part says what it could not test; the script counts that, and prints the number last.
test-all: $(TOOLS) ## what takes longer, or more than Python: campaigns, patience, browsers, images, other Pythons
	@$(UNTESTED) $(MAKE) nightly -- $(MAKE) random-properties -- $(MAKE) versions -- $(MAKE) docs \
		-- $(MAKE) install-test -- $(MAKE) test-image -- $(MAKE) boot-test

# By files, as their fixtures are dear; the longest first (tests/conftest.py). Six, as many wait.
every: $(TOOLS)
	@$(UNTESTED) $(BIN)/pytest --numprocesses 6 --dist loadfile --no-loadscope-reorder -m "not nightly"

quick: $(TOOLS)
	@$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not nightly" tests/unit $(FIVE_OF_THE_PROGRAM)

nightly: $(NIGHTLY) browser-tools dbt-tools
	@$(BIN)/pytest --numprocesses 4 --dist loadfile -m nightly --timeout 900

random-properties: $(TOOLS) ## the properties with examples of a random seed, which it prints; SEED=N: of that one
	@$(BIN)/pytest --numprocesses 4 --dist loadfile -m hypothesis --hypothesis-profile random \
		$(SEED:%=--hypothesis-seed=%)

versions: ## `make check` on each other Python that the system has, in environments of their own
	@for python in python3.12 python3.13 python3.14; do \
		[ -x /usr/bin/$$python ] || { echo "NOT TESTED: there is no $$python here"; continue; }; \
		$(MAKE) --no-print-directory check PYTHON=/usr/bin/$$python VENV=$(VENV)-$$python || exit 1; done

# axe-core, which judges contrast and names for screen readers, comes from npm where it can be had.
browser-tools:
	@[ -d $(VENV)-browser ] || npm install --silent --no-save --prefix $(VENV)-browser axe-core@4 \
		>/dev/null 2>&1 || echo "NOT TESTED with axe-core: npm cannot give it"

dbt-tools:
	@$(MAKE) --no-print-directory --silent $(DBT)/.made || echo "NOT TESTED: config/dbt: dbt cannot be installed"

simulate: $(TOOLS) ## for an hour: SEEDS=2000 made-up worlds, each n-th call failing
	@$(BIN)/python -m tests.support.simulation.campaign --seeds $(SEEDS) --first $(FIRST) --jobs 2 --nth

bench: $(NIGHTLY) ## the worker beside a bare aiohttp loop, a quarter of an hour; BENCH=--quick
	@$(BIN)/python -m bench $(BENCH)

bench-reports: $(TOOLS) ## what readers of a large database wait for; BENCH="--persons 1000000 --db postgresql"
	@$(BIN)/python -m bench.reports $(BENCH)

install: $(RUNTIME) ## what the worker runs on, into .venv

tools: $(TOOLS) ## what checks and tests it besides

wheel: $(RUNTIME) ## the package for a server, into dist/ (see docs/install-server.md)
	@$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--wheel-dir dist .
	@ls dist/*.whl

# The locks stand for any machine; the wheels are for this one's Python and processor.
wheelhouse: wheel ## what a server without a package index needs, into dist/wheelhouse; WITH="parquet oracle"
	@rm -rf dist/wheelhouse && mkdir -p dist/wheelhouse
	@$(BIN)/pip download --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		--dest dist/wheelhouse $(WHEELS:%=-r %)
	@cp dist/pts_sync_worker-*.whl dist/wheelhouse
	@{ printf 'pts-sync-worker==%s ' $$($(BIN)/python -c 'import worker; print(worker.__version__)'); \
		$(BIN)/pip hash dist/wheelhouse/pts_sync_worker-*.whl | tail -n 1; cat $(WHEELS); } \
		> dist/wheelhouse/requirements.txt
	@echo "dist/wheelhouse: take it to the server (docs/install-server.md)"

install-test: $(TOOLS) ## docs/install-server.md typed into a fresh Debian; needs root and mmdebstrap
	@$(BIN)/python -m tests.deployment.install_runs

boot-test: $(TOOLS) ## the units under a systemd that is booted; needs root, mmdebstrap and cgroups
	@$(BIN)/python -m tests.deployment.boot_runs

# In a mount namespace of its own, with cgroups as crun wants them.
test-image: $(TOOLS) ## the Dockerfile's two tags built and run with podman; needs root and mmdebstrap
	@unshare --mount mount -t cgroup2 none /sys/fs/cgroup || \
		{ echo "NOT TESTED: no namespace can be made here"; exit 0; }; \
	unshare --mount sh -c 'mount -t cgroup2 none /sys/fs/cgroup; exec "$$@"' sh \
		$(BIN)/pytest tests/deployment/image_runs.py

# A warning is an error: a broken link, or a page without a link in docs/index.md.
docs: $(RUNTIME) ## the pictures of docs/ anew from a demo, and docs/ as a site, into dist/site
	@$(BIN)/python -m tools.docs.pictures
	@if $(MAKE) --no-print-directory --silent $(SITE)/.made; then \
		rm -rf dist/site && \
		$(SITE)/bin/sphinx-build --builder html --fail-on-warning --keep-going --quiet \
			--doctree-dir $(SITE)/doctrees docs dist/site && \
		! grep -rnE '<(script|link|img|iframe)[^>]*(src|href)="(https?:)?//' dist/site && \
		echo dist/site/index.html; \
	else echo "NOT TESTED: docs/ as a site, as its generator cannot be installed here"; fi

lock: ## pin all versions again, with hashes, for Python 3.11 to 3.14
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/lock.lock
	$(COMPILE) --output-file requirements/core.lock pyproject.toml
	@for extra in $(EXTRAS) $(DRIVERS); do \
		$(REQUIREMENTS_OF) $$extra | $(COMPILE) --constraint requirements/core.lock \
			--output-file requirements/$$extra.lock - || exit 1; done
	@for group in build audit docs lock; do \
		$(COMPILE) --group $$group --output-file requirements/$$group.lock || exit 1; done
# With its extras, as pip asks for their hashes where a package of the group names one.
	@$(COMPILE) --group dbt --no-strip-extras --output-file requirements/dbt.lock
	@$(COMPILE) --group dev $(LOCKS:%=--constraint %) --output-file requirements/dev.lock
	@$(COMPILE) --group nightly $(LOCKS:%=--constraint %) --constraint requirements/dev.lock \
		--output-file requirements/nightly.lock
	@rm -rf $(VENV)-lock

audit: $(AUDIT)/.made ## known vulnerabilities of what is locked, where their database can be asked
	@$(AUDIT)/bin/pip-audit --progress-spinner off --disable-pip \
		$(RELEASED:%=--requirement %) --requirement requirements/build.lock \
		>$(AUDIT)/found.txt 2>&1; echo $$? >$(AUDIT)/code.txt; cat $(AUDIT)/found.txt
	@code=$$(cat $(AUDIT)/code.txt); \
	if grep -qE "$(NOT_ASKED)" $(AUDIT)/found.txt; then code=0; \
		echo "NOT AUDITED, or not all: the database of vulnerabilities cannot be asked from here"; \
	fi; \
	if grep -qE "^Found [0-9]+ known" $(AUDIT)/found.txt; then code=1; fi; exit $$code

sbom: $(AUDIT)/.made ## what is locked as CycloneDX, into dist/
	@mkdir -p dist
	@for lock in $(RELEASED); do PYTHONWARNINGS=ignore $(AUDIT)/bin/cyclonedx-py requirements --output-reproducible \
		--pyproject pyproject.toml --output-file dist/$$(basename $$lock .lock).cdx.json $$lock || exit 1; done
	@ls dist/*.cdx.json

licences: $(RUNTIME) $(AUDIT)/.made ## the licence of each package, and 1 if one is not allowed
	@$(AUDIT)/bin/pip-licenses --python $(BIN)/python --from mixed --partial-match \
		--ignore-packages pts-sync-worker --allow-only "$(LICENCES)"

clean: ## remove what these targets made
	@rm -rf $(VENV) $(VENV)-* dist demo .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis .coverage htmlcov

$(AUDIT)/.made: requirements/audit.lock
	@$(PYTHON) -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/audit.lock
	@touch $@

$(SITE)/.made: requirements/docs.lock
	@$(PYTHON) -m venv --clear $(SITE)
	@$(SITE)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/docs.lock
	@touch $@

$(DBT)/.made: requirements/dbt.lock
	@$(PYTHON) -m venv --clear $(DBT)
	@$(DBT)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/dbt.lock
	@touch $@

static: $(TOOLS)
	@$(BIN)/ruff format --check --quiet $(CODE)
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/lint-imports | tail -n 1
	@$(BIN)/mypy

$(MADE):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 15) else \
		"Python 3.11 to 3.14 is needed, %s is %d.%d: say make PYTHON=python3.13" % ((sys.executable,) + v))'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUNTIME): $(MADE) $(LOCKS) requirements/build.lock pyproject.toml worker/__init__.py
	@printf "installing the worker into $(VENV), about a minute "; \
	(while sleep 2; do printf .; done) & dots=$$!; \
	$(PIP_INSTALL) --require-hashes $(LOCKS:%=-r %) -r requirements/build.lock; code=$$?; \
	kill $$dots; echo; exit $$code
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(TOOLS): $(RUNTIME) requirements/dev.lock
	@echo "installing the tests' tools into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.lock
	@touch $@

$(NIGHTLY): $(TOOLS) requirements/nightly.lock
	@echo "installing what nightly tests need besides into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements/nightly.lock
	@touch $@
