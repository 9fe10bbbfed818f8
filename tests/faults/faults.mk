# `make faults N=10000`: agentsight while its calls fail, one after the other, and where something around it is
# missing, full, slow or gone. SEED repeats a choice, SESSIONS=record,tls and ONLY=mem,bpf narrow it.

FAULTS_OUT := $(O)/tests/faults
FAULTS_NEEDS := agentsight $(FAULTS_OUT)/libfault.so $(FAULTS_OUT)/work $(addprefix $(O)/tests/workloads/,spawn tls)
N ?= 10000
JOBS ?= 3
FAULTS_RUN = O=$(O) $(SYSTEM_PYTHON) tests/faults/faults.py -n $(N) -j $(JOBS) $(SEED:%=--seed %) \
	$(SESSIONS:%=--sessions %) $(ONLY:%=--only %)

# What it replaces is called by name, also by itself: no built-in knowledge of malloc() and its like.
$(FAULTS_OUT)/libfault.so: tests/faults/fault.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(TEST_CFLAGS) -fno-builtin -shared -fPIC -o $@ $< -ldl

$(FAULTS_OUT)/work: tests/faults/work.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(TEST_CFLAGS) -o $@ $<

test-run: $(FAULTS_NEEDS)

faults: $(FAULTS_NEEDS) ## make N=10000 calls fail, one in each run; needs root (JOBS, SEED, SESSIONS, ONLY)
	$(Q)$(FAULTS_RUN)
	$(Q)O=$(O) $(SYSTEM_PYTHON) tests/faults/surroundings.py --long

check-faults: $(FAULTS_NEEDS) ## the short form of `faults`; needs root
	$(Q)$(RUN_TESTS) faults

# Every allocation in turn, with AddressSanitizer looking at what the program does then.
faults-asan: $(FAULTS_NEEDS) ## `faults` with the sanitizers
	$(Q)$(ASAN_MAKE) $(O)/asan/tests/agentsight
	$(Q)AGENTSIGHT=$(O)/asan/tests/agentsight FAULT_PRELOAD=$$($(CC) -print-file-name=libasan.so) FAULT_GRACE=20 $(FAULTS_RUN)

.PHONY: faults check-faults faults-asan
