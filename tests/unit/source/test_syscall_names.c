/* SPDX-License-Identifier: MIT */
#include "source/syscall_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

static void every_call_of_the_header_has_a_category(void **state)
{
	unsigned known = 0;

	for (unsigned nr = 0; nr < AS_CALLS_MAX; nr++) {
		const char *name = syscall_name(nr);

		if (!name)
			continue;
		known++;
		if (call_category_of(name) == CALL_CATEGORIES)
			fail_msg("'%s' has no category", name);
	}
	assert_true(known > 250);
}

static void names_are_those_of_this_architecture(void **state)
{
	assert_string_equal(syscall_name(SYS_read), "read");
	assert_string_equal(syscall_name(SYS_fcntl), "fcntl");
	assert_string_equal(syscall_name(SYS_epoll_pwait), "epoll_pwait");
	assert_null(syscall_name(AS_CALL_COMPAT));
	assert_null(syscall_name(AS_CALL_UNKNOWN));
	assert_null(syscall_name(AS_CALLS_MAX));
	assert_null(syscall_name(UINT32_MAX));
}

static void calls_are_where_one_looks_for_them(void **state)
{
	static const struct {
		const char *name;
		enum call_category category;
	} rows[] = {
		{"epoll_ctl", CALL_CATEGORY_FILE_IO},    {"epoll_wait", CALL_CATEGORY_FILE_IO},
		{"splice", CALL_CATEGORY_FILE_IO},       {"vmsplice", CALL_CATEGORY_FILE_IO},
		{"mmap", CALL_CATEGORY_MEMORY},          {"brk", CALL_CATEGORY_MEMORY},
		{"execve", CALL_CATEGORY_PROCESS},       {"sendto", CALL_CATEGORY_NETWORK},
		{"clock_nanosleep", CALL_CATEGORY_TIME}, {"futex", CALL_CATEGORY_IPC},
		{"seccomp", CALL_CATEGORY_SECURITY},     {"kill", CALL_CATEGORY_SIGNAL},
		{"reboot", CALL_CATEGORY_SYSTEM},        {"restart_syscall", CALL_CATEGORY_OTHER},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (call_category_of(rows[i].name) != rows[i].category)
			fail_msg("'%s' is %u", rows[i].name, call_category_of(rows[i].name));
	}
}

static void part_of_a_name_is_no_name(void **state)
{
	assert_int_equal(call_category_of("epoll"), CALL_CATEGORIES);
	assert_int_equal(call_category_of("oll_wai"), CALL_CATEGORIES);
	assert_int_equal(call_category_of(""), CALL_CATEGORIES);
	assert_int_equal(call_category_of("a_name_that_is_longer_than_any_call_of_any_kernel_"
					  "will_ever_be_and_then_some"),
			 CALL_CATEGORIES);
}

static void all_numbers_at_once_are_as_one_by_one(void **state)
{
	uint8_t categories[AS_CALLS_MAX];

	call_categories(categories);
	for (unsigned nr = 0; nr < AS_CALLS_MAX; nr++) {
		assert_true(categories[nr] < CALL_CATEGORIES);
		if (syscall_name(nr))
			assert_int_equal(categories[nr], call_category_of(syscall_name(nr)));
		else
			assert_int_equal(categories[nr], CALL_CATEGORY_OTHER);
	}
	for (unsigned c = 0; c < CALL_CATEGORIES; c++)
		assert_non_null(call_category_name(c));
}

static void waits_follow_from_the_call(void **state)
{
	uint8_t waits[AS_CALLS_MAX];

	call_waits(waits);
	assert_int_equal(waits[SYS_futex], AS_WAIT_LOCK);
	assert_int_equal(waits[SYS_ppoll], AS_WAIT_POLL);
	assert_int_equal(waits[SYS_epoll_pwait], AS_WAIT_POLL);
	assert_int_equal(waits[SYS_clock_nanosleep], AS_WAIT_SLEEP);
	assert_int_equal(waits[SYS_wait4], AS_WAIT_CHILD);
	assert_int_equal(waits[SYS_recvfrom], AS_WAIT_SOCKET);
	assert_int_equal(waits[SYS_read], AS_WAIT_BY_FD);
	assert_int_equal(waits[SYS_getpid], AS_WAIT_OTHER);
	assert_int_equal(waits[AS_CALL_COMPAT], AS_WAIT_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_call_of_the_header_has_a_category),
		cmocka_unit_test(names_are_those_of_this_architecture),
		cmocka_unit_test(calls_are_where_one_looks_for_them),
		cmocka_unit_test(part_of_a_name_is_no_name),
		cmocka_unit_test(all_numbers_at_once_are_as_one_by_one),
		cmocka_unit_test(waits_follow_from_the_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
