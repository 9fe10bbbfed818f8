/* SPDX-License-Identifier: MIT */
#include "source/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "base/cleanup.h"

#define CACHE_LINE     64
#define PREFETCH_AHEAD 1024
/* Of one record: that a longer one is read in turn, the processor sees. */
#define PREFETCH_MOST 2048

struct ring {
	size_t page;
	size_t size;
	size_t mapped; /* from the producer's page on */
	void *consumer_page;
	void *producer_page; /* followed by the data */
	const char *data;
	unsigned long pos;  /* consumed and released */
	unsigned long next; /* behind what was peeked */
	bool held_up;
};

DEFINE_FREEP(struct ring *, ring_free)

int ring_open(int map_fd, size_t size, size_t longest, struct ring **ret)
{
	_cleanup_(ring_freep) struct ring *r = calloc(1, sizeof(*r));
	void *p;

	if (!r)
		return -ENOMEM;
	r->page = sysconf(_SC_PAGESIZE);
	r->size = size;

	p = mmap(NULL, r->page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	r->consumer_page = p;

	/*
	 * Behind the ring's end lies its beginning once more, so that no record is in two parts. The kernel
	 * would map all of it; the length of the longest record is enough, and half the resident memory.
	 */
	r->mapped = r->page + size + MIN(size, longest + BPF_RINGBUF_HDR_SZ);
	p = mmap(NULL, r->mapped, PROT_READ, MAP_SHARED, map_fd, r->page);
	if (p == MAP_FAILED)
		return -errno;
	r->producer_page = p;
	r->data = (const char *)p + r->page;
	/* what is read here is no business of processes that are started for us */
	madvise(r->producer_page, r->mapped, MADV_DONTFORK);
	madvise(r->consumer_page, r->page, MADV_DONTFORK);
	r->pos = r->next = *(unsigned long *)r->consumer_page;

	*ret = TAKE_PTR(r);
	return 0;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	if (r->producer_page)
		munmap(r->producer_page, r->mapped);
	if (r->consumer_page)
		munmap(r->consumer_page, r->page);
	free(r);
}

static unsigned long producer_pos(const struct ring *r)
{
	return __atomic_load_n((unsigned long *)r->producer_page, __ATOMIC_ACQUIRE);
}

/*
 * What another processor wrote comes from its caches or from memory, 100 ns for each line: asked for a few
 * records ahead of the one at @pos, of @len bytes, they come while that is looked at.
 */
static void prefetch_ahead(const struct ring *r, unsigned long pos, size_t len, unsigned long end)
{
	unsigned long from = pos + PREFETCH_AHEAD;
	unsigned long to = from + MIN(len, (size_t)PREFETCH_MOST);

	to = MIN(to, end);
	for (; from < to; from += CACHE_LINE)
		__builtin_prefetch(r->data + (from & (r->size - 1)));
}

size_t ring_peek(struct ring *r, struct ring_record *out, size_t max, size_t max_bytes,
		 bool *ret_more)
{
	unsigned long end = producer_pos(r);
	size_t n = 0;

	r->next = r->pos;
	r->held_up = *ret_more = false;
	while (r->next < end) {
		const char *p = r->data + (r->next & (r->size - 1));
		uint32_t head = __atomic_load_n((const uint32_t *)p, __ATOMIC_ACQUIRE);
		uint32_t len = head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		r->held_up = head & BPF_RINGBUF_BUSY_BIT;
		if (r->held_up)
			break; /* its producer is not done; what follows must wait for it */
		if (n == max || (n && r->next - r->pos > max_bytes)) {
			*ret_more = true;
			break;
		}
		prefetch_ahead(r, r->next, len + BPF_RINGBUF_HDR_SZ, end);
		if (!(head & BPF_RINGBUF_DISCARD_BIT))
			out[n++] = (struct ring_record){p + BPF_RINGBUF_HDR_SZ, len};
		r->next += (len + BPF_RINGBUF_HDR_SZ + 7) & ~7UL;
	}
	return n;
}

bool ring_held_up(const struct ring *r)
{
	return r->held_up;
}

/* The position behind @rec, which lies less than a ring's size behind what is released. */
static unsigned long position_behind(const struct ring *r, const struct ring_record *rec)
{
	unsigned long at = (const char *)rec->data - BPF_RINGBUF_HDR_SZ - r->data;
	unsigned long len = (rec->len + BPF_RINGBUF_HDR_SZ + 7) & ~7UL;

	return r->pos + ((at - r->pos) & (r->size - 1)) + len;
}

void ring_release(struct ring *r, const struct ring_record *last)
{
	unsigned long pos = last ? position_behind(r, last) : r->next;

	if (r->pos == pos)
		return;
	r->pos = pos;
	__atomic_store_n((unsigned long *)r->consumer_page, pos, __ATOMIC_RELEASE);
}

bool ring_empty(const struct ring *r)
{
	return r->pos == producer_pos(r);
}
