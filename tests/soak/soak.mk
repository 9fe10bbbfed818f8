# `make soak H=1`: hours under load, and what grows. RATE=2 doubles the pace, OPTS='...' are options of `record`.
# `make soak-tables N=1000000`: that many of everything through all stages, without the kernel.

SOAK_OUT := $(O)/tests/soak
SOAK_PROGRAMS := $(addprefix $(SOAK_OUT)/,load child)
H ?= 1
RATE ?= 1
N ?= 1000000

soak: agentsight $(SOAK_PROGRAMS) ## H hours of processes, connections and TLS sessions: memory, descriptors and tables must not grow; as root
	$(Q)$(SYSTEM_PYTHON) tests/soak/soak.py --programs $(SOAK_OUT) --hours $(H) --rate $(RATE) \
		--output $(O)/soak.json $(if $(OPTS),-- $(OPTS))

soak-tables: $(SOAK_OUT)/many ## N processes, connections, sessions, files and tool calls through all stages: memory is bounded
	$(Q)$< $(N)

$(SOAK_OUT)/many: tests/soak/many.c $(CORE)
	$(say) SOAK $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(CORE) $(PC_LIBS) -lpthread

$(SOAK_OUT)/load: tests/soak/load.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(TEST_CFLAGS) -o $@ $< -lssl -lcrypto -lpthread

$(SOAK_OUT)/child: tests/soak/child.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(TEST_CFLAGS) -static -o $@ $< -lpthread

.PHONY: soak soak-tables
