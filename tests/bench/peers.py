# SPDX-License-Identifier: MIT
"""
The other tools that do a part of the same, and how each is asked for it. What is not installed is left
out and said. AGENTSIGHT_LOADER='PATH [ARGUMENTS]' adds a loader of the AgentSight project; {pid} in it is
the workload. One whose name begins with ssl is measured with HTTPS, others with spawning.
"""
import os
import re
import shlex
import shutil
from dataclasses import dataclass

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@dataclass
class Peer:
    command: str            # {pid}: the workload; {ssl}: its TLS library
    package: str
    seen: str = ""          # what a line about one of our events looks like
    events: int = 1         # such lines for each operation
    share: float = 1.0      # of the operations: slow ones do less
    rounds: int = 1


EXEC_EXIT = ("tracepoint:sched:sched_process_exec { printf(\"exec %d %s\\n\", pid, comm) } "
             "tracepoint:sched:sched_process_exit { printf(\"exit %d %s\\n\", pid, comm) }")
TLS = ("uprobe:{ssl}:SSL_write { printf(\"data W %d %s\\n\", tid, str(arg1)) } "
       "uprobe:{ssl}:SSL_read { @buf[tid] = arg1 } "
       "uretprobe:{ssl}:SSL_read /@buf[tid]/ "
       "{ printf(\"data R %d %s\\n\", tid, str(@buf[tid])); delete(@buf[tid]) }")
SOCKETS = ("tracepoint:sock:sock_send_length { printf(\"send %d %d\\n\", pid, args->ret) } "
           "tracepoint:sock:sock_recv_length { printf(\"recv %d %d\\n\", pid, args->ret) }")
SOCKET_SUMS = ("tracepoint:sock:sock_send_length { @tx[pid] = sum(args->ret) } "
               "tracepoint:sock:sock_recv_length { @rx[pid] = sum(args->ret) }")
OPENS = "tracepoint:syscalls:sys_enter_openat { printf(\"open %d %s\\n\", pid, str(args->filename)) }"

SPAWN = {
    "execsnoop": Peer("execsnoop", "libbpf-tools", r"(?m)^\S*true ", rounds=3),
    "exitsnoop": Peer("exitsnoop", "libbpf-tools", r"(?m)^\S*true ", share=0.5),
    "bpftrace, exec + exit": Peer(f"bpftrace -e '{EXEC_EXIT}'", "bpftrace",
                                  r"(?m)^\w+ \d+ \S*true", events=2, share=0.5),
    "perf trace, exec + exit": Peer(
        "perf trace -a -e sched:sched_process_exec,sched:sched_process_exit", "linux-perf",
        r"sched_process_\w+:?\(.*true", events=2, share=0.5),
    "strace -f": Peer("strace -f -qq -e trace=execve -p {pid}", "strace", r"execve\(.*true",
                      share=0.1),
}
COMPILE = {"strace -f": Peer("strace -f -qq -o strace.log -p {pid}", "strace")}
FILES = {
    "opensnoop": Peer("opensnoop", "libbpf-tools", r"storm-", share=0.5),
    "bpftrace, openat": Peer(f"bpftrace -e '{OPENS}'", "bpftrace", r"storm-", share=0.5),
    "strace -f": Peer("strace -f -qq -e trace=file,write,close -p {pid}", "strace",
                      r"openat.*storm-", share=0.05),
}
HTTPS = {
    "bpftrace, 64 bytes": Peer(f"bpftrace -e '{TLS}'", "bpftrace", r"(?m)^data ", events=4,
                               share=0.5, rounds=3),
    "strace -f": Peer("strace -f -qq -e trace=read,write -p {pid}", "strace", share=0.1),
}
TCP = {
    "bpftrace, sums": Peer(f"bpftrace -e '{SOCKET_SUMS}'", "bpftrace", share=0.5),
    "bpftrace, every call": Peer(f"bpftrace -e '{SOCKETS}'", "bpftrace", r"(?m)^send ",
                                 share=0.25),
    "perf trace, every call": Peer("perf trace -a -e sock:sock_send_length,sock:sock_recv_length",
                                   "linux-perf", r"sock_send_length", share=0.15),
    "tcpdump": Peer("tcpdump -q -i lo -w capture.pcap tcp", "tcpdump", share=0.5),
    "nethogs": Peer("nethogs -t -a -d 1 lo", "nethogs", share=0.5),
    "strace -f": Peer("strace -f -qq -e trace=network,read,write -p {pid}", "strace", share=0.05),
}
TAX = {
    "execsnoop": Peer("execsnoop", "libbpf-tools"),
    "bpftrace, exec + exit": Peer(f"bpftrace -e '{EXEC_EXIT}'", "bpftrace"),
    "perf trace": Peer("perf trace -a -e execve", "linux-perf"),
}
# what takes one sample after another; the interval and the number of samples are the caller's
SAMPLERS = {
    "top -b": (["top", "-b", "-d", "0.1", "-n"], "procps"),
    "pidstat -u -r -d": (["pidstat", "-u", "-r", "-d", "-h", "-p", "ALL", "1"], "sysstat"),
    "pidstat -t": (["pidstat", "-t", "-p", "ALL", "1"], "sysstat"),
}


def loader(for_tls):
    """The AgentSight loader, where one was named and is of this kind."""
    words = os.environ.get("AGENTSIGHT_LOADER", "")
    if not words or os.path.basename(shlex.split(words)[0]).startswith("ssl") != for_tls:
        return {}
    return {"AgentSight loader": Peer(words, "AGENTSIGHT_LOADER", share=0.5, rounds=3)}


def installed(table, report):
    """Those of @table that are here."""
    found = {}
    for name, peer in table.items():
        program = shlex.split(peer.command)[0]
        if shutil.which(program, path=PATH):
            found[name] = peer
        else:
            report.skip(name.split(",")[0], f"not installed: {peer.package}")
    return found


def arguments_of(peer, **values):
    words = shlex.split(peer.command)
    for name, value in values.items():
        words = [w.replace("{%s}" % name, str(value)) for w in words]
    words[0] = shutil.which(words[0], path=PATH)
    return words


def count_seen(peer, output):
    return len(re.findall(peer.seen.encode(), output)) if peer.seen else None
