/* SPDX-License-Identifier: MIT */
#include "llm/price.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define PRICES_FILE_MAX (1U << 20)
#define PRICES_DEFAULT  AGENTSIGHT_DATADIR "/prices.txt"

/* A price in pico-USD per token is a price in USD per million tokens with six decimals. */
#define DECIMALS  6
#define PRICE_MAX ((uint64_t)1000000 * 1000000)

enum column { INPUT, OUTPUT, CACHE_READ, CACHE_WRITE, CACHE_WRITE_1H, N_COLUMNS };

struct row {
	char *provider;
	char *model;
	size_t provider_weight; /* how much of it is no wildcard */
	size_t model_weight;
	uint64_t above_tokens;
	uint64_t price[N_COLUMNS];
};

struct prices {
	struct row *rows;
	size_t n;
};

int prices_new(struct prices **ret)
{
	struct prices *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	*ret = t;
	return 0;
}

void prices_free(struct prices *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++) {
		free(t->rows[i].provider);
		free(t->rows[i].model);
	}
	free(t->rows);
	free(t);
}

/* ---- reading ---- */

static bool read_digits(const char **p, uint64_t *n)
{
	const char *from = *p;

	for (; **p >= '0' && **p <= '9'; (*p)++) {
		if (__builtin_mul_overflow(*n, 10, n) ||
		    __builtin_add_overflow(*n, (uint64_t)(**p - '0'), n))
			return false;
	}
	return *p > from;
}

/* "12.5" in millionths. */
static bool read_price(const char *word, uint64_t *ret)
{
	uint64_t n = 0, unit = PRICE_MAX / 1000000;

	if (!read_digits(&word, &n) || n > PRICE_MAX / unit)
		return false;
	n *= unit;
	if (*word == '.') {
		for (word++; *word >= '0' && *word <= '9' && unit > 1; word++) {
			unit /= 10;
			n += (uint64_t)(*word - '0') * unit;
		}
	}
	*ret = n;
	return !*word;
}

static size_t weight_of(const char *pattern)
{
	size_t n = 0;

	for (; *pattern; pattern++)
		n += *pattern != '*' && *pattern != '?';
	return n;
}

static const char *const column_names[N_COLUMNS] = {"input", "output", "cache_read", "cache_write",
						    "cache_write_1h"};

/* The columns of a line; NULL or what is wrong. */
static const char *read_prices(struct row *row, char **save, char *why, size_t size)
{
	size_t i = 0;
	char *word;

	for (; (word = strtok_r(NULL, " \t\r", save)); i++) {
		if (i == 0 && *word == '>' && !row->above_tokens) {
			const char *digits = word + 1;

			if (!read_digits(&digits, &row->above_tokens) || *digits ||
			    !row->above_tokens)
				return "what follows > must be a number of tokens";
			i--;
			continue;
		}
		if (i == N_COLUMNS)
			return "more than five prices";
		if (i > OUTPUT && !strcmp(word, "-")) {
			row->price[i] = row->price[INPUT];
		} else if (!read_price(word, &row->price[i])) {
			snprintf(why, size, "%s: '%.40s' is no price in USD per million tokens",
				 column_names[i], word);
			return why;
		}
	}
	if (i < CACHE_WRITE_1H)
		return "provider, model, input, output, cache_read and cache_write must all be "
		       "there";
	if (i == CACHE_WRITE_1H)
		row->price[CACHE_WRITE_1H] = row->price[CACHE_WRITE];
	return NULL;
}

static int add_row(struct prices *t, struct row row, const char *provider, const char *model)
{
	/* doubles when the number is a power of two, from 1 on */
	if (!(t->n & (t->n - 1))) {
		void *p = reallocarray(t->rows, t->n ? 2 * t->n : 1, sizeof(*t->rows));

		if (!p)
			return -ENOMEM;
		t->rows = p;
	}
	row.provider = strdup(provider);
	row.model = strdup(model);
	row.provider_weight = weight_of(provider);
	row.model_weight = weight_of(model);
	if (!row.provider || !row.model) {
		free(row.provider);
		free(row.model);
		return -ENOMEM;
	}
	t->rows[t->n++] = row;
	return 0;
}

static int read_line(struct prices *t, const char *name, unsigned number, char *line,
		     struct err *err)
{
	char *comment = strchr(line, '#'), *save, *provider, *model;
	const char *wrong;
	struct row row = {0};
	char why[128];

	if (comment)
		*comment = '\0';
	provider = strtok_r(line, " \t\r", &save);
	if (!provider)
		return 0;
	model = strtok_r(NULL, " \t\r", &save);
	if (!model)
		return err_set(err, -EINVAL, "%s:%u: '%s' is followed by no model", name, number,
			       provider);
	wrong = read_prices(&row, &save, why, sizeof(why));
	if (wrong)
		return err_set(err, -EINVAL, "%s:%u: %s", name, number, wrong);
	return add_row(t, row, provider, model);
}

int prices_parse(struct prices *t, const char *name, const char *text, size_t n, struct err *err)
{
	_cleanup_(freep) char *copy = strndup(text, n);
	unsigned number = 0;
	char *next, *line;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	if (strlen(copy) < n)
		return err_set(err, -EINVAL, "%s: holds a NUL byte; it is no text", name);
	for (next = copy; !r && (line = strsep(&next, "\n"));)
		r = read_line(t, name, ++number, line, err);
	return r;
}

int prices_load(struct prices *t, const char *path, struct err *err)
{
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	_cleanup_(freep) char *text = malloc(PRICES_FILE_MAX + 1);
	size_t n;

	if (!f)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!text)
		return -ENOMEM;
	n = fread(text, 1, PRICES_FILE_MAX + 1, f);
	if (ferror(f))
		return err_set(err, -EIO, "%s: cannot be read", path);
	if (n > PRICES_FILE_MAX)
		return err_set(err, -EFBIG, "%s: longer than 1 MiB; it is no price file", path);
	return prices_parse(t, path, text, n, err);
}

static int load_if_there(struct prices *t, const char *path, struct err *err)
{
	int r = prices_load(t, path, err);

	return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

int prices_load_default(struct prices *t, const char *system_path, struct err *err)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	_cleanup_(freep) char *path = NULL;
	int r = load_if_there(t, system_path ? system_path : PRICES_DEFAULT, err);

	if (r < 0)
		return r;
	if (config && *config == '/')
		r = asprintf(&path, "%s/agentsight/prices.txt", config);
	else if (home && *home == '/')
		r = asprintf(&path, "%s/.config/agentsight/prices.txt", home);
	else
		return 0;
	if (r < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return load_if_there(t, path, err);
}

/* ---- the sum ---- */

static bool better(const struct row *a, const struct row *b)
{
	if (a->model_weight != b->model_weight)
		return a->model_weight > b->model_weight;
	if (a->provider_weight != b->provider_weight)
		return a->provider_weight > b->provider_weight;
	return a->above_tokens >= b->above_tokens;
}

static const struct row *find(const struct prices *t, const char *provider, const char *model,
			      uint64_t prompt)
{
	const struct row *best = NULL;

	for (size_t i = 0; i < t->n; i++) {
		const struct row *row = &t->rows[i];

		if (row->above_tokens && prompt <= row->above_tokens)
			continue;
		if (fnmatch(row->model, model, 0) || fnmatch(row->provider, provider, 0))
			continue;
		if (!best || better(row, best))
			best = row;
	}
	return best;
}

/* a - b, or 0: numbers that contradict one another must not become an immense sum */
static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

bool prices_cost(const struct prices *t, const char *provider, const char *model,
		 const struct llm_usage *u, bool input_without_cache, uint64_t *ret_nano_usd)
{
	uint64_t hour = MIN(u->cache_write, u->cache_write_1h);
	uint64_t fresh = u->input;
	uint64_t prompt = fresh;
	const struct row *row;
	unsigned __int128 pico;

	if (input_without_cache) {
		if (__builtin_add_overflow(prompt, u->cache_read, &prompt) ||
		    __builtin_add_overflow(prompt, u->cache_write, &prompt))
			prompt = UINT64_MAX;
	} else {
		fresh = less(less(fresh, u->cache_read), u->cache_write);
	}
	row = find(t, provider, model, prompt);
	if (!row)
		return false;
	pico = (unsigned __int128)fresh * row->price[INPUT];
	pico += (unsigned __int128)u->output * row->price[OUTPUT];
	pico += (unsigned __int128)u->cache_read * row->price[CACHE_READ];
	pico += (unsigned __int128)(u->cache_write - hour) * row->price[CACHE_WRITE];
	pico += (unsigned __int128)hour * row->price[CACHE_WRITE_1H];
	pico /= 1000;
	*ret_nano_usd = pico > UINT64_MAX ? UINT64_MAX : (uint64_t)pico;
	return true;
}
