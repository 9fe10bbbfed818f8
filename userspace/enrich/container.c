/* SPDX-License-Identifier: MIT */
#include "enrich/container.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "base/cleanup.h"
#include "base/hex.h"

#define ID_MIN     12 /* runtimes shorten an id to that */
#define ID_LEN     64
#define DEPTH_MAX  64 /* of JSON; docker's own nests a fifth of that */
#define UID_LEN    36
#define UID_HYPHEN 4

struct name {
	const char *p;
	size_t n;
};

#define NAME(literal) ((struct name){"" literal, sizeof(literal) - 1})

/* ---- names ---- */

static bool is(struct name a, struct name b)
{
	return a.n == b.n && !memcmp(a.p, b.p, b.n);
}

static bool take_prefix(struct name *a, struct name prefix)
{
	if (a->n < prefix.n || memcmp(a->p, prefix.p, prefix.n) != 0)
		return false;
	a->p += prefix.n;
	a->n -= prefix.n;
	return true;
}

static bool take_suffix(struct name *a, struct name suffix)
{
	if (a->n < suffix.n || memcmp(a->p + a->n - suffix.n, suffix.p, suffix.n) != 0)
		return false;
	a->n -= suffix.n;
	return true;
}

static void name_copy(char *out, size_t cap, struct name a)
{
	size_t n = MIN(a.n, cap - 1);

	if (n)
		memcpy(out, a.p, n);
	out[n] = '\0';
}

static bool is_hex(struct name a)
{
	for (size_t i = 0; i < a.n; i++) {
		if (!isxdigit((unsigned char)a.p[i]))
			return false;
	}
	return true;
}

static bool is_id(struct name a)
{
	return a.n >= ID_MIN && a.n <= ID_LEN && is_hex(a);
}

/* systemd writes what may not stand in a unit's name as \x2d; what is in no name stays as it is. */
static bool unescape_one(struct name *a, char *ret)
{
	int c;

	if (a->n < 4 || a->p[0] != '\\' || a->p[1] != 'x' || !is_hex((struct name){a->p + 2, 2}))
		return false;
	c = hex_digit(a->p[2]) * 16 + hex_digit(a->p[3]);
	if (c <= ' ' || c == '/' || c == 0x7f)
		return false;
	*ret = (char)c;
	a->p += 4;
	a->n -= 4;
	return true;
}

static void name_unescape(char out[CONTAINER_NAME_MAX], struct name a)
{
	size_t len = 0;

	while (a.n && len < CONTAINER_NAME_MAX - 1) {
		if (!unescape_one(&a, &out[len])) {
			out[len] = *a.p;
			a.p++;
			a.n--;
		}
		len++;
	}
	out[len] = '\0';
}

/* ---- pods ---- */

static const char *const qos_names[] = {"burstable", "besteffort"};

/* A uid, whose hyphens the systemd driver has made underscores; or, of static pods, a hash. */
static bool pod_uid_set(struct container *c, struct name a)
{
	char uid[CONTAINER_UID_MAX];
	size_t hyphens = 0;

	if (a.n != UID_LEN && a.n != 32)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		bool hyphen = a.p[i] == '_' || a.p[i] == '-';

		if (!hyphen && !isxdigit((unsigned char)a.p[i]))
			return false;
		hyphens += hyphen;
		uid[i] = hyphen ? '-' : a.p[i];
	}
	if (hyphens != (a.n == UID_LEN ? UID_HYPHEN : 0))
		return false;
	uid[a.n] = '\0';
	memcpy(c->pod_uid, uid, a.n + 1);
	return true;
}

/* kubepods[-burstable|-besteffort][-pod<uid>].slice; in front of it kind writes kubelet-. */
static bool pod_slice(struct container *c, struct name a)
{
	if (!take_suffix(&a, NAME(".slice")))
		return false;
	take_prefix(&a, NAME("kubelet-"));
	if (!take_prefix(&a, NAME("kubepods")))
		return false;
	c->qos = "guaranteed";
	for (size_t i = 0; i < ARRAY_SIZE(qos_names); i++) {
		struct name rest = a;

		if (take_prefix(&rest, NAME("-")) &&
		    take_prefix(&rest, (struct name){qos_names[i], strlen(qos_names[i])})) {
			c->qos = qos_names[i];
			a = rest;
		}
	}
	if (take_prefix(&a, NAME("-pod")))
		pod_uid_set(c, a);
	return true;
}

/* The other driver: kubepods / burstable / pod<uid>. */
static bool pod_directory(struct container *c, struct name a)
{
	if (is(a, NAME("kubepods"))) {
		c->qos = "guaranteed";
		return true;
	}
	if (!c->qos)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(qos_names); i++) {
		if (is(a, (struct name){qos_names[i], strlen(qos_names[i])})) {
			c->qos = qos_names[i];
			return true;
		}
	}
	return take_prefix(&a, NAME("pod")) && pod_uid_set(c, a);
}

/* ---- containers ---- */

/* <prefix><id>, with or without .scope. */
static const struct {
	struct name prefix;
	const char *runtime;
} prefixes[] = {
	{NAME("docker-"), "docker"},      {NAME("libpod-payload-"), "podman"},
	{NAME("libpod-"), "podman"},      {NAME("cri-containerd-"), "containerd"},
	{NAME("nerdctl-"), "containerd"}, {NAME("crio-"), "cri-o"},
};

/* <parent>/<id> of 64 digits. */
static const struct {
	struct name parent;
	const char *runtime;
} parents[] = {
	{NAME("docker"), "docker"},
	{NAME("actions_job"), "docker"},
	{NAME("libpod_parent"), "podman"},
};

static void container_set(struct container *c, const char *runtime, struct name id)
{
	c->runtime = runtime;
	name_copy(c->id, sizeof(c->id), id);
	c->name[0] = '\0';
}

static bool container_prefixed(struct container *c, struct name a)
{
	take_suffix(&a, NAME(".scope"));
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		struct name id = a;

		if (take_prefix(&id, prefixes[i].prefix) && is_id(id)) {
			container_set(c, prefixes[i].runtime, id);
			return true;
		}
	}
	return false;
}

/* With two drivers at odds, runc joins what it got: <slice>:cri-containerd:<id>. */
static bool container_joined(struct container *c, struct name a)
{
	const char *last = memrchr(a.p, ':', a.n);
	const char *first = last ? memchr(a.p, ':', a.n) : NULL;
	struct name id, runtime;

	if (!first || first == last)
		return false;
	id = (struct name){last + 1, a.n - (last + 1 - a.p)};
	runtime = (struct name){first + 1, last - first - 1};
	if (!is_id(id))
		return false;
	pod_slice(c, (struct name){a.p, first - a.p});
	container_set(c, is(runtime, NAME("crio")) ? "cri-o" : "containerd", id);
	return true;
}

static bool container_below(struct container *c, struct name parent, struct name a)
{
	if (is(parent, NAME("lxc")) || is(parent, NAME("lxc.payload"))) {
		container_set(c, "lxc", a);
		name_copy(c->name, sizeof(c->name), a);
		return true;
	}
	if (a.n != ID_LEN || !is_hex(a))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		if (is(parent, parents[i].parent)) {
			container_set(c, parents[i].runtime, a);
			return true;
		}
	}
	if (!c->qos)
		return false;
	container_set(c, "containerd", a);
	return true;
}

/* ---- machines: names are all the id that they have ---- */

/* <driver>-<number>-<name>, as libvirt registers its guests. */
static bool libvirt_machine(struct container *c, const char *text)
{
	static const char *const drivers[] = {"qemu-", "lxc-", "xen-"};

	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		size_t n = strlen(drivers[i]);
		size_t digits = n;

		if (strncmp(text, drivers[i], n) != 0)
			continue;
		while (isdigit((unsigned char)text[digits]))
			digits++;
		if (digits > n && text[digits] == '-' && text[digits + 1]) {
			const char *name = text + digits + 1;

			container_set(c, "libvirt", (struct name){name, strlen(name)});
			name_copy(c->name, sizeof(c->name), (struct name){name, strlen(name)});
			return true;
		}
	}
	return false;
}

static bool machine(struct container *c, struct name a)
{
	char text[CONTAINER_NAME_MAX] = "";
	bool scope = take_suffix(&a, NAME(".scope"));

	if (!scope && !take_suffix(&a, NAME(".service")))
		return false;
	if (!take_prefix(&a, scope ? NAME("machine-") : NAME("systemd-nspawn@")) || !a.n)
		return false;
	name_unescape(text, a);
	if (libvirt_machine(c, text))
		return true;
	container_set(c, "nspawn", (struct name){text, strlen(text)});
	name_copy(c->name, sizeof(c->name), (struct name){text, strlen(text)});
	return true;
}

static bool lxc_payload(struct container *c, struct name a)
{
	if (!take_prefix(&a, NAME("lxc.payload.")) || !a.n)
		return false;
	container_set(c, "lxc", a);
	name_copy(c->name, sizeof(c->name), a);
	return true;
}

/* ---- a path ---- */

static void unit_set(struct container *c, struct name a)
{
	struct name stem = a;

	/* a name that could be taken for a file of the kernel's has one in front */
	if (take_prefix(&stem, NAME("_")))
		a = stem;
	if (take_suffix(&stem, NAME(".service")) || take_suffix(&stem, NAME(".scope"))) {
		if (stem.n)
			name_copy(c->unit, sizeof(c->unit), a);
	}
}

static void component(struct container *c, struct name parent, struct name a)
{
	if (pod_slice(c, a) || pod_directory(c, a) || container_joined(c, a) ||
	    container_prefixed(c, a) || container_below(c, parent, a) || lxc_payload(c, a) ||
	    machine(c, a))
		return;
	unit_set(c, a);
}

void container_parse_path(const char *path, size_t n, struct container *ret)
{
	struct name parent = {"", 0};
	const char *p = path, *end = path + strnlen(path, n);

	memset(ret, 0, sizeof(*ret));
	while (p < end) {
		const char *slash = memchr(p, '/', end - p);
		struct name a = {p, (slash ? slash : end) - p};

		if (a.n) {
			component(ret, parent, a);
			parent = a;
		}
		p += a.n + 1;
	}
}

/* ---- files of container managers ---- */

static void json_putp(json_object **o)
{
	if (*o)
		json_object_put(*o);
}

static json_object *json_read(const char *text, size_t n)
{
	json_tokener *t;
	json_object *o;

	if (n > INT32_MAX)
		return NULL;
	t = json_tokener_new_ex(DEPTH_MAX);
	if (!t)
		return NULL;
	o = json_tokener_parse_ex(t, text, (int)n);
	json_tokener_free(t);
	return o;
}

static bool json_text(json_object *o, struct name *ret)
{
	if (!json_object_is_type(o, json_type_string))
		return false;
	*ret = (struct name){json_object_get_string(o), (size_t)json_object_get_string_len(o)};
	/* a NUL would end it early, and a control byte is in no name */
	for (size_t i = 0; i < ret->n; i++) {
		if ((unsigned char)ret->p[i] < 0x20)
			return false;
	}
	return ret->n > 0 && ret->n < CONTAINER_NAME_MAX;
}

int container_parse_docker(const char *json, size_t n, char ret_name[CONTAINER_NAME_MAX])
{
	_cleanup_(json_putp) json_object *root = json_read(json, n);
	json_object *member;
	struct name name;

	if (!json_object_is_type(root, json_type_object) ||
	    !json_object_object_get_ex(root, "Name", &member) || !json_text(member, &name))
		return -EBADMSG;
	take_prefix(&name, NAME("/"));
	if (!name.n)
		return -EBADMSG;
	name_copy(ret_name, CONTAINER_NAME_MAX, name);
	return 0;
}

/* {"id": "...", "names": ["..."]} */
static bool podman_entry(json_object *entry, const char *id, struct name *ret)
{
	json_object *member;
	struct name text;

	if (!json_object_is_type(entry, json_type_object) ||
	    !json_object_object_get_ex(entry, "id", &member) || !json_text(member, &text) ||
	    !is(text, (struct name){id, strlen(id)}))
		return false;
	return json_object_object_get_ex(entry, "names", &member) &&
	       json_object_is_type(member, json_type_array) && json_object_array_length(member) &&
	       json_text(json_object_array_get_idx(member, 0), ret);
}

int container_parse_podman(const char *json, size_t n, const char *id,
			   char ret_name[CONTAINER_NAME_MAX])
{
	_cleanup_(json_putp) json_object *root = json_read(json, n);
	struct name name;

	if (!json_object_is_type(root, json_type_array))
		return -EBADMSG;
	for (size_t i = 0; i < json_object_array_length(root); i++) {
		if (podman_entry(json_object_array_get_idx(root, i), id, &name)) {
			name_copy(ret_name, CONTAINER_NAME_MAX, name);
			return 0;
		}
	}
	return -ENOENT;
}

/* ---- names of kubelet's logs ---- */

/* What stands before the next underscore; no name of a pod, namespace or container has one. */
static bool take_field(struct name *a, struct name *ret)
{
	const char *end = memchr(a->p, '_', a->n);

	if (!end || end == a->p)
		return false;
	*ret = (struct name){a->p, end - a->p};
	a->n -= ret->n + 1;
	a->p = end + 1;
	return true;
}

bool container_parse_log_file(const char *file, struct container *ret)
{
	struct name a = {file, strlen(file)}, pod, namespace, id;
	const char *hyphen;

	if (a.n >= CONTAINER_NAME_MAX || !take_suffix(&a, NAME(".log")) || !take_field(&a, &pod) ||
	    !take_field(&a, &namespace))
		return false;
	hyphen = memrchr(a.p, '-', a.n);
	if (!hyphen || hyphen == a.p)
		return false;
	id = (struct name){hyphen + 1, a.n - (hyphen + 1 - a.p)};
	if (id.n != ID_LEN || !is_hex(id))
		return false;
	name_copy(ret->id, sizeof(ret->id), id);
	name_copy(ret->name, sizeof(ret->name), (struct name){a.p, hyphen - a.p});
	name_copy(ret->pod, sizeof(ret->pod), pod);
	name_copy(ret->pod_namespace, sizeof(ret->pod_namespace), namespace);
	return true;
}

bool container_parse_log_directory(const char *file, struct container *ret)
{
	struct name a = {file, strlen(file)}, pod, namespace;

	if (a.n >= CONTAINER_NAME_MAX || !take_field(&a, &namespace) || !take_field(&a, &pod) ||
	    !pod_uid_set(ret, a))
		return false;
	name_copy(ret->pod, sizeof(ret->pod), pod);
	name_copy(ret->pod_namespace, sizeof(ret->pod_namespace), namespace);
	return true;
}
