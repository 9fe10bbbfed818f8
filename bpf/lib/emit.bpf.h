/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From an event to a record in a ring: header, ledger, doorbell.
 *
 * Waking the reader costs the traced program 5 to 26 us, the record itself about 0.1 us. So records
 * are submitted without a wake-up, except the first one after the reader said that it sleeps, and
 * one when a ring fills up while the reader waits for more to come.
 */
#ifndef AGENTSIGHT_BPF_EMIT_H
#define AGENTSIGHT_BPF_EMIT_H

#include "maps.bpf.h"
#include "task.bpf.h"

/* Atomic although per processor: on preemptible kernels another program may come in between. */
#define ledger_add(event_type, member, n)                                             \
	({                                                                            \
		__u32 _row = bpf_get_smp_processor_id() * AS_EV_COUNT + (event_type); \
		struct as_count *_count = bpf_map_lookup_elem(&ledger, &_row);        \
		if (_count)                                                           \
			__sync_fetch_and_add(&_count->member, (n));                   \
	})

/* Who the current process is. */
static __always_inline void hdr_identity(struct as_hdr *h)
{
	struct task_struct *task, *leader;
	__u64 *comm = (__u64 *)h->comm;

	if (HAVE_TASK_BTF) {
		task = current_to_read();
		leader = task->group_leader;
		h->uid = task->cred->uid.val;
		h->ppid = leader->real_parent->tgid;
		h->start_ns = leader->start_boottime;
		comm[0] = *(__u64 *)&leader->comm[0];
		comm[1] = *(__u64 *)&leader->comm[8];
	} else {
		task = (void *)bpf_get_current_task();
		leader = BPF_CORE_READ(task, group_leader);
		h->uid = (__u32)bpf_get_current_uid_gid();
		h->ppid = BPF_CORE_READ(leader, real_parent, tgid);
		h->start_ns = BPF_CORE_READ(leader, start_boottime);
		BPF_CORE_READ_INTO(&h->comm, leader, comm);
	}
}

/* Fills the header with what is true of the current thread @id now; who has asked for the number gives it. */
static __always_inline void hdr_fill_thread(struct as_hdr *h, __u32 type, __u32 len, __u64 id)
{
	h->len = len;
	h->type = type;
	h->flags = 0;
	h->boot_ns = bpf_ktime_get_boot_ns();
	h->tgid = id >> 32;
	h->tid = (__u32)id;
	hdr_identity(h);
}

static __always_inline void hdr_fill(struct as_hdr *h, __u32 type, __u32 len)
{
	hdr_fill_thread(h, type, len, bpf_get_current_pid_tgid());
}

/* The flags for a record about to be submitted to @ring. */
static __always_inline __u64 wakeup_flags(void *ring)
{
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	if (!s)
		return BPF_RB_FORCE_WAKEUP;
	if (s->armed) {
		s->armed = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	if (s->urgent && bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) >
				 ((struct bpf_map *)ring)->max_entries / AS_RING_HIGH_WATER) {
		s->urgent = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	return BPF_RB_NO_WAKEUP;
}

/* A record of constant size, or NULL; counted either way. @size must be a constant. */
#define event_reserve(ring, event_type, size)                    \
	({                                                       \
		void *_rec = bpf_ringbuf_reserve(ring, size, 0); \
		ledger_add(event_type, produced, 1);             \
		if (!_rec)                                       \
			ledger_add(event_type, dropped, 1);      \
		_rec;                                            \
	})

#define event_submit(ring, rec) bpf_ringbuf_submit(rec, wakeup_flags(ring))

/*
 * Copies a finished record of @len bytes into the ring; 0 or an error. Flags are made before there is a record, and
 * a reader that armed the doorbell in between saw an empty ring: it is rung by a record that says nothing.
 */
static __always_inline long ring_output(void *ring, void *rec, __u64 len)
{
	long r = bpf_ringbuf_output(ring, rec, len, wakeup_flags(ring));
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);
	void *bell;

	if (r || !s || !*(volatile __u32 *)&s->armed)
		return r;
	s->armed = 0;
	bell = bpf_ringbuf_reserve(ring, sizeof(__u64), 0);
	if (bell)
		bpf_ringbuf_discard(bell, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* For records built in scratch memory. */
#define event_output(ring, event_type, rec, len)            \
	({                                                  \
		ledger_add(event_type, produced, 1);        \
		if (ring_output(ring, rec, len))            \
			ledger_add(event_type, dropped, 1); \
	})

#endif
