/* SPDX-License-Identifier: MIT */
/*
 * How fast strings become JSON, next to json-c on the same input. Both run in the same rounds, one after the
 * other, so that a busy machine slows both; the medians are printed, one JSON object per row.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"

#define ROUNDS         9
#define PIECE_LEN      ((size_t)16384)
#define BYTES_OURS     (PIECE_LEN * 2048)
#define BYTES_BASELINE (PIECE_LEN * 256)

struct input {
	const char *name;
	void (*fill)(char *p, size_t n);
	size_t len;
};

/* One way to turn an input into text; the answer keeps the compiler from dropping the work. */
typedef size_t (*encode_fn)(const char *p, size_t n);

static struct buf out;
static volatile size_t sink;

static uint64_t random_next(void)
{
	static uint64_t state = 88172645463325252ULL;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void fill_repeated(char *p, size_t n, const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < n; i++)
		p[i] = text[i % len];
}

static void fill_clean(char *p, size_t n)
{
	fill_repeated(p, n, "The quick brown fox jumps over the lazy dog, 0123456789 times. ");
}

/* Texts of different length, so that a predictor cannot learn where the quotes are. */
static void message_append(struct buf *b, size_t text_max)
{
	static const char text[] =
		"Please read the file and tell me which of the tests fails and why. Then change "
		"the "
		"code so that it passes, run everything again and show me the difference, with a "
		"sentence for each place that you touched.";

	buf_printf(b, "{\"role\":\"%s\",\"content\":\"%.*s\\n\",\"tokens\":%u},",
		   random_next() & 1 ? "user" : "assistant", (int)(random_next() % text_max), text,
		   (unsigned)(random_next() % 100000));
}

static void fill_messages(char *p, size_t n, size_t text_max)
{
	struct buf b = {0};

	buf_add_lit(&b, "POST /v1/messages HTTP/1.1\r\nhost: api.example.com\r\n"
			"content-type: application/json\r\naccept: */*\r\n"
			"user-agent: agent/1.0 (linux; x64)\r\n\r\n{\"messages\":[");
	while (b.len < n)
		message_append(&b, text_max);
	memcpy(p, b.data, n);
	buf_done(&b);
}

/* Grows by about 9 % when escaped, like the request of a chat. */
static void fill_http(char *p, size_t n)
{
	fill_messages(p, n, 140);
}

/* Grows by about 15 %, like a list of small objects. */
static void fill_dense(char *p, size_t n)
{
	fill_messages(p, n, 60);
}

static void fill_chinese(char *p, size_t n)
{
	fill_repeated(p, n, "敏捷的棕色狐狸跳过了懒狗。");
	/* The piece ends inside a character unless its length allows; fill up with ASCII. */
	for (size_t i = utf8_valid_prefix(p, n); i < n; i++)
		p[i] = '.';
}

static void fill_mixed(char *p, size_t n)
{
	fill_repeated(p, n, "Größe: 12 µm — “naïve” café, \"déjà vu\"\n");
	for (size_t i = utf8_valid_prefix(p, n); i < n; i++)
		p[i] = '.';
}

static void fill_random(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(random_next() >> 32);
}

static size_t encode_ours(const char *p, size_t n)
{
	buf_reset(&out);
	json_string(&out, p, n);
	return out.len;
}

static size_t encode_scalar(const char *p, size_t n)
{
	buf_reset(&out);
	json_string_body_scalar(&out, p, n);
	return out.len;
}

static size_t encode_base64(const char *p, size_t n)
{
	buf_reset(&out);
	json_base64(&out, p, n);
	return out.len;
}

static size_t validate(const char *p, size_t n)
{
	return utf8_valid_prefix(p, n);
}

static size_t encode_jsonc(const char *p, size_t n)
{
	struct json_object *o = json_object_new_string_len(p, (int)n);
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	size_t len = strlen(text);

	json_object_put(o);
	return len;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double gbps(encode_fn encode, const char *p, size_t n, size_t bytes)
{
	size_t done = 0;
	double start = seconds();

	for (; done < bytes; done += n)
		sink += encode(p, n);
	return (double)done / (seconds() - start) / 1e9;
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare_double);
	return v[n / 2];
}

static void row_escape(const struct input *input)
{
	_cleanup_(freep) char *p = malloc(input->len);
	double ours[ROUNDS], scalar[ROUNDS], jsonc[ROUNDS], ratio[ROUNDS];

	if (!p)
		exit(1);
	input->fill(p, input->len);

	for (size_t r = 0; r < ROUNDS; r++) {
		ours[r] = gbps(encode_ours, p, input->len, BYTES_OURS);
		scalar[r] = gbps(encode_scalar, p, input->len, BYTES_BASELINE);
		jsonc[r] = gbps(encode_jsonc, p, input->len, BYTES_BASELINE);
		ratio[r] = ours[r] / jsonc[r];
	}
	printf("{\"bench\":\"escape\",\"variant\":\"%s\",\"gbps\":%.2f,\"scalar_gbps\":%.2f,"
	       "\"jsonc_gbps\":%.3f,\"ratio\":%.1f}\n",
	       input->name, median(ours, ROUNDS), median(scalar, ROUNDS), median(jsonc, ROUNDS),
	       median(ratio, ROUNDS));
}

static void row_plain(const char *bench, encode_fn encode, const struct input *input)
{
	_cleanup_(freep) char *p = malloc(input->len);
	double v[ROUNDS];

	if (!p)
		exit(1);
	input->fill(p, input->len);

	for (size_t r = 0; r < ROUNDS; r++)
		v[r] = gbps(encode, p, input->len, BYTES_OURS);
	printf("{\"bench\":\"%s\",\"variant\":\"%s\",\"gbps\":%.2f}\n", bench, input->name,
	       median(v, ROUNDS));
}

static const struct input inputs[] = {
	{"clean 16KiB", fill_clean, PIECE_LEN},
	{"http+json 16KiB", fill_http, PIECE_LEN},
	{"dense json 16KiB", fill_dense, PIECE_LEN},
	{"mixed latin 16KiB", fill_mixed, PIECE_LEN},
	{"chinese 16KiB", fill_chinese, PIECE_LEN},
	{"random 16KiB", fill_random, PIECE_LEN},
	{"clean 24B", fill_clean, 24},
	{"http+json 200B", fill_http, 200},
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
		row_escape(&inputs[i]);
	/* Validation stops at the first bad byte, so random bytes would measure nothing. */
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
		if (inputs[i].fill != fill_random)
			row_plain("utf8 valid", validate, &inputs[i]);
	row_plain("base64", encode_base64, &inputs[5]);

	buf_done(&out);
	return 0;
}
