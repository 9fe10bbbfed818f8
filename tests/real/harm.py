# SPDX-License-Identifier: MIT
"""Do no harm: programs that are recorded do the same as when they are not, whatever they are, whatever becomes of
their libraries, and however agentsight ends.

Each program is run some times beside nothing and as often beside a recording of all there is; SLOW=1 makes it a
hundred times and more.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from real import (
    AGENTSIGHT, ENVIRONMENT, PYTHON, TIMEOUT_S, TOP, Skip, Stream, bpf_held_by, bpf_left, check, check_equal, children, need, wait_until,
)
from tls import busy, check_library, private_copy, progress

HARM = TOP / "tests/harm"
OUT = TOP / os.environ.get("O", "out") / "tests/harm"
GO_WORKLOADS = OUT.parent / "workloads"
AGENTS = Path(os.environ.get("AGENTSIGHT_AGENTS", Path.home() / ".cache/agentsight/agents"))
SLOW = bool(os.environ.get("SLOW"))
RUNS = int(os.environ.get("RUNS", 100 if SLOW else 3))
LONG = {"java", "gdb"}  # seconds each
NOBODY = 65534
GONE_S = 20  # milliseconds on a quiet machine: the kernel frees behind grace periods, and bpftool is run for each look
WRITER_S = 20  # 0.1 s on a quiet machine; the kernel itself would let a writer wait for 45


# ---- building ----


def compiler(name):
    """Rust's may be in its user's home."""
    path = shutil.which(name, path=ENVIRONMENT["PATH"]) or shutil.which(name, path=Path.home() / ".cargo/bin")
    if not path:
        raise Skip(f"{name} is not installed")
    return path


def build(name, *command, source=None):
    """out/tests/harm/NAME, made by `command` when it is older than its source."""
    output = OUT / name
    source = HARM / (source or name)
    if not output.exists() or output.stat().st_mtime < source.stat().st_mtime:
        OUT.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ, GO111MODULE="off", CGO_ENABLED="0", GOCACHE=str(OUT.parent.parent / "go-cache"))
        argv = [compiler(command[0]), *map(str, command[1:])]
        done = subprocess.run(argv, cwd=HARM, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skip(f"{name} cannot be built: {(done.stderr.splitlines() or ['?'])[0]}")
    return output


def ways():
    return build("ways", "c++", "-O1", "ways.cc", "-o", OUT / "ways", "-lssl", "-lcrypto", "-lpthread", source="ways.cc")


def go_program(name, mode):
    return build(name, "go", "build", f"-buildmode={mode}", "-o", OUT / name, "./go", source="go/main.go")


def java():
    build("Client.class", "javac", "-d", OUT, "Client.java", source="Client.java")
    return [need("java"), "-XX:+UseSerialGC", "-cp", str(OUT), "Client", "PORT"]


def static_musl():
    return [build("plain_musl", "musl-gcc", "-static", "-O1", "plain.c", "-o", OUT / "plain_musl", source="plain.c")]


def static_glibc():
    return [build("plain", "cc", "-static", "-O1", "plain.c", "-o", OUT / "plain", "-lpthread", source="plain.c")]


def rust():
    return [build("client_rs", "rustc", "-O", "client.rs", "-o", OUT / "client_rs", source="client.rs"), "PORT"]


def cached(*versions, binary):
    for version in versions:
        path = AGENTS / version / binary
        if path.exists():
            return str(path)
    raise Skip(f"no {versions[0]} in the cache (make check-agents fetches it)")


def bun():
    return [cached("bun-1.4.5", "bun-1.3.14", "bun-1.1.45", binary="package/bin/bun"), HARM / "client.mjs", "PORT"]


def deno():
    program = cached("deno-2.9.6", "deno-2.5.0", "deno-2.2.0", binary="package/deno")
    return [program, "run", "-A", "--quiet", "--unsafely-ignore-certificate-errors", HARM / "client.mjs", "PORT"]


def perl():
    program = need("perl")
    if subprocess.run([program, "-MIO::Socket::SSL", "-e1"], capture_output=True).returncode:
        raise Skip("perl has no IO::Socket::SSL")
    return [program, HARM / "client.pl", "PORT"]


def setuid():
    """Run by somebody else, it is root: the dynamic linker and the kernel trust it less."""
    program = OUT / "ways_setuid"
    shutil.copy(ways(), program)
    os.chmod(program, 0o4755)
    return ["/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", program, "setuid"]


# Less what is different each time: the number of the process.
GDB = """"$0" -nx -q -batch -ex run -ex 'print $_exitcode' --args "$@" | grep -v process"""
NOTES = bool(os.environ.get("NOTES"))  # how long everything took

# Name: the command, and whether its TLS is to be seen in the recording.
RUNTIMES = {
    "node": (lambda: [need("node"), HARM / "client.mjs", "PORT"], True),
    "bun": (bun, True),
    "deno": (deno, True),
    "python": (lambda: [PYTHON, "-I", HARM / "client.py", "PORT"], True),
    "curl": (lambda: [need("curl"), "-qksS", "URL/bytes/5000", "URL/bytes/100000"], True),
    "wget": (lambda: [need("wget"), "-qO-", "--no-check-certificate", "URL/bytes/100000"], True),
    "ruby": (lambda: [need("ruby"), HARM / "client.rb", "PORT"], True),
    "php": (lambda: [need("php"), "-n", "-d", "extension=openssl", HARM / "client.php", "PORT"], True),
    "perl": (perl, True),
    "java": (java, False),
    "rust": (rust, True),
    "go": (lambda: [go_program("go_exe", "exe"), "20"], True),
    "go, position independent": (lambda: [go_program("go_pie", "pie"), "20"], True),
    "C, OpenSSL": (lambda: [ways(), "talk"], True),
    "luajit": (lambda: [need("luajit"), HARM / "numbers.lua"], False),
    "static glibc": (static_glibc, False),
    "static musl": (static_musl, False),
    "setuid": (setuid, True),
    "seccomp, strict": (lambda: [ways(), "strict"], True),
    "seccomp, a filter": (lambda: [ways(), "filter"], True),
    "strace": (lambda: [need("strace"), "-f", "-o", "/dev/null", ways(), "vfork", "fork", "jump"], True),
    "gdb": (lambda: ["/bin/sh", "-c", GDB, need("gdb"), ways(), "talk", "exit"], False),
}


# ---- running ----


class Run:
    """What one run was like."""

    def __init__(self, bench, argv):
        begin = time.monotonic()
        process = bench.spawn(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pid = process.pid
        self.output, self.errors = process.communicate(timeout=300)
        self.status = process.returncode
        self.took_s = time.monotonic() - begin

    def same(self, other):
        return (self.status, self.output) == (other.status, other.output)

    def __str__(self):
        digest = hashlib.sha256(self.output).hexdigest()[:8]
        return f"status {self.status}, {len(self.output)} bytes {digest}, {self.errors[-120:].decode(errors='replace')!r}"


def prepared(command, peer):
    return [str(word).replace("PORT", str(peer.port)).replace("URL", peer.url) for word in command]


def differences(bench, commands, runs, peer, plaintext=()):
    """Runs each command untraced and traced; a line for each that did not do the same."""
    signal.alarm(TIMEOUT_S + 60 * runs * len(commands))
    times = {name: 1 if name in LONG and not SLOW else runs for name in commands}
    alone = {name: [Run(bench, argv) for _ in range(times[name])] for name, argv in commands.items()}
    # all that this process starts belongs to the recording
    sight = bench.sight("record", "--no-redact", "-p", str(os.getpid()))
    beside = {name: [Run(bench, argv) for _ in range(times[name])] for name, argv in commands.items()}
    seen = {}
    sight.process.send_signal(signal.SIGINT)
    check_equal(sight.process.wait(), 0, "the end of agentsight")
    stream = Stream(sight.output, lossless=False)  # this is not about what is seen
    for name in commands if NOTES else ():
        print(f"note: {name}: {alone[name][-1].took_s:.2f} s, {beside[name][-1].took_s:.2f} s")
    for event in stream.select("ssl", "data"):
        seen[event["pid"]] = True
        seen[event["ppid"]] = True
    wrong = []
    for name in commands:
        first = alone[name][0]
        unlike = [r for r in alone[name] if not r.same(first)]
        wrong += [f"{name} alone is not always the same: {first} / {r}" for r in unlike[:1]]
        unlike = [r for r in beside[name] if not r.same(first)]
        wrong += [f"{name}, {len(unlike)} of {times[name]} runs: {first} became {r}" for r in unlike[:1]]
        if name in plaintext and not seen.get(beside[name][-1].pid):
            wrong.append(f"{name}: no plaintext was seen")
    return wrong


def runtimes(bench, names):
    peer = bench.peer(tls=True)
    commands, missing = {}, []
    for name in names:
        try:
            commands[name] = prepared(RUNTIMES[name][0](), peer)
        except Skip as e:
            missing.append(f"{name}: {e}")
    if missing:
        print(f"note: {'; '.join(missing)}")
    if not commands:
        raise Skip("none of them is installed")
    wrong = differences(bench, commands, RUNS, peer, {n for n in names if RUNTIMES[n][1]})
    check(not wrong, "; ".join(wrong))


def runtimes_of_scripts_do_the_same(bench):
    runtimes(bench, ("node", "bun", "deno", "python", "ruby", "php", "perl", "java", "luajit"))


def compiled_programs_do_the_same(bench):
    names = ("curl", "wget", "rust", "go", "go, position independent", "C, OpenSSL", "static glibc", "static musl")
    runtimes(bench, names)


def confined_and_examined_programs_do_the_same(bench):
    runtimes(bench, ("setuid", "seccomp, strict", "seccomp, a filter", "strace", "gdb"))


def tls_calls_are_left_in_every_way(bench):
    """By longjmp() out of a callback and out of a signal's handler, by fork, vfork, exec, exit, signals that kill, calls
    within calls deeper than the kernel keeps returns for, and signals in whose handlers is more TLS."""
    names = ("jump", "fork", "vfork", "exec", "exit", "fault", "signal", "nest", "segv", "abort")
    wrong = differences(bench, {n: [str(ways()), n] for n in names}, RUNS, None, names[:3])
    check(not wrong, "; ".join(wrong))


def walks(bench):
    """A library, and programs that use it and walk their stacks: by exceptions, by the cancelling of threads, by
    backtraces. Libraries of their own: others may be recording programs with the system's."""
    library = private_copy(bench.dir / "private")
    env = ["/usr/bin/env", f"LD_LIBRARY_PATH={library.parent}"]
    commands = {n: [*env, str(ways()), n] for n in ("throw", "cancel", "walk")}
    alone = b"".join(Run(bench, commands[n]).output for n in ("throw", "cancel"))
    told = alone.count(b"caught from within"), alone.count(b"cancelled, its lock is free")
    check(all(told), f"it never caught its exceptions, or never left its locks: {told}")
    if told != (3, 3):
        raise Skip(f"without a recording of ours it does not walk its stack either: {told}")
    return library, commands


def the_stack_of_who_is_not_watched_can_be_walked(bench):
    """Though the library that it uses is probed for somebody else."""
    library, commands = walks(bench)
    alone = {name: [Run(bench, argv) for _ in range(RUNS)] for name, argv in commands.items()}
    other = bench.hold(["/bin/true"])
    sight = bench.sight("record", "-p", str(other.pid), "--binary-path", str(library))
    event = sight.wait_for("its probes", lambda e: e["data"].get("hook", "") == str(library))
    if event["data"]["mechanism"] != "uprobe session link":
        raise Skip("this kernel (before 6.13) puts return probes into every process")
    for name, argv in commands.items():
        for before in alone[name]:
            run = Run(bench, argv)
            check(run.same(before), f"{name}: {before} became {run}")
    sight.stop()


def the_stack_can_be_walked_through_tls_calls(bench):
    """Where a return probe stands, nobody who walks comes further: a limit that is told, not a test that passes."""
    _, commands = walks(bench)
    wrong = differences(bench, commands, RUNS, None)
    if wrong:
        raise Skip("known: return probes end the walk. " + "; ".join(wrong))


# ---- a process that is written to disk and comes back ----


def a_process_that_was_checkpointed_goes_on(bench):
    criu = need("criu")
    if subprocess.run([criu, "check"], capture_output=True, check=False).returncode:
        raise Skip("criu does not work on this machine")
    peer = bench.peer(tls=True)
    sight = bench.sight("record", "-p", str(os.getpid()))
    process = busy(bench, peer)
    images = bench.dir / "images"
    images.mkdir()
    progress(bench, process, 20)
    command = [criu, "dump", "-t", str(process.pid), "-D", images, "--tcp-established", "--leave-running", "-j"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"criu: {done.stderr[-200:]}")
    progress(bench, process, 20)
    process.kill()
    sight.stop()


# ---- probes, as the kernel lists them ----


def links(sight):
    """What agentsight holds open in the kernel: a dictionary for each descriptor with an id, from fdinfo."""
    found = []
    for path in Path(f"/proc/{sight.process.pid}/fdinfo").iterdir():
        try:
            text = path.read_text()
        except OSError:
            continue
        fields = dict(re.findall(r"^(\w+):\s*(.*)$", text, re.M))
        if any(k in fields for k in ("link_id", "map_id", "prog_id")):
            found.append(fields)
    return found


def program_name(number):
    shown = subprocess.run(["bpftool", "prog", "show", "id", number], capture_output=True, text=True, check=False)
    return re.search(r"name (\w+)", shown.stdout).group(1)


def probes(sight, library):
    """What is in one file: "uprobe_multi" or "uretprobe_multi", and the name of the program. One that runs at both ends
    is listed as the former."""
    every = [f for f in links(sight) if f.get("link_type", "").endswith("probe_multi")]
    if not every:
        raise Skip("this kernel does not list probes by file")
    return {(f["link_type"], program_name(f["prog_id"])) for f in every if f["path"] == str(library)}


def no_return_probe_is_in_a_go_program(bench):
    need("bpftool")
    programs = [GO_WORKLOADS / "go_tls_exe", GO_WORKLOADS / "go_tls_pie"]
    programs += [go_program("go_exe", "exe"), go_program("go_pie", "pie")]
    for binary in sorted(AGENTS.glob("*/package/bin/esbuild")) if SLOW else []:
        programs.append(binary)  # Go of other years
    programs = [p for p in programs if p.exists()]
    arguments = [word for p in programs for word in ("--binary-path", str(p))]
    probed = 0
    sight = bench.sight("record", "-p", str(os.getpid()), *arguments)
    for program in programs:
        found = probes(sight, program)
        allowed = {("uprobe_multi", "tls_go_enter"), ("uprobe_multi", "tls_go_leave")}
        check(found <= allowed, f"{program} has {found - allowed}")
        probed += bool(found)
    sight.stop()
    check(probed >= 2, f"{probed} of {len(programs)} programs were probed")


# ---- libraries that are replaced ----


def other_ssl(bench, version):
    """A small library that passes for a TLS library; its code lies elsewhere in each version."""
    output = bench.dir / f"libharm.{version}"
    flags = ["-O2", "-w", "-fno-align-functions", "-shared", "-fPIC", f"-DPAD={1 + 6 * version}"]
    command = [need("cc"), *flags, "-Wl,-soname,libharm.so.9", HARM / "other_ssl.c", "-o", output]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    return output


class Victim:
    """A program and a library that is about to be replaced. By its name nobody takes it for TLS: it is probed by the
    recording that is told to, and by no other that may go on on this machine."""

    def __init__(self, bench, where=None):
        self.bench = bench
        self.versions = [other_ssl(bench, n) for n in (0, 1)]
        self.directory = where or bench.dir / "lib"
        self.directory.mkdir(exist_ok=True)
        self.library = self.directory / "libharm.so.9"
        shutil.copy(self.versions[0], self.library)
        self.program = bench.dir / "uses_ssl"
        subprocess.run([need("cc"), "-O2", HARM / "uses_ssl.c", "-o", self.program, self.library], check=True, env=ENVIRONMENT)
        self.environment = {"LD_LIBRARY_PATH": str(self.directory)}
        self.want = self.run()

    def run(self):
        done = subprocess.run([self.program], env=dict(ENVIRONMENT, **self.environment), capture_output=True, check=False)
        return done.returncode, done.stdout

    def waiting(self):
        """One that has the library mapped, and waits."""
        process = self.bench.spawn(
            [self.program, "wait"], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        wait_until("the library to be mapped", lambda: str(self.library) in Path(f"/proc/{process.pid}/maps").read_text())
        return process

    def states(self, sight):
        found = (e["data"] for e in sight.lines() if e["data"].get("hook", "") == str(self.library))
        return [d["state"] for d in found if d["mechanism"] != "file lease"]

    def probed(self, sight, times_left):
        """Once more, after the probes were taken out so many times; and the kernel says so, too, if it does that."""
        states = self.states(sight)
        if states[-1] != "attached" or states.count("missing") < times_left:
            return False
        try:
            return bool(probes(sight, self.library))
        except Skip:
            return True


def by_cp(new, library):
    shutil.copyfile(new, library)


def by_dd(new, library):
    with open(library, "r+b") as f:
        f.write(new.read_bytes())


def by_truncate(new, library):
    os.truncate(library, 0)
    by_dd(new, library)


def without_waiting(new, library):
    """Who asks not to wait gets an error, and tries again."""

    def opened():
        try:
            return os.open(library, os.O_WRONLY | os.O_NONBLOCK)
        except BlockingIOError:
            return None

    check(opened() is None, "the file could be opened at once")
    fd = wait_until("the file to be free", opened)
    os.write(fd, new.read_bytes())
    os.close(fd)


def overwritten(bench, victim, overwrite, turns):
    """While it is recorded, over and over; whoever starts meanwhile must not notice."""
    longest_s = 0
    sight = bench.sight("record", "-p", str(os.getpid()), "--binary-path", str(victim.library))
    check_library(sight, str(victim.library))
    check_equal(victim.run(), victim.want, "what is printed beside a recording")
    for turn in range(turns):
        new = victim.versions[(turn + 1) % 2]
        begin = time.monotonic()
        overwrite(new, victim.library)
        longest_s = max(longest_s, time.monotonic() - begin)
        for n in range(30):
            got = victim.run()
            check(got == victim.want, f"program {n} after overwriting {turn}: {got} instead of {victim.want}")
        # who comes again and again may come while it is probed again, and is told of once more
        wait_until("its probes", lambda: victim.probed(sight, turn + 1))
    process = victim.waiting()
    process.communicate(b"\n")
    stream = sight.stop()
    check(longest_s < WRITER_S, f"the writer waited {longest_s:.1f} s")
    check(stream.select("ssl", "data", process.pid), "later programs are not captured")
    return longest_s


def a_library_that_is_overwritten_in_place_crashes_nobody(bench):
    victim = Victim(bench)
    turns = 10 if SLOW else 1
    signal.alarm(TIMEOUT_S + 60 * turns)
    for overwrite in (by_cp, by_dd, by_truncate, without_waiting):
        shutil.copyfile(victim.versions[0], victim.library)
        waited_s = overwritten(bench, victim, overwrite, turns)
        print(f"note: {overwrite.__name__} took {1000 * waited_s:.0f} ms")


def mounted(bench, kind):
    """A directory on another file system."""
    where = bench.dir / kind
    where.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "none", where]
    else:
        for name in ("lower", "upper", "work"):
            (bench.dir / name).mkdir()
        options = f"lowerdir={bench.dir}/lower,upperdir={bench.dir}/upper,workdir={bench.dir}/work"
        command = ["mount", "-t", "overlay", "none", "-o", options, where]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise Skip(f"there is no {kind} on this machine")
    return where


def overwriting_crashes_nobody_on_tmpfs_and_overlayfs(bench):
    for kind in ("tmpfs", "overlay"):
        where = mounted(bench, kind)
        try:
            overwritten(bench, Victim(bench, where), by_cp, 1)
        finally:
            subprocess.run(["umount", "-l", where], check=True)


def a_library_that_is_deleted_stays_captured(bench):
    """Before the recording began and while it runs; the process that has it mapped goes on."""
    library = private_copy(bench.dir / "private")
    spare = shutil.copy(library, bench.dir)
    peer = bench.peer(tls=True)
    process = busy(bench, peer, env={"LD_LIBRARY_PATH": str(library.parent)})
    library.unlink()
    for _ in range(2):
        sight = bench.sight("ssl", "-p", str(process.pid))
        sight.wait_for("its plaintext", lambda e: e["source"] == "ssl" and e["pid"] == process.pid)
        progress(bench, process, 50)
        sight.stop()
    process.kill()
    process.wait()
    shutil.copy(spare, library)
    process = busy(bench, peer, env={"LD_LIBRARY_PATH": str(library.parent)})
    sight = bench.sight("ssl", "-p", str(process.pid))
    sight.wait_for("its plaintext", lambda e: e["source"] == "ssl" and e["pid"] == process.pid)
    library.unlink()
    last = sight.lines()[-1]["timestamp"]
    progress(bench, process, 100)
    sight.wait_for("more of it", lambda e: e["source"] == "ssl" and e["timestamp"] > last)
    process.kill()
    sight.stop()


# ---- a hard end ----


def pinned():
    directory = Path("/sys/fs/bpf")
    return sorted(map(str, directory.rglob("*"))) if directory.is_dir() else []


def has_probes(victim):
    """Does the kernel put breakpoints into those who start now? From the first on that is hit they have a page for these."""
    process = victim.waiting()
    process.stdin.write(b"\n")
    process.stdin.flush()
    process.stdout.readline()
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    process.communicate()
    return "[uprobes]" in maps


def a_hard_kill_leaves_nothing_behind(bench):
    """Of all its processes in any order, at any moment, also while everything is being attached: soon no
    program, link, map, pin or probe is left, and a busy client has noticed nothing."""
    need("bpftool")
    rounds = 100 if SLOW else 4
    signal.alarm(TIMEOUT_S + 60 * rounds)
    library = private_copy(bench.dir / "private")
    peer = bench.peer(tls=True)
    client = busy(bench, peer, env={"LD_LIBRARY_PATH": str(library.parent)})
    victim = Victim(bench)
    pins = pinned()
    for turn in range(rounds):
        output = bench.dir / f"killed.{turn}"
        waiting = victim.waiting()
        argv = [AGENTSIGHT, "record", f"--output={output}", "-p", str(client.pid), "-p", str(waiting.pid)]
        argv += ["--binary-path", victim.library]
        process = bench.spawn(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if turn:
            time.sleep(random.uniform(0, 0.8))
        else:
            wait_until("its probes", lambda: has_probes(victim))
        family = [process.pid, *children(process.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        held = bpf_held_by(family)
        random.shuffle(family)
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        process.wait()
        if not turn:
            check(held["link"] and held["prog"] and held["map"], f"nothing was held: {held}")
        end = time.monotonic() + GONE_S
        while (left := bpf_left(held)) and time.monotonic() < end:
            time.sleep(0.05)
        check(not left, f"{GONE_S} s after the end there are still {left}")
        check(not has_probes(victim), "programs that start now have breakpoints")
        waiting.communicate(b"\n")
        progress(bench, client, 20)
    check_equal(pinned(), pins, "what is pinned")
    client.kill()


TESTS = [
    runtimes_of_scripts_do_the_same,
    compiled_programs_do_the_same,
    confined_and_examined_programs_do_the_same,
    tls_calls_are_left_in_every_way,
    the_stack_of_who_is_not_watched_can_be_walked,
    the_stack_can_be_walked_through_tls_calls,
    a_process_that_was_checkpointed_goes_on,
    no_return_probe_is_in_a_go_program,
    a_library_that_is_overwritten_in_place_crashes_nobody,
    overwriting_crashes_nobody_on_tmpfs_and_overlayfs,
    a_library_that_is_deleted_stays_captured,
    a_hard_kill_leaves_nothing_behind,
]
