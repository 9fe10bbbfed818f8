/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "event/schema.h"
#include "sink/status.h"

#define LINE                                                                             \
	" [12.3 s] 1 process: CPU 51.2% | RSS 2.0 MiB | 3 threads | disk 1.0 KiB read, " \
	"0 B written | net 0"

static int master, slave; /* a terminal of 100 columns */
static char text[4096];

static void resize(unsigned short rows)
{
	struct winsize size = {.ws_row = rows, .ws_col = 100};

	assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
}

static int set_up(void **state)
{
	if (schema_init() < 0 || openpty(&master, &slave, NULL, NULL, NULL) < 0)
		return -1;
	resize(24);
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
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return text;
}

static struct sink *sink_new(int fd, bool in_place, bool colour)
{
	const struct status_options opt = {fd, in_place, colour};
	struct sink *sink;

	assert_int_equal(status_sink_new(&opt, &sink), 0);
	return sink;
}

/* ---- what a terminal shows of it ---- */

#define ROWS    6
#define COLUMNS 100

struct screen {
	char rows[ROWS][COLUMNS + 1];
	unsigned row, column, saved_row, saved_column;
	unsigned bottom; /* the last row of those that scroll; begins as ROWS - 1 */
};

static void screen_line_feed(struct screen *s)
{
	if (s->row != s->bottom) {
		s->row += s->row + 1 < ROWS;
		return;
	}
	memmove(s->rows[0], s->rows[1], sizeof(s->rows[0]) * s->bottom);
	memset(s->rows[s->bottom], 0, sizeof(s->rows[0]));
}

/* What stands behind ESC [. Returns where it ends. */
static const char *screen_sequence(struct screen *s, const char *p)
{
	unsigned n[2] = {};

	for (size_t i = 0; strchr("0123456789;", *p); p++) {
		if (*p == ';')
			assert_int_equal(++i, 1);
		else
			n[i] = 10 * n[i] + (unsigned)(*p - '0');
	}
	switch (*p) {
	case 'r':
		s->bottom = n[1] ? n[1] - 1 : ROWS - 1;
		s->row = s->column = 0;
		break;
	case 'H':
		s->row = n[0] - 1;
		s->column = 0;
		break;
	case 'A':
		s->row -= s->row > 0;
		break;
	case 'K':
		memset(s->rows[s->row] + s->column, 0, COLUMNS - s->column);
		break;
	default:
		assert_int_equal(*p, 'm');
	}
	return p;
}

static const char *screen_escape(struct screen *s, const char *p)
{
	switch (*p) {
	case '[':
		return screen_sequence(s, p + 1);
	case 'D':
		screen_line_feed(s);
		break;
	case '7':
		s->saved_row = s->row;
		s->saved_column = s->column;
		break;
	default:
		assert_int_equal(*p, '8');
		s->row = s->saved_row;
		s->column = s->saved_column;
	}
	return p;
}

/* A character that is none of ASCII is shown by its first byte. */
static void screen_take(struct screen *s, const char *p)
{
	for (; *p; p++) {
		if (*p == '\r') {
			s->column = 0;
		} else if (*p == '\n') {
			screen_line_feed(s);
		} else if (*p == '\033') {
			p = screen_escape(s, p + 1);
		} else if ((*p & 0xc0) != 0x80) {
			assert_true(s->column < COLUMNS);
			for (unsigned i = 0; i < s->column; i++)
				s->rows[s->row][i] = s->rows[s->row][i] ? s->rows[s->row][i] : ' ';
			s->rows[s->row][s->column++] = *p;
		}
	}
}

/* The command writes @words, and then there is a sample. */
static void sample_behind(struct screen *screen, struct sink *sink, const char *words)
{
	static uint64_t boot_ns;
	struct as_system_tree t = tree();

	t.h.boot_ns = ++boot_ns;
	assert_int_equal(write(slave, words, strlen(words)), strlen(words));
	show(sink, &t);
	sink->flush(sink);
	screen_take(screen, drawn(master));
}

/* Which the terminal echoes. */
static void type(struct screen *screen, const char *keys)
{
	struct pollfd p = {.fd = master, .events = POLLIN};

	assert_int_equal(write(master, keys, strlen(keys)), strlen(keys));
	assert_int_equal(poll(&p, 1, 10000), 1);
	screen_take(screen, drawn(master));
}

static const char *drawn_once(struct sink *sink)
{
	static uint64_t sample;
	struct as_system_tree t = tree();

	t.h.boot_ns += ++sample;
	show(sink, &t);
	sink->flush(sink);
	return drawn(master);
}

static void on_a_terminal_the_line_has_the_last_row(void **state)
{
	struct sink *sink = sink_new(slave, true, false);

	assert_string_equal(drawn_once(sink), "\033D\033[A\0337\033[1;23r\0338"
					      "\0337\033[0m\033[24;1H⠋" LINE "…\033[K\0338");
	assert_string_equal(drawn_once(sink), "\0337\033[0m\033[24;1H⠙" LINE "…\033[K\0338");
	sink->free(sink);
	assert_string_equal(drawn(master), "\0337\033[r\033[24;1H\033[K\0338");
}

static void the_row_follows_the_size_of_the_terminal(void **state)
{
	struct sink *sink = sink_new(slave, true, false);

	drawn_once(sink);
	resize(30);
	assert_non_null(strstr(drawn_once(sink), "\0337\033[r\033[24;1H\033[K\0338"
						 "\033D\033[A\0337\033[1;29r\0338"
						 "\0337\033[0m\033[30;1H"));
	resize(10); /* the old row is outside */
	assert_non_null(strstr(drawn_once(sink), "\0337\033[r\0338"
						 "\033D\033[A\0337\033[1;9r\0338"
						 "\0337\033[0m\033[10;1H"));
	resize(2);
	assert_string_equal(drawn_once(sink), "");
	sink->free(sink);
	assert_string_equal(drawn(master), "\0337\033[r\033[10;1H\033[K\0338");
}

static void a_terminal_that_does_not_tell_its_size_is_left_alone(void **state)
{
	struct sink *sink = sink_new(slave, true, false);

	resize(0);
	assert_string_equal(drawn_once(sink), "");
	sink->free(sink);
	assert_string_equal(drawn(master), "");
}

static void who_takes_the_terminal_gets_all_rows(void **state)
{
	struct sink *sink = sink_new(slave, true, false);
	struct termios raw;

	drawn_once(sink);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	raw.c_lflag &= ~(tcflag_t)ICANON;
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	assert_string_equal(drawn_once(sink), "\0337\033[r\0338");
	assert_string_equal(drawn_once(sink), "");
	sink->free(sink);
	assert_string_equal(drawn(master), "");
}

static void check_line_in(const struct screen *s, unsigned row)
{
	for (unsigned i = 0; i < ROWS; i++)
		assert_int_equal(!!strstr(s->rows[i], " 1 process: CPU"), i == row);
}

static void what_the_command_writes_goes_on_above_the_line(void **state)
{
	struct sink *sink = sink_new(slave, true, false);
	struct screen screen = {.bottom = ROWS - 1};
	char words[] = "words 0\n";

	resize(ROWS);
	for (unsigned i = 0; i < 9; i++, words[6]++) {
		sample_behind(&screen, sink, words);
		check_line_in(&screen, ROWS - 1);
		assert_int_equal(screen.row, i < ROWS - 2 ? i + 1 : ROWS - 2);
		assert_memory_equal(screen.rows[screen.row - 1], words, 7);
		assert_string_equal(screen.rows[screen.row], "");
	}
	sink->free(sink);
	screen_take(&screen, drawn(master));
	check_line_in(&screen, ROWS);
	assert_int_equal(screen.row, ROWS - 2);
	assert_string_equal(screen.rows[0], "words 5");
}

static void a_question_and_its_answer_stay(void **state)
{
	struct sink *sink = sink_new(slave, true, false);
	struct screen screen = {.bottom = ROWS - 1};

	resize(ROWS);
	/* the line is first drawn while the cursor stands in the last row */
	sample_behind(&screen, sink, "words\n\n\n\n\neverything? ");
	assert_string_equal(screen.rows[ROWS - 2], "everything? ");
	sample_behind(&screen, sink, "");
	assert_int_equal(screen.column, strlen("everything? "));
	type(&screen, "ye");
	sample_behind(&screen, sink, "");
	type(&screen, "s\n");
	sample_behind(&screen, sink, "");
	assert_string_equal(screen.rows[screen.row - 1], "everything? yes");
	check_line_in(&screen, ROWS - 1);
	sink->free(sink);
	screen_take(&screen, drawn(master));
	assert_string_equal(screen.rows[screen.row - 1], "everything? yes");
}

static void without_UTF_8_the_line_is_of_ASCII(void **state)
{
	struct sink *sink = sink_new(slave, true, false);
	struct as_system_tree t = tree();

	setenv("LC_ALL", "C", 1);
	utf8_look_at_locale();
	for (unsigned i = 0; i < 12; i++) {
		t.h.boot_ns++;
		show(sink, &t);
		sink->flush(sink);
		for (const char *p = drawn(master); *p; p++)
			assert_true((uint8_t)*p < 0x80);
	}
	setenv("LC_ALL", "C.UTF-8", 1);
	utf8_look_at_locale();
	sink->free(sink);
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

static void draw_once(void)
{
	struct sink *sink = sink_new(slave, true, false);
	struct as_system_tree t = tree();

	show(sink, &t);
	sink->flush(sink);
	sink->free(sink);
}

static void a_program_that_has_the_terminal_for_itself_is_left_alone(void **state)
{
	struct termios raw;

	assert_int_equal(tcgetattr(slave, &raw), 0);
	raw.c_lflag &= ~(tcflag_t)ICANON;
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	draw_once();
	assert_string_equal(drawn(master), "");
}

/* In a group of its own, in a session whose terminal it is. */
static void draw_in_group(bool in_front)
{
	pid_t leader = fork(), worker;
	int status;

	if (leader == 0) {
		worker = setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0 ? -1 : fork();
		if (worker == 0) {
			setpgid(0, 0);
			signal(SIGTTOU, SIG_IGN);
			if (in_front && tcsetpgrp(slave, getpid()) < 0)
				_exit(1);
			draw_once();
			_exit(0);
		}
		_exit(worker < 0 || waitpid(worker, &status, 0) != worker || status);
	}
	assert_int_equal(waitpid(leader, &status, 0), leader);
	assert_int_equal(status, 0);
}

static void who_is_not_in_front_draws_nothing(void **state)
{
	draw_in_group(false);
	assert_string_equal(drawn(master), "");
	draw_in_group(true);
	assert_non_null(strstr(drawn(master), " 1 process: CPU"));
}

static void a_terminal_that_is_gone_is_left_alone(void **state)
{
	int copy = dup(slave), ends[2];
	struct sink *sink = sink_new(copy, true, false);
	struct as_system_tree t = tree();

	assert_int_equal(pipe(ends), 0);
	/* what stands there now tells nothing of modes */
	assert_int_equal(dup2(ends[1], copy), copy);
	show(sink, &t);
	sink->flush(sink);
	sink->free(sink);
	assert_string_equal(drawn(master), "");
	close(ends[0]);
	close(ends[1]);
	close(copy);
}

static void without_a_terminal_each_sample_is_a_line(void **state)
{
	struct as_system_tree t = tree();
	struct sink *sink;
	int fds[2];

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
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
	assert_int_equal(memcmp(drawn(master), "\033D\033[A", 5), 0);
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
		TEST(on_a_terminal_the_line_has_the_last_row),
		TEST(the_row_follows_the_size_of_the_terminal),
		TEST(a_terminal_that_does_not_tell_its_size_is_left_alone),
		TEST(what_the_command_writes_goes_on_above_the_line),
		TEST(a_question_and_its_answer_stay),
		TEST(who_takes_the_terminal_gets_all_rows),
		TEST(who_is_not_in_front_draws_nothing),
		TEST(a_terminal_that_is_gone_is_left_alone),
		TEST(without_UTF_8_the_line_is_of_ASCII),
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
