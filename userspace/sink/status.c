/* SPDX-License-Identifier: MIT */
#include "sink/status.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/line.h"
#include "base/log.h"
#include "base/units.h"
#include "base/utf8.h"

#define COLUMNS_DEFAULT 80
#define CLEAR           "\033[J" /* from the cursor on */

/*
 * The line stands below the cursor, which stays where the command left it: behind a prompt, say, and what was typed so
 * far. Index and back make room at the bottom of the screen; what is erased in the cursor's own line is a former
 * status line, into which the command has come.
 */
#define BELOW_BEGIN "\033[K\033D\033[A\0337\033[B\r"
#define BELOW_END   "\033[K\0338"

static const char *const spinner[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
static const char *const ascii_spinner[] = {"|", "/", "-", "\\"};

/* Where green ends and where red begins. */
struct limits {
	uint64_t yellow, red;
};

static const struct limits cpu_limits = {1000, 5000}; /* hundredths of a percent */
static const struct limits memory_limits = {100 << 10, 500 << 10};

/* The sum of the trees of one sample. */
struct sums {
	uint64_t boot_ns;
	uint64_t elapsed_ns;
	uint64_t cpu_centi;
	uint64_t memory_kb;
	uint64_t read_bytes, write_bytes;
	uint64_t rx_bytes, tx_bytes;
	uint32_t processes, threads;
	bool pss; /* what the memory is */
};

struct status {
	struct sink sink;
	struct status_options opt;
	int own_fd;  /* the same once more, which never blocks; -1: there can be none */
	pid_t group; /* of processes, ours: nobody moves it once we run */
	struct buf text;
	struct sums sums;
	unsigned turn;
	bool fresh; /* not drawn yet */
	bool drawn; /* a line stands on the terminal */
};

static void add_tree(struct status *s, const struct as_system_tree *t)
{
	struct sums *sum = &s->sums;

	if (sum->boot_ns != t->h.boot_ns)
		*sum = (struct sums){.boot_ns = t->h.boot_ns, .elapsed_ns = t->elapsed_ns};
	sum->cpu_centi += t->cpu_centi;
	sum->pss = t->pss_kb;
	sum->memory_kb += t->pss_kb ? t->pss_kb : t->rss_kb;
	sum->read_bytes += t->read_bytes;
	sum->write_bytes += t->write_bytes;
	sum->rx_bytes += t->rx_bytes;
	sum->tx_bytes += t->tx_bytes;
	sum->processes += t->processes;
	sum->threads += t->threads;
	s->fresh = true;
}

static enum line_style judge(const struct limits *limits, uint64_t value)
{
	if (value < limits->yellow)
		return LINE_GREEN;
	return value < limits->red ? LINE_YELLOW : LINE_RED;
}

static void put_pair(struct line *l, const char *name, uint64_t in, uint64_t out,
		     const char *in_name, const char *out_name)
{
	char a[UNITS_LEN], b[UNITS_LEN];

	line_printf(l, " | %s %s %s, %s %s", name, units_bytes(a, in), in_name, units_bytes(b, out),
		    out_name);
}

static unsigned columns(const struct status *s)
{
	struct winsize size;

	if (!s->opt.in_place)
		return LINE_MAX; /* a line may be as long as it is */
	/* the last column stays free, or the terminal would begin a new line */
	return ioctl(s->opt.fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1
									   : COLUMNS_DEFAULT - 1;
}

static void put_line(struct status *s)
{
	const struct sums *sum = &s->sums;
	char text[UNITS_LEN];
	struct line l;

	line_begin(&l, &s->text, columns(s), s->opt.colour);
	if (s->opt.in_place) {
		line_str(&l, utf8_is_shown() ? spinner[s->turn % ARRAY_SIZE(spinner)]
					     : ascii_spinner[s->turn % ARRAY_SIZE(ascii_spinner)]);
		s->turn++;
		line_str(&l, " ");
	}
	line_style(&l, LINE_DIM);
	line_printf(&l, "[%.1f s]", (double)sum->elapsed_ns / NSEC_PER_SEC);
	line_style(&l, LINE_PLAIN);
	line_printf(&l, " %u process%s: CPU ", sum->processes, sum->processes == 1 ? "" : "es");
	line_style(&l, judge(&cpu_limits, sum->cpu_centi));
	line_printf(&l, "%llu.%llu%%", (unsigned long long)sum->cpu_centi / 100,
		    (unsigned long long)sum->cpu_centi / 10 % 10);
	line_style(&l, LINE_PLAIN);
	line_str(&l, sum->pss ? " | PSS " : " | RSS ");
	line_style(&l, judge(&memory_limits, sum->memory_kb));
	line_str(&l, units_bytes(text, sum->memory_kb * 1024));
	line_style(&l, LINE_PLAIN);
	line_printf(&l, " | %u thread%s", sum->threads, sum->threads == 1 ? "" : "s");
	put_pair(&l, "disk", sum->read_bytes, sum->write_bytes, "read", "written");
	put_pair(&l, "net", sum->rx_bytes, sum->tx_bytes, "in", "out");
	line_end(&l);
}

/*
 * A program that reads keys as they are pressed draws the screen itself, one that hides what is typed asks for a
 * password; and who is not in front has no business there. Nobody is in front on a terminal of another session.
 */
static bool terminal_is_taken(const struct status *s)
{
	const tcflag_t plain = ICANON | ECHO;
	pid_t front = tcgetpgrp(s->opt.fd);
	struct termios t;

	return tcgetattr(s->opt.fd, &t) < 0 || (t.c_lflag & plain) != plain ||
	       (front >= 0 && front != s->group);
}

/* False when it did not take anything. A pipe that can be written has room for PIPE_BUF bytes, not for more. */
static bool send_text(struct status *s)
{
	struct pollfd p = {.fd = s->own_fd >= 0 ? s->own_fd : s->opt.fd, .events = POLLOUT};

	/* what is not taken now, because of Ctrl-S or a reader that sleeps, is not worth waiting for */
	return poll(&p, 1, 0) > 0 && p.revents & POLLOUT &&
	       write(p.fd, s->text.data, MIN(s->text.len, (size_t)PIPE_BUF)) > 0;
}

static void clear(struct status *s)
{
	if (!s->drawn)
		return;
	s->drawn = false;
	log_in_place(false);
	buf_reset(&s->text);
	buf_add_lit(&s->text, CLEAR);
	send_text(s);
}

static void draw(struct status *s)
{
	buf_reset(&s->text);
	if (s->opt.in_place)
		buf_add_lit(&s->text, BELOW_BEGIN);
	put_line(s);
	if (s->text.failed)
		return;
	if (s->opt.in_place) {
		s->text.len--; /* the end of the line */
		buf_add_lit(&s->text, BELOW_END);
	}
	if (s->text.failed || !send_text(s))
		return;
	s->drawn = s->opt.in_place;
	log_in_place(s->drawn);
}

static void status_write(struct sink *self, const struct event *ev, const char *line, size_t len)
{
	struct status *s = (struct status *)self;

	if (ev->rec->type == AS_EV_SYSTEM_TREE)
		add_tree(s, (const void *)ev->rec);
}

static void status_flush(struct sink *self)
{
	struct status *s = (struct status *)self;

	if (!s->fresh)
		return;
	s->fresh = false;
	if (s->opt.in_place && terminal_is_taken(s))
		s->drawn = false;
	else
		draw(s);
}

static void status_free(struct sink *self)
{
	struct status *s = (struct status *)self;

	clear(s);
	closep(&s->own_fd);
	buf_done(&s->text);
	free(s);
}

int status_sink_new(const struct status_options *opt, struct sink **ret)
{
	struct status *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->sink = (struct sink){status_write, status_flush, status_free};
	s->opt = *opt;
	s->opt.in_place = opt->in_place && isatty(opt->fd);
	s->own_fd = io_open_again(opt->fd);
	s->group = getpgrp();
	*ret = &s->sink;
	return 0;
}
