/* SPDX-License-Identifier: MIT */
#include "source/iter.h"

#include <pthread.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "source/btf.h"

/* In the order of `sections`. The kernel is the same for all who ask. */
static struct btf_function functions[] = {
	{.name = "bpf_iter_task"},
	{.name = "bpf_iter_task_file"},
	{.name = "bpf_iter_bpf_map_elem"},
};

static const char *const sections[ARRAY_SIZE(functions)] = {
	"iter/task",
	"iter/task_file",
	"iter/bpf_map_elem",
};

struct btf_function *iter_functions(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(functions);
	return functions;
}

/* Only now it becomes what it is: an object that has a program of that type makes libbpf read types. */
static int prepare(struct bpf_program *prog, struct bpf_prog_load_opts *opts, long id)
{
	opts->expected_attach_type = BPF_TRACE_ITER;
	opts->attach_btf_id = (__u32)id;
	return bpf_program__set_type(prog, BPF_PROG_TYPE_TRACING);
}

static void register_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .cookie = functions[i].id,
			    .prog_prepare_load_fn = prepare);

		if (functions[i].id)
			libbpf_register_prog_handler(sections[i], BPF_PROG_TYPE_RAW_TRACEPOINT,
						     BPF_TRACE_ITER, &opts);
	}
}

void iter_register(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, register_all);
}
