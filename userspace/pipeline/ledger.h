/* SPDX-License-Identifier: MIT */
/*
 * The account of a run. For every event type:
 *   produced = delivered + dropped + missed + filtered + shed + difference,   difference = 0.
 * The kernel counts what happened and what it could not hand over, each room what it kept back, the
 * writer what it wrote. Losses become `loss` events when they happen, the whole becomes `stop`.
 */
#ifndef AGENTSIGHT_PIPELINE_LEDGER_H
#define AGENTSIGHT_PIPELINE_LEDGER_H

#include <stdint.h>

#include "event/event.h"
#include "sink/writer.h"
#include "source/bpf.h"
#include "source/order.h"

/* What is kept in user space has a limit, and gives something up there. */
enum ledger_table {
	TABLE_PROCESSES, /* also trees of them */
	TABLE_CONNECTIONS,
	TABLE_TOOL_CALLS,
	TABLE_TOOL_PROCESSES,
	TABLE_TLS_FILES,
	TABLE_CGROUPS,
	TABLE_CAPABILITIES,
	LEDGER_TABLES,
};

struct table_counts {
	uint64_t refused; /* found no room */
	uint64_t evicted; /* given up for others, or because nobody needed it */
};

struct ledger_inputs {
	const struct bpf_shared *shared; /* NULL without kernel programs */
	uint64_t missed;
	struct order_counts order;
	uint64_t late;            /* delivered out of order */
	const uint64_t *entered;  /* per type: came out of the ordering */
	const uint64_t *arrived;  /* per type: came before the selection */
	const uint64_t *filtered; /* per type */
	const uint64_t *shed;     /* per type: by stages, at a stated limit */
	const struct writer_counts *written;
	struct table_counts tables[LEDGER_TABLES];
};

struct ledger_row {
	uint64_t produced;
	uint64_t delivered;
	uint64_t dropped_ring;
	uint64_t dropped_output;
	uint64_t dropped_memory; /* there was none */
	uint64_t filtered;
	uint64_t shed;
	uint64_t unread;
};

struct ledger {
	struct ledger_row rows[AS_EV_COUNT];
	struct table_counts tables[LEDGER_TABLES];
	uint64_t missed;
	uint64_t late;
	uint64_t bad;
};

void ledger_take(const struct ledger_inputs *in, struct ledger *ret);

/* Emits a `loss` event for every count that grew from @before to @now. */
void ledger_emit_losses(const struct ledger *before, const struct ledger *now, struct emitter *out);

/* Emits `stats` or `stop`; @since_ns is the boot time of the start. */
void ledger_emit_totals(const struct ledger *l, unsigned type, const char *reason,
			uint64_t since_ns, struct emitter *out);

/* The totals for a person: events delivered, and what was lost. */
uint64_t ledger_delivered(const struct ledger *l);
uint64_t ledger_lost(const struct ledger *l);

#endif
