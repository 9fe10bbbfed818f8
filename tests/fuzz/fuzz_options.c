/* SPDX-License-Identifier: MIT */
/*
 * Any command line: the first byte chooses the command ('A' is the first one), lines are the arguments. What is
 * accepted keeps within its limits; what is refused has a sentence.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cmd/cmd.h"

#include "fuzz.h"

#define ARGS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int split(char *text, char **argv)
{
	int argc = 0;

	while (text && argc < ARGS_MAX)
		argv[argc++] = strsep(&text, "\n");
	argv[argc] = NULL;
	return argc;
}

static void check(const struct session_options *s)
{
	for (size_t i = 0; i < s->n_names; i++)
		must(s->names[i][0] && strlen(s->names[i]) < 64 && !strchr(s->names[i], ','));
	for (size_t i = 0; i < s->n_pids; i++)
		must(s->pids[i] > 0 && s->pids[i] <= 1 << 22);
	for (size_t i = 0; i < s->n_binary_paths; i++)
		must(s->binary_paths[i][0]);
	must(s->n_names <= 64);
	must(!s->interval_ns || s->interval_ns >= 10 * NSEC_PER_MSEC);
	must(s->interval_ns <= INT64_MAX && s->duration_ns <= INT64_MAX);
	must(s->ring_bytes <= 1U << 30 && !(s->ring_bytes & (s->ring_bytes - 1)));
	must(!s->ring_bytes || s->ring_bytes >= 1 << 20);
	must(s->rotate_keep <= 10000 && s->rotate_bytes >> 20 <= 1 << 20);
	must(!s->filter || s->filter[0]);
	must(!s->output || s->output[0]);
	must(!s->pace.base_ns || s->pace.base_ns >= NSEC_PER_MSEC);
	must(!s->pace.max_ns || s->pace.max_ns >= NSEC_PER_MSEC);
	must(s->pace.base_ns <= INT64_MAX && s->pace.max_ns <= INT64_MAX);
	must(s->pss_interval_ns <= INT64_MAX);
	for (size_t i = 0; i < s->n_env_names; i++)
		must(s->env_names[i][0] && !strpbrk(s->env_names[i], ",="));
	for (size_t i = 0; i < s->n_alerts; i++)
		must(s->alerts[i][0]);
	must(!s->command || s->command[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options o = {};
	struct err e = {};
	char *argv[ARGS_MAX + 1], *text;
	unsigned command;
	int argc;

	if (size < 1)
		return 0;
	command = commands[(uint8_t)(data[0] - 'A') % n_commands].bit;
	text = strndup((const char *)data + 1, size - 1);
	must(text);
	argc = split(text, argv);
	if (options_parse(argc, argv, command, &o, &e) < 0)
		must(e.text[0]);
	else
		check(&o.session);
	options_done(&o);
	free(text);
	return 0;
}
