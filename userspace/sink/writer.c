/* SPDX-License-Identifier: MIT */
#include "sink/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/clock.h"
#include "base/log.h"
#include "priv/output.h"

#define BLOCK_BYTES   (256U * 1024)
#define QUEUE_DEFAULT (32U << 20)
#define BLOCK_LINES   65536 /* even if they are empty */
#define GIVE_UP_MS    1000
#define SPARE_BLOCKS \
	2 /* kept when more are given back; a fresh block costs 64 page faults, more than filling it */
#define SPARE_LARGE (8U << 20) /* bytes of those for lines that are longer than a block, at most */
#define SPARE_NS    (5 * NSEC_PER_SEC) /* what more was not needed for so long is given back */
#define NAP_NS      (50 * NSEC_PER_MSEC)
#define NAP_BYTES   (1U << 20)           /* this much is written at once nevertheless */
#define PATIENCE_NS (10 * NSEC_PER_MSEC) /* a ring holds more than comes in that time */
#define PROGRESS_NS (2 * NSEC_PER_MSEC)
#define DEV_NULL    makedev(1, 3) /* takes everything at once: Documentation/admin-guide/devices.txt */

struct line {
	uint32_t end; /* offset in the block behind the line */
	uint16_t type;
};

struct block {
	struct block *next;
	struct buf text;
	size_t limit; /* of the text, behind which it is full; its last line may have outgrown it */
	size_t written; /* bytes that the reader's thread could write itself */
	size_t n_lines, cap_lines;
	struct line *lines;
};

/* Emptied blocks, to be used again. */
struct spares {
	struct block *first;
	size_t n;
	size_t bytes;
	size_t unused; /* the least that n was since the last look */
};

struct writer {
	struct writer_options opt;
	char *path;
	int fd;
	bool regular;
	size_t chunk;  /* what one write() can take without blocking, after poll() said yes */
	uint64_t size; /* of the regular file */
	uint64_t rotate_at;
	bool failing;          /* an error was reported and has not gone away yet */
	bool closed;           /* nobody reads the pipe any more */
	bool torn;             /* half a line was written and could not be taken back */
	struct block *current; /* belongs to the reader's thread */

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t done;
	struct block *head, *tail;  /* queued */
	struct spares usual, large; /* with a limit of BLOCK_BYTES, and of a multiple of that */
	uint64_t look_at;           /* CLOCK_MONOTONIC: whether all of them are needed */
	size_t queued_bytes;
	bool busy, stop, reopen, give_up;
	bool waiting; /* the thread waits for anything at all, not only for something urgent */
	bool syncing; /* somebody waits for the last line */
	bool steady;  /* it was written to not long before, so more is expected */
	uint64_t nap_until; /* CLOCK_MONOTONIC: a regular file is left alone until then */
	uint64_t patience; /* how long the reader may still wait for the thread in this round, ns */
	int wake_fd;       /* readable: stop waiting for the pipe */
	_Atomic uint64_t progress; /* grows with every write and every block */
	struct writer_counts counts;
};

/* ---- blocks ---- */

static void block_free(struct block *b)
{
	if (!b)
		return;
	free(b->lines);
	buf_done(&b->text);
	free(b);
}

static void free_blocks(struct block *b)
{
	for (struct block *next; b; b = next) {
		next = b->next;
		block_free(b);
	}
}

static void spares_free(struct spares *s)
{
	free_blocks(s->first);
	*s = (struct spares){};
}

static struct block *block_new(size_t len)
{
	struct block *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->limit = MAX((size_t)1, (len + BLOCK_BYTES - 1) / BLOCK_BYTES) * BLOCK_BYTES;
	b->cap_lines = 1024;
	b->text.cap = b->limit;
	b->text.data = malloc(b->text.cap);
	b->lines = malloc(b->cap_lines * sizeof(*b->lines));
	if (!b->text.data || !b->lines) {
		block_free(b);
		return NULL;
	}
	return b;
}

static void block_empty(struct block *b)
{
	buf_reset(&b->text);
	b->n_lines = b->written = 0;
}

/* Of an empty block: gives back what a line took beyond the limit. False without memory for a smaller one. */
static bool block_fit(struct block *b)
{
	char *data;

	if (b->text.cap == b->limit)
		return true;
	data = realloc(b->text.data, b->limit);
	if (!data)
		return false;
	b->text.data = data;
	b->text.cap = b->limit;
	return true;
}

static size_t last_line(const struct block *b)
{
	return b->n_lines > 1 ? b->lines[b->n_lines - 2].end : 0;
}

/* Is there room for a line of @len bytes? */
static bool block_room(struct block *b, size_t len)
{
	struct line *more;

	if (b->text.len + len > b->limit || b->n_lines == BLOCK_LINES)
		return false;
	if (b->n_lines < b->cap_lines)
		return true;
	more = realloc(b->lines, 2 * b->cap_lines * sizeof(*more));
	if (!more)
		return false;
	b->lines = more;
	b->cap_lines *= 2;
	return true;
}

/* What was appended behind the last line is one. False: memory ran out meanwhile, and it is taken back. */
static bool block_line(struct block *b, unsigned type)
{
	if (b->text.failed) {
		b->text.failed = false;
		b->text.len = b->n_lines ? b->lines[b->n_lines - 1].end : 0;
		return false;
	}
	b->lines[b->n_lines++] = (struct line){b->text.len, type};
	return true;
}

/* What it costs the queue: lines without bytes need memory, too. */
static size_t block_cost(const struct block *b)
{
	return b->text.len + b->n_lines * sizeof(*b->lines);
}

/* Moves what @from holds behind what @to holds; false when there is no room. */
static bool block_merge(struct block *to, struct block *from)
{
	size_t start = to->text.len, first = to->n_lines;

	if (start + from->text.len > to->limit || first + from->n_lines > to->cap_lines)
		return false;
	buf_add(&to->text, from->text.data, from->text.len);
	for (size_t i = 0; i < from->n_lines; i++)
		to->lines[first + i] =
			(struct line){start + from->lines[i].end, from->lines[i].type};
	to->n_lines += from->n_lines;
	block_empty(from);
	return true;
}

/* ---- the file ---- */

static int open_stdout(int *ret_fd, struct err *e)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL), fd;

	/* main() puts what can only be read where there is none */
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return err_set(e, -EBADF, "the standard output is closed");
	fd = io_open_again(STDOUT_FILENO);
	if (fd < 0)
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_set(e, -errno, "cannot use the standard output: %s", strerror(errno));
	*ret_fd = fd;
	return 0;
}

static void adopt_fd(struct writer *w, int fd)
{
	bool regular, blocks = !(fcntl(fd, F_GETFL) & O_NONBLOCK);
	struct stat st;

	if (fstat(fd, &st) < 0)
		st = (struct stat){};
	regular = S_ISREG(st.st_mode);
	blocks &= !regular && !(S_ISCHR(st.st_mode) && st.st_rdev == DEV_NULL);
	w->fd = fd;
	w->regular = regular;
	w->chunk = blocks ? PIPE_BUF : SIZE_MAX;
	w->size = regular ? st.st_size : 0;
	w->rotate_at = w->opt.rotate_bytes;
	w->torn = false;
}

static int begin_next(struct writer *w, struct err *e)
{
	struct err why = {};
	int fd, r = priv_output_rotate(w->path, w->opt.rotate_keep, &fd, &why);

	if (r < 0)
		return err_set(e, r, "cannot rotate '%s': %s", w->path, why.text);
	close(w->fd);
	adopt_fd(w, fd);
	return 0;
}

/* When that fails, the attempt is repeated after as many bytes again, not with every block. */
static void rotate(struct writer *w)
{
	struct err e = {};

	if (begin_next(w, &e) < 0) {
		log_warning("%s", e.text);
		w->rotate_at = w->size + w->opt.rotate_bytes;
	}
}

static void open_again(struct writer *w)
{
	struct err e = {};
	int fd;

	/* it may be the same file, and is locked when it is opened */
	flock(w->fd, LOCK_UN);
	if (priv_output_open(w->path, false, &fd, &e) < 0) {
		log_warning("%s; going on with the file that is open", e.text);
		flock(w->fd, LOCK_EX | LOCK_NB);
		return;
	}
	close(w->fd);
	adopt_fd(w, fd);
	if (!w->closed)
		return;
	w->closed = false;
	if (w->opt.on_opened)
		w->opt.on_opened(w->opt.context);
}

/* ---- the thread ---- */

static void report_error(struct writer *w, int error)
{
	if (w->failing)
		return;
	w->failing = true;
	log_warning(
		"cannot write %s: %s; events are dropped and counted until it can be written again",
		w->path ? w->path : "the standard output", strerror(error));
}

/* False when the wait was called off. A pipe nobody reads any more is "writable": with EPIPE. */
static bool wait_writable(const struct writer *w)
{
	struct pollfd fds[] = {
		{.fd = w->fd, .events = POLLOUT},
		{.fd = w->wake_fd, .events = POLLIN},
	};

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		;
	return !fds[1].revents;
}

/* Writes @len bytes; returns how many were written before an error, which goes to *ret_error. */
static size_t write_some(struct writer *w, const char *p, size_t len, int *ret_error)
{
	size_t done = 0;

	*ret_error = 0;
	while (done < len) {
		ssize_t n;

		if (!w->regular && !wait_writable(w)) {
			*ret_error = ECANCELED;
			break;
		}
		n = write(w->fd, p + done, MIN(len - done, w->chunk));
		if (n >= 0) {
			done += n;
			w->progress++;
		} else if (errno != EINTR && errno != EAGAIN) {
			*ret_error = errno;
			break;
		}
	}
	return done;
}

/* Counts the lines that ended within @done bytes as delivered, the others as dropped. */
static void count_lines(struct writer *w, const struct block *b, size_t done, bool failed)
{
	for (size_t i = 0; i < b->n_lines; i++) {
		if (b->lines[i].end <= done && !(failed && !done))
			w->counts.delivered[b->lines[i].type]++;
		else
			w->counts.dropped[b->lines[i].type]++;
	}
	w->counts.bytes += done;
}

static size_t last_line_end(const struct block *b, size_t done)
{
	size_t end = 0;

	for (size_t i = 0; i < b->n_lines && b->lines[i].end <= done; i++)
		end = b->lines[i].end;
	return end;
}

/* Cuts @n bytes off the end, unless another writer's bytes are there now. */
static bool take_back(int fd, size_t n)
{
	off_t end = lseek(fd, 0, SEEK_CUR);
	struct stat st;

	if (end < (off_t)n || fstat(fd, &st) < 0 || st.st_size != end)
		return false;
	return ftruncate(fd, end - n) == 0 && lseek(fd, end - n, SEEK_SET) >= 0;
}

/* A line that was cut and could not be taken back shall not swallow the next one. */
static bool mend(struct writer *w, int *ret_error)
{
	if (w->torn && write_some(w, "\n", 1, ret_error) == 1)
		w->torn = false;
	return !w->torn;
}

static void after_write(struct writer *w, int error)
{
	if (error == ECANCELED || w->closed)
		return;
	if (error == EPIPE) {
		w->closed = true;
		if (w->opt.on_closed)
			w->opt.on_closed(w->opt.context);
	} else if (error) {
		report_error(w, error);
	} else if (w->failing) {
		w->failing = false;
		log_notice("%s can be written again", w->path ? w->path : "the standard output");
	}
}

static void write_block(struct writer *w, const struct block *b)
{
	size_t done = b->written, whole;
	int error = 0;

	if (!w->closed && mend(w, &error))
		done += write_some(w, b->text.data + done, b->text.len - done, &error);
	whole = last_line_end(b, done);
	if (whole < done) {
		w->torn = !w->regular || !take_back(w->fd, done - whole);
		w->size += w->torn ? done - whole : 0;
	}
	w->size += whole;

	pthread_mutex_lock(&w->lock);
	count_lines(w, b, whole, error || w->closed);
	pthread_mutex_unlock(&w->lock);
	after_write(w, error);
}

static void keep_house(struct writer *w, bool reopen)
{
	if (!w->path)
		return;
	if (reopen)
		open_again(w);
	if (w->regular && w->opt.rotate_bytes && w->size >= w->rotate_at)
		rotate(w);
}

/* With the lock held: what is queued will not be written. */
static void drop_queue(struct writer *w)
{
	eventfd_t ignored;

	for (struct block *b = w->head, *next; b; b = next) {
		size_t whole = last_line_end(b, b->written);

		next = b->next;
		w->torn |= whole < b->written;
		count_lines(w, b, whole, true);
		block_free(b);
	}
	w->head = w->tail = NULL;
	w->queued_bytes = 0;
	w->give_up = false;
	eventfd_read(w->wake_fd, &ignored);
	pthread_cond_broadcast(&w->done);
}

/* With the lock held: nothing in @b is needed any more. */
static void spare_put(struct writer *w, struct block *b)
{
	struct spares *s = b->limit == BLOCK_BYTES ? &w->usual : &w->large;

	block_empty(b);
	if ((s == &w->large && s->bytes + b->limit > SPARE_LARGE) || !block_fit(b)) {
		block_free(b);
		return;
	}
	b->next = s->first;
	s->first = b;
	s->n++;
	s->bytes += b->limit;
	/* the thread waits without end as long as there is nothing to give back */
	if (s == &w->large && w->waiting)
		pthread_cond_signal(&w->work);
}

static struct block *spare_unlink(struct spares *s, struct block **at)
{
	struct block *b = *at;

	*at = b->next;
	s->n--;
	s->bytes -= b->limit;
	s->unused = MIN(s->unused, s->n);
	return b;
}

/* With the lock held: a block for a line of @len bytes that wastes less than another one; NULL: there is none. */
static struct block *spare_take(struct writer *w, size_t len)
{
	struct spares *s = len <= BLOCK_BYTES ? &w->usual : &w->large;

	for (struct block **at = &s->first; *at; at = &(*at)->next) {
		if ((*at)->limit >= len && (*at)->limit - len <= BLOCK_BYTES)
			return spare_unlink(s, at);
	}
	return NULL;
}

static void spares_shrink(struct spares *s, size_t keep)
{
	for (size_t n = s->unused; n && s->n > keep; n--)
		block_free(spare_unlink(s, &s->first));
	s->unused = s->n;
}

/* With the lock held: a flood leaves as many blocks as the queue holds, for as long as it lasts. */
static void spares_trim(struct writer *w)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (now < w->look_at)
		return;
	spares_shrink(&w->usual, SPARE_BLOCKS);
	spares_shrink(&w->large, 0);
	w->look_at = now + SPARE_NS;
}

/* With the lock held: @b has been dealt with. */
static void retire(struct writer *w, struct block *b)
{
	w->queued_bytes -= block_cost(b);
	spare_put(w, b);
}

static struct block *dequeue(struct writer *w)
{
	struct block *b = w->head;

	if (!b)
		return NULL;
	w->head = b->next;
	if (!w->head)
		w->tail = NULL;
	return b;
}

/* With the lock held: was the thread asked for something other than writing? */
static bool called(const struct writer *w)
{
	return w->stop || w->reopen || w->give_up;
}

/* With the lock held: may the nap not go on? */
static bool urgent(const struct writer *w)
{
	return called(w) || w->syncing || w->queued_bytes >= NAP_BYTES;
}

/* With the lock held: waits until @until_ns of CLOCK_MONOTONIC; false when the time is over. */
static bool wait_until(struct writer *w, pthread_cond_t *cond, uint64_t until_ns)
{
	struct timespec until = {
		.tv_sec = until_ns / NSEC_PER_SEC,
		.tv_nsec = until_ns % NSEC_PER_SEC,
	};

	return pthread_cond_timedwait(cond, &w->lock, &until) != ETIMEDOUT;
}

/*
 * With the lock held: waits for work. While events keep coming a file is written at most every 50 ms:
 * waking this thread for each round of the reader would cost more than the events do. It then sleeps
 * before there is work, so that its timer is all that wakes it; what comes after a pause is written at once.
 */
static void wait_for_work(struct writer *w)
{
	while (w->steady && !urgent(w) && wait_until(w, &w->work, w->nap_until))
		;
	w->waiting = true;
	while (!w->head && !called(w)) {
		if (w->usual.n <= SPARE_BLOCKS && !w->large.n)
			pthread_cond_wait(&w->work, &w->lock);
		else if (!wait_until(w, &w->work, w->look_at))
			spares_trim(w);
	}
	w->waiting = false;
}

/* With the lock held: something was written just now. */
static void nap_begin(struct writer *w)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	w->steady = w->regular && now < w->nap_until + NAP_NS;
	w->nap_until = w->regular ? now + NAP_NS : 0;
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		bool reopen = w->reopen;
		struct block *b;

		if (w->give_up) {
			drop_queue(w);
			continue;
		}
		if (!w->head && !reopen) {
			wait_for_work(w);
			continue;
		}
		w->reopen = false;
		b = dequeue(w);
		w->busy = true;
		pthread_mutex_unlock(&w->lock);

		keep_house(w, reopen);
		if (b)
			write_block(w, b);

		pthread_mutex_lock(&w->lock);
		w->busy = false;
		w->progress++;
		nap_begin(w);
		if (b)
			retire(w, b);
		spares_trim(w);
		pthread_cond_broadcast(&w->done);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- for the reader's thread ---- */

/*
 * With the lock held: lets the thread catch up when it writes slower than events come. Waiting moves
 * them from the queue to the ring, which is why it ends soon, and at once when nothing is written.
 */
static void let_catch_up(struct writer *w)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), now = begin, before;

	while (w->queued_bytes > w->opt.queue_bytes / 2 && now - begin < w->patience) {
		before = w->progress;
		if (!wait_until(w, &w->done, now + PROGRESS_NS) && w->progress == before)
			w->patience = 0;
		now = clock_ns(CLOCK_MONOTONIC);
	}
	w->patience -= MIN(w->patience, now - begin);
}

/* With the lock held: hands the current block over, or drops it. True: the thread is to be woken. */
static bool queue_locked(struct writer *w)
{
	struct block *b = w->current;
	size_t cost = block_cost(b);

	if (w->queued_bytes + cost > w->opt.queue_bytes) {
		size_t whole = last_line_end(b, b->written);

		w->torn |= whole < b->written;
		count_lines(w, b, whole, true);
		spare_put(w, TAKE_PTR(w->current));
		return false;
	}
	w->queued_bytes += cost;
	/* many small flushes behind a slow reader shall not queue many almost empty blocks */
	if (!w->tail || !block_merge(w->tail, b)) {
		w->current = NULL;
		b->next = NULL;
		if (w->tail)
			w->tail->next = b;
		else
			w->head = b;
		w->tail = b;
	}
	return w->waiting || urgent(w);
}

/* Without the lock, which a thread that is woken wants first of all. */
static void unlock_and_wake(struct writer *w, bool wake)
{
	pthread_mutex_unlock(&w->lock);
	if (wake)
		pthread_cond_signal(&w->work);
}

/*
 * With the lock held: a pipe, terminal or /dev/null that never blocks and that the thread is done with needs no
 * thread. True when nothing is left; what is, and any error, is for the thread.
 */
static bool write_directly(struct writer *w)
{
	struct block *b = w->current;
	ssize_t n;

	/* as long as the thread is busy, what the file is belongs to it */
	if (w->opt.threaded || w->head || w->busy || w->give_up || w->regular ||
	    w->chunk != SIZE_MAX || w->torn || w->closed || w->failing)
		return false;
	n = write(w->fd, b->text.data, b->text.len);
	if (n > 0)
		b->written = n;
	if (b->written < b->text.len)
		return false;
	count_lines(w, b, b->text.len, false);
	block_empty(b);
	block_fit(b);
	return true;
}

/* The current block is full. */
static void finish_current(struct writer *w)
{
	bool wake = false;

	pthread_mutex_lock(&w->lock);
	if (!write_directly(w)) {
		if (w->queued_bytes > w->opt.queue_bytes / 2)
			let_catch_up(w);
		wake = queue_locked(w);
	}
	unlock_and_wake(w, wake);
}

/* An empty block for a line of @len bytes; NULL without memory. */
static struct block *block_get(struct writer *w, size_t len)
{
	struct block *b;

	pthread_mutex_lock(&w->lock);
	b = spare_take(w, len);
	pthread_mutex_unlock(&w->lock);
	return b ? b : block_new(len);
}

/* The current block, if there is one, is empty, and not the right one. */
static void replace_current(struct writer *w, struct block *b)
{
	pthread_mutex_lock(&w->lock);
	if (w->current)
		spare_put(w, w->current);
	w->current = b;
	pthread_mutex_unlock(&w->lock);
}

/* The last line has outgrown the block: lines before it are not to wait, or to be dropped, for its sake. */
static void move_last_line(struct writer *w)
{
	struct block *b = w->current, *own;
	size_t start = last_line(b), len = b->text.len - start;

	own = block_get(w, len);
	if (!own)
		return;
	buf_add(&own->text, b->text.data + start, len);
	block_line(own, b->lines[b->n_lines - 1].type);
	b->text.len = start;
	b->n_lines--;
	finish_current(w);
	replace_current(w, own);
}

struct buf *writer_begin(struct writer *w, size_t expected)
{
	if (w->current && block_room(w->current, expected))
		return &w->current->text;
	if (w->current && w->current->n_lines)
		finish_current(w);
	if (!w->current || w->current->limit < expected)
		replace_current(w, block_get(w, expected));
	return w->current ? &w->current->text : NULL;
}

void writer_end(struct writer *w, unsigned type)
{
	struct block *b = w->current;

	if (!block_line(b, type))
		writer_drop(w, type);
	else if (b->text.len > b->limit && b->n_lines > 1)
		move_last_line(w);
}

void writer_append(struct writer *w, unsigned type, const char *line, size_t len)
{
	struct buf *b = writer_begin(w, len);

	if (!b) {
		writer_drop(w, type);
		return;
	}
	buf_add(b, line, len);
	writer_end(w, type);
}

void writer_drop(struct writer *w, unsigned type)
{
	pthread_mutex_lock(&w->lock);
	w->counts.dropped[type]++;
	pthread_mutex_unlock(&w->lock);
}

void writer_flush(struct writer *w)
{
	if (!w->current || !w->current->n_lines)
		return;
	pthread_mutex_lock(&w->lock);
	w->patience = PATIENCE_NS;
	unlock_and_wake(w, !write_directly(w) && queue_locked(w));
}

/* With the lock held: waits until the thread is idle or moves on. False when @ms saw no progress. */
static bool wait_done(struct writer *w, unsigned ms)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ms * NSEC_PER_MSEC;
	uint64_t before = w->progress;

	while ((w->head || w->busy || w->give_up) && w->progress == before) {
		if (!wait_until(w, &w->done, until))
			return w->progress != before;
	}
	return true;
}

/* With the lock held: the thread leaves the pipe alone and counts what is left as dropped. */
static void give_up(struct writer *w)
{
	w->give_up = true;
	eventfd_write(w->wake_fd, 1);
	pthread_cond_signal(&w->work);
	/* a file that hangs (a network that is gone) cannot be left: then this ends by the clock */
	while (w->head || w->busy || w->give_up) {
		if (!wait_done(w, GIVE_UP_MS))
			break;
	}
}

bool writer_sync(struct writer *w, unsigned stall_ms)
{
	bool ok = true;

	writer_flush(w);
	pthread_mutex_lock(&w->lock);
	w->syncing = true;
	pthread_cond_signal(&w->work);
	while (ok && (w->head || w->busy))
		ok = wait_done(w, stall_ms);
	if (!ok)
		give_up(w);
	w->syncing = false;
	pthread_mutex_unlock(&w->lock);
	return ok;
}

void writer_trim(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	if (w->current && !w->current->n_lines)
		spare_put(w, TAKE_PTR(w->current));
	spares_free(&w->usual);
	spares_free(&w->large);
	pthread_mutex_unlock(&w->lock);
}

void writer_reopen(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	w->reopen = true;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
}

bool writer_is_regular(const struct writer *w)
{
	return w->regular;
}

void writer_counts(struct writer *w, struct writer_counts *ret)
{
	pthread_mutex_lock(&w->lock);
	*ret = w->counts;
	pthread_mutex_unlock(&w->lock);
}

/* Signals are for the main thread: block them while the writer's thread is made. */
static int start_thread(struct writer *w)
{
	pthread_condattr_t attr;
	sigset_t all, old;
	int r;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, &attr);
	pthread_cond_init(&w->done, &attr);
	pthread_condattr_destroy(&attr);

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, NULL, writer_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

static int open_output(struct writer *w, struct err *e)
{
	int fd, r;

	if (w->opt.path) {
		w->path = strdup(w->opt.path);
		if (!w->path)
			return -ENOMEM;
		/* who keeps old files keeps the one of the run before */
		r = priv_output_open(w->path, !w->opt.rotate_bytes, &fd, e);
	} else {
		r = open_stdout(&fd, e);
	}
	if (r < 0)
		return r;
	adopt_fd(w, fd);
	return w->path && w->opt.rotate_bytes && w->size ? begin_next(w, e) : 0;
}

/* Without its thread. */
static void writer_release(struct writer *w)
{
	/* a process that was forked meanwhile may have a copy of the descriptor */
	if (w->path)
		flock(w->fd, LOCK_UN);
	free_blocks(w->head);
	spares_free(&w->usual);
	spares_free(&w->large);
	block_free(w->current);
	closep(&w->wake_fd);
	closep(&w->fd);
	free(w->path);
	free(w);
}

static void writer_releasep(struct writer **w)
{
	if (*w)
		writer_release(*w);
}

int writer_open(const struct writer_options *opt, struct writer **ret, struct err *e)
{
	_cleanup_(writer_releasep) struct writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->opt = *opt;
	w->fd = -1;
	if (!w->opt.queue_bytes)
		w->opt.queue_bytes = QUEUE_DEFAULT;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0)
		return err_set(e, -errno, "cannot make an eventfd: %s", strerror(errno));

	r = open_output(w, e);
	if (r < 0)
		return r;

	r = start_thread(w);
	if (r < 0)
		return err_set(e, r, "cannot start the writer's thread: %s", strerror(-r));
	*ret = TAKE_PTR(w);
	return 0;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	eventfd_write(w->wake_fd, 1);
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	writer_release(w);
}
