/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "event/encode.h"
#include "event/record.h"
#include "line.h"

#define UNIX_NS 1759888851112727203ULL

static const struct as_hdr who = {
	.boot_ns = 1000,
	.start_ns = 77,
	.tgid = 12,
	.tid = 13,
	.ppid = 11,
	.uid = 1000,
	.comm = "claude",
};

static struct buf b, out;
static struct event ev;
static uint16_t flags;
static const char *label;

static int set_up(void **state)
{
	return schema_init();
}

static int tear_down(void **state)
{
	buf_done(&b);
	buf_done(&out);
	flags = 0;
	label = NULL;
	return 0;
}

static void *begin(unsigned type)
{
	record_begin(&b, type, &who);
	return b.data;
}

/* Appends @n bytes and puts their span where member @offset of the record lies. */
static void put_span(size_t offset, const void *p, size_t n, size_t full)
{
	struct as_span span = record_add(&b, p, n);

	span.full = (uint32_t)full;
	memcpy(b.data + offset, &span, sizeof(span));
}

#define SET(S, member, value) (record_struct(&b, S)->member = (value))
#define TEXT(S, member, text) put_span(offsetof(struct S, member), text, strlen(text), strlen(text))
#define BYTES(S, member, text) \
	put_span(offsetof(struct S, member), text, sizeof(text) - 1, sizeof(text) - 1)

static struct as_addr address(int family, const char *text, uint16_t port)
{
	struct as_addr a = {.family = (uint16_t)family, .port = port};

	assert_int_equal(inet_pton(family, text, family == AF_INET ? a.ip + 12 : a.ip), 1);
	return a;
}

static const char *encoded(void)
{
	const char *wrong;

	assert_int_equal(record_end(&b, &ev), 0);
	record_struct(&b, as_hdr)->flags = flags;
	ev.unix_ns = UNIX_NS;
	ev.label = label;
	buf_reset(&out);
	event_encode_json(&out, &ev);
	assert_false(out.failed);
	wrong = line_check(out.data, out.len, ev.desc);
	if (wrong)
		fail_msg("%s: %.*s", wrong, (int)out.len, out.data);
	return buf_cstr(&out);
}

/* The expected line is this envelope with the given source and data. */
static void line_is(const char *source, const char *data)
{
	struct buf expected = {};

	buf_printf(&expected,
		   "{\"timestamp\":1759888851112727203,\"source\":\"%s\",\"pid\":12,\"comm\":"
		   "\"claude\","
		   "\"tid\":13,\"ppid\":11,\"uid\":1000,\"exec_id\":\"12@77\",\"data\":%s}\n",
		   source, data);
	assert_string_equal(encoded(), buf_cstr(&expected));
	buf_done(&expected);
}

/* Only the member @key of data, as the encoder wrote it. */
static void data_has(const char *text)
{
	const char *line = encoded();

	if (!strstr(line, text))
		fail_msg("no %s in %s", text, line);
}

static void data_has_not(const char *text)
{
	const char *line = encoded();

	if (strstr(line, text))
		fail_msg("%s in %s", text, line);
}

/* ---- every type, once, with all it can carry ---- */

static void make_exec(void)
{
	begin(AS_EV_EXEC);
	TEXT(as_exec, filename, "/bin/sh");
	BYTES(as_exec, argv, "sh\0-c\0echo \"hi\"\n\0");
	BYTES(as_exec, cwd.base, "src\0home\0");
}

static void make_fork(void)
{
	begin(AS_EV_FORK);
	SET(as_fork, child_start_ns, 99);
	SET(as_fork, child_pid, 14);
	SET(as_fork, child_ppid, 12);
}

static void make_exit(void)
{
	struct as_exit *e = begin(AS_EV_EXIT);

	e->duration_ns = 1;
	e->cpu_user_ns = 2;
	e->cpu_system_ns = 3;
	e->max_rss_kb = 4;
	e->read_bytes = 5;
	e->write_bytes = 6;
	e->rchar = 7;
	e->wchar = UINT64_MAX;
	e->syscr = 8;
	e->syscw = 9;
	e->minor_faults = 10;
	e->major_faults = 11;
	e->voluntary = 12;
	e->involuntary = 13;
	e->exit_code = 0;
	e->signal = 11;
	e->core_dumped = 1;
	e->incomplete = 1;
}

static void make_file_open(void)
{
	begin(AS_EV_FILE_OPEN);
	BYTES(as_file_open, path.base, "work\0");
	TEXT(as_file_open, path.rel, "a/b.txt");
	SET(as_file_open, fd, 5);
	SET(as_file_open, flags, O_WRONLY | O_CREAT | O_CLOEXEC);
	SET(as_file_open, mode, 0644);
}

static void make_file_io(unsigned type)
{
	begin(type);
	TEXT(as_file_io, path.rel, "/etc/hosts");
	SET(as_file_io, bytes, 4096);
	SET(as_file_io, count, 2);
	SET(as_file_io, fd, 0);
	SET(as_file_io, reason, AS_FLUSH_TIMER);
}

static void make_file_read(void)
{
	make_file_io(AS_EV_FILE_READ);
}

static void make_file_write(void)
{
	make_file_io(AS_EV_FILE_WRITE);
}

static void make_file_op(unsigned type)
{
	begin(type);
	TEXT(as_file_op, path.rel, "/a");
	SET(as_file_op, length, 100);
	SET(as_file_op, mode, 0755);
	SET(as_file_op, error, ENOENT);
}

static void make_file_unlink(void)
{
	make_file_op(AS_EV_FILE_UNLINK);
}

static void make_file_rename(void)
{
	make_file_op(AS_EV_FILE_RENAME);
	TEXT(as_file_op, new_path.rel, "/b");
	SET(as_file_op, error, 0);
	SET(as_file_op, exchange, 1);
}

static void make_file_mkdir(void)
{
	make_file_op(AS_EV_FILE_MKDIR);
}

static void make_file_rmdir(void)
{
	make_file_op(AS_EV_FILE_RMDIR);
}

static void make_file_truncate(void)
{
	make_file_op(AS_EV_FILE_TRUNCATE);
	SET(as_file_op, length, -1);
}

static void make_file_link(void)
{
	make_file_op(AS_EV_FILE_LINK);
	TEXT(as_file_op, new_path.rel, "/b");
}

static void make_file_symlink(void)
{
	make_file_op(AS_EV_FILE_SYMLINK);
	TEXT(as_file_op, new_path.rel, "../x");
	SET(as_file_op, error, 0);
}

static void make_file_chmod(void)
{
	make_file_op(AS_EV_FILE_CHMOD);
}

static void make_connect(void)
{
	struct as_connect *c = begin(AS_EV_CONNECT);

	c->local = address(AF_INET, "10.0.0.1", 50000);
	c->remote = address(AF_INET, "1.2.3.4", 443);
	c->conn_id = 9;
	c->latency_ns = 1234;
	c->error = -ECONNREFUSED;
	c->protocol = AS_PROTO_TCP;
}

static void make_accept(void)
{
	struct as_accept *c = begin(AS_EV_ACCEPT);

	c->local = address(AF_INET6, "::1", 80);
	c->remote = address(AF_INET6, "2001:db8::2", 1024);
	c->conn_id = UINT64_MAX;
	c->protocol = AS_PROTO_TCP;
}

static void make_net_io(unsigned type)
{
	struct as_net_io *c = begin(type);

	c->remote = address(AF_INET6, "::ffff:8.8.8.8", 53);
	c->conn_id = 9;
	c->bytes = 512;
	c->protocol = AS_PROTO_UDP;
}

static void make_send(void)
{
	make_net_io(AS_EV_SEND);
}

static void make_recv(void)
{
	make_net_io(AS_EV_RECV);
}

static void make_sums(unsigned type)
{
	struct as_flow *f = begin(type);

	f->local = address(AF_INET, "10.0.0.1", 1);
	f->remote = address(AF_INET, "10.0.0.2", 65535);
	f->conn_id = 9;
	f->tx_bytes = 1;
	f->rx_bytes = 2;
	f->tx_interval_bytes = 3;
	f->rx_interval_bytes = 4;
	f->duration_ns = 5;
	f->interval_ns = 6;
	f->rtt_us = 7;
	f->min_rtt_us = 8;
	f->jitter_us = 9;
	f->retransmits = 10;
	f->protocol = AS_PROTO_TCP;
	f->role = AS_ROLE_CLIENT;
}

static void make_flow(void)
{
	make_sums(AS_EV_FLOW);
}

static void make_close(void)
{
	make_sums(AS_EV_CLOSE);
	SET(as_flow, error, ECONNRESET);
	SET(as_flow, ktls, 1);
}

static void make_retransmit(void)
{
	struct as_retransmit *r = begin(AS_EV_RETRANSMIT);

	r->local = address(AF_INET, "10.0.0.1", 1);
	r->remote = address(AF_INET, "10.0.0.2", 2);
	r->conn_id = 9;
	r->protocol = AS_PROTO_TCP;
	r->retransmits = 3;
}

static void make_ssl_data(void)
{
	struct as_ssl_data *d = begin(AS_EV_SSL_DATA);

	d->conn.local = address(AF_INET, "10.0.0.1", 1);
	d->conn.remote = address(AF_INET, "10.0.0.2", 443);
	d->stream_id = 8;
	d->len = 15;
	d->direction = AS_TLS_WRITE;
	d->function = AS_TLS_FN_SSL_WRITE_EX;
	d->library = 1;
	TEXT(as_ssl_data, data, "GET / HTTP/1.1\n");
	label = "/usr/lib/libssl.so.3";
}

static void make_net_data(void)
{
	struct as_ssl_data *d = begin(AS_EV_NET_DATA);

	d->conn.local = address(AF_INET, "10.0.0.1", 1);
	d->conn.remote = address(AF_INET, "10.0.0.2", 443);
	d->stream_id = 9;
	d->len = 3;
	d->direction = AS_TLS_READ;
	d->function = AS_NET_FN_RECVFROM;
	TEXT(as_ssl_data, data, "GET");
}

static void make_stdio_data(void)
{
	struct as_stdio_data *d = begin(AS_EV_STDIO_DATA);

	d->stream_id = 9;
	d->len = 2;
	d->direction = AS_TLS_WRITE;
	d->function = AS_NET_FN_WRITE;
	d->fd = 1;
	TEXT(as_stdio_data, data, "{}");
}

static void make_ssl_handshake(void)
{
	struct as_ssl_handshake *h = begin(AS_EV_SSL_HANDSHAKE);

	h->conn.local = address(AF_INET, "10.0.0.1", 1);
	h->conn.remote = address(AF_INET, "10.0.0.2", 443);
	h->stream_id = 8;
	h->latency_ns = 20;
	h->version = 0x0304;
	h->failed = 1;
	TEXT(as_ssl_handshake, server_name, "api.example.com");
	TEXT(as_ssl_handshake, alpn, "h2");
	label = "/usr/lib/libssl.so.3";
}

static void make_ssl_session(void)
{
	struct as_ssl_session *s = begin(AS_EV_SSL_SESSION);

	s->conn.local = address(AF_INET, "10.0.0.1", 1);
	s->conn.remote = address(AF_INET, "10.0.0.2", 443);
	s->stream_id = 8;
	TEXT(as_ssl_session, server_name, "api.example.com");
	TEXT(as_ssl_session, alpn, "h2");
	label = "/usr/lib/libssl.so.3";
}

static void make_http_request(void)
{
	struct as_http_request *d = begin(AS_EV_HTTP_REQUEST);

	d->conn.local = address(AF_INET, "10.0.0.1", 1);
	d->conn.remote = address(AF_INET, "10.0.0.2", 443);
	d->stream_id = 8;
	d->exchange_id = 2;
	d->body_full = 2;
	d->role = AS_ROLE_CLIENT;
	d->incomplete = 1;
	TEXT(as_http_request, method, "POST");
	TEXT(as_http_request, path, "/v1?a=b");
	TEXT(as_http_request, host, "example.com");
	TEXT(as_http_request, version, "HTTP/1.1");
	TEXT(as_http_request, headers, "{\"accept\":\"*/*\"}");
	TEXT(as_http_request, body, "{}");
	TEXT(as_http_request, body_error, "cut");
	TEXT(as_http_request, server_name, "a.example");
	TEXT(as_http_request, alpn, "h2");
}

static void make_http_response(void)
{
	struct as_http_response *d = begin(AS_EV_HTTP_RESPONSE);

	d->conn.local = address(AF_INET, "10.0.0.1", 1);
	d->conn.remote = address(AF_INET, "10.0.0.2", 443);
	d->stream_id = 8;
	d->exchange_id = 2;
	d->request_body_full = 2;
	d->body_full = 2;
	d->duration_ns = 30;
	d->first_byte_ns = 20;
	d->status = 200;
	d->role = AS_ROLE_SERVER;
	d->incomplete = 1;
	TEXT(as_http_response, method, "POST");
	TEXT(as_http_response, path, "/v1");
	TEXT(as_http_response, host, "example.com");
	TEXT(as_http_response, version, "HTTP/2");
	TEXT(as_http_response, request_headers, "{\"accept\":\"*/*\"}");
	TEXT(as_http_response, server_name, "a.example");
	TEXT(as_http_response, alpn, "h2");
	TEXT(as_http_response, reason, "OK");
	TEXT(as_http_response, headers, "{\"server\":\"x\"}");
	TEXT(as_http_response, body, "hi");
	TEXT(as_http_response, body_error, "cut");
}

static void make_ws_message(void)
{
	struct as_ws_message *d = begin(AS_EV_WS_MESSAGE);

	d->conn.local = address(AF_INET, "10.0.0.1", 1);
	d->conn.remote = address(AF_INET, "10.0.0.2", 443);
	d->stream_id = 8;
	d->exchange_id = 2;
	d->full = 2;
	d->incomplete = 1;
	d->plaintext = 1;
	d->direction = AS_TLS_READ;
	TEXT(as_ws_message, path, "/ws");
	TEXT(as_ws_message, host, "example.com");
	TEXT(as_ws_message, data, "hi");
	TEXT(as_ws_message, server_name, "a.example");
	TEXT(as_ws_message, alpn, "h2");
}

static void make_llm_request(void)
{
	struct as_llm_request *d = begin(AS_EV_LLM_REQUEST);

	d->conn.local = address(AF_INET, "10.0.0.1", 1);
	d->conn.remote = address(AF_INET, "10.0.0.2", 443);
	d->stream_id = 8;
	d->exchange_id = 2;
	d->n_messages = 1;
	d->stream = 1;
	d->role = AS_ROLE_CLIENT;
	d->incomplete = 1;
	TEXT(as_llm_request, provider, "anthropic");
	TEXT(as_llm_request, model, "m");
	TEXT(as_llm_request, host, "example.com");
	TEXT(as_llm_request, path, "/v1/messages");
	TEXT(as_llm_request, session, "s");
	TEXT(as_llm_request, system, "\"be kind\"");
	TEXT(as_llm_request, messages, "[{\"role\":\"user\"}]");
	TEXT(as_llm_request, tools, "[\"Bash\"]");
	TEXT(as_llm_request, tool_results, "[]");
	TEXT(as_llm_request, parameters, "{\"max_tokens\":1}");
	TEXT(as_llm_request, prompt, "hi");
}

static void make_llm_response(void)
{
	struct as_llm_response *d = begin(AS_EV_LLM_RESPONSE);

	d->conn.local = address(AF_INET, "10.0.0.1", 1);
	d->conn.remote = address(AF_INET, "10.0.0.2", 443);
	d->stream_id = 8;
	d->exchange_id = 2;
	d->input_tokens = 1;
	d->output_tokens = 2;
	d->cache_read_tokens = 3;
	d->cache_write_tokens = 4;
	d->reasoning_tokens = 5;
	d->cost_nano_usd = 6;
	d->time_to_first_token_ns = 7;
	d->duration_ns = 9;
	d->status = 200;
	d->cost_known = 1;
	d->incomplete = 1;
	d->role = AS_ROLE_CLIENT;
	d->usage_unknown = 1;
	d->n_tool_calls = 1;
	TEXT(as_llm_response, provider, "openai");
	TEXT(as_llm_response, model, "m");
	TEXT(as_llm_response, id, "r1");
	TEXT(as_llm_response, text, "hi");
	TEXT(as_llm_response, reasoning, "hm");
	TEXT(as_llm_response, tool_calls, "[{\"id\":\"t1\"}]");
	TEXT(as_llm_response, stop_reason, "stop");
	TEXT(as_llm_response, error, "none");
	TEXT(as_llm_response, usage_raw, "{\"a\":1}");
	TEXT(as_llm_response, tools, "Bash");
}

static void make_tool_run(void)
{
	struct as_tool_run *d = begin(AS_EV_TOOL_RUN);

	d->duration_ns = 1;
	d->n_processes = 2;
	d->n_files = 3;
	d->n_connections = 4;
	d->result_bytes = 5;
	d->ended = 1;
	d->process = 6;
	d->confidence = 95;
	d->exit_code = 7;
	d->signal = 0;
	d->reported = 1;
	d->is_error = 1;
	TEXT(as_tool_run, id, "t1");
	TEXT(as_tool_run, name, "Bash");
	TEXT(as_tool_run, input, "{\"command\":\"x\"}");
	TEXT(as_tool_run, session, "s");
	TEXT(as_tool_run, exec_id, "6@9");
	BYTES(as_tool_run, argv, "sh\0-c");
	TEXT(as_tool_run, evidence, "[\"time\"]");
	TEXT(as_tool_run, files, "[{\"op\":\"write\"}]");
	TEXT(as_tool_run, connections, "[{\"port\":1}]");
}

static void make_system_metrics(void)
{
	struct as_system_metrics *m = begin(AS_EV_SYSTEM_METRICS);

	m->cpu_centi = 2345;
	m->rss_kb = 102400;
	m->rss_mb = 100;
	m->vsz_kb = 512000;
	m->vsz_mb = 500;
	m->read_bytes = 1;
	m->write_bytes = 2;
	m->interval_ns = 2000000000;
	m->cores = 24;
	m->threads = 12;
	m->children = 3;
	m->last_cpu = -1;
}

static void make_system_wide(void)
{
	struct as_system_wide *m = begin(AS_EV_SYSTEM_WIDE);

	m->cpu_centi = 5;
	m->load1_centi = 100;
	m->load5_centi = 99;
	m->load15_centi = 0;
	m->total_kb = 1;
	m->used_kb = 2;
	m->free_kb = 3;
	m->available_kb = 4;
	m->total_mb = 5;
	m->used_mb = 6;
	m->rss_mb = 6;
	m->used_centi = 1234;
	m->interval_ns = 7;
	m->cores = 8;
	m->alert = 1;
}

/* Number i of the type's fields is i, a text is "x": for types that are little but a list of numbers. */
static void number_field(const struct field_desc *f, uint64_t number)
{
	int64_t negative = -(int64_t)number;
	uint32_t one = 1;

	switch ((enum as_kind)f->kind) {
	case AS_KIND_STR:
	case AS_KIND_ARGV:
		put_span(f->offset, "x", 1, 1);
		break;
	case AS_KIND_JSON:
		put_span(f->offset, "{}", 2, 2);
		break;
	case AS_KIND_BOOL:
	case AS_KIND_ENUM:
		memcpy(b.data + f->offset, &one, sizeof(one));
		break;
	case AS_KIND_U32:
	case AS_KIND_PID:
	case AS_KIND_FD:
		memcpy(b.data + f->offset, &number, sizeof(uint32_t));
		break;
	case AS_KIND_S64:
	case AS_KIND_SCENTI:
		memcpy(b.data + f->offset, &negative, sizeof(negative));
		break;
	case AS_KIND_U64:
	case AS_KIND_KNOWN:
	case AS_KIND_DUR:
	case AS_KIND_CENTI:
	case AS_KIND_CENTI_TEXT:
		memcpy(b.data + f->offset, &number, sizeof(number));
		break;
	default:
		break;
	}
}

static void make_numbered(unsigned type)
{
	const struct event_desc *d = schema_event(type);

	begin(type);
	for (size_t i = 0; i < d->n_fields; i++)
		number_field(&d->fields[i], i + 1);
}

#define NUMBERED(name, type)                 \
	static void name(void)               \
	{                                    \
		make_numbered(AS_EV_##type); \
	}

NUMBERED(make_tree, SYSTEM_TREE)
NUMBERED(make_thread, SYSTEM_THREAD)
NUMBERED(make_info, PROCESS_INFO)
NUMBERED(make_oom_kill, OOM_KILL)
NUMBERED(make_cgroup, CGROUP)
NUMBERED(make_gpu, GPU)
NUMBERED(make_syscalls, SYSCALLS)
NUMBERED(make_offcpu, OFFCPU)
NUMBERED(make_summary, SUMMARY)

static void make_threshold(void)
{
	begin(AS_EV_THRESHOLD);
	TEXT(as_threshold, rule, "cpu > 80.00 %");
	TEXT(as_threshold, metric, "cpu.percent");
	TEXT(as_threshold, unit, "percent");
	TEXT(as_threshold, path, "/a");
	SET(as_threshold, once, 1);
	SET(as_threshold, min_centi, -150);
	SET(as_threshold, avg_centi, 8500);
	SET(as_threshold, max_centi, 9000);
	SET(as_threshold, value_centi, 9000);
	SET(as_threshold, limit_centi, 8000);
	SET(as_threshold, duration_ns, 3);
	SET(as_threshold, ended, 1);
}

static void make_start(void)
{
	begin(AS_EV_START);
	TEXT(as_start, version, "0.1.0");
	TEXT(as_start, kernel, "6.18.0");
	TEXT(as_start, boot_id, "0-1");
	BYTES(as_start, argv, "agentsight\0trace\0");
}

static void make_capability(void)
{
	begin(AS_EV_CAPABILITY);
	TEXT(as_capability, family, "proc");
	TEXT(as_capability, hook, "exec");
	TEXT(as_capability, mechanism, "tracepoint");
	TEXT(as_capability, reason, "slow");
	SET(as_capability, state, 1);
}

static void make_loss(void)
{
	begin(AS_EV_LOSS);
	TEXT(as_loss, reason, "ring full");
	TEXT(as_loss, event, "process.exec");
	SET(as_loss, count, 1);
	SET(as_loss, total, 2);
}

static void make_totals(unsigned type)
{
	struct as_stats *s = begin(type);

	s->produced = 28;
	s->delivered = 2;
	s->dropped = 3;
	s->missed = 4;
	s->filtered = 5;
	s->shed = 6;
	s->lost = 7;
	s->late = 8;
	s->duration_ns = 9;
	s->rss_kb = 10;
	s->cpu_ns = 11;
	s->difference = 12;
	TEXT(as_stats, streams, "{\"process.exec\":{\"produced\":1}}");
	TEXT(as_stats, tables, "{\"connections\":{\"evicted\":13}}");
}

static void make_stats(void)
{
	make_totals(AS_EV_STATS);
}

static void make_stop(void)
{
	make_totals(AS_EV_STOP);
	TEXT(as_stats, reason, "SIGINT");
}

#define TOTALS                                                                                     \
	"\"duration_ns\":9,\"produced\":28,\"delivered\":2,\"lost\":7,\"dropped\":3,\"missed\":4," \
	"\"filtered\":5,\"shed\":6,\"difference\":12,\"late\":8,\"rss_kb\":10,\"cpu_ns\":11,"      \
	"\"streams\":{\"process.exec\":{\"produced\":1}},"                                         \
	"\"tables\":{\"connections\":{\"evicted\":13}}}"
#define SUMS                                                                                      \
	"\"protocol\":\"tcp\",\"local\":{\"address\":\"10.0.0.1\",\"port\":1},"                   \
	"\"remote\":{\"address\":\"10.0.0.2\",\"port\":65535},\"conn_id\":9,\"role\":\"client\"," \
	"\"tx_bytes\":1,\"rx_bytes\":2,\"rtt_us\":7,\"min_rtt_us\":8,\"jitter_us\":9,"            \
	"\"retransmits\":10,\"duration_ns\":5"
#define DATAGRAM                                                        \
	"\"protocol\":\"udp\",\"local\":{\"address\":\"\",\"port\":0}," \
	"\"remote\":{\"address\":\"8.8.8.8\",\"port\":53},\"conn_id\":9,\"bytes\":512}"
#define SOCKET                                                             \
	"\"connection\":{\"local\":{\"address\":\"10.0.0.1\",\"port\":1}," \
	"\"remote\":{\"address\":\"10.0.0.2\",\"port\":443}}"

static const struct {
	void (*make)(void);
	const char *data;
} examples[AS_EV_COUNT] = {
	[AS_EV_EXEC] = {make_exec,
			"{\"type\":\"exec\",\"filename\":\"/bin/sh\",\"argv\":[\"sh\","
			"\"-c\",\"echo \\\"hi\\\"\\n\"],\"cwd\":\"/home/src\",\"ppid\":11,"
			"\"uid\":1000}"},
	[AS_EV_FORK] = {make_fork, "{\"type\":\"fork\",\"child_pid\":14,\"ppid\":12}"},
	[AS_EV_EXIT] = {make_exit,
			"{\"type\":\"exit\",\"exit_code\":0,\"signal\":11,\"core_dumped\":true,"
			"\"duration_ns\":1,\"cpu_user_ns\":2,\"cpu_system_ns\":3,\"max_rss_kb\":4,"
			"\"read_bytes\":5,\"write_bytes\":6,\"rchar\":7,\"wchar\":"
			"18446744073709551615,\"syscr\":8,\"syscw\":9,\"faults\":{\"minor\":10,"
			"\"major\":11},\"switches\":{\"voluntary\":12,\"involuntary\":13},"
			"\"sums_incomplete\":true}"},
	[AS_EV_FILE_OPEN] = {make_file_open,
			     "{\"type\":\"open\",\"path\":\"/work/a/b.txt\",\"fd\":5,\"flags\":"
			     "[\"O_WRONLY\",\"O_CREAT\",\"O_CLOEXEC\"],\"mode\":\"0644\"}"},
	[AS_EV_FILE_READ] = {make_file_read,
			     "{\"type\":\"read\",\"path\":\"/etc/hosts\",\"fd\":0,\"bytes\":4096,"
			     "\"count\":2,\"flushed\":\"timer\"}"},
	[AS_EV_FILE_WRITE] = {make_file_write,
			      "{\"type\":\"write\",\"path\":\"/etc/hosts\",\"fd\":0,\"bytes\":4096,"
			      "\"count\":2,\"flushed\":\"timer\"}"},
	[AS_EV_FILE_UNLINK] = {make_file_unlink,
			       "{\"type\":\"unlink\",\"path\":\"/a\",\"error\":\"ENOENT\"}"},
	[AS_EV_FILE_RENAME] =
		{make_file_rename,
		 "{\"type\":\"rename\",\"path\":\"/a\",\"new_path\":\"/b\",\"exchange\":true}"},
	[AS_EV_FILE_MKDIR] = {make_file_mkdir,
			      "{\"type\":\"mkdir\",\"path\":\"/a\",\"mode\":\"0755\","
			      "\"error\":\"ENOENT\"}"},
	[AS_EV_FILE_RMDIR] = {make_file_rmdir,
			      "{\"type\":\"rmdir\",\"path\":\"/a\",\"error\":\"ENOENT\"}"},
	[AS_EV_FILE_TRUNCATE] = {make_file_truncate, "{\"type\":\"truncate\",\"path\":\"/a\","
						     "\"length\":-1,\"error\":\"ENOENT\"}"},
	[AS_EV_FILE_LINK] = {make_file_link,
			     "{\"type\":\"link\",\"path\":\"/a\",\"new_path\":\"/b\","
			     "\"error\":\"ENOENT\"}"},
	[AS_EV_FILE_SYMLINK] = {make_file_symlink,
				"{\"type\":\"symlink\",\"path\":\"/a\",\"target\":\"../x\"}"},
	[AS_EV_FILE_CHMOD] = {make_file_chmod,
			      "{\"type\":\"chmod\",\"path\":\"/a\",\"mode\":\"0755\","
			      "\"error\":\"ENOENT\"}"},
	[AS_EV_CONNECT] =
		{make_connect,
		 "{\"type\":\"connect\",\"protocol\":\"tcp\",\"local\":{\"address\":"
		 "\"10.0.0.1\",\"port\":50000},\"remote\":{\"address\":\"1.2.3.4\",\"port\":443},"
		 "\"conn_id\":9,\"latency_ns\":1234,\"error\":\"ECONNREFUSED\"}"},
	[AS_EV_ACCEPT] =
		{make_accept,
		 "{\"type\":\"accept\",\"protocol\":\"tcp\",\"local\":{\"address\":\"::1\","
		 "\"port\":80},\"remote\":{\"address\":\"2001:db8::2\",\"port\":1024},"
		 "\"conn_id\":18446744073709551615}"},
	[AS_EV_SEND] = {make_send, "{\"type\":\"send\"," DATAGRAM},
	[AS_EV_RECV] = {make_recv, "{\"type\":\"recv\"," DATAGRAM},
	[AS_EV_FLOW] = {make_flow, "{\"type\":\"flow\"," SUMS ",\"tx_interval_bytes\":3,"
				   "\"rx_interval_bytes\":4,\"interval_ns\":6}"},
	[AS_EV_CLOSE] = {make_close, "{\"type\":\"close\"," SUMS ",\"error\":\"ECONNRESET\","
				     "\"ktls\":true}"},
	[AS_EV_RETRANSMIT] =
		{make_retransmit,
		 "{\"type\":\"retransmit\",\"protocol\":\"tcp\",\"local\":{\"address\":"
		 "\"10.0.0.1\",\"port\":1},\"remote\":{\"address\":\"10.0.0.2\",\"port\":2},"
		 "\"conn_id\":9,\"retransmits\":3}"},
	[AS_EV_NET_DATA] = {make_net_data,
			    "{\"type\":\"data\",\"direction\":\"read\",\"function\":\"recvfrom\","
			    "\"stream_id\":9,\"len\":3," SOCKET ",\"data\":\"GET\"}"},
	[AS_EV_STDIO_DATA] = {make_stdio_data,
			      "{\"type\":\"data\",\"fd\":1,\"direction\":\"write\",\"len\":2,"
			      "\"data\":\"{}\"}"},
	[AS_EV_SSL_DATA] =
		{make_ssl_data,
		 "{\"type\":\"data\",\"direction\":\"write\",\"function\":\"SSL_write_ex\","
		 "\"library\":\"/usr/lib/libssl.so.3\",\"stream_id\":8,\"len\":15," SOCKET
		 ",\"data\":\"GET / HTTP/1.1\\n\"}"},
	[AS_EV_SSL_HANDSHAKE] =
		{make_ssl_handshake,
		 "{\"type\":\"handshake\",\"latency_ns\":20,\"failed\":true,\"library\":"
		 "\"/usr/lib/libssl.so.3\",\"stream_id\":8,\"server_name\":"
		 "\"api.example.com\",\"version\":\"TLSv1.3\",\"alpn\":\"h2\"," SOCKET "}"},
	[AS_EV_SSL_SESSION] =
		{make_ssl_session,
		 "{\"type\":\"session\",\"library\":\"/usr/lib/libssl.so.3\",\"stream_id\":8,"
		 "\"server_name\":\"api.example.com\",\"alpn\":\"h2\"," SOCKET "}"},
	[AS_EV_HTTP_REQUEST] =
		{make_http_request,
		 "{\"type\":\"http_request\",\"stream_id\":8,\"exchange_id\":2,\"role\":\"client\","
		 "\"request\":{\"method\":\"POST\",\"path\":\"/"
		 "v1?a=b\",\"host\":\"example.com\",\"version\":\"HTTP/"
		 "1.1\",\"headers\":{\"accept\":\"*/"
		 "*\"},\"body\":\"{}\",\"body_bytes\":2,\"body_error\":\"cut\"},\"incomplete\":"
		 "true,\"server_name\":\"a.example\",\"alpn\":\"h2\",\"connection\":{\"local\":{"
		 "\"address\":\"10.0.0.1\",\"port\":1},\"remote\":{"
		 "\"address\":\"10.0.0.2\",\"port\":443}}}"},
	[AS_EV_HTTP_RESPONSE] =
		{make_http_response,
		 "{\"type\":\"http_response\",\"stream_id\":8,\"exchange_id\":2,\"role\":"
		 "\"server\",\"request\":{\"method\":\"POST\",\"path\":\"/"
		 "v1\",\"host\":\"example.com\",\"version\":\"HTTP/2\",\"headers\":{\"accept\":\"*/"
		 "*\"},\"body_bytes\":2},\"response\":{\"status\":200,\"reason\":\"OK\","
		 "\"headers\":{\"server\":\"x\"},\"body\":\"hi\",\"body_bytes\":2,\"body_error\":"
		 "\"cut\"},\"duration_ns\":30,\"first_byte_ns\":20,\"incomplete\":true,\"server_"
		 "name\":\"a.example\",\"alpn\":\"h2\","
		 "\"connection\":{\"local\":{\"address\":\"10.0.0.1\",\"port\":1},\"remote\":{"
		 "\"address\":\"10.0.0.2\",\"port\":443}}}"},
	[AS_EV_WS_MESSAGE] = {make_ws_message,
			      "{\"type\":\"ws_message\",\"direction\":\"read\",\"stream_id\":8,"
			      "\"exchange_id\":2,\"request\":{\"path\":\"/"
			      "ws\",\"host\":\"example.com\"},\"len\":2,\"incomplete\":true,"
			      "\"plaintext\":true,\"server_name\":\"a."
			      "example\",\"alpn\":\"h2\",\"connection\":{\"local\":{"
			      "\"address\":\"10.0.0.1\",\"port\":1},\"remote\":{\"address\":\"10.0."
			      "0.2\",\"port\":443}},\"data\":\"hi\"}"},
	[AS_EV_LLM_REQUEST] =
		{make_llm_request,
		 "{\"type\":\"request\",\"provider\":\"anthropic\",\"model\":\"m\",\"host\":"
		 "\"example.com\",\"path\":\"/v1/"
		 "messages\",\"role\":\"client\",\"conversation_id\":\"s\",\"prompt\":\"hi\","
		 "\"system\":\"be "
		 "kind\",\"messages\":[{\"role\":\"user\"}],\"message_count\":1,\"tools\":["
		 "\"Bash\"],\"tool_results\":[],\"parameters\":{\"max_tokens\":1},\"stream\":true,"
		 "\"stream_id\":8,\"exchange_id\":2,\"incomplete\":true,\"connection\":{\"local\":{"
		 "\"address\":\"10.0.0.1\",\"port\":1},\"remote\":{\"address\":\"10.0.0.2\","
		 "\"port\":443}}}"},
	[AS_EV_LLM_RESPONSE] =
		{make_llm_response,
		 "{\"type\":\"response\",\"provider\":\"openai\",\"model\":\"m\",\"role\":"
		 "\"client\",\"response_id\":\"r1\",\"status\":200,\"text\":\"hi\",\"reasoning\":"
		 "\"hm\",\"tool_calls\":[{\"id\":\"t1\"}],\"tool_call_count\":1,\"tool_names\":["
		 "\"Bash\"],"
		 "\"stop_reason\":\"stop\",\"error\":\"none\",\"usage\":{\"input_"
		 "tokens\":1,\"output_tokens\":2,\"cache_read_tokens\":3,\"cache_write_tokens\":4,"
		 "\"reasoning_tokens\":5,\"unknown\":true,\"raw\":{\"a\":1}},\"time_to_first_token_"
		 "ns\":7,\"duration_ns\":9,\"cost_nano_usd\":6,\"incomplete\":true,\"stream_id\":8,"
		 "\"exchange_id\":2,\"connection\":{\"local\":{\"address\":\"10.0.0.1\",\"port\":1}"
		 ",\"remote\":{\"address\":\"10.0.0.2\",\"port\":443}}}"},
	[AS_EV_TOOL_RUN] =
		{make_tool_run,
		 "{\"type\":\"tool_run\",\"state\":\"end\",\"id\":\"t1\",\"name\":\"Bash\","
		 "\"input\":{\"command\":\"x\"},\"conversation_id\":\"s\",\"process\":{\"pid\":6,"
		 "\"exec_id\":\"6@9\",\"argv\":[\"sh\",\"-c\"]},\"evidence\":[\"time\"],"
		 "\"confidence\":95,\"processes\":2,\"exit_code\":7,\"files\":[{\"op\":\"write\"}],"
		 "\"file_count\":3,\"connections\":[{\"port\":1}],\"connection_count\":4,"
		 "\"reported\":true,\"is_error\":true,\"result_bytes\":5,\"duration_ns\":1}"},
	[AS_EV_SYSTEM_METRICS] = {make_system_metrics,
				  "{\"type\":\"system_metrics\",\"pid\":12,\"comm\":\"claude\","
				  "\"timestamp\":1759888851112727203,"
				  "\"cpu\":{\"percent\":\"23.45\",\"cores\":24},"
				  "\"memory\":{\"rss_kb\":102400,\"rss_mb\":100,\"vsz_kb\":512000,"
				  "\"vsz_mb\":500},\"process\":{\"threads\":12,\"children\":3},"
				  "\"alert\":false,\"io\":{\"read_bytes\":1,\"write_bytes\":2},"
				  "\"interval_ns\":2000000000}"},
	[AS_EV_SYSTEM_WIDE] = {make_system_wide,
			       "{\"type\":\"system_wide\",\"timestamp\":1759888851112727203,"
			       "\"cpu\":{\"cores\":8,\"percent\":\"0.05\",\"load_avg_1min\":1.00,"
			       "\"load_avg_5min\":0.99,\"load_avg_15min\":0.00},"
			       "\"memory\":{\"total_kb\":1,\"used_kb\":2,\"free_kb\":3,"
			       "\"available_kb\":4,\"total_mb\":5,\"used_mb\":6,\"rss_mb\":6,"
			       "\"used_percent\":12.34},\"alert\":true,\"interval_ns\":7}"},
	[AS_EV_SYSTEM_TREE] =
		{make_tree,
		 "{\"type\":\"tree\",\"processes\":1,\"started\":2,\"ended\":3,\"threads\":4,"
		 "\"cpu\":{\"percent\":\"0.05\",\"cores\":6,\"total_ns\":7,\"user_ns\":8,\"system_"
		 "ns\":9,\"wait_ns\":10},\"memory\":{\"rss_kb\":11,\"vsz_kb\":12,\"anon_kb\":13,"
		 "\"file_kb\":14,\"shmem_kb\":15,\"swap_kb\":16,\"pss_kb\":17,\"uss_kb\":18,"
		 "\"slope_kb_min\":-19},\"io\":{\"read_bytes\":20,\"write_bytes\":21,\"rchar\":22,"
		 "\"wchar\":23,\"syscr\":24,\"syscw\":25},\"faults\":{\"minor\":26,\"major\":27},"
		 "\"switches\":{\"voluntary\":28,\"involuntary\":29},\"net\":{\"rx_bytes\":30,\"tx_"
		 "bytes\":31},\"reason\":\"first\",\"elapsed_ns\":33,\"interval_ns\":34,\"next_"
		 "ns\":35}"},
	[AS_EV_SYSTEM_THREAD] =
		{make_thread,
		 "{\"type\":\"thread\",\"tid\":1,\"name\":\"x\",\"state\":\"sleeping\",\"cpu\":{"
		 "\"percent\":\"0.04\",\"total_ns\":5,\"user_ns\":6,\"system_ns\":7,\"wait_ns\":8,"
		 "\"wait_percent\":0.09,\"last\":10},\"faults\":{\"minor\":11,\"major\":12},"
		 "\"switches\":{\"voluntary\":13,\"involuntary\":14},\"io\":{\"read_bytes\":15,"
		 "\"write_bytes\":16},\"policy\":\"fifo\",\"priority\":18,\"nice\":-19,\"interval_"
		 "ns\":20}"},
	[AS_EV_PROCESS_INFO] =
		{make_info,
		 "{\"type\":\"info\",\"argv\":[\"x\"],\"exe\":\"x\",\"cwd\":\"x\",\"env\":[\"x\"],"
		 "\"ppid\":11,\"uid\":1000,\"user\":\"x\",\"started\":8,\"cgroup\":\"x\",\"unit\":"
		 "\"x\",\"container\":{\"runtime\":\"x\",\"id\":\"x\",\"name\":\"x\",\"pod\":\"x\","
		 "\"namespace\":\"x\",\"qos\":\"x\"},\"limits\":{\"cpu_percent\":0.18,\"memory_"
		 "kb\":"
		 "19}}"},
	[AS_EV_OOM_KILL] = {make_oom_kill, "{\"type\":\"oom_kill\",\"memory\":{\"anon_kb\":1,"
					   "\"file_kb\":2,\"shmem_kb\":3},\"oom_score_adj\":-4}"},
	[AS_EV_CGROUP] =
		{make_cgroup,
		 "{\"type\":\"cgroup\",\"path\":\"x\",\"pressure\":{\"cpu_some_ns\":3,\"memory_"
		 "some_ns\":4,\"memory_full_ns\":5,\"io_some_ns\":6,\"io_full_ns\":7,\"cpu_some_"
		 "avg10\":0.08,\"memory_some_avg10\":0.09,\"memory_full_avg10\":0.10,\"io_some_"
		 "avg10\":0.11,\"io_full_avg10\":0.12},\"memory\":{\"current_kb\":13,\"peak_kb\":"
		 "14,\"limit_kb\":15,\"oom_kills\":16},\"cpu\":{\"total_ns\":17,\"quota_percent\":"
		 "0.18,\"throttled_ns\":19,\"throttled\":20},\"interval_ns\":21}"},
	[AS_EV_GPU] = {make_gpu,
		       "{\"type\":\"gpu\",\"device\":1,\"name\":\"x\",\"driver\":\"x\",\"percent\":"
		       "0.04,\"engines\":{},\"memory\":{\"used_kb\":6,\"total_kb\":7},"
		       "\"temperature\":8,\"power_mw\":9,\"energy_mj\":10,\"interval_ns\":11}"},
	[AS_EV_SYSCALLS] = {make_syscalls,
			    "{\"type\":\"syscalls\",\"total\":1,\"errors\":2,\"time_ns\":3,"
			    "\"categories\":{},\"top\":{},\"interval_ns\":6}"},
	[AS_EV_OFFCPU] = {make_offcpu, "{\"type\":\"offcpu\",\"count\":1,\"time_ns\":2,\"runqueue_"
				       "ns\":3,\"reasons\":{},\"threads\":{},\"interval_ns\":6}"},
	[AS_EV_SUMMARY] = {make_summary, "{\"type\":\"summary\",\"summary\":{}}"},
	[AS_EV_THRESHOLD] = {make_threshold,
			     "{\"type\":\"threshold\",\"rule\":\"cpu > 80.00 %\",\"metric\":"
			     "\"cpu.percent\",\"unit\":\"percent\",\"path\":\"/a\",\"once\":true,"
			     "\"value\":90.00,\"limit\":80.00,\"state\":\"end\",\"duration_ns\":3,"
			     "\"min\":-1.50,\"avg\":85.00,\"max\":90.00}"},
	[AS_EV_START] = {make_start,
			 "{\"type\":\"start\",\"version\":\"0.1.0\",\"kernel\":\"6.18.0\","
			 "\"boot_id\":\"0-1\",\"argv\":[\"agentsight\",\"trace\"]}"},
	[AS_EV_CAPABILITY] =
		{make_capability,
		 "{\"type\":\"capability\",\"family\":\"proc\",\"hook\":\"exec\","
		 "\"state\":\"degraded\",\"mechanism\":\"tracepoint\",\"reason\":\"slow\"}"},
	[AS_EV_LOSS] = {make_loss, "{\"type\":\"loss\",\"reason\":\"ring full\",\"event\":"
				   "\"process.exec\",\"count\":1,\"total\":2}"},
	[AS_EV_STATS] = {make_stats, "{\"type\":\"stats\"," TOTALS},
	[AS_EV_STOP] = {make_stop, "{\"type\":\"stop\",\"reason\":\"SIGINT\"," TOTALS},
};

static void every_type_becomes_exactly_the_expected_line(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		if (d->internal)
			continue;
		if (!examples[type].make)
			fail_msg("no example of %s.%s", d->source, d->name);
		label = NULL;
		examples[type].make();
		line_is(d->source, examples[type].data);
	}
}

/* ---- the envelope ---- */

static void a_name_that_is_not_utf8_stands_beside_its_bytes(void **state)
{
	begin(AS_EV_FORK);
	memcpy(record_struct(&b, as_hdr)->comm,
	       "\xff"
	       "laude",
	       7);
	data_has("\"comm\":\"\xef\xbf\xbdlaude\",\"comm_base64\":\"/2xhdWRl\",\"tid\":");
}

static void a_name_of_sixteen_bytes_needs_no_end(void **state)
{
	begin(AS_EV_FORK);
	memset(record_struct(&b, as_hdr)->comm, 'x', AS_COMM_LEN);
	data_has("\"comm\":\"xxxxxxxxxxxxxxxx\",\"tid\"");
}

static void the_name_within_data_stands_beside_its_bytes_too(void **state)
{
	make_system_metrics();
	memcpy(record_struct(&b, as_hdr)->comm,
	       "\xff"
	       "laude",
	       7);
	data_has("\"comm\":\"\xef\xbf\xbdlaude\",\"comm_base64\":\"/2xhdWRl\",\"timestamp\":");
}

static void the_machine_is_no_process(void **state)
{
	make_system_wide();
	record_struct(&b, as_hdr)->tgid = 0;
	record_struct(&b, as_hdr)->comm[0] = '\0';
	data_has("\"pid\":0,\"comm\":\"\",\"data\":{");
}

static void without_a_start_time_there_is_no_exec_id(void **state)
{
	begin(AS_EV_FORK);
	record_struct(&b, as_hdr)->start_ns = 0;
	data_has("\"uid\":1000,\"data\":{");
}

static void marks_stand_at_the_end_of_data(void **state)
{
	make_fork();
	flags = AS_F_REDACTED | AS_F_INFERRED | AS_F_MORE;
	data_has("\"ppid\":12,\"inferred\":true,\"redacted\":true}}\n");
}

/* ---- text ---- */

static void text_that_is_not_utf8_stands_beside_its_bytes(void **state)
{
	make_exec();
	BYTES(as_exec, filename,
	      "a\xff"
	      "b");
	data_has("\"filename\":\"a\xef\xbf\xbd"
		 "b\",\"filename_base64\":\"Yf9i\",\"argv\"");
}

static void cut_text_says_so_and_how_long_it_was(void **state)
{
	make_exec();
	put_span(offsetof(struct as_exec, filename), "abc", 3, 5000);
	data_has("\"filename\":\"abc\",\"filename_length\":5000,\"truncated\":true,\"argv\"");
}

static void truncated_is_said_once(void **state)
{
	const char *line, *first;

	make_exec();
	put_span(offsetof(struct as_exec, filename), "abc", 3, 5000);
	put_span(offsetof(struct as_exec, argv), "a\0b", 3, 9);
	put_span(offsetof(struct as_exec, cwd.base), "c", 1, 4);
	line = encoded();
	first = strstr(line, "\"truncated\":true");
	assert_non_null(first);
	assert_null(strstr(first + 2, "truncated"));
	assert_non_null(strstr(line, "\"argv\":[\"a\",\"b\"],\"argv_length\":9,\"cwd\":\"/c\","
				     "\"cwd_length\":5"));
}

/* The object that holds the text tells its length; that something is cut stands where it always does. */
static void text_cut_in_an_object_is_said_of_the_event(void **state)
{
	const char *line, *first;

	make_http_response();
	put_span(offsetof(struct as_http_response, path), "/v", 2, 5);
	put_span(offsetof(struct as_http_response, body), "h", 1, 2);
	line = encoded();
	assert_non_null(strstr(line, "\"path\":\"/v\",\"path_length\":5,\"host\""));
	assert_non_null(strstr(line, "\"body\":\"h\",\"body_length\":2,"));
	first = strstr(line, ",\"truncated\":true}}");
	assert_non_null(first);
	assert_ptr_equal(strstr(line, ",\"truncated\""), first);
}

static void text_cut_within_a_character_is_bad_and_cut(void **state)
{
	make_exec();
	put_span(offsetof(struct as_exec, filename), "a\xc3", 2, 3);
	data_has(
		"\"filename\":\"a\xef\xbf\xbd\",\"filename_base64\":\"YcM=\",\"filename_length\":3,"
		"\"truncated\":true");
}

static void optional_text_of_which_no_byte_could_be_read_is_not_silent(void **state)
{
	make_capability();
	put_span(offsetof(struct as_capability, reason), "", 0, 7);
	data_has("\"reason\":\"\",\"reason_length\":7,\"truncated\":true");
}

static void absent_optional_fields_are_left_out(void **state)
{
	make_capability();
	put_span(offsetof(struct as_capability, reason), "", 0, 0);
	put_span(offsetof(struct as_capability, mechanism), "", 0, 0);
	data_has("\"state\":\"degraded\"}}");

	begin(AS_EV_EXIT);
	data_has_not("core_dumped");
	data_has_not("incomplete");

	make_ssl_handshake();
	memset(&record_struct(&b, as_ssl_handshake)->conn, 0, sizeof(struct as_conn));
	SET(as_ssl_handshake, version, 0);
	SET(as_ssl_handshake, failed, 0);
	data_has_not("connection");
	data_has_not("version");
	data_has_not("failed");
}

static void a_text_field_that_is_always_there_may_be_empty(void **state)
{
	begin(AS_EV_EXEC);
	data_has("{\"type\":\"exec\",\"filename\":\"\",\"argv\":[],\"cwd\":\"/\",");
}

static void a_library_without_a_name_is_an_empty_text(void **state)
{
	make_ssl_data();
	label = NULL;
	data_has("\"library\":\"\",");
	make_ssl_data();
	label = "/lib/\xfe";
	data_has("\"library\":\"/lib/\xef\xbf\xbd\",\"library_base64\":\"L2xpYi/+\",");
}

static void totals_without_streams_have_an_empty_object(void **state)
{
	begin(AS_EV_STOP);
	data_has("\"streams\":{}}}");
}

/* ---- arguments and payload ---- */

static void arguments_keep_their_number(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *json;
	} cases[] = {
		{"", 0, "[]"},
		{"\0", 1, "[\"\"]"},
		{"\0\0", 2, "[\"\",\"\"]"},
		{"a", 1, "[\"a\"]"},
		{"a\0", 2, "[\"a\"]"},
		{"a\0\0", 3, "[\"a\",\"\"]"},
		{"\0a\0", 3, "[\"\",\"a\"]"},
		{"a\0b", 3, "[\"a\",\"b\"]"},
		{"a\0\xff\0", 4, "[\"a\",\"\xef\xbf\xbd\"],\"argv_base64\":[\"YQ==\",\"/w==\"]"},
		{"\xc3\0\xa9\0", 4,
		 "[\"\xef\xbf\xbd\",\"\xef\xbf\xbd\"],\"argv_base64\":[\"ww==\",\"qQ==\"]"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char expected[128];

		begin(AS_EV_EXEC);
		put_span(offsetof(struct as_exec, argv), cases[i].bytes, cases[i].n, cases[i].n);
		snprintf(expected, sizeof(expected), "\"argv\":%s,\"cwd\"", cases[i].json);
		data_has(expected);
	}
}

static void the_longest_argument_list_is_complete(void **state)
{
	char *big = malloc(AS_ARGV_MAX);
	const char *at;
	size_t n = 0;

	assert_non_null(big);
	memset(big, 'x', AS_ARGV_MAX);
	for (size_t i = 127; i < AS_ARGV_MAX; i += 128)
		big[i] = '\0';
	begin(AS_EV_EXEC);
	put_span(offsetof(struct as_exec, argv), big, AS_ARGV_MAX, AS_ARGV_MAX);
	free(big);
	at = strstr(encoded(), "\"argv\":[");
	assert_non_null(at);
	for (; (at = strstr(at, "xxx\"")); at++)
		n++;
	assert_int_equal(n, AS_ARGV_MAX / 128);
	assert_null(strstr(out.data, "truncated"));
}

static void a_payload_is_text_or_base64_never_both(void **state)
{
	make_ssl_data();
	BYTES(as_ssl_data, data, "\0\xff\x01");
	data_has("\"data_base64\":\"AP8B\"}}");
	data_has_not("\"data\":\"");
	make_ssl_data();
	BYTES(as_ssl_data, data, "a\0b");
	data_has("\"data\":\"a\\u0000b\"}}");
	data_has_not("base64");
	make_ssl_data();
	put_span(offsetof(struct as_ssl_data, data), "", 0, 0);
	data_has("\"data\":\"\"}}");
}

static void a_cut_payload_says_so(void **state)
{
	make_ssl_data();
	put_span(offsetof(struct as_ssl_data, data), "\xfe", 1, 20000);
	data_has("\"data_base64\":\"/g==\",\"data_length\":20000,\"truncated\":true}}");
}

/* ---- paths ---- */

static void a_cut_path_says_so(void **state)
{
	begin(AS_EV_FILE_OPEN);
	put_span(offsetof(struct as_file_open, path.base), "b\0a", 3, 4);
	TEXT(as_file_open, path.rel, "x");
	data_has("\"path\":\"/a/b/x\",\"path_length\":7,\"truncated\":true,");
}

static void a_path_of_which_nothing_is_known_is_not_the_root(void **state)
{
	begin(AS_EV_FILE_OPEN);
	record_struct(&b, as_file_open)->path.rel.full = 1;
	data_has("\"path\":\"\",\"path_length\":1,\"truncated\":true,");
}

static void a_length_that_was_not_given_is_not_a_cut(void **state)
{
	begin(AS_EV_FILE_OPEN);
	put_span(offsetof(struct as_file_open, path.base), "a", 1, 0);
	data_has("\"path\":\"/a\",\"fd\"");
}

static void a_path_that_is_not_utf8_stands_beside_its_bytes(void **state)
{
	begin(AS_EV_FILE_OPEN);
	BYTES(as_file_open, path.rel, "/\xff");
	data_has("\"path\":\"/\xef\xbf\xbd\",\"path_base64\":\"L/8=\",");
}

/* ---- numbers with names ---- */

static void flags_are_named(void **state)
{
	static const struct {
		uint32_t flags;
		const char *json;
	} cases[] = {
		{O_RDONLY, "[\"O_RDONLY\"]"},
		{O_RDWR | O_TRUNC, "[\"O_RDWR\",\"O_TRUNC\"]"},
		{O_ACCMODE, "[\"0x3\"]"},
		{O_WRONLY | O_DSYNC, "[\"O_WRONLY\",\"O_DSYNC\"]"},
		{O_WRONLY | O_SYNC, "[\"O_WRONLY\",\"O_SYNC\"]"},
		{O_DIRECTORY, "[\"O_RDONLY\",\"O_DIRECTORY\"]"},
		{O_RDWR | O_TMPFILE, "[\"O_RDWR\",\"O_TMPFILE\"]"},
		{O_ASYNC, "[\"O_RDONLY\",\"O_ASYNC\"]"},
		{0x80000000, "[\"O_RDONLY\",\"0x80000000\"]"},
		{O_CLOEXEC | 0x50000000, "[\"O_RDONLY\",\"O_CLOEXEC\",\"0x50000000\"]"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char expected[128];

		begin(AS_EV_FILE_OPEN);
		SET(as_file_open, flags, cases[i].flags);
		snprintf(expected, sizeof(expected), "\"flags\":%s", cases[i].json);
		data_has(expected);
	}
}

static void the_flag_for_large_files_is_named(void **state)
{
#ifdef __x86_64__
	begin(AS_EV_FILE_OPEN);
	SET(as_file_open, flags, 0100000);
	data_has("[\"O_RDONLY\",\"O_LARGEFILE\"]");
#endif
}

static void modes_are_octal(void **state)
{
	static const struct {
		uint32_t mode;
		const char *json;
	} cases[] = {
		{0, "\"mode\":\"00\""},
		{07, "\"mode\":\"07\""},
		{0644, "\"mode\":\"0644\""},
		{04755, "\"mode\":\"04755\""},
		{UINT32_MAX, "\"mode\":\"07777\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_file_chmod();
		SET(as_file_op, mode, cases[i].mode);
		data_has(cases[i].json);
	}
	make_file_open();
	SET(as_file_open, mode, 0);
	data_has_not("mode");
}

static void errors_are_named_or_numbers(void **state)
{
	static const struct {
		int error;
		const char *json;
	} cases[] = {
		{ENOENT, "\"error\":\"ENOENT\""},
		{-EACCES, "\"error\":\"EACCES\""},
		{512, "\"error\":\"512\""},
		{-512, "\"error\":\"-512\""},
		{INT32_MIN, "\"error\":\"-2147483648\""},
		{INT32_MAX, "\"error\":\"2147483647\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_file_unlink();
		SET(as_file_op, error, cases[i].error);
		data_has(cases[i].json);
	}
	SET(as_file_op, error, 0);
	data_has_not("error");
}

static void values_without_a_name_are_numbers(void **state)
{
	make_retransmit();
	SET(as_retransmit, protocol, 132);
	data_has("\"protocol\":\"132\"");
	SET(as_retransmit, protocol, UINT32_MAX);
	data_has("\"protocol\":\"4294967295\"");
}

static void a_descriptor_below_zero_is_none(void **state)
{
	make_file_open();
	SET(as_file_open, fd, -1);
	data_has_not("\"fd\"");
	SET(as_file_open, fd, INT32_MAX);
	data_has("\"fd\":2147483647");
}

static void hundredths_have_two_places(void **state)
{
	make_system_metrics();
	SET(as_system_metrics, cpu_centi, UINT64_MAX);
	data_has("\"percent\":\"184467440737095516.15\"");
	SET(as_system_metrics, cpu_centi, 0);
	data_has("\"percent\":\"0.00\"");
}

static void an_address_of_no_known_family_is_empty(void **state)
{
	make_retransmit();
	record_struct(&b, as_retransmit)->local.family = AF_UNIX;
	data_has("\"local\":{\"address\":\"\",\"port\":1}");
}

static void what_has_no_name_is_not_shown(void **state)
{
	struct as_file_seen *seen = begin(AS_EV_FILE_SEEN);

	seen->fd = 3;
	seen->file_id = 4;
	data_has("\"data\":{\"type\":\"file_seen\"}}\n");
}

/* ---- time ---- */

static void line_of_time_is(uint64_t unix_ns)
{
	char expected[64];
	int n = snprintf(expected, sizeof(expected), "{\"timestamp\":%llu,\"source\"",
			 (unsigned long long)unix_ns);

	ev.unix_ns = unix_ns;
	buf_reset(&out);
	event_encode_json(&out, &ev);
	assert_true(out.len > (size_t)n);
	out.data[n] = '\0';
	assert_string_equal(out.data, expected);
}

/* Most of its digits are those of the line before, unless time went on, or back. */
static void times_are_whole_whatever_line_was_before(void **state)
{
	static const uint64_t times[] = {
		0,
		7,
		99999999,
		100000000,
		100000001,
		199999999,
		200000000,
		UNIX_NS,
		UNIX_NS,
		UNIX_NS + 1,
		UNIX_NS - 1,
		1759888851199999999,
		1759888851200000000,
		1759888851200000005,
		1759888851199999999,
		9999999999999999999U,
		10000000000000000000U,
		UINT64_MAX,
		5,
		UINT64_MAX,
	};

	make_fork();
	encoded();
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		line_of_time_is(times[i]);
}

/* ---- memory ---- */

/* Encodes into a buffer of the room that was told, which is not to be asked for more. */
static void room_suffices(void)
{
	struct buf exact = {};
	size_t room;

	assert_int_equal(record_end(&b, &ev), 0);
	ev.unix_ns = UINT64_MAX;
	ev.label = label;
	room = event_json_room(&ev);
	exact = (struct buf){.data = malloc(room), .cap = room};
	assert_non_null(exact.data);
	event_encode_json(&exact, &ev);
	assert_false(exact.failed);
	assert_int_equal(exact.cap, room);
	buf_done(&exact);
}

static void a_line_is_made_in_the_room_that_was_told(void **state)
{
	char text[8192];

	memset(text, 'x', sizeof(text));
	for (size_t n = 0; n <= sizeof(text); n += 16) {
		begin(AS_EV_EXEC);
		put_span(offsetof(struct as_exec, filename), text, n / 2, n / 2);
		put_span(offsetof(struct as_exec, argv), text, n, n + 1);
		room_suffices();
		begin(AS_EV_SSL_DATA);
		put_span(offsetof(struct as_ssl_data, data), text, n, n + 1);
		room_suffices();
		begin(AS_EV_STDIO_DATA);
		put_span(offsetof(struct as_stdio_data, data), text, n, n);
		room_suffices();
	}
}

/* Bytes that are no text at all become base64. */
static void base64_is_made_in_the_room_that_was_told(void **state)
{
	char bytes[8192];

	memset(bytes, 0xff, sizeof(bytes));
	for (size_t n = 0; n <= sizeof(bytes); n += 16) {
		begin(AS_EV_SSL_DATA);
		put_span(offsetof(struct as_ssl_data, data), bytes, n, n);
		room_suffices();
	}
}

static void a_line_is_appended_to_what_is_there(void **state)
{
	make_fork();
	encoded();
	event_encode_json(&out, &ev);
	assert_int_equal(out.len % 2, 0);
	assert_memory_equal(out.data, out.data + out.len / 2, out.len / 2);
}

static void without_memory_the_buffer_says_so(void **state)
{
	make_fork();
	encoded();
	out.failed = true;
	event_encode_json(&out, &ev);
	assert_true(out.failed);
}

#define TEST(f) cmocka_unit_test_teardown(f, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_type_becomes_exactly_the_expected_line),
		TEST(a_name_that_is_not_utf8_stands_beside_its_bytes),
		TEST(a_name_of_sixteen_bytes_needs_no_end),
		TEST(the_name_within_data_stands_beside_its_bytes_too),
		TEST(the_machine_is_no_process),
		TEST(without_a_start_time_there_is_no_exec_id),
		TEST(marks_stand_at_the_end_of_data),
		TEST(text_that_is_not_utf8_stands_beside_its_bytes),
		TEST(cut_text_says_so_and_how_long_it_was),
		TEST(truncated_is_said_once),
		TEST(text_cut_in_an_object_is_said_of_the_event),
		TEST(text_cut_within_a_character_is_bad_and_cut),
		TEST(optional_text_of_which_no_byte_could_be_read_is_not_silent),
		TEST(absent_optional_fields_are_left_out),
		TEST(a_text_field_that_is_always_there_may_be_empty),
		TEST(a_library_without_a_name_is_an_empty_text),
		TEST(totals_without_streams_have_an_empty_object),
		TEST(arguments_keep_their_number),
		TEST(the_longest_argument_list_is_complete),
		TEST(a_payload_is_text_or_base64_never_both),
		TEST(a_cut_payload_says_so),
		TEST(a_cut_path_says_so),
		TEST(a_path_of_which_nothing_is_known_is_not_the_root),
		TEST(a_length_that_was_not_given_is_not_a_cut),
		TEST(a_path_that_is_not_utf8_stands_beside_its_bytes),
		TEST(flags_are_named),
		TEST(the_flag_for_large_files_is_named),
		TEST(modes_are_octal),
		TEST(errors_are_named_or_numbers),
		TEST(values_without_a_name_are_numbers),
		TEST(a_descriptor_below_zero_is_none),
		TEST(hundredths_have_two_places),
		TEST(an_address_of_no_known_family_is_empty),
		TEST(what_has_no_name_is_not_shown),
		TEST(times_are_whole_whatever_line_was_before),
		TEST(a_line_is_made_in_the_room_that_was_told),
		TEST(base64_is_made_in_the_room_that_was_told),
		TEST(a_line_is_appended_to_what_is_there),
		TEST(without_memory_the_buffer_says_so),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
