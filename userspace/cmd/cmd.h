/* SPDX-License-Identifier: MIT */
/* The commands, as a table. */
#ifndef AGENTSIGHT_CMD_CMD_H
#define AGENTSIGHT_CMD_CMD_H

#include "cmd/options.h"

struct command {
	const char *name;
	const char *help;     /* one line */
	const char *about;    /* a paragraph */
	const char *operands; /* what follows the options, for the usage line */
	unsigned bit;         /* enum command_bit */
	unsigned sources;     /* SOURCE_*: what the command watches, where it is not asked */
	int (*run)(const struct command *c, struct options *o); /* returns the exit status */
};

extern const struct command commands[];
extern const size_t n_commands;

int cmd_stream(const struct command *c, struct options *o);
int cmd_run(const struct command *c, struct options *o);
int cmd_doctor(const struct command *c, struct options *o);
int cmd_stats(const struct command *c, struct options *o);
int cmd_diff(const struct command *c, struct options *o);
int cmd_schema(const struct command *c, struct options *o);

/*
 * Says why a run could not begin; returns the exit status for it. @of_execve: the command could not be executed, which
 * is nothing about our privileges and our usage.
 */
int say_failure(int r, const struct err *e, bool of_execve);

#endif
