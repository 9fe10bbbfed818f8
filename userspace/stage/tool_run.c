/* SPDX-License-Identifier: MIT */
#include "stage/tool_run.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/value.h"
#include "event/record.h"
#include "event/schema.h"

#define BUCKETS        1024        /* a power of two */
#define ARGV_KEPT      (64 * 1024) /* wrappers put pages of shell before the command */
#define RECENT         64 /* programs started lately, for calls that are told behind them */
#define RECENT_NS      (5 * NSEC_PER_SEC)
#define PHRASES        8 /* texts of a call's input that are looked for */
#define PHRASE_MIN     4
#define PHRASE_MAX     256
#define LOOKED_MAX     (1024 * 1024)  /* of arguments, for one program or one call: 4 ms at worst */
#define TEXT_MAX       (PATH_MAX - 1) /* of a member of the input */
#define INPUT_READ_MAX (1024 * 1024)  /* of an input; a longer one is no command */
#define ANCESTORS      64
#define UNREPORTED_NS  (600 * NSEC_PER_SEC) /* a call nobody speaks of any more */

enum evidence {
	EVIDENCE_TEXT = 1 << 0,
	EVIDENCE_ENV = 1 << 1,
	EVIDENCE_ANCESTRY = 1 << 2,
	EVIDENCE_TIME = 1 << 3,
	EVIDENCE_PATH = 1 << 4,
	EVIDENCE_ID = 1 << 5,
};

/* One of these is enough; by the others a process is only likely to belong. */
#define CERTAIN (EVIDENCE_ID | EVIDENCE_TEXT)

static const struct {
	unsigned bit;
	const char *name;
} evidence_names[] = {
	{EVIDENCE_ID, "call_id"}, {EVIDENCE_TEXT, "command_text"}, {EVIDENCE_ENV, "environment"},
	{EVIDENCE_PATH, "path"},  {EVIDENCE_ANCESTRY, "ancestry"}, {EVIDENCE_TIME, "time"},
};

/* A program that was started, as far as it tells what it was started for. */
struct start {
	struct as_hdr h;
	struct buf argv; /* NUL-separated */
	uint32_t argv_full;
	struct buf plain; /* the same without blanks and quotes, see plain_text() */
	struct buf env;   /* variables by which agents mark what they start, NUL-separated */
	bool ended;       /* the process, and how */
	int exit_code;
	unsigned signal;
};

/* What speaks for it that a call led to a start. */
struct match {
	unsigned evidence; /* 0: nothing */
	size_t text_len;   /* of the longest phrase that was found */
};

/* What a call is known to have led to. */
struct root {
	struct as_hdr h;
	struct buf argv;
	uint32_t argv_full; /* its bytes, kept or not */
};

struct phrase {
	size_t len;
	char *text; /* plain */
};

struct change {
	unsigned type; /* of the event */
	uint64_t bytes;
	char *path;
};

struct call {
	char *id; /* in one piece with the next three */
	char *name, *session;
	char *input; /* JSON text */
	size_t input_len;
	struct as_hdr agent;
	uint64_t begin_ns;
	struct phrase phrases[PHRASES];
	size_t n_phrases;
	bool command; /* the input holds one: a process is to be expected */
	char *path;   /* of a file that the input names, or NULL */

	unsigned evidence, confidence;
	struct root root; /* h.tgid 0: none found */
	bool root_ended;
	int exit_code;
	unsigned signal;
	uint64_t processes, living;

	struct change changes[TOOL_RUN_LISTED];
	size_t n_changes;
	uint64_t files;
	struct as_addr peers[TOOL_RUN_LISTED];
	size_t n_peers;
	uint64_t connections;

	bool reported, is_error;
	uint64_t result_bytes;
	TAILQ_ENTRY(call) order;
};

/* A living process that belongs to a call. */
struct member {
	uint32_t tgid;
	uint64_t start_ns;
	struct call *call;
	struct member *next;
};

struct tool_run {
	struct stage stage;
	struct llm_listener listener;
	const struct proc_table *procs;
	struct tool_run_counts counts;
	struct buf record, text;
	TAILQ_HEAD(, call) calls; /* oldest first */
	size_t n_calls;
	/* room for TOOL_RUN_CALLS: one piece, of which only what was ever used takes memory */
	struct call *slots;
	size_t n_slots; /* were ever used */
	TAILQ_HEAD(, call) unused;
	struct member *buckets[BUCKETS];
	size_t n_members;
	struct start *recent; /* RECENT of them, a ring */
	size_t next_recent;
	char path[PATH_TEXT_MAX];
};

/* ---- text ---- */

/*
 * What is left of a command when shells and JSON have had their way with it: no blanks, no quotes, no
 * backslashes. So 'it'\''s' and "it's" are the same.
 */
static size_t plain_text(char *out, size_t cap, const char *in, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < cap; i++) {
		unsigned char c = in[i];

		if (c > ' ' && c != '\'' && c != '"' && c != '\\')
			out[n++] = c;
	}
	return n;
}

/* How much of @p the arguments hold: all that can be looked for, or nothing. */
static size_t start_holds(const struct start *s, const struct phrase *p, size_t *budget)
{
	bool cut = s->argv_full > s->argv.len;
	/* a command longer than what is kept of the arguments: its beginning has to do */
	size_t len = cut ? MIN(p->len, s->plain.len) : p->len;

	if (len < PHRASE_MIN || *budget < s->plain.len)
		return 0;
	*budget -= s->plain.len;
	return memmem(s->plain.data, s->plain.len, p->text, len) ? len : 0;
}

/* ---- calls ---- */

/* All zero; NULL when memory ran out. There must be fewer than TOOL_RUN_CALLS. */
static struct call *call_alloc(struct tool_run *t)
{
	struct call *c = TAILQ_FIRST(&t->unused);

	if (!t->slots)
		t->slots = calloc(TOOL_RUN_CALLS, sizeof(*t->slots));
	if (!t->slots)
		return NULL;
	if (!c)
		return &t->slots[t->n_slots++];
	TAILQ_REMOVE(&t->unused, c, order);
	*c = (struct call){};
	return c;
}

static void call_free(struct tool_run *t, struct call *c)
{
	for (size_t i = 0; i < c->n_changes; i++)
		free(c->changes[i].path);
	for (size_t i = 0; i < c->n_phrases; i++)
		free(c->phrases[i].text);
	buf_done(&c->root.argv);
	free(c->id);
	free(c->path);
	TAILQ_INSERT_HEAD(&t->unused, c, order);
}

static void add_phrase(struct call *c, const char *text, size_t len)
{
	struct phrase *p = &c->phrases[c->n_phrases];
	char plain[PHRASE_MAX];

	if (c->n_phrases == PHRASES)
		return;
	p->len = plain_text(plain, sizeof(plain), text, len);
	if (p->len < PHRASE_MIN)
		return;
	p->text = malloc(p->len);
	if (!p->text)
		return;
	memcpy(p->text, plain, p->len);
	c->n_phrases++;
}

/* The members by which tools name what they run and what they change; the first that is there counts. */
static const char *const command_keys[] = {"command", "cmd", "script", "code"};
static const char *const path_keys[] = {"file_path", "path", "absolute_path", "notebook_path",
					"filename"};

static bool in_list(const char *const *list, size_t n, struct value word)
{
	for (size_t i = 0; i < n; i++) {
		if (value_is(word, list[i]))
			return true;
	}
	return false;
}

/* ["bash", "-lc", "make"]: what the shell is given, or the words one behind the other. */
static void add_words(struct call *c, struct value list, struct buf *text)
{
	struct value_walk w = value_walk(list);
	char all[PHRASE_MAX];
	size_t len = 0;

	while (len < sizeof(all) && value_next(&w)) {
		buf_reset(text);
		value_text_upto(w.item, text, TEXT_MAX);
		len += plain_text(all + len, sizeof(all) - len, text->data, text->len);
	}
	add_phrase(c, all, len);
}

static void read_member(struct call *c, struct value key, struct value member, struct buf *text)
{
	bool command = in_list(command_keys, ARRAY_SIZE(command_keys), key), whole;

	if (value_kind(member) == VALUE_ARRAY && command) {
		c->command = true;
		add_words(c, member, text);
	}
	if (value_kind(member) != VALUE_STRING)
		return;
	buf_reset(text);
	whole = value_text_upto(member, text, TEXT_MAX);
	c->command |= command;
	add_phrase(c, text->data, text->len);
	/* what is longer is no path */
	if (!c->path && whole && in_list(path_keys, ARRAY_SIZE(path_keys), key))
		c->path = strdup(buf_cstr(text));
}

static void read_input(struct call *c, const char *input, size_t len)
{
	struct value_walk w = value_walk(value_at(input, len));
	_cleanup_(buf_done) struct buf text = {};

	if (len > INPUT_READ_MAX || w.close != '}')
		return;
	while (value_next(&w))
		read_member(c, w.key, w.item, &text);
}

/* ---- members ---- */

static struct member **member_slot(struct tool_run *t, uint32_t tgid)
{
	return &t->buckets[(tgid * 2654435769u) & (BUCKETS - 1)];
}

static struct member *member_find(struct tool_run *t, uint32_t tgid, uint64_t start_ns)
{
	struct member *m = *member_slot(t, tgid);

	while (m && (m->tgid != tgid || m->start_ns != start_ns))
		m = m->next;
	return m;
}

static void member_add(struct tool_run *t, struct call *c, uint32_t tgid, uint64_t start_ns)
{
	struct member **slot = member_slot(t, tgid), *m;

	if (member_find(t, tgid, start_ns))
		return;
	c->processes++;
	m = t->n_members < TOOL_RUN_PROCESSES ? malloc(sizeof(*m)) : NULL;
	if (!m) {
		t->counts.untracked++;
		return;
	}
	*m = (struct member){.tgid = tgid, .start_ns = start_ns, .call = c, .next = *slot};
	*slot = m;
	t->n_members++;
	c->living++;
}

static void member_remove(struct tool_run *t, uint32_t tgid, uint64_t start_ns)
{
	struct member **at = member_slot(t, tgid), *m;

	for (; (m = *at); at = &m->next) {
		if (m->tgid != tgid || m->start_ns != start_ns)
			continue;
		*at = m->next;
		m->call->living--;
		t->n_members--;
		free(m);
		return;
	}
}

static void members_drop(struct tool_run *t, const struct call *c)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct member **at = &t->buckets[i];

		while (*at) {
			struct member *m = *at;

			if (m->call != c) {
				at = &m->next;
				continue;
			}
			*at = m->next;
			t->n_members--;
			free(m);
		}
	}
}

/* ---- telling ---- */

static struct as_span add_evidence(struct tool_run *t, const struct call *c)
{
	buf_reset(&t->text);
	buf_add_char(&t->text, '[');
	for (size_t i = 0; i < ARRAY_SIZE(evidence_names); i++) {
		if (!(c->evidence & evidence_names[i].bit))
			continue;
		if (t->text.len > 1)
			buf_add_char(&t->text, ',');
		buf_printf(&t->text, "\"%s\"", evidence_names[i].name);
	}
	buf_add_char(&t->text, ']');
	return record_add(&t->record, t->text.data, t->text.len);
}

static struct as_span add_changes(struct tool_run *t, const struct call *c)
{
	if (!c->n_changes)
		return (struct as_span){};
	buf_reset(&t->text);
	for (size_t i = 0; i < c->n_changes; i++) {
		const struct change *f = &c->changes[i];

		buf_add_char(&t->text, i ? ',' : '[');
		buf_printf(&t->text, "{\"op\":\"%s\",\"path\":", schema_event(f->type)->name);
		json_string(&t->text, f->path, strlen(f->path));
		if (f->type == AS_EV_FILE_WRITE) {
			buf_add_lit(&t->text, ",\"bytes\":");
			json_u64(&t->text, f->bytes);
		}
		buf_add_char(&t->text, '}');
	}
	buf_add_char(&t->text, ']');
	return record_add(&t->record, t->text.data, t->text.len);
}

static struct as_span add_peers(struct tool_run *t, const struct call *c)
{
	if (!c->n_peers)
		return (struct as_span){};
	buf_reset(&t->text);
	for (size_t i = 0; i < c->n_peers; i++) {
		buf_add_char(&t->text, i ? ',' : '[');
		buf_add_lit(&t->text, "{\"address\":");
		json_ip(&t->text, c->peers[i].ip, c->peers[i].family);
		buf_add_lit(&t->text, ",\"port\":");
		json_u32(&t->text, c->peers[i].port);
		buf_add_char(&t->text, '}');
	}
	buf_add_char(&t->text, ']');
	return record_add(&t->record, t->text.data, t->text.len);
}

static struct as_span add_root(struct tool_run *t, const struct call *c, struct as_span *argv)
{
	char id[48];

	*argv = (struct as_span){};
	if (!c->root.h.tgid)
		return (struct as_span){};
	*argv = record_add(&t->record, c->root.argv.data, c->root.argv.len);
	argv->full = c->root.argv_full;
	snprintf(id, sizeof(id), "%u@%llu", c->root.h.tgid, (unsigned long long)c->root.h.start_ns);
	return record_add_str(&t->record, id);
}

static void call_tell(struct tool_run *t, const struct call *c, uint64_t boot_ns, bool ended)
{
	struct as_tool_run r = {.h = c->agent};
	struct event ev;

	r.h.boot_ns = boot_ns;
	record_begin(&t->record, AS_EV_TOOL_RUN, &r.h);
	r.id = record_add_str(&t->record, c->id);
	r.name = record_add_str(&t->record, c->name);
	r.input = record_add(&t->record, c->input, c->input_len);
	r.session = record_add_str(&t->record, c->session);
	r.exec_id = add_root(t, c, &r.argv);
	r.evidence = add_evidence(t, c);
	r.files = add_changes(t, c);
	r.connections = add_peers(t, c);
	if (t->record.failed) {
		t->counts.unmade++;
		return;
	}
	r.h = record_struct(&t->record, as_tool_run)->h;
	r.ended = ended;
	r.process = c->root.h.tgid;
	r.confidence = c->confidence;
	r.exit_code = c->root_ended && !c->signal ? c->exit_code : -1;
	r.signal = c->signal;
	r.n_processes = c->processes;
	r.n_files = c->files;
	r.n_connections = c->connections;
	r.reported = c->reported;
	r.is_error = c->is_error;
	r.result_bytes = c->result_bytes;
	r.duration_ns = boot_ns > c->begin_ns ? boot_ns - c->begin_ns : 0;
	*record_struct(&t->record, as_tool_run) = r;
	if (record_end(&t->record, &ev) < 0)
		return;
	t->counts.made++;
	event_emit(t->stage.out, &ev);
}

static void call_end(struct tool_run *t, struct call *c, uint64_t boot_ns)
{
	call_tell(t, c, boot_ns, true);
	TAILQ_REMOVE(&t->calls, c, order);
	t->n_calls--;
	members_drop(t, c);
	call_free(t, c);
}

/* What was reported goes on as long as its process does: work in the background. */
static void call_end_if_over(struct tool_run *t, struct call *c, uint64_t boot_ns)
{
	if (c->reported && (!c->root.h.tgid || c->root_ended) && !c->living)
		call_end(t, c, boot_ns);
}

/* ---- linking ---- */

static bool is_agent(const struct call *c, uint32_t tgid, uint64_t start_ns)
{
	return c->agent.tgid == tgid &&
	       (c->agent.start_ns == start_ns || !start_ns || !c->agent.start_ns);
}

static bool descends(const struct tool_run *t, const struct call *c, const struct as_hdr *h)
{
	const struct proc *p = proc_table_find(t->procs, h->tgid);

	if (is_agent(c, h->ppid, 0))
		return true;
	for (int i = 0; p && i < ANCESTORS; i++, p = p->parent) {
		if (i > 0 && is_agent(c, p->tgid, 0))
			return true;
	}
	return false;
}

/*
 * What the environment says of it: nothing, that an agent started it, that this very call did (Codex), or
 * that another conversation did.
 */
static unsigned evidence_of_environment(const struct call *c, const struct start *s)
{
	static const char session[] = "CLAUDE_CODE_SESSION_ID=";
	unsigned found = s->env.len ? EVIDENCE_ENV : 0;

	for (size_t at = 0, len; at < s->env.len; at += len + 1) {
		const char *p = s->env.data + at, *value;

		len = strnlen(p, s->env.len - at);
		value = memchr(p, '=', len);
		if (!value++)
			continue;
		if (strlen(c->id) >= PHRASE_MIN && (size_t)(p + len - value) == strlen(c->id) &&
		    !memcmp(value, c->id, strlen(c->id)))
			found |= EVIDENCE_ID;
		if (len > strlen(session) && !memcmp(p, session, strlen(session)) &&
		    c->session[0] &&
		    !memmem(c->session, strlen(c->session), value, p + len - value))
			return 0;
	}
	return found;
}

static struct match match_of(const struct tool_run *t, const struct call *c, const struct start *s,
			     size_t *budget)
{
	struct match m = {};

	if (!descends(t, c, &s->h))
		return m;
	m.evidence = EVIDENCE_ANCESTRY | EVIDENCE_TIME | evidence_of_environment(c, s);
	for (size_t i = 0; i < c->n_phrases; i++)
		m.text_len = MAX(m.text_len, start_holds(s, &c->phrases[i], budget));
	if (m.text_len)
		m.evidence |= EVIDENCE_TEXT;
	return m;
}

/*
 * Of several calls the one with the highest has the process. What the call reads may be named by what another
 * one runs, a command may be part of another's, and of equal ones each has a process of its own.
 */
static unsigned rank_of(const struct call *c, struct match m)
{
	const bool merits[] = {
		m.evidence & EVIDENCE_ID, m.evidence & EVIDENCE_TEXT, c->command,
		!(c->evidence & CERTAIN), /* its process was not found yet */
	};
	unsigned rank = 0;

	for (size_t i = 0; i < ARRAY_SIZE(merits); i++)
		rank = rank << 1 | merits[i];
	return rank * (PHRASE_MAX + 1) + (unsigned)m.text_len;
}

/* @rivals: other open calls of the agent that could as well have led to the same process. */
static unsigned confidence_of(unsigned evidence, size_t rivals)
{
	if (evidence & EVIDENCE_ID)
		return 100;
	if (evidence & EVIDENCE_TEXT && rivals)
		return 70;
	if (evidence & EVIDENCE_TEXT)
		return evidence & EVIDENCE_ENV ? 99 : 95;
	if (evidence & EVIDENCE_ENV)
		return rivals ? 50 : 80;
	return rivals ? 30 : 60;
}

/* The process that was found at first was another: the agent had started something of its own. */
static void call_unlink(struct tool_run *t, struct call *c)
{
	members_drop(t, c);
	for (size_t i = 0; i < c->n_changes; i++)
		free(c->changes[i].path);
	c->n_changes = c->n_peers = 0;
	c->files = c->connections = c->processes = c->living = 0;
	c->root.h.tgid = 0;
	c->root_ended = false;
	c->exit_code = -1;
	c->signal = 0;
	c->evidence = c->confidence = 0;
}

static bool is_root(const struct call *c, const struct as_hdr *h)
{
	return c->root.h.tgid == h->tgid && c->root.h.start_ns == h->start_ns;
}

static void set_argv(struct root *r, const struct start *s)
{
	buf_reset(&r->argv);
	buf_add(&r->argv, s->argv.data, s->argv.len);
	buf_fit(&r->argv);
	r->argv_full = s->argv_full;
}

static void set_root(struct call *c, const struct start *s)
{
	c->root.h = s->h;
	set_argv(&c->root, s);
	c->root_ended = s->ended;
	if (s->ended) {
		c->exit_code = s->exit_code;
		c->signal = s->signal;
	}
}

static void link_start(struct tool_run *t, struct call *c, const struct start *s, unsigned evidence,
		       size_t rivals)
{
	const struct member *m = member_find(t, s->h.tgid, s->h.start_ns);

	/* what was only likely, of this call or of the one that has the process so far, gives way */
	if (m && m->call != c && evidence & CERTAIN && !(m->call->evidence & CERTAIN))
		call_unlink(t, m->call);
	if (c->root.h.tgid && evidence & CERTAIN && !(c->evidence & CERTAIN))
		call_unlink(t, c);
	c->evidence |= evidence;
	c->confidence = MAX(c->confidence, confidence_of(evidence, rivals));
	if (!s->ended)
		member_add(t, c, s->h.tgid, s->h.start_ns);
	else
		c->processes += !is_root(c, &s->h);
	if (c->root.h.tgid)
		return;
	set_root(c, s);
	call_tell(t, c, s->h.boot_ns, false);
}

/*
 * Text decides; without it only a call that runs something and has no process yet comes into question, and
 * only for a process that is no call's @member.
 */
static bool may_be_of(const struct call *c, struct match m, bool member)
{
	if (m.evidence & CERTAIN)
		return true;
	return m.evidence && c->command && !c->root.h.tgid && !member;
}

/* Of calls that are equal the oldest has it. */
static void place_start(struct tool_run *t, const struct start *s, bool member)
{
	struct call *best = NULL, *c;
	size_t rivals = 0, budget = LOOKED_MAX;
	unsigned evidence = 0, highest = 0, rank;

	TAILQ_FOREACH(c, &t->calls, order)
	{
		struct match m = c->reported ? (struct match){} : match_of(t, c, s, &budget);

		if (!may_be_of(c, m, member))
			continue;
		rank = rank_of(c, m);
		if (!best || rank > highest) {
			best = c;
			evidence = m.evidence;
			highest = rank;
			rivals = 0;
		} else if (rank == highest) {
			rivals++;
		}
	}
	if (best)
		link_start(t, best, s, evidence, rivals);
}

/* ---- what happens ---- */

static void start_read(struct start *s, const struct as_hdr *rec)
{
	const struct as_exec *e = (const struct as_exec *)rec;

	s->h = *rec;
	buf_reset(&s->argv);
	buf_add(&s->argv, record_bytes(rec, &e->argv), MIN(e->argv.len, (uint32_t)ARGV_KEPT));
	s->argv_full = MAX(e->argv.len, e->argv.full);
	buf_reset(&s->plain);
	if (buf_room(&s->plain, s->argv.len))
		s->plain.len = plain_text(s->plain.data, s->plain.cap, s->argv.data, s->argv.len);
	buf_reset(&s->env);
	buf_add(&s->env, record_bytes(rec, &e->env), e->env.len);
	s->ended = false;
}

/* The process of a call runs another program: when it has the call's text, it is the one that was meant. */
static void root_execs(struct tool_run *t, struct call *c, const struct start *s)
{
	size_t budget = LOOKED_MAX;
	unsigned found = match_of(t, c, s, &budget).evidence;

	if (!(found & EVIDENCE_TEXT))
		return;
	c->evidence |= found;
	set_argv(&c->root, s);
}

static void on_exec(struct tool_run *t, const struct as_hdr *rec)
{
	struct start *s = &t->recent[t->next_recent++ % RECENT];
	const struct member *m;

	start_read(s, rec);
	m = member_find(t, rec->tgid, rec->start_ns);
	if (!m || !(m->call->evidence & CERTAIN))
		place_start(t, s, m != NULL);
	else if (is_root(m->call, rec))
		root_execs(t, m->call, s);
}

static void on_fork(struct tool_run *t, const struct as_hdr *rec)
{
	const struct as_fork *f = (const struct as_fork *)rec;
	const struct member *parent = member_find(t, rec->tgid, rec->start_ns);

	if (parent)
		member_add(t, parent->call, f->child_pid, f->child_start_ns);
}

/* A call that is told behind the end of its process hears how it ended. */
static void recent_end(struct tool_run *t, const struct as_exit *e)
{
	for (size_t i = 0; i < MIN(t->next_recent, (size_t)RECENT); i++) {
		struct start *s = &t->recent[i];

		if (s->h.tgid != e->h.tgid || s->h.start_ns != e->h.start_ns)
			continue;
		s->ended = true;
		s->exit_code = (int)e->exit_code;
		s->signal = e->signal;
	}
}

static void on_end(struct tool_run *t, const struct as_hdr *rec)
{
	const struct as_exit *e = (const struct as_exit *)rec;
	const struct member *m = member_find(t, rec->tgid, rec->start_ns);
	struct call *c;

	recent_end(t, e);
	if (!m)
		return;
	c = m->call;
	member_remove(t, rec->tgid, rec->start_ns);
	if (is_root(c, rec)) {
		c->root_ended = true;
		c->exit_code = (int)e->exit_code;
		c->signal = e->signal;
	}
	call_end_if_over(t, c, rec->boot_ns);
}

static void add_change(struct call *c, unsigned type, const char *path, uint64_t bytes)
{
	for (size_t i = 0; i < c->n_changes; i++) {
		if (c->changes[i].type == type && !strcmp(c->changes[i].path, path)) {
			c->changes[i].bytes += bytes;
			return;
		}
	}
	c->files++;
	if (c->n_changes == TOOL_RUN_LISTED)
		return;
	c->changes[c->n_changes] = (struct change){type, bytes, strdup(path)};
	c->n_changes += c->changes[c->n_changes].path != NULL;
}

/* Does @path, absolute, end in what the call names? */
static bool names_path(const struct call *c, const char *path)
{
	size_t len = strlen(path), named = c->path ? strlen(c->path) : 0;

	if (!named || named > len || strcmp(path + len - named, c->path) != 0)
		return false;
	return c->path[0] == '/' ? named == len : path[len - named - 1] == '/';
}

/* The agent itself changes a file that one of its calls names. */
static struct call *call_of_path(struct tool_run *t, const struct as_hdr *rec, const char *path)
{
	struct call *c;

	TAILQ_FOREACH(c, &t->calls, order)
	{
		if (c->reported || !names_path(c, path))
			continue;
		if (is_agent(c, rec->tgid, rec->start_ns) || descends(t, c, rec))
			return c;
	}
	return NULL;
}

static void change_by_agent(struct tool_run *t, struct call *c, unsigned type, const char *path,
			    const struct as_hdr *rec, uint64_t bytes)
{
	bool first = !c->evidence;

	c->evidence |= EVIDENCE_PATH | EVIDENCE_ANCESTRY | EVIDENCE_TIME;
	c->confidence = MAX(c->confidence, 90U);
	add_change(c, type, path, bytes);
	if (first)
		call_tell(t, c, rec->boot_ns, false);
}

static void on_change(struct tool_run *t, const struct as_hdr *rec, const struct as_path *where,
		      uint64_t bytes)
{
	const struct member *m = member_find(t, rec->tgid, rec->start_ns);
	struct call *c;

	if (TAILQ_EMPTY(&t->calls) || !record_path(rec, where, t->path))
		return;
	if (m) {
		add_change(m->call, rec->type, t->path, bytes);
		return;
	}
	c = call_of_path(t, rec, t->path);
	if (c)
		change_by_agent(t, c, rec->type, t->path, rec, bytes);
}

static void on_connect(struct tool_run *t, const struct as_hdr *rec)
{
	const struct as_connect *e = (const struct as_connect *)rec;
	const struct member *m = member_find(t, rec->tgid, rec->start_ns);
	struct call *c = m ? m->call : NULL;

	if (!c || e->error)
		return;
	c->connections++;
	if (c->n_peers < TOOL_RUN_LISTED)
		c->peers[c->n_peers++] = e->remote;
}

/* The name that there is now: editors write beside and rename. Behind an exchange both are. */
static void on_rename(struct tool_run *t, const struct as_file_op *e)
{
	if (e->exchange)
		on_change(t, &e->h, &e->path, 0);
	on_change(t, &e->h, &e->new_path, 0);
}

static void see_event(struct tool_run *t, const struct event *ev)
{
	const struct as_hdr *rec = ev->rec;

	switch (ev->desc->type) {
	case AS_EV_EXEC:
		on_exec(t, rec);
		break;
	case AS_EV_FORK:
		on_fork(t, rec);
		break;
	case AS_EV_EXIT:
		on_end(t, rec);
		break;
	case AS_EV_FILE_WRITE:
		on_change(t, rec, &((const struct as_file_io *)rec)->path,
			  ((const struct as_file_io *)rec)->bytes);
		break;
	case AS_EV_FILE_RENAME:
		if (!((const struct as_file_op *)rec)->error)
			on_rename(t, (const struct as_file_op *)rec);
		break;
	case AS_EV_FILE_UNLINK:
	case AS_EV_FILE_MKDIR:
	case AS_EV_FILE_RMDIR:
	case AS_EV_FILE_TRUNCATE:
	case AS_EV_FILE_CHMOD:
		if (!((const struct as_file_op *)rec)->error)
			on_change(t, rec, &((const struct as_file_op *)rec)->path, 0);
		break;
	case AS_EV_CONNECT:
		on_connect(t, rec);
		break;
	}
}

static void tool_run_event(struct emitter *self, const struct event *ev)
{
	struct tool_run *t = (struct tool_run *)self;

	event_emit(t->stage.out, ev);
	see_event(t, ev);
}

/* ---- what the model says ---- */

/* Keeps the texts. Small pieces of memory that lived for long would keep the heap from shrinking. */
static bool call_keep(struct call *c, const struct llm_tool_call *in)
{
	size_t id = strlen(in->id) + 1, name = strlen(in->name) + 1;
	size_t session = strlen(in->session) + 1;

	/* half a JSON text is none */
	c->input_len = in->input_len <= TOOL_RUN_INPUT_MAX ? in->input_len : 0;
	c->id = malloc(id + name + session + c->input_len);
	if (!c->id)
		return false;
	c->name = mempcpy(c->id, in->id, id);
	c->session = mempcpy(c->name, in->name, name);
	c->input = mempcpy(c->session, in->session, session);
	if (c->input_len)
		memcpy(c->input, in->input, c->input_len);
	return true;
}

static struct call *call_new(struct tool_run *t, const struct llm_tool_call *in)
{
	struct call *c = call_alloc(t);

	if (!c)
		return NULL;
	if (!call_keep(c, in)) {
		call_free(t, c);
		return NULL;
	}
	c->agent = in->who;
	c->begin_ns = in->boot_ns;
	c->exit_code = -1;
	read_input(c, in->input, in->input_len);
	return c;
}

static void on_tool_call(void *context, const struct llm_tool_call *in)
{
	struct tool_run *t = context;
	size_t budget = LOOKED_MAX;
	struct call *c;

	if (t->n_calls == TOOL_RUN_CALLS) {
		t->counts.forgotten++;
		call_end(t, TAILQ_FIRST(&t->calls), in->boot_ns);
	}
	c = call_new(t, in);
	if (!c) {
		t->counts.unmade++;
		return;
	}
	TAILQ_INSERT_TAIL(&t->calls, c, order);
	t->n_calls++;
	/* an agent may act on a call before the answer that holds it is over */
	for (size_t i = t->next_recent > RECENT ? t->next_recent - RECENT : 0; i < t->next_recent;
	     i++) {
		const struct start *s = &t->recent[i % RECENT];
		const struct member *m = member_find(t, s->h.tgid, s->h.start_ns);
		unsigned found = 0;

		if (s->h.boot_ns + RECENT_NS > in->boot_ns && !(m && m->call->evidence & CERTAIN))
			found = match_of(t, c, s, &budget).evidence;
		if (found & CERTAIN)
			link_start(t, c, s, found, 0);
	}
}

static bool same_call(const struct call *c, const struct llm_tool_result *r)
{
	if (c->agent.tgid != r->who.tgid || c->reported)
		return false;
	if (c->id[0] && r->id[0])
		return !strcmp(c->id, r->id);
	/* Gemini numbers neither, clients of Ollama not always the result: the name has to do */
	return r->name[0] && !strcmp(c->name, r->name);
}

static void on_tool_result(void *context, const struct llm_tool_result *r)
{
	struct tool_run *t = context;
	struct call *c;

	TAILQ_FOREACH(c, &t->calls, order)
	{
		if (!same_call(c, r))
			continue;
		c->reported = true;
		c->is_error = r->is_error;
		c->result_bytes = r->bytes;
		call_end_if_over(t, c, r->boot_ns);
		return;
	}
}

/* ---- the stage ---- */

static void tool_run_tick(struct stage *s, uint64_t boot_ns)
{
	struct tool_run *t = (struct tool_run *)s;
	struct call *c = TAILQ_FIRST(&t->calls), *next;

	for (; c; c = next) {
		next = TAILQ_NEXT(c, order);
		if (!c->living && boot_ns > c->begin_ns + UNREPORTED_NS)
			call_end(t, c, boot_ns);
	}
}

static void tool_run_finish(struct stage *s)
{
	struct tool_run *t = (struct tool_run *)s;

	while (!TAILQ_EMPTY(&t->calls))
		call_end(t, TAILQ_FIRST(&t->calls), clock_boot_ns());
}

static void tool_run_free(struct stage *s)
{
	struct tool_run *t = (struct tool_run *)s;
	struct call *c;

	while ((c = TAILQ_FIRST(&t->calls))) {
		TAILQ_REMOVE(&t->calls, c, order);
		members_drop(t, c);
		call_free(t, c);
	}
	free(t->slots);
	buf_done(&t->record);
	buf_done(&t->text);
	for (size_t i = 0; i < RECENT; i++) {
		buf_done(&t->recent[i].argv);
		buf_done(&t->recent[i].plain);
		buf_done(&t->recent[i].env);
	}
	free(t->recent);
	free(t);
}

int tool_run_new(struct emitter *out, const struct proc_table *procs, struct stage **ret)
{
	struct tool_run *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->recent = calloc(RECENT, sizeof(*t->recent));
	if (!t->recent) {
		free(t);
		return -ENOMEM;
	}
	t->stage = (struct stage){
		.in.emit = tool_run_event,
		.out = out,
		.tick = tool_run_tick,
		.finish = tool_run_finish,
		.free = tool_run_free,
	};
	t->listener = (struct llm_listener){t, on_tool_call, on_tool_result};
	t->procs = procs;
	TAILQ_INIT(&t->calls);
	TAILQ_INIT(&t->unused);
	*ret = &t->stage;
	return 0;
}

const struct llm_listener *tool_run_listener(struct stage *s)
{
	return &((struct tool_run *)s)->listener;
}

const struct tool_run_counts *tool_run_counts(const struct stage *s)
{
	return &((const struct tool_run *)s)->counts;
}
