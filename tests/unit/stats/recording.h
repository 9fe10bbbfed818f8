/* SPDX-License-Identifier: MIT */
/* A run of a minute with two processes, an alert, a call and a tool run: known from end to end. */
#ifndef TEST_STATS_RECORDING_H
#define TEST_STATS_RECORDING_H

#include <string.h>

#include "base/clock.h"
#include "stats/stats.h"

#define T0 (1700000000ULL * NSEC_PER_SEC)

/* @factor: how much of everything. */
static inline void recording_fill(struct stats *s, uint64_t factor, const char *comm)
{
	struct stats_exit end = {
		.pid = 10,
		.start = 1,
		.comm = "agent",
		.comm_len = 5,
		.unix_ns = T0 + 60 * NSEC_PER_SEC,
		.duration_ns = 60 * NSEC_PER_SEC,
		.exit_code = 3,
	};
	struct stats_alert_event alert = {
		.pid = 10,
		.rule = comm,
		.rule_len = strlen(comm),
		.metric = "cpu",
		.metric_len = 3,
		.unix_ns = T0 + 30 * NSEC_PER_SEC,
		.value = 9000,
		.limit = 8000,
	};
	struct stats_call call = {
		.model = comm,
		.model_len = strlen(comm),
		.provider = "x",
		.provider_len = 1,
		.unix_ns = T0 + 20 * NSEC_PER_SEC,
		.duration_ns = NSEC_PER_SEC,
		.input_tokens = 1000 * factor,
		.cost_nano_usd = 5000000,
	};
	struct stats_tool tool = {
		.name = comm,
		.name_len = strlen(comm),
		.unix_ns = T0 + 21 * NSEC_PER_SEC,
		.duration_ns = NSEC_PER_SEC,
	};

	stats_command(s, 10, 1, comm, strlen(comm));
	for (uint64_t i = 0; i <= 60; i++) {
		struct stats_sample x = {
			.scope = STATS_PROCESS,
			.pid = 10,
			.start = 1,
			.comm = "agent",
			.comm_len = 5,
			.unix_ns = T0 + i * NSEC_PER_SEC,
			.interval_ns = NSEC_PER_SEC,
			.gauges_known = 1U << GAUGE_CPU | 1U << GAUGE_RSS | 1U << GAUGE_THREADS,
			.counters_known = 1U << COUNTER_CPU | 1U << COUNTER_READ,
		};

		x.gauges[GAUGE_CPU] = (i < 30 ? 2000 : 8000) * factor;
		x.gauges[GAUGE_RSS] = (i < 30 ? 10240 : 51200) * factor;
		x.gauges[GAUGE_THREADS] = 2;
		x.counters[COUNTER_CPU] = i * 400000000 * factor;
		x.counters[COUNTER_READ] = i * 4096 * factor;
		stats_sample(s, &x);
		x.pid = 11;
		x.comm = comm;
		x.comm_len = strlen(comm);
		stats_sample(s, &x);
		x.scope = STATS_TREE;
		x.pid = 10;
		stats_sample(s, &x);
	}
	stats_alert(s, &alert);
	stats_call(s, &call);
	stats_tool(s, &tool);
	stats_exit(s, &end);
	stats_finish(s);
}

#endif
