/* SPDX-License-Identifier: MIT */
/* run and attach: a process and all that it starts, sampled until it ends. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cmd/cmd.h"

#define PSS_NS     (5 * NSEC_PER_SEC)
#define RING_BYTES (1U << 20) /* process and connection events only */

#define EXIT_SIGNALLED 128 /* and the number of the signal, as shells have it */

static int choose_pids(struct options *o, struct err *e)
{
	struct session_options *s = &o->session;

	for (size_t i = 0; i < o->n_args; i++) {
		int r = options_pids(o, o->args[i], e);

		if (r < 0)
			return r;
	}
	if (!s->n_pids && !s->n_names)
		return err_set(e, -EINVAL,
			       "attach to what? Give process ids (agentsight attach 1234), or "
			       "names (-c claude)");
	s->end_with_pids = s->n_pids && !s->n_names;
	return 0;
}

static int choose_pace(struct options *o, struct err *e)
{
	struct pace *p = &o->session.pace;

	pace_complete(p, o->no_polling);
	if (p->max_ns < p->base_ns)
		return err_set(e, -EINVAL, "--max-interval is shorter than --interval");
	o->session.interval_ns = p->max_ns;
	return 0;
}

/* A terminal of which a row can be taken. */
static bool has_rows(int fd)
{
	const char *term = getenv("TERM");

	return isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

/*
 * The command's own output stays what it is: events go to a file, or with --json to standard output,
 * which the command then does not get. With both they go to the file, and nothing readable is said.
 */
static void choose_output(const struct command *c, struct options *o)
{
	struct session_options *s = &o->session;
	bool runs = c->bit == CMD_RUN, json = o->json;

	if (!runs && !s->output && !isatty(STDOUT_FILENO))
		json = true;
	if (runs && json && !s->output)
		s->files.out = STDERR_FILENO;
	s->no_output = !json && !s->output;
	s->status_lines = !json && !o->quiet && o->no_update;
	s->status = !json && !o->quiet && !o->no_update && has_rows(STDERR_FILENO);
	s->summary = !json && !o->quiet;
}

static int choose(const struct command *c, struct options *o, struct err *e)
{
	struct session_options *s = &o->session;
	int r;

	if (c->bit == CMD_RUN && !s->command)
		return err_set(e, -EINVAL,
			       "run what? Put the command behind: agentsight run -- make");
	if (c->bit == CMD_ATTACH) {
		r = choose_pids(o, e);
		if (r < 0)
			return r;
	}
	r = choose_pace(o, e);
	if (r < 0)
		return r;
	s->sources = c->sources;
	s->best_effort = true;
	s->detail = true;
	s->statistics = true;
	s->forced_samples = !o->no_polling;
	s->no_children |= o->exclude_children;
	s->since_start = o->since_process_start || c->bit == CMD_RUN;
	s->command_first = c->bit == CMD_RUN;
	if (!s->ring_bytes)
		s->ring_bytes = RING_BYTES;
	if (!s->pss_interval_ns)
		s->pss_interval_ns = PSS_NS;
	choose_output(c, o);
	if (s->no_output && s->format == FORMAT_DENET)
		return err_set(e, -EINVAL,
			       "--format denet needs a place for the records: --output FILE or "
			       "--json");
	return 0;
}

static int command_status(int status)
{
	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	log_notice("the command was ended by signal %d (%s)%s", WTERMSIG(status),
		   strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
	return EXIT_SIGNALLED + WTERMSIG(status);
}

static int exit_status(const struct options *o, const struct session_result *result)
{
	int status = EXIT_ASKED;

	if (result->timed_out && o->session.command)
		return EXIT_TIMEOUT;
	if (result->command_ended)
		status = command_status(result->command_status);
	else if (result->interrupted)
		status = EXIT_SIGNALLED + SIGINT;
	if (status == EXIT_ASKED && o->exit_over && result->alerts)
		return EXIT_OVER;
	return status;
}

int cmd_run(const struct command *c, struct options *o)
{
	struct session_result result = {};
	struct err e = {};
	int status, r;

	r = choose(c, o, &e);
	if (r >= 0)
		r = session_run(&o->session, &result, &e);
	if (r >= 0)
		return exit_status(o, &result);
	status = say_failure(r, &e, result.released);
	if (!result.released)
		return status;
	return r == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
}
