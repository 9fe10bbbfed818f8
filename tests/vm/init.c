/* SPDX-License-Identifier: MIT */
/*
 * PID 1 of a test guest: mounts what a tracer needs, runs /vm-command with its output on the second
 * serial port, reports how it ended and switches the machine off.
 *
 * The host reads two lines at the end of that port:
 *
 *	VM-TAINT <before> <after>	the kernel's taint mask around the command
 *	VM-RESULT <status>		exit status, or 128 + signal
 *
 * and takes a missing VM-RESULT for a failure, so nothing here may write one before the command is
 * over. What goes wrong in here is told on the first serial port, between the kernel's messages.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define COMMAND "/vm-command"
#define CONSOLE "/dev/ttyS0"
#define RESULT  "/dev/ttyS1"

/* As the host sees a command that could not be started. */
#define STATUS_NO_COMMAND 127
/* How long the leftovers of the command may take to die. */
#define REAP_S 2

struct mount_point {
	const char *target;
	const char *type;
	const char *data;
};

/*
 * No tmpfs over /tmp: the binaries under test may lie below it, and the root is in memory anyway.
 * bpf comes before what pins, tracefs before what probes; a type that a kernel lacks is only noted.
 */
static const struct mount_point mount_points[] = {
	{"/dev", "devtmpfs", "mode=0755"},
	{"/proc", "proc", NULL},
	{"/sys", "sysfs", NULL},
	{"/sys/kernel/tracing", "tracefs", NULL},
	{"/sys/kernel/security", "securityfs", NULL},
	{"/sys/fs/cgroup", "cgroup2", NULL},
	{"/sys/fs/bpf", "bpf", "mode=0700"},
	{"/dev/pts", "devpts", "mode=0620,ptmxmode=0666"},
	{"/dev/shm", "tmpfs", "mode=1777"},
	{"/run", "tmpfs", "mode=0755"},
};

/* devtmpfs makes the devices, but not the links that a shell's <(...) and /dev/stderr need. */
static const char *const links[][2] = {
	{"/proc/self/fd", "/dev/fd"},
	{"/proc/self/fd/0", "/dev/stdin"},
	{"/proc/self/fd/1", "/dev/stdout"},
	{"/proc/self/fd/2", "/dev/stderr"},
};

static void __attribute__((format(printf, 1, 2))) complain(const char *format, ...)
{
	int saved_errno = errno;
	va_list args;

	va_start(args, format);
	fputs("init: ", stderr);
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %s\n", strerror(saved_errno));
	va_end(args);
}

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mount_points) / sizeof(mount_points[0]); i++) {
		const struct mount_point *m = &mount_points[i];

		/* Below /sys mkdir() fails, and the mount tells whether that matters. */
		mkdir(m->target, 0755);
		if (mount(m->type, m->target, m->type, MS_NOSUID, m->data) < 0 && errno != EBUSY)
			complain("mount %s", m->target);
	}

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			complain("symlink %s", links[i][1]);
}

/* Messages of our own go where the kernel's go. */
static void console_open(void)
{
	int fd = open(CONSOLE, O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	dup2(fd, STDERR_FILENO);
	if (fd != STDERR_FILENO)
		close(fd);
}

/* The port is raw, so that the host gets the bytes that were written. */
static int result_open(void)
{
	struct termios tio;
	int fd = open(RESULT, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0) {
		complain("open %s", RESULT);
		return -1;
	}
	if (tcgetattr(fd, &tio) == 0) {
		cfmakeraw(&tio);
		cfsetspeed(&tio, B115200);
		tcsetattr(fd, TCSANOW, &tio);
	}
	return fd;
}

/* An address family has its own idea of an interface that is up; ::1 comes with it. */
static void loopback_up(void)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct ifreq ifr = {.ifr_name = "lo"};

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		int fd = socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0);

		if (fd < 0) {
			complain("socket of family %d", families[i]);
			continue;
		}
		ifr.ifr_flags = IFF_UP | IFF_RUNNING;
		if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
			complain("lo up");
		close(fd);
	}
}

static void limits_raise(void)
{
	/* KERNEL < 5.11: maps and programs are charged to this limit, 64 kB unless raised. */
	const struct rlimit memlock = {RLIM_INFINITY, RLIM_INFINITY};
	const struct rlimit nofile = {65536, 65536};

	if (setrlimit(RLIMIT_MEMLOCK, &memlock) < 0)
		complain("RLIMIT_MEMLOCK");
	if (setrlimit(RLIMIT_NOFILE, &nofile) < 0)
		complain("RLIMIT_NOFILE");
}

static unsigned long taint_read(void)
{
	unsigned long taint = 0;
	FILE *f = fopen("/proc/sys/kernel/tainted", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%lu", &taint) != 1)
		taint = 0;
	fclose(f);
	return taint;
}

static void __attribute__((noreturn)) command_exec(int result_fd, const sigset_t *mask)
{
	char *const argv[] = {(char *)"sh", (char *)COMMAND, NULL};
	int null_fd = open("/dev/null", O_RDWR);

	setsid();
	sigprocmask(SIG_SETMASK, mask, NULL);
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	if (null_fd >= 0)
		dup2(null_fd, STDIN_FILENO);
	if (dup2(result_fd, STDOUT_FILENO) >= 0 && dup2(result_fd, STDERR_FILENO) >= 0)
		execv("/bin/sh", argv);
	_exit(STATUS_NO_COMMAND);
}

/* Waits for the command, and on the way for whatever its children left to PID 1. */
static int command_wait(pid_t command)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, 0)) != command)
		if (pid < 0 && errno != EINTR)
			return STATUS_NO_COMMAND;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/*
 * Kills what still runs, so that nothing writes behind the result line. A process that hangs in the
 * kernel is left alone after a while: better a result than none.
 */
static void leftovers_reap(const sigset_t *chld)
{
	const struct timespec patience = {.tv_sec = REAP_S};
	pid_t pid;

	kill(-1, SIGKILL);
	for (;;) {
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0)
			return;
		if (sigtimedwait(chld, NULL, &patience) < 0 && errno == EAGAIN) {
			complain("a process does not die");
			return;
		}
	}
}

static int command_run(int result_fd)
{
	sigset_t chld, old;
	int status;
	pid_t pid;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &old);

	pid = fork();
	if (pid < 0) {
		complain("fork");
		return STATUS_NO_COMMAND;
	}
	if (pid == 0)
		command_exec(result_fd, &old);

	status = command_wait(pid);
	leftovers_reap(&chld);
	return status;
}

int main(void)
{
	unsigned long taint;
	int result_fd, status;

	umask(0022);
	mount_all();
	console_open();
	loopback_up();
	limits_raise();
	result_fd = result_open();
	/* Warnings belong on the console: after a failure they are all there is to read. */
	klogctl(8, NULL, 5);

	taint = taint_read();
	if (result_fd >= 0) {
		status = command_run(result_fd);
		/* The command's last line may lack its end. */
		dprintf(result_fd, "\nVM-TAINT %lu %lu\nVM-RESULT %d\n", taint, taint_read(),
			status);
		tcdrain(result_fd);
	}

	sync();
	reboot(RB_POWER_OFF);
	complain("power off");
	/* The end of PID 1 is a panic, and that ends the machine as well. */
	return 1;
}
