/* SPDX-License-Identifier: MIT */
/*
 * Links the tool calls of a model to what they did on this machine: which process was started for a
 * call, what its descendants were, which files they changed and where they connected.
 *
 * A process belongs to a call by evidence: the call's own text in its arguments, the session that the
 * agent put into its environment, its descent from the process that was answered, and time. Children of
 * a process that belongs, belong. A call that no process was started for may have been done by the agent
 * itself: then a change of the file that the call names is the evidence.
 */
#ifndef AGENTSIGHT_STAGE_TOOL_RUN_H
#define AGENTSIGHT_STAGE_TOOL_RUN_H

#include "enrich/proc_table.h"
#include "event/event.h"
#include "llm/listener.h"

#define TOOL_RUN_CALLS     256   /* open at once; then the oldest ends untold */
#define TOOL_RUN_PROCESSES 4096  /* that belong to open calls */
#define TOOL_RUN_INPUT_MAX 65536 /* bytes of a call's input that are kept */
#define TOOL_RUN_LISTED    64    /* files and connections listed per call; all are counted */

struct tool_run_counts {
	uint64_t made;      /* events */
	uint64_t unmade;    /* for lack of memory */
	uint64_t forgotten; /* calls that ended because there were too many */
	uint64_t untracked; /* processes that found no room */
};

/* @procs is read only, for ancestors. -ENOMEM. */
int tool_run_new(struct emitter *out, const struct proc_table *procs, struct stage **ret);

/* What to hand to the stage that reads models; lives as long as @s. */
const struct llm_listener *tool_run_listener(struct stage *s);

const struct tool_run_counts *tool_run_counts(const struct stage *s);

#endif
