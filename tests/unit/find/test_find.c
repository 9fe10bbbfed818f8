/* SPDX-License-Identifier: MIT */
/* The finders, on small programs compiled here that report errors as the libraries do. */
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "find/find.h"
#include "unit/find/fixture.h"

/* Functions carry a number in a nop, so that a test can tell which one was found. */
#define MARKS                                                                                    \
	"#define MARK(n) __asm__ volatile(\".byte 0x0f,0x1f,0x80\\n.long \" #n)\n"               \
	"#define FN __attribute__((noinline, noclone, used, noipa))\n"                           \
	"volatile int state; void *volatile sink;\n"                                             \
	"#ifdef FOUR\n"                                                                          \
	"FN void put(int lib, int reason, const char *file, unsigned line) { sink = 0; state = " \
	"lib + reason + line; }\n"                                                               \
	"#define ERROR(lib, reason) put(lib, reason, PATH, __LINE__)\n"                          \
	"#else\n"                                                                                \
	"FN void put(int lib, int fn, int reason, const char *file, unsigned line) { sink = 0; " \
	"state = lib + reason + line; }\n"                                                       \
	"#define ERROR(lib, reason) put(lib, 0, reason, PATH, __LINE__)\n"                       \
	"#endif\n"

#define BORINGSSL                                                                                 \
	"#ifndef LIB\n#define LIB 16\n#endif\n"                                                   \
	"#ifndef COPIES\n#define COPIES 185\n#endif\n"                                            \
	"#define PATH \"../../vendor/boringssl/ssl/ssl_lib.cc\"\n"                                \
	"FN int other(int *s) { MARK(9); if (*s) { ERROR(LIB, 185); return 0; } return 1; }\n"    \
	"FN int SSL_do_handshake(int *s) { MARK(1); if (s[1]) { ERROR(LIB, 134); return -1; } "   \
	"return other(s); }\n"                                                                    \
	"FN int SSL_connect(int *s) { MARK(7); if (s[1]) { ERROR(LIB, COPIES); return -1; } "     \
	"return other(s); }\n"                                                                    \
	"FN void copy(char *b, const int *s, int n) { for (int i = 0; i < n; i++) b[i] = s[i]; "  \
	"}\n"                                                                                     \
	"__attribute__((noreturn)) FN void die(int *s) { for (;;) state = *s; }\n"                \
	"FN int fill(int *s) { MARK(2); if (s[0]) { ERROR(LIB, 226); return -1; }\n"              \
	"	while (s[2]) { int r = SSL_do_handshake(s); if (r < 0) return r; if (r == 0) { "        \
	"ERROR(LIB, 215); return -1; } }\n"                                                       \
	"	if (s[5]) die(s);\n"                                                                    \
	"	return s[3]; }\n"                                                                       \
	"#ifdef PEEK\n"                                                                           \
	"FN int SSL_peek(int *s, char *b, int n) { MARK(5); if (s[4]) { ERROR(LIB, 66); return "  \
	"-1; }\n"                                                                                 \
	"	int r = fill(s); if (r <= 0) return r; copy(b, s, n); return n; }\n"                    \
	"FN int SSL_read(int *s, char *b, int n) { MARK(3); int r = SSL_peek(s, b, n);\n"         \
	"	if (r <= 0) return r; s[6] += r; if (!s[6]) other(s); return r; }\n"                    \
	"FN int look(int *s, char *b, int n) { MARK(6); return SSL_peek(s, b, n) > 0 ? other(s) " \
	": 0; }\n"                                                                                \
	"#undef EXTRA\n#define EXTRA look(s, b, 8); SSL_peek(s, b, 8)\n"                          \
	"#else\n"                                                                                 \
	"FN int SSL_read(int *s, char *b, int n) { MARK(3); if (s[4]) { ERROR(LIB, 66); return "  \
	"-1; }\n"                                                                                 \
	"	int r = fill(s); for (int i = 0; i < n; i++) b[i] = s[i]; return r; }\n"                \
	"#endif\n"                                                                                \
	"FN int SSL_write(int *s, const char *b, int n) { MARK(4); if (s[4]) { ERROR(LIB, 66); "  \
	"return -1; }\n"                                                                          \
	"	if (s[0]) { ERROR(LIB, 226); return -1; }\n"                                            \
	"#ifndef OLD\n"                                                                           \
	"	if (n < 0) { ERROR(LIB, 111); return -1; }\n"                                           \
	"#endif\n"                                                                                \
	"	int r = HANDSHAKE(s); if (r < 0) return r; if (r == 0) { ERROR(LIB, 215); return "      \
	"-1; } return n; }\n"

#define BORINGSSL_MAIN                                                                             \
	"#define HANDSHAKE SSL_do_handshake\n" BORINGSSL                                           \
	"void _start(void) { int s[8]; char b[8]; MARK(77); SSL_do_handshake(s); SSL_write(s, b, " \
	"8); SSL_read(s, b, 8); EXTRA; for (;;); }\n"

static const char *const layouts[] = {
	"-fPIE -static-pie -fno-asynchronous-unwind-tables",
	"-fPIE -static-pie",
	"-fno-pie -no-pie -static -fno-asynchronous-unwind-tables",
	"-fno-pie -no-pie -static",
	"-fno-pie -no-pie -static -fno-asynchronous-unwind-tables -DFOUR",
	"-fPIE -static-pie -DFOUR -Os -fno-asynchronous-unwind-tables",
	"-fno-pie -no-pie -static -fcf-protection=full",
	"-fno-pie -no-pie -static -Wl,-z,noseparate-code",
	"-fPIE -static-pie -fno-omit-frame-pointer -fno-asynchronous-unwind-tables",
};

static int built(const char *source, const char *flags)
{
	int fd = fixture_build(source, flags);

	if (fd < 0)
		skip();
	return fd;
}

static int found(int fd, struct find_result *ret)
{
	return find_functions(fd, NULL, ret);
}

static const struct find_site *site(const struct find_result *r, enum find_function function)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->sites[i].function == function)
			return &r->sites[i];
	}
	fail_msg("no %s: %s", find_function_name(function), r->reason);
	return NULL;
}

static void check(int fd, const struct find_result *r, enum find_function function,
		  enum find_shape shape, unsigned int mark)
{
	const struct find_site *s = site(r, function);

	assert_int_equal(s->shape, shape);
	assert_int_equal(fixture_mark(fd, s->offset), mark);
}

static void refused(const char *source, const char *flags, const char *reason)
{
	struct find_result r;
	int fd = built(source, flags);

	assert_int_equal(found(fd, &r), -ENOENT);
	assert_int_equal(r.n, 0);
	if (!strstr(r.reason, reason))
		fail_msg("\"%s\" does not say \"%s\"", r.reason, reason);
	find_result_done(&r);
	close(fd);
}

/* Its variants are chosen by macros. */
static void boringssl_found(const char *variant)
{
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		struct find_result r;
		char flags[256];
		int fd;

		snprintf(flags, sizeof(flags), "%s %s", layouts[i], variant);
		fd = built("#define EXTRA\n" MARKS BORINGSSL_MAIN, flags);

		if (found(fd, &r) != 0)
			fail_msg("%s: %s", flags, r.reason);
		assert_int_equal(r.n, 3);
		assert_string_equal(r.libraries[0].method, "BoringSSL error sites");
		check(fd, &r, FIND_HANDSHAKE, FIND_SHAPE_RET_INT, 1);
		check(fd, &r, FIND_READ, FIND_SHAPE_RET_INT, 3);
		check(fd, &r, FIND_WRITE, FIND_SHAPE_RET_INT, 4);
		find_result_done(&r);
		close(fd);
	}
}

static void boringssl_is_found_in_every_layout(void **state)
{
	boringssl_found("");
}

static void an_ssl_write_that_leaves_lengths_to_others_is_found(void **state)
{
	boringssl_found("-DOLD");
}

static void an_ssl_read_that_calls_ssl_peek_is_told_from_it(void **state)
{
	boringssl_found("-DPEEK");
}

static void copies_of_the_handshake_that_no_transfer_calls_are_no_rivals(void **state)
{
	boringssl_found("-DCOPIES=134");
}

static void a_write_that_never_runs_the_handshake_is_not_boringssls(void **state)
{
	refused("#define EXTRA\n#define HANDSHAKE other\n" MARKS BORINGSSL
		"void _start(void) { int s[8]; char b[8]; SSL_do_handshake(s); SSL_write(s, b, 8); "
		"SSL_read(s, b, 8); for (;;); }\n",
		layouts[2], "0 functions look like SSL_write");
}

static void two_functions_that_look_like_ssl_read_are_refused(void **state)
{
	refused("#define EXTRA SSL_peek(s, b, 8)\n" MARKS
		"#define HANDSHAKE SSL_do_handshake\n" BORINGSSL
		"FN int SSL_peek(int *s, char *b, int n) { MARK(5); if (s[4]) { ERROR(LIB, 66); "
		"return -1; } b[0] = s[0]; return fill(s) + n; }\n"
		"void _start(void) { int s[8]; char b[8]; SSL_do_handshake(s); SSL_write(s, b, 8); "
		"SSL_read(s, b, 8); SSL_peek(s, b, 8); for (;;); }\n",
		layouts[0], "2 functions look like SSL_read");
}

static void a_peek_that_nobody_calls_is_no_rival(void **state)
{
	struct find_result r;
	int fd = built(MARKS
		       "#define HANDSHAKE SSL_do_handshake\n" BORINGSSL
		       "FN int SSL_peek(int *s, char *b, int n) { MARK(5); if (s[4]) { ERROR(LIB, "
		       "66); return -1; } return fill(s) + n; }\n"
		       "void _start(void) { int s[8]; char b[8]; sink = SSL_peek; "
		       "SSL_do_handshake(s); SSL_write(s, b, 8); SSL_read(s, b, 8); for (;;); }\n",
		       layouts[1]);

	assert_int_equal(found(fd, &r), 0);
	check(fd, &r, FIND_READ, FIND_SHAPE_RET_INT, 3);
	find_result_done(&r);
	close(fd);
}

static void a_peek_that_is_called_and_stores_nothing_is_no_rival(void **state)
{
	struct find_result r;
	int fd = built(MARKS
		       "#define HANDSHAKE SSL_do_handshake\n" BORINGSSL
		       "FN int SSL_peek(int *s, char *b, int n) { MARK(5); if (s[4]) { ERROR(LIB, "
		       "66); return -1; } return fill(s) + n; }\n"
		       "void _start(void) { int s[8]; char b[8]; SSL_do_handshake(s); SSL_write(s, "
		       "b, 8); SSL_read(s, b, 8); SSL_peek(s, b, 8); for (;;); }\n",
		       layouts[0]);

	assert_int_equal(found(fd, &r), 0);
	check(fd, &r, FIND_READ, FIND_SHAPE_RET_INT, 3);
	find_result_done(&r);
	close(fd);
}

static void the_same_file_of_another_library_number_is_not_boringssl(void **state)
{
	refused("#define EXTRA\n#define LIB 20\n" MARKS BORINGSSL_MAIN, layouts[0],
		"no TLS library");
}

#define OPENSSL                                                                                   \
	"FN void debug(const char *file, int line, const char *func) { sink = (void *)func; }\n"  \
	"FN int ssl_read_internal(int *s, void *b, long n, long *d) { MARK(11); if (*s) { "       \
	"debug(\"ssl/ssl_lib.c\", 1, __func__); return 0; } return 1; }\n"                        \
	"FN int ssl_write_internal(int *s, void *b, long n, long *d) { MARK(12); if (*s) { "      \
	"debug(\"ssl/ssl_lib.c\", 2, __func__); return 0; } return 1; }\n"                        \
	"FN int SSL_do_handshake(int *s) { MARK(13); if (*s) { debug(\"ssl/ssl_lib.c\", 3, "      \
	"__func__); return 0; } return 1; }\n"                                                    \
	"void _start(void) { int s[8]; long n; MARK(77); sink = (void *)version; sink = (void "   \
	"*)other; SSL_do_handshake(s); ssl_read_internal(s, s, 8, &n); ssl_write_internal(s, s, " \
	"8, &n); for (;;); }\n"

static void openssl_3_is_found_by_its_functions_names(void **state)
{
	static const struct {
		const char *version;
		const char *other;
		enum find_shape write;
		const char *says;
	} cases[] = {
		{"OpenSSL 3.0.2 15 Mar 2022", "", FIND_SHAPE_COUNT_ARG4, "OpenSSL 3.0.2"},
		{"OpenSSL 3.5.5 27 Jan 2026", "3.40.1", FIND_SHAPE_COUNT_ARG5, "OpenSSL 3.5.5"},
		{"3.0.22", "3.40.1", FIND_SHAPE_COUNT_ARG4, "OpenSSL 3.0"},
	};
	char source[8192];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(layouts); k++) {
			struct find_result r;
			int fd;

			snprintf(source, sizeof(source),
				 "const char first[] = \"x\"; const char version[] = \"%s\", "
				 "other[] = \"%s\";\n%s",
				 cases[i].version, cases[i].other, MARKS OPENSSL);
			fd = built(source, layouts[k]);
			if (found(fd, &r) != 0)
				fail_msg("%s: %s", layouts[k], r.reason);
			assert_string_equal(r.libraries[0].version, cases[i].says);
			check(fd, &r, FIND_READ, FIND_SHAPE_COUNT_ARG4, 11);
			check(fd, &r, FIND_WRITE, cases[i].write, 12);
			check(fd, &r, FIND_HANDSHAKE, FIND_SHAPE_RET_INT, 13);
			find_result_done(&r);
			close(fd);
		}
	}
}

static void openssl_of_an_unclear_version_is_refused(void **state)
{
	refused("const char version[] = \"OpenSSL 3.0.2 15 Mar 2022\", other[] = \"OpenSSL 3.5.5 "
		"27 Jan 2026\";\n" MARKS OPENSSL,
		layouts[0], "version cannot be told");
	refused("const char version[] = \"prose about OpenSSL 3.9 here\", other[] = \"\";\n" MARKS
			OPENSSL,
		layouts[0], "version cannot be told");
}

/* It would be printed, and what is kept of it on the disk could not be read again. */
static void line_ends_are_no_part_of_a_version(void **state)
{
	static const char *const texts[] = {
		"OpenSSL \\r3.5.5 27 Jan 2026",
		"OpenSSL 3.\\r\\n\\v5.5 27 Jan 2026",
		"OpenSSL 3.5.\\n5 27 Jan 2026",
		"OpenSSL +3.5.5 27 Jan 2026",
	};
	char source[8192];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		snprintf(source, sizeof(source),
			 "const char version[] = \"%s\", other[] = \"\";\n%s", texts[i],
			 MARKS OPENSSL);
		refused(source, layouts[0], "version cannot be told");
	}
}

static void openssl_1_1_without_symbols_is_told_apart(void **state)
{
	refused("const char version[] = \"OpenSSL 1.1.1w  11 Sep 2023\";\n" MARKS
		"#define PATH \"ssl/ssl_lib.c\"\n"
		"void _start(void) { sink = (void *)version; ERROR(20, 208); for (;;); }\n",
		layouts[0], "OpenSSL 1.1.1w");
	/* Its table of messages has the names. */
	refused("const char version[] = \"OpenSSL 1.1.1w  11 Sep 2023\";\n" MARKS
		"#define PATH \"ssl/ssl_lib.c\"\n"
		"const char *const names[] = {\"ssl_read_internal\", \"ssl_write_internal\"};\n"
		"void _start(void) { sink = (void *)version; sink = (void *)names; ERROR(20, 208); "
		"for (;;); }\n",
		layouts[0], "OpenSSL 1.1.1w");
}

#define NSS                                                                                       \
	"const char anchor[] = NAME;\n"                                                           \
	"#define OP(n) static FN int op##n(int *s, void *b, int l, int f) { MARK(n); sink = b; "  \
	"return *s + l * f + n; }\n"                                                              \
	"#define TO(n, to) static FN int op##n(int *s, void *b, int l) { MARK(n); return to(s, "  \
	"b, l, 0); }\n"                                                                           \
	"OP(30) OP(31) OP(32) OP(33) OP(34) OP(35) OP(36) OP(37) OP(40)\n"                        \
	"OP(41) OP(42) OP(43) OP(45) OP(46) OP(47) OP(48)\n"                                      \
	"TO(38, READS) TO(39, WRITES)\n"                                                          \
	"struct ops { void *of[12]; };\n"                                                         \
	"static const struct ops plain = {{ op41, 0, op30, op31, op42, op43, op45, op46, op47, "  \
	"op48, op32, op33 }};\n"                                                                  \
	"static const struct ops secure = {{ op34, 0, op30, op31, op35, op40, op36, op37, op38, " \
	"op39, op32, op33 }};\n"                                                                  \
	"FN const void *choose(int tls) { sink = (void *)anchor; return tls ? &secure : &plain; " \
	"}\n"                                                                                     \
	"MORE\n"                                                                                  \
	"FN void _start(void) { sink = (void *)choose(state); for (;;); }\n"

static const char *const libraries[] = {
	"-fPIC -shared -Wl,-z,now",
	"-fPIC -shared -Wl,-z,now -Wl,-z,pack-relative-relocs",
	"-fPIC -shared -Wl,-z,now -fno-optimize-sibling-calls",
	"-fPIE -static-pie -Wl,-z,now",
};

#define NSS_NAME "#define NAME \"NSS_SSL_ENABLE_RENEGOTIATION\"\n"

static void nss_is_found_by_the_table_whose_read_and_write_receive_and_send(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(libraries); i++) {
		struct find_result r;
		int fd = built(NSS_NAME
			       "#define READS op36\n#define WRITES op37\n#define MORE\n" MARKS NSS,
			       libraries[i]);

		if (found(fd, &r) != 0)
			fail_msg("%s: %s", libraries[i], r.reason);
		assert_int_equal(r.n, 2);
		assert_string_equal(r.libraries[0].name, "NSS");
		check(fd, &r, FIND_READ, FIND_SHAPE_RET_INT_FLAGS, 36);
		check(fd, &r, FIND_WRITE, FIND_SHAPE_RET_INT_FLAGS, 37);
		find_result_done(&r);
		close(fd);
	}
}

static void tables_whose_reads_do_not_receive_are_not_nsss(void **state)
{
	refused(NSS_NAME "#define READS op37\n#define WRITES op36\n#define MORE\n" MARKS NSS,
		libraries[0], "2 tables look like its socket operations, 0 like those with TLS");
	refused(NSS_NAME "#define READS op36\n#define WRITES op36\n#define MORE\n" MARKS NSS,
		libraries[0], "2 tables look like its socket operations, 0 like those with TLS");
}

static void a_third_table_like_nsss_is_refused(void **state)
{
	refused(NSS_NAME
		"#define READS op36\n#define WRITES op37\n"
		"#define MORE OP(51) OP(52) OP(53) OP(54) OP(55) OP(56) OP(57) static const "
		"struct ops third = {{ op51, 0, op30, op31, op52, op53, op54, op55, op56, "
		"op57, op32, op33 }}; const void *volatile keep = &third;\n" MARKS NSS,
		libraries[0], "6 tables look like its socket operations, 2 like those with TLS");
}

static void tables_like_nsss_in_another_library_are_nothing(void **state)
{
	refused("#define NAME \"SSL_ENABLE_RENEGOTIATION\"\n#define READS op36\n#define WRITES "
		"op37\n#define MORE\n" MARKS NSS,
		libraries[0], "no TLS library");
}

#define AEAD                                                                                    \
	"#undef PATH\n#define PATH TREE \"crypto/fipsmodule/cipher/aead.c\"\n"                  \
	"FN int seal(int *c) { MARK(21); if (c[0]) { ERROR(30, 117); return 0; } if (c[1]) { "  \
	"ERROR(30, 103); return 0; } if (c[2]) { ERROR(30, 115); return 0; } return 1; }\n"     \
	"FN int seal_scatter(int *c) { MARK(22); if (c[0]) { ERROR(30, 115); return 0; } if "   \
	"(c[1]) { ERROR(30, 112); return 0; } return 1; }\n"                                    \
	"FN int open(int *c) { MARK(23); if (c[0]) { ERROR(30, 115); return 0; } if (c[1]) { "  \
	"ERROR(30, 101); return 0; } if (c[2]) { ERROR(30, 103); return 0; } return 1; }\n"     \
	"FN int open_gather(int *c) { MARK(24); if (c[0]) { ERROR(30, 115); return 0; } if "    \
	"(c[1]) { ERROR(30, 104); return 0; } return 1; }\n"                                    \
	"FN int init(int *c) { MARK(25); if (c[0]) { ERROR(30, 121); return 0; } return 1; }\n" \
	"FN int all(int *c) { MARK(26); return seal(c) + seal_scatter(c) + open(c) + "          \
	"open_gather(c) + init(c); }\n"

static void aws_lc_is_found_with_all_four_functions(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		struct find_result r;
		int fd = built("#define TREE \"/aws-lc/\"\n" MARKS AEAD
			       "void _start(void) { int s[8]; MARK(77); all(s); for (;;); }\n",
			       layouts[i]);

		if (found(fd, &r) != 0)
			fail_msg("%s: %s", layouts[i], r.reason);
		assert_int_equal(r.n, 4);
		for (size_t k = 0; k < 4; k++) {
			static const struct {
				enum find_function function;
				enum find_shape shape;
			} expected[] = {
				{FIND_SEAL, FIND_SHAPE_AEAD},
				{FIND_SEAL, FIND_SHAPE_AEAD_SCATTER},
				{FIND_OPEN, FIND_SHAPE_AEAD},
				{FIND_OPEN, FIND_SHAPE_AEAD_GATHER},
			};

			assert_int_equal(r.sites[k].function, expected[k].function);
			assert_int_equal(r.sites[k].shape, expected[k].shape);
			assert_int_equal(fixture_mark(fd, r.sites[k].offset), 21 + k);
		}
		find_result_done(&r);
		close(fd);
	}
}

static void the_aead_below_boringssls_own_tls_is_not_recorded_twice(void **state)
{
	struct find_result r;
	int fd = built("#define TREE \"../../vendor/boringssl/\"\n#define EXTRA\n" MARKS
		       "#define HANDSHAKE SSL_do_handshake\n" BORINGSSL AEAD
		       "void _start(void) { int s[8]; char b[8]; SSL_do_handshake(s); SSL_write(s, "
		       "b, 8); SSL_read(s, b, 8); all(s); for (;;); }\n",
		       layouts[1]);

	assert_int_equal(found(fd, &r), 0);
	assert_int_equal(r.n_libraries, 1);
	assert_string_equal(r.libraries[0].name, "BoringSSL");
	find_result_done(&r);
	close(fd);
}

static void several_libraries_of_one_program_are_all_found(void **state)
{
	struct find_result r;
	int fd = built("#define TREE \"/aws-lc/\"\n" MARKS AEAD
		       "const char version[] = \"OpenSSL 3.5.5 27 Jan 2026\", other[] = \"\";\n"
		       "#define _start start2\n" OPENSSL
		       "#undef _start\nvoid _start(void) { int s[8]; MARK(77); all(s); start2(); "
		       "for (;;); }\n",
		       layouts[1]);

	assert_int_equal(found(fd, &r), 0);
	assert_int_equal(r.n_libraries, 2);
	assert_int_equal(r.n, 7);
	find_result_done(&r);
	close(fd);
}

#define RING                                                                                       \
	"struct a { void *f[3]; long len; char id; };\n"                                           \
	"FN int i128(void) { MARK(30); return 1; }\nFN int i256(void) { MARK(31); return 2; }\n"   \
	"FN int seal(void) { MARK(32); return 3; }\nFN int open(void) { MARK(33); return 4; }\n"   \
	"FN int iC(void) { MARK(34); return 5; }\nFN int sealC(void) { MARK(35); return 6; }\nFN " \
	"int openC(void) { MARK(36); return 7; }\n"                                                \
	"const struct a tables[] = {{{i128, seal, open}, 16, 0}, {{i256, SEAL, open}, 32, 1}, "    \
	"{{iC, sealC, openC}, 32, 2}};\n"                                                          \
	"void _start(void) { MARK(77); sink = (void *)tables; for (;;); }\n"

static void ring_is_found_by_its_tables(void **state)
{
	for (size_t i = 0; i < 4; i++) {
		struct find_result r;
		int fd = built("#define SEAL seal\n" MARKS RING, layouts[i]);

		if (found(fd, &r) != 0)
			fail_msg("%s: %s", layouts[i], r.reason);
		assert_int_equal(r.n, 4);
		for (size_t k = 0; k < 4; k++) {
			static const unsigned int marks[] = {32, 33, 35, 36};

			assert_int_equal(r.sites[k].shape, FIND_SHAPE_RING);
			assert_int_equal(r.sites[k].function, k % 2 ? FIND_OPEN : FIND_SEAL);
			assert_int_equal(fixture_mark(fd, r.sites[k].offset), marks[k]);
		}
		find_result_done(&r);
		close(fd);
	}
}

static void tables_whose_functions_differ_are_not_rings(void **state)
{
	refused("#define SEAL sealC\n" MARKS RING, layouts[1], "no TLS library");
}

static void a_library_that_is_there_twice_is_refused(void **state)
{
	refused("#define TREE \"/one/\"\n" MARKS AEAD
		"#undef TREE\n#define TREE \"/two/\"\n#define seal seal2\n#define seal_scatter "
		"scatter2\n"
		"#define open open2\n#define open_gather gather2\n#define init init2\n#define all "
		"all2\n" AEAD
		"#undef all\nvoid _start(void) { int s[8]; all(s); all2(s); for (;;); }\n",
		layouts[1], "AWS-LC is there twice");
}

static void a_program_without_tls_gets_a_reason(void **state)
{
	refused(MARKS "void _start(void) { for (;;); }\n", layouts[2], "no TLS library");
}

static void what_is_no_program_gets_a_reason(void **state)
{
	int fd = memfd_create("text", MFD_CLOEXEC);
	struct find_result r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
	assert_int_equal(find_functions(fd, NULL, &r), -ENOEXEC);
	assert_string_equal(r.reason, "not an ELF file");
	find_result_done(&r);
	close(fd);
}

/* Its symbols could be read, its code could not. */
static void a_program_of_another_processor_gets_a_reason(void **state)
{
	const struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph;
	} file = {
		.eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		       .e_type = ET_DYN,
		       .e_machine = EM_AARCH64,
		       .e_phoff = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 1},
	};
	int fd = memfd_create("other", MFD_CLOEXEC);
	struct find_result r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, &file, sizeof(file)), sizeof(file));
	assert_int_equal(find_functions(fd, NULL, &r), -EOPNOTSUPP);
	assert_string_equal(r.reason, "not a 64-bit x86-64 program or library");
	find_result_done(&r);
	close(fd);
}

/* @n functions of @body, which begin with as many instructions and then name the file of the reports. */
#define LONG_FUNCTIONS(n, bytes, body)                                                        \
	"const char first[] = \"x\", path[] = \"../../vendor/boringssl/ssl/ssl_lib.cc\";\n"   \
	"__asm__(\".text\\n.rept " #n "\\n.cfi_startproc\\n.fill " #bytes ", 1, 0x90\\n" body \
	"ret\\n.cfi_endproc\\n.endr\\n\");\n"                                                 \
	"void *volatile sink; void _start(void) { sink = (void *)path; for (;;); }\n"

#define NAMES_PATH "lea path(%rip), %rcx\\n"

static void given_up(const char *source)
{
	struct find_result r;
	int fd = built(source, "-fPIE -static-pie");

	assert_int_equal(found(fd, &r), -E2BIG);
	find_result_done(&r);
	close(fd);
}

/* What they say is read at once, but all of them would be kept: 1,024 would take 384 MiB. */
static void many_long_functions_are_not_all_kept(void **state)
{
	given_up(LONG_FUNCTIONS(64, 16000, NAMES_PATH "mov $16, %edi\\n"));
}

/* Few of them, but each is searched 96 times for jumps that lead to the constants before. */
static void long_ways_back_are_charged(void **state)
{
	given_up(LONG_FUNCTIONS(15, 16000, NAMES_PATH NAMES_PATH NAMES_PATH NAMES_PATH));
}

/* Behind other code, so that looking back never ends at something that stands before. */
static void a_jump_to_itself_before_a_report_is_looked_at_once(void **state)
{
	alarm(60);
	refused(LONG_FUNCTIONS(1, 16, "ret\\n1: jne 1b\\n" NAMES_PATH), "-fPIE -static-pie", "");
	alarm(0);
}

static void a_search_can_be_stopped(void **state)
{
	_Atomic(bool) stop = true;
	struct find_options o = {.stop = &stop};
	struct find_result r;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_int_equal(find_functions(fd, &o, &r), -ECANCELED);
	find_result_done(&r);
	close(fd);
}

static void a_file_cut_anywhere_is_an_error_or_nothing(void **state)
{
	int whole = built("#define EXTRA\n" MARKS BORINGSSL_MAIN, layouts[1]);
	static uint8_t bytes[1 << 16];
	ssize_t n = pread(whole, bytes, sizeof(bytes), 0);

	for (ssize_t len = 0; len < n; len += 61) {
		int fd = memfd_create("cut", MFD_CLOEXEC);
		struct find_result r;

		assert_int_equal(write(fd, bytes, (size_t)len), len);
		if (find_functions(fd, NULL, &r) == 0)
			assert_int_equal(r.n, 3);
		else
			assert_true(*r.reason);
		find_result_done(&r);
		close(fd);
	}
	close(whole);
}

#define CODE_BYTES  (8U << 20)
#define CODE_COPIES 24

/*
 * A program of two strings that are looked for, and of code, mapped many times, of which each byte may be the begin of an
 * instruction with an address between theirs.
 */
static int suspicious(uint8_t byte)
{
	static const char text[] = "x/ssl/ssl_lib.c";
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph[2 + CODE_COPIES];
	} head = {.eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_phoff = sizeof(Elf64_Ehdr),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 2 + CODE_COPIES}};
	int fd = memfd_create("suspicious", MFD_CLOEXEC);
	uint8_t *code = malloc(CODE_BYTES);

	assert_non_null(code);
	memset(code, byte, CODE_BYTES);
	for (size_t i = 0; i < 2; i++)
		head.ph[i] = (Elf64_Phdr){.p_type = PT_LOAD,
					  .p_flags = PF_R,
					  .p_offset = sizeof(head),
					  .p_vaddr = 0x10000000 + i * 0xe0000000,
					  .p_filesz = sizeof(text)};
	for (size_t i = 0; i < CODE_COPIES; i++)
		head.ph[2 + i] = (Elf64_Phdr){.p_type = PT_LOAD,
					      .p_flags = PF_R | PF_X,
					      .p_offset = 4096,
					      .p_vaddr = 0x20000000 + i * CODE_BYTES,
					      .p_filesz = CODE_BYTES};
	assert_int_equal(pwrite(fd, &head, sizeof(head), 0), sizeof(head));
	assert_int_equal(pwrite(fd, text, sizeof(text), sizeof(head)), sizeof(text));
	assert_int_equal(pwrite(fd, code, CODE_BYTES, 4096), CODE_BYTES);
	free(code);
	return fd;
}

/* It is read at once, and would be looked at for minutes. */
static void code_that_is_suspicious_everywhere_is_given_up(void **state)
{
	struct find_result r;
	int fd = suspicious(0xb8);

	assert_int_equal(found(fd, &r), -E2BIG);
	find_result_done(&r);
	close(fd);

	/* the same without anything suspicious is no problem */
	fd = suspicious(0x90);
	assert_int_equal(found(fd, &r), -ENOENT);
	find_result_done(&r);
	close(fd);
}

/*
 * A Go program's table of functions, in the layout of 1.20. The stack is back at its begin at each ret; behind the
 * last one the call that grows the stack has a 0xc3 in it.
 */
#define GO                                                                                        \
	"__asm__(\".text\\n\"\n"                                                                  \
	"\"text:\\n\"\n"                                                                          \
	"\"first: ret\\n.balign 16,0xcc\\n\"\n"                                                   \
	"\"w: cmp 0x10(%r14),%rsp\\njbe 1f\\n.byte 0x0f,0x1f,0x80\\n.long 41\\n\"\n"              \
	"\"w1: push %rbp\\nw2: mov $0xc3,%eax\\npop %rbp\\nw3: ret\\nw4: nop\\npop %rbp\\nw5: "   \
	"ret\\n1: mov $0xc3c3c3,%eax\\njmp w\\nw6: .balign 16,0xcc\\n\"\n"                        \
	"\"r: cmp 0x10(%r14),%rsp\\njbe 1f\\n.byte 0x0f,0x1f,0x80\\n.long 42\\n\"\n"              \
	"\"r1: push %rbp\\nr2: pop %rbp\\nr3: ret\\n1: jmp r\\nr6: .balign 16,0xcc\\n\"\n"        \
	"\"last: ret\\n\"\n"                                                                      \
	"\".section .rodata\\n.balign 32\\n\"\n"                                                  \
	"\"pcln: .long 0xfffffff1\\n.byte 0,0,1,8\\n.quad 3,1,\" TEXT \"\\n\"\n"                  \
	"\".quad names-pcln, cu-pcln, cu-pcln, pctab-pcln, funcs-pcln\\n\"\n"                     \
	"\"names: .byte 0\\nn0: .asciz \\\"main.crypto/tls.(*Conn).Write\\\"\\n\"\n"              \
	"\"n1: .asciz \\\"crypto/tls.(*Conn).Write\\\"\\nn2: .asciz "                             \
	"\\\"crypto/tls.(*Conn).Read\\\"\\ncu:\\n\"\n"                                            \
	"\"pctab: .byte 0\\np0: .byte 2,1,0\\n\"\n"                                               \
	"\"p1: .byte 2,w2-w,16,w3-w2,15,w4-w3,16,w5-w4,15,w6-w5,0\\n\"\n"                         \
	"\"p2: .byte 2,r2-r,16,r3-r2,15,r6-r3,0\\n\"\n"                                           \
	"\".balign 8\\n\"\n"                                                                      \
	"\"funcs: .long first-text,f0-funcs,w-text,f1-funcs,r-text,f2-funcs,last-text,0\\n\"\n"   \
	"\"f0: .long first-text,n0-names,0,0,p0-pctab\\n.space 24\\n\"\n"                         \
	"\"f1: .long w-text,n1-names,0,0,p1-pctab\\n.space 24\\n\"\n"                             \
	"\"f2: .long r-text,n2-names,0,0,p2-pctab\\n.space 24\\n\"\n"                             \
	"\".data\\n.balign 8\\nmodule: .quad pcln\\n.space 152\\n.quad first,last,text\\n.space " \
	"64\\n.text\\n\");\n"                                                                     \
	"void _start(void) { for (;;); }\n"

static void go_check(const char *text, const char *flags)
{
	char source[8192];
	struct find_result r;
	int fd;

	snprintf(source, sizeof(source), "#define TEXT \"%s\"\n%s", text, GO);
	fd = built(source, flags);
	if (found(fd, &r) != 0)
		fail_msg("%s %s: %s", text, flags, r.reason);
	assert_int_equal(r.n, 5);
	check(fd, &r, FIND_WRITE, FIND_SHAPE_GO_ENTRY, 41);
	check(fd, &r, FIND_READ, FIND_SHAPE_GO_ENTRY, 42);
	for (size_t i = 0; i < r.n; i++) {
		if (r.sites[i].shape == FIND_SHAPE_GO_RETURN)
			assert_int_equal(r.sites[i].code[0], 0xc3);
	}
	assert_int_equal(r.sites[1].offset - r.sites[0].offset, 6 + 7 + 1 + 5 + 1);
	assert_int_equal(r.sites[2].offset - r.sites[1].offset, 3);
	assert_int_equal(r.sites[4].offset - r.sites[3].offset, 6 + 7 + 2);
	find_result_done(&r);
	close(fd);
}

static void go_is_found_by_its_table_of_functions(void **state)
{
	go_check("text", "-fno-pie -no-pie -static");
	go_check("0", "-fno-pie -no-pie -static");
	go_check("0", "-fPIE -static-pie");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boringssl_is_found_in_every_layout),
		cmocka_unit_test(an_ssl_write_that_leaves_lengths_to_others_is_found),
		cmocka_unit_test(an_ssl_read_that_calls_ssl_peek_is_told_from_it),
		cmocka_unit_test(copies_of_the_handshake_that_no_transfer_calls_are_no_rivals),
		cmocka_unit_test(a_write_that_never_runs_the_handshake_is_not_boringssls),
		cmocka_unit_test(two_functions_that_look_like_ssl_read_are_refused),
		cmocka_unit_test(a_peek_that_nobody_calls_is_no_rival),
		cmocka_unit_test(a_peek_that_is_called_and_stores_nothing_is_no_rival),
		cmocka_unit_test(the_same_file_of_another_library_number_is_not_boringssl),
		cmocka_unit_test(openssl_3_is_found_by_its_functions_names),
		cmocka_unit_test(openssl_of_an_unclear_version_is_refused),
		cmocka_unit_test(line_ends_are_no_part_of_a_version),
		cmocka_unit_test(openssl_1_1_without_symbols_is_told_apart),
		cmocka_unit_test(nss_is_found_by_the_table_whose_read_and_write_receive_and_send),
		cmocka_unit_test(tables_whose_reads_do_not_receive_are_not_nsss),
		cmocka_unit_test(a_third_table_like_nsss_is_refused),
		cmocka_unit_test(tables_like_nsss_in_another_library_are_nothing),
		cmocka_unit_test(aws_lc_is_found_with_all_four_functions),
		cmocka_unit_test(the_aead_below_boringssls_own_tls_is_not_recorded_twice),
		cmocka_unit_test(several_libraries_of_one_program_are_all_found),
		cmocka_unit_test(ring_is_found_by_its_tables),
		cmocka_unit_test(tables_whose_functions_differ_are_not_rings),
		cmocka_unit_test(a_library_that_is_there_twice_is_refused),
		cmocka_unit_test(go_is_found_by_its_table_of_functions),
		cmocka_unit_test(a_program_without_tls_gets_a_reason),
		cmocka_unit_test(what_is_no_program_gets_a_reason),
		cmocka_unit_test(a_program_of_another_processor_gets_a_reason),
		cmocka_unit_test(code_that_is_suspicious_everywhere_is_given_up),
		cmocka_unit_test(many_long_functions_are_not_all_kept),
		cmocka_unit_test(long_ways_back_are_charged),
		cmocka_unit_test(a_jump_to_itself_before_a_report_is_looked_at_once),
		cmocka_unit_test(a_search_can_be_stopped),
		cmocka_unit_test(a_file_cut_anywhere_is_an_error_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
