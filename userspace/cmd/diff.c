/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/report.h"
#include "stats/diff.h"

static int check(const struct options *o)
{
	if (o->n_args != 2) {
		log_error(
			"diff takes two recordings: the first is what the second is compared with");
		return EXIT_USAGE;
	}
	if (o->html) {
		log_error("--html belongs to stats: a report is of one recording");
		return EXIT_USAGE;
	}
	if (!strcmp(o->args[0], "-") && !strcmp(o->args[1], "-")) {
		log_error("standard input can be one of the recordings only");
		return EXIT_USAGE;
	}
	return 0;
}

static int print(const struct options *o, const struct stats *a, const struct stats *b)
{
	_cleanup_(buf_done) struct buf text = {};
	FILE *f = report_open(o);
	bool failed;

	if (!f)
		return EXIT_FAILED;
	if (o->json) {
		stats_diff_json(&text, a, o->args[0], b, o->args[1]);
		buf_add_char(&text, '\n');
		failed = text.failed;
		if (!failed)
			fwrite(text.data, 1, text.len, f);
	} else {
		failed = stats_diff_print(a, o->args[0], b, o->args[1], f,
					  o->session.colour && f == stdout, report_width(f)) < 0;
	}
	if (failed)
		log_error("not enough memory");
	return report_close(f, failed ? EXIT_FAILED : EXIT_ASKED);
}

int cmd_diff(const struct command *c, struct options *o)
{
	_cleanup_(stats_freep) struct stats *a = NULL;
	_cleanup_(stats_freep) struct stats *b = NULL;
	struct stats_input input;
	int status = check(o);

	if (!status)
		status = report_read(&o->args[0], 1, &a, &input);
	if (!status)
		status = report_read(&o->args[1], 1, &b, &input);
	return status ? status : print(o, a, b);
}
