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

/*
 * The line has the terminal's last row for itself: the rows above are made its scrolling region (DECSTBM), as package
 * managers do it. What the command writes goes on there, and a question that it waits behind stays as it is.
 * Position and style of the cursor are the command's: kept, and given back (DECSC, DECRC).
 */
#define KEEP      "\0337"
#define GIVE_BACK "\0338"
#define ALL_ROWS  "\033[r"
#define GO_TO_ROW "\033[%u;1H"
#define ERASE     "\033[K"
#define PLAIN     "\033[0m"
#define MAKE_ROOM "\033D\033[A" /* one row down, which scrolls on the last one, and up again */
#define ROWS_MIN  3
#define END_MS    1000 /* how long the terminal is asked to take the row back */

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
	int own_fd; /* the same once more, which never blocks; -1: there can be none */
	struct buf text;
	struct sums sums;
	unsigned turn;
	bool fresh;   /* not drawn yet */
	unsigned row; /* which has been taken from the terminal; 0: none */
	pid_t group;  /* of processes, ours */
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

static void put_line(struct status *s, unsigned columns)
{
	const struct sums *sum = &s->sums;
	char text[UNITS_LEN];
	struct line l;

	line_begin(&l, &s->text, columns, s->opt.colour);
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
 * A program that reads keys as they are pressed draws the screen itself, and who is not in front has no business there.
 * A terminal that is not the session's own has nobody in front.
 */
static bool terminal_is_taken(const struct status *s)
{
	pid_t front = tcgetpgrp(s->opt.fd);
	struct termios t;

	return tcgetattr(s->opt.fd, &t) < 0 || !(t.c_lflag & ICANON) ||
	       (front >= 0 && front != s->group);
}

/* False when it did not take anything. A pipe that can be written has room for PIPE_BUF bytes, not for more. */
static bool send_text(struct status *s, int wait_ms)
{
	struct pollfd p = {.fd = s->own_fd >= 0 ? s->own_fd : s->opt.fd, .events = POLLOUT};

	if (s->text.failed)
		return false;
	return poll(&p, 1, wait_ms) > 0 && p.revents & POLLOUT &&
	       write(p.fd, s->text.data, MIN(s->text.len, (size_t)PIPE_BUF)) > 0;
}

/* All rows are the terminal's again. */
static void put_release(struct status *s, bool erase)
{
	buf_add_lit(&s->text, KEEP ALL_ROWS);
	if (erase)
		buf_printf(&s->text, GO_TO_ROW ERASE, s->row);
	buf_add_lit(&s->text, GIVE_BACK);
}

static void put_take(struct status *s, unsigned row)
{
	buf_add_lit(&s->text, MAKE_ROOM KEEP);
	buf_printf(&s->text, "\033[1;%ur", row - 1);
	buf_add_lit(&s->text, GIVE_BACK);
}

/* What is not taken now, because of Ctrl-S or a reader that sleeps, is not worth waiting for. */
static void draw_row(struct status *s)
{
	struct winsize size;

	if (ioctl(s->opt.fd, TIOCGWINSZ, &size) < 0 || size.ws_row < ROWS_MIN || size.ws_col < 2)
		return;
	buf_reset(&s->text);
	if (s->row && s->row != size.ws_row) /* a row that became one of many has our line in it */
		put_release(s, s->row < size.ws_row);
	if (s->row != size.ws_row)
		put_take(s, size.ws_row);
	buf_add_lit(&s->text, KEEP PLAIN);
	buf_printf(&s->text, GO_TO_ROW, size.ws_row);
	/* the last column stays free, or the terminal would begin a new line */
	put_line(s, size.ws_col - 1U);
	if (s->text.len && s->text.data[s->text.len - 1] == '\n')
		s->text.len--;
	buf_add_lit(&s->text, ERASE GIVE_BACK);
	if (send_text(s, 0))
		s->row = size.ws_row;
}

static void release(struct status *s, bool erase, int wait_ms)
{
	if (!s->row)
		return;
	buf_reset(&s->text);
	put_release(s, erase);
	send_text(s, wait_ms);
	s->row = 0;
}

static void draw_line(struct status *s)
{
	buf_reset(&s->text);
	put_line(s, LINE_MAX); /* it may be as long as it is */
	send_text(s, 0);
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
	if (!s->opt.in_place)
		draw_line(s);
	else if (terminal_is_taken(s))
		release(s, false, 0); /* what stands there may be that program's by now */
	else
		draw_row(s);
}

static void status_free(struct sink *self)
{
	struct status *s = (struct status *)self;

	release(s, true, END_MS);
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
