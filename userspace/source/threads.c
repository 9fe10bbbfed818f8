/* SPDX-License-Identifier: MIT */
#include "source/threads.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "event/schema.h"

#define CAP_MIN 1024

/* tid 0: free. Linear probing; nothing is removed but by threads_end(), which makes a new array. */
struct thread {
	uint32_t tid;
	uint32_t pass;
	uint64_t start_ns;
	uint64_t cpu_ns;
	uint64_t wait_ns;
	uint64_t last_ns; /* 0: never sampled */
};

struct threads {
	struct thread *slots;
	size_t cap; /* a power of two */
	size_t used;
	size_t seen; /* in this pass */
	uint32_t pass;
	uint64_t boot_ns;
	uint64_t since_ns;
};

int threads_new(struct threads **ret)
{
	_cleanup_(threads_freep) struct threads *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->cap = CAP_MIN;
	t->slots = calloc(t->cap, sizeof(*t->slots));
	if (!t->slots)
		return -ENOMEM;
	*ret = TAKE_PTR(t);
	return 0;
}

void threads_free(struct threads *t)
{
	if (!t)
		return;
	free(t->slots);
	free(t);
}

static struct thread *slot_of(struct thread *slots, size_t cap, uint32_t tid)
{
	size_t i = (tid * 2654435769u) & (cap - 1);

	while (slots[i].tid && slots[i].tid != tid)
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

/* Takes over the threads whose last pass was @pass or later. */
static bool slots_renew(struct threads *t, size_t cap, uint32_t pass)
{
	struct thread *slots = calloc(cap, sizeof(*slots));
	size_t used = 0;

	if (!slots)
		return false;
	for (size_t i = 0; i < t->cap; i++) {
		const struct thread *old = &t->slots[i];

		if (!old->tid || old->pass < pass)
			continue;
		*slot_of(slots, cap, old->tid) = *old;
		used++;
	}
	free(t->slots);
	t->slots = slots;
	t->cap = cap;
	t->used = used;
	return true;
}

/* NULL without memory: then the row says nothing of an interval. */
static struct thread *thread_get(struct threads *t, uint32_t tid, uint64_t start_ns)
{
	struct thread *th = slot_of(t->slots, t->cap, tid);

	if (!th->tid) {
		if (2 * (t->used + 1) > t->cap) {
			if (!slots_renew(t, 2 * t->cap, 0))
				return NULL;
			th = slot_of(t->slots, t->cap, tid);
		}
		t->used++;
	}
	if (!th->tid || th->start_ns != start_ns)
		*th = (struct thread){.tid = tid, .start_ns = start_ns};
	return th;
}

void threads_begin(struct threads *t, uint64_t boot_ns, uint64_t since_ns)
{
	t->pass++;
	t->seen = 0;
	t->boot_ns = boot_ns;
	t->since_ns = since_ns;
}

void threads_end(struct threads *t)
{
	size_t cap = t->cap;

	if (t->used <= CAP_MIN / 2 || t->used <= 2 * t->seen)
		return;
	while (cap > CAP_MIN && cap > 8 * t->seen)
		cap /= 2;
	slots_renew(t, cap, t->pass);
}

static uint64_t percent_centi(uint64_t part_ns, uint64_t whole_ns)
{
	return whole_ns ? ((unsigned __int128)part_ns * 10000 + whole_ns / 2) / whole_ns : 0;
}

/* Since the last row; for the first, since the thread's start if that was after the last sample. */
static uint64_t row_begin(const struct threads *t, const struct thread *th)
{
	if (th->last_ns)
		return th->last_ns;
	return t->since_ns && th->start_ns >= t->since_ns ? th->start_ns : 0;
}

static void row_rates(struct threads *t, const struct as_task_more *more,
		      struct as_system_thread *r)
{
	struct thread *th = thread_get(t, r->tid, more->start_ns);
	uint64_t begin_ns;

	if (!th)
		return;
	begin_ns = row_begin(t, th);
	if (begin_ns && begin_ns < t->boot_ns) {
		r->interval_ns = t->boot_ns - begin_ns;
		if (more->cpu_ns > th->cpu_ns)
			r->cpu_centi = percent_centi(more->cpu_ns - th->cpu_ns, r->interval_ns);
		if (more->wait_ns > th->wait_ns)
			r->wait_centi = percent_centi(more->wait_ns - th->wait_ns, r->interval_ns);
	}
	th->cpu_ns = more->cpu_ns;
	th->wait_ns = more->wait_ns;
	th->last_ns = t->boot_ns;
	if (th->pass != t->pass)
		t->seen++;
	th->pass = t->pass;
}

void threads_emit(struct threads *t, const struct as_task *task, const struct as_task_more *more,
		  struct emitter *out)
{
	struct {
		struct as_system_thread row;
		char name[AS_COMM_LEN];
	} rec = {
		.row = {.h = {.type = AS_EV_SYSTEM_THREAD,
			      .boot_ns = t->boot_ns,
			      .start_ns = task->start_ns,
			      .tgid = task->tgid,
			      .tid = task->tid,
			      .ppid = task->ppid,
			      .uid = task->uid},
			.state = more->state,
			.cpu_ns = more->cpu_ns,
			.user_ns = more->usage.user_ns,
			.system_ns = more->usage.system_ns,
			.wait_ns = more->wait_ns,
			.minor_faults = more->usage.minor_faults,
			.major_faults = more->usage.major_faults,
			.voluntary = more->usage.voluntary,
			.involuntary = more->usage.involuntary,
			.read_bytes = more->io.read_bytes,
			.write_bytes = more->io.write_bytes,
			.nice = more->nice,
			.tid = task->tid,
			.last_cpu = more->last_cpu,
			.policy = more->policy,
			.priority = more->priority},
	};
	struct event ev = {
		.rec = &rec.row.h,
		.desc = schema_event(AS_EV_SYSTEM_THREAD),
		.unix_ns = clock_unix_ns(t->boot_ns),
	};
	uint32_t len = strnlen(more->name, sizeof(more->name));

	memcpy(rec.row.h.comm, task->comm, sizeof(rec.row.h.comm));
	memcpy(rec.name, more->name, len);
	rec.row.name = (struct as_span){.off = sizeof(rec.row), .len = len, .full = len};
	rec.row.h.len = sizeof(rec.row) + len;
	row_rates(t, more, &rec.row);
	event_emit(out, &ev);
}
