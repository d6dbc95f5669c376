# Two commands do everything: `make repro` (set-up and the pipeline) and `make test`.
PYTHON ?= python3
VENV   ?= .venv
MARK   ?= not slow
BIN    := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start hundreds of processes; each would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: repro setup test nightly lint style types contracts locked bench bench-methods architecture demo repro-public clean

repro: setup            ## from sample data to a registered model version with its audit trail
	@countersign repro

setup: $(VENV)/.ready   ## the environment, versions pinned in constraints.txt

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (once; a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --no-compile --use-pep517 -c constraints.txt -e '.[pipeline,server,dev]'
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true # on all cores; some templates are no Python
	@$(BIN)/python -m pip check
	@touch $@

lint: setup             ## style, types, import contracts and the lock, side by side
	@$(MAKE) --no-print-directory -j 3 types contracts style locked

style: setup
	@ruff check .
	@ruff format --check .

types: setup
	@mypy

contracts: setup
	@lint-imports --no-logo

locked: setup
	@pytest -q --no-header -n 0 tests/pipelines/test_lock.py -k up_to_date

test: lint              ## lint, types, import contracts and quick tests; MARK="" all, as CI does
	@pytest -m "$(MARK)" -n 3 --dist worksteal

nightly: setup          ## everything with other examples, random kills and long fuzzing, then mutants of the core
	@TESTS_PROFILE=nightly pytest -n 2 --dist worksteal
	@python -m tests.mutation --mutants 600 --workers 2

demo: setup             ## people, approvals, a promotion, attacks, a rollback: a story in a temporary folder
	@python -m tests.demo

bench: setup            ## figures, with the machine they were taken on, into benchmarks/results.md
	@python -m benchmarks

bench-methods: setup    ## every training method beside the bare TRL script (half an hour) into benchmarks/methods.md
	@python -m benchmarks.methods

architecture: setup     ## the drawing and the measured tables of docs/architecture.md
	@python -m benchmarks.architecture

repro-public: setup     ## the same graph on public data: make repro-public DATA=FOLDER
	@python -m tests.public $(DATA)

clean:                  ## outputs of this checkout; the log and registry stay
	rm -rf data models evaluations gates reports
