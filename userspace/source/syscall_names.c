/* SPDX-License-Identifier: MIT */
/*
 * Numbers come from the system's own header when this is built (out/gen/syscalls.inc); what a call is
 * for is said by name, since numbers differ between architectures.
 */
#include "source/syscall_names.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <asm/unistd.h>

#include "base/cleanup.h"

static const char *const names[AS_CALLS_MAX] = {
#include "syscalls.inc"
};

/* Names between spaces. Those that a header of today lacks are here for the headers of tomorrow. */
static const struct {
	const char *name;
	const char *members;
} categories[CALL_CATEGORIES] = {
	[CALL_CATEGORY_OTHER] = {"other", " restart_syscall afs_syscall security tuxcall vserver "
					  "getpmsg putpmsg "},
	[CALL_CATEGORY_FILE_IO] =
		{"file_io",
		 " access chdir chmod chown chroot close close_range copy_file_range creat dup "
		 "dup2 "
		 "dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait "
		 "epoll_pwait2 epoll_wait epoll_wait_old faccessat faccessat2 fadvise64 fallocate "
		 "fanotify_init fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat "
		 "fcntl "
		 "fdatasync fgetxattr file_getattr file_setattr flistxattr flock fremovexattr "
		 "fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 "
		 "getxattr getxattrat inotify_add_watch inotify_init inotify_init1 "
		 "inotify_rm_watch "
		 "io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit "
		 "io_uring_enter "
		 "io_uring_register io_uring_setup ioctl lchown lgetxattr link linkat listxattr "
		 "listxattrat llistxattr lookup_dcookie lremovexattr lseek lsetxattr lstat mkdir "
		 "mkdirat mknod mknodat name_to_handle_at newfstatat open open_by_handle_at openat "
		 "openat2 poll ppoll pread64 preadv preadv2 pselect6 pwrite64 pwritev pwritev2 "
		 "quotactl quotactl_fd read readahead readlink readlinkat readv removexattr "
		 "removexattrat rename renameat renameat2 rmdir select sendfile setxattr "
		 "setxattrat "
		 "splice stat statfs statx symlink symlinkat sync sync_file_range sync_file_range2 "
		 "syncfs tee truncate umask unlink unlinkat ustat utime utimensat utimes vmsplice "
		 "write writev "},
	[CALL_CATEGORY_MEMORY] =
		{"memory", " brk cachestat get_mempolicy madvise map_shadow_stack mbind "
			   "memfd_create memfd_secret migrate_pages mincore mlock mlock2 mlockall "
			   "mmap move_pages mprotect mremap mseal msync munlock munlockall munmap "
			   "pkey_alloc pkey_free pkey_mprotect process_madvise process_mrelease "
			   "process_vm_readv process_vm_writev remap_file_pages set_mempolicy "
			   "set_mempolicy_home_node userfaultfd "},
	[CALL_CATEGORY_PROCESS] =
		{"process",
		 " arch_prctl clone clone3 execve execveat exit exit_group fork get_robust_list "
		 "get_thread_area getcpu getpgid getpgrp getpid getppid getpriority getrlimit "
		 "getrusage getsid gettid ioprio_get ioprio_set kcmp membarrier modify_ldt "
		 "personality pidfd_getfd pidfd_open prctl prlimit64 ptrace rseq "
		 "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr "
		 "sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity "
		 "sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list "
		 "set_thread_area set_tid_address setns setpgid setpriority setrlimit setsid "
		 "unshare uprobe uretprobe vfork wait4 waitid "},
	[CALL_CATEGORY_NETWORK] = {"network",
				   " accept accept4 bind connect getpeername getsockname "
				   "getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg "
				   "sendto setsockopt shutdown socket socketpair "},
	[CALL_CATEGORY_TIME] =
		{"time", " adjtimex alarm clock_adjtime clock_getres clock_gettime "
			 "clock_nanosleep clock_settime getitimer gettimeofday nanosleep setitimer "
			 "settimeofday time timer_create timer_delete timer_getoverrun "
			 "timer_gettime timer_settime timerfd_create timerfd_gettime "
			 "timerfd_settime times "},
	[CALL_CATEGORY_IPC] =
		{"ipc", " eventfd eventfd2 futex futex_requeue futex_wait futex_waitv futex_wake "
			"mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink "
			"msgctl msgget msgrcv msgsnd pipe pipe2 semctl semget semop semtimedop "
			"shmat shmctl shmdt shmget "},
	[CALL_CATEGORY_SECURITY] =
		{"security",
		 " add_key bpf capget capset getegid geteuid getgid getgroups getrandom getresgid "
		 "getresuid getuid keyctl landlock_add_rule landlock_create_ruleset "
		 "landlock_restrict_self lsm_get_self_attr lsm_list_modules lsm_set_self_attr "
		 "perf_event_open request_key seccomp setfsgid setfsuid setgid setgroups setregid "
		 "setresgid setresuid setreuid setuid "},
	[CALL_CATEGORY_SIGNAL] =
		{"signal", " kill pause pidfd_send_signal rt_sigaction rt_sigpending "
			   "rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
			   "rt_sigtimedwait rt_tgsigqueueinfo sigaltstack signalfd signalfd4 "
			   "tgkill tkill "},
	[CALL_CATEGORY_SYSTEM] =
		{"system",
		 " _sysctl acct create_module delete_module finit_module fsconfig fsmount "
		 "fsopen fspick get_kernel_syms init_module ioperm iopl kexec_file_load "
		 "kexec_load listmount listns mount mount_setattr move_mount nfsservctl "
		 "open_tree open_tree_attr pivot_root query_module reboot setdomainname "
		 "sethostname statmount swapoff swapon sysfs sysinfo syslog umount2 "
		 "uname uselib vhangup "},
};

/* What is not here waits for something else. */
static const struct {
	enum as_wait wait;
	const char *members;
} waits[] = {
	{AS_WAIT_LOCK, " futex futex_wait futex_waitv futex_requeue flock fcntl "},
	{AS_WAIT_POLL, " poll ppoll select pselect6 epoll_wait epoll_pwait epoll_pwait2 "
		       "epoll_wait_old io_getevents io_pgetevents io_uring_enter "},
	{AS_WAIT_SLEEP, " nanosleep clock_nanosleep "},
	{AS_WAIT_CHILD, " wait4 waitid vfork "},
	{AS_WAIT_BY_FLAGS, " clone "},
	{AS_WAIT_BY_STRUCT, " clone3 "},
	{AS_WAIT_SOCKET,
	 " accept accept4 connect recvfrom recvmsg recvmmsg sendto sendmsg sendmmsg "
	 "shutdown "},
	{AS_WAIT_IPC, " msgrcv msgsnd semop semtimedop mq_timedreceive mq_timedsend "},
	{AS_WAIT_SIGNAL, " pause rt_sigsuspend rt_sigtimedwait "},
	{AS_WAIT_DISK, " fsync fdatasync sync syncfs sync_file_range sync_file_range2 msync "},
	{AS_WAIT_BY_FD, " read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 "
			"close splice tee vmsplice sendfile "},
};

static bool has_member(const char *members, const char *name)
{
	char wanted[64];

	if ((size_t)snprintf(wanted, sizeof(wanted), " %s ", name) >= sizeof(wanted))
		return false;
	return strstr(members, wanted) != NULL;
}

const char *syscall_name(unsigned nr)
{
	return nr < ARRAY_SIZE(names) ? names[nr] : NULL;
}

const char *call_category_name(enum call_category c)
{
	return categories[c].name;
}

unsigned call_category_of(const char *name)
{
	unsigned c = 0;

	while (c < CALL_CATEGORIES && !has_member(categories[c].members, name))
		c++;
	return c;
}

void call_categories(uint8_t ret[AS_CALLS_MAX])
{
	for (unsigned nr = 0; nr < AS_CALLS_MAX; nr++) {
		unsigned c = names[nr] ? call_category_of(names[nr]) : CALL_CATEGORY_OTHER;

		ret[nr] = c < CALL_CATEGORIES ? c : CALL_CATEGORY_OTHER;
	}
}

void call_waits(uint8_t ret[AS_CALLS_MAX])
{
	memset(ret, AS_WAIT_OTHER, AS_CALLS_MAX);
	for (unsigned nr = 0; nr < AS_CALLS_MAX; nr++) {
		for (size_t i = 0; names[nr] && i < ARRAY_SIZE(waits); i++) {
			if (has_member(waits[i].members, names[nr]))
				ret[nr] = waits[i].wait;
		}
	}
}
