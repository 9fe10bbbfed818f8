/* SPDX-License-Identifier: MIT */
/*
 * The corners of a process's life. Each scenario does one thing and prints the fork, exec and exit
 * events of all processes it made; how they ended is what the kernel told their parent, or where no
 * parent can be told, what they said before. docs/LIFECYCLE.md has the list.
 *
 *	life SCENARIO
 *	life end CODE		ends with CODE
 *	life as EUID CODE	the same, with 99 when that is not who it runs as
 *	life back CODE		becomes the user that it runs as, and ends with CODE
 *	life scripted ... CODE	ends with CODE: what interprets a script
 *	life waits		ends with 6 at SIGUSR1
 *	life holds PROGRAM	starts `PROGRAM waits` and passes SIGUSR1 on
 */
#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <linux/sched.h>

#include "tell.h"

#define NOBODY    65534
#define MANY      10   /* threads */
#define REUSES    5    /* of one number */
#define ADOPTIONS 1000 /* orphans of each of two, and as many children beside them */
#define RACES     200  /* of threads to the end */
#define NOT_HERE  77   /* the status that says so */

static char self[4096];

/* ---- helpers ---- */

static pid_t child_start(void (*run)(void))
{
	pid_t pid = MUST(fork());

	if (pid == 0) {
		run();
		_exit(0);
	}
	tell_fork(getpid(), pid);
	return pid;
}

/* What waitid() says, of a child of any kind. */
static void child_end(pid_t pid)
{
	siginfo_t i;

	MUST(waitid(P_PID, pid, &i, WEXITED | __WALL));
	tell("{\"source\":\"process\",\"pid\":%d,\"ppid\":%d,\"data\":{\"type\":\"exit\","
	     "\"exit_code\":%d,\"signal\":%d%s}}\n",
	     pid, getpid(), i.si_code == CLD_EXITED ? i.si_status : 0,
	     i.si_code == CLD_EXITED ? 0 : i.si_status,
	     i.si_code == CLD_DUMPED ? ",\"core_dumped\":true" : "");
}

/* A process that its parent never hears of says itself how it is going to end. */
static _Noreturn void end_telling(int code)
{
	tell_exit(getpid(), code << 8);
	_exit(code);
}

static void exec_end(const char *code)
{
	char *argv[] = {(char *)"life", (char *)"end", (char *)code, NULL};

	tell_exec(getpid(), getppid(), self, argv);
	execv(self, argv);
	abort();
}

/* The same for one whose parent cannot be told. */
static void exec_telling_end(const char *code)
{
	char *argv[] = {(char *)"life", (char *)"end", (char *)code, NULL};

	tell_exec(getpid(), getppid(), self, argv);
	tell_exit(getpid(), atoi(code) << 8);
	execv(self, argv);
	abort();
}

/* A file beside nothing that matters; its name is no longer than a comm. */
static char *temporary_name(const char *kind)
{
	char *path;

	if (asprintf(&path, "/tmp/%s.%d", kind, getpid()) < 0)
		abort();
	return path;
}

static char *temporary_file(const char *kind, const void *bytes, size_t len)
{
	char *path = temporary_name(kind);
	int fd = MUST(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755));

	if (write(fd, bytes, len) != (ssize_t)len)
		abort();
	close(fd);
	return path;
}

/* This program once more, in the file @to. */
static void copy_self(int to)
{
	int from = MUST(open(self, O_RDONLY | O_CLOEXEC));
	struct stat st;

	MUST(fstat(from, &st));
	for (off_t done = 0; done < st.st_size;)
		done += MUST(sendfile(to, from, NULL, st.st_size - done));
	close(from);
}

/* Also of one that is nobody's child here. */
static void wait_ended(pid_t pid)
{
	struct pollfd p = {.fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

	if (p.fd < 0 && errno == ESRCH)
		return;
	MUST(p.fd);
	MUST(poll(&p, 1, -1));
	close(p.fd);
}

static void *start_thread(void *(*run)(void *))
{
	pthread_t t;

	if (pthread_create(&t, NULL, run, NULL))
		abort();
	return NULL;
}

/* The leader has become a zombie. */
static void wait_leader_ended(void)
{
	char path[64], stat[512], *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", getpid());
	do {
		FILE *f = fopen(path, "re");

		if (!f || !fgets(stat, sizeof(stat), f))
			abort();
		fclose(f);
		state = strrchr(stat, ')') + 2;
		sched_yield();
	} while (*state != 'Z');
}

/* ---- threads ---- */

static void *exec_in_thread(void *arg)
{
	exec_end("7");
	return NULL;
}

static void thread_execs(void)
{
	start_thread(exec_in_thread);
	for (;;)
		pause();
}

static void *end_group_with_5(void *arg)
{
	wait_leader_ended();
	exit(5);
}

static void leader_ends_first(void)
{
	start_thread(end_group_with_5);
	syscall(SYS_exit, 0);
}

static void *end_thread_with_0(void *arg)
{
	wait_leader_ended();
	syscall(SYS_exit, 0);
	return NULL;
}

static void leader_ends_with_3(void)
{
	start_thread(end_thread_with_0);
	syscall(SYS_exit, 3);
}

static void *end_thread(void *arg)
{
	syscall(SYS_exit, 9);
	return NULL;
}

static void threads_end(void)
{
	pthread_t t[20];

	for (int i = 0; i < 20; i++)
		pthread_create(&t[i], NULL, end_thread, NULL);
	for (int i = 0; i < 20; i++)
		pthread_join(t[i], NULL);
	_exit(4);
}

static void nothing(void)
{
}

static void wait_forever(void)
{
	for (;;)
		pause();
}

static void *wait_in_thread(void *arg)
{
	wait_forever();
	return NULL;
}

static void start_many(void)
{
	for (int i = 0; i < MANY; i++)
		start_thread(wait_in_thread);
}

static void *end_with_5(void *arg)
{
	_exit(5);
}

static void group_ends(void)
{
	start_many();
	start_thread(end_with_5);
	wait_forever();
}

static void group_is_killed(void)
{
	start_many();
	kill(getpid(), SIGKILL);
}

static void exec_ends_threads(void)
{
	start_many();
	exec_end("7");
}

static void *fork_and_exec(void *arg)
{
	wait_leader_ended();
	child_end(child_start(nothing));
	exec_end("7");
	return NULL;
}

static void leader_is_gone(void)
{
	start_thread(fork_and_exec);
	syscall(SYS_exit, 3);
}

static unsigned at_line;

static void race(int code)
{
	__atomic_fetch_add(&at_line, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&at_line, __ATOMIC_SEQ_CST) < 2)
		;
	syscall(SYS_exit, code);
}

static void *race_in_thread(void *arg)
{
	race(4);
	return NULL;
}

static void race_to_the_end(void)
{
	start_thread(race_in_thread);
	race(3);
}

static int child_gate[2];

/* Held back until nobody has the other end of the pipe. */
static void wait_at_gate(void)
{
	char byte;

	close(child_gate[1]);
	if (read(child_gate[0], &byte, 1) != 0)
		abort();
}

static void exec_behind_gate(void)
{
	wait_at_gate();
	exec_end("10");
}

static void *fork_in_thread(void *arg)
{
	*(pid_t *)arg = child_start(exec_behind_gate);
	return NULL;
}

/* The child's parent is a thread that has gone when it execs: another one stands in. */
static void thread_forks(void)
{
	pthread_t t;
	pid_t pid;

	MUST(pipe(child_gate));
	if (pthread_create(&t, NULL, fork_in_thread, &pid))
		abort();
	pthread_join(t, NULL);
	close(child_gate[0]);
	close(child_gate[1]);
	child_end(pid);
}

static void *name_thread(void *arg)
{
	prctl(PR_SET_NAME, "thread");
	wait_leader_ended();
	exit(5);
}

/* Its last words are those of a thread; its name is the leader's. */
static void rename_self(void)
{
	prctl(PR_SET_NAME, "another \"name\"");
	start_thread(name_thread);
	syscall(SYS_exit, 0);
}

/* ---- processes ---- */

static void exec_twice(void)
{
	char *argv[] = {(char *)"life", (char *)"again", (char *)"42", NULL};

	tell_exec(getpid(), getppid(), self, argv);
	argv[1] = (char *)"end";
	tell_exec(getpid(), getppid(), self, argv);
	argv[1] = (char *)"again";
	execv(self, argv);
}

static void exec_fails(void)
{
	char *argv[] = {(char *)"none", NULL};
	char *text = temporary_file("text", "text\n", 5);
	char *orphaned = temporary_file("lost", "#!/nonexistent/sh\n", 18);

	execv("/nonexistent/none", argv);
	execv("/proc", argv);
	execv(text, argv);
	execv(orphaned, argv);
	unlink(text);
	unlink(orphaned);
	_exit(6);
}

static void make_sibling(void)
{
	pid_t parent = getppid(), pid;

	pid = MUST(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0));
	if (pid == 0)
		exec_end("11");
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"fork\",\"child_pid\":%d,"
	     "\"ppid\":%d}}\n",
	     getpid(), pid, parent);
}

static pid_t middle_pid;
static pid_t *orphan_pid; /* shared */

/* Its parent is somebody else by now: exec says who. */
static void orphan(void)
{
	wait_at_gate();
	while (getppid() == middle_pid)
		sched_yield();
	exec_telling_end("12");
}

static void leave_orphan(void)
{
	middle_pid = getpid();
	*orphan_pid = child_start(orphan);
}

static void leave_daemon(void)
{
	setsid();
	leave_orphan();
}

/* The parent of the orphan ends, then it goes on. */
static void run_orphan(void (*middle)(void))
{
	pid_t pid;

	orphan_pid = mmap(NULL, sizeof(*orphan_pid), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(pipe(child_gate));
	pid = child_start(middle);
	child_end(pid);
	close(child_gate[0]);
	close(child_gate[1]);
}

static void die_of(int number)
{
	sigset_t set;

	signal(number, SIG_DFL);
	sigfillset(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(number);
}

/* Those whose default is the end, and some without a name. */
static const int deadly[] = {
	SIGHUP,    SIGINT,  SIGQUIT, SIGILL,  SIGTRAP, SIGABRT, SIGBUS,    SIGFPE,  SIGKILL,
	SIGUSR1,   SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGXCPU, SIGXFSZ,
	SIGVTALRM, SIGPROF, SIGIO,   SIGPWR,  SIGSYS,  34,      64,
};

static void die_of_fault(void)
{
	volatile char *page = mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	signal(SIGSEGV, SIG_DFL);
	*page = 1;
}

static void die_with_core(void)
{
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_CORE, &all);
	madvise(tale, sizeof(*tale), MADV_DONTDUMP);
	die_of(SIGABRT);
}

static void stop_and_end(void)
{
	raise(SIGSTOP);
	_exit(3);
}

static void end_unheard(void)
{
	end_telling(15);
}

static void end_with_20(void)
{
	_exit(20);
}

static void be_user(uid_t uid)
{
	MUST(setresuid(uid, 0, 0));
}

static void come_back(void)
{
	be_user(0);
	exec_end("7");
}

/* What a process of another user does is not told, but its child comes back. */
static void go_away(void)
{
	pid_t pid;

	be_user(NOBODY);
	pid = MUST(fork());
	if (pid == 0)
		come_back();
	child_end(pid);
}

/* Everything in it is seen by a tracer first. */
static void be_traced(void)
{
	MUST(ptrace(PTRACE_TRACEME, 0, 0, 0));
	raise(SIGSTOP);
	child_end(child_start(end_with_20));
	exec_end("7");
}

static int end_with_13(void *arg)
{
	return 13;
}

/* ---- scenarios ---- */

static void run_child(void (*run)(void))
{
	child_end(child_start(run));
}

static void scenario_thread_execs(void)
{
	run_child(thread_execs);
}

static void scenario_leader_first(void)
{
	run_child(leader_ends_first);
}

static void scenario_leader_code(void)
{
	run_child(leader_ends_with_3);
}

static void scenario_threads_end(void)
{
	run_child(threads_end);
}

static void scenario_fork_only(void)
{
	run_child(nothing);
}

static void scenario_killed(void)
{
	pid_t pid = child_start(wait_forever);

	MUST(kill(pid, SIGKILL));
	child_end(pid);
}

static void scenario_double_exec(void)
{
	run_child(exec_twice);
}

static void scenario_failed_exec(void)
{
	run_child(exec_fails);
}

static void scenario_vfork(void)
{
	char *argv[] = {(char *)"life", (char *)"end", (char *)"8", NULL};
	pid_t pid = vfork();

	if (pid == 0) {
		execv(self, argv);
		_exit(127);
	}
	tell_fork(getpid(), pid);
	tell_exec(pid, getpid(), self, argv);
	child_end(pid);

	pid = vfork();
	if (pid == 0)
		_exit(9);
	tell_fork(getpid(), pid);
	child_end(pid);
}

static pid_t clone_with(struct clone_args args, int code)
{
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		_exit(code);
	if (pid > 0)
		tell_fork(getpid(), pid);
	return pid;
}

/* One that ends without a signal, one with another than usual, one that is held by a descriptor. */
static void scenario_clone3(void)
{
	int pidfd = -1;

	signal(SIGUSR1, SIG_IGN);
	child_end(MUST(clone_with((struct clone_args){}, 1)));
	child_end(MUST(clone_with((struct clone_args){.exit_signal = SIGUSR1}, 2)));
	child_end(MUST(clone_with((struct clone_args){.flags = CLONE_PIDFD | CLONE_VFORK,
						      .pidfd = (uintptr_t)&pidfd,
						      .exit_signal = SIGCHLD},
				  3)));
}

/* A process, though it shares all that threads share. */
static void scenario_shared_memory(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | SIGCHLD;
	pid_t pid = MUST(clone(end_with_13, stack + sizeof(stack), flags, NULL));

	tell_fork(getpid(), pid);
	child_end(pid);
}

static void scenario_thread_forks(void)
{
	run_child(thread_forks);
}

static void scenario_group_exit(void)
{
	run_child(group_ends);
	run_child(group_is_killed);
}

static void scenario_exec_ends_threads(void)
{
	run_child(exec_ends_threads);
}

static void scenario_leader_gone(void)
{
	run_child(leader_is_gone);
}

static void scenario_other_user(void)
{
	MUST(waitpid(child_start(go_away), NULL, 0));
}

/* Each of the two, or of the many, may be the last; they end but once. */
static void scenario_threads_race(void)
{
	for (int i = 0; i < RACES; i++)
		run_child(i % 4 ? race_to_the_end : group_ends);
}

static void scenario_renamed(void)
{
	pid_t pid = child_start(rename_self);

	tell("{\"source\":\"process\",\"pid\":%d,\"comm\":\"another \\\"name\\\"\","
	     "\"data\":{\"type\":\"exit\",\"exit_code\":5}}\n",
	     pid);
	MUST(waitpid(pid, NULL, 0));
}

/* ---- files that are run ---- */

/* A child that runs @path as @argv by execv(), or by its open descriptor when @fd is none of -1. */
static void run_file(const char *path, int fd, char *const argv[], const char *seen_as,
		     char *const seen_argv[])
{
	pid_t pid = MUST(fork());

	if (pid == 0) {
		if (fd < 0)
			execv(path, argv);
		else
			syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
		_exit(127);
	}
	tell_fork(getpid(), pid);
	tell_exec(pid, getpid(), seen_as, seen_argv);
	child_end(pid);
}

/* The event has the name that was given and the arguments that came to be. */
static void scenario_script(void)
{
	char text[4200], *inner, *outer;

	snprintf(text, sizeof(text), "#!%s scripted\n", self);
	inner = temporary_file("inner", text, strlen(text));
	snprintf(text, sizeof(text), "#!%s twice\n", inner);
	outer = temporary_file("outer", text, strlen(text));
	run_file(inner, -1, (char *[]){(char *)"lost", (char *)"17", NULL}, inner,
		 (char *[]){self, (char *)"scripted", inner, (char *)"17", NULL});
	run_file(outer, -1, (char *[]){(char *)"lost", (char *)"18", NULL}, outer,
		 (char *[]){self, (char *)"scripted", inner, (char *)"twice", outer, (char *)"18",
			    NULL});
	unlink(inner);
	unlink(outer);
}

static void scenario_memfd(void)
{
	char *argv[] = {(char *)"life", (char *)"end", (char *)"19", NULL}, path[32];
	int fd = MUST(memfd_create("life", MFD_CLOEXEC));

	copy_self(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	run_file(path, -1, argv, path, argv);
}

static void scenario_fexecve(void)
{
	char *argv[] = {(char *)"life", (char *)"end", (char *)"21", NULL}, path[32];
	int fd = MUST(open(self, O_RDONLY | O_CLOEXEC));

	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	run_file(NULL, fd, argv, path, argv);
}

static char *setuid_copy(uid_t owner)
{
	char *path = temporary_file("suid", "", 0);
	int fd = MUST(open(path, O_WRONLY | O_CLOEXEC));

	copy_self(fd);
	MUST(fchown(fd, owner, -1));
	MUST(fchmod(fd, 04755));
	close(fd);
	return path;
}

static void run_as(uid_t uid, const char *program, char *const argv[])
{
	pid_t pid = MUST(fork());

	if (pid == 0) {
		MUST(setuid(uid));
		execv(program, argv);
		_exit(127);
	}
	tell_fork(getpid(), pid);
	/* the real user: who started it, not whose rights it has */
	tell("{\"source\":\"process\",\"pid\":%d,\"uid\":%d,\"data\":{\"type\":\"exec\","
	     "\"filename\":\"%s\",\"uid\":%d}}\n",
	     pid, uid, program, uid);
	child_end(pid);
}

static void scenario_setuid(void)
{
	struct statvfs fs;
	char *program;

	MUST(statvfs("/tmp", &fs));
	if (fs.f_flag & ST_NOSUID)
		exit(NOT_HERE);
	program = setuid_copy(NOBODY);
	run_as(0, program, (char *[]){program, (char *)"as", (char *)"65534", (char *)"14", NULL});
	unlink(program);
	program = setuid_copy(0);
	run_as(NOBODY, program, (char *[]){program, (char *)"as", (char *)"0", (char *)"15", NULL});
	unlink(program);
}

/* A program whose only segment cannot be mapped: found out when the old one is gone. */
static char *unmappable_program(void)
{
	struct {
		Elf64_Ehdr elf;
		Elf64_Phdr segment;
	} file = {
		.elf = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				    EV_CURRENT},
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1},
		.segment = {.p_type = PT_LOAD,
			    .p_flags = PF_R | PF_X,
			    .p_vaddr = 0xffff800000000000,
			    .p_filesz = sizeof(file),
			    .p_memsz = sizeof(file),
			    .p_align = 4096},
	};

	return temporary_file("dies", &file, sizeof(file));
}

static char *dying;

static void exec_dying(void)
{
	execv(dying, (char *[]){dying, NULL});
	_exit(9);
}

static void scenario_exec_dies(void)
{
	dying = unmappable_program();
	run_child(exec_dying);
	unlink(dying);
}

/* ---- ends ---- */

static void scenario_signals(void)
{
	const struct rlimit none = {};

	MUST(setrlimit(RLIMIT_CORE, &none));
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
		pid_t pid = MUST(fork());

		if (pid == 0) {
			die_of(deadly[i]);
			_exit(99);
		}
		tell_fork(getpid(), pid);
		child_end(pid);
	}
	run_child(die_of_fault);
}

/* Whether there is one is for the kernel's settings to decide, and for waitid() to say. */
static void scenario_core(void)
{
	char *dir = temporary_name("core"), *command;

	MUST(mkdir(dir, 0700));
	MUST(chdir(dir));
	child_end(child_start(die_with_core));
	MUST(chdir("/"));
	if (asprintf(&command, "%s/core", dir) < 0)
		abort();
	unlink(command);
	rmdir(dir);
}

static void scenario_stopped(void)
{
	pid_t pid = child_start(stop_and_end);
	siginfo_t i;

	MUST(waitid(P_PID, pid, &i, WSTOPPED));
	MUST(kill(pid, SIGCONT));
	MUST(waitid(P_PID, pid, &i, WCONTINUED | WEXITED | WNOWAIT));
	child_end(pid);
}

/* The end is the end, not the burial: what the test compares is in order over all processes. */
static void scenario_zombie(void)
{
	pid_t dead = child_start(nothing), other;
	siginfo_t i;

	MUST(waitid(P_PID, dead, &i, WEXITED | WNOWAIT));
	tell_exit(dead, 0);
	other = child_start(nothing);
	child_end(other);
	MUST(waitid(P_PID, dead, &i, WEXITED));
	if (i.si_code != CLD_EXITED || i.si_status)
		abort();
}

static void scenario_unheard(void)
{
	signal(SIGCHLD, SIG_IGN);
	child_start(end_unheard);
	if (wait(NULL) >= 0)
		abort();
}

/* ---- parents ---- */

static void scenario_sibling(void)
{
	pid_t first = child_start(make_sibling);
	siginfo_t i;

	/* the other one is known only when it ends */
	child_end(first);
	MUST(waitid(P_ALL, 0, &i, WEXITED | WNOWAIT));
	child_end(i.si_pid);
}

static void scenario_subreaper(void)
{
	siginfo_t i;

	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	run_orphan(leave_orphan);
	MUST(waitid(P_ALL, 0, &i, WEXITED));
	if (i.si_pid != *orphan_pid || i.si_status != 12)
		abort();
}

/* It goes to init or to whoever adopts here, and nobody of us is told. */
static void scenario_orphan(void)
{
	run_orphan(leave_daemon);
	wait_ended(*orphan_pid);
}

static void leave_orphans(void)
{
	for (int i = 0; i < ADOPTIONS; i++) {
		pid_t middle = MUST(fork());

		if (middle == 0) {
			pid_t pid = MUST(fork());

			if (pid == 0)
				end_telling(24);
			tell_fork(getpid(), pid);
			end_telling(23);
		}
		tell_fork(getpid(), middle);
	}
	end_telling(22);
}

/* A list of children to which others add, too: each fork is found on it nevertheless. */
static void scenario_adopts(void)
{
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	signal(SIGCHLD, SIG_IGN);
	child_start(leave_orphans);
	child_start(leave_orphans);
	for (int i = 0; i < ADOPTIONS; i++)
		child_start(end_unheard);
	if (wait(NULL) >= 0)
		abort();
}

/* Lets @pid and what it forks go on at every stop, until @pid ends. */
static void trace(pid_t pid)
{
	siginfo_t i;
	int status;
	pid_t at;

	MUST(waitpid(pid, &status, __WALL));
	MUST(ptrace(PTRACE_SETOPTIONS, pid, 0,
		    PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT));
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	for (;;) {
		int number;

		MUST(waitid(P_ALL, 0, &i, WEXITED | WSTOPPED | WNOWAIT | __WALL));
		at = i.si_pid;
		if (at == pid && i.si_code != CLD_TRAPPED)
			return;
		MUST(waitpid(at, &status, __WALL));
		if (!WIFSTOPPED(status))
			continue;
		number = WSTOPSIG(status);
		if (number == SIGTRAP || number == SIGSTOP)
			number = 0;
		MUST(ptrace(PTRACE_CONT, at, 0, number));
	}
}

static void scenario_ptrace(void)
{
	pid_t pid = child_start(be_traced);

	trace(pid);
	child_end(pid);
}

/* ---- numbers ---- */

/* The first process of a namespace; what it leaves behind is killed. */
static _Noreturn void be_init(void)
{
	siginfo_t i;
	pid_t pid;

	if (getpid() != 1)
		abort();
	close(child_gate[1]);
	pid = MUST(fork());
	if (pid == 0) {
		wait_at_gate();
		_exit(17);
	}
	if (MUST(fork()) == 0)
		wait_forever();
	MUST(waitid(P_PID, pid, &i, WEXITED));
	_exit(i.si_status == 17 ? 18 : 99);
}

/* The numbers that two children of @pid have here. */
static void children_of(pid_t pid, pid_t kids[2])
{
	char path[64], text[128];
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	while (n < 2) {
		FILE *f = fopen(path, "re");

		if (!f)
			exit(NOT_HERE);
		n = fgets(text, sizeof(text), f) ? sscanf(text, "%d %d", &kids[0], &kids[1]) : 0;
		fclose(f);
		sched_yield();
	}
}

static void scenario_pid_namespace(void)
{
	pid_t init, kids[2];

	MUST(pipe(child_gate));
	init = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (init < 0)
		exit(NOT_HERE);
	if (init == 0)
		be_init();
	tell_fork(getpid(), init);
	children_of(init, kids);
	tell_fork(init, kids[0]);
	tell_fork(init, kids[1]);
	close(child_gate[0]);
	close(child_gate[1]);
	tell_exit(kids[0], 17 << 8);
	tell_exit(kids[1], SIGKILL);
	child_end(init);
}

/* One number, one process after the other: each is one of its own. */
static void scenario_reused(void)
{
	pid_t pid = child_start(nothing);
	struct clone_args again = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&pid,
		.set_tid_size = 1,
	};

	child_end(pid);
	for (int i = 0; i < REUSES; i++) {
		if (clone_with(again, 30 + i) != pid)
			exit(NOT_HERE);
		child_end(pid);
	}
}

/* ---- sums ---- */

/* What the sums of the exit event must be: nothing but these two calls moves bytes. */
static void move_bytes(void)
{
	static char block[1 << 20];
	int zero = MUST(open("/dev/zero", O_RDONLY)), null = MUST(open("/dev/null", O_WRONLY));

	MUST(read(zero, block, sizeof(block)));
	MUST(read(zero, block, 4321));
	MUST(write(null, block, 777777));
	_exit(0);
}

static void scenario_moved_bytes(void)
{
	pid_t pid = child_start(move_bytes);
	int status;

	MUST(waitpid(pid, &status, 0));
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exit\",\"exit_code\":0,"
	     "\"rchar\":%d,\"wchar\":777777}}\n",
	     pid, (1 << 20) + 4321);
}

/* ---- for those who start it ---- */

static void wait_for_signal(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigwait(&set, &number);
}

static int hold(char *program)
{
	char *argv[] = {program, (char *)"waits", NULL};
	sigset_t set;
	pid_t pid;

	/* blocked from before the exec on, or a signal that comes early would end the child */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid = MUST(fork());
	if (pid == 0) {
		execv(program, argv);
		_exit(127);
	}
	wait_for_signal();
	MUST(kill(pid, SIGUSR1));
	MUST(waitpid(pid, NULL, 0));
	return 0;
}

static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{"fork-only", scenario_fork_only},
	{"vfork", scenario_vfork},
	{"clone3", scenario_clone3},
	{"shared-memory", scenario_shared_memory},
	{"sibling", scenario_sibling},
	{"thread-forks", scenario_thread_forks},
	{"threads-end", scenario_threads_end},
	{"threads-race", scenario_threads_race},
	{"leader-first", scenario_leader_first},
	{"leader-code", scenario_leader_code},
	{"group-exit", scenario_group_exit},
	{"thread-execs", scenario_thread_execs},
	{"exec-ends-threads", scenario_exec_ends_threads},
	{"leader-gone", scenario_leader_gone},
	{"double-exec", scenario_double_exec},
	{"failed-exec", scenario_failed_exec},
	{"exec-dies", scenario_exec_dies},
	{"script", scenario_script},
	{"memfd", scenario_memfd},
	{"fexecve", scenario_fexecve},
	{"setuid", scenario_setuid},
	{"killed", scenario_killed},
	{"signals", scenario_signals},
	{"core", scenario_core},
	{"stopped", scenario_stopped},
	{"zombie", scenario_zombie},
	{"unheard", scenario_unheard},
	{"orphan", scenario_orphan},
	{"subreaper", scenario_subreaper},
	{"adopts", scenario_adopts},
	{"ptrace", scenario_ptrace},
	{"pid-namespace", scenario_pid_namespace},
	{"reused", scenario_reused},
	{"renamed", scenario_renamed},
	{"other-user", scenario_other_user},
	{"moved-bytes", scenario_moved_bytes},
};

int main(int argc, char **argv)
{
	self[MUST(readlink("/proc/self/exe", self, sizeof(self) - 1))] = '\0';
	if (argc == 3 && !strcmp(argv[1], "end"))
		return atoi(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "as"))
		return geteuid() == (uid_t)atoi(argv[2]) ? atoi(argv[3]) : 99;
	if (argc == 3 && !strcmp(argv[1], "back")) {
		MUST(setuid(geteuid()));
		return atoi(argv[2]);
	}
	if (argc > 3 && !strcmp(argv[1], "scripted"))
		return atoi(argv[argc - 1]);
	if (argc == 3 && !strcmp(argv[1], "again")) {
		argv[1] = (char *)"end";
		execv(self, argv);
		return 127;
	}
	if (argc == 3 && !strcmp(argv[1], "holds"))
		return hold(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "waits")) {
		wait_for_signal();
		return 6;
	}
	for (size_t i = 0; argc == 2 && i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (strcmp(scenarios[i].name, argv[1]))
			continue;
		tell_begin();
		scenarios[i].run();
		tell_end();
		return 0;
	}
	fprintf(stderr, "life: no such scenario\n");
	return 2;
}
