# SPDX-License-Identifier: MIT
# libssl.a and libcrypto.a of BoringSSL, in its source tree as Android has it; run there. Somebody else's code: none
# of our warnings.
CXX ?= c++
include eureka.mk

FLAGS := -O2 -fPIC -fvisibility=hidden -w -Isrc/include -Isrc/crypto

all: libssl.a libcrypto.a

libssl.a: $(ssl_sources:%=%.o)
libcrypto.a: $(crypto_sources:%=%.o) $(linux_x86_64_sources:%=%.o)
%.a:
	@rm -f $@ && $(AR) rcs $@ $^

%.c.o: %.c
	@$(CC) $(FLAGS) -std=gnu11 -c -o $@ $<
%.S.o: %.S
	@$(CC) $(FLAGS) -Wa,--noexecstack -c -o $@ $<
%.cc.o: %.cc
	@$(CXX) $(FLAGS) -std=gnu++17 -fno-exceptions -fno-rtti -c -o $@ $<

.PHONY: all
