/* SPDX-License-Identifier: MIT */
/*
 * A table: event type -> verb, colour, function that writes the essence. A type without a function
 * is shown as key=value from the schema, so a new type needs nothing here. Amounts stand before
 * paths and text, since the end of a line is what gets cut.
 */
#include "sink/terminal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <agentsight/control.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/line.h"
#include "base/units.h"
#include "event/names.h"
#include "event/record.h"
#include "event/schema.h"
#include "sink/writer.h"

#define TERMINAL_COLUMNS_MIN 40

#define COLUMN_WHO     13
#define COLUMN_VERB    36
#define COLUMN_ESSENCE 47
#define COMM_MIN       8

/* ---- parts of a line ---- */

static void put_styled(struct line *l, enum line_style style, const char *text)
{
	line_style(l, style);
	line_str(l, text);
	line_style(l, LINE_PLAIN);
}

static void put_span(struct line *l, const struct as_hdr *rec, const struct as_span *s)
{
	line_text(l, record_bytes(rec, s), s->len);
	if (s->len < s->full)
		put_styled(l, LINE_DIM, "[cut]");
}

static void put_path(struct line *l, const struct as_hdr *rec, const struct as_path *path)
{
	char text[PATH_TEXT_MAX];

	line_text(l, text, record_path(rec, path, text));
}

static void put_bytes(struct line *l, uint64_t bytes)
{
	char text[UNITS_LEN];

	line_str(l, units_bytes(text, bytes));
}

/* In a column of its own, so that amounts under one another compare. */
static void put_bytes_column(struct line *l, uint64_t bytes)
{
	char text[UNITS_LEN];

	line_printf(l, "%10s  ", units_bytes(text, bytes));
}

static void put_duration(struct line *l, uint64_t ns)
{
	char text[UNITS_LEN];

	line_str(l, units_duration(text, ns));
}

/* "ENOENT  ", nothing when there was no error. */
static void put_error(struct line *l, int error)
{
	const char *name = errno_name(error);

	if (!error)
		return;
	line_style(l, LINE_RED);
	if (name)
		line_str(l, name);
	else
		line_printf(l, "error %d", error);
	line_style(l, LINE_PLAIN);
	line_str(l, "  ");
}

static void put_addr(struct line *l, const struct as_addr *a)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (a->family == AF_INET && inet_ntop(AF_INET, a->ip + 12, text, sizeof(text)))
		line_printf(l, "%s:%u", text, a->port);
	else if (a->family == AF_INET6 && inet_ntop(AF_INET6, a->ip, text, sizeof(text)))
		line_printf(l, "[%s]:%u", text, a->port);
	else
		line_str(l, "?");
}

static void put_ends(struct line *l, uint32_t protocol, const struct as_addr *local,
		     const char *arrow, const struct as_addr *remote)
{
	const char *name = name_table_find(&names_protocol, protocol);

	if (protocol != AS_PROTO_TCP) {
		line_str(l, name ? name : "?");
		line_str(l, " ");
	}
	put_addr(l, local);
	line_printf(l, " %s ", arrow);
	put_addr(l, remote);
}

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path ? path : "?";
}

/* Strings, each ended by NUL, as a command line. */
static void put_words(struct line *l, const struct as_hdr *rec, const struct as_span *s)
{
	const char *p = record_bytes(rec, s);

	for (size_t i = 0; i < s->len && !l->full;) {
		size_t len = strnlen(p + i, s->len - i);

		if (i)
			line_str(l, " ");
		line_word(l, p + i, len);
		i += len + 1;
	}
	if (s->len < s->full)
		put_styled(l, LINE_DIM, " [cut]");
}

/* ---- processes ---- */

#define RECORD(S, name, ev) const struct S *name = (const struct S *)(ev)->rec

static void put_exec(struct line *l, const struct event *ev)
{
	RECORD(as_exec, e, ev);

	line_style(l, LINE_BOLD);
	if (e->argv.len)
		put_words(l, ev->rec, &e->argv);
	else
		put_span(l, ev->rec, &e->filename);
	line_style(l, LINE_PLAIN);
}

static void put_fork(struct line *l, const struct event *ev)
{
	RECORD(as_fork, e, ev);

	line_printf(l, "%u", e->child_pid);
}

static void put_status(struct line *l, const struct as_exit *e)
{
	const char *name = e->signal ? sigabbrev_np(e->signal) : NULL;

	line_style(l, e->signal || e->exit_code ? LINE_RED : LINE_GREEN);
	if (name)
		line_printf(l, "SIG%s", name);
	else if (e->signal)
		line_printf(l, "signal %u", e->signal);
	else
		line_printf(l, "%u", e->exit_code);
	if (e->core_dumped)
		line_str(l, " (core dumped)");
	line_style(l, LINE_PLAIN);
}

static void put_exit(struct line *l, const struct event *ev)
{
	RECORD(as_exit, e, ev);

	put_status(l, e);
	line_str(l, "  after ");
	put_duration(l, e->duration_ns);
	line_str(l, "  cpu ");
	put_duration(l, e->cpu_user_ns + e->cpu_system_ns);
	line_str(l, "  peak ");
	put_bytes(l, e->max_rss_kb * 1024);
}

/* ---- files ---- */

/* What one wants to know at a glance: "r", "w create trunc". */
static void put_open_flags(struct line *l, uint32_t flags)
{
	static const char *const access[] = {"r", "w", "rw", "?"};
	static const struct name_row more[] = {
		{.value = O_CREAT, .name = " create"},
		{.value = O_TRUNC, .name = " trunc"},
		{.value = O_APPEND, .name = " append"},
	};

	line_style(l, flags & O_ACCMODE ? LINE_YELLOW : LINE_DIM);
	line_str(l, access[flags & O_ACCMODE]);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		if (flags & more[i].value)
			line_str(l, more[i].name);
	}
	line_style(l, LINE_PLAIN);
	line_str(l, "  ");
}

static void put_open(struct line *l, const struct event *ev)
{
	RECORD(as_file_open, e, ev);

	put_error(l, e->error);
	put_open_flags(l, e->flags);
	put_path(l, ev->rec, &e->path);
}

static void put_file_io(struct line *l, const struct event *ev)
{
	RECORD(as_file_io, e, ev);

	put_bytes_column(l, e->bytes);
	put_path(l, ev->rec, &e->path);
	line_style(l, LINE_DIM);
	line_printf(l, "  in %llu call%s", (unsigned long long)e->count, e->count == 1 ? "" : "s");
	line_style(l, LINE_PLAIN);
}

static void put_file_op(struct line *l, const struct event *ev)
{
	RECORD(as_file_op, e, ev);

	put_error(l, e->error);
	put_path(l, ev->rec, &e->path);
	if (!e->new_path.base.len && !e->new_path.rel.len)
		return;
	line_str(l, e->exchange ? " <-> " : " -> ");
	put_path(l, ev->rec, &e->new_path);
}

static void put_file_mode(struct line *l, const struct event *ev)
{
	RECORD(as_file_op, e, ev);

	line_printf(l, "%04o  ", e->mode & 07777);
	put_file_op(l, ev);
}

static void put_truncate(struct line *l, const struct event *ev)
{
	RECORD(as_file_op, e, ev);

	if (e->length < 0)
		line_printf(l, "%10lld  ", (long long)e->length);
	else
		put_bytes_column(l, e->length);
	put_file_op(l, ev);
}

/* ---- network ---- */

static void put_connect(struct line *l, const struct event *ev)
{
	RECORD(as_connect, e, ev);

	put_error(l, e->error);
	put_ends(l, e->protocol, &e->local, "->", &e->remote);
	line_str(l, "  ");
	put_duration(l, e->latency_ns);
}

static void put_accept(struct line *l, const struct event *ev)
{
	RECORD(as_accept, e, ev);

	put_ends(l, e->protocol, &e->local, "<-", &e->remote);
}

static void put_net_io(struct line *l, const struct event *ev)
{
	RECORD(as_net_io, e, ev);
	const char *arrow = ev->rec->type == AS_EV_SEND ? "->" : "<-";

	put_bytes_column(l, e->bytes);
	put_ends(l, e->protocol, &e->local, arrow, &e->remote);
}

static void put_flow(struct line *l, const struct event *ev)
{
	RECORD(as_flow, e, ev);

	put_error(l, e->error);
	put_ends(l, e->protocol, &e->local, e->role == AS_ROLE_SERVER ? "<-" : "->", &e->remote);
	line_str(l, "  sent ");
	put_bytes(l, e->tx_bytes);
	line_str(l, "  received ");
	put_bytes(l, e->rx_bytes);
	if (e->rtt_us) {
		line_str(l, "  rtt ");
		put_duration(l, e->rtt_us * NSEC_PER_USEC);
	}
	if (e->retransmits) {
		line_style(l, LINE_YELLOW);
		line_printf(l, "  %u sent again", e->retransmits);
		line_style(l, LINE_PLAIN);
	}
	line_str(l, "  after ");
	put_duration(l, e->duration_ns);
}

static void put_retransmit(struct line *l, const struct event *ev)
{
	RECORD(as_retransmit, e, ev);

	put_ends(l, e->protocol, &e->local, "->", &e->remote);
	line_printf(l, "  %u so far", e->retransmits);
}

/* ---- TLS ---- */

static void put_tls_peer(struct line *l, const struct event *ev, const struct as_conn *conn,
			 const char *arrow)
{
	put_styled(l, LINE_DIM, base_name(ev->label));
	line_printf(l, " %s ", arrow);
	put_addr(l, &conn->remote);
	line_str(l, "  ");
}

/* The first line of the plaintext that a person can read. */
static void put_first_text(struct line *l, const char *p, size_t n)
{
	n = MIN(n, (size_t)4096);
	while (n) {
		const char *end = memchr(p, '\n', n);
		size_t len = end ? (size_t)(end - p) : n;
		size_t shown = len && p[len - 1] == '\r' ? len - 1 : len;

		if (shown && !line_is_binary(p, shown)) {
			line_text(l, p, shown);
			return;
		}
		if (!end)
			break;
		p += len + 1;
		n -= len + 1;
	}
	put_styled(l, LINE_DIM, "(binary)");
}

static void put_ssl_data(struct line *l, const struct event *ev)
{
	RECORD(as_ssl_data, e, ev);

	put_bytes_column(l, e->len);
	put_tls_peer(l, ev, &e->conn, e->direction == AS_TLS_WRITE ? "->" : "<-");
	if (e->data.len)
		put_first_text(l, record_bytes(ev->rec, &e->data), e->data.len);
}

/* The three kinds of payload have one layout. */
static void put_net_data(struct line *l, const struct event *ev)
{
	RECORD(as_ssl_data, e, ev);

	put_bytes_column(l, e->len);
	line_str(l, e->direction == AS_TLS_WRITE ? "-> " : "<- ");
	put_addr(l, &e->conn.remote);
	line_str(l, "  ");
	if (e->data.len)
		put_first_text(l, record_bytes(ev->rec, &e->data), e->data.len);
}

static void put_stdio_data(struct line *l, const struct event *ev)
{
	RECORD(as_stdio_data, e, ev);

	put_bytes_column(l, e->len);
	line_printf(l, "%s descriptor %d  ", e->direction == AS_TLS_WRITE ? "->" : "<-", e->fd);
	if (e->data.len)
		put_first_text(l, record_bytes(ev->rec, &e->data), e->data.len);
}

static void put_handshake(struct line *l, const struct event *ev)
{
	RECORD(as_ssl_handshake, e, ev);
	const char *version = name_table_find(&names_tls_version, e->version);

	if (e->failed)
		put_styled(l, LINE_RED, "failed  ");
	put_tls_peer(l, ev, &e->conn, "with");
	put_span(l, ev->rec, &e->server_name);
	line_str(l, e->server_name.len ? "  " : "");
	line_str(l, version ? version : "");
	line_str(l, version ? " " : "");
	put_span(l, ev->rec, &e->alpn);
	line_str(l, e->alpn.len ? "  " : " ");
	put_duration(l, e->latency_ns);
}

static void put_session(struct line *l, const struct event *ev)
{
	RECORD(as_ssl_session, e, ev);

	put_tls_peer(l, ev, &e->conn, "with");
	put_span(l, ev->rec, &e->server_name);
	line_str(l, e->server_name.len ? "  " : "");
	put_span(l, ev->rec, &e->alpn);
}

/* ---- HTTP ---- */

/* POST api.example.com/v1/messages */
static void put_target(struct line *l, const struct as_hdr *rec, const struct as_span *method,
		       const struct as_span *host, const struct as_span *path)
{
	line_style(l, LINE_BOLD);
	put_span(l, rec, method);
	line_str(l, method->len ? " " : "");
	line_style(l, LINE_PLAIN);
	put_span(l, rec, host);
	put_span(l, rec, path);
}

static void put_request(struct line *l, const struct event *ev)
{
	RECORD(as_http_request, e, ev);

	put_bytes_column(l, e->body_full);
	put_target(l, ev->rec, &e->method, &e->host, &e->path);
	if (e->incomplete)
		put_styled(l, LINE_RED, "  cut off");
}

static enum line_style status_style(uint32_t status)
{
	return status >= 500 ? LINE_RED : status >= 400 ? LINE_YELLOW : LINE_GREEN;
}

static void put_response(struct line *l, const struct event *ev)
{
	RECORD(as_http_response, e, ev);

	put_bytes_column(l, e->body_full);
	line_style(l, status_style(e->status));
	line_printf(l, "%u ", e->status);
	line_style(l, LINE_PLAIN);
	put_duration(l, e->duration_ns);
	if (e->incomplete)
		put_styled(l, LINE_RED, "  cut off");
	line_str(l, "  ");
	put_target(l, ev->rec, &e->method, &e->host, &e->path);
}

static void put_message(struct line *l, const struct event *ev)
{
	RECORD(as_ws_message, e, ev);

	put_bytes_column(l, e->full);
	line_str(l, e->direction == AS_TLS_WRITE ? "-> " : "<- ");
	put_span(l, ev->rec, &e->host);
	put_span(l, ev->rec, &e->path);
	line_str(l, "  ");
	put_first_text(l, record_bytes(ev->rec, &e->data), e->data.len);
}

/* ---- language models ---- */

static void put_host(struct line *l, const struct event *ev, const struct as_span *host)
{
	if (!host->len)
		return;
	line_str(l, " at ");
	put_span(l, ev->rec, host);
}

static void put_llm_request(struct line *l, const struct event *ev)
{
	RECORD(as_llm_request, e, ev);
	unsigned long long n = e->n_messages;

	line_style(l, LINE_BOLD);
	put_span(l, ev->rec, &e->model);
	line_style(l, LINE_DIM);
	put_host(l, ev, &e->host);
	line_printf(l, "  %llu message%s", n, n == 1 ? "" : "s");
	line_style(l, LINE_PLAIN);
	if (e->incomplete)
		put_styled(l, LINE_YELLOW, "  cut off");
	line_str(l, "  ");
	line_text(l, record_bytes(ev->rec, &e->prompt), e->prompt.len);
}

static void put_usage(struct line *l, const struct as_llm_response *e)
{
	line_style(l, LINE_DIM);
	if (!e->usage_unknown)
		line_printf(l, "  %llu in %llu out", (unsigned long long)e->input_tokens,
			    (unsigned long long)e->output_tokens);
	if (e->cache_read_tokens)
		line_printf(l, " %llu cached", (unsigned long long)e->cache_read_tokens);
	if (e->cache_write_tokens)
		line_printf(l, " %llu to cache", (unsigned long long)e->cache_write_tokens);
	if (e->cost_nano_usd)
		line_printf(l, "  $%.4f", (double)e->cost_nano_usd / 1e9);
	line_style(l, LINE_PLAIN);
}

static void put_llm_response(struct line *l, const struct event *ev)
{
	RECORD(as_llm_response, e, ev);

	line_style(l, LINE_BOLD);
	put_span(l, ev->rec, &e->model);
	line_style(l, LINE_PLAIN);
	put_usage(l, e);
	line_str(l, "  ");
	put_duration(l, e->duration_ns);
	if (e->incomplete)
		put_styled(l, LINE_YELLOW, "  cut off");
	if (e->error.len) {
		line_style(l, LINE_RED);
		line_str(l, "  ");
		line_text(l, record_bytes(ev->rec, &e->error), e->error.len);
		line_style(l, LINE_PLAIN);
	} else if (e->tools.len) {
		line_style(l, LINE_YELLOW);
		line_str(l, "  calls ");
		put_words(l, ev->rec, &e->tools);
		line_style(l, LINE_PLAIN);
	} else {
		line_str(l, "  ");
		line_text(l, record_bytes(ev->rec, &e->stop_reason), e->stop_reason.len);
	}
	line_str(l, "  ");
	line_text(l, record_bytes(ev->rec, &e->text), e->text.len);
}

static void put_count(struct line *l, uint64_t n, const char *one, const char *many)
{
	if (n)
		line_printf(l, "  %llu %s", (unsigned long long)n, n == 1 ? one : many);
}

/* What came of it: how the process ended, and what it left. */
static void put_tool_end(struct line *l, const struct as_tool_run *e)
{
	if (e->signal)
		line_printf(l, "  signal %u", e->signal);
	else if (e->exit_code >= 0)
		line_printf(l, "  %d", e->exit_code);
	line_str(l, "  after ");
	put_duration(l, e->duration_ns);
	put_count(l, e->n_processes, "process", "processes");
	put_count(l, e->n_files, "file", "files");
	put_count(l, e->n_connections, "connection", "connections");
	if (e->is_error)
		put_styled(l, LINE_RED, "  reported as a failure");
	else if (!e->reported)
		put_styled(l, LINE_DIM, "  not reported to the model");
}

static void put_tool_run(struct line *l, const struct event *ev)
{
	RECORD(as_tool_run, e, ev);

	line_style(l, LINE_BOLD);
	put_span(l, ev->rec, &e->name);
	line_style(l, LINE_PLAIN);
	line_str(l, e->ended ? " ends" : " is");
	if (e->process)
		line_printf(l, "%s [%u]", e->ended ? "" : " process", e->process);
	else if (!e->ended)
		line_str(l, " the agent itself");
	if (e->ended)
		put_tool_end(l, e);
	else
		line_printf(l, "  %u %% sure", e->confidence);
	line_style(l, LINE_DIM);
	line_str(l, "  ");
	line_text(l, record_bytes(ev->rec, &e->input), e->input.len);
	line_style(l, LINE_PLAIN);
}

/* ---- system and alerts ---- */

static void put_centi(struct line *l, uint64_t value)
{
	line_printf(l, "%llu.%02llu", (unsigned long long)value / 100,
		    (unsigned long long)value % 100);
}

static void put_cpu(struct line *l, uint64_t centi, bool alert)
{
	line_style(l, alert ? LINE_ALARM : LINE_PLAIN);
	line_str(l, "cpu ");
	put_centi(l, centi);
	line_str(l, " %");
	line_style(l, LINE_PLAIN);
}

static void put_metrics(struct line *l, const struct event *ev)
{
	RECORD(as_system_metrics, e, ev);

	put_cpu(l, e->cpu_centi, e->alert);
	line_str(l, "  rss ");
	put_bytes(l, e->rss_kb * 1024);
	line_printf(l, "  %u thread%s", e->threads, e->threads == 1 ? "" : "s");
	if (e->children)
		line_printf(l, "  %u below it", e->children);
}

static void put_wide(struct line *l, const struct event *ev)
{
	RECORD(as_system_wide, e, ev);

	put_cpu(l, e->cpu_centi, e->alert);
	line_printf(l, " of %u cores  memory ", e->cores);
	put_bytes(l, e->used_kb * 1024);
	line_str(l, " of ");
	put_bytes(l, e->total_kb * 1024);
	line_str(l, "  load ");
	put_centi(l, e->load1_centi);
}

static void put_threshold(struct line *l, const struct event *ev)
{
	RECORD(as_threshold, e, ev);

	line_style(l, e->ended ? LINE_YELLOW : LINE_ALARM);
	put_span(l, ev->rec, &e->rule);
	line_str(l, e->ended ? "  no longer, peak " : "  ");
	if (e->value_centi < 0)
		line_str(l, "-");
	put_centi(l, e->value_centi < 0 ? -(uint64_t)e->value_centi : (uint64_t)e->value_centi);
	if (e->unit.len)
		line_str(l, " ");
	put_span(l, ev->rec, &e->unit);
	if (e->duration_ns) {
		line_str(l, ", for ");
		put_duration(l, e->duration_ns);
	}
	line_style(l, LINE_PLAIN);
}

/* ---- about the run itself ---- */

static void put_start(struct line *l, const struct event *ev)
{
	RECORD(as_start, e, ev);

	line_style(l, LINE_DIM);
	line_str(l, "agentsight ");
	put_span(l, ev->rec, &e->version);
	line_style(l, LINE_DIM);
	line_str(l, " on Linux ");
	put_span(l, ev->rec, &e->kernel);
	line_style(l, LINE_PLAIN);
}

static void put_capability(struct line *l, const struct event *ev)
{
	RECORD(as_capability, e, ev);
	const char *state = name_table_find(&names_capability, e->state);

	line_style(l, LINE_DIM);
	line_str(l, state ? state : "?");
	line_str(l, ": ");
	put_span(l, ev->rec, &e->family);
	line_str(l, " ");
	put_span(l, ev->rec, &e->hook);
	if (e->mechanism.len) {
		line_str(l, " through ");
		put_span(l, ev->rec, &e->mechanism);
	}
	if (e->reason.len) {
		line_str(l, ": ");
		put_span(l, ev->rec, &e->reason);
	}
	line_style(l, LINE_PLAIN);
}

static void put_loss(struct line *l, const struct event *ev)
{
	RECORD(as_loss, e, ev);

	line_style(l, LINE_ALARM);
	line_printf(l, "%llu ", (unsigned long long)e->count);
	put_span(l, ev->rec, &e->event);
	line_printf(l, " event%s: ", e->count == 1 ? "" : "s");
	put_span(l, ev->rec, &e->reason);
	line_printf(l, " (%llu in all)", (unsigned long long)e->total);
	line_style(l, LINE_PLAIN);
}

static void put_stop(struct line *l, const struct event *ev)
{
	RECORD(as_stats, e, ev);

	line_printf(l, "%llu events in ", (unsigned long long)e->delivered);
	put_duration(l, e->duration_ns);
	line_style(l, e->lost || e->difference ? LINE_ALARM : LINE_GREEN);
	line_printf(l, ", %llu lost", (unsigned long long)e->lost);
	if (e->difference)
		line_printf(l, ", %lld not accounted for", (long long)e->difference);
	line_style(l, LINE_PLAIN);
	if (e->shed)
		line_printf(l, ", %llu beyond a limit", (unsigned long long)e->shed);
}

/* ---- a type that has no function of its own ---- */

static const size_t kind_size[AS_KIND_COUNT] = {
#define KIND_SIZE(name, ctype) [AS_KIND_##name] = sizeof(ctype),
	AS_KINDS(KIND_SIZE)
#undef KIND_SIZE
};

static bool all_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static bool is_absent(const struct field_desc *f, const void *p)
{
	if (f->kind == AS_KIND_HIDDEN || f->kind == AS_KIND_HIDDEN32 || !f->leaf[0])
		return true;
	if (f->kind == AS_KIND_FD)
		return *(const int32_t *)p < 0;
	if (f->kind == AS_KIND_ERRNO)
		return *(const int32_t *)p == 0;
	if (f->kind == AS_KIND_KNOWN)
		return *(const uint64_t *)p == AS_UNKNOWN;
	/* an empty span may still say where it would be */
	if (f->kind == AS_KIND_STR || f->kind == AS_KIND_ARGV || f->kind == AS_KIND_PAYLOAD ||
	    f->kind == AS_KIND_JSON)
		return f->optional && ((const struct as_span *)p)->len == 0;
	return f->optional && all_zero(p, kind_size[f->kind]);
}

static void put_enum(struct line *l, const struct name_table *t, uint32_t value)
{
	const char *name = name_table_find(t, value);

	if (name)
		line_str(l, name);
	else
		line_printf(l, "%u", value);
}

static void put_flags(struct line *l, const struct name_table *t, uint32_t value)
{
	const char *between = "";

	for (size_t i = 0; i < t->n; i++) {
		const struct name_row *row = &t->rows[i];

		if (!name_row_applies(row, value))
			continue;
		line_printf(l, "%s%s", between, row->name);
		between = "|";
	}
}

static void put_value(struct line *l, const struct event *ev, const struct field_desc *f,
		      const void *p)
{
	const struct as_hdr *h = ev->rec;
	const struct as_span *span = p;

	switch ((enum as_kind)f->kind) {
	case AS_KIND_U32:
	case AS_KIND_PID:
		line_printf(l, "%u", *(const uint32_t *)p);
		break;
	case AS_KIND_U64:
	case AS_KIND_KNOWN:
		line_printf(l, "%llu", (unsigned long long)*(const uint64_t *)p);
		break;
	case AS_KIND_BOOL:
		line_str(l, *(const uint32_t *)p ? "true" : "false");
		break;
	case AS_KIND_DUR:
		put_duration(l, *(const uint64_t *)p);
		break;
	case AS_KIND_FD:
		line_printf(l, "%d", *(const int32_t *)p);
		break;
	case AS_KIND_ERRNO:
		put_error(l, *(const int32_t *)p);
		break;
	case AS_KIND_MODE:
		line_printf(l, "%04o", *(const uint32_t *)p & 07777);
		break;
	case AS_KIND_FLAGS:
		put_flags(l, f->names, *(const uint32_t *)p);
		break;
	case AS_KIND_ENUM:
		put_enum(l, f->names, *(const uint32_t *)p);
		break;
	case AS_KIND_S64:
		line_printf(l, "%lld", (long long)*(const int64_t *)p);
		break;
	case AS_KIND_SCENTI:
		if (*(const int64_t *)p < 0)
			line_str(l, "-");
		put_centi(l, llabs(*(const int64_t *)p));
		break;
	case AS_KIND_CENTI:
	case AS_KIND_CENTI_TEXT:
		put_centi(l, *(const uint64_t *)p);
		break;
	case AS_KIND_ADDR:
		put_addr(l, p);
		break;
	case AS_KIND_CONN:
		put_addr(l, &((const struct as_conn *)p)->local);
		line_str(l, "-");
		put_addr(l, &((const struct as_conn *)p)->remote);
		break;
	case AS_KIND_PATH:
		put_path(l, h, p);
		break;
	case AS_KIND_STR:
	case AS_KIND_PAYLOAD:
	case AS_KIND_JSON:
		line_word(l, record_bytes(h, span), span->len);
		break;
	case AS_KIND_ARGV:
		put_words(l, h, span);
		break;
	case AS_KIND_HDR_TGID:
		line_printf(l, "%u", h->tgid);
		break;
	case AS_KIND_HDR_PPID:
		line_printf(l, "%u", h->ppid);
		break;
	case AS_KIND_HDR_UID:
		line_printf(l, "%u", h->uid);
		break;
	case AS_KIND_HDR_COMM:
		line_word(l, h->comm, strnlen(h->comm, sizeof(h->comm)));
		break;
	case AS_KIND_UNIX_NS:
		line_printf(l, "%llu", (unsigned long long)ev->unix_ns);
		break;
	case AS_KIND_LABEL:
		line_str(l, base_name(ev->label));
		break;
	case AS_KIND_HIDDEN:
	case AS_KIND_HIDDEN32:
	case AS_KIND_COUNT:
		break;
	}
}

static void put_generic(struct line *l, const struct event *ev)
{
	const char *between = "";

	for (size_t i = 0; i < ev->desc->n_fields && !l->full; i++) {
		const struct field_desc *f = &ev->desc->fields[i];
		const void *p = (const char *)ev->rec + f->offset;

		if (is_absent(f, p))
			continue;
		line_printf(l, "%s%s=", between, f->path);
		put_value(l, ev, f, p);
		between = " ";
	}
}

/* ---- the table ---- */

struct view {
	const char *verb; /* NULL: the name of the type */
	enum line_style style;
	void (*put)(struct line *l, const struct event *ev); /* NULL: key=value */
};

static const struct view views[AS_EV_COUNT] = {
	[AS_EV_EXEC] = {NULL, LINE_GREEN, put_exec},
	[AS_EV_FORK] = {NULL, LINE_DIM, put_fork},
	[AS_EV_EXIT] = {NULL, LINE_DIM, put_exit},
	[AS_EV_FILE_OPEN] = {NULL, LINE_BLUE, put_open},
	[AS_EV_FILE_READ] = {NULL, LINE_BLUE, put_file_io},
	[AS_EV_FILE_WRITE] = {NULL, LINE_YELLOW, put_file_io},
	[AS_EV_FILE_UNLINK] = {NULL, LINE_YELLOW, put_file_op},
	[AS_EV_FILE_RENAME] = {NULL, LINE_YELLOW, put_file_op},
	[AS_EV_FILE_MKDIR] = {NULL, LINE_YELLOW, put_file_mode},
	[AS_EV_FILE_RMDIR] = {NULL, LINE_YELLOW, put_file_op},
	[AS_EV_FILE_TRUNCATE] = {NULL, LINE_YELLOW, put_truncate},
	[AS_EV_FILE_LINK] = {NULL, LINE_YELLOW, put_file_op},
	[AS_EV_FILE_SYMLINK] = {NULL, LINE_YELLOW, put_file_op},
	[AS_EV_FILE_CHMOD] = {NULL, LINE_YELLOW, put_file_mode},
	[AS_EV_CONNECT] = {NULL, LINE_CYAN, put_connect},
	[AS_EV_ACCEPT] = {NULL, LINE_CYAN, put_accept},
	[AS_EV_SEND] = {NULL, LINE_CYAN, put_net_io},
	[AS_EV_RECV] = {NULL, LINE_CYAN, put_net_io},
	[AS_EV_FLOW] = {NULL, LINE_CYAN, put_flow},
	[AS_EV_CLOSE] = {NULL, LINE_CYAN, put_flow},
	[AS_EV_RETRANSMIT] = {NULL, LINE_YELLOW, put_retransmit},
	[AS_EV_SSL_DATA] = {NULL, LINE_MAGENTA, put_ssl_data},
	[AS_EV_NET_DATA] = {"plain text", LINE_MAGENTA, put_net_data},
	[AS_EV_STDIO_DATA] = {"stdio", LINE_MAGENTA, put_stdio_data},
	[AS_EV_SSL_HANDSHAKE] = {"TLS start", LINE_MAGENTA, put_handshake},
	[AS_EV_SSL_SESSION] = {"TLS", LINE_MAGENTA, put_session},
	[AS_EV_HTTP_REQUEST] = {"request", LINE_MAGENTA, put_request},
	[AS_EV_HTTP_RESPONSE] = {"response", LINE_MAGENTA, put_response},
	[AS_EV_WS_MESSAGE] = {"WebSocket", LINE_MAGENTA, put_message},
	[AS_EV_LLM_REQUEST] = {"asks", LINE_GREEN, put_llm_request},
	[AS_EV_LLM_RESPONSE] = {"answers", LINE_GREEN, put_llm_response},
	[AS_EV_TOOL_RUN] = {"tool", LINE_YELLOW, put_tool_run},
	[AS_EV_SYSTEM_METRICS] = {"system", LINE_DIM, put_metrics},
	[AS_EV_SYSTEM_WIDE] = {"system", LINE_DIM, put_wide},
	[AS_EV_THRESHOLD] = {"alert", LINE_ALARM, put_threshold},
	[AS_EV_START] = {NULL, LINE_DIM, put_start},
	[AS_EV_CAPABILITY] = {NULL, LINE_DIM, put_capability},
	[AS_EV_LOSS] = {"LOST", LINE_ALARM, put_loss},
	[AS_EV_STOP] = {NULL, LINE_BOLD, put_stop},
};

static bool is_shown(const struct event *ev)
{
	if (ev->desc->internal || ev->rec->type == AS_EV_STATS)
		return false;
	if (ev->rec->type == AS_EV_CAPABILITY)
		return ((const struct as_capability *)ev->rec)->state != 0;
	return true;
}

static const char *verb_of(const struct event *ev)
{
	const char *verb = views[ev->rec->type].verb;

	if (ev->rec->type != AS_EV_SSL_DATA)
		return verb ? verb : ev->desc->name;
	return ((const struct as_ssl_data *)ev->rec)->direction == AS_TLS_WRITE ? "TLS write"
										: "TLS read";
}

static void put_time(struct line *l, uint64_t unix_ns)
{
	time_t s = unix_ns / NSEC_PER_SEC;
	struct tm tm = {0};

	localtime_r(&s, &tm);
	line_style(l, LINE_DIM);
	line_printf(l, "%02d:%02d:%02d.%03u ", tm.tm_hour, tm.tm_min, tm.tm_sec,
		    (unsigned)(unix_ns % NSEC_PER_SEC / NSEC_PER_MSEC));
	line_style(l, LINE_PLAIN);
}

/* comm[pid]; a long pid takes columns from the name, so that the verbs stay in one column. */
static void put_who(struct line *l, const struct as_hdr *h)
{
	unsigned room = COLUMN_VERB - COLUMN_WHO - 1;
	char pid[16] = "";
	int n = 0;

	if (h->tgid)
		n = snprintf(pid, sizeof(pid), "[%u]", h->tgid);
	if (h->comm[0])
		line_text_max(l, h->comm, strnlen(h->comm, sizeof(h->comm)),
			      MAX(room - n, (unsigned)COMM_MIN));
	else
		line_str(l, h->tgid ? "?" : "(machine)");
	put_styled(l, LINE_DIM, pid);
	line_pad(l, COLUMN_VERB);
}

void terminal_line(struct buf *b, const struct event *ev, unsigned columns, bool colour)
{
	const struct view *v = &views[ev->rec->type];
	struct line l;

	if (!is_shown(ev))
		return;
	if (!columns)
		columns = TERMINAL_COLUMNS;
	line_begin(&l, b, MAX(columns, (unsigned)TERMINAL_COLUMNS_MIN), colour);
	put_time(&l, ev->unix_ns);
	put_who(&l, ev->rec);
	put_styled(&l, v->style, verb_of(ev));
	line_pad(&l, COLUMN_ESSENCE);
	if (v->put)
		v->put(&l, ev);
	else
		put_generic(&l, ev);
	line_end(&l);
}

/* ---- the sink ---- */

struct terminal_sink {
	struct sink sink;
	struct writer *writer;
	unsigned columns;
	bool colour;
	struct buf line;
};

static void terminal_write(struct sink *self, const struct event *ev, const char *line, size_t len)
{
	struct terminal_sink *t = (struct terminal_sink *)self;

	buf_reset(&t->line);
	terminal_line(&t->line, ev, t->columns, t->colour);
	if (t->line.failed)
		writer_drop(t->writer, ev->rec->type);
	else
		writer_append(t->writer, ev->rec->type, t->line.len ? t->line.data : "",
			      t->line.len);
}

static void terminal_flush(struct sink *self)
{
	writer_flush(((struct terminal_sink *)self)->writer);
}

static void terminal_free(struct sink *self)
{
	struct terminal_sink *t = (struct terminal_sink *)self;

	if (!t)
		return;
	buf_done(&t->line);
	free(t);
}

int terminal_sink_new(struct writer *w, bool colour, unsigned columns, struct sink **ret)
{
	struct terminal_sink *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->sink = (struct sink){terminal_write, terminal_flush, terminal_free};
	t->writer = w;
	t->columns = columns;
	t->colour = colour;
	*ret = &t->sink;
	return 0;
}
