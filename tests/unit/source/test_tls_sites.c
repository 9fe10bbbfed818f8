/* SPDX-License-Identifier: MIT */
/*
 * Probe sites of small libraries assembled by the test, one per way a compiler lays the functions out,
 * and of the real libssl where there is one. Skipped where `cc` cannot make x86-64 code.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "source/tls_sites.h"

#define FUNCTION(name, body)                                                                       \
	".globl " name "\n.type " name ", @function\n" name ":\n" body "\n.size " name ", .-" name \
	"\n"
#define LOCAL(name, body) \
	".type " name ", @function\n" name ":\n" body "\n.size " name ", .-" name "\n"

#define ENDBR "endbr64\n"
#define PUSH  "push %r14\npop %r14\nret"
#define SUB   "sub $24, %rsp\nadd $24, %rsp\nret"

/* What OpenSSL's wrappers look like in distributions' builds, calling @callee. */
#define PLAIN(callee)                                                                             \
	"sub $24, %rsp\nmov %fs:0x28, %rax\nmov %rax, 8(%rsp)\nxor %eax, %eax\ntest %edx, %edx\n" \
	"js 1f\nmov %rsp, %rcx\nmovslq %edx, %rdx\ncall " callee "\n1: add $24, %rsp\nret"
#define EX(callee) "sub $8, %rsp\ncall " callee "\nadd $8, %rsp\nret"

#define OTHERS FUNCTION("SSL_do_handshake", PUSH) FUNCTION("SSL_ctrl", ENDBR PUSH)

static char dir[] = "/tmp/tls-sites-XXXXXX";

/* Runs the C compiler over @source (@ext: "s" or "c"); the library's descriptor, or skips the test. */
static int library_new(const char *source, const char *ext, const char *options)
{
	char command[512], path[128];
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), "%s/lib.%s", dir, ext);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(source, f);
	assert_int_equal(fclose(f), 0);

	snprintf(command, sizeof(command),
		 "cc -w -shared -nostdlib -Wl,-z,noexecstack %s -o %s/lib.so %s", options, dir,
		 path);
	if (system(command) != 0)
		skip();

	snprintf(path, sizeof(path), "%s/lib.so", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static struct tls_sites sites_new(const char *source)
{
	_cleanup_(closep) int fd = -1;
	struct tls_sites sites;
	struct err e = {.text = ""};

#ifndef __x86_64__
	skip();
#endif
	fd = library_new(source, "s", "");
	if (tls_sites_find(fd, &sites, &e) < 0)
		fail_msg("%s", e.text);
	return sites;
}

static const struct tls_site *site_find(const struct tls_sites *sites, const char *function)
{
	for (size_t i = 0; i < sites->n; i++) {
		if (strcmp(sites->sites[i].function, function) == 0)
			return &sites->sites[i];
	}
	return NULL;
}

static void assert_site(const struct tls_sites *sites, const char *function, enum tls_shape shape,
			enum tls_place place, const char *covers)
{
	const struct tls_site *site = site_find(sites, function);

	if (!site)
		fail_msg("no site for %s", function);
	assert_int_equal(site->shape, shape);
	assert_int_equal(site->place, place);
	assert_string_equal(site->covers, covers);
}

/* Each function is seen by exactly one site: none twice, none forgotten. */
static void assert_covered_once(const struct tls_sites *sites, const char *function)
{
	int n = 0;

	for (size_t i = 0; i < sites->n; i++) {
		char covers[TLS_COVERS_MAX], *save = NULL;

		memcpy(covers, sites->sites[i].covers, sizeof(covers));
		for (char *p = strtok_r(covers, " ", &save); p; p = strtok_r(NULL, " ", &save))
			n += strcmp(p, function) == 0;
	}
	assert_int_equal(n, 1);
}

static void functions_that_start_with_push_are_probed_at_the_symbol(void **state)
{
	struct tls_sites s = sites_new(FUNCTION("SSL_read", PUSH) FUNCTION("SSL_read_ex", PUSH)
					       FUNCTION("SSL_write", "nop\n" PUSH)
						       FUNCTION("SSL_write_ex", PUSH) OTHERS);

	assert_int_equal(s.family, TLS_OPENSSL);
	assert_int_equal(s.n, 6);
	assert_site(&s, "SSL_read", TLS_SHAPE_RET_INT, TLS_PLACE_ENTRY, "SSL_read");
	assert_site(&s, "SSL_read_ex", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_ENTRY, "SSL_read_ex");
	assert_site(&s, "SSL_write", TLS_SHAPE_RET_INT, TLS_PLACE_ENTRY, "SSL_write");
	assert_site(&s, "SSL_write_ex", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_ENTRY, "SSL_write_ex");
	assert_site(&s, "SSL_do_handshake", TLS_SHAPE_RET_INT, TLS_PLACE_ENTRY, "SSL_do_handshake");
	assert_site(&s, "SSL_ctrl", TLS_SHAPE_CTRL, TLS_PLACE_ENDBR, "SSL_ctrl");
}

static void endbr64_is_stepped_over_only_before_a_cheap_instruction(void **state)
{
	struct tls_sites s = sites_new("start:\n" FUNCTION("SSL_read", ENDBR PUSH)
					       FUNCTION("SSL_write", ENDBR SUB) OTHERS);

	assert_site(&s, "SSL_read", TLS_SHAPE_RET_INT, TLS_PLACE_ENDBR, "SSL_read");
	assert_site(&s, "SSL_write", TLS_SHAPE_RET_INT, TLS_PLACE_ENTRY_SLOW, "SSL_write");
	assert_int_equal(site_find(&s, "SSL_write")->vaddr - site_find(&s, "SSL_read")->vaddr,
			 5); /* push, pop and ret of SSL_read */
}

/* OpenSSL 1.1.1 and 3.0 as Debian builds them. */
static void wrappers_are_probed_in_the_function_they_share(void **state)
{
	struct tls_sites s = sites_new(
		LOCAL("rint", PUSH) LOCAL("wint", ENDBR PUSH) FUNCTION("SSL_read", PLAIN("rint"))
			FUNCTION("SSL_read_ex", EX("rint")) FUNCTION("SSL_write", PLAIN("wint"))
				FUNCTION("SSL_write_ex", EX("wint")) OTHERS);

	assert_int_equal(s.n, 4);
	assert_site(&s, "SSL_read", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_INTERNAL,
		    "SSL_read SSL_read_ex");
	assert_site(&s, "SSL_write", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_INTERNAL,
		    "SSL_write SSL_write_ex");
	/* rint is 5 bytes, and wint is probed behind its endbr64. */
	assert_int_equal(site_find(&s, "SSL_write")->vaddr,
			 site_find(&s, "SSL_read")->vaddr + 5 + 4);
}

/* OpenSSL 3.5 as Debian builds it: the internal write has flags before the count. */
static void write_ex2_gives_the_shape_of_the_internal_write(void **state)
{
	struct tls_sites s = sites_new(
		LOCAL("rint", ENDBR PUSH) LOCAL("wint", ENDBR PUSH) FUNCTION(
			"SSL_read", ENDBR PLAIN("rint")) FUNCTION("SSL_read_ex", ENDBR EX("rint"))
			FUNCTION("SSL_write", ENDBR PLAIN("wint")) FUNCTION("SSL_write_ex2",
									    ENDBR EX("wint"))
				FUNCTION("SSL_write_ex", ENDBR "mov %rcx, %r8\nxor %ecx, %ecx\n"
							       "jmp SSL_write_ex2@PLT") OTHERS);

	assert_int_equal(s.n, 4);
	assert_string_equal(s.version, "OpenSSL 3.3 or later");
	assert_site(&s, "SSL_read", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_INTERNAL,
		    "SSL_read SSL_read_ex");
	assert_site(&s, "SSL_write", TLS_SHAPE_COUNT_ARG5, TLS_PLACE_INTERNAL,
		    "SSL_write SSL_write_ex SSL_write_ex2");
}

/* OpenSSL 3.6: nothing is cheap, but the internal functions also see what BIO_f_ssl() moves. */
static void slow_internal_functions_are_probed_when_the_wrappers_are_slow_too(void **state)
{
	struct tls_sites s = sites_new(
		LOCAL("rint", ENDBR SUB) LOCAL("wint", SUB) FUNCTION("SSL_read", PLAIN("rint"))
			FUNCTION("SSL_read_ex", EX("rint")) FUNCTION("SSL_write", PLAIN("wint"))
				FUNCTION("SSL_write_ex", EX("wint")) OTHERS);

	assert_int_equal(s.n, 4);
	assert_site(&s, "SSL_read", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_INTERNAL_SLOW,
		    "SSL_read SSL_read_ex");
	assert_site(&s, "SSL_write", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_INTERNAL_SLOW,
		    "SSL_write SSL_write_ex");
}

static void cheap_wrappers_are_better_than_a_slow_internal_function(void **state)
{
	struct tls_sites s = sites_new(
		LOCAL("rint", SUB) LOCAL("wint", PUSH)
			FUNCTION("SSL_read", "push %rbx\ncall rint\npop %rbx\nret")
				FUNCTION("SSL_read_ex", "push %rax\ncall rint\npop %rcx\nret")
					FUNCTION("SSL_write", "push %rbx\ncall wint\npop %rbx\nret")
						FUNCTION("SSL_write_ex", "push %rax\ncall wint\n"
									 "pop %rcx\nret") OTHERS);

	assert_site(&s, "SSL_read", TLS_SHAPE_RET_INT, TLS_PLACE_ENTRY, "SSL_read");
	assert_site(&s, "SSL_read_ex", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_ENTRY, "SSL_read_ex");
	assert_site(&s, "SSL_write", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_INTERNAL,
		    "SSL_write SSL_write_ex");
}

/* The assembler makes a two-byte jump of this one. */
static void a_short_jump_is_a_call_too(void **state)
{
	struct tls_sites s = sites_new(FUNCTION("SSL_read", PUSH) FUNCTION("SSL_write", SUB) LOCAL(
		"ex2", SUB) ".globl SSL_write_ex2\n"
			    ".type SSL_write_ex2, @function\n"
			    ".set SSL_write_ex2, ex2\n" FUNCTION(
				    "SSL_write_ex",
				    ENDBR "mov %rcx, %r8\nxor %ecx, %ecx\njmp ex2"));

	assert_int_equal(s.n, 3);
	assert_site(&s, "SSL_write", TLS_SHAPE_RET_INT, TLS_PLACE_ENTRY_SLOW, "SSL_write");
	assert_site(&s, "SSL_write_ex2", TLS_SHAPE_COUNT_ARG5, TLS_PLACE_ENTRY_SLOW,
		    "SSL_write_ex SSL_write_ex2");
}

/* Each case breaks one link of the proof that the shared function has the wrapper's arguments. */
static void unproven_internal_functions_are_not_probed(void **state)
{
	static const char *const reads[] = {
		/* The _ex wrapper moves an argument first. */
		FUNCTION("SSL_read", PLAIN("rint"))
			FUNCTION("SSL_read_ex", "sub $8, %rsp\nmov %rdx, %rsi\ncall rint\nret"),
		/* The _ex wrapper calls something else first: inlined code. */
		FUNCTION("SSL_read", PLAIN("rint"))
			FUNCTION("SSL_read_ex", "sub $8, %rsp\ncall other\ncall rint\nret"),
		/* The other wrapper does not call it. */
		FUNCTION("SSL_read", PLAIN("other")) FUNCTION("SSL_read_ex", EX("rint")),
		/* An import: its stub is not a function of this file. */
		FUNCTION("SSL_read", PLAIN("import@PLT")) FUNCTION("SSL_read_ex", EX("import@PLT")),
		/* There is no _ex wrapper, as before 1.1.1. */
		FUNCTION("SSL_read", PLAIN("rint")),
		/* The call lies behind what is looked at. */
		FUNCTION("SSL_read", "sub $8, %rsp\n.fill 200, 1, 0x99\ncall rint\nret")
			FUNCTION("SSL_read_ex", EX("rint")),
	};

	for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
		char source[4096];
		struct tls_sites s;

		snprintf(source, sizeof(source), "%s%s",
			 LOCAL("rint", PUSH) LOCAL("other", PUSH) FUNCTION("SSL_write", PUSH)
				 OTHERS,
			 reads[i]);
		s = sites_new(source);
		assert_site(&s, "SSL_read", TLS_SHAPE_RET_INT, TLS_PLACE_ENTRY_SLOW, "SSL_read");
		if (strstr(reads[i], "SSL_read_ex"))
			assert_site(&s, "SSL_read_ex", TLS_SHAPE_COUNT_ARG4, TLS_PLACE_ENTRY_SLOW,
				    "SSL_read_ex");
	}
}

static void a_wrapper_is_not_probed_together_with_what_it_calls(void **state)
{
	struct tls_sites s = sites_new(FUNCTION("SSL_read", PUSH) FUNCTION(
		"SSL_read_ex", "push %rbx\ncall SSL_read@PLT\n"
			       "pop %rbx\nret") FUNCTION("SSL_write", PUSH) OTHERS);

	assert_site(&s, "SSL_read", TLS_SHAPE_RET_INT, TLS_PLACE_ENTRY, "SSL_read SSL_read_ex");
	assert_null(site_find(&s, "SSL_read_ex"));

	/* Both names on one address: one site. */
	s = sites_new(".globl SSL_read\n.type SSL_read, @function\nSSL_read:\n" FUNCTION(
		"SSL_read_ex", PUSH) FUNCTION("SSL_write", PUSH));
	assert_int_equal(s.n, 2);
	assert_covered_once(&s, "SSL_read");
	assert_covered_once(&s, "SSL_read_ex");

	/* Two functions that call each other must not hide each other. */
	s = sites_new(FUNCTION("SSL_read", "push %rbx\ncall SSL_read_ex@PLT\npop %rbx\nret")
			      FUNCTION("SSL_read_ex", "push %rbx\ncall SSL_read@PLT\npop %rbx\nret")
				      FUNCTION("SSL_write", PUSH));
	assert_covered_once(&s, "SSL_read");
	assert_covered_once(&s, "SSL_read_ex");
}

/* The two loads of SSL_get0_alpn_selected(), as compilers put them, and what merely looks like them. */
static void the_accessor_of_the_protocol_tells_where_it_is(void **state)
{
	static const struct {
		const char *code;
		unsigned at;
	} accessors[] = {
		/* OpenSSL 3.0 */
		{"mov 0x488(%rdi), %rax\nxor %ecx, %ecx\nmov %rax, (%rsi)\ntest %rax, %rax\nje 1f\n"
		 "mov 0x490(%rdi), %ecx\n1: mov %ecx, (%rdx)\nret",
		 0x488},
		/* 3.5, which looks at the type of the object first */
		{"push %rbx\ntest %rdi, %rdi\nje 2f\nmov (%rdi), %eax\ntest %eax, %eax\nje 1f\n"
		 "mov %rdx, %rbx\ncall other\nmov %rbx, %rdx\nmov %rax, %rdi\n"
		 "1: mov 0x4b8(%rdi), %rax\nmov %rax, (%rsi)\nmov 0x4c0(%rdi), %eax\n"
		 "mov %eax, (%rdx)\n2: pop %rbx\nret",
		 0x4b8},
		/* the length is elsewhere */
		{"mov 0x488(%rdi), %rax\nmov %rax, (%rsi)\nmov 0x498(%rdi), %ecx\nmov %ecx, "
		 "(%rdx)\nret",
		 0},
		/* one object further, through another register, and through the same */
		{"mov 0x30(%rdi), %rax\nmov 0x1f8(%rax), %rcx\nmov %rcx, (%rsi)\n"
		 "mov 0x200(%rax), %eax\nmov %eax, (%rdx)\nret",
		 0},
		{"mov 0x30(%rdi), %rdi\nmov 0x1f8(%rdi), %rcx\nmov %rcx, (%rsi)\n"
		 "mov 0x200(%rdi), %eax\nmov %eax, (%rdx)\nret",
		 0},
		/* no pointer */
		{"mov 0x488(%rdi), %eax\nmov 0x490(%rdi), %ecx\nret", 0},
		{"ret", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(accessors); i++) {
		char source[4096];
		struct tls_sites s;

		snprintf(source, sizeof(source),
			 "%s.globl SSL_get0_alpn_selected\n"
			 ".type SSL_get0_alpn_selected, @function\nSSL_get0_alpn_selected:\n%s\n"
			 ".size SSL_get0_alpn_selected, .-SSL_get0_alpn_selected\n",
			 FUNCTION("SSL_read", PUSH) FUNCTION("SSL_write", PUSH) LOCAL("other", PUSH)
				 OTHERS,
			 accessors[i].code);
		s = sites_new(source);
		assert_int_equal(s.alpn_at, accessors[i].at);
		assert_int_equal(site_find(&s, "SSL_get0_alpn_selected")->kind, TLS_ALPN);
	}
}

static void aarch64_functions_are_probed_at_the_symbol(void **state)
{
	static const char source[] = FUNCTION("SSL_read", ".long 0xd503233f") FUNCTION(
		"SSL_write", ".long 0xd503233f") FUNCTION("SSL_write_ex2", ".long 0xd503233f")
		FUNCTION("SSL_write_ex", "2: .long 0xaa0303e4, 0xd2800003\n"
					 ".long 0x14000000 + (((SSL_write_target - 2b - 8) >> 2) & "
					 "0x3ffffff)") ".set SSL_write_target, SSL_write_ex2\n";
	_cleanup_(closep) int fd = library_new(source, "s", "-Wl,-Bsymbolic");
	uint16_t machine = EM_AARCH64;
	struct tls_sites s;

	assert_int_equal(pwrite(fd, &machine, 2, offsetof(Elf64_Ehdr, e_machine)), 2);
	assert_int_equal(tls_sites_find(fd, &s, NULL), 0);
	assert_int_equal(s.n, 3);
	assert_site(&s, "SSL_read", TLS_SHAPE_RET_INT, TLS_PLACE_ENTRY_SLOW, "SSL_read");
	assert_site(&s, "SSL_write_ex2", TLS_SHAPE_COUNT_ARG5, TLS_PLACE_ENTRY_SLOW,
		    "SSL_write_ex SSL_write_ex2");
}

static void half_a_library_is_refused_with_the_reason(void **state)
{
	_cleanup_(closep) int reads = library_new(FUNCTION("SSL_read", "ret"), "s", "");
	_cleanup_(closep) int writes = library_new(FUNCTION("SSL_write", "ret"), "s", "");
	struct tls_sites s;
	struct err e;

	assert_int_equal(tls_sites_find(reads, &s, &e), -ENOENT);
	assert_non_null(strstr(e.text, "no SSL_write"));
	assert_int_equal(tls_sites_find(writes, &s, &e), -ENOENT);
	assert_non_null(strstr(e.text, "no SSL_read"));
}

/* gnutls_record_send() jumps to gnutls_record_send2(): one site, or each byte would be told twice. */
static void gnutls_has_one_site_for_what_is_sent(void **state)
{
	struct tls_sites s = sites_new(
		FUNCTION("gnutls_record_send2", ENDBR PUSH) FUNCTION(
			"gnutls_record_send", ENDBR "xor %r8d, %r8d\nxor %ecx, %ecx\n"
						    "jmp gnutls_record_send2@PLT")
			FUNCTION("gnutls_record_recv", SUB) FUNCTION("gnutls_record_recv_seq", PUSH)
				FUNCTION("gnutls_handshake", PUSH) FUNCTION("gnutls_deinit", PUSH));

	assert_int_equal(s.family, TLS_GNUTLS);
	assert_int_equal(s.n, 5);
	assert_site(&s, "gnutls_record_send", TLS_SHAPE_RET_SSIZE, TLS_PLACE_ENDBR,
		    "gnutls_record_send gnutls_record_send2");
	assert_site(&s, "gnutls_record_recv", TLS_SHAPE_RET_SSIZE, TLS_PLACE_ENTRY_SLOW,
		    "gnutls_record_recv");
	assert_site(&s, "gnutls_record_recv_seq", TLS_SHAPE_RET_SSIZE, TLS_PLACE_ENTRY,
		    "gnutls_record_recv_seq");
	assert_site(&s, "gnutls_handshake", TLS_SHAPE_RET_SSIZE, TLS_PLACE_ENTRY,
		    "gnutls_handshake");
	assert_int_equal(site_find(&s, "gnutls_deinit")->kind, TLS_FREE);
}

/* libcurl and _ssl.so import the functions: probes belong into the library that has them. */
static void users_of_a_tls_library_are_not_one(void **state)
{
	_cleanup_(closep) int fd =
		library_new(FUNCTION("f", "call SSL_read@PLT\ncall SSL_write@PLT\nret"), "s", "");
	struct tls_sites s;
	struct err e;

	assert_int_equal(tls_sites_find(fd, &s, &e), -ENOENT);
	assert_string_equal(e.text, "has no TLS functions that can be recognised");
}

static void functions_in_the_symbol_table_only_are_found(void **state)
{
	static const char source[] = ".hidden SSL_read\n.hidden SSL_write\n" FUNCTION(
		"SSL_read", "push %rbx\npop %rbx\nret")
		FUNCTION("SSL_write", "push %rbx\npop %rbx\nret");
	_cleanup_(closep) int full = library_new(source, "s", "");
	_cleanup_(closep) int stripped = library_new(source, "s", "-s");
	struct tls_sites s;

	assert_int_equal(tls_sites_find(full, &s, NULL), 0);
	assert_string_equal(s.finder, "symbol table");
	assert_int_equal(s.n, 2);
	assert_int_equal(tls_sites_find(stripped, &s, NULL), -ENOENT);
}

/* Two MiB of names. */
static void a_glance_is_for_libraries_with_few_symbols(void **state)
{
	static const char few[] =
		FUNCTION("SSL_read", "push %rbx") FUNCTION("SSL_write", "push %rbx"),
			  many[] = ".hidden SSL_read\n.hidden SSL_write\n"
				   ".macro symbol\nsymbol_of_a_program_that_has_a_great_many_"
				   "of_them_with_names_as_long_as_this_is_\\@:\n.endm\n"
				   ".rept 24000\nsymbol\n.endr\n" FUNCTION("SSL_read", "push %rbx")
					   FUNCTION("SSL_write", "push %rbx");
	struct tls_sites sites;
	struct err e = {};
	int fd = library_new(few, "s", "");

	assert_int_equal(tls_sites_glance(fd, &sites, &e), 0);
	assert_int_equal(sites.n, 2);
	close(fd);

	fd = library_new(many, "s", "");
	assert_int_equal(tls_sites_glance(fd, &sites, &e), -E2BIG);
	assert_int_equal(tls_sites_find(fd, &sites, &e), 0);
	assert_int_equal(sites.n, 2);
	close(fd);
}

static void every_error_has_a_reason(void **state)
{
	_cleanup_(closep) int fd = memfd_create("text", MFD_CLOEXEC);
	struct tls_sites s;
	struct err e;

	assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
	assert_int_equal(tls_sites_find(fd, &s, &e), -ENOEXEC);
	assert_string_equal(e.text, "is not an ELF file");
	assert_int_equal(tls_sites_find(-1, &s, &e), -EBADF);
	assert_non_null(strstr(e.text, "cannot be read"));
}

static const char c_source[] =
	"typedef __SIZE_TYPE__ size_t; int g(void *); struct ssl;\n"
	"#define INTERNAL __attribute__((noinline, noipa)) static int\n"
	"INTERNAL read_internal(struct ssl *s, void *b, size_t n, size_t *c)"
	"{ volatile char q[8]; q[0] = (char)n; g(b); *c = n; return g(s) + q[0]; }\n"
	"INTERNAL write_internal(struct ssl *s, const void *b, size_t n, size_t *c)"
	"{ volatile char q[8]; q[0] = (char)n; g((void *)b); *c = n; return g(s) + q[0]; }\n"
	"int SSL_read(struct ssl *s, void *b, int n)"
	"{ size_t c; if (n < 0) return -1; int r = read_internal(s, b, (size_t)n, &c);"
	"  return r > 0 ? (int)c : r; }\n"
	"int SSL_read_ex(struct ssl *s, void *b, size_t n, size_t *c)"
	"{ int r = read_internal(s, b, n, c); return r < 0 ? 0 : r; }\n"
	"int SSL_write(struct ssl *s, const void *b, int n)"
	"{ size_t c; if (n < 0) return -1; int r = write_internal(s, b, (size_t)n, &c);"
	"  return r > 0 ? (int)c : r; }\n"
	"int SSL_write_ex(struct ssl *s, const void *b, size_t n, size_t *c)"
	"{ int r = write_internal(s, b, n, c); return r < 0 ? 0 : r; }\n"
	"int SSL_do_handshake(struct ssl *s) { return s != 0; }\n"
	"long SSL_ctrl(struct ssl *s, int c, long l, void *p) { return c + l + !p + !s; }\n";

/* Whatever the compiler makes of it, each function is covered once. */
static void every_compiler_setting_covers_each_function_once(void **state)
{
	static const char *const options[] = {
		"-O0",
		"-O1",
		"-O2",
		"-O3",
		"-Os",
		"-O0 -fcf-protection",
		"-O2 -fcf-protection",
		"-O2 -fno-omit-frame-pointer",
		"-O2 -fstack-protector-all",
		"-O2 -Wl,--hash-style=sysv",
		"-O2 -Wl,--hash-style=gnu",
		"-O2 -Wl,-z,now -fno-plt",
		"-O2 -s -Wl,-z,ibtplt",
	};
	static const char *const names[] = {"SSL_read",     "SSL_read_ex",      "SSL_write",
					    "SSL_write_ex", "SSL_do_handshake", "SSL_ctrl"};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		char all[128];
		_cleanup_(closep) int fd = -1;
		struct tls_sites s;

		snprintf(all, sizeof(all), "-fPIC %s", options[i]);
		fd = library_new(c_source, "c", all);
		assert_int_equal(tls_sites_find(fd, &s, NULL), 0);
		for (size_t k = 0; k < ARRAY_SIZE(names); k++)
			assert_covered_once(&s, names[k]);
	}
}

/* The sites of the libssl that programs here load lie where the loader put its functions. */
static void the_installed_libssl_is_understood(void **state)
{
	static const char *const names[] = {"libssl.so.3", "libssl.so.1.1"};
	size_t seen = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		void *lib = dlopen(names[i], RTLD_LAZY | RTLD_LOCAL);
		_cleanup_(closep) int fd = -1;
		struct tls_sites s;
		Dl_info info;

		if (!lib || !dladdr(dlsym(lib, "SSL_ctrl"), &info))
			continue;
		fd = open(info.dli_fname, O_RDONLY | O_CLOEXEC);
		assert_int_equal(tls_sites_find(fd, &s, NULL), 0);
		assert_covered_once(&s, "SSL_read");
		assert_covered_once(&s, "SSL_read_ex");
		assert_covered_once(&s, "SSL_write");
		assert_covered_once(&s, "SSL_write_ex");
		assert_covered_once(&s, "SSL_free");
		assert_in_range((uintptr_t)info.dli_fbase + site_find(&s, "SSL_ctrl")->vaddr -
					(uintptr_t)info.dli_saddr,
				0, 4);
		seen++;
		dlclose(lib);
	}
	if (seen == 0)
		skip();
}

static int dir_make(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int dir_remove(void **state)
{
	static const char *const files[] = {"lib.s", "lib.c", "lib.so"};
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_that_start_with_push_are_probed_at_the_symbol),
		cmocka_unit_test(endbr64_is_stepped_over_only_before_a_cheap_instruction),
		cmocka_unit_test(wrappers_are_probed_in_the_function_they_share),
		cmocka_unit_test(write_ex2_gives_the_shape_of_the_internal_write),
		cmocka_unit_test(slow_internal_functions_are_probed_when_the_wrappers_are_slow_too),
		cmocka_unit_test(cheap_wrappers_are_better_than_a_slow_internal_function),
		cmocka_unit_test(a_short_jump_is_a_call_too),
		cmocka_unit_test(unproven_internal_functions_are_not_probed),
		cmocka_unit_test(a_wrapper_is_not_probed_together_with_what_it_calls),
		cmocka_unit_test(the_accessor_of_the_protocol_tells_where_it_is),
		cmocka_unit_test(aarch64_functions_are_probed_at_the_symbol),
		cmocka_unit_test(half_a_library_is_refused_with_the_reason),
		cmocka_unit_test(gnutls_has_one_site_for_what_is_sent),
		cmocka_unit_test(users_of_a_tls_library_are_not_one),
		cmocka_unit_test(functions_in_the_symbol_table_only_are_found),
		cmocka_unit_test(a_glance_is_for_libraries_with_few_symbols),
		cmocka_unit_test(every_error_has_a_reason),
		cmocka_unit_test(every_compiler_setting_covers_each_function_once),
		cmocka_unit_test(the_installed_libssl_is_understood),
	};

	return cmocka_run_group_tests(tests, dir_make, dir_remove);
}
