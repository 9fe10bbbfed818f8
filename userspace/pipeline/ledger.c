/* SPDX-License-Identifier: MIT */
#include "pipeline/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "event/record.h"
#include "event/schema.h"

/*
 * Of a type that user space makes, none has come through a ring: it is counted where it arrives. The kernel
 * counts of it only what could not be made, and in sums not even that as produced.
 */
static uint64_t produced(const struct ledger_inputs *in, struct as_count kernel, unsigned type)
{
	if (kernel.produced > kernel.dropped + kernel.shed)
		return kernel.produced;
	return in->arrived[type] + in->order.unheld[type] + kernel.dropped + kernel.shed +
	       in->shed[type];
}

static void take_row(const struct ledger_inputs *in, struct as_count kernel, unsigned type,
		     struct ledger_row *row)
{
	const struct event_desc *d = schema_event(type);

	row->dropped_memory = in->order.unheld[type];
	row->produced = produced(in, kernel, type);
	row->dropped_ring = kernel.dropped;
	row->shed = kernel.shed + in->shed[type];
	row->unread = kernel.unread;
	row->filtered = in->filtered[type];
	row->delivered = d->internal ? in->entered[type] : in->written->delivered[type];
	row->dropped_output = in->written->dropped[type];
}

void ledger_take(const struct ledger_inputs *in, struct ledger *ret)
{
	struct as_count kernel[AS_EV_COUNT] = {};

	if (in->shared)
		bpf_shared_counts(in->shared, kernel);
	*ret = (struct ledger){.missed = in->missed, .late = in->late, .bad = in->order.bad};
	memcpy(ret->tables, in->tables, sizeof(ret->tables));
	for (unsigned type = 1; type < AS_EV_COUNT; type++)
		take_row(in, kernel[type], type, &ret->rows[type]);
}

static uint64_t row_lost(const struct ledger_row *row)
{
	return row->dropped_ring + row->dropped_output + row->dropped_memory;
}

uint64_t ledger_delivered(const struct ledger *l)
{
	uint64_t sum = 0;

	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		if (!schema_event(type)->internal)
			sum += l->rows[type].delivered;
	}
	return sum;
}

uint64_t ledger_lost(const struct ledger *l)
{
	uint64_t sum = l->missed + l->bad;

	for (unsigned type = 1; type < AS_EV_COUNT; type++)
		sum += row_lost(&l->rows[type]);
	return sum;
}

/* ---- events ---- */

static void emit_loss(const char *reason, const char *type, uint64_t count, uint64_t total,
		      struct emitter *out)
{
	_cleanup_(buf_done) struct buf b = {};
	struct as_span reason_span, type_span;

	record_begin_own(&b, AS_EV_LOSS, clock_boot_ns());
	reason_span = record_add_str(&b, reason);
	type_span = record_add_str(&b, type);
	if (!record_made(&b, AS_EV_LOSS))
		return;
	record_struct(&b, as_loss)->reason = reason_span;
	record_struct(&b, as_loss)->event = type_span;
	record_struct(&b, as_loss)->count = count;
	record_struct(&b, as_loss)->total = total;
	record_emit(&b, AS_EV_LOSS, out);
}

void ledger_emit_losses(const struct ledger *before, const struct ledger *now, struct emitter *out)
{
	static const struct {
		const char *reason;
		size_t offset;
	} counters[] = {
		{"ring full", offsetof(struct ledger_row, dropped_ring)},
		{"output", offsetof(struct ledger_row, dropped_output)},
		{"no memory", offsetof(struct ledger_row, dropped_memory)},
		{AS_LOSS_LIMIT, offsetof(struct ledger_row, shed)},
	};

	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
			const char *was = (const char *)&before->rows[type] + counters[i].offset;
			const char *is = (const char *)&now->rows[type] + counters[i].offset;
			uint64_t old = *(const uint64_t *)was, total = *(const uint64_t *)is;
			const struct event_desc *d = schema_event(type);
			char name[64];

			if (total <= old)
				continue;
			snprintf(name, sizeof(name), "%s.%s", d->source, d->name);
			emit_loss(counters[i].reason, name, total - old, total, out);
		}
	}
	if (now->bad > before->bad)
		emit_loss("not understood", "*", now->bad - before->bad, now->bad, out);
	if (now->missed > before->missed)
		emit_loss("skipped by the kernel", "*", now->missed - before->missed, now->missed,
			  out);
}

static uint64_t own_rss_kb(void)
{
	unsigned long size, resident;
	_cleanup_(fclosep) FILE *f = fopen("/proc/self/statm", "re");

	if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2)
		return 0;
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* {"process.exec":{"produced":5,"delivered":5},…}: what is not zero */
static void put_streams(struct buf *b, const struct ledger *l)
{
	static const struct {
		const char *name;
		size_t offset;
	} counters[] = {
		{"produced", offsetof(struct ledger_row, produced)},
		{"delivered", offsetof(struct ledger_row, delivered)},
		{"ring_full", offsetof(struct ledger_row, dropped_ring)},
		{"output_dropped", offsetof(struct ledger_row, dropped_output)},
		{"no_memory", offsetof(struct ledger_row, dropped_memory)},
		{"filtered", offsetof(struct ledger_row, filtered)},
		{"shed", offsetof(struct ledger_row, shed)},
		{"unread", offsetof(struct ledger_row, unread)},
	};

	const char *comma = "";

	buf_add_char(b, '{');
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);
		bool first = true;

		for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
			const char *at = (const char *)&l->rows[type] + counters[i].offset;
			uint64_t n = *(const uint64_t *)at;

			if (!n)
				continue;
			if (first)
				buf_printf(b, "%s\"%s.%s\":{", comma, d->source, d->name);
			buf_printf(b, "%s\"%s\":%llu", first ? "" : ",", counters[i].name,
				   (unsigned long long)n);
			first = false;
		}
		if (first)
			continue;
		buf_add_char(b, '}');
		comma = ",";
	}
	buf_add_char(b, '}');
}

/* {"connections":{"evicted":2}}: what is not zero; nothing, if all is */
static void put_tables(struct buf *b, const struct ledger *l)
{
	static const char *const names[LEDGER_TABLES] = {
		[TABLE_PROCESSES] = "processes",       [TABLE_CONNECTIONS] = "connections",
		[TABLE_TOOL_CALLS] = "tool_calls",     [TABLE_TOOL_PROCESSES] = "tool_processes",
		[TABLE_TLS_FILES] = "tls_files",       [TABLE_CGROUPS] = "cgroups",
		[TABLE_CAPABILITIES] = "capabilities",
	};

	for (size_t i = 0; i < LEDGER_TABLES; i++) {
		const struct table_counts *t = &l->tables[i];

		if (!t->refused && !t->evicted)
			continue;
		buf_printf(b, "%s\"%s\":{", b->len ? "," : "{", names[i]);
		if (t->refused)
			buf_printf(b, "\"refused\":%" PRIu64, t->refused);
		if (t->evicted)
			buf_printf(b, "%s\"evicted\":%" PRIu64, t->refused ? "," : "", t->evicted);
		buf_add_char(b, '}');
	}
	if (b->len)
		buf_add_char(b, '}');
}

static void sum_rows(const struct ledger *l, struct as_stats *s)
{
	uint64_t accounted;

	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct ledger_row *row = &l->rows[type];

		/* what goes from the kernel to a stage only counts where it is lost */
		s->produced += row->produced;
		if (schema_event(type)->internal)
			s->produced -= row->delivered;
		else
			s->delivered += row->delivered;
		s->dropped += row_lost(row);
		s->filtered += row->filtered;
		s->shed += row->shed;
	}
	s->produced += l->missed;
	s->missed = l->missed;
	s->dropped += l->bad;
	s->lost = s->dropped + s->missed;
	s->late = l->late;
	accounted = s->delivered + s->dropped + s->missed + s->filtered + s->shed;
	s->difference = s->produced > accounted ? s->produced - accounted : accounted - s->produced;
}

void ledger_emit_totals(const struct ledger *l, unsigned type, const char *reason,
			uint64_t since_ns, struct emitter *out)
{
	_cleanup_(buf_done) struct buf b = {}, streams = {}, tables = {};
	struct as_span reason_span, streams_span, tables_span;
	struct as_stats *s;
	struct rusage usage;
	struct event ev;

	record_begin_own(&b, type, clock_boot_ns());
	reason_span = record_add_str(&b, reason ? reason : "");
	put_streams(&streams, l);
	streams_span = record_add(&b, streams.data, streams.len);
	put_tables(&tables, l);
	tables_span = record_add(&b, tables.data, tables.len);
	if (b.failed || streams.failed || tables.failed) {
		log_warning("there is no memory to tell the totals");
		return;
	}
	s = record_struct(&b, as_stats);
	s->reason = reason_span;
	s->streams = streams_span;
	s->tables = tables_span;
	sum_rows(l, s);
	s->duration_ns = s->h.boot_ns - since_ns;
	s->rss_kb = own_rss_kb();
	getrusage(RUSAGE_SELF, &usage);
	s->cpu_ns = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NSEC_PER_SEC +
		    (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * NSEC_PER_USEC;
	if (record_end(&b, &ev) >= 0)
		event_emit(out, &ev);
}
