/* SPDX-License-Identifier: MIT */
/*
 * The kernel side as user space sees it: shared maps, one object per family, hooks with ladders,
 * and the counters that close the ledger.
 */
#ifndef AGENTSIGHT_SOURCE_BPF_H
#define AGENTSIGHT_SOURCE_BPF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <agentsight/control.h>

#include "base/err.h"
#include "source/capabilities.h"

struct bpf_map;
struct bpf_object;
struct bpf_program;
struct bpf_link;
struct bpf_object_open_opts;

#define AS_KERNEL_BTF "/sys/kernel/btf/vmlinux"

/* One more than the last number that a processor may have: there can be gaps between @possible ones. */
uint32_t bpf_cpu_numbers(int possible);

/* Are processes numbered here as the kernel's programs number them? Not in a container with numbers of its own. */
bool bpf_pids_are_ours(void);

/* Sizes in bytes, powers of two and multiples of the page size. */
struct bpf_options {
	/* self_tgid and page_kb are filled in, and accounts with by_process */
	struct as_config cfg;
	size_t ring_events_size;
	size_t ring_data_size;
};

/* The shared maps; families borrow them. Hooks and capabilities may be added from several threads. */
struct bpf_shared;

/* Creates the shared maps. -EPERM and -EACCES when privilege is missing. */
int bpf_shared_open(const struct bpf_options *opt, struct bpf_shared **ret, struct err *e);
void bpf_shared_free(struct bpf_shared *s);

/* What objects are opened with, so that they do not each go through all types of the kernel. */
const struct bpf_object_open_opts *bpf_shared_open_opts(const struct bpf_shared *s);

const struct as_config *bpf_shared_config(const struct bpf_shared *s);
int bpf_shared_ring_events(const struct bpf_shared *s);
int bpf_shared_ring_data(const struct bpf_shared *s);
size_t bpf_shared_ring_events_size(const struct bpf_shared *s);
size_t bpf_shared_ring_data_size(const struct bpf_shared *s);
int bpf_shared_procs(const struct bpf_shared *s);
int bpf_shared_names(const struct bpf_shared *s);
volatile struct as_shared *bpf_shared_memory(const struct bpf_shared *s);

/* The kernel's half of the ledger: sums over all processors, by event type. */
int bpf_shared_counts(const struct bpf_shared *s, struct as_count ret[AS_EV_COUNT]);

/*
 * Between opening and loading an object: gives it the shared maps and the configuration (`cfg` in
 * .rodata), and sizes `scratch` to the number of possible processors.
 */
int bpf_family_prepare(struct bpf_shared *s, struct bpf_object *obj, struct err *e);

/*
 * Attaches @prog and keeps the link until bpf_shared_detach(). On success and on failure a capability is
 * recorded under @family and @hook. Returns 0 or the error of the attach.
 */
int bpf_hook_attach(struct bpf_shared *s, const char *family, const char *hook,
		    const char *mechanism, struct bpf_program *prog);

/* The same for a classic tracepoint, with tracefs mounted or not. */
int bpf_hook_attach_tracepoint(struct bpf_shared *s, const char *family, const char *hook,
			       struct bpf_program *prog, const char *category, const char *name);

/* Keeps a link that the caller made, for the common detach. Takes ownership. */
int bpf_hook_keep(struct bpf_shared *s, struct bpf_link *link, struct bpf_program *prog);

/* Keeps a program in the sum of missed runs, for hooks attached by other means. Borrows @prog_fd. */
int bpf_hook_watch(struct bpf_shared *s, int prog_fd);

/*
 * For what outlives its object, which is closed once its programs are attached: libbpf keeps all of their
 * instructions and types. Links, and the hooks above, do so by themselves.
 */

/* A descriptor of its own for the caller, of a program or a map. */
int bpf_keep_fd(int fd, int *ret);

struct bpf_kept_map {
	const struct bpf_map *map;
	int *fd;
};

/* The same for several maps; those before one that fails are kept. */
int bpf_keep_maps(const struct bpf_kept_map *maps, size_t n);

/*
 * The variables (.bss, of less than a page) of a loaded object, or NULL with errno. The caller unmaps them with
 * munmap().
 */
void *bpf_keep_variables(const struct bpf_map *bss);

/* Can maps be read? -EPERM where that takes a capability which this thread has not. */
int bpf_shared_try(const struct bpf_shared *s);

/* A process of ours, not to be watched when all are. */
void bpf_shared_helper(struct bpf_shared *s, uint32_t tgid);

/* Records a capability. @family and @mechanism must be literals; @mechanism and @reason may be NULL. */
__attribute__((format(printf, 6, 7))) void bpf_capability(struct bpf_shared *s, const char *family,
							  const char *hook, const char *mechanism,
							  enum capability_state state,
							  const char *reason, ...);
const struct capability *bpf_capabilities(struct bpf_shared *s, size_t *ret_n);

/* See capabilities_told(). */
size_t bpf_capabilities_told(struct bpf_shared *s, size_t n);

/* How many were not recorded: too many at once. */
uint64_t bpf_capabilities_refused(struct bpf_shared *s);

/*
 * Closes all links, those that take long (perf events) in parallel, and calls @meanwhile (may be NULL) while
 * they wait for the kernel.
 */
void bpf_shared_detach(struct bpf_shared *s, void (*meanwhile)(void *context), void *context);

/* Runs that the kernel skipped (`recursion_misses`), summed over all programs. */
uint64_t bpf_shared_missed(struct bpf_shared *s);

#endif
