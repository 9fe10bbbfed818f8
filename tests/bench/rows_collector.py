# SPDX-License-Identifier: MIT
"""How fast the collector is, what it takes at a given rate and at none, and whether that grows."""
import os
import re
import select
import statistics
import subprocess
import time

from method import ROUNDS
from programs import AGENTSIGHT, Agentsight, Workload, cpu_ns, voluntary_switches
from report import At_least

GROWS = 1.3  # the most that ten times the work may cost for each unit


# ---- from the ring to lines ----

TURNS = 3      # at different times: what disturbs lasts for seconds
COUNTED = "-"  # instead of a file: events are counted, and nothing is made of them


def losses(bench, path, rate):
    """Events lost and produced, per run."""
    found = []
    for i in range(ROUNDS):
        bench.report.tell(f"ring: {rate:,} events a second, run {i + 1} of {ROUNDS}")
        run = bench.lines_of("bench_ring", "loss", path, str(rate), "1")[0]
        found.append((run["produced"] - run["delivered"], run["produced"]))
        if path not in (COUNTED, "/dev/null"):
            os.unlink(path)
    return found


def add_losses(bench, share, name, path, rate):
    for label, where, target in ((name, path, 0), ("8 MiB, only counted", COUNTED, None)):
        found = losses(bench, where, int(rate))
        bench.report.add(f"ring at {share:.0%} of its limit", label, "lost, worst run", "", target,
                         [max(l for l, _ in found)], [sum(x) for x in zip(*found)],
                         more={"rate": int(rate), "lost_per_run": [l for l, _ in found]})


def row_ring(bench):
    add = bench.report.add
    costs, limits, counts = [], [], []
    for i in range(TURNS):
        bench.report.tell(f"ring to lines: turn {i + 1} of {TURNS}")
        costs += bench.lines_of("bench_ring", "cost", os.path.join(bench.work, "ring.log"), "8")[3:]
        limits.append(bench.lines_of("bench_ring", "limit")[0]["events_per_s"])
        counts.append(bench.lines_of("bench_ring", "count")[0]["events_per_s"])
    wrong = ["not every event became a line"] * any(c["delivered"] != c["expected"] for c in costs)
    sums = [c["reader_ns"] + c["writer_ns"] for c in costs]
    add("ring to JSON in a file", "one core", "CPU per event", "ns", 300, sums, None, wrong,
        more={"reader_ns": statistics.median(c["reader_ns"] for c in costs),
              "writer_ns": statistics.median(c["writer_ns"] for c in costs)})
    add("ring to JSON in a file", "one core", "speed", "M/s", At_least(3), [1e3 / s for s in sums],
        None, wrong)
    add("ring alone", "256 bytes copied in, out", "speed", "M/s", None, [x / 1e6 for x in limits])
    add("ring alone", "our events, counted", "speed", "M/s", None, [x / 1e6 for x in counts])
    limit = statistics.median(limits)

    add_losses(bench, 0.35, "8 MiB, file in memory", bench.memory_path("loss"), limit * 0.35)
    add_losses(bench, 0.80, "8 MiB, null sink", "/dev/null", limit * 0.80)
    run = bench.lines_of("bench_ring", "stall", os.path.join(bench.work, "stalled"))[0]
    add("output that takes nothing", "200 k/s", "ring dropped", "", 0, [run["ring_full"]])
    add("output that takes nothing", "200 k/s", "reader held up", "ms", 5, [run["longest_ms"]])


def row_encode(bench):
    add = bench.report.add
    runs = bench.lines_of("bench_encode", cpu=1)
    add("event with 19 members", "against json-c", "speed ratio", "", At_least(20),
        [r["jsonc_ns"] / r["ns"] for r in runs])
    add("event with 19 members", "355 bytes", "per event", "ns", 150, [r["ns"] for r in runs])
    for line in bench.lines_of("bench_json", cpu=1):
        if line["bench"] == "escape" and line["variant"] == "http+json 16KiB":
            add("escape HTTP + JSON 16 KiB", "", "speed", "GB/s", At_least(4), [line["gbps"]])
            add("escape HTTP + JSON 16 KiB", "against json-c", "speed ratio", "", At_least(8),
                [line["ratio"]])


# ---- at a rate, and at none ----

def latencies(bench, seconds):
    """Milliseconds from event to line, read at the other end of a pipe."""
    load = Workload(bench, [bench.program("load"), "paced", "10000", str(seconds)])
    tracer = bench.start([AGENTSIGHT, "trace", "--network", "-q", "-p", str(load.pid)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              preexec_fn=bench.machine.place(0))
    fd = tracer.stdout.fileno()
    os.read(fd, 65536)
    load.process.stdin.write(b"\n")
    load.process.stdin.flush()
    if bench.machine.fifo:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    pattern = re.compile(rb'"timestamp":(\d+),"source":"network"')
    found, tail = [], b""
    while select.select([fd], [], [], 0.5)[0]:
        piece = os.read(fd, 1 << 20)
        now = time.time_ns()
        if not piece:
            break
        tail += piece
        whole, _, tail = tail.rpartition(b"\n")
        found += [(now - int(t)) / 1e6 for t in pattern.findall(whole)]
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    tracer.terminate()
    tracer.wait()
    load.process.communicate()
    return sorted(found)


def row_paced(bench):
    shares, wrong, lost = [], [], [0, 0]
    for i in range(3):
        bench.report.tell(f"10,000 events/s: run {i + 1} of 3")
        load = Workload(bench, [bench.program("load"), "paced", "10000", "3"])
        tracer = Agentsight(bench, ["trace", "--network", "-p", str(load.pid)])
        begin, cpu = time.monotonic(), cpu_ns(tracer.pid)
        done = load.go()
        shares.append((cpu_ns(tracer.pid) - cpu) / (time.monotonic() - begin) / 1e7)
        tracer.settle()
        tracer.stop()
        wrong += tracer.check(events=(tracer.count("send") + tracer.count("recv"), done["n"]))
        lost = [a + b for a, b in zip(lost, tracer.lost())]
    bench.report.add("10,000 events/s", "trace --network", "collector", "% of a core", 1.0, shares,
                     lost, wrong)
    found = latencies(bench, 3)
    bench.report.add("10,000 events/s", "to a pipe", "latency p99", "ms", 12,
                     [found[int(len(found) * 0.99)]], None, (),
                     more={"p50": found[len(found) // 2], "events": len(found)})


def row_idle(bench):
    sleeper = bench.start(["sleep", "300"])
    seconds = bench.options.idle
    try:
        for arguments in (["trace", "--process"], ["record", "-i", "3600"]):
            name = " ".join(arguments)
            tracer = Agentsight(bench, [*arguments, "-p", str(sleeper.pid)], fifo=False)
            time.sleep(3)  # until all is loaded and what that took is given back
            before, cpu = voluntary_switches(tracer.pid), cpu_ns(tracer.pid)
            bench.report.tell(f"nothing happens: {name}, {seconds:.0f} s")
            time.sleep(seconds)
            rate = (voluntary_switches(tracer.pid) - before) / seconds
            share = (cpu_ns(tracer.pid) - cpu) / seconds / 1e7
            tracer.stop()
            bench.report.add("nothing happens", name, "wake-ups", "per s", 2, [rate])
            bench.report.add("nothing happens", name, "CPU", "% of a core", 0.05, [share])
    finally:
        sleeper.kill()
        sleeper.wait()


# ---- ten times the work ----

def collector_cost(bench, command, arguments, n):
    """Nanoseconds of the collector for each of @n, and what was lost."""
    load = Workload(bench, command)
    tracer = Agentsight(bench, [*arguments, "-p", str(load.pid)])
    load.go()
    used = tracer.settle()
    tracer.stop()
    return used / n, tracer.lost(), tracer.check()


# what grows: (name, few, how to trace, command)
GROWTH = (
    ("spawns", 1000, ("trace", "--process"),
     lambda b, n: [b.program("load"), "spawn", str(n), b.program("static_true")]),
    ("TCP calls", 40000, ("trace", "--network"),
     lambda b, n: [b.program("tcp"), "stream", str(n), "1024"]),
    ("connections", 1000, ("record", "--files=false"),
     lambda b, n: [b.program("tcp"), "short", str(n)]),
)


def row_growth(bench):
    for name, few, arguments, command in GROWTH:
        ratios, wrong, lost, costs = [], [], [0, 0], []
        for i in range(3):
            bench.report.tell(f"ten times the {name}: run {i + 1} of 3")
            runs = [collector_cost(bench, command(bench, n), arguments, n) for n in (few, 10 * few)]
            ratios.append(runs[1][0] / runs[0][0])
            costs.append([r[0] for r in runs])
            wrong += runs[0][2] + runs[1][2]
            lost = [a + b for a, b in zip(lost, runs[1][1])]
        bench.report.add(f"{few:,} and {10 * few:,} {name}", " ".join(arguments),
                         "collector per unit, ratio", "", GROWS, ratios, lost, wrong,
                         more={"ns_per_unit": costs})


ROWS = {"ring": row_ring, "encode": row_encode, "paced": row_paced, "idle": row_idle,
        "growth": row_growth}
