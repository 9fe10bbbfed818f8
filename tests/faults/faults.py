#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""faults.py [-n N] [--seed S]: agentsight while calls fail, as root.

Each session below runs once with every call that can fail counted by libfault.so (fault.c), then once for
each fault: call N of a function fails with an errno. Faults are drawn so that every place in the program that makes
such a call has its turn before any has a second. What must hold then, whatever failed:

  - it ends by itself, in time, by no signal, with the status of success or a documented one and a sentence why
  - each line of the output is whole and valid; `stop` closes the ledger, and the lines are as many as it says
  - what is missing is told: by a message, a capability, a loss
  - a command that was begun runs to its end; nothing stays behind: no process, no file

Prints every kind of violation with a call that repeats it, and a closing line "N passed, N failed, N skipped".
"""

import argparse
import collections
import concurrent.futures
import ctypes
import errno
import json
import mmap
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
OUT = Path(os.environ.get("O", TOP / "out")).resolve()
AGENTSIGHT = os.path.abspath(os.environ.get("AGENTSIGHT", TOP / "agentsight"))
LIBRARY = OUT / "tests/faults/libfault.so"
WORK = OUT / "tests/faults/work"
TLS = OUT / "tests/workloads/tls"
GO = OUT / "tests/workloads/go_tls_exe"
PRELOAD = os.environ.get("FAULT_PRELOAD", "")  # what has to stand behind our library: an AddressSanitizer
CACHE = "/var/cache/agentsight"
EXE_BASE = 0x555555554000  # of a program that is not loaded at a random address
EXE_SIZE = 64 << 20
GRACE_S = float(os.environ.get("FAULT_GRACE", "5"))
libc = ctypes.CDLL(None, use_errno=True)

# ---- what can go wrong with a call ----

FILES = "ENOENT EACCES EMFILE ENFILE ENOMEM EIO"
MEMORY = "ENOMEM"
ERRORS = {
    "mem": MEMORY,
    "open": FILES + " EROFS ENOSPC EINTR",
    "openat": FILES,
    "read": "EIO EINTR EAGAIN",
    "pread": "EIO EINTR",
    "write": "ENOSPC EIO EDQUOT EINTR EAGAIN",
    "readlink": "ENOENT EACCES ENOMEM",
    "fopen": FILES,
    "fdopen": MEMORY,
    "opendir": FILES,
    "readdir": "EIO",
    "scandir": "ENOENT ENOMEM EMFILE",
    "fgets": "EIO",
    "fread": "EIO",
    "fwrite": "ENOSPC EIO",
    "fflush": "ENOSPC EIO EPIPE",
    "fclose": "ENOSPC EIO",
    "fstat": "ENOMEM EIO",
    "fstatat": "ENOENT EACCES EIO",
    "access": "EACCES ENOENT EIO",
    "fcntl": "EMFILE",
    "ioctl": "ENOMEM EPERM ENOTTY",
    "mmap": "ENOMEM EPERM EAGAIN",
    "munmap": "ENOMEM",
    "epoll_create": "EMFILE ENFILE ENOMEM",
    "epoll_ctl": "ENOMEM ENOSPC",
    "epoll_wait": "EINTR",
    "poll": "EINTR ENOMEM",
    "eventfd": "EMFILE ENFILE ENOMEM",
    "signalfd": "EMFILE ENFILE ENOMEM",
    "timerfd_create": "EMFILE ENFILE ENOMEM",
    "timerfd_settime": "ECANCELED",
    "socket": "EMFILE ENFILE ENOMEM EACCES EAFNOSUPPORT",
    "socketpair": "EMFILE ENFILE ENOMEM",
    "bind": "ENOMEM EACCES",
    "send": "ENOMEM EINTR ENOBUFS",
    "recv": "ENOMEM EINTR ECONNRESET",
    "setsockopt": "ENOMEM EPERM",
    "getsockname": "ENOBUFS",
    "pipe": "EMFILE ENFILE",
    "dup": "EMFILE EINTR",
    "fork": "EAGAIN ENOMEM",
    "pthread_create": "EAGAIN",
    "rename": "ENOSPC EIO EROFS EACCES",
    "unlink": "EACCES EROFS EIO",
    "mkdir": "ENOSPC EROFS EACCES",
    "ftruncate": "EIO EROFS EINTR",
    "fchmod": "EPERM EROFS EIO",
    "fchown": "EPERM EROFS EIO",
    "lseek": "EIO",
    "memfd_create": "EMFILE ENOMEM",
    "wait": "EINTR",
    "kill": "EPERM",
    "prctl": "EPERM EINVAL",
    "setpriority": "EACCES",
    "setrlimit": "EPERM",
    "getrlimit": "EPERM",
    "uname": "EFAULT",
    "getrandom": "ENOSYS EINTR",
    "realpath": "ENOENT EACCES ENOMEM EIO",
    "dlopen": "ENOENT",
    "sigprocmask": "",
    "read_event": "EAGAIN EINTR",
    "write_event": "",
    "perf_event_open": "EPERM EACCES ENOMEM EMFILE ENOENT EINVAL",
    "pidfd_open": "EMFILE ENOMEM ENOSYS EPERM ESRCH",
    "syscall": "ENOSYS EPERM ENOMEM",
    "bpf": "EPERM EINVAL ENOMEM E2BIG",
}
SHORT = {"read", "pread", "write", "send", "readlink"}
# What stays as it is once it has begun: a full disk, a full table. An interrupted call is not so.
LASTING = {"ENOMEM", "ENOSPC", "EIO", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "EPERM", "EACCES", "EPIPE", "ENOSYS"}
# The end of a directory or of a file and its error look alike to who asks once more and more.
NEVER_LASTING = {"readdir", "fgets", "munmap", "epoll_wait", "poll"}
BPF_COMMANDS = (
    "MAP_CREATE MAP_LOOKUP MAP_UPDATE MAP_DELETE MAP_NEXT_KEY PROG_LOAD OBJ_PIN OBJ_GET PROG_ATTACH PROG_DETACH "
    "PROG_TEST_RUN PROG_NEXT_ID MAP_NEXT_ID PROG_FD_BY_ID MAP_FD_BY_ID OBJ_INFO PROG_QUERY RAW_TRACEPOINT_OPEN "
    "BTF_LOAD BTF_FD_BY_ID TASK_FD_QUERY LOOKUP_AND_DELETE MAP_FREEZE BTF_NEXT_ID LOOKUP_BATCH LOOKUP_DELETE_BATCH "
    "UPDATE_BATCH DELETE_BATCH LINK_CREATE LINK_UPDATE LINK_FD_BY_ID LINK_NEXT_ID ENABLE_STATS ITER_CREATE "
    "LINK_DETACH PROG_BIND_MAP TOKEN_CREATE"
).split()


def kind(name):
    return "bpf" if name.startswith("bpf_") else name


def readable(name):
    return f"bpf {BPF_COMMANDS[int(name[4:])]}" if name.startswith("bpf_") else name


class Fault:
    """Call `n` of `name` fails."""

    def __init__(self, name, n, error, mode, stack=0):
        self.name, self.n, self.error, self.mode, self.stack = name, n, error, mode, stack

    def plan(self):
        return f"{self.name}:{self.n}:{getattr(errno, self.error, 0)}:{self.mode}"

    def __str__(self):
        return f"{self.name}:{self.n}:{self.error}:{self.mode}"

    @staticmethod
    def parse(text):
        name, n, error, mode = text.split(":")
        return Fault(name, int(n), error, mode)


# ---- sessions ----


class Session:
    """`args` are agentsight's; {pid}, {recording}, {libraries} are replaced. What it writes is "events", or text, of
    which `output` takes the lines that are there whatever fails, unless it is said why not. `status` is that of
    success, and `also` if there is one. The calls of `process` alone fail, if one is named."""

    def __init__(self, name, args, output="events", status=0, works=True, cold=False, files=("out",), also=None,
                 process=None):
        self.name, self.args, self.output, self.status = name, args, output, status
        self.works, self.cold, self.files, self.also = works, cold, files, also
        self.process = process
        self.base = None


def broker(name, args, **other):
    """The process that keeps the privileges: what it does for the one that reads events fails."""
    return Session(f"broker-{name}", args, process="agentsight-priv", **other)


def all_lines(text):
    return text.splitlines()


def rows(text):
    """What `doctor` has looked at: names between a mark and how it is done, which a fault may change. Not libraries:
    which of them somebody has mapped changes by the second."""
    return re.findall(r"^  (?:ok|! |- ) ([^ /].*?)(?:  |$)", text, re.M)


def labels(text):
    """Titles of what `run` tells at its end: the numbers, and which of them there are, follow the clock."""
    # whether there are phases is a matter of time
    return [title for title in re.findall(r"^([A-Z][A-Za-z ]*)$", text, re.M) if title != "Phases"]


WORK_ARGS = ["--", str(WORK), "mark"]
# programs that begin when the broker is there, with a library of their own, and wait until it has probed them
LATE_TLS = f"sleep 3 | LD_LIBRARY_PATH={{libraries}} {TLS} ex 2 100 --no-sum --wait"
LATE_GO = f"sleep 3 | {GO} 2 2 --wait"
TLS_ARGS = ["trace", "--ssl", "-o", "out", "--", str(TLS), "ex", "2", "100", "--no-sum"]
SESSIONS = [
    Session("record", ["record", "-o", "out", *WORK_ARGS]),
    Session("trace", ["trace", "--process", "--network", "--stdio", "--filter", "pid > 0", "-o", "out", *WORK_ARGS]),
    Session("tls", TLS_ARGS, works=False, cold=True),
    Session("system", ["system", "-i", "0.02", "-d", "0.05", "--detail", "--threads", "--pressure", "-p", "1", "-o", "out"],
            works=False),
    Session("run", ["run", "-i", "10", "--threads", "--syscalls", "--offcpu", "--pressure", "--alert", "cpu > 0",
                    "--on-alert", "true", "--env", "HOME", "-o", "out", *WORK_ARGS], status=7),
    Session("lines", ["run", "-n", "-i", "10", *WORK_ARGS], output=labels, status=7, files=("stderr",)),
    Session("pipe", ["process", *WORK_ARGS], files=("stdout",)),
    Session("reopen", ["process", "-o", "out", *WORK_ARGS, "hangup"], files=("out",)),
    Session("rotate", ["files", "--rotate-size", "1", "--rotate-keep", "9", "-o", "out", *WORK_ARGS, "many"],
            files=("out",)),
    Session("stats", ["stats", "{recording}"], output=all_lines, works=False, files=("stdout",)),
    Session("report", ["stats", "--html", "report.html", "{recording}"], output=all_lines, works=False,
            files=("report.html", "stdout")),
    Session("diff", ["diff", "{recording}", "{recording}"], output=all_lines, works=False, files=("stdout",)),
    # it says on standard output what is missing, and ends with 1 then
    Session("doctor", ["doctor"], output=rows, works=False, files=("stdout",), also=1),
    Session("schema", ["schema", "--json"], output=all_lines, works=False, files=("stdout",)),
    broker("record", ["record", "-o", "out", *WORK_ARGS]),
    broker("tls", ["trace", "--ssl", "-o", "out", "--", "/bin/sh", "-c", LATE_TLS], works=False, cold=True),
    broker("go", ["trace", "--ssl", "-o", "out", "--", "/bin/sh", "-c", LATE_GO], works=False, cold=True),
    broker("system", ["system", "-i", "0.02", "-d", "0.1", "--detail", "--threads", "--pressure", "-p", "{pid}",
                      "-o", "out"], works=False),
    broker("reopen", ["process", "-o", "out", *WORK_ARGS, "hangup"]),
    broker("rotate", ["files", "--rotate-size", "1", "--rotate-keep", "9", "-o", "out", *WORK_ARGS, "many"]),
    broker("stop", ["run", "-n", "-d", "0.3", *WORK_ARGS, "long"], output=labels, status=124, works=False,
           files=("stderr",)),
]
BY_NAME = {s.name: s for s in SESSIONS}


# ---- the log of libfault.so ----

HEAD = struct.Struct("<QQII40x")
CALL = struct.Struct("<24sIIQ16Q")


class Log:
    SIZE = HEAD.size + (1 << 18) * CALL.size

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.truncate(self.SIZE)
        self.file = open(path, "r+b")
        self.memory = mmap.mmap(self.file.fileno(), self.SIZE)

    def clear(self):
        self.memory[: HEAD.size] = bytes(HEAD.size)

    def hits(self):
        return HEAD.unpack_from(self.memory)[1]

    def calls(self):
        n = HEAD.unpack_from(self.memory)[2]
        for i in range(min(n, 1 << 18)):
            name, number, _, stack, *frames = CALL.unpack_from(self.memory, HEAD.size + i * CALL.size)
            yield name.split(b"\0")[0].decode(), number, stack, frames


# ---- one run ----


class Result:
    def __init__(self):
        self.status, self.stderr, self.seconds = 0, "", 0.0
        self.lines, self.events, self.wrong = [], collections.Counter(), []
        self.capabilities, self.stop, self.mark = set(), None, None
        self.text = collections.Counter()  # lines of what is no stream of events
        self.injected, self.frames = True, []


def children_left():
    """Those that were left to us, and whether they have ended."""
    left = []
    try:
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            left.append(int(pid))
    except OSError:
        pass
    return left


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def wait_for_orphans(seconds):
    end = time.monotonic() + seconds
    while True:
        reap()
        left = children_left()
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.005)


class Runner:
    """Runs sessions in a directory of its own; a process of its own, with its own view of the cache."""

    def __init__(self, top, number):
        self.dir = Path(top) / f"run{number}"
        self.log = Log(f"{top}/log{number}")
        self.places = {"{recording}": f"{top}/recording", "{libraries}": top, "{pid}": str(os.getpid())}
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self.dir)}
        libc.personality(0x0040000)  # ADDR_NO_RANDOMIZE: the same stack is the same numbers
        libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        if libc.unshare(0x00020000) == 0:  # CLONE_NEWNS
            libc.mount(b"none", b"/", None, (1 << 18) | (1 << 14), None)  # MS_PRIVATE | MS_REC
            os.makedirs(CACHE, exist_ok=True)
            libc.mount(b"none", CACHE.encode(), b"tmpfs", 0, b"mode=755")

    def empty_cache(self):
        for path in Path(CACHE).iterdir():
            path.unlink()

    def run(self, session, plan=None, timeout_s=30):
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir()
        if session.cold:
            self.empty_cache()
        args = [self.placed(a) for a in session.args]
        environment = dict(self.environment)
        if plan:
            self.log.clear()
            environment |= {"LD_PRELOAD": f"{LIBRARY} {PRELOAD}".strip(), "FAULT_LOG": self.log.path, "FAULT_PLAN": plan}
            if session.process:
                environment["FAULT_PROCESS"] = session.process
            if PRELOAD:
                environment["ASAN_OPTIONS"] = "verify_asan_link_order=0:allocator_may_return_null=1:detect_leaks=1"
        r = Result()
        begin = time.monotonic()
        with open(self.dir / "stdout", "wb") as out, open(self.dir / "stderr", "wb") as err:
            p = subprocess.Popen([AGENTSIGHT, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self.dir,
                                 env=environment, start_new_session=True)
            if not self.wait(p, timeout_s):
                r.wrong.append(f"hang: it did not end within {timeout_s:.0f} s: {self.where(p.pid)}")
                os.killpg(p.pid, signal.SIGKILL)
            r.status = p.wait()
        r.seconds = time.monotonic() - begin
        left = wait_for_orphans(1.0)
        if left and not r.wrong:
            r.wrong.append("left: a process stays behind")
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        wait_for_orphans(5.0)
        r.stderr = (self.dir / "stderr").read_text(errors="replace")
        self.look(session, r)
        if plan and plan != "count":
            r.injected = self.log.hits() > 0
            for _, _, _, frames in self.log.calls():
                r.frames = frames
                break
        return r

    def placed(self, arg):
        for name, place in self.places.items():
            arg = arg.replace(name, place)
        return arg

    def wait(self, process, timeout_s):
        """False when it did not end in a time that leaves out how long others had the processor."""
        begin = time.monotonic()
        limit = timeout_s
        while True:
            try:
                process.wait(max(0.1, begin + limit - time.monotonic()))
                return True
            except subprocess.TimeoutExpired:
                limit = min(timeout_s + self.waited_s(process.pid), 10 * timeout_s)
                if time.monotonic() > begin + limit:
                    return False

    @staticmethod
    def waited_s(pid):
        """How long the threads of a process, or of what it started, could run but had no processor: the longest."""
        try:
            mine = set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) | {str(pid)}
            return max(int((task / "schedstat").read_text().split()[1]) / 1e9
                       for one in mine for task in Path(f"/proc/{one}/task").iterdir())
        except (OSError, ValueError):
            return 0

    @staticmethod
    def where(pid):
        """What each thread waits for."""
        try:
            return ", ".join(sorted({(t / "wchan").read_text() or "running" for t in Path(f"/proc/{pid}/task").iterdir()}))
        except OSError:
            return "?"

    def look(self, session, r):
        """Reads what it wrote; only what no fault excuses is wrong here."""
        mark = self.dir / "mark"
        r.mark = mark.read_text() if mark.exists() else None
        for path in sorted(self.dir.iterdir()):
            base = path.name.split(".")[0] if session.name.endswith("rotate") else path.name
            if path.name not in ("stdout", "stderr", "mark") and base not in session.files:
                r.wrong.append(f"left: a file '{path.name}'")
        if session.output != "events":
            for path in (self.dir / f for f in session.files):
                if path.exists():
                    r.text.update(session.output(path.read_text(errors="replace")))
        else:
            rotated = sorted(self.dir.glob("out.*"), key=lambda p: -int(p.suffix[1:]) if p.suffix[1:].isdigit() else 0)
            for path in [*rotated, *(self.dir / f for f in session.files)]:
                if path.exists():
                    self.look_at_lines(path, r)

    @staticmethod
    def look_at_lines(path, r):
        text = path.read_bytes()
        if text and not text.endswith(b"\n"):
            r.wrong.append("line: the last one is torn")
        for line in text.splitlines():
            try:
                event = json.loads(line)
                source, data = event["source"], event["data"]
                kind_of = data["type"]
            except (ValueError, KeyError, TypeError):
                r.wrong.append(f"line: invalid: {line[:80]!r}")
                continue
            r.lines.append(f"{source}.{kind_of}")
            r.events[f"{source}.{kind_of}"] += 1
            if kind_of == "capability":
                r.capabilities.add((data["family"], data["hook"], data["state"], data.get("mechanism")))
            elif kind_of == "stop":
                r.stop = data


# ---- what must hold ----

# Their number follows the clock.
BY_TIME = ("agentsight.", "system.", "alert.")
STATUSES = {1, 3, 124, 125, 126, 127}


def said(stderr):
    return [line for line in stderr.splitlines() if "agentsight: " in line and " events in " not in line]


def judge_status(session, fault, r):
    if r.status < 0:
        yield f"signal: it died of signal {-r.status}"
    elif r.status not in (session.status, session.also):
        if r.status not in STATUSES:
            yield f"status: {r.status} is not one that is documented for this"
        if not any("error: " in line for line in said(r.stderr)):
            yield f"silent: it ends with {r.status} and no error"
        elif fault.error != "ENOMEM" and any(
            line.endswith("error: " + os.strerror(getattr(errno, fault.error, 0))) for line in said(r.stderr)
        ):
            yield "vague: the message does not name what failed"
        if r.status == 3 and fault.error not in ("EPERM", "EACCES"):
            yield "status: 3, for a privilege that was not missing"


def judge_work(session, r):
    if not session.works:
        return
    if r.mark == "begun\n":
        yield "work: the command did not run to its end"
    elif r.mark is None and r.status == session.status:
        yield "work: the command never ran, and the status says it did"


def judge_stop(session, r):
    if session.output != "events" or not r.stop:
        return
    if r.stop["difference"]:
        yield f"ledger: difference {r.stop['difference']}"
    lines = len(r.lines) - 1
    if r.stop["delivered"] != lines:
        yield f"ledger: {r.stop['delivered']} delivered, {lines} lines beside `stop`"


def judge_told(session, fault, base, r):
    """What the run without a fault had and this one has not is explained."""
    if session.files == ("stderr",) and fault.name in ("fwrite", "fflush", "write"):
        return  # there is nowhere to say it
    if session.output != "events":
        missing = base.text - r.text
        if missing and not set(said(r.stderr)) - set(said(base.stderr)):
            yield f"told: nothing says why these lines are missing: {list(missing)[:3]}"
        return
    if r.mark is None and session.works:
        return  # nothing was run, so nothing is missing
    missing = {k: n - r.events[k] for k, n in base.events.items() if not k.startswith(BY_TIME) and n > r.events[k]}
    if not r.stop and r.status == session.status and not said(r.stderr):
        yield "told: no `stop`, and no message"
    elif missing and not said(r.stderr) and r.capabilities <= base.capabilities and len(r.capabilities) == len(
        base.capabilities
    ) and not (r.stop and (r.stop["lost"] or r.stop["shed"])):
        yield f"told: nothing says why these are missing: {missing}"


def judge(session, fault, r):
    base = session.base
    wrong = list(r.wrong)
    if not any(w.startswith("hang") for w in wrong):
        wrong += judge_status(session, fault, r)
        wrong += judge_work(session, r)
        wrong += judge_stop(session, r)
        if r.status in (session.status, session.also):
            wrong += judge_told(session, fault, base, r)
    if "Sanitizer" in r.stderr or "runtime error" in r.stderr:
        wrong.append("sanitizer: " + next(line for line in r.stderr.splitlines() if "Sanitizer" in line or "runtime error" in line))
    return wrong


# ---- which faults ----


def faults_at(name, n, stack, lasting):
    errors = ERRORS[kind(name)].split()
    for error in errors:
        yield Fault(name, n, error, "once", stack)
        if lasting and error in LASTING and name not in NEVER_LASTING:
            yield Fault(name, n, error, "on", stack)
    if name in SHORT:
        yield Fault(name, n, "SHORT", "short", stack)


def choose(calls, want, random_):
    """`want` faults of those that the counted `calls` allow: for each place first one of each error, then others."""
    places = collections.defaultdict(list)
    for name, n, stack, _ in calls:
        places[name, stack].append(n)
    first, then = [], []
    for (name, stack), numbers in places.items():
        first += faults_at(name, numbers[0], stack, lasting=True)
        for n in random_.sample(numbers[1:], min(len(numbers) - 1, 200)):
            then += faults_at(name, n, stack, lasting=False)
    random_.shuffle(first)
    random_.shuffle(then)
    return (first + then)[:want], len(first), len(places)


def share(sessions, candidates, want):
    """How many faults each session gets: all the same, less where there are no more."""
    shares = dict.fromkeys(sessions, 0)
    left = want
    while left > 0:
        open_ = [s for s in sessions if shares[s] < candidates[s]]
        if not open_:
            break
        each = max(1, left // len(open_))
        for s in open_:
            more = min(each, candidates[s] - shares[s], left)
            shares[s] += more
            left -= more
    return shares


# ---- the whole ----


def symbols(frames):
    """The functions of the program among the frames, innermost first."""
    inside = [hex(f - EXE_BASE - 1) for f in frames if EXE_BASE < f < EXE_BASE + EXE_SIZE]
    if not inside:
        return []
    text = subprocess.run(["addr2line", "-f", "-s", "-e", AGENTSIGHT, *inside], capture_output=True, text=True, check=False).stdout
    lines = text.splitlines()
    return [f"{f} ({p.split(' ')[0]})" for f, p in zip(lines[::2], lines[1::2])]


_runner = None


def worker_begin(top, counter):
    global _runner
    with counter.get_lock():
        counter.value += 1
        number = counter.value
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _runner = Runner(top, number)


def worker_base(name):
    """Without a fault, twice (the first fills the cache), then counting."""
    session = BY_NAME[name]
    _runner.run(session)
    base = _runner.run(session)
    counted = _runner.run(session, "count", timeout_s=60)
    base.text &= counted.text  # what is always there
    return base, counted, list(_runner.log.calls())


def worker_fault(name, base, fault):
    session = BY_NAME[name]
    session.base = base
    return run_fault(_runner, session, fault)


def run_fault(runner, session, fault):
    # programs without their types are refused only after the verifier's million instructions
    slow = 20 if fault.name in ("bpf_18", "bpf_5", "mem") else 0
    r = runner.run(session, fault.plan(), timeout_s=GRACE_S + slow + 5 * session.base.seconds)
    return r, judge(session, fault, r)


class Report:
    def __init__(self):
        self.injected = collections.Counter()
        self.errors = collections.Counter()
        self.sessions = collections.Counter()
        self.unreached, self.bad = 0, 0
        self.kinds = {}

    def add(self, session, fault, r, wrong):
        if not r.injected:
            self.unreached += 1
        else:
            self.injected[kind(fault.name)] += 1
            self.errors[fault.error] += 1
            self.sessions[session.name] += 1
        if not wrong:
            return
        where = symbols(r.frames)
        self.bad += 1
        for w in wrong:
            key = (w.split(":")[0], kind(fault.name), where[0] if where else "", where[1] if len(where) > 1 else "")
            known = self.kinds.setdefault(key, [0, w, session.name, fault, where, r])
            known[0] += 1
            if known[0] == 1:
                print(f"not ok {session.name} {fault} - {w}")
                print(f"    {readable(fault.name)} in {' < '.join(where[:6])}")
                print(f"    status {r.status}, {r.seconds:.1f} s; it said: {' / '.join(said(r.stderr))[:300]}", flush=True)

    def close(self):
        total = sum(self.injected.values())
        print(f"{total} faults injected, {self.unreached} not reached, {self.bad} with a violation, "
              f"of {len(self.kinds)} kinds")
        for title, counter in (("function", self.injected), ("errno", self.errors), ("session", self.sessions)):
            print(f"by {title}: " + ", ".join(f"{k} {n}" for k, n in counter.most_common()))
        for n, w, name, fault, where, _ in sorted(self.kinds.values(), key=lambda k: -k[0]):
            print(f"  {n:5} x {w[:90]} | {readable(fault.name)} in {' < '.join(where[:3])} | --one {name} {fault}")


def one(arguments, top):
    """Repeats a single fault, and shows everything."""
    copy_library(top)
    runner = Runner(top, 0)
    session, fault = BY_NAME[arguments.one[0]], Fault.parse(arguments.one[1])
    runner.run(BY_NAME["record"])
    shutil.copy(runner.dir / "out", f"{top}/recording")
    session.base = runner.run(session)
    session.base.text &= runner.run(session).text
    r, wrong = run_fault(runner, session, fault)
    print(f"status {r.status}, {r.seconds:.2f} s, {'injected' if r.injected else 'not reached'}, mark {r.mark!r}")
    print(f"in {' < '.join(symbols(r.frames))}")
    print(r.stderr)
    print("events", dict(r.events))
    if r.stop:
        print("stop", json.dumps(r.stop))
    for w in wrong:
        print("not ok", w)
    return 1 if wrong else 0


def copy_library(top):
    """One that nobody has looked at yet."""
    for line in subprocess.run(["ldd", TLS], capture_output=True, text=True, check=False).stdout.splitlines():
        name, _, path = line.strip().partition(" => ")
        if name.startswith("libssl"):
            shutil.copy(path.split(" ")[0], f"{top}/{name}")


def prepare(top):
    """A recording that stats and diff read."""
    copy_library(top)
    runner = Runner(top, 0)
    runner.run(BY_NAME["run"])
    shutil.copy(runner.dir / "out", f"{top}/recording")


# The same each time: whoever changes something is not to find what a draw of that day brings. That is for the many.
FEW = 150
FEW_SEED = 1
FEW_SESSIONS = ["stats", "report", "diff", "schema", "broker-record"]


def here(names):
    """Those whose programs are there: without a compiler for Go, no such program was built."""
    return [name for name in names if name != "broker-go" or GO.exists()]


def sessions_named(text):
    """`record,broker`: a group is all whose names begin with it."""
    wanted = text.split(",")
    return [name for name in BY_NAME if name in wanted or name.split("-")[0] in wanted]


def main():
    parser = argparse.ArgumentParser(description="agentsight while calls fail")
    parser.add_argument("--few", action="store_true", help="a sample of %d, in some of the sessions" % FEW)
    parser.add_argument("-n", type=int, default=10000, help="faults in all")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int(time.time()) // 86400)
    parser.add_argument("--sessions", help="some of: " + ",".join(BY_NAME) + "; or broker")
    parser.add_argument("--only", help="some functions: mem,write,bpf,…")
    parser.add_argument("--one", nargs=2, metavar=("SESSION", "FAULT"), help="repeat one: NAME:N:ERRNO:MODE")
    parser.add_argument("--limit-s", type=float, default=0, help="end after this time")
    arguments = parser.parse_args()
    names = here(sessions_named(arguments.sessions) if arguments.sessions else BY_NAME)
    if arguments.few:
        names, arguments.seed = FEW_SESSIONS, FEW_SEED
        arguments.n, arguments.jobs = FEW, 4
    if os.geteuid() != 0:
        print("skip the faults - they need root\n0 passed, 0 failed, 1 skipped")
        return 0

    with tempfile.TemporaryDirectory(prefix="faults.", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as top:
        if arguments.one:
            return one(arguments, top)
        return campaign(arguments, names, top)


def campaign(arguments, names, top):
    import multiprocessing

    context = multiprocessing.get_context("fork")
    random_ = random.Random(arguments.seed)
    process = context.Process(target=prepare, args=(top,))
    process.start()
    process.join()
    report = Report()
    begin = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(
        arguments.jobs, mp_context=context, initializer=worker_begin, initargs=(top, context.Value("i", 0))
    ) as pool:
        chosen, candidates, bases = {}, {}, {}
        for name, (base, counted, calls) in zip(names, pool.map(worker_base, names)):
            session = BY_NAME[name]
            session.base = bases[name] = base
            wrong = judge(session, Fault("mem", 0, "none", "once"), base)
            if wrong or base.status != session.status:
                print(f"not ok {name} without a fault - status {base.status}, {'; '.join(wrong)}: {base.stderr[:300]}")
                report.bad += 1
                continue
            if arguments.only:
                calls = [c for c in calls if kind(c[0]) in arguments.only.split(",")]
            chosen[name], first, places = choose(calls, 1 << 30, random_)
            candidates[name] = len(chosen[name])
            print(f"# {name}: {len(calls)} calls from {places} places, {first} faults for each place once; "
                  f"{base.seconds:.2f} s", flush=True)
        shares = share(list(chosen), candidates, arguments.n)
        work = [(name, fault) for name in chosen for fault in chosen[name][: shares[name]]]
        random_.shuffle(work)
        print(f"# {len(work)} faults, seed {arguments.seed}", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: arguments.__setattr__("limit_s", 0.001))
        run_all(pool, arguments, work, bases, report, begin)
    report.close()
    total = sum(report.injected.values())
    print(f"{max(0, total - report.bad)} passed, {report.bad} failed, {report.unreached} skipped")
    return 1 if report.bad else 0


def run_all(pool, arguments, work, bases, report, begin):
    pending = {}
    queue = iter(work)
    done = 0
    told = time.monotonic()

    def submit():
        if arguments.limit_s and time.monotonic() - begin > arguments.limit_s:
            return
        item = next(queue, None)
        if item:
            pending[pool.submit(worker_fault, item[0], bases[item[0]], item[1])] = item

    for _ in range(arguments.jobs * 2):
        submit()
    while pending:
        ready, _ = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in ready:
            name, fault = pending.pop(future)
            r, wrong = future.result()
            report.add(BY_NAME[name], fault, r, wrong)
            done += 1
            submit()
        if time.monotonic() - told > 15:
            told = time.monotonic()
            rate = done / (told - begin)
            print(f"# {done} of {len(work)}, {report.bad} with a violation, {rate:.1f}/s, "
                  f"{(len(work) - done) / rate / 60:.0f} min left", flush=True)


if __name__ == "__main__":
    sys.exit(main())
