/* SPDX-License-Identifier: MIT */
/* A made-up /proc or /sys: a directory of its own, with the files that a test puts there. */
#ifndef AGENTSIGHT_TESTS_TREE_H
#define AGENTSIGHT_TESTS_TREE_H

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char tree[64];

static inline int tree_make(void)
{
	strcpy(tree, "/tmp/test_tree.XXXXXX");
	return mkdtemp(tree) ? 0 : -1;
}

static inline int tree_remove_entry(const char *path, const struct stat *st, int type,
				    struct FTW *ftw)
{
	return remove(path);
}

static inline int tree_remove(void)
{
	return nftw(tree, tree_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* The path of @name below the tree, in one of a few static buffers. */
static inline const char *tree_path(const char *name)
{
	static char paths[4][4096];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", tree, name);
	return path;
}

static inline void tree_parents(const char *path)
{
	char dir[4096];

	snprintf(dir, sizeof(dir), "%s", path);
	for (char *p = dir + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(dir, 0755);
		*p = '/';
	}
}

static inline void tree_put_bytes(const char *name, const void *p, size_t n)
{
	const char *path = tree_path(name);
	FILE *f;

	tree_parents(path);
	f = fopen(path, "we");
	if (!f || fwrite(p, 1, n, f) != n || fclose(f))
		abort();
}

static inline void tree_put(const char *name, const char *text)
{
	tree_put_bytes(name, text, strlen(text));
}

static inline void tree_link(const char *name, const char *target)
{
	const char *path = tree_path(name);

	tree_parents(path);
	unlink(path);
	if (symlink(target, path))
		abort();
}

static inline void tree_drop(const char *name)
{
	if (remove(tree_path(name)))
		abort();
}

#endif
