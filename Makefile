# The commands of this repository. Everything runs in .venv, which is made on first use and reinstalled only when
# pyproject.toml or constraints.txt changes. PYTHON=python3.12 make test chooses another interpreter.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt
PINS := pyproject.toml constraints.txt
WORKERS ?= 2
export OMP_NUM_THREADS ?= 1
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

.PHONY: demo test test-deep bench lint clean help
.DELETE_ON_ERROR:

help:
	@echo "make demo       train, certify, attack and check a small network on handwritten digits (about a minute)"
	@echo "make test       ruff, mypy, tests, doctests and notebooks at smoke size"
	@echo "make test-deep  the same tests with many more random examples (hours)"
	@echo "make bench      benchmarks: JSON rows in bench-results/"
	@echo "make lint       ruff and mypy alone"
	@echo "make clean      removes .venv, caches and the demo's output"

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The demo needs no test tools; the development install contains everything the demo needs.
.venv/.demo: $(PINS) | .venv/bin/python
	@echo 'installing .[demo] into .venv (a few minutes the first time)'
	$(PIP) -e '.[demo]' </dev/null
	@touch $@

.venv/.dev: $(PINS) | .venv/bin/python
	@echo 'installing .[dev] into .venv (a few minutes the first time)'
	$(PIP) -e '.[dev]' </dev/null
	@touch .venv/.demo $@

demo: .venv/.demo
	$(BIN)/certify demo --out demo-run

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

test-deep: lint
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

bench: .venv/.dev
	@mkdir -p bench-results
	@for file in tests/benchmarks/bench_*.py; do echo "$$file"; PYTHONPATH=. $(BIN)/python "$$file" | tee "bench-results/$$(basename "$$file" .py).jsonl"; done

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-run bench-results build dist *.egg-info
	find certify reach tests -name __pycache__ -prune -exec rm -rf {} +
