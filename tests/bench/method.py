# SPDX-License-Identifier: MIT
"""
How is measured: where programs run, what disturbs, and which rounds count.

Workloads run under SCHED_FIFO on processor 1, tracers under SCHED_FIFO on processor 0, in bursts below a
second, where that is permitted and there are two processors.
"""
import json
import os
import random
import shutil
import subprocess
import time

ROUNDS = 7
EXTRA_ROUNDS = 4       # at most so many are discarded for one comparison
SPARE_ROUNDS = 40      # and so many in all: a machine that is never quiet shall not hold us up for ever
AGREE = 0.05           # so far may the ratios of wall time and of CPU time differ
STEAL_SHARE = 0.02     # more stolen time than this spoils a round
PATIENCE_S = 1         # for other programs to take their BPF links away
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Machine:
    def __init__(self):
        self.fifo = may_use_fifo()
        self.two = len(os.sched_getaffinity(0)) > 1

    def place(self, cpu, fifo=True):
        """For preexec_fn: the processor (None: any) and the scheduling of a child."""
        def run():
            if self.two and cpu is not None:
                os.sched_setaffinity(0, {cpu})
            if self.fifo and fifo:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return run

    def describe(self):
        return {"kernel": os.uname().release, "machine": os.uname().machine,
                "processor": value_in("/proc/cpuinfo", "model name"),
                "processors": os.cpu_count(), "memory": value_in("/proc/meminfo", "MemTotal"),
                "virtual": "hypervisor" in value_in("/proc/cpuinfo", "flags").split(),
                "fifo": self.fifo, "two_processors": self.two}


def may_use_fifo():
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return True
    except OSError:
        return False


def value_in(path, name):
    with open(path) as f:
        for line in f:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""


# ---- what disturbs ----

def foreign_links():
    """Links that are attached while we have none; -1 when that cannot be told."""
    tool = shutil.which("bpftool") or "/usr/sbin/bpftool"
    try:
        out = subprocess.run([tool, "-j", "link"], capture_output=True, timeout=5).stdout
        return len(json.loads(out or b"[]"))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return -1


def steal_s():
    with open("/proc/stat") as f:
        return int(f.readline().split()[8]) * TICK_S


def audit_enabled():
    tool = shutil.which("auditctl")
    if not tool:
        return False
    out = subprocess.run([tool, "-s"], capture_output=True, text=True).stdout
    return "enabled 1" in out


class Noise:
    """What would make a result doubtful, over the whole run and for the row being measured."""

    def __init__(self, quick=False, times=1):
        self.quick = quick  # one round of each comparison, whatever happens
        self.times = times  # as many rounds as they say
        self.steal = steal_s()
        self.rounds = {"kept": 0, "doubtful": 0, "foreign_bpf_links": 0, "stolen_time": 0,
                       "wall_and_cpu_disagree": 0}
        self.spare = 0 if quick else SPARE_ROUNDS * times
        self.load = os.getloadavg()

    def quiet(self, seconds):
        """Waits a little for a moment without links of other programs."""
        end = time.monotonic() + seconds
        while foreign_links() > 0:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def describe(self):
        return {"rounds": self.rounds, "steal_s": round(steal_s() - self.steal, 2),
                "audit_enabled": audit_enabled(), "load_before": self.load,
                "load_after": os.getloadavg()}


# ---- rounds ----

class Rounds:
    """The rounds of one comparison: a list of {configuration: what it measured}."""

    def __init__(self, kept, doubtful):
        self.kept = kept
        self.noisy = doubtful > 0

    def of(self, name):
        return [r[name] for r in self.kept if name in r]

    def ratios(self, name, key, base="off"):
        return [r[name][key] / r[base][key] for r in self.kept if name in r and r[base].get(key)]

    def added(self, name, key="ns"):
        return [r[name][key] - r["off"][key] for r in self.kept if name in r]


def complaint(result, begin, steal, quiet):
    """Why a round is not to be trusted, or None."""
    if not quiet:
        return "foreign_bpf_links"
    if steal_s() - steal > STEAL_SHARE * (time.monotonic() - begin) * os.cpu_count() + TICK_S:
        return "stolen_time"
    for name, run in result.items():
        off = result.get("off", {})
        if name in ("off",) or run.get("peer") or not run.get("cpu_ns") or not off.get("cpu_ns"):
            continue
        wall, cpu = run["ns"] / off["ns"], run["cpu_ns"] / off["cpu_ns"]
        if abs(wall / cpu - 1) > AGREE:
            return "wall_and_cpu_disagree"
    return None


def compare(noise, configurations, rounds=ROUNDS, seldom=None, tell=lambda text: None):
    """
    Runs every configuration once per round, in random order; those named in @seldom only in that many
    rounds. A round that was disturbed is discarded and repeated, up to a bound; behind that it is kept
    and the row is marked.
    """
    # what is run once is only looked at, and is slow
    seldom = {name: n * noise.times if n > 1 else n for name, n in (seldom or {}).items()}
    spare = min(EXTRA_ROUNDS, rounds) * noise.times
    rounds = 1 if noise.quick else rounds * noise.times
    kept, doubtful, spare = [], 0, min(spare, noise.spare)
    while len(kept) < rounds:
        names = [n for n in configurations if len(kept) < seldom.get(n, rounds)]
        random.shuffle(names)
        result, quiet = {}, True
        begin, steal = time.monotonic(), steal_s()
        for name in names:
            tell(f"round {len(kept) + 1} of {rounds}: {name}")
            quiet &= noise.quiet(PATIENCE_S if spare else 0)
            run = configurations[name]()
            if run is not None:
                result[name] = run
        quiet &= noise.quiet(PATIENCE_S if spare else 0)
        reason = complaint(result, begin, steal, quiet)
        if reason:
            noise.rounds[reason] += 1
        if reason and spare > 0:
            spare -= 1
            noise.spare -= 1
            continue
        doubtful += bool(reason)
        noise.rounds["doubtful"] += bool(reason)
        noise.rounds["kept"] += 1
        kept.append(result)
    return Rounds(kept, doubtful)
