# Two commands matter: `make demo` and `make test`. Both get everything that they need first.
# PYTHON names the interpreter to build on; without it uv takes any Python 3.11 to 3.14 that it finds.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
PACKAGES := api pipeline training search sql policies catalog infra
# uv as the machine has it, or else our own copy of it.
UV := $(or $(shell command -v uv),.uv/bin/uv)
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"
CHECKS := check-format check-lint check-types check-imports check-docs check-tree

.PHONY: help install demo test parity check bench lock docs $(CHECKS)

help:  ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: .venv/installed  ## Make .venv, with sluice and everything that tests need

demo: install  ## Start a complete example: lake, users, API (ARGS="--port 8001")
	@$(BIN)/sluice demo $(ARGS)

test: install .clients/dbt/installed .clients/harlequin/installed  ## Run every test (ARGS="tests/policies -k masks")
	@$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not parity" $(ARGS)

parity: install  ## Ask the same questions through DuckDB, Trino with its access control, the rewriter, and Trino alone
	@$(BIN)/pytest -m parity $(ARGS)

check: install  ## Format, lint, types, import rules, docs, structure
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target $(CHECKS)

check-format:
	@$(BIN)/ruff format --check --quiet . && echo "format: as ruff writes it"

check-lint:
	@$(BIN)/ruff check --quiet . && echo "lint: clean"

check-types:
	@$(BIN)/mypy

check-imports:
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

docs: install  ## Renew the tables in docs/ that are written from the code
	@PYTHONPATH=. $(BIN)/cog -I docs -r docs/*.md

check-docs:
	@PYTHONPATH=. $(BIN)/cog -I docs --check docs/*.md
	@$(BIN)/pytest -q -p no:cacheprovider tests/test_docs.py -k "not marked_to_run"

check-tree:
	@$(BIN)/pytest -q -p no:cacheprovider tests/test_structure.py

bench: install  ## Measure beside the peers, into bench/results/
	@$(BIN)/python -m bench.run $(ARGS)

lock: $(UV)  ## Resolve the dependencies anew, within pyproject.toml's bounds
	$(COMPILE) $(ARGS) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) $(ARGS) pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(COMPILE) $(ARGS) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) $(ARGS) requirements/dbt.in -o requirements/dbt.txt
	$(COMPILE) $(ARGS) requirements/harlequin.in -o requirements/harlequin.txt

.venv/installed: pyproject.toml requirements/dev.txt | $(UV)
	test -x $(BIN)/python || $(UV) venv --quiet --python '$(or $(PYTHON),>=3.11,<3.15)' .venv
	VIRTUAL_ENV=.venv $(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Tools of analysts that tests/clients runs, each in an environment of its own.
.clients/%/installed: requirements/%.txt | $(UV)
	test -x .clients/$*/bin/python || $(UV) venv --quiet --python '$(or $(PYTHON),>=3.11,<3.15)' .clients/$*
	VIRTUAL_ENV=.clients/$* $(UV) pip install --quiet --require-hashes -r $<
	touch $@

# A Python without the venv module, or one that its distribution manages (PEP 668), still installs into a folder.
.uv/bin/uv: requirements/uv.txt
	rm -rf .uv
	$(or $(PYTHON),python3) -m venv .uv 2>/dev/null && .uv/bin/pip install --quiet --require-hashes -r $< \
	|| { rm -rf .uv; $(or $(PYTHON),python3) -m pip install --quiet --target .uv --require-hashes -r $<; } \
	|| { echo "uv can't be installed: this Python has neither venv nor pip (on Debian: apt-get install python3-venv)" >&2; exit 1; }
	touch $@
