/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "enrich/container.h"

#define ID          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID         "a1b2c3d4-0000-1111-2222-333344445555"
#define UID_SYSTEMD "a1b2c3d4_0000_1111_2222_333344445555"
#define HASH        "00112233445566778899aabbccddeeff"

static struct container parsed;

static const struct container *parse(const char *path)
{
	/* a copy of just that size, so that the sanitizer sees an overrun */
	size_t n = strlen(path);
	char *copy = malloc(n ? n : 1);

	memcpy(copy, path, n);
	container_parse_path(copy, n, &parsed);
	free(copy);
	return &parsed;
}

static void is_container(const char *path, const char *runtime, const char *id, const char *name)
{
	const struct container *c = parse(path);

	assert_non_null(c->runtime);
	assert_string_equal(c->runtime, runtime);
	assert_string_equal(c->id, id);
	assert_string_equal(c->name, name);
}

static void is_none(const char *path)
{
	assert_null(parse(path)->runtime);
	assert_string_equal(parsed.id, "");
}

static void docker_is_known_under_both_drivers(void **state)
{
	is_container("/docker/" ID, "docker", ID, "");
	is_container("/system.slice/docker-" ID ".scope", "docker", ID, "");
	assert_string_equal(parsed.unit, "");
	is_container("/actions_job/" ID "/init", "docker", ID, "");
}

static void podman_is_known_but_not_its_monitor(void **state)
{
	is_container("/machine.slice/libpod-" ID ".scope/container", "podman", ID, "");
	is_container("/libpod_parent/libpod-" ID, "podman", ID, "");
	is_container("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope",
		     "podman", ID, "");
	assert_string_equal(parsed.unit, "user@1000.service");
	is_none("/machine.slice/libpod-conmon-" ID ".scope");
	is_none("/kubepods.slice/crio-conmon-" ID ".scope");
}

static void pods_are_known_under_both_drivers(void **state)
{
	is_container("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_SYSTEMD
		     ".slice/cri-containerd-" ID ".scope",
		     "containerd", ID, "");
	assert_string_equal(parsed.pod_uid, UID);
	assert_string_equal(parsed.qos, "burstable");
	is_container("/kubepods.slice/kubepods-pod" UID_SYSTEMD ".slice/crio-" ID ".scope", "cri-o",
		     ID, "");
	assert_string_equal(parsed.pod_uid, UID);
	assert_string_equal(parsed.qos, "guaranteed");
	is_container("/kubepods/besteffort/pod" UID "/" ID, "containerd", ID, "");
	assert_string_equal(parsed.pod_uid, UID);
	assert_string_equal(parsed.qos, "besteffort");
	is_container("/kubepods/pod" HASH "/" ID, "containerd", ID, "");
	assert_string_equal(parsed.pod_uid, HASH);
	assert_string_equal(parsed.qos, "guaranteed");
	is_container("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
		     "kubelet-kubepods-burstable-pod" UID_SYSTEMD ".slice/cri-containerd-" ID
		     ".scope",
		     "containerd", ID, "");
	assert_string_equal(parsed.pod_uid, UID);
}

static void drivers_at_odds_are_understood(void **state)
{
	is_container("/system.slice/containerd.service/kubepods-burstable-pod" UID_SYSTEMD
		     ".slice:cri-containerd:" ID,
		     "containerd", ID, "");
	assert_string_equal(parsed.pod_uid, UID);
	assert_string_equal(parsed.qos, "burstable");
	assert_string_equal(parsed.unit, "containerd.service");
}

static void machines_have_names_instead_of_ids(void **state)
{
	is_container("/lxc/web-1", "lxc", "web-1", "web-1");
	is_container("/lxc.payload.web-1/system.slice/nginx.service", "lxc", "web-1", "web-1");
	assert_string_equal(parsed.unit, "nginx.service");
	is_none("/lxc.monitor.web-1");
	is_container("/machine.slice/machine-my\\x2dbox.scope/payload", "nspawn", "my-box",
		     "my-box");
	is_container("/machine.slice/systemd-nspawn@build.service/payload", "nspawn", "build",
		     "build");
	is_container("/machine.slice/machine-qemu\\x2d3\\x2ddebian\\x2d12.scope/libvirt/emulator",
		     "libvirt", "debian-12", "debian-12");
}

static void units_are_the_innermost_service_or_scope(void **state)
{
	assert_string_equal(parse("/system.slice/sshd.service")->unit, "sshd.service");
	assert_string_equal(
		parse("/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-7.scope")
			->unit,
		"app-firefox-7.scope");
	assert_string_equal(parse("/user.slice/user-0.slice/session-4.scope")->unit,
			    "session-4.scope");
	assert_string_equal(parse("/system.slice/_cpu.service")->unit, "cpu.service");
	assert_string_equal(parse("/system.slice")->unit, "");
	assert_string_equal(parse("/.service")->unit, "");
	assert_string_equal(parse("/")->unit, "");
	assert_string_equal(parse("")->unit, "");
}

static void what_only_looks_like_a_container_is_none(void **state)
{
	is_none("/docker");
	is_none("/docker/" HASH);
	is_none("/system.slice/docker.service");
	is_none("/docker-xyz.scope");
	is_none("/user/" ID);
	is_none("/kubepods/burstable/podabc/x");
	assert_string_equal(parsed.pod_uid, "");
	is_none("/kubepods/pod" UID);
	assert_string_equal(parsed.pod_uid, UID);
	is_none("/machine.slice/machine-.scope");
	is_container("/machine.slice/machine-a\\x2fb\\x00\\x2d.scope", "nspawn", "a\\x2fb\\x00-",
		     "a\\x2fb\\x00-");
	is_none("//../..//");
	/* without the kubepods above it, a name of that form is anybody's */
	is_none("/burstable/pod" UID "/" ID);
	assert_string_equal(parsed.pod_uid, "");
}

static void the_innermost_container_counts(void **state)
{
	is_container("/docker/" ID "/docker/f" ID, "docker", ID, "");
	is_container("/lxc/host/docker/" ID, "docker", ID, "");
}

static void a_name_longer_than_a_file_name_is_cut(void **state)
{
	char path[600] = "/lxc/";

	memset(path + 5, 'a', 500);
	assert_int_equal(strlen(parse(path)->id), CONTAINER_NAME_MAX - 1);
}

static void docker_gives_its_name(void **state)
{
	static const char json[] = "{\"ID\":\"x\",\"Name\":\"/web\",\"Config\":{\"Name\":3}}";
	char name[CONTAINER_NAME_MAX] = "before";

	assert_int_equal(container_parse_docker(json, strlen(json), name), 0);
	assert_string_equal(name, "web");
	for (size_t n = 0; n < strlen(json); n++)
		assert_int_equal(container_parse_docker(json, n, name), -EBADMSG);
	assert_int_equal(container_parse_docker("{\"Name\":\"/\"}", 12, name), -EBADMSG);
	assert_int_equal(container_parse_docker("{\"Name\":[1]}", 12, name), -EBADMSG);
	assert_int_equal(container_parse_docker("{\"Name\":\"a\\u0000b\"}", 19, name), -EBADMSG);
	assert_string_equal(name, "web");
}

static void podman_gives_the_first_name_of_an_id(void **state)
{
	static const char json[] = "[7,{\"id\":\"aa\",\"names\":[]},{\"id\":\"bb\",\"names\":"
				   "[\"db\",\"other\"]},{\"names\":[\"x\"]}]";
	char name[CONTAINER_NAME_MAX] = "";

	assert_int_equal(container_parse_podman(json, strlen(json), "bb", name), 0);
	assert_string_equal(name, "db");
	assert_int_equal(container_parse_podman(json, strlen(json), "aa", name), -ENOENT);
	assert_int_equal(container_parse_podman(json, strlen(json), "b", name), -ENOENT);
	assert_int_equal(container_parse_podman("{}", 2, "b", name), -EBADMSG);
	assert_string_equal(name, "db");
}

static void json_may_nest_deeply_without_harm(void **state)
{
	static char deep[100000];
	char name[CONTAINER_NAME_MAX];

	memset(deep, '[', sizeof(deep));
	assert_int_equal(container_parse_podman(deep, sizeof(deep), "a", name), -EBADMSG);
}

static void log_files_of_pods_tell_all_names(void **state)
{
	struct container c = {0};

	assert_true(container_parse_log_file("web-7_prod_nginx-proxy-" ID ".log", &c));
	assert_string_equal(c.pod, "web-7");
	assert_string_equal(c.pod_namespace, "prod");
	assert_string_equal(c.name, "nginx-proxy");
	assert_string_equal(c.id, ID);
	assert_false(container_parse_log_file("web_prod_-" ID ".log", &c));
	assert_false(container_parse_log_file("web_prod_nginx-" HASH ".log", &c));
	assert_false(container_parse_log_file("_prod_nginx-" ID ".log", &c));
	assert_false(container_parse_log_file("web-prod-nginx-" ID ".log", &c));
	assert_false(container_parse_log_file(".log", &c));
	assert_string_equal(c.pod, "web-7");
}

static void log_directories_of_pods_tell_their_names(void **state)
{
	struct container c = {0};

	assert_true(container_parse_log_directory("prod_web-7_" UID, &c));
	assert_string_equal(c.pod, "web-7");
	assert_string_equal(c.pod_namespace, "prod");
	assert_string_equal(c.pod_uid, UID);
	assert_false(container_parse_log_directory("prod_web-7_", &c));
	assert_false(container_parse_log_directory("prod_web-7_zz", &c));
	assert_false(container_parse_log_directory("..", &c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(docker_is_known_under_both_drivers),
		cmocka_unit_test(podman_is_known_but_not_its_monitor),
		cmocka_unit_test(pods_are_known_under_both_drivers),
		cmocka_unit_test(drivers_at_odds_are_understood),
		cmocka_unit_test(machines_have_names_instead_of_ids),
		cmocka_unit_test(units_are_the_innermost_service_or_scope),
		cmocka_unit_test(what_only_looks_like_a_container_is_none),
		cmocka_unit_test(the_innermost_container_counts),
		cmocka_unit_test(a_name_longer_than_a_file_name_is_cut),
		cmocka_unit_test(docker_gives_its_name),
		cmocka_unit_test(podman_gives_the_first_name_of_an_id),
		cmocka_unit_test(json_may_nest_deeply_without_harm),
		cmocka_unit_test(log_files_of_pods_tell_all_names),
		cmocka_unit_test(log_directories_of_pods_tell_their_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
