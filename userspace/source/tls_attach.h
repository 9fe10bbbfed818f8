/* SPDX-License-Identifier: MIT */
/*
 * The TLS family's programs, and how they get to places in a file: uprobe multi links where the kernel
 * has them, else one perf event for each end of each function. Programs for Go and for AEAD functions are
 * loaded when the first file needs them.
 */
#ifndef AGENTSIGHT_SOURCE_TLS_ATTACH_H
#define AGENTSIGHT_SOURCE_TLS_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <agentsight/tls.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "source/bpf.h"

#define TLS_PROBES_MAX 160

/* A place in a file. The shape decides whether its return is probed, too. */
struct tls_probe {
	enum as_tls_kind kind;
	enum as_tls_shape shape;
	enum as_tls_function function;
	uint16_t alpn_at; /* struct tls_sites */
	uint64_t offset;
};

struct tls_probes {
	size_t n;
	struct tls_probe list[TLS_PROBES_MAX];
};

struct tls_programs;

/* What holds probes in one file: descriptors. Zeroed: nothing. */
struct tls_links {
	size_t n;
	size_t cap;
	int *fds;
};

int tls_programs_open(struct bpf_shared *s, struct tls_programs **ret, struct err *e);
void tls_programs_free(struct tls_programs *p);
DEFINE_FREEP(struct tls_programs *, tls_programs_free)

/* "uprobe multi link" or "uprobes". */
const char *tls_programs_mechanism(const struct tls_programs *p);

/* Descriptors of maps, borrowed. */
int tls_programs_threads(const struct tls_programs *p);
int tls_programs_sessions(const struct tls_programs *p);

/*
 * Probes the file that @fd is open on; @number is what its events carry. Adds to @links, also when it fails half way:
 * then the caller detaches. Done by the broker once there is one.
 */
int tls_programs_attach(struct tls_programs *p, const struct tls_probes *probes, size_t number,
			int fd, struct tls_links *links, struct err *e);

void tls_links_detach(struct tls_links *links);

/* All of @files at once: each wait for the kernel's grace period is the same one. */
void tls_links_detach_all(struct tls_links *const *files, size_t n);

#endif
