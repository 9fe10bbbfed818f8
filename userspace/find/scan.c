/* SPDX-License-Identifier: MIT */
/*
 * Passes at the speed of memory: SSE2 finds the few places worth a second look, 16 at a time. On a machine
 * without SSE2 each place is looked at.
 */
#include "find/scan.h"
#include "find/sorted.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define STEP         16
#define OVERLAP      256         /* longest anchor or table, and room for a 16-byte load */
#define PATH_MAX_    512         /* a path is searched for its begin this far */
#define WRITABLE_MAX (64U << 20) /* without RELRO, tables may lie in any small writable segment */
#define NEAR         (16U << 10) /* a function that reports an error is not longer than this */
#define GO_HEADER    0x08010000fffffff1ULL

/*
 * Every text contains "ssl" in some case or "/ae", at @skip. Where @whole, a NUL is to stand behind it; a path
 * may begin with anything and ends in what is accepted below.
 */
static const struct pattern {
	const char *text;
	uint8_t skip;
	bool whole;
} patterns[] = {
	[ANCHOR_SSL_LIB] = {"ssl/ssl_lib.c", 0, false},
	[ANCHOR_AEAD] = {"cipher/aead.c", 6, false},
	[ANCHOR_OPENSSL] = {"OpenSSL ", 4, false},
	[ANCHOR_READ] = {"ssl_read_internal", 0, true},
	[ANCHOR_WRITE] = {"ssl_write_internal", 0, true},
	[ANCHOR_HANDSHAKE] = {"SSL_do_handshake", 0, true},
	[ANCHOR_NSS] = {"NSS_SSL_ENABLE_RENEGOTIATION", 4, true},
};

struct anchor_pass {
	struct image *im;
	struct hits *ret;
	size_t looks;
};

static void hit_add(struct hits *hits, enum anchor a, uint64_t vaddr, const char *text)
{
	struct hit *h = &hits->of[a][hits->n[a]];

	if (hits->n[a] == HITS_MAX)
		return;
	for (size_t i = 0; i < hits->n[a]; i++) {
		if (hits->of[a][i].vaddr == vaddr)
			return;
	}
	h->vaddr = vaddr;
	strncpy(h->text, text, sizeof(h->text) - 1);
	hits->n[a]++;
}

/* A path in code is one that was compiled: ".c", ".cc" or ".cc.inc" ends it. */
static bool path_ends(const char *end)
{
	static const char *const ends[] = {"c", "cc", "cc.inc"};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (strcmp(end, ends[i]) == 0)
			return true;
	}
	return false;
}

/* The whole string around @vaddr: from behind the last byte that is not text to the NUL. */
static int string_around(struct image *im, uint64_t vaddr, size_t len, uint64_t *ret_start,
			 char *ret, size_t ret_size)
{
	uint64_t start = vaddr;
	char before[PATH_MAX_];
	size_t n = MIN(image_before(im, vaddr), (uint64_t)sizeof(before));
	ssize_t got;
	int r = n > 0 ? image_read(im, vaddr - n, before, n) : 0;

	if (r < 0)
		return r;
	while (n > 0 && before[n - 1] >= ' ' && before[n - 1] <= '~') {
		n--;
		start--;
	}

	len = MIN(ret_size - 1, (size_t)(vaddr - start) + len + 16);
	got = image_read_upto(im, start, ret, len);
	if (got < 0)
		return (int)got;
	ret[got] = '\0';
	*ret_start = start;
	return 0;
}

static int path_take(struct anchor_pass *p, enum anchor a, uint64_t vaddr)
{
	size_t len = strlen(patterns[a].text);
	char text[PATH_MAX_ + 64], *at;
	uint64_t start = 0;
	int r = string_around(p->im, vaddr, len, &start, text, sizeof(text));

	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	at = text + (vaddr - start);
	if (strlen(text) < (size_t)(at - text) + len || !path_ends(at + len - 1))
		return 0;

	/* What libraries are told apart by stands before the last parts of the path. */
	*at = '\0';
	if (strlen(text) < TEXT_MAX)
		hit_add(p->ret, a, start, text);
	return 0;
}

static int text_take(struct anchor_pass *p, enum anchor a, uint64_t vaddr, const uint8_t *at,
		     size_t left)
{
	size_t len = strlen(patterns[a].text);
	char text[TEXT_MAX] = "";

	if (!patterns[a].whole && a != ANCHOR_OPENSSL)
		return path_take(p, a, vaddr);
	if (patterns[a].whole && (left <= len || at[len] != '\0'))
		return 0;
	if (a == ANCHOR_OPENSSL && (left <= len || at[len] < '0' || at[len] > '9'))
		return 0;

	memcpy(text, at, MIN(sizeof(text) - 1, left));
	hit_add(p->ret, a, vaddr, text);
	return 0;
}

/* @at is the NUL before "3.": a string that is nothing but a version, of one digit in the middle. */
static void version_take(struct anchor_pass *p, uint64_t vaddr, const uint8_t *at, size_t left)
{
	char text[16] = "";
	size_t n;

	memcpy(text, at + 1, MIN(sizeof(text) - 1, left - 1));
	n = strspn(text + 2, "0123456789");
	if (n != 1 || text[3] != '.')
		return;
	n = strspn(text + 4, "0123456789");
	if (n > 0 && n < 4 && 4 + n + 1 < left && text[4 + n] == '\0')
		hit_add(p->ret, ANCHOR_VERSION, vaddr + 1, text);
}

/* @at is where "ssl" or "/ae" stands; which text is it in? */
static int texts_take(struct anchor_pass *p, uint64_t vaddr, const uint8_t *bytes, size_t at,
		      size_t len)
{
	int r = 0;

	p->looks++;
	if (bytes[at] == '\0') {
		version_take(p, vaddr + at, bytes + at, len - at);
		return 0;
	}
	for (enum anchor a = 0; r == 0 && a < ARRAY_SIZE(patterns); a++) {
		size_t n = strlen(patterns[a].text), begin = at - patterns[a].skip;

		if (p->ret->n[a] < HITS_MAX && at >= patterns[a].skip && len - begin >= n &&
		    memcmp(bytes + begin, patterns[a].text, n) == 0)
			r = text_take(p, a, vaddr + begin, bytes + begin, len - begin);
	}
	return r;
}

static bool text_maybe(const uint8_t *p)
{
	return ((p[0] | 0x20) == 's' && (p[1] | 0x20) == 's' && (p[2] | 0x20) == 'l') ||
	       (p[0] == '/' && p[1] == 'a' && p[2] == 'e') ||
	       (p[0] == '\0' && p[1] == '3' && p[2] == '.');
}

/* Bit i: look again at byte i. Reads STEP + 2 bytes. */
static uint32_t texts_maybe(const uint8_t *p)
{
#ifdef __SSE2__
	__m128i lower = _mm_set1_epi8(0x20);
	__m128i a = _mm_loadu_si128((const __m128i *)p);
	__m128i b = _mm_loadu_si128((const __m128i *)(p + 1));
	__m128i c = _mm_loadu_si128((const __m128i *)(p + 2));
	__m128i s = _mm_set1_epi8('s');
	__m128i ssl = _mm_and_si128(_mm_and_si128(_mm_cmpeq_epi8(_mm_or_si128(a, lower), s),
						  _mm_cmpeq_epi8(_mm_or_si128(b, lower), s)),
				    _mm_cmpeq_epi8(_mm_or_si128(c, lower), _mm_set1_epi8('l')));
	__m128i ae = _mm_and_si128(_mm_and_si128(_mm_cmpeq_epi8(a, _mm_set1_epi8('/')),
						 _mm_cmpeq_epi8(b, _mm_set1_epi8('a'))),
				   _mm_cmpeq_epi8(c, _mm_set1_epi8('e')));
	__m128i version = _mm_and_si128(_mm_and_si128(_mm_cmpeq_epi8(a, _mm_setzero_si128()),
						      _mm_cmpeq_epi8(b, _mm_set1_epi8('3'))),
					_mm_cmpeq_epi8(c, _mm_set1_epi8('.')));

	return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(ssl, ae), version));
#else
	uint32_t mask = 0;

	for (int i = 0; i < STEP; i++)
		mask |= (uint32_t)text_maybe(p + i) << i;
	return mask;
#endif
}

static uint64_t load_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t load_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The pointers of a table are zero where relocations bring them, else they point to code. */
static bool ring_maybe(const struct anchor_pass *p, const uint8_t *table)
{
	for (size_t i = 0; i < 3; i++) {
		uint64_t pointer = load_u64(table + 8 * i);

		if (pointer != 0 && !image_in_text(p->im, pointer))
			return false;
	}
	return true;
}

/* Both are rare: Go's header, and key length and id of ring's AES-256-GCM. @before can be looked back at. */
static void word_take(struct anchor_pass *p, uint64_t vaddr, const uint8_t *at, size_t before,
		      size_t left)
{
	/* Magic, two zero bytes, the smallest instruction's length, the size of a pointer. */
	if (load_u64(at) != 32) {
		hit_add(p->ret, ANCHOR_GO, vaddr, "");
		return;
	}
	if (before >= RING_KEY_LEN && left >= 16 && load_u64(at + 8) == 1 &&
	    ring_maybe(p, at - RING_KEY_LEN))
		hit_add(p->ret, ANCHOR_RING, vaddr - RING_KEY_LEN, "");
}

/* A block's. */
static int looks_charge(struct image *im, size_t *looks)
{
	size_t n = *looks;

	*looks = 0;
	return image_looks(im, n);
}

static int anchors_block(void *userdata, uint64_t vaddr, const uint8_t *bytes, size_t fresh,
			 size_t len)
{
	struct anchor_pass *p = userdata;
	size_t at = 0;
	int r = 0;

	for (; r == 0 && at < fresh && at + STEP + 2 <= len; at += STEP) {
		uint32_t mask = texts_maybe(bytes + at);

		for (; r == 0 && mask; mask &= mask - 1)
			r = texts_take(p, vaddr, bytes, at + (size_t)__builtin_ctz(mask), len);
	}
	for (; r == 0 && at < fresh && at + 3 <= len; at++) {
		if (text_maybe(bytes + at))
			r = texts_take(p, vaddr, bytes, at, len);
	}

	/* To the end, not to @fresh: a table is looked at from its key length on. */
	for (at = -vaddr & 7; r == 0 && at + 8 <= len; at += 8) {
		uint64_t word = load_u64(bytes + at);

		if (word == 32 || (word | 1) == GO_HEADER) {
			word_take(p, vaddr + at, bytes + at, at, len - at);
			p->looks++;
		}
	}
	return r < 0 ? r : looks_charge(p->im, &p->looks);
}

/*
 * Old linkers put read-only data into the executable segment, together with the program headers; some make
 * only one segment at all.
 */
static bool data_in_text(const struct image_segment *segs, size_t n,
			 const struct image_segment *text)
{
	for (size_t i = 0; i < n; i++) {
		if (!(segs[i].flags & (PF_W | PF_X)))
			return text->offset == 0;
	}
	return true;
}

int scan_anchors(struct image *im, struct hits *ret)
{
	struct anchor_pass p = {.im = im, .ret = ret};
	const struct image_segment *segs;
	size_t n = image_segments(im, &segs);
	struct image_segment relro;
	bool has_relro = image_relro(im, &relro);
	int r = 0;

	*ret = (struct hits){};
	for (size_t i = 0; r == 0 && i < n; i++) {
		bool writable = segs[i].flags & PF_W;

		if ((segs[i].flags & PF_X) && !data_in_text(segs, n, &segs[i]))
			continue;
		if (writable && (has_relro || segs[i].filesz > WRITABLE_MAX))
			continue;
		r = image_scan(im, &segs[i], OVERLAP, anchors_block, &p);
	}
	if (r == 0 && has_relro)
		r = image_scan(im, &relro, OVERLAP, anchors_block, &p);
	return r;
}

/* One address to look for. */
struct wanted {
	uint64_t vaddr;
	enum anchor anchor;
	uint32_t hit;
};

struct ref_pass {
	struct image *im;
	struct refs *ret;
	size_t looks;
	bool absolute; /* constants may be addresses: the program is not PIE and lies below 4 GiB */
	size_t n;
	struct wanted wanted[N_ANCHORS * HITS_MAX]; /* by address */
};

static const struct wanted *wanted_find(const struct ref_pass *p, uint64_t vaddr)
{
	size_t at = sorted_from(p->wanted, sizeof(*p->wanted), p->n, vaddr);

	return at < p->n && p->wanted[at].vaddr == vaddr ? &p->wanted[at] : NULL;
}

static int ref_add(struct refs *ret, uint64_t vaddr, const struct wanted *w)
{
	if (ret->n == REFS_MAX)
		return -E2BIG;
	if (ret->n == ret->cap) {
		size_t cap = ret->cap ? ret->cap * 2 : 256;
		struct ref *refs = reallocarray(ret->refs, cap, sizeof(*refs));

		if (!refs)
			return -ENOMEM;
		ret->refs = refs;
		ret->cap = cap;
	}
	ret->refs[ret->n++] = (struct ref){vaddr, w->anchor, w->hit};
	return 0;
}

/* lea r64, [rip + disp32]: REX.W 8d modrm disp32. @at is at 8d. */
static int lea_take(struct ref_pass *p, uint64_t vaddr, const uint8_t *bytes, size_t at, size_t len)
{
	const struct wanted *w;

	p->looks++;
	if (at == 0 || at + 6 > len || (bytes[at - 1] & 0xf8) != 0x48)
		return 0;
	w = wanted_find(p, vaddr + at + 6 + (uint64_t)(int64_t)(int32_t)load_u32(bytes + at + 2));
	return w ? ref_add(p->ret, vaddr + at - 1, w) : 0;
}

/* mov r32, imm32: [41] b8+r imm32. @at is at the constant. */
static int constant_take(struct ref_pass *p, uint64_t vaddr, const uint8_t *bytes, size_t at,
			 size_t len)
{
	const struct wanted *w;

	p->looks++;
	if (at == 0 || at + 4 > len || (bytes[at - 1] & 0xf8) != 0xb8)
		return 0;
	w = wanted_find(p, load_u32(bytes + at));
	if (!w)
		return 0;
	return ref_add(p->ret, vaddr + at - (at >= 2 && bytes[at - 2] == 0x41 ? 2 : 1), w);
}

static uint32_t leas_maybe(const uint8_t *p)
{
#ifdef __SSE2__
	__m128i op = _mm_loadu_si128((const __m128i *)p);
	__m128i modrm = _mm_loadu_si128((const __m128i *)(p + 1));
	__m128i rip =
		_mm_cmpeq_epi8(_mm_and_si128(modrm, _mm_set1_epi8((char)0xc7)), _mm_set1_epi8(5));

	return (uint32_t)_mm_movemask_epi8(
		_mm_and_si128(_mm_cmpeq_epi8(op, _mm_set1_epi8((char)0x8d)), rip));
#else
	uint32_t mask = 0;

	for (int i = 0; i < STEP; i++)
		mask |= (uint32_t)(p[i] == 0x8d && (p[i + 1] & 0xc7) == 5) << i;
	return mask;
#endif
}

/* @low and @high are the first bytes of all addresses; the instruction's byte stands before the constant. */
static uint32_t constants_maybe(const uint8_t *p, uint8_t low, uint8_t high)
{
#ifdef __SSE2__
	__m128i op = _mm_loadu_si128((const __m128i *)(p - 1));
	__m128i top = _mm_loadu_si128((const __m128i *)(p + 3));
	__m128i mov = _mm_cmpeq_epi8(_mm_and_si128(op, _mm_set1_epi8((char)0xf8)),
				     _mm_set1_epi8((char)0xb8));
	__m128i above = _mm_cmpeq_epi8(_mm_max_epu8(top, _mm_set1_epi8((char)low)), top);
	__m128i below = _mm_cmpeq_epi8(_mm_min_epu8(top, _mm_set1_epi8((char)high)), top);

	return (uint32_t)_mm_movemask_epi8(_mm_and_si128(mov, _mm_and_si128(above, below)));
#else
	uint32_t mask = 0;

	for (int i = 0; i < STEP; i++)
		mask |= (uint32_t)((p[i - 1] & 0xf8) == 0xb8 && p[i + 3] >= low && p[i + 3] <= high)
			<< i;
	return mask;
#endif
}

static int refs_at(struct ref_pass *p, uint64_t vaddr, const uint8_t *bytes, size_t at, size_t len)
{
	uint32_t leas = leas_maybe(bytes + at), constants = 0;
	int r = 0;

	if (p->absolute)
		constants = constants_maybe(bytes + at, (uint8_t)(p->wanted[0].vaddr >> 24),
					    (uint8_t)(p->wanted[p->n - 1].vaddr >> 24));
	for (; r == 0 && leas; leas &= leas - 1)
		r = lea_take(p, vaddr, bytes, at + (size_t)__builtin_ctz(leas), len);
	for (; r == 0 && constants; constants &= constants - 1)
		r = constant_take(p, vaddr, bytes, at + (size_t)__builtin_ctz(constants), len);
	return r;
}

/*
 * The scan gives @fresh bytes in which matches begin. An instruction's prefix stands before what is
 * searched for, so all is shifted by two bytes: those at the very begin of a segment are not looked at.
 */
#define BEFORE 2

static int refs_block(void *userdata, uint64_t vaddr, const uint8_t *bytes, size_t fresh,
		      size_t len)
{
	struct ref_pass *p = userdata;
	uint8_t rest[2 * STEP + 8] = {};
	size_t at = BEFORE, end = MIN(fresh + BEFORE, len);
	int r = 0;

	for (; r == 0 && at + STEP <= end && at + STEP + 4 <= len; at += STEP)
		r = refs_at(p, vaddr, bytes, at, len);

	/* The last bytes of a block or segment, with room to load behind them. */
	for (; r == 0 && at < end; at += STEP) {
		size_t n = MIN((size_t)(len - at), (size_t)STEP + 4);

		memset(rest, 0, sizeof(rest));
		memcpy(rest, bytes + at - BEFORE, BEFORE + n);
		r = refs_at(p, vaddr + at - BEFORE, rest, BEFORE, BEFORE + n);
	}
	return r < 0 ? r : looks_charge(p->im, &p->looks);
}

/* Steps may overlap where blocks do, so a reference can be there twice. */
static void refs_sort(struct refs *refs)
{
	size_t n = 0;

	if (refs->n == 0)
		return;
	qsort(refs->refs, refs->n, sizeof(*refs->refs), sorted_compare);
	for (size_t i = 0; i < refs->n; i++) {
		if (n == 0 || refs->refs[n - 1].vaddr != refs->refs[i].vaddr)
			refs->refs[n++] = refs->refs[i];
	}
	refs->n = n;
}

static void wanted_collect(struct ref_pass *p, const struct hits *hits)
{
	for (enum anchor a = ANCHOR_SSL_LIB; a <= ANCHOR_HANDSHAKE; a++) {
		for (uint32_t i = 0; a != ANCHOR_OPENSSL && i < hits->n[a]; i++)
			p->wanted[p->n++] = (struct wanted){hits->of[a][i].vaddr, a, i};
	}
	qsort(p->wanted, p->n, sizeof(p->wanted[0]), sorted_compare);
}

/* One pass over all code. */
static int text_scan(struct image *im, image_block_fn fn, void *userdata)
{
	const struct image_segment *segs;
	size_t n = image_segments(im, &segs);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (segs[i].flags & PF_X)
			r = image_scan(im, &segs[i], STEP + 8, fn, userdata);
	}
	return r;
}

int scan_refs(struct image *im, const struct hits *hits, struct refs *ret)
{
	_cleanup_(refs_done) struct refs refs = {};
	struct ref_pass p = {.im = im, .ret = &refs};
	int r = 0;

	wanted_collect(&p, hits);
	p.absolute = p.n > 0 && !image_is_pie(im) && p.wanted[p.n - 1].vaddr <= UINT32_MAX;
	if (p.n > 0)
		r = text_scan(im, refs_block, &p);
	if (r < 0)
		return r;

	refs_sort(&refs);
	*ret = refs;
	refs = (struct refs){};
	return 0;
}

struct range {
	uint64_t low;
	uint64_t high; /* included */
};

struct target_pass {
	struct image *im;
	struct targets *ret;
	size_t looks;
	size_t n;
	struct range *ranges; /* by address, apart from each other */
	bool callers;         /* wanted are the calls, not what they call */
};

static bool range_holds(const struct target_pass *p, uint64_t vaddr)
{
	size_t at;

	if (vaddr < p->ranges[0].low || vaddr > p->ranges[p->n - 1].high)
		return false;
	at = sorted_from(&p->ranges[0].high, sizeof(*p->ranges), p->n, vaddr);
	return at < p->n && vaddr >= p->ranges[at].low;
}

static int target_add(struct targets *ret, uint64_t vaddr)
{
	if (ret->n == TARGETS_MAX)
		return -E2BIG;
	if (ret->n == ret->cap) {
		size_t cap = ret->cap ? ret->cap * 2 : 4096;
		struct target *targets = reallocarray(ret->targets, cap, sizeof(*targets));

		if (!targets)
			return -ENOMEM;
		ret->targets = targets;
		ret->cap = cap;
	}
	ret->targets[ret->n++] = (struct target){vaddr, 1};
	return 0;
}

static int call_take(struct target_pass *p, uint64_t vaddr, const uint8_t *bytes, size_t at)
{
	uint64_t to = vaddr + at + 5 + (uint64_t)(int64_t)(int32_t)load_u32(bytes + at + 1);

	p->looks++;
	return range_holds(p, to) ? target_add(p->ret, p->callers ? vaddr + at : to) : 0;
}

static uint32_t calls_maybe(const uint8_t *p)
{
#ifdef __SSE2__
	return (uint32_t)_mm_movemask_epi8(
		_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8((char)0xe8)));
#else
	uint32_t mask = 0;

	for (int i = 0; i < STEP; i++)
		mask |= (uint32_t)(p[i] == 0xe8) << i;
	return mask;
#endif
}

static int calls_block(void *userdata, uint64_t vaddr, const uint8_t *bytes, size_t fresh,
		       size_t len)
{
	struct target_pass *p = userdata;
	size_t at = 0;
	int r = 0;

	for (; r == 0 && at + STEP <= fresh && at + STEP + 4 <= len; at += STEP) {
		uint32_t mask = calls_maybe(bytes + at);

		for (; r == 0 && mask; mask &= mask - 1)
			r = call_take(p, vaddr, bytes, at + (size_t)__builtin_ctz(mask));
	}
	for (; r == 0 && at < fresh && at + 5 <= len; at++) {
		if (bytes[at] == 0xe8)
			r = call_take(p, vaddr, bytes, at);
	}
	return r < 0 ? r : looks_charge(p->im, &p->looks);
}

static void targets_sort(struct targets *t)
{
	size_t n = 0;

	if (t->n == 0)
		return;
	qsort(t->targets, t->n, sizeof(*t->targets), sorted_compare);
	for (size_t i = 0; i < t->n; i++) {
		if (n > 0 && t->targets[n - 1].vaddr == t->targets[i].vaddr)
			t->targets[n - 1].callers++;
		else
			t->targets[n++] = t->targets[i];
	}
	t->n = n;
}

/* Before each reference, as far as its function may begin. */
static void ranges_collect(struct target_pass *p, const struct refs *refs)
{
	for (size_t i = 0; i < refs->n; i++) {
		uint64_t high = refs->refs[i].vaddr, low = high - MIN(high, (uint64_t)NEAR);

		if (p->n > 0 && low <= p->ranges[p->n - 1].high)
			p->ranges[p->n - 1].high = high;
		else
			p->ranges[p->n++] = (struct range){low, high};
	}
}

static int calls_scan(struct image *im, const struct target_pass *wanted, struct targets *ret)
{
	_cleanup_(targets_done) struct targets targets = {};
	struct target_pass p = *wanted;
	int r = 0;

	p.im = im;
	p.ret = &targets;
	if (p.n > 0)
		r = text_scan(im, calls_block, &p);
	if (r < 0)
		return r;

	targets_sort(&targets);
	*ret = targets;
	targets = (struct targets){};
	return 0;
}

int scan_targets(struct image *im, const struct refs *refs, struct targets *ret)
{
	_cleanup_(freep) struct range *ranges = calloc(refs->n + 1, sizeof(*ranges));
	struct target_pass p = {.ranges = ranges};

	if (!ranges)
		return -ENOMEM;
	ranges_collect(&p, refs);
	return calls_scan(im, &p, ret);
}

int scan_callers(struct image *im, uint64_t vaddr, struct targets *ret)
{
	struct range only = {vaddr, vaddr};
	struct target_pass p = {.n = 1, .ranges = &only, .callers = true};

	return calls_scan(im, &p, ret);
}

const struct target *targets_before(const struct targets *t, uint64_t vaddr)
{
	size_t at = sorted_from(t->targets, sizeof(*t->targets), t->n, vaddr);

	if (at < t->n && t->targets[at].vaddr == vaddr)
		return &t->targets[at];
	return at ? &t->targets[at - 1] : NULL;
}
