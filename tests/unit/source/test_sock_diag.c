/* SPDX-License-Identifier: MIT */
/* Answers of the kernel, made by hand; then the real kernel, on the loopback device. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include "source/sock_diag.h"

struct answer {
	struct nlmsghdr h;
	struct inet_diag_msg m;
	struct rtattr a;
	struct tcp_info info;
} __attribute__((packed));

static struct sock_fact facts[8];
static size_t n_facts;

static void take(void *ctx, const struct sock_fact *f)
{
	facts[n_facts++] = *f;
}

static struct answer answer_make(uint32_t inode, uint8_t state)
{
	return (struct answer){
		.h = {.nlmsg_len = sizeof(struct answer), .nlmsg_type = SOCK_DIAG_BY_FAMILY},
		.m = {.idiag_inode = inode,
		      .idiag_uid = 7,
		      .idiag_state = state,
		      .id = {.idiag_cookie = {5, 1}}},
		.a = {.rta_len = RTA_LENGTH(sizeof(struct tcp_info)), .rta_type = INET_DIAG_INFO},
		.info = {.tcpi_bytes_received = 100,
			 .tcpi_bytes_sent = 70,
			 .tcpi_bytes_retrans = 20},
	};
}

static int parse(const void *bytes, size_t n)
{
	n_facts = 0;
	return sock_diag_parse(bytes, n, take, NULL);
}

static void payload_is_told_without_what_was_sent_again(void **state)
{
	struct answer a = answer_make(11, 1);

	assert_int_equal(parse(&a, sizeof(a)), 1);
	assert_int_equal(n_facts, 1);
	assert_int_equal(facts[0].inode, 11);
	assert_int_equal(facts[0].uid, 7);
	assert_int_equal(facts[0].cookie, 0x100000005);
	assert_int_equal(facts[0].rx_bytes, 100);
	assert_int_equal(facts[0].tx_bytes, 50);
}

static void the_end_of_the_other_side_is_no_byte(void **state)
{
	struct answer a = answer_make(11, 8);

	parse(&a, sizeof(a));
	assert_int_equal(facts[0].rx_bytes, 99);
}

static void who_has_no_inode_is_nobodys(void **state)
{
	struct answer a = answer_make(0, 1);

	assert_int_equal(parse(&a, sizeof(a)), 1);
	assert_int_equal(n_facts, 0);
}

static void the_last_answer_and_errors_are_told(void **state)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
	} last = {.h = {.nlmsg_len = sizeof(last), .nlmsg_type = NLMSG_DONE}};

	assert_int_equal(parse(&last, sizeof(last)), 0);
	last.e.error = -ENOENT;
	assert_int_equal(parse(&last, sizeof(last)), -ENOENT);
	last.h.nlmsg_len = sizeof(last.h);
	assert_int_equal(parse(&last, sizeof(last)), 0);
	last.h.nlmsg_len = sizeof(last);
	last.h.nlmsg_type = NLMSG_ERROR;
	last.e.error = -EACCES;
	assert_int_equal(parse(&last, sizeof(last)), -EACCES);
	last.h.nlmsg_len = sizeof(last.h);
	assert_int_equal(parse(&last, sizeof(last)), -EBADMSG);
}

static void no_length_leads_out_of_the_answer(void **state)
{
	struct answer a[2];

	for (uint32_t len = 0; len <= sizeof(a[0]) + 8; len++) {
		a[0] = a[1] = answer_make(11, 1);
		a[0].h.nlmsg_len = len;
		parse(a, sizeof(a[0]));
		a[0] = answer_make(11, 1);
		a[0].a.rta_len = len;
		parse(a, sizeof(a[0]));
		parse(a, len > sizeof(a[0]) ? sizeof(a[0]) : len);
	}
}

/* ---- the real kernel ---- */

static uint64_t rx, tx;
static uint32_t who;

static void moved(void *ctx, uint32_t tgid, uint64_t start_ns, uint64_t rx_bytes, uint64_t tx_bytes)
{
	who = tgid;
	rx += rx_bytes;
	tx += tx_bytes;
}

static void look(struct sock_diag *d, uint32_t pass)
{
	rx = tx = 0;
	assert_int_equal(sock_diag_begin(d), 0);
	assert_int_equal(sock_diag_look(d, getpid(), 1, pass), 0);
	sock_diag_end(d, moved, NULL);
	sock_diag_round(d);
}

static void pair_open(int fds[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (void *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (void *)&at, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (void *)&at, sizeof(at)), 0);
	fds[1] = accept(fd, NULL, NULL);
	assert_true(fds[1] >= 0);
	close(fd);
}

static void pass_on(const int fds[2], size_t n)
{
	char buf[1000] = {0};

	assert_int_equal(write(fds[0], buf, n), n);
	assert_int_equal(recv(fds[1], buf, n, MSG_WAITALL), n);
}

static void bytes_are_counted_once_and_only_once(void **state)
{
	_cleanup_(sock_diag_freep) struct sock_diag *d = NULL;
	int fds[2];

	if (sock_diag_new(&d) < 0)
		skip();
	pair_open(fds);
	pass_on(fds, 300);
	look(d, 0);
	assert_int_equal(who, getpid());
	assert_int_equal(rx, 300);
	assert_int_equal(tx, 300);
	pass_on(fds, 1000);
	look(d, 0);
	assert_int_equal(rx, 1000);
	assert_int_equal(tx, 1000);
	look(d, 0);
	assert_int_equal(rx + tx, 0);
	close(fds[0]);
	close(fds[1]);
}

static void what_was_moved_before_the_first_look_can_be_left_out(void **state)
{
	_cleanup_(sock_diag_freep) struct sock_diag *d = NULL;
	int fds[2];

	if (sock_diag_new(&d) < 0)
		skip();
	pair_open(fds);
	pass_on(fds, 300);
	look(d, 1);
	assert_int_equal(rx + tx, 0);
	pass_on(fds, 7);
	look(d, 1);
	assert_int_equal(rx, 7);
	close(fds[0]);
	close(fds[1]);
	pair_open(fds);
	pass_on(fds, 5);
	look(d, 1);
	assert_int_equal(rx, 5);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payload_is_told_without_what_was_sent_again),
		cmocka_unit_test(the_end_of_the_other_side_is_no_byte),
		cmocka_unit_test(who_has_no_inode_is_nobodys),
		cmocka_unit_test(the_last_answer_and_errors_are_told),
		cmocka_unit_test(no_length_leads_out_of_the_answer),
		cmocka_unit_test(bytes_are_counted_once_and_only_once),
		cmocka_unit_test(what_was_moved_before_the_first_look_can_be_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
