/* SPDX-License-Identifier: MIT */
#include "event/record.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "event/decode.h"
#include "event/schema.h"

void record_begin(struct buf *b, unsigned type, const struct as_hdr *h)
{
	size_t size = schema_event(type)->size;
	struct as_hdr *hdr;

	buf_reset(b);
	if (!buf_room(b, size))
		return;
	memset(b->data, 0, size);
	b->len = size;
	hdr = (struct as_hdr *)b->data;
	*hdr = *h;
	hdr->type = type;
	hdr->flags = 0;
}

void record_begin_own(struct buf *b, unsigned type, uint64_t boot_ns)
{
	const struct as_hdr h = {
		.boot_ns = boot_ns,
		.tgid = getpid(),
		.tid = getpid(),
		.ppid = getppid(),
		.uid = getuid(),
		.comm = "agentsight",
	};

	record_begin(b, type, &h);
}

struct as_span record_add(struct buf *b, const void *p, size_t n)
{
	struct as_span span = {.off = b->len, .len = n, .full = n};

	buf_add(b, p, n);
	return span;
}

struct as_span record_add_str(struct buf *b, const char *s)
{
	return record_add(b, s, strlen(s));
}

int record_end(struct buf *b, struct event *ev)
{
	static const char zeros[8];

	buf_add(b, zeros, -b->len % 8);
	if (b->failed)
		return -ENOMEM;
	((struct as_hdr *)b->data)->len = b->len;
	return event_decode(b->data, b->len, ev);
}

static _Atomic uint64_t unmade_records[AS_EV_COUNT];

bool record_made(const struct buf *b, unsigned type)
{
	unmade_records[type] += b->failed;
	return !b->failed;
}

void record_emit(struct buf *b, unsigned type, struct emitter *out)
{
	struct event ev;

	if (record_end(b, &ev) == 0)
		event_emit(out, &ev);
	else
		unmade_records[type]++;
}

void record_take_unmade(uint64_t unmade[AS_EV_COUNT])
{
	for (unsigned type = 0; type < AS_EV_COUNT; type++)
		unmade[type] += atomic_exchange(&unmade_records[type], 0);
}

/* Text under construction: components behind slashes. */
struct path_text {
	char *out;
	size_t len;
	bool resolved; /* so far all comes from the kernel: ".." may be taken literally */
};

static bool is_dot_dot(const char *name, size_t n)
{
	return n == 2 && name[0] == '.' && name[1] == '.';
}

static bool is_dot(const char *name, size_t n)
{
	return n == 1 && name[0] == '.';
}

static void put_component(struct path_text *t, const char *name, size_t n)
{
	if (n == 0 || is_dot(name, n))
		return;
	if (is_dot_dot(name, n) && t->resolved) {
		while (t->len > 0 && t->out[--t->len] != '/')
			;
		return;
	}
	if (t->len + n + 2 > PATH_TEXT_MAX)
		return;
	t->out[t->len++] = '/';
	memcpy(t->out + t->len, name, n);
	t->len += n;
}

/* The base lies leaf first: walk it from its end. */
static void put_base(struct path_text *t, const char *base, size_t n)
{
	while (n > 0) {
		size_t end = n - (base[n - 1] == '\0');
		size_t start = end;

		while (start > 0 && base[start - 1] != '\0')
			start--;
		put_component(t, base + start, end - start);
		n = start;
	}
}

static void put_relative(struct path_text *t, const char *rel, size_t n)
{
	size_t start = 0;

	for (size_t i = 0; i <= n; i++) {
		const char *name = rel + start;
		size_t len = i - start;

		if (i < n && rel[i] != '/')
			continue;
		put_component(t, name, len);
		/* behind a name that the user wrote, ".." may leave through a symbolic link */
		if (len && !is_dot(name, len) && !is_dot_dot(name, len))
			t->resolved = false;
		start = i + 1;
	}
}

size_t record_path(const struct as_hdr *rec, const struct as_path *path, char *out)
{
	const char *rel = record_bytes(rec, &path->rel);
	struct path_text t = {.out = out, .resolved = true};

	bool nothing = !path->base.len && !path->rel.len && (path->base.full || path->rel.full);
	bool absolute = path->rel.len && rel[0] == '/';

	if (nothing || (path->rel.len && !absolute && !path->base.len && !path->base.full)) {
		/* as it was given: there is nothing to stand it on */
		memcpy(out, rel, path->rel.len);
		out[path->rel.len] = '\0';
		return path->rel.len;
	}
	if (!absolute)
		put_base(&t, record_bytes(rec, &path->base), path->base.len);
	put_relative(&t, rel, path->rel.len);
	if (t.len == 0)
		t.out[t.len++] = '/';
	t.out[t.len] = '\0';
	return t.len;
}
