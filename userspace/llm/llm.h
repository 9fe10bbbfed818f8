/* SPDX-License-Identifier: MIT */
/*
 * Calls of language models, read from HTTP bodies: one model of a request and of an answer, and a table
 * of the formats that fill them. Pure: no events, no clock. All input comes from strangers.
 */
#ifndef AGENTSIGHT_LLM_LLM_H
#define AGENTSIGHT_LLM_LLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "http/message.h"
#include "base/value.h"

#define LLM_TEXT_MAX    ((uint64_t)4 << 20) /* text, reasoning and inputs of one answer together */
#define LLM_BEGIN_MAX   1024                /* of a text, where memory is used up */
#define LLM_BLOCKS_MAX  1024
#define LLM_RESULTS_MAX 1024
#define LLM_PROMPT_MAX  1024
#define LLM_NAME_MAX    1024 /* of ids and names: of calls, of models, of conversations */
#define LLM_USAGE_MAX   4096 /* as served */
#define LLM_ERROR_MAX   4096
#define LLM_PARAM_MAX   1024 /* a longer parameter is a text of its own, and left out */

/*
 * What a tool gave, as the agent tells the model. Offsets into `texts`; a NUL stands behind id and name, either of which
 * may be empty.
 */
struct llm_result {
	size_t id_at, id_len;
	size_t name_at, name_len;
	size_t text_at, text_len;
	bool is_error;
};

struct llm_request {
	const char *provider; /* static */
	struct buf model;
	struct buf session;    /* the agent's name for the conversation */
	struct buf system;     /* JSON, or empty */
	struct buf messages;   /* JSON: an array, or a string where the format takes one */
	struct buf tools;      /* JSON: names; empty: none */
	struct buf parameters; /* JSON: an object; empty: none */
	struct buf prompt;     /* what the user said last, as far as LLM_PROMPT_MAX */
	size_t prompt_full;    /* its bytes, kept or not */
	struct value said;     /* the same in the body, while it is read */
	struct buf texts;
	struct llm_result results[LLM_RESULTS_MAX]; /* only those behind the model's last message */
	size_t n_results;
	uint64_t n_messages;
	bool stream;
	bool incomplete; /* the body was cut off: these are the members before the cut */
	bool failed;     /* there was no memory for it */
};

enum llm_kind {
	LLM_TEXT,
	LLM_REASONING,
	LLM_TOOL,        /* a call that the agent is to make */
	LLM_SERVER_TOOL, /* one that the provider makes itself */
	LLM_KINDS,
};

/* What is kept of an answer, less and less. */
enum llm_keep {
	LLM_KEEP_TEXTS,
	LLM_KEEP_BEGINNINGS, /* of texts, and the names of calls */
	LLM_KEEP_NUMBERS,    /* usage; also why it stopped, and who spoke */
};

/* A part of an answer. Kind, group and part are its name: pieces of several may alternate. */
struct llm_block {
	enum llm_kind kind;
	uint64_t group;
	uint64_t part;
	struct buf id;
	struct buf name;
	struct buf text;  /* of tools: the input */
	uint64_t full;    /* bytes that the text had; more than there are: it was cut */
	bool text_input;  /* the input is text, not JSON */
	bool done;        /* nothing more comes */
	bool told;        /* the observer's */
	uint64_t done_ns; /* when */
};

struct llm_usage {
	uint64_t input;
	uint64_t output; /* reasoning included */
	uint64_t cache_read;
	uint64_t cache_write;
	uint64_t cache_write_1h; /* of cache_write: for an hour, which costs more */
	uint64_t reasoning;
	bool known; /* the provider said it */
};

struct llm_answer {
	struct buf model;
	struct buf id;
	struct buf stop_reason;
	struct buf error;
	struct buf usage_raw; /* JSON, or empty */
	struct llm_block *blocks;
	size_t n_blocks;
	uint64_t bytes; /* in all blocks */
	size_t memory;  /* of all that the answer points at, about */
	enum llm_keep keep;
	uint64_t forgotten[LLM_KINDS]; /* bytes of texts in blocks that are gone */
	uint32_t n_tools;              /* calls that were begun, kept or not */
	struct llm_usage usage;
	uint64_t now_ns;   /* set by the caller: when the piece arrived */
	uint64_t first_ns; /* of the first piece with content */
	bool done;         /* the provider said that this is all */
	bool last;         /* ... in words that nothing can follow */
	bool choices;      /* groups are answers beside each other, not parts of one */
	bool cut;          /* beyond a limit */
	bool full; /* a block of this piece found no room: what is left of its lists is passed over */
};

/* What HTTP tells about a request. */
struct llm_source {
	struct http_text path; /* with the query */
	struct http_text host; /* with the port, if it has one */
	struct http_text (*header)(const void *context, const char *name); /* lower case */
	const void *context;
};

struct llm_format {
	const char *name;
	const char *provider;     /* when the host does not say it */
	bool input_without_cache; /* usage.input excludes what went through a cache */
	/* Is the path one of this format? */
	bool (*match)(struct http_text path);
	/* Fills @r from the body; false when it is none after all. */
	bool (*request)(struct llm_request *r, const struct llm_source *from, struct value body);
	/* The next piece of an answer, checked to be whole: an event, a chunk, or the answer in one. */
	void (*piece)(struct llm_answer *a, struct value piece);
};

extern const struct llm_format llm_anthropic;
extern const struct llm_format llm_openai_chat;
extern const struct llm_format llm_openai_responses;
extern const struct llm_format llm_gemini;
extern const struct llm_format llm_ollama;

/*
 * Whose interface it is: by the path, then by the body. @r is filled; NULL when it is no model's, or has failed.
 * @whole: all of the body is there.
 */
const struct llm_format *llm_request_read(struct llm_request *r, const struct llm_source *from,
					  struct http_text body, bool whole);

/* By the beginning of an answer in pieces, where the request was not seen; NULL when it says nothing. */
const struct llm_format *llm_format_of_answer(struct http_text body);

/* Only by the path, for a WebSocket that was opened there. */
const struct llm_format *llm_format_at(struct http_text path);

void llm_request_reset(struct llm_request *r);
void llm_request_done(struct llm_request *r);

/* One piece; what is not JSON is passed over. */
void llm_answer_piece(struct llm_answer *a, const struct llm_format *f, const char *p, size_t n);

/* The body of an answer with an error status. */
void llm_answer_error_body(struct llm_answer *a, unsigned status, struct http_text reason,
			   struct http_text body);

/* Text and reasoning, blocks joined; an empty line where something else stood between two, and between choices. */
void llm_answer_text(struct llm_answer *a, enum llm_kind kind, struct buf *out);

/* Bytes of such text that were not kept. */
uint64_t llm_answer_left_out(const struct llm_answer *a, enum llm_kind kind);

/* [{id, name, input}]; "server": true for the provider's own, "truncated": true where the input was cut. */
void llm_answer_tool_calls(struct llm_answer *a, struct buf *out);

/* The input of one call as JSON: what is no JSON becomes a string. */
void llm_block_input(const struct llm_block *block, struct buf *out);

bool llm_block_cut(const struct llm_block *block);

/* A call, whoever makes it. */
bool llm_is_tool(const struct llm_block *block);

/*
 * Memory is used up: goes on to the next of enum llm_keep. What is dropped is known from `cut`, the blocks, and
 * llm_answer_left_out().
 */
void llm_answer_less(struct llm_answer *a);

void llm_answer_done(struct llm_answer *a);

/* ---- for the formats ---- */

bool llm_path_ends(struct http_text path, const char *end);

/* Sets an id or a name to what a string says, unless it says nothing; false when it is longer than one may be. */
bool llm_set(struct buf *b, struct value string);

/* The same in an answer. */
void llm_answer_set(struct llm_answer *a, struct buf *b, struct value string);

/* The same with a name that the provider does not send. */
void llm_answer_name(struct llm_answer *a, struct buf *b, const char *name);

/* What stands between @open and @close (or the end) in a path, percent signs undone. */
void llm_set_from_path(struct buf *b, struct http_text path, const char *open, const char *close);

/* A text of the user: it is the prompt until another comes. Nothing when it is no string, or empty. */
void llm_request_said(struct llm_request *r, struct value text);

/* The content of a message of the user: its last text is the prompt, until another message has one. */
void llm_request_prompt(struct llm_request *r, struct value content);

/* Adds a name to the tools. */
void llm_request_tool(struct llm_request *r, struct value name);

/* All members but those in @without, as far as they are short. */
void llm_request_parameters(struct llm_request *r, struct value body, const char *const *without,
			    size_t n);

/* The model has spoken: results before that came with an earlier request. */
void llm_request_answered(struct llm_request *r);

/* The result of a tool, by the number of its call, its name, or both; nothing for what is not told. */
void llm_request_result(struct llm_request *r, struct value id, struct value name,
			struct value content, bool is_error);

/* Text of a string, or of the text blocks in an array, at any depth that is sensible. */
void llm_content_text(struct value content, struct buf *out);

/* The block of that name, made if need be; NULL when there are too many. */
struct llm_block *llm_block(struct llm_answer *a, enum llm_kind kind, uint64_t group,
			    uint64_t part);

/* Another of that name, which llm_block() gives from now on. */
struct llm_block *llm_block_begin(struct llm_answer *a, enum llm_kind kind, uint64_t group,
				  uint64_t part);

/* Adds what a string says to a block (NULL allowed). */
void llm_block_add(struct llm_answer *a, struct llm_block *block, struct value string);

/* Sets a block's text to a value: a string as what it says, anything else as JSON. */
void llm_block_set(struct llm_answer *a, struct llm_block *block, struct value v);

/* Adds the items of an array to the array that a block's text is, or becomes. */
void llm_block_extend(struct llm_answer *a, struct llm_block *block, struct value array);

void llm_block_end(struct llm_answer *a, struct llm_block *block);
void llm_blocks_end(struct llm_answer *a);

/* "type: message" from an error object, however it is wrapped. */
void llm_answer_error(struct llm_answer *a, struct value error);

/* Keeps the usage as served, as far as LLM_USAGE_MAX; members of an earlier one that this one lacks are kept, too. */
void llm_answer_usage(struct llm_answer *a, struct value usage);

#endif
