# TokenRouter. `make help` lists what there is; `make run` and `make test` are all that is needed.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK_FLAGS := --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test test-slow test-node check format bench docs matrix snapshots lock wheel clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.run ## start the gateway on 127.0.0.1:8080 (PORT changes it)
	@$(BIN)/tokenrouter serve --print-keys

test: $(VENV)/.dev ## all tests but the slow ones
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow and not node"

test-slow: $(VENV)/.dev ## the slow ones
	@$(BIN)/python -m pytest -m slow

test-node: $(VENV)/.dev ## the vendors' JavaScript clients (needs node and npm)
	@$(BIN)/python -m pytest -m node -rs

check: $(VENV)/.dev ## style, types, layers, generated pages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python docs/pages.py --check

format: $(VENV)/.dev ## bring the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev ## what a request costs (docs/benchmarks in README)
	@$(BIN)/python -m benchmarks.bench_overhead

docs: $(VENV)/.dev ## write the pages that are made from code
	@$(BIN)/python docs/pages.py

matrix: $(VENV)/.dev ## measure what reaches whom; look at the diff
	@$(BIN)/python -m pytest tests/contract/test_matrix.py --matrix-update
	@$(BIN)/python docs/pages.py

snapshots: $(VENV)/.dev ## accept changed snapshots; look at the diff
	@$(BIN)/python -m pytest tests/snapshot --snapshot-update

lock: $(VENV)/.dev ## renew the lock files
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile $(LOCK_FLAGS) pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile $(LOCK_FLAGS) pyproject.toml --extra test --extra check -c requirements.lock -o requirements-dev.lock

wheel: $(VENV)/.dev ## build the package
	@$(BIN)/python -m pip wheel --no-deps -w dist .

clean: ## remove what make made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing: install Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "venv is missing: on Debian and Ubuntu, sudo apt install python3-venv"; exit 1; }

$(VENV)/.run: pyproject.toml requirements.lock | $(BIN)/python
	@echo "installing…"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

$(VENV)/.dev: pyproject.toml requirements-dev.lock $(VENV)/.run
	@echo "installing what tests and checks need…"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	@touch $@
