/* SPDX-License-Identifier: MIT */
/* record, trace, ssl, process, network, files, system: one run with different sources. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cmd.h"

static void choose_output(const struct command *c, struct options *o)
{
	struct session_options *s = &o->session;

	if (c->bit == CMD_RECORD && !s->output)
		s->output = "record.log";
	/* a person watches: readable lines, beside the recording if there is one */
	s->readable = isatty(STDOUT_FILENO) && !o->json && !o->quiet &&
		      (c->bit == CMD_RECORD || !s->output);
	s->summary = c->bit == CMD_RECORD && !o->quiet;
}

static int check(const struct command *c, const struct options *o)
{
	const struct session_options *s = &o->session;

	if (c->bit == CMD_RECORD && !s->n_names && !s->n_pids && !s->command) {
		log_error("record whom? Name programs (-c claude) or processes (-p 1234), or start "
			  "one "
			  "(-- claude)");
		return EXIT_USAGE;
	}
	if (s->no_redact)
		log_warning("--no-redact: keys, tokens and passwords will stand in the output");
	return EXIT_ASKED;
}

int say_failure(int r, const struct err *e, bool of_execve)
{
	log_error("%s", e->text[0] ? e->text : strerror(-r));
	if (of_execve)
		return EXIT_FAILED;
	if (r == -EPERM || r == -EACCES)
		return EXIT_NO_PRIV;
	return r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

int cmd_stream(const struct command *c, struct options *o)
{
	struct session_options *s = &o->session;
	struct session_result result = {};
	struct err e = {};
	int r;

	r = options_sources(o, c->sources, &e);
	if (r < 0)
		return say_failure(r, &e, false);
	s->each_call = c->bit != CMD_RECORD;
	r = check(c, o);
	if (r != EXIT_ASKED)
		return r;
	choose_output(c, o);
	/* a name may start again, a process id not */
	s->end_with_members = s->n_pids && !s->n_names && !s->command;

	s->pace = (struct pace){PACE_FIXED, s->interval_ns, s->interval_ns};
	r = session_run(s, &result, &e);
	if (r < 0)
		return say_failure(r, &e, result.released);
	return o->exit_over && result.alerts ? EXIT_OVER : EXIT_ASKED;
}
