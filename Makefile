# Everything runs in .venv, which is built from pyproject.toml when it is first needed. There is one environment and
# two stamps: `make run` waits for the package and its extra only, the tools come with the first target that needs them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/run.stamp
DEV := $(VENV)/dev.stamp
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: run test slow chaos soak lint types docs bench bench-report clean help

run: $(RUN) ## keep the demo's feeds alive: make run ARGS="--for 20"
	@$(BIN)/feedwarden run $(ARGS)

SEEDS := $(patsubst %,tests/test_%.py,simulation chaos_command merged_venues slow_consumers rejected_codes rhythm silences changing_lists)

test: lint types ## lint, types, import contracts and every test under 5 s; no coverage of long simulations, which it would double
	$(BIN)/pytest -n 3 -m "not slow" $(addprefix --ignore=,$(SEEDS)) --cov --cov-report=term $(ARGS)
	$(BIN)/pytest -n 2 -m "not slow" $(SEEDS)

# exit code 5 is pytest's "nothing was collected": said aloud, and no failure
slow: $(DEV) ## the tests of 5 s of real time or more
	@$(BIN)/pytest -n 4 -m slow $(ARGS) || { code=$$?; test $$code -eq 5 && echo "no test is marked slow"; }

chaos: $(DEV) ## a feed-year of simulations, or as long as told: make chaos ARGS="--hours 10"
	@$(BIN)/feedwarden chaos $(or $(ARGS),--hours 4380 --feeds 2 --seed 1)

soak: $(DEV) ## 100 TLS feeds through the fault proxy in real time, 10 minutes or ARGS="60"; chart: build/soak.svg
	@$(BIN)/python -m tests.soak $(or $(ARGS),600) build/soak.svg

lint: $(DEV) ## ruff, flake8-async and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/flake8
	$(BIN)/lint-imports

types: $(DEV) ## basedpyright, strict, tests included
	$(BIN)/basedpyright

docs: $(DEV) ## the documentation, into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(DEV) ## what the hot paths cost on this machine, beside their peers
	@$(BIN)/python -m tests.bench

bench-report: $(DEV) ## every cell of the benchmark, into docs/performance.md; ARGS=--goals: only those with goals
	@$(BIN)/python -m tests.bench.report $(ARGS)

clean: ## remove everything that make has built, .venv included
	rm -rf $(VENV) build dist docs/_build .coverage .coverage.* .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find actors supervisors tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# pip --group needs pip 25.1, and a fresh venv may bring an older one
$(RUN): pyproject.toml
	@echo "building $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade "pip>=25.1"
	@$(PIP) --editable ".[standalone]"
	@touch $@

$(DEV): $(RUN)
	@echo "installing the development tools into $(VENV)"
	@$(PIP) --group dev
	@touch $@
