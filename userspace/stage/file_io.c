/* SPDX-License-Identifier: MIT */
#include "stage/file_io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <agentsight/control.h>

#include "base/buf.h"
#include "base/clock.h"
#include "event/record.h"

#define BUCKETS 8192

/* How often what nobody speaks of any more is looked for, in two ticks that follow. */
#define SWEEP_TICKS 60

/* One opening of one descriptor. */
struct opening {
	struct opening *next_by_id;
	struct opening *next_by_tgid;
	struct opening **at_by_tgid; /* what points here: one process may have all entries */
	uint64_t id;
	struct as_hdr who; /* at the first transfer */
	int32_t fd;
	uint32_t tick; /* when the kernel's table held it last */
	struct as_file_sums reported;
	uint32_t path_len;
	bool path_cut;
	bool gone; /* its process is */
	char path[];
};

struct file_io {
	struct stage stage;
	struct file_sums_ops ops;
	struct file_io_counts counts;
	struct opening *by_id[BUCKETS];
	struct opening *by_tgid[BUCKETS];
	size_t n;
	size_t path_bytes;
	uint32_t tick;
	struct buf buf;
	char path[PATH_TEXT_MAX];
};

/* ---- the table ---- */

static size_t bucket(uint64_t key)
{
	return (key * 0x9e3779b97f4a7c15ULL) >> 51; /* the top 13 bits: BUCKETS */
}

static struct opening *opening_find(const struct file_io *f, uint64_t id)
{
	struct opening *o = f->by_id[bucket(id)];

	while (o && o->id != id)
		o = o->next_by_id;
	return o;
}

static void opening_add(struct file_io *f, struct opening *o)
{
	struct opening **id_head = &f->by_id[bucket(o->id)];
	struct opening **tgid_head = &f->by_tgid[bucket(o->who.tgid)];

	o->next_by_id = *id_head;
	*id_head = o;
	o->next_by_tgid = *tgid_head;
	o->at_by_tgid = tgid_head;
	if (o->next_by_tgid)
		o->next_by_tgid->at_by_tgid = &o->next_by_tgid;
	*tgid_head = o;
	f->n++;
	f->path_bytes += o->path_len;
}

static void opening_free(struct file_io *f, struct opening *o)
{
	struct opening **p = &f->by_id[bucket(o->id)];

	while (*p != o)
		p = &(*p)->next_by_id;
	*p = o->next_by_id;
	*o->at_by_tgid = o->next_by_tgid;
	if (o->next_by_tgid)
		o->next_by_tgid->at_by_tgid = o->at_by_tgid;
	f->n--;
	f->path_bytes -= o->path_len;
	free(o);
}

/* ---- events ---- */

/* What is known of an opening at the moment of a report; without @opening, its path is not. */
struct report {
	const struct as_hdr *who;
	uint64_t boot_ns;
	const struct opening *opening;
	int32_t fd;
	enum as_file_flush reason;
};

static struct as_path add_path(struct buf *b, const struct opening *o)
{
	struct as_path path = {0};

	if (!o || o->path_len == 0) {
		path.rel.full = 1; /* there is one, but none of its bytes are here */
		return path;
	}
	path.rel = record_add(b, o->path, o->path_len);
	path.rel.full += o->path_cut;
	return path;
}

static int make_io(struct file_io *f, const struct report *r, unsigned type, uint64_t bytes,
		   uint64_t count, struct event *ev)
{
	struct as_file_io *io;
	struct as_path path;

	record_begin(&f->buf, type, r->who);
	if (f->buf.failed)
		return -ENOMEM;
	path = add_path(&f->buf, r->opening);
	io = record_struct(&f->buf, as_file_io);
	io->h.boot_ns = r->boot_ns;
	io->path = path;
	io->bytes = bytes;
	io->count = count;
	io->fd = r->fd;
	io->reason = r->reason;
	return record_end(&f->buf, ev);
}

static void emit_io(struct file_io *f, const struct report *r, unsigned type, uint64_t bytes,
		    uint64_t count)
{
	struct event ev;

	f->counts.made[type == AS_EV_FILE_WRITE]++;
	if (!r->opening || r->opening->path_len == 0)
		f->counts.pathless++;
	if (make_io(f, r, type, bytes, count, &ev) < 0) {
		f->counts.dropped[type == AS_EV_FILE_WRITE]++;
		return;
	}
	event_emit(f->stage.out, &ev);
}

/*
 * The kernel adds the bytes of a call before its count, and a copy may be taken in between: the
 * timer leaves bytes without a call to the next report, the last one tells what there is.
 */
static bool is_due(const struct report *r, uint64_t bytes, uint64_t count)
{
	return count > 0 || (bytes > 0 && r->reason != AS_FLUSH_TIMER);
}

/* Reports by how much @now exceeds @before, and takes it over there. */
static void emit_difference(struct file_io *f, const struct report *r,
			    const struct as_file_sums *now, struct as_file_sums *before)
{
	uint64_t bytes = now->read_bytes - before->read_bytes;
	uint64_t count = now->read_count - before->read_count;

	if (is_due(r, bytes, count)) {
		emit_io(f, r, AS_EV_FILE_READ, bytes, count);
		before->read_bytes = now->read_bytes;
		before->read_count = now->read_count;
	}
	bytes = now->write_bytes - before->write_bytes;
	count = now->write_count - before->write_count;
	if (is_due(r, bytes, count)) {
		emit_io(f, r, AS_EV_FILE_WRITE, bytes, count);
		before->write_bytes = now->write_bytes;
		before->write_count = now->write_count;
	}
}

/* ---- openings come and go ---- */

static void on_seen(struct file_io *f, const struct event *ev)
{
	const struct as_file_seen *seen = (const struct as_file_seen *)ev->rec;
	struct opening *o;
	size_t len;

	/* two threads may both have told of the first transfer */
	if (f->n >= FILE_IO_MAX || opening_find(f, seen->file_id))
		return;
	len = seen->path.base.len ? record_path(ev->rec, &seen->path, f->path) : 0;
	if (f->path_bytes + len > FILE_IO_PATH_BYTES)
		len = 0;
	o = calloc(1, sizeof(*o) + len);
	if (!o)
		return;
	o->id = seen->file_id;
	o->who = *ev->rec;
	o->fd = seen->fd;
	o->tick = f->tick;
	o->path_len = len;
	o->path_cut = seen->path.base.len < seen->path.base.full;
	memcpy(o->path, f->path, len);
	opening_add(f, o);
}

static void on_done(struct file_io *f, const struct event *ev)
{
	const struct as_file_done *done = (const struct as_file_done *)ev->rec;
	struct opening *o = opening_find(f, done->file_id);
	const struct report r = {ev->rec, ev->rec->boot_ns, o, done->fd, AS_FLUSH_CLOSE};
	const struct as_file_sums now = {
		.read_bytes = done->read_bytes,
		.read_count = done->read_count,
		.write_bytes = done->write_bytes,
		.write_count = done->write_count,
	};
	struct as_file_sums nothing = {0};

	emit_difference(f, &r, &now, o ? &o->reported : &nothing);
	if (o)
		opening_free(f, o);
}

/* The last report of an opening whose process has ended. Its entry goes, if it is still its own. */
static void opening_end(struct file_io *f, struct opening *o, const struct as_hdr *who,
			uint64_t boot_ns)
{
	const struct as_file_key key = {.tgid = o->who.tgid, .fd = o->fd};
	const struct report r = {who, boot_ns, o, o->fd, AS_FLUSH_EXIT};
	struct as_file_sums now;

	if (f->ops.read(f->ops.source, &key, &now) == 0 && now.id == o->id) {
		emit_difference(f, &r, &now, &o->reported);
		f->ops.remove(f->ops.source, &key);
	}
	opening_free(f, o);
}

static void on_exit_event(struct file_io *f, const struct as_hdr *who)
{
	struct opening *o = f->by_tgid[bucket(who->tgid)], *next;

	for (; o; o = next) {
		next = o->next_by_tgid;
		if (o->who.tgid == who->tgid && o->who.start_ns == who->start_ns)
			opening_end(f, o, who, who->boot_ns);
	}
}

static void file_io_event(struct emitter *in, const struct event *ev)
{
	struct file_io *f = (struct file_io *)in;

	switch (ev->rec->type) {
	case AS_EV_FILE_SEEN:
		on_seen(f, ev);
		return;
	case AS_EV_FILE_DONE:
		on_done(f, ev);
		return;
	case AS_EV_EXIT:
		on_exit_event(f, ev->rec); /* what the process did comes before its end */
		break;
	}
	event_emit(f->stage.out, ev);
}

/* ---- the timer ---- */

struct look {
	struct file_io *f;
	uint64_t boot_ns;
	enum as_file_flush reason;
};

/* What is told of an opening that FILE_SEEN has not come of: without a path, and whose it was is a number. */
static void emit_unseen(const struct look *look, const struct as_file_key *key,
			const struct as_file_sums *sums)
{
	const struct as_hdr nobody = {.tgid = key->tgid};
	const struct report r = {&nobody, look->boot_ns, NULL, key->fd, look->reason};
	struct as_file_sums nothing = {0};

	emit_difference(look->f, &r, sums, &nothing);
}

/*
 * There was no room for FILE_SEEN. The next transfer of the process tries again; when it has ended none comes,
 * and the entry would take up room for good.
 */
static void look_at_unseen(const struct look *look, const struct as_file_key *key, uint64_t id)
{
	const struct file_sums_ops *ops = &look->f->ops;
	const struct look last = {look->f, look->boot_ns, AS_FLUSH_EXIT};
	struct as_file_sums now;

	if (ops->alive(ops->source, key->tgid))
		return;
	/* what was copied may be from before its last transfer */
	if (ops->read(ops->source, key, &now) < 0 || now.id != id || now.seen)
		return;
	emit_unseen(&last, key, &now);
	ops->remove(ops->source, key);
}

/*
 * A key may hold a later opening than the one that is known: then FILE_DONE of the known one is on
 * its way. Entries that are not known although the kernel has told of them wait for that.
 */
static void look_at(void *ctx, const struct as_file_key *key, const struct as_file_sums *sums)
{
	const struct look *look = ctx;
	struct opening *o = opening_find(look->f, sums->id);
	struct report r = {NULL, look->boot_ns, o, key->fd, look->reason};

	if (!o) {
		if (!sums->seen)
			look_at_unseen(look, key, sums->id);
		return;
	}
	r.who = &o->who;
	o->tick = look->f->tick;
	emit_difference(look->f, &r, sums, &o->reported);
}

/*
 * What is left behind when a record was lost, or when a process stopped being followed: openings
 * that the kernel forgot, and those of processes that are gone. What these did last may still be in
 * the ring, so that they end only when they are met again, a tick later.
 */
static void sweep(struct file_io *f, uint64_t boot_ns)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct opening *o = f->by_id[i], *next;

		for (; o; o = next) {
			next = o->next_by_id;
			if (f->tick - o->tick >= SWEEP_TICKS) {
				f->counts.abandoned++;
				opening_free(f, o);
			} else if (o->gone) {
				opening_end(f, o, &o->who, boot_ns);
			} else {
				o->gone = !f->ops.alive(f->ops.source, o->who.tgid);
			}
		}
	}
}

static void file_io_tick(struct stage *stage, uint64_t boot_ns)
{
	struct file_io *f = (struct file_io *)stage;
	struct look look = {f, boot_ns, AS_FLUSH_TIMER};

	f->tick++;
	/* an entry that is missed because the table changes under the reader is met next time */
	f->ops.each(f->ops.source, look_at, &look);
	if (f->tick % SWEEP_TICKS <= 1)
		sweep(f, boot_ns);
}

/* At the end: also the entries whose FILE_SEEN was lost, so that no byte is missing. */
static void look_last(void *ctx, const struct as_file_key *key, const struct as_file_sums *sums)
{
	const struct look *look = ctx;

	if (opening_find(look->f, sums->id))
		look_at(ctx, key, sums);
	else
		emit_unseen(look, key, sums);
}

static void file_io_finish(struct stage *stage)
{
	struct file_io *f = (struct file_io *)stage;
	struct look look = {f, clock_boot_ns(), AS_FLUSH_STOP};

	f->ops.each(f->ops.source, look_last, &look);
}

/* ---- making and freeing ---- */

static void file_io_free(struct stage *stage)
{
	struct file_io *f = (struct file_io *)stage;

	for (size_t i = 0; i < BUCKETS; i++) {
		while (f->by_id[i])
			opening_free(f, f->by_id[i]);
	}
	buf_done(&f->buf);
	free(f);
}

int file_io_new(struct emitter *out, const struct file_sums_ops *ops, struct stage **ret)
{
	struct file_io *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->stage = (struct stage){
		.in.emit = file_io_event,
		.out = out,
		.tick = file_io_tick,
		.finish = file_io_finish,
		.free = file_io_free,
	};
	f->ops = *ops;
	*ret = &f->stage;
	return 0;
}

const struct file_io_counts *file_io_counts(const struct stage *s)
{
	return &((const struct file_io *)s)->counts;
}
