/* SPDX-License-Identifier: MIT */
/*
 * Keys are short, so eight bytes are looked at a time: the quote behind a key is found in the same
 * word that is then hashed. Whatever has an escape in it goes a slower way.
 */
#include "stats/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/thread_memory.h"

/* Objects whose members are wanted; none is part of itself, so they are as deep as this tells. */
enum group {
	GROUP_NONE,
	GROUP_ROOT,
	GROUP_DATA,
	GROUP_CPU,
	GROUP_MEMORY,
	GROUP_PROCESS,
	GROUP_IO,
	GROUP_FAULTS,
	GROUP_SWITCHES,
	GROUP_NET,
	GROUP_USAGE,
	GROUP_CHILD,
	GROUP_METRICS,
};

static const struct wanted {
	enum group group;
	const char *key;
	enum scan_member member;
	enum group inside; /* the object's own members are wanted */
} wanted[] = {
	{GROUP_ROOT, "timestamp", SCAN_TIMESTAMP, GROUP_NONE},
	{GROUP_ROOT, "source", SCAN_SOURCE, GROUP_NONE},
	{GROUP_ROOT, "pid", SCAN_PID, GROUP_NONE},
	{GROUP_ROOT, "comm", SCAN_COMM, GROUP_NONE},
	{GROUP_ROOT, "exec_id", SCAN_EXEC_ID, GROUP_NONE},
	{GROUP_ROOT, "data", SCAN_DATA, GROUP_DATA},
	{GROUP_ROOT, "kind", SCAN_KIND, GROUP_NONE},
	{GROUP_ROOT, "t0_ms", SCAN_T0_MS, GROUP_NONE},
	{GROUP_ROOT, "cmd", SCAN_CMD, GROUP_NONE},
	{GROUP_ROOT, "executable", SCAN_EXECUTABLE, GROUP_NONE},
	{GROUP_ROOT, "parent", SCAN_PARENT, GROUP_NONE},
	{GROUP_ROOT, "children", SCAN_CHILDREN, GROUP_NONE},
	{GROUP_ROOT, "aggregated", SCAN_AGGREGATED, GROUP_NONE},
	{GROUP_ROOT, "ts_ms", SCAN_TS_MS, GROUP_NONE},
	{GROUP_ROOT, "cpu_usage", SCAN_CPU_USAGE, GROUP_NONE},
	{GROUP_ROOT, "mem_rss_kb", SCAN_MEM_RSS, GROUP_NONE},
	{GROUP_ROOT, "disk_read_bytes", SCAN_DISK_READ, GROUP_NONE},
	{GROUP_ROOT, "disk_write_bytes", SCAN_DISK_WRITE, GROUP_NONE},
	{GROUP_ROOT, "syscall_read_bytes", SCAN_SYSCALL_READ, GROUP_NONE},
	{GROUP_ROOT, "syscall_write_bytes", SCAN_SYSCALL_WRITE, GROUP_NONE},
	{GROUP_ROOT, "page_faults_cached", SCAN_FAULTS_CACHED, GROUP_NONE},
	{GROUP_ROOT, "page_faults_disk", SCAN_FAULTS_DISK, GROUP_NONE},
	{GROUP_ROOT, "net_rx_bytes", SCAN_NET_RX, GROUP_NONE},
	{GROUP_ROOT, "net_tx_bytes", SCAN_NET_TX, GROUP_NONE},
	{GROUP_ROOT, "sys_net_rx_bytes", SCAN_NET_RX, GROUP_NONE},
	{GROUP_ROOT, "sys_net_tx_bytes", SCAN_NET_TX, GROUP_NONE},
	{GROUP_ROOT, "tcp_rx_bytes", SCAN_TCP_RX, GROUP_NONE},
	{GROUP_ROOT, "tcp_tx_bytes", SCAN_TCP_TX, GROUP_NONE},
	{GROUP_ROOT, "thread_count", SCAN_THREAD_COUNT, GROUP_NONE},
	{GROUP_ROOT, "process_count", SCAN_PROCESS_COUNT, GROUP_NONE},
	{GROUP_CHILD, "pid", SCAN_PID, GROUP_NONE},
	{GROUP_CHILD, "command", SCAN_COMMAND, GROUP_NONE},
	{GROUP_CHILD, "metrics", SCAN_METRICS, GROUP_METRICS},
	{GROUP_METRICS, "ts_ms", SCAN_TS_MS, GROUP_NONE},
	{GROUP_METRICS, "cpu_usage", SCAN_CPU_USAGE, GROUP_NONE},
	{GROUP_METRICS, "mem_rss_kb", SCAN_MEM_RSS, GROUP_NONE},
	{GROUP_METRICS, "disk_read_bytes", SCAN_DISK_READ, GROUP_NONE},
	{GROUP_METRICS, "disk_write_bytes", SCAN_DISK_WRITE, GROUP_NONE},
	{GROUP_METRICS, "syscall_read_bytes", SCAN_SYSCALL_READ, GROUP_NONE},
	{GROUP_METRICS, "syscall_write_bytes", SCAN_SYSCALL_WRITE, GROUP_NONE},
	{GROUP_METRICS, "page_faults_cached", SCAN_FAULTS_CACHED, GROUP_NONE},
	{GROUP_METRICS, "page_faults_disk", SCAN_FAULTS_DISK, GROUP_NONE},
	{GROUP_METRICS, "tcp_rx_bytes", SCAN_TCP_RX, GROUP_NONE},
	{GROUP_METRICS, "tcp_tx_bytes", SCAN_TCP_TX, GROUP_NONE},
	{GROUP_METRICS, "thread_count", SCAN_THREAD_COUNT, GROUP_NONE},
	{GROUP_METRICS, "process_count", SCAN_PROCESS_COUNT, GROUP_NONE},
	{GROUP_DATA, "type", SCAN_TYPE, GROUP_NONE},
	{GROUP_DATA, "interval_ns", SCAN_INTERVAL, GROUP_NONE},
	{GROUP_DATA, "elapsed_ns", SCAN_ELAPSED, GROUP_NONE},
	{GROUP_DATA, "cpu", SCAN_MEMBERS, GROUP_CPU},
	{GROUP_DATA, "memory", SCAN_MEMBERS, GROUP_MEMORY},
	{GROUP_DATA, "process", SCAN_MEMBERS, GROUP_PROCESS},
	{GROUP_DATA, "io", SCAN_MEMBERS, GROUP_IO},
	{GROUP_DATA, "faults", SCAN_MEMBERS, GROUP_FAULTS},
	{GROUP_DATA, "switches", SCAN_MEMBERS, GROUP_SWITCHES},
	{GROUP_DATA, "net", SCAN_MEMBERS, GROUP_NET},
	{GROUP_DATA, "usage", SCAN_MEMBERS, GROUP_USAGE},
	{GROUP_DATA, "threads", SCAN_THREADS, GROUP_NONE},
	{GROUP_DATA, "processes", SCAN_PROCESSES, GROUP_NONE},
	{GROUP_DATA, "exit_code", SCAN_EXIT_CODE, GROUP_NONE},
	{GROUP_DATA, "signal", SCAN_SIGNAL, GROUP_NONE},
	{GROUP_DATA, "duration_ns", SCAN_DURATION, GROUP_NONE},
	{GROUP_DATA, "cpu_user_ns", SCAN_EXIT_USER, GROUP_NONE},
	{GROUP_DATA, "cpu_system_ns", SCAN_EXIT_SYSTEM, GROUP_NONE},
	{GROUP_DATA, "max_rss_kb", SCAN_MAX_RSS, GROUP_NONE},
	{GROUP_DATA, "read_bytes", SCAN_EXIT_READ, GROUP_NONE},
	{GROUP_DATA, "write_bytes", SCAN_EXIT_WRITE, GROUP_NONE},
	{GROUP_DATA, "rchar", SCAN_EXIT_RCHAR, GROUP_NONE},
	{GROUP_DATA, "wchar", SCAN_EXIT_WCHAR, GROUP_NONE},
	{GROUP_DATA, "argv", SCAN_ARGV, GROUP_NONE},
	{GROUP_DATA, "started", SCAN_STARTED, GROUP_NONE},
	{GROUP_DATA, "rule", SCAN_RULE, GROUP_NONE},
	{GROUP_DATA, "metric", SCAN_METRIC, GROUP_NONE},
	{GROUP_DATA, "unit", SCAN_UNIT, GROUP_NONE},
	{GROUP_DATA, "path", SCAN_PATH, GROUP_NONE},
	{GROUP_DATA, "state", SCAN_STATE, GROUP_NONE},
	{GROUP_DATA, "value", SCAN_VALUE, GROUP_NONE},
	{GROUP_DATA, "limit", SCAN_LIMIT, GROUP_NONE},
	{GROUP_DATA, "min", SCAN_MIN, GROUP_NONE},
	{GROUP_DATA, "avg", SCAN_AVG, GROUP_NONE},
	{GROUP_DATA, "max", SCAN_MAX, GROUP_NONE},
	{GROUP_DATA, "provider", SCAN_PROVIDER, GROUP_NONE},
	{GROUP_DATA, "model", SCAN_MODEL, GROUP_NONE},
	{GROUP_DATA, "role", SCAN_ROLE, GROUP_NONE},
	{GROUP_DATA, "status", SCAN_STATUS, GROUP_NONE},
	{GROUP_DATA, "error", SCAN_ERROR, GROUP_NONE},
	{GROUP_DATA, "tool_call_count", SCAN_TOOL_CALLS, GROUP_NONE},
	{GROUP_DATA, "cost_nano_usd", SCAN_COST, GROUP_NONE},
	{GROUP_DATA, "name", SCAN_NAME, GROUP_NONE},
	{GROUP_DATA, "file_count", SCAN_FILE_COUNT, GROUP_NONE},
	{GROUP_DATA, "is_error", SCAN_IS_ERROR, GROUP_NONE},
	{GROUP_DATA, "reason", SCAN_REASON, GROUP_NONE},
	{GROUP_DATA, "count", SCAN_COUNT, GROUP_NONE},
	{GROUP_DATA, "lost", SCAN_LOST, GROUP_NONE},
	{GROUP_CPU, "percent", SCAN_CPU_PERCENT, GROUP_NONE},
	{GROUP_CPU, "cores", SCAN_CORES, GROUP_NONE},
	{GROUP_CPU, "total_ns", SCAN_CPU_TOTAL, GROUP_NONE},
	{GROUP_CPU, "user_ns", SCAN_CPU_USER, GROUP_NONE},
	{GROUP_CPU, "system_ns", SCAN_CPU_SYSTEM, GROUP_NONE},
	{GROUP_CPU, "wait_ns", SCAN_CPU_WAIT, GROUP_NONE},
	{GROUP_MEMORY, "rss_kb", SCAN_RSS, GROUP_NONE},
	{GROUP_MEMORY, "pss_kb", SCAN_PSS, GROUP_NONE},
	{GROUP_MEMORY, "uss_kb", SCAN_USS, GROUP_NONE},
	{GROUP_MEMORY, "swap_kb", SCAN_SWAP, GROUP_NONE},
	{GROUP_MEMORY, "peak_kb", SCAN_PEAK, GROUP_NONE},
	{GROUP_MEMORY, "used_kb", SCAN_USED, GROUP_NONE},
	{GROUP_PROCESS, "threads", SCAN_PROCESS_THREADS, GROUP_NONE},
	{GROUP_PROCESS, "fds", SCAN_FDS, GROUP_NONE},
	{GROUP_IO, "read_bytes", SCAN_READ_BYTES, GROUP_NONE},
	{GROUP_IO, "write_bytes", SCAN_WRITE_BYTES, GROUP_NONE},
	{GROUP_IO, "rchar", SCAN_RCHAR, GROUP_NONE},
	{GROUP_IO, "wchar", SCAN_WCHAR, GROUP_NONE},
	{GROUP_IO, "syscr", SCAN_SYSCR, GROUP_NONE},
	{GROUP_IO, "syscw", SCAN_SYSCW, GROUP_NONE},
	{GROUP_FAULTS, "minor", SCAN_MINOR, GROUP_NONE},
	{GROUP_FAULTS, "major", SCAN_MAJOR, GROUP_NONE},
	{GROUP_SWITCHES, "voluntary", SCAN_VOLUNTARY, GROUP_NONE},
	{GROUP_SWITCHES, "involuntary", SCAN_INVOLUNTARY, GROUP_NONE},
	{GROUP_NET, "rx_bytes", SCAN_RX, GROUP_NONE},
	{GROUP_NET, "tx_bytes", SCAN_TX, GROUP_NONE},
	{GROUP_USAGE, "input_tokens", SCAN_TOKENS_IN, GROUP_NONE},
	{GROUP_USAGE, "output_tokens", SCAN_TOKENS_OUT, GROUP_NONE},
	{GROUP_USAGE, "cache_read_tokens", SCAN_TOKENS_READ, GROUP_NONE},
	{GROUP_USAGE, "cache_write_tokens", SCAN_TOKENS_WRITTEN, GROUP_NONE},
	{GROUP_USAGE, "reasoning_tokens", SCAN_TOKENS_REASONING, GROUP_NONE},
};

static const struct {
	const char *source, *type;
	enum scan_event event;
} events[] = {
	{"system", "system_metrics", SCAN_EV_PROCESS},
	{"system", "tree", SCAN_EV_TREE},
	{"system", "system_wide", SCAN_EV_MACHINE},
	{"process", "exit", SCAN_EV_EXIT},
	{"process", "exec", SCAN_EV_EXEC},
	{"process", "info", SCAN_EV_INFO},
	{"process", "oom_kill", SCAN_EV_OOM_KILL},
	{"alert", "threshold", SCAN_EV_THRESHOLD},
	{"llm", "response", SCAN_EV_RESPONSE},
	{"llm", "tool_run", SCAN_EV_TOOL_RUN},
	{"agentsight", "loss", SCAN_EV_LOSS},
	{"agentsight", "start", SCAN_EV_START},
	{"agentsight", "stop", SCAN_EV_STOP},
};

/* ---- keys ---- */

#define KEYS 512

static struct {
	uint64_t word, second; /* the first sixteen bytes */
	uint32_t len;
	const struct wanted *wanted;
} keys[KEYS];

static size_t key_hash(uint64_t word, uint64_t second, enum group group)
{
	return ((word ^ second << 3 ^ (uint64_t)group << 59) * 0x9e3779b97f4a7c15ULL) >> 55;
}

/* The text is little-endian in a word where the machine is; elsewhere it is turned. */
static uint64_t load(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	return word;
}

/* The first @n of eight bytes, zero behind them. */
static uint64_t load_some(const char *p, size_t n)
{
	return n >= 8 ? load(p) : n ? load(p) & (~0ULL >> (64 - 8 * n)) : 0;
}

void scan_init(void)
{
	memset(keys, 0, sizeof(keys));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		char text[16] = "";
		size_t len = strlen(wanted[i].key), at;
		uint64_t word, second;

		memcpy(text, wanted[i].key, MIN(len, sizeof(text)));
		word = load(text);
		second = load(text + 8);
		at = key_hash(word, second, wanted[i].group);
		while (keys[at].wanted)
			at = (at + 1) % KEYS;
		keys[at].word = word;
		keys[at].second = second;
		keys[at].len = (uint32_t)len;
		keys[at].wanted = &wanted[i];
	}
}

static const struct wanted *find_key(const char *p, size_t len, enum group group)
{
	uint64_t word = load_some(p, len), second = len > 8 ? load_some(p + 8, len - 8) : 0;

	for (size_t at = key_hash(word, second, group); keys[at].wanted; at = (at + 1) % KEYS) {
		if (keys[at].word == word && keys[at].second == second && keys[at].len == len &&
		    keys[at].wanted->group == group &&
		    (len <= 16 || !memcmp(p + 16, keys[at].wanted->key + 16, len - 16)))
			return keys[at].wanted;
	}
	return NULL;
}

/* ---- tokens: behind the last byte of each, NULL when the text ends before or is none ---- */

#define EACH_BYTE 0x0101010101010101ULL

/* The high bit of the first byte that is a quote, and perhaps of later ones. */
static uint64_t quotes(uint64_t word)
{
	uint64_t x = word ^ ('"' * EACH_BYTE);

	return (x - EACH_BYTE) & ~x & (0x80 * EACH_BYTE);
}

/* How many of the eight bytes are digits, from the first on. */
static unsigned digits(uint64_t word)
{
	uint64_t x = word ^ ('0' * EACH_BYTE);
	uint64_t others = (((x & 0x7f * EACH_BYTE) + 0x76 * EACH_BYTE) | x) & 0x80 * EACH_BYTE;

	return others ? (unsigned)__builtin_ctzll(others) / 8 : 8;
}

/* The number that @n digits make, 8 at most: pairs, then fours, then all. */
static uint64_t number(uint64_t word, unsigned n)
{
	uint64_t x = n ? (word ^ ('0' * EACH_BYTE)) << (64 - 8 * n) : 0;

	x = x * 10 + (x >> 8);
	return ((x & 0xff000000ffULL) * (100 + (1000000ULL << 32)) +
		((x >> 16) & 0xff000000ffULL) * (1 + (10000ULL << 32))) >>
	       32;
}

/* @p stands behind the opening quote. A quote behind an odd number of backslashes is text. */
static const char *skip_string(const char *p, const char *end)
{
	const char *from = p;

	while (p < end) {
		uint64_t found = quotes(load(p));
		const char *q, *b;

		if (!found) {
			p += 8;
			if (p - from >= 64)
				p = memchr(p, '"', p < end ? (size_t)(end - p) : 0);
			if (!p)
				return NULL;
			continue;
		}
		q = p + __builtin_ctzll(found) / 8;
		if (q >= end)
			return NULL;
		for (b = q; b > from && b[-1] == '\\';)
			b--;
		if (!((q - b) & 1))
			return q + 1;
		p = q + 1;
	}
	return NULL;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

/* Whether the brackets are of one kind is not looked at: nothing inside is wanted. */
static const char *skip_nested(const char *p, const char *end)
{
	size_t depth = 0;

	while (p < end) {
		switch (*p++) {
		case '"':
			p = skip_string(p, end);
			if (!p)
				return NULL;
			break;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (--depth == 0)
				return p;
			break;
		}
	}
	return NULL;
}

static uint64_t long_number(const char *p, const char *end)
{
	uint64_t n = 0;

	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return UINT64_MAX;
	}
	return n;
}

/*
 * Digits, and what they say, cut to what fits. It is made here because here it costs nothing: a
 * processor cannot foresee how many digits there are, and waits for that.
 */
static const char *read_digits(const char *p, const char *end, uint64_t *ret)
{
	static const uint32_t powers[] = {1,      10,      100,      1000,     10000,
					  100000, 1000000, 10000000, 100000000};
	const char *from = p;
	uint64_t n = 0;
	unsigned len;

	do {
		uint64_t word = load(p);

		len = digits(word);
		n = n * powers[len] + number(word, len);
		p += len;
	} while (len == 8 && p < end);
	*ret = p - from > 19 ? long_number(from, end) : n;
	return p;
}

/*
 * Numbers and words; what they consist of is looked at where they are used. @ret: what the digits in
 * front say.
 */
static const char *skip_bare(const char *p, const char *end, uint64_t *ret)
{
	const char *from = p;

	p = read_digits(p, end, ret);
	while (p < end && *p != ',' && *p != '}' && *p != ']' && !is_space(*p) && *p != '"' &&
	       *p != ':')
		p++;
	return p > from && p < end ? p : NULL;
}

static const char *skip_value(const char *p, const char *end, uint64_t *ret)
{
	*ret = 0;
	if (p == end)
		return NULL;
	if (*p == '"')
		return skip_string(p + 1, end);
	if (*p == '{' || *p == '[')
		return skip_nested(p, end);
	return skip_bare(p, end, ret);
}

/* ---- objects ---- */

struct scanner {
	const char *p, *end;
	struct scan *out;
	enum scan_event event;
	struct place *places; /* NULL: none, for want of memory */
	bool told;            /* the event's type is known */
	unsigned at;          /* how many members were passed */
};

/*
 * Lines of one type have the same keys in the same order. What stood at a place in the last line is
 * compared first, quotes and colon included: then where the value begins is known before the key is
 * read, and a processor need not wait for it.
 */
#define PLACES      128
#define PLACE_WORDS 3

struct place {
	uint64_t text[PLACE_WORDS], mask[PLACE_WORDS];
	const struct wanted *wanted; /* NULL: it is known that nobody wants it */
	uint32_t len;                /* 0: nothing is known */
	enum group group;
};

static struct place *places_own(void)
{
	static _Thread_local struct place *places;

	if (!places)
		places = thread_calloc(PLACES * sizeof(*places));
	return places;
}

static bool place_is(const struct place *x, const char *p, const char *end, enum group group)
{
	if (!x->len || x->group != group || (size_t)(end - p) < x->len)
		return false;
	return !(((load(p) ^ x->text[0]) & x->mask[0]) | ((load(p + 8) ^ x->text[1]) & x->mask[1]) |
		 ((load(p + 16) ^ x->text[2]) & x->mask[2]));
}

/* @len bytes from the quote before the key to the colon behind it. */
static void place_learn(struct place *x, const char *p, size_t len, enum group group,
			const struct wanted *w)
{
	x->len = len <= 8 * PLACE_WORDS ? (uint32_t)len : 0;
	x->group = group;
	x->wanted = w;
	for (size_t i = 0; i < PLACE_WORDS && x->len; i++) {
		size_t here = len > 8 * i ? MIN(len - 8 * i, (size_t)8) : 0;

		x->mask[i] = here ? ~0ULL >> (64 - 8 * here) : 0;
		x->text[i] = load(p + 8 * i) & x->mask[i];
	}
}

static void note(struct scan *out, enum scan_member m, const char *p, const char *end,
		 uint64_t whole)
{
	out->present[m / 64] |= 1ULL << m % 64;
	out->members[m] = (struct value){p, (size_t)(end - p)};
	out->numbers[m] = whole;
}

static enum scan_event which_event(const struct scan *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		if (scan_is(s, SCAN_TYPE, events[i].type) &&
		    scan_is(s, SCAN_SOURCE, events[i].source))
			return events[i].event;
	}
	return SCAN_EV_NONE;
}

static bool scan_object(struct scanner *sc, enum group group);

/* "key": and the space around the colon; behind it, or NULL. */
static const char *scan_key(struct scanner *sc, enum group group, const struct wanted **ret)
{
	struct place *x = sc->places ? &sc->places[sc->at++ % PLACES] : NULL;
	const char *key = sc->p + 1, *p;

	if (x && place_is(x, sc->p, sc->end, group)) {
		*ret = x->wanted;
		return skip_space(sc->p + x->len, sc->end);
	}
	if (sc->p == sc->end || *sc->p != '"')
		return NULL;
	p = skip_string(key, sc->end);
	if (!p)
		return NULL;
	*ret = find_key(key, (size_t)(p - key) - 1, group);
	p = skip_space(p, sc->end);
	if (p == sc->end || *p != ':')
		return NULL;
	p++;
	if (x)
		place_learn(x, sc->p, (size_t)(p - sc->p), group, *ret);
	return skip_space(p, sc->end);
}

/* False at the end of the line, at what is no JSON, and where the rest is not wanted. */
static bool scan_member(struct scanner *sc, enum group group)
{
	const struct wanted *w = NULL;
	const char *from = scan_key(sc, group, &w);
	uint64_t whole = 0;

	if (!from)
		return false;
	sc->p = from;
	if (w && w->inside != GROUP_NONE && from < sc->end && *from == '{') {
		if (!scan_object(sc, w->inside))
			return false;
	} else {
		sc->p = skip_value(from, sc->end, &whole);
		if (!sc->p)
			return false;
	}
	if (!w || w->member == SCAN_MEMBERS)
		return true;
	note(sc->out, w->member, from, sc->p, whole);
	if (w->member == SCAN_TYPE && scan_has(sc->out, SCAN_SOURCE)) {
		sc->event = which_event(sc->out);
		sc->told = true;
		return sc->event != SCAN_EV_NONE;
	}
	return true;
}

static bool scan_object(struct scanner *sc, enum group group)
{
	sc->p = skip_space(sc->p + 1, sc->end);
	if (sc->p < sc->end && *sc->p == '}') {
		sc->p++;
		return true;
	}
	for (;;) {
		if (!scan_member(sc, group))
			return false;
		sc->p = skip_space(sc->p, sc->end);
		if (sc->p == sc->end)
			return false;
		if (*sc->p == '}') {
			sc->p++;
			return true;
		}
		if (*sc->p != ',')
			return false;
		sc->p = skip_space(sc->p + 1, sc->end);
	}
}

static bool is_denet(const struct scan *s)
{
	return scan_has(s, SCAN_KIND) || scan_has(s, SCAN_TS_MS) || scan_has(s, SCAN_T0_MS) ||
	       scan_has(s, SCAN_AGGREGATED) || scan_has(s, SCAN_PARENT);
}

enum scan_event scan_line(const char *p, size_t n, struct scan *out)
{
	struct scanner sc = {.p = p, .end = p + n, .out = out, .places = places_own()};

	memset(out->present, 0, sizeof(out->present));
	/* a file that is one array, an object a line */
	sc.p = skip_space(sc.p, sc.end);
	if (sc.p < sc.end && *sc.p == '[')
		sc.p = skip_space(sc.p + 1, sc.end);
	while (sc.end > sc.p && (is_space(sc.end[-1]) || sc.end[-1] == ',' || sc.end[-1] == ']'))
		sc.end--;
	if (sc.p == sc.end)
		return n && memchr(p, ',', n) ? SCAN_EV_BAD : SCAN_EV_NONE;
	if (*sc.p != '{')
		return SCAN_EV_BAD;
	if (!scan_object(&sc, GROUP_ROOT))
		return sc.told && sc.event == SCAN_EV_NONE ? SCAN_EV_NONE : SCAN_EV_BAD;
	if (sc.p != sc.end)
		return SCAN_EV_BAD;
	if (scan_has(out, SCAN_TYPE))
		return which_event(out);
	return is_denet(out) ? SCAN_EV_DENET : SCAN_EV_NONE;
}

bool scan_metrics(struct value object, bool child, struct scan *out)
{
	struct scanner sc = {
		.p = object.p, .end = object.p + object.len, .out = out, .places = places_own()};

	memset(out->present, 0, sizeof(out->present));
	return value_kind(object) == VALUE_OBJECT &&
	       scan_object(&sc, child ? GROUP_CHILD : GROUP_METRICS);
}

/* ---- values ---- */

/* 1e-05 and the like: rare, so the library may read it, from a copy that ends. */
static int64_t slow_centi(const char *p, size_t n)
{
	char text[64];
	double value;

	n = MIN(n, sizeof(text) - 1);
	memcpy(text, p, n);
	text[n] = '\0';
	value = strtod(text, NULL) * 100;
	if (!(value > -9e15 && value < 9e15))
		return 0;
	return (int64_t)(value + (value < 0 ? -0.5 : 0.5));
}

int64_t scan_centi(const struct scan *s, enum scan_member m)
{
	const char *p, *end, *from;
	int64_t n = 0, place = 10;
	bool negative;

	if (!scan_has(s, m))
		return 0;
	p = s->members[m].p;
	end = p + s->members[m].len;
	if (p < end && *p == '"')
		p++;
	from = p;
	negative = p < end && *p == '-';
	p += negative;
	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		if (n > INT64_MAX / 10000)
			return 0;
		n = n * 10 + (*p - '0');
	}
	n *= 100;
	if (p < end && *p == '.') {
		for (p++; p < end && *p >= '0' && *p <= '9'; p++, place /= 10) {
			n += place * (*p - '0');
			if (!place) {
				n += *p >= '5';
				break;
			}
		}
		while (p < end && *p >= '0' && *p <= '9')
			p++;
	}
	if (p < end && (*p | 0x20) == 'e')
		return slow_centi(from, (size_t)(end - from));
	return negative ? -n : n;
}

struct value scan_raw(const struct scan *s, enum scan_member m)
{
	struct value v = s->members[m];

	if (!scan_has(s, m) || value_kind(v) != VALUE_STRING)
		return (struct value){"", 0};
	return (struct value){v.p + 1, v.len - 2};
}

bool scan_is(const struct scan *s, enum scan_member m, const char *text)
{
	struct value v;
	size_t n = strlen(text);

	if (!scan_has(s, m))
		return false;
	v = s->members[m];
	return v.len == n + 2 && v.p[0] == '"' && !memcmp(v.p + 1, text, n);
}

bool scan_exec_id(const struct scan *s, uint32_t *ret_pid, uint64_t *ret_start)
{
	struct value v = scan_raw(s, SCAN_EXEC_ID);
	uint64_t numbers[2] = {0, 0};
	size_t which = 0;

	for (size_t i = 0; i < v.len; i++) {
		if (v.p[i] == '@' && !which)
			which = 1;
		else if (v.p[i] >= '0' && v.p[i] <= '9')
			numbers[which] = numbers[which] * 10 + (uint64_t)(v.p[i] - '0');
		else
			return false;
	}
	if (!which)
		return false;
	*ret_pid = (uint32_t)numbers[0];
	*ret_start = numbers[1];
	return true;
}
