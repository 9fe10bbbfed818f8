/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * System calls, summed up per process and number: how many, how many failed and with what, how
 * long they took, and the longest.
 *
 * Classic tracepoints: raw ones are skipped while another task is preempted inside the same program
 * (7.1 and later), which lost half of the calls of threads that made many, on one processor. They
 * cost 70 ns per call more, of 280.
 *
 * What has no entry in the tables is counted as shed, call by call. What was entered unseen, because
 * the call was refused before the hook, is counted without its time. A call that was under way when
 * its process came to be watched is not counted, nor is one that never returns.
 */
#include "lib/turns.bpf.h"
#include "lib/filter.bpf.h"
#include "lib/caller.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define X32_BIT    0x40000000
#define ERROR_LAST 4095 /* MAX_ERRNO: larger values are results */

const volatile __u32 nr_sigreturn = 0; /* returns what the interrupted code had in its register */

struct thread_call {
	struct as_life life;
	__u64 begin_ns; /* 0: in no call */
	__u32 nr;
	__u32 pad;
};

/* Key: bpf_get_current_pid_tgid(). Storage beside the task is no faster, and 5.10 has none. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct thread_call);
} call_threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct as_life);
	__type(value, struct as_calls);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct as_call_key);
	__type(value, struct as_call_sums);
} call_sums SEC(".maps");

/* What finds no room here is still an error among `errors`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct as_call_key);
	__type(value, __u64);
} call_errors SEC(".maps");

/* ---- the thread ---- */

static __always_inline struct thread_call *thread_make(__u64 id)
{
	struct thread_call fresh = {};

	life_of_current(&fresh.life);
	bpf_map_update_elem(&call_threads, &id, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&call_threads, &id);
}

static __always_inline __u32 call_number(long nr)
{
	if (nr < 0)
		return AS_CALL_UNKNOWN;
	if (caller_is_32bit() || nr & X32_BIT)
		return AS_CALL_COMPAT;
	return nr < AS_CALL_UNKNOWN ? nr : AS_CALL_UNKNOWN;
}

/* ---- the sums ---- */

static __always_inline struct as_calls *calls_get(const struct as_life *life)
{
	struct as_calls *c = bpf_map_lookup_elem(&calls, life), fresh = {};

	if (c)
		return c;
	hdr_fill(&fresh.h, AS_EV_SYSCALLS, 0);
	bpf_map_update_elem(&calls, life, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&calls, life);
}

/* Only who made an entry adds its bit, so that adding is setting. KERNEL < 5.12 has no atomic or. */
static __noinline struct as_call_sums *sums_make(const struct as_life *life,
						 const struct as_call_key *key)
{
	struct as_calls *c = calls_get(life);
	struct as_call_sums fresh = {};

	if (!c)
		return NULL;
	if (!bpf_map_update_elem(&call_sums, key, &fresh, BPF_NOEXIST))
		__sync_fetch_and_add(&c->seen[key->nr / 64 & (AS_CALLS_MAX / 64 - 1)],
				     1ULL << key->nr % 64);
	return bpf_map_lookup_elem(&call_sums, key);
}

static __always_inline void error_add(struct as_call_sums *s, struct as_call_key *key, __u32 error)
{
	__u64 *n, zero = 0;

	__sync_fetch_and_add(&s->errors, 1);
	if (error >= AS_ERRORS_MAX)
		error = AS_ERRORS_MAX - 1;
	key->error = error;
	n = bpf_map_lookup_elem(&call_errors, key);
	if (!n) {
		if (!bpf_map_update_elem(&call_errors, key, &zero, BPF_NOEXIST))
			__sync_fetch_and_add(&s->seen[error / 64], 1ULL << error % 64);
		n = bpf_map_lookup_elem(&call_errors, key);
	}
	if (n)
		__sync_fetch_and_add(n, 1);
}

static __always_inline void call_add(const struct thread_call *t, __u32 nr, long ret, __u64 ns)
{
	struct as_call_key key = {.start_ns = t->life.start_ns, .tgid = t->life.tgid, .nr = nr};
	struct as_call_sums *s = bpf_map_lookup_elem(&call_sums, &key);

	if (!s) {
		struct as_life life = t->life;

		s = sums_make(&life, &key);
	}
	if (!s) {
		ledger_add(AS_EV_SYSCALLS, shed, 1);
		return;
	}
	__sync_fetch_and_add(&s->count, 1);
	if (ns) { /* clang makes an atomic or of adding a constant 0. KERNEL < 5.12 has none */
		__sync_fetch_and_add(&s->time_ns, ns);
		peak_add(s->peaks, ns);
	}
	if (ret < 0 && ret >= -ERROR_LAST && nr != nr_sigreturn)
		error_add(s, &key, call_error(ret));
}

/* ---- hooks ---- */

SEC("tp/raw_syscalls/sys_enter")
int calls_enter(struct trace_event_raw_sys_enter *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct thread_call *t;

	if (!current_watched())
		return 0;
	t = bpf_map_lookup_elem(&call_threads, &id);
	if (!t)
		t = thread_make(id);
	if (!t) {
		ledger_add(AS_EV_SYSCALLS, shed, 1);
		return 0;
	}
	t->nr = call_number(ctx->id);
	t->begin_ns = bpf_ktime_get_ns();
	return 0;
}

/* Who was never seen at an entry is not watched: that costs other processes no more than a look. */
SEC("tp/raw_syscalls/sys_exit")
int calls_exit(struct trace_event_raw_sys_exit *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), begin_ns;
	struct thread_call *t = bpf_map_lookup_elem(&call_threads, &id);

	if (!t)
		return 0;
	begin_ns = t->begin_ns;
	t->begin_ns = 0;
	if (begin_ns)
		call_add(t, t->nr, ctx->ret, bpf_ktime_get_ns() - begin_ns);
	else if (current_watched()) /* which sigreturn makes the process forget */
		call_add(t, ctx->id < 0 ? nr_sigreturn : call_number(ctx->id), ctx->ret, 0);
	return 0;
}

/* A thread that execs becomes its process's first one, in the middle of the call: its entry goes with it. */
SEC("tp/sched/sched_process_exec")
int calls_exec(struct trace_event_raw_sched_process_exec *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), old = id >> 32 << 32 | (__u32)ctx->old_pid;
	struct thread_call *t, moved;

	if (old == id)
		return 0;
	t = bpf_map_lookup_elem(&call_threads, &old);
	if (!t)
		return 0;
	moved = *t;
	bpf_map_delete_elem(&call_threads, &old);
	bpf_map_update_elem(&call_threads, &id, &moved, BPF_ANY);
	return 0;
}

/* Of every thread: its entry ends with it. */
SEC("tp/sched/sched_process_exit")
int calls_thread_exit(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&call_threads, &id);
	return 0;
}
