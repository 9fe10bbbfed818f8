/* SPDX-License-Identifier: MIT */
/* Prints one JSON line: what looking for secrets costs per byte of HTTP and JSON without any. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "stage/secrets.h"

#define TEXT_LEN 16384
#define ROUNDS   20000

static const char head[] =
	"POST /v1/messages?beta=true HTTP/1.1\r\nHost: api.anthropic.com\r\nUser-Agent: "
	"claude-cli/1.0.83 "
	"(external, cli)\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
	"anthropic-version: 2023-06-01\r\nx-stainless-retry-count: 0\r\nContent-Length: "
	"16000\r\n\r\n";

static const char body[] =
	"{\"model\":\"claude-sonnet-4\",\"max_tokens\":8192,\"stream\":true,\"messages\":[{"
	"\"role\":\"user\","
	"\"content\":[{\"type\":\"text\",\"text\":\"I'll look at the function that parses the "
	"request. Could "
	"you read src/http/parser.c, and explain why the length is checked twice? The key is in "
	"the "
	"risk-free "
	"path.\\n\\nThanks!\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\","
	"\"id\":\"toolu_01A09q90qw90lq917835lq9\",\"name\":\"read_file\",\"input\":{\"path\":"
	"\"src/http/parser.c\",\"offset\":120,\"description\":\"Reads lines\"}}]}]},\n";

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(void)
{
	static uint8_t text[TEXT_LEN];
	struct secret_span spans[16];
	struct secret_scan st = {0};
	size_t len = sizeof(head) - 1, found = 0, i;
	double start, best = 1e9, ns;

	memcpy(text, head, len);
	for (; len < TEXT_LEN; len += i) {
		i = sizeof(body) - 1;
		if (i > TEXT_LEN - len)
			i = TEXT_LEN - len;
		memcpy(text + len, body, i);
	}

	for (int round = 0; round < 5; round++) {
		start = now_s();
		for (i = 0; i < ROUNDS / 5; i++)
			found += secrets_mask(&st, text, TEXT_LEN, spans, 16, NULL);
		ns = (now_s() - start) * 1e9 / ((double)TEXT_LEN * ROUNDS / 5);
		best = ns < best ? ns : best;
	}

	printf("{\"bench\":\"secrets\",\"text_bytes\":%d,\"ns_per_byte\":%.3f,\"spans\":%zu}\n",
	       TEXT_LEN, best, found);
	return found != 0;
}
