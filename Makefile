PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench reliability clean

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(BIN)/.installed  ## nine tasks, five suites, one report
	$(BIN)/python cli.py sweep downstream
	$(BIN)/python cli.py report

test: $(BIN)/.installed  ## every test, the slow ones too
	$(BIN)/python -m pytest

lint: $(BIN)/.installed  ## style, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BIN)/.installed  ## figures of speed against their targets; a few minutes on an idle machine
	$(BIN)/python -m benchmarks

reliability: $(BIN)/.installed  ## what faults cost, measured into docs/reliability.md; about five minutes
	mkdir -p build
	rm -f build/reliability.jsonl
	CARFT_RELIABILITY=build/reliability.jsonl $(BIN)/python -m pytest tests/sweeps/faults/test_faults.py tests/sweeps/faults/test_faults_of_clusters.py \
		tests/sweeps/faults/test_faults_of_ray.py
	$(BIN)/python -m tests.support.reliability build/reliability.jsonl docs/reliability.md

clean:
	rm -rf $(VENV) build dist *.egg-info
