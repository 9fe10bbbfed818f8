#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Measures what tracing costs and how fast the collector is, and writes one JSON file.

A row is a workload, a configuration and a metric with its target. Where a row is a ratio, each round
runs the workload once without and once with the tracer, in random order, and gives one ratio; the
median counts. Every run with the tracer also checks that what the workload did is what stands in the
file, and that the ledger of the run closes: a fast run that lost an event is no result.

Workloads run under SCHED_FIFO on processor 1, the tracer under SCHED_FIFO on processor 0, in bursts
below one second, where that is permitted and there are two processors.
"""
import argparse
import glob
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 7
AGENTSIGHT = os.path.abspath("./agentsight")
FIFO = False
TWO = False


# ---- the machine ----

def may_use_fifo():
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return True
    except OSError:
        return False


def place(cpu, fifo=True):
    """For preexec_fn: the processor (None: any) and the scheduling of a child."""
    def run():
        if TWO and cpu is not None:
            os.sched_setaffinity(0, {cpu})
        if FIFO and fifo:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return run


def foreign_links():
    """Links that are attached; -1 when that cannot be told."""
    tool = shutil.which("bpftool") or "/usr/sbin/bpftool"
    try:
        out = subprocess.run([tool, "-j", "link"], capture_output=True, timeout=5).stdout
        return len(json.loads(out or b"[]"))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return -1


def steal_ticks():
    with open("/proc/stat") as f:
        return int(f.readline().split()[8])


def audit_enabled():
    tool = shutil.which("auditctl")
    if not tool:
        return False
    out = subprocess.run([tool, "-s"], capture_output=True, text=True).stdout
    return "enabled 1" in out


class Disturbance:
    """Counts what would make a result doubtful while the benchmark runs."""

    def __init__(self):
        self.steal = steal_ticks()
        self.foreign_rounds = 0

    def quiet(self, seconds=2):
        """Waits a little for a moment without links of other programs."""
        end = time.monotonic() + seconds
        while foreign_links() > 0 and time.monotonic() < end:
            time.sleep(0.1)
        return foreign_links() <= 0

    def describe(self):
        return {
            "rounds_with_foreign_bpf_links": self.foreign_rounds,
            "steal_ticks": steal_ticks() - self.steal,
            "audit_enabled": audit_enabled(),
            "load_average": os.getloadavg(),
        }


# ---- the tracer and the workloads ----

def thread_values(pid, read):
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            total += read(f"/proc/{pid}/task/{tid}")
        except OSError:
            pass
    return total


def cpu_ns(pid):
    return thread_values(pid, lambda d: int(open(d + "/schedstat").read().split()[0]))


def voluntary_switches(pid):
    pattern = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)", re.M)
    return thread_values(pid, lambda d: int(pattern.search(open(d + "/status").read())[1]))


class Tracer:
    def __init__(self, arguments, work, fifo=True):
        self.path = os.path.join(work, "trace.log")
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.begin = time.monotonic()
        self.process = subprocess.Popen(
            [AGENTSIGHT, *arguments, "-q", "-o", self.path], stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=place(0, fifo))
        while not (os.path.exists(self.path) and os.path.getsize(self.path)):
            if self.process.poll() is not None or time.monotonic() > self.begin + 20:
                raise RuntimeError(f"agentsight {' '.join(arguments)} did not start")
            time.sleep(0.0005)
        self.start_ms = (time.monotonic() - self.begin) * 1e3
        self.pid = self.process.pid
        if arguments != ["trace", "--process"]:
            self.settle(0.2)  # the other families attach after the first line, and say so
        self.cpu = cpu_ns(self.pid)

    def settle(self, quiet_s=0.03):
        """Until nothing more is written; returns the CPU nanoseconds since the start."""
        size, until = -1, time.monotonic() + 2  # samples never cease
        while size != os.path.getsize(self.path) and time.monotonic() < until:
            size = os.path.getsize(self.path)
            time.sleep(quiet_s)
        return cpu_ns(self.pid) - getattr(self, "cpu", 0)

    def stop(self):
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.stop_ms = (time.monotonic() - begin) * 1e3
        with open(self.path, "rb") as f:
            self.lines = f.read().splitlines()
        self.totals = json.loads(self.lines[-1])["data"]
        return self

    def count(self, kind, *needles):
        wanted = [b'"type":"%s"' % kind.encode()] + [n.encode() for n in needles]
        return sum(all(w in line for w in wanted) for line in self.lines)

    def check(self, **expected):
        """An empty list, or what is wrong with this run."""
        wrong = []
        delivered, lines = self.totals["delivered"], len(self.lines) - 1
        if self.totals["lost"]:
            wrong.append(f"{self.totals['lost']} of {self.totals['produced']} events lost")
        if delivered != lines:
            wrong.append(f"{lines} lines for {delivered} delivered events")
        for what, (got, want) in expected.items():
            if got != want:
                wrong.append(f"{what}: {got} instead of {want}")
        for line in self.lines[:: max(1, len(self.lines) // 5000)]:
            json.loads(line)
        return wrong


class Workload:
    """A program that has been started and waits for go()."""

    def __init__(self, command, hold=True, cpu=1):
        held = [program("load"), "hold", *command] if hold else command
        self.process = subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=place(cpu))
        self.pid = self.process.pid

    def go(self):
        begin = time.monotonic()
        out, errors = self.process.communicate(b"\n", timeout=60)
        self.wall = time.monotonic() - begin
        if self.process.returncode:
            raise RuntimeError(errors.decode().strip() or "the workload failed")
        self.errors = errors.decode()
        self.lines = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
        return self.lines[-1] if self.lines else {}

    def run_to_end(self):
        self.go()
        return self.lines


def program(name):
    return os.path.join(options.programs, name)


# ---- rows ----

class Results:
    def __init__(self):
        self.rows = []

    def add(self, workload, configuration, metric, unit, target, values, wrong=(), more=None):
        """@target: the most that is allowed; ("at least", x) turns it round; None: for information."""
        least = isinstance(target, tuple)
        limit = target[1] if least else target
        median = statistics.median(values)
        if wrong:
            verdict = "wrong"
        elif limit is None:
            verdict = ""
        else:
            verdict = "pass" if (median >= limit if least else median <= limit) else "miss"
        row = {"workload": workload, "configuration": configuration, "metric": metric,
               "unit": unit, "target": limit, "target_is_minimum": least, "median": median,
               "min": min(values), "max": max(values), "rounds": len(values),
               "verdict": verdict, "wrong": sorted(set(wrong))}
        row.update(more or {})
        self.rows.append(row)
        print_row(row)


def short(value):
    return "" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def print_head():
    print(f"{'workload':25} {'configuration':22} {'metric':26} {'target':>11} {'median':>10} "
          f"{'min':>10} {'max':>10}  verdict")


def print_row(row):
    sign = "" if row["target"] is None else ">= " if row["target_is_minimum"] else "<= "
    print(f"{row['workload']:25} {row['configuration']:22} "
          f"{row['metric'] + (' ' + row['unit'] if row['unit'] else ''):26} "
          f"{sign + short(row['target']):>11} {short(row['median']):>10} {short(row['min']):>10} "
          f"{short(row['max']):>10}  {row['verdict']}", flush=True)
    for text in row["wrong"]:
        print(f"{'':25} {text}")


def rounds_of(n, off, on):
    """n pairs in random order inside each round; a round with foreign tracers is repeated, once."""
    pairs = []
    spare = n
    while len(pairs) < n:
        quiet = disturbance.quiet()
        result = {}
        for name in random.sample(["off", "on"], 2):
            result[name] = off() if name == "off" else on()
        quiet = quiet and foreign_links() <= 0
        if not quiet and spare > 0:
            spare -= 1
            continue
        disturbance.foreign_rounds += not quiet
        pairs.append((result["off"], result["on"]))
    return pairs


def ratios(pairs, key):
    return [on[key] / off[key] for off, on in pairs]


# ---- spawn and compile ----

def spawn_row(name, path, n, target):
    command = [program("load"), "spawn", str(n), path]
    expected = n + 50

    def off():
        return Workload(command).go()

    def on():
        load = Workload(command)
        tracer = Tracer(["trace", "--process"], options.work)
        result = load.go()
        result["collector_us"] = tracer.settle() / expected / 1e3
        tracer.stop()
        parent = f'"ppid":{load.pid},'
        result["wrong"] = tracer.check(exec=(tracer.count("exec", parent), expected),
                                       exit=(tracer.count("exit", parent), expected))
        return result

    pairs = rounds_of(ROUNDS, off, on)
    wrong = [w for _, p in pairs for w in p["wrong"]]
    results.add(f"spawn {name}", "trace --process", "wall ratio", "", target,
                ratios(pairs, "ns"), wrong,
                {"cpu_ratio": statistics.median(ratios(pairs, "cpu_ns")),
                 "off_ns": statistics.median(p["ns"] for p, _ in pairs)})
    results.add(f"spawn {name}", "trace --process", "collector per spawn", "us", 1.5,
                [p["collector_us"] for _, p in pairs], wrong)


def row_spawn():
    spawn_row("true", "/bin/true", 3000, 1.03)
    spawn_row("static", program("static_true"), 8000, 1.07)


def compile_command():
    """Compiles 40 small C files."""
    names = []
    for i in range(40):
        names.append(os.path.join(options.work, f"unit{i}.c"))
        with open(names[-1], "w") as f:
            f.write("#include <stdio.h>\nint f%d(int x) { return x * %d; }\n" % (i, i))
    return ["sh", "-c", "for f in " + " ".join(names) +
            "; do gcc -c -o \"$f.o\" \"$f\" || exit 1; done"]


def row_compile():
    command = compile_command()

    def run(traced):
        load = Workload(command)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        tracer = Tracer(["record", "-p", str(load.pid)], options.work) if traced else None
        load.go()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = {"wall": load.wall, "wrong": [],
                  "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}
        if tracer:
            tracer.settle()
            tracer.stop()
            result["wrong"] = tracer.check(gcc=(tracer.count("exec", '"comm":"gcc"'), 40))
        return result

    pairs = rounds_of(ROUNDS, lambda: run(False), lambda: run(True))
    results.add("compile 40 files", "record", "wall ratio", "", 1.01, ratios(pairs, "wall"),
                [w for _, p in pairs for w in p["wrong"]],
                {"cpu_ratio": statistics.median(ratios(pairs, "cpu"))})


# ---- a command under `run` ----

def under_run(command, arguments=(), cpu=None):
    """The command under `run`, whose standard input and output are its own."""
    path = os.path.join(options.work, "run.log")
    return path, subprocess.Popen([AGENTSIGHT, "run", "-q", *arguments, "-o", path, "--", *command],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  preexec_fn=place(cpu))


def monitored_compile(command):
    """Timed by its parent, which is in the tree, from when all is attached to its end."""
    path, tracer = under_run([program("load"), "timed", *command],
                             ["-i", "100", "--adaptive", "fixed"], 0)
    time.sleep(0.5)
    with open(f"/proc/{tracer.pid}/task/{tracer.pid}/children") as f:
        child = int(f.read().split()[0])
    if TWO:
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
    wrong += ["events were lost"] if json.loads(lines[-1])["data"]["lost"] else []
    return {**json.loads(line), "collector_ns": used, "wrong": wrong}


def row_monitor():
    command = compile_command()
    pairs = rounds_of(ROUNDS, lambda: Workload([program("load"), "timed", *command], hold=False).go(),
                      lambda: monitored_compile(command))
    wrong = [w for _, p in pairs for w in p["wrong"]]
    for key, metric in (("ns", "wall ratio"), ("cpu_ns", "CPU ratio")):
        results.add("compile 40 files", "run, 100 ms", metric, "", 1.01, ratios(pairs, key), wrong)
    results.add("compile 40 files", "run, 100 ms", "collector", "% of a core", None,
                [p["collector_ns"] / p["ns"] * 100 for _, p in pairs])

    delays, memory, peaks = [], [], []
    for _ in range(ROUNDS):
        begin = time.monotonic_ns()
        told = under_run([program("load"), "now"])[1].communicate(timeout=20)[0]
        delays.append((json.loads(told)["ns"] - begin) / 1e6)
    results.add("start of a command", "run", "until its first line", "ms", 60, delays)
    for _ in range(3):
        tracer = under_run([program("load"), "timed", "true"])[1]
        time.sleep(1)
        status = open(f"/proc/{tracer.pid}/status").read()
        tracer.communicate(b"\n", timeout=20)
        memory.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024)
        peaks.append(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)
    results.add("memory", "run", "RSS", "MB", 12, memory, (), {"peak_mb": max(peaks)})


def row_threads():
    found = {r["what"]: r["us_per_process"]
             for r in lines_of("bench_sampler", "1000", "3", timeout=120)}
    results.add("1,000 processes", "details and a tree", "per process, sample", "us", 2,
                [found["task iterator, details and a tree"]])
    if "pidstat -t" in found:
        results.add("1,000 processes", "per thread, pidstat -t", "times cheaper", "",
                    ("at least", 80),
                    [found["pidstat -t"] / found["task iterator, a row per thread"]])


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


def stats_of(path):
    lines = Workload([program("load"), "timed", AGENTSIGHT, "stats", "--json", path],
                     hold=False).run_to_end()
    return {"s": lines[-1]["ns"] / 1e9, "mb": lines[-1]["max_rss_kb"] / 1024,
            "read": lines[0]["samples"]}


def row_stats():
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else options.work
    short, long = [os.path.join(memory, f"agentsight-bench-{os.getpid()}-{n}.jsonl") for n in (1, 10)]
    try:
        write_recording(short, 100000)
        write_recording(long, 1000000)
        size = os.path.getsize(long) >> 20
        runs = [(stats_of(short), stats_of(long)) for _ in range(ROUNDS)]
    finally:
        for path in (short, long):
            if os.path.exists(path):
                os.unlink(path)
    wrong = [f"{b['read']} rows" for _, b in runs if b["read"] != 1050000]
    results.add("1,000,000 samples", f"stats, {size} MiB", "time", "s", 1,
                [b["s"] for _, b in runs], wrong)
    results.add("1,000,000 samples", "stats", "largest RSS", "MB", 64,
                [max(b["mb"] for _, b in runs)], wrong)
    results.add("1,000,000 samples", "against 100,000", "times the time", "", 10.5,
                ratios(runs, "s"), wrong)


# ---- TLS ----

def tls_run(n, size, arguments):
    load = Workload([program("tls"), "pingpong", str(n), str(size), "--keepalive", "--no-sum",
                     "--wait", *(["--cpu", "1"] if TWO else [])], hold=False)
    if arguments is None:
        return load.go()
    tracer = Tracer([*arguments, "-p", str(load.pid)], options.work)
    result = load.go()
    result["collector_us"] = tracer.settle() / n / 1e3
    tracer.stop()
    streams = tracer.totals["streams"].get("ssl.data", {})
    result["events"] = streams.get("produced", 0)
    result["wrong"] = tracer.check(calls=(streams.get("produced", 0), result_calls(load)))
    return result


def result_calls(load):
    return sum(line.get("calls", 0) for line in load.lines)


def row_tls():
    for size, n, target in ((1024, 10000, 1.50), (16384, 4000, 1.42)):
        pairs = rounds_of(ROUNDS, lambda: tls_run(n, size, None),
                          lambda: tls_run(n, size, ["ssl"]))
        wrong = [w for _, p in pairs for w in p["wrong"]]
        results.add(f"HTTPS {size >> 10} KiB", "ssl", "wall ratio", "", target,
                    ratios(pairs, "ns_per_request"), wrong,
                    {"off_ns": statistics.median(p["ns_per_request"] for p, _ in pairs)})
        results.add(f"HTTPS {size >> 10} KiB", "ssl", "collector per request", "us", None,
                    [p["collector_us"] for _, p in pairs])
    for size, n in ((1024, 20000), (65536, 50)):
        run = tls_run(n, size, ["ssl"])
        results.add(f"HTTPS {size >> 10} KiB x {n}", "ssl", "wrong or lost", "", 0,
                    [len(run["wrong"])], run["wrong"])


# ---- TCP ----

def tcp_run(mode, n, size, arguments):
    load = Workload([program("tcp"), mode, str(n), str(size)])
    tracer = Tracer([*arguments, "-p", str(load.pid)], options.work) if arguments else None
    load.go()
    result = {"ns": float(re.search(r"([\d.]+) ns per", load.errors)[1]), "wrong": []}
    if tracer:
        cpu = tracer.settle()
        tracer.stop()
        closes = [json.loads(line)["data"] for line in tracer.lines if b'"type":"close"' in line]
        both = (n * size, n * size)
        expected = {"totals": (sorted((c["tx_bytes"], c["rx_bytes"]) for c in closes),
                               [both, both] if mode == "pingpong" else
                               [(0, n * size), (n * size, 0)])}
        if arguments[0] == "trace":
            expected["sends"] = (tracer.count("send"), n if mode == "stream" else 2 * n)
        result["wrong"] = tracer.check(**expected)
        result["collector_ns"] = cpu / max(1, tracer.totals["produced"])
    return result


def row_tcp():
    loads = (("pingpong", 30000, 100, 1.04, 1.15), ("stream", 200000, 1024, 1.12, 1.33))
    for mode, n, size, summed, each in loads:
        # without the file hooks, which slow every system call: those are a row of their own
        summaries = ["record", "--files=false"]
        for arguments, target in ((summaries, summed), (["trace", "--network"], each)):
            pairs = rounds_of(ROUNDS, lambda: tcp_run(mode, n, size, None),
                              lambda: tcp_run(mode, n, size, arguments))
            wrong = [w for _, p in pairs for w in p["wrong"]]
            results.add(f"TCP {mode} {size} B", " ".join(arguments), "wall ratio", "", target,
                        ratios(pairs, "ns"), wrong,
                        {"off_ns": statistics.median(p["ns"] for p, _ in pairs)})
            if arguments[0] == "trace":
                results.add(f"TCP {mode} {size} B", "trace --network", "collector per event",
                            "ns", 300, [p["collector_ns"] for _, p in pairs], wrong)


# ---- ring, encoder ----

def lines_of(*command, timeout=60, cpu=0):
    out = subprocess.run([program(command[0]), *command[1:]], capture_output=True, timeout=timeout,
                         preexec_fn=place(cpu, False))
    if out.returncode:
        raise RuntimeError(out.stderr.decode().strip())
    return [json.loads(line) for line in out.stdout.splitlines()]


def row_ring():
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else options.work
    path = os.path.join(options.work, "ring.log")
    costs = lines_of("bench_ring", "cost", path, "15")[3:]
    wrong = ["not every event became a line"] * any(c["delivered"] != c["expected"] for c in costs)
    sums = [c["reader_ns"] + c["writer_ns"] for c in costs]
    results.add("ring to JSON in a file", "one core", "CPU per event", "ns", 300, sums, wrong,
                {"reader_ns": statistics.median(c["reader_ns"] for c in costs)})
    results.add("ring to JSON in a file", "one core", "speed", "M/s", ("at least", 3),
                [1e3 / s for s in sums], wrong)
    limit = statistics.median(lines_of("bench_ring", "limit")[0]["events_per_s"]
                              for _ in range(3))
    results.add("ring, only counted", "two cores", "speed", "M/s", None, [limit / 1e6])

    path = os.path.join(memory, f"agentsight-bench-{os.getpid()}.log")
    lost, ring_full = [], []
    for _ in range(ROUNDS):
        run = lines_of("bench_ring", "loss", path, str(int(limit * 0.35)), "1")[0]
        lost.append(run["produced"] - run["delivered"])
        ring_full.append(run["ring_full"])
        os.unlink(path)
    results.add("ring at 35 % of that", "8 MiB, file in memory", "lost, worst of 7", "", 0,
                [max(lost)], (), {"lost": lost, "rate": int(limit * 0.35), "of_which_ring_full": ring_full})
    run = lines_of("bench_ring", "stall", os.path.join(options.work, "stalled"))[0]
    results.add("output that takes nothing", "200 k/s", "ring dropped", "", 0, [run["ring_full"]])
    results.add("output that takes nothing", "200 k/s", "reader held up", "ms", 5,
                [run["longest_ms"]])


def row_encode():
    runs = lines_of("bench_encode", cpu=1)
    results.add("event with 19 members", "against json-c", "speed ratio", "", ("at least", 20),
                [r["jsonc_ns"] / r["ns"] for r in runs])
    results.add("event with 19 members", "355 bytes", "per event", "ns", 150, [r["ns"] for r in runs])
    for line in lines_of("bench_json", cpu=1):
        if line["bench"] == "escape" and line["variant"] == "http+json 16KiB":
            results.add("escape HTTP + JSON 16 KiB", "", "speed", "GB/s", ("at least", 4),
                        [line["gbps"]])
            results.add("escape HTTP + JSON 16 KiB", "against json-c", "speed ratio", "",
                        ("at least", 8), [line["ratio"]])


# ---- paced and idle ----

def latencies(seconds):
    """Milliseconds from event to line, read at the other end of a pipe."""
    load = Workload([program("load"), "paced", "10000", str(seconds)])
    tracer = subprocess.Popen([AGENTSIGHT, "trace", "--network", "-q", "-p", str(load.pid)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              preexec_fn=place(0))
    fd = tracer.stdout.fileno()
    os.read(fd, 65536)
    load.process.stdin.write(b"\n")
    load.process.stdin.flush()
    if FIFO:
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
    return found


def row_paced():
    shares, wrong = [], []
    for _ in range(3):
        load = Workload([program("load"), "paced", "10000", "3"])
        tracer = Tracer(["trace", "--network", "-p", str(load.pid)], options.work)
        begin, cpu = time.monotonic(), cpu_ns(tracer.pid)
        done = load.go()
        shares.append((cpu_ns(tracer.pid) - cpu) / (time.monotonic() - begin) / 1e7)
        tracer.settle()
        tracer.stop()
        wrong += tracer.check(events=(tracer.count("send") + tracer.count("recv"), done["n"]))
    results.add("10,000 events/s", "trace --network", "collector", "% of a core", 1.0, shares,
                wrong)
    found = sorted(latencies(3))
    results.add("10,000 events/s", "to a pipe", "latency p99", "ms", 12,
                [found[int(len(found) * 0.99)]], (),
                {"p50": found[len(found) // 2], "events": len(found)})


def row_idle():
    sleeper = subprocess.Popen(["sleep", "60"])
    for arguments in (["trace", "--process"], ["record", "-i", "3600"]):
        tracer = Tracer([*arguments, "-p", str(sleeper.pid)], options.work, fifo=False)
        time.sleep(2)
        before, cpu = voluntary_switches(tracer.pid), cpu_ns(tracer.pid)
        time.sleep(options.idle)
        rate = (voluntary_switches(tracer.pid) - before) / options.idle
        share = (cpu_ns(tracer.pid) - cpu) / options.idle / 1e7
        tracer.stop()
        results.add("nothing happens", " ".join(arguments), "wake-ups", "per s", 2, [rate])
        results.add("nothing happens", " ".join(arguments), "CPU", "% of a core", 0.05, [share])
    sleeper.kill()
    sleeper.wait()


# ---- sampling ----

def peer_cpu_us(command, samples, processes):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, preexec_fn=place(0))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used * 1e6 / samples / processes


def row_sample():
    n, seconds, every = 1000, 2.0, 0.1
    crowd = subprocess.Popen([program("load"), "crowd", str(n)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    crowd.stdout.readline()
    ours, top, pidstat, wrong = [], [], [], []
    for _ in range(3):
        tracer = Tracer(["system", "-i", str(every), "-p", str(crowd.pid)], options.work)
        time.sleep(0.15)
        cpu, begin = cpu_ns(tracer.pid), time.monotonic()
        time.sleep(seconds)
        used, samples = cpu_ns(tracer.pid) - cpu, (time.monotonic() - begin) / every
        tracer.stop()
        ours.append(used / 1e3 / samples / n)
        seen = {line.split(b'"pid":')[1].split(b",")[0] for line in tracer.lines
                if b'"system_metrics"' in line}
        wrong += tracer.check(processes=(len(seen), n + 1))
        if shutil.which("top"):
            top.append(peer_cpu_us(["top", "-b", "-d", "0.1", "-n", "10"], 10, n))
        if shutil.which("pidstat"):
            pidstat.append(peer_cpu_us(["pidstat", "-u", "-r", "-d", "-h", "1", "2"], 2, n))
    crowd.stdin.close()
    crowd.wait()
    results.add("1,000 processes", "system", "per process, sample", "us", 2, ours, wrong)
    for name, values, target in (("top -b", top, 12), ("pidstat -u -r -d", pidstat, 25)):
        if values:
            results.add("1,000 processes", f"against {name}", "times cheaper", "",
                        ("at least", target), [p / o for p, o in zip(values, ours)], wrong)


# ---- start, end, memory, others ----

def copies_of_libssl(n):
    """Arguments that have n libraries probed, seven probes each; none where there is no libssl."""
    found = glob.glob("/usr/lib/*/libssl.so.*") + glob.glob("/usr/lib*/libssl.so.*")
    arguments = []
    for i in range(n if found else 0):
        path = os.path.join(options.work, f"libssl_{i}.so")
        shutil.copy(found[0], path)
        arguments += ["--binary-path", path]
    return arguments


def row_end_with_probes():
    libraries = copies_of_libssl(15)
    if not libraries:
        return
    stops, wrong = [], []
    for _ in range(ROUNDS):
        tracer = Tracer(["record", "-p", str(os.getpid()), *libraries], options.work)
        tracer.stop()
        stops.append(tracer.stop_ms)
        if tracer.count("capability", "libssl_", '"attached"') != 15:
            wrong = ["not all libraries are probed"]
    results.add("end", "record, 105 probes more", "until it is gone", "ms", 200, stops, wrong)


def row_start():
    for arguments in (["trace", "--process"], ["record", "-p", str(os.getpid())]):
        name = arguments[0] + (" --process" if arguments[0] == "trace" else " (all hooks)")
        starts, stops = [], []
        for _ in range(ROUNDS):
            tracer = Tracer(arguments, options.work)
            time.sleep(0.1)
            tracer.stop()
            starts.append(tracer.start_ms)
            stops.append(tracer.stop_ms)
        results.add("start", name, "first line on disk", "ms", 60, starts)
        results.add("end", name, "until it is gone", "ms", 200, stops)
    row_end_with_probes()
    for arguments in (["trace", "--process"], ["record", "-p", str(os.getpid())]):
        tracer = Tracer([*arguments, "--ring-size", "1"], options.work)
        time.sleep(1)
        status = open(f"/proc/{tracer.pid}/status").read()
        tracer.stop()
        results.add("memory", arguments[0] + " --ring-size 1", "RSS", "MB", 12,
                    [int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024], (),
                    {"peak_mb": int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024})


def row_tax():
    command = [program("load"), "getuid", "1500000"]
    sleeper = subprocess.Popen(["sleep", "300"])
    configurations = (("without files", ["trace", "--process", "--network", "--ssl"], 1.01),
                      ("with files", ["trace", "--files"], 1.4))
    for name, arguments, target in configurations:
        def on():
            tracer = Tracer([*arguments, "-p", str(sleeper.pid)], options.work)
            result = Workload(command).go()
            tracer.stop()
            return result
        pairs = rounds_of(ROUNDS, lambda: Workload(command).go(), on)
        results.add("getuid of another process", name, "wall ratio", "", target,
                    ratios(pairs, "ns"))
    sleeper.kill()
    sleeper.wait()


ROWS = {"spawn": row_spawn, "compile": row_compile, "tls": row_tls, "tcp": row_tcp,
        "ring": row_ring, "encode": row_encode, "paced": row_paced, "idle": row_idle,
        "sample": row_sample, "threads": row_threads, "monitor": row_monitor, "stats": row_stats,
        "start": row_start, "tax": row_tax}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--programs", default="out/tests/bench", help="where the workloads are")
    parser.add_argument("--output", default="out/bench.json")
    parser.add_argument("--rows", default=",".join(ROWS), help="of " + ",".join(ROWS))
    parser.add_argument("--idle", type=float, default=10, help="seconds of doing nothing")
    parsed = parser.parse_args()
    parsed.programs = os.path.abspath(parsed.programs)
    parsed.rows = parsed.rows.split(",")
    unknown = [r for r in parsed.rows if r not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}")
    return parsed


def main():
    global FIFO, TWO
    if os.geteuid() != 0:
        sys.exit("bench: run it as root")
    FIFO, TWO = may_use_fifo(), len(os.sched_getaffinity(0)) > 1
    errors = {}
    print_head()
    for name in options.rows:
        try:
            ROWS[name]()
        except (RuntimeError, OSError, subprocess.SubprocessError, LookupError, ValueError) as e:
            errors[name] = str(e)
            print(f"{name}: {e}", file=sys.stderr)
    state = disturbance.describe()
    document = {"kernel": os.uname().release, "fifo": FIFO, "two_processors": TWO,
                "rounds": ROUNDS, "disturbance": state, "errors": errors, "rows": results.rows}
    with open(options.output, "w") as f:
        json.dump(document, f, indent=1)
        f.write("\n")
    verdicts = [r["verdict"] for r in results.rows]
    print(f"{verdicts.count('pass')} met, {verdicts.count('miss')} missed, "
          f"{verdicts.count('wrong')} wrong; foreign BPF links in "
          f"{state['rounds_with_foreign_bpf_links']} rounds, {state['steal_ticks']} ticks stolen, "
          f"load {state['load_average'][0]:.1f}; all in {options.output}")
    return 1 if "wrong" in verdicts or errors else 0


if __name__ == "__main__":
    options = parse_options()
    results = Results()
    disturbance = Disturbance()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.path.dirname(options.programs)) as w:
        options.work = w
        sys.exit(main())
