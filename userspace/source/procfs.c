/* SPDX-License-Identifier: MIT */
#include "source/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/limits.h>

#include "base/clock.h"
#include "priv/priv.h"
#include "priv/proc.h"

#define READ_MAX      4096
#define SCRIPT_WINDOW 4096 /* bytes of the arguments that are searched for a script */
#define SCRIPT_ARGS   8    /* and how many of them, as in bpf/proc.bpf.c */
#define PASSES_MAX    16   /* who forks faster than that is found by its events */
#define LOOKS_MAX     3    /* a new process soon becomes what it was forked for */
#define KTHREAD_FLAG  0x00200000
#define EXITING_FLAG  0x00000004

/* ---- scanning text ---- */

struct text {
	const char *p;
	const char *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void skip_blanks(struct text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\t'))
		t->p++;
}

/* A decimal number that fits; true when there was one. */
static bool take_u64(struct text *t, uint64_t *ret)
{
	uint64_t v = 0;

	skip_blanks(t);
	if (t->p == t->end || !is_digit(*t->p))
		return false;
	for (; t->p < t->end && is_digit(*t->p); t->p++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*t->p - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

/* Some fields of stat may be negative; of those only nice is wanted, which tells by @ret_minus. */
static bool take_field(struct text *t, uint64_t *ret, bool *ret_minus)
{
	skip_blanks(t);
	*ret_minus = t->p < t->end && *t->p == '-';
	if (*ret_minus)
		t->p++;
	return take_u64(t, ret);
}

static bool ticks_to_ns(uint64_t ticks, uint64_t *ret)
{
	return !__builtin_mul_overflow(ticks, PROC_TICK_NS, ret);
}

bool procfs_find_u64(const char *text, size_t n, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);
	struct text t = {text, text + n};

	while (t.p < t.end) {
		const char *nl = memchr(t.p, '\n', t.end - t.p);

		if ((size_t)(t.end - t.p) > len && !memcmp(t.p, key, len)) {
			t.p += len;
			return take_u64(&t, ret);
		}
		if (!nl)
			return false;
		t.p = nl + 1;
	}
	return false;
}

/* ---- files of a process ---- */

/* What a time namespace adds to what is said of when processes began. */
static int64_t start_added_ns;

/* Numbers of the fields of stat, as proc(5) counts them. */
enum {
	STAT_PPID = 4,
	STAT_FLAGS = 9,
	STAT_MINFLT,
	STAT_CMINFLT,
	STAT_MAJFLT = 12,
	STAT_UTIME = 14,
	STAT_STIME,
	STAT_CUTIME,
	STAT_CSTIME,
	STAT_NICE = 19,
	STAT_THREADS,
	STAT_START = 22,
	STAT_VSIZE,
	STAT_NEEDED,
	STAT_CPU = 39,
	STAT_PRIORITY,
	STAT_POLICY,
	STAT_FIELDS
};

static uint32_t thread_state(char c)
{
	static const char letters[] = "RSDTtZXxI";
	static const uint8_t states[] = {AS_THREAD_RUNNING, AS_THREAD_SLEEPING, AS_THREAD_DISK,
					 AS_THREAD_STOPPED, AS_THREAD_TRACED,   AS_THREAD_DEAD,
					 AS_THREAD_DEAD,    AS_THREAD_DEAD,     AS_THREAD_SLEEPING};
	const char *at = c ? strchr(letters, c) : NULL;

	return at ? states[at - letters] : AS_THREAD_OTHER;
}

static int stat_numbers(const uint64_t v[STAT_FIELDS], struct procfs_stat *st)
{
	uint64_t own, waited;

	if (v[STAT_PPID] > UINT32_MAX || v[STAT_THREADS] > UINT32_MAX)
		return -EBADMSG;
	if (__builtin_add_overflow(v[STAT_UTIME], v[STAT_STIME], &own) ||
	    __builtin_add_overflow(v[STAT_CUTIME], v[STAT_CSTIME], &waited))
		return -EBADMSG;
	if (!ticks_to_ns(own, &st->cpu_ns) || !ticks_to_ns(waited, &st->waited_ns) ||
	    !ticks_to_ns(v[STAT_START], &st->start_ns))
		return -EBADMSG;
	if (!ticks_to_ns(v[STAT_UTIME], &st->user_ns) ||
	    !ticks_to_ns(v[STAT_STIME], &st->system_ns))
		return -EBADMSG;
	st->start_ns -= (uint64_t)start_added_ns;
	st->minor_faults = v[STAT_MINFLT];
	st->waited_faults = (uint32_t)v[STAT_CMINFLT];
	st->major_faults = v[STAT_MAJFLT];
	st->ppid = v[STAT_PPID];
	st->threads = v[STAT_THREADS];
	st->kernel_thread = v[STAT_FLAGS] & KTHREAD_FLAG;
	st->vsz_bytes = v[STAT_VSIZE];
	return 0;
}

/* `pid (comm) S ppid ...`: comm may hold anything, so it ends at the last parenthesis. */
int procfs_parse_stat(const char *text, size_t n, struct procfs_stat *ret)
{
	struct text t = {text, text + n};
	const char *open = memchr(text, '(', n), *close = memrchr(text, ')', n);
	uint64_t v[STAT_FIELDS] = {0}, pid;
	struct procfs_stat st = {.last_cpu = -1};
	char state;
	int r;

	if (!open || !close || close < open || !take_u64(&t, &pid) || pid > UINT32_MAX)
		return -EBADMSG;
	st.pid = pid;
	memcpy(st.comm, open + 1, MIN((size_t)(close - open - 1), sizeof(st.comm) - 1));

	t.p = close + 1;
	skip_blanks(&t);
	if (t.p == t.end)
		return -EBADMSG;
	state = *t.p++;
	for (int i = STAT_PPID; i < STAT_FIELDS; i++) {
		bool minus;

		if (!take_field(&t, &v[i], &minus)) {
			if (i < STAT_NEEDED)
				return -EBADMSG;
			break;
		}
		if (i == STAT_NICE)
			st.nice = minus ? -(int32_t)(v[i] & 0xff) : (int32_t)(v[i] & 0xff);
		if (i == STAT_CPU)
			st.last_cpu = v[i] & INT32_MAX;
	}
	st.state = thread_state(state);
	st.priority = v[STAT_PRIORITY];
	st.policy = v[STAT_POLICY];
	r = stat_numbers(v, &st);
	if (r < 0)
		return r;
	/* with more threads it is only the leader that has ended */
	st.dead = (strchr("ZXx", state) || v[STAT_FLAGS] & EXITING_FLAG) && st.threads <= 1;
	*ret = st;
	return 0;
}

/* Of a thread that begins now. Linux before 5.11 shows it without what the namespace adds. */
static void *is_shown_added(void *ret)
{
	_cleanup_(closep) int fd = open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
	int64_t now_ns = (int64_t)clock_boot_ns(), shown_ns;
	struct procfs_stat st;
	char text[READ_MAX];
	ssize_t n = fd < 0 ? 0 : procfs_fd_read(fd, text, sizeof(text));

	if (n > 0 && procfs_parse_stat(text, n, &st) == 0) {
		shown_ns = (int64_t)st.start_ns + start_added_ns;
		*(bool *)ret =
			llabs(shown_ns - now_ns) > llabs(shown_ns - now_ns - clock_boot_added_ns);
	}
	return NULL;
}

void procfs_namespace(void)
{
	bool added = true;
	pthread_t thread;

	if (clock_boot_added_ns && pthread_create(&thread, NULL, is_shown_added, &added) == 0)
		pthread_join(thread, NULL);
	start_added_ns = added ? clock_boot_added_ns : 0;
}

int procfs_parse_status_uid(const char *text, size_t n, uint32_t *ret)
{
	uint64_t uid;

	/* the name comes before, but with its newlines escaped */
	if (!procfs_find_u64(text, n, "Uid:", &uid) || uid > UINT32_MAX)
		return -EBADMSG;
	*ret = uid;
	return 0;
}

int procfs_parse_status(const char *text, size_t n, struct procfs_status *ret)
{
	struct procfs_status st = {0};

	/* without memory, in a zombie, there are only the switches */
	procfs_find_u64(text, n, "RssAnon:", &st.anon_kb);
	procfs_find_u64(text, n, "RssFile:", &st.file_kb);
	procfs_find_u64(text, n, "RssShmem:", &st.shmem_kb);
	procfs_find_u64(text, n, "VmSwap:", &st.swap_kb);
	procfs_find_u64(text, n, "VmHWM:", &st.peak_kb);
	if (!procfs_find_u64(text, n, "voluntary_ctxt_switches:", &st.voluntary) ||
	    !procfs_find_u64(text, n, "nonvoluntary_ctxt_switches:", &st.involuntary))
		return -EBADMSG;
	*ret = st;
	return 0;
}

int procfs_parse_schedstat(const char *text, size_t n, uint64_t *ret_cpu_ns, uint64_t *ret_wait_ns)
{
	struct text t = {text, text + n};
	uint64_t cpu, wait;

	if (!take_u64(&t, &cpu) || !take_u64(&t, &wait))
		return -EBADMSG;
	*ret_cpu_ns = cpu;
	*ret_wait_ns = wait;
	return 0;
}

int procfs_parse_statm(const char *text, size_t n, uint64_t *ret_vsz_pages, uint64_t *ret_rss_pages)
{
	struct text t = {text, text + n};
	uint64_t vsz, rss;

	if (!take_u64(&t, &vsz) || !take_u64(&t, &rss))
		return -EBADMSG;
	*ret_vsz_pages = vsz;
	*ret_rss_pages = rss;
	return 0;
}

int procfs_parse_io(const char *text, size_t n, struct procfs_io *ret)
{
	struct procfs_io io = {0};

	if (!procfs_find_u64(text, n, "read_bytes:", &io.read_bytes) ||
	    !procfs_find_u64(text, n, "write_bytes:", &io.write_bytes))
		return -EBADMSG;
	procfs_find_u64(text, n, "rchar:", &io.rchar);
	procfs_find_u64(text, n, "wchar:", &io.wchar);
	procfs_find_u64(text, n, "syscr:", &io.syscr);
	procfs_find_u64(text, n, "syscw:", &io.syscw);
	*ret = io;
	return 0;
}

static void name_copy(char out[AS_NAME_LEN], const char *p, size_t n)
{
	memset(out, 0, AS_NAME_LEN);
	memcpy(out, p, MIN(n, (size_t)AS_NAME_LEN - 1));
}

static const char *base_name(const char *p, size_t n)
{
	const char *slash = n ? memrchr(p, '/', n) : NULL;

	return slash ? slash + 1 : p;
}

/* What stands behind these is code, not the name of a script: sh -c, bash -lc, node -e, perl -ne. */
static bool takes_code(const char *arg, size_t len)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): read from /proc */
	return (len == 2 || len == 3) && arg[0] == '-' &&
	       (arg[len - 1] == 'c' || arg[len - 1] == 'e');
}

void procfs_parse_script(const char *args, size_t n, char ret[AS_NAME_LEN])
{
	const char *p = args, *end = args + MIN(n, (size_t)SCRIPT_WINDOW);

	ret[0] = '\0';
	for (unsigned arg = 0; p < end && arg < SCRIPT_ARGS; arg++) {
		const char *nul = memchr(p, '\0', end - p);

		if (!nul)
			return; /* cut off: not the whole name */
		if (arg > 0 && *p != '-') {
			const char *base = base_name(p, nul - p);

			name_copy(ret, base, nul - base);
			return;
		}
		if (takes_code(p, nul - p))
			return;
		p = nul + 1;
	}
}

/* ---- files of the machine ---- */

/* user nice system idle iowait irq softirq steal ...: time stolen by a host was not worked here. */
int procfs_parse_busy(const char *text, size_t n, uint64_t *ret_ns)
{
	struct text t = {text, text + n};
	uint64_t v[7], ticks = 0;

	if (n < 4 || memcmp(text, "cpu ", 4))
		return -EBADMSG;
	t.p += 4;
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		if (!take_u64(&t, &v[i]))
			return -EBADMSG;
		if (i != 3 && i != 4 && __builtin_add_overflow(ticks, v[i], &ticks))
			return -EBADMSG;
	}
	return ticks_to_ns(ticks, ret_ns) ? 0 : -EBADMSG;
}

int procfs_parse_meminfo(const char *text, size_t n, struct procfs_memory *ret)
{
	struct procfs_memory m;

	if (!procfs_find_u64(text, n, "MemTotal:", &m.total_kb) ||
	    !procfs_find_u64(text, n, "MemFree:", &m.free_kb) ||
	    !procfs_find_u64(text, n, "MemAvailable:", &m.available_kb))
		return -EBADMSG;
	*ret = m;
	return 0;
}

int procfs_parse_loadavg(const char *text, size_t n, uint64_t ret_centi[3])
{
	struct text t = {text, text + n};
	uint64_t centi[3];

	for (int i = 0; i < 3; i++) {
		uint64_t whole;

		if (!take_u64(&t, &whole) || whole > UINT32_MAX || t.end - t.p < 3 || *t.p != '.' ||
		    !is_digit(t.p[1]) || !is_digit(t.p[2]))
			return -EBADMSG;
		centi[i] = whole * 100 + (t.p[1] - '0') * 10 + (t.p[2] - '0');
		t.p += 3;
	}
	memcpy(ret_centi, centi, sizeof(centi));
	return 0;
}

/* ---- reading ---- */

struct procfs {
	int fd;
	uint32_t pass;
	bool real; /* "/proc": who is refused can ask the broker */
};

int procfs_open(const char *root, struct procfs **ret)
{
	_cleanup_(closep) int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct procfs *fs;

	if (fd < 0)
		return -errno;
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return -ENOMEM;
	fs->fd = TAKE_FD(fd);
	fs->real = !strcmp(root, "/proc");
	*ret = fs;
	return 0;
}

void procfs_free(struct procfs *fs)
{
	if (!fs)
		return;
	close(fs->fd);
	free(fs);
}

ssize_t procfs_fd_read(int fd, char *buf, size_t cap)
{
	size_t len = 0;

	while (len < cap) {
		ssize_t n = pread(fd, buf + len, cap - len, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += n;
	}
	return len;
}

static bool ask_broker(const struct procfs *fs, int error)
{
	return (error == -EACCES || error == -EPERM) && fs->real && priv_is_split();
}

static int file_open(const struct procfs *fs, const char *name)
{
	int fd = openat(fs->fd, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && ask_broker(fs, -errno))
		return priv_proc_open(name);
	return fd < 0 ? -errno : fd;
}

ssize_t procfs_read(const struct procfs *fs, const char *name, char *buf, size_t cap)
{
	_cleanup_(closep) int fd = file_open(fs, name);
	ssize_t n = fd < 0 ? fd : procfs_fd_read(fd, buf, cap);

	/* the kernel asks who reads `io`, not who opened it */
	return n < 0 && ask_broker(fs, (int)n) ? priv_proc_read(name, buf, cap) : n;
}

static void pid_path(char out[64], uint32_t pid, const char *file)
{
	snprintf(out, 64, "%u/%s", pid, file);
}

int procfs_pid_open(const struct procfs *fs, uint32_t pid, const char *file)
{
	char path[64];

	pid_path(path, pid, file);
	return file_open(fs, path);
}

ssize_t procfs_pid_read(const struct procfs *fs, uint32_t pid, const char *file, char *buf,
			size_t cap)
{
	char path[64];

	pid_path(path, pid, file);
	return procfs_read(fs, path, buf, cap);
}

ssize_t procfs_read_link(const struct procfs *fs, const char *name, char *buf, size_t cap)
{
	ssize_t n = readlinkat(fs->fd, name, buf, cap);

	if (n < 0 && ask_broker(fs, -errno))
		return priv_proc_link(name, buf, cap);
	return n < 0 ? -errno : n;
}

uint32_t procfs_count_fds(const struct procfs *fs, uint32_t pid)
{
	char name[32];
	struct stat st;

	snprintf(name, sizeof(name), "%u/fd", pid);
	return fstatat(fs->fd, name, &st, 0) == 0 && st.st_size > 0 ? (uint32_t)st.st_size : 0;
}

int procfs_read_stat(const struct procfs *fs, uint32_t pid, struct procfs_stat *ret)
{
	char buf[READ_MAX];
	ssize_t n = procfs_pid_read(fs, pid, "stat", buf, sizeof(buf));

	return n < 0 ? (int)n : procfs_parse_stat(buf, n, ret);
}

static int read_uid(const struct procfs *fs, uint32_t pid, uint32_t *ret)
{
	char buf[READ_MAX];
	ssize_t n = procfs_pid_read(fs, pid, "status", buf, sizeof(buf));

	return n < 0 ? (int)n : procfs_parse_status_uid(buf, n, ret);
}

int procfs_read_tgid(const struct procfs *fs, uint32_t id, uint32_t *ret)
{
	char buf[READ_MAX];
	ssize_t n = procfs_pid_read(fs, id, "status", buf, sizeof(buf));
	uint64_t tgid;

	if (n < 0)
		return (int)n;
	if (!procfs_find_u64(buf, n, "Tgid:", &tgid) || tgid > UINT32_MAX)
		return -EBADMSG;
	*ret = tgid;
	return 0;
}

/* ---- who belongs ---- */

static bool name_asked(const struct proc_match *m, const char *name)
{
	for (size_t i = 0; *name && i < m->n_names; i++) {
		if (!strncmp(m->names[i], name, AS_NAME_LEN - 1))
			return true;
	}
	return false;
}

/* Without the mark of a deleted file, which the kernel's own name of it does not carry. */
static void exe_name(const struct procfs *fs, uint32_t pid, char out[AS_NAME_LEN])
{
	static const char deleted[] = " (deleted)";
	const size_t mark = sizeof(deleted) - 1;
	char path[64], target[PATH_MAX];
	const char *base;
	ssize_t n;

	out[0] = '\0';
	pid_path(path, pid, "exe");
	n = procfs_read_link(fs, path, target, sizeof(target));
	if (n <= 0)
		return; /* a kernel thread, or not ours to look at */
	if ((size_t)n > mark && !memcmp(target + n - mark, deleted, mark))
		n -= mark;
	base = base_name(target, n);
	name_copy(out, base, target + n - base);
}

static bool named(const struct procfs *fs, const struct proc_match *m, const struct procfs_stat *st)
{
	char name[AS_NAME_LEN], args[SCRIPT_WINDOW];
	ssize_t n;

	if (m->n_names == 0)
		return false;
	if (name_asked(m, st->comm))
		return true;
	exe_name(fs, st->pid, name);
	if (name_asked(m, name))
		return true;
	n = procfs_pid_read(fs, st->pid, "cmdline", args, sizeof(args));
	if (n <= 0)
		return false;
	procfs_parse_script(args, n, name);
	return name_asked(m, name);
}

static bool given(const struct proc_match *m, uint32_t pid)
{
	for (size_t i = 0; i < m->n_pids && !m->pids_found; i++) {
		if (m->pids[i] == pid)
			return true;
	}
	return false;
}

/* Why the process belongs, 0 when it does not. */
static uint32_t match(const struct procfs *fs, const struct proc_match *m, const struct proc *p,
		      const struct procfs_stat *st)
{
	uint32_t flags = 0;

	if (st->kernel_thread || st->pid == (uint32_t)getpid() ||
	    st->pid == (uint32_t)priv_broker_pid())
		return 0;
	if (m->n_names == 0 && m->n_pids == 0 && !m->command)
		return m->by_uid && p->uid == m->uid ? AS_PROC_GIVEN : 0;
	if (given(m, st->pid))
		flags |= AS_PROC_GIVEN;
	if (named(fs, m, st))
		flags |= AS_PROC_NAMED;
	return flags;
}

/* ---- a pass ---- */

struct pass {
	struct procfs *fs;
	struct proc_table *table;
	const struct proc_match *m;
	procfs_found_fn found;
	void *ctx;
	int marked;
};

static void mark(struct pass *pass, struct proc *p, uint32_t flags)
{
	p->followed = true;
	pass->marked++;
	if (pass->found)
		pass->found(pass->ctx, p, flags);
}

static struct proc *stat_learn(struct pass *pass, const struct procfs_stat *st, uint32_t uid)
{
	const struct proc_fact f = {
		.tgid = st->pid,
		.ppid = st->ppid,
		.uid = uid,
		.start_ns = st->start_ns,
		.comm = st->comm,
	};

	return proc_table_learn(pass->table, &f);
}

/* What it used before anybody looked belongs to no sample. */
static void baseline_set(struct proc *p, const struct procfs_stat *st)
{
	p->sample.cpu_ns = st->cpu_ns;
	p->sample.waited_ns = st->waited_ns;
}

/* Is this the process that the table has, and still the same program, as far as its name tells? */
static bool same_program(const struct proc *p, const struct procfs_stat *st)
{
	return p && !p->exited && p->start_ns / PROC_TICK_NS == st->start_ns / PROC_TICK_NS &&
	       !memcmp(p->comm, st->comm, sizeof(p->comm));
}

static void pid_visit(struct pass *pass, uint32_t pid)
{
	struct proc *known = proc_table_find(pass->table, pid), *p;
	uint32_t flags, uid = known ? known->uid : 0;
	struct procfs_stat st;
	bool same;

	if (known && !known->exited && known->source) {
		known->pass = pass->fs->pass; /* whoever keeps the descriptors notices its end */
		return;
	}
	if (procfs_read_stat(pass->fs, pid, &st) < 0 || st.pid != pid || st.dead)
		return;
	same = same_program(known, &st);
	if (same && known->looks >= LOOKS_MAX) {
		known->pass = pass->fs->pass;
		known->missing = 0;
		return;
	}
	if (read_uid(pass->fs, pid, &uid) < 0)
		return;
	p = stat_learn(pass, &st, uid);
	if (!p)
		return;

	if (p != known && pass->fs->pass == 1)
		baseline_set(p, &st);
	p->pass = pass->fs->pass;
	p->looks = same ? p->looks + 1 : 1;
	flags = p->followed ? 0 : match(pass->fs, pass->m, p, &st);
	if (flags)
		mark(pass, p, flags);
}

static bool parse_pid(const char *name, uint32_t *ret)
{
	struct text t = {name, name + strlen(name)};
	uint64_t pid;

	if (!take_u64(&t, &pid) || t.p != t.end || pid == 0 || pid > UINT32_MAX)
		return false;
	*ret = pid;
	return true;
}

static int pids_visit(struct pass *pass)
{
	_cleanup_(closep) int fd = openat(pass->fs->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	uint32_t pid;

	if (!dir)
		return -errno;
	TAKE_FD(fd);
	while ((errno = 0, d = readdir(dir))) {
		if (parse_pid(d->d_name, &pid))
			pid_visit(pass, pid);
	}
	return -errno;
}

int procfs_each_thread(const struct procfs *fs, uint32_t pid,
		       bool (*visit)(void *ctx, uint32_t tid), void *ctx)
{
	_cleanup_(closep) int fd = procfs_pid_open(fs, pid, "task");
	_cleanup_(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	uint32_t tid;

	if (!dir)
		return fd < 0 ? fd : -errno;
	TAKE_FD(fd);
	while ((errno = 0, d = readdir(dir))) {
		if (parse_pid(d->d_name, &tid) && !visit(ctx, tid))
			return 0;
	}
	return -errno;
}

/* Children are learnt behind their parents, or the pids wrapped: few rounds do. */
static void descendants_mark(struct pass *pass)
{
	struct proc *p;
	int before;

	do {
		before = pass->marked;
		for (p = proc_table_next(pass->table, NULL); p;
		     p = proc_table_next(pass->table, p)) {
			if (!p->followed && p->parent && p->parent->followed &&
			    p->tgid != (uint32_t)getpid())
				mark(pass, p, AS_PROC_CHILD);
		}
	} while (pass->marked != before);
}

static int pass_run(struct pass *pass)
{
	int r;

	pass->marked = 0;
	pass->fs->pass++;
	r = pids_visit(pass);
	if (r < 0)
		return r;
	proc_table_link(pass->table);
	if (pass->m->follow_children)
		descendants_mark(pass);
	return 0;
}

int procfs_seed(struct procfs *fs, struct proc_table *t, const struct proc_match *m,
		procfs_found_fn found, void *ctx)
{
	struct pass pass = {.fs = fs, .table = t, .m = m, .found = found, .ctx = ctx};
	int total = 0;

	for (int i = 0; i < PASSES_MAX; i++) {
		int r = pass_run(&pass);

		if (r < 0)
			return r;
		total += pass.marked;
		if (pass.marked == 0)
			break;
	}
	return total;
}

void procfs_lost(struct proc_table *t, struct proc *p)
{
	struct proc_sample *s = &p->sample;

	if (p->parent && p->followed)
		p->parent->sample.due_ns += s->cpu_ns + s->waited_ns + s->due_ns + s->due_old_ns;
	proc_table_end(t, p, UINT64_MAX);
}

int procfs_refresh(struct procfs *fs, struct proc_table *t, const struct proc_match *m,
		   procfs_found_fn found, void *ctx)
{
	struct pass pass = {.fs = fs, .table = t, .m = m, .found = found, .ctx = ctx};
	struct proc *p, *next;
	int r;

	r = pass_run(&pass);
	if (r < 0)
		return r;
	for (p = proc_table_next(t, NULL); p; p = next) {
		next = proc_table_next(t, p);
		if (p->pass != fs->pass)
			procfs_lost(t, p);
	}
	return pass.marked;
}

/* ---- the reaper ---- */

bool procfs_gone(const struct procfs *fs, const struct proc *p)
{
	struct procfs_stat st;
	int r = procfs_read_stat(fs, p->tgid, &st);

	if (r == -ENOENT || r == -ESRCH)
		return true;
	if (r < 0)
		return false; /* out of descriptors, say: no evidence */
	return st.dead || st.start_ns / PROC_TICK_NS != p->start_ns / PROC_TICK_NS;
}

unsigned procfs_reap(const struct procfs *fs, struct proc_table *t, unsigned budget)
{
	unsigned ended = 0;

	budget = MIN((size_t)budget, proc_table_count(t));
	while (budget--) {
		struct proc *p = proc_table_rotate(t);

		if (!procfs_gone(fs, p)) {
			p->missing = 0;
			continue;
		}
		if (++p->missing < 2)
			continue;
		proc_table_end(t, p, UINT64_MAX);
		ended++;
	}
	return ended;
}
