/* SPDX-License-Identifier: MIT */
#include "sink/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define BLOCK_BYTES   (256U * 1024)
#define QUEUE_DEFAULT (32U << 20)

struct line {
	uint32_t end; /* offset in the block behind the line */
	uint16_t type;
};

struct block {
	struct block *next;
	size_t len, cap;
	size_t n_lines, cap_lines;
	struct line *lines;
	char *data;
};

struct writer {
	struct writer_options opt;
	char *path;
	int fd;
	bool regular;
	off_t size;	  /* of the regular file, always at the end of a line */
	bool failing;	  /* an error was reported and has not gone away yet */
	bool closed;	  /* nobody reads the pipe any more */
	struct block *current; /* belongs to the reader's thread */

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t done;
	struct block *head, *tail; /* queued */
	struct block *spare;	   /* one emptied block, to be used again */
	size_t queued_bytes;
	bool busy, stop, reopen;
	uint64_t progress; /* grows with every block that is finished */
	struct writer_counts counts;
};

DEFINE_FREEP(struct writer *, writer_free)

/* ---- blocks ---- */

static void block_free(struct block *b)
{
	if (!b)
		return;
	free(b->lines);
	free(b->data);
	free(b);
}

static struct block *block_new(size_t len)
{
	struct block *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->cap = MAX((size_t)BLOCK_BYTES, len);
	b->cap_lines = 1024;
	b->data = malloc(b->cap);
	b->lines = malloc(b->cap_lines * sizeof(*b->lines));
	if (!b->data || !b->lines) {
		block_free(b);
		return NULL;
	}
	return b;
}

static bool block_add(struct block *b, unsigned type, const char *line, size_t len)
{
	if (b->cap - b->len < len)
		return false;
	if (b->n_lines == b->cap_lines) {
		struct line *more = realloc(b->lines, 2 * b->cap_lines * sizeof(*more));

		if (!more)
			return false;
		b->lines = more;
		b->cap_lines *= 2;
	}
	memcpy(b->data + b->len, line, len);
	b->len += len;
	b->lines[b->n_lines++] = (struct line){b->len, type};
	return true;
}

/* ---- the file ---- */

/* Who called sudo shall own what it wrote. */
static void give_to_caller(int fd)
{
	const char *uid = getenv("SUDO_UID"), *gid = getenv("SUDO_GID");

	if (geteuid() != 0 || !uid || !gid)
		return;
	if (fchown(fd, strtoul(uid, NULL, 10), strtoul(gid, NULL, 10)) < 0)
		log_debug("cannot give the output to the caller: %s", strerror(errno));
}

static int open_file(const char *path, int extra_flags, int *ret_fd, struct err *e)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;

	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | extra_flags, 0600);
	if (fd < 0 && errno == ELOOP)
		return err_set(e, -ELOOP, "'%s' is a symbolic link; name the file itself", path);
	if (fd < 0 && errno == ENXIO)
		return err_set(e, -ENXIO, "nobody reads the named pipe '%s'", path);
	if (fd < 0)
		return err_set(e, -errno, "cannot write '%s': %s", path, strerror(errno));
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "cannot examine '%s': %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
		return err_set(e, -EINVAL, "'%s' is neither a file nor a pipe", path);
	/* opened non-blocking only so that a pipe without a reader does not hang the start */
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0)
		return err_set(e, -errno, "cannot set up '%s': %s", path, strerror(errno));
	if (S_ISREG(st.st_mode)) {
		if (st.st_nlink > 1)
			return err_set(e, -EMLINK, "'%s' has other hard links; name a new file",
				       path);
		if (fchmod(fd, 0600) < 0)
			log_warning("cannot make '%s' private: %s", path, strerror(errno));
		give_to_caller(fd);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void adopt_fd(struct writer *w, int fd)
{
	struct stat st;

	w->fd = fd;
	w->regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	w->size = w->regular ? lseek(fd, 0, SEEK_END) : 0;
}

/* path.1 is the newest old file; the oldest one goes. */
static void shift_old_files(const struct writer *w)
{
	char from[4096], to[4096];

	for (unsigned i = w->opt.rotate_keep; i > 0; i--) {
		snprintf(to, sizeof(to), "%s.%u", w->path, i);
		if (i > 1)
			snprintf(from, sizeof(from), "%s.%u", w->path, i - 1);
		else
			snprintf(from, sizeof(from), "%s", w->path);
		if (rename(from, to) < 0 && errno != ENOENT)
			log_warning("cannot rotate '%s': %s", from, strerror(errno));
	}
	if (!w->opt.rotate_keep && unlink(w->path) < 0)
		log_warning("cannot remove '%s': %s", w->path, strerror(errno));
}

static void open_anew(struct writer *w, int extra_flags)
{
	struct err e = {};
	int fd;

	if (open_file(w->path, extra_flags, &fd, &e) < 0) {
		log_warning("%s; going on with the file that is open", e.text);
		return;
	}
	close(w->fd);
	adopt_fd(w, fd);
}

/* ---- the thread ---- */

static void report_error(struct writer *w, int error)
{
	if (w->failing)
		return;
	w->failing = true;
	log_warning("cannot write %s: %s; events are dropped and counted until it can be written again",
		    w->path ? w->path : "the standard output", strerror(error));
}

/* Writes @len bytes; returns how many were written before an error, which goes to *ret_error. */
static size_t write_some(int fd, const char *p, size_t len, int *ret_error)
{
	size_t done = 0;

	*ret_error = 0;
	while (done < len) {
		ssize_t n = write(fd, p + done, len - done);

		if (n > 0) {
			done += n;
		} else if (n < 0 && errno != EINTR && errno != EAGAIN) {
			*ret_error = errno;
			break;
		} else if (n < 0 && errno == EAGAIN) {
			struct timespec nap = {.tv_nsec = 5000000};

			nanosleep(&nap, NULL); /* a shared terminal or pipe set non-blocking by another */
		}
	}
	return done;
}

/* Counts the lines that ended within @done bytes as delivered, the others as dropped. */
static void count_lines(struct writer *w, const struct block *b, size_t from, size_t done)
{
	for (size_t i = 0; i < b->n_lines; i++) {
		if (b->lines[i].end <= from)
			continue;
		if (b->lines[i].end <= done)
			w->counts.delivered[b->lines[i].type]++;
		else
			w->counts.dropped[b->lines[i].type]++;
	}
	w->counts.bytes += done - from;
}

static size_t last_line_end(const struct block *b, size_t done)
{
	size_t end = 0;

	for (size_t i = 0; i < b->n_lines && b->lines[i].end <= done; i++)
		end = b->lines[i].end;
	return end;
}

static void write_block(struct writer *w, const struct block *b)
{
	int error = 0;
	size_t done = w->closed ? 0 : write_some(w->fd, b->data, b->len, &error);

	if (done < b->len && w->regular) {
		/* the file ends with a whole line, whatever happens next */
		done = last_line_end(b, done);
		if (ftruncate(w->fd, w->size + done) < 0 || lseek(w->fd, w->size + done, SEEK_SET) < 0)
			log_debug("cannot take back half a line: %s", strerror(errno));
	}
	w->size += done;

	pthread_mutex_lock(&w->lock);
	count_lines(w, b, 0, done);
	pthread_mutex_unlock(&w->lock);

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

static void keep_house(struct writer *w, bool reopen)
{
	if (!w->path)
		return;
	if (reopen)
		open_anew(w, O_APPEND);
	if (w->regular && w->opt.rotate_bytes && (size_t)w->size >= w->opt.rotate_bytes) {
		shift_old_files(w);
		open_anew(w, O_TRUNC);
	}
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		struct block *b = w->head;
		bool reopen = w->reopen;

		if (!b && !reopen) {
			pthread_cond_wait(&w->work, &w->lock);
			continue;
		}
		w->reopen = false;
		if (b) {
			w->head = b->next;
			if (!w->head)
				w->tail = NULL;
		}
		w->busy = true;
		pthread_mutex_unlock(&w->lock);

		keep_house(w, reopen);
		if (b)
			write_block(w, b);

		pthread_mutex_lock(&w->lock);
		w->busy = false;
		w->progress++;
		if (b) {
			w->queued_bytes -= b->len;
			b->len = b->n_lines = 0;
			if (!w->spare && b->cap == BLOCK_BYTES)
				w->spare = b;
			else
				block_free(b);
		}
		pthread_cond_broadcast(&w->done);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- for the reader's thread ---- */

static void queue_current(struct writer *w)
{
	struct block *b = TAKE_PTR(w->current);

	pthread_mutex_lock(&w->lock);
	if (w->queued_bytes + b->len > w->opt.queue_bytes) {
		count_lines(w, b, 0, 0);
		pthread_mutex_unlock(&w->lock);
		block_free(b);
		return;
	}
	b->next = NULL;
	if (w->tail)
		w->tail->next = b;
	else
		w->head = b;
	w->tail = b;
	w->queued_bytes += b->len;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
}

static struct block *take_block(struct writer *w, size_t len)
{
	struct block *b = NULL;

	if (len <= BLOCK_BYTES) {
		pthread_mutex_lock(&w->lock);
		b = TAKE_PTR(w->spare);
		pthread_mutex_unlock(&w->lock);
	}
	return b ? b : block_new(len);
}

void writer_append(struct writer *w, unsigned type, const char *line, size_t len)
{
	if (w->current && block_add(w->current, type, line, len))
		return;
	if (w->current)
		queue_current(w);
	w->current = take_block(w, len);
	if (w->current && block_add(w->current, type, line, len))
		return;

	pthread_mutex_lock(&w->lock);
	w->counts.dropped[type]++;
	pthread_mutex_unlock(&w->lock);
}

void writer_flush(struct writer *w)
{
	if (w->current && w->current->len)
		queue_current(w);
}

bool writer_sync(struct writer *w, unsigned stall_ms)
{
	bool ok = true;

	writer_flush(w);
	pthread_mutex_lock(&w->lock);
	while (w->head || w->busy) {
		uint64_t before = w->progress;
		struct timespec until;
		int r;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += stall_ms / 1000;
		until.tv_nsec += stall_ms % 1000 * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000L;
		}
		r = pthread_cond_timedwait(&w->done, &w->lock, &until);
		if (r == ETIMEDOUT && w->progress == before) {
			ok = false;
			break;
		}
	}
	pthread_mutex_unlock(&w->lock);
	return ok;
}

void writer_reopen(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	w->reopen = true;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
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

int writer_open(const struct writer_options *opt, struct writer **ret, struct err *e)
{
	struct writer *w = calloc(1, sizeof(*w));
	int fd, r;

	if (!w)
		return -ENOMEM;
	w->opt = *opt;
	if (!w->opt.queue_bytes)
		w->opt.queue_bytes = QUEUE_DEFAULT;
	if (opt->path) {
		r = open_file(opt->path, O_TRUNC, &fd, e);
		w->path = strdup(opt->path);
		if (r >= 0 && !w->path)
			r = -ENOMEM;
	} else {
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		r = fd < 0 ? err_set(e, -errno, "the standard output is closed") : 0;
	}
	if (r < 0) {
		free(w->path);
		free(w);
		return r;
	}
	adopt_fd(w, fd);

	r = start_thread(w);
	if (r < 0) {
		close(w->fd);
		free(w->path);
		free(w);
		return err_set(e, r, "cannot start the writer's thread: %s", strerror(-r));
	}
	*ret = w;
	return 0;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	if (w->busy)
		pthread_cancel(w->thread); /* it hangs in write(): the pipe is not read */
	pthread_join(w->thread, NULL);

	for (struct block *b = w->head, *next; b; b = next) {
		next = b->next;
		block_free(b);
	}
	block_free(w->current);
	block_free(w->spare);
	close(w->fd);
	free(w->path);
	free(w);
}
