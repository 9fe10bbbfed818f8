/* SPDX-License-Identifier: MIT */
#include "sink/denet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "event/record.h"
#include "event/schema.h"

#define ROWS_MAX 65536

struct denet {
	struct sink sink;
	struct denet_options opt;
	struct writer *writer;
	struct buf line;
	struct as_system_metrics *rows; /* of this sample: all of them come before its trees */
	size_t n_rows, cap_rows;
	uint64_t unix_ns; /* of the rows */
	uint32_t root;    /* told as `metadata`; 0: not yet */
	uint64_t last_tree_ns;
};

/* ---- pieces of JSON ---- */

static void put_key(struct buf *b, const char *name)
{
	buf_printf(b, "%s\"%s\":", b->len && b->data[b->len - 1] == '{' ? "" : ",", name);
}

static void put_u64(struct buf *b, const char *name, uint64_t value)
{
	put_key(b, name);
	json_u64(b, value);
}

static void put_text(struct buf *b, const char *name, const char *p, size_t n)
{
	put_key(b, name);
	json_string(b, p, n);
}

/* NUL-separated words as a list. */
static void put_words(struct buf *b, const char *name, const char *p, size_t n)
{
	const char *between = "";

	put_key(b, name);
	buf_add_char(b, '[');
	while (n) {
		size_t len = strnlen(p, n);

		buf_add_str(b, between);
		json_string(b, p, len);
		between = ",";
		len = MIN(len + 1, n);
		p += len;
		n -= len;
	}
	buf_add_char(b, ']');
}

static void begin(struct denet *d, const char *kind, uint64_t unix_ns)
{
	buf_reset(&d->line);
	buf_printf(&d->line, "{\"kind\":\"%s\",\"ts_ms\":%llu", kind,
		   (unsigned long long)(unix_ns / NSEC_PER_MSEC));
}

/* As handlers do: true. The event was told, or is counted as dropped. */
static bool end(struct denet *d, unsigned type)
{
	buf_add_lit(&d->line, "}\n");
	if (d->line.failed) {
		writer_drop(d->writer, type);
		buf_done(&d->line);
		return true;
	}
	writer_append(d->writer, type, d->line.data, d->line.len);
	return true;
}

/* ---- metrics ---- */

static void put_optional(struct buf *b, const char *name, uint64_t value)
{
	if (value)
		put_u64(b, name, value);
}

static void put_cpu(struct buf *b, uint64_t centi)
{
	put_key(b, "cpu_usage");
	json_fixed(b, centi, 2);
}

static void put_metrics(struct buf *b, const struct as_system_metrics *m)
{
	put_cpu(b, m->cpu_centi);
	put_u64(b, "mem_rss_kb", m->rss_kb);
	put_u64(b, "mem_vms_kb", m->vsz_kb);
	put_u64(b, "disk_read_bytes", m->read_bytes == AS_UNKNOWN ? 0 : m->read_bytes);
	put_u64(b, "disk_write_bytes", m->write_bytes == AS_UNKNOWN ? 0 : m->write_bytes);
	put_optional(b, "syscall_read_bytes", m->rchar);
	put_optional(b, "syscall_write_bytes", m->wchar);
	put_optional(b, "page_faults_cached", m->minor_faults);
	put_optional(b, "page_faults_disk", m->major_faults);
	put_optional(b, "tcp_rx_bytes", m->rx_bytes);
	put_optional(b, "tcp_tx_bytes", m->tx_bytes);
	put_u64(b, "thread_count", m->threads);
	put_u64(b, "uptime_secs", (m->h.boot_ns - MIN(m->h.start_ns, m->h.boot_ns)) / NSEC_PER_SEC);
	if (m->last_cpu >= 0)
		put_u64(b, "cpu_core", (uint64_t)m->last_cpu);
}

static void put_aggregate(struct buf *b, const struct as_system_tree *t, uint64_t ts_ms)
{
	put_key(b, "aggregated");
	buf_add_char(b, '{');
	put_u64(b, "ts_ms", ts_ms);
	put_cpu(b, t->cpu_centi);
	put_u64(b, "mem_rss_kb", t->rss_kb);
	put_u64(b, "mem_vms_kb", t->vsz_kb);
	put_u64(b, "disk_read_bytes", t->read_bytes);
	put_u64(b, "disk_write_bytes", t->write_bytes);
	put_optional(b, "syscall_read_bytes", t->rchar);
	put_optional(b, "syscall_write_bytes", t->wchar);
	put_optional(b, "page_faults_cached", t->minor_faults);
	put_optional(b, "page_faults_disk", t->major_faults);
	put_u64(b, "tcp_rx_bytes", t->rx_bytes);
	put_u64(b, "tcp_tx_bytes", t->tx_bytes);
	put_u64(b, "thread_count", t->threads);
	put_u64(b, "process_count", t->processes);
	put_u64(b, "uptime_secs", t->elapsed_ns / NSEC_PER_SEC);
	buf_add_char(b, '}');
}

/* ---- records ---- */

/* Those of the sample before go. */
static void rows_of(struct denet *d, uint64_t unix_ns)
{
	if (unix_ns != d->unix_ns)
		d->n_rows = 0;
	d->unix_ns = unix_ns;
}

static bool keep_row(struct denet *d, const struct event *ev)
{
	if (d->n_rows == ROWS_MAX)
		return false;
	if (d->n_rows == d->cap_rows) {
		size_t cap = d->cap_rows ? 2 * d->cap_rows : 64;
		struct as_system_metrics *rows = reallocarray(d->rows, cap, sizeof(*rows));

		if (!rows)
			return false;
		d->rows = rows;
		d->cap_rows = cap;
	}
	d->rows[d->n_rows++] = *(const struct as_system_metrics *)ev->rec;
	return true;
}

/* NULL once it has ended. */
static const struct as_system_metrics *root_row(const struct denet *d,
						const struct as_system_tree *t)
{
	for (size_t i = 0; i < d->n_rows; i++) {
		if (d->rows[i].tree_id == t->tree_id && d->rows[i].h.tgid == t->h.tgid)
			return &d->rows[i];
	}
	return NULL;
}

static void put_children(struct denet *d, const struct as_system_tree *t)
{
	struct buf *b = &d->line;
	const char *between = "";

	put_key(b, "children");
	buf_add_char(b, '[');
	for (size_t i = 0; i < d->n_rows; i++) {
		const struct as_system_metrics *m = &d->rows[i];

		if (m->tree_id != t->tree_id || m->h.tgid == t->h.tgid)
			continue;
		buf_add_str(b, between);
		buf_add_char(b, '{');
		put_u64(b, "pid", m->h.tgid);
		put_text(b, "command", m->h.comm, strnlen(m->h.comm, sizeof(m->h.comm)));
		put_key(b, "metrics");
		buf_printf(b, "{\"ts_ms\":%llu", (unsigned long long)(d->unix_ns / NSEC_PER_MSEC));
		put_metrics(b, m);
		buf_add_lit(b, "}}");
		between = ",";
	}
	buf_add_char(b, ']');
}

static bool on_tree(struct denet *d, const struct event *ev)
{
	const struct as_system_tree *t = (const void *)ev->rec;
	const struct as_system_metrics *root;
	uint64_t ts_ms = ev->unix_ns / NSEC_PER_MSEC;
	struct buf *b = &d->line;

	d->last_tree_ns = ev->unix_ns;
	rows_of(d, ev->unix_ns);
	root = root_row(d, t);
	if (d->opt.single && !root)
		return false;
	begin(d, d->opt.single ? "sample" : "tree", ev->unix_ns);
	if (d->opt.single) {
		put_metrics(b, root);
	} else {
		put_key(b, "parent");
		if (root) {
			buf_printf(b, "{\"ts_ms\":%llu", (unsigned long long)ts_ms);
			put_metrics(b, root);
			buf_add_char(b, '}');
		} else {
			buf_add_lit(b, "null");
		}
		put_children(d, t);
		put_aggregate(b, t, ts_ms);
	}
	return end(d, AS_EV_SYSTEM_TREE);
}

/* Counted by itself, not with the tree's line that it becomes part of. */
static bool on_metrics(struct denet *d, const struct event *ev)
{
	rows_of(d, ev->unix_ns);
	if (keep_row(d, ev))
		return false;
	writer_drop(d->writer, AS_EV_SYSTEM_METRICS);
	return true;
}

static void put_identity(struct denet *d, const struct as_process_info *p)
{
	struct buf *b = &d->line;

	put_words(b, "cmd", record_bytes(&p->h, &p->argv), p->argv.len);
}

static bool on_info(struct denet *d, const struct event *ev)
{
	const struct as_process_info *p = (const void *)ev->rec;
	const char *exe = record_bytes(&p->h, &p->exe);
	bool first = !d->root;

	begin(d, first ? "metadata" : "child", ev->unix_ns);
	put_u64(&d->line, "pid", p->h.tgid);
	if (first) {
		d->root = p->h.tgid;
		put_identity(d, p);
		put_text(&d->line, "executable", exe, p->exe.len);
		put_u64(&d->line, "t0_ms", p->started_ns / NSEC_PER_MSEC);
	} else {
		put_u64(&d->line, "ppid", p->h.ppid);
		put_identity(d, p);
		if (p->exe.len)
			put_text(&d->line, "exe", exe, p->exe.len);
	}
	return end(d, AS_EV_PROCESS_INFO);
}

static bool on_exit_event(struct denet *d, const struct event *ev)
{
	if (ev->rec->tgid != d->root)
		return false;
	begin(d, "exit", ev->unix_ns);
	if (d->last_tree_ns && ev->unix_ns > d->last_tree_ns)
		put_u64(&d->line, "last_sample_to_exit_ms",
			(ev->unix_ns - d->last_tree_ns) / NSEC_PER_MSEC);
	return end(d, AS_EV_EXIT);
}

static bool on_start(struct denet *d, const struct event *ev)
{
	struct utsname host;

	if (!d->opt.env || uname(&host) < 0)
		return false;
	begin(d, "env", ev->unix_ns);
	put_text(&d->line, "host", host.nodename, strlen(host.nodename));
	put_text(&d->line, "kernel", host.release, strlen(host.release));
	put_key(&d->line, "lscpu");
	buf_add_char(&d->line, '{');
	put_u64(&d->line, "cpus", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
	put_text(&d->line, "machine", host.machine, strlen(host.machine));
	buf_add_char(&d->line, '}');
	return end(d, AS_EV_START);
}

/* ---- the sink ---- */

static void denet_write(struct sink *self, const struct event *ev, const char *line, size_t len)
{
	/* true: it is told by a line */
	static bool (*const handlers[AS_EV_COUNT])(struct denet *, const struct event *) = {
		[AS_EV_START] = on_start,
		[AS_EV_PROCESS_INFO] = on_info,
		[AS_EV_SYSTEM_METRICS] = on_metrics,
		[AS_EV_SYSTEM_TREE] = on_tree,
		[AS_EV_EXIT] = on_exit_event,
	};
	struct denet *d = (struct denet *)self;

	if (!handlers[ev->desc->type] || !handlers[ev->desc->type](d, ev))
		writer_append(d->writer, ev->desc->type, "", 0);
}

static void denet_flush(struct sink *self)
{
	writer_flush(((struct denet *)self)->writer);
}

static void denet_free(struct sink *self)
{
	struct denet *d = (struct denet *)self;

	buf_done(&d->line);
	free(d->rows);
	free(d);
}

int denet_sink_new(const struct denet_options *opt, struct writer *w, struct sink **ret)
{
	struct denet *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->sink = (struct sink){denet_write, denet_flush, denet_free};
	d->opt = *opt;
	d->writer = w;
	*ret = &d->sink;
	return 0;
}
