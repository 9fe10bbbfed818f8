/* SPDX-License-Identifier: MIT */
/*
 * A BPF ring buffer in ordinary memory, laid out as kernel/bpf/ringbuf.c does it, with this program as
 * its producer. The consumer under test is compiled in, so that it can stand on this memory.
 */
#ifndef AGENTSIGHT_TESTS_FAKE_RING_H
#define AGENTSIGHT_TESTS_FAKE_RING_H

#include <string.h>
#include <sys/mman.h>

#include "source/ring.c"

struct fake_ring {
	struct ring ring; /* what ring_open() would have made */
	char *memory;
	char *data;
	unsigned long *consumer;
	unsigned long *producer;
};

static void *fake_map(void *at, size_t len, int fd, size_t offset)
{
	void *p = mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset);

	assert_ptr_equal(p, at);
	return p;
}

/* @size: a power of two of pages */
static void fake_open(struct fake_ring *f, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("ring", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(2 * page + size)), 0);
	f->memory = mmap(NULL, 2 * page + 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(f->memory != MAP_FAILED);
	fake_map(f->memory, 2 * page + size, fd, 0);
	fake_map(f->memory + 2 * page + size, size, fd, 2 * page);
	close(fd);

	f->consumer = (unsigned long *)f->memory;
	f->producer = (unsigned long *)(f->memory + page);
	f->data = f->memory + 2 * page;
	f->ring = (struct ring){.page = page,
				.size = size,
				.consumer_page = f->consumer,
				.producer_page = f->producer,
				.data = f->data};
}

static void fake_close(struct fake_ring *f)
{
	munmap(f->memory, 2 * f->ring.page + 2 * f->ring.size);
}

/* Begins at @pos with all positions, as a ring does that has been in use for long. */
static inline void fake_start_at(struct fake_ring *f, unsigned long pos)
{
	*f->consumer = *f->producer = f->ring.pos = f->ring.next = pos;
}

static size_t fake_used(const struct fake_ring *f)
{
	return *f->producer - *f->consumer;
}

static size_t fake_space(size_t len)
{
	return (len + BPF_RINGBUF_HDR_SZ + 7) & ~(size_t)7;
}

/* Returns the position of the record, for fake_finish(). @bits: busy, discarded, or none. */
static unsigned long fake_write(struct fake_ring *f, const void *p, size_t len, uint32_t bits)
{
	unsigned long pos = *f->producer;
	char *at = f->data + (pos & (f->ring.size - 1));
	uint32_t head[2] = {(uint32_t)len | bits, 0xdead};

	assert_true(fake_used(f) + fake_space(len) <= f->ring.size);
	memcpy(at, head, sizeof(head));
	memcpy(at + BPF_RINGBUF_HDR_SZ, p, len);
	*f->producer = pos + fake_space(len);
	return pos;
}

/* Submits or discards a record that was busy. */
static inline void fake_finish(struct fake_ring *f, unsigned long pos, uint32_t bits)
{
	uint32_t *head = (uint32_t *)(f->data + (pos & (f->ring.size - 1)));

	*head = (*head & ~BPF_RINGBUF_BUSY_BIT) | bits;
}

#endif
