/* SPDX-License-Identifier: MIT */
/*
 * The whole pipeline behind the rings: calls on a few connections, and records of any type the kernel makes, in
 * any order and with any bytes. Every line is one of the contract, and no line for a terminal controls it. A step is
 * a byte that says what happens, one that says whom it happens to, one with the length, and so many bytes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../hostile/run.h"
#include "../unit/event/line.h"
#include "base/cleanup.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	STEP_RECORD = 12, /* below: a call */
	STEP_MORE,        /* a call that goes on */
	STEP_TICK,
	STEP_HANDSHAKE,
};

/* Opening is what costs most; so several inputs share a pipeline, each with processes and streams of its own. */
#define INPUTS 64

static uint32_t own; /* added to the numbers of this input */

static void must(bool holds, const char *what, const char *text, size_t n)
{
	if (holds)
		return;
	fprintf(stderr, "%s: %.*s\n", what, (int)n, text);
	abort();
}

static void check_screen(const struct buf *screen)
{
	if (!screen->len)
		return;
	must(screen->data[screen->len - 1] == '\n', "no end", screen->data, screen->len);
	for (size_t i = 0; i + 1 < screen->len; i++)
		must((uint8_t)screen->data[i] >= ' ' && screen->data[i] != 0x7f, "it controls",
		     screen->data, screen->len);
	must(utf8_valid_prefix(screen->data, screen->len) == screen->len, "not UTF-8", screen->data,
	     screen->len);
}

static void on_line(struct run *run, const struct event *ev, const char *line, size_t len)
{
	const char *wrong = line_check(line, len, ev->desc);

	must(!wrong, wrong, line, len);
	check_screen(&run->screen);
}

/* JSON is made by user space alone and copied as it is. */
static bool is_the_kernels(const struct event_desc *d)
{
	for (size_t i = 0; i < d->n_fields; i++) {
		if (d->fields[i].kind == AS_KIND_JSON)
			return false;
	}
	return true;
}

static void fit_span(const struct as_hdr *rec, struct as_span *s, size_t size)
{
	s->off = (uint32_t)(size + s->off % (rec->len - size + 1));
	s->len %= rec->len - s->off + 1;
	if (s->full < s->len)
		s->full = s->len;
}

static void fit_spans(struct as_hdr *rec, const struct event_desc *d)
{
	for (size_t i = 0; i < d->n_fields; i++) {
		const struct field_desc *f = &d->fields[i];
		char *at = (char *)rec + f->offset;

		if (f->kind == AS_KIND_STR || f->kind == AS_KIND_ARGV || f->kind == AS_KIND_PAYLOAD)
			fit_span(rec, (struct as_span *)at, d->size);
		if (f->kind != AS_KIND_PATH)
			continue;
		fit_span(rec, &((struct as_path *)at)->base, d->size);
		fit_span(rec, &((struct as_path *)at)->rel, d->size);
	}
}

static void record(struct run *run, uint8_t whom, const uint8_t *p, size_t n)
{
	unsigned type = 1 + whom % (AS_EV_COUNT - 1);
	const struct event_desc *d = schema_event(type);
	struct event ev;
	struct as_hdr *rec;

	if (!is_the_kernels(d))
		return;
	record_begin(&run->rec, type, &run->who);
	buf_add(&run->rec, p, n);
	if (run->rec.failed)
		return;
	rec = (struct as_hdr *)run->rec.data;
	memcpy((char *)rec + sizeof(*rec), p, MIN(n, d->size - sizeof(*rec)));
	rec->len = (uint32_t)run->rec.len;
	rec->boot_ns = run->who.boot_ns += 1000;
	rec->tgid = rec->tid = own + (whom & 3);
	fit_spans(rec, d);
	if (event_decode(rec, run->rec.len, &ev) == 0)
		event_emit(chain_input(run->chain), &ev);
}

static void call(struct run *run, uint8_t what, uint8_t whom, const uint8_t *p, size_t n)
{
	static const unsigned types[] = {AS_EV_SSL_DATA, AS_EV_NET_DATA, AS_EV_STDIO_DATA,
					 AS_EV_SSL_DATA};
	struct as_ssl_data *d;
	struct as_span span;

	run->who.boot_ns += 1000;
	record_begin(&run->rec, types[whom >> 4 & 3], &run->who);
	span = record_add(&run->rec, p, n);
	d = record_struct(&run->rec, as_ssl_data);
	d->stream_id = own + 1 + (whom & 3);
	d->direction = whom >> 2 & 1;
	d->len = n + (what == 11);
	d->data = span;
	if (what == STEP_MORE)
		d->h.flags = AS_F_MORE;
	run_send(run);
}

static void step(struct run *run, const uint8_t *p, size_t n)
{
	uint8_t what = p[0] & 15;

	if (what == STEP_TICK)
		chain_tick(run->chain, run->who.boot_ns += (uint64_t)p[1] << 24);
	else if (what == STEP_HANDSHAKE)
		run_end_of(run, p[1] & 8 ? AS_EV_LOSS : AS_EV_SSL_HANDSHAKE, own + 1 + (p[1] & 3));
	else if (what == STEP_RECORD)
		record(run, p[1], p + 3, n);
	else
		call(run, what, p[1], p + 3, n);
}

static void end(struct run *run)
{
	char *summary;

	run_finish(run);
	summary = run_summary(run);
	if (summary)
		must(utf8_valid_prefix(summary, strlen(summary)) == strlen(summary), "not UTF-8",
		     summary, strlen(summary));
	free(summary);
	run_close(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run run;
	static unsigned inputs;

	if (inputs++ % INPUTS == 0) {
		if (inputs > 1)
			end(&run);
		run = (struct run){.on_line = on_line};
		if (run_open(&run) < 0)
			abort();
	}
	own += 4;
	run.who.tgid = run.who.tid = own;
	while (size >= 3) {
		size_t n = MIN((size_t)data[2] << (data[0] >> 4 & 3), size - 3);

		step(&run, data, n);
		data += 3 + n;
		size -= 3 + n;
	}
	run_finish(&run);
	return 0;
}
