# Every target installs what it needs into .venv first; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FOOTAGE := build/footage
SLOW := "slow and not gpu and not live"
PYTEST := $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
# The tests of an area: every folder of that name below tests/.
WHERE = $(if $(AREA),$(or $(shell find tests -name $(AREA) -type d -not -path '*/standin/*'),\
	$(error no folder below tests/ is called $(AREA))))
# Tests start hundreds of processes that import the product: each file is compiled once.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo sandbox check test test-slow campaign lint format bench clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(STAMP) ## Install into .venv (torch's CPU build among it)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev,local]'
	@# On all cores, unlike pip; some packages carry templates that are not Python.
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

demo: $(STAMP) ## Play the main job through chat without any account; BACKEND=modal-loopback: on Modal's client
ifeq ($(BACKEND),modal-loopback)
	$(BIN)/python -m tests.wire.modal.play
else ifeq ($(BACKEND),)
	$(BIN)/lorabot demo
else
	$(error BACKEND is modal-loopback, or not given)
endif

sandbox: $(STAMP) ## Open the chat page for a person; state in sandbox-home/
	$(BIN)/lorabot sandbox --home sandbox-home

check: lint test ## Run what must pass before a commit: format, lint, types and the tests

test: $(STAMP) ## Run the tests but the slow ones; AREA=dataset: those in folders of that name
	$(PYTEST) $(WHERE)

test-slow: $(STAMP) ## Run the slow tests: kill loops, long clocks, whole runs; AREA as above
	$(PYTEST) -m $(SLOW) $(WHERE)

campaign: $(STAMP) ## Run the tests that make up their examples with 20 times as many
	$(PYTEST) -m "hypothesis and not gpu and not live" --hypothesis-profile campaign $(WHERE)

lint: $(STAMP) ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(STAMP) ## Format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure speed as ratios within one run
	$(BIN)/python -m tests.bench.bench_merge --gigabytes 2
	$(BIN)/python -m tests.bench.bench_dataset --clips 60 --folder $(FOOTAGE)
	$(BIN)/python -m tests.bench.bench_memory --gigabytes 5 --folder $(FOOTAGE)
	$(BIN)/python -m tests.bench.bench_loop --gigabytes 1 --folder $(FOOTAGE)
	$(BIN)/python -m tests.bench.bench_fuzz --zips 10000

clean: ## Remove what the targets made, .venv included
	rm -rf $(VENV) demo-output sandbox-home build *.egg-info
