/* SPDX-License-Identifier: MIT */
#include "source/section.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/btf.h>

#include <agentsight/control.h>

#include "base/cleanup.h"
#include "source/btf.h"

enum number {
	NUMBER_NONE,
	NUMBER_FIRST,
	NUMBER_ITER_TASK = NUMBER_FIRST,
	NUMBER_ITER_TASK_FILE,
	NUMBER_ITER_MAP_ELEM,
	NUMBER_SYS_EXIT,
	NUMBER_TCP_SENDMSG,
	NUMBER_CAST,
	NUMBER_TASK,
};

/* The kernel is the same for all who ask. */
static struct btf_number numbers[] = {
	[NUMBER_ITER_TASK] = {.name = "bpf_iter_task", .kind = BTF_KIND_FUNC},
	[NUMBER_ITER_TASK_FILE] = {.name = "bpf_iter_task_file", .kind = BTF_KIND_FUNC},
	[NUMBER_ITER_MAP_ELEM] = {.name = "bpf_iter_bpf_map_elem", .kind = BTF_KIND_FUNC},
	[NUMBER_SYS_EXIT] = {.name = "btf_trace_sys_exit", .kind = BTF_KIND_TYPEDEF},
	[NUMBER_TCP_SENDMSG] = {.name = "tcp_sendmsg", .kind = BTF_KIND_FUNC},
	[NUMBER_CAST] = {.name = "bpf_rdonly_cast", .kind = BTF_KIND_FUNC},
	[NUMBER_TASK] = {.name = "task_struct", .kind = BTF_KIND_STRUCT},
};

static uint32_t task_type; /* 0: no casts */

struct btf_number *section_numbers(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(numbers) - NUMBER_FIRST;
	return numbers + NUMBER_FIRST;
}

/* ---- casts ---- */

#define CALL(number)                                        \
	{                                                   \
		.code = BPF_JMP | BPF_CALL, .imm = (number) \
	}
#define CALL_KERNEL(id)                                                                            \
	{                                                                                          \
		.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_KFUNC_CALL, .imm = (int32_t)(id) \
	}
#define COPY(to, from)                                                                  \
	{                                                                               \
		.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (to), .src_reg = (from) \
	}
#define SET(to, value)                                                                        \
	{                                                                                     \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (to), .imm = (int32_t)(value) \
	}
#define EXIT                               \
	{                                  \
		.code = BPF_JMP | BPF_EXIT \
	}

/* Not without a compiler in the kernel, for one. */
static bool cast_works(void)
{
	const struct bpf_insn insns[] = {
		CALL(BPF_FUNC_get_current_task_btf),
		COPY(BPF_REG_1, BPF_REG_0),
		SET(BPF_REG_2, numbers[NUMBER_TASK].id),
		CALL_KERNEL(numbers[NUMBER_CAST].id),
		SET(BPF_REG_0, 0),
		EXIT,
	};
	_cleanup_(closep) int fd = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "cast", "GPL", insns,
						 ARRAY_SIZE(insns), NULL);

	return fd >= 0;
}

static bool is_cast(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_CALL) && !insn->src_reg && insn->imm == AS_CALL_CAST;
}

static size_t next_cast(const struct bpf_insn *insns, size_t at, size_t n)
{
	while (at < n && !is_cast(&insns[at]))
		at++;
	return at;
}

static int put_casts(struct bpf_program *prog)
{
	const struct bpf_insn call = CALL_KERNEL(numbers[NUMBER_CAST].id);
	const struct bpf_insn *from = bpf_program__insns(prog);
	size_t n = bpf_program__insn_cnt(prog), at = next_cast(from, 0, n);
	_cleanup_(freep) struct bpf_insn *insns = NULL;

	if (at == n)
		return 0;
	insns = malloc(n * sizeof(*insns));
	if (!insns)
		return -ENOMEM;
	memcpy(insns, from, n * sizeof(*insns));
	for (; at < n; at = next_cast(insns, at, n))
		insns[at] = call;
	return bpf_program__set_insns(prog, insns, n);
}

/* ---- attaching ---- */

/*
 * As libbpf does it for the same sections: whoever has the library in his program has his own programs
 * handled here, too.
 */

/* What follows the first '/' of the section's name. */
static const char *hook_of(const struct bpf_program *prog)
{
	return strchr(bpf_program__section_name(prog), '/') + 1;
}

static int attached(struct bpf_link *link, struct bpf_link **ret)
{
	*ret = link;
	return link ? 0 : -errno;
}

static int attach_raw_tp(const struct bpf_program *prog, long cookie, struct bpf_link **ret)
{
	return attached(bpf_program__attach_raw_tracepoint(prog, hook_of(prog)), ret);
}

static int attach_tp(const struct bpf_program *prog, long cookie, struct bpf_link **ret)
{
	char category[64], name[128];

	if (sscanf(hook_of(prog), "%63[^/]/%127s", category, name) != 2)
		return -EINVAL;
	return attached(bpf_program__attach_tracepoint(prog, category, name), ret);
}

static int attach_function(const struct bpf_program *prog, bool returns, struct bpf_link **ret)
{
	LIBBPF_OPTS(bpf_kprobe_opts, opts, .retprobe = returns);
	char name[128];
	long offset = 0;

	if (sscanf(hook_of(prog), "%127[a-zA-Z0-9_.]+%li", name, &offset) < 1)
		return -EINVAL;
	opts.offset = (size_t)offset;
	return attached(bpf_program__attach_kprobe_opts(prog, name, &opts), ret);
}

static int attach_kprobe(const struct bpf_program *prog, long cookie, struct bpf_link **ret)
{
	return attach_function(prog, false, ret);
}

static int attach_kretprobe(const struct bpf_program *prog, long cookie, struct bpf_link **ret)
{
	return attach_function(prog, true, ret);
}

static int attach_iter(const struct bpf_program *prog, long cookie, struct bpf_link **ret)
{
	return attached(bpf_program__attach_iter(prog, NULL), ret);
}

static int attach_typed(const struct bpf_program *prog, long cookie, struct bpf_link **ret)
{
	return attached(bpf_program__attach_trace(prog), ret);
}

/* The section does not say where to. */
static int attach_none(const struct bpf_program *prog, long cookie, struct bpf_link **ret)
{
	*ret = NULL;
	return 0;
}

/* ---- sections ---- */

/*
 * Those of one number of the kernel are no tracing programs before they are prepared: an object that has such a one
 * makes libbpf read types.
 */
static const struct section {
	const char *name;
	enum number number; /* that programs are made for */
	enum bpf_prog_type type;
	enum bpf_attach_type attach_type;
	libbpf_prog_attach_fn_t attach;
} sections[] = {
	{"iter/task", NUMBER_ITER_TASK, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_ITER, attach_iter},
	{"iter/task_file", NUMBER_ITER_TASK_FILE, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_ITER,
	 attach_iter},
	{"iter/bpf_map_elem", NUMBER_ITER_MAP_ELEM, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_ITER,
	 attach_iter},
	{"tp_btf/sys_exit", NUMBER_SYS_EXIT, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_RAW_TP,
	 attach_typed},
	{"fexit/tcp_sendmsg", NUMBER_TCP_SENDMSG, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_FEXIT,
	 attach_typed},
	{"raw_tp/", NUMBER_NONE, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, attach_raw_tp},
	{"tp/", NUMBER_NONE, BPF_PROG_TYPE_TRACEPOINT, 0, attach_tp},
	{"uprobe", NUMBER_NONE, BPF_PROG_TYPE_KPROBE, 0, attach_none},
	{"uretprobe", NUMBER_NONE, BPF_PROG_TYPE_KPROBE, 0, attach_none},
	{"kprobe/", NUMBER_NONE, BPF_PROG_TYPE_KPROBE, 0, attach_kprobe},
	{"kretprobe/", NUMBER_NONE, BPF_PROG_TYPE_KPROBE, 0, attach_kretprobe},
	{"kretprobe.multi", NUMBER_NONE, BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI, attach_none},
};

/* Behind its relocation: functions that it calls are part of it by now. */
static int prepare(struct bpf_program *prog, struct bpf_prog_load_opts *opts, long which)
{
	const struct section *s = &sections[which];
	int r = task_type ? put_casts(prog) : 0;

	if (r < 0 || !s->number)
		return r;
	opts->expected_attach_type = s->attach_type;
	opts->attach_btf_id = numbers[s->number].id;
	return bpf_program__set_type(prog, BPF_PROG_TYPE_TRACING);
}

static void register_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		const struct section *s = &sections[i];
		LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .cookie = (long)i,
			    .prog_prepare_load_fn = prepare, .prog_attach_fn = s->attach);

		if (s->number ? numbers[s->number].id : task_type)
			libbpf_register_prog_handler(s->name, s->type, s->attach_type, &opts);
	}
}

uint32_t section_register(bool casts)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static bool registered;

	pthread_mutex_lock(&lock);
	if (!registered) {
		if (casts && numbers[NUMBER_CAST].id && numbers[NUMBER_TASK].id && cast_works())
			task_type = numbers[NUMBER_TASK].id;
		register_all();
		registered = true;
	}
	pthread_mutex_unlock(&lock);
	return task_type;
}
