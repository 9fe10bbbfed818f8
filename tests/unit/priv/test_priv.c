/* SPDX-License-Identifier: MIT */
/*
 * Each case runs in a process of its own, which splits and then asks the broker for what it must not get. As an ordinary
 * user there is nothing to give up, and the cases that need it are skipped.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "priv/output.h"
#include "priv/priv.h"
#include "priv/proc.h"
#include "priv/sandbox.h"

static char dir[64];

/* The line of the first check that did not hold; 0 when all did. */
#define EXPECT(condition)                \
	do {                             \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

#define SKIPPED (-3)
#define DONE    (-4) /* and nothing is left to be looked at */

static char allowed[96], other[96];

/* A path below the /proc directory of root's process that started this one. */
static const char *of_root(const char *format)
{
	static char path[4][64];
	static unsigned int turn;
	char *ret = path[turn++ % 4];

	snprintf(ret, sizeof(path[0]), format[0] == '/' ? "/proc/%d%s" : "%d/%s", getppid(),
		 format);
	return ret;
}

static int split(void)
{
	struct err e = {};
	char path[sizeof(allowed)];

	/* who asked may have forgotten it by then */
	strcpy(path, allowed);
	priv_output_allow(path, 2);
	memset(path, 'x', sizeof(path) - 1);
	return priv_split(&(struct priv_options){}, &e);
}

/* What of @before and @body is not so, with the split in between; what @before says other than 0 is it. */
static int split_between(int (*before)(void), int (*body)(void))
{
	int line = before ? before() : 0;

	if (line)
		return line;
	return split() < 0 ? -2 : body();
}

/* In a child, whose exit status has eight bits: the line goes through memory. */
static void run_after(int (*before)(void), int (*body)(void))
{
	int *line = mmap(NULL, sizeof(*line), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_ptr_not_equal(line, MAP_FAILED);
	*line = -1;
	pid = fork();
	if (pid == 0) {
		*line = split_between(before, body);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	status = *line;
	munmap(line, sizeof(*line));
	if (status == SKIPPED)
		skip();
	if (status && status != DONE)
		fail_msg("line %d", status);
}

static void run(int (*body)(void))
{
	run_after(NULL, body);
}

static int state_of_the_core(void)
{
	struct sandbox_state is;

	EXPECT(priv_is_split());
	EXPECT(sandbox_read(getpid(), &is) == 0);
	EXPECT(is.uid != 0 && !is.effective && !is.permitted && is.no_new_privs && is.filtered);
	EXPECT(getuid() == is.uid);
	EXPECT(setuid(0) < 0 && syscall(SYS_setresuid, 0, 0, 0) < 0);
	return 0;
}

static void nothing_is_left_in_the_core(void **state)
{
	run(state_of_the_core);
}

static pid_t thread_id;
static int thread_ends[2];

static void *thread_main(void *arg)
{
	char byte;

	__atomic_store_n(&thread_id, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	return read(thread_ends[0], &byte, 1) < 0 ? arg : NULL;
}

/* As a service with a user of its own and ambient capabilities; and a thread that was there before the split. */
static int as_a_user_with_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	pthread_t thread;

	EXPECT(prctl(PR_SET_KEEPCAPS, 1) == 0 && setresuid(1000, 1000, 1000) == 0);
	EXPECT(syscall(SYS_capget, &head, caps) == 0);
	for (size_t i = 0; i < 2; i++)
		caps[i].effective = caps[i].permitted;
	EXPECT(syscall(SYS_capset, &head, caps) == 0 && prctl(PR_SET_KEEPCAPS, 0) == 0);
	EXPECT(pipe(thread_ends) == 0 && !pthread_create(&thread, NULL, thread_main, NULL));
	while (!__atomic_load_n(&thread_id, __ATOMIC_SEQ_CST))
		usleep(1000);
	return 0;
}

static int state_of_the_thread(void)
{
	struct sandbox_state is;

	EXPECT(sandbox_read(thread_id, &is) == 0);
	EXPECT(is.uid != 0 && is.uid != 1000 && is.no_new_privs && is.filtered);
	EXPECT(!is.effective && !is.permitted);
	return 0;
}

static void nothing_is_left_in_threads_of_another_user(void **state)
{
	run_after(as_a_user_with_capabilities, state_of_the_thread);
}

/* The kernel takes nothing away then. */
static int as_a_user_with_fixed_capabilities(void)
{
	EXPECT(prctl(PR_SET_SECUREBITS, 4 /* SECBIT_NO_SETUID_FIXUP */) == 0);
	return as_a_user_with_capabilities();
}

static int threads_are_told(void)
{
	struct sandbox_state is;

	EXPECT(sandbox_read(getpid(), &is) == 0);
	EXPECT(is.permitted);
	return 0;
}

static void what_a_thread_keeps_is_told(void **state)
{
	run_after(as_a_user_with_fixed_capabilities, threads_are_told);
}

static int calls_of_the_core(void)
{
	static char *argv[] = {(char *)"true", NULL};

	EXPECT(fork() < 0 && errno == EPERM);
	EXPECT(execv("/bin/true", argv) < 0 && errno == EPERM);
	EXPECT(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM);
	EXPECT(open("/tmp/file", O_WRONLY | O_CREAT, 0600) < 0 && errno == EPERM);
	EXPECT(open("/dev/null", O_RDWR) < 0 && errno == EPERM);
	EXPECT(syscall(SYS_ptrace, 0, 0, 0, 0) < 0 && errno == EPERM);
	EXPECT(syscall(SYS_bpf, 5 /* BPF_PROG_LOAD */, NULL, 0) < 0 && errno == EPERM);
	EXPECT(kill(getppid(), 15) < 0 && errno == EPERM);
	EXPECT(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED);
	EXPECT(unlink(allowed) < 0 && errno == EPERM);
	return 0;
}

static void system_calls_that_do_harm_are_refused(void **state)
{
	run(calls_of_the_core);
}

static int files_of_processes(void)
{
	static const char *const refused[] = {
		"1/mem",         "1/root/etc/shadow",
		"../etc/shadow", "1/../../etc/shadow",
		"1/environ/..",  "kcore",
		"self/environ",  "1/fd/0",
		"/1/environ",    "1//environ",
		"1/environ ",    "",
		"1/task/1/mem",  "1/fdinfo/../mem",
		"1/fdinfo/",     "99999999999/environ",
	};
	char text[4096], task[64];
	int fd;

	snprintf(task, sizeof(task), "%d/task/%d/io", getppid(), getppid());
	/* the kernel lets another user see neither */
	EXPECT(open(of_root("/environ"), O_RDONLY) < 0 && errno == EACCES);
	fd = priv_proc_open(of_root("environ"));
	EXPECT(fd >= 0);
	EXPECT(read(fd, text, sizeof(text)) >= 0);
	EXPECT(priv_proc_read(of_root("io"), text, sizeof(text)) > 0 &&
	       !strncmp(text, "rchar:", 6));
	EXPECT(priv_proc_read(task, text, sizeof(text)) > 0);
	EXPECT(priv_proc_link(of_root("exe"), text, sizeof(text)) > 0 && *text == '/');
	EXPECT(priv_proc_link(of_root("root"), text, sizeof(text)) == -EINVAL);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		EXPECT(priv_proc_open(refused[i]) == -EINVAL);
		EXPECT(priv_proc_read(refused[i], text, sizeof(text)) == -EINVAL);
	}
	EXPECT(priv_proc_open("4194303/environ") == -ENOENT);
	return 0;
}

static void of_processes_only_listed_files_are_given_out(void **state)
{
	run(files_of_processes);
}

/* Root's file that begins as one of this type. */
static void put_elf(const char *name, uint16_t type)
{
	Elf64_Ehdr head = {.e_ident = ELFMAG, .e_type = type};
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(write(fd, &head, sizeof(head)) == sizeof(head));
	close(fd);
}

/* A link's way begins at our root directory, not at that of who put it there. */
static void put_links(void)
{
	char path[96], to[96];

	snprintf(path, sizeof(path), "%s/link", dir);
	snprintf(to, sizeof(to), "%s/program", dir);
	assert_int_equal(symlink(to, path), 0);
	snprintf(path, sizeof(path), "%s/to", dir);
	assert_int_equal(symlink(dir, path), 0);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
}

static int elf_open(const char *name)
{
	char path[160];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/root%s/%s", getppid(), dir, name);
	return priv_program_open(path, 0, &st);
}

static int programs(void)
{
	struct stat st;
	int fd = priv_program_open(of_root("/exe"), 0, &st);

	EXPECT(fd >= 0 && S_ISREG(st.st_mode) && st.st_size > 0);
	EXPECT(priv_program_open(of_root("/root/etc/shadow"), 0, &st) == -ENOEXEC);
	EXPECT(priv_program_open(of_root("/root/dev/null"), 0, &st) == -EINVAL);
	EXPECT(priv_program_open("/etc/shadow", 0, &st) == -EINVAL);
	EXPECT(priv_program_open(of_root("/map_files/../exe"), 0, &st) == -EINVAL);
	EXPECT(priv_program_open(of_root("/map_files/0-1"), 0, &st) == -ENOENT);
	EXPECT(priv_program_open(of_root("/mem"), 0, &st) == -EINVAL);
	EXPECT(elf_open("program") >= 0 && elf_open("library") >= 0);
	EXPECT(elf_open("link") == -ELOOP && elf_open("to/program") == -ELOOP);
	EXPECT(elf_open("fifo") == -EINVAL);
	EXPECT(priv_program_open(of_root("/root/proc/self/exe"), 0, &st) == -ELOOP);
	EXPECT(priv_program_open(of_root("/root/proc/kmsg"), 0, &st) == -EINVAL);
	EXPECT(priv_program_open(of_root("/root/sys/kernel/notes"), 0, &st) == -EINVAL);
	EXPECT(priv_program_open(of_root("/exe"), st.st_ino + 1, &st) == -ENOENT);
	EXPECT(fstat(fd, &st) == 0 && priv_program_open(of_root("/exe"), st.st_ino, &st) >= 0);
	EXPECT(elf_open("memory") == -ENOEXEC && elf_open("object") == -ENOEXEC);
	return 0;
}

static void programs_are_elf_files_that_run_and_nothing_else(void **state)
{
	put_elf("program", ET_EXEC);
	put_elf("library", ET_DYN);
	put_elf("memory", ET_CORE);
	put_elf("object", ET_REL);
	put_links();
	run(programs);
}

static int leased(void)
{
	EXPECT(elf_open("leased") == -EWOULDBLOCK);
	return 0;
}

/* Who holds the lease is told to give it back, and does not. */
static void a_leased_file_is_not_waited_for(void **state)
{
	char path[96];
	int fd;

	if (geteuid() != 0)
		skip();
	put_elf("leased", ET_DYN);
	snprintf(path, sizeof(path), "%s/leased", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	signal(SIGIO, SIG_IGN);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
	run(leased);
	close(fd);
	signal(SIGIO, SIG_DFL);
}

static int lease_of(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : priv_lease(fd);

	close(fd);
	return r;
}

static int leases(void)
{
	EXPECT(lease_of("/etc/passwd") == -ENOEXEC);
	EXPECT(lease_of("/dev/null") == -ENOEXEC);
	EXPECT(lease_of("/proc/self/exe") == 0);
	return 0;
}

static void leases_are_of_programs_and_nothing_else(void **state)
{
	run(leases);
}

#define SOCKETS 400

/* In portions, as they are asked for; what lies between them is none. */
static int sockets_of_root(void)
{
	struct priv_socket got[64];
	uint32_t from = 0, last = 0, n = 0;
	ssize_t r;

	while ((r = priv_proc_sockets((uint32_t)getppid(), from, got, 64)) > 0) {
		for (ssize_t i = 0; i < r; i++) {
			EXPECT(got[i].inode && (!n || got[i].fd > last));
			last = got[i].fd;
			n++;
		}
		from = last + 1;
	}
	EXPECT(r == 0 && n >= SOCKETS && n < SOCKETS + 16);
	return 0;
}

static void each_socket_is_told_once(void **state)
{
	int fds[SOCKETS], others[SOCKETS];

	for (size_t i = 0; i < SOCKETS; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		others[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(fds[i] >= 0 && others[i] >= 0);
	}
	run(sockets_of_root);
	for (size_t i = 0; i < SOCKETS; i++) {
		close(fds[i]);
		close(others[i]);
	}
}

/* ---- where privileges are other than usual ---- */

/* As root has them in a container: CAP_CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_RAW and so on. */
#define OF_A_CONTAINER 0xa80425fbU

static pid_t neighbour;

static int as_in_a_container(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {
		{.effective = OF_A_CONTAINER, .permitted = OF_A_CONTAINER}};

	int ends[2];
	char byte;

	EXPECT(pipe(ends) == 0);
	EXPECT(syscall(SYS_capset, &head, caps) == 0);
	neighbour = fork();
	if (neighbour == 0) {
		/* until its parent ends, who may no longer send it a signal then */
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) < 0);
	}
	close(ends[0]);
	return 0;
}

static int neighbour_in_the_container(void)
{
	char path[64], text[4096];

	snprintf(path, sizeof(path), "%d/environ", neighbour);
	EXPECT(priv_proc_open(path) >= 0);
	snprintf(path, sizeof(path), "%d/io", neighbour);
	EXPECT(priv_proc_read(path, text, sizeof(text)) > 0);
	return 0;
}

static void root_of_a_container_sees_as_much_as_before(void **state)
{
	run_after(as_in_a_container, neighbour_in_the_container);
}

static int with_hidepid(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, "hidepid=2") < 0)
		return SKIPPED;
	return 0;
}

static int sees_others(void)
{
	struct sandbox_state is;
	int fd = open(of_root("/stat"), O_RDONLY | O_CLOEXEC);

	EXPECT(sandbox_read(getpid(), &is) == 0);
	EXPECT(fd >= 0);
	EXPECT(is.uid != 0 && is.effective == 1ULL << CAP_SYS_PTRACE);
	return 0;
}

static void with_hidepid_the_core_sees_processes_nevertheless(void **state)
{
	run_after(with_hidepid, sees_others);
}

static int hidden_in_a_container(void)
{
	struct err e = {};
	int r = with_hidepid();

	if (r == 0)
		r = as_in_a_container();
	if (r)
		return r;
	EXPECT(priv_split(&(struct priv_options){}, &e) == -EPERM);
	EXPECT(!priv_is_split() && getuid() == 0 && strstr(e.text, "hidepid"));
	return DONE;
}

static void nobody_splits_who_would_be_blind_then(void **state)
{
	run_after(hidden_in_a_container, NULL);
}

/* The kernel's, which C libraries from glibc 2.42 on ask for; <asm/termbits.h> does not go with <pty.h>. */
struct termios2 {
	uint32_t words[11];
};

static int terminal;

static int with_a_terminal(void)
{
	struct winsize size = {.ws_col = 100};
	int master;

	return openpty(&master, &terminal, NULL, NULL, &size) < 0 ? __LINE__ : 0;
}

static int terminal_is_asked(void)
{
	struct termios2 modes;
	struct winsize size;
	pid_t group;

	EXPECT(ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col == 100);
	EXPECT(isatty(terminal));
	EXPECT(ioctl(terminal, TCGETS2, &modes) == 0);
	/* it is not the session's: the kernel says so, not the filter */
	EXPECT(ioctl(terminal, TIOCGPGRP, &group) < 0 && errno == ENOTTY);
	EXPECT(ioctl(terminal, TCSETS2, &modes) < 0 && errno == EPERM);
	return 0;
}

static void a_terminal_is_looked_at_and_not_changed(void **state)
{
	run_after(with_a_terminal, terminal_is_asked);
}

static int outputs(void)
{
	struct err e = {};
	struct stat st;
	int fd = -1;

	EXPECT(priv_output_open(allowed, true, &fd, &e) == 0);
	EXPECT(write(fd, "12", 2) == 2);
	EXPECT(priv_output_open(other, true, &fd, &e) == -EINVAL);
	EXPECT(priv_output_open("/etc/passwd", true, &fd, &e) == -EINVAL);
	EXPECT(priv_output_rotate(other, 2, &fd, &e) == -EINVAL);
	EXPECT(priv_output_rotate(allowed, 2, &fd, &e) == 0);
	EXPECT(fstat(fd, &st) == 0 && st.st_size == 0);
	return 0;
}

static void only_outputs_that_were_named_before_are_opened(void **state)
{
	struct stat st;
	char old[128];

	run(outputs);
	snprintf(old, sizeof(old), "%s.1", allowed);
	assert_int_equal(stat(old, &st), 0);
	assert_int_equal(st.st_size, 2);
	assert_int_equal(stat(other, &st), -1);
}

/* Requests of a core that somebody has taken over. */
static int nonsense(void)
{
	static char data[PEER_DATA_MAX];
	uint32_t seed = 1;

	for (int i = 0; i < 20000; i++) {
		struct peer_request rq = {.data = data};

		seed = seed * 1664525 + 1013904223;
		rq.service = (seed >> 16) % (PRIV_SERVICES + 2);
		rq.len = (seed >> 8) % 97 * (seed >> 24) % sizeof(data);
		for (size_t k = 0; k < 64; k++)
			data[(k * 131 + seed) % sizeof(data)] = (char)(seed >> (k & 15));
		EXPECT(priv_call(&rq, NULL) < 0);
	}
	EXPECT(priv_proc_open(of_root("environ")) >= 0);
	return 0;
}

static void nonsense_does_not_end_the_broker(void **state)
{
	run(nonsense);
}

static int made_directory(void **state)
{
	strcpy(dir, "/tmp/test_priv.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(allowed, sizeof(allowed), "%s/allowed", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	log_setup(LOG_ERROR, false);
	return 0;
}

static int removed_directory(void **state)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left_in_the_core),
		cmocka_unit_test(nothing_is_left_in_threads_of_another_user),
		cmocka_unit_test(what_a_thread_keeps_is_told),
		cmocka_unit_test(system_calls_that_do_harm_are_refused),
		cmocka_unit_test(of_processes_only_listed_files_are_given_out),
		cmocka_unit_test(programs_are_elf_files_that_run_and_nothing_else),
		cmocka_unit_test(a_leased_file_is_not_waited_for),
		cmocka_unit_test(leases_are_of_programs_and_nothing_else),
		cmocka_unit_test(each_socket_is_told_once),
		cmocka_unit_test(root_of_a_container_sees_as_much_as_before),
		cmocka_unit_test(with_hidepid_the_core_sees_processes_nevertheless),
		cmocka_unit_test(nobody_splits_who_would_be_blind_then),
		cmocka_unit_test(a_terminal_is_looked_at_and_not_changed),
		cmocka_unit_test(only_outputs_that_were_named_before_are_opened),
		cmocka_unit_test(nonsense_does_not_end_the_broker),
	};

	return cmocka_run_group_tests(tests, made_directory, removed_directory);
}
