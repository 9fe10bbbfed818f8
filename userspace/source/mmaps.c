/* SPDX-License-Identifier: MIT */
#include "source/mmaps.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#define RING_SIZE  (64 * 1024)
#define RECORD_MAX 8192 /* the fixed part, and a path of up to 4096 bytes */

struct cpu_ring {
	int fd;
	struct perf_event_mmap_page *page; /* the data lies one page behind */
};

struct mmaps {
	size_t page_size;
	size_t n;
	struct cpu_ring rings[];
};

/* PERF_RECORD_MMAP2 as linux/perf_event.h describes it; the header has no struct for it. */
struct mmap2_record {
	struct perf_event_header header;
	uint32_t pid, tid;
	uint64_t addr, len, pgoff;
	uint32_t major, minor;
	uint64_t ino, generation;
	uint32_t prot, flags;
	char path[];
};

struct lost_record {
	struct perf_event_header header;
	uint64_t id;
	uint64_t lost;
};

/* The software dummy counts nothing: only its side records are wanted, for executable mappings. */
static int ring_start(struct cpu_ring *ring, int cpu, size_t page_size)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.exclude_kernel = 1,
		.mmap = 1,
		.mmap2 = 1,
		.watermark = 1,
		.wakeup_watermark = RING_SIZE,
	};
	void *p;

	ring->fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (ring->fd < 0)
		return -errno;

	p = mmap(NULL, page_size + RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (p == MAP_FAILED) {
		int r = -errno;

		close(ring->fd);
		return r;
	}
	ring->page = p;
	return 0;
}

int mmaps_open(struct mmaps **ret)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	_cleanup_(mmaps_freep) struct mmaps *m = NULL;

	if (cpus < 1)
		return -EINVAL;
	m = calloc(1, sizeof(*m) + (size_t)cpus * sizeof(m->rings[0]));
	if (!m)
		return -ENOMEM;
	m->page_size = (size_t)sysconf(_SC_PAGESIZE);

	for (int cpu = 0; cpu < cpus; cpu++) {
		int r = ring_start(&m->rings[m->n], cpu, m->page_size);

		if (r == -ENODEV)
			continue; /* switched off */
		if (r < 0)
			return r;
		m->n++;
	}

	*ret = TAKE_PTR(m);
	return 0;
}

void mmaps_free(struct mmaps *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		munmap(m->rings[i].page, m->page_size + RING_SIZE);
		close(m->rings[i].fd);
	}
	free(m);
}

/* The kernel writes these records; the checks are against a future layout, not against malice. */
static void mmap2_pass(const struct mmap2_record *rec, mapping_fn fn, void *arg)
{
	size_t path_cap = rec->header.size - sizeof(*rec);
	struct mapping m = {
		.tgid = rec->pid,
		.addr = rec->addr,
		.len = rec->len,
		.dev = makedev(rec->major, rec->minor),
		.ino = rec->ino,
		.generation = rec->generation,
		.path = rec->path,
	};

	if (m.ino && memchr(rec->path, '\0', path_cap))
		fn(arg, &m);
}

static uint64_t record_pass(const struct perf_event_header *h, mapping_fn fn, void *arg)
{
	if (h->type == PERF_RECORD_LOST && h->size >= sizeof(struct lost_record))
		return ((const struct lost_record *)h)->lost;
	if (h->type == PERF_RECORD_MMAP2 && h->size > sizeof(struct mmap2_record))
		mmap2_pass((const struct mmap2_record *)h, fn, arg);
	return 0;
}

/* Copies @n bytes at ring position @pos, which may wrap. */
static void ring_copy(const char *data, uint64_t pos, void *out, size_t n)
{
	size_t at = pos % RING_SIZE, first = MIN(n, RING_SIZE - at);

	memcpy(out, data + at, first);
	memcpy((char *)out + first, data, n - first);
}

static uint64_t ring_drain(struct cpu_ring *ring, size_t page_size, mapping_fn fn, void *arg)
{
	const char *data = (const char *)ring->page + page_size;
	uint64_t head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
	uint64_t tail = ring->page->data_tail, lost = 0;
	union {
		struct perf_event_header header;
		char bytes[RECORD_MAX];
	} rec;

	while (head - tail >= sizeof(rec.header)) {
		ring_copy(data, tail, &rec.header, sizeof(rec.header));
		if (rec.header.size < sizeof(rec.header) || rec.header.size > head - tail) {
			tail = head; /* not a ring as we know it: start afresh */
			lost++;
			break;
		}
		if (rec.header.size <= sizeof(rec)) {
			ring_copy(data, tail, rec.bytes, rec.header.size);
			lost += record_pass(&rec.header, fn, arg);
		}
		tail += rec.header.size;
	}
	__atomic_store_n(&ring->page->data_tail, tail, __ATOMIC_RELEASE);
	return lost;
}

uint64_t mmaps_poll(struct mmaps *m, mapping_fn fn, void *arg)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < m->n; i++) {
		if (m->rings[i].page->data_head != m->rings[i].page->data_tail)
			lost += ring_drain(&m->rings[i], m->page_size, fn, arg);
	}
	return lost;
}
