/* SPDX-License-Identifier: MIT */
/* Reading what agentsight wrote, and comparing it with what a workload says it did. */
#include "live.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one line ---- */

json_object *object_at(json_object *o, const char *path)
{
	char *copy = strdup(path), *rest = copy;

	for (char *key; o && (key = strsep(&rest, "."));) {
		if (!json_object_is_type(o, json_type_object) ||
		    !json_object_object_get_ex(o, key, &o))
			o = NULL;
	}
	free(copy);
	return o;
}

int64_t line_int(const struct line *l, const char *key)
{
	json_object *o = object_at(l->data, key);

	CHECK(o && json_object_is_type(o, json_type_int), "no number '%s' in %s", key,
	      json_object_to_json_string(l->json));
	return json_object_get_int64(o);
}

const char *line_str(const struct line *l, const char *key)
{
	json_object *o = object_at(l->data, key);

	CHECK(o && json_object_is_type(o, json_type_string), "no text '%s' in %s", key,
	      json_object_to_json_string(l->json));
	return json_object_get_string(o);
}

static json_object *member(json_object *o, const char *key, enum json_type type, const char *text)
{
	json_object *v;

	CHECK(json_object_object_get_ex(o, key, &v) && json_object_is_type(v, type),
	      "the line lacks '%s': %.300s", key, text);
	return v;
}

/* Takes @text apart; whatever is wrong with it fails the test. */
static void line_parse(struct line *l, json_tokener *tok, const char *text, size_t len)
{
	CHECK(len && text[len - 1] == '\n', "a line without end: %.300s", text);
	CHECK(strlen(text) == len, "a line holds a zero byte: %.300s", text);
	json_tokener_reset(tok);
	*l = (struct line){.json = json_tokener_parse_ex(tok, text, len)};
	CHECK(l->json && json_object_is_type(l->json, json_type_object), "not JSON (%s): %.300s",
	      json_tokener_error_desc(json_tokener_get_error(tok)), text);
	l->timestamp = json_object_get_int64(member(l->json, "timestamp", json_type_int, text));
	l->source = json_object_get_string(member(l->json, "source", json_type_string, text));
	l->pid = json_object_get_int(member(l->json, "pid", json_type_int, text));
	member(l->json, "comm", json_type_string, text);
	l->data = member(l->json, "data", json_type_object, text);
	l->type = json_object_get_string(member(l->data, "type", json_type_string, text));
}

void stream_each(const char *path, void (*on_line)(const struct line *, void *), void *context)
{
	json_tokener *tok = json_tokener_new_ex(64);
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t cap = 0;
	struct line l;
	ssize_t len;

	CHECK(f, "cannot read %s: %s", path, strerror(errno));
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8 |
					    JSON_TOKENER_ALLOW_TRAILING_CHARS);
	while ((len = getline(&text, &cap, f)) > 0) {
		line_parse(&l, tok, text, len);
		on_line(&l, context);
		json_object_put(l.json);
	}
	free(text);
	fclose(f);
	json_tokener_free(tok);
}

/* ---- all of them ---- */

static void keep(const struct line *l, void *context)
{
	struct stream *st = context;

	if (!(st->n & (st->n - 1)))
		st->lines = realloc(st->lines, (st->n ? 2 * st->n : 1) * sizeof(*st->lines));
	st->lines[st->n] = *l;
	json_object_get(l->json);
	st->n++;
}

static const struct stream *sorting;

static int by_pid_then_position(const void *a, const void *b)
{
	size_t i = *(const size_t *)a, j = *(const size_t *)b;
	pid_t p = sorting->lines[i].pid, q = sorting->lines[j].pid;

	if (p != q)
		return p < q ? -1 : 1;
	return i < j ? -1 : i > j;
}

void stream_load(struct stream *st, const char *path)
{
	*st = (struct stream){};
	stream_each(path, keep, st);
	st->by_pid = malloc((st->n + 1) * sizeof(*st->by_pid));
	for (size_t i = 0; i < st->n; i++)
		st->by_pid[i] = i;
	sorting = st;
	qsort(st->by_pid, st->n, sizeof(*st->by_pid), by_pid_then_position);
	if (st->n && !strcmp(st->lines[st->n - 1].type, "stop"))
		st->stop = st->lines[st->n - 1].data;
}

static bool is(const struct line *l, const char *source, const char *type)
{
	return (!source || !strcmp(l->source, source)) && (!type || !strcmp(l->type, type));
}

size_t stream_count(const struct stream *st, const char *source, const char *type)
{
	size_t n = 0;

	for (size_t i = 0; i < st->n; i++)
		n += is(&st->lines[i], source, type);
	return n;
}

struct line *stream_find(const struct stream *st, size_t *i, pid_t pid, const char *source,
			 const char *type)
{
	while (*i < st->n) {
		struct line *l = &st->lines[(*i)++];

		if ((!pid || l->pid == pid) && is(l, source, type))
			return l;
	}
	return NULL;
}

struct line *stream_only(const struct stream *st, pid_t pid, const char *source, const char *type)
{
	size_t i = 0;
	struct line *l = stream_find(st, &i, pid, source, type);

	CHECK(l, "no %s.%s of process %d", source, type, pid);
	CHECK(!stream_find(st, &i, pid, source, type), "more than one %s.%s of process %d", source,
	      type, pid);
	return l;
}

uint64_t stop_count(const struct stream *st, const char *key)
{
	json_object *o = st->stop ? object_at(st->stop, key) : NULL;

	return o ? json_object_get_int64(o) : 0;
}

/* ---- the stream as a whole ---- */

static size_t count_late(const struct stream *st)
{
	uint64_t last = 0;
	size_t late = 0;

	for (size_t i = 0; i < st->n; i++) {
		if (st->lines[i].timestamp < last)
			late++;
		else
			last = st->lines[i].timestamp;
	}
	return late;
}

/* Of each type, as many lines as `stop` says were delivered; and of no other type any. */
static void check_streams(const struct stream *st)
{
	json_object *streams = object_at(st->stop, "streams");
	size_t sum = 0;

	CHECK(streams, "`stop` has no streams");
	json_object_object_foreach(streams, name, row)
	{
		char *source = strdup(name), *type = source;
		json_object *delivered = object_at(row, "delivered");
		size_t n = delivered ? json_object_get_int64(delivered) : 0, lines;

		strsep(&type, ".");
		lines = stream_count(st, source, type);
		/* what goes from the kernel to user space only is never shown */
		if (strcmp(source, "internal")) {
			CHECK(lines == n, "%zu lines of %s, `stop` says %zu", lines, name, n);
			sum += lines;
		}
		free(source);
	}
	CHECK(sum == st->n - 1, "%zu lines, `stop` speaks of %zu", st->n - 1, sum);
}

void stream_check_whole(const struct stream *st)
{
	size_t late = count_late(st);

	CHECK(st->n && is(&st->lines[0], "agentsight", "start"), "the first line is not `start`");
	CHECK(st->stop, "the last line is not `stop`");
	CHECK(stream_count(st, "agentsight", "stop") == 1, "more than one `stop`");
	CHECK(stop_count(st, "difference") == 0, "the ledger does not close: %s",
	      json_object_to_json_string(st->stop));
	CHECK(late <= stop_count(st, "late"), "%zu lines out of order, `stop` says %llu", late,
	      (unsigned long long)stop_count(st, "late"));
	check_streams(st);
}

void stream_check_lossless(const struct stream *st)
{
	stream_check_whole(st);
	/* A hook that the kernel skipped (7.1 and later, when busy) is counted; whether something is
	 * missing for it is for the comparison with what the workload said. */
	CHECK(stop_count(st, "dropped") == 0 && stop_count(st, "shed") == 0, "events were lost: %s",
	      json_object_to_json_string(st->stop));
	CHECK(stream_count(st, "agentsight", "loss") == 0 || stop_count(st, "missed"),
	      "a `loss` event though nothing was lost");
}

/* Is @word one of the words of @list? */
static bool listed(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; (p = strstr(p, word)); p += len) {
		if ((p == list || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
	}
	return false;
}

void stream_check_sources(const struct stream *st, const char *sources)
{
	for (size_t i = 0; i < st->n; i++) {
		const struct line *l = &st->lines[i];

		CHECK(listed(sources, l->source) || !strcmp(l->source, "agentsight"),
		      "a line that nobody asked for: %s", json_object_to_json_string(l->json));
	}
}

static bool has_pid(const pid_t *pids, size_t n, pid_t pid)
{
	while (n-- > 0) {
		if (pids[n] == pid)
			return true;
	}
	return false;
}

void stream_check_family(const struct stream *st, pid_t root)
{
	pid_t *family = malloc((st->n + 1) * sizeof(*family));
	size_t n = 0;

	family[n++] = root;
	for (size_t i = 0; i < st->n; i++) {
		const struct line *l = &st->lines[i];

		if (!strcmp(l->source, "agentsight"))
			continue;
		CHECK(has_pid(family, n, l->pid), "a line of a process that is not watched: %s",
		      json_object_to_json_string(l->json));
		if (!strcmp(l->type, "fork"))
			family[n++] = line_int(l, "child_pid");
	}
	free(family);
}

/* ---- a stream that is too long to be kept ---- */

/* Why events are lost, as `loss` says, and where the ledger counts that. */
static const struct {
	const char *reason, *key;
} losses[] = {
	{"ring full", "ring_full"},
	{"output", "output_dropped"},
	{"no memory", "no_memory"},
	{"limit", "shed"},
};

#define N_LOSSES (sizeof(losses) / sizeof(losses[0]))

static struct census_row *census_row(struct census *t, const char *type)
{
	for (size_t i = 0; i < t->n; i++) {
		if (!strcmp(t->rows[i].type, type))
			return &t->rows[i];
	}
	CHECK(t->n < sizeof(t->rows) / sizeof(t->rows[0]), "too many types");
	snprintf(t->rows[t->n].type, sizeof(t->rows[t->n].type), "%s", type);
	return &t->rows[t->n++];
}

static void census_loss(struct census *t, const struct line *l)
{
	const char *type = line_str(l, "event"), *reason = line_str(l, "reason");
	struct census_row *row;

	if (!strcmp(type, "*"))
		return; /* what was lost before it had a type; it is in `stop` */
	row = census_row(t, type);
	for (size_t i = 0; i < N_LOSSES; i++) {
		if (!strcmp(reason, losses[i].reason)) {
			row->told_lost[i] += line_int(l, "count");
			CHECK(line_int(l, "total") == (int64_t)row->told_lost[i],
			      "the losses told so far come to %llu: %s",
			      (unsigned long long)row->told_lost[i],
			      json_object_to_json_string(l->json));
		}
	}
}

uint64_t census_ledger(const struct census *t, const char *type, const char *key)
{
	json_object *row = NULL;

	CHECK(t->stop, "the stream has no `stop`");
	json_object_object_get_ex(object_at(t->stop, "streams"), type, &row);
	return row ? json_object_get_int64(object_at(row, key)) : 0;
}

uint64_t census_lost(const struct census *t, const char *type)
{
	return census_ledger(t, type, "ring_full") + census_ledger(t, type, "output_dropped") +
	       census_ledger(t, type, "no_memory");
}

/* One type: it closes by itself, and the lines and `loss` events agree with it. */
static void census_check_row(struct census *t, const char *type)
{
	static const char *const ends[] = {"delivered", "ring_full", "output_dropped",
					   "no_memory", "filtered",  "shed"};
	struct census_row *row = census_row(t, type);
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sum += census_ledger(t, type, ends[i]);
	CHECK(sum == census_ledger(t, type, "produced"), "%s does not close: %s", type,
	      json_object_to_json_string(t->stop));
	CHECK(!strncmp(type, "internal.", 9) || row->lines == census_ledger(t, type, "delivered"),
	      "%llu lines of %s: %s", (unsigned long long)row->lines, type,
	      json_object_to_json_string(t->stop));
	for (size_t i = 0; i < N_LOSSES; i++)
		CHECK(row->told_lost[i] == census_ledger(t, type, losses[i].key),
		      "the `loss` events of %s (%s) come to %llu: %s", type, losses[i].reason,
		      (unsigned long long)row->told_lost[i], json_object_to_json_string(t->stop));
}

static void census_check(struct census *t)
{
	json_object *streams = object_at(t->stop, "streams");

	CHECK(streams, "`stop` has no streams");
	CHECK(json_object_get_int64(object_at(t->stop, "difference")) == 0,
	      "the ledger does not close: %s", json_object_to_json_string(t->stop));
	/* also what only lines or `loss` events speak of */
	for (size_t i = 0; i < t->n; i++)
		CHECK(!strcmp(t->rows[i].type, "agentsight.stop") ||
			      json_object_object_get_ex(streams, t->rows[i].type, NULL),
		      "`stop` knows nothing of %s", t->rows[i].type);
	json_object_object_foreach(streams, type, row)
	{
		(void)row;
		census_check_row(t, type);
	}
}

void census_line(struct census *t, const struct line *l)
{
	char type[64];

	CHECK(!t->stop, "a line behind `stop`: %s", json_object_to_json_string(l->json));
	snprintf(type, sizeof(type), "%s.%s", l->source, l->type);
	CHECK(t->n || !strcmp(type, "agentsight.start"), "the first line is %s", type);
	census_row(t, type)->lines++;
	if (!strcmp(type, "agentsight.loss"))
		census_loss(t, l);
	if (strcmp(type, "agentsight.stop"))
		return;
	t->stop = json_object_get(l->data);
	census_check(t);
}

/* ---- expectations ---- */

static void expected_take(struct expected *x, json_object *o)
{
	x->lines = realloc(x->lines, (x->n + 1) * sizeof(*x->lines));
	x->lines[x->n++] = o;
}

void expected_add(struct expected *x, const char *fmt, ...)
{
	json_object *o;
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	o = json_tokener_parse(text);
	CHECK(o, "the test's own expectation is not JSON: %s", text);
	expected_take(x, o);
	free(text);
}

void expected_load(struct expected *x, const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t cap = 0;

	CHECK(f, "cannot read %s: %s", path, strerror(errno));
	while (getline(&text, &cap, f) > 0) {
		json_object *o = json_tokener_parse(text);

		CHECK(o, "the workload printed what is not JSON: %.300s", text);
		if (object_at(o, "source"))
			expected_take(x, o);
		else
			json_object_put(o);
	}
	free(text);
	fclose(f);
}

bool json_contains(json_object *whole, json_object *part)
{
	if (!json_object_is_type(part, json_type_object))
		return json_object_equal(whole, part);
	if (!json_object_is_type(whole, json_type_object))
		return false;
	json_object_object_foreach(part, key, value)
	{
		json_object *other;

		if (!json_object_object_get_ex(whole, key, &other) || !json_contains(other, value))
			return false;
	}
	return true;
}

/* Position in by_pid of the first line of @pid. */
static size_t first_of(const struct stream *st, pid_t pid)
{
	size_t low = 0, high = st->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (st->lines[st->by_pid[mid]].pid < pid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* How far the lines of a process are matched, in order of by_pid. */
struct cursor {
	pid_t pid;
	size_t at;
};

static struct cursor *cursor_of(struct cursor *cursors, size_t *n, const struct stream *st,
				pid_t pid)
{
	for (size_t i = *n; i-- > 0;) {
		if (cursors[i].pid == pid)
			return &cursors[i];
	}
	cursors[*n] = (struct cursor){pid, first_of(st, pid)};
	return &cursors[(*n)++];
}

static bool match_one(struct stream *st, json_object *part, pid_t pid, size_t *from)
{
	for (size_t i = *from; i < st->n; i++) {
		struct line *l = &st->lines[st->by_pid[i]];

		if (l->pid != pid)
			return false;
		if (l->matched || !json_contains(l->json, part))
			continue;
		l->matched = true;
		*from = i + 1;
		return true;
	}
	return false;
}

/* What of @pid has a type in @complete and was not expected. */
static void check_no_more(const struct stream *st, pid_t pid, const char *complete)
{
	for (size_t i = first_of(st, pid); i < st->n; i++) {
		const struct line *l = &st->lines[st->by_pid[i]];
		char name[64];

		if (l->pid != pid)
			return;
		snprintf(name, sizeof(name), "%s.%s", l->source, l->type);
		CHECK(l->matched || !listed(complete, name), "not expected: %s",
		      json_object_to_json_string(l->json));
	}
}

/*
 * A hook of the network that the kernel skipped (7.1 and later, when busy) costs an event, or bytes of UDP; it
 * is counted in `missed`, and no more lines than that may differ. Where nothing was skipped all must agree.
 */
static bool skipped_by_kernel(const struct stream *st, json_object *line, size_t absent)
{
	const char *source = json_object_get_string(object_at(line, "source"));

	return source && !strcmp(source, "network") && absent <= (size_t)stop_count(st, "missed");
}

/* What the stream has of @pid, for who looks for what is missing. */
static const char *lines_of(const struct stream *st, pid_t pid)
{
	const char *text = "";

	for (size_t i = first_of(st, pid); i < st->n; i++) {
		const struct line *l = &st->lines[st->by_pid[i]];

		if (l->pid != pid || strlen(text) > 1000)
			break;
		text = live_printf("%s%s %s", text, l->matched ? "" : " (not expected)",
				   json_object_to_json_string(l->json));
	}
	return *text ? text : " nothing";
}

static void match_all(struct stream *st, const struct expected *x, const char *complete,
		      bool ordered)
{
	struct cursor *cursors = calloc(x->n + 1, sizeof(*cursors));
	size_t n = 0, absent = 0;

	CHECK(x->n, "the workload says nothing");
	for (size_t i = 0; i < x->n; i++) {
		pid_t pid = json_object_get_int(object_at(x->lines[i], "pid"));
		struct cursor *c = cursor_of(cursors, &n, st, pid);
		size_t from = ordered ? c->at : first_of(st, pid);

		if (match_one(st, x->lines[i], pid, &from)) {
			c->at = from;
			continue;
		}
		absent++;
		CHECK(!ordered && skipped_by_kernel(st, x->lines[i], absent),
		      "missing%s: %s; of that process there is:%s; the kernel skipped %llu hooks",
		      ordered ? " or out of order" : "", json_object_to_json_string(x->lines[i]),
		      lines_of(st, pid), (unsigned long long)stop_count(st, "missed"));
	}
	for (size_t i = 0; !absent && i < n; i++)
		check_no_more(st, cursors[i].pid, complete);
	free(cursors);
}

void stream_match(struct stream *st, const struct expected *x, const char *complete)
{
	match_all(st, x, complete, true);
}

void stream_match_unordered(struct stream *st, const struct expected *x, const char *complete)
{
	match_all(st, x, complete, false);
}
