# One command per verb; `make help` lists them.
PYTHON ?= python3
DIR ?= /usr
VENV := .venv
BIN := $(VENV)/bin
ENGINE := fusion/_index.pyx $(wildcard fusion/_core/*.h)
SANITIZED := build/sanitize
FUZZ := build/fuzz
FUZZ_SECONDS ?= 300
CLANG ?= clang

.PHONY: help run test test-sanitize fuzz bench lint build clean

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

fuzz: $(VENV)/run.stamp $(FUZZ)/build.stamp ## fuzz the scanner and the number readers, FUZZ_SECONDS (300) each; needs clang: fuzz/README.md
	$(BIN)/python fuzz/fuzz_numbers.py $(FUZZ_SECONDS)
	@mkdir -p $(FUZZ)/corpus
	atheris=$$($(FUZZ)/venv/bin/python -c 'import atheris; print(atheris.path())'); \
	  PYTHONPATH=$(FUZZ)/lib ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$$atheris/asan_with_fuzzer.so $$(echo $$atheris/atheris/custom_mutator.*.so)" \
	  $(FUZZ)/venv/bin/python fuzz/fuzz_scanner.py $(FUZZ)/corpus fuzz/corpus -dict=fuzz/scanner.dict -max_len=1024 \
	  -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(FUZZ)/ -print_final_stats=1

bench: $(VENV)/test.stamp ## benchmarks of the index and the service; BENCH_ARGS=--write-report rewrites docs/benchmarks
	$(BIN)/pytest benchmarks --benchmark-disable-gc --benchmark-columns=min,median,rounds --timeout=1800 $(BENCH_ARGS)

lint: $(VENV)/test.stamp ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest fusion._index --allowlist tests/stubtest-allowlist.txt

build: $(VENV)/run.stamp ## compile the index in place
	$(BIN)/pip install -qq --no-deps --editable .

clean: ## remove everything that was built
	rm -rf $(VENV) .venv-agent build *.egg-info fusion/*.so

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

$(FUZZ)/build.stamp: setup.py $(ENGINE) fusion/events.py
	[ -d $(FUZZ)/venv ] || $(PYTHON) -m venv $(FUZZ)/venv
	$(FUZZ)/venv/bin/pip install -qq atheris 'Cython>=3.3,<4' setuptools orjson
	CC=$(CLANG) LDSHARED="$(CLANG) -shared" FUSION_DEBUG=1 CFLAGS="-fsanitize=fuzzer-no-link,address" \
	  $(FUZZ)/venv/bin/python setup.py -q build --build-base $(FUZZ) --build-lib $(FUZZ)/lib
	@touch $@
