# SPDX-License-Identifier: MIT
"""Samples of processes, next to top and pidstat on the same ones, and what is read from a recording."""
import os
import shutil
import subprocess
import time

import peers
from programs import AGENTSIGHT, Agentsight, Workload, children_cpu_ns, cpu_ns
from report import At_least
from rows_collector import GROWS

EVERY_S = 0.1
# processes, seconds of ours, samples of each peer, rounds
FEW = {"top -b": 3, "pidstat -u -r -d": 1, "pidstat -t": 1}
MORE = {"top -b": 10, "pidstat -u -r -d": 2, "pidstat -t": 2}
CROWDS = ((100, 1.0, MORE, 3), (1000, 1.0, MORE, 3), (10000, 1.5, FEW, 1))
CHEAPER = {"top -b": 12, "pidstat -u -r -d": 25, "pidstat -t": 80}


class Crowd:
    """Sleeping processes, as long as this block lasts."""

    def __init__(self, bench, n):
        self.process = bench.start([bench.program("load"), "crowd", str(n)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def __enter__(self):
        return self.process

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait()


def peer_us(bench, command, samples, n):
    """Of CPU time per process and sample. The first sample is not free of the start: it counts."""
    before = children_cpu_ns()
    subprocess.run([*command, str(samples)], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, preexec_fn=bench.machine.place(0))
    return (children_cpu_ns() - before) / 1e3 / samples / n


def ours_us(bench, crowd, n, seconds, more=()):
    tracer = Agentsight(bench, ["system", "-i", str(EVERY_S), *more, "-p", str(crowd.pid)])
    time.sleep(1.5 * EVERY_S)
    cpu, begin = cpu_ns(tracer.pid), time.monotonic()
    time.sleep(seconds)
    used, samples = cpu_ns(tracer.pid) - cpu, (time.monotonic() - begin) / EVERY_S
    tracer.stop()
    seen = {line.split(b'"pid":')[1].split(b",")[0] for line in tracer.lines
            if b'"system_metrics"' in line}
    return used / 1e3 / samples / n, tracer.check(processes=(len(seen), n + 1)), tracer.lost()


def row_sample(bench):
    tools = {name: command for name, (command, package) in peers.SAMPLERS.items()
             if peer_there(bench, command, package)}
    cost = {}
    for n, seconds, samples, rounds in CROWDS:
        ours, wrong, lost = [], [], [0, 0]
        theirs = {name: [] for name in tools}
        with Crowd(bench, n) as crowd:
            for i in range(rounds):
                bench.report.tell(f"{n:,} processes: round {i + 1} of {rounds}")
                us, bad, counts = ours_us(bench, crowd, n, seconds)
                ours.append(us)
                wrong += bad
                lost = [a + b for a, b in zip(lost, counts)]
                for name, command in tools.items():
                    theirs[name].append(peer_us(bench, command, samples[name], n))
        cost[n] = min(ours)
        bench.report.add(f"{n:,} processes", "system, 10 Hz", "per process, sample", "us",
                         2 if n == 1000 else None, ours, lost, wrong)
        for name, values in theirs.items():
            bench.report.add(f"{n:,} processes", f"against {name}", "times cheaper", "",
                             At_least(CHEAPER[name]) if n == 1000 else None,
                             [p / o for p, o in zip(values, ours)], more={"us": values})
    bench.report.add("1,000 and 10,000 processes", "system, 10 Hz", "per process, ratio", "", GROWS,
                     [cost[10000] / cost[1000]])


def peer_there(bench, command, package):
    if shutil.which(command[0]):
        return True
    bench.report.skip(command[0], f"not installed: {package}")
    return False


def row_details(bench):
    """What the sampler itself takes, without the rest of the program, with more columns."""
    found = {r["what"]: r["us_per_process"]
             for r in bench.lines_of("bench_sampler", "1000", "3", timeout=120)}
    for what in ("task iterator", "task iterator, details and a tree",
                 "task iterator, a row per thread", "/proc"):
        if what in found:
            bench.report.add("1,000 processes, sampler", what, "per process, sample", "us",
                             2 if what != "/proc" else None, [found[what]])


# ---- statistics ----

def write_recording(path, samples, processes=20):
    """Rows with all details, as `run` writes them, and a tree after each pass."""
    head = ('{"timestamp":%d,"source":"system","pid":%d,"comm":"worker%d","tid":%d,"ppid":1,"uid":0,'
            '"exec_id":"%d@%d","data":{"type":"%s",')
    row = (head + '"pid":%d,"comm":"worker%d","timestamp":%d,'
           '"cpu":{"percent":"%d.%02d","cores":2,"total_ns":%d,"user_ns":%d,"system_ns":%d,'
           '"wait_ns":%d,"last":1},"memory":{"rss_kb":%d,"rss_mb":%d,"vsz_kb":500000,"vsz_mb":488,'
           '"anon_kb":%d,"file_kb":2000,"shmem_kb":100,"peak_kb":150000,"pss_kb":%d,"uss_kb":%d},'
           '"process":{"threads":4,"children":0,"fds":12},"alert":false,'
           '"io":{"read_bytes":%d,"write_bytes":%d,"rchar":%d,"wchar":%d,"syscr":%d,"syscw":%d},'
           '"faults":{"minor":%d,"major":3},"switches":{"voluntary":%d,"involuntary":%d},'
           '"net":{"rx_bytes":%d,"tx_bytes":%d},"interval_ns":100000000}}\n')
    tree = (head + '"processes":%d,"threads":%d,"cpu":{"percent":"%d.00","cores":2},'
            '"memory":{"rss_kb":%d},"reason":"timer","elapsed_ns":%d,"interval_ns":100000000}}\n')
    cpu = [0] * processes
    with open(path, "w") as f:
        for k in range(samples // processes):
            now = 1700000000000000000 + k * 100000000
            for p in range(processes):
                share, rss = (k * 7 + p * 13) % 10000, 100000 + (k * 977 + p * 31) % 50000
                cpu[p] += share * 10000
                f.write(row % (now, 1000 + p, p, 1000 + p, 1000 + p, 5000 + p, "system_metrics",
                               1000 + p, p, now, share // 100, share % 100, cpu[p], cpu[p] // 2,
                               cpu[p] // 2, k * 1000, rss, rss >> 10, rss - 2100, rss - 500,
                               rss - 900, k * 4096, k * 8192, k * 9000, k * 9500, k * 3, k * 4,
                               k * 100, k * 20, k * 2, k * 1500, k * 700))
            f.write(tree % (now, 1000, 0, 1000, 1000, 5000, "tree", processes, 4 * processes,
                            50 * processes, 125000 * processes, k * 100000000))


def stats_of(bench, path):
    load = Workload(bench, [bench.program("load"), "timed", AGENTSIGHT, "stats", "--json", path],
                    hold=False)
    load.go()
    return {"s": load.lines()[-1]["ns"] / 1e9, "mb": load.lines()[-1]["max_rss_kb"] / 1024,
            "read": load.lines()[0]["samples"]}


def row_stats(bench):
    short, long = [bench.memory_path(f"{n}.jsonl") for n in (1, 10)]
    try:
        bench.report.tell("1,000,000 samples: writing the recording")
        write_recording(short, 100000)
        write_recording(long, 1000000)
        size = os.path.getsize(long) >> 20
        runs = [(stats_of(bench, short), stats_of(bench, long)) for _ in range(3)]
    finally:
        for path in (short, long):
            if os.path.exists(path):
                os.unlink(path)
    wrong = [f"{b['read']} rows" for _, b in runs if b["read"] != 1050000]
    add = bench.report.add
    add("1,000,000 samples", f"stats, {size} MiB", "time", "s", 1, [b["s"] for _, b in runs], None,
        wrong)
    add("1,000,000 samples", "stats", "largest RSS", "MB", 64, [max(b["mb"] for _, b in runs)],
        None, wrong)
    add("100,000 and 1,000,000 samples", "stats", "time per sample, ratio", "", GROWS,
        [b["s"] / a["s"] / 10 for a, b in runs], None, wrong)


ROWS = {"sample": row_sample, "details": row_details, "stats": row_stats}
