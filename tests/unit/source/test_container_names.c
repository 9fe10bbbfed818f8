/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "source/container_names.h"
#include "unit/source/tree.h"

#define ID  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "a1b2c3d4-0000-1111-2222-333344445555"

#define STORAGE "var/lib/containers/storage/overlay-containers/"

static int set_up(void **state)
{
	return tree_make();
}

static int tear_down(void **state)
{
	return tree_remove();
}

static struct container of(const char *path)
{
	struct container c;

	container_parse_path(path, strlen(path), &c);
	return c;
}

static void docker_names_are_found(void **state)
{
	struct container c = of("/docker/" ID);

	assert_false(container_names_find(tree, &c));
	tree_put("var/lib/docker/containers/" ID "/config.v2.json", "{\"Name\":\"/web\"}");
	assert_true(container_names_find(tree, &c));
	assert_string_equal(c.name, "web");
}

static void podman_names_are_found_in_either_file(void **state)
{
	struct container c = of("/machine.slice/libpod-" ID ".scope");

	tree_put(STORAGE "containers.json", "[{\"id\":\"aa\",\"names\":[\"x\"]}]");
	assert_false(container_names_find(tree, &c));
	tree_put(STORAGE "volatile-containers.json", "[{\"id\":\"" ID "\",\"names\":[\"db\"]}]");
	assert_true(container_names_find(tree, &c));
	assert_string_equal(c.name, "db");
}

static void pods_are_found_by_their_logs(void **state)
{
	struct container c = of("/kubepods/pod" UID "/" ID);

	tree_put("var/log/pods/prod_web-1_" UID "/x", "");
	assert_false(container_names_find(tree, &c));
	assert_string_equal(c.pod, "web-1");
	assert_string_equal(c.pod_namespace, "prod");
	assert_string_equal(c.name, "");
	tree_put("var/log/containers/other_a_b-" ID ".loh", "");
	tree_put("var/log/containers/web-1_prod_nginx-" ID ".log", "");
	assert_true(container_names_find(tree, &c));
	assert_string_equal(c.name, "nginx");
}

static void the_slice_of_a_pod_has_no_container(void **state)
{
	struct container c = of("/kubepods/pod" UID);

	tree_put("var/log/pods/prod_web-1_" UID "/x", "");
	assert_true(container_names_find(tree, &c));
	assert_string_equal(c.pod, "web-1");
}

static void what_is_no_regular_file_is_not_read(void **state)
{
	const char *path = tree_path("var/lib/docker/containers/" ID "/config.v2.json");
	struct container c = of("/docker/" ID);

	tree_parents(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(container_names_find(tree, &c));
}

static void a_huge_file_is_not_read(void **state)
{
	const char *path = tree_path("var/lib/docker/containers/" ID "/config.v2.json");
	struct container c = of("/docker/" ID);

	tree_put("var/lib/docker/containers/" ID "/config.v2.json", "{\"Name\":\"/web\"}");
	assert_int_equal(truncate(path, 5 << 20), 0);
	assert_false(container_names_find(tree, &c));
}

static void there_is_nothing_to_find_outside_of_containers(void **state)
{
	struct container c = of("/system.slice/sshd.service");

	assert_true(container_names_find(tree, &c));
	c = of("/lxc/web");
	assert_true(container_names_find(tree, &c));
	assert_string_equal(c.name, "web");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(docker_names_are_found),
		TEST(podman_names_are_found_in_either_file),
		TEST(pods_are_found_by_their_logs),
		TEST(the_slice_of_a_pod_has_no_container),
		TEST(what_is_no_regular_file_is_not_read),
		TEST(a_huge_file_is_not_read),
		TEST(there_is_nothing_to_find_outside_of_containers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
