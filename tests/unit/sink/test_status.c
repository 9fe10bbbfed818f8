/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "event/schema.h"
#include "sink/status.h"

static int master, slave; /* a terminal of 100 columns */
static char text[4096];

static int set_up(void **state)
{
	struct winsize size = {.ws_row = 24, .ws_col = 100};

	if (schema_init() < 0 || openpty(&master, &slave, NULL, NULL, &size) < 0)
		return -1;
	return fcntl(master, F_SETFL, O_NONBLOCK);
}

static int tear_down(void **state)
{
	close(master);
	close(slave);
	return 0;
}

static struct as_system_tree tree(void)
{
	return (struct as_system_tree){
		.h = {.len = sizeof(struct as_system_tree),
		      .type = AS_EV_SYSTEM_TREE,
		      .boot_ns = 7},
		.elapsed_ns = 12340 * NSEC_PER_MSEC,
		.cpu_centi = 5123,
		.rss_kb = 2048,
		.read_bytes = 1024,
		.tx_bytes = 5,
		.processes = 1,
		.threads = 3,
	};
}

static void show(struct sink *sink, const struct as_system_tree *t)
{
	const struct event ev = {.rec = &t->h, .desc = schema_event(AS_EV_SYSTEM_TREE)};

	sink->write(sink, &ev, NULL, 0);
}

static const char *drawn(int fd)
{
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static struct sink *sink_new(int fd, bool in_place, bool colour)
{
	const struct status_options opt = {fd, in_place, colour};
	struct sink *sink;

	assert_int_equal(status_sink_new(&opt, &sink), 0);
	return sink;
}

static void on_a_terminal_the_line_is_rewritten_in_place(void **state)
{
	struct sink *sink = sink_new(slave, true, false);
	struct as_system_tree t = tree();

	show(sink, &t);
	sink->flush(sink);
	assert_string_equal(drawn(master),
			    "\r\033[K⠋ [12.3 s] 1 process: CPU 51.2% | RSS 2.0 MiB | 3 threads | "
			    "disk 1.0 KiB read, 0 B written | net 0…\r");
	sink->free(sink);
	assert_string_equal(drawn(master), "\r\033[K");
}

static void nothing_is_drawn_when_there_is_nothing_new(void **state)
{
	struct sink *sink = sink_new(slave, true, false);
	struct as_system_tree t = tree();

	sink->flush(sink);
	assert_string_equal(drawn(master), "");
	show(sink, &t);
	sink->flush(sink);
	drawn(master);
	sink->flush(sink);
	assert_string_equal(drawn(master), "");
	sink->free(sink);
}

static void the_trees_of_one_sample_are_added(void **state)
{
	struct sink *sink = sink_new(slave, true, false);
	struct as_system_tree t = tree();

	t.pss_kb = 1024;
	show(sink, &t);
	show(sink, &t);
	sink->flush(sink);
	assert_non_null(
		strstr(drawn(master), " 2 processes: CPU 102.4% | PSS 2.0 MiB | 6 threads"));
	t.h.boot_ns++;
	show(sink, &t);
	sink->flush(sink);
	assert_non_null(strstr(drawn(master), " 1 process: CPU 51.2% | PSS 1.0 MiB | 3 threads"));
	sink->free(sink);
}

static void a_program_that_has_the_terminal_for_itself_is_left_alone(void **state)
{
	struct sink *sink = sink_new(slave, true, false);
	struct as_system_tree t = tree();
	struct termios raw;

	assert_int_equal(tcgetattr(slave, &raw), 0);
	raw.c_lflag &= ~(tcflag_t)ICANON;
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	show(sink, &t);
	sink->flush(sink);
	sink->free(sink);
	assert_string_equal(drawn(master), "");
}

static void without_a_terminal_each_sample_is_a_line(void **state)
{
	struct as_system_tree t = tree();
	struct sink *sink;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	sink = sink_new(fds[1], true, false);
	show(sink, &t);
	sink->flush(sink);
	t.h.boot_ns++;
	show(sink, &t);
	sink->flush(sink);
	sink->free(sink);
	assert_string_equal(
		drawn(fds[0]),
		"[12.3 s] 1 process: CPU 51.2% | RSS 2.0 MiB | 3 threads | disk 1.0 KiB read, 0 B "
		"written | net 0 B in, 5 B out\n"
		"[12.3 s] 1 process: CPU 51.2% | RSS 2.0 MiB | 3 threads | disk 1.0 KiB read, 0 B "
		"written | net 0 B in, 5 B out\n");
	close(fds[0]);
	close(fds[1]);
}

static void colours_say_how_much_it_is(void **state)
{
	struct sink *sink = sink_new(slave, true, true);
	struct as_system_tree t = tree();

	show(sink, &t);
	sink->flush(sink);
	assert_non_null(strstr(drawn(master), "\033[31m51.2%"));
	t.h.boot_ns++;
	t.cpu_centi = 999;
	show(sink, &t);
	sink->flush(sink);
	assert_non_null(strstr(drawn(master), "\033[32m9.9%"));
	sink->free(sink);
}

/* Draws until nothing more is taken; what blocks is ended by the alarm. */
static void draw_often(struct sink *sink)
{
	struct as_system_tree t = tree();

	alarm(20);
	for (size_t i = 0; i < 2000; i++) {
		t.h.boot_ns++;
		show(sink, &t);
		sink->flush(sink);
	}
	sink->free(sink);
	alarm(0);
}

static void a_terminal_that_is_stopped_is_not_waited_for(void **state)
{
	assert_int_equal(tcflow(slave, TCOOFF), 0);
	draw_often(sink_new(slave, true, true));
	assert_string_equal(drawn(master), "");
	assert_int_equal(tcflow(slave, TCOON), 0);
}

static void a_terminal_that_nobody_reads_is_not_waited_for(void **state)
{
	draw_often(sink_new(slave, true, true));
	assert_int_equal(memcmp(drawn(master), "\r\033[K", 4), 0);
}

static void a_pipe_that_nobody_reads_is_not_waited_for_and_holds_whole_lines(void **state)
{
	static char all[1 << 18];
	size_t len = 0, line;
	ssize_t n;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	draw_often(sink_new(fds[1], false, true));
	assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
	close(fds[1]);
	while ((n = read(fds[0], all + len, sizeof(all) - len)) > 0)
		len += n;
	close(fds[0]);
	line = strcspn(all, "\n") + 1;
	assert_true(len > 100 * line);
	assert_int_equal(len % line, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(on_a_terminal_the_line_is_rewritten_in_place),
		TEST(nothing_is_drawn_when_there_is_nothing_new),
		TEST(the_trees_of_one_sample_are_added),
		TEST(a_program_that_has_the_terminal_for_itself_is_left_alone),
		TEST(without_a_terminal_each_sample_is_a_line),
		TEST(colours_say_how_much_it_is),
		TEST(a_terminal_that_is_stopped_is_not_waited_for),
		TEST(a_terminal_that_nobody_reads_is_not_waited_for),
		TEST(a_pipe_that_nobody_reads_is_not_waited_for_and_holds_whole_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
