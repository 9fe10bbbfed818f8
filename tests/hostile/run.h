/* SPDX-License-Identifier: MIT */
/*
 * The pipeline from the decoder on, in one process and without a kernel: records go in, lines of JSON and
 * lines for a terminal come out.
 */
#ifndef AGENTSIGHT_TESTS_HOSTILE_RUN_H
#define AGENTSIGHT_TESTS_HOSTILE_RUN_H

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "enrich/proc_table.h"
#include "event/decode.h"
#include "event/record.h"
#include "event/schema.h"
#include "pipeline/chain.h"
#include "sink/terminal.h"

#define RUN_COLUMNS 2000

struct run {
	struct session_options session;
	struct proc_table *procs;
	struct chain *chain;
	struct buf rec;
	struct buf screen; /* the newest line for a terminal */
	struct as_hdr who;
	void (*on_line)(struct run *run, const struct event *ev, const char *line, size_t len);
	void *context;
};

static inline void run_observe(void *context, const struct event *ev, const char *line, size_t len)
{
	struct run *run = context;

	buf_reset(&run->screen);
	terminal_line(&run->screen, ev, RUN_COLUMNS, false);
	if (run->on_line)
		run->on_line(run, ev, line, len);
}

/* @run holds `on_line` and `context`, and must stay where it is. */
static inline int run_open(struct run *run)
{
	struct chain_options opt = {.session = &run->session};
	struct err e = {0};

	run->who = (struct as_hdr){
		.boot_ns = 1000, .start_ns = 2, .tgid = 3, .tid = 3, .comm = "agent"};
	run->session.sources = SOURCE_PROCESS | SOURCE_FILES | SOURCE_NETWORK | SOURCE_TLS |
			       SOURCE_SYSTEM | SOURCE_STDIO;
	run->session.no_output = true;
	run->session.prices = "/dev/null";
	run->session.observer = run_observe;
	run->session.observer_context = run;
	if (schema_init() < 0 || proc_table_new(&run->procs) < 0)
		return -1;
	opt.procs = run->procs;
	return chain_open(&opt, &run->chain, &e);
}

/* Ends what is open, so that it is told. */
static inline void run_finish(struct run *run)
{
	chain_finish(run->chain);
}

static inline void run_close(struct run *run)
{
	chain_free(run->chain);
	proc_table_free(run->procs);
	buf_done(&run->rec);
	buf_done(&run->screen);
}

/* The summary, as it is printed at the end; the caller frees it. */
static inline char *run_summary(struct run *run)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (f) {
		chain_print_summary(run->chain, f, false);
		fclose(f);
	}
	return text;
}

/* Sends what is in `rec`, as the decoder sees it. */
static inline int run_send(struct run *run)
{
	struct event ev;

	if (record_end(&run->rec, &ev) < 0 ||
	    event_decode((struct as_hdr *)run->rec.data, run->rec.len, &ev) < 0)
		return -1;
	event_emit(chain_input(run->chain), &ev);
	return 0;
}

/* One call of a library for TLS. */
static inline int run_data(struct run *run, uint64_t stream, enum as_tls_direction direction,
			   const void *p, size_t n)
{
	struct as_ssl_data *d;
	struct as_span span;

	run->who.boot_ns += 1000;
	record_begin(&run->rec, AS_EV_SSL_DATA, &run->who);
	span = record_add(&run->rec, p, n);
	d = record_struct(&run->rec, as_ssl_data);
	d->stream_id = stream;
	d->direction = direction;
	d->len = n;
	d->data = span;
	return run_send(run);
}

static inline int run_end_of(struct run *run, unsigned type, uint64_t stream)
{
	run->who.boot_ns += 1000;
	record_begin(&run->rec, type, &run->who);
	if (type == AS_EV_SSL_HANDSHAKE)
		record_struct(&run->rec, as_ssl_handshake)->stream_id = stream;
	return run_send(run);
}

/* @argv and @env: words, each with a NUL behind it. */
static inline int run_exec(struct run *run, const char *file, const char *argv, size_t argv_n,
			   const char *env, size_t env_n)
{
	struct as_span f, a, v;

	run->who.boot_ns += 1000;
	record_begin(&run->rec, AS_EV_EXEC, &run->who);
	f = record_add_str(&run->rec, file);
	a = record_add(&run->rec, argv, argv_n);
	v = record_add(&run->rec, env, env_n);
	record_struct(&run->rec, as_exec)->filename = f;
	record_struct(&run->rec, as_exec)->argv = a;
	record_struct(&run->rec, as_exec)->env = v;
	return run_send(run);
}

#endif
