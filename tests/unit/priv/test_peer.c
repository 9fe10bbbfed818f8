/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "priv/peer.h"

enum { ECHO, COUNT, OPEN, MANY, FAIL, DIE, NO_FD, SERVICES };

static struct peer *peer;

static int echo(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	memcpy(ret->data, rq->data, rq->len);
	ret->len = rq->len;
	return 7;
}

/* How many descriptors came along; the first is read from. */
static int count(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	ssize_t n = rq->n_fds ? pread(rq->fds[0], ret->data, ret->cap, 0) : 0;

	ret->len = n > 0 ? (size_t)n : 0;
	return (int)rq->n_fds;
}

static int give(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	ret->fds[ret->n_fds++] = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	return 0;
}

static int give_many(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	while (ret->n_fds < PEER_FDS_MAX)
		ret->fds[ret->n_fds++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return 0;
}

static int fail_with(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	return -EXDEV;
}

static int die(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	_exit(3);
}

/* Cannot be sent. */
static int give_none(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	ret->fds[ret->n_fds++] = -1;
	return 0;
}

static int receives_to_fail;

/* In this process alone: the peer has its own, which is 0. */
ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	if (receives_to_fail > 0) {
		receives_to_fail--;
		errno = ENOMEM;
		return -1;
	}
	return syscall(SYS_recvmsg, fd, m, flags);
}

static int set_up(void **state)
{
	static const struct peer_service services[SERVICES] = {
		[ECHO] = {echo, NULL},       [COUNT] = {count, NULL},    [OPEN] = {give, NULL},
		[MANY] = {give_many, NULL},  [FAIL] = {fail_with, NULL}, [DIE] = {die, NULL},
		[NO_FD] = {give_none, NULL},
	};

	return peer_start(&(struct peer_options){.name = "a peer",
						 .services = services,
						 .n_services = SERVICES},
			  &peer);
}

static int tear_down(void **state)
{
	peer_free(peer);
	return 0;
}

static int call(uint32_t service, const void *data, size_t len, struct peer_answer *ret)
{
	return peer_call(peer, &(struct peer_request){.service = service, .data = data, .len = len},
			 ret);
}

static void bytes_go_there_and_back(void **state)
{
	static char out[PEER_DATA_MAX], in[PEER_DATA_MAX];
	struct peer_answer answer = {.data = in, .cap = sizeof(in)};

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 31);
	assert_int_equal(call(ECHO, out, sizeof(out), &answer), 7);
	assert_int_equal(answer.len, sizeof(out));
	assert_memory_equal(in, out, sizeof(out));
	answer.len = 1;
	assert_int_equal(call(ECHO, NULL, 0, &answer), 7);
	assert_int_equal(answer.len, 0);
}

static void descriptors_go_along(void **state)
{
	char text[32];
	struct peer_answer answer = {.data = text, .cap = sizeof(text)};
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	struct peer_request rq = {.service = COUNT, .fds = &fd, .n_fds = 1};

	assert_int_equal(peer_call(peer, &rq, &answer), 1);
	assert_memory_equal(text, "test_peer",
			    9); /* whose file it is was settled when it was opened */
	close(fd);
}

static void descriptors_come_back_and_are_closed_over_there(void **state)
{
	struct peer_answer answer = {};
	char text[16] = "";

	for (int i = 0; i < 2000; i++) { /* more than a process may have */
		answer.n_fds = 0;
		assert_int_equal(call(OPEN, NULL, 0, &answer), 0);
		assert_int_equal(answer.n_fds, 1);
		if (i == 0)
			assert_true(pread(answer.fds[0], text, sizeof(text) - 1, 0) > 0);
		close(answer.fds[0]);
	}
	assert_string_equal(text, "a peer\n");
}

static void as_many_descriptors_as_there_is_room_for_come_at_once(void **state)
{
	struct peer_answer answer = {};

	assert_int_equal(call(MANY, NULL, 0, &answer), 0);
	assert_int_equal(answer.n_fds, PEER_FDS_MAX);
	for (size_t i = 0; i < answer.n_fds; i++)
		assert_int_equal(close(answer.fds[i]), 0);
	/* who wants none gets none: nothing leaks */
	assert_int_equal(call(MANY, NULL, 0, NULL), 0);
	assert_int_equal(dup(STDIN_FILENO), answer.fds[0]);
	close(answer.fds[0]);
}

static void an_answer_that_does_not_fit_is_an_error(void **state)
{
	char text[4];
	struct peer_answer answer = {.data = text, .cap = sizeof(text)};

	assert_int_equal(call(ECHO, "12345", 5, &answer), -EMSGSIZE);
	assert_int_equal(call(ECHO, "1234", 4, &answer), 7);
}

static void a_request_that_does_not_fit_is_an_error(void **state)
{
	static char big[PEER_DATA_MAX + 1];

	assert_int_equal(call(ECHO, big, sizeof(big), NULL), -EMSGSIZE);
	assert_int_equal(call(FAIL, NULL, 0, NULL), -EXDEV);
}

static void an_answer_that_nobody_could_receive_is_not_taken_for_another(void **state)
{
	char text[8] = "";
	struct peer_answer answer = {.data = text, .cap = sizeof(text)};

	receives_to_fail = 1;
	assert_int_equal(call(ECHO, "first", 6, &answer), -ENOMEM);
	receives_to_fail = 1;
	assert_int_equal(call(MANY, NULL, 0, &answer), -ENOMEM);
	assert_int_equal(answer.n_fds, 0);
	assert_int_equal(call(ECHO, "third", 6, &answer), 7);
	assert_string_equal(text, "third");
	assert_int_equal(answer.n_fds, 0);
}

static void an_answer_that_cannot_be_sent_leaves_its_reason(void **state)
{
	assert_int_equal(call(NO_FD, NULL, 0, NULL), -EBADF);
	assert_int_equal(call(FAIL, NULL, 0, NULL), -EXDEV);
}

static void descriptors_without_a_place_are_told(void **state)
{
	struct peer_answer answer = {};
	struct rlimit before, few;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){32, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(call(MANY, NULL, 0, &answer), -EMFILE);
	assert_int_equal(answer.n_fds, 0);
	assert_int_equal(call(OPEN, NULL, 0, &answer), 0); /* those that came were closed */
	assert_int_equal(answer.n_fds, 1);
	close(answer.fds[0]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void services_that_do_not_exist_are_refused(void **state)
{
	assert_int_equal(call(SERVICES, NULL, 0, NULL), -ENOSYS);
	assert_int_equal(call(UINT32_MAX, NULL, 0, NULL), -ENOSYS);
	assert_int_equal(call(FAIL, NULL, 0, NULL), -EXDEV);
}

static void a_peer_that_died_is_told_and_does_no_harm(void **state)
{
	assert_int_equal(call(DIE, NULL, 0, NULL), -ECONNRESET);
	assert_int_equal(call(ECHO, NULL, 0, NULL), -ECONNRESET);
}

static void a_peer_ends_when_nobody_can_ask_any_more(void **state)
{
	pid_t pid = peer_pid(peer);

	peer_free(peer);
	peer = NULL;
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_go_there_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(descriptors_go_along, set_up, tear_down),
		cmocka_unit_test_setup_teardown(descriptors_come_back_and_are_closed_over_there,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			as_many_descriptors_as_there_is_room_for_come_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_answer_that_does_not_fit_is_an_error, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_request_that_does_not_fit_is_an_error, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			an_answer_that_nobody_could_receive_is_not_taken_for_another, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(an_answer_that_cannot_be_sent_leaves_its_reason,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(descriptors_without_a_place_are_told, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(services_that_do_not_exist_are_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_peer_that_died_is_told_and_does_no_harm, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_peer_ends_when_nobody_can_ask_any_more, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
