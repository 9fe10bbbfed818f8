/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "source/tls_files.h"

#define ROOM 8
#define SEC  NSEC_PER_SEC
#define HOUR (3600 * SEC)

static struct tls_files *files;
static uint64_t now;
static bool blind; /* of somebody */
static int fd;

static int set_up(void **state)
{
	now = 1000 * SEC;
	blind = false;
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -1 : tls_files_new(ROOM, &files);
}

static int tear_down(void **state)
{
	tls_files_free(files);
	return close(fd);
}

static struct tls_file *add(uint64_t ino)
{
	struct tls_file_key key = {.dev = 1, .ino = ino};
	struct tls_file *f = NULL;
	char path[32];

	snprintf(path, sizeof(path), "/bundle-%llu", (unsigned long long)ino);
	assert_int_equal(tls_files_add(files, &key, fd, path, now, &f), 0);
	assert_int_equal(f->key.ino, ino);
	return f;
}

static void fill(uint64_t first, size_t n)
{
	for (size_t i = 0; i < n; i++, now++)
		add(first + i);
}

/* A round that sees the files of @used, up to 0; how many it gives back. */
static size_t look(const uint64_t *used, struct tls_file **ret)
{
	size_t n;

	tls_files_round_begin(files);
	for (; *used; used++)
		tls_files_use(files, *used, now);
	n = tls_files_round_end(files, now, blind, ret, ROOM);
	now += 2 * SEC;
	return n;
}

static void give_back(struct tls_file *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tls_files_remove(files, list[i], now);
}

static void a_file_is_found_by_inode_and_by_number(void **state)
{
	struct tls_file *f = add(5), *g = add(6);

	assert_ptr_equal(tls_files_find(files, 1, 5), f);
	assert_null(tls_files_find(files, 2, 5));
	assert_ptr_equal(tls_files_number(files, g->number), g);
	assert_null(tls_files_number(files, 0));
	assert_null(tls_files_number(files, g->number + 1));
	assert_ptr_equal(tls_files_next(files, NULL), f);
	assert_ptr_equal(tls_files_next(files, f), g);
	assert_null(tls_files_next(files, g));
}

static void beyond_the_limit_files_are_refused(void **state)
{
	struct tls_file_key key = {.ino = 100};
	struct tls_file *f = NULL;

	fill(1, ROOM);
	assert_int_equal(tls_files_add(files, &key, fd, "/one", now, &f), -ENOSPC);
	assert_null(f);
	assert_int_equal(tls_files_count(files), ROOM);
}

static void a_number_is_given_anew_only_after_thousands_of_others(void **state)
{
	static uint8_t given[65536];

	for (int i = 0; i < 65535; i++) {
		struct tls_file *f = add(7);

		assert_in_range(f->number, 1, 65535);
		assert_int_equal(given[f->number]++, 0);
		tls_files_remove(files, f, ++now);
	}
	assert_int_equal(given[add(7)->number], 1);
}

static void late_events_find_the_name_of_a_file_that_was_given_back(void **state)
{
	struct tls_file *f = add(1);
	uint32_t number = f->number;

	tls_files_remove(files, f, now++);
	for (uint64_t ino = 2; ino <= ROOM; ino++)
		add(ino);
	assert_string_equal(tls_files_number(files, number)->path, "/bundle-1");
	assert_null(tls_files_find(files, 1, 1));
	assert_int_not_equal(add(20)->number, number);
	assert_null(tls_files_number(files, number));
}

static void nothing_is_given_back_while_there_is_room(void **state)
{
	struct tls_file *idle[ROOM];

	fill(1, 6);
	now += 10 * SEC;
	assert_false(tls_files_round_due(files, now));
	for (int i = 0; i < 5; i++)
		assert_int_equal(look((const uint64_t[]){0}, idle), 0);
	assert_false(tls_files_round_due(files, now + 60 * SEC));
}

static void when_it_fills_up_the_longest_unused_files_go(void **state)
{
	struct tls_file *idle[ROOM];

	fill(1, 7);
	now += 2 * SEC;
	tls_files_use(files, 1, now);
	assert_true(tls_files_round_due(files, now));
	assert_int_equal(look((const uint64_t[]){2, 0}, idle), 0);
	assert_int_equal(look((const uint64_t[]){2, 0}, idle), 3);
	assert_int_equal(idle[0]->key.ino, 3);
	assert_int_equal(idle[1]->key.ino, 4);
	assert_int_equal(idle[2]->key.ino, 5);
	give_back(idle, 3);
	assert_int_equal(tls_files_count(files), 4);
	assert_non_null(tls_files_find(files, 1, 1));
	assert_non_null(tls_files_find(files, 1, 2));
}

static void a_file_in_use_stays_however_full_it_is(void **state)
{
	struct tls_file *idle[ROOM];

	fill(1, ROOM);
	for (int i = 0; i < 10; i++)
		assert_int_equal(look((const uint64_t[]){1, 2, 3, 4, 5, 6, 7, 8, 0}, idle), 0);
}

static void one_round_without_a_user_is_not_enough(void **state)
{
	struct tls_file *idle[ROOM];

	fill(1, ROOM);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(look((const uint64_t[]){0}, idle), 0);
		assert_int_equal(look((const uint64_t[]){1, 2, 3, 4, 5, 6, 7, 8, 0}, idle), 0);
	}
}

static void two_rounds_at_once_are_as_good_as_one(void **state)
{
	struct tls_file *idle[ROOM];

	fill(1, ROOM);
	for (int i = 0; i < 3; i++) {
		tls_files_round_begin(files);
		assert_int_equal(tls_files_round_end(files, now, false, idle, ROOM), 0);
	}
}

static void a_deleted_file_goes_though_there_is_room(void **state)
{
	struct tls_file *f = add(1), *idle[ROOM];

	add(2);
	f->deleted = true;
	now += 2 * SEC;
	assert_true(tls_files_round_due(files, now));
	assert_int_equal(look((const uint64_t[]){0}, idle), 0);
	assert_int_equal(look((const uint64_t[]){0}, idle), 1);
	assert_ptr_equal(idle[0], f);
	assert_true(f->giving);
	assert_int_equal(look((const uint64_t[]){0}, idle), 0); /* not twice */
}

static void after_an_hour_it_goes_too(void **state)
{
	struct tls_file *idle[ROOM];

	add(1);
	add(2);
	now += HOUR;
	assert_true(tls_files_round_due(files, now));
	assert_int_equal(look((const uint64_t[]){2, 0}, idle), 0);
	assert_int_equal(look((const uint64_t[]){2, 0}, idle), 1);
	assert_int_equal(idle[0]->key.ino, 1);
	give_back(idle, 1);
	assert_false(tls_files_round_due(files, now + 60 * SEC));
}

static void what_is_probed_for_those_to_come_stays_until_it_is_replaced(void **state)
{
	struct tls_file *idle[ROOM];

	fill(1, ROOM);
	for (uint64_t ino = 1; ino <= ROOM; ino++)
		tls_files_find(files, 1, ino)->expected = true;
	now += HOUR;
	assert_false(tls_files_round_due(files, now));
	for (int i = 0; i < 3; i++)
		assert_int_equal(look((const uint64_t[]){0}, idle), 0);
	tls_files_find(files, 1, 3)->deleted = true;
	assert_true(tls_files_round_due(files, now + 64 * SEC));
	assert_int_equal(look((const uint64_t[]){0}, idle), 1);
	assert_int_equal(idle[0]->key.ino, 3);
}

static void rounds_for_nothing_become_rare_until_a_file_comes(void **state)
{
	struct tls_file *idle[ROOM];
	uint64_t begin = now;
	int rounds = 0;

	fill(1, 7);
	for (; now < begin + 1000 * SEC; now += SEC) {
		if (!tls_files_round_due(files, now))
			continue;
		tls_files_round_begin(files);
		for (uint64_t ino = 1; ino <= 7; ino++)
			tls_files_use(files, ino, now);
		assert_int_equal(tls_files_round_end(files, now, false, idle, ROOM), 0);
		rounds++;
	}
	assert_in_range(rounds, 15, 25);
	add(8);
	assert_true(tls_files_round_due(files, now + SEC));
}

static void who_may_not_be_looked_at_shows_by_what_he_calls(void **state)
{
	struct tls_file *f = add(1), *idle[ROOM];

	blind = true;
	f->deleted = true;
	for (int i = 0; i < 20; i++) /* 2 s each */
		assert_int_equal(look((const uint64_t[]){0}, idle), 0);
	tls_file_called(f, now);
	for (int i = 0; i < 30; i++)
		assert_int_equal(look((const uint64_t[]){0}, idle), 0);
	assert_int_equal(look((const uint64_t[]){0}, idle), 1);
}

static void a_round_in_which_something_went_wrong_tells_nothing(void **state)
{
	struct tls_file *idle[ROOM];

	fill(1, ROOM);
	now += 2 * SEC;
	for (int i = 0; i < 5; i++) {
		tls_files_round_begin(files);
		tls_files_round_void(files, now);
		assert_false(tls_files_round_due(files, now + SEC));
		now += 64 * SEC;
	}
	assert_int_equal(look((const uint64_t[]){0}, idle), 0);
}

static void the_number_of_a_layer_in_an_inode_number_does_not_matter(void **state)
{
	struct tls_file *f = add(1ULL << 62 | 77), *idle[ROOM];

	f->deleted = true;
	for (int i = 0; i < 5; i++)
		assert_int_equal(look((const uint64_t[]){77, 0}, idle), 0);
}

static void what_is_used_again_on_its_way_out_shows(void **state)
{
	struct tls_file *f = add(1), *idle[ROOM];

	f->deleted = true;
	look((const uint64_t[]){0}, idle);
	now += 2 * SEC;
	assert_int_equal(look((const uint64_t[]){0}, idle), 1);
	assert_true(f->unseen > 0);
	tls_files_use(files, 1, now);
	assert_int_equal(f->unseen, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_is_found_by_inode_and_by_number),
		TEST(beyond_the_limit_files_are_refused),
		TEST(a_number_is_given_anew_only_after_thousands_of_others),
		TEST(late_events_find_the_name_of_a_file_that_was_given_back),
		TEST(nothing_is_given_back_while_there_is_room),
		TEST(when_it_fills_up_the_longest_unused_files_go),
		TEST(a_file_in_use_stays_however_full_it_is),
		TEST(one_round_without_a_user_is_not_enough),
		TEST(two_rounds_at_once_are_as_good_as_one),
		TEST(a_deleted_file_goes_though_there_is_room),
		TEST(after_an_hour_it_goes_too),
		TEST(what_is_probed_for_those_to_come_stays_until_it_is_replaced),
		TEST(rounds_for_nothing_become_rare_until_a_file_comes),
		TEST(who_may_not_be_looked_at_shows_by_what_he_calls),
		TEST(a_round_in_which_something_went_wrong_tells_nothing),
		TEST(the_number_of_a_layer_in_an_inode_number_does_not_matter),
		TEST(what_is_used_again_on_its_way_out_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
