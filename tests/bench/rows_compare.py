# SPDX-License-Identifier: MIT
"""
What a workload takes with a tracer, over what it takes without: a table of workloads, each with the ways to
trace it. Every run with agentsight also checks that what the workload did is what stands in the file.
"""
import json
import os
import re
import shutil
import statistics
import subprocess
from dataclasses import dataclass, field
from typing import Callable

import peers
from method import ROUNDS, compare
from programs import Agentsight, Companion, Workload, cpu_ns
from report import At_least

WARM_UP = 50  # spawns before the clock starts


@dataclass
class Load:
    name: str
    n: int
    command: Callable      # (bench, operations): what to run
    read: Callable         # of the finished workload: nanoseconds per operation
    held: bool = False     # it waits for a line itself
    events: int = 1        # of the kind that peers are asked for, per operation


@dataclass
class Traced:
    label: str
    arguments: tuple
    ratio: float = None                 # the most that is allowed
    collector: tuple = None             # (metric, unit, target, scale of ns per operation)
    check: Callable = None              # (tracer, workload, operations): what must be there
    against: dict = field(default_factory=dict)  # peer: largest share of its added cost
    ready: tuple = ()                   # what its output must have before the workload begins
    floor: str = "recording probes"     # which of the comparison's floors does what it does, and no more


@dataclass
class Comparison:
    load: Load
    traced: list
    floor: dict = field(default_factory=dict)  # label: arguments
    peers: dict = field(default_factory=dict)
    rounds: int = ROUNDS


def floor_at(*places):
    """The least: called and doing nothing; and writing when and who (and the text that was moved) into a ring."""
    return {"empty probes": places, "recording probes": ("record", *places)}


# ---- one run ----

def measured(load, workload, n, **more):
    return {"ns": load.read(workload), "cpu_ns": workload.cpu_ns / n, **more}


def run_alone(bench, load):
    workload = Workload(bench, load.command(bench, load.n), not load.held)
    workload.go()
    return measured(load, workload, load.n)


def run_traced(bench, load, traced):
    workload = Workload(bench, load.command(bench, load.n), not load.held)
    tracer = Agentsight(bench, [*traced.arguments, "-p", str(workload.pid)],
                        ready=traced.ready)
    workload.go()
    collector = tracer.settle()
    tracer.stop()
    expected = traced.check(tracer, workload, load.n) if traced.check else {}
    return measured(load, workload, load.n, collector_ns=collector / load.n,
                    event_ns=collector / max(1, tracer.totals["produced"]), lost=tracer.lost(),
                    wrong=tracer.check(**expected))


def run_companion(bench, load, command, peer=None):
    n = max(2 * WARM_UP, int(load.n * peer.share)) if peer else load.n
    workload = Workload(bench, load.command(bench, n), not load.held)
    words = peers.arguments_of(peer, pid=workload.pid, ssl=tls_library(bench)) if peer else command
    other = Companion(bench, words, ends_with_input=not peer)
    workload.go()
    collector = other.settle()
    other.stop()
    seen = peers.count_seen(peer, other.output()) if peer else None
    expected = n * load.events * peer.events if peer else 0
    lost = None if seen is None else (max(0, expected - seen), expected)
    recorded = re.search(rb"(\d+) records, (\d+) lost", other.output()) if not peer else None
    if recorded:
        lost = (int(recorded[2]), int(recorded[1]) + int(recorded[2]))
    return measured(load, workload, n, peer=bool(peer), collector_ns=collector / n, lost=lost,
                    mb=other.mb)


def run_peer(bench, load, name, peer):
    """None where it cannot do it here: that is no fault of the row."""
    try:
        return run_companion(bench, load, None, peer)
    except (RuntimeError, OSError) as e:
        bench.report.skip(name.split(",")[0], str(e).strip().splitlines()[-1])
        return None


# ---- a comparison ----

def ways(bench, comparison, there):
    load = comparison.load
    found = {"off": lambda: run_alone(bench, load)}
    for label, arguments in comparison.floor.items():
        words = [tls_library(bench) if w == "{ssl}" else w for w in arguments]
        found[label] = lambda w=words: run_companion(bench, load, [bench.program("floor"), *w])
    for traced in comparison.traced:
        found[traced.label] = lambda t=traced: run_traced(bench, load, t)
    for name, peer in there.items():
        found[name] = lambda n=name, p=peer: run_peer(bench, load, n, p)
    return found


def most_lost(runs):
    """Of all these runs together."""
    known = [r["lost"] for r in runs if r.get("lost")]
    return (sum(k[0] for k in known), sum(k[1] for k in known)) if known else None


def add_traced(bench, comparison, traced, rounds):
    name, runs = comparison.load.name, rounds.of(traced.label)
    wrong = [w for r in runs for w in r["wrong"]]
    common = {"lost": most_lost(runs), "wrong": wrong, "noisy": rounds.noisy}
    floor = traced.floor
    if (most_lost(rounds.of(floor)) or (0,))[0]:
        floor = None  # a record that finds no room is cheaper than one that does
    bench.report.add(
        name, traced.label, "wall ratio", "", traced.ratio, rounds.ratios(traced.label, "ns"),
        **common, floor=rounds.ratios(floor, "ns"),
        more={"cpu_ratio": statistics.median(rounds.ratios(traced.label, "cpu_ns")),
              "added_ns": statistics.median(rounds.added(traced.label)),
              "off_ns": statistics.median(r["ns"] for r in rounds.of("off"))})
    if traced.collector:
        key, metric, unit, target, scale = traced.collector
        bench.report.add(name, traced.label, metric, unit, target, [r[key] / scale for r in runs],
                         floor=[r[key] / scale for r in rounds.of(floor) if key in r], **common)
    for peer, share in traced.against.items():
        values = [(r[traced.label]["ns"] - r["off"]["ns"]) / (r[peer]["ns"] - r["off"]["ns"])
                  for r in rounds.kept if peer in r and r[peer]["ns"] > r["off"]["ns"]]
        bench.report.add(name, traced.label, f"added, of {peer.split(',')[0]}'s", "", share,
                         values, **common)


def add_other(bench, load, label, rounds):
    runs = rounds.of(label)
    if not runs:
        return
    bench.report.add(load.name, label, "wall ratio", "", None, rounds.ratios(label, "ns"),
                     lost=most_lost(runs), more={
                         "cpu_ratio": statistics.median(rounds.ratios(label, "cpu_ns")),
                         "added_ns": statistics.median(rounds.added(label)),
                         "collector_us": statistics.median(r["collector_ns"] for r in runs) / 1e3,
                         "rss_mb": max(r["mb"] for r in runs)})


def add_floor(bench, comparison, label, rounds):
    """With what the reader of a recording one takes, where the same is measured of ours."""
    add_other(bench, comparison.load, label, rounds)
    runs = rounds.of(label)
    for metric, unit, scale in {t.collector[1:3] + t.collector[4:] for t in comparison.traced
                                if t.collector and t.collector[0] == "collector_ns"}:
        if most_lost(runs):
            bench.report.add(comparison.load.name, label, metric, unit, None,
                             [r["collector_ns"] / scale for r in runs])


def run_comparison(bench, comparison):
    load = comparison.load
    there = peers.installed(comparison.peers, bench.report)
    seldom = {name: min(peer.rounds, comparison.rounds) for name, peer in there.items()}
    rounds = compare(bench.noise, ways(bench, comparison, there), comparison.rounds, seldom,
                     lambda text: bench.report.tell(f"{load.name}: {text}"))
    for label in comparison.floor:
        add_floor(bench, comparison, label, rounds)
    for traced in comparison.traced:
        add_traced(bench, comparison, traced, rounds)
    for name in there:
        add_other(bench, load, name, rounds)


# ---- spawn, compile ----

def read_ns(workload):
    return workload.lines()[-1]["ns"]


def spawned(tracer, workload, n):
    parent = f'"ppid":{workload.pid},'
    return {"exec": (tracer.count("exec", parent), n + WARM_UP),
            "exit": (tracer.count("exit", parent), n + WARM_UP)}


def spawn(name, path, n, ratio, tools, against):
    return Comparison(
        Load(f"spawn {name}", n, lambda b, k: [b.program("load"), "spawn", str(k), path(b)], read_ns),
        [Traced("trace --process", ("trace", "--process"), ratio,
                ("collector_ns", "collector per spawn", "us", 1.5, 1e3), spawned, against)],
        floor_at("process"), tools)


def rows_spawn(bench):
    tools = {**peers.SPAWN, **peers.loader(False)}
    run_comparison(bench, spawn("true", lambda b: shutil.which("true"), 1000, 1.02,
                                {"execsnoop": peers.SPAWN["execsnoop"]}, {}))
    run_comparison(bench, spawn("static", lambda b: b.program("static_true"), 6000, 1.05, tools,
                                {"execsnoop": 1 / 8}))


def compile_command(bench, n):
    """Compiles @n small C files."""
    names = []
    for i in range(n):
        names.append(os.path.join(bench.work, f"unit{i}.c"))
        with open(names[-1], "w") as f:
            f.write("#include <stdio.h>\nint f%d(int x) { return x * %d; }\n" % (i, i))
    return [bench.program("load"), "timed", "sh", "-c", "for f in " + " ".join(names) +
            "; do gcc -c -o \"$f.o\" \"$f\" || exit 1; done"]


def row_compile(bench):
    run_comparison(bench, Comparison(
        Load("compile 40 files", 40, compile_command, read_ns, held=True),
        [Traced("record", ("record",), 1.01,
                check=lambda t, w, n: {"gcc": (t.count("exec", '"comm":"gcc"'), n)},
                floor="empty probes")],
        {"empty probes": ("process", "network", "files")}, peers.COMPILE))


# ---- files ----

def rows_files(bench):
    directory = bench.memory_path("files")
    os.mkdir(directory)
    try:
        compare_files(bench, directory)
    finally:
        shutil.rmtree(directory)


def compare_files(bench, directory):
    run_comparison(bench, Comparison(
        Load("open, write, close", 40000,
             lambda b, k: [b.program("load"), "files", str(k), directory], read_ns),
        [Traced("trace --process --network", ("trace", "--process", "--network")),
         Traced("trace --files", ("trace", "--files"), None,
                ("collector_ns", "collector per file", "us", None, 1e3),
                lambda t, w, n: {"opens": (t.count("open", "storm-"), n)})],
        {"empty probe on sys_exit": ("files",)}, peers.FILES, rounds=5))


# ---- HTTPS ----

def tls_library(bench):
    out = subprocess.run(["ldd", bench.program("tls")], capture_output=True, text=True).stdout
    found = re.search(r"libssl\S* => (\S+)", out)
    return os.path.realpath(found[1]) if found else ""


def tls_calls(tracer, workload, n):
    produced = tracer.totals["streams"].get("ssl.data", {}).get("produced", 0)
    return {"calls": (produced, sum(line.get("calls", 0) for line in workload.lines()))}


def https_load(name, size, n, *more):
    def command(bench, k):
        pin = ["--cpu", "1"] if bench.machine.two else []
        return [bench.program("tls"), "pingpong", str(k), str(size), "--no-sum", "--wait", *more,
                *pin]
    return Load(f"HTTPS {name}", n, command, lambda w: w.lines()[-1]["ns_per_request"], held=True)


# name, bytes of an answer, requests, the rest, target, rounds, do peers run
HTTPS = (
    ("100 B", 100, 8000, ("--keepalive",), None, 3, False),
    ("1 KiB", 1024, 8000, ("--keepalive",), 1.42, ROUNDS, True),
    ("16 KiB", 16384, 4000, ("--keepalive",), 1.35, ROUNDS, True),
    ("1 MB", 1000000, 100, ("--keepalive",), None, 3, False),
    ("1 KiB, new connections", 1024, 300, (), None, 3, False),
)


# a recorder that takes every write for done spares itself the return of each
UNCHECKED = {"recording, writes unchecked": ("unchecked", "tls", "{ssl}")}


def rows_https(bench):
    tools = {**peers.HTTPS, **peers.loader(True)}
    for name, size, n, more, target, rounds, compared in HTTPS:
        against = {"bpftrace, 64 bytes": 1 / 8} if compared else {}
        traced = Traced("ssl", ("ssl",), target,
                        ("collector_ns", "collector per request", "us", None, 1e3), tls_calls,
                        against, (b"libssl",))
        run_comparison(bench, Comparison(https_load(name, size, n, *more), [traced],
                                         {**floor_at("tls", "{ssl}"), **UNCHECKED},
                                         tools if compared else {}, rounds))


# ---- node's HTTPS server, asked by wrk ----

NODE = """
const fs = require('fs'), body = Buffer.alloc(1024, 'x');
require('https').createServer({key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem')},
  (q, s) => s.end(body)).listen(0, '127.0.0.1', function () { console.log(this.address().port); });
"""


def node_run(bench, arguments=None, floor=None):
    place = bench.machine.place
    server = bench.start(["node", "-e", NODE], stdin=subprocess.DEVNULL, cwd=bench.work,
                              stdout=subprocess.PIPE, preexec_fn=place(1, False))
    tracer = None
    try:
        port = int(server.stdout.readline())
        if arguments:
            tracer = Agentsight(bench, [*arguments, "-p", str(server.pid)])
        elif floor:
            tracer = Companion(bench, [bench.program("floor"), *floor], ends_with_input=True)
        ask = ["wrk", "-t1", "-c8", f"https://127.0.0.1:{port}/"]
        subprocess.run([*ask, "-d1"], capture_output=True, preexec_fn=place(0, False))
        cpu = cpu_ns(server.pid)
        out = subprocess.run([*ask, "-d2"], capture_output=True, text=True,
                             preexec_fn=place(0, False)).stdout
        n = int(re.search(r"(\d+) requests in", out)[1])
        result = {"ns": 1e9 / float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
                  "cpu_ns": (cpu_ns(server.pid) - cpu) / n, "peer": True}
    finally:
        server.kill()
        server.communicate()
    if tracer:
        tracer.settle()
        tracer.stop()
    if arguments:
        result["lost"], result["wrong"] = tracer.lost(), tracer.check()
    return result


def row_node(bench):
    for tool in ("node", "wrk", "openssl"):
        if not shutil.which(tool):
            bench.report.skip("HTTPS of node", f"not installed: {tool}")
            return
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out",
                    "cert.pem", "-subj", "/CN=localhost"], cwd=bench.work, check=True,
                   capture_output=True)
    configurations = {"off": lambda: node_run(bench),
                      "ssl": lambda: node_run(bench, ["ssl"]),
                      "record": lambda: node_run(bench, ["record"])}
    for label, words in floor_at("tls", os.path.realpath(shutil.which("node"))).items():
        configurations[label] = lambda w=words: node_run(bench, floor=w)
    rounds = compare(bench.noise, configurations, 3, None,
                     lambda text: bench.report.tell(f"HTTPS of node: {text}"))
    targets = {**dict.fromkeys(floor_at()), "ssl": At_least(0.62), "record": None}
    floor = [1 / r for r in rounds.ratios("recording probes", "ns")]
    for label, target in targets.items():
        runs = rounds.of(label)
        bench.report.add("HTTPS of node, 8 x 1 KiB", label, "throughput ratio", "", target,
                         [1 / r for r in rounds.ratios(label, "ns")], most_lost(runs),
                         [w for r in runs for w in r.get("wrong", ())], rounds.noisy,
                         {"cpu_ratio": statistics.median(rounds.ratios(label, "cpu_ns"))}, floor)


# ---- TCP ----

def read_tcp(workload):
    return float(re.search(r"([\d.]+) ns per", workload.errors)[1])


def tcp_totals(mode, size):
    def check(tracer, workload, n):
        closes = [json.loads(line)["data"] for line in tracer.lines if b'"type":"close"' in line]
        both = (n * size, n * size)
        want = [both, both] if mode == "pingpong" else [(0, n * size), (n * size, 0)]
        return {"totals": (sorted((c["tx_bytes"], c["rx_bytes"]) for c in closes), want)}
    return check


# mode, bytes, operations, targets for sums and for every call, rounds, do peers run
TCP = (
    ("pingpong", 100, 25000, 1.04, 1.15, ROUNDS, True),
    ("stream", 1024, 200000, 1.12, 1.33, ROUNDS, True),
    ("stream", 65536, 20000, None, None, 3, False),
)


def rows_tcp(bench):
    for mode, size, n, summed, each, rounds, compared in TCP:
        load = Load(f"TCP {mode} {size} B", n,
                    lambda b, k, m=mode, s=size: [b.program("tcp"), m, str(k), str(s)], read_tcp,
                    events=2 if mode == "pingpong" else 1)
        check = tcp_totals(mode, size)
        # without the file hooks, which slow every system call: those are a row of their own
        traced = [Traced("record --files=false", ("record", "--files=false"), summed, None, check,
                         floor="empty probes"),
                  Traced("trace --network", ("trace", "--network"), each,
                         ("event_ns", "collector per event", "ns", 300, 1), check)]
        run_comparison(bench, Comparison(load, traced, floor_at("network"),
                                         peers.TCP if compared else {}, rounds))


# ---- those that are not meant ----

def row_tax(bench):
    """What system calls of a process cost that nobody traces: the sleeper is traced instead."""
    load = Load("getuid of another process", 1500000,
                lambda b, k: [b.program("load"), "getuid", str(k)], read_ns)
    sleeper = bench.start(["sleep", "300"])

    def traced(arguments):
        tracer = Agentsight(bench, [*arguments, "-p", str(sleeper.pid)])
        workload = Workload(bench, load.command(bench, load.n))
        workload.go()
        tracer.stop()
        return measured(load, workload, load.n, lost=tracer.lost(), wrong=tracer.check())

    ours = {"without files": (["trace", "--process", "--network", "--ssl"], 1.01, "empty probes"),
            "with files": (["trace", "--files"], None, "empty probe on sys_exit")}
    floors = {"empty probes": ["process", "network"], "empty probe on sys_exit": ["files"]}
    there = peers.installed(peers.TAX, bench.report)
    configurations = {"off": lambda: run_alone(bench, load)}
    for name, (arguments, *_) in ours.items():
        configurations[name] = lambda a=arguments: traced(a)
    for name, hooks in floors.items():
        configurations[name] = lambda h=hooks: run_companion(bench, load,
                                                             [bench.program("floor"), *h])
    for name, peer in there.items():
        configurations[name] = lambda n=name, p=peer: run_peer(bench, load, n, p)
    try:
        rounds = compare(bench.noise, configurations, ROUNDS, {name: 1 for name in there},
                         lambda text: bench.report.tell(f"{load.name}: {text}"))
    finally:
        sleeper.kill()
        sleeper.wait()
    for name in floors:
        add_other(bench, load, name, rounds)
    for name, (_, target, least) in ours.items():
        add_traced(bench, Comparison(load, []), Traced(name, (), target, floor=least), rounds)
    for name in there:
        add_other(bench, load, name, rounds)


ROWS = {"spawn": rows_spawn, "compile": row_compile, "files": rows_files, "https": rows_https,
        "node": row_node, "tcp": rows_tcp, "tax": row_tax}
