# SPDX-License-Identifier: MIT
"""From the start to the first event, to the end, and the memory between; a command that is monitored."""
import glob
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import time

import peers
from method import ROUNDS, compare
from programs import AGENTSIGHT, Agentsight, Companion, Workload, cpu_ns, memory_mb
from rows_compare import compile_command

# name, arguments, the one process that is traced: this one
COMMANDS = (("trace --process", ("trace", "--process")), ("record", ("record",)))
# an event about `true`, as each of the tools writes it
SPAWNED = re.compile(rb"/bin/true|exec \d+ true")
HERE = ("-p", str(os.getpid()))


HELD_S = 0.05  # until a program that waits for its turn does so, and this one has its memory for itself again


def begin(process):
    """
    Of one that is held: to fork this process, with all that it has measured, takes as long as a start. The time by the
    monotonic clock, in seconds.
    """
    time.sleep(HELD_S)
    now = time.monotonic()
    process.stdin.write(b"\n")
    process.stdin.flush()
    return now


def first_event_ms(bench, arguments):
    """Until an event of another program is on disk: spawns `true` until one is. {path}: the file."""
    path, out = os.path.join(bench.work, "first.log"), os.path.join(bench.work, "first.out")
    if "{path}" not in arguments:
        path = out
    arguments = [path if a == "{path}" else a for a in arguments]
    for name in (path, out):
        if os.path.exists(name):
            os.unlink(name)
    spawner = bench.start(["sh", "-c", "while :; do /bin/true; done"],
                               preexec_fn=bench.machine.place(1, False))
    with open(out, "wb") as f:
        tracer = bench.start(bench.held(arguments), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  stdout=f, preexec_fn=bench.machine.place(0))
    try:
        begun = begin(tracer)
        while time.monotonic() < begun + 10:
            if os.path.exists(path):
                with open(path, "rb") as f:
                    if SPAWNED.search(f.read()):
                        return (time.monotonic() - begun) * 1e3
            time.sleep(0.0005)
        raise RuntimeError(f"{arguments[0]} shows no event")
    finally:
        for process in (tracer, spawner):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def row_first_event(bench):
    """An event of another program, which comes behind the line that says how it was started."""
    values = []
    for i in range(ROUNDS):
        bench.report.tell(f"first event: {i + 1} of {ROUNDS}")
        values.append(first_event_ms(bench, [AGENTSIGHT, "trace", "--process", "-q", "-o",
                                             "{path}"]))
    bench.report.add("start", "trace --process", "first event on disk", "ms", 35, values)
    tools = peers.installed({k: peers.SPAWN[k] for k in ("execsnoop", "bpftrace, exec + exit")},
                            bench.report)
    for name, peer in tools.items():
        command = peers.arguments_of(peer)
        if command[0].endswith("bpftrace"):
            command[1:1] = ["-B", "line"]
        bench.report.add("start", name, "first event on disk", "ms", None,
                         [first_event_ms(bench, command) for _ in range(3)])


def copies_of_libssl(bench, n):
    """Arguments that have n libraries probed, seven probes each; none where there is no libssl."""
    found = glob.glob("/usr/lib/*/libssl.so.*") + glob.glob("/usr/lib*/libssl.so.*")
    arguments = []
    for i in range(n if found else 0):
        path = os.path.join(bench.work, f"libssl_{i}.so")
        shutil.copy(found[0], path)
        arguments += ["--binary-path", path]
    return arguments


def end_with_probes(bench):
    libraries = copies_of_libssl(bench, 15)
    if not libraries:
        return
    stops, wrong = [], []
    for _ in range(3):
        tracer = Agentsight(bench, ["record", *HERE, *libraries])
        tracer.stop()
        stops.append(tracer.stop_ms)
        if tracer.count("capability", "libssl_", '"attached"') != 15:
            wrong = ["not all libraries are probed"]
    bench.report.add("end", "record, 105 probes more", "until it is gone", "ms", 200, stops, None,
                     wrong)


def row_start(bench):
    for name, arguments in COMMANDS:
        starts, stops = [], []
        for i in range(ROUNDS):
            bench.report.tell(f"start of {name}: {i + 1} of {ROUNDS}")
            tracer = Agentsight(bench, [*arguments, *HERE])
            time.sleep(0.1)
            tracer.stop()
            starts.append(tracer.start_ms)
            stops.append(tracer.stop_ms)
        bench.report.add("start", name, "first line on disk", "ms", None, starts)
        bench.report.add("end", name, "until it is gone", "ms", 200, stops)
    row_first_event(bench)
    end_with_probes(bench)


def row_memory(bench):
    for name, arguments in COMMANDS:
        tracer = Agentsight(bench, [*arguments, *HERE, "--ring-size", "1"])
        time.sleep(1)
        now, peak, pss = memory_mb(tracer.pid)
        tracer.stop()
        bench.report.add("memory", f"{name} --ring-size 1", "RSS", "MB", 8, [now],
                         more={"peak_mb": peak})
        bench.report.add("memory", f"{name} --ring-size 1", "PSS", "MB", None, [pss])
    for name, peer in peers.installed({k: peers.SPAWN[k] for k in
                                       ("execsnoop", "bpftrace, exec + exit")},
                                      bench.report).items():
        other = Companion(bench, peers.arguments_of(peer))
        other.stop()
        bench.report.add("memory", name, "RSS", "MB", None, [other.mb],
                         more={"peak_mb": other.peak_mb, "pss_mb": other.pss_mb})


# ---- a command under `run` ----

def under_run(bench, command, arguments=(), cpu=None, hold=False):
    """The command under `run`, whose standard input and output are its own; @hold: to be begun by begin()."""
    path = os.path.join(bench.work, "run.log")
    whole = [AGENTSIGHT, "run", "-q", *arguments, "-o", path, "--", *command]
    return path, bench.start(bench.held(whole) if hold else whole, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, preexec_fn=bench.machine.place(cpu))


def monitored_compile(bench, command):
    """Timed by its parent, which is in the tree, from when all is attached to its end."""
    path, tracer = under_run(bench, command, ["-i", "100", "--adaptive", "fixed"], 0)
    time.sleep(0.5)
    with open(f"/proc/{tracer.pid}/task/{tracer.pid}/children") as f:
        child = int(f.read().split()[0])
    if bench.machine.two:
        os.sched_setaffinity(child, {1})
    before = cpu_ns(tracer.pid)
    tracer.stdin.write(b"\n")
    tracer.stdin.flush()
    line = tracer.stdout.readline()
    used = cpu_ns(tracer.pid) - before
    tracer.communicate(timeout=60)
    with open(path, "rb") as f:
        lines = f.read().splitlines()
    execs = sum(b'"type":"exec"' in line and b'"comm":"gcc"' in line for line in lines)
    wrong = [] if execs == 40 else [f"{execs} instead of 40 gcc"]
    totals = json.loads(lines[-1])["data"]
    return {**json.loads(line), "collector_ns": used, "wrong": wrong,
            "lost": (totals["lost"], totals["produced"])}


def row_run(bench):
    command = compile_command(bench, 40)
    rounds = compare(bench.noise, {
        "off": lambda: Workload(bench, command, hold=False).go(),
        "run": lambda: monitored_compile(bench, command),
    }, 5, None, lambda text: bench.report.tell(f"compile under run: {text}"))
    runs = rounds.of("run")
    wrong = [w for r in runs for w in r["wrong"]]
    lost = [sum(x) for x in zip(*(r["lost"] for r in runs))]
    bench.report.add("compile 40 files", "run, 100 ms", "wall ratio", "", 1.01,
                     rounds.ratios("run", "ns"), lost, wrong, rounds.noisy,
                     {"cpu_ratio": statistics.median(rounds.ratios("run", "cpu_ns"))})
    bench.report.add("compile 40 files", "run, 100 ms", "collector", "% of a core", None,
                     [r["collector_ns"] / r["ns"] * 100 for r in runs])

    delays = []
    for _ in range(ROUNDS):
        run = under_run(bench, [bench.program("load"), "now"], hold=True)[1]
        begun = begin(run)
        told = run.communicate(timeout=20)[0]
        delays.append((json.loads(told)["ns"] / 1e9 - begun) * 1e3)
    bench.report.add("start of a command", "run", "until its first line", "ms", 60, delays)
    tracer = under_run(bench, [bench.program("load"), "timed", "true"])[1]
    time.sleep(1)
    now, peak, pss = memory_mb(tracer.pid)
    tracer.communicate(b"\n", timeout=20)
    bench.report.add("memory", "run", "RSS", "MB", 12, [now],
                     more={"peak_mb": peak, "pss_mb": pss})


ROWS = {"start": row_start, "memory": row_memory, "run": row_run}
