# The tests: `make check` needs no privilege, `make check-live` runs as root, `make test-run` is both
# and the real programs. What they print ends in one line "N passed, N failed, N skipped".

TEST_CFLAGS = -std=gnu11 $(CFLAGS) $(WARNINGS) -D_GNU_SOURCE
SYSTEM_PYTHON ?= /usr/bin/python3

# ---- unit tests: one program per source file, against everything but main() ----

UNIT_TESTS := $(patsubst %.c,$(O)/%,$(wildcard tests/unit/*/test_*.c))

$(O)/tests/unit/%: tests/unit/%.c $(CORE)
	$(say) TEST $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -Itests -MMD -MP -MF $@.d -o $@ $< $(CORE) -lcmocka $(PC_LIBS) -lpthread

# What NVIDIA's library would be, for machines without one.
FAKE_NVML := $(O)/tests/unit/source/fake_nvml.so $(O)/tests/unit/source/fake_nvml_old.so
$(O)/tests/unit/source/test_gpu_nvml: $(FAKE_NVML)
$(FAKE_NVML): $(O)/%.so: %.c tests/unit/source/fake_nvml.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(TEST_CFLAGS) -shared -fPIC -o $@ $<

# ---- fuzz targets: over their corpora with the plain driver, or with an engine ----

FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_PLAIN := $(FUZZ_NAMES:%=$(O)/tests/fuzz/fuzz_%)
T ?= 60

$(O)/tests/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/main.c $(CORE)
	$(say) FUZZ $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< tests/fuzz/main.c $(CORE) $(PC_LIBS) -lpthread

$(O)/tests/engine/fuzz_%: tests/fuzz/fuzz_%.c $(CORE)
	$(say) FUZZ $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< $(CORE) $(PC_LIBS) -lpthread

FUZZ_SANITIZE := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FUZZ_MAKE = $(MAKE) O=$(O)/fuzz CC=$(CLANG) HARDENING=-fPIE EXTRA_CFLAGS='$(FUZZ_SANITIZE)' EXTRA_LDFLAGS='$(FUZZ_SANITIZE)'

fuzz: ## fuzz every target for T seconds each, e.g. `make fuzz T=60`
	+$(Q)$(FUZZ_MAKE) $(FUZZ_NAMES:%=$(O)/fuzz/tests/engine/fuzz_%)
	$(Q)tests/fuzz/run.sh $(O)/fuzz $(T) $(FUZZ_NAMES)

fuzz-%: ## fuzz one target for T seconds, e.g. `make fuzz-json T=600`
	$(Q)test -f tests/fuzz/fuzz_$*.c || { echo "no tests/fuzz/fuzz_$*.c; there are: $(FUZZ_NAMES)"; exit 2; }
	+$(Q)$(FUZZ_MAKE) $(O)/fuzz/tests/engine/fuzz_$*
	$(Q)tests/fuzz/run.sh $(O)/fuzz $(T) $*

# ---- hostile bytes: bombs, secrets in pieces, inputs cut anywhere, names that control terminals ----

HOSTILE_TESTS := $(patsubst %.c,$(O)/%,$(wildcard tests/hostile/test_*.c))
CORPORA ?= $(HOME)/.cache/agentsight/corpora

$(O)/tests/hostile/%: tests/hostile/%.c $(CORE)
	$(say) TEST $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -Itests -MMD -MP -MF $@.d -o $@ $< $(CORE) -lcmocka $(PC_LIBS) -lpthread

check-hostile: $(HOSTILE_TESTS) ## bombs, secrets in pieces, hostile names; with the work that they cost
	$(Q)SLOW=1 $(RUN_TESTS) hostile

check-corpora: ## public test inputs, fetched into a cache, through their parsers with sanitizers
	$(Q)AGENTSIGHT_CORPORA=$(CORPORA) SYSTEM_PYTHON=$(SYSTEM_PYTHON) tests/fuzz/fetch-corpora.sh
	+$(Q)$(ASAN_MAKE) $(FUZZ_NAMES:%=$(O)/asan/tests/fuzz/fuzz_%) $(HOSTILE_TESTS:$(O)/%=$(O)/asan/%)
	$(Q)O=$(O)/asan AGENTSIGHT_CORPORA=$(CORPORA) tests/check-all.sh corpora

.PHONY: fuzz check-hostile check-corpora

# ---- live tests: static, for guests that hold little else ----

WORKLOAD_NAMES := $(patsubst tests/workloads/%.c,%,$(wildcard tests/workloads/*.c))
WORKLOADS := $(WORKLOAD_NAMES:%=$(O)/tests/workloads/%)
LIVETEST := $(O)/tests/live/livetest
# What calls a shared library is to be seen calling it; one loads it itself.
workload_link = $(if $(filter tls,$(1)),-lssl -lcrypto,$(if $(filter tls_bundles,$(1)),-ldl,-static))

$(O)/tests/workloads/%: tests/workloads/%.c $(wildcard tests/workloads/*.h)
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(TEST_CFLAGS) -o $@ $< $(call workload_link,$*) -lpthread

# Stripped Go programs, at a fixed address and not; without a Go compiler their tests are skipped.
GO ?= $(firstword $(wildcard /usr/bin/go /usr/local/go/bin/go))
GO_WORKLOADS := $(if $(GO),$(O)/tests/workloads/go_tls_exe $(O)/tests/workloads/go_tls_pie)
$(O)/tests/workloads/go_tls_%: tests/workloads/go_tls/main.go
	$(say) GO $@
	$(Q)mkdir -p $(@D)
	$(Q)CGO_ENABLED=0 GO111MODULE=off GOCACHE=$(abspath $(O))/go-cache $(GO) build -buildmode=$* -ldflags='-s -w' -o $@ $<

# The workload `tls` with libraries that this machine need not have, out of Debian packages. What cannot be had is
# told in the file, and its tests are skipped.
TLS_WORKLOADS := $(O)/tests/workloads/tls_boringssl.why $(O)/tests/workloads/tls_openssl11.why
$(O)/tests/workloads/tls_%.why: tests/workloads/tls.c tests/tls/make.sh tests/tls/boringssl.mk
	$(say) TLS $*
	$(Q)CC='$(CC)' sh tests/tls/make.sh $* $(@D)

$(LIVETEST): $(wildcard tests/live/*.c) $(wildcard tests/live/*.h)
	$(say) LINK $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(TEST_CFLAGS) -static -o $@ $(filter %.c,$^) -ljson-c -lpthread

# ---- what is run ----

LIVE_NEEDS := agentsight $(LIVETEST) $(WORKLOADS) $(GO_WORKLOADS) $(TLS_WORKLOADS)
CHECK_NEEDS := agentsight $(UNIT_TESTS) $(FUZZ_PLAIN) $(HOSTILE_TESTS)
RUN_TESTS = O=$(O) CC='$(CC)' CXX='$(CXX)' CLANG='$(CLANG)' SYSTEM_PYTHON=$(SYSTEM_PYTHON) tests/check-all.sh

tests: $(CHECK_NEEDS) $(LIVE_NEEDS) ## build all tests

check: $(CHECK_NEEDS) ## unit tests, fuzz corpora, golden files; no privilege needed
	$(Q)$(RUN_TESTS) unit fuzz hostile judge golden

check-live: $(LIVE_NEEDS) ## the live tests; needs root
	$(Q)$(RUN_TESTS) live validate

check-real: agentsight ## recordings of curl, python3, node, nginx; needs root
	$(Q)$(RUN_TESTS) real

check-library: agentsight $(LIBRARY) ## libagentsight, installed into an empty directory, from outside
	$(Q)$(RUN_TESTS) library

check-python: $(LIBRARY) ## the Python module; needs python3-pytest
	$(Q)$(RUN_TESTS) python

test-run: $(CHECK_NEEDS) $(LIVE_NEEDS) $(LIBRARY) ## all tests that this machine can run; needs root
	$(Q)$(RUN_TESTS) unit fuzz hostile judge source golden library python live real faults validate

# This very build, not the static one that may lie about from yesterday.
VM_FILES = agentsight:/agentsight tests/live $(O)/tests/live:/out/tests/live $(O)/tests/workloads:/out/tests/workloads
VM_TIMEOUT_S ?= 3600

check-vm: $(LIVE_NEEDS) ## the live tests in emulated guests, of every kernel or KERNEL=6.1, all or TESTS='...'
	$(Q)tests/vm/run.sh $(KERNEL:%=--kernel %) --timeout $(VM_TIMEOUT_S) --command '/tests/live/run.sh $(TESTS)' -- $(VM_FILES)
	$(if $(TESTS),,$(Q)$(MAKE) check-vm-shaken)

# What no machine but a guest is put through; part of check-vm.
SHAKING_TESTS = $(shell sed -nE '/^const struct live_test/,$$s/^.*\{"([a-z_0-9]+)".*/\1/p' tests/live/clock.c)
check-vm-shaken: $(LIVE_NEEDS) ## guests whose clock is set, whose second processor comes and goes, and which sleep
	$(Q)tests/vm/run.sh $(KERNEL:%=--kernel %) --cpus 2 --append 'AGENTSIGHT_SHAKE=1 no_timer_check' --timeout $(VM_TIMEOUT_S) \
		--command '/tests/live/run.sh $(SHAKING_TESTS)' -- $(VM_FILES)

# The program and the unit tests with sanitizers; the live tests run that program.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
ASAN_MAKE = $(MAKE) O=$(O)/asan CFLAGS='-O1 -g' HARDENING=-fPIC EXTRA_CFLAGS='$(SANITIZE)' EXTRA_LDFLAGS='$(SANITIZE)'

$(O)/tests/agentsight: $(MAIN) $(CORE)
	$(say) LINK $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(MAIN) $(CORE) $(PC_LIBS) -lpthread

tests-sanitized: $(O)/tests/agentsight $(UNIT_TESTS) $(FUZZ_PLAIN) $(HOSTILE_TESTS) $(LIBRARY)

check-asan: agentsight $(LIBRARY) $(LIVETEST) $(WORKLOADS) ## unit, library and live tests with address and undefined-behaviour sanitizers
	$(Q)$(ASAN_MAKE) tests-sanitized
	$(Q)O=$(O)/asan AGENTSIGHT=$(O)/asan/tests/agentsight LIVETEST=$(LIVETEST) \
		LIVE_OUTPUT=$(O)/asan/output SLOW=1 tests/check-all.sh unit fuzz hostile live
	$(Q)O=$(O) CC='$(CC)' CXX='$(CXX)' LIBRARY=$(O)/asan/libagentsight.so.1 LIBRARY_CFLAGS='$(SANITIZE)' \
		tests/check-all.sh library

.PHONY: tests tests-sanitized check check-library check-python check-live check-real test-run check-vm check-vm-shaken check-asan

AGENTS_DIR ?= $(HOME)/.cache/agentsight/agents
AGENT_TESTS = $(shell sed -nE 's/^.*\{"((an_old|a_new)_bun|deno)(_[A-Za-z0-9_]*)".*/\1\3/p' tests/live/tls_more.c)
check-agents: $(LIVE_NEEDS) ## record Claude Code, Codex, Gemini CLI, bun, deno and others, fetched into a cache; needs root and npm
	$(Q)sh tests/agents/fetch.sh >/dev/null
	$(Q)AGENTSIGHT_AGENTS=$(AGENTS_DIR) $(LIVETEST) $(AGENT_TESTS)
	$(Q)$(SYSTEM_PYTHON) tests/agents/check.py $(AGENTS)
