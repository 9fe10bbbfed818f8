/* SPDX-License-Identifier: MIT */
/*
 * A consumer for BPF ring buffers that looks at a batch of records in place and gives the space
 * back once per batch, or of a part of it. libbpf's own gives it back record by record, which makes a
 * merge of two rings in order of time impossible without copying everything.
 * Format: include/uapi/linux/bpf.h and kernel/bpf/ringbuf.c, unchanged since 5.8.
 */
#ifndef AGENTSIGHT_SOURCE_RING_H
#define AGENTSIGHT_SOURCE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring;

struct ring_record {
	const void *data;
	uint32_t len;
};

/* Maps the ring buffer of map @map_fd (borrowed), of @size bytes, whose longest record has @longest. */
int ring_open(int map_fd, size_t size, size_t longest, struct ring **ret);
void ring_free(struct ring *r);

/*
 * Up to @max finished records, oldest first, of together no more than @max_bytes (but at least one),
 * valid until ring_release(). Returns how many. *ret_more: there may be further ones.
 */
size_t ring_peek(struct ring *r, struct ring_record *out, size_t max, size_t max_bytes,
		 bool *ret_more);

/* What was peeked ends at a record that its producer has not finished: what follows it is not to be seen yet. */
bool ring_held_up(const struct ring *r);

/*
 * Gives the space of the records last peeked, up to and including @last, back to the kernel; the others
 * will be peeked again. NULL: of all of them.
 */
void ring_release(struct ring *r, const struct ring_record *last);

/* Nothing is in it, not even a record under construction. */
bool ring_empty(const struct ring *r);

#endif
