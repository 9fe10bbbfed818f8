/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/report.h"
#include "stats/html.h"
#include "stats/json.h"
#include "stats/text.h"

static int write_html(const struct stats *s, const char *path)
{
	_cleanup_(buf_done) struct buf page = {};

	stats_html(&page, s);
	return report_write(path, &page);
}

/* 0 or -ENOMEM. */
static int print_json(FILE *f, const struct stats *s, const struct stats_input *input)
{
	_cleanup_(buf_done) struct buf b = {};

	stats_json(&b, s, input, STATS_LISTED);
	buf_add_char(&b, '\n');
	if (b.failed)
		return -ENOMEM;
	fwrite(b.data, 1, b.len, f);
	return 0;
}

/* A report alone needs no table; who asks for both gets both. */
static int print(const struct options *o, const struct stats *s, const struct stats_input *input)
{
	FILE *f;
	int r;

	if (o->html && !o->json && !o->session.output)
		return EXIT_ASKED;
	f = report_open(o);
	if (!f)
		return EXIT_FAILED;
	if (o->json)
		r = print_json(f, s, input);
	else
		r = stats_print(s, f, o->session.colour && f == stdout, report_width(f));
	if (r < 0)
		log_error("not enough memory");
	return report_close(f, r < 0 ? EXIT_FAILED : EXIT_ASKED);
}

int cmd_stats(const struct command *c, struct options *o)
{
	_cleanup_(stats_freep) struct stats *s = NULL;
	struct stats_input input;
	int status;

	if (!o->n_args) {
		log_error("stats of what? Name recordings; '-' is standard input");
		return EXIT_USAGE;
	}
	status = report_read(o->args, o->n_args, &s, &input);
	if (status)
		return status;
	if (o->html)
		status = write_html(s, o->html);
	return status ? status : print(o, s, &input);
}
