/* SPDX-License-Identifier: MIT */
/*
 * A core that was taken over asks the broker for anything: requests of any service with any bytes and descriptors.
 * It gets files of processes, ELF files and the file that the user named, and nothing else; and the broker goes on.
 * Whoever starts the user's command for alerts starts nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "find/image.h"
#include "priv/output.h"
#include "priv/priv.h"
#include "sink/notify.h"
#include "source/bpf.h"
#include "source/tls_attach.h"

#define REQUESTS 50000

/* The name of one that has ended meanwhile says so. */
#define LISTED                                                          \
	"^/proc/[0-9]+/(task/[0-9]+/)?"                                 \
	"(cgroup|cmdline|environ|io|maps|schedstat|smaps|smaps_rollup|" \
	"stat|statm|status|fdinfo|fdinfo/[0-9]+)( \\(deleted\\))?$"

struct result {
	size_t asked, given, proc, elf, output;
	char wrong[256];
	bool ended, finished;
};

static struct result *result;                                       /* shared with the child */
static char output[64] = "/tmp/agentsight-broker-XXXXXX/recording"; /* in a directory of its own */
static struct stat proc_stat;
static regex_t listed; /* what of a process may be read, as userspace/priv/proc.c lists it */

static uint64_t dice = 0x9e3779b97f4a7c15ULL;

/* xorshift */
static uint32_t roll(void)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 32);
}

static const char *const words[] = {
	"1",
	"2",
	"self",
	"4294967295",
	"00001",
	"/proc/",
	"/",
	"//",
	"..",
	".",
	"environ",
	"cmdline",
	"maps",
	"mem",
	"fd",
	"fdinfo",
	"fdinfo/",
	"0",
	"exe",
	"cwd",
	"root",
	"root/",
	"map_files/",
	"400000-401000",
	"task/",
	"stat",
	"io",
	"etc/shadow",
	"bin/sh",
	"dev/mem",
	"dev/sda",
	"\n",
	" ",
	"\0",
	"%s",
	"usr/bin/python3",
	"kcore",
	"sysrq-trigger",
	"sys/kernel/core_pattern",
	"smaps",
};

static size_t make_path(char *text, size_t cap)
{
	size_t n = 0;

	for (uint32_t parts = roll() % 8; parts; parts--) {
		const char *word = words[roll() % ARRAY_SIZE(words)];
		size_t len = strlen(word);

		if (n + len + 2 > cap)
			break;
		memcpy(text + n, word, len);
		n += len;
		if (roll() % 3)
			text[n++] = '/';
	}
	/* mostly one terminated string, as is asked for */
	if (roll() % 8)
		text[n++] = '\0';
	return n;
}

/* What would be given, or is not quite that. */
static size_t make_near_miss(char *text)
{
	static const char *const good[][2] = {
		{"", "/environ"},
		{"", "/statm"},
		{"", "/fdinfo/0"},
		{"", "/mem"},
		{"", "/exe"},
		{"", "/cwd"},
		{"/proc/", "/root/bin/sh"},
		{"/proc/", "/exe"},
		{"/proc/", "/root//bin/cat"},
		{"/proc/", "/root/etc/passwd"},
		{"/proc/", "/root/proc/kcore"},
	};
	size_t pick = roll() % ARRAY_SIZE(good);
	size_t n = (size_t)sprintf(text, "%s%d%s", good[pick][0], getppid(), good[pick][1]) + 1;

	switch (roll() % 5) {
	case 0:
		text[roll() % n] = (char)roll();
		break;
	case 1:
		text[roll() % n] = "/.0"[roll() % 3];
		break;
	case 2:
		n += (size_t)snprintf(text + n - 1, 64, "/../%s",
				      words[roll() % ARRAY_SIZE(words)]);
		break;
	case 3:
		memmove(text + 3, text, n);
		memcpy(text, "../", 3);
		n += 3;
		break;
	default:
		break;
	}
	return n;
}

static size_t make_request(char *data, size_t cap)
{
	size_t n = make_path(data, cap);

	switch (roll() % 8) {
	case 0: /* nothing but noise */
		n = roll() % cap;
		for (size_t i = 0; i < n; i++)
			data[i] = (char)roll();
		break;
	case 1: /* as long as it gets, without an end */
		n = cap;
		memset(data, 'a', n);
		break;
	case 2: /* the user's file, as the core asks for it */
		memset(data, 0, PATH_MAX + 32);
		memcpy(data, output, sizeof(output));
		n = PATH_MAX + roll() % 8 * sizeof(uint32_t);
		for (size_t i = PATH_MAX; i < n; i += sizeof(uint32_t))
			data[i] = (char)(roll() % 8);
		break;
	case 3:
	case 4:
		n = make_near_miss(data);
		if (roll() % 2) { /* as programs are asked for, behind the number of any inode */
			memmove(data + sizeof(uint64_t), data, n);
			memset(data, 0, sizeof(uint64_t));
			n = sizeof(uint64_t) + PATH_MAX;
		}
		break;
	default:
		break;
	}
	return n;
}

/* What is moved aside keeps its number, what is new has another. */
static bool is_the_users(const struct stat *st)
{
	struct stat is;

	return stat(output, &is) == 0 && is.st_dev == st->st_dev && is.st_ino == st->st_ino;
}

static bool is_elf(int fd)
{
	char magic[4];

	return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && !memcmp(magic, "\177ELF", 4);
}

/* Everything else on the same file system, /proc/1/mem or /proc/kcore, is nobody's business. */
static bool is_listed(const char *name)
{
	return regexec(&listed, name, 0, NULL, 0) == 0;
}

static void judge(int fd, const struct peer_request *rq)
{
	char link[32], name[PATH_MAX];
	struct stat st = {0};
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	name[MAX(n, 0)] = '\0';
	result->given++;
	if (fstat(fd, &st) == 0 && st.st_dev == proc_stat.st_dev && is_listed(name))
		result->proc++;
	else if (is_the_users(&st) && (st.st_mode & 07777) == 0600)
		result->output++;
	else if (st.st_dev != proc_stat.st_dev && S_ISREG(st.st_mode) && is_elf(fd))
		result->elf++;
	else if (!result->wrong[0])
		snprintf(result->wrong, sizeof(result->wrong), "service %u gave '%.99s' for %.*s",
			 rq->service, name, (int)MIN(rq->len, (size_t)100), (const char *)rq->data);
	close(fd);
}

static void ask(char *data, char *room, int some_fd)
{
	int fds[] = {some_fd, some_fd, STDERR_FILENO};
	struct peer_request rq = {.service = roll() % (roll() % 2 ? PRIV_LEASE : PRIV_SERVICES + 2),
				  .data = data,
				  .fds = fds};
	struct peer_answer answer = {.data = room, .cap = PEER_DATA_MAX};
	int r;

	rq.len = make_request(data, PEER_DATA_MAX);
	rq.n_fds = roll() % 4 ? 0 : roll() % 4;
	r = priv_call(&rq, &answer);
	result->asked++;
	result->ended |= r == -ECONNRESET;
	for (size_t i = 0; i < answer.n_fds; i++)
		judge(answer.fds[i], &rq);
}

static void core(void)
{
	char *data = calloc(1, PEER_DATA_MAX + PATH_MAX + 64), *room = malloc(PEER_DATA_MAX);
	int some_fd = memfd_create("some", MFD_CLOEXEC);
	struct err e = {0};

	priv_output_allow(output, 2);
	if (!data || !room || priv_split(&(struct priv_options){0}, &e) < 0)
		return;
	for (size_t i = 0; i < REQUESTS && !result->ended; i++)
		ask(data, room, some_fd);
	result->finished = true;
}

static void the_broker_gives_nothing_away(void **state)
{
	char command[96], *slash = strrchr(output, '/');
	int fd, status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	*slash = '\0';
	assert_non_null(mkdtemp(output));
	snprintf(command, sizeof(command), "rm -r %s", output);
	chmod(output, 0755); /* who has split may look */
	*slash = '/';
	fd = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(stat("/proc/1", &proc_stat), 0);
	assert_int_equal(regcomp(&listed, LISTED, REG_EXTENDED | REG_NOSUB), 0);
	close(fd);
	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert_ptr_not_equal(result, MAP_FAILED);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		core();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(system(command), 0);
	print_message("%zu requests, %zu files given: %zu of processes, %zu ELF, %zu the user's\n",
		      result->asked, result->given, result->proc, result->elf, result->output);
	assert_string_equal(result->wrong, "");
	assert_false(result->ended);
	assert_true(result->finished && WIFEXITED(status));
	/* it does give what it should */
	assert_true(result->proc && result->elf && result->output);
	regfree(&listed);
}

/* ---- probes, which are breakpoints in everybody's code ---- */

#define REFUSED 4

static int *told; /* shared with the child */

static int probe(struct tls_programs *p, const char *path, uint64_t offset, size_t number)
{
	struct tls_probes probes = {
		.n = 1,
		.list = {{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_INT, AS_TLS_FN_SSL_WRITE, 0, offset}},
	};
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct tls_links links = {0};
	struct err e = {0};
	int r = tls_programs_attach(p, &probes, number, fd, &links, &e);

	tls_links_detach(&links);
	return r;
}

static uint64_t offset_in_text(void)
{
	_cleanup_(closep) int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	_cleanup_(image_freep) struct image *im = NULL;
	const struct image_segment *segments;

	if (image_open(fd, NULL, &im) < 0)
		return 0;
	for (size_t n = image_segments(im, &segments); n--;) {
		if (image_in_text(im, segments[n].vaddr))
			return segments[n].offset + 64;
	}
	return 0;
}

static void ask_for_probes(void)
{
	uint64_t offset = offset_in_text();
	struct tls_programs *p;
	struct bpf_shared *s;
	struct err e = {0};

	if (bpf_shared_open(
		    &(struct bpf_options){.ring_events_size = 1 << 16, .ring_data_size = 1 << 16},
		    &s, &e) < 0 ||
	    tls_programs_open(s, &p, &e) < 0)
		_exit(77);
	if (!offset || priv_split(&(struct priv_options){0}, &e) < 0)
		_exit(1);
	told[0] = probe(p, "/etc/passwd", 0, 1);
	told[1] = probe(p, "/proc/self/exe", 0, 1);
	told[2] = probe(p, "/proc/self/exe", 1ULL << 40, 1);
	told[3] = probe(p, "/proc/self/exe", offset, 1 << 16);
	told[REFUSED] = probe(p, "/proc/self/exe", offset, 1);
	_exit(0);
}

static void probes_are_put_into_code_only(void **state)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(told, MAP_FAILED);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		ask_for_probes();
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* this kernel takes no programs from us */
	assert_int_equal(status, 0);
	assert_int_equal(told[0], -ENOEXEC);
	for (size_t i = 1; i < REFUSED; i++)
		assert_int_equal(told[i], -EINVAL);
	assert_int_equal(told[REFUSED], 0);
}

/* ---- the launcher, which is told in its own language: the core's code is not what asks ---- */

struct start {
	uint32_t service, number;
	int32_t result;
	uint32_t channel, quiet, env_len;
	char env[48 << 10];
};

enum {
	COMMAND,
	WEBHOOK,
};

static int launcher_fd(void)
{
	int type;

	for (int fd = STDERR_FILENO + 1; fd < 256; fd++) {
		if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof(type)}) == 0 &&
		    type == SOCK_SEQPACKET)
			return fd;
	}
	return -1;
}

/* The process that was started, or why not. */
static int launch(int fd, uint32_t channel, const char *env, size_t len)
{
	static struct start want;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} control = {.head = {.cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec part = {&want, sizeof(want)};
	struct msghdr m = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	_cleanup_(closep) int body = memfd_create("body", MFD_CLOEXEC);

	want = (struct start){.channel = channel, .env_len = (uint32_t)len};
	if (len <= sizeof(want.env))
		memcpy(want.env, env, len);
	memcpy(CMSG_DATA(&control.head), &body, sizeof(body));
	assert_int_equal(sendmsg(fd, &m, 0), sizeof(want));
	assert_true(recv(fd, &want, sizeof(want), 0) >= 12);
	return want.result;
}

static void the_launcher_starts_what_the_user_named_and_takes_no_other_variables(void **state)
{
	static const char preload[] = "LD_PRELOAD=/tmp/evil.so";
	static const char behind[] = "AGENTSIGHT_ALERT_RULE=cpu > 80\0PATH=/tmp";
	static const char cut[] = "AGENTSIGHT_ALERT_RULE=cpu > 80";
	struct notify *n;
	struct err e = {0};
	int fd;

	assert_int_equal(
		notify_open(&(struct notify_options){.command = "true", .launcher = true}, &n, &e),
		0);
	fd = launcher_fd();
	assert_true(fd >= 0);
	assert_int_equal(launch(fd, COMMAND, preload, sizeof(preload)), -EINVAL);
	assert_int_equal(launch(fd, COMMAND, behind, sizeof(behind)), -EINVAL);
	assert_int_equal(launch(fd, COMMAND, cut, sizeof(cut) - 1), -EINVAL);
	assert_int_equal(launch(fd, COMMAND, "", 1), -EINVAL);
	assert_int_equal(launch(fd, COMMAND, cut, SIZE_MAX >> 33), -EINVAL);
	assert_int_equal(launch(fd, WEBHOOK, cut, sizeof(cut)), -EINVAL);
	assert_int_equal(launch(fd, 2, cut, sizeof(cut)), -EINVAL);
	assert_true(launch(fd, COMMAND, cut, sizeof(cut)) > 0);
	notify_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_broker_gives_nothing_away),
		cmocka_unit_test(probes_are_put_into_code_only),
		cmocka_unit_test(
			the_launcher_starts_what_the_user_named_and_takes_no_other_variables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
