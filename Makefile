# Every target installs what it needs into .venv first; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FOOTAGE := build/footage
SLOW := "slow and not gpu and not live"
ALL := "not gpu and not live"
# Many tests wait for processes and clocks, so on few cores each runs two workers of about 700 MB.
WORKERS := $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? 2 * n : n)))
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
# The tests of an area: every folder of that name below tests/.
WHERE = $(if $(AREA),$(or $(shell find tests -name $(AREA) -type d -not -path '*/standin/*'),\
	$(error no folder below tests/ is called $(AREA))))
# Keep compiled files: tests start hundreds of processes that import the product.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo sandbox check test test-slow test-all campaign chaos kills damage abuse fuzz image-check upload lint format bench load clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(STAMP) ## Install everything into .venv, including torch's CPU build

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev,local]'
	@# pip compiles on one core, this on all. Ignore errors: some packages hold templates, not Python.
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

demo: $(STAMP) ## Play a whole session in chat without any account; BACKEND=modal-loopback uses Modal's client
ifeq ($(BACKEND),modal-loopback)
	$(BIN)/python -m tests.wire.modal.play
else ifeq ($(BACKEND),)
	$(BIN)/lorabot demo
else
	$(error BACKEND is modal-loopback, or not given)
endif

sandbox: $(STAMP) ## Open the chat page in your browser; keeps its state in sandbox-home/
	$(BIN)/lorabot sandbox --home sandbox-home

check: lint test ## Run everything that must pass before a commit: format, lint, types and tests

test: $(STAMP) ## Run all tests but the slow ones; AREA=dataset runs those in folders of that name
	$(PYTEST) $(WHERE)

test-slow: $(STAMP) ## Run the slow tests: kill loops, long clocks, whole runs; AREA works here too
	$(PYTEST) -m $(SLOW) $(WHERE)

test-all: $(STAMP) ## Run both at once, which is faster than one after the other
	$(PYTEST) -m $(ALL) $(WHERE)

campaign: $(STAMP) ## Run the property tests with 20 times as many examples
	$(PYTEST) -m "hypothesis and not gpu and not live" --hypothesis-profile campaign $(WHERE)

chaos: $(STAMP) ## Train pairs on the stand-in for Modal with 200 random faults; SEED=2 for others
	$(BIN)/python -m tests.wire.modal.chaos --seed $(or $(SEED),1)

kills: $(STAMP) ## Kill every process at random, 200 times, while people upload and train; SEED=2 for others
	$(BIN)/python -m tests.campaigns.kills --seed $(or $(SEED),1) --kills $(or $(KILLS),200)

damage: $(STAMP) ## Damage 60 files of a home, one after the other, and tell what comes of each; SEED=2 for others
	$(BIN)/python -m tests.campaigns.damage --seed $(or $(SEED),1) --files $(or $(FILES),60)

abuse: $(STAMP) ## Ask a bot with 300 live runs for an hour amid outages, limits and kills; MINUTES, SEED, LIVE
	$(BIN)/python -m tests.campaigns.abuse --seed $(or $(SEED),1) --minutes $(or $(MINUTES),60) --live $(or $(LIVE),300)

fuzz: $(STAMP) ## Feed 10,000 damaged zips to the dataset checks and the repair
	$(BIN)/python -m tests.bench.bench_fuzz --zips 10000

image-check: $(STAMP) ## Build all images' packages in a clean Debian and import them; as root, with LORABOT_MUSUBI_DIR
	$(BIN)/python -m tests.images.check

upload: $(STAMP) ## Send a set of 300 MiB from a browser to both back-ends, cut, restart, train and download
	LORABOT_UPLOAD_MIB=300 $(BIN)/pytest -m $(SLOW) tests/wire/web/test_web_upload_page.py

lint: $(STAMP) ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(STAMP) ## Format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure speed as ratios within one run
	$(BIN)/python -m tests.bench.bench_merge --gigabytes 2
	$(BIN)/python -m tests.bench.bench_dataset --clips 60 --folder $(FOOTAGE)
	$(BIN)/python -m tests.bench.bench_memory --gigabytes 5 --folder $(FOOTAGE)
	$(BIN)/python -m tests.bench.bench_loop --gigabytes 1 --folder $(FOOTAGE)
	$(BIN)/python -m tests.bench.bench_transfers --gigabytes 1

load: $(STAMP) ## Measure how long people wait while 500 runs are live, beside an idle bot
	$(BIN)/python -m tests.bench.bench_load

clean: ## Remove everything that the targets made, including .venv
	rm -rf $(VENV) demo-output sandbox-home build *.egg-info
