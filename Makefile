# bodytag: make demo · make test · make lint · make bench · make train
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DICOM  ?=
MODALITY ?= CT
FUZZ_SECONDS ?= 600
DATA   ?= ../shared/data

.DEFAULT_GOAL := help
.PHONY: help install dev peers demo test lint format chaos chaos-scale fuzz audit bench bench-web bench-scale screenshots train evaluate clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/bodytag: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev: $(BIN)/bodytag
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

install: $(BIN)/bodytag ## install the node into .venv

dev: $(VENV)/dev ## install what developing and testing need, too

peers: ## install the Debian packages that the tests run against (as root)
	@tests/install-peers

demo: $(BIN)/bodytag ## start a node, send it real DICOM, show what it found and what arrived (DICOM=/your/folder)
	$(BIN)/python -m node.cli.demo $(DICOM)

# A test process that dies is not replaced: the scheduler would wait for ever for what it had still to run.
test: $(VENV)/dev peers lint ## run everything
	$(BIN)/python -m pytest -m "not alone" --numprocesses 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
	$(BIN)/python -m pytest -m alone

lint: $(VENV)/dev ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

chaos: $(VENV)/dev peers ## break a running node for at most 15 minutes and write RELIABILITY.md (as root: full disk)
	$(BIN)/python -m tests.chaos --out RELIABILITY.md

chaos-scale: $(VENV)/dev peers ## kill the processes and servers of several machines, into RELIABILITY.md
	$(BIN)/python -m tests.scale --out RELIABILITY.md

fuzz: $(VENV)/dev ## fuzz the parsers, then a running node for ten minutes (FUZZ_SECONDS=600)
	BODYTAG_FUZZ_EXAMPLES=20000 $(BIN)/python -m pytest --timeout 3600 tests/fuzz/test_parsers.py
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

audit: $(VENV)/dev ## write build/sbom.cdx.json and ask for known weaknesses of what is installed
	$(BIN)/python -m tests.audit

bench: $(VENV)/dev peers ## measure against dcmtk and write BENCHMARKS.md
	$(BIN)/python -m tests.bench

bench-web: $(VENV)/dev peers ## time lists and filters over a million series, into BENCHMARKS.md
	$(BIN)/python -m tests.bench.lists

bench-scale: $(VENV)/dev peers ## measure several machines, and plan capacity, into BENCHMARKS.md
	$(BIN)/python -m tests.scale.bench --out BENCHMARKS.md

screenshots: $(VENV)/dev peers ## take the pictures of the page for the README, from real series of ../shared/data/dicom
	$(BIN)/python -m tests.web.screenshots

train: $(VENV)/dev ## train the network of a modality into runs/: make train MODALITY=CT DATA=../shared/data
	$(BIN)/bodytag train --config model/training/runs/$(shell echo $(MODALITY) | tr A-Z a-z).yaml --data $(DATA)

evaluate: $(VENV)/dev ## score the shipped weights, write build/report and MODEL_CARD.md: make evaluate MODALITY=CT
	$(BIN)/bodytag evaluate --modality $(MODALITY) --data $(DATA) --out build/report/$(MODALITY) --card MODEL_CARD.md

clean: ## remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
