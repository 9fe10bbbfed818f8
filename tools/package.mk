# Installing, packaging, checking: what is done with the program beside building it.
# Included by the Makefile, whose variables it uses.

BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share/agentsight
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/site-functions
FISHCOMPDIR ?= $(PREFIX)/share/fish/vendor_completions.d
INSTALL ?= install
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy

# Ubuntu's /usr/sbin/bpftool is a script that only works for the kernel it was made for.
ifeq ($(origin BPFTOOL),file)
BPFTOOL := $(shell sh tools/find-bpftool.sh)
endif

# ---- installing ----

# The place of the data is compiled into those who read them: they are compiled again when it is another one, as in
# `make && make install PREFIX=/usr`.
DATA_READERS := $(O)/userspace/llm/price.o $(O)/userspace/source/tls_finder.o

$(DATA_READERS): PLACES = -DAGENTSIGHT_DATADIR='"$(DATADIR)"'
$(DATA_READERS): $(O)/.data-in
$(O)/.data-in: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(DATADIR)' | cmp -s - $@ || echo '$(DATADIR)' >$@

INSTALLED = \
	$(BINDIR)/agentsight \
	$(LIBDIR)/libagentsight.so.1 \
	$(LIBDIR)/libagentsight.so \
	$(LIBDIR)/pkgconfig/libagentsight.pc \
	$(INCLUDEDIR)/agentsight/agentsight.h \
	$(MANDIR)/man8/agentsight.8 \
	$(UNITDIR)/agentsight.service \
	$(SYSUSERSDIR)/agentsight.conf \
	$(DATADIR)/prices.txt \
	$(DATADIR)/offsets.txt \
	$(BASHCOMPDIR)/agentsight \
	$(ZSHCOMPDIR)/_agentsight \
	$(FISHCOMPDIR)/agentsight.fish

# what the linker knows of libraries; a package does that when it is installed, and another user than root cannot
LDCONFIG = $(if $(DESTDIR),,[ "$$(id -u)" != 0 ] || ldconfig)

# $(call install_file,mode,file,target): install has no quiet way to say what it does
define install_file
	$(say) INSTALL '$(DESTDIR)$(3)'
	$(Q)$(INSTALL) -D -m $(1) '$(2)' '$(DESTDIR)$(3)'

endef

install: agentsight $(LIBRARY) $(O)/packaging/libagentsight.pc $(O)/packaging/agentsight.service $(O)/packaging/agentsight.8 ## into DESTDIR and PREFIX (/usr/local)
	$(call install_file,755,agentsight,$(BINDIR)/agentsight)
	$(call install_file,644,$(LIBRARY),$(LIBDIR)/libagentsight.so.1)
	$(Q)ln -sf libagentsight.so.1 '$(DESTDIR)$(LIBDIR)/libagentsight.so'
	$(call install_file,644,$(O)/packaging/libagentsight.pc,$(LIBDIR)/pkgconfig/libagentsight.pc)
	$(call install_file,644,include/agentsight/agentsight.h,$(INCLUDEDIR)/agentsight/agentsight.h)
	$(call install_file,644,$(O)/packaging/agentsight.8,$(MANDIR)/man8/agentsight.8)
	$(call install_file,644,$(O)/packaging/agentsight.service,$(UNITDIR)/agentsight.service)
	$(call install_file,644,packaging/agentsight.sysusers,$(SYSUSERSDIR)/agentsight.conf)
	$(call install_file,644,packaging/prices.txt,$(DATADIR)/prices.txt)
	$(call install_file,644,packaging/offsets.txt,$(DATADIR)/offsets.txt)
	$(call install_file,644,packaging/agentsight.bash,$(BASHCOMPDIR)/agentsight)
	$(call install_file,644,packaging/agentsight.zsh,$(ZSHCOMPDIR)/_agentsight)
	$(call install_file,644,packaging/agentsight.fish,$(FISHCOMPDIR)/agentsight.fish)
	$(Q)$(LDCONFIG)

uninstall: ## what install put there
	$(say) REMOVE '$(DESTDIR)$(PREFIX)'
	$(Q)rm -f $(foreach f,$(INSTALLED),'$(DESTDIR)$(f)')
	$(Q)rmdir '$(DESTDIR)$(DATADIR)' '$(DESTDIR)$(INCLUDEDIR)/agentsight' 2>/dev/null || :
	$(Q)$(LDCONFIG)

$(O)/packaging/%: packaging/% FORCE
	$(Q)mkdir -p $(@D)
	$(Q)sed -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@VERSION@|$(VERSION)|g' $< >$@

# ---- one file that runs on any distribution ----

STATIC := $(O)/static/agentsight
PC_STATIC = $(shell $(PKG_CONFIG) --static --libs $(LIBRARIES) 2>/dev/null)

static: $(STATIC) ## a program without shared libraries: out/static/agentsight

$(STATIC): $(MAIN) $(CORE)
	$(say) LINK $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(EXTRA_LDFLAGS) -static -Wl,-z,relro,-z,now -o $@ \
		$(MAIN) $(CORE) $(PC_STATIC) -lpthread -lm

# ---- what is needed ----

deps: ## install what the build needs (Debian, Ubuntu; needs root)
	$(Q)sh tools/deps.sh build

test-deps: ## install what the tests need as well
	$(Q)sh tools/deps.sh build test

# ---- seeing it work ----

run: ## install what is missing, build, record a live demonstration; or ARGS="record -c claude"
	$(Q)sh tools/deps.sh build run
	$(Q)$(MAKE) all
	$(Q)sh tools/demo.sh $(ARGS)

# ---- looking after the source ----

FORMATTED = $(wildcard bpf/*.c bpf/lib/*.h include/agentsight/*.h userspace/*.c userspace/*/*.[ch] \
	tests/*/*.[ch] tests/unit/*/*.c)

fmt: ## clang-format over everything
	$(say) FORMAT '$(words $(FORMATTED)) files'
	$(Q)$(CLANG_FORMAT) -i $(FORMATTED)

lint: $(SKELETONS) ## clang-tidy; cppcheck and shellcheck where they are installed
	$(Q)O='$(O)' CLANG_TIDY='$(CLANG_TIDY)' TIDY_FLAGS='$(TIDY_FLAGS)' sh tools/lint.sh

TIDY_FLAGS = -std=gnu11 -D_GNU_SOURCE -DAGENTSIGHT_VERSION="0" -DAGENTSIGHT_DATADIR="/" -Iinclude -Iuserspace \
	-I$(O)/bpf -I$(O)/gen $(LLHTTP_CFLAGS) $(PC_CFLAGS)

check-layers: ## who may include whom
	$(Q)sh tools/check-layers.sh

check-headers: $(SKELETONS) ## every header compiles alone, with both compilers
	$(Q)O='$(O)' CC='$(CC)' CLANG='$(CLANG)' sh tools/check-headers.sh

check-docs: agentsight ## man page and completions know the options that --help knows
	$(Q)bash tests/check-docs.sh ./agentsight

FORCE:
.PHONY: install uninstall static deps test-deps run fmt lint check-layers check-headers check-docs FORCE
