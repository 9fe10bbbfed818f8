/* SPDX-License-Identifier: MIT */
/*
 * The stages in their order, and the sinks behind them:
 *   ordered events → enrich → file_io → tls_join → http → alert → select → redact → sinks
 */
#ifndef AGENTSIGHT_PIPELINE_CHAIN_H
#define AGENTSIGHT_PIPELINE_CHAIN_H

#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "enrich/proc_table.h"
#include "event/event.h"
#include "pipeline/ledger.h"
#include "pipeline/session.h"
#include "sink/writer.h"

struct filter;
struct file_sums_ops;

struct chain_options {
	const struct session_options *session;
	const struct filter *filter; /* may be NULL */
	struct proc_table *procs;
	bool no_kernel; /* no kernel programs: /proc alone tells of processes */
	const struct file_sums_ops *file_sums; /* NULL: no file family */
	/* who wants to know of an exec or a new connection at once (TLS discovery); may be NULL */
	void (*on_activity)(void *context, const struct event *ev);
	/* who has something to say behind an event, through @out; may be NULL */
	void (*on_behind)(void *context, const struct event *ev, struct emitter *out);
	/* an alert has started, so that a sample is wanted; may be NULL */
	void (*on_alert)(void *context);
	const char *(*library_name)(void *context, uint32_t number,
				    uint32_t tgid); /* may be NULL */
	void *context;
	void (*on_closed)(
		void *context); /* nobody reads the output any more; from another thread */
	void (*on_opened)(void *context); /* somebody does again; from that thread, too */
};

struct chain;

int chain_open(const struct chain_options *opt, struct chain **ret, struct err *e);
void chain_free(struct chain *c);

struct emitter *chain_input(struct chain *c);

/* The command of the run, which was held until @boot_ns: that is not in the time that its end tells. */
void chain_released(struct chain *c, uint32_t tgid, uint64_t boot_ns);

/* A process that the chain has started for itself; 0: none. */
pid_t chain_launcher(const struct chain *c);

/* How many events reached the sinks behind younger ones. */
uint64_t chain_late(const struct chain *c);

/* Behind the stages, straight to the sinks: for what the run says of itself at its end. */
struct emitter *chain_sinks(struct chain *c);

void chain_tick(struct chain *c, uint64_t boot_ns);
void chain_flush(struct chain *c);

/* Gives back what the writers keep for lines that may come. */
void chain_trim(struct chain *c);

/* Passes on what stages hold. */
void chain_finish(struct chain *c);

void chain_reopen(struct chain *c);

/* Does somebody wait for the next line: is the output a terminal or a pipe? */
bool chain_is_watched(const struct chain *c);

/* What was delivered: written as JSON or denet's records, else as readable lines, else shown to whoever reads along. */
void chain_written(struct chain *c, struct writer_counts *ret);
bool chain_sync(struct chain *c, unsigned stall_ms);

const uint64_t *chain_entered(const struct chain *c);
const uint64_t *chain_arrived(const struct chain *c);
const uint64_t *chain_filtered(const struct chain *c);

/* What stages gave up at a stated limit. */
void chain_shed(const struct chain *c, uint64_t shed[AS_EV_COUNT]);

/* Fills in the tables of stages. */
void chain_tables(const struct chain *c, struct table_counts ret[LEDGER_TABLES]);

/* Since the start; also those that no output shows. */
uint64_t chain_alerts_started(const struct chain *c);

/* 0 to 1: how near the nearest alert rule is to its limit. */
double chain_alert_nearness(const struct chain *c);

/* Statistics so far as JSON, appended. -ENODATA when they were not asked for. */
int chain_statistics(struct chain *c, struct buf *json);

/* The `summary` event; the samples have ended. */
void chain_emit_statistics(struct chain *c, uint64_t boot_ns);

/* What was seen, in a few lines for a person, as wide as the terminal on standard error is. */
void chain_print_summary(const struct chain *c, FILE *f, bool colour);

#endif
