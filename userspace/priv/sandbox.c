/* SPDX-License-Identifier: MIT */
#include "priv/sandbox.h"

#include <asm/termbits.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

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

int sandbox_permitted(uint64_t *ret)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	*ret = (uint64_t)data[1].permitted << 32 | data[0].permitted;
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

/* Whom a thread acts as: to the kernel's own calls, which are about one thread. */
struct actor {
	struct identity id;
	int n_groups;
	gid_t *groups;
};

static int actor_now(struct actor *ret)
{
	int n = getgroups(0, NULL);

	*ret = (struct actor){.id = {geteuid(), getegid()}, .n_groups = n};
	ret->groups = n < 0 ? NULL : calloc((size_t)n + 1, sizeof(ret->groups[0]));
	if (!ret->groups)
		return n < 0 ? -errno : -ENOMEM;
	return getgroups(n, ret->groups) < 0 ? -errno : 0;
}

static int set_groups(const struct actor *a)
{
	if (syscall(SYS_setgroups, a->n_groups, a->groups) < 0 ||
	    syscall(SYS_setresgid, -1, a->id.gid, -1) < 0)
		return -errno;
	return 0;
}

/* The groups too: hidepid hides nothing from root's. */
static int try_as(const struct identity *id, const struct actor *before, int (*try)(void *ctx),
		  void *ctx)
{
	int r = set_groups(&(struct actor){.id = *id});

	if (r == 0 && syscall(SYS_setresuid, -1, id->uid, -1) < 0)
		r = -errno;
	if (r == 0)
		r = try(ctx);
	if (syscall(SYS_setresuid, -1, before->id.uid, -1) < 0 || set_groups(before) < 0) {
		/* a thread of one user among threads of another: nothing may be done like that */
		log_error("cannot become user %u again: %s", before->id.uid, strerror(errno));
		_exit(EXIT_FAILURE);
	}
	return r;
}

/* With the effective user go the effective capabilities; the permitted ones stay, and the way back is open. */
int sandbox_try(const struct identity *id, int (*try)(void *ctx), void *ctx)
{
	struct actor before = {};
	int r = actor_now(&before);

	if (r == 0)
		r = try_as(id, &before, try, ctx);
	free(before.groups);
	return r;
}

/*
 * Other threads lose their capabilities by ceasing to be root. So who is another user with capabilities becomes root
 * before; where that is not possible they keep them, which sandbox_read() tells.
 */
int sandbox_become(const struct identity *id, uint64_t keep, struct err *e)
{
	if (keep)
		prctl(PR_SET_KEEPCAPS, 1);
	bounding_set_empty(keep);
	if (geteuid() != 0 && setresuid(0, 0, 0) < 0)
		log_debug("cannot become root before user %u: %s", id->uid, strerror(errno));
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

static int status_read(pid_t pid, const char *tid, struct sandbox_state *ret)
{
	_cleanup_(closep) int fd = -1;
	char path[64], text[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", pid, tid);
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

int sandbox_read(pid_t pid, struct sandbox_state *ret)
{
	struct sandbox_state all = {.uid = UINT32_MAX, .no_new_privs = true, .filtered = true}, is;
	_cleanup_(closedirp) DIR *dir = NULL;
	const struct dirent *d;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((d = readdir(dir))) {
		/* one that has ended meanwhile can do nothing */
		if (*d->d_name == '.' || status_read(pid, d->d_name, &is) < 0)
			continue;
		all.uid = MIN(all.uid, is.uid);
		all.effective |= is.effective;
		all.permitted |= is.permitted;
		all.no_new_privs &= is.no_new_privs;
		all.filtered &= is.filtered;
	}
	if (all.uid == UINT32_MAX)
		return -ESRCH;
	*ret = all;
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
		{CAP_PERFMON, "PERFMON"},
		{CAP_BPF, "BPF"},
		{CAP_CHECKPOINT_RESTORE, "CHECKPOINT_RESTORE"},
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
	uint32_t number;
	unsigned int roles;
} calls[] = {
	/* memory */
	{SYS_brk, BOTH},
	{SYS_madvise, BOTH},
	{SYS_mremap, BOTH},
	{SYS_munmap, BOTH},
	{SYS_memfd_create, BOTH},

	/* descriptors */
	{SYS_close, BOTH},
	{SYS_close_range, BOTH},
	{SYS_dup, BOTH},
	{SYS_dup3, BOTH},
	{SYS_fcntl, BOTH},
	{SYS_flock, BOTH},
	{SYS_fstat, BOTH},
	{SYS_fstatfs, BOTH},
	{SYS_lseek, BOTH},
	{SYS_pread64, BOTH},
	{SYS_preadv, CORE},
	{SYS_read, BOTH},
	{SYS_readv, CORE},
	{SYS_write, BOTH},
	{SYS_writev, BOTH},
	{SYS_pwrite64, CORE},
	{SYS_ftruncate, BOTH},
	{SYS_fsync, BOTH},
	{SYS_fdatasync, BOTH},
	{SYS_fadvise64, CORE},
	{SYS_pipe2, CORE},

	/* names, for reading */
	{SYS_faccessat, BOTH},
	{SYS_faccessat2, BOTH},
	{SYS_getcwd, BOTH},
	{SYS_getdents64, BOTH},
	{SYS_newfstatat, BOTH},
	{SYS_readlinkat, BOTH},
	{SYS_statfs, BOTH},
	{SYS_statx, BOTH},

	/* outputs, and the cache of found functions */
	{SYS_openat, BROKER},
	{SYS_openat2, BROKER},
	{SYS_fchmod, BROKER},
	{SYS_fchown, BROKER},
	{SYS_mkdirat, BROKER},
	{SYS_renameat, BROKER},
	{SYS_renameat2, BROKER},
	{SYS_unlinkat, BROKER},

	/* waiting */
	{SYS_clock_gettime, BOTH},
	{SYS_clock_nanosleep, BOTH},
	{SYS_epoll_create1, CORE},
	{SYS_epoll_ctl, CORE},
	{SYS_epoll_pwait, CORE},
	{SYS_eventfd2, CORE},
	{SYS_inotify_add_watch, CORE},
	{SYS_inotify_rm_watch, CORE},
	{SYS_futex, BOTH},
	{SYS_gettimeofday, BOTH},
	{SYS_nanosleep, BOTH},
	{SYS_ppoll, BOTH},
	{SYS_restart_syscall, BOTH},
	{SYS_sched_yield, BOTH},
	{SYS_signalfd4, CORE},
	{SYS_timerfd_create, CORE},
	{SYS_timerfd_settime, CORE},
	{SYS_wait4, CORE},
	{SYS_waitid, CORE},
	{SYS_pidfd_open, CORE},

	/* this process */
	{SYS_exit, BOTH},
	{SYS_exit_group, BOTH},
	{SYS_getegid, BOTH},
	{SYS_geteuid, BOTH},
	{SYS_getgid, BOTH},
	{SYS_getpid, BOTH},
	{SYS_getppid, BOTH},
	{SYS_getrandom, BOTH},
	{SYS_getrusage, BOTH},
	{SYS_gettid, BOTH},
	{SYS_getuid, BOTH},
	{SYS_getcpu, BOTH},
	{SYS_capget, BOTH},
	{SYS_prlimit64, BOTH},
	{SYS_rseq, BOTH},
	{SYS_rt_sigaction, BOTH},
	{SYS_rt_sigprocmask, BOTH},
	{SYS_rt_sigreturn, BOTH},
	{SYS_sched_getaffinity, BOTH},
	{SYS_set_robust_list, BOTH},
	{SYS_sigaltstack, BOTH},
	{SYS_sysinfo, BOTH},
	{SYS_tgkill, BOTH},
	{SYS_uname, BOTH},

	/* talking to one another, and to the kernel's list of sockets */
	{SYS_recvmsg, BOTH},
	{SYS_sendmsg, BOTH},
	{SYS_recvfrom, CORE},
	{SYS_sendto, CORE},

	/* what the broker is for */
	{SYS_bpf, BROKER},
	{SYS_perf_event_open, BROKER},
	{SYS_ioctl, BROKER},
	{SYS_pidfd_send_signal, BROKER},

#ifdef SYS_open /* what newer architectures never had */
	{SYS_dup2, BOTH},
	{SYS_access, BOTH},
	{SYS_lstat, BOTH},
	{SYS_readlink, BOTH},
	{SYS_stat, BOTH},
	{SYS_open, BROKER},
	{SYS_mkdir, BROKER},
	{SYS_rename, BROKER},
	{SYS_unlink, BROKER},
	{SYS_epoll_wait, CORE},
	{SYS_poll, BOTH},
	{SYS_time, BOTH},
#endif
};

#define THREAD_FLAGS (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)

/* `(argument & mask) == value`; a mask of all ones is the argument itself. */
static const struct condition {
	uint32_t number;
	unsigned int roles;
	unsigned int arg;
	uint64_t mask, value;
} conditions[] = {
	/* no memory that is written becomes code */
	{SYS_mmap, BOTH, 2, PROT_EXEC, 0},
	{SYS_mprotect, BOTH, 2, PROT_EXEC, 0},
	/* threads, but no processes */
	{SYS_clone, BOTH, 0, THREAD_FLAGS, THREAD_FLAGS},
	{SYS_prctl, BOTH, 0, ~0ULL, PR_SET_NAME},
	/* is it still there? */
	{SYS_kill, CORE, 1, ~0ULL, 0},
/* O_WRONLY, O_RDWR and O_CREAT are the broker's */
#ifdef SYS_open
	{SYS_open, CORE, 1, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
#endif
	{SYS_openat, CORE, 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
	/* a terminal's size, its modes (TCGETS2: glibc from 2.42 on) and who has it; not what would type into it */
	{SYS_ioctl, CORE, 1, ~0ULL, TIOCGWINSZ},
	{SYS_ioctl, CORE, 1, ~0ULL, TCGETS},
	{SYS_ioctl, CORE, 1, ~0ULL, TCGETS2},
	{SYS_ioctl, CORE, 1, ~0ULL, TIOCGPGRP},
	{SYS_ioctl, CORE, 1, ~0ULL, FIONREAD},
	/* libbpf does so before it closes a link */
	{SYS_ioctl, CORE, 1, ~0ULL, PERF_EVENT_IOC_DISABLE},
	/* maps and counters of programs that are loaded */
	{SYS_bpf, CORE, 0, ~0ULL, BPF_MAP_LOOKUP_ELEM},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_MAP_UPDATE_ELEM},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_MAP_DELETE_ELEM},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_MAP_GET_NEXT_KEY},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_MAP_LOOKUP_AND_DELETE_ELEM},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_MAP_LOOKUP_BATCH},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_MAP_LOOKUP_AND_DELETE_BATCH},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_MAP_UPDATE_BATCH},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_MAP_DELETE_BATCH},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_OBJ_GET_INFO_BY_FD},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_PROG_TEST_RUN},
	{SYS_bpf, CORE, 0, ~0ULL, BPF_ITER_CREATE},
};

/*
 * The filter is a program in the kernel's old language, of which a jump can skip 255 instructions: so each call has its
 * own return, and nothing jumps far. It is built without memory of its own to fail.
 */
#define PROGRAM_MAX (8 + 2 * ARRAY_SIZE(calls) + 10 * (ARRAY_SIZE(conditions) + 1))

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "which system calls may be made here?"
#endif

struct program {
	struct sock_filter code[PROGRAM_MAX];
	size_t n;
};

static void put(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	p->code[p->n++] = (struct sock_filter){code, jt, jf, k};
}

static void put_load(struct program *p, size_t offset)
{
	put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void put_return(struct program *p, uint32_t verdict)
{
	put(p, BPF_RET | BPF_K, verdict, 0, 0);
}

/* With the number loaded. */
static void put_call(struct program *p, uint32_t number, uint32_t verdict)
{
	put(p, BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
	put_return(p, verdict);
}

/* Both halves of the argument; on a difference on to the number's reload, @rest instructions behind the comparison. */
static void put_half(struct program *p, unsigned int arg, bool high, uint64_t mask, uint64_t value,
		     uint8_t rest)
{
	/* both architectures are little-endian */
	put_load(p, offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t) + (high ? 4 : 0));
	put(p, BPF_ALU | BPF_AND | BPF_K, (uint32_t)(high ? mask >> 32 : mask), 0, 0);
	put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(high ? value >> 32 : value), 0, rest);
}

static void put_condition(struct program *p, const struct condition *c)
{
	put(p, BPF_JMP | BPF_JEQ | BPF_K, c->number, 0, 8);
	put_half(p, c->arg, false, c->mask, c->value, 4);
	put_half(p, c->arg, true, c->mask, c->value, 1);
	put_return(p, SECCOMP_RET_ALLOW);
	put_load(p, offsetof(struct seccomp_data, nr));
}

static void filter_make(struct program *p, unsigned int role, bool devices)
{
	p->n = 0;
	put_load(p, offsetof(struct seccomp_data, arch));
	put(p, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
	put_return(p, SECCOMP_RET_ERRNO | EPERM);
	put_load(p, offsetof(struct seccomp_data, nr));
	/* its flags lie in memory: the C library takes clone() when it is told that there is no such call */
	put_call(p, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
	if (devices)
		put_call(p, SYS_ioctl, SECCOMP_RET_ALLOW);
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
		if (conditions[i].roles & role)
			put_condition(p, &conditions[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].roles & role)
			put_call(p, calls[i].number, SECCOMP_RET_ALLOW);
	}
	put_return(p, SECCOMP_RET_ERRNO | EPERM);
}

int sandbox_filter(enum sandbox_role role, bool devices, struct err *e)
{
	struct program p;
	struct sock_fprog prog;
	long r;

	filter_make(&p, 1U << role, devices);
	prog = (struct sock_fprog){(unsigned short)p.n, p.code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, -errno, "no_new_privs is refused: %s", strerror(errno));
	/* for all threads, which get no_new_privs along */
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog);
	if (r > 0)
		return err_set(e, -EBUSY, "thread %ld has a filter for system calls of its own", r);
	return r < 0 ? err_set(e, -errno, "no filter for system calls: %s", strerror(errno)) : 0;
}
