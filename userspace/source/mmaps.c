/* SPDX-License-Identifier: MIT */
#include "source/mmaps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/clock.h"
#include "base/log.h"
#include "priv/priv.h"
#include "source/bpf.h"

#define ONLINE     "/sys/devices/system/cpu/online"
#define RING_SIZE  (64 * 1024)
#define RECORD_MAX 8192 /* the fixed part, and a path of up to 4096 bytes */

struct cpu_ring {
	int fd;
	struct perf_event_mmap_page
		*page; /* the data lies one page behind; NULL: the processor is off */
};

struct mmaps {
	size_t page_size;
	int online_fd;
	char online[256]; /* "0-2,4" */
	uint64_t look_at; /* CLOCK_MONOTONIC: who is online now */
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
static int event_open(int cpu)
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
	int fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int serve_open(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	int fd = rq->len == sizeof(int) ? event_open(*(const int *)rq->data) : -EINVAL;

	if (fd < 0)
		return fd;
	ret->fds[ret->n_fds++] = fd;
	return 0;
}

static int event_get(int cpu)
{
	if (!priv_is_split())
		return event_open(cpu);
	return priv_call_fd(&(struct peer_request){.service = PRIV_MMAPS_OPEN,
						   .data = &cpu,
						   .len = sizeof(cpu)},
			    NULL, 0);
}

static void ring_stop(struct cpu_ring *ring, size_t page_size)
{
	if (!ring->page)
		return;
	munmap(ring->page, page_size + RING_SIZE);
	close(ring->fd);
	ring->page = NULL;
}

static int ring_start(struct cpu_ring *ring, int cpu, size_t page_size)
{
	void *p;

	ring->fd = event_get(cpu);
	if (ring->fd < 0)
		return ring->fd;

	p = mmap(NULL, page_size + RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (p == MAP_FAILED) {
		int r = -errno;

		close(ring->fd);
		return r;
	}
	ring->page = p;
	return 0;
}

/* As many as can be had; why one could not. */
static int rings_start(struct mmaps *m)
{
	int failed = 0;

	for (size_t cpu = 0; cpu < m->n; cpu++) {
		int r = ring_start(&m->rings[cpu], (int)cpu, m->page_size);

		if (r < 0 && r != -ENODEV) /* switched off */
			failed = r;
	}
	return failed;
}

/* Have processors come or gone since the last look? Where that cannot be read, none does. */
static bool online_changed(struct mmaps *m)
{
	char now[sizeof(m->online)] = "";
	ssize_t n = m->online_fd < 0 ? -1 : pread(m->online_fd, now, sizeof(now) - 1, 0);

	if (n <= 0 || !strcmp(now, m->online))
		return false;
	memcpy(m->online, now, sizeof(now));
	return true;
}

int mmaps_open(struct mmaps **ret)
{
	uint32_t cpus = bpf_cpu_numbers((int)sysconf(_SC_NPROCESSORS_CONF));
	_cleanup_(mmaps_freep) struct mmaps *m = NULL;
	int r;

	if (cpus < 1)
		return -EINVAL;
	m = calloc(1, sizeof(*m) + (size_t)cpus * sizeof(m->rings[0]));
	if (!m)
		return -ENOMEM;
	m->page_size = (size_t)sysconf(_SC_PAGESIZE);
	m->n = cpus;
	m->online_fd = open(ONLINE, O_RDONLY | O_CLOEXEC);
	online_changed(m);
	r = rings_start(m);
	if (r < 0)
		return r;
	priv_offer(PRIV_MMAPS_OPEN, serve_open, NULL);

	*ret = TAKE_PTR(m);
	return 0;
}

void mmaps_free(struct mmaps *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++)
		ring_stop(&m->rings[i], m->page_size);
	closep(&m->online_fd);
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

static uint64_t rings_drain(struct mmaps *m, mapping_fn fn, void *arg)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < m->n; i++) {
		struct cpu_ring *ring = &m->rings[i];

		if (ring->page && ring->page->data_head != ring->page->data_tail)
			lost += ring_drain(ring, m->page_size, fn, arg);
	}
	return lost;
}

/* The kernel takes an event off a processor that goes, and does not bring it back: all are made anew. */
static uint64_t rings_renew(struct mmaps *m)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	int r;

	if (now < m->look_at)
		return 0;
	m->look_at = now + NSEC_PER_SEC;
	if (!online_changed(m))
		return 0;
	for (size_t i = 0; i < m->n; i++)
		ring_stop(&m->rings[i], m->page_size);
	r = rings_start(m);
	if (r < 0)
		log_warning("processors have changed, and libraries that are loaded from now on "
			    "may not be noticed: %s",
			    strerror(-r));
	return 1;
}

uint64_t mmaps_poll(struct mmaps *m, mapping_fn fn, void *arg)
{
	uint64_t lost = rings_drain(m, fn, arg);

	return lost + rings_renew(m);
}
