# agentsight: build, test, install. `make help` lists the targets.
#
# Quiet by default, V=1 shows every command. Everything that is built lands under out/, the program
# at ./agentsight. Prerequisites are probed; what is missing is named with the package that has it.

O ?= out
V ?= 0
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool) bpftool)
PKG_CONFIG ?= pkg-config
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s %s\n'
MAKEFLAGS += --no-print-directory
endif

.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

# ---- what is built from what ----

ARCH := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')
FAMILIES := $(patsubst bpf/%.bpf.c,%,$(wildcard bpf/*.bpf.c))
SKELETONS := $(FAMILIES:%=$(O)/bpf/%.skel.h) $(O)/bpf/types.inc $(O)/gen/syscalls.inc
SOURCES := $(sort $(wildcard userspace/*/*.c))
OBJECTS := $(SOURCES:%.c=$(O)/%.o)
CORE := $(O)/libcore.a
MAIN := $(O)/userspace/main.o
LIBRARY := $(O)/libagentsight.so.1

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wformat=2 -Wundef -Wvla -Wno-unused-parameter
LIBRARIES := libbpf json-c libelf zlib libnghttp2 libbrotlidec libzstd

# llhttp: the library where the distribution has one (Debian 13), else its generated sources, which
# Debian 12 and Ubuntu 24.04 ship in the package node-llhttp.
LLHTTP_SOURCES ?= /usr/share/llhttp
ifeq ($(shell $(PKG_CONFIG) --exists libllhttp 2>/dev/null && echo yes),yes)
LIBRARIES += libllhttp
else
LLHTTP_OBJECTS := $(addprefix $(O)/llhttp/,api.o http.o llhttp.o)
LLHTTP_CFLAGS := -isystem /usr/share/include/llhttp
endif
PC_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(LIBRARIES) 2>/dev/null)
PC_LIBS = $(shell $(PKG_CONFIG) --libs $(LIBRARIES) 2>/dev/null) -lm
CFLAGS ?= -O2 -g
HARDENING ?= -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIC -fvisibility=hidden
LDHARDENING ?= -pie -Wl,-z,relro,-z,now
ifeq ($(DEVELOPER),1)
WARNINGS += -Werror
endif
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(HARDENING) $(WARNINGS) -D_GNU_SOURCE -DAGENTSIGHT_VERSION='"$(VERSION)"' $(PLACES) \
	-Iinclude -Iuserspace -I$(O)/bpf -I$(O)/gen $(LLHTTP_CFLAGS) $(PC_CFLAGS) $(EXTRA_CFLAGS)
ALL_LDFLAGS = $(LDHARDENING) $(LDFLAGS) $(EXTRA_LDFLAGS)
BPF_CFLAGS := -O2 -g -Wall -Werror --target=bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -I. -Iinclude

all: agentsight $(LIBRARY) ## build ./agentsight and out/libagentsight.so

agentsight: $(MAIN) $(CORE)
	$(say) LINK $@
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(MAIN) $(CORE) $(PC_LIBS) -lpthread

# The same objects as a library: only what its header declares can be seen from outside.
$(LIBRARY): $(O)/userspace/lib/agentsight.o $(CORE) userspace/lib/agentsight.map
	$(say) LINK $@
	$(Q)$(CC) $(ALL_CFLAGS) -shared -Wl,-soname,libagentsight.so.1 -Wl,--version-script=userspace/lib/agentsight.map \
		-Wl,-z,relro,-z,now -Wl,--no-undefined $(LDFLAGS) $(EXTRA_LDFLAGS) -o $@ $< $(CORE) $(PC_LIBS) -lpthread
	$(Q)ln -sf $(@F) $(O)/libagentsight.so

$(CORE): $(OBJECTS) $(LLHTTP_OBJECTS)
	$(say) AR $@
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# Somebody else's code: none of our warnings.
$(O)/llhttp/%.o: $(LLHTTP_SOURCES)/%.c | $(O)/.probed
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(HARDENING) $(LLHTTP_CFLAGS) -w -c -o $@ $<

$(O)/%.o: %.c $(O)/.probed | $(SKELETONS)
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Which source line an instruction comes from only the verifier's messages show, and most of the memory that a loaded
# program takes, here and in the kernel, is for that: LINES=1 keeps it. Linking leaves DWARF behind.
$(O)/bpf/%.bpf.o: bpf/%.bpf.c $(O)/.probed $(if $(LINES),,$(O)/tools/drop_lines)
	$(say) BPF $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) $(if $(LINES),,-fdebug-prefix-map=$(CURDIR)=/agentsight) -MMD -MP -MF $(@:.o=.d) -MT $@ -c -o $@.full $<
	$(Q)$(BPFTOOL) gen object $@.tmp $@.full
	$(Q)$(if $(LINES),,$(O)/tools/drop_lines $@.tmp)
	$(Q)mv $@.tmp $@ && rm $@.full

$(O)/tools/drop_lines: tools/drop_lines.c $(O)/.probed
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 $(WARNINGS) -o $@ $< -lelf

$(O)/bpf/%.skel.h: $(O)/bpf/%.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@

# The names of all types that the programs know, for userspace/source/btf.c.
$(O)/bpf/types.inc: $(FAMILIES:%=$(O)/bpf/%.bpf.o)
	$(say) TYPES $@
	$(Q)for object in $^; do $(BPFTOOL) btf dump file $$object format raw || exit 1; done >$@.raw
	$(Q)sed -nE "s/^\\[[0-9]+\\] (INT|STRUCT|UNION|ENUM|ENUM64|FWD|TYPEDEF|FLOAT) '([^'(]+)'.*/\"\\2\",/p" $@.raw | \
		LC_ALL=C sort -u >$@

# The system calls of this architecture, `[__NR_read] = "read",`, for userspace/source/syscall_names.c.
$(O)/gen/syscalls.inc: $(O)/.probed
	$(say) GEN $@
	$(Q)mkdir -p $(@D)
	$(Q)echo '#include <asm/unistd.h>' | $(CC) -E -dM - >$@.raw
	$(Q)sed -nE 's/^#define __NR_([a-z0-9_]+) .*/\1/p' $@.raw | grep -vx -e syscalls -e arch_specific_syscall | \
		LC_ALL=C sort | sed 's/.*/[__NR_&] = "&",/' >$@

-include $(shell find $(O) -name '*.d' 2>/dev/null)

# The probes run once, and again when tools/probe.sh changes.
$(O)/.probed: tools/probe.sh
	$(Q)mkdir -p $(O)
	$(Q)CC='$(CC)' CLANG='$(CLANG)' BPFTOOL='$(BPFTOOL)' PKG_CONFIG='$(PKG_CONFIG)' sh tools/probe.sh
	$(Q)touch $@

include tools/package.mk
-include tests/tests.mk tests/faults/faults.mk tests/bench/bench.mk tests/soak/soak.mk

test: ## install what the tests need, build, run them all
	$(Q)sh tools/deps.sh build test
	$(Q)$(MAKE) all static
	$(Q)$(MAKE) test-run

schema: agentsight ## write docs/EVENTS.md and the golden files from the event table
	$(Q)sh tests/check-golden.sh --update

clean: ## remove what was built
	$(Q)rm -rf $(O) agentsight

help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

.PHONY: all test schema clean help
.SECONDARY:
