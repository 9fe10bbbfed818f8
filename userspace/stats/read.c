/* SPDX-License-Identifier: MIT */
#include "stats/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "stats/lines.h"

#define BLOCK      (256U << 10)
#define LINE_BYTES (8U << 20)
#define PEEK       (64U << 10) /* the first time stands there */

/* A line of this length shows which event it is. */
#define HEAD 4096

/* ---- bytes of a file, decompressed ---- */

struct input {
	int fd;
	bool gzip, zstd;
	bool inside; /* a compressed part has begun and not ended */
	bool broken; /* it is damaged */
	bool eof;
	z_stream z;
	ZSTD_DCtx *d;
	size_t left; /* in @raw, not decompressed yet */
	const unsigned char *next;
	unsigned char raw[65536];
};

static void input_free(struct input *in)
{
	if (!in)
		return;
	if (in->gzip)
		inflateEnd(&in->z);
	ZSTD_freeDCtx(in->d);
	if (in->fd > STDIN_FILENO)
		close(in->fd);
	free(in);
}
DEFINE_FREEP(struct input *, input_free);

static ssize_t read_fd(int fd, void *p, size_t n)
{
	ssize_t got;

	do
		got = read(fd, p, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* More compressed bytes, when there are none left. */
static int refill(struct input *in)
{
	ssize_t got;

	if (in->left || in->eof)
		return 0;
	got = read_fd(in->fd, in->raw, sizeof(in->raw));
	if (got < 0)
		return (int)got;
	in->eof = got == 0;
	in->left = (size_t)got;
	in->next = in->raw;
	return 0;
}

/* Members of one file may follow one another, as `cat a.gz b.gz` makes them. */
static size_t inflate_some(struct input *in, void *p, size_t n)
{
	int r;

	in->z.next_in = (unsigned char *)in->next;
	in->z.avail_in = (uInt)in->left;
	in->z.next_out = p;
	in->z.avail_out = (uInt)n;
	r = inflate(&in->z, Z_NO_FLUSH);
	in->next = in->z.next_in;
	in->left = in->z.avail_in;
	in->inside = r != Z_STREAM_END;
	if (r == Z_STREAM_END)
		inflateReset(&in->z);
	else if (r != Z_OK && r != Z_BUF_ERROR)
		in->broken = true;
	return n - in->z.avail_out;
}

static size_t unzstd_some(struct input *in, void *p, size_t n)
{
	ZSTD_inBuffer from = {in->next, in->left, 0};
	ZSTD_outBuffer to = {p, n, 0};
	size_t r = ZSTD_decompressStream(in->d, &to, &from);

	in->next += from.pos;
	in->left -= from.pos;
	in->inside = r != 0;
	if (ZSTD_isError(r))
		in->broken = true;
	return to.pos;
}

static ssize_t read_plain(struct input *in, void *p, size_t n)
{
	size_t got = MIN(in->left, n);

	if (!got)
		return in->eof ? 0 : read_fd(in->fd, p, n);
	memcpy(p, in->next, got);
	in->next += got;
	in->left -= got;
	return (ssize_t)got;
}

/* How many bytes, 0 at the end. */
static ssize_t input_read(struct input *in, void *p, size_t n)
{
	if (!in->gzip && !in->zstd)
		return read_plain(in, p, n);
	while (!in->broken) {
		size_t got;
		int r = refill(in);

		if (r < 0)
			return r;
		if (in->eof && !in->left && !in->inside)
			return 0;
		got = in->gzip ? inflate_some(in, p, n) : unzstd_some(in, p, n);
		if (got)
			return (ssize_t)got;
		if (in->eof && !in->left)
			return 0;
	}
	return 0;
}

static int begin_decompression(struct input *in)
{
	static const unsigned char gzip_magic[] = {0x1f, 0x8b},
				   zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};

	if (in->left >= 4 && !memcmp(in->raw, zstd_magic, 4)) {
		in->d = ZSTD_createDCtx();
		in->zstd = true;
		return in->d ? 0 : -ENOMEM;
	}
	if (in->left >= 2 && !memcmp(in->raw, gzip_magic, 2)) {
		if (inflateInit2(&in->z, 15 + 16) != Z_OK)
			return -ENOMEM;
		in->gzip = true;
	}
	return 0;
}

/* The first bytes tell how it is compressed; a pipe may give them one by one. */
static int read_magic(struct input *in)
{
	while (in->left < 4 && !in->eof) {
		ssize_t got = read_fd(in->fd, in->raw + in->left, sizeof(in->raw) - in->left);

		if (got < 0)
			return (int)got;
		in->eof = got == 0;
		in->left += (size_t)got;
	}
	in->next = in->raw;
	return begin_decompression(in);
}

static int input_open(const char *path, struct input **ret, struct err *e)
{
	_cleanup_(input_freep) struct input *in = calloc(1, sizeof(*in));
	struct stat st;
	int r;

	if (!in)
		return -ENOMEM;
	in->fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : STDIN_FILENO;
	if (in->fd < 0)
		return err_set(e, -errno, "cannot read '%s': %s", path, strerror(errno));
	if (fstat(in->fd, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(e, -EISDIR, "'%s' is a directory; name the recordings in it", path);
	r = read_magic(in);
	if (r < 0)
		return err_set(e, r, "cannot read '%s': %s", path, strerror(-r));
	*ret = TAKE_PTR(in);
	return 0;
}

/* ---- lines ---- */

struct reader {
	struct lines lines;
	struct stats_input *input;
	char *data;
	size_t len, cap;
	bool passing; /* the rest of a line that is too long goes */
};

static int one_line(struct reader *r, const char *p, size_t n)
{
	int event;

	r->input->lines++;
	event = lines_add(&r->lines, p, n);
	if (event < 0)
		return event;
	if (event == SCAN_EV_BAD) {
		if (!r->input->bad++)
			r->input->first_bad = r->input->lines;
	} else if (event != SCAN_EV_NONE) {
		r->input->used++;
	}
	return 0;
}

/* All whole lines; what is left of the last one moves to the front. */
static int take_lines(struct reader *r, size_t from)
{
	size_t begin = 0;
	char *end;

	while ((end = memchr(r->data + from, '\n', r->len - from))) {
		size_t at = (size_t)(end - r->data);
		int failed = 0;

		if (r->passing)
			r->passing = false;
		else
			failed = one_line(r, r->data + begin, at - begin);
		if (failed < 0)
			return failed;
		begin = from = at + 1;
	}
	r->len -= begin;
	memmove(r->data, r->data + begin, r->len);
	return 0;
}

/* Half a line that fills the buffer: is it one that is wanted? */
static int make_room(struct reader *r)
{
	struct scan m;
	char *more;

	if (r->passing) {
		r->len = 0;
		return 0;
	}
	if (scan_line(r->data, MIN(r->len, (size_t)HEAD), &m) == SCAN_EV_NONE ||
	    r->cap >= LINE_BYTES) {
		r->input->lines++;
		r->input->long_lines += r->cap >= LINE_BYTES;
		r->passing = true;
		r->len = 0;
		return 0;
	}
	more = realloc(r->data, 2 * r->cap + SCAN_SLACK);
	if (!more)
		return -ENOMEM;
	r->data = more;
	r->cap *= 2;
	return 0;
}

static int read_lines(struct reader *r, struct input *in)
{
	for (;;) {
		size_t from = r->len;
		ssize_t got;
		int failed = 0;

		if (r->len == r->cap)
			failed = make_room(r);
		if (failed < 0)
			return failed;
		from = MIN(from, r->len);
		got = input_read(in, r->data + r->len, r->cap - r->len);
		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		r->input->bytes += (uint64_t)got;
		r->len += (size_t)got;
		failed = take_lines(r, from);
		if (failed < 0)
			return failed;
	}
	/* a last line without its end may be cut, or whole */
	if (r->len && !r->passing)
		return one_line(r, r->data, r->len);
	return 0;
}

static int reader_init(struct reader *r, struct stats *s, struct stats_input *input)
{
	scan_init();
	*r = (struct reader){.lines.stats = s, .input = input, .cap = BLOCK};
	/* the slack is read, so it shall be something */
	r->data = calloc(1, BLOCK + SCAN_SLACK);
	return r->data ? 0 : -ENOMEM;
}

static void reader_done(struct reader *r)
{
	buf_done(&r->lines.text);
	buf_done(&r->lines.path);
	free(r->data);
}

static int read_file(struct stats *s, const char *path, struct stats_input *input, struct err *e)
{
	_cleanup_(input_freep) struct input *in = NULL;
	_cleanup_(reader_done) struct reader r = {};
	int failed = input_open(path, &in, e);

	if (failed < 0)
		return failed;
	failed = reader_init(&r, s, input);
	if (failed < 0)
		return failed;
	failed = read_lines(&r, in);
	if (failed < 0)
		return err_set(e, failed, "cannot read '%s': %s", path, strerror(-failed));
	input->files++;
	/* at the end of a compressed file nothing may be missing */
	input->broken += in->broken || in->inside;
	return 0;
}

int stats_read_text(struct stats *s, const char *p, size_t n, struct stats_input *ret)
{
	_cleanup_(reader_done) struct reader r = {};
	int failed = reader_init(&r, s, ret);

	if (failed < 0)
		return failed;
	while (n) {
		size_t some, from;

		if (r.len == r.cap && (failed = make_room(&r)) < 0)
			return failed;
		from = r.len;
		some = MIN(n, r.cap - r.len);
		memcpy(r.data + r.len, p, some);
		r.len += some;
		p += some;
		n -= some;
		ret->bytes += some;
		failed = take_lines(&r, from);
		if (failed < 0)
			return failed;
	}
	if (r.len && !r.passing)
		failed = one_line(&r, r.data, r.len);
	ret->files++;
	stats_finish(s);
	return failed;
}

/* ---- the order of files ---- */

struct named {
	const char *path;
	uint64_t time; /* of the first line that has one */
	size_t place;  /* on the command line */
};

static uint64_t first_time(const char *path)
{
	_cleanup_(input_freep) struct input *in = NULL;
	_cleanup_(freep) char *text = calloc(1, PEEK + SCAN_SLACK);
	struct stat st;
	size_t len = 0;
	ssize_t got;

	/* what can be read only once is not looked into */
	if (!text || !strcmp(path, "-") || stat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
	    input_open(path, &in, NULL) < 0)
		return 0;
	while (len < PEEK && (got = input_read(in, text + len, PEEK - len)) > 0)
		len += (size_t)got;
	for (char *p = text, *end; p < text + len; p = end + 1) {
		uint64_t time;

		end = memchr(p, '\n', (size_t)(text + len - p));
		if (!end)
			end = text + len;
		time = lines_time(p, (size_t)(end - p));
		if (time)
			return time;
	}
	return 0;
}

/* Those without a time stay behind those with one. */
static int by_time(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	if (x->time != y->time)
		return x->time - 1 < y->time - 1 ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

int stats_read(struct stats *s, char *const *paths, size_t n, struct stats_input *ret,
	       struct err *e)
{
	_cleanup_(freep) struct named *files = calloc(n ? n : 1, sizeof(*files));
	int r = 0;

	if (!files)
		return -ENOMEM;
	scan_init();
	*ret = (struct stats_input){0};
	for (size_t i = 0; i < n; i++)
		files[i] = (struct named){paths[i], n > 1 ? first_time(paths[i]) : 0, i};
	qsort(files, n, sizeof(*files), by_time);
	for (size_t i = 0; i < n && r == 0; i++)
		r = read_file(s, files[i].path, ret, e);
	stats_finish(s);
	return r;
}
