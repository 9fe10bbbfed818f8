/* SPDX-License-Identifier: MIT */
/*
 * Known executables: lines of `build-id function shape file-offset`, `#` begins a comment. Users add to it
 * without rebuilding anything.
 */
#ifndef AGENTSIGHT_FIND_TABLE_H
#define AGENTSIGHT_FIND_TABLE_H

#include "base/cleanup.h"
#include "base/err.h"
#include "find/find.h"

struct find_table;

int find_table_new(struct find_table **ret);
void find_table_free(struct find_table *table);
DEFINE_FREEP(struct find_table *, find_table_free)

/* Adds a file. An error names the line; lines before it stay. */
int find_table_load(struct find_table *table, const char *path, struct err *e);

/* Adds every *.txt of a directory, by name; a directory that is not there is empty. */
int find_table_load_directory(struct find_table *table, const char *path, struct err *e);

/* 0 with the sites of this build id, -ENOENT when it is not known, -ESTALE when a site is not in code. */
int find_table_look(const struct find_table *table, struct image *im, struct find_result *ret);

#endif
