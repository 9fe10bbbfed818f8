/* SPDX-License-Identifier: MIT */
#include "sink/summary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "event/record.h"

/* Connections that are open at the same time; of further ones the bytes are known at their end. */
#define FLOWS_MAX 4096

/* An open connection of which a sum was seen; id 0 is a free place. */
struct flow {
	uint64_t id, tx_bytes, rx_bytes;
};

struct summary {
	uint64_t forks, execs, exits, failed;
	uint64_t opens, opens_failed, file_reads, file_writes, read_bytes, write_bytes;
	uint64_t connects, connects_failed, accepts, tx_bytes, rx_bytes;
	uint64_t tls_calls, tls_bytes, requests;
	uint64_t alerts, lost;
	struct flow flows[FLOWS_MAX];
};

#define RECORD(S, name, ev) const struct S *name = (const struct S *)(ev)->rec

static void on_exec(struct summary *s, const struct event *ev)
{
	s->execs++;
}

static void on_fork(struct summary *s, const struct event *ev)
{
	s->forks++;
}

static void on_exit_event(struct summary *s, const struct event *ev)
{
	RECORD(as_exit, e, ev);

	s->exits++;
	s->failed += e->exit_code || e->signal;
}

static void on_open(struct summary *s, const struct event *ev)
{
	RECORD(as_file_open, e, ev);

	if (e->error)
		s->opens_failed++;
	else
		s->opens++;
}

static void on_read(struct summary *s, const struct event *ev)
{
	RECORD(as_file_io, e, ev);

	s->file_reads += e->count;
	s->read_bytes += e->bytes;
}

static void on_write(struct summary *s, const struct event *ev)
{
	RECORD(as_file_io, e, ev);

	s->file_writes += e->count;
	s->write_bytes += e->bytes;
}

static void on_connect(struct summary *s, const struct event *ev)
{
	RECORD(as_connect, e, ev);

	if (e->error)
		s->connects_failed++;
	else
		s->connects++;
}

static void on_accept(struct summary *s, const struct event *ev)
{
	s->accepts++;
}

/* The place of @id, or a free one for it; NULL when its neighbourhood is full. */
static struct flow *find_flow(struct summary *s, uint64_t id)
{
	uint64_t hash = id * 0x9e3779b97f4a7c15ULL >> 32;
	struct flow *unused = NULL;

	for (size_t i = 0; i < 64; i++) {
		struct flow *f = &s->flows[(hash + i) % FLOWS_MAX];

		if (f->id == id)
			return f;
		if (!f->id && !unused)
			unused = f;
	}
	return unused;
}

/* Sums count from the beginning of the connection: what was added for the last one goes. */
static void on_flow(struct summary *s, const struct event *ev)
{
	RECORD(as_flow, e, ev);
	struct flow *f = e->conn_id ? find_flow(s, e->conn_id) : NULL;
	bool closed = ev->rec->type == AS_EV_CLOSE;

	if (!f && !closed)
		return;
	s->tx_bytes += e->tx_bytes - (f ? f->tx_bytes : 0);
	s->rx_bytes += e->rx_bytes - (f ? f->rx_bytes : 0);
	if (f && closed)
		*f = (struct flow){0};
	else if (f)
		*f = (struct flow){e->conn_id, e->tx_bytes, e->rx_bytes};
}

static void on_tls(struct summary *s, const struct event *ev)
{
	RECORD(as_ssl_data, e, ev);

	s->tls_calls++;
	s->tls_bytes += e->len;
}

static void on_request(struct summary *s, const struct event *ev)
{
	s->requests++;
}

static void on_threshold(struct summary *s, const struct event *ev)
{
	s->alerts += !((const struct as_threshold *)ev->rec)->ended;
}

static void on_loss(struct summary *s, const struct event *ev)
{
	RECORD(as_loss, e, ev);

	if (!record_is(ev->rec, &e->reason, AS_LOSS_LIMIT))
		s->lost += e->count;
}

/* The ledger knows better than the sum of what was announced. */
static void on_stop(struct summary *s, const struct event *ev)
{
	s->lost = ((const struct as_stats *)ev->rec)->lost;
}

void summary_event(struct summary *s, const struct event *ev)
{
	static void (*const on[AS_EV_COUNT])(struct summary *, const struct event *) = {
		[AS_EV_EXEC] = on_exec,           [AS_EV_FORK] = on_fork,
		[AS_EV_EXIT] = on_exit_event,     [AS_EV_FILE_OPEN] = on_open,
		[AS_EV_FILE_READ] = on_read,      [AS_EV_FILE_WRITE] = on_write,
		[AS_EV_CONNECT] = on_connect,     [AS_EV_ACCEPT] = on_accept,
		[AS_EV_FLOW] = on_flow,           [AS_EV_CLOSE] = on_flow,
		[AS_EV_SSL_DATA] = on_tls,        [AS_EV_HTTP_REQUEST] = on_request,
		[AS_EV_THRESHOLD] = on_threshold, [AS_EV_LOSS] = on_loss,
		[AS_EV_STOP] = on_stop,
	};

	if (on[ev->rec->type])
		on[ev->rec->type](s, ev);
}

#define N(x) ((unsigned long long)(x))
#define S(x) ((x) == 1 ? "" : "s")

static void print_files(const struct summary *s, FILE *f)
{
	char read[UNITS_LEN], written[UNITS_LEN];

	fprintf(f,
		"  files        %llu opened, %llu not; %s written in %llu call%s, %s read in "
		"%llu\n",
		N(s->opens), N(s->opens_failed), units_bytes(written, s->write_bytes),
		N(s->file_writes), S(s->file_writes), units_bytes(read, s->read_bytes),
		N(s->file_reads));
}

static void print_network(const struct summary *s, FILE *f)
{
	char sent[UNITS_LEN], received[UNITS_LEN];

	fprintf(f, "  connections  %llu made, %llu failed, %llu accepted; %s sent, %s received\n",
		N(s->connects), N(s->connects_failed), N(s->accepts),
		units_bytes(sent, s->tx_bytes), units_bytes(received, s->rx_bytes));
}

static void print_tls(const struct summary *s, FILE *f)
{
	char bytes[UNITS_LEN];

	fprintf(f, "  TLS          %llu call%s, %s of plaintext, %llu HTTP request%s\n",
		N(s->tls_calls), S(s->tls_calls), units_bytes(bytes, s->tls_bytes), N(s->requests),
		S(s->requests));
}

static void print_count(FILE *f, const char *what, uint64_t n, const char *alarm)
{
	fprintf(f, "  %-11s  %s%llu%s\n", what, n ? alarm : "", N(n), n && *alarm ? "\033[0m" : "");
}

void summary_print(const struct summary *s, FILE *f, bool colour)
{
	fprintf(f, "%sSummary%s\n", colour ? "\033[1m" : "", colour ? "\033[0m" : "");
	fprintf(f,
		"  processes    %llu forked, %llu program%s started, %llu ended, %llu with an "
		"error\n",
		N(s->forks), N(s->execs), S(s->execs), N(s->exits), N(s->failed));
	print_files(s, f);
	print_network(s, f);
	print_tls(s, f);
	print_count(f, "alerts", s->alerts, colour ? "\033[33m" : "");
	print_count(f, "lost events", s->lost, colour ? "\033[1;31m" : "");
}

int summary_new(struct summary **ret)
{
	struct summary *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	*ret = s;
	return 0;
}

void summary_free(struct summary *s)
{
	free(s);
}
