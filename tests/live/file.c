/* SPDX-License-Identifier: MIT */
/* File operations; the workload `files` tells what each of its groups does. */
#include "live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_sum(json_object *line)
{
	const char *type = json_object_get_string(object_at(line, "data.type"));

	return !strcmp(type, "read") || !strcmp(type, "write");
}

/* Do both speak of the same process, type, path and, if it is told, descriptor? */
static bool same_file(json_object *told, json_object *line)
{
	/* the path first, which tells nearly all apart: thousands are compared with thousands */
	static const char *const keys[] = {"data.path", "data.type", "data.fd", "pid", "source"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_object *a = object_at(told, keys[i]);

		if (a && !json_object_equal(a, object_at(line, keys[i])))
			return false;
	}
	return true;
}

struct transfer {
	int64_t bytes, count;
};

static void add_transfer(struct transfer *t, json_object *line)
{
	t->bytes += json_object_get_int64(object_at(line, "data.bytes"));
	t->count += json_object_get_int64(object_at(line, "data.count"));
}

/* Reads and writes may come in several events; what they add up to is what counts. */
static void match_sums(const struct stream *st, const struct expected *x)
{
	for (size_t i = 0; i < x->n; i++) {
		struct transfer told = {}, seen = {};

		if (!is_sum(x->lines[i]))
			continue;
		for (size_t j = 0; j < x->n; j++) {
			if (same_file(x->lines[i], x->lines[j]))
				add_transfer(&told, x->lines[j]);
		}
		for (size_t j = 0; j < st->n; j++) {
			if (same_file(x->lines[i], st->lines[j].json))
				add_transfer(&seen, st->lines[j].json);
		}
		CHECK(told.bytes == seen.bytes && told.count == seen.count,
		      "%lld bytes in %lld calls instead of %lld in %lld: %s", (long long)seen.bytes,
		      (long long)seen.count, (long long)told.bytes, (long long)told.count,
		      json_object_to_json_string(x->lines[i]));
	}
}

/* The same event twice: as many lines hold @part as were told. */
static void check_no_twins(const struct stream *st, const struct expected *x)
{
	for (size_t i = 0; i < x->n; i++) {
		size_t told = 0, seen = 0;

		for (size_t j = 0; j < x->n; j++)
			told += json_contains(x->lines[j], x->lines[i]);
		for (size_t j = 0; j < st->n; j++)
			seen += json_contains(st->lines[j].json, x->lines[i]);
		CHECK(seen <= told, "%zu times instead of %zu: %s", seen, told,
		      json_object_to_json_string(x->lines[i]));
	}
}

static void without_sums(const struct expected *x, struct expected *ret)
{
	*ret = (struct expected){.lines = calloc(x->n + 1, sizeof(*ret->lines))};
	for (size_t i = 0; i < x->n; i++) {
		if (!is_sum(x->lines[i]))
			ret->lines[ret->n++] = x->lines[i];
	}
}

/* Runs @group in a directory of its own and compares all it tells. */
static void group(const char *name, unsigned long n, bool ordered)
{
	char *where = live_printf("%s/where", live_dir());
	struct expected all = {}, calls;
	struct workload w;
	struct stream st;
	struct sight s;

	CHECK(!mkdir(where, 0777), "mkdir");
	workload_hold(&w, "files", name, live_printf("%lu", n), where, NULL);
	sight_start(&s, "files", "-p", live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_check_sources(&st, "file");
	expected_load(&all, w.out);
	match_sums(&st, &all);
	without_sums(&all, &calls);
	if (calls.n)
		(ordered ? stream_match : stream_match_unordered)(&st, &calls, "");
	if (calls.n && calls.n < 1000)
		check_no_twins(&st, &calls);
}

static void basic(void)
{
	group("basic", 0, true);
}

static void errors(void)
{
	group("errors", 0, true);
}

static void paths(void)
{
	group("paths", 0, false);
}

static void io(void)
{
	group("io", 0, false);
}

static void threads(void)
{
	group("threads", 0, false);
}

static void exec(void)
{
	group("exec", 0, false);
}

static void many(void)
{
	group("many", live_scaled(500), true);
}

static void storm(void)
{
	group("storm", live_scaled(20000), true);
}

static void left_out(void)
{
	struct workload w;
	struct stream st;
	struct sight s;

	workload_hold(&w, "files", "basic", NULL);
	sight_start(&s, "record", "--files=false", "-p", live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_only(&st, w.pid, "process", "exec");
	for (size_t i = 0; i < st.n; i++) {
		json_object *family = object_at(st.lines[i].data, "family");

		CHECK(strcmp(st.lines[i].source, "file") &&
			      (!family || strcmp(json_object_get_string(family), "file")),
		      "it was to be left out: %s", json_object_to_json_string(st.lines[i].json));
	}
}

const struct live_test file_tests[] = {
	{"every_file_call_is_one_event_with_absolute_paths", basic, 30},
	{"file_calls_that_fail_carry_the_reason", errors, 30},
	{"odd_deep_and_long_paths_are_whole", paths, 30},
	{"bytes_and_calls_of_every_kind_of_transfer_add_up", io, 60},
	{"transfers_of_threads_that_share_a_file_add_up", threads, 60},
	{"transfers_before_and_behind_an_exec_add_up", exec, 30},
	{"the_bytes_of_500_files_are_exact", many, 60},
	{"a_file_opened_20000_times_has_exact_sums", storm, 60},
	{"a_recording_without_files_has_none_and_attaches_nothing", left_out, 30},
	{},
};
