PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt
# One more than processors: some of the tests wait for other processes.
TOGETHER := --numprocesses $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --maxprocesses 5 --dist worksteal

.PHONY: run test test-fast lint check calibrate bench format clean try-wheel try-ray docs try-docs

run: $(VENV)/.installed  ## The whole experiment on the bundled model, charts in the terminal
	@$(BIN)/srm-explorer demo

test: $(VENV)/.installed-dev  ## Every test
	@$(BIN)/python -m pytest $(TOGETHER)

test-fast: $(VENV)/.installed-dev  ## The tests that start no process and take no ten seconds: the way to work
	@$(BIN)/python -m pytest $(TOGETHER) -m 'not process and not slow'

lint: $(VENV)/.installed-dev  ## Format, style, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

check: test lint

calibrate: $(VENV)/.installed-dev  ## Size and coverage of every test and interval, by simulation
	@$(BIN)/python tools/calibrate.py --experiments 1000

bench: $(VENV)/.installed-dev  ## Speed and growth beside the usual ways, into benchmarks/: [QUICK=1] [REAL_MODEL=FOLDER] [GPU_REPORT=FILE]
	@$(BIN)/python benchmarks/bench.py $(if $(filter-out 0,$(QUICK)),--quick) \
	  $(if $(REAL_MODEL),--real-model "$(REAL_MODEL)") $(if $(GPU_REPORT),--gpu "$(GPU_REPORT)")

try-wheel: $(VENV)/.installed-dev  ## The wheel in an empty environment, with the newest packages that it lets in, and with the oldest
	@$(BIN)/python tools/try_wheel.py

try-ray: $(VENV)/.installed-dev  ## Runs and a survey on Ray, ended in every way: nothing is lost, nothing differs: [TRIALS="actor survey"]
	@$(BIN)/python tools/try_ray.py $(TRIALS)

docs: $(VENV)/.installed-dev  ## The documentation as pages that need no network, in build/site
	@$(BIN)/python tools/write_reference.py --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

try-docs: $(VENV)/.installed-dev  ## Every command that README and docs show, run in the order of its page
	@$(BIN)/python tools/run_docs.py

format: $(VENV)/.installed-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/.installed: $(INPUTS) | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); try: make $(or $(MAKECMDGOALS),run) PYTHON=python3.12" >&2; \
	  exit 1; }
	@echo "making $(VENV) and installing (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
