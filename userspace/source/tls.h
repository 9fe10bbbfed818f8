/* SPDX-License-Identifier: MIT */
/*
 * Plaintext of TLS sessions: finds the files that hold a TLS library, at the start and as they are
 * mapped later, and probes each once, for every process that uses it. The kernel programs decide who
 * is watched.
 */
#ifndef AGENTSIGHT_SOURCE_TLS_H
#define AGENTSIGHT_SOURCE_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include <agentsight/events.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "source/bpf.h"

struct tls_source;

/* Loads the programs. */
int tls_source_open(struct bpf_shared *s, struct tls_source **ret, struct err *e);

/*
 * Probes the system's libraries: from now on there are events, so whoever names their libraries and
 * connections is to be in place. What else runs is looked at by tls_source_poll(), slice by slice.
 */
void tls_source_start(struct tls_source *t);

/* Could tls_source_file() find anything there at all? An error says why not; nothing is searched yet. */
int tls_source_check_file(const char *path, struct err *e);

/* Probes a file that the user named; an error says why it cannot be. */
int tls_source_file(struct tls_source *t, const char *path, struct err *e);

/*
 * A program that will run, by name or path: it is searched before, and behind a script its interpreter. A
 * program that cannot be found is found when it runs.
 */
void tls_source_expect(struct tls_source *t, const char *name);

/* Are executables being searched? Then tls_source_poll() is to be called every few milliseconds. */
bool tls_source_busy(const struct tls_source *t);

/* For the network family: descriptors of the maps `tls_threads` and `tls_sessions`, borrowed. */
int tls_source_threads(const struct tls_source *t);
int tls_source_sessions(const struct tls_source *t);

/* Looks at what was mapped since. True while more is waiting: call again soon. */
bool tls_source_poll(struct tls_source *t);

/* A watched process runs a new program. */
void tls_source_exec(struct tls_source *t, const struct as_exec *e);

/* A process that was running before is watched from now on. */
void tls_source_process(struct tls_source *t, uint32_t tgid);

/*
 * About once a second: tells of files that somebody writes into, from which the probes were taken out before he
 * could; probes them anew when he is done. Gives files back that nobody uses any more.
 */
void tls_source_tick(struct tls_source *t, uint64_t boot_ns);

/* Of the files that can be probed at the same time. */
struct tls_counts {
	uint64_t given_back; /* nobody used them any more */
	uint64_t refused;    /* there were too many */
};

struct tls_counts tls_source_counts(const struct tls_source *t);

/* Takes all probes out; before the rings are drained for the last time. */
void tls_source_finish(struct tls_source *t);
void tls_source_free(struct tls_source *t);
DEFINE_FREEP(struct tls_source *, tls_source_free)

/*
 * The base name of the file that an event's `library` stands for, valid until the next call; NULL when it is
 * not known. Kernels without probe cookies send 0: then @tgid decides. The file is taken for used.
 */
const char *tls_source_library(struct tls_source *t, uint32_t number, uint32_t tgid);

#endif
