/* SPDX-License-Identifier: MIT */
/*
 * An online automaton: every byte is looked at once (of a private key twice), going forward, and the state after a byte
 * does not depend on how the stream was cut. Names are recognised backwards at their separator (':' or '='), within
 * SECRETS_BACK bytes that the state carries over; what follows is a value, consumed until its end. Key shapes are
 * recognised at the last byte of their prefix; what follows is a candidate, consumed while its bytes fit. In the block of
 * a private key a second automaton masks what may be of the key, while this one goes on unheard, and so is where it
 * should be when the block turns out to be none. Plain text is skipped 16 bytes at a time up to one of a few trigger
 * bytes, so text without secrets costs about as much as memchr().
 */
#include "stage/secrets.h"

#include <string.h>
#include <strings.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/cleanup.h"

/* Byte classes; a candidate's body is a union of them. */
#define C_UPPER  0x01
#define C_LOWER  0x02
#define C_DIGIT  0x04
#define C_DASH   0x08
#define C_UNDER  0x10
#define C_DOT    0x20
#define C_BASE64 0x40  /* what stands in base64 besides letters and digits */
#define C_USER   0x80  /* what stands in the user part of a URL besides the above */
#define C_PASS   0x100 /* what stands in its password besides that */
#define C_ALNUM  (C_UPPER | C_LOWER | C_DIGIT)
#define C_NAME   (C_ALNUM | C_DASH | C_UNDER)
#define C_TOKEN  C_NAME
#define C_DOTTED (C_TOKEN | C_DOT)

static const uint16_t class_of[256] = {
	['A' ... 'Z'] = C_UPPER,
	['a' ... 'z'] = C_LOWER,
	['0' ... '9'] = C_DIGIT,
	['-'] = C_DASH,
	['_'] = C_UNDER,
	['.'] = C_DOT,
	['+'] = C_BASE64 | C_USER,
	['%'] = C_USER,
	['~'] = C_USER,
	['!'] = C_USER,
	['$'] = C_USER,
	['*'] = C_USER,
	[','] = C_PASS,
	[':'] = C_PASS,
	['='] = C_BASE64 | C_PASS,
	['@'] = C_PASS,
	['&'] = C_PASS,
	[';'] = C_PASS,
	['^'] = C_PASS,
	['|'] = C_PASS,
	['('] = C_PASS,
	[')'] = C_PASS,
	['['] = C_PASS,
	[']'] = C_PASS,
	['{'] = C_PASS,
	['}'] = C_PASS,
	['/'] = C_BASE64,
	[0x80 ... 0xff] = C_PASS,
};

/*
 * Names that make what follows a secret. They are compared without case, '-' and '_', so that one
 * row covers api_key, apiKey, API-KEY. N_END also takes longer names that end so (X-Goog-Api-Key).
 */
#define N_END    0x01
#define N_HEADER 0x02  /* "name: value" at the start of a line */
#define N_QUERY  0x04  /* "?name=value" or "&name=value" */
#define N_FORM   0x08  /* the same also where a line, a word in quotes or an argument starts */
#define N_WORD   0x10  /* "name=value" anywhere */
#define N_JSON   0x20  /* "name": "value" */
#define N_OPTION 0x40  /* --name value, --name=value */
#define N_SCHEME 0x80  /* the value starts with a scheme word, which stays */
#define N_DASH   0x200 /* as a header it has a dash; "apiKey: string" is source code */
#define N_UPPER  0x100 /* compared as it stands, and only with names in capitals that end so */
#define N_ASSIGN (N_QUERY | N_FORM | N_WORD)
#define N_ALL    (N_ASSIGN | N_JSON | N_OPTION)

static const struct name {
	const char *text;
	uint16_t flags;
	uint8_t json_min; /* shorter JSON values are left alone: model output has "token":"Hello" */
} names[] = {
	{"authorization", N_END | N_HEADER | N_JSON | N_SCHEME, 0},
	{"cookie", N_HEADER | N_JSON | N_OPTION, 0},
	{"setcookie", N_HEADER | N_JSON, 0},
	{"apikey", N_END | N_HEADER | N_DASH | N_ALL, 0},
	{"xamzsecuritytoken", N_HEADER | N_ALL, 0},
	{"xamzsignature", N_ALL, 0},
	{"xamzcredential", N_ALL, 0},
	{"authtoken", N_END | N_HEADER | N_DASH | N_ALL, 0},
	{"accesstoken", N_END | N_ALL, 0},
	{"refreshtoken", N_END | N_ALL, 0},
	{"sessiontoken", N_END | N_ALL, 0},
	{"bearertoken", N_END | N_ALL, 0},
	{"idtoken", N_ALL, 0},
	{"token", N_QUERY | N_FORM | N_OPTION | N_JSON, 16},
	{"clientsecret", N_END | N_ALL, 0},
	{"secretkey", N_END | N_ALL, 0},
	{"secretaccesskey", N_END | N_ALL, 0},
	{"privatekey", N_END | N_ALL, 0},
	{"secret", N_QUERY | N_FORM | N_OPTION | N_JSON, 8},
	{"password", N_END | N_ALL, 0},
	{"passwd", N_END | N_ALL, 0},
	{"key", N_QUERY, 0},
	{"sig", N_QUERY, 0},
	{"signature", N_QUERY, 0},
	{"_KEY", N_UPPER | N_WORD | N_JSON, 0},
	{"_TOKEN", N_UPPER | N_WORD | N_JSON, 0},
	{"_SECRET", N_UPPER | N_WORD | N_JSON, 0},
	{"_PASSWORD", N_UPPER | N_WORD | N_JSON, 0},
	{"_PASSWD", N_UPPER | N_WORD | N_JSON, 0},
	{"_CREDENTIALS", N_UPPER | N_WORD | N_JSON, 0},
};

static const char *const schemes[] = {
	"Bearer", "Basic", "Digest", "Token", "OAuth", "Negotiate", "ApiKey", "AWS4-HMAC-SHA256",
};

/*
 * Shapes of keys: a prefix after something that is no letter or digit, then at least `min` bytes of
 * the body's classes. A prefix has to end in one of TRIGGERS, hence "AIz" and "SG".
 */
#define S_MIXED  0x01 /* the body has a digit or a capital: keys do, long-winded words do not */
#define S_EXACT  0x02 /* exactly `min` bytes, then no letter or digit */
#define S_PEM    0x04 /* begins the block of a private key; "BEGIN" precedes the prefix */
#define S_OPTION 0x08 /* not a secret: the name of a command-line option */
#define S_USER   0x10 /* not a secret: the user in a URL */
#define S_PASS   0x20 /* a secret once an '@' follows */

static const struct shape {
	const char *prefix;
	uint16_t body;
	uint8_t min;
	uint8_t dots;
	uint8_t flags;
} shapes[] = {
	{"sk-", C_TOKEN, 16, 0, S_MIXED},
	{"ghp_", C_ALNUM, 16, 0, S_MIXED},
	{"gho_", C_ALNUM, 16, 0, S_MIXED},
	{"ghu_", C_ALNUM, 16, 0, S_MIXED},
	{"ghs_", C_ALNUM, 16, 0, S_MIXED},
	{"ghr_", C_ALNUM, 16, 0, S_MIXED},
	{"github_pat_", C_ALNUM | C_UNDER, 16, 0, S_MIXED},
	{"glpat-", C_TOKEN, 16, 0, S_MIXED},
	{"glrt-", C_TOKEN, 16, 0, S_MIXED},
	{"gldt-", C_TOKEN, 16, 0, S_MIXED},
	{"AKIA", C_UPPER | C_DIGIT, 16, 0, S_EXACT},
	{"ASIA", C_UPPER | C_DIGIT, 16, 0, S_EXACT},
	{"AIz", C_TOKEN, 36, 0, S_MIXED},
	{"xoxb-", C_ALNUM | C_DASH, 10, 0, S_MIXED},
	{"xoxp-", C_ALNUM | C_DASH, 10, 0, S_MIXED},
	{"xoxa-", C_ALNUM | C_DASH, 10, 0, S_MIXED},
	{"xoxr-", C_ALNUM | C_DASH, 10, 0, S_MIXED},
	{"xoxs-", C_ALNUM | C_DASH, 10, 0, S_MIXED},
	{"xapp-", C_ALNUM | C_DASH, 10, 0, S_MIXED},
	{"hf_", C_ALNUM, 20, 0, S_MIXED},
	{"gsk_", C_ALNUM, 20, 0, S_MIXED},
	{"npm_", C_ALNUM, 20, 0, S_MIXED},
	{"pypi-", C_TOKEN, 32, 0, S_MIXED},
	{"SG", C_DOTTED, 32, 2, S_MIXED},
	{"sk_live_", C_ALNUM, 16, 0, S_MIXED},
	{"rk_live_", C_ALNUM, 16, 0, S_MIXED},
	{"sk_test_", C_ALNUM, 16, 0, S_MIXED},
	{"rk_test_", C_ALNUM, 16, 0, S_MIXED},
	{"whsec_", C_ALNUM, 20, 0, S_MIXED},
	{"xai-", C_ALNUM, 40, 0, S_MIXED},
	{"pplx-", C_ALNUM, 32, 0, S_MIXED},
	{"r8_", C_ALNUM, 30, 0, S_MIXED},
	{"nvapi-", C_TOKEN, 40, 0, S_MIXED},
	{"tvly-", C_ALNUM | C_DASH, 20, 0, S_MIXED},
	{"dop_v1_", C_ALNUM, 32, 0, S_MIXED},
	{"dckr_pat_", C_TOKEN, 20, 0, S_MIXED},
	{"lin_api_", C_ALNUM, 30, 0, S_MIXED},
	{"ntn_", C_ALNUM, 30, 0, S_MIXED},
	{"shpat_", C_ALNUM, 32, 0, S_MIXED},
	{"shpss_", C_ALNUM, 32, 0, S_MIXED},
	{"sntryu_", C_ALNUM, 32, 0, S_MIXED},
	{"GOCSPX-", C_TOKEN, 20, 0, S_MIXED},
	{"eyJ", C_DOTTED, 24, 2, S_MIXED},
	{"PRIVATE KEY-----", 0, 0, 0, S_PEM},
	{"PRIVATE KEY BLOCK-----", 0, 0, 0, S_PEM},
	{"--", C_NAME, 1, 0, S_OPTION},
	{NULL, C_DOTTED | C_USER, 0, 0, S_USER},
	{NULL, C_DOTTED | C_USER | C_PASS, 0, 0, S_PASS},
};

#define SHAPE_USER ((uint8_t)(ARRAY_SIZE(shapes) - 2))
#define SHAPE_PASS ((uint8_t)(ARRAY_SIZE(shapes) - 1))

/* The bytes at which something can be recognised: separators of names, last bytes of prefixes. */
#define TRIGGERS(X) X(':') X('=') X('-') X('_') X('J') X('z') X('A') X('G')

#define TRIGGER_ROW(c) [c] = 1,
static const uint8_t is_trigger[256] = {TRIGGERS(TRIGGER_ROW)};

enum mode {
	M_TEXT,   /* nothing in particular */
	M_RUN,    /* in the body of a shape */
	M_PEM,    /* behind the header of a private key */
	M_SLASH,  /* after "scheme:" */
	M_OPEN,   /* after a name and its separator, before the value */
	M_SCHEME, /* in the first word of an Authorization value */
	M_VALUE,  /* in a value */
};

enum kind {
	K_LINE,   /* ends with the line; with `quote`, also at that quote or an escaped line end */
	K_PARAM,  /* ends at '&' and wherever a word ends */
	K_FORM,   /* the same; may stand in quotes */
	K_WORD,   /* ends where a word ends; may stand in quotes */
	K_ARG,    /* ends at NUL */
	K_DATA,   /* the same, or at '&' */
	K_QUOTED, /* ends at the closing quote */
	K_NUMBER, /* ends where a number ends */
	K_SPACED, /* as K_WORD, behind blanks */
};

#define END(kind) (1U << (kind))
#define END_WORD  (END(K_PARAM) | END(K_FORM) | END(K_WORD))
#define END_ARG   (END(K_ARG) | END(K_DATA))

/*
 * The kernel takes no longer argument. A stream may have a NUL before a name and none behind it: what that hides
 * has a bound.
 */
#define ARG_MAX_LEN (128U * 1024)

/* Which kinds of value a byte ends; of others value_ends() decides. */
static const uint8_t ends[256] = {
	['\0'] = END(K_LINE) | END_WORD | END_ARG | END(K_QUOTED),
	['\n'] = END(K_LINE) | END_WORD | END(K_QUOTED),
	['\r'] = END(K_LINE) | END_WORD,
	['\t'] = END_WORD,
	[' '] = END_WORD,
	['"'] = END_WORD,
	['\''] = END_WORD,
	['#'] = END(K_PARAM),
	['&'] = END(K_PARAM) | END(K_FORM) | END(K_DATA),
	['`'] = END_WORD,
	['\\'] = END_WORD,
};

_Static_assert(ARRAY_SIZE(names) <= 64 && ARRAY_SIZE(shapes) <= 64, "rows are bits of a mask");

/* Rows by their last bytes, so that an ordinary word costs one load. Built before main(). */
static uint64_t names_by_end[1024];
static uint64_t shapes_by_end[256];

struct walk {
	struct secret_scan *s;
	const uint8_t *in;
	size_t n;
	size_t p;
	size_t from;  /* where the current candidate or value starts in this piece */
	bool last;    /* nothing comes behind this piece */
	bool unheard; /* what is found is masked already */

	struct secret_span *spans;
	size_t max_spans;
	size_t n_spans;
	size_t end; /* of the last span */
	size_t total;

	size_t join_tail;
	uint8_t join[2 * SECRETS_BACK]; /* the stream's tail, then the head of this piece */
};

static inline uint8_t fold(uint8_t c)
{
	return class_of[c] & C_UPPER ? c | 0x20 : c;
}

static inline bool is_quote(uint8_t c)
{
	return c == '"' || c == '\'';
}

static inline size_t name_hash(const uint8_t *end)
{
	return (fold(end[-1]) * 37U ^ fold(end[-2]) * 1031U ^ fold(end[-3]) * 61U) % 1024;
}

static inline size_t shape_hash(const uint8_t *end)
{
	return (end[-1] * 7U ^ end[-2] * 31U) % 256;
}

__attribute__((constructor)) static void tables_build(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		const uint8_t *text = (const uint8_t *)names[i].text;

		names_by_end[name_hash(text + strlen(names[i].text))] |= 1ULL << i;
	}

	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		const uint8_t *prefix = (const uint8_t *)shapes[i].prefix;

		if (prefix)
			shapes_by_end[shape_hash(prefix + strlen(shapes[i].prefix))] |= 1ULL << i;
	}
}

/* The stream up to position p of this piece: *ret_n bytes before the returned address. */
static inline const uint8_t *back(const struct walk *w, size_t p, size_t *ret_n)
{
	if (p >= SECRETS_BACK || w->join_tail == 0) {
		*ret_n = MIN(p, (size_t)SECRETS_BACK);
		return w->in + p;
	}
	*ret_n = MIN(p + w->join_tail, (size_t)SECRETS_BACK);
	return w->join + w->join_tail + p;
}

static void emit(struct walk *w, size_t from, size_t to)
{
	struct secret_span *last;

	from = MAX(from, w->end);
	if (from >= to || w->unheard)
		return;

	if (w->n_spans && (from == w->end || w->n_spans == w->max_spans)) {
		last = &w->spans[w->n_spans - 1];
		w->total -= last->len;
		last->len = to - last->off;
		w->total += last->len;
	} else {
		if (w->max_spans)
			w->spans[w->n_spans++] = (struct secret_span){from, to - from};
		w->total += to - from;
	}
	w->end = to;
}

/* Does the name that ends at @end and is @len long match the row? */
static bool name_matches(const struct name *row, const uint8_t *end, size_t len)
{
	size_t want = strlen(row->text), i;

	if (row->flags & N_UPPER) {
		if (len <= want || memcmp(end - want, row->text, want) != 0)
			return false;
		for (i = 1; i <= len; i++) {
			if (!(class_of[end[-(ptrdiff_t)i]] & (C_UPPER | C_DIGIT | C_UNDER)))
				return false;
		}
		return true;
	}

	for (i = 1; i <= len; i++) {
		uint8_t c = end[-(ptrdiff_t)i];

		if (class_of[c] & (C_DASH | C_UNDER))
			continue;
		if (want == 0)
			return row->flags & N_END;
		if (fold(c) != (uint8_t)row->text[--want])
			return false;
	}
	return want == 0;
}

/* The row of the name that ends at @end, has @len bytes in sight, and is known in one of the @contexts. */
static const struct name *name_find(const uint8_t *end, size_t len, unsigned int contexts)
{
	uint64_t rows;

	if (len < 3)
		return NULL;

	for (rows = names_by_end[name_hash(end)]; rows; rows &= rows - 1) {
		const struct name *row = &names[__builtin_ctzll(rows)];

		if ((row->flags & contexts) && name_matches(row, end, len))
			return row;
	}
	return NULL;
}

/* Could a name end here? Answers without looking for where it starts. */
static inline bool name_plausible(const uint8_t *end, size_t avail)
{
	return avail >= 3 && names_by_end[name_hash(end)] != 0;
}

/* How many bytes before @end are part of a name. */
static size_t name_len(const uint8_t *end, size_t avail)
{
	size_t len = 0;

	while (len < avail && (class_of[end[-(ptrdiff_t)len - 1]] & C_NAME))
		len++;
	return len;
}

/* What stands before a name: 0 also means the start of the stream, 'a' that it is out of sight. */
static uint8_t name_before(const uint8_t *end, size_t len, size_t avail)
{
	if (len < avail)
		return end[-(ptrdiff_t)len - 1];
	return avail < SECRETS_BACK ? '\0' : 'a';
}

/* Inside a JSON string a line starts after the two characters \n: the n is no part of a name. */
static bool name_trim_escape(const uint8_t *end, size_t *len, uint8_t *before)
{
	uint8_t first = *len ? end[-(ptrdiff_t)*len] : 0;

	if (*before != '\\' || (first != 'n' && first != 'r' && first != 't'))
		return false;
	(*len)--;
	*before = '\n';
	return true;
}

static void value_open(struct walk *w, enum kind kind, const struct name *row)
{
	struct secret_scan *s = w->s;

	s->mode = M_OPEN;
	s->kind = kind;
	s->scheme = row->flags & N_SCHEME;
	s->list = 0;
	s->min = kind == K_QUOTED ? row->json_min : 0;
	s->quote = 0;
	s->escaped = 0;
	s->count = 0;
	s->held = 0;
}

static inline bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t backslashes(const uint8_t *end, size_t avail)
{
	size_t n = 0;

	while (n < avail && end[-(ptrdiff_t)n - 1] == '\\')
		n++;
	return n;
}

/* The row of the name in @quote that ends at @b. One that begins out of sight is known by its end. */
static const struct name *name_quoted(const uint8_t *b, size_t avail, uint8_t quote, bool cut)
{
	const struct name *row;
	size_t len;

	if (!name_plausible(b, avail))
		return NULL;
	len = name_len(b, avail);
	if (len < avail && b[-(ptrdiff_t)len - 1] != quote)
		return NULL;
	row = name_find(b, len, N_JSON);
	if (len == avail && !(cut && row && (row->flags & (N_END | N_UPPER))))
		return NULL;
	return row;
}

/*
 * "name" just before the colon, perhaps with backslashes before its quotes. White space, quotes and as much
 * of the name as tells it have to lie within SECRETS_BACK.
 */
static void colon_json(struct walk *w, const uint8_t *b, size_t avail)
{
	bool cut = avail == SECRETS_BACK;
	const struct name *row;
	size_t escapes;
	uint8_t quote;

	while (avail && is_space(b[-1])) {
		b--;
		avail--;
	}
	if (!avail || !is_quote(b[-1]))
		return;
	quote = b[-1];
	b--;
	avail--;
	escapes = backslashes(b, avail);
	row = name_quoted(b - escapes, avail - escapes, quote, cut);
	if (row)
		value_open(w, K_QUOTED, row);
}

/*
 * How many backslashes precede the quotes of a string in which @n of them and an n end a line: there is one
 * more of them than before a quote, and twice as many for each backslash of the line's own.
 */
static uint8_t line_escaped(size_t n)
{
	return (uint8_t)((n & -n) - 1);
}

/*
 * What closes the header in "--header=name: value", of which "--header" ends at @b: nothing in an argument of its
 * own, the quote before that word, and else that of a string of JSON or the shell, in which it may well stand.
 */
static uint8_t assign_quote(const uint8_t *b, size_t avail, bool cut, uint8_t *ret_escaped)
{
	size_t i;

	for (i = 0; i < avail; i++) {
		uint8_t c = b[-(ptrdiff_t)i - 1];

		if (c == '\0')
			return 0;
		if (is_quote(c)) {
			*ret_escaped = (uint8_t)backslashes(b - i - 1, avail - i - 1);
			return c;
		}
		if (c == '\\')
			*ret_escaped = line_escaped(backslashes(b - i, avail - i));
		if (c == '\\' || is_space(c))
			return '"';
	}
	return cut ? '"' : 0;
}

/*
 * Only blanks, and what curl -v puts before a header, stand between the name and its line's start, or the '='
 * behind which options and settings have a header. A quote there, after @ret_escaped backslashes, closes the line.
 */
static bool line_starts(const uint8_t *b, size_t avail, bool cut, uint8_t *ret_quote,
			uint8_t *ret_escaped)
{
	size_t i;

	for (i = 0; i < avail; i++) {
		uint8_t c = b[-(ptrdiff_t)i - 1];

		if (c == '\n' || c == '\r' || c == '\0')
			return true;
		if (is_quote(c)) {
			*ret_quote = c;
			*ret_escaped = (uint8_t)backslashes(b - i - 1, avail - i - 1);
			return true;
		}
		if (c == '=') {
			*ret_quote = assign_quote(b - i - 1, avail - i - 1, cut, ret_escaped);
			return true;
		}
		if (c != ' ' && c != '\t' && c != '>' && c != '<')
			return false;
	}
	return avail < SECRETS_BACK;
}

static bool colon_header(struct walk *w, const uint8_t *b, size_t avail)
{
	size_t len, i;
	const struct name *row;
	uint8_t before, quote = 0, escaped = 0;
	bool dash = false, escape;

	if (!name_plausible(b, avail))
		return false;
	len = name_len(b, avail);
	before = name_before(b, len, avail);
	escape = name_trim_escape(b, &len, &before);

	for (i = 1; i <= len; i++) {
		if (b[-(ptrdiff_t)i] == '_')
			return false;
		dash |= b[-(ptrdiff_t)i] == '-';
	}
	row = name_find(b, len, N_HEADER);
	if (!row || ((row->flags & N_DASH) && !dash))
		return false;
	if (escape) {
		quote = '"';
		escaped = line_escaped(backslashes(b - len - 1, avail - len - 1));
	} else if (!line_starts(b - len, avail - len, avail == SECRETS_BACK, &quote, &escaped)) {
		return false;
	}

	value_open(w, K_LINE, row);
	w->s->quote = quote;
	w->s->escaped = escaped;
	return true;
}

static void on_colon(struct walk *w)
{
	size_t avail;
	const uint8_t *b = back(w, w->p, &avail);

	if (avail == 0)
		return;

	if (is_quote(b[-1]) || is_space(b[-1])) {
		colon_json(w, b, avail);
		return;
	}
	if (!(class_of[b[-1]] & C_ALNUM) || colon_header(w, b, avail))
		return;

	if (w->p + 1 == w->n || w->in[w->p + 1] == '/' || w->in[w->p + 1] == '\\') {
		w->s->mode = M_SLASH;
		w->s->count = 0;
	}
}

/* In which contexts a name stands that has this byte before it. */
static unsigned int assign_contexts(uint8_t before)
{
	switch (before) {
	case '?':
	case '&':
		return N_QUERY | N_FORM | N_WORD;
	case '\0':
	case '\n':
	case '\r':
	case '"':
	case '\'':
		return N_FORM | N_WORD;
	case '/':
	case '\\':
		return 0;
	default:
		return N_WORD;
	}
}

/*
 * Is the argument before the one that begins at @b an option as of "sh -c"? Then this one is a program of the shell,
 * in which a value is a word.
 */
static bool shell_text(const uint8_t *b, size_t avail)
{
	size_t i = 2;

	if (avail < 3 || b[-1] != '\0' || b[-2] != 'c')
		return false;
	while (i < avail && (class_of[b[-(ptrdiff_t)i - 1]] & C_LOWER))
		i++;
	return i < avail && b[-(ptrdiff_t)i - 1] == '-';
}

/* As far as the value of a variable, an option or a parameter goes, whose name is @len long and ends at @b. */
static enum kind assign_kind(const struct name *row, const uint8_t *b, size_t len, size_t avail)
{
	const uint8_t *name = b - len;
	bool option = name[0] == '-', variable = row->flags & N_UPPER;
	uint8_t before = name_before(b, len, avail);
	size_t i;

	if (before == '?' || before == '&')
		return K_PARAM;
	if (len < avail && before == '\0' && !shell_text(name, avail - len)) {
		for (i = 0; i < len && !(class_of[name[i]] & C_LOWER); i++)
			;
		return option || i == len ? K_ARG : K_DATA;
	}
	return option || variable ? K_WORD : K_FORM;
}

/* Does a line or a string begin behind this byte? A tool that numbers lines has a tab or an arrow there. */
static bool row_starts(uint8_t before)
{
	return before == '\0' || before == '\n' || before == '\r' || before == '\t' ||
	       before >= 0x80 || is_quote(before);
}

/* "name = value", as in a file of settings, where it is a line; elsewhere this is mostly source code. */
static void on_equals_spaced(struct walk *w, const uint8_t *b, size_t avail)
{
	bool cut = avail == SECRETS_BACK;
	const struct name *row;
	uint8_t before;
	size_t len;

	while (avail && (b[-1] == ' ' || b[-1] == '\t')) {
		b--;
		avail--;
	}
	if (!name_plausible(b, avail))
		return;
	len = name_len(b, avail);
	before = len == avail && cut ? 'a' : name_before(b, len, avail);
	name_trim_escape(b, &len, &before);
	row = name_find(b, len, N_WORD);
	if (!row || !row_starts(before))
		return;

	value_open(w, K_SPACED, row);
	w->s->quote = is_quote(before) ? before : 0;
}

static void on_equals(struct walk *w)
{
	size_t avail, len;
	const uint8_t *b = back(w, w->p, &avail);
	const struct name *row;
	uint8_t before;

	if (avail && (b[-1] == ' ' || b[-1] == '\t')) {
		on_equals_spaced(w, b, avail);
		return;
	}
	if (!name_plausible(b, avail))
		return;
	len = name_len(b, avail);
	before = name_before(b, len, avail);
	name_trim_escape(b, &len, &before);

	if (len > 2 && b[-(ptrdiff_t)len] == '-')
		row = name_find(b, len, N_OPTION | N_WORD);
	else
		row = name_find(b, len, assign_contexts(before));
	if (!row)
		return;

	value_open(w, assign_kind(row, b, len, avail), row);
	w->s->quote = is_quote(before) ? before : 0;
}

/* "BEGIN " and at most a few words stand between the dashes and the prefix of a PEM block. */
static bool pem_begins(const uint8_t *b, size_t avail)
{
	size_t i;

	for (i = 6; i <= avail && i < 32; i++) {
		if (memcmp(b - i, "BEGIN ", 6) == 0)
			return true;
		if (b[-(ptrdiff_t)i] == '-')
			return false;
	}
	return false;
}

static bool shape_matches(const struct shape *row, const uint8_t *end, size_t avail)
{
	size_t len = strlen(row->prefix);
	uint8_t before;

	if (avail < len || memcmp(end - len, row->prefix, len) != 0)
		return false;
	if (row->flags & S_PEM)
		return pem_begins(end - len, avail - len);

	before = name_before(end, len, avail);
	if (row->flags & S_OPTION)
		return !(class_of[before] & C_NAME);
	if (!(class_of[before] & C_ALNUM))
		return true;

	/* after the two characters \n inside a JSON string */
	return len + 1 < avail && end[-(ptrdiff_t)len - 2] == '\\' && strchr("nrt", before);
}

/* Starts a candidate when a prefix ends with the byte at @p. */
static bool on_shape(struct walk *w, size_t p, int current)
{
	struct secret_scan *s = w->s;
	size_t avail;
	const uint8_t *end = back(w, p + 1, &avail);
	uint64_t rows;

	if (avail < 2)
		return false;

	for (rows = shapes_by_end[shape_hash(end)]; rows; rows &= rows - 1) {
		int i = __builtin_ctzll(rows);

		if (i == current || !shape_matches(&shapes[i], end, avail))
			continue;
		s->mode = shapes[i].flags & S_PEM ? M_PEM : M_RUN;
		s->shape = (uint8_t)i;
		s->count = 0;
		s->held = 0;
		s->dots = 0;
		s->mixed = false;
		w->from = p + 1;
		return true;
	}
	return false;
}

/* Looks at the trigger at w->p; leaves M_TEXT when something starts after it. */
static inline void on_trigger(struct walk *w)
{
	switch (w->in[w->p]) {
	case ':':
		on_colon(w);
		break;
	case '=':
		on_equals(w);
		break;
	default:
		on_shape(w, w->p, -1);
		break;
	}
}

static void step_text_bytewise(struct walk *w)
{
	while (w->p < w->n && w->s->mode == M_TEXT) {
		if (is_trigger[w->in[w->p]])
			on_trigger(w);
		w->p++;
	}
}

#ifdef __SSE2__
#define TRIGGER_COMPARE(c) hit = _mm_or_si128(hit, _mm_cmpeq_epi8(block, _mm_set1_epi8(c)));

static inline unsigned int block_triggers(const uint8_t *p)
{
	__m128i block = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i hit = _mm_setzero_si128();

	TRIGGERS(TRIGGER_COMPARE)
	return (unsigned int)_mm_movemask_epi8(hit);
}

static void step_text(struct walk *w)
{
	size_t base = w->p;

	for (; w->n - base >= 16; base += 16) {
		unsigned int hits = block_triggers(w->in + base);

		for (; hits; hits &= hits - 1) {
			w->p = base + (size_t)__builtin_ctz(hits);
			on_trigger(w);
			if (w->s->mode != M_TEXT) {
				w->p++;
				return;
			}
		}
	}
	w->p = base;
	step_text_bytewise(w);
}
#else
static void step_text(struct walk *w)
{
	step_text_bytewise(w);
}
#endif

static bool run_confirmed(const struct secret_scan *s, const struct shape *row)
{
	return s->count >= row->min && s->dots >= row->dots &&
	       (s->mixed || !(row->flags & S_MIXED)) &&
	       !(row->flags & (S_EXACT | S_OPTION | S_USER | S_PASS));
}

/* The option's name ended; a blank or the end of the argument puts its value next. */
static void run_end_option(struct walk *w, uint8_t next)
{
	size_t avail, len = w->s->count;
	const uint8_t *b = back(w, w->p, &avail);
	const struct name *row;

	if ((next != ' ' && next != '\0') || len > avail)
		return;
	row = name_find(b, len, N_OPTION);
	if (!row)
		return;

	value_open(w, next == ' ' ? K_WORD : K_ARG, row);
	w->p++;
}

/* @next, which does not fit, ended the run (or the text did). It is looked at again as text. */
static void run_end(struct walk *w, uint8_t next, bool at_end)
{
	struct secret_scan *s = w->s;
	const struct shape *row = &shapes[s->shape];

	s->mode = M_TEXT;
	if (run_confirmed(s, row))
		emit(w, w->from, w->p);
	else if ((row->flags & S_EXACT) && s->count == row->min && !(class_of[next] & C_ALNUM))
		emit(w, w->from, w->p);
	else if ((row->flags & S_OPTION) && !at_end)
		run_end_option(w, next);
	else if ((row->flags & S_USER) && next == ':' && !at_end) {
		s->mode = M_RUN;
		s->shape = SHAPE_PASS;
		s->count = 0;
		w->p++;
		w->from = w->p;
	}
}

/* The body of a shape. Another prefix inside takes over, unless this one is a secret already. */
static void step_run(struct walk *w)
{
	struct secret_scan *s = w->s;
	const struct shape *row = &shapes[s->shape];

	while (w->p < w->n) {
		uint8_t c = w->in[w->p];
		uint16_t class = class_of[c];

		if (!(class & row->body) || s->count == UINT32_MAX) {
			run_end(w, c, false);
			return;
		}
		if ((row->flags & S_PASS) && c == '@') {
			emit(w, w->from, w->p);
			w->from = w->p;
		}
		s->count++;
		s->dots = MIN(s->dots + (c == '.'), 255);
		s->mixed |= class & (C_UPPER | C_DIGIT);
		w->p++;
		if (is_trigger[c] && !(row->flags & S_PASS) && !run_confirmed(s, row) &&
		    on_shape(w, w->p - 1, s->shape))
			return;
	}
}

/* "//" after "scheme:", perhaps as \/\/ in JSON; then the user. */
static void step_slash(struct walk *w)
{
	struct secret_scan *s = w->s;
	uint8_t c = w->in[w->p];

	if (c == '\\') {
		w->p++;
		return;
	}
	if (c != '/') {
		s->mode = M_TEXT;
		return;
	}
	w->p++;
	if (++s->count < 2)
		return;

	s->mode = M_RUN;
	s->shape = SHAPE_USER;
	s->count = 0;
	s->held = 0;
	s->dots = 0;
	s->mixed = false;
	w->from = w->p;
}

static void value_start(struct walk *w)
{
	struct secret_scan *s = w->s;

	s->mode = s->scheme ? M_SCHEME : M_VALUE;
	s->count = 0;
	s->held = 0;
	w->from = w->p;
}

/* An opening quote, after s->escaped backslashes. In a name=value that stands in quotes it closes. */
static void open_quote(struct walk *w, uint8_t c)
{
	struct secret_scan *s = w->s;

	if (s->kind != K_QUOTED && s->quote == c) {
		s->mode = M_TEXT;
		return;
	}
	s->kind = K_QUOTED;
	s->quote = c;
	w->p++;
	value_start(w);
}

/* Between the colon and what is no string. Numbers count, true, null and objects do not. */
static void open_bare(struct walk *w, uint8_t c)
{
	struct secret_scan *s = w->s;

	if (is_space(c)) {
		w->p++;
	} else if (c == '[') {
		/* the values of a header, which may be short */
		s->list = 1;
		s->min = 0;
		w->p++;
	} else if ((class_of[c] & C_DIGIT) || c == '-') {
		s->kind = K_NUMBER;
		value_start(w);
	} else {
		s->mode = M_TEXT;
	}
}

#define LISTS_MAX 64 /* inside one another */

/* What stands between the strings of a list up to its end, if this is one of JSON. */
static void open_list(struct walk *w, uint8_t c)
{
	static const char others[] = ",:[]{}+-.E";
	struct secret_scan *s = w->s;
	bool fits;

	if (s->escaped)
		fits = c == 'n' || c == 'r' || c == 't';
	else
		fits = is_space(c) || (class_of[c] & (C_LOWER | C_DIGIT)) ||
		       memchr(others, c, sizeof(others) - 1);
	s->escaped = 0;
	s->list += c == '[';
	s->list -= c == ']';
	if (fits && s->list && s->list < LISTS_MAX)
		w->p++;
	else
		s->mode = M_TEXT;
}

/* Between the separator and the value. */
static void step_open(struct walk *w)
{
	struct secret_scan *s = w->s;
	uint8_t c = w->in[w->p];
	bool quotes;

	if (s->kind == K_SPACED && (c == ' ' || c == '\t')) {
		w->p++;
		return;
	}
	s->kind = s->kind == K_SPACED ? K_WORD : s->kind;
	quotes = s->kind == K_QUOTED || s->kind == K_WORD || s->kind == K_FORM;

	if (quotes && c == '\\' && s->escaped < 7) {
		s->escaped++;
		w->p++;
	} else if (quotes && is_quote(c)) {
		open_quote(w, c);
	} else if (s->list) {
		open_list(w, c);
	} else if (s->kind == K_QUOTED && !s->escaped) {
		open_bare(w, c);
	} else if (s->kind == K_LINE && (c == ' ' || c == '\t')) {
		w->p++;
	} else if ((quotes && (s->escaped || c == '=')) || (ends[c] & END(s->kind))) {
		s->mode = M_TEXT;
	} else {
		value_start(w);
	}
}

/* Masks the value up to here, except for the last @kept bytes. */
static void value_emit(struct walk *w, size_t kept)
{
	emit(w, w->from, w->p - MIN(kept, w->p - w->from));
}

/* The byte at w->p ended it, and @kept bytes before that belong to the end. */
static void value_end(struct walk *w, size_t kept)
{
	w->s->mode = M_TEXT;
	if (w->s->count >= w->s->min)
		value_emit(w, kept);
}

/*
 * Does a quote after @held backslashes close a string whose own quotes have @escaped of them? At
 * depth d a quote is written with 2^d - 1 backslashes, so one in the content has at least twice as
 * many plus one; anything else closes this string or one around it.
 */
static bool quote_closes(uint32_t held, uint32_t escaped)
{
	uint32_t extra = held - escaped;

	return held <= escaped || extra % (escaped + 1) != 0 || extra / (escaped + 1) % 2 == 0;
}

/*
 * How many bytes before w->p make an end of line with the byte there: backslashes, as many as line_escaped()
 * says, and n, r, u000a or u000d.
 */
static size_t line_end_escape(const struct walk *w)
{
	size_t avail, len = 0, n, unit = w->s->escaped + 1U;
	uint8_t c = fold(w->in[w->p]);
	const uint8_t *b;

	if (c == 'a' || c == 'd')
		len = 4;
	else if (c != 'n' && c != 'r')
		return 0;
	b = back(w, w->p, &avail);
	if (avail < len || memcmp(b - len, "u000", len) != 0)
		return 0;

	n = backslashes(b - len, avail - len);
	return n % unit || n / unit % 2 ? len + MIN(n, unit) : 0;
}

static bool value_ends(const struct secret_scan *s, uint8_t c)
{
	if (s->kind == K_NUMBER)
		return !(class_of[c] & C_DOTTED) && c != '+';
	if ((END(s->kind) & END_ARG) && s->count >= ARG_MAX_LEN)
		return true;
	return (ends[c] & END(s->kind)) || (c == s->quote && quote_closes(s->held, s->escaped));
}

/* Behind a string of a list comes perhaps another. */
static void list_go_on(struct walk *w)
{
	struct secret_scan *s = w->s;

	s->mode = M_OPEN;
	s->escaped = 0;
	w->p++;
}

static void step_value(struct walk *w)
{
	struct secret_scan *s = w->s;
	bool in_string = s->kind == K_LINE && s->quote;

	for (; w->p < w->n; w->p++) {
		uint8_t c = w->in[w->p];
		size_t escape = in_string ? line_end_escape(w) : 0;

		if (escape || value_ends(s, c)) {
			value_end(w, escape ?: MIN(s->held, s->escaped));
			if (s->list && c == s->quote)
				list_go_on(w);
			return;
		}
		s->held = c == '\\' ? s->held + 1 : 0;
		s->count += s->count < UINT32_MAX;
	}
}

/* At the end of a piece: backslashes that may belong to what ends the value. */
static size_t value_kept(const struct secret_scan *s)
{
	return MIN(s->held, s->escaped + (s->kind == K_LINE && s->quote ? 1U : 0U));
}

static bool scheme_known(const struct walk *w)
{
	size_t avail, len = w->s->count, i;
	const uint8_t *b = back(w, w->p, &avail);

	for (i = 0; i < ARRAY_SIZE(schemes); i++) {
		if (len == strlen(schemes[i]) && len <= avail &&
		    strncasecmp((const char *)b - len, schemes[i], len) == 0)
			return true;
	}
	return false;
}

/* The first word of an Authorization value is readable only when it is a known scheme. */
static void step_scheme(struct walk *w)
{
	struct secret_scan *s = w->s;
	uint8_t c = w->in[w->p];

	if (class_of[c] & (C_ALNUM | C_DASH)) {
		s->count++;
		w->p++;
		if (s->count > 20)
			s->mode = M_VALUE;
		return;
	}

	s->mode = M_VALUE;
	if (c == ' ' && scheme_known(w)) {
		w->p++;
		w->from = w->p;
		s->count = 0;
	}
}

/* The piece is at its end: what may yet become a secret is masked now, or never. */
static void piece_end(struct walk *w)
{
	struct secret_scan *s = w->s;
	const struct shape *row = &shapes[s->shape];
	bool last = w->last;

	if (s->pem)
		return;
	switch ((enum mode)s->mode) {
	case M_TEXT:
	case M_PEM:
	case M_SLASH:
	case M_OPEN:
		break;
	case M_SCHEME:
		if (!last || !scheme_known(w))
			emit(w, w->from, w->n);
		break;
	case M_VALUE:
		if (!last || s->count >= s->min)
			value_emit(w, value_kept(s));
		break;
	case M_RUN:
		if (last)
			run_end(w, ' ', true);
		else if (!(row->flags & (S_OPTION | S_USER)))
			emit(w, w->from, w->n);
		break;
	}
}

static void tail_keep(struct secret_scan *s, const uint8_t *in, size_t n)
{
	size_t keep;

	if (n >= SECRETS_BACK) {
		memcpy(s->tail, in + n - SECRETS_BACK, SECRETS_BACK);
		s->tail_len = SECRETS_BACK;
		return;
	}
	keep = MIN((size_t)s->tail_len, SECRETS_BACK - n);
	memmove(s->tail, s->tail + s->tail_len - keep, keep);
	memcpy(s->tail + keep, in, n);
	s->tail_len = (uint8_t)(keep + n);
}

/*
 * The block of a private key. Its lines may be numbered, quoted, the strings of a list, or behind something else
 * that a tool puts before them, and there may be lines about it before its own. So the block goes on to its footer,
 * or until PEM_FAR bytes went by without a word like those of which a key consists; of these, what comes behind
 * the last such word is no part of it.
 */
#define PEM_MAX  16384
#define PEM_FAR  512
#define PEM_WORD 32 /* letters, digits and so on, with a digit and a capital */

enum block { B_ON, B_END, B_NONE };

static void pem_begin(struct walk *w)
{
	struct secret_scan *s = w->s;

	s->mode = M_TEXT;
	s->pem = true;
	s->dashes = s->word = 0;
	s->digit = s->upper = false;
	s->far = s->block = 0;
}

/* Takes in the next byte of the block. Of *ret_sure it is told that everything up to it belongs there. */
static enum block pem_step(struct secret_scan *s, uint8_t c, bool *ret_sure)
{
	uint16_t class = class_of[c];

	if (class & (C_ALNUM | C_BASE64)) {
		s->word += s->word < PEM_WORD;
		s->digit |= class & C_DIGIT;
		s->upper |= class & C_UPPER;
	} else {
		s->word = 0;
		s->digit = s->upper = false;
	}
	s->dashes = c == '-' ? s->dashes + 1 : 0;
	*ret_sure = s->word == PEM_WORD && s->digit && s->upper;
	s->far = *ret_sure ? 0 : s->far + 1;
	s->block++;

	if (s->dashes == 5 || c == '\0' || s->block == PEM_MAX)
		return B_END;
	return s->far == PEM_FAR ? B_NONE : B_ON;
}

/* Between the lines where they are strings of a list or members of an object, so that it remains one. */
static bool pem_frames(uint8_t c)
{
	return c && strchr("\"',:[]{}", c);
}

/* How long is the number, null, true or false at @p, as they stand between strings, but no line of a key does? */
static size_t pem_bare(const uint8_t *p, const uint8_t *end)
{
	size_t n = 0;

	while (n < 6 && p + n < end && (class_of[p[n]] & (C_LOWER | C_DIGIT)))
		n++;
	if (n == 6 || p + n == end)
		return 0;
	return is_space(p[n]) || p[n] == '\\' || (pem_frames(p[n]) && !is_quote(p[n])) ? n : 0;
}

/* How long are the backslashes at @p, with what they escape where that stays? 0: there are none. */
static size_t pem_escape(const uint8_t *p, const uint8_t *end, bool outside, bool *ret_stays)
{
	size_t n = 0;
	uint8_t next;

	while (p + n < end && p[n] == '\\')
		n++;
	next = p + n < end ? p[n] : '\0';
	*ret_stays = is_quote(next) || (outside && next && strchr("nrt", next));
	return n && *ret_stays && !is_quote(next) ? n + 1 : n;
}

/*
 * How long is what stands at @p, and does it stay? Quotes do with their backslashes, what is between strings, and
 * what is not ASCII, as of that a half might be masked.
 */
static size_t pem_unit(const uint8_t *p, const uint8_t *end, bool *outside, bool *ret_stays)
{
	size_t n = pem_escape(p, end, *outside, ret_stays);

	if (!n) {
		n = *outside ? pem_bare(p, end) : 0;
		*ret_stays = n || pem_frames(*p) || *p >= 0x80 || (*outside && is_space(*p));
		*outside |= pem_frames(*p);
	}
	*outside &= *ret_stays;
	return n ?: 1;
}

/* Masks a part of the block. */
static void pem_emit(struct walk *w, size_t from, size_t to)
{
	bool outside = false, stays;
	size_t len;

	for (; from < to; from += len) {
		len = pem_unit(w->in + from, w->in + to, &outside, &stays);
		if (!stays)
			emit(w, from, from + len);
	}
}

/* Without what may belong to the footer. */
static size_t pem_trim(const struct walk *w, size_t to)
{
	while (to > w->p && (w->in[to - 1] == '-' || w->in[to - 1] == '\\' || !w->in[to - 1]))
		to--;
	return to;
}

static void walk_on(struct walk *w);

/* The other automaton goes over the block, too, up to @to. */
static void walk_unheard(struct walk *w, size_t to)
{
	size_t n = w->n;

	w->n = to;
	w->unheard = true;
	walk_on(w);
	w->unheard = false;
	w->n = n;
	w->from = to;
}

/* The block, as far as it goes in this piece. At a cut what is not sure yet is masked whole. */
static void pem_walk(struct walk *w)
{
	size_t p = w->p, sure = p, to;
	enum block block = B_ON;
	bool is_sure;

	while (p < w->n && block == B_ON) {
		block = pem_step(w->s, w->in[p++], &is_sure);
		sure = is_sure ? p : sure;
	}
	if (block == B_NONE)
		p = sure;
	to = pem_trim(w, p);
	if (block != B_ON || w->last)
		sure = to;

	pem_emit(w, w->p, sure);
	emit(w, sure, to);
	w->s->pem = false;
	walk_unheard(w, p);
	w->s->pem = block == B_ON;
}

static void walk_on(struct walk *w)
{
	while (w->p < w->n && !w->s->pem) {
		switch ((enum mode)w->s->mode) {
		case M_TEXT:
			step_text(w);
			break;
		case M_RUN:
			step_run(w);
			break;
		case M_PEM:
			pem_begin(w);
			break;
		case M_SLASH:
			step_slash(w);
			break;
		case M_OPEN:
			step_open(w);
			break;
		case M_SCHEME:
			step_scheme(w);
			break;
		case M_VALUE:
			step_value(w);
			break;
		}
	}
}

static void walk_piece(struct walk *w)
{
	for (walk_on(w); w->p < w->n; walk_on(w))
		pem_walk(w);
}

/* To names before a '=' the first of them is like the others: behind a NUL. */
struct secret_scan secrets_list(bool whole)
{
	return (struct secret_scan){.last = whole, .tail_len = 1};
}

size_t secrets_mask(struct secret_scan *st, const uint8_t *in, size_t n, struct secret_span *spans,
		    size_t max_spans, size_t *ret_total)
{
	struct secret_scan alone;
	struct walk w;

	w.s = st;
	if (!st) {
		alone = (struct secret_scan){0};
		w.s = &alone;
	}
	w.in = in;
	w.n = n;
	w.p = 0;
	w.from = 0;
	w.last = !st || st->last;
	w.unheard = false;
	w.spans = spans;
	w.max_spans = max_spans;
	w.n_spans = 0;
	w.end = 0;
	w.total = 0;
	w.join_tail = w.s->tail_len;
	if (n && w.join_tail) {
		memcpy(w.join, w.s->tail, w.join_tail);
		memcpy(w.join + w.join_tail, in, MIN(n, (size_t)SECRETS_BACK));
	}

	walk_piece(&w);
	piece_end(&w);
	if (st && n)
		tail_keep(st, in, n);

	if (ret_total)
		*ret_total = w.total;
	return w.n_spans;
}

bool secrets_agree(const struct secret_scan *a, const struct secret_scan *b)
{
	return a->mode == M_TEXT && b->mode == M_TEXT && !a->pem && !b->pem &&
	       a->tail_len == b->tail_len && !memcmp(a->tail, b->tail, a->tail_len);
}

void secrets_apply(uint8_t *copy, size_t n, const struct secret_span *spans, size_t n_spans)
{
	size_t i;

	for (i = 0; i < n_spans; i++) {
		if (spans[i].off < n)
			memset(copy + spans[i].off, '*', MIN(spans[i].len, n - spans[i].off));
	}
}
