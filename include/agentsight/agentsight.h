/* SPDX-License-Identifier: MIT */
/*
 * libagentsight: start a command, or attach to processes, and read what they do.
 *
 *	struct agentsight_options opt = AGENTSIGHT_OPTIONS_INIT;
 *	struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;
 *	struct agentsight *a;
 *	char error[256];
 *
 *	if (agentsight_start(&opt, argv, &a, error, sizeof(error)) < 0)
 *		errx(1, "%s", error);
 *	while (agentsight_next(a, -1, &ev) > 0)
 *		fwrite(ev.json, 1, ev.json_len, stdout);
 *	agentsight_free(a);
 *
 * Each object stands for itself: several may live in one program, each used by one thread at a time. There is no
 * state outside of them, nothing is printed, no signal is handled and none is blocked. No limit is raised, but that
 * of locked memory before Linux 5.11, which BPF maps count as there. Functions
 * return 0 or more, or a negative errno. As root the kernel tells; without, /proc, and the same
 * events come with fewer members.
 *
 * The ABI is stable: structs only grow at their end, and say in `size` how long they are.
 */
#ifndef AGENTSIGHT_AGENTSIGHT_H
#define AGENTSIGHT_AGENTSIGHT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct agentsight;

enum agentsight_flags {
	AGENTSIGHT_HOLD = 1 << 0,        /* the command waits for agentsight_release() */
	AGENTSIGHT_NO_CHILDREN = 1 << 1, /* only the processes themselves */
	AGENTSIGHT_THREADS = 1 << 2,     /* a sample of every thread */
	AGENTSIGHT_SYSCALLS = 1 << 3,    /* sums of system calls; needs root */
	AGENTSIGHT_OFFCPU = 1 << 4,      /* sums of waits; needs root */
	AGENTSIGHT_GPU = 1 << 5,
	AGENTSIGHT_PRESSURE = 1 << 6,
	AGENTSIGHT_FILES = 1 << 7,        /* what it opens, reads, writes; needs root */
	AGENTSIGHT_TLS = 1 << 8,          /* plaintext, HTTP and language models; needs root */
	AGENTSIGHT_NO_KERNEL = 1 << 9,    /* /proc only, also as root */
	AGENTSIGHT_SINCE_START = 1 << 10, /* trees: sums since the processes started */
	AGENTSIGHT_NO_POLLING = 1 << 11,  /* samples only when asked, and at the end */
};

enum agentsight_pace {
	AGENTSIGHT_PACE_TIME, /* interval_ns for a second, then rising to max_interval_ns at the tenth */
	AGENTSIGHT_PACE_ACTIVITY, /* between the two: closer when much happens */
	AGENTSIGHT_PACE_FIXED,    /* interval_ns */
};

/* All but `size` may be zero. Pointers are borrowed until agentsight_free(). */
struct agentsight_options {
	uint32_t size; /* sizeof(struct agentsight_options) */
	uint32_t flags;
	uint32_t pace;             /* enum agentsight_pace */
	int32_t stdout_fd;         /* of the command; 0: it inherits ours */
	int32_t stderr_fd;         /* the same */
	uint32_t reserved;         /* 0 */
	uint64_t interval_ns;      /* 100 ms */
	uint64_t max_interval_ns;  /* 1 s, or interval_ns if that is longer */
	uint64_t pss_interval_ns;  /* between two looks at PSS and USS; 5 s */
	const char *output;        /* events are written there as well, as JSON lines */
	const char *format;        /* of that file: "agentsight" or "denet" */
	const char *filter;        /* as of --filter */
	const char *const *alerts; /* rules as of --alert, the last one NULL */
	const char *const *env; /* names of variables to tell of each process, the last one NULL */
};
#define AGENTSIGHT_OPTIONS_INIT                           \
	{                                                 \
		.size = sizeof(struct agentsight_options) \
	}

/*
 * What a sample says in numbers: of a process, a tree or a thread. Zero is also what is not known.
 * Sums count from the start of the process; of a tree, see AGENTSIGHT_SINCE_START.
 */
struct agentsight_sample {
	uint32_t size;
	uint32_t pid;
	uint32_t tid;       /* of a thread; else 0 */
	uint32_t processes; /* of a tree; else 1 */
	uint32_t threads;
	uint32_t reserved;
	uint64_t time_ns; /* since the epoch */
	uint64_t interval_ns;
	double cpu_percent; /* 100: one core, since the last sample */
	uint64_t cpu_ns, user_ns, system_ns;
	uint64_t wait_ns; /* for a processor */
	uint64_t rss_kb, pss_kb, uss_kb, swap_kb, vsz_kb, peak_kb;
	uint64_t read_bytes, write_bytes; /* storage; 0 also where /proc does not tell */
	uint64_t rchar, wchar, syscr, syscw;
	uint64_t rx_bytes, tx_bytes;
	uint64_t minor_faults, major_faults;
	uint64_t voluntary_switches, involuntary_switches;
};

/* What it points at is valid until the next call for the same object. */
struct agentsight_event {
	uint32_t size; /* sizeof(struct agentsight_event) */
	uint32_t pid;
	uint64_t time_ns;   /* since the epoch */
	const char *source; /* "process", "system", …: docs/EVENTS.md lists them with their types */
	const char *type;
	const char *json;                       /* one line with its newline, and NUL behind it */
	size_t json_len;                        /* without the NUL */
	const struct agentsight_sample *sample; /* NULL unless this is one */
};
#define AGENTSIGHT_EVENT_INIT                           \
	{                                               \
		.size = sizeof(struct agentsight_event) \
	}

/* "0.1.0" */
const char *agentsight_version(void);

/*
 * Starts @argv, found like by execvp(3); every event since its first instruction will be told. @opt may be
 * NULL. On an error a sentence is left in @error, which may be NULL.
 */
int agentsight_start(const struct agentsight_options *opt, char *const argv[],
		     struct agentsight **ret, char *error, size_t error_len);

/* -ESRCH when one of them is not there. It ends when the last of them has ended. */
int agentsight_attach(const struct agentsight_options *opt, const pid_t *pids, size_t n,
		      struct agentsight **ret, char *error, size_t error_len);

/* Lets a command go that AGENTSIGHT_HOLD has held. -ENOENT and others when it cannot be started. */
int agentsight_release(struct agentsight *a, char *error, size_t error_len);

/*
 * The next event: 1. Waits for it up to @timeout_ms (-1: as long as it takes): 0 when none came. -ENODATA
 * when the run has ended and all of it was told.
 */
int agentsight_next(struct agentsight *a, int timeout_ms, struct agentsight_event *ret);

/* For poll(2): readable when agentsight_next() has something to do. -1 once the run has ended. */
int agentsight_fd(const struct agentsight *a);

/* Samples now; the rows come with agentsight_next(). -ESHUTDOWN when the run has ended. */
int agentsight_sample(struct agentsight *a);

/* Ends the run; what was on its way still comes with agentsight_next(). The command goes on. */
void agentsight_stop(struct agentsight *a);

pid_t agentsight_pid(const struct agentsight *a); /* of the command; the first attached */

/* 1 and the status as of wait(2) when the command has ended, else 0. -ECHILD: it has, and this program ignores SIGCHLD. */
int agentsight_status(const struct agentsight *a, int *status);

/* Statistics of the run so far as JSON (docs/STATS.md), valid until the next call; NULL: no memory. */
const char *agentsight_summary(struct agentsight *a);

/* The same of a recording. To be freed with free(3). */
int agentsight_summary_of_file(const char *path, char **ret, char *error, size_t error_len);

/* Ends the run if it has not ended. @a may be NULL. */
void agentsight_free(struct agentsight *a);

#ifdef __cplusplus
}
#endif

#endif
