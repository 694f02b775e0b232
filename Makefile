# Run `make` for the list of targets.

# The Python that the virtual environments are made from, 3.11 or newer.
PYTHON ?= python3
# The same for the oldest supported releases, which need 3.11 or 3.12.
OLDEST_PYTHON ?= $(shell command -v python3.11 || echo $(PYTHON))
# More arguments for pytest, such as: make test PYTEST_ARGS='-m "not slow"'
PYTEST_ARGS ?=

VENV := .venv
OLDEST_VENV := .venv-oldest
CODE := skvaball tests examples benchmarks docs/conf.py

# One process a core with one thread each, array inputs other than numpy's, and no windows.
TEST_ENV := OMP_NUM_THREADS=1 SCIPY_ARRAY_API=1 MPLBACKEND=Agg
PYTEST := bin/python -m pytest -n auto

# Whether `make docs` runs the examples; with 0 it takes half a minute.
DOCS_EXAMPLES ?= 1
DOCS_ENV := OMP_NUM_THREADS=1 MPLBACKEND=Agg DOCS_EXAMPLES=$(DOCS_EXAMPLES)

MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# A Python that is named is not ignored because there is an environment of another one.
ifeq ($(origin PYTHON) $(wildcard $(VENV)/bin/python),command line $(VENV)/bin/python)
VERSION := -c 'import sys; print(*sys.version_info[:2])'
ifneq ($(shell $(PYTHON) $(VERSION) 2>&1),$(shell $(VENV)/bin/python $(VERSION) 2>&1))
$(error $(VENV) has another Python than PYTHON=$(PYTHON): run `make clean` first)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help install test lint format docs demo bench test-oldest dist clean

help: ## Show this list
	@echo "Usage: make TARGET [PYTHON=python3.12]"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' Makefile

# make_venv NAME FOLDER TARGET: a virtual environment, with a working pip, of the Python
# that the variable NAME holds. On Debian, the module that makes it is a package
# of its own, which root may install.
define make_venv
$($(1)) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "skvaball needs Python 3.11 or newer; '$($(1))' is: $$($($(1)) --version 2>&1)" >&2; \
	echo "Name another one, for example: make $(3) $(1)=python3.12" >&2; \
	exit 1; }; \
if ! $($(1)) -c 'import venv, ensurepip' 2>/dev/null \
	&& [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
	{ apt-get update -qq && apt-get install -y -qq python3-venv; } >&2 || true; \
fi; \
$($(1)) -c 'import venv, ensurepip' 2>/dev/null || { \
	echo "'$($(1))' cannot make virtual environments: venv or ensurepip is missing." >&2; \
	echo "On Debian and Ubuntu, install the package python3-venv." >&2; \
	exit 1; }; \
$(2)/bin/python -m pip --version >/dev/null 2>&1 || $($(1)) -m venv --clear $(2)
endef

install: $(VENV)/.installed ## Install the package and the tools in .venv

# Nothing is done again until pyproject.toml changes.
$(VENV)/.installed: pyproject.toml
	@$(call make_venv,PYTHON,$(VENV),install)
	@$(VENV)/bin/python -m pip install -e '.[dev]'
	@touch $@

test: install lint ## Check style and types, then run the tests
	@$(TEST_ENV) $(VENV)/$(PYTEST) $(PYTEST_ARGS)

lint: install ## Check style, formatting and types
	@$(VENV)/bin/ruff check $(CODE)
	@$(VENV)/bin/ruff format --check $(CODE)
	@$(VENV)/bin/mypy

format: install ## Format the code, and fix what can be fixed
	@$(VENV)/bin/ruff check --fix $(CODE)
	@$(VENV)/bin/ruff format $(CODE)

docs: install ## Build the documentation in docs/_build/html, and run its examples and programs
	@$(DOCS_ENV) $(VENV)/bin/python -m sphinx -b html -q -W --keep-going docs docs/_build/html
	@[ $(DOCS_EXAMPLES) = 0 ] || $(TEST_ENV) $(VENV)/$(PYTEST) -q -m pages tests/test_docs.py

demo: install ## Run the demo
	@$(VENV)/bin/skvaball demo

bench: install ## Run the benchmarks, one after the other; some write JSON to build/bench
	@mkdir -p build/bench
	@set -e; for script in benchmarks/bench_*.py; do \
		echo "== $$script"; \
		name=$$(basename "$$script" .py); \
		json=$$(grep -q '"--json"' "$$script" && echo "--json build/bench/$$name.json" || true); \
		$(VENV)/bin/python "$$script" $$json; \
	done

test-oldest: $(OLDEST_VENV)/.installed ## Run the tests with the oldest supported releases
	@$(TEST_ENV) $(OLDEST_VENV)/$(PYTEST) $(PYTEST_ARGS)

$(OLDEST_VENV)/.installed: pyproject.toml requirements-oldest.txt
	@$(call make_venv,OLDEST_PYTHON,$(OLDEST_VENV),test-oldest)
	@$(OLDEST_VENV)/bin/python -m pip install -e '.[test]' -c requirements-oldest.txt
	@touch $@

dist: install ## Build the source archive and the wheel in dist/
	@$(VENV)/bin/python -m build

clean: ## Remove what the other targets made, .venv included
	@rm -rf $(VENV) $(OLDEST_VENV) build dist skvaball.egg-info skvaball-demo
	@rm -rf docs/_build docs/auto_examples docs/api/generated docs/api/backreferences
	@rm -f docs/sg_execution_times.rst
	@rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find $(wildcard $(CODE)) -name __pycache__ -prune -exec rm -rf {} +
