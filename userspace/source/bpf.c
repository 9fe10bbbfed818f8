/* SPDX-License-Identifier: MIT */
#include "source/bpf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "source/btf.h"
#include "source/section.h"
#include "source/tracepoint.h"

/* What bpf/lib/maps.bpf.h declares, created once here and given to every object. */
enum shared_map {
	SHARED_RING_EVENTS,
	SHARED_RING_DATA,
	SHARED_LEDGER,
	SHARED_PROCS,
	SHARED_NAMES,
	SHARED_MEMORY,
	SHARED_COUNT,
};

static const struct {
	const char *name;
	enum bpf_map_type type;
	uint32_t key_size, value_size, max_entries, flags;
} map_specs[SHARED_COUNT] = {
	[SHARED_RING_EVENTS] = {"ring_events", BPF_MAP_TYPE_RINGBUF, 0, 0, 0, 0},
	[SHARED_RING_DATA] = {"ring_data", BPF_MAP_TYPE_RINGBUF, 0, 0, 0, 0},
	[SHARED_LEDGER] = {"ledger", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct as_count), 0,
			   BPF_F_MMAPABLE},
	[SHARED_PROCS] = {"procs", BPF_MAP_TYPE_HASH, 4, sizeof(struct as_proc), 65536, 0},
	[SHARED_NAMES] = {"names", BPF_MAP_TYPE_HASH, sizeof(struct as_name), 4, 64, 0},
	[SHARED_MEMORY] = {"shared", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct as_shared), 1,
			   BPF_F_MMAPABLE},
};

#define MAX_HOOKS 96

struct hook {
	struct bpf_link *link; /* NULL when attached by other means */
	int prog_fd;           /* its own */
};

struct bpf_shared {
	struct as_config cfg;
	pthread_mutex_t lock; /* of hooks and capabilities: families load side by side */
	int cpus;             /* possible ones */
	int fds[SHARED_COUNT];
	size_t ring_events_size, ring_data_size;
	int types_fd; /* a short copy of the kernel's types; -1: there is none */
	char types_path[32];
	struct bpf_object_open_opts open_opts;
	struct as_shared *memory;
	struct as_count *ledger; /* a row per processor, of a count per type */
	size_t ledger_bytes;
	struct hook hooks[MAX_HOOKS];
	size_t n_hooks;
	struct capabilities capabilities;
	uint64_t missed_before; /* of programs that are gone */
};

DEFINE_FREEP(struct bpf_shared *, bpf_shared_free)

/* libbpf's warnings matter to who debugs; failures reach the user as capabilities with a reason. */
__attribute__((format(printf, 2, 0))) static int libbpf_log(enum libbpf_print_level level,
							    const char *fmt, va_list ap)
{
	char line[1024];
	size_t n;

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	n = strlen(line);
	if (n && line[n - 1] == '\n')
		line[n - 1] = '\0';
	log_debug("%s", line);
	return 0;
}

/* Room for all elements is made at once: none where it is not needed. */
static uint32_t entries_of(const struct bpf_shared *s, enum shared_map map)
{
	switch (map) {
	case SHARED_RING_EVENTS:
		return s->ring_events_size;
	case SHARED_RING_DATA:
		return s->ring_data_size;
	case SHARED_LEDGER:
		return s->cfg.cpus * AS_EV_COUNT;
	case SHARED_PROCS:
		return s->cfg.accounts ? map_specs[map].max_entries : 1;
	default:
		return map_specs[map].max_entries;
	}
}

static int create_maps(struct bpf_shared *s, struct err *e)
{
	for (size_t i = 0; i < SHARED_COUNT; i++) {
		LIBBPF_OPTS(bpf_map_create_opts, create, .map_flags = map_specs[i].flags);

		s->fds[i] =
			bpf_map_create(map_specs[i].type, map_specs[i].name, map_specs[i].key_size,
				       map_specs[i].value_size, entries_of(s, i), &create);
		if (s->fds[i] < 0)
			return err_set(e, -errno, "cannot create the BPF map '%s': %s",
				       map_specs[i].name, strerror(errno));
	}
	return 0;
}

/* Every type that one of our objects names, made from them when they are compiled. */
static const char *const type_names[] = {
#include "types.inc"
};

/* Without the copy everything works the same, only slower. */
static void copy_types(struct bpf_shared *s)
{
	bool sorted;
	struct btf_wanted wanted = {
		.names = type_names, .n_names = ARRAY_SIZE(type_names), .sorted = &sorted};
	int r;

	wanted.numbers = section_numbers(&wanted.n_numbers);
	r = btf_reduce_file(AS_KERNEL_BTF, &wanted, &s->types_fd);
	s->open_opts.sz = sizeof(s->open_opts);
	if (r < 0) {
		log_debug("each object reads all the kernel's types: %s", strerror(-r));
		return;
	}
	snprintf(s->types_path, sizeof(s->types_path), "/proc/self/fd/%d", s->types_fd);
	s->open_opts.btf_custom_path = s->types_path;
	s->cfg.task_type = section_register(!sorted);
}

uint32_t bpf_cpu_numbers(int possible)
{
	_cleanup_(closep) int fd = open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
	char text[1024];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint32_t last;

	while (n > 0 && !isdigit((unsigned char)text[n - 1]))
		n--;
	text[MAX(n, 0)] = '\0';
	while (n > 0 && isdigit((unsigned char)text[n - 1]))
		n--;
	last = strtoul(text + MAX(n, 0), NULL, 10);
	return MAX(last + 1, (uint32_t)possible);
}

bool bpf_pids_are_ours(void)
{
	struct stat st;

	/* PROC_PID_INIT_INO of include/linux/proc_ns.h, the same since 3.8 and part of the interface since 6.18 */
	return stat("/proc/self/ns/pid", &st) < 0 || st.st_ino == 0xEFFFFFFC;
}

static int map_memory(struct bpf_shared *s, struct err *e)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, s->fds[SHARED_MEMORY], 0);

	if (p == MAP_FAILED)
		return err_set(e, -errno, "cannot map the doorbell: %s", strerror(errno));
	s->memory = p;
	s->ledger_bytes = (size_t)s->cfg.cpus * AS_EV_COUNT * sizeof(*s->ledger);
	s->ledger_bytes = (s->ledger_bytes + page - 1) / page * page;
	p = mmap(NULL, s->ledger_bytes, PROT_READ, MAP_SHARED, s->fds[SHARED_LEDGER], 0);
	if (p == MAP_FAILED)
		return err_set(e, -errno, "cannot map the ledger: %s", strerror(errno));
	s->ledger = p;
	return 0;
}

int bpf_shared_open(const struct bpf_options *opt, struct bpf_shared **ret, struct err *e)
{
	_cleanup_(bpf_shared_freep) struct bpf_shared *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	for (size_t i = 0; i < SHARED_COUNT; i++)
		s->fds[i] = -1;
	s->types_fd = -1;
	s->ring_events_size = opt->ring_events_size;
	s->ring_data_size = opt->ring_data_size;
	s->cfg = opt->cfg;
	s->cfg.self_tgid = getpid();
	s->cfg.page_kb = sysconf(_SC_PAGESIZE) / 1024;
	s->cfg.accounts |= s->cfg.by_process;
	pthread_mutex_init(&s->lock, NULL);
	libbpf_set_print(libbpf_log);

	s->cpus = libbpf_num_possible_cpus();
	if (s->cpus < 0)
		return err_set(e, s->cpus, "cannot tell the number of processors: %s",
			       strerror(-s->cpus));
	s->cfg.cpus = bpf_cpu_numbers(s->cpus);
	r = create_maps(s, e);
	if (r < 0)
		return r;
	r = map_memory(s, e);
	if (r < 0)
		return r;
	copy_types(s);

	*ret = TAKE_PTR(s);
	return 0;
}

void bpf_shared_free(struct bpf_shared *s)
{
	if (!s)
		return;
	bpf_shared_detach(s, NULL, NULL);
	if (s->memory)
		munmap(s->memory, sysconf(_SC_PAGESIZE));
	if (s->ledger)
		munmap(s->ledger, s->ledger_bytes);
	for (size_t i = 0; i < SHARED_COUNT; i++)
		closep(&s->fds[i]);
	closep(&s->types_fd);
	capabilities_done(&s->capabilities);
	free(s);
}

const struct bpf_object_open_opts *bpf_shared_open_opts(const struct bpf_shared *s)
{
	return &s->open_opts;
}

const struct as_config *bpf_shared_config(const struct bpf_shared *s)
{
	return &s->cfg;
}

int bpf_shared_ring_events(const struct bpf_shared *s)
{
	return s->fds[SHARED_RING_EVENTS];
}

int bpf_shared_ring_data(const struct bpf_shared *s)
{
	return s->fds[SHARED_RING_DATA];
}

size_t bpf_shared_ring_events_size(const struct bpf_shared *s)
{
	return s->ring_events_size;
}

size_t bpf_shared_ring_data_size(const struct bpf_shared *s)
{
	return s->ring_data_size;
}

int bpf_shared_procs(const struct bpf_shared *s)
{
	return s->fds[SHARED_PROCS];
}

int bpf_shared_names(const struct bpf_shared *s)
{
	return s->fds[SHARED_NAMES];
}

volatile struct as_shared *bpf_shared_memory(const struct bpf_shared *s)
{
	return s->memory;
}

int bpf_shared_counts(const struct bpf_shared *s, struct as_count ret[AS_EV_COUNT])
{
	volatile const struct as_count *row = s->ledger;

	memset(ret, 0, AS_EV_COUNT * sizeof(*ret));
	for (uint32_t cpu = 0; cpu < s->cfg.cpus; cpu++, row += AS_EV_COUNT) {
		for (size_t type = 0; type < AS_EV_COUNT; type++) {
			ret[type].produced += row[type].produced;
			ret[type].dropped += row[type].dropped;
			ret[type].shed += row[type].shed;
			ret[type].unread += row[type].unread;
		}
	}
	return 0;
}

/* Where the variable `cfg` lies in .rodata, from the object's own BTF. */
static int config_offset(struct bpf_object *obj, size_t *ret)
{
	const struct btf *btf = bpf_object__btf(obj);
	int id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_type *sec = id > 0 ? btf__type_by_id(btf, id) : NULL;
	const struct btf_var_secinfo *v;

	if (!sec)
		return -ENOENT;
	v = btf_var_secinfos(sec);
	for (size_t i = 0; i < btf_vlen(sec); i++, v++) {
		const struct btf_type *var = btf__type_by_id(btf, v->type);

		if (!strcmp(btf__name_by_offset(btf, var->name_off), "cfg")) {
			*ret = v->offset;
			return 0;
		}
	}
	return -ENOENT;
}

static int set_config(struct bpf_shared *s, struct bpf_object *obj)
{
	struct bpf_map *map;
	size_t offset, size;
	char *data;
	int r;

	r = config_offset(obj, &offset);
	if (r < 0)
		return r;
	bpf_object__for_each_map(map, obj)
	{
		const char *name = bpf_map__name(map);
		size_t n = strlen(name);

		if (n < 7 || strcmp(name + n - 7, ".rodata"))
			continue;
		data = (char *)bpf_map__initial_value(map, &size);
		if (!data || offset + sizeof(s->cfg) > size)
			return -EINVAL;
		memcpy(data + offset, &s->cfg, sizeof(s->cfg));
		return 0;
	}
	return -ENOENT;
}

/*
 * A program that the kernel refuses is refused at once. By itself libbpf asks again with a full log, in
 * buffers that double from 16 MB to 2 GB: minutes, for a text that nobody reads. The verifier's summary
 * alone (level 4) makes a first attempt the last one, with its own error. The text of all programs goes
 * to one place; it is large because a summary that did not fit would be an error.
 */
static void refuse_once(struct bpf_object *obj)
{
	static char ignored[64 << 10];
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj)
	{
		bpf_program__set_log_level(prog, 4);
		bpf_program__set_log_buf(prog, ignored, sizeof(ignored));
	}
}

int bpf_family_prepare(struct bpf_shared *s, struct bpf_object *obj, struct err *e)
{
	struct bpf_map *map;
	int r;

	refuse_once(obj);

	for (size_t i = 0; i < SHARED_COUNT; i++) {
		map = bpf_object__find_map_by_name(obj, map_specs[i].name);
		if (!map)
			continue;
		r = bpf_map__reuse_fd(map, s->fds[i]);
		if (r < 0)
			return err_set(e, r, "cannot share the BPF map '%s': %s", map_specs[i].name,
				       strerror(-r));
	}
	map = bpf_object__find_map_by_name(obj, "scratch");
	if (map) {
		r = bpf_map__set_max_entries(map, s->cfg.cpus);
		if (r < 0)
			return err_set(e, r, "cannot size the scratch buffers: %s", strerror(-r));
	}
	r = set_config(s, obj);
	if (r < 0)
		return err_set(e, r, "the BPF object '%s' has no configuration",
			       bpf_object__name(obj));
	return 0;
}

void bpf_capability(struct bpf_shared *s, const char *family, const char *hook,
		    const char *mechanism, enum capability_state state, const char *reason, ...)
{
	struct capability c = {
		.family = family, .hook = hook, .mechanism = mechanism, .state = state};
	va_list ap;

	if (reason) {
		va_start(ap, reason);
		capability_say(&c, reason, ap);
		va_end(ap);
	}
	pthread_mutex_lock(&s->lock);
	capabilities_add(&s->capabilities, &c);
	pthread_mutex_unlock(&s->lock);
}

const struct capability *bpf_capabilities(struct bpf_shared *s, size_t *ret_n)
{
	pthread_mutex_lock(&s->lock);
	*ret_n = s->capabilities.n;
	pthread_mutex_unlock(&s->lock);
	return s->capabilities.list;
}

size_t bpf_capabilities_told(struct bpf_shared *s, size_t n)
{
	pthread_mutex_lock(&s->lock);
	n = capabilities_told(&s->capabilities, n);
	pthread_mutex_unlock(&s->lock);
	return n;
}

uint64_t bpf_capabilities_refused(struct bpf_shared *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->capabilities.refused;
	pthread_mutex_unlock(&s->lock);
	return n;
}

int bpf_keep_fd(int fd, int *ret)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (own < 0)
		return -errno;
	*ret = own;
	return 0;
}

int bpf_keep_maps(const struct bpf_kept_map *maps, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = bpf_keep_fd(bpf_map__fd(maps[i].map), maps[i].fd);
	return r;
}

void *bpf_keep_variables(const struct bpf_map *bss)
{
	void *p = mmap(NULL, bpf_map__value_size(bss), PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(bss), 0);

	return p == MAP_FAILED ? NULL : p;
}

static int add_hook(struct bpf_shared *s, struct bpf_link *link, int prog_fd)
{
	_cleanup_(closep) int own = -1;
	int r = bpf_keep_fd(prog_fd, &own);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	if (s->n_hooks < MAX_HOOKS)
		s->hooks[s->n_hooks++] = (struct hook){link, TAKE_FD(own)};
	else
		r = -ENOSPC;
	pthread_mutex_unlock(&s->lock);
	return r;
}

int bpf_hook_keep(struct bpf_shared *s, struct bpf_link *link, struct bpf_program *prog)
{
	int r = add_hook(s, link, bpf_program__fd(prog));

	if (r < 0)
		bpf_link__destroy(link);
	return r;
}

int bpf_shared_try(const struct bpf_shared *s)
{
	uint32_t nobody = 0;
	struct as_proc proc;

	return bpf_map_lookup_elem(s->fds[SHARED_PROCS], &nobody, &proc) < 0 ? -errno : 0;
}

void bpf_shared_helper(struct bpf_shared *s, uint32_t tgid)
{
	for (size_t i = 0; i < AS_HELPERS; i++) {
		if (!s->memory->helpers[i]) {
			s->memory->helpers[i] = tgid;
			return;
		}
	}
}

int bpf_hook_watch(struct bpf_shared *s, int prog_fd)
{
	return add_hook(s, NULL, prog_fd);
}

static int record_attach(struct bpf_shared *s, const char *family, const char *hook,
			 const char *mechanism, struct bpf_program *prog, struct bpf_link *link,
			 int r)
{
	if (r == 0)
		r = bpf_hook_keep(s, link, prog);
	if (r < 0)
		bpf_capability(s, family, hook, mechanism, CAPABILITY_MISSING, "%s", strerror(-r));
	else
		bpf_capability(s, family, hook, mechanism, CAPABILITY_ATTACHED, NULL);
	return r;
}

int bpf_hook_attach(struct bpf_shared *s, const char *family, const char *hook,
		    const char *mechanism, struct bpf_program *prog)
{
	struct bpf_link *link = bpf_program__attach(prog);

	return record_attach(s, family, hook, mechanism, prog, link, link ? 0 : -errno);
}

int bpf_hook_attach_tracepoint(struct bpf_shared *s, const char *family, const char *hook,
			       struct bpf_program *prog, const char *category, const char *name)
{
	struct bpf_link *link = NULL;
	int r = tracepoint_attach(prog, category, name, &link);

	return record_attach(s, family, hook, "tracepoint", prog, link, r);
}

static uint64_t program_missed(int fd)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return 0;
	/* KERNEL < 5.12, of classic tracepoints and kprobes < 6.7: not counted, stays 0 */
	return info.recursion_misses;
}

uint64_t bpf_shared_missed(struct bpf_shared *s)
{
	uint64_t sum = s->missed_before;

	for (size_t i = 0; i < s->n_hooks; i++)
		sum += program_missed(s->hooks[i].prog_fd);
	return sum;
}

static void *close_link(void *link)
{
	bpf_link__destroy(link);
	return NULL;
}

/*
 * Closing a perf event waits for a grace period of the kernel, about 0.1 s; side by side they
 * overlap in part. Raw tracepoints close at once.
 */
void bpf_shared_detach(struct bpf_shared *s, void (*meanwhile)(void *context), void *context)
{
	pthread_t threads[MAX_HOOKS];
	bool started[MAX_HOOKS] = {};

	for (size_t i = 0; i < s->n_hooks; i++) {
		struct bpf_link *link = TAKE_PTR(s->hooks[i].link);

		if (!link)
			continue;
		started[i] = !pthread_create(&threads[i], NULL, close_link, link);
		if (!started[i])
			bpf_link__destroy(link);
	}
	if (meanwhile) {
		sched_yield(); /* the tracepoints' wait shall have begun */
		meanwhile(context);
	}
	for (size_t i = 0; i < s->n_hooks; i++) {
		if (started[i])
			pthread_join(threads[i], NULL);
	}
	s->missed_before = bpf_shared_missed(s); /* hooks run until they are closed */
	for (size_t i = 0; i < s->n_hooks; i++)
		close(s->hooks[i].prog_fd);
	s->n_hooks = 0;
}
