/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "event/decode.h"
#include "event/encode.h"
#include "event/record.h"
#include "line.h"

#define BEHIND 64 /* bytes behind the struct */

static struct as_hdr *rec; /* in a block of exactly its length, for AddressSanitizer */
static size_t rec_len;

static int set_up(void **state)
{
	return schema_init();
}

static void make(unsigned type, size_t behind)
{
	free(rec);
	rec_len = schema_event(type)->size + behind;
	rec = malloc(rec_len);
	assert_non_null(rec);
	memset(rec, 0, rec_len);
	rec->type = (uint16_t)type;
	rec->len = (uint32_t)rec_len;
}

static int tear_down(void **state)
{
	free(rec);
	rec = NULL;
	return 0;
}

static int decode(void)
{
	struct event ev;

	return event_decode(rec, rec_len, &ev);
}

/* Calls @fn for each span of each type, with a record of that type around it. */
static size_t each_span(void (*fn)(struct as_span *s, size_t size))
{
	size_t n = 0;

	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		for (size_t i = 0; i < d->n_fields; i++) {
			const struct field_desc *f = &d->fields[i];
			bool path = f->kind == AS_KIND_PATH;

			if (!path && f->kind != AS_KIND_STR && f->kind != AS_KIND_ARGV &&
			    f->kind != AS_KIND_PAYLOAD && f->kind != AS_KIND_JSON)
				continue;
			for (size_t part = 0; part < (path ? 2 : 1); part++, n++) {
				make(type, BEHIND);
				fn((struct as_span *)((char *)rec + f->offset) + part, d->size);
			}
		}
	}
	return n;
}

static void span_is_checked(struct as_span *s, size_t size)
{
	const struct as_span good[] = {
		{size, BEHIND, BEHIND},         {size, 1, 1}, {size + BEHIND - 1, 1, 1},
		{size, BEHIND, UINT32_MAX},     {0, 0, 0},    {UINT32_MAX, 0, 0},
		{size + BEHIND, 0, UINT32_MAX},
	};
	const struct as_span wrong[] = {
		{0, 1, 1},
		{sizeof(struct as_hdr), 1, 1},
		{size - 1, 1, 1},
		{size, BEHIND + 1, BEHIND + 1},
		{size + 1, BEHIND, BEHIND},
		{size + BEHIND, 1, 1},
		{size + BEHIND + 1, 1, 1},
		{UINT32_MAX, 1, 1},
		{UINT32_MAX - 7, 8 + size, 8 + size},
		{size, UINT32_MAX, UINT32_MAX},
		{size, UINT32_MAX - (uint32_t)size + 1, UINT32_MAX},
		{size, 9, 8},
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		*s = good[i];
		assert_int_equal(decode(), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		*s = wrong[i];
		assert_int_equal(decode(), -EBADMSG);
	}
}

static void every_span_of_every_type_stays_behind_the_struct_and_in_the_record(void **state)
{
	assert_true(each_span(span_is_checked) > 40);
}

static void spans_may_share_bytes(void **state)
{
	struct as_exec *e;

	make(AS_EV_EXEC, 8);
	e = (struct as_exec *)rec;
	e->filename = e->argv = e->cwd.base = (struct as_span){sizeof(*e), 8, 8};
	e->cwd.rel = (struct as_span){sizeof(*e) + 4, 4, 4};
	assert_int_equal(decode(), 0);
}

static void each_type_is_as_long_as_its_struct_at_least(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		make(type, 0);
		assert_int_equal(decode(), 0);
		rec->len--;
		assert_int_equal(decode(), -EBADMSG);
	}
}

static void a_record_that_ends_early_is_refused(void **state)
{
	struct event ev;

	make(AS_EV_EXEC, 8);
	for (size_t n = 0; n < rec_len; n++) {
		void *cut = malloc(n ? n : 1);

		assert_non_null(cut);
		memcpy(cut, rec, n);
		assert_int_equal(event_decode(cut, n, &ev), -EBADMSG);
		free(cut);
	}
}

static void what_lies_behind_the_record_is_not_looked_at(void **state)
{
	struct as_exec *e;

	make(AS_EV_EXEC, 16);
	e = (struct as_exec *)rec;
	rec->len -= 8;
	e->filename = (struct as_span){sizeof(*e), 8, 8};
	assert_int_equal(decode(), 0);
	e->filename = (struct as_span){sizeof(*e), 9, 9};
	assert_int_equal(decode(), -EBADMSG);
}

static void types_that_do_not_exist_are_refused(void **state)
{
	static const uint16_t none[] = {AS_EV_NONE, AS_EV_COUNT, AS_EV_COUNT + 1, UINT16_MAX};

	make(AS_EV_STOP, 512);
	assert_int_equal(decode(), 0);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		rec->type = none[i];
		assert_int_equal(decode(), -EBADMSG);
	}
}

static void a_misaligned_record_is_refused(void **state)
{
	static _Alignas(8) char bytes[sizeof(struct as_fork) + 8];
	struct as_fork f = {.h = {.type = AS_EV_FORK, .len = sizeof(f)}};
	struct event ev;

	for (size_t shift = 0; shift <= 8; shift++) {
		memcpy(bytes + shift, &f, sizeof(f));
		assert_int_equal(event_decode(bytes + shift, sizeof(f), &ev),
				 shift % 8 ? -EBADMSG : 0);
	}
}

static void a_path_longer_than_its_text_may_be_is_refused(void **state)
{
	struct as_file_open *o;
	char text[PATH_TEXT_MAX];

	make(AS_EV_FILE_OPEN, PATH_TEXT_MAX);
	o = (struct as_file_open *)rec;
	memset(o + 1, 'x', PATH_TEXT_MAX);
	o->path.base = (struct as_span){sizeof(*o), PATH_BYTES_MAX / 2, PATH_BYTES_MAX / 2};
	o->path.rel = o->path.base;
	o->path.rel.len = o->path.rel.full = PATH_BYTES_MAX - o->path.base.len;
	assert_int_equal(decode(), 0);
	/* nothing of it is left out */
	assert_int_equal(record_path(rec, &o->path, text), PATH_BYTES_MAX + 2);
	o->path.rel.len++;
	o->path.rel.full++;
	assert_int_equal(decode(), -EBADMSG);
	o->path.rel.len = o->path.rel.full = UINT32_MAX;
	assert_int_equal(decode(), -EBADMSG);
}

static void the_event_borrows_the_record_and_has_its_time(void **state)
{
	struct event ev = {.label = "old"};

	make(AS_EV_FORK, 0);
	rec->boot_ns = 12345;
	clock_sync();
	assert_int_equal(event_decode(rec, rec_len, &ev), 0);
	assert_ptr_equal(ev.rec, rec);
	assert_ptr_equal(ev.desc, schema_event(AS_EV_FORK));
	assert_int_equal(ev.unix_ns, clock_unix_ns(12345));
	assert_null(ev.label);
}

static void a_refused_record_leaves_the_event_alone(void **state)
{
	struct event ev = {.unix_ns = 42};

	make(AS_EV_FORK, 0);
	rec->type = AS_EV_COUNT;
	assert_int_equal(event_decode(rec, rec_len, &ev), -EBADMSG);
	assert_int_equal(ev.unix_ns, 42);
	assert_null(ev.rec);
}

/* ---- anything that is accepted becomes one good line ---- */

static uint32_t random_next(void)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33);
}

static uint32_t random_near(size_t size)
{
	static const uint32_t special[] = {0, 1, 0x7fffffff, 0x80000000, UINT32_MAX};
	uint32_t r = random_next();

	switch (r % 8) {
	case 0:
		return special[random_next() % ARRAY_SIZE(special)];
	case 1:
		return r;
	default:
		return (uint32_t)(size + r % BEHIND);
	}
}

/* A struct of words near its own size, so that spans are often good, and bytes of all kinds behind it. */
static void make_random(void)
{
	static const char *const pieces[] = {"/",    "..",       ".",  "\0", "a",
					     "\xff", "\xc3\xa9", "\"", "\n"};
	unsigned type = 1 + random_next() % (AS_EV_COUNT - 1);
	const struct event_desc *d = schema_event(type);
	char *p;

	make(type, BEHIND);
	p = (char *)rec + offsetof(struct as_hdr, boot_ns);
	for (; p < (char *)rec + d->size; p += 4) {
		uint32_t word = random_next() % 2 ? random_next() % BEHIND : random_near(d->size);

		memcpy(p, &word, 4);
	}
	for (; p < (char *)rec + rec_len; p++)
		*p = *pieces[random_next() % ARRAY_SIZE(pieces)];
	rec->flags = (uint16_t)random_next();
	for (size_t i = 0; i < d->n_fields; i++) {
		if (d->fields[i].kind == AS_KIND_JSON) /* copied as it is: user space made it */
			memset((char *)rec + d->fields[i].offset, 0, sizeof(struct as_span));
	}
}

static void what_is_accepted_becomes_one_line_with_the_keys_of_the_contract(void **state)
{
	struct buf line = {};
	size_t accepted = 0;

	for (size_t round = 0; round < 100000; round++) {
		struct event ev;
		const char *wrong;

		make_random();
		if (event_decode(rec, rec_len, &ev) < 0)
			continue;
		accepted++;
		buf_reset(&line);
		event_encode_json(&line, &ev);
		wrong = line_check(line.data, line.len, ev.desc);
		if (wrong)
			fail_msg("%s: %.*s", wrong, (int)line.len, line.data);
	}
	buf_done(&line);
	assert_true(accepted > 10000);
}

static void random_bytes_are_not_read_out_of_bounds(void **state)
{
	for (size_t round = 0; round < 100000; round++) {
		size_t n = random_next() % 512;
		uint32_t *p = malloc(n + 4);
		struct event ev;

		assert_non_null(p);
		for (size_t i = 0; i < n / 4; i++)
			p[i] = random_near(100);
		p = realloc(p, n ? n : 1);
		event_decode(p, n, &ev);
		free(p);
	}
}

#define TEST(f) cmocka_unit_test_teardown(f, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_span_of_every_type_stays_behind_the_struct_and_in_the_record),
		TEST(spans_may_share_bytes),
		TEST(each_type_is_as_long_as_its_struct_at_least),
		TEST(a_record_that_ends_early_is_refused),
		TEST(what_lies_behind_the_record_is_not_looked_at),
		TEST(types_that_do_not_exist_are_refused),
		TEST(a_misaligned_record_is_refused),
		TEST(a_path_longer_than_its_text_may_be_is_refused),
		TEST(the_event_borrows_the_record_and_has_its_time),
		TEST(a_refused_record_leaves_the_event_alone),
		TEST(what_is_accepted_becomes_one_line_with_the_keys_of_the_contract),
		TEST(random_bytes_are_not_read_out_of_bounds),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
