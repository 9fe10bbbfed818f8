# SPDX-License-Identifier: MIT
"""What stays as it is however much happens: memory, descriptors, tables, and whole lines at a sudden end. `make soak` does it for hours."""

import os
import signal
import subprocess
import sys
import time

from real import TOP, Failure, Skip, check, check_equal, wait_until

sys.path.insert(0, str(TOP / "tests/soak"))
from kernel import Maps, family, process  # noqa: E402

FIRST, THEN = 5000, 15000
GREW_KB = 1024
COUNTS = ("fds", "threads", "processes")
EXIT_S = 20  # a tenth of a second on a quiet machine; the grace periods of a busy one are long
IDLE_S = 30 if os.environ.get("SLOW") else 5


def spawner(bench, n):
    program = TOP / os.environ.get("O", "out") / "tests/workloads/spawn"
    if not program.exists():
        raise Skip("make tests builds the workload")
    return bench.spawn([program, "-q", "-n", str(n), "-j", "2"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def look(sight):
    """What agentsight and its helper hold together, less what evicts by itself."""
    pids = family(sight.process.pid)
    held = [process(pid) for pid in pids]
    maps = Maps().look(pids)
    # `listeners` has those of everybody
    entries = sum(n for name, n in maps.counts().items() if maps.kind(name) == "hash" and name != "listeners")
    maps.close()
    return {"entries": entries, "processes": len(pids), **{name: sum(one[name] for one in held) for name in ("fds", "threads", "anon_kb")}}


def settled(sight, before, warm=None):
    """The last ends are on their way when the last process has ended, and what a burst needed is held for some seconds."""
    def ready():
        now = look(sight)
        same = not warm or (all(now[name] == warm[name] for name in COUNTS) and now["anon_kb"] < warm["anon_kb"] + GREW_KB)
        return now if now["entries"] <= before["entries"] and same else None

    try:
        return wait_until(f"all to be as before, {warm or before}", ready)
    except Failure as e:
        raise Failure(f"{e}: it is {look(sight)}") from e


def twenty_thousand_processes_leave_nothing_behind(bench):
    sight = bench.sight("record", "-q", "-c", "spawn")
    before = look(sight)
    bench.finish(spawner(bench, FIRST))
    warm = settled(sight, before)
    bench.finish(spawner(bench, THEN))
    settled(sight, before, warm)
    stream = sight.stop()
    check(len(stream.select("process", "exit")) >= FIRST + THEN, "not all of them are there")


def a_sudden_end_under_load_keeps_every_line(bench):
    sight = bench.sight("record", "-q", "-c", "spawn")
    load = spawner(bench, 10000000)
    wait_until("a thousand lines", lambda: sight.output.stat().st_size > 500000)
    begin = time.monotonic()
    sight.process.send_signal(signal.SIGTERM)
    sight.process.wait()
    took = time.monotonic() - begin
    load.kill()
    stream = sight.end()
    delivered = sum(s.get("delivered", 0) for n, s in stream.stop["streams"].items() if not n.startswith("internal."))
    check_equal(len(stream.events), delivered + 1, "lines, and what `stop` counts as delivered with itself")
    check_equal(stream.stop["reason"], "terminated", "reason")
    check(took < EXIT_S, f"it took {took:.1f} s")


def what_agentsight_does_is_in_no_stream(bench):
    # others on this machine may do more than the rings hold: what is lost is not its own
    sight = bench.sight("trace", "-q", "--process", "--files", "--network", "--ssl", "--system", "--stdio", "--ring-size", "64")
    own, end = set(), time.monotonic() + IDLE_S
    while time.monotonic() < end:
        own.update(family(sight.process.pid))
        time.sleep(0.1)
    sight.process.send_signal(signal.SIGINT)
    check_equal(sight.process.wait(), 0, "status")
    seen = [e for e in sight.lines() if e["source"] not in ("agentsight", "system")]
    wrong = [e for e in seen if e["pid"] in own]
    check(not wrong, f"{len(wrong)} of {len(seen)} events are its own, the first is {wrong[:1]}")


TESTS = [
    twenty_thousand_processes_leave_nothing_behind,
    a_sudden_end_under_load_keeps_every_line,
    what_agentsight_does_is_in_no_stream,
]
