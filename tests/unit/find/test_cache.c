/* SPDX-License-Identifier: MIT */
/* The cache of results, for the test program itself. */
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "find/cache.h"
#include "find/library.h"
#include "unit/find/fixture.h"

static char directory[64];
static char name[512]; /* of the cache file */

struct self {
	int fd;
	struct image *im;
	struct find_result result;
};

static uint64_t text_vaddr(struct image *im)
{
	const struct image_segment *segs;
	size_t n = image_segments(im, &segs);

	for (size_t i = 0; i < n; i++) {
		if (image_in_text(im, segs[i].vaddr))
			return segs[i].vaddr;
	}
	return 0;
}

/* An image with one library and two sites. */
static struct self program_open(const char *path)
{
	struct self s = {};
	uint64_t text;

	s.fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(image_open(s.fd, NULL, &s.im), 0);
	assert_int_equal(image_build_id(s.im, &s.result.id), 0);
	text = text_vaddr(s.im);
	assert_int_equal(find_library_add(&s.result, LIBRARY_OPENSSL, "OpenSSL 3.5.5"), 0);
	assert_int_equal(
		find_site_add(&s.result, s.im, FIND_WRITE, FIND_SHAPE_COUNT_ARG5, text + 64), 0);
	assert_int_equal(
		find_site_add(&s.result, s.im, FIND_READ, FIND_SHAPE_COUNT_ARG4, text + 128), 0);
	return s;
}

static struct self self_open(void)
{
	return program_open("/proc/self/exe");
}

static void self_close(struct self *s)
{
	find_result_done(&s->result);
	image_free(s->im);
	close(s->fd);
}

static int load(struct self *s, struct find_result *ret)
{
	*ret = (struct find_result){.id = s->result.id};
	return find_cache_load(directory, s->fd, s->im, ret);
}

static int store(const struct self *s, const struct find_result *result)
{
	struct stat st;

	assert_int_equal(fstat(s->fd, &st), 0);
	return find_cache_store(directory, s->fd, &st, result);
}

static int store_nothing(const struct self *s)
{
	struct find_result none = {.id = s->result.id};
	int r;

	find_refuse(&none, "%s", "nothing here");
	r = store(s, &none);
	find_result_done(&none);
	return r;
}

/* The only file in the cache. */
static void name_find(void)
{
	DIR *d = opendir(directory);
	struct dirent *entry;

	*name = '\0';
	assert_non_null(d);
	while ((entry = readdir(d))) {
		if (entry->d_name[0] != '.')
			snprintf(name, sizeof(name), "%s/%s", directory, entry->d_name);
	}
	closedir(d);
	assert_int_equal(access(name, R_OK), 0);
}

static int stored(void **state)
{
	struct self s = self_open();
	mode_t mask;

	snprintf(directory, sizeof(directory), "/tmp/agentsight-cache-XXXXXX");
	assert_non_null(mkdtemp(directory));
	strcat(directory, "/find");
	mask = umask(077);
	assert_int_equal(store(&s, &s.result), 0);
	umask(mask);
	name_find();
	self_close(&s);
	return 0;
}

/* This program once more, with this mode. */
static const char *copy(mode_t mode)
{
	static char path[128];
	char command[320];

	snprintf(path, sizeof(path), "%.*s/copy", (int)(strrchr(directory, '/') - directory),
		 directory);
	snprintf(command, sizeof(command), "cp /proc/%d/exe %s && chmod %o %s", getpid(), path,
		 mode, path);
	assert_int_equal(system(command), 0);
	return path;
}

static int removed(void **state)
{
	char command[160];

	snprintf(command, sizeof(command), "rm -rf $(dirname %s)", directory);
	return system(command);
}

/* Replaces a text of the same length, or all of it, in the stored file. */
static void change(const char *from, const char *to)
{
	char text[4096] = "";
	FILE *f = fopen(name, "r");
	char *at;

	assert_non_null(f);
	assert_true(fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	at = strstr(text, from);
	assert_non_null(at);
	memcpy(at, to, strlen(to));
	f = fopen(name, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void refused(int error)
{
	struct self s = self_open();
	struct find_result r;

	assert_int_equal(load(&s, &r), error);
	assert_int_equal(r.n, 0);
	assert_int_equal(r.n_libraries, 0);
	find_result_done(&r);
	self_close(&s);
}

static void what_is_stored_comes_back(void **state)
{
	struct self s = self_open();
	struct find_result r;

	assert_int_equal(load(&s, &r), 0);
	assert_true(r.cached);
	assert_int_equal(r.n, 2);
	assert_memory_equal(r.sites, s.result.sites, 2 * sizeof(*r.sites));
	assert_string_equal(r.libraries[0].name, "OpenSSL");
	assert_string_equal(r.libraries[0].version, "OpenSSL 3.5.5");
	find_result_done(&r);
	self_close(&s);
}

static void that_there_is_nothing_comes_back_with_its_reason(void **state)
{
	struct self s = self_open();
	struct find_result r;

	assert_int_equal(unlink(name), 0);
	assert_int_equal(store_nothing(&s), 0);
	assert_int_equal(load(&s, &r), -ENOENT);
	assert_true(r.cached);
	assert_string_equal(r.reason, "nothing here");
	find_result_done(&r);
	self_close(&s);
}

/* Anybody can make a file with the build id and size of a program, and nothing in it. */
static void that_there_is_nothing_is_believed_of_one_file_only(void **state)
{
	struct self other = program_open(copy(0755)), s = self_open();
	struct find_result r;

	assert_int_equal(store_nothing(&other), 0);
	assert_int_equal(load(&s, &r), 0);
	assert_int_equal(r.n, 2);
	find_result_done(&r);

	assert_int_equal(unlink(name), 0);
	refused(-ENODATA);
	self_close(&other);
	self_close(&s);
}

static void that_there_is_nothing_is_not_believed_of_what_changed(void **state)
{
	const char *path = copy(0755);
	struct self s = program_open(path);
	struct find_result r;
	struct stat st;

	assert_int_equal(unlink(name), 0);
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_int_equal(store_nothing(&s), 0);
	/* with the time of before put back, as who wrote into it can do */
	usleep(20000);
	assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){st.st_atim, st.st_mtim}, 0),
			 0);
	assert_int_equal(load(&s, &r), -ESTALE);
	find_result_done(&r);
	self_close(&s);
}

static void a_build_id_is_believed_of_what_root_alone_can_write(void **state)
{
	struct find_result r;
	struct statvfs fs;
	struct self s = program_open(copy(0755));

	if (geteuid() != 0 || fstatvfs(s.fd, &fs) < 0 || (fs.f_flag & ST_NOSUID) ||
	    s.result.id.len < 8)
		skip();
	assert_int_equal(load(&s, &r), 0);
	find_result_done(&r);
	assert_int_equal(fchmod(s.fd, 0775), 0);
	assert_int_equal(load(&s, &r), -ENODATA);
	assert_int_equal(fchmod(s.fd, 0755), 0);
	assert_int_equal(fchown(s.fd, 65534, 0), 0);
	assert_int_equal(load(&s, &r), -ENODATA);
	self_close(&s);
}

/* A process with mounts of its own, as a container has, in which a directory is mounted onto itself. */
static pid_t container_start(const char *where)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount(where, where, NULL, MS_BIND, NULL) || write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(ready[0]);
	return pid;
}

static void nor_is_the_build_id_of_a_containers_root(void **state)
{
	char path[PATH_MAX], inside[PATH_MAX + 32];
	struct find_result r;
	struct self s;
	pid_t pid;

	snprintf(path, sizeof(path), "%s", copy(0755));
	s = program_open(path);
	if (geteuid() != 0 || load(&s, &r) < 0)
		skip();
	find_result_done(&r);
	self_close(&s);
	pid = container_start(dirname(strcpy(inside, path)));
	if (pid < 0)
		skip();
	snprintf(inside, sizeof(inside), "/proc/%d/root%s", pid, path);
	s = program_open(inside);
	assert_int_equal(load(&s, &r), -ENODATA);
	self_close(&s);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void an_unknown_file_is_not_there(void **state)
{
	assert_int_equal(unlink(name), 0);
	refused(-ENODATA);
}

static void a_file_that_others_can_write_is_refused(void **state)
{
	assert_int_equal(chmod(name, 0666), 0);
	refused(-EPERM);
}

static void a_directory_that_others_can_write_is_refused(void **state)
{
	assert_int_equal(chmod(directory, 0777), 0);
	refused(-EPERM);
	assert_int_equal(chmod(directory, 0700), 0);
}

static void a_link_is_refused(void **state)
{
	char to[sizeof(name) + 8];

	snprintf(to, sizeof(to), "%s.old", name);
	assert_int_equal(rename(name, to), 0);
	assert_int_equal(symlink(to, name), 0);
	refused(-ELOOP);
}

static void code_that_changed_is_noticed(void **state)
{
	struct self s = self_open();
	char hex[33] = "";

	for (size_t i = 0; i < FIND_CODE; i++)
		sprintf(hex + 2 * i, "%02x", s.result.sites[0].code[i]);
	self_close(&s);
	change(hex, "00ff00ff00ff00ff00ff00ff00ff00ff");
	refused(-ESTALE);
}

static void an_offset_outside_of_code_is_noticed(void **state)
{
	change("0x", "0x0 ");
	refused(-EBADMSG);
}

static void another_size_is_another_program(void **state)
{
	change("size ", "size 0");
	refused(-ESTALE);
}

static void another_finders_file_is_not_read(void **state)
{
	change("agentsight-find 4", "agentsight-find 0");
	refused(-ESTALE);
}

static void a_file_without_its_end_is_not_read(void **state)
{
	change("end\n", "");
	change("end\n", "#nd\n");
	refused(-EBADMSG);
}

static void a_function_that_does_not_exist_is_an_error(void **state)
{
	change("site write", "site wrote");
	refused(-EBADMSG);
}

static void what_is_no_text_is_not_read(void **state)
{
	change("OpenSSL 3.5.5", "OpenSSL \033[31m");
	refused(-EBADMSG);
}

static void nothing_without_a_reason_is_not_believed(void **state)
{
	FILE *f;

	change("library", "end\n   ");
	f = fopen(name, "r+");
	assert_non_null(f);
	while (fgetc(f) != 'e' || fgetc(f) != 'n' || fgetc(f) != 'd')
		;
	assert_int_equal(ftruncate(fileno(f), ftell(f) + 1), 0);
	fclose(f);
	refused(-EBADMSG);
}

#define test(f) cmocka_unit_test_setup_teardown(f, stored, removed)

/* Who looks there has given root's privileges up; an ordinary user's is his own. */
static void roots_directory_is_for_all_to_look_into(void **state)
{
	struct stat st;

	assert_int_equal(stat(directory, &st), 0);
	assert_int_equal(st.st_mode & 07777, geteuid() == 0 ? 0755 : 0700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(roots_directory_is_for_all_to_look_into, stored,
						removed),
		test(what_is_stored_comes_back),
		test(that_there_is_nothing_comes_back_with_its_reason),
		test(that_there_is_nothing_is_believed_of_one_file_only),
		test(that_there_is_nothing_is_not_believed_of_what_changed),
		test(a_build_id_is_believed_of_what_root_alone_can_write),
		test(nor_is_the_build_id_of_a_containers_root),
		test(an_unknown_file_is_not_there),
		test(a_file_that_others_can_write_is_refused),
		test(a_directory_that_others_can_write_is_refused),
		test(a_link_is_refused),
		test(code_that_changed_is_noticed),
		test(an_offset_outside_of_code_is_noticed),
		test(another_size_is_another_program),
		test(another_finders_file_is_not_read),
		test(a_file_without_its_end_is_not_read),
		test(what_is_no_text_is_not_read),
		test(nothing_without_a_reason_is_not_believed),
		test(a_function_that_does_not_exist_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
