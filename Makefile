# `make help` lists the targets. Everything is installed into this folder (.venv, .venv-gen, .tools),
# except the peers of the tests, which are Debian packages.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The Python that the environments are made with: 3.11 or newer.
PYTHON ?= python3
# With ONCE=1, `make run` ends after one pull.
ONCE ?=
# More arguments for pytest (`make test`) or the benchmark (`make bench`).
ARGS ?=

BIN := .venv/bin
# pip repeats requests; a whole run is repeated for what it does not (an index that is cut short).
PIP_RUN := -m pip --disable-pip-version-check --no-input
PIP := .ci/retry $(BIN)/python $(PIP_RUN)
MANIFESTS := pyproject.toml clients/python/pyproject.toml constraints.txt
CHECKED := $(wildcard server clients/python tests bench protos/generate.py)

export PYTHON
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- set-up: each stamp is older than what it depends on, or nothing is done ------------------

.PHONY: setup
setup: setup-run setup-dev setup-gen setup-peers setup-clients ## Install all that work on imgd needs

.PHONY: setup-run
setup-run: .venv/.run ## Install the daemon, the client and imgctl only

.PHONY: setup-dev
setup-dev: .venv/.dev ## Install the tools that test and check, too

.PHONY: setup-gen
setup-gen: .venv-gen/.done ## Install the generator of the stubs, in an environment of its own

.PHONY: setup-peers
setup-peers: .tools/.peers-test ## Install the real programs that the tests run against

.PHONY: setup-clients
setup-clients: ## Install what the clients of all languages need
	.ci/clients setup

setup-%: clients/%/tasks ## Install what one language's client needs
	.ci/clients setup $*

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "imgd needs Python 3.11 or newer; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.run: .venv/.made $(MANIFESTS)
	$(PIP) install --quiet --constraint constraints.txt hatchling
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation \
		--editable 'clients/python[cli]' --editable .
	@touch $@

.venv/.dev: .venv/.run
	$(PIP) install --quiet --constraint constraints.txt --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt --group dev
	@touch $@

.venv-gen/.done: protos/requirements.txt
	$(PYTHON) -m venv .venv-gen
	.ci/retry .venv-gen/bin/python $(PIP_RUN) install --quiet --requirement protos/requirements.txt
	@touch $@

# The script makes the stamp itself, and only when no peer is missing.
.tools/.peers-%: .ci/install-peers .ci/apt-install .ci/retry
	.ci/install-peers $*

# --- run -------------------------------------------------------------------------------------

.PHONY: run
run: setup-run ## Start a daemon with sample images and pull one (ONCE=1: then stop)
	@$(BIN)/imgd demo $(if $(ONCE),--once)

# --- test ------------------------------------------------------------------------------------

.PHONY: test
test: setup-dev setup-peers ## Run all tests, with the coverage gate (ARGS=... for pytest), then the clients'
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)
	.ci/clients test
	$(MAKE) --no-print-directory conformance

# The runner ends with 3 where a client is missing: loud everywhere, and a failure in CI.
CONFORM = PYTHONPATH=clients/python/conformance $(BIN)/python -m tests.conformance \
	$(1) $(ARGS) || { status=$$?; [[ $$status == 3 && "$${CI-}" != true ]]; }

.PHONY: conformance
conformance: setup-dev ## Run the conformance cases against the clients of all languages
	.ci/clients build
	$(call CONFORM,)

conformance-%: setup-dev clients/%/tasks ## The same for one language
	.ci/clients build $*
	$(call CONFORM,$*)

test-%: setup-dev clients/%/tasks ## Run one client's own tests
	.ci/clients test $*

# The suite's own report is printed, and its files (HTML, JUnit) are left in .tools/conformance.
.PHONY: conformance-registry
conformance-registry: setup-dev setup-peers ## Run OCI's conformance suite against the registry inside, and show its report
	IMGD_CONFORMANCE_REPORT=.tools/conformance $(BIN)/python -m pytest -rA --no-header \
		tests/integration/test_distribution_conformance.py $(ARGS)

.PHONY: bench
bench: setup-run ## Install what peers there are, and measure all side by side (ARGS=... to choose)
	$(BIN)/python -m bench $(ARGS)

# --- check: never writes into the sources ------------------------------------------------------

.PHONY: verify
verify: check-files check-style check-types check-rooms check-protos check-generated check-clients ## Run every check; change nothing

# A file that git does not know works here, and is missing for everybody else.
.PHONY: check-files
check-files:
	@if unknown=$$(git ls-files --others --exclude-standard 2>/dev/null) && [ -n "$$unknown" ]; then \
		printf 'git does not know these files; add or ignore them:\n%s\n' "$$unknown" >&2; exit 1; \
	fi

.PHONY: check-style
check-style: setup-dev
	$(BIN)/ruff check --no-fix .
	$(BIN)/ruff format --check .

.PHONY: check-types
check-types: setup-dev
	$(BIN)/mypy $(CHECKED)

.PHONY: check-rooms
check-rooms: setup-dev
	$(BIN)/lint-imports --no-logo

.PHONY: check-protos
check-protos: setup-dev
	$(BIN)/buf lint protos
	$(BIN)/buf format --exit-code --diff protos
	$(BIN)/buf breaking protos --against protos/baseline.binpb

.PHONY: check-generated
check-generated: setup-gen
	.venv-gen/bin/python protos/generate.py --check

.PHONY: check-clients
check-clients:
	.ci/clients check

.PHONY: fix
fix: setup-dev ## Repair style: ruff's fixes, the format of Python and protos
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/buf format --write protos

# --- what is made from other files, and committed ----------------------------------------------

.PHONY: generate
generate: setup-gen ## Make the stubs and docs/errors.md anew from the protos
	.venv-gen/bin/python protos/generate.py
	.ci/clients generate

.PHONY: baseline
baseline: setup-dev ## At a release only: what `buf breaking` compares with becomes today's protos
	$(BIN)/buf build protos --exclude-source-info --output protos/baseline.binpb

.PHONY: pins
pins: ## Make constraints.txt anew with today's releases
	rm -rf .tools/pins
	$(PYTHON) -m venv .tools/pins
	.tools/pins/bin/python -m pip install --quiet --upgrade pip
	.tools/pins/bin/python -m pip install --quiet hatchling --group dev \
		--editable 'clients/python[cli]' --editable .
	{ sed -n '/^#/p' constraints.txt; \
	  .tools/pins/bin/python -m pip freeze --all --exclude-editable --exclude setuptools; } > .tools/pins.txt
	mv .tools/pins.txt constraints.txt
	rm -rf .tools/pins

.PHONY: clean
clean: ## Remove environments, tools, caches and reports
	rm -rf .venv .venv-gen .tools .mypy_cache .pytest_cache .ruff_cache .import_linter_cache \
		.hypothesis htmlcov .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
