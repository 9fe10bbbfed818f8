/* SPDX-License-Identifier: MIT */
/*
 * A chain of decoders, the encoding that was applied last first. Each hands its output to the next one and
 * the last to the caller; an error anywhere ends the whole chain, with what came out before it kept.
 */
#include "http/body.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/cleanup.h"

#define OUTPUT_DEFAULT (16ULL << 20)
#define RATIO_DEFAULT  256
#define RATIO_FLOOR    (256ULL << 10) /* so much may come of next to nothing */
#define RATIO_STEP     1024 /* in which what is consumed is counted, wherever calls cut it */
#define WINDOW_DEFAULT 23
#define BR_BEYOND      1024 /* what its window has besides */
#define PIECE          16384
#define Z_MEMORY       (48U << 10)  /* zlib's state, and its window of 32 KiB */
#define ZSTD_MEMORY    (256U << 10) /* what zstd touches besides its window */

static const char out_of_memory[] = "out of memory";
static const char trailing[] = "bytes behind the end of the compressed body";

struct layer;

/* Results: 0, or -EBADMSG with `error` of the decoder set. */
struct coding {
	const char *names[3];
	int (*open)(struct layer *l);
	int (*feed)(struct layer *l, const uint8_t *p, size_t n);
	void (*close)(struct layer *l);
	size_t (*memory)(const struct layer *l);
};

struct layer {
	struct body_decoder *owner;
	const struct coding *coding;
	uint64_t consumed, produced;
	bool opened;
	bool over;  /* at the end of a stream, or before its first byte: the body may end here */
	bool whole; /* at least one stream was */
	uint8_t peek[2]; /* deflate: the first bytes, until they show what it is */
	uint8_t n_peek;
	size_t allocated; /* br: bytes */
	union {
		z_stream z;
		BrotliDecoderState *brotli;
		ZSTD_DStream *zstd;
	};
	uint8_t *piece; /* what is decoded next */
};

struct body_decoder {
	struct body_limits limits;
	struct layer layers[BODY_ENCODINGS_MAX]; /* in the order of decoding */
	size_t n_layers;
	const char *error;
	bool stopped;
	body_out out;
	void *context;
};

static int stop(struct body_decoder *d, const char *why)
{
	d->error = why;
	d->stopped = true;
	return -EBADMSG;
}

static int layer_feed(struct layer *l, const uint8_t *p, size_t n);

/* To the next decoder, or out. */
static int pass_on(struct body_decoder *d, size_t next, const uint8_t *p, size_t n)
{
	if (n == 0)
		return 0;
	if (next < d->n_layers)
		return layer_feed(&d->layers[next], p, n);
	d->out(d->context, p, n);
	return 0;
}

static uint64_t ratio_max(const struct layer *l)
{
	uint64_t ratio = l->owner->limits.ratio;
	uint64_t consumed = (l->consumed + RATIO_STEP - 1) / RATIO_STEP * RATIO_STEP;

	if (consumed > UINT64_MAX / ratio)
		return UINT64_MAX;
	return MAX(RATIO_FLOOR, consumed * ratio);
}

/* @n bytes of l->piece were decoded. What is over a limit is not passed on. */
static int layer_emit(struct layer *l, size_t n)
{
	struct body_decoder *d = l->owner;
	/* of a chain, each layer may be in proportion while all of them are not */
	uint64_t ratio = MIN(ratio_max(l), ratio_max(&d->layers[0]));
	uint64_t max = MIN(d->limits.output, ratio);
	uint64_t room = max - MIN(max, l->produced);
	size_t next = (size_t)(l - d->layers) + 1;
	int r;

	l->produced += n;
	r = pass_on(d, next, l->piece, n <= room ? n : (size_t)room);
	if (r < 0 || n <= room)
		return r;
	return stop(d, max == d->limits.output
			       ? "larger than the limit: not decoded any further"
			       : "expands out of proportion: not decoded any further");
}

/* ---- gzip and deflate ---- */

static int z_open(struct layer *l, int window_bits)
{
	l->z = (z_stream){0};
	return inflateInit2(&l->z, window_bits) == Z_OK ? 0 : stop(l->owner, out_of_memory);
}

static int gzip_open(struct layer *l)
{
	return z_open(l, 16 + MAX_WBITS);
}

static const char *z_error(int r)
{
	switch (r) {
	case Z_NEED_DICT:
		return "compressed with a dictionary";
	case Z_MEM_ERROR:
		return out_of_memory;
	default:
		return "not valid as gzip or deflate";
	}
}

/* Until all of @p is decoded, or a stream ends. */
static int z_run(struct layer *l, const uint8_t *p, size_t n, size_t *used)
{
	int r, status;

	l->z.next_in = (Bytef *)p;
	l->z.avail_in = (uInt)n;
	do {
		l->z.next_out = l->piece;
		l->z.avail_out = PIECE;
		status = inflate(&l->z, Z_SYNC_FLUSH);
		*used = n - l->z.avail_in;
		if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
			layer_emit(l, PIECE - l->z.avail_out);
			return stop(l->owner, z_error(status));
		}
		r = layer_emit(l, PIECE - l->z.avail_out);
		if (r < 0)
			return r;
	} while (status != Z_STREAM_END && l->z.avail_out == 0);
	l->over = status == Z_STREAM_END;
	l->whole |= l->over;
	return 0;
}

/* A file may hold several; what follows them and is none is not theirs to judge. */
static int gzip_feed(struct layer *l, const uint8_t *p, size_t n)
{
	int r = 0;

	while (n > 0 && r == 0) {
		size_t used;

		if (l->whole && l->over) {
			if (p[0] != 0x1f)
				return stop(l->owner, trailing);
			inflateReset(&l->z);
		}
		r = z_run(l, p, n, &used);
		p += used;
		n -= used;
	}
	return r;
}

/*
 * RFC 9110 says zlib's format, some servers send the bare one. zlib's header is a multiple of 31, and as a
 * bare stream would begin with a stored block whose padding is not zero.
 */
static int deflate_choose(struct layer *l)
{
	const uint8_t *b = l->peek;
	bool zlib = (b[0] & 0x0f) == Z_DEFLATED && b[0] >> 4 <= 7 && (b[0] << 8 | b[1]) % 31 == 0;

	return z_open(l, zlib ? MAX_WBITS : -MAX_WBITS);
}

static int deflate_run(struct layer *l, const uint8_t *p, size_t n)
{
	size_t used = 0;
	int r = 0;

	if (n > 0 && !l->whole)
		r = z_run(l, p, n, &used);
	if (r == 0 && used < n)
		r = stop(l->owner, trailing);
	return r;
}

static int deflate_feed(struct layer *l, const uint8_t *p, size_t n)
{
	int r;

	for (; l->n_peek < sizeof(l->peek) && n > 0; n--)
		l->peek[l->n_peek++] = *p++;
	if (l->n_peek < sizeof(l->peek)) {
		l->over = false;
		return 0;
	}

	if (!l->z.state) {
		r = deflate_choose(l);
		if (r == 0)
			r = deflate_run(l, l->peek, sizeof(l->peek));
		if (r < 0)
			return r;
	}
	return deflate_run(l, p, n);
}

static int deflate_open(struct layer *l)
{
	l->z = (z_stream){0};
	return 0;
}

static void z_close(struct layer *l)
{
	inflateEnd(&l->z);
}

static size_t z_memory(const struct layer *l)
{
	return Z_MEMORY;
}

/* ---- br ---- */

/*
 * Its window may be of 16 MiB, and is as large as what was decoded needs it to be. So a body that is small
 * comes out whatever its sender announced; a larger one asks for the memory, and gets no more than others.
 */
static void *br_alloc(void *layer, size_t n)
{
	struct layer *l = layer;
	size_t most = ((size_t)1 << l->owner->limits.window_bits) + BR_BEYOND;
	void *p = n <= most ? malloc(n) : NULL;

	l->allocated += malloc_usable_size(p);
	return p;
}

static void br_release(void *layer, void *p)
{
	struct layer *l = layer;

	l->allocated -= malloc_usable_size(p);
	free(p);
}

static bool br_window_refused(const struct layer *l)
{
	BrotliDecoderErrorCode e = BrotliDecoderGetErrorCode(l->brotli);

	return e == BROTLI_DECODER_ERROR_ALLOC_RING_BUFFER_1 ||
	       e == BROTLI_DECODER_ERROR_ALLOC_RING_BUFFER_2;
}

static int br_open(struct layer *l)
{
	/* Windows over 16 MiB, "large windows", are refused unless they are asked for. */
	l->brotli = BrotliDecoderCreateInstance(br_alloc, br_release, l);
	return l->brotli ? 0 : stop(l->owner, out_of_memory);
}

static int br_feed(struct layer *l, const uint8_t *p, size_t n)
{
	BrotliDecoderResult status;

	if (l->whole)
		return stop(l->owner, trailing);
	do {
		uint8_t *out = l->piece;
		size_t room = PIECE;
		int r;

		status = BrotliDecoderDecompressStream(l->brotli, &n, &p, &room, &out, NULL);
		r = layer_emit(l, PIECE - room);
		if (r < 0)
			return r;
	} while (status == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT);

	if (status == BROTLI_DECODER_RESULT_ERROR)
		return stop(l->owner, br_window_refused(l) ? "br window larger than the limit"
							   : "not valid as br");
	l->over = l->whole = status == BROTLI_DECODER_RESULT_SUCCESS;
	return l->over && n > 0 ? stop(l->owner, trailing) : 0;
}

static void br_close(struct layer *l)
{
	BrotliDecoderDestroyInstance(l->brotli);
}

static size_t br_memory(const struct layer *l)
{
	return l->allocated;
}

/* ---- zstd ---- */

static int zstd_open(struct layer *l)
{
	l->zstd = ZSTD_createDStream();
	if (!l->zstd)
		return stop(l->owner, out_of_memory);
	ZSTD_DCtx_setParameter(l->zstd, ZSTD_d_windowLogMax, (int)l->owner->limits.window_bits);
	return 0;
}

static const char *zstd_error(size_t code)
{
	if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge)
		return "zstd window larger than the limit";
	return "not valid as zstd";
}

/*
 * A frame, or one to be skipped. The library may also have the decoders of the formats that came before the
 * standard, which nobody sends in good faith.
 */
static bool zstd_frame_begins(uint8_t first)
{
	return first == 0x28 || (first & 0xf0) == 0x50;
}

static int zstd_feed(struct layer *l, const uint8_t *p, size_t n)
{
	ZSTD_inBuffer in = {.src = p, .size = n};
	ZSTD_outBuffer out;

	/* As long as there is input, or output that did not fit. */
	do {
		size_t left;
		int r;

		if (l->over && in.pos < in.size && !zstd_frame_begins(p[in.pos]))
			return stop(l->owner, "not valid as zstd");
		out = (ZSTD_outBuffer){.dst = l->piece, .size = PIECE};
		left = ZSTD_decompressStream(l->zstd, &out, &in);
		r = layer_emit(l, out.pos);
		if (r < 0)
			return r;
		if (ZSTD_isError(left))
			return stop(l->owner, zstd_error(left));
		l->over = left == 0;
	} while (in.pos < in.size || (out.pos == out.size && !l->over));
	return 0;
}

static void zstd_close(struct layer *l)
{
	ZSTD_freeDStream(l->zstd);
}

/* It asks for its whole window at once, and writes to no more of it than was decoded. */
static size_t zstd_memory(const struct layer *l)
{
	return (size_t)MIN((uint64_t)ZSTD_sizeof_DStream(l->zstd), ZSTD_MEMORY + l->produced);
}

/* ---- chains ---- */

static const struct coding codings[] = {
	{{"gzip", "x-gzip", NULL}, gzip_open, gzip_feed, z_close, z_memory},
	{{"deflate", NULL, NULL}, deflate_open, deflate_feed, z_close, z_memory},
	{{"br", NULL, NULL}, br_open, br_feed, br_close, br_memory},
	{{"zstd", NULL, NULL}, zstd_open, zstd_feed, zstd_close, zstd_memory},
};

static int layer_open(struct layer *l)
{
	int r;

	l->piece = malloc(PIECE);
	if (!l->piece)
		return stop(l->owner, out_of_memory);
	r = l->coding->open(l);
	l->opened = r == 0;
	return r;
}

static int layer_feed(struct layer *l, const uint8_t *p, size_t n)
{
	int r = 0;

	if (!l->opened)
		r = layer_open(l);
	if (r < 0)
		return r;

	/* Lengths inside zlib are of 32 bits; and what is consumed limits what may be produced. */
	while (n > 0 && r == 0) {
		size_t take = MIN(n, RATIO_STEP - (size_t)(l->consumed % RATIO_STEP));

		l->consumed += take;
		r = l->coding->feed(l, p, take);
		p += take;
		n -= take;
	}
	return r;
}

static const struct coding *coding_find(struct http_text t)
{
	for (size_t i = 0; i < ARRAY_SIZE(codings); i++)
		for (size_t k = 0; codings[i].names[k]; k++)
			if (http_text_is(t, codings[i].names[k]))
				return &codings[i];
	return NULL;
}

static struct http_text trimmed(struct http_text t)
{
	while (t.len && (t.p[0] == ' ' || t.p[0] == '\t'))
		t = (struct http_text){t.p + 1, t.len - 1};
	while (t.len && (t.p[t.len - 1] == ' ' || t.p[t.len - 1] == '\t'))
		t.len--;
	return t;
}

/* Cuts the last element off a list. */
static struct http_text list_pop(struct http_text *list)
{
	const char *comma = list->len ? memrchr(list->p, ',', list->len) : NULL;
	struct http_text last = *list;

	if (!comma) {
		*list = (struct http_text){"", 0};
		return trimmed(last);
	}
	last = (struct http_text){comma + 1, (size_t)(list->p + list->len - comma - 1)};
	list->len = (size_t)(comma - list->p);
	return trimmed(last);
}

static void chain_make(struct body_decoder *d, struct http_text list)
{
	while (list.len > 0) {
		struct http_text name = list_pop(&list);
		const struct coding *coding = coding_find(name);

		if (name.len == 0 || http_text_is(name, "identity"))
			continue;
		if (!coding)
			d->error = "unknown content encoding: not decoded";
		else if (d->n_layers == BODY_ENCODINGS_MAX)
			d->error = "too many content encodings: not all decoded";
		if (d->error)
			return;
		d->layers[d->n_layers++] =
			(struct layer){.owner = d, .coding = coding, .over = true};
	}
}

int body_decoder_new(struct http_text content_encoding, const struct body_limits *limits,
		     struct body_decoder **ret)
{
	struct body_decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	if (limits)
		d->limits = *limits;
	if (!d->limits.output)
		d->limits.output = OUTPUT_DEFAULT;
	if (!d->limits.ratio)
		d->limits.ratio = RATIO_DEFAULT;
	if (!d->limits.window_bits)
		d->limits.window_bits = WINDOW_DEFAULT;
	chain_make(d, content_encoding);
	*ret = d;
	return 0;
}

int body_decoder_feed(struct body_decoder *d, const void *p, size_t n, body_out out, void *context)
{
	if (d->stopped)
		return -EBADMSG;
	d->out = out;
	d->context = context;
	return pass_on(d, 0, p, n);
}

int body_decoder_finish(struct body_decoder *d)
{
	if (d->stopped)
		return -EBADMSG;
	for (size_t i = 0; i < d->n_layers; i++)
		if (!d->layers[i].over)
			return stop(d, "ends in the middle of the compressed body");
	return 0;
}

const char *body_decoder_error(const struct body_decoder *d)
{
	return d->error;
}

size_t body_decoder_memory(const struct body_decoder *d)
{
	size_t n = sizeof(*d);

	for (size_t i = 0; i < d->n_layers; i++) {
		const struct layer *l = &d->layers[i];

		if (l->opened)
			n += PIECE + l->coding->memory(l);
	}
	return n;
}

void body_decoder_free(struct body_decoder *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_layers; i++) {
		if (d->layers[i].opened)
			d->layers[i].coding->close(&d->layers[i]);
		free(d->layers[i].piece);
	}
	free(d);
}
