/* SPDX-License-Identifier: MIT */
/* The task source that asks the kernel's task iterator: bpf/task.bpf.c. */
#include "source/sampler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "source/bpf.h"
#include "task.skel.h"

/* What a read of an iterator returns at most (kernel/bpf/bpf_iter.c), behind a record that the last one cut. */
#define READ_MOST (32 << 10)

_Static_assert(sizeof(struct as_task) % _Alignof(struct as_task_full) == 0,
	       "records of either kind are aligned where the one before ends");

DEFINE_FREEP(struct task_bpf *, task_bpf__destroy)

struct task_bpf_source {
	struct task_source source;
	struct bpf_link *link;
	size_t record; /* bytes of one: a struct as_task, or an as_task_full */
	size_t have;   /* bytes in `chunk` */
	_Alignas(struct as_task_full) char chunk[sizeof(struct as_task_full) + READ_MOST];
};

/* Whole records from the chunk; the rest of a record that a read has cut moves to the front. */
static void chunk_take(struct task_bpf_source *b, struct sampler *to)
{
	const bool detail = b->record == sizeof(struct as_task_full);
	size_t n = b->have / b->record;

	for (size_t i = 0; i < n; i++) {
		const struct as_task_full *t = (const void *)(b->chunk + i * b->record);

		sampler_add(to, &t->task, detail ? &t->more : NULL, true);
	}
	b->have -= n * b->record;
	memmove(b->chunk, b->chunk + n * b->record, b->have);
}

static int bpf_scan(struct task_source *source, struct sampler *to)
{
	struct task_bpf_source *b = (struct task_bpf_source *)source;
	_cleanup_(closep) int fd = bpf_iter_create(bpf_link__fd(b->link));

	if (fd < 0)
		return fd;
	b->have = 0;
	for (;;) {
		ssize_t n = read(fd, b->chunk + b->have, sizeof(b->chunk) - b->have);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		b->have += n;
		chunk_take(b, to);
	}
}

static void bpf_free(struct task_source *source)
{
	struct task_bpf_source *b = (struct task_bpf_source *)source;

	bpf_link__destroy(b->link);
	free(b);
}

static int bpf_load(struct task_bpf_source *b, struct bpf_shared *shared, bool detail,
		    struct err *e)
{
	_cleanup_(task_bpf__destroyp) struct task_bpf *skel =
		task_bpf__open_opts(bpf_shared_open_opts(shared));
	int r;

	if (!skel)
		return err_set(e, -errno, "cannot open the task iterator: %s", strerror(errno));
	/* the kernel shall look at the one that is used only */
	bpf_program__set_autoload(skel->progs.task_sample, !detail);
	bpf_program__set_autoload(skel->progs.task_detail, detail);
	b->record = detail ? sizeof(struct as_task_full) : sizeof(struct as_task);
	r = bpf_family_prepare(shared, skel->obj, e);
	if (r < 0)
		return r;
	r = task_bpf__load(skel);
	if (r < 0)
		return err_set(e, r, "the kernel refused the task iterator: %s", strerror(-r));
	b->link = bpf_program__attach_iter(
		detail ? skel->progs.task_detail : skel->progs.task_sample, NULL);
	if (!b->link)
		return err_set(e, -errno, "cannot attach the task iterator: %s", strerror(errno));
	return 0;
}

int task_bpf_open(struct bpf_shared *shared, bool detail, struct task_source **ret, struct err *e)
{
	struct task_bpf_source *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->source =
		(struct task_source){.name = "task iterator", .scan = bpf_scan, .free = bpf_free};
	r = bpf_load(b, shared, detail, e);
	if (r < 0) {
		bpf_capability(shared, "system", "processes", "task iterator", CAPABILITY_MISSING,
			       "%s", strerror(-r));
		bpf_free(&b->source);
		return r;
	}
	bpf_capability(shared, "system", "processes", "task iterator", CAPABILITY_ATTACHED, NULL);
	*ret = &b->source;
	return 0;
}
