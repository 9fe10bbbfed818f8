# SPDX-License-Identifier: MIT
"""CPU and memory samples of real programs."""

import os
import resource
import shutil
import signal
import subprocess
from collections import Counter

from real import AGENTSIGHT, PYTHON, check, check_equal, need, wait_until

SLEEPERS = 10_000
NOBODY = 65534
STARTED_S = 20  # half a second on a quiet machine: `make bench` judges the time, this that it is no minute
BUSY = 5  # per cent that a loop gets on any machine, and an idle process never

# Children that live 20 ms; then what the kernel counted, and a wait for the last sample.
BURN = """
i=0
while [ $i -lt %d ]; do sh -c 'j=0; while [ $j -lt %d ]; do j=$((j + 1)); done'; i=$((i + 1)); done
times
read _
"""

HEAVY = """
import sys, time
sys.stdin.readline()
hold = bytearray(b"x") * (200 << 20)
while time.process_time() < 1:
    pass
del hold
print("done", flush=True)
sys.stdin.readline()
"""

SPAWN = """
import os, sys
for i in range(int(sys.argv[1])):
    print(os.posix_spawn("/usr/bin/sleep", ["sleep", "300"], {}))
print("ready", flush=True)
sys.stdin.readline()
"""


def minutes(text):
    """What the shell's `times` prints: 0m1.250000s."""
    m, _, s = text.rstrip("s").partition("m")
    return 60 * float(m) + float(s)


def children_cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def calibrate():
    """Turns of the shell's loop that take about 20 ms of a processor."""
    before = children_cpu_s()
    subprocess.run(["/bin/sh", "-c", "j=0; while [ $j -lt 200000 ]; do j=$((j + 1)); done"], check=True)
    return int(200_000 * 0.02 / (children_cpu_s() - before))


def children_that_live_20_ms_are_in_the_percentage(bench):
    shell = bench.hold(["/bin/sh", "-c", BURN % (150, calibrate())])
    sight = bench.sight("system", "-p", str(shell.pid), "--interval", "0.25")
    bench.release(shell)
    told = [shell.stdout.readline().split() for _ in range(2)]
    burned = sum(minutes(t.decode()) for line in told for t in line)

    enough = sight.lines()[-1]["timestamp"] + 600_000_000
    sight.wait_for("two more samples", lambda e: e["pid"] == shell.pid and e["timestamp"] > enough)
    stream = sight.stop()
    # of one that was seen, its own row has the part until then, and the shell's the rest
    samples = [e["data"] for e in stream.select("system", "system_metrics")]
    seen = sum(float(s["cpu"]["percent"]) / 100 * s["interval_ns"] / 1e9 for s in samples)
    check(burned > 1, f"the shell burned {burned:.2f} s, which says nothing")
    check(abs(seen - burned) <= burned / 20, f"{seen:.2f} s by the percentages instead of {burned:.2f} s")


def thresholds_raise_and_end_an_alert(bench):
    process = bench.spawn([PYTHON, "-I", "-c", HEAVY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    limits = ["--cpu-threshold", str(BUSY), "--memory-threshold", "100"]
    sight = bench.sight("system", "-p", str(process.pid), "--interval", "0.2", *limits)
    sight.wait_for("a quiet sample", lambda e: e["pid"] == process.pid)
    bench.release(process)
    check_equal(process.stdout.readline(), b"done\n", "what python said")
    done = sight.lines()[-1]["timestamp"]
    sight.wait_for(
        "a quiet sample behind the work",
        lambda e: e["source"] == "system" and e["timestamp"] > done and not e["data"]["alert"],
    )
    stream = sight.stop()

    spans = []
    for metric, limit in (("cpu.percent", BUSY), ("memory.rss_mb", 100)):
        events = stream.select("alert", "threshold", process.pid, metric=metric)
        starts, ends = events[::2], events[1::2]
        check(events and len(starts) == len(ends), f"{len(events)} alerts of {metric}")
        for start, end in zip(starts, ends):
            first, last = start["data"], end["data"]
            check_equal((first["state"], last["state"]), ("start", "end"), f"states of {metric}")
            check_equal(first["limit"], limit, f"the limit of {metric}")
            check(last["value"] >= first["value"] > limit, f"{first} {last}")
            off = last["duration_ns"] - (end["timestamp"] - start["timestamp"])
            check(abs(off) < 1_000_000, f"the duration of {last} is {off} ns off")
            spans.append((start["timestamp"], end["timestamp"]))
    check(max(end - start for start, end in spans) > 400_000_000, f"no alert lasted: {spans}")
    for sample in stream.select("system", "system_metrics", process.pid):
        above = any(start <= sample["timestamp"] < end for start, end in spans)
        check_equal(sample["data"]["alert"], above, f"alert in the sample at {sample['timestamp']} with {spans}")


def ones_own_processes_need_no_root(bench):
    """Also when the program lies where nobody's capabilities could come from."""
    program = bench.dir / "agentsight"
    shutil.copy(AGENTSIGHT, program)
    program.chmod(0o755)
    home = bench.dir / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    become = [need("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    process = bench.spawn([*become, PYTHON, "-I", "-c", HEAVY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_until("python to be nobody", lambda: os.stat(f"/proc/{process.pid}").st_uid == NOBODY)
    args = ["system", "-p", str(process.pid), "--interval", "0.2"]
    sight = bench.sight(*args, prefix=become, directory=home, program=program)
    bench.release(process)
    sight.wait_for(
        "a busy sample",
        lambda e: e["source"] == "system" and float(e["data"]["cpu"]["percent"]) > BUSY,
    )
    sight.wait_for("a large sample", lambda e: e["source"] == "system" and e["data"]["memory"]["rss_mb"] > 200)
    stream = sight.stop()
    check_equal({e["pid"] for e in stream.select("system", "system_metrics")}, {process.pid}, "who was sampled")
    check_equal(stream.events[0]["uid"], NOBODY, "who ran agentsight")


def sleepers():
    """As many as this machine bears: each costs about half a megabyte."""
    with open("/proc/meminfo", encoding="ascii") as f:
        free_kb = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable:"))
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as f:
        pids = int(f.read())
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    users = pids if limit == resource.RLIM_INFINITY else limit
    return max(100, min(SLEEPERS, free_kb // 1024, (pids - 4000) // 2, (users - 1000) // 2))


def ten_thousand_processes_are_all_sampled(bench):
    n = sleepers()
    spawner = bench.spawn(
        [PYTHON, "-I", "-c", SPAWN, str(n)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        pids = {int(line) for line in iter(spawner.stdout.readline, b"ready\n")}
        check_equal(len(pids), n, "processes that were started")
        sight = bench.sight("system", "--comm", "sleep", "--interval", "1", "--duration", "4")
        check(sight.started_s < STARTED_S, f"it took {sight.started_s:.1f} s to start beside {n} processes")
        stream = sight.end()
    finally:
        os.killpg(spawner.pid, signal.SIGKILL)

    seen = Counter(e["pid"] for e in stream.select("system", "system_metrics"))
    missing = pids - set(seen)
    check(not missing, f"{len(missing)} of {n} processes have no sample")
    rounds = [seen[pid] for pid in pids]
    check(min(rounds) >= 2 and max(rounds) - min(rounds) <= 1, f"from {min(rounds)} to {max(rounds)} samples each")


TESTS = [
    children_that_live_20_ms_are_in_the_percentage,
    thresholds_raise_and_end_an_alert,
    ones_own_processes_need_no_root,
    ten_thousand_processes_are_all_sampled,
]
