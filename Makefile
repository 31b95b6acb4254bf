# Two commands for a newcomer: `make demo` and `make test`. Both make .venv first where it is absent or outdated.
# They need Python 3.11 or newer; with a C compiler the tests also compare with pyradiomics.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-slow lint types site package clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# The user's knobs: make demo DATA=my.csv RUN=my-run TIME_LIMIT=10min;  make test ARGS="-k folds".
DATA       ?=
RUN        ?= demo-run$(if $(DATA),-$(basename $(notdir $(DATA))))
TIME_LIMIT ?=
ARGS       ?=

# pyradiomics, which tests compare with, is built from source, so it needs a compiler and Python's headers:
# preprocessing Python.h asks for both at once. The answer is in the stamp's name: a compiler installed later makes
# the environment outdated, and the extra follows.
CAN_COMPILE := $(shell \
	cc=$${CC:-$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")' 2>/dev/null)}; \
	include=$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_paths()["include"])' 2>/dev/null); \
	$${cc:-cc} -E -x c -I"$$include" -include Python.h /dev/null >/dev/null 2>&1 && echo yes)
ifdef CAN_COMPILE
EXTRAS := oracle,lightgbm,onnx,dask,docs,dev
STAMP  := $(VENV)/.installed-with-oracle
else
EXTRAS := lightgbm,onnx,dask,docs,dev
STAMP  := $(VENV)/.installed-without-oracle
endif

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with everything in it, or bring it up to date

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) found: install Python 3.11 or newer, or name yours with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: autoonco needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1): name another with PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) can't make an environment: install its venv module (Debian: python3-venv) and try again" >&2; exit 1; }
ifndef CAN_COMPILE
	@echo "make: no C compiler with Python's headers found (Debian: gcc python3-dev): tests skip the comparison with pyradiomics, which needs them." >&2
endif
	$(BIN)/python -m pip install -c constraints.txt -e ".[$(EXTRAS)]"
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: $(STAMP) ## Run the main job on built-in phantoms, or on your scans with DATA=manifest.csv
	$(BIN)/autoonco demo $(if $(DATA),"$(DATA)") -o "$(RUN)" $(if $(TIME_LIMIT),--time-limit "$(TIME_LIMIT)")
	@echo "The report is $(RUN)/report/index.html"

# Tests marked `alone` keep a time limit or watch memory, so nothing runs beside them; the others share the cores.
# $(call pytest,MARKERS) runs them both, and fails if either does; 5 means that ARGS chose none of them.
define pytest
	@echo "$(BIN)/python -m pytest -m '$(1)' $(ARGS)"
	@status=0; \
	$(BIN)/python -m pytest -m "$(1) and alone" $(ARGS) || test $$? -eq 5 || status=1; \
	$(ONE_THREAD) $(BIN)/python -m pytest -m "$(1) and not alone" $(SIDE_BY_SIDE) $(ARGS) || test $$? -eq 5 || status=1; \
	exit $$status
endef
ONE_THREAD   := env OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
SIDE_BY_SIDE := --numprocesses=auto --maxprocesses=4 --dist=worksteal

test: $(STAMP) ## Run the fast tests
	$(call pytest,not slow and not gpu)

test-slow: $(STAMP) ## Run the long rest of the tests
	$(call pytest,slow and not gpu)

lint: $(STAMP) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## Check the types, strictly
	$(BIN)/mypy

site: $(STAMP) ## Build the documentation into build/site; a warning is an error
	@rm -rf build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@test "$$(wc -c <build/site/api/index.html)" -gt 20000 # the reference is there
	@! grep -rq fonts.googleapis build/site --include=*.html

package: $(STAMP) ## Build sdist and wheel into dist/ and run the demo from the wheel, elsewhere
	VENV="$(VENV)" bash .ci/package

clean: ## Remove demo runs and what the tools left; .venv stays
	rm -rf demo-run demo-run-* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find autoonco spaces zoo reports tests -name __pycache__ -type d -prune -exec rm -rf {} +
