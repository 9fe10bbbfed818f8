/* SPDX-License-Identifier: MIT */
#include "pipeline/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "event/encode.h"
#include "event/record.h"
#include "event/schema.h"
#include "pipeline/rules.h"
#include "sink/denet.h"
#include "sink/notify.h"
#include "sink/sink.h"
#include "sink/status.h"
#include "sink/summary.h"
#include "sink/terminal.h"
#include "stage/alert.h"
#include "stage/file_io.h"
#include "stage/http.h"
#include "stage/llm.h"
#include "stage/redact.h"
#include "stage/select.h"
#include "stage/tls_join.h"
#include "stage/tool_run.h"
#include "stats/event.h"
#include "stats/json.h"
#include "stats/text.h"

#define MAX_STAGES 12
#define MAX_SINKS  4

#define SUMMARY_COLUMNS 100 /* where there is no terminal */

struct chain {
	struct chain_options opt;
	struct emitter enrich; /* the entrance */
	struct emitter meter;  /* before the selection */
	struct emitter fanout; /* the sinks */
	struct emitter ending; /* the sinks, for what no stage sees */
	struct emitter *after_enrich;
	struct emitter *after_meter;
	struct stage *stages[MAX_STAGES]; /* the last one first */
	size_t n_stages;
	struct rule *rules; /* of alerts */
	size_t n_rules;
	struct stage *alert;   /* NULL: no rules */
	struct notify *notify; /* NULL: nobody is told of alerts */
	struct stage *select;
	struct stage *redact; /* NULL: secrets are told */
	struct stage *file_io;
	struct stage *http;
	struct stage *tool_run;
	struct prices *prices;
	struct llm_stage *llm;         /* reads along with http, and has no place of its own */
	struct writer *file;           /* JSON to a file, or to standard output */
	struct writer *json;           /* the same, when it gets our own lines; else NULL */
	struct writer *screen;         /* readable lines on standard output */
	struct sink *sinks[MAX_SINKS]; /* beside the file */
	size_t n_sinks;
	struct buf line;
	uint64_t entered[AS_EV_COUNT];
	uint64_t arrived[AS_EV_COUNT];
	uint64_t shown[AS_EV_COUNT]; /* reached the sinks */
	uint64_t last_ns, late;      /* out of their order, those that stages made included */
	uint32_t command;            /* 0: none, or it is held */
	uint64_t released_ns;
	struct summary *summary;
	struct stats *stats; /* NULL: nobody wants them */
};

DEFINE_FREEP(struct chain *, chain_free)

/* ---- the parts that count and branch ---- */

/* Of who has its number at the end, only the command itself began before it was let go. */
static bool ends_command(const struct chain *c, const struct as_hdr *h)
{
	return h->type == AS_EV_EXIT && c->command && h->tgid == c->command &&
	       h->start_ns < c->released_ns && h->boot_ns > c->released_ns;
}

static void emit_command_end(struct chain *c, const struct event *ev)
{
	struct as_exit x = *(const struct as_exit *)ev->rec;
	struct event copy = *ev;

	x.duration_ns = x.h.boot_ns - c->released_ns;
	copy.rec = &x.h;
	event_emit(c->after_enrich, &copy);
}

static void enrich_event(struct emitter *self, const struct event *ev)
{
	struct chain *c = (struct chain *)((char *)self - offsetof(struct chain, enrich));

	c->entered[ev->desc->type]++;
	proc_table_event(c->opt.procs, ev);
	if (c->opt.on_activity)
		c->opt.on_activity(c->opt.context, ev);
	if (ev->rec->type == AS_EV_NAMED)
		return; /* has told all that it has to */
	if (ends_command(c, ev->rec))
		emit_command_end(c, ev);
	else
		event_emit(c->after_enrich, ev);
	if (c->opt.on_behind)
		c->opt.on_behind(c->opt.context, ev, c->after_enrich);
}

/* The summary tells text of these, and is made without a stage. */
static const bool is_summed_up[AS_EV_COUNT] = {
	[AS_EV_EXEC] = true,         [AS_EV_PROCESS_INFO] = true, [AS_EV_THRESHOLD] = true,
	[AS_EV_LLM_RESPONSE] = true, [AS_EV_TOOL_RUN] = true,
};

static void count_event(struct chain *c, const struct event *ev)
{
	struct event masked;

	if (c->redact && is_summed_up[ev->desc->type])
		ev = redact_view(c->redact, ev, &masked);
	if (ev)
		stats_event(c->stats, ev);
}

static void meter_event(struct emitter *self, const struct event *ev)
{
	struct chain *c = (struct chain *)((char *)self - offsetof(struct chain, meter));

	c->arrived[ev->desc->type]++;
	if (c->stats)
		count_event(c, ev);
	/* also of alerts that --filter keeps out of the output */
	if (c->notify)
		notify_event(c->notify, ev);
	event_emit(c->after_meter, ev);
}

/* As JSON, encoded once: in the block that is written if there is one. */
static void fanout_line(struct chain *c, const struct event *ev)
{
	const struct session_options *s = c->opt.session;
	struct buf *b = c->json ? writer_begin(c->json, event_json_room(ev)) : NULL;
	bool to_file = b;
	size_t start;

	if (c->json && !to_file)
		writer_drop(c->json, ev->desc->type);
	if (!to_file && !s->observer)
		return;
	if (!to_file) {
		b = &c->line;
		buf_reset(b);
	}
	start = b->len;
	event_encode_json(b, ev);
	if (s->observer && !b->failed)
		s->observer(s->observer_context, ev, b->data + start, b->len - start);
	if (to_file)
		writer_end(c->json, ev->desc->type);
	/* one huge body shall not keep its memory for the rest of the run */
	if (c->line.cap > (4U << 20))
		buf_done(&c->line);
}

static void fanout_event(struct emitter *self, const struct event *ev)
{
	struct chain *c = (struct chain *)((char *)self - offsetof(struct chain, fanout));

	c->shown[ev->desc->type]++;
	if (ev->rec->boot_ns < c->last_ns)
		c->late++;
	else
		c->last_ns = ev->rec->boot_ns;
	if (c->json || c->opt.session->observer)
		fanout_line(c, ev);
	for (size_t i = 0; i < c->n_sinks; i++)
		c->sinks[i]->write(c->sinks[i], ev, NULL, 0);
	summary_event(c->summary, ev);
}

static void ending_event(struct emitter *self, const struct event *ev)
{
	struct chain *c = (struct chain *)((char *)self - offsetof(struct chain, ending));

	c->arrived[ev->desc->type]++;
	event_emit(&c->fanout, ev);
}

/* ---- putting it together, from the end ---- */

static unsigned screen_columns(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static int open_format(struct chain *c)
{
	const struct session_options *s = c->opt.session;
	const struct denet_options denet = {.single = s->no_children, .env = s->write_env};
	struct sink *sink;
	int r;

	if (!c->file || s->format == FORMAT_AGENTSIGHT) {
		c->json = c->file;
		return 0;
	}
	r = denet_sink_new(&denet, c->file, &sink);
	if (r < 0)
		return r;
	c->sinks[c->n_sinks++] = sink;
	return 0;
}

static int open_status(struct chain *c)
{
	const struct session_options *s = c->opt.session;
	struct status_options opt = {STDERR_FILENO, s->status, s->colour_err};
	struct sink *sink;
	int r;

	if (!s->status && !s->status_lines)
		return 0;
	r = status_sink_new(&opt, &sink);
	if (r < 0)
		return r;
	c->sinks[c->n_sinks++] = sink;
	return 0;
}

static int open_sinks(struct chain *c, struct err *e)
{
	const struct session_options *s = c->opt.session;
	struct writer_options file = {
		.path = s->output,
		.rotate_bytes = s->rotate_bytes,
		.rotate_keep = s->rotate_keep,
		.threaded = s->embedded,
		.queue_bytes = s->queue_bytes,
		.on_closed = c->opt.on_closed,
		.on_opened = c->opt.on_opened,
		.context = c->opt.context,
	};
	struct writer_options screen = {.on_closed = c->opt.on_closed, .context = c->opt.context};
	struct sink *sink;
	int r;

	if (s->output || (!s->readable && !s->no_output)) {
		r = writer_open(&file, &c->file, e);
		if (r < 0)
			return r;
	}
	r = open_format(c);
	if (r >= 0)
		r = open_status(c);
	if (r < 0)
		return err_set(e, r, "not enough memory");
	if (!s->readable)
		return 0;
	r = writer_open(&screen, &c->screen, e);
	if (r < 0)
		return r;
	r = terminal_sink_new(c->screen, s->colour, screen_columns(), &sink);
	if (r < 0)
		return err_set(e, r, "not enough memory");
	c->sinks[c->n_sinks++] = sink;
	return 0;
}

/* Puts a stage before what comes next so far. */
static void chain_add(struct chain *c, struct stage *stage, struct emitter **next)
{
	c->stages[c->n_stages++] = stage;
	*next = &stage->in;
}

static void wanted_types(const struct session_options *s, uint8_t wanted[AS_EV_COUNT])
{
	static const struct {
		const char *source;
		unsigned bit;
	} sources[] = {
		{"process", SOURCE_PROCESS},
		{"file", SOURCE_FILES},
		{"network", SOURCE_NETWORK},
		{"ssl", SOURCE_TLS},
		{"llm", SOURCE_TLS},
		{"system", SOURCE_SYSTEM},
		{"stdio", SOURCE_TLS | SOURCE_STDIO},
	};

	memset(wanted, 0, AS_EV_COUNT);
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		wanted[type] = !d->internal;
		for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
			if (!strcmp(sources[i].source, d->source))
				wanted[type] = !!(s->sources & sources[i].bit);
		}
	}
	/* it belongs to what TLS carries, not to the accounts of connections */
	wanted[AS_EV_NET_DATA] = !!(s->sources & SOURCE_TLS);
}

static int open_notify(struct chain *c, struct err *e)
{
	const struct notify_options opt = {
		.command = c->opt.session->on_alert,
		.webhook = c->opt.session->webhook,
		.launcher = session_splits(c->opt.session),
	};

	return opt.command || opt.webhook ? notify_open(&opt, &c->notify, e) : 0;
}

static int open_alert(struct chain *c, struct emitter **next)
{
	const struct session_options *s = c->opt.session;
	const uint64_t interval_ns = MAX(s->interval_ns, s->pace.max_ns);
	struct alert_options opt = {
		.rules = c->rules,
		.n_rules = c->n_rules,
		.interval_ns = interval_ns,
		.on_start = c->opt.on_alert,
		.context = c->opt.context,
	};
	int r;

	if (!c->n_rules)
		return 0;
	r = alert_new(&opt, *next, &c->alert);
	if (r < 0)
		return r;
	chain_add(c, c->alert, next);
	return 0;
}

static int open_tls_join(struct chain *c, struct emitter **next)
{
	struct tls_join_names names = {c->opt.library_name, c->opt.context};
	struct stage *join;
	int r = tls_join_new(*next, c->opt.library_name ? &names : NULL, &join);

	if (r < 0)
		return r;
	chain_add(c, join, next);
	return 0;
}

/* HTTP, behind it what reads models from it, behind that what follows the tool calls of models. */
static int open_http(struct chain *c, struct emitter **next)
{
	struct llm_stage_options llm = {.prices = c->prices};
	struct http_stage_options http = {
		.no_ends = !(c->opt.session->sources & SOURCE_NETWORK),
	};
	int r;

	r = tool_run_new(*next, c->opt.procs, &c->tool_run);
	if (r < 0)
		return r;
	chain_add(c, c->tool_run, next);
	llm.listener = *tool_run_listener(c->tool_run);
	r = llm_stage_new(&llm, *next, &c->llm);
	if (r < 0)
		return r;
	http.observer = llm_stage_observer(c->llm);
	r = http_stage_new(&http, *next, &c->http);
	if (r < 0)
		return r;
	chain_add(c, c->http, next);
	return 0;
}

static int open_prices(struct chain *c, struct err *e)
{
	const struct session_options *s = c->opt.session;

	if (!(s->sources & SOURCE_TLS))
		return 0;
	if (prices_new(&c->prices) < 0)
		return err_set(e, -ENOMEM, "not enough memory");
	if (s->prices)
		return prices_load(c->prices, s->prices, e);
	return prices_load_default(c->prices, NULL, e);
}

static int open_stages(struct chain *c)
{
	struct emitter *next = &c->fanout;
	uint8_t wanted[AS_EV_COUNT];
	struct stage *stage;
	int r;

	if (!c->opt.session->no_redact) {
		r = redact_new(next, &stage);
		if (r < 0)
			return r;
		chain_add(c, stage, &next);
		c->redact = stage;
	}

	wanted_types(c->opt.session, wanted);
	r = select_new(wanted, c->opt.filter, c->redact ? redact_unseen(c->redact) : NULL, next,
		       &stage);
	if (r < 0)
		return r;
	chain_add(c, stage, &next);
	c->select = stage;

	c->after_meter = next;
	next = &c->meter;

	r = open_alert(c, &next);
	if (r < 0)
		return r;
	if (c->opt.session->sources & SOURCE_TLS) {
		r = open_http(c, &next);
		if (r < 0)
			return r;
	}
	if (c->opt.session->sources & (SOURCE_TLS | SOURCE_STDIO)) {
		r = open_tls_join(c, &next);
		if (r < 0)
			return r;
	}
	if (c->opt.file_sums) {
		r = file_io_new(next, c->opt.file_sums, &c->file_io);
		if (r < 0)
			return r;
		chain_add(c, c->file_io, &next);
	}
	c->after_enrich = next;
	return 0;
}

int chain_open(const struct chain_options *opt, struct chain **ret, struct err *e)
{
	_cleanup_(chain_freep) struct chain *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->opt = *opt;
	c->enrich.emit = enrich_event;
	c->meter.emit = meter_event;
	c->fanout.emit = fanout_event;
	c->ending.emit = ending_event;

	r = summary_new(&c->summary);
	if (r < 0)
		return r;
	if (opt->session->statistics && stats_new(&c->stats) < 0)
		return err_set(e, -ENOMEM, "not enough memory");
	r = open_prices(c, e);
	if (r < 0)
		return r;
	r = rules_read(opt->session, &c->rules, &c->n_rules, e);
	if (r < 0)
		return r;
	if (opt->no_kernel)
		rules_without_kernel(c->rules, c->n_rules);
	r = open_notify(c, e);
	if (r < 0)
		return r;
	r = open_stages(c);
	if (r < 0)
		return err_set(e, r, "not enough memory for the stages");
	/* the last: it empties a file, which shall not be lost to a mistake in what was asked for */
	r = open_sinks(c, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

void chain_free(struct chain *c)
{
	if (!c)
		return;
	notify_free(c->notify);
	for (size_t i = c->n_stages; i-- > 0;)
		c->stages[i]->free(c->stages[i]);
	llm_stage_free(c->llm); /* behind the exchanges that it reads */
	prices_free(c->prices);
	for (size_t i = 0; i < c->n_sinks; i++)
		c->sinks[i]->free(c->sinks[i]);
	summary_free(c->summary);
	stats_free(c->stats);
	writer_free(c->file);
	writer_free(c->screen);
	buf_done(&c->line);
	free(c->rules);
	free(c);
}

struct emitter *chain_input(struct chain *c)
{
	return &c->enrich;
}

void chain_released(struct chain *c, uint32_t tgid, uint64_t boot_ns)
{
	c->command = tgid;
	c->released_ns = boot_ns;
}

pid_t chain_launcher(const struct chain *c)
{
	return c->notify ? notify_launcher(c->notify) : 0;
}

uint64_t chain_late(const struct chain *c)
{
	return c->late;
}

struct emitter *chain_sinks(struct chain *c)
{
	return &c->ending;
}

void chain_tick(struct chain *c, uint64_t boot_ns)
{
	for (size_t i = c->n_stages; i-- > 0;) {
		if (c->stages[i]->tick)
			c->stages[i]->tick(c->stages[i], boot_ns);
	}
}

void chain_flush(struct chain *c)
{
	if (c->file)
		writer_flush(c->file);
	for (size_t i = 0; i < c->n_sinks; i++) {
		if (c->sinks[i]->flush)
			c->sinks[i]->flush(c->sinks[i]);
	}
}

static void say_unjudged(const struct chain *c)
{
	const struct alert_counts *counts = c->alert ? alert_counts(c->alert) : NULL;

	if (counts && counts->untold)
		log_warning("%llu alerts were not told: more than %d at once",
			    (unsigned long long)counts->untold, ALERT_MAX);
	if (counts && counts->unjudged)
		log_warning("%llu times a sample was not judged by a rule: there are more than %d "
			    "pairs of rule and process",
			    (unsigned long long)counts->unjudged, ALERT_TRACKS_MAX);
}

void chain_finish(struct chain *c)
{
	for (size_t i = c->n_stages; i-- > 0;) {
		if (c->stages[i]->finish)
			c->stages[i]->finish(c->stages[i]);
	}
	if (c->notify)
		notify_finish(c->notify, NOTIFY_WAIT_MS);
	say_unjudged(c);
}

void chain_reopen(struct chain *c)
{
	if (c->file)
		writer_reopen(c->file);
}

bool chain_is_watched(const struct chain *c)
{
	return c->screen || !c->file || !writer_is_regular(c->file);
}

void chain_written(struct chain *c, struct writer_counts *ret)
{
	struct writer *w = c->file ? c->file : c->screen;

	if (w) {
		writer_counts(w, ret);
		return;
	}
	*ret = (struct writer_counts){};
	memcpy(ret->delivered, c->shown, sizeof(ret->delivered));
}

void chain_trim(struct chain *c)
{
	if (c->file)
		writer_trim(c->file);
	if (c->screen)
		writer_trim(c->screen);
}

bool chain_sync(struct chain *c, unsigned stall_ms)
{
	bool ok = true;

	if (c->file)
		ok &= writer_sync(c->file, stall_ms);
	if (c->screen)
		ok &= writer_sync(c->screen, stall_ms);
	return ok;
}

const uint64_t *chain_entered(const struct chain *c)
{
	return c->entered;
}

const uint64_t *chain_arrived(const struct chain *c)
{
	return c->arrived;
}

const uint64_t *chain_filtered(const struct chain *c)
{
	return select_filtered(c->select);
}

void chain_shed(const struct chain *c, uint64_t shed[AS_EV_COUNT])
{
	const struct file_io_counts *file = c->file_io ? file_io_counts(c->file_io) : NULL;

	memset(shed, 0, AS_EV_COUNT * sizeof(*shed));
	if (c->http)
		http_stage_shed(c->http, shed);
	if (c->llm)
		llm_stage_shed(c->llm, shed);
	if (c->alert) /* a start and an end of each */
		shed[AS_EV_THRESHOLD] = 2 * alert_counts(c->alert)->untold;
	if (c->tool_run)
		shed[AS_EV_TOOL_RUN] = tool_run_counts(c->tool_run)->unmade;
	if (file) {
		shed[AS_EV_FILE_READ] = file->dropped[false];
		shed[AS_EV_FILE_WRITE] = file->dropped[true];
	}
}

void chain_tables(const struct chain *c, struct table_counts ret[LEDGER_TABLES])
{
	if (c->http) {
		const struct http_stage_counts *http = http_stage_counts(c->http);

		ret[TABLE_CONNECTIONS] = (struct table_counts){http->unwatched, http->evicted};
	}
	if (c->tool_run) {
		const struct tool_run_counts *runs = tool_run_counts(c->tool_run);

		ret[TABLE_TOOL_CALLS].evicted = runs->forgotten;
		ret[TABLE_TOOL_PROCESSES].refused = runs->untracked;
	}
}

uint64_t chain_alerts_started(const struct chain *c)
{
	return c->alert ? alert_counts(c->alert)->started : 0;
}

double chain_alert_nearness(const struct chain *c)
{
	return c->alert ? alert_nearness(c->alert) : 0;
}

int chain_statistics(struct chain *c, struct buf *json)
{
	if (!c->stats)
		return -ENODATA;
	stats_json(json, c->stats, NULL, STATS_LISTED_SUMMARY);
	return json->failed ? -ENOMEM : 0;
}

void chain_emit_statistics(struct chain *c, uint64_t boot_ns)
{
	_cleanup_(buf_done) struct buf json = {};
	_cleanup_(buf_done) struct buf b = {};
	struct as_span span;

	if (!c->stats)
		return;
	stats_finish(c->stats);
	if (chain_statistics(c, &json) < 0)
		return;
	record_begin_own(&b, AS_EV_SUMMARY, boot_ns);
	span = record_add(&b, json.data, json.len);
	if (!record_made(&b, AS_EV_SUMMARY))
		return;
	record_struct(&b, as_summary)->summary = span;
	record_emit(&b, AS_EV_SUMMARY, &c->ending);
}

void chain_print_summary(const struct chain *c, FILE *f, bool colour)
{
	struct winsize size;

	if (!c->stats) {
		summary_print(c->summary, f, colour);
		return;
	}
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		size.ws_col = SUMMARY_COLUMNS;
	if (stats_print(c->stats, f, colour, size.ws_col) < 0)
		log_error("not enough memory for the whole summary");
}
