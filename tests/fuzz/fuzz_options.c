/* SPDX-License-Identifier: MIT */
/*
 * Any command line: the first two bytes choose the command, lines are the arguments. What is accepted
 * keeps within its limits; what is refused has a sentence.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cmd/options.h"

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
	must(s->interval_ns < 1000000001 * NSEC_PER_SEC);
	must(s->duration_ns < 1000000001 * NSEC_PER_SEC);
	must(s->ring_bytes <= 1U << 30 && !(s->ring_bytes & (s->ring_bytes - 1)));
	must(!s->ring_bytes || s->ring_bytes >= 1 << 20);
	must(s->rotate_keep <= 10000 && s->rotate_bytes >> 20 <= 1 << 20);
	must(!s->filter || s->filter[0]);
	must(!s->output || s->output[0]);
	must(!s->command || s->command[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options o = {};
	struct err e = {};
	char *argv[ARGS_MAX + 1], *text;
	unsigned command;
	int argc;

	if (size < 2)
		return 0;
	command = 1U << (data[0] + data[1]) % 9;
	text = strndup((const char *)data + 2, size - 2);
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
