/* SPDX-License-Identifier: MIT */
/*
 * What is known of an answer hangs on its exchange, from the request on. The formats do the reading; here are
 * the times, the cost and the events.
 */
#include "stage/llm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "event/record.h"
#include "llm/llm.h"
#include "llm/pieces.h"

#define PIECE_LESS ((size_t)16 << 10) /* of an answer, where memory is used up */

/* An answer that is awaited. */
struct call {
	struct llm_stage *stage;
	const struct http_exchange *x; /* during a call of the observer */
	const struct llm_format *format;
	const char *provider;
	struct buf model; /* that was asked for */
	struct buf session;
	struct pieces pieces;
	struct llm_answer answer;
	uint64_t begin_ns;   /* first byte of the request */
	uint64_t request_ns; /* its last byte */
	uint64_t end_ns;
	uint32_t doubts; /* of the response when the call began */
	bool fed;
	bool socket; /* one of the requests of a WebSocket */
};

struct llm_stage {
	struct http_observer observer;
	struct llm_stage_options opt;
	struct llm_stage_counts counts;
	struct emitter *out;
	struct llm_request request; /* scratch */
	struct buf rec, text;
};

/* ---- records ---- */

static void record_start(struct llm_stage *s, unsigned type, const struct http_exchange *x,
			 uint64_t boot_ns)
{
	struct as_hdr h = x->who;

	h.boot_ns = boot_ns;
	record_begin(&s->rec, type, &h);
}

/* Large ones are rare enough to be given back each time. */
static void buf_shrink(struct buf *b)
{
	if (b->cap > (1U << 20))
		buf_done(b);
}

static void record_send(struct llm_stage *s, struct llm_tally *tally)
{
	struct event ev;

	if (record_end(&s->rec, &ev) < 0) {
		tally->unmade++;
	} else {
		tally->made++;
		event_emit(s->out, &ev);
	}
	buf_shrink(&s->rec);
	buf_shrink(&s->text);
}

static struct as_span add_buf(struct llm_stage *s, const struct buf *b)
{
	s->rec.failed |= b->failed;
	return record_add(&s->rec, b->data, b->len);
}

/* The beginning of a text that had @full bytes. */
static struct as_span add_begin(struct llm_stage *s, const struct buf *b, size_t full)
{
	struct as_span span = add_buf(s, b);

	span.full = (uint32_t)MIN(full, (size_t)UINT32_MAX);
	return span;
}

static struct as_span add_text(struct llm_stage *s, struct http_text t)
{
	return record_add(&s->rec, t.p, t.len);
}

/* Assigns after the append, which may move the record. */
#define SET_SPAN(s, S, member, span)                                  \
	do {                                                          \
		struct as_span added_ = (span);                       \
                                                                      \
		if (!(s)->rec.failed)                                 \
			record_struct(&(s)->rec, S)->member = added_; \
	} while (0)

static uint32_t role_of(const struct http_exchange *x)
{
	return x->server ? AS_ROLE_SERVER : AS_ROLE_CLIENT;
}

/* ---- requests ---- */

static void put_results(const struct llm_request *r, struct buf *out)
{
	buf_reset(out);
	for (size_t i = 0; i < r->n_results; i++) {
		const struct llm_result *result = &r->results[i];

		buf_add_char(out, i ? ',' : '[');
		buf_add_lit(out, "{\"id\":");
		if (result->id_len)
			json_string(out, r->texts.data + result->id_at, result->id_len);
		else
			json_string(out, r->texts.data + result->name_at, result->name_len);
		buf_add_lit(out, ",\"is_error\":");
		json_boolean(out, result->is_error);
		buf_add_lit(out, ",\"bytes\":");
		json_u64(out, result->text_len);
		buf_add_char(out, '}');
	}
	if (r->n_results)
		buf_add_char(out, ']');
}

static void emit_request(struct llm_stage *s, const struct http_exchange *x, uint64_t boot_ns)
{
	const struct llm_request *r = &s->request;
	const struct http_head *head = &x->request.head;
	struct as_llm_request *rec;

	put_results(r, &s->text);
	record_start(s, AS_EV_LLM_REQUEST, x, boot_ns);
	SET_SPAN(s, as_llm_request, provider, record_add_str(&s->rec, r->provider));
	SET_SPAN(s, as_llm_request, model, add_buf(s, &r->model));
	SET_SPAN(s, as_llm_request, host, add_text(s, head->authority));
	SET_SPAN(s, as_llm_request, path, add_text(s, head->path));
	SET_SPAN(s, as_llm_request, session, add_buf(s, &r->session));
	SET_SPAN(s, as_llm_request, system, add_buf(s, &r->system));
	if (r->messages.len)
		SET_SPAN(s, as_llm_request, messages, add_buf(s, &r->messages));
	else
		SET_SPAN(s, as_llm_request, messages, record_add_str(&s->rec, "[]"));
	SET_SPAN(s, as_llm_request, tools, add_buf(s, &r->tools));
	SET_SPAN(s, as_llm_request, tool_results, add_buf(s, &s->text));
	SET_SPAN(s, as_llm_request, parameters, add_buf(s, &r->parameters));
	SET_SPAN(s, as_llm_request, prompt, add_begin(s, &r->prompt, r->prompt_full));
	if (!s->rec.failed) {
		rec = record_struct(&s->rec, as_llm_request);
		rec->conn = x->conn;
		rec->stream_id = x->stream_id;
		rec->exchange_id = x->id;
		rec->n_messages = r->n_messages;
		rec->stream = r->stream;
		rec->role = role_of(x);
		rec->incomplete = r->incomplete;
	}
	record_send(s, &s->counts.requests);
}

static void tell_results(struct llm_stage *s, const struct http_exchange *x, uint64_t boot_ns)
{
	const struct llm_listener *l = &s->opt.listener;
	const struct llm_request *r = &s->request;

	/* a server hears what somebody else's tools gave */
	if (!l->tool_result || x->server || r->texts.failed)
		return;
	for (size_t i = 0; i < r->n_results; i++) {
		const struct llm_result *result = &r->results[i];

		l->tool_result(l->context, &(struct llm_tool_result){
						   .id = r->texts.data + result->id_at,
						   .name = r->texts.data + result->name_at,
						   .is_error = result->is_error,
						   .bytes = result->text_len,
						   .who = x->who,
						   .boot_ns = boot_ns,
					   });
	}
}

/* ---- answers ---- */

static void call_free(struct call *c)
{
	if (!c)
		return;
	pieces_done(&c->pieces);
	llm_answer_done(&c->answer);
	buf_done(&c->model);
	buf_done(&c->session);
	free(c);
}

static void tell_call(struct call *c, struct llm_block *block)
{
	const struct llm_listener *l = &c->stage->opt.listener;
	_cleanup_(buf_done) struct buf input = {0};
	struct llm_tool_call call = {
		.id = buf_cstr(&block->id),
		.name = buf_cstr(&block->name),
		.session = buf_cstr(&c->session),
		.who = c->x->who,
		.boot_ns = block->done_ns,
	};

	/* half an input is none */
	if (!llm_block_cut(block))
		llm_block_input(block, &input);
	call.input = buf_cstr(&input);
	call.input_len = input.failed ? 0 : input.len;
	l->tool_call(l->context, &call);
}

/* As soon as they are complete: what they start may come before the answer is over. */
static void tell_calls(struct call *c)
{
	if (!c->stage->opt.listener.tool_call || c->x->server)
		return;
	for (size_t i = 0; i < c->answer.n_blocks; i++) {
		struct llm_block *block = &c->answer.blocks[i];

		if (block->kind != LLM_TOOL || !block->done || block->told)
			continue;
		block->told = true;
		tell_call(c, block);
	}
}

static void take_piece(void *context, const char *text, size_t n)
{
	struct call *c = context;

	llm_answer_piece(&c->answer, c->format, text, n);
}

/* The body so far, in the pieces in which it came. */
static void feed_body(struct call *c, const struct http_message *m)
{
	size_t done = 0;

	for (size_t i = 0; i <= m->n_marks && done < m->body.len; i++) {
		size_t end = i < m->n_marks ? m->marks[i].offset : m->body.len;

		end = MIN(end, m->body.len);
		if (end > done) {
			pieces_feed(&c->pieces, m->body.data + done, end - done);
			done = end;
		}
		if (i < m->n_marks)
			c->answer.now_ns = m->marks[i].boot_ns;
	}
}

static bool is_error(const struct http_exchange *x)
{
	return x->response.head.status >= 300;
}

static void begin_feeding(struct call *c)
{
	const struct http_message *m = &c->x->response;
	struct http_text type = http_message_header(m, "content-type");
	static const char sse[] = "text/event-stream";
	bool is_sse = type.len && memmem(type.p, type.len, sse, strlen(sse));

	pieces_begin(&c->pieces, is_sse, take_piece, c);
	c->answer.now_ns = m->begin_ns;
	c->fed = true;
	feed_body(c, m);
	c->pieces.lost |= m->body_full > m->body.len;
}

static uint64_t cost_of(const struct call *c, struct buf *model, bool *known)
{
	const struct llm_answer *a = &c->answer;
	const struct prices *prices = c->stage->opt.prices;
	bool without = c->format->input_without_cache;
	uint64_t cost = 0;

	*known = prices && a->usage.known &&
		 prices_cost(prices, c->provider, buf_cstr(model), &a->usage, without, &cost);
	return cost;
}

static uint64_t span_ns(uint64_t from, uint64_t to)
{
	return from && to > from ? to - from : 0;
}

/* That its connection was cut behind the last piece says nothing: agents close there. */
static bool answer_incomplete(const struct call *c)
{
	const struct http_message *m = &c->x->response;

	if (is_error(c->x) && !c->socket)
		return !m->complete || c->answer.cut;
	return !c->answer.done || c->answer.cut || c->pieces.lost || m->hole ||
	       m->doubts != c->doubts;
}

static void fill_response(struct call *c, struct as_llm_response *rec)
{
	const struct llm_answer *a = &c->answer;
	struct buf *model = c->answer.model.len ? &c->answer.model : &c->model;
	bool known;

	rec->conn = c->x->conn;
	rec->stream_id = c->x->stream_id;
	rec->exchange_id = c->x->id;
	rec->input_tokens = a->usage.input;
	rec->output_tokens = a->usage.output;
	rec->cache_read_tokens = a->usage.cache_read;
	rec->cache_write_tokens = a->usage.cache_write;
	rec->reasoning_tokens = a->usage.reasoning;
	rec->usage_unknown = !a->usage.known;
	rec->cost_nano_usd = cost_of(c, model, &known);
	if (!known && model != &c->model)
		rec->cost_nano_usd = cost_of(c, &c->model, &known);
	rec->cost_known = known;
	if (c->socket || c->pieces.stream)
		rec->time_to_first_token_ns = span_ns(c->request_ns, a->first_ns);
	rec->duration_ns = span_ns(c->begin_ns, c->end_ns);
	rec->status = c->x->response.head.status;
	rec->role = role_of(c->x);
	rec->incomplete = answer_incomplete(c);
}

/* Is the name of the block among those of the blocks before it? */
static bool named_before(const struct llm_answer *a, size_t i)
{
	const struct buf *name = &a->blocks[i].name;

	for (size_t k = 0; k < i; k++) {
		const struct buf *b = &a->blocks[k].name;

		if (llm_is_tool(&a->blocks[k]) && b->len == name->len &&
		    (!b->len || !memcmp(b->data, name->data, b->len)))
			return true;
	}
	return false;
}

/* The names, each ended by NUL. */
static void put_tools(const struct llm_answer *a, struct buf *out)
{
	buf_reset(out);
	for (size_t i = 0; i < a->n_blocks; i++) {
		const struct llm_block *b = &a->blocks[i];

		if (!llm_is_tool(b) || named_before(a, i))
			continue;
		buf_add(out, b->name.data, b->name.len);
		buf_add_char(out, '\0');
	}
}

static struct as_span add_answer(struct llm_stage *s, struct llm_answer *a, enum llm_kind kind)
{
	buf_reset(&s->text);
	llm_answer_text(a, kind, &s->text);
	return add_begin(s, &s->text, s->text.len + llm_answer_left_out(a, kind));
}

static void emit_response(struct call *c)
{
	struct llm_stage *s = c->stage;
	struct llm_answer *a = &c->answer;

	record_start(s, AS_EV_LLM_RESPONSE, c->x, c->end_ns);
	SET_SPAN(s, as_llm_response, provider, record_add_str(&s->rec, c->provider));
	SET_SPAN(s, as_llm_response, model, add_buf(s, a->model.len ? &a->model : &c->model));
	SET_SPAN(s, as_llm_response, id, add_buf(s, &a->id));
	SET_SPAN(s, as_llm_response, text, add_answer(s, a, LLM_TEXT));
	SET_SPAN(s, as_llm_response, reasoning, add_answer(s, a, LLM_REASONING));
	buf_reset(&s->text);
	llm_answer_tool_calls(a, &s->text);
	SET_SPAN(s, as_llm_response, tool_calls, add_buf(s, &s->text));
	put_tools(a, &s->text);
	SET_SPAN(s, as_llm_response, tools, add_buf(s, &s->text));
	SET_SPAN(s, as_llm_response, stop_reason, add_buf(s, &a->stop_reason));
	SET_SPAN(s, as_llm_response, error, add_buf(s, &a->error));
	SET_SPAN(s, as_llm_response, usage_raw, add_buf(s, &a->usage_raw));
	if (!s->rec.failed) {
		fill_response(c, record_struct(&s->rec, as_llm_response));
		record_struct(&s->rec, as_llm_response)->n_tool_calls = a->n_tools;
	}
	record_send(s, &s->counts.responses);
}

/* ---- the observer ---- */

/* An answer that is read while it comes; any other is held only while its end is told. */
static bool is_read_along(const struct call *c)
{
	return c->fed || c->socket;
}

static void note_held(struct http_exchange *x)
{
	const struct call *c = x->user;

	x->held = c ? sizeof(*c) + c->model.cap + c->session.cap + pieces_memory(&c->pieces) +
				  c->answer.memory
		    : 0;
	x->yields = c && is_read_along(c) && c->answer.keep < LLM_KEEP_NUMBERS;
}

static struct http_text request_header(const void *context, const char *name)
{
	return http_message_header(context, name);
}

/* There was no memory for a request: its answer is not waited for, either. */
static void call_unmade(struct llm_stage *s)
{
	s->counts.requests.unmade++;
	s->counts.responses.unmade++;
}

/* Tells the request in @body and begins to wait for its answer. */
static void begin_call(struct llm_stage *s, struct http_exchange *x, struct http_text body,
		       bool whole, bool socket, uint64_t boot_ns)
{
	const struct llm_source from = {
		.path = x->request.head.path,
		.host = x->request.head.authority,
		.header = request_header,
		.context = &x->request,
	};
	const struct llm_format *f = llm_request_read(&s->request, &from, body, whole);
	struct call *c;

	if (!f) {
		if (s->request.failed)
			call_unmade(s);
		llm_request_done(&s->request);
		return;
	}
	emit_request(s, x, boot_ns);
	tell_results(s, x, boot_ns);
	c = calloc(1, sizeof(*c));
	if (c) {
		c->stage = s;
		c->format = f;
		c->provider = s->request.provider;
		c->model = s->request.model;
		c->session = s->request.session;
		s->request.model = s->request.session = (struct buf){0};
		c->begin_ns = socket ? boot_ns : x->request.begin_ns;
		c->request_ns = boot_ns;
		c->socket = socket;
		c->doubts = x->response.doubts;
		x->user = c;
	} else {
		s->counts.responses.unmade++;
	}
	note_held(x);
	llm_request_done(&s->request);
}

static void end_call(struct http_exchange *x, uint64_t boot_ns)
{
	struct call *c = x->user;

	c->end_ns = boot_ns;
	tell_calls(c);
	emit_response(c);
	call_free(c);
	x->user = NULL;
	note_held(x);
}

static void on_request(void *context, struct http_exchange *x)
{
	const struct http_message *m = &x->request;
	struct http_text post = m->head.method, body = {m->body.data, m->body.len};
	bool whole = m->complete && m->body_full == m->body.len && !m->body_error;

	if (post.len != 4 || memcmp(post.p, "POST", 4) || x->user)
		return;
	if (!body.len && m->body_full && !m->hole) {
		/* nothing of it could be kept */
		if (llm_format_at(m->head.path))
			call_unmade(context);
		return;
	}
	begin_call(context, x, body, whole, false, m->end_ns ? m->end_ns : x->who.boot_ns);
}

/* The request came before the tracing: what the answer tells is told. */
static struct call *join_call(struct llm_stage *s, struct http_exchange *x)
{
	const struct llm_format *f = NULL;
	struct call *c;

	if (!x->request.begun)
		f = llm_format_of_answer(
			(struct http_text){x->response.body.data, x->response.body.len});
	c = f ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		/* while it comes, there may yet be memory */
		s->counts.responses.unmade += f && x->response.ended;
		return NULL;
	}
	c->stage = s;
	c->format = f;
	c->provider = f->provider;
	c->begin_ns = c->request_ns = x->response.begin_ns;
	x->user = c;
	note_held(x);
	return c;
}

static void on_progress(void *context, struct http_exchange *x)
{
	struct call *c = x->user ? x->user : join_call(context, x);

	if (!c || c->socket || is_error(x) || c->answer.keep == LLM_KEEP_NUMBERS)
		return;
	c->x = x;
	if (!c->fed) {
		begin_feeding(c);
	} else {
		c->answer.now_ns = x->now_ns;
		pieces_feed(&c->pieces, x->response.piece.p, x->response.piece.len);
	}
	tell_calls(c);
	note_held(x);
}

/*
 * First the texts go, and events are read on as long as they are short: the usage comes last. When that is not
 * enough, what is known by now is what will be told.
 */
static void on_give_way(void *context, struct http_exchange *x)
{
	struct call *c = x->user;

	if (!c)
		return;
	llm_answer_less(&c->answer);
	if (c->answer.keep < LLM_KEEP_NUMBERS) {
		pieces_bound(&c->pieces, PIECE_LESS);
	} else {
		pieces_done(&c->pieces);
		c->pieces.lost |= c->fed;
	}
	note_held(x);
}

static void on_response(void *context, struct http_exchange *x)
{
	const struct http_message *m = &x->response;
	struct http_text body = {m->body.data, m->body.len};
	struct call *c = x->user ? x->user : join_call(context, x);

	if (!c || c->socket)
		return;
	c->x = x;
	if (is_error(x))
		llm_answer_error_body(&c->answer, m->head.status, m->head.reason, body);
	else if (!c->fed)
		begin_feeding(c);
	end_call(x, m->end_ns ? m->end_ns : c->request_ns);
}

/* What was asked for and never answered is told, too. */
static void on_forget(void *context, struct http_exchange *x)
{
	struct call *c = x->user;

	if (!c)
		return;
	c->x = x;
	end_call(x, x->now_ns);
}

static void on_ws_message(void *context, struct http_exchange *x, enum http_side side, bool text,
			  struct http_text payload, uint64_t boot_ns)
{
	struct value v = value_at(payload.p, payload.len);
	bool whole = x->message_full <= payload.len && !x->message_incomplete;
	struct call *c = x->user;

	if (!text || llm_format_at(x->request.head.path) != &llm_openai_responses)
		return;
	if (c)
		c->x = x;
	if (side == HTTP_REQUEST) {
		if (!value_is(value_get(v, "type"), "response.create"))
			return;
		if (c)
			end_call(x, boot_ns);
		begin_call(context, x, payload, whole, true, boot_ns);
		return;
	}
	if (!c)
		return;
	c->answer.now_ns = boot_ns;
	llm_answer_piece(&c->answer, c->format, payload.p, payload.len);
	if (c->answer.done) {
		end_call(x, boot_ns);
		return;
	}
	tell_calls(c);
	note_held(x);
}

int llm_stage_new(const struct llm_stage_options *opt, struct emitter *out, struct llm_stage **ret)
{
	struct llm_stage *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	if (opt)
		s->opt = *opt;
	s->out = out;
	s->observer = (struct http_observer){
		.context = s,
		.request = on_request,
		.progress = on_progress,
		.response = on_response,
		.forget = on_forget,
		.give_way = on_give_way,
		.ws_message = on_ws_message,
	};
	*ret = s;
	return 0;
}

const struct http_observer *llm_stage_observer(struct llm_stage *s)
{
	return &s->observer;
}

const struct llm_stage_counts *llm_stage_counts(const struct llm_stage *s)
{
	return &s->counts;
}

void llm_stage_shed(const struct llm_stage *s, uint64_t shed[AS_EV_COUNT])
{
	shed[AS_EV_LLM_REQUEST] += s->counts.requests.unmade;
	shed[AS_EV_LLM_RESPONSE] += s->counts.responses.unmade;
}

void llm_stage_free(struct llm_stage *s)
{
	if (!s)
		return;
	llm_request_done(&s->request);
	buf_done(&s->rec);
	buf_done(&s->text);
	free(s);
}
