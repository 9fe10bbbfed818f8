/* SPDX-License-Identifier: MIT */
#include "priv/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"

#define ACCOUNT "agentsight"
#define NOBODY  65534

/* ---- who we become ---- */

void sandbox_identity(struct identity *ret)
{
	_cleanup_(fclosep) FILE *f = fopen("/etc/passwd", "re");
	struct passwd *pw;

	*ret = (struct identity){NOBODY, NOBODY};
	/* from the file itself: name services bring libraries and sockets along */
	while (f && (pw = fgetpwent(f))) {
		if (!strcmp(pw->pw_name, ACCOUNT) && pw->pw_uid && pw->pw_gid)
			*ret = (struct identity){pw->pw_uid, pw->pw_gid};
	}
}

/* ---- capabilities ---- */

static uint64_t mask_join(uint32_t low, uint32_t high)
{
	return (uint64_t)high << 32 | low;
}

int sandbox_caps(struct caps *ret)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	*ret = (struct caps){mask_join(data[0].effective, data[1].effective),
			     mask_join(data[0].permitted, data[1].permitted)};
	return 0;
}

/* Of this thread. */
static int caps_set(uint64_t effective, uint64_t permitted)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)effective, .permitted = (uint32_t)permitted},
		{.effective = (uint32_t)(effective >> 32),
		 .permitted = (uint32_t)(permitted >> 32)},
	};

	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

/* What a later execve() could bring back. */
static void bounding_set_empty(uint64_t keep)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
		if (!(keep >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap);
	}
}

/*
 * The kernel's own call, which is about one thread. With the effective user go the effective capabilities; the
 * permitted ones stay, and the way back is open.
 */
int sandbox_try(const struct identity *id, int (*try)(void *ctx), void *ctx)
{
	uid_t before = geteuid();
	int r;

	if (syscall(SYS_setresuid, -1, id->uid, -1) < 0)
		return -errno;
	r = try(ctx);
	if (syscall(SYS_setresuid, -1, before, -1) < 0)
		return -errno;
	return r;
}

int sandbox_become(const struct identity *id, uint64_t keep, struct err *e)
{
	if (keep)
		prctl(PR_SET_KEEPCAPS, 1);
	bounding_set_empty(keep);
	/* the C library's functions, which do it in every thread */
	if (setgroups(0, NULL) < 0 || setresgid(id->gid, id->gid, id->gid) < 0 ||
	    setresuid(id->uid, id->uid, id->uid) < 0)
		return err_set(e, -errno, "cannot become user %u: %s", id->uid, strerror(errno));
	if (caps_set(keep, keep) < 0)
		return err_set(e, -errno, "cannot give capabilities up: %s", strerror(errno));
	/* nobody of that user shall look into our memory, which holds what others said in confidence */
	prctl(PR_SET_DUMPABLE, 0);
	return 0;
}

int sandbox_limit(uint64_t keep)
{
	bounding_set_empty(keep);
	prctl(PR_SET_DUMPABLE, 0);
	return caps_set(keep, keep);
}

static uint64_t line_number(const char *text, const char *key, int base)
{
	const char *line = strstr(text, key);

	return line ? strtoull(line + strlen(key), NULL, base) : 0;
}

int sandbox_read(pid_t pid, struct sandbox_state *ret)
{
	_cleanup_(closep) int fd = -1;
	char path[48], text[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	*ret = (struct sandbox_state){
		.uid = (uint32_t)line_number(text, "\nUid:", 10),
		.effective = line_number(text, "\nCapEff:", 16),
		.permitted = line_number(text, "\nCapPrm:", 16),
		.no_new_privs = line_number(text, "\nNoNewPrivs:", 10),
		.filtered = line_number(text, "\nSeccomp:", 10) == 2,
	};
	return 0;
}

void sandbox_describe(uint64_t caps, char *out, size_t cap)
{
	static const struct {
		unsigned int number;
		const char *name;
	} names[] = {
		{CAP_SYS_ADMIN, "SYS_ADMIN"},
		{CAP_SYS_PTRACE, "SYS_PTRACE"},
		{CAP_SYS_RESOURCE, "SYS_RESOURCE"},
		{CAP_DAC_OVERRIDE, "DAC_OVERRIDE"},
		{CAP_DAC_READ_SEARCH, "DAC_READ_SEARCH"},
		{CAP_CHOWN, "CHOWN"},
		{CAP_FOWNER, "FOWNER"},
		{CAP_KILL, "KILL"},
		{CAP_LEASE, "LEASE"},
		{38, "PERFMON"}, /* by number: the C library's headers may be older */
		{39, "BPF"},
		{40, "CHECKPOINT_RESTORE"},
	};
	size_t n = 0;

	*out = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(names) && n < cap; i++) {
		if (!(caps >> names[i].number & 1))
			continue;
		n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? " " : "", names[i].name);
		caps &= ~(1ULL << names[i].number);
	}
	if (caps && n < cap)
		snprintf(out + n, cap - n, "%sand %d more", n ? " " : "",
			 __builtin_popcountll(caps));
	else if (!n)
		snprintf(out, cap, "no capability");
}

/* ---- system calls ---- */

#define CORE   (1U << SANDBOX_CORE)
#define BROKER (1U << SANDBOX_BROKER)
#define BOTH   (CORE | BROKER)

/* Without conditions on arguments. */
static const struct {
	int number;
	unsigned int roles;
} calls[] = {
	/* memory */
	{SCMP_SYS(brk), BOTH},
	{SCMP_SYS(madvise), BOTH},
	{SCMP_SYS(mremap), BOTH},
	{SCMP_SYS(munmap), BOTH},
	{SCMP_SYS(memfd_create), BOTH},

	/* descriptors */
	{SCMP_SYS(close), BOTH},
	{SCMP_SYS(close_range), BOTH},
	{SCMP_SYS(dup), BOTH},
	{SCMP_SYS(dup2), BOTH},
	{SCMP_SYS(dup3), BOTH},
	{SCMP_SYS(fcntl), BOTH},
	{SCMP_SYS(fstat), BOTH},
	{SCMP_SYS(fstatfs), BOTH},
	{SCMP_SYS(lseek), BOTH},
	{SCMP_SYS(pread64), BOTH},
	{SCMP_SYS(preadv), CORE},
	{SCMP_SYS(read), BOTH},
	{SCMP_SYS(readv), CORE},
	{SCMP_SYS(write), BOTH},
	{SCMP_SYS(writev), BOTH},
	{SCMP_SYS(pwrite64), CORE},
	{SCMP_SYS(ftruncate), BOTH},
	{SCMP_SYS(fsync), BOTH},
	{SCMP_SYS(fdatasync), BOTH},
	{SCMP_SYS(fadvise64), CORE},
	{SCMP_SYS(pipe2), CORE},

	/* names, for reading */
	{SCMP_SYS(access), BOTH},
	{SCMP_SYS(faccessat), BOTH},
	{SCMP_SYS(faccessat2), BOTH},
	{SCMP_SYS(getcwd), BOTH},
	{SCMP_SYS(getdents64), BOTH},
	{SCMP_SYS(lstat), BOTH},
	{SCMP_SYS(newfstatat), BOTH},
	{SCMP_SYS(readlink), BOTH},
	{SCMP_SYS(readlinkat), BOTH},
	{SCMP_SYS(stat), BOTH},
	{SCMP_SYS(statfs), BOTH},
	{SCMP_SYS(statx), BOTH},

	/* outputs, and the cache of found functions */
	{SCMP_SYS(open), BROKER},
	{SCMP_SYS(openat), BROKER},
	{SCMP_SYS(openat2), BROKER},
	{SCMP_SYS(fchmod), BROKER},
	{SCMP_SYS(fchown), BROKER},
	{SCMP_SYS(mkdir), BROKER},
	{SCMP_SYS(mkdirat), BROKER},
	{SCMP_SYS(rename), BROKER},
	{SCMP_SYS(renameat), BROKER},
	{SCMP_SYS(renameat2), BROKER},
	{SCMP_SYS(unlink), BROKER},
	{SCMP_SYS(unlinkat), BROKER},

	/* waiting */
	{SCMP_SYS(clock_gettime), BOTH},
	{SCMP_SYS(clock_nanosleep), BOTH},
	{SCMP_SYS(epoll_create1), CORE},
	{SCMP_SYS(epoll_ctl), CORE},
	{SCMP_SYS(epoll_pwait), CORE},
	{SCMP_SYS(epoll_wait), CORE},
	{SCMP_SYS(eventfd2), CORE},
	{SCMP_SYS(inotify_add_watch), CORE},
	{SCMP_SYS(inotify_rm_watch), CORE},
	{SCMP_SYS(futex), BOTH},
	{SCMP_SYS(gettimeofday), BOTH},
	{SCMP_SYS(nanosleep), BOTH},
	{SCMP_SYS(poll), CORE},
	{SCMP_SYS(ppoll), CORE},
	{SCMP_SYS(restart_syscall), BOTH},
	{SCMP_SYS(sched_yield), BOTH},
	{SCMP_SYS(signalfd4), CORE},
	{SCMP_SYS(time), BOTH},
	{SCMP_SYS(timerfd_create), CORE},
	{SCMP_SYS(timerfd_settime), CORE},
	{SCMP_SYS(wait4), CORE},
	{SCMP_SYS(waitid), CORE},
	{SCMP_SYS(pidfd_open), CORE},

	/* this process */
	{SCMP_SYS(exit), BOTH},
	{SCMP_SYS(exit_group), BOTH},
	{SCMP_SYS(getegid), BOTH},
	{SCMP_SYS(geteuid), BOTH},
	{SCMP_SYS(getgid), BOTH},
	{SCMP_SYS(getpid), BOTH},
	{SCMP_SYS(getppid), BOTH},
	{SCMP_SYS(getrandom), BOTH},
	{SCMP_SYS(getrusage), BOTH},
	{SCMP_SYS(gettid), BOTH},
	{SCMP_SYS(getuid), BOTH},
	{SCMP_SYS(getcpu), BOTH},
	{SCMP_SYS(capget), BOTH},
	{SCMP_SYS(prlimit64), BOTH},
	{SCMP_SYS(rseq), BOTH},
	{SCMP_SYS(rt_sigaction), BOTH},
	{SCMP_SYS(rt_sigprocmask), BOTH},
	{SCMP_SYS(rt_sigreturn), BOTH},
	{SCMP_SYS(sched_getaffinity), BOTH},
	{SCMP_SYS(set_robust_list), BOTH},
	{SCMP_SYS(sigaltstack), BOTH},
	{SCMP_SYS(sysinfo), BOTH},
	{SCMP_SYS(tgkill), BOTH},
	{SCMP_SYS(uname), BOTH},

	/* talking to one another, and to the kernel's list of sockets */
	{SCMP_SYS(recvmsg), BOTH},
	{SCMP_SYS(sendmsg), BOTH},
	{SCMP_SYS(recvfrom), CORE},
	{SCMP_SYS(sendto), CORE},

	/* what the broker is for */
	{SCMP_SYS(bpf), BROKER},
	{SCMP_SYS(perf_event_open), BROKER},
	{SCMP_SYS(ioctl), BROKER},
	{SCMP_SYS(kill), BROKER},
	{SCMP_SYS(pidfd_send_signal), BROKER},
};

#define THREAD_FLAGS (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)

/* `(argument & mask) == value`; a mask of all ones is the argument itself. */
static const struct {
	int number;
	unsigned int roles;
	unsigned int arg;
	uint64_t mask, value;
} conditions[] = {
	/* no memory that is written becomes code */
	{SCMP_SYS(mmap), BOTH, 2, PROT_EXEC, 0},
	{SCMP_SYS(mprotect), BOTH, 2, PROT_EXEC, 0},
	/* threads, but no processes */
	{SCMP_SYS(clone), BOTH, 0, THREAD_FLAGS, THREAD_FLAGS},
	{SCMP_SYS(prctl), BOTH, 0, ~0ULL, PR_SET_NAME},
	/* is it still there? */
	{SCMP_SYS(kill), CORE, 1, ~0ULL, 0},
	/* O_WRONLY, O_RDWR and O_CREAT are the broker's */
	{SCMP_SYS(open), CORE, 1, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
	{SCMP_SYS(openat), CORE, 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
	/* a terminal's size; not what would type into it */
	{SCMP_SYS(ioctl), CORE, 1, ~0ULL, TIOCGWINSZ},
	{SCMP_SYS(ioctl), CORE, 1, ~0ULL, TCGETS},
	{SCMP_SYS(ioctl), CORE, 1, ~0ULL, FIONREAD},
	/* libbpf does so before it closes a link */
	{SCMP_SYS(ioctl), CORE, 1, ~0ULL, PERF_EVENT_IOC_DISABLE},
	/* maps and counters of programs that are loaded */
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_MAP_LOOKUP_ELEM},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_MAP_UPDATE_ELEM},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_MAP_DELETE_ELEM},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_MAP_GET_NEXT_KEY},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_MAP_LOOKUP_AND_DELETE_ELEM},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_MAP_LOOKUP_BATCH},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_MAP_LOOKUP_AND_DELETE_BATCH},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_MAP_UPDATE_BATCH},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_MAP_DELETE_BATCH},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_OBJ_GET_INFO_BY_FD},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_PROG_TEST_RUN},
	{SCMP_SYS(bpf), CORE, 0, ~0ULL, BPF_ITER_CREATE},
};

static int calls_allow(scmp_filter_ctx filter, unsigned int role)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(calls); i++) {
		if (calls[i].roles & role)
			r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, calls[i].number, 0,
						   NULL);
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(conditions); i++) {
		struct scmp_arg_cmp cmp = {.arg = conditions[i].arg,
					   .op = SCMP_CMP_MASKED_EQ,
					   .datum_a = conditions[i].mask,
					   .datum_b = conditions[i].value};

		if (conditions[i].roles & role)
			r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, conditions[i].number, 1,
						   &cmp);
	}
	return r;
}

static int filter_load(scmp_filter_ctx filter, unsigned int role, bool devices)
{
	int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	if (r == 0)
		r = calls_allow(filter, role);
	/* its flags lie in memory: the C library takes clone() when it is told that there is no such call */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0 && devices)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 0);
	return r == 0 ? seccomp_load(filter) : r;
}

int sandbox_filter(enum sandbox_role role, bool devices, struct err *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!filter)
		return err_set(e, -ENOMEM, "no filter for system calls: not enough memory");
	r = filter_load(filter, 1U << role, devices);
	seccomp_release(filter);
	return r < 0 ? err_set(e, r, "no filter for system calls: %s", strerror(-r)) : 0;
}
