/* SPDX-License-Identifier: MIT */
/*
 * The command line as data. One row per option gives parsing, --help, and what the completion files
 * and the man page are checked against.
 */
#ifndef AGENTSIGHT_CMD_OPTIONS_H
#define AGENTSIGHT_CMD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"
#include "pipeline/session.h"

/* Exit statuses of the program. */
enum {
	EXIT_ASKED = 0,       /* ended as asked */
	EXIT_FAILED = 1,      /* could not do its work */
	EXIT_USAGE = 2,       /* wrong usage */
	EXIT_NO_PRIV = 3,     /* privilege is missing */
	EXIT_OVER = 4,        /* --exit-over, and an alert was raised */
	EXIT_NOT_RUN = 126,   /* run: the command cannot be executed, */
	EXIT_NOT_FOUND = 127, /* or is not there; as shells have it */
	EXIT_TIMEOUT = 124,   /* run: --duration was over before the command */
};

/* Which commands an option belongs to. */
enum command_bit {
	CMD_RECORD = 1 << 0,
	CMD_TRACE = 1 << 1,
	CMD_SSL = 1 << 2,
	CMD_PROCESS = 1 << 3,
	CMD_NETWORK = 1 << 4,
	CMD_FILES = 1 << 5,
	CMD_SYSTEM = 1 << 6,
	CMD_DOCTOR = 1 << 7,
	CMD_SCHEMA = 1 << 8,
	CMD_RUN = 1 << 9,
	CMD_ATTACH = 1 << 10,
	CMD_STATS = 1 << 11,
	CMD_DIFF = 1 << 12,
};

#define OPTIONS_SOURCES 8 /* bits of SOURCE_*, and some to spare */

struct options {
	struct session_options session;
	unsigned sources_off;              /* SOURCE_*: switched off by name */
	unsigned sources_more;             /* SOURCE_*: of which an option tells more, */
	const char *more[OPTIONS_SOURCES]; /* which one, by bit */
	bool help;
	bool verbose;
	bool quiet;
	bool no_color;
	bool json;
	bool markdown;
	bool exit_over; /* exit status 4 when an alert was raised */
	bool since_process_start;
	bool exclude_children;
	bool no_update;
	bool no_polling;
	bool rotate_keep; /* given */
	const char *html; /* stats: write a report there */
	char **args; /* what is no option: process ids, files; borrowed from the command line */
	size_t n_args;
};

/*
 * Parses the arguments behind the command's name. What follows "--" is a command to start. 0, or
 * -EINVAL with a sentence that names the argument and what is expected.
 */
int options_parse(int argc, char **argv, unsigned command, struct options *o, struct err *e);

/*
 * Which sources are watched, behind options_parse(): @fixed are the command's own, 0: those that are named, or TLS and
 * processes. What an option tells more of is watched, too; -EINVAL where that was switched off.
 */
int options_sources(struct options *o, unsigned fixed, struct err *e);

/* Options may stand before the command: where the command stands, or 1 when there is none. */
int options_command_index(int argc, char **argv);
void options_done(struct options *o);

/* Adds the process ids of a list as -p takes it. */
int options_pids(struct options *o, const char *text, struct err *e);

/* Options that are of no use to @command without another one; when all of them are read. */
int options_check(const struct options *o, unsigned command, struct err *e);

/* The options of @command, aligned. */
void options_help(FILE *f, unsigned command);

#endif
