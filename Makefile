# One command runs the demo, one the tests, one checks everything. Each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
# Tests start hundreds of processes: each would compile all modules anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test faults fuzz check lint types contracts ansible-lint bench run clean

help:
	@echo "make demo    the main job on an empty machine: one API call becomes a running VM"
	@echo "make test    all tests"
	@echo "make faults  every request of every job meets every trouble, into docs/reliability.md"
	@echo "make fuzz    many more made-up requests than the tests send, others each time"
	@echo "make check   formatting, lint, types, import contracts, ansible-lint, and all tests"
	@echo "make bench   benchmarks, into docs/benchmarks.md"
	@echo "make run     service and worker with the settings of the environment"
	@echo "make clean   remove what the others made"

demo: $(VENV)/.runtime
	@$(BIN)/jotunheim demo

test: $(VENV)/.dev
	@$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

faults: $(VENV)/.dev
	@$(BIN)/pytest tests/faults --faults --numprocesses 5 --dist worksteal

fuzz: $(VENV)/.dev
	@seed=$$(date +%s); echo "--fuzz-seed $$seed"; \
	$(BIN)/pytest tests/fuzz --fuzz-examples 50 --fuzz-seed $$seed --numprocesses auto --dist worksteal

# The linters beside each other: what each has to say is shown in one piece.
check: $(VENV)/.dev
	@$(MAKE) --no-print-directory --jobs --output-sync=target lint types contracts ansible-lint
	@$(MAKE) --no-print-directory test

lint: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/.dev
	$(BIN)/mypy --exclude '^jotunheim/collections/'
	MYPYPATH=jotunheim/collections $(BIN)/mypy --explicit-package-bases jotunheim/collections/ansible_collections

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

ansible-lint: $(VENV)/.dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

run: $(VENV)/.runtime
	$(BIN)/jotunheim up

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .ansible

$(BIN)/python:
	@.make/venv $(VENV) $(PYTHON) || { rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing Jotunheim into $(VENV) …"
	@$(PIP) --editable '.[sandbox]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Installing the development tools into $(VENV) …"
	@$(PIP) --editable '.[sandbox,postgres,redis,dev]'
	@touch $@
