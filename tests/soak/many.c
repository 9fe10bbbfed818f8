/* SPDX-License-Identifier: MIT */
/*
 * What no machine shows in a minute: millions of processes, connections, TLS sessions, files and tool calls,
 * none of which was ever seen before, through all stages and the writer, in this process. Half of them
 * never ends, so that every table comes to its limit; the largest have room for 65,536. When three quarters
 * are done, all are as full as they get: from there to the end the memory in use must not grow.
 *
 *   many N      200,000 at least
 */
#include <err.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "enrich/proc_table.h"
#include "event/record.h"
#include "event/schema.h"
#include "pipeline/chain.h"
#include "stage/file_io.h"

#define PIDS     4194304 /* pid_max on a large machine */
#define N_MIN    200000
#define STEP_NS  NSEC_PER_MSEC
#define GREW_MAX (1 << 20)    /* bytes in use, from three quarters to the end */
#define RSS_MAX  (160U << 10) /* KB */

static struct chain *chain;
static struct buf rec;
static struct as_hdr who;
static uint64_t n_events;

static void emit(void)
{
	struct event ev;

	if (record_end(&rec, &ev) < 0)
		err(1, "no memory");
	ev.unix_ns = ev.rec->boot_ns;
	event_emit(chain_input(chain), &ev);
	n_events++;
}

static void begin(unsigned type)
{
	who.boot_ns++;
	record_begin(&rec, type, &who);
}

__attribute__((format(printf, 1, 2))) static struct as_span text(const char *fmt, ...)
{
	char out[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out, sizeof(out), fmt, ap);
	va_end(ap);
	return record_add_str(&rec, out);
}

/* ---- one of each ---- */

static void starts(uint64_t i)
{
	struct as_span filename, argv;
	struct as_fork *f;

	begin(AS_EV_FORK);
	f = record_struct(&rec, as_fork);
	f->h.tgid = f->h.tid = 1;
	f->h.start_ns = 1;
	f->child_pid = who.tgid;
	f->child_ppid = 1;
	f->child_start_ns = who.start_ns;
	emit();

	begin(AS_EV_EXEC);
	filename = text("/usr/bin/program%llu", (unsigned long long)i);
	argv = text("program%llu --number=%llu", (unsigned long long)i, (unsigned long long)i);
	record_struct(&rec, as_exec)->filename = filename;
	record_struct(&rec, as_exec)->argv = argv;
	emit();
}

static void samples(uint64_t i)
{
	struct as_system_metrics *m;

	begin(AS_EV_SYSTEM_METRICS);
	m = record_struct(&rec, as_system_metrics);
	m->cpu_centi = i % 20000;
	m->rss_kb = i % 1000000;
	m->interval_ns = NSEC_PER_SEC;
	m->cores = 2;
	emit();
}

static void transfers(uint64_t i)
{
	struct as_path path = {};

	begin(AS_EV_FILE_SEEN);
	path.base = text("/work/directory%llu/file%llu", (unsigned long long)i % 1000,
			 (unsigned long long)i);
	record_struct(&rec, as_file_seen)->path = path;
	record_struct(&rec, as_file_seen)->file_id = i + 1;
	record_struct(&rec, as_file_seen)->fd = 3;
	emit();
	if (i / 2 % 2)
		return; /* its end is lost */
	begin(AS_EV_FILE_DONE);
	record_struct(&rec, as_file_done)->file_id = i + 1;
	record_struct(&rec, as_file_done)->read_bytes = i;
	record_struct(&rec, as_file_done)->read_count = 1;
	record_struct(&rec, as_file_done)->fd = 3;
	emit();
}

static struct as_conn socket_of(uint64_t i)
{
	struct as_conn c = {
		.local = {.ip = {10}, .port = i % 64000 + 1024, .family = 2},
		.remote = {.ip = {11}, .port = 443, .family = 2},
	};

	memcpy(c.local.ip + 1, &i, 3);
	memcpy(c.remote.ip + 1, (char *)&i + 2, 3);
	return c;
}

static void closes(uint64_t i)
{
	const struct as_conn c = socket_of(i);
	struct as_flow *f;

	begin(AS_EV_CLOSE);
	f = record_struct(&rec, as_flow);
	f->local = c.local;
	f->remote = c.remote;
	f->conn_id = i + 1;
	f->tx_bytes = f->rx_bytes = i;
	emit();
}

static void says(unsigned type, uint64_t i, uint32_t direction, const char *bytes, size_t n)
{
	struct as_span data;
	struct as_ssl_data *d;

	begin(type);
	data = record_add(&rec, bytes, n);
	d = record_struct(&rec, as_ssl_data);
	d->conn = socket_of(i);
	d->stream_id = i + 1;
	d->len = data.len;
	d->data = data;
	d->direction = direction;
	emit();
}

__attribute__((format(printf, 4, 5))) static void talks(unsigned type, uint64_t i,
							uint32_t direction, const char *fmt, ...)
{
	char out[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, sizeof(out), fmt, ap);
	va_end(ap);
	says(type, i, direction, out, n);
}

/* Most answers come, some never do, of some half comes. */
static void asks(unsigned type, uint64_t i)
{
	talks(type, i, AS_TLS_WRITE, "GET /item/%llu HTTP/1.1\r\nHost: host%llu.example\r\n\r\n",
	      (unsigned long long)i, (unsigned long long)i);
	if (i % 5)
		talks(type, i, AS_TLS_READ,
		      "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{\"number\": %6llu}",
		      i % 7 ? 18 : 4000, (unsigned long long)i % 1000000);
}

static void asks_a_model(uint64_t i)
{
	char body[512];
	int n;

	n = snprintf(
		body, sizeof(body),
		"{\"model\":\"m-%llu\",\"messages\":[{\"role\":\"user\",\"content\":\"%llu\"}]}",
		(unsigned long long)i % 100, (unsigned long long)i);
	talks(AS_EV_SSL_DATA, i, AS_TLS_WRITE,
	      "POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\nContent-Length: "
	      "%d\r\n\r\n%s",
	      n, body);
	n = snprintf(
		body, sizeof(body),
		"{\"id\":\"msg_%llu\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
		"\"content\":[{\"type\":\"tool_use\",\"id\":\"toolu_%llu\",\"name\":\"Bash\","
		"\"input\":{\"command\":\"program%llu --number\"}}],\"stop_reason\":\"tool_use\"}",
		(unsigned long long)i, (unsigned long long)i, (unsigned long long)i + 1);
	talks(AS_EV_SSL_DATA, i, AS_TLS_READ,
	      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
	      n, body);
}

/* A process whose number comes again after millions, at another time. */
static void one(uint64_t i)
{
	who.boot_ns = NSEC_PER_SEC + i * STEP_NS;
	who.start_ns = who.boot_ns;
	who.tgid = who.tid = 2 + i % (PIDS - 2);
	who.ppid = 1;
	who.uid = i % 70000;
	snprintf(who.comm, sizeof(who.comm), "c%llu", (unsigned long long)i % 10000000);

	starts(i);
	samples(i);
	transfers(i);
	asks(i % 2 ? AS_EV_SSL_DATA : AS_EV_NET_DATA, i);
	if (i % 8 == 3)
		asks_a_model(i);
	if (i % 3)
		closes(i);
	if (i % 2) {
		begin(AS_EV_EXIT);
		emit();
	}
	if (i % (NSEC_PER_SEC / STEP_NS) == 0)
		chain_tick(chain, who.boot_ns);
	if (i % 50 == 0)
		chain_flush(chain);
}

/* ---- the kernel's side, of which there is none ---- */

static int sums_each(void *source, file_sums_fn *fn, void *ctx)
{
	return 0;
}

static int sums_read(void *source, const struct as_file_key *key, struct as_file_sums *ret)
{
	return -ENOENT;
}

static void sums_remove(void *source, const struct as_file_key *key)
{
}

static bool alive(void *source, uint32_t tgid)
{
	return true; /* so nothing is thrown away early */
}

/* ---- memory ---- */

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static unsigned long rss_kb(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static bool verdict(bool ok, const char *what, double got, double most)
{
	printf("%s %s: %.1f MB, at most %.1f\n", ok ? "ok" : "not ok", what, got, most);
	return ok;
}

static bool judge(const struct proc_table *procs, size_t full, size_t end, unsigned long rss)
{
	double grew = ((double)end - (double)full) / 1e6;
	bool ok = verdict(grew <= GREW_MAX / 1e6, "memory in use grew by", grew, GREW_MAX / 1e6);

	ok &= verdict(rss <= RSS_MAX, "resident set", rss / 1024.0, RSS_MAX / 1024.0);
	printf("%s living processes that are known: %zu, %llu had no room\n",
	       proc_table_count(procs) <= PROC_TABLE_MAX ? "ok" : "not ok", proc_table_count(procs),
	       (unsigned long long)proc_table_refused(procs));
	return ok && proc_table_count(procs) <= PROC_TABLE_MAX;
}

static void open_chain(struct proc_table *procs, struct session_options *session)
{
	static const struct file_sums_ops sums = {sums_each, sums_read, sums_remove, alive, NULL};
	static char *rules[] = {"cpu > 80 for 3s", "rss > 100MB"};
	struct chain_options opt = {.session = session, .procs = procs, .file_sums = &sums};
	struct err e = {};

	*session = (struct session_options){
		.sources =
			SOURCE_PROCESS | SOURCE_FILES | SOURCE_NETWORK | SOURCE_TLS | SOURCE_SYSTEM,
		.output = "/dev/null",
		.interval_ns = NSEC_PER_SEC,
		.statistics = true,
		.summary = true,
		.alerts = rules,
		.n_alerts = ARRAY_SIZE(rules),
	};
	if (chain_open(&opt, &chain, &e) < 0)
		errx(1, "%s", e.text);
}

int main(int argc, char **argv)
{
	uint64_t n = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
	struct session_options session;
	struct proc_table *procs;
	size_t full = 0;
	bool ok;

	if (n < N_MIN)
		errx(2, "usage: many N, which is %d at least", N_MIN);
	if (schema_init() < 0 || proc_table_new(&procs) < 0)
		err(1, "no memory");
	open_chain(procs, &session);
	for (uint64_t i = 0; i < n; i++) {
		one(i);
		if (i == n / 4 * 3)
			full = in_use();
		if (i % (n / 20) == 0)
			fprintf(stderr, "  %llu  in use %.1f MB  resident %.1f MB\n",
				(unsigned long long)i, in_use() / 1e6, rss_kb() / 1024.0);
	}
	printf("%llu of each, %llu events\n", (unsigned long long)n, (unsigned long long)n_events);
	ok = judge(procs, full, in_use(), rss_kb());
	chain_finish(chain);
	chain_sync(chain, 1000);
	chain_free(chain);
	proc_table_free(procs);
	buf_done(&rec);
	return !ok;
}
