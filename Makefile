# One command per verb; `make help` lists them.
PYTHON ?= python3
DIR ?= /usr
VENV := .venv
BIN := $(VENV)/bin
ENGINE := fusion/_index.pyx $(wildcard fusion/_core/*.h)
SANITIZED := build/sanitize

.PHONY: help run test test-sanitize bench bench-large lint build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## index DIR (default /usr), serve it on 127.0.0.1:8102 and follow its changes
	@$(BIN)/fusion watch "$(DIR)"

test: lint $(VENV)/test.stamp ## everything a change has to pass: lint, types, unit, index, service and end-to-end tests
	$(BIN)/pytest

test-sanitize: $(VENV)/test.stamp ## the index tests on a build with bounds checks and the address and undefined-behaviour sanitizers
	FUSION_SANITIZE=1 $(BIN)/python setup.py -q build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	FUSION_SANITIZE=1 PYTHONPATH=$(SANITIZED)/lib PYTHONMALLOC=malloc \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	  $(BIN)/pytest tests/index

bench: $(VENV)/bench.stamp ## benchmarks; rewrites docs/benchmarks (about 15 minutes, 8 GiB of memory)
	$(BIN)/pytest benchmarks --benchmark-disable-gc --benchmark-columns=min,median,rounds --timeout=3600 \
	  --write-pages $(BENCH_ARGS)

bench-large: export FUSION_BENCH_LARGE := 1
bench-large: bench ## the same and an index of 50 million nodes

lint: $(VENV)/test.stamp ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest fusion._index --allowlist tests/stubtest-allowlist.txt

build: $(VENV)/run.stamp ## compile the index in place
	$(BIN)/pip install -qq --no-deps --editable .

clean: ## remove everything that was built
	rm -rf $(VENV) .venv-agent .venv-peer build *.egg-info fusion/*.so

$(VENV)/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --upgrade pip

$(VENV)/run.stamp: pyproject.toml setup.py $(ENGINE) | $(VENV)/bin/pip
	$(BIN)/pip install -qq --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(BIN)/pip install -qq --editable '.[dev]'
	@touch $@

$(VENV)/bench.stamp: $(VENV)/test.stamp
	$(BIN)/pip install -qq --editable '.[bench]'
	@touch $@
