/* SPDX-License-Identifier: MIT */
/*
 * The sources of a run, opened in the order in which they depend on one another, each with the
 * choice to go on without it: a family that this kernel refuses leaves the others running.
 */
#ifndef AGENTSIGHT_PIPELINE_SOURCES_H
#define AGENTSIGHT_PIPELINE_SOURCES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "base/err.h"
#include "enrich/proc_table.h"
#include "event/event.h"
#include "pipeline/ledger.h"
#include "pipeline/session.h"
#include "source/bpf.h"
#include "source/order.h"
#include "source/sampler.h"
#include "stage/file_io.h"

struct sources;

/*
 * Creates the maps and attaches the process family, then seeds @procs from /proc. -EPERM when
 * privilege is missing and samples alone were not what was asked for. @begin_ns: of the run.
 */
int sources_open(const struct session_options *opt, struct proc_table *procs, uint64_t begin_ns,
		 struct sources **ret, struct err *e);

/*
 * Finds who belongs at this moment, then attaches the other families; what fails is said and recorded
 * as a capability. Loading takes some 50 ms each: @breathe is called in between, so that what the
 * first ones see is passed on meanwhile.
 */
int sources_attach(struct sources *s, struct emitter *samples, void (*breathe)(void *context),
		   void *context, struct err *e);

void sources_free(struct sources *s);

struct bpf_shared *sources_shared(const struct sources *s); /* NULL without kernel programs */

/* For the file_io stage; usable before the family is loaded. */
struct file_sums_ops sources_file_sums(struct sources *s);
const char *sources_library(void *sources, uint32_t number, uint32_t tgid);

/* Fills in the tables of sources. */
void sources_tables(const struct sources *s, struct table_counts ret[LEDGER_TABLES]);

/* How many processes belonged when it began. */
size_t sources_followed(const struct sources *s);

/* Is anybody left who belongs? Only where processes were chosen. */
bool sources_has_members(const struct sources *s);

/* Follows the command, which the run itself has started. */
int sources_follow(struct sources *s, uint32_t tgid, struct err *e);

/* Lets time count from here; behind sources_follow(). */
void sources_released(struct sources *s, uint64_t boot_ns);

/* An exec or a connection: new libraries may be mapped any moment. */
void sources_activity(void *sources, const struct event *ev);

/* Behind an event: what is to be told of the process goes to @out. */
void sources_behind(void *sources, const struct event *ev, struct emitter *out);

/* Milliseconds until sources_poll() is due; -1: not at all. */
int sources_poll_ms(const struct sources *s, uint64_t boot_ns);
void sources_poll(struct sources *s, uint64_t boot_ns);

void sources_tick(struct sources *s, uint64_t boot_ns);

/* As sampler_plan(); behind sources_attach(). */
void sources_plan(struct sources *s,
		  uint64_t (*plan)(void *ctx, uint64_t boot_ns, const struct sampler_load *load),
		  void *ctx);

/* @next_ns: planned time to the next one, unless sources_plan() has it. */
void sources_sample(struct sources *s, uint64_t boot_ns, enum as_sample_reason reason,
		    uint64_t next_ns);

/* The kernel's account of the command that has ended; see sampler_waited(). */
void sources_waited(struct sources *s, uint32_t tgid, const struct rusage *used);

/* Last sums into the rings, then everything off. */
void sources_finish(struct sources *s);

uint64_t sources_missed(const struct sources *s);

#endif
