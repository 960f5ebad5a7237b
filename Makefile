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
KEEP ?=

# Most of what is installed is never imported: it is compiled when it is.
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
UV := $(VENV)-lock/bin/uv
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	$(UPGRADE)
# Each extra of pyproject.toml has a lock of its own, beside requirements.lock. The first are for a
# checkout; drivers of other databases are for those who have one.
EXTRAS := parquet otlp sandbox
DRIVERS := oracle mssql
LOCKS := requirements.lock $(EXTRAS:%=requirements-%.lock)
RELEASED := $(LOCKS) $(DRIVERS:%=requirements-%.lock)
WITH ?=
WHEELS = requirements.lock $(WITH:%=requirements-%.lock)
REQUIREMENTS_OF = $(PYTHON) -c "import sys, tomllib; print(*tomllib.load(open('pyproject.toml', 'rb')) \
	['project']['optional-dependencies'][sys.argv[1]], sep='\n')"
LICENCES := MIT;MIT-0;BSD;Apache;Apache-2.0;PSF;Python;ISC;MPL;Mozilla;LGPL;UPL;Unlicense;Zlib;Public Domain;Freely Distributable

# Stamps in .venv: each is older than a lock file that changed since, and then made again.
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime
TOOLS := $(VENV)/.tools
AUDIT := $(VENV)-audit
SITE := $(VENV)-docs
DBT := $(VENV)-dbt
# Campaigns, of which `make simulate` tries all.
FAULTS := tests/simulation/test_nth_call.py tests/simulation/test_nth_call_postgres.py \
	tests/simulation/stateful/test_stateful.py tests/store/test_fencing.py
# What pip-audit says where its service does not know a package, does not answer, or breaks off.
NOT_ASKED := could not be audited|Try another service|ConnectionError|ReadTimeout|ServiceError

# The tests start the program hundreds of times: it is not to be compiled anew each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo versions check test every test-faults test-browser dbt-test simulate bench bench-reports mutate mutate-sample static unit install tools wheel man wheelhouse install-test boot-test kubernetes-test test-image lock \
	audit sbom licences clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## install, a month of made-up nights, demo/report.html and rapport.html; KEEP=1: leave it running
	@KEEP=$(KEEP) $(BIN)/python -m worker.sandbox.demo

versions: ## `make check` on each other Python that the system has, in environments of their own
	@for python in $(wildcard /usr/bin/python3.1[2-4]); do echo "$$python"; \
		$(MAKE) --no-print-directory check PYTHON=$$python VENV=$(VENV)-$${python##*/} || exit 1; done

check: static unit ## format, lint, types, layers and unit tests: under a minute

test: $(TOOLS) ## the static checks beside every test but test-faults and what needs more than Python (starts its own PostgreSQL)
	@$(MAKE) --no-print-directory --jobs 2 static every

# By files, as their fixtures are dear; in their order, as the first folders wait the longest. Their
# modules are compiled first, or each process would compile them all.
every: $(TOOLS)
	@$(BIN)/pytest --collect-only -qq >/dev/null
	@$(BIN)/pytest --numprocesses 8 --dist loadfile --no-loadscope-reorder $(FAULTS:%=--ignore=%)

test-faults: $(TOOLS) ## a sample of: each n-th call fails, sequences on the store alone, each write after the lease is lost
	@$(BIN)/pytest --numprocesses 4 --dist loadfile $(FAULTS)

# axe-core, which judges contrast and names for screen readers, comes from npm where it can be had.
test-browser: $(TOOLS) ## the report and the status page in a real Chromium: phone, laptop and paper
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		{ echo "NOT TESTED: there is no Chromium here (apt-get install chromium)"; exit 0; }; \
	[ -d $(VENV)-browser ] || npm install --silent --no-save --prefix $(VENV)-browser axe-core@4 \
		>/dev/null 2>&1 || echo "NOT TESTED with axe-core: npm cannot give it"; \
	$(BIN)/pytest tests/report/browser_report.py tests/report/browser_status.py

dbt-test: $(TOOLS) ## config/dbt with real dbt, on a PostgreSQL of made-up nights; NOT TESTED if dbt cannot be installed
	@if $(MAKE) --no-print-directory --silent $(DBT)/.made; then \
		$(BIN)/pytest tests/report/dbt_package.py; \
	else echo "NOT TESTED: config/dbt, as dbt cannot be installed here"; fi

simulate: $(TOOLS) ## SEEDS=2000 made-up worlds, each n-th call failing, long sequences, each write fenced
	@$(BIN)/python -m tests.support.simulation.campaign --seeds $(SEEDS) --first $(FIRST) --jobs 2 --nth
	@$(BIN)/pytest tests/simulation/stateful/test_stateful.py --hypothesis-profile long
	@NTH=all $(BIN)/pytest tests/store/test_fencing.py

bench: $(TOOLS) ## the worker beside a bare aiohttp loop, a quarter of an hour; BENCH=--quick
	@$(BIN)/python -m bench $(BENCH)

bench-reports: $(TOOLS) ## what readers of a large database wait for; BENCH="--persons 1000000 --db postgresql"
	@$(BIN)/python -m bench.reports $(BENCH)

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

man: $(RUNTIME) ## the man page, from the commands' help, into dist/pts-worker.1
	@mkdir -p dist && $(BIN)/python -m worker.cli.man > dist/pts-worker.1 && ls dist/pts-worker.1

# The locks stand for any machine; the wheels are for this one's Python and processor.
wheelhouse: wheel ## what a server without a package index needs, into dist/wheelhouse; WITH="otlp oracle"
	@rm -rf dist/wheelhouse && mkdir -p dist/wheelhouse
	@$(BIN)/pip download --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		--dest dist/wheelhouse $(WHEELS:%=-r %)
	@cp dist/pts_sync_worker-*.whl dist/wheelhouse
	@{ printf 'pts-sync-worker==%s ' $$($(BIN)/python -c 'import worker; print(worker.__version__)'); \
		$(BIN)/pip hash dist/wheelhouse/pts_sync_worker-*.whl | tail -n 1; cat $(WHEELS); } \
		> dist/wheelhouse/requirements.txt
	@echo "dist/wheelhouse: take it to the server (docs/operations.md)"

install-test: $(TOOLS) ## docs/operations.md typed into a fresh Debian; needs root and mmdebstrap
	@$(BIN)/python -m tests.support.deployment.fresh_root

boot-test: $(TOOLS) ## the units under a systemd that is booted; needs root, mmdebstrap and cgroups
	@$(BIN)/python -m tests.support.deployment.booted

# Where the programs are: KUBEBUILDER_ASSETS, as for controller-runtime's envtest, or the path.
kubernetes-test: $(TOOLS) ## config/kubernetes on a real API server with its controllers; needs their programs, etcd and kustomize
	@PATH="$$KUBEBUILDER_ASSETS:/usr/local/kubebuilder/bin:$$PATH"; \
	for program in etcd kube-apiserver kube-controller-manager kustomize; do \
		command -v $$program >/dev/null || \
			{ echo "NOT TESTED: there is no $$program here (KUBEBUILDER_ASSETS names its folder)"; exit 0; }; \
	done; $(BIN)/pytest tests/deployment/kubernetes_runs.py

# In a mount namespace of its own, with cgroups as crun wants them.
test-image: $(TOOLS) ## the Dockerfile's two tags built and run with podman; needs root and mmdebstrap
	@unshare --mount mount -t cgroup2 none /sys/fs/cgroup || \
		{ echo "NOT TESTED: no namespace can be made here"; exit 0; }; \
	unshare --mount sh -c 'mount -t cgroup2 none /sys/fs/cgroup; exec "$$@"' sh \
		$(BIN)/pytest tests/deployment/image_runs.py

.PHONY: docs
# A warning is an error: a broken link, or a page that docs/index.md does not name.
docs: ## docs/ as a site, into dist/site; says NOT TESTED if its generator cannot be installed
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
		-r requirements-lock.lock
	$(COMPILE) --output-file requirements.lock pyproject.toml
	@for extra in $(EXTRAS) $(DRIVERS); do \
		$(REQUIREMENTS_OF) $$extra | $(COMPILE) --constraint requirements.lock \
			--output-file requirements-$$extra.lock - || exit 1; done
	@for group in build audit docs lock; do \
		$(COMPILE) --group $$group --output-file requirements-$$group.lock || exit 1; done
# With its extras, as pip asks for their hashes where a package of the group names one.
	@$(COMPILE) --group dbt --no-strip-extras --output-file requirements-dbt.lock
	@$(COMPILE) --group dev $(LOCKS:%=--constraint %) --output-file requirements-dev.lock
	@rm -rf $(VENV)-lock

audit: $(AUDIT)/.made ## known vulnerabilities of what is locked, where their database can be asked
	@$(AUDIT)/bin/pip-audit --progress-spinner off --disable-pip \
		$(RELEASED:%=--requirement %) --requirement requirements-build.lock \
		>$(AUDIT)/found.txt 2>&1; echo $$? >$(AUDIT)/code.txt; cat $(AUDIT)/found.txt
	@code=$$(cat $(AUDIT)/code.txt); \
	if grep -qE "$(NOT_ASKED)" $(AUDIT)/found.txt; then code=0; \
		echo "NOT AUDITED, or not all: the database of vulnerabilities cannot be asked from here"; \
	fi; \
	if grep -qE "^Found [0-9]+ known" $(AUDIT)/found.txt; then code=1; fi; exit $$code

sbom: $(AUDIT)/.made ## what is locked as CycloneDX, into dist/
	@mkdir -p dist
	@for lock in $(RELEASED); do PYTHONWARNINGS=ignore $(AUDIT)/bin/cyclonedx-py requirements --output-reproducible \
		--pyproject pyproject.toml --output-file dist/$${lock%.lock}.cdx.json $$lock || exit 1; done
	@ls dist/*.cdx.json

licences: $(RUNTIME) $(AUDIT)/.made ## the licence of each package, and 1 if one is not allowed
	@$(AUDIT)/bin/pip-licenses --python $(BIN)/python --from mixed --partial-match \
		--ignore-packages pts-sync-worker --allow-only "$(LICENCES)"

clean: ## remove what these targets made
	@rm -rf $(VENV) $(VENV)-* dist demo .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis .schemathesis .coverage htmlcov mutants

$(AUDIT)/.made: requirements-audit.lock
	@$(PYTHON) -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-audit.lock
	@touch $@

$(SITE)/.made: requirements-docs.lock
	@$(PYTHON) -m venv --clear $(SITE)
	@$(SITE)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-docs.lock
	@touch $@

$(DBT)/.made: requirements-dbt.lock
	@$(PYTHON) -m venv --clear $(DBT)
	@$(DBT)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-dbt.lock
	@touch $@

static: $(TOOLS)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: $(TOOLS)
	@$(BIN)/pytest --numprocesses 2 tests/unit tests/architecture

$(MADE):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 15) else \
		"Python 3.11 to 3.14 is needed, %s is %d.%d: say make PYTHON=python3.13" % ((sys.executable,) + v))'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUNTIME): $(MADE) $(LOCKS) requirements-build.lock pyproject.toml worker/__init__.py
	@echo "installing the worker into $(VENV)"
	@$(PIP_INSTALL) --require-hashes $(LOCKS:%=-r %) -r requirements-build.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(TOOLS): $(RUNTIME) requirements-dev.lock
	@echo "installing the tests' tools into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
