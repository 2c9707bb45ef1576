# The seven verbs of this project, and `make help`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
.DEFAULT_GOAL := help
.PHONY: help install demo test check lint format bench clean

help: ## say what each verb does
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

install: $(STAMP) ## create .venv with the locked packages (nothing to do if nothing changed)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("affuse needs Python >= 3.11; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: install ## a full multimodal study on a synthetic corpus, and its report (about two minutes)
	$(BIN)/affuse demo

test: install ## all tests that need nothing but this checkout
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not real_data"

lint: install ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test ## what CI runs: lint, types, tests, and real recordings when AFFUSE_REAL_DATA names them
	@if [ -n "$$AFFUSE_REAL_DATA" ]; then \
	  $(BIN)/python -m pytest -m real_data; \
	else echo "AFFUSE_REAL_DATA is not set: the tests on real recordings were left out"; fi

format: install ## put the code into its standard form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## measure speed, as ratios against the straightforward way
	$(BIN)/python -m benchmarks

clean: ## remove the environment and caches (what was run, ./runs, stays)
	rm -rf .venv *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
