/* SPDX-License-Identifier: MIT */
/*
 * What is recorded while faults are injected: work MARK [hangup|many|long]. It forks, executes, opens files and
 * sends over loopback, always the same, then writes MARK and ends with status 7. `hangup` sends SIGUSR1 and SIGHUP
 * to whoever started it, which writes into a new file then; `many` opens enough files for two rotations; `long`
 * lives on for a second.
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS     7
#define MANY_FILES 6000

static void spawn(const char *self)
{
	int status;

	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid == 0 && i == 0)
			_exit(3);
		if (pid == 0) {
			execl(self, "work", "--nothing", NULL);
			_exit(127);
		}
		if (waitpid(pid, &status, 0) != pid)
			err(1, "waitpid");
	}
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd) < 0)
		err(1, "%s", path);
}

static void talk(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[5];
	int peer;

	if (server < 0 || client < 0 || bind(server, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(server, 1) < 0 || getsockname(server, (struct sockaddr *)&at, &len) < 0 ||
	    connect(client, (struct sockaddr *)&at, sizeof(at)) < 0)
		err(1, "loopback");
	peer = accept(server, NULL, NULL);
	if (peer < 0 || write(client, "hello", 5) != 5 || read(peer, answer, 5) != 5)
		err(1, "loopback");
	close(peer);
	close(client);
	close(server);
}

static void open_many(void)
{
	char name[64];

	for (int i = 0; i < MANY_FILES; i++) {
		snprintf(name, sizeof(name), "/proc/self/fdinfo/there-is-no-such-file-%d", i);
		if (open(name, O_RDONLY | O_CLOEXEC) >= 0)
			errx(1, "%s is there", name);
	}
}

/* The other one reads its signals when it wakes up: it is given the time to. */
static void hang_up(void)
{
	kill(getppid(), SIGUSR1);
	kill(getppid(), SIGHUP);
	usleep(20000);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		errx(2, "usage: work MARK [hangup|many|long]");
	if (!strcmp(argv[1], "--nothing"))
		return 0;
	write_file(argv[1], "begun\n");
	spawn(argv[0]);
	if (argc > 2 && !strcmp(argv[2], "hangup"))
		hang_up();
	if (argc > 2 && !strcmp(argv[2], "many"))
		open_many();
	talk();
	write_file(argv[1], "done\n");
	if (argc > 2 && !strcmp(argv[2], "long"))
		sleep(1);
	return STATUS;
}
