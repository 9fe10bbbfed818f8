/* SPDX-License-Identifier: MIT */
/*
 * Tells the world outside of alerts: runs a command, and posts to an address, for each threshold event. A
 * thread of its own starts and reaps them, so that the pipeline never waits; at most NOTIFY_RUNNING run
 * at once, NOTIFY_QUEUE wait, beside them those that are to be tried again, and what finds no room is
 * counted and said.
 *
 * The command is run by `sh -c`, with what the alert says in its environment and the event as one line of
 * JSON on its standard input. What a traced program can choose, its name above all, is in these two
 * places only and never part of a command line. The address is told by curl. Both run as the user who
 * called sudo, if somebody did, in a session of their own, and may outlive the run.
 */
#ifndef AGENTSIGHT_SINK_NOTIFY_H
#define AGENTSIGHT_SINK_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "event/event.h"

#define NOTIFY_RUNNING 4
#define NOTIFY_QUEUE   256
#define NOTIFY_TRIES   3     /* of a webhook */
#define NOTIFY_WAIT_MS 10000 /* how long the end of a run waits for those under way */

struct notify_options {
	const char *command; /* NULL: none; lives as long as the run */
	const char *webhook; /* http:// or https://; NULL: none */
	const char *curl;    /* NULL: "curl", looked up in PATH */
	bool launcher;       /* a process of their own starts them: this one will not be able to */
	unsigned retry_ms; /* before the second try, four times as much before the third; 0: 1000 */
};

struct notify;

/* -EINVAL with a sentence when the address cannot be used; -ENOMEM, -EAGAIN. */
int notify_open(const struct notify_options *opt, struct notify **ret, struct err *e);

/* The process that starts commands; 0: there is none but this one. */
pid_t notify_launcher(const struct notify *n);

/* A threshold event; others are passed over. The end of what has no duration is not told. Never blocks. */
void notify_event(struct notify *n, const struct event *ev);

struct notify_counts {
	uint64_t started; /* processes */
	uint64_t
		failed; /* tasks that ended with another status than 0; webhooks: after the last try */
	uint64_t dropped; /* found no room, or could not be started */
	uint64_t left;    /* not over when the run ended */
};

/* Waits for what is queued and under way, NOTIFY_WAIT_MS at most, and ends the thread. */
void notify_finish(struct notify *n, unsigned wait_ms);

void notify_counts(struct notify *n, struct notify_counts *ret);

/* Finishes without waiting if that was not done. */
void notify_free(struct notify *n);

#endif
