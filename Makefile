# One command per verb; `make help` lists them.
PYTHON ?= python3
DIR ?= /usr
VENV := .venv
BIN := $(VENV)/bin
ENGINE := fusion/_index.pyx $(wildcard fusion/_core/*.h) fusion/agent/_scan.pyx fusion/agent/listing.h
SANITIZED := build/sanitize
FUZZ := build/fuzz
FUZZ_SECONDS ?= 300
SOAK := build/soak
SOAK_MINUTES ?= 30
FAULT_ROUNDS ?= 10
CLANG ?= clang

# What runs a second time without vector instructions: random histories and hostile input through all of the index. The tests of its
# parts go through every level by themselves.
PORTABLE_TESTS := $(addprefix tests/index/test_,machine.py collisions.py hostile.py library.py oracle_semantics.py)
THREAD_TESTS := tests/index/test_threads.py tests/index/test_find_threads.py tests/index/test_instants.py tests/index/test_saved.py tests/index/test_hostile.py tests/index/test_tree_pages.py tests/unit/test_ingest.py tests/unit/test_datastore.py

NATIVE := leaves instants slices stress listing
NATIVE_FLAGS = -std=gnu11 -D_GNU_SOURCE -pthread -Ifusion -Wall -Wextra -Wno-unused-parameter -Wno-unused-function \
  $(if $(filter-out 0,$(FUSION_WERROR)),-Werror)
NO_RANDOM = $(shell setarch -R true 2>/dev/null && echo setarch -R)

# Python's headers are those of this machine; where they are split by architecture, aarch64's are taken to be the same.
PYTHON_HEADERS = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
HEADERS_OF_MACHINE = $(dir $(PYTHON_HEADERS))$(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("MULTIARCH"))')

.PHONY: help run test test-native test-faults test-power test-sanitize test-thread-sanitize check-aarch64 fuzz bench bench-large soak lint reference build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## index DIR (default /usr), serve it on 127.0.0.1:8102 and follow its changes
	@$(BIN)/fusion watch "$(DIR)"

test: lint test-native $(VENV)/test.stamp ## everything a change has to pass: lint, types, unit, index, service, fault and end-to-end tests
	$(BIN)/pytest
	FUSION_SIMD=portable $(BIN)/pytest -k "not OracleIndex" $(PORTABLE_TESTS)

test-native: $(addprefix build/native/plain/,$(NATIVE)) ## the engine's headers without Python: properties of the leaves, readers beside a writer
	for program in $(NATIVE); do build/native/plain/$$program || exit 1; done

test-faults: $(VENV)/test.stamp ## the fault tests for FAULT_ROUNDS (10) times as long: kill -9, failing writes, power cuts (about 20 minutes)
	FUSION_FAULT_ROUNDS=$(FAULT_ROUNDS) $(BIN)/pytest tests/faults --timeout=3600

test-power: $(VENV)/test.stamp ## the same for power cuts alone; needs root, loop devices and mkfs.ext4
	FUSION_FAULT_ROUNDS=$(FAULT_ROUNDS) $(BIN)/pytest tests/faults/test_power.py --timeout=3600

test-sanitize: $(VENV)/test.stamp $(addprefix build/native/address/,$(NATIVE)) ## native and index tests with bounds checks and the address and undefined-behaviour sanitizers
	for program in $(NATIVE); do build/native/address/$$program || exit 1; done
	FUSION_SANITIZE=1 $(BIN)/python setup.py -q build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	FUSION_SANITIZE=1 PYTHONPATH=$(SANITIZED)/lib PYTHONMALLOC=malloc \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	  $(BIN)/pytest -n 2 tests/index tests/unit/test_agent_scan.py

# Older sanitizer runtimes do not find their memory on kernels that scatter addresses widely. Reports make the exit status 66, and
# go past pytest's capture.
test-thread-sanitize: $(VENV)/test.stamp build/native/thread/stress ## native and index tests that use threads, with the thread sanitizer
	$(NO_RANDOM) build/native/thread/stress
	FUSION_SANITIZE=thread $(BIN)/python setup.py -q build --build-base $(SANITIZED)-thread --build-lib $(SANITIZED)-thread/lib
	FUSION_SANITIZE=thread PYTHONPATH=$(SANITIZED)-thread/lib PYTHONMALLOC=malloc TSAN_OPTIONS=exitcode=66 \
	  LD_PRELOAD="$$(gcc -print-file-name=libtsan.so)" \
	  $(NO_RANDOM) $(BIN)/pytest --capture=sys $(THREAD_TESTS)

check-aarch64: $(VENV)/run.stamp $(addprefix build/native/aarch64/,$(NATIVE)) ## compile the engine for aarch64 and run the native tests there, by gcc-aarch64-linux-gnu and qemu-user
	qemu-aarch64 build/native/aarch64/leaves
	qemu-aarch64 build/native/aarch64/instants
	qemu-aarch64 build/native/aarch64/slices
	qemu-aarch64 build/native/aarch64/listing
	qemu-aarch64 build/native/aarch64/stress 30 # emulated readers leave the writer little: all of it takes minutes
	@mkdir -p build/aarch64/include
	@ln -sfn $(HEADERS_OF_MACHINE) build/aarch64/include/aarch64-linux-gnu
	for module in _index agent/_scan; do \
	  aarch64-linux-gnu-gcc $(NATIVE_FLAGS) -O3 -fPIC -Ibuild/aarch64/include -I$(PYTHON_HEADERS) -c -o build/aarch64/$$(basename $$module).o \
	    build/cython/fusion/$$module.c || exit 1; \
	done

define native_program # directory of build/native, compiler, its flags
build/native/$(1)/%: tests/native/%.c tests/native/changes.h tests/native/test.h $(ENGINE)
	@mkdir -p $$(@D)
	$(2) $$(NATIVE_FLAGS) $(3) -o $$@ $$<
endef
$(eval $(call native_program,plain,$(CC),-O2))
$(eval $(call native_program,address,$(CC),-O1 -g -DFUSION_SMALL_BLOCKS -fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined))
$(eval $(call native_program,thread,$(CC),-O1 -g -DFUSION_SMALL_BLOCKS -fsanitize=thread))
$(eval $(call native_program,aarch64,aarch64-linux-gnu-gcc,-O2 -static))

FUZZ_PYTHON = atheris=$$($(FUZZ)/venv/bin/python -c 'import atheris; print(atheris.path())'); \
  PYTHONPATH=$(FUZZ)/lib ASAN_OPTIONS=detect_leaks=0 \
  LD_PRELOAD="$$atheris/asan_with_fuzzer.so $$(echo $$atheris/atheris/custom_mutator.*.so)" $(FUZZ)/venv/bin/python
# What the service imports.
FUZZ_PACKAGES = 'backports.zstd>=1.0' 'google-crc32c>=1.5' 'numpy>=1.26' 'orjson>=3.10' 'sanic>=25.12.1' 'uvloop>=0.21'
FUZZ_OPTIONS = -max_len=1024 -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(FUZZ)/ -print_final_stats=1

fuzz: $(VENV)/run.stamp $(FUZZ)/build.stamp ## fuzz the scanner, unpacking, the number readers and the service, FUZZ_SECONDS (300) each; needs clang: fuzz/README.md
	$(BIN)/python fuzz/fuzz_numbers.py $(FUZZ_SECONDS)
	@mkdir -p $(FUZZ)/corpus $(FUZZ)/corpus-packed $(FUZZ)/corpus-http
	$(FUZZ_PYTHON) fuzz/fuzz_packed.py $(FUZZ)/corpus-packed $(FUZZ_OPTIONS)
	$(FUZZ_PYTHON) fuzz/fuzz_http.py $(FUZZ)/corpus-http $(filter-out -max_len=%,$(FUZZ_OPTIONS))
	$(FUZZ_PYTHON) fuzz/fuzz_scanner.py $(FUZZ)/corpus fuzz/corpus -dict=fuzz/scanner.dict $(FUZZ_OPTIONS)

bench: $(VENV)/bench.stamp ## benchmarks; rewrites docs/benchmarks (about 20 minutes, 6 GiB of memory)
	$(BIN)/pytest benchmarks --benchmark-disable-gc --benchmark-columns=min,median,rounds --timeout=3600 \
	  --write-pages $(BENCH_ARGS)

bench-large: export FUSION_BENCH_LARGE := 1
bench-large: bench ## the same and an index of 50 million nodes

soak: $(VENV)/test.stamp ## a busy service for SOAK_MINUTES (30): its memory must not grow, nothing may be lost
	@mkdir -p $(SOAK)
	cd $(SOAK) && $(CURDIR)/$(BIN)/python $(CURDIR)/benchmarks/soak.py $(SOAK_MINUTES)

lint: $(VENV)/test.stamp ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest fusion._index fusion.agent._scan --mypy-config-file pyproject.toml --allowlist tests/stubtest-allowlist.txt

reference: $(VENV)/run.stamp ## write docs/configuration.md and docs/cli.md from the settings and the parsers
	$(BIN)/python tools/configuration_reference.py
	$(BIN)/python tools/command_reference.py

build: $(VENV)/run.stamp ## compile the index in place
	$(BIN)/pip install -qq --no-deps --editable .

clean: ## remove everything that was built
	rm -rf $(VENV) .venv-agent .venv-peer build *.egg-info fusion/*.so fusion/agent/*.so

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

$(FUZZ)/build.stamp: setup.py pyproject.toml $(ENGINE) $(wildcard fusion/*.py fusion/api/*.py fusion/api/description/*.py)
	[ -d $(FUZZ)/venv ] || $(PYTHON) -m venv $(FUZZ)/venv
	$(FUZZ)/venv/bin/pip install -qq atheris 'Cython>=3.3,<4' setuptools $(FUZZ_PACKAGES)
	CC=$(CLANG) LDSHARED="$(CLANG) -shared" FUSION_DEBUG=1 CFLAGS="-fsanitize=fuzzer-no-link,address" \
	  $(FUZZ)/venv/bin/python setup.py -q build --build-base $(FUZZ) --build-lib $(FUZZ)/lib
	@touch $@

$(VENV)/bench.stamp: $(VENV)/test.stamp
	$(BIN)/pip install -qq --editable '.[bench]'
	@touch $@
