/* SPDX-License-Identifier: MIT */
/*
 * What one event costs to write as JSON, next to a json-c tree with the same members. Both run in the
 * same rounds; one JSON object per round.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "base/buf.h"
#include "base/clock.h"
#include "event/decode.h"
#include "event/encode.h"
#include "event/schema.h"

#define ROUNDS     11
#define EVENTS     1024 /* different ones, from 16 processes in turn */
#define TIMES      200
#define TIMES_TREE 10

static struct as_exit exits[EVENTS];

static void fill(void)
{
	for (unsigned i = 0; i < EVENTS; i++) {
		struct as_exit *e = &exits[i];

		e->h.len = sizeof(*e);
		e->h.type = AS_EV_EXIT;
		e->h.boot_ns = 5000000000000ULL + i * 7919;
		e->h.start_ns = 4000000000000ULL + (i % 16) * 104729;
		e->h.tgid = e->h.tid = 20000 + i % 16;
		e->h.ppid = 1999;
		e->h.uid = 1000;
		memcpy(e->h.comm, "python3", sizeof("python3"));
		e->duration_ns = 134081930 + i;
		e->cpu_user_ns = 1076457 + i;
		e->cpu_system_ns = 2071117 + i;
		e->max_rss_kb = 9800 + i;
		e->read_bytes = 4096 * i;
		e->write_bytes = 512 * i;
		e->rchar = 3980 + i;
		e->wchar = 17 * i;
		e->exit_code = i % 3;
	}
}

static size_t encode_ours(struct buf *b, const struct as_exit *e)
{
	struct event ev;

	buf_reset(b);
	if (event_decode(&e->h, sizeof(*e), &ev) < 0)
		exit(1);
	event_encode_json(b, &ev);
	return b->len;
}

static void add_u64(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static struct json_object *tree_data(const struct as_exit *e)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "type", json_object_new_string("exit"));
	add_u64(o, "exit_code", e->exit_code);
	add_u64(o, "signal", e->signal);
	add_u64(o, "duration_ns", e->duration_ns);
	add_u64(o, "cpu_user_ns", e->cpu_user_ns);
	add_u64(o, "cpu_system_ns", e->cpu_system_ns);
	add_u64(o, "max_rss_kb", e->max_rss_kb);
	add_u64(o, "read_bytes", e->read_bytes);
	add_u64(o, "write_bytes", e->write_bytes);
	add_u64(o, "rchar", e->rchar);
	add_u64(o, "wchar", e->wchar);
	return o;
}

static size_t encode_tree(struct buf *b, const struct as_exit *e)
{
	struct json_object *o = json_object_new_object();
	char id[64];
	size_t len;

	snprintf(id, sizeof(id), "%u@%llu", e->h.tgid, (unsigned long long)e->h.start_ns);
	add_u64(o, "timestamp", clock_unix_ns(e->h.boot_ns));
	json_object_object_add(o, "source", json_object_new_string("process"));
	add_u64(o, "pid", e->h.tgid);
	json_object_object_add(o, "comm", json_object_new_string(e->h.comm));
	add_u64(o, "tid", e->h.tid);
	add_u64(o, "ppid", e->h.ppid);
	add_u64(o, "uid", e->h.uid);
	json_object_object_add(o, "exec_id", json_object_new_string(id));
	json_object_object_add(o, "data", tree_data(e));

	buf_reset(b);
	buf_add_str(b, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	buf_add_char(b, '\n');
	len = b->len;
	json_object_put(o);
	return len;
}

static double ns_per_event(size_t (*encode)(struct buf *, const struct as_exit *), struct buf *b,
			   unsigned times)
{
	uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	for (unsigned t = 0; t < times; t++) {
		for (unsigned i = 0; i < EVENTS; i++)
			encode(b, &exits[i]);
	}
	return (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin) / times / EVENTS;
}

/* The ratio would mean nothing if the two did not write the same. */
static void compare(struct buf *ours, struct buf *tree)
{
	for (unsigned i = 0; i < EVENTS; i++) {
		encode_ours(ours, &exits[i]);
		encode_tree(tree, &exits[i]);
		if (ours->len == tree->len && !memcmp(ours->data, tree->data, ours->len))
			continue;
		fprintf(stderr, "the encoders disagree:\n%s%s", buf_cstr(ours), buf_cstr(tree));
		exit(1);
	}
}

int main(void)
{
	struct buf ours = {}, tree = {};

	if (schema_init() < 0)
		return 1;
	clock_sync();
	fill();
	compare(&ours, &tree);
	for (unsigned r = 0; r < ROUNDS; r++) {
		double a = ns_per_event(encode_ours, &ours, TIMES);
		double b = ns_per_event(encode_tree, &tree, TIMES_TREE);

		printf("{\"ns\":%.1f,\"jsonc_ns\":%.1f,\"line_bytes\":%zu}\n", a, b, ours.len);
	}
	buf_done(&ours);
	buf_done(&tree);
	return 0;
}
