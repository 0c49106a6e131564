# Every target does its own set-up: Python 3.11 or later with venv and pip, and the Python package
# index, are enough. pip reads its own settings; a place that offers the CPU build of torch saves
# gigabytes, and PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL points pip at it.

PYTHON ?= python3
CORPORA ?=
PYTEST_ARGS ?=
WORKERS ?= 2

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

TOO_OLD := "Python 3.11 or later is needed: make PYTHON=python3.11"

PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast check docs bench bench-speed browser render

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/.installed  ## the whole story on real text
	$(BIN)/btu demo

# One torch thread: several threads on a shared machine make small tensors many times slower.
# Neighbours stay on one worker as long as both are busy: they share what their file trained.
test: .venv/.installed  ## the tests, offline once the material is in the cache
	$(BIN)/python -m btu.data.packages
	$(PYTEST) -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-fast: .venv/.installed  ## what trains nothing
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not trains" $(PYTEST_ARGS)

check: .venv/.installed  ## lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: .venv/.installed  ## the documentation site, in build/docs; a warning is an error
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m sphinx -E -W --keep-going -q -d build/doctrees docs build/docs

bench: .venv/.installed  ## run what has no result yet (CORPORA=folder of corpora)
	$(BIN)/btu bench run benchmark/experiments $(if $(CORPORA),--corpora "$(CORPORA)")
	$(BIN)/btu bench table --output docs/benchmark.md --figures docs/figures
	$(BIN)/btu bench table --output README.md

bench-speed: .venv/.installed  ## time and memory (CORPORA=folder of corpora, optional)
	$(BIN)/python -m tools.speed $(if $(CORPORA),--corpora "$(CORPORA)")
	$(BIN)/python -m tools.startup

render: .venv/.installed  ## write the numbers of README and docs from committed results
	$(BIN)/python -m tools.readme

browser: .venv/.installed tests/browser/node_modules  ## check the HTML report in Chromium (needs node, chromium)
	$(BIN)/python tests/browser/render_pages.py build/pages
	node tests/browser/check_report.mjs --screenshots build/screenshots build/pages/*.html

tests/browser/node_modules: tests/browser/package.json tests/browser/package-lock.json
	npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund
	@touch $@

# torch comes first and alone: pip then takes the build that its index or find-links prefers, and
# no other package can pull in a different one.
.venv/.installed: pyproject.toml constraints.txt
	@echo "Setting up .venv (once; some minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and $(TOO_OLD))'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@$(PIP_INSTALL) torch
	@$(PIP_INSTALL) -e '.[demo,test,bench,docs]'
	@touch $@
