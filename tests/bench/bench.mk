# `make bench`: what tracing costs and how fast the collector is. ROWS=spawn,tcp runs some of it, QUICK=1 one round,
# TIMES=5 five times as many.

BENCH_OUT := $(O)/tests/bench
BENCH_FLAGS := -std=gnu11 -O2 -g $(WARNINGS) -D_GNU_SOURCE
BENCH_CORE := $(addprefix $(BENCH_OUT)/,bench_ring bench_encode bench_json bench_secrets bench_sampler floor)
BENCH_LOADS := $(addprefix $(BENCH_OUT)/,load static_true tcp tls)

bench: agentsight $(BENCH_CORE) $(BENCH_LOADS) ## measure overhead and speed, as root (ROWS=spawn,tcp for some)
	$(Q)python3 tests/bench/bench.py --programs $(BENCH_OUT) --output $(O)/bench.json $(if $(ROWS),--rows $(ROWS)) $(if $(QUICK),--quick) $(if $(TIMES),--times $(TIMES))

$(BENCH_OUT)/%.bpf.o: tests/bench/%.bpf.c $(wildcard bpf/lib/*.h include/agentsight/*.h)
	$(say) BPF $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -Ibpf -c -o $@ $<

$(BENCH_OUT)/%.skel.h: $(BENCH_OUT)/%.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@

$(BENCH_OUT)/bench_ring: $(BENCH_OUT)/generate.skel.h
$(BENCH_OUT)/floor: $(BENCH_OUT)/floor.skel.h

$(BENCH_CORE): $(BENCH_OUT)/%: tests/bench/%.c $(CORE)
	$(say) BENCH $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -I$(BENCH_OUT) $(ALL_LDFLAGS) -o $@ $< $(CORE) $(PC_LIBS) -lpthread

$(BENCH_OUT)/load: tests/bench/load.c
	$(say) BENCH $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $<

$(BENCH_OUT)/static_true: tests/bench/static_true.c
	$(say) BENCH $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -nostdlib -static -o $@ $<

$(BENCH_OUT)/tcp: tests/workloads/tcp.c
	$(say) BENCH $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $<

$(BENCH_OUT)/tls: tests/workloads/tls.c
	$(say) BENCH $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -o $@ $< -lssl -lcrypto -lpthread

.PHONY: bench
