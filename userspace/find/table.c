/* SPDX-License-Identifier: MIT */
/* The table is small and looked at once per executable, so it is kept as it was read. */
#include "find/table.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hex.h"
#include "find/library.h"

#define ENTRIES_MAX 65536
#define LINE_MAX_   512
#define FIELDS      4

struct entry {
	struct image_id id;
	enum find_function function;
	enum find_shape shape;
	uint64_t offset;
};

struct find_table {
	size_t n;
	size_t cap;
	struct entry *entries;
};

int find_table_new(struct find_table **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

void find_table_free(struct find_table *table)
{
	if (!table)
		return;
	free(table->entries);
	free(table);
}

static int id_parse(const char *text, struct image_id *ret)
{
	size_t len = strlen(text);

	if (len < 16 || len % 2 || len / 2 > sizeof(ret->bytes))
		return -EINVAL;
	for (size_t i = 0; i < len / 2; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		ret->bytes[i] = (uint8_t)(high << 4 | low);
	}
	ret->len = len / 2;
	return 0;
}

static int offset_parse(const char *text, uint64_t *ret)
{
	char *end;

	if (strncmp(text, "0x", 2) != 0 || !isxdigit((unsigned char)text[2]))
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 16);
	return errno || *end || *ret > INT64_MAX ? -EINVAL : 0;
}

static int entry_add(struct find_table *t, const struct entry *e)
{
	if (t->n == ENTRIES_MAX)
		return -E2BIG;
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct entry *entries = reallocarray(t->entries, cap, sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		t->entries = entries;
		t->cap = cap;
	}
	t->entries[t->n++] = *e;
	return 0;
}

static size_t fields_split(char *line, char *ret[FIELDS + 1])
{
	static const char space[] = " \t\r\n";
	size_t n = 0;
	char *save = NULL;

	for (char *word = strtok_r(line, space, &save); word && n <= FIELDS;
	     word = strtok_r(NULL, space, &save))
		ret[n++] = word;
	return n;
}

static int line_take(struct find_table *t, char *line, const char *path, unsigned int number,
		     struct err *e)
{
	char *field[FIELDS + 1];
	struct entry entry = {};
	size_t n;
	int r;

	line[strcspn(line, "#")] = '\0';
	n = fields_split(line, field);
	if (n == 0)
		return 0;
	if (n != FIELDS)
		return err_set(e, -EINVAL,
			       "%s, line %u: expected `build-id function shape file-offset`", path,
			       number);
	if (id_parse(field[0], &entry.id) < 0)
		return err_set(e, -EINVAL,
			       "%s, line %u: \"%s\" is not a build id: 16 to 64 hex digits", path,
			       number, field[0]);
	if (find_function_parse(field[1], &entry.function) < 0)
		return err_set(e, -EINVAL,
			       "%s, line %u: \"%s\" is not a function: write, read, handshake, "
			       "seal or open",
			       path, number, field[1]);
	if (find_shape_parse(field[2], &entry.shape) < 0)
		return err_set(e, -EINVAL,
			       "%s, line %u: \"%s\" is not a shape, such as ret-int or aead", path,
			       number, field[2]);
	if (offset_parse(field[3], &entry.offset) < 0)
		return err_set(e, -EINVAL,
			       "%s, line %u: \"%s\" is not a file offset, such as 0x311d660", path,
			       number, field[3]);

	r = entry_add(t, &entry);
	return r < 0 ? err_set(e, r, "%s, line %u: too many lines", path, number) : 0;
}

int find_table_load(struct find_table *table, const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_(fclosep) FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char line[LINE_MAX_];
	struct stat st;
	int r = 0;

	if (!f) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return err_set(e, r, "%s: %s", path, strerror(-r));
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: not a regular file", path);

	for (unsigned int number = 1; r == 0 && fgets(line, sizeof(line), f); number++) {
		if (!strchr(line, '\n') && strlen(line) == sizeof(line) - 1)
			return err_set(e, -EINVAL, "%s, line %u: too long", path, number);
		r = line_take(table, line, path, number, e);
	}
	return r;
}

static int is_table(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return d->d_name[0] != '.' && len > 4 && strcmp(d->d_name + len - 4, ".txt") == 0;
}

int find_table_load_directory(struct find_table *table, const char *path, struct err *e)
{
	struct dirent **names = NULL;
	char file[PATH_MAX];
	int n = scandir(path, &names, is_table, alphasort), r = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : err_set(e, -errno, "%s: %s", path, strerror(errno));

	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (r == 0)
			r = find_table_load(table, file, e);
		free(names[i]);
	}
	free(names);
	return r;
}

static bool same_id(const struct image_id *a, const struct image_id *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

int find_table_look(const struct find_table *table, struct image *im, struct find_result *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < table->n; i++) {
		const struct entry *e = &table->entries[i];

		if (ret->id.len == 0 || !same_id(&e->id, &ret->id))
			continue;
		if (ret->n_libraries == 0)
			r = find_library_add(ret, LIBRARY_TABLE, "");
		if (r == 0)
			r = find_offset_add(ret, im, e->function, e->shape, e->offset);
	}
	if (r < 0) {
		find_sites_clear(ret);
		return r == -ENOENT ? -ESTALE : r;
	}
	return ret->n > 0 ? 0 : -ENOENT;
}
