PYTHON ?= python3
# build of torch, where uv installs: auto (by the GPU's driver), cpu, cu130, ...; empty: that of the default index
TORCH ?= auto
UV := $(shell command -v uv)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable
ARCHIVES := audit audit/photographs
PYTEST := $(BIN)/python -m pytest --durations=10
# a third process computes while others wait for Ray or a browser
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help demo docs test test-full test-ray test-all lint lock reference audit-report bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# with pip the demo needs less than development, which is then added; with uv all of it takes seconds
$(BIN)/.train: pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv $(VENV)
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes --requirements requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python $(if $(TORCH),--torch-backend $(TORCH)) \
		--constraints constraints.txt --editable '.[dev]'
else
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(PIP_INSTALL) '.[train]'
endif
	touch $@

$(BIN)/.installed: $(BIN)/.train
ifeq ($(UV),)
	$(PIP_INSTALL) '.[dev]'
endif
	touch $@

demo: $(BIN)/.train  ## nine tasks, five suites, one report
	$(BIN)/python cli.py sweep downstream
	$(BIN)/python cli.py report

test: $(BIN)/.installed  ## every behaviour once, with real Ray and a real browser; prints its ten slowest
	$(PYTEST) -m "not full" $(PARALLEL)

test-full: $(BIN)/.installed  ## what `test` leaves out: faults, every command on every kind of task
	$(PYTEST) -m "full and not ray" $(PARALLEL)

test-ray: $(BIN)/.installed  ## faults of Ray's processes and nodes, clusters, object stores; for an idle machine
	$(PYTEST) -m ray

test-all: test test-full test-ray  ## every test

lint: $(BIN)/.installed  ## style, types, direction of imports; prints lines beside their budgets
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/budget.py

lock:  ## requirements.lock from pyproject.toml and constraints.txt, with hashes and without torch; needs uv
	printf 'torch\ntorchvision\n' | $(UV) pip compile --quiet --universal --python-version 3.11.5 --extra dev --generate-hashes \
		--no-header --no-annotate --constraints constraints.txt --excludes /dev/stdin --output-file requirements.lock pyproject.toml

reference: $(BIN)/.installed  ## the pages of docs/ that are made from the code, after a command, setting, claim or import changed
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/rooms.py

docs: $(BIN)/.installed  ## the documentation as a site that needs no network, in build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "build/docs/index.html"

audit-report: $(BIN)/.installed  ## the reports of the published records, in build/audit-report and build/photographs-report; renews audit/
	for folder in $(ARCHIVES); do \
		made=build/$$(echo $$folder | sed 's#^audit/##; s#/#-#g'); rm -rf $$made $$made-report; \
		$(BIN)/python cli.py results import $$folder/records.zip --to $$made || exit 1; \
		$(BIN)/python cli.py report --results $$made --out $$made-report || exit 1; \
		for file in $$folder/tables/*.csv $$folder/figures/*.png; do cp $$made-report/$${file#$$folder/} $$file || exit 1; done; \
	done
	$(BIN)/python audit/strength/tables.py $$(find audit/strength -name records.zip)

bench: $(BIN)/.installed  ## ratios of speed against their targets; 8 minutes, for an idle machine
	$(BIN)/python -m benchmarks

clean:  ## remove what make built
	rm -rf $(VENV) build dist *.egg-info
