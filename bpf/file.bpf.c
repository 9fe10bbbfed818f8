/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Files: opens and changes of names as events, reads and writes as sums per open descriptor.
 *
 * Everything happens when a system call ends: its number and arguments still stand in the saved
 * user registers, the result is known, and strings that the kernel has just read are resident
 * (at the entry a path on a fresh page cannot be read: measured on 5.10 to 7.2). No logic depends
 * on an entry and an exit being seen as a pair.
 *
 * Three front ends call the same body; user space loads one of them (userspace/source/file.c).
 */
#include "lib/emit.bpf.h"
#include "lib/filter.bpf.h"
#include "lib/path.bpf.h"
#include "lib/file_calls.bpf.h"
#include "lib/payload.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define AT_FDCWD        -100
#define AT_REMOVEDIR    0x200
#define RENAME_EXCHANGE 2
#define RESOLVE_IN_ROOT 0x10
#define O_WRONLY        01
#define O_CREAT         0100
#define O_TRUNC         01000
#define O_TMPFILE       020000000 /* without the O_DIRECTORY that goes with it */
#define S_IFMT          0170000
#define S_IFREG         0100000
#define S_IFBLK         0060000
#define S_IFIFO         0010000
#define S_IFSOCK        0140000
#define EBADF           9

#define STDIO_WRITTEN (1U << 31) /* beside a descriptor: it was written to */

#define CLOSE_RANGE_CLOEXEC 4
#define CLOSE_RANGE_MAX     1024 /* descriptors looked at; sums of others wait for the timer */
#define CLOSE_ROUND         32

/* Sums per open descriptor. What finds no room is reported call by call. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, struct as_file_key);
	__type(value, struct as_file_sums);
} file_sums SEC(".maps");

/* ---- descriptors and paths ---- */

/*
 * Reads the string @str to @off of the scratch buffer, its span to @span; returns the offset behind
 * it. One that cannot be read has no bytes, but a length: something was there.
 */
static __always_inline __u32 string_add(struct scratch *s, struct as_span *span, __u64 str,
					__u32 off)
{
	long n;

	/* one byte more than a path may have, so that a full length is not taken for a cut one */
	off &= SCRATCH_PATHS - 1;
	span->off = off;
	span->len = 0;
	span->full = 1;
	n = bpf_probe_read_user_str(&s->data[off], AS_PATH_MAX + 1, (void *)str);
	if (n < 0)
		return off;
	if (n == 0) /* KERNEL < 6.13: the empty string gives 0, not the length with its NUL */
		n = 1;
	span->len = n - 1;
	span->full = n > AS_PATH_MAX ? n : n - 1;
	return off + (n & (2 * AS_PATH_MAX - 1));
}

static __always_inline __u32 base_add(struct scratch *s, struct as_span *span, __s32 dirfd,
				      __u32 off)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct path dir = {};
	struct file *file;
	__u32 end;

	if (dirfd == AT_FDCWD) {
		BPF_CORE_READ_INTO(&dir, task, fs, pwd);
	} else {
		file = fd_file(dirfd);
		if (!file)
			return off;
		BPF_CORE_READ_INTO(&dir, file, f_path);
	}
	off &= SCRATCH_PATHS - 1;
	end = path_walk(dir.dentry, dir.mnt, off);
	span->off = off;
	if (end == off) {
		s->data[off] = '\0'; /* the root has no components; no bytes would mean unknown */
		end = off + 1;
	}
	span->len = PATH_END(end) - off;
	span->full = span->len + (end & PATH_CUT ? 1 : 0);
	return PATH_END(end);
}

#define RECORD_MAX 256 /* where the struct as_path of a record may begin */

/*
 * Fills the struct as_path at offset @at of the record in the scratch buffer: the user's string
 * @str, and where it starts from if it is relative. Without a string, the path of the descriptor.
 * Returns the offset behind what was appended at @off. Global for the verifier's sake.
 */
__noinline __u32 path_add(__u32 at, __s32 dirfd, __u64 str, __u32 off)
{
	struct scratch *s = scratch_get();
	struct as_path *path;

	if (!s)
		return off;
	path = (void *)&s->data[at & (RECORD_MAX - 1)];
	__builtin_memset(path, 0, sizeof(*path));
	off &= SCRATCH_PATHS - 1;
	path->base.full = !str; /* unknown, if that is all there will be */
	if (str) {
		__u32 end = string_add(s, &path->rel, str, off);

		if (path->rel.len < path->rel.full || (path->rel.len && s->data[off] == '/'))
			return end;
		off = end;
	}
	return base_add(s, &path->base, dirfd, off);
}

/* ---- events ---- */

/* The record ends at @off, which the verifier knows nothing about. */
static __always_inline void scratch_output(struct scratch *s, __u32 type, __u32 off)
{
	struct as_hdr *h = (void *)s->data;

	barrier_var(off);
	if (off > SCRATCH_PATHS + AS_PATH_MAX)
		off = SCRATCH_PATHS + AS_PATH_MAX;
	h->len = off;
	event_output(&ring_events, type, s->data, off);
}

struct how {
	__u64 flags;
	__u64 mode;
	__u64 resolve;
};

/* What is read of a struct open_how that has @size bytes; with fewer than all of these the call is refused. */
static __always_inline __u32 how_size(__u64 size)
{
	return size < sizeof(struct how) ? offsetof(struct how, resolve) : sizeof(struct how);
}

static __always_inline void open_how(const struct call *c, const struct ended *call,
				     struct how *how)
{
	__u64 extra = call_arg(call, c->extra);

	switch (c->kind) {
	case CALL_CREAT:
		how->flags = O_CREAT | O_WRONLY | O_TRUNC;
		how->mode = extra;
		break;
	case CALL_OPENAT2:
		if (bpf_probe_read_user(how, how_size(call_arg(call, c->extra + 1)), (void *)extra))
			ledger_add(AS_EV_FILE_OPEN, unread, 1);
		break;
	default:
		how->flags = extra;
		how->mode = call_arg(call, c->extra + 1);
	}
	if (!(how->flags & (O_CREAT | O_TMPFILE)))
		how->mode = 0;
}

static __always_inline __s32 call_dirfd(const struct ended *call, __u8 arg)
{
	return arg ? (__s32)call_arg(call, arg) : AT_FDCWD;
}

#define ROOT_SLASHES 8 /* that a path may begin with */

/* With RESOLVE_IN_ROOT the root is the directory: an absolute path is one from there. */
static __always_inline __u64 from_directory(__u64 str)
{
	char c = '\0';
	int i;

	for (i = 0; i < ROOT_SLASHES; i++) {
		if (bpf_probe_read_user(&c, sizeof(c), (void *)str) || c != '/')
			break;
		str++;
	}
	return str;
}

static __always_inline __u64 open_path(const struct call *c, const struct ended *call,
				       const struct how *how)
{
	__u64 str = call_arg(call, c->path);

	return how->resolve & RESOLVE_IN_ROOT ? from_directory(str) : str;
}

static __always_inline void file_open(const struct call *c, const struct ended *call)
{
	struct scratch *s = scratch_get();
	struct as_file_open *e = (void *)s->data;
	struct how how = {};
	__u32 off = sizeof(*e);

	if (!s)
		return;
	hdr_fill(&e->h, AS_EV_FILE_OPEN, 0);
	open_how(c, call, &how);
	e->fd = call->ret >= 0 ? call->ret : -1;
	e->error = call_error(call->ret);
	e->flags = how.flags;
	e->mode = how.mode & 07777;

	/* where links and mounts led to; the string if another thread has closed it already */
	if (call->ret >= 0)
		off = path_add(offsetof(struct as_file_open, path), call->ret, 0, off);
	if (call->ret < 0 || !e->path.base.len)
		off = path_add(offsetof(struct as_file_open, path), call_dirfd(call, c->fd),
			       open_path(c, call, &how), sizeof(*e));
	scratch_output(s, AS_EV_FILE_OPEN, off);
}

static __always_inline void op_extra(struct as_file_op *e, __u32 type, __u64 extra)
{
	e->length = type == AS_EV_FILE_TRUNCATE ? extra : 0;
	e->mode = type == AS_EV_FILE_TRUNCATE ? 0 : extra & 07777;
}

static __always_inline __u32 op_new_path(const struct call *c, const struct ended *call,
					 struct scratch *s, __u32 off)
{
	struct as_file_op *e = (void *)s->data;

	__builtin_memset(&e->new_path, 0, sizeof(e->new_path));
	if (!c->new_path)
		return off;
	if (c->type == AS_EV_FILE_SYMLINK) /* the target is text, not a path from here */
		return string_add(s, &e->new_path.rel, call_arg(call, c->new_path), off);
	return path_add(offsetof(struct as_file_op, new_path), call_dirfd(call, c->new_fd),
			call_arg(call, c->new_path), off);
}

static __always_inline void file_op(const struct call *c, const struct ended *call)
{
	struct scratch *s = scratch_get();
	struct as_file_op *e = (void *)s->data;
	__u32 type = c->type, off = sizeof(*e);
	__u64 flags = c->flags ? call_arg(call, c->flags) : 0;

	if (!s)
		return;
	if (type == AS_EV_FILE_UNLINK && flags & AT_REMOVEDIR)
		type = AS_EV_FILE_RMDIR;
	hdr_fill(&e->h, type, 0);
	op_extra(e, type, c->extra ? call_arg(call, c->extra) : 0);
	e->error = call_error(call->ret);
	e->exchange = type == AS_EV_FILE_RENAME && flags & RENAME_EXCHANGE;
	e->pad = 0;

	off = path_add(offsetof(struct as_file_op, path), call_dirfd(call, c->fd),
		       c->path ? call_arg(call, c->path) : 0, off);
	off = op_new_path(c, call, s, off);
	scratch_output(s, type, off);
}

/* ---- sums ---- */

/* Unique: no processor opens two files within 8 ns; 4096 processors, and 417 days until it repeats. */
static __always_inline __u64 file_id_new(void)
{
	return bpf_ktime_get_boot_ns() >> 3 << 12 | (bpf_get_smp_processor_id() & 0xfff);
}

/* Tells user space the path behind @id. 0 when there is no room in the ring. */
__noinline int file_seen(__u32 fd, __u64 id)
{
	struct scratch *s = scratch_get();
	struct as_file_seen *e = (void *)s->data;
	__u32 off;

	if (!s)
		return 0;
	hdr_fill(&e->h, AS_EV_FILE_SEEN, 0);
	e->file_id = id;
	e->fd = fd;
	e->pad = 0;
	off = path_add(offsetof(struct as_file_seen, path), fd, 0, sizeof(*e));
	barrier_var(off);
	if (off > SCRATCH_PATHS + AS_PATH_MAX)
		off = SCRATCH_PATHS + AS_PATH_MAX;
	e->h.len = off;
	if (ring_output(&ring_events, s->data, off))
		return 0;
	ledger_add(AS_EV_FILE_SEEN, produced, 1);
	return 1;
}

static __always_inline void done_fill(struct as_file_done *e, const struct as_file_sums *sums,
				      __u32 fd)
{
	hdr_fill(&e->h, AS_EV_FILE_DONE, sizeof(*e));
	e->file_id = sums->id;
	e->read_bytes = sums->read_bytes;
	e->read_count = sums->read_count;
	e->write_bytes = sums->write_bytes;
	e->write_count = sums->write_count;
	e->fd = fd;
	e->pad = 0;
}

/*
 * Takes the entry of @fd out of the table and reports its last sums. Returns 0, with the entry
 * left in place, if the ring is full: its sums are not lost then, the timer or the exit reports them.
 *
 * Several threads may try this at once, and others may be adding. Deleting has one winner; marking
 * the entry before its sums are read lets an adder see that it came too late. The memory of a
 * deleted entry stays readable, and is used again at once by the processor that deleted it: so
 * the entry is looked at anew behind the deletion.
 */
__noinline int file_flush(__u32 fd)
{
	struct as_file_key key = {.tgid = bpf_get_current_pid_tgid() >> 32, .fd = fd};
	struct as_file_sums *sums = bpf_map_lookup_elem(&file_sums, &key);
	struct as_file_done *e;

	if (!sums)
		return 1;
	e = bpf_ringbuf_reserve(&ring_events, sizeof(*e), 0);
	if (!e)
		return 0;
	if (bpf_map_delete_elem(&file_sums, &key)) {
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return 1;
	}
	if (sums->closed) { /* replaced between look-up and deletion: what was deleted is not known */
		ledger_add(AS_EV_FILE_DONE, produced, 1);
		ledger_add(AS_EV_FILE_DONE, shed, 1);
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return 1;
	}
	__sync_fetch_and_add(&sums->closed, 1);
	done_fill(e, sums, fd);
	if (!sums->seen) {
		ledger_add(AS_EV_FILE_SEEN, produced, 1);
		ledger_add(AS_EV_FILE_SEEN, dropped, 1);
	}
	ledger_add(AS_EV_FILE_DONE, produced, 1);
	event_submit(&ring_events, e);
	return 1;
}

static __always_inline bool same_opening(const struct as_file_sums *sums, const struct file *file)
{
	return sums->file == (__u64)file &&
	       sums->dentry == (__u64)BPF_CORE_READ(file, f_path.dentry);
}

/* Another thread may have got the same number by now: then the entry is that of its file. */
__noinline int file_close(__u32 fd)
{
	struct as_file_key key = {.tgid = bpf_get_current_pid_tgid() >> 32, .fd = fd};
	struct as_file_sums *sums = bpf_map_lookup_elem(&file_sums, &key);
	struct file *file;

	if (!sums)
		return 0;
	file = fd_file(fd);
	if (file && same_opening(sums, file))
		return 0;
	return file_flush(fd);
}

static __always_inline void sums_add(struct as_file_sums *sums, __u64 bytes, __u32 type)
{
	if (type == AS_EV_FILE_READ) {
		__sync_fetch_and_add(&sums->read_bytes, bytes);
		__sync_fetch_and_add(&sums->read_count, 1);
	} else {
		__sync_fetch_and_add(&sums->write_bytes, bytes);
		__sync_fetch_and_add(&sums->write_count, 1);
	}
}

/* The table is full: one call, one pair of records. */
static __always_inline void transfer_alone(struct as_file_sums *sums, __u32 fd)
{
	struct as_file_done *e;

	if (!file_seen(fd, sums->id)) {
		ledger_add(AS_EV_FILE_SEEN, produced, 1);
		ledger_add(AS_EV_FILE_SEEN, dropped, 1);
	}
	e = event_reserve(&ring_events, AS_EV_FILE_DONE, sizeof(*e));
	if (!e)
		return;
	done_fill(e, sums, fd);
	event_submit(&ring_events, e);
}

/* The entry for @file under @key, made if need be. NULL if there is no room. */
static __always_inline struct as_file_sums *
sums_make(const struct as_file_key *key, struct as_file_sums *fresh, const struct file *file)
{
	fresh->file = (__u64)file;
	fresh->dentry = (__u64)BPF_CORE_READ(file, f_path.dentry);
	fresh->id = file_id_new();
	bpf_map_update_elem(&file_sums, key, fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&file_sums, key); /* perhaps another thread's, made meanwhile */
}

/* A regular file, or a block device. */
static __always_inline bool is_stored(const struct file *file)
{
	__u32 kind = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;

	return kind == S_IFREG || kind == S_IFBLK;
}

/* Bytes that cannot be attributed are counted as a read or write event that was not made. */
static __always_inline int transfer_unattributed(__u32 type, bool ring_full)
{
	ledger_add(type, produced, 1);
	if (ring_full)
		ledger_add(type, dropped, 1);
	else
		ledger_add(type, shed, 1);
	return 0;
}

__noinline int file_transfer(__u32 fd, __u64 bytes, __u32 type)
{
	struct as_file_key key = {.tgid = bpf_get_current_pid_tgid() >> 32, .fd = fd};
	struct as_file_sums *sums = bpf_map_lookup_elem(&file_sums, &key);
	struct as_file_sums fresh = {};
	struct file *file = fd_file(fd);

	if (!file) { /* closed by another thread during the call */
		if (!sums)
			return transfer_unattributed(type, false);
	} else if (!sums || !same_opening(sums, file)) {
		/* closed unseen: by exec, or by a process that shares the descriptors */
		if (sums && !file_flush(fd))
			return is_stored(file) ? transfer_unattributed(type, true) : 0;
		if (!is_stored(file))
			return 0;
		sums = sums_make(&key, &fresh, file);
		if (!sums) {
			sums_add(&fresh, bytes, type);
			transfer_alone(&fresh, fd);
			return 0;
		}
	}
	sums_add(sums, bytes, type);
	if (sums->closed) /* perhaps behind the last look at the sums */
		ledger_add(type, unread, 1);
	if (!sums->seen && file && file_seen(fd, sums->id))
		sums->seen = 1;
	return 0;
}

/* ---- calls ---- */

/* Some descriptors up to @last; verified once, like path_round(). True when there may be more. */
__noinline int close_round(__u32 fd, __u32 last)
{
	int i;

	for (i = 0; i < CLOSE_ROUND && fd <= last; i++)
		file_close(fd++);
	return fd <= last;
}

static __always_inline void close_range(const struct call *c, const struct ended *call)
{
	__u32 first = call_arg(call, c->fd), last = call_arg(call, c->extra);
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 max = BPF_CORE_READ(task, files, fdt, max_fds);
	int i;

	if (call_arg(call, c->extra + 1) & CLOSE_RANGE_CLOEXEC || !max)
		return;
	if (last >= max)
		last = max - 1;
	for (i = 0; i < CLOSE_RANGE_MAX / CLOSE_ROUND; i++) {
		if (!close_round(first, last))
			return;
		first += CLOSE_ROUND;
	}
}

/* ---- stdin, stdout and stderr ---- */

/* Sockets are seen where they are used (lib/sock_used.bpf.h). KERNEL < 6.3: not there. */
static __always_inline bool stdio_is_ours(const struct file *file)
{
	__u32 kind = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;

	return kind == S_IFIFO ||
	       (kind == S_IFSOCK && !bpf_core_type_exists(btf_trace_sock_send_length));
}

__noinline int file_stdio(__u32 fd, __u64 nr, __u64 arg2, __u64 arg3, __u64 n)
{
	struct caller c = {.nr = nr, .fd = fd & ~STDIO_WRITTEN, .arg2 = arg2, .arg3 = arg3};
	struct file *file = fd_file(c.fd);

	if (file && stdio_is_ours(file))
		stdio_call(&c, (__u64)file, n, fd & STDIO_WRITTEN ? AS_TLS_WRITE : AS_TLS_READ);
	return 0;
}

static __always_inline void stdio_transfer(const struct call *c, const struct ended *call)
{
	if (c->fd && call_arg(call, c->fd) <= 2)
		file_stdio(call_arg(call, c->fd), call->nr, call->arg[1], call->arg[2], call->ret);
	if (c->new_fd && call_arg(call, c->new_fd) <= 2)
		file_stdio(call_arg(call, c->new_fd) | STDIO_WRITTEN, call->nr, call->arg[1],
			   call->arg[2], call->ret);
}

/* ---- all of them ---- */

static __always_inline void transfer(const struct call *c, const struct ended *call)
{
	if (cfg.stdio)
		stdio_transfer(c, call);
	if (!cfg.file_events)
		return;
	if (c->fd)
		file_transfer(call_arg(call, c->fd), call->ret, AS_EV_FILE_READ);
	if (c->new_fd)
		file_transfer(call_arg(call, c->new_fd), call->ret, AS_EV_FILE_WRITE);
}

/* The cheapest question first: this runs at the end of every call of every process. */
static __always_inline bool call_wanted(__u64 nr, long ret)
{
	__u8 kind;

	if (nr >= CALLS_MAX)
		return false;
	kind = calls[nr].kind;
	if (kind == CALL_NONE || (kind == CALL_TRANSFER && ret <= 0))
		return false;
	if (!cfg.file_events && kind != CALL_TRANSFER)
		return false;
	return current_watched() && !caller_is_32bit();
}

/* The one body: a wanted call of the current process. */
static __always_inline int file_call(const struct ended *call)
{
	__u64 nr = call->nr;
	struct call c;

	barrier_var(nr);
	if (nr >= CALLS_MAX)
		return 0;
	c = calls[nr];

	switch (c.kind) {
	case CALL_OPEN:
	case CALL_CREAT:
	case CALL_OPENAT2:
		file_open(&c, call);
		break;
	case CALL_OP:
		file_op(&c, call);
		break;
	case CALL_TRANSFER:
		transfer(&c, call);
		break;
	case CALL_CLOSE:
		if (call->ret != -EBADF)
			file_close(call_arg(call, c.fd));
		break;
	case CALL_CLOSE_RANGE:
		close_range(&c, call);
		break;
	}
	return 0;
}

/* ---- front ends, best first ---- */

/* At the return of the functions behind the calls, so that others cost nothing. */
SEC("kretprobe.multi")
int file_call_return(struct pt_regs *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct pt_regs *regs = (void *)bpf_task_pt_regs(task);
	struct ended call = {.nr = regs->CALL_NUMBER, .ret = PT_REGS_RC(ctx)};

	if (!call_wanted(call.nr, call.ret))
		return 0;
	ended_take(&call, regs);
	return file_call(&call);
}

/* At the end of every call. The typed pointer saves the helper call that reads the number. */
SEC("tp_btf/sys_exit")
int file_sys_exit_typed(__u64 *ctx)
{
	const struct pt_regs *regs = (void *)ctx[0];
	struct ended call = {.nr = regs->CALL_NUMBER, .ret = ctx[1]};

	if (!call_wanted(call.nr, call.ret))
		return 0;
	ended_take(&call, regs);
	return file_call(&call);
}

/* The same where the kernel's types come from a file: typed pointers are refused then. */
SEC("raw_tp/sys_exit")
int file_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	const struct pt_regs *regs = (void *)ctx->args[0];
	struct ended call = {.nr = BPF_PROBE_READ(regs, CALL_NUMBER), .ret = ctx->args[1]};

	if (!call_wanted(call.nr, call.ret))
		return 0;
	ended_read(&call, regs);
	return file_call(&call);
}
