#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""surroundings.py [--long] [NAME...]: agentsight where something around it is missing, full, slow or gone, as root.

Prints one line per test and a closing line "N passed, N failed, N skipped".
"""

import argparse
import collections
import ctypes
import fcntl
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/real"))

from real import (  # noqa: E402
    AGENTSIGHT, ENVIRONMENT, Bench, Failure, Sight, Skip, Stream, bpf_held_by, bpf_left, check, check_equal, need, wait_until,
)

OUT = Path(os.environ.get("O", TOP / "out")).resolve()
WORK = OUT / "tests/faults/work"
SPAWN = OUT / "tests/workloads/spawn"
TLS = OUT / "tests/workloads/tls"
TIMEOUT_S = 300
libc = ctypes.CDLL(None, use_errno=True)
LONG = False

# ---- helpers ----


def run(bench, *args, status=0, timeout_s=60, **kw):
    """agentsight with `args` in the bench's directory; what it said on standard error."""
    process = bench.spawn([AGENTSIGHT, *args], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          stdout=kw.pop("stdout", subprocess.DEVNULL), **kw)
    _, messages = process.communicate(timeout=timeout_s)
    messages = messages.decode(errors="replace")
    if status is not None:
        check_equal(process.returncode, status, f"its status; it said: {messages}")
    return process.returncode, messages


def whole_lines(path):
    """The events of a file that must have no line but whole ones; what is behind the last line end is cut off."""
    raw = Path(path).read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    return [json.loads(line.decode("utf-8", "strict")) for line in whole.splitlines()], len(raw) - len(whole)


def check_worked(bench, path="out"):
    """The command ran, and what it did stands in the file."""
    check_equal((bench.dir / "mark").read_text(), "done\n", "what the command left")
    stream = Stream(bench.dir / path)
    check_equal(len(stream.index["process", "exit"]), 4, "exits")
    return stream


def load(bench, count, *more):
    """Processes at full speed, held until they are released."""
    return bench.hold([str(SPAWN), "-q", "-n", str(count), "-j", "2", *more])


def own_mounts():
    """For a preexec_fn: mounts that end with the process."""
    check(libc.unshare(0x00020000) == 0, "unshare")
    check(libc.mount(b"none", b"/", None, (1 << 18) | (1 << 14), None) == 0, "private mounts")


def mount(what, where, flags=0, data=None):
    if libc.mount(b"none", os.fsencode(where), what, flags, data) != 0:
        raise OSError(ctypes.get_errno(), f"mount {where}")


class Before:
    """Runs `steps` in the child; keeps what `Bench.spawn` would do there."""

    def __init__(self, *steps):
        self.steps = steps

    def __call__(self):
        libc.prctl(1, signal.SIGKILL)
        for step in self.steps:
            step()


def start(bench, args, steps=(), **kw):
    process = subprocess.Popen([AGENTSIGHT, *map(str, args)], cwd=bench.dir, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                               preexec_fn=Before(*steps), stdout=kw.pop("stdout", subprocess.DEVNULL),
                               stderr=subprocess.PIPE, **kw)
    bench.processes.append(process)
    return process


def finish(process, timeout_s=60):
    _, messages = process.communicate(timeout=timeout_s)
    return process.returncode, messages.decode(errors="replace")


RECORD = ["record", "-o", "out", "--", WORK, "mark"]

# ---- resources ----


def descriptors(bench):
    """64 are enough for processes, 192 for everything; with fewer it works or says what it could not do, and never
    leaves a line cut."""
    for command, enough in ((["process", "-o", "out", "--", WORK, "mark"], 64), (RECORD, 192)):
        for limit in (192, 128, 100, 80, 64, 48, 32, 24, 20, 16, 14, 12, 11, 10, 9, 8, 7, 6, 5, 4):
            few_descriptors(bench, command, limit, limit >= enough)


def few_descriptors(bench, command, limit, enough):
    clean(bench)
    status, messages = finish(
        start(bench, command, [lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))])
    )
    if enough:
        check_equal(status, 0, f"status of {command[0]} with {limit} descriptors, {messages}")
        check("warning" not in messages, f"{command[0]} with {limit} descriptors says: {messages}")
        check_worked(bench)
    else:
        check_whatever(bench, status, messages, f"{command[0]} with {limit} descriptors")


def clean(bench):
    for name in ("out", "mark"):
        (bench.dir / name).unlink(missing_ok=True)


def check_whatever(bench, status, messages, how):
    """It worked or said why not; what is in the file is whole."""
    check(status in (0, 1, 3, 127), f"{how}: status {status}: {messages}")
    check(status == 0 or messages, f"{how}: status {status}, and no reason")
    if (bench.dir / "out").exists():
        events, torn = whole_lines(bench.dir / "out")
        check(torn == 0, f"{how}: a cut line")
        told = "could not be written" in messages or "no memory to tell" in messages
        check(status != 0 or told or events[-1]["data"]["type"] == "stop", f"{how}: no `stop`: {messages}")
    if status == 0:
        check_equal((bench.dir / "mark").read_text(), "done\n", f"{how}: what the command left")


def address_space(bench):
    """Less and less memory to be had: it works or says so."""
    for mb in (400, 200, 120, 100, 90, 80, 70, 60, 50, 40, 30, 25, 20):
        clean(bench)
        limit = mb << 20
        status, messages = finish(start(bench, RECORD, [lambda n=limit: resource.setrlimit(resource.RLIMIT_AS, (n, n))]))
        check_whatever(bench, status, messages, f"{mb} MB")


class Cgroup:
    """A memory cgroup, of either version."""

    def __init__(self, limit):
        name = f"agentsight-faults.{os.getpid()}"
        for root, setting in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            self.path = Path(root) / name
            if not (Path(root) / "cgroup.procs").exists():
                continue
            try:
                self.path.mkdir()
                (self.path / setting).write_text(str(limit))
                return
            except OSError:
                if self.path.exists():
                    self.path.rmdir()
        raise Skip("no memory cgroup can be made here")

    def enter(self):
        (self.path / "cgroup.procs").write_text("0")

    def peak(self):
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            if (self.path / name).exists():
                return int((self.path / name).read_text())
        return 0

    def close(self):
        wait_until("the cgroup to be empty", lambda: not (self.path / "cgroup.procs").read_text())
        self.path.rmdir()


def small_cgroup(bench):
    """32 MB with maps, rings and what the verifier takes are enough for processes, 96 MB for everything."""
    return "; ".join(in_cgroup(bench, command, mb) for command, mb in (("process", 32), ("record", 96)))


def in_cgroup(bench, command, mb):
    work = load(bench, 20000 if LONG else 3000)
    group = Cgroup(mb << 20)
    try:
        process = start(bench, [command, "-v", "-o", command, "-p", work.pid], [group.enter])
        os.set_blocking(process.stderr.fileno(), False)
        said = b""

        def watching():
            nonlocal said
            said += process.stderr.read() or b""
            check(process.poll() is None, f"{command} ended with {process.returncode}: {said.decode(errors='replace')}")
            return b"watching\n" in said

        wait_until("agentsight to watch", watching)
        bench.release(work)
        bench.finish(work)
        process.send_signal(signal.SIGINT)
        check_equal(process.wait(), 0, "status")
        peak = group.peak()
    finally:
        for p in (process, work):
            if p.poll() is None:
                p.kill()
                p.wait()
        group.close()
    stop = Stream(bench.dir / command, lossless=False).stop
    return f"{command}: peak {peak / 2**20:.0f} of {mb} MB, {stop['delivered']} delivered, {stop['lost']} lost"


def read_only(bench):
    """No file system but /proc, /sys and that of the output can be written, and there is no /tmp."""
    output = bench.dir / "disk"
    output.mkdir()

    def steps():
        own_mounts()
        mount(b"tmpfs", output)
        for point in ("/tmp", "/var/tmp"):
            if os.path.isdir(point) and not str(output).startswith(point + "/"):
                mount(b"tmpfs", point, 1)
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for point in points:
            if point != str(output) and not point.startswith(("/proc", "/sys", "/dev")):
                libc.mount(b"none", os.fsencode(point), None, 1 | 32 | 4096, None)  # MS_RDONLY | MS_REMOUNT | MS_BIND

    # what was written is carried out through a descriptor, since the mount goes with the process
    shell = f'cd {output} && "$0" record -o out -- {WORK} mark >/dev/null; status=$?; cat out; exit $status'
    with open(bench.dir / "out", "wb") as carried:
        process = subprocess.Popen(["/bin/sh", "-c", shell, AGENTSIGHT], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                   preexec_fn=Before(steps), stdout=carried, stderr=subprocess.PIPE)
    bench.processes.append(process)
    status, messages = finish(process)
    check_equal(status, 0, f"status: {messages}")
    check("warning" not in messages, f"it says: {messages}")
    check_equal(len(Stream(bench.dir / "out").index["process", "exit"]), 4, "exits")


# ---- who reads ----


def unread_pipe(bench):
    """A pipe that is full and that nobody reads holds up neither the traced processes nor the end for long."""
    work = load(bench, 4000)
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, 1031, 4096)  # F_SETPIPE_SZ
    process = start(bench, ["process", "-v", "--queue-size", "1", "-p", work.pid], stdout=write_fd)
    os.close(write_fd)
    time.sleep(1)
    begin = time.monotonic()
    bench.release(work)
    bench.finish(work)
    took = time.monotonic() - begin
    process.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    status, messages = finish(process, 30)
    end = time.monotonic() - begin
    os.close(read_fd)
    check_equal(status, 0, f"status: {messages}")
    check(end < 15, f"it took {end:.1f} s to end")
    check("takes nothing" in messages and "lost" in messages, f"it says: {messages}")
    return f"4,000 processes in {took:.1f} s, the end took {end:.1f} s"


def closed_output(bench):
    """Without a standard output it says so; without standard input and error it works."""
    shell = '"$0" process -- /bin/true >&-'
    p = bench.spawn(["/bin/sh", "-c", shell, AGENTSIGHT], stderr=subprocess.PIPE)
    status, messages = finish(p)
    check_equal(status, 1, "status without a standard output")
    check("standard output is closed" in messages, f"it says: {messages}")
    p = bench.spawn(["/bin/sh", "-c", f'"$0" record -o out -- {WORK} mark <&- 2>&-', AGENTSIGHT],
                    stdout=subprocess.DEVNULL)
    check_equal(p.wait(), 0, "status without standard input and error")
    check_worked(bench)
    check_equal(os.listdir(bench.dir).count("out"), 1, "outputs")
    p = bench.spawn(["/bin/sh", "-c", f'"$0" record -o out2 -- {WORK} mark <&- >&- 2>&-', AGENTSIGHT])
    check_equal(p.wait(), 0, "status without any of the three")
    check_worked(bench, "out2")


def head(bench):
    """`| head -1` ends it at once and without a word; the command that is sampled by `run` is not ended by it."""
    times = []
    for _ in range(20 if LONG else 5):
        read_fd, write_fd = os.pipe()
        process = start(bench, ["process"], stdout=write_fd)
        os.close(write_fd)
        os.read(read_fd, 1)
        subprocess.run(["/bin/true"], check=True)
        os.close(read_fd)
        begin = time.monotonic()
        subprocess.run(["/bin/true"], check=True)
        status, messages = finish(process, 20)
        times.append(time.monotonic() - begin)
        check_equal(status, 0, f"status: {messages}")
        check_equal(messages, "", "what it says")
    read_fd, write_fd = os.pipe()
    process = start(bench, ["run", "-i", "10", "--json", "--", "/bin/sh", "-c", "sleep 0.7; echo done >mark; exit 7"],
                    stdout=write_fd)
    os.close(write_fd)
    os.read(read_fd, 1)
    os.close(read_fd)
    status, messages = finish(process, 20)
    check_equal(status, 7, f"status of `run`, whose output was closed: {messages}")
    check_equal((bench.dir / "mark").read_text(), "done\n", "what the command left")
    check_equal(messages, "", "what `run` says")
    return f"{sorted(times)[len(times) // 2] * 1e3:.0f} ms, the longest {max(times) * 1e3:.0f} ms"


def hung_up(bench):
    """The end of its terminal ends what is shown there, unless nohup(1) says otherwise."""
    for ignored in (False, True):
        steps = [lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)] if ignored else []
        process = start(bench, ["process", "-p", os.getpid()], steps, stdout=open(bench.dir / "shown", "wb"))
        wait_until("the first line", lambda: (bench.dir / "shown").stat().st_size > 0)
        process.send_signal(signal.SIGHUP)
        if ignored:
            time.sleep(0.5)
            check(process.poll() is None, "it ends under nohup")
            process.send_signal(signal.SIGTERM)
        status, messages = finish(process, 20)
        check_equal(status, 0, f"status: {messages}")
        check_equal(Stream(bench.dir / "shown").stop["reason"], "terminated", "the reason")


# ---- stops and ends ----


def stopped_reader(bench):
    """Stopped for 2 s while processes come and go: what the ring could not hold is counted to the last one."""
    count = 30000 if LONG else 6000
    work = load(bench, count)
    sight = Sight(bench, "process", "--ring-size", "1", "-p", str(work.pid))
    bench.release(work)
    time.sleep(0.2)
    os.kill(sight.process.pid, signal.SIGSTOP)
    time.sleep(2)
    os.kill(sight.process.pid, signal.SIGCONT)
    bench.finish(work)
    sight.process.send_signal(signal.SIGINT)
    check_equal(sight.process.wait(), 0, f"status: {sight.messages()}")
    stream = Stream(sight.output, lossless=False)
    # the kernel's counts know them all, and the one that started them
    for kind in ("exec", "exit"):
        row = stream.stop["streams"][f"process.{kind}"]
        check_equal(row["produced"], count + 1, f"{kind}s that were produced")
        check_equal(row.get("delivered", 0) + row.get("ring_full", 0), count + 1, f"{kind}s that are accounted for")
    return f"{stream.stop['delivered']} delivered, {stream.stop['lost']} lost, difference 0"


def terminated(bench):
    """SIGTERM under full load: the end takes 2 s more than some times what it takes without load, which is grace periods
    of the kernel's; and all that was delivered is in the file."""
    times = []
    idle = Sight(bench, "record", "-p", str(os.getpid()))
    begin = time.monotonic()
    idle.process.send_signal(signal.SIGTERM)
    idle.process.wait()
    limit_s = 2 + 5 * (time.monotonic() - begin)
    for _ in range(10 if LONG else 2):
        work = load(bench, 100000)
        sight = Sight(bench, "record", "-p", str(work.pid))
        bench.release(work)
        time.sleep(random.uniform(0.2, 0.8))
        begin, before, waited = time.monotonic(), sight.waited_s(), 0
        sight.process.send_signal(signal.SIGTERM)
        while sight.process.poll() is None:
            waited = max(waited, sight.waited_s() - before)
            time.sleep(0.005)
        check_equal(sight.process.returncode, 0, f"status: {sight.messages()}")
        times.append(time.monotonic() - begin)
        work.kill()
        work.wait()
        stream = Stream(sight.output, lossless=False)
        check_equal(stream.stop["delivered"], len(stream.events) - 1, "lines")
        check(times[-1] < limit_s + waited, f"the end took {times[-1]:.1f} s, {waited:.1f} s of it without a processor")
        sight.output.unlink()
    return f"{max(times):.2f} s at most"


def killed(bench):
    """kill -9 at any moment: whole lines, but for the last one, and nothing older than a moment is missing; the
    command that was traced goes on, and nothing stays loaded."""
    lags, torn, lines = [], 0, 0
    for i in range(200 if LONG else 8):
        work = load(bench, 100000)
        out = bench.dir / "killed"
        out.unlink(missing_ok=True)
        process = start(bench, ["process", "-o", out, "-p", work.pid])
        wait_until("it to begin", lambda: out.exists() and (i % 4 == 0 or out.stat().st_size > 0))
        bench.release(work)
        if i % 4 > 1:
            enough = random.uniform(20000, 1000000)
            wait_until("some lines", lambda: out.stat().st_size > enough)
        time.sleep(random.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        now = time.time_ns()
        process.wait()
        check(work.poll() is None, f"the traced program ended with {work.returncode}")
        work.kill()
        work.wait()
        if not out.exists():
            continue
        events, rest = whole_lines(out)
        torn += rest > 0
        lines += len(events)
        if len(events) > 1000:
            lags.append((now - events[-1]["timestamp"]) / 1e6)
            pids = collections.Counter(e["pid"] for e in events if e["data"]["type"] == "exec")
            check(max(pids.values()) <= 2, "an exec is there more than once")
        process.stderr.close()
    if lags:
        check(max(lags) < 2000, f"the last line is {max(lags):.0f} ms older than the end")
    lag = f", the last line {sorted(lags)[len(lags) // 2]:.0f} ms before the end, {max(lags):.0f} at most" if lags else ""
    return f"{lines} lines, {torn} files with a torn last line{lag}"


def nothing_stays(bench):
    """After kill -9 of a full recording its broker ends by itself, and what both held is gone: links, programs, maps."""
    need("bpftool")
    process = start(bench, ["record", "-v", "-o", "out", "-p", os.getpid()])
    wait_until("it to watch", lambda: b"watching" in process.stderr.readline())
    held = bpf_held_by([process.pid, wait_until("the broker", lambda: broker_of(process))])
    check_equal({kind for kind in held if held[kind]}, set(bpf_left(held)), "what is held, and what bpftool knows of it")
    check(held["prog"] and held["map"], f"nothing was held: {held}")
    process.kill()
    process.wait()
    wait_until("what they held to be gone", lambda: not bpf_left(held))
    pinned = Path("/sys/fs/bpf")
    check(not pinned.exists() or not list(pinned.glob("agentsight*")), "something is pinned")


def rotations(bench):
    """kill -9 in the middle of rotations: the files have whole lines, and the next rotation clears away what the killed
    one left half made."""
    for _ in range(20 if LONG else 3):
        for path in bench.dir.glob("rot*"):
            path.unlink()
        work = load(bench, 100000)
        process = start(bench, ["process", "-o", "rot", "--rotate-size", "1", "--rotate-keep", "30", "-p", work.pid])
        wait_until("a first line", lambda: (bench.dir / "rot").exists() and (bench.dir / "rot").stat().st_size > 0)
        bench.release(work)
        wait_until("a rotation", lambda: (bench.dir / "rot.1").exists(), 60)
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.wait()
        process.stderr.close()
        work.kill()
        work.wait()
        torn = [p.name for p in bench.dir.glob("rot*") if whole_lines(p)[1]]
        check(set(torn) <= {"rot"}, f"cut lines in {torn}")
        for path in bench.dir.glob("rot.*"):
            path.unlink()
        (bench.dir / "rot.new").write_text("half made\n")
        run(bench, "files", "-o", "rot", "--rotate-size", "1", "--rotate-keep", "30", "--", str(WORK), "mark", "many")
        check(whole_lines(bench.dir / "rot")[0][-1]["data"]["type"] == "stop", "the next run did not end its output")
        check((bench.dir / "rot.1").exists(), "the next run did not rotate")
        check(not (bench.dir / "rot.new").exists(), "what the killed run left is there")


def broker_of(process):
    """The process of ours that keeps the privileges."""
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if Path(f"/proc/{pid}/comm").read_text() == "agentsight-priv\n":
            return int(pid)
    return None


def own_libssl(bench):
    """A directory with a library that nobody has seen yet."""
    for line in subprocess.run(["ldd", TLS], capture_output=True, text=True, check=False).stdout.splitlines():
        name, _, path = line.strip().partition(" => ")
        if name.startswith("libssl"):
            shutil.copy(path.split(" ")[0], bench.dir / name)
            return bench.dir
    raise Skip("the workload is not linked with libssl")


def broker_killed(bench):
    """What is probed when the broker is killed stays so; that the next library is not, is said; the ledger closes."""
    script = f"{TLS} ex 2 100 --no-sum; LD_LIBRARY_PATH={own_libssl(bench)} {TLS} ex 2 100 --no-sum"
    work = bench.hold(["/bin/sh", "-c", script])
    sight = Sight(bench, "trace", "--ssl", "-p", str(work.pid))
    os.kill(broker_of(sight.process), signal.SIGKILL)
    bench.release(work)
    bench.finish(work)
    stream = sight.stop()
    check_equal(len({e["pid"] for e in stream.events if e["source"] == "ssl"}), 1, "processes with plaintext")
    check("the broker has ended" in sight.messages(), f"nothing is said: {sight.messages()}")


def broker_killed_in_run(bench):
    """Who may not end the command any more ends alone when told to, and says so."""
    process = start(bench, ["run", "-n", "--", "/bin/sleep", "20"])
    broker = wait_until("the broker", lambda: broker_of(process))
    wait_until("the command", lambda: any(
        Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
    os.kill(broker, signal.SIGKILL)
    process.send_signal(signal.SIGTERM)
    check_equal(process.wait(10), 0, "status")
    os.set_blocking(process.stderr.fileno(), False)  # the command has it open, too
    messages = process.stderr.read().decode(errors="replace")
    check("cannot be passed on" in messages and "goes on" in messages, f"it does not say so: {messages}")


TESTS = {
    "descriptors_that_cannot_be_had_are_told": descriptors,
    "memory_that_cannot_be_had_is_told": address_space,
    "a_cgroup_of_32_MB_is_enough_for_processes_and_96_MB_for_all": small_cgroup,
    "nothing_is_written_but_the_output": read_only,
    "a_pipe_that_nobody_reads_holds_up_nothing_for_long": unread_pipe,
    "closed_descriptors_are_no_harm": closed_output,
    "a_reader_that_has_enough_ends_it_at_once_and_in_silence": head,
    "the_end_of_the_terminal_is_the_end": hung_up,
    "a_stopped_reader_counts_what_it_lost": stopped_reader,
    "a_termination_under_load_takes_little_longer_than_without": terminated,
    "a_kill_leaves_whole_lines_and_the_traced_alone": killed,
    "a_kill_leaves_no_program_in_the_kernel": nothing_stays,
    "a_kill_between_two_files_splits_no_line": rotations,
    "a_broker_that_is_killed_leaves_the_probes_in_place": broker_killed,
    "a_broker_that_is_killed_does_not_keep_a_run_from_ending": broker_killed_in_run,
}


QUICK = (read_only, closed_output, head, hung_up, terminated, nothing_stays, broker_killed, broker_killed_in_run)


def out_of_time(signum, frame):
    raise Failure(f"it did not end within {TIMEOUT_S} s")


def run_one(name):
    bench = Bench()
    result = "failed"
    begin = time.monotonic()
    signal.alarm(TIMEOUT_S * (4 if LONG else 1))
    try:
        found = TESTS[name](bench)
        result = "passed"
        print(f"ok {name} ({time.monotonic() - begin:.1f} s){f': {found}' if found else ''}", flush=True)
    except Skip as e:
        result = "skipped"
        print(f"skip {name} - {e}", flush=True)
    except Exception as e:  # a program missing, a line that is no JSON: each is a failure of this test alone
        print(f"not ok {name} - {type(e).__name__}: {e}".replace("\n", " / "), flush=True)
    finally:
        signal.alarm(0)
        bench.close(keep=result == "failed")
    return result


def main():
    global LONG
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="200 kills instead of 8, and so on")
    parser.add_argument("--few", action="store_true", help="the quick ones")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if arguments.few:
        arguments.names = [name for name, test in TESTS.items() if test in QUICK]
    LONG = arguments.long
    if os.geteuid() != 0:
        print("skip the surroundings - they need root\n0 passed, 0 failed, 1 skipped")
        return 0
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who starts the tests may have nohup(1) ignore it
    counts = collections.Counter(run_one(name) for name in arguments.names or TESTS)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
