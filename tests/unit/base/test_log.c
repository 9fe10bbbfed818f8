/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"

static void text_of_any_language_stays_what_it_is(void **state)
{
	assert_string_equal(log_safe("NAME[,NAME…] ä 日本 🙂"),
			    "NAME[,NAME…] ä 日本 🙂");
	assert_string_equal(log_safe(""), "");
}

static void nothing_that_a_terminal_obeys_gets_through(void **state)
{
	assert_string_equal(log_safe("a\033[2Jb\nc\td\x7f"), "a?[2Jb?c?d?");
	assert_string_equal(log_safe("\xc2\x9b[2J"), "?[2J"); /* CSI in UTF-8 */
	assert_string_equal(log_safe("\x9b[2J"), "?[2J");     /* and in one byte */
	assert_string_equal(log_safe("\xc2\xa0"), "\xc2\xa0");
}

static void bytes_that_another_encoding_obeys_do_not_get_through(void **state)
{
	setenv("LC_ALL", "C", 1);
	utf8_look_at_locale();
	assert_string_equal(log_safe("ä \xe0\xa0\x9b[2J 日"), "ä ?[2J ?");
	setenv("LC_ALL", "C.UTF-8", 1);
	utf8_look_at_locale();
	assert_string_equal(log_safe("ä 日"), "ä 日");
}

static void what_is_no_UTF_8_is_replaced_byte_by_byte(void **state)
{
	assert_string_equal(log_safe("\xff\xfe"
				     "a"),
			    "??a");
	assert_string_equal(log_safe("a\xe2\x80"), "a??"); /* cut off */
	assert_string_equal(log_safe("\xc0\xaf"), "??");   /* overlong */
}

static void a_long_text_is_cut_between_characters(void **state)
{
	char text[600];
	const char *safe;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_in_range(strlen(log_safe(text)), 250, 255);
	for (size_t i = 0; i + 3 < sizeof(text); i += 3)
		memcpy(text + i, "…", 3);
	text[597] = '\0';
	safe = log_safe(text);
	assert_int_equal(strlen(safe) % 3, 0);
	assert_in_range(strlen(safe), 250, 255);
}

static void several_are_there_at_once(void **state)
{
	const char *a = log_safe("a"), *b = log_safe("b"), *c = log_safe("c"), *d = log_safe("d");

	assert_string_equal(a, "a");
	assert_string_equal(b, "b");
	assert_string_equal(c, "c");
	assert_string_equal(d, "d");
}

/* Standard error, and whoever reads it, who takes nothing as yet. */
struct reader {
	int fd, was;
	char text[4096];
};

static void stderr_to(struct reader *r, const int ends[2])
{
	static const char bytes[1024];

	r->fd = ends[0];
	r->was = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	assert_true(r->was >= 0);
	/* full to the last byte: who writes one more waits */
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	while (write(ends[1], bytes, sizeof(bytes)) > 0)
		;
	while (write(ends[1], bytes, 1) > 0)
		;
	fcntl(ends[1], F_SETFL, 0);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	log_open();
}

/* What was written since the last time. */
static const char *taken(struct reader *r)
{
	struct pollfd p = {.fd = r->fd, .events = POLLIN};
	size_t n = 0;

	memset(r->text, 0, sizeof(r->text));
	while (poll(&p, 1, 0) > 0) {
		ssize_t k = read(r->fd, r->text, sizeof(r->text) - 1);

		assert_true(k > 0);
		n = (size_t)k;
	}
	r->text[n] = '\0';
	return r->text;
}

static void stderr_back(struct reader *r)
{
	close(log_fd());
	dup2(r->was, STDERR_FILENO);
	close(r->was);
	close(r->fd);
	log_open();
}

static void nobody_waits_for(const int ends[2])
{
	struct reader r;
	const char *text;

	stderr_to(&r, ends);
	log_setup(LOG_WARNING, false);
	log_warning("one");
	log_notice("below the level");
	log_warning("two");
	assert_false(log_text("a summary\n", 10, 1));
	taken(&r);
	log_warning("three");
	text = taken(&r);
	log_warning("four");
	assert_string_equal(text, "agentsight: 2 messages before this one were not taken\n"
				  "agentsight: warning: three\n");
	assert_string_equal(taken(&r), "agentsight: warning: four\n");
	assert_true(log_text("a summary\n", 10, 1));
	assert_string_equal(taken(&r), "a summary\n");
	stderr_back(&r);
}

static void a_pipe_that_nobody_reads_holds_nobody_up(void **state)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	nobody_waits_for(ends);
}

static void nor_does_a_socket(void **state)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	nobody_waits_for(ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_any_language_stays_what_it_is),
		cmocka_unit_test(nothing_that_a_terminal_obeys_gets_through),
		cmocka_unit_test(bytes_that_another_encoding_obeys_do_not_get_through),
		cmocka_unit_test(what_is_no_UTF_8_is_replaced_byte_by_byte),
		cmocka_unit_test(a_long_text_is_cut_between_characters),
		cmocka_unit_test(several_are_there_at_once),
		cmocka_unit_test(a_pipe_that_nobody_reads_holds_nobody_up),
		cmocka_unit_test(nor_does_a_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
