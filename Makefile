# Every target installs what it needs into .venv first; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FOOTAGE := build/footage
SLOW := "slow and not gpu and not live"

.DEFAULT_GOAL := help
.PHONY: help install demo sandbox test test-slow lint format bench clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(STAMP) ## Install into .venv (torch's CPU build among it)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev,local]'
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

test: $(STAMP) ## Run every test but the slow ones
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP) ## Run the slow tests: kill loops, long clocks, many examples, whole runs over again
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m $(SLOW) \
		--ignore-glob '*/wire/modal/test_modal_runs_*' --ignore-glob '*/wire/modal/test_modal_bot_*'
	@# What they measure is time, and each has containers enough for all cores: one after the other.
	$(BIN)/pytest -m $(SLOW) tests/wire/modal/test_modal_runs_*.py tests/wire/modal/test_modal_bot_*.py

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
